"""The readers of datasets: what they give for the files that people have, and what they say of usual mistakes."""

import gzip
import hashlib
import os
import pathlib
import struct

import numpy as np
import pytest

from tinygrad_np import data
from tinygrad_np.errors import DataError, TinygradNpError

MNIST = pathlib.Path(__file__).parent.parent / "models" / "data" / "mnist"
IMAGES = np.arange(6 * 4 * 4, dtype=np.uint8).reshape(6, 4, 4)
LABELS = np.array([0, 1, 2, 0, 1, 2], np.uint8)
IDX_CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx(array, shape=None):
    """An IDX file of the array. If `shape` is given, the file declares it instead of the true one."""
    shape = array.shape if shape is None else shape
    header = struct.pack(f">HBB{len(shape)}I", 0, IDX_CODES[array.dtype.str[1:]], len(shape), *shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_idx_directory(directory, train=(IMAGES, LABELS), test=(IMAGES[:2], LABELS[:2])):
    for name, (images, labels) in {"train": train, "t10k": test}.items():
        (directory / f"{name}-images-idx3-ubyte").write_bytes(idx(images))
        (directory / f"{name}-labels-idx1-ubyte").write_bytes(idx(labels))
    return directory


def write_npz(path, **changes):
    arrays = {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES[:2], "y_test": LABELS[:2]} | changes
    np.savez_compressed(path, **{key: array for key, array in arrays.items() if array is not None})
    return path


def write_csv(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def error_of(reader, path, *arguments):
    """The message of the DataError that reading raises: one line, that names the file."""
    with pytest.raises(DataError) as caught:
        reader(path, *arguments)
    message = str(caught.value)
    assert isinstance(caught.value, TinygradNpError)
    assert os.fspath(path) in message
    assert "\n" not in message
    return message


# MNIST itself


@pytest.fixture(scope="module")
def mnist():
    return data.load_mnist(MNIST)


def test_the_bundled_mnist_is_all_of_it(mnist):
    assert (mnist.train_images.shape, mnist.train_labels.shape) == ((60_000, 28, 28), (60_000,))
    assert (mnist.test_images.shape, mnist.test_labels.shape) == ((10_000, 28, 28), (10_000,))
    assert mnist.train_images.dtype == mnist.test_images.dtype == np.uint8
    assert mnist.train_labels.dtype == mnist.test_labels.dtype == np.int64
    assert (mnist.num_classes, mnist.num_features) == (10, 784)


def test_labels_go_with_their_images(mnist):
    """The mean of each digit's training images is closest to the mean of the same digit's test images."""
    train, test = (
        np.stack([images[labels == digit].mean(axis=0).ravel() for digit in range(10)])
        for images, labels in ((mnist.train_images, mnist.train_labels), (mnist.test_images, mnist.test_labels))
    )
    distances = np.linalg.norm(train[:, None] - test[None], axis=2)
    assert distances.argmin(axis=1).tolist() == list(range(10))


def test_load_reads_the_same_mnist_from_its_directory(mnist):
    for loaded, expected in zip(data.load(MNIST), mnist, strict=True):
        np.testing.assert_array_equal(loaded, expected)


def test_load_mnist_finds_the_dataset_of_the_repository_that_the_package_is_in(monkeypatch, tmp_path):
    assert len(data.load_mnist().train_images) == 60_000
    monkeypatch.setattr("tinygrad_np.data.mnist.__file__", str(tmp_path / "site-packages/tinygrad_np/data/mnist.py"))
    with pytest.raises(FileNotFoundError, match="pass the folder"):
        data.load_mnist()


def test_load_mnist_refuses_a_dataset_that_is_not_mnist(tmp_path):
    message = error_of(data.load_mnist, write_idx_directory(tmp_path))
    assert "train-images-idx3-ubyte" in message
    assert "expected ba891046" in message


# IDX


@pytest.mark.parametrize("dtype", IDX_CODES)
def test_load_idx_reads_every_dtype_of_the_format(tmp_path, dtype):
    array = np.array([[[1, 2], [3, 100]]]).astype(dtype)
    (tmp_path / "array").write_bytes(idx(array))
    loaded = data.load_idx(tmp_path / "array")
    assert loaded.dtype == array.dtype
    assert loaded.dtype.isnative
    np.testing.assert_array_equal(loaded, array)


def test_a_loaded_array_can_be_written_to(tmp_path):
    (tmp_path / "plain").write_bytes(idx(IMAGES))
    loaded = data.load_idx(tmp_path / "plain")
    loaded[0, 0, 0] = 255
    assert loaded[0, 0, 0] == 255


def test_gzip_is_told_by_the_content_whatever_the_name(tmp_path):
    (tmp_path / "plain.gz").write_bytes(idx(IMAGES))
    (tmp_path / "packed").write_bytes(gzip.compress(idx(IMAGES)))
    np.testing.assert_array_equal(data.load_idx(tmp_path / "plain.gz"), IMAGES)
    np.testing.assert_array_equal(data.load_idx(tmp_path / "packed"), IMAGES)


def test_the_checksum_is_of_the_uncompressed_content(tmp_path):
    path = tmp_path / "packed"
    path.write_bytes(gzip.compress(idx(IMAGES)))
    np.testing.assert_array_equal(data.load_idx(path, hashlib.sha256(idx(IMAGES)).hexdigest()), IMAGES)
    assert "SHA-256" in error_of(data.load_idx, path, "00" * 32)


@pytest.mark.parametrize("separator", ["-", "."])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_the_names_of_idx_files_may_have_a_dot_and_may_end_in_gz(tmp_path, separator, suffix):
    for path in list(write_idx_directory(tmp_path).iterdir()):
        content = path.read_bytes()
        path.unlink()
        renamed = tmp_path / (path.name.replace("-idx", separator + "idx") + suffix)
        renamed.write_bytes(gzip.compress(content) if suffix else content)
    dataset = data.load(tmp_path)
    np.testing.assert_array_equal(dataset.train_images, IMAGES)
    np.testing.assert_array_equal(dataset.test_labels, LABELS[:2])


def test_a_missing_file_is_a_file_not_found_error_with_the_name_of_the_file(tmp_path):
    write_idx_directory(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match="t10k-labels-idx1-ubyte"):
        data.load(tmp_path)
    error_of(data.load, tmp_path)


@pytest.mark.parametrize("reader", [data.load, data.load_mnist, data.load_idx, data.load_csv, data.load_npz])
def test_a_path_that_leads_nowhere_is_a_file_not_found_error(tmp_path, reader):
    with pytest.raises(FileNotFoundError, match="absent"):
        reader(tmp_path / "absent")
    error_of(reader, tmp_path / "absent")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "not the start of an IDX file"),
        (b"\0\0\x08", "not the start of an IDX file"),
        (b"hello world", "starts with bytes 68 65 6c 6c"),
        (b"\0\0\x0a\x01\0\0\0\x01\0", "not the start of an IDX file"),
        (b"\0\0\x08\x00\0", "not the start of an IDX file"),
        (b"\0\0\x08\xff" + bytes(4 * 255), "not the start of an IDX file"),
        (b"\0\0\x08\x03\0\0", "ends within its header"),
        (idx(IMAGES)[:-1], "(6, 4, 4), 96 bytes, but holds only 95"),
        (idx(IMAGES) + b"\0", "(6, 4, 4), 96 bytes, but holds more"),
        (idx(IMAGES[:0], (0, 28, 28)), "declares shape (0, 28, 28), 0 bytes"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_an_idx_file_that_is_not_what_it_declares_is_refused(tmp_path, content, complaint, pack):
    (tmp_path / "file").write_bytes(pack(content))
    assert complaint in error_of(data.load_idx, tmp_path / "file")


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda packed: packed[:-12], "cut short"),
        (lambda packed: packed[:-4], "cut short"),
        (lambda packed: packed[:5], "cut short"),
        (lambda packed: packed[:-8] + bytes(8), "incorrect data check"),
        (lambda packed: packed[:10] + b"\xff" + packed[11:], "invalid block type"),
        (lambda packed: packed + b"more", "followed by something else"),
        (lambda packed: packed + packed, "followed by something else"),
    ],
)
def test_damaged_gzip_data_is_refused(tmp_path, damage, complaint):
    (tmp_path / "file").write_bytes(damage(gzip.compress(idx(IMAGES))))
    assert complaint in error_of(data.load_idx, tmp_path / "file")


