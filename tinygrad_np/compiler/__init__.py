"""`compile`: a function, traced once for each signature, and from then on run as a program of NumPy calls."""

from __future__ import annotations

import contextlib
import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from tinygrad_np import autograd
from tinygrad_np.compiler.program import Program, ShapeChanged
from tinygrad_np.compiler.trace import Trace
from tinygrad_np.derivatives.table import PACK, Packed, Parts, Rule
from tinygrad_np.engine import NOTHING, Box, Node, backward, box
from tinygrad_np.errors import warn
from tinygrad_np.recording import no_grad, state, tracing
from tinygrad_np.tensor import Tensor
from tinygrad_np.tree import leaves, map_leaves, unflatten

__all__ = ["Compiled", "compile"]

F = TypeVar("F", bound=Callable[..., Any])
MANY = 16


def compile(function: F) -> Compiled:
    """The same function, run as a program of NumPy calls.

    The first call with a signature traces the function: the structure, shapes and dtypes of its arguments, what of
    them requires a gradient, and the training mode of the modules that it calls. Later calls run the program. The
    result is recorded as one operation, whose derivative is the compiled backward pass.

    >>> import numpy as np
    >>> square = compile(lambda x: np.sum(x * x))
    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> square(x).backward()
    >>> x.grad
    array([2., 4.])
    """
    return Compiled(function)


