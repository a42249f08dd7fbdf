"""The small models in models/, each run as users run it, with less to do."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def run(folder, name, *arguments):
    """What a model prints; it leaves its picture in the folder."""
    command = [sys.executable, ROOT / "models" / f"{name}.py", *arguments]
    finished = subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ, "COLUMNS": "80"})
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def is_drawn(path):
    pytest.importorskip("matplotlib")
    return path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_gaussian_process_finds_hyperparameters_more_likely_than_the_true_ones(tmp_path):
    pytest.importorskip("scipy")
    printed = run(tmp_path, "gaussian_process", "--points", "40")
    guess, found, truth = (float(number) for number in re.findall(r"log likelihood.*: (-?[\d.]+)", printed))
    assert found > truth > guess
    assert is_drawn(tmp_path / "gaussian_process.png")


@pytest.mark.slow
def test_the_neural_ode_learns_a_spiral(tmp_path):
    error = float(re.search(r"seconds: ([\d.]+) away", run(tmp_path, "neural_ode", "--steps", "3000"))[1])
    assert error < 0.2
    assert is_drawn(tmp_path / "neural_ode.png")


@pytest.mark.slow
def test_the_character_rnn_learns_to_guess_the_next_character_of_a_new_text(tmp_path):
    printed = run(tmp_path, "character_rnn", "--steps", "150")
    learned, by_frequency = map(float, re.search(r"([\d.]+) bits .* alone ([\d.]+)", printed).groups())
    assert learned < by_frequency - 1
    assert is_drawn(tmp_path / "character_rnn.png")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "arguments"), [("neural_ode", ("--steps", "3")), ("character_rnn", ("--steps", "2"))])
def test_a_model_runs_with_few_steps(name, arguments, tmp_path):
    run(tmp_path, name, *arguments, "--out", "other.png")
    assert is_drawn(tmp_path / "other.png")
