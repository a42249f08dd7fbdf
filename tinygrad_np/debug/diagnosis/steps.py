"""Checks of the training step: what moves, how far, by which gradients, and does the network learn?"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from tinygrad_np.debug.diagnosis.loss import told_of
from tinygrad_np.debug.diagnosis.measure import (
    ATTEMPTS,
    SECONDS,
    Arrays,
    Run,
    Setup,
    Steps,
    acts,
    defined,
    joined,
    norm,
)
from tinygrad_np.debug.diagnosis.network import cosine, dropped
from tinygrad_np.debug.diagnosis.report import Told

TOO_FAR, TOO_LITTLE = 1.0, 3e-6
"""Ratios of update to weight above and below which a step counts as too large and too small. Adam with its default
learning rate reaches 0.05 in the first step of a layer with 784 inputs."""


# What the optimizer holds


def not_held(setup: Setup) -> Told:
    """The optimizer should hold the model's parameters."""
    if setup.optimizer is None:
        return None
    held = {*setup.optimizer.params}
    names = [name for name, p in setup.parameters.items() if p.requires_grad and p not in held]
    if setup.train_step is not None and setup.steps is not None and setup.steps.error is None:
        before, after = setup.steps.values[:2]
        names = [name for name in names if np.array_equal(before[name], after[name])]
    if not names:
        return None
    others = strangers(setup)
    message = "missing from the optimizer, so never updated" + (f"; it {others[1]}" if others else "")
    return joined(names), message, "make the optimizer after the model is complete, with model.parameters()"


def strangers(setup: Setup) -> Told:
    """The optimizer should hold no other parameters."""
    if setup.optimizer is None or not setup.modules:
        return None
    known = {parameter for module in setup.found.modules.values() for parameter in module.parameters()}
    known |= {*setup.found.tensors.values()} - {*setup.optimizer.params}
    others = [i for i, p in enumerate(setup.optimizer.params) if p not in known]
    if not others:
        return None
    message = (
        f"holds {len(others)} that are not the model's, such as number {others[0]}, of shape "
        f"{setup.optimizer.params[others[0]].shape}: was a layer replaced after the optimizer was made?"
    )
    return "optimizer", message, "make the optimizer after the model is complete, with model.parameters()"


# Modes


def trained_modules(setup: Setup, run: Run, training: bool, recorded: bool | None = None) -> list[str]:
    """The modules that were called in a mode, and that do something else in the other."""
    names = [c.name for c in run.calls if c.training is training and recorded in (None, c.recorded)]
    return list(dict.fromkeys(name for name in names if acts(setup.modules[name])))


def kinds(setup: Setup, names: list[str]) -> str:
    return joined([f"{name} ({type(setup.modules[name]).__name__})" for name in names])


def training_in_evaluation(setup: Setup) -> Told:
    """In evaluation mode dropout drops nothing, and batch normalisation uses statistics that do not follow the data."""
    runs = [setup.run]
    if setup.train_step is not None:
        runs = setup.steps.runs if setup.steps is not None else []
    for i, run in enumerate(runs):
        names = trained_modules(setup, run, training=False, recorded=True)
        whole = [call for call in run.calls if call.recorded]
        if names and not any(call.training for call in whole):
            if setup.train_step is None:
                place, message = "model", "the model is in evaluation mode"
            else:
                place, message = setup.at_step, f"step {i + 1} trains in evaluation mode"
            message += (
                f", where dropout drops nothing and batch normalisation keeps to old statistics: {kinds(setup, names)}"
            )
            return place, message, "call model.train() before each epoch, and again after each evaluation"
    return None