@pytest.mark.parametrize(
    ("train", "test", "complaint"),
    [
        ((IMAGES, LABELS[:5]), (IMAGES, LABELS), "train: 6 images but 5 labels"),
        ((IMAGES, LABELS), (IMAGES[:3], LABELS), "t10k: 3 images but 6 labels"),
        ((IMAGES, LABELS), (IMAGES[:, :3], LABELS), "for training of shape (6, 4, 4)"),
        ((IMAGES, LABELS), (IMAGES / 255, LABELS), "for testing of shape (6, 4, 4) and dtype float32"),
        ((IMAGES, LABELS.astype("i1") - 1), (IMAGES, LABELS), "labels from -1 to 1"),
        ((IMAGES, LABELS.astype("i4") + 10**9), (IMAGES, LABELS), "labels from 1000000000 to 1000000002"),
        ((IMAGES, LABELS + 0.5), (IMAGES, LABELS), "label 0.5 is not a whole number"),
        ((IMAGES, LABELS * np.nan), (IMAGES, LABELS), "labels from nan to nan"),
        ((IMAGES, LABELS.reshape(2, 3)), (IMAGES, LABELS), "labels of shape (2, 3)"),
        ((LABELS, LABELS), (IMAGES, LABELS), "images of shape (6,)"),
        ((IMAGES * np.float32(np.nan), LABELS), (IMAGES, LABELS), "NaN, infinity"),
        ((np.where(IMAGES == 7, np.inf, IMAGES), LABELS), (IMAGES, LABELS), "NaN, infinity"),
        ((IMAGES * 1e300, LABELS), (IMAGES, LABELS), "beyond float32"),
    ],
)
def test_arrays_that_are_not_a_dataset_are_refused(tmp_path, train, test, complaint):
    assert complaint in error_of(data.load, write_idx_directory(tmp_path, train, test))


