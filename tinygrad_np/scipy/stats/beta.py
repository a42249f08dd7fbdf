"""The beta distribution with shapes `a` and `b`, as `scipy.stats.beta`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_np.derivatives.special import special
from tinygrad_np.scipy.stats.standard import log_density, logarithm, positive, probability, scipys

__all__ = ["cdf", "logcdf", "logpdf", "logsf", "pdf", "sf"]

__getattr__ = scipys(__name__)


def logpdf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the density."""
    a, b = positive(a), positive(b)
    return log_density(
        lambda y: special.xlog1py(b - 1, -y) + special.xlogy(a - 1, y) - special.betaln(a, b), x, loc, scale, 1
    )


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
