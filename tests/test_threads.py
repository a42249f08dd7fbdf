"""Models that are trained at the same time, in threads of one process, give the numbers that each gives alone."""

import sys
import threading
from contextlib import nullcontext

import numpy as np
import pytest

from models.mnist_mlp import MnistMLP
from tinygrad_np import Tensor, debug, functional, grad, no_grad, optim


def train(seed, sizes, batch_size, steps, activation, dropout, optimizer, inside=nullcontext):
    """Train a small model; return the loss of each step, scores from time to time, and the weights at the end.

    Each step runs within a new `inside()`.
    """
    generator = np.random.default_rng(seed)
    images = generator.random((1000, sizes[0]), dtype=np.float32)
    labels = generator.integers(0, sizes[-1], 1000)
    model = MnistMLP(sizes, activation, dropout, generator=generator)
    optimizer = optimizer(model.parameters())
    numbers = []
    for step in range(steps):
        chosen = generator.integers(0, len(images), batch_size)
        with inside():
            loss = functional.cross_entropy(model(images[chosen]), labels[chosen])
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        numbers.append(loss.numpy())
        if step % 10 == 0:
            model.eval()
            with no_grad():
                numbers.append(model(images[:100]).numpy())
            model.train()
    return numbers + [parameter.data for parameter in model.parameters()]


def evaluate(seed, sizes, times):
    """Scores of an untrained model, computed without recording."""
    generator = np.random.default_rng(seed)
    model = MnistMLP(sizes, generator=generator)
    images = generator.random((100, sizes[0]), dtype=np.float32)
    with no_grad():
        return [model(images).numpy() for _ in range(times)]


def second_derivatives(times):
    """Gradients of gradients; each starts from the one before."""
    values = [np.linspace(-1, 1, 50)]
    for _ in range(times):
        x = Tensor(values[-1], requires_grad=True)
        (slope,) = grad(np.sum(np.sin(x) * np.exp(-x)), [x], create_graph=True)
        (slope * slope).sum().backward()
        values.append(x.grad / (1 + np.abs(x.grad)))
    return values


def adam(parameters):
    return optim.Adam(parameters, 0.004)


def sgd(parameters):
    return optim.SGD(parameters, 0.1, momentum=0.9)


SMALL = {
    "adam with dropout": lambda: train(1, [64, 32, 10], 32, 300, "relu", 0.2, adam),
    "sgd": lambda: train(2, [64, 48, 10], 50, 300, "tanh", 0.0, sgd),
    "looking for anomalies": lambda: train(3, [64, 32, 16, 10], 32, 200, "gelu", 0.1, adam, debug.detect_anomaly),
    "tracing": lambda: train(4, [64, 32, 10], 32, 200, "sigmoid", 0.1, sgd, debug.trace),
    "profiling": lambda: train(5, [64, 32, 10], 32, 200, "softplus", 0.1, sgd, debug.profile),
    "evaluating": lambda: evaluate(6, [64, 256, 10], 300),
    "second derivatives": lambda: second_derivatives(200),
}
LARGE = {  # the sizes of the default network, for which the BLAS may use threads of its own
    "adam": lambda: train(7, [784, 512, 10], 128, 30, "relu", 0.0, adam),
    "sgd": lambda: train(8, [784, 512, 10], 128, 30, "tanh", 0.2, sgd),
}


@pytest.fixture
def hurried():
    """Let threads take turns hundreds of times as often as usual."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def at_once(works):
    """Run each function in a thread of its own, all at once, and return their results."""
    barrier = threading.Barrier(len(works))
    results = {}

    def run(name):
        barrier.wait()
        results[name] = works[name]()

    threads = [threading.Thread(target=run, args=(name,)) for name in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.slow
@pytest.mark.parametrize("works", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.usefixtures("hurried")
def test_models_trained_at_the_same_time_give_the_numbers_that_they_give_alone(works):
    alone = {name: work() for name, work in works.items()}
    together = at_once(works)
    for name in works:
        assert len(together[name]) == len(alone[name]), name
        for ours, theirs in zip(together[name], alone[name], strict=True):
            np.testing.assert_array_equal(ours, theirs, err_msg=name)
