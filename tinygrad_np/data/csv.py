"""The CSV form of MNIST and its relatives: a line for each image, its label first or last.

This is how to read the numbers. What they mean, above all which of them are the labels, is in meaning.py.
"""

from __future__ import annotations

import io
import math
import os
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TextIO, cast, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tinygrad_np.data.dataset import Dataset, Part, Unlabelled, check_images, check_part, join_parts
from tinygrad_np.data.meaning import GUESS, LABEL_NAMES, Columns, find_columns, header_of_numbers
from tinygrad_np.data.opening import MAX_BYTES, FilePath, MissingFileError, check_directory, open_file
from tinygrad_np.errors import DataError

__all__ = ["CSV_NAMES", "load_csv", "load_csv_directory", "load_csv_file", "load_csv_images"]

CSV_NAMES = (".csv", ".csv.gz")
MAX_LINE = 4 * 2**20  # characters: an image of 1000 x 1000; NumPy takes many times this memory to split a line
BYTE_ORDER_MARK = "\xef\xbb\xbf"  # UTF-8's, read as Latin-1; spreadsheets write it
EXACT = 2**24  # whole numbers below this are exact in float32
GZIP_MAGIC = b"\x1f\x8b"


class _Table(NamedTuple):
    """A CSV file as it stands: the names in its header, if it has one, and its numbers, of shape (lines, columns)."""

    path: str
    names: list[str] | None
    numbers: NDArray[Any]


@overload
def load_csv(path: FilePath, labels: str | int = GUESS) -> Part: ...
@overload
def load_csv(path: FilePath, labels: None) -> tuple[NDArray[Any], None]: ...
def load_csv(path: FilePath, labels: str | int | None = GUESS) -> tuple[NDArray[Any], NDArray[np.int64] | None]:
    """Read the images and labels of a CSV file.

    Args:
        path: of a file with a line for each image, with or without a header, plain or gzip'd.
        labels: the column of the labels: its name in the header, "first", "last", or its number, from 0, or from -1 for
            the last. None: there are no labels. If not given, it is the column with a name such as label or class, or
            else that of the first and the last which alone looks like labels (see meaning.py).

    Returns:
        The images, of shape (N, side, side), or (N, features) if the number of pixels is not a square; uint8 if all
        values are whole numbers from 0 to 255, else float32 with the values as they are. Columns that number the rows
        are left out. And the labels, int64 of shape (N,), or None if there are none.

    Raises:
        MissingFileError: there is no such file.
        ArgumentError: there is no column `labels`.
        DataError: it is not such a table, it holds NaN or infinity, a label is not a class number, or which column
            holds the labels cannot be told.
    """
    table = _read(os.fspath(path), labels)
    columns = _understand(table, labels)
    if columns.labels is None:
        return check_images(_images(table, columns), repr(table.path)), None
    return _part(table, columns)


def load_csv_file(path: FilePath, labels: str | int = GUESS) -> Dataset:
    """Read a CSV file as a dataset without a test part, and note what was understood of its columns.

    Args, Raises: those of `load_csv`.

    Returns:
        The dataset.
    """
    table = _read(os.fspath(path), labels)
    columns = _understand(table, labels)
    return join_parts(_part(table, columns), None, table.path, columns.notes)


def load_csv_images(path: FilePath) -> Unlabelled:
    """Read a CSV file of images without labels, such as the test.csv of a Kaggle competition.

    Args:
        path: of the file, in the form that `load_csv` reads.

    Returns:
        The images, with the numbers that a column gives to the rows.

    Raises:
        MissingFileError: there is no such file.
        DataError: it is not such a table, has labels, or numbers its rows by something else than whole numbers.
    """
    table = _read(os.fspath(path), None)
    columns = _understand(table, None)
    images = check_images(_images(table, columns), repr(table.path))
    if not columns.ignored:
        return Unlabelled(images, None, columns.notes)
    place = columns.ignored[-1]  # pandas puts an index without a name before a column of ids
    numbers = table.numbers[:, place]
    if not (numbers.max() < EXACT and np.array_equal(np.rint(numbers), numbers) and len(set(numbers)) == len(numbers)):
        raise DataError(
            f"{table.path!r}: column {place} (from 0) should number the rows, but holds something else than "
            f"different whole numbers below {EXACT}; remove it"
        )
    return Unlabelled(images, numbers.astype(np.int64), (*columns.notes, "numbers of the images: those in this column"))


def load_csv_directory(directory: FilePath, labels: str | int = GUESS) -> Dataset:
    """Read the dataset in the files `train.csv` and, if it is there, `test.csv`, both plain or with `.gz`.

    The test.csv of a Kaggle competition has no labels, so nothing can be tested with it, and it is left out.

    Args:
        directory: where the files are, in the form that `load_csv` reads.
        labels: the column of the labels, as for `load_csv`; in test.csv it is the one of the same name or place.

    Returns:
        The dataset; without a test.csv that has labels its test part is empty.

    Raises:
        MissingFileError: there is no such directory, or no train.csv in it.
        ArgumentError: there is no column `labels`.
        DataError: a file is not as `load_csv` expects it, or the two do not fit together.
    """
    directory = check_directory(directory)
    train_path, test_path = (_find(directory, name) for name in ("train.csv", "test.csv"))
    if train_path is None:
        raise MissingFileError(f"{os.path.join(directory, 'train.csv')!r}: no such file; check the path")
    train = _read(train_path, labels)
    columns = _understand(train, labels)
    part, notes = _part(train, columns), list(columns.notes)
    test = None if test_path is None else _read_test(test_path, train, columns, labels)
    if test_path is not None and test is None:
        notes.append(f"left out: {os.path.basename(test_path)}, which has no labels")
    return join_parts(part, test, directory, notes)