def test_the_highest_label_for_training_says_how_many_classes_there_are(tmp_path):
    dataset = data.load(write_idx_directory(tmp_path, train=(IMAGES, LABELS + 4), test=(IMAGES, LABELS)))
    assert dataset.num_classes == 7


def test_a_label_for_testing_above_all_for_training_is_refused(tmp_path):
    message = error_of(data.load, write_idx_directory(tmp_path, test=(IMAGES, LABELS + 200)))
    assert "label 202 for testing, but labels for training end at 2; check the labels" in message


# The dtype of images


@pytest.mark.parametrize(
    ("images", "dtype"),
    [
        (IMAGES, "uint8"),
        (IMAGES.astype("int64"), "uint8"),
        (IMAGES.astype("float32"), "uint8"),
        (IMAGES > 50, "float32"),
        ((IMAGES > 50).astype("float64"), "float32"),
        (IMAGES / 255, "float32"),
        (IMAGES - 0.5, "float32"),
        (IMAGES.astype("int16") * 100, "float32"),
        (IMAGES.astype("float16") - 1, "float32"),
    ],
)
def test_images_become_uint8_if_they_are_pixel_values_and_else_float32_as_they_are(tmp_path, images, dtype):
    dataset = data.load(write_npz(tmp_path / "data.npz", x_train=images, x_test=images, y_test=LABELS))
    assert dataset.train_images.dtype == dataset.test_images.dtype == dtype
    np.testing.assert_allclose(dataset.train_images, images.astype("float64"), rtol=1e-6)


# CSV

CSV = "label,pixel0,pixel1,pixel2,pixel3\n5,0,255,3,4\n1,9,8,7,6\n"


