"""The optimizers: rules that turn a gradient into a step of its parameter.

`Optimizer` holds what all rules share: the parameters, the arrays that a rule remembers between steps, and the walk
over both. A rule is one method, `_update`, which reads like the lines of its paper.

An update is a dozen NumPy calls. On whole arrays with temporaries, each call would stream its arrays through memory. So
a parameter is updated in place, in chunks that stay in the cache during all calls of a rule, with scratch arrays that
are made once.
"""

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_np import recording
from tinygrad_np.arguments import ArrayLike, number, require
from tinygrad_np.errors import (
    ArgumentError,
    ArgumentTypeError,
    CheckpointError,
    DTypeError,
    ShapeError,
    users_line,
    warn,
)
from tinygrad_np.spellings import OPTIMIZER, set_spellings
from tinygrad_np.tensor import Tensor
from tinygrad_np.writes import written

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "RMSprop"]

Array = NDArray[Any]

CHUNK = 32768
"""Elements updated at a time: enough to spread the cost of the calls, few enough to stay in the cache. Measured with
Adam on float32, half as many are slower by a sixth, and two or four times as many hardly faster."""


class Optimizer(ABC):
    """Base class of the optimizers. They update `.data` in place: a parameter keeps its array object.

    Args:
        params: any iterable of leaf Tensors that require grad, real floating point, of any shapes. Frozen parameters of
            a module are skipped, for as long as they are frozen.
        lr: the learning rate, a finite number >= 0. Set it at any time, for example from a schedule.
        weight_decay: adds weight_decay * p to each gradient, which is the gradient of the penalty weight_decay / 2
            |p|^2. AdamW decays in its own way.
        state_names: the names of what the rule remembers for each parameter: one array of the parameter's shape and
            dtype each, zeros at first.

    Raises:
        ArgumentError: no parameter can be trained, one comes twice or is no leaf, or a number is out of range.
        ArgumentTypeError: `params` is no iterable, or a number is something else.
        DTypeError: a parameter is complex.
    """

    params: list[Tensor]
    """The parameters, in the order given."""

    weight_decay: float

    decoupled = False
    """Whether the rule applies `weight_decay` itself."""

    def __init__(self, params: Iterable[Tensor], lr: float, weight_decay: float, state_names: Sequence[str]) -> None:
        self.lr = lr
        self.weight_decay = number("weight_decay", weight_decay)
        require(0 <= self.weight_decay < math.inf, "weight_decay", self.weight_decay, "a finite number >= 0")
        self.params = _checked(params)
        self._steps = [0] * len(self.params)
        self._state_names = state_names
        self._state = [[np.zeros(p.size, p.dtype) for _ in state_names] for p in self.params]
        # Two arrays to compute in, shared by all parameters of a dtype.
        self._scratch = {dtype: np.empty((2, CHUNK), dtype) for dtype in {p.dtype for p in self.params}}
        self._made_for = [(p.shape, p.dtype) for p in self.params]
        self._chunks: list[tuple[Array, Array, list[Any]] | None] = [None] * len(self.params)

    @property
    def lr(self) -> float:
        """The learning rate, as a Python float: one of NumPy's would turn float32 arithmetic into float64."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        value = number("lr", value)
        require(0 <= value < math.inf, "lr", value, "a finite number >= 0")
        self._lr = value

    def __repr__(self) -> str:
        names = [name for name in inspect.signature(type(self)).parameters if name != "params" and hasattr(self, name)]
        settings = [f"{name}={getattr(self, name)!r}" for name in names]
        return f"{type(self).__name__}({', '.join([f'{len(self.params)} parameters', *settings])})"

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_chunks": [None] * len(self.params)}  # a copy of a view is no view of the copy

    def _views(self, i: int, data: Array) -> tuple[Array, Array, list[Any]]:
        """The array of parameter `i`, the same array flat, and for each chunk the views that an update works on."""
        shape, dtype = self._made_for[i]
        if data.dtype != dtype or data.shape != shape:
            raise (ShapeError if data.dtype == dtype else DTypeError)(
                f"{_describe(i, self.params[i])} has shape {data.shape} and dtype {data.dtype}, but had {shape} and "
                f"{dtype} when the optimizer was made; convert parameters first, then make an optimizer for them"
            )
        flat = data.reshape(-1)  # a view; a copy if `data` is not contiguous
        scratch = self._scratch[dtype]
        chunks = []
        for start in range(0, data.size, CHUNK):
            p = flat[start : start + CHUNK]
            state = [array[start : start + CHUNK] for array in self._state[i]]
            chunks.append((slice(start, start + CHUNK), p, state, *scratch[:, : p.size]))
        return data, flat, chunks

    def step(self) -> None:
        """Update every parameter that has a gradient. One whose `.grad` is None, or that is frozen, stays as it is.

        Warns if none has a gradient, because that is nearly always a mistake.

        Raises:
            ShapeError: a parameter has another shape than when the optimizer was made.
            DTypeError: a parameter has another dtype than when the optimizer was made.
        """
        lr, l2 = self.lr, 0.0 if self.decoupled else float(self.weight_decay)
        if all(parameter.grad is None for parameter in self.params):
            warn(
                "none of the parameters has a gradient, so this step changes nothing; call backward() before it, after "
                "zero_grad(). If the model was copied, or its parameters replaced, make an optimizer for the new ones"
            )
        line, started = users_line(), perf_counter()
        by = (f"{type(self).__name__}.step()", *line)
        for i, parameter in enumerate(self.params):
            grad = parameter.grad
            if grad is None or not parameter.requires_grad:
                continue
            views = self._chunks[i]
            if views is None or parameter.data is not views[0] or not views[0].flags.c_contiguous:
                views = self._chunks[i] = self._views(i, parameter.data)
            data, flat, chunks = views
            self._steps[i] += 1
            grad = grad.reshape(-1)
            for chunk, p, state, s, decayed in chunks:
                g = grad if len(chunks) == 1 else grad[chunk]
                if l2:
                    np.multiply(p, l2, out=decayed)
                    g = np.add(g, decayed, out=decayed)
                self._update(lr, self._steps[i], p, g, state, s)
            if not data.flags.c_contiguous:
                data[...] = flat.reshape(data.shape)
            written(data, by)
        for watch in recording.state.get().watches:
            if hasattr(watch, "stepped"):
                watch.stepped(self, f"{line[0]}:{line[1]}", perf_counter() - started)

    @abstractmethod
    def _update(self, lr: float, t: int, p: Array, g: Array, state: Sequence[Array], s: Array) -> None:
        """Update one chunk of a parameter in place.

        Args:
            lr: the learning rate.
            t: the number of this parameter's step, from 1.
            p: the chunk, shape (n,), to be updated.
            g: its gradient, shape (n,), to be left alone.
            state: the chunk of each array of the state, shape (n,), to be updated.
            s: scratch of shape (n,) to compute in.
        """

    def zero_grad(self) -> None:
        """Set every parameter's `.grad` to None."""
        for parameter in self.params:
            parameter.grad = None

    def state_dict(self) -> dict[str, Array]:
        """What the optimizer remembers between steps, without the learning rate and its other arguments.

        Returns:
            Copies: `step`, the number of steps that each parameter took, int64 of shape (number of parameters,); and
            for each parameter i and each name that the optimizer documents, `name.i`, of the parameter's shape and
            dtype.
        """
        state: dict[str, Array] = {"step": np.array(self._steps, dtype=np.int64)}
        for i, (parameter, arrays) in enumerate(zip(self.params, self._state, strict=True)):
            for name, array in zip(self._state_names, arrays, strict=True):
                state[f"{name}.{i}"] = array.reshape(parameter.shape).copy()
        return state

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        """Restore a state that `state_dict` returned, bit by bit.

        Args:
            state: of an optimizer of the same class, with parameters of the same shapes and dtypes.

        Raises:
            CheckpointError: arrays are missing or unknown, or have another shape or dtype. Then nothing is changed.
            ArgumentTypeError: `state` is no dict.
        """
        if not isinstance(state, Mapping):
            raise ArgumentTypeError(f"load_state_dict takes what state_dict() returned, not a {type(state).__name__}")
        expected = self.state_dict()
        given = {key: np.asarray(value) for key, value in state.items()}
        if given.keys() != expected.keys():
            raise CheckpointError(
                f"this is not the state of {type(self).__name__} with these arguments and {len(self.params)} "
                f"parameters: missing {_some(expected.keys() - given.keys())}, "
                f"unknown {_some(given.keys() - expected.keys())}; load it into an optimizer made like the saved one"
            )
        for key, array in given.items():
            if array.shape != expected[key].shape or array.dtype != expected[key].dtype:
                raise CheckpointError(
                    f"{key} in the optimizer's state has shape {array.shape} and dtype {array.dtype}, but this "
                    f"{type(self).__name__} needs {expected[key].shape} and {expected[key].dtype}; "
                    "load it into an optimizer of the same parameters as the saved one"
                )
        self._steps = given["step"].tolist()
        for i, arrays in enumerate(self._state):
            for name, array in zip(self._state_names, arrays, strict=True):
                array[...] = given[f"{name}.{i}"].reshape(-1)


