"""A training run: its data, network and optimizer, where it stands, and how it is saved and restored."""

from __future__ import annotations

import argparse
import copy
import itertools
import math
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import ranks
from distorted import distorted_epochs
from settings import check_settings

from models.mnist_cnn import MnistCNN, found
from models.mnist_mlp import MnistMLP
from tinygrad_np import Tensor, TinygradNpError, checkpoint, compile, data, files, functional, no_grad, optim
from tinygrad_np.errors import ArgumentError, CheckpointError, DataError, DistributedError

Network = MnistMLP | MnistCNN
MNIST = Path(__file__).resolve().parents[1] / "models" / "data" / "mnist"


def squared_error(scores: Any, labels: np.ndarray) -> Any:
    """Half the squared distance between softmax and the one-hot label, averaged over images (Nielsen 2015, eq. 6)."""
    difference = functional.softmax(scores) - functional.one_hot(labels, scores.shape[1])
    return 0.5 * np.sum(difference * difference) / len(labels)


LOSSES: dict[str, Callable[..., Any]] = {"cross_entropy": functional.cross_entropy, "squared_error": squared_error}


def load_data(config: argparse.Namespace) -> data.Dataset:
    """The data of a run. If it has no test images, the settings get a validation split, to judge the run by.

    Raises a DataError or an ArgumentError if it is none.
    """
    if config.label_column is not None and not config.data:
        raise ArgumentError("--label-column is a column of a CSV file; give the file with --data")
    dataset = read_data(config.data, config.label_column) if config.data else data.load_mnist(MNIST)
    if not len(dataset.test_images) and not config.validation_split:
        config.validation_split = 0.1
    if config.early_stop and not config.validation_split:
        raise ArgumentError("--early-stop goes by the validation accuracy; hold images out with --validation-split 0.1")
    return dataset


def read_data(path: Path | str, label_column: str | None) -> data.Dataset:
    return data.load(path) if label_column is None else data.load(path, label_column)


def default_divisor(images: np.ndarray) -> float:
    """What runs divided pixels by before they had a scale."""
    return 255.0 if images.dtype == np.uint8 else 1.0


class Pixels(NamedTuple):
    """The lowest and the highest value of a run's training images, and what all images are divided by.

    A scale of None stands for the `default_divisor`.
    """

    low: float
    high: float
    scale: float | None

    def divisor(self, images: np.ndarray) -> float:
        return self.scale or default_divisor(images)

    def to_inputs(self, images: np.ndarray) -> np.ndarray:
        """Images as rows of inputs."""
        return data.scale_pixels(images, self.divisor(images))

    def full_ink(self) -> float:
        """The input that the darkest ink of a picture becomes: what the highest pixel in training became.

        Raises an ArgumentError if the pixels go below 0, as standardised ones do: what is ink in them is not known.
        """
        if self.low < 0:
            raise ArgumentError(
                f"the network was trained on pixels from {self.low:g} to {self.high:g}, so it cannot be told what ink "
                "is to it; train it on pixels from 0 up, or give it images as numbers, standardised in the same way"
            )
        return self.high / (self.scale or (255.0 if self.high > 1 else 1.0))


def make_network(
    config: argparse.Namespace, sizes: list[int], image_shape: tuple[int, ...], generator: np.random.Generator | None
) -> Network:
    """The network of a run, from the number of its inputs to that of its classes.

    Raises a DataError if it is for images of another form.
    """
    if config.model == "mlp":
        return MnistMLP(sizes, config.activation, config.dropout, config.init, generator)
    _, *channels, classes = sizes
    if len(image_shape) != 2:
        raise DataError(f"--model cnn needs images of shape (rows, columns), but these have {image_shape}")
    if found(image_shape, channels) <= 0:
        raise DataError(
            f"images of {image_shape[0]} x {image_shape[1]} pixels are too small for {len(channels)} convolutions; "
            "give fewer with --hidden, or use --model mlp"
        )
    return MnistCNN(image_shape, channels, classes, config.activation, config.dropout, config.init, generator)


