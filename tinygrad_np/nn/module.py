"""`Module`: an object that finds the parameters and modules assigned to its attributes.

Assignment order is the order of `parameters()`, and attribute names joined by dots are the keys of `state_dict()`,
as in PyTorch, so that weights can be exchanged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from tinygrad_np.errors import CheckpointError, ShapeError
from tinygrad_np.recording import Scope, State, state
from tinygrad_np.tensor import Tensor


class Parameter(Tensor):
    """A Tensor that a Module learns: it requires a gradient, and is float32 unless asked otherwise.

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
        """The computation; what calling the module does."""
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        outer = state.get()
        token = state.set(State(outer.enabled, Scope(self, outer.scope), outer.watches))
        try:
            return self.forward(*inputs, **options)
        except ShapeError as error:
            error.modules.insert(0, self)
            raise
        finally:
            state.reset(token)

    def _children(self) -> Iterator[tuple[str, Module]]:
        return ((name, value) for name, value in vars(self).items() if isinstance(value, Module))

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """This module, under the name "", and all modules in it, each once, by their dotted names."""
        seen: set[Module] = set()
        for name, module in self._places():
            if module not in seen:
                seen.add(module)
                yield name, module

    def _places(self) -> Iterator[tuple[str, Module]]:
        """As `named_modules`, but a module that stands in several places comes with each of its names."""
        stack: list[tuple[str, Module]] = [("", self)]
        while stack:
            name, module = stack.pop()
            yield name, module
            stack += reversed([(f"{name}.{child}" if name else child, value) for child, value in module._children()])

    def modules(self) -> Iterator[Module]:
        """This module and all modules in it, each once."""
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """All parameters, each once, by their dotted names."""
        seen: set[Tensor] = set()
        for name, value in self._named_state():
            if isinstance(value, Tensor) and value not in seen:
                seen.add(value)
                yield name, value

    def parameters(self) -> Iterator[Tensor]:
        """All parameters, each once."""
        return (parameter for _, parameter in self.named_parameters())

    def _named_state(self) -> Iterator[tuple[str, Tensor | np.ndarray]]:
        for prefix, module in self._places():
            for name, value in vars(module).items():
                if isinstance(value, (Parameter, np.ndarray)):
                    yield f"{prefix}.{name}" if prefix else name, value

    def state_dict(self) -> dict[str, np.ndarray]:
        """The arrays of all parameters and buffers by their dotted names; not copies."""
        return {name: value.data if isinstance(value, Tensor) else value for name, value in self._named_state()}

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        """Copy arrays into the parameters and buffers, all or, if one does not fit, none.

        Raises:
            CheckpointError: names are missing or unknown, or shapes or kinds of dtypes differ; says which.
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
        """Put this module and all in it into training mode: dropout drops, batch normalisation uses the batch."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Put this module and all in it into evaluation mode."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.parameters():
            parameter.grad = None

    def extra_repr(self) -> str:
        """What stands between the parentheses of the module's name in `repr`."""
        return ""

    def __repr__(self) -> str:
        lines = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self._children()]
        body = "\n  ".join(["", *lines]) + "\n" if lines else self.extra_repr()
        return f"{type(self).__name__}({body})"
