"""Derivatives of linear algebra: inverses, determinants, norms and the matrix decompositions.

All rules take stacks of matrices, real and complex. The sources are Giles, "Collected matrix derivative results for
forward and reverse mode algorithmic differentiation" (2008), and for complex matrices Boeddeker et al., "On the
computation of complex-valued gradients with application to statistically optimum beamforming" (2017); others are named
where they are used. Some sources conjugate the gradients, as PyTorch does: their rules do so in the first lines and
undo it in the last.

Eigenvectors and singular vectors are unique only up to a phase (if real, a sign), and where values are equal not even
that. The derivatives are right for functions that do not depend on the choice. If two values are equal and a function
does depend on their single vectors, its derivatives are infinite or NaN.

A function that reads only one triangle of a Hermitian matrix has derivatives with respect to that triangle only. Each
element there counts for its mirror image as well.
"""

import math

import numpy as np

from tinygrad_np.derivatives.products import as_array, column, row, transposed
from tinygrad_np.derivatives.table import composite, constant, derivative, filled
from tinygrad_np.errors import NoDerivativeError

# Inverses and linear equations


def adjoint(x):
    """The conjugate transpose of a matrix."""
    return np.conj(transposed(x))


def inv_vjp(g, out, a):
    """-x.T g x.T for the inverse x. Giles, section 2.2.3."""
    return -np.matmul(np.matmul(transposed(out), g), transposed(out))


def solve_right(g, out, a, b):
    """Giles, section 2.3.1. If b has one axis it is a vector, else a stack of matrices."""
    if as_array(b).ndim == 1:
        return np.squeeze(np.linalg.solve(transposed(as_array(a)), column(g)), -1)
    return np.linalg.solve(transposed(as_array(a)), g)


def solve_left(g, out, a, b):
    right = solve_right(g, out, a, b)
    if as_array(b).ndim == 1:
        return -column(right) * row(out)
    return -np.matmul(right, transposed(out))


def pinv_general(g, out, a):
    """The derivative among matrices of the same rank. Golub & Pereyra, 1973, equation 4.12."""
    m, n = a.shape[-2:]
    squared = np.matmul(out, adjoint(out))
    left = np.matmul(np.matmul(np.eye(m) - np.matmul(a, out), transposed(g)), squared)
    squared = np.matmul(adjoint(out), out)
    right = np.matmul(np.matmul(squared, transposed(g)), np.eye(n) - np.matmul(out, a))
    return inv_vjp(g, out, a) + np.conj(left + right)


def pinv_vjp(g, out, a, rcond=None, hermitian=False, *, rtol=None):
    return fold(pinv_general(g, out, unfold(a)), "L") if hermitian else pinv_general(g, out, a)


def tensorsolve(a, b, axes=None):
    a, b = as_array(a), as_array(b)
    last = [] if axes is None else [axis % a.ndim for axis in axes]
    a = np.transpose(a, [axis for axis in range(a.ndim) if axis not in last] + last)
    shape = a.shape[b.ndim :]
    return np.reshape(np.linalg.solve(np.reshape(a, (b.size, math.prod(shape))), np.ravel(b)), shape)


def tensorinv(a, ind=2):
    rows, columns = a.shape[:ind], a.shape[ind:]
    return np.reshape(np.linalg.inv(np.reshape(a, (math.prod(rows), math.prod(columns)))), columns + rows)


derivative(np.linalg.inv, inv_vjp)
derivative(np.linalg.solve, solve_left, solve_right)
derivative(np.linalg.pinv, pinv_vjp)
composite(np.linalg.tensorsolve, tensorsolve)
composite(np.linalg.tensorinv, tensorinv)

# Determinants and traces


def cofactors(a):
    """The derivative for each element: plus or minus the determinant of the matrix without its row and column."""
    n = a.shape[-1]
    others = np.array([[i for i in range(n) if i != left_out] for left_out in range(n)], dtype=int).reshape(n, -1)
    minors = a[..., others[:, None, :, None], others[None, :, None, :]]
    return np.linalg.det(minors) * (-1.0) ** np.add.outer(range(n), range(n))


def det_vjp(g, out, a):
    """det(a) a^-T (Giles, section 2.2.4). This equals the cofactors, which singular matrices have too."""
    if np.all(out != 0):
        return column(column(g * out)) * transposed(np.linalg.inv(a))
    return column(column(g)) * cofactors(a)


def slogdet_vjp(g, out, a):
    """a^-T for the logarithm. A real sign is constant; a complex one turns with the logarithm's imaginary part."""
    sign, logarithm = filled(g, out)
    if a.dtype.kind == "c":
        turned = sign * out[0]
        logarithm = logarithm + (turned - np.conj(turned)) / 2
    return column(column(logarithm)) * transposed(np.linalg.inv(a))


