"""Derivatives of linear algebra: inverses, determinants, norms and the matrix decompositions.

All rules take stacks of matrices, real and complex. The sources are Giles, "Collected matrix derivative results for
forward and reverse mode algorithmic differentiation" (2008), and for complex matrices Boeddeker et al., "On the
computation of complex-valued gradients with application to statistically optimum beamforming" (2017); others are named
where they are used. Some sources conjugate the gradients, as PyTorch does: their rules do so in the first lines and
undo it in the last.

Eigenvectors and singular vectors are unique only up to a phase (if real, a sign). The derivatives are right for
functions that do not depend on the choice. Where values are equal, derivatives with respect to the values alone are
right too, but those that use the vectors are refused: see `check_apart`.

A function that reads only one triangle of a Hermitian matrix has derivatives with respect to that triangle only. Each
element there counts for its mirror image as well.
"""

import math

import numpy as np

from tinygrad_np.derivatives.products import as_array, column, row, transposed
from tinygrad_np.derivatives.table import composite, constant, derivative, differentiable, filled
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


def products_of_others(x):
    """For each element, the product of all others along the last axis: of those before it and those after it."""
    one = np.ones_like(x[..., :1])
    before = np.cumprod(np.concatenate([one, x[..., :-1]], -1), -1)
    after = np.cumprod(np.concatenate([one, x[..., :0:-1]], -1), -1)
    return before * after[..., ::-1]


def cofactors_vjp(g, out, a):
    """The slope of det(a + t g) at t = 0, in turn derived for a. Between singular vectors, a is the diagonal matrix s.

    There the determinant's second derivatives for the elements (i, i) and (j, j) are the product of all but s_i and
    s_j, for the elements (i, j) and (j, i) minus that, and zero for all others.
    """
    u, s, vh = np.linalg.svd(a)
    eye = np.eye(a.shape[-1])
    slopes = np.matmul(np.matmul(adjoint(u), g), adjoint(vh))
    others = products_of_others(np.where(eye, 1, row(s))) * (1 - eye)
    inner = np.matmul(others, column(np.linalg.diagonal(slopes))) * eye - transposed(slopes) * others
    sign = column(column(np.linalg.det(u) * np.linalg.det(vh)))
    return sign * np.matmul(np.matmul(np.conj(u), inner), np.conj(vh))


@differentiable(cofactors_vjp)
def cofactors(a):
    """det(a) a^-T, which singular matrices have too: the singular values' inverses times the product of them all."""
    u, s, vh = np.linalg.svd(a)
    sign = column(column(np.linalg.det(u) * np.linalg.det(vh)))
    return sign * np.matmul(scaled(np.conj(u), products_of_others(s)), np.conj(vh))


def det_vjp(g, out, a):
    """Giles, section 2.2.4. Near singular matrices the inverse's rounding errors would outweigh the result."""
    n = a.shape[-1]
    if n > 0 and np.all(np.linalg.matrix_rank(a, rtol=np.finfo(a.dtype).eps ** 0.5) == n):
        return column(column(g * out)) * transposed(np.linalg.inv(a))
    return column(column(g)) * cofactors(a)


def slogdet_vjp(g, out, a):
    """a^-T for the logarithm. A real sign is constant; a complex one turns with the logarithm's imaginary part."""
    if np.any(out[0] == 0):
        raise NoDerivativeError(
            "numpy.linalg.slogdet has no derivative where the matrix is singular and the logarithm -inf; "
            "use numpy.linalg.det, or add a small multiple of the identity matrix"
        )
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
    """Ones in one triangle, halves on the diagonal, zeros in the other triangle."""
    n = a.shape[-1]
    ones = np.tri(n, dtype=a.dtype) - np.eye(n, dtype=a.dtype) / 2
    return ones if uplo.upper() == "L" else ones.T


def diagonal_part(a):
    return a * np.eye(a.shape[-1], dtype=a.dtype)


def unfold(a, uplo="L"):
    """The Hermitian matrix that one triangle stands for."""
    half = a * triangle(a, uplo)
    return half + adjoint(half)


def fold(g, uplo):
    """The gradient for one triangle, from the gradient for the whole Hermitian matrix."""
    return (g + adjoint(g)) * triangle(g, uplo)


def scaled(vectors, values):
    """Multiply each column of a matrix by a value."""
    return vectors * row(values)


def over_gaps(x, values):
    """x_ij / (values_j - values_i) off the diagonal."""
    eye = np.eye(values.shape[-1], dtype=x.dtype)
    return x * (1 - eye) / (row(values) - column(values) + eye)


