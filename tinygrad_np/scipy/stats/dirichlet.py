"""The Dirichlet distribution, as `scipy.stats.dirichlet`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_np.derivatives.special import special
from tinygrad_np.errors import ShapeError
from tinygrad_np.functional.arrays import as_array
from tinygrad_np.scipy.stats.standard import positive, scipys

__all__ = ["entropy", "logpdf", "mean", "pdf"]

__getattr__ = scipys(__name__)


def log_normalisation(alpha: Any) -> Any:
    return np.sum(special.gammaln(alpha)) - special.gammaln(np.sum(alpha))


def logpdf(x: Any, alpha: Any) -> Any:
    """The logarithm of the density.

    Args:
        x: the proportions, of shape (K,) or, as SciPy wants it, (K, N); or without the last of them, (K - 1,) or
            (K - 1, N). Each has to be from 0 to 1, and all K to add up to 1: this is not checked, so that
            differences and derivatives can be taken of each alone.
        alpha: the concentrations, of shape (K,).

    Raises:
        ShapeError: the two do not fit.

    >>> logpdf(np.array([0.2, 0.8]), np.array([1.0, 1.0])).round(4)
    np.float64(0.0)
    """
    x, alpha = as_array(x), positive(alpha)
    if alpha.ndim != 1 or x.ndim not in (1, 2) or len(x) not in (alpha.size, alpha.size - 1):
        raise ShapeError(
            f"x must have shape (K,) or (K, N), and alpha (K,), but they have shapes {x.shape} and {alpha.shape}"
        )
    if len(x) == alpha.size - 1:
        x = np.concatenate([x, 1 - np.sum(x, axis=0, keepdims=True)])
    powers = special.xlogy(alpha - 1, x.T)
    return np.sum(powers, axis=-1) - log_normalisation(alpha)


def pdf(x: Any, alpha: Any) -> Any:
    """The density; see `logpdf`."""
    return np.exp(logpdf(x, alpha))


def mean(alpha: Any) -> Any:
    """The mean, of the shape of alpha."""
    alpha = positive(alpha)
    return alpha / np.sum(alpha)


def entropy(alpha: Any) -> Any:
    """The differential entropy."""
    alpha = positive(alpha)
    total = np.sum(alpha)
    scores = np.sum((alpha - 1) * special.psi(alpha))
    return log_normalisation(alpha) + (total - alpha.size) * special.psi(total) - scores
