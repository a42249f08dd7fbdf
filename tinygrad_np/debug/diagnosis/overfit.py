"""Can the network learn a few rows by heart? If not, something is wrong that no other check has found."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from tqdm import tqdm  # type: ignore[import-untyped]

from tinygrad_np.debug.diagnosis.report import Finding
from tinygrad_np.debug.diagnosis.setup import Setup, Snapshot, array_of
from tinygrad_np.nn import BatchNorm1d
from tinygrad_np.optim import Adam

__all__ = ["overfit"]

OVERFIT = 'Karpathy, "A recipe for training neural networks" (2019), "overfit one batch"; CS231n, part 3, sanity checks'

ATTEMPTS = ((32, 3e-3), (32, 3e-2), (4, 1e-3), (4, 3e-2))
"""Pairs of a number of rows and a learning rate for Adam. One of them must succeed."""
STEPS = 300
LONG_ENOUGH = 10
"""For how many steps in a row the rows must count as learned, so that chance is not enough."""
SECONDS = 10
"""The time limit, after which the question is left open."""
UNLEARNED = 0.1
"""Rows count as learned below this fraction of wrong labels, or of unexplained variance."""


def overfit(setup: Setup, start: Snapshot) -> Iterator[Finding]:
    """A network that cannot learn even a few rows by heart has something wrong with it, or is too small."""
    x, targets = array_of(setup.inputs), array_of(setup.targets)
    if not x.ndim or not targets.ndim or len(x) != len(targets) or setup.output is None:
        return
    reports = []
    deadline = time.perf_counter() + SECONDS
    rows = _varied(setup, len(x))
    trained = [parameter for parameter in setup.parameters.values() if parameter.requires_grad]
    with tqdm(total=len(ATTEMPTS) * STEPS, desc="over-fitting a few rows", delay=1, leave=False) as progress:
        for count, rate in ATTEMPTS:
            start.restore()
            for module in setup.modules.values():  # no dropout, but batches are normalised as in training
                module.training = isinstance(module, BatchNorm1d)
            try:
                few = setup.inputs[rows[:count]], setup.targets[rows[:count]]
                report = _learn(setup, *few, Adam(trained, rate), progress, deadline)
            except Exception:  # a model or a loss that takes only whole batches
                return
            if not report:
                return
            if time.perf_counter() > deadline:
                message = f"{SECONDS} seconds were not enough to tell whether a few rows can be over-fitted"
                yield Finding("overfit", "note", "model", message, "try a smaller model, or more time", OVERFIT)
                return
            reports.append(report)
    message = f"{min(ATTEMPTS[0][0], len(x))} rows of the batch cannot be over-fitted: {reports[0]}"
    remedy = (
        "check that the model uses its input, that it can produce the targets (is there a ReLU, sigmoid or softmax "
        "at the end?), and that inputs and targets belong together; otherwise make it larger"
    )
    yield Finding("overfit", "error", "model", message, remedy, OVERFIT)


def _varied(setup: Setup, count: int) -> np.ndarray:
    """The indices of the first rows, the first row of each class first: rows of one class are learned too easily."""
    rows = np.arange(min(count, 256))
    labels = setup.labels
    if labels is None:
        return rows
    repetitions = [np.count_nonzero(labels[:row] == labels[row]) for row in rows]
    return rows[np.argsort(repetitions, kind="stable")]


def _learn(setup: Setup, x: Any, targets: Any, adam: Adam, progress: Any, deadline: float) -> str:
    """Train on a few rows until they are learned; returns "" then, and else how far it came."""
    first = loss = math.nan
    learned = 0
    for step in range(STEPS):
        loss, predictions = setup.backward(x, targets)
        if step == 0:
            first = loss
        unlearned = _unlearned(setup, array_of(predictions), array_of(targets), loss, first)
        learned = learned + 1 if unlearned < UNLEARNED else 0
        if learned == LONG_ENOUGH:
            return ""
        if not math.isfinite(loss) or time.perf_counter() > deadline:
            break
        adam.step()
        progress.update()
    return f"after {STEPS} steps of Adam the loss is {loss:.4g}; it began at {first:.4g}"


def _unlearned(setup: Setup, output: np.ndarray, targets: np.ndarray, loss: float, first: float) -> float:
    """The fraction that is not learned yet: of the labels, of the targets' variance, or else of the loss."""
    if setup.labels is not None:
        wanted = targets if targets.ndim == 1 else targets.argmax(axis=1)
        return float(np.mean(output.argmax(axis=1) != wanted))
    of_loss = loss / first if first > 0 else 1.0
    variance = float(targets.var()) if targets.dtype.kind in "fiub" else 0.0
    if output.size == targets.size and variance:
        return min(of_loss, float(np.mean((output.ravel() - targets.ravel()) ** 2)) / variance)
    return of_loss
