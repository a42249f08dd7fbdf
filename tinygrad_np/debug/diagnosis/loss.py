"""Checks of the loss: is there one, has it a history, and does it compare what should be compared?"""

from __future__ import annotations

import ast
import inspect
import math
import re
import textwrap
from itertools import pairwise
from typing import Any

import numpy as np

from tinygrad_np import functional
from tinygrad_np.debug.diagnosis.measure import LINEAR, Run, Setup, array_of, flat, joined, probabilities, size_of
from tinygrad_np.debug.diagnosis.network import bounds, is_relu
from tinygrad_np.debug.diagnosis.report import Told
from tinygrad_np.debug.places import line_of, short
from tinygrad_np.engine import Node, toposort
from tinygrad_np.errors import NOT_THE_USERS, AnomalyError, ShapeError
from tinygrad_np.tensor import Tensor

# Does it run?


def labels(error: Exception, predictions: Any, y: np.ndarray) -> Told:
    """Class indices count from 0 and are integers."""
    classes = (np.shape(array_of(predictions)) or (0,))[-1]
    if "class indices" not in str(error) or (y.dtype.kind in "iu" and np.isin(y, range(classes)).all()):
        return None
    return "targets", raised(error), "number the classes 0, 1 ... C - 1, as integers of shape (N,)"


def shapes(setup: Setup, error: Exception, output: np.ndarray, y: np.ndarray) -> Told:
    """Predictions and targets of shapes that do not fit each other."""
    predicted, given = output.shape, y.shape
    fit = given == predicted[:1] and not isinstance(error, ShapeError)
    if fit or not output.size or not isinstance(error, (ShapeError, ValueError, IndexError)):
        return None
    remedy = f"make the predictions, of shape {predicted}, and the targets, of shape {given}, fit each other"
    if predicted == given:
        remedy = "the targets are rows, one column for each class: targets.argmax(axis=1) makes class indices of them"
    elif output.size == y.size:
        remedy += f", for example with targets.reshape{predicted}"
    elif len(predicted) == 2 and given[:1] == predicted[:1]:
        remedy += ": functional.one_hot(indices, classes) makes rows of indices, one_hot.argmax(axis=1) indices of rows"
    message = f"{raised(error)} (predictions have shape {predicted}, targets {given})"
    return at_error(setup, setup.run), message, remedy


def fails(setup: Setup, error: Exception) -> Told:
    """Does the set-up compute a loss at all?"""
    for call in setup.run.calls:
        if call.output is None:
            what = f"forward of {setup.named(call.name) or 'the model'} returned None, and then {raised(error)}"
            return at_error(setup, setup.run), what, "let forward return its result"
    return at_error(setup, setup.run), raised(error), "fix this first; nothing after it could be examined"


def raised(error: Any) -> str:
    return f"{type(error).__name__}: {error}"


def at_error(setup: Setup, run: Run) -> str:
    """The module or the function that failed, and the user's line."""
    part = setup.named(run.failed) or ("model" if setup.predictions is None else "loss")
    return ", ".join(filter(None, (part, run.line)))


def parameters_not_finite(parameters: dict[str, Tensor]) -> Told:
    """What is computed from NaN is NaN."""
    names = [name for name, parameter in parameters.items() if not np.isfinite(parameter.data).all()]
    remedy = "start again from finite values, and run the steps that made them so inside debug.detect_anomaly()"
    return (joined(names), "contains NaN or inf before this step", remedy) if names else None


# Has it a history?

CUTS = re.compile(
    "argmax|argmin|argsort|round|rint|sign|floor|ceil|astype|array_equal|data|numpy|item|detach|tolist|float|int|no_grad|"
    "asarray|array|a comparison"
)
"""What ends a history."""


