"""Initialisers: functions that fill a parameter's array in place. Names are PyTorch's.

Each draws from the generator it is given, or from a new one of the seed it is given, so that a seed fixes the initial
values. A weight has shape (out_features, in_features); its fan_in is in_features and its fan_out is out_features. That
of a convolution has shape (out_channels, in_channels, rows, columns), and both are for one pixel of the image. The
initialisers named after a paper need such a weight, and raise a `ShapeError` for other shapes; the rest take any shape.
"""

from __future__ import annotations

__docformat__ = "google"

import math
from typing import Any

from tinygrad_np.arguments import Seed, random_generator
from tinygrad_np.errors import ArgumentTypeError, ShapeError
from tinygrad_np.tensor import Tensor

__all__ = [
    "fans",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "pytorch_default_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]


def fans(tensor: Tensor) -> tuple[int, int]:
    """How many inputs each output of a weight has, and how many outputs each input.

    Args:
        tensor: a weight of shape (out_features, in_features), or (out_channels, in_channels, rows, columns).

    Returns:
        fan_in and fan_out.

    Raises:
        ShapeError: the tensor has another number of axes.
    """
    if _checked(tensor).ndim not in (2, 4):
        raise ShapeError(
            "fans are defined for weights of shape (out_features, in_features) or (out_channels, in_channels, rows, "
            f"columns), not {tensor.shape}"
        )
    fan_out, fan_in, *window = tensor.shape
    return fan_in * math.prod(window), fan_out * math.prod(window)


def _checked(tensor: Any) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise ArgumentTypeError(f"only a Tensor can be initialised, not a {type(tensor).__name__}; pass layer.weight")
    return tensor


def uniform_(tensor: Tensor, low: float = 0.0, high: float = 1.0, generator: Seed = None) -> None:
    """Draw from the uniform distribution on [low, high)."""
    _checked(tensor).detach()[...] = random_generator(generator).uniform(low, high, tensor.shape)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Seed = None) -> None:
    """Draw from the normal distribution with this mean and standard deviation."""
    _checked(tensor).detach()[...] = random_generator(generator).normal(mean, std, tensor.shape)


def zeros_(tensor: Tensor) -> None:
    """Fill with zeros."""
    _checked(tensor).detach()[...] = 0


def xavier_uniform_(tensor: Tensor, generator: Seed = None) -> None:
    r"""Uniform within $\sqrt{6 / (\text{fan in} + \text{fan out})}$ of 0, for tanh and sigmoid.

    Source: Glorot & Bengio, "Understanding the difficulty of training deep feedforward neural networks" (2010),
    equation 16.
    """
    bound = math.sqrt(6 / sum(fans(tensor)))
    uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, generator: Seed = None) -> None:
    r"""Normal with variance $2 / (\text{fan in} + \text{fan out})$, for tanh and sigmoid.

    Source: Glorot & Bengio (2010), equation 12.
    """
    normal_(tensor, 0, math.sqrt(2 / sum(fans(tensor))), generator)


def kaiming_uniform_(tensor: Tensor, generator: Seed = None) -> None:
    r"""Uniform with variance $2 / \text{fan in}$, for ReLU and its relatives.

    Source: He et al., "Delving deep into rectifiers" (2015), equation 10.
    """
    bound = math.sqrt(6 / fans(tensor)[0])
    uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(tensor: Tensor, generator: Seed = None) -> None:
    r"""Normal with variance $2 / \text{fan in}$, for ReLU and its relatives. Source: He et al. (2015), equation 10."""
    normal_(tensor, 0, math.sqrt(2 / fans(tensor)[0]), generator)


def pytorch_default_(tensor: Tensor, fan_in: int, generator: Seed = None) -> None:
    r"""Uniform within $1 / \sqrt{\text{fan in}}$ of 0, for weight and bias alike.

    Source: PyTorch's `reset_parameters` of Linear and Conv2d, `kaiming_uniform_` with a = sqrt(5), which follows LeCun
    et al., "Efficient BackProp" (1998), section 4.6, up to a factor of sqrt(3) in the bound.

    Args:
        tensor: a weight or a bias, any shape.
        fan_in: how many inputs each output of the layer has, which the shape of a bias does not tell.
        generator: where the randomness comes from.
    """
    bound = 1 / math.sqrt(fan_in) if fan_in else 0
    uniform_(tensor, -bound, bound, generator)
