"""Checks of the batch: is it scaled, has it the network's dtype, and do inputs and targets belong together?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tinygrad_np.debug.diagnosis.report import Finding
from tinygrad_np.debug.diagnosis.setup import Setup, array_of
from tinygrad_np.derivatives.table import LEAF

__all__ = ["contradictions", "float64", "scale", "target_scale"]

EFFICIENT_BACKPROP = 'LeCun et al., "Efficient BackProp" (1998), section 4.3'

LARGE, SMALL = 6.0, 0.02
"""Inputs count as not scaled if their root mean square is above LARGE or their largest magnitude below SMALL. Uniform
numbers from -10 ... 10 pass, pixels in 0 ... 16 do not."""


def entering(setup: Setup) -> np.ndarray | None:
    """The numbers that meet the first parameters: the inputs after any scaling by the model itself; None if unclear."""
    batch = array_of(setup.inputs)
    for node in setup.nodes[: setup.in_model] if batch.ndim else ():
        for array, parent in zip(node.args or (), node.parents, strict=False):
            constant = parent is None or (parent.rule is LEAF and parent not in setup.names)
            if constant and isinstance(array, np.ndarray) and array.ndim and len(array) == len(batch):
                return None if node.rule.name in ("getitem", "take") else array
    return None


def scale(setup: Setup) -> Iterator[Finding]:
    """Inputs should have a mean of about zero and a variance of about one: LeCun et al. 1998, section 4.3."""
    x = entering(setup)
    if x is None or x.dtype.kind not in "fiu" or x.size < 2 or not np.isfinite(x).all():
        return
    rows = x.reshape(len(x), -1).astype(np.float64)
    measured = (
        f"they range from {rows.min():.4g} to {rows.max():.4g}, with mean {rows.mean():.4g} and std {rows.std():.4g}"
    )
    remedy = "subtract the mean and divide by the standard deviation of the training data"
    if rows.min() >= 0 and 200 < rows.max() <= 255:
        remedy = "divide pixels by 255, as data.to_inputs does"
    root_mean_square = np.sqrt(np.mean(rows**2))
    deviations = rows.std(axis=0)
    varying = deviations[deviations > 0]
    if len(rows) > 1 and not varying.size:
        message = f"all {len(rows)} rows are equal, so their predictions are equal, too"
        yield Finding("inputs", "error", "inputs", message, "check how the batch is made", EFFICIENT_BACKPROP)
    elif len(rows) > 3 and len(varying) > 1 and varying.max() > 5 and varying.max() > 300 * np.median(varying):
        message = (
            f"not scaled: feature {deviations.argmax()} has std {varying.max():.4g}, the median feature "
            f"{np.median(varying):.4g}"
        )
        remedy = "subtract each feature's mean over the training data, and divide by its standard deviation"
        yield Finding("inputs", "error", "inputs", message, remedy, EFFICIENT_BACKPROP)
    elif root_mean_square > LARGE or np.abs(rows).max() < SMALL:
        yield Finding("inputs", "error", "inputs", f"not scaled: {measured}", remedy, EFFICIENT_BACKPROP)


def target_scale(setup: Setup) -> Iterator[Finding]:
    """Regression targets that are far larger than what a new network puts out take long to reach."""
    targets, output = array_of(setup.targets), setup.output
    if output is None or targets.dtype.kind != "f" or targets.shape != output.shape or not np.isfinite(targets).all():
        return
    if targets.size > 1 and np.sqrt(np.mean(targets.astype(np.float64) ** 2)) > 100:
        yield Finding(
            "targets",
            "warning",
            "targets",
            f"not scaled: they range from {targets.min():.4g} to {targets.max():.4g}, the predictions from "
            f"{output.min():.4g} to {output.max():.4g}",
            "train on (targets - mean) / std, or start the last bias at the targets' mean",
            'Karpathy, "A recipe for training neural networks" (2019), "init well"',
        )


def contradictions(setup: Setup) -> Iterator[Finding]:
    """Equal inputs with different targets cannot all be right."""
    x, targets = array_of(setup.inputs), array_of(setup.targets)
    numbers = x.dtype.kind in "fiu" and targets.dtype.kind in "fiub"
    if not numbers or x.ndim < 2 or not x.size or targets.ndim == 0 or len(x) != len(targets):
        return
    _, group = np.unique(x.reshape(len(x), -1), axis=0, return_inverse=True)
    if targets.dtype.kind in "iu" and targets.size == len(x):  # class indices
        targets = targets.reshape(len(x), -1) == np.unique(targets)
    answers = targets.reshape(len(x), -1).astype(np.float64)
    count = np.bincount(group)
    if len(count) in (1, len(x)):
        return
    means = np.stack([np.bincount(group, column) / count for column in answers.T], axis=1)
    contradicted = np.abs(answers - means[group]).max(axis=1) > 1e-6
    if np.mean((answers - means[group]) ** 2) > UNEXPLAINED * np.mean((answers - answers.mean(axis=0)) ** 2):
        first = int(contradicted.argmax())
        second = int(np.flatnonzero((group == group[first]) & (answers != answers[first]).any(axis=1))[0])
        yield Finding(
            "overfit",
            "error",
            "targets",
            f"they contradict each other, so the batch cannot be over-fitted: rows {first} and {second}, for example, "
            f"have equal inputs but different targets; {np.count_nonzero(contradicted)} of {len(x)} rows are like that",
            "check how inputs and targets are matched",
            'Karpathy, "A recipe for training neural networks" (2019), "overfit one batch"',
        )


UNEXPLAINED = 0.3
"""If rows with equal inputs account for more than this fraction of the targets' variance, it is not mere noise."""


def float64(setup: Setup) -> Iterator[Finding]:
    """NumPy computes float32 with float64 in float64, with twice the memory and at half the speed."""
    dtypes = [parameter.dtype for parameter in setup.parameters.values()]
    wide = [name for name, parameter in setup.parameters.items() if parameter.dtype == np.float64]
    if not wide or len(wide) < len(dtypes):
        source = "NumPy, NEP 50: float32 with float64 gives float64"
        if wide:
            place, message = wide[0], "this parameter is float64, others are float32"
            yield Finding("float64", "warning", place, message, "create it with dtype=numpy.float32", source)
            return
        for node in setup.nodes:
            out = node.out
            if not isinstance(out, np.ndarray) or out.dtype != np.float64 or out.size == 1:
                continue
            others = [array for array in node.args or () if isinstance(array, np.ndarray) and array.dtype != np.float32]
            place, what = setup.where(node), f"{node.rule.name.lstrip('_')} gives float64, and so does all after it"
            remedy = "convert with numpy.float32(...), or use a Python number"
            for name, given in (("inputs", array_of(setup.inputs)), ("targets", array_of(setup.targets))):
                if given.dtype != np.float32 and any(_same(given, other) for other in others):
                    place, what = name, f"{given.dtype} in a float32 network: all computed from them is float64"
                    remedy = f"convert them once: {name}.astype(numpy.float32)"
                    break
            yield Finding("float64", "warning", place, what, remedy, source)
            return


def _same(given: np.ndarray, other: np.ndarray) -> bool:
    """Whether `other` is the given array, or was made from it by a mere change of shape or order."""
    return given.dtype == other.dtype and (np.shares_memory(given, other) or given.size == other.size)
