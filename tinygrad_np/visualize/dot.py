"""A `Picture` as text in DOT, the language of Graphviz.

A parameter, or a constant such as labels, stands beside the only operation that uses it, which keeps deep networks
short. The notices and the legend come first.
"""

from __future__ import annotations

import html
import textwrap
from collections import Counter, defaultdict
from itertools import pairwise

import graphviz

from tinygrad_np.visualize.picture import (
    GREY,
    LONGEST,
    LONGEST_ROW,
    WIRE,
    Box,
    Edge,
    Item,
    Picture,
    enclosing,
    on_one_line,
)

__all__ = ["to_dot"]

GRAPH = {"newrank": "true", "nslimit": "2"}  # align ranks across boxes; limit the time for placing
GRAPH |= {"fontname": "Helvetica", "nodesep": "0.25", "labelloc": "t", "labeljust": "l"}
NODE = {"fontname": "Helvetica", "fontsize": "11", "fontcolor": "#1f2933", "color": GREY, "height": "0.3"}
EDGE = {"fontname": "Helvetica", "fontsize": "9", "fontcolor": GREY, "color": WIRE, "arrowsize": "0.6"}
"""Helvetica's metrics every renderer knows; an SVG names the alternatives."""

SHAPES = {
    "operation": {"shape": "box", "style": "rounded,filled", "margin": "0.1,0.03"},
    "parameter": {"shape": "cylinder", "style": "filled", "margin": "0.1,0.09"},
    "input": {"shape": "box", "style": "filled", "margin": "0.1,0.03", "peripheries": "2"},
    "constant": {"shape": "note", "style": "filled", "margin": "0.1,0.03"},
    "module": {"shape": "box", "style": "rounded,filled", "margin": "0.1,0.03", "peripheries": "2"},
    "sign": {"shape": "circle", "style": "filled", "margin": "0.02"},  # where a column goes on
}


def to_dot(picture: Picture) -> str:
    """Write a picture as text in DOT.

    Nodes are named by the keys of their items, clusters by "cluster_" and the keys of their boxes.
    """
    options = {"rankdir": picture.direction, "ranksep": "0.22" if picture.direction == "TB" else "0.4"}
    whole = graphviz.Digraph(graph_attr=GRAPH | options | heading(picture), node_attr=NODE, edge_attr=EDGE)
    crowds = Counter(item.box for item in picture.items)
    graphs: dict[Box | None, graphviz.Digraph] = {None: whole}
    graphs |= {box: cluster(box, alone=crowds[box] == 1) for box in picture.boxes}
    for item in picture.items:
        draw_item(graphs[item.box], item)
    number = {edge: k for k, edge in enumerate(picture.edges)}
    left: dict[Item, bool] = {}  # whether an item stands to the left of the operation that it is beside
    for head, edges in beside(picture).items():
        left |= {edge.tail: i % 2 == 0 for i, edge in enumerate(edges)}
        with graphs[head.box].subgraph(graph_attr={"rank": "same"}) as row:
            for edge in edges:
                draw_edge(row, number[edge], edge, not left[edge.tail])
    for edge in picture.edges:
        if edge.backward:  # the same way as the edge forward, so that the layout stays the same
            aside = edge.head in left
            draw_edge(graphs[edge.tail.box] if aside else whole, number[edge], edge, left.get(edge.head, True))
        elif edge.tail not in left:
            draw_edge(whole, number[edge], edge, False)
    if picture.tops:  # Graphviz keeps points in order, and what hangs from them, if it does not try again
        outer = picture.tops[-1].box
        graph = graphs[outer.outer if outer is not None else None]
        with graph.subgraph(graph_attr={"rank": "same"}) as row:
            for item in picture.tops:
                row.node(f"above {item.key}", "", shape="point", style="invis", width="0", height="0")
            for one, other in pairwise(picture.tops):
                row.edge(f"above {one.key}", f"above {other.key}", style="invis")
        for item in picture.tops:
            graph.edge(f"above {item.key}", item.key, style="invis", weight="1000")
        whole.attr(remincross="false")
    for box in reversed(picture.boxes):  # the inner ones first, since adding a subgraph copies it
        graphs[box.outer].subgraph(graphs[box])
    source: str = whole.source
    return source


def draw_item(graph: graphviz.Digraph, item: Item) -> None:
    rows = "".join(
        f'<TR><TD><FONT POINT-SIZE="9" COLOR="{color}">{escaped(text, LONGEST_ROW)}</FONT></TD></TR>'
        for _, text, color in item.rows
    )
    title = f"<TR><TD>{escaped(item.title)}</TD></TR>"
    look = SHAPES[item.kind] | {"fillcolor": item.color, "tooltip": tooltip(item)}
    look["style"] += ",dashed" * item.dashed
    if item.outline:
        look |= {"color": item.outline, "penwidth": "2.5"}
    graph.node(item.key, f'<<TABLE BORDER="0" CELLSPACING="0" CELLPADDING="1">{title}{rows}</TABLE>>', **look)