def make_optimizer(config: argparse.Namespace, model: Network) -> optim.Optimizer:
    parameters = model.parameters()
    if config.optimizer == "sgd":
        return optim.SGD(parameters, config.lr, config.momentum, config.weight_decay, config.nesterov)
    if config.optimizer == "rmsprop":
        return optim.RMSprop(parameters, config.lr, weight_decay=config.weight_decay, momentum=config.momentum)
    kind = optim.AdamW if config.optimizer == "adamw" else optim.Adam
    return kind(parameters, config.lr, weight_decay=config.weight_decay)


def make_schedule(config: argparse.Namespace, steps: int) -> Callable[[int], float]:
    """The learning rate as a function of the step, in a run of so many steps."""
    if config.schedule == "constant":
        return optim.schedules.constant(config.lr)
    if config.schedule == "step":
        return optim.schedules.step(config.lr, max(1, math.ceil(steps / 3)))
    if config.schedule == "cosine":
        return optim.schedules.cosine(config.lr, steps)
    return optim.schedules.one_cycle(config.lr, steps)


@dataclass
class Run:
    """What a run is made of. `progress` says where it stands, and is saved in every checkpoint with the arrays."""

    config: argparse.Namespace
    sizes: list[int]
    model: Network  # the result: it is measured, saved and used
    trained: Network  # what the steps change: the same network, unless `model` averages its weights
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
    pixels: Pixels
    understood: list[str]  # what was understood of the data, in lines to print
    data: int  # the checksum of the dataset
    progress: dict[str, Any]
    started: float = 0.0  # by time.perf_counter(), as if the run had never been stopped
    comm: Any = ranks.ALONE  # what joins this process to the others of mpirun
    other_generators: list[Any] = field(default_factory=list)  # the states of the generators of ranks 1, 2, ...

    def join(self, comm: Any) -> None:
        """Train together with other ranks. From here on dropout and distortions depend on the rank.

        Raises a DistributedError if they do not have the same data.
        """
        self.comm, rank = comm, comm.rank
        others = [i for i, checksum in enumerate(comm.allgather(self.data)) if checksum != self.data]
        if others:
            raise DistributedError(f"ranks {rank} and {others[0]} have other data; give all machines the same files")
        if rank > len(self.other_generators):  # new, or more of them than before
            self.generator.bit_generator.state = np.random.default_rng(
                [self.config.seed, 4, rank, self.progress["step"]]
            ).bit_generator.state
        elif rank:
            self.generator.bit_generator.state = self.other_generators[rank - 1]

    @property
    def part(self) -> tuple[int, int]:
        """Which part of each batch is this rank's, of how many."""
        return self.comm.rank, self.comm.size

    def buffers(self) -> list[np.ndarray]:
        """The arrays beside parameters that a step changes, as the running statistics of batch normalisation."""
        parameters = {id(parameter.data) for parameter in self.trained.parameters()}
        return [array for array in self.trained.state_dict().values() if id(array) not in parameters]

    @property
    def batch_size(self) -> int:
        return min(self.config.batch_size, len(self.images))

    @property
    def is_finished(self) -> bool:
        """Whether no epoch is left to do, or --early-stop ends the run here."""
        patience, epochs = self.config.early_stop, self.progress["epoch"]
        return epochs == self.config.epochs or bool(patience and epochs and epochs - self.best_epoch >= patience)

    @property
    def best_epoch(self) -> int:
        """The number, from 1, of the first epoch with the highest accuracy on the validation images."""
        accuracies = [metrics["validation_accuracy"] for metrics in self.progress["history"]]
        return 1 + accuracies.index(max(accuracies))

    @property
    def steps_an_epoch(self) -> int:
        return math.ceil(len(self.images) / self.batch_size)

    def steps_done(self, epoch: int) -> int:
        """How many steps of this epoch are done: none, unless the run was stopped in the middle of it."""
        return self.progress["step"] - epoch * self.steps_an_epoch

    def schedule(self) -> Callable[[int], float]:
        return make_schedule(self.config, self.config.epochs * self.steps_an_epoch)

    def loss(self, scores: Any, labels: np.ndarray) -> Any:
        """The loss that the settings name, a scalar: of `scores`, shape (N, classes), and `labels`, shape (N,)."""
        if self.config.label_smoothing:
            return functional.cross_entropy(scores, labels, self.config.label_smoothing)
        return LOSSES[self.config.loss](scores, labels)

    def forward(self, images: np.ndarray, labels: np.ndarray) -> tuple[Any, Any]:
        """The loss of a step, and the scores."""
        scores = self.trained(images)
        return self.loss(scores, labels), scores

    @cached_property
    def compiled(self) -> Callable[[np.ndarray, np.ndarray], tuple[Any, Any]]:
        """The same, compiled unless the settings say otherwise."""
        return compile(self.forward) if self.config.compile else self.forward

    def step(self, images: np.ndarray, labels: np.ndarray) -> tuple[Any, Any]:
        """The same, also where this rank has no row of a batch: then the loss is 0, and depends on no parameter."""
        if not len(labels):
            return Tensor(0.0, requires_grad=True), Tensor(np.empty((0, self.sizes[-1])))
        return self.compiled(images, labels)

    def epochs(self) -> Iterator[tuple[int, np.ndarray]]:
        """The epochs still to do: the number of each, and its inputs. Starts the clock. The iterator must be closed.

        There are fewer if the run finishes earlier, by --early-stop.
        """
        self.started = time.perf_counter() - self.progress["seconds"]
        config, numbers = self.config, range(self.progress["epoch"], self.config.epochs)
        left = itertools.takewhile(lambda epoch: not self.is_finished, numbers)
        if not config.distort:
            yield from ((epoch, self.images) for epoch in left)
            return
        how = (config.distort, config.seed, numbers, self.batch_size, self.part)
        with closing(distorted_epochs(self.originals, *how)) as distorted:
            for epoch in left:
                inputs = self.pixels.to_inputs(next(distorted))
                yield epoch, inputs if len(inputs) == len(self.images) else self.placed(inputs, epoch)

    def placed(self, inputs: np.ndarray, epoch: int) -> np.ndarray:
        """The inputs that this rank takes in an epoch, in their places among all. It never looks at the others."""
        every = np.empty_like(self.images)
        every[ranks.rows(len(every), self.batch_size, self.config.seed, epoch, self.part)] = inputs
        return every

    def batches(self, epoch: int, images: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
        """The inputs and labels of each step of an epoch: of each batch, this rank's part."""
        how = {"batch_size": self.batch_size, "seed": self.config.seed, "epoch": epoch, "part": self.part}
        return ranks.batches(images, self.labels, **how)

    def batches_left(self, epoch: int, images: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
        """The batches of an epoch that are still to do: all, unless the run was stopped in the middle of it."""
        return itertools.islice(self.batches(epoch, images), self.steps_done(epoch), None)

    def count(self, loss: Any, scores: Any, labels: np.ndarray) -> tuple[int, float]:
        """Note a step: its loss, and how many of its images were classified correctly. The ranks sum up theirs.

        Returns the number of images in the batch, and the loss.
        """
        scores = scores.numpy()
        plain = total(functional.cross_entropy, scores, labels) if self.config.label_smoothing else 0.0
        correct = np.count_nonzero(scores.argmax(axis=1) == labels)
        sums = ranks.summed(self.comm, len(labels), loss.item() * len(labels), plain, correct)
        images, loss, plain, correct = sums
        self.progress["step"] += 1
        self.progress["loss"] += loss
        self.progress["cross_entropy"] += plain
        self.progress["correct"] += int(correct)
        return int(images), loss / images

    def bring_up_to_date(self) -> None:
        """Note what a checkpoint holds and steps do not count: the time, and the generators of the other ranks."""
        self.progress["seconds"] = time.perf_counter() - self.started
        self.other_generators = self.comm.allgather(self.generator.bit_generator.state)[1:]

    def end_epoch(self) -> None:
        """Measure the model, and add the metrics of the epoch to the history. Each rank measures on a part."""
        progress, images = self.progress, len(self.images)
        checked, labels = next(
            data.batches(self.checked_images, self.checked_labels, batch_size=len(self.checked_labels), part=self.part)
        )
        scores = predict(self.model, checked)
        correct = np.count_nonzero(scores.argmax(axis=1) == labels)
        sums = ranks.summed(self.comm, correct, total(self.loss, scores, labels))
        checked_accuracy, checked_loss = (value / len(self.checked_labels) for value in sums)
        require_finite(checked_loss, self)
        self.bring_up_to_date()
        metrics = {
            "epoch": progress["epoch"] + 1,
            "loss": progress["loss"] / images,
            **({"cross_entropy": progress["cross_entropy"] / images} if self.config.label_smoothing else {}),
            "accuracy": progress["correct"] / images,
            f"{self.checked}_loss": checked_loss,
            f"{self.checked}_accuracy": checked_accuracy,
            "lr": float(self.optimizer.lr),
            "seconds": round(progress["seconds"], 3),
        }
        progress["history"].append(metrics)
        progress.update(epoch=progress["epoch"] + 1, loss=0.0, cross_entropy=0.0, correct=0)

    def judged(self) -> tuple[str, np.ndarray, np.ndarray]:
        """What the result is measured on, with its name: the test images, or those held out if there are none."""
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
                **({"other_generators": self.other_generators} if self.other_generators else {}),
                "progress": self.progress,
                "config": vars(self.config),
                "data": self.data,
                "pixels": self.pixels._asdict(),
                "image_shape": list(self.image_shape),
            },
        )


