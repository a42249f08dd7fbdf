"""The cases on which the derivative table is checked: each a function of the table and arguments to call it with.

A case is one line, `case(np.sum, normal(2, 3), axis=0)`. Its inputs, with respect to which it is differentiated, are
the float64 and complex128 arrays among its positional arguments, also within lists and tuples; an array that stands
twice is one input, used twice. Everything else is constant: numbers, lists of numbers, integer and boolean arrays.

`normal(2, 3)` is not drawn until a case takes it, from a generator that is seeded by the name of the case's function.
So the numbers of a case depend on its own line alone: a new case leaves those of all others as they are.
"""

import zlib
from functools import wraps
from operator import getitem

import numpy as np
import pytest

from tinygrad_np import functional
from tinygrad_np.derivatives.assignment import assign
from tinygrad_np.derivatives.elementwise import clipped, masked, one_minus_square
from tinygrad_np.derivatives.shapes import scatter
from tinygrad_np.derivatives.table import RULES
from tinygrad_np.functional.convolution import columns, folded, handed_back, picked

NUMPY = np.lib.NumpyVersion(np.__version__)


def for_each_function(cases):
    """Make one test for each function, which checks all its cases. One test for each case would add 2 ms each."""
    functions = {}
    for case in cases:
        functions.setdefault(case.row, []).append(case)

    def decorate(check):
        def test(cases):
            errors = []
            for case in cases:
                try:
                    check(case)
                except Exception as error:
                    error.add_note(f"in the case {case}")
                    errors.append(error)
            if errors:
                raise ExceptionGroup(f"{len(errors)} of {len(cases)} cases", errors)

        test.__name__ = check.__name__
        names = [function.__name__ for function in functions]
        return pytest.mark.parametrize("cases", functions.values(), ids=names)(test)

    return decorate


class Random(np.lib.mixins.NDArrayOperatorsMixin):
    """An array that each case draws for itself. NumPy's functions and operators give another one."""

    def __init__(self, function, *args, **kwargs):
        self.function, self.args, self.kwargs = function, args, kwargs

    def __array_ufunc__(self, function, method, *args, **kwargs):
        return Random(getattr(function, method), *args, **kwargs)

    def __array_function__(self, function, types, args, kwargs):
        return Random(function, *args, **kwargs)


GENERATOR = Random(None)  # stands for the generator of the case


def normal(*shape):
    return Random(np.random.Generator.standard_normal, GENERATOR, shape)


def between(low, high, *shape):
    return Random(np.random.Generator.uniform, GENERATOR, low, high, shape)


def positive(*shape):
    return between(0.5, 2, *shape)


def complex_normal(*shape):
    return normal(*shape) + 1j * normal(*shape)


def of_scipy(function):
    """Whether it is a row of SciPy's functions, which come when SciPy does: test_scipy_*.py test them."""
    if isinstance(function, np.ufunc):
        return getattr(np, function.__name__, None) is not function
    module = function.__module__ or ""  # the examples of a page have none
    return module.startswith(("tinygrad_np.derivatives.special", "tinygrad_np.scipy"))


def is_input(value):
    return type(value) is np.ndarray and value.dtype in (np.float64, np.complex128)


class Case:
    def __init__(self, function, args, kwargs):
        known = {id(GENERATOR): np.random.default_rng(zlib.crc32(function.__name__.encode()))}
        self.function = function
        self.args = _drawn(args, known)
        self.kwargs = {name: _drawn(value, known) for name, value in kwargs.items()}
        self.inputs = []
        self._find(self.args)

    def _find(self, value):
        if is_input(value) and not any(value is found for found in self.inputs):
            self.inputs.append(value)
        elif isinstance(value, (list, tuple)):
            for item in value:
                self._find(item)

    def _replace(self, value, inputs):
        if is_input(value):
            return next(given for own, given in zip(self.inputs, inputs, strict=True) if own is value)
        if type(value) in (list, tuple):
            return type(value)(self._replace(item, inputs) for item in value)
        return value

    def __call__(self, *inputs):
        """Call the function with these arrays or Tensors instead of the case's own inputs."""
        return self.function(*self._replace(self.args, inputs), **self.kwargs)

    @property
    def row(self):
        """The function as the table knows it: `differentiable` wraps what it decorates."""
        return self.function if self.function in RULES else self.function.__wrapped__

    def __str__(self):
        args = [_described(arg) for arg in self.args]
        return f"{self.function.__name__}({', '.join(args + [f'{k}={v}' for k, v in self.kwargs.items()])})"


