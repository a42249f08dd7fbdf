"""A `Picture` as text in DOT, the language of Graphviz.

A parameter, or a constant such as labels, stands beside the only operation that uses it, which keeps deep networks
short. What is much too long for a page is broken into columns. The notices and the legend come first.
"""

from __future__ import annotations

import html
import math
import re
import textwrap
from collections import defaultdict

import graphviz

from tinygrad_np.printing import printable
from tinygrad_np.visualize.picture import BACK, Box, Edge, Item, Picture

__all__ = ["to_dot"]

FONT = "Helvetica"  # whose metrics every renderer knows; an SVG names the alternatives
INK, LINES, GREY, ALARM, LOOK = "#1f2933", "#3a434e", "#5f6b7a", "#d00000", "#b45309"
SHAPES = {
    "operation": ("box", "rounded,filled"),
    "parameter": ("cylinder", "filled"),
    "input": ("box", "filled"),
    "constant": ("note", "filled"),
    "module": ("box", "rounded,filled"),
}
LONGEST = 60  # characters of a title or a line
LONG, WIDTH = 1500, 400  # the length from which on a drawing is broken into columns, and the width of a column


def to_dot(picture: Picture) -> str:
    """Write a picture as text in DOT.

    Nodes are named by the keys of their items, clusters by "cluster_" and the keys of their boxes.
    """
    whole = graphviz.Digraph("graph")
    whole.attr(newrank="true", nslimit="2")  # align ranks across boxes; limit the time for placing
    whole.attr(rankdir=picture.direction, fontname=FONT, nodesep="0.25", ranksep="0.3", labelloc="t", labeljust="l")
    whole.attr("node", fontname=FONT, fontsize="11", fontcolor=INK, color=GREY, height="0.3")
    whole.attr("edge", fontname=FONT, fontsize="9", fontcolor=GREY, color="#8a96a3", arrowsize="0.6")
    if picture.notices or picture.legend:
        whole.attr(label=_heading(picture))
    graphs: dict[Box | None, graphviz.Digraph] = {None: whole}
    depths: dict[Box | None, int] = {None: 0}
    for box in picture.boxes:
        depths[box] = depths[box.outer] + 1
        graphs[box] = _cluster(box, depths[box])
    for item in picture.items:
        shape, style = SHAPES[item.kind]
        outline = ALARM if item.alarming else LOOK if item.marks else ""
        graphs[item.box].node(
            item.key,
            _label(item),
            shape=shape,
            style=style + ",dashed" * item.dashed,
            fillcolor=item.color,
            tooltip=_tooltip(item.title, item.details),
            peripheries="2" if item.kind in ("input", "module") else "1",
            margin="0.1,0.09" if shape == "cylinder" else "0.1,0.03",
            **({"color": outline, "penwidth": "2.5"} if outline else {}),
        )
    beside = _beside(picture)
    side = {}  # whether an item stands to the left of the operation that it is beside
    for head, companions in beside.items():
        with graphs[head.box].subgraph() as row:
            row.attr(rank="same")
            for i, edge in enumerate(companions):
                side[edge.tail] = i % 2 == 0
                _draw_edge(row, edge, reverse=not side[edge.tail])
    column, first = _columns(picture)
    if len(first) > 1:
        with whole.subgraph() as row:
            row.attr(rank="same")
            for item in first:
                row.node(item.key)
    placed = {edge for companions in beside.values() for edge in companions}
    for edge in picture.edges:
        if edge.backward:  # the same way as the edge forward, so that the layout stays the same
            aside = edge.head in side
            graph = graphs[edge.tail.box] if aside else whole
            _draw_edge(graph, edge, reverse=not aside or side[edge.head], loose=edge.carried or column.get(edge.tail) != column.get(edge.head))
        elif edge not in placed:
            _draw_edge(whole, edge, loose=edge.carried or column.get(edge.tail) != column.get(edge.head))
    for box in reversed(picture.boxes):  # the inner ones first, since adding a subgraph copies it
        graphs[box.outer].subgraph(graphs[box])
    source: str = whole.source
    return source


