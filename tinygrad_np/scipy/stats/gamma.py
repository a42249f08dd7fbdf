"""The gamma distribution with shape `a`, as `scipy.stats.gamma`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_np.derivatives.special import over, special
from tinygrad_np.functional.arrays import as_array
from tinygrad_np.scipy.stats.standard import array, log_density, logarithm, positive, probability, scipys

__all__ = ["cdf", "logcdf", "logpdf", "logsf", "pdf", "sf"]

__getattr__ = scipys(__name__)


@log_density(
    lambda y: y < 0,
    lambda y, a: over(a - 1, y) - 1,
    lambda y, a: np.log(y) - special.psi(a),
)
def density(y: Any, a: Any) -> Any:
    return special.xlogy(a - 1, y) - y - special.gammaln(positive(a))


def logpdf(x: Any, a: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the density."""
    return density(as_array(x), array(a), array(loc), positive(scale))


def pdf(x: Any, a: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The density."""
    return np.exp(logpdf(x, a, loc, scale))


def cdf(x: Any, a: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The probability of values up to x. It has no derivative with respect to a."""
    a = positive(a)
    return probability(lambda y: special.gammainc(a, y), x, loc, scale)


def logcdf(x: Any, a: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of `cdf`."""
    return logarithm(cdf(x, a, loc, scale))


def sf(x: Any, a: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The probability of values above x. It has no derivative with respect to a."""
    a = positive(a)
    return probability(lambda y: special.gammaincc(a, y), x, loc, scale, upper=True)


def logsf(x: Any, a: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of `sf`."""
    return logarithm(sf(x, a, loc, scale))
