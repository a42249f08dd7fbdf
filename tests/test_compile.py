"""`compile`: what a program is made for, what it reads anew, what it refuses, and what it leaves alone."""

import ast
import copy
import gc
import re
import sys
import threading
import tracemalloc
import warnings
from collections import namedtuple

import numpy as np
import pytest

from tinygrad_np import Tensor, compile, debug, differentiable, func, functional, grad, nn, no_grad, optim, visualize
from tinygrad_np.compiler.write import definition
from tinygrad_np.derivatives.table import RULES
from tinygrad_np.errors import AnomalyError, ArgumentTypeError, GraphError, NoDerivativeError, ShapeError, TraceError
from tinygrad_np.recording import state

GENERATOR = np.random.default_rng(0)


def normal(*shape, dtype=np.float64):
    return GENERATOR.standard_normal(shape).astype(dtype)


def counted(function):
    """The function compiled, and the list that grows by one when Python runs the function itself."""
    runs = []

    def counting(*args, **kwargs):
        runs.append(len(runs))
        return function(*args, **kwargs)

    return compile(counting), runs


def network(*more, generator=0):
    return nn.Sequential(nn.Linear(5, 4, generator=generator), nn.ReLU(), *more, nn.Linear(4, 3, generator=1))


def batch(rows=6):
    return normal(rows, 5, dtype=np.float32), GENERATOR.integers(0, 3, rows)


def loss_of(model):
    return lambda images, labels: functional.cross_entropy(model(images), labels)


def gradients(loss, model):
    return grad(loss, list(model.parameters()))


def recording():
    now = state.get()
    return {name: getattr(now, name) for name in now.__slots__}


def assert_close(ours, theirs, rtol=1e-6, atol=1e-6):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(getattr(a, "array", a), getattr(b, "array", b), rtol=rtol, atol=atol)


# What a program is made for


def test_arrays_of_the_same_kind_share_a_program():
    f, runs = counted(lambda x, y: np.tanh(x) * y)
    for _ in range(4):
        x, y = normal(3, 2), normal(2)
        np.testing.assert_array_equal(f(x, y), np.tanh(x) * y)
    assert len(runs) == 1


@pytest.mark.parametrize(
    "other",
    [
        normal(4),
        normal(3).astype(np.float32),
        np.arange(3),
        normal(6)[::2],
        normal(3)[::-1],
        normal(1, 3),
        Tensor(normal(3), requires_grad=True),
    ],
    ids=["shape", "single", "integers", "strided", "reversed", "ndim", "requires grad"],
)
def test_other_shapes_dtypes_strides_and_needs_of_gradients_have_programs_of_their_own(other):
    f, runs = counted(lambda x: np.sum(np.cumsum(x) * 2))
    x = normal(3)
    for value in x, other, x, other:
        result = f(value)
        expected = np.sum(np.cumsum(value) * 2)
        assert_close([result], [expected])
        assert getattr(result, "requires_grad", False) is getattr(expected, "requires_grad", False)
    assert len(runs) == 2


def test_fortran_ordered_and_negatively_strided_arrays_give_what_numpy_gives():
    f = compile(lambda x: (np.ravel(x), np.reshape(x, -1, order="A"), x.T @ x, np.copy(x)))
    x = normal(3, 4)
    for value in x, np.asfortranarray(x), x[::-1], x[:, ::-1], np.asfortranarray(2 * x), -x:
        for ours, theirs in zip(
            f(value), (np.ravel(value), np.reshape(value, -1, order="A"), value.T @ value, np.copy(value)), strict=True
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-13, atol=1e-13)


def test_within_no_grad_nothing_is_recorded_and_outside_again_it_is():
    f = compile(lambda x: np.sum(x * x))
    x = Tensor(normal(3), requires_grad=True)
    for _ in range(2):
        assert f(x).requires_grad
        with no_grad():
            assert not f(x).requires_grad
            assert isinstance(f(x), Tensor)


def test_training_and_evaluation_have_programs_of_their_own():
    model = network(nn.Dropout(0.5, generator=1), nn.BatchNorm1d(4))
    twin = copy.deepcopy(model)
    f, runs = counted(model)
    for mode in True, False, True, False, False:
        model.train(mode)
        twin.train(mode)
        x, _ = batch()
        assert_close([f(x)], [twin(x)])
    assert len(runs) == 2


def test_the_mode_of_one_inner_module_counts():
    model = network(nn.Dropout(0.5, generator=1))
    f = compile(model)
    x, _ = batch()
    f(x)
    model[2].eval()
    assert_close([f(x)], [model(x)])
    assert_close([f(x)], [f(x)])


def test_keywords_and_trees_are_inputs_like_any_others():
    pair = namedtuple("pair", ["first", "second"])
    f, runs = counted(lambda tree, *, scale, more=None: tree["a"] * scale + tree["b"][0].second + more[0])
    for _ in range(3):
        tree = {"a": normal(2), "b": [pair(normal(2), normal(2))]}
        scale, more = normal(2), (normal(2),)
        expected = tree["a"] * scale + tree["b"][0].second + more[0]
        np.testing.assert_array_equal(f(tree, scale=scale, more=more), expected)
        np.testing.assert_array_equal(f(tree, more=more, scale=scale), expected)
    assert len(runs) <= 2


def test_keys_of_dicts_and_names_of_keywords_count():
    f = compile(lambda tree=None, **more: sum((i + 2) * v for i, v in enumerate([*(tree or more).values()])))
    g = compile(lambda **more: more.get("a", 0) * 2 + more.get("b", 0) * 3)
    x, y = normal(2), normal(2)
    np.testing.assert_array_equal(g(a=x), 2 * x)
    np.testing.assert_array_equal(g(b=x), 3 * x)
    np.testing.assert_array_equal(g(a=y, b=x), 2 * y + 3 * x)
    np.testing.assert_array_equal(f({"a": x, "b": y}), 2 * x + 3 * y)
    np.testing.assert_array_equal(f({"b": x, "a": y}), 2 * x + 3 * y)


def test_none_among_the_arguments_stays_none():
    f = compile(lambda x, mask, y: x * y if mask is None else x * mask)
    for _ in range(2):
        x, y = normal(2), normal(2)
        np.testing.assert_array_equal(f(x, None, y), x * y)
        np.testing.assert_array_equal(f(x, y, None), x * y)


def test_a_list_is_not_a_tuple():
    f = compile(lambda items: items[0] * (2 if isinstance(items, list) else 3))
    x = normal(2)
    for _ in range(2):
        np.testing.assert_array_equal(f([x]), 2 * x)
        np.testing.assert_array_equal(f((x,)), 3 * x)


@pytest.mark.parametrize(
    ("one", "other"),
    [(2, 3), (2, 2.0), (1, True), ("up", "down"), (None, 1), (2.0, 3.0), (0.0, -0.0), (float("inf"), float("nan"))],
)
def test_what_is_no_array_counts_by_value_and_type(one, other):
    def own(x, mode):
        number = {"up": 1, "down": -1, None: 7}.get(mode, mode)
        return np.copysign(x, number) * number * (5 if isinstance(mode, bool) else 1)

    f = compile(own)
    x = normal(3)
    for mode in one, other, one, other:
        ours, theirs = f(x, mode), own(x, mode)
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype


