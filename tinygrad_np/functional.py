"""The functions that networks need and NumPy lacks, each with its derivative beside it.

They take arrays or Tensors. What overflows when written down naively (sigmoid, softplus, softmax and what is built on
them) is computed in its stable form. Shapes: N is the batch, C the number of classes, `...` any axes.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from tinygrad_np.derivatives.reductions import spread
from tinygrad_np.derivatives.table import differentiable
from tinygrad_np.errors import ArgumentError, DTypeError, ShapeError
from tinygrad_np.tensor import Tensor

__all__ = [
    "batch_norm",
    "cross_entropy",
    "dropout",
    "gelu",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "logsumexp",
    "mse_loss",
    "nll_loss",
    "one_hot",
    "relu",
    "sigmoid",
    "softmax",
    "softplus",
]

Array = TypeVar("Array", bound=Tensor | np.ndarray)

# Layers


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
    lambda g, out, x, weight, bias=None: np.add.reduce(g if g.ndim == 2 else rows(g)),
)
def linear(x: Tensor | np.ndarray, weight: Tensor | np.ndarray, bias: Tensor | np.ndarray | None = None) -> Tensor:
    """The affine map x @ weight.T + bias.

    Args:
        x: shape (..., in_features).
        weight: shape (out_features, in_features).
        bias: shape (out_features,), or None.

    Returns:
        Shape (..., out_features).

    Raises:
        ShapeError: x has another number of features than weight.
    """
    if x.ndim == 0 or x.shape[-1] != weight.shape[-1]:
        raise ShapeError(
            f"the input has shape {x.shape}, but the weight of shape {weight.shape} "
            f"expects {weight.shape[-1]} features on the input's last axis"
        )
    out = np.matmul(x, weight.T)
    if bias is not None:
        out += bias
    return out


def dropout(x: Array, p: float, generator: np.random.Generator, training: bool = True) -> Array:
    """Set each element to zero with probability p and scale the others by 1 / (1 - p); in evaluation, do nothing.

    Source: Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15 (2014),
    in the "inverted" form of its section 10.

    Args:
        x: any shape, floating point.
        p: 0 <= p < 1.
        generator: where the randomness comes from.
        training: whether to drop anything at all.
    """
    if not 0 <= p < 1:
        raise ArgumentError(f"dropout's p must be at least 0 and less than 1, not {p}")
    if not training or p == 0:
        return x
    mask = generator.random(x.shape, dtype=np.float32) >= p
    return x * (mask * x.dtype.type(1 / (1 - p)))


def layer_norm(
    x: Array,
    normalized_shape: tuple[int, ...],
    weight: Tensor | np.ndarray | None = None,
    bias: Tensor | np.ndarray | None = None,
    eps: float = 1e-5,
) -> Array:
    """Standardise over the last axes, then scale and shift.

    Source: Ba, Kiros & Hinton, "Layer normalization" (2016), equation 4; eps is PyTorch's.

    Args:
        x: shape (..., *normalized_shape).
        normalized_shape: the lengths of the axes over which mean and variance are taken.
        weight, bias: shape normalized_shape, or None.

    Raises:
        ShapeError: x does not end in normalized_shape.
    """
    if x.shape[x.ndim - len(normalized_shape) :] != tuple(normalized_shape):
        raise ShapeError(f"the input has shape {x.shape}, but its last axes should be {tuple(normalized_shape)}")
    axes = tuple(range(-len(normalized_shape), 0))
    deviation = x - np.mean(x, axis=axes, keepdims=True)
    variance = np.mean(deviation * deviation, axis=axes, keepdims=True)
    return _scale_and_shift(deviation / np.sqrt(variance + eps), weight, bias)


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
    """Standardise each feature over the batch, then scale and shift.

    In training the statistics are the batch's, and the running ones, used in evaluation, move towards them by
    `momentum`, in place. The running variance is the unbiased one, as in PyTorch.

    Source: Ioffe & Szegedy, "Batch normalization" (2015), algorithms 1 and 2; momentum and eps are PyTorch's.

    Args:
        x: shape (N, features).
        running_mean, running_var: shape (features,).
        weight, bias: shape (features,), or None.

    Raises:
        ShapeError: x is not of shape (N, features), or is a single row in training, where no variance exists.
    """
    if x.ndim != 2 or x.shape[1] != len(running_mean):
        raise ShapeError(f"the input has shape {x.shape}, but should have shape (N, {len(running_mean)})")
    if training:
        if len(x) < 2:
            raise ShapeError(f"batch_norm needs more than one row in training, but the input has shape {x.shape}")
        mean = np.mean(x, axis=0)
        deviation = x - mean
        variance = np.mean(deviation * deviation, axis=0)
        for running, now in ((running_mean, mean), (running_var, variance * (len(x) / (len(x) - 1)))):
            running += momentum * ((now.array if isinstance(now, Tensor) else now) - running)
    else:
        deviation, variance = x - running_mean, running_var
    return _scale_and_shift(deviation / np.sqrt(variance + eps), weight, bias)


def _scale_and_shift(x: Any, weight: Any, bias: Any) -> Any:
    if weight is not None:
        x = x * weight
    return x if bias is None else x + bias


# Activations


@differentiable(lambda g, out, x: g * (out > 0))
def relu(x: Array) -> Array:
    """max(x, 0); the derivative at 0 is taken as 0.

    >>> relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    return np.maximum(x, 0)  # type: ignore[return-value]


