"""A `Picture` as one HTML page to explore: zoom, fold, search, follow what was computed from what.

Graphviz places everything here, in Python. The page, `page.html`, gets the places as JSON, draws them as SVG, and
closes the gaps that folded boxes leave. It needs no network and no other file.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from tinygrad_np.visualize.layout import place
from tinygrad_np.visualize.picture import Picture

__all__ = ["to_html"]


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
    """All that the page shows: the picture's attributes, with items and boxes as their numbers, and their places."""
    layout = place(picture)
    number = {thing: k for things in (picture.items, picture.boxes) for k, thing in enumerate(things)} | {None: None}
    return {
        "items": [
            vars(item) | {"box": number[item.box], "place": layout.places[item], "rows": item.rows}
            for item in picture.items
        ],
        "boxes": [
            vars(box) | {"outer": number[box.outer], "place": layout.places[box], "titlePlace": layout.titles[box]}
            for box in picture.boxes
        ],
        "edges": [
            vars(edge)
            | {"tail": number[edge.tail], "head": number[edge.head]}
            | {"points": layout.routes[edge], "labelAt": layout.labels[edge]}
            for edge in picture.edges
        ],
        "direction": picture.direction,
        "legend": picture.legend,
        "notices": picture.notices,
    }
