"""Checks of the training step: what moves, how far, by which gradients, and does the network learn?"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from tinygrad_np.debug.diagnosis.loss import raised, told_of
from tinygrad_np.debug.diagnosis.measure import (
    ATTEMPTS,
    SECONDS,
    UNLEARNED,
    Arrays,
    Learned,
    Run,
    Setup,
    Steps,
    acts,
    array_of,
    joined,
    norm,
)
from tinygrad_np.debug.diagnosis.network import cosine, dropped, largest
from tinygrad_np.debug.diagnosis.report import Told
from tinygrad_np.debug.places import defined
from tinygrad_np.nn import Module
from tinygrad_np.optim import Optimizer
from tinygrad_np.tensor import Tensor

TOO_FAR, TOO_LITTLE = 1.0, 3e-6
"""Ratios of update to weight above and below which a step counts as too large and too small. Adam with its default
learning rate reaches 0.05 in the first step of a layer with 784 inputs."""

COMPLETE = "make the optimizer after the model is complete, with model.parameters()"


# What the optimizer holds


def not_held(setup: Setup, parameters: dict[str, Tensor], optimizer: Optimizer) -> Told:
    """The optimizer should hold the model's parameters."""
    held, steps = {*optimizer.params}, setup.steps if setup.train_step is not None else None
    names = [name for name, p in parameters.items() if p.requires_grad and p not in held]
    names = [name for name in names if steps is None or not steps.moved(name)]
    if not names:
        return None
    others = strangers(setup, optimizer)
    return (
        joined(names),
        f"missing from the optimizer, so never updated{f'; it {others[1]}' if others else ''}",
        COMPLETE,
    )


def strangers(setup: Setup, optimizer: Optimizer) -> Told:
    """The optimizer should hold no other parameters."""
    known = {parameter for module in setup.found.modules.values() for parameter in module.parameters()}
    known |= {*setup.found.tensors.values()} - {*optimizer.params}
    used = {parent for node in setup.run.nodes for parent in node.parents}
    others = [i for i, p in enumerate(optimizer.params) if p not in known and p.node not in used]
    if not others or not setup.modules:
        return None
    message = f"holds {len(others)} that are not the model's, such as number {others[0]}, of shape "
    message += f"{optimizer.params[others[0]].shape}: was a layer replaced after the optimizer was made?"
    return "optimizer", message, COMPLETE


def moves_all(setup: Setup, steps: Steps, gradients: Arrays) -> Told:
    """A step should move all parameters that have a gradient. Without an optimizer to look into, that is tried."""
    still = [name for name in moving(gradients) if not steps.moved(name)]
    if setup.optimizer is not None or not still or len(still) == len(moving(gradients)):
        return None
    message = "train_step does not move it, although it has a gradient: is it missing from the optimizer?"
    return joined(still), message, "give it to the optimizer"


def moves_nothing(setup: Setup, steps: Steps, parameters: dict[str, Tensor], gradients: Arrays) -> Told:
    """A step should move the parameters that have a gradient. Tried: several steps."""
    names = moving(gradients)
    if not names or any(map(steps.moved, names)):
        return None

    def moves_later() -> bool:  # gradients of several batches, or a rate that warms up
        setup.after_steps(14)
        return any(not np.array_equal(value, steps.values[0][name]) for name, value in setup.values().items())

    if setup.train_step is not None and setup.tried(moves_later) is True:
        return None
    message, remedy = "it moves no parameter", "call optimizer.step() after backward(), with no zero_grad() between"
    if setup.optimizer is None:
        remedy = "change the arrays in place, p.data -= lr * p.grad: p = ... only gives its name to something else"
    for optimizer, lr, gradient in steps.runs[0].updates:
        if {*optimizer.params}.isdisjoint(parameters.values()):
            message, remedy = "it moves no parameter: its optimizer holds none of the model's", COMPLETE
        elif not lr:
            message, remedy = "it moves no parameter: the optimizer's lr is 0", "raise lr, for a start to 1e-3"
        elif not gradient:
            message = "it moves no parameter: the optimizer is given no gradients, or zeros"
    return setup.at_step, message, remedy


def moving(gradients: Arrays) -> list[str]:
    return [name for name, gradient in gradients.items() if gradient.any()]


# Modes