def _drawn(value, known):
    """The value with an array in the place of each `Random` in it. `known` has what was drawn before, by its id."""
    if type(value) in (list, tuple):
        return type(value)(_drawn(item, known) for item in value)
    if not isinstance(value, Random):
        return value
    if id(value) not in known:
        known[id(value)] = np.asarray(value.function(*_drawn(value.args, known), **value.kwargs))
    return known[id(value)]


def _described(value):
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    if type(value) in (list, tuple):
        items = ", ".join(map(_described, value))
        return f"[{items}]" if type(value) is list else f"({items})"
    return str(value)


CASES = []


def case(function, *args, **kwargs):
    CASES.append(Case(function, args, kwargs))


# Element-wise functions of one input, on a domain where they are smooth

anywhere = [np.negative, np.positive, np.square, np.exp, np.exp2, np.expm1, np.sin, np.cos, np.sinh, np.cosh, np.tanh]
anywhere += [np.arctan, np.arcsinh, np.absolute, np.conjugate, np.real, np.imag]
for function in anywhere:
    case(function, normal(2, 3))
    case(function, normal())
    case(function, normal(0, 3))
    case(function, complex_normal(2, 2))
for function in (
    np.fabs,
    np.copy,
    functional.relu,
    functional.leaky_relu,
    functional.sigmoid,
    functional.softplus,
    functional.erf,
):
    case(function, normal(2, 3))
    case(function, normal())
    case(function, normal(0, 3))
for function in np.log, np.log2, np.log10, np.log1p, np.sqrt, np.reciprocal:
    case(function, positive(2, 3))
    case(function, positive())
    case(function, positive(0, 3))
    case(function, complex_normal(2, 2))
for function in np.arcsin, np.arccos, np.arctanh, np.tan:
    case(function, between(-0.9, 0.9, 2, 3))
    case(function, between(-0.9, 0.9))
    case(function, complex_normal(2, 2))
case(np.cbrt, positive(2, 3))
case(np.arccosh, between(1.5, 3, 2, 3))
case(np.arccosh, complex_normal(2, 2))
case(np.reciprocal, -positive(3))
case(np.cbrt, -positive(3))
case(functional.leaky_relu, normal(2, 3), 0.3)

# Element-wise functions of two and three inputs

case(np.divmod, between(-9, 9, 2, 3), positive(3))
case(np.divmod, between(-9, 9, 3), 2.5)

for function in np.add, np.subtract, np.multiply, np.maximum, np.minimum, np.logaddexp:
    case(function, normal(2, 3), normal(2, 3))
    case(function, normal(3), normal(2, 1))
    case(function, normal(2, 3), 1.5)
    case(function, -0.5, normal(2, 3))
    case(function, normal(3), [1.0, 2.0, 3.0])
    case(function, [1.0, 2.0, 3.0], normal(3))
    x = normal(2, 2)
    case(function, x, x)
for function in np.divide, np.remainder, np.fmod, np.power:
    case(function, positive(2, 3), positive(2, 3))
    case(function, positive(3), positive(2, 1))
    case(function, positive(2, 3), 1.5)
    case(function, 1.5, positive(2, 3))
    case(function, positive(3), [1.1, 2.2, 3.3])
    case(function, [1.1, 2.2, 3.3], positive(3))
    case(function, positive(3), positive())
    case(function, positive(), positive(3))
for function in np.divide, np.power:
    x = positive(2, 2)
    case(function, x, x)
for function in np.remainder, np.fmod:
    case(function, normal(2, 3), positive(2, 3))
    case(function, normal(2, 3), -positive(2, 3))
for exponent in 0, 1, 2, 3, -1, -2, 0.0, 2.0, [0, 1, 2], np.array([0, 1, 2]), np.int64(3), np.uint8(3):
    case(np.power, normal(3), exponent)
for exponent in np.zeros(()), np.ones(()), np.array(2.0), np.array([0.0, 1.0, 2.0]):
    case(np.power, positive(3), exponent)
case(np.power, np.array([0.0, 1.0, 2.0]), 3)
case(np.power, [0.0, 1.0, 2.0], positive(3))
for function in np.add, np.subtract, np.multiply, np.divide, np.power:
    case(function, complex_normal(2), complex_normal(3, 1))
    case(function, positive(2), complex_normal(2))
    case(function, complex_normal(2), positive(2))
    case(function, positive(2), 1 + 2j)
case(np.power, complex_normal(2), 3)

