"""Train the multilayer perceptron of models/mnist_mlp.py, on MNIST or on other images.

With no arguments it trains the default network on all of MNIST, which comes with the repository, and ends with the
accuracy on the 10,000 test images. A run leaves a folder: config.json, metrics.jsonl (a line an epoch), and the
checkpoints last.safetensors and best.safetensors.
"""

import argparse
import itertools
import json
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # models/ is part of the repository, not of the installed package

import numpy as np  # noqa: E402
from tqdm import tqdm  # noqa: E402

from models.mnist_mlp import ACTIVATIONS, INITIALISERS, MnistMLP  # noqa: E402
from tinygrad_np import TinygradNpError, checkpoint, data, functional, no_grad, optim  # noqa: E402
from tinygrad_np.errors import ArgumentError, CheckpointError, DataError  # noqa: E402
from tinygrad_np.files import write_atomically  # noqa: E402

MNIST = ROOT / "models" / "data" / "mnist"


def squared_error(scores: Any, labels: np.ndarray) -> Any:
    """The mean over images of half the squared distance between softmax and the one-hot label (Nielsen 2015, eq. 6)."""
    difference = functional.softmax(scores) - functional.one_hot(labels, scores.shape[1])
    return 0.5 * np.sum(difference * difference) / len(labels)


LOSSES: dict[str, Callable[..., Any]] = {"cross_entropy": functional.cross_entropy, "squared_error": squared_error}


# The command line


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see --help)\n")


def number(kind: type, low: float, high: float = math.inf, low_included: bool = True) -> Callable[[str], Any]:
    """A parser of numbers in a range, for argparse."""
    name = "a whole number" if kind is int else "a number"
    bounds = f"{'at least' if low_included else 'more than'} {low}" + (
        f" and less than {high}" if high < math.inf else ""
    )

    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not (low <= value < high and (low_included or value > low)):
            raise argparse.ArgumentTypeError(f"{text!r} is not {name} {bounds}")
        return value

    return parse


positive, count, share = number(float, 0, low_included=False), number(int, 1), number(float, 0, 1)


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="train.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  train.py                                          the default: 98.3%% or more in a few seconds\n"
        "  train.py --hidden 512 128 64 --dropout 0.2        a deeper network\n"
        "  train.py --optimizer sgd --lr 0.1 --momentum 0.9 --schedule constant\n"
        "  train.py --data fashion-mnist/ --validation-split 0.1\n"
        "  train.py --resume runs/20260101-120000            go on where an interrupted run stopped",
    )
    group = parser.add_argument_group("network")
    group.add_argument("--hidden", type=count, nargs="*", default=[512], metavar="N", help="sizes of the hidden layers")
    group.add_argument("--activation", choices=sorted(ACTIVATIONS), default="relu")
    group.add_argument("--init", choices=sorted(INITIALISERS), default="pytorch", help="how the weights start")
    group.add_argument(
        "--dropout", type=share, default=0.0, metavar="P", help="share of hidden units dropped in training"
    )

    group = parser.add_argument_group("training")
    group.add_argument(
        "--loss", choices=sorted(LOSSES), default="cross_entropy", help="squared_error is that of softmax"
    )
    group.add_argument("--label-smoothing", type=share, metavar="S", help="for cross_entropy (0.1)")
    group.add_argument("--optimizer", choices=["adam", "adamw", "rmsprop", "sgd"], default="adam")
    group.add_argument(
        "--lr", type=positive, help="learning rate; the highest one, if a schedule changes it (0.1 for sgd, else 0.004)"
    )
    group.add_argument("--momentum", type=share, default=0.0, metavar="M", help="for sgd and rmsprop")
    group.add_argument("--nesterov", action="store_true", help="Nesterov's momentum, for sgd")
    group.add_argument("--weight-decay", type=number(float, 0), default=0.0, metavar="W")
    group.add_argument("--clip-norm", type=positive, metavar="NORM", help="clip gradients to this global norm")
    group.add_argument(
        "--schedule",
        choices=["constant", "step", "cosine", "one_cycle"],
        default="one_cycle",
        help="of the learning rate: step divides it by 10 after each third of the run, cosine lowers it to 0, "
        "one_cycle raises it for the first 30%% and then lowers it",
    )
    group.add_argument("--epochs", type=count, default=6, metavar="N", help="passes through the training images")
    group.add_argument(
        "--batch-size", type=count, default=128, metavar="N", help="images a step; more than there are: all"
    )
    group.add_argument(
        "--seed", type=number(int, 0), default=0, metavar="N", help="the same seed gives the same numbers"
    )

    group = parser.add_argument_group("data and files")
    group.add_argument(
        "--data",
        metavar="PATH",
        help="a folder of IDX files (plain or gzip'd) or with a train.csv, a .csv file (label,pixel0,...), "
        "or an .npz file as Keras has them; the MNIST of this repository if not given",
    )
    group.add_argument("--limit", type=count, metavar="N", help="use the first N training images only")
    group.add_argument(
        "--validation-split", type=share, default=0.0, metavar="P", help="share of training images held out"
    )
    group.add_argument("--out", type=Path, metavar="DIR", help="the run's folder, to be made (runs/DATE-TIME)")
    group.add_argument(
        "--resume", type=Path, metavar="DIR", help="go on with the run in this folder, with its settings"
    )

    parsed = parser.parse_args(arguments)
    if parsed.resume:
        given = sys.argv[1:] if arguments is None else arguments
        flags = [flag for flag in given if flag.startswith("--") and not "--resume".startswith(flag.split("=")[0])]
        if flags:
            parser.error(f"--resume takes all settings from the run's folder, so {flags[0]} cannot be given with it")
        return parsed
    if parsed.nesterov and not (parsed.optimizer == "sgd" and parsed.momentum):
        parser.error("--nesterov needs --optimizer sgd and a --momentum above 0")
    if parsed.momentum and parsed.optimizer not in ("sgd", "rmsprop"):
        parser.error(f"--momentum is for sgd and rmsprop, not for {parsed.optimizer}")
    if parsed.label_smoothing and parsed.loss != "cross_entropy":
        parser.error("--label-smoothing is for --loss cross_entropy")
    if parsed.label_smoothing is None:
        parsed.label_smoothing = 0.1 if parsed.loss == "cross_entropy" else 0.0
    if parsed.lr is None:
        parsed.lr = 0.1 if parsed.optimizer == "sgd" else 0.004
    if parsed.data:
        parsed.data = str(Path(parsed.data).resolve())
    return parsed


