"""Transforms of functions: from a function of arrays to its derivative, as a function again.

The functions are any that are made of NumPy's functions; they see Tensors and return a Tensor. Transforms nest, as in
`grad(grad(f))`. Their results are arrays, or Tensors where they depend on a Tensor that requires a gradient and is no
argument of the function: the argument of an outer transform, or a parameter that the function refers to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_np import autograd
from tinygrad_np.derivatives.table import LEAF
from tinygrad_np.engine import toposort
from tinygrad_np.errors import ShapeError
from tinygrad_np.recording import enabled
from tinygrad_np.tensor import Tensor

Function = Callable[..., Any]


def grad(function: Function, argnums: int | Sequence[int] = 0) -> Function:
    """The gradient of a scalar-valued function with respect to its argument number `argnums`, or several of them.

    >>> grad(np.tanh)(0.0)
    array(1.)
    >>> grad(grad(lambda x: x**3))(2.0)
    array(12.)
    """

    def gradient(*args: Any, **kwargs: Any) -> Any:
        return value_and_grad(function, argnums)(*args, **kwargs)[1]

    return gradient


def value_and_grad(function: Function, argnums: int | Sequence[int] = 0) -> Function:
    """As `grad`, but returns the pair of the function's value and its gradient.

    Raises, when called:
        ShapeError: the function's value is no scalar.
    """

    def value_and_gradient(*args: Any, **kwargs: Any) -> Any:
        numbers = [argnums] if isinstance(argnums, int) else list(argnums)
        with enabled():
            inputs = [_input(args[number]) for number in numbers]
            given = dict(zip([number % len(args) for number in numbers], inputs, strict=True))
            out = function(*(given.get(i, arg) for i, arg in enumerate(args)), **kwargs)
            if np.size(out) != 1:
                raise ShapeError(
                    f"grad needs a function with a scalar value, not of shape {np.shape(out)}: see jacobian"
                )
            nested = _nested(out, inputs)
            gradients = _gradients(out, inputs, None, nested)
        return _result(out, nested), gradients[0] if isinstance(argnums, int) else tuple(gradients)

    return value_and_gradient


def vjp(function: Function, *primals: Any) -> tuple[Any, Function]:
    """The function's value, and the map from a gradient of the value to the gradients of the arguments.

    >>> value, pull_back = vjp(lambda x: x**2, np.array([1.0, 2.0]))
    >>> pull_back(np.array([1.0, 1.0]))
    (array([2., 4.]),)
    """
    with enabled():
        inputs = [_input(primal) for primal in primals]
        out = function(*inputs)
    nested = _nested(out, inputs)

    def pull_back(gradient: Any) -> tuple[Any, ...]:
        with enabled():
            return tuple(_gradients(out, inputs, gradient, nested or _depends(gradient), retain_graph=True))

    return _result(out, nested), pull_back


def jvp(function: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """The function's value, and its derivative in the direction of the tangents.

    The pull-back is linear in its gradient, and pulling back through it gives the push-forward (Townsend 2017, "A new
    trick for calculating Jacobian vector products").

    >>> jvp(lambda x: x**2, [np.array([1.0, 2.0])], [np.array([1.0, 0.0])])[1]
    array([2., 0.])
    """
    with enabled():
        return _jvp(function, [_input(primal) for primal in primals], tangents)


def _jvp(function: Function, inputs: list[Tensor], tangents: Sequence[Any]) -> tuple[Any, Any]:
    out = function(*inputs)
    nested = _nested(out, inputs) or any(map(_depends, tangents))
    if not _depends(out):
        return _result(out, nested), np.zeros_like(_result(out, False))
    for primal, tangent in zip(inputs, tangents, strict=True):
        if primal.shape != np.shape(tangent):
            raise ShapeError(f"a tangent has shape {np.shape(tangent)}, but its primal has shape {primal.shape}")
    cotangent = Tensor(np.zeros(out.shape, out.dtype), requires_grad=True)
    pulled = autograd.grad(out, inputs, cotangent, create_graph=True, allow_unused=True)
    pairs = [(gradient, v) for gradient, v in zip(pulled, tangents, strict=True) if _depends(gradient)]
    if not pairs:
        return _result(out, nested), np.zeros_like(out.data)
    gradients, directions = zip(*pairs, strict=True)
    pushed = autograd.grad(list(gradients), cotangent, list(directions), nested, retain_graph=True)
    return _result(out, nested), pushed


def jacobian(function: Function, argnums: int = 0) -> Function:
    """All derivatives of a function's value: shape (*value's shape, *argument's shape).

    >>> jacobian(lambda x: x**2)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """

    def all_derivatives(*args: Any, **kwargs: Any) -> Any:
        with enabled():
            x = _input(args[argnums])
            given = {argnums % len(args): x}
            out = function(*(given.get(i, arg) for i, arg in enumerate(args)), **kwargs)
            nested = _nested(out, [x])
            shape = (*np.shape(out), *x.shape)
            if not _depends(out) or not out.size:
                return np.zeros(shape, x.dtype)
            rows = [
                _gradients(out, [x], np.reshape(row, out.shape), nested, retain_graph=True)[0]
                for row in np.eye(out.size, dtype=out.dtype)
            ]
            return np.reshape(np.stack(rows), shape)

    return all_derivatives


def hessian(function: Function, argnums: int = 0) -> Function:
    """All second derivatives of a scalar-valued function: shape (*argument's shape, *argument's shape).

    For its product with a vector v alone, without the matrix: `jvp(grad(function), [x], [v])[1]`.

    >>> hessian(lambda x: np.sum(x**3))(np.array([1.0, 2.0]))
    array([[ 6.,  0.],
           [ 0., 12.]])
    """
    return jacobian(grad(function, argnums), argnums)


def _input(value: Any) -> Tensor:
    """A Tensor to differentiate with respect to: a new one, so that no transform sees another's."""
    if isinstance(value, Tensor):
        tracked: Tensor = np.positive(value) if value.requires_grad else Tensor(value.data, requires_grad=True)  # type: ignore[assignment]
        return tracked
    array = np.asarray(value)
    return Tensor(array, requires_grad=True, dtype=array.dtype if array.dtype.kind in "fc" else np.float64)


def _nested(out: Any, inputs: Sequence[Tensor]) -> bool:
    """Whether the result may be differentiated in turn: it depends on a leaf that is no input of this transform."""
    if not _depends(out):
        return False
    own = {x.node for x in inputs}
    return any(
        parent is not None and parent.rule is LEAF and parent not in own
        for node in toposort([out.node])
        for parent in node.parents
    )


def _depends(out: Any) -> bool:
    return isinstance(out, Tensor) and out.requires_grad


def _gradients(out: Any, inputs: list[Tensor], start: Any, nested: bool, retain_graph: bool | None = None) -> list[Any]:
    """Gradients of `out` with respect to inputs: zeros for those that it does not depend on."""
    if not _depends(out):
        return [np.zeros(x.shape, x.dtype) for x in inputs]
    found = autograd.grad(out, inputs, start, nested, allow_unused=True, retain_graph=retain_graph or nested)
    return [np.zeros(x.shape, x.dtype) if g is None else g for g, x in zip(found, inputs, strict=True)]


def _result(out: Any, nested: bool) -> Any:
    return out if nested or not isinstance(out, Tensor) else out.data
