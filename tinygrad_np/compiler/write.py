"""The program as Python text: one line a call, with names from the user's code.

The text that is run names its buffers. The text for people shows no memory: it reads like the forward and backward
pass that one would write by hand, and runs by itself with nothing but NumPy.
"""

from __future__ import annotations

import ast
import copy
import functools
import inspect
import itertools
import keyword
import linecache
import math
import re
import sys
from collections.abc import Container, Iterable, Sequence
from operator import getitem
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tinygrad_np.compiler.trace import Call, Variable
from tinygrad_np.derivatives.elementwise import masked
from tinygrad_np.functional.arrays import real_array

__all__ = ["OPERATORS", "Writer", "definition"]

OPERATORS = {np.add: "+", np.subtract: "-", np.multiply: "*", np.divide: "/", np.matmul: "@", np.power: "**"}
OPERATORS |= {np.greater: ">", np.greater_equal: ">=", np.less: "<", np.less_equal: "<=", np.equal: "=="}
METHODS: dict[Any, str] = {np.reshape: "reshape", np.astype: "astype"}
REDUCED: dict[Any, str] = {np.sum: "add", np.max: "maximum", np.min: "minimum", np.prod: "multiply"}


SHORTER: dict[Any, str] = {
    inspect.unwrap(masked): "(gradient, mask):\n    return np.where(mask, gradient, gradient.dtype.type(0))",
    real_array: "(x, function):\n    return x",  # it is one already
}
"""What the text for people says instead of some functions of ours."""


