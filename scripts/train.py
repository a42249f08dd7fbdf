"""Train the networks of models/mnist_mlp.py and mnist_cnn.py: this is the loop, and the program around it.

The flags are in settings.py. What a run is made of is in training_run.py, and how its folder is kept in run_folder.py.
"""

import shlex
import signal
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until there is something to save, Ctrl-C simply ends the program

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # models/ is part of the repository, not of the installed package

from processor import keep_freed_memory, share_cores, use_better_kernels  # noqa: E402

use_better_kernels()
share_cores()
keep_freed_memory()

import numpy as np  # noqa: E402
import ranks  # noqa: E402
from command_line import fail, in_one_line  # noqa: E402
from pictures import draw_run, draw_step  # noqa: E402
from run_folder import Interrupted, interruptions, new_folder, opened, save_and_stop, write_epoch  # noqa: E402
from settings import parse_arguments, run_settings  # noqa: E402
from tqdm import tqdm  # noqa: E402
from training_run import Run, evaluate, require_finite, restore, set_up  # noqa: E402

from tinygrad_np import TinygradNpError, checkpoint, optim  # noqa: E402


def train(run: Run, folder: Path | None) -> None:
    """Train from wherever the run stands to the end of its last epoch. Its files are written after each epoch.

    Of several processes that mpirun has started, only the first has a folder.
    """
    config, optimizer, progress = run.config, run.optimizer, run.progress
    schedule = run.schedule()
    together = optim.Distributed(optimizer, run.comm, run.buffers())
    # NumPy need not warn of values that are not finite: require_finite stops the run if the loss becomes one.
    with closing(run.epochs()) as epochs, interruptions() as interrupted, np.errstate(all="ignore"):
        for epoch, images in epochs:
            with progress_bar(run, epoch) as bar:
                for batch, labels in run.batches_left(epoch, images):
                    loss, scores = run.step(batch, labels)
                    loss.backward()
                    together.average(len(labels))
                    if config.clip_norm:
                        optim.clip_grad_norm_(optimizer.params, config.clip_norm)
                    optimizer.lr = schedule(progress["step"])
                    optimizer.step()
                    optimizer.zero_grad()
                    if config.average:
                        averaged, latest = run.model.parameters(), run.trained.parameters()
                        optim.ema_update_(averaged, latest, config.average, progress["step"])

                    count, batch_loss = run.count(loss, scores, labels)
                    require_finite(batch_loss, run)
                    advance(bar, run, batch_loss, count)
                    if ranks.any_of(run.comm, interrupted):
                        save_and_stop(run, folder)

            together.check()
            run.end_epoch()
            if folder:
                write_epoch(run, folder)
            print_epoch(run)
    if progress["epoch"] < config.epochs:
        print(f"stopped early: epoch {run.best_epoch} had the best validation accuracy", flush=True)


# What the user sees


def progress_bar(run: Run, epoch: int) -> tqdm:
    return tqdm(
        desc=f"epoch {epoch + 1}/{run.config.epochs}",
        total=len(run.images),
        initial=run.steps_done(epoch) * run.batch_size,
        unit=" images",
        unit_scale=True,
        leave=False,
        disable=None if sys.stderr else True,
    )


def advance(bar: tqdm, run: Run, loss: float, images: int) -> None:
    bar.update(images)
    if not bar.disable:
        accuracy = run.progress["correct"] / bar.n
        bar.set_postfix(loss=f"{loss:.3f}", accuracy=f"{accuracy:.2%}", refresh=False)


def print_start(run: Run, folder: Path) -> None:
    print(
        *(f"{in_one_line(line)}\n" for line in run.understood),
        f"network {'-'.join(map(str, run.sizes))}, {sum(p.size for p in run.model.parameters()):,} parameters; "
        f"{len(run.images):,} training images; run folder {in_one_line(folder)}",
        sep="",
        flush=True,
    )


def print_epoch(run: Run) -> None:
    metrics = run.progress["history"][-1]
    plain = f" smoothed ({metrics['cross_entropy']:.4f} plain)" if "cross_entropy" in metrics else ""
    print(
        f"epoch {metrics['epoch']}/{run.config.epochs}  loss {metrics['loss']:.4f}{plain}  "
        f"accuracy {metrics['accuracy']:.2%}  {run.checked} accuracy {metrics[f'{run.checked}_accuracy']:.2%}",
        flush=True,
    )


def choose_weights(run: Run, folder: Path) -> None:
    """Print the time; of a run that held images out, take the network of the best epoch, as other scripts do."""
    seconds = run.progress["seconds"]
    print(f"training time: {seconds:.1f} s ({run.progress['epoch'] * len(run.images) / seconds:,.0f} images/s)")
    if run.config.validation_split:
        run.model.load_state_dict(checkpoint.load(folder / "best.safetensors")["model"])
        print(f"weights: those of epoch {run.best_epoch}, the best by validation accuracy, as in best.safetensors")


def print_accuracy(run: Run) -> None:
    """Print the accuracy on the test images, or on those held out if there are none."""
    name, images, labels = run.judged()
    correct = evaluate(run.model, images, labels)
    print(f"{name} accuracy: {correct / len(images):.2%} ({correct}/{len(images)})", flush=True)


def draw(run: Run, folder: Path) -> None:
    """Put the pictures of the run into its folder. Its result stands, so a failure here is reported and no more."""
    try:
        notices = draw_run(run, folder)
    except Exception as error:  # an optional package in an unknown state may raise anything
        reason = " ".join(str(error).split()) or repr(error)
        later = f"python {sys.argv[0]} --resume {shlex.quote(str(folder))}"
        notices = [f"no pictures of the run: {reason}; to draw them later: {later}"]
    for notice in notices if sys.stderr else []:
        print(f"train.py: {in_one_line(notice)}", file=sys.stderr)


def main(arguments: list[str] | None = None, comm: Any = ranks.ALONE) -> int:
    try:
        parsed = parse_arguments(arguments)
        new = not parsed.resume
        run = set_up(run_settings(parsed)) if new else restore(parsed.resume, comm)
        run.join(comm)
        if comm.rank:  # the first writes, prints, and ends the run
            with suppress(Interrupted):
                train(run, None)
            return 0
        folder = new_folder(parsed.out) if new else parsed.resume
        print_start(run, folder)
        with opened(folder, run, new):
            if new and parsed.draw:
                draw_step(run).render(folder / f"graph.{parsed.draw}")
            train(run, folder)
        choose_weights(run, folder)
        if not parsed.no_pictures:
            draw(run, folder)
        print_accuracy(run)  # last, where it is looked for
    except (TinygradNpError, OSError, MemoryError) as error:
        return fail("train.py", error)
    except Interrupted as stop:
        print(f"stopped and saved; resume with: python {sys.argv[0]} --resume {in_one_line(shlex.quote(str(stop)))}")
        return 130
    return 0


if __name__ == "__main__":
    ranks.run(lambda comm: main(comm=comm))
