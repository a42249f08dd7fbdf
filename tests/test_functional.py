"""The functions that NumPy lacks: against their definitions, central differences, PyTorch, and at the edges."""

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tinygrad_np import Tensor, compile, functional, grad, nn
from tinygrad_np.debug import gradcheck, gradgradcheck
from tinygrad_np.errors import ArgumentError, DTypeError, ShapeError

rng = np.random.default_rng(0)
ACTIVATIONS = [functional.relu, functional.leaky_relu, functional.gelu, functional.sigmoid, functional.softplus]
SOFTMAXES = [functional.softmax, functional.log_softmax]


def tracked(data, dtype=None):
    return Tensor(data, requires_grad=True, dtype=dtype)


def assert_equal_to_torch(ours, theirs, *inputs, rtol=1e-9, atol=1e-12):
    """Value and gradients, in float64, of our function and of PyTorch's function of the same name."""
    torch = pytest.importorskip("torch")
    our_inputs = [tracked(x) for x in inputs]
    their_inputs = [torch.tensor(x, requires_grad=True) for x in inputs]
    our_result, their_result = ours(*our_inputs), theirs(torch, *their_inputs)
    np.testing.assert_allclose(our_result.data, their_result.detach().numpy(), rtol=rtol, atol=atol)
    weights = rng.normal(size=our_result.shape)
    our_result.backward(weights)
    their_result.backward(torch.tensor(weights))
    for our, their in zip(our_inputs, their_inputs, strict=True):
        np.testing.assert_allclose(our.grad, their.grad.numpy(), rtol=rtol, atol=atol)


# Every function


@pytest.mark.parametrize("function", ACTIVATIONS + SOFTMAXES, ids=lambda function: function.__name__)
def test_an_array_gives_an_array_and_a_tensor_a_tensor(function):
    x = rng.normal(size=(2, 3))
    plain = function(x)
    assert type(plain) is np.ndarray
    for t in (Tensor(x), tracked(x)):
        result = function(t)
        assert type(result) is Tensor
        assert result.requires_grad == t.requires_grad
        np.testing.assert_array_equal(result.data, plain)


@pytest.mark.parametrize("function", ACTIVATIONS + SOFTMAXES, ids=lambda function: function.__name__)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_the_dtype_stays(function, dtype):
    x = tracked(rng.normal(size=(2, 3)), dtype)
    y = function(x)
    assert y.dtype == dtype
    y.sum().backward()
    assert x.grad.dtype == dtype


@pytest.mark.parametrize("function", ACTIVATIONS, ids=lambda function: function.__name__)
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_activations_take_any_shape(function, shape):
    gradcheck(function, np.asarray(rng.normal(size=shape)))
    gradgradcheck(function, np.asarray(rng.normal(size=shape)))


# linear


def test_linear_is_the_affine_map():
    x, weight, bias = rng.normal(size=(5, 3)), rng.normal(size=(2, 3)), rng.normal(size=2)
    np.testing.assert_allclose(functional.linear(x, weight, bias), x @ weight.T + bias)
    np.testing.assert_allclose(functional.linear(x, weight), x @ weight.T)
    by_name = functional.linear(x, weight=tracked(weight), bias=Tensor(bias))
    np.testing.assert_allclose(by_name.data, x @ weight.T + bias)


@pytest.mark.parametrize("shape", [(3,), (0, 3), (4, 3), (2, 4, 3)])
def test_linear_equals_pytorchs(shape):
    assert_equal_to_torch(
        functional.linear,
        lambda torch, *inputs: torch.nn.functional.linear(*inputs),
        rng.normal(size=shape),
        rng.normal(size=(2, 3)),
        rng.normal(size=2),
    )


@pytest.mark.parametrize(("shape", "text"), [((2, 4), r"\(2, 4\)"), ((4,), r"\(4,\)"), ((), r"\(\)")])
def test_linear_names_the_shapes_that_do_not_fit(shape, text):
    with pytest.raises(ShapeError, match=rf"the input has shape {text}.*weight of shape \(2, 3\) expects 3 features"):
        functional.linear(tracked(np.zeros(shape)), np.zeros((2, 3)))


# Activations