def with_cuts(function: Any, place: str) -> tuple[str, str]:
    """The place of a lost history and, for the message, the function's lines that call what ends a history."""
    function = getattr(function, "forward", function)
    found = {}
    try:
        lines, first = inspect.getsourcelines(function)
        file = inspect.getfile(function)
        for node in ast.walk(ast.parse(textwrap.dedent("".join(lines)))):
            name = getattr(node, "attr", getattr(node, "id", "a comparison" * isinstance(node, ast.Compare)))
            if CUTS.fullmatch(name) and not file.startswith(NOT_THE_USERS):
                number = first + getattr(node, "lineno", 1) - 1
                found[f"{name}, {short(f'{file}:{number}')}"] = number
    except (OSError, TypeError, SyntaxError):  # no source, or a lambda within a call
        pass
    cuts = sorted(sorted(found), key=lambda cut: found[cut])
    if not cuts:
        return place, ""
    line = cuts[0].rpartition(" ")[2]
    return f"{place.partition(',')[0]}, {line}", f"; what ends a history there: {'; '.join(cuts[:3])}"


def frozen_model(parameters: dict[str, Tensor]) -> Told:
    """At least one parameter must require a gradient."""
    if not parameters or any(parameter.requires_grad for parameter in parameters.values()):
        return None
    message = f"none of the model's {len(parameters)} parameters requires a gradient"
    return "model", message, "set requires_grad = True on those to train"


def no_history(setup: Setup, loss: Any) -> Told:
    """A loss without a history cannot be differentiated."""
    if has_history(loss):
        return None
    if any(has_history(value) for value in flat(setup.predictions)):
        place, cut = with_cuts(setup.loss_fn, "loss")
        message = f"it has no history (type {type(loss).__name__}), but the predictions have one: no gradients{cut}"
        return place, message, "no argmax, comparisons, .data, .numpy(), .item(), float() or no_grad() in the loss"
    module = end_of_history(setup)
    place, cut = with_cuts(setup.modules.get(module, setup.model), module or "model")
    message = f"the predictions have no history: no parameter gets a gradient{cut}"
    return place, message, "do not use .data, .numpy(), .detach(), argmax, astype(int) or no_grad() in forward"


def has_history(value: Any) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


def end_of_history(setup: Setup) -> str:
    """The first module that returned something without a history, after the last one that returned one."""
    calls = setup.run.calls
    last = max((i for i, call in enumerate(calls) if has_history(call.output)), default=-1)
    after = (call.name for call in calls[last + 1 :] if last >= 0 or any(setup.modules[call.name].parameters()))
    return next(after, "")


def many_numbers(setup: Setup, loss: Any) -> Told:
    """Only of a single number can the gradient be taken."""
    if not isinstance(loss, Tensor) or loss.size == 1:
        return None
    return setup.at_loss, f"it has shape {loss.shape}, but must be a single number", "take its mean over the batch"


def not_predictions(setup: Setup, predictions: Any, loss_node: Node) -> Told:
    """The loss should depend on the predictions."""
    nodes = [t.node for t in flat(predictions) if isinstance(t, Tensor) and t.node is not None]
    if not nodes or not {loss_node, *toposort([loss_node])}.isdisjoint(nodes):
        return None
    place, cut = with_cuts(setup.loss_fn, setup.at_loss)
    message = f"no path leads from the loss back to the predictions, so what made them is not trained by them{cut}"
    remedy = "do not use argmax, .data, .numpy(), .item(), float() or no_grad() between the predictions and the loss"
    return place, message, remedy


# Is it finite?


def not_finite(setup: Setup, loss_value: float) -> Told:
    """A loss that is not finite, although no recorded call made it so."""
    if setup.anomaly is not None or math.isfinite(loss_value):
        return None
    return setup.at_loss, f"it is {loss_value}", "look at the values that it is computed from"


def anomaly(setup: Setup, anomaly: AnomalyError) -> Told:
    """What `detect_anomaly` says, if anything came out wrong, or an array was overwritten that a derivative needs."""
    if setup.finite and "was overwritten" not in str(anomaly):
        return None  # something that is masked later on, such as the -inf of attention
    place, message, remedy = told_of(anomaly, setup)
    if "(constant)" in message.partition("\n")[0]:  # it arose in a call that is not recorded, for the batch is finite
        message = message.partition("\n   likely cause: ")[0]
        remedy = "look for the call that makes it of the inputs, which are finite"
        warning = setup.tried(np.errstate(divide="raise", over="raise", invalid="raise")(setup.forward_pass))
        if isinstance(warning, FloatingPointError):
            place = f"{place.partition(',')[0]}, {line_of(warning)}"
            message = f"{warning}, before any parameter takes part; then {message}"
            remedy = f"keep the arguments of {str(warning).rpartition(' ')[2]} where it is defined and finite"
            if "divide" in str(warning):
                remedy = "keep divisors away from 0: x / np.maximum(std, 1e-6)"
    return place, message, remedy


