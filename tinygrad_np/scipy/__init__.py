"""What SciPy has and its own functions do not bring to Tensors, under SciPy's names.

`tinygrad_np.scipy.integrate`, `.linalg`, `.signal`, `.special` and `.stats` are imported in the place of SciPy's
modules. What is not written here is SciPy's own: `scipy.special`'s ufuncs are differentiated as they stand.
"""

from __future__ import annotations

__docformat__ = "google"

import importlib
from typing import Any

from tinygrad_np.errors import MissingPackageError

__all__ = ["integrate", "linalg", "signal", "special", "stats"]

try:
    import scipy  # noqa: F401
except ModuleNotFoundError as error:
    raise MissingPackageError(
        f'tinygrad_np.scipy needs SciPy ({error}); install it with: python -m pip install -e ".[scipy]"'
    ) from error


def __getattr__(name: str) -> Any:
    """Import a module when it is asked for, as SciPy does: some take a second."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.{name}")