mask = np.array([[True, False, True], [False, False, True]])
case(np.where, mask, normal(2, 3), normal(2, 3))
case(np.where, mask, normal(3), normal(2, 1))
case(np.where, mask, normal(), 0.5)
case(np.where, mask, 1, normal(2, 3))
case(np.where, True, normal(2), normal(2))
case(np.where, mask, complex_normal(2, 3), normal(3))
case(np.where, mask, normal(3), [1.0, 2.0, 3.0])

case(masked, normal(2, 3), mask)
case(masked, normal(3), mask)
case(masked, normal(), mask)
case(one_minus_square, normal(2, 3))
case(one_minus_square, normal())
case(masked, normal(), True)
case(masked, complex_normal(2, 3), mask)

case(clipped, normal(2, 3), -0.5, 0.5)
case(np.clip, normal(2, 3), -0.5, 0.5)
case(np.clip, normal(2, 3), None, 0.5)
case(np.clip, normal(2, 3), -0.5, None)
if NUMPY >= "2.1.0":  # older ones lack these keywords, and want at least one bound
    case(np.clip, normal(2, 3), min=-0.5)
    case(np.clip, normal(2, 3), max=0.5)
    case(np.clip, normal(2, 3), min=-0.5, max=0.5)
    case(np.clip, normal(2, 3), None, None)
case(np.clip, normal(3, 4), normal(3, 4), normal(3, 4))
case(np.clip, normal(3, 4), normal(4), normal(3, 1))
case(np.clip, normal(3, 4), normal(4), None)
case(np.clip, normal(3, 4), None, normal(4))
case(np.clip, normal(3, 4), 0.5, -0.5)
case(np.clip, normal(3), [-0.5, 0, 0], [0.5, 0.5, 0.5])

for axis in None, 0, -1, (0, 2):
    case(np.prod, normal(2, 3, 2), axis=axis)
    case(np.prod, np.array([[[1.0, 0.0], [2.0, 3.0]], [[0.0, 4.0], [0.0, 5.0]]]), axis=axis, keepdims=True)
case(np.prod, complex_normal(2, 3), axis=1)
case(np.prod, normal(2, 0), axis=1)

# Reductions

for function in np.sum, np.mean, np.max, np.min, np.var, np.std:
    case(function, normal(2, 3, 2))
    case(function, normal(3), axis=0)
    case(function, normal(2, 3, 2), axis=1)
    case(function, normal(2, 3, 2), 1)
    case(function, normal(2, 3, 2), axis=-1, keepdims=True)
    case(function, normal(2, 3, 2), axis=(0, 2))
    case(function, normal(2, 3, 2), axis=(-1, 0), keepdims=True)
    case(function, normal(2, 3), keepdims=True)
    case(function, normal(2, 3), axis=(0, 1))
    case(function, normal(2, 0, 3), axis=0)
    case(function, normal(2, 1, 3), axis=1) if function is not np.std else None
for function in np.sum, np.mean:
    case(function, normal())
    case(function, normal(2, 2), axis=())
    case(function, normal(2, 3), axis=0, dtype=np.float64)
    case(function, complex_normal(2, 3), axis=1)
case(np.sum, normal(0, 3))
case(np.sum, normal(0, 3), axis=0)
for function in np.var, np.std:
    case(function, normal(3, 2), ddof=1)
    case(function, normal(3, 2), axis=0, ddof=1, keepdims=True)
    case(function, normal(3, 2), axis=0, correction=1)
    case(function, complex_normal(3, 2), axis=0)

# Shapes

case(np.reshape, normal(2, 6), (3, 4))
case(np.reshape, normal(2, 6), -1)
case(np.reshape, normal(2, 6), (4, -1), order="F")
if NUMPY >= "2.1.0":  # older ones call it newshape
    case(np.reshape, normal(2, 6), shape=(3, 4))
