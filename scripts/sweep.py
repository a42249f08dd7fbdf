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
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until there is something to save, Ctrl-C simply ends the program

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # models/ is part of the repository, not of the installed package

from command_line import Parser, count, fail, in_one_line, number, path, text  # noqa: E402
from compare import read_run  # noqa: E402
from processor import THREADS  # noqa: E402
from run_folder import LOCK, interruptions, locked  # noqa: E402
from settings import parse_arguments as parse_training_arguments  # noqa: E402
from stopping import APART, ask_to_stop  # noqa: E402
from training_run import find_folder, load_data  # noqa: E402

from tinygrad_np.debug.tables import aligned  # noqa: E402
from tinygrad_np.errors import ArgumentError, TinygradNpError  # noqa: E402
from tinygrad_np.files import write_atomically  # noqa: E402

try:
    import optuna
    from optuna.pruners import MedianPruner, NopPruner
    from optuna.samplers import PartialFixedSampler, RandomSampler, TPESampler
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
    from optuna.trial import FrozenTrial, TrialState, create_trial
    from sqlalchemy import event, exc
except ImportError as error:
    print(f'sweep.py: error: {error}; install it with: python -m pip install -e ".[tune]"', file=sys.stderr)
    sys.exit(2)

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
MEASURED = {"validation_accuracy": ".2%", "validation_loss": ".4g", "epoch": "", "seconds": ".1f"}
RUNNING, COMPLETE, PRUNED, FAIL, WAITING = TrialState
FAILURES = (optuna.exceptions.OptunaError, exc.SQLAlchemyError, ImportError, LookupError, ValueError)  # of a storage

Settings = dict[str, str]  # the values of the flags that are swept over, as a user would type them

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)

# The command line


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    end = arguments.index("--") if "--" in arguments else len(arguments)
    own, fixed = arguments[:end], arguments[end + 1 :]
    parser = Parser(
        prog="sweep.py",
        usage="%(prog)s FLAG=VALUES... [options] [-- FLAGS OF TRAIN.PY]\n       %(prog)s --resume DIR",
        description=__doc__,
        epilog="values:\n"
        "  lr=0.001,0.004        these two\n"
        "  lr=1e-4..1e-1         if settings are drawn: a number between these, on a logarithmic scale if they are\n"
        "                        above 0 and a factor of 10 or more apart; a whole number if both are\n"
        "  hidden=128,512x128,   a layer of 128, layers of 512 and 128, no hidden layer\n"
        "  nesterov=on,off       with the flag and without it\n"
        "What follows -- goes to every run as it stands; --validation-split is 0.1 unless given there.\n\n"
        "With --jobs 1 the same seed gives the same numbers, also if the sweep was stopped in between. With more jobs\n"
        "or machines, what --trials draws and --prune stops depends on which runs have ended by then.\n\n"
        "examples:\n"
        "  sweep.py lr=0.001,0.004 hidden=128,512x128 dropout=0,0.2 -- --epochs 3 --limit 10000\n"
        "  sweep.py --random 20 lr=1e-4..1e-1 hidden=64..512 activation=relu,tanh -- --optimizer adamw\n"
        "  sweep.py --trials 40 --prune lr=1e-4..1e-1 dropout=0..0.5 --storage sqlite:///sweep.db\n"
        "  sweep.py --resume runs/sweep-20260101-120000      continue a sweep that stopped, or show its table",
    )
    add, amount = parser.add_argument, parser.add_mutually_exclusive_group()
    add("values", nargs="*", metavar="FLAG=VALUES", help="what to try; see below")
    amount.add_argument("--random", type=count, metavar="N", help="try N settings that are drawn at random")
    trials = "try N settings: the first 10 as --random, the others where settings were good so far"
    amount.add_argument("--trials", type=count, metavar="N", help=trials)
    prune = "stop a run after an epoch in which its validation accuracy is below the median of 5 or more other runs"
    add("--prune", action="store_true", help=prune)
    add("--seed", type=number(int, 0), default=0, metavar="N", help="of what is drawn")
    add("--jobs", type=count, default=CORES, metavar="N", help="runs at the same time (one a core)")
    storage = (
        "a database, as sqlite:///sweep.db, or a file on a shared disk: the same command elsewhere works on the same"
    )
    add("--storage", type=text, metavar="PLACE", help=storage)
    add("--out", type=path, metavar="DIR", help="the folder to be made (runs/sweep-DATE-TIME)")
    resume = "continue the sweep in this folder; failed runs are tried again unless their loss diverged"
    add("--resume", type=path, metavar="DIR", help=resume)
    parsed = parser.parse_args(own)
    if parsed.resume:
        if fixed or len(own) > 1 + ("--resume" in own):
            parser.error("--resume takes everything from the sweep's folder, so nothing can be given with it")
        return parsed
    if not parsed.values:
        parser.error("say what to try, such as lr=0.001,0.004")
    given, drawn = {flag.split("=")[0] for flag in fixed}, parsed.random or parsed.trials
    choices: dict[str, list[str]] = {}
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
        parsed.params[10:] = [{}] * (drawn - 10)  # TPE draws them when their turn comes
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


