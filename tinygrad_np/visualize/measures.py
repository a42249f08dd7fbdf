"""The numbers in a drawing: statistics of values and gradients, costs of calls, and colours for them."""

from __future__ import annotations

import math
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from operator import attrgetter
from typing import Any

import numpy as np

from tinygrad_np.debug.statistics import Statistics, visible
from tinygrad_np.debug.tables import in_bytes, in_seconds
from tinygrad_np.debug.trace import saturated
from tinygrad_np.engine import Node, backward
from tinygrad_np.recording import isolated, no_grad
from tinygrad_np.visualize.picture import NO_GRADIENT, Item, enclosing
from tinygrad_np.visualize.reading import Reading
from tinygrad_np.visualize.wording import shape_line

__all__ = ["Notes", "decimal", "measure", "number", "show_costs", "show_values"]

# The light ends of ColorBrewer's YlGnBu and YlOrBr (Harrower & Brewer 2003): ordered by lightness, distinct to
# colour-blind readers, and with a contrast of at least 4.5 to dark text, as WCAG 2 requires.
GRADIENT_COLORS = ("#ffffd9", "#edf8b1", "#c7e9b4", "#7fcdbb", "#5bbfc4")
COST_COLORS = ("#ffffe5", "#fff7bc", "#fee391", "#fec44f", "#fe9929")
ZERO_GRADIENT, NOT_FINITE = "#e6d5f2", "#ffb3a7"

Notes = dict[Node, dict[str, Any]]
"""What is known of calls and leaves, by the names that `debug.trace()` gives it: "value", "saturated", "gradient" (None
where none arrives) and "parts", what a call gave to the gradients of its parents."""


class GradientWatch:
    """A watch that notes the statistics of each gradient of a backward pass."""

    def __init__(self, notes: Notes) -> None:
        self.notes = notes

    def recorded(self, node: Node, seconds: float) -> None:
        pass

    def reached(self, node: Node, gradient: Any) -> None:
        self.notes.setdefault(node, {})["gradient"] = statistics(visible(node, gradient))

    def derived(self, node: Node, parent: Node, contribution: Any) -> None:
        if hasattr(contribution, "shape"):
            self.notes[node].setdefault("parts", []).append((parent, statistics(contribution)))


def statistics(value: Any) -> Statistics:
    """The statistics of an array, or of several arrays together."""
    if isinstance(value, (list, tuple)):
        value = np.concatenate([np.ravel(part) for part in value])
    return Statistics.of(np.asarray(value))


def measure(result: Node, nodes: Sequence[Node], leaves: Iterable[Node]) -> tuple[Notes, list[str]]:
    """Find out all that can be known about the values and gradients of a graph, without changing it.

    While the graph is whole, it holds the values, and a backward pass of its own gives the gradients. After
    `backward()` there are the leaves' arrays and `.grad`, and what `debug.trace()` has noted.

    Returns:
        The notes, and what the reader must know about them.
    """
    leaves, notes, notices = list(leaves), Notes(), []
    freed = any(node.args is None for node in nodes)
    with warnings.catch_warnings(), np.errstate(all="ignore"), no_grad():
        warnings.simplefilter("ignore")
        for node in (*leaves, *nodes):
            notes[node] = dict(node.notes or {}) if freed else {"gradient": None}
            if node.args is not None:
                notes[node] |= {"value": statistics(visible(node, node.out)), "saturated": saturated(node)}
        if not freed:
            try:
                with isolated(GradientWatch(notes)):
                    start = np.ones(result.out.shape, result.out.dtype)
                    found = backward({result: start}, None, retain_graph=True)  # touches no `.grad`
            except Exception as error:  # in a rule: the drawing may help to find it, so it must not fail
                found = {}
                for note in notes.values():
                    note.pop("gradient", None)
                notices.append(f"The gradients could not be taken: {type(error).__name__}: {error}")
            if result.out.size != 1:
                notices.append("The result is not a scalar: the gradients are those of the sum of its elements.")
        else:
            found = {leaf: leaf.grad for leaf in leaves if leaf.grad is not None}
            if any("gradient" not in notes[node] for node in nodes):
                notices.append(
                    "backward() has freed the graph, and with it most values and gradients: "
                    "draw before backward(), or compute inside debug.trace()."
                )
        for leaf in leaves:  # of a very large graph not all are shown
            if leaf in found:
                notes[leaf]["gradient"] = statistics(found[leaf])
    return notes, notices


