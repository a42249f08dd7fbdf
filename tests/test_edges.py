"""Derivatives at the edges of the numbers: infinities, zeros, what overflows or vanishes, half precision, no axes."""

import tracemalloc

import numpy as np
import pytest

from tinygrad_np import Tensor, functional, grad
from tinygrad_np.debug import gradcheck, gradgradcheck
from tinygrad_np.errors import ArgumentError, DTypeError

inf, nan, half = np.inf, np.nan, np.float16
FLOATS = [half, np.float32, np.float64]
quiet = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of the infinities that are meant


def slopes(function, *points, dtype=np.float64, start=None):
    """The gradients of the sum of a function's results, or from given gradients of these, as lists."""
    tensors = [Tensor(np.array(point, dtype), requires_grad=True) for point in points]
    out = function(*tensors)
    start = np.ones(out.shape) if start is None else np.asarray(start)
    gradients = [gradient.tolist() for gradient in grad(out, tensors, start.astype(out.dtype), allow_unused=True)]
    return gradients if len(gradients) > 1 else gradients[0]


def second_slopes(function, point):
    x = Tensor(np.array(point), requires_grad=True)
    return grad(grad(function(x).sum(), x, create_graph=True).sum(), x).tolist()


# A branch that was not taken has the gradient 0, whatever it is multiplied by

NOT_TAKEN_BELOW_ZERO = {
    "relu": functional.relu,
    "leaky_relu": lambda x: functional.leaky_relu(x, 0.0),
    "maximum": lambda x: np.maximum(x, 0),
    "maximum, swapped": lambda x: np.maximum(0, x),
    "minimum": lambda x: -np.minimum(-x, 0),
    "fmax": lambda x: np.fmax(x, 0),
    "fmin": lambda x: -np.fmin(0, -x),
    "clip": lambda x: np.clip(x, 0, None),
    "clip from both sides": lambda x: np.clip(x, 0, 9),
    "where": lambda x: np.where(x > 0, x, 0.0),
    "where, swapped": lambda x: np.where(x < 0, 0.0, x),
    "where, by numbers": lambda x: np.where(np.array([0.0, 2.0]), x, 0.0),
    "select": lambda x: np.select([x > 0], [x]),
}


@quiet
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("function", NOT_TAKEN_BELOW_ZERO.values(), ids=NOT_TAKEN_BELOW_ZERO)
def test_the_root_of_a_branch_that_was_not_taken_has_slope_zero(function, dtype):
    assert slopes(lambda x: np.sqrt(function(x)), [-1.0, 4.0], dtype=dtype) == [0.0, 0.25]


@quiet
@pytest.mark.parametrize("function", NOT_TAKEN_BELOW_ZERO.values(), ids=NOT_TAKEN_BELOW_ZERO)
def test_and_has_no_second_slope(function):
    assert second_slopes(lambda x: np.sqrt(function(x)), [-1.0, 4.0]) == [0.0, -0.03125]


@pytest.mark.parametrize("bad", [inf, -inf, nan])
@pytest.mark.parametrize(
    ("function", "x"),
    [
        (lambda x: np.max(x, axis=1), [[1.0, 2.0]]),
        (lambda x: np.min(x, axis=1), [[2.0, 1.0]]),
        (lambda x: np.median(x, axis=1), [[1.0, 2.0, 3.0]]),
        (lambda x: np.nanmedian(x, axis=1), [[nan, 2.0, 3.0, 4.0]]),
        (lambda x: np.quantile(x, 0.5, axis=1), [[1.0, 2.0, 3.0]]),
        (lambda x: np.sum(x, axis=1, where=[[False, True]]), [[1.0, 2.0]]),
        (lambda x: np.mean(x, axis=1, where=[[False, True]]), [[1.0, 2.0]]),
        (lambda x: np.prod(x, axis=1, where=[[False, True]]), [[1.0, 2.0]]),
        (lambda x: np.var(x, axis=1, where=[[False, True, True]]), [[nan, 2.0, 3.0]]),
        (lambda x: np.std(x, axis=1, where=[[False, True, True]]), [[nan, 2.0, 3.0]]),
        (lambda x: np.nansum(x, axis=1), [[nan, 2.0]]),
        (lambda x: np.nanmean(x, axis=1), [[nan, 2.0]]),
        (lambda x: np.max(x, axis=1, initial=5.0), [[1.0]]),
    ],
)
def test_a_reduction_has_gradient_zero_where_it_did_not_read(function, x, bad):
    assert np.asarray(slopes(function, x, start=[bad])).flat[0] == 0


