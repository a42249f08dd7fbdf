"""What scripts/train.py understands of data in the forms that people have it in, and says of it, or refuses.

The images are the first of MNIST, written as others write them. Each form must train as well as MNIST itself does.
"""

import contextlib
import gzip
import pathlib
import re
import struct
import tempfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripts_in_process import run_script

from tinygrad_np import checkpoint, data
from tinygrad_np.errors import ArgumentError, DataError

COUNT = 500
MNIST = data.load_mnist(pathlib.Path(__file__).parent.parent / "models" / "data" / "mnist")
IMAGES, LABELS = MNIST.train_images[:COUNT], MNIST.train_labels[:COUNT]
ROWS = IMAGES.reshape(COUNT, -1)
SMALL = IMAGES[:, 2:26, 2:26].reshape(COUNT, 8, 3, 8, 3).mean((2, 4)).reshape(COUNT, 64)
DIGITS = np.rint(SMALL * (16 / SMALL.max()))  # as scikit-learn's load_digits has them
NUMBERS = np.arange(COUNT)
PIXELS = ",".join(f"pixel{i}" for i in range(784))
GENERATOR = np.random.default_rng(0)
SETTINGS = ["--validation-split", "0.2", "--epochs", "6", "--hidden", "32", "--batch-size", "16", "--no-pictures"]


def write(path, *columns, header="", fmt="%g"):
    np.savetxt(path, np.column_stack(columns), fmt, delimiter=",", header=header, comments="")
    return path


def train(path, *flags):
    """The lines that train.py prints, for the data in a file beside which the run's folder is made."""
    result = run_script("train.py", "--data", path, *SETTINGS, *flags, "--out", path.parent / "run")
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def refusal(path, *flags):
    result = run_script("train.py", "--data", path, *SETTINGS, *flags, "--out", path.parent / "run")
    assert result.returncode == 2, result.stdout
    assert result.stderr.count("\n") == 1
    return result.stderr


def accuracy(lines):
    return float(re.fullmatch(r"validation accuracy: (.*)% .*", lines[-1])[1])


# The place of the labels

FORMS = {
    "Kaggle's train.csv": (
        ["label," + PIXELS, LABELS, ROWS],
        ["labels: first column of train.csv, named 'label'"],
    ),
    "mnist_784 of OpenML": (
        [PIXELS.replace("pixel0,", "") + ",pixel784,class", ROWS, LABELS],
        ["labels: last column of train.csv, named 'class'"],
    ),
    "no header, labels first": (
        ["", LABELS, ROWS],
        ["labels: first column of train.csv (a guess from its values; --label-column changes it)"],
    ),
    "no header, labels last": (
        ["", ROWS, LABELS],
        ["labels: last column of train.csv (a guess from its values; --label-column changes it)"],
    ),
    "the digits of scikit-learn, labels last": (["", DIGITS, LABELS], ["labels: last column of train.csv (a guess"]),
    "the digits of scikit-learn, labels first": (["", LABELS, DIGITS], ["labels: first column of train.csv (a guess"]),
    "black and white, labels last": (["", ROWS > 127, LABELS], ["labels: last column of train.csv (a guess"]),
    "an index of pandas": (
        [",label," + PIXELS, NUMBERS, LABELS, ROWS],
        [
            "labels: column 1 (from 0) of train.csv, named 'label'",
            "left out: first column of train.csv, without a name, which numbers the rows",
        ],
    ),
    "an id": (
        ["id," + PIXELS + ",target", NUMBERS + 1, ROWS, LABELS],
        ["labels: last column of train.csv, named 'target'", "left out: first column of train.csv, named 'id'"],
    ),
    "row numbers without a header": (
        ["", NUMBERS, LABELS, ROWS],
        ["labels: column 1 (from 0) of train.csv (a guess", "left out: first column of train.csv, which numbers"],
    ),
    "shuffled row numbers without a header": (
        ["", GENERATOR.permutation(COUNT) + 1, ROWS, LABELS],
        ["labels: last column of train.csv (a guess", "left out: first column of train.csv, which numbers the rows"],
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_labels_are_found_where_they_stand_and_that_is_said(form, tmp_path):
    (header, *columns), said = FORMS[form]
    lines = train(write(tmp_path / "train.csv", *columns, header=header))
    size = "8 x 8" if "scikit" in form else "28 x 28"
    assert lines[0].startswith(
        f"data: 500 training images, none for testing, of {size} pixels; 10 classes, 0 to 9, of "
    )
    for line, start in zip(lines[1:], said, strict=False):
        assert line.startswith(start)
    assert accuracy(lines) > 75


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    st.integers(30, COUNT),
    st.integers(2, 10),
    st.integers(0, 11),
    st.sampled_from([2, 3, 4, 8, 17, 256]),
    st.booleans(),
)
def test_a_guess_of_the_labels_is_right_or_it_is_refused(count, classes, margin, levels, first):
    """Whatever the images are like: cropped, so that pixels at their edges vary, in few levels, of few classes."""
    chosen = LABELS[:count] < classes
    labels, images = LABELS[:count][chosen], IMAGES[:count][chosen][:, margin : 28 - margin, margin : 28 - margin]
    pixels = images.reshape(len(images), -1).astype(int) * levels // 256
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "train.csv")
        write(path, *([labels, pixels] if first else [pixels, labels]), fmt="%d")
        with contextlib.suppress(DataError):
            np.testing.assert_array_equal(data.load_csv(path)[1], labels)