OLD = "dropout drops nothing and batch normalisation keeps to old statistics"
MIXED = "dropout drops at random and batch normalisation depends on the other rows"


def modes(setup: Setup, run: Run) -> Told:
    """Training is done in training mode, and evaluation, or what is done within `no_grad`, in evaluation mode."""
    training = [("model", "the model is in evaluation mode", run)]
    evaluating: list[tuple[str, str, Run, bool | None]] = []
    if setup.evaluation is not None:
        place = defined(setup.evaluate, "evaluate")
        evaluating = [(place, "the model is called in training mode", setup.evaluation, None)]
    if setup.train_step is not None:
        training = [(setup.at_step, f"{name} trains in evaluation mode", one) for name, one in setup.own_steps.items()]
        message = "the model is called within no_grad(), as for an evaluation, but in training mode"
        evaluating += [(setup.at_step, message, one, False) for one in setup.own_steps.values()]
    for place, message, one in training:
        names = acting(setup, one, training=False, recorded=True)
        if names and not any(call.training for call in one.calls if call.recorded):
            return (
                place,
                f"{message}, where {OLD}: {names}",
                "call model.train() before each epoch, after evaluations too",
            )
    for place, message, one, recorded in evaluating:
        names = acting(setup, one, training=True, recorded=recorded)
        whole = any(call.name == "" and recorded in (None, call.recorded) for call in one.calls)
        if names and (whole or "" not in setup.modules):
            remedy = "call model.eval() before the evaluation, and model.train() after it"
            return place, f"{message}, where {MIXED}: {names}", remedy
    return None


def acting(setup: Setup, run: Run, training: bool, recorded: bool | None) -> str:
    """The modules that were called in a mode, and that do something else in the other."""
    names = [c.name for c in run.calls if c.training is training and recorded in (None, c.recorded)]
    return joined([setup.named(name) for name in dict.fromkeys(names) if acts(setup.modules[name])])


def dropping_in_evaluation(setup: Setup, modules: dict[str, Module]) -> Told:
    """Dropout is for training. Tried: are two predictions in evaluation mode equal?"""

    def random() -> bool:
        for module in modules.values():
            module.training = False
        first, second = (array_of(setup.model(setup.inputs)) for _ in range(2))
        return not np.array_equal(first, second, equal_nan=True)

    for node, following in setup.pairs if "" in modules else ():
        module = modules.get(setup.module_name(node))
        if dropped(node, following) and (module is None or not acts(module)):
            message = "in evaluation mode, too, it drops at random: two predictions for the same rows differ"
            remedy = "pass training=self.training to functional.dropout, or use nn.Dropout"
            return (setup.where(node), message, remedy) if setup.tried(random) is True else None
    return None


# What a step does


def replaces(setup: Setup, all_steps: Steps) -> Told:
    """A parameter keeps its Tensor, and its array: what holds it would not notice."""
    remedy = "change its values in place: within no_grad(), w -= lr * w.grad, or w.data[...] = value"
    for run in all_steps.runs:
        text = str(run.error or "")
        if "cannot replace" in text or "an update such as w = w" in text:
            return at(setup, run), f"a step replaces a parameter by another Tensor: {text}", remedy
    if not all_steps.replaced:
        return None
    what = "another Tensor, which the optimizer and others do not hold"
    if not setup.modules:
        what = "a Tensor that is no parameter: it was computed, or does not require grad"
    return f"{joined(all_steps.replaced)}, {setup.at_step}", f"a step replaces it by {what}", remedy


def grows(setup: Setup) -> Told:
    """What is kept from a step keeps the graph of that step."""
    steps = setup.all_steps
    remedy = "keep numbers, loss.item(), and the state of a recurrent network as .detach()"
    for run in (*(steps.runs if steps is not None else ()), setup.seen(setup.forward_pass)):
        if run.older is not None and run.older.notes is not None:
            place = run.older.notes["place"].rpartition("/")[2]
            message = (
                f"{run.older.rule.name} uses a Tensor that an earlier step computed, so that the graph grows from "
            )
            message += f"step to step{f', and its second backward pass fails: {run.error}' * bool(run.error)}"
            return f"{'train_step' if setup.train_step else 'loss'}, {place}", message, remedy
    if steps is None or not steps.alive or steps.error is not None:
        return None
    message = f"{steps.alive} calls of the first step are still kept after the third: something holds its loss"
    return setup.at_step, message, remedy


