"""The losses as modules: see the functions of the same names in `functional`."""

from typing import Any

from tinygrad_np import functional
from tinygrad_np.nn.module import Module


class CrossEntropyLoss(Module):
    """See `functional.cross_entropy`: expects unnormalised scores, no softmax before it."""

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def forward(self, logits: Any, target: Any) -> Any:
        return functional.cross_entropy(logits, target, self.label_smoothing)


class NLLLoss(Module):
    """See `functional.nll_loss`: expects log-probabilities, such as `LogSoftmax` gives."""

    def forward(self, log_probabilities: Any, target: Any) -> Any:
        return functional.nll_loss(log_probabilities, target)


class MSELoss(Module):
    """See `functional.mse_loss`."""

    def forward(self, x: Any, target: Any) -> Any:
        return functional.mse_loss(x, target)
