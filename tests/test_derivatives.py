"""The derivative table: every rule against central differences, on the cases of `derivative_cases.py`."""

import cases_elementwise  # noqa: F401 (they add to CASES)
import cases_linalg  # noqa: F401
import cases_shapes  # noqa: F401
import numpy as np
import pytest
from derivative_cases import CASES, Case, complex_normal, for_each_function, normal, of_scipy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tinygrad_np import Tensor, derivative, differentiable, functional, grad
from tinygrad_np.debug import gradcheck, gradgradcheck
from tinygrad_np.derivatives.table import COMPOSITES, CONSTANT, EFFECTS, RULES
from tinygrad_np.errors import ArgumentError, DTypeError, GradcheckError, NoDerivativeError, ShapeError

SMOOTH = [case for case in CASES if RULES[case.row] is not CONSTANT]
CONSTANTS = [case for case in CASES if RULES[case.row] is CONSTANT]
ROWS = {f for f, rule in RULES.items() if rule is not CONSTANT and not of_scipy(f)}  # before tests add to them


def leaves(inputs):
    return [Tensor(x, requires_grad=True) for x in inputs]


def outputs_of(case, inputs):
    result = case(*inputs)
    return list(result) if isinstance(result, (list, tuple)) else [result]


def gradients_of(case, inputs, tracked=None):
    """Gradients of the sum of all outputs, whose elements are weighted by 1, 2, 3 ..."""
    tensors = [Tensor(x, requires_grad=tracked is None or i in tracked) for i, x in enumerate(inputs)]
    outputs = outputs_of(case, tensors)
    weights = [np.arange(1, 1 + y.size).reshape(y.shape).astype(y.dtype) for y in outputs]
    return grad(outputs, [t for t in tensors if t.requires_grad], weights, allow_unused=True)


def random_arrays(shapes):
    """Random arrays of positive numbers."""
    generator = np.random.default_rng(0)
    return [np.asarray(generator.uniform(0.5, 2, shape)) for shape in shapes]


# The cases


def test_the_numbers_of_a_case_do_not_depend_on_the_cases_before_it():
    x = normal(3)

    def inputs():
        return Case(np.add, (x, [complex_normal(2), -normal(3)]), {}).inputs

    alone = inputs()
    Case(np.sin, (normal(3),), {})
    Case(np.add, (x, normal(2)), {})
    for array, expected in zip(inputs(), alone, strict=True):
        np.testing.assert_array_equal(array, expected)


def test_an_array_that_stands_twice_in_a_case_is_one_input_and_two_of_the_same_shape_are_two():
    x = normal(3)
    assert len(Case(np.multiply, (x, x), {}).inputs) == 1
    first, second = Case(np.multiply, (normal(3), normal(3)), {}).inputs
    assert not np.array_equal(first, second)


# The whole table


def test_every_function_with_a_rule_has_a_case():
    differentiated = {row for row in ROWS if (row not in EFFECTS and any(RULES[row].vjps)) or row in COMPOSITES}
    assert differentiated - {case.row for case in SMOOTH} == set()


@for_each_function(SMOOTH)
def test_the_result_equals_numpys(case):
    for y, array in zip(outputs_of(case, leaves(case.inputs)), outputs_of(case, case.inputs), strict=True):
        assert type(y) is Tensor
        assert type(y.data) is np.ndarray
        assert y.dtype == array.dtype
        np.testing.assert_array_equal(y.data, array)


@for_each_function(SMOOTH)
def test_the_first_derivative_equals_central_differences(case):
    gradcheck(case, case.inputs)


@for_each_function(SMOOTH)
def test_the_second_derivative_equals_central_differences(case):
    gradgradcheck(case, case.inputs)


@for_each_function(case for case in SMOOTH if len(case.inputs) > 1)
def test_a_gradient_does_not_depend_on_which_other_inputs_have_one(case):
    together = gradients_of(case, case.inputs)
    for i, gradient in enumerate(together):
        (alone,) = gradients_of(case, case.inputs, tracked={i})
        np.testing.assert_array_equal(alone, gradient)


@for_each_function(case for case in SMOOTH if any(x.size > 1 for x in case.inputs))
def test_a_view_with_strides_has_the_same_gradient_as_a_copy(case):
    views = []
    for x in case.inputs:
        view = np.zeros([2 * n for n in x.shape], x.dtype)[(slice(None, None, -2),) * x.ndim + (...,)]
        view[...] = x
        views.append(view)
    for view, copy in zip(gradients_of(case, views), gradients_of(case, case.inputs), strict=True):
        np.testing.assert_allclose(view, copy, rtol=1e-10)