def trace_vjp(g, out, a, offset=0, axis1=0, axis2=1, dtype=None):
    ones = np.eye(a.shape[axis1], a.shape[axis2], offset)
    return np.moveaxis(column(column(g)) * ones, (-2, -1), (axis1, axis2))


derivative(np.linalg.det, det_vjp)
derivative(np.linalg.slogdet, slogdet_vjp)
derivative(np.trace, trace_vjp)
derivative(np.linalg.trace, lambda g, out, x, *, offset=0, dtype=None: trace_vjp(g, out, x, offset, -2, -1))
constant(np.linalg.matrix_rank)

# Decompositions of Hermitian matrices


def triangle(a, uplo):
    """Ones in one triangle, zeros on the diagonal and in the other triangle."""
    ones = np.tri(a.shape[-1], k=-1, dtype=a.dtype)
    return ones if uplo.upper() == "L" else ones.T


def diagonal_part(a):
    return a * np.eye(a.shape[-1], dtype=a.dtype)


def unfold(a, uplo="L"):
    """The Hermitian matrix that one triangle stands for."""
    half = a * triangle(a, uplo)
    return half + adjoint(half) + np.real(diagonal_part(a))


def fold(g, uplo):
    """The gradient for one triangle, from the gradient for the whole Hermitian matrix."""
    return (g + adjoint(g)) * triangle(g, uplo) + np.real(diagonal_part(g))


def scaled(vectors, values):
    """Multiply each column of a matrix by a value."""
    return vectors * row(values)


def over_gaps(x, values):
    """x_ij / (values_j - values_i) off the diagonal. Equal values give 0 if nothing depends on their vectors."""
    gaps = row(values) - column(values)
    off = 1 - np.eye(gaps.shape[-1])
    x = x * off
    return x / np.where((gaps == 0) & (x == 0), 1, gaps)


def eigh_vjp(g, out, a, UPLO="L"):  # noqa: N803 (NumPy's name)
    """Giles, section 3.1; Boeddeker et al., section 4.9."""
    values, vectors = out
    g_values, g_vectors = filled(g, out)
    inner = over_gaps(np.matmul(transposed(vectors), g_vectors), values)
    inner = inner + row(g_values) * np.eye(a.shape[-1])
    return fold(np.matmul(np.matmul(np.conj(vectors), inner), transposed(vectors)), UPLO)


def eigvalsh_vjp(g, out, a, UPLO="L"):  # noqa: N803
    vectors = np.linalg.eigh(a, UPLO)[1]
    return fold(np.matmul(scaled(np.conj(vectors), g), transposed(vectors)), UPLO)


def cholesky_vjp(g, out, a, *, upper=False):
    """Murray, "Differentiation of the Cholesky decomposition", 2016, equation 10."""
    factor, g = (adjoint(out), adjoint(g)) if upper else (out, g)
    inner = np.matmul(transposed(factor), g)
    inner = inner * triangle(inner, "L") + diagonal_part(inner) / 2
    inverse = np.linalg.inv(factor)
    return fold(np.matmul(np.matmul(transposed(inverse), inner), np.conj(inverse)), "U" if upper else "L")


derivative(np.linalg.eigh, eigh_vjp)
derivative(np.linalg.eigvalsh, eigvalsh_vjp)
derivative(np.linalg.cholesky, cholesky_vjp)

# Decompositions of any matrices


def eig_vjp(g, out, a):
    """Eigenvectors have length 1. van der Aa et al., "Computation of eigenvalue and eigenvector derivatives", 2007."""
    values, vectors = out
    g_values, g_vectors = map(np.conj, filled(g, out))
    inner = np.matmul(adjoint(vectors), g_vectors)
    inner = inner - np.matmul(adjoint(vectors), vectors) * np.real(row(np.sum(diagonal_part(inner), -1)))
    inner = over_gaps(inner, np.conj(values)) + row(g_values) * np.eye(a.shape[-1])
    return np.conj(np.linalg.solve(adjoint(vectors), np.matmul(inner, adjoint(vectors))))


def eigvals_vjp(g, out, a):
    vectors = np.linalg.eig(a)[1]
    return np.linalg.solve(transposed(vectors), column(g) * transposed(vectors))


def first(vectors, g, k):
    """The first k of orthonormal columns, and their gradient, to which that of the others is added.

    The others complete a basis. A function that does not depend on how they do so depends on the first ones alone:
    d(others) = -first d(first)^H others.
    """
    if vectors.shape[-1] == k:
        return vectors, g
    few, others = vectors[..., :k], vectors[..., k:]
    return few, g[..., :k] - np.matmul(others, np.matmul(adjoint(g[..., k:]), few))