@pytest.mark.parametrize("bad", [inf, nan])
@pytest.mark.parametrize(
    ("function", "x"),
    [
        (functional.relu, [-1.0]),
        (functional.relu, -1.0),
        (np.nan_to_num, [nan]),
        (np.nan_to_num, [inf]),
        (lambda y: np.heaviside([1.0], y), [1.0]),
        (lambda low: np.clip([5.0], low, 9.0), [0.0]),
        (lambda high: np.clip([5.0], 0.0, high), [9.0]),
        (lambda x: np.interp(x, [0.0, 1.0], [0.0, 1.0]), [5.0]),
    ],
)
def test_an_element_that_was_not_chosen_has_gradient_zero(function, x, bad):
    result = function(np.array(x))
    assert np.all(np.asarray(slopes(function, x, start=np.full(np.shape(result), bad))) == 0)


def test_a_value_that_a_later_one_overwrote_has_gradient_zero():
    x, values = Tensor(np.zeros(2)), Tensor([1.0, 2.0], requires_grad=True)
    x[[0, 0]] = values
    assert grad(x, values, np.array([inf, 1.0])).tolist() == [0.0, inf]


def test_a_mask_works_on_views_and_on_complex_numbers():
    g = np.array([[inf, 1.0], [nan, 2.0]])
    x = -np.ones((2, 2))
    for start in (g, g.T, g[:, ::-1], np.broadcast_to(g[:1], (2, 2))):
        assert slopes(functional.relu, x, start=start) == [[0.0, 0.0], [0.0, 0.0]]
    z = Tensor(np.array([1 + 1j, 2j]), requires_grad=True)
    assert grad(np.where([True, False], z, 0), z, np.array([1j, inf])).tolist() == [1j, 0]


@quiet
def test_equal_inputs_share_an_infinite_gradient():
    assert slopes(lambda x: np.sqrt(np.maximum(x, 0)), [0.0]) == [inf]
    assert slopes(np.maximum, [1.0], [1.0], start=[inf]) == [[inf], [inf]]


def test_the_gradient_of_a_maximum_that_is_nan_goes_to_what_is_nan():
    assert slopes(lambda x: np.max(x, axis=1), [[nan, 1.0], [4.0, 1.0]]) == [[1.0, 0.0], [1.0, 0.0]]


@pytest.mark.parametrize("dtype", FLOATS)
def test_thousands_of_equal_elements_share_the_gradient_of_their_maximum(dtype):
    gradients = slopes(lambda x: np.max(x, axis=0), np.zeros((5000, 2)), dtype=dtype)
    np.testing.assert_allclose(gradients, 1 / 5000, rtol=1e-3)


# Sums of exponentials


@pytest.mark.parametrize("function", [np.logaddexp, np.logaddexp2])
@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        (inf, 1.0, [1.0, 0.0]),
        (1.0, inf, [0.0, 1.0]),
        (inf, inf, [0.5, 0.5]),
        (inf, -inf, [1.0, 0.0]),
        (-inf, 1.0, [0.0, 1.0]),
        (-inf, -inf, [0.0, 0.0]),
        (1e4, -1e4, [1.0, 0.0]),
        (1e4, 1e4, [0.5, 0.5]),
    ],
)
@pytest.mark.parametrize("dtype", FLOATS)
def test_the_larger_term_has_the_larger_share_of_a_sum(function, x, y, expected, dtype):
    assert slopes(function, x, y, dtype=dtype) == expected


