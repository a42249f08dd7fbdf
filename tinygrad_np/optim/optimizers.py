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
from tinygrad_np.arguments import ArrayLike, finite, fraction, number, require
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
from tinygrad_np.writes import Write, note

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "RMSprop"]

Array = NDArray[Any]
Params = Iterable[Tensor] | Iterable[Mapping[str, Any]]

CHUNK = 131072
"""Elements updated at a time: enough to spread the cost of the calls, few enough for the cache. Measured on float32, a
quarter as many make SGD slower by an eighth to a quarter, and Adam by a twentieth."""


class Optimizer(ABC):
    """Base class of the optimizers. They update `.data` in place: a parameter keeps its array object.

    Groups of parameters may have settings of their own, as in PyTorch:

        optim.SGD([{"params": body.parameters(), "lr": 0.01}, {"params": head.parameters()}], lr=0.1, momentum=0.9)

    What a group does not set is as for all. Such an optimizer is made of one for each group; they are its
    `param_groups`, whose settings are attributes or, as in PyTorch, items. Setting `lr` of the whole, for example from
    a schedule, keeps the rates of the groups in proportion; set `param_groups[0].lr` afterwards for one alone.

    Args:
        params: any iterable of leaf Tensors that require grad, real floating point, of any shapes. Frozen parameters of
            a module are skipped, for as long as they are frozen. Or a list of groups, dicts with such "params".
        lr: the learning rate, a finite number >= 0. Set it at any time, for example from a schedule.
        weight_decay: adds weight_decay * p to each gradient, which is the gradient of the penalty weight_decay / 2
            |p|^2. AdamW decays in its own way.
        state_names: the names of what the rule remembers for each parameter: one array of the parameter's shape and
            dtype each, zeros at first.

    Raises:
        ArgumentError: no parameter can be trained, one comes twice or is no leaf, a number is out of range, or a group
            has unknown settings.
        ArgumentTypeError: `params` is no iterable, or a number is something else.
        DTypeError: a parameter is complex.
    """

    params: list[Tensor]
    """The parameters, in the order given."""

    param_groups: "list[Optimizer]"
    """One optimizer for each group of parameters, if there are groups."""

    weight_decay: float

    _groups: "Sequence[Optimizer]" = ()

    decoupled = False
    """Whether the rule applies `weight_decay` itself."""

    def __init__(self, params: Params, lr: float, weight_decay: float, state_names: Sequence[str]) -> None:
        self.lr = lr
        self.weight_decay = finite("weight_decay", weight_decay)
        groups = _groups(params)
        self.params = _checked([p for group in groups for p in group["params"]] if groups else params)
        self._state_names = state_names
        self._chunks: list[tuple[Array, Array, list[Any], Write] | None] = [None] * len(self.params)
        if groups:
            of_all = {name: getattr(self, name) for name in self._settings()}
            for group in groups:
                require(group.keys() <= {"params", *of_all}, "the settings of a group", [*group], f"of {[*of_all]}")
            self._groups = self.param_groups = [type(self)(**{**of_all, **group}) for group in groups]
            self._at_first = self.lr, [group.lr for group in self.param_groups]
            different = any(lr != self.lr for lr in self._at_first[1])
            require(self.lr > 0 or not different, "lr", self.lr, "above 0, as groups have rates in proportion to it")
            return
        self._steps = [0] * len(self.params)
        self._state = [[np.zeros(p.size, p.dtype) for _ in state_names] for p in self.params]
        # Two arrays to compute in, shared by all parameters of a dtype.
        self._scratch = {dtype: np.empty((2, CHUNK), dtype) for dtype in {p.dtype for p in self.params}}
        self._made_for = [(p.shape, p.dtype) for p in self.params]

    @property
    def lr(self) -> float:
        """The learning rate, as a Python float: one of NumPy's would turn float32 arithmetic into float64."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        self._lr = value = finite("lr", value)
        if self._groups:
            whole, rates = self._at_first
            for group, rate in zip(self._groups, rates, strict=True):
                group.lr = value if rate == whole else value * (rate / whole)

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "lr" and self._groups and name in self._settings():
            raise ArgumentError(
                f"with groups of parameters, {name} is a setting of each; set it by optimizer.param_groups[i].{name}"
            )
        if name in ("amsgrad", "centered") and "_state" in vars(self):
            raise ArgumentError(f"{name} decides what is remembered between steps; make another optimizer with it")
        super().__setattr__(name, value)

    def __getitem__(self, name: str) -> Any:
        """The parameters, as "params", or a setting, by name, as in PyTorch's groups."""
        return getattr(self, name)

    def __setitem__(self, name: str, value: Any) -> None:
        if name not in self._settings():
            raise ArgumentError(f"{name!r} is no setting of {type(self).__name__}, which has {self._settings()}")
        setattr(self, name, value)

    def _settings(self) -> list[str]:
        """The names of the arguments besides the parameters, as far as they are attributes."""
        return [name for name in inspect.signature(type(self)).parameters if name != "params" and hasattr(self, name)]

    def __repr__(self) -> str:
        settings = [f"{name}={getattr(self, name)!r}" for name in self._settings()]
        groups = f" in {len(self._groups)} groups" if self._groups else ""
        return f"{type(self).__name__}({', '.join([f'{len(self.params)} parameters{groups}', *settings])})"

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_chunks": [None] * len(self.params)}  # a copy of a view is no view of the copy

    def _views(self, i: int, data: Array) -> tuple[Array, Array, list[Any], Write]:
        """The array of parameter `i`, the same array flat, the views that an update of each chunk works on, and
        where writes are noted."""
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
        return data, flat, chunks, note(data)

    def step(self) -> None:
        """Update every parameter that has a gradient. One whose `.grad` is None, or that is frozen, stays as it is.

        Warns if none has a gradient, because that is nearly always a mistake.

        Raises:
            ShapeError: a parameter has another shape than when the optimizer was made.
            DTypeError: a parameter has another dtype than when the optimizer was made.
        """
        line, started = users_line(), perf_counter()
        by = (f"{type(self).__name__}.step()", *line)
        updated = [Optimizer._walk(group, by) for group in self._groups or [self]]
        if not any(updated) and all(parameter.grad is None for parameter in self.params):
            warn(
                "none of the parameters has a gradient, so this step changes nothing; call backward() before it, after "
                "zero_grad(). If the model was copied, or its parameters replaced, make an optimizer for the new ones"
            )
        for watch in recording.state.get().watches:
            if hasattr(watch, "stepped"):
                watch.stepped(self, f"{line[0]}:{line[1]}", perf_counter() - started)

    def _walk(self, by: tuple[Any, ...]) -> bool:
        """Update every parameter that has a gradient, and say whether there is any; `by` says who does."""
        lr, l2, updated = self.lr, 0.0 if self.decoupled else float(self.weight_decay), False
        for i, parameter in enumerate(self.params):
            node = parameter.node  # None while it is frozen
            if node is None or node.grad is None:
                continue
            views = self._chunks[i]
            if views is None or parameter.array is not views[0]:
                views = self._views(i, parameter.array)
                self._chunks[i] = views if views[0].flags.c_contiguous else None  # else `flat` is a copy, of today
            data, flat, chunks, writes = views
            self._steps[i] += 1
            grad = node.grad.reshape(-1)
            for chunk, p, state, s, decayed in chunks:
                g = grad if len(chunks) == 1 else grad[chunk]
                if l2:
                    np.multiply(p, l2, out=decayed)
                    g = np.add(g, decayed, out=decayed)
                self._update(lr, self._steps[i], p, g, state, s)
            if self._chunks[i] is None:
                data[...] = flat.reshape(data.shape)
            writes.again(by)
            updated = True
        return updated

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
        if self._groups:
            return _joined([group.state_dict() for group in self._groups])
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
        if self._groups:
            start = 0
            for group in self._groups:
                group.load_state_dict(_part(given, start, len(group.params)))
                start += len(group.params)
            return
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

    With a dampening, g is multiplied by 1 - dampening where it is added to b, except at the first step. b is
    remembered, as `momentum`, if momentum > 0.

    Source: Polyak, "Some methods of speeding up the convergence of iteration methods" (1964); Sutskever et al., "On the
    importance of initialization and momentum in deep learning" (2013), section 2. As in PyTorch, b sums gradients, and
    `lr` multiplies it when it is applied; in the paper b sums steps. The two differ only while `lr` changes.

    Args:
        params: the parameters, as for every `Optimizer`.
        lr: the learning rate, >= 0.
        momentum: at least 0 and less than 1.
        weight_decay: >= 0.
        nesterov: whether to use Nesterov momentum, which needs a momentum above 0 and no dampening.
        dampening: from 0 to 1.

    Raises:
        ArgumentError: a number is out of range, or `nesterov` is set without momentum or with dampening.

    >>> p = Tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = SGD([p], lr=0.5)
    >>> p.grad = np.array([1.0, -1.0])
    >>> optimizer.step()
    >>> p.data
    array([0.5, 2.5])
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        dampening: float = 0.0,
    ) -> None:
        self.momentum, self.nesterov = fraction("momentum", momentum), nesterov
        require(self.momentum > 0 or not nesterov, "momentum", self.momentum, "greater than 0 for nesterov")
        self.dampening = number("dampening", dampening)
        require(0 <= self.dampening <= 1, "dampening", self.dampening, "from 0 to 1")
        require(not (nesterov and self.dampening), "dampening", self.dampening, "0 for nesterov")
        super().__init__(params, lr, weight_decay, ["momentum"] if self.momentum else [])

    def _update(self, lr: float, t: int, p: Array, g: Array, state: Sequence[Array], s: Array) -> None:
        if self.momentum:
            (b,) = state
            b *= self.momentum
            b += np.multiply(g, 1 - self.dampening, out=s) if self.dampening and t > 1 else g
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

    t counts steps from 1; m and v are remembered, as `exp_avg` and `exp_avg_sq`. With amsgrad, the largest v so far
    takes the place of v in the last line, and is remembered as `max_exp_avg_sq`.

    Source: Kingma & Ba, "Adam: A Method for Stochastic Optimization" (2015), Algorithm 1, with its defaults; amsgrad:
    Reddi, Kale & Kumar, "On the Convergence of Adam and Beyond" (2018), in PyTorch's form.

    Args:
        params: the parameters, as for every `Optimizer`.
        lr: the learning rate, >= 0.
        betas: beta1 and beta2, each at least 0 and less than 1.
        eps: >= 0; keeps the division finite.
        weight_decay: >= 0.
        amsgrad: whether steps may never become longer because gradients become smaller.

    Raises:
        ArgumentError: a number is out of range.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
    ) -> None:
        require(isinstance(betas, (tuple, list)) and len(betas) == 2, "betas", betas, "a pair of numbers")
        self.betas = fraction("betas[0]", betas[0]), fraction("betas[1]", betas[1])
        self.eps, self.amsgrad = finite("eps", eps), amsgrad
        super().__init__(params, lr, weight_decay, ["exp_avg", "exp_avg_sq", *["max_exp_avg_sq"] * bool(amsgrad)])

    def _update(self, lr: float, t: int, p: Array, g: Array, state: Sequence[Array], s: Array) -> None:
        m, v, *largest = state
        beta1, beta2 = self.betas

        m *= beta1
        m += np.multiply(g, 1 - beta1, out=s)
        v *= beta2
        np.multiply(g, g, out=s)
        s *= 1 - beta2
        v += s
        if largest:
            v = np.maximum(largest[0], v, out=largest[0])
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
        params, lr, betas, eps, amsgrad: as for `Adam`.
        weight_decay: >= 0.

    Raises:
        ArgumentError: a number is out of range.
    """

    decoupled = True

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad)

    def _update(self, lr: float, t: int, p: Array, g: Array, state: Sequence[Array], s: Array) -> None:
        p *= 1 - lr * self.weight_decay
        super()._update(lr, t, p, g, state, s)


class RMSprop(Optimizer):
    r"""RMSprop: the gradient divided by its running root mean square, with momentum as in PyTorch.

    $$ g \leftarrow g + \text{weight decay} \cdot p $$

    $$ v \leftarrow \alpha v + (1 - \alpha) \, g^2 $$

    $$ b \leftarrow \text{momentum} \cdot b + \frac{g}{\sqrt{v} + \text{eps}} $$

    $$ p \leftarrow p - \text{lr} \cdot b $$

    v is remembered, as `square_avg`, and b, as `momentum`, if momentum > 0. If it is centered, the square of the
    running mean of g, remembered as `grad_avg`, is subtracted from v under the root: what is left is the variance.

    Source: Tieleman & Hinton, "Neural Networks for Machine Learning" (2012), lecture 6.5; centered: Graves, "Generating
    sequences with recurrent neural networks" (2013), equations 38 to 40. The rest and the defaults are PyTorch's.

    Args:
        params: the parameters, as for every `Optimizer`.
        lr: the learning rate, >= 0.
        alpha: at least 0 and less than 1.
        eps: >= 0; keeps the division finite.
        weight_decay: >= 0.
        momentum: at least 0 and less than 1.
        centered: whether to divide by the standard deviation of the gradient.

    Raises:
        ArgumentError: a number is out of range.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ) -> None:
        self.alpha, self.momentum, self.eps = (
            fraction("alpha", alpha),
            fraction("momentum", momentum),
            finite("eps", eps),
        )
        self.centered = centered
        names = {"square_avg": True, "momentum": self.momentum, "grad_avg": centered}
        super().__init__(params, lr, weight_decay, [name for name, used in names.items() if used])

    def _update(self, lr: float, t: int, p: Array, g: Array, state: Sequence[Array], s: Array) -> None:
        v, *others = state
        v *= self.alpha
        np.multiply(g, g, out=s)
        s *= 1 - self.alpha
        v += s
        if self.centered:
            mean = others.pop()
            mean *= self.alpha
            mean += np.multiply(g, 1 - self.alpha, out=s)
            np.subtract(v, np.multiply(mean, mean, out=s), out=s)
            np.sqrt(np.maximum(s, 0, out=s), out=s)  # which rounding may have made negative
        else:
            np.sqrt(v, out=s)
        s += self.eps
        b = np.divide(g, s, out=s)
        if others:
            (b,) = others
            b *= self.momentum
            b += s
        p -= np.multiply(b, lr, out=s)


