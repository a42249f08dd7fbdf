"""From a dataset to the input of a training step: network inputs, validation splits and minibatches."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_np.arguments import Seed, integer, number, random_generator, require
from tinygrad_np.errors import ArgumentError, DTypeError

__all__ = ["batches", "split", "to_inputs"]


def to_inputs(images: NDArray[Any]) -> NDArray[np.float32]:
    """Turn images into rows of network inputs.

    uint8 is divided by 255, which brings it into [0, 1]. Floating point keeps its values, whatever their range: whoever
    made them has scaled them, and a scale guessed from the values would differ between training and test images.

    Args:
        images: shape (N, ...), uint8 or floating point.

    Returns:
        The inputs, float32 of shape (N, features).

    Raises:
        DTypeError: the images have another dtype.

    >>> to_inputs(np.array([[[0, 51], [102, 255]]], np.uint8))
    array([[0. , 0.2, 0.4, 1. ]], dtype=float32)
    """
    images = np.asarray(images)
    flat = images.reshape(len(images), math.prod(images.shape[1:]))
    if images.dtype == np.uint8:
        inputs: NDArray[np.float32] = np.divide(flat, 255, dtype=np.float32)
        return inputs
    if images.dtype.kind != "f":
        raise DTypeError(f"images of dtype {images.dtype}; expected uint8, or floating point scaled for the network")
    return flat.astype(np.float32, copy=False)


def split(count: int, fraction: float, generator: Seed) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split samples at random into those to train on and those held out.

    Args:
        count: the number of samples.
        fraction: the share of them to hold out, between 0 and 1.
        generator: where the randomness comes from; a seed always gives the same split.

    Returns:
        The indices of the samples to keep and of those held out, in random order.

    Raises:
        ArgumentError: `fraction` is not between 0 and 1, `count` is no integer, or one of the parts would be empty.

    >>> kept, held_out = split(10, 0.2, np.random.default_rng(0))
    >>> len(kept), len(held_out)
    (8, 2)
    """
    count, share = integer("count", count), number("fraction", fraction)
    held_out = round(count * share) if 0 < share < 1 else 0
    if not 0 < held_out < count:
        raise ArgumentError(f"a fraction of {fraction} of {count} samples leaves one part of the split empty")
    order = random_generator(generator).permutation(count)
    return order[held_out:], order[:held_out]


def batches(
    *arrays: NDArray[Any],
    batch_size: int,
    generator: Seed = None,
    drop_last: bool = False,
    part: tuple[int, int] = (0, 1),
) -> Iterator[tuple[NDArray[Any], ...]]:
    """Hand out the rows of arrays in minibatches, each row once.

    With a generator the rows come in the order of one permutation, drawn when the iteration starts, and every batch is
    a copy. Without one they come in order, and batches are views: writing into them writes into the arrays.

    Args:
        *arrays: arrays of shape (N, ...), such as inputs and labels; N at least 1, and the same for all.
        batch_size: the number of rows of a batch. The last one is smaller if `batch_size` does not divide N.
        generator: shuffles the rows; None keeps their order. A seed gives the same order at every call: to have another
            in each epoch, make one Generator for all of them.
        drop_last: leave out a last batch that is smaller, for example because `nn.BatchNorm1d` cannot train on one row.
        part: (i, n) is for the i-th of n processes, from 0, that share the work: it gets its part of every batch,
            if all shuffle by the same seed. The parts differ by a row at most, and are empty where a batch has too few.

    Returns:
        An iterator over the batches: tuples with the same rows of each array.

    Raises:
        ArgumentError: there is no array or no row, lengths differ, `batch_size` is below 1 or no integer, `drop_last`
            would leave nothing, or `part` is no such pair.

    >>> for numbers, letters in batches(np.arange(3), np.array(["a", "b", "c"]), batch_size=2):
    ...     print(numbers, letters)
    [0 1] ['a' 'b']
    [2] ['c']
    """
    lengths = {len(array) for array in arrays}
    if len(lengths) != 1 or 0 in lengths:
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise ArgumentError(f"batches of arrays of shapes [{shapes}]; expected arrays of one length, at least 1")
    batch_size = integer("batch_size", batch_size)
    if batch_size < 1:
        raise ArgumentError(f"batch_size {batch_size}; expected at least 1")
    count = lengths.pop()
    if drop_last and batch_size > count:
        raise ArgumentError(
            f"drop_last leaves nothing of {count} rows, for batch_size is {batch_size}; make it smaller"
        )
    index, parts = map(integer, ("part[0]", "part[1]"), part)
    require(0 <= index < parts, "part", part, "(i, n) with 0 <= i < n")
    starts = range(0, count - batch_size + 1 if drop_last else count, batch_size)
    return _iterate(arrays, starts, None if generator is None else random_generator(generator), index, parts)


def _iterate(
    arrays: tuple[NDArray[Any], ...], starts: range, generator: np.random.Generator | None, index: int, parts: int
) -> Iterator[tuple[NDArray[Any], ...]]:
    # A generator of its own: so `batches` raises when it is called, not when the first batch is asked for.
    order = None if generator is None else generator.permutation(len(arrays[0]))
    for start in starts:
        size = min(starts.step, len(arrays[0]) - start)
        rows = slice(start + size * index // parts, start + size * (index + 1) // parts)
        if order is None:
            yield tuple(array[rows] for array in arrays)
        else:
            yield tuple(array.take(order[rows], axis=0) for array in arrays)
