"""The losses, and the one-hot form of class indices. Their `reduction` is "mean", "sum", or "none" for all of them."""

from __future__ import annotations

__docformat__ = "google"

from typing import Any

import numpy as np

from tinygrad_np.arguments import ArrayLike, DTypeLike, number, require
from tinygrad_np.derivatives.elementwise import in_single, masked
from tinygrad_np.derivatives.table import differentiable
from tinygrad_np.errors import ArgumentError, ShapeError
from tinygrad_np.functional.activations import below_maximum, log_softmax, softmax, softmax_vjp, softplus
from tinygrad_np.functional.arrays import as_array, integers_below, like, real_array
from tinygrad_np.recording import composed
from tinygrad_np.tensor import Tensor

__all__ = [
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "huber_loss",
    "l1_loss",
    "mse_loss",
    "nll_loss",
    "one_hot",
    "smooth_l1_loss",
]


# Classes


def cross_entropy(
    logits: Tensor | np.ndarray,
    target: ArrayLike | Tensor,
    label_smoothing: float = 0.0,
    *,
    weight: ArrayLike | None = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""The cross-entropy between the target and softmax(logits), its mean over the batch.

    $$ -\frac{1}{N} \sum_{n=1}^{N} \sum_{c=1}^{C} \text{target}_{nc} \log \text{softmax}(\text{logits})_{nc} $$

    With class weights, the term of each class c is multiplied by its weight. For class indices the mean is then the
    weighted one: the sum divided by the sum of the weights of the targets. All this is PyTorch's, but that no class
    index is ignored unless you say which.

    Args:
        logits: shape (N, C), unnormalised: do not apply softmax first.
        target: class indices, integers of shape (N,), or probabilities of shape (N, C).
        label_smoothing: mixes the target with the uniform distribution: Szegedy et al., "Rethinking the Inception
            architecture for computer vision" (2015), section 7.
        weight: of each class, shape (C,), or None. Constants: they get no gradient.
        ignore_index: a class index that marks rows which do not count.
        reduction: "mean", "sum", or "none" for the cross-entropy of each row.

    Returns:
        A scalar, or shape (N,) without reduction.

    Raises:
        ShapeError: the shapes do not fit.
        ArgumentError: a class index outside 0 ... C - 1, a mean of nothing, or a smoothing outside [0, 1].
        DTypeError: class indices that are no integers, or complex logits.

    >>> round(float(cross_entropy(np.zeros((1, 10)), np.array([3]))), 4)  # the logarithm of 10
    2.3026
    """
    label_smoothing = number("label_smoothing", label_smoothing)
    if not 0 <= label_smoothing <= 1:
        raise ArgumentError(f"label_smoothing must be between 0 and 1, not {label_smoothing}")
    logits = real_array(logits, "cross_entropy")
    if not isinstance(target, (np.ndarray, Tensor)):
        target = np.asarray(target)
    weights = _class_weights(logits, weight)
    if target.ndim == 1:
        _check_classes(logits, target, reduction)
        if weights is not None or ignore_index is not None or reduction != "mean":
            return _nll(log_softmax(logits), target, weights, ignore_index, reduction, label_smoothing)
        smoothing = {"smoothing": label_smoothing} if label_smoothing else {}  # drawings show it
        return _cross_entropy(logits, integers_below(target, logits.shape[1]), **smoothing)
    _check_reduction(reduction)
    require(ignore_index is None, "ignore_index", ignore_index, "None for probabilities: it is for class indices")
    if logits.ndim != 2 or np.shape(target) != logits.shape or logits.size == 0:
        raise ShapeError(
            f"logits have shape {np.shape(logits)} and the target {np.shape(target)}; expected (N, C) with class "
            "indices of shape (N,) or probabilities of shape (N, C), and N and C at least 1"
        )
    if label_smoothing:
        target = target * (1 - label_smoothing) + label_smoothing / logits.shape[1]
    if weights is not None:
        target = target * weights
    losses = -in_single(_weighed(log_softmax(logits), target))
    if reduction == "none":
        return like(np.sum(losses, axis=1), logits)
    return like(np.sum(losses) / (len(logits) if reduction == "mean" else 1), logits)


@composed
def nll_loss(
    log_probabilities: Tensor | np.ndarray,
    target: ArrayLike | Tensor,
    *,
    weight: ArrayLike | None = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The mean over the batch of -log_probabilities[i, target[i]]: cross-entropy after `log_softmax`.

    Args and errors as `cross_entropy`, with class indices only.
    """
    log_probabilities = as_array(log_probabilities)
    indices = target if isinstance(target, Tensor) else np.asarray(target)
    _check_classes(log_probabilities, indices, reduction)
    return _nll(log_probabilities, indices, _class_weights(log_probabilities, weight), ignore_index, reduction)


def _nll(
    logarithms: Any, indices: Any, weights: Any, ignore_index: int | None, reduction: str, smoothing: float = 0.0
) -> Any:
    """The losses of class indices. With smoothing, each is mixed with the mean of those of all classes."""
    ignored = None if ignore_index is None else np.equal(indices, ignore_index)
    indices = integers_below(indices if ignored is None else np.where(ignored, 0, indices), logarithms.shape[1])
    losses = -logarithms[np.arange(len(indices)), indices]
    shares: Any = np.ones(len(indices), logarithms.dtype)  # what each row counts in the mean
    if weights is not None:
        # An array cannot be indexed by a Tensor that is being traced.
        shares = (Tensor(weights) if isinstance(indices, Tensor) else weights)[indices]
        losses = _weighed(losses, shares)
    if smoothing:
        every = -np.mean(logarithms if weights is None else _weighed(logarithms, weights), axis=1)
        losses = losses * (1 - smoothing) + every * smoothing
    if ignored is not None:
        losses, shares = np.where(ignored, 0, losses), np.where(ignored, 0, shares)
    if reduction == "none":
        return losses
    total = np.sum(in_single(losses))
    return like(total / _some(np.sum(in_single(shares))) if reduction == "mean" else total, logarithms)


def _class_weights(scores: Any, weight: Any) -> Any:
    if weight is None:
        return None
    if np.shape(weight) != scores.shape[1:2]:
        raise ShapeError(
            f"the class weights have shape {np.shape(weight)}, but the scores {scores.shape}; expected one weight for "
            "each of the C classes, shape (C,)"
        )
    dtype = scores.dtype if scores.dtype.kind == "f" else np.float64
    return weight.astype(dtype) if isinstance(weight, Tensor) else np.asarray(weight, dtype)


@differentiable(lambda g, out, losses, factor: g * factor, lambda g, out, losses, factor: g * losses)
def _weighed(losses: Any, factor: Any) -> Any:
    """Their product, but what counts 0 costs nothing, be it infinite: infinity times 0 would be NaN."""
    return masked(losses, ~((factor == 0) & np.isinf(losses))) * factor


def _check_classes(scores: Any, indices: Any, reduction: str) -> None:
    _check_reduction(reduction)
    shape = scores.shape
    if len(shape) != 2 or indices.shape != shape[:1] or 0 in (shape if reduction == "mean" else shape[1:]):
        raise ShapeError(
            f"the scores have shape {shape} and the class indices {indices.shape}; "
            "expected (N, C) and (N,), with N and C at least 1"
        )


def _check_reduction(reduction: str) -> None:
    require(reduction in ("mean", "sum", "none"), "reduction", reduction, '"mean", "sum" or "none"')


@differentiable(None)
def _some(total: Any) -> Any:
    """The sum of what the rows count, by which a mean is divided."""
    if total == 0:
        raise ArgumentError(
            "there is nothing to take the mean of: all targets are ignore_index, or of classes of weight 0; use "
            'reduction="sum", which is 0 then'
        )
    return total


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
        x, _ = below_maximum(x, axis=0)
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
    return like(np.add.reduce(np.log(totals) - expected) / len(target), logits), x.T


def binary_cross_entropy_with_logits(
    x: Tensor | np.ndarray,
    target: Tensor | np.ndarray,
    weight: ArrayLike | Tensor | None = None,
    *,
    reduction: str = "mean",
    pos_weight: ArrayLike | Tensor | None = None,
) -> Tensor:
    r"""The cross-entropy of yes or no for each element, between the target and sigmoid(x).

    $$ -\text{pos weight} \cdot \text{target} \cdot \log \sigma(x) - (1 - \text{target}) \log (1 - \sigma(x)) $$

    Args:
        x: any shape, unnormalised: do not apply sigmoid first.
        target: probabilities of yes, of the same shape.
        weight: multiplies the elements; any shape that broadcasts.
        reduction: "mean", "sum", or "none".
        pos_weight: multiplies the term of yes, for example by how many times rarer it is; any shape that broadcasts.

    Returns:
        A scalar, or the shape of x without reduction.

    Raises:
        ShapeError: x and target have different shapes.
        ArgumentError: the reduction is unknown.
        DTypeError: one of them is complex.

    >>> round(float(binary_cross_entropy_with_logits(np.zeros(3), np.array([0, 1, 1]))), 4)  # the logarithm of 2
    0.6931
    """
    x, target = _alike(x, target, "binary_cross_entropy_with_logits")
    yes, no = _weighed(softplus(-x), target), _weighed(softplus(x), 1 - target)
    if pos_weight is not None:
        yes = _weighed(yes, _factor(pos_weight, x))
    losses = yes + no
    return _reduced(losses if weight is None else _weighed(losses, _factor(weight, x)), reduction)


# Numbers


@composed
def mse_loss(x: Tensor | np.ndarray, target: Tensor | np.ndarray, reduction: str = "mean") -> Tensor:
    """The mean over all elements of (x - target)^2.

    Args:
        x: any shape.
        target: the same shape.
        reduction: "mean", "sum", or "none" for each element.

    Returns:
        A scalar, or the shape of x without reduction.

    Raises:
        ShapeError: the shapes differ. They are not broadcast: (N, 1) against (N,) is nearly always a mistake.
        ArgumentError: the reduction is unknown.
        DTypeError: one of them is complex.
    """
    difference = _difference(x, target, "mse_loss")
    single = in_single(difference)
    return like(_reduced(single * single, reduction), difference)


def l1_loss(x: Tensor | np.ndarray, target: Tensor | np.ndarray, reduction: str = "mean") -> Tensor:
    """The mean over all elements of |x - target|, whose derivative at 0 is taken as 0.

    Args, returned shape and errors as `mse_loss`. Complex numbers are welcome.
    """
    return _reduced(np.abs(_difference(x, target, "l1_loss", real=False)), reduction)


def huber_loss(
    x: Tensor | np.ndarray, target: Tensor | np.ndarray, reduction: str = "mean", delta: float = 1.0
) -> Tensor:
    r"""The mean over all elements of half the squared difference, which continues as a straight line from delta on.

    $$ \tfrac12 d^2 \text{ where } |d| < \delta, \text{ else } \delta \left(|d| - \tfrac12 \delta\right),
       \quad d = x - \text{target} $$

    Source: Huber, "Robust estimation of a location parameter" (1964). Args, returned shape and errors as `mse_loss`.

    Args:
        delta: where the line begins, a number above 0.
    """
    delta = number("delta", delta)
    require(delta > 0, "delta", delta, "a number > 0")
    difference = _difference(x, target, "huber_loss")
    single = in_single(difference)
    near = np.clip(single, -delta, delta)  # its slope
    return like(_reduced(near * (single - near * 0.5), reduction), difference)


def smooth_l1_loss(
    x: Tensor | np.ndarray, target: Tensor | np.ndarray, reduction: str = "mean", beta: float = 1.0
) -> Tensor:
    """`huber_loss` divided by its delta, here beta: |x - target|, rounded off at 0. With a beta of 0 it is `l1_loss`.

    Source: Girshick, "Fast R-CNN" (2015), equation 3. Args, returned shape and errors as `mse_loss`.
    """
    beta = number("beta", beta)
    require(beta >= 0, "beta", beta, "a number >= 0")
    return huber_loss(x, target, reduction, beta) / beta if beta else l1_loss(x, target, reduction)


def _alike(x: Any, target: Any, function: str, real: bool = True) -> tuple[Any, Any]:
    """Both as arrays, of real numbers unless said otherwise, the target at most as precise as x."""
    if np.shape(x) != np.shape(target):
        raise ShapeError(f"{function} got shapes {np.shape(x)} and {np.shape(target)}, which must be the same")
    x, target = (real_array(value, function) if real else as_array(value) for value in (x, target))
    return x, target if target.dtype.kind in "fc" or x.dtype.kind not in "fc" else target.astype(x.dtype)


def _difference(x: Any, target: Any, function: str, real: bool = True) -> Any:
    x, target = _alike(x, target, function, real)
    return x - target


def _factor(weight: Any, x: Any) -> Any:
    """A constant in the precision of x, which it must not change."""
    return weight if isinstance(weight, Tensor) else np.asarray(weight, x.dtype if x.dtype.kind == "f" else None)


def _reduced(losses: Any, reduction: str) -> Any:
    _check_reduction(reduction)
    if reduction == "none":
        return losses
    return like((np.mean if reduction == "mean" else np.sum)(in_single(losses)), losses)


def one_hot(indices: ArrayLike | Tensor, num_classes: int, dtype: DTypeLike = np.float32) -> np.ndarray:
    """A 1 at the index and 0 elsewhere along a new last axis: from shape (...) to shape (..., num_classes).

    Raises:
        ArgumentError: an index outside 0 ... num_classes - 1.
        DTypeError: the indices are no integers.
    """
    checked = integers_below(indices if isinstance(indices, Tensor) else np.asarray(indices), num_classes)
    hot: np.ndarray = (checked[..., np.newaxis] == np.arange(num_classes)).astype(dtype)
    return hot
