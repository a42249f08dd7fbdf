"""Derivatives of `scipy.special`: error functions, gamma's family, logistic functions, entropies and Bessel functions.

These are ufuncs, so that NumPy brings them to Tensors, and a row is all that they need. The table imports this family
when it is asked for a function that it lacks and SciPy has been imported.

Formulas are those of the NIST Digital Library of Mathematical Functions (DLMF): chapter 5 for gamma's family, 6 for
exponential integrals, 7 for error functions, 8 for incomplete gamma and beta functions, 10 for Bessel functions. What
is the difference of large numbers, or 0 times infinity, is rearranged.
"""

import math
from types import FunctionType, ModuleType, SimpleNamespace

import numpy as np
import scipy.special

from tinygrad_np.derivatives.elementwise import masked
from tinygrad_np.derivatives.table import RULES, constant, derivative, differentiable, filled, known
from tinygrad_np.errors import NoDerivativeError

# With SCIPY_ARRAY_API=1, SciPy has functions around its ufuncs, which ask arrays for a namespace and take but one.
special = ModuleType("scipy.special")
for name, function in vars(scipy.special).items():
    setattr(special, name, getattr(function, "__wrapped__", function) if type(function) is FunctionType else function)

ROOT_PI = math.sqrt(math.pi)


def unknown(g, out, *args):
    """Stands for the derivative with respect to an order or a shape parameter, which has no simple form."""
    raise NoDerivativeError(
        "this function of scipy.special has no derivative with respect to its order or shape parameter, only with "
        "respect to its other arguments; .detach() the parameter to treat it as a constant"
    )


def over(x, y):
    """x / y, and 0 where both are 0."""
    return x / np.where(np.logical_and(np.equal(x, 0), np.equal(y, 0)), np.inf, y)


# Elementary functions that NumPy has too

for name in ("cbrt", "exp2", "expm1", "log1p"):
    derivative(getattr(special, name), *RULES[getattr(np, name)].vjps)
derivative(special.exp10, lambda g, out, x: g * (out * math.log(10)))
derivative(special.cosm1, lambda g, out, x: -g * np.sin(x))

# Error functions and the normal distribution


def far(x, sign):
    """The sum of sign^k (2k + 1)!! / (2 x^2)^k over k: the asymptotic series of slopes, DLMF 7.12.1, for x > 10."""
    series = 1.0
    for k in range(10, 0, -1):
        series = 1.0 + sign * (2 * k + 1) / (2 * x * x) * series
    return series


def erfcx_slope(x, out):
    """2 x erfcx(x) - 2 / sqrt(pi), whose terms cancel for large x."""
    if x.dtype.kind == "c":
        return 2 * x * out - 2 / ROOT_PI
    large = x > 10
    y, near, value = np.where(large, x, 10), np.where(large, 10, x), np.where(large, 0, out)
    return np.where(large, -far(y, -1) / (y * y * ROOT_PI), 2 * near * value - 2 / ROOT_PI)


def dawsn_slope(x, out):
    """1 - 2 x dawsn(x), whose terms cancel for large x."""
    if x.dtype.kind == "c":
        return 1 - 2 * x * out
    large = np.absolute(x) > 10
    y, near, value = np.where(large, x, 10), np.where(large, 10, x), np.where(large, 0, out)
    return np.where(large, -far(y, 1) / (2 * y * y), 1 - 2 * near * value)


def mills_slope(g, out, x):
    """-m (x + m). On the left, where x + m cancels, by the slope of erfcx."""
    left = x < 0
    z, right = np.where(left, x, 0) / -math.sqrt(2), np.where(left, 0, x)
    scaled = special.erfcx(z)
    on_left = erfcx_slope(z, scaled) / (scaled * scaled) / ROOT_PI
    return g * np.where(left, on_left, -out * (right + out))


@differentiable(mills_slope)
def mills(x):
    """The normal density over the normal distribution function, the slope of log_ndtr; DLMF 7.8.1."""
    return math.sqrt(2 / math.pi) / special.erfcx(x / -math.sqrt(2))


def bell(x):
    """The normal density."""
    return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


