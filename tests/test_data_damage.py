"""Whatever happens to a file of a dataset, reading it gives a sound dataset or a DataError, and nothing else."""

import gzip
import io
import pathlib
import struct
import tempfile
import zipfile

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_np import data
from tinygrad_np.errors import DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 3, 3), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 1, 0], np.uint8)
IMAGES_IDX = struct.pack(">HBB3I", 0, 8, 3, 5, 3, 3) + IMAGES.tobytes()
LABELS_IDX = struct.pack(">HBBI", 0, 8, 1, 5) + LABELS.tobytes()
ROWS = np.column_stack([LABELS, IMAGES.reshape(5, 9)]).tolist()
CSV = "label,1x1,1x2,1x3,2x1,2x2,2x3,3x1,3x2,3x3\n" + "".join(",".join(map(str, row)) + "\n" for row in ROWS)
FLOAT_CSV = "".join(",".join([str(row[0])] + [str(pixel / 255) for pixel in row[1:]]) + "\n" for row in ROWS)


def npz(save, images):
    content = io.BytesIO()
    save(content, x_train=images, y_train=LABELS, x_test=images[:2], y_test=LABELS[:2])
    return content.getvalue()


@st.composite
def damaged(draw, contents):
    """One of the contents, after up to four bits flipped, bytes inserted, removed or overwritten, or ends cut off."""
    content = bytearray(draw(st.sampled_from(contents)))
    for _ in range(draw(st.integers(0, 4))):
        position = draw(st.integers(0, max(0, len(content) - 1)))
        change = draw(st.sampled_from(["flip", "insert", "remove", "overwrite", "cut"]))
        if change == "flip" and content:
            content[position] ^= 1 << draw(st.integers(0, 7))
        elif change == "insert":
            content[position:position] = draw(st.binary(min_size=1, max_size=8))
        elif change == "remove":
            del content[position : position + draw(st.integers(1, 8))]
        elif change == "overwrite":
            content[position : position + 4] = draw(
                st.sampled_from([b"\xff\xff\xff\xff", bytes(4), b"\x7f\0\0\0", b"-1,n"])
            )
        elif change == "cut":
            del content[position:]
    return bytes(content)


def check_load(files, name="."):
    """Loads `name` from a directory of these files (contents by name), and checks the dataset, if it is one."""
    with tempfile.TemporaryDirectory() as directory:
        for file_name, content in files.items():
            pathlib.Path(directory, file_name).write_bytes(content)
        try:
            dataset, message = data.load(pathlib.Path(directory, name)), None
        except DataError as error:
            dataset, message = None, str(error)
    if dataset is None:
        assert directory in message
        assert "\n" not in message
        return
    assert len(dataset.train_images) > 0
    for images, labels in (dataset[:2], dataset[2:]):
        assert len(images) == len(labels)
        assert images.dtype in (np.uint8, np.float32)
        assert labels.dtype == np.int64
        assert np.isfinite(images).all()
        assert ((labels >= 0) & (labels < dataset.num_classes)).all()
        assert data.to_inputs(images).shape == (len(images), dataset.num_features)


@settings(max_examples=300, deadline=None)
@given(
    damaged([IMAGES_IDX, gzip.compress(IMAGES_IDX), gzip.compress(IMAGES_IDX, 0)]),
    damaged([LABELS_IDX, gzip.compress(LABELS_IDX, 0)]),
)
def test_damaged_idx_files(images, labels):
    check_load(
        {
            "train-images-idx3-ubyte": images,
            "train-labels-idx1-ubyte": labels,
            "t10k-images-idx3-ubyte": IMAGES_IDX,
            "t10k-labels-idx1-ubyte": LABELS_IDX,
        }
    )


@settings(max_examples=300, deadline=None)
@given(damaged([CSV.encode(), FLOAT_CSV.encode(), CSV.encode("utf-8-sig")]), damaged([CSV.encode()]))
def test_damaged_csv_files(train, test):
    check_load({"train.csv": train, "test.csv": test})


@settings(max_examples=300, deadline=None)
@given(damaged([npz(np.savez, IMAGES), npz(np.savez_compressed, IMAGES), npz(np.savez, IMAGES / 255)]))
def test_damaged_npz_files(content):
    check_load({"data.npz": content}, "data.npz")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=100), st.sampled_from(["data.npz", "data.csv"]))
def test_files_of_arbitrary_bytes(content, name):
    check_load({name: content}, name)


def header_of(array):
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()[: -array.nbytes]


@settings(max_examples=300, deadline=None)
@given(damaged([header_of(IMAGES), header_of(IMAGES / 255)]))
def test_damaged_headers_of_arrays_in_sound_archives(header):
    """The zip archive's checksums hide these from damage to the whole file."""
    content = io.BytesIO(npz(np.savez, IMAGES))
    with zipfile.ZipFile(content) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["x_train.npy"] = header + IMAGES.tobytes()
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    check_load({"data.npz": content.getvalue()}, "data.npz")
