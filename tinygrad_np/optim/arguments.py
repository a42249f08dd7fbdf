"""The one check that optimizers, schedules and clipping share: is a number sensible?"""

from tinygrad_np.errors import ArgumentError


def require(condition: bool, name: str, value: object, expected: str) -> None:
    """Raise an `ArgumentError` that names the argument and its value, unless `condition` holds.

    Write conditions so that NaN fails them: `0 <= lr < math.inf`, not `not lr < 0`.

    >>> require(0 <= -0.1, "lr", -0.1, "a finite number >= 0")
    Traceback (most recent call last):
    tinygrad_np.errors.ArgumentError: lr must be a finite number >= 0, but is -0.1
    """
    if not condition:
        raise ArgumentError(f"{name} must be {expected}, but is {value!r}")
