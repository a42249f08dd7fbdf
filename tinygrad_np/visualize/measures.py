"""The numbers in a drawing: statistics of values and gradients, costs of calls, and colours for them."""

from __future__ import annotations

import math
import re
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from operator import attrgetter
from typing import Any

import numpy as np

from tinygrad_np.debug.statistics import Statistics, visible
from tinygrad_np.debug.tables import in_bytes, in_seconds
from tinygrad_np.debug.trace import saturated
from tinygrad_np.derivatives.table import LEAF
from tinygrad_np.engine import Node, backward
from tinygrad_np.recording import isolated, no_grad
from tinygrad_np.visualize.picture import NO_GRADIENT, Box, Item, Picture
from tinygrad_np.visualize.wording import shape_line

__all__ = ["Measures", "decimal", "measure", "number", "show_costs", "show_values"]

# The light ends of ColorBrewer's YlGnBu and YlOrBr (Harrower & Brewer 2003): ordered by lightness, distinct to
# colour-blind readers, and with a contrast of at least 4.5 to dark text, as WCAG 2 requires.
GRADIENT_COLORS = ("#ffffd9", "#edf8b1", "#c7e9b4", "#7fcdbb", "#5bbfc4")
COST_COLORS = ("#ffffe5", "#fff7bc", "#fee391", "#fec44f", "#fe9929")
ZERO_GRADIENT, NOT_FINITE = "#e6d5f2", "#ffb3a7"


@dataclass
class Measures:
    """What is known about the numbers in a graph.

    Attributes:
        values: statistics of the results of calls and of leaves.
        gradients: statistics of the gradients; None for a node that no gradient reaches.
        parts: statistics of what calls gave to the gradients of their parents, by the two nodes, in order.
        saturated: for calls of tanh and sigmoid, the share of elements whose slope is nearly 0.
        notices: what the reader must know about them.
    """

    values: dict[Node, Statistics] = field(default_factory=dict)
    gradients: dict[Node, Statistics | None] = field(default_factory=dict)
    parts: dict[tuple[Node, Node], list[Statistics]] = field(default_factory=lambda: defaultdict(list))
    saturated: dict[Node, float] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)


class GradientWatch:
    """A watch that keeps the statistics of each gradient of a backward pass."""

    def __init__(self, found: Measures) -> None:
        self.found = found

    def recorded(self, node: Node, seconds: float) -> None:
        pass

    def reached(self, node: Node, gradient: Any) -> None:
        self.found.gradients[node] = statistics(visible(node, gradient))

    def derived(self, node: Node, parent: Node, contribution: Any) -> None:
        if hasattr(contribution, "shape"):
            self.found.parts[node, parent].append(statistics(contribution))


def statistics(value: Any) -> Statistics:
    """The statistics of an array, or of several arrays together."""
    if isinstance(value, (list, tuple)):
        value = np.concatenate([np.ravel(part) for part in value])
    return Statistics.of(np.asarray(value))


def measure(result: Node, nodes: Sequence[Node], leaves: Iterable[Node]) -> Measures:
    """Find out all that can be known about the values and gradients of a graph, without changing it.

    While the graph is whole, it holds the values, and a backward pass of its own gives the gradients. After
    `backward()` there are the leaves' arrays and `.grad`, and what `debug.trace()` has noted.
    """
    found = Measures()
    freed = any(node.args is None for node in nodes)
    with warnings.catch_warnings(), np.errstate(all="ignore"), no_grad():
        warnings.simplefilter("ignore")
        for node in (*leaves, *nodes):
            if node.args is not None:
                found.values[node] = statistics(visible(node, node.out))
                found.saturated[node] = saturated(node)
            elif node.notes and "value" in node.notes:
                found.values[node] = node.notes["value"]
            notes = node.notes or {}
            found.saturated.setdefault(node, notes.get("saturated", 0.0))
            gradient = notes.get("gradient") if node.rule is not LEAF else node.grad
            for parent, part in notes.get("parts", ()) if freed else ():
                found.parts[node, parent].append(part)
            if freed and gradient is not None:
                found.gradients[node] = gradient if isinstance(gradient, Statistics) else statistics(gradient)
        if not freed:
            found.gradients = dict.fromkeys((*leaves, *nodes))
            try:
                with isolated(GradientWatch(found)):
                    start = np.ones(result.out.shape, result.out.dtype)
                    reached = backward({result: start}, None, retain_graph=True)  # touches no `.grad`
                found.gradients |= {leaf: statistics(gradient) for leaf, gradient in reached.items()}
            except Exception as error:  # in a rule: the drawing may help to find it, so it must not fail
                found.gradients.clear()
                found.notices.append(f"The gradients could not be taken: {type(error).__name__}: {error}")
            if result.out.size != 1:
                found.notices.append("The result is not a scalar: the gradients are those of the sum of its elements.")
        elif any(node not in found.gradients for node in nodes):
            found.notices.append(
                "backward() has freed the graph, and with it most values and gradients: "
                "draw before backward(), or compute inside debug.trace()."
            )
    return found


