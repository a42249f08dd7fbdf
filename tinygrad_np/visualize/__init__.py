"""Pictures of the graph: what was computed from what, and where something went wrong.

`draw` reads a graph into a `Picture` (picture.py) and changes nothing; a `Drawing` turns that into text in DOT, images,
and a page to explore.
"""

from __future__ import annotations

__docformat__ = "google"

import os
import re
import textwrap
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_np.compiler import uncompiled
from tinygrad_np.debug import Diagnosis, Finding
from tinygrad_np.errors import ArgumentError, ArgumentTypeError, GraphError, RenderError, users_frame
from tinygrad_np.files import write_atomically
from tinygrad_np.nn import Module
from tinygrad_np.recording import Context, named
from tinygrad_np.tensor import Tensor
from tinygrad_np.visualize import page
from tinygrad_np.visualize.columns import in_columns
from tinygrad_np.visualize.dot import to_dot
from tinygrad_np.visualize.engine import lay_out
from tinygrad_np.visualize.folding import Group, calls_in_order, source
from tinygrad_np.visualize.formulas import show_derivatives
from tinygrad_np.visualize.measures import measure, show_costs, show_values
from tinygrad_np.visualize.picture import COLORS, LONGEST_ROW, NO_GRADIENT, ORDERS, Item, Picture, enclosing
from tinygrad_np.visualize.reading import LONGEST_EDGES, Reading, arranged
from tinygrad_np.visualize.tikz import to_tikz

__all__ = ["Drawing", "draw", "scope"]

# Limits within which a reader can follow, and Graphviz needs seconds:
LARGEST = 300  # calls and collapsed modules in a picture
LARGEST_PAGE = 2000
DIRECTIONS = ("TB", "LR")
KINDS = {
    COLORS["operation"]: "operation",
    COLORS["module"]: "collapsed",
    COLORS["parameter"]: "parameter",
    COLORS["input"]: "input that requires a gradient",
    COLORS["constant"]: "constant",
    ORDERS[1]: "for a first derivative",
    ORDERS[2]: "for a higher one",
    NO_GRADIENT: "no gradient reaches it",
}

IMAGES = (".svg", ".png", ".pdf")


def draw(
    tensor: Tensor,
    model: Module | None = None,
    *,
    values: bool | None = None,
    derivatives: bool = False,
    costs: bool = False,
    depth: int | None = None,
    direction: str = "TB",
    findings: Diagnosis | Iterable[Finding] = (),
) -> Drawing:
    """Draw the graph that led to a tensor. The drawing shows itself in a notebook.

    Each operation is shown with the shape and dtype of its output, in a box for the module call that made it; each
    parameter with its name and size; other inputs that require a gradient, and constants, look different. Inputs have
    the names of the model's and the loss's arguments, or of the caller's variables; what was computed inside
    `debug.trace()` says "as K" where it was assigned to K. Four or more rounds of the same structure, such as equal
    layers or the steps of a loop, are folded into one; functions such as `layer_norm`, and what stands in a `scope`,
    are one box. If the graph is still too large, modules are collapsed until it is not, and the drawing says so. What
    is orange deserves a look: a dtype that widens, a broadcast that grows, a saturated activation. A result of a
    compiled function is drawn with the function's operations, until `backward()`. This works before and after
    `backward()`, and changes neither the graph nor any gradient.

    A graph of single numbers is drawn as in a lecture: with symbols for names, the caller's variables, and each
    number with its gradient.

    Args:
        tensor: the result to start from, of any shape.
        model: gives modules and parameters their dotted names. Those of its parameters that the result does not depend
            on are shown in grey. Without a model, names come from the modules that were called.
        values: show the range, the mean and the share of zeros of every value, and the norm of its gradient, also by
            colour; mark what is not finite. Before `backward()` everything is known: the drawing takes the gradients
            itself, from ones if the result is not a scalar. After `backward()` only the leaves are known, and what was
            computed inside `debug.trace()`, which also notes the lines of code. Repetitions are not folded. By default,
            numbers are shown where all values are single numbers.
        derivatives: show the way back, too: at each operation its derivatives as formulas, where g is the gradient of
            its result, out, and saved what it has kept for them; and on the edges back the shape and size of what they
            give to the inputs' gradients.
        costs: show the time and memory that `debug.profile()` has noted, also by colour. Repetitions are not folded.
        depth: collapse modules that are nested deeper than this, counting the outermost as 1; 0 collapses all.
        direction: in which data flows: "TB", from top to bottom, or "LR", from left to right.
        findings: of `debug.diagnose`, to be pinned to the items, modules or lines that they are about.

    Returns:
        The `Drawing`; its `render(path)` writes a file.

    Raises:
        GraphError: the tensor does not require grad, so there is no graph.
        ArgumentTypeError: `tensor` is not a Tensor.
        ArgumentError: `depth` is negative, or `direction` unknown.

    >>> x = Tensor([1.0, 2.0], requires_grad=True, name="x")
    >>> "multiply by 2" in draw(x * 2).source
    True
    """
    if not isinstance(tensor, Tensor):
        raise ArgumentTypeError(f"draw takes a Tensor, such as a loss, and the model after it, not {tensor!r:.60}")
    if depth is not None and depth < 0:
        raise ArgumentError(f"depth must be at least 0, or None to collapse nothing, not {depth}")
    if direction not in DIRECTIONS:
        raise ArgumentError(f"direction must be one of {', '.join(map(repr, DIRECTIONS))}, not {direction!r}")
    if tensor.node is None:
        raise GraphError("there is no graph: this Tensor does not require grad")
    tensor = uncompiled(tensor)
    assert tensor.node is not None
    root, _ = source(tensor.node)
    nodes, variables = calls_in_order(root), callers_variables()

    def read(largest: int, longest_edges: int, folded: Callable[[Group], bool] | None = None) -> Reading:
        while True:
            arrangement = arranged(nodes, not (values or costs), depth, largest, opened=folded is not None)
            found = Reading(root, nodes, model, variables, arrangement, largest, folded or (lambda group: False))
            if found.span <= longest_edges or largest <= 10:
                return found
            largest //= 2

    image = read(LARGEST, LONGEST_EDGES)
    if values is None:
        values = image.scalar and all(box.rounds == 1 for box in image.picture.boxes)
    readings = [image]
    if image.incomplete:  # the page shows all that it can, so that what is collapsed can be opened
        readings.append(read(LARGEST_PAGE, 4 * LONGEST_EDGES, image.collapsed))
    pinned = findings.findings if isinstance(findings, Diagnosis) else list(findings)
    most = max(readings, key=lambda each: len(each.nodes))
    notes, notices = measure(tensor.node, most.nodes, most.leaves) if values or derivatives else ({}, [])
    for each in readings:
        picture = each.picture
        picture.direction = direction
        if values:
            show_values(each, notes)
            picture.notices += notices
        if derivatives:
            show_derivatives(each, notes)
        if costs:
            show_costs(each, not values)
        used = {item.color for item in picture.items} if not values or each.scalar else set()
        kinds = [(color, text) for color, text in KINDS.items() if color in used]
        picture.legend = list(dict.fromkeys(kinds + picture.legend))
        pin(pinned, picture)
    return Drawing(*(each.picture for each in readings))


