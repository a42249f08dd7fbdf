"""The scripts on runs of the convolutional network, `--model cnn`."""

import itertools
import re

import numpy as np
import pytest
from scripts_in_process import imported, run_script

from tinygrad_np import checkpoint, data

SMALL = ["--model", "cnn", "--hidden", "3", "4", "--batch-size", "32", "--no-pictures"]


def train(*arguments):
    result = run_script("train.py", *SMALL, *arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Images of 28 x 28 pixels with a bar that lies, stands, or leans."""
    file = tmp_path_factory.mktemp("bars") / "bars.npz"
    generator = np.random.default_rng(0)
    labels = np.arange(360) % 3
    bars = np.stack(
        [np.outer(np.hanning(28) ** 9, np.ones(28)), np.outer(np.ones(28), np.hanning(28) ** 9), np.eye(28)]
    )
    images = (bars[labels] * generator.uniform(100, 255, (360, 1, 1))).astype(np.uint8)
    np.savez(file, x_train=images[:300], y_train=labels[:300], x_test=images[300:], y_test=labels[300:])
    return file


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("convolutional") / "run"
    output = train("--data", dataset, "--epochs", "2", "--lr", "0.02", "--average", "0.5", "--draw", "--out", folder)
    return folder, output


def test_it_learns_and_saves_the_filters_by_pytorchs_names(run):
    folder, output = run
    assert float(re.search(r"test accuracy: ([\d.]+)%", output.splitlines()[-1])[1]) > 95
    shapes = {name: array.shape for name, array in checkpoint.load(folder / "last.safetensors")["model"].items()}
    assert shapes == {
        "layers.1.weight": (3, 1, 5, 5),
        "layers.1.bias": (3,),
        "layers.4.weight": (4, 3, 3, 3),
        "layers.4.bias": (4,),
        "layers.8.weight": (3, 100),
        "layers.8.bias": (3,),
    }


def test_evaluate_repeats_its_last_line(run):
    folder, output = run
    result = run_script("evaluate.py", folder)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == output.splitlines()[-1]


def test_predict_answers_as_the_network_does(run, dataset, tmp_path):
    images = np.load(dataset)["x_test"]
    np.savez(tmp_path / "test.npz", images)
    result = run_script("predict.py", run[0], tmp_path / "test.npz", "--out", tmp_path / "answers.csv", "--no-header")
    assert result.returncode == 0, result.stderr
    answers = [int(line.split(",")[1]) for line in (tmp_path / "answers.csv").read_text().splitlines()]
    training_run = imported("training_run")
    model, sizes = training_run.load_model(run[0] / "last.safetensors")
    assert sizes == [784, 3, 4, 3]
    inputs = data.scale_pixels(images.astype(np.float32), 255.0)
    assert answers == training_run.predict(model, inputs).argmax(axis=1).tolist()


def test_the_picture_of_a_step_has_the_convolutions(run, tmp_path):
    assert "conv2d" in (run[0] / "graph.svg").read_text()
    result = run_script("draw_graph.py", tmp_path / "graph.svg", "--run", run[0], "--values")
    assert result.returncode == 0, result.stderr
    assert "layers.4.weight" in (tmp_path / "graph.svg").read_text()


def test_compare_sets_it_beside_a_multilayer_perceptron(run, dataset, tmp_path):
    pytest.importorskip("matplotlib")
    flags = ["--data", dataset, "--hidden", "4", "--epochs", "1", "--no-pictures", "--out", tmp_path / "mlp"]
    assert run_script("train.py", *flags).returncode == 0
    result = run_script("compare.py", run[0], tmp_path / "mlp", "--out", tmp_path / "compare.png")
    assert result.returncode == 0, result.stderr
    head, _, one, other = result.stdout.splitlines()[:4]
    assert "model" in head.split()
    assert ("cnn" in one.split(), "mlp" in other.split()) == (True, True)


@pytest.mark.slow
def test_a_run_that_was_stopped_and_resumed_ends_with_the_same_bits(dataset, tmp_path, monkeypatch):
    flags = ["--data", dataset, "--limit", "96", "--dropout", "0.2", "--epochs", "2"]
    train(*flags, "--out", tmp_path / "whole")
    steps = itertools.count(1)
    with monkeypatch.context() as patch:
        patch.setattr(imported("train").ranks, "any_of", lambda comm, interrupted: next(steps) == 4)
        assert run_script("train.py", *SMALL, *flags, "--out", tmp_path / "parts").returncode == 130
    assert checkpoint.load(tmp_path / "parts" / "last.safetensors")["progress"]["step"] == 4
    resumed = run_script("train.py", "--resume", tmp_path / "parts", "--no-pictures")
    assert resumed.returncode == 0, resumed.stderr
    whole, parts = (checkpoint.load(tmp_path / name / "last.safetensors") for name in ("whole", "parts"))
    for part in ("model", "optimizer"):
        for name, array in whole[part].items():
            np.testing.assert_array_equal(array, parts[part][name])


def test_images_too_small_for_the_convolutions_are_refused(tmp_path):
    labels = np.arange(30) % 3
    np.savez(tmp_path / "tiny.npz", x_train=np.ones((30, 6, 6)), y_train=labels)
    result = run_script("train.py", *SMALL, "--data", tmp_path / "tiny.npz", "--out", tmp_path / "run")
    assert result.returncode == 2
    assert "images of 6 x 6 pixels are too small for 2 convolutions" in result.stderr
