"""Profiling: time and memory by operation, module and place."""

import contextlib
import gc
import re
import threading
import time
import weakref

import numpy as np
import pytest

from tinygrad_np import Tensor, compile, debug, differentiable, func, functional, grad, nn, no_grad, optim, visualize
from tinygrad_np.errors import ArgumentError


class Network(nn.Module):
    def __init__(self):
        generator = np.random.default_rng(0)
        self.layers = nn.Sequential(nn.Linear(6, 5, generator=generator), nn.ReLU(), nn.Linear(5, 3))

    def forward(self, x):
        return self.layers(x)


@pytest.fixture
def step():
    model, x, labels = Network(), np.ones((4, 6), np.float32), np.array([0, 1, 2, 0])
    return lambda: functional.cross_entropy(model(x), labels).backward()


def row(profile, name, by="operation"):
    return next(row for row in profile.rows(by) if row.name == name)


def test_calls_are_counted_by_operation_under_the_names_that_users_know(step):
    with debug.profile() as profile:
        step()
        step()
    calls = {row.name: row.calls for row in profile.rows()[:-1]}
    assert calls == {"linear": 4, "relu": 2, "cross_entropy": 2}


def test_the_shares_of_operations_and_of_the_rest_add_up_to_all_of_the_time(step):
    with debug.profile() as profile:
        step()
        time.sleep(0.001)
    for by in ("operation", "place"):
        rows = profile.rows(by)
        assert sum(row.share for row in rows) == pytest.approx(1)
        assert sum(row.seconds for row in rows) == pytest.approx(profile.seconds)
    assert rows[-1].name == "other: Python, unrecorded"
    assert rows[-1].seconds >= 0.001
    assert all(row.forward_seconds > 0 and row.backward_seconds > 0 for row in rows[:-1])
    assert all(row.seconds == pytest.approx(row.forward_seconds + row.backward_seconds) for row in rows[:-1])


def test_the_most_expensive_operation_comes_first():
    small, large = (Tensor(np.ones(size), requires_grad=True) for size in (10, 1_000_000))
    with debug.profile() as profile:
        np.exp(small).sum()
        np.sin(large)
    assert profile.rows()[0].name == "sin"
    assert str(profile).splitlines()[2].startswith("sin")


def test_a_module_s_row_includes_the_modules_in_it_and_they_follow_it(step):
    with debug.profile() as profile:
        step()
    rows = {row.name: row for row in profile.rows("module")}
    start = list(rows).index("Network")
    assert list(rows)[start : start + 2] == ["Network", "Network.layers"]
    assert set(list(rows)[start + 2 : start + 5]) == {f"Network.layers.{i}" for i in range(3)}
    outer, inner = rows["Network.layers"], [rows[f"Network.layers.{i}"] for i in range(3)]
    assert outer.calls == sum(row.calls for row in inner) == 3
    for of in ("seconds", "forward_seconds", "backward_seconds", "forward_bytes", "backward_bytes", "share"):
        assert getattr(outer, of) == pytest.approx(sum(getattr(row, of) for row in inner))
    assert rows["outside of modules"].calls == 1
    shares = [row.share for name, row in rows.items() if "." not in name]
    assert sum(shares) == pytest.approx(1)


def test_costs_by_place_are_those_of_lines_of_the_user_s_code():
    x = Tensor(np.ones(3), requires_grad=True)
    with debug.profile() as profile:
        for _ in range(5):
            y = x * 2
        np.exp(y)
    lines = sorted((row.name, row.calls) for row in profile.rows("place")[:-1])
    (first, five), (second, one) = lines
    assert (five, one) == (5, 1)
    assert int(second.rpartition(":")[2]) == int(first.rpartition(":")[2]) + 1
    assert "test_debug_profile.py:" in first


def test_only_what_newly_takes_memory_counts_as_bytes():
    x = Tensor(np.ones((20, 30)), requires_grad=True)
    with debug.profile() as profile:
        y = np.exp(x).reshape(600).T[5:]
        parts = np.split(y, [300])
        np.concatenate(parts).sum().backward()
    forward = {row.name: row.forward_bytes for row in profile.rows()[:-1]}
    assert forward == {
        "exp": 4800,
        "reshape": 0,
        "transpose": 0,
        "getitem": 0,
        "split": 0,
        "concatenate": 4760,
        "sum": 8,
    }


def test_the_bytes_of_derivatives_are_those_of_the_gradients_that_they_make():
    x = Tensor(np.ones((20, 30), np.float32), requires_grad=True)
    weight = Tensor(np.ones((30, 7), np.float32), requires_grad=True)
    with debug.profile() as profile:
        ((x @ weight).reshape(140) + 1).backward(np.ones(140, np.float32))
    backward = {row.name: row.backward_bytes for row in profile.rows()[:-1]}
    assert backward == {"matmul": 4 * (20 * 30 + 30 * 7), "reshape": 0, "add": 0}


