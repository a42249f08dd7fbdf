"""Checks of the batch: is it finite, scaled and left alone, and do inputs and targets belong together?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_np.debug.diagnosis.measure import LINEAR, Setup, matrix, size_of
from tinygrad_np.debug.diagnosis.network import bounds, is_relu
from tinygrad_np.debug.diagnosis.report import Told
from tinygrad_np.debug.places import line_of
from tinygrad_np.engine import Node
from tinygrad_np.tensor import Tensor

LARGE, SMALL = 6.0, 0.02
"""Inputs count as not scaled if their root mean square is above LARGE or their largest magnitude below SMALL. Uniform
numbers from -10 ... 10 pass, pixels in 0 ... 16 do not."""

UNEXPLAINED = 0.3
"""If rows with equal inputs account for more than this fraction of the targets' variance, it is not mere noise."""


def non_finite(x: np.ndarray, y: np.ndarray) -> Told:
    """What is computed from a number that is not finite is mostly not finite either."""
    for place, array in (("inputs", x), ("targets", y)):
        if array.dtype.kind != "f" or np.isfinite(array).all():
            continue
        wrong = ~np.isfinite(array)
        at = [int(i) for i in np.argwhere(wrong)[0]]
        message = f"{np.count_nonzero(wrong)} of {array.size} elements are NaN or infinite; the first is in row {at[0]}"
        message += f", column {at[1]}" if len(at) == 2 else f", at index {tuple(at)}" * (len(at) > 2)
        remedy = "fill them in, np.where(np.isfinite(x), x, 0), or drop their rows, x[np.isfinite(x).all(axis=1)]"
        columns = np.flatnonzero(wrong.all(axis=0)) if array.ndim == 2 and len(array) > 1 else np.zeros(0)
        if columns.size:
            message += f". {columns.size} columns are so in every row, as a constant column divided by its standard "
            message += f"deviation of 0 is: column {columns[0]}, for example"
            remedy = "divide by np.maximum(std, 1e-6), so that a constant column becomes 0; or drop constant columns"
        return place, message, remedy
    return None


def overwritten(setup: Setup) -> Told:
    """The batch is the user's: what writes to it changes the data for all later steps."""
    parts: list[tuple[str, Any, Callable[[], Any]]] = [("the forward pass", setup.after, setup.forward_pass)]
    if setup.train_step is not None and setup.all_steps is not None:
        parts.append(("train_step", setup.all_steps.batch, setup.take_step))
    for part, batch, again in parts:
        for name, given in (("inputs", setup.x), ("targets", setup.y)):
            if np.array_equal(given, batch[name], equal_nan=given.dtype.kind == "f"):
                continue
            line = writer(setup, again, given)
            message = f"{part} overwrites them in place: {described(given)} before, {described(batch[name])} afterwards"
            remedy = "compute a new array, x = x / 255, or write to a copy, x.copy(); x /= 255 changes the data"
            return f"{name}{f', {line}' * bool(line)}", message, remedy
    return None


def writer(setup: Setup, function: Callable[[], Any], array: np.ndarray) -> str:
    """The line that writes to an array: the one that fails if it cannot be written to."""
    flag = array.flags.writeable
    array.flags.writeable = False
    try:
        error = setup.tried(function)
    finally:
        array.flags.writeable = flag
        setup.start.restore()
    return line_of(error) if isinstance(error, Exception) else ""


def described(array: np.ndarray) -> str:
    return f"mean {array.mean():.4g}, from {array.min():.4g} to {array.max():.4g}"


def results_overwritten(setup: Setup, written: Node) -> Told:
    """A derivative knows nothing of what was written to an array by other means than recorded calls."""
    message = f"the result of {written.rule.name} was overwritten after the call, through its array: no derivative "
    remedy = "compute a new Tensor, np.where(h > 0, h, 0), or write to the Tensor itself, h[h < 0] = 0"
    return setup.where(written), f"{message}knows of it", remedy


# What reaches the model


def entering(setup: Setup) -> list[np.ndarray]:
    """The constants of as many rows as the batch that the model's calls take: the inputs, as it prepares them."""
    return [
        array
        for node in setup.of_model
        for array, parent in zip(node.args or (), node.parents, strict=False)
        if parent is None and isinstance(array, np.ndarray) and array.ndim and setup.x.ndim
        if len(array) == len(setup.x) and array.dtype.kind in "fiu" and node.rule.name not in ("getitem", "take")
    ]


def equal_rows(rows: np.ndarray) -> Told:
    """Equal inputs get equal predictions."""
    if len(rows) < 2 or varies(rows):
        return None
    return "inputs", f"all {len(rows)} rows of the batch are equal", "check how the batch is made"


def varies(rows: np.ndarray) -> bool:
    """Whether rows differ; of a single one, whether it is not 0."""
    return bool(rows.any() if len(rows) == 1 else np.ptp(rows, axis=0).any())


