"""Train with many settings of train.py's flags, on all cores, and rank the settings by their validation accuracy.

Each FLAG=VALUES names a flag of train.py and the values to try. A sweep tries all combinations, or some that are drawn:
at random, or with --trials by Optuna's TPE, where settings were good so far. It leaves a folder: a run's folder for
each setting, the study of Optuna, and results.csv, the ranked table. A setting is ranked by its best epoch, ties by the
loss on the validation images. Runs that were pruned or failed stand at the end of the table.
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
import socket
import subprocess
import sys
import tempfile
import time
import warnings
import zlib
from collections.abc import Generator
from datetime import datetime
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until there is something to save, Ctrl-C simply ends the program

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # models/ is part of the repository, not of the installed package

from command_line import Parser, count, fail, in_one_line, number, path, text  # noqa: E402
from processor import THREADS  # noqa: E402
from run_folder import LOCK, interruptions, locked  # noqa: E402
from settings import parse_arguments as parse_training_arguments  # noqa: E402
from stopping import APART, ask_to_stop  # noqa: E402
from training_run import find_folder, load_data  # noqa: E402

from tinygrad_np import TinygradNpError  # noqa: E402
from tinygrad_np.errors import ArgumentError  # noqa: E402
from tinygrad_np.files import write_atomically  # noqa: E402

try:
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
    from optuna.trial import FrozenTrial, TrialState
    from sqlalchemy import event, exc
except ImportError as error:
    print(f'sweep.py: error: {error}; install it with: python -m pip install -e ".[tune]"', file=sys.stderr)
    sys.exit(2)

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
FAILURES = (optuna.exceptions.OptunaError, exc.SQLAlchemyError, ImportError, LookupError, ValueError)  # of a storage
MEASURED = ("validation_accuracy", "validation_loss", "epoch", "seconds")  # of a run; the best epoch's, but all seconds
LOST = (TrialState.RUNNING, TrialState.FAIL)  # what a trial of this machine is in that has no result for good

Settings = dict[str, str]  # the values of the flags that are swept over, as a user would type them
Choices = dict[str, list[str]]  # what to try for each of them

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)

# The command line


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    end = arguments.index("--") if "--" in arguments else len(arguments)
    own, fixed = arguments[:end], arguments[end + 1 :]
    parser = Parser(
        prog="sweep.py",
        usage="%(prog)s FLAG=VALUES... [--random N | --trials N] [--prune] [--seed N] [--jobs N] [--storage PLACE]\n"
        "                [--out DIR] [-- FLAGS OF TRAIN.PY]\n"
        "       %(prog)s --resume DIR",
        description=__doc__,
        epilog="values:\n"
        "  lr=0.001,0.004        these two\n"
        "  lr=1e-4..1e-1         if settings are drawn: a number between these, on a logarithmic scale if they are\n"
        "                        above 0 and a factor of 10 or more apart; a whole number if both are\n"
        "  hidden=128,512x128,   a layer of 128, layers of 512 and 128, no hidden layer\n"
        "  nesterov=on,off       with the flag and without it\n"
        "What follows -- goes to every run as it stands; --validation-split is 0.1 unless given there.\n\n"
        "examples:\n"
        "  sweep.py lr=0.001,0.004 hidden=128,512x128 dropout=0,0.2 -- --epochs 3 --limit 10000\n"
        "  sweep.py --random 20 lr=1e-4..1e-1 hidden=64..512 activation=relu,tanh -- --optimizer adamw\n"
        "  sweep.py --trials 40 --prune lr=1e-4..1e-1 dropout=0..0.5 --storage sqlite:///sweep.db\n"
        "  sweep.py --resume runs/sweep-20260101-120000      continue a sweep that stopped, or show its table",
    )
    parser.add_argument("values", nargs="*", metavar="FLAG=VALUES", help="what to try; see below")
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("--random", type=count, metavar="N", help="try N settings that are drawn at random")
    drawn_by_tpe = "try N settings: 10 that are drawn at random, the others where settings were good so far"
    amount.add_argument("--trials", type=count, metavar="N", help=drawn_by_tpe)
    prune = "stop a run after an epoch in which its validation accuracy is below the median of 5 or more other runs"
    parser.add_argument("--prune", action="store_true", help=prune)
    seed = (
        "of what is drawn. With --jobs 1 the sweep has the same numbers again, whether it was stopped in between or "
        "not. With more jobs or machines, --trials draws, and --prune stops, by the results that there are by then"
    )
    parser.add_argument("--seed", type=number(int, 0), default=0, metavar="N", help=seed)
    parser.add_argument("--jobs", type=count, default=CORES, metavar="N", help="runs at the same time (one a core)")
    storage = (
        "what holds the study: a database, as sqlite:///sweep.db, or a file on a shared disk. The same command on "
        "other machines then works on the same study, and started again it goes on"
    )
    parser.add_argument("--storage", type=text, metavar="PLACE", help=storage)
    parser.add_argument("--out", type=path, metavar="DIR", help="the folder to be made (runs/sweep-DATE-TIME)")
    resume = (
        "continue the sweep in this folder: finished runs are kept, interrupted ones resumed, and failed ones tried "
        "again unless their loss diverged"
    )
    parser.add_argument("--resume", type=path, metavar="DIR", help=resume)
    parsed = parser.parse_args(own)
    if parsed.resume:
        if fixed or len(own) > 1 + ("--resume" in own):
            parser.error("--resume takes everything from the sweep's folder, so nothing can be given with it")
        return parsed
    if not parsed.values:
        parser.error("say what to try, such as lr=0.001,0.004")
    given, drawn = {flag.split("=")[0] for flag in fixed}, parsed.random or parsed.trials
    choices: Choices = {}
    for values in parsed.values:
        name, equals, listed = values.partition("=")
        if not equals:
            parser.error(f"{values!r} is not FLAG=VALUES, such as lr=0.001,0.004; flags for all runs follow after --")
        if name in choices or f"--{name}" in given:
            parser.error(f"{name} is given twice")
        choices[name] = list(dict.fromkeys(listed.split(",")))
        if not drawn and any(map(bounds, choices[name])):
            parser.error(f"{values} has a range; say with --random N or --trials N how many settings to draw")
    given |= {f"--{name}" for name in choices}
    if taken := given & {"--out", "--resume"}:
        parser.error(f"the sweep chooses the folders of its runs, so {taken.pop()} cannot be given to them")
    if "--validation-split" not in given:
        fixed = [*fixed, "--validation-split", "0.1"]
    parsed.fixed, parsed.choices = fixed, choices
    grid = [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]
    parsed.params, parsed.settings = draw(choices, drawn, parsed.seed) if drawn else (grid, grid)
    if parsed.trials and len(parsed.settings) == drawn:
        parsed.params = [{}] * drawn  # TPE draws each when its turn comes; the settings above only try the flags
    parsed.configs = [parse_training_arguments(as_flags(settings) + fixed) for settings in parsed.settings]
    if not all(config.validation_split for config in parsed.configs):
        parser.error("the settings are ranked by validation accuracy, so --validation-split must be more than 0")
    same = json.dumps([choices, parsed.params, fixed, parsed.prune, parsed.seed])
    parsed.study = f"sweep-{zlib.crc32(same.encode()):08x}"  # the same command, on whichever machine, has the same
    parsed.jobs = min(parsed.jobs, len(parsed.params))
    parsed.threads = max(1, CORES // parsed.jobs)
    return parsed


def bounds(value: str) -> tuple[float, float] | None:
    """The two ends of a range such as 1e-4..1e-1; None for any other value."""
    low, _, high = value.partition("..")
    try:
        return (float(low), float(high)) if -math.inf < float(low) < float(high) < math.inf else None
    except ValueError:
        return None


def draw(choices: Choices, amount: int, seed: int) -> tuple[list[dict[str, Any]], list[Settings]]:
    """Different settings drawn at random, as Optuna's parameters and as settings; fewer if there seem to be no more."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed))
    drawn: dict[tuple[str, ...], tuple[dict[str, Any], Settings]] = {}
    for _ in range(100 * amount):
        trial = study.ask()
        settings = suggest(trial, choices)
        drawn.setdefault(tuple(settings.values()), (trial.params, settings))
        if len(drawn) == amount:
            break
    return [params for params, _ in drawn.values()], [settings for _, settings in drawn.values()]


