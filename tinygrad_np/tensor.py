"""`Tensor`: NumPy's interface on an array with a history.

Every operator, method and NumPy function ends in `engine.apply`; those with more than positional arrays go by way of
`calls.call`. NumPy itself brings its functions here, through `__array_ufunc__` and `__array_function__`.
"""

from __future__ import annotations

import operator
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any, Self

import numpy as np

import tinygrad_np.derivatives  # noqa: F401 (fills the table)
from tinygrad_np import array_api
from tinygrad_np.arguments import ArrayLike, DTypeLike, require
from tinygrad_np.calls import ancestors, call, holds_tracked, plain, stacked
from tinygrad_np.creation import MAKERS
from tinygrad_np.derivatives.assignment import assign
from tinygrad_np.derivatives.table import CONSTANT, LEAF, Rule
from tinygrad_np.engine import NOTHING, Box, Node, apply, backward, box
from tinygrad_np.errors import FOREIGN, DTypeError, GraphError, NoDerivativeError, ShapeError, foreign_array
from tinygrad_np.gradients import implied
from tinygrad_np.recording import state
from tinygrad_np.spellings import TENSOR, set_spellings
from tinygrad_np.writes import owner, written

__all__ = ["Tensor", "plain_array"]

LISTS = frozenset([list, tuple])
INDICES = frozenset([int, slice, type(None), type(Ellipsis), np.ndarray])

LINE = 25
"""How many elements a line of numbers counts as, when `repr` compares with NumPy's print option `threshold`, 1000: so
it shows at most 40 lines, about a screen, and leaves out what is in the middle of more."""

ADDING = threading.Lock()


def _method(function: Callable[..., Any]) -> Callable[..., Tensor]:
    """A method that applies a NumPy function to its Tensor."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        return call(function, (self, *args), kwargs)

    method.__name__ = function.__name__
    method.__doc__ = f"See `numpy.{function.__name__}`."
    return method


def _constant(function: Callable[..., Any]) -> Callable[..., np.ndarray]:
    """The same for a function that is constant almost everywhere: its result is a plain array."""
    return _method(function)  # type: ignore[return-value]


def _operator(function: np.ufunc) -> Callable[[Tensor, Any], Tensor]:
    def method(self: Tensor, other: Any) -> Any:
        return apply(function, (self, other)) if type(other) in PLAIN else _with(function, (self, other), other)

    return method


def _reflected(function: np.ufunc) -> Callable[[Tensor, Any], Tensor]:
    def method(self: Tensor, other: Any) -> Any:
        return apply(function, (other, self)) if type(other) in PLAIN else _with(function, (other, self), other)

    return method


def _with(function: np.ufunc, operands: tuple[Any, Any], other: Any) -> Any:
    """An operator with another operand than an array or number: a foreign array type gets its turn, as with NumPy."""
    if isinstance(other, (Box, np.ndarray, np.generic, list, tuple)):
        return call(function, operands)
    if hasattr(other, "__pandas_priority__"):  # its labels have no place in a Tensor
        return call(function, [np.asarray(x) if x is other else x for x in operands])
    return NotImplemented


def _comparison(function: np.ufunc) -> Callable[[Tensor, Any], np.ndarray]:
    def method(self: Tensor, other: Any) -> Any:
        return (apply if type(other) in PLAIN else call)(function, (self, other))

    return method


def _in_place(function: np.ufunc) -> Callable[[Tensor, Any], Tensor]:
    """`x += y` writes to x's array if there is nothing to record, else it gives x a new array and history."""

    def method(self: Tensor, other: Any) -> Any:
        if not (holds_tracked((self, other)) or traced(self, other)):
            function(self.array, plain(other), out=self.array)
            written(self.array)
            return self
        self._require_assignable()
        result = call(function, (self, other))
        if not isinstance(result, Tensor):  # of a function that is constant almost everywhere
            result = box(result, None)
        if result.shape != self.shape:
            raise ShapeError(f"the result of shape {result.shape} cannot be put in the place of one of {self.shape}")
        if result.dtype != self.dtype:  # NumPy refuses what loses more than precision
            result = result.astype(self.dtype)
        self.array, self.node = result.array, result.node
        return self

    return method


