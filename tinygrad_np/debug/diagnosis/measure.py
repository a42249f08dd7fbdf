"""What a diagnosis measures: one instrumented step, a run under anomaly detection, the user's own step, experiments.

Nothing here judges. A check in another file reads these measurements and tells a finding, or nothing. What takes time
is measured when the first check asks for it, and once.
"""

from __future__ import annotations

import contextlib
import math
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from tinygrad_np.debug.anomaly import checksum, detect_anomaly
from tinygrad_np.debug.places import defined, line_of, note_line, short
from tinygrad_np.debug.state import Found, Snapshot
from tinygrad_np.debug.statistics import floats, is_finite, visible
from tinygrad_np.derivatives.table import LEAF
from tinygrad_np.engine import Node, backward
from tinygrad_np.errors import AnomalyError
from tinygrad_np.nn import BatchNorm1d, Dropout, Module
from tinygrad_np.optim import Adam, Optimizer
from tinygrad_np.recording import isolated, next_number, state
from tinygrad_np.tensor import Tensor

LINEAR = ("linear", "matmul", "dot", "einsum")
"""The functions that multiply by a weight matrix."""

Arrays = dict[str, np.ndarray]


class Call(NamedTuple):
    """A call of one of the model's modules: its dotted name, what it returned, and whether it trained and recorded."""

    name: str
    output: Any
    training: bool
    recorded: bool


class Notes(dict[str, Any]):
    """The notes of a call, which tell by a weak reference whether the call is still kept."""

    __slots__ = ("__weakref__",)


@dataclass(eq=False)
class Run:
    """A watch, and what it saw.

    Attributes:
        nodes: the recorded calls, in order.
        calls: of the modules, in the order in which they returned.
        arrived: for each recorded call, the norm of the gradient with respect to its output.
        blocked: where a gradient ended: a call that made zeros of a non-zero gradient, and the parent they were for.
        checksums: of the results.
        older: a call whose argument was computed before this run began; None if there is none.
        updates: for each step of an optimizer, its learning rate and the norm of the gradients that it was given.
        error, line: what was raised, and the user's line that it came from.
        failed: the name of the innermost module that it came from.
    """

    nodes: list[Node] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    arrived: dict[Node, float] = field(default_factory=dict)
    blocked: list[tuple[Node, Node]] = field(default_factory=list)
    checksums: dict[Node, int] = field(default_factory=dict)
    older: Node | None = None
    updates: list[tuple[Optimizer, float, float]] = field(default_factory=list)
    error: Exception | None = None
    failed: str = ""
    line: str = ""

    def recorded(self, node: Node, seconds: float) -> None:
        node.notes = Notes(node.notes or {})
        note_line(node)
        if self.nodes and any(
            p is not None and p.rule is not LEAF and p.number < self.nodes[0].number for p in node.parents
        ):
            self.older = node
        self.nodes.append(node)
        if isinstance(node.out, np.ndarray):
            self.checksums[node] = checksum(node.out)

    def written(self) -> Node | None:
        """The first call whose result was overwritten afterwards, unseen."""
        return next((node for node, number in self.checksums.items() if checksum(node.out) != number), None)

    def reached(self, node: Node, gradient: Any) -> None:
        self.arrived[node] = math.hypot(*(norm(part) for part in floats(visible(node, gradient))), 0)

    def stepped(self, optimizer: Optimizer, place: str, seconds: float) -> None:
        gradients = [parameter.grad for parameter in optimizer.params if parameter.grad is not None]
        self.updates.append((optimizer, optimizer.lr, math.hypot(*map(norm, gradients), 0)))

    def derived(self, node: Node, parent: Node, contribution: Any) -> None:
        if self.arrived.get(node) and isinstance(contribution, np.ndarray) and not contribution.any():
            self.blocked.append((node, parent))