def evaluating_in_training(setup: Setup) -> Told:
    """In training mode dropout drops at random, and batch normalisation mixes the rows of a batch."""
    runs: list[tuple[str, Run, bool | None]] = []
    if setup.evaluation is not None:
        runs.append((defined(setup.evaluate, "evaluate"), setup.evaluation, None))
    if setup.train_step is not None and setup.steps is not None:
        runs += [(setup.at_step, run, False) for run in setup.steps.runs]
    for place, run, recorded in runs:
        names = trained_modules(setup, run, training=True, recorded=recorded)
        roots = [c for c in run.calls if c.name == "" and (recorded is None or c.recorded is recorded)]
        if names and (roots or "" not in setup.modules):
            within = "" if recorded is None else " within no_grad(), as for an evaluation, but"
            message = (
                f"the model is called{within} in training mode, where dropout drops at random and batch normalisation "
                f"depends on the other rows: {kinds(setup, names)}"
            )
            return place, message, "call model.eval() before the evaluation, and model.train() after it"
    return None


def dropping_in_evaluation(setup: Setup) -> Told:
    """Dropout is for training. Tried: are two predictions in evaluation mode equal?"""
    if "" not in setup.modules:
        return None
    for node, following in pairwise([*setup.run.nodes[: setup.in_model], *setup.run.nodes[-1:]]):
        module = setup.modules.get(setup.module_name(node))
        if dropped(node, following) and (module is None or not acts(module)):
            if not setup.random_in_evaluation():
                return None
            message = "in evaluation mode, too, it drops at random: two predictions for the same rows differ"
            return setup.where(node), message, "pass training=self.training to functional.dropout, or use nn.Dropout"
    return None


# What a step does


def fails(setup: Setup) -> Told:
    steps = setup.steps
    if steps is None or steps.error is None or replaces(setup) or grows(setup):
        return None
    run = next(run for run in steps.runs if run.error is not None)
    count = ("first", "second", "third")[steps.runs.index(run)]
    message = f"{type(run.error).__name__}: {run.error}"
    if count != "first":
        message += f" (in the {count} step)"
    return at(setup, run), message, "fix this first"


def evaluation_fails(setup: Setup) -> Told:
    run = setup.evaluation
    if run is None or run.error is None:
        return None
    return f"evaluate, {run.line}", f"{type(run.error).__name__}: {run.error}", "fix this first"


def at(setup: Setup, run: Run) -> str:
    """The user's own step, and the line that failed."""
    return f"train_step, {run.line}" if run.line else setup.at_step


def replaces(setup: Setup) -> Told:
    """A parameter keeps its Tensor, and its array: what holds it would not notice."""
    steps = setup.steps
    if steps is None:
        return None
    remedy = "change its values in place: within no_grad(), w -= lr * w.grad, or w.data[...] = value"
    for run in steps.runs:
        text = str(run.error or "")
        if "cannot replace" in text or "an update such as w = w" in text:
            return at(setup, run), f"a step replaces a parameter by another Tensor: {text}", remedy
    if steps.replaced:
        message = "a step replaces it by another Tensor, which the optimizer and others do not hold"
        if not setup.modules:
            message = "a step replaces it by a Tensor that is no parameter: it was computed, or does not require grad"
        return f"{joined(steps.replaced)}, {setup.at_step}", message, remedy
    return None


def grows(setup: Setup) -> Told:
    """What is kept from a step keeps the graph of that step."""
    steps = setup.steps
    if replaces(setup):
        return None
    remedy = "keep numbers, loss.item(), and the state of a recurrent network as .detach()"
    for run in (*(steps.runs if steps is not None else ()), setup.again):
        if run.older is not None and run.older.notes is not None:
            place = run.older.notes["place"].rpartition("/")[2]
            message = (
                f"{run.older.rule.name} uses a Tensor that an earlier step computed, so that the graph grows from step "
                f"to step{f', and its second backward pass fails: {run.error}' * bool(run.error)}"
            )
            return f"{'train_step' if setup.train_step else 'loss'}, {place}", message, remedy
    if steps is not None and steps.alive and steps.error is None:
        message = f"{steps.alive} calls of the first step are still kept after the third: something holds its loss"
        return setup.at_step, message, remedy
    return None


def turns_infinite(setup: Setup) -> Told:
    """A step should leave finite numbers, as it found them."""
    steps = setup.steps
    if steps is None or steps.error is not None or not setup.finite:
        return None
    if all(np.isfinite(value).all() for values in steps.values for value in values.values()):
        return None
    error = setup.step_anomaly
    if error is None or too_fast(setup) is not None:
        return None
    place, message, remedy = told_of(error, setup)
    return (
        (place if place != "model" else setup.at_step),
        f"parameters become NaN or inf within two steps: {message}",
        remedy,
    )


