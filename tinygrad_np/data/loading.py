"""Loading a dataset of any format: `load` tells from the path which reader it needs."""

from __future__ import annotations

import os

from tinygrad_np.data.csv import load_csv, load_csv_directory
from tinygrad_np.data.dataset import Dataset, join_parts
from tinygrad_np.data.mnist import load_idx_directory
from tinygrad_np.data.npz import load_npz
from tinygrad_np.data.opening import FilePath, open_file
from tinygrad_np.errors import DataError

__all__ = ["load"]


def load(path: FilePath) -> Dataset:
    """Load a dataset in any of the formats that this package reads.

    Args:
        path: of a directory with MNIST's four IDX files or with a train.csv, of a .csv file, or of an .npz file.

    Returns:
        The dataset. That of a single .csv file has images for training only.

    Raises:
        MissingFileError: there is nothing at `path`, or one of the files is missing in the directory.
        DataError: `path` is none of these, or its reader refuses the content.
    """
    path = os.fspath(path)
    extension = os.path.splitext(path)[1].lower()
    if os.path.isdir(path):
        if os.path.lexists(os.path.join(path, "train.csv")):
            return load_csv_directory(path)
        return load_idx_directory(path)
    if extension == ".csv":
        return join_parts(load_csv(path), None, path)
    if extension == ".npz":
        return load_npz(path)
    with open_file(path):  # first, for its errors about a missing or unreadable file
        raise DataError(
            f"{path!r}: expected a .csv file, an .npz file, or a directory of IDX files or with a train.csv"
        )
