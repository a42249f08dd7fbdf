"""The second step: a program of two parts, the forward pass and the backward pass, as Python text that is then run.

Calls whose results nobody needs are dropped, and of equal calls one is made. What the backward pass needs of the
forward pass is handed over as a tuple, `saved`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from time import perf_counter
from typing import Any, cast

import numpy as np

from tinygrad_np.compiler.plan import allocated, plan
from tinygrad_np.compiler.trace import Call, Variable, variables_in
from tinygrad_np.compiler.write import Writer
from tinygrad_np.derivatives.table import EFFECTS, Parts
from tinygrad_np.errors import PACKAGE
from tinygrad_np.recording import state

__all__ = ["Program", "ShapeChanged"]


class ShapeChanged(Exception):  # noqa: N818 (not an error)
    """A value has another shape than when it was traced."""


class Program:
    """What a trace has become.

    Attributes:
        forward: takes the inputs, and gives the results and what the backward pass needs.
        backward: takes the gradients of the results and what was saved, and gives those of the inputs.
        owns_gradients: whether each gradient is an array with memory of its own.
        timed: gives the same two functions, which report the time of each call to the watches.
    """

    def __init__(
        self,
        calls: Sequence[Call],
        boundary: int,
        inputs: Sequence[Variable],
        outs: Sequence[Variable],
        starts: Sequence[Variable],
        gradients: Sequence[Variable],
    ) -> None:
        first = {id(call) for call in calls[:boundary]}
        calls, same = merged(calls)
        outs, gradients = [same.get(v, v) for v in outs], [same.get(v, v) for v in gradients]
        needed = needed_for(calls, [*outs, *gradients])
        calls = [call for call in calls if id(call) in needed]
        self.inputs, self.outs, self.starts, self.gradients = inputs, outs, starts, gradients
        self.before = [call for call in calls if id(call) in first]
        self.after = [call for call in calls if id(call) not in first]
        made = {v for call in self.after for v in call.outs}.union(starts)
        used = [v for call in self.after for v in variables_in([call.args, call.kwargs])] + list(gradients)
        self.saved = list(dict.fromkeys(v for v in used if v not in made))
        given = [*inputs, *starts]
        self.plan = plan(self.before, self.after, given, self.saved, [*outs, *gradients], same)
        own = [v for v in gradients if self.plan.owner[v] is v and isinstance(v.source, Call) and v.shape]
        self.owns_gradients = len(set(own)) == len(gradients)
        self.spare: list[list[np.ndarray]] = []
        variables = [v for call in (*self.before, *self.after) for v in call.outs]
        writer = Writer(inputs, [*starts, *variables], self.plan.places)
        self.forward, self.backward = self.functions(writer)
        self.timed = functools.cache(lambda: self.functions(writer, timed=True))

    def functions(self, writer: Writer, timed: bool = False) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """The two functions, to be run."""
        text = self.write(writer, planned=True, timed=timed)
        scope = writer.scope | {"same_shape": same_shape, "clock": perf_counter, "report": self.report}
        exec(compile(text, f"{PACKAGE}<compiled>", "exec"), scope)
        return scope["forward"], scope["backward"]

    def write(self, writer: Writer, planned: bool, timed: bool = False) -> str:
        """The two functions as text."""
        outs, gradients, saved = map(writer.tuple_of, (self.outs, self.gradients, self.saved))
        names = "".join(f"buffer_{i}, " for i in range(len(self.plan.buffers)))
        buffers = [f"({names}) = buffers"] if planned and names else []
        unpacked = [f"{saved} = saved"] if self.saved else []
        more = ["buffers"] if planned else []
        before, after = (
            self.lines(writer, calls, timed)
            if planned
            else writer.lines(calls, {*self.outs, *self.saved, *self.gradients})
            for calls in (self.before, self.after)
        )
        forward = writer.function(
            "forward", [*map(writer.word, self.inputs), *more], [*buffers, *before], f"{outs}, {saved}"
        )
        given = [*map(writer.word, self.starts), "saved", *more]
        return f"{forward}\n\n{writer.function('backward', given, [*buffers, *unpacked, *after], gradients)}"

    def lines(self, writer: Writer, calls: Sequence[Call], timed: bool) -> list[str]:
        """The lines that are run: with a check of each result whose shape may change, and timed if that is asked."""
        lines = []
        for i, call in enumerate(calls):
            if timed:
                lines.append("started = clock()")
            lines.append(writer.assignment(call))
            if timed:
                part = "before" if calls is self.before else "after"
                lines.append(f'report("{part}", {i}, clock() - started, {writer.tuple_of(call.outs)})')
            if may_change_shape(call):
                lines += [f"same_shape({writer.names[v]}, {v.shape})" for v in call.outs]
        return lines

    def has_effects(self) -> bool:
        """Whether a call does more than return a value."""
        return any(call.function in EFFECTS for call in (*self.before, *self.after))

    def report(self, part: str, i: int, seconds: float, results: Sequence[Any]) -> None:
        """Tell the watches what a call took: its time, and new memory."""
        call = (self.before if part == "before" else self.after)[i]
        fresh = [] if call in self.plan.places else [r for r in results if getattr(r, "base", None) is None]
        taken = sum(getattr(result, "nbytes", 0) for result in fresh)
        for watch in state.get().watches:
            cast(Any, watch).ran(call, part == "after", seconds, taken)

    def source(self, planned: bool = False) -> str:
        """The text for people: it runs by itself, with nothing but NumPy."""
        variables = [v for call in (*self.before, *self.after) for v in call.outs]
        writer = Writer(self.inputs, [*self.starts, *variables], self.plan.places if planned else {})
        text = self.write(writer, planned)
        return f"{writer.definitions()}\n\n{text}"

    def workspace(self) -> Workspace:
        """Buffers for one run: those of a run that has ended, or new ones."""
        try:
            return Workspace(self.spare.pop(), self.spare)
        except IndexError:
            return Workspace(list(map(allocated, self.plan.buffers)), self.spare)


class Workspace(list[np.ndarray]):
    """The buffers of one run. When nothing refers to them any more, another run gets them."""

    def __init__(self, buffers: list[np.ndarray], spare: list[list[np.ndarray]]) -> None:
        super().__init__(buffers)
        self.spare = spare

    def __del__(self) -> None:
        self.spare.append(list(self))


def same_shape(array: Any, shape: tuple[int, ...]) -> None:
    if np.shape(array) != shape:
        raise ShapeChanged


def may_change_shape(call: Call) -> bool:
    """Whether the shape of a call's result may depend on the values of its arguments."""
    name = getattr(call.function, "__name__", "")
    if (getattr(call.function, "__module__", None) or "").startswith("tinygrad_np."):
        return False
    if isinstance(call.function, np.ufunc) or name in ("take", "take_along_axis"):
        return False
    if name in ("nonzero", "flatnonzero", "argwhere", "compress", "extract", "trim_zeros", "delete", "repeat", "where"):
        return name != "where" or len(call.args) == 1
    if name.startswith("unique") or name in ("bincount", "setdiff1d", "union1d", "intersect1d"):
        return True
    kinds = {v.dtype.kind for v in variables_in([call.args[1:], call.kwargs])}
    return "b" in kinds or (name != "getitem" and bool(kinds & {"i", "u"}))


