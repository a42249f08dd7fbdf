"""Train with many settings of train.py's flags, on all cores, and rank the settings by their validation accuracy.

Each FLAG=VALUES names a flag of train.py and the values to try. A sweep tries all combinations, or some at random.
It leaves a folder: a run's folder for each setting, sweep.json, and results.csv, the ranked table. A setting is ranked
by its best epoch, ties by the loss on the validation images. Runs that failed stand at the end of the table.
"""

import argparse
import csv
import io
import itertools
import json
import math
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import IO, Any

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until there is something to save, Ctrl-C simply ends the program

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # models/ is part of the repository, not of the installed package

import numpy as np  # noqa: E402
from command_line import Parser, count, fail, in_one_line, number, path  # noqa: E402
from run_folder import LOCK, interruptions, locked  # noqa: E402
from settings import parse_arguments as parse_training_arguments  # noqa: E402
from stopping import APART, ask_to_stop  # noqa: E402
from tqdm import tqdm  # noqa: E402
from training_run import find_folder, load_data  # noqa: E402

from tinygrad_np import TinygradNpError  # noqa: E402
from tinygrad_np.errors import ArgumentError  # noqa: E402
from tinygrad_np.files import write_atomically  # noqa: E402

TRAIN = ROOT / "scripts" / "train.py"
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")  # of NumPy's BLAS

Settings = dict[str, str]  # the values of the flags that are swept over, as a user would type them

# The command line


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    own, fixed = arguments, []
    if "--" in arguments:
        place = arguments.index("--")
        own, fixed = arguments[:place], arguments[place + 1 :]
    parser = Parser(
        prog="sweep.py",
        usage="%(prog)s FLAG=VALUES... [--random N] [--seed N] [--jobs N] [--out DIR] [-- FLAGS OF TRAIN.PY]\n"
        "       %(prog)s --resume DIR",
        description=__doc__,
        epilog="values:\n"
        "  lr=0.001,0.004        these two\n"
        "  lr=1e-4..1e-1         for --random: a number between these, on a logarithmic scale if they are above 0 and\n"
        "                        a factor of 10 or more apart; a whole number if both are\n"
        "  hidden=128,512x128,   a layer of 128, layers of 512 and 128, no hidden layer\n"
        "  nesterov=on,off       with the flag and without it\n"
        "What follows -- goes to every run as it stands; --validation-split is 0.1 unless given there.\n\n"
        "examples:\n"
        "  sweep.py lr=0.001,0.004 hidden=128,512x128 dropout=0,0.2 -- --epochs 3 --limit 10000\n"
        "  sweep.py --random 20 lr=1e-4..1e-1 hidden=64..512 activation=relu,tanh -- --optimizer adamw\n"
        "  sweep.py --resume runs/sweep-20260101-120000      continue a sweep that stopped, or show its table",
    )
    parser.add_argument("values", nargs="*", metavar="FLAG=VALUES", help="what to try; see below")
    parser.add_argument("--random", type=count, metavar="N", help="try N settings drawn at random")
    parser.add_argument("--seed", type=number(int, 0), default=0, metavar="N", help="of what --random draws")
    parser.add_argument("--jobs", type=count, default=CORES, metavar="N", help="runs at the same time (one a core)")
    parser.add_argument("--out", type=path, metavar="DIR", help="the folder to be made (runs/sweep-DATE-TIME)")
    parser.add_argument(
        "--resume",
        type=path,
        metavar="DIR",
        help="continue the sweep in this folder: finished runs are kept, interrupted ones resumed, and failed ones "
        "tried again unless their loss diverged",
    )
    parsed = parser.parse_args(own)
    if parsed.resume:
        if fixed or len(own) > 1 + ("--resume" in own):
            parser.error("--resume takes everything from the sweep's folder, so nothing can be given with it")
        return parsed
    if not parsed.values:
        parser.error("say what to try, such as lr=0.001,0.004")
    given = {flag.split("=")[0] for flag in fixed}
    choices: dict[str, list[str]] = {}
    for text in parsed.values:
        name, equals, values = text.partition("=")
        if not equals:
            parser.error(f"{text!r} is not FLAG=VALUES, such as lr=0.001,0.004; flags for all runs follow after --")
        if name in choices or f"--{name}" in given:
            parser.error(f"{name} is given twice")
        choices[name] = values.split(",")
        if not parsed.random and any(map(bounds, choices[name])):
            parser.error(f"{text} has a range; say with --random N how many settings to draw")
    given |= {f"--{name}" for name in choices}
    if taken := given & {"--out", "--resume"}:
        parser.error(f"the sweep chooses the folders of its runs, so {taken.pop()} cannot be given to them")
    if "--validation-split" not in given:
        fixed += ["--validation-split", "0.1"]
    parsed.fixed = fixed
    parsed.settings = draw(choices, parsed.random, parsed.seed) if parsed.random else combine(choices)
    parsed.configs = [parse_training_arguments(as_flags(settings) + fixed) for settings in parsed.settings]
    if not all(config.validation_split for config in parsed.configs):
        parser.error("the settings are ranked by validation accuracy, so --validation-split must be more than 0")
    return parsed


