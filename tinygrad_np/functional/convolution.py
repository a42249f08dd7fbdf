"""Convolution and pooling of images, on two linear maps: `columns` lays out what each window sees, `folded` adds it up.

Each of the two is the derivative of the other, so their derivatives have derivatives. With the columns laid out, a
convolution is one product of matrices, which BLAS computes on all cores.

Shapes are PyTorch's: N images of C channels, H rows and W columns are an array of shape (N, C, H, W). In memory, the
results have the batch last, as (C, H, W, N): whatever the windows are, they then move whole runs of N numbers.
"""

from __future__ import annotations

__docformat__ = "google"

import inspect
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tinygrad_np.arguments import integer
from tinygrad_np.derivatives.elementwise import in_single, masked
from tinygrad_np.derivatives.reductions import same
from tinygrad_np.derivatives.table import RULES, differentiable
from tinygrad_np.errors import ArgumentError, ArgumentTypeError, ShapeError
from tinygrad_np.functional.arrays import as_array, real_array
from tinygrad_np.tensor import Tensor

__all__ = [
    "CONVOLUTION",
    "avg_pool2d",
    "columns",
    "conv2d",
    "folded",
    "handed_back",
    "max_pool2d",
    "paddings",
    "pair",
    "picked",
]

Pair = int | Sequence[int]
Pads = tuple[tuple[int, int], tuple[int, int]]

# Windows


def pair(name: str, value: Any, least: int = 1) -> tuple[int, int]:
    """A setting for rows and columns, given for both at once or for each.

    Raises:
        ArgumentError: it is no integer, or no pair of integers, from `least` on.
    """
    values = value if isinstance(value, (tuple, list)) else (value, value)
    if len(values) != 2:
        raise ArgumentError(f"{name} must be an integer or a pair, for rows and columns, but is {value!r}")
    rows, cols = (integer(name, number, least) for number in values)
    return rows, cols


