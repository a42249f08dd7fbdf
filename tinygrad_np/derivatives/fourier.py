"""Derivatives of Fourier transforms, and of the evaluation of polynomials and piecewise linear functions.

A discrete Fourier transform multiplies by a symmetric matrix, so its VJP is the same transform with the same
normalisation. Where `n` pads or crops the input, the gradient is cropped or padded. A transform over several axes is
one transform after another, as in NumPy.
"""

import numpy as np

from tinygrad_np.derivatives.elementwise import masked
from tinygrad_np.derivatives.indexing import scatter
from tinygrad_np.derivatives.products import as_array
from tinygrad_np.derivatives.table import composite, derivative, differentiable

# Along one axis


def resized(x, length, axis):
    """Crop an axis to a length, or pad it with zeros."""
    shape = list(x.shape)
    missing = length - shape[axis]
    if missing <= 0:
        index = [slice(None)] * x.ndim
        index[axis] = slice(length)
        return x[tuple(index)]
    shape[axis] = missing
    return np.concatenate([x, np.zeros(shape, x.dtype)], axis)


def rfft_vjp(g, out, a, n=None, axis=-1, norm=None):
    """The real part of the full transform. It pads g with zeros for the frequencies that rfft leaves out."""
    return resized(np.real(np.fft.fft(g, a.shape[axis] if n is None else n, axis, norm)), a.shape[axis], axis)


def irfft_vjp(g, out, a, n=None, axis=-1, norm=None):
    """Every frequency counts twice, for its conjugate too, except DC and, for even n, Nyquist."""
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

# A Hermitian input has a real transform: hfft is irfft, and ihfft rfft, in the other direction and with its norm.

OPPOSITE = {None: "forward", "backward": "forward", "ortho": "ortho", "forward": "backward"}


def hfft(a, n=None, axis=-1, norm=None):
    return np.fft.irfft(np.conj(a), n, axis, OPPOSITE[norm])


def ihfft(a, n=None, axis=-1, norm=None):
    return np.conj(np.fft.rfft(a, n, axis, OPPOSITE[norm]))


composite(np.fft.hfft, hfft)
composite(np.fft.ihfft, ihfft)

# Along several axes


def lengths_and_axes(a, s, axes):
    """Pairs of a length to pad or crop to, None to keep it, and the axis."""
    if axes is None:
        axes = range(-(a.ndim if s is None else len(s)), 0)
    lengths = [None] * len(axes) if s is None else [None if length == -1 else length for length in s]
    return list(zip(lengths, axes, strict=True))


def along_each(transform):
    def transforms(a, s=None, axes=None, norm=None):
        for length, axis in reversed(lengths_and_axes(a, s, axes)):
            a = transform(a, length, axis, norm)
        return a

    return transforms


def rfftn(a, s=None, axes=None, norm=None):
    *others, (length, axis) = lengths_and_axes(a, s, axes)
    a = np.fft.rfft(a, length, axis, norm)
    for length, axis in reversed(others):
        a = np.fft.fft(a, length, axis, norm)
    return a


def irfftn(a, s=None, axes=None, norm=None):
    *others, (length, axis) = lengths_and_axes(a, s, axes)
    for other_length, other in others:
        a = np.fft.ifft(a, other_length, other, norm)
    return np.fft.irfft(a, length, axis, norm)


fftn, ifftn = along_each(np.fft.fft), along_each(np.fft.ifft)
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


def polyval(p, x):
    """Horner's scheme, from the highest power down."""
    p, x = as_array(p), as_array(x)
    y = np.zeros(x.shape, x.dtype)
    for coefficient in p:
        y = y * x + coefficient
    return y


def segments(x, xp):
    """For each x, the indices of the points in xp below and above, and its place between them from 0 to 1."""
    below = np.clip(np.searchsorted(as_array(xp), x, "right") - 1, 0, max(len(xp) - 2, 0))
    above = np.minimum(below + 1, len(xp) - 1)
    width = xp[above] - xp[below]
    return below, above, np.clip((x - xp[below]) / np.where(width == 0, 1, width), 0, 1)


def times_slopes(g, x, xp, fp):
    """The gradient times the slope of the segment that each x lies in; zero outside all segments."""
    below, above, _ = segments(x, xp)
    width = xp[above] - xp[below]
    slope = (fp[above] - fp[below]) / np.where(width == 0, 1, width)
    return masked(g * slope, (x >= xp[0]) & (x <= xp[-1]))


def shared(g, x, xp):
    """Share the gradient of each x between the two points around it, in proportion."""
    below, above, place = segments(x, xp)
    return scatter(g * (1 - place), below, xp.shape) + scatter(g * place, above, xp.shape)


def heights_vjp(g, out, x, xp, fp, left=None, right=None):
    x, xp = as_array(x), as_array(xp)
    g = g if left is None else masked(g, x >= xp[0])
    return shared(g if right is None else masked(g, x <= xp[-1]), x, xp)


def interp_x(g, out, x, xp, fp, left=None, right=None):
    return times_slopes(g, as_array(x), as_array(xp), as_array(fp))


def interp_xp(g, out, x, xp, fp, left=None, right=None):
    """Moving a point to the right lowers the line above a fixed x, in proportion to its slope."""
    x, xp = as_array(x), as_array(xp)
    return -shared(times_slopes(g, x, xp, as_array(fp)), x, xp)


@differentiable(interp_x, interp_xp, heights_vjp)
def interpolated(x, xp, fp, left=None, right=None):
    """Piecewise linear interpolation without a period."""
    return np.interp(x, xp, fp, left, right)


def interp(x, xp, fp, left=None, right=None, period=None):
    """With a period, sort the points within one period; then repeat the last before it and the first after it."""
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
