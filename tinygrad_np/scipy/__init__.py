"""What SciPy has and its own functions do not bring to Tensors, under SciPy's names.

`tinygrad_np.scipy.special` and `.stats` are imported in the place of SciPy's modules. What is not written here is
SciPy's own: `scipy.special`'s ufuncs are differentiated as they stand.
"""

from __future__ import annotations

__docformat__ = "google"

from tinygrad_np.errors import MissingPackageError

__all__ = ["integrate", "signal", "special", "stats"]

try:
    import scipy  # noqa: F401
except ModuleNotFoundError as error:
    raise MissingPackageError(
        f'tinygrad_np.scipy needs SciPy ({error}); install it with: python -m pip install -e ".[scipy]"'
    ) from error

from tinygrad_np.scipy import integrate, signal, special, stats
