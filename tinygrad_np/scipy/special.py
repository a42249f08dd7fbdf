"""`scipy.special`, with derivatives for functions of whole arrays too, which are no ufuncs."""

from __future__ import annotations

__docformat__ = "google"

from typing import Any

import numpy as np

from tinygrad_np import functional
from tinygrad_np.derivatives.reductions import spread
from tinygrad_np.derivatives.special import multigammaln, polygamma, special
from tinygrad_np.derivatives.table import differentiable
from tinygrad_np.errors import NoDerivativeError

__all__ = ["log_softmax", "logsumexp", "multigammaln", "polygamma", "softmax"]


def __getattr__(name: str) -> Any:
    """All that is not written here is SciPy's own."""
    return getattr(special, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(special)})


def weighted_share(out: Any, a: Any, axis: Any, keepdims: bool) -> Any:
    """exp(a - out), and 0 where a is -inf."""
    absent = a == -np.inf
    return np.where(absent, 0, np.exp(np.where(absent, 0, a) - np.where(absent, 0, spread(out, axis, keepdims))))


def weighted_logsumexp_of_a(g: Any, out: Any, a: Any, b: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return spread(g, axis, keepdims) * b * weighted_share(out, a, axis, keepdims)


def weighted_logsumexp_of_b(g: Any, out: Any, a: Any, b: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return spread(g, axis, keepdims) * weighted_share(out, a, axis, keepdims)


@differentiable(weighted_logsumexp_of_a, weighted_logsumexp_of_b)
def weighted_logsumexp(a: Any, b: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The same as `logsumexp`, for two arrays of the same shape."""
    return special.logsumexp(a, axis=axis, b=b, keepdims=keepdims)


def logsumexp(a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False) -> Any:
    """log(sum(b exp(a))) over axes, by default over all.

    Args:
        a: the exponents, real.
        axis: an axis, or a tuple of them.
        b: factors, which may be negative or 0, of a shape that broadcasts with that of a. Where the sum is negative,
            the result is NaN.
        keepdims: whether the axes stay, with length 1.
        return_sign: not supported; see `NoDerivativeError` below.

    Raises:
        NoDerivativeError: `return_sign` is set.

    >>> logsumexp(np.array([0.0, 0.0]), b=np.array([1.0, 2.0])).round(4)
    np.float64(1.0986)
    """
    if return_sign:
        raise NoDerivativeError(
            "logsumexp with return_sign=True has no derivative here; leave it out, and write np.sign(np.sum(b * "
            "np.exp(a - np.max(a)))) for the sign"
        )
    if b is None:
        return functional.logsumexp(a, axis, keepdims)
    a, b = np.broadcast_arrays(a, b)
    return weighted_logsumexp(a, b, axis=axis, keepdims=keepdims)


def softmax(x: Any, axis: Any = None) -> Any:
    """exp(x) / sum(exp(x)) over an axis or a tuple of axes, by default over all. Same shape as x.

    >>> softmax(np.array([1000.0, 1000.0]))
    array([0.5, 0.5])
    """
    return functional.softmax(x, axis)


def log_softmax(x: Any, axis: Any = None) -> Any:
    """The logarithm of `softmax`. Same shape as x.

    >>> log_softmax(np.array([1000.0, 1000.0])).round(4)
    array([-0.6931, -0.6931])
    """
    return functional.log_softmax(x, axis)
