"""Why a value or a gradient is not finite, in words: a table of likely causes for each function.

A row says when it applies, what happened and what to do. Rows are tried in order, and the first that applies is
reported. If none applies, nothing is said rather than something wrong.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tinygrad_np.debug.statistics import floats, has_nan, is_finite
from tinygrad_np.derivatives.table import LEAF
from tinygrad_np.engine import Node

__all__ = ["OF_GRADIENTS", "OF_VALUES", "likely_cause"]


class Cause(NamedTuple):
    """A row of the table.

    Attributes:
        when: whether the cause applies or, for an element-wise function, where. Its parameters name what it takes:
            the arguments of the call, `args`, the first two, `x` and `y`, its result, `out`, and for a derivative the
            gradient of that, `g`.
        why: what happened. May contain {dtype}, its {largest} number, and that number's logarithms {log} and {log2}.
        remedy: what to do. May contain the same.
        after: if given, the cause applies only if this function made an input, directly or a few calls earlier.
    """

    when: Callable[..., Any]
    why: str
    remedy: str
    after: str = ""


Rows = dict[str, tuple[Cause, ...]]


def likely_cause(table: Rows, node: Node, bad: np.ndarray, out: Any, g: Any = None) -> tuple[str, str] | None:
    """Look up why a result or a gradient is not finite.

    Args:
        table: `OF_VALUES` or `OF_GRADIENTS`.
        node: the call; its arrays must not have been freed.
        bad: where the result, or the gradient for an input, is not finite; booleans of the same shape.
        out: the result.
        g: for a derivative, the gradient of the result.

    Returns:
        The cause and the remedy, or None if no row applies.
    """
    made_by = functions_before(node)
    args = node.args or ()
    given = {"out": out, "g": g, "args": args, **dict(zip("xy", args, strict=False))}
    dtype = floats(out)[0].dtype
    limits = np.finfo(dtype)
    words = {"dtype": dtype.name, "largest": f"{limits.max:.3g}", "log2": f"{limits.maxexp}"}
    words["log"] = f"{np.log(float(limits.max)):.4g}"
    for cause in (*table.get(node.rule.name, ()), *table["any"]):
        if cause.after and cause.after not in made_by:
            continue
        try:
            holds = np.asarray(cause.when(*(given[name] for name in inspect.signature(cause.when).parameters)))
        except (TypeError, ValueError, AttributeError, KeyError):  # the row is not for arguments of this form
            continue
        if (holds & bad if holds.shape == bad.shape else holds).any():
            return cause.why.format(**words), cause.remedy.format(**words)
    return None


def functions_before(node: Node, depth: int = 4) -> set[str]:
    """The names of the functions whose results led to a call's inputs, up to `depth` calls back."""
    names: set[str] = set()
    nodes = {node}
    for _ in range(depth):
        nodes = {parent for node in nodes for parent in node.parents if parent is not None and parent.rule is not LEAF}
        names |= {node.rule.name for node in nodes}
    return names


def large(*values: Any) -> bool:
    """Whether all values are finite, but some of them so large that a few multiplications overflow."""
    limits = [(np.abs(array), float(np.finfo(array.dtype).max) ** 0.25) for array in floats(values)]
    return is_finite(values) and any((array > limit).any() for array, limit in limits)


def tiny(x: Any) -> Any:
    return np.abs(x) < 1e-4


def rows(names: str, *causes: Cause) -> Rows:
    """Give several functions the same rows."""
    return dict.fromkeys(names.split(), causes)


# Values

TOO_LARGE = "too large for {dtype}, whose largest number is {largest}"
DIVERGED = (
    "numbers this large usually mean that training has diverged: lower the learning rate, clip the gradients with "
    "optim.clip_grad_norm_, or scale the inputs"
)
HALF = Cause(
    lambda out, args: out.dtype == np.float16 and large(args),
    f"the result is {TOO_LARGE}",
    "compute in float32: x.astype(np.float32)",
)
BY_HAND = (
    "use functional.softmax, log_softmax or logsumexp, which subtract the maximum first, or functional.cross_entropy "
    "on the logits"
)
ROUNDS = "rounds to 0 where its argument is very negative"
SAFE = "if np.where discards these elements, make the argument safe before the call too, for their gradients are NaN: "
DIVISOR = "keep the divisor away from 0, for example x / (y + 1e-6) if y >= 0"
DIVISOR_SAFE = f"{DIVISOR}; {SAFE}x / np.where(y == 0, 1, y)"
MASK = "mask with a large finite number such as -1e9"
EPS_I = "add a small multiple of the identity: a + 1e-6 * np.eye(len(a))"


