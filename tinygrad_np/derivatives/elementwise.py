"""Derivatives of element-wise functions: each output element depends on one element of each (broadcast) input.

The formulas are in Abramowitz & Stegun, Handbook of Mathematical Functions, 1964, chapters 3 and 4, some of them
rearranged: squares of large numbers overflow, and those of small ones vanish. Where the two inputs of maximum or
minimum are equal, each gets half of the gradient.
"""

import math

import numpy as np

from tinygrad_np.derivatives.table import composite, constant, derivative, differentiable, filled, known
from tinygrad_np.errors import ArgumentError

# Precision


def in_single(x):
    """Half precision as single: its squares overflow soon, and a sum of ones ends at 2048."""
    return x.astype(np.float32) if x.dtype == np.float16 else x


# Masks

INTEGERS = {np.dtype(f"f{size}"): np.dtype(f"i{size}") for size in (2, 4, 8)}


def masked_vjp(g, out, gradient, mask):
    return masked(g, mask)


@differentiable(masked_vjp)
def masked(gradient, mask, out=None):
    """The gradient where the mask is true, and 0 elsewhere, also where the gradient is infinite or NaN.

    A product with the mask would make NaN of infinity times 0. A product of the bits, read as integers, does not: they
    stay as they are or become those of 0. It is as fast, where np.where takes ten times as long.
    """
    integer = INTEGERS.get(gradient.dtype)
    if integer is None:
        return np.where(mask, gradient, 0)
    if out is None:
        out = np.empty_like(mask, gradient.dtype, shape=np.broadcast(gradient, mask).shape)  # its order in memory
    np.multiply(gradient.view(integer), mask, out=out.view(integer))
    return out


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
    """y x^(y-1). The constant x^0 has slope 0, also where x^-1 overflows and the product would be 0 * inf."""
    if type(y) in (int, float):  # a constant exponent, whose value may choose a cheaper formula
        return g * (2 * x) if y == 2 else g * y * np.power(x, y - 1) if y else np.zeros_like(g)
    overflows = (y == 0) & ~(np.absolute(x) >= np.finfo(out.dtype).tiny)
    return g * y * np.power(np.where(overflows, 1, x), y - out.dtype.type(1))  # unsigned integers have no -1


def power_exponent(g, out, x, y):
    """x^y log x. Where x^y is 0 this is 0, its limit, not 0 * -inf; and at 0^0 too, as in PyTorch."""
    settled = (out == 0) | ((x == 0) & (y == 0))
    return masked(g * out * np.log(np.where(settled, 1, x)), ~settled)


derivative(np.power, power_base, power_exponent)
derivative(np.float_power, power_base, power_exponent)
derivative(np.square, lambda g, out, x: g * (2 * x))
derivative(np.sqrt, lambda g, out, x: g * 0.5 / out)
derivative(np.cbrt, lambda g, out, x: g / (3 * out * out))


@differentiable(lambda g, out, x, length: g / length, lambda g, out, x, length: -g * out / length)
def over_length(x, length):
    """x / length and, where the length is 0, the subgradient 0. It has no derivative there, so that is not finite."""
    return masked(x / np.where(length == 0, 1, length), length != 0)


derivative(
    np.hypot,
    lambda g, out, x, y: g * over_length(x, out),
    lambda g, out, x, y: g * over_length(y, out),
)

# Exponentials and logarithms

derivative(np.exp, lambda g, out, x: g * out)
derivative(np.exp2, lambda g, out, x: g * (out * math.log(2)))
derivative(np.expm1, lambda g, out, x: g * np.exp(x))
derivative(np.log, lambda g, out, x: g / x)
derivative(np.log2, lambda g, out, x: g / math.log(2) / x)
derivative(np.log10, lambda g, out, x: g / math.log(10) / x)
derivative(np.log1p, lambda g, out, x: g / (x + 1))


@differentiable(lambda g, out, x: g * (out * (1 - out)))
def logistic(x):
    """exp(x) / (1 + exp(x)), or 1 / (1 + exp(-x)) where x > 0, so that no exponential can overflow."""
    return np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x)))


