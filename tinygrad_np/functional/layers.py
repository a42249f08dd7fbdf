"""The layers without parameters of their own: products, dropout, and standardising."""

from __future__ import annotations

__docformat__ = "google"

import inspect
from typing import Any

import numpy as np

from tinygrad_np.arguments import ArrayLike, Seed, fraction, integer, random_generator, require
from tinygrad_np.derivatives.elementwise import in_single
from tinygrad_np.derivatives.table import EFFECTS, derivative, differentiable
from tinygrad_np.engine import apply
from tinygrad_np.errors import ArgumentTypeError, ShapeError
from tinygrad_np.functional.arrays import Array, as_array, integers_below, like, real_array
from tinygrad_np.recording import composed
from tinygrad_np.tensor import Tensor
from tinygrad_np.writes import written

__all__ = ["add_in_place", "batch_norm", "dropout", "embedding", "layer_norm", "linear", "row"]


def rows(x: Any) -> Any:
    """All axes but the last in one."""
    return np.reshape(x, (-1, x.shape[-1]))


def weight_vjp(g: Any, out: Any, x: Any, weight: Any, bias: Any = None) -> Any:
    if g.ndim != 2:
        g, x = rows(g), rows(x)
    # A product of a column and a row is three times as fast by broadcasting: BLAS would first copy both into blocks.
    return g.T @ x if len(g) != 1 else g.T * x


@differentiable(
    lambda g, out, x, weight, bias=None: g @ weight,
    weight_vjp,
    lambda g, out, x, weight, bias=None: np.add.reduce(in_single(g if g.ndim == 2 else rows(g))),
)
def linear(x: Tensor | np.ndarray, weight: Tensor | np.ndarray, bias: Tensor | np.ndarray | None = None) -> Tensor:
    """The affine map x @ weight.T + bias, $x W^T + b$.

    Args:
        x: shape (..., in_features).
        weight: shape (out_features, in_features).
        bias: shape (out_features,), or None.

    Returns:
        Shape (..., out_features).

    Raises:
        ShapeError: x has another number of features than weight.
        ArgumentTypeError: x is a list or something else: its dtype would be anybody's guess.
    """
    if not isinstance(x, (Tensor, np.ndarray)):
        raise ArgumentTypeError(
            f"linear takes arrays and Tensors, but was given a {type(x).__name__}; write np.array(x, dtype=np.float32)"
        )
    if x.ndim == 0 or x.shape[-1] != weight.shape[-1]:
        raise ShapeError(
            f"the input has shape {x.shape}, but the weight of shape {weight.shape} "
            f"expects {weight.shape[-1]} features on the input's last axis"
        )
    out = np.matmul(x, weight.T)
    if bias is not None:
        out += bias
    return out


def embedding(indices: ArrayLike | Tensor, weight: Tensor | np.ndarray, padding_idx: int | None = None) -> Tensor:
    """The rows of a table at these indices.

    Args:
        indices: integers of shape (...).
        weight: the table, shape (rows, features).
        padding_idx: the index of a row that gets no gradient.

    Returns:
        Shape (..., features).

    Raises:
        ShapeError: the table has another number of axes than 2.
        ArgumentError: an index is outside 0 ... rows - 1.
        DTypeError: the indices are no integers.

    >>> embedding([1, 0], np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([[3., 4.],
           [1., 2.]])
    """
    if weight.ndim != 2:
        raise ShapeError(f"the table of an embedding has shape {weight.shape}, but should have shape (rows, features)")
    indices = indices if isinstance(indices, Tensor) else np.asarray(indices)
    rows = weight[integers_below(indices, len(weight), "the indices of an embedding", "rows")]
    if padding_idx is None or not isinstance(rows, Tensor):
        return rows
    unlearned = np.expand_dims(indices == row(padding_idx, len(weight)), -1)
    return np.where(unlearned, rows.detach(), rows)  # type: ignore[return-value]


def row(padding_idx: int, rows: int) -> int:
    """A row's index from 0 on: a negative one counts from the end, as in PyTorch.

    Raises:
        ArgumentError: there is no such row.
    """
    padding_idx = integer("padding_idx", padding_idx)
    require(-rows <= padding_idx < rows, "padding_idx", padding_idx, f"the index of one of {rows} rows")
    return padding_idx % rows


def dropout(x: Array, p: float, generator: Seed, training: bool = True) -> Array:
    """Set each element to zero with probability p and scale the others by 1 / (1 - p); in evaluation, do nothing.

    Source: Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15 (2014),
    in the "inverted" form of its section 10.

    Args:
        x: any shape.
        p: 0 <= p < 1.
        generator: where the randomness comes from; a seed gives the same mask at every call.
        training: whether to drop anything at all.
    """
    p, x = fraction("p", p), as_array(x)
    if not training or p == 0:
        return x
    return _dropped(x, p, random_generator(generator))


