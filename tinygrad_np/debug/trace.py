"""Tracing: keep what a drawing can show of each call, even after the backward pass has freed the graph."""

from __future__ import annotations

__docformat__ = "google"

import ast
import linecache
from functools import lru_cache
from itertools import islice
from types import CodeType
from typing import Any

import numpy as np

from tinygrad_np.calls import plain
from tinygrad_np.debug.places import note_line
from tinygrad_np.debug.statistics import Statistics, visible
from tinygrad_np.derivatives.table import PACK
from tinygrad_np.engine import Node
from tinygrad_np.errors import users_frame
from tinygrad_np.recording import Context, watching

__all__ = ["saturated", "trace"]

OPERATORS: dict[Any, str] = {ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.Div: "divide"}
OPERATORS |= {ast.Pow: "power", ast.MatMult: "matmul", ast.USub: "negative"}


class Tracer:
    """A watch that makes notes about each call.

    They are the "place", the constants among its arguments as "args", the statistics of its "value", of its "gradient"
    and, in the order of the inputs, of the "parts" that it gave to their gradients; and if the user assigned the
    result to a variable, the name of the "variable".
    """

    def recorded(self, node: Node, seconds: float) -> None:
        note_line(node)
        assert node.notes is not None
        out = visible(node, node.out)
        if hasattr(out, "shape"):
            node.notes["value"] = Statistics.of(np.asarray(out))
        node.notes["saturated"] = saturated(node)
        for call in (node, *(parent for parent in node.parents if parent is not None and parent.rule is PACK)):
            pairs = zip(call.args, call.parents, strict=True)
            call.notes = (call.notes or {}) | {"args": [arg if parent is None else None for arg, parent in pairs]}
        variable = assigned(node.rule.name)
        if variable is not None:
            node.notes["variable"] = variable

    def reached(self, node: Node, gradient: Any) -> None:
        gradient = visible(node, gradient)
        if hasattr(gradient, "shape"):
            node.notes = (node.notes or {}) | {"parts": [], "gradient": Statistics.of(np.asarray(plain(gradient)))}

    def derived(self, node: Node, parent: Node, contribution: Any) -> None:
        if node.notes is not None and hasattr(contribution, "shape"):
            node.notes.setdefault("parts", []).append((parent, Statistics.of(np.asarray(plain(contribution)))))


SLOPES = {"tanh": lambda out: 1 - out * out, "sigmoid": lambda out: 4 * out * (1 - out)}
SLOPES["logistic"] = SLOPES["sigmoid"]


def saturated(node: Node) -> float:
    """Of a call of tanh or sigmoid, the share of the elements where the slope is below 1% of its largest value.

    The tanh in `gelu` is meant to be saturated for large inputs, which pass unchanged then.
    """
    in_gelu = node.scope is not None and node.scope.name == "gelu"
    slope = SLOPES.get(node.rule.name) if not in_gelu else None
    return float(np.mean(slope(node.out) < 0.01)) if slope is not None and np.size(node.out) else 0.0


def assigned(function: str) -> str | None:
    """The variable that is assigned what the user's statement is computing now, if `function` does it last.

    In `d = a * b + b**3` it is d for the sum, and None for the product and the power.
    """
    frame = users_frame()
    return assigned_at(frame.f_code, frame.f_lasti, function) if frame is not None else None


@lru_cache(maxsize=10_000)
def assigned_at(code: CodeType, instruction: int, function: str) -> str | None:
    position = next(islice(code.co_positions(), instruction // 2, None), None)
    return assignments(code.co_filename).get((position, function))


@lru_cache
def assignments(filename: str) -> dict[Any, str]:
    """The variables of a file's plain assignments, by where their value stands and which function gives it."""
    found = {}
    try:
        tree = ast.parse("".join(linecache.getlines(filename)))
    except SyntaxError:
        return {}
    for statement in ast.walk(tree):
        if isinstance(statement, (ast.Assign, ast.AugAssign)):
            target, *others = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            value: Any = statement.value if isinstance(statement, ast.Assign) else statement
            function = ""
            if isinstance(value, (ast.BinOp, ast.UnaryOp, ast.AugAssign)):
                function = OPERATORS.get(type(value.op), "")
            elif isinstance(value, ast.Call):
                function = getattr(value.func, "attr", getattr(value.func, "id", ""))
            if isinstance(target, ast.Name) and not others:
                position = (value.lineno, value.end_lineno, value.col_offset, value.end_col_offset)
                found[position, function] = target.id
    return found


def trace() -> Context[None]:
    """Keep statistics of every value and gradient of this thread, and the line of code that made each call.

    `visualize.draw(loss, model, values=True)` then shows them even after `backward()`. The statistics take about as
    long as the calls themselves. Of the arrays, only constants that calls were given are kept.

    >>> from tinygrad_np import Tensor, visualize
    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> with trace():
    ...     y = np.exp(x).sum()
    ...     y.backward()
    >>> picture = visualize.draw(y)
    """
    return Context(lambda: watching(Tracer()))
