"""Anomaly detection: finding the call where something went wrong, instead of where it came to light.

Within `detect_anomaly` every recorded call is looked at when it is made, and what it saved is looked at again before
its derivative is taken.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygrad_np.debug.places import note_line
from tinygrad_np.errors import AnomalyError
from tinygrad_np.graph import Node, recording


@contextlib.contextmanager
def detect_anomaly() -> Iterator[None]:
    """Within it, this thread checks every recorded call, which takes several times as long.

    Raises, at the call: AnomalyError where a call makes a value that is not finite from values that are.
    Raises, in the backward pass: AnomalyError where an array that a call saved for its derivative was overwritten.
    Both name the function, the shapes, and the file and line of the call.

    >>> from tinygrad_np import Tensor
    >>> x = Tensor([1.0, 0.0], requires_grad=True)
    >>> with np.errstate(divide="ignore"), detect_anomaly():
    ...     y = np.log(x)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    tinygrad_np.errors.AnomalyError: log, called at ..., made 1 non-finite value of 2 ...
    """
    outer = recording.watches
    recording.watches = (*outer, Detector())
    try:
        yield
    finally:
        recording.watches = outer


class Detector:
    """A watch that raises where something goes wrong."""

    def recorded(self, node: Node, seconds: float) -> None:
        check_call(node)

    def reached(self, node: Node, gradient: Any) -> None:
        if node.notes and "check" in node.notes:
            node.notes["check"]()

    def derived(self, node: Node, parent: Node, contribution: Any) -> None:
        pass


def check_call(node: Node) -> None:
    """Check a call that was just recorded, and leave with it the check of what it saved."""
    note_line(node)
    assert node.notes is not None
    place = node.notes["place"]
    saved = [value for value in (*node.args, node.out) if isinstance(value, np.ndarray)]  # type: ignore[misc]
    wrong = _non_finite(node.out)
    if wrong and not any(map(_non_finite, node.args or ())):
        inputs = ", ".join(_range(value) for value in node.args or () if isinstance(value, np.ndarray))
        raise AnomalyError(
            f"{node.rule.name}, called at {place}, made {wrong} non-finite value{'s' * (wrong > 1)} of {node.out.size} "
            f"from finite inputs: {inputs}"
        )
    checksums = [_checksum(array) for array in saved]

    def check() -> None:
        for array, checksum in zip(saved, checksums, strict=True):
            if _checksum(array) != checksum:
                raise AnomalyError(
                    f"an array of shape {array.shape} that {node.rule.name}, called at {place}, saved for its "
                    "derivative was overwritten since; write to a copy of it instead"
                )

    node.notes["check"] = check


def _non_finite(value: Any) -> int:
    """How many elements are infinite or not a number."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fc":
        return 0
    return int(value.size - np.count_nonzero(np.isfinite(value)))


def _range(array: np.ndarray) -> str:
    if not array.size or array.dtype.kind not in "fiu":
        return f"shape {array.shape} {array.dtype}"
    return f"shape {array.shape} {array.dtype} from {array.min():.4g} to {array.max():.4g}"


def _checksum(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).view(np.uint8).data)
