"""Checks of the loss: is there one, has it a history, and does it compare what should be compared?"""

from __future__ import annotations

import ast
import inspect
import math
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_np import functional
from tinygrad_np.debug.diagnosis.measure import Setup, array_of, joined, line_of, probabilities
from tinygrad_np.debug.diagnosis.network import bounds, is_relu
from tinygrad_np.debug.diagnosis.report import Told
from tinygrad_np.debug.places import NOT_THE_USERS
from tinygrad_np.engine import Node, toposort
from tinygrad_np.errors import AnomalyError, ShapeError
from tinygrad_np.tensor import Tensor

# Does it run?


def fails(setup: Setup) -> Told:
    """Does the set-up compute a loss at all?"""
    error = setup.run.error
    if error is None or shapes(setup) or labels(setup):
        return None
    return at_error(setup), f"{type(error).__name__}: {error}", "fix this first; nothing after it could be examined"


def at_error(setup: Setup) -> str:
    """The module or the function that failed, and the user's line."""
    part = setup.named(setup.run.failed) or ("model" if setup.predictions is None else "loss")
    return f"{part}{f', {setup.run.line}' * bool(setup.run.line)}"


def shapes(setup: Setup) -> Told:
    """Predictions and targets of shapes that do not fit each other."""
    error, output = setup.run.error, setup.output
    if output is None or not isinstance(error, (ShapeError, ValueError, IndexError)) or labels(setup):
        return None
    predicted, given = output.shape, array_of(setup.targets).shape
    message = f"{type(error).__name__}: {error} (predictions have shape {predicted}, targets {given})"
    remedy = f"make the predictions, of shape {predicted}, and the targets, of shape {given}, fit each other"
    if predicted != given and math.prod(predicted) == math.prod(given) != 0:
        remedy += f", for example with targets.reshape{predicted}"
    if predicted == given:
        remedy = "the targets are rows, one column for each class: targets.argmax(axis=1) makes class indices of them"
    elif len(predicted) == 2 and given[:1] == predicted[:1]:
        remedy += ": functional.one_hot(indices, classes) makes rows of indices, one_hot.argmax(axis=1) indices of rows"
    return at_error(setup), message, remedy


def labels(setup: Setup) -> Told:
    """Class indices count from 0 and are integers."""
    error = setup.run.error
    if error is None or setup.predictions is None or "class indices" not in str(error):
        return None
    message = f"{type(error).__name__}: {error}"
    return "targets", message, "number the classes 0, 1 ... C - 1, as integers of shape (N,)"


def parameters_not_finite(setup: Setup) -> Told:
    """What is computed from NaN is NaN."""
    names = [name for name, parameter in setup.parameters.items() if not np.isfinite(parameter.data).all()]
    if not names:
        return None
    remedy = "start again from finite values, and run the steps that made them so inside debug.detect_anomaly()"
    return joined(names), "contains NaN or inf before this step", remedy


# Has it a history?

CUTS = re.compile(
    "argmax|argmin|argsort|round|rint|sign|floor|ceil|astype|array_equal|data|numpy|item|detach|tolist|float|int|no_grad|"
    "asarray|array|a comparison"
)
"""What ends a history."""


def cuts(function: Any) -> list[str]:
    """The lines of a function that call what ends a history: "argmax, loss.py:12"."""
    function = getattr(function, "forward", function)
    try:
        if inspect.getfile(function).startswith(NOT_THE_USERS):
            return []
        lines, first = inspect.getsourcelines(function)
        tree = ast.parse(textwrap.dedent("".join(lines)))
        file = Path(inspect.getfile(function)).name
    except (OSError, TypeError, SyntaxError):  # no source, or a lambda within a call
        return []
    found = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.Attribute, ast.Name, ast.Compare)):
            name = {"attr": "", "id": ""} | vars(node)
            word = "a comparison" if isinstance(node, ast.Compare) else name["attr"] or name["id"]
            if CUTS.fullmatch(word):
                found.append(f"{word}, {file}:{first + node.lineno - 1}")
    return sorted(set(found), key=lambda cut: int(cut.rpartition(":")[2]))


