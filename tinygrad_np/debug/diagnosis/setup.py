"""A training set-up under examination: a record of one forward and backward pass, and the way back to its state."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_np.debug.places import note_line
from tinygrad_np.debug.statistics import visible
from tinygrad_np.engine import Node, backward
from tinygrad_np.nn import Module
from tinygrad_np.optim import Optimizer
from tinygrad_np.recording import isolated
from tinygrad_np.tensor import Tensor

__all__ = ["LINEAR", "Setup", "Snapshot", "array_of", "joined", "norm", "rows_are_probabilities", "watched"]

LINEAR = ("linear", "matmul", "dot", "einsum")
"""The functions that multiply by a weight matrix."""


@dataclass
class Call:
    """A call of one of the model's modules: the module's dotted name, and what it returned."""

    name: str
    output: Any


@dataclass
class Setup:
    """The arguments of `diagnose`, and what one forward and backward pass showed.

    It is the watch of that pass.

    Attributes:
        parameters, modules: of the model, by their dotted names.
        names: the dotted names of the parameters, by their nodes.
        calls: of the modules, in the order in which they returned.
        nodes: the recorded calls, in order; the model made the first `in_model` of them, and the loss the others.
        predictions, loss: what the model and the loss function returned.
        error, failed: what one of them raised, and the name of the innermost module that it came from.
        gradients: those of the parameters that one reached, by name.
        arrived: for each recorded call, the norm of the gradient with respect to its output.
        blocked: where a gradient ended: a call that made zeros of a non-zero gradient, and the parent they were for.
        broken: where a gradient became infinite or NaN: the calls that made that of a finite one.
        home: the line that called `diagnose`.
    """

    model: Module
    loss_fn: Callable[[Any, Any], Any]
    inputs: Any
    targets: Any
    optimizer: Optimizer | None = None
    train_step: Callable[[Any, Any], Any] | None = None
    home: str = ""
    calls: list[Call] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    in_model: int = 0
    predictions: Any = None
    loss: Any = None
    error: Exception | None = None
    failed: str | None = None
    gradients: dict[str, np.ndarray] = field(default_factory=dict)
    arrived: dict[Node, float] = field(default_factory=dict)
    blocked: list[tuple[Node, Node]] = field(default_factory=list)
    broken: list[Node] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.parameters = dict(self.model.named_parameters())
        self.modules = dict(self.model.named_modules())
        self.names = {parameter.node: name for name, parameter in self.parameters.items() if parameter.node}

    # As a watch

    def recorded(self, node: Node, seconds: float) -> None:
        note_line(node)
        self.nodes.append(node)

    def reached(self, node: Node, gradient: Any) -> None:
        gradient = visible(node, gradient)
        if isinstance(gradient, (np.ndarray, np.generic)):
            self.arrived[node] = norm(np.asarray(gradient))

    def derived(self, node: Node, parent: Node, contribution: Any) -> None:
        arrived = self.arrived.get(node)
        if arrived is None or not isinstance(contribution, np.ndarray) or not math.isfinite(arrived):
            return
        if not np.isfinite(contribution).all():
            self.broken.append(node)
        elif arrived and not contribution.any():
            self.blocked.append((node, parent))

    # One pass

    def run(self) -> None:
        """Run the model, the loss and the backward pass; keep what they raise in `error`. Touches no `.grad`."""
        try:
            with watched(self), self._listening():
                self.predictions = self.model(self.inputs)
                self.in_model = len(self.nodes)
                self.failed = None
                self.loss = self.loss_fn(self.predictions, self.targets)
        except Exception as error:
            self.error = error.with_traceback(None)  # a traceback holds the frames, and so this object
            self.in_model = self.in_model or len(self.nodes)
            return
        if isinstance(self.loss, Tensor) and self.loss.requires_grad and self.loss.size == 1:
            with watched(self):
                found = backward({self.loss.node: np.ones_like(self.loss.data)}, None, retain_graph=True)  # type: ignore[dict-item]
            self.gradients = {self.names[node]: found[node] for node in found if node in self.names}

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        """Note the calls of all modules."""
        own = {name: vars(module).get("forward") for name, module in self.modules.items()}
        for name, module in self.modules.items():
            vars(module)["forward"] = self._noting(name, module.forward)
        try:
            yield
        finally:
            for name, module in self.modules.items():
                del vars(module)["forward"]
                if own[name] is not None:
                    vars(module)["forward"] = own[name]

    def _noting(self, name: str, forward: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap `forward` so that its calls are noted under `name`."""

        def noting(*inputs: Any, **options: Any) -> Any:
            try:
                output = forward(*inputs, **options)
            except Exception:
                self.failed = self.failed or name
                raise
            self.calls.append(Call(name, output))
            return output

        return noting

    # What the checks ask

    @property
    def output(self) -> np.ndarray | None:
        """The predictions' array if they are a single array, else None."""
        return array_of(self.predictions) if isinstance(self.predictions, (Tensor, np.ndarray)) else None

    @property
    def loss_value(self) -> float | None:
        """The loss if it is a single real number, else None."""
        loss = array_of(self.loss)
        return float(loss.item()) if loss.size == 1 and loss.dtype.kind in "fiu" else None

    @property
    def labels(self) -> np.ndarray | None:
        """The class indices, of shape (N,), if this is a classification with predictions of shape (N, C); else None."""
        output, targets = self.output, array_of(self.targets)
        if output is None or output.ndim != 2 or output.shape[1] < 2 or not output.size:
            return None
        if targets.shape == output.shape[:1] and targets.dtype.kind in "iu":
            return targets if targets.min() >= 0 and targets.max() < output.shape[1] else None
        if targets.shape == output.shape and rows_are_probabilities(targets):
            return np.asarray(targets.argmax(axis=1))
        return None

    @property
    def layers(self) -> list[tuple[str, Node]]:
        """The calls that multiply by a weight matrix of the model, and its name; each matrix once, in order."""
        found: dict[str, Node] = {}
        for node in self.nodes:
            for parent in node.parents if node.rule.name in LINEAR else ():
                name = self.names.get(parent)
                if name is not None and self.parameters[name].ndim == 2:
                    found.setdefault(name, node)
        return list(found.items())

    def module_name(self, node: Node) -> str:
        """The dotted name of the innermost module that made the call; empty for the model itself, and outside of it."""
        module = node.scope.module() if node.scope is not None else None
        return next((name for name, own in self.modules.items() if own is module), "")

    def where(self, node: Node) -> str:
        """The place of a call: the module, "layers.1 (ReLU)", or else the line, "net.py:12"."""
        name = self.module_name(node)
        if name:
            return f"{name} ({type(self.modules[name]).__name__})"
        place = node.notes["place"] if node.notes else self.home
        if place != self.home:
            return short(place)
        return "model" if node in self.nodes[: self.in_model] else "loss"

    def evaluate(self) -> float:
        """The loss of the batch as the model is now."""
        with watched(None):
            loss = self.loss_fn(self.model(self.inputs), self.targets)
        return float(array_of(loss).item())

    def backward(self, inputs: Any, targets: Any) -> tuple[float, Any]:
        """Put the gradients of a batch into `.grad`, replacing earlier ones; returns the loss and the predictions."""
        with watched(None):
            predictions = self.model(inputs)
            loss = self.loss_fn(predictions, targets)
            for parameter in self.parameters.values():
                if parameter.requires_grad:
                    parameter.grad = None
            loss.backward()
        return float(loss.item()), predictions


