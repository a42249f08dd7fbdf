"""The exceptions of this project.

Every error raised on purpose derives from `TinygradNpError` and from the built-in exception that a user would
expect, so that both `except TinygradNpError` and `except ValueError` work. Messages say what was given, what was
expected, and what to do.
"""

from itertools import pairwise
from typing import Any


class TinygradNpError(Exception):
    """Base class of every error that tinygrad_np raises on purpose."""


class ArgumentError(TinygradNpError, ValueError):
    """An argument has a value that makes no sense, such as a negative learning rate."""


class ArgumentTypeError(TinygradNpError, TypeError):
    """An argument is of a kind that makes no sense there, such as a function where a module should be."""


class ShapeError(TinygradNpError, ValueError):
    """Arrays whose shapes do not fit together, or not to the operation.

    Attributes:
        modules: the `nn.Module`s that the error has left on its way out, the outermost first.
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
    """An array of a dtype that the operation cannot take, such as integers that should require a gradient."""


class GraphError(TinygradNpError, RuntimeError):
    """The graph cannot do what was asked: it was freed, or it does not lead where it should."""


class NoDerivativeError(TinygradNpError, TypeError):
    """A function, or an argument of it, that has no derivative rule was applied to a Tensor that requires grad."""


class DataError(TinygradNpError, ValueError):
    """A dataset, or a file of one, that cannot be read as what it should be."""


class CheckpointError(TinygradNpError, ValueError):
    """A checkpoint that cannot be written, read, or loaded into this model."""


class FileWriteError(TinygradNpError, OSError):
    """A file that cannot be written; what stood in its place before is unchanged."""


class GradcheckError(TinygradNpError, AssertionError):
    """A derivative that differs from its central difference."""


class AnomalyError(TinygradNpError, RuntimeError):
    """`debug.detect_anomaly` has found where a computation went wrong."""


class RenderError(TinygradNpError, RuntimeError):
    """A picture that cannot be drawn, for want of a program or of a known format."""
