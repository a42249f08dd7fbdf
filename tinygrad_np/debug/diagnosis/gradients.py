"""Checks of the gradients: does every parameter get one, of a size to learn from?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from tinygrad_np.debug.diagnosis.report import Finding
from tinygrad_np.debug.diagnosis.setup import Setup, joined, norm
from tinygrad_np.derivatives.table import LEAF
from tinygrad_np.engine import Node, toposort

__all__ = ["exploding", "missing", "symmetry", "vanishing", "zero"]

VANISHING, EXPLODING = 2e-4, 1e3
"""Ratios of the gradient at the first layer to that at the last, below and above which it counts as vanishing and
exploding. A layer of sigmoids with PyTorch's initialisation passes on about a seventh."""

GLOROT = (
    'Glorot & Bengio, "Understanding the difficulty of training deep feedforward neural networks" (2010), section 4.2'
)
PASCANU = 'Pascanu, Mikolov & Bengio, "On the difficulty of training recurrent neural networks" (2013), section 2'
SYMMETRY = 'Goodfellow, Bengio & Courville, Deep Learning (2016), section 8.4: "break symmetry"'
CHAIN_RULE = "the chain rule: what the loss does not depend on has no gradient"


def missing(setup: Setup) -> Iterator[Finding]:
    """Every parameter should influence the loss."""
    if not setup.gradients:
        return  # see `history`
    absent = [name for name, p in setup.parameters.items() if p.requires_grad and name not in setup.gradients]
    frozen = [name for name, p in setup.parameters.items() if not p.requires_grad]
    called = {call.name for call in setup.calls}
    parents = {parent for node in setup.nodes for parent in node.parents}
    unused = [name for name in absent if setup.parameters[name].node not in parents]
    unrecorded = [name for name in unused if name.rpartition(".")[0] in called and name.rpartition(".")[0]]
    detached = [name for name in absent if name not in unused]
    never = [name for name in unused if name not in unrecorded]
    if detached:
        node = _end_of_history(setup)
        place = setup.where(node) if node else "the model"
        function = node.rule.name if node else "?"
        message = (
            f"no gradient: the result of {function} in {place} loses its history on "
            "the way to the loss, and so does everything before it"
        )
        remedy = "do not use .data, .numpy(), .detach() or float() between there and the loss"
        yield Finding("gradient", "error", joined(detached), message, remedy, CHAIN_RULE)
    if unrecorded:
        message = "no gradient: the call was not recorded"
        remedy = "call the module outside of no_grad(), and use what it returns"
        yield Finding("gradient", "error", joined(unrecorded), message, remedy, CHAIN_RULE)
    if never:
        message = "no gradient: not used in forward, or only its .data"
        yield Finding("gradient", "error", joined(never), message, "use it in forward, or delete it", CHAIN_RULE)
    if frozen:
        message = "frozen: requires_grad is False"
        remedy = "if it should learn, set requires_grad = True"
        yield Finding("gradient", "note", joined(frozen), message, remedy, "Tensor.requires_grad")


def _end_of_history(setup: Setup) -> Node | None:
    """The last call off the path to the loss that no other such call uses; None if there is none."""
    leading = set(toposort([setup.loss.node]))
    ends = [node for node in setup.nodes if node not in leading]
    used = {parent for node in ends for parent in node.parents}
    return next((node for node in reversed(ends) if node not in used), None)


def symmetry(setup: Setup) -> Iterator[Finding]:
    """Units that start equal and get equal gradients stay equal: together they act as one unit."""
    largest = max((float(np.abs(gradient).max(initial=0)) for gradient in setup.gradients.values()), default=0.0)
    for name, _ in setup.layers:
        weight, gradient = setup.parameters[name].data, setup.gradients.get(name)
        if gradient is None or min(weight.shape) == 0 or not np.isfinite(gradient).all():
            continue
        negligible = np.abs(gradient).max() < 1e-6 * largest
        units = [
            axis
            for axis in (0, 1)
            if weight.shape[axis] > 1 and _equal(weight, axis) and (negligible or _equal(gradient, axis))
        ]
        if units and (0 in units or not weight.any()):
            message = (
                f"all {weight.shape[0]} units have the same weights{'' if weight.any() else ', 0,'} and the same "
                "gradient, so they stay equal: the layer works like a single unit"
            )
            remedy = "start from random weights, as nn.Linear does by itself; only biases may start equal"
            yield Finding("symmetry", "error", name, message, remedy, SYMMETRY)
            return


def _equal(array: np.ndarray, axis: int) -> bool:
    """Whether all slices along an axis are equal, up to rounding."""
    first = array.take([0], axis=axis)
    return bool(np.abs(array - first).max() <= 1e-4 * np.abs(array).max())


