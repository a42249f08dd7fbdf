"""What is measured in a process of its own: `child.py FUNCTION ARGUMENTS` prints the result as a line of JSON.

A pair shares a process with nobody else. Every library has its own pool of threads, and after a call these keep
spinning for a while, on the cores that the next library is measured on. For the same reason the two take turns in
blocks, not step by step: first a pause in which the other's threads fall asleep, then some calls that are not timed,
to wake the library's own threads and to fill the caches, and then the calls that count. Who comes first is drawn in
every round. The garbage collector runs when it likes, as it does for users. What scripts/processor.py sets is set for
every library alike: OpenBLAS's kernels by the parent process, the kept memory here.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import mnist
import numpy as np
from processor import keep_freed_memory

LR = 0.01
PAUSE = 0.03  # seconds; OpenBLAS's threads take longest to fall asleep, 2^26 clock cycles


def alternate(pair: Sequence[Callable[[], Any]], repeats: int, block: float) -> list[list[float]]:
    """Seconds per call of both, for each round: a block of each, of about `block` seconds or of one call."""
    counts = []
    for call in pair:
        counts.append(max(1, round(block / min(seconds(call, 1) for _ in range(3)))))
    rounds = []
    generator = np.random.default_rng(0)
    for _ in range(repeats):
        both = [0.0, 0.0]
        for i in generator.permutation(2):
            time.sleep(PAUSE)
            seconds(pair[i], -(-counts[i] // 4))
            both[i] = seconds(pair[i], counts[i])
        rounds.append(both)
    return rounds


def seconds(call: Callable[[], Any], count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - start) / count


def random_weights(sizes: list[int]) -> list[np.ndarray]:
    """Weights of shape (out, in) and biases, uniform as PyTorch's initialisation draws them."""
    generator = np.random.default_rng(0)
    return [
        generator.uniform(-(n**-0.5), n**-0.5, shape).astype(np.float32)
        for n, m in pairwise(sizes)
        for shape in ((m, n), (m,))
    ]


