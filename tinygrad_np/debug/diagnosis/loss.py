"""Checks of the loss: does it compare what should be compared, and does it start at the right value?"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from tinygrad_np import functional
from tinygrad_np.debug.diagnosis.report import Finding
from tinygrad_np.debug.diagnosis.setup import Setup, array_of, rows_are_probabilities, watched
from tinygrad_np.tensor import Tensor

__all__ = ["broadcast", "value"]

LOSS_AT_INIT = 'CS231n, "Neural networks part 3", sanity checks: "Look for correct loss at chance performance"'


def broadcast(setup: Setup) -> Iterator[Finding]:
    """Predictions and targets that NumPy stretches to fit: (N, 1) with (N,) gives (N, N)."""
    targets = array_of(setup.targets)
    count = len(targets) if targets.ndim else 0
    for i, node in enumerate(setup.nodes):
        arrays = [array for array in node.args or () if isinstance(array, np.ndarray) and array.ndim]
        if len(arrays) != 2 or count < 2 or not isinstance(node.out, np.ndarray) or node.rule.name not in ELEMENTWISE:
            continue
        x, y = arrays
        grown = node.out.size > max(x.size, y.size) and count in x.shape and count in y.shape
        column_with_row = grown and {x.shape, y.shape} == {(count, 1), (count,)}
        in_loss = i >= setup.in_model and sum(parent is not None for parent in node.parents) == 1
        is_targets = any(a.shape == targets.shape and np.array_equal(a, targets) and a.size > 1 for a in arrays)
        stretched = is_targets and x.shape != y.shape and min(x.size, y.size) > 1
        if column_with_row or (in_loss and (grown or stretched)):
            where = setup.where(node)
            message = f"{node.rule.name} of shapes {x.shape} and {y.shape} broadcasts to {node.out.shape}: "
            message += "every row meets all others" if grown else "one target is compared with several predictions"
            remedy = "give both one shape, for example by predictions[:, 0] or targets[:, None]; mse_loss checks for it"
            if setup.labels is not None:
                remedy = "make one-hot targets, functional.one_hot(targets, classes)"
            place = f"loss, {where}" if in_loss and where != "loss" else where
            yield Finding("broadcast", "error", place, message, remedy, "NumPy's broadcasting rules")
            return


ELEMENTWISE = ("subtract", "add", "multiply", "divide", "maximum", "minimum", "equal", "power")


def value(setup: Setup) -> Iterator[Finding]:
    """Before training each of C classes should have a probability of about 1 / C, which gives a loss of ln C."""
    labels, output, loss = setup.labels, setup.output, setup.loss_value
    if output is None or not np.isfinite(output).all() or loss is None:
        return
    if labels is None:
        yield from _regression_value(setup, output, loss)
        return
    n, classes = output.shape
    expected = _cross_entropy(output, labels)
    others = np.roll(output, 1, axis=0)  # other predictions, to tell a factor from a coincidence
    factors = {
        float(n): f"it is the sum over the {n} rows, {n} times what it should be, which makes steps {n} times as large",
        1 / classes: f"it is the mean over rows and {classes} classes, {classes} times too small",
        1 / n: f"it is divided by the {n} rows twice",
        -1.0: "its sign is wrong: training would make the predictions worse",
    }
    for factor, message in factors.items() if n > 1 and expected > 1e-6 else ():
        if math.isclose(loss, factor * expected, rel_tol=1e-3) and math.isclose(
            _loss_of(setup, others), factor * _cross_entropy(others, labels), rel_tol=1e-3
        ):
            remedy = "return -log(probability of the right class), averaged over the rows"
            severity = "error" if factor < 0 else "warning"
            yield Finding("loss", severity, "loss", f"{loss:.4g}: {message}", remedy, LOSS_AT_INIT)
            return
    accuracy = np.mean(output.argmax(axis=1) == labels)
    uniform = math.log(classes)
    untrained = accuracy < (1 + 1 / classes) / 2
    if untrained and math.isclose(loss, expected, rel_tol=1e-3) and loss - uniform > max(EXCESS, uniform):
        yield Finding(
            "loss",
            "error",
            _largest_weight(setup) or "loss",
            f"the loss is {loss:.4g} at an accuracy of {accuracy:.0%}; before training it should be about "
            f"ln({classes}) = {uniform:.3g}. The scores, of std {output.std():.3g}, are too large",
            "start with smaller weights, of std about sqrt(2 / in_features), above all in the last layer",
            LOSS_AT_INIT,
        )


EXCESS = 2.0
"""How far above ln C a loss may be. He's initialisation with standardised inputs stays below 1.8."""


def _cross_entropy(output: np.ndarray, labels: np.ndarray) -> float:
    """The cross-entropy of probabilities or, if they are not, of scores."""
    if rows_are_probabilities(output):
        return float(-np.mean(np.log(np.maximum(output[np.arange(len(labels)), labels], 1e-30))))
    return float(functional.cross_entropy(output.astype(np.float64), labels))


def _loss_of(setup: Setup, predictions: np.ndarray) -> float:
    """The loss of other predictions."""
    with watched(None):
        return float(array_of(setup.loss_fn(Tensor(predictions), setup.targets)).item())


def _regression_value(setup: Setup, output: np.ndarray, loss: float) -> Iterator[Finding]:
    """Before training, predictions should not be far larger than the targets."""
    targets = array_of(setup.targets)
    if output.shape != targets.shape or targets.dtype.kind != "f":
        return
    predicted, wanted = (float(np.sqrt(np.mean(array.astype(np.float64) ** 2))) for array in (output, targets))
    if predicted > 20 * max(wanted, 1):
        yield Finding(
            "loss",
            "error",
            _largest_weight(setup) or "loss",
            f"the loss is {loss:.4g}: the predictions, of root mean square {predicted:.4g}, are "
            f"far larger than the targets, of {wanted:.4g}",
            "start with smaller weights, of std about sqrt(2 / in_features)",
            'Karpathy, "A recipe for training neural networks" (2019), "verify loss @ init"',
        )


def _largest_weight(setup: Setup) -> str:
    """The weight that is largest compared with He's initialisation, if much larger than that; else ""."""
    sizes = {
        name: float(setup.parameters[name].data.std()) / math.sqrt(2 / setup.parameters[name].shape[1])
        for name, _ in setup.layers
    }
    name = max(sizes, key=lambda name: sizes[name], default="")
    return name if name and sizes[name] > 2 else ""
