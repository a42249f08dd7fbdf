"""Derivatives of functions that pick elements: by indices, by conditions, or by order.

A picked element takes its gradient back to where it was; one picked several times gets the sum. For most functions
`put_back` does that: the same function, applied to the numbers of the elements, says which element went where.
"""

from operator import getitem
from typing import Any

import numpy as np

from tinygrad_np.derivatives.table import composite, constant, derivative, differentiable
from tinygrad_np.errors import NoDerivativeError

# Indexing


def names_once(index: Any) -> bool:
    """Whether an index surely names no element twice: if it has only integers, slices, None, Ellipsis and masks."""
    return all(
        item is None
        or item is Ellipsis
        or type(item) in (int, slice, bool, np.int64)
        or (isinstance(item, np.ndarray) and item.dtype == np.bool_)
        for item in (index if isinstance(index, tuple) else (index,))
    )


@differentiable(lambda g, out, values, index, shape: g[index])
def scatter(values: Any, index: Any, shape: Any) -> Any:
    """Zeros of a shape, with values added at an index."""
    out = np.zeros(shape, values.dtype)
    if names_once(index):
        out[index] = values
    else:
        np.add.at(out, index, values)
    return out


derivative(getitem, lambda g, out, x, index: scatter(g, index, x.shape))

# Functions that move elements


def numbers(a: Any) -> Any:
    """For each element its number, counted in the order of the last axis first."""
    return np.arange(a.size).reshape(a.shape)


def put_back(g: Any, a: Any, moved: Any) -> Any:
    """The gradient for `a` from that of a function of it that moved its elements as it moved `numbers(a)`."""
    return np.reshape(scatter(np.ravel(g), np.ravel(moved), (a.size,)), a.shape)


derivative(
    np.take,
    lambda g, out, a, indices, axis=None, *, mode="raise": put_back(
        g, a, np.take(numbers(a), indices, axis, mode=mode)
    ),
)
derivative(
    np.take_along_axis,
    lambda g, out, arr, indices, axis=-1: put_back(g, arr, np.take_along_axis(numbers(arr), indices, axis)),
)
derivative(
    np.compress,
    None,
    lambda g, out, condition, a, axis=None: put_back(g, a, np.compress(condition, numbers(a), axis)),
)
derivative(np.extract, None, lambda g, out, condition, arr: put_back(g, arr, np.extract(condition, numbers(arr))))
derivative(np.delete, lambda g, out, arr, obj, axis=None: put_back(g, arr, np.delete(numbers(arr), obj, axis)))
derivative(np.repeat, lambda g, out, a, repeats, axis=None: put_back(g, a, np.repeat(numbers(a), repeats, axis)))
derivative(np.tile, lambda g, out, A, reps: put_back(g, A, np.tile(numbers(A), reps)))  # noqa: N803 (NumPy's name)
derivative(
    np.resize,
    lambda g, out, a, new_shape: put_back(g, a, np.resize(numbers(a), new_shape)) if a.size else np.zeros_like(a),
)
derivative(
    np.diagonal,
    lambda g, out, a, offset=0, axis1=0, axis2=1: put_back(g, a, np.diagonal(numbers(a), offset, axis1, axis2)),
)
derivative(np.linalg.diagonal, lambda g, out, x, *, offset=0: put_back(g, x, np.diagonal(numbers(x), offset, -2, -1)))
derivative(np.diag, lambda g, out, v, k=0: np.diag(g, k) if v.ndim == 1 else put_back(g, v, np.diag(numbers(v), k)))
derivative(np.diagflat, lambda g, out, v, k=0: np.reshape(np.diag(g, k), v.shape))
derivative(np.tril, lambda g, out, m, k=0: np.tril(g, k))
derivative(np.triu, lambda g, out, m, k=0: np.triu(g, k))
derivative(
    np.lib.stride_tricks.sliding_window_view,
    lambda g, out, x, window_shape, axis=None: put_back(
        g, x, np.lib.stride_tricks.sliding_window_view(numbers(x), window_shape, axis)
    ),
)


