"""Train the multilayer perceptron of models/mnist_mlp.py, on MNIST or on other images.

With no arguments it trains the default network on all of MNIST, which comes with the repository, and ends with the
accuracy on the 10,000 test images. A run leaves a folder: config.json, metrics.jsonl (a line an epoch), the
checkpoints last.safetensors and best.safetensors, and pictures of the result, for which matplotlib is needed.
"""

import argparse
import fcntl
import itertools
import json
import math
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
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
from pictures import draw_run  # noqa: E402
from tqdm import tqdm  # noqa: E402
from training_run import LOSSES, Run, draw_step, evaluate, make_schedule, predict, restore, set_up  # noqa: E402

from models.mnist_mlp import ACTIVATIONS, INITIALISERS, PRESETS  # noqa: E402
from tinygrad_np import TinygradNpError, optim  # noqa: E402
from tinygrad_np.errors import ArgumentError  # noqa: E402
from tinygrad_np.files import write_atomically  # noqa: E402

# The command line


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="train.py",
        description=__doc__,
        epilog="examples:\n"
        "  train.py                                          the default: 98.3% or more in a few seconds\n"
        "  train.py --hidden 512 128 64 --dropout 0.2        a deeper network\n"
        "  train.py --preset tutorial --lr 0.5               a preset, but for one of its settings\n"
        "  train.py --optimizer sgd --lr 0.1 --momentum 0.9 --schedule constant\n"
        "  train.py --data fashion-mnist/ --validation-split 0.1\n"
        "  train.py --resume runs/20260101-120000            go on where an interrupted run stopped",
    )
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        metavar="NAME",
        help="start from settings that have a name, which other flags override: " + ", ".join(PRESETS),
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
    group.add_argument(
        "--distort",
        type=number(float, 0),
        nargs="?",
        const=1.0,
        default=0.0,
        metavar="STRENGTH",
        help="turn, scale, shift and bend the training images, anew in each epoch; 1, if none is given, suits digits",
    )
    group.add_argument(
        "--average",
        type=share,
        default=0.0,
        metavar="DECAY",
        help="judge and save a moving average of the weights instead of the last: 0.999 is over about 1000 steps",
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
    group.add_argument("--no-pictures", action="store_true", help="draw no curves and other pictures of the result")

    parsed = parser.parse_args(arguments)
    if parsed.resume:
        given = sys.argv[1:] if arguments is None else arguments
        others = ("--", "--resume", "--no-pictures")  # which are no settings
        flags = [flag for flag in given if flag.startswith("--") and flag.split("=")[0] not in others]
        if flags:
            parser.error(f"--resume takes all settings from the run's folder, so {flags[0]} cannot be given with it")
        return parsed
    if parsed.preset:
        parser.set_defaults(**PRESETS[parsed.preset].settings)
        parsed = parser.parse_args(arguments)
    if parsed.nesterov and not (parsed.optimizer == "sgd" and parsed.momentum):
        parser.error("--nesterov needs --optimizer sgd and a --momentum above 0")
    if parsed.momentum and parsed.optimizer not in ("sgd", "rmsprop"):
        parser.error(f"--momentum {parsed.momentum} is for sgd and rmsprop, not for {parsed.optimizer}")
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
            # A run that is killed before it has a checkpoint leaves a part of that at most, which counts as nothing.
            if not folder.is_dir() or any(not file.name.startswith(".last.safetensors.") for file in folder.iterdir()):
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
    config, optimizer, progress = run.config, run.optimizer, run.progress
    history = progress["history"]
    batch_size = min(config.batch_size, len(run.images))
    steps_an_epoch = math.ceil(len(run.images) / batch_size)
    schedule = make_schedule(config, config.epochs * steps_an_epoch)
    seconds_before, started = progress["seconds"], time.perf_counter()

    # A loss that is not finite is reported below.
    with closing(run.epochs()) as epochs, interruptions() as interrupted, np.errstate(all="ignore"):
        for epoch, images in epochs:
            done = (
                progress["step"] - epoch * steps_an_epoch
            )  # of this epoch, if the run was stopped in the middle of it
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
                for batch, truth in itertools.islice(run.batches(epoch, images), done, None):
                    scores = run.trained(batch)
                    loss = run.loss(scores, truth)
                    require_finite(loss.item(), config, epoch)
                    loss.backward()
                    if config.clip_norm:
                        optim.clip_grad_norm_(optimizer.params, config.clip_norm)
                    optimizer.lr = schedule(progress["step"])
                    optimizer.step()
                    optimizer.zero_grad()
                    if config.average:
                        optim.ema_update_(
                            run.model.parameters(), run.trained.parameters(), config.average, progress["step"]
                        )

                    progress["step"] += 1
                    progress["loss"] += loss.item() * len(truth)
                    progress["correct"] += int(np.count_nonzero(scores.argmax(axis=1) == truth))
                    bar.update(len(truth))
                    if not bar.disable:
                        accuracy = progress["correct"] / bar.n
                        bar.set_postfix(loss=f"{loss.item():.3f}", accuracy=f"{accuracy:.2%}", refresh=False)
                    if interrupted:
                        progress["seconds"] = seconds_before + time.perf_counter() - started
                        run.save(folder / "last.safetensors")
                        raise Interrupted(folder)

            scores = predict(run.model, run.checked_images)
            checked_accuracy = float(np.mean(scores.argmax(axis=1) == run.checked_labels))
            checked_loss = run.loss(scores, run.checked_labels).item()
            require_finite(checked_loss, config, epoch)
            progress["seconds"] = seconds_before + time.perf_counter() - started
            metrics = {
                "epoch": epoch + 1,
                "loss": progress["loss"] / len(run.images),
                "accuracy": progress["correct"] / len(run.images),
                f"{run.checked}_loss": checked_loss,
                f"{run.checked}_accuracy": checked_accuracy,
                "lr": optimizer.lr,
                "seconds": round(progress["seconds"], 3),
            }
            history.append(metrics)
            progress.update(epoch=epoch + 1, loss=0.0, correct=0)
            # The last checkpoint comes last: whoever is killed before it does this epoch again, and all of its files.
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
                f"{run.checked} accuracy {checked_accuracy:.2%}",
                flush=True,
            )


