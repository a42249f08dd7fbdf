"""The presets of scripts/settings.py, train.py's --preset, and scripts/presets.py, run as a user runs them."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scripts_in_process import imported, run_script

from tinygrad_np import checkpoint, data

ROOT = Path(__file__).resolve().parents[1]
PRESETS = imported("settings").PRESETS
TABLE = ["tutorial", "overfit-128", "sigmoid-squared_error"]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A file with a few images of MNIST, which loads fast."""
    path = tmp_path_factory.mktemp("small") / "small.npz"
    mnist = data.load_mnist(ROOT / "models" / "data" / "mnist")
    train, test = slice(300), slice(100)
    np.savez(
        path,
        x_train=mnist.train_images[train],
        y_train=mnist.train_labels[train],
        x_test=mnist.test_images[test],
        y_test=mnist.test_labels[test],
    )
    return path


def command(name, *arguments):
    return [sys.executable, str(ROOT / "scripts" / name), *map(str, arguments)]


def script(name, *arguments, cwd=None):
    return subprocess.run(command(name, *arguments), cwd=cwd, capture_output=True, text=True, timeout=100)


def config(folder):
    return json.loads((folder / "config.json").read_text())


def rows(markdown):
    """The cells of a table's rows, by the name of the preset in the first."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown.splitlines()]
    return {row[0].strip("`"): row[1:] for row in cells if row[0].startswith("`")}


@pytest.fixture(scope="module")
def trained(small, tmp_path_factory):
    """The folder, arguments and output of a table of three presets, each trained for one epoch."""
    folder = tmp_path_factory.mktemp("trained")
    arguments = [*TABLE, "--out", folder, "--", "--data", small, "--epochs", "1", "--no-pictures"]
    result = script("presets.py", *arguments)
    assert result.returncode == 0, result.stderr
    return folder, arguments, result.stdout


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_learns_with_the_network_and_the_loss_that_it_is_described_by(name, small):
    run = imported("training_run").set_up(
        imported("settings").parse_arguments(["--preset", name, "--data", str(small)])
    )
    description = PRESETS[name].description.lower()
    assert description.startswith("-".join(map(str, run.sizes)))
    assert run.config.activation in description
    assert run.config.loss in description.replace(" ", "_").replace("-", "_")

    images, labels = run.images[:128], run.labels[:128]
    run.trained.eval()
    before = run.loss(run.trained(images), labels)
    before.backward()
    run.optimizer.lr = 0.001
    run.optimizer.step()
    assert run.loss(run.trained(images), labels).item() < before.item()


def test_the_settings_of_a_preset_are_recorded_with_its_name_and_other_flags_override_them(trained, small):
    folder, _, _ = trained
    assert PRESETS["tutorial"].settings["epochs"] > 1
    expected = {"preset": "tutorial", **PRESETS["tutorial"].settings, "epochs": 1, "data": str(small)}
    assert expected.items() <= config(folder / "tutorial-0").items()


def test_every_activation_is_paired_with_every_loss():
    pairs = {(preset.settings.get("activation"), preset.settings.get("loss")) for preset in PRESETS.values()}
    for activation in ("relu", "tanh", "sigmoid", "gelu"):
        assert {(activation, "cross_entropy"), (activation, "squared_error")} <= pairs


def test_the_table_has_a_row_a_preset_with_its_published_figure_and_the_accuracies_here(trained):
    folder, _, output = trained
    table = (folder / "table.md").read_text()
    assert output.endswith("\n" + table)
    assert list(rows(table)) == TABLE
    for name, (description, published, goal, training, test, _) in rows(table).items():
        assert (description, published) == (PRESETS[name].description, PRESETS[name].published)
        assert goal == f"{PRESETS[name].goal}%"
        metrics = json.loads((folder / f"{name}-0" / "metrics.jsonl").read_text())
        assert training == f"{metrics['accuracy']:.2%}"
        if "test_accuracy" in metrics:
            assert test == f"{metrics['test_accuracy']:.2%}"


def test_runs_that_are_finished_are_not_done_again(trained):
    folder, arguments, output = trained
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/*")}
    again = run_script("presets.py", *arguments)
    assert again.stdout == output
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*/*")} == before


@pytest.mark.slow
def test_several_seeds_are_given_with_their_mean_and_range(small, tmp_path):
    out = ["--out", tmp_path, "--", "--data", small, "--epochs", "1", "--no-pictures"]
    result = script("presets.py", "equal-layers", "--seeds", "2", *out)
    assert result.returncode == 0, result.stderr
    accuracies = [float(text) for text in re.findall(r"test accuracy ([\d.]+)%", result.stdout)]
    mean, low, high = np.mean(accuracies), min(accuracies), max(accuracies)
    assert len(accuracies) == 2
    assert rows(result.stdout)["equal-layers"][4] == f"{mean:.2f}% ({low:.2f} to {high:.2f})"


@pytest.mark.slow
def test_an_interrupted_table_is_resumed(small, tmp_path):
    arguments = ["tutorial", "--out", tmp_path, "--", "--data", small, "--epochs", "60", "--no-pictures"]
    process = subprocess.Popen(
        command("presets.py", *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    metrics, last = (tmp_path / "tutorial-0" / name for name in ("metrics.jsonl", "last.safetensors"))
    while not metrics.exists():
        assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=100)
    assert process.returncode == 130, errors
    assert f"--out {tmp_path}" in output
    assert 0 < checkpoint.load(last)["progress"]["epoch"] < 60
    result = script("presets.py", *arguments)
    assert result.returncode == 0, result.stderr
    assert list(rows(result.stdout)) == ["tutorial"]
    assert len(metrics.read_text().splitlines()) == 60


# Bad input


def refusal(name, *arguments, cwd=None):
    """The one line on standard error with which a script refuses."""
    result = script(name, *arguments, cwd=cwd)
    assert result.returncode == 2, result.stdout + result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr


def test_an_unknown_preset_is_refused_with_the_names_there_are(tmp_path):
    for message in (refusal("train.py", "--preset", "worst", cwd=tmp_path), refusal("presets.py", "worst")):
        assert "worst" in message
        assert all(name in message for name in PRESETS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("flags", ["--seeds 0", "-- --out elsewhere", "-- --lr -1"])
def test_nonsensical_flags_are_refused_by_name_before_anything_is_trained(flags, tmp_path):
    name = re.search(r"--\w+", flags)[0]
    assert name in refusal("presets.py", "deep", *flags.split(), cwd=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_run_with_other_settings_is_not_taken_for_one_with_these(trained):
    _, arguments, _ = trained
    assert "tutorial-0 holds a run with other settings" in refusal("presets.py", *arguments, "--lr", "0.1")
