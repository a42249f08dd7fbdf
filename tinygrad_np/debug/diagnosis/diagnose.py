"""`diagnose`: examine a training set-up with one call.

A network with a mistake in it seldom fails; it trains, only worse. Each check looks for one of the most common
mistakes: it is a small function, in the file of its family, that looks at what one forward and backward pass showed and
yields findings. Here the checks are put in order, causes before consequences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tinygrad_np.debug.diagnosis import data, gradients, loss, overfit, running, softmax, training, units
from tinygrad_np.debug.diagnosis.report import SEVERITIES, Diagnosis, Finding
from tinygrad_np.debug.diagnosis.setup import Setup, Snapshot, array_of
from tinygrad_np.debug.places import line
from tinygrad_np.errors import ArgumentError, ArgumentTypeError
from tinygrad_np.nn import Module
from tinygrad_np.optim import Optimizer

__all__ = ["diagnose"]

# Causes before consequences: findings of one severity are reported in this order.
CHECKS: tuple[Callable[[Setup], Iterable[Finding]], ...] = (
    running.runs,
    running.finite,
    running.history,
    loss.broadcast,
    softmax.softmax,
    gradients.missing,
    gradients.unfound,
    training.optimizer,
    data.scale,
    data.contradictions,
    gradients.symmetry,
    units.dead,
    units.saturated,
    gradients.exploding,
    gradients.zero,
    gradients.vanishing,
    loss.value,
    data.float64,
    data.target_scale,
)
TRIALS: tuple[Callable[[Setup, Snapshot], Iterable[Finding]], ...] = (training.steps, overfit.overfit)

# What each finding explains, and what is therefore not reported as well.
UNTRAINABLE = {"zero gradient", "vanishing gradient", "exploding gradient", "loss", "update", "overfit"}
CONSEQUENCES = {
    "finite": UNTRAINABLE | {"dead units", "saturated units", "symmetry"},
    "broadcast": {"loss", "update", "exploding gradient", "overfit"},
    "softmax": {
        "finite",
        "loss",
        "exploding gradient",
        "update",
        "zero gradient",
        "vanishing gradient",
        "saturated units",
        "overfit",
    },
    "inputs": UNTRAINABLE | {"finite", "dead units", "saturated units", "targets", "symmetry"},
    "symmetry": UNTRAINABLE | {"dead units"},
    "dead units": UNTRAINABLE,
    "saturated units": UNTRAINABLE,
    "zero gradient": {"vanishing gradient", "update", "overfit"},
    "vanishing gradient": {"update", "overfit"},
    "exploding gradient": UNTRAINABLE - {"exploding gradient"},
    "loss": {"update", "overfit"},
    "targets": {"loss", "exploding gradient", "update", "overfit"},
}


def diagnose(
    model: Module,
    loss_fn: Callable[[Any, Any], Any],
    batch: tuple[Any, Any],
    optimizer: Optimizer | None = None,
    train_step: Callable[[Any, Any], Any] | None = None,
) -> Diagnosis:
    """Examine a training set-up, print a short report, worst first, and return it.

    Each finding says where it is, what was measured, what to do, and where the rule comes from. Gradients that the
    parameters hold are taken to be left over from the last training step. Afterwards everything is as before:
    parameters, buffers, gradients, generators in modules, training mode and the optimizer.

    Args:
        model: called as model(inputs).
        loss_fn: any function or module, called as loss_fn(predictions, targets); returns a scalar Tensor.
        batch: the pair (inputs, targets), as in training; better 8 rows or more.
        optimizer: if given, the parameters that it holds and the size of its steps are examined as well.
        train_step: if given, your own training step is examined: it is called three times as
            train_step(inputs, targets). Pass the optimizer too, so that it is restored. Anything else that a step
            changes, such as a schedule, stays changed.

    Returns:
        The `Diagnosis`.

    Raises:
        ArgumentTypeError: `model` is not a Module, `optimizer` is not an Optimizer, or a function is not callable.
        ArgumentError: `batch` is not a pair.

    >>> import numpy as np
    >>> from tinygrad_np import functional, nn
    >>> generator = np.random.default_rng(0)
    >>> model = nn.Sequential(nn.Linear(4, 8, generator=generator), nn.Tanh(), nn.Linear(8, 3, generator=generator))
    >>> inputs = generator.standard_normal((16, 4)).astype(np.float32)
    >>> diagnosis = diagnose(model, functional.cross_entropy, (inputs, np.arange(16) % 3))
    diagnose: nothing found in 21 checks of Sequential (67 parameters, batch of 16, loss 1.23)
    """
    if not isinstance(model, Module):
        raise ArgumentTypeError(f"diagnose examines an nn.Module, but got a {type(model).__name__}")
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        raise ArgumentTypeError(f"optimizer must be an optim.Optimizer, but is a {type(optimizer).__name__}")
    for name, function in (("loss_fn", loss_fn), ("train_step", train_step or loss_fn)):
        if not callable(function):
            raise ArgumentTypeError(f"{name} must be a function, but is a {type(function).__name__}")
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        raise ArgumentError("batch must be the pair (inputs, targets)")
    setup = Setup(model, loss_fn, *batch, optimizer, train_step, line())
    findings = _examine(setup)
    explained = {check for finding in findings for check in CONSEQUENCES.get(finding.check, ())}
    findings = [finding for finding in findings if finding.check not in explained]
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    diagnosis = Diagnosis(findings, f"{len(CHECKS) + len(TRIALS)} checks of {_description(setup)}")
    print(diagnosis)
    return diagnosis


def _examine(setup: Setup) -> list[Finding]:
    """Run all checks, causes before consequences."""
    start = Snapshot(setup)
    findings: list[Finding] = []
    try:
        setup.run()
        with np.errstate(all="ignore"):
            for check in CHECKS:
                findings += check(setup)
            for trial in TRIALS:
                start.restore()
                if setup.gradients and (trial is training.steps or not _errors(findings)):
                    findings += trial(setup, start)
    finally:
        start.restore()
    return findings


def _errors(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.severity == "error"]


def _description(setup: Setup) -> str:
    """What was examined, in a few words: "MnistMLP (101,770 parameters, batch of 32, loss 2.3)"."""
    count = sum(parameter.size for parameter in setup.parameters.values())
    rows = np.shape(array_of(setup.inputs))[:1]
    parts = [f"{count:,} parameters", *(f"batch of {n}" for n in rows)]
    if setup.loss_value is not None:
        parts.append(f"loss {setup.loss_value:.3g}")
    return f"{type(setup.model).__name__} ({', '.join(parts)})"