def test_nan_as_a_number_does_not_make_a_program_at_every_call():
    f, runs = counted(lambda x, fill: np.where(x > 0, x, fill))
    for _ in range(3):
        f(normal(3), float("nan"))
    assert len(runs) == 1


def test_numpys_scalars_and_numbers_give_arrays_where_the_function_does():
    f = compile(func.grad(lambda x: np.sum(x**3)))
    for x in 2.0, np.float64(2.0), np.array(2.0), 3, np.float32(1.5):
        ours, theirs = f(x), func.grad(lambda x: np.sum(x**3))(x)
        assert type(ours) is type(theirs)
        np.testing.assert_array_equal(ours, theirs)


def test_numpys_scalars_change_without_another_program():
    f, runs = counted(lambda x, scale: x * scale)
    x = normal(3)
    for _ in range(30):
        scale = GENERATOR.standard_normal()
        np.testing.assert_array_equal(f(x, np.float64(scale)), x * scale)
    assert len(runs) == 1


def test_an_argument_whose_changes_would_not_be_noticed_is_refused():
    f = compile(lambda x, options: x * len(options))
    with pytest.raises(ArgumentTypeError, match=r"'a'.*tuple"):
        f(np.ones(2), {"a"})
    np.testing.assert_array_equal(f(np.ones(2), frozenset("ab")), [2.0, 2.0])
    np.testing.assert_array_equal(f(np.ones(2), frozenset("abc")), [3.0, 3.0])


def test_a_function_without_array_arguments_runs_at_every_call():
    w = Tensor(normal(3), requires_grad=True)
    f = compile(lambda: np.sum(w * w))
    for _ in range(3):
        loss = f()
        loss.backward()
        np.testing.assert_allclose(w.grad, 2 * w.data)
        w.grad = None
        w.data -= 0.5


def test_sixteen_programs_warn_once_and_name_what_varies():
    f = compile(lambda x: x * 2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for n in range(1, 20):
            np.testing.assert_array_equal(f(np.ones(n)), 2 * np.ones(n))
    assert len(caught) == 1
    message = str(caught[0].message)
    assert "16" in message
    assert "(3,)" in message
    assert caught[0].filename == __file__


# What is read anew


def test_optimizers_change_what_the_next_call_computes():
    ours, theirs = network(), network()
    step = compile(loss_of(ours))
    optimizers = [optim.Adam(ours.parameters(), 0.01), optim.Adam(theirs.parameters(), 0.01)]
    for _ in range(5):
        images, labels = batch()
        losses = step(images, labels), loss_of(theirs)(images, labels)
        assert_close(*[[loss] for loss in losses])
        for loss, optimizer in zip(losses, optimizers, strict=True):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert_close(ours.parameters(), theirs.parameters())


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.load_state_dict({k: v * 2 for k, v in model.state_dict().items()}),
        lambda model: setattr(model[0], "weight", nn.Parameter(model[0].weight.data * 3)),
        lambda model: setattr(model[0], "bias", None),
        lambda model: setattr(model[0].weight, "data", model[0].weight.data * 3),
        lambda model: setattr(model[0].weight, "data", np.asfortranarray(model[0].weight.data)),
        lambda model: setattr(model[0].weight, "data", model[0].weight.data.astype(np.float64)),
        lambda model: setattr(model[0].weight, "requires_grad", False),
        lambda model: [setattr(p, "requires_grad", False) for p in model.parameters()],
        lambda model: model[0].weight.data.fill(0.25),
    ],
    ids=["load", "parameter", "no bias", "data", "order", "dtype", "frozen", "all frozen", "filled"],
)
def test_parameters_are_read_at_each_call(change):
    model = network()
    step = compile(loss_of(model))
    images, labels = batch()
    step(images, labels).backward()
    for _ in range(2):
        change(model)
        ours, theirs = step(images, labels), loss_of(model)(images, labels)
        assert_close([ours], [theirs])
        assert ours.dtype == theirs.dtype
        assert ours.requires_grad is theirs.requires_grad
        tracked = [p for p in model.parameters() if p.requires_grad]
        assert_close(grad(ours, tracked), grad(theirs, tracked)) if tracked else None


def test_a_parameter_frozen_and_thawed_again_learns():
    model = network()
    step = compile(loss_of(model))
    images, labels = batch()
    for frozen in False, True, False:
        model[0].weight.requires_grad = not frozen
        model.zero_grad()
        step(images, labels).backward()
        assert (model[0].weight.grad is None) is frozen


def test_a_replaced_module_is_used():
    model = network()
    f = compile(lambda x: model(x))
    x, _ = batch()
    f(x)
    model[0] = nn.Linear(5, 4, generator=7)
    assert_close([f(x)], [model(x)])


def test_buffers_are_read_at_each_call():
    class Scaled(nn.Module):
        def __init__(self):
            self.scale = np.ones(3)

        def forward(self, x):
            return x * self.scale

    model = Scaled()
    f = compile(model)
    x = normal(2, 3)
    np.testing.assert_array_equal(f(x), x)
    model.scale[...] = 2.0
    np.testing.assert_array_equal(f(x), 2 * x)
    model.scale = np.full(3, 5.0)
    np.testing.assert_array_equal(f(x), 5 * x)
    model.load_state_dict({"scale": np.full(3, 7.0)})
    np.testing.assert_array_equal(f(x), 7 * x)


def test_what_a_module_computes_from_its_buffers_alone_is_computed_at_each_call():
    class Scaled(nn.Module):
        def __init__(self):
            self.scale = np.ones(3)

        def forward(self, x):
            return x * (np.sqrt(self.scale) + 1)

    model = Scaled()
    f = compile(model)
    x = normal(2, 3)
    f(x)
    model.scale[...] = 9.0
    np.testing.assert_array_equal(f(x), 4 * x)


def test_what_a_module_writes_to_its_buffers_is_written_at_each_call_or_refused():
    class Counting(nn.Module):
        def __init__(self):
            self.calls = np.zeros(())

        def forward(self, x):
            self.calls += 1
            return x * 2

    model = Counting()
    f = compile(model)
    try:
        for _ in range(3):
            f(normal(2))
    except TraceError:
        return
    assert model.calls == 3


def test_evaluation_uses_the_running_statistics_as_they_are():
    ours, theirs = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    f = compile(ours)
    for mode in True, False, True, False, True, False:
        ours.train(mode)
        theirs.train(mode)
        x = normal(8, 3, dtype=np.float32) * 2 + 1
        assert_close([f(x)], [theirs(x)])


def test_a_tensor_in_the_closure_is_read_at_each_call():
    held = {"w": Tensor(normal(3))}
    f = compile(lambda x: x * held["w"])
    x = normal(3)
    f(x)
    held["w"].data = normal(3)
    assert_close([f(x)], [x * held["w"]])
    held["w"].data[...] = 3.0
    assert_close([f(x)], [x * 3.0])


def test_tied_weights_get_the_sum_of_both_gradients():
    class Tied(nn.Module):
        def __init__(self):
            self.first = nn.Linear(4, 4, generator=0)
            self.second = nn.Linear(4, 4, generator=1)
            self.second.weight = self.first.weight

        def forward(self, x):
            return self.second(np.tanh(self.first(x)))

    model = Tied()
    f = compile(lambda x: np.sum(model(x) ** 2))
    for _ in range(3):
        x = normal(2, 4, dtype=np.float32)
        assert_close(gradients(f(x), model), gradients(np.sum(model(x) ** 2), model))