def suggest(trial: optuna.Trial, choices: Choices) -> Settings:
    """The settings of a trial, as its sampler draws them."""
    settings = {}
    for name, values in choices.items():
        is_range = len(values) == 1 and bounds(values[0])
        value = values[0] if is_range else trial.suggest_categorical(name, values)
        if ends := bounds(value):
            low, high = ends
            of, log = name if is_range else f"{name} {value}", high >= 10 * low > 0
            if re.fullmatch(r"-?\d+\.\.-?\d+", value):
                value = str(trial.suggest_int(of, int(low), int(high), log=log))
            else:  # three digits are easy to read and type
                value = str(min(max(float(f"{trial.suggest_float(of, low, high, log=log):.3g}"), low), high))
        settings[name] = value
    return settings


def as_flags(settings: Settings) -> list[str]:
    """The settings as flags of train.py."""
    flags = ((f"--{name}", value) for name, value in settings.items() if value != "off")
    return [name if value in ("on", "") else f"{name}={value}" for name, value in flags]


# The study


def runs(study: optuna.Study) -> dict[int, FrozenTrial]:
    """The last trial of each run, by the run's number: one that was lost or has failed may get another."""
    numbers: dict[int, int] = {}  # of the runs, by those of their first trials
    last = {}
    for trial in study.get_trials(deepcopy=False):
        last[numbers.setdefault(trial.user_attrs.get("first", trial.number), len(numbers) + 1)] = trial
    return last


