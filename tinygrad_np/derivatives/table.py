"""The derivative table itself: for each function one vector-Jacobian product (VJP) per argument.

The VJP of `out = f(x, y)` with respect to x takes `g`, the gradient of some scalar with respect to `out`, and returns
the gradient of that scalar with respect to x; it is called as `vjp(g, out, x, y, **kwargs)`. VJPs are written in
NumPy, so that they differentiate in turn, and do not write to what they are given. They need not undo broadcasting or
type promotion: the walk sums and casts each gradient to its argument's shape and dtype.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar

import numpy as np

from tinygrad_np.errors import ArgumentError

Vjp = Any  # a function; typed so because its code object is read
F = TypeVar("F", bound=Callable[..., Any])


class Rule:
    """One row of the table.

    Attributes:
        name: the function's name, for messages and drawings.
        vjps: one VJP per leading positional argument; None for an argument in which the function is constant.
        positional: how many arguments the VJPs take by position.
        keywords: the names of all arguments that the VJPs know.
        last: for a function that ends in an element-wise step, the VJP of that step, `last(g, out)`, which the walk
            applies once to the gradient that it then hands to all of `vjps`.
        composite: the same function made of others, instead of VJPs; None for most.
    """

    __slots__ = ("composite", "keywords", "last", "name", "positional", "vjps")

    composite: Callable[..., Any] | None

    def __init__(self, name: str, vjps: Sequence[Vjp | None], last: Vjp | None = None) -> None:
        self.name = name
        self.vjps = vjps
        self.last = last
        self.composite = None
        self.positional = min((_positional(vjp) for vjp in vjps if vjp is not None), default=0)
        self.keywords = frozenset(
            name
            for vjp in vjps
            if vjp is not None
            for name in vjp.__code__.co_varnames[2 : vjp.__code__.co_argcount + vjp.__code__.co_kwonlyargcount]
        )


def _positional(vjp: Vjp) -> int:
    """How many arguments a VJP takes by position, besides g and out.

    Read from the code object: inspect.signature would cost milliseconds of import time over the whole table.
    """
    code = vjp.__code__
    return 2**31 if code.co_flags & inspect.CO_VARARGS else code.co_argcount - 2


CONSTANT = Rule("constant", ())
"""Stands in the table for functions whose derivative is zero wherever it exists."""

RULES: dict[Callable[..., Any], Rule] = {}


def derivative(function: Callable[..., Any], *vjps: Vjp | None, last: Vjp | None = None) -> None:
    """Add a row: `derivative(np.multiply, lambda g, out, x, y: g * y, lambda g, out, x, y: g * x)`."""
    RULES[function] = Rule(function.__name__, vjps, last)


def composite(function: Callable[..., Any], of_others: Any) -> None:
    """Say how a function is made of others that have rules: it is differentiated through those."""
    rule = RULES[function] = Rule(function.__name__, ())
    rule.composite = of_others
    code = getattr(of_others, "__code__", None)
    if code is not None and not code.co_flags & inspect.CO_VARKEYWORDS:  # else what it is made of will tell
        rule.keywords = frozenset(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])


def constant(*functions: Callable[..., Any]) -> None:
    """Say of functions that they are constant almost everywhere: their results are plain arrays."""
    RULES.update(dict.fromkeys(functions, CONSTANT))


def differentiable(*vjps: Vjp | None, last: Vjp | None = None) -> Callable[[F], F]:
    """Make a function of arrays, with its VJPs, one that Tensors can be given and that is recorded as one operation.

    Like NumPy's own functions it finds Tensors by their `__array_function__` (NumPy enhancement proposal 18). The
    function itself sees plain arrays.

    Raises:
        ArgumentError: a VJP does not take g, out and the arguments of the function.

    >>> @differentiable(lambda g, out, x: g * (2 * x))
    ... def squared(x):
    ...     return x * x
    """
    for number, vjp in enumerate(vjps):
        if vjp is not None and (not hasattr(vjp, "__code__") or _positional(vjp) < len(vjps)):
            raise ArgumentError(
                f"derivative number {number + 1} of {len(vjps)} must be a function to be called as "
                f"vjp(g, out, *args), with the gradient, the result and the function's arguments, but is {vjp!r}"
            )

    def decorate(function: F) -> F:
        if len(vjps) == 0:
            raise ArgumentError(f"differentiable needs a derivative of {function.__name__} for each argument")
        derivative(function, *vjps, last=last)

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            for arg in (*args, *kwargs.values()) if kwargs else args:
                if type(arg) is not np.ndarray and hasattr(arg, "__array_function__"):
                    return arg.__array_function__(function, (), args, kwargs)
            return function(*args, **kwargs)

        return call  # type: ignore[return-value]

    return decorate
