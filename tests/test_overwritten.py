"""What a call saved for its derivative and was then written to: backward() raises, or gives the right gradient."""

import inspect
import weakref

import numpy as np
import pytest

from tinygrad_np import Tensor, functional, grad, nn, no_grad, optim
from tinygrad_np.errors import GraphError


def tracked(data):
    return Tensor(np.array(data, dtype=float), requires_grad=True)


def in_no_grad(change):
    def changed(c):
        with no_grad():
            change(c)

    return changed


def out_of_a_function(c):
    np.sum(np.ones((2, 2)), axis=0, out=c)


def clipped(c):
    np.clip(np.array([7.0, 8.0]), 0, 1, c)


def fancy(c):
    c[[0, 1]] = 7.0


WAYS = {
    "+=": lambda c: c.__iadd__(1),
    "**=": lambda c: c.__ipow__(2),
    "@=": lambda c: c.__imatmul__(np.array([[0.0, 1.0], [1.0, 0.0]])),
    "assignment": lambda c: c.__setitem__(0, 7.0),
    "fancy assignment": fancy,
    "assignment within no_grad": in_no_grad(lambda c: c.__setitem__(slice(None), 0.0)),
    "sort": lambda c: c.sort(),
    "out= of a ufunc": lambda c: np.add(c, 1, out=c),
    "out= with where=": lambda c: np.add(c, 1, out=c, where=np.array([True, False])),
    "out= of a ufunc of several results": lambda c: np.divmod(np.array([5.0, 7.0]), 2.0, out=(c, None)),
    "out= of a function": out_of_a_function,
    "out by position": clipped,
    "overwrite_input=": lambda c: np.median(c, overwrite_input=True),
    "copy=False": lambda c: np.nan_to_num(c, copy=False),
    "copyto": lambda c: np.copyto(c, 0.0),
    "put": lambda c: np.put(c, [0], 7.0),
    "putmask": lambda c: np.putmask(c, [True, False], 7.0),
    "place": lambda c: np.place(c, [True, False], 7.0),
    "ufunc.at": lambda c: np.add.at(c, [0], 1.0),
    "data +=": lambda c: setattr(c, "data", c.data.__iadd__(1)),
    "a view of it": lambda c: c[:1].__iadd__(1),
    "a Tensor that shares its memory": lambda c: c.detach().__iadd__(1),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_constant_that_a_derivative_needs_may_not_be_overwritten(way):
    x, c = tracked([3.0, 4.0]), Tensor([5.0, 2.0])
    y = (x * c).sum()
    WAYS[way](c)
    with pytest.raises(GraphError, match=r"multiply saved .* was overwritten"):
        y.backward()
    assert x.grad is None


MASKING = {
    "abs": (np.abs, -1.0),
    "clip to a wide range": (lambda x: np.clip(x, -10, 10), 100.0),
    "clip to a narrow range": (lambda x: np.clip(x, 0.4, 0.6), 100.0),
    "maximum": (lambda x: np.maximum(x, 0), -1.0),
    "leaky_relu": (functional.leaky_relu, -1.0),
    "sin": (np.sin, 3.0),
}


@pytest.mark.parametrize("name", MASKING)
def test_a_single_element_counts_that_only_chooses_a_branch(name):
    function, other = MASKING[name]
    x = tracked([0.5])
    y = function(x)
    with no_grad():
        x[...] = other
    with pytest.raises(GraphError, match="overwritten"):
        y.backward(np.ones(1))


def test_arguments_given_by_keyword_count():
    x, mask = tracked([1.0, 2.0]), Tensor([True, False])
    y = np.sum(x, where=mask)
    mask[...] = False
    with pytest.raises(GraphError, match="sum saved"):
        y.backward()


LINEAR = {
    "getitem": lambda x: x[1:],
    "concatenate": lambda x: np.concatenate([x, x]),
    "mean": lambda x: np.mean(x, keepdims=True),
    "astype": lambda x: x.astype(np.float32),
    "cumsum": np.cumsum,
    "convolve": lambda x: np.convolve(x, [1.0, 2.0]),
    "correlate": lambda x: np.correlate(x, [1.0, 2.0]),
    "matmul": lambda x: x @ np.ones((3, 2)),
    "einsum": lambda x: np.einsum("i,j->j", x, np.ones(2)),
    "rfft": lambda x: np.fft.rfft(x).real,
    "split": lambda x: np.split(x, 3)[0],
}


@pytest.mark.parametrize("name", LINEAR)
def test_the_argument_of_a_linear_function_may_be_overwritten(name):
    x, same = tracked([1.0, 2.0, 3.0]), tracked([1.0, 2.0, 3.0])
    y = LINEAR[name](x).sum()
    LINEAR[name](same).sum().backward()
    with no_grad():
        x *= 5
    y.backward()
    np.testing.assert_array_equal(x.grad, same.grad)


@pytest.mark.parametrize("way", ["+=", "assignment within no_grad", "sort", "put"])
def test_a_parameter_that_a_derivative_needs_may_not_be_overwritten(way):
    w = tracked([3.0, 1.0])
    y = (w * w).sum()
    with no_grad():
        WAYS[way](w)
    with pytest.raises(GraphError, match="overwritten"):
        y.backward()


def test_a_result_that_its_own_derivative_needs_may_not_be_overwritten():
    x = tracked([1.0, 2.0])
    y = np.exp(x)
    with no_grad():
        y += 1
    with pytest.raises(GraphError, match=r"exp saved"):
        y.sum().backward()


def test_the_error_names_the_line_that_wrote():
    x, c = tracked([3.0]), Tensor([5.0])
    y = (x * c).sum()
    line = inspect.currentframe().f_lineno + 1
    c += 10
    with pytest.raises(GraphError, match=rf"test_overwritten\.py:{line}"):
        y.backward()


@pytest.mark.parametrize("way", ["+=", "assignment", "copyto", "sort"])
def test_what_no_derivative_needs_may_be_overwritten(way):
    x, c = tracked([3.0, 4.0]), Tensor([5.0, 2.0])
    y = (x + c).sum() + np.sum(x * 2)
    WAYS[way](c)
    y.backward()
    assert x.grad.tolist() == [3.0, 3.0]


def test_a_derivative_of_differences_needs_its_array():
    x, c = tracked([3.0, 4.0]), Tensor([5.0, 2.0])
    y = np.var(x + c)
    z = x + c
    w = np.var(z)
    y.backward(retain_graph=True)
    with no_grad():
        z += [1.0, 0.0]
    with pytest.raises(GraphError, match="var saved"):
        w.backward()


def test_masks_and_indices_count_too():
    x = tracked([1.0, 2.0, 3.0])
    for index in (Tensor([0, 1]), Tensor([True, False, True])):
        y = x[index].sum()
        index[0] = 2 if index.dtype != bool else False
        with pytest.raises(GraphError, match="getitem saved"):
            y.backward()


def test_what_was_written_before_the_call_does_no_harm():
    x, c = tracked([3.0, 4.0]), Tensor([5.0, 2.0])
    c += 1
    (x * c).sum().backward()
    assert x.grad.tolist() == [6.0, 3.0]


def test_what_is_written_after_backward_does_no_harm():
    w = tracked([3.0, 4.0])
    for expected in ([6.0, 8.0], [5.4, 7.2]):
        w.grad = None
        (w * w).sum().backward()
        np.testing.assert_allclose(w.grad, expected)
        with no_grad():
            w -= 0.05 * w.grad


def test_grad_refuses_it_too_and_a_derivative_made_before_stays_right():
    x, c = tracked([3.0, 4.0]), Tensor([5.0, 2.0])
    y = (x * x * c).sum()
    slope = grad(y, x, create_graph=True)
    c += 1
    with pytest.raises(GraphError, match="overwritten"):
        grad(y, x)
    assert grad(slope.sum(), x).tolist() == [10.0, 4.0]


@pytest.mark.parametrize(
    "change",
    [
        lambda model: optim.SGD(model.parameters(), lr=0.1).step(),
        lambda model: optim.Adam(model.parameters(), lr=0.1).step(),
        lambda model: optim.RMSprop(model.parameters(), lr=0.1).step(),
        lambda model: optim.AdamW(model.parameters(), lr=0.1).step(),
        lambda model: optim.ema_update_(model.parameters(), nn.Linear(2, 1).parameters(), 0.5, 0),
        lambda model: model.load_state_dict(nn.Linear(2, 1).state_dict()),
        lambda model: nn.init.kaiming_normal_(model.weight, np.random.default_rng(0)),
    ],
)
def test_whatever_of_this_project_changes_a_parameter_is_noticed(change):
    model = nn.Linear(2, 1)
    x = tracked([[1.0, 2.0]])
    model(x).sum().backward()
    y = model(x).sum()
    change(model)
    with pytest.raises(GraphError, match="linear saved"):
        y.backward()


def test_running_statistics_that_move_do_not_spoil_an_earlier_graph():
    norm = nn.BatchNorm1d(2)
    x = tracked([[1.0, 2.0], [3.0, 5.0], [0.0, 1.0]])
    first, second = norm(x).sum(), norm(x * 2).sum()
    first.backward()
    second.backward()


def test_notes_about_arrays_that_are_gone_are_dropped():
    from tinygrad_np import writes

    c = Tensor(np.ones(3))
    c += 1
    key, gone = id(c.data), weakref.ref(c.data)
    assert key in writes.WRITES
    del c
    assert gone() is None
    assert key not in writes.WRITES


def test_two_losses_of_one_model_may_be_differentiated_before_a_step():
    model = nn.Linear(2, 2)
    x, target = np.ones((3, 2), np.float32), np.zeros(3, int)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    losses = [functional.cross_entropy(model(x), target) for _ in range(2)]
    for loss in losses:
        loss.backward()
    optimizer.step()


def test_an_array_overwritten_through_a_window_is_noticed():
    x = Tensor(np.arange(1.0, 5.0), requires_grad=True)
    y = np.exp(x)
    z = y * y
    windows = np.lib.stride_tricks.sliding_window_view(y.detach().array, 2, writeable=True)
    Tensor(windows)[0, 0] = 7.0
    with pytest.raises(GraphError, match="overwritten"):
        z.sum().backward()
