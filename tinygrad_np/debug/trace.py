"""Tracing: keep what a drawing can show of each call, even after the backward pass has freed the graph."""

from __future__ import annotations

__docformat__ = "google"

from typing import Any

import numpy as np

from tinygrad_np.debug.places import note_line
from tinygrad_np.debug.statistics import Statistics, visible
from tinygrad_np.engine import Node
from tinygrad_np.recording import Context, watching

__all__ = ["trace"]


class Tracer:
    """A watch that notes the "place" of each call and the statistics of its "value" and its "gradient"."""

    def recorded(self, node: Node, seconds: float) -> None:
        note_line(node)
        assert node.notes is not None
        out = visible(node, node.out)
        if hasattr(out, "shape"):
            node.notes["value"] = Statistics.of(np.asarray(out))

    def reached(self, node: Node, gradient: Any) -> None:
        gradient = visible(node, gradient)
        if hasattr(gradient, "shape"):
            if node.notes is None:
                node.notes = {}
            node.notes["gradient"] = Statistics.of(np.asarray(getattr(gradient, "data", gradient)))

    def derived(self, node: Node, parent: Node, contribution: Any) -> None:
        pass


def trace() -> Context[None]:
    """Keep statistics of every value and gradient of this thread, and the line of code that made each call.

    `visualize.draw(loss, model, values=True)` then shows them even after `backward()`. The statistics take about as
    long as the calls themselves; no array is kept.

    >>> from tinygrad_np import Tensor, visualize
    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> with trace():
    ...     y = np.exp(x).sum()
    ...     y.backward()
    >>> picture = visualize.draw(y)
    """
    return Context(lambda: watching(Tracer()))