def bounds(value: str) -> tuple[float, float] | None:
    """The two ends of a range such as 1e-4..1e-1; None for any other value."""
    low, _, high = value.partition("..")
    try:
        return (float(low), float(high)) if -math.inf < float(low) < float(high) < math.inf else None
    except ValueError:
        return None


def combine(choices: dict[str, list[str]]) -> list[Settings]:
    return [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]


def draw(choices: dict[str, list[str]], amount: int, seed: int) -> list[Settings]:
    """Different settings drawn at random; fewer than asked for if there seem to be no more."""
    generator = np.random.default_rng(seed)
    drawn: dict[tuple[str, ...], Settings] = {}
    for _ in range(100 * amount):
        values = [draw_value(values[generator.integers(len(values))], generator) for values in choices.values()]
        drawn[tuple(values)] = dict(zip(choices, values, strict=True))
        if len(drawn) == amount:
            break
    return list(drawn.values())


def draw_value(value: str, generator: np.random.Generator) -> str:
    if not (ends := bounds(value)):
        return value
    low, high = ends
    if high >= 10 * low > 0:
        drawn = math.exp(generator.uniform(math.log(low), math.log(high)))
    else:
        drawn = generator.uniform(low, high)
    if re.fullmatch(r"-?\d+\.\.-?\d+", value):
        return str(round(drawn))
    return str(min(max(float(f"{drawn:.3g}"), low), high))  # three digits are easy to read and type


def as_flags(settings: Settings) -> list[str]:
    """The settings as flags of train.py."""
    flags = []
    for name, value in settings.items():
        if value in ("on", ""):
            flags.append(f"--{name}")
        elif value != "off":
            flags.append(f"--{name}={value}")
    return flags


def without(flags: list[str], names: set[str]) -> list[str]:
    """The flags without those named, and without their values, of which each has one."""
    starts = [flag.split("=")[0] in names for flag in flags]
    values = [False, *(start and "=" not in flag for start, flag in zip(starts, flags, strict=True))]
    return [flag for flag, start, value in zip(flags, starts, values, strict=False) if not (start or value)]


# The sweep's folder


