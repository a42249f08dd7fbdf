"""The normal distribution of vectors, as `scipy.stats.multivariate_normal`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_np.errors import NoDerivativeError, ShapeError
from tinygrad_np.functional.arrays import as_array
from tinygrad_np.scipy.stats.standard import scipys

__all__ = ["entropy", "logpdf", "pdf"]

__getattr__ = scipys(__name__)


def parameters(mean: Any, cov: Any, allow_singular: bool) -> tuple[Any, Any]:
    """The mean as a vector, and the lower triangular factor of the covariance, whose product with its transpose it is.

    Raises:
        NoDerivativeError: the covariance may be singular.
        ShapeError: they do not fit.
    """
    if allow_singular:
        raise NoDerivativeError(
            "the density of a multivariate normal distribution has no derivative where the covariance is singular; "
            "leave out allow_singular=True"
        )
    cov = as_array(1 if cov is None else cov)
    size = (cov.shape[0] if cov.ndim == 2 else cov.size) if mean is None else as_array(mean).size
    mean = np.zeros(size) if mean is None else as_array(mean).reshape(size)
    if cov.ndim < 2:
        cov = cov * np.eye(size)
    if cov.shape != (size, size):
        raise ShapeError(f"cov must have shape {(size, size)}, as the mean has {size} elements, but has {cov.shape}")
    return mean, np.linalg.cholesky((cov + cov.T) / 2)


def log_determinant(factor: Any) -> Any:
    return 2 * np.sum(np.log(np.diagonal(factor)))


def logpdf(x: Any, mean: Any = None, cov: Any = 1, allow_singular: bool = False) -> Any:
    """The logarithm of the density.

    Args:
        x: the vectors, in the last axis: of shape (..., D); if D is 1, also of shape (N,) for N numbers.
        mean: the mean, of shape (D,); by default 0.
        cov: the covariance, of shape (D, D); its diagonal, of shape (D,); or a number for all of its diagonal.
        allow_singular: not supported.

    Raises:
        LinAlgError: the covariance is not positive definite.
        NoDerivativeError: `allow_singular` is set.
        ShapeError: mean and covariance do not fit.

    >>> logpdf(np.zeros((3, 2)), np.zeros(2), np.eye(2)).round(4)
    array([-1.8379, -1.8379, -1.8379])
    """
    mean, factor = parameters(mean, cov, allow_singular)
    x, size = as_array(x), mean.size
    if x.ndim == 0 or (x.ndim == 1 and size == 1):
        x = x.reshape(-1, 1)
    deviations = np.reshape(x - mean, (-1, size)).T
    whitened = np.linalg.solve(factor, deviations)
    distances = np.sum(whitened * whitened, axis=0)
    values = -(distances + (size * math.log(2 * math.pi) + log_determinant(factor))) / 2
    return values.reshape([length for length in x.shape[:-1] if length != 1])[()]  # axes of length 1 go, as in SciPy


def pdf(x: Any, mean: Any = None, cov: Any = 1, allow_singular: bool = False) -> Any:
    """The density; see `logpdf`."""
    return np.exp(logpdf(x, mean, cov, allow_singular))


def entropy(mean: Any = None, cov: Any = 1) -> Any:
    """The differential entropy."""
    mean, factor = parameters(mean, cov, allow_singular=False)
    return (mean.size * (math.log(2 * math.pi) + 1) + log_determinant(factor)) / 2
