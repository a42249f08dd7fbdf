"""The dataset that every reader ends in, and the checks that its arrays pass before anyone trains on them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinygrad_np.data.files import MAX_BYTES
from tinygrad_np.errors import DataError

MAX_CLASSES = 2**16  # a stray label of a billion would ask for a network with a billion outputs

Part = tuple[NDArray[Any], NDArray[np.int64]]


class Dataset(NamedTuple):
    """Images with their class labels, for training and for testing.

    Images are uint8 (0 to 255) or float32 (as the file has them), of shape (N, rows, columns), (N, rows, columns,
    channels) or (N, features). Labels are int64 of shape (N,), from 0. Images of both parts have the same dtype, and
    the same shape but for N. A dataset that comes without a test part has test arrays of length 0.
    """

    train_images: NDArray[Any]
    train_labels: NDArray[np.int64]
    test_images: NDArray[Any]
    test_labels: NDArray[np.int64]

    @property
    def num_classes(self) -> int:
        """The highest label for training, plus one."""
        return int(self.train_labels.max()) + 1

    @property
    def num_features(self) -> int:
        """How many values make up one image."""
        return math.prod(self.train_images.shape[1:])


def check_part(images: NDArray[Any], labels: NDArray[Any], source: str) -> Part:
    """Images as uint8 or float32 and labels as int64, of one part of a dataset; `source` names it in errors.

    Images of shape (N, ...) that are not uint8 become so if all their values are whole numbers from 0 to 255; in
    floating point at least one of them must then be above 1, for else they are taken as scaled already. All other
    images become float32, with their values as they are. Labels may be of any real dtype, of shape (N,) or (N, 1).

    Raises DataError for shapes or dtypes that do not fit, no images, NaN or infinity, or labels that are not class
    numbers.
    """
    if images.ndim < 2 or images.dtype.kind not in "biuf":
        raise DataError(f"{source}: images of {_describe(images)}, expected numbers of shape (N, rows, columns)")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "biuf":
        raise DataError(f"{source}: labels of {_describe(labels)}, expected numbers of shape (N,)")
    if len(images) != len(labels):
        raise DataError(f"{source}: {len(images)} images but {len(labels)} labels")
    if images.size == 0:
        raise DataError(f"{source}: no images, or images without pixels: {_describe(images)}")
    return _check_images(images, source), _check_labels(labels, source)


def join_parts(train: Part, test: Part | None, path: str) -> Dataset:
    """The dataset of two parts from `check_part`, of which the test part may be absent; `path` names it in errors.

    Raises DataError if the images of the two have different shapes or dtypes, or if a label for testing is above all
    for training: no network can learn it, and one stray label would ask for a network with that many outputs.
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
    return Dataset(images, labels, test_images, test_labels)


def _check_images(images: NDArray[Any], source: str) -> NDArray[Any]:
    if images.dtype == np.uint8:
        return images
    lowest, highest = float(images.min()), float(images.max())
    largest = float(np.finfo(np.float32).max)
    if not (-largest <= lowest and highest <= largest):  # in this form it is true of NaN, too
        raise DataError(f"{source}: images hold NaN, infinity, or values beyond float32")
    if lowest >= 0 and highest <= 255 and (images.dtype.kind in "iu" or highest > 1):
        pixels = images.astype(np.uint8)
        if np.array_equal(pixels, images):
            return pixels
    return images.astype(np.float32, copy=False)


def _check_labels(labels: NDArray[Any], source: str) -> NDArray[np.int64]:
    if labels.size * 8 > MAX_BYTES:
        raise DataError(f"{source}: {labels.size} labels take more than the limit of {MAX_BYTES} bytes")
    lowest, highest = labels.min(), labels.max()
    if not (lowest >= 0 and highest < MAX_CLASSES):  # in this form it is true of NaN, too
        raise DataError(f"{source}: labels from {lowest} to {highest}, expected class numbers, 0 to {MAX_CLASSES - 1}")
    classes = labels.astype(np.int64)
    if not np.array_equal(classes, labels):
        raise DataError(f"{source}: label {labels[classes != labels][0]} is not a whole number")
    return classes


def _describe(array: NDArray[Any]) -> str:
    return f"shape {array.shape} and dtype {array.dtype}"
