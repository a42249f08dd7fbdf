"""The functions that networks need and NumPy lacks, each with its derivative beside it.

They take arrays or Tensors. What overflows when written down naively (sigmoid, softplus, softmax and what is built on
them) is computed in its stable form, and what sums or squares half precision does so in single precision. Shapes: N is
the batch, C the number of classes, `...` any axes.
"""

from __future__ import annotations

__docformat__ = "google"

import inspect
from typing import Any, TypeVar

import numpy as np

from tinygrad_np.arguments import ArrayLike, DTypeLike, Seed, random_generator
from tinygrad_np.calls import stacked
from tinygrad_np.derivatives.elementwise import in_single, logistic, masked
from tinygrad_np.derivatives.reductions import spread
from tinygrad_np.derivatives.table import EFFECTS, derivative, differentiable
from tinygrad_np.engine import apply
from tinygrad_np.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError
from tinygrad_np.recording import composed
from tinygrad_np.tensor import Tensor, plain_array
from tinygrad_np.writes import written

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


def as_array(x: Any) -> Any:
    """The same array or Tensor, or the one that a list or a number stands for."""
    if isinstance(x, (Tensor, np.ndarray)):
        return x
    x = stacked(x)
    return x if isinstance(x, Tensor) else plain_array(x)


def real_array(x: Any, function: str) -> Any:
    """The same as `as_array`, unless it is complex.

    Raises:
        DTypeError: x is complex.
    """
    if not isinstance(x, (Tensor, np.ndarray)):
        x = as_array(x)
    if np.iscomplexobj(x):
        raise DTypeError(
            f"{function} takes real numbers, but was given dtype {x.dtype}; apply it to np.real(x) and np.imag(x), or "
            "to np.absolute(x)"
        )
    return x


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
    if not 0 <= p < 1:
        raise ArgumentError(f"dropout's p must be at least 0 and less than 1, not {p}")
    x = as_array(x)
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
    return _scale_and_shift(_like(deviation / np.sqrt(variance + eps), x), weight, bias)


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
    return _scale_and_shift(_like(standard, x), weight, bias)


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


def _like(result: Any, x: Any) -> Any:
    """The result of a computation `in_single` in half precision again, if x was."""
    return result.astype(np.float16) if x.dtype == np.float16 else result


def _scale_and_shift(x: Any, weight: Any, bias: Any) -> Any:
    if weight is not None:
        x = x * weight
    return x if bias is None else x + bias


# Activations


