"""`scipy.linalg`, with derivatives for triangular, banded and Sylvester equations, and for square roots.

Real and complex. Stacks of matrices are taken as far as SciPy takes them. The rest of the module is SciPy's own and
refuses Tensors that require grad; inv, cholesky, eigh and others have derivatives in `numpy.linalg`.

The rules are those of Giles, "An extended collection of matrix derivative results for forward and reverse mode
algorithmic differentiation" (2008), section 2.3.1, for equations, applied to the part of the matrix that is read. Those
of Sylvester's equation and of the square root come from the differentials of AX + XB = Q and XX = A in the same way, as
in Higham, "Functions of matrices" (2008), sections 6.1 and B.14.
"""

from __future__ import annotations

__docformat__ = "google"

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import linalg

from tinygrad_np.calls import call, holds_tensor
from tinygrad_np.derivatives.elementwise import masked
from tinygrad_np.derivatives.linalg import adjoint
from tinygrad_np.derivatives.products import column, transposed
from tinygrad_np.derivatives.table import RULES, derivative, differentiable
from tinygrad_np.errors import ArgumentError, LinAlgError, NoDerivativeError, ShapeError
from tinygrad_np.functional.arrays import as_array
from tinygrad_np.gradients import unbroadcast

__all__ = ["solve_banded", "solve_sylvester", "solve_triangular", "sqrtm"]


def __getattr__(name: str) -> Any:
    """All that is not written here is SciPy's own."""
    return getattr(linalg, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(linalg)})


def solved(solve: Callable[[Any], Any], b: Any) -> Any:
    """solve(b) for a matrix b, which a vector becomes for a while."""
    b = as_array(b)
    return np.squeeze(solve(column(b)), -1) if b.ndim == 1 else solve(b)


# Triangular matrices


def triangular_of_a(
    g: Any, out: Any, a: Any, b: Any, lower: bool, unit_diagonal: bool = False, check_finite: bool = True
) -> Any:
    gradient = -np.matmul(triangular_of_b(g, out, a, b, lower, unit_diagonal), transposed(out))
    return np.tril(gradient, -int(unit_diagonal)) if lower else np.triu(gradient, int(unit_diagonal))


def triangular_of_b(
    g: Any, out: Any, a: Any, b: Any, lower: bool, unit_diagonal: bool = False, check_finite: bool = True
) -> Any:
    return _solve_triangular(transposed(a), g, not lower, unit_diagonal, False)


@differentiable(triangular_of_a, triangular_of_b)
def _solve_triangular(a: Any, b: Any, lower: bool, unit_diagonal: bool = False, check_finite: bool = True) -> Any:
    """The same as `solve_triangular`, for a matrix b."""
    return linalg.solve_triangular(a, b, lower=lower, unit_diagonal=unit_diagonal, check_finite=check_finite)


def solve_triangular(
    a: Any,
    b: Any,
    trans: Any = 0,
    lower: bool = False,
    unit_diagonal: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
) -> Any:
    """The solution x of a x = b, where a is a triangular matrix.

    Args:
        a: the matrix, of shape (M, M). One triangle is read, and gets a gradient.
        b: the right side, of shape (M,) or (M, N).
        trans: 0 or "N" to solve a x = b, 1 or "T" for the transpose of a, 2 or "C" for its conjugate transpose.
        lower: whether a is the lower triangle, not the upper one.
        unit_diagonal: take the diagonal to be 1, without reading it.
        overwrite_b: does nothing; b stays as it is.
        check_finite: raise a ValueError where a or b is not finite.

    Returns:
        The solution, of the shape of b.

    Raises:
        ArgumentError: `trans` is none of these.
        LinAlgError: a is singular.

    >>> solve_triangular(np.array([[2.0, 0.0], [1.0, 4.0]]), np.array([2.0, 9.0]), lower=True)
    array([1., 2.])
    """
    a = as_array(a)
    if trans in (1, "T"):
        a, lower = transposed(a), not lower
    elif trans in (2, "C"):
        a, lower = adjoint(a), not lower
    elif trans not in (0, "N"):
        raise ArgumentError(f"trans must be 0 or 'N', 1 or 'T', or 2 or 'C', but is {trans!r}")
    return solved(lambda b: _solve_triangular(a, b, lower, unit_diagonal, check_finite), b)


# Banded matrices


def rows_of(ab: Any, upper: int) -> Any:
    """For each element of a matrix in banded form, the row that it stands in; outside of the matrix for unused ones."""
    diagonals, size = ab.shape[-2:]
    return column(np.arange(diagonals)) - upper + np.arange(size)


def banded_of_ab(g: Any, out: Any, ab: Any, b: Any, lower: int, upper: int, check_finite: bool = True) -> Any:
    rows, size = rows_of(ab, upper), ab.shape[-1]
    right = banded_of_b(g, out, ab, b, lower, upper)[..., rows % size, :]
    gradient = -np.einsum("...djk,...jk->...dj", right, out)
    return masked(gradient, np.logical_and(rows >= 0, rows < size))


def banded_of_b(g: Any, out: Any, ab: Any, b: Any, lower: int, upper: int, check_finite: bool = True) -> Any:
    flipped = np.flip(np.arange(lower + upper + 1))  # the transpose has the diagonals in the opposite order
    transpose = ab[..., column(flipped), rows_of(ab, lower) % ab.shape[-1]]
    return _solve_banded(transpose, g, upper, lower, False)


