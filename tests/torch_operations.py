"""PyTorch's operations, written in NumPy: the table behind test_against_torch_samples.

PyTorch ships sample inputs for each of its operations. Each row here takes the arguments of such a sample, under
PyTorch's names, and computes the same with NumPy's functions or with those of tinygrad_np.functional. Rows are found by
an operation's name and variant, or else by its name alone.
"""

import itertools
import math
import operator

import numpy as np

from tinygrad_np import Tensor, functional


class NoCounterpartError(Exception):
    """NumPy has the operation, but not with the arguments of this sample."""


def refuse(condition, reason):
    if condition:
        raise NoCounterpartError(reason)


NOT_COMPARED = object()
"""Stands for a result of PyTorch's that NumPy's function does not give."""


def last_two(x):
    """Swap the last two axes."""
    return np.swapaxes(x, -1, -2)


def adjoint(x):
    return np.conj(last_two(x))


def axes(x, dim):
    """PyTorch takes no axes for all of them, and a scalar for a vector of one element."""
    return None if x.ndim == 0 or dim is None or dim == () else as_axes(dim)


def as_axes(dim):
    """PyTorch takes lists of axes, NumPy tuples."""
    return tuple(dim) if isinstance(dim, list) else dim


# Element by element


def divide(x, y, rounding_mode=None):
    return {None: np.divide, "trunc": lambda x, y: np.trunc(x / y), "floor": np.floor_divide}[rounding_mode](x, y)


def logit(x, eps=None):
    x = x if eps is None else np.clip(x, eps, 1 - eps)
    return np.log(x / (1 - x))


def real_only(function):
    """NumPy's function takes no complex numbers."""

    def real(*args, **kwargs):
        refuse(any(np.iscomplexobj(arg) for arg in args), f"{function.__name__} of complex numbers")
        return function(*args, **kwargs)

    return real


ELEMENTWISE = {
    "abs": np.absolute,
    "acos": np.arccos,
    "acosh": np.arccosh,
    "add": lambda x, y, alpha=1: x + alpha * y,
    "addcdiv": lambda x, y, z, value=1: x + value * y / z,
    "addcmul": lambda x, y, z, value=1: x + value * y * z,
    "allclose": np.allclose,
    "angle": np.angle,
    "asin": np.arcsin,
    "asinh": np.arcsinh,
    "atan": np.arctan,
    "atan2": np.arctan2,
    "atanh": np.arctanh,
    "bitwise_and": np.bitwise_and,
    "bitwise_left_shift": np.left_shift,
    "bitwise_not": np.invert,
    "bitwise_or": np.bitwise_or,
    "bitwise_right_shift": np.right_shift,
    "bitwise_xor": np.bitwise_xor,
    "ceil": np.ceil,
    "clamp": lambda x, min=None, max=None: np.clip(x, min, max),
    "clamp_max": lambda x, max: np.clip(x, None, max),
    "clamp_min": lambda x, min: np.clip(x, min, None),
    "complex": lambda real, imag: real + 1j * imag,
    "conj": np.conj,
    "conj_physical": np.conj,
    "copysign": np.copysign,
    "cos": np.cos,
    "cosh": np.cosh,
    "deg2rad": np.deg2rad,
    "div": divide,
    "eq": np.equal,
    "equal": np.array_equal,
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "float_power": np.float_power,
    "floor": np.floor,
    "floor_divide": np.floor_divide,
    "fmax": np.fmax,
    "fmin": np.fmin,
    "fmod": np.fmod,
    "frac": lambda x: np.modf(x)[0],
    "gcd": np.gcd,
    "ge": np.greater_equal,
    "gt": np.greater,
    "heaviside": np.heaviside,
    "hypot": np.hypot,
    "i0": np.i0,
    "imag": np.imag,
    "isclose": np.isclose,
    "isfinite": np.isfinite,
    "isin": np.isin,
    "isinf": np.isinf,
    "isnan": np.isnan,
    "isneginf": np.isneginf,
    "isposinf": np.isposinf,
    "isreal": np.isreal,
    "lcm": np.lcm,
    "ldexp": lambda x, y: x * np.exp2(y),  # PyTorch's exponent may be a fraction
    "le": np.less_equal,
    "lerp": lambda x, end, weight: x + weight * (end - x),
    "log": np.log,
    "log10": np.log10,
    "log1p": np.log1p,
    "log2": np.log2,
    "logaddexp": real_only(np.logaddexp),
    "logaddexp2": real_only(np.logaddexp2),
    "logical_and": np.logical_and,
    "logical_not": np.logical_not,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
    "logit": logit,
    "lt": np.less,
    "max binary": np.maximum,
    "maximum": np.maximum,
    "min binary": np.minimum,
    "minimum": np.minimum,
    "mul": np.multiply,
    "nan_to_num": lambda x, nan=0.0, posinf=None, neginf=None: np.nan_to_num(
        x, nan=0.0 if nan is None else nan, posinf=posinf, neginf=neginf
    ),
    "ne": np.not_equal,
    "neg": np.negative,
    "polar": lambda absolute, angle: absolute * np.exp(1j * angle),
    "positive": np.positive,
    "pow": np.power,
    "rad2deg": np.rad2deg,
    "real": np.real,
    "reciprocal": np.reciprocal,
    "remainder": np.remainder,
    "resolve_conj": np.positive,
    "resolve_neg": np.positive,
    "round": lambda x, decimals=0: np.round(x, decimals),
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "rsub": lambda x, y, alpha=1: y - alpha * x,
    "sgn": np.sign,
    "sign": np.sign,
    "signbit": np.signbit,
    "sin": np.sin,
    "sinc": np.sinc,
    "sinh": np.sinh,
    "special.i0e": lambda x: np.exp(-np.abs(x)) * np.i0(x),
    "special.modified_bessel_i0": np.i0,
    "sqrt": np.sqrt,
    "square": np.square,
    "sub": lambda x, y, alpha=1: x - alpha * y,
    "tan": np.tan,
    "tanh": np.tanh,
    "true_divide": np.true_divide,
    "trunc": np.trunc,
    "view_as_complex": lambda x: x[..., 0] + 1j * x[..., 1],
    "view_as_real": lambda x: np.stack([x.real, x.imag], -1),
    "where": lambda x, condition, y: np.where(condition, x, y),
    "__radd__": lambda x, y: y + x,
    "__rand__": lambda x, y: y & x,
    "__rdiv__": lambda x, y: y / x,
    "__rmod__": lambda x, y: y % x,
    "__rmul__": lambda x, y: y * x,
    "__ror__": lambda x, y: y | x,
    "__rpow__": lambda x, y: y**x,
    "__rsub__": lambda x, y: y - x,
    "__rxor__": lambda x, y: y ^ x,
}

# Reductions and scans


def reduction(function):
    """A reduction with PyTorch's names for its arguments."""

    def reduce(x, dim=None, keepdim=False, dtype=None):
        x = x if dtype is None else x.astype(dtype)
        return function(x, axis=axes(x, dim), keepdims=keepdim)

    return reduce


def masked(function, **more):
    def reduce(x, dim=None, keepdim=False, dtype=None, mask=None):
        x = x if dtype is None else x.astype(dtype)
        where = True if mask is None else np.broadcast_to(mask, x.shape)
        return function(x, axis=axes(x, dim), keepdims=keepdim, where=where, **more)

    return reduce


def masked_spread(function):
    def reduce(x, dim=None, unbiased=None, correction=None, keepdim=False, dtype=None, mask=None):
        return masked(function, ddof=ddof(unbiased, correction))(x, dim, keepdim, dtype, mask)

    return reduce


def ddof(unbiased, correction):
    """PyTorch divides by the number of elements minus 1 unless told otherwise."""
    return correction if correction is not None else int(unbiased is None or unbiased)


