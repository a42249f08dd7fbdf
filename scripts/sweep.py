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
import zlib
from dataclasses import dataclass
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
from tqdm import tqdm  # noqa: E402
from training_run import find_folder, load_data  # noqa: E402

from tinygrad_np import TinygradNpError  # noqa: E402
from tinygrad_np.errors import ArgumentError  # noqa: E402
from tinygrad_np.files import write_atomically  # noqa: E402

try:
    import optuna
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import FrozenTrial, TrialState
except ImportError as error:
    print(f'sweep.py: error: {error}; install it with: python -m pip install -e ".[tune]"', file=sys.stderr)
    sys.exit(2)

TRAIN = ROOT / "scripts" / "train.py"
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
JOURNAL = "study.journal"  # what holds the study of a sweep without --storage

Settings = dict[str, str]  # the values of the flags that are swept over, as a user would type them
Choices = dict[str, list[str]]  # what to try for each of them

optuna.logging.set_verbosity(optuna.logging.ERROR)

# The command line


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    own, fixed = arguments, []
    if "--" in arguments:
        place = arguments.index("--")
        own, fixed = arguments[:place], arguments[place + 1 :]
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
    amount.add_argument("--random", type=count, metavar="N", help="as --trials N --sampler random")
    amount.add_argument("--trials", type=count, metavar="N", help="try N settings that the sampler draws")
    parser.add_argument(
        "--sampler",
        choices=["tpe", "random"],
        help="tpe, the default, draws 10 settings at random, and the others where they were good so far",
    )
    parser.add_argument(
        "--prune",
        action="store_true",
        help="stop a run after an epoch in which its validation accuracy is below the median of 5 or more other runs",
    )
    parser.add_argument("--seed", type=number(int, 0), default=0, metavar="N", help="of what is drawn")
    parser.add_argument("--jobs", type=count, default=CORES, metavar="N", help="runs at the same time (one a core)")
    parser.add_argument(
        "--storage",
        type=text,
        metavar="PLACE",
        help="what holds the study: a database, as sqlite:///sweep.db, or a file on a shared disk. The same command on "
        "other machines then works on the same study, and started again it goes on",
    )
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
    if parsed.sampler and not parsed.trials:
        parser.error("--sampler draws the settings of --trials N")
    given = {flag.split("=")[0] for flag in fixed}
    drawn = parsed.random or parsed.trials
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
    parsed.params, parsed.settings = draw(choices, drawn, parsed.seed) if drawn else combine(choices)
    if parsed.trials and parsed.sampler != "random" and len(parsed.settings) == drawn:
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


def combine(choices: Choices) -> tuple[list[dict[str, Any]], list[Settings]]:
    """All combinations, as Optuna's parameters and as settings."""
    settings = [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]
    return [dict(setting) for setting in settings], settings


def draw(choices: Choices, amount: int, seed: int) -> tuple[list[dict[str, Any]], list[Settings]]:
    """The same for different settings drawn at random; fewer than asked for if there seem to be no more."""
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


# The study, and the sweep's folder


def write_plan(plan: argparse.Namespace, arguments: list[str], folder: Path) -> None:
    # The number of threads is part of the plan: the last bits of a matrix product may depend on it.
    saved = {"directory": os.getcwd(), "arguments": arguments, "jobs": plan.jobs, "threads": plan.threads}
    write_atomically(folder / "sweep.json", json.dumps(saved, indent=1) + "\n")


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


def require_free(folder: Path, plan: argparse.Namespace) -> None:
    """Raise an ArgumentError if a folder holds anything but what this sweep may have left there."""
    begun = (folder / "sweep.json").exists()
    if begun and plan.storage and read_plan(folder).study == plan.study:
        return
    # A sweep that is killed before it has written its plan leaves a part of its study at most.
    if begun or not all(file.name.startswith((LOCK, ".sweep.json.", JOURNAL)) for file in folder.iterdir()):
        advice = f", or continue the sweep in it with --resume {shlex.quote(str(folder))}" if begun else ""
        raise ArgumentError(f"{folder} exists already; choose another folder with --out{advice}")
    (folder / JOURNAL).unlink(missing_ok=True)


