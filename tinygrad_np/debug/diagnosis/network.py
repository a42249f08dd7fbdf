"""Checks of the network: does every parameter get a gradient, of a size to learn from, and do the units respond?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from tinygrad_np.debug.diagnosis.measure import Arrays, Setup, flat, joined, norm, size_of
from tinygrad_np.debug.diagnosis.report import Told
from tinygrad_np.derivatives.table import LEAF
from tinygrad_np.engine import Node, toposort
from tinygrad_np.nn import Dropout, Module
from tinygrad_np.tensor import Tensor

VANISHING, EXPLODING = 2e-4, 1e3
"""Ratios of the gradient at the first layer to that at the last, below and above which it counts as vanishing and
exploding. A layer of sigmoids with PyTorch's initialisation passes on about a seventh."""

SATURATED = 0.99
"""A unit that is this fraction of the way to its limits counts as saturated: tanh's derivative is then below 0.02."""

MOST = 0.85
"""Dropping more than this share is taken for a slip: 0.5 is usual, 0.8 has been published."""


# Every parameter influences the loss


def without_gradient(setup: Setup, parameters: dict[str, Tensor], loss_node: Node) -> Told:
    """The parameters without a gradient: detached on the way, not recorded, or not used at all."""
    names = [name for name, p in parameters.items() if p.requires_grad and name not in setup.gradients]
    parents = {parent for node in setup.run.nodes for parent in node.parents}
    cut = [name for name in names if parameters[name].node in parents]
    if cut:
        leading = set(toposort([loss_node]))
        ends = [node for node in setup.run.nodes if node not in leading]
        node = max(set(ends).difference(*(node.parents for node in ends)), key=lambda n: n.number, default=None)
        what = f"the result of {node.rule.name} in {setup.where(node)}" if node else "a result"
        message = f"no gradient: {what} is not used, or loses its history on the way to the loss, as all before it"
        remedy = "use it, and no .data, .numpy(), .detach(), argmax or float() between there and the loss"
        return joined(cut), message, remedy
    called = {call.name for call in setup.run.calls if call.name}
    silent = [name for name in names if name.rpartition(".")[0] in called]
    if silent:
        remedy = "call the module outside of no_grad(), and use what it returns"
        return joined(silent), "no gradient: the call was not recorded", remedy
    if setup.x.dtype.kind == "f":  # what is chosen for some rows may be chosen for others
        others = setup.seen(lambda: setup.model(-setup.x)).nodes
        names = [name for name in names if not any(parameters[name].node in node.parents for node in others)]
    message = "no gradient: not used in forward, or only its .data"
    return (joined(names), message, "use it in forward, or delete it") if names else None


def frozen(parameters: dict[str, Tensor]) -> Told:
    """Of a module some parameters learn and some do not. A module that is frozen as a whole is meant to be."""
    learning = {name.rpartition(".")[0] for name, p in parameters.items() if p.requires_grad}
    names = [name for name, p in parameters.items() if not p.requires_grad and name.rpartition(".")[0] in learning]
    message, remedy = "frozen: requires_grad is False", "if it should learn, set requires_grad = True"
    return (joined(names), message, remedy) if names else None


def unfound(setup: Setup) -> Told:
    """What the model learns with should be among its parameters."""
    given = flat(setup.inputs) + (setup.optimizer.params if setup.optimizer else [])  # another check speaks of these
    known = {*setup.names, *(value.node for value in given if isinstance(value, Tensor))}
    found = {
        # A leaf that was made in this pass is made anew each time: it is no parameter.
        parent: setup.where(node)
        for node in setup.of_model
        for parent in node.parents
        if parent is not None and parent.rule is LEAF and parent.number < setup.began and parent not in known
    }
    if not found or not setup.modules:
        return None
    shapes = joined([str(np.shape(leaf.out)) for leaf in found])
    message = f"uses Tensors of shape {shapes} that require grad, but are no parameters of the model"
    remedy = "assign each to the module as an nn.Parameter, and what holds it as an nn.Module"
    return joined(list(dict.fromkeys(found.values()))), message, remedy


# What the layers are made of