def ranking(study: optuna.Study) -> tuple[list[FrozenTrial], list[FrozenTrial]]:
    """The trials of finished runs, the best one first; then those of pruned and of failed ones."""
    ended = [trial for trial in runs(study).values() if trial.state.is_finished() and "outcome" in trial.user_attrs]
    finished = [trial for trial in ended if trial.state == TrialState.COMPLETE]
    finished.sort(key=lambda trial: merit(trial.user_attrs["outcome"]))
    others = [trial for trial in ended if trial.state != TrialState.COMPLETE]
    return finished, sorted(others, key=lambda trial: "epoch" not in trial.user_attrs["outcome"])


def open_study(plan: argparse.Namespace, folder: Path) -> optuna.Study:
    place = plan.storage or str(folder / "study.journal")
    pruner = optuna.pruners.MedianPruner() if plan.prune else optuna.pruners.NopPruner()
    for attempt in (1, 2, 3):
        try:
            if "://" not in place:  # the lock is one that Windows has, too
                storage = optuna.storages.JournalStorage(JournalFileBackend(place, JournalFileOpenLock(place)))
            elif not place.startswith("sqlite"):
                storage = optuna.storages.RDBStorage(place)
            else:  # a transaction is to begin before it reads, or two sweeps could take up the same trial
                options = {"connect_args": {"isolation_level": None, "timeout": 60}}
                storage = optuna.storages.RDBStorage(place, options)
                event.listen(storage.engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
            same = {"study_name": plan.study, "direction": "maximize", "pruner": pruner}
            return optuna.create_study(storage=storage, load_if_exists=True, **same)
        except (exc.OperationalError, exc.IntegrityError):
            if attempt == 3:
                raise
            time.sleep(attempt)  # another sweep is making the tables of the database


def retry_lost(study: optuna.Study, plan: argparse.Namespace, worker: str) -> None:
    """Let the runs wait again that this worker has left unfinished, or that failed for a cause that may be gone."""

    def lost() -> dict[int, FrozenTrial]:
        unfinished = [trial for run, trial in runs(study).items() if run <= len(plan.params) and trial.state in LOST]
        return {t.number: t for t in unfinished if t.user_attrs.get("worker", worker) == worker}

    before = lost()
    if not all("worker" in trial.user_attrs for trial in before.values()):
        time.sleep(5)  # whoever took it gives a name at once, unless killed just then
    for lost_number, trial in lost().items():
        if lost_number in before:
            if trial.state == TrialState.RUNNING:
                study.tell(lost_number, state=TrialState.FAIL)
            first = {"first": trial.user_attrs.get("first", lost_number)}
            known = {"params": trial.params, "distributions": trial.distributions}
            study.add_trial(optuna.create_trial(state=TrialState.WAITING, user_attrs=first, **known))


def next_trial(study: optuna.Study, plan: argparse.Namespace, worker: str) -> optuna.Trial | None:
    """A trial of the run that comes next, with its settings; None if all runs are taken."""

    def sampler(run: int) -> optuna.samplers.BaseSampler:  # its draws depend on the seed, the run and what has ended
        drawing = optuna.samplers.TPESampler(seed=zlib.crc32(f"{plan.seed} {run}".encode()))
        return optuna.samplers.PartialFixedSampler(plan.params[run - 1], drawing)

    taken = runs(study)
    run = min((run for run, trial in taken.items() if trial.state == TrialState.WAITING), default=len(taken) + 1)
    if run <= len(plan.params):
        study.sampler = sampler(run)
        trial = study.ask()
        trial.set_user_attr("worker", worker)
        run = next(run for run, last in runs(study).items() if last.number == trial.number)
        if run <= len(plan.params):
            study.sampler = sampler(run)  # another machine may have taken the one before
            trial.set_user_attr("run", str(run).zfill(len(str(len(plan.params)))))
            trial.set_user_attr("settings", suggest(trial, plan.choices))
            return trial
        study.tell(trial, state=TrialState.FAIL)
    return None


# The runs


def train(
    trial: optuna.Trial, plan: argparse.Namespace, folder: Path, claim: int, stop: list[int]
) -> Generator[None, None, tuple[TrialState, dict[str, Any]]]:
    """Train with the settings of a trial, in a process. Yields as long as that runs, and returns what came of it.

    A run is never pruned after its last epoch. So what is pruned does not depend on when this looks.
    """
    settings, out = trial.user_attrs["settings"], folder / trial.user_attrs["run"]
    for other in ranking(trial.study)[0]:
        if other.user_attrs["settings"] == settings:  # TPE may repeat itself; the run would do so, too
            return TrialState.COMPLETE, other.user_attrs["outcome"]
    resumable = (out / "last.safetensors").exists()
    flags = [f"--resume={out}"] if resumable else [*as_flags(settings), *plan.fixed, f"--out={out}"]
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "scripts" / "train.py"), *flags, "--no-pictures"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env={**os.environ, **dict.fromkeys(THREADS, str(plan.threads))},
            **APART,  # Ctrl-C is for the sweep, which then stops its runs
            # The run keeps other sweeps out of the folder even if this one is killed.
            pass_fds=[claim] if os.name == "posix" else [],
        )
        try:
            told, ended, asked = 0, False, False
            while not ended:
                yield
                ended = process.poll() is not None
                for metrics in history(out)[told:]:
                    told += 1
                    trial.report(metrics["validation_accuracy"], metrics["epoch"])
                    if told < json.loads((out / "config.json").read_text())["epochs"] and trial.should_prune():
                        return TrialState.PRUNED, {
                            **best_of(history(out)[:told]),
                            "error": f"pruned after epoch {told}",
                        }
                if stop and not asked:
                    asked = True
                    ask_to_stop(process)  # it saves where it is
        finally:
            process.kill()  # what it has saved is whole
            status = process.wait()
        errors.seek(0)
        said = errors.read().splitlines()
    if status == 0:
        return TrialState.COMPLETE, best_of(history(out))
    if stop:
        return TrialState.FAIL, {}
    error = said[-1].removeprefix("train.py: error: ") if said else f"it ended with exit status {status}"
    if status < 0:
        error = f"it was ended by {signal.Signals(-status).name}"
    # A loss that diverged would do so again, and TPE is to know. Other causes, such as a full disk, may be gone later.
    return TrialState.PRUNED if error.startswith("the loss became") else TrialState.FAIL, {"error": error}


