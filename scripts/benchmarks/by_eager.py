"""tinygrad_np without `compile`: every operation is called and recorded by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import by_tinygrad_np
import numpy as np
from by_tinygrad_np import batch, chain
from programs import PROGRAMS

from tinygrad_np import func

__all__ = ["batch", "chain", "convolution", "program", "training"]

Array = np.ndarray


def training(weights: list[Array], lr: float) -> tuple[Callable[[Any, Any], Any], Callable[[], list[Array]]]:
    return by_tinygrad_np.training(weights, lr, compiled=False)


def convolution(images: Array, weight: Array, bias: Array) -> Callable[[], Any]:
    return by_tinygrad_np.convolution(images, weight, bias, compiled=False)


def program(name: str) -> Callable[[], Any]:
    loss, arguments = PROGRAMS[name](np)
    gradient = func.grad(loss, tuple(range(len(arguments))))
    return lambda: gradient(*arguments)