def symmetry(setup: Setup, parameters: dict[str, Tensor], gradients: Arrays) -> Told:
    """Units that start equal and get equal gradients stay equal: together they act as one unit."""
    largest = max(float(np.abs(gradient).max(initial=0)) for gradient in gradients.values())
    for name, node in setup.layers.items():
        weight, gradient = parameters[name].data, gradients.get(name)
        if gradient is None or not weight.size:
            continue
        negligible = np.abs(gradient).max() < 1e-6 * largest
        units = 0 if node.rule.name in ("linear", "conv2d") or setup.names.get(node.parents[0]) == name else 1
        equal = [
            axis
            for axis in (0, 1)
            if weight.shape[axis] > 1 and all_equal(weight, axis) and (negligible or all_equal(gradient, axis))
        ]
        if equal and (units in equal or not weight.any()):
            message = (
                f"all {weight.shape[units]} units have the same weights{', 0,' * (not weight.any())} and the same "
            )
            message += "gradient, so they stay equal: the layer works like a single unit"
            return name, message, "start from random weights, as nn.Linear does by itself; only biases may start equal"
    return None


def all_equal(array: np.ndarray, axis: int) -> bool:
    """Whether all slices along an axis are equal, up to rounding."""
    return bool(np.abs(array - array.take([0], axis=axis)).max() <= 1e-4 * np.abs(array).max())


AFFINE = ("add", "subtract", "reshape", "dropped", "_dropped", "item", "astype", "negative")


def linear_twice(setup: Setup, loss_node: Node) -> Told:
    """Without something between them that is not linear, two linear layers are one, and so are two convolutions.

    A narrow layer between two wider ones is meant: it makes a matrix of low rank, as in an embedding. So are
    convolutions of different windows, of single pixels, or of groups of channels: they save multiplications.
    """
    leading = {loss_node, *toposort([loss_node])}
    uses = Counter(parent for node in leading for parent in node.parents)
    layers = {node: name for name, node in setup.layers.items()}

    def before(node: Node) -> list[Node]:
        return [parent for parent in node.parents if parent is not None and parent not in setup.names]

    for node, name in layers.items():
        inner = before(node)[:1]
        while len(inner) == 1 and inner[0] not in layers and inner[0].rule.name in AFFINE and uses[inner[0]] == 1:
            inner = before(inner[0])
        if len(inner) != 1 or inner[0] not in layers or uses[inner[0]] != 1:
            continue
        first = inner[0]
        weights = [setup.parameters[layers[first]].data, setup.parameters[name].data]
        windows = {weight.shape[2:] for weight in weights}
        axis = 1 if weights[1].ndim == 4 else -1  # of the units
        widths = [np.shape(array)[axis] for array in (first.args[0], first.out, node.out)]
        whole = axis == -1 or [weight.shape[1] for weight in weights] == widths[:2]
        if len(windows) == 1 and (1, 1) not in windows and whole and widths[1] >= min(widths[0], widths[2]):
            message = f"no activation between {layers[first]} and {name}: the two together are one linear layer"
            unused = [call for call in setup.run.nodes if first in call.parents and call not in leading]
            if unused:
                message += f"; the result of {unused[0].rule.name} in {setup.where(unused[0])} does not reach the loss"
            return setup.where(first), message, "put a nonlinear function between them, such as functional.relu"
    return None


def drops_most(setup: Setup, modules: dict[str, Module]) -> Told:
    """Dropout that leaves next to nothing."""
    shares = [(setup.named(name) or "model", m.p) for name, m in modules.items() if isinstance(m, Dropout)]
    shares += [(setup.where(node), dropped(node, following)) for node, following in setup.pairs]
    for place, share in shares:
        if share > MOST:
            message = (
                f"{share:.0%} of the elements are dropped at random, and the rest multiplied by {1 / (1 - share):.0f}"
            )
            return place, message, "drop a share p between 0.1 and 0.5"
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


def penalty(setup: Setup, parameters: dict[str, Tensor]) -> Told:
    """A penalty on the weights should not outweigh what the predictions ask for."""
    shares = {}
    for name in setup.weights:
        data = setup.through_predictions.get(name, np.zeros(1))
        rest = setup.gradients[name] - data
        if norm(data) and norm(rest) > 3 * norm(data) and cosine(rest, parameters[name].data) > 0.75:
            shares[name] = norm(rest) / norm(data)
    if not shares or len(shares) < len(setup.weights):
        return None
    name, share = largest(shares)
    message = f"the penalty on the weights pulls {share:.3g} times as hard as the predictions' part of the gradient"
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
    for node in setup.of_model:
        if not is_relu(node) or np.ndim(node.out) < 2 or not node.out.size:
            continue
        out = np.moveaxis(node.out, 1, -1) if node.out.ndim == 4 else node.out  # the channels of images are the units
        out = out.reshape(-1, out.shape[-1])
        rows, units = len(node.out) if node.out.ndim == 4 else len(out), out.shape[1]
        count = int(np.count_nonzero(~out.any(axis=0)))
        if count == units or (rows >= 4 and count / units > 0.5 + 4 * 0.5 / np.sqrt(units)):
            everything = "all" if count == units else f"{count} of"
            message = f"{everything} {units} units are dead, 0 for all {rows} rows{weights_before(setup, node)}"
            remedy = "start biases at 0 and weights with nn.init.kaiming_normal_, lower the rate, or use LeakyReLU"
            return setup.where(node), message, remedy
    return None


