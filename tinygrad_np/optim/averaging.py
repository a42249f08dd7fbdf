"""Averages of the weights over the steps of training, which are nearer to good weights than those of any step."""

from collections.abc import Iterable

import numpy as np

from tinygrad_np.errors import ArgumentError, ShapeError
from tinygrad_np.optim.arguments import require
from tinygrad_np.optim.optimizers import CHUNK
from tinygrad_np.tensor import Tensor


def ema_update_(averages: Iterable[Tensor], params: Iterable[Tensor], decay: float, step: int) -> None:
    """Take the parameters after a step into their exponential moving averages, in place.

        a = d a + (1 - d) p, d = min(decay, (1 + step) / (10 + step))

    Polyak & Juditsky 1992, "Acceleration of Stochastic Approximation by Averaging", with weights that fade, as in
    Tarvainen & Valpola 2017, "Mean teachers are better role models", section 3. At first d is smaller, as in
    TensorFlow's ExponentialMovingAverage, so that the averages soon forget where they started.

    Args:
        averages: of the same number, shapes and dtypes as `params`, such as the parameters of a copy of the model.
            They need no other state: to save them is to save that copy.
        params: the parameters; read only.
        decay: at least 0 and less than 1; the averages are over about the last 1 / (1 - decay) steps.
        step: how many steps came before, from 0.

    Raises:
        ArgumentError: a decay out of range, or averages and parameters that are not as many.
        ShapeError: an average of another shape than its parameter.

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
        # In chunks that stay in the cache, as the optimizers work.
        for start in range(0, a.size, CHUNK):
            chunk = slice(start, start + CHUNK)
            difference = np.subtract(p[chunk], a[chunk])
            difference *= share
            a[chunk] += difference
        if not average.data.flags.c_contiguous:  # and so `a` is a copy
            average.data[...] = a.reshape(average.shape)