def told_of(error: AnomalyError, setup: Setup) -> tuple[str, str, str]:
    """The text of `detect_anomaly` as place, message and remedy."""
    message, _, remedy = str(error).replace("\n  ", "\n   ").partition("\n   what to do: ")
    head = message.partition("\n")[0]
    bad = (node for node in setup.run.nodes if node.notes and f"{node.rule.name} at {node.notes['place']}" in head)
    node = next(bad, None)
    return setup.where(node) if node else "model", message, remedy or "look at the values that it is computed from"


def log_of_scores(setup: Setup, anomaly: AnomalyError, good_output: np.ndarray, labels: np.ndarray) -> Told:
    """A logarithm of scores, which may be negative. Tried: does the loss become finite for the scores' softmax?"""
    if setup.finite or probabilities(good_output) or not str(anomaly).startswith("log") or good_output.min() > 0:
        return None
    if any(probabilities(node.out) for node in setup.in_loss):
        return None  # the loss makes probabilities of them itself
    loss = setup.loss_of(np.asarray(functional.softmax(good_output)))
    if not math.isfinite(loss):
        return None
    place, message, _ = told_of(anomaly, setup)
    message += f"\n   on the predictions as they are the loss is {setup.loss_value}, on their softmax {loss:.4g}"
    return place, message, "these are scores, not probabilities: use functional.cross_entropy, which takes scores"


# Does it compare what should be compared?

ELEMENTWISE = ("subtract", "add", "multiply", "divide", "maximum", "minimum", "equal", "power")


def stretched(setup: Setup, y: np.ndarray) -> Told:
    """Predictions and targets that NumPy stretches to fit: (N, 1) with (N,) gives (N, N)."""
    count = len(y) if y.ndim else 0
    for i, node in enumerate(setup.run.nodes):
        arrays = [array for array in node.args or () if isinstance(array, np.ndarray) and array.ndim]
        if len(arrays) != 2 or count < 2 or node.rule.name not in ELEMENTWISE:
            continue
        a, b = arrays
        grown = node.out.size > max(a.size, b.size) and count in a.shape and count in b.shape
        column_with_row = grown and {a.shape, b.shape} == {(count, 1), (count,)}
        in_loss = i >= setup.in_model and sum(parent is not None for parent in node.parents) == 1
        is_targets = any(array.size == y.size > 1 and np.array_equal(array.ravel(), y.ravel()) for array in arrays)
        weights = node.rule.name != "subtract" and y.dtype.kind == "f"  # such as the advantages of a policy
        repeated = is_targets and not weights and a.shape != b.shape and min(a.size, b.size) > 1
        repeated = repeated and (a.ndim != b.ndim or alike(setup))
        if column_with_row or (in_loss and (grown or repeated)):
            message = f"{node.rule.name} of shapes {a.shape} and {b.shape} broadcasts to {node.out.shape}: "
            message += "every row meets all others" if grown else "one target is compared with several predictions"
            remedy = "give both one shape, for example by predictions[:, 0] or targets[:, None]; mse_loss checks for it"
            output = setup.output
            if y.dtype.kind in "iu" and output is not None and output.ndim == 2 and output.shape[1] > 1:
                remedy = "the targets are class indices: make rows of them, functional.one_hot(targets, classes)"
            where = setup.where(node)
            return f"loss, {where}" if in_loss and where != "loss" else where, message, remedy
    return None


def alike(setup: Setup) -> bool:
    """Whether the columns of the predictions play the same part. Tried: is the loss the same with them reversed?

    It is not if they are, say, the quantiles of a distribution, or the means and scales of several.
    """
    output, loss = setup.output, setup.loss_value
    if output is None or loss is None or output.ndim != 2:
        return False
    return math.isclose(setup.loss_of(output[:, ::-1].copy()), loss, rel_tol=1e-3)