# Nothing is baked in

INTEGER_PROGRAMS = {
    "labels": lambda x, i, m: x[np.arange(4), i],
    "labels of a negative log-likelihood": lambda x, i, m: functional.nll_loss(functional.log_softmax(x), i),
    "mask": lambda x, i, m: np.where(m, x, 0.0),
    "mask selecting": lambda x, i, m: x[m].sum() + x[m].mean(),
    "inverted mask": lambda x, i, m: x * ~m,
    "argmax": lambda x, i, m: np.take_along_axis(x, x.argmax(axis=1)[:, None], axis=1),
    "argmax as an index": lambda x, i, m: x[np.arange(4), x.argmax(axis=1)],
    "argsort": lambda x, i, m: x[np.argsort(x[:, 0])],
    "accuracy": lambda x, i, m: np.mean(x.argmax(axis=1) == i) + x.sum(),
    "comparison": lambda x, i, m: x * (x > 0),
    "counts": lambda x, i, m: x / (1 + (x > 0).sum()),
    "sign": lambda x, i, m: x * np.sign(x[::-1]),
    "integer arithmetic": lambda x, i, m: x * ((i[:, None] * 2 + 1) // 2),
    "integer powers": lambda x, i, m: np.tanh(x) ** i[:, None],
    "integer division": lambda x, i, m: x * (i // 2)[:, None],
    "bits": lambda x, i, m: x * ((i << 1) ^ 1)[:, None],
    "one-hot": lambda x, i, m: x * (i[:, None] == np.arange(3)),
    "one-hot by eye": lambda x, i, m: x * Tensor(np.eye(3))[i],
    "floor": lambda x, i, m: x - np.floor(x),
    "nonzero": lambda x, i, m: x[np.nonzero(m)].sum(),
    "unique": lambda x, i, m: x * np.unique(i).sum(),
    "bincount": lambda x, i, m: x * np.bincount(i, minlength=3),
    "searchsorted": lambda x, i, m: x * np.searchsorted(np.array([-0.5, 0.5]), x),
    "isnan": lambda x, i, m: np.where(np.isnan(x), 0.0, x),
    "any": lambda x, i, m: np.where(np.any(m, axis=0), x, -x),
    "all of": lambda x, i, m: x * np.logical_and.reduce(m, axis=0),
    "reduceat": lambda x, i, m: x * np.add.reduceat(i, [0, 2]).sum(),
    "median": lambda x, i, m: x - np.median(x, axis=0),
    "clip": lambda x, i, m: np.clip(x, -0.5, i[0]),
    "where of one": lambda x, i, m: x[np.where(x > 0)].sum(),
    "choose": lambda x, i, m: np.choose(i % 2, [x[:, 0], x[:, 1]]),
    "repeat": lambda x, i, m: np.repeat(x, i, axis=0).sum(axis=0),
    "views written to": lambda x, i, m: x.T.reshape(-1)[i],
    "len and shapes": lambda x, i, m: x * len(x) / x.shape[1] + x.size,
    "roll": lambda x, i, m: np.roll(x, 1, axis=0) * m[::-1],
}


@pytest.mark.parametrize("tracked", [False, True], ids=["array", "Tensor"])
@pytest.mark.parametrize("own", INTEGER_PROGRAMS.values(), ids=INTEGER_PROGRAMS)
def test_nothing_of_the_first_call_stays(own, tracked):
    f = compile(own)
    for _ in range(4):
        x, i, m = normal(4, 3), GENERATOR.integers(0, 3, 4), GENERATOR.random((4, 3)) < 0.5
        m[0], x[0] = True, np.abs(x[0])
        if tracked:
            x = Tensor(x, requires_grad=True)
        ours, theirs = f(x, i, m), own(x, i, m)
        assert isinstance(ours, Tensor) is isinstance(theirs, Tensor)
        assert_close([ours], [theirs], 1e-12, 1e-12)
        if tracked:
            assert ours.requires_grad is theirs.requires_grad
            assert_close(*[grad(out, [x], np.ones(out.shape)) for out in (ours, theirs)], 1e-12, 1e-12)


def test_dropout_draws_anew_the_numbers_that_it_draws_without_compile():
    ours, theirs = network(nn.Dropout(0.5, generator=5)), network(nn.Dropout(0.5, generator=5))
    step, results = compile(ours), []
    x, _ = batch()
    for _ in range(4):
        result = step(x)
        np.testing.assert_array_equal(result.data, theirs(x).data)
        results.append(result.data)
    assert not np.array_equal(results[0], results[1])


def test_two_dropouts_of_equal_shape_draw_different_masks():
    generator = np.random.default_rng(0)
    f = compile(lambda x: functional.dropout(x, 0.5, generator) - functional.dropout(x, 0.5, generator))
    twin = np.random.default_rng(0)
    x = np.ones(50)
    for _ in range(2):
        expected = functional.dropout(x, 0.5, twin) - functional.dropout(x, 0.5, twin)
        result = f(x)
        assert_close([result], [expected])
        assert np.any(getattr(result, "array", result))


def test_running_statistics_move_at_each_call_as_without_compile():
    ours, theirs = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    f = compile(ours)
    for _ in range(4):
        x = normal(8, 3, dtype=np.float32) + 2
        assert_close([f(x)], [theirs(x)])
        assert_close(ours.state_dict().values(), theirs.state_dict().values())


def test_effects_of_dropped_results_take_place():
    norm, twin = nn.BatchNorm1d(3), nn.BatchNorm1d(3)

    def f(x):
        norm(x)
        return x * 2

    step = compile(f)
    for _ in range(3):
        x = normal(8, 3, dtype=np.float32) + 2
        step(x)
        twin(x)
        assert_close(norm.state_dict().values(), twin.state_dict().values())


# What is refused

REFUSED = {
    "bool": lambda x: x if x.sum() > 0 else -x,
    "while": lambda x: [x for _ in iter(lambda: bool(x.sum() > 100), False)][:1],
    "float": lambda x: x * float(x.sum()),
    "int": lambda x: x * int(x.sum()),
    "complex": lambda x: x * complex(x.sum()),
    "item": lambda x: x * x.sum().item(),
    "asarray": lambda x: x * np.asarray(x),
    "array": lambda x: x * np.array(x),
    "tolist": lambda x: x * x.tolist()[0],
    "in": lambda x: x * (1.0 in x),
    "print": lambda x: print(x) or x,
    "format": lambda x: f"{x.sum():.2f}" and x,
    "repr": lambda x: repr(x) and x,
    "range": lambda x: sum(x[i] for i in range((x > -100).sum())),
    "index of a list": lambda x: x * [1.0, 2.0, 3.0][x.argmax()],
    "max of Python": lambda x: x * max(x[0], x[1]),
    "min of Python": lambda x: min(x),
    "sorted": lambda x: sorted(x)[0],
    "any of Python": lambda x: x * any(x > 0),
    "assert": lambda x: (_ for _ in ()).throw(AssertionError) if not (x == x).all() else x,
    "hash of a set": lambda x: x * len({v.item() for v in x}),
    "out": lambda x: np.add(x, 1.0, out=np.empty(3)),
    "add.at": lambda x: np.add.at(np.zeros(3), [0], x[0]) or x,
    "fill": lambda x: x.fill(0.0) or x,
}
TAKEN = {"take from a constant": lambda x: x * np.take(np.eye(3), x.argmax(), axis=0)}
INDEXED = {"constant array indexed": lambda x: x * np.eye(3)[x.argmax()]}
DATA = {"data": lambda x: x * x.data, "numpy": lambda x: x * x.numpy()}


@pytest.mark.parametrize("what", REFUSED)
def test_what_would_leave_the_trace_is_refused_with_the_line_and_nothing_stays_behind(what, capsys):
    own = REFUSED[what]
    f = compile(lambda x: own(np.tanh(x)))
    before = recording()
    line = own.__code__.co_firstlineno
    for _ in range(2):
        with pytest.raises((TraceError, AttributeError) if what in ("tolist", "fill") else TraceError) as caught:
            f(normal(3))
        if caught.type is TraceError:
            assert re.search(rf"test_compile\.py:{line}\b", str(caught.value))
    assert recording() == before
    assert capsys.readouterr().out == ""
    x = Tensor(normal(3), requires_grad=True)
    np.sum(x * x).backward()
    np.testing.assert_allclose(x.grad, 2 * x.data)


@pytest.mark.parametrize(
    "what", ["bool", "float", "item", "asarray", "in", "print", "range", "max of Python", *DATA, *INDEXED, *TAKEN]
)
def test_the_same_with_a_tensor_that_requires_grad(what):
    own = (REFUSED | DATA | INDEXED | TAKEN)[what]
    f = compile(lambda x: own(np.tanh(x)))
    for _ in range(2):
        with pytest.raises(TraceError, match=rf"test_compile\.py:{own.__code__.co_firstlineno}\b"):
            f(Tensor(normal(3), requires_grad=True))


def test_the_value_of_a_parameter_is_refused():
    w = nn.Parameter(normal(3))
    with pytest.raises(TraceError, match="data"):
        compile(lambda x: x * w.data)(normal(3))


def test_an_argument_cannot_be_changed():
    def own(x):
        x[0] = 7.0
        return x * 2

    f = compile(own)
    x, tensor = normal(3), Tensor(normal(3))
    kept = x.copy()
    with pytest.raises(TraceError, match="change"):
        f(x)
    with pytest.raises(TraceError, match="change"):
        f(tensor)
    np.testing.assert_array_equal(x, kept)


def test_assignment_through_a_view_is_refused_or_reaches_the_whole():
    def own(x):
        t = np.tanh(x)
        t.T[0] = 1.0
        return t

    x = normal(2, 2)
    try:
        ours = compile(own)(x)
    except (TraceError, GraphError):
        return
    np.testing.assert_array_equal(ours, own(x))


def test_an_assignment_to_an_array_of_which_there_is_a_view_is_refused():
    def own(x):
        t = np.tanh(x)
        view = t[0]
        t[0] = 1.0
        return view * 1.0

    with pytest.raises(TraceError, match="of which there are views"):
        compile(own)(normal(2, 2))


def test_a_constant_array_written_to_with_a_followed_value_is_refused_or_right():
    def own(x):
        table = np.zeros(4)
        table[1:] = x
        return table * 2

    f = compile(own)
    for _ in range(3):
        x = normal(3)
        try:
            ours = f(x)
        except TraceError:
            continue
        np.testing.assert_array_equal(ours, own(x))


def test_a_failed_trace_moves_no_generator_and_no_statistics():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5, generator=0))
    twin = copy.deepcopy(model)

    def fails(x):
        return float(model(x).sum())

    x = normal(8, 3, dtype=np.float32)
    for _ in range(2):
        with pytest.raises(TraceError):
            compile(fails)(x)
    assert_close(model.state_dict().values(), twin.state_dict().values())
    assert_close([compile(model)(x)], [twin(x)])
    assert_close(model.state_dict().values(), twin.state_dict().values())


