"""The graph: recording, the walk back, its gradients, its memory, and who may record when."""

import gc
import threading
import weakref

import numpy as np
import pytest

from tinygrad_np import Tensor, grad, nn, no_grad
from tinygrad_np.debug import gradcheck
from tinygrad_np.errors import GraphError, ShapeError


def tracked(data, dtype=None):
    return Tensor(data, requires_grad=True, dtype=dtype)


# backward


def test_backward_fills_the_gradients_of_the_leaves():
    x, w = tracked([1.0, 2.0]), tracked([3.0, 4.0])
    (x * w).sum().backward()
    assert (x.grad.tolist(), w.grad.tolist()) == ([3.0, 4.0], [1.0, 2.0])


def test_gradients_add_up_until_they_are_cleared():
    x = tracked([1.0, 2.0])
    (x * x).sum().backward()
    (x * 3).sum().backward()
    assert x.grad.tolist() == [5.0, 7.0]
    x.grad = None
    (x * 3).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


@pytest.mark.parametrize("data", [1.5, [1.5], np.float32(1.5), [[1.5, 2.5]]])
def test_a_gradient_is_an_array_of_the_leafs_shape_and_dtype_however_often_it_is_added_to(data):
    x = tracked(data)
    for _ in range(3):
        (x * 2).sum().backward()
        assert type(x.grad) is np.ndarray
        assert (x.grad.shape, x.grad.dtype) == (x.shape, x.dtype)


def test_a_leaf_can_be_walked_from():
    x = tracked([1.0, 2.0])
    x.backward([3.0, 4.0])
    assert x.grad.tolist() == [3.0, 4.0]


def test_only_leaves_keep_gradients():
    x = tracked([1.0])
    y = x * 2
    y.sum().backward()
    with pytest.raises(GraphError, match="retain_grad"):
        y.grad  # noqa: B018
    assert (x.is_leaf, y.is_leaf) == (True, False)


def test_leaves_without_requires_grad_get_none():
    x, c = tracked([1.0]), Tensor([2.0])
    (x * c).sum().backward()
    assert c.grad is None
    with pytest.raises(GraphError, match="requires_grad=True"):
        c.grad = np.ones(1)


def test_backward_from_what_requires_no_gradient_says_why():
    with pytest.raises(GraphError, match="does not require grad"):
        (Tensor(1.0) * 2).backward()


def test_a_tensor_used_twice_gets_the_sum_of_both_gradients():
    x = tracked(3.0)
    (x * x).backward()
    assert x.grad == 6.0


def test_a_tensor_used_in_many_places_gets_the_sum_of_all_gradients():
    x = tracked(2.0)
    y = x * x
    z = y * x + y * y + x  # x^3 + x^4 + x
    z.backward()
    assert x.grad == 3 * 4 + 4 * 8 + 1


def test_paths_of_different_lengths_meet_in_the_right_order():
    x = tracked(1.0)
    long = x
    for _ in range(50):
        long = long * 1.1
    (long * x + x).backward()
    np.testing.assert_allclose(x.grad, 2 * 1.1**50 + 1)


def test_what_the_result_does_not_depend_on_gets_no_gradient():
    x, other = tracked(1.0), tracked(1.0)
    _ = other * x
    (x * 2).backward()
    assert other.grad is None


# The gradient to start from


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_a_single_element_needs_no_gradient_to_start_from(shape):
    x = tracked(np.full(shape, 3.0))
    (x * x).backward()
    np.testing.assert_array_equal(x.grad, np.full(shape, 6.0))


@pytest.mark.parametrize("shape", [(2,), (0,), (2, 3)])
def test_several_elements_need_a_gradient_to_start_from(shape):
    with pytest.raises(GraphError, match="can be implied only for a scalar, but the result has shape") as caught:
        (tracked(np.ones(shape)) * 2).backward()
    assert isinstance(caught.value, RuntimeError)


