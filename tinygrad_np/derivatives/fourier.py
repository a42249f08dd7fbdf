"""Derivatives of Fourier transforms, and of the evaluation of polynomials and of piecewise linear functions.

A discrete Fourier transform multiplies by a symmetric matrix, so its VJP is the same transform again, and whatever
the normalisation, it is the same one. Where `n` pads or crops the input, the gradient is cropped or padded. Those over
several axes are transforms along one axis after the other, as NumPy computes them.
"""

from typing import Any

import numpy as np

from tinygrad_np.derivatives.indexing import scatter
from tinygrad_np.derivatives.products import as_array
from tinygrad_np.derivatives.table import composite, derivative, differentiable

# Along one axis


def resized(x: Any, length: int, axis: int) -> Any:
    """Cut an axis to a length, or fill it up with zeros."""
    shape = list(x.shape)
    missing = length - shape[axis]
    if missing <= 0:
        index = [slice(None)] * x.ndim
        index[axis] = slice(length)
        return x[tuple(index)]
    shape[axis] = missing
    return np.concatenate([x, np.zeros(shape, x.dtype)], axis)


def rfft_vjp(g: Any, out: Any, a: Any, n: Any = None, axis: Any = -1, norm: Any = None) -> Any:
    """The real part of the full transform, to whose second half no gradient comes."""
    return resized(np.real(np.fft.fft(g, a.shape[axis] if n is None else n, axis, norm)), a.shape[axis], axis)


def irfft_vjp(g: Any, out: Any, a: Any, n: Any = None, axis: Any = -1, norm: Any = None) -> Any:
    """All frequencies count twice, once for the conjugate that is left out, but for the first and an even n's last."""
    length = g.shape[axis]
    weights = np.full(length // 2 + 1, 2.0)
    weights[0] = 1
    if length % 2 == 0:
        weights[-1] = 1
    weights = weights.reshape([-1 if i == axis % a.ndim else 1 for i in range(a.ndim)])
    half = resized(np.fft.ifft(g, axis=axis, norm=norm), length // 2 + 1, axis)
    return resized(half * weights, a.shape[axis], axis)


derivative(
    np.fft.fft,
    lambda g, out, a, n=None, axis=-1, norm=None: resized(np.fft.fft(g, None, axis, norm), a.shape[axis], axis),
)
derivative(
    np.fft.ifft,
    lambda g, out, a, n=None, axis=-1, norm=None: resized(np.fft.ifft(g, None, axis, norm), a.shape[axis], axis),
)
derivative(np.fft.rfft, rfft_vjp)
derivative(np.fft.irfft, irfft_vjp)

# A Hermitian input has a real transform: the real transforms with the directions, thus also their norms, swapped.

SWAPPED: dict[Any, Any] = {None: "forward", "backward": "forward", "ortho": "ortho", "forward": "backward"}

composite(np.fft.hfft, lambda a, n=None, axis=-1, norm=None: np.fft.irfft(np.conj(a), n, axis, norm=SWAPPED[norm]))
composite(np.fft.ihfft, lambda a, n=None, axis=-1, norm=None: np.conj(np.fft.rfft(a, n, axis, norm=SWAPPED[norm])))

# Along several axes


def lengths_and_axes(a: Any, s: Any, axes: Any) -> list[tuple[Any, int]]:
    """For each axis the length to pad or crop it to, None for its own, and the axis."""
    if axes is None:
        axes = range(-(a.ndim if s is None else len(s)), 0)
    lengths = [None] * len(axes) if s is None else [None if length == -1 else length for length in s]
    return list(zip(lengths, axes, strict=True))


def fftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None) -> Any:
    for length, axis in reversed(lengths_and_axes(a, s, axes)):
        a = np.fft.fft(a, length, axis, norm)
    return a


def ifftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None) -> Any:
    for length, axis in reversed(lengths_and_axes(a, s, axes)):
        a = np.fft.ifft(a, length, axis, norm)
    return a


def rfftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None) -> Any:
    *others, (length, axis) = lengths_and_axes(a, s, axes)
    a = np.fft.rfft(a, length, axis, norm)
    for length, axis in reversed(others):
        a = np.fft.fft(a, length, axis, norm)
    return a


def irfftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None) -> Any:
    *others, (length, axis) = lengths_and_axes(a, s, axes)
    for other_length, other in others:
        a = np.fft.ifft(a, other_length, other, norm)
    return np.fft.irfft(a, length, axis, norm)


composite(np.fft.fftn, fftn)
composite(np.fft.ifftn, ifftn)
composite(np.fft.rfftn, rfftn)
composite(np.fft.irfftn, irfftn)
composite(np.fft.fft2, lambda a, s=None, axes=(-2, -1), norm=None: fftn(a, s, axes, norm))
composite(np.fft.ifft2, lambda a, s=None, axes=(-2, -1), norm=None: ifftn(a, s, axes, norm))
composite(np.fft.rfft2, lambda a, s=None, axes=(-2, -1), norm=None: rfftn(a, s, axes, norm))
composite(np.fft.irfft2, lambda a, s=None, axes=(-2, -1), norm=None: irfftn(a, s, axes, norm))
derivative(np.fft.fftshift, lambda g, out, x, axes=None: np.fft.ifftshift(g, axes))
derivative(np.fft.ifftshift, lambda g, out, x, axes=None: np.fft.fftshift(g, axes))

# Polynomials and interpolation


def polyval(p: Any, x: Any) -> Any:
    """Horner's scheme, the highest power first."""
    p, x = as_array(p), as_array(x)
    y: Any = np.zeros(x.shape, x.dtype)
    for coefficient in p:
        y = y * x + coefficient
    return y


def segments(x: Any, xp: Any) -> Any:
    """For each x the points of xp below and above it, as indices, and its place between them, from 0 to 1."""
    below = np.clip(np.searchsorted(as_array(xp), x, "right") - 1, 0, max(len(xp) - 2, 0))
    above = np.minimum(below + 1, len(xp) - 1)
    width = xp[above] - xp[below]
    return below, above, np.clip((x - xp[below]) / np.where(width == 0, 1, width), 0, 1)


def slopes(x: Any, xp: Any, fp: Any) -> Any:
    """The slope of the segment that each x is in; zero outside of all."""
    below, above, _ = segments(x, xp)
    width = xp[above] - xp[below]
    slope = (fp[above] - fp[below]) / np.where(width == 0, 1, width)
    return np.where((x >= xp[0]) & (x <= xp[-1]), slope, 0)


def shared(g: Any, x: Any, xp: Any) -> Any:
    """The gradient of each x to the two points it lies between, in proportion."""
    below, above, place = segments(x, xp)
    return scatter(g * (1 - place), below, xp.shape) + scatter(g * place, above, xp.shape)


def heights_vjp(g: Any, out: Any, x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None) -> Any:
    x, xp = as_array(x), as_array(xp)
    g = g if left is None else np.where(x < xp[0], 0, g)
    return shared(g if right is None else np.where(x > xp[-1], 0, g), x, xp)


def interp_x(g: Any, out: Any, x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None) -> Any:
    return g * slopes(as_array(x), as_array(xp), as_array(fp))


def interp_xp(g: Any, out: Any, x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None) -> Any:
    """To move a point is to lower the line by its slope there, seen from a fixed x."""
    x, xp = as_array(x), as_array(xp)
    return -shared(g * slopes(x, xp, as_array(fp)), x, xp)


@differentiable(interp_x, interp_xp, heights_vjp)
def interpolated(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None) -> Any:
    """Piecewise linear interpolation without a period."""
    return np.interp(x, xp, fp, left, right)


def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Any:
    """With a period: sort the points within one, and repeat the last one before and the first one behind it."""
    if period is None:
        return interpolated(x, xp, fp, left, right)
    period = abs(period)
    x, xp, fp = as_array(x) % period, as_array(xp) % period, as_array(fp)
    order = np.argsort(xp)
    xp, fp = xp[order], fp[order]
    xp = np.concatenate([xp[-1:] - period, xp, xp[:1] + period])
    return interpolated(x, xp, np.concatenate([fp[-1:], fp, fp[:1]]))


composite(np.polyval, polyval)
composite(np.interp, interp)
