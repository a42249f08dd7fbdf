"""A `Picture` as text in DOT, the language of Graphviz.

Data flows from top to bottom. A parameter, or a constant such as labels, stands beside the only operation that uses it,
which keeps deep networks short. The notices and the legend come first.
"""

from __future__ import annotations

import html
import re
import textwrap
from collections import defaultdict

import graphviz

from tinygrad_np.printing import printable
from tinygrad_np.visualize.picture import Box, Edge, Item, Picture

__all__ = ["to_dot"]

FONT = "Helvetica"  # whose metrics every renderer knows; an SVG names the alternatives
INK, LINES, GREY, ALARM = "#1f2933", "#3a434e", "#5f6b7a", "#d00000"
SHAPES = {
    "operation": ("box", "rounded,filled"),
    "parameter": ("cylinder", "filled"),
    "input": ("box", "filled"),
    "constant": ("note", "filled"),
    "module": ("box", "rounded,filled"),
}
LONGEST = 60  # characters of a title or a line


def to_dot(picture: Picture) -> str:
    """Write a picture as text in DOT.

    Nodes are named by the keys of their items, clusters by "cluster_" and the keys of their boxes.
    """
    whole = graphviz.Digraph("graph")
    whole.attr(newrank="true", nslimit="2")  # align ranks across boxes; limit the time for placing
    whole.attr(rankdir="TB", fontname=FONT, nodesep="0.25", ranksep="0.3", labelloc="t", labeljust="l")
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
        graphs[item.box].node(
            item.key,
            _label(item),
            shape=shape,
            style=style + ",dashed" * item.dashed,
            fillcolor=item.color,
            tooltip=_tooltip(item.title, item.details),
            peripheries="2" if item.kind in ("input", "module") else "1",
            margin="0.1,0.09" if shape == "cylinder" else "0.1,0.03",
            **({"color": ALARM, "penwidth": "2.5"} if item.alarming else {}),
        )
    beside = _beside(picture)
    for head, companions in beside.items():
        with graphs[head.box].subgraph() as row:
            row.attr(rank="same")
            for i, edge in enumerate(companions):
                if i % 2 == 0:
                    row.edge(edge.tail.key, edge.head.key, _text(edge.label))
                else:  # to the right of it
                    row.edge(edge.head.key, edge.tail.key, _text(edge.label), dir="back")
    placed = {edge for companions in beside.values() for edge in companions}
    for edge in picture.edges:
        if edge.carried:
            label = "" if edge.tail is edge.head else edge.label or "next round"
            whole.edge(edge.tail.key, edge.head.key, _text(label), style="dashed", constraint="false")
        elif edge not in placed:
            whole.edge(edge.tail.key, edge.head.key, _text(edge.label))
    for box in reversed(picture.boxes):  # the inner ones first, since adding a subgraph copies it
        graphs[box.outer].subgraph(graphs[box])
    source: str = whole.source
    return source


def _cluster(box: Box, depth: int) -> graphviz.Digraph:
    cluster = graphviz.Digraph(f"cluster_{box.key}")
    shades = ("#f7f9fb", "#eef2f6") if box.rounds == 1 else ("#fdf8ee", "#fdf8ee")
    cluster.attr(
        label=_text(box.title),
        tooltip=_tooltip(box.title, box.details),
        style="rounded,filled" + ",dashed" * (box.rounds > 1),
        fillcolor=shades[depth % 2],
        color="#c3ccd6" if box.rounds == 1 else "#b7791f",
        fontcolor=GREY if box.rounds == 1 else "#8a5a12",
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
        leaving[edge.tail] += 1
        if edge.tail.kind not in ("parameter", "constant"):
            flowing.add(edge.head)
    beside: dict[Item, list[Edge]] = defaultdict(list)
    for edge in picture.edges:
        kinds = ("parameter", "constant") if edge.head in flowing else ("parameter",)
        if edge.tail.kind in kinds and leaving[edge.tail] == 1 and edge.tail.box is edge.head.box:
            beside[edge.head].append(edge)
    return beside


def _label(item: Item) -> str:
    """A table with the title and the lines of an item."""
    lines = "".join(
        f'<TR><TD><FONT POINT-SIZE="9" COLOR="{LINES}">{_escaped(line)}</FONT></TD></TR>' for line in item.lines
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