class Setup:
    """The arguments of `diagnose`, and what one forward and backward pass showed.

    A check takes what it needs of these attributes by their names, and applies where none of them is None.

    Attributes:
        setup: all of it.
        modules: of the model, by their dotted names.
        parameters: by their dotted names or, if the model is a plain function, by the names of its variables.
        run: the pass; the model made the first `in_model` of its calls, and the loss the others.
        predictions, loss: what the model and the loss function returned.
        gradients: those of the parameters that one reached, by name.
        through_predictions: the part of them that came through the predictions: without penalties on the weights.
        written: the first call whose result was overwritten afterwards, unseen; or None.
        after: copies of inputs and targets after the pass.
        home: the line that called `diagnose`.
    """

    def __init__(
        self,
        model: Callable[..., Any],
        loss_fn: Callable[[Any, Any], Any],
        batch: tuple[Any, Any],
        optimizer: Optimizer | None,
        train_step: Callable[[Any, Any], Any] | None,
        evaluate: Callable[[Any, Any], Any] | None,
        home: str,
    ) -> None:
        self.model, self.loss_fn, self.optimizer = model, loss_fn, optimizer
        self.inputs, self.targets = batch
        self.train_step, self.evaluate, self.home = train_step, evaluate, home
        self.found = found = Found()
        found.look("", model)
        self.modules = dict(found.modules)
        found.look("loss", loss_fn)
        self.parameters = dict(model.named_parameters() if isinstance(model, Module) else found.tensors)
        self.known = {*self.parameters.values()}
        for value in (train_step, evaluate, optimizer):
            found.look("", value)
        own = [o for o in found.optimizers if not self.known.isdisjoint(o.params)]
        if optimizer is None and train_step is not None and len(own) == 1:
            self.optimizer = own[0]
        self.run, self.in_model, self.began = Run(), 0, next_number()
        self.written: Node | None = None
        self.predictions: Any = None
        self.loss: Any = None
        self.gradients: Arrays = {}
        self.through_predictions: Arrays = {}
        self.untouched = Snapshot(found, *flat(batch))
        for name, module in self.modules.items():
            vars(module)["forward"] = noted(name, module, module.forward)
        self.start = Snapshot(found, *flat(batch))

    def first_pass(self) -> None:
        """Run the model, the loss and the backward pass, and note what they do."""
        with running(self.run):
            self.predictions = self.model(self.inputs)
            self.in_model = len(self.run.nodes)
            self.run.failed = ""
            self.loss = self.loss_fn(self.predictions, self.targets)
            self.written = self.run.written()
            if (seed := seed_of(self.loss)) is not None:
                reached = backward(seed, None, retain_graph=True)
                if not isinstance(self.model, Module):
                    self._keep_used(set(reached))
                self.gradients = self._named(reached)
                if self.predictions_node in self.run.arrived:
                    start = backward(seed, [self.predictions_node], retain_graph=True)
                    self.through_predictions = self._named(backward(start, None, retain_graph=True))
        self.after = self.copies()
        self.start.restore()
        self.start = Snapshot(self.found, *flat([self.inputs, self.targets]))

    @property
    def names(self) -> dict[Node | None, str]:
        return {parameter.node: name for name, parameter in self.parameters.items() if parameter.node is not None}

    def _named(self, found: dict[Node, Any]) -> Arrays:
        names = self.names
        return {names[node]: found[node] for node in found if node in names}

    def _keep_used(self, leaves: set[Node]) -> None:
        """The parameters of a plain function: the Tensors that it has a gradient for, and does not make anew."""
        leaves = {node for node in leaves - set(self.names) if node.number < self.began}
        for node in sorted(leaves, key=lambda node: node.number):
            tensor = Tensor(node.out)
            tensor.node = node
            name = node.name or f"parameter {len(self.parameters) + 1} of shape {node.out.shape}"
            self.parameters[name] = self.found.tensors[name] = tensor

    # What one pass showed

    @property
    def setup(self) -> Setup:
        return self

    @property
    def x(self) -> np.ndarray:
        return array_of(self.inputs)

    @property
    def y(self) -> np.ndarray:
        return array_of(self.targets)

    @property
    def rows(self) -> np.ndarray | None:
        """The inputs as a matrix of float64, or None if they are none of finite numbers."""
        return matrix(self.x)

    @property
    def output(self) -> np.ndarray | None:
        """The predictions' array if they are a single array, else None."""
        return array_of(self.predictions) if isinstance(self.predictions, (Tensor, np.ndarray)) else None

    @property
    def good_output(self) -> np.ndarray | None:
        """The same if it is finite."""
        output = self.output
        return output if output is not None and output.size and is_finite(output) else None

    @property
    def error(self) -> Exception | None:
        """What the forward pass raised."""
        return self.run.error

    @property
    def loss_value(self) -> float | None:
        """The loss if it is a single real number, else None."""
        loss = array_of(self.loss)
        return float(loss.item()) if loss.size == 1 and loss.dtype.kind in "fiu" else None

    @property
    def finite(self) -> bool:
        """Whether the loss and all gradients are finite."""
        return is_finite([self.loss_value, *self.gradients.values()])

    @property
    def of_model(self) -> list[Node]:
        """The calls of the model."""
        return self.run.nodes[: self.in_model]

    @property
    def in_loss(self) -> list[Node]:
        return self.run.nodes[self.in_model :]

    @property
    def loss_node(self) -> Node | None:
        return self.loss.node if isinstance(self.loss, Tensor) else None

    @property
    def predictions_node(self) -> Node | None:
        return self.predictions.node if isinstance(self.predictions, Tensor) else None

    @property
    def pairs(self) -> list[tuple[Node, Node]]:
        """The calls of the model, each with the one that follows it."""
        return list(pairwise([*self.of_model, *self.run.nodes[-1:]]))

    @property
    def layers(self) -> dict[str, Node]:
        """The calls that multiply by a weight matrix of the model, by its name; for each matrix the first, in order."""
        return {name: nodes[0] for name, nodes in self.products.items()}

    @property
    def weights(self) -> list[str]:
        """The names of the weight matrices with a gradient."""
        return [name for name in self.layers if name in self.gradients]

    @cached_property
    def products(self) -> dict[str, list[Node]]:
        """All of these calls, by the weight's name: a recurrent network multiplies by one matrix many times."""
        found: dict[str, list[Node]] = {}
        names = self.names
        for node in self.run.nodes:
            for parent in node.parents if node.rule.name in (*LINEAR, "conv2d") else ():
                if parent is not None and parent in names and np.ndim(parent.out) in (2, 4):
                    found.setdefault(names[parent], []).append(node)
        return found

    @cached_property
    def labels(self) -> np.ndarray | None:
        """The class indices, of shape (N,), if this is a classification with predictions of shape (N, C); else None.

        That is found out by trying: right and wrong probabilities must differ in their loss.
        """
        output, y = self.output, self.y
        if output is None or output.ndim != 2 or output.shape[1] < 2 or not output.size:
            return None
        n, classes = output.shape
        if y.shape in ((n,), (n, 1)) and y.dtype.kind in "iu" and 0 <= y.min() <= y.max() < classes:
            labels = y.ravel()
        elif y.shape == output.shape and probabilities(y):
            labels = y.argmax(axis=1)
        else:
            return None
        right = np.where(np.arange(classes) == labels[:, None], 0.9, 0.1 / (classes - 1)).astype(output.dtype)
        losses = [self.loss_of(p) for p in (right, np.roll(right, 1, axis=1))]
        return None if math.isclose(*losses, rel_tol=1e-3) else labels

    @cached_property
    def wanted(self) -> np.ndarray | None:
        """The targets, in the shape of the predictions, if those should equal them; else None.

        That is found out by trying: the loss must be least, or if its sign is wrong greatest, where they do.
        """
        output, y = self.good_output, self.y
        if output is None or y.dtype.kind not in "fiu" or y.size != output.size or self.labels is not None:
            return None
        exact, step = y.reshape(output.shape).astype(output.dtype), max(size_of(y), 1e-3) / 10
        at, *around = (self.loss_of(exact + shift) for shift in (0, step, -step))
        return exact if at < min(around) or at > max(around) else None

    # The parameters

    def clear(self) -> None:
        for parameter in self.parameters.values():
            if parameter.requires_grad:
                parameter.grad = None

    def values(self) -> Arrays:
        """Copies of the parameters' arrays; of a plain function's variables as they are now."""
        now = self.now()
        return {name: now.get(name, parameter).data.copy() for name, parameter in self.parameters.items()}

    def now(self) -> dict[str, Tensor]:
        """The parameters as they are now."""
        if isinstance(self.model, Module):
            return dict(self.model.named_parameters())
        found = Found()
        found.look("", self.model)
        found.look("loss", self.loss_fn)
        return found.tensors

    def replaced(self) -> list[str]:
        """The names of parameters that are other objects now; of a plain function: that are no parameters any more."""
        now = self.now()
        if isinstance(self.model, Module):
            return [name for name, parameter in now.items() if self.parameters.get(name) is not parameter]
        return [name for name in self.parameters if name not in now and self.parameters[name] in self.known]

    def left(self) -> Arrays:
        """Copies of the gradients that the parameters hold."""
        return {name: p.grad.copy() for name, p in self.parameters.items() if p.grad is not None}

    def copies(self) -> Arrays:
        """Copies of the batch."""
        return {"inputs": np.array(self.x), "targets": np.array(self.y)}

    # Experiments

    @contextlib.contextmanager
    def undone(self) -> Iterator[None]:
        """Within it nobody watches; afterwards all is as before."""
        try:
            with watched(None):
                yield
        finally:
            self.start.restore()

    def tried(self, experiment: Callable[[], Any]) -> Any:
        """What an experiment gives, or the exception that it raises."""
        try:
            with self.undone():
                return experiment()
        except Exception as error:
            return error

    def number(self, experiment: Callable[[], Any]) -> float:
        """The number that an experiment gives; nan if it fails."""
        value = self.tried(lambda: float(array_of(experiment()).item()))
        return value if isinstance(value, float) else math.nan

    def seen(self, function: Callable[[], Any]) -> Run:
        """What a function does."""
        run = Run()
        with self.undone(), running(run):
            function()
        return run

    def forward_pass(self) -> Any:
        return self.loss_fn(self.model(self.inputs), self.targets)

    def backward(self, inputs: Any, targets: Any) -> tuple[float, Any]:
        """Put the gradients of a batch into `.grad`, replacing earlier ones; returns the loss and the predictions."""
        predictions = self.model(inputs)
        loss = self.loss_fn(predictions, targets)
        self.clear()
        loss.backward()
        return float(loss.item()), predictions

    def take_step(self) -> None:
        if self.train_step is not None:
            self.train_step(self.inputs, self.targets)
        elif self.optimizer is not None:
            self.backward(self.inputs, self.targets)
            self.optimizer.step()

    def after_steps(self, count: int) -> Any:
        """The loss of the batch after some steps."""
        for _ in range(count):
            self.take_step()
        return self.forward_pass()

    def predicted(self, inputs: Any, evaluating: bool = False) -> np.ndarray | None:
        """The predictions for other inputs, with all generators as they were; None if there are none."""

        def predict() -> np.ndarray:
            for module in self.modules.values():
                module.training = module.training and not evaluating
            return np.array(array_of(self.model(inputs)))

        predictions = self.tried(predict)
        return predictions if isinstance(predictions, np.ndarray) else None

    def loss_of(self, predictions: np.ndarray) -> float:
        """The loss of other predictions; nan if there is none."""
        return self.number(lambda: self.loss_fn(Tensor(predictions), self.targets))

    def trained(self, steps: int, **settings: float) -> float:
        """The loss of the batch after some steps with other settings of the optimizer, such as lr; nan if none."""

        def train() -> Any:
            optimizer: Any = self.optimizer
            for name, value in settings.items():
                setattr(optimizer, name, value)
            for _ in range(steps):
                self.backward(self.inputs, self.targets)
                optimizer.step()
            return self.forward_pass()

        return self.number(train)

    def detected(self, function: Callable[[], Any]) -> AnomalyError | None:
        """What `detect_anomaly` says of it."""
        error = self.tried(detect_anomaly()(function))
        return error if isinstance(error, AnomalyError) else None

    @cached_property
    def anomaly(self) -> AnomalyError | None:
        """What `detect_anomaly` says of the pass."""

        def both_passes() -> None:
            if (seed := seed_of(self.forward_pass())) is not None:
                backward(seed, None)

        return self.detected(both_passes)

    @cached_property
    def steps(self) -> Steps | None:
        """What the user's own step does, or the optimizer's; None if there is neither, or if a step failed."""
        return self.all_steps if self.all_steps is not None and self.all_steps.error is None else None

    @cached_property
    def all_steps(self) -> Steps | None:
        """The same, also if a step failed."""
        if self.train_step is None and not (self.optimizer and not self.known.isdisjoint(self.optimizer.params)):
            return None
        with self.undone():
            return self._steps()

    def _steps(self) -> Steps:
        loss, values, left, runs, kept = self.loss_value or 0.0, [self.values()], [], [], []
        self.clear()
        for count in range(3):
            run = Run()
            with running(run):
                self.take_step()
            kept.append([weakref.ref(node.notes) for node in run.nodes if isinstance(node.notes, Notes)])
            calls = [call._replace(output=None) for call in run.calls]
            runs.append(replace(run, nodes=[], calls=calls, arrived={}, blocked=[], checksums={}))  # without the graph
            values.append(self.values())
            left.append(self.left())
            if count == 0:
                batch, replaced = self.copies(), self.replaced()
                between = Snapshot(self.found, *flat([self.inputs, self.targets]))
            if count == 1:
                between.restore()
                self.clear()
        del run, between  # may hold what a module has kept of the first step
        alive = sum(reference() is not None for reference in kept[0])

        def loss_after(scale: float) -> Any:
            for name, parameter in self.parameters.items():
                step = scale * (values[1][name] - values[0][name])
                parameter.data[...] = values[0][name] + step.astype(parameter.dtype)
            return self.forward_pass()

        self.start.restore()
        losses = {scale: self.number(partial(loss_after, scale)) for scale in (1.0, 0.1, 0.01, 1e-3, 1e-4)}
        return Steps(runs, values[:3], left, loss, losses, alive, replaced, batch)

    @cached_property
    def own_steps(self) -> dict[str, Run]:
        """What the user's own steps call, also one that follows an evaluation."""
        runs = dict(zip(("step 1", "step 2", "step 3"), self.all_steps.runs if self.all_steps else (), strict=False))
        evaluate = self.evaluate

        def evaluated_before() -> None:
            with watched(None):
                if evaluate is not None:
                    evaluate(self.inputs, self.targets)
            self.take_step()

        return runs | ({} if evaluate is None else {"a step after evaluate": self.seen(evaluated_before)})

    @cached_property
    def evaluation(self) -> Run | None:
        """What the user's own evaluation calls; None without one."""
        evaluate = self.evaluate
        return self.seen(lambda: evaluate(self.inputs, self.targets)) if evaluate is not None else None

    @cached_property
    def learned(self) -> Learned | None:
        """How far a few rows can be learned by heart: the best of several tries; None if it could not be tried."""
        x, y = self.x, self.y
        if not x.ndim or not y.ndim or len(x) != len(y) or self.output is None:
            return None
        deadline = time.perf_counter() + SECONDS
        rows = varied(x, self.labels) if self.wanted is None else varied(x, None)
        tries: list[Learned] = []
        for count, rate in ATTEMPTS:
            learned = self.tried(partial(self._learn, rows[:count], rate, deadline))
            if not isinstance(learned, Learned) or learned.done or learned.timeout:
                return learned if isinstance(learned, Learned) else None  # it may take only whole batches
            tries.append(learned)
        return min(tries, key=lambda one: one.last / one.first if one.first > 0 else one.last - one.first)

    def _learn(self, rows: np.ndarray, rate: float, deadline: float) -> Learned:
        for module in self.modules.values():  # no dropout, but batches are normalised as in training
            module.training = isinstance(module, BatchNorm1d)
        adam = Adam([parameter for parameter in self.parameters.values() if parameter.requires_grad], rate)
        x, targets = self.inputs[rows], self.targets[rows]
        losses: list[float] = []
        streak = 0
        while len(losses) < STEPS:
            loss, predictions = self.backward(x, targets)
            losses.append(loss)
            streak = streak + 1 if self._unlearned(array_of(predictions), array_of(targets), losses) < UNLEARNED else 0
            if streak == LONG_ENOUGH or not math.isfinite(loss) or time.perf_counter() > deadline:
                break
            adam.step()
        late = time.perf_counter() > deadline
        return Learned(len(x), len(losses), losses[0], losses[-1], streak == LONG_ENOUGH, late)

    @property
    def unlearned(self) -> bool:
        """Whether labels or targets are known, and much of them is not learned yet."""
        output, loss = self.good_output, self.loss_value
        known = self.labels is not None or self.wanted is not None
        return known and output is not None and self._unlearned(output, self.y, [loss or 1.0] * 2) > UNLEARNED

    def _unlearned(self, output: np.ndarray, targets: np.ndarray, losses: list[float]) -> float:
        """The fraction that is not learned: of labels, of the targets' variance; else whether the loss did not fall."""
        if self.labels is not None:
            wanted = targets.argmax(axis=1) if targets.shape == output.shape else targets.ravel()
            return float(np.mean(output.argmax(axis=1) != wanted))
        first, last = losses[0], losses[-1]
        if self.wanted is not None and targets.var():
            error = float(np.mean((output.ravel() - targets.ravel()) ** 2) / targets.var())
            return min(error, last / first if first > 0 else 1.0)
        return 0.0 if first - last > 0.02 * abs(first) else 1.0  # the least value of any other loss is unknown

    # Places

    def module_name(self, node: Node) -> str:
        """The dotted name of the innermost module that made the call; empty for the model itself, and outside of it."""
        module = node.scope.module() if node.scope is not None else None
        return next((name for name, own in self.modules.items() if own is module), "")

    def named(self, name: str) -> str:
        """A module's name with its class, "layers.1 (ReLU)"; empty for the model itself."""
        return f"{name} ({type(self.modules[name]).__name__})" if name else ""

    def where(self, node: Node) -> str:
        """The place of a call: the module, "layers.1 (ReLU)", or else the line, "net.py:12"."""
        if name := self.named(self.module_name(node)):
            return name
        place = node.notes["place"] if node.notes else self.home
        if place != self.home:
            return short(place)
        return "model" if node in self.run.nodes[: self.in_model] else "loss"

    @property
    def at_loss(self) -> str:
        """The loss and the line that computes it: "loss, train.py:12"."""
        lines = [node.notes["place"] for node in self.in_loss if node.notes and node.notes["place"] != self.home]
        return f"loss, {short(lines[-1])}" if lines else "loss"

    @property
    def at_step(self) -> str:
        """The user's own step and the line where it begins, or the optimizer."""
        return defined(self.train_step, "train_step") if self.train_step else "optimizer"


