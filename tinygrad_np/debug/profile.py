"""Profiling: where the time of a computation goes, and how much memory its calls take."""

from __future__ import annotations

__docformat__ = "google"

import contextlib
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate
from time import perf_counter
from typing import Any

import numpy as np

from tinygrad_np.debug.places import calls, module_path, note_line
from tinygrad_np.debug.tables import Blocks, Printed, aligned, in_bytes, in_seconds
from tinygrad_np.derivatives.table import ITEM, PACK, Parts
from tinygrad_np.engine import Node
from tinygrad_np.errors import ArgumentError
from tinygrad_np.recording import Context, Scope, watching
from tinygrad_np.tensor import Tensor

__all__ = ["Cost", "Profile", "owners", "profile"]

OTHER, OUTSIDE = "other: Python, unrecorded", "outside of modules"


def profile() -> Context[Profile]:
    """Measure the time and the new memory of every recorded call of this thread, and of its derivatives.

    The `Profile` that it gives prints as a table, the most expensive operation first. Its `table("module")` has a row
    for each module, including the modules in it, and `table("place")` one for each line of your code; `rows` gives the
    same as data. `visualize.draw(..., costs=True)` shows the costs of each call of a graph that was made inside.

    Time is counted once. Forward is the time of the recorded NumPy calls, and backward that of their derivatives; with
    `create_graph=True` the calls that a derivative consists of are recorded too, and count as forward calls of their
    own. A step of an optimizer has a row of its own, such as "Adam.step". The rest of the time is in the row "other":
    Python between the calls, calls that are not recorded, such as those of data loading, and the profiler itself. The
    profiler takes about 25 us for each recorded call and its derivatives, some 10% of a training step of a
    784-128-10 network at batch 128. Do not combine it with `detect_anomaly` or `trace`, which distort the times. Of
    a compiled function the rows are the calls of its program.

    Memory is that of the arrays that calls and derivatives return, except those that share it with an argument. It
    counts what was newly allocated, not what was in use at any one time.

    >>> from tinygrad_np import Tensor, debug
    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> with debug.profile() as profile:
    ...     np.exp(x).backward([1.0, 1.0])
    >>> print(profile)
    operation                  calls  forward  backward      time  bytes   share
    -----------------------------------------...
    exp                            1  ...                            32 B  ...%
    other: Python, unrecorded      -        -         -  ...            -  ...%
    -----------------------------------------...
    total                          1  ...                            32 B 100.0%
    """
    return Context(_profiling)


@contextlib.contextmanager
def _profiling() -> Iterator[Profile]:
    result = Profile()
    try:
        with watching(result):
            yield result
    finally:
        result.stop()


