"""scripts/train.py with --distort and --average: new distorted images in each epoch, averaged weights as the result.

A process of its own makes the images. Its timing must not change a number, and it must not outlive the run.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from tinygrad_np import checkpoint, data

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {**os.environ, "PYTHONWARNINGS": "error", "OPENBLAS_NUM_THREADS": "1"}
SMALL = ["--limit", "3000", "--hidden", "16", "--epochs", "4", "--batch-size", "8", "--dropout", "0.1"]
SETTINGS = [*SMALL, "--distort", "--average", "0.9"]


def command(*arguments):
    return [sys.executable, str(ROOT / "scripts" / "train.py"), *map(str, arguments), "--no-pictures"]


def train(*arguments):
    return subprocess.run(command(*arguments), env=ENVIRONMENT, capture_output=True, text=True, timeout=100)


def start(*arguments):
    return subprocess.Popen(
        command(*arguments), env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for_the_first_epoch(process):
    assert any(line.startswith("epoch 1/") for line in iter(process.stdout.readline, ""))


def losses(folder):
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def require_same(folder, other):
    """Both runs have come to the same numbers, to the last bit."""
    first, second = (checkpoint.load(path / "last.safetensors") for path in (folder, other))
    for part in ("model", "trained", "optimizer"):
        for name, array in first[part].items():
            np.testing.assert_array_equal(array, second[part][name])
    assert losses(folder) == losses(other)


def workers():
    """The processes that distort images at present: the number of each, and that of its parent."""
    command = ["ps", "-ww", "-eo", "pid,ppid,args"]  # -ww: lines of any length
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    lines = [line.split() for line in lines if str(ROOT / "scripts" / "distorted.py") in line]
    return {int(pid): int(parent) for pid, parent, *_ in lines}


def worker_of(process):
    """The process that distorts images for a run."""
    (worker,) = (worker for worker, parent in workers().items() if parent == process.pid)
    return worker


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    result = train(*SETTINGS, "--out", folder)
    assert result.returncode == 0, result.stderr
    return folder, result.stdout


def test_images_are_distorted_as_the_seed_and_the_epoch_say_and_half_as_strongly_in_the_last_fifth(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    distorted_epochs = importlib.import_module("distorted").distorted_epochs
    pixels = np.random.default_rng(0).integers(0, 256, (20, 28, 28), np.uint8)
    for first, images in ((0, pixels), (3, pixels.astype(np.float32))):
        with closing(distorted_epochs(images, 1.5, 7, range(first, 5))) as distorted:
            for epoch, of_epoch in zip(range(first, 5), distorted, strict=True):
                expected = data.distort(images, np.random.default_rng([7, 3, epoch]), 0.75 if epoch == 4 else 1.5)
                np.testing.assert_array_equal(of_epoch, expected.round() if images is pixels else expected)
                assert of_epoch.dtype == images.dtype


@pytest.mark.slow
def test_the_same_seed_makes_the_same_numbers(finished, tmp_path):
    again = train(*SETTINGS, "--out", tmp_path / "again")
    assert again.stdout.splitlines()[-1] == finished[1].splitlines()[-1]
    require_same(finished[0], tmp_path / "again")


@pytest.mark.slow
def test_distorted_images_are_harder_to_learn(finished, tmp_path):
    assert train(*SMALL, "--out", tmp_path / "plain").returncode == 0
    assert losses(tmp_path / "plain")[-1] < losses(finished[0])[-1]


@pytest.mark.slow
def test_the_model_in_a_checkpoint_is_the_average_and_that_is_what_is_judged(finished, tmp_path):
    saved = checkpoint.load(finished[0] / "last.safetensors")
    assert saved["model"].keys() == saved["trained"].keys()
    assert not np.array_equal(saved["model"]["layers.0.weight"], saved["trained"]["layers.0.weight"])

    mnist = data.load_mnist(ROOT / "models" / "data" / "mnist")
    first, first_bias, second, second_bias = saved["model"].values()
    hidden = np.maximum(data.to_inputs(mnist.test_images) @ first.T + first_bias, 0)
    correct = np.count_nonzero((hidden @ second.T + second_bias).argmax(axis=1) == mnist.test_labels)
    assert finished[1].endswith(f"({correct}/10000)\n")

    # The same steps without the average come to the weights that were trained.
    assert train(*SMALL, "--distort", "--out", tmp_path / "plain").returncode == 0
    for name, array in checkpoint.load(tmp_path / "plain" / "last.safetensors")["model"].items():
        np.testing.assert_array_equal(array, saved["trained"][name])


@pytest.mark.slow
def test_a_run_interrupted_in_the_middle_of_an_epoch_and_resumed_ends_as_if_it_had_never_stopped(finished, tmp_path):
    process = start(*SETTINGS, "--out", tmp_path / "run")
    wait_for_the_first_epoch(process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 130, errors
    assert errors == ""
    step = checkpoint.load(tmp_path / "run" / "last.safetensors")["progress"]["step"]
    assert step % 375, "the interruption should fall into the middle of an epoch"
    resumed = train("--resume", tmp_path / "run")
    assert resumed.stdout.splitlines()[-1] == finished[1].splitlines()[-1]
    require_same(finished[0], tmp_path / "run")


@pytest.mark.slow
def test_the_process_that_distorts_ends_with_a_run_that_is_killed(tmp_path):
    process = start(*SETTINGS, "--epochs", "1000", "--out", tmp_path / "run")
    wait_for_the_first_epoch(process)
    worker = worker_of(process)
    process.kill()
    process.communicate(timeout=100)
    deadline = time.monotonic() + 20
    while worker in workers() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert worker not in workers()


@pytest.mark.slow
def test_a_run_whose_process_was_killed_says_so_and_can_be_resumed(tmp_path):
    process = start(*SETTINGS, "--epochs", "1000", "--out", tmp_path / "run")
    wait_for_the_first_epoch(process)
    os.kill(worker_of(process), signal.SIGKILL)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 2
    assert "distort" in errors
    assert "--resume" in errors
    assert errors.count("\n") == 1
    assert (tmp_path / "run" / "last.safetensors").exists()


def test_images_without_rows_and_columns_cannot_be_distorted(tmp_path):
    np.savez(
        tmp_path / "data.npz",
        x_train=np.zeros((4, 9), np.uint8),
        y_train=np.arange(4),
        x_test=np.zeros((4, 9), np.uint8),
        y_test=np.arange(4),
    )
    result = train("--data", tmp_path / "data.npz", "--distort", "--out", tmp_path / "run")
    assert result.returncode == 2
    assert "(9,)" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_scaled_images_of_another_size_and_held_out_ones_work_too(tmp_path):
    generator = np.random.default_rng(0)
    images, labels = generator.random((60, 7, 5), np.float32), np.arange(60) % 3
    np.savez(tmp_path / "data.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    result = train(
        *SMALL, "--data", tmp_path / "data.npz", "--distort", "--validation-split", "0.2", "--out", tmp_path / "run"
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("flags", [["--distort", "-1"], ["--average", "1"]])
def test_strengths_and_decays_that_make_no_sense_are_refused(flags, tmp_path):
    result = train(*flags, "--out", tmp_path / "run")
    assert result.returncode == 2
    assert flags[0] in result.stderr
    assert not (tmp_path / "run").exists()
