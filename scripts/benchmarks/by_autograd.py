"""HIPS autograd: plain functions from its own copy of the NumPy namespace.

As in its examples, weights have shape (in, out) and labels are one-hot: derivatives of indexing are slow in autograd.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd import grad, value_and_grad
from autograd.scipy.special import logsumexp
from programs import PROGRAMS

Array = np.ndarray


def batch(images: Array, labels: Array) -> tuple[Any, Any]:
    return images, np.eye(10, dtype=np.float32)[labels]


def training(weights: list[Array], lr: float) -> tuple[Callable[[Any, Any], Any], Callable[[], list[Array]]]:
    parameters = [weight.T.copy() for weight in weights]

    def loss_of(parameters: list[Any], images: Any, truth: Any) -> Any:
        x = images
        for i in range(0, len(parameters) - 2, 2):
            x = anp.maximum(anp.dot(x, parameters[i]) + parameters[i + 1], 0)
        scores = anp.dot(x, parameters[-2]) + parameters[-1]
        log_probabilities = scores - logsumexp(scores, axis=1, keepdims=True)
        return -anp.sum(log_probabilities * truth) / len(images)

    loss_and_gradients = value_and_grad(loss_of)

    def step(images: Array, truth: Array) -> Any:
        loss, gradients = loss_and_gradients(parameters, images, truth)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            gradient *= lr
            parameter -= gradient
        return loss

    return step, lambda: [parameter.T for parameter in parameters]


def program(name: str) -> Callable[[], Any]:
    loss, arguments = PROGRAMS[name](anp)
    gradient = grad(loss, tuple(range(len(arguments))))
    return lambda: gradient(*arguments)


def chain(x: Array, y: Array, rounds: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    def total(x: Any, y: Any) -> Any:
        z = x
        for _ in range(rounds):
            z = anp.maximum(anp.tanh(z * y + x), 0.1)
        return anp.sum(z)

    gradients = grad(total, (0, 1))
    return lambda: total(x, y), lambda: gradients(x, y)
