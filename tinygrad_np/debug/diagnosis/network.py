"""Checks of the network: does every parameter get a gradient, of a size to learn from, and do the units respond?"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from tinygrad_np.debug.diagnosis.measure import Setup, joined, norm
from tinygrad_np.debug.diagnosis.report import Told
from tinygrad_np.derivatives.table import LEAF
from tinygrad_np.engine import Node, toposort
from tinygrad_np.nn import Dropout
from tinygrad_np.tensor import Tensor

VANISHING, EXPLODING = 2e-4, 1e3
"""Ratios of the gradient at the first layer to that at the last, below and above which it counts as vanishing and
exploding. A layer of sigmoids with PyTorch's initialisation passes on about a seventh."""

SATURATED = 0.99
"""A unit that is this fraction of the way to its limits counts as saturated: tanh's derivative is then below 0.02."""


# Every parameter influences the loss


def absent(setup: Setup) -> tuple[list[str], list[str], list[str]]:
    """The parameters without a gradient: detached on the way, not recorded, and not used at all."""
    if not setup.gradients:
        return [], [], []
    names = [name for name, p in setup.parameters.items() if p.requires_grad and name not in setup.gradients]
    called = {call.name for call in setup.run.calls if call.name}
    parents = {parent for node in setup.run.nodes for parent in node.parents}
    idle = [name for name in names if setup.parameters[name].node not in parents]
    silent = [name for name in idle if name.rpartition(".")[0] in called]
    return [name for name in names if name not in idle], silent, [name for name in idle if name not in silent]


def detached(setup: Setup) -> Told:
    names = absent(setup)[0]
    if not names:
        return None
    leading = set(toposort([setup.loss.node]))
    ends = [node for node in setup.run.nodes if node not in leading]
    used = {parent for node in ends for parent in node.parents}
    node = next((node for node in reversed(ends) if node not in used), None)
    what = f"the result of {node.rule.name} in {setup.where(node)}" if node else "a result"
    message = f"no gradient: {what} loses its history on the way to the loss, and so does everything before it"
    return joined(names), message, "do not use .data, .numpy(), .detach(), argmax or float() between there and the loss"


def unrecorded(setup: Setup) -> Told:
    names = absent(setup)[1]
    remedy = "call the module outside of no_grad(), and use what it returns"
    return (joined(names), "no gradient: the call was not recorded", remedy) if names else None


def unused(setup: Setup) -> Told:
    names = absent(setup)[2]
    message = "no gradient: not used in forward, or only its .data"
    return (joined(names), message, "use it in forward, or delete it") if names else None


def frozen(setup: Setup) -> Told:
    """Of a module some parameters learn and some do not. A module that is frozen as a whole is meant to be."""
    learning = {name.rpartition(".")[0] for name, p in setup.parameters.items() if p.requires_grad}
    names = [
        name for name, p in setup.parameters.items() if not p.requires_grad and name.rpartition(".")[0] in learning
    ]
    if not names:
        return None
    return joined(names), "frozen: requires_grad is False", "if it should learn, set requires_grad = True"


def unfound(setup: Setup) -> Told:
    """What the model learns with should be among its parameters."""
    if not setup.modules:
        return None
    given = list(setup.inputs.values()) if isinstance(setup.inputs, dict) else [setup.inputs]
    given += setup.inputs if isinstance(setup.inputs, (tuple, list)) else []
    given += setup.optimizer.params if setup.optimizer else []  # another check speaks of these
    known = {*setup.names, *(value.node for value in given if isinstance(value, Tensor))}
    found = {
        # A leaf that was made in a call of a module is made anew each time: it is no parameter.
        parent: setup.where(node)
        for node in setup.run.nodes[: setup.in_model]
        for parent in node.parents
        if parent is not None and parent.rule is LEAF and parent.scope is None and parent not in known
    }
    if not found:
        return None
    shapes = joined([str(np.shape(leaf.out)) for leaf in found])
    message = f"uses Tensors of shape {shapes} that require grad, but are no parameters of the model"
    remedy = "assign each to the module as an nn.Parameter, and what holds it as an nn.Module"
    return joined(list(dict.fromkeys(found.values()))), message, remedy


# What the layers are made of


def units_axis(node: Node, name: str, setup: Setup) -> int:
    """The axis of a layer's weight that counts its units."""
    if node.rule.name == "linear":
        return 0
    return 0 if setup.names.get(node.parents[0]) == name else 1