def plain_array(data: Any, dtype: DTypeLike | None = None) -> np.ndarray:
    """The array that data stands for, unless its meaning would get lost: masks, operators of matrices, or objects."""
    if isinstance(data, FOREIGN):
        raise foreign_array(data)
    array = np.asarray(data, dtype=None if data is None else dtype)  # None is no NaN
    if array.dtype.kind == "O":
        raise foreign_array(array)
    return array


def guarded() -> bool:
    """Whether a transform or `compile` has values to follow."""
    now = state.get()
    return bool(now.inputs) or now.trace is not None


def traced(*values: Any) -> bool:
    """Whether `compile` follows one of these, so that what happens to it has to become part of the program."""
    trace = state.get().trace
    return trace is not None and any(map(trace.follows, values))


def _where(ufunc: np.ufunc, args: Any, out: tuple[Any, ...], where: Any, **kwargs: Any) -> Any:
    """`ufunc(*args, out=out, where=where)`: the elements where it is true are computed, the others stay those of out.

    What is computed are those elements alone, so nothing of the others gets into a gradient, which is that of `out`.
    """
    if len(out) != 1 or out[0] is None:
        raise NoDerivativeError(
            f"numpy.{ufunc.__name__} with where= leaves the other elements undefined; say what they are, as in "
            "np.divide(x, y, out=np.zeros_like(x), where=y != 0)"
        )
    (target,) = out
    where = stacked(where)
    if np.result_type(where) != np.bool_:
        raise DTypeError(f"where= is a mask of True and False, not an array of dtype {np.result_type(where)}")
    trace = state.get().trace
    if trace is not None and not isinstance(target, Tensor):
        trace.ours(trace.refuse_writing)(ufunc)
    mask = np.broadcast_to(where, target.shape)
    every = (np.broadcast_to(stacked(arg), target.shape) for arg in args)
    value = ufunc(*(call(operator.getitem, (arg, mask)) for arg in every), **kwargs)
    if not np.can_cast(value.dtype, target.dtype, kwargs.get("casting", "same_kind")):
        raise DTypeError(f"the result has dtype {value.dtype}, but out= has {target.dtype}")
    if isinstance(target, Tensor):
        target[mask] = value
        return target
    result = assign(target.copy(), mask, value)
    np.copyto(target, plain(result))
    written(target)
    return apply(_also_written, (result, weakref.ref(owner(target))), NOTHING, ALSO_WRITTEN)


def _also_written_vjp(g: Any, out: Any, value: Any, array: Any) -> Any:
    if array() is not None:
        raise GraphError(
            "an array that was given as out= is still there, but has no history; let nothing refer to it, as in "
            "r = np.divide(x, y, out=np.zeros_like(x), where=y != 0), or give a Tensor"
        )
    return g


ALSO_WRITTEN = Rule("also written", (_also_written_vjp, None))


def _also_written(value: Any, array: Any) -> Any:
    """A value that was also written to an array, which is gone by the time of the backward pass."""
    return value


def _one_tuple(args: tuple[Any, ...]) -> Any:
    """NumPy's methods take a shape or axes as one tuple or as separate integers."""
    return args[0] if len(args) == 1 else args


_REDUCE_ARGUMENTS = ("axis", "dtype", "out", "keepdims", "initial", "where")

_METHODS: Mapping[tuple[np.ufunc, str], Callable[..., Any]] = {
    (np.add, "reduce"): np.sum,
    (np.multiply, "reduce"): np.prod,
    (np.maximum, "reduce"): np.max,
    (np.minimum, "reduce"): np.min,
    (np.add, "accumulate"): np.cumsum,
    (np.multiply, "accumulate"): np.cumprod,
}


