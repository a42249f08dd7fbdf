"""`tinygrad_np.scipy.signal`: SciPy's and HIPS autograd's convolutions, and derivatives that equal differences."""

import numpy as np
import pytest
import scipy.signal

from tinygrad_np import Tensor, compile, func
from tinygrad_np.debug import gradcheck, gradgradcheck
from tinygrad_np.errors import ArgumentError, NoDerivativeError, ShapeError
from tinygrad_np.scipy import signal

rng = np.random.default_rng(0)
SHAPES = [((5,), (3,)), ((3,), (6,)), ((4, 3), (2, 2)), ((2, 3), (4, 5)), ((3, 5), (4, 2)), ((2, 4, 3), (1, 2, 2))]


def arrays(*shapes):
    return [rng.normal(size=shape) for shape in shapes]


def assert_equal(ours, theirs):
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("method", ["auto", "direct", "fft"])
@pytest.mark.parametrize("mode", ["full", "valid", "same"])
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_a_convolution_is_scipys_and_has_two_derivatives(shapes, mode, method):
    a, b = arrays(*shapes)
    if mode == "valid" and shapes == ((3, 5), (4, 2)):
        with pytest.raises(ShapeError, match="as long as the other or longer"):
            signal.convolve(a, b, mode, method)
        return
    for x in (a, a + 1j * rng.normal(size=a.shape), a.astype(np.float32)):
        expected = scipy.signal.convolve(x, b, mode, "direct")
        assert_equal(signal.convolve(x, b, mode, method), expected)
        assert_equal(signal.convolve(x, b, mode=mode, method=method), expected)
    gradcheck(lambda a, b: signal.convolve(a, b, mode, method), [a, b])
    gradgradcheck(lambda a, b: signal.convolve(a, b, mode, method), [a, b])


@pytest.mark.parametrize("mode", ["full", "valid", "same"])
@pytest.mark.parametrize("method", ["direct", "fft"])
def test_axes_are_convolved_dot_axes_are_summed_and_the_others_are_combined(mode, method):
    a, b = arrays((2, 5, 4, 3), (2, 4, 2, 3, 3))

    def of(a, b):
        return signal.convolve(a, b, axes=([1, -2], [1, 4]), dot_axes=([0, 3], [0, 3]), mode=mode, method=method)

    rows = [[a[i, :, :, j] for i in range(2) for j in range(3)]]
    columns = [[b[i, :, k, j, :] for i in range(2) for j in range(3)] for k in range(2)]
    expected = [
        sum(scipy.signal.convolve(x, y, mode) for x, y in zip(row, column, strict=True))
        for row in rows
        for column in columns
    ]
    assert_equal(of(a, b), np.stack(expected))
    gradcheck(of, [a, b])


def test_the_other_axes_of_the_first_come_before_those_of_the_second():
    a, b = arrays((3, 5), (4, 3))
    assert_equal(signal.convolve(a, b, ([1], [0]))[1, 2], scipy.signal.convolve(a[1], b[:, 2]))
    assert_equal(signal.convolve(a, b, ([], []), ([0], [1])), np.tensordot(a, b, ([0], [1])))


def test_long_filters_are_convolved_by_transforms_and_integers_exactly():
    a, b = arrays(4000, 300)
    a[10] = np.nan
    assert np.isnan(signal.convolve(a, b)).all()
    assert not np.isnan(signal.convolve(a, b, method="direct")).all()
    numbers = np.full(2000, 2**25)
    assert (signal.convolve(numbers, numbers[:500], "valid", "fft") == 500 * 2**50).all()


def test_a_compiled_convolution_has_the_same_gradient():
    a, b = arrays((2, 3, 9), (3, 4, 4))

    def loss(a, b):
        return np.sum(signal.convolve(a, b, axes=([2], [2]), dot_axes=([1], [0])) ** 2)

    for ours, theirs in zip(func.grad(compile(loss), (0, 1))(a, b), func.grad(loss, (0, 1))(a, b), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_what_cannot_be_convolved_is_refused():
    a, b = arrays((3, 5), (4, 3))
    with pytest.raises(ArgumentError, match="mode is one of"):
        signal.convolve(a, b, "fill")
    with pytest.raises(ArgumentError, match="and method one of"):
        signal.convolve(a, b, "full", "slow")
    with pytest.raises(ArgumentError, match="out of bounds"):
        signal.convolve(a, b, ([2], [0]))
    with pytest.raises(ArgumentError, match="repeated"):
        signal.convolve(a, b, ([1], [0]), ([1], [1]))
    with pytest.raises(ShapeError, match="do not have as many axes"):
        signal.convolve(a, b[0])
    with pytest.raises(ShapeError, match="elements along dot_axes"):
        signal.convolve(a, b, ([1], [1]), ([0], [0]))
    with pytest.raises(ShapeError, match="must not be empty"):
        signal.convolve(a[0], [])


def test_the_rest_of_the_module_is_scipys_and_refuses_to_lose_a_derivative():
    from tinygrad_np.scipy.signal import hilbert, lfilter

    assert hilbert is scipy.signal.hilbert
    x = Tensor(np.ones(4), requires_grad=True)
    with pytest.raises(NoDerivativeError, match="history"):
        hilbert(x)
    with pytest.raises(NoDerivativeError, match="history"):
        lfilter([1.0], [1.0, 0.5], x)