def symmetry(setup: Setup) -> Told:
    """Units that start equal and get equal gradients stay equal: together they act as one unit."""
    largest = max((float(np.abs(gradient).max(initial=0)) for gradient in setup.gradients.values()), default=0.0)
    for name, node in setup.layers:
        weight, gradient = setup.parameters[name].data, setup.gradients.get(name)
        if gradient is None or min(weight.shape) == 0 or not np.isfinite(gradient).all():
            continue
        negligible = np.abs(gradient).max() < 1e-6 * largest
        units = units_axis(node, name, setup)
        equal = [
            axis
            for axis in (0, 1)
            if weight.shape[axis] > 1 and all_equal(weight, axis) and (negligible or all_equal(gradient, axis))
        ]
        if equal and (units in equal or not weight.any()):
            message = (
                f"all {weight.shape[units]} units have the same weights{'' if weight.any() else ', 0,'} and the same "
                "gradient, so they stay equal: the layer works like a single unit"
            )
            return name, message, "start from random weights, as nn.Linear does by itself; only biases may start equal"
    return None


def all_equal(array: np.ndarray, axis: int) -> bool:
    """Whether all slices along an axis are equal, up to rounding."""
    return bool(np.abs(array - array.take([0], axis=axis)).max() <= 1e-4 * np.abs(array).max())


def linear_twice(setup: Setup) -> Told:
    """Without something between them that is not linear, two linear layers are one.

    A narrow layer between two wider ones is meant: it makes a matrix of low rank, as in an embedding.
    """
    uses: dict[Node, int] = {}
    for node in setup.run.nodes:
        for parent in node.parents:
            if parent is not None:
                uses[parent] = uses.get(parent, 0) + 1
    layers = {node: name for name, node in setup.layers}
    for node, name in layers.items():
        before = next((p for p in node.parents if p is not None and p not in setup.names), None)
        while before is not None and before not in layers and before.rule.name in AFFINE and uses.get(before, 1) == 1:
            inner = [parent for parent in before.parents if parent is not None and parent not in setup.names]
            before = inner[0] if len(inner) == 1 else None
        if before not in layers or uses.get(before, 1) != 1:
            continue
        widths = [np.shape(before.args[0])[-1], np.shape(before.out)[-1], np.shape(node.out)[-1]]
        if widths[1] >= min(widths[0], widths[2]):
            message = f"no activation between {layers[before]} and {name}: the two together are one linear layer"
            return setup.where(before), message, "put a nonlinear function between them, such as functional.relu"
    return None


AFFINE = ("add", "subtract", "reshape", "dropped", "_dropped", "item", "astype", "negative")


def drops_most(setup: Setup) -> Told:
    """Dropout that leaves next to nothing."""
    for name, module in setup.modules.items():
        if isinstance(module, Dropout) and module.p > MOST:
            message = (
                f"drops {module.p:.0%} of its input in training, and multiplies the rest by {1 / (1 - module.p):.0f}"
            )
            return setup.named(name) or "model", message, "use p between 0.1 and 0.5: p is the share that is dropped"
    for node, following in pairwise([*setup.run.nodes[: setup.in_model], *setup.run.nodes[-1:]]):
        share = dropped(node, following)
        if share > MOST:
            return (
                setup.where(node),
                f"a random mask drops {share:.0%} of the elements",
                "drop a share between 0.1 and 0.5",
            )
    return None


def dropped(node: Node, following: Node) -> float:
    """The share of its elements that a call of dropout drops, also if written by hand; else 0.

    Dropout by hand multiplies by a random mask, and makes up for what is dropped, in the mask or by the next call.
    """
    if node.rule.residuals and "dropped" in node.rule.name:
        return float(np.mean(node.out[1] == 0))
    for array, parent in zip(node.args or (), node.parents, strict=False):
        if node.rule.name == "multiply" and parent is None and isinstance(array, np.ndarray) and array.ndim > 1:
            share, values = float(np.mean(array == 0)), np.unique(array)
            scale = float(values[-1]) if len(values) == 2 and not values[0] else 0.0
            if following.rule.name in ("divide", "multiply") and following.args and np.size(following.args[1]) == 1:
                factor = float(np.asarray(following.args[1]).item())
                scale *= 1 / factor if following.rule.name == "divide" and factor else factor
            if scale > 1 and 0.6 < scale * (1 - share) < 1.6:
                return share
    return 0.0


MOST = 0.85
"""Dropping more than this share is taken for a slip: 0.5 is usual, 0.8 has been published."""