derivative(special.erf, lambda g, out, x: g * (2 / ROOT_PI * np.exp(-x * x)))
derivative(special.erfc, lambda g, out, x: -g * (2 / ROOT_PI * np.exp(-x * x)))
derivative(special.erfi, lambda g, out, x: g * (2 / ROOT_PI * np.exp(x * x)))
derivative(special.erfcx, lambda g, out, x: g * erfcx_slope(x, out))
derivative(special.dawsn, lambda g, out, x: g * dawsn_slope(x, out))
derivative(special.wofz, lambda g, out, z: g * (2j / ROOT_PI - 2 * z * out))
derivative(special.erfinv, lambda g, out, y: g * (ROOT_PI / 2 * np.exp(out * out)))
derivative(special.erfcinv, lambda g, out, y: -g * (ROOT_PI / 2 * np.exp(out * out)))
derivative(special.ndtr, lambda g, out, x: g * bell(x))
derivative(special.ndtri, lambda g, out, p: g * (math.sqrt(2 * math.pi) * np.exp(out * out / 2)))
derivative(special.log_ndtr, lambda g, out, x: g * mills(x))
derivative(special.ndtri_exp, lambda g, out, y: g / mills(out))
derivative(
    special.owens_t,
    lambda g, out, h, a: -g * bell(h) * special.erf(a * h / math.sqrt(2)) / 2,
    lambda g, out, h, a: g * np.exp(-h * h * (1 + a * a) / 2) / (1 + a * a) / (2 * math.pi),
)


def fresnel_vjp(g, out, x):
    sine, cosine = filled(g, out)
    return sine * np.sin(math.pi / 2 * x * x) + cosine * np.cos(math.pi / 2 * x * x)


derivative(special.fresnel, fresnel_vjp)

# Integrals of exponentials


def sici_vjp(g, out, x):
    sine, cosine = filled(g, out)
    return sine * np.sinc(x / math.pi) + over(cosine * np.cos(x), x)


derivative(special.expi, lambda g, out, x: g * (np.exp(x) / x))
derivative(special.exp1, lambda g, out, x: -g * (np.exp(-x) / x))
derivative(special.sici, sici_vjp)
derivative(special.wrightomega, lambda g, out, x: g * (out / (1 + out)))

# Gamma's family


def polygamma_vjp(g, out, n, x):
    return g * polygamma(n + 1, x)


@differentiable(unknown, polygamma_vjp)
def polygamma(n, x):
    """The derivative number n of digamma: `scipy.special.polygamma`, which is no ufunc."""
    return special.polygamma(n, x)


def rgamma_vjp(g, out, z):
    """-psi / gamma. On the left, where both have poles, by the reflection formula, DLMF 5.5.3."""
    left = np.real(z) <= 0
    y, right = np.where(left, z, 0), np.where(left, 1, z)
    reflected = special.gamma(1 - y) * (np.cos(math.pi * y) - special.psi(1 - y) * np.sin(math.pi * y) / math.pi)
    return g * np.where(left, reflected, -special.psi(right) * special.rgamma(right))


derivative(special.gamma, lambda g, out, z: g * out * special.psi(z))
derivative(special.rgamma, rgamma_vjp)
derivative(special.gammaln, lambda g, out, x: g * special.psi(x))
derivative(special.loggamma, lambda g, out, z: g * special.psi(z))
derivative(special.psi, lambda g, out, z: g * polygamma(1, z))
constant(special.gammasgn)
derivative(
    special.beta,
    lambda g, out, a, b: g * out * (special.psi(a) - special.psi(a + b)),
    lambda g, out, a, b: g * out * (special.psi(b) - special.psi(a + b)),
)
derivative(
    special.betaln,
    lambda g, out, a, b: g * (special.psi(a) - special.psi(a + b)),
    lambda g, out, a, b: g * (special.psi(b) - special.psi(a + b)),
)


def multigammaln(a, d):
    """The logarithm of the multivariate gamma function of dimension d, for each element of a: DLMF 35.3.4.

    >>> multigammaln(np.array([2.5]), 1).round(4)
    array([0.2847])
    """
    terms = special.gammaln(np.expand_dims(a, -1) - np.arange(d) / 2)
    return np.sum(terms, axis=-1) + d * (d - 1) / 4 * math.log(math.pi)


