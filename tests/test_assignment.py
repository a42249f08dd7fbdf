"""Index assignment and output arguments are recorded, or refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays

from tinygrad_np import Tensor, compile, differentiable, grad, no_grad
from tinygrad_np.debug import gradcheck, gradgradcheck
from tinygrad_np.errors import DTypeError, GraphError, NoDerivativeError


def tracked(data):
    return Tensor(np.array(data, dtype=np.float64), requires_grad=True)


def test_a_value_assigned_to_an_element_gets_its_gradient():
    y = tracked(3.0)
    x = Tensor(np.zeros(3))
    x[1] = y * 2
    (x * [1.0, 10.0, 100.0]).sum().backward()
    assert y.grad == 20.0


def test_the_elements_not_assigned_to_keep_their_gradient_and_the_others_lose_it():
    x = tracked([1.0, 2.0, 3.0])
    z = x * 1
    z[1] = 0.0
    (z * z).sum().backward()
    assert x.grad.tolist() == [2.0, 0.0, 6.0]


def test_an_assignment_in_a_loop_builds_up_a_recurrence():
    a = tracked(2.0)
    x = Tensor(np.ones(5))
    for i in range(1, 5):
        x[i] = x[i - 1] * a
    assert x.data.tolist() == [1.0, 2.0, 4.0, 8.0, 16.0]
    x[4].backward()
    assert a.grad == 4 * 2.0**3


def test_what_was_computed_before_an_assignment_keeps_its_right_gradient():
    x = tracked([1.0, 2.0])
    y = x * 1
    before = (y * y).sum()
    y[0] = 100.0
    assert grad(before, x).tolist() == [2.0, 4.0]


@settings(deadline=None, max_examples=60)
@given(arrays.basic_indices((3, 4)) | arrays.integer_array_indices((3, 4)) | arrays.arrays(bool, (3, 4)))
def test_any_index_assigns_as_in_numpy_with_the_right_derivatives(index):
    generator = np.random.default_rng(0)
    x, value = generator.standard_normal((3, 4)), generator.standard_normal(np.zeros((3, 4))[index].shape)
    expected = x.copy()
    expected[index] = value

    def assigned(x, value):
        result = x.copy()
        result[index] = value
        return result * result

    np.testing.assert_array_equal(assigned(Tensor(x), Tensor(value)).data, expected**2)
    gradcheck(assigned, [x, value])
    gradgradcheck(assigned, [x, value])


def test_a_value_is_broadcast_and_may_be_a_list_of_tensors():
    y = tracked(3.0)
    x = Tensor(np.zeros((2, 3)))
    x[:, 1:] = y
    x[0] = [y, 1.0, y * 2]
    x.sum().backward()
    assert y.grad == 2 + 1 + 2


def test_in_place_operators_differentiate():
    x, y = tracked([1.0, 2.0]), tracked([3.0, 4.0])
    z = x * 1
    z += y
    z *= z
    z.sum().backward()
    assert x.grad.tolist() == y.grad.tolist() == [8.0, 12.0]


def test_an_element_can_be_added_to_in_place():
    y = tracked(2.0)
    x = Tensor(np.ones(3))
    x[0] += y
    x[0] *= y
    x.sum().backward()
    assert y.grad == 1 + 2 * 2.0


def test_an_output_argument_that_is_a_tensor_takes_the_result_and_its_history():
    x = tracked([1.0, 2.0])
    out = Tensor(np.zeros(2))
    assert np.multiply(x, x, out=out) is out
    out.sum().backward()
    assert x.grad.tolist() == [2.0, 4.0]


def test_an_output_argument_that_is_an_array_cannot_take_a_history():
    with pytest.raises(NoDerivativeError, match="out="):
        np.add(tracked([1.0]), 1.0, out=np.zeros(1))


def test_an_argument_called_out_that_the_rule_knows_is_an_input():
    @differentiable(lambda g, product, x, out: g * out, lambda g, product, x, out: g * x)
    def times(x, out):
        return x * out

    x, y = Tensor([3.0], requires_grad=True), Tensor([2.0])
    before = x * y
    for made in (times(y, y), times(y, out=y)):
        assert type(made) is Tensor
        assert made.data.tolist() == [4.0]
    before.backward()
    assert x.grad.tolist() == [2.0]


def test_a_leaf_with_a_gradient_cannot_be_assigned_to_but_without_recording():
    x = tracked([1.0, 2.0])
    with pytest.raises(GraphError, match="leaf"):
        x[0] = 5.0
    with no_grad():
        x[0] = 5.0
    assert x.data.tolist() == [5.0, 2.0]


@pytest.mark.parametrize("view", [lambda x: x[0], lambda x: x.T, lambda x: x.reshape(-1), lambda x: x[:, 1:]])
def test_a_view_cannot_be_assigned_a_history_because_numpy_would_change_what_it_views(view):
    y = tracked(1.0)
    with pytest.raises(GraphError, match="view"):
        view(Tensor(np.zeros((2, 3))))[0] = y
    with pytest.raises(GraphError, match="view"):
        view(tracked(np.zeros((2, 3))))[0] = 1.0


def test_integers_cannot_take_in_a_history():
    x = Tensor(np.zeros(3, dtype=int))
    with pytest.raises(DTypeError, match="int64"):
        x[0] = tracked(1.0)


def test_an_assignment_without_any_gradient_is_numpys():
    array = np.zeros(3)
    x = Tensor(array)
    x[Tensor([0, 2])] = Tensor([1.0, 2.0])
    assert array.tolist() == [1.0, 0.0, 2.0]


# Operators in place


def test_an_in_place_operator_without_recording_writes_to_the_array():
    w = tracked([1.0, 2.0])
    same = w
    with no_grad():
        w -= 0.5
    assert w is same
    assert w.requires_grad
    assert w.data.tolist() == [0.5, 1.5]
    x = y = Tensor([1.0])
    x += 1
    assert y.data.tolist() == [2.0]


@pytest.mark.parametrize("axis", [0, 1, -1, None])
def test_put_along_axis_is_recorded_as_an_assignment(axis):
    generator = np.random.default_rng(0)
    x = generator.standard_normal((3, 4))
    indices = np.array([5, 2]) if axis is None else np.argmax(x, axis=axis, keepdims=True)
    values = generator.standard_normal(indices.shape)
    expected = x.copy()
    np.put_along_axis(expected, indices, values, axis)

    def put(x, values):
        result = x.copy()
        np.put_along_axis(result, indices, values, axis)
        return result * result

    np.testing.assert_array_equal(put(Tensor(x), Tensor(values)).data, expected**2)
    gradcheck(put, [x, values])


def test_copyto_is_recorded_as_an_assignment_also_in_a_compiled_function():
    def copied(x, y):
        z = np.tanh(x)
        np.copyto(z, y, where=[True, False, True])
        return z

    pairs = np.random.default_rng(0).standard_normal((2, 2, 3))
    gradcheck(copied, list(pairs[0]))
    compiled = compile(copied)
    for x, y in pairs:
        np.testing.assert_array_equal(compiled(Tensor(x), Tensor(y)).data, [y[0], np.tanh(x[1]), y[2]])


def test_a_view_of_an_array_that_nobody_else_sees_can_be_assigned_to():
    x = Tensor(np.arange(4.0), requires_grad=True)
    y = np.reshape(x * x, (2, 2))
    y -= 1
    y[0] = 0
    assert y.data.tolist() == [[0, 0], [3, 8]]
    y.sum().backward()
    assert x.grad.tolist() == [0, 0, 4, 6]
    flat = x * x
    for view in (np.reshape(flat, (2, 2)), flat[1:], flat.detach().data[1:] * x[1:]):
        if view.array.base is not None:
            with pytest.raises(GraphError, match="a view of another array"):
                view -= 1
    inner = np.reshape(x * x, (2, 2))
    other = inner.T
    with pytest.raises(GraphError, match="a view of another array"):
        inner -= 1
    assert other.shape == (2, 2)

    @differentiable(lambda g, out, x, y: np.ravel(g), lambda g, out, x, y: np.zeros_like(y))
    def square(x, y):
        return np.reshape(x, (2, 2))

    view = square(flat, flat)
    with pytest.raises(GraphError, match="a view of another array"):
        view -= 1