def test_an_error_of_the_function_itself_comes_through_and_later_calls_work():
    trouble = [True]

    def own(x):
        if trouble[0]:
            raise KeyError("mine")
        return x * 2

    f = compile(own)
    with pytest.raises(KeyError, match="mine"):
        f(np.ones(2))
    assert state.get().trace is None
    trouble[0] = False
    np.testing.assert_array_equal(f(np.ones(2)), [2.0, 2.0])


# Errors at later calls


def test_a_label_out_of_range_raises_at_later_calls_too():
    model = network()
    step = compile(loss_of(model))
    images, labels = batch()
    for _ in range(2):
        step(images, labels)
    wrong = labels.copy()
    wrong[2] = 3
    for function in loss_of(model), step:
        with pytest.raises(ValueError, match="between 0 and 2"):
            function(images, wrong)
    assert_close([step(images, labels)], [loss_of(model)(images, labels)])


def test_an_index_out_of_range_raises_at_later_calls_too():
    f = compile(lambda x, i: x[i] * 2)
    f(normal(3), np.array([0, 1]))
    with pytest.raises(IndexError):
        f(normal(3), np.array([0, 3]))


def test_shapes_that_do_not_fit_raise_what_they_raise_without_compile():
    model = network()
    f = compile(model)
    x, _ = batch()
    f(x)
    for _ in range(2):
        with pytest.raises(ShapeError, match="Linear"):
            f(x[:, :4].copy())
    assert_close([f(x)], [model(x)])


def test_a_singular_matrix_raises_at_later_calls():
    f = compile(lambda x: np.linalg.inv(x))
    f(np.eye(2))
    with pytest.raises(np.linalg.LinAlgError):
        f(np.zeros((2, 2)))
    np.testing.assert_array_equal(f(2 * np.eye(2)), np.eye(2) / 2)


def test_weights_that_sum_to_zero_raise_at_later_calls():
    f = compile(lambda x, w: np.average(x, weights=w))
    f(Tensor(normal(3), requires_grad=True), Tensor(np.ones(3)))
    with pytest.raises(ZeroDivisionError):
        f(Tensor(normal(3), requires_grad=True), Tensor(np.zeros(3)))


# What was handed out is the user's


def test_a_loss_may_be_differentiated_after_other_calls():
    model = network(nn.Dropout(0.5, generator=0))
    twin = copy.deepcopy(model)
    step = compile(loss_of(model))
    batches = [batch() for _ in range(5)]
    ours = [step(*given) for given in batches]
    theirs = [loss_of(twin)(*given) for given in batches]
    for i in 2, 0, 4, 1, 3:
        assert_close(gradients(ours[i], model), gradients(theirs[i], twin))


def test_a_backward_pass_may_be_repeated_with_retain_graph():
    f = compile(lambda x: np.sum(np.tanh(np.tanh(x)) * np.exp(x)))
    x = Tensor(normal(4), requires_grad=True)
    loss = f(x)
    loss.backward(retain_graph=True)
    first = x.grad.copy()
    f(Tensor(normal(4), requires_grad=True)).backward()
    loss.backward(retain_graph=True)
    np.testing.assert_array_equal(x.grad, 2 * first)
    loss.backward()
    np.testing.assert_array_equal(x.grad, 3 * first)
    with pytest.raises(GraphError, match="freed"):
        loss.backward()


