"""Train the multilayer perceptron of models/mnist_mlp.py, on MNIST or on other images.

With no arguments it trains the default network on all of MNIST, which comes with the repository, and ends with the
accuracy on the 10,000 test images. A run leaves a folder: config.json, metrics.jsonl (a line an epoch), and the
checkpoints last.safetensors and best.safetensors.
"""

import argparse
import fcntl
import itertools
import json
import math
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import FrameType

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until there is something to save, Ctrl-C simply ends the program

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # models/ is part of the repository, not of the installed package

from processor import use_better_kernels  # noqa: E402

use_better_kernels()

import numpy as np  # noqa: E402
from command_line import Parser, count, fail, number, path, positive, share  # noqa: E402
from tqdm import tqdm  # noqa: E402
from training_run import LOSSES, Run, draw_step, evaluate, make_schedule, restore, set_up  # noqa: E402

from models.mnist_mlp import ACTIVATIONS, INITIALISERS  # noqa: E402
from tinygrad_np import TinygradNpError, data, optim  # noqa: E402
from tinygrad_np.errors import ArgumentError  # noqa: E402
from tinygrad_np.files import write_atomically  # noqa: E402

# The command line


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="train.py",
        allow_abbrev=False,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  train.py                                          the default: 98.3% or more in a few seconds\n"
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
        type=path,
        metavar="PATH",
        help="a folder of IDX files (plain or gzip'd) or with a train.csv, a .csv file (label,pixel0,...), "
        "or an .npz file as Keras has them; the MNIST of this repository if not given",
    )
    group.add_argument("--limit", type=count, metavar="N", help="use the first N training images only")
    group.add_argument(
        "--validation-split", type=share, default=0.0, metavar="P", help="share of training images held out"
    )
    group.add_argument("--out", type=path, metavar="DIR", help="the run's folder, to be made (runs/DATE-TIME)")
    group.add_argument(
        "--resume", type=path, metavar="DIR", help="go on with the run in this folder, with its settings"
    )

    group.add_argument(
        "--draw",
        nargs="?",
        choices=["svg", "png", "pdf", "html"],
        const="svg",
        help="put a drawing of the training step into the run's folder, as graph.svg or in another form",
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
        parsed.data = os.path.abspath(parsed.data)
    return parsed


# The run's folder, and being interrupted


def new_folder(out: Path | None) -> Path:
    """Make the run's folder. An existing one is taken only if it is empty, so that no run overwrites another."""
    names = itertools.chain([""], (f"-{i}" for i in itertools.count(2)))
    stamp = Path("runs") / datetime.now().strftime("%Y%m%d-%H%M%S")
    while True:
        folder = out or stamp.with_name(stamp.name + next(names))
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if out is None and folder.exists():
                continue
            if not folder.is_dir() or any(folder.iterdir()):
                resumable = (folder / "last.safetensors").exists()
                advice = f", or go on with --resume {shlex.quote(str(folder))}" if resumable else ""
                raise ArgumentError(f"{folder} exists already; choose another folder with --out{advice}") from None
        return folder


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep other runs out of the folder; the claim ends with the process, however that ends."""
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"the folder {folder} cannot be written to")
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise ArgumentError(f"another run is at work in {folder}; choose another folder with --out") from None
    finally:
        os.close(descriptor)


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


def train(run: Run, folder: Path) -> None:
    """Train to the end of the last epoch, from wherever the run stands, and write the run's files."""
    config, model, optimizer, progress = run.config, run.model, run.optimizer, run.progress
    history = progress["history"]
    batch_size = min(config.batch_size, len(run.images))
    steps_an_epoch = math.ceil(len(run.images) / batch_size)
    schedule = make_schedule(config, config.epochs * steps_an_epoch)
    seconds_before, started = progress["seconds"], time.perf_counter()

    with interruptions() as interrupted, np.errstate(all="ignore"):  # a loss that is not finite is reported below
        for epoch in range(progress["epoch"], config.epochs):
            done = (
                progress["step"] - epoch * steps_an_epoch
            )  # of this epoch, if the run was stopped in the middle of it
            shuffled = data.batches(
                run.images, run.labels, batch_size=batch_size, generator=np.random.default_rng([config.seed, 2, epoch])
            )
            bar = tqdm(
                desc=f"epoch {epoch + 1}/{config.epochs}",
                total=len(run.images),
                initial=done * batch_size,
                unit=" images",
                unit_scale=True,
                leave=False,
                disable=None if sys.stderr else True,
            )
            with bar:
                for batch, truth in itertools.islice(shuffled, done, None):
                    scores = model(batch)
                    loss = run.loss(scores, truth)
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
                        accuracy = progress["correct"] / bar.n
                        bar.set_postfix(loss=f"{loss.item():.3f}", accuracy=f"{accuracy:.2%}", refresh=False)
                    if interrupted:
                        progress["seconds"] = seconds_before + time.perf_counter() - started
                        write_config(run, folder)
                        run.save(folder / "last.safetensors")
                        raise Interrupted(folder)

            correct = evaluate(model, run.checked_images, run.checked_labels)
            progress["seconds"] = seconds_before + time.perf_counter() - started
            metrics = {
                "epoch": epoch + 1,
                "loss": progress["loss"] / len(run.images),
                "accuracy": progress["correct"] / len(run.images),
                f"{run.checked}_accuracy": correct / len(run.checked_images),
                "lr": optimizer.lr,
                "seconds": round(progress["seconds"], 3),
            }
            history.append(metrics)
            progress.update(epoch=epoch + 1, loss=0.0, correct=0)
            # The last checkpoint comes last: whoever is killed before it does this epoch again, and all of its files.
            write_config(run, folder)
            write_atomically(folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in history))
            # The best is chosen by held-out images, or the training loss if there are none: never by the test images.
            if (
                min(history, key=lambda m: -m["validation_accuracy"] if config.validation_split else m["loss"])
                is metrics
            ):
                run.save(folder / "best.safetensors")
            run.save(folder / "last.safetensors")
            print(
                f"epoch {epoch + 1}/{config.epochs}  loss {metrics['loss']:.4f}  accuracy {metrics['accuracy']:.2%}  "
                f"{run.checked} accuracy {correct / len(run.checked_images):.2%}",
                flush=True,
            )


