"""`Tensor`: its attributes, its dtypes, its operators, and NumPy's functions applied to it."""

import copy
import inspect
import math
import operator
import pickle
import re

import numpy as np
import pytest
from derivative_cases import NUMPY
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays

import tinygrad_np
from tinygrad_np import Tensor, TinygradNpError, functional, grad, no_grad
from tinygrad_np.errors import ArgumentError, ArgumentTypeError, DTypeError, GraphError, NoDerivativeError, ShapeError
from tinygrad_np.spellings import TENSOR


def tracked(data, dtype=None):
    return Tensor(data, requires_grad=True, dtype=dtype)


# Making one


@pytest.mark.parametrize("data", [1, 1.5, 1j, True, [1, 2], [[1.0], [2.0]], np.float32(1), np.zeros((0, 3), "f2")])
def test_shape_and_dtype_are_those_that_numpy_gives(data):
    t, array = Tensor(data), np.asarray(data)
    assert type(t.data) is np.ndarray
    assert (t.shape, t.dtype, t.ndim, t.size) == (array.shape, array.dtype, array.ndim, array.size)


def test_flags_tell_the_memory_layout_of_the_array():
    t = Tensor(np.zeros((2, 3)))
    assert (t.flags.fnc, t.T.flags.fnc) == (False, True)


def test_a_dtype_can_be_asked_for():
    assert Tensor([1, 2], dtype=np.float32).dtype == np.float32


def test_an_array_is_not_copied():
    array = np.ones(3)
    assert Tensor(array).data is array


def test_a_tensor_can_be_made_from_a_tensor():
    t = Tensor([1.0, 2.0])
    assert Tensor(t).data is t.data


def test_a_tensor_requires_no_gradient_unless_asked():
    assert not Tensor(1.0).requires_grad
    assert tracked(1.0).requires_grad


def test_requires_grad_can_be_switched_on_and_off():
    t = Tensor([1.0])
    t.requires_grad = True
    (t * t).sum().backward()
    assert t.grad.tolist() == [2.0]
    t.requires_grad = False
    assert not (t * t).requires_grad


def test_a_detached_result_can_require_grad_anew():
    x = (Tensor([1.0, 2.0], requires_grad=True) * 2).detach().requires_grad_()
    assert x.is_leaf
    assert x.name is None
    (x * x).sum().backward()
    assert x.grad.tolist() == [4.0, 8.0]


def test_requires_grad_cannot_be_switched_off_on_a_result():
    y = tracked([1.0]) * 2
    with pytest.raises(GraphError, match="detach"):
        y.requires_grad = False


@pytest.mark.parametrize("data", [[1, 2], [True], np.uint8(3)])
def test_integers_and_booleans_cannot_require_a_gradient(data):
    with pytest.raises(TypeError, match=f"only floating-point arrays can require gradients.*{np.asarray(data).dtype}"):
        Tensor(data, requires_grad=True)
    t = Tensor(data)
    with pytest.raises(DTypeError):
        t.requires_grad = True
    assert not t.requires_grad


def test_parameters_that_are_given_no_name_have_none():
    assert Tensor(1.0).name is None
    assert Tensor(1.0, name="weight").name == "weight"


# Looking at it


def test_item_is_the_only_element_as_a_python_number():
    assert type(tracked([[2.5]]).item()) is float
    assert type(Tensor(3).item()) is int
    with pytest.raises(ValueError, match=r"size 1"):
        Tensor([1.0, 2.0]).item()


def test_numpy_is_the_array_itself():
    t = tracked([1.0])
    assert t.numpy() is t.data


def test_detach_shares_the_memory_but_not_the_history():
    t = tracked([1.0])
    detached = (t * 1).detach()
    assert not detached.requires_grad
    assert t.detach().data is t.data


def test_len_and_iteration_go_over_the_first_axis():
    t = tracked([[1.0, 2.0], [3.0, 4.0]])
    assert len(t) == 2
    first, second = t
    (first * 2 + second).sum().backward()
    assert t.grad.tolist() == [[2.0, 2.0], [1.0, 1.0]]


def test_a_tensor_without_axes_has_no_length_and_no_iterator():
    with pytest.raises(TypeError):
        len(tracked(1.0))
    with pytest.raises(TypeError):
        iter(tracked(1.0))


def test_membership_looks_at_the_elements():
    assert 2.0 in tracked([1.0, 2.0])
    assert 3.0 not in tracked([1.0, 2.0])


def test_tensors_are_hashed_by_identity():
    a, b = Tensor([1.0]), Tensor([1.0])
    assert len({a, b, a}) == 2
    assert {a: "a", b: "b"}[b] == "b"


