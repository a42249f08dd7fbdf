"""scripts/train.py, run as a user runs it: in a process of its own, on a small slice of the bundled MNIST."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tinygrad_np import checkpoint, data

ROOT = Path(__file__).resolve().parents[1]
SMALL = ["--limit", "600", "--epochs", "3", "--hidden", "16"]


def command(*arguments):
    return [sys.executable, str(ROOT / "scripts" / "train.py"), *map(str, arguments), "--no-pictures"]


def train(*arguments, cwd=None):
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    return subprocess.run(command(*arguments), cwd=cwd, env=environment, capture_output=True, text=True, timeout=100)


def numbers(output):
    """What a run printed, without its folder and times."""
    return [line for line in re.sub(r"; run folder .*", "", output).splitlines() if "training time" not in line]


def weights(folder, name="last.safetensors"):
    return checkpoint.load(folder / name)["model"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    result = train(*SMALL, "--dropout", "0.1", "--out", folder)
    assert result.returncode == 0, result.stderr
    return folder, result.stdout


def test_the_last_line_is_the_test_accuracy(finished):
    _, output = finished
    last = output.splitlines()[-1]
    match = re.fullmatch(r"test accuracy: (\d+\.\d\d)% \((\d+)/10000\)", last)
    assert match, last
    assert float(match[1]) == int(match[2]) / 100
    assert int(match[2]) > 5000


def test_there_is_a_line_for_each_epoch_and_one_for_the_training_time(finished):
    _, output = finished
    assert re.findall(r"^epoch (\d)/3  loss \d", output, re.M) == ["1", "2", "3"]
    assert re.search(r"^training time: [\d.]+ s", output, re.M)


def test_a_run_leaves_config_metrics_and_checkpoints_and_nothing_else(finished):
    folder, _ = finished
    assert sorted(path.name for path in folder.iterdir()) == [
        "best.safetensors",
        "config.json",
        "last.safetensors",
        "metrics.jsonl",
    ]
    assert json.loads((folder / "config.json").read_text())["hidden"] == [16]
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in metrics] == [1, 2, 3]
    for loss in ("loss", "test_loss"):
        assert metrics[2][loss] < metrics[0][loss]


def test_weights_in_a_checkpoint_have_pytorchs_names_and_shapes(finished):
    folder, _ = finished
    shapes = {name: array.shape for name, array in weights(folder).items()}
    assert shapes["layers.0.weight"] == (16, 784)
    assert shapes["layers.0.bias"] == (16,)


def test_the_same_seed_prints_the_same_numbers_and_another_seed_others(finished, tmp_path):
    folder, output = finished
    again = train(*SMALL, "--dropout", "0.1", "--out", tmp_path / "again")
    assert numbers(again.stdout) == numbers(output)
    for name, array in weights(folder).items():
        np.testing.assert_array_equal(array, weights(tmp_path / "again")[name])
    other = train(*SMALL, "--dropout", "0.1", "--seed", "1", "--out", tmp_path / "other")
    assert numbers(other.stdout) != numbers(output)


def test_a_run_interrupted_by_ctrl_c_and_resumed_ends_as_if_it_had_never_stopped(tmp_path):
    settings = ["--epochs", "3", "--limit", "20000", "--hidden", "32", "--dropout", "0.2", "--batch-size", "32"]
    whole = train(*settings, "--out", tmp_path / "whole")
    process = subprocess.Popen(
        command(*settings, "--out", tmp_path / "parts"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()  # what it understood of the data; training starts
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=100)
    assert process.returncode == 130, errors
    assert "--resume" in output
    progress = checkpoint.load(tmp_path / "parts" / "last.safetensors")["progress"]
    assert 0 < progress["step"] < 3 * 625, "the interruption should fall into the middle of the run"
    resumed = train("--resume", tmp_path / "parts")
    assert numbers(resumed.stdout)[-1] == numbers(whole.stdout)[-1]
    first, second = (checkpoint.load(tmp_path / name / "last.safetensors") for name in ("whole", "parts"))
    for part in ("model", "optimizer"):
        for name, array in first[part].items():
            np.testing.assert_array_equal(array, second[part][name])
    assert first["generator"] == second["generator"]

    def without_times(folder):
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        return [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]

    assert without_times(tmp_path / "whole") == without_times(tmp_path / "parts")


def test_resuming_a_finished_run_prints_its_result_again(finished):
    folder, output = finished
    resumed = train("--resume", folder)
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.splitlines()[-1] == output.splitlines()[-1]


def test_best_is_the_checkpoint_with_the_highest_validation_accuracy(tmp_path):
    result = train(*SMALL, "--lr", "0.05", "--validation-split", "0.2", "--epochs", "6", "--out", tmp_path / "run")
    assert "validation accuracy" in result.stdout
    metrics = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    best = max(metrics, key=lambda line: line["validation_accuracy"])
    assert checkpoint.load(tmp_path / "run" / "best.safetensors")["progress"]["epoch"] == best["epoch"]


@pytest.mark.parametrize(
    "flags",
    [
        ["--optimizer", "sgd", "--momentum", "0.9", "--nesterov", "--schedule", "step", "--activation", "tanh"],
        ["--optimizer", "adamw", "--weight-decay", "0.01", "--schedule", "cosine", "--activation", "gelu"],
        ["--optimizer", "rmsprop", "--lr", "0.001", "--schedule", "constant", "--loss", "squared_error"],
        ["--hidden", "--label-smoothing", "0.1", "--clip-norm", "1"],
        ["--hidden", "32", "16", "--init", "he", "--batch-size", "100000", "--lr", "0.02", "--epochs", "30"],
    ],
    ids=" ".join,
)
def test_every_choice_of_flags_learns(flags, tmp_path):
    result = train(*SMALL, *flags, "--out", tmp_path / "run")
    assert result.returncode == 0, result.stderr
    assert float(re.search(r"test accuracy: ([\d.]+)%", result.stdout)[1]) > 40


def test_the_default_folder_of_a_run_is_made_below_runs_in_the_current_directory(tmp_path):
    for _ in range(2):
        assert train(*SMALL, "--epochs", "1", cwd=tmp_path).returncode == 0
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_other_data_brings_its_own_image_size_and_classes(tmp_path):
    generator = np.random.default_rng(0)
    labels = np.arange(200) % 3
    images = generator.integers(0, 100, (200, 5, 4)) + 50 * labels[:, None, None]
    np.savez(tmp_path / "three.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    result = train("--data", tmp_path / "three.npz", "--epochs", "40", "--out", tmp_path / "run")
    assert "network 20-512-3" in result.stdout, result.stderr
    assert float(re.search(r"test accuracy: ([\d.]+)%", result.stdout)[1]) > 90


def test_data_without_test_images_is_judged_by_validation(tmp_path):
    dataset = data.load_mnist(ROOT / "models" / "data" / "mnist")
    rows = np.column_stack([dataset.train_labels[:300], dataset.train_images[:300].reshape(300, -1)])
    header = ",".join(["label", *(f"pixel{i}" for i in range(784))])
    np.savetxt(tmp_path / "train.csv", rows, fmt="%d", delimiter=",", header=header, comments="")
    arguments = ["--data", tmp_path / "train.csv", "--epochs", "2", "--hidden", "16", "--out", tmp_path / "run"]
    refused = train(*arguments)
    assert refused.returncode == 2
    assert "--validation-split" in refused.stderr
    result = train(*arguments, "--validation-split", "0.2")
    assert re.fullmatch(r"validation accuracy: .*/60\)", result.stdout.splitlines()[-1])


# Bad input


def refusal(*arguments, cwd=None):
    """The one line on standard error with which the script refuses."""
    result = train(*arguments, cwd=cwd)
    assert result.returncode == 2, result.stdout + result.stderr
    assert result.stderr.startswith("train.py: error: ")
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr


@pytest.mark.parametrize(
    "flags",
    [
        ["--lr", "-1"],
        ["--lr", "nan"],
        ["--lr", "inf"],
        ["--batch-size", "0"],
        ["--epochs", "1.5"],
        ["--hidden", "0"],
        ["--dropout", "1"],
        ["--validation-split", "-0.1"],
        ["--seed", "x"],
        ["--momentum", "0.9", "--optimizer", "adam"],
        ["--nesterov"],
        ["--unknown"],
    ],
    ids=" ".join,
)
def test_nonsensical_flags_are_refused_by_name_before_anything_is_written(flags, tmp_path):
    assert flags[0] in refusal(*flags, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_missing_data_is_named(tmp_path):
    assert "nowhere" in refusal("--data", tmp_path / "nowhere", "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_validation_split_that_leaves_nothing_is_refused(tmp_path):
    message = refusal("--limit", "10", "--validation-split", "0.001", "--out", tmp_path / "run")
    assert "empty" in message
    assert not (tmp_path / "run").exists()


def test_an_existing_run_is_not_overwritten(finished):
    folder, _ = finished
    before = (folder / "last.safetensors").read_bytes()
    assert "--resume" in refusal(*SMALL, "--out", folder)
    assert (folder / "last.safetensors").read_bytes() == before


def test_an_output_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    assert "file" in refusal(*SMALL, "--out", tmp_path / "file" / "run")


def test_a_diverging_loss_stops_with_advice(tmp_path):
    message = refusal(*SMALL, "--optimizer", "sgd", "--lr", "1e30", "--out", tmp_path / "run")
    assert "loss" in message
    assert "--lr" in message


def test_settings_cannot_be_changed_when_resuming(finished):
    folder, _ = finished
    assert "--lr" in refusal("--resume", folder, "--lr", "0.1")


def test_a_folder_without_a_checkpoint_cannot_be_resumed(tmp_path):
    assert "last.safetensors" in refusal("--resume", tmp_path)


def test_a_checkpoint_of_another_architecture_is_refused(finished, tmp_path):
    folder, _ = finished
    saved = checkpoint.load(folder / "last.safetensors")
    saved["config"]["hidden"] = [17]
    checkpoint.save(tmp_path / "last.safetensors", saved)
    assert "settings have hidden layers of [17], but its weights of [16]" in refusal("--resume", tmp_path)


def test_a_run_is_not_resumed_with_other_data(tmp_path):
    generator = np.random.default_rng(0)

    def write(images):
        labels = np.arange(len(images)) % 3
        np.savez(tmp_path / "data.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)

    write(generator.integers(0, 256, (60, 3, 3)))
    train("--data", tmp_path / "data.npz", "--epochs", "1", "--out", tmp_path / "run")
    write(generator.integers(0, 256, (60, 3, 3)))
    assert "data" in refusal("--resume", tmp_path / "run")


def test_two_runs_cannot_share_a_folder(tmp_path):
    arguments = ["--limit", "20000", "--epochs", "50", "--hidden", "32", "--out", tmp_path / "run"]
    first = subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert first.stdout is not None
        first.stdout.readline()
        time.sleep(0.1)
        assert "exists already" in (message := refusal(*arguments)) or "another run" in message
    finally:
        first.kill()
        first.communicate()


@pytest.mark.parametrize(
    "damage",
    [
        lambda saved: saved.update(config=[1]),
        lambda saved: saved["config"].pop("lr"),
        lambda saved: saved["config"].update(activation="none"),
        lambda saved: saved.update(progress={}),
        lambda saved: saved["progress"].update(step=-5),
        lambda saved: saved.update(generator=3),
        lambda saved: saved.update(model=[1]),
        lambda saved: saved.pop("data"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(damage, finished, tmp_path):
    folder, _ = finished
    saved = checkpoint.load(folder / "last.safetensors")
    damage(saved)
    checkpoint.save(tmp_path / "last.safetensors", saved)
    assert "last.safetensors" in refusal("--resume", tmp_path)


def test_an_empty_path_is_refused():
    for flag in ("--data", "--out", "--resume"):
        assert "empty" in refusal(flag, "")


def test_runs_that_is_no_folder_is_named(tmp_path):
    (tmp_path / "runs").symlink_to(tmp_path / "nowhere" / "at-all")
    assert "runs" in refusal(*SMALL, "--epochs", "1", cwd=tmp_path)


def test_it_runs_without_standard_error(tmp_path):
    text = shlex.join(command(*SMALL, "--epochs", "1", "--out", tmp_path / "run")) + " 2>&-"
    assert subprocess.run(["sh", "-c", text], capture_output=True, timeout=100).returncode == 0


def test_help_explains_every_flag_in_no_more_than_a_screen_or_two():
    result = train("--help")
    assert result.returncode == 0
    names = "hidden activation loss optimizer lr schedule epochs batch-size weight-decay dropout seed data out resume"
    for flag in names.split(" "):
        assert f"--{flag}" in result.stdout
    assert len(result.stdout.splitlines()) < 90