def write_config(run: Run, folder: Path) -> None:
    write_atomically(folder / "config.json", json.dumps(vars(run.config), indent=2) + "\n")


def report(run: Run) -> None:
    """Print the time and, last, the accuracy on the test images, or those held out if there are none."""
    seconds = run.progress["seconds"]
    print(f"training time: {seconds:.1f} s ({run.progress['epoch'] * len(run.images) / seconds:,.0f} images/s)")
    name, images, labels = "test", run.test_images, run.test_labels
    if not len(images):
        name, images, labels = run.checked, run.checked_images, run.checked_labels
    correct = evaluate(run.model, images, labels)
    print(f"{name} accuracy: {correct / len(images):.2%} ({correct}/{len(images)})")


def main(arguments: list[str] | None = None) -> int:
    try:
        config = parse_arguments(arguments)
        out, folder = config.out, config.resume
        drawing = config.draw
        del config.out, config.resume, config.draw
        run = restore(folder) if folder else set_up(config)
        new = folder is None
        folder = folder or new_folder(out)
        print(
            f"network {'-'.join(map(str, run.sizes))}, {sum(p.size for p in run.model.parameters()):,} parameters; "
            f"{len(run.images):,} training images; run folder {folder}",
            flush=True,
        )
        with claimed(folder):
            try:
                if new and drawing:
                    draw_step(run).render(folder / f"graph.{drawing}")
                train(run, folder)
            finally:
                if new and not (folder / "last.safetensors").exists():  # nothing that could be gone on with
                    for name in ("config.json", "metrics.jsonl", "best.safetensors", f"graph.{drawing}"):
                        (folder / name).unlink(missing_ok=True)
                    folder.rmdir()
        report(run)
    except (TinygradNpError, OSError, MemoryError) as error:
        return fail("train.py", error)
    except Interrupted as stop:
        print(f"stopped and saved; go on with: python {sys.argv[0]} --resume {shlex.quote(str(stop))}")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
