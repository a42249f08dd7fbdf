"""How a drawing puts things into words: calls with their options, shapes, modules."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygrad_np.compiler.write import OPERATORS
from tinygrad_np.debug.places import module_path
from tinygrad_np.engine import Node
from tinygrad_np.nn import Module
from tinygrad_np.recording import Scope
from tinygrad_np.visualize.folding import arguments, inputs_of, outline_of, shape_of

__all__ = ["argument_name", "by_element", "call_options", "call_title", "changes", "counted", "expression"]
__all__ += ["marks", "module_kind", "numbers", "parameter", "scope_path", "scope_title", "shape_line"]

WITH_A_NUMBER = {  # how a call reads if its first argument is a number, and if its second is
    "add": ("add {}", "add {}"),
    "subtract": ("subtract from {}", "subtract {}"),
    "multiply": ("multiply by {}", "multiply by {}"),
    "divide": ("divide {} by", "divide by {}"),
    "power": ("{} to the power", "power {}"),
    "maximum": ("maximum with {}", "maximum with {}"),
    "minimum": ("minimum with {}", "minimum with {}"),
}
SYMBOLS = {function.__name__: symbol for function, symbol in OPERATORS.items()} | {"negative": "-"}
INDEXING = ("getitem", "assign")


def call_title(node: Node, numbered: bool = True) -> str:
    """The function's name, or "multiply by 2" if it was given nothing but a number besides."""
    name = node.rule.name
    given = numbers(node)
    if numbered and name in WITH_A_NUMBER and len(given) == 1:
        return WITH_A_NUMBER[name][min(given)].format(word(*given.values()))
    return name


def expression(node: Node, names: Mapping[int, str]) -> str:
    """A call as a reader would write it, with the names of its arguments by position: "a * b", "+", "f ** 2"."""
    symbol = SYMBOLS.get(node.rule.name)
    known = {i: word(number) for i, number in numbers(node).items()} | dict(names)
    if symbol is None:
        return call_title(node)
    if len(node.parents) == 1:
        return f"{symbol}{known.get(0, '')}"
    unknown = "·" if names else ""  # only the side of a number
    return f"{known.get(0, unknown)} {symbol} {known.get(1, unknown)}".strip()


def call_options(node: Node) -> str:
    """The arguments that are not arrays, such as "axis=0", except those that the title or the output's shape tells."""
    name, given = node.rule.name, numbers(node)
    if name in INDEXING:
        index = given.get(1, ())
        parts = index if isinstance(index, tuple) else (index,)
        return f"[{', '.join(map(word, parts))}]" if 1 in given else ""
    if name in WITH_A_NUMBER and len(given) == 1:
        given = {}
    options = [
        f"{argument}={word(value)}" if (argument := parameter(node, i)) and not isinstance(value, str) else word(value)
        for i, value in given.items()
        if not (isinstance(value, tuple) and value == shape_of(node))
    ]
    return ", ".join([*options, *(f"{name}={word(value)}" for name, value in node.kwargs.items())])


def parameter(node: Node, slot: int) -> str:
    """What the rule calls an argument, or "" if it has no name."""
    vjp = next(vjp for vjp in node.rule.vjps if vjp is not None)
    names = vjp.__code__.co_varnames[2 : vjp.__code__.co_argcount]  # without g and out
    return names[slot] if slot < len(names) and inspect.isfunction(vjp) else ""  # not of a compiled function


def argument_name(node: Node, slot: int) -> str:
    """What a function that is not NumPy's calls an argument; "" for x and the like, which say nothing."""
    vjp = next(vjp for vjp in node.rule.vjps if vjp is not None)
    name = parameter(node, slot)
    return "" if len(name) == 1 or vjp.__module__.startswith("tinygrad_np.derivatives") else name


def changes(node: Node, first: Node) -> bool:
    """Whether a call in a later round of a repetition was given other numbers than in the first."""
    return node.rule.name not in (*INDEXING, "scatter") and repr(numbers(node)) != repr(numbers(first))


def numbers(node: Node) -> dict[int, Any]:
    """The arguments that are numbers, words, or tuples of them, by their positions."""
    kinds = (int, float, complex, str, tuple, slice, np.generic)
    return {
        i: arg
        for i, (arg, parent) in enumerate(zip(arguments(node), node.parents, strict=False))
        if parent is None and (isinstance(arg, kinds) or (isinstance(arg, np.ndarray) and arg.ndim == 0))
    }


def word(value: Any) -> str:
    """An argument as text."""
    if isinstance(value, np.ndarray) and value.ndim:
        return f"array of shape {value.shape}"
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.item()
    if isinstance(value, slice):
        parts = (value.start, value.stop) if value.step is None else (value.start, value.stop, value.step)
        return ":".join("" if part is None else str(part) for part in parts)
    return f"{value:.6g}" if isinstance(value, float) else "..." if value is Ellipsis else str(value)


def shape_line(node: Node) -> str:
    """The shape and dtype of what a node made, "(32, 10) float32"."""
    shapes = outline_of(node)
    if isinstance(shapes, list):
        return f"{len(shapes)} outputs: {', '.join(str(shape) for shape, _ in shapes)}"
    return "{} {}".format(*shapes)


def counted(count: int, name: str, shown: str = "") -> str:
    """A count with its noun: "1,024 operations"."""
    return f"{shown or f'{count:,}'} {name}{'s' * (count != 1)}"


def by_element(node: Node) -> bool:
    """Whether a call's function is element-wise, so that its arguments are broadcast."""
    ufunc = getattr(np, node.rule.name, None)
    return isinstance(ufunc, np.ufunc) and not ufunc.signature


def marks(node: Node) -> list[str]:
    """What a reader would not expect of a call: that it widens the precision, or that broadcasting makes it grow."""
    out, given = outline_of(node), inputs_of(node)
    if isinstance(out, list) or node.rule.name == "astype":
        return []
    shape, dtype = out
    found = []
    inputs = [(each, outline) for each in given if not isinstance(outline := outline_of(each.value), list)]
    tracked = [kind for each, (_, kind) in inputs if each.link and kind.kind in "fc"]
    if dtype.kind in "fc" and tracked and all(np.finfo(kind).bits < np.finfo(dtype).bits for kind in tracked):
        found.append(f"{tracked[0]} becomes {dtype}")
    shapes = [shape for _, (shape, _) in inputs]
    if by_element(node) and len(shapes) > 1 and math.prod(shape) > max(map(math.prod, shapes)):
        found.append(f"{' and '.join(map(str, shapes))} grow to {shape}")
    return found


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
