"""Derivatives of functions that move elements without changing them: each VJP moves the gradient back.

An element that is used several times, as indexing can do, gets the sum of the gradients of its uses.
"""

from operator import getitem
from typing import Any

import numpy as np

from tinygrad_np.derivatives.table import constant, derivative, differentiable


def inverse(axes: Any) -> Any:
    """The permutation that undoes a transposition."""
    return None if axes is None else np.argsort([axis % len(axes) for axis in axes])


def layout(a: Any, order: str) -> Any:
    """What order="A" and "K" mean for this array. A Tensor's elements are read in the order of its array."""
    if order == "C" or order == "F":
        return order
    return "F" if (a if isinstance(a, np.ndarray) else a.data).flags.fnc else "C"


derivative(np.reshape, lambda g, out, a, shape=None, order="C": np.reshape(g, a.shape, order=layout(a, order)))
derivative(np.ravel, lambda g, out, a, order="C": np.reshape(g, a.shape, order=layout(a, order)))
derivative(np.squeeze, lambda g, out, a, axis=None: np.reshape(g, a.shape))
derivative(np.expand_dims, lambda g, out, a, axis: np.reshape(g, a.shape))
derivative(np.transpose, lambda g, out, a, axes=None: np.transpose(g, inverse(axes)))
derivative(np.swapaxes, lambda g, out, a, axis1, axis2: np.swapaxes(g, axis1, axis2))
derivative(np.moveaxis, lambda g, out, a, source, destination: np.moveaxis(g, destination, source))
derivative(np.broadcast_to, lambda g, out, array, shape: g)
derivative(np.astype, lambda g, out, x, dtype: g)
derivative(np.copy, lambda g, out, a: g)

# Splitting: the gradient is a list, one for each piece.

for split in (np.split, np.array_split):
    derivative(split, lambda g, out, ary, indices_or_sections, axis=0: np.concatenate(g, axis))

# Joining: the derivative with respect to the list of arrays is a list of gradients.


def concatenate_vjp(g: Any, out: Any, arrays: Any, axis: Any = 0) -> Any:
    if axis is None:
        pieces = np.split(g, np.cumsum([np.size(a) for a in arrays[:-1]]))
        return like(arrays, [np.reshape(piece, np.shape(a)) for piece, a in zip(pieces, arrays, strict=True)])
    return like(arrays, np.split(g, np.cumsum([np.shape(a)[axis] for a in arrays[:-1]]), axis))


def like(arrays: Any, pieces: Any) -> Any:
    """A list of gradients for a list of arrays; an array of them if one array served as the list."""
    return list(pieces) if isinstance(arrays, (list, tuple)) else np.stack(list(pieces))


derivative(np.concatenate, concatenate_vjp)
derivative(np.stack, lambda g, out, arrays, axis=0: like(arrays, np.moveaxis(g, axis, 0)))

# Indexing


def is_basic(index: Any) -> Any:
    """Whether an index is of integers, slices, None and Ellipsis only, so that it names no element twice."""
    items = index if isinstance(index, tuple) else (index,)
    return all(item is None or item is Ellipsis or type(item) in (int, slice) for item in items)


@differentiable(lambda g, out, values, index, shape: g[index])
def scatter(values: Any, index: Any, shape: Any) -> Any:
    """Zeros of a shape, with values added at an index."""
    out = np.zeros(shape, values.dtype)
    if is_basic(index):
        out[index] = values
    else:
        np.add.at(out, index, values)
    return out


derivative(getitem, lambda g, out, x, index: scatter(g, index, x.shape))

constant(np.shape, np.ndim, np.size, np.zeros_like, np.ones_like, np.empty_like, np.full_like)
