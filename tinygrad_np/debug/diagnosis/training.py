"""Checks of the training step: what moves, how far, and by which gradients?"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tinygrad_np.debug.diagnosis.report import Finding
from tinygrad_np.debug.diagnosis.setup import Setup, Snapshot, joined, norm, watched

__all__ = ["optimizer", "steps"]

UPDATES = 'CS231n, "Neural networks part 3", "Ratio of weights:updates": about 1e-3'
OPTIMIZER = "Optimizer: step() updates the parameters it was given, and those only"
CLEARING = "Tensor.backward: gradients are added to what .grad holds"

TOO_FAR, TOO_LITTLE = 1.0, 3e-6
"""Ratios of update to weight above and below which a step counts as too large and too small. Adam with its default
learning rate reaches 0.05 in the first step of a layer with 784 inputs."""


def optimizer(setup: Setup) -> Iterator[Finding]:
    """The optimizer should hold the model's parameters, all of them and no others."""
    if setup.optimizer is None:
        return
    held = set(setup.optimizer.params)
    trained = {name: p for name, p in setup.parameters.items() if p.requires_grad}
    absent = [name for name, p in trained.items() if p not in held]
    strangers = [i for i, p in enumerate(setup.optimizer.params) if p not in set(setup.parameters.values())]
    others = ""
    if strangers:
        others = (
            f"{len(strangers)} that are not the model's, such as number {strangers[0]}, of shape "
            f"{setup.optimizer.params[strangers[0]].shape}: was a layer replaced after the optimizer was made?"
        )
    remedy = "make the optimizer after the model is complete, with model.parameters()"
    if absent:
        message = "missing from the optimizer, so never updated" + (f"; it holds {others}" if others else "")
        yield Finding("optimizer", "error", joined(absent), message, remedy, OPTIMIZER)
    elif strangers:
        yield Finding(
            "optimizer", "warning", "optimizer", f"holds all the model's parameters, and {others}", remedy, OPTIMIZER
        )


def steps(setup: Setup, start: Snapshot) -> Iterator[Finding]:
    """Gradients should not carry over to the next step, and a step should move a weight by about 1e-3 of its norm."""
    if setup.train_step is not None:
        try:
            yield from _own_steps(setup, start)
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
            yield Finding("runs", "error", "train_step", message, "fix this first", "the error that was raised")
    else:
        yield from _left_gradients(setup, start)
        if setup.optimizer is not None and set(setup.optimizer.params) & set(setup.parameters.values()):
            before = _values(setup)
            loss, _ = setup.backward(setup.inputs, setup.targets)
            setup.optimizer.step()
            after = _values(setup)
            start.restore()
            yield from _update(setup, start, before, after, loss, "optimizer")


def _own_steps(setup: Setup, start: Snapshot) -> Iterator[Finding]:
    """Take two of the user's steps, and then the second again without the gradients that the first left."""
    before = _values(setup)
    _clear(setup)
    loss = setup.loss_value or 0.0
    _take_step(setup)
    first, left = _values(setup), _gradients(setup)
    between = Snapshot(setup)
    _take_step(setup)
    twice = _gradients(setup)
    second = _values(setup)
    between.restore()
    _clear(setup)
    _take_step(setup)
    cleared = _gradients(setup)
    start.restore()
    moved = {name for name in left if not np.array_equal(before[name], first[name])}
    again = moved & twice.keys() & cleared.keys()
    kept = [name for name in left if name in again and _adds(left[name], cleared[name], twice[name])]
    if kept:
        message = f"gradients are not cleared between steps: each step adds to the last, in {joined(kept)}"
        remedy = "call optimizer.zero_grad() in every step, before backward()"
        yield Finding("clearing", "error", "train_step", message, remedy, CLEARING)
    trained = [name for name in before if name in setup.gradients and setup.gradients[name].any()]
    still = [name for name in trained if np.array_equal(before[name], first[name])]
    if trained and len(still) == len(trained):
        late = any(not np.array_equal(first[name], second[name]) for name in trained)
        message = "the first step moves no parameter" if late else "it moves no parameter"
        remedy = "call optimizer.step() after backward(), with no zero_grad() between them"
        if setup.optimizer is not None and not setup.optimizer.lr:
            message += ": the optimizer's lr is 0"
            remedy = "set lr > 0"
        yield Finding("update", "error", "train_step", message, remedy, OPTIMIZER)
        return
    if still and setup.optimizer is None:
        message = "train_step does not move it, although it has a gradient: is it missing from the optimizer?"
        yield Finding("optimizer", "error", joined(still), message, "give it to the optimizer", OPTIMIZER)
    yield from _update(setup, start, before, first, loss, "train_step")


def _take_step(setup: Setup) -> None:
    assert setup.train_step is not None
    with watched(None), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a step without gradients, whose cause is found out here
        setup.train_step(setup.inputs, setup.targets)


def _adds(left: np.ndarray, cleared: np.ndarray, twice: np.ndarray) -> bool:
    """Whether the second gradient contains the one that the first step left."""
    return bool(left.any()) and norm(twice - cleared - left) < 0.1 * norm(left)