class Tensor(Box):
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

    __slots__ = ("__weakref__", "_leaf", "_name")
    __pandas_priority__ = 5000  # above a DataFrame's: pandas leaves operators with a Tensor to the Tensor

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
            data = data.array
        self.array = plain_array(data, dtype)
        self.node = None
        self.name = name
        if requires_grad:
            self.requires_grad = True

    # What it is

    @property
    def data(self) -> np.ndarray:
        """The array. What is computed from it is not recorded. It can be replaced."""
        if guarded():
            self._stay(".data")
        return self.array

    @data.setter
    def data(self, value: ArrayLike) -> None:
        array = plain_array(value.data if isinstance(value, Tensor) else plain(value))
        if array is self.array:  # t.data -= 1 ends here
            written(array)
        self.array = array
        if self.node is not None and self.node.rule is LEAF:
            self.node.out = array

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow through this Tensor. Can be set on leaves."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if self.node is not None and self.node.rule is not LEAF:
            if not value:
                raise GraphError("requires_grad can be switched off only on leaves; .detach() a computed Tensor")
            return
        if value and self.dtype.kind not in "fc":
            raise DTypeError(
                f"only floating-point arrays can require gradients, but this one has dtype {self.dtype}; "
                "pass dtype=numpy.float32 or convert the data first"
            )
        if not value and self.node is not None:
            self._leaf, self.node = self.node, None  # what was computed from the leaf still leads to it
        elif value and self.node is None:
            name, scope = self.name, state.get().scope
            scope = scope if scope is None or scope.kind is not None else None  # of a module call, or none
            self.node = getattr(self, "_leaf", None) or Node(LEAF, (), NOTHING, (), self.array, scope)
            self.node.name = name

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set `requires_grad`, and return this Tensor."""
        self.requires_grad = requires_grad
        return self

    @property
    def name(self) -> str | None:
        """What messages and drawings call this Tensor."""
        return getattr(self, "_name", None) if self.node is None else self.node.name

    @name.setter
    def name(self, value: str | None) -> None:
        self._name = value
        if self.node is not None:
            self.node.name = value

    @property
    def is_leaf(self) -> bool:
        """True unless a recorded call made this Tensor."""
        return self.node is None or self.node.rule is LEAF

    @property
    def grad(self) -> np.ndarray | None:
        """The gradient that `backward` has accumulated, of this shape and dtype; None before.

        Raises:
            GraphError: read from a computed Tensor, which has none unless `retain_grad` was called before.
        """
        node = self.node or getattr(self, "_leaf", None)
        if node is not None and node.rule is not LEAF and not node.retains_grad:
            raise GraphError(
                f"this Tensor was computed, by {node.rule.name}, so backward() leaves no gradient in its .grad; "
                "call its retain_grad() before backward() if you want to see it. If it is a parameter after an "
                "update such as w = w - lr * w.grad, update the parameter in place: within no_grad(), w -= lr * w.grad"
            )
        return None if node is None else node.grad

    @grad.setter
    def grad(self, value: ArrayLike | None) -> None:
        """Set it to None, to an array of this shape, or to one number for all elements.

        Raises:
            GraphError: this Tensor does not require grad.
            ShapeError: the value has another shape.
            DTypeError: it has no dtype that this Tensor's could hold.
        """
        node = self.node or getattr(self, "_leaf", None)
        if value is not None:
            if node is None:
                raise GraphError("a Tensor that does not require grad holds no gradient; set requires_grad=True first")
            value = np.asarray(value)
            if value.shape not in ((), self.shape):
                raise ShapeError(f"a gradient of shape {value.shape} is set for a Tensor of shape {self.shape}")
            if not np.can_cast(value.dtype, self.dtype, "same_kind"):
                raise DTypeError(f"a gradient of dtype {value.dtype} is set for a Tensor of dtype {self.dtype}")
            value = np.asarray(value if value.shape == self.shape else np.full(self.shape, value), self.dtype)
        if node is not None:
            node.grad = value

    def retain_grad(self) -> None:
        """Have backward() leave the gradient of this Tensor, although it was computed, in its `.grad`.

        Raises:
            GraphError: this Tensor does not require grad.
        """
        if self.node is None:
            raise GraphError("this Tensor does not require grad, so there is no gradient to retain")
        if self.node.args is None:
            raise GraphError("backward() has been called already; call retain_grad() before it")
        self.node.retains_grad = True

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the elements."""
        return self.array.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.array.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.array.size

    def numel(self) -> int:
        """The number of elements: PyTorch's name for `size`."""
        return self.array.size

    @property
    def flags(self) -> Any:
        """The memory layout of the array, as `numpy.ndarray.flags`."""
        return self.array.flags

    @property
    def device(self) -> str:
        """Where the array is: always "cpu"."""
        return "cpu"

    def to_device(self, device: str, /, *, stream: None = None) -> Self:
        """This Tensor itself, for a library that follows the Array API standard.

        Raises:
            ArgumentError: the device is not "cpu", or there is a stream.
        """
        require(device == "cpu", "device", device, '"cpu", where NumPy computes')
        require(stream is None, "stream", stream, "None")
        return self

    # Out of the graph

    def item(self) -> Any:
        """The only element, as a Python number."""
        if guarded():
            self._stay("item()")
        return self.array.item()

    def numpy(self) -> np.ndarray:
        """The array itself, without its history; the memory is shared."""
        if guarded():
            self._stay("numpy()")
        return self.array

    def detach(self) -> Tensor:
        """A Tensor on the same memory that does not require a gradient."""
        return box(self.array, None)

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
        if self.node is None:
            raise GraphError("this Tensor does not require grad: nothing it was computed from has requires_grad=True")
        if state.get().trace is None:
            self._stay("a gradient from backward(), which is not recorded,")
        start = np.asarray(implied(gradient, self.array), dtype=self.dtype)
        shortcut = self.node.rule.shortcut
        found = None if shortcut is None or retain_graph else shortcut(self.node, start)
        if found is None:
            found = backward({self.node: start}, None, retain_graph)
        with ADDING:  # threads may add to the same parameters
            for leaf, more in found.items():
                leaf.grad = more if leaf.grad is None else np.asarray(leaf.grad + more)

    def _stay(self, taken: str) -> None:
        """Refuse to hand out a value that a transform or `compile` has to follow."""
        now = state.get()
        if now.trace is not None:
            now.trace.refuse(self, taken)
        if now.inputs and self.node is not None and not now.inputs.isdisjoint(ancestors([self.node])):
            raise NoDerivativeError(
                f"{taken} of a value that depends on the argument of a function being differentiated would lose the "
                "derivative; compute with the Tensor itself, or .detach() it first to treat it as a constant"
            )

    # NumPy's protocols

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *args: Any, **kwargs: Any) -> Any:
        if method == "__call__" and not kwargs:
            for arg in args:
                if type(arg) in LISTS:
                    return call(ufunc, args)
            return apply(ufunc, args)
        if method == "__call__" and kwargs.get("where", True) is True:
            kwargs.pop("where", None)
        out = kwargs.pop("out", (None,))
        if method == "__call__" and "where" in kwargs and (holds_tracked((*args, *out)) or traced(*args, *out)):
            return _where(ufunc, args, out, **kwargs)
        if any(array is not None for array in out):
            recorded = holds_tracked((*args, *out)) or traced(*args, *out)
            if recorded and len(out) == 1 and isinstance(out[0], Tensor):
                out[0][...] = getattr(ufunc, method)(*args, **kwargs)
                return out[0]
            if traced(*args, *out):
                state.get().trace.refuse_writing(ufunc)
            if recorded:
                raise NoDerivativeError(
                    f"numpy.{ufunc.__name__} cannot write the result of a Tensor that requires grad into an array with "
                    "out=; use the Tensor that it returns, or .detach() the inputs"
                )
            if (trace := state.get().trace) is not None:
                trace.refuse_writing(ufunc)
            options = {name: plain(value) for name, value in kwargs.items()}
            results = getattr(ufunc, method)(*map(plain, args), out=plain(out), **options)
            for array in out:
                if isinstance(array, Tensor):
                    written(array.array)
            every = zip(out, results if len(out) > 1 else [results], strict=True)
            results = [box(result, None) if array is None else array for array, result in every]
            return tuple(results) if len(out) > 1 else results[0]
        if method == "__call__":
            return call(ufunc, args, kwargs)
        if method == "outer":
            x, y = args
            return call(ufunc, (np.reshape(x, np.shape(x) + (1,) * np.ndim(y)), y), kwargs)
        function = _METHODS.get((ufunc, method))
        if function is not None:
            given = {"axis": 0, **dict(zip(_REDUCE_ARGUMENTS, args[1:], strict=False)), **kwargs}
            kwargs = {name: value for name, value in given.items() if value is not None or name == "axis"}
            if "dtype" not in kwargs or function not in (np.max, np.min):
                return call(function, args[:1], kwargs)
        if holds_tracked(args):
            raise NoDerivativeError(
                f"numpy.{ufunc.__name__}.{method} has no rule in the derivative table, at least not with these "
                "arguments; use another function, or .detach() the input"
            )
        if (trace := state.get().trace) is not None:
            if method == "at":
                trace.refuse_writing(ufunc.at)
            return trace.apply(getattr(ufunc, method), args, kwargs, CONSTANT)
        result = getattr(ufunc, method)(*map(plain, args), **kwargs)
        if method == "at" and isinstance(args[0], Tensor):
            written(args[0].array)
        return result

    def __array_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        if function in MAKERS:  # NumPy brings them here for `like=` alone
            made = MAKERS[function](*args, **kwargs)
            return made if isinstance(made, Tensor) else Tensor(made)
        return call(function, args, kwargs)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        if state.get().trace is not None:
            self._stay("numpy.asarray()")
        if self.node is not None:
            raise NoDerivativeError(
                "turning a Tensor that requires grad into an array would lose its history; write x.detach().numpy() "
                "for the array, to plot it, say, loss.item() for the number, or np.array([x, y], like=x) to make one "
                "of Tensors (like= works for np.full(shape, x, like=x) and others too)"
            )
        return np.array(self.array, dtype=dtype, copy=copy)

    def __array_namespace__(self, *, api_version: Any = None) -> ModuleType:
        """The functions of the Array API standard, for Tensors: `tinygrad_np.array_api`."""
        np.empty(0).__array_namespace__(api_version=api_version)  # NumPy refuses versions that it does not have
        return array_api

    def __dlpack__(
        self, *, stream: Any = None, max_version: Any = None, dl_device: Any = None, copy: Any = None
    ) -> Any:
        given = {"stream": stream, "max_version": max_version, "dl_device": dl_device, "copy": copy}
        return np.asarray(self).__dlpack__(**{name: value for name, value in given.items() if value is not None})

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()

    def __float__(self) -> float:
        if guarded():
            self._stay("float()")
        if self.node is not None:
            raise NoDerivativeError(
                "float() of a Tensor that requires grad would lose its history; write loss.item() for the number, as "
                "in '%.3f' % loss.item(), or np.sin(x) instead of math.sin(x)"
            )
        return float(self.array)

    def __complex__(self) -> complex:
        if guarded():
            self._stay("complex()")
        if self.node is not None:
            raise NoDerivativeError("complex() of a Tensor that requires grad would lose its history; write x.item()")
        return complex(self.array)

    def __int__(self) -> int:
        if state.get().trace is not None:
            self._stay("int()")
        return int(self.array)

    def __index__(self) -> int:
        if state.get().trace is not None:
            self._stay("its use as an index of a list, or in range(),")
        return operator.index(self.array)

    def __bool__(self) -> bool:
        if state.get().trace is not None:
            self._stay("bool(), as in `if` or `while`,")
        return bool(self.array)

    def __len__(self) -> int:
        return len(self.array)

    def __iter__(self) -> Iterator[Tensor]:
        if self.ndim == 0:
            raise TypeError("a Tensor without axes cannot be iterated over")
        return (self[i] for i in range(len(self.array)))

    def __contains__(self, value: Any) -> bool:
        if state.get().trace is not None:
            self._stay("`in`")
        return value in self.array

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        if state.get().trace is not None:
            self._stay("printing")
        kind = type(self).__name__
        lines = self.size // self.shape[-1] if self.size and self.ndim else 0
        long = max(self.size, lines * LINE) > np.get_printoptions()["threshold"]
        edge = 1 if long and self.ndim > 2 else None  # three at both ends of many axes are still too many
        text = np.array2string(
            self.array, separator=", ", prefix=f"{kind}(", threshold=0 if long else None, edgeitems=edge
        )
        dtype = "" if self.dtype in (np.float64, np.int64, np.bool_) else f", dtype={self.dtype}"
        shape = f", shape={self.shape}" if self.shape != (0,) and (self.size == 0 or long) else ""
        name = "" if self.name is None else f", name={self.name!r}"
        return f"{kind}({text}{shape}{dtype}{', requires_grad=True' if self.requires_grad else ''}{name})"

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if name not in TENSOR]

    def __format__(self, spec: str) -> str:
        if not spec:
            return str(self)
        if guarded():
            self._stay("formatting")
        return format(self.array.item() if self.size == 1 else self.array, spec)

    def __reduce__(self) -> tuple[Any, ...]:
        if guarded():
            self._stay("a copy")
        if not self.is_leaf:
            raise GraphError(
                "a Tensor cannot be copied together with its history; write x.detach() for a Tensor without it, or "
                "x.detach().numpy() for the array, to plot it, say"
            )
        return _rebuild, (type(self), self.array, self.requires_grad, self.name, self.grad)

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
    __lt__, __le__ = _comparison(np.less), _comparison(np.less_equal)
    __gt__, __ge__ = _comparison(np.greater), _comparison(np.greater_equal)
    __eq__, __ne__ = _comparison(np.equal), _comparison(np.not_equal)  # type: ignore[assignment]
    __neg__, __pos__, __abs__ = _method(np.negative), _method(np.positive), _method(np.absolute)
    __invert__ = _method(np.invert)
    __round__ = _method(np.round)

    def __divmod__(self, other: Any) -> tuple[Tensor, Tensor]:
        return call(np.divmod, (self, other))

    def __rdivmod__(self, other: Any) -> tuple[Tensor, Tensor]:
        return call(np.divmod, (other, self))

    def __getitem__(self, index: Any) -> Tensor:
        simple = type(index) in INDICES or (type(index) is tuple and INDICES.issuperset(map(type, index)))
        return (apply if simple else call)(operator.getitem, (self, index))

    __iadd__, __isub__ = _in_place(np.add), _in_place(np.subtract)
    __imul__, __itruediv__ = _in_place(np.multiply), _in_place(np.divide)
    __ipow__, __imatmul__ = _in_place(np.power), _in_place(np.matmul)
    __ifloordiv__, __imod__ = _in_place(np.floor_divide), _in_place(np.remainder)
    __iand__, __ior__, __ixor__ = _in_place(np.bitwise_and), _in_place(np.bitwise_or), _in_place(np.bitwise_xor)
    __ilshift__, __irshift__ = _in_place(np.left_shift), _in_place(np.right_shift)

    def __setitem__(self, index: Any, value: Any) -> None:
        """Assign to elements; recorded if this Tensor or the value requires a gradient.

        Then this Tensor gets a new array, so that no gradient is made wrong by it: what was computed from this Tensor
        before, and views of it that were taken before, keep the old elements.

        Raises:
            GraphError: to be recorded, but this Tensor is a leaf that requires a gradient, or a view of another array,
                which NumPy would write to.
            DTypeError: to be recorded, but this Tensor holds integers.
        """
        if not (holds_tracked((self, value)) or traced(self, index, value)):
            self.array[plain(index)] = plain(value)
            written(self.array)
            return
        self._require_assignable()
        result = assign(self, index, stacked(value))
        self.array, self.node = result.array, result.node

    def _require_assignable(self) -> None:
        if (trace := state.get().trace) is not None:
            trace.require_result(self)
        if self.requires_grad and self.is_leaf:
            raise GraphError(
                "assigning to a leaf that requires grad would lose the leaf; write x = x + y instead of x += y, or "
                "assign to a copy, x = x.copy(); to update a parameter, assign within no_grad(), or use an optimizer"
            )
        if self.array.base is not None and not self._has_own_memory():
            raise GraphError(
                "this Tensor is a view of another array, which a recorded assignment would not change; "
                "assign to the other Tensor itself, with one index, as in x[0] = x[0] + 1 instead of x[0] += 1, or to "
                "a copy, x = x.copy()"
            )
        if self.dtype.kind not in "fc":
            raise DTypeError(f"a value with a gradient cannot be assigned to elements of dtype {self.dtype}")

    def _has_own_memory(self) -> bool:
        """Whether nothing but the graph refers to the array that this one is a view of: of np.reshape(x * y, ...).

        Then nobody can see that an assignment to this Tensor leaves that array as it is.
        """
        base, node = self.array.base, self.node
        if not isinstance(base, np.ndarray) or node is None or not node.args:
            return False
        makers = {parent for parent in node.parents if parent is not None and parent.rule is not LEAF}
        known = sum(arg is base for arg in node.args) + sum(maker.out is base for maker in makers)
        nobodys = np.empty(0)
        return sys.getrefcount(base) - sys.getrefcount(nobodys) == known + 1  # and the view itself

    # Methods

    def astype(
        self, dtype: DTypeLike, order: str = "K", casting: Any = "unsafe", subok: bool = True, copy: bool = True
    ) -> Tensor:
        """See `numpy.ndarray.astype`; the memory has the layout that NumPy chooses."""
        if not np.can_cast(self.dtype, dtype, casting):
            raise DTypeError(
                f"an array of dtype {self.dtype} cannot be cast to {np.dtype(dtype)} by the rule {casting!r}"
            )
        return call(np.astype, (self, dtype), {} if copy else {"copy": False})

    sum, mean, prod = _method(np.sum), _method(np.mean), _method(np.prod)
    max, min = _method(np.max), _method(np.min)
    var, std = _method(np.var), _method(np.std)
    round = _method(np.round)
    squeeze, ravel, swapaxes = _method(np.squeeze), _method(np.ravel), _method(np.swapaxes)
    cumsum, cumprod, ptp = _method(np.cumsum), _method(np.cumprod), _method(np.ptp)
    dot, trace, diagonal = _method(np.dot), _method(np.trace), _method(np.diagonal)
    repeat, take, compress = _method(np.repeat), _method(np.take), _method(np.compress)
    copy, conj = _method(np.copy), _method(np.conjugate)
    conjugate = conj
    argmax, argmin, argsort = _constant(np.argmax), _constant(np.argmin), _constant(np.argsort)
    all, any, searchsorted = _constant(np.all), _constant(np.any), _constant(np.searchsorted)

    def nonzero(self) -> tuple[np.ndarray, ...]:
        """See `numpy.nonzero`."""
        return call(np.nonzero, (self,))

    def sort(self, axis: int = -1) -> None:
        """Sort in place, as ndarray's method does, recorded as an assignment; `numpy.sort` gives a sorted copy."""
        self[...] = call(np.sort, (self,), {"axis": axis})

    def clip(self, min: Any = None, max: Any = None, **kwargs: Any) -> Tensor:
        """See `numpy.clip`."""
        return call(np.clip, (self, min, max), kwargs)

    def reshape(self, *shape: Any, **kwargs: Any) -> Tensor:
        """See `numpy.reshape`; the shape may be one tuple or separate integers."""
        return call(np.reshape, (self, _one_tuple(shape)), kwargs)

    def transpose(self, *axes: Any) -> Tensor:
        """See `numpy.transpose`; the axes may be one tuple or separate integers."""
        return call(np.transpose, (self, _one_tuple(axes)) if axes else (self,))

    def flatten(self, order: str = "C") -> Tensor:
        """A copy with all elements in one axis, as `numpy.ndarray.flatten` gives it; see also `ravel`."""
        return self.ravel(order).copy()

    @property
    def T(self) -> Tensor:  # noqa: N802 (NumPy's name)
        """The axes in reverse order."""
        return apply(np.transpose, (self,))

    @property
    def mT(self) -> Tensor:  # noqa: N802 (NumPy's name)
        """The last two axes exchanged: each matrix of a stack transposed."""
        return apply(np.matrix_transpose, (self,))

    @property
    def real(self) -> Tensor:
        """The real part."""
        return apply(np.real, (self,))

    @property
    def imag(self) -> Tensor:
        """The imaginary part; zero of a real Tensor."""
        return apply(np.imag, (self,))


Box.kind = Tensor
set_spellings(Tensor, TENSOR)

PLAIN = frozenset([Tensor, np.ndarray, float, int, bool, complex, np.float64, np.float32])


def _rebuild(
    kind: type[Tensor], data: np.ndarray, requires_grad: bool, name: str | None, gradient: np.ndarray | None
) -> Tensor:
    tensor = kind(data, requires_grad or gradient is not None, dtype=data.dtype, name=name)
    if gradient is not None:  # also of a Tensor that does not learn any more
        tensor.grad = gradient
    tensor.requires_grad = requires_grad
    return tensor