def _groups(params: Any) -> list[dict[str, Any]]:
    """The groups with lists of their parameters; none if there is only a number of parameters."""
    if not isinstance(params, (list, tuple)) or not any(isinstance(item, Mapping) for item in params):
        return []
    for group in params:
        if not isinstance(group, Mapping) or "params" not in group:
            raise ArgumentError(
                f'each group of parameters must be a dict with "params", but one is {group!r:.80}; write '
                '[{"params": model.parameters(), "lr": 0.01}, ...]'
            )
    return [{**group, "params": _Checked(_listed(group["params"]))} for group in params]


class _Checked(list[Tensor]):
    """The parameters of a group, which are checked with all others."""


def _joined(states: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """The states of the groups as one, with the parameters numbered through."""
    joined = {"step": np.concatenate([state["step"] for state in states])}
    start = 0
    for state in states:
        for key, array in state.items():
            name, _, i = key.rpartition(".")
            if name:
                joined[f"{name}.{start + int(i)}"] = array
        start += len(state["step"])
    return joined


def _part(joined: Mapping[str, Array], start: int, count: int) -> dict[str, Array]:
    """The state of a group of so many parameters from a number on."""
    part = {"step": joined["step"][start : start + count]}
    for key, array in joined.items():
        name, _, i = key.rpartition(".")
        if name and start <= int(i) < start + count:
            part[f"{name}.{int(i) - start}"] = array
    return part


def _listed(params: Any) -> list[Any]:
    """The parameters as a list, if they come in an order."""
    if isinstance(params, Tensor):
        raise ArgumentError("params must be an iterable of parameters, but is a single Tensor; pass [parameter]")
    if not isinstance(params, Iterable) or isinstance(params, (set, frozenset)):  # the state is saved in their order
        raise ArgumentTypeError(
            f"params must be parameters in an order, but is a {type(params).__name__}; pass model.parameters()"
        )
    return list(params)


def _checked(params: Any) -> list[Tensor]:
    """The parameters as a list, if each of them can be trained or is frozen, and comes once."""
    if isinstance(params, _Checked):
        return params
    checked: list[Tensor] = []
    seen: dict[int, int] = {}
    for i, parameter in enumerate(_listed(params)):
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