def penalty(setup: Setup) -> Told:
    """A penalty on the weights should not outweigh what the predictions ask for."""
    data = setup.through_predictions
    weights = [name for name, _ in setup.layers if name in data and name in setup.gradients]
    shares = {}
    for name in weights:
        rest = setup.gradients[name] - data[name]
        weight = setup.parameters[name].data
        if norm(data[name]) and norm(rest) > 3 * norm(data[name]) and cosine(rest, weight) > 0.75:
            shares[name] = norm(rest) / norm(data[name])
    if not weights or len(shares) < len(weights):
        return None
    name = max(shares, key=lambda name: shares[name])
    message = (
        f"the penalty on the weights pulls {shares[name]:.3g} times as hard as the predictions' part of the gradient"
    )
    return f"{name}, {setup.at_loss}", message, "make the penalty's factor smaller, for a start 1e-4"


def cosine(x: np.ndarray, y: np.ndarray) -> float:
    sizes = norm(x) * norm(y)
    return float(np.sum(x.astype(np.float64) * y)) / sizes if sizes else 0.0


# The units respond


def dead(setup: Setup) -> Told:
    """A ReLU that is 0 for every row passes no gradient on, so nothing before it can bring it back.

    In deep layers rows become alike, so that each unit is on for all of them or off for all of them: about half of the
    units are dead by the toss of a coin. A layer is reported if it is four standard deviations beyond that.
    """
    for node in setup.run.nodes[: setup.in_model]:
        if not is_relu(node) or not isinstance(node.out, np.ndarray) or node.out.ndim < 2 or not node.out.size:
            continue
        out = node.out.reshape(-1, node.out.shape[-1])
        units, rows = out.shape[1], len(out)
        count = int(np.count_nonzero(~out.any(axis=0)))
        if rows < 4 and count < units:
            continue  # half of the units are off for any single row
        if count == units or count / units > 0.5 + 4 * 0.5 / np.sqrt(units):
            everything = "all" if count == units else f"{count} of"
            message = f"{everything} {units} units are dead, 0 for all {rows} rows{weights_before(setup, node)}"
            remedy = (
                "start biases at 0 and weights with nn.init.kaiming_normal_, lower the learning rate, or use LeakyReLU"
            )
            return setup.where(node), message, remedy
    return None


def saturated(setup: Setup) -> Told:
    """A tanh or sigmoid near its limits has a derivative near 0."""
    last = max((node.number for _, node in setup.layers), default=0)
    for node, follower in pairwise(setup.run.nodes[: setup.in_model] + setup.run.nodes[-1:]):
        limits = bounds(node)
        if limits is None or node.number > last or not node.out.size:  # the model's outputs may saturate
            continue
        added_to = follower.args[0] if follower.args and follower.rule.name == "add" else None
        if node.rule.name == "tanh" and added_to is not None and np.ndim(added_to) == 0:
            continue  # the 1 + tanh(...) of GELU, which is meant to reach its limits
        low, high = limits
        distance = np.minimum(node.out - low, high - node.out) / ((high - low) / 2)
        share = float(np.mean(distance < 1 - SATURATED))
        if share > 0.5:
            message = f"{share:.0%} of the outputs are saturated, near {low} or {high}{weights_before(setup, node)}"
            return (
                setup.where(node),
                message,
                "start with smaller weights (nn.init.xavier_uniform_), and scale the inputs",
            )
    return None


def is_relu(node: Node) -> bool:
    """Whether the call is a ReLU in one of its common spellings."""
    name, args = node.rule.name, list(node.args or ())
    if name == "maximum":  # with 0
        return any(np.ndim(array) == 0 and not np.any(array) for array in args[:2])
    if name == "multiply":  # by x > 0
        return any(getattr(array, "dtype", None) == np.bool_ for array in args)
    if name == "where":  # x > 0, x, 0
        return np.ndim(args[2]) == 0 and not np.any(args[2])
    return name == "relu"


def bounds(node: Node) -> tuple[int, int] | None:
    """The least and the greatest value of the function, if it is one that saturates; else None."""
    name = node.rule.name
    if name == "tanh":
        return -1, 1
    ratio = name == "divide" and node.args and np.ndim(node.args[0]) == 0 and np.all(np.asarray(node.args[0]) == 1)
    if name == "sigmoid" or (
        ratio and node.out.size and node.out.min() >= 0 and node.out.max() <= 1
    ):  # 1 / (1 + exp(-x))
        return 0, 1
    return None


def weights_before(setup: Setup, node: Node) -> str:
    """The layer before the activation, for the message."""
    name = next((name for name, layer in reversed(setup.layers) if layer.number <= node.number), "")
    return f", after {name}" if name else ""


# The gradient on its way back


def zero(setup: Setup) -> Told:
    """A gradient that is exactly zero at every element moves nothing."""
    return zeros(setup, last=False)


def zero_for_now(setup: Setup) -> Told:
    """Weights of 0 in the last layer pass no gradient on until they have changed."""
    return zeros(setup, last=True)


