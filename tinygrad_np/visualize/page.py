"""A `Picture` as one HTML page to explore: zoom, fold, search, follow what was computed from what.

Graphviz places everything here, in Python. The page, `page.html`, gets the places as JSON, draws them as SVG, and
closes the gaps that folded boxes leave. It needs no network and no other file.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from importlib import resources
from typing import Any

from tinygrad_np.visualize.dot import to_dot
from tinygrad_np.visualize.engine import lay_out
from tinygrad_np.visualize.picture import Picture

__all__ = ["to_html"]

POINTS_PER_INCH = 72


def to_html(picture: Picture) -> str:
    """Make the page.

    Args:
        picture: what it shows.

    Returns:
        The page as text, to be written to a file in UTF-8.

    Raises:
        RenderError: Graphviz is not installed, or could not place the picture.

    >>> from tinygrad_np.visualize.picture import Item
    >>> to_html(Picture([Item("0", "input", "x")], edges=[], boxes=[]))[:15]
    '<!DOCTYPE html>'
    """
    data = json.dumps(_data(picture)).replace("<", "\\u003c")  # so that no text can end the script that holds it
    template = resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    return template.replace("PICTURE", data)


def _data(picture: Picture) -> dict[str, Any]:
    """All that the page shows: the picture's attributes, with items and boxes as their numbers, and their places.

    A place is [left, top, width, height] and a point [x, y], both in points from the top left of the drawing.
    """
    bare = replace(picture, legend=[], notices=[])  # which the page shows beside the drawing
    layout = json.loads(lay_out(to_dot(bare), "json"))
    height = _numbers(layout["bb"])[3]
    nodes = {node["name"]: node for node in layout.get("objects", [])}
    curves = _curves(layout)
    number = {thing: k for things in (picture.items, picture.boxes) for k, thing in enumerate(things)} | {None: None}

    def point(text: str) -> list[float]:
        x, y = _numbers(text)
        return [x, height - y]  # Graphviz counts y from the bottom

    def place(center: str, width: str, height: str) -> list[float]:
        (x, y), w, h = point(center), float(width) * POINTS_PER_INCH, float(height) * POINTS_PER_INCH
        return [x - w / 2, y - h / 2, w, h]

    items, boxes, edges = [], [], []
    for item in picture.items:
        node = nodes[item.key]
        items.append(vars(item) | {"box": number[item.box], "place": place(node["pos"], node["width"], node["height"])})
    for box in picture.boxes:
        node = nodes[f"cluster_{box.key}"]
        left, bottom, right, top = _numbers(node["bb"])
        boxes.append(
            vars(box)
            | {
                "outer": number[box.outer],
                "place": [left, height - top, right - left, top - bottom],
                "titlePlace": place(node["lp"], node["lwidth"], node["lheight"]),
            }
        )
    for edge in picture.edges:
        points, label = curves[edge.tail.key, edge.head.key].pop()
        edges.append(
            vars(edge)
            | {
                "tail": number[edge.tail],
                "head": number[edge.head],
                "points": [point(text) for text in points],
                "labelAt": point(label),
            }
        )
    return {"items": items, "boxes": boxes, "edges": edges, "legend": picture.legend, "notices": picture.notices}


def _curves(layout: dict[str, Any]) -> dict[tuple[str, str], list[tuple[list[str], str]]]:
    """For each tail and head, by their names, the points of each edge between them and the place of its label.

    The points are those of a chain of cubic Bezier curves from the tail, followed by the tip of the arrow.
    """
    name = {node["_gvid"]: node["name"] for node in layout.get("objects", [])}
    curves = defaultdict(list)
    for edge in layout.get("edges", []):
        tip, *points = edge["pos"].split()
        tail, head = name[edge["tail"]], name[edge["head"]]
        if edge.get("dir") == "back":  # the arrow stands at the tail
            tail, head = head, tail
            points.reverse()
        curves[tail, head].append(([*points, tip[2:]], edge.get("lp", points[0])))
    return curves


def _numbers(text: str) -> list[float]:
    return [float(number) for number in text.split(",")]
