"""The layers: thin modules over `functional`, under PyTorch's names and with its defaults.

Shapes: N is the batch, `...` any axes. A layer computes in the dtype that NumPy gives its input and its parameters.
"""

from __future__ import annotations

import math

import numpy as np

from tinygrad_np import functional
from tinygrad_np.arguments import ArrayLike, DTypeLike, Seed, fraction, integer, number, random_generator, require
from tinygrad_np.engine import apply
from tinygrad_np.errors import ArgumentTypeError, ShapeError
from tinygrad_np.functional.layers import add_in_place, row
from tinygrad_np.nn import init
from tinygrad_np.nn.module import Module, Parameter
from tinygrad_np.tensor import Tensor

__all__ = [
    "GELU",
    "BatchNorm1d",
    "Dropout",
    "Embedding",
    "Flatten",
    "Identity",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "ReLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "Unflatten",
    "weight_and_bias",
]


def weight_and_bias(
    shape: tuple[int, ...], bias: bool, generator: Seed, dtype: DTypeLike
) -> tuple[Parameter, Parameter | None]:
    """A weight of this shape and, if wanted, a bias for each of its outputs, both with PyTorch's initial values."""
    if not isinstance(bias, (bool, np.bool_)):
        raise ArgumentTypeError(f"bias must be True or False, but is {bias!r}; a seed goes to generator=")
    generator = random_generator(generator)
    made = [Parameter(np.empty(lengths, dtype), dtype=dtype) for lengths in ([shape, shape[:1]] if bias else [shape])]
    for parameter in made:
        init.pytorch_default_(parameter, math.prod(shape[1:]), generator)
    return made[0], made[1] if bias else None


class Linear(Module):
    """The affine map x @ weight.T + bias, from shape (..., in_features) to shape (..., out_features).

    `weight` has shape (out_features, in_features), `bias` shape (out_features,).

    Args:
        in_features, out_features: at least 1.
        bias: whether there is a bias; without one, `bias` is None.
        generator: draws the initial values, as `init.pytorch_default_` does; or the seed of one.
        dtype: of the parameters.

    Raises:
        ArgumentError: a number of features is below 1, or no integer.
        ArgumentTypeError: `bias` is no bool, or `generator` neither a generator nor a seed.
        ShapeError: when called, if the last axis of the input does not have in_features.

    >>> Linear(784, 10)(np.zeros((32, 784), dtype=np.float32)).shape
    (32, 10)
    """

    bias: Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        generator: Seed = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        shape = integer("out_features", out_features, 1), integer("in_features", in_features, 1)
        self.weight, self.bias = weight_and_bias(shape, bias, generator, dtype)

    def forward(self, x: Tensor | np.ndarray) -> Tensor:
        return functional.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        out_features, in_features = self.weight.shape
        return f"{in_features}, {out_features}{'' if self.bias is not None else ', bias=False'}"


