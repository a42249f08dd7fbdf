"""Clipping the norm of the gradients, so that one bad batch does not throw the parameters far away."""

import math
from collections.abc import Iterable

import numpy as np

from tinygrad_np.arguments import number, require
from tinygrad_np.errors import ArgumentError, ArgumentTypeError
from tinygrad_np.tensor import Tensor

__all__ = ["clip_grad_norm_"]


def clip_grad_norm_(params: Tensor | Iterable[Tensor], max_norm: float) -> float:
    """Scale all gradients in place by one factor, so that together their Euclidean norm is at most `max_norm`.

    The factor is max_norm / (norm + 1e-6), but at most 1, as in PyTorch. If the norm is infinite or NaN, no factor
    helps: the gradients stay as they are, for `debug` to look at, and the caller can tell from the result.

    Source: Pascanu, Mikolov & Bengio, "On the difficulty of training recurrent neural networks" (2013), Algorithm 1.

    Args:
        params: the parameters, any shapes, or a single one. Those without a gradient are skipped.
        max_norm: a positive number; `math.inf` only measures.

    Returns:
        The norm before clipping; 0 if there is no gradient. The norm of each array is computed in the array's dtype,
        or in float64 if it overflows there.

    Raises:
        ArgumentError: `max_norm` is not positive, or there are no parameters, as from a generator that is used up.
        ArgumentTypeError: `params` is something else, such as a module, or `max_norm` is no number.

    >>> p = Tensor([1.0, 1.0], requires_grad=True)
    >>> p.grad = np.array([3.0, 4.0])
    >>> clip_grad_norm_([p], max_norm=1.0)
    5.0
    >>> p.grad.round(3)
    array([0.6, 0.8])
    """
    max_norm = number("max_norm", max_norm)
    require(max_norm > 0, "max_norm", max_norm, "a positive number")
    params = [params] if isinstance(params, Tensor) else list(params) if isinstance(params, Iterable) else [params]
    for p in params:
        if not isinstance(p, Tensor):
            raise ArgumentTypeError(f"params must be Tensors, but one is a {type(p).__name__}; pass model.parameters()")
    if not params:
        raise ArgumentError(
            "there are no parameters to clip; call model.parameters() anew (a generator can be consumed only once)"
        )
    # Each array once, also if a parameter comes twice.
    grads = list({id(p.grad): p.grad for p in params if p.grad is not None}.values())
    norm = math.hypot(*map(_norm, grads))
    factor = max_norm / (norm + 1e-6)
    if math.isfinite(norm) and factor < 1:
        for grad in grads:
            grad *= factor
    return norm


def _norm(grad: np.ndarray) -> float:
    with np.errstate(over="ignore"):
        norm = np.linalg.norm(grad)
    if not np.isfinite(norm) or grad.dtype == np.float16:
        norm = np.linalg.norm(grad.astype(np.float64))
    return float(norm)
