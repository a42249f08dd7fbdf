"""The exceptions of this project.

Every error raised on purpose derives from `TinygradNpError` and from the built-in exception that a user would
expect, so that both `except TinygradNpError` and `except ValueError` work. Messages say what was given, what was
expected, and what to do.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, pairwise
from typing import Any

import numpy as np


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
