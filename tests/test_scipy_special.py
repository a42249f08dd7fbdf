"""The derivatives of `scipy.special`: every row against central differences, and what is special about them."""

import subprocess
import sys

import numpy as np
import pytest
from derivative_cases import Case, between, complex_normal, for_each_function, normal, of_scipy, positive
from scipy import special

from tinygrad_np import Tensor, compile, func, grad
from tinygrad_np.debug import gradcheck, gradgradcheck
from tinygrad_np.derivatives import special as rows
from tinygrad_np.derivatives.table import CONSTANT, RULES
from tinygrad_np.errors import NoDerivativeError

CASES = []


def case(function, *args):
    CASES.append(Case(function, args, {}))


inside = between(0.1, 0.9, 3)
orders = np.array([[0], [1], [2], [5]])
for function in special.exp10, special.exp2, special.expm1, special.cbrt:
    case(function, normal(2, 3))
case(special.log1p, positive(3))
case(special.cosm1, normal(3))
for function in special.erf, special.erfc, special.erfi, special.erfcx, special.dawsn, special.wofz:
    case(function, normal(2, 3)) if function is not special.wofz else None
    case(function, complex_normal(3))
for function in special.erfcx, special.dawsn:
    case(function, between(9, 12, 3))
for function in special.ndtr, special.log_ndtr, special.owens_t:
    case(function, *[normal(2, 3)] * function.nin)
case(special.log_ndtr, between(-20, -5, 3))
case(rows.mills, normal(3))
case(rows.mills, between(-20, 5, 3))
case(special.owens_t, normal(3), normal(2, 1))
for function in special.erfinv, special.erfcinv, special.ndtri:
    case(function, inside)
case(special.ndtri_exp, -positive(3))
case(special.fresnel, normal(3))
case(special.sici, positive(3))
case(special.expi, positive(3))
case(special.expi, -positive(3))
case(special.exp1, positive(3))
case(special.wrightomega, normal(3))
for function in special.gamma, special.rgamma, special.gammaln, special.psi:
    case(function, positive(2, 3))
    case(function, between(-1.8, -1.2, 3))
case(special.rgamma, np.array([0.0, -1.0, -2.0]))
case(special.loggamma, positive(3))
case(rows.polygamma, 1, positive(3))
case(rows.polygamma, np.array([[0], [2]]), positive(3))
for function in special.beta, special.betaln:
    case(function, positive(2, 3), positive(3))
    case(function, positive(3), 1.5)
case(rows.gamma_weight, positive(3), positive(3), positive(3))
case(rows.beta_weight, inside, positive(3), positive(3), positive(3))
for function in special.gammainc, special.gammaincc:
    case(function, [[0.5], [1.0], [3.0]], positive(3))
for function in special.gammaincinv, special.gammainccinv:
    case(function, [[0.5], [1.0], [3.0]], inside)
both = [special.betainc, special.betaincinv]
both += [getattr(special, name) for name in ("betaincc", "betainccinv") if hasattr(special, name)]
for function in both:
    case(function, [[0.5], [1.0], [3.0]], [[1.5], [2.0], [0.7]], inside)
for function in special.chdtr, special.chdtrc, special.stdtr:
    case(function, [[0.5], [1.0], [3.0]], positive(3))
case(special.stdtr, 3.0, normal(3))
for function in special.pdtr, special.pdtrc:
    case(function, [[0.0], [1.0], [3.0]], positive(3))
case(special.stdtrit, [[1.0], [3.0]], inside)
for function in special.expit, special.log_expit:
    case(function, normal(2, 3))
case(special.logit, inside)
case(special.entr, positive(3))
for function in special.rel_entr, special.kl_div, special.xlogy, special.xlog1py:
    case(function, positive(2, 3), positive(3))
    case(function, positive(3), 1.5)
    case(function, 0.5, positive(3))
for function in special.jv, special.yv, special.iv, special.kv, special.hankel1, special.hankel2:
    case(function, orders, positive(3))
    case(function, [[0.5], [1.5], [-0.5]], complex_normal(3))
for function in special.jve, special.yve, special.ive, special.kve, special.kn, special.yn:
    case(function, orders, positive(3))
for function in special.j0, special.j1, special.i0, special.i1, special.i0e, special.i1e:
    case(function, normal(3))
for function in special.y0, special.y1, special.k0, special.k1, special.k0e, special.k1e:
    case(function, positive(3))
case(special.airy, normal(3))
case(special.airy, complex_normal(3))