def zeros(setup: Setup, last: bool) -> Told:
    names = [name for name, gradient in setup.gradients.items() if gradient.size and not gradient.any()]
    if not names or not setup.run.arrived.get(setup.loss.node):
        return None
    if all(setup.parameters[name].ndim < 2 for name in names):
        return None  # a bias may be right already, or stand before batch normalisation, which subtracts it
    node, parent = max(
        (pair for pair in setup.run.blocked if leads_to(setup, *pair, names)),
        key=lambda pair: (pair[1].rule is not LEAF, pair[0].number),  # in a product, prefer what made the factor 0
        default=(None, None),
    )
    message, remedy = "the gradient is 0 at every element", "check what stands between these parameters and the loss"
    if node is not None and parent is not None:
        name = node.rule.name
        message += f": {name} in {setup.where(node)} passes none on"
        constant = [array for array, p in zip(node.args or (), node.parents, strict=False) if p is not parent]
        if name in ("multiply", "linear", "matmul", "dot") and any(not np.any(array) for array in constant[:1]):
            message += ", since it multiplies by 0"
            remedy = "do not multiply by 0; weights should start as random numbers"
    weight = next((setup.names[p] for p in node.parents if p in setup.names), None) if node else None
    is_last = bool(weight and setup.layers and weight == setup.layers[-1][0])
    if is_last:
        message += f" ({weight} is the last weight: the gradient comes back once it has changed)"
    return (joined(names), message, remedy) if is_last == last else None


def leads_to(setup: Setup, node: Node, parent: Node, names: list[str]) -> bool:
    """Whether a gradient that goes from `node` to `parent` would reach one of the parameters."""
    leaves = {setup.parameters[name].node for name in names}
    return parent in leaves or any(leaf in leaves for call in toposort([parent]) for leaf in call.parents)


def exploding(setup: Setup) -> Told:
    """Neither the layers' outputs nor the gradient on its way back should grow by large factors."""
    sizes = backward_sizes(setup)
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
        return culprit(grown, max) or first, message, remedy
    if len(sizes) > 1 and sizes[0][1] > EXPLODING * sizes[-1][1]:
        return culprit(sizes, max) or sizes[0][0], f"the gradient explodes: {series(sizes)}", remedy
    return None


def huge(setup: Setup) -> Told:
    """A gradient should not be many times as large as its weight."""
    ratios = {
        name: norm(setup.gradients[name]) / norm(setup.parameters[name].data)
        for name, _ in setup.layers
        if name in setup.gradients and norm(setup.parameters[name].data) > 1e-3
    }
    name = max(ratios, key=lambda name: ratios[name], default="")
    if not name or not EXPLODING < ratios[name] < math.inf:
        return None
    message = f"the gradient is large: its norm is {ratios[name]:.2g} times that of the weight"
    return name, message, "start with smaller weights (nn.init.kaiming_normal_), average the loss, or clip the gradient"


def vanishing(setup: Setup) -> Told:
    """The gradient with respect to the layers' outputs should not shrink by large factors on its way back."""
    sizes = backward_sizes(setup)
    if len(sizes) < 2 or sizes[0][1] >= VANISHING * sizes[-1][1]:
        return None
    lost = culprit(sizes, min)
    message = f"the gradient vanishes: {series(sizes)}{f'; most of it is lost in {lost}' * bool(lost)}"
    remedy = "use ReLU with nn.init.kaiming_normal_, or tanh with xavier_uniform_, or normalisation layers"
    return lost or sizes[0][0], message, remedy


def backward_sizes(setup: Setup) -> list[tuple[str, float]]:
    """The norms of the gradients with respect to the layers' outputs; the largest if a weight is used several times."""
    arrived = setup.run.arrived
    sizes = [(name, max(arrived.get(node, 0.0) for node in nodes)) for name, nodes in setup.products.items()]
    return [(name, size) for name, size in sizes if 0 < size < math.inf]


def series(sizes: list[tuple[str, float]]) -> str:
    (first, at_first), (last, at_last) = sizes[0], sizes[-1]
    return f"its norm is {at_last:.2g} after {last} and {at_first:.2g} after {first}"


def culprit(sizes: list[tuple[str, float]], extreme: Callable[..., Any]) -> str:
    """The layer that makes most of the change on the way back from the last of `sizes` to the first; "" if none."""
    steps = [(earlier / later, name) for (_, earlier), (name, later) in pairwise(sizes)]
    factor, name = extreme(steps)
    whole = sizes[0][1] / sizes[-1][1]
    return name if len(steps) > 1 and abs(math.log(factor)) > 0.7 * abs(math.log(whole)) else ""