def merged(parts: Sequence[Statistics]) -> Statistics:
    """The statistics of several arrays together, except for the norm, which is the smallest."""
    finite = [part for part in parts if part.size > part.nan + part.inf]
    size = sum(part.size for part in parts)
    weight = sum(part.size - part.nan - part.inf for part in finite)
    return Statistics(
        size,
        min((part.minimum for part in finite), default=math.nan),
        max((part.maximum for part in finite), default=math.nan),
        sum(part.mean * (part.size - part.nan - part.inf) for part in finite) / weight if weight else math.nan,
        min((part.norm for part in finite), default=math.nan),
        sum(part.zeros for part in parts),
        sum(part.nan for part in parts),
        sum(part.inf for part in parts),
    )


def show_values(
    picture: Picture,
    members: Mapping[Item, Sequence[Node]],
    constants: Mapping[Item, np.ndarray],
    measures: Measures,
    scalar: bool,
) -> None:
    """Write the measures into the items, and colour these by the norms of their gradients; red if not finite.

    If all values are single numbers, these are written, and the items keep their colours.
    """

    def plain(found: Statistics) -> bool:
        return scalar and found.size == 1 and not found.nan + found.inf

    norms: dict[Item, float] = {}
    strange: dict[str, list[Item]] = {"": [], "gradient: ": []}  # where values, and gradients, are not finite
    for item in picture.items:
        nodes = members.get(item, ())
        values = [measures.values[node] for node in nodes if node in measures.values]
        if item in constants and constants[item].dtype.kind in "iufc":
            values = [Statistics.of(constants[item])]
        if values:
            value = merged(values)
            is_complex = constants[item].dtype.kind == "c" if item in constants else "complex" in shape_line(nodes[0])
            item.lines += [f"data {decimal(value.minimum)}"] if plain(value) else _value_lines(value, is_complex)
            item.details.update(_details("value", value))
            strange[""] += _alarm(item, "", value)
        shares = [measures.saturated.get(node, 0.0) for node in nodes]
        if max(shares, default=0) > 0.5:
            item.marks.append(f"saturated: {max(shares):.0%} of the slopes are nearly 0")
        known = [measures.gradients[node] for node in nodes if node in measures.gradients]
        gradients = [gradient for gradient in known if gradient is not None]
        if gradients:
            gradient = merged(gradients)
            lines = _gradient_lines([part.norm for part in gradients], gradient)
            item.lines += [f"grad {decimal(gradient.minimum)}"] if plain(gradient) else lines
            item.details.update(_details("gradient", gradient))
            strange["gradient: "] += _alarm(item, "gradient: ", gradient)
            if not gradient.nan and not gradient.inf and not scalar:
                norms[item] = gradient.norm
        elif known:
            item.lines.append("no gradient reaches it")
            item.color, item.dashed = NO_GRADIENT, True
    if strange[""]:
        picture.notices.append(f"Values first become non-finite at {_where(strange[''][0])}.")
    elif strange["gradient: "]:
        picture.notices.append(
            f"On the way back, gradients first become non-finite {_culprit(members, measures, strange)}."
        )
    zeros = {item for item, norm in norms.items() if norm == 0}
    for item in zeros:
        item.color = ZERO_GRADIENT
    known_norms = {item: norm for item, norm in norms.items() if norm > 0}
    if known_norms:
        edges = _decades(list(known_norms.values()))
        picture.legend += _painted(known_norms, edges, GRADIENT_COLORS, lambda norm: number(norm, 1), "gradient norm ")
    if zeros:
        picture.legend.append((ZERO_GRADIENT, "gradient is zero"))
    for item in strange[""]:
        item.color = NOT_FINITE
    if strange[""]:
        picture.legend.append((NOT_FINITE, "values are not finite"))
    if any(item.color == NO_GRADIENT for item in picture.items):
        picture.legend.append((NO_GRADIENT, "no gradient reaches it"))


def _culprit(members: Mapping[Item, Sequence[Node]], measures: Measures, strange: Mapping[str, Sequence[Item]]) -> str:
    """The derivative that made a finite gradient non-finite; if none is known, where the gradient is not finite."""
    owners = {node: item for item, nodes in members.items() for node in nodes}
    made = [
        user
        for (user, _), parts in measures.parts.items()
        if user in owners and (found := measures.gradients.get(user)) is not None and not found.nan + found.inf
        if any(part.nan + part.inf for part in parts)
    ]
    if made:
        return f"in the derivative of {_where(owners[max(made, key=attrgetter('number'))])}"
    return f"at {_where(strange['gradient: '][-1])}"


