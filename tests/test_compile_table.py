"""The derivative table, compiled: every case of `derivative_cases.py` gives what it gives when it is not compiled.

Each is called three times, with other values of the same shapes, so that nothing of the first call can be left in the
program.
"""

import cases_elementwise  # noqa: F401 (they add to CASES)
import cases_linalg  # noqa: F401
import cases_shapes  # noqa: F401
import numpy as np
import pytest
from derivative_cases import CASES, for_each_function

from tinygrad_np import Tensor, compile, func, grad
from tinygrad_np.derivatives.table import CONSTANT, RULES

pytestmark = [  # what NumPy and the function itself say at the edges
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:the result does not depend"),
    pytest.mark.filterwarnings("ignore:Arrays of 2-dimensional vectors"),
]

SMOOTH = [case for case in CASES if RULES[case.row] is not CONSTANT]
REFUSED = [np.put_along_axis, np.copyto, np.array_str, np.array_repr, np.array2string]  # they write, or print values
TRACED = [case for case in SMOOTH if case.row is not np.trim_zeros]  # whose shape depends on values: it is refused


def three_times(case):
    """The inputs of the case, the same in reverse, and smaller ones."""
    return [case.inputs, [np.array(np.flip(x)) for x in case.inputs], [np.asarray(0.97 * x) for x in case.inputs]]


def listed(value):
    return list(value) if isinstance(value, (list, tuple)) else [value]


def assert_equal(ours, theirs):
    """Equal but for rounding, of the same dtype, and Tensors if and only if the others are."""
    ours, theirs = listed(ours), listed(theirs)
    assert len(ours) == len(theirs)
    for x, y in zip(ours, theirs, strict=True):
        assert isinstance(x, Tensor) is isinstance(y, Tensor)
        if isinstance(y, (type, np.dtype)):  # of common_type and result_type
            assert x == y
            continue
        x, y = getattr(x, "array", x), getattr(y, "array", y)
        assert np.shape(x) == np.shape(y)
        assert np.asarray(x).dtype == np.asarray(y).dtype
        scale = max((np.abs(y[np.isfinite(y)]).max() for y in [np.asarray(y)] if np.isfinite(y).any()), default=0)
        np.testing.assert_allclose(x, y, rtol=1e-10, atol=1e-11 * scale)


def weights(y):
    return np.arange(1, 1 + y.size).reshape(y.shape).astype(y.dtype)


def gradients(function, inputs, create_graph=False):
    """Value, inputs and gradients of the sum of all results, whose elements are weighted by 1, 2, 3 ..."""
    tensors = [Tensor(x, requires_grad=True) for x in inputs]
    outs = [y for y in listed(function(*tensors)) if y.requires_grad]
    found = grad(outs, tensors, list(map(weights, outs)), create_graph=create_graph, allow_unused=True)
    return outs, tensors, found


def gradients_of_gradients(function, inputs):
    _, tensors, found = gradients(function, inputs, create_graph=True)
    found = [g for g in found if isinstance(g, Tensor) and g.requires_grad]
    if not found:
        return []
    second = grad(found, tensors, [np.cos(weights(g)) for g in found], allow_unused=True)
    return [np.zeros(x.shape, x.dtype) if g is None else g for x, g in zip(inputs, second, strict=True)]


def loss(case):
    """A real scalar, as `func.grad` wants it."""

    def weighted(*inputs):
        return sum(np.sum(np.real(y * np.cos(weights(y)))) for y in listed(case(*inputs)))

    return weighted


@for_each_function(case for case in CASES if case.row not in REFUSED)
def test_the_result_of_arrays_equals_the_functions_own(case):
    compiled = compile(case)
    for inputs in three_times(case):
        assert_equal(compiled(*inputs), case(*inputs))


@for_each_function(TRACED)
def test_the_result_and_its_gradients_equal_the_functions_own(case):
    compiled = compile(case)
    for inputs in three_times(case):
        outs, _, found = gradients(compiled, inputs)
        expected, _, theirs = gradients(case, inputs)
        assert_equal(outs, expected)
        assert_equal(found, theirs)


@pytest.mark.slow
@for_each_function(case for case in TRACED if case.row is not np.imag)  # that of a real number may be a Python float
def test_a_compiled_gradient_equals_the_gradient(case):
    numbers = range(len(case.inputs))
    compiled, own = compile(func.grad(loss(case), numbers)), func.grad(loss(case), numbers)
    for inputs in three_times(case):
        assert_equal(compiled(*inputs), own(*inputs))


@for_each_function(TRACED)
def test_the_gradients_of_gradients_through_it_equal_the_functions_own(case):
    compiled = compile(case)
    for inputs in three_times(case):
        assert_equal(gradients_of_gradients(compiled, inputs), gradients_of_gradients(case, inputs))


@pytest.mark.slow
@for_each_function(
    case for case in TRACED if len(case.inputs) == 1 and case.inputs[0].size <= 4 and case.inputs[0].dtype.kind == "f"
)
def test_a_compiled_hessian_equals_the_hessian(case):
    compiled, own = compile(func.hessian(loss(case))), func.hessian(loss(case))
    for inputs in three_times(case):
        assert_equal(compiled(*inputs), own(*inputs))


@pytest.mark.slow
@for_each_function(TRACED)
def test_the_text_runs_by_itself_and_gives_the_same(case):
    compiled = compile(case)
    outs, _, found = gradients(compiled, case.inputs)
    scope = {}
    exec(compiled.source(), scope)
    results, saved = scope["forward"](*case.inputs)
    compare(results, outs)
    compare(scope["backward"](*map(weights, outs), saved), [gradient for gradient in found if gradient is not None])


def compare(ours, theirs):
    for x, y in zip(ours, [np.asarray(getattr(y, "array", y)) for y in theirs], strict=True):
        scale = np.abs(y).max() if y.size else 0
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-10 * scale)
