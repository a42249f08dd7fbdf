"""The edges of the array functions: odd arguments, memory layouts, arrays without axes or elements, singular matrices.

What NumPy takes gives the right derivative, or an error that names the remedy; nothing is wrong in silence.
"""

import sys
import tracemalloc

import numpy as np
import pytest
from derivative_cases import NUMPY

from tinygrad_np import Tensor, grad
from tinygrad_np.debug import gradcheck, gradgradcheck
from tinygrad_np.errors import NoDerivativeError


def tracked(data):
    return Tensor(np.array(data, dtype=np.float64), requires_grad=True)


def normal(*shape):
    return np.asarray(np.random.default_rng(0).standard_normal(shape))


def check(function, *inputs):
    """First and second derivatives against central differences, each element of the result with its own weight."""

    def weighted(*inputs):
        results = function(*inputs)
        results = list(results) if isinstance(results, (tuple, list)) else [results]
        return [y * np.arange(1.0, 1 + np.size(y)).reshape(np.shape(y)) for y in results]

    assert gradcheck(weighted, inputs)
    assert gradgradcheck(weighted, inputs)


# Memory layout

VIEWS = {
    "swapped": lambda x: np.swapaxes(x, 0, 1),
    "transposed": np.transpose,
    "backwards": lambda x: np.transpose(x[:, ::-1]),
    "with steps": lambda x: np.swapaxes(x, 0, 2)[:, ::2],
    "repeated": lambda x: np.broadcast_to(x, (2, *x.shape)),
    "repeated and transposed": lambda x: np.transpose(np.broadcast_to(x, (2, *x.shape))),
    "overlapping": lambda x: np.lib.stride_tricks.sliding_window_view(x, 2, axis=-1),
}


@pytest.mark.parametrize("order", ["C", "F", "A", "K", "c", "f", "a", "k"])
@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_ravel_reads_a_view_in_any_order(view, order):
    x = normal(2, 3, 4)
    np.testing.assert_array_equal(np.ravel(view(tracked(x)), order).data, np.ravel(view(x), order))
    check(lambda x: np.ravel(view(x), order), x)


@pytest.mark.parametrize("order", ["C", "F", "A", "c", "f", "a", None])
@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_reshape_reads_a_view_in_any_order(view, order):
    check(lambda x: np.reshape(view(x), (2, -1), order=order), normal(2, 3, 4))


@pytest.mark.parametrize("order", ["C", "F", "A", "K"])
def test_a_copy_in_any_order_has_the_gradient_of_what_it_copies(order):
    check(lambda x: np.ravel(np.copy(np.swapaxes(x, 0, 1), order), "K"), normal(2, 3, 4))


# Arguments in all the forms that NumPy takes


@pytest.mark.parametrize("mode", [0, 1, 2, np.int64(1), "full", "same", "valid"])
@pytest.mark.parametrize("function", [np.convolve, np.correlate])
@pytest.mark.parametrize(("n", "m"), [(5, 2), (2, 5), (4, 3), (3, 4), (3, 3), (1, 3)])
def test_modes_of_convolution_may_be_given_as_numbers(function, mode, n, m):
    check(lambda x, y: function(x, y, mode), normal(n), normal(m))


def test_differences_taken_no_times_are_the_array_itself_even_without_axes():
    check(lambda x: np.diff(x, n=0), normal())
    check(lambda x: np.diff(x, 0, axis=0), normal(2, 3))


@pytest.mark.parametrize("axis", [0, -1, np.int64(0), [0], (0,), np.array([0])])
def test_the_only_axis_may_be_transposed_given_in_any_form(axis):
    check(lambda x: np.transpose(x, axis), normal(3))


@pytest.mark.parametrize("shift", [True, *([np.uint8(1), np.array([1, 2], np.uint8)] if NUMPY >= "2.1.0" else [])])
def test_the_shift_of_roll_may_be_an_unsigned_number_or_a_boolean(shift):
    check(lambda x: np.roll(x, shift, 0), normal(4))


def test_matrices_to_be_multiplied_may_be_stacked_in_one_array():
    check(np.linalg.multi_dot, normal(3, 2, 2))


# Assignment


