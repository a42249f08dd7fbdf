"""scripts/draw_graph.py and train.py's --draw, run as a user runs them."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SMALL = ["--limit", "300", "--epochs", "1", "--hidden", "16", "--no-pictures"]


def script(name, *arguments):
    command = [sys.executable, str(ROOT / "scripts" / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "run"
    result = script("train.py", *SMALL, "--dropout", "0.1", "--draw", "--out", folder)
    assert result.returncode == 0, result.stderr
    return folder, result.stdout.splitlines()[-1]


def test_a_run_with_a_drawing_has_it_in_its_folder_and_the_numbers_of_one_without(run, tmp_path):
    folder, last_line = run
    assert "layers.0.weight" in (folder / "graph.svg").read_text()
    plain = script("train.py", *SMALL, "--dropout", "0.1", "--out", tmp_path / "plain")
    assert plain.stdout.splitlines()[-1] == last_line


def test_a_run_is_drawn_with_its_values(run, tmp_path):
    result = script("draw_graph.py", tmp_path / "graph.svg", "--run", run[0], "--values")
    assert result.returncode == 0, result.stderr
    assert "gradient norm" in (tmp_path / "graph.svg").read_text()


def test_the_flags_of_training_say_what_is_drawn(tmp_path):
    result = script("draw_graph.py", tmp_path / "graph.html", *SMALL, "--activation", "tanh", "--costs")
    assert result.returncode == 0, result.stderr
    assert "tanh" in (tmp_path / "graph.html").read_text()


def test_an_unknown_form_is_refused_in_one_line(tmp_path):
    result = script("draw_graph.py", tmp_path / "graph.bmp", *SMALL)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith("draw_graph.py: error: cannot tell the format from")
    assert not list(tmp_path.iterdir())
