"""Does the set-up run at all, and give a loss that is finite and has a history?"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from tinygrad_np.debug.anomaly import detect_anomaly
from tinygrad_np.debug.diagnosis.report import Finding
from tinygrad_np.debug.diagnosis.setup import Setup, array_of, rows_are_probabilities, watched
from tinygrad_np.debug.diagnosis.softmax import SOFTMAX
from tinygrad_np.debug.statistics import is_finite, visible
from tinygrad_np.errors import AnomalyError, ShapeError
from tinygrad_np.tensor import Tensor

__all__ = ["finite", "history", "runs"]


def runs(setup: Setup) -> Iterator[Finding]:
    """Does the set-up compute a loss at all?"""
    error = setup.error
    if error is None:
        return
    place = setup.failed or ("model" if setup.predictions is None else "loss")
    predicted = setup.output.shape if setup.output is not None else ()
    given = array_of(setup.targets).shape
    check, remedy = "runs", "fix this first; nothing after it could be examined"
    if isinstance(error, ShapeError) and setup.output is not None:
        check = "broadcast"
        remedy = f"make the predictions, of shape {predicted}, and the targets, of shape {given}, fit each other"
        if math.prod(predicted) == math.prod(given) != 0:
            remedy += f", for example with targets.reshape{predicted}"
    elif setup.predictions is not None and "class indices" in str(error):
        check, place = "labels", "targets"
        remedy = "number the classes 0, 1 ... C - 1, as integers of shape (N,)"
    yield Finding(check, "error", place, f"{type(error).__name__}: {error}", remedy, "the error that was raised")


def finite(setup: Setup) -> Iterator[Finding]:
    """What is computed from a number that is not finite is mostly not finite either."""
    source = "IEEE 754: what is computed from NaN is NaN"
    for place, array in (("inputs", array_of(setup.inputs)), ("targets", array_of(setup.targets))):
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            count = np.count_nonzero(~np.isfinite(array))
            message = f"{count} of {array.size} elements are NaN or infinite"
            yield Finding("finite", "error", place, message, "remove or fill them", source)
            return
    for name, parameter in setup.parameters.items():
        if not np.isfinite(parameter.data).all():
            message, remedy = "contains NaN or inf", "start again from finite values, with a smaller learning rate"
            yield Finding("finite", "error", name, message, remedy, source)
            return
    if setup.loss_value is None or math.isfinite(setup.loss_value):
        if setup.broken:
            node = setup.broken[0]
            name = node.rule.name
            message = f"the loss is finite, but the derivative of {name} is not"
            remedy = "keep the argument away from where its derivative is infinite, such as 0 for sqrt and log"
            yield Finding("finite", "error", setup.where(node), message, remedy, source)
        return
    message, remedy = f"it is {setup.loss_value}", "run it inside debug.detect_anomaly()"
    try:
        with watched(None), detect_anomaly():
            setup.loss_fn(setup.model(setup.inputs), setup.targets)
    except AnomalyError as error:
        message = str(error).splitlines()[0]
    place, check = "loss", "finite"
    for node in setup.nodes:
        if not is_finite(visible(node, node.out)):
            place, remedy = setup.where(node), f"keep the arguments of {node.rule.name} in its domain"
            raw = setup.labels is not None and not rows_are_probabilities(setup.output)
            if node.rule.name.startswith("log") and raw:
                check = "softmax"
                remedy = (
                    "the predictions are raw scores, not probabilities: use functional.cross_entropy, which takes them"
                )
            elif node.rule.name.startswith("log"):
                remedy = "use functional.cross_entropy on the scores before softmax: it never takes the logarithm of 0"
            break
    yield Finding(check, "error", place, message, remedy, SOFTMAX if check == "softmax" else source)


def history(setup: Setup) -> Iterator[Finding]:
    """A loss without a history cannot be differentiated."""
    loss, source = setup.loss, "Tensor: only what NumPy functions and operators compute from it keeps its history"
    if setup.error or (isinstance(loss, Tensor) and loss.requires_grad and loss.size == 1):
        return
    if isinstance(loss, Tensor) and loss.requires_grad:
        message, remedy = f"it has shape {loss.shape}, but must be a single number", "take its mean over the batch"
        yield Finding("gradient", "error", "loss", message, remedy, "Tensor.backward")
    elif not any(parameter.requires_grad for parameter in setup.parameters.values()):
        message = f"none of the model's {len(setup.parameters)} parameters requires a gradient"
        yield Finding("gradient", "error", "model", message, "set requires_grad = True on those to train", source)
    elif isinstance(setup.predictions, Tensor) and setup.predictions.requires_grad:
        message = f"it has no history (type {type(loss).__name__}), but the predictions have one: no gradients"
        remedy = "do not use .data, .numpy(), .item(), float() or no_grad() in the loss"
        yield Finding("gradient", "error", "loss", message, remedy, source)
    else:
        place = _end_of_history(setup) or "model"
        message = "the predictions have no history: no parameter gets a gradient"
        remedy = "do not use .data, .numpy(), .detach(), astype(int) or no_grad() in forward"
        yield Finding("gradient", "error", place, message, remedy, source)


def _end_of_history(setup: Setup) -> str:
    """The first module that returned something without a history, after the last one that returned one."""
    tracked = [isinstance(call.output, Tensor) and call.output.requires_grad for call in setup.calls]
    last = max((i for i, is_tracked in enumerate(tracked) if is_tracked), default=-1)
    after = (call.name for call in setup.calls[last + 1 :] if last >= 0 or any(setup.modules[call.name].parameters()))
    return next(after, "")
