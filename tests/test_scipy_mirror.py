"""`tinygrad_np.scipy`: SciPy's values, and derivatives that equal central differences."""

import subprocess
import sys

import numpy as np
import pytest
import scipy.special
import scipy.stats

from tinygrad_np import Tensor, compile, func
from tinygrad_np.debug import gradcheck, gradgradcheck
from tinygrad_np.errors import NoDerivativeError, ShapeError
from tinygrad_np.scipy import special, stats

rng = np.random.default_rng(0)
DENSITIES = ["pdf", "logpdf"]
PROBABILITIES = ["cdf", "logcdf", "sf", "logsf"]
LOC, SCALE = rng.normal(size=(2, 1)), rng.uniform(0.5, 2, (2, 1))
CONTINUOUS = {  # points, and shapes
    "norm": (rng.normal(size=3), []),
    "t": (rng.normal(size=3), [np.array([2.5, 1.0, 4.0])]),
    "gamma": (rng.uniform(2, 5, 3), [np.array([0.7, 2.0, 3.5])]),
    "chi2": (rng.uniform(2, 5, 3), [np.array([0.7, 2.0, 3.5])]),
    "beta": (rng.uniform(0.2, 0.8, 3), [np.array([0.7, 2.0, 3.5]), np.array([1.5, 1.0, 0.6])]),
}


def methods(kinds):
    return [
        pytest.param(name, method, x, shapes, id=f"{name}.{method}")
        for name, (x, shapes) in CONTINUOUS.items()
        for method in kinds
    ]


def both(name, method):
    return getattr(getattr(stats, name), method), getattr(getattr(scipy.stats, name), method)


def assert_equal(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-300)


# Distributions


@pytest.mark.parametrize(("name", "method", "x", "shapes"), methods(DENSITIES + PROBABILITIES))
def test_values_are_scipys_also_beside_the_support_and_where_there_is_no_distribution(name, method, x, shapes):
    ours, theirs = both(name, method)
    edges = np.array([[-3.0, -0.5, 0.25, 0.5, 0.75, 1.5, 8.0, -np.inf, np.inf, np.nan]]).T
    with np.errstate(all="ignore"):
        assert_equal(ours(edges, *shapes), theirs(edges, *shapes))
        assert_equal(ours(x, *shapes, LOC, SCALE), theirs(x, *shapes, LOC, SCALE))
        assert_equal(ours(x, *shapes, scale=2.0), theirs(x, *shapes, scale=2.0))
        assert_equal(ours(x, *shapes, 0.1, [-1.0, 0.0, 1.0]), theirs(x, *shapes, 0.1, [-1.0, 0.0, 1.0]))
        if shapes:
            assert_equal(ours(edges, *[-s for s in shapes]), theirs(edges, *[-s for s in shapes]))


@pytest.mark.parametrize(("name", "method", "x", "shapes"), methods(DENSITIES))
def test_a_density_has_derivatives_with_respect_to_all_that_it_is_given(name, method, x, shapes):
    function, _ = both(name, method)
    loc = LOC * 0.1 if name != "beta" else np.array([[-0.1], [0.05]])
    gradcheck(function, [x, *shapes, loc, SCALE if name != "beta" else np.array([[1.2], [1.1]])])
    gradgradcheck(function, [x, *shapes, loc, SCALE if name != "beta" else np.array([[1.2], [1.1]])])


@pytest.mark.parametrize(("name", "method", "x", "shapes"), methods(PROBABILITIES))
def test_a_distribution_function_has_derivatives_but_for_its_shapes(name, method, x, shapes):
    function, _ = both(name, method)

    def of(x, loc, scale):
        return function(x, *shapes, loc, scale)

    loc = LOC * 0.1 if name != "beta" else np.array([[-0.1], [0.05]])
    gradcheck(of, [x, loc, SCALE if name != "beta" else np.array([[1.2], [1.1]])])
    if shapes:
        with pytest.raises(NoDerivativeError, match="order or shape parameter"):
            func.grad(lambda shape: np.sum(function(x, shape, *shapes[1:])))(shapes[0])


