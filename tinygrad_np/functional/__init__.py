"""The functions that networks need and NumPy lacks, each with its derivative beside it.

They take arrays or Tensors. What overflows when written down naively (sigmoid, softplus, softmax and what is built on
them) is computed in its stable form, and what sums or squares half precision does so in single precision. Shapes: N is
the batch, C the number of classes, `...` any axes.
"""

from __future__ import annotations

__docformat__ = "google"

from tinygrad_np.functional.activations import (
    erf,
    gelu,
    leaky_relu,
    log_softmax,
    logsumexp,
    relu,
    sigmoid,
    softmax,
    softplus,
)
from tinygrad_np.functional.convolution import avg_pool2d, conv2d, max_pool2d
from tinygrad_np.functional.layers import batch_norm, dropout, embedding, layer_norm, linear
from tinygrad_np.functional.losses import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber_loss,
    l1_loss,
    mse_loss,
    nll_loss,
    one_hot,
    smooth_l1_loss,
)

__all__ = [
    "avg_pool2d",
    "batch_norm",
    "binary_cross_entropy_with_logits",
    "conv2d",
    "cross_entropy",
    "dropout",
    "embedding",
    "erf",
    "gelu",
    "huber_loss",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "logsumexp",
    "max_pool2d",
    "mse_loss",
    "nll_loss",
    "one_hot",
    "relu",
    "sigmoid",
    "smooth_l1_loss",
    "softmax",
    "softplus",
]
