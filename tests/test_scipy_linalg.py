"""`tinygrad_np.scipy.linalg`: SciPy's values, and derivatives that equal central differences."""

import itertools
import warnings

import numpy as np
import pytest
import scipy.linalg

from tinygrad_np import Tensor, compile, func, grad
from tinygrad_np.debug import gradcheck, gradgradcheck
from tinygrad_np.errors import ArgumentError, LinAlgError, NoDerivativeError, ShapeError
from tinygrad_np.scipy import linalg

rng = np.random.default_rng(0)


def real(*shape):
    return rng.normal(size=shape)


def either(*shape):
    """A complex array."""
    return real(*shape) + 1j * real(*shape)


def checked(function, *inputs):
    gradcheck(function, [*inputs])
    gradgradcheck(function, [*inputs])


def far_from_singular(matrix):
    return matrix + 4 * np.eye(matrix.shape[-1])


def positive_definite(matrix):
    return far_from_singular(matrix @ matrix.conj().swapaxes(-1, -2))


@pytest.mark.parametrize("draw", [real, either])
def test_triangular_equations(draw):
    a = far_from_singular(draw(3, 3))
    for form in itertools.product([0, 1, 2, "N", "T", "C"], [False, True], [False, True]):  # trans, lower and unit
        for b in draw(3), draw(3, 2):
            x = linalg.solve_triangular(a, b, *form)
            np.testing.assert_allclose(x, scipy.linalg.solve_triangular(a, b, *form), rtol=1e-12)
        if isinstance(form[0], int):
            checked(lambda a, b: linalg.solve_triangular(a, b, *form), a, b)  # noqa: B023


def test_a_vector_may_stand_on_the_right_of_a_triangular_equation():
    checked(lambda a, b: linalg.solve_triangular(a, b, "T"), far_from_singular(real(3, 3)), real(3))


def test_triangular_equations_real_on_one_side_and_complex_on_the_other():
    checked(linalg.solve_triangular, far_from_singular(real(3, 3)), either(3, 2))
    checked(linalg.solve_triangular, far_from_singular(either(3, 3)), real(3))


def test_what_is_not_read_of_a_triangular_matrix_gets_no_gradient():
    a, b = far_from_singular(real(3, 3)), real(3)
    for lower, unread in (True, np.triu_indices(3, 0)), (False, np.tril_indices(3, 0)):
        found = func.grad(lambda a: np.sum(linalg.solve_triangular(a, b, 0, lower, True)))(a)  # noqa: B023
        assert not found[unread].any()
        assert found.any()


def test_the_right_side_of_a_triangular_equation_is_not_overwritten():
    a, b = np.eye(2), np.asfortranarray([[1.0], [2.0]])
    linalg.solve_triangular(2 * a, b, overwrite_b=True)
    assert b.tolist() == [[1], [2]]


def test_solve_triangular_names_the_ways_to_transpose():
    with pytest.raises(ArgumentError, match=r"trans must be 0 or 'N'.*but is 'H'"):
        linalg.solve_triangular(np.eye(2), np.ones(2), trans="H")


def test_a_gradient_that_is_nan_is_no_error():
    b = Tensor([1.0, 2.0], requires_grad=True)
    linalg.solve_triangular(np.eye(2), b).backward(np.array([np.nan, 1.0]))
    assert np.isnan(b.grad).any()


def test_equations_that_have_no_solution_are_refused():
    singular = Tensor(np.ones((2, 2)) * [[1], [0]], requires_grad=True)
    with pytest.raises(LinAlgError):
        linalg.solve_triangular(singular, np.ones(2))
    with pytest.raises(LinAlgError):
        linalg.solve_banded((0, 0), singular[1:], np.ones(2))
    with pytest.raises(LinAlgError, match="eigenvalue in common"):
        linalg.solve_sylvester(np.diag([1.0, 2.0]), np.diag([-1.0, 3.0]), np.ones((2, 2)))


BANDS = [(0, 0), (1, 1), (2, 0), (0, 1), (1, 2)]


@pytest.mark.parametrize("draw", [real, either])
def test_banded_equations(draw):
    for lower, upper in BANDS:
        ab = draw(lower + upper + 1, 4)
        ab[upper] += 4
        for b in draw(4), draw(4, 2):
            expected = scipy.linalg.solve_banded((lower, upper), ab, b)
            np.testing.assert_allclose(linalg.solve_banded((lower, upper), ab, b), expected, rtol=1e-12)
            checked(lambda ab, b: linalg.solve_banded((lower, upper), ab, b), ab, b)  # noqa: B023


def test_banded_equations_of_one_unknown_take_diagonals_that_stand_outside_of_the_matrix():
    checked(lambda ab, b: linalg.solve_banded((1, 1), ab, b), np.array([[5.0], [2.0], [7.0]]), np.array([3.0]))


@pytest.mark.parametrize("draws", [(x, y, z) for x in (real, either) for y in (real, either) for z in (real, either)])
def test_sylvesters_equation_also_of_real_and_complex_matrices_together(draws):
    a, b, q = (draw(*shape) for draw, shape in zip(draws, [(3, 3), (2, 2), (3, 2)], strict=True))
    a = far_from_singular(a)
    x = linalg.solve_sylvester(a, b, q)
    np.testing.assert_allclose(a @ x + x @ b, q, rtol=1e-12, atol=1e-12)
    checked(linalg.solve_sylvester, a, b, q)


