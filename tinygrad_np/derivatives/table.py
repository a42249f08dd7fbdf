"""The derivative table itself: for each function one vector-Jacobian product (VJP) per argument.

The VJP of `out = f(x, y)` with respect to x takes `g`, the gradient of some scalar with respect to `out`, and returns
the gradient of that scalar with respect to x; it is called as `vjp(g, out, x, y, **kwargs)`. VJPs are written in
NumPy, so that they differentiate in turn, and do not write to what they are given. They need not undo broadcasting or
type promotion: the walk sums and casts each gradient to its argument's shape and dtype.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar

import numpy as np

Vjp = Callable[..., Any]
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
        # Read from the code object: inspect.signature would cost milliseconds of import time over the whole table.
        codes = [vjp.__code__ for vjp in vjps if vjp is not None]
        self.positional = min((code.co_argcount - 2 for code in codes), default=0)
        self.keywords = frozenset(
            name for code in codes for name in code.co_varnames[2 : code.co_argcount + code.co_kwonlyargcount]
        )


CONSTANT = Rule("constant", ())
"""Stands in the table for functions whose derivative is zero wherever it exists."""

RULES: dict[Callable[..., Any], Rule] = {}


def derivative(function: Callable[..., Any], *vjps: Vjp | None, last: Vjp | None = None) -> None:
    """Add a row: `derivative(np.multiply, lambda g, out, x, y: g * y, lambda g, out, x, y: g * x)`."""
    RULES[function] = Rule(function.__name__, vjps, last)


def composite(function: Callable[..., Any], of_others: Callable[..., Any]) -> None:
    """Say how a function is made of others that have rules: it is differentiated through those."""
    rule = RULES[function] = Rule(function.__name__, ())
    rule.composite = of_others


def constant(*functions: Callable[..., Any]) -> None:
    """Say of functions that they are constant almost everywhere: their results are plain arrays."""
    RULES.update(dict.fromkeys(functions, CONSTANT))


def differentiable(*vjps: Vjp | None, last: Vjp | None = None) -> Callable[[F], F]:
    """Make a function of arrays, with its VJPs, one that Tensors can be given and that is recorded as one operation.

    Like NumPy's own functions it finds Tensors by their `__array_function__` (NumPy enhancement proposal 18). The
    function itself sees plain arrays.

    >>> @differentiable(lambda g, out, x: g * (2 * x))
    ... def squared(x):
    ...     return x * x
    """

    def decorate(function: F) -> F:
        derivative(function, *vjps, last=last)

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            for arg in (*args, *kwargs.values()) if kwargs else args:
                if type(arg) is not np.ndarray and hasattr(arg, "__array_function__"):
                    return arg.__array_function__(function, (), args, kwargs)
            return function(*args, **kwargs)

        return call  # type: ignore[return-value]

    return decorate