def test_results_and_gradients_that_were_kept_do_not_change():
    model = network()
    _, labels = batch()

    def own(x, labels):
        scores = model(x)
        hidden = np.tanh(scores) * 2
        return functional.cross_entropy(scores, labels), scores, hidden, hidden.T

    step = compile(own)
    kept = []
    for _ in range(6):
        x = Tensor(normal(6, 5, dtype=np.float32), requires_grad=True)
        loss, *others = step(x, labels)
        arrays = [loss.data, *(t.data for t in others), *grad(loss, [x, *model.parameters()])]
        kept += [(array, array.copy()) for array in arrays]
        for array, copied in kept:
            np.testing.assert_array_equal(array, copied)


def test_what_the_user_writes_into_results_and_gradients_does_not_matter_later():
    model = network()
    twin = copy.deepcopy(model)
    step = compile(lambda x, labels: (functional.cross_entropy(model(x), labels), model(x)))
    for _ in range(5):
        images, labels = batch()
        loss, scores = step(images, labels)
        expected = loss_of(twin)(images, labels)
        assert_close([loss, scores], [expected, twin(images)])
        found = gradients(loss, model)
        assert_close(found, gradients(expected, twin))
        for array in [loss.data, scores.data, *found]:
            array[...] = 1e6


def test_arrays_handed_out_by_a_compiled_gradient_are_the_users():
    f = compile(func.value_and_grad(lambda x: np.sum(np.tanh(x) * x)))
    own = func.value_and_grad(lambda x: np.sum(np.tanh(x) * x))
    kept = []
    for _ in range(5):
        x = normal(4)
        value, gradient = f(x)
        assert_close([value, gradient], own(x), 1e-12)
        kept += [(value, value.copy()), (gradient, gradient.copy())]
        for array, copied in kept:
            np.testing.assert_array_equal(array, copied)
        gradient[...] = 1e6
        kept.pop()


def test_results_may_be_views_of_inputs_and_of_each_other():
    def own(x):
        t = np.tanh(x)
        return x, x.T, x[0], t, t.T, t[1:], t, np.reshape(t, -1), t * 2

    f = compile(own)
    for make in (lambda: normal(3, 2)), (lambda: Tensor(normal(3, 2), requires_grad=True)):
        kept = []
        for _ in range(4):
            x = make()
            ours = f(x)
            assert_close(ours, own(x), 1e-12)
            kept += [(t, getattr(t, "array", t).copy()) for t in ours]
        for value, copied in kept:
            np.testing.assert_array_equal(getattr(value, "array", value), copied)


def test_gradients_share_no_memory_with_each_other_or_anything():
    f = compile(lambda x, y: np.sum(x + y))
    x, y = Tensor(normal(3), requires_grad=True), Tensor(normal(3), requires_grad=True)
    for _ in range(3):
        x.grad = y.grad = None
        start = np.ones(())
        f(x, y).backward(start)
        assert not np.shares_memory(x.grad, y.grad)
        x.grad += 5
        np.testing.assert_array_equal(y.grad, np.ones(3))


def test_the_users_gradient_is_not_written_to():
    f = compile(lambda x: np.exp(np.tanh(x) * 2))
    x = Tensor(normal(4), requires_grad=True)
    for _ in range(3):
        start = normal(4)
        copied = start.copy()
        grad(f(x), [x], start)
        np.testing.assert_array_equal(start, copied)


def test_inputs_are_not_written_to():
    f = compile(lambda x, y: np.exp(np.tanh(x + y) * x) / y)
    for _ in range(4):
        x, y = normal(4), 2 + normal(4) ** 2
        copies = x.copy(), y.copy()
        f(x, y)
        np.testing.assert_array_equal((x, y), copies)


def test_an_input_overwritten_before_backward_raises():
    f = compile(lambda x, w: np.sum(np.tanh(x * w)))
    w = Tensor(normal(3), requires_grad=True)
    x = Tensor(normal(3), requires_grad=True)
    for _ in range(2):
        loss = f(x, w)
        with no_grad():
            w -= 0.1
        with pytest.raises(GraphError, match="overwritten"):
            loss.backward()


def test_a_parameter_overwritten_by_an_optimizer_before_backward_raises():
    model = network()
    step = compile(loss_of(model))
    optimizer = optim.SGD(model.parameters(), 0.1)
    for _ in range(2):
        first, second = step(*batch()), step(*batch())
        first.backward()
        optimizer.step()
        with pytest.raises(GraphError, match="overwritten"):
            second.backward()


def test_writing_to_what_the_derivative_does_not_depend_on_is_allowed():
    f = compile(lambda x: np.sum(x * 2))
    x = Tensor(normal(3), requires_grad=True)
    for _ in range(2):
        loss = f(x)
        with no_grad():
            x += 1.0
        loss.backward()


def test_the_memory_of_equal_calls_lives_as_long_as_views_of_any_of_them():
    def own(x):
        a, b = np.tanh(x), np.tanh(x)
        view = b[::-1]
        c = a * 3.0
        return np.sum(c) + np.sum(view * np.arange(3.0))

    f = compile(own)
    for _ in range(3):
        x = normal(3)
        np.testing.assert_allclose(f(x), own(x))


# Threads, recursion, nesting


@pytest.fixture
def hurried():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def in_threads(work, count=3):
    errors = []

    def run(number):
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@pytest.mark.usefixtures("hurried")
def test_threads_may_run_one_compiled_function():
    model = network()
    step = compile(lambda x, labels: (functional.cross_entropy(model(x), labels), np.tanh(model(x)) * 2))

    def work(number):
        generator = np.random.default_rng(number)
        for i in range(60):
            x = generator.standard_normal((6 + i % 3, 5)).astype(np.float32)
            labels = generator.integers(0, 3, len(x))
            loss, scores = step(x, labels)
            expected = loss_of(model)(x, labels)
            assert_close([loss, scores], [expected, np.tanh(model(x)) * 2])
            assert_close(gradients(loss, model), gradients(expected, model))

    in_threads(work)


@pytest.mark.usefixtures("hurried")
def test_a_loss_may_be_differentiated_in_another_thread():
    model = network()
    step = compile(loss_of(model))
    batches = [batch() for _ in range(12)]
    losses = [step(*given) for given in batches]
    expected = [gradients(loss_of(model)(*given), model) for given in batches]

    def work(number):
        for i in range(number, 12, 3):
            assert_close(gradients(losses[i], model), expected[i])

    in_threads(work)


def test_a_compiled_function_may_call_itself():
    def own(x, n):
        return np.tanh(x) if n == 0 else np.tanh(f(x, n - 1)) + own(x, 0)

    f = compile(own)
    for _ in range(3):
        x = normal(3)
        expected = np.tanh(x)
        for _ in range(4):
            expected = np.tanh(expected) + np.tanh(x)
        np.testing.assert_allclose(f(x, 4), expected)
        np.testing.assert_allclose(f(x, 0), np.tanh(x))