def uncleared(setup: Setup) -> Told:
    """Gradients should not carry over to the next step."""
    if setup.train_step is None:
        return uncleared_before(setup)
    steps = setup.steps
    if steps is None or steps.error is not None:
        return None
    first, twice, cleared = steps.left
    names = [name for name in first if name in twice and name in cleared and moved(steps, name)]
    kept = [name for name in names if adds(first[name], cleared[name], twice[name])]
    if not kept:
        return None
    message = f"gradients are not cleared between steps: each step adds to the last, in {joined(kept)}"
    return setup.at_step, message, "call optimizer.zero_grad() in every step, before backward()"


def moved(steps: Steps, name: str) -> bool:
    return not np.array_equal(steps.values[0][name], steps.values[1][name])


def adds(left: np.ndarray, cleared: np.ndarray, twice: np.ndarray) -> bool:
    """Whether the second gradient contains the one that the first step left."""
    return bool(left.any()) and norm(twice - cleared - left) < 0.1 * norm(left)


def uncleared_before(setup: Setup) -> Told:
    """Compare the gradients that the parameters hold with a new one, taken here and where the last step began.

    One old gradient is what every training loop leaves that clears before backward(). Two of them, or ten, are not.
    """
    left = {name: gradient for name, gradient in setup.left().items() if gradient.any()}
    if not left or not all(np.isfinite(gradient).all() for gradient in left.values()):
        return None
    now = compared(left, setup.gradients)
    if setup.optimizer is None or not any(setup.optimizer.state_dict()["step"]):  # no step since they were taken
        if not (round(now.times) >= 2 and now.likeness > 0.999 and abs(now.times / round(now.times) - 1) < 0.02):
            return None
    else:
        before = compared(left, earlier_gradients(setup)) if now.larger > 1.7 else now
        times, larger = min(now.times, before.times), min(now.larger, before.larger)
        classes = setup.output.shape[1] if setup.labels is not None and setup.output is not None else 0
        unlearned = classes > 0 and (setup.loss_value or 0) > 0.3 * math.log(classes)
        alike = (times > 1.7 and before.likeness > 0.95) or (larger > 4 and (before.likeness > 0.4 or unlearned))
        if now.larger <= 1.7 or not alike:
            return None
        now = before
    message = (
        "gradients are not cleared between steps: those that the parameters hold are "
        f"{now.larger:.3g} times as large as those of this batch"
    )
    return joined(list(left)), message, "call optimizer.zero_grad(), or model.zero_grad(), before each backward()"


def earlier_gradients(setup: Setup) -> Arrays:
    """The gradients of this batch at about the point where the last step began.

    The optimizer does not know that point. But one more step with the same gradients leads about as far again, so
    going as far the other way leads about there.
    """
    assert setup.optimizer is not None
    now = setup.values()
    setup.optimizer.step()
    for name, parameter in setup.parameters.items():
        parameter.data[...] = 2 * now[name] - parameter.data
    setup.backward(setup.inputs, setup.targets)
    gradients = setup.left()
    setup.start.restore()
    return gradients


class Comparison(NamedTuple):
    """How old gradients compare with new ones.

    Attributes:
        times: how many times the old ones contain the new ones, by least squares.
        likeness: the cosine of the angle between them.
        larger: the norm of the old ones over that of the new ones.
    """

    times: float
    likeness: float
    larger: float


def compared(old: Arrays, new: Arrays) -> Comparison:
    names = [name for name in old if name in new]
    x, y = (np.concatenate([g[n].ravel().astype(np.float64) for n in names] or [np.zeros(1)]) for g in (old, new))
    if not x.any() or not y.any():
        return Comparison(0.0, 0.0, 0.0)
    product, sizes = float(x @ y), (norm(x), norm(y))
    return Comparison(product / sizes[1] ** 2, product / (sizes[0] * sizes[1]), sizes[0] / sizes[1])


# How far it goes