@pytest.mark.parametrize(
    ("t", "text"),
    [
        (Tensor([1.0, 2.0]), "Tensor([1., 2.])"),
        (Tensor(1.5), "Tensor(1.5)"),
        (Tensor([1, 2]), "Tensor([1, 2])"),
        (Tensor([1.0], dtype=np.float32), "Tensor([1.], dtype=float32)"),
        (Tensor([1.0], requires_grad=True), "Tensor([1.], requires_grad=True)"),
        (Tensor(1.0, True, "f2", "w"), "Tensor(1., dtype=float16, requires_grad=True, name='w')"),
        (Tensor(np.zeros((0, 2))), "Tensor([], shape=(0, 2))"),
        (Tensor([[1.0, 2.0], [3.0, 4.0]]), "Tensor([[1., 2.],\n        [3., 4.]])"),
    ],
    ids=repr,
)
def test_repr_shows_the_elements_and_what_is_unusual(t, text):
    assert repr(t) == text
    assert str(t) == text


def test_repr_of_many_numbers_fits_on_a_screen():
    for shape in (100, 9), (100, 28, 28), (64, 3, 28, 28), (5000,), (50, 1):
        text = repr(Tensor(np.zeros(shape)))
        assert len(text.splitlines()) < 40
        assert "..." in text
        assert f"shape={shape}" in text
    assert len(repr(Tensor(np.zeros((40, 2)))).splitlines()) == 40


def test_repr_shows_as_many_numbers_as_numpys_print_options_ask_for():
    with np.printoptions(threshold=10**6):
        assert "..." not in repr(Tensor(np.zeros((100, 9))))


def test_format_writes_a_single_element_as_the_number_it_is():
    assert f"{tracked(3.14159):.2f}" == "3.14"
    assert f"{Tensor([[7]]):03d}" == "007"
    assert f"{Tensor([1.0, 2.0])}" == "Tensor([1., 2.])"


def test_format_of_several_elements_cannot_follow_a_specification():
    with pytest.raises(TypeError):
        f"{Tensor([1.0, 2.0]):.2f}"


def test_a_tensor_of_one_element_is_true_or_false():
    assert tracked(1.0)
    assert not tracked([0.0])
    with pytest.raises(ValueError, match="ambiguous"):
        bool(tracked([1.0, 2.0]))


def test_an_integer_tensor_is_an_index():
    assert [10, 20, 30][Tensor(1)] == 20
    assert list(range(Tensor(2))) == [0, 1]
    assert np.arange(3)[Tensor([0, 2])].tolist() == [0, 2]
    assert tracked([1.0, 2.0, 3.0])[Tensor([0, 2])].data.tolist() == [1.0, 3.0]


def test_numbers_can_be_taken_out_of_a_tensor_without_history():
    assert float(Tensor(1.5)) == 1.5
    assert int(Tensor(1.5)) == 1
    assert complex(Tensor(1.5)) == 1.5
    assert complex(Tensor(1j)) == 1j
    assert math.sqrt(Tensor(4.0)) == 2.0
    assert np.asarray(Tensor([1.0])).tolist() == [1.0]
    assert np.array([Tensor(1.0), Tensor(2.0)]).tolist() == [1.0, 2.0]


# Operators

BINARY = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, operator.mod, operator.floordiv]
OPERANDS = [2, 2.5, np.float64(2.5), np.float32(2.5), np.int64(2)]
OPERANDS += [np.array([2.0, 3.0]), np.array([2, 3]), np.array(2.0), [2.0, 3.0]]


@pytest.mark.parametrize("function", BINARY)
@pytest.mark.parametrize("operand", OPERANDS, ids=repr)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_an_operator_gives_what_numpy_gives_from_either_side(function, operand, dtype):
    array = np.array([1.5, 4.0], dtype)
    if NUMPY < "2.3.0" and function is operator.pow and np.ndim(operand) == 0:
        operand = np.asarray(operand).item()  # older ones look at the value of NumPy's 2, and square in x's own dtype
    for result, expected in [
        (function(tracked(array), operand), function(array, operand)),
        (function(operand, tracked(array)), function(operand, array)),
    ]:
        result = result.data if isinstance(result, Tensor) else result  # floor division is constant: a plain array
        assert result.dtype == expected.dtype
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("function", BINARY[:-1])
@pytest.mark.parametrize("operand", OPERANDS, ids=repr)
def test_the_gradient_of_an_operator_has_its_operands_dtype(function, operand):
    for reflected in (False, True):
        t = tracked([1.5, 4.0], np.float32)
        (function(operand, t) if reflected else function(t, operand)).sum().backward()
        assert t.grad.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_python_numbers_do_not_widen_a_dtype(dtype):
    t = tracked([1.5, 4.0], dtype)
    assert (1 - t * 2.5 / 3 + t**2 + 2**t - (-t) + abs(t)).dtype == dtype
    assert np.maximum(t, 0.5).dtype == dtype
    assert np.where(t.data > 2, t, 0.0).dtype == dtype
    assert (t.sum() * 2.5).dtype == dtype
    assert (2.5 * t.mean()).dtype == dtype