@pytest.mark.parametrize(
    ("index", "shape", "value"),
    [
        (0, (2, 3), (1, 3)),
        (0, (2, 3), (1, 1, 3)),
        (0, (2, 3), (1, 1)),
        (slice(None), (2, 3), (1, 2, 3)),
        ([0, 0], (2, 3), (1, 2, 3)),
        (np.array([True, False]), (2, 3), (1, 1, 3)),
        (np.zeros(3, bool), (3,), (1,)),
        ((slice(None), [0, 2]), (2, 3), (1, 2)),
    ],
)
def test_a_value_is_broadcast_as_in_numpy_and_its_gradient_has_its_own_shape(index, shape, value):
    def assigned(x, value):
        result = x.copy()
        result[index] = value
        return result * result

    check(assigned, normal(*shape), normal(*value))


@pytest.mark.parametrize("index", [(), ..., None, True, False, np.array(True)])
def test_an_array_without_axes_can_be_assigned_to(index):
    def assigned(x, value):
        result = x * 1.0
        result[index] = value
        return result * result

    x, value = tracked(2.0), tracked(3.0)
    result = assigned(x, value)
    overwritten = index is not False
    assert result.data == (9.0 if overwritten else 4.0)
    first = grad(result, [x, value], create_graph=True)
    assert [g.item() for g in first] == ([0.0, 6.0] if overwritten else [4.0, 0.0])
    assert grad(first[overwritten], [x, value][overwritten]) == 2.0


# Norms at zero


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    "norm",
    [
        *(lambda x, order=order: np.linalg.norm(x, order) for order in (None, "fro", 1, np.inf)),
        *(lambda x, order=order: np.linalg.norm(x.ravel(), order) for order in (2, 3, 1, 1.5, 0.5, np.inf)),
        np.linalg.vector_norm,
        np.linalg.matrix_norm,
        lambda x: np.linalg.norm(x + 0j),
    ],
)
def test_the_slope_of_a_norm_at_zero_is_zero_and_the_second_derivative_is_not_there(norm):
    x = tracked(np.zeros((2, 2)))
    (slope,) = grad(norm(x) ** 2, [x], create_graph=True)
    assert slope.data.tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert np.isnan(grad(slope[0, 0], x)).all()
    assert grad(norm(x), x).tolist() == [[0.0, 0.0], [0.0, 0.0]]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_row_of_zeros_leaves_the_second_derivatives_of_other_rows_norms_alone():
    x = tracked([[0.0, 0.0], [1.0, 2.0]])
    slope = grad((np.linalg.norm(x, axis=1) ** 2).sum(), x, create_graph=True)
    np.testing.assert_allclose(grad(slope[1].sum(), x)[1], [2.0, 2.0])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_norm_of_negative_order_does_not_move_while_an_element_is_zero():
    x = tracked([0.0, 1.0, 2.0])
    assert grad(np.linalg.norm(x, -1), x).tolist() == [0.0, 0.0, 0.0]


# Singular matrices


def test_the_determinant_of_singular_matrices_has_both_derivatives():
    for matrix in (np.arange(9.0).reshape(3, 3), np.diag([1.0, 1.0, 0.0]), np.zeros((3, 3)), np.ones((3, 3))):
        assert gradcheck(np.linalg.det, matrix)
        assert gradgradcheck(np.linalg.det, matrix)
        assert gradgradcheck(np.linalg.det, np.stack([matrix, np.eye(3), normal(3, 3)]))


def test_the_derivative_of_the_determinant_of_a_large_singular_matrix_takes_little_memory():
    left, right = normal(90, 89), normal(89, 90)
    x = tracked(left @ right / 90)
    loss = np.linalg.det(x)
    tracemalloc.start()
    try:
        grad(loss, x)
        assert tracemalloc.get_traced_memory()[1] < 20 * x.data.nbytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("function", "remedy"),
    [(lambda x: np.linalg.slogdet(x)[1], "det"), (lambda x: np.linalg.qr(x)[1].sum(), "columns")],
)
def test_what_has_no_derivative_at_a_singular_matrix_is_refused(function, remedy):
    x = tracked([[1.0, 2.0], [2.0, 4.0]])
    with pytest.raises(NoDerivativeError, match=remedy):
        function(x).backward()


# Repeated eigenvalues and singular values


def rotated(*values):
    """A symmetric matrix with these eigenvalues, up to rounding."""
    q, _ = np.linalg.qr(normal(len(values), len(values)))
    x = (q * values) @ q.T
    return (x + x.T) / 2


