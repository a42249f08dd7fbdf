"""Kaggle's CSV form of MNIST and its relatives: a line for an image, its label first, then its pixels row by row."""

from __future__ import annotations

import itertools
import math
import os
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tinygrad_np.data.dataset import Dataset, Part, check_part, join_parts
from tinygrad_np.data.files import FilePath, check_file
from tinygrad_np.errors import DataError

BYTE_ORDER_MARK = "\xef\xbb\xbf"  # UTF-8's, read as Latin-1; spreadsheets write it


def load_csv(path: FilePath) -> Part:
    """Images and labels of a CSV file with lines `label,pixel,pixel,...`, with or without a header `label,...`.

    Images have the shape (N, side, side), or (N, features) if the number of pixels is not a square. They are uint8 if
    all values are whole numbers from 0 to 255, else float32 with the values as they are.

    Raises MissingFileError if there is no such file, and DataError if it is not such a table, if it holds NaN or
    infinity, or if a label is not a class number.
    """
    path = check_file(path)
    try:
        table = _read_table(path, np.uint8)  # eight times as fast as float32
    except DataError:
        table = _read_table(path, np.float32)
    images = table[:, 1:]
    side = math.isqrt(images.shape[1])
    if side * side == images.shape[1]:
        images = images.reshape(len(images), side, side)
    return check_part(np.ascontiguousarray(images), table[:, 0], repr(path))


def load_csv_directory(directory: FilePath) -> Dataset:
    """The dataset in `train.csv` and, if it is there, `test.csv`.

    The test.csv of a Kaggle competition has no labels, so nothing can be tested with it, and it is left out.
    """
    directory = os.fspath(directory)
    train_path, test_path = os.path.join(directory, "train.csv"), os.path.join(directory, "test.csv")
    has_test = os.path.exists(test_path) and not _starts_with(check_file(test_path), "pixel")
    return join_parts(load_csv(train_path), load_csv(test_path) if has_test else None, directory)


def _starts_with(path: str, word: str) -> bool:
    with open(path, "rb") as file:
        return file.read(len(word)).lower() == word.encode()


def _read_table(path: str, dtype: DTypeLike) -> NDArray[Any]:
    """The numbers of the file, of shape (lines, columns), if all of them fit into `dtype`."""
    count = itertools.count()
    try:
        # Latin-1, since NumPy (2.4) looks characters up in C's table of 256 to parse integers, and crashes beyond it.
        with open(path, encoding="latin-1") as file, warnings.catch_warnings():
            # Of numbers that do not fit NumPy before 2.4 only warns, and of a file without numbers any NumPy.
            warnings.filterwarnings("error", message="loadtxt")
            lines: Iterator[str] = map(lambda line, _: line, file, count)
            first = next(lines, "").removeprefix(BYTE_ORDER_MARK)
            if not first.lstrip('"').lower().startswith("label"):
                lines = itertools.chain([first], lines)
            return np.loadtxt(lines, dtype, delimiter=",", comments=None, ndmin=2)
    except UserWarning as error:
        raise DataError(f"{path!r}: holds no lines of numbers") from error
    except (OSError, ValueError, DeprecationWarning) as error:
        reason = str(error).partition(" at row")[0]  # which NumPy counts from 0 or from 1, and without the header
        raise DataError(f"{path!r}: line {next(count)}: {reason}; expected label,pixel,pixel,...") from error