@pytest.mark.parametrize("gradient", [[1.0, 10.0], np.array([1, 10]), np.array([1.0, 10.0], "f4"), Tensor([1.0, 10.0])])
def test_a_gradient_to_start_from_can_be_given(gradient):
    x = tracked([1.0, 2.0])
    (x * x).backward(gradient)
    assert x.grad.tolist() == [2.0, 40.0]


@pytest.mark.parametrize("gradient", [np.ones(3), np.ones((2, 1)), np.ones(()), 1.0])
def test_a_gradient_of_another_shape_is_refused(gradient):
    y = tracked([1.0, 2.0]) * 2
    with pytest.raises(ShapeError, match=r"the given gradient has shape .*, but the result has shape \(2,\)"):
        y.backward(gradient)
    with pytest.raises(ShapeError, match=r"the given gradient has shape"):
        grad(y, y, gradient)


# Freeing


def test_a_second_walk_says_that_the_first_one_freed_the_graph():
    x = tracked(2.0)
    y = x * x
    y.backward()
    with pytest.raises(GraphError, match=r"freed by an earlier backward.*retain_graph=True"):
        y.backward()
    assert x.grad == 4.0


def test_a_graph_that_shares_a_freed_part_says_so_and_leaves_the_gradients_as_they_were():
    x, w = tracked(2.0), tracked(3.0)
    shared = x * x
    first, second = shared * 2, shared * w
    first.backward()
    with pytest.raises(GraphError, match="freed"):
        second.backward()
    assert (x.grad, w.grad) == (8.0, None)


