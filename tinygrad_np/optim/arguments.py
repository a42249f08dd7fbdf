"""The check that optimizers, schedules and clipping share: whether a number is sensible."""

from tinygrad_np.errors import ArgumentError

__all__ = ["require"]


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
