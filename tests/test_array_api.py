"""The namespace of the Array API standard. The standard's own test suite is run by hand: see CONTRIBUTING.md."""

import numpy as np
import pytest

from tinygrad_np import Tensor
from tinygrad_np.debug import gradcheck
from tinygrad_np.errors import ArgumentError, NoDerivativeError

X = Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
xp = X.__array_namespace__()


def test_the_functions_are_numpys_own():
    assert xp.exp is np.exp
    assert xp.linalg is np.linalg
    assert xp.fft.rfft is np.fft.rfft
    assert xp.__array_api_version__ == np.__array_api_version__
    assert {"exp", "asarray", "fft", "float32"} <= set(dir(xp))
    with pytest.raises(AttributeError):
        _ = xp.no_such_function


def test_a_version_of_the_standard_that_numpy_does_not_have_is_refused():
    assert X.__array_namespace__(api_version="2022.12") is xp
    with pytest.raises(ValueError, match="1999"):
        X.__array_namespace__(api_version="1999.12")


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: xp.arange(3), np.arange(3)),
        (lambda: xp.asarray([1.0, 2.0], dtype=xp.float32), np.float32([1, 2])),
        (lambda: xp.empty((0, 2)), np.empty((0, 2))),
        (lambda: xp.empty_like(X[:0]), np.empty((0, 2))),
        (lambda: xp.eye(2), np.eye(2)),
        (lambda: xp.from_dlpack(np.ones(2)), np.ones(2)),
        (lambda: xp.full(2, 7), np.full(2, 7)),
        (lambda: xp.full_like(X, 7), np.full((2, 2), 7.0)),
        (lambda: xp.linspace(0, 1, 3), np.linspace(0, 1, 3)),
        (lambda: xp.ones((2, 1)), np.ones((2, 1))),
        (lambda: xp.ones_like(X), np.ones((2, 2))),
        (lambda: xp.zeros(2, dtype=xp.int64, device="cpu"), np.zeros(2, np.int64)),
        (lambda: xp.zeros_like(X), np.zeros((2, 2))),
        (lambda: xp.fft.fftfreq(4), np.fft.fftfreq(4)),
        (lambda: xp.fft.rfftfreq(4), np.fft.rfftfreq(4)),
    ],
)
def test_functions_that_make_arrays_make_tensors(make, expected):
    made = make()
    assert type(made) is Tensor
    assert not made.requires_grad
    assert made.dtype == expected.dtype
    np.testing.assert_array_equal(made.data, expected)


@pytest.mark.parametrize(
    "make",
    [
        lambda x, y: xp.asarray([x[0], y, 2.0]),
        lambda x, y: xp.asarray(x * y, copy=True),
        lambda x, y: xp.full((2, 3), y),
        lambda x, y: xp.full_like(x, y),
        lambda x, y: xp.linspace(y, x[0], 4),
    ],
)
def test_what_is_made_of_tensors_passes_gradients_to_them(make):
    gradcheck(make, (np.array([0.5, -1.5]), np.array(2.0)))


def test_unique_values_come_in_order_and_pass_gradients():
    assert xp.unique_values(Tensor([3, 10, 1, 10, 2, 1])).data.tolist() == [1, 2, 3, 10]
    gradcheck(xp.unique_values, np.array([3.0, -1.0, 2.0]))


def test_a_tensor_is_on_the_cpu():
    assert X.device == "cpu"
    assert X.to_device("cpu") is X
    with pytest.raises(ArgumentError, match="device"):
        X.to_device("cuda")


def test_mt_transposes_the_matrices_of_a_stack():
    gradcheck(lambda x: x.mT, np.arange(12.0).reshape(2, 2, 3))
    assert Tensor(np.zeros((2, 3, 4))).mT.shape == (2, 4, 3)


def test_dlpack_hands_out_the_memory_but_not_that_of_a_tensor_with_a_history():
    x = Tensor([1.0, 2.0])
    assert np.shares_memory(np.from_dlpack(x), x.data)
    with pytest.raises(NoDerivativeError):
        np.from_dlpack(X)
