"""Clipping the gradients' norm."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_np import Tensor, nn, optim
from tinygrad_np.errors import ArgumentError, ArgumentTypeError


def with_gradient(gradient):
    p = Tensor(np.zeros_like(gradient), requires_grad=True)
    p.grad = gradient
    return p


def random_parameters(seed, scale=1.0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return [
        with_gradient((scale * rng.standard_normal(shape)).astype(dtype)) for shape in [(3, 4), (5,), (1, 2, 3), (0,)]
    ]


def norm_of(params):
    return np.sqrt(sum(np.sum(np.square(p.grad, dtype=np.float64)) for p in params))


@given(seed=st.integers(0, 99), scale=st.floats(1e-3, 1e3), max_norm=st.floats(0.1, 10))
@settings(max_examples=50)
def test_the_gradients_keep_their_direction_and_their_norm_is_at_most_max_norm(seed, scale, max_norm):
    params = random_parameters(seed, scale)
    before = [p.grad.copy() for p in params]
    norm = norm_of(params)
    assert optim.clip_grad_norm_(params, max_norm) == pytest.approx(norm, rel=1e-12)
    for p, gradient in zip(params, before, strict=True):
        np.testing.assert_allclose(p.grad, gradient * min(1.0, max_norm / (norm + 1e-6)), rtol=1e-12)
    assert norm_of(params) <= max_norm


def test_gradients_below_max_norm_keep_their_bits():
    params = random_parameters(seed=0)
    before = [p.grad.copy() for p in params]
    optim.clip_grad_norm_(params, 1e3)
    for p, gradient in zip(params, before, strict=True):
        np.testing.assert_array_equal(p.grad, gradient)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_result_equals_pytorchs(dtype):
    torch = pytest.importorskip("torch")
    params = random_parameters(seed=3, dtype=dtype)
    theirs = [torch.zeros(p.shape, requires_grad=True, dtype=getattr(torch, p.dtype.name)) for p in params]
    for p, their in zip(params, theirs, strict=True):
        their.grad = torch.tensor(p.grad)
    tolerance = 1e-12 if dtype == np.float64 else 1e-6
    norm = optim.clip_grad_norm_(params, 0.5)
    assert norm == pytest.approx(torch.nn.utils.clip_grad_norm_(theirs, 0.5).item(), rel=tolerance)
    for p, their in zip(params, theirs, strict=True):
        assert p.grad.dtype == dtype
        np.testing.assert_allclose(p.grad, their.grad.numpy(), rtol=tolerance)


def test_scaling_happens_in_place():
    p = with_gradient(np.array([3.0, 4.0]))
    gradient = p.grad
    optim.clip_grad_norm_([p], 1.0)
    assert p.grad is gradient


def test_parameters_may_come_from_a_generator_and_lack_gradients():
    params = [with_gradient(np.array([3.0])), Tensor([1.0], requires_grad=True), with_gradient(np.array([4.0]))]
    assert optim.clip_grad_norm_((p for p in params), 1.0) == 5.0
    assert params[1].grad is None


def test_without_any_gradient_the_norm_is_zero():
    assert optim.clip_grad_norm_([Tensor([1.0], requires_grad=True)], 1.0) == 0.0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_norm_that_is_not_finite_is_returned_and_the_gradients_stay(bad):
    params = [with_gradient(np.array([1.0, bad])), with_gradient(np.array([100.0]))]
    norm = optim.clip_grad_norm_(params, 1.0)
    assert math.isnan(norm) if math.isnan(bad) else norm == math.inf
    np.testing.assert_array_equal(params[0].grad, [1.0, bad])
    np.testing.assert_array_equal(params[1].grad, [100.0])


def test_an_infinite_max_norm_only_measures():
    p = with_gradient(np.array([3.0, 4.0]))
    assert optim.clip_grad_norm_([p], math.inf) == 5.0
    np.testing.assert_array_equal(p.grad, [3.0, 4.0])


@pytest.mark.parametrize("max_norm", [0.0, -1.0, math.nan])
def test_a_max_norm_that_is_not_positive_is_refused(max_norm):
    with pytest.raises(ArgumentError, match=f"max_norm must be a positive number, but is {max_norm}"):
        optim.clip_grad_norm_([with_gradient(np.ones(2))], max_norm)


def test_no_parameters_are_refused_and_a_single_one_is_clipped():
    with pytest.raises(ArgumentError, match="no parameters"):
        optim.clip_grad_norm_(iter([]), 1.0)
    p = Tensor([1.0, 1.0], requires_grad=True)
    p.grad = np.array([3.0, 4.0])
    assert optim.clip_grad_norm_(p, 1.0) == 5.0
    np.testing.assert_allclose(p.grad, [0.6, 0.8], rtol=1e-5)


def test_a_gradient_that_comes_twice_is_clipped_once():
    p = with_gradient(np.array([30.0, 40.0]))
    assert optim.clip_grad_norm_([p, p], 5.0) == 50.0
    np.testing.assert_allclose(p.grad, [3.0, 4.0], rtol=1e-6)


@pytest.mark.parametrize(("dtype", "large"), [(np.float16, 3e4), (np.float32, 3e30)])
def test_a_norm_that_overflows_its_dtype_is_clipped_all_the_same(dtype, large):
    p = with_gradient(np.full(4, large, dtype))
    assert optim.clip_grad_norm_([p], 2.0) == pytest.approx(2 * large, rel=1e-3)
    np.testing.assert_allclose(p.grad, np.ones(4), rtol=1e-3)


def test_frozen_parameters_are_left_out():
    layer = nn.Linear(2, 2)
    layer.weight.requires_grad = False
    layer(np.ones((1, 2), np.float32)).sum().backward()
    assert optim.clip_grad_norm_(layer.parameters(), 1.0) == pytest.approx(math.sqrt(2))


@pytest.mark.parametrize("params", [lambda: nn.Linear(2, 2), lambda: nn.Sequential(nn.ReLU()), lambda: [np.ones(2)]])
def test_what_are_no_parameters_is_refused(params):
    with pytest.raises(ArgumentTypeError, match=r"params must be Tensors, but one is a .*; pass model.parameters\(\)"):
        optim.clip_grad_norm_(params(), 1.0)
    with pytest.raises(ArgumentTypeError, match="max_norm must be a number, but is '1'"):
        optim.clip_grad_norm_([with_gradient(np.ones(2))], "1")
