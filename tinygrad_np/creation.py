"""NumPy's functions that make arrays, called with `like=` a Tensor (NumPy enhancement proposal 35): a Tensor results.

NumPy brings such calls to `Tensor.__array_function__`. Most of them make constants, and need nothing but `Tensor`
around them. Those that can be given Tensors to make an array of stand here, written in functions that are recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any

import numpy as np

from tinygrad_np.calls import holds_tensor, stacked
from tinygrad_np.errors import ArgumentError

__all__ = ["MAKERS"]


def array(
    object: Any,
    dtype: Any = None,
    *,
    copy: bool | None = True,
    order: Any = "K",
    ndmin: int = 0,
    **others: Any,
) -> Any:
    """A nested list of numbers, arrays and Tensors as one."""
    if not holds_tensor(object):
        return np.array(object, dtype, copy=copy, order=order, ndmin=ndmin, **others)
    made = stacked(object)
    if dtype is not None and made.dtype != dtype:
        made = np.astype(made, dtype)
    if copy is False and made is not object:
        raise ArgumentError("an array of this dtype cannot be made of it without a copy; leave copy=False out")
    if (copy and made is object) or order in ("C", "F"):
        made = np.copy(made, order)
    return made if made.ndim >= ndmin else np.reshape(made, (1,) * (ndmin - made.ndim) + made.shape)


def asarray(a: Any, dtype: Any = None, order: Any = None, *, device: Any = None, copy: bool | None = None) -> Any:
    np.empty(0, device=device)  # NumPy refuses all but "cpu"
    return array(a, dtype, copy=copy, order=order)


def full(shape: Any, fill_value: Any, dtype: Any = None, order: Any = "C", *, device: Any = None) -> Any:
    shape = np.empty(shape, device=device).shape
    return np.copy(np.broadcast_to(array(fill_value, dtype), shape), order)


def fromiter(iter: Iterable[Any], dtype: Any, count: int = -1) -> Any:
    items = list(islice(iter, count if count >= 0 else None))
    return array(items, dtype) if holds_tensor(items) else np.fromiter(items, dtype, count)


MAKERS: Mapping[Callable[..., Any], Callable[..., Any]] = {
    **{
        function: function
        for function in (
            np.arange, np.empty, np.eye, np.frombuffer, np.fromfile, np.fromfunction, np.fromstring, np.genfromtxt,
            np.identity, np.loadtxt, np.ones, np.require, np.tri, np.zeros,
        )
    },
    np.array: array,
    np.asarray: asarray,
    np.asanyarray: asarray,
    np.ascontiguousarray: lambda a, dtype=None: array(a, dtype, copy=None, order="C", ndmin=1),
    np.asfortranarray: lambda a, dtype=None: array(a, dtype, copy=None, order="F", ndmin=1),
    np.full: full,
    np.fromiter: fromiter,
}  # fmt: skip
"""For each function of NumPy that takes `like=`, the one that makes what it makes of Tensors."""