def spread(function):
    """The variance or the standard deviation."""

    def reduce(x, dim=None, unbiased=None, correction=None, keepdim=False):
        if isinstance(dim, bool):  # var(unbiased) takes no axes
            dim, unbiased = None, dim
        return function(x, axis=axes(x, dim), ddof=ddof(unbiased, correction), keepdims=keepdim)

    return reduce


def with_mean(function):
    def both(x, dim=None, unbiased=None, correction=None, keepdim=False):
        axis = None if isinstance(dim, bool) else axes(x, dim)
        return spread(function)(x, dim, unbiased, correction, keepdim), np.mean(x, axis=axis, keepdims=keepdim)

    return both


def extreme(function, arg):
    """The extreme and its place. Along an axis, PyTorch gives the whole gradient to the first of equal elements."""

    def along(x, dim=None, keepdim=False):
        if dim is None:
            return function(x)
        return at(x, arg(x, axis=dim, keepdims=True) if x.ndim else np.zeros((), int), dim, keepdim)

    return along


def at(x, places, axis, keepdims):
    if x.ndim == 0:
        return x, places
    values = np.take_along_axis(x, places, axis)
    return (values, places) if keepdims else (np.squeeze(values, axis), np.squeeze(places, axis))


def lower_median(x, dim=None, keepdim=False):
    """PyTorch's median is an element, the lower one of two in the middle."""
    value = np.quantile(x, 0.5, axis=axes(x, dim), method="lower", keepdims=keepdim)
    return value if dim is None else (value, NOT_COMPARED)


def quantile(x, q, dim=None, keepdim=False, interpolation="linear"):
    refuse(isinstance(q, Tensor), "the derivative with respect to q")
    return np.quantile(x, q, axis=axes(x, dim), method=interpolation, keepdims=keepdim)


def ordered(x, dim=-1, descending=False, stable=False):
    if x.ndim == 0:
        return x, NOT_COMPARED
    values = np.sort(x, axis=dim)
    return np.flip(values, dim) if descending else values, NOT_COMPARED


def topk(x, k, dim=-1, largest=True, sorted=True):
    refuse(not sorted, "elements in no order")
    return np.take(ordered(x, dim, largest)[0], np.arange(k), dim) if x.ndim else x, NOT_COMPARED


def kthvalue(x, k, dim=-1, keepdim=False):
    if x.ndim == 0:
        return x, NOT_COMPARED
    value = np.take(np.partition(x, k - 1, axis=dim), [k - 1], dim)
    return value if keepdim else np.squeeze(value, dim), NOT_COMPARED


def cumulative(function):
    def scan(x, dim, dtype=None):
        return function(x, axis=dim if x.ndim else None, dtype=dtype).reshape(x.shape)

    return scan


def trapezoid(y, x=None, dx=1.0, dim=-1):
    return np.trapezoid(y, x, dx, dim)


def cumulative_trapezoid(y, x=None, dx=1.0, dim=-1):
    if x is not None:
        dx = np.diff(x, axis=-1 if x.ndim == 1 else dim)
        dx = np.reshape(dx, dx.shape + (1,) * (-1 - dim % -y.ndim if dx.ndim == 1 else 0))
    y = np.moveaxis(y, dim, -1)
    dx = np.moveaxis(dx, dim, -1) if np.ndim(dx) == y.ndim else dx
    return np.moveaxis(np.cumsum(dx * (y[..., 1:] + y[..., :-1]) / 2, -1), -1, dim)


def gradient(x, spacing=None, dim=None, edge_order=1):
    spacings = spacing if isinstance(spacing, (list, tuple)) else [1 if spacing is None else spacing]
    return np.gradient(x, *spacings, axis=dim, edge_order=edge_order)


def cov(x, correction=1, fweights=None, aweights=None):
    refuse(fweights is not None or aweights is not None, "weights of the observations")
    return np.cov(x, ddof=correction)


def typed(function):
    return lambda x, dim=-1, dtype=None: function(x if dtype is None else x.astype(dtype), dim)


def softmin(x, axis):
    return functional.softmax(-x, axis)


def masked_out(function, value):
    """What is masked out counts as a value that changes nothing."""

    def call(x, *args, mask=None, **kwargs):
        return function(x if mask is None else np.where(mask, x, value), *args, **kwargs)

    return call


def logsumexp(x, dim=None, keepdim=False, dtype=None):
    return real_only(functional.logsumexp)(x if dtype is None else x.astype(dtype), axes(x, dim), keepdim)


REDUCTIONS = {
    "argsort": lambda x, dim=-1, descending=False, stable=False: np.argsort(
        -x if descending else x, axis=axes(x, dim), stable=True
    ).reshape(x.shape),
    "bincount": lambda x, weights=None, minlength=0: np.bincount(x, weights, minlength),
    "all": reduction(np.all),
    "amax": reduction(np.max),
    "amin": reduction(np.min),
    "aminmax": lambda x, dim=None, keepdim=False: (
        np.min(x, axis=axes(x, dim), keepdims=keepdim),
        np.max(x, axis=axes(x, dim), keepdims=keepdim),
    ),
    "any": reduction(np.any),
    "argmax": reduction(np.argmax),
    "argmin": reduction(np.argmin),
    "corrcoef": np.corrcoef,
    "count_nonzero": reduction(np.count_nonzero),
    "cov": cov,
    "cumprod": cumulative(np.cumprod),
    "cumsum": cumulative(np.cumsum),
    "cumulative_trapezoid": cumulative_trapezoid,
    "diff": lambda x, n=1, dim=-1, prepend=None, append=None: np.diff(
        x, n, dim, **{name: y for name, y in (("prepend", prepend), ("append", append)) if y is not None}
    ),
    "gradient": gradient,
    "kthvalue": kthvalue,
    "logsumexp": logsumexp,
    "masked.amax": masked(np.max, initial=-np.inf),
    "masked.amin": masked(np.min, initial=np.inf),
    "masked.cumprod": masked_out(cumulative(np.cumprod), 1),
    "masked.cumsum": masked_out(cumulative(np.cumsum), 0),
    "masked.log_softmax": masked_out(typed(functional.log_softmax), -np.inf),
    "masked.logsumexp": masked_out(logsumexp, -np.inf),
    "masked.mean": masked(np.mean),
    "masked.prod": masked(np.prod),
    "masked.softmax": masked_out(typed(functional.softmax), -np.inf),
    "masked.softmin": masked_out(typed(softmin), np.inf),
    "masked.std": masked_spread(np.std),
    "masked.sum": masked(np.sum),
    "masked.var": masked_spread(np.var),
    "max": extreme(np.max, np.argmax),
    "mean": reduction(np.mean),
    "median": lower_median,
    "min": extreme(np.min, np.argmin),
    "msort": lambda x: np.sort(x, axis=0),
    "nanmean": reduction(np.nanmean),
    "nansum": reduction(np.nansum),
    "prod": reduction(np.prod),
    "quantile": quantile,
    "sort": ordered,
    "std": spread(np.std),
    "std_mean": with_mean(np.std),
    "sum": reduction(np.sum),
    "topk": topk,
    "trapezoid": trapezoid,
    "trapz": trapezoid,
    "var": spread(np.var),
    "var_mean": with_mean(np.var),
}

# Shapes


def expand(x, shape):
    """A length of -1 stays as it is."""
    new = len(shape) - x.ndim
    return np.broadcast_to(x, [x.shape[i - new] if n == -1 else n for i, n in enumerate(shape)])


def split(x, sizes, dim=0):
    """The parts have a size, the last one what remains; or they have sizes of their own."""
    n = x.shape[dim]
    return np.split(x, range(sizes, n, sizes) if isinstance(sizes, int) else np.cumsum(sizes)[:-1], axis=dim)


