"""The layers for images: convolution and pooling. See `functional.conv2d` for what their settings mean.

Shapes: N images of C channels, H rows and W columns are an array of shape (N, C, H, W).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygrad_np import functional
from tinygrad_np.arguments import DTypeLike, Seed, integer
from tinygrad_np.errors import ArgumentError
from tinygrad_np.functional.convolution import paddings, pair
from tinygrad_np.nn.layers import weight_and_bias
from tinygrad_np.nn.module import Module, Parameter
from tinygrad_np.tensor import Tensor

__all__ = ["AvgPool2d", "Conv2d", "MaxPool2d"]

Pair = int | Sequence[int]


class Conv2d(Module):
    """Filters that slide over images, from shape (N, in_channels, H, W) to shape (N, out_channels, rows, columns).

    `weight` has shape (out_channels, in_channels / groups, *kernel_size), `bias` shape (out_channels,).

    Args:
        in_channels, out_channels: multiples of groups.
        kernel_size: of a filter. This and the next three are one number, or one for rows and columns each.
        stride: how far apart the places are that a filter is put to.
        padding: how many zeros go around the images; "valid" is none, and "same" as many as keep their size.
        dilation: how far apart the pixels are that a filter sees.
        groups: into how many groups the channels are divided; each group of filters sees its own.
        bias: whether there is a bias; without one, `bias` is None.
        generator: draws the initial values, as `init.pytorch_default_` does; or the seed of one.
        dtype: of the parameters.

    Raises:
        ArgumentError: a setting is out of range.
        ArgumentTypeError: `bias` is no bool, or `generator` neither a generator nor a seed.
        ShapeError: when called, if the input has no such shape, or is smaller than a filter.

    >>> Conv2d(1, 16, 3, padding=1)(np.zeros((32, 1, 28, 28), dtype=np.float32)).shape
    (32, 16, 28, 28)
    """

    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair | str = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        generator: Seed = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        in_channels, out_channels = integer("in_channels", in_channels, 1), integer("out_channels", out_channels, 1)
        self.groups = integer("groups", groups, 1)
        if in_channels % self.groups or out_channels % self.groups:
            raise ArgumentError(
                f"in_channels and out_channels must be multiples of groups, {groups}, but are {in_channels} and "
                f"{out_channels}"
            )
        size = pair("kernel_size", kernel_size)
        self.stride, self.dilation = pair("stride", stride), pair("dilation", dilation)
        paddings(padding, size, self.stride, self.dilation)  # refuses what is none
        self.padding = padding if isinstance(padding, str) else pair("padding", padding, 0)
        shape = out_channels, in_channels // self.groups, *size
        self.weight, self.bias = weight_and_bias(shape, bias, generator, dtype)

    def forward(self, x: Tensor | np.ndarray) -> Tensor:
        return functional.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        out_channels, in_channels, *size = self.weight.shape
        settings = {"padding": (0, 0), "dilation": (1, 1), "groups": 1}
        changed = [
            f", {name}={getattr(self, name)!r}" for name, usual in settings.items() if getattr(self, name) != usual
        ]
        return (
            f"{in_channels * self.groups}, {out_channels}, kernel_size={tuple(size)}, stride={self.stride}"
            f"{''.join(changed)}{'' if self.bias is not None else ', bias=False'}"
        )


class MaxPool2d(Module):
    """The maximum of each window, from shape (N, C, H, W) to shape (N, C, rows, columns). See `functional.max_pool2d`.

    Args:
        kernel_size: of the window. This and what follows are one number, or one for rows and columns each.
        stride: how far apart the windows are; by default they lie side by side.
        padding: how many pixels go around the images, which are never the maximum.
        dilation: how far apart the pixels of a window are.

    Raises:
        ArgumentError: a setting is out of range.
        ShapeError: when called, if the input has no such shape, or a window does not fit.
    """

    def __init__(self, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0, dilation: Pair = 1) -> None:
        self.kernel_size = pair("kernel_size", kernel_size)
        self.stride = self.kernel_size if stride is None else pair("stride", stride)
        self.padding, self.dilation = pair("padding", padding, 0), pair("dilation", dilation)

    def forward(self, x: Tensor | np.ndarray) -> Tensor:
        return functional.max_pool2d(x, self.kernel_size, self.stride, self.padding, self.dilation)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}"


class AvgPool2d(Module):
    """The mean of each window, from shape (N, C, H, W) to shape (N, C, rows, columns). See `functional.avg_pool2d`.

    Args:
        kernel_size: of the window. This and what follows are one number, or one for rows and columns each.
        stride: how far apart the windows are; by default they lie side by side.
        padding: how many zeros go around the images, which count.

    Raises:
        ArgumentError: a setting is out of range.
        ShapeError: when called, if the input has no such shape, or a window does not fit.
    """

    def __init__(self, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0) -> None:
        self.kernel_size = pair("kernel_size", kernel_size)
        self.stride = self.kernel_size if stride is None else pair("stride", stride)
        self.padding = pair("padding", padding, 0)

    def forward(self, x: Tensor | np.ndarray) -> Tensor:
        return functional.avg_pool2d(x, self.kernel_size, self.stride, self.padding)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