def _draw_edge(graph: graphviz.Digraph, edge: Edge, reverse: bool = False, loose: bool = False) -> None:
    """Draw an edge, in reverse to have its head above its tail, loose to leave the two where they are."""
    attributes = {"style": "dashed"} if edge.carried else {}
    if edge.backward:
        color = BACK[min(edge.tail.order, 2)]
        attributes |= {"color": color, "fontcolor": color, "arrowhead": "normal"}
    if loose:
        attributes["constraint"] = "false"
    label = "next round" if edge.carried and not edge.label and edge.tail is not edge.head else edge.label
    if edge.carried and edge.tail is edge.head:
        label = ""
    if reverse:
        graph.edge(edge.head.key, edge.tail.key, _text(label), dir="back", **attributes)
    else:
        graph.edge(edge.tail.key, edge.head.key, _text(label), **attributes)


def _columns(picture: Picture) -> tuple[dict[Item, int], list[Item]]:
    """Break what would be much too long into columns, which together fill a page.

    A column may end where a single value leads on.

    Returns:
        The column of each item that stands on its own, and the first item of each column.
    """
    calls = [item for item in picture.items if item.kind in ("operation", "module")]
    place = {item: i for i, item in enumerate(calls)}
    ends = dict(place)  # of each value, its last use
    bottom: dict[Item, float] = defaultdict(float)
    for edge in picture.edges:
        if edge.tail in place and not edge.backward and not edge.carried:
            ends[edge.tail] = max(ends[edge.tail], place[edge.head])
    inputs: dict[Item, list[Item]] = defaultdict(list)
    for edge in picture.edges:
        if edge.tail in place and not edge.backward and not edge.carried:
            inputs[edge.head].append(edge.tail)
    for item in calls:
        length = 55 + 11 * len(item.lines + item.formulas + item.marks) if picture.direction == "TB" else 130
        bottom[item] = max((bottom[tail] for tail in inputs[item]), default=0) + length
    total = max(bottom.values(), default=0)
    target = total / max(round(math.sqrt(total / WIDTH)), 1) if total > LONG else total
    open_values = [0] * (len(calls) + 1)
    for item, end in ends.items():
        open_values[place[item]] += 1
        open_values[end] -= 1
    column, first = {}, calls[:1]
    crossing, reached, start = 0, 0.0, 0.0
    for i, item in enumerate(calls):
        column[item] = len(first) - 1
        crossing += open_values[i]
        reached = max(reached, bottom[item])
        rounds = _rounds(item)
        if crossing == 1 and reached - start >= target and total - reached > target / 3 and i + 1 < len(calls):
            if rounds is None or rounds is not _rounds(calls[i + 1]):
                first.append(calls[i + 1])
                start = reached
    for edge in picture.edges:
        if edge.tail not in place and not edge.backward:
            column.setdefault(edge.tail, column.get(edge.head, 0))
    return column, first


def _rounds(item: Item) -> Box | None:
    """The outermost repetition that an item belongs to."""
    box, found = item.box, None
    while box is not None:
        found = box if box.rounds > 1 else found
        box = box.outer
    return found


def _cluster(box: Box, depth: int) -> graphviz.Digraph:
    cluster = graphviz.Digraph(f"cluster_{box.key}")
    shades = ("#f7f9fb", "#eef2f6") if box.rounds == 1 else ("#fdf8ee", "#fdf8ee")
    if box.order:
        shades = (("#fff8f0", "#fff8f0"), ("#fcf4fb", "#fcf4fb"))[min(box.order, 2) - 1]
    special = box.rounds > 1 or box.order
    cluster.attr(
        label=_text(box.title),
        tooltip=_tooltip(box.title, box.details),
        style="rounded,filled" + ",dashed" * (box.rounds > 1),
        fillcolor=shades[depth % 2],
        color="#b7791f" if special else "#c3ccd6",
        fontcolor="#8a5a12" if special else GREY,
        fontsize="10",
        labeljust="l",
        margin="9",
    )
    return cluster


