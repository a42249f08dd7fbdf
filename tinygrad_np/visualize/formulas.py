"""The derivatives of a call as text: what its rule says for the arguments at hand, with their names.

The text is the rule's own source. Of each choice that depends on shapes, dtypes and options only the branch that is
taken is left, functions of one line are written out, and numbers stand where the call was given numbers.
"""

from __future__ import annotations

import ast
import copy
import inspect
import keyword
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_np.compiler.write import OPERATORS, definition
from tinygrad_np.derivatives.elementwise import in_single, masked
from tinygrad_np.derivatives.table import Parts
from tinygrad_np.engine import Node
from tinygrad_np.visualize.folding import arguments, inputs_of, outline_of, shape_of
from tinygrad_np.visualize.measures import Measures, decimal, number
from tinygrad_np.visualize.picture import BACK, Edge
from tinygrad_np.visualize.reading import Reading
from tinygrad_np.visualize.wording import by_element, parameter

__all__ = ["formulas", "show_derivatives"]

MOST_LINES, DEEPEST = 3, 3
PLAIN = (int, float, complex, str, bool, type(None))
SIGNS: dict[str, Any] = {"**": ast.Pow(), "*": ast.Mult(), "@": ast.MatMult()}


def formulas(node: Node, names: Mapping[int, str], out: str = "out") -> list[str]:
    """The derivatives of a call, such as `dx = g * y`.

    Args:
        node: the call.
        names: what arguments are called, by their positions. All others have the names that the rule gives them.
        out: what the result is called.

    Returns:
        For each argument that gets a gradient one line, or a few. `g` is the gradient of the result.
    """
    values = [*arguments(node)] or [None] * len(node.parents)
    for i, parent in enumerate(node.parents):
        if i < len(values) and values[i] is None and parent is not None:
            values[i] = stand_in(outline_of(parent))
    result = stand_in(outline_of(node))
    gradient = Parts({0: result}) if node.rule.residuals else result
    found: list[str] = []
    targets: set[str] = set()
    for i, (parent, vjp) in enumerate(zip(node.parents, node.rule.vjps, strict=False)):
        if parent is not None and vjp is not None:
            target = f"d{names.get(i) or parameter(node, i) or f'x{i}'}"
            shown = {2 + slot: name for slot, name in names.items()} | {1: out}
            try:
                lines = rewritten(node.rule.name, vjp, target, [gradient, result, *values], node.kwargs, shown)
            except (OSError, TypeError, IndexError, SyntaxError):  # there is no source to read
                lines = [f"{target} = {node.rule.name}_vjp(g, ...)"]
            if is_summed(node, parent):
                lines[-1] += f"  # summed to {shape_of(parent)}"
            if target in targets:  # the input is used twice
                lines[-1] = lines[-1].replace(" = ", " += ", 1)
            targets.add(target)
            found += [line.replace("g[0]", "g") for line in lines] if node.rule.residuals else lines
    return found


def is_summed(node: Node, parent: Node) -> bool:
    """Whether the engine sums a gradient over what broadcasting repeated: rules of element-wise functions need not."""
    return by_element(node) and shape_of(parent) != shape_of(node)


def stand_in(outline: Any) -> Any:
    """An array of zeros of this shape and dtype, which takes no memory; choices between formulas depend on no more."""
    if isinstance(outline, list):
        return [stand_in(one) for one in outline]
    shape, dtype = outline
    return np.broadcast_to(np.zeros((), dtype), shape) if shape is not None else None


def rewritten(
    rule: str,
    vjp: Callable[..., Any],
    target: str,
    values: Sequence[Any],
    options: Mapping[str, Any],
    names: Mapping[int, str],
) -> list[str]:
    """The lines of a rule, the last of which assigns to the target; the call of the rule if they are many."""
    if not inspect.isfunction(vjp):  # of a compiled function
        return [f"{target} = {rule}_vjp(g)"]
    tree = definition(vjp)
    known = known_values(vjp, values, options)
    parameters = vjp.__code__.co_varnames
    shown = {parameters[i]: ast.Name(name) for i, name in names.items() if i < vjp.__code__.co_argcount}
    lines = written(tree, Simplifier(known, shown))
    if lines is None or len(lines) > MOST_LINES:
        name = f"{rule}_vjp" if vjp.__name__ in ("vjp", "<lambda>") else vjp.__name__
        call = ast.Call(ast.Name(name), [ast.Name(p) for p in parameters[: vjp.__code__.co_argcount]], [])
        call.keywords = [
            ast.keyword(name, ast.Name(name)) for name in options if name not in parameters[: len(call.args)]
        ]
        return [f"{target} = {ast.unparse(Simplifier(known, shown).generic_visit(call))}"]
    return [*lines[:-1], f"{target} = {lines[-1]}"]


