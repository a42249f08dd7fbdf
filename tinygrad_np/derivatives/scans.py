"""Derivatives of functions along an axis whose elements keep their order: running sums and products, differences.

Running sums and differences are linear: the VJP is the transposed map, which runs the other way along the axis.
"""

from typing import Any

import numpy as np

from tinygrad_np.derivatives.table import composite, derivative, differentiable
from tinygrad_np.errors import ArgumentError

# Running sums and products


def along(axis: int, index: Any) -> Any:
    """An index of one axis, not negative, as an index of the array."""
    return (slice(None),) * axis + (index,)


def reverse(x: Any, axis: int) -> Any:
    return x[along(axis % x.ndim, slice(None, None, -1))]


def sum_of_later(g: Any, axis: int) -> Any:
    """For each element the sum of itself and those after it."""
    return reverse(np.cumsum(reverse(g, axis), axis=axis), axis)


def cumsum_vjp(g: Any, out: Any, a: Any, axis: Any = None, dtype: Any = None) -> Any:
    return np.reshape(sum_of_later(g, 0 if axis is None else axis), a.shape)


def cumprod_vjp(g: Any, out: Any, a: Any, axis: Any = None, dtype: Any = None) -> Any:
    """The sum over the later products of the gradient times the other factors: sum(g out) / a.

    Where there are zeros: the product of the earlier factors times s_i = g_i + a_{i+1} s_{i+1}.
    """
    if axis is None:
        return np.reshape(cumprod_vjp(g, out, np.ravel(a), 0), a.shape)
    if np.all(a != 0):
        return sum_of_later(g * out, axis) / a
    g, out, a = (np.moveaxis(x, axis, 0) for x in (g, out, a))
    sums = [g[-1]]
    for i in range(len(a) - 1, 0, -1):
        sums.append(g[i - 1] + a[i] * sums[-1])
    earlier = np.concatenate([np.ones(out[:1].shape, out.dtype), out[:-1]])
    return np.moveaxis(earlier * np.stack(sums[::-1]), 0, axis)


def without_initial(g: Any, axis: Any, include_initial: Any) -> Any:
    """The gradient without that of the 0 or 1 that was put before the first element."""
    return g[along((axis or 0) % g.ndim, slice(1, None))] if include_initial else g


derivative(np.cumsum, cumsum_vjp)
derivative(np.cumprod, cumprod_vjp)
derivative(
    np.cumulative_sum,
    lambda g, out, x, *, axis=None, dtype=None, include_initial=False: cumsum_vjp(
        without_initial(g, axis, include_initial), out, x, axis or 0
    ),
)
derivative(
    np.cumulative_prod,
    lambda g, out, x, *, axis=None, dtype=None, include_initial=False: cumprod_vjp(
        without_initial(g, axis, include_initial), without_initial(out, axis, include_initial), x, axis or 0
    ),
)
composite(np.nancumsum, lambda a, *args, **kwargs: np.cumsum(np.where(np.isnan(a), 0, a), *args, **kwargs))
composite(np.nancumprod, lambda a, *args, **kwargs: np.cumprod(np.where(np.isnan(a), 1, a), *args, **kwargs))

# Differences


def length(x: Any, axis: int) -> int:
    """How many elements diff puts before or after an array for its arguments prepend and append."""
    return 0 if x is np._NoValue else np.shape(x)[axis] if np.ndim(x) else 1


def diff_vjp(part: int) -> Any:
    """The VJP for prepend (part 0), a (1) or append (2), which diff joins: -diff of the gradient with 0 around it."""

    def vjp(
        g: Any, out: Any, a: Any, n: Any = 1, axis: Any = -1, prepend: Any = np._NoValue, append: Any = np._NoValue
    ) -> Any:
        start, stop = length(prepend, axis), length(prepend, axis) + a.shape[axis]
        zero = np.zeros((), g.dtype)
        for _ in range(min(n, stop + length(append, axis))):  # not more often than leaves any difference
            g = -np.diff(g, axis=axis, prepend=zero, append=zero)
        return np.split(g, [start, stop], axis)[part]

    return vjp


def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    """Differences of all elements in one row, between two other arrays."""
    row = np.ravel(ary)
    begin, end = (np.astype(np.ravel(() if part is None else part), row.dtype) for part in (to_begin, to_end))
    return np.concatenate([begin, row[1:] - row[:-1], end])


derivative(np.diff, diff_vjp(1), None, None, diff_vjp(0), diff_vjp(2))
composite(np.ediff1d, ediff1d)


@differentiable(
    lambda g, out, values, spacing, axis, edge_order: np.gradient(g, spacing, axis=axis, edge_order=edge_order)
)
def transposed_gradient(values: Any, spacing: Any, axis: Any, edge_order: Any) -> Any:
    """The transposed map of np.gradient along an axis.

    An element i of np.gradient is a sum of three neighbours, i - 1 to i + 1 or, at an edge, the three there, times
    coefficients. Those of every third neighbour are read off from the gradient of an array that is 1 there, else 0.
    """
    values = np.moveaxis(values, axis, -1)
    n = values.shape[-1]
    first = np.clip(np.arange(n) - 1, 0, max(n - 3, 0))
    out = np.zeros_like(values)
    for i in range(3):
        ones = (np.arange(n) % 3 == i).astype(values.dtype)
        neighbour: Any = (..., np.minimum(first + (i - first) % 3, n - 1))
        np.add.at(out, neighbour, values * np.gradient(ones, spacing, edge_order=edge_order))
    return np.moveaxis(out, -1, axis)


@differentiable(lambda g, out, f, spacing, axis, edge_order: transposed_gradient(g, spacing, axis, edge_order))
def gradient_along(f: Any, spacing: Any, axis: Any, edge_order: Any) -> Any:
    return np.gradient(f, spacing, axis=axis, edge_order=edge_order)


def gradient(f: Any, *spacings: Any, axis: Any = None, edge_order: Any = 1) -> Any:
    """A gradient along each axis by itself; one number is the spacing of all, coordinates are those of one."""
    axes = range(np.ndim(f)) if axis is None else np.atleast_1d(axis).tolist()
    if not spacings or (len(spacings) == 1 and np.ndim(spacings[0]) == 0):
        spacings = (spacings or (1.0,)) * len(axes)
    if len(spacings) != len(axes):
        raise ArgumentError(f"gradient along {len(axes)} axes takes one spacing or {len(axes)}, not {len(spacings)}")
    slopes = [gradient_along(f, spacing, i, edge_order) for spacing, i in zip(spacings, axes, strict=True)]
    return slopes[0] if len(slopes) == 1 else tuple(slopes)


composite(np.gradient, gradient)


def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: Any = -1) -> Any:
    """The trapezoidal rule: widths times the means of neighbours, summed."""
    y = y if hasattr(y, "dtype") else np.asarray(y)
    axis = axis % y.ndim
    if x is not None:
        dx = np.diff(x, axis=-1 if np.ndim(x) == 1 else axis)
        if np.ndim(x) == 1:
            dx = np.reshape(dx, (-1,) + (1,) * (y.ndim - 1 - axis))
    ends = y[along(axis, slice(1, None))] + y[along(axis, slice(None, -1))]
    return np.sum(dx * ends / 2.0, axis=axis)


composite(np.trapezoid, trapezoid)
