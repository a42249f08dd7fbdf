"""Checks of derivatives against central differences, which know nothing of the derivative table.

A function's outputs are contracted to one real number by random weights, the same ones each time, so that one backward
pass gives all derivatives and an error in any of them shows. The derivative of that number with respect to an input
element is then compared with (f(x + eps) - f(x - eps)) / (2 eps). The quotient has a truncation error of order eps^2
and a rounding error of order 1e-16 / eps, which is why float64 is required (Nocedal & Wright, Numerical Optimization,
2006, section 8.1).
"""

__docformat__ = "google"

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_np.autograd import grad
from tinygrad_np.errors import ArgumentError, DTypeError, GradcheckError
from tinygrad_np.tensor import Tensor

__all__ = ["gradcheck", "gradgradcheck"]

FLOAT64 = (np.dtype(np.float64), np.dtype(np.complex128))


def gradcheck(
    function: Callable[..., Any], inputs: Any, eps: float = 1e-6, rtol: float = 1e-5, atol: float = 1e-7
) -> bool:
    """Compare the gradients of a function with central differences.

    A gradient a passes against a difference quotient n if |a - n| <= atol + rtol * |n|. The gradient with respect to a
    complex z is dL/dRe(z) + i dL/dIm(z), as in PyTorch.

    Args:
        function: called with one Tensor for each input; returns a Tensor of any shape, or a list or tuple of them. It
            must give the same result each time. An output without a history counts as constant.
        inputs: an array or Tensor, or a list or tuple of them, of any shape and of dtype float64 or complex128. The
            gradient is checked with respect to each. A Tensor that requires grad is passed on itself, so that the
            function may also reach it other than by its arguments, as a module reaches its parameters; anything else
            becomes a new Tensor. No array is written to.
        eps: the step, in the units of the inputs.
        rtol, atol: the relative and the absolute tolerance.

    Returns:
        True.

    Raises:
        GradcheckError: a gradient is wrong (the message says for which input and element), or the function is not
            deterministic.
        DTypeError: an input or an output has another dtype.
        ArgumentError: there are no inputs.

    >>> gradcheck(lambda x, y: np.sin(x) * y, [np.zeros((2, 3)), np.ones(3)])
    True
    """
    tensors = _leaves(inputs)
    outputs = _outputs(function, tensors)
    for first, second in zip(_arrays(outputs), _arrays(_outputs(function, tensors)), strict=True):
        if not np.array_equal(first, second, equal_nan=True):
            raise GradcheckError(
                "the function gives different results for the same inputs; if it uses random numbers, "
                "create their generator, with a seed, inside the function"
            )
    weights = _weights(outputs)
    for i, (tensor, gradient) in enumerate(zip(tensors, _gradients(outputs, tensors, weights), strict=True)):
        numerical = _central_differences(function, tensors, tensor, weights, eps)
        difference = np.abs(gradient - numerical)
        wrong = ~(difference <= atol + rtol * np.abs(numerical))  # so that NaN counts as wrong
        if wrong.any():
            worst = np.where(wrong, np.nan_to_num(difference, nan=np.inf), -1).argmax()
            index = tuple(map(int, np.unravel_index(worst, tensor.shape)))
            raise GradcheckError(
                f"the gradient for input {i}, of shape {tensor.shape}, is wrong at {wrong.sum()} of {wrong.size} "
                f"elements, worst at index {index}: analytic {gradient[index]}, numerical {numerical[index]}, "
                f"difference {difference[index]}"
            )
    return True


def gradgradcheck(
    function: Callable[..., Any], inputs: Any, eps: float = 1e-6, rtol: float = 1e-5, atol: float = 1e-7
) -> bool:
    """Compare second derivatives with central differences of the first: `gradcheck` of the function's gradients.

    In an error message the inputs after the given ones are the gradients with respect to the outputs, on which first
    derivatives depend as well.

    Args:
        function, inputs, eps, rtol, atol: as for `gradcheck`.

    Returns:
        True.

    Raises:
        GradcheckError, DTypeError, ArgumentError: as for `gradcheck`.

    >>> gradgradcheck(np.tanh, np.linspace(-1, 1, 5))
    True
    """
    tensors = _leaves(inputs)
    count = len(tensors)
    weights = [Tensor(weight, requires_grad=True) for weight in _weights(_outputs(function, tensors))]

    def gradients(*arguments: Tensor) -> list[Any]:
        tensors, weights = arguments[:count], arguments[count:]
        return _gradients(_outputs(function, tensors), tensors, weights, create_graph=True)

    return gradcheck(gradients, [*tensors, *weights], eps, rtol, atol)