class Writer:
    """Writes a program.

    Attributes:
        names: of the variables.
        scope: what the text refers to besides them, by name: functions, arrays that are constant.
        places: where results are written to; empty in the text for people.
    """

    def __init__(self, inputs: Sequence[Variable], others: Iterable[Variable], places: dict[Call, Any]) -> None:
        self.places = places
        self.scope: dict[str, Any] = {"np": np}
        self.names: dict[Variable, str] = {}
        counts: dict[str, int] = {}
        for variable in dict.fromkeys([*inputs, *others]):
            name = identifier(variable.name)
            if variable not in inputs:
                counts[name] = counts.get(name, 0) + 1
                name = f"{name}_{counts[name]}"
            self.names[variable] = self.free(name)
        self.inlined: dict[Variable, str] = {}

    def free(self, name: str) -> str:
        """The name, or the first like it that nothing has."""
        taken = {"saved", "buffers", "forward", "backward", *self.scope, *self.names.values()}
        return next(n for n in itertools.chain([name], (f"{name}_{i}" for i in itertools.count(2))) if n not in taken)

    def function(self, name: str, arguments: Iterable[str], lines: Iterable[str], results: str) -> str:
        return "\n".join(
            [f"def {name}({', '.join(arguments)}):", *(f"    {x}" for x in (*lines, f"return {results}")), ""]
        )

    def tuple_of(self, variables: Iterable[Variable]) -> str:
        return "(" + "".join(f"{self.word(v)}, " for v in variables) + ")"

    def assignment(self, call: Call) -> str:
        targets = [self.names[v] for v in call.outs]
        left = f"{', '.join(targets)}{',' * (len(targets) == 1 and call.several)} = " if targets else ""
        return left + self.expression(call)

    def lines(self, calls: Sequence[Call], named: Container[Variable]) -> list[str]:
        """The lines of the text for people, with what is known of each result.

        Transposes stand where they are used, but for those that are `named` elsewhere.
        """
        lines = []
        for call in calls:
            if call.function is np.transpose and len(call.args) == 1 and call.outs[0] not in named:
                self.inlined[call.outs[0]] = self.expression(call)
                continue
            known = [f"{v.shape} {v.dtype}" for v in call.outs[:1]] + [call.module] * bool(call.module)
            known.append(f"{Path(call.place[0]).name}:{call.place[1]}")
            lines.append(f"{self.assignment(call):<60}  # {', '.join(known)}")
        return lines

    def expression(self, call: Call) -> str:
        """The call as text."""
        function, args = call.function, [self.word(arg) for arg in call.args]
        options = [f"{name}={self.word(arg)}" for name, arg in call.kwargs.items()]
        if call in self.places:
            place = self.places[call]
            options.append(f"out={f'buffer_{place}' if isinstance(place, int) else self.names[place]}")
            if function is np.transpose:  # to be copied
                return f"np.positive({args[0]}.T, {options[0]})"
        elif not options and function is np.transpose and len(args) == 1:
            return f"{args[0]}.T"
        elif not options and function is getitem:
            return f"{args[0]}[{self.index(call.args[1])}]"
        elif not options and function is np.astype and len(args) == 2 and call.outs[0].shape == ():
            return f"np.array({args[0]}, {args[1]})"  # NumPy's functions of one number may give Python's
        elif not options and function in METHODS and len(args) == 2:
            return f"{args[0]}.{METHODS[function]}({args[1]})"
        elif not options and function in OPERATORS:
            return f"{args[0]} {OPERATORS[function]} {args[1]}"
        elif not options and function is np.negative:
            return f"-{args[0]}"
        if function in REDUCED and len(args) == 1 and call.kwargs.get("axis") is not None:
            return f"np.{REDUCED[function]}.reduce({', '.join([*args, *options])})"
        return f"{self.function_name(function)}({', '.join([*args, *options])})"

    def index(self, index: Any) -> str:
        if isinstance(index, tuple) and index:
            return ", ".join(map(self.index, index)) + "," * (len(index) == 1)
        if isinstance(index, slice):
            start, stop, step = (
                "" if part is None else self.word(part) for part in (index.start, index.stop, index.step)
            )
            return f"{start}:{stop}" + (f":{step}" if step else "")
        if isinstance(index, Variable) and isinstance(index.source, Call) and index.shape == ():
            return (
                f"np.asarray({self.word(index)})"  # a number of NumPy's would give a view, where an array gives a copy
            )
        return "..." if index is Ellipsis else self.word(index)

    def function_name(self, function: Any) -> str:
        """How the text calls a function: NumPy's as users write it, ours by its name."""
        name, module = getattr(function, "__name__", ""), getattr(function, "__module__", None) or "numpy"
        for path in (name, f"{module.removeprefix('numpy').strip('.')}.{name}"):
            found: Any = np
            for part in path.split("."):
                found = getattr(found, part, None)
            if found is function:
                return f"np.{path}"
        return self.constant(function, name or "function")

    def word(self, value: Any) -> str:
        """An argument as text. What has no text of its own gets a name."""
        if isinstance(value, Variable):
            return self.inlined.get(value, self.names[value])
        if isinstance(value, dict) and type(value) is dict:
            return "{" + ", ".join(f"{key!r}: {self.word(item)}" for key, item in value.items()) + "}"
        if isinstance(value, dict):  # Parts
            return f"{self.constant(type(value), type(value).__name__)}({self.word(dict(value))})"
        if isinstance(value, list):
            return "[" + ", ".join(map(self.word, value)) + "]"
        if isinstance(value, tuple):
            return "(" + "".join(f"{self.word(item)}, " for item in value) + ")"
        if isinstance(value, slice):
            return f"slice({self.word(value.start)}, {self.word(value.stop)}, {self.word(value.step)})"
        if value is Ellipsis:
            return "..."
        if value is None or type(value) in (int, str, bool) or (type(value) is float and math.isfinite(value)):
            return f"({value!r})" if type(value) in (int, float) and value < 0 else repr(value)
        return self.constant(value, "constant")

    def constant(self, value: Any, name: str) -> str:
        """The name of a value that stands beside the text."""
        for known, other in self.scope.items():
            if other is value:
                return known
        free = self.free(identifier(name))
        self.scope[free] = value
        return free

    def definitions(self) -> str:
        """The text of what the scope holds, as far as it has one; the rest is described in comments."""
        texts: dict[str, str] = {}
        for name, value in list(self.scope.items()):
            define(name, value, texts)
        text = "\n".join(texts.values())
        numbers = ["from numpy import inf, nan"] * bool(re.search(r"\b(inf|nan)\b", text))
        return "\n".join(["import math", "import operator", "", "import numpy as np", *numbers, "", "", text])


