"""`diagnose`: examine a training set-up with one call.

A network with a mistake in it seldom fails; it trains, only worse. Each row of the table below is a check for one of
the most common mistakes: a function from what was measured to the place, the facts and the remedy, or to nothing. The
order of the rows is the order in which findings are named, causes before symptoms.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tinygrad_np.debug.diagnosis import data, loss, network, steps
from tinygrad_np.debug.diagnosis.measure import Setup
from tinygrad_np.debug.diagnosis.report import SEVERITIES, Diagnosis, Finding, Told
from tinygrad_np.debug.places import line
from tinygrad_np.errors import ArgumentError, ArgumentTypeError
from tinygrad_np.nn import Module
from tinygrad_np.optim import Optimizer
from tinygrad_np.recording import isolated

__all__ = ["CHECKS", "Check", "diagnose"]


class Check(NamedTuple):
    """A row of the table.

    Attributes:
        name, severity: of its finding.
        find: from the measurements that its parameters name to the place, the message and the remedy; or to None. It
            is asked where none of the measurements is None.
        source: where the rule comes from.
    """

    name: str
    severity: str
    find: Callable[..., Told]
    source: str


BACKPROP = 'LeCun et al., "Efficient BackProp" (1998), section 4.3'
CHAIN_RULE = "the chain rule: what the loss does not depend on has no gradient"
CS231N = 'CS231n, "Neural networks part 3", sanity checks'
DROPOUT = 'Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting" (2014)'
DYING = 'Lu et al., "Dying ReLU and initialization" (2019)'
ERROR = "the error that was raised"
GLOROT = 'Glorot & Bengio, "Understanding the difficulty of training deep feedforward neural networks" (2010)'
GOODFELLOW = "Goodfellow, Bengio & Courville, Deep Learning (2016)"
FOUND = "Module: parameters() finds what is assigned to attributes of modules"
HISTORY = "Tensor: only what NumPy functions and operators compute from it keeps its history"
IEEE = "IEEE 754: what is computed from NaN is NaN"
IN_PLACE = "NumPy: x += y and x[...] = y write to the array that all others see"
LINEAR = f"{GOODFELLOW}, section 6.1: a linear function of a linear function"
MODES = "nn.Module.train and eval: Ioffe & Szegedy (2015), Srivastava et al. (2014)"
NORMED = 'Ioffe & Szegedy, "Batch normalization" (2015)'
NUMPY = "NumPy's broadcasting rules"
OPTIMIZER = "Optimizer: step() updates the parameters it was given, and those only"
PASCANU = 'Pascanu, Mikolov & Bengio, "On the difficulty of training recurrent neural networks" (2013), section 2'
RECIPE = 'Karpathy, "A recipe for training neural networks" (2019)'
SOFTMAX = f"{GOODFELLOW}, section 6.2.2.3"
UPDATES = 'CS231n, "Neural networks part 3", "Ratio of weights:updates": about 1e-3'
WIDE = "NumPy, NEP 50: float32 with float64 gives float64"

BATCH = (Check("finite", "error", data.non_finite, IEEE),)
RUNS = (
    Check("labels", "error", loss.labels, ERROR),
    Check("broadcast", "error", loss.shapes, ERROR),
    Check("runs", "error", loss.fails, ERROR),
)
ALWAYS = (
    Check("finite", "error", loss.parameters_not_finite, IEEE),
    Check("overwritten", "error", data.overwritten, IN_PLACE),
)
HAS_HISTORY = (
    Check("overwritten", "error", data.results_overwritten, HISTORY),
    Check("gradient", "error", loss.frozen_model, HISTORY),
    Check("gradient", "error", loss.no_history, HISTORY),
    Check("gradient", "error", loss.many_numbers, "Tensor.backward"),
    Check("gradient", "error", loss.not_predictions, CHAIN_RULE),
)
FINITE = (
    Check("softmax", "error", loss.log_of_scores, SOFTMAX),
    Check("finite", "error", loss.anomaly, "debug.detect_anomaly"),
    Check("finite", "error", loss.not_finite, "debug.detect_anomaly"),
)
COMPARISON = (
    Check("broadcast", "error", loss.stretched, NUMPY),
    Check("broadcast", "error", loss.picked, "NumPy's indexing"),
    Check("softmax", "error", loss.softmax_first, SOFTMAX),
    Check("softmax", "error", loss.softmax_over_rows, SOFTMAX),
    Check("softmax", "warning", loss.bounded, SOFTMAX),
    Check("softmax", "error", loss.log_missing, SOFTMAX),
    Check("loss", "error", loss.wrong_sign, CS231N),
    Check("targets", "error", loss.no_shares, f"{GOODFELLOW}, section 6.2.2.2"),
    Check("targets", "warning", loss.targets_ignored, f'{RECIPE}, "input-independent baseline"'),
)
CONNECTIONS = (
    Check("gradient", "error", network.without_gradient, CHAIN_RULE),
    Check("parameters", "error", network.unfound, FOUND),
)
STEP = (
    Check("parameters", "error", steps.replaces, OPTIMIZER),
    Check("graph", "error", steps.grows, "a Tensor keeps its history, and so the calls of its step"),
    Check("runs", "error", steps.fails, ERROR),
)
CAUSES = (
    Check("runs", "error", steps.evaluation_fails, ERROR),
    Check("evaluation", "error", steps.evaluation_trains, RECIPE),
    Check("optimizer", "error", steps.not_held, OPTIMIZER),
    Check("mode", "error", steps.modes, MODES),
    Check("mode", "warning", steps.dropping_in_evaluation, MODES),
    Check("dropout", "warning", network.drops_most, DROPOUT),
    Check("clearing", "error", steps.uncleared, "Tensor.backward: gradients are added to what .grad holds"),
    Check("clearing", "error", steps.uncleared_before, "Tensor.backward: gradients are added to what .grad holds"),
    Check("update", "error", steps.moves_nothing, OPTIMIZER),
    Check("optimizer", "error", steps.moves_all, OPTIMIZER),
    Check("update", "error", steps.goes_uphill, UPDATES),
    Check("inputs", "error", data.equal_rows, BACKPROP),
    Check("one row", "error", data.one_row, NORMED),
    Check("inputs", "error", data.ignored, f'{RECIPE}, "input-independent baseline"'),
    Check("overfit", "error", data.mixed, f'{RECIPE}, "use backprop to chart dependencies"'),
    Check("inputs", "error", data.unscaled, BACKPROP),
)
TARGETS = (
    Check("targets", "error", data.contradictions, f'{RECIPE}, "overfit one batch"'),
    Check("overfit", "error", data.out_of_reach, f"{GOODFELLOW}, section 6.2.2"),
    Check("targets", "warning", data.one_class, BACKPROP.replace("4.3", "4.2")),
    Check("targets", "warning", data.target_scale, f'{RECIPE}, "init well"'),
)
NETWORK = (
    Check("symmetry", "error", network.symmetry, f'{GOODFELLOW}, section 8.4: "break symmetry"'),
    Check("dead units", "error", network.dead, DYING),
    Check("saturated units", "error", network.saturated, f"{GLOROT}, section 3"),
    Check("penalty", "error", network.penalty, f"{GOODFELLOW}, section 7.1.1"),
    Check("weight decay", "error", steps.weight_decay, f"{GOODFELLOW}, section 7.1.1"),
    Check("loss", "warning", loss.factor, CS231N),
    Check("linear", "warning", network.linear_twice, LINEAR),
)
SYMPTOMS = (
    Check("exploding gradient", "error", network.exploding, PASCANU),
    Check("zero gradient", "error", network.zeros, CHAIN_RULE),
    Check("zero gradient", "warning", partial(network.zeros, last=True), CHAIN_RULE),
    Check("vanishing gradient", "error", network.vanishing, f"{GLOROT}, section 4.2"),
    Check("loss", "error", loss.too_large, CS231N),
    Check("exploding gradient", "error", network.huge, PASCANU),
    Check("update", "error", steps.too_fast, UPDATES),
    Check("finite", "error", steps.turns_infinite, "debug.detect_anomaly"),
    Check("update", "error", steps.too_slow, UPDATES),
    Check("overfit", "error", steps.not_learned, f"{RECIPE}; CS231n, part 3, sanity checks"),
    Check("overfit", "note", steps.undecided, RECIPE),
)
ASIDE = (
    Check("gradient", "note", network.frozen, "Tensor.requires_grad"),
    Check("optimizer", "warning", steps.strangers, OPTIMIZER),
    Check("float64", "warning", data.wide, WIDE),
)
ONLY_ONE = (RUNS, FINITE, STEP, TARGETS, SYMPTOMS)
"""Of these groups only the first finding is told: what comes after it follows from it."""

EXAMINED = (
    BATCH,
    RUNS,
    ALWAYS,
    HAS_HISTORY,
    FINITE,
    COMPARISON,
    CONNECTIONS,
    STEP,
    CAUSES,
    TARGETS,
    NETWORK,
    SYMPTOMS,
    ASIDE,
)
CHECKS = tuple(check for group in EXAMINED for check in group)


def diagnose(
    model: Callable[..., Any],
    loss_fn: Callable[[Any, Any], Any],
    batch: tuple[Any, Any],
    optimizer: Optimizer | None = None,
    train_step: Callable[[Any, Any], Any] | None = None,
    evaluate: Callable[[Any, Any], Any] | None = None,
) -> Diagnosis:
    """Examine a training set-up, print a short report, worst first, and return it.

    Each finding says where it is, what was measured, what to do, and where the rule comes from. What a symptom such as
    a gradient that vanishes may come from is examined first, by experiments where numbers alone do not tell: shorter
    steps, other rows, a few rows learned by heart, a pass inside `detect_anomaly`. Symptoms are named if no cause was
    found.

    Gradients that the parameters hold are taken to be left over from the last training step. Afterwards everything is
    as before: parameters, buffers, gradients, the batch, generators, training mode, the optimizer, and the variables,
    lists and dicts that your functions refer to.

    Args:
        model: called as model(inputs): a module, or a function. A function's parameters are the Tensors that require
            grad and that it refers to.
        loss_fn: any function or module, called as loss_fn(predictions, targets); returns a scalar Tensor.
        batch: the pair (inputs, targets), as in training; better 8 rows or more.
        optimizer: if given, the parameters that it holds and the size of its steps are examined as well.
        train_step: if given, your own training step is examined: it is called several times as
            train_step(inputs, targets).
        evaluate: if given, your own evaluation, called as evaluate(inputs, targets): in which mode does it call the
            model?

    Returns:
        The `Diagnosis`.

    Raises:
        ArgumentTypeError: `model` or another function is not callable, or `optimizer` is not an Optimizer.
        ArgumentError: `batch` is not a pair.

    >>> import numpy as np
    >>> from tinygrad_np import functional, nn
    >>> generator = np.random.default_rng(0)
    >>> model = nn.Sequential(nn.Linear(4, 8, generator=generator), nn.Tanh(), nn.Linear(8, 3, generator=generator))
    >>> inputs = generator.standard_normal((16, 4)).astype(np.float32)
    >>> diagnosis = diagnose(model, functional.cross_entropy, (inputs, np.arange(16) % 3))
    diagnose: nothing found in 69 checks of Sequential (67 parameters, batch of 16, loss 1.23)
    """
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        raise ArgumentTypeError(f"optimizer must be an optim.Optimizer, but is {kind(optimizer)}")
    functions = {"model": model, "loss_fn": loss_fn, "train_step": train_step, "evaluate": evaluate}
    for name, function in functions.items():
        missing = function is None and name in ("model", "loss_fn")
        if missing or isinstance(function, type) or not (function is None or callable(function)):
            raise ArgumentTypeError(f"{name} must be a function, but is {kind(function)}")
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        length = f" of length {len(batch)}" if hasattr(batch, "__len__") else ""
        raise ArgumentError(f"batch must be the pair (inputs, targets), but is {kind(batch)}{length}")
    home = line()
    with isolated(), np.errstate(all="ignore"):
        setup = Setup(model, loss_fn, (batch[0], batch[1]), optimizer, train_step, evaluate, home)
        try:
            setup.first_pass()
            findings = examined(setup)
        finally:
            setup.untouched.restore()
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    diagnosis = Diagnosis(findings, f"{len(CHECKS)} checks of {description(setup)}")
    print(diagnosis)
    return diagnosis


def kind(value: object) -> str:
    """What a value is, for a message."""
    return f"the class {value.__name__}, to be called first" if isinstance(value, type) else f"a {type(value).__name__}"


def examined(setup: Setup) -> list[Finding]:
    """The findings, in the order of the table."""
    findings: list[Finding] = []

    def look(*groups: tuple[Check, ...]) -> None:
        for group in groups:
            for check in group:
                told = None if any(check.name == finding.check for finding in findings) else found_by(check, setup)
                if told is not None:
                    findings.append(Finding(check.name, check.severity, *told, check.source))
                    if group in ONLY_ONE:
                        break

    look(BATCH, RUNS, ALWAYS)
    if not findings:
        look(HAS_HISTORY, FINITE, COMPARISON)
        if setup.gradients and setup.finite:
            look(CONNECTIONS, STEP, CAUSES, TARGETS)
            for group in (NETWORK, SYMPTOMS):
                look(*[group] * (not findings))
    look(ASIDE)
    return findings


def found_by(check: Check, setup: Setup) -> Told:
    """What a check tells, given the attributes of the set-up that its parameters are named after."""
    parameters = inspect.signature(check.find).parameters.values()
    given = {p.name: getattr(setup, p.name) for p in parameters if p.default is p.empty}
    return None if any(value is None for value in given.values()) else check.find(**given)


def description(setup: Setup) -> str:
    """What was examined, in a few words: "MnistMLP (101,770 parameters, batch of 32, loss 2.3)"."""
    model, count = setup.model, sum(parameter.size for parameter in setup.parameters.values())
    parts = [f"{count:,} parameters", *(f"batch of {n}" for n in setup.x.shape[:1])]
    parts += [f"loss {value:.3g}" for value in [setup.loss_value] if value is not None]
    name = type(model).__name__ if isinstance(model, Module) else getattr(model, "__name__", "a function")
    return f"{name} ({', '.join(parts)})"
