"""The exceptions of this project.

Every error raised on purpose derives from `TinygradNpError` and from the built-in exception that a user would expect,
so that both `except TinygradNpError` and `except ValueError` work. Messages say what was given, what was expected, and
what to do.
"""

import functools
import inspect
import os
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, pairwise
from types import FrameType, TracebackType
from typing import Any

import numpy as np

from tinygrad_np.printing import printable

__all__ = [
    "FOREIGN",
    "NOT_THE_USERS",
    "PACKAGE",
    "AnomalyError",
    "ArgumentError",
    "ArgumentTypeError",
    "CheckpointError",
    "DTypeError",
    "DataError",
    "DistributedError",
    "FileWriteError",
    "GradcheckError",
    "GraphError",
    "LinAlgError",
    "MissingNameError",
    "MissingPackageError",
    "NoDerivativeError",
    "RenderError",
    "ShapeError",
    "TinygradNpError",
    "TraceError",
    "explained",
    "foreign_array",
    "freed",
    "no_derivative",
    "unexpected_keyword",
    "users_frame",
    "users_frames",
    "users_line",
    "warn",
]


class TinygradNpError(Exception):
    """Base class of every error that tinygrad_np raises on purpose. Names in its message are shown, and do nothing."""

    def __str__(self) -> str:
        return printable(super().__str__())


class ArgumentError(TinygradNpError, ValueError):
    """An argument has a value that makes no sense, such as a negative learning rate."""


class ArgumentTypeError(TinygradNpError, TypeError):
    """An argument is of the wrong type, such as a function where a module should be."""


class ShapeError(TinygradNpError, ValueError):
    """The shapes of arrays do not fit each other, or do not fit the operation.

    Attributes:
        modules: the `nn.Module`s in whose calls the error arose, the outermost first. The message names them.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.modules: list[Any] = []

    def __str__(self) -> str:
        message = super().__str__()
        if not self.modules:
            return message
        names = [_name(outer, inner) for outer, inner in pairwise(self.modules)]
        return printable(f"{'.'.join(names)} {self.modules[-1]!r}: {message}".lstrip())


def _name(outer: Any, inner: Any) -> str:
    """The dotted name of one module within another, or "?" if it is not found."""
    try:
        return next((name for name, module in outer.named_modules() if module is inner and name), "?")
    except ArgumentTypeError:  # a module that hides others; this error is about something else
        return "?"


class LinAlgError(TinygradNpError, np.linalg.LinAlgError):
    """A matrix is not of the kind that a function needs, such as a singular one that is to be inverted."""


class MissingNameError(TinygradNpError, AttributeError):
    """A name of PyTorch's that is written otherwise here."""


class MissingPackageError(TinygradNpError, ModuleNotFoundError):
    """A package that only some functions need is not installed."""


class DTypeError(TinygradNpError, TypeError):
    """An array has a dtype that the operation cannot take, such as integers that should require a gradient."""


class GraphError(TinygradNpError, RuntimeError):
    """The graph cannot give what was asked for: it was freed, or it does not lead to the Tensors in question."""


class NoDerivativeError(TinygradNpError, TypeError):
    """A Tensor that requires grad was passed to a function, or as an argument, that has no derivative rule."""


class TraceError(TinygradNpError, TypeError):
    """A function that `compile` traces does what a program cannot repeat, such as asking for a value."""


class DataError(TinygradNpError, ValueError):
    """A dataset, or one of its files, cannot be read as what it should be."""


class CheckpointError(TinygradNpError, ValueError):
    """A checkpoint cannot be written, read, or loaded into this model."""


class FileWriteError(TinygradNpError, OSError):
    """A file cannot be written; what was in its place before is unchanged."""


class DistributedError(TinygradNpError, RuntimeError):
    """The processes of a distributed training do not fit together, or have drifted apart."""


class GradcheckError(TinygradNpError, AssertionError):
    """A derivative differs from its central difference."""


class AnomalyError(TinygradNpError, RuntimeError):
    """`debug.detect_anomaly` has found where a computation went wrong."""


class RenderError(TinygradNpError, RuntimeError):
    """A picture cannot be drawn: a program is missing, or the format is unknown."""


# The user's line


PACKAGE = os.path.dirname(__file__) + os.sep
NOT_THE_USERS = (PACKAGE, os.path.dirname(np.__file__) + os.sep, functools.__file__)