def total(loss: Callable[..., Any], scores: np.ndarray, labels: np.ndarray) -> float:
    """The sum over rows of a loss that is their mean; 0 for no rows, which have none."""
    return loss(scores, labels).item() * len(labels) if len(labels) else 0.0


def require_finite(loss: float, run: Run) -> None:
    """Stop the run with an ArgumentError, which says what to change, if the loss is not a finite number."""
    if not math.isfinite(loss):
        raise ArgumentError(
            f"the loss became {loss} in epoch {run.progress['epoch'] + 1}, so training stopped; "
            f"lower --lr (now {run.config.lr}), clip gradients with --clip-norm 1, or check the data"
        )


def set_up(config: argparse.Namespace, saved: Mapping[str, Any] | None = None) -> Run:
    """A new run with these settings; or the one that was saved in a checkpoint, before its first step."""
    dataset = load_data(config)
    originals, labels = dataset.train_images[: config.limit], dataset.train_labels[: config.limit]
    if config.distort and originals.ndim != 3:
        raise DataError(f"--distort needs images of shape (rows, columns), but these have {originals.shape[1:]}")
    pixels, certain = find_pixels(config, dataset.train_images, saved)
    images = pixels.to_inputs(originals)
    test_images, test_labels = pixels.to_inputs(dataset.test_images), dataset.test_labels
    checked, checked_images, checked_labels = "test", test_images, test_labels
    if config.validation_split:
        kept, held_out = data.split(len(images), config.validation_split, np.random.default_rng([config.seed, 1]))
        checked, checked_images, checked_labels = "validation", images[held_out], labels[held_out]
        originals, images, labels = originals[kept], images[kept], labels[kept]
    generator = np.random.default_rng(config.seed)
    sizes = [dataset.num_features, *config.hidden, dataset.num_classes]
    trained = make_network(config, sizes, dataset.train_images.shape[1:], generator)
    model = copy.deepcopy(trained) if config.average else trained
    progress = {
        "epoch": 0,
        "step": 0,
        "loss": 0.0,  # and what follows: the sum over the images of the epoch so far
        "cross_entropy": 0.0,  # without label smoothing, which hides how low it is
        "correct": 0,
        "seconds": 0.0,
        "history": [],
    }
    return Run(
        config=config,
        sizes=sizes,
        model=model,
        trained=trained,
        optimizer=make_optimizer(config, trained),
        generator=generator,
        originals=originals,
        images=images,
        labels=labels,
        checked=checked,
        checked_images=checked_images,
        checked_labels=checked_labels,
        test_images=test_images,
        test_labels=test_labels,
        image_shape=dataset.train_images.shape[1:],
        pixels=pixels,
        understood=understanding(config, dataset, pixels, certain),
        data=checksum(dataset),
        progress=progress,
    )


