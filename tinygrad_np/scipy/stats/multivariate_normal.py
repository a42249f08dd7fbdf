"""The normal distribution of vectors, as `scipy.stats.multivariate_normal`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_np.calls import call
from tinygrad_np.derivatives.linalg import inv_vjp, pinv_general
from tinygrad_np.derivatives.products import column
from tinygrad_np.derivatives.table import constant, differentiable
from tinygrad_np.errors import LinAlgError, ShapeError
from tinygrad_np.functional.arrays import as_array
from tinygrad_np.scipy.stats.standard import number, scipys

__all__ = ["entropy", "logpdf", "pdf"]

__getattr__ = scipys(__name__)

LOG_TWO_PI = math.log(2 * math.pi)


def parameters(mean: Any, cov: Any) -> tuple[Any, Any]:
    """The mean as a vector, and the covariance as a matrix.

    Raises:
        ShapeError: they do not fit.
    """
    cov = as_array(1 if cov is None else cov)
    if mean is None:  # in single precision, so that it leaves that of others as it is
        mean = np.zeros(cov.shape[0] if cov.ndim == 2 else cov.size, np.float32)
    mean = as_array(mean)
    size = mean.size
    if cov.ndim < 2:
        cov = cov * np.eye(size)
    if cov.shape != (size, size):
        raise ShapeError(f"cov must have shape {(size, size)}, as the mean has {size} elements, but has {cov.shape}")
    return mean if mean.ndim == 1 else mean.reshape(size), cov


def spectrum(cov: Any) -> tuple[Any, Any, Any]:
    """The eigenvalues, the eigenvectors, and the number up to which eigenvalues count as 0, as SciPy chooses it.

    Raises:
        LinAlgError: there is a negative eigenvalue.
    """
    values, vectors = np.linalg.eigh((cov + cov.T) / 2)
    precision = np.finfo(values.dtype)
    tolerance = (1e3 if precision.bits == 32 else 1e6) * precision.eps * np.max(np.abs(values), initial=0)
    if np.min(values, initial=0) < -tolerance:
        raise LinAlgError(f"the covariance must have no negative eigenvalues, but has one of {np.min(values):.3g}")
    return values, vectors, tolerance


def rank(cov: Any) -> int:
    values, _, tolerance = spectrum(cov)
    return int(np.count_nonzero(values > tolerance))


def supported(deviations: Any, cov: Any) -> Any:
    """Whether vectors are among those that the distribution has: a singular covariance lets none leave its span."""
    values, vectors, tolerance = spectrum(cov)
    outside = np.matmul(deviations, vectors[:, values <= tolerance])
    return np.linalg.norm(outside, axis=-1) < 1e3 * tolerance


constant(rank, supported)


def whitening(cov: Any, allow_singular: bool) -> tuple[Any, Any]:
    """A root of the covariance's inverse, which makes vectors white, and the logarithm of the determinant.

    If it may be singular, they are of the pseudo-inverse and of the product of all eigenvalues but 0.
    """
    if allow_singular:
        values, vectors, tolerance = spectrum(cov)
        kept = values > tolerance
        return vectors[:, kept] / np.sqrt(values[kept]), np.sum(np.log(values[kept]))
    factor = np.linalg.cholesky((cov + cov.T) / 2)
    return np.linalg.inv(factor).T, 2 * np.sum(np.log(np.diagonal(factor)))


def of_deviations(g: Any, out: Any, deviations: Any, cov: Any, allow_singular: bool) -> Any:
    return -column(g[0]) * np.matmul(deviations, out[1]) if 0 in g else np.zeros_like(deviations)


def of_covariance(g: Any, out: Any, deviations: Any, cov: Any, allow_singular: bool) -> Any:
    """Petersen & Pedersen, "The matrix cookbook" (2012), equations 57 and 61, among matrices of the same rank."""
    gradient: Any = 0
    if 0 in g:
        weighted = np.reshape(np.matmul(deviations, out[1]), (-1, len(cov)))
        gradient = (np.matmul(weighted.T * np.ravel(g[0]), weighted) - np.sum(g[0]) * out[1]) / 2
    if 1 in g:
        vjp: Any = pinv_general if allow_singular else inv_vjp
        gradient = gradient + vjp(g[1], out[1], cov)
    return (gradient + gradient.T) / 2


@differentiable(of_deviations, of_covariance, None, residuals=True)
def log_density(deviations: Any, cov: Any, allow_singular: bool) -> Any:
    """The logarithm of the density at a distance from the mean. For the derivatives it saves the inverse of cov."""
    root, log_determinant = whitening(cov, allow_singular)
    white = np.matmul(deviations, root)
    values = -(np.sum(white * white, axis=-1) + (root.shape[1] * LOG_TWO_PI + log_determinant)) / 2
    return values, np.matmul(root, root.T)


def logpdf(x: Any, mean: Any = None, cov: Any = 1, allow_singular: bool = False) -> Any:
    """The logarithm of the density.

    Args:
        x: the vectors, in the last axis: of shape (..., D); if D is 1, also of shape (N,) for N numbers.
        mean: the mean, of shape (D,); by default 0.
        cov: the covariance, of shape (D, D); its diagonal, of shape (D,); or a number for all of its diagonal.
        allow_singular: whether cov may be singular. The density is then that among the vectors that differ from the
            mean by a vector of cov's span, and 0 for others; its derivatives are those among matrices of the same rank.

    Raises:
        LinAlgError: the covariance has a negative eigenvalue or, unless `allow_singular`, one that is 0.
        ShapeError: mean and covariance do not fit.

    >>> logpdf(np.zeros((3, 2)), np.zeros(2), np.eye(2)).round(4)
    array([-1.8379, -1.8379, -1.8379])
    """
    mean, cov = parameters(mean, cov)
    x = as_array(x)
    if x.ndim == 0 or (x.ndim == 1 and mean.size == 1):
        x = x.reshape(-1, 1)
    deviations = x - mean
    values = log_density(deviations, cov, allow_singular)
    if allow_singular:
        values = np.where(call(supported, [deviations, cov]), values, -np.inf)
    return number(np.squeeze(values))  # axes of length 1 go, as in SciPy


def pdf(x: Any, mean: Any = None, cov: Any = 1, allow_singular: bool = False) -> Any:
    """The density; see `logpdf`."""
    return np.exp(logpdf(x, mean, cov, allow_singular))


def entropy(mean: Any = None, cov: Any = 1) -> Any:
    """The differential entropy. The covariance may be singular, as in `logpdf`."""
    mean, cov = parameters(mean, cov)
    return call(rank, [cov]) / 2 - log_density(np.zeros(mean.shape, np.float32), cov, True)
