"""Summaries of arrays, and the arrays among arguments or results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_np.derivatives.table import Parts, filled
from tinygrad_np.engine import Node

__all__ = ["Statistics", "arrays", "floats", "has_nan", "is_finite", "visible"]


@dataclass(frozen=True)
class Statistics:
    """A summary of an array. Minimum, maximum, mean and norm cover its finite elements, and are NaN if it has none.

    Attributes:
        size: the number of elements.
        minimum, maximum, mean: of the elements or, if they are complex, of their absolute values.
        norm: the square root of the sum of the squared absolute values.
        zeros: the number of elements that are zero.
        nan, inf: the numbers of elements that are NaN and infinite.
    """

    size: int
    minimum: float
    maximum: float
    mean: float
    norm: float
    zeros: int
    nan: int
    inf: int

    @classmethod
    def of(cls, array: np.ndarray) -> Statistics:
        """Summarise an array of numbers or booleans, of any shape.

        >>> Statistics.of(np.array([0.0, 3.0, 4.0, np.inf]))
        Statistics(size=4, minimum=0.0, maximum=4.0, mean=2.3333333333333335, norm=5.0, zeros=1, nan=0, inf=1)
        """
        nan = int(np.count_nonzero(np.isnan(array)))
        inf = int(np.count_nonzero(np.isinf(array)))
        finite = array[np.isfinite(array)] if nan or inf else array
        if finite.dtype.kind == "c":
            finite = np.abs(finite)
        zeros = array.size - int(np.count_nonzero(array))
        minimum = maximum = mean = norm = np.nan
        if finite.size:
            minimum, maximum = float(finite.min()), float(finite.max())
            wide = finite.astype(np.float64).ravel()  # so that the sum of squares seldom overflows or loses small terms
            with np.errstate(over="ignore"):
                mean, norm = float(wide.mean()), float(np.sqrt(wide @ wide))
        return cls(array.size, minimum, maximum, mean, norm, zeros, nan, inf)


def floats(value: Any) -> list[np.ndarray]:
    """All floating-point arrays and numbers, real or complex, among arguments or results, as arrays."""
    if isinstance(value, (list, tuple)):
        return [array for item in value for array in floats(item)]
    if isinstance(value, (np.ndarray, float, complex, np.generic)):
        array = np.asarray(value)
        return [array] if array.dtype.kind in "fc" else []
    return []


def visible(node: Node, value: Any) -> Any:
    """The part of a call's result, or of its gradient, that its caller sees: not what it saved for the derivative."""
    if node.rule.residuals:
        return value[0] if not isinstance(value, Parts) or 0 in value else np.zeros_like(node.out[0])
    return filled(value, node.out) if isinstance(value, Parts) else value


def is_finite(value: Any) -> bool:
    """Whether all floating-point values among arguments or results are finite."""
    return all(np.isfinite(array).all() for array in floats(value))


def has_nan(value: Any) -> bool:
    """Whether there is NaN among arguments or results."""
    return any(np.isnan(array).any() for array in floats(value))


def arrays(value: Any) -> list[np.ndarray]:
    """All arrays of numbers or booleans among arguments or results."""
    if isinstance(value, (list, tuple)):
        return [array for item in value for array in arrays(item)]
    return [value] if isinstance(value, np.ndarray) and value.dtype.kind in "biufc" else []