def with_cuts(function: Any, place: str) -> tuple[str, str]:
    """The place of a lost history and, for the message, what may have lost it."""
    found = cuts(function)
    if not found:
        return place, ""
    line = found[0].rpartition(" ")[2]
    return f"{place.partition(',')[0]}, {line}", f"; what ends a history there: {'; '.join(found[:3])}"


def no_history(setup: Setup) -> Told:
    """A loss without a history cannot be differentiated."""
    loss, predictions = setup.loss, setup.predictions
    if isinstance(loss, Tensor) and loss.requires_grad:
        return None
    tracked = [t for t in flat(predictions) if isinstance(t, Tensor) and t.requires_grad]
    if tracked:
        place, cut = with_cuts(setup.loss_fn, "loss")
        message = f"it has no history (type {type(loss).__name__}), but the predictions have one: no gradients{cut}"
        remedy = "do not use argmax, comparisons, .data, .numpy(), .item(), float() or no_grad() in the loss"
        return place, message, remedy
    module = end_of_history(setup)
    place, cut = with_cuts(setup.modules.get(module, setup.model), module or "model")
    message = f"the predictions have no history: no parameter gets a gradient{cut}"
    return place, message, "do not use .data, .numpy(), .detach(), argmax, astype(int) or no_grad() in forward"


def flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    return [item for part in value for item in flat(part)] if isinstance(value, (list, tuple)) else [value]


def end_of_history(setup: Setup) -> str:
    """The first module that returned something without a history, after the last one that returned one."""
    calls = setup.run.calls
    tracked = [isinstance(call.output, Tensor) and call.output.requires_grad for call in calls]
    last = max((i for i, is_tracked in enumerate(tracked) if is_tracked), default=-1)
    after = (call.name for call in calls[last + 1 :] if last >= 0 or any(setup.modules[call.name].parameters()))
    return next(after, "")


def not_predictions(setup: Setup) -> Told:
    """The loss should depend on the predictions."""
    predictions = [t.node for t in flat(setup.predictions) if isinstance(t, Tensor) and t.node is not None]
    if not predictions or not isinstance(setup.loss, Tensor) or setup.loss.node is None:
        return None
    leading = {setup.loss.node, *toposort([setup.loss.node])}
    if not leading.isdisjoint(predictions):
        return None
    place, cut = with_cuts(setup.loss_fn, setup.at_loss)
    message = f"no path leads from the loss back to the predictions, so what made them is not trained by them{cut}"
    remedy = "do not use argmax, .data, .numpy(), .item(), float() or no_grad() between the predictions and the loss"
    return place, message, remedy


def frozen_model(setup: Setup) -> Told:
    """At least one parameter must require a gradient."""
    if not setup.parameters or any(parameter.requires_grad for parameter in setup.parameters.values()):
        return None
    message = f"none of the model's {len(setup.parameters)} parameters requires a gradient"
    return "model", message, "set requires_grad = True on those to train"


def many_numbers(setup: Setup) -> Told:
    """Only of a single number can the gradient be taken."""
    loss = setup.loss
    if not isinstance(loss, Tensor) or loss.size == 1:
        return None
    return setup.at_loss, f"it has shape {loss.shape}, but must be a single number", "take its mean over the batch"


# Is it finite?


def anomaly(setup: Setup) -> Told:
    """What `detect_anomaly` says, if anything came out wrong, or an array was overwritten that a derivative needs."""
    error = setup.anomaly
    if error is None:
        if setup.loss_value is None or math.isfinite(setup.loss_value):
            return None
        return setup.at_loss, f"it is {setup.loss_value}", "look at the values that it is computed from"
    if setup.finite and "was overwritten" not in str(error):
        return None  # something that is masked later on, such as the -inf of attention
    place, message, remedy = told_of(error, setup)
    if "(constant)" in message.partition("\n")[0]:  # it arose in a call that is not recorded
        warning = setup.float_error()
        if warning is not None:
            message = f"{warning}, before any parameter takes part; then {message}"
            return (
                f"{place.partition(',')[0]}, {line_of(warning)}",
                message,
                "keep divisors away from 0: x / np.maximum(std, 1e-6)",
            )
    return place, message, remedy


