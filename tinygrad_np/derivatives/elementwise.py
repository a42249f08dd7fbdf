"""Derivatives of element-wise functions: each output element depends on one element of each (broadcast) input.

The formulas are the elementary ones (Abramowitz & Stegun, Handbook of Mathematical Functions, 1964, ch. 3-4). At a
kink, where two inputs of maximum or minimum are equal, each gets half of the gradient.
"""

from typing import Any

import numpy as np

from tinygrad_np.derivatives.table import constant, derivative

# Arithmetic

derivative(np.add, lambda g, out, x, y: g, lambda g, out, x, y: g)
derivative(np.subtract, lambda g, out, x, y: g, lambda g, out, x, y: -g)
derivative(np.multiply, lambda g, out, x, y: g * y, lambda g, out, x, y: g * x)
derivative(np.divide, lambda g, out, x, y: g / y, lambda g, out, x, y: -g * out / y)
derivative(np.negative, lambda g, out, x: -g)
derivative(np.positive, lambda g, out, x: g)
derivative(np.reciprocal, lambda g, out, x: -g * out * out)
derivative(np.remainder, lambda g, out, x, y: g, lambda g, out, x, y: -g * np.floor_divide(x, y))
derivative(np.fmod, lambda g, out, x, y: g, lambda g, out, x, y: -g * np.rint((x - out) / y))
derivative(np.divmod, lambda g, out, x, y: g[1], lambda g, out, x, y: -g[1] * np.floor_divide(x, y))

# Powers and roots


def power_base(g: Any, out: Any, x: Any, y: Any) -> Any:
    """y x^(y-1), and 0 rather than 0 * inf for the constant x^0 at x = 0."""
    if type(y) in (int, float):
        return g * (2 * x) if y == 2 else g * y * np.power(x, y - 1) if y else np.zeros_like(g)
    return g * y * np.power(np.where((x == 0) & (y == 0), 1, x), y - 1)


def power_exponent(g: Any, out: Any, x: Any, y: Any) -> Any:
    """x^y log x, and 0, its limit, rather than 0 * -inf at x = 0."""
    return g * out * np.log(np.where(x == 0, 1, x))


derivative(np.power, power_base, power_exponent)
derivative(np.square, lambda g, out, x: g * (2 * x))
derivative(np.sqrt, lambda g, out, x: g * 0.5 / out)
derivative(np.cbrt, lambda g, out, x: g / (3 * out * out))

# Exponentials and logarithms

derivative(np.exp, lambda g, out, x: g * out)
derivative(np.exp2, lambda g, out, x: g * out * float(np.log(2)))
derivative(np.expm1, lambda g, out, x: g * (out + 1))
derivative(np.log, lambda g, out, x: g / x)
derivative(np.log2, lambda g, out, x: g / (x * float(np.log(2))))
derivative(np.log10, lambda g, out, x: g / (x * float(np.log(10))))
derivative(np.log1p, lambda g, out, x: g / (x + 1))
derivative(np.logaddexp, lambda g, out, x, y: g * np.exp(x - out), lambda g, out, x, y: g * np.exp(y - out))

# Trigonometric and hyperbolic functions

derivative(np.sin, lambda g, out, x: g * np.cos(x))
derivative(np.cos, lambda g, out, x: -g * np.sin(x))
derivative(np.tan, lambda g, out, x: g * (1 + out * out))
derivative(np.arcsin, lambda g, out, x: g / np.sqrt(1 - x * x))
derivative(np.arccos, lambda g, out, x: -g / np.sqrt(1 - x * x))
derivative(np.arctan, lambda g, out, x: g / (1 + x * x))
derivative(np.sinh, lambda g, out, x: g * np.cosh(x))
derivative(np.cosh, lambda g, out, x: g * np.sinh(x))
derivative(np.tanh, lambda g, out, x: g * (1 - out * out))
derivative(np.arcsinh, lambda g, out, x: g / np.sqrt(x * x + 1))
derivative(np.arccosh, lambda g, out, x: g / (np.sqrt(x - 1) * np.sqrt(x + 1)))
derivative(np.arctanh, lambda g, out, x: g / (1 - x * x))

# Choices between inputs


def chosen(out: Any, x: Any, y: Any) -> Any:
    """1 where the result is x alone, 1/2 where x and y are equal, 0 where it is y alone."""
    return ((x == out) * (1 - 0.5 * (x == y))).astype(out.dtype)


def absolute_vjp(g: Any, out: Any, x: Any) -> Any:
    """The sign of x; for complex x its conjugate, conj(x) / |x|, which is not constant."""
    return g * np.sign(x) if x.dtype.kind != "c" else g * np.conj(x) / np.where(out == 0, 1, out)


derivative(np.absolute, absolute_vjp)
derivative(np.fabs, lambda g, out, x: g * np.sign(x))
derivative(np.maximum, lambda g, out, x, y: g * chosen(out, x, y), lambda g, out, x, y: g * chosen(out, y, x))
derivative(np.minimum, lambda g, out, x, y: g * chosen(out, x, y), lambda g, out, x, y: g * chosen(out, y, x))
derivative(
    np.where,
    None,
    lambda g, out, condition, x, y: np.where(condition, g, 0),
    lambda g, out, condition, x, y: np.where(condition, 0, g),
)


def within(x: Any, low: Any, high: Any) -> Any:
    """Where low <= x <= high, as clip has it: a bound that is None is none."""
    return np.logical_and(True if low is None else x >= low, True if high is None else x <= high)


derivative(
    np.clip,
    lambda g, out, a, a_min=None, a_max=None, min=None, max=None: (
        g * within(a, a_min if min is None else min, a_max if max is None else max)
    ),
    lambda g, out, a, a_min=None, a_max=None: np.where((a < a_min) & within(a_min, None, a_max), g, 0),
    lambda g, out, a, a_min=None, a_max=None: np.where((a > a_max) | ~within(a_max, a_min, None), g, 0),
)

# Parts of complex numbers. Inside the walk gradients are conjugates (see graph.walk).

derivative(np.conjugate, lambda g, out, x: np.conj(g))
derivative(np.real, lambda g, out, val: np.real(g))
derivative(np.imag, lambda g, out, val: -1j * np.real(g))

# Constant almost everywhere

constant(np.floor, np.ceil, np.trunc, np.rint, np.round, np.fix, np.floor_divide, np.sign, np.signbit)
constant(np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.invert, np.left_shift, np.right_shift)
constant(np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal, np.isclose, np.allclose)
constant(np.logical_and, np.logical_or, np.logical_not, np.logical_xor, np.array_equal)
constant(np.isnan, np.isinf, np.isfinite)