@pytest.mark.parametrize("function", [np.logaddexp, np.logaddexp2])
def test_large_equal_terms_share_equally_in_single_precision(function):
    assert slopes(function, 1e8, 1e8, dtype=np.float32) == [0.5, 0.5]
    assert slopes(lambda x: functional.logsumexp(x), [1e8, 1e8], dtype=np.float32) == [0.5, 0.5]


@pytest.mark.parametrize("function", [np.logaddexp, np.logaddexp2])
def test_the_share_has_a_slope_also_where_the_terms_are_equal(function):
    gradgradcheck(function, [np.array([1.0, 2.0]), np.array([1.0, -3.0])])


@pytest.mark.parametrize(
    ("x", "share"), [([inf, 1.0], [1.0, 0.0]), ([inf, inf, 0.0], [0.5, 0.5, 0.0]), ([-inf, 0.0], [0.0, 1.0])]
)
def test_infinite_scores_share_the_probability(x, share):
    assert functional.softmax(np.array(x)).tolist() == share
    with np.errstate(divide="ignore"):
        assert functional.log_softmax(np.array(x)).tolist() == np.log(share).tolist()
    assert slopes(functional.logsumexp, x) == share
    assert second_slopes(functional.logsumexp, x) == [0.0] * len(x)
    assert slopes(lambda x: functional.log_softmax(x)[1:2], x) == [(i == 1) - p for i, p in enumerate(share)]


@pytest.mark.parametrize("target", [[0], [[1.0, 0.0]]])
def test_an_infinite_score_for_the_right_class_costs_nothing(target):
    x = Tensor([[inf, 0.0]], requires_grad=True)
    loss = functional.cross_entropy(x, np.array(target))
    assert loss.item() == 0
    assert grad(loss, x).tolist() == [[0.0, 0.0]]


def test_a_class_of_probability_zero_may_be_ruled_out():
    x = Tensor([[-inf, 0.0, 0.0]], requires_grad=True)
    loss = functional.cross_entropy(x, np.array([[0.0, 1.0, 0.0]]))
    np.testing.assert_allclose(loss.data, np.log(2))
    np.testing.assert_allclose(grad(loss, x), [[0.0, -0.5, 0.5]])


@pytest.mark.parametrize(
    ("loss", "x"),
    [
        (lambda x: functional.nll_loss(x, [0, 1], weight=[0.0, 1.0], reduction="sum"), [[-inf, 0.0], [-inf, 0.0]]),
        (lambda x: functional.cross_entropy(x, [0, 1], weight=[0.0, 1.0]), [[-inf, 0.0], [-inf, 0.0]]),
        (lambda x: functional.cross_entropy(x, [1], 0.5, weight=[0.0, 1.0]), [[-inf, 0.0]]),
        (lambda x: functional.binary_cross_entropy_with_logits(x, np.array([1, 0])), [inf, -inf]),
        (lambda x: functional.binary_cross_entropy_with_logits(x, np.ones(2), [1, 0]), [inf, -inf]),
        (lambda x: functional.binary_cross_entropy_with_logits(x, np.ones(2), pos_weight=[1, 0]), [inf, -inf]),
    ],
)
@pytest.mark.filterwarnings("error")
def test_an_infinite_loss_that_counts_nothing_costs_nothing(loss, x):
    x = Tensor(x, requires_grad=True)
    assert loss(x).item() == 0
    assert not np.any(grad(loss(x), x)[np.isinf(x.data)])


def test_the_loss_depends_on_a_target_of_zero():
    gradcheck(functional.cross_entropy, [np.array([[1.0, 2.0]]), np.array([[0.0, 1.0]])])


@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 3)])
def test_softmax_of_nothing_is_nothing(shape):
    for function in (functional.softmax, functional.log_softmax):
        assert function(np.zeros(shape)).shape == shape
        x = Tensor(np.zeros(shape), requires_grad=True)
        assert grad(function(x), x, np.zeros(shape)).shape == shape


