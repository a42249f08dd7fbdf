"""The schedules: their sequences, how they end, and what they refuse."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_np.errors import ArgumentError, ArgumentTypeError
from tinygrad_np.optim import schedules

# PyTorch's documented formulas.


def reference_step(n, lr, step_size, gamma=0.1):
    for _ in range(n // step_size):
        lr *= gamma
    return lr


def reference_cosine(n, max_lr, total_steps, final_lr=0.0):
    return final_lr + 0.5 * (max_lr - final_lr) * (1 + math.cos(n / total_steps * math.pi))


def reference_one_cycle(n, max_lr, total_steps, pct_start=0.3, div_factor=25.0, final_div_factor=1e4):
    initial_lr = max_lr / div_factor
    min_lr = initial_lr / final_div_factor
    peak = pct_start * total_steps - 1
    if n <= peak:
        start, end, pct = initial_lr, max_lr, n / peak
    else:
        start, end, pct = max_lr, min_lr, (n - peak) / (total_steps - 1 - peak)
    return end + (start - end) / 2 * (math.cos(math.pi * pct) + 1)


lrs = st.floats(1e-6, 10)
counts = st.integers(2, 50)


@given(lrs, st.integers(0, 1000))
def test_constant_is_the_same_at_every_step(lr, n):
    assert schedules.constant(lr)(n) == lr


@given(lrs, st.integers(1, 20), st.floats(0.1, 1), st.integers(0, 100))
def test_step_multiplies_by_gamma_every_step_size_steps(lr, step_size, gamma, n):
    expected = reference_step(n, lr, step_size, gamma)
    assert schedules.step(lr, step_size, gamma)(n) == pytest.approx(expected, rel=1e-12)


@given(lrs, lrs, counts)
def test_cosine_follows_its_formula_from_the_first_to_the_final_learning_rate(max_lr, final_lr, total_steps):
    schedule = schedules.cosine(max_lr, total_steps, final_lr)
    for n in range(total_steps + 1):
        expected = reference_cosine(n, max_lr, total_steps, final_lr)
        assert schedule(n) == pytest.approx(expected, rel=1e-12, abs=1e-15)
    assert schedule(0) == pytest.approx(max_lr, rel=1e-12)
    assert schedule(total_steps) == final_lr


@given(lrs, counts, st.floats(0, 0.99), st.floats(1, 100), st.floats(1, 1e5))
def test_one_cycle_follows_its_formula(max_lr, total_steps, pct_start, div_factor, final_div_factor):
    arguments = (max_lr, total_steps, pct_start, div_factor, final_div_factor)
    schedule = schedules.one_cycle(*arguments)
    for n in range(1, total_steps):
        assert schedule(n) == pytest.approx(reference_one_cycle(n, *arguments), rel=1e-12, abs=1e-15)


def test_one_cycle_warms_up_to_the_peak_and_ends_far_below_the_start():
    schedule = schedules.one_cycle(1.0, total_steps=100)
    sequence = [schedule(n) for n in range(100)]
    assert sequence[0] == pytest.approx(1 / 25)
    assert sequence.index(max(sequence)) == 29
    assert sequence[29] == 1.0
    assert sequence[-1] == pytest.approx(1 / 25 / 1e4)


def test_one_cycle_without_room_to_warm_up_starts_at_the_peak():
    assert schedules.one_cycle(1.0, total_steps=10, pct_start=0.1)(0) == 1.0


def test_one_cycle_of_one_step_is_its_end():
    assert schedules.one_cycle(1.0, total_steps=1)(0) == pytest.approx(1 / 25 / 1e4)


@pytest.mark.parametrize(
    ("schedule", "end"),
    [(schedules.cosine(1.0, 10, final_lr=0.25), 10), (schedules.one_cycle(1.0, 10), 9)],
    ids=["cosine", "one_cycle"],
)
def test_a_schedule_holds_its_final_value_beyond_its_end(schedule, end):
    assert schedule(end + 1) == schedule(end + 1000) == schedule(end)


@pytest.mark.parametrize(
    ("schedule", "name", "arguments"),
    [
        (schedules.step(0.3, 7, gamma=0.5), "StepLR", {"step_size": 7, "gamma": 0.5}),
        (schedules.step(0.3, 10), "StepLR", {"step_size": 10}),
        (schedules.cosine(0.3, 40), "CosineAnnealingLR", {"T_max": 40}),
        (schedules.cosine(0.3, 40, 0.01), "CosineAnnealingLR", {"T_max": 40, "eta_min": 0.01}),
        (schedules.one_cycle(0.3, 41), "OneCycleLR", {"max_lr": 0.3, "total_steps": 41}),
        (
            schedules.one_cycle(0.3, 41, pct_start=0.45, div_factor=10.0, final_div_factor=100.0),
            "OneCycleLR",
            {"max_lr": 0.3, "total_steps": 41, "pct_start": 0.45, "div_factor": 10.0, "final_div_factor": 100.0},
        ),
        (
            schedules.one_cycle(0.3, 41, pct_start=0.0),
            "OneCycleLR",
            {"max_lr": 0.3, "total_steps": 41, "pct_start": 0.0},
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, (str, dict)) else "",
)
def test_sequences_equal_pytorchs(schedule, name, arguments):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3, momentum=0.9)
    scheduler = getattr(torch.optim.lr_scheduler, name)(optimizer, **arguments)
    for n in range(41):
        assert schedule(n) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9, abs=1e-12)
        optimizer.step()
        if n < 40:
            scheduler.step()


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (schedules.constant, {"lr": -1.0}, "lr must be a finite number >= 0, but is -1.0"),
        (schedules.constant, {"lr": math.nan}, "lr must be .* but is nan"),
        (schedules.step, {"lr": math.inf, "step_size": 1}, "lr must be .* but is inf"),
        (schedules.step, {"lr": 1.0, "step_size": 0}, "step_size must be a positive integer, but is 0"),
        (schedules.step, {"lr": 1.0, "step_size": 1.5}, "step_size must be .* but is 1.5"),
        (schedules.step, {"lr": 1.0, "step_size": 1, "gamma": 0}, "gamma must be a finite number > 0, but is 0"),
        (schedules.cosine, {"max_lr": -0.1, "total_steps": 1}, "max_lr must be .* but is -0.1"),
        (schedules.cosine, {"max_lr": 1.0, "total_steps": 0}, "total_steps must be .* but is 0"),
        (schedules.cosine, {"max_lr": 1.0, "total_steps": 1, "final_lr": math.nan}, "final_lr must be .* but is nan"),
        (schedules.one_cycle, {"max_lr": math.nan, "total_steps": 1}, "max_lr must be .* but is nan"),
        (schedules.one_cycle, {"max_lr": 1.0, "total_steps": -5}, "total_steps must be .* but is -5"),
        (schedules.one_cycle, {"max_lr": 1.0, "total_steps": 5, "pct_start": 1.0}, "pct_start must be .* but is 1.0"),
        (schedules.one_cycle, {"max_lr": 1.0, "total_steps": 5, "pct_start": -0.1}, "pct_start must be .* but is -0.1"),
        (schedules.one_cycle, {"max_lr": 1.0, "total_steps": 5, "div_factor": 0}, "div_factor must be .* but is 0"),
        (
            schedules.one_cycle,
            {"max_lr": 1.0, "total_steps": 5, "final_div_factor": -1},
            "final_div_factor must be .* -1",
        ),
    ],
)
def test_a_number_that_makes_no_sense_is_refused_by_name_and_value(function, arguments, message):
    with pytest.raises(ArgumentError, match=message):
        function(**arguments)


EVERY = [schedules.constant(0.1), schedules.step(0.1, 2), schedules.cosine(0.1, 5), schedules.one_cycle(0.1, 5)]
every_schedule = pytest.mark.parametrize("schedule", EVERY, ids=["constant", "step", "cosine", "one_cycle"])


@every_schedule
def test_steps_may_be_numpys_integers(schedule):
    for step in (0, 3, 9):
        for number in (np.int64(step), np.uint8(step), np.array(step)):
            assert schedule(number) == schedule(step)
            assert type(schedule(number)) is float


@every_schedule
@pytest.mark.parametrize("wrong", [-1, np.int64(-1), 1.0, math.nan, True, "1", None])
def test_a_step_below_zero_or_one_that_is_no_integer_is_refused(schedule, wrong):
    with pytest.raises(ArgumentError, match="step must be an integer >= 0, but is"):
        schedule(wrong)


def test_arguments_may_be_numpys_numbers():
    assert schedules.step(np.float32(0.5), np.int64(2), np.float32(0.5))(5) == 0.125
    assert type(schedules.cosine(np.float32(0.5), np.int64(4))(0)) is float
    assert schedules.one_cycle(np.int64(1), np.array(10))(2) == schedules.one_cycle(1.0, 10)(2)


def test_what_is_no_number_is_refused_by_name():
    for wrong in ("0.1", None, True, np.array(0.1)):
        for make in (schedules.constant, lambda lr: schedules.step(lr, 1), lambda lr: schedules.cosine(lr, 1)):
            with pytest.raises(ArgumentTypeError, match="lr must be a number, but is "):
                make(wrong)
    with pytest.raises(ArgumentError, match="total_steps must be a positive integer, but is True"):
        schedules.cosine(1.0, True)
