"""What the readers of all formats share: how much a file may ask for, and the check before it is opened."""

from __future__ import annotations

import os

from tinygrad_np.errors import DataError

FilePath = str | os.PathLike[str]

# A file's header can ask for any amount of memory, so there has to be a limit. EMNIST by class, the largest of MNIST's
# relatives, takes 547 MB; CIFAR-10 in float32 takes 614 MB.
MAX_BYTES = 640 * 2**20


class MissingFileError(DataError, FileNotFoundError):
    """A file or directory of a dataset that is not there."""


def check_file(path: FilePath) -> str:
    """The path as a string, once it is known to lead to a regular file (a pipe would block) of at most `MAX_BYTES`.

    Raises MissingFileError if there is nothing at `path`, DataError if it is something else, or too large.
    """
    path = os.fspath(path)
    if not os.path.exists(path):
        raise MissingFileError(f"{path!r}: no such file")
    if not os.path.isfile(path):
        raise DataError(f"{path!r}: expected a file, found a directory or a device")
    if os.path.getsize(path) > MAX_BYTES:
        raise DataError(f"{path!r}: a file of {os.path.getsize(path)} bytes, more than the limit of {MAX_BYTES}")
    return path