def find_folder(path: Path, kind: str = "run", maker: str = "train.py", file: str = "last.safetensors") -> Path:
    """The folder of a run, given it or a file in it. Raises an ArgumentError if `path` is neither.

    All scripts that take the folder of a run, or of another `kind`, check it here, and so they say the same.
    """
    folder = path.parent if path.is_file() else path
    if not (folder / file).is_file():
        beside = f"a file without {file} beside it" if path.is_file() else f"it has no {file}"
        problem = beside if folder.is_dir() else "there is nothing" if not folder.exists() else "it is no folder"
        raise ArgumentError(f"{path} is not the folder of a {kind}: {problem}; give one that {maker} has made")
    return folder


def find_checkpoint(path: Path, name: str | None = None) -> Path:
    """The file of a run's checkpoint, for the scripts that use a network that was trained.

    Args:
        path: the run's folder, or the file of a checkpoint.
        name: "last" or "best". If it is not given, it is the best if the run held out images to tell which that is, and
            else the last.

    Raises:
        ArgumentError: `path` is neither, or is a file although a name is given.
    """
    if path.is_file():
        if name:
            raise ArgumentError(f"{path} is one checkpoint already; to choose by name, give its folder, {path.parent}")
        return path
    last, best = (find_folder(path) / f"{which}.safetensors" for which in ("last", "best"))
    if name or not best.exists():
        return best if name == "best" else last
    saved = checkpoint.load(last)
    with named_in_errors(last):
        return best if saved["config"]["validation_split"] else last