def _left_gradients(setup: Setup, start: Snapshot) -> Iterator[Finding]:
    """Compare the gradients that the parameters hold with a new one, taken here and where the last step began.

    One old gradient is what every training loop leaves that clears before backward(). Two of them, or ten, are not.
    """
    left = {name: gradient for name, gradient in _gradients(setup).items() if gradient.any()}
    if not left or not all(np.isfinite(gradient).all() for gradient in left.values()):
        return
    now = _compare(left, setup.gradients)
    if setup.optimizer is None or not any(setup.optimizer.state_dict()["step"]):  # no step since they were taken
        uncleared = round(now.times) >= 2 and now.likeness > 0.999 and abs(now.times / round(now.times) - 1) < 0.02
    elif now.larger > 1.7:
        before = _compare(left, _earlier_gradients(setup, start))
        times, larger = min(now.times, before.times), min(now.larger, before.larger)
        labels = setup.labels
        loss = setup.loss_value or 0.0
        unlearned = labels is not None and loss > 0.3 * math.log(setup.predictions.shape[1])
        uncleared = (times > 1.7 and before.likeness > 0.95) or (larger > 4 and (before.likeness > 0.4 or unlearned))
        now = before
    else:
        uncleared = False
    if uncleared:
        message = (
            "gradients are not cleared between steps: those that the parameters hold are "
            f"{now.larger:.3g} times as large as those of this batch"
        )
        remedy = "call optimizer.zero_grad(), or model.zero_grad(), before each backward()"
        yield Finding("clearing", "error", joined(list(left)), message, remedy, CLEARING)


def _earlier_gradients(setup: Setup, start: Snapshot) -> dict[str, np.ndarray]:
    """The gradients of this batch at about the point where the last step began.

    The optimizer does not know that point. But one more step with the same gradients leads about as far again, so
    going as far the other way leads about there.
    """
    assert setup.optimizer is not None
    now = _values(setup)
    setup.optimizer.step()
    for name, parameter in setup.parameters.items():
        parameter.data[...] = 2 * now[name] - parameter.data
    setup.backward(setup.inputs, setup.targets)
    gradients = _gradients(setup)
    start.restore()
    return gradients


class Comparison(NamedTuple):
    """How old gradients compare with new ones.

    Attributes:
        times: how many times the old ones contain the new ones, by least squares.
        likeness: the cosine of the angle between them.
        larger: the norm of the old ones over that of the new ones.
    """

    times: float
    likeness: float
    larger: float


def _compare(old: dict[str, np.ndarray], new: dict[str, np.ndarray]) -> Comparison:
    names = [name for name in old if name in new]
    x, y = (np.concatenate([g[n].ravel().astype(np.float64) for n in names] or [np.zeros(1)]) for g in (old, new))
    if not x.any() or not y.any():
        return Comparison(0.0, 0.0, 0.0)
    product, sizes = float(x @ y), (norm(x), norm(y))
    return Comparison(product / sizes[1] ** 2, product / (sizes[0] * sizes[1]), sizes[0] / sizes[1])


def _update(
    setup: Setup,
    start: Snapshot,
    before: dict[str, np.ndarray],
    after: dict[str, np.ndarray],
    loss: float,
    place: str,
) -> Iterator[Finding]:
    """What one step does: how far it moves the weights, and what it makes of the loss."""
    weights = [name for name, _ in setup.layers if before[name].any() and name in setup.gradients]
    ratios = {name: norm(after[name] - before[name]) / norm(before[name]) for name in weights}
    moved = {name: ratio for name, ratio in ratios.items() if ratio}
    lr = f" (lr {setup.optimizer.lr:g})" if setup.optimizer else ""
    if not moved:
        if ratios and setup.optimizer is not None and any(norm(setup.gradients[name]) for name in ratios):
            message = f"the learning rate is too low: a step moves no weight{lr}"
            yield Finding("update", "error", place, message, "raise it, for a start to 1e-3", UPDATES)
        return
    for name, parameter in setup.parameters.items():
        parameter.data[...] = after[name]
    reached = setup.evaluate()
    start.restore()
    name = max(moved, key=lambda name: moved[name])
    change = (
        f"a step changes {name} by {moved[name]:.2g} of its norm{lr}, and the loss from {loss:.4g} to {reached:.4g}"
    )
    uphill = sum(float(np.sum((after[n] - before[n]) * setup.gradients[n])) for n in moved) > 0
    worse = not math.isfinite(reached) or reached > loss + 4 * max(abs(loss), 0.1)
    if uphill and reached > loss and setup.train_step is not None:
        remedy = "subtract the gradient times the learning rate, do not add it"
        yield Finding("update", "error", place, f"a step goes uphill: {change}", remedy, UPDATES)
    elif (reached > loss and moved[name] > TOO_FAR) or (worse and moved[name] > 0.01):
        factor = 10 ** math.ceil(math.log10(max(moved[name], 0.01) / 0.01))
        remedy = f"lower the learning rate, for a start by a factor of {factor}"
        yield Finding("update", "error", place, f"the learning rate is too high: {change}", remedy, UPDATES)
    elif moved[name] < TOO_LITTLE and norm(setup.gradients[name]) > 1e-4 * norm(before[name]):
        factor = 10 ** math.floor(math.log10(1e-3 / moved[name]))
        remedy = f"raise the learning rate, for a start by a factor of {factor}"
        yield Finding("update", "error", place, f"the learning rate is too low: {change}", remedy, UPDATES)


def _values(setup: Setup) -> dict[str, np.ndarray]:
    """Copies of the parameters' arrays."""
    return {name: parameter.data.copy() for name, parameter in setup.parameters.items()}


def _gradients(setup: Setup) -> dict[str, np.ndarray]:
    """Copies of the gradients that the parameters hold."""
    return {name: p.grad.copy() for name, p in setup.parameters.items() if p.grad is not None}


def _clear(setup: Setup) -> None:
    for parameter in setup.parameters.values():
        if parameter.requires_grad:
            parameter.grad = None
