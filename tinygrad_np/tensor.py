"""`Tensor`: a NumPy array with a history, and `apply`, the one place where calls are recorded.

Every operator, method and NumPy function on a Tensor ends in `apply`: it calls the NumPy function on the plain arrays
and, if an input requires a gradient, remembers the call as a `Node`. NumPy itself brings its functions here, through
`__array_ufunc__` and `__array_function__`.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

import tinygrad_np.derivatives  # noqa: F401 (fills the table)
from tinygrad_np.derivatives.assignment import assign
from tinygrad_np.derivatives.table import CONSTANT, RULES, Rule, Vjp
from tinygrad_np.errors import DTypeError, GraphError, NoDerivativeError, ShapeError
from tinygrad_np.graph import LEAF, Node, Scope, check_gradient, recording, walk

F = TypeVar("F", bound=Callable[..., Any])

_new = object.__new__
_next_number = itertools.count().__next__
_no_kwargs: Mapping[str, Any] = {}


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    """A method that applies a NumPy function to its Tensor."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        return apply(function, (self, *args), kwargs)

    method.__name__ = function.__name__
    method.__doc__ = f"See `numpy.{function.__name__}`."
    return method


def _operator(function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Tensor, other: Any) -> Any:
        return apply(function, (self, other), _no_kwargs)

    return method


def _reflected(function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Tensor, other: Any) -> Any:
        return apply(function, (other, self), _no_kwargs)

    return method


def _in_place(function: Callable[..., Any]) -> Callable[..., Any]:
    """`x += y` writes to x's array if there is nothing to record, else it makes x a new, recorded Tensor."""

    def method(self: Tensor, other: Any) -> Any:
        if _holds_tracked((self, other)):
            return apply(function, (self, other), _no_kwargs)
        function(self.data, _plain(other), out=self.data)
        return self

    return method


def _shape_argument(args: tuple[Any, ...]) -> Any:
    """NumPy's methods take a shape or axes as one tuple or as separate integers."""
    return args[0] if len(args) == 1 else args


