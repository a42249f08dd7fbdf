"""Modules that hold modules, in order or under names. Unlike Python's own lists and dicts, they let them be found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, MutableSequence
from typing import Any, overload

import numpy as np

from tinygrad_np.errors import ArgumentError, ArgumentTypeError
from tinygrad_np.nn.module import Module
from tinygrad_np.tensor import Tensor

__all__ = ["ModuleDict", "ModuleList", "Sequential"]


class ModuleList(Module, MutableSequence[Module]):
    """A list of modules, with the methods of Python's lists. The names of the modules are "0", "1" ...

    Args:
        modules: the modules, in order.

    Raises:
        ArgumentTypeError: an item is not a Module.

    >>> class Net(Module):
    ...     def __init__(self):
    ...         self.layers = ModuleList(Module() for _ in range(2))
    >>> [name for name, _ in Net().named_modules()]
    ['', 'layers', 'layers.0', 'layers.1']
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        if not isinstance(modules, Iterable):
            raise ArgumentTypeError(f"{type(self).__name__} takes a list of modules, not {modules!r}")
        self._hold(list(modules))

    def _hold(self, modules: list[Module]) -> None:
        """Hold these modules and no others, numbered from 0."""
        for i, module in enumerate(modules):
            if not isinstance(module, Module):
                remedy = ""
                if isinstance(module, type):
                    remedy = f"; make an object of the class, {module.__name__}(...)"
                elif isinstance(module, (list, tuple)) and isinstance(self, Sequential):
                    remedy = "; unpack it with *, as in Sequential(*layers)"
                raise ArgumentTypeError(
                    f"{type(self).__name__} takes modules, such as nn.ReLU(), but its argument number {i + 1} is "
                    f"{module!r}{remedy}"
                )
        for name, _ in list(self.named_children()):
            delattr(self, name)
        for i, module in enumerate(modules):
            setattr(self, str(i), module)

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __len__(self) -> int:
        return len(list(self.children()))

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> ModuleList: ...
    def __getitem__(self, index: int | slice) -> Module | ModuleList:
        found = list(self.children())[index]
        if isinstance(found, Module):
            return found
        return Sequential(*found) if isinstance(self, Sequential) else ModuleList(found)

    def __setitem__(self, index: int | slice, value: Any) -> None:
        modules = list(self.children())
        modules[index] = value
        self._hold(modules)

    def __delitem__(self, index: int | slice) -> None:
        modules = list(self.children())
        del modules[index]
        self._hold(modules)

    def insert(self, index: int, module: Module) -> None:
        """Insert a module before the one at `index`. Those after it get new names."""
        modules = list(self.children())
        modules.insert(index, module)
        self._hold(modules)


class Sequential(ModuleList):
    """Modules applied one after the other. It is a list of them too: their names are "0", "1" ...

    Args:
        *modules: each takes the output of the one before. Without any, the output is the input.

    Raises:
        ArgumentTypeError: an argument is not a Module.

    >>> from tinygrad_np import nn
    >>> Sequential(nn.Linear(2, 3), nn.ReLU())
    Sequential(
      (0): Linear(2, 3)
      (1): ReLU()
    )
    """

    def __init__(self, *modules: Module) -> None:
        self._hold(list(modules))

    def forward(self, x: Tensor | np.ndarray) -> Tensor | np.ndarray:
        for module in self.children():
            x = module(x)
        return x


class ModuleDict(Module, MutableMapping[str, Module]):
    """A dict of modules, with the methods of Python's dicts. The names of the modules are their keys.

    Args:
        modules: a dict of modules, or pairs of a key and a module.

    Raises:
        ArgumentTypeError: a value is not a Module, or a key is not a string.
        ArgumentError: a key is empty, has a dot, which separates the names in `state_dict`, or is a method's name.

    >>> class Net(Module):
    ...     def __init__(self):
    ...         self.heads = ModuleDict({"a": Module(), "b": Module()})
    >>> [name for name, _ in Net().named_modules()]
    ['', 'heads', 'heads.a', 'heads.b']
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] = ()) -> None:
        self.update(modules)

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self.named_children())

    def __len__(self) -> int:
        return len(list(self.children()))

    def __getitem__(self, key: str) -> Module:
        return dict(self.named_children())[key]

    def __setitem__(self, key: str, module: Module) -> None:
        if not isinstance(module, Module):
            raise ArgumentTypeError(f"ModuleDict takes modules, such as nn.ReLU(), but {key!r} is {module!r}")
        if not isinstance(key, str):
            raise ArgumentTypeError(f"the keys of a ModuleDict are strings, but one is {key!r}")
        if not key or "." in key or hasattr(type(self), key):
            raise ArgumentError(
                f"{key!r} cannot be a key of a ModuleDict: keys are names without dots that are no names of its "
                "methods; choose another"
            )
        setattr(self, key, module)

    def __delitem__(self, key: str) -> None:
        self[key]  # a KeyError for the name of anything else
        delattr(self, key)

    __eq__ = object.__eq__  # modules are equal only to themselves; a Mapping would compare contents
    __hash__ = object.__hash__