def history(out: Path) -> list[dict[str, Any]]:
    file = out / "metrics.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def best_of(measured: list[dict[str, Any]]) -> dict[str, Any]:
    best = {**min(measured, key=merit), "seconds": measured[-1]["seconds"]}
    return {name: best[name] for name in MEASURED}


def merit(measured: dict[str, Any]) -> tuple[float, float]:
    """A key to sort by: the better the run, the lower it is."""
    return -measured["validation_accuracy"], measured["validation_loss"]


def train_all(study: optuna.Study, plan: argparse.Namespace, folder: Path, claim: int, worker: str) -> bool:
    """Bring all runs to an end, some at a time; returns False if asked to stop earlier, with everything saved."""
    running: dict[optuna.Trial, Generator[None, None, tuple[TrialState, dict[str, Any]]]] = {}
    left = True
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a second Ctrl-C does not wait for what is saved
    with interruptions() as stop:
        try:
            while True:
                while left and not stop and len(running) < plan.jobs:
                    if left := (trial := next_trial(study, plan, worker)) is not None:
                        running[trial] = train(trial, plan, folder, claim, stop)
                if not running:
                    return not stop or sum(map(len, ranking(study))) == len(plan.params)
                for trial, run in list(running.items()):
                    try:
                        next(run)
                    except StopIteration as end:
                        del running[trial]
                        state, outcome = end.value
                        if outcome:
                            trial.set_user_attr("outcome", outcome)
                            print(in_one_line(f"{trial.user_attrs['run']}  {describe(trial)}"), flush=True)
                        study.tell(
                            trial, outcome["validation_accuracy"] if state == TrialState.COMPLETE else None, state
                        )
                        save(study, plan, folder)
                time.sleep(0.05)
        finally:
            for run in running.values():
                run.close()  # which ends its process


