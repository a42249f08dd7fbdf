"""The first step: run a function once, and write down every call that depends on its inputs.

While a trace is in the context's state, `engine.apply` hands it each call. Values are told apart by the identity of
their arrays, which the trace keeps alive. Everything computed from an input is followed, integers, booleans and views
included, and comes back as a Tensor, so that NumPy brings the next call here too. What would leave the trace, such as
`bool()` of a value, is refused. Tensors that the function finds elsewhere, such as parameters, become inputs as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from tinygrad_np.calls import plain
from tinygrad_np.compiler.guards import Attributes, Randomness, Surroundings
from tinygrad_np.derivatives.table import CONSTANT, EFFECTS, ITEM, PACK, RULES, Parts
from tinygrad_np.engine import Box, Node, apply, box
from tinygrad_np.errors import TraceError, users_line
from tinygrad_np.recording import state, tracing
from tinygrad_np.tensor import Tensor
from tinygrad_np.writes import owner

__all__ = ["Call", "Trace", "UntraceableError", "Variable", "variables_in"]

STATIC: frozenset[Any] = frozenset([np.shape, np.ndim, np.size, np.result_type, np.can_cast, np.min_scalar_type]).union(
    [np.common_type, np.iscomplexobj, np.isrealobj, np.may_share_memory, np.shares_memory]
)
"""Functions whose results depend on shapes and dtypes alone, which are the same at every call of a program."""


class UntraceableError(Exception):
    """A function of ours, on the way, asks for values: what called it runs without being compiled."""


class Variable:
    """A value of the program.

    Attributes:
        array: what it was when it was traced; None once the trace is over.
        shape, dtype: the same at every call.
        source: the call that it comes from; "input", "captured" or "gradient" if it comes from outside.
        name: in the program's text.
        is_tensor: whether the function itself, without being compiled, would have a Tensor here, not an array.
    """

    __slots__ = ("array", "dtype", "is_tensor", "name", "shape", "source")

    def __init__(self, array: np.ndarray, source: Any, name: str, is_tensor: bool) -> None:
        self.array: np.ndarray | None = array
        self.shape, self.dtype = array.shape, array.dtype
        self.source, self.name, self.is_tensor = source, name, is_tensor

    @property
    def kind(self) -> tuple[Any, ...]:
        """What an array must have in common with that of the trace."""
        assert self.array is not None
        return self.shape, self.dtype, self.array.strides


class Call:
    """One call of the program: `outs = function(*args, **kwargs)`, with variables in the place of arrays.

    Attributes:
        several: whether the function returns a tuple or list, whose arrays `outs` are.
        place: the file and line of the user's code.
        module: the dotted name of the module that it was made in, or "".
    """

    __slots__ = ("args", "function", "kwargs", "module", "outs", "place", "several")

    def __init__(
        self, function: Callable[..., Any], args: Any, kwargs: Any, outs: list[Variable], several: bool
    ) -> None:
        self.function, self.args, self.kwargs, self.outs, self.several = function, args, kwargs, outs, several
        self.place, self.module = users_line(), module_name()


class Trace:
    """What has been traced so far: calls in order, and the variables by the identity of their arrays."""

    def __init__(self, surroundings: Surroundings) -> None:
        self.surroundings = surroundings
        self.calls: list[Call] = []
        self.variables: dict[int, Variable] = {}
        self.captured: list[tuple[Variable, Callable[[], Any], Any]] = []  # with how to read it anew, and its node
        self.modules: dict[int, Attributes] = {}  # of those that were called
        self.differentiated: Call | None = None  # the call whose derivative is being taken
        self.randomness = Randomness()
        for _, value in surroundings.found:
            self.randomness.add("a generator", value)
        self.undo: list[Callable[[], Any]] = []  # the effects of tracing itself, the last one first
        self.arrays: set[int] = set()  # identities of what is an array outside of the trace, though a Tensor in it
        self.kept: list[Any] = []  # arrays whose identities are in use

    # Values

    def input(self, leaf: Any, name: str) -> Tensor:
        """A Tensor that stands for an array or Tensor among the arguments."""
        tensor = Tensor(plain(leaf).view(), requires_grad=isinstance(leaf, Box) and leaf.node is not None)
        self.add(tensor.array, "input", name, isinstance(leaf, Box))
        return tensor

    def start(self, results: Sequence[Any]) -> tuple[list[Variable], dict[Node, Any]]:
        """A gradient to start from for each result, as variables, and as Tensors by the nodes of the results."""
        variables: list[Variable] = []
        roots: dict[Node, Any] = {}
        for result in results:
            start = np.ones(result.array.shape, result.array.dtype)
            variables.append(self.add(start, "gradient", "g", True))
            tensor = box(start, None)
            roots[result.node] = roots[result.node] + tensor if result.node in roots else tensor
        return variables, roots

    def holds(self, value: Any) -> bool:
        """Whether a value is a variable, and not a constant."""
        return isinstance(value, Box) or (isinstance(value, np.ndarray) and id(value) in self.variables)

    def is_plain(self, value: Any) -> bool:
        """Whether the function itself, without being compiled, has an array here."""
        array = plain(value)
        return id(array) in self.arrays or not self.variables[id(array)].is_tensor

    def enter(self, module: Any) -> None:
        """A module is called."""
        if id(module) not in self.modules:
            self.modules[id(module)] = Attributes(module)
            for name, value in vars(module).items():
                self.randomness.add(f"{type(module).__name__}.{name}", value)

    def guards(self) -> list[Attributes | Surroundings]:
        """What must be the same at every call of the program.

        Raises:
            TraceError: a module has changed its attributes while it was traced, which the program would not do.
        """
        read = {id(variable.array) for variable, _, _ in self.captured}
        for attributes in self.modules.values():
            attributes.arrays = [(n, array, was) for n, array, was in attributes.arrays if id(array) not in read]
            changed = attributes.changed()
            if changed:
                raise TraceError(
                    f"{type(attributes.module).__name__} changes its attribute {changed} when it is called, which a "
                    "compiled function would do at its first call alone; do it outside of the function"
                )
        return [*self.modules.values(), self.surroundings]

    def forget(self) -> None:
        """Let go of all arrays."""
        for variable in self.variables.values():
            variable.array = None

    def add(self, array: np.ndarray, source: Any, name: str, is_tensor: bool) -> Variable:
        variable = Variable(array, source, name, is_tensor)
        self.variables[id(array)] = variable
        self.kept.append(array)
        return variable

    def follows(self, value: Any) -> bool:
        """Whether a value, or one in a list, is or will be a variable: every Tensor is."""
        if isinstance(value, (list, tuple)):
            return any(map(self.follows, value))
        if isinstance(value, slice):
            return any(map(self.follows, (value.start, value.stop, value.step)))
        return isinstance(value, Box) or id(value) in self.variables

    def reference(self, value: Any) -> Any:
        """The same value with variables in the place of arrays that are followed."""
        if isinstance(value, Box):
            if isinstance(value.array, list):  # packed
                return self.reference(value.array)
            variable = self.variables.get(id(value.array))
            if variable is None:
                self.capture(value, value.array)
            elif variable.source == "captured" and value.node not in [None, *(node for _, _, node in self.captured)]:
                self.capture(value, value.array.view())  # the same array with a history: for its gradient alone
            return self.variables[id(value.array)]
        if isinstance(value, np.ndarray):
            variable = self.variables.get(id(value))
            return variable if variable is not None else self.attribute(value)
        if isinstance(value, Parts):
            return Parts({i: self.reference(part) for i, part in value.items()})
        if isinstance(value, dict):
            return {key: self.reference(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            items = [self.reference(item) for item in value]
            return items if isinstance(value, list) else tuple(items)
        return value

    def capture(self, tensor: Box, array: np.ndarray) -> None:
        """Make an input of a Tensor that the function has found elsewhere."""
        read = self._reader(tensor) or self.surroundings.reader(tensor) or (lambda: tensor)
        variable = self.add(array, "captured", self._name_of(tensor), True)
        self.captured.append((variable, read, tensor.node))

    def attribute(self, array: np.ndarray) -> Any:
        """A module's buffer becomes an input; any other array is a constant."""
        read = self._reader(array)
        if read is None:
            return array
        variable = self.add(array, "captured", self._name_of(array), False)
        self.captured.append((variable, read, None))
        return variable

    def _reader(self, value: Any) -> Callable[[], Any] | None:
        """How to read anew what is an attribute of a module being called."""
        scope = state.get().scope
        while scope is not None:
            module = scope.module()
            for name, attribute in vars(module).items() if module is not None else ():
                if attribute is value:
                    return lambda: getattr(module, name)
            scope = scope.outer
        return None

    def _name_of(self, value: Any) -> str:
        scope = state.get().scope
        while scope is not None and scope.outer is not None and scope.outer.kind is not None:
            scope = scope.outer
        module = scope.module() if scope is not None else None
        if module is not None:
            with tracing(None):
                state_dict = module.state_dict()
            for name, array in state_dict.items():
                if array is value or array is getattr(value, "array", None):
                    return str(name)
        return getattr(value, "name", None) or "constant"

    # Calls

    def apply(self, function: Callable[..., Any], args: Any, kwargs: Mapping[str, Any], rule: Any) -> Any:
        """What the engine does with a call, and besides write it down."""
        args, rule = list(args), rule if rule is not None else RULES[function]
        if function not in EFFECTS and not any(map(self.follows, (*args, *kwargs.values()))):
            with tracing(None):
                return apply(function, args, kwargs, rule)
        self.reference([args, kwargs])  # captures what is not known yet
        out = self.lowered(function, args, kwargs, rule) if self.is_lowered(function, rule) else None
        if out is None:
            out = self.written(function, args, kwargs, rule)
        if function in STATIC:
            return out

        # The engine records the call, with the result that is there already.
        def stand_in(*arrays: Any, **options: Any) -> Any:
            return out

        stand_in.__name__ = getattr(function, "__name__", "function")
        with tracing(None):
            result = apply(stand_in, args, kwargs, rule)
        return result if rule is not None and rule is not CONSTANT else box(out, None)

    def written(
        self, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], rule: Any = None
    ) -> Any:
        """Call a function on arrays, and write the call down."""
        references = [self.reference(arg) for arg in args], {name: self.reference(arg) for name, arg in kwargs.items()}
        if function in EFFECTS:
            self.remember(args)
        with tracing(None):
            out = function(*map(plain, args), **{name: plain(arg) for name, arg in kwargs.items()})
        if function in STATIC or out is None:
            if out is None:
                self.calls.append(Call(function, *references, [], False))
            return out
        if isinstance(out, str):
            self.refuse_any("printing")
        several = isinstance(out, (tuple, list))
        arrays = [self.own(array) for array in (out if several else [out])]
        name = getattr(getattr(function, "func", function), "__name__", "value").strip("_<>")
        call = Call(function, *references, [], several)
        if self.differentiated is not None:
            call.place, call.module = self.differentiated.place, self.differentiated.module
        is_tensor = rule is not None and rule is not CONSTANT and any(v.is_tensor for v in variables_in(references))
        call.outs = [self.add(array, call, name, is_tensor) for array in arrays]
        self.calls.append(call)
        if not several:
            return arrays[0]
        return type(out)(*arrays) if hasattr(out, "_fields") else type(out)(arrays)

    def own(self, out: Any) -> np.ndarray:
        """A result as an array object that stands for it alone."""
        array = np.asarray(out)
        return array.view() if id(array) in self.variables else array

    def remember(self, args: Sequence[Any]) -> None:
        """Note the state of what a call changes, for the program will change it again."""
        for arg in args:
            if isinstance(arg, np.random.Generator):
                self.undo.append(partial(setattr, arg.bit_generator, "state", arg.bit_generator.state))
            elif isinstance(arg, np.ndarray):
                self.undo.append(partial(np.copyto, arg, arg.copy()))

    def is_lowered(self, function: Callable[..., Any], rule: Any) -> bool:
        """Whether to trace into a function of ours, instead of calling it as a whole."""
        module = getattr(function, "__module__", "") or ""
        return module.startswith("tinygrad_np.") and rule is not None and rule is not CONSTANT and not rule.residuals

    def lowered(self, function: Callable[..., Any], args: Sequence[Any], kwargs: Any, rule: Any) -> Any:
        """The result of a function of ours, traced as the NumPy calls that it is made of; None if it cannot be."""
        return self.attempt(lambda: function(*map(self.detached, args), **kwargs))

    def attempt(self, compute: Callable[[], Any]) -> Any:
        """What a computation on Tensors gives, as arrays; None, and nothing written down, if it needs arrays itself."""
        before, known, captured = len(self.calls), dict(self.variables), len(self.captured)
        try:
            out = compute()
            arrays = plain(out)
            several = arrays if isinstance(arrays, (list, tuple)) else [arrays]
            if all(id(array) in self.variables for array in several):
                return arrays
        except Exception:
            pass
        del self.calls[before:], self.captured[captured:]
        self.variables = known
        return None

    def detached(self, value: Any) -> Any:
        """Tensors without history for all arrays that are followed, also in lists."""
        if isinstance(value, Box):
            return self.detached(value.array)
        if isinstance(value, Parts):
            return Parts({i: self.detached(part) for i, part in value.items()})
        if isinstance(value, (list, tuple)):
            items = [self.detached(item) for item in value]
            return items if isinstance(value, list) else tuple(items)
        return box(value, None) if isinstance(value, np.ndarray) and id(value) in self.variables else value

    def ours(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function of ours that has to be traced into. If it cannot be, nor can the user's function."""

        def traced(*args: Any, **kwargs: Any) -> Any:
            try:
                return function(*args, **kwargs)
            except TraceError as error:
                raise UntraceableError from error

        return traced

    # Backward passes

    def origin(self, node: Node) -> Call | None:
        """The call that made what a node stands for."""
        variable = self.variables.get(id(node.out))
        return variable.source if variable is not None and isinstance(variable.source, Call) else None

    def boxed(self, node: Node, values: Sequence[Any], create_graph: bool) -> tuple[list[Any], Any]:
        """A call's arguments and result as Tensors, with their history if derivatives are to be differentiated."""
        self.differentiated = self.origin(node) or self.differentiated
        if not create_graph:
            return [self.detached(value) for value in values], self.detached(node.out)
        pairs = zip(values, node.parents, strict=False)
        return [box(v, parent) if parent else self.detached(v) for v, parent in pairs], box(node.out, node)

    def derivative(self, rule: Any, vjp: Callable[..., Any], create_graph: bool) -> Callable[..., Any]:
        """A VJP that is written down: as the calls it is made of or, if it cannot take Tensors, as a whole."""
        if create_graph or rule is ITEM or rule is PACK:  # the latter two only pass gradients on
            return self.ours(vjp)

        def derived(*args: Any, **kwargs: Any) -> Any:
            args = tuple(map(self.detached, args))
            out = self.attempt(lambda: vjp(*args, **kwargs))
            return self.detached(self.written(vjp, args, kwargs) if out is None else out)

        return derived

    def plain(self, tensor: Box) -> Box:
        """A Tensor in the place of an array, as transforms of `func` give it."""
        variable = self.reference(tensor)
        view = tensor.array.view()
        self.kept.append(view)
        self.variables[id(view)] = variable
        self.arrays.add(id(view))
        return box(view, None)

    # What would leave the trace

    def refuse(self, value: Box, taken: str) -> None:
        if self.follows(value):
            self.refuse_any(taken)

    def refuse_any(self, taken: str) -> None:
        raise TraceError(
            f"{taken} of a value that changes from call to call would fix it in the compiled function, {place()}; "
            "use NumPy's functions, such as numpy.where for a choice, or do this outside of the function"
            + ("; index a table as Tensor(table)[labels]" if taken == "numpy.asarray()" else "")
        )

    def refuse_writing(self, function: Callable[..., Any]) -> None:
        raise TraceError(
            f"{function.__name__} writes to an array, which a compiled function cannot do, {place()}; "
            "compute a new one, or assign with x[...] = value"
        )

    def require_result(self, tensor: Box) -> None:
        """Refuse a change of anything but what the function itself has computed."""
        variable = self.variables.get(id(tensor.array))
        if variable is None or not isinstance(variable.source, Call):
            raise TraceError(
                f"a compiled function cannot change its arguments or what it finds elsewhere, {place()}; "
                "change a copy, x = x.copy(), or do it outside of the function"
            )
        arrays = [other.array for other in self.variables.values() if other.array is not None]
        if not variable.is_tensor and sum(owner(array) is owner(tensor.array) for array in arrays) > 1:
            raise TraceError(
                f"a compiled function cannot change an array of which there are views, {place()}; "
                "take the views after the assignment, or of a copy"
            )


def module_name() -> str:
    """The dotted name of the module being called, after the class of the outermost one."""
    scope: Any = state.get().scope
    if scope is None or scope.kind is None:
        return ""
    outer = scope
    while outer.outer is not None and outer.outer.kind is not None:  # else only a name stands around it
        outer = outer.outer
    whole, part = outer.module(), scope.module()
    names = [name for name, module in whole.named_modules() if module is part] if whole is not None else []
    return ".".join(filter(None, [outer.kind.__name__, *names[:1]]))


def place() -> str:
    return "at {}:{}".format(*users_line())


def variables_in(value: Any) -> list[Variable]:
    """The variables among arguments, in order."""
    if isinstance(value, Variable):
        return [value]
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return []
    return [variable for item in value for variable in variables_in(item)]
