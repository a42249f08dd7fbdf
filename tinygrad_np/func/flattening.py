"""`flatten`: a tree of arrays as one vector, as optimizers and samplers of vectors need it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_np.errors import ShapeError
from tinygrad_np.func.running import numeric
from tinygrad_np.tensor import Tensor
from tinygrad_np.tree import leaves, unflatten

__all__ = ["flatten"]


def flatten(tree: Any) -> tuple[Any, Callable[[Any], Any]]:
    """All elements of a tree of arrays in one vector, and the function that makes the tree of a vector again.

    Both ways are differentiable. The vector has the dtype that NumPy gives to the joined arrays; each leaf gets its own
    dtype back; so integers have no derivative.

    >>> vector, unflatten = flatten({"w": np.ones((2, 2)), "b": 3.0})
    >>> vector
    array([1., 1., 1., 1., 3.])
    >>> unflatten(2 * vector)["b"]
    array(6.)
    """
    arrays = [leaf if isinstance(leaf, Tensor) else numeric(leaf) for leaf in leaves(tree)]
    sizes = [array.size for array in arrays]
    vector = np.concatenate([np.ravel(array) for array in arrays]) if arrays else np.zeros(0)

    def restored(vector: Any) -> Any:
        if np.shape(vector) != (sum(sizes),):
            raise ShapeError(f"the tree has {sum(sizes)} elements, but the vector has shape {np.shape(vector)}")
        pieces = np.split(vector, np.cumsum(sizes)[:-1]) if arrays else []
        pairs = zip(pieces, arrays, strict=True)
        return unflatten(tree, [np.astype(np.reshape(piece, array.shape), array.dtype) for piece, array in pairs])

    return vector, restored
