"""Keras's form of a dataset: an .npz file, which is a zip archive of arrays in NumPy's own format."""

from __future__ import annotations

import io
import math
import os
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from numpy.lib import format as npy
from numpy.typing import NDArray

from tinygrad_np.data.dataset import Dataset, Unlabelled, check_images, check_part, join_parts
from tinygrad_np.data.opening import DEFLATE_RATIO, MAX_BYTES, FilePath, open_file
from tinygrad_np.errors import DataError
from tinygrad_np.files import reason

if TYPE_CHECKING:
    from zipfile import ZipFile

__all__ = ["load_npz", "load_npz_images"]

MAX_READ = 2**19  # bytes; NumPy reads arrays in pieces of half this size
NUMPYS_METHODS = (0, 8)  # zip's numbers for stored and deflated; zipfile unpacks bzip2 whole, a kilobyte to gigabytes
KEYS = ("x_train", "y_train", "x_test", "y_test")
# Names that others use: MedMNIST's, and scikit-learn's, whose data sets have no test part ("data" is "images" in rows).
ALIASES = {
    "x_train": ("train_images", "images", "data", "x"),
    "y_train": ("train_labels", "labels", "target", "y"),
    "x_test": ("test_images",),
    "y_test": ("test_labels",),
}
UNLABELLED = ("x_test", *ALIASES["x_test"], *ALIASES["x_train"][1:])  # not those for training


def load_npz(path: FilePath) -> Dataset:
    """Load the dataset in an .npz file.

    Args:
        path: of a file with the arrays x_train, y_train, x_test and y_test: images of shape (N, ...), and labels of
            shape (N,) or (N, 1). Names may be in capitals, or those in `ALIASES`. There may be no test part.

    Returns:
        The dataset. Images keep their shape, and become uint8 or float32 as `check_part` says.

    Raises:
        MissingFileError: there is no such file.
        DataError: it is damaged, lacks one of the arrays, declares one of more than `opening.MAX_BYTES`, holds a
            pickle in place of one, or the arrays are not a dataset.
    """
    path = os.fspath(path)
    members, arrays = _read_members(path, _find_members)
    train = check_part(arrays["x_train"], arrays["y_train"], f"{path!r}: train")
    test = check_part(arrays["x_test"], arrays["y_test"], f"{path!r}: test") if "x_test" in arrays else None
    names = [name.removesuffix(".npy") for name in members.values()]
    notes = [] if names == list(KEYS) else [f"arrays: {', '.join(names)} of {os.path.basename(path)}"]
    return join_parts(train, test, path, notes)


def load_npz_images(path: FilePath) -> Unlabelled:
    """Load images to be labelled from an .npz file.

    Args:
        path: of a file with one array, the images, or with several, of which x_test or another of `UNLABELLED` is them.

    Returns:
        The images, of shape (N, ...).

    Raises:
        MissingFileError: there is no such file.
        DataError: it cannot be read, as for `load_npz`; or which array holds the images cannot be told; or it does not.
    """
    path = os.fspath(path)
    members, arrays = _read_members(path, _find_images)
    source = f"{path!r}: {members['images'].removesuffix('.npy')}"
    if arrays["images"].ndim < 2 or not arrays["images"].size:
        raise DataError(f"{source}: an array of shape {arrays['images'].shape}, expected images of shape (N, ...)")
    note = f"images: array {members['images'].removesuffix('.npy')} of {os.path.basename(path)}"
    return Unlabelled(check_images(arrays["images"], source), None, (note,))


def _read_members(
    path: str, find: Callable[[list[str], str], dict[str, str]]
) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
    """The members that `find` chooses of the file's, by the keys that it gives them, and their arrays."""
    import zipfile  # here, because it costs 10 ms, which no other format needs

    try:
        with (
            open_file(path) as file,
            _SmallReads(file) as reader,
            zipfile.ZipFile(reader) as archive,
            warnings.catch_warnings(action="ignore"),  # of Python's parser, about a made-up header
        ):
            members = find(archive.namelist(), path)
            room = os.fstat(file.fileno()).st_size * DEFLATE_RATIO
            arrays = {
                key: _read_array(archive, name, room, f"{path!r}: {name.removesuffix('.npy')}")
                for key, name in members.items()
            }
    except DataError:
        raise
    except Exception as error:  # zipfile and NumPy's parser of headers raise a dozen kinds for damage
        raise DataError(f"{path!r}: cannot be read as an .npz file: {reason(error)}; get the file again") from error
    return members, arrays


def _find_images(listed: list[str], path: str) -> dict[str, str]:
    """Maps "images" to the member that holds the images to be labelled."""
    names = {name.lower(): name for name in reversed(listed)}
    found = [names[f"{key}.npy"] for key in UNLABELLED if f"{key}.npy" in names] or (listed if len(listed) == 1 else [])
    if not found:
        present = ", ".join(repr(name.removesuffix(".npy")) for name in listed[:9]) or "nothing"
        raise DataError(
            f"{path!r}: which array holds the images to be labelled cannot be told; expected one of "
            f"{', '.join(UNLABELLED)}, but it holds {present[:300]}"
        )
    return {"images": found[0]}


def _find_members(listed: list[str], path: str) -> dict[str, str]:
    """Maps each of `KEYS` to the member that holds it; those for testing are left out if the file has none of both."""
    names = {name.lower(): name for name in reversed(listed)}
    members = {}
    for key in KEYS:
        found = [names[f"{alias}.npy"] for alias in (key, *ALIASES[key]) if f"{alias}.npy" in names]
        if found:
            members[key] = found[0]
    missing = [key for key in KEYS if key not in members]
    if missing and missing != ["x_test", "y_test"]:
        present = ", ".join(repr(name.removesuffix(".npy")) for name in listed[:9]) or "nothing"
        raise DataError(
            f"{path!r}: lacks {', '.join(missing)}; expected the arrays {', '.join(KEYS)}, but it holds {present[:300]}"
        )
    return members


class _SmallReads(io.BufferedReader):
    """Refuses to read much at once. Only for an archive's table of contents does zipfile try to.

    It parses the whole table before anyone can ask what is in the archive; a table of 9 MB takes it seconds.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_READ:
            raise ValueError(f"its table of contents takes {size} bytes, more than the limit of {MAX_READ}")
        return super().read(size)


def _read_array(archive: ZipFile, name: str, room: int, source: str) -> NDArray[Any]:
    """Read the array of one member, after checking that its header and the archive agree about its size."""
    member = archive.getinfo(name)
    if member.file_size > MAX_BYTES:
        raise DataError(f"{source}: declares {member.file_size} bytes, more than the limit of {MAX_BYTES}")
    if member.file_size > room:
        raise DataError(f"{source}: declares {member.file_size} bytes, but the archive is too short to hold them")
    if member.compress_type not in NUMPYS_METHODS:
        raise DataError(
            f"{source}: is compressed by method {member.compress_type}, not as NumPy does it; "
            "save it with numpy.savez_compressed"
        )
    with archive.open(member) as file:
        read_header = npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read_header(file)
        if dtype.kind not in "biuf":
            raise DataError(f"{source}: has dtype {dtype}, expected numbers; objects and pickles are not read")
        declared = file.tell() + math.prod(shape) * dtype.itemsize
        if declared != member.file_size:
            needed = f"shape {shape} and dtype {dtype} take {declared}"
            raise DataError(f"{source}: {needed[:300]} bytes, not {member.file_size}")
        file.seek(0)
        return npy.read_array(file, allow_pickle=False)