class Steps(NamedTuple):
    """What steps of training did: the first, the second, and the second again without the gradients left by the first.

    Attributes:
        runs: what was seen of each.
        values: of the parameters before, after the first, and after the second.
        left: the gradients after each of them.
        loss: before.
        losses: after the first step and, for comparison, after fractions of it, by the fraction.
        alive: how many calls of the first step are still kept after the third.
        replaced: the names of parameters that are other objects after the first step.
        batch: copies of inputs and targets after the first step.
    """

    runs: list[Run]
    values: list[Arrays]
    left: list[Arrays]
    loss: float
    losses: dict[float, float]
    alive: int
    replaced: list[str]
    batch: Arrays

    @property
    def error(self) -> Exception | None:
        return next((run.error for run in self.runs if run.error is not None), None)

    def moved(self, name: str) -> bool:
        """Whether the first step moved a parameter."""
        return not np.array_equal(self.values[0][name], self.values[1][name])


class Learned(NamedTuple):
    """An attempt to learn some rows by heart."""

    rows: int
    steps: int
    first: float
    last: float
    done: bool
    timeout: bool


ATTEMPTS = ((32, 3e-3), (32, 3e-2), (4, 1e-3), (4, 3e-2))
"""Pairs of a number of rows and a learning rate for Adam. One of them must succeed."""
STEPS = 300
LONG_ENOUGH = 10
"""For how many steps in a row the rows must count as learned, so that chance is not enough."""
SECONDS = 10
"""The time limit, after which the question is left open."""
UNLEARNED = 0.15
"""Rows count as learned below this fraction of wrong labels, or of unexplained variance."""


