"""`compile`: a function, traced once for each signature, and from then on run as a program of NumPy calls.

The steps are in the order of the files: `trace` writes down the calls, `plan` says where their results go, `program`
is the text, and here it is run.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import threading
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_np import autograd
from tinygrad_np.compiler.guards import Surroundings
from tinygrad_np.compiler.program import Program, ShapeChanged
from tinygrad_np.compiler.trace import Trace, UntraceableError
from tinygrad_np.derivatives.table import ITEM, LEAF, PACK, Packed, Parts, Rule
from tinygrad_np.engine import NOTHING, Box, Node, backward, box
from tinygrad_np.errors import ArgumentError, ArgumentTypeError, warn
from tinygrad_np.gradients import outline
from tinygrad_np.recording import isolated, state, tracing
from tinygrad_np.tensor import Tensor
from tinygrad_np.tree import leaves, map_leaves, unflatten
from tinygrad_np.writes import watches_of

__all__ = ["Compiled", "compile", "uncompiled"]

MANY = 16  # programs of one function: then a warning says what varies


def compile(function: Callable[..., Any]) -> Compiled:
    """The same function, run as a program of NumPy calls.

    The first call with a signature traces the function: the structure, shapes, dtypes and memory layouts of its
    arguments, what of them requires a gradient, and the training mode of the modules that it calls. Later calls run
    the program. Numbers, strings and other arguments that are not arrays belong to the signature by value. Parameters,
    other Tensors and buffers that the function finds elsewhere are read anew at each call. When its variables or its
    modules' attributes have changed, it is traced again. But what NumPy alone computes, of arrays that are neither
    arguments nor Tensors, stays what it was at the first call. The result is recorded as one operation, whose
    derivative is the compiled backward pass.

    Its method `source(*args)` gives the program as Python text that runs by itself, with nothing but NumPy; with
    `planned=True`, as it is run, with the memory that it uses.

    Raises:
        TraceError: when called, if the function does what a program cannot repeat, such as asking for an array's value.

    >>> square = compile(lambda x: np.sum(x * x))
    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> square(x).backward()
    >>> x.grad
    array([2., 4.])
    """
    return Compiled(function)


class Compiled:
    """What `compile` gives: it is called as the function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._name = getattr(function, "__name__", type(function).__name__).replace("<lambda>", "compiled")
        self._programs: dict[Any, list[Traced]] = {}
        self._untraceable: set[Any] = set()  # signatures with which the function itself has to run
        self._lock = threading.RLock()
        self._latest: Traced | None = None
        self._said = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        now = state.get()
        if now.trace is not None:  # part of another program
            return self._function(*args, **kwargs)
        if now.watches and not profiled():
            if not self._said:
                warn(f"{self._name} runs without being compiled here, so that each of its calls can be seen")
            self._said = True
            return self._function(*args, **kwargs)
        given: Any = args
        structure = None
        if kwargs or not ARRAYS.issuperset(map(type, args)):
            given = [np.asarray(leaf) if isinstance(leaf, np.generic) else leaf for leaf in leaves([args, kwargs])]
            structure = repr(map_leaves(lambda leaf: ..., [args, kwargs]))
        key = (structure, bool(now.suspended), *map(kind, given))
        for traced in self._programs.get(key, ()):
            inputs = traced.inputs(given)
            if inputs is not None:
                break
        else:
            if key in self._untraceable:
                return self._function(*args, **kwargs)
            try:
                traced = self._trace(key, args, kwargs, given)
            except UntraceableError:
                self._untraceable.add(key)
                return self._function(*args, **kwargs)
            inputs = traced.inputs(given)
        try:
            return traced.run(inputs, now)
        except ShapeChanged:  # of a value, which the program cannot follow
            return self._function(*args, **kwargs)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __deepcopy__(self, memo: Any) -> Compiled:
        return Compiled(copy.deepcopy(self._function, memo))

    def source(self, *args: Any, planned: bool = False, **kwargs: Any) -> str:
        """The program as Python text that runs by itself, with nothing but NumPy.

        Args:
            args, kwargs: as for a call; without any, the text is that of the program that was made last.
            planned: show the memory that the program uses, as it is run, instead of plain expressions.

        Raises:
            ArgumentError: no arguments, and there is no program yet.
        """
        traced = self._latest
        if args or kwargs:
            traced = Traced(self._function, self._name, args, kwargs, list(leaves([args, kwargs])))
        if traced is None:
            raise ArgumentError(f"{self._name} has not been called yet, so there is no program; pass it arguments")
        return traced.program.source(planned)

    def _trace(self, key: Any, args: Any, kwargs: Any, given: Any) -> Traced:
        with self._lock:
            self._latest = traced = Traced(self._function, self._name, args, kwargs, list(given))
            self._programs.setdefault(key, []).append(traced)
            count = sum(map(len, self._programs.values()))
        if count == MANY:
            varying = {str(kinds) for kinds in zip(*self._programs, strict=False) if len(set(kinds)) > 1}
            warn(
                f"{self._name} was compiled {MANY} times, for arguments that differ in {'; '.join(varying)[:300]}; "
                "pass what varies as an array, and arrays of the same shape"
            )
        return traced


