"""The chi-squared distribution with `df` degrees of freedom, as `scipy.stats.chi2`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_np.derivatives.special import special
from tinygrad_np.scipy.stats.standard import log_density, logarithm, positive, probability, scipys

__all__ = ["cdf", "logcdf", "logpdf", "logsf", "pdf", "sf"]

__getattr__ = scipys(__name__)


def logpdf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the density."""
    df = positive(df)
    return log_density(
        lambda y: special.xlogy(df / 2 - 1, y / 2) - y / 2 - special.gammaln(df / 2) - math.log(2), x, loc, scale
    )


def pdf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The density."""
    return np.exp(logpdf(x, df, loc, scale))


def cdf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The probability of values up to x. It has no derivative with respect to df."""
    df = positive(df)
    return probability(lambda y: special.chdtr(df, y), x, loc, scale)


def logcdf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of `cdf`."""
    return logarithm(cdf(x, df, loc, scale))


def sf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The probability of values above x. It has no derivative with respect to df."""
    df = positive(df)
    return probability(lambda y: special.chdtrc(df, y), x, loc, scale, upper=True)


def logsf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of `sf`."""
    return logarithm(sf(x, df, loc, scale))