case(np.reshape, normal(0, 3), (3, 0))
case(np.reshape, normal(), (1, 1))
case(np.ravel, normal(2, 3))
case(np.ravel, normal(2, 3), order="F")
case(np.squeeze, normal(1, 2, 1))
case(np.squeeze, normal(1, 2, 1), axis=0)
case(np.squeeze, normal(1, 2, 1), axis=(0, -1))
case(np.expand_dims, normal(2, 3), 1)
case(np.expand_dims, normal(2, 3), (0, -1))
case(np.expand_dims, normal(2, 3), axis=-1)
case(np.transpose, normal(2, 3, 4))
case(np.transpose, normal(2, 3, 4), (2, 0, 1))
case(np.transpose, normal(2, 3, 4), [1, -1, 0])
case(np.transpose, normal(2, 3, 4), axes=(1, 2, 0))
case(np.transpose, normal(2, 3), None)
case(np.transpose, normal())
case(np.swapaxes, normal(2, 3, 4), 0, -1)
case(np.moveaxis, normal(2, 3, 4), 0, -1)
case(np.moveaxis, normal(2, 3, 4), [0, 1], [-1, 0])
case(np.broadcast_to, normal(3, 1), (2, 3, 4))
case(np.broadcast_to, normal(), (2, 3))
case(np.broadcast_to, normal(1, 3), (0, 3))
case(np.astype, normal(2, 3), np.float64)
case(np.astype, normal(2, 3), np.complex128)

for function in np.split, np.array_split:
    case(function, normal(4, 3), 2)
    case(function, normal(4, 3), [1, 3])
    case(function, normal(2, 4), 2, axis=1)
    case(function, normal(2, 4), [1], -1)
case(np.array_split, normal(5), 3)

case(np.concatenate, [normal(2, 3), normal(1, 3)])
case(np.concatenate, (normal(2, 3), normal(1, 3)))
case(np.concatenate, [normal(2, 3), normal(2, 1), normal(2, 0)], axis=1)
case(np.concatenate, [normal(2, 3), normal(2, 1)], -1)
case(np.concatenate, [normal(2, 3), normal(2)], axis=None)
case(np.concatenate, [normal(2, 3), np.ones((1, 3), dtype=np.int64), [[1.0, 2.0, 3.0]]])
case(np.concatenate, [[normal(), normal()], normal(3)])
case(np.concatenate, [normal(2), complex_normal(2)])
x = normal(2, 3)
case(np.concatenate, [x, x])
case(np.concatenate, x)
case(np.stack, [normal(3), normal(3)])
case(np.stack, [normal(2, 3), normal(2, 3)], axis=1)
case(np.stack, [normal(2, 3), normal(2, 3)], -1)
case(np.stack, [normal(), 1.0, normal()])
case(np.stack, [x, x])
case(np.stack, x, axis=1)

# Indexing

basic = [0, -1, (1, 2), (1, slice(None), 0), slice(1, None), (slice(None, None, -1), slice(0, 3, 2))]
basic += [..., (..., 0), (), None, (0, None, ...)]
advanced = [[0, 2, 0], (slice(None), [1, 1]), ([0, 1], [2, 2]), ([0, 1], slice(None), [1, 0])]
advanced += [np.array([[0, 1], [2, 2]]), np.int64(1), np.zeros(0, dtype=int), (0, np.array([0, 0]))]
advanced += [True, np.array([True, False, True]), (slice(None), [True, False, True, True])]
advanced += [np.arange(24).reshape(3, 4, 2) % 5 == 0]
for index in basic + advanced:
    case(getitem, normal(3, 4, 2), index)
case(getitem, normal(), ())
case(getitem, normal(), None)
case(getitem, complex_normal(3), [0, 0])
case(scatter, normal(2, 3), [1, 1], (3, 3))
case(scatter, normal(3), 0, (2, 3))

# Products

pairs = [((2, 3), (3, 4)), ((3,), (3,)), ((3,), (3, 2)), ((2, 3), (3,)), ((4, 2, 3), (3, 2)), ((2, 3), (4, 3, 2))]
pairs += [((4, 2, 3), (3,)), ((3,), (4, 3, 2)), ((4, 2, 3), (4, 3, 2)), ((4, 1, 2, 3), (2, 3, 2))]
pairs += [((1, 2, 3), (4, 3, 1)), ((0, 3), (3, 2)), ((2, 0), (0, 3))]
for left, right in pairs:
    case(np.matmul, normal(*left), normal(*right))
case(np.matmul, normal(2, 2), [[1.0, 2.0], [3.0, 4.0]])
case(np.matmul, [[1.0, 2.0], [3.0, 4.0]], normal(2, 2))
case(np.matmul, complex_normal(2, 2), complex_normal(2, 2))
case(np.matmul, normal(2, 2), complex_normal(2))
x = normal(2, 2)
case(np.matmul, x, x)

case(np.block, [[normal(2, 3), normal(2, 1)], [normal(1, 4)]])

# What NumPy lacks