def gamma_weight_vjp(g, out, x, p, c):
    return g * (times(p, gamma_weight(x, p - 1, c)) - out)


@differentiable(
    gamma_weight_vjp,
    lambda g, out, x, p, c: g * special.xlogy(out, x),
    lambda g, out, x, p, c: -g * out,
)
def gamma_weight(x, p, c):
    """x^p exp(-x - c)."""
    return np.exp(np.where(x == np.inf, -np.inf, special.xlogy(p, x) - x - c))


def beta_weight_vjp(g, out, x, p, q, c):
    return g * (times(p, beta_weight(x, p - 1, q, c)) - times(q, beta_weight(x, p, q - 1, c)))


@differentiable(
    beta_weight_vjp,
    lambda g, out, x, p, q, c: g * special.xlogy(out, x),
    lambda g, out, x, p, q, c: g * special.xlog1py(out, -x),
    lambda g, out, x, p, q, c: -g * out,
)
def beta_weight(x, p, q, c):
    """x^p (1 - x)^q exp(-c)."""
    return np.exp(special.xlogy(p, x) + special.xlog1py(q, -x) - c)


def times(x, y):
    """x y, and 0 where x is 0 though y be infinite."""
    return x * np.where(x == 0, 0, y)


def gamma_density(x, a):
    """The slope of gammainc(a, x)."""
    return gamma_weight(x, a - 1, special.gammaln(a))


def beta_density(x, a, b):
    """The slope of betainc(a, b, x)."""
    return beta_weight(x, a - 1, b - 1, special.betaln(a, b))


def t_density(x, df):
    """The density of Student's distribution, the slope of stdtr(df, x)."""
    scale = np.sqrt(df) * np.exp(special.betaln(df / 2, 0.5))
    return np.exp(-(df + 1) / 2 * np.log1p(x * x / df)) / scale


derivative(special.gammainc, unknown, lambda g, out, a, x: g * gamma_density(x, a))
derivative(special.gammaincc, unknown, lambda g, out, a, x: -g * gamma_density(x, a))
derivative(special.gammaincinv, unknown, lambda g, out, a, y: g / gamma_density(out, a))
derivative(special.gammainccinv, unknown, lambda g, out, a, y: -g / gamma_density(out, a))
derivative(special.betainc, unknown, unknown, lambda g, out, a, b, x: g * beta_density(x, a, b))
derivative(known(special, "betaincc"), unknown, unknown, lambda g, out, a, b, x: -g * beta_density(x, a, b))
derivative(special.betaincinv, unknown, unknown, lambda g, out, a, b, y: g / beta_density(out, a, b))
derivative(known(special, "betainccinv"), unknown, unknown, lambda g, out, a, b, y: -g / beta_density(out, a, b))

# Distribution functions

derivative(special.chdtr, unknown, lambda g, out, v, x: g * (gamma_density(x / 2, v / 2) / 2))
derivative(special.chdtrc, unknown, lambda g, out, v, x: -g * (gamma_density(x / 2, v / 2) / 2))
derivative(special.pdtr, None, lambda g, out, k, m: -g * gamma_density(m, np.floor(k) + 1))
derivative(special.pdtrc, None, lambda g, out, k, m: g * gamma_density(m, np.floor(k) + 1))
derivative(special.stdtr, unknown, lambda g, out, df, t: g * t_density(t, df))
derivative(special.stdtrit, unknown, lambda g, out, df, p: g / t_density(out, df))

# Logistic functions

derivative(special.expit, lambda g, out, x: g * (out * special.expit(-x)))
derivative(special.log_expit, lambda g, out, x: g * special.expit(-x))
derivative(special.logit, lambda g, out, x: g / (x * (1 - x)))

# Entropies


def log_where_used(x, y, shift=0):
    """log(shift + y), and where x is 0 and it is not finite, 0, as x log(y) is 0 there."""
    settled = np.logical_and(x == 0, shift + y <= 0)
    return masked(np.log(shift + np.where(settled, 1, y)), np.logical_not(settled))