def with_gradient(setup: Setup) -> list[str]:
    return [name for name in setup.parameters if name in setup.gradients and setup.gradients[name].any()]


def moves_nothing(setup: Setup) -> Told:
    """A step should move the parameters that have a gradient. Tried: several steps."""
    steps, names = setup.steps, with_gradient(setup)
    if steps is None or steps.error is not None or not names or any(moved(steps, name) for name in names):
        return None
    if setup.train_step is not None and setup.moves_later(14):  # gradients of several batches, or a rate that warms up
        return None
    message = "it moves no parameter"
    remedy = "call optimizer.step() after backward(), with no zero_grad() between them"
    if setup.optimizer is None:
        remedy = "change the arrays in place, p.data -= lr * p.grad: p = ... only gives its name to something else"
    elif setup.train_step is None or not setup.optimizer.lr:
        message += f": the optimizer's lr is {setup.optimizer.lr:g}"
        remedy = "raise lr, for a start to 1e-3"
    return setup.at_step, message, remedy


def moves_all(setup: Setup) -> Told:
    """A step should move all of them."""
    steps, names = setup.steps, with_gradient(setup)
    if steps is None or steps.error is not None or setup.optimizer is not None:
        return None
    still = [name for name in names if not moved(steps, name)]
    if not still or len(still) == len(names):
        return None
    message = "train_step does not move it, although it has a gradient: is it missing from the optimizer?"
    return joined(still), message, "give it to the optimizer"


def changes(setup: Setup) -> tuple[str, float, str]:
    """The weight that a step changes most, by which part of its norm, and both as text with the loss; or "" first."""
    steps = setup.steps
    if steps is None or steps.error is not None:
        return "", 0.0, ""
    before, after = steps.values[:2]
    weights = [name for name, _ in setup.layers if before[name].any() and name in setup.gradients]
    ratios = {name: norm(after[name] - before[name]) / norm(before[name]) for name in weights}
    name = max(ratios, key=lambda name: ratios[name], default="")
    if not name or not ratios[name]:
        return "", 0.0, ""
    rate = f" (lr {setup.optimizer.lr:g})" if setup.optimizer else ""
    text = f"a step changes {name} by {ratios[name]:.2g} of its norm{rate}"
    return name, ratios[name], f"{text}, and the loss of the batch from {steps.loss:.4g} to {steps.losses[1.0]:.4g}"


def goes_uphill(setup: Setup) -> Told:
    """A step goes against the gradient."""
    steps = setup.steps
    name, _, text = changes(setup)
    if not name or steps is None or setup.train_step is None or not steps.losses[1.0] > steps.loss:
        return None
    before, after = steps.values[:2]
    names = [n for n in setup.gradients if moved(steps, n)]
    uphill = sum(float(np.sum((after[n] - before[n]) * setup.gradients[n])) for n in names)
    if uphill <= 0 or not all(loss >= steps.loss for loss in steps.losses.values()):
        return None
    return setup.at_step, f"a step goes uphill: {text}", "subtract the gradient times the learning rate, do not add it"


def too_fast(setup: Setup) -> Told:
    """A step that is too long makes the loss larger. Tried: parts of the step, and 20 steps at smaller rates."""
    steps = setup.steps
    name, ratio, text = changes(setup)
    if not name or steps is None:
        return None
    reached, loss = steps.losses[1.0], steps.loss
    better = [scale for scale, value in steps.losses.items() if scale < 1 and value < loss]
    worse = not math.isfinite(reached) or reached > loss + 4 * max(abs(loss), 0.1)
    if better and ((reached > loss and ratio > TOO_FAR) or (worse and ratio > 0.01)):
        message = f"{text}; a step {1 / better[0]:.0f} times as short changes it to {steps.losses[better[0]]:.4g}"
        factor = 10 ** math.ceil(math.log10(max(ratio, 0.011) / 0.01))
        remedy = f"lower the learning rate, for a start by a factor of {factor}"
        return setup.at_step, f"the learning rate is too high: {message}", remedy
    if setup.optimizer is None or reached < loss / 2 or not setup.optimizer.lr:
        return None
    lr = setup.optimizer.lr
    long = setup.trained(20)
    if math.isfinite(long) and long < loss + 0.5 * abs(loss):
        return None
    for scale in (0.1, 0.01, 0.001):
        short = setup.trained(20, lr=lr * scale)
        if short < loss - 0.02 * abs(loss):
            message = f"20 steps on this batch at lr {lr:g} take the loss from {loss:.4g} to {long:.4g}"
            message += f", at lr {lr * scale:g} to {short:.4g}"
            return (
                setup.at_step,
                f"the learning rate is too high: {message}",
                f"lower it, for a start to {lr * scale:g}",
            )
    return None