def new_plan(parsed: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The plan that sweep.json holds: the runs to do, and later what came of each."""
    left = (LOCK, ".sweep.json.")  # what a sweep leaves that is killed before it has written its plan
    if any(not file.name.startswith(left) for file in folder.iterdir()):
        resumable = (folder / "sweep.json").exists()
        advice = f", or continue the sweep in it with --resume {shlex.quote(str(folder))}" if resumable else ""
        raise ArgumentError(f"{folder} exists already; choose another folder with --out{advice}")
    width = len(str(len(parsed.settings)))
    runs = [
        {"folder": f"{number:0{width}}", "settings": settings, "outcome": None}
        for number, settings in enumerate(parsed.settings, 1)
    ]
    # The number of threads is part of the plan: the last bits of a matrix product may depend on it.
    jobs = min(parsed.jobs, len(runs))
    threads = max(1, CORES // jobs)
    return {"directory": os.getcwd(), "flags": parsed.fixed, "jobs": jobs, "threads": threads, "runs": runs}


def read_plan(folder: Path) -> dict[str, Any]:
    file = folder / "sweep.json"
    try:
        plan: dict[str, Any] = json.loads(file.read_text())
        os.chdir(plan["directory"])  # the paths among the flags may be relative to it
        for run in plan["runs"]:
            parse_training_arguments(as_flags(run["settings"]) + plan["flags"])
            if run["outcome"] and run["outcome"]["status"] == "failed":
                run["outcome"] = None
        ranking(plan)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ArgumentError(f"{file} is not the plan of a sweep: {error!r}") from error
    return plan


# The runs


def start(run: dict[str, Any], plan: dict[str, Any], folder: Path, claim: int) -> tuple[subprocess.Popen[str], IO[str]]:
    """Start or resume a run; returns its process, and the file that gets its standard error."""
    out = folder / run["folder"]
    resumable = (out / "last.safetensors").exists()
    flags = ["--resume", str(out)] if resumable else [*as_flags(run["settings"]), *plan["flags"], "--out", str(out)]
    errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed when the run has ended)
    process = subprocess.Popen(
        [sys.executable, str(TRAIN), *flags, "--no-pictures"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        env={**os.environ, **dict.fromkeys(THREADS, str(plan["threads"]))},
        text=True,
        **APART,  # Ctrl-C is for the sweep, which then stops its runs
        pass_fds=[claim] if os.name == "posix" else [],  # the run keeps other sweeps out even if this one is killed
    )
    return process, errors


def outcome(status: int, errors: IO[str], out: Path) -> dict[str, Any]:
    """What came of a run that ended with an exit status."""
    if status == 0:
        history = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        best = min(history, key=merit)
        measured = {key: best[key] for key in ("validation_accuracy", "validation_loss", "epoch")}
        return {"status": "finished", **measured, "seconds": history[-1]["seconds"]}
    errors.seek(0)
    lines = errors.read().splitlines()
    if status < 0:
        error = f"it was ended by {signal.Signals(-status).name}"
    else:
        error = lines[-1].removeprefix("train.py: error: ") if lines else f"it ended with exit status {status}"
    # A loss that diverged would do so again. Other causes, such as a full disk, may be gone when the sweep is resumed.
    return {"status": "diverged" if error.startswith("the loss became") else "failed", "error": error}


def merit(measured: dict[str, Any]) -> tuple[float, float]:
    """A key to sort by: the better the run, the lower it is."""
    return -measured["validation_accuracy"], measured["validation_loss"]


def ranking(plan: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The finished runs, the best one first, and those that failed."""
    ended = [run for run in plan["runs"] if run["outcome"]]
    finished = [run for run in ended if run["outcome"]["status"] == "finished"]
    return sorted(finished, key=lambda run: merit(run["outcome"])), [run for run in ended if run not in finished]


def train_all(plan: dict[str, Any], folder: Path, claim: int) -> bool:
    """Bring all runs to an end, some at a time; returns False if asked to stop earlier, with everything saved."""
    waiting = [run for run in plan["runs"] if not run["outcome"]]
    running: dict[subprocess.Popen[str], tuple[dict[str, Any], IO[str]]] = {}
    bar = tqdm(
        total=len(plan["runs"]),
        initial=len(plan["runs"]) - len(waiting),
        desc="sweep",
        unit="run",
        leave=False,
        disable=None if sys.stderr else True,
    )
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a second Ctrl-C reaches `finally` below
    try:
        with bar, interruptions() as interrupted:
            told = False
            while running or (waiting and not interrupted):
                while waiting and len(running) < plan["jobs"] and not interrupted:
                    run = waiting.pop(0)
                    process, errors = start(run, plan, folder, claim)
                    running[process] = run, errors
                time.sleep(0.05)
                bar.refresh()
                if interrupted and not told:
                    told = True
                    for process in running:
                        ask_to_stop(process)  # it saves where it is
                for process in [process for process in running if process.poll() is not None]:
                    run, errors = running.pop(process)
                    with errors:
                        result = outcome(process.returncode, errors, folder / run["folder"])
                    if interrupted and result["status"] == "failed":
                        continue
                    run["outcome"] = result
                    save(plan, folder)
                    bar.update()
                    if finished := ranking(plan)[0]:
                        bar.set_postfix(best=f"{finished[0]['outcome']['validation_accuracy']:.2%}")
                    with bar.external_write_mode():
                        print(
                            in_one_line(f"{run['folder']}  {describe(run['settings'])}: {summary(result)}"), flush=True
                        )
        return all(run["outcome"] for run in plan["runs"])
    finally:
        for process in running:
            process.kill()  # what it has saved is whole
            process.wait()


# The results


def describe(settings: Settings) -> str:
    return ", ".join(f"{name} {value or 'none'}" for name, value in settings.items())


def summary(result: dict[str, Any]) -> str:
    if result["status"] == "finished":
        return f"validation accuracy {result['validation_accuracy']:.2%} in epoch {result['epoch']}"
    return str(result["error"])


def save(plan: dict[str, Any], folder: Path) -> None:
    """Write sweep.json, and results.csv: the ranked runs, then those that failed."""
    write_atomically(folder / "sweep.json", json.dumps(plan, indent=1) + "\n")
    measured = ["validation_accuracy", "validation_loss", "epoch", "seconds", "error"]
    names = list(plan["runs"][0]["settings"])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["rank", *names, *measured, "folder"])
    finished, failed = ranking(plan)
    for rank, run in [*enumerate(finished, 1), *(("", run) for run in failed)]:
        results = [run["outcome"].get(key, "") for key in measured]
        writer.writerow([rank, *run["settings"].values(), *results, run["folder"]])
    write_atomically(folder / "results.csv", text.getvalue())


