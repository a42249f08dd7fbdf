"""What all transforms share: the Tensors that a function is run with, and what becomes of its values."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from tinygrad_np.autograd import gradients
from tinygrad_np.derivatives.table import LEAF
from tinygrad_np.errors import FOREIGN, ArgumentTypeError, foreign_array, warn
from tinygrad_np.recording import differentiating, enabled, state
from tinygrad_np.tensor import Tensor
from tinygrad_np.tree import leaves, unflatten

__all__ = [
    "Function",
    "check_value",
    "depends",
    "filled",
    "handed_out",
    "is_nested",
    "numeric",
    "outputs",
    "pulled_back",
    "running",
    "trees_of",
    "warn_if_independent",
]

Function = Callable[..., Any]


@contextlib.contextmanager
def running(arguments: Iterable[Any]) -> Iterator[tuple[list[Tensor], list[Any]]]:
    """Within it a transform runs: it gets Tensors to differentiate with respect to, in a list and as the arguments.

    When it ends they are closed: no transform around this one takes a result for dependent because of them.
    """
    arguments = list(arguments)
    inputs = [_input(leaf) for argument in arguments for leaf in _leaves(argument)]
    with differentiating(frozenset(x.node for x in inputs)):
        try:
            yield inputs, unflatten(arguments, inputs)
        finally:
            for x in inputs:
                if x.node is not None and x.node.rule is LEAF:
                    x.node.args = None


def _input(value: Any) -> Tensor:
    """A Tensor to differentiate with respect to: a new one, so that no transform sees another's."""
    if isinstance(value, Tensor):
        with enabled():
            return np.positive(value) if value.requires_grad else Tensor(value.array, requires_grad=True)  # type: ignore[return-value]
    array = numeric(value)
    return Tensor(array, requires_grad=True, dtype=array.dtype if array.dtype.kind in "fc" else np.float64)


def numeric(value: Any) -> np.ndarray:
    """The array of numbers that a leaf is."""
    if isinstance(value, FOREIGN):
        raise foreign_array(value)
    array = np.asarray(value)
    if array.dtype.kind not in "fcbiu":
        raise ArgumentTypeError(
            f"a function can be differentiated with respect to arrays and trees of them, not to {value!r}; "
            "give such arguments another position, or by keyword"
        )
    return array


def _leaves(tree: Any) -> list[Any]:
    """The leaves of a tree. None alone is one, which will be refused."""
    return list(leaves(tree)) if tree is not None else [None]


def outputs(value: Any, function: Function) -> list[Any]:
    """The leaves of a function's value."""
    outs = _leaves(value)
    for out in outs:
        check_value(out, function)
    return outs


def check_value(out: Any, function: Function) -> None:
    if not isinstance(out, (Tensor, np.ndarray, np.generic, float, int, complex)):
        name = getattr(function, "__name__", repr(function))
        raise ArgumentTypeError(
            f"{name} returned {out!r}, but it should return an array or a Tensor, the value to differentiate"
        )
    if not isinstance(out, Tensor):
        numeric(out)


def is_nested(outs: Sequence[Any], inputs: Sequence[Tensor]) -> bool:
    """Whether a result may be differentiated in turn: it depends on an open leaf that is no input of this transform."""
    own = {x.node for x in inputs}
    seen = {out.node for out in outs if depends(out)}
    stack = list(seen)
    while stack:
        node = stack.pop()
        if node.rule is LEAF and node.args is not None and node not in own:
            return True
        for parent in node.parents:
            if parent is not None and parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return False


def depends(out: Any) -> bool:
    return isinstance(out, Tensor) and out.requires_grad


def warn_if_independent(outs: Sequence[Any]) -> None:
    if not any(map(depends, outs)):
        warn("the result does not depend on the argument, so all derivatives are 0")


def pulled_back(
    outs: Sequence[Any], inputs: list[Tensor], starts: Sequence[Any], nested: bool, retain_graph: bool | None = None
) -> list[Any]:
    """Gradients of the values with respect to inputs; None for those that no value depends on."""
    pairs = [(out, start) for out, start in zip(outs, starts, strict=True) if depends(out)]
    if not pairs:
        return [None] * len(inputs)
    roots, given = (list(column) for column in zip(*pairs, strict=True))
    return gradients(roots, inputs, given, nested, True, retain_graph or nested)


def filled(gradients: Sequence[Any], inputs: Sequence[Tensor]) -> list[Any]:
    """Zeros for None."""
    return [np.zeros(x.shape, x.dtype) if g is None else g for g, x in zip(gradients, inputs, strict=True)]


def trees_of(values: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
    """Values for all leaves of the arguments, each in the structure of its argument."""
    result: list[Any] = unflatten(list(arguments), values)
    return result


def handed_out(out: Any, nested: bool) -> Any:
    if nested or not isinstance(out, Tensor):
        return out
    trace = state.get().trace
    return out.array if trace is None else trace.plain(out)
