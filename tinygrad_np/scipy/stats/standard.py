"""What the distributions share: location, scale and support, around functions of their standard form."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_np.functional.arrays import as_array

__all__ = ["at", "log", "log_density", "logarithm", "positive", "probability", "scipys"]

HARMLESS = 0.5  # a point within every support, for where the value there is not used


def positive(parameter: Any) -> Any:
    """The parameter, and NaN where it is not positive, as in SciPy."""
    if isinstance(parameter, (int, float)) and parameter > 0:
        return parameter
    parameter = as_array(parameter)
    return np.where(parameter > 0, parameter, np.nan)


def log(parameter: Any) -> Any:
    """The logarithm; of a number a number, which leaves single precision as it is."""
    return math.log(parameter) if isinstance(parameter, (int, float)) else np.log(parameter)


def at(x: Any, loc: Any, scale: Any) -> Any:
    """Where x stands in the standard form. The scale is an array or a number already."""
    return (as_array(x) - (loc if isinstance(loc, (int, float)) else as_array(loc))) / scale


def inside(y: Any, low: float, high: float, value: Callable[[Any], Any], below: float, above: float) -> Any:
    """value(y) from low to high, and the two numbers beside them, unless a parameter made the value NaN."""
    result = value(np.where(np.logical_or(y < low, y > high), HARMLESS, y))
    known = result == result
    for beside, limit in (y < low, below), (y > high, above):
        result = np.where(np.logical_and(beside, known), limit, result)
    return result[()] if isinstance(result, np.ndarray) else result


def log_density(value: Callable[[Any], Any], x: Any, loc: Any, scale: Any, high: float = np.inf) -> Any:
    """The logarithm of a density, by that of its standard form, `value`, whose support is from 0 to high."""
    scale = positive(scale)
    return inside(at(x, loc, scale), 0, high, lambda y: value(y) - log(scale), -np.inf, -np.inf)


def probability(
    value: Callable[[Any], Any], x: Any, loc: Any, scale: Any, high: float = np.inf, *, upper: bool = False
) -> Any:
    """A distribution function, or the upper one, by that of the standard form, whose support is from 0 to high."""
    return inside(at(x, loc, positive(scale)), 0, high, value, float(upper), float(not upper))


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