@contextlib.contextmanager
def watched(watch: Any) -> Iterator[None]:
    """Record calls whatever the state outside, notify only this watch, and silence NumPy's warnings."""
    with isolated(*() if watch is None else [watch]), np.errstate(all="ignore"):
        yield


class Snapshot:
    """The state of a model, of the generators in it and of its optimizer, to be restored as often as needed."""

    def __init__(self, setup: Setup) -> None:
        optimizer = setup.optimizer
        parameters = {*setup.parameters.values(), *(optimizer.params if optimizer else ())}
        arrays = [value for module in setup.modules.values() for value in vars(module).values()]
        buffers = [value for value in arrays if isinstance(value, np.ndarray)]
        self._tensors = [(tensor, tensor.data, tensor.node, tensor.grad) for tensor in parameters]
        gradients = [gradient for *_, gradient in self._tensors if gradient is not None]
        contents = [*(tensor.data for tensor in parameters), *buffers, *gradients]
        self._contents = [(array, array.copy()) for array in contents]
        owners = [*setup.modules.values(), *([optimizer] if optimizer else [])]
        self._attributes = [(owner, dict(vars(owner))) for owner in owners]
        generators = [value for owner in owners for value in vars(owner).values()]
        self._generators = [
            (generator.bit_generator, copy.deepcopy(generator.bit_generator.state))
            for generator in generators
            if isinstance(generator, np.random.Generator)
        ]
        self._global_generator = np.random.get_state()
        self._optimizer = (optimizer, optimizer.state_dict()) if optimizer else None

    def restore(self) -> None:
        """Bring everything back to the state at the time of the snapshot."""
        for owner, attributes in self._attributes:
            vars(owner).clear()
            vars(owner).update(attributes)
        for tensor, data, node, gradient in self._tensors:
            tensor.data, tensor.node = data, node
            if node is not None:
                node.grad = gradient
        for array, content in self._contents:
            if array.flags.writeable:
                array[...] = content
        for bit_generator, state in self._generators:
            bit_generator.state = state
        np.random.set_state(self._global_generator)
        if self._optimizer:
            optimizer, state = self._optimizer
            optimizer.load_state_dict(state)


def norm(array: np.ndarray) -> float:
    """The square root of the sum of squares, computed in float64 to avoid overflow."""
    return float(np.linalg.norm(array.ravel().astype(np.float64)))


def array_of(value: Any) -> np.ndarray:
    """The array of a Tensor, or of anything that NumPy makes one of."""
    return value.array if isinstance(value, Tensor) else np.asarray(value)


def rows_are_probabilities(array: Any) -> bool:
    """Whether `array` has shape (N, C), no negative element, and rows that sum to 1."""
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.shape[1] < 2 or not array.size:
        return False
    return bool(array.dtype.kind in "fiu" and array.min() >= 0 and np.abs(array.sum(axis=1) - 1).max() < 1e-3)


def short(place: str) -> str:
    """A place, "file.py:12", without the directories of the file."""
    path, _, number = place.rpartition(":")
    return f"{Path(path).name}:{number}"


def joined(names: list[str]) -> str:
    """Names as a phrase that does not get too long."""
    return ", ".join(names) if len(names) <= 3 else f"{names[0]}, {names[1]} and {len(names) - 2} more"