def logarithm(name: str, shift: int) -> Rows:
    """The causes for log(x + shift)."""
    point, small = ("-1", "-1 + 1e-6") if shift else ("0", "1e-6")
    logits = "use functional.log_softmax(x), or functional.cross_entropy(x, target), on the logits"
    sigmoid = "for log(sigmoid(x)) use -functional.softplus(-x), for log(1 - sigmoid(x)) use -functional.softplus(x)"
    above = f"keep the argument above {point}, for example with np.maximum(x, {small})"
    find = f"find out why the argument can be less than {point}; {SAFE}np.{name}(np.where(x > {point}, x, 1))"
    zero = "the logarithm of 0; "

    def at(x: Any) -> Any:
        return x == -shift

    return rows(
        name,
        Cause(at, f"{zero}softmax rounds very small probabilities to 0", logits, after="softmax"),
        Cause(at, f"{zero}sigmoid rounds to 0 or 1 where its argument is large", sigmoid, after="sigmoid"),
        Cause(at, f"{zero}exp {ROUNDS}", BY_HAND, after="exp"),
        Cause(at, f"{name} of {point}, the logarithm of zero", above),
        Cause(lambda x: x < -shift, f"{name} of less than {point}, the logarithm of a negative number", find),
    )


def exponential(names: str, arguments: str) -> Rows:
    """The causes for functions that overflow for some arguments."""
    why = f"overflow: for an argument of {arguments} the result is too large for {{dtype}}"
    remedy = (
        "functional has softmax, log_softmax, logsumexp, sigmoid and softplus, which do not overflow: use them instead "
        "of formulas with exp; otherwise bound the argument, for example with np.minimum"
    )
    return rows(names, Cause(lambda out, x: np.isinf(out) & np.isfinite(x), why, remedy))


def outside(names: str, condition: Callable[..., Any], domain: str) -> Rows:
    """The causes for functions that are not defined everywhere."""
    remedy = (
        "rounding may have taken it there: np.clip it to a little inside, because the slope at the ends is infinite"
    )
    return rows(names, Cause(condition, f"the argument is outside of {domain}", remedy))


EMPTY = Cause(
    lambda x: np.size(x) == 0,
    "the mean of no elements, 0 / 0",
    "check why the selection or the batch that it is taken over is empty",
)