def chunk(x, chunks, dim=0):
    return split(x, math.ceil(x.shape[dim] / chunks), dim)


def squeeze(x, dim=None):
    """An axis whose length is not 1 stays."""
    axes = range(x.ndim) if dim is None else (dim,) if isinstance(dim, int) else dim
    return np.squeeze(x, tuple(axis for axis in axes if x.ndim and x.shape[axis] == 1))


def flatten(x, start_dim=0, end_dim=-1):
    if x.ndim == 0:
        return np.reshape(x, 1)
    start, end = start_dim % x.ndim, end_dim % x.ndim + 1
    return np.reshape(x, (*x.shape[:start], -1, *x.shape[end:]))


def unflatten(x, dim, sizes):
    dim = dim % x.ndim
    return np.reshape(x, (*x.shape[:dim], *sizes, *x.shape[dim + 1 :]))


def unfold(x, dim, size, step):
    if x.ndim == 0:
        return np.reshape(x, 1)[:size]
    windows = np.lib.stride_tricks.sliding_window_view(x, size, axis=dim)
    return windows[(slice(None),) * (dim % x.ndim) + (slice(None, None, step),)]


def diagonal_scatter(x, source, offset=0, dim1=0, dim2=1):
    moved = np.moveaxis(x, (dim1, dim2), (0, 1))
    n, m = moved.shape[:2]
    places = np.arange(max(min(n + min(offset, 0), m - max(offset, 0)), 0))
    out = assigned(moved, (places - min(offset, 0), places + max(offset, 0)), np.moveaxis(source, -1, 0))
    return np.moveaxis(out, (0, 1), (dim1, dim2))


def diag_embed(x, offset=0, dim1=-2, dim2=-1):
    n = x.shape[-1] + abs(offset)
    rows, columns = np.arange(x.shape[-1]) + max(-offset, 0), np.arange(x.shape[-1]) + max(offset, 0)
    ones = np.zeros((x.shape[-1], n, n))
    ones[np.arange(x.shape[-1]), rows, columns] = 1
    return np.moveaxis(np.tensordot(x, ones, 1), (-2, -1), (dim1, dim2))