@for_each_function(SMOOTH)
def test_single_precision_stays_single_precision(case):
    single = [x.astype(np.complex64 if x.dtype.kind == "c" else np.float32) for x in case.inputs]
    for y, array in zip(outputs_of(case, leaves(single)), outputs_of(case, single), strict=True):
        assert y.dtype == array.dtype
    gradients = gradients_of(case, single)
    for gradient, x, expected in zip(gradients, single, gradients_of(case, case.inputs), strict=True):
        assert type(gradient) is np.ndarray
        assert gradient.dtype == x.dtype
        np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-4)


@for_each_function(CONSTANTS)
def test_a_function_that_is_constant_almost_everywhere_gives_numpys_plain_result(case):
    result, expected = case(*leaves(case.inputs)), case(*case.inputs)
    assert type(result) is type(expected)
    np.testing.assert_equal(result, expected)


# Any shapes

shapes_of_two = arrays.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, min_side=0, max_side=3)
shapes_of_three = arrays.mutually_broadcastable_shapes(num_shapes=3, max_dims=3, min_side=0, max_side=3)


@pytest.mark.parametrize(
    "function",
    [np.add, np.subtract, np.multiply, np.divide, np.power, np.maximum, np.minimum, np.logaddexp, np.remainder],
)
@given(shapes=shapes_of_two)
@settings(max_examples=12, deadline=None)
def test_two_inputs_broadcast(function, shapes):
    gradcheck(function, random_arrays(shapes.input_shapes))


@given(shapes=shapes_of_three)
@settings(max_examples=20, deadline=None)
def test_three_inputs_broadcast(shapes):
    condition, x, y = random_arrays(shapes.input_shapes)
    gradcheck(lambda x, y: np.where(condition > 1, x, y), [x, y])
    gradcheck(np.clip, [condition, x, y])


@given(shapes=arrays.mutually_broadcastable_shapes(signature="(m?,n),(n,p?)->(m?,p?)", max_dims=2, max_side=3))
@settings(max_examples=30, deadline=None)
def test_stacks_of_matrices_broadcast(shapes):
    gradcheck(np.matmul, random_arrays(shapes.input_shapes))


@pytest.mark.parametrize("function", [np.sum, np.mean, np.max, np.min, np.var, np.std])
@given(data=st.data(), shape=arrays.array_shapes(max_dims=3, max_side=3), keepdims=st.booleans())
@settings(max_examples=10, deadline=None)
def test_reductions_take_any_axes(function, data, shape, keepdims):
    shape = (2, *shape)
    axis = data.draw(st.none() | st.just(0) | st.just(-len(shape)) | st.sets(st.integers(1, len(shape) - 1)).map(tuple))
    if isinstance(axis, tuple):
        axis = (*axis, 0)  # of two elements at least: over one, std has a kink
    x = np.random.default_rng(0).permutation(np.linspace(-1, 1, int(np.prod(shape)))).reshape(shape)
    gradcheck(lambda x: function(x, axis=axis, keepdims=keepdims), x)


@given(data=st.data(), shape=arrays.array_shapes(max_dims=3, min_side=1, max_side=4))
@settings(max_examples=40, deadline=None)
def test_indices_of_every_kind(data, shape):
    index = data.draw(
        arrays.basic_indices(shape, allow_newaxis=True)
        | arrays.integer_array_indices(shape, result_shape=arrays.array_shapes(max_dims=2, max_side=3))
        | arrays.arrays(bool, shape)
    )
    gradcheck(lambda x: x[index], random_arrays([shape]))


@given(data=st.data(), shape=arrays.array_shapes(max_dims=4, max_side=3))
@settings(max_examples=20, deadline=None)
def test_any_permutation_of_axes(data, shape):
    axes = data.draw(st.permutations(range(len(shape))))
    negative = data.draw(st.lists(st.booleans(), min_size=len(shape), max_size=len(shape)))
    axes = [axis - len(shape) if minus else axis for axis, minus in zip(axes, negative, strict=True)]
    gradcheck(lambda x: np.transpose(x, axes), random_arrays([shape]))
    gradcheck(lambda x: np.moveaxis(x, axes, range(len(shape))), random_arrays([shape]))


# Kinks and edges: what is taken where no derivative exists, or where the formula gives 0 * inf


def slopes(function, *points):
    tensors = [Tensor(np.asarray(point, dtype=float), requires_grad=True) for point in points]
    gradients = grad(function(*tensors).sum(), tensors)
    return [gradient.tolist() for gradient in gradients]