def picked(setup: Setup, output: np.ndarray, y: np.ndarray) -> Told:
    """Class indices choose columns, one in each row: log_p[np.arange(N), labels], not log_p[labels]."""
    if output.ndim != 2 or y.dtype.kind not in "iu":
        return None
    for node in setup.in_loss:
        indices = [index for index in flat(list(node.args or ())[1:]) if isinstance(index, np.ndarray)]
        if node.rule.name == "getitem" and probabilities(y) and any(np.array_equal(index, y) for index in indices):
            message = "the targets, rows of zeros and ones, are used as indices: they choose classes 0 and 1"
            return setup.where(node), message, "make indices of them first, targets.argmax(axis=1)"
        if node.rule.name not in ("getitem", "take") or not node.args or not isinstance(node.args[1], np.ndarray):
            continue
        array, index, *others = node.args
        along_rows = node.rule.name == "getitem" or 0 in (*others, node.kwargs.get("axis"))
        if (
            along_rows
            and np.shape(array) == output.shape
            and np.array_equal(index.ravel(), y.ravel())
            and y.size == len(output)
        ):
            message = f"the targets choose rows of an array of shape {output.shape}, not a column in each row"
            return setup.where(node), message, "index with rows and classes: p[np.arange(len(targets)), targets]"
    return None


# Softmax, exactly once and along the classes

PASSES_ON = ("reshape", "squeeze", "clip", "add", "maximum", "multiply")
LINEAR_IN_SCORES = ("mean", "sum", "negative", "multiply", "divide", "getitem", "reshape", "squeeze", "einsum", "trace")
TAKES_SCORES = ("cross_entropy", "log_softmax", "softmax", "logsumexp", "exp")


def softmax_first(setup: Setup, run: Run) -> Told:
    """Losses on scores apply softmax themselves; the softmax of probabilities is nearly uniform."""
    for node in run.nodes:
        name, before = node.rule.name, node.parents[0] if node.parents else None
        if name not in TAKES_SCORES or before is None or not node.args:
            continue
        x = node.args[0]
        if name == "exp" and before.rule.name == "subtract" and before.args and before.parents[0] is not None:
            x, before = before.args[0], before.parents[0]  # the maximum of each row was subtracted
        if not probabilities(x):
            continue
        while before.rule.name in PASSES_ON and before.parents[0] is not None:  # what was done to them for safety
            before = before.parents[0]
        if before.rule.name not in ("softmax", "divide", "exp"):  # rows that sum to 1 by chance, or by themselves
            continue
        if name in ("softmax", "exp"):
            return setup.where(before), "softmax is applied twice: its input is probabilities", "remove one of the two"
        least = math.log1p((x.shape[1] - 1) / math.e)
        message = f"softmax comes before {name}, which applies it itself: the loss cannot fall below {least:.3g}"
        return setup.where(before), message, "remove this softmax; use it only to predict"
    return None


def bounded(setup: Setup, predictions_node: Node, output: np.ndarray, y: np.ndarray) -> Told:
    """Cross-entropy takes scores of any size and sign. Tried: is the loss that of their softmax, or their sigmoid?"""
    labels = setup.labels
    if labels is None and not (output.size == y.size and y.dtype.kind in "fiub" and np.isin(y, (0, 1)).all()):
        return None
    inner = [call.parents[0] for call in setup.in_loss if call.rule.name in TAKES_SCORES[:3]]
    node = next((node for node in inner if node is not None and squashing(node)), predictions_node)
    name = squashing(node)
    if not name or probabilities(output):
        return None
    if not inner and not is_cross_entropy(setup, output, y):
        return None
    message = "relu comes before the softmax of the loss: scores below 0 get no gradient"
    if name != "relu":
        message = f"{name} bounds the scores, here to {node.out.min():.3g} ... {node.out.max():.3g}, and the loss then "
        message += f"takes the {'sigmoid' if labels is None else 'softmax'} of them: no probability comes near to 1"
    return setup.where(node), message, "pass the last linear layer's output to the loss"