def describe(file: Path) -> str:
    """Say in a few words which run a checkpoint is of, and after how many epochs."""
    saved = checkpoint.load(file)
    with named_in_errors(file):
        return f"{file.parent} ({file.name}, after {saved['progress']['epoch']} of {saved['config']['epochs']} epochs)"


def restore(path: Path, comm: Any = ranks.ALONE) -> Run:
    """The run in a checkpoint, or, given its folder, in the last one there. Of several ranks, the first reads it."""
    path, saved = comm.bcast(load_last(path) if comm.rank == 0 else None)
    with named_in_errors(path):
        config = argparse.Namespace(**saved["config"])
        if not hasattr(config, "label_column"):  # the run was begun when the labels were always in the first column
            config.label_column = "first" if config.data and data.is_csv(config.data) else None
            config.scale = None
        if not hasattr(config, "compile"):  # begun before steps could be compiled
            config.compile = False
        if not hasattr(config, "early_stop"):
            config.early_stop = None
        if not hasattr(config, "model"):  # begun when there was but one
            config.model = "mlp"
        check_settings(config)
        hidden = layer_sizes(saved["model"])[:-1]
        if config.hidden != hidden:  # checked before the network is made, which could be of any size
            raise CheckpointError(f"its settings have hidden layers of {config.hidden}, but its weights of {hidden}")
        run = set_up(config, saved)
        if saved["data"] != run.data:
            raise CheckpointError("the data is not what this run was trained on before")
        run.model.load_state_dict(saved["model"])
        if run.config.average:
            run.trained.load_state_dict(saved["trained"])
        run.optimizer.load_state_dict(saved["optimizer"])
        run.other_generators = list(saved.get("other_generators", []))
        for state in (*run.other_generators, saved["generator"]):  # each is tried, before a rank relies on it
            run.generator.bit_generator.state = state
        progress = {"cross_entropy": 0.0, **saved["progress"]}  # runs that were begun earlier have none
        run.progress = {key: type(value)(progress[key]) for key, value in run.progress.items()}
        check_progress(run)
    return run


