"""scripts/predict.py for files of images without labels: the table that Kaggle takes, and what is refused."""

import csv
import gzip
import re
import struct

import numpy as np
import pytest
from scripts_in_process import SCRIPTS, imported, run_script

from tinygrad_np import checkpoint, data
from tinygrad_np.errors import DataError

MNIST = data.load_mnist(SCRIPTS.parent / "models" / "data" / "mnist")
IMAGES, LABELS = MNIST.train_images[:600], MNIST.train_labels[:600]
TESTS = MNIST.test_images[:50]
PIXELS = ",".join(f"pixel{i}" for i in range(784))


def write(path, header, *columns):
    np.savetxt(path, np.column_stack(columns), "%g", delimiter=",", header=header, comments="")
    return path


def flat(images):
    return images.reshape(len(images), -1)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The run that `train.py --data train.csv` makes."""
    folder = tmp_path_factory.mktemp("kaggle")
    train = write(folder / "train.csv", "label," + PIXELS, LABELS, flat(IMAGES))
    result = run_script("train.py", "--data", train, "--epochs", "4", "--no-pictures", "--out", folder / "run")
    assert result.returncode == 0, result.stderr
    return folder / "run"


def expected(run, inputs):
    """The classes that NumPy computes from the checkpoint."""
    weights = checkpoint.load(run / "best.safetensors")["model"]
    hidden = np.maximum(inputs @ weights["layers.0.weight"].T + weights["layers.0.bias"], 0)
    last = max(name.removesuffix(".weight") for name in weights if name.endswith(".weight"))
    return (hidden @ weights[f"{last}.weight"].T + weights[f"{last}.bias"]).argmax(axis=1).tolist()


def predict(*arguments):
    """The lines of the answers, and the lines about how they were found, which are told on standard error."""
    result = run_script("predict.py", *arguments)
    assert result.returncode == 0, result.stderr
    assert re.fullmatch(r"predict\.py: network: .*\n(predict\.py: (?!error).*\n)*", result.stderr)
    told = [line.removeprefix("predict.py: ") for line in result.stderr.splitlines()]
    return result.stdout.splitlines(), told


def refusal(*arguments):
    result = run_script("predict.py", *arguments)
    assert result.returncode == 2, result.stdout
    assert re.fullmatch(r"predict.py: error: .*\n", result.stderr), result.stderr
    return result.stderr


def rows(path):
    with open(path, newline="") as file:
        return list(csv.reader(file))


def test_two_commands_lead_from_kaggles_files_to_a_submission(run, tmp_path):
    test = write(tmp_path / "test.csv", PIXELS, flat(TESTS))
    lines, told = predict(run, test, "--out", tmp_path / "submission.csv")
    labels = expected(run, flat(TESTS) / np.float32(255))
    assert rows(tmp_path / "submission.csv") == [
        ["ImageId", "Label"],
        *([str(number), str(label)] for number, label in enumerate(labels, 1)),
    ]
    assert np.mean(labels == MNIST.test_labels[:50]) > 0.7
    assert told[0].startswith(f"network: {run} (best.safetensors, after ")
    assert lines == [f"50 answers in {tmp_path / 'submission.csv'}, as ImageId,Label"]


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def in_form(form, folder):
    """A file of TESTS."""
    path = folder / form
    if form.endswith("npz"):
        np.savez(path, **({"x_test": TESTS, "y_test": np.zeros(50)} if form == "keras.npz" else {"anything": TESTS}))
    elif form.endswith(".gz"):
        path.write_bytes(gzip.compress(idx(TESTS)))
    elif form == "emnist-digits-test-images-idx3-ubyte":
        path.write_bytes(idx(np.ascontiguousarray(TESTS.swapaxes(1, 2))))
    else:
        write(path, "", flat(TESTS))
        path.write_text(path.read_text().lstrip("\n"))
    return path


@pytest.mark.parametrize(
    "form",
    [
        "keras.npz",
        "one.npz",
        "t10k-images-idx3-ubyte.gz",
        "emnist-digits-test-images-idx3-ubyte",
        "headless.csv",
    ],
)
def test_files_of_images_in_other_forms_have_the_same_answers(form, run, tmp_path):
    predict(run, in_form(form, tmp_path), "--out", tmp_path / "answers.csv", "--no-header")
    labels = expected(run, flat(TESTS) / np.float32(255))
    assert rows(tmp_path / "answers.csv") == [[str(number), str(label)] for number, label in enumerate(labels, 1)]


def test_images_have_the_numbers_that_the_file_gives_to_them_and_the_header_is_a_flag(run, tmp_path):
    ids = 70000 - 3 * np.arange(50)
    test = write(tmp_path / "test.csv", "id," + PIXELS, ids, flat(TESTS))
    _, told = predict(run, test, "--out", tmp_path / "submission.csv", "--header", "id,digit")
    header, *answers = rows(tmp_path / "submission.csv")
    assert header == ["id", "digit"]
    assert [int(row[0]) for row in answers] == ids.tolist()
    assert [int(row[1]) for row in answers] == expected(run, flat(TESTS) / np.float32(255))
    assert "numbers of the images: those in this column" in told


def test_without_a_file_to_write_each_image_has_a_line(run, tmp_path):
    lines, _ = predict(run, write(tmp_path / "test.csv", PIXELS, flat(TESTS)))
    labels = expected(run, flat(TESTS) / np.float32(255))
    answers = [re.fullmatch(r"(\d+): (\d)  .*%  \(.*\)", line) for line in lines]
    assert [(int(match[1]), int(match[2])) for match in answers] == list(enumerate(labels, 1))


def test_images_are_divided_by_what_the_run_divided_by(tmp_path):
    digits = np.rint(flat(IMAGES)[:, ::4] / 255 * 16)
    train = write(tmp_path / "train.csv", "label," + ",".join(f"p{i}" for i in range(196)), LABELS, digits)
    run_script("train.py", "--data", train, "--epochs", "2", "--no-pictures", "--out", tmp_path / "run")
    tests = np.minimum(digits[:40], 9)  # alone, they look as if they were to be divided by 9
    np.savez(tmp_path / "test.npz", tests)
    _, told = predict(tmp_path / "run", tmp_path / "test.npz", "--out", tmp_path / "answers.csv")
    assert "pixels: whole numbers from 0 to 9, divided by 16" in told
    assert [int(row[1]) for row in rows(tmp_path / "answers.csv")[1:]] == expected(tmp_path / "run", tests / 16)


def test_images_of_another_range_are_refused_unless_their_scale_is_given(run, tmp_path):
    np.savez(tmp_path / "test.npz", flat(TESTS) / np.float32(255))
    assert "--scale" in refusal(run, tmp_path / "test.npz", "--out", tmp_path / "answers.csv")
    assert not (tmp_path / "answers.csv").exists()
    predict(run, tmp_path / "test.npz", "--out", tmp_path / "answers.csv", "--scale", "1")
    labels = expected(run, flat(TESTS) / np.float32(255))
    assert [int(row[1]) for row in rows(tmp_path / "answers.csv")[1:]] == labels


def test_what_is_no_file_of_such_images_is_refused(run, tmp_path):
    labelled = write(tmp_path / "labelled.csv", "label," + PIXELS, LABELS, flat(IMAGES))
    assert "has labels in its column 'label'" in refusal(run, labelled)
    headless = write(tmp_path / "headless.csv", "", LABELS[:50], flat(TESTS))
    headless.write_text(headless.read_text().lstrip("\n"))
    assert "images of 785 values, but the network of" in (message := refusal(run, headless))
    assert "holds labels" in message
    (tmp_path / "labels-idx1-ubyte").write_bytes(idx(MNIST.test_labels[:50].astype(np.uint8)))
    assert "such as labels" in refusal(run, tmp_path / "labels-idx1-ubyte")
    np.savez(tmp_path / "train.npz", x_train=IMAGES, y_train=LABELS)
    assert "it holds 'x_train', 'y_train'" in refusal(run, tmp_path / "train.npz")
    assert "no such file" in refusal(run, tmp_path / "nowhere.csv")
    twice = write(tmp_path / "twice.csv", "id," + PIXELS, [*range(49), 0], flat(TESTS))
    assert "different whole numbers" in refusal(run, twice)


def test_a_file_is_not_written_over_and_flags_that_do_nothing_are_refused(run, tmp_path, capsys):
    test = write(tmp_path / "test.csv", PIXELS, flat(TESTS))
    before = test.read_bytes()
    for arguments, said in [
        ([test, "--out", test], "would be overwritten"),
        ([test, "--no-header"], "--out"),
        ([test, test], "give it alone"),
        ([test, "--show"], "without --show"),
        ([tmp_path / "a.png", "--scale", "2"], "--scale is for files"),
        ([test, "--out", tmp_path / "a.csv", "--header", "Label"], "not two names"),
    ]:
        with pytest.raises(SystemExit):
            imported("predict").main([str(run), *map(str, arguments)])
        assert said in capsys.readouterr().err
    assert test.read_bytes() == before


def test_load_images_reads_the_images_of_a_file_and_the_numbers_it_gives_to_them(tmp_path):
    unlabelled = data.load_images(write(tmp_path / "test.csv", "id," + PIXELS, np.arange(50) + 7, flat(TESTS)))
    np.testing.assert_array_equal(unlabelled.images, TESTS)
    np.testing.assert_array_equal(unlabelled.numbers, np.arange(50) + 7)
    np.savez(tmp_path / "test.npz", TESTS)
    assert data.load_images(tmp_path / "test.npz").numbers is None
    (tmp_path / "test.txt").write_text("")
    with pytest.raises(DataError, match=r"expected images in a \.csv or \.npz file"):
        data.load_images(tmp_path / "test.txt")


# ---- Pictures ------------------------------------------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path):
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(12):
        image.fromarray(255 - TESTS[number]).resize((280, 280)).save(folder / f"{number}.png")
    return folder


def test_a_folder_of_pictures_is_answered_in_the_order_of_their_numbers(run, pictures, tmp_path):
    lines, _ = predict(run, pictures, "--out", tmp_path / "answers.csv")
    header, *answers = rows(tmp_path / "answers.csv")
    assert header == ["ImageId", "Label"]
    assert [name for name, _ in answers] == [f"{number}.png" for number in range(12)]
    assert [line.split("  ")[0] for line in lines[:-1]] == [f"{pictures / name}: {label}" for name, label in answers]
    assert np.mean([int(label) == truth for (_, label), truth in zip(answers, MNIST.test_labels, strict=False)]) > 0.6


def test_a_table_of_pictures_is_not_written_while_one_has_no_answer(run, pictures, tmp_path):
    (pictures / "letter.png").write_text("no picture")
    result = run_script("predict.py", run, pictures, "--out", tmp_path / "answers.csv")
    assert result.returncode == 2
    network, *errors = result.stderr.splitlines()
    assert network.startswith("predict.py: network: ")
    assert ["letter.png" in errors[0], "is not written" in errors[1]] == [True, True]
    assert not (tmp_path / "answers.csv").exists()


@pytest.mark.parametrize("name", ["predict.py", "draw_digit.py"])
def test_ink_in_pictures_becomes_what_ink_was_in_training_or_is_refused(name, pictures, tmp_path):
    handwriting = imported("handwriting")
    for levels, full_ink in ((flat(IMAGES) // 2.55, 1.0), (flat(IMAGES) / 170, 1.5), (flat(IMAGES) / 78 - 0.4, None)):
        folder = tmp_path / str(full_ink)
        folder.mkdir()
        np.savez(folder / "data.npz", x=levels, y=LABELS)
        flags = ["--epochs", "1", "--hidden", "8", "--no-pictures"]
        run_script("train.py", "--data", folder / "data.npz", *flags, "--out", folder / "run")
        if full_ink:
            assert handwriting.load_full_ink(folder / "run") == pytest.approx(full_ink)
            image = handwriting.read(pictures / "0.png")
            inputs = flat(image[None]) * np.float32(full_ink / 255)
            network = handwriting.load_network(folder / "run")
            scores = network(inputs).numpy()[0].astype(float)
            shares = np.exp(scores) / np.exp(scores).sum()
            np.testing.assert_allclose(handwriting.probabilities(network, image, full_ink), shares, rtol=1e-4)
            drawn = np.asarray(IMAGES[0]).repeat(10, 0).repeat(10, 1)
            answered = imported("draw_digit").answer(network, full_ink, drawn)
            weights = network.state_dict()
            inputs = np.ravel(answered["image"]) * (full_ink / 255)
            first = inputs @ weights["layers.0.weight"].T + weights["layers.0.bias"]
            np.testing.assert_allclose(answered["layers"][0]["activations"], first, atol=1e-4)
        else:
            arguments = [pictures / "0.png"] if name == "predict.py" else ["--no-browser"]
            result = run_script(name, folder / "run", *arguments)
            assert result.returncode == 2
            assert re.fullmatch(rf"{name}: error: .*pixels from -0.4 to .*what ink is.*\n", result.stderr)