OF_VALUES: Rows = {
    **logarithm("log", 0),
    **logarithm("log2", 0),
    **logarithm("log10", 0),
    **logarithm("log1p", 1),
    **exponential("exp expm1", "more than {log}"),
    **exponential("exp2", "more than {log2}"),
    **exponential("sinh cosh i0", "less than -{log} or more than {log}"),
    **rows(
        "sqrt",
        Cause(
            lambda x: x < 0,
            "the square root of a negative number",
            f"rounding may have made it negative: np.sqrt(np.maximum(x, 1e-12)); {SAFE}np.sqrt(np.where(x > 0, x, 1))",
        ),
    ),
    **rows(
        "divide",
        Cause(
            lambda y: y == 0,
            "division by a standard deviation of 0, that of elements which are all equal",
            "divide by np.maximum(std, 1e-6), or leave out the columns that are constant",
            after="std",
        ),
        Cause(
            lambda x, y: (y == 0) & (x == 0),
            f"0 / 0; exp {ROUNDS}, and so does the sum of such terms",
            BY_HAND,
            after="exp",
        ),
        Cause(lambda x, y: (y == 0) & (x == 0), "0 / 0", DIVISOR_SAFE),
        Cause(lambda y: y == 0, "division by zero", DIVISOR_SAFE),
        Cause(lambda x, y: np.isinf(x) & np.isinf(y), "inf / inf; exp has overflowed", BY_HAND, after="exp"),
        Cause(
            lambda x, y: tiny(y) & np.isfinite(x),
            "division by very small numbers: the quotient is too large for {dtype}",
            DIVISOR,
        ),
    ),
    **rows(
        "multiply",
        Cause(
            lambda x, y: ((x == 0) & np.isneginf(y)) | (np.isneginf(x) & (y == 0)),
            "0 * -inf, as in p * log(p) where p is 0",
            "make the logarithm's argument safe: p * np.log(np.where(p > 0, p, 1)) is 0 there, as is the limit",
        ),
    ),
    **rows("reciprocal", Cause(lambda x: x == 0, "division by zero", f"{SAFE}np.reciprocal(np.where(x == 0, 1, x))")),
    **rows("remainder fmod", Cause(lambda y: y == 0, "the remainder of a division by zero", DIVISOR)),
    **rows(
        "power float_power",
        Cause(
            lambda x, y: (x == 0) & (y < 0),
            "zero to a negative power, which is a division by zero",
            f"keep the base away from 0; {SAFE}np.where(x == 0, 1, x) ** y",
        ),
        Cause(
            lambda x, y: (x < 0) & (y != np.rint(y)),
            "a negative number to a power that is not a whole number",
            f"keep the base above 0, or take np.abs of it; {SAFE}np.where(x > 0, x, 1) ** y",
        ),
        HALF,
        Cause(lambda out, x: np.isinf(out) & np.isfinite(x), f"overflow: the power is {TOO_LARGE}", DIVERGED),
    ),
    **outside("arcsin arccos", lambda x: np.abs(x) > 1, "[-1, 1]"),
    **outside("arctanh", lambda x: np.abs(x) >= 1, "(-1, 1)"),
    **outside("arccosh", lambda x: x < 1, "[1, inf)"),
    **rows("mean", EMPTY),
    **rows(
        "var std",
        EMPTY,
        Cause(
            lambda out, x: is_finite(x) and np.isnan(out).all(),
            "the variance is taken over no more elements than ddof, the degrees of freedom subtracted: 0 / 0",
            "use ddof=0, or more elements",
        ),
    ),
    **rows(
        "softmax log_softmax",
        Cause(
            lambda x: np.isneginf(x).any() and not np.isposinf(x).any(),
            "all elements along the axis are -inf, so softmax divides by 0: a mask masks everything in a row",
            f"leave at least one element in every row unmasked, or {MASK}",
        ),
    ),
    **rows(
        "cross_entropy",
        Cause(
            lambda x: not is_finite(x),
            "the logits contain inf",
            f"{MASK} instead of -inf, or look for the overflow that made the inf",
        ),
    ),
    **rows(
        "slogdet inv solve",
        Cause(lambda: True, "the matrix is singular, or nearly so: its determinant is 0", EPS_I),
    ),
    **rows(
        "astype",
        HALF,
        Cause(lambda args: is_finite(args), "the numbers are too large for the new dtype", "choose a wider one"),
    ),
    **rows(
        "any",
        HALF,
        Cause(lambda args: large(args), f"overflow: the result is {TOO_LARGE}", DIVERGED),
        Cause(
            lambda out, args: any(np.isinf(array).any() for array in floats(args)) and has_nan(out),
            "an input contains inf, and inf - inf, 0 * inf and inf / inf are NaN",
            f"keep inf out of it: {MASK}, or select with np.where",
        ),
    ),
}


# Gradients


def infinite_at(names: str, point: str, condition: Callable[..., Any], safe: str, remedy: str, *others: Cause) -> Rows:
    """The causes for functions whose slope is infinite somewhere: inf, or NaN where the incoming gradient is 0."""
    slope = f"the derivative at {point} is infinite"
    masked = f"{slope}, and the gradient that arrives there is 0, as it is in the branch that np.where did not take: "
    return rows(
        names,
        Cause(
            lambda g, args: condition(*args) & (g == 0),
            f"{masked}0 * inf is NaN",
            f"make the argument safe before the call, not after it: {safe}",
        ),
        Cause(lambda args: condition(*args), slope, remedy),
        *others,
    )


