"""What must not have changed for a program to fit, besides its arguments: what its function finds elsewhere."""

from __future__ import annotations

import dis
import inspect
from collections.abc import Callable, Iterator
from functools import partial
from types import CodeType
from typing import Any

import numpy as np

from tinygrad_np.engine import Box
from tinygrad_np.errors import TraceError

__all__ = ["Attributes", "Randomness", "Surroundings"]


class Surroundings:
    """The variables that a function, and the user's functions that it calls, find outside of themselves.

    Attributes:
        found: for each, how to read it, and what it was.
    """

    def __init__(self, function: Any) -> None:
        self.found: list[tuple[Callable[[], Any], Any]] = []
        known: set[int] = set()
        functions = [function]
        while functions:
            function = functions.pop()
            if isinstance(function, partial):
                function = function.func
            function = inspect.unwrap(getattr(function, "__func__", function))
            if id(function) in known or not inspect.isfunction(function):
                continue
            known.add(id(function))
            found = [(partial(getattr, cell, "cell_contents"), cell) for cell in function.__closure__ or ()]
            pairs = [(read, cell.cell_contents) for read, cell in found if filled(cell)]
            if not (function.__module__ or "").startswith("tinygrad_np."):
                variables = function.__globals__
                names = [name for name in dict.fromkeys(globals_of(function.__code__)) if name in variables]
                pairs += [(partial(variables.get, name), variables[name]) for name in names]
            self.found += pairs
            functions += [value for _, value in pairs]

    def reader(self, value: Any) -> Callable[[], Any] | None:
        """How to read a Tensor anew, which may then be another one at every call."""
        for pair in self.found:
            if pair[1] is value:
                self.found.remove(pair)
                return pair[0]
        return None

    def holds(self) -> bool:
        return all(read() is value for read, value in self.found)


def filled(cell: Any) -> bool:
    """Whether the variable has a value yet."""
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def globals_of(code: CodeType) -> Iterator[str]:
    """The names of the global variables that a function reads, also in the functions within it."""
    yield from (step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"))
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from globals_of(constant)


class Randomness:
    """The random generators that a function may draw from: what it draws itself would be the same at every run."""

    def __init__(self) -> None:
        self.known: dict[int, tuple[str, Callable[[], Any], Any]] = {}
        self.add("numpy.random", np.random.get_state)

    def add(self, name: str, value: Any) -> None:
        """Note the state of a generator; other values are passed over."""
        read = value
        if isinstance(value, np.random.Generator):
            read = partial(getattr, value.bit_generator, "state")
        elif isinstance(value, np.random.RandomState):
            read = value.get_state
        elif value is not np.random.get_state:
            return
        self.known.setdefault(id(value), (name, read, comparable(read())))

    def require_unchanged(self) -> None:
        """Refuse what has drawn numbers.

        Raises:
            TraceError: a generator is in another state than it was.
        """
        for name, read, before in self.known.values():
            if comparable(read()) != before:
                raise TraceError(
                    f"random numbers drawn from {name} would be the same at every call of the compiled function; draw "
                    "them outside and pass them in, or use functional.dropout"
                )


def comparable(state: Any) -> Any:
    """A generator's state, which is made of dicts, tuples, arrays and numbers, as tuples, bytes and numbers."""
    if isinstance(state, dict):
        state = tuple(state.values())
    if isinstance(state, tuple):
        return tuple(map(comparable, state))
    return state.tobytes() if isinstance(state, np.ndarray) else state


class Attributes:
    """The attributes of a module, but for parameters and what else the program reads anew.

    Attributes:
        values: by name, with the items of those that are lists and dicts; compared by identity.
        arrays: by name, with a copy; compared by value.
    """

    def __init__(self, module: Any) -> None:
        self.module = module
        attributes = [(name, value) for name, value in vars(module).items() if not isinstance(value, Box)]
        arrays = [(name, value) for name, value in attributes if isinstance(value, np.ndarray)]
        ours = type(module).__module__.startswith("tinygrad_np.")  # whose arrays are the program's inputs
        self.arrays = [(name, array, array.copy()) for name, array in arrays if not ours]
        others = [(name, value) for name, value in attributes if not isinstance(value, np.ndarray)]
        self.values = [(name, value, items(value)) for name, value in others]
        self.training = module.training

    def changed(self) -> str | None:
        """The name of an attribute that is not what it was."""
        now = vars(self.module)
        if self.module.training is not self.training:
            return "training"
        for name, value, within in self.values:
            if now.get(name) is not value or (within and items(value) != within):
                return name
        for name, value, was in self.arrays:
            if now.get(name) is not value or not np.array_equal(value, was, equal_nan=was.dtype.kind in "fc"):
                return name
        return None

    def holds(self) -> bool:
        return self.changed() is None


def items(value: Any) -> list[int] | None:
    """The identities of the items of a list or dict."""
    if isinstance(value, (list, dict)):
        return [*map(id, value.values() if isinstance(value, dict) else value)]
    return None