def too_slow(setup: Setup) -> Told:
    """A step that changes next to nothing. Tried: 20 steps at a rate that moves the weight by 1e-3 of its norm."""
    name, ratio, text = changes(setup)
    if not name or ratio >= TOO_LITTLE or norm(setup.gradients[name]) <= 1e-4 * norm(setup.parameters[name].data):
        return None
    factor = 10 ** math.floor(math.log10(1e-3 / ratio))
    if setup.optimizer is not None:
        lr = setup.optimizer.lr
        slow, fast = setup.trained(20), setup.trained(20, lr=lr * factor)
        if not fast < slow:
            return None
        text += f"; after 20 steps it is {slow:.4g}, with a rate {factor:g} times as large {fast:.4g}"
    return (
        setup.at_step,
        f"the learning rate is too low: {text}",
        f"raise the learning rate, for a start by a factor of {factor:g}",
    )


def weight_decay(setup: Setup) -> Told:
    """Weight decay should be a small part of a step. Tried: steps without it."""
    steps, optimizer = setup.steps, setup.optimizer
    if steps is None or steps.error is not None:
        return None
    before, after = steps.values[:2]
    names = [name for name, _ in setup.layers if before[name].any() and name in setup.gradients and moved(steps, name)]
    shrink = [
        name
        for name in names
        if cosine(after[name] - before[name], -before[name]) > 0.7 and cosine(setup.gradients[name], before[name]) < 0.5
    ]
    if not names or len(shrink) * 2 < len(names):
        return None
    name = max(shrink, key=lambda name: norm(after[name] - before[name]) / norm(before[name]))
    lost = 1 - norm(after[name]) / norm(before[name])
    message = f"a step shrinks {name} by {lost:.2g} of its norm, more than the gradient moves it"
    if optimizer is not None and optimizer.weight_decay:
        decay = optimizer.weight_decay
        kept, without = setup.trained(50), setup.trained(50, weight_decay=0.0)
        if not without < kept - 0.02 * abs(kept):
            return None
        message += f" (weight_decay {decay:g}); 50 steps on this batch take the loss to {kept:.4g}"
        message += f", without decay to {without:.4g}"
    return setup.at_step, message, "decay less: weight_decay=1e-4 is a start, or by hand w.data *= 1 - lr * 1e-4"


# Does it learn?


def undecided(setup: Setup) -> Told:
    learned = setup.learned
    if learned is None or learned.done or not learned.timeout:
        return None
    message = f"{SECONDS} seconds were not enough to tell whether a few rows can be learned by heart"
    return "model", message, "try a smaller model, or fewer rows"


def not_learned(setup: Setup) -> Told:
    """A network should be able to learn a few rows by heart. Tried: rows and learning rates of different sizes."""
    learned = setup.learned
    if learned is None or learned.done or learned.timeout:
        return None
    fell = "fell" if learned.last < learned.first else "went"
    message = (
        f"the loss {fell} from {learned.first:.4g} to {learned.last:.4g} in {learned.steps} steps of Adam on "
        f"{learned.rows} rows of the batch, the best of {len(ATTEMPTS)} tries"
    )
    if setup.labels is not None:
        message += ", and more than 10% of the rows are still assigned to a wrong class"
    remedy = (
        "check that the model uses its input, that it can produce the targets (is there a ReLU, sigmoid or softmax "
        "at the end?), and that inputs and targets belong together; otherwise make it larger"
    )
    return "model", message, remedy