def merged(calls: Sequence[Call]) -> tuple[list[Call], dict[Variable, Variable]]:
    """The calls without those that repeat an earlier one; and what stands for their results."""
    same: dict[Variable, Variable] = {}
    first: dict[Any, Call] = {}
    kept: list[Call] = []
    for call in calls:
        call.args, call.kwargs = renamed(call.args, same), renamed(call.kwargs, same)
        try:
            key = call.function, identity(call.args), identity(call.kwargs)
            earlier = first.setdefault(key, call)
        except TypeError:
            earlier = call
        if earlier is call or call.function in EFFECTS:
            kept.append(call)
        else:
            same.update(zip(call.outs, earlier.outs, strict=True))
    return kept, same


def renamed(value: Any, same: dict[Variable, Variable]) -> Any:
    if isinstance(value, Variable):
        return same.get(value, value)
    if isinstance(value, Parts):
        return Parts({i: renamed(part, same) for i, part in value.items()})
    if isinstance(value, dict):
        return {key: renamed(item, same) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [renamed(item, same) for item in value]
        return items if isinstance(value, list) else tuple(items)
    return value


def identity(value: Any) -> Any:
    """What two arguments have in common if and only if they are the same."""
    if isinstance(value, dict):
        return tuple((key, identity(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return (type(value), *map(identity, value))
    if isinstance(value, slice):
        return slice, identity(value.start), identity(value.stop), identity(value.step)
    if type(value) in (int, float, bool, str, complex):
        return type(value), repr(value)
    return id(value)


def needed_for(calls: Sequence[Call], results: Iterable[Variable]) -> set[int]:
    """The identities of the calls that the results need, and of those that have effects."""
    wanted = set(results)
    needed = set()
    for call in reversed(calls):
        if call.function in EFFECTS or not wanted.isdisjoint(call.outs):
            needed.add(id(call))
            wanted.update(variables_in([call.args, call.kwargs]))
    return needed