def insert(arr: Any, obj: Any, values: Any, axis: Any = None) -> Any:
    """Moves the elements of both arrays, counted through."""
    arr, values = (np.stack(array) if isinstance(array, (list, tuple)) else array for array in (arr, values))
    elements = np.concatenate([np.ravel(arr), np.ravel(values)], dtype=arr.dtype, casting="unsafe")
    of_values = np.arange(arr.size, elements.size).reshape(np.shape(values))
    return elements[np.insert(numbers(arr), obj, of_values, axis)]


def trim_zeros(filt: Any, *trim: Any, **axis: Any) -> Any:
    """Cuts out a block, found by following one element that is not zero."""
    filt = np.stack(filt) if isinstance(filt, (list, tuple)) else filt
    block = np.trim_zeros(np.where(filt != 0, numbers(filt) + 1, 0), *trim, **axis)
    start = np.zeros(filt.ndim, int)
    if block.any():
        place = np.argwhere(block)[0]
        start = np.unravel_index(block[tuple(place)] - 1, filt.shape) - place
    return filt[tuple(slice(i, i + n) for i, n in zip(start, block.shape, strict=True))]


composite(np.insert, insert)
composite(np.trim_zeros, trim_zeros)

# Order


def sort_vjp(g: Any, out: Any, a: Any, axis: Any = -1, kind: Any = None, *, stable: Any = None) -> Any:
    """Gives the gradient of the i-th smallest element of the result to the i-th smallest of the input."""
    flat, axis = (np.ravel(a), 0) if axis is None else (a, axis)
    ranks = np.argsort(np.argsort(flat, axis, "stable"), axis)
    return np.reshape(np.take_along_axis(g, ranks, axis), a.shape)


def partition_vjp(g: Any, out: Any, a: Any, kth: Any, axis: Any = -1, kind: Any = "introselect") -> Any:
    return sort_vjp(np.take_along_axis(g, np.argsort(out, axis, "stable"), axis), out, a, axis)


def unique_vjp(
    g: Any,
    out: Any,
    ar: Any,
    return_index: Any = False,
    return_inverse: Any = False,
    return_counts: Any = False,
    axis: Any = None,
    *,
    equal_nan: Any = True,
) -> Any:
    """Of equal elements the first is the one that stays."""
    _, index = np.unique(ar, return_index=True, axis=axis, equal_nan=equal_nan)
    g = g[0] if isinstance(g, list) else g
    return put_back(g, ar, index if axis is None else np.take(numbers(ar), index, axis))


derivative(np.sort, sort_vjp)
derivative(np.partition, partition_vjp)
derivative(np.unique, unique_vjp)
composite(np.sort_complex, lambda a: np.sort(a) if a.dtype.kind == "c" else np.astype(np.sort(a), np.complex128))

# Choices between arrays


def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    """The first choice whose condition holds, so that the last is asked first."""
    chosen = default
    for condition, choice in reversed(list(zip(condlist, choicelist, strict=True))):
        chosen = np.where(condition, choice, chosen)
    return chosen


def choose(a: Any, choices: Any, out: Any = None, mode: Any = "raise") -> Any:
    """Picks from the stack of all choices."""
    if out is not None:
        raise NoDerivativeError("the derivative of choose does not know the argument out=; leave it out")
    shape = np.broadcast_shapes(np.shape(a), *map(np.shape, choices))
    stacked = np.stack([np.broadcast_to(choice, shape) for choice in choices])
    return np.ravel(stacked)[np.choose(a, list(numbers(stacked)), mode=mode)]


def piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kw: Any) -> Any:
    """Gives each function the elements for which its condition is the last that holds; elsewhere is 0."""
    which = np.piecewise(np.zeros(np.shape(x), int), condlist, list(range(1, len(funclist) + 1)))
    out = np.where(False, x, 0)  # a Tensor, whichever functions are used
    for i, function in enumerate(funclist, 1):
        mask = which == i
        if mask.any():
            value = function(x[mask], *args, **kw) if callable(function) else function
            values = np.broadcast_to(value, mask.sum().item()).astype(x.dtype)
            out = out + scatter(values, mask, np.shape(x))
    return out


composite(np.select, select)
composite(np.choose, choose)
composite(np.piecewise, piecewise)

# Constant almost everywhere

constant(np.argpartition, np.lexsort, np.argwhere, np.ix_, np.unravel_index, np.ravel_multi_index)
constant(np.diag_indices_from, np.tril_indices_from, np.triu_indices_from)
