"""Layout of graphs by Graphviz: by its `dot` program where that works, otherwise by the copy in pygraphviz."""

from __future__ import annotations

import subprocess

import graphviz

from tinygrad_np.errors import RenderError

__all__ = ["lay_out"]


def lay_out(source: str, format: str) -> bytes:
    """Place and draw the graph that a text in DOT describes.

    Args:
        source: the text.
        format: one of Graphviz's output formats, such as "svg", "png", "pdf" or "json".

    Returns:
        The contents of a file in that format.

    Raises:
        RenderError: neither `dot` nor pygraphviz is installed, or Graphviz could not draw the graph.

    >>> lay_out("digraph { a -> b }", "svg").count(b'class="node"')
    2
    """
    try:
        piped: bytes = graphviz.Source(source).pipe(format=format, quiet=True)
        return piped
    except graphviz.ExecutableNotFound:
        problem = "Graphviz, which is not installed"
    except (subprocess.CalledProcessError, OSError) as error:
        problem = f"a working Graphviz, but its program dot failed ({_first_line(error)})"
    try:
        import pygraphviz  # not needed where there is a dot program
    except ImportError:
        raise RenderError(
            f"drawing needs {problem}: install the package pygraphviz, which includes it "
            "(python -m pip install pygraphviz), or Graphviz itself (for example apt-get install graphviz), "
            "whose program dot must be on the PATH; .source has the graph as text and does not need it"
        ) from None
    try:
        drawn: bytes = pygraphviz.AGraph(string=source).draw(format=format, prog="dot")
    except Exception as error:  # pygraphviz raises many kinds
        raise RenderError(
            f"Graphviz could not draw the graph ({_first_line(error)}); .source has it as text, and "
            "draw(..., depth=0) makes a smaller one"
        ) from error
    return drawn


def _first_line(error: Exception) -> str:
    """The first line of what the program wrote, or else of the error's message."""
    output = getattr(error, "stderr", None) or b""
    text = output.decode(errors="replace") if isinstance(output, bytes) else str(output)
    return next(iter((text.strip() or str(error)).splitlines()), type(error).__name__)
