"""Checks of the batch: is it finite, scaled and left alone, and do inputs and targets belong together?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_np.debug.diagnosis.measure import LINEAR, Arrays, Setup, array_of, line_of
from tinygrad_np.debug.diagnosis.report import Told

LARGE, SMALL = 6.0, 0.02
"""Inputs count as not scaled if their root mean square is above LARGE or their largest magnitude below SMALL. Uniform
numbers from -10 ... 10 pass, pixels in 0 ... 16 do not."""

UNEXPLAINED = 0.3
"""If rows with equal inputs account for more than this fraction of the targets' variance, it is not mere noise."""


def numbers(value: object, least: int = 1) -> np.ndarray | None:
    """The rows of a batch as a matrix of float64, or None if it is none of finite numbers with at least some rows."""
    array = array_of(value)
    if array.dtype.kind not in "fiub" or array.ndim == 0 or len(array) < least or not np.isfinite(array).all():
        return None
    return array.reshape(len(array), -1).astype(np.float64) if array.size else None


def entering(setup: Setup) -> list[np.ndarray]:
    """The constants of as many rows as the batch that the model's calls take: the inputs, as it prepares them."""
    batch = array_of(setup.inputs)
    return [
        array
        for node in setup.run.nodes[: setup.in_model]
        for array, parent in zip(node.args or (), node.parents, strict=False)
        if parent is None and isinstance(array, np.ndarray) and array.ndim and batch.ndim and len(array) == len(batch)
        if array.dtype.kind in "fiu" and node.rule.name not in ("getitem", "take")
    ]


def non_finite(setup: Setup) -> Told:
    """What is computed from a number that is not finite is mostly not finite either."""
    for place, array in (("inputs", array_of(setup.inputs)), ("targets", array_of(setup.targets))):
        if array.dtype.kind != "f" or np.isfinite(array).all():
            continue
        wrong = ~np.isfinite(array)
        first = [int(i) for i in np.argwhere(wrong)[0]]
        message = (
            f"{np.count_nonzero(wrong)} of {array.size} elements are NaN or infinite; the first is in row {first[0]}"
        )
        message += f", column {first[1]}" if len(first) == 2 else f", at index {tuple(first)}" * (len(first) > 2)
        remedy = (
            "fill such values in, np.where(np.isfinite(x), x, 0), or drop their rows, x[np.isfinite(x).all(axis=1)]"
        )
        columns = np.flatnonzero(wrong.all(axis=0)) if array.ndim == 2 and len(array) > 1 else np.zeros(0)
        if columns.size:
            message += f". {columns.size} columns are so in every row, as a constant column divided by its standard "
            message += f"deviation of 0 is: column {columns[0]}, for example"
            remedy = "divide by np.maximum(std, 1e-6), so that a constant column becomes 0; or drop constant columns"
        return place, message, remedy
    return None


def overwritten(setup: Setup) -> Told:
    """The batch is the user's: what writes to it changes the data for all later steps."""
    parts: list[tuple[str, Arrays, Callable[[], Any]]] = [("the forward pass", setup.after, setup.forward_pass)]
    step = setup.train_step
    if step is not None and setup.steps is not None:
        parts.append(("train_step", setup.steps.batch, lambda: step(setup.inputs, setup.targets)))
    for part, batch, again in parts:
        for name, after in batch.items():
            given = array_of(getattr(setup, name))
            if np.array_equal(given, after, equal_nan=given.dtype.kind == "f"):
                continue
            line = writer(setup, again, given)
            message = f"{part} overwrites them in place: {described(given)} before, {described(after)} afterwards"
            remedy = (
                "compute a new array, x = x / 255, or write to a copy, x.copy(); x /= 255 and x[...] = change the data"
            )
            return f"{name}{f', {line}' * bool(line)}", message, remedy
    return None


def results_overwritten(setup: Setup) -> Told:
    """A derivative knows nothing of what was written to an array by other means than recorded calls."""
    node = setup.written
    if node is None:
        return None
    message = (
        f"the result of {node.rule.name} was overwritten after the call, through its array: no derivative knows of it"
    )
    return (
        setup.where(node),
        message,
        "compute a new Tensor, np.where(h > 0, h, 0), or write to the Tensor itself, h[h < 0] = 0",
    )


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


def equal_rows(setup: Setup) -> Told:
    """Equal inputs get equal predictions."""
    rows = numbers(setup.inputs, 2)
    if rows is None or np.ptp(rows, axis=0).any():
        return None
    return "inputs", f"all {len(rows)} rows of the batch are equal", "check how the batch is made"


