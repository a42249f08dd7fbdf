"""MNIST and the datasets published under the same four file names, such as Fashion-MNIST and KMNIST.

LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition. Proceedings of the IEEE 86(11),
1998.
"""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_np.data.dataset import Dataset, Part, Unlabelled, check_images, check_part, join_parts
from tinygrad_np.data.idx import load_idx
from tinygrad_np.data.opening import FilePath, MissingFileError, check_directory
from tinygrad_np.errors import DataError

__all__ = ["MNIST_SHA256", "is_prefix", "load_idx_directory", "load_idx_images", "load_mnist"]

TURNED = "turned upright: EMNIST's images, which are published with rows and columns swapped"

# Checksums of the uncompressed files, because the same content can be compressed in many ways.
MNIST_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


def load_mnist(directory: FilePath | None = None) -> Dataset:
    """Load MNIST, and check by its checksums that it is the published data to the last bit.

    Args:
        directory: where the four IDX files are, plain or gzip'd. By default those of this package's repository, if it
            was installed from a clone with `-e`.

    Returns:
        60,000 images for training and 10,000 for testing, uint8 of 28 x 28, with labels from 0 to 9.

    Raises:
        MissingFileError: there is no such directory, or one of the four files is missing.
        DataError: a file is damaged or is not MNIST's.
    """
    if directory is None:
        directory = Path(__file__).parents[2] / "models" / "data" / "mnist"
        if not directory.is_dir():
            raise MissingFileError(
                "tinygrad_np was installed without its repository, which has MNIST in models/data/mnist; pass the "
                "folder of the four IDX files"
            )
    return load_idx_directory(directory, MNIST_SHA256)


def load_idx_directory(directory: FilePath, sha256: Mapping[str, str] | None = None) -> Dataset:
    """Load the dataset in four IDX files with MNIST's names, plain or gzip'd, with `-` or `.` before `idx`.

    The names may start with that of the dataset, and may have `test` for `t10k`, as EMNIST's have. Torchvision keeps
    the files in a folder `raw`, which is found from one or two folders above.

    Args:
        directory: where the files are, and if there are several datasets, the start of their names: "emnist-letters".
        sha256: maps file names, as in `MNIST_SHA256`, to checksums, as `load_idx` takes them; others are not checked.

    Returns:
        The dataset. EMNIST's images, which are published with rows and columns swapped, are turned upright.

    Raises:
        MissingFileError: there is no such directory, or one of the four files is missing.
        DataError: `load_idx` cannot read a file, or the arrays are not images and their labels, or there are several
            datasets in the directory.
    """
    directory = os.fspath(directory)
    folder, prefix = os.path.split(directory) if is_prefix(directory) else _locate(check_directory(directory))
    sha256 = sha256 or {}
    is_emnist = prefix.startswith("emnist")
    notes = [f"files: {os.path.join(folder, prefix)}*"] if prefix or folder != directory else []
    if is_emnist:
        notes.append(TURNED)

    def load_part(name: str) -> Part:
        images, labels = (
            load_idx(_find(folder, file_name), sha256.get(file_name))
            for file_name in (f"{name}-images-idx3-ubyte", f"{name}-labels-idx1-ubyte")
        )
        return check_part(_upright(images) if is_emnist else images, labels, f"{directory!r}: {name}")

    start = f"{prefix}-" if prefix else ""
    test = "test" if f"{start}test" in _starts(folder) else "t10k"
    return join_parts(load_part(f"{start}train"), load_part(f"{start}{test}"), directory, notes)


def load_idx_images(path: FilePath) -> Unlabelled:
    """Load the images in one IDX file. Those of EMNIST, known by the file's name, are turned upright.

    Args:
        path: of the file, plain or gzip'd.

    Returns:
        The images.

    Raises:
        MissingFileError: there is no such file.
        DataError: `load_idx` cannot read it, or it holds something else than images, such as labels.
    """
    images, is_emnist = load_idx(path), os.path.basename(os.fspath(path)).startswith("emnist")
    if images.ndim < 2 or not images.size:
        raise DataError(
            f"{os.fspath(path)!r}: holds numbers of shape {images.shape}, such as labels, not images of shape "
            "(N, rows, columns); give the file of the images"
        )
    images = check_images(_upright(images) if is_emnist else images, repr(os.fspath(path)))
    return Unlabelled(images, None, (TURNED,) if is_emnist else ())


def _upright(images: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(images.swapaxes(1, 2)) if images.ndim == 3 else images


def is_prefix(path: FilePath) -> bool:
    """Whether `path` is no directory, but the start of the names of the four files of a dataset."""
    folder, prefix = os.path.split(os.fspath(path))
    return bool(prefix) and not os.path.lexists(path) and f"{prefix}-train" in _starts(folder)


def _starts(folder: str) -> list[str]:
    """What stands before `-images-idx3-ubyte` in the names of files in a folder: "train", "emnist-mnist-test"."""
    try:
        names = sorted(os.listdir(folder or "."))
    except (OSError, ValueError):  # whoever opens a file in it will say what is wrong
        return []
    found = (re.fullmatch(r"(.+)-images[-.]idx3-ubyte(\.gz)?", name) for name in names)
    return list(dict.fromkeys(match[1] for match in found if match))


def _locate(directory: str) -> tuple[str, str]:
    """The folder of the four files, and what their names start with: nothing, if they have MNIST's names."""
    below = (sorted(glob.glob(os.path.join(glob.escape(directory), way))) for way in ("raw", os.path.join("*", "raw")))
    for folders in itertools.chain([[directory]], below):
        starts = ((folder, f"-{start}") for folder in folders for start in _starts(folder))
        found = [(folder, start.removesuffix("-train")[1:]) for folder, start in starts if start.endswith("-train")]
        if (directory, "") in found:
            break
        if len(found) == 1:
            return found[0]
        if found:
            paths = ", ".join(repr(os.path.join(*each)) for each in found)
            raise DataError(f"{directory!r}: holds several datasets; give one of {paths}")
    return directory, ""


def _find(directory: str, name: str) -> str:
    """The path of the file under any of its names; of something else with such a name only if there is no such file.

    Some archives of MNIST have a directory `train-images-idx3-ubyte` beside the file `train-images.idx3-ubyte`.
    """
    variants = (name, name.replace("-idx", ".idx"))
    paths = [os.path.join(directory, variant + suffix) for variant in variants for suffix in ("", ".gz")]
    best = max(paths, key=lambda path: (os.path.isfile(path), os.path.lexists(path)))
    if not os.path.lexists(best):
        raise MissingFileError(
            f"{paths[0]!r}: no such file, plain or with .gz; expected a directory of MNIST's four files, or a train.csv"
        )
    return best