def paddings(padding: Any, size: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> Pads:
    """How many zeros go before and after the rows, and before and after the columns.

    Raises:
        ArgumentError: the padding is unknown, or "same" with a stride: the results cannot be as many as the pixels.
    """
    if not isinstance(padding, str):
        above, left = pair("padding", padding, 0)
        return (above, above), (left, left)
    if padding not in ("same", "valid") or (padding == "same" and tuple(stride) != (1, 1)):
        raise ArgumentError(
            f'padding must be an integer, a pair, "valid" for none, or "same" with a stride of 1, '
            f"but is {padding!r} with a stride of {tuple(stride)}"
        )
    totals = [d * (k - 1) if padding == "same" else 0 for k, d in zip(size, dilation, strict=True)]
    rows, cols = ((total // 2, total - total // 2) for total in totals)  # of an odd number more after, as in PyTorch
    return rows, cols


def places(shape: Sequence[int], size: Any, stride: Any, padding: Any, dilation: Any) -> tuple[int, int]:
    """At how many rows and columns a window fits into images of shape (..., H, W).

    Raises:
        ShapeError: it does not fit at all.
    """
    spans = [d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True)]
    room = [n + sum(p) - span for n, p, span in zip(shape[-2:], padding, spans, strict=True)]
    if min(room) < 0:
        raise ShapeError(
            f"a window of {spans[0]} x {spans[1]} pixels does not fit into images of shape {tuple(shape)} with a "
            f"padding of {padding[0]} rows and {padding[1]} columns; use a smaller kernel_size or more padding"
        )
    rows, cols = (n // s + 1 for n, s in zip(room, stride, strict=True))
    return rows, cols


def shifts(size: Any, stride: Any, dilation: Any, found: tuple[int, int]) -> Iterator[tuple[int, int, Any]]:
    """For each place in a window, its row and column, and the index of what all windows see there: (:, rows, cols)."""
    for i in range(size[0]):
        for j in range(size[1]):
            starts = i * dilation[0], j * dilation[1]
            rows, cols = (slice(a, a + (n - 1) * s + 1, s) for a, n, s in zip(starts, found, stride, strict=True))
            yield i, j, (slice(None), rows, cols)


def padded(x: Any, padding: Any, value: float = 0) -> Any:
    """Images of shape (N, C, H, W) with a margin of this value, as an array of shape (C, H, W, N)."""
    x = x.transpose(1, 2, 3, 0)
    if not np.any(padding):
        return np.ascontiguousarray(x)
    (top, bottom), (left, right) = padding
    channels, height, width, batch = x.shape
    out = np.full((channels, height + top + bottom, width + left + right, batch), value, x.dtype)
    out[:, top : top + height, left : left + width] = x
    return out


def columns_vjp(g: Any, out: Any, x: Any, size: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    return folded(g, x.shape, size, stride, padding, dilation)


@differentiable(columns_vjp)
def columns(x: Any, size: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    """What each window sees of images of shape (N, C, H, W), as an array of shape (C, *size, rows, columns, N)."""
    found = places(x.shape, size, stride, padding, dilation)
    x = padded(x, padding)
    out = np.empty((len(x), *size, *found, x.shape[-1]), x.dtype)
    for i, j, seen in shifts(size, stride, dilation, found):
        out[:, i, j] = x[seen]
    return out


@differentiable(lambda g, out, x, shape, size, stride, padding, dilation: columns(g, size, stride, padding, dilation))
def folded(x: Any, shape: Any, size: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    """Columns added up, each where it came from: images of this shape."""
    batch, channels, height, width = shape
    (top, bottom), (left, right) = padding
    x = in_single(x)
    out = np.zeros((channels, height + top + bottom, width + left + right, batch), x.dtype)
    for i, j, seen in shifts(size, stride, dilation, places(shape, size, stride, padding, dilation)):
        out[seen] += x[:, i, j]
    return out[:, top : top + height, left : left + width].transpose(3, 0, 1, 2)


# Convolution


def by_group(x: Any, groups: int) -> Any:
    """Images, or their gradient, of shape (N, C, H, W), as matrices of shape (groups, C / groups, H * W * N)."""
    batch, channels, height, width = x.shape
    return np.reshape(np.transpose(x, (1, 2, 3, 0)), (groups, channels // groups, height * width * batch))


def matrices(weight: Any, groups: int) -> Any:
    """The weight as matrices, one for each group, that columns are multiplied by."""
    outputs, *window = weight.shape
    return np.reshape(weight, (groups, outputs // groups, window[0] * window[1] * window[2]))


def laid_out(x: Any, weight: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """The columns as matrices, one for each group."""
    seen = columns(x, weight.shape[2:], stride, padding, dilation)
    inputs, kernel_rows, kernel_cols, rows, cols, batch = seen.shape
    return np.reshape(seen, (groups, inputs // groups * kernel_rows * kernel_cols, rows * cols * batch))


def image_vjp(
    g: Any, out: Any, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: Any
) -> Any:
    seen = np.matmul(np.swapaxes(matrices(weight, groups), 1, 2), by_group(g, groups))
    shape = x.shape[1], *weight.shape[2:], *g.shape[2:], len(x)
    return folded(np.reshape(seen, shape), x.shape, weight.shape[2:], stride, padding, dilation)


def weight_vjp(
    g: Any, out: Any, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: Any
) -> Any:
    inputs, outputs = math.prod(weight.shape[1:]), len(weight) // groups
    rows, places = g.shape[2], g.shape[3] * len(x)
    # BLAS is slow at products of few rows and columns over so many places. So each row of the images is summed by
    # itself, unless the sums took more memory than what they are made of.
    if inputs * outputs > places * (inputs + outputs):
        rows, places = 1, rows * places
    seen = np.reshape(laid_out(x, weight, stride, padding, dilation, groups), (groups, inputs, rows, places))
    g = np.reshape(by_group(g, groups), (groups, outputs, rows, places))
    sums = np.matmul(np.transpose(seen, (0, 2, 1, 3)), np.transpose(g, (0, 2, 3, 1)))
    return np.reshape(np.swapaxes(np.sum(sums, axis=1), 1, 2), weight.shape)


def bias_vjp(
    g: Any, out: Any, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: Any
) -> Any:
    return np.sum(in_single(g), axis=(0, 2, 3))


@differentiable(image_vjp, weight_vjp, bias_vjp)
def _conv2d(x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: Any) -> Any:
    out = np.matmul(matrices(weight, groups), laid_out(x, weight, stride, padding, dilation, groups))
    if bias is not None:
        out += np.reshape(bias, (groups, -1, 1))
    out = np.reshape(out, (len(weight), *places(x.shape, weight.shape[2:], stride, padding, dilation), len(x)))
    return np.transpose(out, (3, 0, 1, 2))


CONVOLUTION = RULES[inspect.unwrap(_conv2d)]
"""The rule of a convolution, by which `debug.summary` knows one."""


def conv2d(
    x: Tensor | np.ndarray,
    weight: Tensor | np.ndarray,
    bias: Tensor | np.ndarray | None = None,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Tensor:
    r"""Slide a small filter over images: for each place, the sum of its products with what it sees there.

    $$ \text{out}_{n o r c} = \text{bias}_o + \sum_{k i j} \text{weight}_{o k i j} \, x_{n, k, s r + d i, s c + d j} $$

    Source: LeCun et al., "Gradient-based learning applied to document recognition" (1998), section 2; as one product of
    matrices: Chellapilla, Puri & Simard, "High performance convolutional neural networks for document processing"
    (2006), section 3. Like PyTorch's, it does not turn the filter around.

    Args:
        x: images, shape (N, in_channels, H, W).
        weight: the filters, shape (out_channels, in_channels / groups, rows, columns).
        bias: shape (out_channels,), or None.
        stride: how far apart the places are. This and what follows are one number, or one for rows and columns each.
        padding: how many zeros go around the images; "valid" is none, and "same" as many as keep their size.
        dilation: how far apart the pixels are that a filter sees.
        groups: into how many groups the channels are divided; each group of filters sees its own.

    Returns:
        Shape (N, out_channels, rows, columns).

    Raises:
        ShapeError: the shapes do not fit.
        ArgumentError: a setting is out of range.
        ArgumentTypeError: x is a list or something else: its dtype would be anybody's guess.

    >>> conv2d(np.ones((1, 1, 4, 4)), np.ones((1, 1, 3, 3)))
    array([[[[9., 9.],
             [9., 9.]]]])
    """
    groups = integer("groups", groups, 1)
    if not isinstance(x, (Tensor, np.ndarray)):
        raise ArgumentTypeError(
            f"conv2d takes arrays and Tensors, but was given a {type(x).__name__}; write np.array(x, dtype=np.float32)"
        )
    if weight.ndim != 4 or weight.shape[0] % groups or 0 in weight.shape:
        raise ShapeError(
            f"the weight has shape {weight.shape}, but should have shape (out_channels, in_channels / groups, rows, "
            f"columns), with out_channels a multiple of groups, {groups}"
        )
    if x.ndim != 4 or x.shape[1] != weight.shape[1] * groups:
        raise ShapeError(
            f"the input has shape {x.shape}, but the weight of shape {weight.shape} expects "
            f"(N, {weight.shape[1] * groups}, H, W){remedy(x)}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ShapeError(f"the bias has shape {bias.shape}, but should have one element a filter, {weight.shape[:1]}")
    steps, spread = pair("stride", stride), pair("dilation", dilation)
    margins = paddings(padding, weight.shape[2:], steps, spread)
    places(x.shape, weight.shape[2:], steps, margins, spread)
    return _conv2d(x, weight, bias, steps, margins, spread, groups)


def remedy(x: Any) -> str:
    """What to do about a wrong number of axes, as the end of a message."""
    if x.ndim == 3:
        return "; a single image needs an axis for the batch, x[np.newaxis], and one of grey levels one for the channel"
    return "; rows of pixels become images by x.reshape(-1, channels, rows, columns)" if x.ndim == 2 else ""


# Pooling


def settled(x: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any = 1) -> tuple[Any, Any, Any, Any]:
    """The settings of a pooling as pairs, if they are in range and fit x."""
    if x.ndim != 4:
        raise ShapeError(f"the input has shape {x.shape}, but should have shape (N, C, H, W){remedy(x)}")
    size, spread = pair("kernel_size", kernel_size), pair("dilation", dilation)
    steps = size if stride is None else pair("stride", stride)
    margins = paddings(pair("padding", padding, 0), size, steps, spread)
    if any(2 * margin[0] > k for margin, k in zip(margins, size, strict=True)):
        raise ArgumentError(f"padding must be at most half of kernel_size, {kernel_size}, but is {padding}")
    places(x.shape, size, steps, margins, spread)
    return size, steps, margins, spread


def winners(x: Any, maxima: Any, size: Any, stride: Any, padding: Any, dilation: Any) -> Iterator[tuple[Any, Any]]:
    """For each place in a window, the index of what all windows see there, and where that is the first maximum.

    If a maximum is NaN, it is the first NaN.
    """
    x, maxima = padded(x, padding, np.nan), maxima.transpose(1, 2, 3, 0)  # a margin that equals nothing
    equal = same if np.isnan(maxima).any() else np.equal  # which takes a third of the time
    left = np.ones(maxima.shape, bool)
    for _, _, seen in shifts(size, stride, dilation, maxima.shape[1:3]):
        won = equal(x[seen], maxima) & left
        left ^= won
        yield seen, won


def handed_back_vjp(g: Any, out: Any, values: Any, x: Any, maxima: Any, *geometry: Any) -> Any:
    return picked(g, x, maxima, *geometry)


@differentiable(handed_back_vjp, None, None)
def handed_back(values: Any, x: Any, maxima: Any, size: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    """A value for each window, added to zeros where x has the window's maximum."""
    (top, bottom), (left, right) = padding
    batch, channels, height, width = x.shape
    values = np.ascontiguousarray(in_single(values).transpose(1, 2, 3, 0))
    image = np.zeros((channels, height + top + bottom, width + left + right, batch), values.dtype)
    for seen, won in winners(x, maxima, size, stride, padding, dilation):
        image[seen] += masked(values, won)
    return image[:, top : top + height, left : left + width].transpose(3, 0, 1, 2)


@differentiable(lambda g, out, values, x, maxima, *geometry: handed_back(g, x, maxima, *geometry), None, None)
def picked(values: Any, x: Any, maxima: Any, size: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    """Of values like x, for each window the one where x has its maximum."""
    values = padded(values, padding)
    found = np.zeros((*maxima.shape[1:], len(maxima)), values.dtype)
    for seen, won in winners(x, maxima, size, stride, padding, dilation):
        found += masked(values[seen], won)
    return found.transpose(3, 0, 1, 2)


def max_pool2d_vjp(g: Any, out: Any, x: Any, size: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    return handed_back(g, x, out, size, stride, padding, dilation)


@differentiable(max_pool2d_vjp)
def _max_pool2d(x: Any, size: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    (_, _, first), *others = shifts(size, stride, dilation, places(x.shape, size, stride, padding, dilation))
    x = padded(x, padding, -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min)
    out = x[first].copy()
    for _, _, seen in others:
        np.maximum(out, x[seen], out=out)
    return out.transpose(3, 0, 1, 2)


def max_pool2d(
    x: Tensor | np.ndarray,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
) -> Tensor:
    """The maximum of each window, whose gradient goes to it: to the first one in a row, then in a column, if equal.

    Args:
        x: images, shape (N, C, H, W).
        kernel_size: of the window. This and what follows are one number, or one for rows and columns each.
        stride: how far apart the windows are; by default they lie side by side. Rows and columns for which no window
            is left are not seen.
        padding: how many pixels go around the images, which are never the maximum.
        dilation: how far apart the pixels of a window are.

    Returns:
        Shape (N, C, rows, columns).

    Raises:
        ShapeError: x has no such shape, or a window does not fit.
        ArgumentError: a setting is out of range.
        DTypeError: x is complex.

    >>> max_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2)
    array([[[[ 5.,  7.],
             [13., 15.]]]])
    """
    x = real_array(x, "max_pool2d")
    return _max_pool2d(x, *settled(x, kernel_size, stride, padding, dilation))


def avg_pool2d(x: Tensor | np.ndarray, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0) -> Tensor:
    """The mean of each window, in which zeros of the padding count, as in PyTorch.

    Args, returned shape and errors as `max_pool2d`. Complex numbers are welcome.

    >>> avg_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2)
    array([[[[ 2.5,  4.5],
             [10.5, 12.5]]]])
    """
    x = as_array(x)
    means = np.mean(columns(x, *settled(x, kernel_size, stride, padding)), axis=(1, 2))
    return np.transpose(means, (3, 0, 1, 2))  # type: ignore[return-value]