class Tensor:
    """An array, and the record of how it was made.

    Args:
        data: an array, or anything that `numpy.asarray` takes. An array is not copied.
        requires_grad: whether gradients with respect to this Tensor are wanted. What is computed from such a Tensor
            requires a gradient too.
        dtype: converts `data`; by default the dtype is what NumPy gives.
        name: shown in drawings and messages.

    Raises:
        DTypeError: `requires_grad` for an array that is neither real nor complex floating point.
        NoDerivativeError: `data` is a Tensor that requires a gradient, or a list of such.

    >>> x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> y = (x * x).sum()
    >>> y.backward()
    >>> x.grad
    array([2., 4., 6.])
    """

    __slots__ = ("__weakref__", "_name", "_node", "data")

    data: np.ndarray
    _name: str | None
    _node: Node | None

    def __init__(
        self,
        data: ArrayLike | Tensor,
        requires_grad: bool = False,
        dtype: DTypeLike | None = None,
        name: str | None = None,
    ) -> None:
        if isinstance(data, Tensor):
            if data.requires_grad:
                raise NoDerivativeError("a Tensor of a Tensor that requires grad would lose its history; .detach() it")
            data = data.data
        self.data = np.asarray(data, dtype=dtype)
        self._node = None
        self.name = name
        if requires_grad:
            self.requires_grad = True

    # What it is

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow through this Tensor. Can be set on leaves."""
        return self._node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if self._node is not None and self._node.rule is not LEAF:
            if not value:
                raise GraphError("requires_grad can be switched off only on leaves; .detach() a computed Tensor")
            return
        if value and self.data.dtype.kind not in "fc":
            raise DTypeError(
                f"only floating-point arrays can require gradients, but this one has dtype {self.data.dtype}; "
                "pass dtype=numpy.float32 or convert the data first"
            )
        if not value:
            self._node = None
        elif self._node is None:
            self._node = make_node(LEAF, (), _no_kwargs, (), self.data, recording.state.scope)
            self._node.name = self._name

    @property
    def name(self) -> str | None:
        """What messages and drawings call this Tensor."""
        return self._name if self._node is None else self._node.name

    @name.setter
    def name(self, value: str | None) -> None:
        self._name = value
        if self._node is not None:
            self._node.name = value

    @property
    def is_leaf(self) -> bool:
        """True unless a recorded call made this Tensor."""
        return self._node is None or self._node.rule is LEAF

    @property
    def grad(self) -> np.ndarray | None:
        """The gradient that `backward` accumulated, of this shape and dtype; None before, and on all but leaves."""
        return None if self._node is None else self._node.grad

    @grad.setter
    def grad(self, value: np.ndarray | None) -> None:
        if self._node is None:
            if value is not None:
                raise GraphError("a Tensor that does not require grad holds no gradient; set requires_grad=True first")
        else:
            self._node.grad = value

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        return self.data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the elements."""
        return self.data.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.data.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.data.size

    @property
    def flags(self) -> Any:
        """The memory layout of the array, as `numpy.ndarray.flags`."""
        return self.data.flags

    # Out of the graph

    def item(self) -> Any:
        """The only element, as a Python number."""
        return self.data.item()

    def numpy(self) -> np.ndarray:
        """The array itself, without its history; the memory is shared."""
        return self.data

    def detach(self) -> Tensor:
        """A Tensor on the same memory that does not require a gradient."""
        return _make_tensor(self.data, None)

    # Gradients

    def backward(self, gradient: ArrayLike | None = None, retain_graph: bool = False) -> None:
        """Add the gradient of this Tensor with respect to every leaf to the leaf's `.grad`, then free the graph.

        Args:
            gradient: the gradient of some scalar with respect to this Tensor, of its shape. May be left out if this
                Tensor is the scalar.
            retain_graph: keep the graph, so that it can be walked again.

        Raises:
            GraphError: this Tensor does not require grad, is no scalar, or its graph was freed before.
            ShapeError: `gradient` has another shape than this Tensor.
        """
        if self._node is None:
            raise GraphError("this Tensor does not require grad: nothing it was computed from has requires_grad=True")
        start = np.asarray(check_gradient(gradient, self.data), dtype=self.dtype)
        for leaf, found in walk({self._node: start}, None, retain_graph).items():
            leaf.grad = found if leaf.grad is None else np.asarray(leaf.grad + found)

    # NumPy's protocols

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *args: Any, **kwargs: Any) -> Any:
        if method == "__call__" and "out" not in kwargs:
            return apply(ufunc, args, kwargs)
        out = kwargs.pop("out", (None,))
        if len(out) == 1 and isinstance(out[0], Tensor):
            out[0][...] = getattr(ufunc, method)(*args, **kwargs)
            return out[0]
        if any(array is not None for array in out):
            if _holds_tracked((*args, *out)):
                raise NoDerivativeError(
                    f"numpy.{ufunc.__name__} cannot write the result of a Tensor that requires grad into an array with "
                    "out=; use the Tensor that it returns, or .detach() the inputs"
                )
            return getattr(ufunc, method)(*map(_plain, args), out=out, **kwargs)
        if method == "__call__":
            return apply(ufunc, args, kwargs)
        if method == "outer":
            x, y = args
            return apply(ufunc, (np.reshape(x, np.shape(x) + (1,) * np.ndim(y)), y), kwargs)
        function = _METHODS.get((ufunc, method))
        if function is not None:
            given = {"axis": 0, **dict(zip(_REDUCE_ARGUMENTS, args[1:], strict=False)), **kwargs}
            kwargs = {name: value for name, value in given.items() if value is not None or name == "axis"}
            if "dtype" not in kwargs or function not in (np.max, np.min):
                return apply(function, args[:1], kwargs)
        if _holds_tracked(args):
            raise NoDerivativeError(
                f"numpy.{ufunc.__name__}.{method} has no rule in the derivative table, at least not with these "
                "arguments; use another function, or .detach() the input"
            )
        return getattr(ufunc, method)(*map(_plain, args), **kwargs)

    def __array_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        return apply(function, args, kwargs)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        if self._node is not None:
            raise NoDerivativeError(
                "turning a Tensor that requires grad into an array would lose its history; "
                "use numpy.stack to join Tensors, or .detach() to drop the history on purpose"
            )
        return np.array(self.data, dtype=dtype, copy=copy)

    def __float__(self) -> float:
        if self._node is not None:
            raise NoDerivativeError(
                "float() of a Tensor that requires grad would lose its history; "
                "use .item() for the number, or numpy's functions instead of math's"
            )
        return float(self.data)

    def __complex__(self) -> complex:
        if self._node is not None:
            raise NoDerivativeError("complex() of a Tensor that requires grad would lose its history; use .item()")
        return complex(self.data)

    def __int__(self) -> int:
        return int(self.data)

    def __index__(self) -> int:
        return operator.index(self.data)

    def __bool__(self) -> bool:
        return bool(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[Tensor]:
        if self.ndim == 0:
            raise TypeError("a Tensor without axes cannot be iterated over")
        return (self[i] for i in range(len(self.data)))

    def __contains__(self, value: Any) -> bool:
        return value in self.data

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        text = np.array2string(self.data, separator=", ", prefix="Tensor(")
        kind = "" if self.dtype in (np.float64, np.int64, np.bool_) else f", dtype={self.dtype}"
        shape = f", shape={self.shape}" if self.size == 0 and self.shape != (0,) else ""
        name = "" if self.name is None else f", name={self.name!r}"
        return f"Tensor({text}{shape}{kind}{', requires_grad=True' if self.requires_grad else ''}{name})"

    def __format__(self, spec: str) -> str:
        return format(self.data.item() if self.size == 1 else self.data, spec) if spec else str(self)

    def __reduce__(self) -> tuple[Any, ...]:
        if not self.is_leaf:
            raise GraphError("a Tensor cannot be copied together with its history; .detach() it first")
        return _rebuild, (type(self), self.data, self.requires_grad, self.name, self.grad)

    # Operators and methods: one line a function

    __add__, __radd__ = _operator(np.add), _reflected(np.add)
    __sub__, __rsub__ = _operator(np.subtract), _reflected(np.subtract)
    __mul__, __rmul__ = _operator(np.multiply), _reflected(np.multiply)
    __truediv__, __rtruediv__ = _operator(np.divide), _reflected(np.divide)
    __floordiv__, __rfloordiv__ = _operator(np.floor_divide), _reflected(np.floor_divide)
    __mod__, __rmod__ = _operator(np.remainder), _reflected(np.remainder)
    __pow__, __rpow__ = _operator(np.power), _reflected(np.power)
    __matmul__, __rmatmul__ = _operator(np.matmul), _reflected(np.matmul)
    __and__, __rand__ = _operator(np.bitwise_and), _reflected(np.bitwise_and)
    __or__, __ror__ = _operator(np.bitwise_or), _reflected(np.bitwise_or)
    __xor__, __rxor__ = _operator(np.bitwise_xor), _reflected(np.bitwise_xor)
    __lshift__, __rlshift__ = _operator(np.left_shift), _reflected(np.left_shift)
    __rshift__, __rrshift__ = _operator(np.right_shift), _reflected(np.right_shift)
    __lt__, __le__ = _operator(np.less), _operator(np.less_equal)
    __gt__, __ge__ = _operator(np.greater), _operator(np.greater_equal)
    __eq__, __ne__ = _operator(np.equal), _operator(np.not_equal)
    __neg__, __pos__, __abs__ = _method(np.negative), _method(np.positive), _method(np.absolute)
    __invert__ = _method(np.invert)
    __round__ = _method(np.round)
    __divmod__, __rdivmod__ = _operator(np.divmod), _reflected(np.divmod)
    __getitem__ = _operator(operator.getitem)

    __iadd__, __isub__ = _in_place(np.add), _in_place(np.subtract)
    __imul__, __itruediv__ = _in_place(np.multiply), _in_place(np.divide)

    def __setitem__(self, index: Any, value: Any) -> None:
        """Assign to elements; recorded if this Tensor or the value requires a gradient.

        Then this Tensor gets a new array, so that no gradient is made wrong by it: what was computed from this Tensor
        before, and views of it that were taken before, keep the old elements.

        Raises:
            GraphError: to be recorded, but this Tensor is a leaf that requires a gradient, or a view of another array,
                which NumPy would write to.
            DTypeError: to be recorded, but this Tensor holds integers.
        """
        if recording.state.suspended or not (self.requires_grad or _holds_tracked(value)):
            self.data[_plain(index)] = _plain(value)
            return
        if self.requires_grad and self.is_leaf:
            raise GraphError(
                "assigning to a leaf that requires grad would lose the leaf; assign to a copy, x = x.copy(), "
                "or within no_grad() to change its value"
            )
        if self.data.base is not None:
            raise GraphError(
                "this Tensor is a view of another array, which a recorded assignment would not change; "
                "assign to the other Tensor itself, with one index, or to a copy, x = x.copy()"
            )
        if self.data.dtype.kind not in "fc":
            raise DTypeError(f"a value with a gradient cannot be assigned to elements of dtype {self.dtype}")
        result = assign(self, index, _stacked(value) if isinstance(value, (list, tuple)) else value)
        self.data, self._node = result.data, result._node

    sum, mean, prod = _method(np.sum), _method(np.mean), _method(np.prod)
    max, min = _method(np.max), _method(np.min)
    var, std = _method(np.var), _method(np.std)
    argmax, argmin, all, any = _method(np.argmax), _method(np.argmin), _method(np.all), _method(np.any)
    clip, round, astype = _method(np.clip), _method(np.round), _method(np.astype)
    squeeze, ravel, swapaxes = _method(np.squeeze), _method(np.ravel), _method(np.swapaxes)
    cumsum, cumprod, ptp = _method(np.cumsum), _method(np.cumprod), _method(np.ptp)
    dot, trace, diagonal = _method(np.dot), _method(np.trace), _method(np.diagonal)
    repeat, take, compress = _method(np.repeat), _method(np.take), _method(np.compress)
    argsort, nonzero, searchsorted = _method(np.argsort), _method(np.nonzero), _method(np.searchsorted)
    conj = conjugate = _method(np.conjugate)
    real = property(_method(np.real))
    imag = property(_method(np.imag))

    def sort(self, axis: int = -1) -> None:
        """Sort in place, as ndarray's method does, recorded as an assignment; `numpy.sort` gives a sorted copy."""
        self[...] = apply(np.sort, (self,), {"axis": axis})

    def reshape(self, *shape: Any, **kwargs: Any) -> Any:
        """See `numpy.reshape`; the shape may be one tuple or separate integers."""
        return apply(np.reshape, (self, _shape_argument(shape)), kwargs)

    def transpose(self, *axes: Any) -> Any:
        """See `numpy.transpose`; the axes may be one tuple or separate integers."""
        return apply(np.transpose, (self, _shape_argument(axes)) if axes else (self,), _no_kwargs)

    def copy(self) -> Any:
        """A copy, recorded as one."""
        return apply(np.copy, (self,), _no_kwargs)

    def flatten(self) -> Any:
        """The elements in one axis."""
        return apply(np.reshape, (self, -1), _no_kwargs)

    @property
    def T(self) -> Any:  # noqa: N802 (NumPy's name)
        """The axes in reverse order."""
        return apply(np.transpose, (self,), _no_kwargs)


def apply(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any] = _no_kwargs) -> Any:
    """Call `function` on the arrays of its arguments and, if one of them requires a gradient, record the call.

    Returns:
        A Tensor, or one for each output. A plain result if the function is constant almost everywhere (comparisons,
        `argmax`, `floor` ...), or if it is not in the derivative table and no argument requires grad.

    Raises:
        NoDerivativeError: an argument requires grad, and there is no rule for the function or for an argument of it.
    """
    rule = RULES.get(function)
    if rule is not None and rule.composite is not None and any(map(_holds_tracked, (*args, *kwargs.values()))):
        if rule.keywords and not rule.keywords.issuperset(kwargs):
            kwargs = _named(function, rule, (), kwargs)
        return rule.composite(*args, **kwargs)
    if kwargs and any(map(_holds_tensor, kwargs.values())):
        args, kwargs = _positional(function, args, kwargs)
    values: list[Any] = []
    parents: list[Node | None] = []
    tracked = False
    for arg in args:
        node = None
        if isinstance(arg, Tensor):
            node = arg._node
            arg = arg.data
        elif isinstance(arg, (list, tuple)):
            if isinstance(function, np.ufunc):  # then the list stands for an array
                arg = _stacked(arg)
                if isinstance(arg, Tensor):
                    node = arg._node
                    arg = arg.data
            elif _holds_tensor(arg):
                arg, node = _pack(arg)
        values.append(arg)
        parents.append(node)
        if node is not None:
            tracked = True
    state = recording.state
    recorded = None
    watches: Any = ()
    options = kwargs
    if tracked and rule is not CONSTANT and not state.suspended:
        if rule is None:
            raise NoDerivativeError(
                f"{function.__name__} has no rule in the derivative table, so it cannot be applied to a Tensor that "
                f"requires grad; add one with tinygrad_np.derivative({function.__name__}, vjp), or .detach() the input"
            )
        if len(values) > rule.positional or (kwargs and not rule.keywords.issuperset(kwargs)):
            kwargs = _named(function, rule, values, kwargs)
            options = options if isinstance(function, np.ufunc) else kwargs
            del values[rule.positional :]
        if len(parents) > len(rule.vjps) and any(parents[len(rule.vjps) :]):
            position = next(i for i, node in enumerate(parents) if node is not None and i >= len(rule.vjps))
            raise NoDerivativeError(f"{rule.name} has no derivative with respect to its argument number {position + 1}")
        recorded = rule
        watches = state.watches
    arrays = tuple(values)
    started = perf_counter() if watches else 0.0
    try:
        out = function(*arrays, **options) if options else function(*arrays)
    except ValueError as error:
        if type(error) is not ValueError:  # one that says more already, such as LinAlgError
            raise
        raise ShapeError(f"{function.__name__} of arrays of shapes {_shapes(values)}: {error}") from error
    if recorded is not None:
        node = make_node(recorded, arrays, kwargs, tuple(parents), out, state.scope)
        if watches:
            seconds = perf_counter() - started
            for watch in watches:
                watch.recorded(node, seconds)
        if type(out) is np.ndarray and out.dtype.kind == "f":
            return _make_tensor(out, node)
        return _wrap(out, node)
    return out if rule is None or rule is CONSTANT or out is None else _wrap(out, None)


