"""One way in for datasets of every format: `load` tells from the path which reader it needs."""

from __future__ import annotations

import os

from tinygrad_np.data.csv import load_csv, load_csv_directory
from tinygrad_np.data.dataset import Dataset, join_parts
from tinygrad_np.data.files import FilePath, open_file
from tinygrad_np.data.mnist import load_idx_directory
from tinygrad_np.data.npz import load_npz
from tinygrad_np.errors import DataError


def load(path: FilePath) -> Dataset:
    """The dataset at `path`: a directory of IDX files, or with a train.csv; a .csv file; or an .npz file.

    A .csv file holds images for training only. Raises MissingFileError if there is nothing at `path`, and DataError if
    it is none of these, or what its reader raises: see `load_idx_directory`, `load_csv`, `load_csv_directory` and
    `load_npz`.
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
    with open_file(path):  # for its errors, which come before that about the name
        raise DataError(
            f"{path!r}: expected a .csv file, an .npz file, or a directory of IDX files or with a train.csv"
        )