def define(name: str, value: Any, texts: dict[str, str]) -> None:
    """Add the text that defines a name, after those of all names that it refers to."""
    if name in texts or value is np or value is math:
        return
    texts[name] = ""
    value = inspect.unwrap(value) if callable(value) else value
    if inspect.isfunction(value) and value in SHORTER:
        text = f"def {name}{SHORTER[value]}\n\n"
    elif inspect.isfunction(value):
        function = definition(value)
        for other in sorted({node.id for node in ast.walk(function) if isinstance(node, ast.Name)}):
            if other in value.__globals__:
                define(other, value.__globals__[other], texts)
        if isinstance(function, ast.FunctionDef):
            function.name = name
        text = ast.unparse(function) if isinstance(function, ast.FunctionDef) else f"{name} = {ast.unparse(function)}"
        text += "\n\n"
    elif isinstance(value, type) and issubclass(value, Exception):
        text = f"{name} = {next(kind for kind in value.__mro__ if kind.__module__ == 'builtins').__name__}\n"
    elif isinstance(value, type) and issubclass(value, dict):
        text = f"{name} = dict\n"
    elif isinstance(value, np.ndarray):
        text = f"{name} = np.array({value.tolist()!r}, dtype=np.{value.dtype}).reshape({value.shape})\n"
    elif isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
        text = f"{name} = np.dtype({np.dtype(value).str!r})\n"
    elif isinstance(value, np.generic):
        text = f"{name} = np.{value.dtype}({value.item()!r})\n"
    elif isinstance(value, np.random.Generator):
        text = f"{name} = np.random.default_rng()  # the program's own stands elsewhere\n"
    elif isinstance(value, ModuleType):
        text = f"import {value.__name__} as {name}\n"
    elif isinstance(value, np.ufunc) and hasattr(sys.modules.get("scipy.special"), value.__name__):
        text = f"from scipy.special import {value.__name__} as {name}\n"
    elif getattr(value, "__module__", None) == "_operator":
        text = f"{name} = operator.{value.__name__}\n"
    else:
        text = f"{name} = {value!r}\n"
    del texts[name]
    texts[name] = text


@functools.cache
def syntax(file: str) -> list[Any]:
    """The functions and lambdas in a file."""
    tree = ast.parse("".join(linecache.getlines(file)))
    return [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.Lambda))]


class Untyped(ast.NodeTransformer):
    """Turns assignments with types into plain ones."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
        return ast.Assign([node.target], node.value, lineno=node.lineno) if node.value else None


def definition(function: Any) -> Any:
    """The syntax tree of a function, without what only readers and type checkers need; of a lambda, its expression."""
    code = function.__code__
    spans = [((a, c), (b, d)) for a, b, c, d in code.co_positions() if d]  # what its instructions compute stands there

    def fits(node: Any) -> bool:
        if isinstance(node, ast.FunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            return (node.name, first) == (code.co_name, code.co_firstlineno)
        begin, end = (node.body.lineno, node.body.col_offset), (node.body.end_lineno, node.body.end_col_offset)
        return code.co_name == "<lambda>" and all(begin <= first and last <= end for first, last in spans)

    names = code.co_varnames[: code.co_argcount]
    found = [node for node in syntax(code.co_filename) if fits(node)]
    found = [node for node in found if tuple(a.arg for a in (*node.args.posonlyargs, *node.args.args)) == names]
    if not found:
        raise OSError(f"the source of {function.__name__} is not found in {code.co_filename}")
    node = found[-1]  # the innermost
    node = Untyped().visit(copy.deepcopy(node))
    if isinstance(node, ast.FunctionDef):
        node.decorator_list, node.returns = [], None
        if ast.get_docstring(node) is not None:
            node.body = node.body[1:]
        for argument in (*node.args.args, *node.args.kwonlyargs):
            argument.annotation = None
    return node


def identifier(name: str) -> str:
    word = re.sub(r"\W", "_", name).strip("_") or "value"
    return f"{word}_" if keyword.iskeyword(word) else f"p{word}" if word[0].isdigit() else word
