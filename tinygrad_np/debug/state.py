"""What functions and modules refer to that can change, and how it was: so that an examination leaves no trace."""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tinygrad_np.derivatives.table import LEAF
from tinygrad_np.errors import NOT_THE_USERS
from tinygrad_np.nn import Module
from tinygrad_np.optim import Optimizer
from tinygrad_np.tensor import Tensor

__all__ = ["Found", "Snapshot"]


class Found:
    """What functions refer to by name: Tensors that require grad, modules, optimizers, generators.

    And `holders`, the variables, lists and dicts that hold Tensors, and variables that hold numbers: pairs of functions
    that get and set what is in them.
    """

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.modules: dict[str, Module] = {}
        self.optimizers: list[Optimizer] = []
        self.generators: list[np.random.Generator] = []
        self.holders: list[tuple[Callable[[], Any], Callable[[Any], None]]] = []
        self._seen: dict[int, Any] = {}

    def look(self, name: str, value: Any, depth: int = 6) -> None:
        """Look at a value, and behind it."""
        if id(value) in self._seen or depth == 0:
            return
        self._seen[id(value)] = value
        for key, item in self._inner(name, value):
            self.look(key, item, depth - 1)

    def _inner(self, name: str, value: Any) -> list[tuple[str, Any]]:
        if isinstance(value, Tensor):
            if value.requires_grad and value.node is not None and value.node.rule is LEAF:
                self.tensors.setdefault(value.name or name, value)
        elif isinstance(value, np.random.Generator):
            self.generators.append(value)
        elif isinstance(value, Optimizer):
            self.optimizers.append(value)
            return [(f"optimizer's parameter {i}", parameter) for i, parameter in enumerate(value.params)]
        elif isinstance(value, Module):
            known = {*self.modules.values()}
            inner = [(f"{name}.{key}".strip("."), module) for key, module in value.named_modules()]
            self.modules |= {key: module for key, module in inner if module not in known}
            found = [(f"{name}.{key}".strip("."), parameter) for key, parameter in value.named_parameters()]
            return found + [("", attribute) for _, module in inner for attribute in vars(module).values()]
        elif isinstance(value, dict) and len(value) < MANY:
            if any(isinstance(item, Tensor) for item in value.values()):
                self.holders.append((lambda: dict(value), value.update))
            return [(f"{name}[{key!r}]", item) for key, item in value.items()]
        elif isinstance(value, (list, tuple)) and len(value) < MANY:
            if isinstance(value, list) and any(isinstance(item, Tensor) for item in value):
                self.holders.append((lambda: list(value), partial(value.__setitem__, slice(None))))
            return [(f"{name}[{i}]", item) for i, item in enumerate(value)]
        elif isinstance(value, partial):
            return [("", value.func), *((f"argument {i + 1}", arg) for i, arg in enumerate(value.args))]
        elif inspect.ismethod(value):
            return [("", value.__self__), ("", value.__func__)]
        elif inspect.isfunction(value) and not value.__code__.co_filename.startswith(NOT_THE_USERS):
            return [*self._variables(value), *(("", item) for item in value.__defaults__ or ())]
        elif hasattr(value, "__dict__") and not (isinstance(value, type) or inspect.ismodule(value) or callable(value)):
            return list(vars(value).items())
        return []

    def _variables(self, function: Any) -> list[tuple[str, Any]]:
        """The variables of others that a function refers to."""
        code, variables = function.__code__, function.__globals__
        cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
        held: list[tuple[str, Any, Callable[[], Any], Callable[[Any], None]]] = []
        for name, cell in cells:
            with contextlib.suppress(ValueError):  # a variable that has no value yet
                get = partial(getattr, cell, "cell_contents")
                held.append((name, get(), get, partial(setattr, cell, "cell_contents")))
        for name in code.co_names:
            if name in variables:
                held.append((name, variables[name], partial(variables.get, name), partial(variables.__setitem__, name)))
        self.holders += [
            (get, put) for _, value, get, put in held if isinstance(value, (Tensor, np.number, int, float))
        ]
        return [(name, value) for name, value, *_ in held]


MANY = 1000
"""Of longer lists nobody looks at the items."""


class Snapshot:
    """The state of all that was found, and of some arrays, to be restored as often as needed."""

    def __init__(self, found: Found, *values: Any) -> None:
        tensors = {*found.tensors.values()}
        tensors |= {parameter for optimizer in found.optimizers for parameter in optimizer.params}
        modules = [*found.modules.values()]
        tensors |= {parameter for module in modules for parameter in module.parameters()}
        arrays = [value for module in modules for value in vars(module).values()]
        arrays += [value.array if isinstance(value, Tensor) else value for value in values]
        buffers = [value for value in arrays if isinstance(value, np.ndarray) and value.dtype != object]
        self._tensors = [(tensor, tensor.data, tensor.node, tensor.grad) for tensor in tensors]
        gradients = [gradient for *_, gradient in self._tensors if gradient is not None]
        contents = [*(tensor.data for tensor in tensors), *buffers, *gradients]
        self._contents = [(array, array.copy()) for array in contents]
        self._attributes = [(owner, dict(vars(owner))) for owner in (*modules, *found.optimizers)]
        self._holders = [(set_to, get()) for get, set_to in found.holders]
        self._generators = [
            (generator.bit_generator, copy.deepcopy(generator.bit_generator.state)) for generator in found.generators
        ]
        self._global_generator = np.random.get_state()
        self._optimizers = [(optimizer, optimizer.state_dict()) for optimizer in found.optimizers]

    def restore(self) -> None:
        """Bring everything back to the state at the time of the snapshot."""
        for set_to, items in self._holders:
            set_to(items)
        for owner, attributes in self._attributes:
            vars(owner).clear()
            vars(owner).update(attributes)
        for tensor, data, node, gradient in self._tensors:
            tensor.data, tensor.node = data, node
            if node is not None:
                node.grad = gradient
        for array, content in self._contents:
            if array.flags.writeable and not np.array_equal(array, content, equal_nan=content.dtype.kind in "fc"):
                array[...] = content
        for bit_generator, state_of_it in self._generators:
            bit_generator.state = state_of_it
        np.random.set_state(self._global_generator)
        for optimizer, saved in self._optimizers:
            optimizer.load_state_dict(saved)