def test_every_function_with_a_rule_has_a_case():
    differentiated = {row for row, rule in RULES.items() if rule is not CONSTANT and of_scipy(row)}
    mirror = {row for row in differentiated if getattr(row, "__module__", "").startswith("tinygrad_np.scipy")}
    assert differentiated - mirror == {case.row for case in CASES}


def listed(value):
    return list(value) if isinstance(value, tuple) else [value]


@for_each_function(CASES)
def test_the_result_equals_scipys(case):
    for y, array in zip(listed(case(*map(tracked, case.inputs))), listed(case(*case.inputs)), strict=True):
        assert type(y) is Tensor
        np.testing.assert_array_equal(y.data, array)


@for_each_function(CASES)
def test_the_first_derivative_equals_central_differences(case):
    gradcheck(case, case.inputs)


@for_each_function(CASES)
def test_the_second_derivative_equals_central_differences(case):
    gradgradcheck(case, case.inputs)


def tracked(x):
    return Tensor(x, requires_grad=True)


def slopes(function, *inputs):
    """The derivative of an elementwise function with respect to each of its inputs."""
    tensors = [tracked(x) for x in inputs]
    y = function(*tensors)
    found = grad(y, tensors, np.ones_like(y.data))
    return found[0] if len(inputs) == 1 else found


# Edges


def test_x_log_y_is_flat_in_y_and_finite_in_x_where_x_is_0():
    for at_0, y in [(special.xlogy, [0.0, 0.5, 2.0]), (special.xlog1py, [-1.0, -0.5, 1.0])]:
        in_x, in_y = slopes(at_0, np.zeros(3), np.array(y))
        np.testing.assert_allclose(in_x, [0, np.log(0.5), np.log(2)], atol=1e-15)
        assert in_y.tolist() == [0, 0, 0]
    assert slopes(special.xlogy, np.array([2.0]), np.array([3.0]))[1] == 2 / 3


def test_the_slope_of_x_log_y_in_y_grows_with_x_where_x_is_0():
    for function, expected in (special.xlogy, 1 / 2), (special.xlog1py, 1 / 3), (special.rel_entr, -1 / 2):
        with np.errstate(divide="ignore"):
            found = func.grad(lambda x: func.grad(lambda y: function(x, y))(2.0))(0.0)  # noqa: B023
        np.testing.assert_allclose(found, expected)


def test_divergences_are_flat_in_the_second_distribution_where_the_first_is_0():
    with np.errstate(divide="ignore"):
        assert slopes(special.rel_entr, np.zeros(1), np.ones(1))[1] == 0
        assert slopes(special.kl_div, np.zeros(1), np.ones(1))[1] == 1


def test_slopes_far_out_keep_their_digits():
    x = np.array([15.0, 1e3, 1e8])  # expected: the asymptotic series, DLMF 7.12.1
    series = 1 - 3 / (2 * x**2) + 15 / (4 * x**4) - 105 / (8 * x**6) + 945 / (16 * x**8)
    np.testing.assert_allclose(slopes(special.erfcx, x), -series / (x**2 * np.sqrt(np.pi)), rtol=1e-8)
    np.testing.assert_allclose(slopes(special.dawsn, x), -1 / (2 * x**2) * (1 + 3 / (2 * x**2)), rtol=1e-3)
    np.testing.assert_allclose(slopes(special.dawsn, -x), slopes(special.dawsn, x), rtol=1e-15)


def test_log_ndtr_far_left_has_a_parabolas_slope_and_curvature():
    x = np.array([-1e2, -1e4, -1e8, 30.0])
    np.testing.assert_allclose(slopes(special.log_ndtr, x)[:3], -x[:3] + 1 / -x[:3], rtol=1e-7)
    second = slopes(lambda x: rows.mills(x), x)
    np.testing.assert_allclose(second, [-1 + 1e-4, -1, -1, 0], rtol=1e-6, atol=1e-190)


def test_erfinv_near_its_ends_is_steep_as_its_value_says():
    y = np.array([1 - 1e-10, -1 + 1e-15, 0.0])
    np.testing.assert_allclose(slopes(special.erfinv, y), np.sqrt(np.pi) / 2 * np.exp(special.erfinv(y) ** 2))
    assert np.isinf(slopes(special.erfinv, np.array([1.0, -1.0]))).all()


def test_rgamma_has_a_slope_at_the_poles_of_gamma():
    np.testing.assert_allclose(slopes(special.rgamma, np.array([0.0, -1.0, -2.0, -3.0])), [1, -1, 2, -6])