set_spellings(Optimizer, OPTIMIZER)


class SGD(Optimizer):
    r"""Stochastic gradient descent, with PyTorch's momentum and Nesterov momentum.

    $$ g \leftarrow g + \text{weight decay} \cdot p $$

    $$ b \leftarrow \text{momentum} \cdot b + g $$

    $$ p \leftarrow p - \text{lr} \cdot b, \quad \text{or with nesterov} \quad
       p \leftarrow p - \text{lr} \, (g + \text{momentum} \cdot b) $$

    b is remembered, as `momentum`, if momentum > 0.

    Source: Polyak, "Some methods of speeding up the convergence of iteration methods" (1964); Sutskever et al., "On the
    importance of initialization and momentum in deep learning" (2013), section 2. As in PyTorch, b sums gradients, and
    `lr` multiplies it when it is applied; in the paper b sums steps. The two differ only while `lr` changes.

    Args:
        params: the parameters, as for every `Optimizer`.
        lr: the learning rate, >= 0.
        momentum: at least 0 and less than 1.
        weight_decay: >= 0.
        nesterov: whether to use Nesterov momentum, which needs a momentum above 0.

    Raises:
        ArgumentError: a number is out of range, or `nesterov` is set without momentum.

    >>> p = Tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = SGD([p], lr=0.5)
    >>> p.grad = np.array([1.0, -1.0])
    >>> optimizer.step()
    >>> p.data
    array([0.5, 2.5])
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        momentum = _share("momentum", momentum)
        require(momentum > 0 or not nesterov, "momentum", momentum, "greater than 0 for nesterov")
        super().__init__(params, lr, weight_decay, ["momentum"] if momentum else [])
        self.momentum = momentum
        self.nesterov = nesterov

    def _update(self, lr: float, t: int, p: Array, g: Array, state: Sequence[Array], s: Array) -> None:
        if self.momentum:
            (b,) = state
            b *= self.momentum
            b += g
            if self.nesterov:
                np.multiply(b, self.momentum, out=s)
                g = np.add(g, s, out=s)
            else:
                g = b
        p -= np.multiply(g, lr, out=s)


class Adam(Optimizer):
    r"""Adam: steps of about `lr` in every coordinate, from running means of the gradient and of its square.

    $$ g \leftarrow g + \text{weight decay} \cdot p $$

    $$ m \leftarrow \beta_1 m + (1 - \beta_1) \, g, \qquad v \leftarrow \beta_2 v + (1 - \beta_2) \, g^2 $$

    $$ p \leftarrow p - \text{lr} \cdot \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \text{eps}} $$

    t counts steps from 1; m and v are remembered, as `exp_avg` and `exp_avg_sq`.

    Source: Kingma & Ba, "Adam: A Method for Stochastic Optimization" (2015), Algorithm 1, with its defaults.

    Args:
        params: the parameters, as for every `Optimizer`.
        lr: the learning rate, >= 0.
        betas: beta1 and beta2, each at least 0 and less than 1.
        eps: >= 0; keeps the division finite.
        weight_decay: >= 0.

    Raises:
        ArgumentError: a number is out of range.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        require(isinstance(betas, (tuple, list)) and len(betas) == 2, "betas", betas, "a pair of numbers")
        self.betas = _share("betas[0]", betas[0]), _share("betas[1]", betas[1])
        self.eps = _eps(eps)
        super().__init__(params, lr, weight_decay, ["exp_avg", "exp_avg_sq"])

    def _update(self, lr: float, t: int, p: Array, g: Array, state: Sequence[Array], s: Array) -> None:
        m, v = state
        beta1, beta2 = self.betas

        m *= beta1
        m += np.multiply(g, 1 - beta1, out=s)
        v *= beta2
        np.multiply(g, g, out=s)
        s *= 1 - beta2
        v += s
        # The paper's more efficient order (end of section 2): the corrections are folded into the scalars.
        correction = math.sqrt(1 - beta2**t)
        np.sqrt(v, out=s)
        s += self.eps * correction
        np.divide(m, s, out=s)
        s *= lr * correction / (1 - beta1**t)
        p -= s


