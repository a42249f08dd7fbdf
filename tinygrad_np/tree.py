"""Trees: any nesting of dicts, lists, tuples and named tuples, whose leaves are arrays, Tensors or numbers.

None is a tree without leaves, as in JAX: the bias of a layer that has none.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from tinygrad_np.errors import ShapeError

__all__ = ["leaves", "leaves_like", "map_leaves", "unflatten"]


def leaves(tree: Any) -> Iterator[Any]:
    """The leaves in order: of a dict in the order of its keys' insertion."""
    if isinstance(tree, dict):
        tree = tree.values()
    elif not isinstance(tree, (list, tuple)):
        if tree is not None:
            yield tree
        return
    for branch in tree:
        yield from leaves(branch)


def leaves_like(tree: Any, other: Any) -> Iterator[Any]:
    """The leaves of another tree of the same structure, in the order of this one's: its dicts may have another.

    Raises:
        ShapeError: the other tree has another structure.
    """
    if isinstance(tree, dict):
        if not isinstance(other, dict) or tree.keys() != other.keys():
            raise ShapeError(f"a dict with the keys {list(tree)} is expected, not {_described(other)}")
        pairs = [(branch, other[key]) for key, branch in tree.items()]
    elif isinstance(tree, (list, tuple)):
        if not isinstance(other, (list, tuple)) or len(tree) != len(other):
            raise ShapeError(f"a list or tuple of length {len(tree)} is expected, not {_described(other)}")
        pairs = list(zip(tree, other, strict=True))
    elif tree is None:
        if other is not None:
            raise ShapeError(f"None is expected, not {_described(other)}")
        return
    else:
        yield other
        return
    for pair in pairs:
        yield from leaves_like(*pair)


def _described(tree: Any) -> str:
    if isinstance(tree, dict):
        return f"one with {list(tree)}"
    return f"one of length {len(tree)}" if isinstance(tree, (list, tuple)) else f"a {type(tree).__name__}"


def map_leaves(function: Callable[[Any], Any], tree: Any) -> Any:
    """The same tree with the function's value at each leaf."""
    if isinstance(tree, dict):
        copied = copy.copy(tree)  # of its own class, which may be made in another way
        copied.update((key, map_leaves(function, branch)) for key, branch in tree.items())
        return copied
    if isinstance(tree, (list, tuple)):
        branches = [map_leaves(function, branch) for branch in tree]
        return type(tree)(*branches) if hasattr(tree, "_fields") else type(tree)(branches)
    return None if tree is None else function(tree)


def unflatten(tree: Any, values: Any) -> Any:
    """A tree of the same structure whose leaves are the given values, in order."""
    given = iter(values)
    return map_leaves(lambda leaf: next(given), tree)
