"""What a drawing shows, before it is drawn: items joined by edges, some of them in nested boxes.

The graph is read into a `Picture` once. The text in DOT, and with it every image, and the HTML page are made from that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tinygrad_np.printing import printable

__all__ = ["COLORS", "GREY", "LONGEST", "LONGEST_ROW", "NO_GRADIENT", "ORDERS", "WIRE"]
__all__ += ["Box", "Edge", "Item", "Picture", "enclosing", "gradient_color", "on_one_line"]

ORDERS = ("#ffffff", "#fff1e2", "#f6e4f4")
"""The fills of operations, of those that compute first derivatives, and higher ones."""

COLORS = {
    "operation": ORDERS[0],
    "module": "#f1eafa",
    "parameter": "#e0f2df",
    "input": "#dbeafe",
    "constant": "#eceff3",
}
NO_GRADIENT = "#d9dde2"
LONGEST, LONGEST_ROW = 60, 80  # characters of a title, and of what stands below it
GREY, WIRE, LINES, ALARM, LOOK = "#5f6b7a", "#8a96a3", "#3a434e", "#d00000", "#b45309"


def gradient_color(order: int) -> str:
    """Of what comes back to the operations of a forward pass, and to those of derivatives."""
    return "#86198f" if order else "#c2410c"


@dataclass(eq=False)
class Box:
    """A frame around what one module call made, or around the first round of a repetition.

    Attributes:
        key: different from those of all other boxes and items of the picture.
        title: for example "layers.0 - Linear(784, 128)".
        outer: the box around it, or None.
        details: what hovering shows, by name.
        rounds: how many rounds of the same operations are folded into it, of which it shows the first; 1 for none.
        folded: whether the page shows it as one item at first.
        order: of the derivatives that a backward pass computed in it; 0 for anything else.
    """

    key: str
    title: str
    outer: Box | None = None
    details: dict[str, str] = field(default_factory=dict)
    rounds: int = 1
    folded: bool = False
    order: int = 0


@dataclass(eq=False)
class Item:
    """One thing that edges lead from and to.

    Attributes:
        key: different from those of all other items and boxes of the picture.
        kind: "operation", "parameter", "input" (another leaf that requires a gradient), "constant" (an array that needs
            no gradient), "module" (a collapsed box, or a part of the graph that is left out) or "sign" (where a column
            ends, and goes on).
        title: for example "linear" or "layers.0.weight".
        lines: what stands below the title: shape and dtype, the number of elements, ranges.
        box: the innermost box around it, or None.
        details: what hovering shows, by name: the line of the user's code, all statistics.
        color: the fill, "#rrggbb".
        dashed: whether the outline is dashed, as where no gradient arrives.
        alarming: whether the outline is red, as where values are not finite.
        order: of the derivatives that an operation is part of: 0 in a forward pass, 1 in its backward pass, and so on.
        formulas: the derivatives with respect to the inputs of an operation, as Python text.
        marks: what the reader should look at: non-finite values, a dtype that widens, findings of a diagnosis.
    """

    key: str
    kind: str
    title: str
    lines: list[str] = field(default_factory=list)
    box: Box | None = None
    details: dict[str, str] = field(default_factory=dict)
    color: str = "#ffffff"
    dashed: bool = False
    alarming: bool = False
    order: int = 0
    formulas: list[str] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        """All that stands below the title, row by row: of which kind it is, the text, and its colour."""
        kinds = (
            ("line", self.lines, LINES),
            ("formula", self.formulas, gradient_color(self.order)),
            ("mark", self.marks, LOOK),
        )
        return [(kind, text, color) for kind, texts, color in kinds for text in texts]

    @property
    def outline(self) -> str:
        """The colour of an outline that the reader must see; "" for the usual one."""
        return ALARM if self.alarming else LOOK if self.marks else ""


@dataclass(eq=False)
class Edge:
    """`head` was computed from `tail`; or, if `backward`, `tail` hands its share of the gradient to `head`.

    Attributes:
        label: for example "item 0", which of several outputs is passed, or "next round"; empty for none.
        carried: whether `head` belongs to the next round of a repetition: the edge then leads back up, or to itself.
        backward: whether it shows the gradient. The label then is its shape and size.
    """

    tail: Item
    head: Item
    label: str = ""
    carried: bool = False
    backward: bool = False

    @property
    def color(self) -> str:
        """The colour of the line."""
        return gradient_color(self.tail.order) if self.backward else WIRE


@dataclass(eq=False)
class Picture:
    """All that is drawn.

    Attributes:
        items, edges, boxes: outer boxes come before inner ones, and tails before heads, except for carried edges.
        legend: what the colours mean, a line each as (color, text).
        notices: what the reader must know, such as that parts were collapsed, and why.
        direction: in which data flows: "TB", from top to bottom, or "LR", from left to right.
        tops: what each column begins with, if the picture is in columns.
    """

    items: list[Item]
    edges: list[Edge]
    boxes: list[Box]
    legend: list[tuple[str, str]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    direction: str = "TB"
    tops: list[Item] = field(default_factory=list)


def enclosing(box: Box | None) -> list[Box]:
    """A box and those around it, the outermost first."""
    boxes: list[Box] = []
    while box is not None:
        boxes.insert(0, box)
        box = box.outer
    return boxes


def on_one_line(text: str, longest: int = 10**9) -> str:
    """The text as one line, with escapes for what cannot be seen or XML cannot hold; its middle left out if long."""
    text = printable(re.sub(r"[\n\r\t]+", " ", text))
    return f"{text[: longest // 2]} ... {text[-longest // 2 :]}" if len(text) > longest else text