def test_compiled_functions_call_each_other_and_transforms_of_each_other():
    inner = compile(lambda x, w: np.sum(np.tanh(x * w)))
    outer = compile(lambda x, w: inner(x, w) + np.sum(func.grad(inner)(x, w) ** 2))
    x, w = Tensor(normal(3), requires_grad=True), Tensor(normal(3), requires_grad=True)

    def own(x, w):
        f = lambda x, w: np.sum(np.tanh(x * w))  # noqa: E731
        return f(x, w) + np.sum(func.grad(f)(x, w) ** 2)

    for _ in range(3):
        assert_close([outer(x, w)], [own(x, w)], 1e-12)
        assert_close(grad(outer(x, w), [x, w]), grad(own(x, w), [x, w]), 1e-12)
        x.data = normal(3)


def test_compile_of_a_compiled_function_is_one():
    f = compile(compile(lambda x: np.tanh(x) * 2))
    for _ in range(2):
        x = normal(3)
        np.testing.assert_array_equal(f(x), np.tanh(x) * 2)


def test_a_program_runs_while_another_result_of_it_is_alive():
    f = compile(lambda x: np.tanh(np.tanh(x) * 2) + 1)
    x = Tensor(normal(3), requires_grad=True)
    y = x
    for _ in range(5):
        y = f(y)
    expected = x
    for _ in range(5):
        expected = np.tanh(np.tanh(expected) * 2) + 1
    assert_close([y, *grad(y, [x], np.ones(3))], [expected, *grad(expected, [x], np.ones(3))], 1e-12)


# Derivatives of it, and of derivatives

SMOOTH = {
    "tanh": lambda x, y: np.sum(np.tanh(x * y) ** 2),
    "softmax": lambda x, y: np.sum(functional.softmax(x * 2) * y),
    "matmul": lambda x, y: np.sum(np.outer(x, y) @ (x * y)),
    "in place": lambda x, y: np.sum(assigned(x * y, y) ** 3),
    "integers": lambda x, y: np.sum(x[np.array([0, 0, 2])] ** 3 * y),
}


def assigned(t, value):
    t = t * 1.0
    t[1:] = value[1:] ** 2
    t[0] *= 3.0
    return t


TRANSFORMS = {
    "grad": lambda f: func.grad(f, [0, 1]),
    "value_and_grad": lambda f: func.value_and_grad(f),
    "jacobian": lambda f: func.jacobian(lambda x, y: np.tanh(x) * f(x, y), 1),
    "hessian": lambda f: func.hessian(f),
    "grad of grad": lambda f: func.grad(lambda x, y: np.sum(func.grad(f)(x, y) ** 2), 1),
    "jvp": lambda f: lambda x, y: func.jvp(f, [x, y], [y, x]),
    "vjp": lambda f: lambda x, y: func.vjp(f, x, y)[1](2.0),
    "hessian-vector product": lambda f: lambda x, y: func.hessian_vector_product(f)(x, y, y),
}


@pytest.mark.parametrize("own", SMOOTH.values(), ids=SMOOTH)
@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_transforms_go_through_it_and_are_compiled(transform, own):
    through, compiled, expected = transform(compile(own)), compile(transform(own)), transform(own)
    both = compile(transform(compile(own)))
    for _ in range(3):
        x, y = normal(3), normal(3)
        for ours in through(x, y), compiled(x, y), both(x, y):
            theirs = expected(x, y)
            for a, b in zip(*([v if isinstance(v, tuple) else [v] for v in (ours, theirs)]), strict=True):
                assert isinstance(a, np.ndarray)
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_gradients_through_it_may_be_differentiated_twice():
    own = lambda x, w: np.sum(np.tanh(x * w) ** 3)  # noqa: E731
    f = compile(own)
    for _ in range(3):
        x, w = Tensor(normal(3), requires_grad=True), Tensor(normal(3), requires_grad=True)
        results = []
        for g in f, own:
            (first,) = grad(g(x, w), [x], create_graph=True)
            (second,) = grad(np.sum(first**2), [w], create_graph=True)
            third = grad(np.sum(np.sin(second)), [x, w])
            results.append([first, second, *third])
        assert_close(*results, 1e-10, 1e-10)


def test_a_penalty_on_the_gradients_trains_parameters():
    model = nn.Sequential(nn.Linear(5, 4, generator=0), nn.Tanh(), nn.Linear(4, 1, generator=1))
    own = lambda x: np.sum(model(x))  # noqa: E731
    step = compile(own)
    whole = compile(lambda x: np.sum(func.grad(own)(x) ** 2))
    for _ in range(3):
        x = Tensor(normal(2, 5, dtype=np.float32), requires_grad=True)
        results = []
        for f in step, own:
            (slope,) = grad(f(x), [x], create_graph=True)
            results.append(grad(np.sum(slope**2), list(model.parameters()), allow_unused=True))
        results.append(grad(whole(x.data), list(model.parameters()), allow_unused=True))
        for other in results[::2]:
            for a, b in zip(other, results[1], strict=True):
                np.testing.assert_allclose(0 if a is None else a, 0 if b is None else b, rtol=1e-5, atol=1e-6)


def test_has_aux_and_trees_come_out_of_compiled_transforms():
    own = func.grad(lambda w, x: (np.sum(np.tanh(w["a"] * x) + w["b"]), {"x": x * w["a"], "n": 3}), has_aux=True)
    f = compile(own)
    for _ in range(3):
        w, x = {"a": normal(3), "b": normal(3)}, normal(3)
        (ours, aux), (theirs, expected) = f(w, x), own(w, x)
        assert list(ours) == ["a", "b"]
        assert_close(ours.values(), theirs.values(), 1e-12)
        np.testing.assert_array_equal(aux["x"], expected["x"])
        assert aux["n"] == 3
        assert type(aux["x"]) is type(expected["x"])


def test_complex_gradients_follow_the_convention():
    own = lambda z: np.sum(np.abs(np.exp(z) * z) ** 2)  # noqa: E731
    f = compile(own)
    for _ in range(3):
        z = Tensor(normal(3) + 1j * normal(3), requires_grad=True)
        assert_close(grad(f(z), [z]), grad(own(z), [z]), 1e-12)


def test_a_compiled_complex_result_is_differentiated():
    f = compile(lambda z: np.exp(z) * z)
    for _ in range(3):
        z = Tensor(normal(3) + 1j * normal(3), requires_grad=True)
        start = normal(3) + 1j * normal(3)
        assert_close(grad(f(z), [z], start), grad(np.exp(z) * z, [z], start), 1e-12)


def test_own_rules_are_called_at_each_call():
    @differentiable(lambda g, out, x: g * 3 * x**2)
    def cube(x):
        return x**3

    f = compile(lambda x: np.sum(cube(x) * 2))
    for _ in range(3):
        x = Tensor(normal(3), requires_grad=True)
        assert_close([f(x), *grad(f(x), [x])], [np.sum(x**3 * 2), 6 * x.data**2], 1e-12)


# Results of all kinds


def test_constants_none_inputs_dicts_and_repeated_tensors_may_be_returned():
    x = Tensor(normal(2), requires_grad=True)

    def own(x):
        t = x * 2
        return {"none": None, "number": 3, "text": "a", "x": x, "t": (t, t), "array": np.ones(2), "shape": x.shape}

    f = compile(own)
    for _ in range(3):
        result = f(x)
        assert result["none"] is None
        assert result["number"] == 3
        assert result["text"] == "a"
        assert result["shape"] == (2,)
        np.testing.assert_array_equal(result["array"], np.ones(2))
        assert_close([result["x"], *result["t"]], [x, x * 2, x * 2])
        first, second = result["t"]
        assert_close(grad(np.sum(first * second), [x], retain_graph=True), [8 * x.data])
        assert_close(grad(np.sum(result["x"] ** 2), [x]), [2 * x.data])