def test_the_sine_integral_has_slope_1_at_0_where_the_cosine_integral_has_none():
    assert slopes(lambda x: special.sici(x)[0], np.array([0.0])) == [1.0]


FLOATS = [case for case in CASES if all(x.dtype == np.float64 for x in case.inputs)]


@for_each_function(FLOATS)
def test_single_precision_stays_single(case):
    inputs = [tracked(x.astype(np.float32)) for x in case.inputs]
    outputs = [y for y in listed(case(*inputs)) if isinstance(y, Tensor)]
    expected = listed(case(*[x.data for x in inputs]))
    assert [y.dtype for y in outputs] == [y.dtype for y in expected]
    found = grad(outputs, inputs, [np.ones_like(y.data) for y in outputs])
    assert all(g.dtype == np.float32 for g in found)


# What has no derivative is refused


@pytest.mark.parametrize(
    "function", [special.jv, special.gammainc, special.stdtr, special.kve, rows.polygamma], ids=lambda f: f.__name__
)
def test_an_order_or_shape_parameter_has_no_derivative(function):
    with pytest.raises(NoDerivativeError, match=r"order or shape parameter.*detach"):
        function(tracked([1.0, 2.0]), 0.5).sum().backward()


def test_functions_scaled_by_a_part_of_a_complex_number_have_no_complex_derivative():
    for function in special.jve, special.yve, special.ive:
        with pytest.raises(NoDerivativeError, match=f"{function.__name__} of a complex argument"):
            np.real(function(1.0, tracked(1 + 1j))).backward()


def test_a_function_without_a_row_is_named():
    with pytest.raises(NoDerivativeError, match="ellipk"):
        special.ellipk(tracked([0.5]))


# Where it works


def test_compiled_functions_and_transforms_know_them():
    def loss(x):
        return np.sum(special.gammaln(x) * special.erf(x))

    x = np.array([0.5, 1.5, 3.0])
    expected = special.psi(x) * special.erf(x) + special.gammaln(x) * 2 / np.sqrt(np.pi) * np.exp(-x * x)
    np.testing.assert_allclose(func.grad(loss)(x), expected)
    np.testing.assert_allclose(compile(func.grad(loss))(x), expected)


def test_the_text_of_a_compiled_program_imports_them():
    compiled = compile(func.elementwise_grad(func.elementwise_grad(lambda x: special.loggamma(x) * special.j0(x))))
    x = np.array([0.5, 1.5])
    names = {}
    exec(compiled.source(x), names)
    np.testing.assert_array_equal(names["forward"](x)[0][0], compiled(x))


def test_scipy_is_imported_by_its_user_alone_and_its_rows_when_they_are_asked_for():
    script = """
import sys
import numpy as np
from tinygrad_np import Tensor, functional
x = Tensor([1.0], requires_grad=True)
functional.gelu(x).sum().backward()
assert not any(name.partition(".")[0] == "scipy" for name in sys.modules)
from scipy import special
assert "tinygrad_np.derivatives.special" not in sys.modules
special.expit(x).sum().backward()
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_they_differentiate_where_scipy_asks_arrays_for_their_namespace_too():
    pytest.importorskip("scipy", "1.17")  # older ones turn all but some libraries' arrays into NumPy's
    script = """
import os
os.environ["SCIPY_ARRAY_API"] = "1"
import numpy as np
from scipy import special
from tinygrad_np import func, compile
from tinygrad_np.debug import gradgradcheck
from tinygrad_np.scipy import special as mirror, stats
x, y = np.array([0.3, 1.2]), np.array([0.7, 0.4])
assert not isinstance(special.erf, np.ufunc)
for function in (special.erf, special.gammaln, special.log_expit, special.sinc, lambda x: special.polygamma(1, x)):
    gradgradcheck(function, [x])
gradgradcheck(lambda x: special.multigammaln(x + 2, 3), [x])
gradgradcheck(special.xlogy, [x, y])
gradgradcheck(special.rel_entr, [x, y])
assert func.elementwise_grad(special.gammasgn)(x).tolist() == [0, 0]
gradgradcheck(lambda y: mirror.xlogy(x, y), [y])  # SciPy itself refuses an array beside a Tensor
gradgradcheck(lambda y: stats.gamma.logpdf(x, y), [y])
names = {}
compiled = compile(func.elementwise_grad(special.loggamma))
exec(compiled.source(x), names)
np.testing.assert_array_equal(names["forward"](x)[0][0], compiled(x))
"""
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