def ignored(setup: Setup) -> Told:
    """The predictions should depend on the inputs. Tried: other rows, or other numbers in a single one."""
    rows = numbers(setup.inputs)
    met = entering(setup)
    if rows is None or not met or setup.output is None:
        return None
    single = len(rows) == 1
    if any(array.any() if single else np.ptp(array, axis=0).any() for array in met):
        return None
    given = array_of(setup.inputs)
    if not (rows.any() if single else np.ptp(rows, axis=0).any()):
        return None
    other = setup.predict(-given if single else np.roll(given, 1, axis=0))
    if not isinstance(other, np.ndarray) or not np.array_equal(other, setup.output):
        return None
    node = setup.run.nodes[0]
    what = "zeros" if not met[0].any() else "equal rows"
    message = (
        f"the predictions do not depend on the inputs: other rows give the same, and {node.rule.name} is given {what} "
        "where the inputs arrive"
    )
    return setup.where(node), message, "check what forward does to its input before that: is it multiplied by 0?"


def one_row(setup: Setup) -> Told:
    """The mean over a batch of one row is the row itself: standardised over the batch, all of it becomes 0."""
    inputs = array_of(setup.inputs)
    for node in setup.run.nodes[: setup.in_model] if inputs.ndim and len(inputs) == 1 else ():
        x = node.args[0] if node.rule.name == "subtract" and node.args else None
        if isinstance(x, np.ndarray) and x.size > 1 and x.any() and not np.any(node.out):
            message = "with a batch of one row, each element minus the mean over the batch is 0"
            return (
                setup.where(node),
                message,
                "use more rows, drop a last batch of one, or normalise with running statistics",
            )
    return None


def unscaled(setup: Setup) -> Told:
    """Inputs should have a mean of about zero and a variance of about one: LeCun et al. 1998, section 4.3."""
    rows = numbers(setup.inputs)
    if rows is None or array_of(setup.inputs).dtype.kind == "b":
        return None
    told = scale_of(rows)
    for array in entering(setup)[:1]:  # the model may scale them, and it may take a part of them at a time
        met = numbers(array)
        one = met is not None and met.size == rows.size
        ours = scale_of(met) if met is not None else None
        told = ours if one or ours is None else told
    if not entering(setup) and array_of(setup.inputs).dtype.kind in "iub":
        return None  # indices
    return told


def scale_of(rows: np.ndarray) -> Told:
    deviations = rows.std(axis=0)
    varying = deviations[deviations > 0]
    if len(rows) > 3 and len(varying) > 1 and varying.max() > 5 and varying.max() > 300 * np.median(varying):
        return (
            "inputs",
            f"not scaled: feature {deviations.argmax()} has std {varying.max():.4g}, the median feature "
            f"{np.median(varying):.4g}",
            "subtract each feature's mean over the training data, and divide by its standard deviation",
        )
    size = np.sqrt(np.mean(rows**2))
    if not rows.any() or (size <= LARGE and np.abs(rows).max() >= SMALL):
        return None
    remedy = "subtract the mean and divide by the standard deviation of the training data"
    if rows.min() >= 0 and 200 < rows.max() <= 255:
        remedy = "divide pixels by 255, as data.to_inputs does"
    message = (
        f"not scaled: they range from {rows.min():.4g} to {rows.max():.4g}, with mean {rows.mean():.4g} and "
        f"std {rows.std():.4g}"
    )
    return "inputs", message, remedy


def contradictions(setup: Setup) -> Told:
    """Equal inputs with different targets cannot all be right. Words, though, have several that follow them."""
    x, answers, targets = numbers(setup.inputs, 2), numbers(setup.targets, 2), array_of(setup.targets)
    if x is None or answers is None or len(x) != len(answers) or array_of(setup.inputs).ndim < 2:
        return None
    if not np.any(x % 1):
        return None
    if targets.dtype.kind in "iu" and targets.size == len(x):  # class indices
        answers = (targets.reshape(len(x), -1) == np.unique(targets)).astype(np.float64)
    _, group = np.unique(x, axis=0, return_inverse=True)
    group = group.ravel()
    count = np.bincount(group)
    if len(count) in (1, len(x)):
        return None
    means = np.stack([np.bincount(group, column) / count for column in answers.T], axis=1)
    contradicted = np.abs(answers - means[group]).max(axis=1) > 1e-6
    if np.mean((answers - means[group]) ** 2) <= UNEXPLAINED * np.mean((answers - answers.mean(axis=0)) ** 2):
        return None
    first = int(contradicted.argmax())
    second = int(np.flatnonzero((group == group[first]) & (answers != answers[first]).any(axis=1))[0])
    message = (
        f"rows {first} and {second}, for example, have equal inputs but different targets; "
        f"{np.count_nonzero(contradicted)} of {len(x)} rows are like that, so no model gets all of them right"
    )
    return "targets", message, "check how inputs and targets are matched"


