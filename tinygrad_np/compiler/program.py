"""The second step: a program of two parts, the forward pass and the backward pass, as Python text that is then run.

Calls whose results nobody needs are dropped, and of equal calls one is made. What the backward pass needs of the
forward pass is handed over as a tuple, `saved`.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tinygrad_np.compiler.plan import plan
from tinygrad_np.compiler.trace import Call, Variable, variables_in
from tinygrad_np.derivatives.table import EFFECTS, Parts

__all__ = ["Program", "ShapeChanged"]


class ShapeChanged(Exception):  # noqa: N818 (not an error)
    """A value has another shape than when it was traced."""


class Program:
    """What a trace has become.

    Attributes:
        forward: takes the inputs, and gives the results and what the backward pass needs.
        backward: takes the gradients of the results and what was saved, and gives those of the inputs.
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
        self.plan = plan(self.before, self.after, given, self.saved, [*outs, *gradients])
        self.spare: list[list[np.ndarray]] = []
        self.names = names_of(
            [
                *inputs,
                *(v for call in self.before for v in call.outs),
                *starts,
                *(v for call in self.after for v in call.outs),
            ],
            inputs,
        )
        self.scope: dict[str, Any] = {"np": np, "same_shape": same_shape}
        self.text = self.write()
        exec(compile(self.text, "<compiled>", "exec"), self.scope)
        self.forward: Callable[..., Any] = self.scope["forward"]
        self.backward: Callable[..., Any] = self.scope["backward"]

    def write(self) -> str:
        """The two functions as text."""
        outs, saved = self.tuple_of(self.outs), self.tuple_of(self.saved)
        buffers = self.buffers()
        lines = [f"def forward({', '.join([*(self.names[v] for v in self.inputs), 'buffers'])}):", *buffers]
        lines += [f"    {line}" for call in self.before for line in self.lines(call)]
        lines += [f"    return {outs}, {saved}", "", ""]
        lines += [f"def backward({', '.join([*(self.names[v] for v in self.starts), 'saved', 'buffers'])}):", *buffers]
        if self.saved:
            lines.append(f"    {saved} = saved")
        lines += [f"    {line}" for call in self.after for line in self.lines(call)]
        lines += [f"    return {self.tuple_of(self.gradients)}", ""]
        return "\n".join(lines)

    def buffers(self) -> list[str]:
        """The line that names the buffers."""
        names = "".join(f"buffer_{i}, " for i in range(len(self.plan.buffers)))
        return [f"    ({names}) = buffers"] if names else []

    def workspace(self) -> Workspace:
        """Buffers for one run: those of a run that has ended, or new ones."""
        try:
            return Workspace(self.spare.pop(), self.spare)
        except IndexError:
            return Workspace([np.empty(shape, dtype) for shape, dtype in self.plan.buffers], self.spare)

    def tuple_of(self, variables: Iterable[Variable]) -> str:
        return "(" + "".join(f"{self.names[v]}, " for v in variables) + ")"

    def lines(self, call: Call) -> list[str]:
        targets = [self.names[v] for v in call.outs]
        left = f"{', '.join(targets)}{',' * (len(targets) == 1 and call.several)} = " if targets else ""
        lines = [left + self.expression(call)]
        if may_change_shape(call):
            lines += [f"same_shape({self.names[v]}, {v.shape})" for v in call.outs]
        return lines

    def expression(self, call: Call) -> str:
        args = [self.word(arg) for arg in call.args]
        options = [f"{name}={self.word(arg)}" for name, arg in call.kwargs.items()]
        place = self.plan.places.get(call)
        if place is not None:
            options.append(f"out={f'buffer_{place}' if isinstance(place, int) else self.names[place]}")
        if call.function is np.transpose and len(args) == 1 and not options:
            return f"{args[0]}.T"
        if call.function in METHODS and len(args) == 2 and not options:
            return f"{args[0]}.{METHODS[call.function]}({args[1]})"
        if call.function in REDUCED and len(args) == 1 and call.kwargs.get("axis") is not None:
            return f"np.{REDUCED[call.function]}.reduce({', '.join([*args, *options])})"
        return f"{self.function_name(call.function)}({', '.join([*args, *options])})"

    def function_name(self, function: Any) -> str:
        """How the text calls a function: NumPy's as users write it, ours by its name."""
        module, name = getattr(function, "__module__", None) or "numpy", getattr(function, "__name__", "")
        path = f"np.{module.removeprefix('numpy').strip('.')}.{name}".replace("..", ".")
        for dotted in (f"np.{name}", path):
            found: Any = np
            for part in dotted.split(".")[1:]:
                found = getattr(found, part, None)
            if found is function:
                return dotted
        return self.constant(function, name or "function")

    def word(self, value: Any) -> str:
        """An argument as text. What has no text of its own gets a name."""
        if isinstance(value, Variable):
            return self.names[value]
        if isinstance(value, Parts):
            return (
                self.constant(Parts, "Parts")
                + "({"
                + ", ".join(f"{i}: {self.word(v)}" for i, v in value.items())
                + "})"
            )
        if isinstance(value, dict):
            return "{" + ", ".join(f"{key!r}: {self.word(item)}" for key, item in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(map(self.word, value)) + "]"
        if isinstance(value, tuple):
            return "(" + "".join(f"{self.word(item)}, " for item in value) + ")"
        if isinstance(value, slice):
            return f"slice({self.word(value.start)}, {self.word(value.stop)}, {self.word(value.step)})"
        if value is None or value is Ellipsis or type(value) in (int, str, bool):
            return repr(value)
        if type(value) is float and np.isfinite(value):
            return repr(value)
        return self.constant(value, "constant")

    def constant(self, value: Any, name: str) -> str:
        """The name of a value that stands beside the text."""
        for known, other in self.scope.items():
            if other is value:
                return known
        name = identifier(name)
        free = next(
            n for n in [name, *(f"{name}_{i}" for i in range(2, 10**6))] if n not in self.scope and n not in self.taken
        )
        self.scope[free] = value
        return free

    @property
    def taken(self) -> set[str]:
        return set(self.names.values())


METHODS: dict[Any, str] = {np.reshape: "reshape", np.astype: "astype"}
REDUCED: dict[Any, str] = {np.sum: "add", np.max: "maximum", np.min: "minimum", np.prod: "multiply"}


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


def names_of(variables: Iterable[Variable], inputs: Sequence[Variable]) -> dict[Variable, str]:
    """A name for each variable: that of the argument, the parameter or the function, with a number if need be."""
    names: dict[Variable, str] = {}
    taken: set[str] = {"np", "saved", "buffers", "forward", "backward"}
    counts: dict[str, int] = {}
    for variable in variables:
        if variable in names:
            continue
        name = identifier(variable.name)
        if variable not in inputs:
            counts[name] = counts.get(name, 0) + 1
            name = f"{name}_{counts[name]}"
        while name in taken:
            name += "_"
        taken.add(name)
        names[variable] = name
    return names


def identifier(name: str) -> str:
    word = re.sub(r"\W", "_", name).strip("_") or "value"
    return f"{word}_" if keyword.iskeyword(word) else f"p{word}" if word[0].isdigit() else word
