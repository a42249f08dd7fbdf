"""`scipy.integrate`, with an `odeint` that has derivatives."""

from __future__ import annotations

__docformat__ = "google"

import contextlib
import inspect
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

import numpy as np
from scipy import integrate

from tinygrad_np.calls import holds_tensor, plain, stacked
from tinygrad_np.derivatives.table import Parts
from tinygrad_np.engine import Box, Node, backward, box
from tinygrad_np.errors import ArgumentTypeError, DTypeError, GraphError, TraceError
from tinygrad_np.func.checkpointing import as_one_call, parts_of, sources_of
from tinygrad_np.func.running import depends, running
from tinygrad_np.recording import next_number, no_grad, state
from tinygrad_np.tensor import Tensor
from tinygrad_np.tree import leaves, map_leaves

__all__ = ["odeint"]

Slope = Callable[[Any, Any], Any]

SIGNATURE = inspect.signature(integrate.odeint)
BACKWARD = ("rtol", "atol", "hmax", "hmin", "mxstep", "mxordn", "mxords")
"""The options that hold for the way back too. The others are about func's Jacobian, or about points on the way."""


def __getattr__(name: str) -> Any:
    """All that is not written here is SciPy's own."""
    return getattr(integrate, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(integrate)})


def odeint(func: Callable[..., Any], y0: Any, t: Any, args: tuple[Any, ...] = (), *more: Any, **options: Any) -> Any:
    """The solution of dy/dt = func(y, t, *args) with y(t[0]) = y0, at the times t.

    Its derivative is found by the adjoint method: a second equation, solved backwards in time, gives the gradients of
    all parameters at once, and no step of the solver is saved (Chen et al. 2018, "Neural ordinary differential
    equations", algorithm 2). It is as exact as the tolerances demand of both solutions, and has derivatives in turn.

    Args:
        func: the slope of y, an array or list of shape (n,), from a y of shape (n,) and a number t. Tensors that it
            refers to, such as the parameters of a module, get gradients too.
        y0: real, shape (n,); or a number.
        t: the times, shape (T,), increasing or decreasing; the first is that of y0.
        args: a tuple of what else func takes: arrays, and trees of them.
        more, options: SciPy's other arguments: rtol, atol, tfirst, full_output ...

    Returns:
        Shape (T, n), float64; with full_output a pair of that and SciPy's report. A compiled function that calls this
        one runs as it is.

    Raises:
        ArgumentTypeError: args is no tuple.
        DTypeError: y0, or a Tensor that func refers to, is complex.
        GraphError: in the backward pass: func refers to a Tensor that it did not use at t[0].

    >>> from tinygrad_np.func import grad
    >>> def after_a_second(rate):
    ...     return odeint(lambda y, t, rate: -rate * y, 1.0, [0.0, 1.0], (rate,))[-1, 0]
    >>> grad(after_a_second)(2.0).round(6)  # -exp(-2)
    np.float64(-0.135335)
    """
    if (trace := state.get().trace) is not None:
        trace.ours(_refuse)()
    if not isinstance(args, tuple):
        raise ArgumentTypeError(f"args must be a tuple, such as (a, b) or (a,), but is a {type(args).__name__}")
    given = SIGNATURE.bind(func, y0, t, args, *more, **options).arguments
    options = {name: value for name, value in given.items() if name not in ("func", "y0", "t", "args", "tfirst")}
    args = map_leaves(_as_given, args)
    y0, t = _as_given(stacked(y0)), _as_given(stacked(t))

    constants = map_leaves(plain, args)
    slope, forward = _slope(func, args, given), _slope(func, constants, given)
    if options.get("Dfun") is not None:
        options["Dfun"] = _slope(options["Dfun"], constants, given)

    before = next_number()
    first = slope(Tensor(np.atleast_1d(plain(y0))), plain(t)[0])
    used = sources_of([value.node for value in (first, *leaves(args)) if depends(value)], before)
    referred = [node for node in used if node.number < before]
    if any(map(np.iscomplexobj, (plain(y0), *(node.out for node in referred)))):
        raise DTypeError("odeint solves real equations; give real and imaginary parts as vectors of their own")
    with no_grad():
        solution = integrate.odeint(lambda y, t: plain(forward(y, t)), plain(y0), plain(t), **options)
    out, *report = solution if options.get("full_output") else [solution]

    sources = sorted({*referred, *(value.node for value in (y0, t) if depends(value))}, key=attrgetter("number"))
    if sources:
        settings = {name: np.min(options[name]) for name in BACKWARD if options.get(name) is not None}

        def derivative(g: Parts, outs: Any) -> Parts:
            of_y0, of_t, of_referred = _adjoint(slope, referred, outs[0], t, g[0], settings)
            found = dict(zip(referred, of_referred, strict=True))
            for value, gradient in [(y0, of_y0), (t, of_t)]:
                if depends(value):  # it may be among what the slope refers to as well
                    found[value.node] = found[value.node] + gradient if value.node in found else gradient
            return parts_of(found, sources)

        (out,) = as_one_call(sources, [out], derivative)
    elif holds_tensor([y0, t, *leaves(args)]):
        out = box(out, None)
    return (out, *report) if report else out


