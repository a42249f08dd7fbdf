"""The layers: thin modules over `functional`. N is the batch, `...` any axes; activations keep the shape."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from tinygrad_np import functional
from tinygrad_np.errors import ArgumentError, ArgumentTypeError
from tinygrad_np.nn import init
from tinygrad_np.nn.module import Module, Parameter


class Linear(Module):
    """The affine map x @ weight.T + bias, from shape (..., in_features) to shape (..., out_features).

    Args:
        in_features, out_features: at least 1.
        bias: whether there is a bias, of shape (out_features,). The weight has shape (out_features, in_features).
        generator: draws the initial values, by PyTorch's default initialisation. `numpy.random.default_rng()` if None.
        dtype: of the parameters.

    Raises:
        ArgumentError: a number of features below 1.
        ShapeError: when called with an input of another number of features.

    >>> Linear(784, 10)(np.zeros((32, 784), dtype=np.float32)).shape
    (32, 10)
    """

    bias: Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        generator: np.random.Generator | None = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        if in_features < 1 or out_features < 1:
            raise ArgumentError(f"a Linear layer needs at least 1 feature, not {in_features} in and {out_features} out")
        generator = generator or np.random.default_rng()
        self.weight = Parameter(np.empty((out_features, in_features), dtype), dtype=dtype)
        self.bias = Parameter(np.empty(out_features, dtype), dtype=dtype) if bias else None
        for parameter in self.parameters():
            init.pytorch_default_(parameter, in_features, generator)

    def forward(self, x: Any, relu: bool = False) -> Any:
        return functional.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        out_features, in_features = self.weight.shape
        return f"{in_features}, {out_features}{'' if self.bias is not None else ', bias=False'}"


class Sequential(Module):
    """Modules applied one after the other, under the names "0", "1" ...

    Raises ArgumentTypeError for what is no module.

    A Linear followed by a ReLU is computed as one operation, `functional.linear_relu`.

    >>> Sequential(Linear(2, 3), ReLU())
    Sequential(
      (0): Linear(2, 3)
      (1): ReLU()
    )
    """

    _in_order: list[Module]
    _calls: list[tuple[Module, Module | None]]

    def __init__(self, *modules: Module) -> None:
        for i, module in enumerate(modules):
            if not isinstance(module, Module):
                raise ArgumentTypeError(
                    f"Sequential takes modules, such as nn.ReLU(), but its argument number {i + 1} is {module!r}"
                )
            vars(self)[str(i)] = module
        self._arrange()

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        self._arrange()

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        self._arrange()

    def _arrange(self) -> None:
        """Find the modules in order, and pair each Linear with the ReLU that follows it."""
        modules = [module for _, module in self._children()]
        calls: list[tuple[Module, Module | None]] = []
        for module in modules:
            if calls and type(module) is ReLU and type(calls[-1][0]) is Linear and calls[-1][1] is None:
                calls[-1] = (calls[-1][0], module)
            else:
                calls.append((module, None))
        vars(self).update(_in_order=modules, _calls=calls)

    def forward(self, x: Any) -> Any:
        for module, relu in self._calls:
            if relu is None:
                x = module(x)
            elif "forward" in module.__dict__ or "forward" in relu.__dict__:  # put in by hand
                x = relu(module(x))
            else:
                x = relu(module(x))
        return x

    def __iter__(self) -> Iterator[Module]:
        return iter(self._in_order)

    def __len__(self) -> int:
        return len(self._in_order)

    def __getitem__(self, index: int) -> Module:
        return self._in_order[index]


class Identity(Module):
    """The input itself."""

    def forward(self, x: Any) -> Any:
        return x


class Flatten(Module):
    """From shape (N, ...) to shape (N, features)."""

    def forward(self, x: Any) -> Any:
        return np.reshape(x, (x.shape[0], math.prod(x.shape[1:])))


class ReLU(Module):
    """See `functional.relu`."""

    def forward(self, x: Any) -> Any:
        return functional.relu(x)


class LeakyReLU(Module):
    """See `functional.leaky_relu`."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Any) -> Any:
        return functional.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        return str(self.negative_slope)


class GELU(Module):
    """See `functional.gelu`."""

    def forward(self, x: Any) -> Any:
        return functional.gelu(x)


class Sigmoid(Module):
    """See `functional.sigmoid`."""

    def forward(self, x: Any) -> Any:
        return functional.sigmoid(x)


class Tanh(Module):
    """The hyperbolic tangent, `numpy.tanh`."""

    def forward(self, x: Any) -> Any:
        return np.tanh(x)


class Softplus(Module):
    """See `functional.softplus`."""

    def forward(self, x: Any) -> Any:
        return functional.softplus(x)


class Softmax(Module):
    """See `functional.softmax`."""

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Any:
        return functional.softmax(x, self.axis)


class LogSoftmax(Module):
    """See `functional.log_softmax`."""

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Any:
        return functional.log_softmax(x, self.axis)


class Dropout(Module):
    """See `functional.dropout`; does nothing in evaluation mode.

    Args:
        p: the probability of an element to be dropped.
        generator: where the randomness comes from. `numpy.random.default_rng()` if None.
    """

    def __init__(self, p: float = 0.5, generator: np.random.Generator | None = None) -> None:
        if not 0 <= p < 1:
            raise ArgumentError(f"dropout's p must be at least 0 and less than 1, not {p}")
        self.p = p
        self.generator = generator or np.random.default_rng()

    def forward(self, x: Any) -> Any:
        return functional.dropout(x, self.p, self.generator, self.training)

    def extra_repr(self) -> str:
        return str(self.p)


class LayerNorm(Module):
    """See `functional.layer_norm`; weight starts at 1 and bias at 0."""

    def __init__(
        self, normalized_shape: int | tuple[int, ...], eps: float = 1e-5, dtype: DTypeLike = np.float32
    ) -> None:
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps = eps
        self.weight = Parameter(np.ones(self.normalized_shape), dtype=dtype)
        self.bias = Parameter(np.zeros(self.normalized_shape), dtype=dtype)

    def forward(self, x: Any) -> Any:
        return functional.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return str(self.normalized_shape)


class BatchNorm1d(Module):
    """See `functional.batch_norm`, for inputs of shape (N, num_features); weight starts at 1 and bias at 0.

    `running_mean`, `running_var` and `num_batches_tracked` are buffers, part of the state, under PyTorch's names.
    """

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, dtype: DTypeLike = np.float32
    ) -> None:
        self.eps, self.momentum = eps, momentum
        self.weight = Parameter(np.ones(num_features), dtype=dtype)
        self.bias = Parameter(np.zeros(num_features), dtype=dtype)
        self.running_mean = np.zeros(num_features, dtype)
        self.running_var = np.ones(num_features, dtype)
        self.num_batches_tracked = np.zeros((), np.int64)

    def forward(self, x: Any) -> Any:
        out = functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.training, self.momentum, self.eps
        )
        if self.training:
            self.num_batches_tracked += 1
        return out

    def extra_repr(self) -> str:
        return str(len(self.running_mean))
