"""`grad`: gradients with respect to any Tensors of a graph, as values instead of in `.grad`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tinygrad_np.calls import ancestors
from tinygrad_np.engine import Node, backward
from tinygrad_np.errors import ArgumentError, ArgumentTypeError, GraphError, NoDerivativeError
from tinygrad_np.gradients import implied
from tinygrad_np.recording import named, state
from tinygrad_np.tensor import Tensor

__all__ = ["grad", "gradients"]


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
        ArgumentError: there is not one of `grad_outputs` for each output.
        ArgumentTypeError: an output or an input is no Tensor.
        NoDerivativeError: without `create_graph`, in a function that a transform of `func` differentiates.

    >>> x = Tensor(3.0, requires_grad=True)
    >>> slope = grad(x**3, x, create_graph=True)
    >>> slope.item(), grad(slope, x).item()
    (27.0, 18.0)
    """
    if not isinstance(outputs, Tensor):
        outputs = _listed(outputs)
    now = state.get()
    if not create_graph and now.inputs and now.trace is None:
        nodes = [getattr(root, "node", None) for root in _listed(outputs)]
        if not now.inputs.isdisjoint(ancestors(filter(None, nodes))):
            raise NoDerivativeError(
                "within a function being differentiated, the result of grad() would have no derivative; "
                "pass create_graph=True, or use func.grad"
            )
    return gradients(outputs, inputs, grad_outputs, create_graph, allow_unused, retain_graph)


def gradients(
    outputs: Any, inputs: Any, grad_outputs: Any, create_graph: bool, allow_unused: bool, retain_graph: bool | None
) -> Any:
    """The same, for a caller that knows whether the result will be differentiated in turn."""
    roots, wanted = _listed(outputs), _listed(inputs)
    starts = [grad_outputs] if isinstance(outputs, Tensor) or grad_outputs is None else list(grad_outputs)
    starts = starts * len(roots) if grad_outputs is None else starts
    if len(starts) != len(roots):
        raise ArgumentError(f"grad_outputs must be one gradient for each of {len(roots)} outputs, not {len(starts)}")
    targets = [_required(tensor, f"input {i}") for i, tensor in enumerate(wanted)]
    sources = [_required(tensor, f"output {i}") for i, tensor in enumerate(roots)]
    given: dict[Node, Any] = {}
    for root, node, start in zip(roots, sources, starts, strict=True):
        start = implied(start, root.array)
        if not ((create_graph or state.get().trace is not None) and isinstance(start, Tensor)):
            start = np.asarray(start, dtype=root.dtype)
        given[node] = given[node] + start if node in given else start
    with named("backward") if create_graph else contextlib.nullcontext():
        found = backward(given, targets, create_graph if retain_graph is None else retain_graph, create_graph)
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
        elif isinstance(gradient, Tensor) and not create_graph:  # while it is traced
            gradient = state.get().trace.plain(gradient)
        results.append(gradient)
    return results[0] if isinstance(inputs, Tensor) else results


def _listed(tensors: Any) -> list[Tensor]:
    return list(tensors) if isinstance(tensors, Iterable) and not isinstance(tensors, Tensor) else [tensors]


def _required(tensor: Any, role: str) -> Node:
    if not isinstance(tensor, Tensor):
        raise ArgumentTypeError(f"{role} must be a Tensor, but is a {type(tensor).__name__}; see func.grad for trees")
    if tensor.node is None:
        raise GraphError(f"{role} does not require grad; set requires_grad=True before computing with it")
    return tensor.node