def random_batch(sizes: list[int], batch_size: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return generator.random((batch_size, sizes[0]), dtype=np.float32), generator.integers(0, sizes[-1], batch_size)


def check_same(ours: Any, others: Any) -> None:
    """End the process if the two have not computed the same: there is nothing to compare then."""
    for one, other in zip(ours, others, strict=True):
        if not np.allclose(np.asarray(one), np.asarray(other), rtol=1e-4, atol=1e-5):
            sys.exit("they do not compute the same")


def steps(who: list[str], sizes: list[int], batch_size: int, repeats: int, block: float) -> list[list[float]]:
    """Training steps: forward, backward, gradient descent."""
    batch = random_batch(sizes, batch_size, np.random.default_rng(0))
    calls, losses, weights = [], [], []
    for module in map(importlib.import_module, who):
        step, current = module.training(random_weights(sizes), LR)
        given = module.batch(*batch)
        calls.append(lambda step=step, given=given: step(*given))
        losses.append([step(*given).item() for _ in range(3)])
        weights.append([np.array(weight) for weight in current()])
    check_same(*losses)
    check_same(*weights)
    return alternate(calls, repeats, block)


def floor(sizes: list[int], batch_size: int, repeats: int, block: float) -> list[list[float]]:
    """Training steps, and their matrix products alone, written into arrays that exist already."""
    weights, generator = random_weights(sizes), np.random.default_rng(0)
    images, labels = random_batch(sizes, batch_size, generator)
    step, _ = importlib.import_module("by_tinygrad_np").training(weights, LR)
    values = [images, *(generator.random((batch_size, n), dtype=np.float32) for n in sizes[1:])]
    gradients = [np.empty_like(array) for array in values]
    layers = [(weight, np.empty_like(weight)) for weight in weights[::2]]

    def products() -> None:
        for i, (weight, _) in enumerate(layers):
            np.matmul(values[i], weight.T, out=values[i + 1])
        for i, (weight, gradient) in reversed(list(enumerate(layers))):
            np.matmul(gradients[i + 1].T, values[i], out=gradient)
            if i:
                np.matmul(gradients[i + 1], weight, out=gradients[i])

    for array in gradients:
        array[...] = generator.random(array.shape, dtype=np.float32)
    return alternate([lambda: step(images, labels), products], repeats, block)


def operations(who: list[str], elements: int, backward: bool, repeats: int, block: float) -> list[list[float]]:
    """A chain of 25 times four operations, and a sum; seconds per operation.

    In the forward pass alone, autograd and JAX record nothing for a backward pass; the others do. What JAX compiles is
    no longer a chain of 101 calls, which is its point.
    """
    x, y = np.random.default_rng(0).uniform(0.5, 1.5, (2, elements)).astype(np.float32)
    calls, results = [], []
    for module in map(importlib.import_module, who):
        forward, gradients = module.chain(x, y, 25)
        gradients()  # called twice, to catch a library that adds to old gradients
        results.append([forward().item(), *map(np.asarray, gradients())])
        calls.append(gradients if backward else forward)
    check_same(*results)
    return (np.array(alternate(calls, repeats, block)) / 101).tolist()


def convolution(who: list[str], repeats: int, block: float) -> list[list[float]]:
    """The gradient of a layer for grey images: 32 filters of 3 x 3 pixels, and relu."""
    generator = np.random.default_rng(0)
    images = generator.random((128, 1, 28, 28), dtype=np.float32)
    weights = [generator.normal(0, 0.3, shape).astype(np.float32) for shape in ((32, 1, 3, 3), (32,))]
    calls = [importlib.import_module(module).convolution(images, *weights) for module in who]
    for call in calls:
        call()  # twice, to catch a library that adds to old gradients
    check_same(*(call() for call in calls))
    return alternate(calls, repeats, block)


def programs(who: list[str], name: str, repeats: int, block: float) -> list[list[float]]:
    """Gradients of a program that a user has written with NumPy."""
    calls = [importlib.import_module(module).program(name) for module in who]
    check_same(*([np.asarray(gradient) for gradient in call()] for call in calls))
    return alternate(calls, repeats, block)


def adam(who: list[str], sizes: list[int], repeats: int, block: float) -> list[list[float]]:
    """Steps of Adam with given gradients."""
    weights, gradients = random_weights(sizes), random_weights(sizes)
    calls, results = [], []
    for module in map(importlib.import_module, who):
        step, current = module.adam(weights, gradients, LR)
        for _ in range(3):
            step()
        results.append([np.array(weight) for weight in current()])
        calls.append(step)
    check_same(*results)
    return alternate(calls, repeats, block)


def reach(who: str, **settings: Any) -> float:
    """Train on MNIST until the goal is reached. The parent takes the time, from before this process starts."""
    accuracy: float = importlib.import_module(who).reach(**settings)
    return accuracy


def memory(who: str, sizes: list[int], batch_size: int, steps: int) -> float:
    """The peak memory, in bytes, of a process that trains on MNIST."""
    module = importlib.import_module(who)
    images, labels = mnist.load("train")
    step, _ = module.training(random_weights(sizes), LR)
    generator = np.random.default_rng(0)
    for _ in range(steps):
        rows = generator.integers(0, len(images), batch_size)
        step(*module.batch(np.divide(images.take(rows, axis=0), 255, dtype=np.float32), labels.take(rows)))
    return peak()


def graph_seconds(operations: int) -> float:
    """Seconds per operation to make, walk and drop a graph of so many operations."""
    gradients = graph(operations)
    gradients()  # from here on the process has its memory, and only the work is timed
    return seconds(gradients, max(1, 100_000 // operations)) / operations


def graph_bytes(operations: int) -> float:
    """Bytes per operation at the peak, for a graph of so many operations."""
    gradients = graph(operations)
    tracemalloc.start()
    gradients()
    return tracemalloc.get_traced_memory()[1] / operations


def wide_seconds(operations: int, kind: str) -> float:
    """Seconds per piece for a graph that is as many pieces wide, of one of the kinds in by_tinygrad_np.wide."""
    gradients = importlib.import_module("by_tinygrad_np").wide(kind, operations)
    gradients()
    return seconds(gradients, max(1, 10_000 // operations)) / operations


def graph(operations: int) -> Callable[[], Any]:
    x, y = np.random.default_rng(0).uniform(0.5, 1.5, (2, 1)).astype(np.float32)
    chain: Callable[[], Any] = importlib.import_module("by_tinygrad_np").chain(x, y, operations // 4)[1]
    return chain


def held(sizes: list[int], batch_size: int) -> tuple[float, float]:
    """The bytes that a training step leaves behind, and the bytes that it takes at its peak."""
    step, _ = importlib.import_module("by_tinygrad_np").training(random_weights(sizes), LR)
    batch = random_batch(sizes, batch_size, np.random.default_rng(0))
    tracemalloc.start()
    for _ in range(10):
        step(*batch)
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    step(*batch)
    after, most = tracemalloc.get_traced_memory()
    return max(0, after - before), most - before


def flat(sizes: list[int], batch_size: int, steps: int) -> tuple[float, float]:
    """The peak memory after `steps` training steps, and after a tenth of them."""
    step, _ = importlib.import_module("by_tinygrad_np").training(random_weights(sizes), LR)
    generator = np.random.default_rng(0)
    early = 0.0
    for i in range(steps):
        step(*random_batch(sizes, batch_size, generator))
        if i + 1 == steps // 10:
            early = peak()
    return peak(), early


def peak() -> float:
    """The peak memory of this process so far, in bytes. It is measured on POSIX systems alone."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    keep_freed_memory()
    print(json.dumps(globals()[sys.argv[1]](**json.loads(sys.argv[2]))), flush=True)