def fails(setup: Setup, all_steps: Steps) -> Told:
    """A step should run, and run again."""
    for count, run in zip(("", " (in the second step)", " (in the third step)"), all_steps.runs, strict=True):
        if run.error is not None:
            remedy = "fix this first; it is called as train_step(inputs, targets)"
            if "does not require grad" in str(run.error) and any(not call.recorded for call in run.calls):
                return (
                    at(setup, run),
                    "the model is called within no_grad(): no history",
                    "call it outside of no_grad()",
                )
            return at(setup, run), raised(run.error) + count, remedy
    return None


def evaluation_fails(evaluation: Run) -> Told:
    """So should the evaluation."""
    return (f"evaluate, {evaluation.line}", raised(evaluation.error), "fix this first") if evaluation.error else None


def evaluation_trains(setup: Setup, evaluation: Run) -> Told:
    """To evaluate is not to train."""
    if not evaluation.updates:
        return None
    place = defined(setup.evaluate, "evaluate")
    return place, "an optimizer takes a step in it: the data are learned", "call neither backward() nor step() in it"


def at(setup: Setup, run: Run) -> str:
    """The user's own step, and the line that failed."""
    return f"train_step, {run.line}" if run.line else setup.at_step


def turns_infinite(setup: Setup, steps: Steps) -> Told:
    """A step should leave finite numbers, as it found them. Tried: three steps inside `detect_anomaly`."""
    if all(np.isfinite(value).all() for values in steps.values for value in values.values()):
        return None
    error = setup.detected(lambda: setup.after_steps(3))
    if error is None:
        return None
    place, message, remedy = told_of(error, setup)
    message = f"parameters become NaN or inf within two steps: {message}"
    return place if place != "model" else setup.at_step, message, remedy


# Are gradients cleared?

CLEAR = "call optimizer.zero_grad(), or model.zero_grad(), in every step before backward()"
NOT_CLEARED = "gradients are not cleared between steps:"


def uncleared(setup: Setup, steps: Steps) -> Told:
    """Gradients should not carry over to the next step: the second must not contain what the first has left."""
    first, twice, cleared = steps.left
    names = [name for name in first if name in twice and name in cleared and steps.moved(name) and first[name].any()]
    kept = [n for n in names if norm(twice[n] - cleared[n] - first[n]) < 0.1 * norm(first[n])]
    if setup.train_step is None or not kept:
        return None
    return setup.at_step, f"{NOT_CLEARED} each step adds to the last, in {joined(kept)}", CLEAR


def uncleared_before(setup: Setup, gradients: Arrays) -> Told:
    """Compare the gradients that the parameters hold with a new one, taken here and where the last step began.

    One old gradient is what every training loop leaves that clears before backward(). Two of them, or ten, are not.
    """
    left = {name: gradient for name, gradient in setup.left().items() if gradient.any()}
    if setup.train_step is not None or not left or not np.isfinite(as_vector(left, left)).all():
        return None
    times, likeness, larger = compared(left, gradients)
    if setup.optimizer is None or not any(setup.optimizer.state_dict()["step"]):  # no step since they were taken
        found = round(times) >= 2 and likeness > 0.999 and abs(times / round(times) - 1) < 0.02
    else:
        found = larger > 1.7
        if found:
            before, alike, bigger = compared(left, earlier_gradients(setup))
            classes = setup.output.shape[1] if setup.labels is not None and setup.output is not None else 0
            unlearned = classes > 0 and (setup.loss_value or 0) > 0.3 * math.log(classes)
            found = (min(times, before) > 1.7 and alike > 0.95) or (
                min(larger, bigger) > 4 and (alike > 0.4 or unlearned)
            )
            larger = bigger
    message = f"{NOT_CLEARED} those that the parameters hold are {larger:.3g} times as large as those of this batch"
    return (joined(list(left)), message, CLEAR) if found else None


def earlier_gradients(setup: Setup) -> Arrays:
    """The gradients of this batch at about the point where the last step began.

    The optimizer does not know that point. But one more step with the same gradients leads about as far again, so
    going as far the other way leads about there.
    """
    assert setup.optimizer is not None
    with setup.undone():
        now = setup.values()
        setup.optimizer.step()
        for name, parameter in setup.parameters.items():
            parameter.data[...] = 2 * now[name] - parameter.data
        setup.backward(setup.inputs, setup.targets)
        return setup.left()


