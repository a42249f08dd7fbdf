"""Layout of graphs by Graphviz: by its program `dot` where that works, otherwise by its port graphviz-pure."""

from __future__ import annotations

import shutil
import subprocess
from importlib import metadata

from tinygrad_np.errors import RenderError

__all__ = ["lay_out"]


def lay_out(source: str, format: str) -> bytes:
    """Place and draw the graph that a text in DOT describes.

    Args:
        source: the text.
        format: one of Graphviz's output formats, such as "svg", "png" or "json". For "pdf" it must be Graphviz itself.

    Returns:
        The contents of a file in that format.

    Raises:
        RenderError: no program is there that can draw the graph in this format, or those that are there have failed.

    >>> lay_out("digraph { a -> b }", "svg").count(b'class="node"')
    2
    """
    pure = _graphviz_pure() if format != "pdf" else None  # it has no PDF
    failures = []
    for program in filter(None, (shutil.which("dot"), pure)):
        try:
            return subprocess.run(
                [program, f"-T{format}"],
                input=source.encode(),
                capture_output=True,
                check=True,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # Windows would open one for a moment
            ).stdout
        except (subprocess.CalledProcessError, OSError) as error:
            failures.append(f"{program} failed ({_first_line(error)})")
    if format == "pdf":
        remedy = (
            "a PDF needs the program dot of Graphviz itself (apt-get install graphviz, brew install graphviz or "
            "winget install graphviz); or draw an .svg or .png"
        )
    elif pure is None:
        remedy = "install what draws it: python -m pip install graphviz-pure"
    else:
        remedy = "draw(..., depth=0) makes a smaller graph"
    problem = " and ".join(failures) or "Graphviz is not installed"
    raise RenderError(f"cannot draw the graph as {format}: {problem}; {remedy}; .source has the graph as text")


def _graphviz_pure() -> str | None:
    """The path of the program in the package graphviz-pure, which need not be on the PATH; None if it is not there."""
    try:
        files = metadata.files("graphviz-pure") or []
    except metadata.PackageNotFoundError:
        return None
    return next((str(file.locate()) for file in files if file.stem == "graphviz-pure"), None)


def _first_line(error: Exception) -> str:
    """The first line of what the program wrote, or else of the error's message."""
    text: str = (getattr(error, "stderr", None) or b"").decode(errors="replace").strip() or str(error)
    return text.splitlines()[0]
