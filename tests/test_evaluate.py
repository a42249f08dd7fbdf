"""scripts/evaluate.py, against numbers that NumPy computes from the checkpoint."""

import subprocess
import sys

import numpy as np
import pytest
from scripts_in_process import SCRIPTS, run_script

from tinygrad_np import checkpoint


def save(file, images, labels):
    """A dataset whose last two thirds are for testing."""
    third = len(images) // 3
    np.savez(file, x_train=images[:third], y_train=labels[:third], x_test=images[third:], y_test=labels[third:])
    return images, labels


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Images of 6 x 5 values in 4 classes, of which the last is never tested."""
    file = tmp_path_factory.mktemp("data") / "four.npz"
    generator = np.random.default_rng(0)
    labels = np.arange(300) % 4
    labels[100:] %= 3
    images = generator.normal(0, 1, (300, 6, 5)) + labels[:, None, None] / 4
    return file, *save(file, images.astype(np.float32), labels)


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    settings = ["--hidden", "--epochs", "9", "--validation-split", "0.2", "--no-pictures", "--lr", "0.05"]
    result = run_script("train.py", "--data", dataset[0], *settings, "--batch-size", "8", "--out", folder)
    assert result.returncode == 0, result.stderr
    return folder, result.stdout.splitlines()[-1]


def predictions(folder, images, name="last"):
    model = checkpoint.load(folder / f"{name}.safetensors")["model"]
    flat = images.reshape(len(images), -1)
    return (flat @ model["layers.0.weight"].T + model["layers.0.bias"]).argmax(axis=1)


def evaluate(*arguments):
    """The cells of the lines for the classes, the confusion matrix, and the last line."""
    result = run_script("evaluate.py", *arguments)
    assert result.returncode == 0, result.stderr
    blocks = result.stdout.split("\n\n")
    classes, matrix = ([line.split() for line in block.splitlines()[2:]] for block in (blocks[0], blocks[2]))
    counts = [[int(count.replace(".", "0")) for count in line[1:]] for line in matrix]
    return classes, counts, result.stdout.splitlines()[-1]


def test_the_last_line_is_that_of_the_training(run):
    assert evaluate(run[0])[2] == run[1]


@pytest.mark.parametrize("name", ["last", "best"])
def test_the_numbers_of_each_class_and_the_confusion_matrix_are_those_of_the_checkpoint(name, run, dataset):
    folder, (_, images, labels) = run[0], dataset
    seen, labels = predictions(folder, images[100:], name), labels[100:]
    assert set(seen) == set(range(4)), "class 3, which no image is of, should be seen in some"
    classes, counts, last = evaluate(folder, "--checkpoint", name)
    assert counts == [[np.sum((labels == i) & (seen == j)) for j in range(4)] for i in range(4)]
    assert f"({np.sum(seen == labels)}/200)" in last
    for i, (number, precision, recall, f1, count) in enumerate(classes):
        right = np.sum((labels == i) & (seen == i))
        p, r = right / np.sum(seen == i), right / max(np.sum(labels == i), 1)
        assert (number, count) == (str(i), str(np.sum(labels == i)))
        assert precision == f"{p:.2%}"
        assert recall == (f"{r:.2%}" if i < 3 else "-")
        assert f1 == (f"{2 * p * r / (p + r):.2%}" if i < 3 else "0.00%")


def test_the_training_images_are_those_that_were_not_held_out(run):
    assert evaluate(run[0], "--split", "train")[2].endswith("/80)")
    assert evaluate(run[0], "--split", "train")[2].startswith("training accuracy: ")


def test_other_data_of_the_same_size_is_evaluated_even_if_it_lacks_classes(run, tmp_path):
    images = np.random.default_rng(1).normal(0, 1, (9, 30)).astype(np.float32)
    _, labels = save(tmp_path / "other.npz", images, np.arange(9) % 2)
    seen = predictions(run[0], images[3:], "best")
    classes, _, last = evaluate(run[0], "--data", tmp_path / "other.npz")
    assert last == f"test accuracy: {np.mean(seen == labels[3:]):.2%} ({np.sum(seen == labels[3:])}/6)"
    assert [line[-1] for line in classes] == ["3", "3", "0", "0"]
    assert evaluate(run[0], "--data", tmp_path / "other.npz", "--split", "train")[2].endswith("/3)")


def test_data_without_test_images_is_evaluated_on_what_training_held_out(tmp_path):
    generator = np.random.default_rng(0)
    np.savetxt(
        tmp_path / "train.csv",
        generator.integers(0, 3, (50, 5)),
        "%d",
        delimiter=",",
        header="label,a,b,c,d",
        comments="",
    )
    flags = ["--data", tmp_path / "train.csv", "--validation-split", "0.2", "--epochs", "1", "--no-pictures"]
    trained = run_script("train.py", *flags, "--out", tmp_path / "run")
    assert evaluate(tmp_path / "run")[2] == trained.stdout.splitlines()[-1]
    assert trained.stdout.splitlines()[-1].startswith("validation accuracy: ")
    refused = run_script("evaluate.py", tmp_path / "run", "--data", tmp_path / "train.csv")
    assert refused.returncode == 2
    assert "--split train" in refused.stderr


def test_pictures_of_the_results_are_put_where_they_are_asked_for(run, tmp_path):
    pytest.importorskip("matplotlib")
    evaluate(run[0], "--out", tmp_path / "new" / "results")
    assert sorted(path.name for path in (tmp_path / "new" / "results").iterdir()) == ["confusion.png", "mistakes.png"]


@pytest.mark.parametrize(("features", "classes"), [(31, 4), (30, 5)])
def test_data_of_another_size_is_refused_with_both_sizes(features, classes, run, tmp_path):
    save(tmp_path / "other.npz", np.zeros((30, features), np.float32), np.arange(30) % classes)
    result = run_script("evaluate.py", run[0], "--data", tmp_path / "other.npz")
    assert result.returncode == 2
    assert f"{features} values and {classes} classes" in result.stderr
    assert "30 values and knows 4 classes" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("damage", [{}, {"config": {"hidden": [3]}}, {"config": None}, {"model": 3}])
def test_a_checkpoint_of_something_else_is_refused_by_name(damage, run, dataset, tmp_path):
    saved = checkpoint.load(run[0] / "last.safetensors")
    checkpoint.save(tmp_path / "last.safetensors", {**saved, **damage} if damage else {})
    for data in ([], ["--data", dataset[0]]):
        result = run_script("evaluate.py", tmp_path, *data)
        assert result.returncode == 2, result.stdout
        assert result.stderr.startswith("evaluate.py: error: ")
        assert "last.safetensors" in result.stderr
        assert result.stderr.count("\n") == 1


def test_a_folder_that_is_not_there_is_named(tmp_path):
    command = [sys.executable, str(SCRIPTS / "evaluate.py"), tmp_path / "nowhere"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert result.returncode == 2
    assert "nowhere" in result.stderr