def test_a_retained_graph_can_be_walked_again():
    x = tracked(2.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad == 8.0


def test_grad_frees_the_graph_too_unless_asked():
    x = tracked(2.0)
    y = x * x
    assert grad(y, x, retain_graph=True) == 4.0
    assert grad(y, x) == 4.0
    with pytest.raises(GraphError, match="freed"):
        grad(y, x)


def test_a_walk_to_an_intermediate_result_leaves_the_graph_behind_it_alone():
    # As when a network is cut in two, and the gradient at the cut is sent from one half to the other.
    x = tracked(2.0)
    cut = x * x
    slope = grad(cut * 3, cut)
    cut.backward(slope)
    assert x.grad == 12.0


def test_a_walk_to_an_intermediate_result_needs_nothing_behind_it():
    x = tracked(2.0)
    cut = x * x
    cut.backward()
    assert grad(cut * 3, cut) == 3.0


# Ownership of memory


def test_two_leaves_never_share_the_memory_of_their_gradients():
    a, b, c = tracked(np.ones(3)), tracked(np.ones(3)), tracked(np.ones((1, 3)))
    given = np.ones((1, 3))
    (a + b + c).backward(given)
    arrays = [a.grad, b.grad, c.grad, given]
    for i, array in enumerate(arrays):
        for other in arrays[:i]:
            assert not np.shares_memory(array, other)


@pytest.mark.parametrize("given", [np.ones(3), np.ones(3)[::-1], Tensor(np.ones(3)), np.broadcast_to(1.0, 3)])
@pytest.mark.parametrize("function", [lambda x: x, lambda x: x + 1, lambda x: x.reshape(3, 1).reshape(3)])
def test_a_gradient_never_shares_memory_with_the_given_one(function, given):
    x = tracked(np.ones(3))
    function(x).backward(given)
    assert not np.shares_memory(x.grad, given.data if isinstance(given, Tensor) else given)
    x.grad += 1  # and can be written to
    gradient = grad(function(x), x, given)
    assert not np.shares_memory(gradient, given.data if isinstance(given, Tensor) else given)
    gradient += 1


def test_gradients_from_one_sum_can_be_written_to_one_by_one():
    a, b = tracked(np.ones(2)), tracked(np.ones(2))
    first, second = grad((a + b).sum(), [a, b])
    first += 10
    assert second.tolist() == [1.0, 1.0]


def test_a_gradient_that_was_handed_out_stays_as_it_is_when_more_is_added():
    x = tracked(np.ones(2))
    (x * 2).sum().backward()
    before = x.grad
    (x * 3).sum().backward()
    assert before.tolist() == [2.0, 2.0]


# grad


def test_grad_returns_arrays_and_touches_no_leaf():
    x, w = tracked([1.0, 2.0]), tracked(3.0)
    gradients = grad((x * w).sum(), [x, w])
    assert [type(gradient) for gradient in gradients] == [np.ndarray, np.ndarray]
    assert [gradient.tolist() for gradient in gradients] == [[3.0, 3.0], 3.0]
    assert (x.grad, w.grad) == (None, None)


def test_grad_goes_to_any_tensor_of_the_graph():
    x = tracked(2.0)
    y = x * x
    z = y * y
    assert [gradient.item() for gradient in grad(z, [z, y, x])] == [1.0, 8.0, 32.0]


def test_the_gradient_of_an_intermediate_result_counts_all_its_uses():
    x = tracked(2.0)
    y = x * x
    z = y * x + y
    assert [gradient.item() for gradient in grad(z, [y, x])] == [3.0, 16.0]


def test_grad_of_several_outputs_is_that_of_their_sum():
    x = tracked(2.0)
    assert grad([x * x, x * 3], x) == 7.0
    y = x * 5
    assert grad([y, y], x) == 10.0
    assert grad([x * x, x * 3], [x], [np.array(10.0), None])[0] == 43.0


def test_grad_says_which_input_was_not_used():
    x, other = tracked(1.0), tracked([1.0, 2.0])
    with pytest.raises(GraphError, match=r"input 1 \(shape \(2,\)\).*allow_unused=True"):
        grad(x * 2, [x, other])
    assert grad(x * 2, [x, other], allow_unused=True)[1] is None


def test_grad_says_which_tensor_requires_no_gradient():
    x = tracked(1.0)
    with pytest.raises(GraphError, match="input 1 does not require grad"):
        grad(x * 2, [x, Tensor(1.0)])
    with pytest.raises(GraphError, match="output 0 does not require grad"):
        grad(Tensor(1.0), x)


def test_grad_asks_for_as_many_starting_gradients_as_outputs():
    x = tracked(1.0)
    with pytest.raises(ValueError, match=r"argument|grad_outputs"):
        grad([x * 2, x * 3], x, [np.array(1.0)])


def test_the_starting_gradients_may_be_one_array():
    x = tracked(1.0)
    assert grad([x * 2, x * 3], x, np.array([1.0, 10.0])) == 32.0


# Higher derivatives


def test_with_create_graph_a_gradient_can_be_differentiated_to_any_order():
    x = tracked(2.0)
    y = x**4
    derivatives = []
    for _ in range(4):
        y = grad(y, x, create_graph=True)
        derivatives.append(y.item())
    assert derivatives == [32.0, 48.0, 48.0, 24.0]


def test_third_derivatives_through_many_kinds_of_functions():
    x = np.array([0.3, -0.7, 1.1])

    def f(x):
        y = np.concatenate([np.exp(x[:2]), np.stack([x[2], x[0]])])
        return (np.tanh(y.reshape(2, 2) @ np.array([[1.0, 2.0], [3.0, 4.0]])) ** 2).sum()

    def second(x):
        (first,) = grad(f(x), [x], create_graph=True)
        return grad((first * np.arange(1.0, 4.0)).sum(), x, create_graph=True)

    assert gradcheck(second, x)


def test_a_gradient_made_with_create_graph_is_a_tensor_even_if_constant():
    x = tracked(2.0)
    slope = grad(x * 3, x, create_graph=True)
    assert isinstance(slope, Tensor)
    assert not slope.requires_grad


def test_create_graph_keeps_the_graph():
    x = tracked(2.0)
    y = x**3
    slope = grad(y, x, create_graph=True)
    assert grad(slope, x) == 12.0
    assert grad(y, x) == 12.0


def test_a_starting_gradient_can_itself_be_differentiated():
    x, v = tracked([1.0, 2.0]), tracked([3.0, 4.0])
    slope = grad(x * x, x, v, create_graph=True)
    assert grad(slope.sum(), v).tolist() == [2.0, 4.0]


def test_backward_goes_through_a_gradient():
    x, w = tracked(2.0), tracked(3.0)
    slope = grad(w * x**3, x, create_graph=True)
    (slope * slope).backward()
    assert w.grad == 2 * 3 * 9 * 16
    assert x.grad == 2 * (3 * 3 * 4) * (3 * 6 * 2)


def test_a_gradient_of_a_gradient_with_float32_stays_float32():
    x = tracked([1.0, 2.0], np.float32)
    slope = grad((x**3).sum(), x, create_graph=True)
    assert slope.dtype == np.float32
    assert grad(slope.sum(), x).dtype == np.float32


# no_grad


def in_thread(function):
    """Run the function in a new thread, which has a recording state of its own, and return its result."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


def test_no_grad_records_nothing():
    x = tracked(2.0)
    with no_grad():
        assert not (x * x).requires_grad
        assert not np.concatenate([x[None], x[None]]).requires_grad
    assert (x * x).requires_grad


def test_no_grad_nests():
    x = tracked(2.0)
    with no_grad():
        with no_grad():
            pass
        assert not (x * x).requires_grad
    assert (x * x).requires_grad


def test_one_no_grad_can_be_entered_again_while_it_is_entered():
    def work():
        guard = no_grad()
        with guard, guard:
            pass
        return (tracked(2.0) * 2).requires_grad

    assert in_thread(work)


def test_no_grad_ends_with_an_error():
    x = tracked(2.0)
    with pytest.raises(KeyError), no_grad():
        raise KeyError
    assert (x * x).requires_grad


def test_no_grad_decorates_functions():
    @no_grad()
    def square(x):
        """Squares."""
        return x * x

    x = tracked(2.0)
    assert not square(x).requires_grad
    assert square.__name__ == "square"
    assert (x * x).requires_grad


def test_a_function_decorated_with_no_grad_may_call_itself():
    @no_grad()
    def power(x, n):
        return x if n == 1 else x * power(x, n - 1)

    def work():
        x = tracked(2.0)
        return power(x, 3).requires_grad, (x * x).requires_grad

    assert in_thread(work) == (False, True)


def test_parameters_can_be_changed_in_place_without_being_recorded():
    x = tracked([1.0])
    x.data -= 0.5
    assert x.is_leaf
    assert x.data.tolist() == [0.5]


# Threads


def test_no_grad_holds_for_its_own_thread_only():
    x = tracked(2.0)
    with no_grad():
        assert in_thread(lambda: (x * x).requires_grad)
    entered, leave = threading.Event(), threading.Event()

    def hold():
        with no_grad():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait(10)
    assert (x * x).requires_grad
    leave.set()
    thread.join()


def test_a_decorated_function_in_two_threads_leaves_both_recording():
    inside, go_on = threading.Event(), threading.Event()

    @no_grad()
    def evaluate(wait):
        if wait:
            inside.set()
            go_on.wait(10)

    recording = []

    def first():
        evaluate(True)
        recording.append((tracked(1.0) * 2).requires_grad)

    thread = threading.Thread(target=first)
    with no_grad():
        thread.start()
        inside.wait(10)
        evaluate(False)  # enters and leaves while the other thread is inside, from a thread that does not record
        go_on.set()
        thread.join()
    assert recording == [True]
    assert (tracked(1.0) * 2).requires_grad


def test_threads_can_record_and_walk_at_once():
    w = Tensor(np.linspace(0, 1, 5))
    results = {}

    def work(seed):
        x = tracked(np.random.default_rng(seed).normal(size=5))
        for _ in range(50):
            y = x
            for _ in range(20):
                y = np.tanh(y * w + x)
            (gradient,) = grad(y.sum(), [x])
        results[seed] = gradient

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    together = dict(results)
    for seed in range(4):
        work(seed)
        np.testing.assert_array_equal(together[seed], results[seed])


# Size and memory


def chain(length):
    x = y = tracked(1.0)
    for _ in range(length):
        y = y * 1.000001
    return x, y


def test_a_long_chain_differentiates_and_is_freed():
    x, y = chain(100_000)
    y.backward()
    np.testing.assert_allclose(x.grad, 1.000001**100_000)
    x, y = chain(100_000)
    del y


@pytest.mark.slow
def test_a_chain_of_a_million_operations_differentiates_and_is_freed():
    x, y = chain(1_000_000)
    y.backward()
    np.testing.assert_allclose(x.grad, 1.000001**1_000_000)
    x, y = chain(1_000_000)
    del y


def test_a_long_chain_differentiates_twice():
    x, y = chain(3_000)
    slope = grad(y * y, x, create_graph=True)
    np.testing.assert_allclose(grad(slope, x), 2 * 1.000001**6_000)


class Watched(np.ndarray):
    """An array that takes weak references, unlike a plain one. A graph keeps it as a constant."""


def watched(values):
    array = np.array(values).view(Watched)
    return array, weakref.ref(array)


@pytest.fixture
def without_garbage_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("without_garbage_collector")
def test_dropping_the_loss_frees_everything_at_once():
    x = tracked(np.ones(2))
    constant, alive = watched([1.0, 2.0])
    y = np.concatenate([np.exp(x * constant), x])
    first, second = np.split(y, 2)
    loss = (np.stack([first, second])[:, [0, 1]] @ np.ones(2)).sum()
    intermediate = weakref.ref(y)
    del constant, y, first, second
    assert alive() is not None
    del loss
    assert alive() is None
    assert intermediate() is None


@pytest.mark.usefixtures("without_garbage_collector")
def test_backward_frees_what_the_graph_saved_while_the_loss_lives():
    x = tracked(np.ones(2))
    constant, alive = watched([1.0, 2.0])
    loss = (x * constant).sum()
    del constant
    loss.backward()
    assert alive() is None


@pytest.mark.usefixtures("without_garbage_collector")
def test_a_graph_of_second_derivatives_has_no_cycles():
    x = tracked(np.ones(2))
    constant, alive = watched([1.0, 2.0])
    loss = np.concatenate([np.sin(x * constant), np.split(x, 2)[0]]).sum()
    (slope,) = grad(loss, [x], create_graph=True)
    del constant, loss
    assert alive() is not None
    del slope
    assert alive() is None


@pytest.mark.usefixtures("without_garbage_collector")
def test_a_training_step_leaves_nothing_for_the_garbage_collector():
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 2))
    loss_function = nn.CrossEntropyLoss()
    x, target = np.ones((5, 3), np.float32), np.zeros(5, int)
    for _ in range(3):
        loss = loss_function(model(x), target)
        loss.backward()
        del loss
        assert gc.collect() == 0


# Odd arrays


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0, 2)])
def test_empty_arrays_have_empty_gradients(shape):
    x = tracked(np.zeros(shape))
    np.tanh(x * 2 + 1).sum().backward()
    assert x.grad.shape == shape


def test_views_with_strides_are_ordinary_inputs():
    base = np.arange(24.0).reshape(4, 6)
    x = tracked(base[::-2, 1::3])
    (x.T @ x).sum().backward()
    copy = tracked(base[::-2, 1::3].copy())
    (copy.T @ copy).sum().backward()
    np.testing.assert_array_equal(x.grad, copy.grad)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.longdouble])
def test_other_precisions_differentiate_in_their_own(dtype):
    x = tracked([1.0, 2.0], dtype)
    y = (np.exp(x) * x / (1 + x**2)).mean()
    assert y.dtype == dtype
    y.backward()
    assert x.grad.dtype == dtype


@pytest.mark.parametrize("data", [[1.0, 2.0], 1.0])
def test_the_data_of_a_leaf_can_be_replaced_between_steps(data):
    x = tracked(data)
    for _ in range(2):
        (x * np.ones((3, 1)) * x).sum().backward()
        assert x.grad.shape == x.shape
        x.data, x.grad = x.data - x.grad / 6, None  # which for an array without axes is a NumPy scalar
    np.testing.assert_array_equal(x.data, np.zeros(x.shape))