def _read_test(path: str, train: _Table, columns: Columns, labels: str | int) -> Part | None:
    """Read test.csv, whose columns are those of train.csv. None if it has no labels."""
    names, place = _read_header(path, labels), cast(int, columns.labels)
    if names is not None:
        if train.names is not None and train.names[place] in names:
            if [n for n in names if n in train.names] != [n for n in train.names if n in names]:
                raise DataError(f"{path!r}: has the columns of train.csv in another order; bring them into the same")
            place = names.index(train.names[place])
        else:
            place = next((i for i, name in enumerate(names) if name.lower() in LABEL_NAMES), -1)
    test = _read(path, labels) if place >= 0 else None
    if test is None or (names is None and test.numbers.shape[1] < train.numbers.shape[1]):
        return None
    found = _understand(test, place)
    return _part(test, columns if names == train.names else found)


def _find(directory: str, name: str) -> str | None:
    paths = (os.path.join(directory, name + suffix) for suffix in ("", ".gz"))
    return next(filter(os.path.lexists, paths), None)


def _understand(table: _Table, labels: str | int | None) -> Columns:
    return find_columns(table.numbers, table.names, labels, repr(table.path), os.path.basename(table.path))


def _part(table: _Table, columns: Columns) -> Part:
    return check_part(_images(table, columns), table.numbers[:, cast(int, columns.labels)], repr(table.path))


def _images(table: _Table, columns: Columns) -> NDArray[Any]:
    others = [*columns.ignored, *([] if columns.labels is None else [columns.labels])]
    images = np.delete(table.numbers, others, axis=1)
    side = math.isqrt(images.shape[1])
    return images.reshape(len(images), side, side) if side * side == images.shape[1] else images


def _read(path: str, labels: str | int | None) -> _Table:
    names = _read_header(path, labels)
    try:
        numbers = _read_numbers(path, names is not None, np.uint8)  # eight times as fast as float32
    except DataError:
        numbers = _read_numbers(path, names is not None, np.float32)
    if names is not None and len(names) != numbers.shape[1]:
        raise DataError(f"{path!r}: the header has {len(names)} names, but the lines have {numbers.shape[1]} columns")
    return _Table(path, names, numbers)


def _read_header(path: str, labels: str | int | None) -> list[str] | None:
    """The names in the first line; None if it is not a header.

    It is one if none of its cells is a number, or if the name of a label is among them.
    """
    with _open_text(path) as text:
        line = text.readline(MAX_LINE)
    if len(line) == MAX_LINE:
        return None
    line = line.removeprefix(BYTE_ORDER_MARK).rstrip("\r\n").encode("latin-1").decode("utf-8", "replace")
    names = [cell.strip().strip("\"'") for cell in line.split(",")]
    numbers = sum(map(_is_number, names))
    if numbers and names[0] == "" and names[1:] == [str(i) for i in range(len(names) - 1)]:
        raise header_of_numbers(repr(path))  # with an empty name for the index, as pandas writes it
    labelled = any(name.lower() in LABEL_NAMES or (name == labels and not _is_number(name)) for name in names)
    return names if line and line.isprintable() and (labelled or not numbers) else None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


@contextmanager
def _open_text(path: str) -> Iterator[TextIO]:
    """The characters of a file, plain or gzip'd, as Latin-1.

    To parse integers NumPy (2.4) looks characters up in C's table of 256, and crashes beyond it.
    """
    try:
        with open_file(path) as file:
            is_gzip = file.read(2) == GZIP_MAGIC
            file.seek(0)
            if is_gzip:
                import gzip  # here, because few files need it
            with io.TextIOWrapper(gzip.GzipFile(fileobj=file) if is_gzip else file, "latin-1") as text:
                yield text
    except (EOFError, zlib.error) as error:
        raise DataError(f"{path!r}: cannot be read: {error}; get the file again") from error


def _read_numbers(path: str, has_header: bool, dtype: DTypeLike) -> NDArray[Any]:
    """Read the numbers of the file, of shape (lines, columns). Raises DataError unless all of them fit into `dtype`."""
    number = 0

    def lines(text: TextIO) -> Iterator[str]:
        nonlocal number
        total = 0
        for number, line in enumerate(iter(lambda: text.readline(MAX_LINE), ""), 1):
            total += len(line)
            if len(line) == MAX_LINE:
                raise ValueError(f"longer than {MAX_LINE} characters")
            if total > MAX_BYTES:  # a gzip'd file can unpack to a thousand times its size
                raise ValueError(f"unpacks to more than the limit of {MAX_BYTES} bytes")
            if number == 1 and has_header:
                continue
            yield line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line

    try:
        with _open_text(path) as text, warnings.catch_warnings():
            # NumPy before 2.4 only warns of numbers that do not fit; every NumPy only warns if there are no numbers.
            warnings.filterwarnings("error", message="loadtxt")
            return np.loadtxt(lines(text), dtype, delimiter=",", comments=None, ndmin=2)
    except UserWarning as error:
        raise DataError(f"{path!r}: holds no lines of numbers; expected label,pixel,pixel,...") from error
    except (ValueError, DeprecationWarning) as error:
        if isinstance(error, DataError):
            raise
        reason = str(error).partition(" at row")[0]  # NumPy counts rows from 0 or from 1, and without the header
        raise DataError(f"{path!r}: line {number}: {reason}; expected numbers: label,pixel,pixel,...") from error