@differentiable(lambda g, out, x, negative_slope=0.01: np.where(x > 0, g, g * negative_slope))
def leaky_relu(x: Array, negative_slope: float = 0.01) -> Array:
    """x where x > 0, else negative_slope * x. Source: Maas, Hannun & Ng (2013), section 2; the slope is theirs."""
    return np.where(x > 0, x, x * negative_slope)  # type: ignore[return-value]


_GELU_SCALE = float(np.sqrt(2 / np.pi))


def gelu(x: Array) -> Array:
    """x times the normal distribution function of x, in the tanh approximation.

    Source: Hendrycks & Gimpel, "Gaussian error linear units" (2016), section 2:
    0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))). PyTorch calls it gelu(approximate="tanh").
    """
    return 0.5 * x * (1 + np.tanh(_GELU_SCALE * (x + 0.044715 * (x * x * x))))  # type: ignore[return-value]


@differentiable(lambda g, out, x: g * (out * (1 - out)))
def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), and the same as exp(x) / (1 + exp(x)) where x < 0, so that exp(-|x|) cannot overflow."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)


@differentiable(lambda g, out, x: g * sigmoid(x))
def softplus(x: Array) -> Array:
    """log(1 + exp(x)), as max(x, 0) + log(1 + exp(-|x|)), which cannot overflow."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


# Softmax and its relatives


def softmax_vjp(g: Any, out: Any, x: Any, axis: Any = -1) -> Any:
    product = g * out
    return product - out * np.sum(product, axis=axis, keepdims=True)


@differentiable(softmax_vjp)
def softmax(x: Array, axis: int | tuple[int, ...] = -1) -> Array:
    """exp(x) / sum(exp(x)) over an axis, with the maximum subtracted first. Same shape as x.

    >>> softmax(np.array([1000.0, 1000.0]))
    array([0.5, 0.5])
    """
    exponentials = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return exponentials / np.sum(exponentials, axis=axis, keepdims=True)


@differentiable(lambda g, out, x, axis=-1: g - np.exp(out) * np.sum(g, axis=axis, keepdims=True))
def log_softmax(x: Array, axis: int | tuple[int, ...] = -1) -> Array:
    """x - log(sum(exp(x))) over an axis, with the maximum subtracted first. Same shape as x."""
    shifted = x - np.max(x, axis=axis, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))


@differentiable(
    lambda g, out, x, axis=None, keepdims=False: (
        spread(g, axis, keepdims) * np.exp(x - _finite(spread(out, axis, keepdims)))
    )
)
def logsumexp(x: Array, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Array:
    """log(sum(exp(x))) over axes, with the maximum subtracted first. By default over all axes, as NumPy's reductions.

    >>> round(float(logsumexp(np.array([1000.0, 1000.0]))), 4)
    1000.6931
    """
    maximum = _finite(np.max(x, axis=axis, keepdims=True))
    with np.errstate(divide="ignore", over="ignore"):  # the results, -inf and inf, are right
        out = np.log(np.sum(np.exp(x - maximum), axis=axis, keepdims=True)) + maximum
    return out if keepdims else np.squeeze(out, axis=axis)


def _finite(x: Any) -> Any:
    """Zero for infinities, so that inf - inf does not arise where all elements are -inf."""
    return np.where(np.isfinite(x), x, 0)


# Losses


def cross_entropy(logits: Tensor | np.ndarray, target: ArrayLike | Tensor, label_smoothing: float = 0.0) -> Tensor:
    """The mean over the batch of -sum_c target_c log softmax(logits)_c.

    Args:
        logits: shape (N, C), unnormalised: do not apply softmax first.
        target: class indices, integers of shape (N,), or probabilities of shape (N, C).
        label_smoothing: mixes the target with the uniform distribution: Szegedy et al., "Rethinking the Inception
            architecture for computer vision" (2015), section 7.

    Returns:
        A scalar.

    Raises:
        ShapeError: the shapes do not fit.
        ArgumentError: a class index outside 0 ... C - 1, an empty batch, or a smoothing outside [0, 1].

    >>> round(float(cross_entropy(np.zeros((1, 10)), np.array([3]))), 4)  # the logarithm of 10
    2.3026
    """
    if not 0 <= label_smoothing <= 1:
        raise ArgumentError(f"label_smoothing must be between 0 and 1, not {label_smoothing}")
    if not isinstance(target, (np.ndarray, Tensor)):
        target = np.asarray(target)
    if target.ndim == 1:
        smoothing = {"smoothing": label_smoothing} if label_smoothing else {}
        return _cross_entropy(logits, _class_indices(logits, target), **smoothing)
    if logits.ndim != 2 or np.shape(target) != logits.shape or logits.size == 0:
        raise ShapeError(
            f"logits have shape {np.shape(logits)} and the target {np.shape(target)}; expected (N, C) with class "
            "indices of shape (N,) or probabilities of shape (N, C), and N and C at least 1"
        )
    if label_smoothing:
        target = target * (1 - label_smoothing) + label_smoothing / logits.shape[1]
    return -np.sum(log_softmax(logits) * target) / len(logits)  # type: ignore[return-value]


def nll_loss(log_probabilities: Tensor | np.ndarray, target: ArrayLike | Tensor) -> Tensor:
    """The mean over the batch of -log_probabilities[i, target[i]]: cross-entropy after `log_softmax`.

    Args and errors as `cross_entropy`, with class indices only.
    """
    indices = _class_indices(log_probabilities, target)
    return -np.mean(log_probabilities[np.arange(len(indices)), indices])  # type: ignore[return-value]


def mse_loss(x: Tensor | np.ndarray, target: Tensor | np.ndarray) -> Tensor:
    """The mean over all elements of (x - target)^2.

    Raises:
        ShapeError: the shapes differ. They are not broadcast: (N, 1) against (N,) is nearly always a mistake.
    """
    if np.shape(x) != np.shape(target):
        raise ShapeError(f"mse_loss got shapes {np.shape(x)} and {np.shape(target)}, which must be the same")
    difference = x - target
    return np.mean(difference * difference)  # type: ignore[return-value]


def one_hot(indices: ArrayLike | Tensor, num_classes: int, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Rows with a 1 at the index and 0 elsewhere: from shape (N,) to shape (N, num_classes)."""
    hot: np.ndarray = np.asarray(indices)[:, None] == np.arange(num_classes)
    return hot.astype(dtype)


