"""Arrays that were written in place after a call had saved them for its derivative.

Whatever in this package writes to a Tensor's array calls `written`, which notes when. A backward pass compares that
with the number of each call, which says when the call saved its arrays. Nothing is counted when a call is recorded,
and a backward pass looks at single calls only if anything was written since the first of them.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_np.derivatives.table import Parts
from tinygrad_np.errors import GraphError, users_line
from tinygrad_np.recording import Watch, next_number, state

__all__ = ["arrays", "matters", "note", "owner", "saved", "since", "watches_of", "written"]


class Write:
    """The last write to an array: when, and by what."""

    __slots__ = ("by", "number", "owner")

    def __init__(self, owner: weakref.ref[np.ndarray]) -> None:
        self.owner, self.number = owner, 0

    def again(self, by: Any) -> None:
        """Note that the array was written to just now."""
        self.by = by
        self.number = LATEST[0] = next_number()


WRITES: dict[int, Write] = {}  # by the identity of the array that owns the memory
LATEST = [0]  # the number of the last write of all


def owner(array: np.ndarray) -> np.ndarray:
    """The array that owns the memory of this one."""
    while True:
        base = array.base
        if not isinstance(base, np.ndarray):
            base = getattr(base, "base", None)  # NumPy's stride tricks put an object in between
        if not isinstance(base, np.ndarray):
            return array
        array = base


def written(array: np.ndarray, by: tuple[Any, ...] | None = None) -> None:
    """Note that an array was written to: at the user's line that led here, or by what `by`, several words, says."""
    note(array).again(users_line() if by is None else by)


def note(array: np.ndarray) -> Write:
    """Where the writes to an array are noted."""
    own = owner(array)
    key = id(own)
    known = WRITES.get(key)
    if known is None or known.owner() is not own:
        known = WRITES[key] = Write(weakref.ref(own, lambda gone: forget(key, gone)))
    return known


def forget(key: int, gone: weakref.ref[np.ndarray]) -> None:
    """Drop the note about an array that is gone, unless another one has its identity by now."""
    if key in WRITES and WRITES[key].owner is gone:
        del WRITES[key]


def since(number: int) -> bool:
    """Whether anything was written after the node of this number was made."""
    return LATEST[0] > number


class Check(Watch):
    """Makes sure that the arrays a call saved are still what they were, if its derivative depends on their values."""

    def reached(self, node: Any, gradient: Any) -> None:
        """Look at a call before its derivatives are computed.

        Raises:
            GraphError: an array was written to. The message names the call and, if it is known, the line that wrote.
        """
        for array in saved(node):
            write = WRITES.get(id(owner(array)))
            if write is not None and write.number > node.number and matters(node, gradient, array):
                raise GraphError(
                    f"an array of shape {array.shape} that {node.rule.name} saved for its derivative was overwritten "
                    f"before backward(), by {':'.join(map(str, write.by))}; call backward() first, or compute a new "
                    "array instead of writing in place"
                )


CHECK = Check()


def watches_of(nodes: Sequence[Any]) -> tuple[Watch, ...]:
    """The context's watches for a backward pass; with a `Check` if there was a write since the first of the calls."""
    watches = state.get().watches
    return (*watches, CHECK) if nodes and since(nodes[-1].number) else watches


def saved(node: Any) -> list[np.ndarray]:
    """All arrays that a call keeps: its arguments, those in lists among them, and its result."""
    return arrays([*(node.args or ()), *node.kwargs.values(), node.out])


def arrays(value: Any) -> list[np.ndarray]:
    if isinstance(value, (list, tuple)):
        return [array for item in value for array in arrays(item)]
    return [value] if isinstance(value, np.ndarray) else []


class Overwritten:
    """Stands for an array whose elements are lost: it has a shape and a dtype, and anything else raises an error."""

    def __init__(self, array: np.ndarray) -> None:
        self.shape, self.dtype, self.ndim, self.size = array.shape, array.dtype, array.ndim, array.size

    def __len__(self) -> int:
        return self.shape[0]

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function not in OUTLINES:
            raise TypeError(f"numpy.{function.__name__} asks for elements")
        return function(*(np.broadcast_to(NONE.astype(x.dtype), x.shape) if x is self else x for x in args), **kwargs)

    __array_ufunc__ = None


OUTLINES = frozenset([np.shape, np.ndim, np.size, np.result_type, np.iscomplexobj, np.zeros_like, np.ones_like])
"""Functions that depend on the shape and dtype of an array alone."""

NONE = np.zeros(())


def matters(node: Any, gradient: Any, array: np.ndarray) -> bool:
    """Whether a call's derivatives depend on the elements of one of its arrays: whether they can do without them."""
    lost = Overwritten(array)
    args, out = replaced(list(node.args or ()), array, lost), replaced(node.out, array, lost)
    kwargs = {name: replaced(value, array, lost) for name, value in node.kwargs.items()}
    for parent, vjp in zip(node.parents, node.rule.vjps, strict=False):
        if parent is not None and vjp is not None:
            try:
                vjp(plain(gradient), out, *(args if node.rule.positional else ()), **kwargs)
            except Exception:  # whatever it was about to do with the elements
                return True
    return False


def plain(value: Any) -> Any:
    """Arrays in the place of Tensors and numbers."""
    if isinstance(value, Parts):
        return Parts({i: plain(part) for i, part in value.items()})
    return np.asarray(getattr(value, "array", value))


def replaced(value: Any, array: np.ndarray, other: Any) -> Any:
    """The same value, or list, with something else in the place of an array."""
    if isinstance(value, (list, tuple)):
        items = [replaced(item, array, other) for item in value]
        return items if isinstance(value, list) else tuple(items)
    return other if value is array else value