derivative(special.entr, lambda g, out, x: -g * (np.log(x) + 1))
derivative(special.rel_entr, lambda g, out, x, y: g * (np.log(x / y) + 1), lambda g, out, x, y: -g * over(x, y))
derivative(special.kl_div, lambda g, out, x, y: g * np.log(x / y), lambda g, out, x, y: g * (1 - over(x, y)))
derivative(special.xlogy, lambda g, out, x, y: g * log_where_used(x, y), lambda g, out, x, y: g * over(x, y))
derivative(special.xlog1py, lambda g, out, x, y: g * log_where_used(x, y, 1), lambda g, out, x, y: g * over(x, 1 + y))

# Bessel functions


def real(z, name):
    """Refuse complex arguments of functions that are scaled by their real or imaginary part alone."""
    if z.dtype.kind == "c":
        raise NoDerivativeError(
            f"scipy.special.{name} of a complex argument is scaled by a part of it, so that it has no complex "
            "derivative; use the function that is not scaled"
        )
    return z


def cylinder(function):
    """For J, Y and the Hankel functions H: (C_{v-1} - C_{v+1}) / 2; DLMF 10.6.1."""
    derivative(function, unknown, lambda g, out, v, z: g * ((function(v - 1, z) - function(v + 1, z)) / 2))


for function in {special.jv, special.jn, special.yv, special.yn, special.hankel1, special.hankel2}:
    cylinder(function)


def scaled_cylinder(function):
    """Scaled by the imaginary part, so that of a real argument it is not scaled."""
    name = function.__name__
    derivative(function, unknown, lambda g, out, v, z: g * ((function(v - 1, real(z, name)) - function(v + 1, z)) / 2))


scaled_cylinder(special.jve)
scaled_cylinder(special.yve)
derivative(special.j0, lambda g, out, x: -g * special.j1(x))
derivative(special.j1, lambda g, out, x: g * ((special.j0(x) - special.jv(2, x)) / 2))
derivative(special.y0, lambda g, out, x: -g * special.y1(x))
derivative(special.y1, lambda g, out, x: g * ((special.y0(x) - special.yn(2, x)) / 2))


def mean(function, v, z):
    """The mean of the functions of the two neighbouring orders; DLMF 10.29.1."""
    return (function(v - 1, z) + function(v + 1, z)) / 2


def iv_scaled(out, slope, x):
    """The slope of I exp(-|x|)."""
    return slope - np.sign(x) * out


derivative(special.iv, unknown, lambda g, out, v, z: g * mean(special.iv, v, z))
derivative(special.ive, unknown, lambda g, out, v, z: g * iv_scaled(out, mean(special.ive, v, real(z, "ive")), z))
derivative(special.i0, lambda g, out, x: g * special.i1(x))
derivative(special.i1, lambda g, out, x: g * ((special.i0(x) + special.iv(2, x)) / 2))
derivative(special.i0e, lambda g, out, x: g * iv_scaled(out, special.i1e(x), x))
derivative(special.i1e, lambda g, out, x: g * iv_scaled(out, (special.i0e(x) + special.ive(2, x)) / 2, x))
derivative(special.kv, unknown, lambda g, out, v, z: -g * mean(special.kv, v, z))
derivative(
    special.kn, unknown, lambda g, out, n, x: -g * ((special.kn(np.absolute(n - 1), x) + special.kn(n + 1, x)) / 2)
)
derivative(special.kve, unknown, lambda g, out, v, z: g * (out - mean(special.kve, v, z)))
derivative(special.k0, lambda g, out, x: -g * special.k1(x))
derivative(special.k1, lambda g, out, x: -g * ((special.k0(x) + special.kn(2, x)) / 2))
derivative(special.k0e, lambda g, out, x: g * (out - special.k1e(x)))
derivative(special.k1e, lambda g, out, x: g * (out - (special.k0e(x) + special.kve(2, x)) / 2))


def airy_vjp(g, out, z):
    """Ai and Bi solve w'' = z w; DLMF 9.2.1."""
    ai, aip, bi, bip = out
    ga, gap, gb, gbp = filled(g, out)
    return ga * aip + gap * z * ai + gb * bip + gbp * z * bi


derivative(special.airy, airy_vjp)

OURS = SimpleNamespace(**{name: f for name, f in vars(special).items() if callable(f) and f in RULES})
"""The functions of scipy.special that know Tensors, by their names."""
OURS.polygamma, OURS.multigammaln = polygamma, multigammaln