# What a run is made of


def load_data(config: argparse.Namespace) -> data.Dataset:
    dataset = data.load(config.data) if config.data else data.load_mnist(MNIST)
    if not len(dataset.test_images) and not config.validation_split:
        raise DataError(f"{config.data} has no test images; hold some training images out with --validation-split 0.1")
    return dataset


def read_checkpoint(folder: Path) -> dict[str, Any]:
    """The contents of the run's last checkpoint."""
    path = folder / "last.safetensors"
    saved = checkpoint.load(path)
    missing = [key for key in ("model", "optimizer", "progress", "generator", "config") if key not in saved]
    if missing:
        raise CheckpointError(f"{path} is not a checkpoint of a training run: it has no {missing[0]}")
    return saved


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


def new_folder(out: Path | None) -> Path:
    """Make the run's folder. An existing one is taken only if it is empty, so that no run overwrites another."""
    names = itertools.chain([""], (f"-{i}" for i in itertools.count(2)))
    stamp = Path("runs") / datetime.now().strftime("%Y%m%d-%H%M%S")
    while True:
        folder = out or stamp.with_name(stamp.name + next(names))
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if out is None:
                continue
            if not folder.is_dir() or any(folder.iterdir()):
                raise ArgumentError(
                    f"--out {folder} exists already; choose another, or go on with --resume {folder}"
                ) from None
        return folder


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


