"""The folder of a run: it is made, kept from other runs, filled after each epoch, and whole when the run stops."""

import itertools
import json
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from command_line import in_one_line
from filelock import lock_descriptor
from ranks import any_of
from stopping import REQUESTS
from training_run import Run

from tinygrad_np import TinygradNpError
from tinygrad_np.errors import ArgumentError
from tinygrad_np.files import write_atomically

LOCK = ".lock"  # the file that is locked where a folder cannot be


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
            left = (LOCK, ".last.safetensors.")
            if not folder.is_dir() or any(not file.name.startswith(left) for file in folder.iterdir()):
                resumable = (folder / "last.safetensors").exists()
                advice = f", or resume the run in it with --resume {shlex.quote(str(folder))}" if resumable else ""
                raise ArgumentError(f"{folder} exists already; choose another folder with --out{advice}") from None
        return folder


@contextmanager
def locked(folder: Path, by: str, wait: bool = False) -> Iterator[int]:
    """Keep other processes that lock the folder out of it. The lock ends with the process, however that ends.

    Args:
        folder: to be locked. Windows opens no folders, so there a file in it is locked, and removed at the end.
        by: who locks such folders, for messages: "run" or "sweep".
        wait: wait if another process holds the lock, instead of giving up.

    Returns:
        A context manager that gives a descriptor. A process that inherits it holds the lock, too.

    Raises:
        ArgumentError: another process holds the lock.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT)
    try:
        try:
            free = lock_descriptor(descriptor, blocking=False)
        except OSError as error:  # such as on a network drive
            problem = f"{folder} cannot be locked ({error.strerror}); let no other {by} write to it"
            print(in_one_line(problem), file=sys.stderr)
            free = True
        if not free and not wait:
            raise ArgumentError(f"another {by} is at work in {folder}; choose another folder with --out")
        if not free:
            blocker = f"another {by}, or what a killed one has left running, ends in {folder}"
            print(in_one_line(f"waiting until {blocker}"), flush=True)
            lock_descriptor(descriptor)
        yield descriptor
    finally:
        os.close(descriptor)
        with suppress(OSError):
            (folder / LOCK).unlink()


@contextmanager
def opened(folder: Path, run: Run, new: bool) -> Iterator[None]:
    """Claim the folder while the run trains, and write what a run must have before its first step.

    A new run that fails in its first epoch would fail again, so nothing is left of it. But if the disk was full, its
    checkpoint stays, and the run can be resumed once there is room.
    """
    last = folder / "last.safetensors"
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"the folder {folder} cannot be written to")
    with locked(folder, "run"):
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
    """Collect the first Ctrl-C, or other request to stop, to act on between two steps; a second one acts at once."""
    received: list[int] = []

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(number)
        signal.signal(number, before[number])

    before = {number: signal.signal(number, receive) for number in REQUESTS}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Interrupted(Exception):  # noqa: N818 (not an error)
    """The run was asked to stop, and is saved in the folder that this names."""


def save_and_stop(run: Run, folder: Path | None) -> NoReturn:
    """Save a run in the middle of an epoch, and leave the loop with `Interrupted`, once the rank with a folder has."""
    run.bring_up_to_date()
    if folder:
        run.save(folder / "last.safetensors")
    any_of(run.comm, False)
    raise Interrupted(folder)