@pytest.mark.parametrize("function", [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne])
def test_comparisons_give_plain_boolean_arrays(function):
    array = np.array([1.0, 2.0, 3.0])
    for left, right in [(tracked(array), 2.0), (2.0, tracked(array)), (tracked(array), array), (array, tracked(array))]:
        result = function(left, right)
        assert type(result) is np.ndarray
        plain = [side.data if isinstance(side, Tensor) else side for side in (left, right)]
        np.testing.assert_array_equal(result, function(*plain))


def test_the_signs():
    t = tracked([-1.0, 2.0])
    assert ((-t).data.tolist(), (+t).data.tolist(), abs(t).data.tolist()) == ([1.0, -2.0], [-1.0, 2.0], [1.0, 2.0])


def test_matrix_multiplication_with_an_array_on_the_left():
    t = tracked([[1.0], [2.0]])
    y = np.array([[3.0, 4.0]]) @ t
    assert y.data.tolist() == [[11.0]]
    y.backward()
    assert t.grad.tolist() == [[3.0], [4.0]]


@pytest.mark.parametrize("function", [operator.and_, operator.or_, operator.xor, operator.lshift, operator.rshift])
def test_the_operators_of_integers_from_either_side(function):
    array = np.array([5, 3])
    for result in (function(Tensor(array), 2), function(Tensor(array), Tensor([2, 2]))):
        np.testing.assert_array_equal(result, function(array, 2))
    np.testing.assert_array_equal(function(6, Tensor(array)), function(6, array))


def test_the_complement():
    np.testing.assert_array_equal(~Tensor([True, False]), [False, True])


def test_divmod():
    quotient, rest = divmod(Tensor([7.0]), 2)
    assert (np.asarray(quotient).tolist(), np.asarray(rest).tolist()) == ([3.0], [1.0])


def test_augmented_assignment_to_a_result_is_recorded_under_all_its_names():
    x = tracked([1.0, 2.0])
    y = same = x * 1
    y *= 3
    assert x.data.tolist() == [1.0, 2.0]
    assert same is y
    y.sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


# Indexing


def test_indexing_gives_what_numpy_gives():
    array = np.arange(24.0).reshape(2, 3, 4)
    t = tracked(array)
    for index in [0, -1, (1, 2), slice(None, None, -1), ..., (..., 0), None, [1, 0], ([0, 1], [2, 2]), array > 5]:
        np.testing.assert_array_equal(t[index].data, array[index])
    np.testing.assert_array_equal(t[t > 5].data, array[array > 5])
    np.testing.assert_array_equal(t[:, Tensor([0, 2])].data, array[:, [0, 2]])


def test_an_element_taken_twice_gets_both_gradients():
    t = tracked([1.0, 2.0, 3.0])
    t[[0, 0, 2]].sum().backward()
    assert t.grad.tolist() == [2.0, 0.0, 1.0]


def test_an_index_outside_is_an_index_error():
    with pytest.raises(IndexError, match="out of bounds"):
        tracked([1.0])[1]


# Methods


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("sum", {}), ("sum", {"axis": 0}), ("mean", {"axis": 1, "keepdims": True}), ("max", {}), ("min", {"axis": 0}),
        ("var", {"ddof": 1}), ("std", {}), ("clip", {"min": 0.0}), ("squeeze", {}), ("ravel", {}),
        ("prod", {"axis": 0}),
    ],
)  # fmt: skip
def test_methods_that_numpy_has_too_do_the_same(method, arguments):
    array = np.array([[1.0, -2.0, 3.0], [0.5, 5.0, -6.0]])
    result = getattr(tracked(array), method)(**arguments)
    assert result.requires_grad
    np.testing.assert_array_equal(result.data, getattr(array, method)(**arguments))


def test_methods_without_derivative_give_plain_arrays():
    t = tracked([[1.0, 0.0], [2.0, 3.0]])
    assert t.argmax(axis=1).tolist() == [0, 1]
    assert t.argmin() == 1
    assert not t.all()
    assert t.any(axis=0).tolist() == [True, True]
    assert t.round().tolist() == t.data.tolist()


