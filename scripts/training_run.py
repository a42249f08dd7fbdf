"""What a training run is made of, and how it is restored from its folder."""

from __future__ import annotations

import argparse
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_np
from models.mnist_mlp import MnistMLP
from tinygrad_np import TinygradNpError, checkpoint, data, functional, no_grad, optim
from tinygrad_np.errors import CheckpointError, DataError

MNIST = Path(__file__).resolve().parents[1] / "models" / "data" / "mnist"


def squared_error(scores: Any, labels: np.ndarray) -> Any:
    """The mean over images of half the squared distance of softmax to the one-hot label (Nielsen 2015, eq. 6)."""
    difference = functional.softmax(scores) - functional.one_hot(labels, scores.shape[1])
    return 0.5 * np.sum(difference * difference) / len(labels)


LOSSES: dict[str, Callable[..., Any]] = {"cross_entropy": functional.cross_entropy, "squared_error": squared_error}


def load_data(config: argparse.Namespace) -> data.Dataset:
    dataset = data.load(config.data) if config.data else data.load_mnist(MNIST)
    if not len(dataset.test_images) and not config.validation_split:
        raise DataError(f"{config.data} has no test images; hold some training images out with --validation-split 0.1")
    return dataset


def make_optimizer(config: argparse.Namespace, model: MnistMLP) -> optim.Optimizer:
    parameters = model.parameters()
    if config.optimizer == "sgd":
        return optim.SGD(parameters, config.lr, config.momentum, config.weight_decay, config.nesterov)
    if config.optimizer == "rmsprop":
        return optim.RMSprop(parameters, config.lr, weight_decay=config.weight_decay, momentum=config.momentum)
    kind = optim.AdamW if config.optimizer == "adamw" else optim.Adam
    return kind(parameters, config.lr, weight_decay=config.weight_decay)


def make_schedule(config: argparse.Namespace, steps: int) -> Callable[[int], float]:
    if config.schedule == "constant":
        return optim.schedules.constant(config.lr)
    if config.schedule == "step":
        return optim.schedules.step(config.lr, max(1, math.ceil(steps / 3)))
    if config.schedule == "cosine":
        return optim.schedules.cosine(config.lr, steps)
    return optim.schedules.one_cycle(config.lr, steps)


@dataclass
class Run:
    """What a run is made of. Its `progress` says where it stands and, with the arrays, is in every checkpoint."""

    config: argparse.Namespace
    sizes: list[int]
    model: MnistMLP
    optimizer: optim.Optimizer
    generator: np.random.Generator
    images: np.ndarray
    labels: np.ndarray
    checked: str  # which images the accuracy after each epoch is measured on: "validation" or "test"
    checked_images: np.ndarray
    checked_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    data: int  # the checksum of the dataset
    progress: dict[str, Any]

    def loss(self, scores: Any, labels: np.ndarray) -> Any:
        """The loss that the settings name, a scalar."""
        if self.config.label_smoothing:
            return functional.cross_entropy(scores, labels, self.config.label_smoothing)
        return LOSSES[self.config.loss](scores, labels)

    def save(self, path: Path) -> None:
        checkpoint.save(
            path,
            {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "generator": self.generator.bit_generator.state,
                "progress": self.progress,
                "config": vars(self.config),
                "data": self.data,
            },
        )


def set_up(config: argparse.Namespace) -> Run:
    """A new run, as its settings say."""
    dataset = load_data(config)
    images, labels = data.to_inputs(dataset.train_images[: config.limit]), dataset.train_labels[: config.limit]
    test_images, test_labels = data.to_inputs(dataset.test_images), dataset.test_labels
    checked, checked_images, checked_labels = "test", test_images, test_labels
    if config.validation_split:
        kept, held_out = data.split(len(images), config.validation_split, np.random.default_rng([config.seed, 1]))
        checked, checked_images, checked_labels = "validation", images[held_out], labels[held_out]
        images, labels = images[kept], labels[kept]
    generator = np.random.default_rng(config.seed)
    sizes = [dataset.num_features, *config.hidden, dataset.num_classes]
    model = MnistMLP(sizes, config.activation, config.dropout, config.init, generator)
    progress = {"epoch": 0, "step": 0, "loss": 0.0, "correct": 0, "seconds": 0.0, "history": []}
    return Run(
        config,
        sizes,
        model,
        make_optimizer(config, model),
        generator,
        images,
        labels,
        checked,
        checked_images,
        checked_labels,
        test_images,
        test_labels,
        checksum(dataset),
        progress,
    )


def restore(folder: Path) -> Run:
    """The run in a folder, as its last checkpoint has it."""
    path = folder / "last.safetensors"
    saved = checkpoint.load(path)
    try:
        run = set_up(argparse.Namespace(**saved["config"]))
        if saved["data"] != run.data:
            raise DataError("the data is not what this run was trained on before")
        run.model.load_state_dict(saved["model"])
        run.optimizer.load_state_dict(saved["optimizer"])
        run.generator.bit_generator.state = saved["generator"]
        run.progress = {key: type(value)(saved["progress"][key]) for key, value in run.progress.items()}
        if not 0 <= run.progress["epoch"] <= run.progress["step"]:
            raise ValueError("it stands nowhere in the run")
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, TinygradNpError):
            raise
        raise CheckpointError(f"{path} is not a checkpoint of a training run: {error!r}") from error
    return run


def draw_step(
    run: Run, values: bool = False, costs: bool = False, depth: int | None = None
) -> tinygrad_np.visualize.Drawing:
    """A drawing of the training step that the run begins with, which leaves the run as it was."""
    generator = run.generator.bit_generator.state  # dropout draws from it
    batches = data.batches(
        run.images,
        run.labels,
        batch_size=min(run.config.batch_size, len(run.images)),
        generator=np.random.default_rng([run.config.seed, 2, 0]),
    )
    images, labels = next(iter(batches))
    if costs:
        run.loss(run.model(images), labels).backward()  # the first step of a process is slower than others
    with tinygrad_np.debug.profile() if costs else tinygrad_np.debug.trace():
        loss = run.loss(run.model(images), labels)
        loss.backward()
    run.model.zero_grad()
    run.generator.bit_generator.state = generator
    return tinygrad_np.visualize.draw(loss, run.model, values=values, costs=costs, depth=depth)


def checksum(dataset: data.Dataset) -> int:
    """Tells one dataset from another, so that a run is resumed with its own."""
    value = 0
    for array in (dataset.train_images, dataset.train_labels, dataset.test_images, dataset.test_labels):
        value = zlib.crc32(
            np.ascontiguousarray(array).view(np.uint8).data, zlib.crc32(str(array.shape).encode(), value)
        )
    return value


def evaluate(model: MnistMLP, images: np.ndarray, labels: np.ndarray) -> int:
    """How many images the model gives its highest score to the right class."""
    model.eval()
    with no_grad():
        correct = sum(
            int(np.count_nonzero(model(some).argmax(axis=1) == truth))
            for some, truth in data.batches(images, labels, batch_size=1000)
        )
    model.train()
    return correct
