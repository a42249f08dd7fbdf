"""The edges of the array functions: odd arguments, memory layouts, arrays without axes or elements, singular matrices.

What NumPy takes gives the right derivative, or an error that names the remedy; nothing is wrong in silence.
"""

import numpy as np
import pytest

from tinygrad_np import Tensor, grad
from tinygrad_np.debug import gradcheck, gradgradcheck


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


@pytest.mark.parametrize("shift", [np.uint8(1), True, np.array([1, 2], np.uint8)])
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
