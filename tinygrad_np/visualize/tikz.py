"""A `Picture` as TikZ, for papers and slides: where Graphviz places it, in LaTeX's own letters."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tinygrad_np.visualize.layout import Layout, place
from tinygrad_np.visualize.picture import GREY, LONGEST, LONGEST_ROW, Box, Edge, Item, Picture, on_one_line

__all__ = ["to_tikz"]

HEAD = r"""% pdflatex makes a page of this file. In a document that loads TikZ, \input{{...}} shows the picture.
\ifdefined\tikzpicture\let\closing\relax\else
\documentclass{{article}}
\usepackage{{tikz}}
\usepackage[paperwidth={width:.0f}bp,paperheight={height:.0f}bp,margin=0bp]{{geometry}}
\pagestyle{{empty}}\parindent=0pt\topskip=0pt\def\closing{{\end{{document}}}}
\begin{{document}}\fi
\begin{{tikzpicture}}[x=1bp, y=-1bp, line join=round, >=latex, inner sep=0pt, align=center,
  font=\sffamily\fontsize{{10}}{{11}}\selectfont, box/.style={{rounded corners=5pt}},
  operation/.style={{rounded corners=4pt}}, module/.style={{rounded corners=4pt, double}}, parameter/.style={{}},
  input/.style={{double}}, constant/.style={{}}, sign/.style={{circle}}, edge/.style={{->}},
  label/.style={{font=\sffamily\fontsize{{8}}{{9}}\selectfont}}]
"""
SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}"}
SPECIAL |= {">": r"\textgreater{}", "|": r"\textbar{}", '"': "''", "·": r"\textperiodcentered{}", "-": "{-}"}
SPECIAL |= {character: f"\\{character}" for character in "{}$&#_%"}
MARGIN = 6


def to_tikz(picture: Picture) -> str:
    """Write a picture as a file for LaTeX: a page of its own, or to be used with `\\input` where TikZ is loaded.

    Raises:
        RenderError: Graphviz is not installed, or could not place the picture.
    """
    layout = place(picture)
    width, height = layout.size
    lines = [HEAD.format(width=width + 2 * MARGIN + 2, height=height + 2 * MARGIN + 2)]
    lines.append(rf"\useasboundingbox ({-MARGIN},{-MARGIN}) rectangle ({width + MARGIN:.1f},{height + MARGIN:.1f});")
    lines += [draw_box(box, layout) for box in picture.boxes if box.title]
    lines += [draw_edge(edge, layout) for edge in picture.edges]
    lines += [draw_item(item, layout) for item in picture.items]
    return "\n".join([*lines, r"\end{tikzpicture}", r"\closing", ""])


def draw_box(box: Box, layout: Layout) -> str:
    left, top, width, height = layout.places[box]
    x, y, _, h = layout.titles[box]
    look = "draw=gray, fill=gray, fill opacity=.06" + ", dashed" * (box.rounds > 1)
    return (
        rf"\draw[box, {look}] ({left:.1f},{top:.1f}) rectangle ({left + width:.1f},{top + height:.1f});" + "\n"
        rf"\node[label, text=darkgray, anchor=west] at {at((x, y + h / 2))} {{{tex(box.title)}}};"
    )


def draw_item(item: Item, layout: Layout) -> str:
    *_, width, height = place = layout.places[item]
    look = f"draw={color(item.outline or GREY)}, fill={color(item.color)}" + ", dashed" * item.dashed
    rows = "".join(
        rf"\\\fontsize{{8}}{{10}}\selectfont\textcolor{color(code, '[RGB]')}{{{tex(row, LONGEST_ROW)}}}"
        for _, row, code in item.rows
    )
    size = f"minimum width={width:.1f}bp, minimum height={height:.1f}bp"
    return rf"\node[{item.kind}, {look}, {size}] ({item.key}) at {middle(place)} {{{tex(item.title)}{rows}}};"


def draw_edge(edge: Edge, layout: Layout) -> str:
    start, *points, tip = map(at, layout.routes[edge])
    curves = "".join(
        f" .. controls {points[i]} and {points[i + 1]} .. {points[i + 2]}" for i in range(0, len(points), 3)
    )
    shade = color(edge.color)
    drawn = rf"\draw[edge, draw={shade}{', dashed' * edge.carried}] {start}{curves} -- {tip};"
    label = rf"\node[label, text={shade}] at {at(layout.labels[edge])} {{{tex(edge.label)}}};"
    return f"{drawn}\n{label}" if edge.label else drawn


def at(point: Sequence[float]) -> str:
    return "({:.1f},{:.1f})".format(*point)


def middle(place: Sequence[float]) -> str:
    left, top, width, height = place
    return at((left + width / 2, top + height / 2))


def color(code: str, model: str = "") -> str:
    """A colour "#rrggbb" as TikZ takes it among options, or as the arguments of LaTeX's `\\textcolor`."""
    red, green, blue = bytes.fromhex(code[1:])
    return f"{model}{{{red},{green},{blue}}}" if model else f"{{rgb,255:red,{red};green,{green};blue,{blue}}}"


def tex(text: str, longest: int = LONGEST) -> str:
    """Text that LaTeX shows as it stands; letters that not every installation has are shown as escapes."""
    known = re.sub(r"[^ -~·]", lambda found: f"\\u{ord(found[0]):04x}", on_one_line(text, longest))
    return "".join(SPECIAL.get(character, character) for character in known)