def svd_reduced(gu, gs, gvh, u, s, vh):
    """Townsend, "Differentiating the singular value decomposition", 2016, section 1.1; Wan & Zhang, "Automatic
    differentiation for complex valued SVD", 2019, for the last term of complex ones."""
    v, gv = adjoint(vh), adjoint(gvh)
    left, right = np.matmul(adjoint(u), gu), np.matmul(vh, gv)
    left = over_gaps(left - adjoint(left), s * s)
    right = over_gaps(right - adjoint(right), s * s)
    inner = scaled(left, s) + column(s) * right + row(gs) * np.eye(s.shape[-1])
    if u.dtype.kind == "c":
        inner = inner + 1j * np.imag(diagonal_part(np.matmul(adjoint(u), gu))) / row(s)
    a = np.matmul(np.matmul(u, inner), vh)
    if u.shape[-2] > s.shape[-1]:
        outside = gu - np.matmul(u, np.matmul(adjoint(u), gu))
        a = a + np.matmul(scaled(outside, 1 / s), vh)
    if v.shape[-2] > s.shape[-1]:
        outside = gv - np.matmul(v, np.matmul(vh, gv))
        a = a + np.matmul(u, adjoint(scaled(outside, 1 / s)))
    return a


def svd_vjp(g, out, a, full_matrices=True, compute_uv=True, hermitian=False):
    if compute_uv:
        u, s, vh = out
        k = s.shape[-1]
        gu, gs, gvh = filled(g, out)
        u, gu = first(u, np.conj(gu), k)
        v, gv = first(adjoint(vh), transposed(gvh), k)
        gradient = np.conj(svd_reduced(gu, gs, adjoint(gv), u, s, adjoint(v)))
    else:
        u, _, vh = np.linalg.svd(a, False, True, hermitian)
        gradient = np.conj(np.matmul(scaled(u, g), vh))
    return fold(gradient, "L") if hermitian else gradient


def qr_reduced(gq, gr, q, r):
    """Walter & Lehmann, "Algorithmic differentiation of linear algebra functions", 2010; Roberts & Roberts, "QR and LQ
    decomposition matrix backpropagation algorithms for square, wide, and deep matrices", 2020, for wide ones."""
    k = q.shape[-1]
    if r.shape[-1] > k:  # a = [q r1, q r2]: r2 = q^H a2
        rest, g_rest = r[..., k:], gr[..., k:]
        gq = gq + np.matmul(np.matmul(q, rest), adjoint(g_rest))
        square = qr_reduced(gq, gr[..., :k], q, r[..., :k])
        return np.concatenate([square, np.matmul(q, g_rest)], axis=-1)
    inner = np.matmul(gr, adjoint(r)) - np.matmul(adjoint(q), gq)
    return adjoint(np.linalg.solve(r, adjoint(gq + np.matmul(q, unfold(inner, "U")))))


def qr_vjp(g, out, a, mode="reduced"):
    if mode == "raw":
        raise NoDerivativeError("numpy.linalg.qr has no derivative for mode='raw'; use mode='reduced'")
    if mode == "r":
        q, r = np.linalg.qr(a)
        return np.conj(qr_reduced(np.zeros_like(q), np.conj(g), q, r))
    k = min(a.shape[-2:])
    gq, gr = map(np.conj, filled(g, out))
    q, gq = first(out[0], gq, k)
    return np.conj(qr_reduced(gq, gr[..., :k, :], q, out[1][..., :k, :]))


def lstsq_inverse(a, rcond, out):
    """The pseudo-inverse that drops the same small singular values as lstsq."""
    eps = np.finfo(out[0].dtype).eps
    return np.linalg.pinv(a, max(a.shape) * eps if rcond is None else eps if rcond == -1 else rcond)


def lstsq_left(g, out, a, b, rcond=None):
    """lstsq returns x = pinv(a) b, the squared distances between a x and b, the rank and the singular values."""
    a, b = as_array(a), matrix(as_array(b))
    g, x = filled(g, out), matrix(out[0])
    g_x = matrix(g[0])
    gradient = pinv_general(np.matmul(g_x, b.T), lstsq_inverse(a, rcond, out), a)
    gradient = gradient + svd_vjp(g[3], out[3], a, compute_uv=False)
    if out[1].size:
        gradient = gradient - np.matmul(2 * np.conj(b - np.matmul(a, x)) * g[1], x.T)
    return gradient


