"""`scipy.signal`, with a `convolve` that has derivatives: written in NumPy's functions, which bring their own."""

from __future__ import annotations

__docformat__ = "google"

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple
from numpy.lib.stride_tricks import sliding_window_view
from scipy import fft, signal

from tinygrad_np.derivatives.indexing import scatter
from tinygrad_np.errors import ArgumentError, ShapeError
from tinygrad_np.functional.arrays import as_array

__all__ = ["convolve"]

MODES, METHODS = ("full", "valid", "same"), ("auto", "direct", "fft")


def __getattr__(name: str) -> Any:
    """All that is not written here is SciPy's own."""
    return getattr(signal, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(signal)})


def convolve(
    in1: Any, in2: Any, axes: Any = None, dot_axes: Any = None, mode: str = "full", method: str = "auto"
) -> Any:
    r"""The convolution of two arrays, over any of their axes: of the places i + j = k, the sum of the products.

    $$ \text{out}_{m n k} = \sum_{d, i} \text{in1}_{m d i} \, \text{in2}_{n d, k - i} $$

    The arguments are HIPS autograd's. In SciPy's order, `convolve(in1, in2, mode, method)`, they are understood too.

    Args:
        in1, in2: arrays.
        axes: over which axes of each, a pair of lists; by default over all.
        dot_axes: axes of each that are multiplied and summed as in `numpy.tensordot`, a pair of lists; none by default.
        mode: "full" is every k; "valid" those where one array covers the other; "same" the middle ones, as many as in1
            has.
        method: "direct", a product of matrices; "fft", by Fourier transforms, faster for long filters, but a nan or
            infinity spreads over all of the result; "auto", what is likely faster. Integers are convolved directly.

    Returns:
        Shape (*in1's other axes, *in2's other axes, *axes).

    Raises:
        ArgumentError: a mode or method is unknown; an axis is not there, or comes twice.
        ShapeError: axes do not fit, or have no elements; for "valid", no array covers the other.

    >>> convolve([1.0, 2.0, 3.0], [0.0, 1.0, 0.5])
    array([0. , 1. , 2.5, 4. , 1.5])
    """
    if isinstance(axes, str):
        return convolve(in1, in2, mode=axes, method=dot_axes or method)
    if mode not in MODES or method not in METHODS:
        raise ArgumentError(f"mode is one of {MODES} and method one of {METHODS}, not {mode!r} and {method!r}")
    in1, in2 = as_array(in1), as_array(in2)
    axes = [range(in1.ndim), range(in2.ndim)] if axes is None else axes
    (a, others), (b, others_b) = map(_laid_out, (in1, in2), axes, dot_axes or [(), ()])
    sizes = list(zip(a.shape[2:], b.shape[2:], strict=False))
    if a.ndim != b.ndim or a.shape[1] != b.shape[1]:
        raise ShapeError(
            f"arrays of shapes {in1.shape} and {in2.shape} do not have as many axes {axes}, or elements along dot_axes "
            f"{dot_axes}"
        )
    covered = all(n >= m for n, m in sizes) or all(n <= m for n, m in sizes)
    if not all(map(all, sizes)) or (mode == "valid" and not covered):
        raise ShapeError(
            f"along the axes {axes}, arrays of shapes {in1.shape} and {in2.shape} must not be empty, and for mode "
            '"valid" one of them must be as long as the other or longer'
        )
    parts = {
        "full": [slice(0, n + m - 1) for n, m in sizes],
        "same": [slice((m - 1) // 2, (m - 1) // 2 + n) for n, m in sizes],
        "valid": [slice(min(n, m) - 1, max(n, m)) for n, m in sizes],
    }
    inexact = np.result_type(a.dtype, b.dtype).kind in "fc"
    if inexact and (method == "fft" or (method == "auto" and _long(a.shape, b.shape))):
        out = _by_transforms(a, b)[(..., *parts[mode])]
    elif mode == "valid":
        out = _slid(a, b)
    else:
        inside = (slice(None), slice(None), *(slice(m - 1, n + m - 1) for n, m in sizes))
        out = _slid(scatter(a, inside, (*a.shape[:2], *(n + 2 * m - 2 for n, m in sizes))), b)
        out = out if mode == "full" else out[(..., *parts[mode])]
    return np.reshape(out, (*others, *others_b, *out.shape[2:]))


def _laid_out(x: Any, convolved: Sequence[int], multiplied: Sequence[int]) -> tuple[Any, tuple[int, ...]]:
    """An array with its axes as (others, multiplied, *convolved), and the lengths of the others."""
    try:
        axes = normalize_axis_tuple((*multiplied, *convolved), x.ndim)
    except ValueError as error:
        raise ArgumentError(f"of an array of shape {x.shape}, the axes {[*convolved, *multiplied]}: {error}") from None
    others = [axis for axis in range(x.ndim) if axis not in axes]
    x = np.transpose(x, (*others, *axes))
    first, last = len(others), len(others) + len(multiplied)
    lengths = x.shape
    return np.reshape(x, (math.prod(lengths[:first]), math.prod(lengths[first:last]), *lengths[last:])), lengths[:first]


def _slid(a: Any, b: Any) -> Any:
    """The places at which one array covers the other: its windows as columns of matrices, times the other."""
    if math.prod(a.shape[2:]) < math.prod(b.shape[2:]):
        return np.swapaxes(_slid(b, a), 0, 1)
    places, window = range(2, a.ndim), b.shape[1:]
    windows = sliding_window_view(a, window[1:], axis=tuple(places))  # (others, multiplied, *places, *window)
    columns = np.transpose(windows, (0, 1, *range(a.ndim, windows.ndim), *places))
    shape = windows.shape[2 : a.ndim]
    columns = np.reshape(columns, (len(a), math.prod(window), math.prod(shape)))
    filters = np.reshape(np.flip(b, tuple(places)), (len(b), math.prod(window)))
    return np.reshape(np.matmul(filters, columns), (len(a), len(b), *shape))


def _long(a: Sequence[int], b: Sequence[int]) -> bool:
    """Whether transforms are likely faster for arrays of these shapes: whether they move fewer numbers."""
    long, short = (a, b) if math.prod(a[2:]) >= math.prod(b[2:]) else (b, a)
    full = math.prod(n + m - 1 for n, m in zip(a[2:], b[2:], strict=True))
    windows = long[0] * long[1] * math.prod(short[2:])
    return windows > (a[0] * a[1] + b[0] * b[1] + a[0] * b[0]) * math.log2(full + 1)


def _by_transforms(a: Any, b: Any) -> Any:
    """The same for all places: the Fourier transform of a convolution is the product of those of the two arrays."""
    axes = range(2, a.ndim)
    lengths = [n + m - 1 for n, m in zip(a.shape[2:], b.shape[2:], strict=True)]
    padded = [fft.next_fast_len(length, real=True) for length in lengths]
    dtype = np.result_type(a.dtype, b.dtype)
    a, b = (np.astype(x, np.result_type(dtype, np.float32)) for x in (a, b))
    there, back = (np.fft.rfftn, np.fft.irfftn) if dtype.kind == "f" else (np.fft.fftn, np.fft.ifftn)
    product = np.einsum("md...,nd...->mn...", there(a, padded, axes), there(b, padded, axes))
    places: Any = (..., *map(slice, lengths))
    return np.astype(back(product, padded, axes)[places], dtype)
