"""Checks of the units: do they still respond to their input?"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from tinygrad_np.debug.diagnosis.report import Finding
from tinygrad_np.debug.diagnosis.setup import Setup
from tinygrad_np.engine import Node

__all__ = ["dead", "saturated"]

DYING = 'Lu et al., "Dying ReLU and initialization" (2019); CS231n, "Neural networks part 1", ReLU'
SATURATION = 'Glorot & Bengio (2010), section 3; LeCun et al., "Efficient BackProp" (1998), section 4.4'

SATURATED = 0.99
"""A unit that is this fraction of the way to its limits counts as saturated: tanh's derivative is then below 0.02."""


def dead(setup: Setup) -> Iterator[Finding]:
    """A ReLU that is 0 for every row passes no gradient on, so nothing before it can bring it back.

    In deep layers rows become alike, so that each unit is on for all of them or off for all of them: about half of the
    units are dead by the toss of a coin. A layer is reported if it is four standard deviations beyond that.
    """
    for node in setup.nodes[: setup.in_model]:
        if not _is_relu(node) or not isinstance(node.out, np.ndarray) or node.out.ndim < 2 or not node.out.size:
            continue
        out = node.out.reshape(-1, node.out.shape[-1])
        units = out.shape[1]
        count = int(np.count_nonzero(~out.any(axis=0)))
        if count == units or count / units > 0.5 + 4 * 0.5 / np.sqrt(units):
            everything = count == units
            message = (
                f"{'all' if everything else f'{count} of'} {units} units are dead, 0 for all {len(out)} rows"
                f"{_weights_before(setup, node)}"
            )
            remedy = (
                "start biases at 0 and weights with nn.init.kaiming_normal_, lower the learning rate, or use LeakyReLU"
            )
            yield Finding("dead units", "error", setup.where(node), message, remedy, DYING)
            return


def saturated(setup: Setup) -> Iterator[Finding]:
    """A tanh or sigmoid near its limits has a derivative near 0."""
    last = max((node.number for _, node in setup.layers), default=0)
    for node, follower in pairwise(setup.nodes[: setup.in_model] + setup.nodes[-1:]):
        limits = _limits(node)
        if limits is None or node.number > last or not node.out.size:  # the model's outputs may saturate
            continue
        added_to = follower.args[0] if follower.args and follower.rule.name == "add" else None
        if node.rule.name == "tanh" and added_to is not None and np.ndim(added_to) == 0:
            continue  # the 1 + tanh(...) of GELU, which is meant to reach its limits
        low, high = limits
        distance = np.minimum(node.out - low, high - node.out) / ((high - low) / 2)
        share = float(np.mean(distance < 1 - SATURATED))
        if share > 0.5:
            message = f"{share:.0%} of the outputs are saturated, near {low} or {high}{_weights_before(setup, node)}"
            remedy = "start with smaller weights (nn.init.xavier_uniform_), and scale the inputs"
            yield Finding("saturated units", "error", setup.where(node), message, remedy, SATURATION)
            return


def _is_relu(node: Node) -> bool:
    """Whether the call is a ReLU in one of its common spellings."""
    name, args = node.rule.name, list(node.args or ())
    if name == "maximum":  # with 0
        return any(np.ndim(array) == 0 and not np.any(array) for array in args[:2])
    if name == "multiply":  # by x > 0
        return any(getattr(array, "dtype", None) == np.bool_ for array in args)
    if name == "where":  # x > 0, x, 0
        return np.ndim(args[2]) == 0 and not np.any(args[2])
    return name == "relu"


def _limits(node: Node) -> tuple[int, int] | None:
    """The least and the greatest value of the function, if it is one that saturates; else None."""
    name = node.rule.name
    if name == "tanh":
        return -1, 1
    ratio = name == "divide" and node.args and np.ndim(node.args[0]) == 0 and np.all(np.asarray(node.args[0]) == 1)
    if name == "sigmoid" or (ratio and node.out.min() >= 0 and node.out.max() <= 1):  # 1 / (1 + exp(-x))
        return 0, 1
    return None


def _weights_before(setup: Setup, node: Node) -> str:
    """The layer before the activation, for the message."""
    name = next((name for name, layer in reversed(setup.layers) if layer.number <= node.number), "")
    return f", after {name}" if name else ""