def _shapes(values: Sequence[Any]) -> str:
    """The shapes of arrays and of arrays in lists, for messages: NumPy's do not always name them."""
    arrays = itertools.chain(*(value if isinstance(value, (list, tuple)) else [value] for value in values))
    return ", ".join(str(array.shape) for array in arrays if isinstance(array, np.ndarray))


def make_node(
    rule: Rule,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    parents: tuple[Node | None, ...],
    out: Any,
    scope: Scope | None,
) -> Node:
    node: Node = _new(Node)
    node.rule = rule
    node.args = args
    node.kwargs = kwargs
    node.parents = parents
    node.out = out
    node.number = _next_number()
    node.grad = None
    node.name = None
    node.scope = scope
    node.notes = None
    return node


def _make_tensor(data: np.ndarray, node: Node | None) -> Tensor:
    tensor: Tensor = _new(Tensor)
    tensor.data = data
    tensor._node = node
    tensor._name = None
    return tensor


def _holds_tracked(value: Any) -> bool:
    """Whether a call with this argument, or with the items of this list as arguments, would have to be recorded."""
    if isinstance(value, (list, tuple)):
        return any(map(_holds_tracked, value))
    return isinstance(value, Tensor) and value.requires_grad and not recording.state.suspended


def _plain(value: Any) -> Any:
    """The same with arrays in the place of Tensors."""
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plain, value))
    return value.data if isinstance(value, Tensor) else value