def told_of(error: AnomalyError, setup: Setup) -> tuple[str, str, str]:
    """The text of `detect_anomaly` as place, message and remedy."""
    head, *lines = str(error).splitlines()
    remedies = [line.partition(": ")[2] for line in lines if line.startswith("  what to do: ")]
    message = "\n   ".join([head, *(line for line in lines if not line.startswith("  what to do: "))])
    bad = [node for node in setup.run.nodes if node.notes and f"{node.rule.name} at {node.notes['place']}" in head]
    place = setup.where(bad[0]) if bad else "model"
    return place, message, remedies[0] if remedies else "look at the values that it is computed from"


def log_of_scores(setup: Setup) -> Told:
    """A logarithm of scores, which may be negative. Tried: does the loss become finite for the scores' softmax?"""
    output, error = setup.output, setup.anomaly
    if setup.finite or error is None or output is None or setup.labels is None or probabilities(output):
        return None
    if not str(error).startswith("log") or not np.isfinite(output).all() or output.min() > 0:
        return None
    tried = setup.loss_of(np.asarray(functional.softmax(output)))
    if not math.isfinite(tried):
        return None
    place, message, _ = told_of(error, setup)
    message += f"\n   on the predictions as they are the loss is {setup.loss_value}, on their softmax {tried:.4g}"
    remedy = "the predictions are scores, not probabilities: use functional.cross_entropy, which takes scores"
    return place, message, remedy


# Does it compare what should be compared?

ELEMENTWISE = ("subtract", "add", "multiply", "divide", "maximum", "minimum", "equal", "power")


def stretched(setup: Setup) -> Told:
    """Predictions and targets that NumPy stretches to fit: (N, 1) with (N,) gives (N, N)."""
    targets = array_of(setup.targets)
    count = len(targets) if targets.ndim else 0
    for i, node in enumerate(setup.run.nodes):
        arrays = [array for array in node.args or () if isinstance(array, np.ndarray) and array.ndim]
        if len(arrays) != 2 or count < 2 or not isinstance(node.out, np.ndarray) or node.rule.name not in ELEMENTWISE:
            continue
        x, y = arrays
        grown = node.out.size > max(x.size, y.size) and count in x.shape and count in y.shape
        column_with_row = grown and {x.shape, y.shape} == {(count, 1), (count,)}
        in_loss = i >= setup.in_model and sum(parent is not None for parent in node.parents) == 1
        is_targets = any(a.size == targets.size > 1 and np.array_equal(a.ravel(), targets.ravel()) for a in arrays)
        weights = node.rule.name != "subtract" and targets.dtype.kind == "f"  # such as the advantages of a policy
        repeated = is_targets and not weights and x.shape != y.shape and min(x.size, y.size) > 1
        repeated = repeated and (x.ndim != y.ndim or alike(setup))
        if not column_with_row and not (in_loss and (grown or repeated)):
            continue
        message = f"{node.rule.name} of shapes {x.shape} and {y.shape} broadcasts to {node.out.shape}: "
        message += "every row meets all others" if grown else "one target is compared with several predictions"
        remedy = "give both one shape, for example by predictions[:, 0] or targets[:, None]; mse_loss checks for it"
        if (
            targets.dtype.kind in "iu"
            and setup.output is not None
            and setup.output.ndim == 2
            and setup.output.shape[1] > 1
        ):
            remedy = "the targets are class indices: make rows of them, functional.one_hot(targets, classes)"
        where = setup.where(node)
        return f"loss, {where}" if in_loss and where != "loss" else where, message, remedy
    return None