def open_study(plan: argparse.Namespace, folder: Path) -> optuna.Study:
    """The study of a plan. Who makes it puts all runs into it, as trials that wait until someone asks for the next."""
    place, name = plan.storage or str(folder / JOURNAL), plan.study
    pruner = optuna.pruners.MedianPruner() if plan.prune else optuna.pruners.NopPruner()
    for attempt in (1, 2, 3):
        try:
            storage = place if "://" in place else optuna.storages.JournalStorage(JournalFileBackend(place))
            try:
                study = optuna.create_study(storage=storage, study_name=name, direction="maximize", pruner=pruner)
            except optuna.exceptions.DuplicatedStudyError:
                return complete(optuna.load_study(storage=storage, study_name=name, pruner=pruner))
            break
        except TinygradNpError:
            raise
        except Exception as error:  # of Optuna, of SQLAlchemy, or of a database's driver
            kind, reason = type(error).__name__, next(iter(str(error).splitlines()), "")
            if attempt == 3 or kind not in ("IntegrityError", "OperationalError"):
                raise ArgumentError(f"the storage cannot be used ({kind}): {reason}") from error
            time.sleep(attempt)  # another machine is making the tables of the database
    for i, params in enumerate(plan.params, 1):
        enqueue(study, f"{i:0{len(str(len(plan.params)))}}", params)
    study.set_user_attr("runs", len(plan.params))
    return study


def complete(study: optuna.Study) -> optuna.Study:
    """The study once another sweep, which has made it, has put all runs into it."""
    for _ in range(600):
        if "runs" in study.user_attrs:
            return study
        time.sleep(0.1)
    raise ArgumentError(f"the study {study.study_name} was left incomplete; choose another --seed or --storage")


def enqueue(study: optuna.Study, run: str, params: dict[str, Any]) -> None:
    """Let a trial wait with these parameters. The sampler draws the others when its turn comes."""
    study.enqueue_trial(params, user_attrs={"run": run, "params": params})


def trials(study: optuna.Study) -> list[FrozenTrial]:
    """The last trial of each run: one that was interrupted or has failed may get another."""
    last = {trial.user_attrs["run"]: trial for trial in study.get_trials(deepcopy=False) if "run" in trial.user_attrs}
    return [last[name] for name in sorted(last)]


def ranking(study: optuna.Study) -> tuple[list[FrozenTrial], list[FrozenTrial]]:
    """The trials of finished runs, the best one first; then those of pruned and of failed ones."""
    ended = [trial for trial in trials(study) if "outcome" in trial.user_attrs and trial.state.is_finished()]
    finished = [trial for trial in ended if trial.state == TrialState.COMPLETE]
    finished.sort(key=lambda trial: merit(trial.user_attrs["outcome"]))
    return finished, sorted((t for t in ended if t not in finished), key=lambda trial: trial.state == TrialState.FAIL)


def repeat_lost(study: optuna.Study, worker: str) -> None:
    """Let the runs wait again that this worker has not brought to an end, unless it would be the same end."""
    for trial in trials(study):
        status = trial.user_attrs.get("outcome", {}).get("status", "failed")  # of killed and interrupted ones, too
        lost = trial.state in (TrialState.RUNNING, TrialState.FAIL) and status == "failed"
        if lost and trial.user_attrs.get("worker") == worker:
            if trial.state == TrialState.RUNNING:
                study.tell(trial.number, state=TrialState.FAIL)
            enqueue(study, trial.user_attrs["run"], {**trial.user_attrs["params"], **trial.params})


# The runs


class Failed(Exception):  # noqa: N818 (not an error of the sweep)
    """A trial has no result: its run has failed, or the sweep was asked to stop."""