def test_a_constant_array_that_was_returned_may_be_written_to():
    f = compile(lambda x: (x * 2, np.ones(2)))
    for _ in range(3):
        _, ones = f(normal(2))
        np.testing.assert_array_equal(ones, np.ones(2))
        ones[...] = 5.0


def test_a_function_may_return_nothing_or_a_constant():
    f, g = compile(lambda x: None), compile(lambda x: 3.5)
    for _ in range(2):
        assert f(normal(2)) is None
        assert g(normal(2)) == 3.5


def test_a_result_whose_gradient_is_not_asked_for_counts_as_zero():
    f = compile(lambda x: (np.sum(x**2), np.exp(x), x * 3))
    for _ in range(2):
        x = Tensor(normal(3), requires_grad=True)
        first, _, third = f(x)
        assert_close(grad(first, [x], retain_graph=True), [2 * x.data])
        assert_close(grad([first, third], [x], [1.0, np.ones(3)]), [2 * x.data + 3])


def test_empty_arrays_and_numbers_in_arrays():
    own = lambda x: (np.sum(x), x * 2, x @ np.ones((4, 2)))  # noqa: E731
    f = compile(own)
    for _ in range(2):
        x = Tensor(np.zeros((0, 4)), requires_grad=True)
        assert_close(f(x), own(x))
        assert grad(f(x)[0], [x])[0].shape == (0, 4)
    g = compile(lambda x: np.sin(x) * x)
    for _ in range(3):
        x = Tensor(normal(), requires_grad=True)
        assert g(x).shape == ()
        assert_close([g(x), *grad(g(x), [x])], [np.sin(x) * x, np.cos(x.data) * x.data + np.sin(x.data)], 1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble, np.complex64, np.complex128])
def test_dtypes_are_those_without_compile(dtype):
    def own(x):
        y = np.tanh(x * 0.5) @ np.ones(3, np.float32).astype(dtype) + 1
        return np.sum(np.abs(y)), np.mean(x, axis=0), x * np.float32(2)

    f = compile(own)
    for _ in range(3):
        x = Tensor(normal(2, 3).astype(dtype), requires_grad=True)
        ours, theirs = f(x), own(x)
        for a, b in zip(ours, theirs, strict=True):
            assert a.dtype == b.dtype
        assert_close(ours, theirs, 1e-3 if dtype is np.float16 else 1e-6)
        (a,), (b,) = grad(ours[0], [x]), grad(theirs[0], [x])
        assert a.dtype == b.dtype
        assert_close([a], [b], 1e-2 if dtype is np.float16 else 1e-5)


def test_a_very_long_program():
    def own(x):
        for i in range(2000):
            x = x * 1.0001 + (0.001 if i % 2 else -0.001)
        return np.sum(x)

    f = compile(own)
    for _ in range(2):
        x = Tensor(normal(3), requires_grad=True)
        assert_close([f(x), *grad(f(x), [x])], [own(x), *grad(own(x), [x])], 1e-9)


def test_the_warnings_of_numpy_are_those_without_compile():
    f = compile(lambda x: np.log(x))
    f(np.ones(2))
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        f(np.zeros(2))


def test_compiled_methods():
    class Step:
        def __init__(self):
            self.w = Tensor(normal(3), requires_grad=True)
            self.bound = compile(self.loss)

        def loss(self, x):
            return np.sum(self.w * x)

        @compile
        def decorated(self, x):
            return np.sum(self.w * x)

    one, other = Step(), Step()
    for _ in range(3):
        x = normal(3)
        for step in one, other:
            assert_close([step.bound(x)], [step.loss(x)])
    x = normal(3)
    assert_close([Step.decorated(one, x), Step.decorated(other, x)], [one.loss(x), other.loss(x)])
    assert_close([one.decorated(x), other.decorated(x)], [one.loss(x), other.loss(x)])


def test_a_compiled_function_has_the_name_and_text_of_the_function():
    @compile
    def square(x):
        """x times x"""
        return x * x

    assert square.__name__ == "square"
    assert square.__doc__ == "x times x"


def test_hooks_scopes_and_names_remain():
    f = compile(lambda x: np.sum(x * x))
    x = Tensor(normal(3), requires_grad=True, name="x")
    f(x).backward()
    assert x.grad is not None
    middle = x * 2
    middle.retain_grad()
    f(middle).backward()
    np.testing.assert_allclose(middle.grad, 4 * x.data)


# Beside it


@pytest.mark.filterwarnings("ignore:.*runs without being compiled")
@pytest.mark.parametrize("inside", [debug.detect_anomaly, debug.trace])
def test_under_debug_the_function_itself_runs(inside):
    f, runs = counted(lambda x: np.sum(np.tanh(x)))
    x = Tensor(normal(3), requires_grad=True)
    f(x)
    f(x)
    assert len(runs) == 1
    with inside():
        f(x).backward()
    assert len(runs) == 2
    f(x)
    assert len(runs) == 2


@pytest.mark.filterwarnings("ignore:.*runs without being compiled")
def test_anomalies_are_found_in_the_function_itself():
    f = compile(lambda x: np.sum(np.log(x)))
    f(Tensor(np.ones(2), requires_grad=True))
    with pytest.raises(AnomalyError, match="log"), np.errstate(all="ignore"), debug.detect_anomaly():
        f(Tensor(-np.ones(2), requires_grad=True)).backward()


def test_it_is_drawn():
    model = network()
    drawn = visualize.draw(compile(loss_of(model))(*batch()), model=model)
    assert "0.weight" in str(drawn.source)


def test_programs_of_a_compiled_function_are_not_in_the_way_of_copying_what_holds_it():
    holder = {"step": compile(lambda x: x * 2), "model": network()}
    holder["step"](normal(2))
    x = normal(2)
    np.testing.assert_array_equal(copy.deepcopy(holder)["step"](x), 2 * x)


def test_a_model_used_in_it_may_be_copied():
    model = network()
    step = compile(loss_of(model))
    images, labels = batch()
    step(images, labels).backward()
    twin = copy.deepcopy(model)
    optim.SGD(model.parameters(), 0.5).step()
    assert_close([step(images, labels)], [loss_of(model)(images, labels)])
    assert not np.allclose(step(images, labels).data, loss_of(twin)(images, labels).data)


def test_after_the_second_call_a_step_allocates_what_it_hands_out_and_what_its_loss_does():
    model = nn.Sequential(nn.Linear(500, 400, generator=0), nn.ReLU(), nn.Linear(400, 300, generator=1))
    step = compile(loss_of(model))
    images, labels = normal(200, 500, dtype=np.float32), GENERATOR.integers(0, 300, 200)
    handed_out = sum(p.data.nbytes for p in model.parameters())
    for _ in range(3):
        gradients(step(images, labels), model)
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        found = gradients(step(images, labels), model)
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found) == 4
    assert now - before < handed_out + 20_000
    assert peak - before < handed_out + 200 * 300 * 4 + 50_000  # the gradient that cross_entropy leaves behind


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "2.3.0", reason="NumPy itself allocates to reduce")
def test_values_alone_allocate_nothing_but_the_result():
    f = compile(lambda x, y: np.sum(np.tanh(x * y) + np.exp(x) * 2, axis=0))
    x, y = normal(1000, 10), normal(1000, 10)
    for _ in range(3):
        f(x, y)
    tracemalloc.start()
    try:
        f(x, y)
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        f(x, y)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < 10_000