def _rebuild(
    kind: type[Tensor], data: np.ndarray, requires_grad: bool, name: str | None, gradient: np.ndarray | None
) -> Tensor:
    tensor = kind(data, requires_grad, dtype=data.dtype, name=name)
    tensor.grad = gradient
    return tensor


_REDUCE_ARGUMENTS = ("axis", "dtype", "out", "keepdims", "initial", "where")

_METHODS: Mapping[tuple[np.ufunc, str], Callable[..., Any]] = {
    (np.add, "reduce"): np.sum,
    (np.multiply, "reduce"): np.prod,
    (np.maximum, "reduce"): np.max,
    (np.minimum, "reduce"): np.min,
    (np.add, "accumulate"): np.cumsum,
    (np.multiply, "accumulate"): np.cumprod,
}


# Lists of Tensors as arguments, and several outputs, become nodes of their own: `pack` makes a list of arrays from
# the arrays in it, and `item` takes one output from the list of them. Their gradients are a list with an entry for
# each array, and a dict with those of the outputs that a gradient has reached.

_ITEM = Rule("item", (lambda g, out, items, index: {index: g},))


class _Pick:
    """The VJPs of `pack`, one for each of any number of inputs: take the gradient of that input from the list."""

    def __getitem__(self, index: int) -> Vjp:
        return lambda g, out, *args: g[index]