def load_last(path: Path) -> tuple[Path, dict[str, Any]]:
    """A checkpoint, or the last one in the folder of a run: its file, and what it holds."""
    try:
        path = path if path.is_file() else find_checkpoint(path, "last")
    except ArgumentError as error:
        if path.is_dir():  # the run may have been killed before its first checkpoint
            raise ArgumentError(f"{error}, or start the run with --out {path}") from None
        raise
    return path, checkpoint.load(path)


def find_pixels(config: argparse.Namespace, images: np.ndarray, saved: Mapping[str, Any] | None) -> tuple[Pixels, bool]:
    """The pixels of all training images, and whether what to divide them by is certain."""
    scale, certain = data.find_scale(images)
    if saved is not None:
        pixels = saved_pixels(saved)
        scale, certain = (pixels.scale, certain) if pixels else (None, True)
    if config.scale:
        scale, certain = config.scale, True
    return Pixels(float(images.min()), float(images.max()), scale), certain


def saved_pixels(saved: Mapping[str, Any]) -> Pixels | None:
    """The pixels of a saved run. None, if it was begun before runs noted them."""
    if "pixels" not in saved:
        return None
    low, high, scale = (saved["pixels"][name] for name in Pixels._fields)
    if not (type(low) is type(high) is float and math.isfinite(low) and low <= high < math.inf):
        raise ValueError(f"pixels from {low} to {high}")
    if scale is not None and not (type(scale) is float and 0 < scale < math.inf):
        raise ValueError(f"pixels divided by {scale}")
    return Pixels(low, high, scale)


def understanding(config: argparse.Namespace, dataset: data.Dataset, pixels: Pixels, certain: bool) -> list[str]:
    """What was understood of the data, in lines: the images and their classes, the notes of the reader, the pixels.

    Raises a DataError if the labels in use are all the same, or the test images have another range than the others.
    """
    images, labels = dataset.train_images[: config.limit], dataset.train_labels[: config.limit]
    if len(labels) > 1 and labels.min() == labels.max():
        raise DataError(
            f"{config.data}: the first {len(labels)} images are all of class {labels[0]}; "
            "shuffle the images, or raise --limit"
        )
    shape = images.shape[1:]
    size = f"{' x '.join(map(str, shape))} pixels" if len(shape) > 1 else f"{shape[0]} values each"
    tests = (
        f" and {len(dataset.test_images):,} test images" if len(dataset.test_images) else " images, none for testing"
    )
    divisor = pixels.divisor(images)
    outside = None
    if len(dataset.test_images):
        source = f"{config.data or 'MNIST'}: test images"
        outside = data.check_range(dataset.test_images, pixels.low, pixels.high, divisor, source)
    return [
        f"data: {len(images):,} training{tests}, of {size}; {data.describe_classes(labels)}",
        *dataset.notes,
        "pixels: " + data.describe_pixels(images, divisor, certain),
        *([f"pixels of {outside}"] if outside else []),
        *(
            []
            if len(dataset.test_images)
            else [f"held out, to judge the run by: {config.validation_split:.0%} of them"]
        ),
    ]


def check_progress(run: Run) -> None:
    """Raise a ValueError if the run does not stand between its start and its end."""
    epoch, loss, plain, correct, seconds, history = (
        run.progress[key] for key in ("epoch", "loss", "cross_entropy", "correct", "seconds", "history")
    )
    measured = {"loss", f"{run.checked}_accuracy"}
    if not (
        0 <= run.steps_done(epoch) <= run.steps_an_epoch
        and 0 <= epoch == len(history) <= run.config.epochs
        and 0 <= correct <= len(run.images)
        and 0 <= seconds < math.inf
        and math.isfinite(loss)
        and math.isfinite(plain)
        and all(measured <= line.keys() and all(type(x) in (int, float) for x in line.values()) for line in history)
    ):
        raise ValueError(f"it stands nowhere in the run: {run.progress}")