@differentiable(lambda g, out, x: masked(g, out > 0))
def relu(x: Array) -> Array:
    """max(x, 0); the derivative at 0 is taken as 0.

    >>> relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    x = real_array(x, "relu")
    return np.maximum(x, 0)  # type: ignore[return-value]


def leaky_relu_vjp(g: Any, out: Any, x: Any, negative_slope: float = 0.01) -> Any:
    positive = x > 0
    return masked(g, positive) + masked(g * negative_slope, ~positive & (negative_slope != 0))


@differentiable(leaky_relu_vjp)
def leaky_relu(x: Array, negative_slope: float = 0.01) -> Array:
    """x where x > 0, else negative_slope * x. Source: Maas, Hannun & Ng (2013), section 2; the slope is theirs."""
    x = real_array(x, "leaky_relu")
    return np.where(x > 0, x, x * negative_slope)  # type: ignore[return-value]


_GELU_SCALE = float(np.sqrt(2 / np.pi))


@composed
def gelu(x: Array) -> Array:
    r"""x times the normal distribution function of x, in the tanh approximation.

    $$ \tfrac12 x \left(1 + \tanh\left(\sqrt{2 / \pi} \left(x + 0.044715\, x^3\right)\right)\right) $$

    Source: Hendrycks & Gimpel, "Gaussian error linear units" (2016), section 2. PyTorch calls it
    `gelu(approximate="tanh")`.
    """
    x = real_array(x, "gelu")
    # Beyond -10 and 10, tanh is -1 and 1 in any precision. There the cube could overflow, and infinity times 0 arise.
    outer = np.maximum(x, -10)
    inner = np.minimum(outer, 10)
    return 0.5 * outer * (1 + np.tanh(_GELU_SCALE * (inner + 0.044715 * (inner * inner * inner))))


@differentiable(lambda g, out, x: g * (out * (1 - out)))
def sigmoid(x: Array) -> Array:
    """The logistic function $1 / (1 + e^{-x})$, as $e^x / (1 + e^x)$ where x < 0: no exponential can overflow."""
    x = real_array(x, "sigmoid")
    return logistic(x)


@differentiable(lambda g, out, x: g * sigmoid(x))
def softplus(x: Array) -> Array:
    r"""A smooth ReLU, $\log(1 + e^x)$, as $\max(x, 0) + \log(1 + e^{-|x|})$, which cannot overflow."""
    x = real_array(x, "softplus")
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


# Softmax and its relatives


def _below_maximum(x: Any, axis: Any) -> tuple[Any, Any]:
    """x minus its maximum over axes, so at most 0, and the maximum.

    If the maximum is infinite, the elements equal to it are at 0 and the others at -inf. If all are -inf, they stay.
    """
    x = np.asarray(x, dtype=np.result_type(x, np.float32))
    maximum = np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    with np.errstate(invalid="ignore"):  # inf - inf
        shifted = x - np.where(maximum == -np.inf, 0, maximum)
    return np.where(x == np.inf, 0, shifted) if np.any(maximum == np.inf) else shifted, maximum


def softmax_vjp(g: Any, out: Any, x: Any, axis: Any = -1) -> Any:
    product = g * out
    return product - out * np.sum(in_single(product), axis=axis, keepdims=True)


@differentiable(softmax_vjp)
def softmax(x: Array, axis: int | tuple[int, ...] = -1) -> Array:
    r"""exp(x) / sum(exp(x)) over an axis, with the maximum subtracted first. Same shape as x.

    $$ \text{softmax}(x)_i = \frac{e^{x_i}}{\sum_j e^{x_j}} $$

    Elements of inf share the probability equally. Where all are -inf, it is NaN.

    >>> softmax(np.array([1000.0, 1000.0]))
    array([0.5, 0.5])
    """
    x = real_array(x, "softmax")
    exponentials = np.exp(_below_maximum(x, axis)[0])
    return _like(exponentials / np.sum(exponentials, axis=axis, keepdims=True), x)


@differentiable(lambda g, out, x, axis=-1: g - np.exp(out) * np.sum(in_single(g), axis=axis, keepdims=True))
def log_softmax(x: Array, axis: int | tuple[int, ...] = -1) -> Array:
    r"""The logarithm of softmax over an axis, with the maximum subtracted first. Same shape as x.

    $$ \log \text{softmax}(x)_i = x_i - \log \sum_j e^{x_j} $$
    """
    x = real_array(x, "log_softmax")
    shifted, _ = _below_maximum(x, axis)
    with np.errstate(divide="ignore"):  # the logarithm of 0, if there is nothing to sum
        return _like(shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True)), x)


def logsumexp_vjp(g: Any, out: Any, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Each element gets its share of the sum. Where the sum is 0, and out -inf, none has a share."""
    none = spread(out, axis, keepdims) == -np.inf
    return masked(spread(g, axis, keepdims), ~none) * softmax(np.where(none, 0, x) if np.any(none) else x, axis)


@differentiable(logsumexp_vjp)
def logsumexp(x: Array, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Array:
    r"""log(sum(exp(x))) over axes, with the maximum subtracted first. By default over all axes, as NumPy's reductions.

    $$ \log \sum_j e^{x_j} $$

    Of nothing, or of nothing but -inf, it is -inf. Elements of inf share the derivative equally.

    >>> round(float(logsumexp(np.array([1000.0, 1000.0]))), 4)
    1000.6931
    """
    x = real_array(x, "logsumexp")
    shifted, maximum = _below_maximum(x, axis)
    with np.errstate(divide="ignore"):  # the logarithm of 0
        out = _like(np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True)) + maximum, x)
    return out if keepdims else np.squeeze(out, axis=axis)


# Losses


def cross_entropy(logits: Tensor | np.ndarray, target: ArrayLike | Tensor, label_smoothing: float = 0.0) -> Tensor:
    r"""The cross-entropy between the target and softmax(logits), its mean over the batch.

    $$ -\frac{1}{N} \sum_{n=1}^{N} \sum_{c=1}^{C} \text{target}_{nc} \log \text{softmax}(\text{logits})_{nc} $$

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
        DTypeError: class indices that are no integers, or complex logits.

    >>> round(float(cross_entropy(np.zeros((1, 10)), np.array([3]))), 4)  # the logarithm of 10
    2.3026
    """
    if not 0 <= label_smoothing <= 1:
        raise ArgumentError(f"label_smoothing must be between 0 and 1, not {label_smoothing}")
    logits = real_array(logits, "cross_entropy")
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
    logarithms = log_softmax(logits)
    ruled_out = np.logical_and(target == 0, logarithms == -np.inf)  # a class of probability 0 in both costs nothing
    return _like(-np.sum(in_single(np.where(ruled_out, 0, logarithms) * target)) / len(logits), logits)


