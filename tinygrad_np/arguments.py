"""What arguments share: their types; numbers, integers and seeds as NumPy has them; the check of a range."""

from __future__ import annotations

import math
import numbers
import operator
from typing import TYPE_CHECKING, Any, NewType

import numpy as np

from tinygrad_np.errors import ArgumentError, ArgumentTypeError

__all__ = ["ArrayLike", "DTypeLike", "Seed", "finite", "fraction", "integer", "number", "random_generator", "require"]

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike

    Seed = np.random.Generator | np.random.BitGenerator | np.random.SeedSequence | int | None
    """What randomness can come from. An int, NumPy's or Python's, always gives the same numbers; None gives fresh ones.
    """
else:  # names alone, for the reference: spelled out, each would fill lines of a signature
    ArrayLike, DTypeLike, Seed = (NewType(name, Any) for name in ("ArrayLike", "DTypeLike", "Seed"))
    ArrayLike.__module__ = DTypeLike.__module__ = "numpy.typing"


def require(condition: bool, name: str, value: object, expected: str) -> None:
    """Raise an error that names the argument and its value, unless `condition` holds.

    Args:
        condition: what must hold. Write it so that NaN fails it: `0 <= lr < math.inf`, not `not lr < 0`.
        name: of the argument.
        value: that the argument has.
        expected: the values that it may have, as the end of "must be ...".

    Raises:
        ArgumentError: `condition` is False.

    >>> require(0 <= -0.1, "lr", -0.1, "a finite number >= 0")
    Traceback (most recent call last):
    tinygrad_np.errors.ArgumentError: lr must be a finite number >= 0, but is -0.1
    """
    if not condition:
        raise ArgumentError(f"{name} must be {expected}, but is {value!r}")


def number(name: str, value: Any) -> float:
    """A real number, Python's or NumPy's, as a Python float: so it keeps float32 arithmetic in float32.

    Raises:
        ArgumentTypeError: it is anything else, such as a string, a bool, an array or a Tensor.

    >>> number("lr", np.float32(0.5))
    0.5
    """
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return float(value)
    remedy = "; pass its .item()" if hasattr(value, "item") and getattr(value, "size", 0) == 1 else ""
    raise ArgumentTypeError(f"{name} must be a number, but is {value!r}{remedy}")


def finite(name: str, value: Any) -> float:
    """A finite number >= 0, as a Python float. Errors as of `number` and `require`."""
    value = number(name, value)
    require(0 <= value < math.inf, name, value, "a finite number >= 0")
    return value


def fraction(name: str, value: Any) -> float:
    """A number at least 0 and less than 1, as a Python float. Errors as of `number` and `require`."""
    value = number(name, value)
    require(0 <= value < 1, name, value, "at least 0 and less than 1")
    return value


def integer(name: str, value: Any, least: int | None = None) -> int:
    """An integer, Python's or NumPy's, as a Python int.

    Args:
        name: of the argument.
        value: that the argument has.
        least: the smallest value that it may have.

    Raises:
        ArgumentError: it is below `least`, or no integer. A float and a bool are none.

    >>> integer("epochs", np.int64(3))
    3
    """
    expected = {None: "an integer", 0: "an integer >= 0", 1: "a positive integer"}[least]
    require(hasattr(value, "__index__") and not isinstance(value, bool), name, value, expected)
    try:
        index = operator.index(value)
    except TypeError as error:  # NumPy's arrays and bools have the method, and refuse
        raise ArgumentError(f"{name} must be {expected}, but is {value!r}") from error
    require(least is None or index >= least, name, index, expected)
    return index


def random_generator(seed: Any) -> np.random.Generator:
    """`numpy.random.default_rng`, with an error that says what works.

    Args:
        seed: a Generator, which is returned itself; or what one is made from: an int >= 0 or several, a SeedSequence, a
            BitGenerator, or None for numbers that no one can foresee.

    Raises:
        ArgumentTypeError: it is anything else, such as NumPy's legacy RandomState.
        ArgumentError: it is a negative number.
    """
    try:
        if not isinstance(seed, (bool, np.random.RandomState)):
            return np.random.default_rng(seed)
    except ValueError as error:
        raise ArgumentError(f"generator must be a seed >= 0 or a Generator, but is {seed!r}") from error
    except TypeError:
        pass
    raise ArgumentTypeError(
        f"generator must be a numpy.random.Generator, such as numpy.random.default_rng(0), a seed such as 0, "
        f"or None, but is {seed!r}"
    )
