"""Arrays made by NumPy's functions with `like=` a Tensor."""

import re
from itertools import count

import numpy as np
import pytest

import tinygrad_np
from tinygrad_np import Tensor, func
from tinygrad_np.debug import gradcheck
from tinygrad_np.errors import ArgumentError, DTypeError, NoDerivativeError, ShapeError


@pytest.mark.parametrize(
    "make",
    [
        lambda x, y: np.array([x[0], 2.0, y], like=x),
        lambda x, y: np.array([[x[0], 2.0], [y, x[1]]], like=x),
        lambda x, y: np.array([x, [3.0, y]], like=y, ndmin=3),
        lambda x, y: np.array(x, like=x, order="F"),
        lambda x, y: np.asarray((x * y, x), like=x),
        lambda x, y: np.asanyarray([y], like=x, order="F"),
        lambda x, y: np.ascontiguousarray([x, x], like=x),
        lambda x, y: np.asfortranarray(y, like=x),
        lambda x, y: np.full((2, 3), y, like=x),
        lambda x, y: np.full((3, 2), x, like=x),
        lambda x, y: np.full(2, [x[1], y], like=x),
        lambda x, y: np.fromiter((element * y for element in x), float, like=x),
        lambda x, y: np.fromfunction(lambda i: i * y, (3,), like=x),
    ],
)
def test_an_array_made_of_tensors_passes_gradients_to_them(make):
    gradcheck(make, (np.array([0.5, -1.5]), np.array(2.0)))


@pytest.mark.parametrize(
    "make",
    [
        lambda **like: np.array([1, 2.5], **like),
        lambda **like: np.array([[1, 2], [3, 4]], np.float32, ndmin=3, **like),
        lambda **like: np.asarray([], **like),
        lambda **like: np.asarray(True, device="cpu", **like),
        lambda **like: np.ascontiguousarray(1.0, **like),
        lambda **like: np.full((2, 2), 7, **like),
        lambda **like: np.full(2, 7, dtype=np.float32, **like),
        lambda **like: np.zeros((2, 3), **like),
        lambda **like: np.ones(2, np.int8, **like),
        lambda **like: np.arange(1, 3, 0.5, **like),
        lambda **like: np.eye(2, 3, 1, **like),
        lambda **like: np.identity(2, **like),
        lambda **like: np.tri(3, **like),
        lambda **like: np.fromiter(count(), int, 4, **like),
        lambda **like: np.frombuffer(b"12345678", np.int16, **like),
        lambda **like: np.fromstring("1 2", sep=" ", **like),
        lambda **like: np.loadtxt(["1 2", "3 4"], **like),
        lambda **like: np.require([1.0], **like),
    ],
)
def test_an_array_made_of_numbers_is_numpys_as_a_tensor(make):
    made, expected = make(like=Tensor(0.0, requires_grad=True)), make()
    assert type(made) is Tensor
    assert not made.requires_grad
    assert made.dtype == expected.dtype
    np.testing.assert_array_equal(made.data, expected)


def test_an_array_like_a_tensor_has_the_dtype_that_is_asked_for():
    x = Tensor([1.0, 2.0], requires_grad=True)
    made = np.array([x, [0.5, x[0]]], dtype=np.float32, like=x)
    assert made.dtype == np.float32
    made.sum().backward()
    assert x.grad.tolist() == [2.0, 1.0]


def test_asarray_of_a_tensor_is_the_tensor_itself_and_array_is_a_copy():
    x = Tensor([1.0], requires_grad=True)
    assert np.asarray(x, like=x) is x
    assert not np.shares_memory(np.array(x, like=x), x)
    with pytest.raises(ArgumentError, match="copy=False"):
        np.asarray([x], like=x, copy=False)


def test_what_makes_no_array_of_numbers_is_refused():
    x = Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(ShapeError, match="same shape"):
        np.array([x, [1.0, 2.0, 3.0]], like=x)
    with pytest.raises(DTypeError):
        np.array([x[0], "a"], like=x)
    with pytest.raises(NoDerivativeError):
        np.arange(x[1], like=x)


def test_a_compiled_function_makes_arrays_of_its_arguments():
    f = tinygrad_np.compile(lambda x, y: np.array([x[0], y, 3.0], like=x) * np.arange(3.0, like=x))
    x, y = Tensor([1.0, 2.0], requires_grad=True), Tensor(5.0, requires_grad=True)
    for factor in (1.0, 2.0):
        np.testing.assert_array_equal(f(x, y * factor).data, [0.0, 5.0 * factor, 6.0])


def test_a_transformed_function_makes_arrays_of_its_argument():
    hessian = func.hessian(lambda x: np.prod(np.array([x[0] ** 2, x[1], 4.0], like=x)))(np.array([1.0, 2.0]))
    assert hessian.tolist() == [[16.0, 8.0], [8.0, 0.0]]


@pytest.mark.parametrize(
    "make",
    [
        lambda x, y: np.array([x, y]),
        lambda x, y: np.asarray([x, y], float),
        lambda x, y: np.mean([x, y]),
        lambda x, y: np.std([x, y]),
        lambda x, y: np.var([x, y]),
        lambda x, y: np.linalg.norm([x, y]),
        lambda x, y: np.full(3, x),
        lambda x, y: np.full(3, x, float),
        lambda x, y: np.full_like(np.zeros(2), x),
        lambda x, y: np.r_[x, y],
        lambda x, y: np.c_[np.stack([x, y]), np.stack([x, y])],
    ],
)
def test_without_like_an_array_of_tensors_is_refused_with_the_line_to_write(make):
    x, y = Tensor(1.0, requires_grad=True), Tensor(2.0, requires_grad=True)
    with pytest.raises(NoDerivativeError, match=re.escape("np.array([x, y], like=x)")):
        make(x, y)


def test_what_numpy_brings_here_by_itself_needs_no_like():
    x, y = Tensor(1.0, requires_grad=True), Tensor(2.0, requires_grad=True)
    made = np.concatenate([np.block([x, y]), np.linspace(x, y, 2), np.hstack([x, y]), np.mgrid[0:x:2j]])
    assert made.requires_grad
    assert made.data.tolist() == [1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 0.0, 1.0]