def alike(setup: Setup) -> bool:
    """Whether the columns of the predictions play the same part. Tried: is the loss the same with them reversed?

    It is not if they are, say, the quantiles of a distribution, or the means and scales of several.
    """
    output, loss = setup.output, setup.loss_value
    if output is None or loss is None or output.ndim != 2 or not math.isfinite(loss):
        return False
    return math.isclose(setup.loss_of(output[:, ::-1].copy()), loss, rel_tol=1e-3)


def picked(setup: Setup) -> Told:
    """Class indices choose columns, one in each row: log_p[np.arange(N), labels], not log_p[labels]."""
    targets, output = array_of(setup.targets), setup.output
    if output is None or output.ndim != 2 or targets.dtype.kind not in "iu" or targets.size != len(output):
        return None
    for node in setup.in_loss:
        if node.rule.name in ("getitem", "take") and node.args and isinstance(node.args[1], np.ndarray):
            along_rows = node.rule.name == "getitem" or 0 in (*node.args[2:], node.kwargs.get("axis"))
            if (
                along_rows
                and np.shape(node.args[0]) == output.shape
                and np.array_equal(node.args[1].ravel(), targets.ravel())
            ):
                message = f"the targets choose rows of an array of shape {output.shape}, not a column in each row"
                return setup.where(node), message, "index with rows and classes: p[np.arange(len(targets)), targets]"
    return None


# Softmax, exactly once and along the classes

PASSES_ON = ("reshape", "squeeze", "clip", "add", "maximum", "multiply")
LINEAR_IN_SCORES = ("mean", "sum", "negative", "multiply", "divide", "getitem", "reshape", "squeeze", "einsum", "trace")


def softmax_first(setup: Setup) -> Told:
    """Losses on scores apply softmax themselves; the softmax of probabilities is nearly uniform."""
    for node in setup.run.nodes:
        name = node.rule.name
        before = node.parents[0] if node.parents else None
        if before is None or not node.args:
            continue
        x = node.args[0]
        if name == "exp" and before.rule.name == "subtract" and before.args and before.parents[0] is not None:
            x, before = before.args[0], before.parents[0]  # the maximum of each row was subtracted
        if name not in ("cross_entropy", "log_softmax", "softmax", "logsumexp", "exp") or not probabilities(x):
            continue
        while before.rule.name in PASSES_ON and before.parents[0] is not None:  # what was done to them for safety
            before = before.parents[0]
        if before.rule.name not in ("softmax", "divide", "exp"):  # rows that sum to 1 by chance, or by themselves
            continue
        if name in ("softmax", "exp"):
            message = "softmax is applied twice: its input is probabilities already"
            return setup.where(before), message, "remove one of the two"
        least = math.log1p((x.shape[1] - 1) / math.e)
        message = f"softmax comes before {name}, which applies it itself: the loss cannot fall below {least:.3g}"
        return setup.where(before), message, "remove this softmax; use it only to predict"
    return None


def bounded(setup: Setup) -> Told:
    """Cross-entropy takes scores of any size and sign. Tried: is the loss the cross-entropy of the softmax of them?"""
    node = setup.predictions.node if isinstance(setup.predictions, Tensor) else None
    inner = {node for node in setup.in_loss if node.rule.name in ("cross_entropy", "log_softmax", "softmax")}
    for call in inner:
        if call.parents[0] is not None and squashing(call.parents[0]):
            node = call.parents[0]
    output = setup.output
    if node is None or output is None or setup.labels is None or not (name := squashing(node)):
        return None
    takes_scores = bool(inner) or (
        math.isclose(setup.loss_value or 0, cross_entropy(output, setup.labels), rel_tol=1e-3)
        and math.isclose(setup.loss_of(-output), cross_entropy(-output, setup.labels), rel_tol=1e-3)
    )
    if not takes_scores or probabilities(output):
        return None
    message = (
        f"{name} bounds the scores, here to {node.out.min():.3g} ... {node.out.max():.3g}, and the loss then takes the "
        "softmax of them: the probability of a class stays far from 1"
        if name != "relu"
        else "relu comes before the softmax of the loss: scores below 0 get no gradient"
    )
    return setup.where(node), message, "pass the last linear layer's output to the loss"