def test_logsumexp_of_nothing_is_the_logarithm_of_zero():
    assert functional.logsumexp(np.zeros(0)) == -inf
    assert functional.logsumexp(np.zeros((2, 0)), axis=1).tolist() == [-inf, -inf]
    assert slopes(functional.logsumexp, np.zeros((2, 0))) == [[], []]


# Squares that overflow or vanish

EXTREMES = [(np.float64, 1e200), (np.float32, 1e30), (np.float64, 1e-200), (np.float32, 1e-30)]


@pytest.mark.parametrize(("dtype", "x"), EXTREMES)
def test_an_angle_turns_with_huge_and_tiny_sides(dtype, x):
    np.testing.assert_allclose(slopes(np.arctan2, x, x, dtype=dtype), [0.5 / x, -0.5 / x], rtol=1e-6)
    np.testing.assert_allclose(slopes(np.hypot, x, x, dtype=dtype), [0.5**0.5, 0.5**0.5], rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_the_length_sign_and_angle_of_a_complex_number_of_any_size(scale):
    def slope(function):
        z = Tensor(scale * np.array(3 + 4j), requires_grad=True)
        return grad(np.real(function(z)), z)

    np.testing.assert_allclose(slope(np.absolute), 0.6 + 0.8j)
    np.testing.assert_allclose(slope(np.angle) * scale, (-4 + 3j) / 25)
    np.testing.assert_allclose(slope(np.sign) * scale, 0.128 - 0.096j)


def test_the_length_of_the_smallest_complex_numbers():
    z = Tensor(np.array([1e-310 + 0j, -1e-310j, 0j]), requires_grad=True)
    np.testing.assert_allclose(grad(np.absolute(z).sum(), z), [1, -1j, 0])


def test_an_angle_of_zero_or_of_a_real_number_has_slope_zero():
    assert slopes(np.angle, [0.0, -1.0, 2.0]) == [0.0, 0.0, 0.0]
    z = Tensor(np.array([0j]), requires_grad=True)
    assert grad(np.angle(z).sum(), z).tolist() == [0j]


@pytest.mark.parametrize(("dtype", "x"), [(np.float64, 1e200), (np.float32, 1e30), (np.float16, 3e4)])
@pytest.mark.parametrize("function", [np.arcsinh, np.arccosh])
def test_logarithms_in_disguise_have_the_slope_of_the_logarithm(function, dtype, x):
    np.testing.assert_allclose(slopes(function, x, dtype=dtype), 1 / x, rtol=1e-3)


def test_the_slope_of_arctan_does_not_vanish_before_its_time():
    np.testing.assert_allclose(slopes(np.arctan, 300.0, dtype=np.float16), 1 / 9e4, rtol=0.01)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (np.arcsin, 1j),
        (np.arccos, -1j),
        (np.arcsinh, 1),
        (np.arccosh, 1),
    ],
)
def test_inverse_functions_of_huge_complex_numbers(function, expected):
    """1 / sqrt(1 - z^2) is i / z, up to the sign that the branch tells: above the real axis, plus."""
    z = 1e200 + 1e200j
    x = Tensor(np.array(z), requires_grad=True)
    gradient = np.conj(grad(np.real(function(x)), x))  # of the real part: the derivative's conjugate
    np.testing.assert_allclose(gradient, expected / z, rtol=1e-9)


@pytest.mark.parametrize("function", [np.arctan, np.arctanh])
def test_inverse_tangents_of_huge_complex_numbers_are_flat(function):
    z = Tensor(np.array(1e200 + 1e200j), requires_grad=True)
    assert grad(np.real(function(z)), z) == 0


def test_arcsin_and_arctanh_are_exact_near_one():
    x = np.float32(0.99999)
    exact = 1 - float(x) ** 2
    np.testing.assert_allclose(slopes(np.arcsin, x, dtype=np.float32), exact**-0.5, rtol=1e-6)
    np.testing.assert_allclose(slopes(np.arctanh, x, dtype=np.float32), 1 / exact, rtol=1e-6)


