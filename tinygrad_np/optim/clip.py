"""Clipping the gradients' norm, which keeps one bad batch from throwing the parameters far away."""

import math
from collections.abc import Iterable

import numpy as np

from tinygrad_np.errors import ArgumentError
from tinygrad_np.optim.arguments import require
from tinygrad_np.tensor import Tensor


def clip_grad_norm_(params: Tensor | Iterable[Tensor], max_norm: float) -> float:
    """Scale all gradients in place by one factor, so that together their Euclidean norm is at most `max_norm`.

    The factor is max_norm / (norm + 1e-6), or 1 if that is larger, as in PyTorch (Pascanu, Mikolov & Bengio 2013,
    "On the difficulty of training recurrent neural networks", Algorithm 1). If the norm is infinite or NaN, no factor
    helps: the gradients stay as they are, for `debug` to look at, and the caller can tell from the result.

    Args:
        params: the parameters, or a single one, any shapes; those without a gradient are passed over.
        max_norm: a positive number; `math.inf` only measures.

    Returns:
        The norm before clipping, each array's own summed in the array's dtype. 0 if there is no gradient.

    Raises:
        ArgumentError: `max_norm` is not positive, or there are no parameters, as of a generator that was used up.

    >>> p = Tensor([1.0, 1.0], requires_grad=True)
    >>> p.grad = np.array([3.0, 4.0])
    >>> clip_grad_norm_([p], max_norm=1.0)
    5.0
    >>> p.grad.round(3)
    array([0.6, 0.8])
    """
    require(max_norm > 0, "max_norm", max_norm, "a positive number")
    params = [params] if isinstance(params, Tensor) else list(params)
    if not params:
        raise ArgumentError("there are no parameters to clip the gradients of; pass model.parameters(), made anew")
    grads = [p.grad for p in params if p.grad is not None]
    norm = math.hypot(*(float(np.linalg.norm(grad)) for grad in grads))
    factor = float(max_norm) / (norm + 1e-6)
    if math.isfinite(norm) and factor < 1:
        for grad in grads:
            grad *= factor
    return norm