@pytest.mark.parametrize("function", [np.maximum, np.minimum])
def test_equal_inputs_share_the_gradient_of_their_maximum(function):
    assert slopes(function, [1.0, 1.0], [1.0, 1.0]) == [[0.5, 0.5], [0.5, 0.5]]


@pytest.mark.parametrize("function", [np.max, np.min])
def test_equal_elements_share_the_gradient_of_their_maximum(function):
    assert slopes(function, [2.0, 2.0, 2.0, 2.0]) == [[0.25] * 4]


def test_ties_are_shared_along_each_axis_by_itself():
    x = [[3.0, 3.0], [1.0, 3.0]]
    assert slopes(lambda x: np.max(x, axis=1), x) == [[[0.5, 0.5], [0.0, 1.0]]]
    assert slopes(lambda x: np.max(x, axis=0), x) == [[[1.0, 0.5], [0.0, 0.5]]]


@pytest.mark.parametrize("function", [np.absolute, np.fabs, functional.relu])
def test_the_slope_at_zero_is_zero(function):
    assert slopes(function, [0.0]) == [[0.0]]


def test_the_slope_of_leaky_relu_at_zero_is_that_of_the_negative_side():
    assert slopes(functional.leaky_relu, [0.0]) == [[0.01]]


def test_the_bounds_of_clip_belong_to_the_input():
    assert slopes(lambda x: np.clip(x, -1, 1), [-2.0, -1.0, 0.0, 1.0, 2.0]) == [[0.0, 1.0, 1.0, 1.0, 0.0]]


def test_where_the_bounds_of_clip_cross_the_upper_one_wins():
    assert slopes(np.clip, [0.0], [2.0], [1.0]) == [[0.0], [0.0], [1.0]]


def test_the_standard_deviation_of_equal_elements_has_slope_zero():
    assert slopes(np.std, [3.0, 3.0]) == [[0.0, 0.0]]


def test_powers_of_zero_and_to_zero_have_finite_slopes():
    assert slopes(np.power, [0.0, 0.0, 2.0], [0.0, 2.0, 0.0]) == [[0.0, 0.0, 0.0], [0.0, 0.0, np.log(2.0)]]
    assert slopes(lambda x: x**0, [0.0, 1.0]) == [[0.0, 0.0]]
    assert slopes(lambda x: x**1, [0.0]) == [[1.0]]
    assert slopes(lambda x: x**2, [0.0]) == [[0.0]]
    assert slopes(lambda y: 0.0**y, [1.0]) == [[0.0]]
    assert slopes(lambda y: [0.0, 2.0] ** y, [1.0, 1.0]) == [[0.0, 2 * np.log(2.0)]]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_slope_of_the_square_root_at_zero_is_infinite():
    assert slopes(np.sqrt, [0.0]) == [[np.inf]]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("function", [np.var, np.std])
def test_the_variance_of_no_degrees_of_freedom_has_the_slope_nan(function):
    assert np.isnan(slopes(lambda x: function(x, ddof=1), [1.0])).all()


def test_the_slope_of_a_remainder_counts_the_same_multiples_as_the_remainder():
    # 1.0 / 0.1 rounds to 10, but 0.1, as the computer holds it, goes into 1.0 only 9 times.
    assert slopes(np.remainder, 1.0, 0.1) == [1.0, -9.0]
    assert slopes(np.fmod, 1.0, 0.1) == [1.0, -9.0]


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_the_slope_of_a_power_depends_on_its_exponent_at_every_exponent(exponent):
    x, y = leaves([np.array(3.0), np.array(exponent)])
    slope = grad(x**y, x, create_graph=True)
    expected = 3.0 ** (exponent - 1) * (1 + exponent * np.log(3.0))
    np.testing.assert_allclose(grad(slope, y), expected)


def test_a_median_leaves_nan_out_and_is_shared_between_the_two_middle_elements():
    assert slopes(np.nanmedian, [np.nan, 3.0, 1.0, np.nan, 2.0, 7.0]) == [[0.0, 0.5, 0.0, 0.0, 0.5, 0.0]]
    assert slopes(np.nanmedian, [5.0, np.nan, 1.0, 2.0]) == [[0.0, 0.0, 0.0, 1.0]]


@pytest.mark.parametrize("order", ["C", "F", "A"])
@pytest.mark.parametrize("memory", ["C", "F"])
def test_reshape_reads_and_writes_in_the_same_order_whatever_the_memory_layout(order, memory):
    x = np.asarray(np.arange(6.0).reshape(2, 3), order=memory)
    gradcheck(lambda x: np.reshape(x, (3, 2), order=order) * np.arange(6.0).reshape(3, 2), x)
    gradcheck(lambda x: np.ravel(x, order=order) * np.arange(6.0), x)


