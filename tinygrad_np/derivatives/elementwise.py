"""Derivatives of element-wise functions: each output element depends on one element of each (broadcast) input.

The formulas are in Abramowitz & Stegun, Handbook of Mathematical Functions, 1964, chapters 3 and 4. Where the two
inputs of maximum or minimum are equal, each gets half of the gradient.
"""

import math

import numpy as np

from tinygrad_np.derivatives.table import composite, constant, derivative, differentiable, filled

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
derivative(np.divmod, lambda g, out, x, y: filled(g, out)[1], lambda g, out, x, y: -filled(g, out)[1] * out[0])
derivative(np.modf, lambda g, out, x: filled(g, out)[0])
derivative(np.ldexp, lambda g, out, x, exponent: np.ldexp(g, exponent))
for to_radians in (np.deg2rad, np.radians):
    derivative(to_radians, lambda g, out, x: g * (math.pi / 180))
for to_degrees in (np.rad2deg, np.degrees):
    derivative(to_degrees, lambda g, out, x: g * (180 / math.pi))
derivative(np.unwrap, lambda g, out, p, discont=None, axis=-1, *, period=2 * math.pi: g)

# Powers and roots


def power_base(g, out, x, y):
    """y x^(y-1). At x = 0 the constant x^0 has slope 0, not 0 * inf."""
    if type(y) in (int, float):  # a constant exponent, whose value may choose a cheaper formula
        return g * (2 * x) if y == 2 else g * y * np.power(x, y - 1) if y else np.zeros_like(g)
    return g * y * np.power(np.where((x == 0) & (y == 0), 1, x), y - 1)


def power_exponent(g, out, x, y):
    """x^y log x. At x = 0 this is 0, its limit, not 0 * -inf."""
    return g * out * np.log(np.where(x == 0, 1, x))


derivative(np.power, power_base, power_exponent)
derivative(np.float_power, power_base, power_exponent)
derivative(np.square, lambda g, out, x: g * (2 * x))
derivative(np.sqrt, lambda g, out, x: g * 0.5 / out)
derivative(np.cbrt, lambda g, out, x: g / (3 * out * out))
derivative(
    np.hypot,
    lambda g, out, x, y: g * x / np.where(out == 0, 1, out),
    lambda g, out, x, y: g * y / np.where(out == 0, 1, out),
)

# Exponentials and logarithms

derivative(np.exp, lambda g, out, x: g * out)
derivative(np.exp2, lambda g, out, x: g * out * math.log(2))
derivative(np.expm1, lambda g, out, x: g * (out + 1))
derivative(np.log, lambda g, out, x: g / x)
derivative(np.log2, lambda g, out, x: g / (x * math.log(2)))
derivative(np.log10, lambda g, out, x: g / (x * math.log(10)))
derivative(np.log1p, lambda g, out, x: g / (x + 1))


def log_share(x, out):
    """x - out, the logarithm of a term's share in the sum. Where the sum is 0, and out -inf, no term has a share."""
    return x - np.where(out == -np.inf, 0, out)


derivative(
    np.logaddexp,
    lambda g, out, x, y: g * np.exp(log_share(x, out)),
    lambda g, out, x, y: g * np.exp(log_share(y, out)),
)
derivative(
    np.logaddexp2,
    lambda g, out, x, y: g * np.exp2(log_share(x, out)),
    lambda g, out, x, y: g * np.exp2(log_share(y, out)),
)

# Trigonometric and hyperbolic functions

derivative(np.sin, lambda g, out, x: g * np.cos(x))
derivative(np.cos, lambda g, out, x: -g * np.sin(x))
derivative(np.tan, lambda g, out, x: g * (1 + out * out))
derivative(np.arcsin, lambda g, out, x: g / np.sqrt(1 - x * x))
derivative(np.arccos, lambda g, out, x: -g / np.sqrt(1 - x * x))
derivative(np.arctan, lambda g, out, x: g / (1 + x * x))
derivative(
    np.arctan2,
    lambda g, out, y, x: g * x / (x * x + y * y),
    lambda g, out, y, x: -g * y / (x * x + y * y),
)
derivative(np.sinh, lambda g, out, x: g * np.cosh(x))
derivative(np.cosh, lambda g, out, x: g * np.sinh(x))
derivative(np.tanh, lambda g, out, x: g * (1 - out * out))
derivative(np.arcsinh, lambda g, out, x: g / np.sqrt(x * x + 1))
derivative(np.arccosh, lambda g, out, x: g / (np.sqrt(x - 1) * np.sqrt(x + 1)))
derivative(np.arctanh, lambda g, out, x: g / (1 - x * x))


def sinc_vjp(g, out, x):
    """(cos(pi x) - sinc(x)) / x. Near 0 the two terms cancel, so there the Taylor series is used."""
    small = np.absolute(x) < 0.03
    y = math.pi * np.where(small, x, 0)
    series = -y / 3 + y**3 / 30 - y**5 / 840 + y**7 / 45360
    return g * np.where(small, math.pi * series, (np.cos(math.pi * x) - out) / np.where(small, 1, x))


derivative(np.sinc, sinc_vjp)