def test_activations_are_what_they_are_defined_as():
    x = np.linspace(-4, 4, 9)
    np.testing.assert_array_equal(functional.relu(x), np.maximum(x, 0))
    np.testing.assert_array_equal(functional.leaky_relu(x, 0.2), np.where(x > 0, x, 0.2 * x))
    np.testing.assert_allclose(functional.sigmoid(x), 1 / (1 + np.exp(-x)))
    np.testing.assert_allclose(functional.softplus(x), np.log(1 + np.exp(x)))
    tanh = np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))
    np.testing.assert_allclose(functional.gelu(x, approximate="tanh"), 0.5 * x * (1 + tanh))
    erf = np.array([math.erf(value) for value in x / np.sqrt(2)])
    np.testing.assert_allclose(functional.gelu(x), 0.5 * x * (1 + erf), rtol=1e-11)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (functional.relu, lambda torch, x: torch.relu(x)),
        (functional.leaky_relu, lambda torch, x: torch.nn.functional.leaky_relu(x)),
        (functional.sigmoid, lambda torch, x: torch.sigmoid(x)),
        (functional.gelu, lambda torch, x: torch.nn.functional.gelu(x)),
        (
            partial(functional.gelu, approximate="tanh"),
            lambda torch, x: torch.nn.functional.gelu(x, approximate="tanh"),
        ),
        (functional.softplus, lambda torch, x: torch.nn.functional.softplus(x)),
    ],
    ids=["relu", "leaky_relu", "sigmoid", "gelu", "gelu_by_tanh", "softplus"],
)
def test_activations_equal_pytorchs(ours, theirs):
    assert_equal_to_torch(ours, theirs, np.concatenate([np.linspace(-15, 15, 31), [0.0, -0.0]]), atol=1e-16)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoid_and_softplus_do_not_overflow(dtype):
    x = tracked([-1000.0, 0.0, 1000.0], dtype)
    y = functional.sigmoid(x)
    assert y.data.tolist() == [0.0, 0.5, 1.0]
    assert grad(y, x, np.ones(3)).tolist() == [0.0, 0.25, 0.0]
    y = functional.softplus(x)
    np.testing.assert_allclose(y.data, [0.0, np.log(2), 1000.0], rtol=1e-6)
    assert grad(y, x, np.ones(3)).tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 1e-6), (np.float64, 1e-14)])
def test_sigmoid_is_exact_where_it_is_small(dtype, rtol):
    x = tracked([-5.0, -20.0, -50.0, -80.0], dtype)
    expected = np.exp(x.data.astype(float)) / (1 + np.exp(x.data.astype(float)))
    y = functional.sigmoid(x)
    np.testing.assert_allclose(y.data, expected, rtol=rtol)
    np.testing.assert_allclose(grad(y, x, np.ones(4)), expected * (1 - expected), rtol=rtol)
    np.testing.assert_allclose(grad(functional.softplus(x), x, np.ones(4)), expected, rtol=rtol)


@pytest.mark.parametrize("function", ACTIVATIONS, ids=lambda function: function.__name__)
def test_nan_stays_nan(function):
    assert np.isnan(function(np.array([np.nan]))).all()


@pytest.mark.parametrize("approximate", ["none", "tanh"])
@pytest.mark.parametrize("x", [-1e4, 1e4])
def test_gelu_of_large_inputs_is_that_of_relu(x, approximate):
    t = tracked(x)
    y = functional.gelu(t, approximate)
    assert y.item() == max(x, 0)
    assert grad(y, t) == (x > 0)


def test_gelu_and_its_module_refuse_an_approximation_that_they_do_not_know():
    for call in partial(functional.gelu, np.ones(2)), nn.GELU:
        with pytest.raises(ArgumentError, match="approximate must be 'none' or 'tanh', but is 'sigmoid'"):
            call(approximate="sigmoid")


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 6e-16), (np.float32, 4e-7), (np.float16, 6e-4)])
def test_erf_is_right_to_the_last_digits_in_every_precision(dtype, rtol):
    x = np.concatenate([np.linspace(-6.5, 6.5, 4001), np.linspace(0.4, 0.6, 4001), np.geomspace(1e-6, 6, 4001)])
    x = x.astype(dtype)
    y = functional.erf(x)
    assert y.dtype == dtype
    smallest = np.finfo(dtype).smallest_normal
    np.testing.assert_allclose(y.astype(float), [math.erf(value) for value in x], rtol=rtol, atol=smallest / 100)


def test_erf_at_the_ends_of_numbers_and_of_integers():
    x = np.array([-np.inf, -0.0, 5e-324, np.inf, np.nan])
    np.testing.assert_array_equal(functional.erf(x), [-1, -0.0, 5e-324, 1, np.nan])
    assert np.signbit(functional.erf(x)[1])
    np.testing.assert_allclose(functional.erf([[1, 2]]), [[math.erf(1), math.erf(2)]])
    assert functional.erf(np.zeros((0, 3))).shape == (0, 3)


# softmax, log_softmax, logsumexp


