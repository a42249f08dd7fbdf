"""Pictures of the graph: what was computed from what, and where something went wrong.

`draw` reads a graph into a `Picture` (picture.py) and changes nothing; a `Drawing` turns that into text in DOT, images,
and a page to explore.
"""

from __future__ import annotations

__docformat__ = "google"

import os
from functools import cached_property
from pathlib import Path
from typing import Any

from tinygrad_np.errors import ArgumentError, ArgumentTypeError, RenderError
from tinygrad_np.files import write_atomically
from tinygrad_np.nn import Module
from tinygrad_np.tensor import Tensor
from tinygrad_np.visualize import page
from tinygrad_np.visualize.dot import to_dot
from tinygrad_np.visualize.engine import lay_out
from tinygrad_np.visualize.picture import Picture
from tinygrad_np.visualize.reading import read

__all__ = ["Drawing", "draw"]

IMAGES = (".svg", ".png", ".pdf")


def draw(
    tensor: Tensor, model: Module | None = None, *, values: bool = False, costs: bool = False, depth: int | None = None
) -> Drawing:
    """Draw the graph that led to a tensor. The drawing shows itself in a notebook.

    Each operation is shown with the shape and dtype of its output, in a box for the module call that made it; each
    parameter with its name and size; other inputs that require a gradient, and constants, look different. Four or more
    rounds of the same structure, such as equal layers or the steps of a loop, are folded into one. If the graph is
    still too large, modules are collapsed until it is not, and the drawing says so. This works before and after
    `backward()`, and changes neither the graph nor any gradient.

    Args:
        tensor: the result to start from, of any shape.
        model: gives modules and parameters their dotted names. Those of its parameters that the result does not depend
            on are shown in grey. Without a model, names come from the modules that were called.
        values: show the range, the mean and the share of zeros of every value, and the norm of its gradient, also by
            colour; mark what is not finite. Before `backward()` everything is known: the drawing takes the gradients
            itself, from ones if the result is not a scalar. After `backward()` only the leaves are known, and what was
            computed inside `debug.trace()`, which also notes the lines of code. Repetitions are not folded.
        costs: show the time and memory that `debug.profile()` has noted, also by colour. Repetitions are not folded.
        depth: collapse modules that are nested deeper than this, counting the outermost as 1; 0 collapses all.

    Returns:
        The `Drawing`; its `render(path)` writes a file.

    Raises:
        GraphError: the tensor does not require grad, so there is no graph.
        ArgumentTypeError: `tensor` is not a Tensor.
        ArgumentError: `depth` is negative.

    >>> x = Tensor([1.0, 2.0], requires_grad=True, name="x")
    >>> "multiply by 2" in draw(x * 2).source
    True
    """
    if not isinstance(tensor, Tensor):
        raise ArgumentTypeError(f"draw takes a Tensor, such as a loss, and the model after it, not {tensor!r:.60}")
    if depth is not None and depth < 0:
        raise ArgumentError(f"depth must be at least 0, or None to collapse nothing, not {depth}")
    return Drawing(read(tensor, model, values, costs, depth))


class Drawing:
    """A picture of a graph, to be shown in a notebook or written to a file.

    Attributes:
        picture: what is shown, as items, edges and boxes.
        source: the same as text in DOT, the language of Graphviz.
    """

    def __init__(self, picture: Picture) -> None:
        self.picture = picture

    @cached_property
    def source(self) -> str:
        """The picture as text in DOT, the language of Graphviz."""
        return to_dot(self.picture)

    def render(self, path: str | os.PathLike[str]) -> Path:
        """Write the drawing to a file, in the format of its suffix, completely or not at all.

        Args:
            path: ends in ".svg", ".png" or ".pdf" for an image, or in ".html" for a page to explore: zoom, search, fold
                boxes, follow edges.

        Returns:
            The path.

        Raises:
            ArgumentError: the path has another suffix.
            RenderError: Graphviz is not installed, or fails.
            FileWriteError: the file cannot be written.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix not in (*IMAGES, ".html"):
            raise ArgumentError(
                f"cannot tell the format from {str(path)!r}: the name must end in .svg, .png, .pdf or .html"
            )
        content = page.to_html(self.picture) if suffix == ".html" else lay_out(self.source, suffix[1:])
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
