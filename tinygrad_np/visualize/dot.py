"""A `Picture` as text in DOT, the language of Graphviz.

A parameter, or a constant such as labels, stands beside the only operation that uses it, which keeps deep networks
short. The notices and the legend come first.
"""

from __future__ import annotations

import html
import textwrap
from collections import Counter, defaultdict
from itertools import pairwise

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

HEAD = f"""\
digraph {{
  newrank=true nslimit=2  // align ranks across boxes; limit the time for placing
  fontname=Helvetica nodesep=0.25 labelloc=t labeljust=l
  node [fontname=Helvetica fontsize=11 fontcolor="#1f2933" color="{GREY}" height=0.3]
  edge [fontname=Helvetica fontsize=9 fontcolor="{GREY}" color="{WIRE}" arrowsize=0.6]
"""  # Helvetica's metrics every renderer knows; an SVG names the alternatives
SHAPES = {
    "operation": 'shape=box style="rounded,filled{}" margin="0.1,0.03"',
    "parameter": 'shape=cylinder style="filled{}" margin="0.1,0.09"',
    "input": 'shape=box style="filled{}" margin="0.1,0.03" peripheries=2',
    "constant": 'shape=note style="filled{}" margin="0.1,0.03"',
    "module": 'shape=box style="rounded,filled{}" margin="0.1,0.03" peripheries=2',
    "sign": 'shape=circle style="filled{}" margin=0.02',  # where a column goes on
}


def to_dot(picture: Picture) -> str:
    """Write a picture as text in DOT.

    Nodes are named by the keys of their items, clusters by "cluster_" and the keys of their boxes.
    """
    parts: dict[Box | None, list[str]] = defaultdict(list)  # of the text, by the box that they stand in
    for item in picture.items:
        parts[item.box].append(node(item))
    number = {edge: k for k, edge in enumerate(picture.edges)}
    left: dict[Item, bool] = {}  # whether an item stands to the left of the operation that it is beside
    for head, edges in beside(picture).items():
        left |= {edge.tail: i % 2 == 0 for i, edge in enumerate(edges)}
        row = " ".join(arrow(number[edge], edge, not left[edge.tail]) for edge in edges)
        parts[head.box].append(f"{{rank=same {row}}}")
    for edge in picture.edges:
        if edge.backward:  # the same way as the edge forward, so that the layout stays the same
            aside = edge.head in left
            parts[edge.tail.box if aside else None].append(arrow(number[edge], edge, left.get(edge.head, True)))
        elif edge.tail not in left:
            parts[None].append(arrow(number[edge], edge, False))
    if picture.tops:  # Graphviz keeps points in order, and what hangs from them, if it does not try again
        outer = picture.tops[-1].box
        points = [f'"above {item.key}"' for item in picture.tops]
        parts[outer.outer if outer is not None else None].append(
            "\n".join(f"{p} [shape=point style=invis width=0 height=0]" for p in points)
            + "\n{rank=same "
            + " ".join(f"{p} -> {q} [style=invis]" for p, q in pairwise(points))
            + "}\n"
            + "\n".join(
                f"{p} -> {item.key} [style=invis weight=1000]" for p, item in zip(points, picture.tops, strict=True)
            )
        )
        parts[None].append("remincross=false")
    crowds = Counter(item.box for item in picture.items)
    for box in reversed(picture.boxes):  # the inner ones first
        parts[box.outer].append(cluster(box, parts[box], alone=crowds[box] == 1))
    direction = f"rankdir={picture.direction} ranksep={0.22 if picture.direction == 'TB' else 0.4}"
    return f"{HEAD}  {direction}{heading(picture)}\n" + "\n".join(parts[None]) + "\n}\n"


def node(item: Item) -> str:
    shape = SHAPES[item.kind].format(",dashed" * item.dashed)
    outline = f'color="{item.outline}" penwidth=2.5 ' if item.outline else ""
    title = f"<TR><TD>{escaped(item.title)}</TD></TR>"
    rows = "".join(
        f'<TR><TD><FONT POINT-SIZE="9" COLOR="{color}">{escaped(text, LONGEST_ROW)}</FONT></TD></TR>'
        for _, text, color in item.rows
    )
    table = f'<TABLE BORDER="0" CELLSPACING="0" CELLPADDING="1">{title}{rows}</TABLE>'
    return f'{item.key} [{shape} {outline}fillcolor="{item.color}" tooltip={tooltip(item)} label=<{table}>]'


def arrow(k: int, edge: Edge, reverse: bool) -> str:
    """The edge number `k`, in reverse to have its head above its tail. One to the next round moves neither."""
    ends = (edge.head, edge.tail) if reverse else (edge.tail, edge.head)
    attributes = [f"label=<&#160;{escaped(edge.label)}&#160;>"] * bool(edge.label) + ["dir=back"] * reverse
    attributes += ["style=dashed constraint=false"] * edge.carried
    attributes += [f'color="{edge.color}" fontcolor="{edge.color}"'] * edge.backward
    return f"{ends[0].key} -> {ends[1].key} [id=edge{k} {' '.join(attributes)}]"


def cluster(box: Box, parts: list[str], alone: bool) -> str:
    """The text of a box, and of what stands in it. Around an item `alone` it leaves room for the title beside edges."""
    title = escaped(box.title)
    if alone:
        room = f'<TD>{title}</TD><TD WIDTH="{5 * len(box.title[:LONGEST])}"></TD>'
        title = f'<TABLE BORDER="0" CELLSPACING="0" CELLPADDING="0"><TR>{room}</TR></TABLE>'
    fill = ("#f7f9fb", "#eef2f6")[len(enclosing(box)) % 2]
    style, color, font = "rounded,filled", "#c3ccd6", GREY
    if box.rounds > 1 or box.order:
        fill = ("#fdf8ee", "#fff8f0", "#fcf4fb")[min(box.order, 2)]
        style, color, font = style + ",dashed" * (box.rounds > 1), "#b7791f", "#8a5a12"
    look = (
        f'label=<{title}> tooltip={tooltip(box)} style="{style}" fillcolor="{fill}" color="{color}" '
        f'fontcolor="{font}" fontsize=10 margin=7 peripheries=1'
    )
    if not box.title:  # the frame of a column
        look = 'label="" peripheries=0 margin=4'
    return "\n".join([f"subgraph cluster_{box.key} {{", look, *parts, "}"])


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


def heading(picture: Picture) -> str:
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
    return f' label=<<TABLE BORDER="0" CELLSPACING="2" CELLPADDING="1">{"".join(rows)}</TABLE>>' if rows else ""


def escaped(text: str, longest: int = LONGEST) -> str:
    """The text for a label in Graphviz's likeness of HTML."""
    return html.escape(on_one_line(text, longest))


def tooltip(thing: Item | Box) -> str:
    """What hovering shows: the title, and a line for each detail."""
    lines = [thing.title, *(f"{name}: {text}" for name, text in thing.details.items())]
    return '"' + html.escape("\n".join(map(on_one_line, lines)), quote=True).replace("\\", "\\\\") + '"'