@composed
def nll_loss(log_probabilities: Tensor | np.ndarray, target: ArrayLike | Tensor) -> Tensor:
    """The mean over the batch of -log_probabilities[i, target[i]]: cross-entropy after `log_softmax`.

    Args and errors as `cross_entropy`, with class indices only.
    """
    log_probabilities = as_array(log_probabilities)
    indices = _class_indices(log_probabilities, target)
    return -np.mean(log_probabilities[np.arange(len(indices)), indices])  # type: ignore[return-value]


@composed
def mse_loss(x: Tensor | np.ndarray, target: Tensor | np.ndarray) -> Tensor:
    """The mean over all elements of (x - target)^2.

    Raises:
        ShapeError: the shapes differ. They are not broadcast: (N, 1) against (N,) is nearly always a mistake.
        DTypeError: one of them is complex.
    """
    if np.shape(x) != np.shape(target):
        raise ShapeError(f"mse_loss got shapes {np.shape(x)} and {np.shape(target)}, which must be the same")
    difference = real_array(x, "mse_loss") - real_array(target, "mse_loss")
    single = in_single(difference)
    return _like(np.mean(single * single), difference)


def one_hot(indices: ArrayLike | Tensor, num_classes: int, dtype: DTypeLike = np.float32) -> np.ndarray:
    """A 1 at the index and 0 elsewhere along a new last axis: from shape (...) to shape (..., num_classes).

    Raises:
        ArgumentError: an index outside 0 ... num_classes - 1.
        DTypeError: the indices are no integers.
    """
    checked = integers_below(indices if isinstance(indices, Tensor) else np.asarray(indices), num_classes)
    hot: np.ndarray = (checked[..., np.newaxis] == np.arange(num_classes)).astype(dtype)
    return hot


@differentiable(None, None)
def integers_below(array: Any, number: int) -> Any:
    """Class indices, each checked to be an integer from 0 to number - 1."""
    if array.size == 0:
        return array.astype(int)
    if array.dtype.kind not in "iu":
        raise DTypeError(
            f"class indices must be integers, but have dtype {array.dtype}; if they are whole numbers, use .astype(int)"
        )
    if np.maximum.reduce(array.astype(np.uint64), axis=None) >= number:  # in which negative ones are huge
        raise ArgumentError(
            f"class indices must be between 0 and {number - 1}, one for each of the {number} classes, "
            f"but they go from {array.min()} to {array.max()}"
        )
    return array


def _class_indices(scores: Any, target: Any) -> Any:
    indices = target if isinstance(target, Tensor) else np.asarray(target)
    shape = scores.shape
    if len(shape) != 2 or indices.shape != shape[:1] or 0 in shape:
        raise ShapeError(
            f"the scores have shape {shape} and the class indices {indices.shape}; "
            "expected (N, C) and (N,), with N and C at least 1"
        )
    return integers_below(indices, shape[1])


def _cross_entropy_vjp(g: Any, out: Any, logits: Any, target: Any, smoothing: float = 0.0) -> Any:
    """Softmax minus the target, the gradient that is derived by hand most often (Bishop 2006, eq. 4.109)."""
    _, error = out
    gradient = None if 0 not in g else error * (in_single(g[0]) / len(target))
    if 1 not in g:
        return gradient
    # The derivative is being differentiated: what the error depends on is softmax(logits).
    of_error = softmax_vjp(g[1], softmax(logits), logits)
    return of_error if gradient is None else gradient + of_error


@differentiable(_cross_entropy_vjp, None, residuals=True)
def _cross_entropy(logits: Any, target: Any, smoothing: float = 0.0) -> Any:
    """The loss for class indices; and softmax(logits) minus the smoothed target, for the derivative."""
    # With the classes along the first axis, NumPy reduces over them a whole row of the batch at a time.
    x = logits.T.astype(logits.dtype if logits.dtype.char in "fd" else np.result_type(logits, np.float32), order="C")
    at = target, np.arange(len(target))
    maximum = np.maximum.reduce(x)
    if np.maximum.reduce(maximum) == np.inf:
        x, _ = _below_maximum(x, axis=0)
    else:
        x -= maximum
    expected = x[at]  # the logit that the target expects
    if smoothing:
        expected *= 1 - smoothing
        expected += np.add.reduce(x) * (smoothing / len(x))
    np.exp(x, out=x)
    totals = np.add.reduce(x)
    x /= totals
    if smoothing:
        x -= smoothing / len(x)
    x[at] -= 1 - smoothing
    return _like(np.add.reduce(np.log(totals) - expected) / len(target), logits), x.T