def test_shapes_and_axes_may_be_one_tuple_or_separate_integers():
    t = tracked(np.zeros((2, 3, 4)))
    assert t.reshape(4, 6).shape == t.reshape((4, 6)).shape == (4, 6)
    assert t.reshape(-1).shape == t.flatten().shape == (24,)
    assert t.transpose(2, 0, 1).shape == t.transpose((2, 0, 1)).shape == (4, 2, 3)
    assert t.transpose().shape == t.T.shape == (4, 3, 2)
    assert t.swapaxes(0, 1).shape == (3, 2, 4)


def test_astype_changes_the_dtype_and_the_gradient_comes_back_in_the_old_one():
    t = tracked([1.0, 2.0], np.float32)
    y = (t.astype(np.float64) * 0.1).sum()
    assert y.dtype == np.float64
    y.backward()
    assert t.grad.dtype == np.float32


def test_a_conversion_to_integers_has_no_gradient():
    t = tracked([1.5, 2.5])
    for integers in t.astype(np.int64), t.astype(bool), np.sum(t, dtype=np.int64):
        assert not getattr(integers, "requires_grad", False)


def test_every_public_name_has_a_docstring():
    names = [name for name in dir(Tensor) if not name.startswith("_") and name not in ("data", "name")]
    assert [name for name in names if not inspect.getdoc(getattr(Tensor, name))] == []


# NumPy's functions


def test_numpys_functions_take_tensors_by_position_and_by_name():
    t = tracked([[1.0, 2.0], [3.0, 4.0]])
    assert np.sum(a=t, axis=0).data.tolist() == [4.0, 6.0]
    assert np.transpose(a=t).data.tolist() == [[1.0, 3.0], [2.0, 4.0]]
    assert np.sum(a=t).requires_grad
    assert np.clip(a=t, a_min=Tensor(2.0), a_max=3.0).data.tolist() == [[2.0, 2.0], [3.0, 3.0]]
    low = tracked(2.0)
    np.clip(t, a_min=low, a_max=None).sum().backward()
    assert low.grad == 1.0


@pytest.mark.parametrize(
    "call",
    [
        np.add.reduce,
        lambda t: np.add.reduce(t, axis=None),
        lambda t: np.add.reduce(t, axis=(0, 1), keepdims=True),
        lambda t: np.add.reduce(t, 1, None, None, True),
        lambda t: np.maximum.reduce(t, axis=1),
        lambda t: np.maximum.reduce(t, 1, None, None, True),
        lambda t: np.minimum.reduce(t, axis=1, dtype=np.float64),
        lambda t: np.add.accumulate(t, axis=1),
    ],
)
@pytest.mark.parametrize("make", [Tensor, tracked])
def test_the_methods_of_ufuncs_are_the_functions_they_are_known_as_or_refused(call, make):
    array = np.array([[1.0, 5.0, 2.0], [4.0, 3.0, 6.0]])
    try:
        result = call(make(array))
    except NoDerivativeError:
        assert make is tracked
    else:
        np.testing.assert_array_equal(result.data if isinstance(result, Tensor) else result, call(array))


def test_without_recording_every_argument_may_require_a_gradient():
    t, low = tracked([1.0, 2.0]), tracked(1.5)
    with no_grad():
        if NUMPY >= "2.1.0":  # older ones lack these keywords
            assert np.clip(t, min=low, max=3.0).data.tolist() == [1.5, 2.0]
        assert np.isclose(t, 1.0, rtol=tracked(1e-3)).tolist() == [True, False]


@pytest.mark.parametrize(
    "call",
    [
        lambda t: np.sum(t, where=[True, False]),
        lambda t: np.sum(t, where=Tensor([True, False])),
        lambda t: np.sum(t, initial=Tensor(1.0)),
        lambda t: np.max(t, initial=Tensor(1.0)),
        lambda t: np.add(t, 1.0, where=np.array([True, False])),
        lambda t: np.add(t, 1.0, where=Tensor([True, False])),
        lambda t: np.add(t, 1.0, dtype=np.float32),
        lambda t: np.sum(t, 0, None, None, True),
        lambda t: np.mean(t, 0, None, None, True),
        lambda t: np.max(t, 0, None, True),
        lambda t: np.var(t, 0, None, None, 1, True),
        lambda t: np.std(t, 0, None, None, 1, True),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_unusual_argument_is_refused_at_the_call_or_differentiated(call):
    t = tracked([1.0, 2.0])
    try:
        y = call(t)
    except NoDerivativeError:
        pass
    else:
        np.sum(y).backward()  # and does not fail here, where nobody would know what was wrong
        assert t.grad.shape == t.shape


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda t: np.spacing(t), "spacing"),
        (lambda t: np.frexp(t), "frexp"),
        (lambda t: np.nextafter(t, 1.0), "nextafter"),
        (lambda t: np.polyfit([1.0, 2.0], t, 1), "polyfit"),
        (lambda t: np.add.reduceat(t, [0]), "add"),
        (lambda t: np.subtract.at(t, [0], t), "subtract"),
        (lambda t: np.histogram(t), "histogram"),
    ],
)
def test_a_function_without_a_rule_is_refused_by_name(function, name):
    with pytest.raises(NoDerivativeError, match=rf"\b{name}\b") as caught:
        function(tracked([1.0, 2.0]))
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, TinygradNpError)