def _decades(norms: list[float]) -> list[float]:
    """The edges of equal logarithmic steps, one for each colour, around all norms but the smallest 5%."""
    logarithms = sorted(map(math.log10, norms))
    low, high, steps = logarithms[len(norms) // 20], logarithms[-1], len(GRADIENT_COLORS)
    step = next(step for step in (0.5, *range(1, 1000)) if math.floor(low / step) * step + step * steps > high)
    return [float(f"{10 ** (math.floor(low / step) * step + step * i):.1g}") for i in range(steps + 1)]


def _where(item: Item) -> str:
    """The title of an item, with its module and line if they are known."""
    box = f" in {item.box.title}" if item.box else ""
    line = f", {item.details['line']}" if "line" in item.details else ""
    return f"{item.title}{box}{line}"


def _value_lines(value: Statistics, absolute: bool) -> list[str]:
    if not value.size:
        return ["empty"]
    if value.nan + value.inf == value.size:
        return []
    if value.size == 1:
        return [f"{'absolute ' * absolute}value {number(value.minimum)}"]
    what = "absolute values " if absolute else ""
    zeros = f", {_percent(value.zeros / value.size)} zeros" if value.zeros else ""
    return [f"{what}{number(value.minimum)} to {number(value.maximum)}, mean {number(value.mean)}{zeros}"]


def _gradient_lines(norms: Sequence[float], gradient: Statistics) -> list[str]:
    if not gradient.size or gradient.nan or gradient.inf:
        return []
    if max(norms) == 0:
        return ["gradient zero"]
    if min(norms) == max(norms):
        return [f"gradient norm {number(norms[0])}"]
    return [f"gradient norms {number(min(norms))} to {number(max(norms))}"]


def _alarm(item: Item, what: str, found: Statistics) -> list[Item]:
    """Mark an item if its values or gradients are not all finite; returns a list that holds it if so."""
    words = [f"{count:,} {word}" for count, word in ((found.nan, "nan"), (found.inf, "inf")) if count]
    if not words:
        return []
    item.lines.append(what + ", ".join(words))
    item.alarming = True
    return [item]


def _details(name: str, found: Statistics) -> dict[str, str]:
    """What hovering shows of the values or gradients."""
    return {
        name: f"{number(found.minimum)} to {number(found.maximum)}, mean {number(found.mean)}, "
        f"norm {number(found.norm)}, {found.zeros:,} of {found.size:,} zero, {found.nan:,} nan, {found.inf:,} inf"
    }


def show_costs(picture: Picture, members: Mapping[Item, Sequence[Node]], colored: bool) -> None:
    """Write what `debug.profile()` has noted into items and titles of boxes; if `colored`, colour the items by time."""
    seconds: dict[Item, float] = {}
    boxes: dict[Box, float] = {}
    for item, nodes in members.items():
        sums = {
            name: sum(notes[name] for notes in found)
            for name in ("seconds", "bytes", "backward_seconds", "backward_bytes")
            if (found := [node.notes for node in nodes if node.notes and name in node.notes])
        }
        if not sums:
            continue
        texts = [text(sums[name]) for name, text in (("seconds", in_seconds), ("bytes", in_bytes)) if name in sums]
        backward = [
            text(sums[name])
            for name, text in (("backward_seconds", in_seconds), ("backward_bytes", in_bytes))
            if name in sums
        ]
        line = "; ".join(filter(None, [", ".join(texts), f"backward {', '.join(backward)}" if backward else ""]))
        item.lines.append(line)
        seconds[item] = sums.get("seconds", 0.0) + sums.get("backward_seconds", 0.0)
        box = item.box
        while box is not None:
            boxes[box] = boxes.get(box, 0.0) + seconds[item]
            box = box.outer
    for box, total in boxes.items():
        box.title += f": {in_seconds(total)}"
    if not seconds:
        picture.notices.append("No costs are known: compute, and call backward(), inside debug.profile().")
    elif colored:
        steps = len(COST_COLORS)
        edges = [max(seconds.values()) * i / steps for i in range(steps + 1)]
        picture.legend += _painted(seconds, edges, COST_COLORS, lambda value: in_seconds(value) if value else "0", "")


def _painted(
    amounts: Mapping[Item, float],
    edges: Sequence[float],
    colors: Sequence[str],
    text: Callable[[float], str],
    prefix: str,
) -> list[tuple[str, str]]:
    """Colour items by which of the edges their amounts lie between; returns the legend of the colours in use."""
    used = set()
    for item, amount in amounts.items():
        i = min(max(int(np.searchsorted(edges, amount, "right")) - 1, 0), len(colors) - 1)
        item.color = colors[i]
        used.add(i)
    ranges = [f"{text(low)} to {text(high)}" for low, high in pairwise(edges)]
    if min(amounts.values()) < edges[0]:
        ranges[0] = f"less than {text(edges[1])}"
    return [(colors[i], prefix + ranges[i]) for i in range(min(used), max(used) + 1)]


def decimal(x: float) -> str:
    """A number with at least four decimals, but without zeros at its end: 6.0, -6.9417, 1.2346e-07."""
    if x and not 1e-3 <= abs(x) < 1e6:
        return f"{x:.5g}"
    return f"{x:.4f}".rstrip("0") + "0" * (round(x, 4) == int(x))


def number(x: float, digits: int = 3) -> str:
    return re.sub(r"e([+-])0", r"e\1", f"{float(f'{x:.{digits}g}'):g}")


def _percent(share: float) -> str:
    """A percentage, with "<1%" and ">99%" for what is not quite nothing or all."""
    if 0 < share < 0.01:
        return "<1%"
    return ">99%" if 0.99 < share < 1 else f"{share:.0%}"
