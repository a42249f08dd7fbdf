"""Automatic differentiation of NumPy code, and what it takes to train a network with it.

>>> import numpy as np
>>> from tinygrad_np import Tensor
>>> x = Tensor([0.0, 1.0], requires_grad=True)
>>> np.sum(np.exp(x) * x).backward()
>>> x.grad
array([1.        , 5.43656366])
"""

__docformat__ = "google"

import importlib
from types import ModuleType

from tinygrad_np import func, functional, nn, optim
from tinygrad_np.autograd import grad
from tinygrad_np.compiler import compile
from tinygrad_np.derivatives.table import derivative, differentiable
from tinygrad_np.errors import TinygradNpError
from tinygrad_np.recording import no_grad
from tinygrad_np.tensor import Tensor

__version__ = "0.1.0"

__all__ = [
    "Tensor",
    "TinygradNpError",
    "checkpoint",
    "compile",
    "data",
    "debug",
    "derivative",
    "differentiable",
    "func",
    "functional",
    "grad",
    "nn",
    "no_grad",
    "optim",
    "visualize",
]


def __getattr__(name: str) -> ModuleType:
    """Import on first use the rooms that not every program needs."""
    if name in ("checkpoint", "data", "debug", "visualize"):
        return importlib.import_module(f"tinygrad_np.{name}")
    raise AttributeError(f"module 'tinygrad_np' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *(name for name in globals() if name.startswith("__"))])