def profiled() -> bool:
    """Whether all that watch the calls can be told of those of a program; to others, the function itself is shown."""
    watches = state.get().watches
    return bool(watches) and all(hasattr(watch, "ran") for watch in watches)


def uncompiled(result: Tensor) -> Tensor:
    """A result of a compiled function, computed anew by the function itself, so that each of its calls is recorded.

    It is `result` itself if it was not made by a compiled function or can no longer be computed: after `backward()`, if
    the function has effects such as drawing random numbers, or if what it reads has changed.
    """
    node, i = result.node, 0
    if node is not None and node.rule is ITEM:
        node, i = node.parents[0], node.kwargs["i"]
    traced = getattr(next(iter(node.rule.vjps), None), "__self__", None) if node is not None else None
    if node is None or node.args is None or not isinstance(traced, Traced) or traced.program.has_effects():
        return result
    pairs = zip(node.args[0], node.parents[0].parents, strict=True)
    arguments = [box(array, parent) for array, parent in pairs][: len(traced.arrays)]
    with isolated():
        results = [r for r in leaves(traced.call(arguments)) if isinstance(r, Tensor) and r.node is not None]
    same = np.allclose(results[i].array, result.array, equal_nan=True)
    return results[i] if same else result


ARRAYS = frozenset([np.ndarray, Tensor])
FOLLOWED = object()  # stands for an array of the program among constants


def kind(leaf: Any) -> Any:
    """What a program is made for: of arrays all but the values."""
    if type(leaf) is np.ndarray:
        return leaf.shape, leaf.dtype, leaf.strides
    if isinstance(leaf, Tensor):
        return leaf.shape, leaf.dtype, leaf.array.strides, leaf.node is not None
    if isinstance(leaf, (float, complex)):
        return type(leaf), repr(leaf)  # which tells 0.0 from -0.0, and nan is equal to nan
    try:
        hash(leaf)
    except TypeError as error:
        raise ArgumentTypeError(
            f"a compiled function takes arrays, Tensors, numbers, strings and the like, but not {leaf!r}, whose "
            "changes it would not notice; pass its items in a tuple"
        ) from error
    return type(leaf), leaf