class AdamW(Adam):
    r"""Adam with the decay decoupled from the gradient.

    First $p \leftarrow p - \text{lr} \cdot \text{weight decay} \cdot p$, then Adam's step.

    Source: Loshchilov & Hutter, "Decoupled Weight Decay Regularization" (2019), Algorithm 2. As in PyTorch, the decay
    is multiplied by `lr`, and is 0.01 by default. The state has Adam's names and meaning.

    Args:
        params, lr, betas, eps: as for `Adam`.
        weight_decay: >= 0.

    Raises:
        ArgumentError: a number is out of range.
    """

    decoupled = True

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)

    def _update(self, lr: float, t: int, p: Array, g: Array, state: Sequence[Array], s: Array) -> None:
        p *= 1 - lr * self.weight_decay
        super()._update(lr, t, p, g, state, s)


class RMSprop(Optimizer):
    r"""RMSprop: the gradient divided by its running root mean square, with momentum as in PyTorch.

    $$ g \leftarrow g + \text{weight decay} \cdot p $$

    $$ v \leftarrow \alpha v + (1 - \alpha) \, g^2 $$

    $$ b \leftarrow \text{momentum} \cdot b + \frac{g}{\sqrt{v} + \text{eps}} $$

    $$ p \leftarrow p - \text{lr} \cdot b $$

    v is remembered, as `square_avg`, and b, as `momentum`, if momentum > 0.

    Source: Tieleman & Hinton, "Neural Networks for Machine Learning" (2012), lecture 6.5; the defaults are PyTorch's.

    Args:
        params: the parameters, as for every `Optimizer`.
        lr: the learning rate, >= 0.
        alpha: at least 0 and less than 1.
        eps: >= 0; keeps the division finite.
        weight_decay: >= 0.
        momentum: at least 0 and less than 1.

    Raises:
        ArgumentError: a number is out of range.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
    ) -> None:
        self.alpha, self.momentum, self.eps = _share("alpha", alpha), _share("momentum", momentum), _eps(eps)
        super().__init__(params, lr, weight_decay, ["square_avg", "momentum"] if self.momentum else ["square_avg"])

    def _update(self, lr: float, t: int, p: Array, g: Array, state: Sequence[Array], s: Array) -> None:
        v, *momentum = state
        v *= self.alpha
        np.multiply(g, g, out=s)
        s *= 1 - self.alpha
        v += s
        np.sqrt(v, out=s)
        s += self.eps
        b = np.divide(g, s, out=s)
        if momentum:
            (b,) = momentum
            b *= self.momentum
            b += s
        p -= np.multiply(b, lr, out=s)


def _share(name: str, value: float) -> float:
    value = number(name, value)
    require(0 <= value < 1, name, value, "at least 0 and less than 1")
    return value


def _eps(value: float) -> float:
    value = number("eps", value)
    require(0 <= value < math.inf, "eps", value, "a finite number >= 0")
    return value


def _checked(params: Iterable[Tensor]) -> list[Tensor]:
    """The parameters as a list, if each of them can be trained or is frozen, and comes once."""
    if isinstance(params, Tensor):
        raise ArgumentError("params must be an iterable of parameters, but is a single Tensor; pass [parameter]")
    if not isinstance(params, Iterable) or isinstance(params, (set, frozenset)):  # the state is saved in their order
        raise ArgumentTypeError(
            f"params must be parameters in an order, but is a {type(params).__name__}; pass model.parameters()"
        )
    checked: list[Tensor] = []
    seen: dict[int, int] = {}
    for i, parameter in enumerate(params):
        if not isinstance(parameter, Tensor):
            raise ArgumentError(
                f"params must be Tensors, but item {i} is a {type(parameter).__name__}; pass model.parameters()"
            )
        # A module's Parameter may be frozen. A Tensor of no such class has never been told to learn: a slip.
        if not parameter.is_leaf or (not parameter.requires_grad and type(parameter) is Tensor):
            raise ArgumentError(
                f"{_describe(i, parameter)} of shape {parameter.shape} is not a leaf that requires grad, so it would "
                "never get a gradient; pass Tensors made with requires_grad=True"
            )
        if parameter.dtype.kind == "c":
            raise DTypeError(
                f"{_describe(i, parameter)} has dtype {parameter.dtype}, but optimizers update real numbers; "
                "make its real and its imaginary part two parameters"
            )
        if seen.setdefault(id(parameter), i) != i:
            raise ArgumentError(
                f"{_describe(i, parameter)} is parameter {seen[id(parameter)]} again; pass each parameter once"
            )
        checked.append(parameter)
    if not checked:
        raise ArgumentError("params is empty; pass at least one parameter (a generator can be consumed only once)")
    if not any(parameter.requires_grad for parameter in checked):
        raise ArgumentError(
            f"all of the {len(checked)} parameters are frozen; set requires_grad = True on those that are to learn"
        )
    return checked


def _describe(i: int, parameter: Tensor) -> str:
    return f"parameter {i}" if parameter.name is None else f"parameter {i} ({parameter.name})"


def _some(keys: Iterable[str]) -> str:
    """The keys as text for a message, at most three of them by name."""
    names = sorted(keys)
    return (", ".join(names[:3]) or "none") + (f" and {len(names) - 3} more" if len(names) > 3 else "")
