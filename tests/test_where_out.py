"""`where=` and `out=` of ufuncs, and other spellings of NumPy's that compute with some elements only."""

import numpy as np
import pytest

import tinygrad_np
from tinygrad_np import Tensor, func
from tinygrad_np.errors import ArgumentError, DTypeError, GraphError, NoDerivativeError

X = np.array([1.0, 2.0, 3.0])
Y = np.array([2.0, 0.0, 4.0])


def quotient(x, y):
    return np.divide(x, y, out=np.zeros_like(x), where=y != 0)


@pytest.mark.filterwarnings("error")
def test_a_division_with_where_has_a_gradient_of_zero_where_nothing_was_divided():
    assert quotient(Tensor(X, requires_grad=True), Y).data.tolist() == [0.5, 0.0, 0.75]
    in_x, in_y = func.grad(lambda x, y: np.sum(quotient(x, y)), (0, 1))(X, Y)
    assert in_x.tolist() == [0.5, 0.0, 0.25]
    assert in_y.tolist() == [-0.25, 0.0, -0.1875]
    second = func.hessian(lambda y: np.sum(quotient(X, y)))(Y)
    np.testing.assert_allclose(np.diag(second), [0.25, 0.0, 6 / 64])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_nothing_gets_from_masked_elements_into_a_gradient(bad):
    y = np.array([2.0, bad])
    mask = np.array([True, False])
    slope = func.grad(lambda y: np.sum(np.log(y, out=np.full(2, 7.0), where=mask)))(y)
    assert slope.tolist() == [0.5, 0.0]


def test_where_and_out_broadcast():
    column = np.ones((2, 1))
    total = func.grad(lambda a: np.sum(np.multiply(a, X, out=np.zeros((2, 3)), where=Y != 0)))(column)
    assert total.tolist() == [[4.0], [4.0]]
    with pytest.raises(ValueError, match="broadcast"):
        np.multiply(Tensor(column, requires_grad=True), X, out=np.zeros(2), where=Y != 0)


def test_the_elements_that_are_not_computed_give_their_gradient_to_out():
    def f(b):
        out = b * 2
        result = np.multiply(b, X, out=out, where=Y != 0)
        assert result is out
        return np.sum(out)

    assert func.grad(f)(Y).tolist() == [1.0, 2.0, 3.0]


def test_an_array_given_as_out_may_not_be_used_on():
    out = np.zeros(3)
    result = np.divide(Tensor(X, requires_grad=True), Y, out=out, where=Y != 0)
    assert out.tolist() == result.data.tolist()
    with pytest.raises(GraphError, match="has no history"):
        result.sum().backward()


def test_where_without_out_is_refused():
    with pytest.raises(NoDerivativeError, match="out=np"):
        np.log(Tensor(X, requires_grad=True), where=Y != 0)
    assert np.log(Tensor(X, requires_grad=True), where=True).requires_grad


def test_a_result_that_out_cannot_hold_is_refused():
    with pytest.raises(DTypeError, match="has dtype float64, but out= has int64"):
        np.multiply(Tensor(X, requires_grad=True), 2, out=np.zeros(3, np.int64), where=Y != 0)
    with pytest.raises(DTypeError, match="True and False"):
        np.multiply(Tensor(X, requires_grad=True), 2, out=np.zeros(3), where=[1, 0, 1])


def test_a_compiled_function_takes_where_and_out():
    compiled = tinygrad_np.compile(func.grad(lambda y: np.sum(quotient(X, y))))
    for y in (Y, Y[::-1].copy()):
        np.testing.assert_array_equal(compiled(y), func.grad(lambda y: np.sum(quotient(X, y)))(y))


def test_astype_takes_a_rule_of_casting():
    x = Tensor(X, requires_grad=True)
    assert x.astype(np.float32, casting="same_kind").dtype == np.float32
    assert x.astype(dtype=np.float64, copy=False).requires_grad
    with pytest.raises(DTypeError, match="cannot be cast to float32 by the rule 'safe'"):
        x.astype(np.float32, casting="safe")


@pytest.mark.parametrize("names", [("a_min", "a_max"), ("min", "max")])
def test_bounds_of_clip_have_gradients_by_any_name(names):
    if names[0] == "min" and np.lib.NumpyVersion(np.__version__) < "2.1.0":
        pytest.skip("NumPy's clip has no such arguments yet")
    low, high = np.array([1.5, 0.0, 5.0]), np.array([2.0, 1.0, 6.0])

    def f(a, low, high):
        return np.sum(np.clip(a, **dict(zip(names, (low, high), strict=True))))

    assert [g.tolist() for g in func.grad(f, (0, 1, 2))(X, low, high)] == [[0, 0, 0], [1, 0, 1], [0, 1, 0]]


def test_one_bound_of_clip_has_a_gradient():
    low = np.array([1.5, 0.0, 5.0])
    assert func.grad(lambda low: np.sum(Tensor(X).clip(min=low)))(low).tolist() == [1, 0, 1]
    assert func.grad(lambda high: np.sum(Tensor(X).clip(max=high)))(low).tolist() == [0, 1, 0]
    with pytest.raises(ArgumentError, match="not mixed"):
        np.clip(Tensor(X, requires_grad=True), 0.0, 1.0, min=0.5)
