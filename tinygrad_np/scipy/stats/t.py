"""Student's distribution with `df` degrees of freedom, as `scipy.stats.t`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_np.derivatives.special import special
from tinygrad_np.scipy.stats.standard import at, log, logarithm, positive, scipys

__all__ = ["cdf", "logcdf", "logpdf", "logsf", "pdf", "sf"]

__getattr__ = scipys(__name__)


def logpdf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the density."""
    df, scale = positive(df), positive(scale)
    y = at(x, loc, scale)
    normalisation = special.betaln(df / 2, np.ones_like(df) / 2) + log(df) / 2 + log(scale)
    return -(df + 1) / 2 * np.log1p(y * y / df) - normalisation


def pdf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The density."""
    return np.exp(logpdf(x, df, loc, scale))


def cdf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The probability of values up to x. It has no derivative with respect to df."""
    return special.stdtr(positive(df), at(x, loc, positive(scale)))


def logcdf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of `cdf`."""
    return logarithm(cdf(x, df, loc, scale))


def sf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The probability of values above x. It has no derivative with respect to df."""
    return special.stdtr(positive(df), -at(x, loc, positive(scale)))


def logsf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of `sf`."""
    return logarithm(sf(x, df, loc, scale))