def _refuse() -> None:
    raise TraceError("odeint calls SciPy, whose steps depend on the values; a compiled program cannot follow them")


def _as_given(value: Any) -> Any:
    """A value as it is now: x += 1 gives a Tensor another history."""
    return box(value.array, value.node) if isinstance(value, Tensor) else value


def _slope(function: Callable[..., Any], args: tuple[Any, ...], given: Mapping[str, Any]) -> Slope:
    """The function of y and t alone."""
    if given.get("tfirst"):
        return lambda y, t: stacked(function(t, y, *args))
    return lambda y, t: stacked(function(y, t, *args))


def _adjoint(
    slope: Slope, referred: list[Node], path: Any, t: Any, g: Any, settings: Mapping[str, Any]
) -> tuple[Any, Any, list[Any]]:
    """The gradients of y0, t and what the slope refers to, from that of the solution, the path.

    With a the gradient of y(t), da/dt = -a df/dy. The gradient of a parameter p grows by -a df/dp on the way back.
    """
    record = isinstance(path, Box)
    t = t if record else plain(t)
    solve = odeint if record else integrate.odeint
    n = path.shape[1]

    def augmented(now: Any, t: Any) -> Any:
        """The slopes of y, of its gradient a, and of the gradients of the parameters, in one vector."""
        again = isinstance(now, Box)  # record this, as it will be differentiated
        with running([now[:n]]) as ((y,), _):
            start = next_number()
            value = slope(y, t)
            found: Mapping[Node, Any] = {}
            if depends(value):
                found = backward({value.node: np.reshape(-now[n : 2 * n], value.shape)}, None, again, again, start)
        wanted: list[Any] = [y.node, *referred]
        if not found.keys() <= set(wanted):
            raise GraphError(
                f"at t={t}, func refers to a Tensor that it did not refer to at the first time, so the gradient of "
                "that would be lost; pass the Tensor to odeint in args"
            )
        slopes = [found.get(node, np.zeros(node.out.shape)) for node in wanted]
        return np.concatenate([np.ravel(x if again else plain(x)) for x in (value, *slopes)])

    with contextlib.nullcontext() if record else no_grad():
        a, sums, of_t = g[-1], np.zeros(sum(node.out.size for node in referred)), []
        for i in range(len(path) - 1, 0, -1):
            of_t.append(g[i] @ np.ravel(slope(path[i], t[i])))  # later, y would have moved on
            back = solve(augmented, np.concatenate([path[i], a, sums]), [t[i], t[i - 1]], **settings)[1]
            a, sums = back[n : 2 * n] + g[i - 1], back[2 * n :]
        of_t.append((g[0] - a) @ np.ravel(slope(path[0], t[0])))  # started later, y lags behind
        ends = np.cumsum([node.out.size for node in referred])
        pairs = zip(referred, ends, strict=True)
        of_referred = [np.reshape(sums[end - node.out.size : end], node.out.shape) for node, end in pairs]
        return a, np.stack(of_t[::-1]), of_referred
