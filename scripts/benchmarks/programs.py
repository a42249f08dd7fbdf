"""Programs as users write them with NumPy alone, to be differentiated by whoever's NumPy they are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Program = tuple[Callable[..., Any], tuple[Any, ...]]


def recurrent(xp: Any) -> Program:
    """The loss of a network over the 28 rows of 32 images, as a function of its three weights."""
    generator = np.random.default_rng(0)
    rows, target = generator.normal(size=(28, 32, 28)), generator.normal(size=(32, 10))
    weights = [generator.normal(size=shape) / 8 for shape in ((28, 64), (64, 64), (64, 10))]

    def loss(u: Any, w: Any, v: Any) -> Any:
        h = xp.zeros((32, 64))
        for x in rows:
            h = xp.tanh(xp.dot(x, u) + xp.dot(h, w))
        difference = xp.dot(h, v) - target
        return xp.mean(difference * difference)

    return loss, tuple(weights)


def gaussian_process(xp: Any) -> Program:
    """The negative log-likelihood of 40 points, as a function of three logarithms: of two scales and the noise."""
    generator = np.random.default_rng(0)
    x = np.sort(generator.uniform(-3, 3, 40))
    y = np.sin(x) + 0.1 * generator.normal(size=40)

    def loss(logarithms: Any) -> Any:
        height, length, noise = xp.exp(logarithms[0]), xp.exp(logarithms[1]), xp.exp(logarithms[2])
        distance = (x[:, None] - x) / length
        covariance = height * xp.exp(-0.5 * distance * distance) + noise * np.eye(40)
        _, determinant = xp.linalg.slogdet(covariance)
        return 0.5 * xp.dot(y, xp.linalg.solve(covariance, y)) + 0.5 * determinant

    return loss, (np.array([0.0, 0.0, -2.0]),)


PROGRAMS = {"recurrent network of 28 steps": recurrent, "Gaussian process of 40 points": gaussian_process}
