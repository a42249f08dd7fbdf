"""Derivatives of products of arrays.

For matrices, out = x @ y has the VJPs g @ y.T and x.T @ g (Giles, "Collected matrix derivative results for forward
and reverse mode algorithmic differentiation", 2008, section 2.2.2). Stacks of matrices broadcast. A vector is a row on
the left and a column on the right. Every product is linear in each factor, so the derivative with respect to one factor
is again a product: of the gradient and the other factors.
"""

import math

import numpy as np

from tinygrad_np.derivatives.table import RULES, composite, derivative, known
from tinygrad_np.errors import ShapeError


def transposed(x):
    """Swap the last two axes."""
    return x.T if x.ndim == 2 else np.swapaxes(x, -1, -2)


# Matrices and vectors


def matmul_left(g, out, x, y):
    if y.ndim == 1:
        return np.expand_dims(g, -1) * y
    if x.ndim == 1:
        return np.squeeze(np.matmul(np.expand_dims(g, -2), transposed(y)), -2)
    return np.matmul(g, transposed(y))


def matmul_right(g, out, x, y):
    if x.ndim == 1:
        return np.expand_dims(g, -2) * np.expand_dims(x, -1) if y.ndim > 1 else g * x
    if y.ndim == 1:
        return np.squeeze(np.matmul(transposed(x), np.expand_dims(g, -1)), -1)
    if y.ndim == 2:
        if x.ndim > 2:  # one product, instead of a stack of products to be summed
            rows = math.prod(x.shape[:-1])
            x, g = np.reshape(x, (rows, x.shape[-1])), np.reshape(g, (rows, g.shape[-1]))
        if y.flags.fnc:  # y is W.T: give W a gradient with the memory layout of W
            return np.matmul(g.T, x).T
    return np.matmul(transposed(x), g)


def column(x):
    return np.expand_dims(x, -1)


def row(x):
    return np.expand_dims(x, -2)


def matvec_vector(g, out, x1, x2):
    return np.squeeze(np.matmul(transposed(x1), column(g)), -1)


def vecmat_vector(g, out, x1, x2):
    return np.conj(np.squeeze(np.matmul(x2, column(g)), -1))


def times_vectors(g, other, x, axis):
    """Multiply the gradient by the other vectors, and move the vectors' axis back to where x has it."""
    product = column(g) * np.moveaxis(other, axis, -1)
    return np.moveaxis(product, -1, axis if axis < 0 else axis - x.ndim)


derivative(np.matmul, matmul_left, matmul_right)
composite(np.linalg.matmul, np.matmul)
derivative(
    np.vecdot,
    lambda g, out, x1, x2, *, axis=-1: np.conj(times_vectors(g, x2, x1, axis)),
    lambda g, out, x1, x2, *, axis=-1: times_vectors(g, np.conj(x1), x2, axis),
)
composite(np.linalg.vecdot, np.vecdot)
derivative(known(np, "matvec"), lambda g, out, x1, x2: column(g) * row(x2), matvec_vector)
derivative(known(np, "vecmat"), vecmat_vector, lambda g, out, x1, x2: column(np.conj(x1)) * row(g))

# Sums over any axes


def pair_axes(x, y, axes):
    """The axes that tensordot sums over, of x and of y, and those that it keeps, of x and of y."""
    if isinstance(axes, (int, np.integer)):
        summed_x, summed_y = list(range(x.ndim - axes, x.ndim)), list(range(axes))
    else:
        summed_x, summed_y = ([int(axis) for axis in np.atleast_1d(given)] for given in axes)
    summed_x, summed_y = [axis % x.ndim for axis in summed_x], [axis % y.ndim for axis in summed_y]
    kept_x = [axis for axis in range(x.ndim) if axis not in summed_x]
    return summed_x, summed_y, kept_x, [axis for axis in range(y.ndim) if axis not in summed_y]


def tensordot_left(g, out, a, b, axes=2):
    a, b = as_array(a), as_array(b)
    summed_a, summed_b, kept_a, kept_b = pair_axes(a, b, axes)
    product = np.tensordot(g, b, (list(range(len(kept_a), g.ndim)), kept_b))
    order = kept_a + [summed_a[i] for i in np.argsort(summed_b)]
    return np.transpose(product, np.argsort(order))


