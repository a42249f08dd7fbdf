"""A `Picture` as text in DOT, the language of Graphviz.

A parameter, or a constant such as labels, stands beside the only operation that uses it, which keeps deep networks
short. The notices and the legend come first.
"""

from __future__ import annotations

import html
import re
import textwrap
from collections import defaultdict
from itertools import pairwise

import graphviz

from tinygrad_np.printing import printable
from tinygrad_np.visualize.picture import BACK, LONGEST, LONGEST_ROW, Box, Edge, Item, Picture

__all__ = ["LOOK", "outline_color", "shortened", "to_dot"]

FONT = "Helvetica"  # whose metrics every renderer knows; an SVG names the alternatives
INK, LINES, GREY, ALARM, LOOK = "#1f2933", "#3a434e", "#5f6b7a", "#d00000", "#b45309"
SHAPES = {
    "operation": ("box", "rounded,filled"),
    "parameter": ("cylinder", "filled"),
    "input": ("box", "filled"),
    "constant": ("note", "filled"),
    "module": ("box", "rounded,filled"),
    "sign": ("circle", "filled"),  # where a column goes on
}


def to_dot(picture: Picture) -> str:
    """Write a picture as text in DOT.

    Nodes are named by the keys of their items, clusters by "cluster_" and the keys of their boxes.
    """
    whole = graphviz.Digraph("graph")
    whole.attr(newrank="true", nslimit="2")  # align ranks across boxes; limit the time for placing
    whole.attr(rankdir=picture.direction, fontname=FONT, nodesep="0.25", ranksep="0.22", labelloc="t", labeljust="l")
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
        outline = outline_color(item)
        graphs[item.box].node(
            item.key,
            _label(item),
            shape=shape,
            style=style + ",dashed" * item.dashed,
            fillcolor=item.color,
            tooltip=_tooltip(item.title, item.details),
            peripheries="2" if item.kind in ("input", "module") else "1",
            margin="0.1,0.09" if shape == "cylinder" else "0.02" if shape == "circle" else "0.1,0.03",
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
    if picture.tops:  # Graphviz keeps points in order, and what hangs from them
        outer = picture.tops[-1].box
        graph = graphs[outer.outer if outer is not None else None]
        with graph.subgraph(graph_attr={"rank": "same"}) as row:
            for item in picture.tops:
                row.node(f"above {item.key}", "", shape="point", style="invis", width="0", height="0")
            for left, right in pairwise(picture.tops):
                row.edge(f"above {left.key}", f"above {right.key}", style="invis")
        whole.attr(remincross="false")  # which would change the order again
        for item in picture.tops:
            graph.edge(f"above {item.key}", item.key, style="invis", weight="1000")
    placed = {edge for companions in beside.values() for edge in companions}
    for edge in picture.edges:
        if edge.backward:  # the same way as the edge forward, so that the layout stays the same
            aside = edge.head in side
            graph = graphs[edge.tail.box] if aside else whole
            _draw_edge(graph, edge, reverse=not aside or side[edge.head], loose=edge.carried)
        elif edge not in placed:
            _draw_edge(whole, edge, loose=edge.carried)
    for box in reversed(picture.boxes):  # the inner ones first, since adding a subgraph copies it
        graphs[box.outer].subgraph(graphs[box])
    source: str = whole.source
    return source


def outline_color(item: Item) -> str:
    """The colour of an outline that the reader must see; "" for the usual one."""
    return ALARM if item.alarming else LOOK if item.marks else ""


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


def _cluster(box: Box, depth: int) -> graphviz.Digraph:
    cluster = graphviz.Digraph(f"cluster_{box.key}")
    shades = ("#f7f9fb", "#eef2f6") if box.rounds == 1 else ("#fdf8ee", "#fdf8ee")
    if box.order:
        shades = (("#fff8f0", "#fff8f0"), ("#fcf4fb", "#fcf4fb"))[min(box.order, 2) - 1]
    special = box.rounds > 1 or box.order
    if not box.title:  # the frame of a column
        cluster.attr(label="", peripheries="0", margin="4")
        return cluster
    cluster.attr(
        label=_text(box.title),
        tooltip=_tooltip(box.title, box.details),
        style="rounded,filled" + ",dashed" * (box.rounds > 1),
        fillcolor=shades[depth % 2],
        color="#b7791f" if special else "#c3ccd6",
        fontcolor="#8a5a12" if special else GREY,
        fontsize="10",
        labeljust="l",
        margin="7",
        peripheries="1",
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
        f'<TR><TD><FONT POINT-SIZE="9" COLOR="{color}">{_escaped(line, LONGEST_ROW)}</FONT></TD></TR>'
        for line, color in rows
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


def _escaped(text: str, longest: int = LONGEST) -> str:
    """The text for a label in Graphviz's likeness of HTML."""
    return html.escape(shortened(text, longest))


def shortened(text: str, longest: int = LONGEST) -> str:
    """The text on one line, and not too long."""
    text = _plain(text)
    return f"{text[: longest // 2]} ... {text[-longest // 2 :]}" if len(text) > longest else text


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