class Embedding(Module):
    """A row of a table for each index, from integers of shape (...) to shape (..., embedding_dim).

    `weight`, the table, has shape (num_embeddings, embedding_dim). See `functional.embedding`.

    Args:
        num_embeddings, embedding_dim: at least 1.
        padding_idx: the index of a row that starts at zeros and is not learned, for what only fills up a sequence.
        generator: draws the initial values from the standard normal distribution, as in PyTorch; or the seed of one.
        dtype: of the table.

    Raises:
        ArgumentError: a number is out of range; and when called, an index.
        ArgumentTypeError: `generator` is neither a generator nor a seed.
        DTypeError: when called, if the indices are no integers.

    >>> Embedding(1000, 16)(np.array([[3, 1, 4], [1, 5, 9]])).shape
    (2, 3, 16)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        generator: Seed = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        shape = integer("num_embeddings", num_embeddings, 1), integer("embedding_dim", embedding_dim, 1)
        self.padding_idx = None if padding_idx is None else row(padding_idx, shape[0])
        self.weight = Parameter(np.empty(shape, dtype), dtype=dtype)
        init.normal_(self.weight, generator=generator)
        if self.padding_idx is not None:
            self.weight.detach()[self.padding_idx] = 0

    def forward(self, indices: ArrayLike | Tensor) -> Tensor:
        return functional.embedding(indices, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{', '.join(map(str, self.weight.shape))}{padding}"


class Identity(Module):
    """The input itself."""

    def forward(self, x: Tensor | np.ndarray) -> Tensor | np.ndarray:
        return x


class Flatten(Module):
    """All axes but the first in one: from shape (N, ...) to shape (N, features)."""

    def forward(self, x: Tensor | np.ndarray) -> Tensor | np.ndarray:
        return x.reshape(x.shape[0], math.prod(x.shape[1:]))


class Unflatten(Module):
    """One axis as several, such as rows of pixels as images. See `numpy.reshape`.

    Args:
        dim: the axis.
        unflattened_size: the lengths of the axes that take its place.

    Raises:
        ShapeError: when called, if the axis does not have as many elements.

    >>> Unflatten(1, (1, 28, 28))(np.zeros((32, 784))).shape
    (32, 1, 28, 28)
    """

    def __init__(self, dim: int, unflattened_size: tuple[int, ...]) -> None:
        self.dim = integer("dim", dim)
        self.unflattened_size = tuple(integer("unflattened_size", length, 0) for length in unflattened_size)

    def forward(self, x: Tensor | np.ndarray) -> Tensor | np.ndarray:
        dim = self.dim % x.ndim
        length = math.prod(self.unflattened_size)
        if x.shape[dim] != length:
            raise ShapeError(
                f"the input has shape {x.shape}, but its axis {self.dim} should have {length} elements, to become "
                f"{self.unflattened_size}"
            )
        return x.reshape(*x.shape[:dim], *self.unflattened_size, *x.shape[dim + 1 :])

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


class ReLU(Module):
    """max(x, 0) for each element, from shape (...) to shape (...). See `functional.relu`."""

    def forward(self, x: Tensor | np.ndarray) -> Tensor | np.ndarray:
        return functional.relu(x)


class LeakyReLU(Module):
    """x where x > 0, else negative_slope * x; from shape (...) to shape (...). See `functional.leaky_relu`.

    Args:
        negative_slope: the derivative where x <= 0.
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = number("negative_slope", negative_slope)

    def forward(self, x: Tensor | np.ndarray) -> Tensor | np.ndarray:
        return functional.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        return str(self.negative_slope)


class GELU(Module):
    """x times the normal distribution function of x, from shape (...) to shape (...). See `functional.gelu`.

    Args:
        approximate: "tanh" for an approximation that is faster.

    Raises:
        ArgumentError: it is neither "none" nor "tanh".
    """

    def __init__(self, approximate: str = "none") -> None:
        functional.gelu(np.zeros(0), approximate)  # which refuses what it does not know
        self.approximate = approximate

    def forward(self, x: Tensor | np.ndarray) -> Tensor | np.ndarray:
        return functional.gelu(x, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}" if self.approximate != "none" else ""


class Sigmoid(Module):
    """1 / (1 + exp(-x)) for each element, from shape (...) to shape (...). See `functional.sigmoid`."""

    def forward(self, x: Tensor | np.ndarray) -> Tensor | np.ndarray:
        return functional.sigmoid(x)


class Tanh(Module):
    """The hyperbolic tangent of each element, from shape (...) to shape (...). It is `numpy.tanh`."""

    def forward(self, x: Tensor | np.ndarray) -> Tensor | np.ndarray:
        return np.tanh(x)


class Softplus(Module):
    """log(1 + exp(x)) for each element, from shape (...) to shape (...). See `functional.softplus`."""

    def forward(self, x: Tensor | np.ndarray) -> Tensor | np.ndarray:
        return functional.softplus(x)


class Softmax(Module):
    """exp(x) / sum(exp(x)) over one axis, from shape (...) to shape (...). See `functional.softmax`.

    Args:
        axis: the axis along which the results are positive and sum to 1.
    """

    def __init__(self, axis: int = -1) -> None:
        self.axis = integer("axis", axis)

    def forward(self, x: Tensor | np.ndarray) -> Tensor | np.ndarray:
        return functional.softmax(x, self.axis)

    def extra_repr(self) -> str:
        return f"axis={self.axis}"