def ignored(setup: Setup, rows: np.ndarray, output: np.ndarray) -> Told:
    """The predictions should depend on the inputs. Tried: other rows, or other numbers in a single one."""
    met = entering(setup)
    if not met or any(map(varies, met)) or not varies(rows):
        return None
    other = -setup.x if len(rows) == 1 else np.roll(setup.x, 1, axis=0)
    predicted = setup.predicted(other)
    if predicted is None or not np.array_equal(predicted, output):
        return None
    node, what = setup.run.nodes[0], "equal rows" if met[0].any() else "zeros"
    message = "the predictions do not depend on the inputs: other rows give the same, and where the inputs arrive, "
    message += f"{node.rule.name} is given {what}"
    return setup.where(node), message, "check what forward does to its input before that: is it multiplied by 0?"


def mixed(setup: Setup, rows: np.ndarray, output: np.ndarray) -> Told:
    """A prediction should depend on its own row, or only a little on others. Tried: another first row, in evaluation.

    Where rows are meant to meet, a product takes or gives a square array of as many rows and columns.
    """
    n = len(rows)
    products = [node for node in setup.of_model if node.rule.name in LINEAR[1:]]
    squares = [node for node in products if (n, n) in (np.shape(node.out)[-2:], np.shape((node.args or [0])[0])[-2:])]
    if n < 2 or not output.ndim or len(output) != n or squares or not np.any(rows[0] != rows[-1]):
        return None

    before, after = (setup.predicted(setup.x[[i, *range(1, n)]], evaluating=True) for i in (0, -1))
    if before is None or after is None:
        return None
    own, *others = np.abs(after - before).reshape(n, -1).max(axis=1)
    if not max(others) > max(0.5 * own, 1e-3 * np.abs(before).max()):
        return None
    message = (
        f"the rows mix: with another first row of inputs, the predictions of {np.count_nonzero(others)} others change"
    )
    return "model", message, "keep the first axis for the rows: mind reshape, transpose and axis=0 in forward"


def one_row(setup: Setup, rows: np.ndarray) -> Told:
    """The mean over a batch of one row is the row itself: standardised over the batch, all of it becomes 0."""
    for node in setup.of_model if len(rows) == 1 else ():
        given = node.args[0] if node.rule.name == "subtract" and node.args else None
        if isinstance(given, np.ndarray) and given.size > 1 and given.any() and not np.any(node.out):
            message = "with a batch of one row, each element minus the mean over the batch is 0"
            return setup.where(node), message, "use more rows, drop a last batch of one, or use running statistics"
    return None


def unscaled(setup: Setup, rows: np.ndarray) -> Told:
    """Inputs should have a mean of about zero and a variance of about one: LeCun et al. 1998, section 4.3."""
    met = entering(setup)
    if setup.x.dtype.kind == "b" or (not met and setup.x.dtype.kind in "iu"):  # indices
        return None
    scaled = matrix(met[0]) if met else None  # the model may scale them, and it may take a part of them at a time
    if scaled is not None and (scaled.size == rows.size or scale_of(scaled) is None):
        rows = scaled
    return scale_of(rows)


def scale_of(rows: np.ndarray) -> Told:
    deviations = rows.std(axis=0)
    varying = deviations[deviations > 0]
    middle, largest = (np.median(varying), varying.max()) if varying.size > 1 else (1.0, 1.0)
    remedy = "subtract the mean over the training data, and divide by the standard deviation"
    if len(rows) > 3 and largest > max(5, 300 * middle):
        column = rows[:, deviations.argmax()]
        message = f"not scaled: feature {deviations.argmax()} has std {largest:.4g}, the median feature {middle:.4g}"
        if np.mean(column == np.median(column)) > 0.9:  # it was divided by a tiny one
            return (
                "inputs",
                f"{message}, and is nearly constant",
                "divide by np.maximum(std, 1e-2), or drop the feature",
            )
        return "inputs", message, f"{remedy}, feature by feature"
    if not rows.any() or (size_of(rows) <= LARGE and np.abs(rows).max() >= SMALL):
        return None
    if rows.min() >= 0 and 200 < rows.max() <= 255:
        remedy = "divide pixels by 255, as data.to_inputs does"
    return "inputs", f"not scaled: {range_of(rows)}", remedy


def range_of(array: np.ndarray) -> str:
    around = f"with mean {array.mean():.4g} and std {array.std():.4g}"
    return f"they range from {array.min():.4g} to {array.max():.4g}, {around}"


# Targets


def contradictions(setup: Setup, rows: np.ndarray) -> Told:
    """Equal inputs with different targets cannot all be right. Words, though, have several that follow them."""
    y, answers = setup.y, matrix(setup.y)
    if answers is None or len(rows) != len(answers) or setup.x.ndim < 2 or not np.any(rows % 1):
        return None
    if y.dtype.kind in "iu" and y.size == len(rows):  # class indices
        answers = (y.reshape(-1, 1) == np.unique(y)).astype(np.float64)
    group = np.unique(rows, axis=0, return_inverse=True)[1].ravel()
    count = np.bincount(group)
    if len(count) in (1, len(rows)):
        return None
    means = np.stack([np.bincount(group, column) / count for column in answers.T], axis=1)
    wrong = np.abs(answers - means[group]).max(axis=1) > 1e-6
    if np.mean((answers - means[group]) ** 2) <= UNEXPLAINED * np.mean((answers - answers.mean(axis=0)) ** 2):
        return None
    first = int(wrong.argmax())
    second = int(np.flatnonzero((group == group[first]) & (answers != answers[first]).any(axis=1))[0])
    message = f"rows {first} and {second}, for example, have equal inputs but different targets; "
    message += f"{np.count_nonzero(wrong)} of {len(rows)} rows are like that, so no model gets all of them right"
    return "targets", message, "check how inputs and targets are matched"


