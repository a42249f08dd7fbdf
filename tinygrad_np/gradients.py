"""What a gradient must be before it is added or handed out: its shape and dtype, its convention, its memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import numpy as np

from tinygrad_np.derivatives.table import Parts, Rule
from tinygrad_np.errors import FOREIGN, DTypeError, GraphError, ShapeError, foreign_array

__all__ = ["conjugated", "implied", "outline", "owned", "unbroadcast"]

Key = TypeVar("Key")


def unbroadcast(gradient: Any, array: Any, rule: Rule) -> Any:
    """Bring a gradient to the shape and dtype of its argument: undo broadcasting by summing, and type promotion.

    Where broadcasting repeated an element, its derivative is the sum over the repetitions. For a list of arrays the
    gradient becomes `Parts`, one for each.

    Raises:
        ShapeError: the rule returned something else than a gradient for this argument.
    """
    if isinstance(array, list):
        if isinstance(gradient, Parts):
            return gradient
        if not isinstance(gradient, list):
            gradient = unbroadcast(gradient, np.asarray(array), rule)
        return Parts(enumerate(gradient))
    if not hasattr(gradient, "shape"):
        gradient = np.asarray(gradient)
    if gradient.shape != array.shape:
        shape = (1,) * (gradient.ndim - array.ndim) + array.shape
        if len(shape) != gradient.ndim:
            raise no_gradient(gradient, array, rule)
        ones = tuple([axis for axis, length in enumerate(shape) if length == 1])
        precision = np.float32 if gradient.dtype == np.float16 else None  # in half, a sum of ones ends at 2048
        total = np.add.reduce(gradient, axis=ones, dtype=precision, keepdims=True)
        if total.shape != shape:
            raise no_gradient(gradient, array, rule)
        gradient = total.reshape(array.shape)
    if gradient.dtype != array.dtype:
        if gradient.dtype.kind not in "fciub":
            raise no_gradient(gradient, array, rule)
        if gradient.dtype.kind == "c" and array.dtype.kind != "c":
            gradient = np.real(gradient)
        gradient = gradient.astype(array.dtype)
    return gradient


def no_gradient(gradient: Any, array: Any, rule: Rule) -> ShapeError:
    """The error for what a rule returned as the gradient of an argument."""
    return ShapeError(
        f"a derivative of {rule.name} returned an array of shape {gradient.shape} and dtype {gradient.dtype} "
        f"for an argument of shape {array.shape}, of which it must be the gradient"
    )


def conjugated(gradients: Mapping[Key, Any]) -> dict[Key, Any]:
    """Change between the conventions for complex gradients inside and outside of a backward pass.

    Outside, the gradient of a real L with respect to z is dL/dRe z + i dL/dIm z, as in PyTorch: it points uphill.
    Inside, gradients are the conjugates of that, so that the rule of a holomorphic function is g times its derivative.
    """
    return {key: np.conj(g) if g.dtype.kind == "c" else g for key, g in gradients.items()}


def owned(gradients: dict[Key, Any], others: Iterable[Any]) -> dict[Key, np.ndarray]:
    """The gradients, conjugated, as arrays that own their memory: none shares it with another or with `others`."""
    taken = set(map(id, others))
    for key, gradient in gradients.items():
        if gradient.dtype.kind == "c":
            gradient = np.conj(gradient)
        if type(gradient) is not np.ndarray:
            gradient = np.asarray(gradient)
        if gradient.base is not None or id(gradient) in taken:
            gradient = gradient.copy()
        taken.add(id(gradient))
        gradients[key] = gradient
    return gradients


def outline(out: Any) -> Any:
    """The shape and dtype of a call's result, in place of the result; of several results, a list of these pairs."""
    if hasattr(out, "shape"):
        return out.shape, out.dtype
    return [outline(part) for part in out] if isinstance(out, (tuple, list)) else (np.shape(out), np.result_type(out))


def implied(gradient: Any, out: np.ndarray) -> Any:
    """The gradient to start from for the result `out`: the user's, or 1 for a scalar.

    Raises:
        GraphError: none was given for a result that is not a scalar.
        DTypeError: none was given for a complex result, or a complex one for a real result.
        ShapeError: it has another shape than the result.
    """
    if gradient is None:
        if out.size != 1:
            raise GraphError(
                f"a gradient can be implied only for a scalar, but the result has shape {out.shape}; "
                "reduce it first, for example with .sum() or .mean(), or pass a gradient of its shape"
            )
        if out.dtype.kind == "c":
            raise DTypeError(
                "a gradient can be implied only for a real result, but this one is complex; "
                "take its real part, or another real function of it, or pass a gradient"
            )
        return np.array(1, out.dtype, ndmin=out.ndim)
    if np.shape(gradient) != out.shape:
        raise ShapeError(f"the given gradient has shape {np.shape(gradient)}, but the result has shape {out.shape}")
    given = gradient if hasattr(gradient, "dtype") else np.asarray(gradient)
    if isinstance(given, FOREIGN) or given.dtype.kind not in "fciub":
        raise foreign_array(given)
    if given.dtype.kind == "c" and out.dtype.kind != "c":
        raise DTypeError(f"the given gradient is complex, but the result has dtype {out.dtype}; pass its real part")
    return gradient
