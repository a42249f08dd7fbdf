"""`Module`: an object that finds the parameters and modules assigned to its attributes, or refuses them.

As in PyTorch, `parameters()` come in the order in which they were assigned, and the keys of `state_dict()` are the
names of the attributes, joined by dots. So the weights of the same network load there and here.

A parameter that is not found would not be trained, and nothing would say so. Therefore what hides one, such as a bare
list, is refused when it is assigned; and again when parameters are asked for, since a list may have grown by then.
"""

from __future__ import annotations

import reprlib
from collections import ChainMap, UserDict, UserList, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, MappingView
from functools import partial
from types import GeneratorType, MappingProxyType, ModuleType
from typing import Any, NamedTuple, Self

import numpy as np

from tinygrad_np.arguments import ArrayLike, DTypeLike
from tinygrad_np.errors import (
    ArgumentError,
    ArgumentTypeError,
    CheckpointError,
    ShapeError,
    TinygradNpError,
    users_frames,
)
from tinygrad_np.printing import printable
from tinygrad_np.recording import Scope, State, state
from tinygrad_np.spellings import MODULE, set_spellings
from tinygrad_np.tensor import Tensor
from tinygrad_np.writes import written

__all__ = ["IncompatibleKeys", "Module", "Parameter"]

MAPPINGS = (dict, UserDict, ChainMap, MappingProxyType)
CONTAINERS = (list, tuple, set, frozenset, deque, UserList, MappingView, *MAPPINGS)
"""Python's containers. What they hold is not found; `ModuleList` and `ModuleDict` are modules."""

ITERATORS = (GeneratorType, map, filter, zip)
"""What nobody can look into without using it up."""

NUMBERS = frozenset([bool, int, float, str])
"""What long lists mostly hold: it is passed over quickly."""