def merged(parts: Sequence[Statistics]) -> Statistics:
    """The statistics of several arrays together, except for the norm, which is the smallest."""
    finite = [part for part in parts if part.size > part.nan + part.inf]
    sizes = [part.size - part.nan - part.inf for part in finite]
    return Statistics(
        sum(part.size for part in parts),
        min((part.minimum for part in finite), default=math.nan),
        max((part.maximum for part in finite), default=math.nan),
        sum(part.mean * size for part, size in zip(finite, sizes, strict=True)) / sum(sizes) if finite else math.nan,
        min((part.norm for part in finite), default=math.nan),
        sum(part.zeros for part in parts),
        sum(part.nan for part in parts),
        sum(part.inf for part in parts),
    )


def is_bad(found: Statistics) -> bool:
    return found.nan + found.inf > 0


def show_values(reading: Reading, notes: Notes) -> None:
    """Write the measures into the items, and colour these by the norms of their gradients; red if not finite.

    If all values are single numbers, these are written, and the items keep their colours.
    """
    picture, members, constants = reading.picture, reading.members, reading.constants
    norms: dict[Item, float] = {}
    strange: dict[str, list[Item]] = {"value": [], "gradient": []}  # where these are not finite
    for item in picture.items:
        known = [notes[node] for node in members.get(item, ()) if node in notes]
        values = [note["value"] for note in known if "value" in note]
        is_complex = bool(values) and "complex" in shape_line(members[item][0])
        if item in constants and constants[item].dtype.kind in "iufc":
            values, is_complex = [Statistics.of(constants[item])], constants[item].dtype.kind == "c"
        gradients = [note["gradient"] for note in known if note.get("gradient") is not None]
        for name, found in (("value", values), ("gradient", gradients)):
            if not found:
                continue
            whole = merged(found)
            if reading.scalar and whole.size == 1 and not is_bad(whole):
                item.lines.append(f"{'data' if name == 'value' else 'grad'} {decimal(whole.minimum)}")
            elif name == "value":
                item.lines += value_lines(whole, "absolute " * is_complex)
            elif whole.size and not is_bad(whole):
                item.lines.append(gradient_line([part.norm for part in gradients]))
                norms |= {item: whole.norm} if not reading.scalar else {}
            item.details[name] = (
                f"{number(whole.minimum)} to {number(whole.maximum)}, mean {number(whole.mean)}, "
                f"norm {number(whole.norm)}, {whole.zeros:,} of {whole.size:,} zero, "
                f"{whole.nan:,} nan, {whole.inf:,} inf"
            )
            if is_bad(whole):
                words = [f"{count:,} {word}" for count, word in ((whole.nan, "nan"), (whole.inf, "inf")) if count]
                item.lines.append("gradient: " * (name == "gradient") + ", ".join(words))
                item.alarming = True
                strange[name].append(item)
        share = max((note.get("saturated", 0.0) for note in known), default=0.0)
        if share > 0.5:
            item.marks.append(f"saturated: {share:.0%} of the slopes are nearly 0")
        if not gradients and any("gradient" in note for note in known):
            item.lines.append("no gradient reaches it")
            item.color, item.dashed = NO_GRADIENT, True
    if strange["value"]:
        picture.notices.append(f"Values first become non-finite at {where(strange['value'][0])}.")
    elif strange["gradient"]:
        place = culprit(members, notes) or f"at {where(strange['gradient'][-1])}"
        picture.notices.append(f"On the way back, gradients first become non-finite {place}.")
    if known_norms := {item: norm for item, norm in norms.items() if norm > 0}:
        edges = decades(list(known_norms.values()))
        ranges = painted(known_norms, edges, GRADIENT_COLORS, lambda norm: number(norm, 1))
        picture.legend += [(color, f"gradient norm {text}") for color, text in ranges]
    for color, text, items in (
        (ZERO_GRADIENT, "gradient is zero", [item for item, norm in norms.items() if norm == 0]),
        (NOT_FINITE, "values are not finite", strange["value"]),
        (NO_GRADIENT, "no gradient reaches it", [item for item in picture.items if item.color == NO_GRADIENT]),
    ):
        for item in items:
            item.color = color
        picture.legend += [(color, text)] * bool(items)


