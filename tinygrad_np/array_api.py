"""The namespace of the Array API standard (https://data-apis.org/array-api), as `Tensor.__array_namespace__` gives it.

Libraries written for the standard ask an array for its namespace, and compute with the functions in there. SciPy does
so if SCIPY_ARRAY_API=1 is set before it is imported, scikit-learn after `set_config(array_api_dispatch=True)`; then
their functions differentiate. Most functions are NumPy's own, which know Tensors; those that make arrays make Tensors.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from functools import wraps
from types import SimpleNamespace
from typing import Any

import numpy as np

from tinygrad_np.creation import MAKERS
from tinygrad_np.engine import Box, box

__all__ = ["fft", "unique_values"]

CREATION = (
    "arange", "asarray", "empty", "empty_like", "eye", "from_dlpack", "full", "full_like", "linspace", "ones",
    "ones_like", "zeros", "zeros_like",
)  # fmt: skip


def making_tensors(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of NumPy's that makes an array, as one that makes a Tensor."""
    make = MAKERS.get(function, function)

    @wraps(function)
    def made(*args: Any, **kwargs: Any) -> Any:
        out = make(*args, **kwargs)
        return out if isinstance(out, Box) else box(out, None)

    return made


globals().update({name: making_tensors(getattr(np, name)) for name in CREATION})
fft = SimpleNamespace(
    **{**vars(np.fft), "fftfreq": making_tensors(np.fft.fftfreq), "rfftfreq": making_tensors(np.fft.rfftfreq)}
)


def unique_values(x: Any, /) -> Any:
    """In order, on which SciPy and scikit-learn rely: those of NumPy's own function have none from 2.3 on."""
    return np.unique(x, equal_nan=False)


def __getattr__(name: str) -> Any:
    if name == "special" and "scipy.special" in sys.modules:  # where SciPy looks for special functions of our own
        return importlib.import_module("tinygrad_np.derivatives.special").OURS
    return getattr(np, name)


def __dir__() -> list[str]:
    return dir(np)