# Lists of Tensors as operands


@pytest.mark.parametrize(
    "function",
    [
        lambda a, b: np.ones((2, 2)) * Tensor(2.0) + [a, b],
        lambda a, b: Tensor(np.arange(4.0).reshape(2, 2)) * [a, b],
        lambda a, b: Tensor(np.arange(8.0).reshape(2, 2, 2)) @ [[a, b], [b, a]],
        lambda a, b: np.where([[True, False], [False, False]], Tensor([[1.0, 2.0], [3.0, 4.0]]), [a, b]),
    ],
    ids=["add", "multiply", "matmul", "where"],
)
def test_a_list_of_tensors_as_an_operand_broadcasts_as_the_array_it_stands_for(function):
    gradcheck(lambda a, b: function(a, b) * np.arange(1.0, 5.0).reshape(2, 2), [np.array(1.5), np.array(2.5)])


# Differences


def test_diff_joins_what_is_given_by_keyword():
    a, b = random_arrays([(2, 3), (1, 3)])
    gradcheck(lambda a, b: np.diff(a, axis=0, append=b), [a, b])
    gradcheck(lambda a, b: np.diff(b, 2, axis=0, prepend=a, append=0.0), [a, b])


def test_diff_taken_no_times_is_its_input_whatever_is_to_be_joined():
    x, y = leaves(random_arrays([(3,), (1,)]))
    np.testing.assert_array_equal(np.diff(x, 0, prepend=y).data, x.data)


# New rows


def test_a_user_can_add_a_function_with_its_rule():
    @differentiable(lambda g, out, x, n: n * g * np.power(x, n - 1))
    def to_the(x, n):
        return x**n

    assert slopes(lambda x: to_the(x, 3), [1.0, 2.0]) == [[3.0, 12.0]]
    assert to_the(np.array([2.0]), 3).tolist() == [8.0]
    gradgradcheck(lambda x: to_the(x, 3), np.array([1.0, 2.0]))
    del RULES[to_the.__wrapped__]


def test_a_user_can_add_a_rule_for_a_numpy_function():
    assert np.spacing not in RULES
    derivative(np.spacing, lambda g, out, x: g * 7)
    try:
        assert slopes(np.spacing, [1.0]) == [[7.0]]
    finally:
        del RULES[np.spacing]


def test_a_memory_mapped_array_is_an_array(tmp_path):
    x = np.memmap(tmp_path / "x", dtype=np.float64, mode="w+", shape=(3,))
    x[:] = [-1.0, 0.0, 2.0]
    assert np.asarray(functional.relu(x)).tolist() == [0.0, 0.0, 2.0]
    assert (Tensor([1.0, 2.0, 3.0], requires_grad=True) * x).data.tolist() == [-1.0, 0.0, 6.0]


# gradcheck itself


def wrong_at(index):
    """The exponential with a gradient that is 1 too large at an index, given a gradient of ones."""

    def vjp(g, out, x):
        error = np.zeros(x.shape)
        error[index] = 1
        return g * (out + error)

    return differentiable(vjp)(lambda x: np.exp(x))


def test_gradcheck_passes_right_gradients():
    assert gradcheck(np.exp, np.zeros(3)) is True
    assert gradgradcheck(np.exp, np.zeros(3)) is True


def test_gradcheck_says_which_input_is_wrong_where_and_by_how_much():
    f = wrong_at((1, 2))
    pattern = (
        r"the gradient for input 1, of shape \(2, 3\), is wrong at 1 of 6 elements, worst at index \(1, 2\): "
        r"analytic -?[\d.e+-]+, numerical -?[\d.e+-]+, difference [\d.e+-]+"
    )
    with pytest.raises(GradcheckError, match=pattern) as caught:
        gradcheck(lambda x, y: np.sin(x) * f(y), [np.ones((2, 3)), np.ones((2, 3))])
    assert isinstance(caught.value, AssertionError)


def test_gradcheck_finds_a_lost_history():
    with pytest.raises(GradcheckError, match="input 0"):
        gradcheck(lambda x: np.exp(x.detach()), np.ones(2))
    with pytest.raises(GradcheckError, match="input 0"):
        gradcheck(lambda x: np.exp(x.data), np.ones(2))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_gradcheck_takes_nan_for_wrong():
    with pytest.raises(GradcheckError, match="analytic nan"):
        gradcheck(differentiable(lambda g, out, x: g * np.nan)(lambda x: np.exp(x)), np.ones(2))


