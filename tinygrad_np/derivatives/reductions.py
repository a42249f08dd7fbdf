"""Derivatives of reductions: an output element depends on all input elements along some axes.

`spread` undoes the loss of the axes, so that the gradient, or the result, broadcasts against the input again. The
derivative of a maximum goes to the largest element; where several are equal, each gets the same share.
"""

import math
from typing import Any

import numpy as np

from tinygrad_np.derivatives.table import constant, derivative


def spread(reduced: Any, axis: Any, keepdims: Any) -> Any:
    """Put back the axes that a reduction removed, each of length 1."""
    return reduced if keepdims or axis is None else np.expand_dims(reduced, axis)


def count(x: Any, reduced: Any) -> Any:
    """How many elements of x went into each element of a reduction."""
    return x.size / max(reduced.size, 1)


def freedom(degrees: float) -> float:
    """Degrees of freedom to divide by; without any, variances are NaN and so are their slopes."""
    return degrees if degrees > 0 else math.nan


def largest(out: Any, x: Any, axis: Any, keepdims: Any) -> Any:
    """Weights that pick the elements of x equal to their maximum (or minimum), summing to 1 over the axes."""
    picked = (x == spread(out, axis, keepdims)).astype(x.dtype)
    return picked / np.sum(picked, axis=axis, keepdims=True)


def sum_vjp(g: Any, out: Any, a: Any, axis: Any = None, dtype: Any = None, *, keepdims: Any = False) -> Any:
    return np.broadcast_to(spread(g, axis, keepdims), a.shape)


def mean_vjp(g: Any, out: Any, a: Any, axis: Any = None, dtype: Any = None, *, keepdims: Any = False) -> Any:
    return np.broadcast_to(spread(g, axis, keepdims) / count(a, out), a.shape)


def max_vjp(g: Any, out: Any, a: Any, axis: Any = None, *, keepdims: Any = False) -> Any:
    return spread(g, axis, keepdims) * largest(out, a, axis, keepdims)


def var_vjp(
    g: Any,
    out: Any,
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    *,
    ddof: Any = 0,
    correction: Any = 0,
    keepdims: Any = False,
) -> Any:
    scale = 2 / freedom(count(a, out) - ddof - correction)
    return spread(g, axis, keepdims) * np.conj(a - np.mean(a, axis=axis, keepdims=True)) * scale


def std_vjp(
    g: Any,
    out: Any,
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    *,
    ddof: Any = 0,
    correction: Any = 0,
    keepdims: Any = False,
) -> Any:
    # Where all elements are equal the deviation is zero and so is the subgradient taken, instead of 0 / 0.
    g = g / np.where(out == 0, 1, out)
    scale = 1 / freedom(count(a, out) - ddof - correction)
    return spread(g, axis, keepdims) * np.conj(a - np.mean(a, axis=axis, keepdims=True)) * scale


def prod_vjp(g: Any, out: Any, a: Any, axis: Any = None, dtype: Any = None, *, keepdims: Any = False) -> Any:
    """The product of the other elements: out / a or, where there are zeros, multiplied out."""
    if np.all(a != 0):
        return spread(g * out, axis, keepdims) / a
    axes = tuple(range(a.ndim)) if axis is None else tuple(np.atleast_1d(axis) % a.ndim)
    kept = [i for i in range(a.ndim) if i not in axes]
    n = math.prod(a.shape[i] for i in axes)
    rows = np.reshape(np.transpose(a, [*kept, *axes]), [*(a.shape[i] for i in kept), 1, n])
    others = np.prod(np.where(np.eye(n, dtype=bool), 1, rows), axis=-1)
    others = np.reshape(others, [a.shape[i] for i in [*kept, *axes]])
    return spread(g, axis, keepdims) * np.transpose(others, np.argsort([*kept, *axes]))


derivative(np.sum, sum_vjp)
derivative(np.mean, mean_vjp)
derivative(np.prod, prod_vjp)
derivative(np.max, max_vjp)
derivative(np.min, max_vjp)
derivative(np.var, var_vjp)
derivative(np.std, std_vjp)

constant(np.argmax, np.argmin, np.argsort, np.all, np.any, np.count_nonzero, np.nonzero, np.flatnonzero)
