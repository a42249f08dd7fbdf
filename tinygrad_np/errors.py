"""The exceptions of this project.

Every error raised on purpose derives from `TinygradNpError` and from the built-in exception that a user would expect,
so that both `except TinygradNpError` and `except ValueError` work. Messages say what was given, what was expected, and
what to do.
"""

import inspect
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, pairwise
from typing import Any

import numpy as np

from tinygrad_np.printing import printable

__all__ = [
    "FOREIGN",
    "AnomalyError",
    "ArgumentError",
    "ArgumentTypeError",
    "CheckpointError",
    "DTypeError",
    "DataError",
    "FileWriteError",
    "GradcheckError",
    "GraphError",
    "NoDerivativeError",
    "RenderError",
    "ShapeError",
    "TinygradNpError",
    "TraceError",
    "explained",
    "foreign_array",
    "freed",
    "no_derivative",
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


class GradcheckError(TinygradNpError, AssertionError):
    """A derivative differs from its central difference."""


class AnomalyError(TinygradNpError, RuntimeError):
    """`debug.detect_anomaly` has found where a computation went wrong."""


class RenderError(TinygradNpError, RuntimeError):
    """A picture cannot be drawn: a program is missing, or the format is unknown."""


# The user's line


PACKAGE = os.path.dirname(__file__) + os.sep


def users_line() -> tuple[str, int]:
    """The file and line from which the user called into this package."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    return (frame.f_code.co_filename, frame.f_lineno) if frame is not None else ("unknown", 0)


def warn(message: str) -> None:
    """Warn the user, at their line."""
    file, line = users_line()
    warnings.warn_explicit(message, UserWarning, file, line)


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


def explained(error: ValueError, function: Callable[..., Any], arrays: Iterable[Any]) -> ValueError:
    """An error of NumPy's with the shapes of the arrays, also of those in lists: NumPy does not always name them."""
    if type(error) is not ValueError:  # one that says more already, such as LinAlgError
        return error
    every = chain(*(value if isinstance(value, (list, tuple)) else [value] for value in arrays))
    shapes = ", ".join(str(array.shape) for array in every if isinstance(array, np.ndarray))
    name = getattr(function, "func", function).__name__  # of a partial, the function's
    shape_error = ShapeError(f"{name} of arrays of shapes {shapes}: {error}")
    shape_error.__cause__ = error
    return shape_error
