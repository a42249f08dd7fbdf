"""The chi-squared distribution with `df` degrees of freedom, as `scipy.stats.chi2`.

It is the gamma distribution of shape df / 2 and scale 2.
"""

from __future__ import annotations

from typing import Any

from tinygrad_np.scipy.stats import gamma
from tinygrad_np.scipy.stats.standard import positive, scipys

__all__ = ["cdf", "logcdf", "logpdf", "logsf", "pdf", "sf"]

__getattr__ = scipys(__name__)


def logpdf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the density."""
    return gamma.logpdf(x, positive(df) / 2, loc, positive(scale) * 2)


def pdf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The density."""
    return gamma.pdf(x, positive(df) / 2, loc, positive(scale) * 2)


def cdf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The probability of values up to x. It has no derivative with respect to df."""
    return gamma.cdf(x, positive(df) / 2, loc, positive(scale) * 2)


def logcdf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of `cdf`."""
    return gamma.logcdf(x, positive(df) / 2, loc, positive(scale) * 2)


def sf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The probability of values above x. It has no derivative with respect to df."""
    return gamma.sf(x, positive(df) / 2, loc, positive(scale) * 2)


def logsf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of `sf`."""
    return gamma.logsf(x, positive(df) / 2, loc, positive(scale) * 2)
