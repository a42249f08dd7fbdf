"""What `detect_anomaly` reports: the call, what went in and came out, a likely cause, and what to do."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_np.debug.causes import OF_GRADIENTS, OF_VALUES, likely_cause
from tinygrad_np.debug.places import module_path, parameter_name
from tinygrad_np.debug.statistics import Statistics, arrays, floats, has_nan, is_finite, visible
from tinygrad_np.derivatives.table import LEAF
from tinygrad_np.engine import Node
from tinygrad_np.errors import AnomalyError
from tinygrad_np.recording import Scope

__all__ = ["derivative_error", "gradient_error", "overwritten_error", "value_error", "within"]


def value_error(node: Node) -> AnomalyError:
    """The error for a call whose result is not finite."""
    out = first_bad(visible(node, node.out))
    given = [(i, array) for i, arg in enumerate(node.args or ()) for array in floats(arg)]
    given = [(i, array) for i, array in given if not is_finite(array)]
    nan = [(i, array) for i, array in given if has_nan(array)]
    cause = None
    if has_nan(out) and nan:
        i, array = nan[0]
        what = f"was given NaN: {count(np.isnan(array))} of input {i + 1}{source(node, i)}"
        cause = cause_of_given(node, i, np.isnan(array), "NaN, as for missing values")
    elif given and not has_nan(out):
        i, array = given[0]
        inf = "inf" if np.isposinf(array.real).any() else "-inf"
        where = f"{count(np.isinf(array))} of input {i + 1}{source(node, i)}"
        what = f"was given {inf}: {where}, and the result depends on it"
        cause = cause_of_given(node, i, np.isinf(array), inf)
    else:
        what = f"made {amount(out)} from {'infinite' if given else 'finite'} inputs"
        if node.args is not None:
            cause = likely_cause(OF_VALUES, node, ~np.isfinite(out), visible(node, node.out))
    return error(f"{site(node)} {what}", [*inputs(node), f"output: {described(out)}", *example(node, out)], cause, node)


def gradient_error(node: Node) -> AnomalyError:
    """The error for a gradient that is not finite although no derivative made it so."""
    return AnomalyError(
        f"the gradient with respect to the result of {site(node)} is not finite, although no derivative made it so: "
        "the backward pass started with it, or finite gradients overflowed when they were added up"
    )


def derivative_error(node: Node, gradient: Any, contribution: Any, i: int) -> AnomalyError:
    """The error for a call whose derivative with respect to argument `i` is not finite."""
    bad = first_bad(contribution)
    what = f"the derivative of {site(node)} made {amount(bad)} in the gradient for input {i + 1}{source(node, i)}"
    lines = inputs(node)
    lines += [f"output: {described(part)}" for part in floats(visible(node, node.out))]
    lines += [f"gradient of the output: {described(part)}" for part in floats(gradient)]
    lines += [f"gradient for input {i + 1}: {described(bad)}", *example(node, bad, gradient)]
    cause = likely_cause(OF_GRADIENTS, node, ~np.isfinite(bad), visible(node, node.out), gradient)
    return error(what, lines, cause, node)


def overwritten_error(node: Node, array: np.ndarray) -> AnomalyError:
    """The error for a saved array that was overwritten."""
    i = next((i for i, arg in enumerate(node.args or ()) if any(array is one for one in arrays(arg))), None)
    what = "output" if i is None else f"input {i + 1}{source(node, i)}"
    parameter = i is not None and node.parents[i] is not None and node.parents[i].rule is LEAF
    if parameter:
        cause = (
            "an optimizer's step, or another in-place change, between the forward and the backward pass",
            "call backward() before step(), and compute the loss again for another backward()",
        )
    else:
        cause = (
            "an in-place assignment or operation, after the call, on the array or on one that shares its memory",
            "write to a copy, x.copy(), or compute a new array instead",
        )
    head = f"{site(node)}: its {what} was overwritten after the call, but its derivative needs the old values"
    return error(head, [f"{what} now: {described(array)}"], cause, node)


def error(what: str, lines: list[str], cause: tuple[str, str] | None, node: Node) -> AnomalyError:
    """The error that says what happened, the facts, a line each, and the cause and the remedy if they are known."""
    if cause is not None:
        lines = [*lines, f"likely cause: {cause[0]}", f"what to do: {cause[1]}"]
    if "place" not in (node.notes or {}):
        lines = [*lines, "for the file and line of the call, run the forward pass inside detect_anomaly() as well"]
    return AnomalyError("\n  ".join([what, *lines]))


def site(node: Node) -> str:
    """The function and where it was called: "log at train.py:12 in layers.2 (Linear(3, 2))"."""
    notes = node.notes or {}
    text = node.rule.name
    if "place" in notes:
        text += f" at {notes['place']}"
    text += notes["module"] if "module" in notes else within(node.scope)
    if "derivative of" in notes:
        text += f", part of the derivative of {site(notes['derivative of'])},"
    return text


def within(scope: Scope | None) -> str:
    """The module of a call, as text: " in layers.2 (Linear(3, 2))", or " in Model" for the outermost one."""
    if scope is None or scope.kind is None:
        return ""
    module, path = scope.module(), module_path(scope)
    holds_others = module is None or any(True for _ in module.named_children())
    shown = scope.kind.__name__ if holds_others else repr(module)
    return f" in {path} ({shown})" if path else f" in {shown}"


def source(node: Node, i: int) -> str:
    """Where an argument comes from, as text: " (parameter layers.0.weight)", " (from relu)", " (constant)"."""
    parent = node.parents[i] if i < len(node.parents) else None
    if parent is None:
        return " (constant)"
    if parent.rule.name == "pack":
        return " (a list)"
    if parent.rule.name == "item" and parent.parents[0] is not None:  # one of several results
        parent = parent.parents[0]
    if parent.rule is not LEAF:
        return f" (from {parent.rule.name.lstrip('_')})"
    name = parameter_name(parent, node.scope)
    if name is not None:
        return f" (parameter {name})"
    return f" (Tensor {parent.name!r})" if parent.name else " (leaf)"


def cause_of_given(node: Node, i: int, wrong: np.ndarray, what: str) -> tuple[str, str] | None:
    """Why an argument is not finite although no recorded call made it so, and what to do; None if unknown."""
    parent = node.parents[i] if i < len(node.parents) else None
    index = first_index(wrong)
    if parent is None and wrong.size > 1:
        where = f"in row {index[0]}, column {index[1]}" if len(index) == 2 else f"at index {index}"
        return (
            f"the data contain {what}; the first is {where}",
            "fill in or drop such values before training: np.where(np.isfinite(x), x, 0), or "
            "x[np.isfinite(x).all(axis=1)]",
        )
    if parent is not None and parent.rule is LEAF:
        return (
            "it began so, or an update made it so: the gradient was not finite, or the step was too large",
            "run the earlier steps inside detect_anomaly() as well; lower the learning rate, or clip the gradients",
        )
    return None


def inputs(node: Node) -> list[str]:
    """A line for each array and each floating-point number among the arguments."""
    return [
        f"input {i + 1}{source(node, i)}: {described(np.asarray(array))}"
        for i, arg in enumerate(node.args or ())
        for array in (arrays(arg) or floats(arg))
    ]


def example(node: Node, bad: np.ndarray, gradient: Any = None) -> list[str]:
    """A line with the first element that is not finite; for element-wise functions, also what it was made from."""
    index = first_index(~np.isfinite(bad))
    text = f"the first is at index {index}" if bad.ndim else ""
    name = node.rule.name
    function = getattr(np, name, None)
    if (isinstance(function, np.ufunc) and function.signature is None) or name in ("where", "relu", "sigmoid"):
        try:
            values = [np.broadcast_to(arg, bad.shape)[index].item() for arg in node.args or ()]
            after = f" = {bad[index]}"
            if gradient is not None:
                after = f", gradient of the output {number(gradient[index].item())}"
        except (ValueError, TypeError, AttributeError, IndexError):  # as for the gradient of a broadcast input
            return [text] if text else []
        call = f"{name}({', '.join(map(number, values))}){after}"
        text = f"{text}: {call}" if text else call
    return [text] if text else []


def first_bad(value: Any) -> np.ndarray:
    """The first array that is not finite."""
    return next((array for array in floats(value) if not np.isfinite(array).all()), np.asarray(np.nan))


def first_index(wrong: np.ndarray) -> tuple[int, ...]:
    """The index of the first True."""
    return tuple(int(i) for i in np.unravel_index(np.argmax(wrong), wrong.shape))


def counts(array: np.ndarray) -> str:
    """How many elements are not finite, by kind: "2 NaN, 1 -inf"."""
    signs = array.real if array.dtype.kind == "c" else array
    negative = np.count_nonzero(np.isneginf(signs))
    nan = np.count_nonzero(np.isnan(array))
    numbers = {"NaN": nan, "inf": array.size - np.count_nonzero(np.isfinite(array)) - nan - negative, "-inf": negative}
    return ", ".join(f"{number} {kind}" for kind, number in numbers.items() if number)


def amount(array: np.ndarray) -> str:
    """How many elements out of all are not finite: "3 of 8 values non-finite (2 NaN, 1 -inf)"."""
    if array.size == 1:
        return counts(array).removeprefix("1 ")
    return f"{count(~np.isfinite(array))} non-finite ({counts(array)})"


def count(wrong: np.ndarray) -> str:
    """How many elements out of all are True: "3 of 8 values"."""
    return f"{np.count_nonzero(wrong)} of {wrong.size} value{'s' * (wrong.size > 1)}"


def described(array: np.ndarray) -> str:
    """Shape, dtype, the range of the finite elements, and how many are zero, infinite and NaN."""
    kind = f"shape {array.shape} {array.dtype}"
    if array.size == 1:
        return f"{kind}, {number(array.item())}"
    statistics = Statistics.of(array)
    parts = [kind]
    if statistics.minimum < statistics.maximum:
        parts.append(f"from {number(statistics.minimum)} to {number(statistics.maximum)}")
    elif statistics.minimum == statistics.maximum:
        parts.append(f"all{' finite ones' * (not is_finite(array))} {number(statistics.minimum)}")
    if statistics.zeros:
        parts.append(f"{statistics.zeros} zero{'s' * (statistics.zeros > 1)}")
    return ", ".join([*parts, counts(array)] if not is_finite(array) else parts)


def number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, (float, complex)) else str(value)
