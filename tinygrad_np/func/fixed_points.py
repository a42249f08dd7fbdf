"""`fixed_point`: the solution of x = f(a)(x), whose derivative is found at the solution, not through the iterations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_np.calls import plain
from tinygrad_np.derivatives.table import Parts, filled
from tinygrad_np.engine import Box, backward
from tinygrad_np.errors import ArgumentError, TraceError
from tinygrad_np.func.checkpointing import as_one_call, conjugates, parts_of, sources_of, starts_of
from tinygrad_np.func.running import depends, outputs, running
from tinygrad_np.recording import next_number, no_grad, state
from tinygrad_np.tree import leaves, leaves_like, map_leaves, unflatten

__all__ = ["fixed_point"]


def fixed_point(
    f: Callable[[Any], Callable[[Any], Any]], a: Any, x0: Any, distance: Callable[[Any, Any], Any], tol: float
) -> Any:
    """The x at which x = f(a)(x), found by applying f(a) again and again, with its derivative with respect to a.

    At the solution dx = df + J dx, where J is the Jacobian of f(a) there. So a gradient g of x becomes w = g + J^T w,
    by the implicit function theorem, which is again a fixed point and found by the same iteration (Christianson 1994,
    "Reverse accumulation and attractive fixed points"). It depends neither on x0 nor on the way from there, takes the
    memory of one step, and has derivatives in turn. Arguments and names are HIPS autograd's.

    Args:
        f: takes a and returns the map that is iterated. Tensors that it refers to get gradients too.
        a: an array or a tree of them.
        x0: where to start, an array or a tree of them.
        distance: of two successive x, a number.
        tol: the iteration ends when the distance is at most this; of gradients, relative to their largest element.

    Returns:
        The solution, in the structure of x0. A compiled function that calls this one runs as it is.

    Raises:
        ArgumentError: the distance became nan: the iteration diverged.
        ShapeError: f(a) returned something of another structure than x0.

    >>> def newton(a):
    ...     return lambda x: 0.5 * (x + a / x)
    >>> def root(a):
    ...     return fixed_point(newton, a, 1.0, lambda x, y: abs(x - y), 1e-12)
    >>> from tinygrad_np.func import grad
    >>> root(4.0), grad(root)(4.0)
    (array(2.), array(0.25))
    """
    if (trace := state.get().trace) is not None:
        trace.ours(_refuse)()
    with no_grad():
        before = map_leaves(plain, x0)
        step = f(a)
        x = _solved(step, before)
        while not (moved := distance(x, before)) <= tol:
            if np.isnan(moved):
                raise ArgumentError(
                    "the iteration of fixed_point diverged: the distance of two successive values became nan; start "
                    "nearer to the solution, or iterate a map that contracts"
                )
            x, before = _solved(step, x), x
    before = next_number()
    sources = sources_of([value.node for value in outputs(f(a)(x), f) if depends(value)], before)
    if not sources:
        return x

    def implicit(g: Parts, out: Any) -> Parts:
        """The gradients of the sources, from that of the solution. All are proportional to it, so it is scaled to 1."""
        start, record = next_number(), isinstance(out[0], Box)
        with running([out]) as (inputs, (solution,)):
            values = outputs(f(a)(unflatten(x, solution)), f)
        bar = conjugates(filled(g, out))
        scale = max(np.max(np.abs(plain(part)), initial=0) for part in bar) or 1
        bar = [part / scale for part in bar]

        def pulled(w: Any) -> Any:
            found = backward(starts_of(values, w), filter(None, [x.node for x in inputs]), True, record, start)
            return [part + found[x.node] if x.node in found else part for part, x in zip(bar, inputs, strict=True)]

        def between(w: Any, other: Any) -> Any:
            return distance(unflatten(x, w), unflatten(x, other))

        w = fixed_point(lambda _: pulled, None, bar, between, tol)
        found = backward(starts_of(values, [part * scale for part in w]), None, record, record, start)
        return parts_of(found, sources)

    return unflatten(x, as_one_call(sources, list(leaves(x)), implicit))


def _refuse() -> None:
    raise TraceError("fixed_point asks at each step for the distance, which a compiled program cannot")


def _solved(step: Callable[[Any], Any], x: Any) -> Any:
    """The value of a step, as arrays; its structure must be that of x."""
    value = map_leaves(lambda leaf: np.asarray(plain(leaf)), step(x))
    list(leaves_like(x, value))
    return value
