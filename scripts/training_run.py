"""What a training run is made of, and how it is restored from its folder."""

from __future__ import annotations

import argparse
import copy
import math
import shlex
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from distorted import distorted_epochs

import tinygrad_np
from models.mnist_mlp import MnistMLP
from tinygrad_np import TinygradNpError, checkpoint, data, files, functional, no_grad, optim
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
    model: MnistMLP  # what is judged, saved and used
    trained: MnistMLP  # what the steps change: the same, unless `model` is to be the average of its weights
    optimizer: optim.Optimizer
    generator: np.random.Generator
    originals: np.ndarray  # the training images as the dataset has them
    images: np.ndarray  # the same as inputs
    labels: np.ndarray
    checked: str  # which images the accuracy after each epoch is measured on: "validation" or "test"
    checked_images: np.ndarray
    checked_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    image_shape: tuple[int, ...]  # of one image, before its pixels became a row
    data: int  # the checksum of the dataset
    progress: dict[str, Any]

    def loss(self, scores: Any, labels: np.ndarray) -> Any:
        """The loss that the settings name, a scalar."""
        if self.config.label_smoothing:
            return functional.cross_entropy(scores, labels, self.config.label_smoothing)
        return LOSSES[self.config.loss](scores, labels)

    def epochs(self) -> Iterator[tuple[int, np.ndarray]]:
        """The epochs to come: their numbers, and the inputs to train on in each of them. Close the iterator."""
        config, numbers = self.config, range(self.progress["epoch"], self.config.epochs)
        if not config.distort:
            yield from ((epoch, self.images) for epoch in numbers)
            return
        with closing(distorted_epochs(self.originals, config.distort, config.seed, numbers)) as distorted:
            for epoch in numbers:
                yield epoch, data.to_inputs(next(distorted))

    def batches(self, epoch: int, images: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
        """The inputs and labels of each step of an epoch, shuffled by the seed and the epoch's number."""
        size = min(self.config.batch_size, len(images))
        generator = np.random.default_rng([self.config.seed, 2, epoch])
        # In a batch of all images the order is nothing but the time to copy them.
        shuffling = generator if size < len(images) else None
        return data.batches(images, self.labels, batch_size=size, generator=shuffling)

    def judged(self) -> tuple[str, np.ndarray, np.ndarray]:
        """What the result is measured on: the test images, or those held out if there are none; with their name."""
        if len(self.test_images):
            return "test", self.test_images, self.test_labels
        return self.checked, self.checked_images, self.checked_labels

    def save(self, path: Path) -> None:
        checkpoint.save(
            path,
            {
                "model": self.model.state_dict(),
                **({"trained": self.trained.state_dict()} if self.config.average else {}),
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
    originals, labels = dataset.train_images[: config.limit], dataset.train_labels[: config.limit]
    if config.distort and originals.ndim != 3:
        raise DataError(f"--distort needs images of shape (rows, columns), but these have {originals.shape[1:]}")
    images = data.to_inputs(originals)
    test_images, test_labels = data.to_inputs(dataset.test_images), dataset.test_labels
    checked, checked_images, checked_labels = "test", test_images, test_labels
    if config.validation_split:
        kept, held_out = data.split(len(images), config.validation_split, np.random.default_rng([config.seed, 1]))
        checked, checked_images, checked_labels = "validation", images[held_out], labels[held_out]
        originals, images, labels = originals[kept], images[kept], labels[kept]
    generator = np.random.default_rng(config.seed)
    sizes = [dataset.num_features, *config.hidden, dataset.num_classes]
    trained = MnistMLP(sizes, config.activation, config.dropout, config.init, generator)
    model = copy.deepcopy(trained) if config.average else trained
    progress = {"epoch": 0, "step": 0, "loss": 0.0, "correct": 0, "seconds": 0.0, "history": []}
    return Run(
        config,
        sizes,
        model,
        trained,
        make_optimizer(config, trained),
        generator,
        originals,
        images,
        labels,
        checked,
        checked_images,
        checked_labels,
        test_images,
        test_labels,
        dataset.train_images.shape[1:],
        checksum(dataset),
        progress,
    )


def restore(folder: Path, name: str = "last") -> Run:
    """The run in a folder, as its last checkpoint has it, or its best."""
    path = folder / f"{name}.safetensors"
    if not path.exists():
        raise CheckpointError(
            f"{folder} holds no run to go on with, for it has no {path.name}; check the path, or start the run "
            f"with --out {shlex.quote(str(folder))}"
        )
    saved = checkpoint.load(path)
    with named_in_errors(path):
        config = argparse.Namespace(**saved["config"])
        check_settings(config)
        hidden = layer_sizes(saved["model"])[1:-1]
        if config.hidden != hidden:  # before such a network is made, for it may be one of any size
            raise CheckpointError(f"its settings have hidden layers of {config.hidden}, but its weights of {hidden}")
        run = set_up(config)
        if saved["data"] != run.data:
            raise CheckpointError("the data is not what this run was trained on before")
        run.model.load_state_dict(saved["model"])
        if run.config.average:
            run.trained.load_state_dict(saved["trained"])
        run.optimizer.load_state_dict(saved["optimizer"])
        run.generator.bit_generator.state = saved["generator"]
        run.progress = {key: type(value)(saved["progress"][key]) for key, value in run.progress.items()}
        check_progress(run)
    return run


def check_settings(config: argparse.Namespace) -> None:
    """Raises ValueError for settings that train.py does not take and that would not be refused before it trains."""
    counts = [config.epochs, config.batch_size, 1 if config.limit is None else config.limit, *config.hidden]
    numbers = [config.lr, config.momentum, config.weight_decay, config.clip_norm or 0, config.distort, config.average]
    numbers += [config.dropout, config.label_smoothing, config.validation_split]
    names = [config.activation, config.init, config.loss, config.optimizer, config.schedule]
    if not (
        all(type(value) is int and 0 < value < 10**9 for value in counts)
        and all(type(value) in (int, float) and 0 <= value < 10**9 for value in numbers)
        and all(type(value) is str for value in names)
        and type(config.seed) is int
    ):
        raise ValueError(f"not the settings of a run: {vars(config)}")


def check_progress(run: Run) -> None:
    """Raises ValueError if the run stands nowhere between its start and its end."""
    epoch, step, loss, correct, seconds, history = (
        run.progress[key] for key in ("epoch", "step", "loss", "correct", "seconds", "history")
    )
    steps_an_epoch = math.ceil(len(run.images) / min(run.config.batch_size, len(run.images)))
    measured = {"loss", f"{run.checked}_accuracy"}
    if not (
        epoch * steps_an_epoch <= step <= (epoch + 1) * steps_an_epoch
        and 0 <= epoch == len(history) <= run.config.epochs
        and 0 <= correct <= len(run.images)
        and 0 <= seconds < math.inf
        and math.isfinite(loss)
        and all(measured <= line.keys() and all(type(x) in (int, float) for x in line.values()) for line in history)
    ):
        raise ValueError(f"it stands nowhere in the run: {run.progress}")


def layer_sizes(weights: Mapping[str, np.ndarray]) -> list[int]:
    """The number of inputs of a network with these weights, and then those of the outputs of its layers."""
    shapes = [array.shape for name, array in weights.items() if name.endswith(".weight")]
    return [shapes[0][1], *(outputs for outputs, _ in shapes)]


def load_model(path: Path) -> tuple[MnistMLP, list[int]]:
    """The network in a checkpoint of a run, and the sizes of its layers. It needs none of the run's data."""
    saved = checkpoint.load(path)
    with named_in_errors(path):
        config = argparse.Namespace(**saved["config"])
        sizes = layer_sizes(saved["model"])
        model = MnistMLP(sizes, config.activation, config.dropout)
        model.load_state_dict(saved["model"])
    return model, sizes


@contextmanager
def named_in_errors(path: Path) -> Iterator[None]:
    """Turns what a checkpoint of something else leads to into an error that names it, if it names no other file."""
    try:
        yield
    except DataError:
        raise
    except TinygradNpError as error:
        raise CheckpointError(f"{str(path)!r}: {error}") from error
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(f"{str(path)!r} is not a checkpoint of a training run: {files.reason(error)}") from error


def draw_step(
    run: Run, values: bool = False, costs: bool = False, depth: int | None = None
) -> tinygrad_np.visualize.Drawing:
    """A drawing of the training step that the run begins with, which leaves the run as it was."""
    generator = run.generator.bit_generator.state  # dropout draws from it
    images, labels = next(run.batches(0, run.images))
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


def predict(model: MnistMLP, images: np.ndarray) -> np.ndarray:
    """The model's scores for every image, shape (N, classes), without dropout."""
    model.eval()
    with no_grad():
        scores = [model(images[start : start + 1000]).numpy() for start in range(0, len(images), 1000)]
    model.train()
    return np.concatenate(scores)


def evaluate(model: MnistMLP, images: np.ndarray, labels: np.ndarray) -> int:
    """How many images the model gives its highest score to the right class."""
    return int(np.count_nonzero(predict(model, images).argmax(axis=1) == labels))