def is_cross_entropy(setup: Setup, output: np.ndarray, y: np.ndarray) -> bool:
    """Whether the loss is the cross-entropy of scores, of many classes or of two. Tried: with these, and others."""

    def expected(scores: np.ndarray) -> float:
        if setup.labels is not None:
            return cross_entropy(scores, setup.labels)
        return float(np.mean(np.logaddexp(0, scores) - y.reshape(scores.shape) * scores))

    return all(math.isclose(setup.loss_of(scores), expected(scores), rel_tol=1e-3) for scores in (output, -output))


def no_shares(setup: Setup, good_output: np.ndarray, y: np.ndarray) -> Told:
    """The binary cross-entropy takes targets from 0 to 1."""
    if y.size != good_output.size or y.dtype.kind not in "fi" or (y.min() >= 0 and y.max() <= 1):
        return None
    if setup.labels is not None or not is_cross_entropy(setup, good_output, y):
        return None
    message = (
        f"they range from {y.min():g} to {y.max():g}, but the loss takes them for probabilities: it has no minimum"
    )
    return "targets", message, "make them 0 and 1: (targets + 1) / 2 of -1 and 1"


def targets_ignored(setup: Setup, good_output: np.ndarray, y: np.ndarray) -> Told:
    """A loss depends on the class indices that it is given. Tried: random scores, with these and with one other."""
    n, classes = good_output.shape if good_output.ndim == 2 else (0, 0)
    if y.shape != (n,) or y.dtype.kind not in "iu" or len(np.unique(y)) < 2 or y.min() < 0 or y.max() + 1 != classes:
        return None  # embeddings, which may do without, have more numbers than there are classes
    scores = np.random.default_rng(0).standard_normal((n, classes)).astype(good_output.dtype)
    others = y.copy()
    others[0] = y[y != y[0]][0]
    if setup.loss_of(scores) != setup.number(lambda: setup.loss_fn(Tensor(scores), others)):
        return None
    return setup.at_loss, "it is the same for other targets: it does not use them", "use the targets in the loss"


def squashing(node: Node) -> str:
    """The name of the function, if it is one that bounds its results."""
    known = "relu" if is_relu(node) else "a sigmoid" if bounds(node) else ""
    return node.rule.name if node.rule.name in ("sigmoid", "tanh") else known


def softmax_over_rows(setup: Setup, output: np.ndarray, labels: np.ndarray) -> Told:
    """The probabilities of the classes of one row sum to 1: softmax goes along the last axis."""
    wrong = None
    for node in setup.run.nodes if len(output) > 1 else ():
        if not isinstance(node.out, np.ndarray) or node.out.shape != output.shape:
            continue
        for p in (node.out, np.exp(node.out) if node.out.max(initial=0) <= 1e-3 else None):
            if probabilities(p):
                return None
            for axis, what in ((0, "the columns sum"), (None, "all elements together sum")):
                if wrong is None and probabilities(p, axis):
                    wrong = node, what
    if wrong is None:
        return None
    message = f"softmax sums over the batch: of probabilities of shape {output.shape}, {wrong[1]} to 1, and not each "
    message += "row, so that rows compete with each other"
    return setup.where(wrong[0]), message, "sum over the classes: axis=-1, and keepdims=True if written by hand"


def log_missing(setup: Setup, predictions_node: Node, loss_node: Node, labels: np.ndarray) -> Told:
    """A negative log-likelihood of what is not a log-probability: linear in the scores, so without a minimum."""
    node: Node | None = loss_node
    while node is not None and node is not predictions_node and node.rule.name in LINEAR_IN_SCORES:
        parents = [parent for parent in node.parents if parent is not None]
        node = parents[0] if len(parents) == 1 else None
    if node is None or not isinstance(node.out, np.ndarray) or node.out.ndim != 2:
        return None
    if probabilities(node.out):
        message = "these are probabilities, but the loss is linear in them, as one of logarithms is"
        return setup.where(node), message, "use log_softmax, not softmax"
    if node is predictions_node and not probabilities(np.exp(node.out)) and node.rule.name != "log":
        message = "these are raw scores, but the loss is linear in them, as one of log-probabilities is: no minimum"
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


