"""Compare a training step (forward, backward, gradient descent) with the same step written by hand in NumPy.

The two take turns within one run, so that a machine whose speed drifts does not favour one. What counts is the ratio
of the medians; the times are given with their quartiles.
"""

import argparse
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from models.mnist_mlp import MnistMLP
from tinygrad_np import functional, optim

NETWORKS = [[784, 128, 10], [784, 512, 128, 64, 10], [784, 1024, 1024, 10]]
LR = 0.01


def by_framework(weights: list[np.ndarray], images: np.ndarray, labels: np.ndarray) -> Callable[[], Any]:
    """The step as users write it."""
    model = MnistMLP([weights[0].shape[1], *(len(weight) for weight in weights[::2])])
    model.load_state_dict(dict(zip(model.state_dict(), weights, strict=True)))
    optimizer = optim.SGD(model.parameters(), LR)

    def step() -> Any:
        loss = functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return step


def by_hand(weights: list[np.ndarray], images: np.ndarray, labels: np.ndarray) -> Callable[[], Any]:
    """The same step without the framework: careful code, in place wherever that is possible."""
    weights = [weight.copy() for weight in weights]
    layers = list(zip(weights[::2], weights[1::2], strict=True))
    rows = np.arange(len(labels))

    def step() -> Any:
        inputs = [images]
        for weight, bias in layers:
            x = inputs[-1] @ weight.T
            x += bias
            if weight is not weights[-2]:
                inputs.append(np.maximum(x, 0, out=x))
        x -= x.max(axis=1, keepdims=True)
        picked = x[rows, labels]
        np.exp(x, out=x)
        totals = x.sum(axis=1, keepdims=True)
        x /= totals
        loss = np.mean(np.log(totals[:, 0]) - picked)

        x[rows, labels] -= 1
        x /= len(labels)
        gradients = []
        for (weight, _), layer_input in zip(layers[::-1], inputs[::-1], strict=True):
            gradients += [x.sum(axis=0), x.T @ layer_input]
            if layer_input is not images:
                x = x @ weight
                x *= layer_input > 0

        for weight, gradient in zip(weights, gradients[::-1], strict=True):
            gradient *= LR
            weight -= gradient
        return loss

    return step


def compare(sizes: list[int], batch_size: int, repeats: int) -> str:
    """A line with the times of both and their ratio."""
    generator = np.random.default_rng(0)
    images = generator.random((batch_size, sizes[0]), dtype=np.float32)
    labels = generator.integers(0, sizes[-1], batch_size)
    weights = [parameter.data for parameter in MnistMLP(sizes, generator=generator).parameters()]
    steps = [by_hand(weights, images, labels), by_framework(weights, images, labels)]
    for _ in range(3):
        losses = [step() for step in steps]
        np.testing.assert_allclose(*losses, rtol=1e-4)  # the two compute the same
    times = np.empty((repeats, 2))
    for i in range(repeats):
        for j, step in enumerate(steps):
            start = time.perf_counter()
            step()
            times[i, j] = time.perf_counter() - start
    low, middle, high = np.percentile(times * 1e6, [25, 50, 75], axis=0)
    columns = [f"{middle[j]:9.0f} ({low[j]:.0f}-{high[j]:.0f})" for j in range(2)]
    return f"{'-'.join(map(str, sizes)):24}{batch_size:6}{columns[0]:>24}{columns[1]:>24}{middle[1] / middle[0]:8.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[32, 128, 512], metavar="N")
    parser.add_argument("--repeats", type=int, default=200, metavar="N", help="steps timed of each (200)")
    arguments = parser.parse_args()
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]  # type: ignore[index]
    print(f"{platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}, {blas['name']}")
    print("microseconds a step: median (quartiles)")
    print(f"{'network':24}{'batch':>6}{'by hand':>24}{'tinygrad_np':>24}{'ratio':>8}")
    for sizes in NETWORKS:
        for batch_size in arguments.batch_sizes:
            print(compare(sizes, batch_size, arguments.repeats), flush=True)


if __name__ == "__main__":
    main()
