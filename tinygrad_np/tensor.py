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
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

import tinygrad_np.derivatives  # noqa: F401 (fills the table)
from tinygrad_np.derivatives.table import CONSTANT, RULES, Rule, Vjp
from tinygrad_np.errors import DTypeError, GraphError, NoDerivativeError, ShapeError
from tinygrad_np.graph import LEAF, Node, check_gradient, recording, walk

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

    >>> x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> y = (x * x).sum()
    >>> y.backward()
    >>> x.grad
    array([2., 4., 6.])
    """

    __slots__ = ("__weakref__", "_node", "data", "name")

    data: np.ndarray
    name: str | None
    _node: Node | None

    def __init__(
        self,
        data: ArrayLike | Tensor,
        requires_grad: bool = False,
        dtype: DTypeLike | None = None,
        name: str | None = None,
    ) -> None:
        self.data = np.asarray(data.data if isinstance(data, Tensor) else data, dtype=dtype)
        self.name = name
        self._node = None
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
            self._node = make_node(LEAF, (), _no_kwargs, (), self.data)

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
            leaf.grad = found if leaf.grad is None else leaf.grad + found

    # NumPy's protocols

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("out") is not None:
            raise NoDerivativeError(
                f"numpy.{ufunc.__name__} cannot write a Tensor's result into out=; use the returned Tensor, "
                "or .detach() the inputs"
            )
        if method == "__call__":
            return apply(ufunc, args, kwargs)
        function = _REDUCTIONS.get((ufunc, method))
        if function is None:
            return apply(getattr(ufunc, method), args, kwargs)
        return apply(function, args, kwargs if "axis" in kwargs or len(args) > 1 else {"axis": 0, **kwargs})

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
        name = "" if self.name is None else f", name={self.name!r}"
        return f"Tensor({text}{kind}{', requires_grad=True' if self.requires_grad else ''}{name})"

    def __format__(self, spec: str) -> str:
        return format(self.data.item(), spec) if spec and self.size == 1 else str(self)

    # Operators and methods: one line a function

    __add__, __radd__ = _operator(np.add), _reflected(np.add)
    __sub__, __rsub__ = _operator(np.subtract), _reflected(np.subtract)
    __mul__, __rmul__ = _operator(np.multiply), _reflected(np.multiply)
    __truediv__, __rtruediv__ = _operator(np.divide), _reflected(np.divide)
    __floordiv__, __rfloordiv__ = _operator(np.floor_divide), _reflected(np.floor_divide)
    __mod__, __rmod__ = _operator(np.remainder), _reflected(np.remainder)
    __pow__, __rpow__ = _operator(np.power), _reflected(np.power)
    __matmul__, __rmatmul__ = _operator(np.matmul), _reflected(np.matmul)
    __lt__, __le__ = _operator(np.less), _operator(np.less_equal)
    __gt__, __ge__ = _operator(np.greater), _operator(np.greater_equal)
    __eq__, __ne__ = _operator(np.equal), _operator(np.not_equal)
    __neg__, __pos__, __abs__ = _method(np.negative), _method(np.positive), _method(np.absolute)
    __getitem__ = _operator(operator.getitem)

    sum, mean, prod = _method(np.sum), _method(np.mean), _method(np.prod)
    max, min = _method(np.max), _method(np.min)
    var, std = _method(np.var), _method(np.std)
    argmax, argmin, all, any = _method(np.argmax), _method(np.argmin), _method(np.all), _method(np.any)
    clip, round, astype = _method(np.clip), _method(np.round), _method(np.astype)
    squeeze, ravel, swapaxes = _method(np.squeeze), _method(np.ravel), _method(np.swapaxes)
    dot = _method(np.dot)

    def reshape(self, *shape: Any, **kwargs: Any) -> Any:
        """See `numpy.reshape`; the shape may be one tuple or separate integers."""
        return apply(np.reshape, (self, _shape_argument(shape)), kwargs)

    def transpose(self, *axes: Any) -> Any:
        """See `numpy.transpose`; the axes may be one tuple or separate integers."""
        return apply(np.transpose, (self, _shape_argument(axes)) if axes else (self,), _no_kwargs)

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
        elif isinstance(arg, (list, tuple)) and _holds_tensor(arg):
            arg, node = _pack(arg)
        values.append(arg)
        parents.append(node)
        if node is not None:
            tracked = True
    rule = RULES.get(function)
    recorded = None
    if tracked and recording.enabled and rule is not CONSTANT:
        recorded = rule
        if rule is None or (kwargs and not rule.keywords.issuperset(kwargs)) or any(parents[len(rule.vjps) :]):
            raise _no_derivative(function, rule, parents, kwargs)
    try:
        out = function(*values, **kwargs)
    except ValueError as error:
        raise _explained(error, function, values) from error
    if recorded is not None:
        return _wrap(out, make_node(recorded, tuple(values), kwargs, tuple(parents), out))
    return out if rule is None or rule is CONSTANT else _wrap(out, None)


def _explained(error: ValueError, function: Callable[..., Any], values: Sequence[Any]) -> ValueError:
    """NumPy's error with the function and the shapes, which it does not always name."""
    if type(error) is not ValueError:  # one that says more already, such as LinAlgError
        return error
    shapes = ", ".join(str(value.shape) for value in values if isinstance(value, np.ndarray))
    return ShapeError(f"{function.__name__} of arrays of shapes {shapes}: {error}")