def by_eigh(f):
    def function(x):
        values, vectors = np.linalg.eigh(x)
        return vectors * f(values) @ vectors.T

    return function


def by_svd(f):
    def function(x):
        u, s, vh = np.linalg.svd(x, full_matrices=False)
        return u * f(s) @ vh

    return function


def by_eig(f):
    def function(x):
        values, vectors = np.linalg.eig(x)
        return np.real(vectors * f(values) @ np.linalg.inv(vectors))

    return function


@pytest.mark.parametrize("function", [np.exp, np.sqrt, np.ones_like, lambda values: 1 / values])
@pytest.mark.parametrize("by", [by_eigh, by_svd, by_eig])
@pytest.mark.parametrize("matrix", [np.eye(3), rotated(1.0, 1.0, 2.0), np.diag([1.0, 2.0, 2.0])])
def test_functions_of_a_matrix_through_vectors_of_repeated_values_are_refused(matrix, by, function):
    x = tracked(matrix)
    with pytest.raises(NoDerivativeError, match=r"repeated.*matrix_power.*small random matrix"):
        by(function)(x)[0, 1].backward()


@pytest.mark.parametrize("by", [by_eigh, by_svd, by_eig])
def test_the_logarithm_of_the_identity_is_refused_though_the_gradients_of_its_vectors_are_zero(by):
    x = tracked(np.eye(3))
    with pytest.raises(NoDerivativeError, match="repeated"):
        by(np.log)(x)[0, 1].backward()


def test_one_matrix_of_a_stack_with_repeated_values_is_enough_to_refuse():
    x = tracked(np.stack([rotated(1.0, 2.0, 3.0), np.eye(3)]))
    with pytest.raises(NoDerivativeError, match="repeated"):
        np.linalg.eigh(x)[1].sum().backward()


@pytest.mark.parametrize("by", [by_eigh, by_svd, by_eig])
def test_functions_of_a_matrix_are_right_once_a_small_perturbation_has_parted_its_values(by):
    x = tracked(np.eye(3) + 1e-4 * rotated(1.0, 2.0, 4.0))
    weights = normal(3, 3) + normal(3, 3).T
    (by(lambda values: values**3)(x) * weights).sum().backward()
    y = tracked(x.data)
    (y @ y @ y * weights).sum().backward()
    np.testing.assert_allclose(x.grad + x.grad.T, y.grad + y.grad.T, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    "values",
    [
        np.linalg.eigvalsh,
        lambda x: np.linalg.eigh(x)[0],
        lambda x: np.real(np.linalg.eigvals(x)),
        lambda x: np.real(np.linalg.eig(x)[0]),
        np.linalg.svdvals,
        lambda x: np.linalg.svd(x)[1],
    ],
)
def test_functions_of_repeated_values_alone_are_differentiated(values):
    x = tracked(np.diag([1.0, 2.0, 2.0]))
    (values(x) ** 3).sum().backward()
    np.testing.assert_allclose(x.grad, np.diag([3.0, 12.0, 12.0]), atol=1e-12)


def test_the_vectors_of_the_largest_values_are_differentiated_though_the_others_are_zero_up_to_rounding():
    tall, wide = normal(5, 2), normal(2, 4)

    def largest(x):
        u, s, vh = np.linalg.svd(x, full_matrices=False)
        return u[:, :2] * s[:2] @ vh[:2]

    assert gradcheck(lambda tall, wide: largest(np.matmul(tall, wide)), [tall, wide])


def test_the_product_of_all_three_factors_of_a_matrix_of_low_rank_has_its_right_gradient():
    x, weights = tracked(normal(5, 2) @ normal(2, 4)), normal(5, 4)
    (by_svd(lambda s: s)(x) * weights).sum().backward()
    np.testing.assert_allclose(x.grad, weights, atol=1e-8)


@pytest.mark.parametrize("shape", [(3, 2), (2, 3)])
def test_vectors_of_a_singular_value_that_is_zero_are_refused_in_a_matrix_that_is_not_square(shape):
    x = np.zeros(shape)
    x[0, 0] = 2.0
    x = tracked(x)
    with pytest.raises(NoDerivativeError, match="or zero"):
        by_svd(lambda s: s)(x).sum().backward()