@pytest.mark.parametrize("axis", [-1, 0, 1, (0, 1), (-1, 0)])
def test_softmax_and_its_relatives_are_what_they_are_defined_as(axis):
    x = rng.normal(size=(3, 4))
    total = np.sum(np.exp(x), axis=axis, keepdims=True)
    np.testing.assert_allclose(functional.softmax(x, axis), np.exp(x) / total)
    np.testing.assert_allclose(functional.log_softmax(x, axis), np.log(np.exp(x) / total))
    np.testing.assert_allclose(functional.logsumexp(x, axis, keepdims=True), np.log(total))
    np.testing.assert_allclose(functional.logsumexp(x, axis), np.log(np.sum(np.exp(x), axis=axis)))


def test_logsumexp_goes_over_all_axes_unless_told():
    x = rng.normal(size=(3, 4))
    np.testing.assert_allclose(functional.logsumexp(x), np.log(np.sum(np.exp(x))))
    assert functional.logsumexp(x, keepdims=True).shape == (1, 1)


@given(
    x=arrays.arrays(np.float64, arrays.array_shapes(max_dims=2, max_side=4), elements=st.floats(-1e3, 1e3)),
    shift=st.floats(-1e3, 1e3),
)
@settings(max_examples=50, deadline=None)
def test_softmax_sums_to_one_and_does_not_change_when_all_scores_do(x, shift):
    probabilities = functional.softmax(x)
    np.testing.assert_allclose(np.sum(probabilities, axis=-1), 1)
    np.testing.assert_allclose(functional.softmax(x + shift), probabilities, atol=1e-12)
    np.testing.assert_allclose(np.exp(functional.log_softmax(x)), probabilities, atol=1e-12)


@pytest.mark.parametrize("axis", [-1, 0])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_and_log_softmax_equal_pytorchs(name, axis):
    assert_equal_to_torch(
        lambda x: getattr(functional, name)(x, axis),
        lambda torch, x: getattr(torch, name)(x, dim=axis),
        rng.normal(size=(3, 4)) * 10,
    )


@pytest.mark.parametrize(("axis", "keepdims"), [(0, False), (1, True), ((0, 1), False)])
def test_logsumexp_equals_pytorchs(axis, keepdims):
    assert_equal_to_torch(
        lambda x: functional.logsumexp(x, axis, keepdims),
        lambda torch, x: torch.logsumexp(x, axis, keepdims),
        rng.normal(size=(3, 4)) * 10,
    )


