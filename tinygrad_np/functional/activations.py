"""Activations, softmax and its relatives: what overflows when written down naively, in its stable form."""

from __future__ import annotations

__docformat__ = "google"

import math
from typing import Any

import numpy as np

from tinygrad_np.derivatives.elementwise import in_single, logistic, masked
from tinygrad_np.derivatives.reductions import spread
from tinygrad_np.derivatives.table import differentiable
from tinygrad_np.errors import ArgumentError
from tinygrad_np.functional.arrays import Array, like, real_array
from tinygrad_np.recording import composed

__all__ = [
    "below_maximum",
    "erf",
    "gelu",
    "leaky_relu",
    "log_softmax",
    "logsumexp",
    "relu",
    "sigmoid",
    "softmax",
    "softmax_vjp",
    "softplus",
]


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


# The coefficients of Cody's numerators and denominators, the highest power first: erf(x) / x in x^2 for |x| <= 0.46875,
# and exp(x^2) (1 - erf(x)) in x up to 4. His third pair, beyond 4, serves 1 - erf alone: what the second subtracts from
# 1 there is less than 2e-8 and right to eight digits.
_NEAR = (
    (0.185777706184603153, 3.16112374387056560, 113.864154151050156, 377.485237685302021, 3209.37758913846947),
    (1.0, 23.6012909523441209, 244.024637934444173, 1282.61652607737228, 2844.23683343917062),
)
_FAR = (
    (2.15311535474403846e-8, 0.564188496988670089, 8.88314979438837594, 66.1191906371416295, 298.635138197400131,
     881.952221241769090, 1712.04761263407058, 2051.07837782607147, 1230.33935479799725),
    (1.0, 15.7449261107098347, 117.693950891312499, 537.181101862009858, 1621.38957456669019,
     3290.79923573345963, 4362.61909014324716, 3439.36767414372164, 1230.33935480374942),
)  # fmt: skip


def _ratio(polynomials: tuple[tuple[float, ...], tuple[float, ...]], x: Any) -> Any:
    values = []
    for highest, next_one, *others in polynomials:
        value = x * highest + next_one
        for coefficient in others:
            value *= x
            value += coefficient
        values.append(value)
    return values[0] / values[1]


@differentiable(lambda g, out, x: g * (2 / math.sqrt(math.pi) * np.exp(-x * x)))
def erf(x: Array) -> Array:
    r"""The error function, to the last digits of the dtype. `scipy.special.erf` is the same, where SciPy is there.

    $$ \frac{2}{\sqrt{\pi}} \int_0^x e^{-t^2} dt $$

    Source: W. J. Cody, "Rational Chebyshev approximations for the error function", Math. Comp. 23 (1969), 631-637.

    >>> erf(np.array([0.0, 1.0, np.inf])).round(4)
    array([0.    , 0.8427, 1.    ])
    """
    x = real_array(x, "erf")
    # An array, in at least single precision, not a Tensor: what there is to compute depends on the values.
    flat = np.asarray(x, dtype=np.result_type(x, np.float32)).ravel()
    out = np.absolute(flat)
    small = out <= 0.46875
    near, far = np.flatnonzero(small), np.flatnonzero(~small)
    y, z = flat[near], np.minimum(out[far], 6)  # at 6, it is 1 in double precision
    out[near] = y * _ratio(_NEAR, y * y)
    out[far] = np.copysign(1 - np.exp(-z * z) * _ratio(_FAR, z), flat[far])
    return like(out.reshape(np.shape(x)), x)


_GELU_SCALE = float(np.sqrt(2 / np.pi))


@composed
def gelu(x: Array, approximate: str = "none") -> Array:
    r"""x times the normal distribution function of x.

    $$ \tfrac12 x \left(1 + \text{erf}\left(x / \sqrt{2}\right)\right) $$

    Source: Hendrycks & Gimpel, "Gaussian error linear units" (2016), section 2.

    Args:
        approximate: "tanh" for the approximation that the authors give, within 0.0005 and faster:
            $\tfrac12 x \left(1 + \tanh\left(\sqrt{2 / \pi} \left(x + 0.044715\, x^3\right)\right)\right)$.

    Raises:
        ArgumentError: `approximate` is something else.
    """
    x = real_array(x, "gelu")
    if approximate not in ("none", "tanh"):
        raise ArgumentError(f"approximate must be 'none' or 'tanh', but is {approximate!r}")
    # Beyond -10 and 10, erf and tanh are -1 and 1. There the cube could overflow, and infinity times 0 arise.
    outer = np.maximum(x, -10)
    inner = np.minimum(outer, 10)
    if approximate == "none":
        function = erf(inner * math.sqrt(0.5))
    else:
        function = np.tanh(_GELU_SCALE * (inner + 0.044715 * (inner * inner * inner)))
    return 0.5 * outer * (1 + function)  # type: ignore[return-value]


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


def below_maximum(x: Any, axis: Any) -> tuple[Any, Any]:
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
    exponentials = np.exp(below_maximum(x, axis)[0])
    return like(exponentials / np.sum(exponentials, axis=axis, keepdims=True), x)


@differentiable(lambda g, out, x, axis=-1: g - np.exp(out) * np.sum(in_single(g), axis=axis, keepdims=True))
def log_softmax(x: Array, axis: int | tuple[int, ...] = -1) -> Array:
    r"""The logarithm of softmax over an axis, with the maximum subtracted first. Same shape as x.

    $$ \log \text{softmax}(x)_i = x_i - \log \sum_j e^{x_j} $$
    """
    x = real_array(x, "log_softmax")
    shifted, _ = below_maximum(x, axis)
    with np.errstate(divide="ignore"):  # the logarithm of 0, if there is nothing to sum
        return like(shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True)), x)


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
    shifted, maximum = below_maximum(x, axis)
    with np.errstate(divide="ignore"):  # the logarithm of 0
        out = like(np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True)) + maximum, x)
    return out if keepdims else np.squeeze(out, axis=axis)