@pytest.mark.parametrize("function", [np.linalg.eigvals, lambda x: np.linalg.eig(x)[0]])
def test_eigenvalues_of_a_matrix_with_too_few_eigenvectors_are_refused(function):
    x = tracked([[1.0, 1.0], [0.0, 1.0]])
    with pytest.raises(NoDerivativeError, match="fewer eigenvectors"):
        np.real(function(x) ** 2).sum().backward()


def test_second_derivatives_of_nearly_repeated_eigenvalues_of_a_nearly_defective_matrix_are_refused():
    p = normal(3, 3)
    x = tracked(p @ np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 3.0]]) @ np.linalg.inv(p))
    slope = grad(np.real(np.linalg.eigvals(x) ** 2).sum(), x, create_graph=True)
    np.testing.assert_allclose(slope.data, 2 * x.data.T, atol=1e-5)
    with pytest.raises(NoDerivativeError, match="repeated"):
        slope.sum().backward()


# Matrices without elements


@pytest.mark.parametrize("shape", [(0, 0), (0, 2, 2), (2, 0, 0)])
@pytest.mark.parametrize(
    "function",
    [
        np.linalg.inv,
        np.linalg.det,
        np.linalg.eigh,
        np.linalg.eigvals,
        np.linalg.svd,
        np.linalg.qr,
        np.linalg.cholesky,
        np.linalg.pinv,
        lambda x: np.linalg.solve(x, x),
        lambda x: np.linalg.slogdet(x)[1],
        lambda x: np.linalg.matrix_power(x, -2),
        lambda x: np.linalg.matrix_power(x, 0),
        # Older ones know no norm of a matrix without elements.
        *([lambda x: np.linalg.norm(x, 1, (-2, -1))] if NUMPY >= "2.3.0" else []),
    ],
)
def test_matrices_without_elements_have_gradients_without_elements(function, shape):
    x = tracked(np.zeros(shape))
    results = function(x)
    results = results if isinstance(results, tuple) else (results,)
    gradient = grad(results, x, [np.ones_like(y.data) for y in results], allow_unused=True)
    assert gradient.shape == shape


# Many pieces at once


def calls_of(function):
    """How many Python functions it calls: its work, whatever the machine."""
    count = [0]

    def counted(frame, event, argument):
        count[0] += event == "call"

    before = sys.getprofile()
    sys.setprofile(counted)
    try:
        function()
    finally:
        sys.setprofile(before)
    return count[0]


@pytest.mark.parametrize(
    "function",
    [
        lambda xs: np.stack(xs),
        lambda xs: np.concatenate(xs, axis=None),
        lambda xs: np.vstack(xs),
        lambda xs: np.block([[x] for x in xs]),
        lambda xs: sum(np.split(np.concatenate(xs), len(xs))),
        lambda xs: sum(np.array_split(np.concatenate(xs), len(xs))),
        *([lambda xs: sum(np.unstack(np.stack(xs)))] if hasattr(np, "unstack") else []),
        lambda xs: np.select([np.ones(2, bool)] * len(xs), xs),
        lambda xs: np.einsum("ij->j", np.stack(xs)),
    ],
)
def test_first_and_second_derivatives_take_work_in_proportion_to_the_pieces(function):
    def work(number):
        leaves = [tracked([1.0, 2.0]) for _ in range(number)]

        def derive():
            gradients = grad((function(leaves) ** 2).sum(), leaves, create_graph=True, allow_unused=True)
            used = [gradient for gradient in gradients if gradient is not None]
            grad(np.stack(used).sum(), leaves, allow_unused=True)

        return calls_of(derive)

    work(10)
    assert work(80) < 2.3 * work(40)


def test_the_derivative_of_a_product_of_many_matrices_multiplies_in_proportion_to_them():
    def products(number):
        leaves = [tracked(np.eye(2)) for _ in range(number)]
        loss = np.linalg.multi_dot(leaves).sum()
        return calls_of(lambda: grad(loss, leaves))

    products(3)
    assert products(24) < 2.5 * products(12)


@pytest.mark.parametrize("shapes", [[(5, 2), (2, 3), (3, 2)], [(2, 3), (3, 2), (2, 4), (4, 5)], [(3,), (3, 2), (2, 4)]])
def test_a_product_of_matrices_may_be_tall_or_wide(shapes):
    check(lambda *factors: np.linalg.multi_dot(list(factors)), *(normal(*shape) for shape in shapes))