def repeated(values: Any) -> bool:
    """Whether two values along the last axis are equal."""
    return bool(np.any(np.diff(np.sort(values, axis=-1), axis=-1) == 0))


EQUAL = "add small, different numbers to the diagonal, or use only the values and not the vectors"

OF_GRADIENTS: Rows = {
    **infinite_at(
        "sqrt",
        "0",
        lambda x: x == 0,
        "np.sqrt(np.where(x > 0, x, 1))",
        "add a small number, np.sqrt(x + 1e-12); for lengths use np.linalg.norm, whose gradient at 0 is 0",
    ),
    **infinite_at("cbrt", "0", lambda x: x == 0, "np.cbrt(np.where(x == 0, 1, x))", "keep the argument away from 0"),
    **infinite_at(
        "power float_power",
        "0 of a power less than 1",
        lambda x, y: (x == 0) & (y < 1),
        "np.where(x > 0, x, 1) ** y",
        "add a small number to the base, (x + 1e-12) ** y",
        Cause(
            lambda x: x < 0,
            "the derivative with respect to the exponent contains the logarithm of the base, which is negative",
            "make the exponent a constant, with .detach(), or the base positive",
        ),
    ),
    **infinite_at(
        "arcsin arccos",
        "-1 and 1",
        lambda x: np.abs(x) == 1,
        "np.where(np.abs(x) < 1, x, 0)",
        "np.clip the argument to a little inside of [-1, 1], such as -1 + 1e-6 to 1 - 1e-6",
    ),
    **infinite_at("arccosh", "1", lambda x: x == 1, "np.arccosh(np.where(x > 1, x, 2))", "keep the argument above 1"),
    **infinite_at(
        "log log2 log10",
        "0",
        lambda x: x == 0,
        "np.log(np.where(x > 0, x, 1))",
        "keep the argument above 0, np.log(x + 1e-6)",
    ),
    **infinite_at(
        "divide",
        "a divisor of 0",
        lambda x, y: y == 0,
        "x / np.where(y == 0, 1, y)",
        DIVISOR,
        Cause(
            lambda x, y: tiny(y) & np.isfinite(x),
            "division by very small numbers: the gradient is divided by their squares, too large for {dtype}",
            DIVISOR,
        ),
    ),
    **rows(
        "arctan2",
        Cause(
            lambda x, y: (x == 0) & (y == 0),
            "the angle of the origin has no derivative: 0 / 0",
            "keep the points away from (0, 0): np.arctan2(y, np.where((x == 0) & (y == 0), 1, x))",
        ),
    ),
    **rows(
        "eigh eig",
        Cause(lambda out: repeated(out[0]), "two eigenvalues are equal, so the eigenvectors have no derivative", EQUAL),
    ),
    **rows(
        "svd",
        Cause(
            lambda out: repeated(out[1]) or bool(np.any(out[1] == 0)),
            "two singular values are equal, or one is 0, so the singular vectors have no derivative",
            EQUAL,
        ),
    ),
    **rows(
        "any",
        Cause(
            lambda g, out, args: not is_finite([out, args]) and any((part == 0).any() for part in floats(g)),
            "an input or the output is not finite where the gradient that arrives is 0, and 0 * inf and 0 * NaN are "
            "NaN: np.where chooses among values, but what it did not choose still has a derivative",
            "make the input safe before the call, not after it: np.where(np.isfinite(x), x, 0)",
        ),
        Cause(
            lambda g, out, args: large(g, out, args) and any(part.dtype == np.float16 for part in floats(g)),
            "overflow: the gradient is too large for float16, whose largest number is 6.55e+04",
            "compute in float32, or make the loss smaller and the learning rate larger",
        ),
        Cause(
            lambda g, out, args: large(g, out, args),
            f"overflow: the gradient is {TOO_LARGE}",
            "gradients this large usually mean that they explode from layer to layer: look at the initialisation and "
            "the scale of the inputs, add normalisation, or lower the learning rate",
        ),
    ),
}
