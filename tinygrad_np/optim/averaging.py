"""Averages of the weights over the steps of training. They are nearer to good weights than those of any one step."""

from collections.abc import Iterable

import numpy as np

from tinygrad_np.errors import ArgumentError, ShapeError
from tinygrad_np.arguments import require
from tinygrad_np.optim.optimizers import CHUNK
from tinygrad_np.tensor import Tensor

__all__ = ["ema_update_"]


def ema_update_(averages: Iterable[Tensor], params: Iterable[Tensor], decay: float, step: int) -> None:
    """Update the exponential moving averages of parameters in place, after a step of training.

        a = d a + (1 - d) p, d = min(decay, (1 + step) / (10 + step))

    Source: Polyak & Juditsky, "Acceleration of Stochastic Approximation by Averaging" (1992), with weights that fade,
    as in Tarvainen & Valpola, "Mean teachers are better role models" (2017), section 3. At first d is smaller, as in
    TensorFlow's ExponentialMovingAverage, so that the averages soon forget where they started.

    Args:
        averages: one Tensor for each parameter, of its shape and dtype, such as the parameters of a copy of the model.
            There is no other state: save the copy, and the averages are saved.
        params: the parameters, any shapes. They are only read.
        decay: at least 0 and less than 1; the averages are over about the last 1 / (1 - decay) steps.
        step: the number of this step, from 0.

    Raises:
        ArgumentError: the decay is out of range, or the numbers of averages and of parameters differ.
        ShapeError: an average does not have its parameter's shape.

    >>> p, average = Tensor([10.0]), Tensor([0.0])
    >>> ema_update_([average], [p], decay=0.999, step=0)
    >>> average.data
    array([9.])
    """
    require(0 <= decay < 1, "decay", decay, "at least 0 and less than 1")
    averages, params = list(averages), list(params)
    if len(averages) != len(params):
        raise ArgumentError(f"{len(averages)} averages of {len(params)} parameters; pass one for each")
    for i, (average, parameter) in enumerate(zip(averages, params, strict=True)):
        if average.shape != parameter.shape:
            raise ShapeError(f"average {i} has shape {average.shape}, but its parameter {parameter.shape}")
    share = 1 - min(decay, (1 + step) / (10 + step))
    for average, parameter in zip(averages, params, strict=True):
        a, p = average.data.reshape(-1), parameter.data.reshape(-1)
        # In chunks that stay in the cache, as in the optimizers.
        for start in range(0, a.size, CHUNK):
            chunk = slice(start, start + CHUNK)
            difference = np.subtract(p[chunk], a[chunk])
            difference *= share
            a[chunk] += difference
        if not average.data.flags.c_contiguous:  # then `a` is a copy
            average.data[...] = a.reshape(average.shape)