def pin(findings: Iterable[Finding], picture: Picture) -> None:
    """Mark the items that findings are about. Those about what the picture does not show become notices."""
    for finding in findings:
        words = re.findall(r"[^\s(),]+", finding.place)

        def about(item: Item, words: list[str] = words) -> bool:
            paths = [box.title.partition(" - ")[0] for box in enclosing(item.box)[-1:] if item.kind == "operation"]
            line = Path(item.details.get("line", "")).name
            return any(word in (item.title, item.title + "s", *paths, line) for word in words)

        items = [item for item in picture.items if about(item)]
        for item in items:
            item.marks += textwrap.wrap(f"{finding.severity}: {finding.message}", LONGEST_ROW)
            item.details["finding"] = f"{finding.message}; {finding.remedy}"
        if not items:
            picture.notices.append(f"{finding.place}: {finding.message}")


def callers_variables() -> dict[int, str]:
    """The names of the caller's variables, by the identities of their arrays or, for Tensors with a graph, nodes."""
    frame = users_frame()
    names: dict[int, str] = {}
    for name, value in (frame.f_locals if frame is not None else {}).items():
        if isinstance(value, (Tensor, np.ndarray)) and not name.startswith("_"):
            node = value.node if isinstance(value, Tensor) else None
            names.setdefault(id(node or getattr(value, "array", value)), name)
    return names


def scope(name: str) -> Context[None]:
    """Within it, what is computed is one part of the graph, which is drawn as one box with this name.

    >>> x = Tensor(0.5, requires_grad=True)
    >>> with scope("k1"):
    ...     slope = np.sin(x) * x
    >>> draw(slope + x).picture.items[1].title
    'k1'
    """
    if not isinstance(name, str) or not name:
        raise ArgumentTypeError(f"a scope needs a name, such as 'encoder', not {name!r:.60}")
    return Context(lambda: named(name))


class Drawing:
    """A picture of a graph, to be shown in a notebook or written to a file.

    Attributes:
        picture: what is shown, as items, edges and boxes.
        source: the same as text in DOT, the language of Graphviz.
    """

    def __init__(self, picture: Picture, explored: Picture | None = None) -> None:
        self.picture = picture
        self._explored = explored or picture  # what the page shows: all that was collapsed, to be opened

    @cached_property
    def source(self) -> str:
        """The picture as text in DOT, the language of Graphviz."""
        return to_dot(in_columns(self.picture))

    def render(self, path: str | os.PathLike[str]) -> Path:
        """Write the drawing to a file, in the format of its suffix, completely or not at all.

        Args:
            path: ends in ".svg", ".png" or ".pdf" for an image; in ".html" for a page to explore: zoom, search, fold
                boxes, follow edges; or in ".tex" for TikZ, a page of its own or to be used with LaTeX's `\\input`.

        Returns:
            The path.

        Raises:
            ArgumentError: the path has another suffix.
            RenderError: Graphviz is not installed, or fails.
            FileWriteError: the file cannot be written.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix == ".html":
            content: str | bytes = page.to_html(self._explored)
        elif suffix == ".tex":
            content = to_tikz(in_columns(self.picture))
        elif suffix in IMAGES:
            content = lay_out(self.source, suffix[1:])
        else:
            raise ArgumentError(
                f"cannot tell the format from {str(path)!r}: the name must end in .svg, .png, .pdf or .html, or in .tex"
            )
        write_atomically(path, content)
        return path

    def __repr__(self) -> str:
        shown = self.picture
        return f"<Drawing of {len(shown.items)} items and {len(shown.edges)} edges; .render('graph.svg') draws it>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """What a notebook shows: the image or, without Graphviz, the reason why there is none."""
        try:
            return {"image/svg+xml": lay_out(self.source, "svg").decode(), "text/plain": repr(self)}
        except RenderError as error:
            return {"text/plain": f"{self!r}\n{error}"}