def squashing(node: Node) -> str:
    """The name of the function, if it is one that bounds its results."""
    known = "relu" if is_relu(node) else "a sigmoid" if bounds(node) else ""
    return node.rule.name if node.rule.name in ("sigmoid", "tanh") else known


def softmax_over_rows(setup: Setup) -> Told:
    """The probabilities of the classes of one row sum to 1: softmax goes along the last axis."""
    output = setup.output
    if output is None or setup.labels is None or len(output) < 2:
        return None
    candidates = [
        node for node in setup.run.nodes if isinstance(node.out, np.ndarray) and node.out.shape == output.shape
    ]
    wrong = None
    for node in candidates:
        with np.errstate(all="ignore"):
            logs = np.exp(node.out) if node.out.size and node.out.max() <= 1e-3 else None
        for p in (node.out, logs):
            if probabilities(p):
                return None
            if wrong is None and p is not None and (probabilities(p, 0) or probabilities(p, None)):
                wrong = node, "the columns sum to 1" if probabilities(p, 0) else "all elements together sum to 1"
    if wrong is None:
        return None
    node, what = wrong
    message = (
        f"softmax sums over the batch: of {'its' if node.rule.name.endswith('softmax') else 'the'} probabilities, of "
        f"shape {node.out.shape}, {what}, and not each row, so that rows compete with each other"
    )
    return setup.where(node), message, "sum over the classes: axis=-1, and keepdims=True if written by hand"


def log_missing(setup: Setup) -> Told:
    """A negative log-likelihood of what is not a log-probability: linear in the scores, so without a minimum."""
    predictions = setup.predictions.node if isinstance(setup.predictions, Tensor) else None
    if setup.labels is None or predictions is None or not isinstance(setup.loss, Tensor):
        return None
    node = setup.loss.node
    while node is not None and node is not predictions and node.rule.name in LINEAR_IN_SCORES:
        parents = [parent for parent in node.parents if parent is not None]
        node = parents[0] if len(parents) == 1 else None
    if node is None or not isinstance(node.out, np.ndarray) or node.out.ndim != 2:
        return None
    if probabilities(node.out):
        message = "these are probabilities, but the loss is linear in them, as one of logarithms is"
        return setup.where(node), message, "use log_softmax, not softmax"
    if node is predictions and not probabilities(np.exp(node.out)) and node.rule.name != "log":
        message = (
            "these are raw scores, but the loss is linear in them, as one of log-probabilities is, and has no minimum"
        )
        return setup.where(node), message, "use cross_entropy, which takes scores, or log_softmax as the last layer"
    return None


# Does it start at the right value?

EXCESS = 3.0
"""How far above ln C a loss may be. He's initialisation stays below 1.8 with standardised inputs, and below 3 with
inputs that are twice as large."""


def cross_entropy(output: np.ndarray, labels: np.ndarray) -> float:
    """The cross-entropy of probabilities or, if they are not, of scores."""
    if probabilities(output):
        return float(-np.mean(np.log(np.maximum(output[np.arange(len(labels)), labels], 1e-30))))
    return float(functional.cross_entropy(output.astype(np.float64), labels))


def wrong_sign(setup: Setup) -> Told:
    """The loss falls as predictions get better."""
    return factor(setup, negative=True)


def wrong_factor(setup: Setup) -> Told:
    """A loss is averaged over the rows, so that the size of a step does not depend on that of the batch."""
    return factor(setup, negative=False)


