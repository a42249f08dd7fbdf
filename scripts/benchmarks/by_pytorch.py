"""PyTorch, eager: modules and optimizers with the settings that are fastest on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mnist
import numpy as np
import torch
from torch import nn
from torch.nn import functional

Array = np.ndarray


def batch(images: Array, labels: Array) -> tuple[Any, Any]:
    return torch.from_numpy(images), torch.from_numpy(labels)


def network(sizes: list[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i in range(len(sizes) - 1):
        layers += [nn.Linear(sizes[i], sizes[i + 1]), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def training(weights: list[Array], lr: float) -> tuple[Callable[[Any, Any], Any], Callable[[], list[Array]]]:
    model = network([weights[0].shape[1], *map(len, weights[::2])])
    model.load_state_dict({key: torch.from_numpy(w) for key, w in zip(model.state_dict(), weights, strict=True)})
    optimizer = torch.optim.SGD(model.parameters(), lr)

    def step(images: Any, labels: Any) -> Any:
        loss = functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss

    return step, lambda: [parameter.detach().numpy() for parameter in model.parameters()]


def chain(x: Any, y: Any, rounds: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    x, y = torch.from_numpy(x).requires_grad_(), torch.from_numpy(y).requires_grad_()

    def forward() -> Any:
        z = x
        for _ in range(rounds):
            z = torch.tanh(z * y + x).clamp(min=0.1)
        return z.sum()

    return forward, lambda: torch.autograd.grad(forward(), [x, y])


def convolution(images: Array, weight: Array, bias: Array) -> Callable[[], Any]:
    x, *parameters = map(torch.from_numpy, (images, weight.copy(), bias.copy()))
    for parameter in parameters:
        parameter.requires_grad_()
    return lambda: torch.autograd.grad(torch.relu(functional.conv2d(x, *parameters)).mean(), parameters)


def adam(
    weights: list[Array], gradients: list[Array], lr: float
) -> tuple[Callable[[], Any], Callable[[], list[Array]]]:
    parameters = [torch.tensor(weight, requires_grad=True) for weight in weights]
    optimizer = torch.optim.Adam(parameters, lr, fused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = torch.from_numpy(gradient)
    return optimizer.step, lambda: [parameter.detach().numpy() for parameter in parameters]


def reach(goal: float, hidden: list[int], batch_size: int, epochs: int, lr: float, seed: int) -> float:
    """Train until the accuracy on the test images, measured after each epoch, is `goal`; returns the accuracy.

    The first optimizer in a process imports PyTorch's compiler, which takes about as long as importing PyTorch. That
    time counts, since everybody who uses torch.optim waits for it.
    """
    torch.manual_seed(seed)
    (images, labels), (test_images, test_labels) = (
        map(torch.from_numpy, mnist.load(part)) for part in ("train", "t10k")
    )
    model = network([784, *hidden, 10])
    optimizer = torch.optim.Adam(model.parameters(), lr, fused=True)
    steps = epochs * -(-len(images) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, steps, cycle_momentum=False)
    accuracy = 0.0
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(batch_size):
            inputs = images[rows].float().div_(255)
            functional.cross_entropy(model(inputs), labels[rows], label_smoothing=0.1).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            schedule.step()
        with torch.inference_mode():
            scores = model(test_images.float().div_(255))
        accuracy = float((scores.argmax(dim=1) == test_labels).float().mean())
        if accuracy >= goal:
            break
    return accuracy