def test_a_function_without_a_rule_gives_numpys_result_for_what_needs_no_gradient():
    assert np.spacing(Tensor([1.0])).tolist() == [2.0**-52]
    with no_grad():
        assert np.spacing(tracked([1.0])).tolist() == [2.0**-52]


@pytest.mark.parametrize(
    "call",
    [
        lambda t: np.array(t),
        lambda t: np.asarray(t),
        lambda t: np.asarray(t, dtype=np.float32),
        lambda t: np.array([t, t]),
        lambda t: np.array([[t[0]], [t[1]]]),
        lambda t: np.ascontiguousarray(t),
        lambda t: np.sum([t[0], t[1]]),
        lambda t: np.stack([[t[0], t[1]], [t[1], t[0]]]),
        lambda t: np.add([t[0], t[1]], 1.0),
        lambda t: float(t[0]),
        lambda t: complex(t[0]),
        lambda t: math.sin(t[0]),
        lambda t: np.add(t, 1.0, out=np.zeros(2)),
        lambda t: np.sum(t, out=np.zeros(())),
        lambda t: np.sum(np.zeros(2), out=t[0]),
        lambda t: operator.iadd(np.zeros(2), t),
        lambda t: operator.setitem(np.zeros(2), slice(None), t),
        lambda t: np.put(np.zeros(2), [0], t[0]),
        lambda t: np.copyto(np.zeros(2), t),
        lambda t: np.add.at(np.zeros(2), [0], t[0]),
        lambda t: np.random.default_rng(0).normal(t),
        lambda t: Tensor([t, t]),
        lambda t: Tensor(np.zeros(2))[t],
    ],
)
def test_nothing_loses_its_history_in_silence(call):
    with pytest.raises((NoDerivativeError, IndexError)):
        call(tracked([1.0, 2.0]))


@pytest.mark.parametrize(
    ("take", "remedy"),
    [
        (float, "loss.item()"),
        (lambda loss: "%.3f" % loss, "'%.3f' % loss.item()"),  # noqa: UP031
        (math.sin, "np.sin(x) instead of math.sin(x)"),
        (np.asarray, "x.detach().numpy()"),
        (lambda loss: np.array([loss, loss]), "loss.item()"),
    ],
)
def test_what_would_lose_a_history_is_answered_with_the_line_to_write(take, remedy):
    with pytest.raises(NoDerivativeError, match=re.escape(remedy)):
        take(tracked(2.0) * 3)


def test_an_element_of_an_array_cannot_become_a_tensor_with_a_history():
    with pytest.raises(ValueError, match="setting an array element") as caught:  # NumPy's wording around ours
        np.zeros(2)[0] = tracked(1.0)
    assert isinstance(caught.value.__cause__, NoDerivativeError)


def test_an_array_can_take_in_a_tensor_without_history():
    total = np.zeros(2)
    total += Tensor([1.0, 2.0])
    assert total.tolist() == [1.0, 2.0]
    total[0] = Tensor(5.0)
    assert total.tolist() == [5.0, 2.0]


@pytest.mark.parametrize("like", [np.zeros_like, np.ones_like, np.empty_like, lambda t: np.full_like(t, 2.0)])
def test_arrays_like_a_tensor_are_plain(like):
    result = like(tracked([[1.0, 2.0]], np.float32))
    assert (result.shape, result.dtype) == ((1, 2), np.float32)
    assert not getattr(result, "requires_grad", False)


def test_where_with_a_condition_only_gives_plain_indices():
    (indices,) = np.where(tracked([0.0, 1.0, 2.0]))
    assert not getattr(indices, "requires_grad", False)


# Lists of Tensors


def test_concatenate_and_stack_take_tensors_mixed_with_arrays_and_lists():
    a, b = tracked([1.0, 2.0]), tracked([3.0])
    y = np.concatenate([a, np.array([10.0]), b, [20.0]])
    assert y.data.tolist() == [1.0, 2.0, 10.0, 3.0, 20.0]
    (y * np.arange(5.0)).sum().backward()
    assert (a.grad.tolist(), b.grad.tolist()) == ([0.0, 1.0], [3.0])
    assert np.stack((a, np.array([5.0, 6.0])), axis=1).data.tolist() == [[1.0, 5.0], [2.0, 6.0]]