def wrong_sign(setup: Setup, good_output: np.ndarray, loss_value: float) -> Told:
    """A loss falls as predictions get better. Tried: predictions that are closer to the targets, and others farther."""
    if setup.labels is not None:
        expected = cross_entropy(good_output, setup.labels)
        wrong = expected > 1e-6 and math.isclose(loss_value, -expected, rel_tol=1e-3)
    elif setup.wanted is not None:
        losses = [setup.loss_of(setup.wanted + k * (good_output - setup.wanted)) for k in (0, 0.5, 1, 2, 4)]
        wrong = all(nearer > farther for nearer, farther in pairwise(losses))
    else:
        return None
    message = f"{loss_value:.4g}: its sign is wrong: the worse the predictions, the less it is"
    return (setup.at_loss, message, "minimise the error, not its negative") if wrong else None


def factor(setup: Setup, good_output: np.ndarray, loss_value: float, y: np.ndarray) -> Told:
    """A loss is a mean over the rows, so that the size of a step does not depend on their number.

    Is it a usual loss times a constant? Tried: also for the same predictions in another order.
    """
    n, size, known = len(good_output), good_output.size, setup.labels
    tried = (good_output, np.roll(good_output, 1, axis=0))
    wrong: dict[float, str] = {}
    if known is not None:
        expected = [cross_entropy(p, known) for p in tried]
        classes = good_output.shape[1]
        wrong[float(n)] = f"it is the sum over the {n} rows, {n} times what it should be, and so are the steps"
        wrong[1 / classes] = f"it is the mean over rows and {classes} classes, {classes} times too small"
        wrong[1 / n] = f"it is divided by the {n} rows twice"
    elif size == y.size and y.dtype.kind in "fiu":
        expected = [float(np.mean((p.astype(np.float64) - y.reshape(p.shape)) ** 2)) for p in tried]
        wrong[float(size)] = f"it is the sum over all {size} elements, which makes steps {size} times as large"
    else:
        return None
    losses = (loss_value, setup.loss_of(tried[1]))
    for times, message in wrong.items() if n > 1 and abs(expected[0]) > 1e-6 else ():
        if np.allclose(losses, times * np.array(expected), rtol=1e-3, atol=0):
            return setup.at_loss, f"{loss_value:.4g}: {message}", "take the mean of the rows' losses"
    return None


def too_large(setup: Setup, good_output: np.ndarray, loss_value: float, y: np.ndarray) -> Told:
    """Before training each of C classes should have a probability of about 1 / C, which gives a loss of ln C."""
    output, known = good_output, setup.labels
    if known is not None:
        uniform, accuracy = math.log(output.shape[1]), np.mean(output.argmax(axis=1) == known)
        if accuracy >= (1 + 1 / output.shape[1]) / 2 or loss_value - uniform <= max(EXCESS, uniform):
            return None
        if not math.isclose(loss_value, cross_entropy(output, known), rel_tol=1e-3):
            return None
        message = f"at an accuracy of {accuracy:.0%}; before training it should be about ln({output.shape[1]}) = "
        message += f"{uniform:.3g}. The scores, of std {output.std():.3g}, are too large"
    elif output.shape == y.shape and y.dtype.kind == "f" and size_of(output) > 20 * max(size_of(y), 1):
        message = f"the predictions, of root mean square {size_of(output):.4g}, are far larger than the targets, of "
        message += f"{size_of(y):.4g}"
    else:
        return None
    remedy = "start with smaller weights, of std about sqrt(2 / in_features), above all in the last layer"
    return largest_weight(setup) or setup.at_loss, f"the loss is {loss_value:.4g}: {message}", remedy


def largest_weight(setup: Setup) -> str:
    """The weight that is largest compared with He's initialisation, if much larger than that; else ""."""
    sizes = {"": 2.0}
    for name, node in setup.layers.items():
        weight = setup.parameters[name].data
        sizes[name] = float(weight.std()) / math.sqrt(
            2 / (len(weight) if node.rule.name in LINEAR[1:] else weight[0].size)
        )
    return max(sizes, key=lambda name: sizes[name])