case(functional.linear, normal(2, 3), normal(4, 3), normal(4))
case(functional.linear, normal(2, 3), normal(4, 3))
case(functional.linear, normal(3), normal(4, 3), normal(4))
case(functional.linear, normal(2, 2, 3), normal(4, 3), normal(4))
case(functional.linear, normal(0, 3), normal(4, 3), normal(4))
case(functional.softmax, normal(2, 3))
case(functional.softmax, normal(2, 3), 0)
case(functional.softmax, normal(2, 3, 2), axis=(0, 2))
case(functional.log_softmax, normal(2, 3))
case(functional.log_softmax, normal(2, 3), 0)
case(functional.log_softmax, normal(2, 3, 2), axis=(0, 2))
case(functional.logsumexp, normal(2, 3))
case(functional.logsumexp, normal(2, 3), axis=1)
case(functional.logsumexp, normal(2, 3), -1, True)
case(functional.logsumexp, normal(2, 3, 2), axis=(0, 2), keepdims=True)
case(functional.layers._over_root, normal(2, 3), np.array([1, 2, 3]), 0.5)  # noqa: SLF001
case(functional.losses._cross_entropy, normal(3, 4), np.array([0, 3, 3]))  # noqa: SLF001
case(functional.losses._cross_entropy, normal(3, 4), np.array([0, 3, 3]), smoothing=0.1)  # noqa: SLF001
case(functional.losses._weighed, normal(2, 3), normal(3))  # noqa: SLF001

# Images

SIDES = (2, 3), (2, 1), ((1, 0), (0, 2)), (1, 2)  # size, stride, padding and dilation
case(columns, normal(2, 3, 4, 5), *SIDES)
case(folded, normal(3, 2, 3, 2, 3, 2), (2, 3, 4, 5), *SIDES)
case(functional.convolution._conv2d, normal(2, 2, 4, 5), normal(4, 1, 2, 3), normal(4), *SIDES[1:], 2)  # noqa: SLF001
case(functional.convolution._conv2d, normal(2, 2, 4, 5), normal(3, 2, 2, 3), None, *SIDES[1:], 1)  # noqa: SLF001
case(functional.convolution._conv2d, normal(0, 1, 4, 5), normal(3, 1, 2, 3), normal(3), *SIDES[1:], 1)  # noqa: SLF001
case(functional.convolution._max_pool2d, normal(2, 3, 4, 5), *SIDES)  # noqa: SLF001
images = np.random.default_rng(0).permutation(120).reshape(2, 3, 4, 5) / 10
maxima = functional.convolution._max_pool2d(images, *SIDES)  # noqa: SLF001
constants = images.astype(np.float32), maxima.astype(np.float32)
case(handed_back, normal(*maxima.shape), *constants, *SIDES)
case(picked, normal(*images.shape), *constants, *SIDES)

case(assign, normal(2, 3), (0, slice(1, None)), normal(2))
case(assign, normal(2, 3), 1, normal())
case(assign, normal(4), [0, 2, 0], normal(3))


def put_along_axis(arr, *args):
    """Work on a copy: NumPy's function returns nothing and changes its argument."""
    changed = arr.copy()
    np.put_along_axis(changed, *args)
    return changed


put_along_axis.__wrapped__ = np.put_along_axis
case(put_along_axis, normal(2, 3), np.array([[2], [0]]), normal(2, 1), 1)
case(put_along_axis, normal(2, 3), np.array([4, 1]), normal(2), None)


@wraps(np.copyto)
def copyto(dst, src, **kwargs):
    """np.copyto on a copy, as it returns nothing."""
    changed = np.copy(dst)
    np.copyto(changed, src, **kwargs)
    return changed


case(copyto, normal(2, 3), normal(3), where=np.array([[True], [False]]))

# Constant almost everywhere

for function in [np.floor, np.ceil, np.trunc, np.rint, np.round, np.sign, np.signbit, np.isnan, np.isinf]:
    case(function, normal(2, 3))
if NUMPY < "2.5.0":  # newer ones warn of its end
    case(np.fix, normal(2, 3))
for function in [np.isfinite, np.logical_not, np.shape, np.ndim, np.size, np.count_nonzero, np.nonzero, np.flatnonzero]:
    case(function, normal(2, 3))
for function in [np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal, np.floor_divide]:
    case(function, positive(2, 3), positive(3))
for function in [np.logical_and, np.logical_or, np.logical_xor, np.isclose, np.allclose, np.array_equal]:
    case(function, positive(2, 3), positive(2, 3))
for function in np.argmax, np.argmin, np.argsort, np.all, np.any:
    case(function, normal(2, 3), axis=1)