def test_the_bytes_are_right_where_memory_is_used_again():
    x, weight = (Tensor(np.ones((5, 5)), requires_grad=True) for _ in range(2))
    bias = Tensor(np.ones(5), requires_grad=True)
    with debug.profile() as profile:
        for _ in range(10):
            (functional.linear(x, weight, bias) * 2.0).sum().backward()
    assert row(profile, "linear").backward_bytes == 10 * (200 + 200 + 40)
    assert row(profile, "multiply").backward_bytes == 10 * 200


def test_lists_of_tensors_and_several_results_are_no_operations_of_their_own():
    x = Tensor(np.eye(3) * 2, requires_grad=True)
    with debug.profile() as profile:
        _sign, logarithm = np.linalg.slogdet(np.concatenate([x, x])[:3])
        logarithm.backward()
    assert {row.name for row in profile.rows()[:-1]} == {"concatenate", "getitem", "slogdet"}


def test_no_time_is_counted_twice_when_derivatives_are_recorded_in_turn():
    x = Tensor(np.linspace(0, 1, 100_000), requires_grad=True)
    with debug.profile() as profile:
        slope = grad(np.tanh(x).sum(), x, create_graph=True)
        grad((slope * slope).sum(), x)
    assert sum(row.share for row in profile.rows()) == pytest.approx(1)
    assert profile.rows()[-1].seconds > 0
    assert row(profile, "tanh").calls == 1
    assert row(profile, "multiply").calls > 1  # of the derivative of tanh, which count as calls of their own


def test_no_time_is_counted_twice_when_a_call_records_others_while_it_runs():
    @differentiable(lambda g, out, x: g)
    def slow(x):
        time.sleep(0.02)
        return x.copy()

    @differentiable(lambda g, out, x: g)
    def of_recorded_calls(x):
        return slow(Tensor(x, requires_grad=True)).data

    x = Tensor(np.ones(3), requires_grad=True)
    with debug.profile() as profile:
        of_recorded_calls(x)
    assert row(profile, "slow").calls == row(profile, "of_recorded_calls").calls == 1
    assert row(profile, "slow").seconds >= 0.02
    assert profile.rows()[-1].seconds > 0


def test_no_time_is_counted_twice_when_a_derivative_walks_a_graph_itself():
    @differentiable(lambda g, out, x: np.asarray(g))
    def slow(x):
        time.sleep(0.02)
        return x.copy()

    @differentiable(lambda g, out, x: g * func.grad(lambda x: slow(x).sum())(x))
    def computed_again(x):
        return x.copy()

    x = Tensor(np.ones(3), requires_grad=True)
    with debug.profile() as profile:
        computed_again(x).sum().backward()
    assert row(profile, "slow").forward_seconds >= 0.02
    assert profile.rows()[-1].seconds > 0


def test_the_time_between_two_backward_passes_is_no_derivative_s():
    x = Tensor(np.ones(3), requires_grad=True)
    with debug.profile() as profile:
        y = np.exp(x).sum()
        y.backward(retain_graph=True)
        time.sleep(0.02)
        y.backward()
    assert profile.rows()[-1].seconds >= 0.02


def test_a_graph_made_before_the_profile_costs_only_its_backward_pass():
    x = Tensor(np.ones(3), requires_grad=True)
    y = np.exp(x).sum()
    with debug.profile() as profile:
        y.backward()
    assert row(profile, "exp").calls == 0
    assert row(profile, "exp").backward_seconds > 0
    assert {row.name for row in profile.rows("place")[:-1]} == {"before the profile"}


def test_calls_leave_their_costs_with_the_graph_even_after_it_is_freed():
    x = Tensor(np.ones(1000), requires_grad=True)
    with debug.profile() as outer, debug.profile():
        y = x * x
        y.backward(np.ones(1000))
    (shown,) = (item.lines[-1] for item in visualize.draw(y, costs=True).picture.items if item.title == "multiply")
    forward = re.split("  +", str(outer).splitlines()[2])[2]
    assert re.fullmatch(rf"{forward}, 8\.0 kB; backward [\d.]+ [um]s, 16\.0 kB", shown)


def test_profiles_nest_and_each_has_what_happens_within_it(step):
    with debug.profile() as outer:
        step()
        with debug.profile() as inner:
            step()
    assert (row(outer, "linear").calls, row(inner, "linear").calls) == (4, 2)
    assert inner.seconds < outer.seconds


def test_an_exception_ends_the_profile_and_what_was_measured_remains():
    x = Tensor(np.ones(3), requires_grad=True)
    with contextlib.suppress(KeyError), debug.profile() as profile:
        np.exp(x)
        raise KeyError
    np.exp(x)
    assert row(profile, "exp").calls == 1
    assert profile.seconds == profile.seconds  # it stands still


def test_other_threads_are_not_profiled(step):
    thread = threading.Thread(target=step)
    with debug.profile() as profile:
        thread.start()
        thread.join()
    assert [row.calls for row in profile.rows()] == [0]