def weight_shapes(weights: Mapping[str, np.ndarray]) -> list[tuple[int, ...]]:
    return [array.shape for name, array in weights.items() if name.endswith(".weight")]


def layer_sizes(weights: Mapping[str, np.ndarray]) -> list[int]:
    """The number of outputs of each layer of a network with these weights, or filters of a convolution."""
    return [outputs for outputs, *_ in weight_shapes(weights)]


def load_model(path: Path) -> tuple[Network, list[int]]:
    """The network in a checkpoint of a run, and the sizes of its layers. The run's data is not needed."""
    saved = checkpoint.load(path)
    with named_in_errors(path):
        config = argparse.Namespace(**{"model": "mlp", **saved["config"]})
        shapes, image_shape = weight_shapes(saved["model"]), tuple(saved.get("image_shape", ()))
        sizes = [shapes[0][1], *layer_sizes(saved["model"])]
        if config.model == "cnn":
            expected = found(image_shape, sizes[1:-1])
            if expected != shapes[-1][1]:  # checked before the network is made, which could be of any size
                raise ValueError(f"images of {image_shape} give {expected} numbers, but its last layer takes others")
            sizes[0] = math.prod(image_shape)
        model = make_network(config, sizes, image_shape, None)
        model.load_state_dict(saved["model"])
    return model, sizes


def load_pixels(path: Path) -> Pixels | None:
    """The pixels of the run in a checkpoint. None, if it was begun before runs noted them."""
    saved = checkpoint.load(path)
    with named_in_errors(path):
        return saved_pixels(saved)


@contextmanager
def named_in_errors(path: Path) -> Iterator[None]:
    """Name the checkpoint in errors that come of its content, unless they are about another file."""
    try:
        yield
    except DataError:
        raise
    except TinygradNpError as error:
        raise CheckpointError(f"{str(path)!r}: {error}") from error
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else files.reason(error)
        raise CheckpointError(f"{str(path)!r} is not a checkpoint of a training run: {reason}") from error


def checksum(dataset: data.Dataset) -> int:
    """A number that differs between datasets, so that a run is resumed with its own."""
    value = 0
    for array in (dataset.train_images, dataset.train_labels, dataset.test_images, dataset.test_labels):
        value = zlib.crc32(
            np.ascontiguousarray(array).view(np.uint8).data, zlib.crc32(str(array.shape).encode(), value)
        )
    return value


def as_inputs(
    images: np.ndarray, pixels: Pixels | None, scale: float | None, source: Path
) -> tuple[np.ndarray, list[str]]:
    """Other images than a run's own as inputs for its network, and what was understood of their pixels, in lines.

    They are divided by what the run's images were, or by `scale`. Raises a DataError if their range is another.
    """
    divisor = scale or (pixels.divisor(images) if pixels else default_divisor(images))
    lines = [f"pixels: {data.describe_pixels(images, divisor)}"]
    if pixels and not scale:
        outside = data.check_range(images, pixels.low, pixels.high, divisor, str(source))
        lines += [f"pixels of {outside}"] if outside else []
    return data.scale_pixels(images, divisor), lines


def predict(model: Network, images: np.ndarray) -> np.ndarray:
    """The model's scores for every image, shape (N, classes), without dropout."""
    model.eval()
    with no_grad():
        scores = [model(images[start : start + 1000]).numpy() for start in range(0, max(1, len(images)), 1000)]
    model.train()
    return np.concatenate(scores)


def evaluate(model: Network, images: np.ndarray, labels: np.ndarray) -> int:
    """The number of images whose highest score is that of the right class."""
    return int(np.count_nonzero(predict(model, images).argmax(axis=1) == labels))