def _leaves(inputs: Any) -> list[Tensor]:
    """Make a Tensor that requires grad of each input."""
    tensors = []
    for i, given in enumerate(inputs if isinstance(inputs, (list, tuple)) else [inputs]):
        tensor = given if isinstance(given, Tensor) and given.requires_grad else Tensor(given)
        if tensor.dtype not in FLOAT64:
            raise DTypeError(
                f"input {i} has dtype {tensor.dtype}, in which differences mean nothing; pass float64 or complex128"
            )
        tensor.requires_grad = True
        tensors.append(tensor)
    if not tensors:
        raise ArgumentError("there are no inputs to check gradients for")
    return tensors


def _outputs(function: Callable[..., Any], tensors: Sequence[Tensor]) -> list[Any]:
    """Call the function and return its outputs as a list."""
    result = function(*tensors)
    outputs = list(result) if isinstance(result, (list, tuple)) else [result]
    for i, array in enumerate(_arrays(outputs)):
        if array.dtype not in FLOAT64:
            raise DTypeError(
                f"output {i} has dtype {array.dtype}, in which differences mean nothing; "
                "return float64 or complex128, and do not convert to another dtype on the way"
            )
    return outputs


def _arrays(outputs: Sequence[Any]) -> list[np.ndarray]:
    return [output.data if isinstance(output, Tensor) else np.asarray(output) for output in outputs]


def _weights(outputs: Sequence[Any]) -> list[np.ndarray]:
    """Random weights for the outputs, of their shapes, the same ones each time."""
    generator = np.random.default_rng(0)
    weights = []
    for array in _arrays(outputs):
        weight = generator.standard_normal((2, *array.shape))
        weights.append(weight[0] + 1j * weight[1] if array.dtype.kind == "c" else weight[0])
    return weights


def _gradients(
    outputs: Sequence[Any], tensors: Sequence[Tensor], weights: Sequence[Any], create_graph: bool = False
) -> list[Any]:
    """The gradients of the weighted sum of the outputs; zeros for an input that no output depends on."""
    tracked = [i for i, output in enumerate(outputs) if isinstance(output, Tensor) and output.requires_grad]
    gradients = grad(
        [outputs[i] for i in tracked], tensors, [weights[i] for i in tracked], create_graph, allow_unused=True
    )
    return [
        np.zeros_like(tensor.data) if gradient is None else gradient
        for tensor, gradient in zip(tensors, gradients, strict=True)
    ]


def _central_differences(
    function: Callable[..., Any], tensors: Sequence[Tensor], tensor: Tensor, weights: Sequence[np.ndarray], eps: float
) -> np.ndarray:
    """The numerical gradient of the weighted sum of the outputs with respect to `tensor`."""
    gradient = np.zeros_like(tensor.data)
    for index in np.ndindex(gradient.shape):
        for direction in (1, 1j) if gradient.dtype.kind == "c" else (1,):
            below = _evaluate(function, tensors, tensor, index, -eps * direction)
            above = _evaluate(function, tensors, tensor, index, eps * direction)
            gradient[index] += direction * sum(
                np.sum((weight.conj() * (high - low) / (2 * eps)).real)
                for weight, low, high in zip(weights, below, above, strict=True)
            )
    return gradient


def _evaluate(
    function: Callable[..., Any], tensors: Sequence[Tensor], tensor: Tensor, index: tuple[int, ...], step: complex
) -> list[np.ndarray]:
    """The outputs after adding a step to one element of `tensor`."""
    array = tensor.data
    tensor.data = array.copy(order="K")  # keep the layout, which functions may depend on: np.ravel(x, order="A")
    tensor.data[index] += step
    try:
        return _arrays(_outputs(function, tensors))
    finally:
        tensor.data = array
