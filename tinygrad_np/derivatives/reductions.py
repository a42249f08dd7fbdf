"""Derivatives of reductions: an output element depends on all input elements along some axes.

`spread` puts the lost axes back, so that the gradient, or the result, broadcasts against the input again. The gradient
of a maximum goes to the largest element; several equal ones share it equally.
"""

import math

import numpy as np

from tinygrad_np.derivatives.products import as_array
from tinygrad_np.derivatives.table import composite, constant, derivative
from tinygrad_np.errors import ShapeError


def spread(reduced, axis, keepdims):
    """Put back the axes that a reduction removed, each of length 1."""
    return reduced if keepdims or axis is None else np.expand_dims(reduced, axis)


def count(x, reduced, axis, where):
    """How many elements of x went into each element of the result; at least 1."""
    if where is True:
        return x.size / max(reduced.size, 1)
    return np.maximum(np.sum(np.broadcast_to(where, x.shape), axis=axis, keepdims=True), 1)


def freedom(degrees):
    """The degrees of freedom, to divide by. With none left a variance is NaN, and so is its slope."""
    if isinstance(degrees, np.ndarray):  # else a Python number, which leaves single precision single
        return np.where(degrees > 0, degrees, math.nan)
    return degrees if degrees > 0 else math.nan


def largest(out, x, axis, keepdims, initial, where):
    """Weights that pick the elements of x equal to their maximum, or minimum. They sum to 1 over the axes.

    Where `initial` is beyond all elements, the weights are all 0.
    """
    picked = x == spread(out, axis, keepdims)
    if where is not True:
        picked = picked & where
    picked = picked.astype(x.dtype)
    number = np.sum(picked, axis=axis, keepdims=True)
    return picked / (number if initial is None else np.maximum(number, 1))


def sum_vjp(g, out, a, axis=None, dtype=None, *, keepdims=False, initial=0, where=True):
    g = np.broadcast_to(spread(g, axis, keepdims), a.shape)
    return g if where is True else np.where(where, g, 0)


def mean_vjp(g, out, a, axis=None, dtype=None, *, keepdims=False, where=True):
    g = np.broadcast_to(spread(g, axis, keepdims) / count(a, out, axis, where), a.shape)
    return g if where is True else np.where(where, g, 0)


def max_vjp(g, out, a, axis=None, *, keepdims=False, initial=None, where=True):
    return spread(g, axis, keepdims) * largest(out, a, axis, keepdims, initial, where)


def var_vjp(g, out, a, axis=None, dtype=None, *, ddof=0, correction=0, keepdims=False, where=True, mean=None):
    if where is not True:
        a = np.where(where, a, 0)  # what is left out may be NaN
    if mean is None:
        mean = np.mean(a, axis=axis, keepdims=True, where=where)
    slope = (
        spread(g, axis, keepdims) * np.conj(a - mean) * (2 / freedom(count(a, out, axis, where) - ddof - correction))
    )
    return slope if where is True else np.where(where, slope, 0)


def std_vjp(g, out, a, axis=None, dtype=None, *, ddof=0, correction=0, keepdims=False, where=True, mean=None):
    # Where all elements are equal the deviation is zero and so is the subgradient taken, instead of 0 / 0.
    g = g * 0.5 / np.where(out == 0, 1, out)
    kwargs = {"ddof": ddof, "correction": correction, "keepdims": keepdims, "where": where, "mean": mean}
    return var_vjp(g, out, a, axis, dtype, **kwargs)


def prod_vjp(g, out, a, axis=None, dtype=None, *, keepdims=False, initial=1, where=True):
    """The product of the other elements: out / a, or multiplied out if there are zeros."""
    if where is not True:
        slope = prod_vjp(g, out, np.where(where, a, 1), axis, keepdims=keepdims, initial=initial)
        return np.where(where, slope, 0)
    if np.all(a != 0):
        return spread(g * out, axis, keepdims) / a
    axes = tuple(range(a.ndim)) if axis is None else tuple(np.atleast_1d(axis) % a.ndim)
    kept = [i for i in range(a.ndim) if i not in axes]
    n = math.prod(a.shape[i] for i in axes)
    rows = np.reshape(np.transpose(a, [*kept, *axes]), [*(a.shape[i] for i in kept), 1, n])
    others = np.prod(np.where(np.eye(n, dtype=bool), 1, rows), axis=-1)
    others = np.reshape(others, [a.shape[i] for i in [*kept, *axes]])
    return spread(g * initial, axis, keepdims) * np.transpose(others, np.argsort([*kept, *axes]))


def valid(a, where):
    """Where the functions that ignore NaN read an element."""
    return np.logical_and(where, np.logical_not(np.isnan(a)))


def nanmean_vjp(g, out, a, axis=None, dtype=None, *, keepdims=False, where=True):
    return mean_vjp(g, out, a, axis, keepdims=keepdims, where=valid(a, where))


def nanvar_vjp(g, out, a, axis=None, dtype=None, *, ddof=0, correction=0, keepdims=False, where=True, mean=None):
    kwargs = {"ddof": ddof, "correction": correction, "keepdims": keepdims, "where": valid(a, where), "mean": mean}
    return var_vjp(g, out, a, axis, **kwargs)


def nanstd_vjp(g, out, a, axis=None, dtype=None, *, ddof=0, correction=0, keepdims=False, where=True, mean=None):
    kwargs = {"ddof": ddof, "correction": correction, "keepdims": keepdims, "where": valid(a, where), "mean": mean}
    return std_vjp(g, out, a, axis, **kwargs)


