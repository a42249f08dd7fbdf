"""The losses as modules, over the functions of the same names in `functional`.

Shapes: N is the batch, C the number of classes, `...` any axes.
"""

import numpy as np

from tinygrad_np import functional
from tinygrad_np.arguments import ArrayLike, number
from tinygrad_np.nn.module import Module
from tinygrad_np.tensor import Tensor

__all__ = ["CrossEntropyLoss", "MSELoss", "NLLLoss"]


class CrossEntropyLoss(Module):
    """The mean cross-entropy between scores and classes, a scalar. See `functional.cross_entropy`.

    It is called with the scores, shape (N, C), unnormalised: put no softmax before it; and with the target, either
    class indices, integers of shape (N,), or probabilities of shape (N, C).

    Args:
        label_smoothing: the share of the uniform distribution that is mixed into the target, from 0 to 1.

    Raises:
        ShapeError: when called, if the shapes do not fit.
        ArgumentError: when called, if a class index is outside 0 ... C - 1, or label_smoothing is out of range.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = number("label_smoothing", label_smoothing)

    def forward(self, logits: Tensor | np.ndarray, target: ArrayLike | Tensor) -> Tensor:
        return functional.cross_entropy(logits, target, self.label_smoothing)

    def extra_repr(self) -> str:
        return f"label_smoothing={self.label_smoothing}"


class NLLLoss(Module):
    """The mean negative log-likelihood of the classes, a scalar. See `functional.nll_loss`.

    It is called with log-probabilities, shape (N, C), such as `LogSoftmax` gives, and with class indices, integers of
    shape (N,).

    Raises:
        ShapeError: when called, if the shapes do not fit.
        ArgumentError: when called, if a class index is outside 0 ... C - 1.
    """

    def forward(self, log_probabilities: Tensor | np.ndarray, target: ArrayLike | Tensor) -> Tensor:
        return functional.nll_loss(log_probabilities, target)


class MSELoss(Module):
    """The mean over all elements of (x - target)^2, a scalar. See `functional.mse_loss`.

    It is called with x and the target, both of the same shape (...).

    Raises:
        ShapeError: when called, if the shapes differ.
    """

    def forward(self, x: Tensor | np.ndarray, target: Tensor | np.ndarray) -> Tensor:
        return functional.mse_loss(x, target)