def test_one_matrix_may_stand_everywhere_in_sylvesters_equation():
    checked(lambda a: linalg.solve_sylvester(a, a, a), far_from_singular(real(3, 3)))
    checked(lambda b: linalg.solve_sylvester([[3.0, 1.0], [0.0, 2.0]], b, [[1], [2]]), np.array([[0.5]]))


@pytest.mark.parametrize("draw", [real, either])
def test_square_roots(draw):
    for a in positive_definite(draw(3, 3)), far_from_singular(draw(3, 3)), draw(1, 1) + 4:
        np.testing.assert_array_equal(linalg.sqrtm(a), scipy.linalg.sqrtm(a))
        checked(linalg.sqrtm, a)


def test_the_square_root_of_a_real_matrix_may_be_complex():
    a = np.array([[-2.0, 1.0], [0.5, 3.0]])
    assert np.iscomplexobj(linalg.sqrtm(a))
    checked(linalg.sqrtm, a)


def test_sqrtm_refuses_numbers_and_slopes_at_singular_matrices():
    with pytest.raises(ShapeError, match=r"np\.sqrt"):
        linalg.sqrtm(4.0)
    x = Tensor(np.ones((2, 2)), requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        y = linalg.sqrtm(x).sum()
    with pytest.raises(NoDerivativeError, match="sqrtm has no derivative where the matrix is singular"):
        y.backward()


def test_stacks_of_matrices_broadcast():
    a, b = far_from_singular(real(2, 3, 3)), real(3, 2)
    checked(lambda a, b: linalg.solve_triangular(a, b, "T"), a, b)
    checked(linalg.solve_triangular, a, b[:, 0])
    checked(linalg.solve_triangular, a[0], real(2, 1, 3, 2))
    checked(linalg.solve_sylvester, a, real(2, 2), b)
    bands = real(2, 3, 4)
    bands[:, 1] += 4
    checked(lambda ab, b: linalg.solve_banded((1, 1), ab, b), bands, real(4, 2))
    checked(linalg.sqrtm, positive_definite(a))


def test_empty_matrices_have_empty_gradients():
    none = np.zeros((0, 0))
    for function, inputs in [
        (linalg.solve_triangular, (none, np.zeros((0, 2)))),
        (linalg.solve_triangular, (none, np.zeros(0))),
        (lambda ab, b: linalg.solve_banded((1, 0), ab, b), (np.zeros((2, 0)), np.zeros(0))),
    ]:
        tensors = [Tensor(x, requires_grad=True) for x in inputs]
        found = grad(function(*tensors).sum(), tensors)
        assert [g.shape for g in found] == [x.shape for x in inputs]
    a = Tensor(np.eye(3), requires_grad=True)
    linalg.solve_triangular(a, np.zeros((3, 0))).sum().backward()
    assert not a.grad.any()


def test_single_precision_stays_single():
    a, b = far_from_singular(real(3, 3)).astype(np.float32), real(3, 3).astype(np.float32)
    for function, inputs in [
        (linalg.solve_triangular, (a, b)),
        (linalg.solve_banded, ((1, 1), a, b)),
        (linalg.solve_sylvester, (a, a, b)),
        (linalg.sqrtm, (a @ a.T,)),
    ]:
        inputs = [Tensor(x, requires_grad=True) if isinstance(x, np.ndarray) else x for x in inputs]
        out = function(*inputs)
        assert out.dtype == np.float32
        assert all(g.dtype == np.float32 for g in grad(out.sum(), [x for x in inputs if isinstance(x, Tensor)]))


def test_they_compile():
    a, b = far_from_singular(real(3, 3)), real(3, 3)

    def loss(a, b):
        x = linalg.solve_triangular(a, b, "T") + linalg.solve_banded((1, 1), a, b)
        return np.sum(np.sin(linalg.solve_sylvester(a, a.T, x + linalg.sqrtm(a @ a.T))))

    gradient = func.grad(loss, (0, 1))
    compiled = compile(gradient)
    for ours, expected in zip(compiled(a, b), gradient(a, b), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-12)
    names = {}
    exec(compiled.source(a, b), names)


def test_the_rest_is_scipys_own_and_refuses_what_would_lose_its_history():
    from tinygrad_np.scipy.linalg import cholesky, expm

    assert cholesky is scipy.linalg.cholesky
    assert set(scipy.linalg.__all__) <= set(dir(linalg))
    x = Tensor(far_from_singular(real(3, 3)), requires_grad=True)
    names = "cholesky det eig eigh eigvals eigvalsh hessenberg inv ldl logm lu lu_factor null_space orth pinv pinvh"
    for name in [*names.split(), "polar", "qr", "rq", "schur", "svd", "norm", "expm", "cosm"]:
        with pytest.raises(NoDerivativeError, match="would lose its history"):
            getattr(linalg, name)(x)
    for function in linalg.solve, linalg.lstsq, linalg.solve_toeplitz, linalg.khatri_rao:
        with pytest.raises(NoDerivativeError, match="would lose its history"):
            function(x, np.ones((3, 3)))
    with pytest.raises(AttributeError):
        linalg.no_such_function  # noqa: B018
    np.testing.assert_array_equal(expm(np.zeros((2, 2))), np.eye(2))