def report(plan: dict[str, Any], folder: Path) -> None:
    """Print the ranked table, why runs failed, and how to train the best setting on all images."""
    finished, failed = ranking(plan)
    table = [["rank", *plan["runs"][0]["settings"], "validation accuracy", "loss", "epoch", "seconds", "folder"]]
    for rank, run in enumerate(finished, 1):
        result = run["outcome"]
        measured = [f"{result['validation_accuracy']:.2%}", f"{result['validation_loss']:.4g}"]
        measured += [str(result["epoch"]), f"{result['seconds']:.1f}", str(folder / run["folder"])]
        table.append([str(rank), *(value or "none" for value in run["settings"].values()), *measured])
    if finished:
        table = [list(map(in_one_line, row)) for row in table]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for row in table:
            print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
    for run in failed:
        told = f"failed: {folder / run['folder']} ({describe(run['settings'])}): {run['outcome']['error']}"
        print(in_one_line(told))
    if finished:
        flags = as_flags(finished[0]["settings"]) + plan["flags"]
        test_images = load_data(parse_training_arguments(flags)).test_images
        # Only where there are test images can the network be judged without others that are held out.
        flags = without(flags, {"--limit", *(["--validation-split", "--early-stop"] if len(test_images) else [])})
        command = f"python {Path(sys.argv[0]).with_name('train.py')} {shlex.join(flags)}"
        print(in_one_line(f"train the best on all images: {command}"))


def main(arguments: list[str] | None = None) -> int:
    try:
        parsed = parse_arguments(sys.argv[1:] if arguments is None else arguments)
        if parsed.resume:
            folder = find_folder(parsed.resume, "sweep", "sweep.py", "sweep.json").absolute()
        else:
            for config in {config.data: config for config in parsed.configs}.values():
                load_data(config)  # bad data is reported once, here, and not by every run
            folder = parsed.out or Path("runs") / datetime.now().strftime("sweep-%Y%m%d-%H%M%S")
            folder.mkdir(parents=True, exist_ok=True)
        with locked(folder, "sweep", wait=bool(parsed.resume)) as claim:
            plan = read_plan(folder) if parsed.resume else new_plan(parsed, folder)
            save(plan, folder)
            print(f"{len(plan['runs'])} runs, {plan['jobs']} at a time; sweep folder {in_one_line(folder)}", flush=True)
            done = train_all(plan, folder, claim)
        if not done:
            print(
                f"stopped and saved; resume with: python {sys.argv[0]} --resume {in_one_line(shlex.quote(str(folder)))}"
            )
            return 130
        report(plan, folder)
        if not ranking(plan)[0]:
            raise ArgumentError("no run has finished; the lines above say why")
    except (TinygradNpError, OSError, MemoryError) as error:
        return fail("sweep.py", error)
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
