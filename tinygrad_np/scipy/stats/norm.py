"""The normal distribution with mean `loc` and standard deviation `scale`, as `scipy.stats.norm`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_np.derivatives.special import special
from tinygrad_np.scipy.stats.standard import at, log, positive, scipys

__all__ = ["cdf", "entropy", "logcdf", "logpdf", "logsf", "pdf", "sf"]

__getattr__ = scipys(__name__)

LOG_ROOT_TWO_PI = math.log(2 * math.pi) / 2


def pdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The density."""
    scale = positive(scale)
    y = at(x, loc, scale)
    return np.exp(-y * y / 2) / (math.sqrt(2 * math.pi) * scale)


def logpdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of the density."""
    scale = positive(scale)
    y = at(x, loc, scale)
    return -y * y / 2 - (log(scale) + LOG_ROOT_TWO_PI)


def cdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The probability of values up to x."""
    return special.ndtr(at(x, loc, positive(scale)))


def logcdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of `cdf`, exact far on the left too."""
    return special.log_ndtr(at(x, loc, positive(scale)))


def sf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The probability of values above x."""
    return special.ndtr(-at(x, loc, positive(scale)))


def logsf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The logarithm of `sf`, exact far on the right too."""
    return special.log_ndtr(-at(x, loc, positive(scale)))


def entropy(loc: Any = 0, scale: Any = 1) -> Any:
    """The differential entropy."""
    return log(positive(scale)) + (LOG_ROOT_TWO_PI + 0.5) + 0 * loc
