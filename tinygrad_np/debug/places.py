"""Where things happened: the line of the user's code, and the module, by names that the user knows."""

from __future__ import annotations

import os
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_np.derivatives.table import LEAF
from tinygrad_np.engine import Node
from tinygrad_np.recording import Scope
from tinygrad_np.tensor import Tensor

NOT_THE_USERS = (f"{Path(__file__).parents[1]}{os.sep}", f"{Path(np.__file__).parent}{os.sep}")


def line() -> str:
    """The file and line, "file.py:12", outside of this package and NumPy, that is being executed."""
    frame: Any = sys._getframe(1)
    while frame.f_back and frame.f_code.co_filename.startswith(NOT_THE_USERS):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def note_line(node: Node) -> None:
    """Note with a call that was just recorded where in the user's code it was made, as "place"."""
    if node.notes is None:
        node.notes = {}
    if "place" not in node.notes:
        node.notes["place"] = line()


def calls(scope: Scope | None) -> list[Scope]:
    """The module calls that enclose a call made in `scope`, the outermost first."""
    enclosing: list[Scope] = []
    while scope is not None:
        enclosing.insert(0, scope)
        scope = scope.outer
    return enclosing


def module_path(scope: Scope | None) -> str:
    """The dotted attribute names, as in `named_modules`, from the outermost module that is being called to `scope`'s.

    Empty in the outermost module itself, and outside of all.
    """
    modules = [call.module() for call in calls(scope)]
    return ".".join(_attribute(outer, inner) for outer, inner in pairwise(modules))


def parameter_name(node: Node, scope: Scope | None) -> str | None:
    """The dotted name, as in `named_parameters`, of the leaf `node` if a module that is being called holds it."""
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
    if outer is None or inner is None:
        return "?"
    return next((name for name, value in outer.named_modules() if value is inner and name), "?")