def varied(x: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    """The indices of some rows that differ, the first row of each class first: rows of one class are easily learned.

    Equal rows with different targets, such as a word and those that follow it, cannot all be learned.
    """
    rows = np.arange(min(len(x), 256))
    if x.dtype.kind in "fiub":
        rows = np.sort(np.unique(x[rows].reshape(len(rows), -1), axis=0, return_index=True)[1])
    if labels is None:
        return rows
    repetitions = [np.count_nonzero(labels[rows[:i]] == labels[row]) for i, row in enumerate(rows)]
    return rows[np.argsort(repetitions, kind="stable")]


def noted(name: str, module: Module, forward: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `forward` so that the run which is watching notes its calls under `name`."""

    def call(*inputs: Any, **options: Any) -> Any:
        runs = [watch for watch in state.get().watches if isinstance(watch, Run)]
        try:
            output = forward(*inputs, **options)
        except Exception:
            for run in runs:
                run.failed = run.failed or name
            raise
        for run in runs:
            run.calls.append(Call(name, output, module.training, not state.get().suspended))
        return output

    return call


@contextlib.contextmanager
def watched(watch: Any) -> Iterator[None]:
    """Record calls whatever the state outside, notify only this watch, and silence warnings."""
    with isolated(*([] if watch is None else [watch])), np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a step without gradients: that is found out here
        yield


@contextlib.contextmanager
def running(run: Run) -> Iterator[None]:
    """Note in a run what is done within it, and an exception that ends it."""
    try:
        with watched(run):
            yield
    except Exception as error:
        run.line = line_of(error)
        run.error = error.with_traceback(None)  # a traceback holds the frames, and so all of this


def seed_of(loss: Any) -> dict[Node, Any] | None:
    """What a backward pass starts with; None if there is no gradient of the loss."""
    if isinstance(loss, Tensor) and loss.requires_grad and loss.size == 1 and loss.node is not None:
        return {loss.node: np.ones_like(loss.data)}
    return None


def acts(module: Module) -> bool:
    """Whether a module does something else in training than in evaluation."""
    return isinstance(module, BatchNorm1d) or (isinstance(module, Dropout) and module.p > 0)


def norm(array: np.ndarray) -> float:
    """The square root of the sum of squares, computed in float64 to avoid overflow."""
    return float(np.linalg.norm(np.abs(array).ravel().astype(np.float64)))


def array_of(value: Any) -> np.ndarray:
    """The array of a Tensor, or of anything that NumPy makes one of; several of them are an object without an axis."""
    if isinstance(value, (list, tuple)) and any(np.ndim(item) for item in value):
        several = any(isinstance(item, (Tensor, np.ndarray)) for item in value)
        value = {"several": value} if several else value
    return value.array if isinstance(value, Tensor) else np.asarray(value)


def probabilities(array: Any, axis: int | None = 1) -> bool:
    """Whether `array` has shape (N, C), no negative element, and sums of 1 along an axis; or altogether, for None."""
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.shape[1] < 2 or not array.size:
        return False
    return bool(array.dtype.kind in "fiu" and array.min() >= 0 and np.abs(array.sum(axis=axis) - 1).max() < 1e-3)


def matrix(array: np.ndarray) -> np.ndarray | None:
    """The rows of a batch as a matrix of float64, or None if they are none of finite numbers."""
    if array.dtype.kind not in "fiub" or not array.ndim or not array.size or not is_finite(array):
        return None
    return array.reshape(len(array), -1).astype(np.float64)


def flat(value: Any) -> list[Any]:
    """The items of nested dicts, lists and tuples."""
    value = list(value.values()) if isinstance(value, dict) else value
    return [item for part in value for item in flat(part)] if isinstance(value, (list, tuple)) else [value]


def size_of(array: np.ndarray) -> float:
    """The root mean square, computed like `norm`."""
    return norm(array) / math.sqrt(array.size) if array.size else 0.0


def joined(names: list[str]) -> str:
    """Names as a phrase that does not get too long."""
    return ", ".join(names) if len(names) <= 3 else f"{names[0]}, {names[1]} and {len(names) - 2} more"