@pytest.mark.parametrize(
    "text",
    [
        CSV,
        CSV.replace("\n", "\r\n"),
        CSV.rstrip("\n"),
        "\ufeff" + CSV,
        '"label","1x1","1x2","2x1","2x2"\n5,0,255,3,4\n1,9,8,7,6\n',
    ],
)
def test_load_csv_gives_square_images_and_their_labels(tmp_path, text):
    images, labels = data.load_csv(write_csv(tmp_path / "train.csv", text))
    assert images.dtype == np.uint8
    assert labels.dtype == np.int64
    assert images.tolist() == [[[0, 255], [3, 4]], [[9, 8], [7, 6]]]
    assert labels.tolist() == [5, 1]


def test_a_number_of_pixels_that_is_not_a_square_gives_flat_images(tmp_path):
    images, _ = data.load_csv(write_csv(tmp_path / "train.csv", "label,a,b\n5,0,255\n"))
    assert images.tolist() == [[0, 255]]


def test_fractions_in_a_csv_are_kept_as_float32(tmp_path):
    images, labels = data.load_csv(write_csv(tmp_path / "train.csv", "label,a,b\n5,0,0.25\n300,1e-3,-1\n"))
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images, np.array([[0, 0.25], [1e-3, -1]], np.float32))
    assert labels.tolist() == [5, 300]


def test_a_csv_file_alone_has_no_test_part(tmp_path):
    dataset = data.load(write_csv(tmp_path / "digits.CSV", CSV))
    assert dataset.train_images.shape == (2, 2, 2)
    assert dataset.test_images.shape == (0, 2, 2)
    assert dataset.test_labels.shape == (0,)
    assert (dataset.num_classes, dataset.num_features) == (6, 4)


def test_a_directory_may_hold_train_csv_and_test_csv(tmp_path):
    write_csv(tmp_path / "train.csv", CSV)
    assert len(data.load(tmp_path).test_labels) == 0
    write_csv(tmp_path / "test.csv", "label,a,b,c,d\n3,1,2,3,4\n")
    dataset = data.load(tmp_path)
    assert dataset.test_images.tolist() == [[[1, 2], [3, 4]]]
    assert dataset.test_labels.tolist() == [3]


@pytest.mark.parametrize("start", ["pixel0", '"pixel0"', "\ufeffpixel0", '\ufeff"Pixel0"'])
def test_a_test_csv_without_labels_is_left_out(tmp_path, start):
    write_csv(tmp_path / "train.csv", CSV)
    write_csv(tmp_path / "test.csv", f"{start},pixel1,pixel2,pixel3\n1,2,3,4\n")
    assert len(data.load(tmp_path).test_labels) == 0


def test_train_and_test_csv_of_different_widths_are_refused(tmp_path):
    write_csv(tmp_path / "train.csv", CSV)
    write_csv(tmp_path / "test.csv", "label,a\n1,2\n")
    assert "for testing of shape (1, 1, 1)" in error_of(data.load, tmp_path)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "holds no lines of numbers"),
        ("\n\n", "holds no lines of numbers"),
        ("label,pixel0\n", "holds no lines of numbers"),
        ("label\n5\n", "images without pixels"),
        ("label,a\n1,2\n1,2,3\n", "line 3: the number of columns changed from 2 to 3"),
        ("label,a\n1,2\n\n1\n", "line 4: the number of columns changed from 2 to 1"),
        ("1,2\n1,x\n", "line 2: could not convert string 'x'"),
        ("label,a\n1,2\n1,\n", "line 3: could not convert string ''"),
        ("pixel0,pixel1\n1,2\n", "has no column of labels"),
        ("label,a\n1,nan\n", "NaN, infinity"),
        ("label,a\n1,-inf\n", "NaN, infinity"),
        ("label,a\n1,1e999\n", "NaN, infinity"),
        ("label,a\n1.5,2\n", "label 1.5 is not a whole number"),
        ("label,a\n-1,2\n", "labels from -1.0 to -1.0"),
        ("label,a\nnan,2\n", "labels from nan to nan"),
        ("label,a\n1,\0\n", "line 2: could not convert"),
        ("label,a\n1,13\U000a1f14\n", "line 2: could not convert"),  # which crashes NumPy 2.4 if left to it
    ],
)
def test_a_csv_file_that_is_not_a_table_of_images_is_refused(tmp_path, text, complaint):
    assert complaint in error_of(data.load_csv, write_csv(tmp_path / "train.csv", text))


