"""Where a call was made: the line of the user's code, and the module, by names that the user knows."""

from __future__ import annotations

import functools
import inspect
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_np.derivatives.table import LEAF
from tinygrad_np.engine import Node
from tinygrad_np.recording import Scope
from tinygrad_np.tensor import Tensor

__all__ = ["NOT_THE_USERS", "calls", "line", "module_path", "note_line", "parameter_name"]

NOT_THE_USERS = (f"{Path(__file__).parents[1]}{os.sep}", f"{Path(np.__file__).parent}{os.sep}", functools.__file__)


def line() -> str:
    """The line of code being executed, "file.py:12": the innermost one outside this package and NumPy."""
    frame: Any = inspect.currentframe()
    while frame.f_back and frame.f_code.co_filename.startswith(NOT_THE_USERS):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


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
