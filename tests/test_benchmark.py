"""scripts/benchmark.py: that it compares like with like, and that it runs; never how fast anything is."""

import importlib
import json
import subprocess
import sys
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
PACKAGES = {
    "by_tinygrad_np": "tinygrad_np",
    "by_pytorch": "torch",
    "by_jax": "jax",
    "by_autograd": "autograd",
    "by_mygrad": "mygrad",
}
SIZES = [784, 20, 15, 10]


def only(*names):
    """Run a test with these competitors instead of with all."""
    return pytest.mark.parametrize("competitor", names, indirect=True)


@pytest.fixture(params=PACKAGES)
def competitor(request, monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS / "benchmarks")
    with warnings.catch_warnings(action="ignore"):  # of other people's packages
        pytest.importorskip(PACKAGES[request.param])
        yield importlib.import_module(request.param)


@pytest.fixture
def by_hand(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS / "benchmarks")
    return importlib.import_module("by_hand")


def weights():
    generator = np.random.default_rng(0)
    shapes = [shape for n, m in pairwise(SIZES) for shape in ((m, n), (m,))]
    return [generator.normal(0, 0.1, shape).astype(np.float32) for shape in shapes]


def test_training_steps_have_the_losses_and_weights_of_those_written_by_hand(competitor, by_hand):
    generator = np.random.default_rng(1)
    images, labels = generator.random((8, 784), dtype=np.float32), generator.integers(0, 10, 8)
    results = []
    for module in (competitor, by_hand):
        step, current = module.training(weights(), 0.1)
        given = module.batch(images, labels)
        results.append([*([step(*given).item() for _ in range(3)]), *current()])
    assert len(results[0]) == 3 + 6
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    assert results[1][2] < results[1][0]  # it has learned something


def test_chains_of_operations_have_the_gradients_of_those_written_by_hand(competitor, by_hand):
    x, y = np.random.default_rng(2).uniform(0.5, 1.5, (2, 5)).astype(np.float32)
    results = []
    for module in (competitor, by_hand):
        forward, gradients = module.chain(x, y, 3)
        gradients()
        results.append([forward().item(), *map(np.asarray, gradients())])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4)


@only("by_tinygrad_np", "by_pytorch")
def test_steps_of_adam_are_those_written_by_hand(competitor, by_hand):
    results = []
    for module in (competitor, by_hand):
        step, current = module.adam(weights(), weights(), 0.01)
        for _ in range(3):
            step()
        results.append(current())
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def benchmark(*arguments):
    command = [sys.executable, str(SCRIPTS / "benchmark.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100)


def test_a_run_prints_a_markdown_table_and_saves_the_figures_with_the_machine(tmp_path):
    file = tmp_path / "figures.json"
    run = benchmark("steps", "--quick", "--repeats", 1, "--batch-sizes", 1, "--against", "--save", file)
    assert run.returncode == 0, run.stderr
    assert "| 784-128-10, batch 1 " in run.stdout
    saved = json.loads(file.read_text())
    assert saved["machine"]["numpy"] == np.__version__
    row, eager = saved["rows"]
    assert (row["against"], eager["against"]) == ("by hand", "without compile")
    assert (row["section"], row["against"], row["rounds"]) == ("steps", "by hand", 1)
    assert row["ratio"][1] == pytest.approx(row["tinygrad_np"][1] / row["other"][1])


def test_help_names_every_section():
    text = benchmark("--help").stdout
    for section in ("steps", "operations", "optimizers", "accuracy", "import", "memory", "scaling"):
        assert f"  {section} " in text


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["--repeats", "0"], ["--against", "nobody"], ["steps", "--save", "nowhere/at/all.json"]]
)
def test_what_makes_no_sense_is_refused_in_one_line(arguments):
    run = benchmark(*arguments)
    assert run.returncode == 2
    assert run.stderr.startswith("benchmark.py: error: ")
    assert run.stderr.count("\n") == 1