@contextmanager
def interruptions() -> Iterator[list[int]]:
    """Collects the first Ctrl-C or SIGTERM, to be acted on between two steps; a second one acts at once."""
    received: list[int] = []

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(number)
        signal.signal(number, before[number])

    before = {number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Interrupted(Exception):  # noqa: N818 (not an error)
    """The run was asked to stop, and has saved where it is, in the folder named."""


# The run


def run(config: argparse.Namespace, folder: Path | None, saved: dict[str, Any]) -> None:
    """Train, write the run's files, and print the result.

    Args:
        config: the settings.
        folder: the run's folder; None to make one as soon as all input has proved good.
        saved: the checkpoint to go on from; empty for a new run.
    """
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
    batch_size = min(config.batch_size, len(images))
    steps_an_epoch = math.ceil(len(images) / batch_size)
    optimizer = make_optimizer(config, model)
    schedule = make_schedule(config, config.epochs * steps_an_epoch)

    # Where the run stands. All of it, with the arrays, is in every checkpoint.
    progress: dict[str, Any] = {"epoch": 0, "step": 0, "loss": 0.0, "correct": 0, "seconds": 0.0, "history": []}
    if saved:
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        generator.bit_generator.state = saved["generator"]
        progress = saved["progress"]
    history = progress["history"]

    folder = folder or new_folder(config.out)
    settings = {name: value for name, value in vars(config).items() if name not in ("out", "resume")}

    def save(name: str) -> None:
        write_atomically(folder / "config.json", json.dumps(settings, indent=2) + "\n")
        contents = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "progress": progress}
        checkpoint.save(folder / name, {**contents, "generator": generator.bit_generator.state, "config": settings})

    parameters = sum(parameter.size for parameter in model.parameters())
    network = "-".join(map(str, sizes))
    print(f"network {network}, {parameters:,} parameters; {len(images):,} training images; run folder {folder}")
    resumed_seconds, started = progress["seconds"], time.perf_counter()
    loss_function = LOSSES[config.loss]
    options = {"label_smoothing": config.label_smoothing} if config.label_smoothing else {}

    with interruptions() as interrupted, np.errstate(all="ignore"):  # a loss that is not finite is reported below
        for epoch in range(progress["epoch"], config.epochs):
            done = (
                progress["step"] - epoch * steps_an_epoch
            )  # of this epoch, if the run was stopped in the middle of it
            shuffled = data.batches(
                images, labels, batch_size=batch_size, generator=np.random.default_rng([config.seed, 2, epoch])
            )
            bar = tqdm(
                desc=f"epoch {epoch + 1}/{config.epochs}",
                total=len(images),
                initial=done * batch_size,
                unit=" images",
                unit_scale=True,
                leave=False,
                disable=None,
            )
            with bar:
                for batch, truth in itertools.islice(shuffled, done, None):
                    scores = model(batch)
                    loss = loss_function(scores, truth, **options)
                    if not math.isfinite(loss.item()):
                        raise ArgumentError(
                            f"the loss became {loss.item()} in epoch {epoch + 1}, so training stopped; "
                            f"lower --lr (now {config.lr}), clip gradients with --clip-norm 1, or check the data"
                        )
                    loss.backward()
                    if config.clip_norm:
                        optim.clip_grad_norm_(optimizer.params, config.clip_norm)
                    optimizer.lr = schedule(progress["step"])
                    optimizer.step()
                    optimizer.zero_grad()

                    progress["step"] += 1
                    progress["loss"] += loss.item() * len(truth)
                    progress["correct"] += int(np.count_nonzero(scores.argmax(axis=1) == truth))
                    bar.update(len(truth))
                    if not bar.disable:
                        bar.set_postfix(
                            loss=f"{loss.item():.3f}", accuracy=f"{progress['correct'] / bar.n:.2%}", refresh=False
                        )
                    if interrupted:
                        progress["seconds"] = resumed_seconds + time.perf_counter() - started
                        save("last.safetensors")
                        raise Interrupted(folder)

            seconds = resumed_seconds + time.perf_counter() - started
            correct = evaluate(model, checked_images, checked_labels)
            metrics = {
                "epoch": epoch + 1,
                "loss": progress["loss"] / len(images),
                "accuracy": progress["correct"] / len(images),
                f"{checked}_accuracy": correct / len(checked_images),
                "lr": optimizer.lr,
                "seconds": round(seconds, 3),
            }
            history.append(metrics)
            progress.update(epoch=epoch + 1, loss=0.0, correct=0, seconds=seconds)
            save("last.safetensors")
            # Chosen by held-out images, or by the training loss where none are: never by the test images.
            if (
                min(history, key=lambda m: -m["validation_accuracy"] if config.validation_split else m["loss"])
                is metrics
            ):
                save("best.safetensors")
            write_atomically(folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in history))
            print(
                f"epoch {epoch + 1}/{config.epochs}  loss {metrics['loss']:.4f}  accuracy {metrics['accuracy']:.2%}  "
                f"{checked} accuracy {correct / len(checked_images):.2%}",
                flush=True,
            )

    speed = config.epochs * len(images) / progress["seconds"]
    print(f"training time: {progress['seconds']:.1f} s ({speed:,.0f} images/s)")
    if len(test_images):
        checked, checked_images, checked_labels = "test", test_images, test_labels
    correct = evaluate(model, checked_images, checked_labels)
    print(f"{checked} accuracy: {correct / len(checked_images):.2%} ({correct}/{len(checked_images)})")


def main(arguments: list[str] | None = None) -> int:
    config = parse_arguments(arguments)
    try:
        if config.resume:
            saved = read_checkpoint(config.resume)
            run(argparse.Namespace(**saved["config"]), config.resume, saved)
        else:
            run(config, None, {})
    except (TinygradNpError, OSError, MemoryError) as error:
        print(f"train.py: error: {error}", file=sys.stderr)
        return 2
    except Interrupted as stop:
        print(f"stopped and saved; go on with: python {sys.argv[0]} --resume {stop}")
        return 130
    except KeyboardInterrupt:
        print("train.py: stopped; what was saved before is whole", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
