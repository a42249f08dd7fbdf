"""What the readers of all formats share: how much a file may ask for, and opening it, or saying why it cannot be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader

from tinygrad_np import files
from tinygrad_np.errors import DataError

FilePath = str | os.PathLike[str]

# A file's header can ask for any amount of memory, so there has to be a limit. EMNIST by class, the largest of MNIST's
# relatives, takes 547 MB; CIFAR-10 in float32 takes 614 MB.
MAX_BYTES = 640 * 2**20

# No compressed byte makes more than so many: "Maximum Compression Factor" in zlib.net/zlib_tech.html.
DEFLATE_RATIO = 1032


class MissingFileError(DataError, FileNotFoundError):
    """A file or directory of a dataset that is not there."""


@contextmanager
def open_file(path: FilePath) -> Iterator[BufferedReader]:
    """The regular file at `path`, of at most `MAX_BYTES`, open for reading bytes.

    Raises MissingFileError if there is nothing at `path`, and DataError if it is something else, too large, or cannot
    be read, which may turn out inside the `with` block only.
    """
    path = os.fspath(path)
    with _explained(path, "a file"):
        size = files.size_of(path)
        if size > MAX_BYTES:
            raise DataError(f"{path!r}: a file of {size} bytes, more than the limit of {MAX_BYTES}; give a part of it")
        with open(path, "rb") as file:
            yield file


def check_directory(path: FilePath) -> str:
    """The path as a string, once it is known to lead to a directory in which files can be looked up.

    Raises MissingFileError if there is nothing at `path`, and DataError if it is something else, or access is denied.
    """
    path = os.fspath(path)
    with _explained(path, "a directory"):
        files.status(os.path.join(path, "."))
    return path


@contextmanager
def _explained(path: str, expected: str) -> Iterator[None]:
    """Turns the system's complaints about `path` into a DataError that says what to do."""
    try:
        yield
    except FileNotFoundError as error:
        raise MissingFileError(f"{path!r}: no such file or directory; check the path") from error
    except OSError as error:
        raise DataError(
            f"{path!r}: cannot be read: {files.reason(error)}; expected {expected} that may be read"
        ) from error