def test_lists_in_lists_of_tensors():
    a, b = tracked(1.0), tracked(2.0)
    y = np.concatenate([[a, b], Tensor([5.0]), [[b, 3.0][0]]])
    assert y.data.tolist() == [1.0, 2.0, 5.0, 2.0]
    (y * np.arange(4.0)).sum().backward()
    assert (a.grad, b.grad) == (0.0, 4.0)


def test_a_tensor_that_stands_twice_in_a_list_gets_both_gradients():
    a = tracked([1.0, 2.0])
    (np.concatenate([a, a]) * np.arange(4.0)).sum().backward()
    assert a.grad.tolist() == [2.0, 4.0]


def test_the_dtype_of_joined_tensors_is_numpys_and_each_gradient_has_its_own():
    a, b = tracked([1.0], np.float32), tracked([2.0], np.float64)
    y = np.concatenate([a, b])
    assert y.dtype == np.float64
    y.sum().backward()
    assert (a.grad.dtype, b.grad.dtype) == (np.float32, np.float64)


def test_the_pieces_of_a_split_are_tensors():
    t = tracked([1.0, 2.0, 3.0, 4.0])
    first, second = np.split(t, 2)
    assert (first.data.tolist(), second.data.tolist()) == ([1.0, 2.0], [3.0, 4.0])
    (first * second).sum().backward()
    assert t.grad.tolist() == [3.0, 4.0, 1.0, 2.0]


def test_a_piece_that_is_not_used_has_the_gradient_zero():
    t = tracked([1.0, 2.0, 3.0])
    np.split(t, 3)[1].sum().backward()
    assert t.grad.tolist() == [0.0, 1.0, 0.0]


def test_tensors_in_a_tuple_index():
    t = tracked(np.arange(6.0).reshape(2, 3))
    y = t[Tensor([0, 1]), Tensor([2, 0])]
    assert y.data.tolist() == [2.0, 3.0]
    y.sum().backward()
    assert t.grad.tolist() == [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]


# Broadcasting


@given(shapes=arrays.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, min_side=0, max_side=3))
@settings(max_examples=50, deadline=None)
def test_a_gradient_has_the_shape_of_its_tensor_however_that_was_broadcast(shapes):
    x, y = (tracked(np.ones(shape)) for shape in shapes.input_shapes)
    z = x + y
    assert z.shape == shapes.result_shape
    z.sum().backward()
    for t in (x, y):
        assert t.grad.shape == t.shape
        np.testing.assert_array_equal(t.grad, np.full(t.shape, z.size / max(t.size, 1)))


# Errors of shape


def test_shapes_that_do_not_fit_are_named_with_the_function():
    with pytest.raises(ShapeError, match=r"matmul of arrays of shapes \(2, 3\), \(2, 3\)") as caught:
        tracked(np.zeros((2, 3))) @ np.zeros((2, 3))
    assert isinstance(caught.value, ValueError)
    with pytest.raises(ShapeError, match=r"add of arrays of shapes \(2,\), \(3,\)"):
        tracked(np.zeros(2)) + np.zeros(3)
    with pytest.raises(ShapeError, match=r"reshape of an array of shape \(6,\).*\(4,\)"):
        tracked(np.zeros(6)).reshape(4)
    with pytest.raises(ShapeError, match=r"concatenate of arrays of shapes \(2,\), \(1, 2\)"):
        np.concatenate([tracked(np.zeros(2)), np.zeros((1, 2))])


def test_a_product_that_does_not_fit_is_explained_without_numpys_signatures():
    x = tracked(np.zeros((2, 3)))
    with pytest.raises(ShapeError, match=r"of the first has 3 elements, .* of the second has 2; transpose") as caught:
        x @ x
    assert "gufunc" not in str(caught.value)
    with pytest.raises(ShapeError, match=r"^vecdot .*: two axes that must have the same length have 3 and 2$"):
        np.vecdot(x, np.zeros(2))
    with pytest.raises(ShapeError, match=r"argument number 2 has 0 axes, but needs 1 or more; .* write \*$"):
        x @ tracked(3.0)
    with pytest.raises(ShapeError, match=r"the axes before those that are multiplied do not fit"):
        tracked(np.zeros((4, 2, 3))) @ np.zeros((3, 3, 2))