def _beside(picture: Picture) -> dict[Item, list[Edge]]:
    """For each operation, the edges from parameters and constants in its box that nothing else uses."""
    leaving: dict[Item, int] = defaultdict(int)
    flowing = set()  # operations with other inputs than parameters and constants
    for edge in picture.edges:
        if edge.backward:
            continue
        leaving[edge.tail] += 1
        if edge.tail.kind not in ("parameter", "constant"):
            flowing.add(edge.head)
    beside: dict[Item, list[Edge]] = defaultdict(list)
    for edge in picture.edges:
        kinds = ("parameter", "constant") if edge.head in flowing else ("parameter",)
        if not edge.backward and edge.tail.kind in kinds and leaving[edge.tail] == 1 and edge.tail.box is edge.head.box:
            beside[edge.head].append(edge)
    return beside


def _label(item: Item) -> str:
    """A table with the title and the lines of an item."""
    rows = [(line, LINES) for line in item.lines]
    rows += [(line, BACK[min(item.order, 2)]) for line in item.formulas] + [(line, LOOK) for line in item.marks]
    lines = "".join(
        f'<TR><TD><FONT POINT-SIZE="9" COLOR="{color}">{_escaped(line)}</FONT></TD></TR>' for line, color in rows
    )
    title = f"<TR><TD>{_escaped(item.title)}</TD></TR>"
    return f'<<TABLE BORDER="0" CELLSPACING="0" CELLPADDING="1">{title}{lines}</TABLE>>'


def _heading(picture: Picture) -> str:
    """A table with a row for each notice and a row for the legend."""
    rows = [
        f'<TR><TD ALIGN="LEFT" BALIGN="LEFT"><FONT POINT-SIZE="11" COLOR="#8a5a12">{_wrapped(notice)}</FONT></TD></TR>'
        for notice in picture.notices
    ]
    cells = "".join(
        f'<TD BGCOLOR="{color}" BORDER="1" COLOR="#c3ccd6" WIDTH="14" HEIGHT="12" FIXEDSIZE="TRUE"></TD>'
        f'<TD ALIGN="LEFT"><FONT POINT-SIZE="9" COLOR="{GREY}">{_escaped(text)}  </FONT></TD>'
        for color, text in picture.legend
    )
    if cells:
        table = f'<TABLE BORDER="0" CELLSPACING="2" CELLPADDING="1"><TR>{cells}</TR></TABLE>'
        rows.append(f'<TR><TD ALIGN="LEFT">{table}</TD></TR>')
    return f'<<TABLE BORDER="0" CELLSPACING="2" CELLPADDING="1">{"".join(rows)}</TABLE>>'


def _text(text: str) -> str:
    """A label that shows the text exactly as it stands."""
    return f"<{_escaped(text)}>" if text else ""


def _escaped(text: str) -> str:
    """The text for a label in Graphviz's likeness of HTML: on one line, and not too long."""
    text = _plain(text)
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"
    return html.escape(text)


def _plain(text: str) -> str:
    """Put the text on one line, and show what cannot be seen, or XML cannot represent, as escapes."""
    return printable(re.sub(r"[\n\r\t]+", " ", text))


def _wrapped(text: str) -> str:
    """Break a long sentence into lines."""
    return '<BR ALIGN="LEFT"/>'.join(map(html.escape, textwrap.wrap(_plain(text), 90)))


def _tooltip(title: str, details: dict[str, str]) -> str:
    """What hovering shows: the title, and a line for each detail."""
    lines = [title, *(f"{name}: {text}" for name, text in details.items())]
    escaped: str = graphviz.escape("\n".join(map(_plain, lines)))
    return escaped
