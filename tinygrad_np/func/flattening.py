"""`flatten`: a tree of arrays as one vector, as optimizers and samplers of vectors need it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_np.errors import ShapeError
from tinygrad_np.func.running import numeric
from tinygrad_np.tensor import Tensor
from tinygrad_np.tree import leaves, leaves_like, unflatten

__all__ = ["flatten"]


def flatten(tree: Any) -> tuple[Any, Callable[[Any], Any]]:
    """All elements of a tree of arrays in one vector, and the function that makes the tree of a vector again.

    Those of dicts come in the order of their sorted keys, as in HIPS autograd and in JAX's `ravel_pytree`: then dicts
    that were filled in another order have the same vector.

    Both ways are differentiable. The vector has the dtype that NumPy gives to the joined arrays; each leaf gets its own
    dtype back; so integers have no derivative.

    >>> vector, unflatten = flatten({"w": np.ones((2, 2)), "b": 3.0})
    >>> vector
    array([3., 1., 1., 1., 1.])
    >>> unflatten(2 * vector)["b"]
    array(6.)
    """
    in_order = _sorted(tree)
    arrays = [leaf if isinstance(leaf, Tensor) else numeric(leaf) for leaf in leaves(in_order)]
    sizes = [array.size for array in arrays]
    vector = np.concatenate([np.ravel(array) for array in arrays]) if arrays else np.zeros(0)

    def restored(vector: Any) -> Any:
        if np.shape(vector) != (sum(sizes),):
            raise ShapeError(f"the tree has {sum(sizes)} elements, but the vector has shape {np.shape(vector)}")
        pieces = np.split(vector, np.cumsum(sizes)[:-1]) if arrays else []
        pairs = zip(pieces, arrays, strict=True)
        made = [np.astype(np.reshape(piece, array.shape), array.dtype) for piece, array in pairs]
        return unflatten(tree, leaves_like(tree, unflatten(in_order, made)))

    return vector, restored


def _sorted(tree: Any) -> Any:
    """The same tree with the keys of dicts in order."""
    if isinstance(tree, dict):
        return {key: _sorted(tree[key]) for key in sorted(tree)}
    if isinstance(tree, (list, tuple)):
        return [_sorted(branch) for branch in tree]
    return tree
