"""Cases of derivative_cases.py, continued: products, linear algebra and Fourier transforms."""

import warnings

import numpy as np
from derivative_cases import NUMPY, case, complex_normal, normal, positive

from tinygrad_np.derivatives.fourier import interpolated
from tinygrad_np.derivatives.linalg import cofactors, divided


def of(function, composed):
    """Name `composed`, which computes something from the results of `function`, as a case of that function."""
    composed.__wrapped__ = function
    composed.__name__ = f"{function.__name__}_composed"
    return composed


# Products of matrices and vectors

case(np.matmul, normal(2, 3), np.transpose(normal(4, 3)))
case(np.matmul, normal(2, 2, 3), np.transpose(normal(4, 3)))
case(np.matmul, normal(2, 0, 3), normal(3, 2))
case(np.linalg.matmul, normal(2, 2, 3), normal(3, 2))
for function in np.vecdot, np.linalg.vecdot:
    case(function, normal(2, 3), normal(3))
    case(function, complex_normal(2, 3), complex_normal(4, 1, 3))
    case(function, normal(3, 2), normal(3, 1), axis=-2)
    case(function, normal(3, 2), normal(3, 1), axis=0)
if hasattr(np, "matvec"):  # NumPy 2.2
    case(np.matvec, normal(2, 3), normal(3))
    case(np.matvec, complex_normal(4, 2, 3), complex_normal(2, 1, 3))
    case(np.vecmat, normal(2), normal(2, 3))
    case(np.vecmat, complex_normal(2, 1, 2), complex_normal(4, 2, 3))

pairs = [((), ()), ((), (2, 3)), ((2, 3), ()), ((3,), (3,)), ((2, 3), (3,))]
for left, right in [
    *pairs,
    ((3,), (3, 2)),
    ((2, 3), (3, 4)),
    ((2, 3), (4, 3, 2)),
    ((4, 2, 3), (3,)),
    ((2, 2, 3), (2, 3, 2)),
]:
    case(np.dot, normal(*left), normal(*right))
for left, right in [*pairs, ((3,), (2, 3)), ((2, 3), (4, 3)), ((2, 1, 3), (4, 3))]:
    case(np.inner, normal(*left), normal(*right))
case(np.dot, complex_normal(2, 3), complex_normal(3))
case(np.dot, [[1.0, 2.0], [3.0, 4.0]], normal(2))
case(np.dot, 2.0, normal(2))
case(np.inner, complex_normal(2, 3), normal(3))
case(np.vdot, normal(3), normal(3))
case(np.vdot, complex_normal(2, 3), complex_normal(3, 2))
case(np.vdot, complex_normal(2), [1.0, 2.0])
case(np.outer, normal(3), normal(2))
case(np.outer, complex_normal(2, 2), complex_normal(3))
case(np.outer, normal(), [1.0, 2.0])
case(np.linalg.outer, complex_normal(2), normal(3))

for axes in 2, [[1, 2], [0, 1]], [[-1, -2], [1, 0]]:
    case(np.tensordot, normal(4, 2, 3), normal(2, 3, 2), axes)
case(np.tensordot, normal(4, 2, 3), normal(5, 3, 2), axes=[[1, 2], [2, 1]])
case(np.tensordot, normal(4, 2, 3), normal(3, 5, 2, 1), axes=([2, 1], [0, -2]))
case(np.tensordot, normal(2, 3), normal(4, 3), axes=(1, 1))
case(np.tensordot, normal(2, 3), normal(2, 3))
case(np.tensordot, normal(4), normal(), axes=0)
case(np.tensordot, normal(2), normal(2, 2), 0)
case(np.tensordot, complex_normal(2, 6), complex_normal(6, 3), axes=[[-1], [0]])
case(np.tensordot, [[1.0, 2.0]], normal(2, 1), axes=1)
case(np.linalg.tensordot, normal(2, 3), normal(3, 2), axes=1)

# Index notation: implied results, ellipses, diagonals, sums over one operand alone, and operands that broadcast

for optimize in False, True:
    case(np.einsum, "ij->ji", normal(2, 3), optimize=optimize)
    case(np.einsum, "ij,jk->ik", complex_normal(2, 3), complex_normal(3, 4), optimize=optimize)
    case(np.einsum, "ij,jk,kl", normal(2, 3), normal(3, 2), normal(2, 2), optimize=optimize)
