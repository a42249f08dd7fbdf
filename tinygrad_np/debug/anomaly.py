"""Anomaly detection: find the call where something went wrong, not the one where it came to light.

Inside `detect_anomaly` every recorded call is checked when it is made, and every derivative when it is taken. A value
that is not finite is an error where it arises, with one exception: values that were not finite to begin with, such as
the -inf of an attention mask or the NaN of missing data, may pass as long as they stay apart. They become an error once
they spread, or once the result that is differentiated depends on them.

Every call also keeps checksums of the arrays that it took and made. They are compared before its derivative is taken,
so that an array that was overwritten in between is noticed.
"""

from __future__ import annotations

import contextlib
import inspect
import zlib
from collections.abc import Iterator
from operator import attrgetter
from typing import Any

import numpy as np

from tinygrad_np.debug.messages import derivative_error, gradient_error, overwritten_error, value_error, within
from tinygrad_np.debug.places import note_line
from tinygrad_np.debug.statistics import floats, has_nan, is_finite, visible
from tinygrad_np.derivatives.table import LEAF, Parts
from tinygrad_np.engine import Node, backward
from tinygrad_np.recording import Context, Scope, watching
from tinygrad_np.tensor import Tensor
from tinygrad_np.writes import matters, saved

__all__ = ["detect_anomaly"]

PRODUCTS = ("linear", "matmul", "dot", "inner", "vecdot", "tensordot", "einsum")
BOOKKEEPING = ("pack", "item")  # nodes for a list argument and for one of several outputs: not calls of NumPy


def detect_anomaly() -> Context[None]:
    """Stop this thread at the first call or derivative that gives a value that is not finite.

    Put the forward and the backward pass inside. The error names the function, the module, and the file and line of the
    call, shows what went in and came out, and in most cases names a likely cause. It is raised

    - at a call whose result is inf or NaN although its inputs are finite;
    - at a call that takes NaN from data or a parameter and spreads it, or at a matrix product that takes in inf;
    - in the backward pass, if the result depends on a value that is not finite, wherever that came from;
    - in the backward pass, at a call whose derivative makes inf or NaN of a finite gradient;
    - in the backward pass, at a call whose derivative needs an array that has been overwritten since.

    NumPy's floating-point warnings are silenced. A call that is not recorded, because none of its inputs requires a
    gradient or because of `no_grad`, is not checked; its result is, where a recorded call uses it. A training step
    takes several times as long.

    Raises:
        AnomalyError: something went wrong.

    >>> from tinygrad_np import Tensor
    >>> x = Tensor([1.0, 0.0], requires_grad=True)
    >>> with detect_anomaly():
    ...     y = np.log(x)
    Traceback (most recent call last):
    tinygrad_np.errors.AnomalyError: log at <doctest ...>:2 made 1 of 2 values non-finite (1 -inf) from finite inputs
      input 1 (leaf): shape (2,) float64, from 0 to 1, 1 zero
      output: shape (2,) float64, all finite ones 0, 1 zero, 1 -inf
      the first is at index (1,): log(0) = -inf
      likely cause: log of 0, the logarithm of zero
      what to do: keep the argument above 0, for example with np.maximum(x, 1e-6)
    """
    return Context(_detecting)


