"""`checkpoint`: what a function computes on its way is not kept for the backward pass but computed again there.

That takes the time of another forward pass, and the memory of one such function at a time instead of all of them (Chen
et al. 2016, "Training deep nets with sublinear memory cost").
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any, TypeVar

import numpy as np

from tinygrad_np.calls import one_value, plain
from tinygrad_np.derivatives.table import Parts, Rule, filled
from tinygrad_np.engine import NOTHING, Box, Node, apply, backward, box, toposort
from tinygrad_np.errors import GraphError
from tinygrad_np.func.running import depends
from tinygrad_np.recording import enabled, next_number, state
from tinygrad_np.tensor import Tensor
from tinygrad_np.tree import leaves, map_leaves, unflatten
from tinygrad_np.writes import since

__all__ = ["as_one_call", "checkpoint", "conjugates", "parts_of", "sources_of", "starts_of"]

F = TypeVar("F", bound=Callable[..., Any])


def checkpoint(function: F) -> F:
    """The same function, but the backward pass calls it again instead of keeping what it computed on its way.

    The names are HIPS autograd's and JAX's (`torch.utils.checkpoint` in PyTorch). It may be called with trees, refer to
    parameters, and be nested and differentiated several times. `compile` plans its memory itself, and calls the
    function as it is.

    Raises:
        GraphError: when called: the function writes to an array, which a second call would do again, as batch
            normalization does to its running mean. In the backward pass: the second call gave another value, as that of
            a function that draws random numbers does.

    >>> from tinygrad_np.func import grad
    >>> block = checkpoint(lambda x: np.sin(np.sin(x)))
    >>> grad(lambda x: block(block(x)))(0.0)
    array(1.)
    """

    @functools.wraps(function)
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        if state.get().trace is not None or state.get().suspended:
            return function(*args, **kwargs)
        args, kwargs = map_leaves(_as_given, [args, kwargs])
        before = next_number()
        value = function(*args, **kwargs)
        results = list(filter(depends, leaves(value)))
        if not results:
            return value
        if since(before):
            raise GraphError(
                f"{_name(function)} writes to an array, so it cannot be called again in the backward pass; call it "
                "without checkpoint, or write to arrays outside of it"
            )
        sources = sources_of([result.node for result in results], before)
        run = functools.partial(_run_again, function, args, kwargs, sources)
        made = iter(as_one_call(sources, [result.array for result in results], run))
        return unflatten(value, [next(made) if depends(leaf) else leaf for leaf in leaves(value)])

    return checkpointed  # type: ignore[return-value]


def _as_given(leaf: Any) -> Any:
    """A leaf of the arguments as it is now: x += 1 gives a Tensor another history."""
    return box(leaf.array, leaf.node) if isinstance(leaf, Tensor) else leaf


def _run_again(function: F, args: Any, kwargs: Any, sources: list[Node], g: Parts, out: Any) -> Parts:
    """The gradients of the sources, from the results of a second call."""
    record = isinstance(out[0], Box)
    with enabled():
        before = next_number()
        results = list(filter(depends, leaves(function(*args, **kwargs))))
        same = len(results) == len(out) and all(map(_close, results, out))
        if not same or sources_of([result.node for result in results], before) != sources:
            raise GraphError(
                f"{_name(function)} gave another value when the backward pass called it again; random numbers, and "
                "whatever else changes from call to call, must be passed to it as arguments"
            )
        starts = starts_of(results, conjugates(filled(g, out)))
        return parts_of(backward(starts, None, record, record, before), sources)


def _close(result: Tensor, out: Any) -> bool:
    """Whether a result is what it was before, up to rounding, which may depend on where arrays lie in memory."""
    before = plain(out)
    tolerance = float(np.sqrt(np.finfo(result.dtype).eps))
    return result.shape == before.shape and np.allclose(result.array, before, tolerance, tolerance, equal_nan=True)


def _name(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)


# A function as one recorded call, whatever Tensors it refers to


def sources_of(roots: list[Node], before: int) -> list[Node]:
    """What nodes depend on that was there before: the arguments of a function, and the Tensors that it refers to."""
    calls = toposort(roots, before)
    found = {*roots, *(parent for call in calls for parent in call.parents if parent is not None)}
    return sorted(found.difference(calls), key=attrgetter("number"))


WHOLE = Rule("checkpoint", (lambda g, out, sources, outs, derivative: derivative(g, out), None, None))


def _whole(sources: list[Any], outs: list[Any], derivative: Any) -> list[Any]:
    return outs


def as_one_call(sources: list[Node], outs: list[Any], derivative: Callable[[Parts, Any], Parts]) -> list[Tensor]:
    """Tensors of the outs, recorded as made of the sources by one call that has this derivative."""
    packed = one_value(_whole, [box(node.out, node) for node in sources])
    result: list[Tensor] = apply(_whole, (packed, outs, derivative), NOTHING, WHOLE)
    return result


def starts_of(values: list[Any], gradients: Iterable[Any]) -> dict[Node, Any]:
    """What a backward pass starts from; a value may be there twice."""
    starts: dict[Node, Any] = {}
    for value, gradient in zip(values, gradients, strict=True):
        if depends(value):
            starts[value.node] = starts[value.node] + gradient if value.node in starts else gradient
    return starts


def parts_of(found: Mapping[Node, Any], sources: list[Node]) -> Parts:
    """The gradients that a backward pass has found, as a derivative returns those of the sources."""
    return Parts({i: conjugates([found[node]])[0] for i, node in enumerate(sources) if node in found})


def conjugates(gradients: Iterable[Any]) -> list[Any]:
    """Between gradients as rules get them and as a backward pass is started with them: see `gradients.conjugated`."""
    return [np.conj(gradient) if gradient.dtype.kind == "c" else gradient for gradient in gradients]
