"""Is softmax, or its logarithm, applied exactly once?"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from tinygrad_np.debug.diagnosis.report import Finding
from tinygrad_np.debug.diagnosis.setup import Setup, rows_are_probabilities
from tinygrad_np.engine import Node
from tinygrad_np.tensor import Tensor

__all__ = ["SOFTMAX", "softmax"]

SOFTMAX = "Goodfellow, Bengio & Courville, Deep Learning (2016), section 6.2.2.3"


def softmax(setup: Setup) -> Iterator[Finding]:
    """Losses on scores apply softmax themselves; the softmax of probabilities is nearly uniform."""
    for node in setup.nodes:
        name = node.rule.name
        before = node.parents[0] if node.parents else None
        if before is None or not node.args:
            continue
        x = node.args[0]
        if name == "exp" and before.rule.name == "subtract" and before.args and before.parents[0] is not None:
            x, before = before.args[0], before.parents[0]  # the maximum of each row was subtracted
        if name in ("cross_entropy", "log_softmax", "softmax", "logsumexp", "exp") and rows_are_probabilities(x):
            twice = name in ("softmax", "exp")
            classes = x.shape[1]
            least = math.log1p((classes - 1) / math.e)
            yield Finding(
                "softmax",
                "error",
                setup.where(_source(before)),
                "softmax is applied twice: its input is probabilities already"
                if twice
                else f"softmax comes before {name}, which applies it itself: the loss cannot fall below {least:.3g}",
                "remove one of the two" if twice else "remove this softmax; use it only to predict",
                SOFTMAX,
            )
            return
        if name in ("cross_entropy", "log_softmax") and before.rule.name in SQUASHING and setup.labels is not None:
            yield Finding(
                "softmax",
                "warning",
                setup.where(before),
                f"{before.rule.name} comes before {name}, which takes scores of any size and sign",
                "pass the last Linear layer's output to the loss",
                SOFTMAX,
            )
            return
        if name == "softmax" and rows_are_probabilities(np.swapaxes(node.out, 0, -1)) and len(x) != x.shape[-1]:
            message = f"softmax sums over the batch: of its output, of shape {x.shape}, columns sum to 1 and not rows"
            yield Finding("softmax", "error", setup.where(node), message, "use axis=-1", SOFTMAX)
            return
    yield from _log_missing(setup)


SQUASHING = ("sigmoid", "tanh", "relu")
PASSES_ON = ("reshape", "squeeze", "clip", "add", "maximum", "multiply")
LINEAR_IN_SCORES = ("mean", "sum", "negative", "multiply", "divide", "getitem", "reshape", "squeeze", "einsum", "trace")


def _source(node: Node) -> Node:
    """The softmax that made these probabilities, before anything that was done to them for safety."""
    while node.rule.name in PASSES_ON and node.parents[0] is not None:
        node = node.parents[0]
    return node


def _log_missing(setup: Setup) -> Iterator[Finding]:
    """A negative log-likelihood of what is not a log-probability: linear in the scores, so without a minimum."""
    predictions = setup.predictions.node if isinstance(setup.predictions, Tensor) else None
    if setup.labels is None or predictions is None or not isinstance(setup.loss, Tensor):
        return
    node = setup.loss.node
    while node is not None and node is not predictions and node.rule.name in LINEAR_IN_SCORES:
        parents = [parent for parent in node.parents if parent is not None]
        node = parents[0] if len(parents) == 1 else None
    if node is None or not isinstance(node.out, np.ndarray) or node.out.ndim != 2:
        return
    x = node.out
    if rows_are_probabilities(x):
        message, remedy = "these are probabilities, but the loss expects logarithms", "use log_softmax, not softmax"
    elif node is predictions and not rows_are_probabilities(np.exp(x)) and node.rule.name != "log":
        message = "these are raw scores, but the loss expects log-probabilities, and has no minimum"
        remedy = "use cross_entropy, which takes scores, or log_softmax as the last layer"
    else:
        return
    yield Finding("softmax", "error", setup.where(node), message, remedy, SOFTMAX)
