"""`grad`: gradients with respect to any Tensors of a graph, as values instead of in `.grad`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_np.engine import Node, backward
from tinygrad_np.errors import GraphError
from tinygrad_np.gradients import implied
from tinygrad_np.tensor import Tensor

__all__ = ["grad"]


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    create_graph: bool = False,
    allow_unused: bool = False,
    retain_graph: bool | None = None,
) -> Any:
    """The gradients of outputs, summed, with respect to inputs, which may be any Tensors of the graph.

    Touches no `.grad`.

    Args:
        outputs: one Tensor or several.
        inputs: one Tensor or several.
        grad_outputs: for each output the gradient to start from; may be left out for scalars.
        create_graph: record the computation of the gradients, so that they can be differentiated in turn.
        allow_unused: give None for an input that the outputs do not depend on, instead of raising.
        retain_graph: keep the graph for another walk; by default as `create_graph`.

    Returns:
        A gradient if `inputs` is a Tensor, else a list of them: arrays, or Tensors if `create_graph`.

    Raises:
        GraphError: an output or an input does not require grad, or an input was not used.

    >>> x = Tensor(3.0, requires_grad=True)
    >>> slope = grad(x**3, x, create_graph=True)
    >>> slope.item(), grad(slope, x).item()
    (27.0, 18.0)
    """
    roots = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    wanted = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    starts = [grad_outputs] if isinstance(outputs, Tensor) or grad_outputs is None else list(grad_outputs)
    starts = starts * len(roots) if grad_outputs is None else starts
    targets = [_required(tensor, f"input {i}") for i, tensor in enumerate(wanted)]
    gradients: dict[Node, Any] = {}
    for i, (root, start) in enumerate(zip(roots, starts, strict=True)):
        start = implied(start, root.array)
        if not (create_graph and isinstance(start, Tensor)):
            start = np.asarray(start, dtype=root.dtype)
        node = _required(root, f"output {i}")
        gradients[node] = gradients[node] + start if node in gradients else start
    found = backward(gradients, targets, create_graph if retain_graph is None else retain_graph, create_graph)
    results: list[Any] = []
    for i, node in enumerate(targets):
        gradient = found.get(node)
        if gradient is None and not allow_unused:
            raise GraphError(
                f"the outputs do not depend on input {i} (shape {wanted[i].shape}); "
                "pass allow_unused=True to get None for it"
            )
        if create_graph and gradient is not None and not isinstance(gradient, Tensor):  # a constant
            gradient = Tensor(gradient)
        results.append(gradient)
    return results[0] if isinstance(inputs, Tensor) else results


def _required(tensor: Tensor, role: str) -> Node:
    if tensor.node is None:
        raise GraphError(f"{role} does not require grad; set requires_grad=True before computing with it")
    return tensor.node
