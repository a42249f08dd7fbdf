"""Train presets of models/mnist_mlp.py, and print the guide's table of what they reach, in Markdown.

Every run is a run of train.py in its own folder, DIR/NAME-SEED; the table is saved as DIR/table.md. Runs that are in
DIR already are resumed, and not repeated if they are finished. The training accuracy is measured during the last epoch,
the test accuracy with the last weights, and the seconds are those of training, evaluations included.
"""

import argparse
import itertools
import shlex
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # between the runs, Ctrl-C simply ends the program

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # models/ is part of the repository, not of the installed package

import numpy as np  # noqa: E402
from command_line import Parser, count, fail, in_one_line, path  # noqa: E402
from settings import PRESETS  # noqa: E402
from settings import parse_arguments as parse_training_arguments  # noqa: E402
from stopping import APART, REQUESTS, ask_to_stop  # noqa: E402
from training_run import evaluate, load_data, restore  # noqa: E402

from tinygrad_np import TinygradNpError  # noqa: E402
from tinygrad_np.errors import ArgumentError  # noqa: E402
from tinygrad_np.files import write_atomically  # noqa: E402


def preset(text: str) -> str:
    if text not in PRESETS:
        raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(PRESETS)}")
    return text


def parse_arguments(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = Parser(
        prog="presets.py",
        usage="%(prog)s [-h] [--seeds N] [--out DIR] [NAME ...] [-- FLAGS OF train.py]",
        description=__doc__,
        epilog=f"presets: {', '.join(PRESETS)}\n\n"
        "examples:\n"
        "  presets.py                                   all presets but best\n"
        "  presets.py tutorial deep --seeds 3           two of them, three times each\n"
        "  presets.py --out runs/presets-20260101       continue a table that was interrupted\n"
        "  presets.py tutorial -- --activation tanh     with another setting",
    )
    parser.add_argument("names", type=preset, nargs="*", metavar="NAME", help="presets to train (all but best)")
    parser.add_argument("--seeds", type=count, default=1, metavar="N", help="train each with the seeds 0 to N - 1 (1)")
    parser.add_argument("--out", type=path, metavar="DIR", help="where the runs' folders are (runs/presets-DATE-TIME)")
    end = arguments.index("--") if "--" in arguments else len(arguments)
    flags = arguments[end + 1 :]
    parsed = parser.parse_args(arguments[:end])
    for flag in ("--preset", "--seed", "--out", "--resume"):
        if any(given.split("=")[0] == flag for given in flags):
            parser.error(f"{flag} is given to train.py by this script, so it cannot stand after --")
    parsed.names = list(dict.fromkeys(parsed.names)) or [name for name in PRESETS if name != "best"]
    for name in parsed.names:
        parse_training_arguments(["--preset", name, *flags])  # refuses bad flags before anything is trained
    parsed.out = parsed.out or Path("runs") / datetime.now().strftime("presets-%Y%m%d-%H%M%S")
    return parsed, flags


def train(arguments: list[str]) -> int:
    """Run train.py in a process of its own, which shows its progress and errors; returns its exit status."""
    command = [sys.executable, str(ROOT / "scripts" / "train.py"), *arguments]
    # It gets Ctrl-C once, from here, and not from the terminal as well.
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, **APART)
    for number in REQUESTS:  # the first makes it save and stop, the second stop at once
        signal.signal(number, lambda number, frame: ask_to_stop(process, number))
    status = process.wait()
    for number in REQUESTS:
        signal.signal(number, signal.SIG_DFL)
    return status


def table(measured: dict[str, list[tuple[float, float, float]]]) -> str:
    """The results as a table in Markdown, given the two accuracies and the seconds of each run of each preset."""
    lines = ["| preset | network and method | published | goal | training | test | seconds |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- |")
    for name, runs in measured.items():
        preset = PRESETS[name]
        training, test, seconds = np.transpose(runs)
        accuracy = f"{test.mean():.2f}%" + (f" ({test.min():.2f} to {test.max():.2f})" if len(test) > 1 else "")
        lines.append(
            f"| `{name}` | {preset.description} | {preset.published} | {preset.goal}% "
            f"| {training.mean():.2f}% | {accuracy} | {seconds.mean():.0f} |"
        )
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    try:
        parsed, flags = parse_arguments(sys.argv[1:] if arguments is None else arguments)
        measured: dict[str, list[tuple[float, float, float]]] = {}
        for name, seed in itertools.product(parsed.names, range(parsed.seeds)):
            folder = parsed.out / f"{name}-{seed}"
            settings = ["--preset", name, "--seed", str(seed), *flags]
            wanted = parse_training_arguments(settings)
            run = restore(folder) if (folder / "last.safetensors").exists() else None
            if run:
                load_data(wanted)  # settles what depends on the data
            if run and not vars(run.config).items() <= vars(wanted).items():
                raise ArgumentError(f"{folder} holds a run with other settings; choose another folder with --out")
            if run is None or not run.is_finished:
                again = ["--resume", str(folder), *{"--no-pictures"}.intersection(flags)]
                status = train(again if run else [*settings, "--out", str(folder)])
                if status:
                    if status != 2:  # with 2, train.py has said what is wrong
                        out = f"--out {shlex.quote(str(parsed.out))}"
                        print(in_one_line(f"stopped; resume with the same command and {out}"))
                    return status if status > 0 else 128 - status
                run = restore(folder)
            _, images, labels = run.judged()
            test = 100 * evaluate(run.model, images, labels) / len(images)
            training, seconds = 100 * run.progress["history"][-1]["accuracy"], run.progress["seconds"]
            measured.setdefault(name, []).append((training, test, seconds))
            print(f"{name}, seed {seed}: test accuracy {test:.2f}%, {seconds:.1f} s", flush=True)
        write_atomically(parsed.out / "table.md", table(measured))
        print(f"\n{table(measured)}", end="")
    except (TinygradNpError, OSError) as error:
        return fail("presets.py", error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
