"""What is worth knowing of an array, or of all arrays among arguments or results, at a glance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Statistics:
    """A summary of an array. Minimum, maximum, mean and norm are over its finite elements, and NaN if it has none.

    Attributes:
        size: how many elements there are.
        minimum, maximum, mean: of complex elements, of their absolute values.
        norm: the square root of the sum of the squares.
        zeros: how many elements are zero.
        nan, inf: how many are not a number, and how many infinite.
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
        """Of an array of numbers or booleans.

        >>> Statistics.of(np.array([0.0, 3.0, 4.0, np.inf]))
        Statistics(size=4, minimum=0.0, maximum=4.0, mean=2.3333333333333335, norm=5.0, zeros=1, nan=0, inf=1)
        """
        nan = int(np.count_nonzero(np.isnan(array)))
        inf = int(np.count_nonzero(np.isinf(array)))
        finite = array[np.isfinite(array)] if nan or inf else array
        if finite.dtype.kind == "c":
            finite = np.abs(finite)
        zeros = array.size - int(np.count_nonzero(array))
        if not finite.size:
            return cls(array.size, np.nan, np.nan, np.nan, np.nan, zeros, nan, inf)
        wide = finite.astype(np.float64).ravel()  # in which sums of squares seldom overflow or lose small parts
        with np.errstate(over="ignore"):
            return cls(
                array.size,
                float(finite.min()),
                float(finite.max()),
                float(wide.mean()),
                float(np.sqrt(wide @ wide)),
                zeros,
                nan,
                inf,
            )


def floats(value: Any) -> list[np.ndarray]:
    """All floating-point arrays and numbers among arguments or results, as arrays."""
    if isinstance(value, (list, tuple)):
        return [array for item in value for array in floats(item)]
    if isinstance(value, (np.ndarray, float, complex, np.generic)):
        array = np.asarray(value)
        return [array] if array.dtype.kind in "fc" else []
    return []


def is_finite(value: Any) -> bool:
    return all(np.isfinite(array).all() for array in floats(value))


def has_nan(value: Any) -> bool:
    return any(np.isnan(array).any() for array in floats(value))


def arrays(value: Any) -> list[np.ndarray]:
    """All arrays of numbers among arguments or results."""
    if isinstance(value, (list, tuple)):
        return [array for item in value for array in arrays(item)]
    return [value] if isinstance(value, np.ndarray) and value.dtype.kind in "biufc" else []