def saturated(setup: Setup) -> Told:
    """A tanh or sigmoid near its limits has a derivative near 0."""
    last = max((node.number for node in setup.layers.values()), default=0)
    for node, follower in setup.pairs:
        limits = bounds(node)
        if limits is None or node.number > last or not node.out.size:  # the model's outputs may saturate
            continue
        if (
            node.rule.name == "tanh"
            and follower.rule.name == "add"
            and follower.args
            and np.ndim(follower.args[0]) == 0
        ):
            continue  # the 1 + tanh(...) of GELU, which is meant to reach its limits
        low, high = limits
        distance = np.minimum(node.out - low, high - node.out) / ((high - low) / 2)
        share = float(np.mean(distance < 1 - SATURATED))
        if share > 0.5:
            message = f"{share:.0%} of the outputs are saturated, near {low} or {high}{weights_before(setup, node)}"
            remedy = "start with smaller weights (nn.init.xavier_uniform_), and scale the inputs"
            return setup.where(node), message, remedy
    return None


def is_relu(node: Node) -> bool:
    """Whether the call is a ReLU in one of its common spellings."""
    name, args = node.rule.name, list(node.args or ())
    if name == "multiply":  # by x > 0
        return any(getattr(array, "dtype", None) == np.bool_ for array in args)
    zeros = {"maximum": args[:2], "where": args[2:]}.get(name, ())  # maximum(x, 0), where(x > 0, x, 0)
    return name == "relu" or any(np.ndim(array) == 0 and not np.any(array) for array in zeros)


def bounds(node: Node) -> tuple[int, int] | None:
    """The least and the greatest value of the function, if it is one that saturates; else None."""
    name, args = node.rule.name, node.args
    if name == "tanh":
        return -1, 1
    ratio = name == "divide" and args and np.ndim(args[0]) == 0 and np.all(np.asarray(args[0]) == 1)
    by_hand = ratio and node.out.size and node.out.min() >= 0 and node.out.max() <= 1  # 1 / (1 + exp(-x))
    return (0, 1) if name == "sigmoid" or by_hand else None


def weights_before(setup: Setup, node: Node) -> str:
    """The layer before the activation, for the message."""
    names = [name for name, layer in setup.layers.items() if layer.number <= node.number]
    return f", after {names[-1]}" if names else ""


# The gradient on its way back


def zeros(setup: Setup, parameters: dict[str, Tensor], gradients: Arrays, last: bool = False) -> Told:
    """A gradient that is exactly zero at every element moves nothing.

    Weights of 0 in the last layer pass none on until they have changed: a finding of its own, if `last`.
    """
    names = [name for name, gradient in gradients.items() if gradient.size and not gradient.any()]
    if not setup.run.arrived.get(setup.loss.node) or all(parameters[name].ndim < 2 for name in names):
        return None  # a bias may be right already, or stand before batch normalisation, which subtracts it
    leaves = {parameters[name].node for name in names}
    leading = [
        (node, parent)
        for node, parent in setup.run.blocked
        if parent in leaves or any(leaf in leaves for call in toposort([parent]) for leaf in call.parents)
    ]
    message, remedy = "the gradient is 0 at every element", "check what stands between these parameters and the loss"
    is_last = False
    if leading:  # in a product, prefer what made the factor 0
        node, parent = max(leading, key=lambda pair: (pair[1].rule is not LEAF, pair[0].number))
        message += f": {node.rule.name} in {setup.where(node)} passes none on"
        others = [array for array, p in zip(node.args or (), node.parents, strict=False) if p is not parent]
        weight = next((setup.names[p] for p in node.parents if p in setup.names), None)
        if node.rule.name in ("multiply", "linear", "matmul", "dot") and others and not np.any(others[0]):
            message += ", since it multiplies by 0"
            remedy = "do not multiply by 0; weights should start as random numbers"
            if parent in leaves:
                message, remedy = f"{message}: its input is 0", "check what is handed to it, and whether that is used"
        is_last = weight is not None and weight == next(reversed(setup.layers), None)
        if weight in setup.gradients and weight not in names and not is_last:
            return None  # as in the branches of a residual network, which begin with 0: they come back by themselves
        if is_last:
            message += f" ({weight} is the last weight: the gradient comes back once it has changed)"
    return (joined(names), message, remedy) if is_last == last else None


