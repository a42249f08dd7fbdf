"""Why a value or a gradient is not finite, in words: a table of likely causes for each function.

A row says when it applies, what happened and what to do. Rows are tried in order, and the first that applies is
reported. If none applies, nothing is said rather than something wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_np.debug.statistics import floats
from tinygrad_np.derivatives.table import LEAF
from tinygrad_np.engine import Node

__all__ = ["OF_GRADIENTS", "OF_VALUES", "likely_cause"]


class Cause(NamedTuple):
    """A row of the table.

    Attributes:
        when: called as when(out, *args) with the result and the arguments of the call or, for a derivative, as
            when(gradient, out, *args); returns whether the cause applies or, for an element-wise function, where.
        why: what happened. May contain {dtype}, its {largest} number, and that number's logarithms {log} and {log2}.
        remedy: what to do. May contain the same.
        after: if given, the cause applies only if this function made an input, directly or a few calls earlier.
    """

    when: Callable[..., Any]
    why: str
    remedy: str
    after: str = ""


def likely_cause(
    table: dict[str, Sequence[Cause]], node: Node, bad: np.ndarray, values: Sequence[Any]
) -> tuple[str, str] | None:
    """Look up why a result or a gradient is not finite.

    Args:
        table: `OF_VALUES` or `OF_GRADIENTS`.
        node: the call; its arrays must not have been freed.
        bad: where the result, or the gradient for an input, is not finite; booleans of the same shape.
        values: what `Cause.when` takes before the arguments: [out] or, for a derivative, [gradient, out].

    Returns:
        The cause and the remedy, or None if no row applies.
    """
    made_by = functions_before(node)
    dtype = floats(values[-1])[0].dtype
    limits = np.finfo(dtype)
    for cause in (*table.get(node.rule.name, ()), *table["any"]):
        if cause.after and cause.after not in made_by:
            continue
        try:
            holds = np.asarray(cause.when(*values, *node.args))
        except (TypeError, ValueError, AttributeError):  # the row was not written for arguments of this form
            continue
        if holds.shape == bad.shape:
            holds = holds & bad
        if holds.any():
            words = {"dtype": dtype.name, "largest": f"{limits.max:.3g}"}
            words |= {"log": f"{np.log(float(limits.max)):.4g}", "log2": f"{limits.maxexp}"}
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


def infinite(*values: Any) -> bool:
    return any(np.isinf(array).any() for array in floats(values))


def finite(*values: Any) -> bool:
    return all(np.isfinite(array).all() for array in floats(values))


def large(*values: Any) -> bool:
    """Whether all values are finite, but some of them so large that a few multiplications overflow."""
    return finite(*values) and any(
        (np.abs(array) > float(np.finfo(array.dtype).max) ** 0.25).any() for array in floats(values)
    )


def tiny(x: Any) -> Any:
    return np.abs(x) < 1e-4


def rows(names: Sequence[str], causes: Sequence[Cause]) -> dict[str, Sequence[Cause]]:
    """Give several functions the same rows."""
    return dict.fromkeys(names, causes)


# Values

DIVERGED = (
    "numbers this large usually mean that training has diverged: lower the learning rate, clip the gradients with "
    "optim.clip_grad_norm_, or scale the inputs"
)
HALF = Cause(
    lambda out, *args: out.dtype == np.float16 and large(args),
    "the result is too large for {dtype}, whose largest number is {largest}",
    "compute in float32: x.astype(np.float32)",
)
HAND_WRITTEN = (
    "use functional.softmax, log_softmax or logsumexp, which subtract the maximum first, or functional.cross_entropy "
    "on the logits"
)
SAFE_FIRST = (
    "if np.where discards these elements afterwards, make the argument safe before the call as well, because their "
    "gradients would still be NaN: "
)


def logarithm(shift: int) -> list[Cause]:
    """The causes for log(x + shift)."""
    name = "log1p" if shift else "log"
    point = "-1" if shift else "0"
    return [
        Cause(
            lambda out, x: x == -shift,
            "the logarithm of 0; softmax rounds very small probabilities to 0",
            "use functional.log_softmax(x), or functional.cross_entropy(x, target), on the logits",
            after="softmax",
        ),
        Cause(
            lambda out, x: x == -shift,
            "the logarithm of 0; sigmoid rounds to 0 or 1 where its argument is large",
            "for log(sigmoid(x)) use -functional.softplus(-x), for log(1 - sigmoid(x)) use -functional.softplus(x)",
            after="sigmoid",
        ),
        Cause(
            lambda out, x: x == -shift,
            "the logarithm of 0; exp rounds to 0 where its argument is very negative",
            HAND_WRITTEN,
            after="exp",
        ),
        Cause(
            lambda out, x: x == -shift,
            f"{name} of {point}, the logarithm of zero",
            f"keep the argument above {point}, for example with np.maximum(x, {'-1 + ' if shift else ''}1e-6)",
        ),
        Cause(
            lambda out, x: x < -shift,
            f"{name} of less than {point}, the logarithm of a negative number",
            f"find out why the argument can be less than {point}; {SAFE_FIRST}np.{name}(np.where(x > {point}, x, 1))",
        ),
    ]


def exponential(limit: str, doubled: bool = False) -> list[Cause]:
    """The causes for a function that overflows above a limit and, if `doubled`, below the limit's negative."""
    arguments = f"less than -{limit} or more than {limit}" if doubled else f"more than {limit}"
    return [
        Cause(
            lambda out, x: np.isinf(out) & np.isfinite(x),
            f"overflow: for an argument of {arguments} the result is too large for {{dtype}}",
            "functional has softmax, log_softmax, logsumexp, sigmoid and softplus, which do not overflow: use them "
            "instead of formulas with exp; otherwise bound the argument, for example with np.minimum",
        )
    ]