# The results


def describe(trial: optuna.Trial | FrozenTrial) -> str:
    """The settings of a trial, and what came of them."""
    outcome = trial.user_attrs["outcome"]
    settings = ", ".join(f"{name} {value or 'none'}" for name, value in trial.user_attrs["settings"].items())
    good = "error" not in outcome
    result = "validation accuracy {validation_accuracy:.2%} in epoch {epoch}" if good else "{error}"
    return f"({settings}): {result.format(**outcome)}"


def save(study: optuna.Study, plan: argparse.Namespace, folder: Path) -> None:
    """Write results.csv: the ranked runs, then those that were pruned or failed."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["rank", *plan.choices, *MEASURED, "error", "folder"])
    finished, others = ranking(study)
    for rank, trial in [*enumerate(finished, 1), *(("", trial) for trial in others)]:
        results = [trial.user_attrs["outcome"].get(key, "") for key in (*MEASURED, "error")]
        writer.writerow([rank, *trial.user_attrs["settings"].values(), *results, trial.user_attrs["run"]])
    write_atomically(folder / "results.csv", table.getvalue())


def report(study: optuna.Study, plan: argparse.Namespace) -> None:
    """Print the ranked table, why runs did not finish, and how to train the best setting on all images."""

    def place(trial: FrozenTrial) -> str:  # on another machine, its name stands before
        worker, run = trial.user_attrs["worker"], trial.user_attrs["run"]
        return os.path.join(worker.removeprefix(f"{socket.gethostname()}:"), run)

    finished, others = ranking(study)
    table = [["rank", *plan.choices, "validation accuracy", "loss", "epoch", "seconds", "folder"]]
    for rank, trial in enumerate(finished, 1):
        accuracy, loss, epoch, seconds = (trial.user_attrs["outcome"][name] for name in MEASURED)
        settings = [value or "none" for value in trial.user_attrs["settings"].values()]
        table.append(
            [str(rank), *settings, f"{accuracy:.2%}", f"{loss:.4g}", str(epoch), f"{seconds:.1f}", place(trial)]
        )
    table = [list(map(in_one_line, row)) for row in table if finished]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
    for trial in others:
        kind = "pruned" if "epoch" in trial.user_attrs["outcome"] else "failed"
        print(in_one_line(f"{kind}: {place(trial)} {describe(trial)}"))
    if elsewhere := len(plan.params) - len(finished) - len(others):
        print(f"not ended yet, on other machines: {elsewhere}")
    if not finished:
        raise ArgumentError("no run has finished; the lines above say why")
    flags = as_flags(finished[0].user_attrs["settings"]) + plan.fixed
    test_images = load_data(parse_training_arguments(flags)).test_images
    # Only where there are test images can the network be judged without others that are held out.
    needless = "limit|validation-split|early-stop" if len(test_images) else "limit"
    command = re.sub(rf" --({needless})[ =]\S+", "", f" {shlex.join(flags)}")
    print(in_one_line(f"train the best on all images: python {Path(sys.argv[0]).with_name('train.py')}{command}"))


def read_plan(folder: Path) -> argparse.Namespace:
    """The arguments of the sweep in a folder, where it was begun: paths among them may be relative to that."""
    file = folder / "sweep.json"
    try:
        saved = json.loads(file.read_text())
        os.chdir(saved["directory"])
        plan = parse_arguments(saved["arguments"])
        plan.jobs, plan.threads = int(saved["jobs"]), int(saved["threads"])
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ArgumentError(f"{file} is not the plan of a sweep: {error!r}") from error
    return plan


def write_plan(plan: argparse.Namespace, arguments: list[str], folder: Path) -> None:
    """Write what `read_plan` reads, unless the folder holds anything but what this sweep may have left there."""
    file, study = folder / "sweep.json", {"study": plan.study}
    begun = file.exists()
    same = begun and plan.storage and json.dumps(study)[1:-1] in file.read_text()
    if not same and any(not left.name.startswith((LOCK, ".sweep.json.")) for left in folder.iterdir()):
        advice = f", or continue the sweep in it with --resume {shlex.quote(str(folder))}" if begun else ""
        raise ArgumentError(f"{folder} exists already; choose another folder with --out{advice}")
    # The number of threads is part of the plan: the last bits of a matrix product may depend on it.
    saved = {"directory": os.getcwd(), "arguments": arguments, "jobs": plan.jobs, "threads": plan.threads}
    write_atomically(file, json.dumps({**study, **saved}, indent=1) + "\n")


def main(arguments: list[str] | None = None) -> int:
    try:
        given = sys.argv[1:] if arguments is None else arguments
        plan = parse_arguments(given)
        if resumed := plan.resume:
            folder = find_folder(plan.resume, "sweep", "sweep.py", "sweep.json").absolute()
            plan = read_plan(folder)
        else:
            for config in {config.data: config for config in plan.configs}.values():
                load_data(config)  # bad data is reported once, here, and not by every run
            stamp = datetime.now().strftime("sweep-%Y%m%d-%H%M%S")
            folder = plan.out or Path("runs") / (f"{plan.study}-{socket.gethostname()}" if plan.storage else stamp)
            folder.mkdir(parents=True, exist_ok=True)
        with locked(folder, "sweep", wait=bool(resumed or plan.storage)) as claim:
            if not resumed:
                write_plan(plan, given, folder)
            study, worker = open_study(plan, folder), f"{socket.gethostname()}:{folder.absolute()}"
            retry_lost(study, plan, worker)
            save(study, plan, folder)
            amount = len(plan.params)
            print(f"{amount} runs, {plan.jobs} at a time; sweep folder {in_one_line(folder)}", flush=True)
            done = train_all(study, plan, folder, claim, worker)
        if not done:
            again = f"python {sys.argv[0]} --resume {in_one_line(shlex.quote(str(folder)))}"
            print(f"stopped and saved; resume with: {again}")
            return 130
        report(study, plan)
    except (TinygradNpError, OSError, MemoryError) as error:
        return fail("sweep.py", error)
    except FAILURES as error:
        cause = error.__cause__ or error
        return fail(
            "sweep.py",
            ArgumentError(f"the storage cannot be used ({type(cause).__name__}): {str(cause).splitlines()[0]}"),
        )
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