class LogSoftmax(Module):
    """The logarithm of softmax over one axis, from shape (...) to shape (...). See `functional.log_softmax`.

    Args:
        axis: the axis along which the exponentials of the results sum to 1.
    """

    def __init__(self, axis: int = -1) -> None:
        self.axis = integer("axis", axis)

    def forward(self, x: Tensor | np.ndarray) -> Tensor | np.ndarray:
        return functional.log_softmax(x, self.axis)

    def extra_repr(self) -> str:
        return f"axis={self.axis}"


class Dropout(Module):
    """Set elements to zero at random and scale up the others, from shape (...) to shape (...).

    In evaluation mode the output is the input. See `functional.dropout`.

    Args:
        p: the probability that an element is dropped, at least 0 and less than 1.
        generator: where the randomness comes from; or the seed of a generator of its own.

    Raises:
        ArgumentError: p is out of range.
        ArgumentTypeError: p is no number, or `generator` neither a generator nor a seed.
    """

    def __init__(self, p: float = 0.5, generator: Seed = None) -> None:
        self.p = fraction("p", p)
        self.generator = random_generator(generator)

    def forward(self, x: Tensor | np.ndarray) -> Tensor | np.ndarray:
        return functional.dropout(x, self.p, self.generator, self.training)

    def extra_repr(self) -> str:
        return str(self.p)


class LayerNorm(Module):
    """Standardise each sample over its last axes, then scale and shift; the shape (..., *normalized_shape) stays.

    `weight` and `bias` have shape normalized_shape and start at 1 and 0. See `functional.layer_norm`.

    Args:
        normalized_shape: the lengths of the axes over which mean and variance are taken; an int is one axis.
        eps: is added to the variance, so that a constant sample divides by more than 0.
        dtype: of the parameters.

    Raises:
        ShapeError: when called, if the shape of the input does not end in normalized_shape.
    """

    def __init__(
        self, normalized_shape: int | tuple[int, ...], eps: float = 1e-5, dtype: DTypeLike = np.float32
    ) -> None:
        lengths = normalized_shape if isinstance(normalized_shape, (tuple, list)) else (normalized_shape,)
        require(len(lengths) > 0, "normalized_shape", normalized_shape, "the lengths of one axis or more")
        self.normalized_shape = tuple(integer("normalized_shape", length, least=1) for length in lengths)
        self.eps = number("eps", eps)
        self.weight = Parameter(np.ones(self.normalized_shape), dtype=dtype)
        self.bias = Parameter(np.zeros(self.normalized_shape), dtype=dtype)

    def forward(self, x: Tensor | np.ndarray) -> Tensor | np.ndarray:
        return functional.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return str(self.normalized_shape)


class BatchNorm1d(Module):
    """Standardise each feature, then scale and shift, from shape (N, num_features) to shape (N, num_features).

    In training mode mean and variance are the batch's; in evaluation mode they are the running ones, which every call
    in training mode moves towards the batch's. See `functional.batch_norm`.

    `weight` and `bias` have shape (num_features,) and start at 1 and 0. The buffers `running_mean` and `running_var`,
    of the same shape, and `num_batches_tracked`, a scalar, are part of the state, under PyTorch's names.

    Args:
        num_features: the number of columns of the input.
        eps: is added to the variance, so that a constant feature divides by more than 0.
        momentum: the share of the way that the running statistics move at each call.
        dtype: of the parameters and the running statistics.

    Raises:
        ShapeError: when called, if the input does not have shape (N, num_features), or N is 1 in training mode.
    """

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, dtype: DTypeLike = np.float32
    ) -> None:
        num_features = integer("num_features", num_features, least=1)
        self.eps, self.momentum = number("eps", eps), number("momentum", momentum)
        self.weight = Parameter(np.ones(num_features), dtype=dtype)
        self.bias = Parameter(np.zeros(num_features), dtype=dtype)
        self.running_mean = np.zeros(num_features, dtype)
        self.running_var = np.ones(num_features, dtype)
        self.num_batches_tracked = np.zeros((), np.int64)

    def forward(self, x: Tensor | np.ndarray) -> Tensor | np.ndarray:
        out = functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.training, self.momentum, self.eps
        )
        if self.training:
            apply(add_in_place, (self.num_batches_tracked, 1))
        return out

    def extra_repr(self) -> str:
        return str(len(self.running_mean))