def test_a_profile_keeps_neither_graphs_nor_arrays_and_does_not_grow_with_time(step):
    x = Tensor(np.ones((4, 6), np.float32), requires_grad=True)
    gc.disable()
    try:
        with debug.profile():
            y = np.exp(x) * 2
            references = [weakref.ref(y), weakref.ref(y.data)]
            y.sum().backward()
            del y
            assert [reference() for reference in references] == [None, None]
            for _ in range(10):
                step()
            objects = len(gc.get_objects())
            for _ in range(3000):
                step()
            assert len(gc.get_objects()) - objects < 10
    finally:
        gc.enable()


def test_profiling_changes_no_result(step):
    x = Tensor(np.linspace(-1, 1, 50), requires_grad=True)
    np.tanh(x * x).sum().backward()
    expected, x.grad = x.grad, None
    with debug.profile():
        np.tanh(x * x).sum().backward()
    np.testing.assert_array_equal(x.grad, expected)


def test_what_is_not_recorded_is_among_the_rest():
    x = Tensor(np.ones(3), requires_grad=True)
    with debug.profile() as profile, no_grad():
        np.exp(x)
    assert [row.share for row in profile.rows()] == [1.0]
    assert len(str(profile).splitlines()) == 5


def test_tables_are_aligned_and_narrow_even_with_long_names():
    class Block(nn.Module):
        def __init__(self, depth):
            self.a_rather_long_attribute_name = Block(depth - 1) if depth else nn.Linear(2, 2)

        def forward(self, x):
            return self.a_rather_long_attribute_name(x)

    with debug.profile() as profile:
        Block(5)(np.ones((1, 2), np.float32)).sum().backward()
    for by in ("operation", "module", "place"):
        lines = profile.table(by).splitlines()
        assert len({len(line) for line in lines}) == 1
        assert len(lines[0]) <= 80
    # How much of the name is left depends on the width of the times, "9.9 us" or "10.0 us".
    assert re.search(r"^ {6}a_\w+\.\.\.\w+_name ", profile.table("module"), re.MULTILINE)


def test_a_step_of_an_optimizer_has_a_row_of_its_own(step):
    parameter = Tensor(np.ones(5), requires_grad=True)
    optimizer = optim.Adam([parameter])
    with debug.profile() as profile:
        parameter.sum().backward()
        optimizer.step()
        optimizer.step()
    found = row(profile, "Adam.step")
    assert (found.calls, found.forward_seconds, found.backward_seconds) == (2, 0, 0)
    assert found.seconds > 0
    assert row(profile, "optimizer", "module").calls == 2
    assert sum(one.seconds for one in profile.rows()) == pytest.approx(profile.seconds)


def test_under_its_module_s_row_a_module_is_not_named_in_full_again(step):
    with debug.profile() as profile:
        step()
    names = [line[:20].rstrip() for line in profile.table("module").splitlines()]
    assert names[names.index("Network") + 1] == "  layers"
    assert {"    0", "    1", "    2"} <= set(names)


def test_a_table_by_something_else_names_what_there_is():
    with debug.profile() as profile:
        pass
    with pytest.raises(ArgumentError, match='"operation", "module" or "place", not \'layer\''):
        profile.table("layer")


def test_a_profile_shows_itself_as_its_table_in_a_session_and_in_a_notebook(step):
    with debug.profile() as profile:
        step()
    assert repr(profile) == profile.table()
    html = profile._repr_html_()
    assert html.count("<tr>") == 1 + len(profile.rows()) + 1
    assert all(row.name in html for row in profile.rows())


def test_of_a_compiled_function_the_rows_are_the_calls_of_its_program():
    model = nn.Sequential(nn.Linear(6, 4, generator=np.random.default_rng(0)), nn.ReLU())
    images = np.ones((3, 6), np.float32)
    own, step = (lambda images: np.mean(model(images) ** 2)), compile(lambda images: np.mean(model(images) ** 2))
    own(images).backward()
    expected = [parameter.grad.copy() for parameter in model.parameters()]
    for _ in range(2):  # traced inside, and run
        model.zero_grad()
        with debug.profile() as profile:
            step(images).backward()
        rows = {row.name: row for row in profile.rows()}
        assert rows["maximum"].calls == 1
        assert rows["matmul"].forward_seconds > 0
        assert rows["matmul"].backward_seconds > 0
        assert rows["masked"].forward_seconds == 0
        assert rows["masked"].backward_seconds > 0
        assert sum(row.seconds for row in profile.rows()) == pytest.approx(profile.seconds, rel=0.05)
        assert {row.name for row in profile.rows("module")} >= {"Sequential", "Sequential.0", "Sequential.1"}
        for parameter, gradient in zip(model.parameters(), expected, strict=True):
            np.testing.assert_allclose(parameter.grad, gradient, rtol=1e-6)