def one_class(setup: Setup) -> Told:
    """Each batch should be a sample of all classes: a step on a single class makes the network forget the others."""
    targets = array_of(setup.targets)
    labels, classes = setup.labels, 2
    if labels is not None and setup.output is not None:
        classes = setup.output.shape[1]
    elif (
        targets.dtype.kind == "f" and targets.size == len(targets.ravel()) and not targets.any() and uses_targets(setup)
    ):
        labels = targets.ravel()  # zeros and ones; all ones are what a generative adversarial network is trained with
    if labels is None or len(labels) * np.log2(classes) < (25 if classes > 2 else 40):
        return None  # by chance, and one of two classes may be rare
    present = np.unique(labels)
    is_sorted = bool((np.diff(labels) >= 0).all())
    if len(present) == 1:
        message = f"all {len(labels)} rows are of class {present[0]:g}"
    elif is_sorted and 2 * len(present) <= classes:
        message = f"the rows are sorted by class, and only {len(present)} of {classes} classes are among them"
    else:
        return None
    return (
        "targets",
        message,
        "if the data are sorted by class, shuffle them: data.batches(x, y, batch_size=64, generator=rng) does",
    )


def uses_targets(setup: Setup) -> bool:
    """Whether predictions in 0 ... 1 of the targets' shape are compared with them. Tried: ones for zeros."""
    output, targets = setup.output, array_of(setup.targets)
    if output is None or output.shape != targets.shape or output.min() < 0 or output.max() > 1:
        return False
    losses = [setup.loss_of(np.full_like(output, p)) for p in (0.1, 0.9)]
    return bool(losses[0] < losses[1])


def target_scale(setup: Setup) -> Told:
    """Regression targets that are far larger or smaller than what a new network puts out take long to reach.

    Tried: is the loss least for predictions that equal the targets? A count may be predicted by its
    logarithm.
    """
    targets, output = array_of(setup.targets), setup.output
    if output is None or targets.dtype.kind not in "fiu" or targets.size != output.size or setup.labels is not None:
        return None
    if targets.size < 2 or not np.isfinite(targets).all() or not np.isfinite(output).all():
        return None
    wanted, given = (float(np.sqrt(np.mean(array.astype(np.float64) ** 2))) for array in (targets, output))
    if not (wanted > max(12, 5 * given) or 0 < wanted < min(1e-3, given / 20)):
        return None
    exact = targets.reshape(output.shape).astype(output.dtype)
    losses = [setup.loss_of(exact + shift) for shift in (0, wanted / 10, -wanted / 10)]
    if not losses[0] < min(losses[1:]):
        return None  # the loss does not ask for predictions that equal the targets
    message = (
        f"not standardised: they range from {targets.min():.4g} to {targets.max():.4g}, with mean {targets.mean():.4g} "
        f"and std {targets.std():.4g}; the predictions range from {output.min():.4g} to {output.max():.4g}"
    )
    return "targets", message, "train on (targets - mean) / std, and undo it to predict"


def wide(setup: Setup) -> Told:
    """NumPy computes float32 with float64 in float64, with twice the memory and at half the speed."""
    dtypes = {name: parameter.dtype for name, parameter in setup.parameters.items()}
    doubles = [name for name, dtype in dtypes.items() if dtype == np.float64]
    if len(doubles) == len(dtypes):
        return None
    if doubles:
        return doubles[0], "this parameter is float64, others are float32", "create it with dtype=numpy.float32"
    doubled = [node for node in setup.run.nodes if getattr(node.out, "dtype", None) == np.float64 and node.out.size > 1]
    for node in doubled[:1]:
        others = [array for array in node.args or () if isinstance(array, np.ndarray) and array.dtype != np.float32]
        for name in ("inputs", "targets"):
            given = array_of(getattr(setup, name))
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
