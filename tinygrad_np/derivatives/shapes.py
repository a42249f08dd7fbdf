"""Derivatives of functions that rearrange, join, split and pad whole arrays: each VJP moves the gradient back.

Functions that pick single elements are in `indexing`.
"""

import numpy as np

from tinygrad_np.derivatives.indexing import numbers, put_back, scatter
from tinygrad_np.derivatives.products import as_array, pieces_like
from tinygrad_np.derivatives.table import composite, constant, derivative, differentiable, filled, known
from tinygrad_np.errors import NoDerivativeError

# One array of another shape


def inverse(axes):
    """The permutation that undoes a transposition."""
    if axes is None:
        return None
    axes = np.atleast_1d(axes)
    return np.argsort(axes % len(axes))


@differentiable(lambda g, out, a: put_back(g[0], a, out[1]), residuals=True)
def as_in_memory(a):
    """The elements in the order K, and their numbers. An axis that runs backwards in memory is still read forwards."""
    forwards = np.flip(a, [axis for axis, stride in enumerate(a.strides) if stride < 0])
    elements = np.nditer(forwards, ["c_index", "zerosize_ok"], order="K")
    return np.ravel(a, "K"), np.fromiter((elements.index for _ in elements), np.intp, a.size)


def ravel(a, order="C"):
    return as_in_memory(a) if order in ("K", "k") else np.reshape(a, -1, order)


def reshape_vjp(g, out, a, shape=None, order="C", *, copy=None):
    """A reshape fills the result in the order in which it reads the input."""
    if order == "C":
        return np.reshape(g, a.shape)
    if order in ("A", "a"):
        order = "F" if a.flags.fnc else "C"
    return np.reshape(g, a.shape, order)


derivative(np.reshape, reshape_vjp)
composite(np.ravel, ravel)
derivative(np.squeeze, lambda g, out, a, axis=None: np.reshape(g, a.shape))
derivative(np.expand_dims, lambda g, out, a, axis: np.reshape(g, a.shape))
derivative(np.transpose, lambda g, out, a, axes=None: np.transpose(g, inverse(axes)))
derivative(np.matrix_transpose, lambda g, out, x: np.matrix_transpose(g))
derivative(np.linalg.matrix_transpose, lambda g, out, x: np.matrix_transpose(g))
derivative(np.swapaxes, lambda g, out, a, axis1, axis2: np.swapaxes(g, axis1, axis2))
derivative(np.moveaxis, lambda g, out, a, source, destination: np.moveaxis(g, destination, source))
derivative(np.rollaxis, lambda g, out, a, axis, start=0: put_back(g, a, np.rollaxis(numbers(a), axis, start)))
derivative(np.flip, lambda g, out, m, axis=None: np.flip(g, axis))
derivative(np.fliplr, lambda g, out, m: np.fliplr(g))
derivative(np.flipud, lambda g, out, m: np.flipud(g))
derivative(np.rot90, lambda g, out, m, k=1, axes=(0, 1): np.rot90(g, -k, axes))
derivative(np.roll, lambda g, out, a, shift, axis=None: np.roll(g, -np.asarray(shift, int), axis))
derivative(np.broadcast_to, lambda g, out, array, shape: g)
derivative(np.astype, lambda g, out, x, dtype, *, copy=True: g)
derivative(np.copy, lambda g, out, a, order="K": g)


def full_like(a, fill_value, dtype=None, order="K", subok=True, shape=None):
    """Only the shape and dtype of `a` count; every element is the fill value."""
    empty = np.empty_like(a, dtype, shape=shape)
    return np.broadcast_to(fill_value, empty.shape).astype(empty.dtype)


composite(np.full_like, full_like)

constant(np.shape, np.ndim, np.size, np.zeros_like, np.ones_like, np.empty_like)
constant(np.common_type, np.result_type, np.can_cast, np.min_scalar_type, np.iscomplexobj, np.isrealobj)
constant(np.shares_memory, np.may_share_memory, np.array_repr, np.array_str, np.array2string)

# Several arrays of another shape