def lstsq_right(g, out, a, b, rcond=None):
    a, b = as_array(a), as_array(b)
    g = filled(g, out)
    gradient = np.matmul(lstsq_inverse(a, rcond, out).T, matrix(g[0]))
    if out[1].size:
        gradient = gradient + 2 * np.conj(matrix(b) - np.matmul(a, matrix(out[0]))) * g[1]
    return np.reshape(gradient, b.shape)


def matrix(x):
    """Turn a vector into a column; leave a matrix as it is."""
    return column(x) if x.ndim == 1 else x


derivative(np.linalg.eig, eig_vjp)
derivative(np.linalg.eigvals, eigvals_vjp)
derivative(np.linalg.svd, svd_vjp)
composite(np.linalg.svdvals, lambda x, /: np.linalg.svd(x, compute_uv=False))
derivative(np.linalg.qr, qr_vjp)
derivative(np.linalg.lstsq, lstsq_left, lstsq_right)

# Norms


def direction(x):
    """The derivative of |x|: sign(x) or, for complex x, conj(x) / |x|; zero at zero."""
    return np.conj(x) / np.where(x == 0, 1, np.abs(x)) if x.dtype.kind == "c" else np.sign(x)


def chosen(values, best, axes):
    """Weights that pick the values equal to the best; several share equally."""
    picked = (values == best).astype(values.dtype)
    return picked / np.sum(picked, axis=axes, keepdims=True)


def vector_norm_vjp(g, out, x, order, axes):
    """(|x| / norm)^(p-1) times the direction of x. Where x is zero the slope is taken to be zero."""
    if order == 0:
        return np.zeros_like(x)
    if abs(order) == math.inf:
        return g * chosen(np.abs(x), out, axes) * direction(x)
    if order == 2:
        return g * np.conj(x) / np.where(out == 0, 1, out)
    ratio = np.where(x == 0, 1, np.abs(x)) / np.where(out == 0, 1, out)
    return g * np.power(ratio, order - 1) * direction(x)


def matrix_norm_vjp(g, x, order):
    """The sum or an extreme of the singular values, or the extreme sum of |x| over a column or row."""
    if order == "nuc" or abs(order) == 2:
        u, s, vh = np.linalg.svd(x, full_matrices=False)
        if order != "nuc":
            u = scaled(u, chosen(s, s[..., :1] if order > 0 else s[..., -1:], -1))
        return g * np.conj(np.matmul(u, vh))
    sums = np.sum(np.abs(x), axis=-2 if abs(order) == 1 else -1, keepdims=True)
    best = np.max(sums, axis=(-2, -1), keepdims=True) if order > 0 else np.min(sums, axis=(-2, -1), keepdims=True)
    return g * chosen(sums, best, (-2, -1)) * direction(x)


def norm_vjp(g, out, x, ord=None, axis=None, keepdims=False):
    axes = tuple(range(x.ndim)) if axis is None else tuple(np.atleast_1d(axis).tolist())
    last = tuple(range(-len(axes), 0))
    if not keepdims:
        g, out = np.expand_dims(g, last), np.expand_dims(out, last)
    else:
        g, out = np.moveaxis(g, axes, last), np.moveaxis(out, axes, last)
    moved = np.moveaxis(x, axes, last)
    if len(axes) == 1 or ord is None or ord == "fro":
        gradient = vector_norm_vjp(g, out, moved, 2 if ord is None or ord == "fro" else ord, last)
    else:
        gradient = matrix_norm_vjp(g, moved, ord)
    return np.moveaxis(gradient, last, axes)


def vector_norm(x, /, *, axis=None, keepdims=False, ord=2):
    """Merge the axes into one, and take the norm along it."""
    axes = tuple(range(x.ndim)) if axis is None else axis
    if isinstance(axes, tuple):
        moved = np.moveaxis(x, axes, range(len(axes)))
        flat = np.reshape(moved, (math.prod(moved.shape[: len(axes)]), *moved.shape[len(axes) :]))
        norms = np.linalg.norm(flat, ord, 0)
        return np.expand_dims(norms, axes) if keepdims else norms
    return np.linalg.norm(x, ord, axes, keepdims)


def cond(x, p=None):
    """The ratio of the extreme singular values, or the norm of x times the norm of its inverse."""
    if p in (None, 2, -2):
        s = np.linalg.svd(x, compute_uv=False)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    return np.linalg.norm(x, p, (-2, -1)) * np.linalg.norm(np.linalg.inv(x), p, (-2, -1))


derivative(np.linalg.norm, norm_vjp)
composite(np.linalg.vector_norm, vector_norm)
composite(
    np.linalg.matrix_norm,
    lambda x, /, *, keepdims=False, ord="fro": np.linalg.norm(x, ord, (-2, -1), keepdims),
)
composite(np.linalg.cond, cond)
