"""What the functions of this room share: the arrays that they take, and the dtypes that they give."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from tinygrad_np.calls import stacked
from tinygrad_np.derivatives.table import differentiable
from tinygrad_np.errors import ArgumentError, DTypeError
from tinygrad_np.tensor import Tensor, plain_array

__all__ = ["Array", "as_array", "integers_below", "like", "real_array"]

Array = TypeVar("Array", bound=Tensor | np.ndarray)


def as_array(x: Any) -> Any:
    """The same array or Tensor, or the one that a list or a number stands for."""
    if isinstance(x, (Tensor, np.ndarray)):
        return x
    x = stacked(x)
    return x if isinstance(x, Tensor) else plain_array(x)


def real_array(x: Any, function: str) -> Any:
    """The same as `as_array`, unless it is complex.

    Raises:
        DTypeError: x is complex.
    """
    if not isinstance(x, (Tensor, np.ndarray)):
        x = as_array(x)
    if np.iscomplexobj(x):
        raise DTypeError(
            f"{function} takes real numbers, but was given dtype {x.dtype}; apply it to np.real(x) and np.imag(x), or "
            "to np.absolute(x)"
        )
    return x


def like(result: Any, x: Any) -> Any:
    """The result of a computation `in_single` in half precision again, if x was."""
    return result.astype(np.float16) if x.dtype == np.float16 else result


@differentiable(None, None)
def integers_below(array: Any, number: int, what: str = "class indices", of: str = "classes") -> Any:
    """Indices, each checked to be an integer from 0 to number - 1. The two words are for messages."""
    if array.size == 0:
        return array.astype(int)
    if array.dtype.kind not in "iu":
        raise DTypeError(
            f"{what} must be integers, but have dtype {array.dtype}; if they are whole numbers, use .astype(int)"
        )
    if np.maximum.reduce(array.astype(np.uint64), axis=None) >= number:  # in which negative ones are huge
        raise ArgumentError(
            f"{what} must be between 0 and {number - 1}, one for each of the {number} {of}, "
            f"but they go from {array.min()} to {array.max()}"
        )
    return array