def test_a_gzipped_file_is_read_like_a_plain_one(tmp_path):
    plain = write(tmp_path / "train.csv", LABELS, ROWS, header="label," + PIXELS)
    (tmp_path / "packed.csv.gz").write_bytes(gzip.compress(plain.read_bytes(), 1))
    for loaded, expected in zip(data.load(tmp_path / "packed.csv.gz"), data.load(plain), strict=True):
        np.testing.assert_array_equal(loaded, expected)
    (tmp_path / "packed.csv.gz").write_bytes(gzip.compress(plain.read_bytes(), 1)[:-100])
    with pytest.raises(DataError, match="get the file again"):
        data.load(tmp_path / "packed.csv.gz")


@pytest.mark.parametrize("column", ["kind", "last", "-1", "4"])
def test_the_column_of_the_labels_can_be_named_and_the_run_keeps_it(column, tmp_path):
    levels = np.random.default_rng(0).integers(0, 3, (60, 5))  # any column could be the labels
    path = write(tmp_path / "train.csv", levels, header="a,b,c,d,kind")
    assert "--label-column" in refusal(path)
    lines = train(path, "--label-column", column)
    assert lines[1] == "labels: last column of train.csv, named 'kind', as asked for"
    saved = checkpoint.load(tmp_path / "run" / "last.safetensors")
    assert saved["config"]["label_column"] == column
    for script, *flags in (["train.py", "--resume", "--no-pictures"], ["evaluate.py"]):
        again = run_script(script, *flags[:1], tmp_path / "run", *flags[1:])
        assert again.stdout.splitlines()[-1] == lines[-1], again.stderr


@pytest.mark.parametrize("column", ["kind", "5", "-6", "1.5"])
def test_a_column_that_is_not_there_is_refused_with_those_that_are(column, tmp_path):
    path = write(tmp_path / "train.csv", LABELS, ROWS[:, :4], header="label,a,b,c,d")
    message = refusal(path, "--label-column", column)
    assert f"no column '{column}'" in message
    assert "'label', 'a', ..., 'd'" in message


def test_a_column_of_labels_is_for_csv_files_only(tmp_path):
    np.savez(tmp_path / "data.npz", x=IMAGES, y=LABELS)
    assert "leave it out" in refusal(tmp_path / "data.npz", "--label-column", "first")
    result = run_script("train.py", "--label-column", "first", "--out", tmp_path / "run")
    assert "--data" in result.stderr


def test_load_csv_takes_the_column_of_the_labels_or_none(tmp_path):
    path = write(tmp_path / "two.csv", [[5, 0, 255, 3, 4], [1, 9, 8, 7, 6]])
    with pytest.raises(DataError, match='labels="first" or labels="last"'):
        data.load_csv(path)
    for column in (0, -5, "first", "0"):
        images, labels = data.load_csv(path, labels=column)
        assert labels.tolist() == [5, 1]
        assert images.tolist() == [[[0, 255], [3, 4]], [[9, 8], [7, 6]]]
    with pytest.raises(ArgumentError, match="no column 7"):
        data.load_csv(path, labels=7)
    images, labels = data.load_csv(path, labels=None)
    assert images.tolist() == [[5, 0, 255, 3, 4], [1, 9, 8, 7, 6]]
    assert labels is None