def test_beside_the_support_all_derivatives_are_zero():
    for name, shapes in [("gamma", [2.0]), ("chi2", [3.0]), ("beta", [2.0, 3.0])]:
        for method in DENSITIES + PROBABILITIES[:1]:
            function, _ = both(name, method)
            with np.errstate(all="ignore"):
                found = func.grad(lambda x, scale: np.sum(function(x, *shapes, 0, scale)), (0, 1))(  # noqa: B023
                    np.array([-1.0, -0.1]), 2.0
                )
            assert found[0].tolist() == [0, 0]
            assert found[1] == 0


def test_a_number_gives_a_number_and_a_list_is_an_array():
    assert isinstance(stats.gamma.logpdf(1.0, 2.0), float)
    assert_equal(stats.norm.logpdf([1.0, 2.0], [0.0, 1.0], [1.0, 2.0]), scipy.stats.norm.logpdf([1, 2], [0, 1], [1, 2]))


@pytest.mark.parametrize(("name", "method", "x", "shapes"), methods(DENSITIES + PROBABILITIES))
def test_single_precision_stays_single_also_with_numbers_as_parameters(name, method, x, shapes):
    function, _ = both(name, method)
    x, shapes, scale = x.astype(np.float32), [s.astype(np.float32) for s in shapes], np.float32(2)
    assert function(x, *shapes).dtype == np.float32
    assert function(x, *shapes, 0, scale).dtype == np.float32


def test_single_precision_stays_single_in_several_dimensions():
    x, cov = rng.normal(size=(4, 3)).astype(np.float32), COVARIANCE.astype(np.float32)
    for singular in False, True:
        assert stats.multivariate_normal.logpdf(x, None, cov, singular).dtype == np.float32
    assert stats.multivariate_normal.entropy(None, cov).dtype == np.float32


def test_the_entropy_of_a_normal_distribution():
    assert_equal(stats.norm.entropy(1.0, SCALE), scipy.stats.norm.entropy(1.0, SCALE))
    gradcheck(stats.norm.entropy, [LOC, SCALE])


@pytest.mark.parametrize("method", ["pmf", "logpmf", *PROBABILITIES])
def test_poisson(method):
    ours, theirs = both("poisson", method)
    k, mu = np.array([[-1.0], [0.0], [1.0], [3.0], [1.5], [np.nan]]), np.array([0.5, 2.0, 7.5])
    with np.errstate(all="ignore"):
        assert_equal(ours(k, mu), theirs(k, mu))
        assert_equal(ours(k + 1, np.array([-1.0, 0.0, 2.0]), 1), theirs(k + 1, np.array([-1.0, 0.0, 2.0]), 1))
    gradcheck(lambda mu: ours(np.array([[0], [1], [3]]), mu), [mu])
    gradgradcheck(lambda mu: ours(np.array([[0], [1], [3]]), mu), [mu])


MEAN, ROOT = rng.normal(size=3), rng.normal(size=(3, 3))
COVARIANCE = ROOT @ ROOT.T + np.eye(3)


@pytest.mark.parametrize("method", DENSITIES)
def test_multivariate_normal(method):
    ours, theirs = both("multivariate_normal", method)
    for shape in (3,), (1, 3), (4, 3), (2, 4, 3), (2, 1, 3):
        x = rng.normal(size=shape)
        for parameters in (MEAN, COVARIANCE), (MEAN, [0.5, 1.0, 2.0]), (MEAN, 2.0), (None, COVARIANCE), (MEAN,):
            ours_here, expected = ours(x, *parameters), theirs(x, *parameters)
            assert_equal(ours_here, expected)
            assert np.shape(ours_here) == np.shape(expected)
    for x in 1.5, rng.normal(size=4), rng.normal(size=(4, 1)):
        assert_equal(ours(x), theirs(x))
        assert_equal(ours(x, 0.5, 2.0), theirs(x, 0.5, 2.0))
    gradcheck(ours, [rng.normal(size=(2, 3)), MEAN, COVARIANCE])
    gradgradcheck(ours, [rng.normal(size=(2, 3)), MEAN, COVARIANCE])


