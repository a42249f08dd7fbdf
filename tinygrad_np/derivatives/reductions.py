"""Derivatives of reductions: an output element depends on all input elements along some axes.

`spread` puts the lost axes back, so that the gradient, or the result, broadcasts against the input again. The gradient
of a maximum goes to the largest element; several equal ones share it equally.
"""

import math

import numpy as np

from tinygrad_np.derivatives.elementwise import in_single, masked, over_length
from tinygrad_np.derivatives.products import as_array
from tinygrad_np.derivatives.table import composite, constant, derivative, differentiable
from tinygrad_np.errors import ShapeError


def spread(reduced, axis, keepdims):
    """Put back the axes that a reduction removed, each of length 1. What has no axes broadcasts as it is."""
    return reduced if keepdims or axis is None or reduced.ndim == 0 else np.expand_dims(reduced, axis)


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


def same(x, value):
    """Where x is equal to a value that was chosen from it. NaN, if chosen, counts as equal to itself."""
    return (x == value) | (np.isnan(x) & np.isnan(value))


def to_equal(g, value, x, axis, where=True):
    """Share the gradient equally between the elements of x along the axes that are equal to a value chosen from them.

    Where `initial` was beyond all elements, none is.
    """
    equal = same(x, value)
    if where is not True:
        equal = equal & where
    number = np.count_nonzero(equal, axis=axis, keepdims=True)
    return masked((g / np.maximum(number, 1)).astype(g.dtype), equal)


def sum_vjp(g, out, a, axis=None, dtype=None, *, keepdims=False, initial=0, where=True):
    g = np.broadcast_to(spread(g, axis, keepdims), a.shape)
    return g if where is True else masked(g, where)


def mean_vjp(g, out, a, axis=None, dtype=None, *, keepdims=False, where=True):
    g = np.broadcast_to(spread(g, axis, keepdims) / count(a, out, axis, where), a.shape)
    return g if where is True else masked(g, where)


def max_vjp(g, out, a, axis=None, *, keepdims=False, initial=None, where=True):
    return to_equal(spread(g, axis, keepdims), spread(out, axis, keepdims), a, axis, where)


def deviation(a, axis, where, mean):
    """What is left of the elements without their mean. Its conjugate, for complex numbers."""
    a = in_single(a)
    if where is not True:
        a = np.where(where, a, 0)  # what is left out may be NaN
    return np.conj(a - (np.mean(a, axis=axis, keepdims=True, where=where) if mean is None else mean))


def var_vjp(g, out, a, axis=None, dtype=None, *, ddof=0, correction=0, keepdims=False, where=True, mean=None):
    degrees = freedom(count(a, out, axis, where) - ddof - correction)
    slope = deviation(a, axis, where, mean) * (2 / degrees) * spread(g, axis, keepdims)
    return slope if where is True else masked(slope, where)


def std_vjp(g, out, a, axis=None, dtype=None, *, ddof=0, correction=0, keepdims=False, where=True, mean=None):
    degrees = freedom(count(a, out, axis, where) - ddof - correction)
    if a.size == out.size and where is True:  # of single elements it is 0 wherever they are
        return np.zeros_like(a) / degrees
    slope = over_length(deviation(a, axis, where, mean), spread(out, axis, keepdims)) * (1 / degrees)
    slope = slope * spread(g, axis, keepdims)
    return slope if where is True else masked(slope, where)


def prod_vjp(g, out, a, axis=None, dtype=None, *, keepdims=False, initial=1, where=True):
    """The product of the other elements: out / a or, where out is 0 or infinite, of those before and those after."""
    if where is not True:
        slope = prod_vjp(g, out, np.where(where, a, 1), axis, keepdims=keepdims, initial=initial)
        return masked(slope, where)
    size = np.absolute(out)
    if np.all((size >= np.finfo(size.dtype).tiny) & (size < np.inf)):
        return spread(g, axis, keepdims) * (spread(out, axis, keepdims) / a)
    axes = tuple(range(a.ndim)) if axis is None or a.ndim == 0 else tuple(np.atleast_1d(axis) % a.ndim)
    kept = [i for i in range(a.ndim) if i not in axes]
    row = np.reshape(np.transpose(a, [*kept, *axes]), [*(a.shape[i] for i in kept), -1])
    ones = np.ones((*row.shape[:-1], 1), row.dtype)
    before, after = (np.cumprod(np.concatenate([ones, x], -1), -1)[..., :-1] for x in (row, row[..., ::-1]))
    others = np.reshape(before * after[..., ::-1], [a.shape[i] for i in [*kept, *axes]])
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
    total = np.zeros_like(a)
    if a.size == 0:
        return total
    n = a.size * np.size(q) // out.size
    for i, place in np.ndenumerate(np.quantile(np.arange(n), q, method=method)):
        for k, share in ((np.floor(place), 1 - place % 1), (np.ceil(place), place % 1)):
            if share:
                statistic = np.quantile(a, k / max(n - 1, 1), axis=axis, method="nearest", keepdims=True)
                total = total + to_equal(share * spread(g[i], axis, keepdims), statistic, a, axis)
    return total


def percentile_vjp(g, out, a, q, axis=None, *, method="linear", keepdims=False):
    return quantile_vjp(g, out, a, np.true_divide(q, 100), axis, method=method, keepdims=keepdims)


def nanmedian_vjp(g, out, a, axis=None, *, keepdims=False):
    """Each of the two middle elements gets half of the gradient. If the number of elements is odd, they are one."""
    middle = spread(out, axis, keepdims)
    low = np.max(a, axis=axis, keepdims=True, initial=-math.inf, where=a <= middle)
    high = np.min(a, axis=axis, keepdims=True, initial=math.inf, where=a >= middle)
    half = 0.5 * spread(g, axis, keepdims)
    return to_equal(half, low, a, axis) + to_equal(half, high, a, axis)


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
    total = not_zero(np.sum(weights, axis=axis, keepdims=keepdims))
    return np.sum(a * weights, axis=axis, keepdims=keepdims) / total


@differentiable(lambda g, out, total: g)
def not_zero(total):
    """The sum of the weights itself: a function of its own, so that `compile` checks it at every call."""
    if np.any(total == 0):
        raise ZeroDivisionError("average: the weights sum to zero")
    return total


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