def tensordot_right(g, out, a, b, axes=2):
    a, b = as_array(a), as_array(b)
    summed_a, summed_b, kept_a, kept_b = pair_axes(a, b, axes)
    product = np.tensordot(a, g, (kept_a, list(range(len(kept_a)))))
    order = [summed_b[i] for i in np.argsort(summed_a)] + kept_b
    return np.transpose(product, np.argsort(order))


def as_array(x):
    """Turn a number, or a nested list of numbers and Tensors, into an array or Tensor."""
    if isinstance(x, (list, tuple)) and len(x) > 0:
        return np.stack([as_array(item) for item in x])
    return x if hasattr(x, "ndim") else np.asarray(x)


def dot_axes(a, b):
    """dot sums over the last axis of a and the last but one of b, or over none if one of them is a number."""
    return [[-1], [max(b.ndim - 2, 0)]] if a.ndim and b.ndim else 0


def inner_axes(a, b):
    return [[-1], [-1]] if a.ndim and b.ndim else 0


def dot_left(g, out, a, b):
    a, b = as_array(a), as_array(b)
    small = 0 < a.ndim <= 2 and 0 < b.ndim <= 2  # the same as matmul, which is faster
    return matmul_left(g, out, a, b) if small else tensordot_left(g, out, a, b, dot_axes(a, b))


def dot_right(g, out, a, b):
    a, b = as_array(a), as_array(b)
    small = 0 < a.ndim <= 2 and 0 < b.ndim <= 2
    return matmul_right(g, out, a, b) if small else tensordot_right(g, out, a, b, dot_axes(a, b))


def inner_left(g, out, a, b):
    a, b = as_array(a), as_array(b)
    return tensordot_left(g, out, a, b, inner_axes(a, b))


def inner_right(g, out, a, b):
    a, b = as_array(a), as_array(b)
    return tensordot_right(g, out, a, b, inner_axes(a, b))


def reshaped_like(x, gradient):
    """Give the gradient, which np.ravel has flattened, the shape of x again."""
    return np.reshape(gradient, as_array(x).shape)


derivative(np.tensordot, tensordot_left, tensordot_right)
composite(np.linalg.tensordot, np.tensordot)
derivative(np.dot, dot_left, dot_right)
derivative(np.inner, inner_left, inner_right)
derivative(
    np.vdot,
    lambda g, out, a, b: reshaped_like(a, np.conj(g * np.ravel(as_array(b)))),
    lambda g, out, a, b: reshaped_like(b, g * np.conj(np.ravel(as_array(a)))),
)
derivative(
    np.outer,
    lambda g, out, a, b: reshaped_like(a, np.matmul(g, np.ravel(as_array(b)))),
    lambda g, out, a, b: reshaped_like(b, np.matmul(np.ravel(as_array(a)), g)),
)
composite(np.linalg.outer, np.outer)

# Sums in index notation


