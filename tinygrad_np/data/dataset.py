"""The `Dataset` that the readers return, and the checks that its arrays pass before anyone trains on them."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinygrad_np.data.meaning import check_classes
from tinygrad_np.data.opening import MAX_BYTES
from tinygrad_np.errors import DataError

__all__ = ["Dataset", "Part", "Unlabelled", "check_images", "check_part", "join_parts"]

MAX_CLASSES = 2**16  # a stray label of a billion would ask for a network with a billion outputs

Part = tuple[NDArray[Any], NDArray[np.int64]]


class _Arrays(NamedTuple):
    train_images: NDArray[Any]
    train_labels: NDArray[np.int64]
    test_images: NDArray[Any]
    test_labels: NDArray[np.int64]


class Dataset(_Arrays):
    """Images with their class labels, for training and for testing.

    The images of both parts have the same dtype, and the same shape except for N. A dataset that comes without a test
    part has test arrays of length 0.

    Attributes:
        train_images: uint8 (0 to 255) or float32 (as the file has them), of shape (N, rows, columns), (N, rows,
            columns, channels) or (N, features).
        train_labels: int64 of shape (N,), from 0.
        test_images, test_labels: the same for testing.
        notes: what the reader understood of its files, a sentence each, where they could have been read otherwise. They
            are no part of the tuple.
    """

    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        parts = [f"  {name}: {_describe(array)}" for name, array in self._asdict().items()]
        return "\n".join([f"{type(self).__name__}:", *parts, *(f"  note: {note}" for note in self.notes)])

    @property
    def num_classes(self) -> int:
        """The number of classes: the highest label for training, plus one."""
        return int(self.train_labels.max()) + 1

    @property
    def num_features(self) -> int:
        """The number of values in one image."""
        return math.prod(self.train_images.shape[1:])


class Unlabelled(NamedTuple):
    """Images without labels, for a network to label.

    Attributes:
        images: uint8 or float32, as in a `Dataset`.
        numbers: the numbers that the file gives to its images, int64 of shape (N,), or None if it gives none.
        notes: what the reader understood of the file, a sentence each.
    """

    images: NDArray[Any]
    numbers: NDArray[np.int64] | None
    notes: tuple[str, ...]


def check_part(images: NDArray[Any], labels: NDArray[Any], source: str) -> Part:
    """Check one part of a dataset, and bring its images to uint8 or float32 and its labels to int64.

    Images that are not uint8 become uint8 if all their values are whole numbers from 0 to 255; floating-point images
    also need a value above 1, because without one they count as scaled already. All other images become float32, with
    their values as they are.

    Args:
        images: shape (N, ...), any real dtype.
        labels: shape (N,) or (N, 1), any real dtype.
        source: the name of this part in error messages.

    Returns:
        The images, of the same shape, and the labels, of shape (N,).

    Raises:
        DataError: shapes or dtypes do not fit, there are no images, images hold NaN or infinity, or labels are not
            class numbers.
    """
    if images.ndim < 2 or images.dtype.kind not in "biuf":
        raise DataError(f"{source}: images of {_describe(images)}, expected numbers of shape (N, rows, columns)")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "biuf":
        raise DataError(
            f"{source}: labels of {_describe(labels)}, expected numbers of shape (N,); of one-hot labels, "
            "labels.argmax(axis=1) makes them"
        )
    if len(images) != len(labels):
        raise DataError(f"{source}: {len(images)} images but {len(labels)} labels")
    if images.size == 0:
        raise DataError(f"{source}: no images, or images without pixels: {_describe(images)}")
    return check_images(images, source), _check_labels(labels, source)


def join_parts(train: Part, test: Part | None, path: str, notes: Sequence[str] = ()) -> Dataset:
    """Make a dataset of two parts that `check_part` returned.

    Args:
        train: the images and labels for training.
        test: those for testing, or None if there are none.
        path: the name of the dataset in error messages.
        notes: what was understood of its files.

    Returns:
        The dataset.

    Raises:
        DataError: the images of the two parts have different shapes or dtypes; or a label for testing is above all
            labels for training: no network can learn it, and one stray label would ask for as many outputs; or
            `check_classes` refuses the labels for training.
    """
    images, labels = train
    test_images, test_labels = test or (images[:0], labels[:0])
    if images.shape[1:] != test_images.shape[1:] or images.dtype != test_images.dtype:
        raise DataError(
            f"{path!r}: images for training of {_describe(images)} but for testing of {_describe(test_images)}"
        )
    highest, test_highest = labels.max(), test_labels.max(initial=0)
    if test_highest > highest:
        raise DataError(
            f"{path!r}: label {test_highest} for testing, but labels for training end at {highest}; "
            "check the labels, or train on every class that is tested"
        )
    check_classes(labels, repr(path))
    dataset = Dataset(images, labels, test_images, test_labels)
    dataset.notes = tuple(notes)
    return dataset


def check_images(images: NDArray[Any], source: str) -> NDArray[Any]:
    """Bring images to uint8 or float32, as `check_part` says, and raise a DataError if they hold NaN or infinity."""
    if images.dtype == np.uint8:
        return images
    lowest, highest = float(images.min()), float(images.max())
    largest = float(np.finfo(np.float32).max)
    if not (-largest <= lowest and highest <= largest):  # written so that NaN is refused, too
        raise DataError(
            f"{source}: images hold NaN, infinity, or values beyond float32; fill them in or leave them out"
        )
    if lowest >= 0 and highest <= 255 and (images.dtype.kind in "iu" or highest > 1):
        pixels = images.astype(np.uint8)
        if np.array_equal(pixels, images):
            return pixels
    return images.astype(np.float32, copy=False)


def _check_labels(labels: NDArray[Any], source: str) -> NDArray[np.int64]:
    if labels.size * 8 > MAX_BYTES:
        raise DataError(f"{source}: {labels.size} labels take more than the limit of {MAX_BYTES} bytes")
    lowest, highest = labels.min(), labels.max()
    if not (lowest >= 0 and highest < MAX_CLASSES):  # written so that NaN is refused, too
        raise DataError(
            f"{source}: labels from {lowest} to {highest}, expected class numbers, 0 to {MAX_CLASSES - 1}; "
            "number the classes from 0, or say which column of a CSV file holds them (train.py: --label-column)"
        )
    classes = labels.astype(np.int64)
    if not np.array_equal(classes, labels):
        raise DataError(
            f"{source}: label {labels[classes != labels][0]} is not a whole number; numbers to be predicted are no "
            "classes: divide their range into a few, or say which column of a CSV file holds the labels "
            "(train.py: --label-column)"
        )
    return classes


def _describe(array: NDArray[Any]) -> str:
    return f"shape {array.shape} and dtype {array.dtype}"