class Parameter(Tensor):
    """A Tensor that a Module learns: it requires a gradient, and is float32 unless asked otherwise.

    Args:
        data: anything that NumPy makes an array of, any shape.
        requires_grad: False for a parameter that is frozen: part of the state, but not learned.
        dtype: floating point or complex.
        name: is shown in drawings and error messages.

    Raises:
        DTypeError: the dtype cannot have a gradient.

    >>> Parameter([1, 2]).dtype
    dtype('float32')
    """

    __slots__ = ()

    def __init__(
        self, data: ArrayLike, requires_grad: bool = True, dtype: DTypeLike = np.float32, name: str | None = None
    ) -> None:
        super().__init__(data, requires_grad, dtype, name)


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict` did not load.

    Attributes:
        missing_keys: the names in the model that the given state lacks.
        unexpected_keys: the names in the given state that the model lacks.
    """

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """Base class of layers and networks. Subclasses assign parameters and modules in `__init__`, and define `forward`.

    NumPy arrays assigned to attributes are buffers: part of the state, but not learned, such as running means.

    Assigning raises an `ArgumentTypeError` if a parameter would be lost by it, and the message names the remedy. It
    refuses: a list, tuple, set or dict that holds modules or parameters, see `ModuleList` and `ModuleDict`; another
    object that has them as attributes, such as one whose class was meant to be a Module; a generator, which may make
    some; a Tensor that requires grad, but is no Parameter; and anything but a Parameter, a Module or None in the place
    of one. An array replaces an array, and nothing else does. Modules and parameters in the body of a class are refused
    too: all objects would share them. What a function refers to is not looked at; a frozen teacher can be hidden there.

    Attributes:
        training: True in training mode, False in evaluation mode; `train` and `eval` set it.

    >>> class Affine(Module):
    ...     def __init__(self):
    ...         self.weight, self.bias = Parameter([2.0]), Parameter([1.0])
    ...
    ...     def forward(self, x):
    ...         return x * self.weight + self.bias
    >>> Affine()(np.array([3.0], dtype=np.float32))
    Tensor([7.], dtype=float32, requires_grad=True)
    >>> [name for name, _ in Affine().named_parameters()]
    ['weight', 'bias']
    """

    training = True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if vars(cls).get("__slots__"):
            raise ArgumentTypeError(f"parameters in the __slots__ of {cls.__name__} would not be found; leave them out")
        for base in cls.__mro__:
            for name, value in vars(base).items():
                for item in _hidden(value):
                    raise ArgumentTypeError(
                        f"{cls.__name__}.{name} holds {_described(item)} in the body of the class, where it is not "
                        "found, and all objects share it; assign it to self in __init__"
                    )

    def __setattr__(self, name: str, value: Any) -> None:
        if "." in name:
            raise ArgumentError(
                f"{name!r} cannot be an attribute: dots separate the names in state_dict(); choose another"
            )
        place = f"{type(self).__name__}.{name}"
        if (
            name != "forward"
            and callable(getattr(Module, name, None))
            and (isinstance(value, Module) or not callable(value))
        ):
            raise ArgumentTypeError(f"{place} is a method of every module; choose another name")
        if not isinstance(value, (Parameter, Module)) and value is not None:
            if isinstance(value, ITERATORS):
                raise ArgumentTypeError(
                    f"{place} would be a {type(value).__name__}, which can be used only once, and what it gives is not "
                    "found; make it a list first, or an nn.ModuleList"
                )
            if name == "requires_grad":
                raise ArgumentTypeError(f"{place} would freeze nothing; call requires_grad_({value}) instead")
            _refuse_to_replace(place, vars(self).get(name), value)
            hidden = [item for item in _hidden(value) if not _is_activation(item)]
            if hidden:
                _refuse_unfound(place, hidden, self.modules())
        super().__setattr__(name, value)

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Compute the module's output. Every subclass defines it, with inputs and output of its own.

        Call the module itself rather than `forward`: then the calls in it are recorded as the module's.
        """
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def __call__(self, *inputs: Any, **options: Any) -> Tensor:
        """Compute `forward` with the same arguments, and record the calls in it as this module's.

        Returns:
            What `forward` returns. Type checkers take it for a Tensor, which it is as soon as a parameter takes part; a
            module without parameters gives an array for an array. If `forward` returns something else, such as a
            tuple, tell them so by `typing.cast`.

        Raises:
            ShapeError: shapes do not fit; the message names the module by its path.
            ArgumentTypeError: an input is a list, or something else that has not what arrays have.
        """
        outer = state.get()
        scope = Scope(self, outer.scope, self.forward, inputs)
        state.set(State(outer.suspended, scope, outer.watches, outer.inputs, outer.trace))
        if outer.trace is not None:
            outer.trace.enter(self)
        try:
            output: Tensor = self.forward(*inputs, **options)
            return output
        except TinygradNpError as error:
            if isinstance(error, ShapeError):
                error.modules.insert(0, self)
            raise error.with_traceback(users_frames(error.__traceback__))  # noqa: B904 (the same error, shorter)
        except AttributeError as error:
            _refuse_no_array(self, inputs, error)
            raise
        finally:
            now = state.get()
            state.set(State(now.suspended, outer.scope, now.watches, now.inputs, now.trace))

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules assigned to this module's own attributes, with their names, in the order of assignment.

        A module assigned to two attributes comes under both names; PyTorch leaves out the second.

        >>> class Pair(Module):
        ...     def __init__(self):
        ...         self.first, self.second = Module(), Module()
        >>> dict(Pair().named_children())
        {'first': Module(), 'second': Module()}
        """
        return ((name, value) for name, value in vars(self).items() if isinstance(value, Module))

    def children(self) -> Iterator[Module]:
        """The modules of `named_children`, without their names."""
        return (child for _, child in self.named_children())

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """This module, under the name "", and all modules in it, each once, with their dotted names.

        Raises:
            ArgumentTypeError: one of them holds modules or parameters where they are not found, such as in a list that
                was empty when it was assigned.
        """
        found: dict[int, tuple[str, Module]] = {}
        stack: list[tuple[str, Module]] = [("", self)]
        while stack:
            name, module = stack.pop()
            if id(module) not in found:
                found[id(module)] = name, module
                children = [(_joined(name, child), value) for child, value in module.named_children()]
                stack += reversed(children)
        _refuse_hidden([module for _, module in found.values()])
        yield from found.values()

    def modules(self) -> Iterator[Module]:
        """This module and all modules in it, each once. Raises what `named_modules` does."""
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """All parameters in this module and the modules in it, each once, with their dotted names.

        Raises:
            ArgumentTypeError: as for `named_modules`.
        """
        seen: set[Tensor] = set()
        for prefix, module in self.named_modules():
            for name, value in list(vars(module).items()):
                if isinstance(value, Parameter) and value not in seen:
                    seen.add(value)
                    yield _joined(prefix, name), value

    def parameters(self) -> Iterator[Tensor]:
        """All parameters in this module and the modules in it, each once. Raises what `named_modules` does."""
        return (parameter for _, parameter in self.named_parameters())

    def state_dict(self) -> dict[str, np.ndarray]:
        """The arrays of all parameters and buffers, by their dotted names; one in several places under each name.

        Returns:
            The arrays themselves, not copies: the next training step changes them.

        Raises:
            ArgumentTypeError: as for `named_modules`.
        """
        state: dict[str, np.ndarray] = {}
        modules: list[Module] = []
        stack: list[tuple[str, tuple[Module, ...]]] = [("", (self,))]
        while stack:
            prefix, path = stack.pop()
            modules.append(path[-1])
            for name, value in vars(path[-1]).items():
                if isinstance(value, (Parameter, np.ndarray)):
                    state[_joined(prefix, name)] = value.data if isinstance(value, Parameter) else value
            children = [
                (_joined(prefix, name), (*path, child))
                for name, child in path[-1].named_children()
                if not any(child is outer for outer in path)  # as a child that refers to its parent
            ]
            stack += reversed(children)
        _refuse_hidden(modules)
        return state

    def load_state_dict(self, state: Mapping[str, ArrayLike], strict: bool = True) -> IncompatibleKeys:
        """Copy arrays into the parameters and buffers: all of them, or none if one does not fit.

        A parameter that has several names, as the tied weights of two layers, needs only one of them: files in the
        safetensors format mostly hold one.

        Args:
            state: an array for each key of `state_dict`, of its shape. It may have another dtype of the same kind.
            strict: False to load what both have, and to leave the rest.

        Returns:
            The names that one of the two lacks; with `strict` there are none.

        Raises:
            CheckpointError: names are missing or unknown (without `strict`: all of them), shapes or kinds of dtypes
                differ, or the names of one parameter have different arrays; the message says which.
            ArgumentTypeError: `state` is no dict.
        """
        if not isinstance(state, Mapping):
            raise ArgumentTypeError(
                f"load_state_dict takes a dict of arrays, such as checkpoint.load(path), not a {type(state).__name__}"
            )
        own = self.state_dict()
        given = {name: np.array(array) for name, array in state.items()}  # copies: they may be this module's own
        names: dict[int, list[str]] = {}  # of each array
        for name, array in own.items():
            names.setdefault(id(array), []).append(name)
        missing = [name for name in own if not any(other in given for other in names[id(own[name])])]
        unexpected = [name for name in given if name not in own]
        shared = {name: array for name, array in given.items() if name in own}
        problems = [f"{name} is missing" for name in missing if strict]
        problems += [f"{name} is unknown" for name in unexpected if strict]
        problems += [
            f"{name} has shape {array.shape} instead of {own[name].shape}"
            for name, array in shared.items()
            if array.shape != own[name].shape
        ]
        problems += [
            f"{name} has dtype {array.dtype} instead of {own[name].dtype}"
            for name, array in shared.items()
            if not np.can_cast(array.dtype, own[name].dtype, "same_kind")
        ]
        tied = [[name for name in group if name in shared] for group in names.values()]
        problems += [
            f"{first} and {other} are one array in this model, but differ"
            for first, *others in filter(None, tied)
            for other in others
            if not problems and _bits(shared[first], own[first]) != _bits(shared[other], own[first])
        ]
        if not strict and own and given and not shared:
            problems.append(f"it has {_some(own)}, but the weights are called {_some(given)}")
        if problems:
            raise CheckpointError(f"the weights are of another architecture than this model: {'; '.join(problems)}")
        for name, array in shared.items():
            own[name][...] = array
            written(own[name])
        return IncompatibleKeys(missing, unexpected)

    def train(self, mode: bool = True) -> Self:
        """Put this module and all modules in it into training mode: Dropout drops, BatchNorm1d uses the batch.

        Args:
            mode: False for evaluation mode.

        Returns:
            This module.

        Raises:
            ArgumentTypeError: `mode` is no bool; or as for `named_modules`.
        """
        if not isinstance(mode, (bool, np.bool_)):
            raise ArgumentTypeError(f"train takes True or False, not {mode!r}; eval() is for evaluation mode")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Put this module and all modules in it into evaluation mode, and return this module."""
        return self.train(False)

    def apply(self, function: Callable[[Module], Any]) -> Self:
        """Call a function with this module and every module in it, in the order of `modules`, to initialise them, say.

        Args:
            function: takes a module; what it returns is not used.

        Returns:
            This module.

        Raises:
            ArgumentTypeError: as for `named_modules`.
        """
        for module in list(self.modules()):
            function(module)
        return self

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set `requires_grad` of all parameters: False freezes the module, True has it learn.

        Returns:
            This module.

        Raises:
            ArgumentTypeError: as for `named_modules`.
        """
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def zero_grad(self) -> None:
        """Set every parameter's `.grad` to None."""
        for parameter in self.parameters():
            parameter.grad = None

    def extra_repr(self) -> str:
        """What `repr` shows in parentheses after the name of the class, for a module without children."""
        return ""

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if name not in MODULE or name in vars(self)]

    @reprlib.recursive_repr("...")
    def __repr__(self) -> str:
        lines = [f"({printable(name)}): {child!r}".replace("\n", "\n  ") for name, child in self.named_children()]
        body = "\n  ".join(["", *lines]) + "\n" if lines else self.extra_repr()
        return f"{type(self).__name__}({body})"


set_spellings(Module, MODULE)


def _refuse_no_array(module: Module, inputs: Iterable[Any], error: AttributeError) -> None:
    """Say what to write if an input, such as a list, has been asked for something that arrays have."""
    if hasattr(np.ndarray, str(error.name)) and any(error.obj is value for value in inputs):
        raise ArgumentTypeError(
            f"{type(module).__name__} takes arrays and Tensors, but was given a {type(error.obj).__name__}; "
            "write np.array(x, dtype=np.float32)"
        ) from None


def _joined(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _some(names: Iterable[str]) -> str:
    return ", ".join(list(names)[:3]) + " ..."


def _bits(array: np.ndarray, like: np.ndarray) -> bytes:
    return array.astype(like.dtype).tobytes()


def _hidden(value: Any) -> list[Module | Tensor]:
    """The modules and the Tensors that learn in a value, which is itself no part of the state.

    Containers are searched however deep. Of an object of another class the attributes are, but not those of objects in
    these. What a function refers to is not.
    """
    hidden: list[Module | Tensor] = []
    stack, seen = [(value, True)], set()
    while stack:
        item, open_objects = stack.pop()
        if isinstance(item, (Module, Parameter)) or (isinstance(item, Tensor) and item.requires_grad):
            hidden.append(item)
        elif id(item) not in seen:
            seen.add(id(item))  # a list may hold itself
            inner, is_object = _inside(item)
            if open_objects or not is_object:
                stack += [(one, open_objects and not is_object) for one in inner if type(one) not in NUMBERS]
    return hidden


def _inside(item: Any) -> tuple[list[Any], bool]:
    """What a container, or another object, holds; and whether it is no container."""
    if isinstance(item, np.ndarray):
        return item.ravel().tolist() if item.dtype == object else [], False
    if isinstance(item, MAPPINGS):
        return [*item, *item.values()], False
    if isinstance(item, CONTAINERS):
        return [*item], False  # type: ignore[misc]
    if isinstance(item, partial):
        return [*item.args, *item.keywords.values()], False
    attributes = getattr(item, "__dict__", None)
    return list(attributes.values()) if type(attributes) is dict and not isinstance(item, ModuleType) else [], True


def _is_activation(item: Module | Tensor) -> bool:
    """Whether `item` was computed in the call of a module, which may keep it to be looked at."""
    node = item.node if isinstance(item, Tensor) and not item.is_leaf else None
    return node is not None and node.scope is not None and node.scope.kind is not None


def _refuse_hidden(modules: list[Module]) -> None:
    """Refuse what has come into the attributes of modules without being assigned."""
    for module in modules:
        for name, value in vars(module).items():
            if isinstance(value, (Parameter, Module)):
                continue
            hidden = [item for item in _hidden(value) if isinstance(item, Module) or item.is_leaf]
            if hidden:
                _refuse_unfound(f"{type(module).__name__}.{name}", hidden, modules)


def _refuse_unfound(place: str, hidden: list[Module | Tensor], modules: Iterable[Module]) -> None:
    """Refuse the first of `hidden` that is neither one of `modules` nor one of their parameters."""
    found = {id(item) for module in modules for item in (module, *vars(module).values())}
    for item in hidden:
        if id(item) in found and isinstance(item, (Module, Parameter)):
            continue
        if isinstance(item, Module):
            remedy = "make a list an nn.ModuleList, a dict an nn.ModuleDict, and the class of an object an nn.Module"
        elif isinstance(item, Parameter):
            remedy = "assign each parameter to an attribute of its own, for example with setattr(self, 'weight0', ...)"
        else:
            remedy = "assign nn.Parameter(value.detach()) to have it learn, or value.detach() if it is a constant"
        raise ArgumentTypeError(f"{place} holds {_described(item)}, which parameters() would not find; {remedy}")


def _refuse_to_replace(place: str, old: Any, new: Any) -> None:
    """Refuse `new`, which is no parameter, module or None, in the place of something that is part of the state."""
    if isinstance(old, Parameter):
        remedy = "change its values with [...] = value within no_grad(), or assign nn.Parameter(value)"
    elif isinstance(old, Module):
        remedy = "assign a module, or delete it first with del"
    elif isinstance(old, np.ndarray) and not isinstance(new, np.ndarray):
        remedy = "change its values with [...] = value, assign an array, or delete it first with del"
    else:
        return
    raise ArgumentTypeError(
        f"{place} is {_described(old)}, which {_described(new)} cannot replace: it would no longer be part of the "
        f"module's state; {remedy}"
    )


def _described(value: Any) -> str:
    """A value in the words of a message."""
    if isinstance(value, (Tensor, np.ndarray)):
        return f"a {type(value).__name__} of shape {value.shape}"
    return f"the module {type(value).__name__}" if isinstance(value, Module) else f"a {type(value).__name__}"