_PACK = Rule("pack", ())
_PACK.vjps = _Pick()  # type: ignore[assignment]


def _holds_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, (list, tuple)) and any(map(_holds_tensor, value)))


def _pack(sequence: Sequence[Any]) -> tuple[Any, Node | None]:
    """The sequence with arrays for Tensors, and the node that made it if one of them requires grad."""
    values: list[Any] = []
    parents: list[Node | None] = []
    for item in sequence:
        if isinstance(item, Tensor):
            value, node = item.data, item._node
        elif _holds_tracked(item):
            inner = _stacked(item)
            value, node = inner.data, inner._node
        elif _holds_tensor(item):
            value, node = _plain(item), None
        else:
            value, node = item, None
        values.append(value)
        parents.append(node)
    packed = tuple(values) if isinstance(sequence, tuple) else values
    if not any(parents):
        return packed, None
    return packed, make_node(_PACK, tuple(values), _no_kwargs, tuple(parents), packed, recording.state.scope)


def _stacked(sequence: Any) -> Any:
    """The array, or Tensor, that a nested list of numbers, arrays and Tensors stands for."""
    if not _holds_tensor(sequence):
        return np.asarray(sequence)
    return apply(np.stack, ([_stacked(item) if isinstance(item, (list, tuple)) else item for item in sequence],))