def test_neither_arguments_nor_results_are_kept_alive():
    f = compile(lambda x: np.sum(np.tanh(x)))
    x = Tensor(normal(1000), requires_grad=True)
    array = x.array
    before = sys.getrefcount(array)
    for _ in range(3):
        f(x).backward()
    after = sys.getrefcount(array)
    assert after == before
    gc.collect()
    gc.disable()
    try:
        loss = f(x)
        node = loss.node
        assert sys.getrefcount(node) <= 3
        del loss, node
        assert gc.collect() == 0
    finally:
        gc.enable()


# The text


def test_source_before_any_call_says_what_to_do():
    with pytest.raises(ValueError, match="has not been called"):
        compile(lambda x: x).source()


def test_source_names_parameters_by_their_paths_and_shows_both_passes():
    model = network()
    step = compile(loss_of(model))
    images, labels = batch()
    step(images, labels)
    for text in step.source(), step.source(images, labels):
        for name, _ in model.named_parameters():
            assert name in text or f"p{name.replace('.', '_')}" in text
        assert "def forward(images, labels" in text
        assert "def backward(" in text


def test_source_for_arguments_moves_nothing():
    model = network(nn.BatchNorm1d(4), nn.Dropout(0.5, generator=3))
    twin = copy.deepcopy(model)
    step = compile(model)
    x, _ = batch()
    step.source(x)
    assert_close(model.state_dict().values(), twin.state_dict().values())
    assert_close([step(x)], [twin(x)])


def test_a_function_without_a_rule_raises_at_each_call():
    f = compile(lambda x: np.spacing(x) * 2)
    for _ in range(2):
        with pytest.raises(NoDerivativeError, match="spacing"):
            f(Tensor(normal(3), requires_grad=True))
    x = normal(3)
    np.testing.assert_array_equal(f(x), np.spacing(x) * 2)


SCALE = 2.0


def scaled(x):
    return x * SCALE


def test_what_changes_outside_of_the_function_is_noticed():
    global SCALE
    factor = 3.0

    def own(x):
        return scaled(x) * factor + np.sum(model(x))

    model, f = nn.Linear(2, 2, generator=0), compile(own)
    x = normal(2, dtype=np.float32)
    np.testing.assert_array_equal(f(x).data, own(x).data)
    factor = 4.0
    np.testing.assert_array_equal(f(x).data, own(x).data)
    SCALE = 5.0
    np.testing.assert_array_equal(f(x).data, own(x).data)
    model = nn.Linear(2, 2, generator=1)
    np.testing.assert_array_equal(f(x).data, own(x).data)
    model.bias = None
    np.testing.assert_array_equal(f(x).data, own(x).data)


def test_numbers_and_lists_that_a_module_holds_may_change():
    class Scaled(nn.Module):
        def __init__(self):
            self.factor, self.shifts = 2.0, [1.0]

        def forward(self, x):
            return x * self.factor + self.shifts[0]

    model = Scaled()
    f, x = compile(model), Tensor(normal(2))
    np.testing.assert_array_equal(f(x), model(x))
    model.factor = 3.0
    np.testing.assert_array_equal(f(x), model(x))
    model.shifts[0] = 4.0
    np.testing.assert_array_equal(f(x), model(x))


def test_a_module_that_counts_its_calls_is_refused():
    class Counting(nn.Module):
        def __init__(self):
            self.calls = 0

        def forward(self, x):
            self.calls += 1
            return x * 2

    with pytest.raises(TraceError, match="Counting changes its attribute calls"):
        compile(Counting())(Tensor(normal(2)))


def test_a_table_indexed_by_labels_says_how_to_write_it():
    labels = np.array([0, 2])
    with pytest.raises(TraceError, match=r"Tensor\(table\)\[labels\]"):
        compile(lambda labels: np.eye(3)[labels])(labels)
    np.testing.assert_array_equal(compile(lambda labels: Tensor(np.eye(3))[labels])(labels), np.eye(3)[labels])


def test_numbers_that_numpy_makes_python_s_are_converted():
    g = compile(func.grad(lambda x: np.sum(np.imag(x) * 2.0) + x * x))
    for x in np.array(2.0), np.array(3.0):
        assert g(x) == 2 * x


def test_zeros_of_either_sign_are_different_numbers():
    f = compile(lambda x, zero: np.copysign(x, zero))
    np.testing.assert_array_equal(f(np.ones(2), 0.0), np.ones(2))
    np.testing.assert_array_equal(f(np.ones(2), -0.0), -np.ones(2))


def test_a_tensor_outside_may_be_another_at_every_call():
    w = Tensor(normal(3), requires_grad=True)
    f, runs = counted(lambda x: np.sum(x * w))
    for _ in range(4):
        x = normal(3)
        (found,) = grad(f(x), [w])
        np.testing.assert_array_equal(found, x)
        np.testing.assert_array_equal(f(x).data, np.sum(x * w.data))
        w = Tensor(w.data - 0.1 * found, requires_grad=True)
    assert len(runs) == 1


loss = 0.0


def test_a_global_variable_with_the_name_of_an_attribute_does_not_count():
    global loss
    f, runs = counted(lambda x: x.sum() * len(str(type(x).loss if hasattr(type(x), "loss") else "")))
    for value in range(3):
        loss = float(value)
        f(Tensor(normal(3)))
    assert len(runs) == 1


def test_of_two_lambdas_in_one_line_each_has_its_own_source():
    first, second = (lambda x, y: x * y), (lambda x, y: x - y)
    assert [ast.unparse(definition(function).body) for function in (first, second)] == ["x * y", "x - y"]
    rules = [ast.unparse(definition(vjp).body) for vjp in RULES[np.multiply].vjps]
    assert rules == ["g * y", "g * x"]


def test_an_index_that_was_computed_changes_no_argument():
    table = np.arange(6.0).reshape(2, 3)

    def f(table, places):
        total = 0
        for place in places:  # a number at each run, of which the trace has an array
            total = total * 2 + table[:, place]
        return np.sum(total)

    compiled = compile(f)
    places = np.array([2, 0, 1])
    for _ in range(3):
        assert compiled(table, places) == f(table, places)
    np.testing.assert_array_equal(table, np.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize("kind", ["global", "closure", "state", "module"])
def test_random_numbers_that_the_function_draws_itself_are_refused(kind):
    generator, state = np.random.default_rng(0), np.random.RandomState(0)

    class Noisy(nn.Module):
        def __init__(self):
            self.generator = np.random.default_rng(1)

        def forward(self, x):
            return x + self.generator.normal(size=3)

    draw = {
        "global": lambda x: x + np.random.normal(size=3),
        "closure": lambda x: x + generator.normal(size=3),
        "state": lambda x: x + state.normal(size=3),
        "module": Noisy(),
    }[kind]
    with pytest.raises(TraceError, match="random numbers"):
        compile(lambda x: draw(x).sum())(np.zeros(3))
