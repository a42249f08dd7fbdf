"""tinygrad_np, as its users write it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mnist
import numpy as np
from programs import PROGRAMS

from tinygrad_np import Tensor, compile, data, func, functional, grad, nn, no_grad, optim

Array = np.ndarray


def batch(images: Array, labels: Array) -> tuple[Any, Any]:
    return images, labels


def network(sizes: list[int], generator: np.random.Generator | None = None) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i in range(len(sizes) - 1):
        layers += [nn.Linear(sizes[i], sizes[i + 1], generator=generator), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def training(
    weights: list[Array], lr: float, compiled: bool = True
) -> tuple[Callable[[Any, Any], Any], Callable[[], list[Array]]]:
    model = network([weights[0].shape[1], *map(len, weights[::2])])
    model.load_state_dict(dict(zip(model.state_dict(), weights, strict=True)))
    optimizer = optim.SGD(model.parameters(), lr)

    def forward(images: Array, labels: Array) -> Any:
        return functional.cross_entropy(model(images), labels)

    loss_of = compile(forward) if compiled else forward

    def step(images: Array, labels: Array) -> Any:
        loss = loss_of(images, labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    return step, lambda: list(model.state_dict().values())


def chain(x: Any, y: Any, rounds: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    x, y = Tensor(x, requires_grad=True), Tensor(y, requires_grad=True)

    def forward() -> Any:
        z = x
        for _ in range(rounds):
            z = np.maximum(np.tanh(z * y + x), 0.1)
        return z.sum()

    return forward, lambda: grad(forward(), [x, y])


def convolution(images: Array, weight: Array, bias: Array, compiled: bool = True) -> Callable[[], Any]:
    def forward(images: Array, weight: Any, bias: Any) -> Any:
        return functional.relu(functional.conv2d(images, weight, bias)).mean()

    loss_of = compile(forward) if compiled else forward
    parameters = [Tensor(array, requires_grad=True) for array in (weight, bias)]
    return lambda: grad(loss_of(images, *parameters), parameters)


def program(name: str) -> Callable[[], Any]:
    loss, arguments = PROGRAMS[name](np)
    gradient = compile(func.grad(loss, tuple(range(len(arguments)))))
    return lambda: gradient(*arguments)


def wide(kind: str, pieces: int) -> Callable[[], Any]:
    """The gradients, to be differentiated in turn, of one call that joins or cuts so many pieces, or of so many calls
    that use one Tensor."""
    x = Tensor(np.ones(pieces, np.float32), requires_grad=True)
    leaves = [x]
    if kind in ("stack", "concatenate"):
        leaves = [Tensor(np.ones(1, np.float32), requires_grad=True) for _ in range(pieces)]

    def loss() -> Any:
        if kind == "stack":
            return (np.stack(leaves) ** 2).sum()
        if kind == "concatenate":
            return (np.concatenate(leaves) ** 2).sum()
        if kind == "split":
            return (np.concatenate([piece * piece for piece in np.split(x, pieces)])).sum()
        first = x[:1]
        return np.concatenate([first * first for _ in range(pieces)]).sum()

    return lambda: grad(loss(), leaves, create_graph=True)


def adam(
    weights: list[Array], gradients: list[Array], lr: float
) -> tuple[Callable[[], Any], Callable[[], list[Array]]]:
    parameters = [Tensor(weight.copy(), requires_grad=True) for weight in weights]
    optimizer = optim.Adam(parameters, lr)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    return optimizer.step, lambda: [parameter.data for parameter in parameters]


def reach(goal: float, hidden: list[int], batch_size: int, epochs: int, lr: float, seed: int) -> float:
    """Train until the accuracy on the test images, measured after each epoch, is `goal`; returns the accuracy."""
    dataset = data.load_mnist(mnist.DIRECTORY)
    images, labels = dataset.train_images, dataset.train_labels
    generator = np.random.default_rng(seed)
    model = network([784, *hidden, 10], generator)
    optimizer = optim.Adam(model.parameters())
    schedule = optim.schedules.one_cycle(lr, epochs * -(-len(images) // batch_size))
    loss_of = compile(lambda some, truth: functional.cross_entropy(model(some), truth, label_smoothing=0.1))
    step, accuracy = 0, 0.0
    for _ in range(epochs):
        for some, truth in data.batches(images, labels, batch_size=batch_size, generator=generator):
            loss_of(data.to_inputs(some), truth).backward()
            optimizer.lr = schedule(step)
            optimizer.step()
            optimizer.zero_grad()
            step += 1
        with no_grad():
            scores = model(data.to_inputs(dataset.test_images))
        accuracy = float(np.mean(scores.argmax(axis=1) == dataset.test_labels))
        if accuracy >= goal:
            break
    return accuracy
