"""The derivative table itself: for each function one vector-Jacobian product (VJP) per argument.

The VJP of `out = f(x, y)` with respect to x takes `g`, the gradient of some scalar with respect to `out`, and returns
the gradient of that scalar with respect to x; it is called as `vjp(g, out, x, y, **kwargs)`. VJPs are written in
NumPy, so that they differentiate in turn, and do not write to what they are given. They need not undo broadcasting or
type promotion: the engine sums and casts each gradient to its argument's shape and dtype.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

from tinygrad_np.errors import ArgumentError

__all__ = [
    "COMPOSITES",
    "CONSTANT",
    "EFFECTS",
    "ITEM",
    "LEAF",
    "PACK",
    "RULES",
    "Packed",
    "Parts",
    "Rule",
    "composite",
    "constant",
    "derivative",
    "differentiable",
    "filled",
    "known",
]

Vjp = Any  # a function; typed so because its code object is read
F = TypeVar("F", bound=Callable[..., Any])


class Rule:
    """One row of the table.

    Attributes:
        name: the function's name, for messages and drawings.
        vjps: one VJP per leading positional argument; None for an argument in which the function is constant.
        positional: how many arguments the VJPs take by position.
        keywords: the names of all arguments that the VJPs know.
        residuals: whether all results but the first are there for the VJPs alone; see `differentiable`.
        shortcut: of a compiled program, gives the gradients of all leaves without the engine's walk, where it can.
    """

    __slots__ = ("keywords", "name", "positional", "residuals", "shortcut", "vjps")

    def __init__(self, name: str, vjps: Sequence[Vjp | None], residuals: bool = False) -> None:
        self.name = name
        self.vjps = vjps
        self.residuals = residuals
        self.shortcut: Callable[..., Any] | None = None
        self.positional = min((_positional(vjp) for vjp in vjps if vjp is not None), default=0)
        self.keywords = frozenset(name for vjp in vjps if vjp is not None for name in _argument_names(vjp)[2:])


def _argument_names(function: Any) -> tuple[str, ...]:
    """Read from the code object: inspect.signature would cost milliseconds of import time over the whole table."""
    code = function.__code__
    names: tuple[str, ...] = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return names


def _positional(vjp: Vjp) -> int:
    """How many arguments a VJP takes by position, besides g and out."""
    code = vjp.__code__
    return 2**31 if code.co_flags & inspect.CO_VARARGS else code.co_argcount - 2


class Table(dict[Callable[..., Any], Rule]):
    """The rows by function. `RULES[function]` is None for a function without a row."""

    def __missing__(self, function: Callable[..., Any]) -> Rule | None:
        """Import the rows of SciPy's functions as soon as there can be one of them: not before SciPy is."""
        if "scipy.special" not in sys.modules:
            return None
        importlib.import_module("tinygrad_np.derivatives.special")
        return self.get(function)


RULES = Table()

COMPOSITES: dict[Callable[..., Any], Callable[..., Any]] = {}
"""Functions of NumPy that are made of others: the same, written in functions that have rules."""

CONSTANT = Rule("constant", ())
"""Stands in the table for functions whose derivative is zero wherever it exists."""

LEAF = Rule("leaf", ())
"""The rule of arrays that no recorded call made."""


EFFECTS: set[Callable[..., Any]] = set()
"""Functions that do more than return a value: they draw random numbers, or change a buffer."""


class Parts(dict[int, Any]):
    """The gradients of several arrays as one value, by their positions; zero where there is none."""

    def __add__(self, other: Parts) -> Parts:
        for i, gradient in other.items():
            self[i] = self[i] + gradient if i in self else gradient
        return self


def filled(gradient: Parts, out: Sequence[Any]) -> list[Any]:
    """The gradients of several results in a list, with zeros where there is none."""
    return [gradient[i] if i in gradient else np.zeros_like(array) for i, array in enumerate(out)]


class Packed(list[Any]):
    """A list of arrays that is one argument of a call. It has no shape of its own."""

    shape = dtype = None


class _PartAtEachPosition(Sequence[Vjp]):
    """The VJPs of any number of arrays in a list: each is its part of the list's gradient."""

    def __getitem__(self, position: Any) -> Vjp:
        return lambda g, out: g[position] if position in g else np.zeros_like(out[position])

    def __len__(self) -> int:
        return 2**31


PACK = Rule("pack", ())
"""The rule of a node that makes the arrays in a list, an argument of some call, into one value."""
PACK.vjps = _PartAtEachPosition()

ITEM = Rule("item", (lambda g, out, *, i: Parts({i: g}),))
"""The rule of a node that takes one array out of several that a call returned.

Its argument stands empty for the list of them: thousands of items that all saved the list would all be slow to walk.
"""


def known(module: ModuleType, name: str) -> Callable[..., Any] | None:
    """The function of this name in NumPy; None where NumPy is too old to have it, and so it needs no row."""
    function: Callable[..., Any] | None = getattr(module, name, None)
    return function


def derivative(function: Callable[..., Any] | None, *vjps: Vjp | None) -> None:
    """Add a row: `derivative(np.multiply, lambda g, out, x, y: g * y, lambda g, out, x, y: g * x)`."""
    if function is None:
        return
    RULES[function] = Rule(function.__name__, vjps)


def composite(function: Callable[..., Any], of_others: Callable[..., Any]) -> None:
    """Say how a function is made of others that have rules: it is differentiated through those."""
    rule = RULES[function] = Rule(function.__name__, ())
    COMPOSITES[function] = of_others
    code = getattr(of_others, "__code__", None)
    if code is not None and not code.co_flags & inspect.CO_VARKEYWORDS:  # else what it is made of will tell
        rule.keywords = frozenset(_argument_names(of_others))


def constant(*functions: Callable[..., Any] | None) -> None:
    """Say of functions that they are constant almost everywhere: their results are plain arrays."""
    RULES.update(dict.fromkeys(filter(None, functions), CONSTANT))


def differentiable(*vjps: Vjp | None, residuals: bool = False) -> Callable[[F], F]:
    """Make a function of arrays, with its VJPs, one that Tensors can be given and that is recorded as one operation.

    Like NumPy's own functions it finds Tensors by their `__array_function__` (NumPy enhancement proposal 18). The
    function itself sees plain arrays.

    Args:
        vjps: for each argument a function `vjp(g, out, *args)`, or None where the function is constant.
        residuals: the function returns a tuple, its result and what it saves for the derivative. The caller gets the
            result alone. The VJPs get the tuple as `out`, and `g[0]`. A residual is a result like any other, so if
            the derivative is differentiated in turn, `g[1]`, its own gradient, is there too: `g.get(1)` is None before.

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
        RULES[function] = Rule(function.__name__.lstrip("_"), vjps, residuals)

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            for arg in (*args, *kwargs.values()) if kwargs else args:
                if not isinstance(arg, np.ndarray) and hasattr(arg, "__array_function__"):
                    out = arg.__array_function__(function, (), args, kwargs)
                    break
            else:
                out = function(*args, **kwargs)
            return out[0] if residuals else out

        return call  # type: ignore[return-value]

    return decorate