def to_share(g, out, x, y, base):
    """The gradient times the share of base^x in the sum of base^x and base^y.

    Equal infinities share equally, as equal numbers do. Where the sum is 0, and out -inf, neither has a share.
    """
    infinite = np.isinf(x) & (x == y)
    if infinite.any():
        x, y = np.where(infinite, 0, x), np.where(infinite, 0, y)
    return masked(g * logistic(math.log(base) * (x - y)), out != -np.inf)


derivative(
    np.logaddexp,
    lambda g, out, x, y: to_share(g, out, x, y, math.e),
    lambda g, out, x, y: to_share(g, out, y, x, math.e),
)
derivative(
    np.logaddexp2,
    lambda g, out, x, y: to_share(g, out, x, y, 2),
    lambda g, out, x, y: to_share(g, out, y, x, 2),
)

# Trigonometric and hyperbolic functions

derivative(np.sin, lambda g, out, x: g * np.cos(x))
derivative(np.cos, lambda g, out, x: -g * np.sin(x))
derivative(np.tan, lambda g, out, x: g * (1 + out * out))


@differentiable(lambda g, out, x: g * (-2 * x))
def one_minus_square(x):
    """1 - x^2, by factors, which are exact near 1. Their own derivatives would cancel there."""
    return (1 - x) * (1 + x)


def cosine_of_arcsin(x):
    """sqrt(1 - x^2). Of complex x two roots, for the product may overflow."""
    return np.sqrt(1 - x) * np.sqrt(1 + x) if x.dtype.kind == "c" else np.sqrt(one_minus_square(x))


derivative(np.arcsin, lambda g, out, x: g / cosine_of_arcsin(x))
derivative(np.arccos, lambda g, out, x: -g / cosine_of_arcsin(x))


def arctan_vjp(g, out, x):
    """1 / (1 + x^2), which is 0 where a real x^2 overflows; 1 / (1 + ix) / (1 - ix) for complex x."""
    if x.dtype.kind == "c":
        return g / (1 + 1j * x) / (1 - 1j * x)
    x = in_single(x)
    with np.errstate(over="ignore"):
        return g / (1 + x * x)


def arcsinh_vjp(g, out, x):
    """1 / sqrt(1 + x^2), without the square."""
    return g / (np.sqrt(1 + 1j * x) * np.sqrt(1 - 1j * x) if x.dtype.kind == "c" else np.hypot(1, x))


derivative(np.arctan, arctan_vjp)
derivative(
    np.arctan2,
    lambda g, out, y, x: g * (x / np.hypot(x, y) / np.hypot(x, y)),
    lambda g, out, y, x: -g * (y / np.hypot(x, y) / np.hypot(x, y)),
)
derivative(np.sinh, lambda g, out, x: g * np.cosh(x))
derivative(np.cosh, lambda g, out, x: g * np.sinh(x))
derivative(np.tanh, lambda g, out, x: g * (1 - out * out))
derivative(np.arcsinh, arcsinh_vjp)
derivative(np.arccosh, lambda g, out, x: g / (np.sqrt(x - 1) * np.sqrt(x + 1)))
derivative(np.arctanh, lambda g, out, x: g / (1 - x) / (1 + x) if x.dtype.kind == "c" else g / one_minus_square(x))


def sinc_vjp(g, out, x):
    """(cos(pi x) - sinc(x)) / x. Near 0 the two terms cancel, so there the Taylor series in pi x is used."""
    small = np.absolute(x) < 0.25
    y = math.pi * np.where(small, x, 0)
    series = 0
    for k in range(9, 0, -1):
        series = (-1) ** k * 2 * k / math.factorial(2 * k + 1) + y * y * series
    return g * np.where(small, math.pi * y * series, (np.cos(math.pi * x) - out) / np.where(small, 1, x))


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
    chosen, equal = x == out, x == y
    return masked(g, chosen & ~equal) + masked(0.5 * g, equal) if equal.any() else masked(g, chosen)


