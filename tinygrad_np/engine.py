"""The engine: record every call of a NumPy function, then walk the record backwards and apply the chain rule.

Take `loss = (x * x).sum()`. Forward, each call leaves a `Node` that points to the nodes its arguments came from.
Backward, `g`, the gradient of the loss with respect to a call's result, follows the same pointers:

    forward     x ══════════════════► multiply ──────────────► sum ───► loss
                     twice, as both                  x * x
                       arguments

    backward    x ◄══════════════════ multiply ◄────────────── sum ◄─── 1
                  g * x  +  g * x                g = 1 spread
                                               over x's shape

What a call does to `g` stands in the derivative table: for each function one vector-Jacobian product (VJP) per
argument, for multiply `g * y` and `g * x`. VJPs are NumPy programs. Given arrays, they run at NumPy's speed; given
Tensors, they are recorded as any other calls, which is how derivatives have derivatives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from time import perf_counter
from typing import Any

import numpy as np

from tinygrad_np.derivatives.table import CONSTANT, LEAF, RULES, Rule
from tinygrad_np.errors import explained, freed, no_derivative
from tinygrad_np.gradients import conjugated, outline, owned, unbroadcast
from tinygrad_np.recording import Scope, next_number, state
from tinygrad_np.writes import watches_of

__all__ = ["NOTHING", "Box", "Node", "apply", "backward", "box", "toposort"]

NOTHING: Mapping[str, Any] = {}
new, ndarray = object.__new__, np.ndarray


class Node:
    """One recorded call, `out = function(*args, **kwargs)`, or a leaf: an array that no recorded call made.

    Attributes:
        rule: the function's row of the derivative table; `LEAF` for a leaf.
        args, kwargs: the arguments, as plain arrays and constants. `args` is None once the graph is freed.
        parents: for each of `args` the node that made it; None if it is a constant.
        out: the result, or the leaf's array. Once the graph is freed, its `outline`.
        number: counts nodes as they are made, so each has a higher number than its parents.
        scope: the innermost module call that it was made in, or None.
        grad: the gradient that a leaf has accumulated; or another node, if `retains_grad`.
        name: what the user calls the result. notes: those of `debug`.
    """

    # Nodes point only backwards, so there are no cycles: drop the loss, and the graph is freed at once.
    __slots__ = ("args", "grad", "kwargs", "name", "notes", "number", "out", "parents", "retains_grad", "rule", "scope")

    def __init__(self, rule: Rule, args: Any, kwargs: Any, parents: Any, out: Any, scope: Scope | None) -> None:
        self.rule, self.args, self.kwargs, self.parents, self.out = rule, args, kwargs, parents, out
        self.number, self.scope, self.retains_grad = next_number(), scope, False
        self.grad: np.ndarray | None = None
        self.name: str | None = None
        self.notes: dict[str, Any] | None = None


class Box:
    """An array and the node that made it. `Tensor` is a Box with NumPy's interface."""

    __slots__ = {"array": "The array.", "node": "The `Node` that made it; None if it requires no gradient."}
    array: np.ndarray
    node: Node | None
    kind: type[Any]  # the class of results: Tensor
    other: Callable[[Any, Node | None], Any]  # boxes several arrays, numbers, integers


def apply(
    function: Callable[..., Any], args: Iterable[Any], kwargs: Mapping[str, Any] = NOTHING, rule: Rule | None = None
) -> Any:
    """Call a function on the arrays of its arguments; record the call if one of them requires a gradient."""
    now = state.get()
    if now.trace is not None:
        return now.trace.apply(function, args, kwargs, rule)
    arrays, parents, tracked = [], [], False
    for arg in args:
        node = None
        if isinstance(arg, Box):
            node, arg = arg.node, arg.array
        arrays.append(arg)
        parents.append(node)
        tracked = tracked or node is not None
    if rule is None:
        rule = RULES[function]
    record = tracked and not now.suspended and rule is not CONSTANT
    if record and (rule is None or (len(parents) > len(rule.vjps) and any(parents[len(rule.vjps) :]))):
        raise no_derivative(function, rule, parents)
    started = perf_counter() if now.watches else 0.0
    try:
        out = function(*arrays, **kwargs) if kwargs else function(*arrays)
    except (TypeError, ValueError) as error:
        raise explained(error, function, arrays, kwargs)  # noqa: B904 (the same error, or all that it says)
    if rule is None or rule is CONSTANT:
        return out
    if not record:
        return box(out, None)
    node = Node(rule, arrays, kwargs, parents, out, now.scope)  # the whole of recording
    seconds = perf_counter() - started if now.watches else 0.0
    for watch in now.watches:
        watch.recorded(node, seconds)
    return box(out, node)


