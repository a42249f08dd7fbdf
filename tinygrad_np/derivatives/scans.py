"""Derivatives of functions for which the order along an axis counts: running sums and products, differences.

Running sums and differences are linear. The VJP of a linear map is the transposed one, which here runs backwards.
"""

import numpy as np

from tinygrad_np.derivatives.products import as_array
from tinygrad_np.derivatives.table import composite, derivative, differentiable, known
from tinygrad_np.errors import ArgumentError

# Running sums and products


def along(axis, index):
    """Index one axis, given as a number that is not negative, and leave the others whole."""
    return (slice(None),) * axis + (index,)


def reverse(x, axis):
    return x[along(axis % x.ndim, slice(None, None, -1))]


def sum_of_later(g, axis):
    """For each element, the sum of itself and all later ones."""
    return reverse(np.cumsum(reverse(g, axis), axis=axis), axis)


def cumsum_vjp(g, out, a, axis=None, dtype=None):
    return np.reshape(sum_of_later(g, 0 if axis is None else axis), a.shape)


def cumprod_vjp(g, out, a, axis=None, dtype=None):
    """For each factor, the sum of g out over this and the later products, divided by the factor.

    If there are zeros: the product of the earlier factors times s_i, where s_i = g_i + a_{i+1} s_{i+1}.
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


def without_initial(g, axis, include_initial):
    """Drop what belongs to the 0 or 1 that was put before the first element."""
    return g[along((axis or 0) % g.ndim, slice(1, None))] if include_initial else g


derivative(np.cumsum, cumsum_vjp)
derivative(np.cumprod, cumprod_vjp)
derivative(
    known(np, "cumulative_sum"),
    lambda g, out, x, *, axis=None, dtype=None, include_initial=False: cumsum_vjp(
        without_initial(g, axis, include_initial), out, x, axis or 0
    ),
)
derivative(
    known(np, "cumulative_prod"),
    lambda g, out, x, *, axis=None, dtype=None, include_initial=False: cumprod_vjp(
        without_initial(g, axis, include_initial), without_initial(out, axis, include_initial), x, axis or 0
    ),
)
composite(np.nancumsum, lambda a, *args, **kwargs: np.cumsum(np.where(np.isnan(a), 0, a), *args, **kwargs))
composite(np.nancumprod, lambda a, *args, **kwargs: np.cumprod(np.where(np.isnan(a), 1, a), *args, **kwargs))

# Differences


def differences_vjp(g, out, a, n, axis):
    """Minus the differences of the gradient with a zero at both ends, n times over."""
    zero = np.zeros((), g.dtype)
    for _ in range(min(n, a.shape[axis])):  # beyond that there are no differences
        g = -np.diff(g, axis=axis, prepend=zero, append=zero)
    return g


@differentiable(differences_vjp)
def differences(a, n, axis):
    """Differences of neighbours, n times over."""
    return np.diff(a, n, axis)


def diff(a, n=1, axis=-1, prepend=None, append=None):
    """Join `a` with what comes before and after it, then take differences. A number stands for a slice of length 1."""
    a = as_array(a)
    if n == 0:
        return a
    if prepend is None and append is None:
        return differences(a, n, axis)
    slice_shape = list(a.shape)
    slice_shape[axis] = 1
    parts = [as_array(part) for part in (prepend, a, append) if part is not None]
    parts = [part if part.ndim else np.broadcast_to(part, slice_shape) for part in parts]
    return differences(np.concatenate(parts, axis), n, axis)


def ediff1d(ary, to_end=None, to_begin=None):
    """The differences of all elements in C order, with other elements put before and after."""
    row = np.ravel(ary)
    begin, end = (np.astype(np.ravel(() if part is None else part), row.dtype) for part in (to_begin, to_end))
    return np.concatenate([begin, row[1:] - row[:-1], end])


composite(np.diff, diff)
composite(np.ediff1d, ediff1d)


@differentiable(
    lambda g, out, values, spacing, axis, edge_order: np.gradient(g, spacing, axis=axis, edge_order=edge_order)
)
def transposed_gradient(values, spacing, axis, edge_order):
    """The transposed map of np.gradient along an axis.

    Element i of np.gradient is a weighted sum of the elements i - 1 to i + 1 or, at an edge, of the three there. The
    weights of every third element are the gradient of an array that is 1 at these elements and 0 elsewhere.
    """
    values = np.moveaxis(values, axis, -1)
    n = values.shape[-1]
    first = np.clip(np.arange(n) - 1, 0, max(n - 3, 0))
    out = np.zeros_like(values)
    for i in range(3):
        ones = (np.arange(n) % 3 == i).astype(values.dtype)
        neighbour = (..., np.minimum(first + (i - first) % 3, n - 1))
        np.add.at(out, neighbour, values * np.gradient(ones, spacing, edge_order=edge_order))
    return np.moveaxis(out, -1, axis)


@differentiable(lambda g, out, f, spacing, axis, edge_order: transposed_gradient(g, spacing, axis, edge_order))
def gradient_along(f, spacing, axis, edge_order):
    return np.gradient(f, spacing, axis=axis, edge_order=edge_order)


def gradient(f, *spacings, axis=None, edge_order=1):
    """np.gradient one axis at a time. A single number is the spacing along every axis, else each axis has its own."""
    axes = range(np.ndim(f)) if axis is None else np.atleast_1d(axis).tolist()
    if not spacings or (len(spacings) == 1 and np.ndim(spacings[0]) == 0):
        spacings = (spacings or (1.0,)) * len(axes)
    if len(spacings) != len(axes):
        raise ArgumentError(f"gradient along {len(axes)} axes takes one spacing or {len(axes)}, not {len(spacings)}")
    slopes = [gradient_along(f, spacing, i, edge_order) for spacing, i in zip(spacings, axes, strict=True)]
    return slopes[0] if len(slopes) == 1 else tuple(slopes)


composite(np.gradient, gradient)


def trapezoid(y, x=None, dx=1.0, axis=-1):
    """The trapezoidal rule: the sum of widths times the means of neighbours."""
    y = as_array(y)
    axis = axis % y.ndim
    if x is not None:
        dx = np.diff(x, axis=-1 if np.ndim(x) == 1 else axis)
        if np.ndim(x) == 1:
            dx = np.reshape(dx, (-1,) + (1,) * (y.ndim - 1 - axis))
    ends = y[along(axis, slice(1, None))] + y[along(axis, slice(None, -1))]
    return np.sum(dx * ends / 2.0, axis=axis)


composite(np.trapezoid, trapezoid)