# Bessel functions


def bessel_vjp(g, out, x, order):
    """The mean of the functions of the two neighbouring orders; order -1 is order 1."""
    return g * (bessel(x, abs(order - 1)) + bessel(x, order + 1)) / 2


@differentiable(bessel_vjp)
def bessel(x, order):
    """The modified Bessel function I of integer order: the sum over k of (x / 2)^(2 k + order) / (k! (k + order)!).

    Source: Abramowitz & Stegun, 9.6.10; for its derivative, 9.6.26. All terms have the same sign, so nothing cancels.
    """
    term = out = (x / 2) ** order / math.factorial(order)
    k = 0
    while np.any(np.absolute(term) > 1e-17 * np.absolute(out)):
        k += 1
        term = term * (x * x / 4) / (k * (k + order))
        out = out + term
    return out


derivative(np.i0, lambda g, out, x: g * bessel(x, 1))

# Choices between inputs


def to_chosen(g, out, x, y):
    """The whole gradient where x won, half of it where x and y are equal, nothing where y won."""
    gradient, equal = g * (x == out), x == y
    return gradient - 0.5 * g * equal if equal.any() else gradient


def absolute_vjp(g, out, x):
    """sign(x) for real x, conj(x) / |x| for complex x."""
    return g * np.sign(x) if x.dtype.kind != "c" else g * np.conj(x) / np.where(out == 0, 1, out)


derivative(np.absolute, absolute_vjp)
derivative(np.fabs, lambda g, out, x: g * np.sign(x))
derivative(np.maximum, lambda g, out, x, y: to_chosen(g, out, x, y), lambda g, out, x, y: to_chosen(g, out, y, x))
derivative(np.minimum, lambda g, out, x, y: to_chosen(g, out, x, y), lambda g, out, x, y: to_chosen(g, out, y, x))
derivative(np.fmax, lambda g, out, x, y: to_chosen(g, out, x, y), lambda g, out, x, y: to_chosen(g, out, y, x))
derivative(np.fmin, lambda g, out, x, y: to_chosen(g, out, x, y), lambda g, out, x, y: to_chosen(g, out, y, x))
derivative(np.copysign, lambda g, out, x, y: g * np.sign(x) * np.copysign(1, y), None)
derivative(np.heaviside, None, lambda g, out, x, y: np.where(x == 0, g, 0))
derivative(
    np.where,
    None,
    lambda g, out, condition, x, y: np.where(condition, g, 0),
    lambda g, out, condition, x, y: np.where(condition, 0, g),
)


def within(x, low, high):
    """Where low <= x <= high. As in clip, None means no bound."""
    return np.logical_and(True if low is None else x >= low, True if high is None else x <= high)


derivative(
    np.clip,
    lambda g, out, a, a_min=None, a_max=None, min=None, max=None: (
        g * within(a, a_min if min is None else min, a_max if max is None else max)
    ),
    lambda g, out, a, a_min=None, a_max=None: np.where((a < a_min) & within(a_min, None, a_max), g, 0),
    lambda g, out, a, a_min=None, a_max=None: np.where((a > a_max) | ~within(a_max, a_min, None), g, 0),
)

# Parts of complex numbers. Rules get the conjugates of the gradients that users see (see gradients.conjugated).

derivative(np.conjugate, lambda g, out, x: np.conj(g))
derivative(np.real, lambda g, out, val: np.real(g))
derivative(np.imag, lambda g, out, val: -1j * np.real(g))
derivative(np.real_if_close, lambda g, out, a, tol=100: g)


def angle(z, deg=False):
    radians = np.arctan2(np.imag(z), np.real(z))
    return radians * (180 / math.pi) if deg else radians


composite(np.angle, angle)


def sign_vjp(g, out, x):
    """0 for real x. The sign z / |z| of a complex number turns with its angle: d out = i out Im(dz / z)."""
    if x.dtype.kind != "c":
        return np.zeros_like(g)
    return 1j * np.conj(out) * np.imag(g * out) / np.where(out == 0, 1, np.absolute(x))


derivative(np.sign, sign_vjp)


def finite(x, g):
    """The gradient where x is finite. Elsewhere nan_to_num puts constants, so it is 0."""
    return np.where(np.isfinite(x), g, 0)


def nan_to_num_vjp(g, out, x, *, nan=0.0, posinf=None, neginf=None):
    if x.dtype.kind != "c":
        return finite(x, g)
    return finite(np.real(x), np.real(g)) + 1j * finite(np.imag(x), np.imag(g))


derivative(np.nan_to_num, nan_to_num_vjp)

# Constant almost everywhere

constant(np.floor, np.ceil, np.trunc, np.rint, np.round, np.around, np.fix, np.floor_divide, np.signbit)
constant(np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.invert, np.left_shift, np.right_shift, np.bitwise_count)
constant(np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal, np.isclose, np.allclose)
constant(np.logical_and, np.logical_or, np.logical_not, np.logical_xor, np.array_equal, np.array_equiv, np.isin)
constant(np.isnan, np.isinf, np.isfinite, np.isposinf, np.isneginf, np.isreal, np.iscomplex)