def culprit(members: Mapping[Item, Sequence[Node]], notes: Notes) -> str:
    """The derivative that made of a finite gradient one that is not, as text; "" if none is known to have."""
    owners = {node: item for item, nodes in members.items() for node in nodes}
    made = [
        node
        for node, note in notes.items()
        if node in owners and note.get("gradient") is not None and not is_bad(note["gradient"])
        if any(is_bad(part) for _, part in note.get("parts", ()))
    ]
    return f"in the derivative of {where(owners[max(made, key=attrgetter('number'))])}" if made else ""


def decades(norms: list[float]) -> list[float]:
    """The edges of equal logarithmic steps, one for each colour, around all norms but the smallest 5%."""
    logarithms = sorted(map(math.log10, norms))
    low, high, steps = logarithms[len(norms) // 20], logarithms[-1], len(GRADIENT_COLORS)
    step = next(step for step in (0.5, *range(1, 1000)) if math.floor(low / step) * step + step * steps > high)
    return [float(f"{10 ** (math.floor(low / step) * step + step * i):.1g}") for i in range(steps + 1)]


def where(item: Item) -> str:
    """The title of an item, with its module and line if they are known."""
    box = f" in {item.box.title}" if item.box else ""
    line = f", {item.details['line']}" if "line" in item.details else ""
    return f"{item.title}{box}{line}"


def value_lines(value: Statistics, absolute: str) -> list[str]:
    if value.nan + value.inf == value.size:
        return [] if value.size else ["empty"]
    if value.size == 1:
        return [f"{absolute}value {number(value.minimum)}"]
    share = value.zeros / value.size  # "<1%" and ">99%" are not quite nothing and all
    percent = "<1%" if share < 0.01 else ">99%" if 0.99 < share < 1 else f"{share:.0%}"
    zeros = f", {percent} zeros" * (value.zeros > 0)
    low, high = number(value.minimum), number(value.maximum)
    spread = f"{low} to {high}, mean {number(value.mean)}{zeros}" if low != high else f"all {low}"
    return [f"{f'{absolute}values ' * bool(absolute)}{spread}"]


def gradient_line(norms: Sequence[float]) -> str:
    low, high = min(norms), max(norms)
    if low == high:
        return f"gradient norm {number(high)}" if high else "gradient zero"
    return f"gradient norms {number(low)} to {number(high)}"


def show_costs(reading: Reading, colored: bool) -> None:
    """Write what `debug.profile()` has noted into items and titles of boxes; if `colored`, colour the items by time."""
    seconds: dict[Item, float] = {}
    boxes: Counter[Any] = Counter()
    for item, nodes in reading.members.items():
        sums: Counter[str] = Counter()
        for notes in (node.notes or {} for node in nodes):
            sums.update(
                {
                    name: notes[name]
                    for name in ("seconds", "bytes", "backward_seconds", "backward_bytes")
                    if name in notes
                }
            )
        ways = [
            f"{words}{in_seconds(sums[f'{way}seconds'])}, {in_bytes(sums[f'{way}bytes'])}"
            for way, words in (("", ""), ("backward_", "backward "))
            if f"{way}seconds" in sums
        ]
        if ways:
            item.lines.append("; ".join(ways))
            seconds[item] = sums["seconds"] + sums["backward_seconds"]
            boxes.update(dict.fromkeys(enclosing(item.box), seconds[item]))
    for box, total in boxes.items():
        box.title += f": {in_seconds(total)}"
    if not seconds:
        reading.picture.notices.append("No costs are known: compute, and call backward(), inside debug.profile().")
    elif colored:
        edges = [max(seconds.values()) * i / len(COST_COLORS) for i in range(len(COST_COLORS) + 1)]
        reading.picture.legend += painted(
            seconds, edges, COST_COLORS, lambda value: in_seconds(value) if value else "0"
        )


def painted(
    amounts: Mapping[Item, float], edges: Sequence[float], colors: Sequence[str], text: Callable[[float], str]
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
    return [(colors[i], ranges[i]) for i in range(min(used), max(used) + 1)]


def decimal(x: float) -> str:
    """A number with four decimals, but without zeros at its end: 6.0, -6.9417, 1.2346e-07."""
    if x and not 1e-3 <= abs(x) < 1e6:
        return f"{x:.5g}"
    text = f"{x:.4f}".rstrip("0")
    return text + "0" * text.endswith(".")


def number(x: float, digits: int = 3) -> str:
    return re.sub(r"e([+-])0", r"e\1", f"{float(f'{x:.{digits}g}') + 0.0:g}")  # without the sign of -0.0