def factor(setup: Setup, negative: bool) -> Told:
    """Is the loss a usual one times a constant? Tried: also for the same predictions in another order."""
    output, loss, targets = setup.output, setup.loss_value, array_of(setup.targets)
    if output is None or loss is None or not output.size or not np.isfinite(output).all() or len(output) < 2:
        return None
    n, others = len(output), np.roll(output, 1, axis=0)
    reference: Callable[[np.ndarray], float]
    if setup.labels is not None:
        known, classes = setup.labels, output.shape[1]
        factors = {
            -1.0: "its sign is wrong: training would make the predictions worse",
            float(
                n
            ): f"it is the sum over the {n} rows, {n} times what it should be, which makes steps {n} times as large",
            1 / classes: f"it is the mean over rows and {classes} classes, {classes} times too small",
            1 / n: f"it is divided by the {n} rows twice",
        }

        def reference(p: np.ndarray) -> float:
            return cross_entropy(p, known)
    elif output.size == targets.size and targets.dtype.kind in "fiu":
        wanted = targets.reshape(output.shape)
        total = (
            f"it is the sum over all {output.size} elements, which makes steps {output.size} times as large as a mean"
        )
        factors = {-1.0: "its sign is wrong: training would make the predictions worse", float(output.size): total}

        def reference(p: np.ndarray) -> float:
            return float(np.mean((p.astype(np.float64) - wanted) ** 2))
    else:
        return None
    expected, other = reference(output), reference(others)
    for times, message in factors.items() if abs(expected) > 1e-6 else ():
        if (
            (times < 0) == negative
            and math.isclose(loss, times * expected, rel_tol=1e-3)
            and math.isclose(setup.loss_of(others), times * other, rel_tol=1e-3)
        ):
            remedy = (
                "take the mean over the rows"
                if times > 1
                else "take the mean of the rows' losses, and its sign with care"
            )
            return setup.at_loss, f"{loss:.4g}: {message}", remedy
    return None


def too_large(setup: Setup) -> Told:
    """Before training each of C classes should have a probability of about 1 / C, which gives a loss of ln C."""
    output, loss, targets = setup.output, setup.loss_value, array_of(setup.targets)
    if output is None or loss is None or not output.size or not np.isfinite(output).all():
        return None
    remedy = "start with smaller weights, of std about sqrt(2 / in_features), above all in the last layer"
    if setup.labels is not None:
        uniform = math.log(output.shape[1])
        accuracy = np.mean(output.argmax(axis=1) == setup.labels)
        untrained = accuracy < (1 + 1 / output.shape[1]) / 2
        expected = cross_entropy(output, setup.labels)
        if not untrained or not math.isclose(loss, expected, rel_tol=1e-3) or loss - uniform <= max(EXCESS, uniform):
            return None
        message = (
            f"the loss is {loss:.4g} at an accuracy of {accuracy:.0%}; before training it should be about "
            f"ln({output.shape[1]}) = {uniform:.3g}. The scores, of std {output.std():.3g}, are too large"
        )
        return largest_weight(setup) or setup.at_loss, message, remedy
    if output.shape != targets.shape or targets.dtype.kind != "f":
        return None
    predicted, wanted = (float(np.sqrt(np.mean(array.astype(np.float64) ** 2))) for array in (output, targets))
    if predicted <= 20 * max(wanted, 1):
        return None
    message = (
        f"the loss is {loss:.4g}: the predictions, of root mean square {predicted:.4g}, are far larger than the "
        f"targets, of {wanted:.4g}"
    )
    return largest_weight(setup) or setup.at_loss, message, remedy


def largest_weight(setup: Setup) -> str:
    """The weight that is largest compared with He's initialisation, if much larger than that; else ""."""
    sizes = {}
    for name, node in setup.layers:
        weight = setup.parameters[name].data
        sizes[name] = float(weight.std()) / math.sqrt(2 / weight.shape[1 if node.rule.name == "linear" else 0])
    name = max(sizes, key=lambda name: sizes[name], default="")
    return name if name and sizes[name] > 2 else ""
