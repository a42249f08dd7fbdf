"""How a drawing puts things into words: calls with their options, shapes, modules."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_np.debug.places import module_path
from tinygrad_np.engine import Node
from tinygrad_np.gradients import outline
from tinygrad_np.nn import Module
from tinygrad_np.recording import Scope

__all__ = ["call_options", "call_title", "counted", "module_kind", "scope_path", "scope_title", "shape_line"]

WITH_A_NUMBER = {  # how a call reads if its first argument is a number, and if its second is
    "add": ("add {}", "add {}"),
    "subtract": ("subtract from {}", "subtract {}"),
    "multiply": ("multiply by {}", "multiply by {}"),
    "divide": ("divide {} by", "divide by {}"),
    "power": ("{} to the power", "power {}"),
    "maximum": ("maximum with {}", "maximum with {}"),
    "minimum": ("minimum with {}", "minimum with {}"),
}
INDEXING = ("getitem", "assign")


def call_title(node: Node) -> str:
    """The function's name, or "multiply by 2" if it was given nothing but a number besides."""
    name = node.rule.name
    numbers = _numbers(node)
    if len(numbers) == 1 and name in WITH_A_NUMBER and numbers[0][0] < 2:
        position, number = numbers[0]
        name = WITH_A_NUMBER[name][position].format(_word(number))
    return f"{node.name} = {name}" if node.name else name


def call_options(node: Node) -> str:
    """The arguments that are not arrays, such as "axis=0", except those that the title or the output's shape tells."""
    name = node.rule.name
    numbers = _numbers(node)
    if name in INDEXING:
        return next((f"[{_index(value)}]" for i, value in numbers if i == 1), "")
    options = []
    if name not in WITH_A_NUMBER or len(numbers) != 1:
        code = next(vjp for vjp in node.rule.vjps if vjp is not None).__code__
        names = code.co_varnames[2 : code.co_argcount]  # without g and out
        options = [
            f"{names[i]}={_word(value)}" if i < len(names) and not isinstance(value, str) else _word(value)
            for i, value in numbers
            if value != getattr(node.out, "shape", None)
        ]
    return ", ".join([*options, *(f"{name}={_word(value)}" for name, value in node.kwargs.items())])


def _numbers(node: Node) -> list[tuple[int, Any]]:
    """The arguments that are numbers, words, or tuples of them, with their positions."""
    kinds = (int, float, complex, str, tuple, slice, np.generic)
    return [
        (i, arg)
        for i, (arg, parent) in enumerate(zip(node.args or (), node.parents, strict=False))
        if parent is None and (isinstance(arg, kinds) or (isinstance(arg, np.ndarray) and arg.ndim == 0))
    ]


def _word(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.ndim:
        return f"array of shape {value.shape}"
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.item()
    if isinstance(value, float):
        return f"{value:.6g}"
    return _slice(value) if isinstance(value, slice) else "..." if value is Ellipsis else str(value)


def _index(index: Any) -> str:
    parts = index if isinstance(index, tuple) else (index,)
    return ", ".join("array" if isinstance(part, np.ndarray) and part.ndim else _word(part) for part in parts)


def _slice(part: slice) -> str:
    start, stop, step = ("" if n is None else str(n) for n in (part.start, part.stop, part.step))
    return f"{start}:{stop}" + (f":{step}" if step else "")


def shape_line(node: Node) -> str:
    """The shape and dtype of what a node made, "(32, 10) float32"."""
    shapes = node.out if node.args is None else outline(node.out)
    if node.rule.residuals:
        shapes = shapes[0]
    if isinstance(shapes, list):
        return f"{len(shapes)} outputs: {', '.join(str(shape) for shape, _ in shapes)}"
    return "{} {}".format(*shapes)


def counted(count: int, name: str) -> str:
    """A count with its noun: "1,024 operations"."""
    return f"{count:,} {name}{'s' * (count != 1)}"


def module_kind(module: Module) -> str:
    """A module's class and options, "Linear(784, 128)"; only the class if it holds modules."""
    options = "" if any(isinstance(value, Module) for value in vars(module).values()) else module.extra_repr()
    return f"{type(module).__name__}({options})" if options else type(module).__name__


def scope_path(scope: Scope, paths: dict[Module, str]) -> str:
    """The dotted name of the called module: in the model, or else along the calls; empty for an outermost one."""
    module = scope.module()
    path = paths[module] if module in paths else module_path(scope)
    return "" if "?" in path else path


def scope_title(scope: Scope, paths: dict[Module, str], call: int) -> str:
    """For example "layers.0 - Linear(784, 128)"."""
    module = scope.module()
    kind = scope.kind.__name__ if module is None else module_kind(module)
    path = scope_path(scope, paths)
    return " - ".join(filter(None, (path, kind))) + (f" (call {call})" if call > 1 else "")
