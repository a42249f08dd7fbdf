"""Averages of the weights over the steps of training. They are nearer to good weights than those of any one step."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from tinygrad_np.arguments import fraction, integer
from tinygrad_np.errors import ArgumentError, ArgumentTypeError, ShapeError
from tinygrad_np.optim.optimizers import CHUNK
from tinygrad_np.tensor import Tensor
from tinygrad_np.writes import written

__all__ = ["ema_update_"]


Array = np.ndarray[Any, Any]


def ema_update_(averages: Iterable[Tensor | Array], params: Iterable[Tensor | Array], decay: float, step: int) -> None:
    r"""Update the exponential moving averages of parameters in place, after a step of training.

    $$ a \leftarrow d \, a + (1 - d) \, p, \qquad
       d = \min\left(\text{decay}, \frac{1 + \text{step}}{10 + \text{step}}\right) $$

    Source: Polyak & Juditsky, "Acceleration of Stochastic Approximation by Averaging" (1992), with weights that fade,
    as in Tarvainen & Valpola, "Mean teachers are better role models" (2017), section 3. At first d is smaller, as in
    TensorFlow's ExponentialMovingAverage, so that the averages soon forget where they started.

    A model with buffers, such as the running means of BatchNorm1d, needs averages of these too: pass the values of
    `state_dict()` of the copy and of the model, instead of their `parameters()`.

    Args:
        averages: one Tensor or array for each parameter, of its shape and dtype, such as the parameters of a copy of
            the model. There is no other state: save the copy, and the averages are saved. Integers, such as counts,
            are not averaged, but copied.
        params: the parameters, any shapes. They are only read.
        decay: at least 0 and less than 1; the averages are over about the last 1 / (1 - decay) steps.
        step: the number of this step, from 0.

    Raises:
        ArgumentError: the decay or the step is out of range, or the numbers of averages and of parameters differ.
        ArgumentTypeError: something else is given, such as modules.
        ShapeError: an average does not have its parameter's shape.

    >>> p, average = Tensor([10.0]), Tensor([0.0])
    >>> ema_update_([average], [p], decay=0.999, step=0)
    >>> average.data
    array([9.])
    """
    decay, step = fraction("decay", decay), integer("step", step, least=0)
    into, values = _arrays("averages", averages), _arrays("params", params)
    if len(into) != len(values):
        raise ArgumentError(f"{len(into)} averages of {len(values)} parameters; pass one for each")
    for i, (average, value) in enumerate(zip(into, values, strict=True)):
        if average.shape != value.shape:
            raise ShapeError(f"average {i} has shape {average.shape}, but its parameter {value.shape}")
    share = 1 - min(decay, (1 + step) / (10 + step))
    # Each average once, also if it has several names in a state.
    for average, value in {id(average): (average, value) for average, value in zip(into, values, strict=True)}.values():
        if average.dtype.kind in "fc":
            _move(average, value, share)
        else:
            average[...] = value
        written(average)


def _move(average: Array, value: Array, share: float) -> None:
    """Move an average this share of the way to a value, in place."""
    a, p = average.reshape(-1), value.reshape(-1)
    # In chunks that stay in the cache, as in the optimizers.
    for start in range(0, a.size, CHUNK):
        chunk = slice(start, start + CHUNK)
        difference = np.subtract(p[chunk], a[chunk])
        difference *= share
        a[chunk] += difference
    if not average.flags.c_contiguous:  # then `a` is a copy
        average[...] = a.reshape(average.shape)


def _arrays(name: str, given: Any) -> list[Array]:
    """The arrays of the given Tensors and arrays."""
    items = list(given) if isinstance(given, Iterable) and not isinstance(given, (Tensor, np.ndarray)) else [given]
    for item in items:
        if not isinstance(item, (Tensor, np.ndarray)):
            raise ArgumentTypeError(
                f"{name} must be Tensors or arrays, but one is a {type(item).__name__}; pass model.parameters(), or "
                "model.state_dict().values() to include buffers"
            )
    return [item.data if isinstance(item, Tensor) else item for item in items]
