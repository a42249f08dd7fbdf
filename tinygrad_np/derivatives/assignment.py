"""Index assignment, `x[index] = value`, as a function: it returns a changed copy, so that nothing that was saved for
other derivatives is overwritten. `Tensor.__setitem__` gives the Tensor this result as its new array and history.

The new array depends on x where it was not assigned to, and on the value where it was. If an index names an element
twice the last value stays, and only that one gets a gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_np.derivatives.table import composite, differentiable


def value_vjp(g: Any, out: Any, x: Any, index: Any, value: Any) -> Any:
    """The gradient at the index, but for values that a later one has overwritten."""
    number = np.zeros(out.shape, np.intp)
    positions = np.arange(number[index].size).reshape(number[index].shape)
    number[index] = positions
    return g[index] * (number[index] == positions)


def x_vjp(g: Any, out: Any, x: Any, index: Any, value: Any) -> Any:
    """The gradient where nothing was assigned."""
    return assign(g, index, 0)


@differentiable(x_vjp, None, value_vjp)
def assign(x: Any, index: Any, value: Any) -> Any:
    """A copy of x in which x[index] is value."""
    out = x.copy()
    out[index] = value
    return out


def put_along_axis(arr: Any, indices: Any, values: Any, axis: Any) -> None:
    """The assignment that it is: at `indices` along the axis, and at every place along the others."""
    if axis is None:
        arr[np.unravel_index(np.ravel(indices), arr.shape)] = values
        return
    shape = np.shape(indices)
    places = [np.arange(n).reshape([-1 if i == j else 1 for j in range(len(shape))]) for i, n in enumerate(shape)]
    places[axis] = indices
    arr[tuple(places)] = values


composite(np.put_along_axis, put_along_axis)