def test_an_error_of_numpys_in_better_words_is_shown_once():
    with pytest.raises(ShapeError) as caught:
        tracked(np.zeros(2)) + np.zeros(3)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("function", "matrix", "message"),
    [
        (np.linalg.inv, np.ones((2, 2)), r"^inv of an array of shape \(2, 2\): Singular matrix; .*pinv"),
        (lambda x: np.linalg.solve(x, np.ones(2)), np.ones((2, 2)), r"^solve of .*\(2, 2\), \(2,\): Singular .*lstsq"),
        (np.linalg.cholesky, -np.eye(2), r"^cholesky of .*not positive definite; .*np\.eye"),
        (np.linalg.inv, np.ones((2, 3)), r"^inv of .*\(2, 3\): .*square; .*pinv"),
    ],
)
@pytest.mark.parametrize("make", [tracked, Tensor])
def test_a_matrix_that_a_function_cannot_take_is_named_with_a_remedy(make, function, matrix, message):
    with pytest.raises(np.linalg.LinAlgError, match=message) as caught:
        function(make(matrix))
    assert isinstance(caught.value, TinygradNpError)


def test_an_axis_that_is_not_there_is_numpys_axis_error():
    with pytest.raises(np.exceptions.AxisError, match="axis 2 is out of bounds"):
        tracked(np.zeros((2, 3))).sum(axis=2)


# PyTorch's names


@pytest.mark.parametrize("make", [tracked, Tensor])
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: x.sum(dim=0), r"^sum\(\) got an unexpected .*'dim'; NumPy's name for it is axis="),
        (lambda x: x.mean(axis=0, keepdim=True), r"^mean\(\) .*'keepdim'; NumPy's name for it is keepdims="),
        (lambda x: x.argmax(dim=1), r"^argmax\(\) .*axis="),
        (lambda x: functional.softmax(x, dim=1), r"^softmax\(\) .*axis="),
    ],
)
def test_pytorchs_name_of_an_argument_is_answered_with_numpys(make, call, message):
    with pytest.raises(TypeError, match=message):
        call(make(np.ones((2, 3))))


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("view", "x.reshape(...)"),
        ("unsqueeze", "np.expand_dims(x, axis)"),
        ("permute", "x.transpose(...)"),
        ("cuda", "leave it out"),
        ("cpu", "leave it out"),
        ("to", "x.astype(dtype)"),
        ("exp", "np.exp(x)"),
        ("relu", "functional.relu(x)"),
        ("float", "x.astype(np.float32)"),
    ],
)
def test_pytorchs_name_of_a_method_is_answered_with_what_to_write(name, remedy):
    with pytest.raises(AttributeError, match=f"Tensor has no attribute '{name}'; .*{re.escape(remedy)}") as caught:
        getattr(tracked([1.0]), name)
    assert isinstance(caught.value, TinygradNpError)
    assert not hasattr(tracked([1.0]), name)


def test_what_pytorchs_names_are_answered_with_exists():
    places = {"np": np, "np.linalg": np.linalg, "functional": functional, "x": Tensor}
    for remedy in TENSOR.values():
        for place, name in re.findall(r"\b(np\.linalg|np|functional|x)\.(\w+)", remedy):
            assert hasattr(places[place], name)
            assert place != "x" or name not in TENSOR


def test_names_that_are_not_there_are_not_offered():
    assert not {"view", "cuda", "exp"} & set(dir(Tensor([1.0])))
    assert {"reshape", "sum"} <= set(dir(Tensor([1.0])))


def test_numel_and_requires_grad_in_place_are_as_in_pytorch():
    t = Tensor([[1.0, 2.0]])
    assert t.numel() == 2
    assert t.requires_grad_() is t
    assert t.requires_grad
    assert not t.requires_grad_(False).requires_grad


# Copies


def test_a_deep_copy_of_a_leaf_is_a_leaf_of_its_own():
    t = tracked([1.0, 2.0])
    t.sum().backward()
    other = copy.deepcopy(t)
    assert other.requires_grad
    assert other.grad.tolist() == [1.0, 1.0]
    assert not np.shares_memory(other.data, t.data)
    (other * 2).sum().backward()
    assert other.grad.tolist() == [3.0, 3.0]
    assert t.grad.tolist() == [1.0, 1.0]


# Complex numbers


def test_copying_a_history_is_answered_with_what_to_write():
    for function in copy.copy, copy.deepcopy, pickle.dumps:
        with pytest.raises(GraphError, match=r"write x\.detach\(\) .*x\.detach\(\)\.numpy\(\)"):
            function(tracked([1.0]) * 2)


def test_the_gradient_of_a_complex_tensor_points_uphill_as_in_pytorch():
    z = tracked([3 + 4j])
    abs(z).sum().backward()
    np.testing.assert_allclose(z.grad, [0.6 + 0.8j])
    np.testing.assert_allclose(grad(np.real(z * z).sum(), z), 2 * np.conj(z.data))