def outside(condition: Callable[..., Any], domain: str) -> list[Cause]:
    """The causes for a function that is not defined everywhere."""
    return [
        Cause(
            lambda out, x: condition(x),
            f"the argument is outside of {domain}",
            "rounding may have taken it there: np.clip it to a little inside of the domain, because the derivative "
            "at the ends is infinite",
        )
    ]


DIVISION = [
    Cause(
        lambda out, x, y: y == 0,
        "division by a standard deviation of 0, that of elements which are all equal",
        "divide by np.maximum(std, 1e-6), or leave out the columns that are constant",
        after="std",
    ),
    Cause(
        lambda out, x, y: (y == 0) & (x == 0),
        "0 / 0; exp rounds to 0 where its argument is very negative, and so does the sum of such terms",
        HAND_WRITTEN,
        after="exp",
    ),
    Cause(
        lambda out, x, y: (y == 0) & (x == 0),
        "0 / 0",
        f"keep the divisor away from 0, for example x / (y + 1e-6) if y >= 0; {SAFE_FIRST}x / np.where(y == 0, 1, y)",
    ),
    Cause(
        lambda out, x, y: y == 0,
        "division by zero",
        f"keep the divisor away from 0, for example x / (y + 1e-6) if y >= 0; {SAFE_FIRST}x / np.where(y == 0, 1, y)",
    ),
    Cause(lambda out, x, y: np.isinf(x) & np.isinf(y), "inf / inf; exp has overflowed", HAND_WRITTEN, after="exp"),
    Cause(
        lambda out, x, y: tiny(y) & np.isfinite(x),
        "division by very small numbers: the quotient is too large for {dtype}",
        "keep the divisor away from 0, for example x / (y + 1e-6) if y >= 0",
    ),
]

MEAN = [
    Cause(
        lambda out, x, *args: np.size(x) == 0,
        "the mean of no elements, 0 / 0",
        "check why the selection or the batch that it is taken over is empty",
    )
]

VARIANCE = [
    Cause(
        lambda out, x, *args: finite(x) and np.isnan(out).all(),
        "the variance is taken over no more elements than ddof, the degrees of freedom subtracted: 0 / 0",
        "use ddof=0, or more elements",
    )
]

SOFTMAX = [
    Cause(
        lambda out, x, *args: np.isneginf(x).any() and not np.isposinf(x).any(),
        "all elements along the axis are -inf, so softmax divides by 0: a mask masks everything in a row",
        "leave at least one element in every row unmasked, or mask with a large finite number such as -1e9",
    )
]

SINGULAR = [
    Cause(
        lambda out, *args: True,
        "the matrix is singular, or nearly so: its determinant is 0",
        "add a small multiple of the identity: a + 1e-6 * np.eye(len(a))",
    )
]