case(np.einsum, "ij,jk,kl", normal(2, 3), normal(3, 2), normal(2, 2), optimize="greedy")
case(np.einsum, "ij,jk,kl", normal(2, 3), normal(3, 2), normal(2, 2), optimize=["einsum_path", (1, 2), (0, 1)])
case(np.einsum, "ba", normal(2, 3))
case(np.einsum, "ij,k", normal(2, 3), normal(3))
case(np.einsum, "i j , j", normal(2, 3), normal(3))
for ellipsis in "...ij,...jk->...ik", "...ij,...jk":
    case(np.einsum, ellipsis, normal(2, 3), normal(3, 2))
    case(np.einsum, ellipsis, normal(2, 2, 3), normal(3, 2))
    case(np.einsum, ellipsis, normal(1, 2, 3), normal(4, 2, 3, 2))
    case(np.einsum, ellipsis, normal(0, 2, 3), normal(0, 3, 2))
case(np.einsum, "jk...,lj...->lk...", normal(3, 2, 4), normal(2, 3, 4))
case(np.einsum, "j...k,lj...->lk...", normal(2, 2, 2), normal(2, 2))
case(np.einsum, "...,...->...", normal(2, 3), normal(3))
case(np.einsum, "...", normal(2, 3))
case(np.einsum, "i...i->...", normal(2, 3, 2))
case(np.einsum, "ii->i", normal(3, 3))
case(np.einsum, "ii", normal(3, 3))
case(np.einsum, "iii->", normal(2, 2, 2))
case(np.einsum, "iij,ji->j", complex_normal(2, 2, 3), complex_normal(3, 2))
case(np.einsum, "abcd->bd", normal(2, 2, 2, 2))
case(np.einsum, "ij->", normal(2, 3))
case(np.einsum, "k,nk->", normal(3), normal(2, 3))
case(np.einsum, "...k,...nk->...", normal(2, 3), normal(2, 4, 3))
case(np.einsum, "ijk,lji,lli->lki", normal(3, 2, 4), normal(4, 2, 3), normal(4, 4, 3))
case(np.einsum, "i,i->", normal(3), normal(1))
case(np.einsum, "ij,jk->ik", normal(2, 1), normal(3, 2))
case(np.einsum, ",i->i", normal(), normal(3))
case(np.einsum, "i,i->i", [1.0, 2.0], normal(2))
case(np.einsum, "i,i->i", [normal(), normal()], normal(2))
x = normal(2, 2)
case(np.einsum, "ij,jk->ik", x, x)
case(np.einsum, normal(2, 3), [0, 1], normal(3, 2), [1, 2], [0, 2])
case(np.einsum, normal(2, 3), (1, 0))
case(np.einsum, normal(2, 2, 3), [..., 0, 1], normal(3, 2), [..., 1, 2], [..., 0, 2])
case(np.einsum, normal(2, 3), [7, 30], normal(3), [30])

# Other products

case(np.linalg.multi_dot, [normal(2, 3), normal(3, 4), normal(4, 2)])
case(np.linalg.multi_dot, [normal(3), normal(3, 4), normal(4, 2), normal(2)])
case(np.linalg.multi_dot, (complex_normal(2, 3), complex_normal(3)))
case(np.linalg.multi_dot, [np.ones((2, 3), dtype=int), normal(3, 1), normal(1, 2), normal(2, 2)])
for n in 0, 1, 2, 3, 5, -1, -2:
    case(np.linalg.matrix_power, normal(2, 2) + 2 * np.eye(2), n)
case(np.linalg.matrix_power, complex_normal(3, 2, 2) + 3 * np.eye(2), -3)
for left, right in [*pairs, ((2, 2), (3, 2)), ((2,), (2, 2)), ((2, 1, 2), (2, 3))]:
    case(np.kron, normal(*left), normal(*right))
case(np.kron, complex_normal(2), complex_normal(2, 2))
case(np.cross, normal(3), normal(3))
case(np.cross, normal(2, 3), normal(3))
case(np.cross, complex_normal(3), complex_normal(2, 3))
case(np.cross, normal(2, 3), normal(3, 2), axisb=0, axisc=0)
case(np.cross, normal(3, 2), normal(2, 3), axisa=0)
case(np.cross, normal(3, 2), normal(3, 2), axis=0)
case(np.linalg.cross, normal(2, 3), normal(2, 3))


