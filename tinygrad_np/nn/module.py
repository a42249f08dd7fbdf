"""`Module`: an object that finds the parameters and modules assigned to its attributes.

As in PyTorch, `parameters()` come in the order in which they were assigned, and the keys of `state_dict()` are the
names of the attributes, joined by dots. So the weights of the same network load there and here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from tinygrad_np.errors import CheckpointError, ShapeError
from tinygrad_np.printing import printable
from tinygrad_np.recording import Scope, State, state
from tinygrad_np.tensor import Tensor

__all__ = ["Module", "Parameter"]


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


class Module:
    """Base class of layers and networks. Subclasses assign parameters and modules in `__init__`, and define `forward`.

    NumPy arrays assigned to attributes are buffers: part of the state, but not learned, such as running means.

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
        """
        outer = state.get()
        state.set(State(outer.suspended, Scope(self, outer.scope), outer.watches))
        try:
            output: Tensor = self.forward(*inputs, **options)
            return output
        except ShapeError as error:
            error.modules.insert(0, self)
            raise
        finally:
            now = state.get()
            state.set(State(now.suspended, outer.scope, now.watches))

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
        """This module, under the name "", and all modules in it, each once, with their dotted names."""
        seen: set[Module] = set()
        for name, module in self._places():
            if module not in seen:
                seen.add(module)
                yield name, module

    def _places(self) -> Iterator[tuple[str, Module]]:
        """Like `named_modules`, but a module that stands in several places comes under each of its names."""
        stack: list[tuple[str, Module]] = [("", self)]
        while stack:
            name, module = stack.pop()
            yield name, module
            children = [(f"{name}.{child}" if name else child, value) for child, value in module.named_children()]
            stack += reversed(children)

    def modules(self) -> Iterator[Module]:
        """This module and all modules in it, each once."""
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """All parameters in this module and the modules in it, each once, with their dotted names."""
        seen: set[Tensor] = set()
        for name, value in self._named_state():
            if isinstance(value, Tensor) and value not in seen:
                seen.add(value)
                yield name, value

    def parameters(self) -> Iterator[Tensor]:
        """All parameters in this module and the modules in it, each once."""
        return (parameter for _, parameter in self.named_parameters())

    def _named_state(self) -> Iterator[tuple[str, Tensor | np.ndarray]]:
        """All parameters and buffers with their dotted names; one that stands in several places comes under each."""
        for prefix, module in self._places():
            for name, value in vars(module).items():
                if isinstance(value, (Parameter, np.ndarray)):
                    yield f"{prefix}.{name}" if prefix else name, value

    def state_dict(self) -> dict[str, np.ndarray]:
        """The arrays of all parameters and buffers, by their dotted names.

        Returns:
            The arrays themselves, not copies: the next training step changes them.
        """
        return {name: value.data if isinstance(value, Tensor) else value for name, value in self._named_state()}

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        """Copy arrays into the parameters and buffers: all of them, or none if one does not fit.

        Args:
            state: an array for each key of `state_dict`, of its shape. It may have another dtype of the same kind.

        Raises:
            CheckpointError: names are missing or unknown, or shapes or kinds of dtypes differ; the message says which.
        """
        own = self.state_dict()
        given = {name: np.array(array) for name, array in state.items()}  # copies: they may be this module's own
        problems = [f"{name} is missing" for name in own if name not in given]
        problems += [f"{name} is unknown" for name in given if name not in own]
        problems += [
            f"{name} has shape {given[name].shape} instead of {array.shape}"
            for name, array in own.items()
            if name in given and given[name].shape != array.shape
        ]
        problems += [
            f"{name} has dtype {given[name].dtype} instead of {array.dtype}"
            for name, array in own.items()
            if name in given and not np.can_cast(given[name].dtype, array.dtype, "same_kind")
        ]
        if problems:
            raise CheckpointError(f"the weights are of another architecture than this model: {'; '.join(problems)}")
        for name, array in own.items():
            array[...] = given[name]

    def train(self, mode: bool = True) -> Self:
        """Put this module and all modules in it into training mode: Dropout drops, BatchNorm1d uses the batch.

        Args:
            mode: False for evaluation mode.

        Returns:
            This module.
        """
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Put this module and all modules in it into evaluation mode, and return this module."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Set every parameter's `.grad` to None."""
        for parameter in self.parameters():
            parameter.grad = None

    def extra_repr(self) -> str:
        """What `repr` shows in parentheses after the name of the class, for a module without children."""
        return ""

    def __repr__(self) -> str:
        lines = [f"({printable(name)}): {child!r}".replace("\n", "\n  ") for name, child in self.named_children()]
        body = "\n  ".join(["", *lines]) + "\n" if lines else self.extra_repr()
        return f"{type(self).__name__}({body})"