def draw(choices: dict[str, list[str]], amount: int, seed: int) -> tuple[list[dict[str, Any]], list[Settings]]:
    """Different settings drawn at random, as Optuna's parameters and as settings; fewer if there seem to be no more."""
    study, params, drawn = optuna.create_study(sampler=RandomSampler(seed)), [], []
    for _ in range(100 * amount):
        trial = study.ask()
        if (settings := suggest(trial, choices)) not in drawn and len(drawn) < amount:
            params.append(trial.params)
            drawn.append(settings)
    return params, drawn


def suggest(trial: optuna.Trial, choices: dict[str, list[str]]) -> Settings:
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


def ranking(study: optuna.Study) -> list[FrozenTrial]:
    """The trials of the runs that have ended: finished ones, the best of them first, then pruned, then failed ones."""
    ended = [trial for trial in runs(study).values() if trial.state.is_finished() and "outcome" in trial.user_attrs]
    return sorted(ended, key=lambda trial: (trial.state != COMPLETE, merit(trial.user_attrs["outcome"])))


def merit(measured: dict[str, Any]) -> tuple[float, float]:
    """A key to sort epochs and runs by: the better they are, the lower it is."""
    return -measured.get("validation_accuracy", 0), measured.get("validation_loss", math.inf)


def open_study(plan: argparse.Namespace, folder: Path) -> optuna.Study:
    place = plan.storage or str(folder / "study.journal")
    pruner = MedianPruner() if plan.prune else NopPruner()
    for attempt in (1, 2, 3):
        try:
            if "://" not in place:
                lock = JournalFileOpenLock(place)  # one that Windows has, too
                drop_partial_line(Path(place), lock)
                storage = JournalStorage(JournalFileBackend(place, lock))
            elif not place.startswith("sqlite"):
                storage = RDBStorage(place)
            else:  # a transaction is to begin before it reads, or two sweeps could take up the same trial
                options = {"connect_args": {"isolation_level": None, "timeout": 60}}
                storage = RDBStorage(place, options)
                event.listen(storage.engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
            same = {"study_name": plan.study, "direction": "maximize", "load_if_exists": True}
            return optuna.create_study(storage=storage, pruner=pruner, **same)
        except (exc.OperationalError, exc.IntegrityError):
            if attempt == 3:
                raise
            time.sleep(attempt)  # another sweep is making the tables of the database


def drop_partial_line(journal: Path, lock: JournalFileOpenLock) -> None:
    """Drop what a full disk has left of the last line of a journal: the next one would be lost with it."""
    lock.acquire()
    try:
        lines = journal.read_bytes() if journal.exists() else b""
        if lines and not lines.endswith(b"\n"):
            os.truncate(journal, lines.rfind(b"\n") + 1)
    finally:
        lock.release()


def retry_lost(study: optuna.Study, amount: int, worker: str) -> None:
    """Let the runs wait again that this worker has left unfinished, or that failed for a cause that may be gone."""

    def lost() -> dict[int, FrozenTrial]:
        last = [trial for run, trial in runs(study).items() if run <= amount and trial.state in (RUNNING, FAIL)]
        return {trial.number: trial for trial in last if trial.user_attrs.get("worker", worker) == worker}

    before = lost()
    if any("worker" not in trial.user_attrs for trial in before.values()):
        time.sleep(5)  # who has taken a trial names itself at once, unless it is killed just then
    for trial in [trial for trial in lost().values() if trial.number in before]:
        if trial.state == RUNNING:
            study.tell(trial.number, state=FAIL)
        attributes = {"first": trial.user_attrs.get("first", trial.number)}
        drawn = {"params": trial.params, "distributions": trial.distributions}
        study.add_trial(create_trial(state=WAITING, user_attrs=attributes, **drawn))


def next_trial(study: optuna.Study, plan: argparse.Namespace, worker: str) -> optuna.Trial | None:
    """A trial of the run that comes next, with its settings; None if all runs are taken."""

    def sampler(run: int) -> PartialFixedSampler:  # it draws by the seed, the run, and what has ended so far
        tpe = TPESampler(seed=zlib.crc32(f"{plan.seed} {run}".encode()))
        return PartialFixedSampler(plan.params[run - 1], tpe)

    amount, taken = len(plan.params), runs(study)
    run = min((run for run, trial in taken.items() if trial.state == WAITING), default=len(taken) + 1)
    if run > amount:
        return None
    study.sampler = sampler(run)
    trial = study.ask()
    trial.set_user_attr("worker", worker)
    run = next(run for run, last in runs(study).items() if last.number == trial.number)
    if run > amount:  # another machine has just taken the last
        study.tell(trial, state=FAIL)
        return None
    study.sampler = sampler(run)
    trial.set_user_attr("run", str(run).zfill(len(str(amount))))
    trial.set_user_attr("settings", suggest(trial, plan.choices))
    return trial


# The runs


def train(trial: optuna.Trial, plan: argparse.Namespace, folder: Path, claim: int, stop: list[int]) -> Iterator[Any]:
    """Train with the settings of a trial, in a process. Gives None as long as that runs; then a state and the outcome.

    A run is never pruned after its last epoch. So what is pruned does not depend on when this looks.
    """
    settings, out = trial.user_attrs["settings"], folder / trial.user_attrs["run"]
    for other in ranking(trial.study):
        if other.state == COMPLETE and other.user_attrs["settings"] == settings:
            yield other.state, other.user_attrs["outcome"]  # TPE may repeat itself; the run would do so, too
    flags = [*as_flags(settings), *plan.fixed, f"--out={out}"]
    flags = [f"--resume={out}"] if (out / "last.safetensors").exists() else flags
    command = [sys.executable, str(ROOT / "scripts" / "train.py"), *flags, "--no-pictures"]
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, **APART}  # Ctrl-C is for the sweep alone
    options["env"] = {**os.environ, **dict.fromkeys(THREADS, str(plan.threads))}
    options["pass_fds"] = [claim] if os.name == "posix" else []  # keeps others out even if the sweep is killed
    measured, ended, asked, pruned = [], False, False, False
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stderr=errors, **options)
        try:
            while not ended and not pruned:
                yield None
                ended = process.poll() is not None
                config, epochs = read_run(out) if (out / "metrics.jsonl").exists() else ({}, [])
                for metrics in epochs[len(measured) :]:
                    measured.append(metrics)
                    trial.report(metrics["validation_accuracy"], metrics["epoch"])
                    if pruned := len(measured) < config["epochs"] and trial.should_prune():
                        break
                if stop and not asked:
                    ask_to_stop(process)  # it saves where it is
                    asked = True
        finally:
            process.kill()  # what it has saved is whole
            status = process.wait()
        errors.seek(0)
        said = errors.read().splitlines()
    best = {**min(measured, key=merit), "seconds": measured[-1]["seconds"]} if measured else {}
    error = said[-1].removeprefix("train.py: error: ") if said else f"it ended with exit status {status}"
    if pruned:
        yield PRUNED, {**best, "error": f"pruned after epoch {len(measured)}"}
    elif status == 0:
        yield COMPLETE, best
    elif stop:
        yield FAIL, None
    elif error.startswith("the loss became"):  # it would do so again, which TPE is to know
        yield PRUNED, {"error": error}
    else:  # other causes, such as a full disk, may be gone on another day
        yield FAIL, {"error": f"it was ended by {signal.Signals(-status).name}" if status < 0 else error}


