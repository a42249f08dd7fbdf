"""Keras's form of a dataset: an .npz file, which is a zip archive of arrays in NumPy's own format."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from numpy.lib import format as npy
from numpy.typing import NDArray

from tinygrad_np.data.dataset import Dataset, check_part, join_parts
from tinygrad_np.data.files import MAX_BYTES, FilePath, check_file
from tinygrad_np.errors import DataError

if TYPE_CHECKING:
    from zipfile import ZipFile

KEYS = ("x_train", "y_train", "x_test", "y_test")


def load_npz(path: FilePath) -> Dataset:
    """The dataset in the arrays x_train, y_train, x_test and y_test of an .npz file.

    Images of shape (N, ...) keep their shape, and become uint8 or float32 as `check_part` says; labels are of shape
    (N,) or (N, 1).

    Raises MissingFileError if there is no such file, and DataError if it is damaged, lacks one of the arrays, declares
    one of more than `files.MAX_BYTES`, holds a pickle in place of one, or if the arrays are not a dataset.
    """
    import zipfile  # here, since it costs 10 ms that no other format needs

    path = check_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            missing = [key for key in KEYS if f"{key}.npy" not in archive.namelist()]
            if missing:
                raise DataError(f"{path!r}: lacks {', '.join(missing)}; expected the arrays {', '.join(KEYS)}")
            x_train, y_train, x_test, y_test = (_read_array(archive, f"{key}.npy", f"{path!r}: {key}") for key in KEYS)
    except DataError:
        raise
    except Exception as error:  # zipfile and NumPy's parser of headers answer damage with a dozen kinds
        reason = (str(error) or repr(error)).partition("\n")[0]
        raise DataError(f"{path!r}: cannot be read as an .npz file: {reason}") from error
    train = check_part(x_train, y_train, f"{path!r}: train")
    test = check_part(x_test, y_test, f"{path!r}: test")
    return join_parts(train, test, path)


def _read_array(archive: ZipFile, name: str, source: str) -> NDArray[Any]:
    """The array of one member, once its header and the archive agree that it has the size it claims."""
    member = archive.getinfo(name)
    if member.file_size > MAX_BYTES:
        raise DataError(f"{source}: declares {member.file_size} bytes, more than the limit of {MAX_BYTES}")
    with archive.open(member) as file:
        read_header = npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read_header(file)
        if dtype.kind not in "biuf":
            raise DataError(f"{source}: has dtype {dtype}, expected numbers; objects and pickles are not read")
        declared = file.tell() + math.prod(shape) * dtype.itemsize
        if declared != member.file_size:
            raise DataError(f"{source}: shape {shape} and dtype {dtype} take {declared} bytes, not {member.file_size}")
        file.seek(0)
        return npy.read_array(file, allow_pickle=False)
