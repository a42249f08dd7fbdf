"""The Poisson distribution with mean `mu`, as `scipy.stats.poisson`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_np.derivatives.special import over, special
from tinygrad_np.functional.arrays import as_array
from tinygrad_np.scipy.stats.standard import array, log_density, logarithm, scipys

__all__ = ["cdf", "logcdf", "logpmf", "logsf", "pmf", "sf"]

__getattr__ = scipys(__name__)


def not_negative(mu: Any) -> Any:
    """The mean, and NaN where it is negative, as in SciPy."""
    mu = as_array(mu)
    return np.where(mu >= 0, mu, np.nan)


def probability(function: Any, k: Any, mu: Any, loc: Any, below: float) -> Any:
    """A distribution function of whole numbers from 0, and what it is below them."""
    count = np.floor(np.subtract(k, loc))
    value = np.where(np.isnan(count), np.nan, function(np.where(count < 0, 0, count), not_negative(mu)))
    return np.where(np.logical_and(count < 0, value == value), below, value)[()]


@log_density(
    lambda k: np.logical_or(k < 0, k > np.floor(k)),
    lambda k, mu: np.log(mu) - special.psi(k + 1),
    lambda k, mu: over(k, mu) - 1,
)
def mass(k: Any, mu: Any) -> Any:
    return special.xlogy(k, mu) - special.gammaln(k + 1) - not_negative(mu)


def logpmf(k: Any, mu: Any, loc: Any = 0) -> Any:
    """The logarithm of the probability of k: -inf where it is no whole number from 0."""
    return mass(as_array(k), array(mu), array(loc), 1)


def pmf(k: Any, mu: Any, loc: Any = 0) -> Any:
    """The probability of k."""
    return np.exp(logpmf(k, mu, loc))


def cdf(k: Any, mu: Any, loc: Any = 0) -> Any:
    """The probability of values up to k."""
    return probability(special.pdtr, k, mu, loc, 0.0)


def logcdf(k: Any, mu: Any, loc: Any = 0) -> Any:
    """The logarithm of `cdf`."""
    return logarithm(cdf(k, mu, loc))


def sf(k: Any, mu: Any, loc: Any = 0) -> Any:
    """The probability of values above k."""
    return probability(special.pdtrc, k, mu, loc, 1.0)


def logsf(k: Any, mu: Any, loc: Any = 0) -> Any:
    """The logarithm of `sf`."""
    return logarithm(sf(k, mu, loc))