def test_gradgradcheck_finds_a_wrong_second_derivative_behind_a_right_first_one():
    f = differentiable(lambda g, out, x: g * np.cos(x.detach() if isinstance(x, Tensor) else x))(lambda x: np.sin(x))
    assert gradcheck(f, np.ones(2))
    with pytest.raises(GradcheckError, match="input 0"):
        gradgradcheck(f, np.ones(2))


def test_gradcheck_takes_one_input_or_several_and_one_output_or_several():
    assert gradcheck(lambda x: [np.sin(x), (x * x).sum()], Tensor(np.ones(2)))
    assert gradcheck(lambda x, y: (x * y, y), (2.0, np.ones(())))


def test_gradcheck_counts_an_output_without_history_as_constant():
    assert gradcheck(lambda x: (np.sin(x), np.zeros(3)), np.ones(2))
    assert gradcheck(lambda x: np.zeros(3), np.ones(2))


def test_gradcheck_checks_tensors_that_the_function_finds_by_itself():
    x, w = Tensor(np.ones(2)), Tensor(np.ones(2), requires_grad=True)
    assert gradcheck(lambda _: x * w * w, w)
    f = wrong_at(0)
    with pytest.raises(GradcheckError, match="input 0"):
        gradcheck(lambda _: f(w), w)


def test_gradcheck_leaves_its_inputs_as_they_were():
    x = Tensor(np.ones(2), requires_grad=True)
    array, other = x.data, np.ones(2)
    with pytest.raises(GradcheckError):
        gradcheck(lambda x, y: wrong_at(0)(x) * y, [x, other])
    assert x.data is array
    assert x.grad is None
    np.testing.assert_array_equal(x.data, np.ones(2))
    np.testing.assert_array_equal(other, np.ones(2))


def test_gradcheck_accepts_an_array_that_cannot_be_written_to():
    assert gradcheck(lambda x: x * x, np.broadcast_to(1.5, (2, 2)))


def test_gradcheck_of_the_same_array_as_two_inputs():
    x = np.ones(2)
    assert gradcheck(np.multiply, [x, x])


def test_gradcheck_asks_for_double_precision():
    with pytest.raises(DTypeError, match="input 1 has dtype float32, in which differences mean nothing"):
        gradcheck(np.multiply, [np.ones(2), np.ones(2, dtype=np.float32)])
    with pytest.raises(DTypeError, match="output 0 has dtype float32"):
        gradcheck(lambda x: x.astype(np.float32), np.ones(2))


def test_gradcheck_asks_for_an_input():
    with pytest.raises(ArgumentError, match="no inputs"):
        gradcheck(lambda: Tensor(1.0), [])


def test_gradcheck_says_that_a_random_function_is_random():
    generator = np.random.default_rng(0)
    with pytest.raises(GradcheckError, match="different results for the same inputs"):
        gradcheck(lambda x: functional.dropout(x, 0.5, generator), np.ones(20))


def test_gradcheck_of_complex_inputs_and_outputs_follows_pytorchs_convention():
    z = np.array([1 + 2j, 0.5 - 1j])
    assert gradcheck(lambda z: z * z, z)
    assert gradcheck(lambda z: np.conj(z) * z, z)
    x = Tensor(z, requires_grad=True)
    np.testing.assert_allclose(grad(np.real(x * np.conj(x)).sum(), x), 2 * z)


@pytest.mark.parametrize("vjps", [(), (lambda g, x: g,), (np.negative,), (lambda g, out, x: g, lambda g, out, x: g)])
def test_a_derivative_that_cannot_be_called_is_refused_where_it_is_written(vjps):
    with pytest.raises(ArgumentError):

        @differentiable(*vjps)
        def doubled(x, y=0):
            return 2 * x


@pytest.mark.parametrize("wrong", [None, "g", np.ones(5)])
def test_a_derivative_that_returns_no_gradient_is_named(wrong):
    @differentiable(lambda g, out, x: wrong)
    def doubled(x):
        return 2 * x

    with pytest.raises(ShapeError, match="derivative of doubled"):
        doubled(Tensor([1.0, 2.0], requires_grad=True)).sum().backward()


def test_the_dtype_of_a_ufuncs_result_can_be_chosen_and_its_gradient_has_the_inputs():
    x = Tensor(np.array([1.0, 2.0], np.float32), requires_grad=True)
    y = np.multiply(x, x, dtype=np.float64)
    assert y.dtype == np.float64
    y.sum().backward()
    assert x.grad.dtype == np.float32
    assert x.grad.tolist() == [2.0, 4.0]


def test_an_argument_that_a_composite_does_not_know_is_named():
    with pytest.raises(NoDerivativeError, match="returned="):
        np.average(Tensor([1.0, 2.0], requires_grad=True), returned=True)