def box(out: Any, node: Node | None) -> Any:
    """The Tensor of the array that a call returned, and of other results what `calls.py` makes of them."""
    if type(out) is not ndarray or out.dtype.kind not in "fc":
        return Box.other(out, node)
    boxed = new(Box.kind)
    boxed.array = out
    boxed.node = node
    return boxed


def toposort(roots: Iterable[Node], after: int = 0) -> list[Node]:
    """The recorded calls behind `roots`, the latest first: each stands before the calls that made its arguments.

    With `after`, only those that were recorded after the node of this number.
    """
    found = {root for root in roots if root.rule is not LEAF and root.number > after}
    stack = list(found)
    while stack:  # no recursion: a graph may be a million calls deep
        for parent in stack.pop().parents:
            if parent is not None and parent.rule is not LEAF and parent not in found and parent.number > after:
                found.add(parent)
                stack.append(parent)
    return sorted(found, key=attrgetter("number"), reverse=True)


def backward(
    starts: Mapping[Node, Any],
    targets: Iterable[Node] | None = None,
    retain_graph: bool = False,
    create_graph: bool = False,
    after: int = 0,
) -> dict[Node, Any]:
    """The gradients of the targets, by default all leaves, from those that each result starts with.

    Args:
        starts: for each result, the gradient of the loss with respect to it.
        targets: the nodes whose gradients are wanted, leaves or not.
        retain_graph: keep the arrays that the calls saved, for another backward pass.
        create_graph: hand Tensors to the VJPs, so that the gradients have a graph of their own.
        after: take nodes up to this number for leaves.

    Raises:
        GraphError: an earlier backward pass has freed the graph.
    """
    nodes = toposort(starts, after)
    wanted = set(targets or ())
    needed = None
    if targets is not None:  # only the calls between the targets and the results
        needed, between = set(wanted), []
        for node in reversed(nodes):
            if not needed.isdisjoint(node.parents):
                needed.add(node)
                between.append(node)
        nodes = between[::-1]
    gradients, found = conjugated(starts), {}
    watches, trace = watches_of(nodes), state.get().trace
    for node in nodes:
        # Every call that used this result is later, so its turn has been: the gradient is complete.
        g = gradients.pop(node, None)
        if g is None:
            continue
        if node in wanted or (node.retains_grad and targets is None):
            found[node] = g
        rule, args, kwargs, out = node.rule, node.args, node.kwargs, node.out
        if args is None:
            raise freed(rule)
        for watch in watches:
            watch.reached(node, g)
        values = args if rule.positional else ()  # () for a pack, which may have thousands
        if trace is not None:
            values, out = trace.boxed(node, values, create_graph)
        elif create_graph:
            values = [box(arg, parent) if parent else arg for arg, parent in zip(values, node.parents)]  # noqa: B905
            out = box(out, node)
        for parent, vjp, arg in zip(node.parents, rule.vjps, args):  # noqa: B905 (strict= takes longer)
            if parent is None or vjp is None or (needed is not None and parent not in needed):
                continue
            if trace is not None:
                vjp = trace.derivative(rule, vjp, create_graph)
            part = vjp(g, out, *values, **kwargs) if kwargs else vjp(g, out, *values)
            if type(part) is not ndarray or part.shape != arg.shape or part.dtype is not arg.dtype:
                part = unbroadcast(part, arg, rule)
            # An array that was used several times gets the sum of the gradients from all its uses.
            gradients[parent] = gradients[parent] + part if parent in gradients else part
            for watch in watches:
                watch.derived(node, parent, part)
        if not retain_graph and trace is None:  # what is left can still be drawn
            node.args = None
            node.out = outline(out)
    found |= gradients  # what is left are those of leaves, or of targets
    return conjugated(found) if create_graph or trace is not None else owned(found, starts.values())