@pytest.mark.parametrize("x", [5e4, 6e4])
def test_logarithms_of_the_largest_half_precision_numbers(x):
    np.testing.assert_allclose(slopes(np.log10, x, dtype=np.float16), 1 / (x * np.log(10)), rtol=0.01)
    np.testing.assert_allclose(slopes(np.log2, 6e4, dtype=np.float16), 1 / (6e4 * np.log(2)), rtol=0.01)


def test_the_slope_of_expm1_is_exact_where_it_is_small():
    np.testing.assert_allclose(slopes(np.expm1, -50.0), np.exp(-50.0))


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float16, 5e-3), (np.float32, 2e-6), (np.float64, 1e-13)])
def test_the_slope_of_sinc_near_zero_is_exact_in_every_precision(dtype, tolerance):
    x = np.array([0.0311, 0.1, 0.2, 0.24, 0.26, 0.4], dtype)
    y = np.pi * x.astype(np.longdouble)
    expected = np.pi * (np.cos(y) / y - np.sin(y) / y**2)
    np.testing.assert_allclose(slopes(np.sinc, x, dtype=dtype), expected.astype(float), rtol=tolerance)


@quiet
@pytest.mark.parametrize(("dtype", "x"), [(half, 300.0), (np.float32, 1e30), (np.float64, 1e200), (np.float64, inf)])
def test_gelu_of_numbers_whose_cube_overflows(dtype, x):
    assert functional.gelu(np.array([x, -x], dtype)).tolist() == [dtype(x), 0.0]
    assert slopes(functional.gelu, [x, -x], dtype=dtype) == [1.0, 0.0]
    assert second_slopes(functional.gelu, np.array([x, -x], dtype)) == [0.0, 0.0]


# Powers


@quiet
@pytest.mark.parametrize("zero", [np.zeros(4), np.zeros(4, int), np.zeros(4, np.uint8), 0, 0.0], ids=repr)
def test_a_power_of_zero_is_flat_everywhere(zero):
    assert slopes(lambda x: x**zero, [5e-324, 0.0, 1e300, nan]) == [0.0] * 4


def test_exponents_of_small_integer_types_do_not_wrap():
    np.testing.assert_allclose(slopes(lambda x: x ** np.array([-128], np.int8), [1.01]), [-128 * 1.01**-129])


@quiet
def test_the_slope_of_a_power_of_zero_in_its_exponent():
    assert slopes(lambda y: np.zeros(3) ** y, [2.0, 0.0, -1.0]) == [0.0, 0.0, -inf]
    assert slopes(lambda y: np.float_power(0.0, y), [2.0]) == [0.0]


@quiet
def test_a_power_of_infinity_that_is_zero_is_flat_in_its_exponent():
    assert slopes(lambda y: np.array([inf]) ** y, [-1.0]) == [0.0]


@quiet
def test_roots_are_vertical_at_zero():
    assert slopes(np.cbrt, [0.0]) == [inf]
    assert slopes(lambda x: x ** np.array([0.5, 1.0, 2.0]), [0.0, 0.0, 0.0]) == [inf, 1.0, 0.0]


def test_negative_bases_have_slopes_at_whole_exponents():
    for function in (np.power, np.float_power):
        assert slopes(lambda x, function=function: function(x, [2, 3, -1]), [-2.0] * 3) == [-4.0, 12.0, -0.25]


# Where a length is zero, its slope is taken to be zero, but its square has a second slope that this does not know


@quiet
@pytest.mark.parametrize(
    "squared",
    [
        lambda x: np.hypot(x, 0.0 * x) ** 2,
        lambda x: np.absolute(x + 0j) ** 2,
        lambda x: np.std(x) ** 2,
    ],
    ids=["hypot", "absolute", "std"],
)
def test_the_second_slope_of_a_squared_length_of_zero_is_unknown(squared):
    assert np.isnan(second_slopes(squared, [0.0, 0.0])).any()


# Products


def test_a_product_with_one_zero_among_thousands_needs_little_memory():
    x = np.linspace(0.9, 1.1, 10_000)
    x[17] = 0
    tracemalloc.start()
    found = np.array(slopes(np.prod, x))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.flatnonzero(found).tolist() == [17]
    np.testing.assert_allclose(found[17], np.prod(np.delete(x, 17)))
    assert peak < 10e6


