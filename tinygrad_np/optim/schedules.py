"""Learning-rate schedules: plain functions from a step number to a learning rate.

Each function here takes the shape of a schedule and returns the schedule itself. A schedule keeps nothing between
calls, so a run's position in it is one integer, and resuming needs nothing else:

    schedule = schedules.cosine(max_lr=0.1, total_steps=1000)
    for step in range(start, 1000):
        optimizer.lr = schedule(step)

Steps count from 0. A step is whatever the caller counts, batches or epochs. A schedule of `total_steps` reaches its
last value there and holds it from then on.
"""

import math
from collections.abc import Callable

from tinygrad_np.optim.arguments import require

Schedule = Callable[[int], float]


def constant(lr: float) -> Schedule:
    """The same learning rate at every step.

    Raises:
        ArgumentError: `lr` is negative or not finite.
    """
    _require_lr("lr", lr)
    return lambda step_number: lr


def step(lr: float, step_size: int, gamma: float = 0.1) -> Schedule:
    """Multiply the learning rate by `gamma` every `step_size` steps: lr * gamma^floor(step / step_size).

    The sequence and the defaults are those of PyTorch's `StepLR`.

    Raises:
        ArgumentError: `lr` is negative, `step_size` no positive integer, or `gamma` not positive.

    >>> schedule = step(1.0, step_size=2, gamma=0.5)
    >>> [schedule(n) for n in range(6)]
    [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    """
    _require_lr("lr", lr)
    _require_count("step_size", step_size)
    _require_factor("gamma", gamma)
    return lambda step_number: lr * gamma ** (step_number // step_size)


def cosine(max_lr: float, total_steps: int, final_lr: float = 0.0) -> Schedule:
    """Half a cosine wave, from `max_lr` at step 0 down to `final_lr` at step `total_steps`, and `final_lr` after it.

    Loshchilov & Hutter 2017, "SGDR: Stochastic Gradient Descent with Warm Restarts", eq. 5, without restarts. The
    sequence up to `total_steps` is that of PyTorch's `CosineAnnealingLR(T_max=total_steps, eta_min=final_lr)`.

    Raises:
        ArgumentError: a learning rate is negative, or `total_steps` no positive integer.

    >>> schedule = cosine(1.0, total_steps=4)
    >>> [round(schedule(n), 3) for n in range(6)]
    [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """
    _require_lr("max_lr", max_lr)
    _require_lr("final_lr", final_lr)
    _require_count("total_steps", total_steps)
    return lambda step_number: _anneal(max_lr, final_lr, min(step_number, total_steps) / total_steps)


def one_cycle(
    max_lr: float,
    total_steps: int,
    pct_start: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> Schedule:
    """Warm up from `max_lr / div_factor` to `max_lr`, then come down to far below the start.

    Smith & Topin 2018, "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates", in the
    form and with the defaults of PyTorch's `OneCycleLR`: both phases are half cosine waves. The learning rate peaks at
    step `pct_start * total_steps - 1`, is `max_lr / div_factor / final_div_factor` at the last step,
    `total_steps - 1`, and stays there. Momentum is not cycled.

    Raises:
        ArgumentError: `max_lr` is negative, `total_steps` no positive integer, `pct_start` outside [0, 1), or a
            factor not positive.

    >>> schedule = one_cycle(1.0, total_steps=10)
    >>> [round(schedule(n), 3) for n in range(11)]
    [0.04, 0.52, 1.0, 0.95, 0.812, 0.611, 0.389, 0.188, 0.05, 0.0, 0.0]
    """
    _require_lr("max_lr", max_lr)
    _require_count("total_steps", total_steps)
    require(0 <= pct_start < 1, "pct_start", pct_start, "at least 0 and less than 1")
    _require_factor("div_factor", div_factor)
    _require_factor("final_div_factor", final_div_factor)
    first_lr = max_lr / div_factor
    final_lr = first_lr / final_div_factor
    peak = pct_start * total_steps - 1
    last = total_steps - 1

    def schedule(step_number: int) -> float:
        if step_number < peak:
            return _anneal(first_lr, max_lr, step_number / peak)
        return _anneal(max_lr, final_lr, (min(step_number, last) - peak) / (last - peak))

    return schedule


def _anneal(start: float, end: float, fraction: float) -> float:
    """The point at `fraction`, from 0 to 1, of a half cosine wave from `start` to `end`."""
    return end + (start - end) * (1 + math.cos(math.pi * fraction)) / 2


def _require_lr(name: str, value: float) -> None:
    require(0 <= value < math.inf, name, value, "a finite number >= 0")


def _require_factor(name: str, value: float) -> None:
    require(0 < value < math.inf, name, value, "a finite number > 0")


def _require_count(name: str, value: int) -> None:
    require(isinstance(value, int) and value > 0, name, value, "a positive integer")