def cross_of_two(a, b):
    """NumPy before 2.5 still takes vectors of two elements, but warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return np.cross(a, b)


if NUMPY < "2.5.0":  # newer ones take vectors of three elements alone
    case(of(np.cross, cross_of_two), normal(2), normal(2))
    case(of(np.cross, cross_of_two), normal(4, 2), normal(3))
    case(of(np.cross, cross_of_two), normal(3), normal(2))
case(np.linalg.cross, normal(3, 2), normal(3, 2), axis=0)
for function in np.convolve, np.correlate:
    for mode in "full", "same", "valid":
        for n, m in [(5, 2), (5, 3), (2, 5), (3, 4), (3, 3), (1, 2)]:
            case(function, normal(n), normal(m), mode)
        case(function, complex_normal(4), complex_normal(3), mode=mode)
    case(function, normal(4), [1.0, 2.0])
case(np.convolve, normal(3), 2.0)
case(np.convolve, 2.0, normal(3))


# Linear algebra: matrices whose singular values and eigenvalues lie well apart


def regular(*shape):
    """Of full rank."""
    return normal(*shape) + 2 * np.eye(*shape[-2:])


def complex_regular(*shape):
    return complex_normal(*shape) + 3 * np.eye(*shape[-2:])


def spread(n, *stack):
    """Real, with distinct real eigenvalues."""
    return 0.2 * normal(*stack, n, n) + np.diag(np.arange(1.0, n + 1))


def complex_spread(n, *stack):
    return 0.2 * complex_normal(*stack, n, n) + np.diag(np.arange(1.0, n + 1))


def hermitian(x):
    return (x + np.conj(np.swapaxes(x, -1, -2))) / 2


for x, n in (regular(3, 3), 3), (regular(2, 3, 3), 3), (complex_regular(2, 2), 2):
    case(np.linalg.inv, x)
    case(np.linalg.det, x)
    case(np.linalg.slogdet, x)
    case(np.linalg.solve, x, x)
    case(np.linalg.solve, x, normal(n))
    case(np.linalg.solve, x, complex_normal(n, 2))
    case(np.linalg.pinv, x)
    case(np.linalg.cond, x)
case(np.linalg.solve, regular(2, 2), normal(3, 2, 1))
case(np.linalg.solve, regular(2, 2), [1.0, 2.0])
case(np.linalg.solve, [[1.0, 2.0], [3.0, 4.0]], normal(2))
case(np.linalg.det, np.array([[1.0, 2.0], [2.0, 4.0]]))
case(np.linalg.det, np.stack([np.zeros((3, 3)), np.eye(3), np.outer([1.0, 2, 3], [4, 5, 6])]))
case(np.linalg.det, np.zeros((1, 1)))
for x in np.arange(9.0).reshape(3, 3), np.diag([1.0, 1, 0]), np.diag([1j, 0, 0]), complex_regular(2, 2, 2):
    case(np.linalg.det, x)
case(cofactors, spread(3))
case(cofactors, complex_spread(2, 2))
case(cofactors, np.arange(9.0).reshape(3, 3))
for shape in (4, 2), (2, 4), (2, 3, 2):
    case(np.linalg.pinv, regular(*shape))
    case(np.linalg.pinv, complex_regular(*shape), rcond=1e-10)
case(np.linalg.pinv, regular(3, 2), rtol=1e-10)
case(np.linalg.pinv, hermitian(regular(3, 3)), hermitian=True)
case(np.linalg.pinv, hermitian(complex_regular(2, 2, 2)), hermitian=True)
for p in 2, -2, 1, -1, np.inf, -np.inf, "fro", "nuc":
    case(np.linalg.cond, regular(2, 2), p)
case(np.linalg.tensorinv, np.reshape(regular(6, 6), (2, 3, 3, 2)))
case(np.linalg.tensorinv, np.reshape(regular(4, 4), (4, 2, 2)), ind=1)
case(np.linalg.tensorsolve, np.reshape(regular(6, 6), (2, 3, 3, 2)), normal(2, 3))
case(np.linalg.tensorsolve, np.moveaxis(np.reshape(regular(6, 6), (2, 3, 6)), 2, 0), normal(2, 3), axes=(0,))
for x in normal(3, 3), normal(2, 3), complex_normal(3, 2):
    case(np.trace, x)
    case(np.trace, x, offset=1)
    case(np.linalg.trace, x)
    case(np.linalg.matrix_transpose, x)
case(np.trace, normal(2, 3, 4), -1, 2, 0)
case(np.trace, normal(2, 3), dtype=np.float64)
case(np.linalg.trace, normal(2, 3, 4), offset=-1)

for uplo in "L", "U":
    case(np.linalg.eigvalsh, spread(3), uplo)
    case(np.linalg.eigvalsh, complex_spread(2, 2), UPLO=uplo)
    case(np.linalg.eigh, spread(3), uplo)
    case(np.linalg.eigh, spread(2, 2), UPLO=uplo)


def eigh_of(x, uplo="L"):
    values, vectors = np.linalg.eigh(x, uplo)
    weighted = vectors * np.expand_dims(np.exp(values), -2)
    return np.matmul(weighted, np.conj(np.swapaxes(vectors, -1, -2))), np.abs(vectors)


for uplo in "L", "U":
    case(of(np.linalg.eigh, eigh_of), complex_spread(3), uplo)
case(of(np.linalg.eigh, eigh_of), complex_spread(2, 2))
for upper in False, True:
    case(np.linalg.cholesky, hermitian(regular(3, 3)) + 3 * np.eye(3), upper=upper)
    case(np.linalg.cholesky, hermitian(complex_regular(2, 3, 3)) + 2 * np.eye(3), upper=upper)

case(np.linalg.eigvals, spread(3))
case(np.linalg.eigvals, complex_spread(2, 2))
case(np.linalg.eigvals, np.array([[1.0, 2.0], [-3.0, 1.5]]))


def eig_of(x):
    values, vectors = np.linalg.eig(x)
    return values, np.abs(vectors)


for x in spread(3), spread(2, 2), complex_spread(3), np.array([[1.0, 2.0], [-3.0, 1.5]]):
    case(of(np.linalg.eig, eig_of), x)


def svd_of(x, full_matrices=True, hermitian=False):
    """What the free signs and phases leave alone: absolute values, products of the factors, and projections."""
    u, s, vh = np.linalg.svd(x, full_matrices, hermitian=hermitian)
    k = s.shape[-1]
    inside = np.matmul(u[..., :k] * np.expand_dims(np.sin(s), -2), vh[..., :k, :])
    left, right = u[..., k:], vh[..., k:, :]
    outside = np.matmul(left, np.conj(np.swapaxes(left, -1, -2))), np.matmul(np.conj(np.swapaxes(right, -1, -2)), right)
    return np.abs(u[..., :k]), s, np.abs(vh[..., :k, :]), inside, *outside


for shape in (3, 3), (4, 2), (2, 4), (2, 3, 2):
    case(np.linalg.svdvals, regular(*shape))
    case(np.linalg.svd, regular(*shape), compute_uv=False)
    case(np.linalg.svd, regular(*shape), full_matrices=False)
    case(np.linalg.svd, complex_regular(*shape), full_matrices=False, compute_uv=False)
    case(of(np.linalg.svd, svd_of), regular(*shape))
for shape in (2, 2), (3, 1), (2, 3), (2, 2, 1):
    case(of(np.linalg.svd, svd_of), complex_regular(*shape))
case(of(np.linalg.svd, svd_of), complex_regular(3, 2), full_matrices=False)
case(np.linalg.svd, spread(3))
case(np.linalg.svd, hermitian(spread(3)), hermitian=True)
case(np.linalg.svd, hermitian(spread(3)), hermitian=True, compute_uv=False)
case(of(np.linalg.svd, svd_of), hermitian(complex_spread(2)), hermitian=True)


def qr_of(x, mode):
    """The factors, and the projection onto the space that they leave out."""
    q, r = np.linalg.qr(x, mode)
    k = min(x.shape[-2:])
    outside = q[..., k:]
    return q[..., :k], r, np.matmul(outside, np.conj(np.swapaxes(outside, -1, -2)))


for shape in (3, 3), (4, 2), (2, 4), (2, 3, 2):
    case(np.linalg.qr, regular(*shape))
    case(np.linalg.qr, complex_regular(*shape), mode="reduced")
    case(np.linalg.qr, regular(*shape), "r")
    case(of(np.linalg.qr, qr_of), regular(*shape), mode="complete")
case(of(np.linalg.qr, qr_of), complex_regular(3, 2), mode="complete")


def lstsq_of(a, b, rcond=None):
    """Without the rank, which is an integer."""
    x, residuals, _, s = np.linalg.lstsq(a, b, rcond)
    return x, residuals, s


case(of(np.linalg.lstsq, lstsq_of), regular(4, 2), normal(4))
case(of(np.linalg.lstsq, lstsq_of), regular(4, 2), normal(4, 3))
case(of(np.linalg.lstsq, lstsq_of), regular(2, 4), normal(2))
case(of(np.linalg.lstsq, lstsq_of), regular(3, 3), normal(3, 2), rcond=-1)
case(of(np.linalg.lstsq, lstsq_of), complex_regular(4, 2), complex_normal(4, 2), rcond=1e-8)
case(of(np.linalg.lstsq, lstsq_of), [[1.0, 2.0], [3.0, 4.0], [5.0, 7.0]], normal(3))

# Norms

for order in 0, 1, 2, 3, -1, -2, 0.5, 2.5, np.inf, -np.inf:
    case(np.linalg.norm, normal(3), order)
    case(np.linalg.norm, complex_normal(3), ord=order)
    case(np.linalg.norm, normal(2, 3), order, 1)
    case(np.linalg.norm, normal(2, 3, 2), order, -2, True)
    case(np.linalg.vector_norm, normal(2, 3), ord=order)
for order in None, 2, 3, np.inf:
    case(np.linalg.norm, np.array([0.0, 1.0, -2.0]), order)
case(np.linalg.vector_norm, normal(2, 3, 2), axis=(2, 0))
case(np.linalg.vector_norm, complex_normal(2, 3, 2), axis=(0, 1), ord=3, keepdims=True)
case(np.linalg.vector_norm, normal(2, 3, 2), axis=1, keepdims=True)
case(np.linalg.vector_norm, normal(2, 3), keepdims=True)
case(np.linalg.vector_norm, normal())
case(np.linalg.norm, normal(2, 3, 2))
case(np.linalg.norm, normal(2, 3, 2), keepdims=True)
case(np.linalg.norm, normal(3))
case(np.linalg.norm, regular(2, 3), "f")
case(divided, normal(2, 3), positive(3))
for order in None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf:
    case(np.linalg.norm, regular(2, 3), order)
    case(np.linalg.norm, complex_regular(3, 2), order, keepdims=True)
    case(np.linalg.norm, normal(2, 3, 2), order, (2, 0))
    case(np.linalg.norm, normal(2, 3, 2), order, axis=(0, -1), keepdims=True)
    case(np.linalg.matrix_norm, regular(2, 2, 3), ord="fro" if order is None else order)
case(np.linalg.matrix_norm, complex_regular(2, 3), keepdims=True)

case(np.linalg.matrix_rank, normal(3, 2))

# Fourier transforms

for function in np.fft.fft, np.fft.ifft, np.fft.rfft, np.fft.irfft, np.fft.hfft, np.fft.ihfft:
    some = normal if function in (np.fft.rfft, np.fft.ihfft) else complex_normal
    for norm in None, "backward", "ortho", "forward":
        case(function, some(5), norm=norm)
    for n in 3, 4, 7, 8:
        case(function, some(5), n)
    case(function, some(2, 4))
    case(function, some(4, 2), axis=0)
    case(function, some(2, 3, 2), 4, 1, "ortho")
    case(function, normal(2, 4))
for function in (
    np.fft.fft2,
    np.fft.ifft2,
    np.fft.fftn,
    np.fft.ifftn,
    np.fft.rfft2,
    np.fft.irfft2,
    np.fft.rfftn,
    np.fft.irfftn,
):
    some = normal if function in (np.fft.rfft2, np.fft.rfftn) else complex_normal
    case(function, some(3, 4))
    case(function, some(3, 4), norm="ortho")
    case(function, some(2, 3, 2), axes=(0, 1))
    case(function, some(2, 3, 2), (4, 2), (1, -3))
    case(function, some(2, 3, 2), s=(3, -1), axes=(0, 2), norm="forward")
    case(function, some(2, 3), axes=(0, 0))
case(np.fft.fftn, normal(2, 2, 2))
case(np.fft.irfftn, normal(2, 2, 3), axes=[1])
for function in np.fft.fftshift, np.fft.ifftshift:
    case(function, normal(5))
    case(function, complex_normal(2, 3))
    case(function, normal(2, 3), axes=1)
    case(function, normal(3, 2, 4), (0, -1))

# Polynomials and interpolation

case(np.polyval, normal(4), normal(2, 3))
case(np.polyval, normal(3), normal())
case(np.polyval, [1.0, 2.0, 3.0], normal(2))
case(np.polyval, complex_normal(3), complex_normal(2))
case(np.polyval, normal(1), normal(2))
case(np.polyval, normal(3), 2.0)

points, heights = np.array([0.0, 1.0, 2.5, 3.0]), normal(4)
for x in np.array([0.3, 1.1, 2.9, 0.6, -0.5, 3.5]), np.array([[0.5], [2.0]]), np.array(1.5):
    case(np.interp, x, points, heights)
    case(np.interp, x, [0.0, 1.0, 2.5, 3.0], complex_normal(4))
    case(np.interp, x, points, heights, -1.0, 2.0)
    case(np.interp, x, points, heights, left=-1.0)
    case(np.interp, x, np.array([2.2, 0.7, -1.2]), normal(3), period=4)
case(np.interp, [0.5, 2.0], points, [1.0, 2.0, 4.0, 3.0])
case(np.interp, normal(3), np.array([0.5]), normal(1))
case(interpolated, np.array([0.4, 2.6, 5.0]), points, heights, right=0.5)