def compared(old: Arrays, new: Arrays) -> tuple[float, float, float]:
    """How many times old gradients contain the new ones, by least squares; the cosine of the angle; how much larger."""
    x, y = as_vector(old, new), as_vector(new, old)
    sizes, product = (norm(x), norm(y)), float(x @ y)
    if not all(sizes):
        return 0.0, 0.0, 0.0
    return product / sizes[1] ** 2, product / (sizes[0] * sizes[1]), sizes[0] / sizes[1]


def as_vector(arrays: Arrays, others: Arrays) -> np.ndarray:
    """The arrays that both have, in one vector."""
    names = sorted(arrays.keys() & others.keys())
    return np.concatenate([np.zeros(1), *(arrays[name].ravel().astype(np.float64) for name in names)])


# How far it goes


def change(setup: Setup, steps: Steps) -> tuple[str, float, str]:
    """The weight that a step changes most, by which part of its norm, and both as text with the loss; or "" first."""
    before, after = steps.values[:2]
    weights = [name for name in setup.weights if before[name].any()]
    name, ratio = largest({name: norm(after[name] - before[name]) / norm(before[name]) for name in weights})
    rate = f" (lr {setup.optimizer.lr:g})" if setup.optimizer else ""
    text = (
        f"a step changes {name} by {ratio:.2g} of its norm{rate}, and the loss of the batch from {steps.loss:.4g} to "
    )
    return name if ratio else "", ratio, f"{text}{steps.losses[1.0]:.4g}"


def goes_uphill(setup: Setup, steps: Steps, gradients: Arrays) -> Told:
    """A step goes against the gradient. Tried: parts of the step."""
    name, _, text = change(setup, steps)
    before, after = steps.values[:2]
    step = {n: after[n] - before[n] for n in gradients}
    uphill = compared(step, gradients)[1]
    worse = steps.losses[1.0] > steps.loss and all(loss >= steps.loss for loss in steps.losses.values())
    if not name or setup.train_step is None or uphill < 0.2 or not worse:
        return None
    return setup.at_step, f"a step goes uphill: {text}", "subtract the gradient times the learning rate, do not add it"


def too_fast(setup: Setup, steps: Steps) -> Told:
    """A step that is too long makes the loss larger. Tried: parts of the step, or 20 steps at smaller rates.

    One step may make it larger, if those after it make up for that.
    """
    name, ratio, text = change(setup, steps)
    reached, loss, lr = steps.losses[1.0], steps.loss, setup.optimizer.lr if setup.optimizer else 0.0
    shorter = {scale: value for scale, value in steps.losses.items() if scale < 1 and value < loss}
    far = not math.isfinite(reached) or reached > loss + 4 * max(abs(loss), 0.1)
    far = bool(shorter) and ((reached > loss and ratio > TOO_FAR) or (far and ratio > 0.01))
    if not name or not (far or (lr and reached >= loss / 2)):
        return None
    if not lr:
        best = min(shorter, key=lambda scale: shorter[scale])
        message = f"{text}; a step {1 / best:.0f} times as short changes it to {shorter[best]:.4g}"
        return setup.at_step, f"{HIGH} {message}", f"lower it, for a start by a factor of {1 / best:.0f}"
    after, losses = setup.trained(20), {lr / k: setup.trained(20, lr=lr / k) for k in (10, 100, 1000)}
    best = min(losses, key=lambda rate: (math.isnan(losses[rate]), losses[rate]))
    enough = max(loss / 20, 2 * losses[best]) if far else loss + abs(loss) / 2
    if -math.inf < after < enough or not losses[best] < loss - 0.02 * abs(loss):
        return None
    message = f"20 steps on this batch at lr {lr:g} take the loss from {loss:.4g} to {after:.4g}, at lr {best:g} to "
    return setup.at_step, f"{HIGH} {message}{losses[best]:.4g}", f"lower it, for a start to {best:g}"


HIGH = "the learning rate is too high:"