@contextlib.contextmanager
def _detecting() -> Iterator[None]:
    with watching(Detector()), silent():
        yield


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Within it, NumPy does not warn of floating-point numbers. Unlike numpy.errstate, it survives interrupts."""
    before = np.geterr()
    try:
        np.seterr(all="ignore")
        yield
    finally:
        try:
            np.seterr(**before)
        except BaseException:
            np.seterr(**before)
            raise


class Detector:
    """A watch that raises an error where something goes wrong.

    Attributes:
        node: the call whose derivative was taken last, or None.
        gradient: the gradient with respect to its output.
        taken: the parents that its derivative has contributed to so far.
        scope, module: the module call in which the last call was made, and its name.

    In each call's notes it keeps the "place"; the "module" by name, which cannot be found any more once the module is
    gone; the "checksums" of the arrays; whether the result is "finite"; and for a call that is part of a recorded
    derivative, of which call, as "derivative of".
    """

    def __init__(self) -> None:
        self.node: Node | None = None
        self.gradient: Any = None
        self.taken: list[Node] = []
        self.scope: Scope | None = None
        self.module = ""

    def recorded(self, node: Node, seconds: float) -> None:
        note_line(node)
        assert node.notes is not None
        if self.node is not None and not in_backward():
            self.node = self.gradient = None
        if self.node is not None:
            node.notes["derivative of"] = self.node
        if node.scope is not self.scope:
            self.scope, self.module = node.scope, within(node.scope)
        node.notes["module"] = self.module
        node.notes["checksums"] = [checksum(array) for array in saved(node)]
        node.notes["finite"] = is_finite(node.out)
        # Inside a rule only the final result is checked, when it is known: rules may discard values with np.where.
        if not node.notes["finite"] and self.node is None and not may_pass(node):
            raise value_error(origin(node))

    def reached(self, node: Node, gradient: Any) -> None:
        whole = plain(gradient)
        gradient = visible(node, whole)
        self.node, self.gradient, self.taken = node, gradient, []
        if not is_finite(gradient):
            raise gradient_error(node)
        check_not_overwritten(node, whole)
        if not (node.notes or {}).get("finite"):
            for value, part in zip(floats(visible(node, node.out)), floats(gradient), strict=False):
                if (part[~np.isfinite(value)] != 0).any():
                    raise value_error(origin(node))

    def derived(self, node: Node, parent: Node, contribution: Any) -> None:
        contribution = plain(contribution)
        self.taken.append(parent)
        if not is_finite(contribution):
            raise derivative_error(node, self.gradient, contribution, self.position(parent))

    def position(self, parent: Node) -> int:
        """Which argument of the call the latest contribution to this parent is for."""
        assert self.node is not None
        pairs = enumerate(zip(self.node.parents, self.node.rule.vjps, strict=False))
        positions = [i for i, (node, vjp) in pairs if node is parent and vjp is not None]
        return positions[self.taken.count(parent) - 1]


# The checks


def in_backward() -> bool:
    """Whether a rule makes this call, in a backward pass that is itself recorded."""
    frame: Any = inspect.currentframe()
    while frame is not None and frame.f_code is not backward.__code__:
        frame = frame.f_back
    return frame is not None


def plain(value: Any) -> Any:
    """Replace Tensors by their arrays, also in lists; a dict becomes the list of its values."""
    if isinstance(value, Parts):
        return Parts({i: plain(part) for i, part in value.items()})
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value.array if isinstance(value, Tensor) else value


def may_pass(node: Node) -> bool:
    """Whether a call with a result that is not finite was given such values, and does not spread them."""
    given = [
        (array, parent) for arg, parent in zip(node.args or (), node.parents, strict=False) for array in floats(arg)
    ]
    given += [(array, None) for array in floats(list(node.kwargs.values()))]
    if not has_nan(node.out):
        if node.rule.name in PRODUCTS:  # an infinity spoils every sum of products that it enters
            return False
        return any(not np.isfinite(array).all() for array, _ in given)
    if any(parent is not None and parent.rule is LEAF and np.isnan(array).any() for array, parent in given):
        return False
    share = max(float(np.isnan(array).mean()) for array in floats(node.out) if array.size)
    return share < 1 and share <= sum(float(np.isnan(array).mean()) for array, _ in given if array.size)


def origin(node: Node) -> Node:
    """The first call that made the NaN in this call's result or, if there is none, the infinities."""
    nan = has_nan(node.out)
    found, stack = {node}, [node]
    while stack:
        for parent in stack.pop().parents:
            if parent is None or parent.rule is LEAF or parent in found or parent.args is None:
                continue
            if has_nan(parent.out) if nan else not is_finite(parent.out):
                found.add(parent)
                stack.append(parent)
    return min((node for node in found if node.rule.name not in BOOKKEEPING), key=attrgetter("number"), default=node)


def checksum(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).view(np.uint8).data) if array.dtype.kind in "biufc" else 0


def check_not_overwritten(node: Node, gradient: Any) -> None:
    """Raise an error if a saved array that the derivative depends on has changed since the call."""
    checksums = (node.notes or {}).get("checksums")
    if checksums is None or node.args is None:
        return
    for array, number in zip(saved(node), checksums, strict=True):
        if checksum(array) != number and matters(node, gradient, array):
            raise overwritten_error(node, array)
