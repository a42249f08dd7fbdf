"""Measure tinygrad_np against hand-written NumPy, and against the other libraries that are installed.

Every row is a pair, measured in turns within one run, so that a machine whose speed drifts favours neither. The result
is the ratio of the two in each round: its median, with the quartiles; below 1, tinygrad_np needs less. Before the clock
starts, both must have computed the same numbers.

  steps       training steps (forward, backward, gradient descent), data in memory, compilation not counted
  floor       a training step against its matrix products alone, which no NumPy program can do without
  operations  an operation, in a chain of 101 on arrays of 1, 64 and 10,000 elements
  convolution the gradient of a layer of 32 filters of 3 x 3 pixels, with relu, for 128 images of 28 x 28
  programs    the gradient of a program that a user has written with NumPy
  optimizers  a step of Adam on 1.9 million parameters
  accuracy    training on MNIST, from the start of the process to 98% of the test images
  import      importing the package in a fresh process, bytecode cached
  memory      peak memory of a process that trains on MNIST
  scaling     whether time and memory grow as the work does, and whether memory comes back

The table is Markdown. Its figures are saved as JSON after every row, so Ctrl-C loses nothing. On a machine that is busy
with other work they are worthless. To measure on one core, start the script with taskset -c 0.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from processor import use_better_kernels  # noqa: E402

use_better_kernels()  # in the processes measured, which inherit the variable

import numpy as np  # noqa: E402
from command_line import Parser, count, fail, path  # noqa: E402
from tqdm import tqdm  # noqa: E402

from tinygrad_np.errors import TinygradNpError  # noqa: E402
from tinygrad_np.files import write_atomically  # noqa: E402

CHILD = ROOT / "scripts" / "benchmarks" / "child.py"
NAMES = {
    "hand": "by hand",
    "eager": "without compile",
    "pytorch": "PyTorch",
    "jax": "JAX (jit)",
    "autograd": "autograd",
    "mygrad": "MyGrad",
}
PACKAGES = {"pytorch": "torch", "jax": "jax", "autograd": "autograd", "mygrad": "mygrad"}
INSTALLED = [other for other, package in PACKAGES.items() if importlib.util.find_spec(package)]

NETWORKS = [[784, 128, 10], [784, 512, 128, 64, 10], [784, 1024, 1024, 10]]
TRAINED = [784, 512, 10]  # by scripts/train.py, and here where memory is measured

# Chosen by training on 50,000 of the training images and looking at the other 10,000, never at the test images: for
# each library, the fastest settings with which each of four seeds reached at least 98.1% of those 10,000 in the end.
GOAL = 0.98
SETTINGS: dict[str, dict[str, Any]] = {
    "by_tinygrad_np": {"hidden": [192], "batch_size": 128, "epochs": 3, "lr": 0.01},
    "by_pytorch": {"hidden": [192], "batch_size": 128, "epochs": 3, "lr": 0.01},
}

Pairs = np.ndarray
"""Shape (rounds, 2): what tinygrad_np and what the other needed in each round; NaN for one that missed the goal."""


@dataclass
class Row:
    case: str
    against: str
    measure: Callable[[], Pairs]
    target: float | None = None
    unit: str = "s"
    difference: bool = False  # is the result, instead of the ratio


# What is measured


def steps(options: argparse.Namespace) -> Iterator[Row]:
    for sizes in NETWORKS[:1] if options.quick else NETWORKS:
        for batch_size in options.batch_sizes:
            targets = {"pytorch": 0.75, "jax": 1.0, "hand": 1.0}
            for other in ["hand", "eager", *options.against]:
                measure = alternating(options, other, "steps", sizes=sizes, batch_size=batch_size)
                yield Row(f"{dashed(sizes)}, batch {batch_size}", NAMES[other], measure, targets.get(other))


def floor(options: argparse.Namespace) -> Iterator[Row]:
    for sizes in NETWORKS[:1] if options.quick else NETWORKS:
        for batch_size in options.batch_sizes:
            measure = in_blocks(options, "floor", sizes=sizes, batch_size=batch_size)
            yield Row(f"{dashed(sizes)}, batch {batch_size}", "its products", measure)


def operations(options: argparse.Namespace) -> Iterator[Row]:
    for elements in [64] if options.quick else [1, 64, 10_000]:
        for backward in (False, True):
            case = f"elements {elements:,}: forward{' + backward' * backward}"
            for other in ["hand", *options.against]:
                measure = alternating(options, other, "operations", elements=elements, backward=backward)
                yield Row(case, NAMES[other], measure, 0.7 if backward and other == "pytorch" else None)


def convolution(options: argparse.Namespace) -> Iterator[Row]:
    for other in ["eager", *(other for other in options.against if other == "pytorch")]:
        measure = alternating(options, other, "convolution")
        yield Row("32 filters on 128 images", NAMES[other], measure, 1.5 if other == "pytorch" else None)


def programs(options: argparse.Namespace) -> Iterator[Row]:
    for name, target in {"recurrent network of 28 steps": 0.25, "Gaussian process of 40 points": 0.45}.items():
        for other in ["eager", *(other for other in options.against if other == "autograd")]:
            measure = alternating(options, other, "programs", name=name)
            yield Row(f"gradient of a {name}", NAMES[other], measure, target if other == "autograd" else None)


def optimizers(options: argparse.Namespace) -> Iterator[Row]:
    for other in ["hand", *(other for other in options.against if other == "pytorch")]:
        measure = alternating(options, other, "adam", sizes=NETWORKS[-1])
        yield Row(f"Adam, {dashed(NETWORKS[-1])}", NAMES[other], measure, 1.2 if other == "hand" else None)


def accuracy(options: argparse.Namespace) -> Iterator[Row]:
    def train(who: str, seed: int) -> float:
        reached, seconds = child("reach", who=who, goal=GOAL, seed=seed, **SETTINGS[who])
        return seconds if reached >= GOAL else np.nan

    if "pytorch" in options.against:
        measure = partial(in_turn, partial(train, "by_tinygrad_np"), partial(train, "by_pytorch"), options.processes)
        yield Row(f"process start to {GOAL:.0%}", NAMES["pytorch"], measure, 0.4)


def imports(options: argparse.Namespace) -> Iterator[Row]:
    def seconds(package: str, _: int) -> float:
        program = f"from time import perf_counter as now; start = now(); import {package}; print(now() - start)"
        return float(first_line("-c", program)[0])

    def measure(package: str) -> Pairs:
        calls = partial(seconds, "tinygrad_np"), partial(seconds, package)
        in_turn(*calls, 1)  # writes the bytecode, and fills the system's file cache
        return in_turn(*calls, options.repeats)

    yield Row("import", "NumPy alone", partial(measure, "numpy"), 0.015, difference=True)
    for other in options.against:
        yield Row("import", NAMES[other], partial(measure, PACKAGES[other]))


def memory(options: argparse.Namespace) -> Iterator[Row]:
    number = 20 if options.quick else 500

    def peak(who: str, _: int) -> float:
        return float(child("memory", who=who, sizes=TRAINED, batch_size=128, steps=number)[0])

    for other in ["hand", *options.against]:
        measure = partial(in_turn, partial(peak, "by_tinygrad_np"), partial(peak, f"by_{other}"), options.processes)
        target = 1.1 if other == "hand" else None
        yield Row(f"peak of {number} steps, {dashed(TRAINED)}, batch 128", NAMES[other], measure, target, "B")


def scaling(options: argparse.Namespace) -> Iterator[Row]:
    def an_operation(function: str, size: int, arguments: dict[str, Any], _: int) -> float:
        return float(child(function, operations=size, **arguments)[0])

    def compare(function: str, size: int, repeats: int, **arguments: Any) -> Callable[[], Pairs]:
        large, small = (partial(an_operation, function, number, arguments) for number in (size, 1000))
        return partial(in_turn, large, small, repeats)

    def once(function: str, **arguments: Any) -> Pairs:
        return np.array([child(function, sizes=TRAINED, batch_size=128, **arguments)[0]])

    for size in [10**4] if options.quick else [10**4, 10**5, 10**6]:
        measure = compare("graph_seconds", size, options.processes)
        yield Row(f"time an operation, of {size:,} in a graph", "of 1,000", measure, 1.5)
        measure = compare("graph_bytes", size, 1)
        yield Row(f"memory an operation, of {size:,} in a graph", "of 1,000", measure, 1.1, "B")
    size = 3000 if options.quick else 30_000
    for kind in ("stack", "concatenate", "split", "one Tensor"):
        measure = compare("wide_seconds", size, options.processes, kind=kind)
        yield Row(f"time a piece, {kind}, {size:,} at once", "of 1,000", measure, 3)
    yield Row("memory still held after a step", "its peak", partial(once, "held"), 0.01, "B")
    number = 200 if options.quick else 10_000
    measure = partial(once, "flat", steps=number)
    yield Row(f"peak after {number:,} steps", f"{number // 10:,} steps", measure, 1.01, "B")


SECTIONS = {
    "steps": steps,
    "floor": floor,
    "operations": operations,
    "convolution": convolution,
    "programs": programs,
    "optimizers": optimizers,
    "accuracy": accuracy,
    "import": imports,
    "memory": memory,
    "scaling": scaling,
}


def dashed(sizes: list[int]) -> str:
    return "-".join(map(str, sizes))


# How it is measured


def alternating(options: argparse.Namespace, other: str, function: str, **arguments: Any) -> Callable[[], Pairs]:
    """A measurement of both in one process of their own."""
    arguments |= {"who": ["by_tinygrad_np", f"by_{other}"]}
    return in_blocks(options, function, **arguments)


def in_blocks(options: argparse.Namespace, function: str, **arguments: Any) -> Callable[[], Pairs]:
    """A measurement in blocks of calls: see benchmarks/child.py."""
    arguments |= {"repeats": options.repeats, "block": 0.002 if options.quick else 0.02}
    return lambda: np.array(child(function, **arguments)[0])


def in_turn(ours: Callable[[int], float], other: Callable[[int], float], repeats: int) -> Pairs:
    """Call both in each round, with its number; who comes first is drawn."""
    rounds = np.empty((repeats, 2))
    for i in range(repeats):
        for j in random.sample([0, 1], 2):
            rounds[i, j] = (ours, other)[j](i)
    return rounds


def child(function: str, **arguments: Any) -> tuple[Any, float]:
    """What a function of benchmarks/child.py returns, and the seconds from before its process starts until then."""
    return first_line(str(CHILD), function, json.dumps(arguments))


def first_line(*arguments: str) -> tuple[Any, float]:
    """The JSON that a Python process prints first, and the seconds from before its start until then."""
    variables, pipe = environment(), subprocess.PIPE
    start = time.perf_counter()
    with subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env=variables, stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            seconds = time.perf_counter() - start
            errors = process.communicate()[1].decode(errors="replace").strip()
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise ChildProcessError(errors.splitlines()[-1] if errors else f"exit status {process.returncode}")
    return json.loads(line), seconds


def environment() -> dict[str, str]:
    """For the processes measured: bytecode is cached, and every library has as many threads as NumPy's BLAS."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    threads = blas()["threads"]
    if threads:
        variables |= {"OMP_NUM_THREADS": str(threads), "NPROC": str(threads)}  # PyTorch's, and JAX's
    return variables