def dropped_vjp(g: Any, out: Any, x: Any, p: float, generator: Any) -> Any:
    return g[0] * out[1] if 0 in g else np.zeros_like(x)


@differentiable(dropped_vjp, None, None, residuals=True)
def _dropped(x: Any, p: float, generator: np.random.Generator) -> Any:
    """The product with a mask that is drawn anew at every call; and the mask, for the derivative."""
    mask = generator.random(x.shape, dtype=np.float32) >= p
    scaled = mask * np.result_type(x, np.float16).type(1 / (1 - p))
    return x * scaled, scaled


@composed
def layer_norm(
    x: Array,
    normalized_shape: tuple[int, ...],
    weight: Tensor | np.ndarray | None = None,
    bias: Tensor | np.ndarray | None = None,
    eps: float = 1e-5,
) -> Array:
    r"""Standardise over the last axes, then scale and shift.

    $$ \frac{x - \mu}{\sqrt{\sigma^2 + \text{eps}}} \cdot \text{weight} + \text{bias} $$

    Source: Ba, Kiros & Hinton, "Layer normalization" (2016), equation 4; eps is PyTorch's.

    Args:
        x: shape (..., *normalized_shape).
        normalized_shape: the lengths of the axes over which mean and variance are taken.
        weight, bias: shape normalized_shape, or None.

    Raises:
        ShapeError: x does not end in normalized_shape.
        DTypeError: x is complex.
    """
    x = real_array(x, "layer_norm")
    if x.shape[x.ndim - len(normalized_shape) :] != tuple(normalized_shape):
        raise ShapeError(f"the input has shape {x.shape}, but its last axes should be {tuple(normalized_shape)}")
    axes = tuple(range(-len(normalized_shape), 0))
    single = in_single(x)
    deviation = single - np.mean(single, axis=axes, keepdims=True)
    variance = np.mean(deviation * deviation, axis=axes, keepdims=True)
    return _scale_and_shift(like(deviation / np.sqrt(variance + eps), x), weight, bias)


@composed
def batch_norm(
    x: Array,
    running_mean: np.ndarray,
    running_var: np.ndarray,
    weight: Tensor | np.ndarray | None = None,
    bias: Tensor | np.ndarray | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Array:
    r"""Standardise each feature over the batch, then scale and shift.

    $$ \frac{x - \mu}{\sqrt{\sigma^2 + \text{eps}}} \cdot \text{weight} + \text{bias} $$

    In training the statistics are the batch's, and the running ones, used in evaluation, move towards them by
    `momentum`, in place. The running variance is the unbiased one, as in PyTorch.

    Source: Ioffe & Szegedy, "Batch normalization" (2015), algorithms 1 and 2; momentum and eps are PyTorch's.

    Args:
        x: shape (N, features).
        running_mean, running_var: shape (features,).
        weight, bias: shape (features,), or None.

    Raises:
        ShapeError: x is not of shape (N, features), or is a single row in training, where no variance exists.
        DTypeError: x is complex.
    """
    x = real_array(x, "batch_norm")
    if x.ndim != 2 or x.shape[1] != len(running_mean):
        raise ShapeError(f"the input has shape {x.shape}, but should have shape (N, {len(running_mean)})")
    single = in_single(x)
    if training:
        if len(x) < 2:
            raise ShapeError(
                f"batch_norm needs more than one row in training, but the input has shape {x.shape}; leave out a last "
                "batch of one row with data.batches(..., drop_last=True), or call eval() to use the running statistics"
            )
        mean = np.mean(single, axis=0)
        deviation = single - mean
        variance = np.mean(deviation * deviation, axis=0)
        for running, now in ((running_mean, mean), (running_var, variance * (len(x) / (len(x) - 1)))):
            now = now.detach() if isinstance(now, Tensor) else now
            apply(add_in_place, (running, momentum * (now - running)))
        standard = deviation / np.sqrt(variance + eps)
    else:
        standard = _over_root(single - running_mean, running_var, eps)
    return _scale_and_shift(like(standard, x), weight, bias)


@differentiable(lambda g, out, deviation, variance, eps: g / np.sqrt(in_single(variance) + eps))
def _over_root(deviation: Array, variance: np.ndarray, eps: float) -> Array:
    """deviation / sqrt(variance + eps). It is a call of its own, so that `compile` reads the running variance anew."""
    return deviation / np.sqrt(in_single(variance) + eps)


def add_in_place(array: Any, value: Any) -> Any:
    """`array += value`, as a function, so that compiled functions do it at every call."""
    array += value
    written(array)
    return array


derivative(add_in_place, None, None)
EFFECTS.update([inspect.unwrap(_dropped), add_in_place])


def _scale_and_shift(x: Any, weight: Any, bias: Any) -> Any:
    if weight is not None:
        x = x * weight
    return x if bias is None else x + bias
