"""The losses as modules, over the functions of the same names in `functional`.

Shapes: N is the batch, C the number of classes, `...` any axes. The reduction is "mean", "sum", or "none".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_np import functional
from tinygrad_np.arguments import ArrayLike, number, require
from tinygrad_np.nn.module import Module
from tinygrad_np.tensor import Tensor

__all__ = [
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "HuberLoss",
    "L1Loss",
    "MSELoss",
    "NLLLoss",
    "SmoothL1Loss",
]


class _Loss(Module):
    """What losses share: the reduction."""

    def __init__(self, reduction: str = "mean") -> None:
        require(reduction in ("mean", "sum", "none"), "reduction", reduction, '"mean", "sum" or "none"')
        self.reduction = reduction

    def extra_repr(self) -> str:
        return "" if self.reduction == "mean" else f"reduction={self.reduction!r}"


def _weights(weight: ArrayLike | None) -> Any:
    """Weights as an array, which a module takes for a buffer: PyTorch's state has them, too."""
    return None if weight is None else np.asarray(weight, np.result_type(np.asarray(weight), np.float16))


class CrossEntropyLoss(_Loss):
    """The mean cross-entropy between scores and classes, a scalar. See `functional.cross_entropy`.

    It is called with the scores, shape (N, C), unnormalised: put no softmax before it; and with the target, either
    class indices, integers of shape (N,), or probabilities of shape (N, C).

    Args:
        label_smoothing: the share of the uniform distribution that is mixed into the target, from 0 to 1.
        weight: of each class, shape (C,), or None; it is a buffer.
        ignore_index: a class index that marks rows which do not count.
        reduction: "mean", "sum", or "none" for the cross-entropy of each row.

    Raises:
        ShapeError: when called, if the shapes do not fit.
        ArgumentError: when called, if a class index is outside 0 ... C - 1, or label_smoothing is out of range.
    """

    def __init__(
        self,
        label_smoothing: float = 0.0,
        *,
        weight: ArrayLike | None = None,
        ignore_index: int | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction)
        self.label_smoothing = number("label_smoothing", label_smoothing)
        self.weight, self.ignore_index = _weights(weight), ignore_index

    def forward(self, logits: Tensor | np.ndarray, target: ArrayLike | Tensor) -> Tensor:
        return functional.cross_entropy(
            logits,
            target,
            self.label_smoothing,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        return ", ".join(filter(None, [f"label_smoothing={self.label_smoothing}", super().extra_repr()]))


class NLLLoss(_Loss):
    """The mean negative log-likelihood of the classes, a scalar. See `functional.nll_loss`.

    It is called with log-probabilities, shape (N, C), such as `LogSoftmax` gives, and with class indices, integers of
    shape (N,).

    Args:
        weight: of each class, shape (C,), or None; it is a buffer.
        ignore_index: a class index that marks rows which do not count.
        reduction: "mean", "sum", or "none" for each row.

    Raises:
        ShapeError: when called, if the shapes do not fit.
        ArgumentError: when called, if a class index is outside 0 ... C - 1.
    """

    def __init__(
        self, weight: ArrayLike | None = None, ignore_index: int | None = None, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction)
        self.weight, self.ignore_index = _weights(weight), ignore_index

    def forward(self, log_probabilities: Tensor | np.ndarray, target: ArrayLike | Tensor) -> Tensor:
        return functional.nll_loss(
            log_probabilities, target, weight=self.weight, ignore_index=self.ignore_index, reduction=self.reduction
        )


class BCEWithLogitsLoss(_Loss):
    """The cross-entropy of yes or no for each element. See `functional.binary_cross_entropy_with_logits`.

    It is called with scores, unnormalised, and with probabilities of yes, both of the same shape (...).

    Args:
        weight: multiplies the elements, or None; it is a buffer, as is the next.
        reduction: "mean", "sum", or "none".
        pos_weight: multiplies the terms of yes, or None.

    Raises:
        ShapeError: when called, if the shapes differ.
    """

    def __init__(
        self, weight: ArrayLike | None = None, reduction: str = "mean", pos_weight: ArrayLike | None = None
    ) -> None:
        super().__init__(reduction)
        self.weight, self.pos_weight = _weights(weight), _weights(pos_weight)

    def forward(self, x: Tensor | np.ndarray, target: Tensor | np.ndarray) -> Tensor:
        return functional.binary_cross_entropy_with_logits(
            x, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


class MSELoss(_Loss):
    """The mean over all elements of (x - target)^2, a scalar. See `functional.mse_loss`.

    It is called with x and the target, both of the same shape (...).

    Args:
        reduction: "mean", "sum", or "none".

    Raises:
        ShapeError: when called, if the shapes differ.
    """

    def forward(self, x: Tensor | np.ndarray, target: Tensor | np.ndarray) -> Tensor:
        return functional.mse_loss(x, target, self.reduction)


class L1Loss(_Loss):
    """The mean over all elements of |x - target|, a scalar. See `functional.l1_loss`. Else as `MSELoss`."""

    def forward(self, x: Tensor | np.ndarray, target: Tensor | np.ndarray) -> Tensor:
        return functional.l1_loss(x, target, self.reduction)


class SmoothL1Loss(_Loss):
    """|x - target|, rounded off where it is below beta. See `functional.smooth_l1_loss`. Else as `MSELoss`.

    Args:
        reduction: "mean", "sum", or "none".
        beta: where the straight line begins, a number >= 0.
    """

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        self.beta = number("beta", beta)

    def forward(self, x: Tensor | np.ndarray, target: Tensor | np.ndarray) -> Tensor:
        return functional.smooth_l1_loss(x, target, self.reduction, self.beta)


class HuberLoss(_Loss):
    """Half the squared difference, and a straight line from delta on. See `functional.huber_loss`. Else as `MSELoss`.

    Args:
        reduction: "mean", "sum", or "none".
        delta: where the straight line begins, a number > 0.
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = number("delta", delta)

    def forward(self, x: Tensor | np.ndarray, target: Tensor | np.ndarray) -> Tensor:
        return functional.huber_loss(x, target, self.reduction, self.delta)