@dataclass
class Worker:
    """What every run of this process needs to know."""

    plan: argparse.Namespace
    folder: Path
    name: str
    claim: int  # the descriptor that holds the lock of the folder
    stop: list[int]  # not empty once the sweep was asked to stop

    def train(self, trial: optuna.Trial) -> float:
        """Optuna's objective: train with the settings of a trial, in a process; returns the accuracy to maximise."""
        trial.set_user_attr("worker", self.name)
        if self.stop or "run" not in trial.user_attrs:  # other machines were faster, and no planned one is left
            trial.study.stop()
            raise Failed
        # A sampler of its own for each trial: what it draws depends on the seed, its number and the results so far.
        trial.study.sampler = optuna.samplers.TPESampler(seed=zlib.crc32(f"{self.plan.seed} {trial.number}".encode()))
        settings = suggest(trial, self.plan.choices)
        trial.set_user_attr("settings", settings)
        for other in ranking(trial.study)[0]:
            if other.user_attrs["settings"] == settings:  # TPE may repeat itself; the run would do so, too
                trial.set_user_attr("outcome", other.user_attrs["outcome"])
                return other.value
        out = self.folder / trial.user_attrs["run"]
        resumable = (out / "last.safetensors").exists()
        flags = [f"--resume={out}"] if resumable else [*as_flags(settings), *self.plan.fixed, f"--out={out}"]
        with tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(
                [sys.executable, str(TRAIN), *flags, "--no-pictures"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env={**os.environ, **dict.fromkeys(THREADS, str(self.plan.threads))},
                **APART,  # Ctrl-C is for the sweep, which then stops its runs
                # The run keeps other sweeps out of the folder even if this one is killed.
                pass_fds=[self.claim] if os.name == "posix" else [],
            )
            try:
                self.watch(process, trial, out)
            finally:
                process.kill()  # what it has saved is whole
                process.wait()
            errors.seek(0)
            return self.result(process.returncode, trial, history(out), errors.read().splitlines())

    def watch(self, process: subprocess.Popen[bytes], trial: optuna.Trial, out: Path) -> None:
        """Tell the study of each epoch until the process ends. Stop it if it is to be pruned, or the sweep to stop.

        A run is never pruned after its last epoch. So what is pruned does not depend on when this looks.
        """
        told, ended, asked = 0, False, False
        while not ended:
            time.sleep(0.05)
            ended = process.poll() is not None
            for metrics in history(out)[told:]:
                told += 1
                trial.report(metrics["validation_accuracy"], metrics["epoch"])
                if told < json.loads((out / "config.json").read_text())["epochs"] and trial.should_prune():
                    ask_to_stop(process)
                    process.wait()
                    pruned = {"status": "pruned", **best_of(history(out)[:told]), "error": f"pruned after epoch {told}"}
                    trial.set_user_attr("outcome", pruned)
                    raise optuna.TrialPruned
            if self.stop and not asked:
                asked = True
                ask_to_stop(process)  # it saves where it is

    def result(self, status: int, trial: optuna.Trial, measured: list[dict[str, Any]], errors: list[str]) -> float:
        """What came of a run that ended with an exit status."""
        if status == 0:
            trial.set_user_attr("outcome", {"status": "finished", **best_of(measured)})
            return best_of(measured)["validation_accuracy"]
        if self.stop:
            raise Failed
        if status < 0:
            error = f"it was ended by {signal.Signals(-status).name}"
        else:
            error = errors[-1].removeprefix("train.py: error: ") if errors else f"it ended with exit status {status}"
        # A loss that diverged would do so again. Other causes, such as a full disk, may be gone on another day.
        kind = "diverged" if error.startswith("the loss became") else "failed"
        trial.set_user_attr("outcome", {"status": kind, "error": error})
        raise Failed


def history(out: Path) -> list[dict[str, Any]]:
    file = out / "metrics.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def best_of(measured: list[dict[str, Any]]) -> dict[str, Any]:
    best = min(measured, key=merit)
    names = ("validation_accuracy", "validation_loss", "epoch")
    return {**{name: best[name] for name in names}, "seconds": measured[-1]["seconds"]}


def merit(measured: dict[str, Any]) -> tuple[float, float]:
    """A key to sort by: the better the run, the lower it is."""
    return -measured["validation_accuracy"], measured["validation_loss"]


def train_all(study: optuna.Study, plan: argparse.Namespace, folder: Path, name: str, claim: int) -> bool:
    """Bring all runs to an end, some at a time; returns False if asked to stop earlier, with everything saved."""
    waiting, runs = len(study.get_trials(deepcopy=False, states=(TrialState.WAITING,))), study.user_attrs["runs"]
    bar = tqdm(total=runs, desc="sweep", unit="run", leave=False, disable=None if sys.stderr else True)

    def show(study: optuna.Study, trial: FrozenTrial) -> None:
        save(study, plan, folder)
        finished, others = ranking(study)
        bar.update(len(finished) + len(others) - bar.n)
        if finished:
            bar.set_postfix(best=f"{finished[0].value:.2%}")
        if "outcome" in trial.user_attrs:
            with bar.external_write_mode():
                print(in_one_line(f"{trial.user_attrs['run']}  {describe(trial)}: {summary(trial)}"), flush=True)

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a second Ctrl-C does not wait for what is saved
    with bar, interruptions() as stop:
        worker = Worker(plan, folder, name, claim, stop)
        study.optimize(worker.train, waiting, n_jobs=plan.jobs, catch=Failed, callbacks=[show])
        return not stop or sum(map(len, ranking(study))) == runs


# The results


def describe(trial: FrozenTrial) -> str:
    return ", ".join(f"{name} {value or 'none'}" for name, value in trial.user_attrs["settings"].items())


def summary(trial: FrozenTrial) -> str:
    outcome = trial.user_attrs["outcome"]
    if outcome["status"] == "finished":
        return f"validation accuracy {outcome['validation_accuracy']:.2%} in epoch {outcome['epoch']}"
    return str(outcome["error"])


def save(study: optuna.Study, plan: argparse.Namespace, folder: Path) -> None:
    """Write results.csv: the ranked runs, then those that were pruned or failed."""
    measured = ["validation_accuracy", "validation_loss", "epoch", "seconds", "error"]
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["rank", *plan.choices, *measured, "folder"])
    finished, others = ranking(study)
    for rank, trial in [*enumerate(finished, 1), *(("", trial) for trial in others)]:
        results = [trial.user_attrs["outcome"].get(key, "") for key in measured]
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
        outcome = trial.user_attrs["outcome"]
        measured = [f"{outcome['validation_accuracy']:.2%}", f"{outcome['validation_loss']:.4g}"]
        measured += [str(outcome["epoch"]), f"{outcome['seconds']:.1f}", place(trial)]
        table.append([str(rank), *(value or "none" for value in trial.user_attrs["settings"].values()), *measured])
    if finished:
        table = [list(map(in_one_line, row)) for row in table]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for row in table:
            print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
    for trial in others:
        kind = "failed" if trial.state == TrialState.FAIL else "pruned"
        print(in_one_line(f"{kind}: {place(trial)} ({describe(trial)}): {summary(trial)}"))
    if elsewhere := study.user_attrs["runs"] - len(finished) - len(others):
        print(f"not ended yet, on other machines: {elsewhere}")
    if finished:
        flags = as_flags(finished[0].user_attrs["settings"]) + plan.fixed
        test_images = load_data(parse_training_arguments(flags)).test_images
        # Only where there are test images can the network be judged without others that are held out.
        flags = without(flags, {"--limit", *(["--validation-split", "--early-stop"] if len(test_images) else [])})
        command = f"python {Path(sys.argv[0]).with_name('train.py')} {shlex.join(flags)}"
        print(in_one_line(f"train the best on all images: {command}"))


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
                require_free(folder, plan)
            study = open_study(plan, folder)
            if not resumed:
                write_plan(plan, given, folder)
            name = f"{socket.gethostname()}:{folder.absolute()}"
            repeat_lost(study, name)
            save(study, plan, folder)
            runs = study.user_attrs["runs"]
            print(f"{runs} runs, {plan.jobs} at a time; sweep folder {in_one_line(folder)}", flush=True)
            done = train_all(study, plan, folder, name, claim)
        if not done:
            again = f"python {sys.argv[0]} --resume {in_one_line(shlex.quote(str(folder)))}"
            print(f"stopped and saved; resume with: {again}")
            return 130
        report(study, plan)
        if not ranking(study)[0]:
            raise ArgumentError("no run has finished; the lines above say why")
    except (TinygradNpError, OSError, MemoryError) as error:
        return fail("sweep.py", error)
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
