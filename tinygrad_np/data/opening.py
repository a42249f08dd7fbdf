"""Opening the files of a dataset: what the readers of all formats share, with the limits on what a file may ask for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader

from tinygrad_np import files
from tinygrad_np.errors import DataError

__all__ = ["DEFLATE_RATIO", "MAX_BYTES", "FilePath", "MissingFileError", "check_directory", "open_file"]

FilePath = str | os.PathLike[str]

# The bytes that a file may take, or declare. A header can ask for any amount of memory, so there has to be a limit.
# EMNIST by class, the largest of MNIST's relatives, takes 547 MB; CIFAR-10 in float32 takes 614 MB.
MAX_BYTES = 640 * 2**20

# One compressed byte unpacks to at most this many: "Maximum Compression Factor" in zlib.net/zlib_tech.html.
DEFLATE_RATIO = 1032


class MissingFileError(DataError, FileNotFoundError):
    """A file or directory of a dataset does not exist."""


@contextmanager
def open_file(path: FilePath) -> Iterator[BufferedReader]:
    """Open a regular file of at most `MAX_BYTES` for reading bytes, and close it after the `with` block.

    Args:
        path: of the file.

    Returns:
        A context manager that gives the open file.

    Raises:
        MissingFileError: there is nothing at `path`.
        DataError: it is not a file, is too large, or cannot be read. An error of reading inside the `with` block
            becomes a DataError, too.
    """
    path = os.fspath(path)
    with _explained(path, "a file"):
        size = files.size_of(path)
        if size > MAX_BYTES:
            raise DataError(f"{path!r}: a file of {size} bytes, more than the limit of {MAX_BYTES}; give a part of it")
        with open(path, "rb") as file:
            yield file


def check_directory(path: FilePath) -> str:
    """Check that files can be looked up in a directory.

    Args:
        path: of the directory.

    Returns:
        The path as a string.

    Raises:
        MissingFileError: there is nothing at `path`.
        DataError: it is not a directory, or access is denied.
    """
    path = os.fspath(path)
    with _explained(path, "a directory"):
        files.status(os.path.join(path, "."))
    return path


@contextmanager
def _explained(path: str, expected: str) -> Iterator[None]:
    """Turn the system's errors about `path` into a DataError that says what to do."""
    try:
        yield
    except FileNotFoundError as error:
        raise MissingFileError(f"{path!r}: no such file or directory; check the path") from error
    except OSError as error:
        raise DataError(
            f"{path!r}: cannot be read: {files.reason(error)}; expected {expected} that may be read"
        ) from error