def make_node(
    rule: Rule, args: tuple[Any, ...], kwargs: Mapping[str, Any], parents: tuple[Node | None, ...], out: Any
) -> Node:
    node: Node = _new(Node)
    node.rule = rule
    node.args = args
    node.kwargs = kwargs
    node.parents = parents
    node.out = out
    node.number = _next_number()
    node.grad = None
    return node


def _make_tensor(data: np.ndarray, node: Node | None) -> Tensor:
    tensor: Tensor = _new(Tensor)
    tensor.data = data
    tensor._node = node
    tensor.name = None
    return tensor


_REDUCTIONS: Mapping[tuple[np.ufunc, str], Callable[..., Any]] = {
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
        elif _holds_tensor(item):
            value, node = _pack(item)
        else:
            value, node = item, None
        values.append(value)
        parents.append(node)
    packed = tuple(values) if isinstance(sequence, tuple) else values
    if not any(parents):
        return packed, None
    return packed, make_node(_PACK, tuple(values), _no_kwargs, tuple(parents), packed)


def _wrap(out: Any, node: Node | None) -> Any:
    """The Tensor, or the Tensors, of what a call returned."""
    if type(out) is np.ndarray:
        return _make_tensor(out, node)
    if not isinstance(out, (tuple, list)):
        return _make_tensor(np.asarray(out), node)
    items = [np.asarray(item) for item in out]
    nodes = [node and make_node(_ITEM, (items, i), _no_kwargs, (node, None), item) for i, item in enumerate(items)]
    tensors = map(_make_tensor, items, nodes)
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
    parameters = inspect.signature(function).parameters
    names = [name for name, parameter in parameters.items() if parameter.kind is not parameter.KEYWORD_ONLY]
    tensors = [names.index(name) for name, value in kwargs.items() if name in names and _holds_tensor(value)]
    last = max(tensors, default=-1)
    moved = [rest.pop(name, parameters[name].default) for name in names[len(args) : last + 1]]
    for name, value in rest.items():
        if isinstance(value, Tensor):
            if value.requires_grad:
                raise NoDerivativeError(f"{function.__name__} has no derivative with respect to its argument {name}=")
            rest[name] = value.data
    return [*args, *moved], rest


def _no_derivative(
    function: Callable[..., Any], rule: Rule | None, parents: Sequence[Any], kwargs: Mapping[str, Any]
) -> NoDerivativeError:
    name = function.__name__
    if rule is None:
        return NoDerivativeError(
            f"{name} has no rule in the derivative table, so it cannot be applied to a Tensor that requires grad; "
            f"add one with tinygrad_np.derivative({name}, vjp), or .detach() the input"
        )
    unknown = [f"{key}=" for key in kwargs if key not in rule.keywords]
    if unknown:
        return NoDerivativeError(
            f"the derivative of {name} does not know the argument {', '.join(unknown)}; "
            "leave it out, or .detach() the input"
        )
    position = next(i for i, parent in enumerate(parents) if parent is not None and i >= len(rule.vjps))
    return NoDerivativeError(f"{name} has no derivative with respect to its argument number {position + 1}")


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
    starts = [grad_outputs] if isinstance(outputs, Tensor) else grad_outputs or [None] * len(roots)
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
        if create_graph and isinstance(gradient, np.ndarray):  # a constant
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
        self.outer = recording.enabled
        recording.enabled = False

    def __exit__(self, *error: object) -> None:
        recording.enabled = self.outer
