"""Derivatives of functions that pick elements: by indices, by conditions, or by order.

The gradient of a picked element goes back to where the element was; an element picked several times gets the sum.
For most functions `put_back` does that: the same function, applied to the elements' numbers, tells which went where.
"""

from operator import getitem

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tinygrad_np.derivatives.elementwise import in_single
from tinygrad_np.derivatives.products import as_array
from tinygrad_np.derivatives.table import composite, constant, derivative, differentiable, filled
from tinygrad_np.errors import NoDerivativeError

# Indexing


def names_once(index):
    """Whether an index surely names no element twice: it holds only integers, slices, None, Ellipsis and masks."""
    return all(
        item is None
        or item is Ellipsis
        or type(item) in (int, slice, bool, np.int64)
        or (isinstance(item, np.ndarray) and item.dtype == np.bool_)
        for item in (index if isinstance(index, tuple) else (index,))
    )


@differentiable(lambda g, out, values, index, shape: g[index])
def scatter(values, index, shape):
    """Zeros of a shape, with values added at an index."""
    out = np.zeros(shape, values.dtype)
    if names_once(index):
        out[index] = values
    else:
        np.add.at(out, index, values)
    return out


derivative(getitem, lambda g, out, x, index: scatter(g, index, x.shape))

# Functions that move elements


def numbers(a):
    """Number the elements, in C order."""
    return np.arange(a.size).reshape(a.shape)


def put_back(g, a, moved):
    """Move the gradient back to the places in `a`. `moved` is the function's result for `numbers(a)`."""
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

# Windows


def sliding_vjp(g, out, x, window_shape, axis=None):
    axes = range(x.ndim) if axis is None else (axis,) if np.ndim(axis) == 0 else axis
    return overlapped(g, x.shape, tuple(axes))


@differentiable(lambda g, out, windows, shape, axes: sliding_window_view(g, windows.shape[len(shape) :], axes))
def overlapped(windows, shape, axes):
    """Windows, as sliding_window_view makes them of an array of this shape, added up, each where it came from."""
    windows = in_single(windows)
    out = np.zeros(shape, windows.dtype)
    for place in np.ndindex(windows.shape[len(shape) :]):
        starts = [0] * len(shape)
        for start, i in zip(axes, place, strict=True):
            starts[start] += i
        seen = (slice(start, start + length) for start, length in zip(starts, windows.shape, strict=False))
        out[tuple(seen)] += windows[(..., *place)]
    return out


derivative(sliding_window_view, sliding_vjp)

# Functions that put elements in or leave them out


def insert(arr, obj, values, axis=None):
    """Number the elements of both arrays consecutively, let NumPy insert numbers, and look the elements up."""
    arr, values = as_array(arr), as_array(values)
    elements = np.concatenate([np.ravel(arr), np.ravel(values)], dtype=arr.dtype, casting="unsafe")
    of_values = np.arange(arr.size, elements.size).reshape(values.shape)
    return elements[np.insert(numbers(arr), obj, of_values, axis)]


def trim_zeros(filt, *args, **kwargs):
    """Let NumPy trim the elements' numbers. Where one of them went tells which block to cut out."""
    filt = as_array(filt)
    block = np.trim_zeros(np.where(filt != 0, numbers(filt) + 1, 0), *args, **kwargs)
    start = np.zeros(filt.ndim, int)
    if block.any():
        place = np.argwhere(block)[0]
        start = np.unravel_index(block[tuple(place)] - 1, filt.shape) - place
    return filt[tuple(slice(i, i + n) for i, n in zip(start, block.shape, strict=True))]


composite(np.insert, insert)
composite(np.trim_zeros, trim_zeros)

# Order


def sort_vjp(g, out, a, axis=-1, kind=None, *, stable=None):
    """Give the i-th smallest element of the input the gradient of the i-th element of the result."""
    flat, axis = (np.ravel(a), 0) if axis is None else (a, axis)
    ranks = np.argsort(np.argsort(flat, axis, "stable"), axis)
    return np.reshape(np.take_along_axis(g, ranks, axis), a.shape)


def partition_vjp(g, out, a, kth, axis=-1, kind="introselect"):
    return sort_vjp(np.take_along_axis(g, np.argsort(out, axis, "stable"), axis), out, a, axis)


def unique_vjp(g, out, ar, return_index=False, return_inverse=False, return_counts=False, axis=None, *, equal_nan=True):
    """Of equal elements, the first one stays and gets the gradient."""
    _, index = np.unique(ar, return_index=True, axis=axis, equal_nan=equal_nan)
    g = filled(g, out)[0] if return_index or return_inverse or return_counts else g
    return put_back(g, ar, index if axis is None else np.take(numbers(ar), index, axis))


derivative(np.sort, sort_vjp)
derivative(np.partition, partition_vjp)
derivative(np.unique, unique_vjp)
composite(np.sort_complex, lambda a: np.sort(a) if a.dtype.kind == "c" else np.astype(np.sort(a), np.complex128))

# Choices between arrays


def select(condlist, choicelist, default=0):
    """Start from the last choice, so that the first whose condition holds wins."""
    chosen = default
    for condition, choice in reversed(list(zip(condlist, choicelist, strict=True))):
        chosen = np.where(condition, choice, chosen)
    return chosen


def choose(a, choices, out=None, mode="raise"):
    """Pick from the stack of all choices."""
    if out is not None:
        raise NoDerivativeError("the derivative of choose does not know the argument out=; leave it out")
    shape = np.broadcast_shapes(np.shape(a), *map(np.shape, choices))
    stacked = np.stack([np.broadcast_to(choice, shape) for choice in choices])
    return np.ravel(stacked)[np.choose(a, list(numbers(stacked)), mode=mode)]


def piecewise(x, condlist, funclist, *args, **kw):
    """Apply each function where its condition is the last that holds; elsewhere the result is 0."""
    which = np.piecewise(np.zeros(np.shape(x), int), condlist, list(range(1, len(funclist) + 1)))
    out = np.where(False, x, 0)  # a Tensor, even if all functions are constants
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
