"""The transforms: from a function to its gradient, Jacobian, or product with one of them."""

from __future__ import annotations

__docformat__ = "google"


import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np

from tinygrad_np.arguments import integer
from tinygrad_np.autograd import gradients
from tinygrad_np.calls import plain
from tinygrad_np.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError, warn
from tinygrad_np.func.running import (
    Function,
    check_value,
    depends,
    filled,
    handed_out,
    is_nested,
    outputs,
    pulled_back,
    running,
    trees_of,
    warn_if_independent,
)
from tinygrad_np.recording import enabled
from tinygrad_np.tensor import Tensor
from tinygrad_np.tree import leaves, leaves_like, map_leaves, unflatten

__all__ = [
    "elementwise_grad",
    "grad",
    "hessian",
    "hessian_vector_product",
    "jacobian",
    "jvp",
    "value_and_grad",
    "vjp",
]

F = TypeVar("F", bound=Callable[..., Any])


def _either_name(transform: F) -> F:
    """Let `argnums` be given as `argnum` too, as HIPS autograd calls it."""

    @functools.wraps(transform)
    def named(function: Function, *args: Any, **kwargs: Any) -> Any:
        if "argnum" in kwargs and "argnums" not in kwargs:
            kwargs["argnums"] = kwargs.pop("argnum")
        return transform(function, *args, **kwargs)

    return named  # type: ignore[return-value]


