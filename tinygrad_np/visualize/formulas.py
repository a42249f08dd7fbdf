"""The derivatives of a call as text: what its rule computes for the arguments at hand, with their names.

A rule is a NumPy program. It is run once, on arrays of the right shapes and dtypes, while the tracer of `compile`
writes down its calls. So no choice that depends on shapes and options is left, and the call's numbers are in it.
"""

from __future__ import annotations

import ast
import inspect
import keyword
import math
import textwrap
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_np.compiler.guards import Surroundings
from tinygrad_np.compiler.trace import Call, Trace
from tinygrad_np.compiler.write import Writer
from tinygrad_np.debug.statistics import Statistics
from tinygrad_np.derivatives.elementwise import masked
from tinygrad_np.derivatives.table import PACK, Parts
from tinygrad_np.engine import Node
from tinygrad_np.gradients import outline
from tinygrad_np.recording import isolated, tracing
from tinygrad_np.visualize.folding import arguments, inputs_of, outline_of, shape_of
from tinygrad_np.visualize.measures import Notes, decimal, number
from tinygrad_np.visualize.picture import LONGEST_ROW, Edge, gradient_color
from tinygrad_np.visualize.reading import Reading
from tinygrad_np.visualize.wording import by_element, parameter

__all__ = ["formulas", "show_derivatives"]

LONGEST = 2 * LONGEST_ROW  # characters of a formula; of a longer one only the rule is named
LARGEST_MATRIX = 10**6  # elements of a stand-in that is not one number, repeated without taking memory


def formulas(node: Node, names: Mapping[int, str], out: str = "out") -> list[str]:
    """The derivatives of a call, such as `dx = g * y`.

    Args:
        node: the call.
        names: what arguments are called, by their positions. All others have the names that the rule gives them.
        out: what the result is called.

    Returns:
        For each argument that gets a gradient one line. `g` is the gradient of the result.
    """
    called = [names.get(i) or parameter(node, i) or f"x{i}" for i in range(len(node.parents))]
    found: list[str] = []
    targets: set[str] = set()
    for target, parent, vjp in zip(called, node.parents, node.rule.vjps, strict=False):
        if parent is not None and vjp is not None:
            try:
                text = formula(node, vjp, called, out)
            except Exception:  # the rule asks for values, or has no short text
                text = f"{node.rule.name}_vjp(g)"
            if by_element(node) and shape_of(parent) != shape_of(node):  # such rules leave that to the engine
                text += f"  # summed to {shape_of(parent)}"
            found.append(f"d{target} {'+=' if target in targets else '='} {text}")
            targets.add(target)
    return found


def formula(node: Node, vjp: Callable[..., Any], names: Sequence[str], out: str) -> str:
    """What a rule returns, as an expression.

    Raises:
        ValueError: it has no short text.
        Exception: whatever the rule raises when it is given other values than it was made for.
    """
    if not inspect.isfunction(vjp):
        raise ValueError("a compiled program, which may draw random numbers")
    trace, writer = Trace(Surroundings(None)), Writer([], [], {})

    def stand_in(outline: Any, name: str) -> Any:
        """A Tensor that takes little memory, and whose matrices have an inverse."""
        shape, dtype = outline
        is_matrix = len(shape) > 1 and math.prod(shape[-2:]) <= LARGEST_MATRIX
        array = np.eye(*shape[-2:], dtype=dtype) if is_matrix else np.ones((), dtype)
        tensor = trace.input(np.broadcast_to(array, shape), name)
        writer.names[trace.reference(tensor)] = name
        return tensor

    def given(call: Node, names: Sequence[str]) -> list[Any]:
        """The arguments of a call, with stand-ins for arrays."""
        found: list[Any] = []
        for value, parent, name in zip([*arguments(call)] or call.parents, call.parents, names, strict=True):
            if parent is not None and parent.rule is PACK:
                found.append(given(parent, [f"{name}[{i}]" for i in range(len(parent.parents))]))
            elif parent is not None or isinstance(value, np.ndarray):
                found.append(stand_in(outline_of(value if parent is None else parent), name))
            else:
                found.append(value)
        return found

    shapes = node.out if node.args is None else outline(node.out)
    with warnings.catch_warnings(), np.errstate(all="ignore"), isolated(), tracing(trace):
        warnings.simplefilter("ignore")
        if not isinstance(shapes, list):
            g, result = stand_in(shapes, "g"), stand_in(shapes, out)
        elif node.rule.residuals:  # the rest was saved for the derivative
            g = Parts({0: stand_in(shapes[0], "g")})
            words = [out, "saved", *(f"saved_{i}" for i in range(2, len(shapes)))]
            result = [stand_in(shape, name) for shape, name in zip(shapes, words, strict=False)]
        else:
            g = Parts({i: stand_in(shape, f"g[{i}]") for i, shape in enumerate(shapes)})
            result = [stand_in(shape, f"{out}[{i}]") for i, shape in enumerate(shapes)]
        derived = trace.derivative(node.rule, vjp, False)
        returned = trace.reference(derived(g, result, *given(node, names), **node.kwargs))
    for call in trace.calls:
        text = f"({written(call, writer)})"
        writer.names |= {v: f"{text}[{i}]" if call.several else text for i, v in enumerate(call.outs)}
    text = ast.unparse(ast.parse(writer.word(returned), mode="eval"))
    if len(text) > LONGEST or not all(value is np or inspect.isroutine(value) for value in writer.scope.values()):
        raise ValueError("the text is long, or refers to what has no text")
    return text