def test_images_without_labels_can_be_read_but_not_trained_on(tmp_path):
    path = write(tmp_path / "test.csv", ROWS, header=PIXELS)
    assert "has no column of labels" in refusal(path)
    images, labels = data.load_csv(path, labels=None)
    np.testing.assert_array_equal(images, IMAGES)
    assert labels is None


def test_labels_are_not_read_as_pixels_by_saying_that_there_are_none(tmp_path):
    with pytest.raises(DataError, match="labels in its column 'label'"):
        data.load_csv(write(tmp_path / "train.csv", LABELS, ROWS, header="label," + PIXELS), labels=None)


# What cannot be images and labels


@pytest.mark.parametrize(
    ("header", "columns", "complaint"),
    [
        (",".join(map(str, range(785))), [LABELS, ROWS], "header of numbers"),
        ("," + ",".join(map(str, range(785))), [NUMBERS, LABELS, ROWS], "header of numbers"),
        ("5,0," + ",".join(f"0.{i}" for i in range(1, 784)), [LABELS, ROWS], "header of numbers"),
        ("", [ROWS], "the first column (0 everywhere) and the last (0 everywhere): neither looks like class labels"),
        ("", [DIGITS % 3, DIGITS[:, ::-1] % 3], "neither looks"),
        ("", [LABELS, DIGITS, LABELS], "both look like class labels"),
        ("", [ROWS, GENERATOR.normal(size=COUNT)], "neither looks like class labels"),
        ("label," + PIXELS + ",class", [LABELS, ROWS, LABELS], "columns 'label', 'class' may each hold the labels"),
        ("label," + PIXELS, [NUMBERS, ROWS], "500 different labels, 0 to 499, for 500 images look like measurements"),
        (PIXELS + ",target", [ROWS, GENERATOR.integers(25, 347, COUNT)], "look like measurements"),
        (PIXELS + ",target", [ROWS, GENERATOR.random(COUNT)], "is not a whole number; numbers to be predicted"),
        (PIXELS + ",target", [ROWS, GENERATOR.normal(size=COUNT)], "labels from -"),
        (PIXELS + ",target", [ROWS, LABELS + 10**5], "labels from 100000.0 to 100009.0"),
        ("label," + PIXELS, [0 * LABELS, ROWS], "all 500 labels are 0, so there is nothing to learn"),
        ("label," + PIXELS, [LABELS, np.where(IMAGES == 253, np.nan, IMAGES).reshape(ROWS.shape)], "NaN"),
        ("label," + PIXELS + ",writer", [LABELS, ROWS, NUMBERS * 7 % 503], "named 'writer' goes to 502"),
        (
            "label," + PIXELS.replace(",pixel9,", ","),
            [LABELS, ROWS],
            "the header has 784 names, but the lines have 785",
        ),
    ],
)
def test_a_table_that_cannot_be_images_and_their_classes_is_refused(header, columns, complaint, tmp_path):
    message = refusal(write(tmp_path / "train.csv", *columns, header=header))
    assert complaint in message
    assert "train.csv" in message
    assert not (tmp_path / "run").exists()


def test_a_limit_that_leaves_one_class_of_sorted_images_is_refused(tmp_path):
    order = np.argsort(LABELS, kind="stable")
    path = write(tmp_path / "train.csv", LABELS[order], ROWS[order], header="label," + PIXELS)
    assert "the first 30 images are all of class 0" in refusal(path, "--limit", "30")


def test_classes_without_images_are_said(tmp_path):
    lines = train(write(tmp_path / "train.csv", 2 * LABELS + 1, ROWS, header="label," + PIXELS))
    assert "10 classes, 1 to 19, of " in lines[0]
    assert lines[0].endswith(" images (none of class 0, 2, 4, 6, 8 and 5 more)")


# What pixels are divided by