def test_multivariate_normals_entropy_and_what_it_refuses():
    theirs = scipy.stats.multivariate_normal
    assert_equal(stats.multivariate_normal.entropy(MEAN, COVARIANCE), theirs.entropy(MEAN, COVARIANCE))
    with pytest.raises(np.linalg.LinAlgError):
        stats.multivariate_normal.logpdf(MEAN, MEAN, np.ones((3, 3)) - 2 * np.eye(3))
    with pytest.raises(np.linalg.LinAlgError):
        stats.multivariate_normal.logpdf(MEAN, MEAN, np.outer(MEAN, MEAN))
    with pytest.raises(np.linalg.LinAlgError, match="no negative eigenvalues"):
        stats.multivariate_normal.logpdf(MEAN, MEAN, -COVARIANCE, allow_singular=True)
    with pytest.raises(ShapeError, match=r"cov must have shape \(3, 3\)"):
        stats.multivariate_normal.logpdf(MEAN, MEAN, np.eye(2))


def test_multivariate_normal_of_a_covariance_that_is_singular():
    ours, theirs = stats.multivariate_normal, scipy.stats.multivariate_normal
    plane = rng.normal(size=(3, 2))
    within, beside = MEAN + rng.normal(size=(4, 2)) @ plane.T, MEAN + np.cross(*plane.T)
    for cov in plane @ plane.T, np.diag([1.0, 0.0, 2.0]), COVARIANCE, np.zeros((3, 3)), [1.0, 2.0, 0.0], 0.0:
        for x in within, beside, MEAN:
            assert_equal(ours.logpdf(x, MEAN, cov, True), theirs.logpdf(x, MEAN, cov, True))
            assert_equal(ours.pdf(x, MEAN, cov, allow_singular=True), theirs.pdf(x, MEAN, cov, allow_singular=True))
        assert_equal(ours.entropy(MEAN, cov), theirs.entropy(MEAN, cov))
    for check in gradcheck, gradgradcheck:  # whatever the plane is, the points stay in it
        check(lambda z, mean, plane: ours.logpdf(mean + z @ plane.T, mean, plane @ plane.T, True), [plane, MEAN, plane])
        check(lambda plane: ours.entropy(None, plane @ plane.T), [plane])


@pytest.mark.parametrize("name", [*CONTINUOUS, "poisson"])
def test_values_are_scipys_to_twelve_digits_wherever_they_are_taken(name):
    shapes = np.meshgrid(*[[0.01, 0.3, 1.0, 2.0, 7.5, 40.0]] * {"norm": 0, "beta": 2}.get(name, 1))
    x = [-1e3, -2.5, -1, -1e-3, 0, 1e-300, 1e-12, 1e-5, 0.1, 0.5, 0.9, 0.999, 1, 2, 3, 10, 33, 100, 1e6, 1e100]
    x = np.reshape(x, (-1,) + (1,) * len(shapes))
    densities = ["pmf", "logpmf"] if name == "poisson" else DENSITIES
    for method in densities + PROBABILITIES:
        ours, theirs = both(name, method)
        for loc, scale in (0, 1), (-1.3, 0.01), (2, 300):
            given = [x + loc, *shapes, loc] if name == "poisson" else [x * scale + loc, *shapes, loc, scale]
            with np.errstate(all="ignore"):
                np.testing.assert_allclose(ours(*given), theirs(*given), rtol=1e-12, atol=1e-14)


def test_values_are_scipys_in_any_number_of_dimensions():
    for size in range(1, 7):
        root, mean, x = rng.normal(size=(size, size)), rng.normal(size=size), rng.normal(size=(5, size))
        for cov in root @ root.T + np.eye(size), rng.uniform(0.1, 10, size), 3.0:
            for given in (mean, cov, True), (mean, cov):
                ours, theirs = stats.multivariate_normal.logpdf(x, *given), scipy.stats.multivariate_normal.logpdf
                np.testing.assert_allclose(ours, theirs(x, *given), rtol=1e-12)
        alpha, shares = rng.uniform(0.1, 9, size + 1), rng.dirichlet(np.ones(size + 1), 4).T
        assert_equal(stats.dirichlet.logpdf(shares, alpha), scipy.stats.dirichlet.logpdf(shares, alpha))