def quantile_vjp(g, out, a, q, axis=None, *, method="linear", keepdims=False):
    """A quantile lies between two order statistics, the elements at two neighbouring places of the sorted array.

    Each of the two gives its share of the gradient to the elements equal to it. The method's quantiles of
    0, 1 ... n - 1 are these places.
    """
    n = max(a.size * np.size(q) // max(out.size, 1), 1)
    total = 0
    for i, place in np.ndenumerate(np.quantile(np.arange(n), q, method=method)):
        picked = 0
        for k, share in ((np.floor(place), 1 - place % 1), (np.ceil(place), place % 1)):
            statistic = np.quantile(a, k / max(n - 1, 1), axis=axis, method="nearest", keepdims=True)
            equal = a == statistic
            picked = picked + equal * (share / np.sum(equal, axis=axis, keepdims=True))
        total = total + spread(g[i], axis, keepdims) * picked.astype(a.dtype)
    return total


def percentile_vjp(g, out, a, q, axis=None, *, method="linear", keepdims=False):
    return quantile_vjp(g, out, a, np.true_divide(q, 100), axis, method=method, keepdims=keepdims)


def nanmedian_vjp(g, out, a, axis=None, *, keepdims=False):
    """Each of the two middle elements gets half of the gradient. If the number of elements is odd, they are one."""
    middle = spread(out, axis, keepdims)
    low = np.max(a, axis=axis, keepdims=True, initial=-math.inf, where=a <= middle)
    high = np.min(a, axis=axis, keepdims=True, initial=math.inf, where=a >= middle)
    picked = largest(low, a, axis, True, None, True) + largest(high, a, axis, True, None, True)
    return spread(g, axis, keepdims) * (0.5 * picked)


def average(a, axis=None, weights=None, *, keepdims=False):
    """sum(weights * a) / sum(weights). The weights have the shape of a, or of a along the axes."""
    if weights is None:
        return np.mean(a, axis=axis, keepdims=keepdims)
    a, weights = as_array(a), as_array(weights)
    if weights.shape != a.shape:
        if axis is None:
            raise ShapeError(f"average of shape {a.shape} with weights of shape {weights.shape} needs an axis")
        axes = tuple(np.atleast_1d(axis) % a.ndim)
        weights = np.transpose(weights, np.argsort(axes))
        weights = np.reshape(weights, [n if i in axes else 1 for i, n in enumerate(a.shape)])
    total = np.sum(weights, axis=axis, keepdims=keepdims)
    if np.any(total == 0):
        raise ZeroDivisionError("average: the weights sum to zero")
    return np.sum(a * weights, axis=axis, keepdims=keepdims) / total


def variables(x, rowvar):
    """The variables of cov as rows, in double precision, as in NumPy."""
    x = as_array(x)
    x = np.astype(x, np.result_type(x.dtype, np.float64))
    return np.reshape(x, (1, -1)) if x.ndim < 2 else x if rowvar else np.transpose(x)


def cov(m, y=None, rowvar=True, bias=False, ddof=None):
    """For every two variables, the mean product of their deviations from their means."""
    x = variables(m, rowvar) if y is None else np.concatenate([variables(m, rowvar), variables(y, rowvar)])
    degrees = x.shape[1] - (1 - bool(bias) if ddof is None else ddof)
    deviation = x - np.mean(x, axis=1, keepdims=True)
    conjugate = np.conj(deviation) if x.dtype.kind == "c" else deviation
    return np.squeeze(np.matmul(deviation, np.transpose(conjugate)) * np.true_divide(1, freedom(degrees)))


def corrcoef(x, y=None, rowvar=True):
    """Covariances over the standard deviations of both variables, clipped because rounding could take them beyond 1."""
    c = np.cov(x, y, rowvar)
    if c.ndim == 0:
        return c / c
    deviation = np.sqrt(np.real(np.diagonal(c)))
    c = c / deviation[:, np.newaxis] / deviation
    return np.clip(np.real(c), -1, 1) + 1j * np.clip(np.imag(c), -1, 1) if c.dtype.kind == "c" else np.clip(c, -1, 1)


derivative(np.sum, sum_vjp)
derivative(np.mean, mean_vjp)
derivative(np.prod, prod_vjp)
for extremum in (np.max, np.min, np.amax, np.amin, np.nanmax, np.nanmin):
    derivative(extremum, max_vjp)
composite(np.ptp, lambda a, axis=None, **kwargs: np.max(a, axis, **kwargs) - np.min(a, axis, **kwargs))
derivative(np.var, var_vjp)
derivative(np.std, std_vjp)
derivative(np.quantile, quantile_vjp)
derivative(np.percentile, percentile_vjp)
derivative(
    np.median, lambda g, out, a, axis=None, *, keepdims=False: quantile_vjp(g, out, a, 0.5, axis, keepdims=keepdims)
)
composite(np.average, average)
composite(np.cov, cov)
composite(np.corrcoef, corrcoef)
derivative(np.bincount, None, lambda g, out, x, weights=None, minlength=0: g[x])

composite(np.nansum, lambda a, *args, **kwargs: np.sum(np.where(np.isnan(a), 0, a), *args, **kwargs))
composite(np.nanprod, lambda a, *args, **kwargs: np.prod(np.where(np.isnan(a), 1, a), *args, **kwargs))
derivative(np.nanmean, nanmean_vjp)
derivative(np.nanvar, nanvar_vjp)
derivative(np.nanstd, nanstd_vjp)
derivative(np.nanmedian, nanmedian_vjp)

constant(np.argmax, np.argmin, np.nanargmax, np.nanargmin, np.argsort)
constant(np.all, np.any, np.count_nonzero, np.nonzero, np.flatnonzero, np.searchsorted, np.digitize)
