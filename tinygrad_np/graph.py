"""The graph: what a recorded call is, whether calls are recorded, and the walk back that applies the chain rule.

A `Node` is one call `out = function(*args, **kwargs)` together with the nodes that made its arguments. Nodes point
only backwards, to what they were made from, so a graph has no reference cycles: when the last Tensor that leads to
it goes, all of it goes at once. A node is numbered when it is made, hence later than its parents; walking the
numbers downwards is a topological order. Nothing here knows what a Tensor is.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any, Protocol

import numpy as np

from tinygrad_np.derivatives.table import Rule
from tinygrad_np.errors import DTypeError, GraphError, ShapeError


class Node:
    """One recorded call, or a leaf: an array that requires a gradient and that no recorded call made.

    Attributes:
        rule: the row of the derivative table for the function that was called; `LEAF` for a leaf.
        args: the call's positional arguments as plain arrays and constants; None once the graph is freed.
        kwargs: its keyword arguments, all constants.
        parents: for each argument the node that made it, or None if the argument is a constant.
        out: what the call returned, or the leaf's array. Once the graph is freed, only the shape and dtype of that, as
            a pair, or None if it was several arrays.
        number: counts the nodes of the process in the order of their making.
        grad: a leaf's accumulated gradient, else None.
        name: what the user calls the result, if anything.
        scope: the innermost module call that it was made in, or None.
        notes: what the watches of `debug` have found out about it, by name; None if there were none.
    """

    __slots__ = ("args", "grad", "kwargs", "name", "notes", "number", "out", "parents", "rule", "scope")

    rule: Rule
    args: tuple[Any, ...] | None
    kwargs: Mapping[str, Any]
    parents: tuple[Node | None, ...]
    out: Any
    number: int
    grad: np.ndarray | None
    name: str | None
    scope: Scope | None
    notes: dict[str, Any] | None


LEAF = Rule("leaf", ())


class Scope:
    """One call of a module, in which other calls are made.

    Attributes:
        outer: the module call that it was made in, or None.
        kind: the module's class.
        module: a weak reference to the module, so that a graph keeps none alive and is in no cycle with one.
    """

    __slots__ = ("kind", "module", "outer")

    def __init__(self, module: Any, outer: Scope | None) -> None:
        self.outer = outer
        self.kind = type(module)
        self.module = weakref.ref(module)


class Watch(Protocol):
    """Something that is told of every call a thread records, and of every derivative that it takes."""

    def recorded(self, node: Node, seconds: float) -> None:
        """A call was made, which took so long, and recorded."""

    def reached(self, node: Node, gradient: Any) -> None:
        """In a walk, the gradient with respect to the call's output is known."""

    def derived(self, node: Node, parent: Node, contribution: Any) -> None:
        """In a walk, the rule of `node` gave its contribution to the gradient of `parent`, which was added up."""


class State:
    """How a thread records calls.

    Attributes:
        suspended: how many `no_grad` it is in; calls are recorded if it is in none.
        scope: the innermost module call that it is in, or None.
        watches: put there by `debug`.
    """

    __slots__ = ("scope", "suspended", "watches")

    def __init__(self) -> None:
        self.suspended = 0
        self.scope: Scope | None = None
        self.watches: tuple[Watch, ...] = ()


class Recording(threading.local):
    """Holds each thread's own `state`: to look it up once a call is quicker than an attribute at a time."""

    def __init__(self) -> None:
        self.state = State()


recording = Recording()


def order(roots: Iterable[Node]) -> list[Node]:
    """The recorded calls that `roots` were made by, each before the calls that made its arguments."""
    found = {root for root in roots if root.rule is not LEAF}
    stack = list(found)
    while stack:
        for parent in stack.pop().parents:
            if parent is not None and parent.rule is not LEAF and parent not in found:
                found.add(parent)
                stack.append(parent)
    return sorted(found, key=attrgetter("number"), reverse=True)


def leading_to(targets: set[Node], nodes: list[Node]) -> set[Node]:
    """The targets, and those of `nodes`, given in `order`, that were made from one."""
    leading = set(targets)
    for node in reversed(nodes):
        if not leading.isdisjoint(node.parents):
            leading.add(node)
    return leading