def absolute_vjp(g, out, x):
    """sign(x) for real x; its conjugate, conj(x) / |x|, for complex x."""
    return g * np.sign(x) if x.dtype.kind != "c" else g * np.conj(np.sign(x))


derivative(np.absolute, absolute_vjp)
derivative(np.fabs, lambda g, out, x: g * np.sign(x))
for choice in (np.maximum, np.minimum, np.fmax, np.fmin):
    derivative(choice, lambda g, out, x, y: to_chosen(g, out, x, y), lambda g, out, x, y: to_chosen(g, out, y, x))
derivative(np.copysign, lambda g, out, x, y: g * np.sign(x) * np.copysign(1, y), None)
derivative(np.heaviside, None, lambda g, out, x, y: masked(g, x == 0))
derivative(
    np.where,
    None,
    lambda g, out, condition, x, y: masked(g, np.not_equal(condition, False)),
    lambda g, out, condition, x, y: masked(g, np.equal(condition, False)),
)


def within(x, low, high):
    """Where low <= x <= high. As in clip, None means no bound."""
    return np.logical_and(True if low is None else x >= low, True if high is None else x <= high)


@differentiable(
    lambda g, out, a, low, high: masked(g, within(a, low, high)),
    lambda g, out, a, low, high: masked(g, (a < low) & within(low, None, high)),
    lambda g, out, a, low, high: masked(g, (a > high) | ~within(high, low, None)),
)
def clipped(a, low, high):
    return np.clip(a, low, high)


def clip(a, a_min=None, a_max=None, *, min=None, max=None):
    """Of the bounds, the first two names are NumPy's, the others those of the array API standard."""
    if not (a_min is a_max is None or min is max is None):
        raise ArgumentError("clip takes bounds as a_min and a_max or as min and max, not mixed")
    return clipped(a, a_min if min is None else min, a_max if max is None else max)


composite(np.clip, clip)

# Parts of complex numbers. Rules get the conjugates of the gradients that users see (see gradients.conjugated).

derivative(np.conjugate, lambda g, out, x: np.conj(g))
derivative(np.real, lambda g, out, val: np.real(g))
derivative(np.imag, lambda g, out, val: -1j * np.real(g))
derivative(np.real_if_close, lambda g, out, a, tol=100: g)


def angle_vjp(g, out, z, deg=False):
    """d out = Im(dz / z). 0 for real z; and at 0, which has no angle, as in PyTorch."""
    if z.dtype.kind != "c":
        return np.zeros_like(g)
    return -1j * (masked(g, z != 0) * (180 / math.pi if deg else 1) / np.where(z == 0, 1, z))


derivative(np.angle, angle_vjp)


def sign_vjp(g, out, x):
    """0 for real x. The sign z / |z| of a complex number turns with its angle: d out = i out Im(dz / z). NaN at 0."""
    if x.dtype.kind != "c":
        return np.zeros_like(g)
    return 1j * np.conj(out) * (np.imag(g * out) / np.absolute(x))


derivative(np.sign, sign_vjp)


def finite(x, g):
    """The gradient where x is finite. Elsewhere nan_to_num puts constants, so it is 0."""
    return masked(g, np.isfinite(x))


def nan_to_num_vjp(g, out, x, *, nan=0.0, posinf=None, neginf=None):
    if x.dtype.kind != "c":
        return finite(x, g)
    return finite(np.real(x), np.real(g)) + 1j * finite(np.imag(x), np.imag(g))


derivative(np.nan_to_num, nan_to_num_vjp)

# Constant almost everywhere

constant(np.floor, np.ceil, np.trunc, np.rint, np.round, np.around, known(np, "fix"), np.floor_divide, np.signbit)
constant(np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.invert, np.left_shift, np.right_shift, np.bitwise_count)
constant(np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal, np.isclose, np.allclose)
constant(np.logical_and, np.logical_or, np.logical_not, np.logical_xor, np.array_equal, np.array_equiv, np.isin)
constant(np.isnan, np.isinf, np.isfinite, np.isposinf, np.isneginf, np.isreal, np.iscomplex)