def test_complex_gradients_equal_pytorchs():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    z, w = rng.normal(size=(2, 3)) + 1j * rng.normal(size=(2, 3)), rng.normal(size=3) + 1j * rng.normal(size=3)
    ours, theirs = [tracked(z), tracked(w)], [torch.tensor(a, requires_grad=True) for a in (z, w)]
    np.real(np.sum(np.exp(ours[0] * ours[1]) / ours[0] + np.conj(ours[1]))).backward()
    torch.real(torch.sum(torch.exp(theirs[0] * theirs[1]) / theirs[0] + torch.conj(theirs[1]))).backward()
    for our, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(our.grad, their.grad.resolve_conj().numpy(), rtol=1e-12)


def test_the_package_exports_what_its_contract_names():
    names = ["Tensor", "grad", "no_grad", "TinygradNpError", "functional", "func", "nn", "optim", "data"]
    names += ["checkpoint", "debug", "visualize"]
    assert [name for name in names if not hasattr(tinygrad_np, name)] == []


def test_out_leaves_the_elements_that_where_leaves_out():
    out = Tensor([7.0, 7.0])
    assert np.add(Tensor([1.0, 2.0]), 1, out=out, where=np.array([True, False])) is out
    assert out.data.tolist() == [2.0, 7.0]


def test_out_takes_several_tensors():
    quotient = Tensor(np.zeros(2))
    first, second = np.divmod(np.array([5.0, 7.0]), 2.0, out=(quotient, None))
    assert first is quotient
    assert (first.data.tolist(), second.data.tolist()) == ([2.0, 3.0], [1.0, 1.0])


def test_out_is_cast_to_as_numpy_does():
    with pytest.raises(TypeError, match="casting"):
        np.add([1.5], 0, out=Tensor([0]))


def test_a_tensor_holds_numbers_but_no_objects():
    for data in (None, np.array([1.0, None]), {1.0}, (i for i in range(2))):
        with pytest.raises(DTypeError, match="dtype object"):
            Tensor(data)
    with pytest.raises(DTypeError, match="dtype object"):
        Tensor(None, dtype=float)  # NumPy makes it NaN


def test_an_in_place_operator_that_is_constant_leaves_a_constant():
    y = Tensor([5.0, 7.0], requires_grad=True) * 1
    y //= 2
    assert y.data.tolist() == [2.0, 3.0]
    assert not y.requires_grad


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_tensor_that_no_longer_learns_is_copied_with_its_gradient(copied):
    x = Tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    x.requires_grad = False
    other = copied(x)
    assert not other.requires_grad
    assert other.grad.tolist() == [2.0, 4.0]


@pytest.mark.parametrize("value", [np.ones((3, 2)), np.ones((2, 1)), np.ones(1)])
def test_a_gradient_has_the_shape_of_its_tensor(value):
    x = Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(ShapeError, match="a gradient of shape"):
        x.grad = value


def test_a_gradient_has_the_dtype_of_its_tensor():
    x = Tensor(np.ones(2, np.float32), requires_grad=True)
    x.grad = [1, 2]
    assert x.grad.dtype == np.float32
    for value in ("a", np.array(1j)):
        with pytest.raises(DTypeError, match="a gradient of dtype"):
            x.grad = value


def test_a_gradient_may_be_set_to_one_number():
    x = Tensor([1.0, 2.0], requires_grad=True)
    x.grad = 0
    (x * x).sum().backward()
    assert x.grad.tolist() == [2.0, 4.0]


@pytest.mark.parametrize("gradient", [[None, 1.0], np.ma.array([1.0, 1.0], mask=[True, False]), np.array([1j, 1.0])])
def test_backward_refuses_a_gradient_that_would_lose_something(gradient):
    x = Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(DTypeError):
        (x * x).backward(gradient)


def test_retain_grad_after_backward_says_that_it_is_late():
    h = Tensor([1.0, 2.0], requires_grad=True) * 2
    h.sum().backward()
    with pytest.raises(GraphError, match="before"):
        h.retain_grad()


def test_grad_says_which_of_its_arguments_is_no_tensor():
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = (x * x).sum()
    for outputs, inputs in [(y, np.ones(2)), (np.float64(3), x), ({"loss": y}, x), (y, {"x": x}), (y, None)]:
        with pytest.raises(ArgumentTypeError, match="put 0 must be a Tensor"):
            grad(outputs, inputs)
    with pytest.raises(ArgumentError, match="one gradient for each of 2 outputs"):
        grad([x * x, x * 2], x, [np.ones(2)])