RANGES = {
    "bytes": (IMAGES, "whole numbers from 0 to 255, divided by 255"),
    "two bytes": (IMAGES.astype(np.uint16) * 257, "whole numbers from 0 to 65535, divided by 65535"),
    "black and white": (IMAGES > 127, "whole numbers from 0 to 1, taken as they are"),
    "0 to 16": (DIGITS, "whole numbers from 0 to 16, divided by 16 (a guess from their range; --scale changes it)"),
    "0 to 100": (IMAGES // 2.55, "whole numbers from 0 to 100, divided by 100 (a guess"),
    "fractions of 1": (IMAGES / 255, "fractions from 0 to 1, taken as they are"),
    "fractions of 255": (IMAGES * 0.99, "fractions from 0 to 252.45, divided by 255 (a guess"),
    "standardised": ((IMAGES - 33.3) / 78.6, "fractions from -0.423664 to 2.82061, taken as they are (a guess"),
}


@pytest.mark.parametrize("name", RANGES)
def test_pixels_of_any_range_train_as_well_and_their_divisor_is_said(name, tmp_path):
    images, said = RANGES[name]
    np.savez(tmp_path / "data.npz", x_train=images, y_train=LABELS, x_test=images[:200], y_test=LABELS[:200])
    lines = train(tmp_path / "data.npz")
    assert lines[1].startswith(f"pixels: {said}")
    assert float(lines[-1].split()[2].rstrip("%")) > 75


def test_the_divisor_can_be_chosen_and_the_run_keeps_it(tmp_path):
    np.savez(tmp_path / "data.npz", x=DIGITS, y=LABELS)
    lines = train(tmp_path / "data.npz", "--scale", "8")
    assert lines[2] == "pixels: whole numbers from 0 to 16, divided by 8"
    saved = checkpoint.load(tmp_path / "run" / "last.safetensors")
    assert saved["config"]["scale"] == saved["pixels"]["scale"] == 8
    for script, *flags in (["train.py", "--resume", "--no-pictures"], ["evaluate.py"]):
        again = run_script(script, *flags[:1], tmp_path / "run", *flags[1:])
        assert again.stdout.splitlines()[-1] == lines[-1], again.stderr


def test_the_training_images_decide_for_the_test_images(tmp_path):
    np.savez(tmp_path / "data.npz", x_train=DIGITS, y_train=LABELS, x_test=DIGITS // 2, y_test=LABELS)
    train(tmp_path / "data.npz")
    scores = network_scores(tmp_path / "run", (DIGITS // 2) / 16)
    evaluated = run_script("evaluate.py", tmp_path / "run").stdout.splitlines()[-1]
    assert f"({np.sum(scores.argmax(axis=1) == LABELS)}/500)" in evaluated


def network_scores(folder, inputs):
    weights = checkpoint.load(folder / "best.safetensors")["model"]
    hidden = np.maximum(inputs @ weights["layers.0.weight"].T + weights["layers.0.bias"], 0)
    last = max(name.removesuffix(".weight") for name in weights if name.endswith(".weight"))
    return hidden @ weights[f"{last}.weight"].T + weights[f"{last}.bias"]


def test_test_images_beyond_the_range_of_those_for_training_are_said_or_refused(tmp_path):
    def write_tests(images):
        np.savez(tmp_path / "data.npz", x_train=IMAGES / 255, y_train=LABELS, x_test=images, y_test=LABELS)
        return tmp_path / "data.npz"

    assert "test images go from 0 to 1.5 after that" in train(write_tests(IMAGES / 170))[2]
    assert "of the training images go from 0 to 1; bring them" in refusal(write_tests(IMAGES / 2.5))


def test_distorted_images_are_divided_by_the_same(tmp_path):
    np.savez(tmp_path / "data.npz", x=IMAGES.astype(np.uint16) * 257, y=LABELS)
    lines = train(tmp_path / "data.npz", "--distort", "0.1")
    assert accuracy(lines) > 70


@pytest.mark.parametrize("name", ["data.npz", "data.csv"])
def test_a_run_begun_before_runs_noted_what_they_found_goes_on_with_what_it_did(name, tmp_path):
    np.savez(tmp_path / "data.npz", x=DIGITS, y=LABELS)
    write(tmp_path / "data.csv", LABELS, DIGITS, LABELS)  # where the labels are cannot be told
    labels = ["--label-column", "first"] if name == "data.csv" else []
    lines = train(tmp_path / name, "--scale", "255", *labels)  # as bytes always were
    for file in (tmp_path / "run").glob("*.safetensors"):
        saved = checkpoint.load(file)
        del saved["pixels"], saved["config"]["scale"], saved["config"]["label_column"], saved["config"]["early_stop"]
        del saved["progress"]["cross_entropy"]
        checkpoint.save(file, saved)
    for script, *flags in (["evaluate.py"], ["train.py", "--resume", "--no-pictures"]):
        again = run_script(script, *flags[:1], tmp_path / "run", *flags[1:])
        assert again.stdout.splitlines()[-1] == lines[-1], again.stderr


@pytest.mark.parametrize(
    "pixels",
    [3, {}, {"low": 0.0, "high": 1.0, "scale": -1.0}, {"low": 0.0, "high": "1", "scale": 1.0}],
)
def test_a_checkpoint_with_a_scale_that_makes_no_sense_is_refused_by_name(pixels, tmp_path):
    np.savez(tmp_path / "data.npz", x=DIGITS, y=LABELS)
    train(tmp_path / "data.npz")
    saved = checkpoint.load(tmp_path / "run" / "last.safetensors")
    checkpoint.save(tmp_path / "run" / "last.safetensors", saved | {"pixels": pixels})
    for other in ([], ["--data", tmp_path / "data.npz", "--split", "train"]):
        result = run_script("evaluate.py", tmp_path / "run", "--checkpoint", "last", *other)
        assert result.returncode == 2
        assert "last.safetensors" in result.stderr


# Other data for a run


def test_other_data_is_divided_by_what_the_run_divides_by_and_that_is_said(tmp_path):
    np.savez(tmp_path / "data.npz", x=DIGITS, y=LABELS)
    train(tmp_path / "data.npz")
    other = write(tmp_path / "other.csv", DIGITS // 2, LABELS)
    result = run_script("evaluate.py", tmp_path / "run", "--data", other, "--split", "train")
    *_, labels, pixels, last = result.stdout.splitlines()
    assert labels.startswith("labels: last column of other.csv (a guess")
    assert pixels == "pixels: whole numbers from 0 to 8, divided by 16"
    right = np.sum(network_scores(tmp_path / "run", (DIGITS // 2) / 16).argmax(axis=1) == LABELS)
    assert f"({right}/500)" in last


def test_other_data_of_another_range_is_refused_unless_its_scale_is_given(tmp_path):
    np.savez(tmp_path / "data.npz", x=IMAGES, y=LABELS)
    lines = train(tmp_path / "data.npz")
    np.savez(tmp_path / "other.npz", x=IMAGES / 255, y=LABELS)
    arguments = [tmp_path / "run", "--data", tmp_path / "other.npz", "--split", "train"]
    refused = run_script("evaluate.py", *arguments)
    assert refused.returncode == 2
    assert "--scale" in refused.stderr
    result = run_script("evaluate.py", *arguments, "--scale", "1")
    assert float(result.stdout.split()[-2].rstrip("%")) > accuracy(lines)


# The other forms of datasets


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write_idx(folder, start="", test="t10k", images=IMAGES, labels=LABELS):
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("train", test):
        (folder / f"{start}{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images), 1))
        (folder / f"{start}{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels), 1))


def test_the_folder_of_torchvision_is_read_from_above(tmp_path):
    write_idx(tmp_path / "root" / "MNIST" / "raw")
    for folder in (tmp_path / "root", tmp_path / "root" / "MNIST", tmp_path / "root" / "MNIST" / "raw"):
        np.testing.assert_array_equal(data.load(folder).train_images, IMAGES)
    assert "MNIST/raw" in data.load(tmp_path / "root").notes[0]
    write_idx(tmp_path / "root" / "KMNIST" / "raw")
    with pytest.raises(DataError, match=r"several datasets; give one of .*KMNIST/raw.*, .*/MNIST/raw"):
        data.load(tmp_path / "root")


def test_emnist_is_read_by_its_names_and_turned_upright(tmp_path):
    write_idx(tmp_path, "emnist-letters-", "test", IMAGES.swapaxes(1, 2), LABELS + 1)
    dataset = data.load(tmp_path)
    np.testing.assert_array_equal(dataset.train_images, IMAGES)
    np.testing.assert_array_equal(dataset.test_labels, LABELS + 1)
    assert any("turned upright" in note for note in dataset.notes)
    write_idx(tmp_path, "emnist-digits-", "test", IMAGES.swapaxes(1, 2))
    with pytest.raises(DataError, match=r"several datasets; give one of .*emnist-digits.*, .*emnist-letters"):
        data.load(tmp_path)
    np.testing.assert_array_equal(data.load(tmp_path / "emnist-digits").train_labels, LABELS)


@pytest.mark.parametrize(
    "names",
    [["images", "target"], ["data", "target"], ["X", "y"], ["X_train", "y_train"], ["train_images", "train_labels"]],
)
def test_other_names_of_arrays_in_an_npz_file_are_known_and_said(names, tmp_path):
    np.savez(tmp_path / "data.npz", **dict(zip(names, (IMAGES, LABELS), strict=True)))
    dataset = data.load(tmp_path / "data.npz")
    np.testing.assert_array_equal(dataset.train_images, IMAGES)
    assert len(dataset.test_images) == 0
    assert dataset.notes == (f"arrays: {', '.join(names)} of data.npz",)


def test_arrays_in_a_form_that_is_not_read_are_refused_with_what_to_do(tmp_path):
    np.save(tmp_path / "images.npy", IMAGES)
    assert "numpy.savez" in refusal(tmp_path / "images.npy")
    np.savez(tmp_path / "hot.npz", x=IMAGES, y=np.eye(10)[LABELS])
    assert "argmax" in refusal(tmp_path / "hot.npz")
    np.savez(tmp_path / "other.npz", pictures=IMAGES, y=LABELS)
    assert "it holds 'pictures', 'y'" in refusal(tmp_path / "other.npz")
    np.savez(tmp_path / "lines.npz", **{"a\nb": IMAGES, "y": LABELS})
    assert r"it holds 'a\nb', 'y'" in refusal(tmp_path / "lines.npz")
    write_idx(tmp_path / "idx")
    assert "folder of the IDX files" in refusal(tmp_path / "idx" / "train-images-idx3-ubyte.gz")


def test_a_test_csv_has_its_labels_where_train_csv_has_them(tmp_path):
    write(tmp_path / "train.csv", ROWS, LABELS)
    write(tmp_path / "test.csv", ROWS[:9], LABELS[:9])
    np.testing.assert_array_equal(data.load(tmp_path).test_labels, LABELS[:9])
    write(tmp_path / "test.csv", ROWS[:9])
    dataset = data.load(tmp_path)
    assert len(dataset.test_labels) == 0
    assert dataset.notes[-1] == "left out: test.csv, which has no labels"


def test_a_test_csv_with_the_columns_in_another_order_is_refused(tmp_path):
    write(tmp_path / "train.csv", LABELS, DIGITS[:, :4], header="label,a,b,c,d")
    write(tmp_path / "test.csv", DIGITS[:, :4], LABELS, header="b,a,c,d,label")
    with pytest.raises(DataError, match="in another order"):
        data.load(tmp_path)


# MNIST itself


def test_mnist_says_what_it_is_in_two_lines_and_is_divided_as_ever(tmp_path):
    result = run_script("train.py", "--limit", "300", "--epochs", "1", "--no-pictures", "--out", tmp_path / "run")
    assert result.stdout.splitlines()[0].startswith(
        "data: 300 training and 10,000 test images, of 28 x 28 pixels; 10 classes, 0 to 9, of "
    )
    assert result.stdout.splitlines()[1] == "pixels: whole numbers from 0 to 255, divided by 255"
    assert result.stdout.splitlines()[2].startswith("network 784-512-10")
    inputs = data.scale_pixels(MNIST.test_images, *data.find_scale(MNIST.train_images)[:1])
    np.testing.assert_array_equal(inputs, data.to_inputs(MNIST.test_images))