def test_scores_of_any_size_do_not_overflow():
    x = tracked([[1e4, 1e4, -1e4], [-1e4, -1e4, -1e4]])
    np.testing.assert_allclose(functional.softmax(x).data, [[0.5, 0.5, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    np.testing.assert_allclose(functional.logsumexp(x, axis=1).data, [1e4 + np.log(2), -1e4 + np.log(3)])
    np.testing.assert_allclose(functional.log_softmax(x).data[0, 2], -2e4 - np.log(2))
    for function in (functional.softmax, functional.log_softmax, functional.logsumexp):
        y = function(x)
        assert np.isfinite(grad(y, x, np.ones(y.shape))).all()


def test_scores_of_minus_infinity_have_probability_zero():
    x = tracked([[-np.inf, 0.0, 0.0]])
    assert functional.softmax(x).data.tolist() == [[0.0, 0.5, 0.5]]
    y = functional.logsumexp(x, axis=1)
    np.testing.assert_allclose(y.data, [np.log(2)])
    assert grad(y, x, np.ones(1)).tolist() == [[0.0, 0.5, 0.5]]
    y = functional.log_softmax(x)
    assert y.data[0, 0] == -np.inf
    np.testing.assert_allclose(grad(y, x, [[0.0, 1.0, 0.0]]), [[0.0, 0.5, -0.5]])


def test_logsumexp_of_nothing_but_minus_infinity_is_minus_infinity_with_gradient_zero():
    x = tracked([[-np.inf, -np.inf], [0.0, -np.inf]])
    y = functional.logsumexp(x, axis=1)
    assert y.data.tolist() == [-np.inf, 0.0]
    assert grad(y, x, np.ones(2)).tolist() == [[0.0, 0.0], [1.0, 0.0]]


def test_logsumexp_of_infinity_is_infinity():
    assert functional.logsumexp(np.array([np.inf, 0.0])) == np.inf
    assert functional.logsumexp(np.array([np.inf, 1000.0])) == np.inf


@pytest.mark.parametrize("function", SOFTMAXES, ids=lambda function: function.__name__)
def test_an_empty_batch_is_an_ordinary_input(function):
    x = tracked(np.zeros((0, 3)))
    function(x).sum().backward()
    assert x.grad.shape == (0, 3)


# Normalisation


@pytest.mark.parametrize("shape", [(4,), (3, 4)])
def test_layer_norm_standardises_over_the_last_axes(shape):
    y = functional.layer_norm(rng.normal(3, 2, size=(2, 3, 4)), shape, eps=0)
    axes = tuple(range(-len(shape), 0))
    np.testing.assert_allclose(y.mean(axis=axes), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(axis=axes), 1)


@pytest.mark.parametrize("shape", [(4,), (3, 4)])
def test_layer_norm_equals_pytorchs(shape):
    assert_equal_to_torch(
        lambda x, w, b: functional.layer_norm(x, shape, w, b),
        lambda torch, x, w, b: torch.nn.functional.layer_norm(x, shape, w, b),
        rng.normal(3, 2, size=(2, 3, 4)),
        rng.normal(size=shape),
        rng.normal(size=shape),
    )


@pytest.mark.parametrize("shape", [(3,), (3, 4), (4, 2), (1, 2, 4)])
def test_layer_norm_names_the_shapes_that_do_not_fit(shape):
    with pytest.raises(ShapeError, match=r"the input has shape \(2, 4\).*last axes should be"):
        functional.layer_norm(tracked(np.zeros((2, 4))), shape)


def test_layer_norm_differentiates_twice():
    gradgradcheck(
        lambda x, w, b: functional.layer_norm(x, (3,), w, b),
        [rng.normal(size=(2, 3)), rng.normal(size=3), rng.normal(size=3)],
    )


def test_batch_norm_in_training_standardises_over_the_batch():
    y = functional.batch_norm(rng.normal(3, 2, size=(50, 3)), np.zeros(3), np.ones(3), training=True, eps=0)
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(axis=0), 1)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("momentum", [0.1, 0.7])
def test_batch_norm_equals_pytorchs_and_so_do_the_running_statistics(training, momentum):
    torch = pytest.importorskip("torch")
    mean, var = rng.normal(size=3), rng.uniform(0.5, 2, size=3)
    their_mean, their_var = torch.tensor(mean), torch.tensor(var)
    for _ in range(2):
        assert_equal_to_torch(
            lambda x, w, b: functional.batch_norm(x, mean, var, w, b, training, momentum),
            lambda torch, x, w, b: torch.nn.functional.batch_norm(x, their_mean, their_var, w, b, training, momentum),
            rng.normal(3, 2, size=(5, 3)),
            rng.normal(size=3),
            rng.normal(size=3),
        )
        np.testing.assert_allclose(mean, their_mean.numpy())
        np.testing.assert_allclose(var, their_var.numpy())


def test_the_running_statistics_are_moved_in_place_and_for_plain_arrays_too():
    array = np.array([[1.0], [3.0]])
    for x in (array, array[::-1], Tensor(array), tracked(array)):
        mean, var = np.zeros(1, np.float32), np.ones(1, np.float32)
        functional.batch_norm(x, mean, var, training=True, momentum=0.5)
        assert (mean.tolist(), var.tolist()) == ([1.0], [1.5])


def test_batch_norm_in_evaluation_leaves_the_running_statistics():
    mean, var = np.array([1.0]), np.array([4.0])
    y = functional.batch_norm(np.array([[5.0]]), mean, var, eps=0)
    assert (y.tolist(), mean.tolist(), var.tolist()) == ([[2.0]], [1.0], [4.0])


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_differentiates_twice(training):
    gradgradcheck(
        lambda x, w, b: functional.batch_norm(x, np.zeros(2), np.ones(2), w, b, training),
        [rng.normal(size=(3, 2)), rng.normal(size=2), rng.normal(size=2)],
    )


@pytest.mark.parametrize("shape", [(5, 4), (3,), (5, 3, 2)])
def test_batch_norm_names_the_shapes_that_do_not_fit(shape):
    with pytest.raises(ShapeError, match=r"the input has shape .* should have shape \(N, 3\)"):
        functional.batch_norm(tracked(np.zeros(shape)), np.zeros(3), np.ones(3))


def test_batch_norm_of_one_row_in_training_is_refused():
    mean = np.zeros(3)
    with pytest.raises(ShapeError, match="more than one row"):
        functional.batch_norm(np.ones((1, 3)), mean, np.ones(3), training=True)
    assert mean.tolist() == [0.0] * 3


# Dropout


def test_dropout_zeroes_a_fraction_p_and_keeps_the_expectation():
    y = functional.dropout(np.ones(100_000), 0.3, np.random.default_rng(0))
    zeros = np.mean(y == 0)
    assert abs(zeros - 0.3) < 0.01  # seven standard deviations
    np.testing.assert_allclose(np.unique(y), [0, 1 / 0.7])


def test_dropout_does_nothing_in_evaluation_or_with_p_zero():
    x = rng.normal(size=5)
    for y in (functional.dropout(x, 0.5, rng, training=False), functional.dropout(x, 0.0, rng)):
        np.testing.assert_array_equal(y, x)


def test_dropout_drops_the_same_elements_of_the_gradient():
    x = tracked(np.ones(100))
    y = functional.dropout(x, 0.5, np.random.default_rng(0))
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, y.data)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dropout_drops_the_same_elements_for_the_same_seed_in_any_precision(dtype):
    y = functional.dropout(np.ones(50, dtype), 0.5, np.random.default_rng(3))
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, functional.dropout(np.ones(50), 0.5, np.random.default_rng(3)))


