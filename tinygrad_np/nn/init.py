"""Initialisers: they fill a parameter's array in place from a generator. Names are PyTorch's.

A weight has shape (out_features, in_features); fan_in is in_features and fan_out is out_features.
"""

from __future__ import annotations

import math

import numpy as np

from tinygrad_np.errors import ShapeError
from tinygrad_np.tensor import Tensor


def fans(tensor: Tensor) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight of shape (out_features, in_features).

    Raises:
        ShapeError: the tensor has another number of axes than two.
    """
    if tensor.ndim != 2:
        raise ShapeError(f"fans are defined for weights of shape (out_features, in_features), not {tensor.shape}")
    fan_out, fan_in = tensor.shape
    return fan_in, fan_out


def uniform_(tensor: Tensor, low: float, high: float, generator: np.random.Generator) -> None:
    """Draw from the uniform distribution on [low, high)."""
    tensor.data[...] = generator.uniform(low, high, tensor.shape)


def normal_(tensor: Tensor, mean: float, std: float, generator: np.random.Generator) -> None:
    """Draw from the normal distribution."""
    tensor.data[...] = generator.normal(mean, std, tensor.shape)


def zeros_(tensor: Tensor) -> None:
    """Fill with zeros."""
    tensor.data[...] = 0


def xavier_uniform_(tensor: Tensor, generator: np.random.Generator) -> None:
    """Uniform within sqrt(6 / (fan_in + fan_out)). Glorot & Bengio (2010), equation 16; for tanh and sigmoid."""
    bound = math.sqrt(6 / sum(fans(tensor)))
    uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, generator: np.random.Generator) -> None:
    """Normal with variance 2 / (fan_in + fan_out). Source: Glorot & Bengio (2010), equation 12."""
    normal_(tensor, 0, math.sqrt(2 / sum(fans(tensor))), generator)


def kaiming_uniform_(tensor: Tensor, generator: np.random.Generator) -> None:
    """Uniform with variance 2 / fan_in. Source: He et al. (2015), equation 10; for ReLU and its relatives."""
    bound = math.sqrt(6 / fans(tensor)[0])
    uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(tensor: Tensor, generator: np.random.Generator) -> None:
    """Normal with variance 2 / fan_in. Source: He et al. (2015), equation 10."""
    normal_(tensor, 0, math.sqrt(2 / fans(tensor)[0]), generator)


def pytorch_default_(tensor: Tensor, fan_in: int, generator: np.random.Generator) -> None:
    """Uniform within 1 / sqrt(fan_in), for weight and bias alike.

    Source: PyTorch's `Linear.reset_parameters`, which follows LeCun et al., "Efficient BackProp" (1998), section 4.6,
    but for a factor sqrt(3) in the bound.
    """
    bound = 1 / math.sqrt(fan_in) if fan_in else 0
    uniform_(tensor, -bound, bound, generator)