def draw_edge(graph: graphviz.Digraph, k: int, edge: Edge, reverse: bool) -> None:
    """Draw the edge number `k`, in reverse to have its head above its tail. One to the next round moves neither."""
    look = {"id": f"edge{k}"} | ({"dir": "back"} if reverse else {})
    if edge.backward:
        look |= {"color": edge.color, "fontcolor": edge.color}
    if edge.carried:
        look |= {"style": "dashed", "constraint": "false"}
    ends = (edge.head, edge.tail) if reverse else (edge.tail, edge.head)
    if edge.label:
        look["label"] = f"<&#160;{escaped(edge.label)}&#160;>"
    graph.edge(ends[0].key, ends[1].key, **look)


def cluster(box: Box, alone: bool) -> graphviz.Digraph:
    """The graph of a box, empty as yet. Around an item `alone` it leaves room for the title beside edges."""
    look = {"label": "", "peripheries": "0", "margin": "4"}  # the frame of a column
    if box.title:
        title = escaped(box.title)
        if alone:
            room = f'<TD>{title}</TD><TD WIDTH="{5 * len(box.title[:LONGEST])}"></TD>'
            title = f'<TABLE BORDER="0" CELLSPACING="0" CELLPADDING="0"><TR>{room}</TR></TABLE>'
        fill, color, font = ("#f7f9fb", "#eef2f6")[len(enclosing(box)) % 2], "#c3ccd6", GREY
        if box.rounds > 1 or box.order:
            fill, color, font = ("#fdf8ee", "#fff8f0", "#fcf4fb")[min(box.order, 2)], "#b7791f", "#8a5a12"
        look = {"label": f"<{title}>", "tooltip": tooltip(box), "fontsize": "10", "margin": "7"}
        look |= {"style": "rounded,filled" + ",dashed" * (box.rounds > 1), "peripheries": "1"}
        look |= {"fillcolor": fill, "color": color, "fontcolor": font}
    return graphviz.Digraph(f"cluster_{box.key}", graph_attr=look)


def beside(picture: Picture) -> dict[Item, list[Edge]]:
    """For each operation, the edges from parameters and constants in its box that nothing else uses."""
    forward = [edge for edge in picture.edges if not edge.backward]
    uses = Counter(edge.tail for edge in forward)
    flowing = {edge.head for edge in forward if edge.tail.kind not in ("parameter", "constant")}
    found: dict[Item, list[Edge]] = defaultdict(list)
    for edge in forward:
        kinds = ("parameter", "constant") if edge.head in flowing else ("parameter",)
        if edge.tail.kind in kinds and uses[edge.tail] == 1 and edge.tail.box is edge.head.box:
            found[edge.head].append(edge)
    return found


def heading(picture: Picture) -> dict[str, str]:
    """The label of the whole: a row for each notice, and one for the legend."""
    rows = [
        '<TR><TD ALIGN="LEFT" BALIGN="LEFT"><FONT POINT-SIZE="11" COLOR="#8a5a12">'
        + '<BR ALIGN="LEFT"/>'.join(map(html.escape, textwrap.wrap(on_one_line(notice), 90)))
        + "</FONT></TD></TR>"
        for notice in picture.notices
    ]
    cells = "".join(
        f'<TD BGCOLOR="{color}" BORDER="1" COLOR="#c3ccd6" WIDTH="14" HEIGHT="12" FIXEDSIZE="TRUE"></TD>'
        f'<TD ALIGN="LEFT"><FONT POINT-SIZE="9" COLOR="{GREY}">{escaped(text)}  </FONT></TD>'
        for color, text in picture.legend
    )
    if cells:
        table = f'<TABLE BORDER="0" CELLSPACING="2" CELLPADDING="1"><TR>{cells}</TR></TABLE>'
        rows.append(f'<TR><TD ALIGN="LEFT">{table}</TD></TR>')
    label = f'<<TABLE BORDER="0" CELLSPACING="2" CELLPADDING="1">{"".join(rows)}</TABLE>>'
    return {"label": label} if rows else {}


def escaped(text: str, longest: int = LONGEST) -> str:
    """The text for a label in Graphviz's likeness of HTML."""
    return html.escape(on_one_line(text, longest))


def tooltip(thing: Item | Box) -> str:
    """What hovering shows: the title, and a line for each detail."""
    lines = [thing.title, *(f"{name}: {text}" for name, text in thing.details.items())]
    text: str = graphviz.escape(html.escape("\n".join(map(on_one_line, lines))))
    return text
