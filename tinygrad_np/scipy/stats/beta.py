"""The beta distribution with shapes `a` and `b`, as `scipy.stats.beta`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_np.derivatives.special import over, special
from tinygrad_np.functional.arrays import as_array
from tinygrad_np.scipy.stats.standard import array, log_density, logarithm, positive, probability, scipys

__all__ = ["cdf", "logcdf", "logpdf", "logsf", "pdf", "sf"]

__getattr__ = scipys(__name__)


@log_density(
    lambda y: np.logical_or(y < 0, y > 1),
    lambda y, a, b: over(a - 1, y) - over(b - 1, 1 - y),
    lambda y, a, b: np.log(y) + special.psi(a + b) - special.psi(a),
    lambda y, a, b: np.log1p(-y) + special.psi(a + b) - special.psi(b),
)
def density(y: Any, a: Any, b: Any) -> Any:
    return special.xlog1py(b - 1, -y) + special.xlogy(a - 1, y) - special.betaln(positive(a), positive(b))


def logpdf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the density."""
    return density(as_array(x), array(a), array(b), array(loc), positive(scale))


def pdf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The density."""
    return np.exp(logpdf(x, a, b, loc, scale))


def cdf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The probability of values up to x. It has no derivative with respect to a and b."""
    a, b = positive(a), positive(b)
    return probability(lambda y: special.betainc(a, b, y), x, loc, scale, 1)


def logcdf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of `cdf`."""
    return logarithm(cdf(x, a, b, loc, scale))


def sf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The probability of values above x. It has no derivative with respect to a and b."""
    a, b = positive(a), positive(b)
    return probability(lambda y: special.betaincc(a, b, y), x, loc, scale, 1, upper=True)


def logsf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of `sf`."""
    return logarithm(sf(x, a, b, loc, scale))