def users_frame() -> FrameType | None:
    """The frame from which the user called into this package, perhaps through NumPy."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_filename.startswith(NOT_THE_USERS):
        frame = frame.f_back
    return frame


def users_line() -> tuple[str, int]:
    """The file and line of that frame."""
    frame = users_frame()
    return (frame.f_code.co_filename, frame.f_lineno) if frame is not None else ("unknown", 0)


def users_frames(traceback: TracebackType | None) -> TracebackType | None:
    """A traceback without the frames of this package: what is left are lines of the user's, or of other libraries."""
    kept = []
    while traceback is not None:
        if not traceback.tb_frame.f_code.co_filename.startswith(PACKAGE):
            kept.append(traceback)
        traceback = traceback.tb_next
    short: TracebackType | None = None
    for entry in reversed(kept):
        short = TracebackType(short, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return short


def warn(message: str) -> None:
    """Warn the user, at their line."""
    file, line = users_line()
    warnings.warn_explicit(message, UserWarning, file, line)


class HeardHere:
    """A pattern in Python's filter of warnings. It stands for what NumPy warns of in a line of this package, such as a
    division by zero, and has that said at the user's line instead."""

    def match(self, text: str) -> bool:
        current, user = inspect.currentframe(), users_frame()
        frame = current and current.f_back  # in which the warning came up
        if frame is None or user is None or " encountered in " not in text:
            return False
        if not frame.f_code.co_filename.startswith(PACKAGE) or frame.f_code is HeardHere.match.__code__:
            return False
        variables = user.f_globals
        registry = variables.setdefault("__warningregistry__", {})
        file, line, module = user.f_code.co_filename, user.f_lineno, variables.get("__name__")
        warnings.warn_explicit(text, RuntimeWarning, file, line, module, registry)
        return True


warnings.filters.insert(0, ("ignore", HeardHere(), RuntimeWarning, None, 0))  # type: ignore[attr-defined]


# What the engine says


def no_derivative(function: Callable[..., Any], rule: Any, parents: Sequence[Any]) -> NoDerivativeError:
    """The error for a function without a rule, or for the first argument that its rule has no derivative for."""
    if rule is None:
        return NoDerivativeError(
            f"{function.__name__} has no rule in the derivative table, so it cannot be applied to a Tensor that "
            f"requires grad; add one with tinygrad_np.derivative({function.__name__}, vjp), or .detach() the input"
        )
    position = next(i for i, node in enumerate(parents) if node is not None and i >= len(rule.vjps))
    return NoDerivativeError(f"{rule.name} has no derivative with respect to its argument number {position + 1}")


FOREIGN = (np.matrix, np.ma.MaskedArray)
"""Subclasses of ndarray that compute something else: products of matrices, or with masks."""


def foreign_array(array: Any, rule: Any = None) -> DTypeError:
    """The error for an array that is not a plain one of numbers: a subclass of ndarray, or of another dtype."""
    what = f"dtype {array.dtype}" if type(array) is np.ndarray else f"a {type(array).__module__}.{type(array).__name__}"
    where = f"{rule.name} of a Tensor has come to " if rule is not None else "this is "
    remedy = "convert it to numbers, for example with .astype(float)"
    if isinstance(array, np.ma.MaskedArray):
        remedy = "fill it in, with .filled(0), and use numpy.where or where= with its mask"
    elif type(array) is not np.ndarray:
        remedy = "convert it with numpy.asarray(), and use @ for products of matrices"
    return DTypeError(
        f"{where}{what}, which Tensors do not hold: its meaning, or a derivative, would be lost; {remedy}"
    )


def freed(rule: Any) -> GraphError:
    """The error for a second backward pass through a call."""
    return GraphError(
        f"the graph was freed by an earlier backward pass (at {rule.name}); "
        "pass retain_graph=True to the first one, or compute the result again"
    )


KEYWORDS = {"dim": "axis", "keepdim": "keepdims"}
"""PyTorch's names of arguments, and NumPy's."""


def unexpected_keyword(function: str, keyword: str) -> ArgumentTypeError:
    """The error for an argument that a function does not have."""
    hint = f"; NumPy's name for it is {KEYWORDS[keyword]}=" if keyword in KEYWORDS else ""
    return ArgumentTypeError(f"{function}() got an unexpected keyword argument {keyword!r}{hint}")


def explained(
    error: ValueError | TypeError, function: Callable[..., Any], arrays: Iterable[Any], kwargs: Mapping[str, Any]
) -> Exception:
    """An error of NumPy's in words that say what was given and what to do, or the same error if it does already."""
    name = getattr(getattr(function, "func", function), "__name__", repr(function))  # of a partial, the function's
    every = chain(*(value if isinstance(value, (list, tuple)) else [value] for value in arrays))
    shapes = [array.shape for array in every if isinstance(array, np.ndarray)]
    given = f"{name} of {'an array of shape' if len(shapes) == 1 else 'arrays of shapes'} {', '.join(map(str, shapes))}"
    better: Exception = error
    if isinstance(error, TypeError):
        if "unexpected keyword" in str(error) and (known := KEYWORDS.keys() & kwargs):
            better = unexpected_keyword(name, min(known))
    elif type(error) is ValueError:
        better = ShapeError(f"{given}: {_plainly(str(error), name)}")
    elif type(error) is np.linalg.LinAlgError:
        remedy = next((remedy for words, remedy in LINALG_REMEDIES.items() if words in str(error)), "check its values")
        better = LinAlgError(f"{given}: {error}; {remedy}")
    if better is not error:
        better.__suppress_context__ = True  # it says all that NumPy's does
    return better


LINALG_REMEDIES = {
    "Singular": "its rows depend on each other; add a little to its diagonal, such as 1e-6 * np.eye(n), or use "
    "np.linalg.pinv, or np.linalg.lstsq to solve as well as can be",
    "positive definite": "it must equal its own transpose and have eigenvalues above 0; add a little to its diagonal, "
    "such as 1e-6 * np.eye(n)",
    "square": "for others there are np.linalg.pinv, np.linalg.lstsq and np.linalg.svd",
    "converge": "look for nan and infinity in it",
}
"""By words of NumPy's messages."""


def _plainly(message: str, name: str) -> str:
    """NumPy's words about shapes that do not fit, without the signatures of generalised ufuncs."""
    if unequal := re.search(r"gufunc.*\(size (\d+) is different from (\d+)\)", message):
        second, first = unequal.groups()
        if name == "matmul":
            return (
                f"each row of the first has {first} elements, but each column of the second has {second}; transpose "
                "one of them, x @ y.T, if it is meant the other way round"
            )
        return f"two axes that must have the same length have {first} and {second}"
    if "remapped" in message:
        return "the axes before those that are multiplied do not fit; their lengths must be equal, or 1"
    if few := re.search(r"operand (\d+) does not have enough dim.*has (\d+), gufunc.* requires (\d+)", message):
        number, has, needs = map(int, few.groups())
        times = "; to multiply by a number write *" if has == 0 else ""
        return f"argument number {number + 1} has {has} axes, but needs {needs} or more{times}"
    return message.strip()