@dataclass(slots=True)
class Cost:
    """What some calls and their derivatives, or an optimizer's steps, took.

    Attributes:
        name: the operation; or the module, after the class of the outermost one, as in "MnistMLP.layers.0"; or the
            place, as in "train.py:12".
        calls: how many there were.
        forward_seconds, forward_bytes: the time of the calls, and the new memory of their results.
        backward_seconds, backward_bytes: the same for their derivatives.
        seconds: the time of both, or of the steps.
        share: that time as a fraction, from 0 to 1, of the time of the whole profile.
    """

    name: str
    calls: int = 0
    forward_seconds: float = 0.0
    forward_bytes: int = 0
    backward_seconds: float = 0.0
    backward_bytes: int = 0
    seconds: float = 0.0
    share: float = 0.0

    def add(self, other: Cost) -> None:
        """Add the costs of other calls."""
        for name in ("calls", "forward_seconds", "forward_bytes", "backward_seconds", "backward_bytes", "seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Profile(Printed):
    """What `profile` gives; prints as a table.

    It is a watch that keeps names and sums only, so it grows with the code, not with the running time.

    Attributes:
        seconds: the time inside the `with`; while that is open, until now.
    """

    def __init__(self) -> None:
        self._costs: dict[tuple[str, str, str], Cost] = {}  # by operation, module and place
        # `_clock` is when the next derivative began; all time before `_counted` already belongs to some cost.
        self._started = self._counted = self._clock = perf_counter()
        self._stopped: float | None = None
        self._paths: dict[tuple[Any, ...], str] = {}  # by the modules' weak references: searching is slow
        self._known: dict[int, int] = {}  # owners of the memory of the gradient that is being passed on
        self._derivatives = 0.0, 0  # time and memory of the derivatives of the current call so far
        self._programs = False  # whether the derivative was a compiled program, whose calls are counted one by one

    @property
    def seconds(self) -> float:
        """The time inside the `with`; while that is open, until now."""
        return (self._stopped or perf_counter()) - self._started

    def stop(self) -> None:
        """End the measurement."""
        self._stopped = perf_counter()

    def rows(self, by: str = "operation") -> list[Cost]:
        """The costs by operation, module or place, the highest first, and then the rest of the time.

        A module's costs include those of the modules in it, whose rows come right after it. The shares add up to 1 over
        rows of which none is part of another.

        Args:
            by: "operation", "module" or "place".

        Returns:
            A `Cost` for each.

        Raises:
            ArgumentError: `by` is something else.
        """
        if by not in ("operation", "module", "place"):
            raise ArgumentError(f'by must be "operation", "module" or "place", not {by!r}')
        rows: dict[str, Cost] = {}
        for (operation, module, place), cost in self._costs.items():
            for name in {"operation": [operation], "module": _enclosing(module), "place": [place]}[by]:
                rows.setdefault(name, Cost(name)).add(cost)

        def rank(row: Cost) -> list[tuple[float, str]]:
            names = _enclosing(row.name) if by == "module" else [row.name]
            return [(-rows[name].seconds, name) for name in names]

        seconds = self.seconds
        costs = [*sorted(rows.values(), key=rank), Cost(OTHER, seconds=seconds - self._total().seconds)]
        for row in costs:
            row.share = row.seconds / seconds
        return costs

    def _total(self) -> Cost:
        """The costs of all recorded calls together."""
        total = Cost("total")
        for cost in self._costs.values():
            total.add(cost)
        return total

    def table(self, by: str = "operation") -> str:
        """The rows as text, with a total. The bytes are those of forward and backward together.

        Args:
            by: "operation", "module" or "place".

        Returns:
            The table.

        Raises:
            ArgumentError: `by` is something else.
        """
        return aligned(*self.blocks(by))

    def blocks(self, by: str = "operation") -> Blocks:
        """The cells of that table, without a rule between head, rows and total."""
        header = [by, "calls", "forward", "backward", "time", "bytes", "share"]
        rows = [_cells(row, by) for row in self.rows(by)]
        total = replace(self._total(), seconds=self.seconds, share=1.0)
        return [header], rows, [_cells(total, by)]

    # The watch

    def recorded(self, node: Node, seconds: float) -> None:
        now = perf_counter()
        seconds = min(seconds, now - self._counted)  # without the time of calls recorded inside this one
        args: Any = node.args
        view = type(node.out) is not np.ndarray or node.out.base is not None
        taken = _new_memory(node.out, owners(args) if view else set(map(id, args)))
        note_line(node)
        self._notes(node).update(seconds=seconds, bytes=taken)
        self._add(self._key(node), seconds, taken)
        self._until(now, seconds)

    def ran(self, call: Any, backward: bool, seconds: float, taken: int) -> None:
        """A call of a compiled program was made."""
        now = perf_counter()
        key = getattr(call.function, "__name__", "?"), call.module or OUTSIDE, "{}:{}".format(*call.place)
        self._add(key, seconds, taken, backward)
        self._programs = True
        self._until(now, seconds)

    def stepped(self, optimizer: Any, place: str, seconds: float) -> None:
        """An optimizer took a step."""
        cost = self._costs.setdefault((f"{type(optimizer).__name__}.step", "optimizer", place), Cost(""))
        cost.calls += 1
        cost.seconds += seconds
        self._counted = perf_counter()

    def reached(self, node: Node, gradient: Any) -> None:
        self._programs = False
        self._known = owners(gradient.values() if isinstance(gradient, Parts) else [gradient])
        self._derivatives = 0.0, 0
        self._clock = perf_counter()

    def derived(self, node: Node, parent: Node, contribution: Any) -> None:
        seconds = perf_counter() - self._clock
        if node.rule is not ITEM and node.rule is not PACK and not self._programs:
            taken = _new_memory(contribution, self._known)
            self._add(self._key(node), seconds, taken, backward=True)
            self._derivatives = self._derivatives[0] + seconds, self._derivatives[1] + taken
            self._notes(node).update(backward_seconds=self._derivatives[0], backward_bytes=self._derivatives[1])
        self._counted = self._clock = perf_counter()

    def _add(self, key: tuple[str, str, str], seconds: float, taken: int, backward: bool = False) -> None:
        """Count a call, or its derivative."""
        cost = self._costs.get(key) or self._costs.setdefault(key, Cost(""))
        cost.seconds += seconds
        if backward:
            cost.backward_seconds += seconds
            cost.backward_bytes += taken
        else:
            cost.calls += 1
            cost.forward_seconds += seconds
            cost.forward_bytes += taken

    def _until(self, now: float, seconds: float) -> None:
        """All time is counted now. A derivative that is made of recorded calls does not count theirs again."""
        self._counted = perf_counter()
        self._clock += seconds + self._counted - now

    def _notes(self, node: Node) -> dict[str, Any]:
        if node.notes is None:
            node.notes = {}
        return node.notes

    def _key(self, node: Node) -> tuple[str, str, str]:
        """The operation, the module and the place of a call."""
        notes = self._notes(node)
        if "module" not in notes:
            notes["module"] = self._module(node.scope)
        return node.rule.name, notes["module"], notes.get("place", "before the profile")

    def _module(self, scope: Scope | None) -> str:
        """The dotted path of a module call, after the class of the outermost module."""
        if scope is None or scope.kind is None:
            return OUTSIDE
        enclosing = calls(scope)
        modules = tuple([call.module for call in enclosing])
        path = self._paths.get(modules)
        if path is None:
            names = enclosing[0].kind.__name__, module_path(scope)
            path = self._paths[modules] = ".".join(filter(None, names))
        return path


def _enclosing(module: str) -> list[str]:
    """The dotted paths of a module and of all modules around it, the outermost first."""
    return list(accumulate(module.split("."), "{}.{}".format))


def owners(values: Iterable[Any]) -> dict[int, int]:
    """Map `id(owner)` to bytes, for every buffer behind `values`: arrays, Tensors, and lists of them."""
    found: dict[int, int] = {}
    for value in values:
        if isinstance(value, (list, tuple)):
            found |= owners(value)
        elif isinstance(value, (np.ndarray, np.generic, Tensor)):
            owner: Any = value.array if isinstance(value, Tensor) else value
            while (base := getattr(owner, "base", None)) is not None:
                owner = base
            found[id(owner)] = getattr(owner, "nbytes", 0)
    return found


def _new_memory(value: Any, known: Container[int]) -> int:
    """The bytes of the arrays in `value` whose owners are not among the known ones."""
    if type(value) is np.ndarray and value.base is None:  # the usual case, faster
        return 0 if id(value) in known else value.nbytes
    return sum(size for owner, size in owners([value]).items() if owner not in known)


def _cells(row: Cost, by: str) -> list[str]:
    """The cells of a row of the table."""
    name = row.name
    if by == "module":  # under the row of the module that holds it
        name = "  " * name.count(".") + name.rpartition(".")[2]
    return [
        name,
        str(row.calls or "-"),
        in_seconds(row.forward_seconds),
        in_seconds(row.backward_seconds),
        in_seconds(row.seconds),
        in_bytes(row.forward_bytes + row.backward_bytes),
        f"{row.share:.1%}",
    ]
