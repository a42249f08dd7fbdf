"""The folder of a run: it is made, kept from other runs, filled after each epoch, and whole when the run stops."""

import fcntl
import itertools
import json
import os
import shlex
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from training_run import Run

from tinygrad_np import TinygradNpError
from tinygrad_np.errors import ArgumentError
from tinygrad_np.files import write_atomically


def new_folder(out: Path | None) -> Path:
    """Make the folder `out`, or runs/DATE-TIME. Take an existing one only if it is empty: no run overwrites another."""
    names = itertools.chain([""], (f"-{i}" for i in itertools.count(2)))
    stamp = Path("runs") / datetime.now().strftime("%Y%m%d-%H%M%S")
    while True:
        folder = out or stamp.with_name(stamp.name + next(names))
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if out is None and folder.exists():
                continue
            # A run that is killed before it has a checkpoint leaves a part of that at most, which does not count.
            if not folder.is_dir() or any(not file.name.startswith(".last.safetensors.") for file in folder.iterdir()):
                resumable = (folder / "last.safetensors").exists()
                advice = f", or resume the run in it with --resume {shlex.quote(str(folder))}" if resumable else ""
                raise ArgumentError(f"{folder} exists already; choose another folder with --out{advice}") from None
        return folder


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep other runs out of the folder. The claim ends with the process, however that ends."""
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"the folder {folder} cannot be written to")
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArgumentError(f"another run is at work in {folder}; choose another folder with --out") from None
        yield
    finally:
        os.close(descriptor)


@contextmanager
def opened(folder: Path, run: Run, new: bool) -> Iterator[None]:
    """Claim the folder while the run trains, and write what a run must have before its first step.

    A new run that fails in its first epoch would fail again, so nothing is left of it. But if the disk was full, its
    checkpoint stays, and the run can be resumed once there is room.
    """
    last = folder / "last.safetensors"
    with claimed(folder):
        if new:
            new_folder(folder)  # again, now that no other run can be filling it
        try:
            if new:
                run.save(last)  # from here on the run can be killed at any time, and resumed
            write_config(run, folder)
            yield
        except (TinygradNpError, MemoryError) as error:
            if new and not run.progress["epoch"] and not (isinstance(error, OSError) and last.exists()):
                shutil.rmtree(folder, ignore_errors=True)
            raise


def write_config(run: Run, folder: Path) -> None:
    write_atomically(folder / "config.json", json.dumps(vars(run.config), indent=2) + "\n")


def write_epoch(run: Run, folder: Path) -> None:
    """Write the metrics and the checkpoints after an epoch.

    The last checkpoint is written last: a run that is killed before it repeats the epoch, and writes all files again.
    """
    history = run.progress["history"]
    write_atomically(folder / "metrics.jsonl", "".join(json.dumps(metrics) + "\n" for metrics in history))

    # The best is chosen by held-out images, or by the training loss if there are none: never by the test images.
    def merit(metrics: dict[str, Any]) -> float:
        return -metrics["validation_accuracy"] if run.config.validation_split else metrics["loss"]

    if min(history, key=merit) is history[-1]:
        run.save(folder / "best.safetensors")
    run.save(folder / "last.safetensors")


@contextmanager
def interruptions() -> Iterator[list[int]]:
    """Collect the first Ctrl-C or SIGTERM, to be acted on between two steps; a second one acts at once."""
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
    """The run was asked to stop, and is saved in the folder that this names."""


def save_and_stop(run: Run, folder: Path) -> NoReturn:
    """Save a run in the middle of an epoch, and leave the loop with `Interrupted`."""
    run.take_time()
    run.save(folder / "last.safetensors")
    raise Interrupted(folder)
