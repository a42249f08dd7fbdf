"""Loading a dataset of any format: `load` tells from the path which reader it needs."""

from __future__ import annotations

import os

from tinygrad_np.data.csv import CSV_NAMES, load_csv_directory, load_csv_file, load_csv_images
from tinygrad_np.data.dataset import Dataset, Unlabelled
from tinygrad_np.data.meaning import GUESS
from tinygrad_np.data.mnist import is_prefix, load_idx_directory, load_idx_images
from tinygrad_np.data.npz import load_npz, load_npz_images
from tinygrad_np.data.opening import FilePath, open_file
from tinygrad_np.errors import ArgumentError, DataError

__all__ = ["UNLABELLED_NAMES", "is_csv", "load", "load_images"]

UNLABELLED_NAMES = (*CSV_NAMES, ".npz", "ubyte", "ubyte.gz")
REMEDIES = {
    ".npy": "an .npy file is one array; save images and labels together with "
    "numpy.savez('data.npz', x_train=images, y_train=labels)",
    "ubyte": "give the folder of the IDX files, not one of them",
    ".zip": "unpack it first",
}


def is_csv(path: FilePath) -> bool:
    """Whether `load` takes what is at `path` for a CSV file, or for a directory of CSV files."""
    path = os.fspath(path)
    if os.path.isdir(path):
        return any(os.path.lexists(os.path.join(path, "train" + ending)) for ending in CSV_NAMES)
    return path.lower().endswith(CSV_NAMES)


def load(path: FilePath, labels: str | int = GUESS) -> Dataset:
    """Load a dataset in any of the formats that this package reads.

    Args:
        path: of a directory with four IDX files or with a train.csv, of a .csv or .csv.gz file, or of an .npz file. Of
            several datasets in one directory of IDX files, a path with the start of its files' names chooses one:
            "emnist/emnist-letters".
        labels: the column of the labels in CSV files, as `load_csv` takes it.

    Returns:
        The dataset. That of a single .csv file has images for training only. Its `notes` say what was understood.

    Raises:
        MissingFileError: there is nothing at `path`, or one of the files is missing in the directory.
        ArgumentError: there is no column `labels`, or the data is not in a CSV file.
        DataError: `path` is none of these, or its reader refuses the content.
    """
    path = os.fspath(path)
    name = path.lower()
    if is_csv(path):
        return load_csv_directory(path, labels) if os.path.isdir(path) else load_csv_file(path, labels)
    if labels != GUESS:
        raise ArgumentError(f"labels={labels!r} is a column of a CSV file, but {path!r} is none; leave it out")
    if os.path.isdir(path) or is_prefix(path):
        return load_idx_directory(path)
    if name.endswith(".npz"):
        return load_npz(path)
    with open_file(path):  # first, for its errors about a missing or unreadable file
        remedy = next((text for ending, text in REMEDIES.items() if name.removesuffix(".gz").endswith(ending)), "")
        raise DataError(
            f"{path!r}: expected a .csv file, an .npz file, or a directory of IDX files or with a train.csv"
            + (f"; {remedy}" if remedy else "")
        )


def load_images(path: FilePath) -> Unlabelled:
    """Load images without labels, to be labelled by a network.

    Args:
        path: of a .csv or .csv.gz file such as Kaggle's test.csv, of an .npz file with the images alone or as x_test,
            or of an IDX file of images, whose name ends with ubyte or ubyte.gz.

    Returns:
        The images, with the numbers that the file gives to them, if it does.

    Raises:
        MissingFileError: there is nothing at `path`.
        DataError: `path` is none of these, or its reader refuses the content, for example because it has labels.
    """
    path = os.fspath(path)
    name = path.lower()
    if name.endswith(CSV_NAMES):
        return load_csv_images(path)
    if name.endswith(".npz"):
        return load_npz_images(path)
    if name.endswith(UNLABELLED_NAMES):
        return load_idx_images(path)
    with open_file(path):  # first, for its errors about a missing or unreadable file
        raise DataError(
            f"{path!r}: expected images in a .csv or .npz file, or in an IDX file with a name that ends with ubyte"
        )
