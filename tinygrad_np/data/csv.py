"""Kaggle's CSV form of MNIST and its relatives: a line for each image, first its label, then its pixels row by row."""

from __future__ import annotations

import io
import math
import os
import warnings
from collections.abc import Iterator
from typing import Any, TextIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tinygrad_np.data.dataset import Dataset, Part, check_part, join_parts
from tinygrad_np.data.opening import FilePath, check_directory, open_file
from tinygrad_np.errors import DataError

__all__ = ["load_csv", "load_csv_directory"]

MAX_LINE = 4 * 2**20  # characters: an image of 1000 x 1000; NumPy takes many times this memory to split a line
BYTE_ORDER_MARK = "\xef\xbb\xbf"  # UTF-8's, read as Latin-1; spreadsheets write it


def load_csv(path: FilePath) -> Part:
    """Read the images and labels of a CSV file.

    Args:
        path: of a file with lines `label,pixel,pixel,...`, with or without a header `label,...`.

    Returns:
        The images, of shape (N, side, side), or (N, features) if the number of pixels is not a square; uint8 if all
        values are whole numbers from 0 to 255, else float32 with the values as they are. And the labels, int64 of
        shape (N,).

    Raises:
        MissingFileError: there is no such file.
        DataError: it is not such a table, it holds NaN or infinity, or a label is not a class number.
    """
    path = os.fspath(path)
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
    """Read the dataset in the files `train.csv` and, if it is there, `test.csv`.

    The test.csv of a Kaggle competition has no labels, so nothing can be tested with it, and it is left out.

    Args:
        directory: where the files are, in the form that `load_csv` reads.

    Returns:
        The dataset; without a test.csv that has labels its test part is empty.

    Raises:
        MissingFileError: there is no such directory, or no train.csv in it.
        DataError: a file is not as `load_csv` expects it, or the two do not fit together.
    """
    directory = check_directory(directory)
    train_path, test_path = os.path.join(directory, "train.csv"), os.path.join(directory, "test.csv")
    train = load_csv(train_path)
    has_test = os.path.lexists(test_path) and not _has_header_of_pixels(test_path)
    return join_parts(train, load_csv(test_path) if has_test else None, directory)


def _has_header_of_pixels(path: str) -> bool:
    with open_file(path) as file:
        return _starts_with(file.readline(100).decode("latin-1"), "pixel")


def _starts_with(line: str, word: str) -> bool:
    return line.removeprefix(BYTE_ORDER_MARK).lstrip('"').lower().startswith(word)


def _read_table(path: str, dtype: DTypeLike) -> NDArray[Any]:
    """Read the numbers of the file, of shape (lines, columns). Raises DataError unless all of them fit into `dtype`."""
    number = 0

    def lines(text: TextIO) -> Iterator[str]:
        nonlocal number
        for number, line in enumerate(iter(lambda: text.readline(MAX_LINE), ""), 1):
            if len(line) == MAX_LINE:
                raise ValueError(f"longer than {MAX_LINE} characters")
            if number == 1 and _starts_with(line, "label"):
                continue
            yield line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line

    try:
        # Latin-1: to parse integers NumPy (2.4) looks characters up in C's table of 256, and crashes beyond it.
        with open_file(path) as file, io.TextIOWrapper(file, "latin-1") as text, warnings.catch_warnings():
            # NumPy before 2.4 only warns of numbers that do not fit; every NumPy only warns if there are no numbers.
            warnings.filterwarnings("error", message="loadtxt")
            return np.loadtxt(lines(text), dtype, delimiter=",", comments=None, ndmin=2)
    except UserWarning as error:
        raise DataError(f"{path!r}: holds no lines of numbers; expected label,pixel,pixel,...") from error
    except (ValueError, DeprecationWarning) as error:
        if isinstance(error, DataError):
            raise
        reason = str(error).partition(" at row")[0]  # NumPy counts rows from 0 or from 1, and without the header
        raise DataError(f"{path!r}: line {number}: {reason}; expected label,pixel,pixel,...") from error