def written(call: Call, writer: Writer) -> str:
    """A call as text, with the numbers that it was given, and as people know it."""
    if inspect.unwrap(call.function) is inspect.unwrap(masked):
        gradient, mask = map(writer.word, call.args)
        return f"np.where({mask}, {gradient}, 0)"
    if (call.function.__module__ or "").startswith("tinygrad_np.") and call.function.__name__ in ("<lambda>", "vjp"):
        raise ValueError("the rule is not made of calls")
    call.args = [
        arg.tolist() if isinstance(arg, (np.generic, np.ndarray)) else str(arg) if isinstance(arg, np.dtype) else arg
        for arg in call.args
    ]
    return writer.expression(call)


def show_derivatives(reading: Reading, notes: Notes) -> None:
    """Write the derivatives into the operations of a picture, and draw the edges on which gradients come back."""
    parts: dict[Any, list[Statistics]] = defaultdict(list)
    for node, note in notes.items():
        for parent, part in note.get("parts", ()):
            parts[node, parent].append(part)
    for item in reading.picture.items:
        if item.kind == "operation" and reading.members[item]:
            node = reading.members[item][0]
            lines = formulas(node, *names_in(node, reading.called))
            item.formulas = [row for line in lines for row in textwrap.wrap(line, LONGEST_ROW)]
    for edge, given in list(reading.uses.items()):
        known = parts.get(given.link)
        if given.link is None or (parts and not known):
            continue  # no gradient goes this way
        label = "" if reading.scalar else str(shape_of(given.link[1]))
        if known:
            part = known.pop(0)
            label += decimal(part.minimum) if reading.scalar else f" norm {number(part.norm)}"
        reading.picture.edges.append(Edge(edge.head, edge.tail, label, edge.carried, backward=True))
    drawn = {min(edge.tail.order, 1) for edge in reading.picture.edges if edge.backward}
    texts = ("gradient, on its way back", "gradient of a derivative")
    reading.picture.legend += [(gradient_color(order), texts[order]) for order in sorted(drawn)]


def names_in(node: Node, called: Mapping[int, str]) -> tuple[dict[int, str], str]:
    """What the arguments of a call are called, by their positions, unless that would be ambiguous; and its result."""
    named: dict[int, str] = {}
    values: dict[str, set[int]] = defaultdict(set)
    for given in inputs_of(node):
        name = called.get(id(given.value), "").rpartition(".")[2]
        if is_name(name) and given.slot not in named:
            named[given.slot] = name
            values[name].add(id(given.value))
    others = {parameter(node, i) for i in range(len(node.parents)) if i not in named} | {"g", "out"}
    if any(name in others or len(same) > 1 for name, same in values.items()):
        named = {}
    out = called.get(id(node), "out")
    return named, out if is_name(out) and out not in ("g", *named.values()) else "out"


def is_name(text: str) -> bool:
    return text.isidentifier() and not keyword.iskeyword(text)
