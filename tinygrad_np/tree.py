"""Trees: any nesting of dicts, lists, tuples and named tuples, whose leaves are arrays, Tensors or numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["leaves", "map_leaves", "unflatten"]


def leaves(tree: Any) -> Iterator[Any]:
    """The leaves in order: of a dict in the order of its keys' insertion."""
    if isinstance(tree, dict):
        tree = tree.values()
    elif not isinstance(tree, (list, tuple)):
        yield tree
        return
    for branch in tree:
        yield from leaves(branch)


def map_leaves(function: Callable[[Any], Any], tree: Any) -> Any:
    """The same tree with the function's value at each leaf."""
    if isinstance(tree, dict):
        return type(tree)((key, map_leaves(function, branch)) for key, branch in tree.items())
    if isinstance(tree, (list, tuple)):
        branches = [map_leaves(function, branch) for branch in tree]
        return type(tree)(*branches) if hasattr(tree, "_fields") else type(tree)(branches)
    return function(tree)


def unflatten(tree: Any, values: Any) -> Any:
    """A tree of the same structure whose leaves are the given values, in order."""
    given = iter(values)
    return map_leaves(lambda leaf: next(given), tree)