@quiet
@pytest.mark.parametrize(
    ("x", "expected"),
    [
        ([0.0, 2.0, 3.0], [6.0, 0.0, 0.0]),
        ([0.0, 2.0, 0.0], [0.0, 0.0, 0.0]),
        ([1e200, 1e200, 2.0], [2e200, 2e200, inf]),
        ([1e-200, 1e-200, 2.0], [2e-200, 2e-200, 0.0]),
        ([inf, 2.0], [2.0, inf]),
    ],
)
def test_the_slope_of_a_product_is_the_product_of_the_others(x, expected):
    np.testing.assert_allclose(slopes(np.prod, x), expected)
    np.testing.assert_allclose(slopes(lambda x: np.prod(x, axis=-1), [x, x]), [expected, expected])


def test_the_second_slopes_of_a_product_with_zeros():
    gradgradcheck(np.prod, np.array([0.0, 2.0, 3.0, 0.5]))
    gradgradcheck(np.prod, np.array([0.0, 2.0, 0.0, 0.5]))


# Arrays without axes, and empty ones


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [0, -1, None, ()])
@pytest.mark.parametrize(
    "function",
    [np.sum, np.prod, np.max, np.min, np.nansum, np.nanprod, np.nanmax, np.nanmin, np.nanmean, functional.logsumexp],
)
def test_a_reduction_of_a_number_is_the_number(function, axis, keepdims):
    assert slopes(lambda x: function(x * 1.0, axis=axis, keepdims=keepdims), 2.0) == 1.0


@pytest.mark.parametrize("axis", [0, -1, None, ()])
@pytest.mark.parametrize("function", [np.ptp, np.nanvar, np.nanstd, functional.softmax, functional.log_softmax])
def test_what_is_the_same_for_every_number_is_flat(function, axis):
    assert slopes(lambda x: function(x * 1.0, axis=axis), 2.0) == 0.0


@pytest.mark.parametrize("function", [np.sum, np.mean, np.prod, np.nansum, np.nanmean])
def test_a_number_may_be_left_out_of_a_reduction(function):
    assert slopes(lambda x: function(x, where=np.array(True)), 2.0) == 1.0


@quiet
@pytest.mark.parametrize("function", [np.median, np.nanmedian, lambda x: np.quantile(x[:0].reshape(0, 2), 0.5, axis=0)])
def test_the_median_of_nothing_has_an_empty_gradient(function):
    if function in (np.median, np.nanmedian):
        assert slopes(function, np.zeros((2, 0))) == [[], []]
        assert slopes(lambda x: function(x, axis=1), np.zeros((2, 0))) == [[], []]
    assert slopes(lambda x: np.quantile(x, [0.2, 0.5], axis=1), np.zeros((0, 3))) == []


# Half precision sums and squares in single precision


def test_layer_norm_in_half_precision():
    x = np.array([[300.0, -300.0]], half)
    y = functional.layer_norm(x, (2,))
    assert (y.dtype, y.tolist()) == (half, [[1.0, -1.0]])
    x = np.array([[300.0, -300.0, 100.0]])
    expected = slopes(lambda x: functional.layer_norm(x, (3,))[0, 0], x)
    np.testing.assert_allclose(
        slopes(lambda x: functional.layer_norm(x, (3,))[0, 0], x, dtype=half), expected, rtol=2e-3, atol=1e-6
    )


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_in_half_precision(training):
    mean, var = np.zeros(1, np.float32), np.full(1, 9e4, np.float32)
    y = functional.batch_norm(np.array([[300.0], [-300.0]], half), mean, var, training=training)
    assert (y.dtype, y.tolist()) == (half, [[1.0], [-1.0]])
    assert np.isfinite(var).all()


