"""By hand: NumPy alone, with the derivatives worked out on paper, in place wherever that is possible.

The framework is measured against this: no checks, no records, and every array is used again as soon as it is free. But
its gradients are real gradients. Folding the learning rate into them at the start would save a pass over the weights,
and then they could not be clipped or printed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray


def batch(images: Array, labels: Array) -> tuple[Any, Any]:
    return images, labels


def training(weights: list[Array], lr: float) -> tuple[Callable[[Any, Any], Any], Callable[[], list[Array]]]:
    weights = [weight.copy() for weight in weights]
    layers = list(zip(weights[::2], weights[1::2], strict=True))

    def step(images: Array, labels: Array) -> Any:
        x, inputs = images, [images]
        for weight, bias in layers:
            x = x @ weight.T
            x += bias
            if weight is not weights[-2]:
                inputs.append(np.maximum(x, 0, out=x))

        x = x.T.copy()  # with the classes along the first axis, NumPy reduces over them a row of the batch at a time
        target = labels, np.arange(len(labels))
        x -= np.maximum.reduce(x)
        picked = x[target]
        np.exp(x, out=x)
        totals = np.add.reduce(x)
        loss = np.add.reduce(np.log(totals) - picked) / len(labels)

        x /= totals
        x[target] -= 1
        x /= len(labels)
        g, gradients = x.T, []
        for (weight, _), layer_input in zip(layers[::-1], inputs[::-1], strict=True):
            gradients += [np.add.reduce(g), g.T @ layer_input]
            if layer_input is not images:
                g = g @ weight
                g *= layer_input > 0

        for weight, gradient in zip(weights, gradients[::-1], strict=True):
            gradient *= lr
            weight -= gradient
        return loss

    return step, lambda: weights


def chain(x: Array, y: Array, rounds: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    def forward() -> Any:
        z = x
        for _ in range(rounds):
            z = np.maximum(np.tanh(z * y + x), 0.1)
        return z.sum()

    def gradients() -> Any:
        z, saved = x, []
        for _ in range(rounds):
            t = np.tanh(z * y + x)
            saved.append((z, t))
            z = np.maximum(t, 0.1)
        z.sum()
        g, gx, gy = np.ones_like(z), np.zeros_like(x), np.zeros_like(y)
        for z, t in reversed(saved):
            g = g * (t > 0.1)
            g *= 1 - t * t
            gx += g
            gy += g * z
            g *= y
        return gx + g, gy

    return forward, gradients


def adam(
    weights: list[Array], gradients: list[Array], lr: float
) -> tuple[Callable[[], Any], Callable[[], list[Array]]]:
    """Adam in ten calls for each chunk, which fits into the cache.

    The means are kept without their factors 1 - beta, which go into the scalars (Kingma & Ba 2015, end of section 2,
    carried a little further): m / (1 - beta1) = beta1 m / (1 - beta1) + g needs two calls instead of three.
    """
    weights = [weight.copy() for weight in weights]
    beta1, beta2, eps, size = 0.9, 0.999, 1e-8, 32768
    chunks = []
    for weight, gradient in zip(weights, gradients, strict=True):
        flat = weight.reshape(-1), gradient.reshape(-1), np.zeros(weight.size, "f4"), np.zeros(weight.size, "f4")
        chunks += [[array[i : i + size] for array in flat] for i in range(0, weight.size, size)]
    scratch = np.empty(size, np.float32)
    t = 0

    def step() -> None:
        nonlocal t
        t += 1
        correction = math.sqrt((1 - beta2**t) / (1 - beta2))
        small, rate = eps * correction, lr * correction * (1 - beta1) / (1 - beta1**t)
        for p, g, m, v in chunks:
            s = scratch[: len(p)]
            m *= beta1
            m += g
            v *= beta2
            v += np.multiply(g, g, out=s)
            np.sqrt(v, out=s)
            s += small
            np.divide(m, s, out=s)
            s *= rate
            p -= s

    return step, lambda: weights