def too_slow(setup: Setup, steps: Steps, parameters: dict[str, Tensor]) -> Told:
    """A step that changes next to nothing. Tried: 20 steps at rates that move the weight by up to 1e-3 of its norm."""
    name, ratio, text = change(setup, steps)
    if not name or ratio >= TOO_LITTLE:
        return None
    if norm(setup.gradients[name]) <= 1e-4 * norm(parameters[name].data) and not setup.unlearned:
        return None
    largest_factor = math.floor(math.log10(1e-3 / ratio))
    factor, given = 10**largest_factor, sum(gradient for _, _, gradient in steps.runs[0].updates)
    if setup.optimizer is not None:
        slow = setup.number(lambda: setup.after_steps(20))
        rates = [10**k for k in range(largest_factor, 0, -1)]
        losses = {rate: setup.trained(20, lr=setup.optimizer.lr * rate) for rate in rates}
        factor = min(losses, key=lambda rate: (math.isnan(losses[rate]), losses[rate]))
        if not losses[factor] < slow:
            return None
        text += (
            f"; after 20 steps it is {slow:.4g}, with the gradients of the loss and a rate {factor:g} times as large "
        )
        text += f"{losses[factor]:.4g}"
    message, remedy = f"the learning rate is too low: {text}", f"raise it, for a start by a factor of {factor:g}"
    whole = math.hypot(*map(norm, setup.gradients.values()))
    if setup.train_step is not None and 0 < given < whole / 10:
        message = f"the gradients at step() are {given / whole:.2g} times as large as those of the loss: {text}"
        remedy = "clip or scale them less"
    return setup.at_step, message, remedy


def weight_decay(setup: Setup, steps: Steps, gradients: Arrays) -> Told:
    """Weight decay should be a small part of a step. Tried: steps without it."""
    before, after = steps.values[:2]
    decays = setup.optimizer.weight_decay if setup.optimizer is not None else 0.0
    names = [name for name in setup.weights if before[name].any() and steps.moved(name)]
    names = [name for name in names if decays or (setup.train_step and before[name].size >= 30)]  # fewer may by chance
    shrunk = {}
    for n in names:
        both = [cosine(later[n] - now[n], -now[n]) > 0.7 for now, later in pairwise(steps.values)]  # clipping does once
        if all(both) and cosine(gradients[n], before[n]) < 0.5:
            shrunk[n] = 1 - norm(after[n]) / norm(before[n])
    if not shrunk or len(shrunk) * 2 < len(names):
        return None
    name, lost = largest(shrunk)
    message = f"a step shrinks {name} by {lost:.2g} of its norm, more than the gradient moves it"
    if decays:
        kept, without = setup.trained(50), setup.trained(50, weight_decay=0.0)
        if not without < kept - 0.02 * abs(kept):
            return None
        message += f" (weight_decay {decays:g}); 50 steps on this batch take the loss to "
        message += f"{kept:.4g}, without decay to {without:.4g}"
    return setup.at_step, message, "decay less: weight_decay=1e-4 is a start, or by hand w.data *= 1 - lr * 1e-4"


# Does it learn?


def undecided(learned: Learned) -> Told:
    """The time may not suffice to tell."""
    if learned.done or not learned.timeout:
        return None
    message = f"{SECONDS} seconds were not enough to tell whether a few rows can be learned by heart"
    return "model", message, "try a smaller model, or fewer rows"


def not_learned(setup: Setup, learned: Learned) -> Told:
    """A network should be able to learn a few rows by heart. Tried: rows and learning rates of different sizes."""
    numbers = 1 if setup.labels is not None or setup.output is None else setup.output.size // len(setup.x)
    size = sum(p.size for p in setup.parameters.values() if p.requires_grad)
    if learned.done or learned.timeout or size < numbers * ATTEMPTS[-1][0]:  # too small to learn even the fewest rows
        return None
    message = f"the loss {'fell' if learned.last < learned.first else 'went'} from {learned.first:.4g} to "
    message += f"{learned.last:.4g} in {learned.steps} steps of Adam on {learned.rows} rows of the batch, the best of "
    message += f"{len(ATTEMPTS)} tries"
    if setup.labels is not None:
        message += f", and more than {UNLEARNED:.0%} of the rows are still assigned to a wrong class"
    remedy = "check that the model uses its input, that it can produce the targets (is there a ReLU, sigmoid or "
    remedy += "softmax at the end?), and that inputs and targets belong together; otherwise make it larger"
    return "model", message, remedy