def check_apart(name, values, gradient, from_zero=False, condition=1):
    """Refuse gradients of the vectors where two values are equal or, if they must differ from zero too, one is zero.

    Where the values v_i and v_j are equal, V diag(f(v)) V^H has the slope f'(v_i) between the two vectors. But the
    vectors' gradients hold f(v_i) alone: those of exp(v) at v = 0 equal those of the constant 1, and those of log(v) at
    v = 1 are zero, as if the vectors were not used. So nothing can be said, unless rounding made the values differ and
    the gradients are so small that, divided by the gap, their own rounding errors are small again. The values'
    rounding errors grow with the condition number of the vectors (Bauer & Fike, "Norms and exclusion theorems", 1960).
    """
    sizes = np.sum(np.abs(gradient), axis=-2)
    values, sizes = values[..., np.newaxis], sizes[..., np.newaxis]
    if from_zero:
        values, sizes = (np.concatenate([x, np.zeros_like(x[..., :1, :])], -2) for x in (values, sizes))
    gaps = np.abs(values - transposed(values))
    scale = condition * np.max(np.abs(values), (-2, -1), keepdims=True, initial=0)
    rounding = 100 * np.finfo(gaps.dtype).eps * scale
    unsure = rounding * (sizes + transposed(sizes)) > gaps * np.max(sizes, (-2, -1), keepdims=True, initial=0)
    n = values.shape[-2]
    if np.any(((gaps == 0) | unsure) & ~np.eye(n, dtype=bool)):
        raise NoDerivativeError(
            f"numpy.linalg.{name} has no derivative with respect to the vectors of values that are repeated"
            f"{' or zero' if from_zero else ''}, nor can that of a function of the matrix be found through them; "
            "compute the function from the matrix itself (numpy.linalg.inv, matrix_power ...) or from the values "
            "alone, or add a small random matrix to it, such that all values differ"
        )


def eigh_vjp(g, out, a, UPLO="L"):  # noqa: N803 (NumPy's name)
    """Giles, section 3.1; Boeddeker et al., section 4.9."""
    values, vectors = out
    inner = row(filled(g, out)[0]) * np.eye(a.shape[-1])
    if 1 in g:
        check_apart("eigh", values, g[1])
        inner = inner + over_gaps(np.matmul(transposed(vectors), g[1]), values)
    return fold(np.matmul(np.matmul(np.conj(vectors), inner), transposed(vectors)), UPLO)


def eigvalsh_vjp(g, out, a, UPLO="L"):  # noqa: N803
    vectors = np.linalg.eigh(a, UPLO)[1]
    return fold(np.matmul(scaled(np.conj(vectors), g), transposed(vectors)), UPLO)


def cholesky_vjp(g, out, a, *, upper=False):
    """Murray, "Differentiation of the Cholesky decomposition", 2016, equation 10."""
    factor, g = (adjoint(out), adjoint(g)) if upper else (out, g)
    inner = np.matmul(transposed(factor), g)
    inner = inner * triangle(inner, "L")
    inverse = np.linalg.inv(factor)
    return fold(np.matmul(np.matmul(transposed(inverse), inner), np.conj(inverse)), "U" if upper else "L")


derivative(np.linalg.eigh, eigh_vjp)
derivative(np.linalg.eigvalsh, eigvalsh_vjp)
derivative(np.linalg.cholesky, cholesky_vjp)

# Decompositions of any matrices


def eig_vjp(g, out, a):
    """Eigenvectors have length 1. van der Aa et al., "Computation of eigenvalue and eigenvector derivatives", 2007."""
    values, vectors = out
    condition = checked_condition(vectors)
    inner = row(np.conj(filled(g, out)[0])) * np.eye(a.shape[-1])
    if 1 in g:
        check_apart("eig", values, g[1], condition=column(column(condition)))
        x = np.matmul(adjoint(vectors), np.conj(g[1]))
        x = x - np.matmul(adjoint(vectors), vectors) * np.real(row(np.sum(diagonal_part(x), -1)))
        inner = inner + over_gaps(x, np.conj(values))
    return np.conj(np.linalg.solve(adjoint(vectors), np.matmul(inner, adjoint(vectors))))


def eigvals_vjp(g, out, a):
    vectors = np.linalg.eig(a)[1]
    checked_condition(vectors)
    return np.linalg.solve(transposed(vectors), column(g) * transposed(vectors))