class Compiled:
    """What `compile` gives: call it as the function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.programs: dict[Any, list[Traced]] = {}
        self._lock = threading.RLock()
        self._count = 0
        functools.update_wrapper(self, function)
        self.rule_name = getattr(function, "__name__", repr(function))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        now = state.get()
        if now.trace is not None or now.watches:
            return self.function(*args, **kwargs)
        given = list(leaves([args, kwargs])) if kwargs or not all(type(arg) in FLAT for arg in args) else args
        key = signature_of(args, kwargs, given, now)
        for traced in self.programs.get(key, ()):
            inputs = traced.inputs(given)
            if inputs is not None:
                break
        else:
            with self._lock:
                traced = self._trace(key, args, kwargs, given)
            inputs = traced.inputs(given)
            assert inputs is not None
        try:
            return traced.run(inputs, now)
        except ShapeChanged:
            return self.function(*args, **kwargs)

    def _trace(self, key: Any, args: Any, kwargs: Any, given: Any) -> Traced:
        traced = Traced(self.function, args, kwargs, list(given))
        self.programs.setdefault(key, []).append(traced)
        self._count += 1
        if self._count == MANY:
            warn(f"{self.rule_name} has been compiled for {MANY} signatures")
        return traced

    def source(self, *args: Any, **kwargs: Any) -> str:
        """The program as text."""
        if args or kwargs:
            given = list(leaves([args, kwargs]))
            return Traced(self.function, args, kwargs, given).program.text
        return next(iter(self.programs.values()))[-1].program.text


FLAT = frozenset([np.ndarray, Tensor])


def signature_of(args: Any, kwargs: Any, given: Any, now: Any) -> Any:
    """What tells one program from another."""
    if given is not args:
        structure: Any = repr(map_leaves(lambda leaf: 0, [args, kwargs]))
    else:
        structure = None
    return (structure, bool(now.suspended), *map(kind_of, given))


def kind_of(leaf: Any) -> Any:
    if type(leaf) is np.ndarray:
        return leaf.shape, leaf.dtype
    if isinstance(leaf, Tensor):
        return leaf.shape, leaf.dtype, leaf.node is not None
    return type(leaf), leaf


class Traced:
    """One program and what belongs to it."""

    def __init__(self, function: Callable[..., Any], args: Any, kwargs: Any, given: list[Any]) -> None:
        self.function, self.arguments = function, (args, kwargs)
        trace = Trace()
        names = names_of_arguments(function, args, kwargs)
        boxes: list[Any] = []
        self.followed: list[int] = []
        for i, (leaf, name) in enumerate(zip(given, names, strict=True)):
            if isinstance(leaf, (np.ndarray, Tensor)):
                array = leaf.array if isinstance(leaf, Tensor) else leaf
                tensor = Tensor(array.view(), requires_grad=isinstance(leaf, Tensor) and leaf.requires_grad)
                trace.add(tensor.array, "input", name, isinstance(leaf, Tensor))
                self.followed.append(i)
                boxes.append(tensor)
            else:
                boxes.append(leaf)
        given_tensors = [boxes[i] for i in self.followed]
        self.structure = map_leaves(lambda leaf: None, [args, kwargs])
        new_args, new_kwargs = unflatten([args, kwargs], boxes)
        with tracing(trace), contextlib.ExitStack() as stack:
            stack.callback(lambda: [undo() for undo in reversed(trace.undo)])
            self.out = function(*new_args, **new_kwargs)
            results = list(leaves(self.out))
            boundary = len(trace.calls)
            roots: dict[Node, Any] = {}
            starts = []
            for result in results:
                if isinstance(result, Box) and result.node is not None:
                    start = np.ones(result.array.shape, result.array.dtype)
                    variable = trace.add(start, "gradient", "g", True)
                    starts.append(variable)
                    boxed = box(start, None)
                    roots[result.node] = roots[result.node] + boxed if result.node in roots else boxed
            sources = [*((t, t.node) for t in given_tensors), *((None, node) for _, _, node in trace.captured)]
            wanted = [node for _, node in sources if node is not None]
            found = backward(roots, wanted, create_graph=False) if roots else {}
        variables = trace.variables
        self.is_variable = [isinstance(r, Box) or (isinstance(r, np.ndarray) and id(r) in variables) for r in results]
        outs = [trace.reference(r) for r, is_variable in zip(results, self.is_variable, strict=True) if is_variable]
        self.plain = [
            id(unwrapped(r)) in trace.arrays or not variables[id(unwrapped(r))].is_tensor
            for r, is_variable in zip(results, self.is_variable, strict=True)
            if is_variable
        ]
        self.tracked = [
            isinstance(r, Box) and r.node is not None for r, v in zip(results, self.is_variable, strict=True) if v
        ]
        self.results = results if not all(self.is_variable) else None
        inputs = [trace.variables[id(t.array)] for t in given_tensors] + [v for v, _, _ in trace.captured]
        self.positions = [i for i, (_, node) in enumerate(sources) if node is not None and node in found]
        gradients = [trace.reference(found[sources[i][1]]) for i in self.positions]
        self.captured = [(read, v.shape, v.dtype, node is not None) for v, read, node in trace.captured]
        self.modules = list(trace.modules.values())
        self.program = Program(trace.calls, boundary, inputs, outs, starts, gradients)
        self.rule = Rule(getattr(function, "__name__", "compiled").strip("<>"), (self.vjp, None))
        self.out = map_leaves(lambda leaf: None, self.out)
        for variable in variables.values():
            variable.array = None

    def inputs(self, given: Any) -> tuple[list[np.ndarray], list[Any]] | None:
        """The arrays that the program takes, and their nodes; None if it was traced for something else."""
        for module, training in self.modules:
            if module.training is not training:
                return None
        arrays: list[Any] = []
        nodes: list[Any] = []
        for i in self.followed:
            leaf = given[i]
            if type(leaf) is np.ndarray:
                arrays.append(leaf)
                nodes.append(None)
            else:
                arrays.append(leaf.array)
                nodes.append(leaf.node)
        for read, shape, dtype, tracked in self.captured:
            value = read()
            array, node = (value.array, value.node) if isinstance(value, Box) else (value, None)
            if array.shape != shape or array.dtype != dtype or (node is not None) is not tracked:
                return None
            arrays.append(array)
            nodes.append(node)
        return arrays, nodes

    def run(self, inputs: tuple[list[np.ndarray], list[Any]], now: Any) -> Any:
        arrays, nodes = inputs
        outs, saved = self.program.forward(*arrays)
        if any(self.tracked):
            packed = Packed(arrays)
            kept = set(self.positions)
            pack = Node(
                PACK, packed, NOTHING, [n if i in kept else None for i, n in enumerate(nodes)], packed, now.scope
            )
            whole = [np.asarray(out) for out, tracked in zip(outs, self.tracked, strict=True) if tracked]
            made = whole[0] if len(whole) == 1 else whole
            node = Node(self.rule, [packed, saved], NOTHING, [pack, None], made, now.scope)
            boxes = box(made, node)
            tensors = iter([boxes] if len(whole) == 1 else boxes)
        values = []
        for out, tracked, plain in zip(outs, self.tracked, self.plain, strict=True):
            values.append(next(tensors) if tracked else np.asarray(out) if plain else box(out, None))
        if self.results is not None:
            given = iter(values)
            values = [next(given) if v else r for r, v in zip(self.results, self.is_variable, strict=True)]
        return values[0] if self.out is None else unflatten(self.out, values)

    def vjp(self, g: Any, out: Any, packed: Any, saved: Any) -> Any:
        parts = [g[i] if i in g else np.zeros_like(o) for i, o in enumerate(out)] if isinstance(g, Parts) else [g]
        if any(isinstance(value, Box) for value in (*parts, *packed)):
            raise NotImplementedError
        gradients = self.program.backward(*parts, saved)
        return Parts(dict(zip(self.positions, gradients, strict=True)))


def unwrapped(value: Any) -> Any:
    return value.array if isinstance(value, Box) else value


def names_of_arguments(function: Callable[..., Any], args: Any, kwargs: Any) -> list[str]:
    """A name for each leaf of the arguments."""
    try:
        bound = inspect.signature(function).bind(*args, **kwargs)
        names = list(bound.arguments)
    except (TypeError, ValueError):
        names = []
    result = []
    for i, arg in enumerate(args):
        name = names[i] if i < len(names) else f"x{i}"
        result += [name for _ in leaves(arg)]
    for name, value in kwargs.items():
        result += [name for _ in leaves(value)]
    return result


_ = autograd, no_grad