def train_all(study: optuna.Study, plan: argparse.Namespace, folder: Path, claim: int, worker: str) -> bool:
    """Bring all runs to an end, some at a time; returns False if asked to stop earlier, with everything saved."""
    running: dict[optuna.Trial, Iterator[Any]] = {}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a second Ctrl-C does not wait for what is saved
    with interruptions() as stop:
        try:
            left = True
            while running or left:
                while left and len(running) < plan.jobs:
                    trial = None if stop else next_trial(study, plan, worker)
                    if left := trial is not None:
                        running[trial] = train(trial, plan, folder, claim, stop)
                for trial, run in list(running.items()):
                    if ended := next(run):
                        state, outcome = ended
                        del running[trial]
                        if outcome:
                            trial.set_user_attr("outcome", outcome)
                            print(in_one_line(f"{trial.user_attrs['run']}  {describe(trial)}"), flush=True)
                        value = outcome["validation_accuracy"] if state == COMPLETE else None
                        study.tell(trial, value, state)
                        save(study, plan, folder)
                time.sleep(0.05)
        finally:
            for run in running.values():
                run.close()  # which ends its process
    return not stop or len(ranking(study)) == len(plan.params)


# The results


def describe(trial: optuna.Trial | FrozenTrial) -> str:
    """The settings of a trial, and what came of them."""
    outcome = trial.user_attrs["outcome"]
    settings = ", ".join(f"{name} {value or 'none'}" for name, value in trial.user_attrs["settings"].items())
    result = "{error}" if "error" in outcome else "validation accuracy {validation_accuracy:.2%} in epoch {epoch}"
    return f"({settings}): {result.format(**outcome)}"