class Traced:
    """One program, and what it takes to run it.

    Attributes:
        leaves: the leaves of the arguments, with `FOLLOWED` for arrays.
        positions: of those inputs of the program that get a gradient.
        constants: the leaves of the function's value that do not depend on its arguments.
        tracked, plain: for each result of the program, whether it has a gradient, and whether it is an array.
        is_loss: whether the function's value is one Tensor with a gradient, and nothing else.
    """

    def __init__(self, function: Any, name: str, args: Any, kwargs: Any, given: list[Any]) -> None:
        self.function, self.structure = function, map_leaves(lambda leaf: ..., [args, kwargs])
        self.leaves = [FOLLOWED if isinstance(leaf, (np.ndarray, Tensor)) else leaf for leaf in given]
        self.arrays = [i for i, leaf in enumerate(given) if isinstance(leaf, (np.ndarray, Tensor))]
        trace = Trace(Surroundings(function))
        names = argument_names(function, args, kwargs)
        inputs = [trace.input(given[i], names[i]) for i in self.arrays]
        with tracing(trace), contextlib.ExitStack() as effects:
            effects.callback(lambda: [undo() for undo in reversed(trace.undo)])
            value = self.call(inputs)
            results = list(leaves(value))
            boundary = len(trace.calls)
            starts, roots = trace.start([r for r in results if isinstance(r, Box) and r.node is not None])
            nodes = [*(tensor.node for tensor in inputs), *(node for _, _, node in trace.captured)]
            found = backward(roots, [node for node in nodes if node is not None]) if roots else {}
            self.positions = [i for i, node in enumerate(nodes) if node in found]
            gradients = [trace.reference(found[nodes[i]]) for i in self.positions]
            followed = [r for r in results if trace.holds(r)]
            outs = [trace.reference(r) for r in followed]
        trace.randomness.require_unchanged()
        self.tracked = [isinstance(r, Box) and r.node is not None for r in followed]
        self.plain = [trace.is_plain(r) for r in followed]
        self.is_complex = any(r.dtype.kind == "c" for r in (*followed, *(found[nodes[i]] for i in self.positions)))
        self.value = map_leaves(lambda leaf: ..., value)
        self.constants = [FOLLOWED if trace.holds(r) else r for r in results]
        self.captured = [(read, variable.kind, node is not None) for variable, read, node in trace.captured]
        self.guards = trace.guards()
        variables = [trace.reference(tensor) for tensor in inputs] + [variable for variable, _, _ in trace.captured]
        self.program = Program(trace.calls, boundary, variables, outs, starts, gradients)
        self.rule = Rule(name, (self.vjp,))
        self.is_loss = self.value is ... and self.tracked == [True]
        self.shapes = [(variable.shape, variable.dtype) for variable in variables]
        if self.is_loss and self.positions and self.program.owns_gradients and not self.is_complex:
            self.rule.shortcut = self.shortcut
        trace.forget()

    def call(self, inputs: list[Any]) -> Any:
        """Call the function itself, with other arrays in the place of those that it was traced with."""
        arrays = iter(inputs)
        args, kwargs = unflatten(self.structure, [next(arrays) if leaf is FOLLOWED else leaf for leaf in self.leaves])
        return self.function(*args, **kwargs)

    def inputs(self, given: Any) -> Any:
        """The arrays that the program takes, and their nodes; None if it was traced for something else."""
        if not all(guard.holds() for guard in self.guards):
            return None
        arrays: list[Any] = []
        nodes: list[Any] = []
        for i in self.arrays:
            leaf = given[i]
            if type(leaf) is np.ndarray:
                arrays.append(leaf)
                nodes.append(None)
            else:
                arrays.append(leaf.array)
                nodes.append(leaf.node)
        for read, expected, tracked in self.captured:
            value = read()
            array, node = (value.array, value.node) if isinstance(value, Box) else (value, None)
            if (
                not isinstance(array, np.ndarray)
                or (array.shape, array.dtype, array.strides) != expected
                or (node is not None) is not tracked
            ):
                return None
            arrays.append(array)
            nodes.append(node)
        return arrays, nodes

    def run(self, inputs: Any, now: Any) -> Any:
        """Run the forward pass. Its results are Tensors made by one node, or arrays where the function gives those."""
        arrays, nodes = inputs
        buffers = self.program.workspace()
        forward = self.program.timed()[0] if now.watches else self.program.forward
        outs, saved = forward(*arrays, buffers)
        if self.positions:
            packed = Packed(arrays)
            if nodes.count(None) + len(self.positions) != len(nodes):  # some lead nowhere
                nodes = [node if i in self.positions else None for i, node in enumerate(nodes)]
            pack = Node(PACK, packed, NOTHING, nodes, packed, now.scope)
            made = [np.asarray(out) for out, tracked in zip(outs, self.tracked, strict=True) if tracked]
            whole = made[0] if len(made) == 1 else made
            node = Node(self.rule, [packed, saved, buffers], NOTHING, [pack, None, None], whole, now.scope)
            if self.is_loss:
                return box(whole, node)
            made = [box(whole, node)] if len(made) == 1 else box(made, node)
        else:
            node, made = None, []
        tensors = iter(made)
        kinds = zip(outs, self.tracked, self.plain, strict=True)
        values = iter([next(tensors) if t and node else np.asarray(o) if p else box(o, None) for o, t, p in kinds])
        constants = [c.copy() if isinstance(c, np.ndarray) else c for c in self.constants]
        return unflatten(self.value, [next(values) if c is FOLLOWED else c for c in constants])

    def shortcut(self, node: Node, start: np.ndarray) -> dict[Node, np.ndarray] | None:
        """The gradients of all leaves, from that of a program's only result: what the engine would come to.

        None if the engine has to walk: there is more behind the program, somebody watches, or an array was overwritten.
        """
        (pack, _, _), args = node.parents, node.args
        if args is None or node.retains_grad or watches_of([pack]):
            return None
        leaves = [pack.parents[i] for i in self.positions]
        if not all(leaf.rule is LEAF for leaf in leaves) or len(set(leaves)) < len(leaves):
            return None
        _, saved, buffers = args
        gradients = self.program.backward(start, saved, buffers)
        node.args = pack.args = None
        node.out, pack.out = outline(node.out), self.shapes
        return dict(zip(leaves, gradients, strict=True))

    def vjp(self, g: Any, out: Any, packed: Any, saved: Any, buffers: Any) -> Any:
        """The gradients of all inputs at once; if they are to be differentiated, those of the function itself."""
        parts = [g[i] if i in g else np.zeros_like(o) for i, o in enumerate(out)] if isinstance(g, Parts) else [g]
        if self.is_complex:  # rules get the conjugates of the gradients that users see
            parts = list(map(np.conj, parts))
        if not isinstance(packed[self.positions[0]], Box):
            backward = self.program.timed()[1] if profiled() else self.program.backward
            gradients = backward(*parts, saved, buffers)
            return Parts(zip(self.positions, map(np.conj, gradients) if self.is_complex else gradients, strict=True))
        outs = [r for r in leaves(self.call(packed[: len(self.arrays)])) if isinstance(r, Box) and r.node is not None]
        wanted = [packed[i] for i in self.positions]
        found = autograd.grad(outs, wanted, parts, create_graph=True, allow_unused=True)  # type: ignore[arg-type]
        pairs = [(i, gradient) for i, gradient in zip(self.positions, found, strict=True) if gradient is not None]
        return Parts({i: np.conj(gradient) if self.is_complex else gradient for i, gradient in pairs})


def argument_names(function: Callable[..., Any], args: Any, kwargs: Any) -> list[str]:
    """A name for each leaf of the arguments."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        parameters = {}.values()
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][: len(args)]
    pairs = [
        *zip([*positional, *(f"x{i}" for i in range(len(positional), len(args)))], args, strict=False),
        *kwargs.items(),
    ]
    return [name for name, tree in pairs for _ in leaves(tree)]