def blas() -> dict[str, Any]:
    """The library behind NumPy's matrix products. Its kernels and threads are known if threadpoolctl is installed."""
    built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    facts = {"name": built["name"], "version": built["version"], "kernels": None, "threads": None}
    if importlib.util.find_spec("threadpoolctl"):
        from threadpoolctl import threadpool_info

        for pool in threadpool_info():
            if pool["user_api"] == "blas":
                facts |= {"kernels": pool.get("architecture"), "threads": pool["num_threads"]}
    return facts


def machine() -> dict[str, Any]:
    """The machine and the versions that the figures depend on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": blas(),
        **{other: importlib.metadata.version(PACKAGES[other]) for other in INSTALLED},
    }


# What is printed and saved


def result(section: str, row: Row, pairs: Pairs) -> dict[str, Any]:
    """The row as it is saved: quartiles, in seconds or bytes."""
    ours, other = pairs[np.isfinite(pairs).all(axis=1)].T
    if not len(ours):
        raise ChildProcessError("no run reached its goal")
    value = quartiles(ours - other if row.difference else ours / other)
    complete = len(ours) == len(pairs)
    return {
        "section": section,
        "case": row.case,
        "against": row.against,
        "unit": row.unit,
        "tinygrad_np": quartiles(ours),
        "other": quartiles(other),
        "difference" if row.difference else "ratio": value,
        "target": row.target,
        "met": None if row.target is None else complete and value[1] <= row.target,
        "rounds": len(pairs),
        "reached": np.isfinite(pairs).sum(axis=0).tolist(),
    }


def quartiles(values: np.ndarray) -> list[float]:
    return [float(value) for value in np.percentile(values, [25, 50, 75])]


def as_line(result: dict[str, Any]) -> str:
    """The row of the Markdown table."""
    unit, target = result["unit"], result["target"]
    if "ratio" in result:
        low, middle, high = (f"{value:.{2 if value > 0.1 else 4}f}" for value in result["ratio"])
        goal = f"{target}"
    else:
        low, middle, high = (quantity(value, unit) for value in result["difference"])
        middle, goal = f"+ {middle}", f"+ {quantity(target, unit)}"
    met = {None: "", True: "met", False: "missed"}[result["met"]]
    if result["reached"] != [result["rounds"]] * 2:
        met += " ({} and {} of {} runs got there)".format(*result["reached"], result["rounds"])
    return in_columns(
        result["case"],
        result["against"],
        quantity(result["tinygrad_np"][1], unit),
        quantity(result["other"][1], unit),
        f"{middle} ({low} to {high})",
        "" if target is None else f"≤ {goal}",
        met,
    )


def in_columns(*cells: str) -> str:
    return "| " + " | ".join(f"{cell:{width}}" for cell, width in zip(cells, WIDTHS, strict=True)) + " |"


WIDTHS = [44, 12, 11, 11, 28, 9, 6]


def header(section: str) -> str:
    titles = in_columns(section, "against", "tinygrad_np", "the other", "ratio (quartiles)", "target", "")
    return f"\n{titles}\n{in_columns(*('-' * width for width in WIDTHS))}"


def quantity(value: float, unit: str) -> str:
    """Three digits, with a prefix to the unit: 0.00123 s is 1.23 ms."""
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n")):
        if abs(value) >= factor and (unit == "B" or factor <= 1):
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}"


# The command line


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="benchmark.py",
        description=__doc__,
        epilog="examples:\n"
        "  benchmark.py                                    everything; takes about half an hour\n"
        "  benchmark.py steps --batch-sizes 128            some of it\n"
        "  benchmark.py steps operations --against pytorch\n"
        "  benchmark.py --quick                            whether it works; the figures mean little",
    )
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"{', '.join(SECTIONS)} (all)")
    parser.add_argument(
        "--against", nargs="*", choices=PACKAGES, metavar="LIBRARY", help=f"{', '.join(PACKAGES)} (those installed)"
    )
    parser.add_argument("--repeats", type=count, metavar="N", help="rounds of each pair (30); of processes a sixth")
    parser.add_argument("--batch-sizes", type=count, nargs="+", metavar="N", help="of the steps (1 32 64 128 512 1024)")
    parser.add_argument("--quick", action="store_true", help="few rounds, the smallest network, small graphs")
    parser.add_argument("--save", type=path, metavar="FILE", help="where the JSON goes (runs/benchmark-DATE-TIME.json)")
    options = parser.parse_args(arguments)
    for section in options.sections:
        if section not in SECTIONS:
            parser.error(f"there is no section {section!r}; choose from {', '.join(SECTIONS)}")
    for other in options.against or []:
        if other not in INSTALLED:
            parser.error(f"{NAMES[other]} is not installed here, so nothing can be measured against it")
    options.sections = options.sections or list(SECTIONS)
    options.against = INSTALLED if options.against is None else options.against
    options.repeats = options.repeats or (3 if options.quick else 30)
    options.processes = -(-options.repeats // 6)
    options.batch_sizes = options.batch_sizes or ([32] if options.quick else [1, 32, 64, 128, 512, 1024])
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parse_arguments(arguments)
    file = options.save or Path("runs") / f"benchmark-{datetime.now():%Y%m%d-%H%M%S}.json"
    facts, status = machine(), 0
    results: list[dict[str, Any]] = []
    rows = [(section, row) for section in options.sections for row in SECTIONS[section](options)]

    def save() -> None:
        write_atomically(file, json.dumps({"machine": facts, "settings": SETTINGS, "rows": results}, indent=1) + "\n")

    try:
        if not options.save:
            file.parent.mkdir(exist_ok=True)
        save()  # a file that cannot be written is reported now, not after the first row
        print(
            "{processor}, {cores} cores; Python {python}, NumPy {numpy}; ".format(**facts)
            + "{name} {version}, kernels {kernels}, threads {threads}".format(**facts["blas"])
        )
        if facts["load"] > 0.5:
            print(f"The machine is busy (load average {facts['load']:.1f}): do not trust these figures.")
        bar = tqdm(rows, unit=" rows", leave=False, disable=None)
        previous = ""
        for section, row in bar:
            bar.set_description(f"{section}: {row.case}, {row.against}")
            if section != previous:
                tqdm.write(header(section))
                previous = section
            try:
                results.append(result(section, row, row.measure()))
            except ChildProcessError as error:
                tqdm.write(f"{row.case} against {row.against} could not be measured: {error}", sys.stderr)
                status = 1
                continue
            tqdm.write(as_line(results[-1]))
            sys.stdout.flush()
            save()
    except (TinygradNpError, OSError) as error:
        return fail("benchmark.py", error)
    except KeyboardInterrupt:
        status = 130
    print(f"\n{len(results)} of {len(rows)} rows saved in {file}")
    return status


if __name__ == "__main__":
    sys.exit(main())