def known_values(function: Callable[..., Any], values: Sequence[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """What the parameters of a function are, as far as it can be told, and what else its text refers to."""
    free = inspect.getclosurevars(function)
    bound = inspect.signature(function).bind_partial(*values[: len(inspect.signature(function).parameters)], **options)
    bound.apply_defaults()
    return {**free.builtins, **free.globals, **free.nonlocals, **bound.arguments}


def written(tree: Any, simplify: Simplifier) -> list[str] | None:
    """The statements of a function, the last of which is what it returns; None if they are more than a formula."""
    if isinstance(tree, ast.Lambda):
        return [ast.unparse(simplify.visit(tree.body))]
    lines: list[str] = []
    target = value = ""
    statements = list(tree.body)
    while statements:
        statement = statements.pop(0)
        if isinstance(statement, ast.If):
            chosen = simplify.decided(statement.test)
            if chosen is None:
                return None
            statements = [*(statement.body if chosen else statement.orelse), *statements]
        elif isinstance(statement, ast.Return) and statement.value is not None:
            value = ast.unparse(simplify.visit(statement.value))
            if lines and value == target:  # what was just assigned
                return [*lines[:-1], lines[-1].removeprefix(f"{target} = ")]
            return [*lines, value]
        elif isinstance(statement, ast.Assign):
            target, value = ast.unparse(statement.targets[0]), ast.unparse(simplify.visit(statement.value))
            assigned = {name.id for name in ast.walk(statement.targets[0]) if isinstance(name, ast.Name)}
            if not assigned.isdisjoint(ast.unparse(word) for word in simplify.shown.values()):
                return None  # it means something else here than to the user
            simplify.forget(assigned)
            lines += [f"{target} = {value}"] if value != target else []
        else:
            return None
    return None


def show_derivatives(reading: Reading, measures: Measures) -> None:
    """Write the derivatives into the operations of a picture, and draw the edges on which gradients come back."""
    parts = {link: iter(found) for link, found in measures.parts.items()}
    for item in reading.picture.items:
        if item.kind == "operation" and reading.members[item]:
            node = reading.members[item][0]
            names = argument_names(node, reading.called)
            out = reading.called.get(id(node), "out")
            usable = out.isidentifier() and not keyword.iskeyword(out) and out not in ("g", *names.values())
            item.formulas = formulas(node, names, out if usable else "out")
    edges = list(reading.uses.items())
    for edge, given in edges:
        if given.link is None:
            continue
        part = next(parts.get(given.link, iter(())), None)
        if part is None and measures.parts:
            continue  # this rule has no derivative here
        label = "" if reading.scalar else str(shape_of(given.link[1]))
        if part is not None:
            label += f"grad {decimal(part.minimum)}" if reading.scalar else f" norm {number(part.norm)}"
        reading.picture.edges.append(Edge(edge.head, edge.tail, label, edge.carried, backward=True))
    drawn = {min(edge.tail.order, 1) for edge in reading.picture.edges if edge.backward}
    texts = ("gradient, on its way back", "gradient of a derivative")
    reading.picture.legend += [(BACK[order], texts[order]) for order in sorted(drawn)]


def argument_names(node: Node, called: Mapping[int, str]) -> dict[int, str]:
    """What the arguments of a call are called, by their positions, unless that would be ambiguous."""
    named: dict[int, tuple[str, int]] = {}
    for given in inputs_of(node):
        name = called.get(id(given.value), "").rpartition(".")[2]
        if name.isidentifier() and not keyword.iskeyword(name) and given.slot not in named:
            named[given.slot] = name, id(given.value)
    others = {parameter(node, i) for i in range(len(node.parents)) if i not in named} | {"g", "out"}
    values: dict[str, int] = {}
    for name, value in named.values():
        if name in others or values.setdefault(name, value) != value:
            return {}
    return {slot: name for slot, (name, _) in named.items()}


def is_plain(value: Any) -> bool:
    """Whether a value is shown as it stands."""
    return isinstance(value, PLAIN) and repr(value) not in ("nan", "inf", "-inf")


class Simplifier(ast.NodeTransformer):
    """Puts values and names in the place of parameters, and decides what can be decided.

    Attributes:
        known: values by name; those of arrays decide, but are not shown.
        shown: what is shown in the place of a name.
    """

    def __init__(self, known: Mapping[str, Any], shown: Mapping[str, ast.expr], depth: int = 0) -> None:
        self.known, self.shown, self.depth = dict(known), dict(shown), depth

    def forget(self, names: Iterable[str]) -> None:
        """These names stand for something else from now on."""
        for name in names:
            self.known.pop(name, None)
            self.shown.pop(name, None)

    def decided(self, test: ast.expr) -> bool | None:
        """The value of a condition; None if it is not known."""
        try:
            return bool(eval(ast.unparse(test), dict(self.known)))
        except Exception:  # it depends on what is not known here
            return None

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        chosen = self.decided(node.test)
        if chosen is None:
            return self.generic_visit(node)
        return self.visit(node.body if chosen else node.orelse)

    def visit_Name(self, node: ast.Name) -> Any:
        value = self.known.get(node.id, self)
        if node.id in self.shown and not is_plain(value):
            return copy.deepcopy(self.shown[node.id])
        if is_plain(value) or (isinstance(value, tuple) and all(map(is_plain, value))):
            return ast.parse(repr(value), mode="eval").body
        return node

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        if node.attr in ("shape", "ndim", "size") and isinstance(node.value, ast.Name):
            value = self.known.get(node.value.id)
            if isinstance(value, np.ndarray):
                return ast.parse(repr(getattr(value, node.attr)), mode="eval").body
        return self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> Any:
        node = self.generic_visit(node)  # type: ignore[assignment]
        if all(isinstance(side, ast.Constant) for side in (node.left, node.right)):
            return ast.Constant(eval(ast.unparse(node)))
        return node

    def visit_Call(self, node: ast.Call) -> Any:
        try:
            function = eval(ast.unparse(node.func), {**self.known, "np": np})
        except Exception:  # a method of what is not known
            function = None
        if function is in_single and not self.is_half(node.args[0]):
            return self.visit(node.args[0])
        if inspect.isfunction(function) and not node.keywords and function.__module__.startswith("tinygrad_np.deriv"):
            inlined = self.inlined(function, node.args)
            if inlined is not None:
                return inlined
        node = self.generic_visit(node)  # type: ignore[assignment]
        if function in (max, min) and all(isinstance(arg, ast.Constant) for arg in node.args):
            return ast.Constant(eval(ast.unparse(node)))
        if function is masked:
            return ast.Call(ast.parse("np.where", mode="eval").body, [node.args[1], node.args[0], ast.Constant(0)], [])
        sign = SIGNS.get(OPERATORS.get(function, "")) if len(node.args) == 2 and not node.keywords else None
        return ast.BinOp(node.args[0], sign, node.args[1]) if sign is not None else node

    def is_half(self, argument: ast.expr) -> bool:
        """Whether half precision takes part, which is summed in single."""
        names = [name.id for name in ast.walk(argument) if isinstance(name, ast.Name)]
        return any(getattr(self.known.get(name), "dtype", None) == np.float16 for name in names)

    def inlined(self, function: Callable[..., Any], args: list[ast.expr]) -> Any:
        """The expression that a function of one line returns for these arguments, or None."""
        try:
            values = [eval(ast.unparse(arg), dict(self.known)) for arg in args]
        except Exception:
            return None
        shown = dict(zip(function.__code__.co_varnames, (self.visit(copy.deepcopy(arg)) for arg in args), strict=False))
        inner = Simplifier(known_values(function, values, {}), shown, self.depth + 1)
        lines = written(definition(function), inner) if self.depth < DEEPEST else None
        return ast.parse(f"({lines[0]})", mode="eval").body if lines is not None and len(lines) == 1 else None
