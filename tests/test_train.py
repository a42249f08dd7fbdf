"""scripts/train.py, run as a user runs it: in a process of its own, on a small slice of the bundled MNIST."""

import contextlib
import itertools
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
from scripts_in_process import imported

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


@pytest.mark.slow
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


@pytest.mark.slow
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


def history(folder):
    return checkpoint.load(folder / "last.safetensors")["progress"]["history"]


def test_a_run_that_held_images_out_is_judged_by_its_best_epoch_and_says_so(tmp_path):
    flags = ["--lr", "0.2", "--schedule", "constant", "--validation-split", "0.2", "--epochs", "8"]
    *_, weights, last = train(*SMALL, *flags, "--out", tmp_path / "run").stdout.splitlines()
    accuracies = [metrics["validation_accuracy"] for metrics in history(tmp_path / "run")]
    best = 1 + int(np.argmax(accuracies))
    assert best < 8, "the last epoch should not be the best, or this shows nothing"
    assert weights == f"weights: those of epoch {best}, the best by validation accuracy, as in best.safetensors"
    images, labels = data.load_mnist(ROOT / "models" / "data" / "mnist")[2:]
    model, _ = imported("training_run").load_model(tmp_path / "run" / "best.safetensors")
    right = imported("training_run").evaluate(model, data.to_inputs(images), labels)
    assert last.endswith(f"({right}/10000)")


def test_training_stops_early_when_the_validation_accuracy_gets_no_better(tmp_path):
    flags = ["--lr", "0.1", "--validation-split", "0.2", "--epochs", "60", "--early-stop", "2"]
    result = train(*SMALL, *flags, "--out", tmp_path / "run")
    accuracies = [metrics["validation_accuracy"] for metrics in history(tmp_path / "run")]
    best = 1 + int(np.argmax(accuracies))
    assert best == len(accuracies) - 2 < 58
    assert f"stopped early: epoch {best} had the best validation accuracy" in result.stdout.splitlines()
    resumed = train("--resume", tmp_path / "run")
    assert resumed.stdout.splitlines()[-1] == result.stdout.splitlines()[-1]
    assert len(history(tmp_path / "run")) == len(accuracies)


@pytest.mark.slow
def test_a_run_with_early_stop_that_is_resumed_stops_where_it_would_have(tmp_path):
    flags = ["--lr", "0.1", "--validation-split", "0.2", "--epochs", "60", "--early-stop", "3"]
    whole = train(*SMALL, *flags, "--out", tmp_path / "whole")
    settings, training_run = imported("settings"), imported("training_run")
    folder = tmp_path / "parts"
    folder.mkdir()
    run = training_run.set_up(settings.run_settings(settings.parse_arguments([*SMALL, *flags])))
    with contextlib.closing(run.epochs()) as epochs:
        for epoch, images in itertools.islice(epochs, 2):
            for batch, labels in run.batches_left(epoch, images):
                scores = run.trained(batch)
                loss = run.loss(scores, labels)
                loss.backward()
                run.optimizer.lr = run.schedule()(run.progress["step"])
                run.optimizer.step()
                run.optimizer.zero_grad()
                run.count(loss, scores, labels)
            run.end_epoch()
            imported("run_folder").write_epoch(run, folder)
    resumed = train("--resume", folder)
    assert numbers(resumed.stdout)[-4:] == numbers(whole.stdout)[-4:]


@pytest.mark.parametrize("flags", [[], ["--label-smoothing", "0"]], ids=" ".join)
def test_the_plain_cross_entropy_is_printed_beside_a_smoothed_loss(flags, tmp_path):
    result = train(*SMALL, *flags, "--validation-split", "0.2", "--out", tmp_path / "run")
    lines = re.findall(r"^epoch \d/3  (loss .*?)  accuracy", result.stdout, re.M)
    for line, metrics in zip(lines, history(tmp_path / "run"), strict=True):
        if flags:
            assert line == f"loss {metrics['loss']:.4f}"
        else:
            assert line == f"loss {metrics['loss']:.4f} smoothed ({metrics['cross_entropy']:.4f} plain)"
            assert 0 < metrics["cross_entropy"] < metrics["loss"]


def test_metrics_are_plain_numbers_in_memory_in_the_checkpoint_and_as_json(finished):
    folder, _ = finished
    written = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line, again in zip(history(folder), written, strict=True):
        assert {type(value) for value in line.values()} == {int, float}
        assert line == again


@pytest.mark.parametrize("spelling", [["32x16"], ["32", "16"]], ids=" ".join)
def test_hidden_layers_have_one_spelling_in_all_scripts_and_words_of_their_own_work_too(spelling):
    settings = imported("settings")
    assert settings.parse_arguments(["--hidden", *spelling]).hidden == [32, 16]
    assert imported("sweep").parse_arguments(["hidden=32x16"]).configs[0].hidden == [32, 16]
    assert imported("compare").shown([32, 16]) == "32x16"


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


@pytest.mark.slow
def test_data_without_test_images_is_judged_by_validation(tmp_path):
    dataset = data.load_mnist(ROOT / "models" / "data" / "mnist")
    rows = np.column_stack([dataset.train_labels[:300], dataset.train_images[:300].reshape(300, -1)])
    header = ",".join(["label", *(f"pixel{i}" for i in range(784))])
    np.savetxt(tmp_path / "train.csv", rows, fmt="%d", delimiter=",", header=header, comments="")
    arguments = ["--data", tmp_path / "train.csv", "--epochs", "2", "--hidden", "16", "--out"]
    result = train(*arguments, tmp_path / "run")
    assert "held out, to judge the run by: 10% of them" in result.stdout.splitlines()
    assert re.fullmatch(r"validation accuracy: .*/30\)", result.stdout.splitlines()[-1])
    result = train(*arguments, tmp_path / "other", "--validation-split", "0.2")
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
        ["--hidden", "16x"],
        ["--early-stop", "0"],
        ["--early-stop", "2"],
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


@pytest.mark.slow
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
