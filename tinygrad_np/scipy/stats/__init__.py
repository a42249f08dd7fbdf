"""Probability distributions, as in `scipy.stats`, with derivatives with respect to all that they are given.

Each is a module: `from tinygrad_np.scipy.stats import norm`, then `norm.logpdf(x, loc, scale)`. They are functions of
arrays or Tensors, which broadcast; all parameters have derivatives, but distribution functions none with respect to
shape parameters. Values and arguments are those of SciPy. Everything else in here is SciPy's own.
"""

from __future__ import annotations

__docformat__ = "google"

import importlib
from typing import Any

from tinygrad_np.scipy.stats import beta, chi2, dirichlet, gamma, multivariate_normal, norm, poisson, t

__all__ = ["beta", "chi2", "dirichlet", "gamma", "multivariate_normal", "norm", "poisson", "t"]


def __getattr__(name: str) -> Any:
    """All that is not written here is SciPy's own."""
    return getattr(importlib.import_module("scipy.stats"), name)  # not before it is asked for: it takes a second