def require_finite(loss: float, config: argparse.Namespace, epoch: int) -> None:
    if not math.isfinite(loss):
        raise ArgumentError(
            f"the loss became {loss} in epoch {epoch + 1}, so training stopped; "
            f"lower --lr (now {config.lr}), clip gradients with --clip-norm 1, or check the data"
        )


def write_config(run: Run, folder: Path) -> None:
    write_atomically(folder / "config.json", json.dumps(vars(run.config), indent=2) + "\n")


def report(run: Run) -> None:
    """Print the time and, last, the accuracy on the test images, or those held out if there are none."""
    seconds = run.progress["seconds"]
    print(f"training time: {seconds:.1f} s ({run.progress['epoch'] * len(run.images) / seconds:,.0f} images/s)")
    name, images, labels = run.judged()
    correct = evaluate(run.model, images, labels)
    print(f"{name} accuracy: {correct / len(images):.2%} ({correct}/{len(images)})", flush=True)


def draw(run: Run, folder: Path) -> None:
    """Put the pictures of the run into its folder. Its result stands, so what goes wrong here is said and no more."""
    try:
        notices = draw_run(run, folder)
    except Exception as error:  # an optional package in an unknown state may raise anything
        reason = " ".join(str(error).split()) or repr(error)
        later = f"train.py --resume {shlex.quote(str(folder))} draws them later"
        notices = [f"pictures of the run are missing: {reason}; {later}"]
    for notice in notices if sys.stderr else []:
        print(f"train.py: {notice}", file=sys.stderr)


def main(arguments: list[str] | None = None) -> int:
    try:
        config = parse_arguments(arguments)
        out, folder = config.out, config.resume
        drawing, pictures = config.draw, not config.no_pictures
        del config.out, config.resume, config.draw, config.no_pictures
        run = restore(folder) if folder else set_up(config)
        new = folder is None
        folder = folder or new_folder(out)
        print(
            f"network {'-'.join(map(str, run.sizes))}, {sum(p.size for p in run.model.parameters()):,} parameters; "
            f"{len(run.images):,} training images; run folder {folder}",
            flush=True,
        )
        with claimed(folder):
            if new:
                new_folder(folder)  # again, now that no other run can be filling it
            last = folder / "last.safetensors"
            try:
                if new:
                    run.save(last)  # whenever the run is killed from here on, it can be gone on with
                write_config(run, folder)
                if new and drawing:
                    draw_step(run).render(folder / f"graph.{drawing}")
                train(run, folder)
            except (TinygradNpError, MemoryError) as error:
                # What fails in its first epoch will fail again, and leaves nothing, unless it was for want of room.
                if new and not run.progress["epoch"] and not (isinstance(error, OSError) and last.exists()):
                    shutil.rmtree(folder, ignore_errors=True)
                raise
        report(run)
        if pictures:
            draw(run, folder)
    except (TinygradNpError, OSError, MemoryError) as error:
        return fail("train.py", error)
    except Interrupted as stop:
        print(f"stopped and saved; go on with: python {sys.argv[0]} --resume {shlex.quote(str(stop))}")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