def checked_condition(vectors):
    """The condition number of the eigenvectors, which have length 1.

    Refuse matrices that have too few of them: there, repeated eigenvalues move infinitely fast.
    """
    s = np.linalg.svd(vectors, compute_uv=False)
    largest, smallest = np.max(s, -1, initial=1), np.min(s, -1, initial=1)
    if np.any(smallest < 100 * np.finfo(s.dtype).eps * largest):
        raise NoDerivativeError(
            "numpy.linalg.eig and eigvals have no derivative where a matrix has repeated eigenvalues and fewer "
            "eigenvectors than rows; compute the function from the matrix itself (numpy.trace, numpy.linalg.det, "
            "matrix_power ...), or add a small random matrix to it"
        )
    return largest / smallest


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
    rectangular, is_complex = u.shape[-2] != v.shape[-2], u.dtype.kind == "c"
    check_apart("svd", s, np.concatenate([gu, gv], -2), from_zero=rectangular or is_complex)
    left, right = np.matmul(adjoint(u), gu), np.matmul(vh, gv)
    eye = np.eye(s.shape[-1])
    inner = scaled(left - adjoint(left), s) + column(s) * (right - adjoint(right))
    inner = over_gaps(inner, s) / (row(s) + column(s) + eye) + row(gs) * eye
    if is_complex:
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
    if compute_uv and not (0 in g or 2 in g):  # the values alone, which may be repeated
        g, compute_uv = g[1], False
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
    if k > 0 and np.any(np.linalg.matrix_rank(r) < k):
        raise NoDerivativeError(
            "numpy.linalg.qr has no derivative where columns depend on each other (of a wide matrix, the first ones); "
            "leave such columns out, or add a small random matrix"
        )
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
    g_x, g_distances, _, _ = filled(g, out)
    x = matrix(out[0])
    gradient = pinv_general(np.matmul(matrix(g_x), b.T), lstsq_inverse(a, rcond, out), a)
    if 3 in g:
        gradient = gradient + svd_vjp(g[3], out[3], a, compute_uv=False)
    if out[1].size:
        gradient = gradient - np.matmul(2 * np.conj(b - np.matmul(a, x)) * g_distances, x.T)
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


@differentiable(lambda g, out, x, y: g / y, lambda g, out, x, y: -g * out / y)
def divided(x, y):
    """x / y, with 0 / 0 = 0: the slope of a norm at 0. That of the slope is infinite or NaN there, as of any x / y."""
    return x / np.where(y == 0, 1, y)


def direction(x):
    """The derivative of |x|: sign(x) or, for complex x, conj(x) / |x|; zero at zero."""
    return divided(np.conj(x), np.abs(x)) if x.dtype.kind == "c" else np.sign(x)


def chosen(values, best, axes):
    """Weights that pick the values equal to the best; several share equally."""
    picked = (values == best).astype(values.dtype)
    return picked / np.sum(picked, axis=axes, keepdims=True)


def vector_norm_vjp(g, out, x, order, axes):
    """(|x| / norm)^(p-1) times the direction of x. Where x is zero the slope is taken to be zero."""
    if order == 0:
        return np.zeros_like(x)
    if abs(order) == math.inf:
        return g * divided(out, out) * chosen(np.abs(x), out, axes) * direction(x)
    if order == 2:
        return g * divided(np.conj(x), out)
    ratio = divided(np.abs(x), out) if order >= 1 else divided(out, np.abs(x))
    return g * np.power(ratio, abs(order - 1)) * direction(x)


def matrix_norm_vjp(g, out, x, order):
    """The sum or an extreme of the singular values, or the extreme sum of |x| over a column or row."""
    if order == "nuc" or abs(order) == 2:
        u, s, vh = np.linalg.svd(x, full_matrices=False)
        if order != "nuc":
            u = scaled(u, chosen(s, s[..., :1] if order > 0 else s[..., -1:], -1))
        return g * np.conj(np.matmul(u, vh))
    sums = np.sum(np.abs(x), axis=-2 if abs(order) == 1 else -1, keepdims=True)
    best = np.max(sums, (-2, -1), keepdims=True, initial=0) if order > 0 else np.min(sums, (-2, -1), keepdims=True)
    return g * divided(out, out) * chosen(sums, best, (-2, -1)) * direction(x)


def norm_vjp(g, out, x, ord=None, axis=None, keepdims=False):
    axes = tuple(range(x.ndim)) if axis is None else tuple(np.atleast_1d(axis).tolist())
    last = tuple(range(-len(axes), 0))
    if not keepdims:
        g, out = np.expand_dims(g, last), np.expand_dims(out, last)
    else:
        g, out = np.moveaxis(g, axes, last), np.moveaxis(out, axes, last)
    moved = np.moveaxis(x, axes, last)
    frobenius = ord in (None, "fro", "f")
    if len(axes) == 1 or frobenius:
        gradient = vector_norm_vjp(g, out, moved, 2 if frobenius else ord, last)
    else:
        gradient = matrix_norm_vjp(g, out, moved, ord)
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