def at_least(function):
    """np.atleast_1d, 2d or 3d as a reshape."""

    def reshaped(*arys):
        arrays = tuple(np.reshape(a, function(np.empty(np.shape(a))).shape) for a in arys)
        return arrays if len(arrays) > 1 else arrays[0]

    return reshaped


def broadcast_arrays(*args, subok=False):
    shape = np.broadcast_shapes(*map(np.shape, args))
    return tuple(np.broadcast_to(a, shape) for a in args)


def meshgrid(*xi, copy=True, sparse=False, indexing="xy"):
    """NumPy tells along which axis each array runs."""
    grids = np.meshgrid(*(np.zeros(np.size(x)) for x in xi), sparse=True, indexing=indexing)
    grids = tuple(np.reshape(x, grid.shape) for x, grid in zip(xi, grids, strict=True))
    grids = grids if sparse else broadcast_arrays(*grids)
    return tuple(map(np.copy, grids)) if copy else grids


for function in (np.atleast_1d, np.atleast_2d, np.atleast_3d):
    composite(function, at_least(function))
composite(np.broadcast_arrays, broadcast_arrays)
composite(np.meshgrid, meshgrid)

# Splitting: the gradient is a list, one for each piece.


def split_vjp(g, out, ary, indices_or_sections, axis=0):
    g = filled(g, out)
    joined = np.concatenate(g, axis)
    if joined.shape == ary.shape:
        return joined
    # Indices that do not ascend give pieces that overlap.
    pieces = np.split(numbers(ary), indices_or_sections, axis)
    return put_back(np.concatenate(g, axis=None), ary, np.concatenate(pieces, axis=None))


derivative(np.split, split_vjp)
derivative(np.array_split, split_vjp)
derivative(np.vsplit, lambda g, out, ary, indices_or_sections: split_vjp(g, out, ary, indices_or_sections, 0))
derivative(
    np.hsplit,
    lambda g, out, ary, indices_or_sections: split_vjp(g, out, ary, indices_or_sections, 1 if ary.ndim > 1 else 0),
)
derivative(np.dsplit, lambda g, out, ary, indices_or_sections: split_vjp(g, out, ary, indices_or_sections, 2))
derivative(known(np, "unstack"), lambda g, out, x, *, axis=0: np.stack(filled(g, out), axis))

# Joining: the gradient for a list of arrays is a list of gradients.


def concatenate_vjp(g, out, arrays, axis=0, *, dtype=None, casting="same_kind"):
    if axis is None:
        pieces = np.split(g, np.cumsum([np.size(a) for a in arrays[:-1]]))
        return pieces_like(arrays, [np.reshape(piece, np.shape(a)) for piece, a in zip(pieces, arrays, strict=True)])
    return pieces_like(arrays, np.split(g, np.cumsum([np.shape(a)[axis] for a in arrays[:-1]]), axis))


def stack_vjp(g, out, arrays, axis=0, *, dtype=None, casting="same_kind"):
    return pieces_like(arrays, np.moveaxis(g, axis, 0))


def hstack(tup, **kwargs):
    arrays = [np.atleast_1d(a) for a in tup]
    return np.concatenate(arrays, 0 if arrays[0].ndim == 1 else 1, **kwargs)


def append(arr, values, axis=None):
    """np.append makes arrays of numbers, whose dtypes then count for the result's."""
    return np.concatenate([as_array(arr), as_array(values)], axis)


def block(arrays):
    """Join the innermost lists along the last axis, the lists around them along the axis before, and so on."""

    def depth(item):
        return 1 + depth(item[0]) if isinstance(item, list) else 0

    def ndim(item):
        return max(map(ndim, item)) if isinstance(item, list) else np.ndim(item)

    def join(item, axis):
        if isinstance(item, list):
            return np.concatenate([join(inner, axis + 1) for inner in item], axis)
        return np.reshape(item, (1,) * (dimensions - np.ndim(item)) + np.shape(item))

    dimensions = max(depth(arrays), ndim(arrays))
    return join(arrays, -depth(arrays))