def index_lists(args):
    """Split the arguments of einsum into operands, their indices and the result's indices, as lists of integers.

    A string comes before all operands, or a list of indices after each. An ellipsis stands for axes that broadcast: the
    last one has the same index in every operand, so has the last but one, and so on.
    """
    if isinstance(args[0], str):
        inputs, arrow, output = args[0].replace(" ", "").partition("->")
        operands, terms = list(args[1:]), [symbols(term) for term in inputs.split(",")]
        result = symbols(output) if arrow else None
    else:
        operands, terms = list(args[: len(args) // 2 * 2 : 2]), [list(term) for term in args[1::2]]
        result = list(args[-1]) if len(args) % 2 else None
    operands = [as_array(operand) for operand in operands]
    widths = [x.ndim - len(term) + 1 if ... in term else 0 for x, term in zip(operands, terms, strict=True)]
    width = max(widths)
    if result is None:
        every = [index for term in terms for index in term if index is not ...]
        result = [...] * (width > 0) + sorted(index for index in set(every) if every.count(index) == 1)
    named = dict.fromkeys(index for term in terms for index in term if index is not ...)
    number = {index: [width + i] for i, index in enumerate(named)}

    def numbered(term, own):
        return [i for index in term for i in (range(width - own, width) if index is ... else number[index])]

    return operands, list(map(numbered, terms, widths)), numbered(result, width)


def symbols(term):
    """The letters of an operand's indices, with Ellipsis for three dots."""
    return [... if symbol == "." else symbol for symbol in term.replace("...", ".")]


def einsum_vjp(position):
    """The VJP for the argument at a position: the einsum of the gradient and the other operands."""

    def vjp(g, out, *args, optimize=False):
        operands, terms, result = index_lists(args)
        own = position - 1 if isinstance(args[0], str) else position // 2
        x, term = operands.pop(own), terms.pop(own)
        lengths = {}
        for operand, indices in zip([x, *operands], [term, *terms], strict=True):
            for index, length in zip(indices, operand.shape, strict=True):
                lengths[index] = max(length, lengths.get(index, 1)) if length else 0
        factors = [g, result]
        for operand, indices in zip(operands, terms, strict=True):
            factors += [operand, indices]
        target = []
        for index in term:
            if index in target:  # the operand's diagonal was read: elements off it get nothing
                fresh = max([*lengths, *target]) + 1
                factors += [np.eye(lengths[index], dtype=g.dtype), [index, fresh]]
                lengths[fresh] = lengths[index]
                target.append(fresh)
            else:
                others = zip(operands, terms, strict=True)
                if index not in result and not any(
                    index in indices and other.shape[indices.index(index)] == lengths[index]
                    for other, indices in others
                ):  # summed over in this operand alone
                    factors += [np.ones(lengths[index], g.dtype), [index]]
                target.append(index)
        if len(factors) == 4 and (axes := matrices(*factors, target)) is not None:
            return by_matmul(*factors, target, *axes)
        return np.einsum(*factors, target, optimize=optimize is not False)

    return vjp


def matrices(a, indices_a, b, indices_b, target):
    """How einsum of two operands is a product of matrices, which BLAS computes faster; None if it is none.

    Returns:
        The indices that number the matrices, those of rows, those that are summed over, and those of columns.
    """
    both = [index for index in indices_a if index in indices_b]
    rows, columns = ([i for i in indices if i not in both] for indices in (indices_a, indices_b))
    numbers, summed = [i for i in both if i in target], [i for i in both if i not in target]
    once = [len(set(indices)) == len(indices) for indices in (indices_a, indices_b, target)]
    fits = all(a.shape[indices_a.index(i)] == b.shape[indices_b.index(i)] for i in both)
    if not (summed and all(once) and fits and {*rows, *columns} <= {*target} and a.dtype == b.dtype != np.float16):
        return None
    return numbers, rows, summed, columns


def by_matmul(a, indices_a, b, indices_b, target, numbers, rows, summed, columns):
    """einsum of two operands as a product of matrices."""
    length = {**dict(zip(indices_a, a.shape, strict=True)), **dict(zip(indices_b, b.shape, strict=True))}
    size = [math.prod(length[i] for i in some) for some in (rows, summed, columns)]
    stack = [length[i] for i in numbers]
    left = np.transpose(a, [indices_a.index(i) for i in (*numbers, *rows, *summed)])
    right = np.transpose(b, [indices_b.index(i) for i in (*numbers, *summed, *columns)])
    product = np.matmul(np.reshape(left, [*stack, *size[:2]]), np.reshape(right, [*stack, *size[1:]]))
    made = [*numbers, *rows, *columns]
    return np.transpose(np.reshape(product, [length[i] for i in made]), [made.index(i) for i in target])


derivative(np.einsum, *map(einsum_vjp, range(64)))
RULES[np.einsum].positional = 64  # any number of operands

# Products of several matrices


def pieces_like(arrays, pieces):
    """The gradients as a list for a list of arrays, stacked if the arrays were given as one array."""
    return list(pieces) if isinstance(arrays, (list, tuple)) else np.stack(list(pieces))


def multi_dot_vjp(g, out, arrays):
    """For each factor: the transposed factors before it, times the gradient, times the transposed ones after it."""
    first, last = arrays[0], arrays[-1]
    factors = [row(first) if first.ndim == 1 else first, *arrays[1:-1], column(last) if last.ndim == 1 else last]
    g = np.reshape(g, (factors[0].shape[0], factors[-1].shape[1]))
    if g.shape[0] < g.shape[1]:  # the transposed product is narrower
        gradients = [gradient.T for gradient in chain_gradients(g.T, [factor.T for factor in factors[::-1]])[::-1]]
    else:
        gradients = chain_gradients(g, factors)
    return pieces_like(arrays, [np.reshape(gradient, x.shape) for gradient, x in zip(gradients, arrays, strict=True)])


def chain_gradients(g, factors):
    """The gradients of a product's factors. The products of all later factors are made once, from the last on."""
    later = [factors[-1]]
    for factor in factors[-2:0:-1]:
        later.append(np.matmul(factor, later[-1]))
    gradients = []
    for factor in factors[:-1]:
        gradients.append(np.matmul(g, later.pop().T))
        g = np.matmul(factor.T, g)
    return [*gradients, g]


def matrix_power_vjp(g, out, a, n):
    """The sum of (a.T)^k g (a.T)^(n-1-k): the upper right block of the power of [[a.T, g], [0, a.T]].

    Mathias, "A chain rule for matrix functions and applications", 1996, theorem 2.1.
    """
    t = transposed(a)
    above, below = np.concatenate([t, g], axis=-1), np.concatenate([np.zeros(a.shape, a.dtype), t], axis=-1)
    size = a.shape[-1]
    return np.linalg.matrix_power(np.concatenate([above, below], axis=-2), n)[..., :size, size:]


derivative(np.linalg.multi_dot, multi_dot_vjp)
derivative(np.linalg.matrix_power, matrix_power_vjp)

# Products made of element-wise ones


def kron(a, b):
    """Multiply every element of a by the whole of b, and set the products side by side along every axis."""
    a, b = as_array(a), as_array(b)
    ndim = max(a.ndim, b.ndim)
    lengths_a = (1,) * (ndim - a.ndim) + a.shape
    lengths_b = (1,) * (ndim - b.ndim) + b.shape
    shape_a = [n for length in lengths_a for n in (length, 1)]
    shape_b = [n for length in lengths_b for n in (1, length)]
    product = np.reshape(a, shape_a) * np.reshape(b, shape_b)
    return np.reshape(product, [n * m for n, m in zip(lengths_a, lengths_b, strict=True)])


def cross(a, b, axisa=-1, axisb=-1, axisc=-1, axis=None):
    """The vector product. The third element of a short vector is zero; two short vectors give only the third."""
    if axis is not None:
        axisa, axisb, axisc = axis, axis, axis
    a, b = np.moveaxis(as_array(a), axisa, -1), np.moveaxis(as_array(b), axisb, -1)
    if not {a.shape[-1], b.shape[-1]} <= {2, 3}:
        raise ShapeError(
            f"cross takes vectors of two or three elements, but these have {a.shape[-1]} and {b.shape[-1]}"
        )
    a0, a1, a2 = [a[..., i] for i in range(a.shape[-1])] + [0] * (3 - a.shape[-1])
    b0, b1, b2 = [b[..., i] for i in range(b.shape[-1])] + [0] * (3 - b.shape[-1])
    third = a0 * b1 - a1 * b0
    if a.shape[-1] == b.shape[-1] == 2:
        return third
    return np.stack([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, third], axis=axisc)


composite(np.kron, kron)
composite(np.cross, cross)
composite(np.linalg.cross, lambda x1, x2, /, *, axis=-1: cross(x1, x2, axis=axis))

# Convolution


def overlap(g, n, m, backwards=False):
    """Pad the gradient with zeros where the mode cut elements off the full n + m - 1: as many at both ends.

    If their number is odd, NumPy cuts the last one off the end, as if the longer array came first; correlate then
    reverses the result.
    """
    missing = n + m - 1 - g.shape[0]
    start, rest = missing // 2, missing - missing // 2
    if backwards and n < m:
        start, rest = rest, start
    return np.concatenate([np.zeros(start, g.dtype), g, np.zeros(rest, g.dtype)])


def convolve_vjp(g, a, v):
    v = np.ravel(as_array(v))
    return np.convolve(overlap(g, np.size(a), v.size), v[::-1], "valid")


def correlate_left(g, out, a, v, mode="valid"):
    v = as_array(v)
    return np.convolve(overlap(g, np.size(a), v.size, backwards=True), np.conj(v), "valid")


def correlate_right(g, out, a, v, mode="valid"):
    a = as_array(a)
    return np.conj(np.convolve(overlap(g, a.size, np.size(v), backwards=True), a[::-1], "valid")[::-1])


derivative(
    np.convolve,
    lambda g, out, a, v, mode="full": convolve_vjp(g, a, v),
    lambda g, out, a, v, mode="full": convolve_vjp(g, v, a),
)
derivative(np.correlate, correlate_left, correlate_right)
