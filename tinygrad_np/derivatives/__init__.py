"""The derivative table, by family. Importing this package fills it; `table` says what a row is."""

from tinygrad_np.derivatives import (
    assignment,
    elementwise,
    fourier,
    indexing,
    linalg,
    products,
    reductions,
    scans,
    shapes,
)

__all__ = ["assignment", "elementwise", "fourier", "indexing", "linalg", "products", "reductions", "scans", "shapes"]