def test_dirichlet():
    alpha, x = np.array([0.7, 2.0, 3.5]), rng.dirichlet(np.ones(3), 4).T
    ours, theirs = stats.dirichlet, scipy.stats.dirichlet
    for proportions in x, x[:, 0], x[:2], x[:2, 0]:
        assert_equal(ours.logpdf(proportions, alpha), theirs.logpdf(proportions, alpha))
        assert_equal(ours.pdf(proportions, alpha), theirs.pdf(proportions, alpha))
        gradcheck(ours.logpdf, [proportions, alpha])
        gradgradcheck(ours.logpdf, [proportions, alpha])
    assert_equal(ours.mean(alpha), theirs.mean(alpha))
    assert_equal(ours.entropy(alpha), theirs.entropy(alpha))
    gradcheck(ours.entropy, [alpha])
    with pytest.raises(ShapeError, match="alpha"):
        ours.logpdf(x, np.ones(5))


def test_a_likelihood_compiles():
    x = rng.normal(size=(5, 3))

    def loss(mean, scale):
        return -np.sum(stats.multivariate_normal.logpdf(x, mean, COVARIANCE)) - np.sum(stats.gamma.logpdf(scale, 2.0))

    gradient = func.grad(loss, (0, 1))
    for ours, expected in zip(compile(gradient)(MEAN, SCALE), gradient(MEAN, SCALE), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-12)


# special


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 1)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_logsumexp(axis, keepdims):
    a, b = rng.normal(size=(2, 3, 2)), rng.uniform(0.1, 1, (3, 1))
    for weights in None, b, b * np.array([1, -0.05]), 2.0:
        ours = special.logsumexp(a, axis, weights, keepdims)
        assert_equal(ours, scipy.special.logsumexp(a, axis, weights, keepdims))
    for check in gradcheck, gradgradcheck:
        check(lambda a: special.logsumexp(a, axis=axis, keepdims=keepdims), [a])
        check(lambda a, b: special.logsumexp(a, axis, b, keepdims), [a, b])


def test_logsumexp_of_weights_that_are_zero_and_of_exponents_that_are_infinite():
    a, b = np.array([1.0, 1000.0, -np.inf]), np.array([1.0, 0.0, 2.0])
    assert special.logsumexp(a, b=b) == 1
    in_a, in_b = func.grad(lambda a, b: special.logsumexp(a, b=b), (0, 1))(a[[0, 2]], b[[0, 2]])
    assert in_a.tolist() == [1, 0]
    np.testing.assert_allclose(in_b, [1, 0])


def test_logsumexp_refuses_to_return_a_sign():
    with pytest.raises(NoDerivativeError, match="return_sign"):
        special.logsumexp(Tensor([1.0], requires_grad=True), return_sign=True)


@pytest.mark.parametrize("axis", [None, 0, (0, 1)])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax(name, axis):
    x = rng.normal(size=(2, 3))
    assert_equal(getattr(special, name)(x, axis), getattr(scipy.special, name)(x, axis))
    gradcheck(lambda x: getattr(special, name)(x, axis), [x])


def test_multigammaln_and_polygamma():
    a = rng.uniform(3, 4, (2, 3))
    assert_equal(special.multigammaln(a, 3), scipy.special.multigammaln(a, 3))
    assert_equal(special.polygamma(2, a), scipy.special.polygamma(2, a))
    gradcheck(lambda a: special.multigammaln(a, 3), [a])
    gradcheck(lambda a: special.polygamma(2, a), [a])


def test_the_rest_is_scipys_own():
    assert special.erf is scipy.special.erf
    assert stats.expon is scipy.stats.expon
    with pytest.raises(AttributeError):
        special.no_such_function  # noqa: B018


def test_modules_can_be_imported_as_in_scipys_mirrors_elsewhere_and_scipys_absence_says_how_to_install_it():
    script = """
import sys
import tinygrad_np.scipy.stats.norm as norm
from tinygrad_np.scipy.special import gammaln, logsumexp
from tinygrad_np.scipy.stats import multivariate_normal as mvn, t
assert "scipy.stats" not in sys.modules
for name in list(sys.modules):
    if name.partition(".")[0] == "scipy" or name.startswith("tinygrad_np.scipy"):
        del sys.modules[name]
sys.modules["scipy"] = None
try:
    import tinygrad_np.scipy
except ModuleNotFoundError as error:
    assert 'python -m pip install -e ".[scipy]"' in str(error), error
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_what_a_distribution_does_not_have_itself_is_scipys():
    for name in stats.__all__:
        ours, theirs = getattr(stats, name), getattr(scipy.stats, name)
        assert ours.rvs == theirs.rvs
        assert not hasattr(ours, "no_such_name")
