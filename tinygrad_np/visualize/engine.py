"""The layout of graphs by Graphviz: by its `dot` program where that is installed, else by the copy in pygraphviz."""

from __future__ import annotations

import graphviz

from tinygrad_np.errors import RenderError


def lay_out(source: str, format: str) -> bytes:
    """Place and draw the graph that a text in DOT describes.

    Args:
        source: the text.
        format: one of Graphviz's output formats, such as "svg", "png", "pdf" or "json".

    Raises:
        RenderError: neither `dot` nor pygraphviz is installed, or Graphviz could not draw the graph.

    >>> lay_out("digraph { a -> b }", "svg").count(b'class="node"')
    2
    """
    try:
        piped: bytes = graphviz.Source(source).pipe(format=format)
        return piped
    except graphviz.ExecutableNotFound:
        pass
    except graphviz.CalledProcessError as error:
        raise RenderError(f"Graphviz could not draw the graph: {error}") from error
    try:
        import pygraphviz  # optional where there is a dot program
    except ImportError:
        raise RenderError(
            "drawing needs Graphviz, which is not installed: install the package pygraphviz, which carries it "
            "(python -m pip install pygraphviz), or Graphviz itself (such as apt-get install graphviz), "
            "whose program dot must be on the PATH; .source has the graph as text without it"
        ) from None
    drawn: bytes = pygraphviz.AGraph(string=source).draw(format=format, prog="dot")
    return drawn
