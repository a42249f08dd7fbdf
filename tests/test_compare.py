"""scripts/compare.py, on small runs of scripts/train.py."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from scripts_in_process import SCRIPTS, run_script


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Two runs on the same data: "narrow", and "wide" with a validation split and another learning rate."""
    pytest.importorskip("matplotlib")
    folder = tmp_path_factory.mktemp("runs")
    labels = np.arange(60) % 3
    images = np.random.default_rng(0).integers(0, 200, (60, 4, 4)) + 25 * labels[:, None, None]
    np.savez(folder / "data.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    settings = ["--data", folder / "data.npz", "--no-pictures", "--epochs"]
    for out, *flags in (["narrow", "2", "--hidden", "4"], ["wide", "3", "--hidden", "9", "8", "--lr", "0.02"]):
        split = ["--validation-split", "0.5"] if out == "wide" else []
        result = run_script("train.py", *settings, *flags, *split, "--out", folder / out)
        assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture
def runs(finished, tmp_path, monkeypatch):
    for name in ("narrow", "wide"):
        shutil.copytree(finished / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def compare(*arguments):
    """The table as a dict of columns, by run, and what came of it."""
    result = run_script("compare.py", *arguments)
    head, _, *rows = result.stdout.splitlines()
    names = head.replace("validation split", "split").replace("best ", "best_").replace("last ", "last_").split()
    table = [dict(zip(names, row.split(), strict=True)) for row in rows if not row.startswith("curves in")]
    return {row["run"]: row for row in table}, result


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_the_table_has_the_settings_that_differ_and_the_results_and_the_plot_is_there(runs):
    table, result = compare("narrow", "wide")
    assert result.returncode == 0, result.stderr
    expected = ["hidden", "lr", "split", "epochs", "loss", "training"]
    expected += ["best_test", "last_test", "best_validation", "last_validation", "seconds"]
    assert list(table["narrow"]) == ["run", *expected]
    narrow, wide = metrics(runs / "narrow"), metrics(runs / "wide")
    assert table["narrow"]["hidden"] == "4"
    assert table["narrow"]["split"] == "0.0"
    assert table["wide"]["hidden"] == "9x8"
    assert table["wide"]["epochs"] == "3/3"
    assert table["wide"]["best_test"] == "-"
    assert table["wide"]["best_validation"] == f"{max(line['validation_accuracy'] for line in wide):.2%}"
    assert table["wide"]["last_validation"] == f"{wide[-1]['validation_accuracy']:.2%}"
    assert table["narrow"]["last_test"] == f"{narrow[-1]['test_accuracy']:.2%}"
    assert table["narrow"]["loss"] == f"{narrow[-1]['loss']:.4f}"
    assert table["narrow"]["training"] == f"{narrow[-1]['accuracy']:.2%}"
    assert result.stdout.splitlines()[-1] == "curves in compare.png"
    assert (runs / "compare.png").read_bytes().startswith(b"\x89PNG")


def test_runs_that_have_not_ended_are_compared_by_what_they_have_done(runs):
    lines = (runs / "wide" / "metrics.jsonl").read_text().splitlines(keepends=True)
    (runs / "wide" / "metrics.jsonl").write_text(lines[0])
    (runs / "narrow" / "metrics.jsonl").unlink()
    table, result = compare("narrow", "wide", "--out", "plot.png")
    assert result.returncode == 0, result.stderr
    assert table["wide"]["epochs"] == "1/3"
    assert table["narrow"]["epochs"] == "0/2"
    assert table["narrow"]["loss"] == "-"
    assert (runs / "plot.png").exists()


def test_runs_in_folders_of_the_same_name_are_told_apart_by_their_paths(runs):
    shutil.copytree(runs / "narrow", runs / "other" / "narrow")
    table, _ = compare("narrow", "other/narrow", "narrow/")
    assert list(table) == ["narrow", "other/narrow"]


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("config.json", "{", "config.json"),
        ("config.json", "[]", "config.json"),
        ("config.json", "{}", "config.json"),
        ("metrics.jsonl", "{", "metrics.jsonl: line 1"),
        ("metrics.jsonl", "3", "metrics.jsonl: line 1"),
        ("metrics.jsonl", '{"epoch": 1}', "metrics.jsonl: line 1"),
        ("metrics.jsonl", '{"epoch": 1, "loss": "x", "accuracy": 1, "test_accuracy": 1, "seconds": 1}', "line 1"),
        ("metrics.jsonl", '{"epoch": 1, "loss": NaN, "accuracy": 1, "test_accuracy": 1, "seconds": 1}', "line 1"),
        ("metrics.jsonl", "\udcff", "metrics.jsonl"),
    ],
)
def test_a_damaged_file_is_named(file, content, words, runs):
    (runs / "narrow" / file).write_text(content, errors="surrogateescape")
    result = run_script("compare.py", "narrow")
    assert result.returncode == 2
    assert result.stderr.startswith("compare.py: error: narrow/")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_other_runs_are_compared_when_one_is_damaged(runs):
    (runs / "narrow" / "config.json").unlink()
    table, result = compare("narrow", "wide")
    assert result.returncode == 2
    assert list(table) == ["wide"]
    assert "narrow" in result.stderr
    assert (runs / "compare.png").exists()


def test_without_matplotlib_there_is_the_table_and_advice(runs, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    table, result = compare("narrow", "wide")
    assert list(table) == ["narrow", "wide"]
    assert result.returncode == 2
    assert "python -m pip install matplotlib" in result.stderr


def test_folders_that_hold_no_run_are_named_one_a_line(tmp_path):
    (tmp_path / "empty").mkdir()
    command = [sys.executable, str(SCRIPTS / "compare.py"), "empty", "nowhere"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert result.returncode == 2
    assert [line.split()[2] for line in result.stderr.splitlines()] == ["empty", "nowhere"]
    assert result.stdout == ""
    assert not (tmp_path / "compare.png").exists()