def exploding(setup: Setup) -> Told:
    """Neither the layers' outputs nor the gradient on its way back should grow by large factors."""
    outputs = {name: size_of(node.out) for name, node in setup.layers.items()}
    grown = [(name, size) for name, size in outputs.items() if 0 < size < math.inf]
    remedy = "start with smaller weights (nn.init.kaiming_normal_), or add normalisation layers"
    if len(grown) > 2 and grown[-1][1] > 100 and grown[-2][1] > 30 * grown[0][1]:
        (first, at_first), (last, at_last) = grown[0], grown[-1]
        message = "the outputs explode, and the gradients with them: their root mean square is "
        message += f"{at_first:.2g} after {first} and {at_last:.2g} after {last}"
        back = [("", at_last), *[(after, size) for (_, size), (after, _) in pairwise(grown)][::-1]]
        return culprit(back, max) or first, message, remedy
    sizes = backward_sizes(setup)
    if len(sizes) > 1 and sizes[0][1] > EXPLODING * sizes[-1][1]:
        place = recurrent(setup, sizes) or culprit(sizes, max) or sizes[0][0]
        return place, f"the gradient explodes: {series(sizes)}", remedy
    return None


def huge(setup: Setup, parameters: dict[str, Tensor], gradients: Arrays) -> Told:
    """A gradient should not be many times as large as its weight."""
    sizes = {name: norm(parameters[name].data) for name in setup.weights}
    name, ratio = largest({name: norm(gradients[name]) / size for name, size in sizes.items() if size > 1e-3})
    if not EXPLODING < ratio < math.inf:
        return None
    message = f"the gradient is large: its norm is {ratio:.2g} times that of the weight"
    return name, message, "start with smaller weights (nn.init.kaiming_normal_), average the loss, or clip the gradient"


def vanishing(setup: Setup) -> Told:
    """The gradient with respect to the layers' outputs should not shrink by large factors on its way back."""
    sizes = backward_sizes(setup)
    if len(sizes) < 2 or sizes[0][1] >= VANISHING * sizes[-1][1]:
        return None
    lost = recurrent(setup, sizes) or culprit(sizes, min)
    message = f"the gradient vanishes: {series(sizes)}{f'; most of it is lost in {lost}' * bool(lost)}"
    remedy = "use ReLU with nn.init.kaiming_normal_, or tanh with xavier_uniform_, or normalisation layers"
    return lost or sizes[0][0], message, remedy


def largest(sizes: dict[str, float]) -> tuple[str, float]:
    """The name of the largest number, and that number; "" and 0 if there is none."""
    return max(sizes.items(), key=lambda item: item[1], default=("", 0.0))


def backward_sizes(setup: Setup) -> list[tuple[str, float]]:
    """The norms of the gradients with respect to the layers' outputs; the largest if a weight is used several times.

    Without convolutions: an average over pixels makes the norm smaller, but leaves the sum for each weight as it was.
    """
    arrived, weights = setup.run.arrived, setup.parameters
    layers = [(name, nodes) for name, nodes in setup.products.items() if weights[name].ndim == 2]
    sizes = [(name, max(arrived.get(node, 0.0) for node in nodes)) for name, nodes in layers]
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


def recurrent(setup: Setup, sizes: list[tuple[str, float]]) -> str:
    """The weight that is used again and again and on the way through which the gradient changes most; "" if none."""
    whole = abs(math.log(sizes[0][1] / sizes[-1][1]))
    for name, nodes in setup.products.items():
        back = [node for node in nodes if any(p is not None and p.rule is not LEAF for p in node.parents)]
        first, last = (setup.run.arrived.get(back[i], 0.0) if back else 0.0 for i in (0, -1))
        if first and last and abs(math.log(first / last)) > 0.7 * whole:
            return name
    return ""
