"""The exceptions of this project.

Every error raised on purpose derives from `TinygradNpError` and from the built-in exception that a user would expect,
so that both `except TinygradNpError` and `except ValueError` work. Messages say what was given, what was expected, and
what to do.
"""

from itertools import pairwise
from typing import Any

__all__ = [
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
]


class TinygradNpError(Exception):
    """Base class of every error that tinygrad_np raises on purpose."""


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
        names = [
            next((name for name, value in vars(outer).items() if value is inner), "?")
            for outer, inner in pairwise(self.modules)
        ]
        return f"{'.'.join(names)} {self.modules[-1]!r}: {message}".lstrip()


class DTypeError(TinygradNpError, TypeError):
    """An array has a dtype that the operation cannot take, such as integers that should require a gradient."""


class GraphError(TinygradNpError, RuntimeError):
    """The graph cannot give what was asked for: it was freed, or it does not lead to the Tensors in question."""


class NoDerivativeError(TinygradNpError, TypeError):
    """A Tensor that requires grad was passed to a function, or as an argument, that has no derivative rule."""


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