@_either_name
def grad(function: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Callable[..., Any]:
    """The gradient of a scalar-valued function with respect to one of its arguments, or to several.

    Args:
        function: returns a real scalar; with `has_aux` a pair of that and anything else.
        argnums: the position of the argument, or several positions.
        has_aux: whether the function returns such a pair. Then the gradient is the first of a pair, too.

    Returns:
        A function of the same arguments. Its value has the structure and shapes of the argument; for several
        positions it is a tuple.

    >>> grad(np.tanh)(0.0)
    array(1.)
    >>> grad(grad(lambda x: x**3))(2.0)
    array(12.)
    >>> grad(lambda weights: np.sum(weights["w"] ** 2))({"w": np.array([1.0, 2.0])})
    {'w': array([2., 4.])}
    """

    both = value_and_grad(function, argnums, has_aux)

    def gradient(*args: Any, **kwargs: Any) -> Any:
        value, found = both(*args, **kwargs)
        return (found, value[1]) if has_aux else found

    return gradient


@_either_name
def value_and_grad(function: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Callable[..., Any]:
    """As `grad`, but returns the pair of the function's value and its gradient.

    Raises:
        ShapeError: when called, as for what follows: the function's value is no scalar.
        DTypeError: it is complex.
        ArgumentTypeError: it is no array or number, but for example None; or, with `has_aux`, no pair.
        ArgumentError: there is no argument at one of the positions, or one of them comes twice.
    """

    def value_and_gradient(*args: Any, **kwargs: Any) -> Any:
        numbers = _positions(argnums, args)
        with running([args[number] for number in numbers]) as (inputs, trees):
            out = function(*_replaced(args, numbers, trees), **kwargs)
            if has_aux:
                if not isinstance(out, (tuple, list)) or len(out) != 2:
                    raise ArgumentTypeError(f"with has_aux the function should return a pair, but it returned {out!r}")
                out, aux = out
            check_value(out, function)
            array = np.asarray(plain(out))
            if array.dtype == np.bool_:
                raise DTypeError("grad needs a function whose value is a number, but it returned True or False")
            if array.size != 1:
                raise ShapeError(f"grad needs a function with a scalar value, not of shape {array.shape}: see jacobian")
            nested = is_nested([out], inputs)
            found = pulled_back([out], inputs, [None], nested)
        arguments = [args[number] for number in numbers]
        if any(gradient is None for gradient in found):
            used = trees_of([gradient is not None for gradient in found], arguments)
            for number, tree in zip(numbers, used, strict=True):
                if not any(leaves(tree)):
                    warn(f"the result does not depend on argument number {number}, so its gradient is 0")
        gradients = trees_of(filled(found, inputs), arguments)
        value = handed_out(out, nested)
        if has_aux:
            value = value, map_leaves(lambda leaf: handed_out(leaf, nested), aux)
        return value, tuple(gradients) if isinstance(argnums, Sequence) else gradients[0]

    return value_and_gradient


@_either_name
def elementwise_grad(function: Function, argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """The sum over all elements of the function's value, differentiated: of an element-wise function, its slopes.

    The value may be a tree: all its elements are summed.

    >>> elementwise_grad(np.sin)(np.array([0.0, np.pi]))
    array([ 1., -1.])
    """

    def total(*args: Any, **kwargs: Any) -> Any:
        return sum(map(np.sum, outputs(function(*args, **kwargs), function)))

    return grad(total, argnums)


def vjp(function: Function, *primals: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """The function's value, and the map from a gradient of the value to the gradients of the arguments.

    >>> value, pull_back = vjp(lambda x: x**2, np.array([1.0, 2.0]))
    >>> pull_back(np.array([1.0, 1.0]))
    (array([2., 4.]),)
    """
    with running(primals) as (inputs, trees):
        value = function(*trees)
        outs = outputs(value, function)
        nested = is_nested(outs, inputs)
        warn_if_independent(outs)

    def pull_back(gradient: Any) -> tuple[Any, ...]:
        starts = _without_none(leaves_like(value, gradient))
        with enabled():
            found = pulled_back(outs, inputs, starts, nested or any(map(depends, starts)), retain_graph=True)
        return tuple(trees_of(filled(found, inputs), primals))

    return map_leaves(lambda leaf: handed_out(leaf, nested), value), pull_back


def jvp(function: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """The function's value, and its derivative in the direction of the tangents.

    The pull-back is linear in its gradient, and pulling back through it gives the push-forward (Townsend 2017, "A new
    trick for calculating Jacobian vector products").

    >>> jvp(lambda x: x**2, [np.array([1.0, 2.0])], [np.array([1.0, 0.0])])[1]
    array([2., 0.])
    """
    if not isinstance(primals, (list, tuple)) or not isinstance(tangents, (list, tuple)):
        raise ArgumentTypeError(
            "primals and tangents must be lists or tuples with one entry for each argument of the function, not "
            f"{type(primals).__name__} and {type(tangents).__name__}; pass [primal] and [tangent]"
        )
    with running(primals) as (inputs, trees):
        directions = _without_none(leaves_like(list(primals), list(tangents)))
        for primal, tangent in zip(inputs, directions, strict=True):
            if primal.shape != np.shape(tangent):
                raise ShapeError(f"a tangent has shape {np.shape(tangent)}, but its primal has shape {primal.shape}")
        value = function(*trees)
        outs = outputs(value, function)
        nested = is_nested(outs, inputs) or any(map(depends, directions))
        warn_if_independent(outs)
        pushed = [_pushed(out, inputs, directions, nested) for out in outs]
    return map_leaves(lambda leaf: handed_out(leaf, nested), value), unflatten(value, pushed)


def _pushed(out: Any, inputs: list[Tensor], directions: list[Any], nested: bool) -> Any:
    """The derivative of one value in the directions."""
    zero = np.zeros_like(handed_out(out, False))
    if not depends(out):
        return zero
    cotangent = Tensor(np.zeros(out.shape, out.dtype), requires_grad=True)
    pulled = gradients(out, inputs, cotangent, True, True, True)
    pairs = [(gradient, v) for gradient, v in zip(pulled, directions, strict=True) if depends(gradient)]
    if not pairs:
        return zero
    slopes, along = zip(*pairs, strict=True)
    return gradients(list(slopes), cotangent, list(along), nested, True, True)


@_either_name
def jacobian(function: Function, argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """All derivatives of a function's value: shape (*value's shape, *argument's shape).

    A complex value of a real argument has a complex Jacobian. With respect to a complex argument the function must be
    holomorphic; of a real value, the rows are gradients as `grad` gives them. If value or argument are trees, there
    is a tree of the argument's structure for each leaf of the value; for several positions a tuple of these.

    Raises:
        ArgumentError: when called, as for what follows: there is no argument at one of the positions, or one comes
            twice.
        DTypeError: a complex value that is no holomorphic function of a complex argument.

    >>> jacobian(lambda x: x**2)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """

    def all_derivatives(*args: Any, **kwargs: Any) -> Any:
        numbers = _positions(argnums, args)
        arguments = [args[number] for number in numbers]
        with running(arguments) as (inputs, trees):
            value = function(*_replaced(args, numbers, trees), **kwargs)
            outs = outputs(value, function)
            warn_if_independent(outs)
            blocks = [_rows(out, inputs, is_nested(outs, inputs)) for out in outs]
        every = [tuple(trees_of(block, arguments)) for block in blocks]
        return unflatten(value, every if isinstance(argnums, Sequence) else [block for (block,) in every])

    return all_derivatives


def _rows(out: Any, inputs: list[Tensor], nested: bool) -> list[Any]:
    """For each input, all derivatives of a value: shape (*value's shape, *input's shape)."""
    shape, size = np.shape(out), np.size(out)
    if not depends(out) or not size:
        return [np.zeros((*shape, *x.shape), np.result_type(out, x.dtype)) for x in inputs]
    basis = np.reshape(np.eye(size, dtype=out.dtype), (size, *shape))
    rows = [filled(pulled_back([out], inputs, [row], nested, retain_graph=True), inputs) for row in basis]
    blocks = [np.stack(block) for block in zip(*rows, strict=True)]
    if out.dtype.kind == "c":
        turned = [filled(pulled_back([out], inputs, [1j * row], nested, retain_graph=True), inputs) for row in basis]
        parts = zip(blocks, [np.stack(block) for block in zip(*turned, strict=True)], inputs, strict=True)
        blocks = [_complex_rows(real, imaginary, x) for real, imaginary, x in parts]
    return [np.reshape(block, (*shape, *x.shape)) for block, x in zip(blocks, inputs, strict=True)]


def _complex_rows(real: Any, imaginary: Any, x: Tensor) -> Any:
    """The derivatives of complex values from the gradients of their real and imaginary parts."""
    if x.dtype.kind != "c":
        return real + 1j * imaginary
    # The gradient of Re f is conj(f'), and that of Im f is i conj(f'), if and only if f is holomorphic.
    if not np.allclose(getattr(imaginary, "array", imaginary), 1j * getattr(real, "array", real)):
        raise DTypeError(
            "the function is not holomorphic, so it has no Jacobian with respect to a complex argument; "
            "take its real and imaginary parts as functions of those of the argument"
        )
    return np.conj(real)


@_either_name
def hessian(function: Function, argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """All second derivatives of a scalar-valued function: shape (*argument's shape, *argument's shape).

    For its product with a vector alone, without the matrix, see `hessian_vector_product`.

    >>> hessian(lambda x: np.sum(x**3))(np.array([1.0, 2.0]))
    array([[ 6.,  0.],
           [ 0., 12.]])
    """
    return jacobian(grad(function, argnums), argnums)


@_either_name
def hessian_vector_product(function: Function, argnums: int = 0) -> Callable[..., Any]:
    """The product of a function's Hessian with a vector: a function of the function's arguments and, last, the vector.

    The Hessian is symmetric, so this is the vector pulled back through the gradient: one backward pass more.

    >>> hessian_vector_product(lambda x: np.sum(x**3))(np.array([1.0, 2.0]), np.array([1.0, 1.0]))
    array([ 6., 12.])
    """

    def product(*args: Any, **kwargs: Any) -> Any:
        if len(args) < 2:
            raise ArgumentError("a Hessian-vector product takes the arguments of the function and then the vector")
        *given, vector = args
        (number,) = _positions([argnums], given)

        def gradient(argument: Any) -> Any:
            return grad(function, number)(*_replaced(given, [number], [argument]), **kwargs)

        return vjp(gradient, given[number])[1](vector)[0]

    return product


# Their arguments


def _positions(argnums: Any, args: Sequence[Any]) -> list[int]:
    """The positions that are meant, from 0."""
    numbers = [integer("argnums", i) for i in (argnums if isinstance(argnums, Sequence) else [argnums])]
    positions = [i + len(args) if i < 0 else i for i in numbers]
    if any(not 0 <= i < len(args) for i in positions) or len(set(positions)) < len(positions):
        raise ArgumentError(
            f"argnums is {argnums!r}, but must be a position, or different ones, of the {len(args)} arguments given by "
            "position; give what is to be differentiated by position, not by keyword"
        )
    return positions


def _replaced(args: Sequence[Any], positions: Sequence[int], values: Sequence[Any]) -> list[Any]:
    given = dict(zip(positions, values, strict=True))
    return [given.get(i, arg) for i, arg in enumerate(args)]


def _without_none(values: Iterable[Any]) -> list[Any]:
    values = list(values)
    if any(value is None for value in values):
        raise ArgumentTypeError("a gradient or tangent is None; give zeros where it is 0")
    return values