def test_the_line_of_undecodable_bytes_is_named(tmp_path):
    (tmp_path / "train.csv").write_bytes(b"label,a\n1,2\n1,\xff\xfe\n")
    assert "line 3: could not convert" in error_of(data.load_csv, tmp_path / "train.csv")


# NPZ


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_load_npz_reads_the_four_arrays_of_keras(tmp_path, save):
    colour = np.arange(6 * 4 * 4 * 3, dtype=np.uint8).reshape(6, 4, 4, 3)
    save(tmp_path / "data.npz", x_train=colour, y_train=LABELS[:, None], x_test=colour[:2], y_test=LABELS[:2, None])
    dataset = data.load(tmp_path / "data.npz")
    np.testing.assert_array_equal(dataset.train_images, colour)
    np.testing.assert_array_equal(dataset.train_labels, LABELS)
    np.testing.assert_array_equal(dataset.test_images, colour[:2])
    np.testing.assert_array_equal(dataset.test_labels, LABELS[:2])
    assert (dataset.num_classes, dataset.num_features) == (3, 48)


def test_arrays_in_fortran_order_and_of_the_other_byte_order_are_read_right(tmp_path):
    path = write_npz(tmp_path / "data.npz", x_train=np.asfortranarray(IMAGES), y_train=LABELS.astype(">i4"))
    dataset = data.load_npz(path)
    np.testing.assert_array_equal(dataset.train_images, IMAGES)
    np.testing.assert_array_equal(dataset.train_labels, LABELS)


def test_an_npz_file_names_the_arrays_it_lacks(tmp_path):
    message = error_of(data.load_npz, write_npz(tmp_path / "data.npz", y_train=None, x_test=None))
    assert "lacks y_train, x_test" in message


@pytest.mark.parametrize("changes", [{"x_train": np.array(["text"])}, {"y_train": LABELS + 1j}])
def test_arrays_that_are_not_numbers_are_refused(tmp_path, changes):
    assert "expected numbers" in error_of(data.load_npz, write_npz(tmp_path / "data.npz", **changes))


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x05\x06" + bytes(18), idx(IMAGES)])
def test_a_file_that_is_no_npz_archive_is_refused(tmp_path, content):
    (tmp_path / "data.npz").write_bytes(content)
    error_of(data.load_npz, tmp_path / "data.npz")


def test_a_truncated_npz_file_is_refused(tmp_path):
    path = write_npz(tmp_path / "data.npz")
    path.write_bytes(path.read_bytes()[:-30])
    error_of(data.load_npz, path)


# load


def test_load_says_what_it_can_read(tmp_path):
    (tmp_path / "data.parquet").write_bytes(b"")
    assert "expected a .csv file, an .npz file, or a directory" in error_of(data.load, tmp_path / "data.parquet")


def test_a_path_may_be_a_string(tmp_path):
    assert len(data.load(str(write_idx_directory(tmp_path))).train_labels) == 6


@pytest.mark.parametrize("labels", [1.5, True])
def test_a_column_of_labels_that_is_no_integer_is_refused(tmp_path, labels):
    path = tmp_path / "digits.csv"
    path.write_text("".join(f"{i % 3},{i * 7 % 256},{i * 11 % 256},0,9\n" for i in range(30)))
    with pytest.raises(TinygradNpError, match="there is no column"):
        data.load_csv(path, labels=labels)


def test_a_dataset_shows_shapes_and_notes_instead_of_numbers():
    labels = np.arange(5)
    dataset = data.Dataset(np.zeros((5, 2, 3), np.uint8), labels, np.zeros((0, 2, 3), np.uint8), labels[:0])
    dataset.notes = ("values are divided by 255",)
    assert repr(dataset).splitlines() == [
        "Dataset:",
        "  train_images: shape (5, 2, 3) and dtype uint8",
        "  train_labels: shape (5,) and dtype int64",
        "  test_images: shape (0, 2, 3) and dtype uint8",
        "  test_labels: shape (0,) and dtype int64",
        "  note: values are divided by 255",
    ]