def pad(x, pad, mode="constant", value=None):
    """PyTorch's widths start with the last axis, and negative ones cut off."""
    refuse(min(pad, default=0) < 0, "negative widths")
    widths = [(0, 0)] * (x.ndim - len(pad) // 2) + list(zip(pad[::2], pad[1::2], strict=True))[::-1]
    mode = {"replicate": "edge", "circular": "wrap"}.get(mode, mode)
    return np.pad(x, widths, mode, **({"constant_values": value or 0} if mode == "constant" else {}))


def block_diag(*blocks):
    """Blocks of fewer axes are rows."""
    blocks = [np.atleast_2d(block) for block in blocks]
    return np.block(
        [[x if i == j else np.zeros((len(x), y.shape[1])) for j, y in enumerate(blocks)] for i, x in enumerate(blocks)]
    )


def cartesian_prod(*vectors):
    grids = np.meshgrid(*vectors, indexing="ij")
    return np.stack([np.ravel(grid) for grid in grids], -1) if len(vectors) > 1 else vectors[0]


def combinations(x, r=2, with_replacement=False):
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    return x[np.array(list(choose(range(len(x)), r)), int).reshape(-1, r)]


def repeat_interleave(x, repeats, dim=None, output_size=None):
    return np.repeat(x, repeats, axis=dim)


def pixel_shuffle(x, upscale_factor):
    r = upscale_factor
    *batch, c, h, w = x.shape
    x = np.reshape(x, (*batch, c // (r * r), r, r, h, w))
    n = len(batch)
    x = np.transpose(x, (*range(n), n, n + 3, n + 1, n + 4, n + 2))
    return np.reshape(x, (*batch, c // (r * r), h * r, w * r))


def pixel_unshuffle(x, downscale_factor):
    r = downscale_factor
    *batch, c, h, w = x.shape
    x = np.reshape(x, (*batch, c, h // r, r, w // r, r))
    n = len(batch)
    x = np.transpose(x, (*range(n), n, n + 2, n + 4, n + 1, n + 3))
    return np.reshape(x, (*batch, c * r * r, h // r, w // r))


def channel_shuffle(x, groups):
    n, c, *rest = x.shape
    return np.reshape(np.swapaxes(np.reshape(x, (n, groups, c // groups, *rest)), 1, 2), x.shape)


def each(function):
    """A function of one array or of a list."""
    return lambda x: function(*x) if isinstance(x, (list, tuple)) else function(x)


def cat(arrays, dim=0):
    refuse(any(x.shape == (0,) and arrays[-1].ndim > 1 for x in arrays), "empty vectors between matrices")
    return np.concatenate(arrays, dim)


def swap(x, dim0, dim1):
    return np.swapaxes(x, dim0, dim1) if x.ndim else x


def lengths(function):
    """A function of a shape, which may be given as a tuple or one by one."""

    def call(x, *shape):
        return function(x, shape[0] if len(shape) == 1 and isinstance(shape[0], tuple) else shape)

    return call


SHAPES = {
    "atleast_1d": each(np.atleast_1d),
    "atleast_2d": each(np.atleast_2d),
    "atleast_3d": each(np.atleast_3d),
    "block_diag": block_diag,
    "broadcast_tensors": np.broadcast_arrays,
    "broadcast_to": np.broadcast_to,
    "cartesian_prod": cartesian_prod,
    "cat": cat,
    "chunk": chunk,
    "clone": lambda x, memory_format=None: np.copy(x),
    "column_stack": np.column_stack,
    "combinations": combinations,
    "constant_pad_nd": lambda x, widths, value=0: pad(x, widths, value=value),
    "contiguous": lambda x, memory_format=None: np.copy(x),
    "diag": lambda x, diagonal=0: np.diag(x, diagonal),
    "diag_embed": diag_embed,
    "diagflat": lambda x, offset=0: np.diagflat(x, offset),
    "diagonal": lambda x, offset=0, dim1=0, dim2=1: np.diagonal(x, offset, dim1, dim2),
    "diagonal_copy": lambda x, offset=0, dim1=0, dim2=1: np.diagonal(x, offset, dim1, dim2),
    "diagonal_scatter": diagonal_scatter,
    "dsplit": np.dsplit,
    "dstack": np.dstack,
    "expand": lengths(expand),
    "expand_as": lambda x, other: np.broadcast_to(x, other.shape),
    "expand_copy": lengths(expand),
    "flatten": flatten,
    "flip": lambda x, dims: np.flip(x, dims),
    "fliplr": np.fliplr,
    "flipud": np.flipud,
    "H": adjoint,
    "hsplit": np.hsplit,
    "hstack": np.hstack,
    "linalg.diagonal": lambda x, offset=0, dim1=-2, dim2=-1: np.diagonal(x, offset, dim1, dim2),
    "meshgrid": lambda *arrays, indexing="ij": np.meshgrid(
        *(arrays[0] if isinstance(arrays[0], (list, tuple)) else arrays), indexing=indexing
    ),
    "mH": adjoint,
    "movedim": np.moveaxis,
    "mT": np.matrix_transpose,
    "nn.functional.channel_shuffle": channel_shuffle,
    "nn.functional.pad": pad,
    "nn.functional.pixel_shuffle": pixel_shuffle,
    "nn.functional.pixel_unshuffle": pixel_unshuffle,
    "permute": np.transpose,
    "permute_copy": np.transpose,
    "ravel": np.ravel,
    "repeat": lengths(lambda x, repeats: np.tile(x, repeats)),
    "repeat_interleave": repeat_interleave,
    "reshape": np.reshape,
    "reshape_as": lambda x, other: np.reshape(x, other.shape),
    "roll": lambda x, shifts, dims=None: np.roll(x, shifts, axes(x, dims)),
    "rot90": lambda x, k=1, dims=(0, 1): np.rot90(x, k, dims),
    "split": split,
    "split_with_sizes": split,
    "split_with_sizes_copy": split,
    "squeeze": squeeze,
    "squeeze_copy": squeeze,
    "stack": lambda arrays, dim=0: np.stack(arrays, dim),
    "t": np.transpose,
    "t_copy": np.transpose,
    "T": np.transpose,
    "tensor_split": lambda x, where, dim=0: np.array_split(x, where, dim),
    "tile": lengths(lambda x, repeats: np.tile(x, repeats)),
    "transpose": swap,
    "transpose_copy": swap,
    "tril": lambda x, diagonal=0: np.tril(x, diagonal),
    "triu": lambda x, diagonal=0: np.triu(x, diagonal),
    "unbind": lambda x, dim=0: np.unstack(x, axis=dim),
    "unbind_copy": lambda x, dim=0: np.unstack(x, axis=dim),
    "unflatten": unflatten,
    "unfold": unfold,
    "unfold_copy": unfold,
    "unsafe_chunk": chunk,
    "unsafe_split": split,
    "unsqueeze": lambda x, dim: np.expand_dims(x, dim),
    "unsqueeze_copy": lambda x, dim: np.expand_dims(x, dim),
    "view": np.reshape,
    "view_as": lambda x, other: np.reshape(x, other.shape),
    "view_copy": np.reshape,
    "vsplit": np.vsplit,
    "vstack": np.vstack,
}

# Indices


def along(index, dim, x):
    """An index that picks `index` along one axis, and itself along the others."""
    places = list(np.indices(index.shape, sparse=True))
    places[dim] = index
    return tuple(places)


def gather(x, dim, index, sparse_grad=False):
    if index.size == 0:
        return np.zeros(index.shape)
    if x.ndim == 0:
        return np.reshape(np.reshape(x, 1)[index], index.shape)
    return x[along(np.reshape(index, index.shape or (1,)), dim, x)]


def assigned(x, index, value):
    """A copy with some elements replaced, recorded as an assignment."""
    out = np.copy(x)
    out[index] = value
    return out


def axis_index(dim, index):
    """The index along one axis, all of the others."""
    return (slice(None),) * dim + (index,)


def on_axis(function):
    """Let `function(x, index)` work on the axis `dim`; a scalar is a vector of one element."""

    def call(x, dim, *args):
        if x.ndim == 0:
            return np.reshape(function(np.reshape(x, 1), 0, *args), x.shape)
        return function(x, dim % x.ndim, *args)

    return call


def index_copy(x, dim, index, source):
    return assigned(x, axis_index(dim, index), source)


def scatter(x, dim, index, source=None, value=None, reduce=None):
    refuse(reduce is not None, "scatter with a reduction")
    if index.size == 0:
        return np.copy(x)
    if x.ndim == 0:
        return np.full_like(x, source)
    place = along(index, dim, x)
    if source is None or np.ndim(source) == 0:
        return assigned(x, place, value if source is None else source)
    return assigned(x, place, source[tuple(map(slice, index.shape))])


def index_put(x, indices, values, accumulate=False):
    refuse(accumulate, "an assignment that adds up")
    return assigned(x, tuple(indices), values)


def select(x, dim, index):
    return x[axis_index(dim % x.ndim, index)]


def slice_along(x, dim=0, start=None, end=None, step=1):
    return x[axis_index(dim % x.ndim, slice(start, end, step))]


def narrow(x, dim, start, length):
    start = int(start) % x.shape[dim]
    return slice_along(x, dim, start, start + length)


def take_along_dim(x, indices, dim=None):
    if dim is None:
        return np.take(np.ravel(x), np.ravel(indices))
    shape = np.broadcast_shapes(*([1 if i == dim % x.ndim else n for i, n in enumerate(y.shape)] for y in (x, indices)))

    def spread(y):
        return np.broadcast_to(y, [y.shape[i] if i == dim % x.ndim else n for i, n in enumerate(shape)])

    return np.take_along_axis(spread(x), spread(indices), dim)


INDICES = {
    "__getitem__": operator.getitem,
    "argwhere": np.argwhere,
    "bucketize": lambda x, boundaries, right=False, out_int32=False: np.searchsorted(
        boundaries, x, side="right" if right else "left"
    ),
    "gather": gather,
    "index_copy": on_axis(index_copy),
    "index_fill": on_axis(index_copy),
    "index_put": index_put,
    "index_select": on_axis(lambda x, dim, index: np.take(x, index, dim)),
    "masked_fill": lambda x, mask, value: np.where(mask, value, x),
    "masked_select": lambda x, mask: np.broadcast_arrays(x, mask)[0][
        np.broadcast_to(mask, np.broadcast_shapes(x.shape, mask.shape))
    ],
    "narrow": narrow,
    "narrow_copy": narrow,
    "nonzero": lambda x, as_tuple=False: np.nonzero(np.atleast_1d(x)) if as_tuple else np.argwhere(x),
    "put": lambda x, index, source, accumulate=False: np.reshape(
        index_put(np.ravel(x), [np.ravel(index)], np.ravel(source), accumulate), x.shape
    ),
    "scatter": scatter,
    "select": select,
    "select_scatter": lambda x, source, dim, index: assigned(x, axis_index(dim % x.ndim, index), source),
    "slice": slice_along,
    "slice_scatter": lambda x, source, dim=0, start=None, end=None, step=1: assigned(
        x, axis_index(dim % x.ndim, slice(start, end, step)), source
    ),
    "take": lambda x, index: np.take(x, index),
    "take_along_dim": take_along_dim,
    "tril_indices": lambda row, col, offset=0, dtype=None, device=None: np.stack(np.tril_indices(row, offset, col)),
    "triu_indices": lambda row, col, offset=0, dtype=None, device=None: np.stack(np.triu_indices(row, offset, col)),
    "unravel_index": np.unravel_index,
}

# Products and Fourier transforms


def fourier(function):
    """A transform along one axis."""
    return lambda x, n=None, dim=-1, norm=None: function(x, n, dim, norm)


def fourier_of_two(function):
    return lambda x, s=None, dim=(-2, -1), norm=None: function(x, s, sequence(dim), norm)


def fourier_of_all(function):
    """A transform of all axes, or of the last ones for which lengths are given."""

    def transform(x, s=None, dim=None, norm=None):
        dim = dim if s is None or dim is not None else tuple(range(-len(s), 0))
        return function(x, s, sequence(dim), norm)

    return transform


def sequence(dim):
    return (dim,) if isinstance(dim, int) else dim


def cross(x, y, dim=None):
    """By default along the first axis of length 3."""
    return np.cross(x, y, axis=x.shape.index(3) if dim is None else dim)


def einsum(operands, equation):
    terms, _, result = equation.partition("->")
    refuse(result and "..." in terms and "..." not in result, "axes of the dots to sum over")
    return np.einsum(equation, *operands)


def tensordot(x, y, dims=2):
    if not isinstance(dims, int):
        pairs = zip(*dims, strict=True)
        refuse(any(x.shape[i] != y.shape[j] for i, j in pairs), "contracted axes that broadcast")
    return np.tensordot(x, y, dims)


PRODUCTS = {
    "__rmatmul__": lambda x, y: y @ x,
    "addbmm": lambda x, a, b, beta=1, alpha=1: beta * x + alpha * np.sum(a @ b, axis=0),
    "addmm": lambda x, a, b, beta=1, alpha=1: beta * x + alpha * (a @ b),
    "addmv": lambda x, a, b, beta=1, alpha=1: beta * x + alpha * (a @ b),
    "addr": lambda x, a, b, beta=1, alpha=1: beta * x + alpha * np.outer(a, b),
    "baddbmm": lambda x, a, b, beta=1, alpha=1: beta * x + alpha * (a @ b),
    "bmm": np.matmul,
    "cross": cross,
    "dot": np.dot,
    "einsum": einsum,
    "fft.fft": fourier(np.fft.fft),
    "fft.fft2": fourier_of_two(np.fft.fft2),
    "fft.fftn": fourier_of_all(np.fft.fftn),
    "fft.fftshift": lambda x, dim=None: np.fft.fftshift(x, dim),
    "fft.hfft": fourier(np.fft.hfft),
    "fft.ifft": fourier(np.fft.ifft),
    "fft.ifft2": fourier_of_two(np.fft.ifft2),
    "fft.ifftn": fourier_of_all(np.fft.ifftn),
    "fft.ifftshift": lambda x, dim=None: np.fft.ifftshift(x, dim),
    "fft.ihfft": fourier(np.fft.ihfft),
    "fft.irfft": fourier(np.fft.irfft),
    "fft.irfft2": fourier_of_two(np.fft.irfft2),
    "fft.irfftn": fourier_of_all(np.fft.irfftn),
    "fft.rfft": fourier(np.fft.rfft),
    "fft.rfft2": fourier_of_two(np.fft.rfft2),
    "fft.rfftn": fourier_of_all(np.fft.rfftn),
    "inner": np.inner,
    "kron": np.kron,
    "linalg.cross": lambda x, y, dim=-1: np.linalg.cross(x, y, axis=dim),
    "linalg.multi_dot": np.linalg.multi_dot,
    "linalg.vecdot": lambda x, y, dim=-1: np.linalg.vecdot(x, y, axis=dim),
    "matmul": np.matmul,
    "mm": np.matmul,
    "mv": np.matmul,
    "outer": np.outer,
    "tensordot": tensordot,
    "trace": np.trace,
    "vdot": np.vdot,
}

# Linear algebra. The samples' matrices are made Hermitian or triangular within the function, as PyTorch's tests do:
# what the derivatives are off the space of such matrices is a convention.


def of_hermitian(function):
    return lambda a, *args, **kwargs: function(a + adjoint(a), *args, **kwargs)


def norm(x, ord=None, dim=None, keepdim=False, dtype=None):
    x = x if dtype is None else x.astype(dtype)
    if ord is None:
        return np.linalg.vector_norm(x, axis=dim, keepdims=keepdim)
    return np.linalg.norm(x, ord, dim, keepdim)


def vector_norm(x, ord=2, dim=None, keepdim=False, dtype=None):
    x = x if dtype is None else x.astype(dtype)
    return np.linalg.vector_norm(x, axis=axes(x, dim), keepdims=keepdim, ord=ord)


def matrix_norm(x, ord="fro", dim=(-2, -1), keepdim=False, dtype=None):
    x = x if dtype is None else x.astype(dtype)
    return np.linalg.norm(x, ord, dim, keepdim)


def old_norm(x, p="fro", dim=None, keepdim=False, dtype=None):
    """torch.norm: of vectors, over any axes, unless p names a norm of matrices."""
    if p == "nuc":
        return np.linalg.norm(x, "nuc", (-2, -1) if dim is None else as_axes(dim), keepdim)
    return vector_norm(x, 2 if p in ("fro", None) else p, dim, keepdim, dtype)


def solve(a, b, left=True):
    if b.ndim == 1 or (b.ndim == a.ndim - 1 and b.shape == a.shape[:-1]):
        return np.linalg.solve(a, b[..., None])[..., 0]
    return np.linalg.solve(a, b) if left else last_two(np.linalg.solve(last_two(a), last_two(b)))


def triangle(a, upper, unitriangular=False):
    a = np.triu(a) if upper else np.tril(a)
    eye = np.eye(a.shape[-1])
    return a * (1 - eye) + eye if unitriangular else a


def solve_triangular(a, b, upper, left=True, unitriangular=False):
    return solve(triangle(a, upper, unitriangular), b, left)


def triangular_solve(b, a, upper=False, transpose=False, unitriangular=False):
    a = triangle(a, upper, unitriangular)
    return np.linalg.solve(last_two(a) if transpose else a, b), NOT_COMPARED


def from_factor(factor, upper):
    factor = np.triu(factor) if upper else np.tril(factor)
    return adjoint(factor) @ factor if upper else factor @ adjoint(factor)


def cholesky_inverse(factor, upper=False):
    eye = np.eye(factor.shape[-1])
    return np.linalg.inv(from_factor(factor * (1 - eye) + eye, upper))


def logdet(a):
    sign, logarithm = np.linalg.slogdet(a)
    return logarithm + np.log(sign)


def svd(a, full_matrices=True):
    u, s, vh = np.linalg.svd(a, full_matrices)
    return u, s, vh


def old_svd(a, some=True, compute_uv=True):
    refuse(not compute_uv, "zeros instead of the vectors")
    u, s, vh = np.linalg.svd(a, not some)
    return u, s, adjoint(vh)


def lstsq(a, b, driver=None):
    refuse(a.ndim != 2, "stacks of matrices")
    return np.linalg.lstsq(a, b)[0], NOT_COMPARED, NOT_COMPARED, NOT_COMPARED


def pinv(a, atol=None, rtol=None, hermitian=False):
    refuse(atol is not None, "an absolute tolerance")
    return np.linalg.pinv(a, rtol=rtol, hermitian=hermitian)


def qr(a, mode="reduced"):
    return (NOT_COMPARED, np.linalg.qr(a, "r")) if mode == "r" else np.linalg.qr(a, mode)


LINALG = {
    "cdist": lambda x, y, p=2.0, compute_mode=None: np.linalg.norm(
        x[..., :, None, :] - y[..., None, :, :], ord=p, axis=-1
    ),
    "cholesky": of_hermitian(lambda a, upper=False: np.linalg.cholesky(a, upper=upper)),
    "cholesky_inverse": cholesky_inverse,
    "cholesky_solve": lambda b, factor, upper=False: np.linalg.solve(from_factor(factor, upper), b),
    "dist": lambda x, y, p=2: np.linalg.vector_norm(x - y, ord=p),
    "linalg.cholesky": of_hermitian(lambda a, upper=False: np.linalg.cholesky(a, upper=upper)),
    "linalg.cholesky_ex": of_hermitian(
        lambda a, upper=False, check_errors=False: (np.linalg.cholesky(a, upper=upper), NOT_COMPARED)
    ),
    "linalg.cond": lambda a, p=None: np.linalg.cond(a, p),
    "linalg.det": np.linalg.det,
    "linalg.eig": np.linalg.eig,
    "linalg.eigh": of_hermitian(lambda a, UPLO="L": np.linalg.eigh(a, UPLO)),  # noqa: N803
    "linalg.eigvals": np.linalg.eigvals,
    "linalg.eigvalsh": of_hermitian(lambda a, UPLO="L": np.linalg.eigvalsh(a, UPLO)),  # noqa: N803
    "linalg.inv": np.linalg.inv,
    "linalg.inv_ex": lambda a, check_errors=False: (np.linalg.inv(a), NOT_COMPARED),
    "linalg.lstsq": lstsq,
    "linalg.lstsq grad_oriented": lambda a, b, driver: lstsq(a, b)[:2],
    "linalg.matrix_norm": matrix_norm,
    "linalg.matrix_power": np.linalg.matrix_power,
    "linalg.norm": norm,
    "linalg.norm subgradients_at_zero": norm,
    "linalg.pinv": pinv,
    "linalg.pinv hermitian": of_hermitian(pinv),
    "linalg.pinv singular": lambda a, b: np.linalg.pinv(a @ last_two(b)),
    "linalg.qr": qr,
    "linalg.slogdet": np.linalg.slogdet,
    "linalg.solve": solve,
    "linalg.solve_ex": lambda a, b, left=True, check_errors=False: (solve(a, b, left), NOT_COMPARED),
    "linalg.solve_triangular": solve_triangular,
    "linalg.svd": svd,
    "linalg.svdvals": np.linalg.svdvals,
    "linalg.tensorinv": lambda a, ind=2: np.linalg.tensorinv(a, ind),
    "linalg.tensorsolve": lambda a, b, dims=None: np.linalg.tensorsolve(a, b, dims),
    "linalg.vander": lambda x, N=None: (  # noqa: N803
        np.vander(x, N, increasing=True) if x.ndim == 1 else refuse(True, "stacks of vectors")
    ),
    "linalg.vector_norm": vector_norm,
    "logdet": logdet,
    "norm": old_norm,
    "norm fro": old_norm,
    "norm inf": old_norm,
    "norm nuc": old_norm,
    "pinverse": lambda a, rcond=1e-15: np.linalg.pinv(a, rcond),
    "qr": lambda a, some=True: np.linalg.qr(a, "reduced" if some else "complete"),
    "svd": old_svd,
    "triangular_solve": triangular_solve,
}

# Networks


def reduced(values, reduction="mean"):
    return {"mean": np.mean, "sum": np.sum, "none": lambda x: x}[reduction](values)


def cross_entropy(logits, target, weight=None, reduction="mean", ignore_index=-100, label_smoothing=0.0):
    refuse(logits.ndim != 2 or logits.size == 0, "other shapes than (N, C)")
    options = {"ignore_index": ignore_index} if target.ndim == 1 else {}
    return functional.cross_entropy(logits, target, label_smoothing, weight=weight, reduction=reduction, **options)


def nll_loss(logits, target, weight=None, reduction="mean", ignore_index=-100):
    refuse(logits.ndim != 2 or logits.size == 0, "other shapes than (N, C)")
    return functional.nll_loss(logits, target, weight=weight, reduction=reduction, ignore_index=ignore_index)


def batch_norm(x, mean, variance, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    refuse(x.ndim != 2, "other shapes than (N, features)")
    refuse(mean is None, "no running statistics")
    mean, variance = np.array(mean), np.array(variance)
    return functional.batch_norm(x, mean, variance, weight, bias, training, momentum, eps)


def convolution(axes):
    """A convolution as a product of all windows of the input with the weights."""

    def convolve(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        def per_axis(n):
            return (n,) * axes if isinstance(n, int) else tuple(n) * (axes // len(n))

        stride, dilation, kernel = per_axis(stride), per_axis(dilation), weight.shape[2:]
        spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
        if isinstance(padding, str):
            both = [span - 1 if padding == "same" else 0 for span in spans]
            widths = [(n // 2, n - n // 2) for n in both]
        else:
            widths = [(n, n) for n in per_axis(padding)]
        batch = x if x.ndim == axes + 2 else x[None]
        batch = np.pad(batch, [(0, 0), (0, 0), *widths])
        windows = np.lib.stride_tricks.sliding_window_view(batch, spans, axis=tuple(range(2, 2 + axes)))
        windows = windows[(..., *(slice(None, None, s) for s in stride), *(slice(None, None, d) for d in dilation))]
        n, c, *rest = windows.shape
        windows = np.reshape(windows, (n, groups, c // groups, *rest))
        weight = np.reshape(weight, (groups, len(weight) // groups, *weight.shape[1:]))
        out, taps = "uvw"[:axes], "xyz"[:axes]
        y = np.einsum(f"ngc{out}{taps},goc{taps}->ngo{out}", windows, weight)
        y = np.reshape(y, (n, -1, *y.shape[3:]))
        y = y if bias is None else y + np.reshape(bias, (-1,) + (1,) * axes)
        return y if x.ndim == axes + 2 else y[0]

    return convolve


def of_images(function):
    """With PyTorch's single images, of three axes."""

    def call(x, *args, **kwargs):
        return function(x, *args, **kwargs) if x.ndim == 4 else function(x[None], *args, **kwargs)[0]

    return call


def max_pool2d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    refuse(ceil_mode or return_indices, "windows over the edge, or places")
    return functional.max_pool2d(x, kernel_size, stride, padding, dilation)


def embedding(weight, indices, padding_idx=None, max_norm=None, norm_type=2.0, scale_grad_by_freq=False, sparse=False):
    refuse(max_norm is not None or scale_grad_by_freq, "options for training")
    return functional.embedding(indices, weight, padding_idx)


def avg_pool(axes):
    def pool(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
        refuse(ceil_mode or not count_include_pad or divisor_override, "windows over the edge")
        if axes == 2:
            return of_images(functional.avg_pool2d)(x, kernel_size, stride or kernel_size, padding)

        def per_axis(n):
            return (n,) * axes if isinstance(n, int) else tuple(n) * (axes // len(n))

        kernel, stride = per_axis(kernel_size), per_axis(stride or kernel_size)
        x = np.pad(x, [(0, 0)] * (x.ndim - axes) + [(n, n) for n in per_axis(padding)])
        windows = np.lib.stride_tricks.sliding_window_view(x, kernel, axis=tuple(range(-axes, 0)))
        steps = tuple(slice(None, None, s) for s in stride)
        return np.mean(windows[(..., *steps, *(slice(None),) * axes)], axis=tuple(range(-axes, 0)))

    return pool


def group_norm(x, num_groups, weight=None, bias=None, eps=1e-5):
    groups = np.reshape(x, (len(x), num_groups, math.prod(x.shape[1:]) // num_groups))
    deviation = groups - np.mean(groups, axis=-1, keepdims=True)
    x = np.reshape(deviation / np.sqrt(np.mean(deviation**2, axis=-1, keepdims=True) + eps), x.shape)
    shape = (-1,) + (1,) * (x.ndim - 2)
    x = x if weight is None else x * np.reshape(weight, shape)
    return x if bias is None else x + np.reshape(bias, shape)


def instance_norm(x, running_mean=None, running_var=None, weight=None, bias=None, eps=1e-5, momentum=0.1, **options):
    return group_norm(x, x.shape[1], weight, bias, eps)


def binary_cross_entropy(x, target, weight=None, reduction="mean"):
    """PyTorch's logarithms are at least -100."""
    losses = -(target * np.maximum(np.log(x), -100) + (1 - target) * np.maximum(np.log(1 - x), -100))
    return reduced(losses if weight is None else losses * weight, reduction)


def rms_norm(x, normalized_shape, weight=None, eps=None):
    axes = tuple(range(-len(normalized_shape), 0))
    eps = np.finfo(x.dtype).eps if eps is None else eps
    x = x / np.sqrt(np.mean(x * x, axis=axes, keepdims=True) + eps)
    return x if weight is None else x * weight


def cosine_similarity(x, y, dim=1, eps=1e-8):
    x, y = np.broadcast_arrays(x, y)
    norms = [np.maximum(np.linalg.vector_norm(z, axis=axes(z, dim), keepdims=True), eps) for z in (x, y)]
    return np.sum(x / norms[0] * (y / norms[1]), axis=dim)


def attention(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, enable_gqa=False, scale=None):
    refuse(dropout_p > 0, "random numbers")
    refuse(enable_gqa, "shared heads")
    scores = query @ last_two(key) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        attn_mask = np.tri(*scores.shape[-2:], dtype=bool)
    if attn_mask is not None:
        scores = np.where(attn_mask, scores, -np.inf) if attn_mask.dtype == bool else scores + attn_mask
    return functional.softmax(scores) @ value


def kl_div(x, target, reduction="mean", log_target=False):
    refuse(not log_target, "a target that may be zero")
    losses = np.exp(target) * (target - x)
    return np.sum(losses) / len(x) if reduction == "batchmean" else reduced(losses, reduction)


def loss(function):
    """Ours do not broadcast, and take real numbers."""

    def call(x, target, **options):
        refuse(x.shape != target.shape, "shapes that differ")
        return real_only(function)(x, target, **options)

    return call


def elu(x, alpha=1.0):
    return np.where(x > 0, x, alpha * np.expm1(np.where(x > 0, 0, x)))


def celu(x, alpha=1.0):
    return np.where(x > 0, x, alpha * np.expm1(np.where(x > 0, 0, x) / alpha))


SELU_SCALE, SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


def glu(x, dim=-1):
    value, gate = np.split(x, 2, axis=dim)
    return value * functional.sigmoid(gate)


def prelu(x, weight):
    shape = (-1,) + (1,) * (x.ndim - 2) if x.ndim > 1 else (1,) * x.ndim
    return np.where(x > 0, x, x * np.reshape(weight, shape))


def normalize(x, p=2.0, dim=1, eps=1e-12):
    return x / np.maximum(np.linalg.vector_norm(x, ord=p, axis=axes(x, dim), keepdims=True), eps)


def pairwise_distance(x, y, p=2.0, eps=1e-6, keepdim=False):
    return np.linalg.norm(x - y + eps, ord=p, axis=-1, keepdims=keepdim)


NETWORKS = {
    "log_softmax": typed(functional.log_softmax),
    "nn.functional.avg_pool1d": avg_pool(1),
    "nn.functional.avg_pool2d": avg_pool(2),
    "nn.functional.avg_pool3d": avg_pool(3),
    "nn.functional.batch_norm": batch_norm,
    "nn.functional.bilinear": lambda x, y, weight, bias=None: (
        np.einsum("...i,kij,...j->...k", x, weight, y) + (0 if bias is None else bias)
    ),
    "nn.functional.binary_cross_entropy": binary_cross_entropy,
    "nn.functional.binary_cross_entropy_with_logits": functional.binary_cross_entropy_with_logits,
    "nn.functional.celu": celu,
    "nn.functional.conv1d": convolution(1),
    "nn.functional.conv2d": of_images(functional.conv2d),
    "nn.functional.conv3d": convolution(3),
    "nn.functional.cosine_similarity": cosine_similarity,
    "nn.functional.cross_entropy": cross_entropy,
    "nn.functional.elu": elu,
    "nn.functional.embedding": embedding,
    "nn.functional.gelu": functional.gelu,
    "nn.functional.glu": glu,
    "nn.functional.group_norm": group_norm,
    "nn.functional.hardshrink": lambda x, lambd=0.5: np.where(np.abs(x) > lambd, x, 0),
    "nn.functional.hardsigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "nn.functional.hardswish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "nn.functional.hardtanh": lambda x, min_val=-1.0, max_val=1.0: np.clip(x, min_val, max_val),
    "nn.functional.huber_loss": loss(functional.huber_loss),
    "nn.functional.instance_norm": instance_norm,
    "nn.functional.kl_div": kl_div,
    "nn.functional.l1_loss": loss(functional.l1_loss),
    "nn.functional.max_pool2d": of_images(max_pool2d),
    "nn.functional.layer_norm": functional.layer_norm,
    "nn.functional.leaky_relu": functional.leaky_relu,
    "nn.functional.linear": functional.linear,
    "nn.functional.logsigmoid": lambda x: -functional.softplus(-x),
    "nn.functional.mish": lambda x: x * np.tanh(functional.softplus(x)),
    "nn.functional.mse_loss": loss(functional.mse_loss),
    "nn.functional.nll_loss": nll_loss,
    "nn.functional.normalize": normalize,
    "nn.functional.one_hot": lambda indices, num_classes=-1: (
        functional.one_hot(indices, num_classes, np.int64)
        if num_classes > 0 and indices.ndim == 1
        else refuse(True, "an unknown number of classes, or several axes")
    ),
    "nn.functional.pairwise_distance": pairwise_distance,
    "nn.functional.prelu": prelu,
    "nn.functional.relu": functional.relu,
    "nn.functional.relu6": lambda x: np.clip(x, 0, 6),
    "nn.functional.rms_norm": rms_norm,
    "nn.functional.scaled_dot_product_attention": attention,
    "nn.functional.selu": lambda x: SELU_SCALE * elu(x, SELU_ALPHA),
    "nn.functional.silu": lambda x: x * real_only(functional.sigmoid)(x),
    "nn.functional.smooth_l1_loss": loss(functional.smooth_l1_loss),
    "nn.functional.softmin": typed(softmin),
    "nn.functional.softplus": lambda x, beta=1, threshold=20: np.where(
        x * beta > threshold, x, functional.softplus(x * beta) / beta
    ),
    "nn.functional.softshrink": lambda x, lambd=0.5: np.sign(x) * np.maximum(np.abs(x) - lambd, 0),
    "nn.functional.softsign": lambda x: x / (1 + np.abs(x)),
    "nn.functional.tanhshrink": lambda x: x - np.tanh(x),
    "nn.functional.threshold": lambda x, threshold, value: np.where(x > threshold, x, value),
    "sigmoid": real_only(functional.sigmoid),
    "softmax": typed(functional.softmax),
}

# New arrays and types

CREATION = {
    "arange": lambda start, end=None, step=1, dtype=None, device=None: np.arange(
        *((0, start) if end is None else (start, end)), step, dtype=dtype
    ),
    "cdouble": lambda x, memory_format=None: np.astype(x, np.complex128),
    "cfloat": lambda x, memory_format=None: np.astype(x, np.complex64),
    "double": lambda x, memory_format=None: np.astype(np.real(x), np.float64),
    "fill": lambda x, value: np.full_like(x, value),
    "full_like": lambda x, value, dtype=None, **layout: np.full_like(x, value, dtype),
    "float": lambda x, memory_format=None: np.astype(np.real(x), np.float32),
    "half": lambda x, memory_format=None: np.astype(np.real(x), np.float16),
    "ones_like": lambda x, dtype=None, **layout: np.ones_like(x, dtype),
    "zero_": np.zeros_like,
    "zeros_like": lambda x, dtype=None, **layout: np.zeros_like(x, dtype),
    "linspace": lambda start, end, steps, dtype=None, device=None: np.linspace(
        np.asarray(start, dtype), np.asarray(end, dtype), steps, dtype=dtype
    ),
}

OPERATIONS = ELEMENTWISE | REDUCTIONS | SHAPES | INDICES | PRODUCTS | LINALG | NETWORKS | CREATION


def of_singular_vectors(results):
    """Singular vectors are unique up to phases, and those of no singular value not at all."""
    u, s, vh = results
    k = s.shape[-1]
    u, vh = u[..., :k], vh[..., :k, :]
    return abs(u), s, abs(vh), u @ vh


def of_eigenvectors(results):
    values, vectors = results
    return values, abs(vectors)


INVARIANTS = {
    "linalg.eig": of_eigenvectors,
    "linalg.eigh": of_eigenvectors,
    "linalg.svd": of_singular_vectors,
    "svd": lambda results: of_singular_vectors((*results[:2], results[2].conj().swapaxes(-1, -2))),
}
"""What is compared of results that are not unique: functions, of NumPy's as of PyTorch's arrays, that do not depend on
the choice."""

REFUSED = {
    "cummax": lambda x: np.maximum.accumulate(x),
    "cummin": lambda x: np.minimum.accumulate(x),
    "frexp": lambda x: np.frexp(x),
    "histc": lambda x: np.histogram(x),
    "histogram": lambda x: np.histogram(x),
    "histogramdd": lambda x: np.histogramdd(x),
    "index_add": lambda x: np.add.at(np.zeros(3), [0, 1, 0], x),
    "index_reduce": lambda x: np.maximum.at(np.zeros(3), [0, 1, 0], x),
    "logcumsumexp": lambda x: np.logaddexp.accumulate(x),
    "masked_scatter": lambda x: np.place(np.zeros(3), [True, True, True], x),
    "nanmedian": lambda x: np.nanquantile(x, 0.5, method="lower"),
    "nanquantile": lambda x: np.nanquantile(x, 0.5),
    "nextafter": lambda x: np.nextafter(x, 1.0),
    "scatter_add": lambda x: np.add.at(np.zeros(3), [0, 1, 0], x),
    "scatter_reduce": lambda x: np.add.reduceat(x, [0, 1]),
}
"""NumPy has these functions, but the derivative table does not: they are refused with an error."""

WITHOUT_COUNTERPART = {
    "random numbers": """
        bernoulli cauchy exponential geometric log_normal multinomial normal nn.functional.alpha_dropout
        nn.functional.dropout nn.functional.dropout2d nn.functional.dropout3d nn.functional.feature_alpha_dropout
        nn.functional.fractional_max_pool2d nn.functional.fractional_max_pool3d nn.functional.rrelu pca_lowrank
        rand_like randint randint_like randn randn_like svd_lowrank uniform""",
    "new arrays, with no input to differentiate": """
        empty empty_like empty_permuted empty_strided eye full logspace new_empty new_empty_strided new_full new_ones
        new_zeros ones scalar_tensor signal.windows.bartlett signal.windows.blackman signal.windows.cosine
        signal.windows.exponential signal.windows.gaussian signal.windows.general_cosine signal.windows.general_hamming
        signal.windows.hamming signal.windows.hann signal.windows.kaiser signal.windows.nuttall zeros""",
    "integers, booleans and lists, with no derivative": """
        bool broadcast_shapes byte char hash_tensor int item linalg.matrix_rank long masked.argmax masked.argmin mode
        nonzero_static searchsorted short unique unique_consecutive""",
    "special functions, of SciPy but not of NumPy": """
        digamma erf erfc erfinv igamma igammac lgamma mvlgamma polygamma special.airy_ai special.bessel_j0
        special.bessel_j1 special.bessel_y0 special.bessel_y1 special.chebyshev_polynomial_t
        special.chebyshev_polynomial_u special.chebyshev_polynomial_v special.chebyshev_polynomial_w special.entr
        special.erfcx special.hermite_polynomial_h special.hermite_polynomial_he special.i1 special.i1e
        special.laguerre_polynomial_l special.legendre_polynomial_p special.log_ndtr special.modified_bessel_i1
        special.modified_bessel_k0 special.modified_bessel_k1 special.ndtr special.ndtri special.polygamma
        special.scaled_modified_bessel_k0 special.scaled_modified_bessel_k1 special.shifted_chebyshev_polynomial_t
        special.shifted_chebyshev_polynomial_u special.shifted_chebyshev_polynomial_v
        special.shifted_chebyshev_polynomial_w special.spherical_bessel_j0 special.xlog1py special.zeta xlogy""",
    "factorisations and matrix functions that NumPy does not have": """
        geqrf linalg.householder_product linalg.ldl_factor linalg.ldl_factor_ex linalg.ldl_solve linalg.lu
        linalg.lu_factor linalg.lu_factor_ex linalg.lu_solve lu lu_solve lu_unpack matrix_exp ormqr""",
    "transforms that NumPy does not have": """
        fft.hfft2 fft.hfftn fft.ihfft2 fft.ihfftn istft stft""",
    "images: interpolation, pooling and transposed convolution": """
        _upsample_bilinear2d_aa grid_sampler_2d grid_sampler_3d max_pool2d_with_indices_backward
        nn.functional.adaptive_avg_pool1d nn.functional.adaptive_avg_pool2d nn.functional.adaptive_avg_pool3d
        nn.functional.adaptive_max_pool1d nn.functional.adaptive_max_pool2d nn.functional.adaptive_max_pool3d
        nn.functional.conv_transpose1d nn.functional.conv_transpose2d nn.functional.conv_transpose3d
        nn.functional.grid_sample nn.functional.interpolate nn.functional.local_response_norm nn.functional.max_pool1d
        nn.functional.max_pool3d nn.functional.max_unpool1d nn.functional.max_unpool2d
        nn.functional.max_unpool3d nn.functional.unfold nn.functional.upsample_bilinear
        nn.functional.upsample_nearest""",
    "losses and layers that are made of operations in the table": """
        nn.functional.cosine_embedding_loss nn.functional.ctc_loss nn.functional.embedding_bag
        nn.functional.gaussian_nll_loss nn.functional.hinge_embedding_loss nn.functional.linear_cross_entropy
        nn.functional.margin_ranking_loss nn.functional.multi_head_attention_forward nn.functional.multi_margin_loss
        nn.functional.multilabel_margin_loss nn.functional.multilabel_soft_margin_loss nn.functional.pdist
        nn.functional.poisson_nll_loss nn.functional.soft_margin_loss nn.functional.triplet_margin_loss
        nn.functional.triplet_margin_with_distance_loss renorm""",
    "PyTorch's masked arrays, beyond reductions that take where=": """
        masked.logaddexp masked.median masked.norm masked.normalize""",
    "memory: strides, storage and resizing": """
        alias_copy as_strided as_strided_copy as_strided_scatter resize_ resize_as_ sum_to_size to""",
    "types that NumPy does not have, and kernels for devices": """
        _chunk_cat _segment_reduce _unsafe_masked_index _unsafe_masked_index_put_accumulate bfloat16 chalf
        jiterator_2inputs_2outputs jiterator_4inputs_with_extra_args jiterator_binary jiterator_binary_return_by_ref
        jiterator_unary sparse.mm sparse.sampled_addmm to_sparse torch._scaled_mm torch._scaled_mm_v2
        torch.ops.aten._efficient_attention_forward torch.ops.aten._flash_attention_forward""",
    "inner steps of operations in the table": """
        _batch_norm_with_update _native_batch_norm_legit _softmax_backward_data native_batch_norm
        native_dropout_backward native_group_norm native_layer_norm torch.ops.aten._safe_softmax.default""",
}
"""PyTorch's operations that are not compared, by the reason."""

OTHER_SECOND_DERIVATIVES = {
    "linalg.norm subgradients_at_zero": "a norm of zeros has no second derivative, but PyTorch gives 0 for some orders",
}
"""Operations of which only values and first derivatives are compared, by the reason."""

TIES = {
    "two equal elements share the gradient, and PyTorch gives all of it to one": "fmax fmin median",
    "equal elements are sorted in another order, and so get each other's gradients": "kthvalue msort sort topk",
    "of equal bounds the lower one gets the gradient, in PyTorch neither": "clamp",
    "PyTorch takes a distance for positive, even if it is not": "polar",
    "outside of the domain, or at 0 / 0, a derivative is NaN": "__rdiv__ acosh atan2 fmod logit",
}
EDGES = {
    "ties, zeros and borders of domains": [-1, 0, 0.5, 1, 2],
    "infinities": [-np.inf, -1, -0.5, 0, 1, 2, np.inf],
}
EDGE_DIFFERENCES = {
    "ties, zeros and borders of domains": {
        **TIES,
        "a mixed second derivative of a power is right or NaN, PyTorch's is not symmetric": "__rpow__ float_power pow",
    },
    "infinities": {
        **TIES,
        "infinity times a 0 among the other factors is NaN": "cumprod masked.cumprod prod",
        "what is masked out has no share in an infinite extreme, in PyTorch it has one": "masked.amax",
        "infinity times 0 is NaN: in i times infinity, and with a weight of 0": "complex lerp view_as_complex",
    },
}
"""At the edges, the operations that differ from PyTorch's where that gives a number, by the reason. First derivatives
are compared at all edges, second ones at the finite ones."""