@pytest.mark.parametrize("p", [-0.1, 1.0, 2.0, float("nan")])
def test_dropout_refuses_what_is_no_probability(p):
    with pytest.raises(ArgumentError, match=f"must be at least 0 and less than 1, not {p}"):
        functional.dropout(np.ones(3), p, rng)


# Cross-entropy

LOGITS = rng.normal(size=(5, 4)) * 3
INDICES = np.array([0, 3, 1, 1, 2])
PROBABILITIES = functional.softmax(rng.normal(size=(5, 4)))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("target", [INDICES, PROBABILITIES], ids=["indices", "probabilities"])
def test_cross_entropy_equals_pytorchs(target, smoothing):
    assert_equal_to_torch(
        lambda x: functional.cross_entropy(x, target, smoothing),
        lambda torch, x: torch.nn.functional.cross_entropy(x, torch.tensor(target), label_smoothing=smoothing),
        LOGITS,
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("target", [INDICES, PROBABILITIES], ids=["indices", "probabilities"])
def test_cross_entropy_is_the_mean_of_minus_the_log_probability(target, smoothing):
    probabilities = np.eye(4)[target] if target.ndim == 1 else target
    probabilities = probabilities * (1 - smoothing) + smoothing / 4
    expected = -np.mean(np.sum(probabilities * np.log(functional.softmax(LOGITS)), axis=1))
    np.testing.assert_allclose(functional.cross_entropy(LOGITS, target, smoothing), expected)
    gradcheck(lambda x: functional.cross_entropy(x, target, smoothing), LOGITS)
    gradgradcheck(lambda x: functional.cross_entropy(x, target, smoothing), LOGITS)


def test_cross_entropy_differentiates_with_respect_to_the_target_too():
    gradcheck(functional.cross_entropy, [LOGITS, PROBABILITIES])


@pytest.mark.parametrize("target", [[0, 3, 1, 1, 2], INDICES.astype(np.uint8), Tensor(INDICES)])
def test_class_indices_may_be_any_integers(target):
    np.testing.assert_allclose(functional.cross_entropy(LOGITS, target), functional.cross_entropy(LOGITS, INDICES))


def test_probabilities_may_be_a_list():
    for smoothing in (0.0, 0.1):
        np.testing.assert_allclose(
            functional.cross_entropy(tracked(LOGITS), PROBABILITIES.tolist(), smoothing).data,
            functional.cross_entropy(LOGITS, PROBABILITIES, smoothing),
        )


def test_cross_entropy_of_whole_numbers():
    np.testing.assert_allclose(functional.cross_entropy(np.array([[1, 1]]), np.array([0])), np.log(2))


@pytest.mark.parametrize("scale", [1e4, 1e30])
def test_cross_entropy_of_huge_logits_is_exact(scale):
    x = tracked(np.array([[1.0, 0.0], [0.0, 1.0]]) * scale, np.float32)
    right = functional.cross_entropy(x, [0, 1])
    assert right.item() == 0
    wrong = functional.cross_entropy(x, [1, 0])
    np.testing.assert_allclose(wrong.item(), scale, rtol=1e-6)
    np.testing.assert_allclose(grad(wrong, x), [[0.5, -0.5], [-0.5, 0.5]])


def test_a_class_that_is_ruled_out_by_minus_infinity_costs_nothing():
    x = tracked([[-np.inf, 0.0, 0.0]])
    loss = functional.cross_entropy(x, [1])
    np.testing.assert_allclose(loss.data, np.log(2))
    assert grad(loss, x).tolist() == [[0.0, -0.5, 0.5]]


@pytest.mark.parametrize("target", [INDICES, PROBABILITIES], ids=["indices", "probabilities"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_of_float32_logits_is_float32(target, smoothing):
    x = tracked(LOGITS, np.float32)
    loss = functional.cross_entropy(x, target.astype(np.float32) if target.ndim == 2 else target, smoothing)
    assert loss.dtype == np.float32
    loss.backward()
    assert x.grad.dtype == np.float32


def test_a_graph_of_cross_entropy_can_be_walked_twice():
    x = tracked(LOGITS)
    loss = functional.cross_entropy(x, INDICES)
    first = grad(loss, x, retain_graph=True)
    np.testing.assert_array_equal(grad(loss, x), first)


@pytest.mark.parametrize(
    ("logits", "target", "error", "message"),
    [
        ((5, 4), np.zeros(4, int), ShapeError, r"\(5, 4\).*\(4,\)"),
        ((5, 4), np.zeros((5, 3)), ShapeError, r"\(5, 4\).*\(5, 3\)"),
        ((5, 4), np.int64(1), ShapeError, r"\(5, 4\)"),
        ((5,), np.zeros(5, int), ShapeError, r"\(5,\)"),
        ((5, 4, 2), np.zeros(5, int), ShapeError, r"\(5, 4, 2\)"),
        ((0, 4), np.zeros(0, int), (ShapeError, ArgumentError), r"\(0, 4\)"),
        ((5, 4), np.array([0, 1, 2, 3, 4]), ArgumentError, "between 0 and 3.*from 0 to 4"),
        ((5, 4), np.array([0, -1, 2, 3, 0]), ArgumentError, "between 0 and 3.*from -1 to 3"),
        ((5, 4), np.zeros(5), DTypeError, "must be integers.*float64"),
        ((5, 4), np.zeros(5, bool), DTypeError, "must be integers.*bool"),
    ],
)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_says_what_does_not_fit(logits, target, error, message, smoothing):
    with pytest.raises(error, match=message):
        functional.cross_entropy(tracked(np.zeros(logits)), target, smoothing)


@pytest.mark.parametrize("smoothing", [-0.1, 1.1, float("nan")])
def test_label_smoothing_is_a_fraction(smoothing):
    with pytest.raises(ArgumentError, match=f"label_smoothing must be between 0 and 1, not {smoothing}"):
        functional.cross_entropy(LOGITS, INDICES, smoothing)


# Other losses


def test_nll_loss_after_log_softmax_is_cross_entropy():
    expected = functional.cross_entropy(LOGITS, INDICES)
    np.testing.assert_allclose(functional.nll_loss(functional.log_softmax(LOGITS), INDICES), expected)
    assert_equal_to_torch(
        lambda x: functional.nll_loss(x, INDICES),
        lambda torch, x: torch.nn.functional.nll_loss(x, torch.tensor(INDICES)),
        LOGITS,
    )
    with pytest.raises(ArgumentError, match="between 0 and 3"):
        functional.nll_loss(tracked(LOGITS), [0, 1, 2, 3, 4])


REDUCTIONS = ["mean", "sum", "none"]


def reduced(losses, reduction, shares=None):
    return losses if reduction == "none" else losses.sum() / (1 if reduction == "sum" else np.sum(shares))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("ignored", [None, 1, -100])
@pytest.mark.parametrize("weight", [None, np.array([0.5, 2.0, 0.0, 1.5])], ids=["unweighted", "weighted"])
def test_each_row_counts_by_the_weight_of_its_class_unless_it_is_ignored(weight, ignored, smoothing, reduction):
    target = np.where(INDICES == 1, -100, INDICES) if ignored == -100 else INDICES
    options = {"weight": weight, "ignore_index": ignored, "reduction": reduction}
    weights, counted = np.ones(4) if weight is None else weight, target != ignored
    mixed = np.eye(4)[np.where(counted, target, 0)] * (1 - smoothing) + smoothing / 4
    losses = -np.sum(mixed * weights * functional.log_softmax(LOGITS), axis=1) * counted
    expected = reduced(losses, reduction, weights[target[counted]])

    def ours(logits):
        return functional.cross_entropy(logits, target, smoothing, **options)

    compiled = compile(ours)
    np.testing.assert_allclose(ours(LOGITS), expected)
    np.testing.assert_allclose(compiled(LOGITS), expected)
    gradcheck(compiled, LOGITS)
    if reduction == "mean":
        gradgradcheck(ours, LOGITS)
    if not smoothing:
        of_logarithms = functional.nll_loss(functional.log_softmax(LOGITS), target, **options)
        np.testing.assert_allclose(of_logarithms, expected)

    def theirs(torch, logits):
        given = {
            "weight": None if weight is None else torch.tensor(weight),
            "ignore_index": -1 if ignored is None else ignored,
            "reduction": reduction,
            "label_smoothing": smoothing,
        }
        return torch.nn.functional.cross_entropy(logits, torch.tensor(target), **given)

    assert_equal_to_torch(ours, theirs, LOGITS)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_weights_and_reductions_of_probabilities_have_pytorchs_numbers(reduction):
    weight = np.array([0.5, 2.0, 0.0, 1.5])
    assert_equal_to_torch(
        lambda x, p: functional.cross_entropy(x, p, 0.1, weight=weight, reduction=reduction),
        lambda torch, x, p: torch.nn.functional.cross_entropy(
            x, p, torch.tensor(weight), reduction=reduction, label_smoothing=0.1
        ),
        LOGITS,
        PROBABILITIES,
    )


def test_no_class_is_ignored_unless_one_is_named():
    with pytest.raises(ArgumentError, match=r"between 0 and 3.*from -100 to 2"):
        functional.cross_entropy(LOGITS, [-100, 0, 1, 2, 2])


@pytest.mark.parametrize(
    ("target", "options", "error", "message"),
    [
        (INDICES, {"weight": np.ones(3)}, ShapeError, r"class weights have shape \(3,\), but the scores \(5, 4\)"),
        (INDICES, {"reduction": "average"}, ArgumentError, "reduction must be .* but is 'average'"),
        (np.full(5, 2), {"ignore_index": 2}, ArgumentError, "nothing to take the mean of"),
        (PROBABILITIES, {"ignore_index": 2}, ArgumentError, "ignore_index .* class indices"),
        (PROBABILITIES, {"reduction": "average"}, ArgumentError, "reduction must be .* but is 'average'"),
    ],
)
def test_a_cross_entropy_that_makes_no_sense_is_refused(target, options, error, message):
    with pytest.raises(error, match=message):
        functional.cross_entropy(tracked(LOGITS), target, **options)


def test_where_all_rows_are_ignored_the_sum_is_zero_and_has_no_slope():
    x = tracked(LOGITS)
    loss = functional.cross_entropy(x, np.full(5, 2), ignore_index=2, reduction="sum")
    assert loss.item() == 0
    assert not grad(loss, x).any()


DISTANCES = rng.normal(size=(3, 4)) * 2


def huber(d, delta):
    return np.where(np.abs(d) < delta, d * d / 2, delta * (np.abs(d) - delta / 2))


ELEMENTWISE = {  # PyTorch's name, the settings, and the definition by x and target
    "mse": ("mse_loss", {}, lambda x, y: (x - y) ** 2),
    "l1": ("l1_loss", {}, lambda x, y: np.abs(x - y)),
    "huber": ("huber_loss", {"delta": 0.7}, lambda x, y: huber(x - y, 0.7)),
    "smooth l1": ("smooth_l1_loss", {"beta": 0.7}, lambda x, y: huber(x - y, 0.7) / 0.7),
    "smooth l1 without a curve": ("smooth_l1_loss", {"beta": 0}, lambda x, y: np.abs(x - y)),
    "binary": (
        "binary_cross_entropy_with_logits",
        {},
        lambda x, y: -y * np.log(functional.sigmoid(x)) - (1 - y) * np.log(functional.sigmoid(-x)),
    ),
    "weighted binary": (
        "binary_cross_entropy_with_logits",
        {"weight": np.array([[1.0], [2.0], [0.5]]), "pos_weight": np.array([1.0, 3.0, 0.5, 2.0])},
        lambda x, y: (
            np.array([[1.0], [2.0], [0.5]])
            * (
                -np.array([1.0, 3.0, 0.5, 2.0]) * y * np.log(functional.sigmoid(x))
                - (1 - y) * np.log(functional.sigmoid(-x))
            )
        ),
    ),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_a_loss_of_each_element_is_its_definition_and_has_pytorchs_derivatives(name, reduction):
    function, options, definition = ELEMENTWISE[name]
    x, target = DISTANCES, rng.uniform(size=DISTANCES.shape)

    def ours(x, target):
        return getattr(functional, function)(x, target, reduction=reduction, **options)

    compiled, expected = compile(ours), reduced(definition(x, target), reduction, np.ones(x.shape))
    np.testing.assert_allclose(ours(x, target), expected, rtol=1e-12)
    np.testing.assert_allclose(compiled(x, target), expected, rtol=1e-12)
    gradcheck(compiled, [x, target])
    if reduction == "mean":
        gradgradcheck(ours, [x, target])

    def theirs(torch, x, target):
        given = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
        return getattr(torch.nn.functional, function)(x, target, reduction=reduction, **given)

    assert_equal_to_torch(ours, theirs, x, target)


@pytest.mark.parametrize("target", [np.array([1j, 2.0]), np.array([0, 1])], ids=["complex", "integers"])
def test_l1_loss_takes_complex_numbers_as_pytorch_does(target):
    z = np.array([3 + 5j, 1 - 1j])
    np.testing.assert_allclose(functional.l1_loss(z, target), np.mean(np.hypot((z - target).real, (z - target).imag)))
    assert functional.l1_loss(z.astype(np.complex64), target.real.astype(int)).dtype == np.float32
    gradgradcheck(functional.l1_loss, [z, target] if target.dtype.kind == "c" else [z, target.astype(float)])
    assert_equal_to_torch(functional.l1_loss, lambda torch, x, y: torch.nn.functional.l1_loss(x, y), z, target + 0j)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_a_loss_of_each_element_keeps_the_precision_and_stays_finite(name):
    function, options, _ = ELEMENTWISE[name]
    x, target = tracked([[1e15, -1e15, 0.0, 1.0]] * 3, np.float32), np.zeros((3, 4), np.float32)
    loss = getattr(functional, function)(x, target, **options)
    loss.backward()
    assert (loss.dtype, x.grad.dtype) == (np.float32, np.float32)
    assert np.isfinite(loss.item())
    assert np.isfinite(x.grad).all()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: functional.huber_loss(x, x, delta=0), ArgumentError, "delta must be a number > 0"),
        (lambda x: functional.smooth_l1_loss(x, x, beta=-1), ArgumentError, "beta must be a number >= 0"),
        (lambda x: functional.l1_loss(x, x, reduction="average"), ArgumentError, "reduction must be"),
        (lambda x: functional.l1_loss(x, x[:, 0]), ShapeError, r"\(3, 4\) and \(3,\)"),
        (lambda x: functional.binary_cross_entropy_with_logits(x, x[0]), ShapeError, r"\(3, 4\) and \(4,\)"),
        (lambda x: functional.huber_loss(x * 1j, x), DTypeError, "huber_loss takes real numbers"),
    ],
)
def test_a_loss_that_makes_no_sense_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(tracked(DISTANCES))


def test_mse_loss_is_the_mean_square():
    x, target = rng.normal(size=(2, 3)), rng.normal(size=(2, 3))
    np.testing.assert_allclose(functional.mse_loss(x, target), np.mean((x - target) ** 2))
    assert_equal_to_torch(functional.mse_loss, lambda torch, *inputs: torch.nn.functional.mse_loss(*inputs), x, target)


def test_mse_loss_does_not_broadcast():
    with pytest.raises(ShapeError, match=r"\(3, 1\) and \(3,\)"):
        functional.mse_loss(tracked(np.zeros((3, 1))), np.zeros(3))


def test_one_hot_has_a_one_at_each_index():
    result = functional.one_hot([2, 0], 3)
    assert result.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert result.dtype == np.float32


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_cross_entropy_of_class_indices_is_that_of_the_same_probabilities(smoothing):
    logits, labels = rng.normal(size=(7, 5)) * 10, rng.integers(0, 5, 7)
    gradients, losses = [], []
    for target in (labels, functional.one_hot(labels, 5, np.float64)):
        scores = tracked(logits)
        loss = functional.cross_entropy(scores, target, smoothing)
        loss.backward()
        losses.append(loss.item())
        gradients.append(scores.grad)
    np.testing.assert_allclose(*losses, rtol=1e-12)
    np.testing.assert_allclose(*gradients, rtol=1e-9, atol=1e-15)


LISTS = {
    "relu": functional.relu,
    "leaky_relu": functional.leaky_relu,
    "gelu": functional.gelu,
    "softplus": functional.softplus,
    "softmax": functional.softmax,
    "log_softmax": functional.log_softmax,
    "logsumexp": functional.logsumexp,
    "layer_norm": lambda x: functional.layer_norm(x, (2,)),
    "cross_entropy": lambda x: functional.cross_entropy(x, [0]),
    "nll_loss": lambda x: functional.nll_loss(x, [0]),
    "mse_loss": lambda x: functional.mse_loss(x, [[0.0, 1.0]]),
    "dropout": lambda x: functional.dropout(x, 0.5, generator=0),
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_stand_for_arrays(name):
    listed = [[1.0, -2.0]]
    np.testing.assert_array_equal(LISTS[name](listed), LISTS[name](np.array(listed)))


@pytest.mark.parametrize("wrong", ["ab", None, {}, [[1.0, 2.0]]])
def test_linear_refuses_what_is_no_array(wrong):
    with pytest.raises(TypeError, match=r"takes arrays and Tensors, but was given a .*; write np\.array"):
        functional.linear(wrong, np.ones((1, 2)))


def test_a_list_of_tensors_keeps_their_derivatives():
    x = Tensor([1.0, 2.0], requires_grad=True)
    found = grad(functional.gelu([x, x]).sum(), x)
    np.testing.assert_array_equal(found, 2 * grad(functional.gelu(x).sum(), x))