def zero(setup: Setup) -> Iterator[Finding]:
    """A gradient that is exactly zero at every element moves nothing."""
    zeros = [name for name, gradient in setup.gradients.items() if gradient.size and not gradient.any()]
    if not zeros or not setup.arrived.get(setup.loss.node):
        return
    if all(setup.parameters[name].ndim < 2 for name in zeros):
        return  # a bias may be right already, or stand before batch normalisation, which subtracts it
    node, parent = max(
        (pair for pair in setup.blocked if _leads_to(setup, *pair, zeros)),
        key=lambda pair: (pair[1].rule is not LEAF, pair[0].number),  # in a product, prefer what made the factor 0
        default=(None, None),
    )
    message, place, severity = "the gradient is 0 at every element", joined(zeros), "error"
    remedy = "check what stands between these parameters and the loss"
    if node is not None and parent is not None:
        name = node.rule.name
        message += f": {name} in {setup.where(node)} passes none on"
        constant = [array for array, p in zip(node.args or (), node.parents, strict=False) if p is not parent]
        if name in ("multiply", "linear", "matmul", "dot") and any(not np.any(array) for array in constant[:1]):
            message += ", since it multiplies by 0"
            remedy = "do not multiply by 0; weights should start as random numbers"
        weight = next((setup.names[p] for p in node.parents if p in setup.names), None)
        if weight and setup.layers and weight == setup.layers[-1][0]:
            severity = "warning"
            message += f" ({weight} is the last weight: the gradient comes back once it has changed)"
    yield Finding("zero gradient", severity, place, message, remedy, CHAIN_RULE)


def _leads_to(setup: Setup, node: Node, parent: Node, names: list[str]) -> bool:
    """Whether a gradient that goes from `node` to `parent` would reach one of the parameters."""
    leaves = {setup.parameters[name].node for name in names}
    return parent in leaves or any(leaf in leaves for call in toposort([parent]) for leaf in call.parents)


def exploding(setup: Setup) -> Iterator[Finding]:
    """Neither the layers' outputs nor the gradient on its way back should grow by large factors."""
    sizes = _sizes(setup)
    outputs = [(name, norm(node.out) / math.sqrt(node.out.size)) for name, node in setup.layers if node.out.size]
    outputs = [(name, size) for name, size in outputs if 0 < size < math.inf]
    remedy = "start with smaller weights (nn.init.kaiming_normal_), or add normalisation layers"
    if len(outputs) > 2 and outputs[-1][1] > 100 and outputs[-2][1] > 30 * outputs[0][1]:
        (first, at_first), (last, at_last) = outputs[0], outputs[-1]
        grown = [("", at_last), *[(after, size) for (_, size), (after, _) in pairwise(outputs)][::-1]]
        message = (
            f"the outputs explode, and the gradients with them: their root mean square is {at_first:.2g} after {first} "
            f"and {at_last:.2g} after {last}"
        )
        yield Finding("exploding gradient", "error", _culprit(grown, max) or first, message, remedy, PASCANU)
    elif len(sizes) > 1 and sizes[0][1] > EXPLODING * sizes[-1][1]:
        place = _culprit(sizes, max) or sizes[0][0]
        message = f"the gradient explodes: {_series(sizes)}"
        yield Finding("exploding gradient", "error", place, message, remedy, PASCANU)
    else:
        yield from _huge(setup)


def _huge(setup: Setup) -> Iterator[Finding]:
    """A gradient should not be many times as large as its weight."""
    ratios = {
        name: norm(setup.gradients[name]) / norm(setup.parameters[name].data)
        for name, _ in setup.layers
        if name in setup.gradients and norm(setup.parameters[name].data) > 1e-3
    }
    name = max(ratios, key=lambda name: ratios[name], default="")
    if name and ratios[name] > EXPLODING:
        message = f"the gradient explodes: its norm is {ratios[name]:.2g} times that of the weight"
        remedy = "start with smaller weights (nn.init.kaiming_normal_), average the loss, or clip the gradient"
        yield Finding("exploding gradient", "error", name, message, remedy, PASCANU)


def vanishing(setup: Setup) -> Iterator[Finding]:
    """The gradient with respect to the layers' outputs should not shrink by large factors on its way back."""
    sizes = _sizes(setup)
    if len(sizes) > 1 and sizes[0][1] < VANISHING * sizes[-1][1]:
        culprit = _culprit(sizes, min)
        message = f"the gradient vanishes: {_series(sizes)}"
        if culprit:
            message += f"; most of it is lost in {culprit}"
        remedy = "use ReLU with nn.init.kaiming_normal_, or tanh with xavier_uniform_, or normalisation layers"
        yield Finding("vanishing gradient", "error", culprit or sizes[0][0], message, remedy, GLOROT)


def _sizes(setup: Setup) -> list[tuple[str, float]]:
    """The norms of the gradients with respect to the layers' outputs."""
    sizes = [(name, setup.arrived.get(node, 0.0)) for name, node in setup.layers]
    return [(name, size) for name, size in sizes if 0 < size < math.inf]


def _series(sizes: list[tuple[str, float]]) -> str:
    (first, at_first), (last, at_last) = sizes[0], sizes[-1]
    return f"its norm is {at_last:.2g} after {last} and {at_first:.2g} after {first}"


def _culprit(sizes: list[tuple[str, float]], extreme: Callable[..., Any]) -> str:
    """The layer that makes most of the change on the way back from the last of `sizes` to the first; "" if none."""
    steps = [(earlier / later, name) for (_, earlier), (name, later) in pairwise(sizes)]
    factor, name = extreme(steps)
    whole = sizes[0][1] / sizes[-1][1]
    return name if len(steps) > 1 and abs(math.log(factor)) > 0.7 * abs(math.log(whole)) else ""