OF_VALUES: dict[str, Sequence[Cause]] = {
    **rows(("log", "log2", "log10"), logarithm(0)),
    "log1p": logarithm(1),
    **rows(("exp", "expm1"), exponential("{log}")),
    "exp2": exponential("{log2}"),
    **rows(("sinh", "cosh"), exponential("{log}", doubled=True)),
    "i0": exponential("{log}", doubled=True),
    "sqrt": [
        Cause(
            lambda out, x: x < 0,
            "the square root of a negative number",
            "rounding may have made it negative: use np.sqrt(np.maximum(x, 1e-12)); "
            f"{SAFE_FIRST}np.sqrt(np.where(x > 0, x, 1))",
        )
    ],
    "divide": DIVISION,
    "multiply": [
        Cause(
            lambda out, x, y: ((x == 0) & np.isneginf(y)) | (np.isneginf(x) & (y == 0)),
            "0 * -inf, as in p * log(p) where p is 0",
            "make the logarithm's argument safe: p * np.log(np.where(p > 0, p, 1)) is 0 there, as is the limit",
        )
    ],
    "reciprocal": [
        Cause(
            lambda out, x: x == 0,
            "division by zero",
            f"keep the argument away from 0; {SAFE_FIRST}np.reciprocal(np.where(x == 0, 1, x))",
        )
    ],
    **rows(
        ("remainder", "fmod"),
        [Cause(lambda out, x, y: y == 0, "the remainder of a division by zero", "keep the divisor away from 0")],
    ),
    **rows(
        ("power", "float_power"),
        [
            Cause(
                lambda out, x, y: (x == 0) & (y < 0),
                "zero to a negative power, which is a division by zero",
                f"keep the base away from 0; {SAFE_FIRST}np.where(x == 0, 1, x) ** y",
            ),
            Cause(
                lambda out, x, y: (x < 0) & (y != np.rint(y)),
                "a negative number to a power that is not a whole number",
                f"keep the base above 0, or take np.abs of it; {SAFE_FIRST}np.where(x > 0, x, 1) ** y",
            ),
            HALF,
            Cause(
                lambda out, x, y: np.isinf(out) & np.isfinite(x),
                "overflow: the power is too large for {dtype}, whose largest number is {largest}",
                DIVERGED,
            ),
        ],
    ),
    **rows(("arcsin", "arccos"), outside(lambda x: np.abs(x) > 1, "[-1, 1]")),
    "arctanh": outside(lambda x: np.abs(x) >= 1, "(-1, 1)"),
    "arccosh": outside(lambda x: x < 1, "[1, inf)"),
    "mean": MEAN,
    **rows(("var", "std"), [*MEAN, *VARIANCE]),
    **rows(("softmax", "log_softmax"), SOFTMAX),
    "cross_entropy": [
        Cause(
            lambda out, logits, *args: not finite(logits),
            "the logits contain inf",
            "mask with a large finite number such as -1e9 instead of -inf, or look for the overflow that made the inf",
        )
    ],
    **rows(("slogdet", "inv", "solve"), SINGULAR),
    "astype": [
        HALF,
        Cause(lambda out, *args: finite(args), "the numbers are too large for the new dtype", "choose a wider one"),
    ],
    "any": [
        HALF,
        Cause(
            lambda out, *args: large(args),
            "overflow: the result is too large for {dtype}, whose largest number is {largest}",
            DIVERGED,
        ),
        Cause(
            lambda out, *args: infinite(args) and any(np.isnan(array).any() for array in floats(out)),
            "an input contains inf, and inf - inf, 0 * inf and inf / inf are NaN",
            "keep inf out of it: mask with a large finite number such as -1e9, or select with np.where",
        ),
    ],
}


# Gradients


def infinite_at(point: str, condition: Callable[..., Any], safe: str, remedy: str) -> list[Cause]:
    """The causes for a function whose slope is infinite somewhere: inf, or NaN where the incoming gradient is 0."""
    return [
        Cause(
            lambda g, out, *args: condition(out, *args) & (g == 0),
            f"the derivative at {point} is infinite, and the gradient that arrives there is 0, as it is in the branch "
            "that np.where did not take: 0 * inf is NaN",
            f"make the argument safe before the call, not after it: {safe}",
        ),
        Cause(lambda g, out, *args: condition(out, *args), f"the derivative at {point} is infinite", remedy),
    ]


EQUAL = "add small, different numbers to the diagonal, or use only the values and not the vectors"


