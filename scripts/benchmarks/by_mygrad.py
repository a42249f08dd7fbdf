"""MyGrad, with its guard against overwritten arrays off, as its documentation advises where speed matters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mygrad
import numpy as np
from mygrad.nnet.losses import softmax_crossentropy

Array = np.ndarray

mygrad.turn_memory_guarding_off()


def batch(images: Array, labels: Array) -> tuple[Any, Any]:
    return images, labels


def training(weights: list[Array], lr: float) -> tuple[Callable[[Any, Any], Any], Callable[[], list[Array]]]:
    parameters = [mygrad.tensor(weight.T.copy()) for weight in weights]
    *hidden, (weight, bias) = zip(parameters[::2], parameters[1::2], strict=True)

    def step(images: Array, labels: Array) -> Any:
        x: Any = images
        for hidden_weight, hidden_bias in hidden:
            x = mygrad.nnet.relu(x @ hidden_weight + hidden_bias)
        loss = softmax_crossentropy(x @ weight + bias, labels)
        loss.backward()
        for parameter in parameters:
            gradient: Any = parameter.grad
            gradient *= lr
            parameter.data -= gradient
        return loss

    return step, lambda: [parameter.data.T for parameter in parameters]


def chain(x: Any, y: Any, rounds: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    x, y = mygrad.tensor(x), mygrad.tensor(y)

    def forward() -> Any:
        z = x
        for _ in range(rounds):
            z = mygrad.maximum(mygrad.tanh(z * y + x), 0.1)
        return z.sum()

    def gradients() -> Any:
        forward().backward()
        return x.grad, y.grad

    return forward, gradients
