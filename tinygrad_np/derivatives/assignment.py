"""Derivatives of index assignment, `x[index] = value`: x gets the gradient of the elements that stay, value the rest.

`assign` returns a changed copy, so that no array saved for another derivative is overwritten. `Tensor.__setitem__`
makes that copy the Tensor's new array. If an index names an element twice, the last value stays and only that one gets
a gradient.
"""

import numpy as np

from tinygrad_np.derivatives.elementwise import masked
from tinygrad_np.derivatives.table import composite, differentiable


def value_vjp(g, out, x, index, value):
    """The gradient at the index; zero where a later duplicate index overwrote the value."""
    number = np.zeros(out.shape, np.intp)
    positions = np.arange(number[index].size).reshape(number[index].shape)
    number[index] = positions
    gradient = masked(g[index], number[index] == positions)
    missing = np.ndim(value) - gradient.ndim  # axes of length 1 that NumPy drops in front
    return np.expand_dims(gradient, tuple(range(max(missing, 0))))


def x_vjp(g, out, x, index, value):
    """The gradient, with zeros where values were assigned."""
    return assign(g, index, 0)


@differentiable(x_vjp, None, value_vjp)
def assign(x, index, value):
    """A copy of x in which x[index] is value."""
    out = np.array(x)
    out[index] = value
    return out


def put_along_axis(arr, indices, values, axis):
    """Assign at `indices` along the axis, and at every place along the others."""
    if axis is None:
        arr[np.unravel_index(np.ravel(indices), arr.shape)] = values
        return
    shape = np.shape(indices)
    places = [np.arange(n).reshape([-1 if i == j else 1 for j in range(len(shape))]) for i, n in enumerate(shape)]
    places[axis] = indices
    arr[tuple(places)] = values


def copyto(dst, src, casting="same_kind", where=True):
    """Assign to all elements, or to those where `where` is True."""
    dst[...] = src if where is True else np.where(where, src, dst)


composite(np.put_along_axis, put_along_axis)
composite(np.copyto, copyto)