def walk(
    starts: Mapping[Node, Any],
    targets: Iterable[Node] | None,
    retain_graph: bool,
    lift: Callable[[Any, Node | None], Any] | None = None,
) -> dict[Node, Any]:
    """Apply the chain rule from the roots back to the targets: every node once, after all that use it.

    Args:
        starts: for each root, the gradient with respect to its output.
        targets: the nodes whose gradients are wanted; None for every leaf.
        retain_graph: keep what the calls saved, so that the graph can be walked again.
        lift: makes a Tensor from a saved value and the node that made it. With it the rules are handed Tensors, so
            that what they compute is itself recorded; without it they are handed plain arrays.

    Returns:
        For each target that a gradient reached, its gradient, of the shape and dtype of the target's array. Plain
        arrays own their memory: no two share it, nor does one with a starting gradient.

    Raises:
        GraphError: the graph was freed by an earlier walk.
    """
    nodes = order(starts)
    wanted = set(targets or ())
    needed = None if targets is None else leading_to(wanted, nodes)
    # Inside the walk, gradients of complex arrays are the conjugates of what they are outside, where the gradient of L
    # with respect to z is dL/dRe z + i dL/dIm z, as in PyTorch: so the rule of a holomorphic function is g times its
    # derivative, as for real ones.
    gradients = {node: np.conj(start) if start.dtype.kind == "c" else start for node, start in starts.items()}
    found = {}
    watches = recording.state.watches
    for node in nodes:
        gradient = gradients.pop(node, None)
        if gradient is None:
            continue
        if needed is not None:
            if node in wanted:
                found[node] = gradient
            if needed.isdisjoint(node.parents):
                continue
        rule, args, out, kwargs = node.rule, node.args, node.out, node.kwargs
        if args is None:
            raise GraphError(
                f"the graph was freed by an earlier backward pass (at {rule.name}); "
                "pass retain_graph=True to the first one, or compute the result again"
            )
        arrays = args
        if type(gradient) is dict:
            gradient = [gradient[i] if i in gradient else np.zeros_like(part) for i, part in enumerate(out)]
        for watch in watches:
            watch.reached(node, gradient)
        if lift is not None:
            args = tuple(map(lift, args, node.parents))
            out = lift(out, node)
        if rule.last is not None:
            gradient = rule.last(gradient, out)
        for parent, vjp, array in zip(node.parents, rule.vjps, arrays):  # noqa: B905 (strict= takes longer)
            if parent is None or vjp is None or (needed is not None and parent not in needed):
                continue
            contribution = vjp(gradient, out, *args, **kwargs) if kwargs else vjp(gradient, out, *args)
            if type(array) is not np.ndarray:  # several arrays: what a call returned, or a list among its arguments
                if type(contribution) is not dict and type(contribution) is not list:
                    contribution = fit(contribution, np.asarray(array), rule)
            else:
                try:
                    fits = contribution.shape == array.shape and contribution.dtype is array.dtype
                except AttributeError:  # a plain number
                    fits = False
                if not fits:
                    contribution = fit(contribution, array, rule)
            previous = gradients.get(parent)
            gradients[parent] = contribution if previous is None else add(previous, contribution)
            for watch in watches:
                watch.derived(node, parent, contribution)
        if not retain_graph:
            node.args = None
            try:
                node.out = out.shape, out.dtype
            except AttributeError:  # several arrays
                node.out = None
    found.update(gradients)  # what is left are leaves
    taken = {id(start) for start in starts.values()}
    for node, gradient in found.items():
        if gradient.dtype.kind == "c":
            gradient = np.conj(gradient)
        if lift is None:
            if type(gradient) is not np.ndarray:
                gradient = np.asarray(gradient)
            if gradient.base is not None or id(gradient) in taken:
                gradient = gradient.copy()
            taken.add(id(gradient))
        found[node] = gradient
    return found


def fit(gradient: Any, array: np.ndarray, rule: Rule) -> Any:
    """Bring a gradient to the shape and dtype of its input: undo broadcasting by summing, and type promotion.

    Where broadcasting repeated an element, its derivative is the sum over the repetitions.

    Raises:
        ShapeError: the rule returned something else than a gradient for this input.
    """
    if not hasattr(gradient, "shape"):
        gradient = np.asarray(gradient)
    extra = gradient.ndim - array.ndim
    if (
        gradient.dtype.kind not in "fciub"
        or extra < 0
        or any(n not in (1, m) for n, m in zip(array.shape, gradient.shape[extra:], strict=True))
    ):
        raise ShapeError(
            f"a derivative of {rule.name} returned an array of shape {gradient.shape} and dtype {gradient.dtype} "
            f"for an argument of shape {array.shape}, of which it must be the gradient"
        )
    if gradient.shape != array.shape:
        repeated = [i for i, n in enumerate(gradient.shape) if i < extra or (array.shape[i - extra] == 1 and n != 1)]
        gradient = np.reshape(np.sum(gradient, axis=tuple(repeated)), array.shape)
    if gradient.dtype != array.dtype:
        if gradient.dtype.kind == "c" and array.dtype.kind != "c":
            gradient = np.real(gradient)
        gradient = gradient.astype(array.dtype)
    return gradient


def add(x: Any, y: Any) -> Any:
    """The sum of two gradients of one node; of a node with several outputs, output by output."""
    if type(x) is not dict:
        return x + y
    for i, gradient in y.items():
        x[i] = x[i] + gradient if i in x else gradient
    return x


def check_gradient(gradient: Any, out: np.ndarray) -> Any:
    """The gradient to start from, given by the user for a result `out`; ones for a scalar if None is given.

    Raises:
        GraphError: no gradient for a result that is not a scalar.
        DTypeError: no gradient for a complex result.
        ShapeError: a gradient of another shape than the result.
    """
    if gradient is None:
        if out.size != 1:
            raise GraphError(
                f"a gradient can be implied only for a scalar, but the result has shape {out.shape}; "
                "reduce it first, for example with .sum() or .mean(), or pass a gradient of its shape"
            )
        if out.dtype.kind == "c":
            raise DTypeError(
                "a gradient can be implied only for a real result, but this one is complex; "
                "take its real part, or another real function of it, or pass a gradient"
            )
        return np.array(1, out.dtype, ndmin=out.ndim)
    if np.shape(gradient) != out.shape:
        raise ShapeError(f"the given gradient has shape {np.shape(gradient)}, but the result has shape {out.shape}")
    return gradient