def repeated(values: Any) -> bool:
    """Whether two values along the last axis are equal."""
    return bool(np.any(np.diff(np.sort(values, axis=-1), axis=-1) == 0))


OF_GRADIENTS: dict[str, Sequence[Cause]] = {
    "sqrt": infinite_at(
        "0",
        lambda out, x: x == 0,
        "np.sqrt(np.where(x > 0, x, 1))",
        "add a small number, np.sqrt(x + 1e-12); for lengths use np.linalg.norm, whose gradient at 0 is 0",
    ),
    "cbrt": infinite_at("0", lambda out, x: x == 0, "np.cbrt(np.where(x == 0, 1, x))", "keep the argument away from 0"),
    **rows(
        ("power", "float_power"),
        [
            *infinite_at(
                "0 of a power less than 1",
                lambda out, x, y: (x == 0) & (y < 1),
                "np.where(x > 0, x, 1) ** y",
                "add a small number to the base, (x + 1e-12) ** y",
            ),
            Cause(
                lambda g, out, x, y: x < 0,
                "the derivative with respect to the exponent contains the logarithm of the base, which is negative",
                "make the exponent a constant, with .detach(), or the base positive",
            ),
        ],
    ),
    **rows(
        ("arcsin", "arccos"),
        infinite_at(
            "-1 and 1",
            lambda out, x: np.abs(x) == 1,
            "np.where(np.abs(x) < 1, x, 0)",
            "np.clip the argument to a little inside of [-1, 1], such as -1 + 1e-6 to 1 - 1e-6",
        ),
    ),
    "arccosh": infinite_at(
        "1", lambda out, x: x == 1, "np.arccosh(np.where(x > 1, x, 2))", "keep the argument above 1"
    ),
    "arctan2": [
        Cause(
            lambda g, out, y, x: (x == 0) & (y == 0),
            "the angle of the origin has no derivative: 0 / 0",
            "keep the points away from (0, 0): np.arctan2(y, np.where((x == 0) & (y == 0), 1, x))",
        )
    ],
    **rows(
        ("log", "log2", "log10"),
        infinite_at(
            "0", lambda out, x: x == 0, "np.log(np.where(x > 0, x, 1))", "keep the argument above 0, np.log(x + 1e-6)"
        ),
    ),
    "divide": [
        *infinite_at(
            "a divisor of 0",
            lambda out, x, y: y == 0,
            "x / np.where(y == 0, 1, y)",
            "keep the divisor away from 0, for example x / (y + 1e-6) if y >= 0",
        ),
        Cause(
            lambda g, out, x, y: tiny(y) & np.isfinite(x),
            "division by very small numbers: the gradient is divided by their squares, too large for {dtype}",
            "keep the divisor away from 0, for example x / (y + 1e-6) if y >= 0",
        ),
    ],
    **rows(
        ("eigh", "eig"),
        [
            Cause(
                lambda g, out, *args: repeated(out[0]),
                "two eigenvalues are equal, so the eigenvectors have no derivative",
                EQUAL,
            )
        ],
    ),
    "svd": [
        Cause(
            lambda g, out, *args: repeated(out[1]),
            "two singular values are equal, so the singular vectors have no derivative",
            EQUAL,
        ),
        Cause(
            lambda g, out, *args: bool(np.any(out[1] == 0)),
            "a singular value is 0, so the singular vectors have no derivative",
            EQUAL,
        ),
    ],
    "any": [
        Cause(
            lambda g, out, *args: not finite(out, args) and any((part == 0).any() for part in floats(g)),
            "an input or the output is not finite where the gradient that arrives is 0, and 0 * inf and 0 * NaN are "
            "NaN: np.where chooses among values, but what it did not choose still has a derivative",
            "make the input safe before the call, not after it: np.where(np.isfinite(x), x, 0)",
        ),
        Cause(
            lambda g, out, *args: large(g, out, args) and any(part.dtype == np.float16 for part in floats(g)),
            "overflow: the gradient is too large for float16, whose largest number is 6.55e+04",
            "compute in float32, or make the loss smaller and the learning rate larger",
        ),
        Cause(
            lambda g, out, *args: large(g, out, args),
            "overflow: the gradient is too large for {dtype}, whose largest number is {largest}",
            "gradients this large usually mean that they explode from layer to layer: look at the initialisation and "
            "the scale of the inputs, add normalisation, or lower the learning rate",
        ),
    ],
}
