"""Learning-rate schedules: plain functions from a step number to a learning rate.

Each function here takes the parameters of a schedule and returns the schedule. A schedule remembers nothing between
calls: the step number is all that a run needs to resume.

    schedule = schedules.cosine(max_lr=0.1, total_steps=1000)
    for step in range(start, 1000):
        optimizer.lr = schedule(step)

Steps count from 0. A step is whatever the caller counts, batches or epochs. A schedule with `total_steps` keeps its
last value from then on. A step below 0, or one that is no integer, raises an `ArgumentError`.
"""

__docformat__ = "google"

import math
from collections.abc import Callable

from tinygrad_np.arguments import finite, fraction, integer, number, require

__all__ = ["Schedule", "constant", "cosine", "one_cycle", "step"]

Schedule = Callable[[int], float]


def constant(lr: float) -> Schedule:
    """Keep the same learning rate at every step.

    Args:
        lr: the learning rate, finite and >= 0.

    Returns:
        The schedule.

    Raises:
        ArgumentError: `lr` is out of range.
    """
    lr = finite("lr", lr)
    return _checked(lambda step_number: lr)


def step(lr: float, step_size: int, gamma: float = 0.1) -> Schedule:
    """Multiply the learning rate by `gamma` every `step_size` steps: lr * gamma^floor(step / step_size).

    The sequence and the defaults are those of PyTorch's `StepLR`.

    Args:
        lr: the learning rate at step 0, finite and >= 0.
        step_size: the number of steps that share a learning rate, at least 1.
        gamma: the factor, finite and > 0.

    Returns:
        The schedule.

    Raises:
        ArgumentError: a number is out of range, or `step_size` is not an integer.

    >>> schedule = step(1.0, step_size=2, gamma=0.5)
    >>> [schedule(n) for n in range(6)]
    [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    """
    lr = finite("lr", lr)
    step_size = integer("step_size", step_size, least=1)
    gamma = _factor("gamma", gamma)
    return _checked(lambda step_number: lr * gamma ** (step_number // step_size))


def cosine(max_lr: float, total_steps: int, final_lr: float = 0.0) -> Schedule:
    """Come down half a cosine wave, from `max_lr` at step 0 to `final_lr` at step `total_steps`, and stay there.

    Source: Loshchilov & Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts" (2017), eq. 5, without restarts.
    The sequence up to `total_steps` is that of PyTorch's `CosineAnnealingLR(T_max=total_steps, eta_min=final_lr)`.

    Args:
        max_lr: the first learning rate, finite and >= 0.
        total_steps: the step that reaches `final_lr`, at least 1.
        final_lr: the last learning rate, finite and >= 0.

    Returns:
        The schedule.

    Raises:
        ArgumentError: a number is out of range, or `total_steps` is not an integer.

    >>> schedule = cosine(1.0, total_steps=4)
    >>> [round(schedule(n), 3) for n in range(6)]
    [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """
    max_lr = finite("max_lr", max_lr)
    final_lr = finite("final_lr", final_lr)
    total_steps = integer("total_steps", total_steps, least=1)
    return _checked(lambda step_number: _anneal(max_lr, final_lr, min(step_number, total_steps) / total_steps))


def one_cycle(
    max_lr: float,
    total_steps: int,
    pct_start: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> Schedule:
    """Warm up from `max_lr / div_factor` to `max_lr`, then come down to far below the start.

    Source: Smith & Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates" (2018),
    in the form and with the defaults of PyTorch's `OneCycleLR`: both phases are half cosine waves. The learning rate
    peaks at step `pct_start * total_steps - 1`, is `max_lr / div_factor / final_div_factor` at the last step,
    `total_steps - 1`, and stays there. Momentum is not cycled.

    Args:
        max_lr: the highest learning rate, finite and >= 0.
        total_steps: the number of steps of both phases together, at least 1.
        pct_start: the share of the steps that warm up, at least 0 and less than 1.
        div_factor: `max_lr` divided by the first learning rate, finite and > 0.
        final_div_factor: the first learning rate divided by the last, finite and > 0.

    Returns:
        The schedule.

    Raises:
        ArgumentError: a number is out of range, or `total_steps` is not an integer.

    >>> schedule = one_cycle(1.0, total_steps=10)
    >>> [round(schedule(n), 3) for n in range(11)]
    [0.04, 0.52, 1.0, 0.95, 0.812, 0.611, 0.389, 0.188, 0.05, 0.0, 0.0]
    """
    max_lr = finite("max_lr", max_lr)
    total_steps = integer("total_steps", total_steps, least=1)
    pct_start = fraction("pct_start", pct_start)
    div_factor = _factor("div_factor", div_factor)
    final_div_factor = _factor("final_div_factor", final_div_factor)
    first_lr = max_lr / div_factor
    final_lr = first_lr / final_div_factor
    peak = pct_start * total_steps - 1
    last = total_steps - 1

    def schedule(step_number: int) -> float:
        if step_number < peak:
            return _anneal(first_lr, max_lr, step_number / peak)
        return _anneal(max_lr, final_lr, (min(step_number, last) - peak) / (last - peak))

    return _checked(schedule)


def _anneal(start: float, end: float, fraction: float) -> float:
    """The value of half a cosine wave from `start` to `end`, at `fraction` of the way, from 0 to 1."""
    return end + (start - end) * (1 + math.cos(math.pi * fraction)) / 2


def _factor(name: str, value: float) -> float:
    value = number(name, value)
    require(0 < value < math.inf, name, value, "a finite number > 0")
    return value


def _checked(schedule: Schedule) -> Schedule:
    """The schedule, called with steps from 0 only: before them, a formula would give any number."""
    return lambda step_number: schedule(integer("step", step_number, least=0))
