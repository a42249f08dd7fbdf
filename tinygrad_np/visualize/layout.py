"""Where Graphviz places a picture: what the page and TikZ draw by themselves.

A place is [left, top, width, height] and a point [x, y], both in points from the top left of the drawing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from tinygrad_np.visualize.dot import to_dot
from tinygrad_np.visualize.engine import lay_out
from tinygrad_np.visualize.picture import Box, Edge, Item, Picture

__all__ = ["Layout", "place"]

POINTS_PER_INCH = 72
Place = list[float]
Point = list[float]


@dataclass
class Layout:
    """The places of a picture's parts.

    Attributes:
        size: the width and height of the whole.
        places: of items and boxes. titles: of the titles of boxes.
        routes: for each edge the points of a chain of cubic Bezier curves, followed by the tip of the arrow.
        labels: the middle of each edge's label.
    """

    size: tuple[float, float]
    places: dict[Item | Box, Place]
    titles: dict[Box, Place]
    routes: dict[Edge, list[Point]]
    labels: dict[Edge, Point]


def place(picture: Picture) -> Layout:
    """Place a picture, without its legend and notices.

    Raises:
        RenderError: Graphviz is not installed, or could not place the picture.
    """
    layout = json.loads(lay_out(to_dot(replace(picture, legend=[], notices=[])), "json"))
    _, _, width, height = numbers(layout["bb"])
    nodes = {node["name"]: node for node in layout.get("objects", [])}
    lines = {line["id"]: line for line in layout.get("edges", []) if "id" in line}

    def point(text: str) -> Point:
        x, y = numbers(text)
        return [x, height - y]  # Graphviz counts y from the bottom

    def around(center: str, width: str, height: str) -> Place:
        (x, y), w, h = point(center), float(width) * POINTS_PER_INCH, float(height) * POINTS_PER_INCH
        return [x - w / 2, y - h / 2, w, h]

    found = Layout((width, height), {}, {}, {}, {})
    for item in picture.items:
        node = nodes[item.key]
        found.places[item] = around(node["pos"], node["width"], node["height"])
    for box in picture.boxes:
        node = nodes[f"cluster_{box.key}"]
        left, bottom, right, top = numbers(node["bb"])
        found.places[box] = [left, height - top, right - left, top - bottom]
        if box.title:
            found.titles[box] = around(node["lp"], node["lwidth"], node["lheight"])
    for k, edge in enumerate(picture.edges):
        line = lines[f"edge{k}"]
        tip, *points = line["pos"].split()  # the tip is marked s, for the start of the line, or e for its end
        found.routes[edge] = [point(text) for text in [*points[:: -1 if tip[0] == "s" else 1], tip[2:]]]
        found.labels[edge] = point(line.get("lp", points[0]))
    return found


def numbers(text: str) -> list[float]:
    return [float(number) for number in text.split(",")]