def save(study: optuna.Study, plan: argparse.Namespace, folder: Path) -> None:
    """Write results.csv: the ranked runs, then those that were pruned or failed."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["rank", *plan.choices, *MEASURED, "error", "folder"])
    for rank, trial in enumerate(ranking(study), 1):
        results = [trial.user_attrs["outcome"].get(key, "") for key in (*MEASURED, "error")]
        ranked = [rank if trial.state == COMPLETE else "", *trial.user_attrs["settings"].values()]
        writer.writerow([*ranked, *results, trial.user_attrs["run"]])
    write_atomically(folder / "results.csv", table.getvalue())


def report(study: optuna.Study, plan: argparse.Namespace) -> None:
    """Print the ranked table, why runs did not finish, and how to train the best setting on all images."""
    table = [["rank", *plan.choices, "validation accuracy", "loss", "epoch", "seconds", "folder"]]
    ended, others = ranking(study), []
    for rank, trial in enumerate(ended, 1):
        outcome, worker = trial.user_attrs["outcome"], trial.user_attrs["worker"]  # another machine's name is shown
        place = os.path.join(worker.removeprefix(f"{socket.gethostname()}:"), trial.user_attrs["run"])
        if trial.state == COMPLETE:
            settings = [value or "none" for value in trial.user_attrs["settings"].values()]
            table.append([str(rank), *settings, *(f"{outcome[name]:{form}}" for name, form in MEASURED.items()), place])
        else:
            others.append(f"{'pruned' if 'epoch' in outcome else 'failed'}: {place} {describe(trial)}")
    print("\n".join([aligned(table)] * (len(table) > 1) + list(map(in_one_line, others))))
    if len(ended) < len(plan.params):
        print(f"not ended yet, on other machines: {len(plan.params) - len(ended)}")
    if len(table) == 1:
        raise ArgumentError("no run has finished; the lines above say why")
    flags = as_flags(ended[0].user_attrs["settings"]) + plan.fixed
    test_images = load_data(parse_training_arguments(flags)).test_images
    # Only where there are test images can the network be judged without others that are held out.
    needless = "limit|validation-split|early-stop" if len(test_images) else "limit"
    command = re.sub(rf" --({needless})[ =]\S+", "", f" {shlex.join(flags)}")
    print(in_one_line(f"train the best on all images: python {Path(sys.argv[0]).with_name('train.py')}{command}"))


# The sweep's folder


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
    """Write what `read_plan` reads, unless the folder holds anything but what the same command may have left there."""
    file, begun = folder / "sweep.json", (folder / "sweep.json").exists()
    same = begun and plan.storage and json.dumps(arguments) in file.read_text()
    if not same and any(not left.name.startswith((LOCK, ".sweep.json.")) for left in folder.iterdir()):
        advice = f", or continue the sweep in it with --resume {shlex.quote(str(folder))}" if begun else ""
        raise ArgumentError(f"{folder} exists already; choose another folder with --out{advice}")
    # The number of threads is part of the plan: the last bits of a matrix product may depend on it.
    saved = {"directory": os.getcwd(), "arguments": arguments, "jobs": plan.jobs, "threads": plan.threads}
    write_atomically(file, json.dumps(saved))


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
            retry_lost(study, len(plan.params), worker)
            save(study, plan, folder)
            print(f"{len(plan.params)} runs, {plan.jobs} at a time; sweep folder {in_one_line(folder)}", flush=True)
            done = train_all(study, plan, folder, claim, worker)
        if not done:
            print(
                in_one_line(f"stopped and saved; resume with: python {sys.argv[0]} --resume {shlex.quote(str(folder))}")
            )
            return 130
        report(study, plan)
    except (TinygradNpError, OSError, MemoryError) as error:
        return fail("sweep.py", error)
    except FAILURES as error:
        cause = error.__cause__ or error
        reason = f"{type(cause).__name__}: {str(cause).partition(chr(10))[0]}"
        return fail("sweep.py", ArgumentError(f"the storage cannot be used ({reason})"))
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