def _class_indices(scores: Any, target: Any) -> np.ndarray:
    indices: np.ndarray = np.asarray(target)
    shape = scores.shape
    if len(shape) != 2 or indices.shape != shape[:1] or 0 in shape:
        raise ShapeError(
            f"the scores have shape {shape} and the class indices {indices.shape}; "
            "expected (N, C) and (N,), with N and C at least 1"
        )
    if indices.dtype.kind not in "iu":
        raise DTypeError(f"class indices must be integers, but have dtype {indices.dtype}")
    if np.maximum.reduce(indices.astype(np.uint64)) >= shape[1]:  # in which negative ones are huge
        raise ArgumentError(
            f"class indices must be between 0 and {shape[1] - 1}, one for each of the {shape[1]} scores, "
            f"but they go from {indices.min()} to {indices.max()}"
        )
    return indices


def _cross_entropy_vjp(g: Any, out: Any, logits: Any, indices: Any, smoothing: float = 0.0) -> Any:
    """Softmax minus the target, the gradient that is derived by hand most often (Bishop 2006, eq. 4.109)."""
    _, error = out
    gradient = None if 0 not in g else error * (g[0] / len(indices))
    if 1 not in g:
        return gradient
    # The derivative is being differentiated: what the error depends on is softmax(logits).
    of_error = softmax_vjp(g[1], softmax(logits), logits)
    return of_error if gradient is None else gradient + of_error


@differentiable(_cross_entropy_vjp, None, residuals=True)
def _cross_entropy(logits: Any, indices: Any, smoothing: float = 0.0) -> Any:
    """The loss for class indices; and softmax(logits) minus the smoothed target, for the derivative."""
    # With the classes along the first axis, NumPy reduces over them a whole row of the batch at a time.
    x = logits.T.astype(np.result_type(logits, np.float16), order="C")
    target = indices, np.arange(len(indices))
    x -= np.maximum.reduce(x)
    expected = x[target]  # the logit that the target expects
    if smoothing:
        expected *= 1 - smoothing
        expected += np.add.reduce(x) * (smoothing / len(x))
    np.exp(x, out=x)
    totals = np.add.reduce(x)
    x /= totals
    if smoothing:
        x -= smoothing / len(x)
    x[target] -= 1 - smoothing
    return np.add.reduce(np.log(totals) - expected) / len(indices), x.T