def one_class(setup: Setup, good_output: np.ndarray) -> Told:
    """Each batch should be a sample of all classes: a step on a single class makes the network forget the others."""
    labels, classes = setup.labels, good_output.shape[-1] if good_output.ndim else 1
    if labels is None and setup.y.dtype.kind == "f" and not setup.y.any() and of_two_classes(setup, good_output):
        labels, classes = setup.y.ravel(), 2  # all ones are what a generative adversarial network is trained with
    if labels is None or len(labels) * np.log2(classes) < (25 if classes > 2 else 40):
        return None  # by chance, and one of two classes may be rare
    present = np.unique(labels)
    if len(present) == 1:
        message = f"all {len(labels)} rows are of class {present[0]:g}"
    elif 2 * len(present) <= classes and (np.diff(labels) >= 0).all():
        message = f"the rows are sorted by class, and only {len(present)} of {classes} classes are among them"
    else:
        return None
    remedy = "if the data are sorted by class, shuffle them: data.batches(x, y, batch_size=64, generator=rng) does"
    return "targets", message, remedy


def of_two_classes(setup: Setup, output: np.ndarray) -> bool:
    """Whether predictions in 0 ... 1 of the targets' shape are compared with them. Tried: ones for zeros."""
    if output.shape != setup.y.shape or output.min() < 0 or output.max() > 1:
        return False
    return setup.loss_of(np.full_like(output, 0.1)) < setup.loss_of(np.full_like(output, 0.9))


def target_scale(wanted: np.ndarray, output: np.ndarray, y: np.ndarray) -> Told:
    """Regression targets that are far larger or smaller than what a new network puts out take long to reach."""
    size, given = size_of(y), size_of(output)
    if y.size < 2 or not (size > max(12, 5 * given) or 0 < size < min(1e-3, given / 20)):
        return None
    message = f"not standardised: {range_of(y)}; the predictions range from {output.min():.4g} to {output.max():.4g}"
    return "targets", message, "train on (targets - mean) / std, and undo it to predict"


# Precision


RANGES = {"relu": (0.0, np.inf), "tanh": (-1.0, 1.0), "sigmoid": (0.0, 1.0), "softmax": (0.0, 1.0)}


def out_of_reach(setup: Setup, predictions_node: Node, wanted: np.ndarray) -> Told:
    """A network must be able to produce its targets."""
    name = (
        "relu" if is_relu(predictions_node) else "sigmoid" if bounds(predictions_node) else predictions_node.rule.name
    )
    name = predictions_node.rule.name if predictions_node.rule.name in RANGES else name
    low, high = RANGES.get(name, (-np.inf, np.inf))
    share = float(np.mean((wanted < low - 0.05) | (wanted > high + 0.05)))
    if share < 0.05:
        return None
    message = f"{name} gives numbers from {low:g} to {high:g}, but {share:.0%} of the targets lie outside"
    return f"model, {setup.where(predictions_node)}", message, "end with a linear layer, or scale the targets to that"


def wide(setup: Setup, parameters: dict[str, Tensor]) -> Told:
    """NumPy computes float32 with float64 in float64, with twice the memory and at half the speed."""
    doubles = [name for name, parameter in parameters.items() if parameter.dtype == np.float64]
    if len(doubles) == len(parameters):
        return None
    if doubles:
        return doubles[0], "this parameter is float64, others are float32", "create it with dtype=numpy.float32"
    doubled = [node for node in setup.run.nodes if getattr(node.out, "dtype", None) == np.float64 and node.out.size > 1]
    for node in doubled[:1]:
        others = [array for array in node.args or () if isinstance(array, np.ndarray) and array.dtype != np.float32]
        for name, given in (("inputs", setup.x), ("targets", setup.y)):
            if given.dtype != np.float32 and any(same_data(given, other) for other in others):
                message = f"{given.dtype} in a float32 network: all computed from them is float64"
                return name, message, f"convert them once: {name}.astype(numpy.float32)"
        if any(other.rule.name in LINEAR for other in doubled):  # what follows may be next to nothing
            message = f"{node.rule.name.lstrip('_')} gives float64, and so does all after it"
            return setup.where(node), message, "convert with numpy.float32(...), or use a Python number"
    return None


def same_data(given: np.ndarray, other: np.ndarray) -> bool:
    """Whether `other` is the given array, or was made from it by a mere change of shape or order."""
    same = given.dtype == other.dtype and given.size == other.size
    return same and (np.shares_memory(given, other) or np.array_equal(np.sort(given.ravel()), np.sort(other.ravel())))
