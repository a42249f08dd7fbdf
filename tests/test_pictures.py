"""The pictures of a run of scripts/train.py: what they show, and that a run goes on without them."""

import doctest
import os
import subprocess
import sys

import numpy as np
import pytest
from scripts_in_process import SCRIPTS, imported, run_script

from tinygrad_np import checkpoint

pytest.importorskip("matplotlib")
from matplotlib.colors import to_hex
from matplotlib.image import imread

TRAIN = str(SCRIPTS / "train.py")
PICTURES = ["confusion.png", "curves.png", "mistakes.png", "weights.png"]
FILES = ["best.safetensors", "config.json", "last.safetensors", "metrics.jsonl"]


def python(*arguments):
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)


@pytest.fixture(scope="module")
def pictures():
    return imported("pictures")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Images of 6 x 5 pixels in 3 classes, which overlap."""
    file = tmp_path_factory.mktemp("data") / "three.npz"
    generator = np.random.default_rng(0)
    labels = np.arange(240) % 3
    images = (generator.normal(0, 90, (240, 6, 5)) + 60 * labels[:, None, None]).clip(0, 255).astype(np.uint8)
    np.savez(file, x_train=images[:120], y_train=labels[:120], x_test=images[120:], y_test=labels[120:])
    return file


@pytest.fixture(scope="module")
def settings(dataset):
    return ["--data", dataset, "--hidden", "8", "--epochs", "2"]


@pytest.fixture(scope="module")
def finished(settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    result = python(TRAIN, *settings, "--out", folder)
    assert result.returncode == 0, result.stderr
    return folder, result


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def texts(figure):
    (axes, *_) = figure.axes
    return [text.get_text() for text in axes.texts]


# In a run's folder


def test_a_run_leaves_four_pictures_that_show_something_and_says_nothing_of_them(finished):
    folder, result = finished
    assert files(folder) == sorted(FILES + PICTURES)
    assert "train.py" not in result.stderr
    assert result.stdout.splitlines()[-1].startswith("test accuracy: ")
    for name in PICTURES:
        picture = imread(folder / name)
        assert min(picture.shape[:2]) > 200
        assert picture[..., :3].std() > 0.05


def test_pictures_change_no_number_of_a_run(finished, settings, tmp_path):
    folder, with_pictures = finished
    result = run_script("train.py", *settings, "--no-pictures", "--out", tmp_path / "run")
    assert files(tmp_path / "run") == FILES
    assert result.stdout.splitlines()[-1] == with_pictures.stdout.splitlines()[-1]
    for name, array in checkpoint.load(folder / "last.safetensors")["model"].items():
        np.testing.assert_array_equal(array, checkpoint.load(tmp_path / "run" / "last.safetensors")["model"][name])


def test_without_matplotlib_a_run_goes_on_and_says_what_to_install(settings, tmp_path):
    code = "import runpy, sys; sys.modules['matplotlib'] = None; del sys.argv[0]; sys.path.insert(0, sys.argv.pop(0)); "
    code += "runpy.run_path(sys.argv[0], run_name='__main__')"
    result = python("-c", code, SCRIPTS, TRAIN, *settings, "--out", tmp_path / "run")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1].startswith("test accuracy: ")
    assert "to install it: python -m pip install matplotlib; " in result.stderr
    assert result.stderr.count("\n") == 1
    assert files(tmp_path / "run") == FILES


@pytest.mark.slow
def test_the_accuracy_is_the_last_line_also_after_a_notice(settings, tmp_path):
    run = run_script("train.py", *settings, "--no-pictures", "--out", tmp_path / "run")
    (tmp_path / "run" / "confusion.png").mkdir()
    command = [sys.executable, TRAIN, "--resume", tmp_path / "run"]
    resumed = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
    *_, notice, last = resumed.stdout.splitlines()
    assert "confusion.png" in notice
    assert last == run.stdout.splitlines()[-1]


def test_a_picture_that_cannot_be_written_is_named_and_the_result_stands(settings, tmp_path):
    run = run_script("train.py", *settings, "--no-pictures", "--out", tmp_path / "run")
    (tmp_path / "run" / "confusion.png").mkdir()
    result = run_script("train.py", "--resume", tmp_path / "run")
    assert result.returncode == 0
    assert result.stdout.splitlines()[-1] == run.stdout.splitlines()[-1]
    assert "confusion.png" in result.stderr
    assert result.stderr.count("\n") == 1


def test_features_that_are_no_picture_are_not_drawn_as_one(tmp_path):
    features, labels = np.random.default_rng(0).normal(size=(30, 4)), np.arange(30) % 3
    np.savez(tmp_path / "flat.npz", x_train=features, y_train=labels, x_test=features, y_test=labels)
    settings = ["--data", tmp_path / "flat.npz", "--hidden", "8", "--epochs", "1"]
    result = run_script("train.py", *settings, "--out", tmp_path / "run")
    assert files(tmp_path / "run") == sorted([*FILES, "confusion.png", "curves.png"])
    assert [line.split(":")[1].strip() for line in result.stderr.splitlines()] == ["no mistakes.png", "no weights.png"]


# The figures


def test_examples_in_docstrings_hold(pictures):
    assert doctest.testmod(pictures).failed == 0


def test_a_confusion_matrix_shows_every_count_and_colours_only_mistakes(pictures):
    counts = np.array([[900, 3, 0], [0, 800, 12], [1, 0, 700]])
    figure = pictures.confusion_figure(counts, "test")
    assert texts(figure) == ["900", "3", "800", "12", "1", "700"]
    title = figure.axes[0].get_title()
    assert "99.34%" in title
    assert "16 of 2,416" in title
    assert "1 seen as 2, 12 of 812" in title
    image = figure.axes[0].images[0]
    assert image.get_array().mask.tolist() == np.eye(3, dtype=bool).tolist()
    assert image.get_clim() == (0, 12)


@pytest.mark.parametrize("counts", [np.diag([5, 5]), np.array([[0, 0], [7, 0]])])
def test_a_confusion_matrix_without_mistakes_or_without_hits_is_drawn(counts, pictures, tmp_path):
    pictures.save(pictures.confusion_figure(counts, "test"), tmp_path / "confusion.png")
    assert (tmp_path / "confusion.png").stat().st_size > 5000


def test_a_confusion_matrix_of_many_classes_has_colours_without_counts(pictures):
    figure = pictures.confusion_figure(np.full((40, 40), 2), "test")
    assert texts(figure) == []
    assert figure.axes[0].images[0].get_array().count() == 40 * 39


def test_mistakes_are_shown_with_the_most_confident_first(pictures):
    scores = np.array([[9.0, 0, 0], [0, 2, 0], [0, 0, 5], [1, 0, 0]], np.float32)
    images = np.arange(4 * 6).reshape(4, 2, 3) / 24
    figure = pictures.mistakes_figure(scores, images, np.array([0, 0, 1, 2]), "test")
    confidence = [np.exp(top) / (np.exp(top) + 2) for top in (5, 2, 1)]
    assert texts(figure) == [
        f"{seen}\n{share:.1%}"
        for seen, share in zip(["1 seen as 2", "0 seen as 1", "2 seen as 0"], confidence, strict=True)
    ]
    assert "3 mistakes in 4 test images" in figure.axes[0].get_title()
    first = np.asarray(figure.axes[0].images[0].get_array())
    np.testing.assert_allclose(first, (images[2] - images[1].min()) / (images[3].max() - images[1].min()))


def test_no_more_mistakes_are_shown_than_can_be_seen(pictures):
    scores = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32)
    labels = (scores.argmax(axis=1) + 1) % 3
    figure = pictures.mistakes_figure(scores, np.zeros((500, 4, 4, 3), np.float32), labels, "validation")
    assert len(figure.axes[0].images) == 24
    assert "the 24 most confident of 500 mistakes in 500 validation images" in figure.axes[0].get_title()


def test_a_run_without_mistakes_says_so(pictures):
    figure = pictures.mistakes_figure(np.eye(3, dtype=np.float32), np.zeros((3, 4, 4)), np.arange(3), "test")
    assert figure.get_suptitle() == "no mistakes in 3 test images"


def test_the_weights_of_the_largest_norms_are_shown_in_colours_around_zero(pictures):
    weight = np.random.default_rng(0).normal(size=(100, 30)).astype(np.float32)
    weight[77] *= 10
    weight[3] = 0
    shown = pictures.weights_figure(weight, (6, 5)).axes[0].images
    assert len(shown) == 64
    np.testing.assert_array_equal(np.asarray(shown[0].get_array()), weight[77].reshape(6, 5))
    assert not any(np.array_equal(image.get_array(), np.zeros((6, 5))) for image in shown)
    low, high = shown[0].get_clim()
    assert low == -high < 0


@pytest.mark.parametrize("shape", [(6, 5, 1), (6, 5, 3)])
def test_the_weights_of_pictures_with_channels_are_shown(shape, pictures, tmp_path):
    weight = np.random.default_rng(0).normal(size=(3, np.prod(shape))).astype(np.float32)
    pictures.save(pictures.weights_figure(weight, shape), tmp_path / "weights.png")
    assert (tmp_path / "weights.png").stat().st_size > 3000


def line(epoch, loss, accuracy, **others):
    return {"epoch": epoch, "loss": loss, "accuracy": accuracy, **others}


def test_curves_show_each_quantity_of_the_metrics_and_end_with_the_accuracy(pictures):
    history = [line(i, 1 / i, 0.8, test_loss=2 / i, test_accuracy=0.9 + i / 100) for i in (1, 2, 3)]
    figure = pictures.curves_figure({"run": history})
    loss, accuracy = figure.axes
    assert [drawn.get_ydata().tolist() for drawn in loss.lines] == [[2, 1, 2 / 3], [1, 1 / 2, 1 / 3]]
    assert [drawn.get_ydata()[-1] for drawn in accuracy.lines] == [0.93, 0.8]
    assert loss.get_yscale() == "linear"
    assert figure.get_suptitle() == "test accuracy 93.00% after 3 epochs"


def test_a_loss_that_falls_to_less_than_a_tenth_has_a_logarithmic_axis(pictures):
    figure = pictures.curves_figure({"run": [line(1, 2, 0.1, test_accuracy=0.5), line(2, 0.1, 1, test_accuracy=0.6)]})
    assert figure.axes[0].get_yscale() == "log"


def test_runs_with_names_that_matplotlib_would_read_as_something_else_are_in_the_legend(pictures, tmp_path):
    names = ["_first", "$x", "$\\bad{$", "字", *map(str, range(10))]
    figure = pictures.curves_figure({name: [line(1, 1, 0.5, validation_accuracy=0.5)] for name in names})
    assert [text.get_text() for text in figure.legends[0].get_texts()] == names
    assert len({to_hex(drawn.get_color()) for drawn in figure.legends[0].get_lines()}) == 14
    pictures.save(figure, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 5000


def test_runs_without_an_epoch_have_curves_to_come(pictures):
    assert pictures.curves_figure({"run": []}).get_suptitle() == "no epoch has ended yet"