derivative(np.concatenate, concatenate_vjp)
derivative(np.stack, stack_vjp)
composite(np.vstack, lambda tup, **kwargs: np.concatenate([np.atleast_2d(a) for a in tup], 0, **kwargs))
composite(np.hstack, hstack)
composite(np.dstack, lambda tup: np.concatenate([np.atleast_3d(a) for a in tup], 2))
composite(
    np.column_stack, lambda tup: np.concatenate([a if np.ndim(a) > 1 else np.reshape(a, (-1, 1)) for a in tup], 1)
)
composite(np.append, append)
composite(np.block, block)


def vander(x, N=None, increasing=False):  # noqa: N803 (NumPy's name)
    """The powers of x as columns: running products of ones and x."""
    n = len(x) if N is None else N
    x = np.astype(x, np.promote_types(x.dtype, int))
    factors = [np.ones((len(x), 1), x.dtype), np.broadcast_to(np.expand_dims(x, 1), (len(x), max(n - 1, 0)))]
    powers = np.cumprod(np.concatenate(factors, 1), 1)[:, :n]
    return powers if increasing else powers[:, ::-1]


composite(np.vander, vander)

# Padding, and the ramps that it can use


def linspace_vjp(g, fractions, axis):
    """The weighted sum over the points. Each of them is start + fraction (stop - start)."""
    return np.sum(np.moveaxis(g, axis, -1) * fractions, axis=-1)


def linspace_stop(g, out, start, stop, num=50, endpoint=True, *, dtype=None, axis=0):
    return linspace_vjp(g, np.linspace(0, 1, num, endpoint), axis)


def linspace_start(g, out, start, stop, num=50, endpoint=True, *, dtype=None, axis=0):
    return linspace_vjp(g, 1 - np.linspace(0, 1, num, endpoint), axis)


derivative(np.linspace, linspace_start, linspace_stop)

STATISTICS = {"maximum": np.max, "minimum": np.min, "mean": np.mean, "median": np.median}


def pad_axis(a, axis, widths, mode, lengths, ends):
    """Pad with a ramp or a statistic along one axis."""
    a = np.moveaxis(a, axis, 0)
    if mode == "linear_ramp":
        edges = zip(ends, (a[0], a[-1]), widths, strict=True)
        left, right = (np.astype(np.linspace(end, edge, width, endpoint=False), a.dtype) for end, edge, width in edges)
        right = right[::-1]
    else:
        parts = slice(lengths[0]), slice(lengths[1] and -lengths[1], None)
        values = zip((STATISTICS[mode](a[part], axis=0) for part in parts), widths, strict=True)
        left, right = (np.broadcast_to(value, (width, *a.shape[1:])) for value, width in values)
    return np.moveaxis(np.concatenate([left, a, right]), 0, axis)


def pad(array, pad_width, mode="constant", **kwargs):
    """Index the array where elements are repeated; else compute the edges and join them, one axis at a time."""
    if isinstance(pad_width, dict):
        pad_width = [pad_width.get(i, pad_width.get(i - array.ndim, 0)) for i in range(array.ndim)]
        pad_width = [np.broadcast_to(width, 2) for width in pad_width]
    repeats = mode in ("edge", "wrap", "reflect", "symmetric") and kwargs.get("reflect_type", "even") == "even"
    if not repeats and mode not in ("constant", "linear_ramp", *STATISTICS):
        given = f"mode={mode!r}" + "".join(f", {name}={value!r}" for name, value in kwargs.items())
        raise NoDerivativeError(f"the derivative of pad does not know {given}; .detach() the input or pad otherwise")
    # np.pad also checks the arguments.
    padding = np.pad(numbers(array) if repeats else np.zeros(array.shape, array.dtype), pad_width, mode, **kwargs)
    if repeats:
        return np.ravel(array)[padding]
    settings = [pad_width, kwargs.get("stat_length"), kwargs.get("end_values", 0)]
    widths, lengths, ends = (np.broadcast_to(value, (array.ndim, 2)).tolist() for value in settings)
    if mode == "constant":
        inside = tuple(slice(before, before + n) for (before, _), n in zip(widths, array.shape, strict=True))
        return padding + scatter(array, inside, padding.shape)
    for axis in range(array.ndim):
        array = pad_axis(array, axis, widths[axis], mode, lengths[axis], ends[axis])
    return array


composite(np.pad, pad)