@differentiable(banded_of_ab, banded_of_b)
def _solve_banded(ab: Any, b: Any, lower: int, upper: int, check_finite: bool = True) -> Any:
    """The same as `solve_banded`, for a matrix b."""
    return linalg.solve_banded((lower, upper), ab, b, check_finite=check_finite)


def solve_banded(
    l_and_u: tuple[int, int],
    ab: Any,
    b: Any,
    overwrite_ab: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
) -> Any:
    """The solution x of a x = b, where a is a banded matrix, of which only the diagonals are given.

    Args:
        l_and_u: the numbers L of diagonals below the main one, and U of those above it.
        ab: the diagonals, of shape (L + U + 1, M): ab[U + i - j, j] is the element a[i, j]. Elements for which there is
            none are not used, and have the gradient 0.
        b: the right side, of shape (M,) or (M, N).
        overwrite_ab: does nothing; ab stays as it is.
        overwrite_b: does nothing; b stays as it is.
        check_finite: raise a ValueError where ab or b is not finite.

    Returns:
        The solution, of the shape of b.

    Raises:
        LinAlgError: a is singular.

    >>> solve_banded((1, 0), np.array([[2.0, 4.0], [1.0, 0.0]]), np.array([2.0, 9.0]))
    array([1., 2.])
    """
    ab, (lower, upper) = as_array(ab), l_and_u
    return solved(lambda b: _solve_banded(ab, b, lower, upper, check_finite), b)


# Sylvester's equation


def sylvester_vjp(g: Any, out: Any, matrices: Any) -> Any:
    of_q = solve_sylvester(transposed(matrices[0]), transposed(matrices[1]), g)
    gradients = [-np.matmul(of_q, transposed(out)), -np.matmul(transposed(out), of_q), of_q]
    rule = RULES[sylvester]
    return [unbroadcast(*pair, rule) for pair in zip(gradients, matrices, strict=True)]  # a list is not looked into


def sylvester(matrices: Any) -> Any:
    """The same as `solve_sylvester`. It takes all in one list, so that its rule solves one equation for all three."""
    dtype = np.result_type(*matrices)  # SciPy gets the mixture of real and complex ones wrong
    a, b, q = (matrix.astype(dtype, copy=False) for matrix in matrices)
    x = linalg.solve_sylvester(a, b, q)
    error = np.matmul(a, x) + np.matmul(x, b) - q
    if np.max(np.abs(error), initial=0) > 0.1 * np.max(np.abs(q), initial=0):  # SciPy has solved another equation
        raise LinAlgError(
            "solve_sylvester: a x + x b = q has no unique solution, because a and -b have an eigenvalue in common; add "
            "a little to the diagonal of a, such as 1e-6 * np.eye(n)"
        )
    return x


derivative(sylvester, sylvester_vjp)


def solve_sylvester(a: Any, b: Any, q: Any) -> Any:
    """The solution x of a x + x b = q.

    Args:
        a: of shape (M, M).
        b: of shape (N, N).
        q: of shape (M, N).

    Returns:
        The solution, of shape (M, N).

    Raises:
        LinAlgError: a and -b have an eigenvalue in common, so that there is no unique solution.

    >>> solve_sylvester(np.array([[1.0]]), np.array([[3.0]]), np.array([[2.0]]))
    array([[0.5]])
    """
    matrices = [as_array(a), as_array(b), as_array(q)]
    return call(sylvester, [matrices]) if holds_tensor(matrices) else sylvester(matrices)


# The square root


@differentiable(lambda g, out, x, a: g, None)
def regular(x: Any, a: Any) -> Any:
    """The square root x of a, refused where a is singular."""
    if np.any(np.linalg.matrix_rank(a) < a.shape[-1]):
        raise NoDerivativeError(
            "sqrtm has no derivative where the matrix is singular, as the square root has none at 0; add a little to "
            "its diagonal, such as 1e-6 * np.eye(n)"
        )
    return x


def sqrtm_vjp(g: Any, out: Any, a: Any) -> Any:
    x = transposed(regular(out, a))
    return solve_sylvester(x, x, g)


@differentiable(sqrtm_vjp)
def _sqrtm(a: Any) -> Any:
    """The same as `sqrtm`, for an array."""
    if a.ndim < 2:
        raise ShapeError(f"sqrtm takes a square matrix, but was given shape {a.shape}; use np.sqrt for numbers")
    return linalg.sqrtm(a)


def sqrtm(A: Any) -> Any:  # noqa: N803 (SciPy's name)
    """The principal square root of a matrix: sqrtm(A) @ sqrtm(A) is A.

    Args:
        A: of shape (M, M).

    Returns:
        The square root, of the same shape. It is complex where a real A has a negative eigenvalue.

    Raises:
        ShapeError: A is not a matrix.
        NoDerivativeError: a gradient is asked for where A is singular.

    >>> sqrtm(np.array([[4.0, 5.0], [0.0, 9.0]]))
    array([[2., 1.],
           [0., 3.]])
    """
    return _sqrtm(as_array(A))