def test_the_gradient_of_a_bias_is_the_sum_over_thousands_of_rows_in_half_precision():
    ones = np.ones((5000, 2), half)
    assert slopes(lambda bias: ones + bias, [0.0, 0.0], dtype=half) == [5000.0, 5000.0]
    assert slopes(lambda bias: functional.linear(ones, ones[:2], bias), [0.0, 0.0], dtype=half) == [5000.0, 5000.0]


def test_softmax_over_thousands_of_classes_in_half_precision():
    x = np.zeros((5000, 2), half)
    np.testing.assert_allclose(functional.softmax(x, 0), 1 / 5000, rtol=1e-3)
    np.testing.assert_allclose(functional.logsumexp(x, 0), np.log(5000), rtol=1e-3)
    np.testing.assert_allclose(functional.log_softmax(x, 0), -np.log(5000), rtol=1e-3)
    np.testing.assert_allclose(functional.cross_entropy(x.T, [0, 1]), np.log(5000), rtol=1e-3)
    assert functional.cross_entropy(x.T, [0, 1]).dtype == half


def test_the_mean_of_thousands_of_losses_in_half_precision():
    x, target = np.zeros((40_000, 10), half), np.zeros(40_000, int)
    np.testing.assert_allclose(functional.cross_entropy(x, target), np.log(10), rtol=1e-3)
    one_hot = functional.one_hot(target, 10, half)
    np.testing.assert_allclose(functional.cross_entropy(x, one_hot), np.log(10), rtol=1e-3)


def test_a_squared_error_that_half_precision_cannot_hold_may_have_a_mean_that_it_can():
    x = np.array([300.0, 0.0, 0.0], half)
    assert functional.mse_loss(x, np.zeros(3, half)) == 30_000
    assert slopes(functional.mse_loss, x, np.zeros(3), dtype=half)[0] == [200.0, 0.0, 0.0]


def test_the_slope_of_a_variance_in_half_precision():
    x = [100.0, -100.0, 0.0, 0.0]
    np.testing.assert_allclose(slopes(np.var, x, dtype=half, start=1000.0), [5e4, -5e4, 0.0, 0.0], rtol=1e-3)


# Refusals


@pytest.mark.parametrize(
    "function",
    [
        functional.relu,
        functional.leaky_relu,
        functional.gelu,
        functional.sigmoid,
        functional.softplus,
        functional.softmax,
        functional.log_softmax,
        functional.logsumexp,
        lambda z: functional.layer_norm(z, (2,)),
        lambda z: functional.batch_norm(z, np.zeros(2), np.ones(2)),
        lambda z: functional.cross_entropy(z, [0]),
        lambda z: functional.mse_loss(z, np.zeros((1, 2), np.float32)),
    ],
)
@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_complex_numbers_are_refused_where_the_function_is_for_real_ones(function, dtype):
    z = np.array([[1 + 2j, 2]], dtype)
    for given in (z, Tensor(z), Tensor(z, requires_grad=True)):
        with pytest.raises(DTypeError, match=f"takes real numbers, but was given dtype {np.dtype(dtype)}; apply it to"):
            function(given)


@pytest.mark.parametrize("indices", [[10], [0, -1], [[3, 11]], np.array([255], np.uint8)])
def test_one_hot_refuses_a_class_that_does_not_exist(indices):
    with pytest.raises(ArgumentError, match="class indices must be between 0 and 9"):
        functional.one_hot(indices, 10)


@pytest.mark.parametrize("indices", [[0.0], [1.5], [True]])
def test_one_hot_refuses_what_is_no_integer(indices):
    with pytest.raises(DTypeError, match="class indices must be integers"):
        functional.one_hot(indices, 10)


def test_one_hot_takes_any_shape():
    assert functional.one_hot(1, 2).tolist() == [0, 1]
    assert functional.one_hot([], 2).shape == (0, 2)
    assert functional.one_hot([[0, 1]], 2).tolist() == [[[1, 0], [0, 1]]]


def test_dropout_of_integers_keeps_the_expectation():
    y = functional.dropout(np.ones(1000, int), 0.25, np.random.default_rng(0))
    np.testing.assert_allclose(np.unique(y), [0, 1 / 0.75])
