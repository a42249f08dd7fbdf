"""Pictures of the graph, for debugging: what was computed from what, with shapes and names."""

from __future__ import annotations

import graphviz

from tinygrad_np.errors import GraphError
from tinygrad_np.graph import LEAF, Node
from tinygrad_np.nn import Module
from tinygrad_np.tensor import Tensor


def draw(tensor: Tensor, model: Module | None = None) -> graphviz.Digraph:
    """The graph that led to a tensor, which shows itself in a notebook.

    Leaves are boxes with their name, shape and dtype; recorded calls are ellipses with their output's. Drawing reads
    the graph and changes nothing.

    Args:
        tensor: the result to start from.
        model: gives its parameters their dotted names.

    Returns:
        A `graphviz.Digraph`: `.source` is the text in DOT; `.render(outfile="graph.svg")` needs Graphviz installed.

    Raises:
        GraphError: the tensor does not require grad, so that there is no graph.

    >>> x = Tensor([1.0, 2.0], requires_grad=True, name="x")
    >>> "x: (2,) float64" in draw(x * 2).source
    True
    """
    if tensor._node is None:
        raise GraphError("there is no graph: this Tensor does not require grad")
    names = {} if model is None else {parameter._node: name for name, parameter in model.named_parameters()}
    picture = graphviz.Digraph()
    found = {tensor._node}
    stack = [tensor._node]
    while stack:
        node = stack.pop()
        name = names.get(node) or node.name or node.rule.name
        shape = "box" if node.rule is LEAF else "ellipse"
        picture.node(str(node.number), f"{name}: {_described(node)}", shape=shape)
        for parent in node.parents:
            if parent is not None:
                picture.edge(str(parent.number), str(node.number))
                if parent not in found:
                    found.add(parent)
                    stack.append(parent)
    return picture


def _described(node: Node) -> str:
    """The shape and dtype of what the node made, if it is one array."""
    if type(node.out) is tuple and node.args is None:
        shape, dtype = node.out
        return f"{shape} {dtype}"
    return f"{node.out.shape} {node.out.dtype}" if hasattr(node.out, "shape") else ""
