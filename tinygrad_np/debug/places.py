"""Where a call was made: the line of the user's code, and the module, by names that the user knows."""

from __future__ import annotations

import traceback
from itertools import pairwise
from typing import Any

from tinygrad_np.derivatives.table import LEAF
from tinygrad_np.engine import Node
from tinygrad_np.errors import NOT_THE_USERS, users_line
from tinygrad_np.recording import Scope
from tinygrad_np.tensor import Tensor

__all__ = ["calls", "defined", "line", "line_of", "module_path", "note_line", "parameter_name", "short"]


def line() -> str:
    """The line of code being executed, "file.py:12": the innermost one outside this package and NumPy."""
    return "{}:{}".format(*users_line())


def short(place: str) -> str:
    """A place, "file.py:12", without the directories of the file."""
    return place.replace("\\", "/").rpartition("/")[2]


def line_of(error: Exception) -> str:
    """The innermost line of the user's code that an exception came from: "train.py:12", or "" if there is none."""
    frames = traceback.extract_tb(error.__traceback__)
    mine = [frame for frame in frames if not frame.filename.startswith((*NOT_THE_USERS, "<"))]
    return short(f"{mine[-1].filename}:{mine[-1].lineno}") if mine else ""


def defined(function: Any, name: str) -> str:
    """A function's part in the set-up, and the line where it begins."""
    code = getattr(function, "__code__", None)
    return name if code is None else f"{name}, {short(code.co_filename)}:{code.co_firstlineno}"


def note_line(node: Node) -> None:
    """Note in a call that was just recorded which line of the user's code made it, as "place"."""
    if node.notes is None:
        node.notes = {}
    if "place" not in node.notes:
        node.notes["place"] = line()


def calls(scope: Scope | None) -> list[Scope]:
    """The module calls around a call that was made in `scope`, the outermost first."""
    enclosing: list[Scope] = []
    while scope is not None:
        if not scope.name:
            enclosing.insert(0, scope)
        scope = scope.outer
    return enclosing


def module_path(scope: Scope | None) -> str:
    """The dotted name, as in `named_modules`, of `scope`'s module within the outermost module being called.

    Empty for that outermost module itself, and outside of all modules.
    """
    modules = [call.module() for call in calls(scope)]
    return ".".join(_attribute(outer, inner) for outer, inner in pairwise(modules))


def parameter_name(node: Node, scope: Scope | None) -> str | None:
    """The dotted name, as in `named_parameters`, of a leaf that a module being called holds; else None."""
    if node.rule is not LEAF:
        return None
    for call in reversed(calls(scope)):
        module = call.module()
        if module is not None:
            for name, value in (*vars(module).items(), *module.named_parameters()):
                if isinstance(value, Tensor) and value.node is node:
                    return ".".join(filter(None, (module_path(call), name)))
    return None


def _attribute(outer: Any, inner: Any) -> str:
    """The dotted name of one module within another, or "?" if it is not found."""
    if outer is None or inner is None:
        return "?"
    return next((name for name, value in outer.named_modules() if value is inner and name), "?")
