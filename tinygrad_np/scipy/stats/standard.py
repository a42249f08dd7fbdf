"""What the distributions share: location, scale and support, around functions of their standard form."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_np.derivatives.table import differentiable
from tinygrad_np.functional.arrays import as_array

__all__ = ["array", "at", "log", "log_density", "logarithm", "number", "positive", "probability", "scipys"]

HARMLESS = 0.5  # a point within every support, for where the value there is not used


def array(parameter: Any) -> Any:
    """The array or Tensor that a parameter stands for; a number as it is, which leaves single precision alone."""
    return parameter if isinstance(parameter, (int, float)) else as_array(parameter)


def positive(parameter: Any) -> Any:
    """The parameter, and NaN where it is not positive, as in SciPy."""
    if isinstance(parameter, (int, float)) and parameter > 0:
        return parameter
    parameter = as_array(parameter)
    return np.where(parameter > 0, parameter, np.nan)


def number(result: Any) -> Any:
    """The number in an array without axes."""
    return result[()] if isinstance(result, np.ndarray) else result


def log(parameter: Any) -> Any:
    """The logarithm; of a number a number."""
    return math.log(parameter) if isinstance(parameter, (int, float)) else np.log(parameter)


def at(x: Any, loc: Any, scale: Any) -> Any:
    """Where x stands in the standard form. The scale is an array or a number already."""
    return (as_array(x) - array(loc)) / scale


def log_density(outside: Callable[[Any], Any], *slopes: Callable[..., Any]) -> Callable[[Callable[..., Any]], Any]:
    """Make the logarithm of a density, of (x, *shapes, loc, scale), from that of its standard form, of (y, *shapes).

    It is one recorded operation: to record each of its dozen calls would take longer than to compute them.

    Args:
        outside: tells of points y whether they are beside the support, where the result is -inf.
        slopes: the derivatives of the standard form with respect to y and to each shape, of (y, *shapes) too.
    """
    of_y, *of_shapes = slopes

    def placed(x: Any, loc: Any, scale: Any) -> tuple[Any, Any]:
        y = (x - loc) / scale
        beside = outside(y)
        return np.where(beside, HARMLESS, y), beside

    def rule(slope: Callable[..., Any]) -> Callable[..., Any]:
        def vjp(g: Any, out: Any, x: Any, *parameters: Any) -> Any:
            *shapes, loc, scale = parameters
            y, beside = placed(x, loc, scale)
            return np.where(beside, 0, g * slope(y, scale, *shapes))

        return vjp

    rules = [
        rule(lambda y, scale, *shapes: of_y(y, *shapes) / scale),
        *(rule(lambda y, scale, *shapes, slope=slope: slope(y, *shapes)) for slope in of_shapes),
        rule(lambda y, scale, *shapes: -of_y(y, *shapes) / scale),
        rule(lambda y, scale, *shapes: -(y * of_y(y, *shapes) + 1) / scale),
    ]

    def decorate(value: Callable[..., Any]) -> Any:
        @differentiable(*rules)
        def density(x: Any, *parameters: Any) -> Any:
            *shapes, loc, scale = parameters
            y, beside = placed(x, loc, scale)
            result = value(y, *shapes) - log(scale)
            known = result == result  # it is NaN where a parameter is
            return number(np.where(np.logical_and(beside, known), -np.inf, result))

        return density

    return decorate


def probability(
    value: Callable[[Any], Any], x: Any, loc: Any, scale: Any, high: float = np.inf, *, upper: bool = False
) -> Any:
    """A distribution function, or the upper one, by that of the standard form, whose support is from 0 to high."""
    y = at(x, loc, positive(scale))
    result = value(np.where(np.logical_or(y < 0, y > high), HARMLESS, y))
    known = result == result  # it is NaN where a parameter is
    for beside, limit in (y < 0, float(upper)), (y > high, float(not upper)):
        result = np.where(np.logical_and(beside, known), limit, result)
    return number(result)


def logarithm(probability: Any) -> Any:
    """The logarithm, -inf where nothing of the probability is left."""
    with np.errstate(divide="ignore"):
        return np.log(probability)


def scipys(module: str) -> Callable[[str], Any]:
    """For the module of a distribution: what it does not have itself, such as `rvs` and `ppf`, is SciPy's own."""
    distribution = module.rpartition(".")[2]

    def attribute(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        return getattr(getattr(importlib.import_module("scipy.stats"), distribution), name)

    return attribute
