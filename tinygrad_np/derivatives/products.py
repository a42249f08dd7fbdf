"""Derivatives of products of matrices and vectors.

For matrices, out = x @ y has the VJPs g @ y.T and x.T @ g (Giles, "Collected matrix derivative results for forward
and reverse mode algorithmic differentiation", 2008, section 2.2.2). Stacks of matrices broadcast; a vector counts as
a matrix of one row on the left, of one column on the right.
"""

from typing import Any

import numpy as np

from tinygrad_np.derivatives.table import derivative


def transposed(x: Any) -> Any:
    """Swap the last two axes."""
    return x.T if x.ndim == 2 else np.swapaxes(x, -1, -2)


def matmul_left(g: Any, out: Any, x: Any, y: Any) -> Any:
    if np.ndim(y) == 1:
        return np.expand_dims(g, -1) * y
    if np.ndim(x) == 1:
        return np.squeeze(np.matmul(np.expand_dims(g, -2), transposed(y)), -2)
    return np.matmul(g, transposed(y))


def matmul_right(g: Any, out: Any, x: Any, y: Any) -> Any:
    if np.ndim(x) == 1:
        return np.expand_dims(g, -2) * np.expand_dims(x, -1) if np.ndim(y) > 1 else g * x
    if np.ndim(y) == 1:
        return np.squeeze(np.matmul(transposed(x), np.expand_dims(g, -1)), -1)
    return np.matmul(transposed(x), g)


derivative(np.matmul, matmul_left, matmul_right)
