"""The losses, and the one-hot form of class indices."""

from __future__ import annotations

__docformat__ = "google"

from typing import Any

import numpy as np

from tinygrad_np.arguments import ArrayLike, DTypeLike
from tinygrad_np.derivatives.elementwise import in_single
from tinygrad_np.derivatives.table import differentiable
from tinygrad_np.errors import ArgumentError, ShapeError
from tinygrad_np.functional.activations import below_maximum, log_softmax, softmax, softmax_vjp
from tinygrad_np.functional.arrays import as_array, integers_below, like, real_array
from tinygrad_np.tensor import Tensor

__all__ = ["cross_entropy", "mse_loss", "nll_loss", "one_hot"]


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
    return like(-np.sum(in_single(np.where(ruled_out, 0, logarithms) * target)) / len(logits), logits)


def nll_loss(log_probabilities: Tensor | np.ndarray, target: ArrayLike | Tensor) -> Tensor:
    """The mean over the batch of -log_probabilities[i, target[i]]: cross-entropy after `log_softmax`.

    Args and errors as `cross_entropy`, with class indices only.
    """
    log_probabilities = as_array(log_probabilities)
    indices = _class_indices(log_probabilities, target)
    return -np.mean(log_probabilities[np.arange(len(indices)), indices])  # type: ignore[return-value]


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
    return like(np.mean(single * single), difference)


def one_hot(indices: ArrayLike | Tensor, num_classes: int, dtype: DTypeLike = np.float32) -> np.ndarray:
    """A 1 at the index and 0 elsewhere along a new last axis: from shape (...) to shape (..., num_classes).

    Raises:
        ArgumentError: an index outside 0 ... num_classes - 1.
        DTypeError: the indices are no integers.
    """
    checked = integers_below(indices if isinstance(indices, Tensor) else np.asarray(indices), num_classes)
    hot: np.ndarray = (checked[..., np.newaxis] == np.arange(num_classes)).astype(dtype)
    return hot


def _class_indices(scores: Any, target: Any) -> Any:
    indices = target if isinstance(target, Tensor) else np.asarray(target)
    shape = scores.shape
    if len(shape) != 2 or indices.shape != shape[:1] or 0 in shape:
        raise ShapeError(
            f"the scores have shape {shape} and the class indices {indices.shape}; "
            "expected (N, C) and (N,), with N and C at least 1"
        )
    return integers_below(indices, shape[1])


def _cross_entropy_vjp(g: Any, out: Any, logits: Any, indices: Any, smoothing: float = 0.0) -> Any:
    """Softmax minus the target, the gradient that is derived by hand most often (Bishop 2006, eq. 4.109)."""
    _, error = out
    gradient = None if 0 not in g else error * (in_single(g[0]) / len(indices))
    if 1 not in g:
        return gradient
    # The derivative is being differentiated: what the error depends on is softmax(logits).
    of_error = softmax_vjp(g[1], softmax(logits), logits)
    return of_error if gradient is None else gradient + of_error


@differentiable(_cross_entropy_vjp, None, residuals=True)
def _cross_entropy(logits: Any, indices: Any, smoothing: float = 0.0) -> Any:
    """The loss for class indices; and softmax(logits) minus the smoothed target, for the derivative."""
    # With the classes along the first axis, NumPy reduces over them a whole row of the batch at a time.
    x = logits.T.astype(logits.dtype if logits.dtype.char in "fd" else np.result_type(logits, np.float32), order="C")
    target = indices, np.arange(len(indices))
    maximum = np.maximum.reduce(x)
    if np.maximum.reduce(maximum) == np.inf:
        x, _ = below_maximum(x, axis=0)
    else:
        x -= maximum
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
    return like(np.add.reduce(np.log(totals) - expected) / len(indices), logits), x.T
