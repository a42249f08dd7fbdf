"""Compare runs: a table of their results and of the settings in which they differ, and a plot of their curves.

Runs that are still at work, or were stopped, are compared by the epochs that they have finished.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # models/ is part of the repository, not of the installed package

from command_line import Parser, fail, in_one_line, path  # noqa: E402
from pictures import CHECKED, curves_figure, save  # noqa: E402
from training_run import find_folder  # noqa: E402

from tinygrad_np import TinygradNpError  # noqa: E402
from tinygrad_np.debug.tables import aligned  # noqa: E402
from tinygrad_np.errors import DataError  # noqa: E402

Metrics = dict[str, float]


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="compare.py",
        description=__doc__,
        epilog="example:\n  compare.py runs/*",
    )
    parser.add_argument("runs", type=path, nargs="+", metavar="RUN", help="the folder of a run, or a checkpoint in it")
    parser.add_argument("--out", type=path, default=Path("compare.png"), metavar="FILE", help="the plot (compare.png)")
    return parser.parse_args(arguments)


def read_run(folder: Path) -> tuple[dict[str, Any], list[Metrics]]:
    """The settings of a run and its metrics after each epoch.

    Raises an ArgumentError if the folder is not that of a run, and a DataError, which names the file, if one of its
    files is damaged.
    """
    find_folder(find_folder(folder), file="config.json")
    config = parse(read(folder / "config.json"), str(folder / "config.json"))
    if not isinstance(config.get("epochs"), int):
        raise DataError(f"{folder / 'config.json'}: is not that of a run: it lacks the number of epochs")
    file = folder / "metrics.jsonl"
    history = []
    for number, line in enumerate(read(file).splitlines() if file.exists() else [], start=1):
        metrics = parse(line, f"{file}: line {number}")
        needed = {"epoch", "loss", "accuracy", "seconds"}
        if not (needed <= metrics.keys() and any(f"{part}_accuracy" in metrics for part in CHECKED)):
            raise DataError(f"{file}: line {number}: lacks one of {', '.join(sorted(needed))}, test_accuracy")
        if not all(isinstance(value, (int, float)) and abs(value) < 1e300 for value in metrics.values()):
            raise DataError(f"{file}: line {number}: damaged: it holds something other than finite numbers")
        history.append(metrics)
    return config, history


def read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: damaged: it is not text: {error}") from error


def parse(text: str, place: str) -> dict[str, Any]:
    """The JSON object in the text; `place` names it in errors."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: damaged: it is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise DataError(f"{place}: damaged: it is not a JSON object")
    return value


def table(runs: Mapping[str, tuple[dict[str, Any], list[Metrics]]]) -> str:
    """A row for each run: the settings in which the runs differ, and the results so far."""
    configs = [config for config, _ in runs.values()]
    settings = dict.fromkeys(key for config in configs for key in config)
    differing = [key for key in settings if len({shown(config.get(key)) for config in configs}) > 1 and key != "epochs"]
    checked = [
        part for part in CHECKED if any(f"{part}_accuracy" in line for _, lines in runs.values() for line in lines)
    ]
    rows = []
    for name, (config, history) in runs.items():
        last = history[-1] if history else {}
        row = [name, *(shown(config.get(key)) for key in differing), f"{len(history)}/{config['epochs']}"]
        row += [f"{last['loss']:.4f}", f"{last['accuracy']:.2%}"] if last else ["-", "-"]
        for part in checked:
            accuracies = [line[f"{part}_accuracy"] for line in history if f"{part}_accuracy" in line]
            row += [f"{max(accuracies):.2%}", f"{accuracies[-1]:.2%}"] if accuracies else ["-", "-"]
        rows.append([*row, f"{last['seconds']:.1f}" if last else "-"])
    head = ["run", *(key.replace("_", " ") for key in differing), "epochs", "loss", "training"]
    head += [f"{which} {part}" for part in checked for which in ("best", "last")]
    return aligned([[*head, "seconds"]], rows)


def shown(value: Any) -> str:
    """A setting as the table shows it; a dash stands for none."""
    if isinstance(value, list):
        return "x".join(map(str, value)) or "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)


def names(folders: list[Path]) -> list[str]:
    """What to call the runs: the folders' own names, or their paths if two of those are the same."""
    short = [folder.resolve().name for folder in folders]
    return short if len(set(short)) == len(short) else [str(folder) for folder in folders]


def main(arguments: list[str] | None = None) -> int:
    status = 0
    try:
        parsed = parse_arguments(arguments)
        read_runs = {}
        for given in dict.fromkeys(parsed.runs):
            try:
                folder = find_folder(given)
                read_runs[folder] = read_run(folder)
            except (TinygradNpError, OSError) as error:  # the other runs can still be compared
                status = fail("compare.py", error)
        if read_runs:
            runs = dict(zip(names(list(read_runs)), read_runs.values(), strict=True))
            print(table(runs), flush=True)
            save(curves_figure({name: history for name, (_, history) in runs.items()}), parsed.out)
            print(f"curves in {in_one_line(parsed.out)}")
    except (TinygradNpError, OSError, MemoryError) as error:
        return fail("compare.py", error)
    return status


if __name__ == "__main__":
    sys.exit(main())