def _wrap(out: Any, node: Node | None) -> Any:
    """The Tensor, or the Tensors, of what a call returned. Integers and booleans have no history."""
    if type(out) is not np.ndarray and not isinstance(out, (tuple, list)):
        out = np.asarray(out)
    if type(out) is np.ndarray:
        tensor: Tensor = _new(Tensor)
        tensor.data = out
        tensor._node = node if out.dtype.kind in "fc" else None
        tensor._name = None
        return tensor
    items = [np.asarray(item) for item in out]
    tensors = [
        _make_tensor(
            item,
            None
            if node is None or item.dtype.kind not in "fc"
            else make_node(_ITEM, (items, i), _no_kwargs, (node, None), item, recording.state.scope),
        )
        for i, item in enumerate(items)
    ]
    return type(out)(*tensors) if hasattr(out, "_fields") else type(out)(tensors)


def _lift(value: Any, node: Node | None) -> Any:
    """The Tensor, or the list of Tensors, that a node made."""
    if node is None:
        return value
    if node.rule is _PACK:
        return [_lift(value, parent) for value, parent in zip(node.out, node.parents, strict=True)]
    return _wrap(value, node)


def _positional(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """The same arguments with those given by keyword that hold Tensors at their positions, where rules expect them."""
    rest = dict(kwargs)
    names: list[str] = []
    if not isinstance(function, np.ufunc):  # whose arguments, all but flags, have positions only
        parameters = inspect.signature(function).parameters
        names = [name for name, parameter in parameters.items() if parameter.kind is not parameter.KEYWORD_ONLY]
    tracked = [name for name, value in kwargs.items() if _holds_tracked(value)]
    last = max((names.index(name) for name in tracked if name in names), default=-1)
    moved = [rest.pop(name, parameters[name].default) for name in names[len(args) : last + 1]]
    for name, value in rest.items():
        if name in tracked:
            raise NoDerivativeError(f"{function.__name__} has no derivative with respect to its argument {name}=")
        rest[name] = _plain(value)
    return [*args, *moved], rest


def _named(
    function: Callable[..., Any], rule: Rule, values: Sequence[Any], kwargs: Mapping[str, Any]
) -> Mapping[str, Any]:
    """The arguments that the rule does not take by position, by name, without those that have their default value.

    Raises:
        NoDerivativeError: the rule does not know one of them.
    """
    if isinstance(function, np.ufunc):
        # Of the options that all ufuncs have, dtype, casting and order need no derivative: the walk undoes casts.
        kwargs = {name: value for name, value in kwargs.items() if name not in ("dtype", "casting", "order")}
        named = {**dict(zip(["out"] * function.nout, values[rule.positional :], strict=False)), **kwargs}
    else:
        parameters = inspect.signature(function).parameters
        named = {**dict(zip(list(parameters)[rule.positional :], values[rule.positional :], strict=False)), **kwargs}
        named = {k: v for k, v in named.items() if k not in parameters or v is not parameters[k].default}
        unexpected = [name for name in kwargs if name not in parameters]
        if unexpected and not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            raise TypeError(f"{rule.name}() got an unexpected keyword argument {unexpected[0]!r}")
    unknown = [f"{name}=" for name in named if name not in rule.keywords]
    if unknown:
        raise NoDerivativeError(
            f"the derivative of {rule.name} does not know the argument {', '.join(unknown)}; "
            "leave it out, or .detach() the input"
        )
    return named


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    create_graph: bool = False,
    allow_unused: bool = False,
    retain_graph: bool | None = None,
) -> Any:
    """The gradients of outputs, summed, with respect to inputs, which may be any Tensors of the graph.

    Touches no `.grad`.

    Args:
        outputs: one Tensor or several.
        inputs: one Tensor or several.
        grad_outputs: for each output the gradient to start from; may be left out for scalars.
        create_graph: record the computation of the gradients, so that they can be differentiated in turn.
        allow_unused: give None for an input that the outputs do not depend on, instead of raising.
        retain_graph: keep the graph for another walk; by default as `create_graph`.

    Returns:
        A gradient if `inputs` is a Tensor, else a list of them: arrays, or Tensors if `create_graph`.

    Raises:
        GraphError: an output or an input does not require grad, or an input was not used.

    >>> x = Tensor(3.0, requires_grad=True)
    >>> slope = grad(x**3, x, create_graph=True)
    >>> slope.item(), grad(slope, x).item()
    (27.0, 18.0)
    """
    roots = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    wanted = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    starts = [grad_outputs] if isinstance(outputs, Tensor) or grad_outputs is None else list(grad_outputs)
    starts = starts * len(roots) if grad_outputs is None else starts
    targets = [_required(tensor, f"input {i}") for i, tensor in enumerate(wanted)]
    gradients: dict[Node, Any] = {}
    for i, (root, start) in enumerate(zip(roots, starts, strict=True)):
        start = check_gradient(start, root.data)
        if not (create_graph and isinstance(start, Tensor)):
            start = np.asarray(start, dtype=root.dtype)
        node = _required(root, f"output {i}")
        gradients[node] = gradients[node] + start if node in gradients else start
    lift = _lift if create_graph else None
    found = walk(gradients, targets, create_graph if retain_graph is None else retain_graph, lift)
    results: list[Any] = []
    for i, node in enumerate(targets):
        gradient = found.get(node)
        if gradient is None and not allow_unused:
            raise GraphError(
                f"the outputs do not depend on input {i} (shape {wanted[i].shape}); "
                "pass allow_unused=True to get None for it"
            )
        if create_graph and gradient is not None and not isinstance(gradient, Tensor):  # a constant
            gradient = Tensor(gradient)
        results.append(gradient)
    return results[0] if isinstance(inputs, Tensor) else results


def _required(tensor: Tensor, role: str) -> Node:
    if tensor._node is None:
        raise GraphError(f"{role} does not require grad; set requires_grad=True before computing with it")
    return tensor._node


class no_grad(contextlib.ContextDecorator):  # noqa: N801 (PyTorch's name)
    """Within it, and in functions decorated with it, this thread records nothing.

    >>> x = Tensor(2.0, requires_grad=True)
    >>> with no_grad():
    ...     (x * x).requires_grad
    False
    """

    def __enter__(self) -> None:
        recording.state.suspended += 1

    def __exit__(self, *error: object) -> None:
        recording.state.suspended -= 1
