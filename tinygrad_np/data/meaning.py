"""What the columns and values of a file mean: where its labels stand, what its pixels are to be divided by.

A table of numbers does not say what they are, and a network learns from anything. So each thing is known, guessed and
said to be a guess, or refused with what to do instead. The rules:

- Labels are in the column that the caller names. Else in the one whose header is in `LABEL_NAMES`. Else in the first or
  the last column: in the one that alone looks like labels, see `looks_like_labels`; if both do or none, nothing is
  guessed. A pixel at an edge hardly ever looks so: it is the same in nearly all images, or has many values.
- Columns named as in `ROW_NUMBER_NAMES`, and without a header a first column that rises from row to row or is 0, 1, 2,
  ... in another order, are numbers of the rows. They are left out, and that is said. Any other column that alone goes
  far beyond the rest is refused.
- A first line of numbers that is a header (0, 1, 2, ...) is refused: it would become an image.
- Labels are refused if they are all the same, or so many that they look like measurements.
- Pixels are divided by 255 or 65535 if they reach more than half of that, the range of a byte or of two; by 1 if they
  end at 1 or are fractions below 0, which are standardised; by their highest value else. The training images decide
  for all, because a number of its own for each part would make the same ink look different.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinygrad_np.arguments import integer
from tinygrad_np.errors import ArgumentError, DataError

__all__ = [
    "GUESS",
    "LABEL_NAMES",
    "Columns",
    "check_classes",
    "check_range",
    "describe_classes",
    "describe_pixels",
    "find_columns",
    "find_scale",
    "header_of_numbers",
    "scale_pixels",
]

GUESS = "guess"
LABEL_NAMES = frozenset(
    ["label", "labels", "class", "classes", "target", "targets", "y", "digit", "digits", "letter", "category"]
)
ROW_NUMBER_NAMES = re.compile(r"|unnamed: .*|id|index|row|image_?id", re.IGNORECASE)
MAX_GUESSED_CLASSES = 100
BYTE, TWO_BYTES = 255.0, 65535.0


class Columns(NamedTuple):
    """Which column of a table is what, counted from 0; all others are pixels.

    Attributes:
        labels: the column of the labels, or None.
        ignored: columns that are neither labels nor pixels.
        notes: what was understood, a sentence each.
    """

    labels: int | None
    ignored: tuple[int, ...]
    notes: tuple[str, ...]


def find_columns(
    table: NDArray[Any], names: Sequence[str] | None, labels: str | int | None, source: str, file: str
) -> Columns:
    """Find out which column of a CSV file's table is what, by the rules at the top of this file.

    Args:
        table: shape (rows, columns).
        names: the header, or None if there is none.
        labels: the column of the labels, as `load_csv` takes it.
        source: the name of the table in error messages.
        file: its name in the notes.

    Returns:
        The columns.

    Raises:
        ArgumentError: there is no column `labels`.
        DataError: which column holds the labels cannot be told, or a column is no pixel.
    """
    width = table.shape[1]
    if names is None:
        _check_rows(table, source)
    elif labels is None and (named := LABEL_NAMES.intersection(map(str.lower, names))):
        raise DataError(
            f"{source}: has labels in its column {min(named)!r}, so labels=None would make pixels of them; "
            "leave labels= out, or remove the column"
        )
    chosen = None if labels in (None, GUESS) else _column_named(labels, names, width, source)
    ignored = tuple(i for i in _row_numbers(table, names) if i != chosen)
    notes = [f"left out: {_place(i, width)} of {file}{_named(i, names)}, which numbers the rows" for i in ignored]
    if labels == GUESS:
        chosen, guessed = _find_labels(table, names, [i for i in range(width) if i not in ignored], source)
        hint = " (a guess from its values; --label-column changes it)" if guessed else ""
        notes.insert(0, f"labels: {_place(chosen, width)} of {file}{_named(chosen, names)}{hint}")
    elif chosen is not None:
        notes.insert(0, f"labels: {_place(chosen, width)} of {file}{_named(chosen, names)}, as asked for")
    _check_pixels(table, names, {*ignored, chosen}, source)
    return Columns(chosen, ignored, tuple(notes))


def looks_like_labels(column: NDArray[Any]) -> bool:
    """Whether the values are as class labels are.

    They are whole numbers from 0 or 1 up, with few gaps; at most 100 different ones, and much fewer than there are
    rows; and no class has more than nine tenths of the rows.
    """
    values, counts = np.unique(column, return_counts=True)
    low, high = float(values[0]), float(values[-1])
    return bool(
        1 < len(values) <= min(MAX_GUESSED_CLASSES, len(column) / 1.5)
        and low in (0, 1)
        and _whole(values)
        and len(values) >= 0.75 * (high - low + 1)
        and counts.max() <= 0.9 * len(column)
    )


def header_of_numbers(source: str) -> DataError:
    """The error for a first line like 0,1,2,..., as pandas numbers columns that have no names."""
    return DataError(
        f"{source}: line 1 looks like a header of numbers, which would become an image; name the columns "
        "(label,pixel0,pixel1,...), or remove the line"
    )


def check_classes(labels: NDArray[np.int64], source: str) -> None:
    """Refuse labels that cannot be classes to learn.

    Args:
        labels: shape (N,).
        source: the name of the dataset in error messages.

    Raises:
        DataError: all labels are the same; or there are more than 10 classes, and fewer than two images of each on
            average, or fewer than five with gaps between the classes, as the values of a regression have them.
    """
    counts = np.bincount(labels)
    classes, images = int(np.count_nonzero(counts)), len(labels)
    remedy = "check the labels, or say which column of a CSV file holds them (train.py: --label-column)"
    if classes == 1 and images > 1:
        raise DataError(f"{source}: all {images} labels are {labels[0]}, so there is nothing to learn; {remedy}")
    gaps = classes < 0.9 * (labels.max() - labels.min() + 1)
    if classes > 10 and images < (5 if gaps else 2) * classes:
        raise DataError(
            f"{source}: {classes} different labels, {labels.min()} to {labels.max()}, for {images} images look like "
            f"measurements or numbers of rows, not classes; {remedy}; classes are numbered from 0 without gaps"
        )


def describe_classes(labels: NDArray[np.int64]) -> str:
    """Say in a few words which classes there are, and of how many images.

    Args:
        labels: shape (N,).

    >>> describe_classes(np.array([1, 2, 2, 4]))
    '3 classes, 1 to 4, of 1 to 2 images (none of class 0, 3)'
    """
    counts = np.bincount(labels)
    present, absent = np.flatnonzero(counts), np.flatnonzero(counts == 0)
    few, many = counts[present].min(), counts[present].max()
    images = f"{few:,} images each" if few == many else f"{few:,} to {many:,} images"
    more = f" and {len(absent) - 5:,} more" if len(absent) > 5 else ""
    none = f" (none of class {', '.join(map(str, absent[:5]))}{more})" if len(absent) else ""
    return f"{len(present):,} classes, {present[0]} to {present[-1]}, of {images}{none}"


def find_scale(images: NDArray[Any]) -> tuple[float, bool]:
    """Find out what to divide images by, by the rules at the top of this file.

    Args:
        images: those for training, of any shape, uint8 or floating point.

    Returns:
        The divisor, and whether it is certain; else it is a guess.

    >>> find_scale(np.array([0, 254], np.uint8)), find_scale(np.array([0, 16], np.uint8))
    ((255.0, True), (16.0, False))
    """
    low, high, whole = _range(images)
    if not whole and (low < 0 or high <= 2):
        return 1.0, low >= -1 and 0.5 <= high <= 1
    if low < 0:
        return max(-low, high), False
    if BYTE / 2 < high <= BYTE:
        return BYTE, whole
    if TWO_BYTES / 2 < high <= TWO_BYTES:
        return TWO_BYTES, high == TWO_BYTES
    return (high, False) if high > 1 else (1.0, True)


def scale_pixels(images: NDArray[Any], divisor: float) -> NDArray[np.float32]:
    """Turn images into rows of network inputs, like `to_inputs`, but divide them by a number of your choice.

    Args:
        images: shape (N, ...), uint8 or float32.
        divisor: such as `find_scale` finds for the training images; take the same for all others.

    Returns:
        The inputs, float32 of shape (N, features). Images of float32 divided by 1 are not copied.

    Raises:
        ArgumentError: the divisor is not a finite number above 0.
    """
    if not 0 < divisor < np.inf:
        raise ArgumentError(f"divisor {divisor}; expected a finite number above 0")
    flat: NDArray[Any] = images.reshape(len(images), int(np.prod(images.shape[1:])))
    if divisor == 1 and flat.dtype == np.float32:
        return flat
    inputs: NDArray[np.float32] = np.divide(flat, np.float32(divisor), dtype=np.float32)
    return inputs


def describe_pixels(images: NDArray[Any], divisor: float, certain: bool = True) -> str:
    """Say what values the pixels have, and what they are divided by.

    >>> describe_pixels(np.array([0, 16], np.uint8), 16.0, certain=False)
    'whole numbers from 0 to 16, divided by 16 (a guess from their range; --scale changes it)'
    """
    low, high, whole = _range(images)
    hint = "" if certain else " (a guess from their range; --scale changes it)"
    divided = "taken as they are" if divisor == 1 else f"divided by {divisor:g}"
    return f"{'whole numbers' if whole else 'fractions'} from {low:g} to {high:g}, {divided}{hint}"


def check_range(images: NDArray[Any], low: float, high: float, divisor: float, source: str) -> str | None:
    """Check that images have about the range of values of those that a network was trained on.

    Args:
        images: others than those for training, not empty.
        low: the lowest value of those for training.
        high: the highest value of those for training.
        divisor: what all images are divided by.
        source: the name of the images in error messages.

    Returns:
        A sentence if some values, after the division, are beyond [0, 1] and beyond those for training; else None.

    Raises:
        DataError: the highest value is more than twice as high as for training, or less than an eighth: the network
            would see what it was not trained on. Standardised images, with values below 0, have no such bounds.
    """
    own_low, own_high, _ = _range(images)
    if low >= 0 and not high / 8 <= own_high <= 2 * high:
        raise DataError(
            f"{source}: pixels from {own_low:g} to {own_high:g}, but those of the training images go from {low:g} to "
            f"{high:g}; bring them into that range (evaluate.py and predict.py: --scale is what these are divided by)"
        )
    if own_low < min(low, 0) or own_high > max(high, divisor):
        return f"{source} go from {own_low / divisor:.3g} to {own_high / divisor:.3g} after that"
    return None


def _range(images: NDArray[Any]) -> tuple[float, float, bool]:
    """The lowest and the highest value, and whether all are whole numbers."""
    return float(images.min()), float(images.max()), _whole(images)


def _whole(values: NDArray[Any]) -> bool:
    return values.dtype.kind in "iu" or np.array_equal(np.rint(values), values)


def _column_named(labels: str | int | None, names: Sequence[str] | None, width: int, source: str) -> int:
    """The column that is asked for: by a name of the header, as "first" or "last", or by its number."""
    if names is not None and labels in names:
        if list(names).count(str(labels)) > 1:
            raise ArgumentError(f"{source}: several columns are named {labels!r}; give the number of one, from 0")
        return names.index(str(labels))
    try:
        number = {"first": 0, "last": -1}.get(labels) if isinstance(labels, str) else integer("labels", labels)
        number = int(labels) if number is None else number  # type: ignore[arg-type]
        return range(width)[number]
    except (ValueError, IndexError):
        header = f"its header is {_listed(names)}" if names else "it has no header"
        raise ArgumentError(
            f"{source}: there is no column {labels!r} for the labels: {header}, and it has {width} columns; "
            "give a name of the header, first, last, or a number from 0"
        ) from None


def _check_rows(table: NDArray[Any], source: str) -> None:
    """Refuse a table without a header if it holds NaN, or if its first row is a header of numbers.

    Such as 0, 1, 2, ..., as pandas numbers columns; or 0, 0.1, 0.2, ..., as it does if it took an image for a header.
    """
    if table.dtype.kind == "f" and not np.isfinite(table).all():
        raise DataError(f"{source}: holds NaN, infinity, or values beyond float32; fill them in or leave them out")
    first = table[0].astype(np.float64)
    numbered = len(first) >= 5 and first[0] in (0, 1) and np.all(np.diff(first) == 1)
    fractions = len(table) > 1 and not _whole(first) and _whole(table[1:])
    if numbered or fractions:
        raise header_of_numbers(source)


def _row_numbers(table: NDArray[Any], names: Sequence[str] | None) -> list[int]:
    if names is not None:
        return [i for i, name in enumerate(names) if ROW_NUMBER_NAMES.fullmatch(name)]
    first = table[:, 0].astype(np.float64)
    rises = np.all(np.diff(first) > 0) and _whole(first)
    counts = np.array_equal(np.sort(first) - first.min(), np.arange(len(first))) and first.min() in (0, 1)
    return [0] if len(first) >= 10 and (rises or counts) else []


def _find_labels(table: NDArray[Any], names: Sequence[str] | None, columns: list[int], source: str) -> tuple[int, bool]:
    """The column of the labels among these, and whether it is guessed."""
    ways = 'say which column holds the labels with labels="first" or labels="last" (train.py: --label-column first)'
    if names is not None:
        named = [i for i in columns if names[i].lower() in LABEL_NAMES]
        if len(named) == 1:
            return named[0], False
        if named:
            raise DataError(f"{source}: columns {_listed([names[i] for i in named])} may each hold the labels; {ways}")
        if all(re.search(r"\d$", names[i]) for i in columns):
            raise DataError(
                f"{source}: its header, {_listed(names)}, has no column of labels, so it can only be read with "
                f"labels=None; train on a file with labels; if there are some, {ways}"
            )
    if not columns:
        raise DataError(f"{source}: has no column of labels; expected label,pixel,pixel,...")
    ends = (columns[0], columns[-1])
    fitting = [i for i in ends if looks_like_labels(table[:, i])]
    if len(fitting) != 1:
        what = "both look" if fitting else "neither looks"
        raise DataError(
            f"{source}: the first column ({_summary(table[:, ends[0]])}) and the last ({_summary(table[:, ends[1]])}): "
            f"{what} like class labels; {ways}"
        )
    return fitting[0], True


def _check_pixels(table: NDArray[Any], names: Sequence[str] | None, others: set[int | None], source: str) -> None:
    """Refuse a column that alone goes beyond the range of a byte: an id, a measurement, labels of another kind."""
    if table.dtype == np.uint8:
        return
    highest = table.max(axis=0)
    pixels = [i for i in range(table.shape[1]) if i not in others]
    beyond = [i for i in pixels if highest[i] > BYTE]
    if len(pixels) > 10 and 0 < len(beyond) <= 2:
        place = f"{_place(beyond[0], table.shape[1])}{_named(beyond[0], names)}"
        raise DataError(
            f"{source}: {place} goes to {highest[beyond[0]]:g}, but nearly all others end at "
            f"{np.delete(highest[pixels], [pixels.index(i) for i in beyond]).max():g}, so it is no pixel; "
            "remove the column, or say that it holds the labels (train.py: --label-column)"
        )


def _summary(column: NDArray[Any]) -> str:
    values = np.unique(column)
    if len(values) == 1:
        return f"{values[0]:g} everywhere"
    kind = "whole numbers" if _whole(values) else "numbers"
    return f"{len(values):,} different {kind}, {values[0]:g} to {values[-1]:g}"


def _place(column: int, width: int) -> str:
    return {0: "first column", width - 1: "last column"}.get(column, f"column {column} (from 0)")


def _named(column: int, names: Sequence[str] | None) -> str:
    return "" if names is None else f", named {names[column][:40]!r}" if names[column] else ", without a name"


def _listed(names: Sequence[str] | None) -> str:
    shown = [repr(name[:40]) for name in names or ()]
    return ", ".join(shown if len(shown) <= 4 else [*shown[:2], "...", shown[-1]])
