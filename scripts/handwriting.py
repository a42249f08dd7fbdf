"""Bring pictures of handwritten digits into MNIST's form, and ask the network of a run about them.

MNIST's authors took digits in black and white, fitted them into 20 x 20 pixels with their aspect ratio kept, and put
them into 28 x 28 with their centre of mass in the middle (LeCun, Bottou, Bengio, Haffner: Gradient-based learning
applied to document recognition, Proceedings of the IEEE 86(11), 1998, section III.A). With a picture from a scanner, a
phone or a painting program, the ink has to be told from the paper first, whichever of the two is darker.
"""

from __future__ import annotations

import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from training_run import find_checkpoint, load_model, load_pixels

from models.mnist_mlp import MnistMLP
from tinygrad_np import data, functional, no_grad
from tinygrad_np.errors import ArgumentError, DataError

try:
    from PIL import Image, ImageFilter, ImageOps, UnidentifiedImageError
except ImportError as error:
    raise ArgumentError(f"Pillow is needed ({error}); python -m pip install -e '.[images]' installs it") from error

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
LONGEST = 512  # pixels along the longer side; more do not help to find the ink
CELLS = 32  # along each side; the paper's brightness is found in each
STROKE = 11  # cells; strokes are narrower, even in a picture cropped to the digit
CONTRAST = 20  # of 255, between ink and paper; less is noise on empty paper
GAPS = 96  # along the longer side; marks less than one of them apart count as connected
PIECE = 0.1  # of the largest piece; anything smaller is a speck
FINE = 8  # pixels for each of MNIST's, while the digit is still black and white
PEN = 2  # pixels of MNIST, the thinnest pen: 99% of its digits have strokes at least this wide

Ink = NDArray[Any]  # float32, or bool


def load_network(path: Path) -> MnistMLP:
    """The network of a run, given its folder or a checkpoint, in evaluation mode.

    Raises an ArgumentError if `path` is neither, or the network does not take images of MNIST's size.
    """
    network, sizes = load_model(find_checkpoint(path))
    if sizes[0] != 28 * 28:
        raise ArgumentError(f"the network in {path} takes {sizes[0]} pixels, not the 28 x 28 of MNIST's digits")
    return network.eval()


def load_full_ink(path: Path) -> float:
    """The input that full ink becomes for the network of a run. Raises an ArgumentError if that is not known."""
    pixels = load_pixels(find_checkpoint(path))
    return pixels.full_ink() if pixels else 1.0


def to_inputs(image: NDArray[np.uint8], full_ink: float = 1.0) -> NDArray[np.float32]:
    """An image of shape (28, 28) as the inputs of a network, shape (1, 784)."""
    return data.to_inputs(image[np.newaxis]) * np.float32(full_ink)


def probabilities(network: MnistMLP, image: NDArray[np.uint8], full_ink: float = 1.0) -> NDArray[Any]:
    """The probability of each class, shape (classes,), for an image of shape (28, 28)."""
    with no_grad():
        return functional.softmax(network(to_inputs(image, full_ink)))[0].numpy()


def read(path: Path) -> NDArray[np.uint8]:
    """The digit in a file, in the form that `to_mnist` gives it.

    Raises a DataError, which names the file, if it is none of `FORMATS`, damaged, too large, or shows no digit.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about tags that are not used here
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as picture:
                picture.draft("L", (LONGEST, LONGEST))  # of a JPEG, decodes no more than this
                return to_mnist(picture)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        problem = f"it has more than {Image.MAX_IMAGE_PIXELS:,} pixels; scale it down or crop it"
    except UnidentifiedImageError:
        problem = "it is no picture of a known kind; save it as PNG or JPEG"
    except OSError as error:
        problem = error.strerror or str(error)
    except DataError as error:
        problem = str(error)
    except (ValueError, SyntaxError, TypeError, LookupError, EOFError, struct.error) as error:
        problem = f"it is damaged: {error}"
    raise DataError(f"{path} cannot be read as a digit: {problem}")


def to_mnist(picture: Image.Image) -> NDArray[np.uint8]:
    """The digit in a picture, as an MNIST image: shape (28, 28), uint8, ink 255 on 0.

    The picture may have any size and mode, be dark on light or light on dark, and be lit unevenly. Raises a DataError
    if there is nothing on it.
    """
    return fit(find_ink(to_gray(picture)))


def to_gray(picture: Image.Image) -> Image.Image:
    """The picture upright, on white where it is transparent, in 256 levels, and no larger than is of use."""
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I"):  # up to 65535
        picture = Image.fromarray(np.asarray(picture) / np.float32(257))
    elif picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    gray = picture.convert("L")
    gray.thumbnail((LONGEST, LONGEST))
    return gray


def find_ink(gray: Image.Image) -> Ink:
    """How much ink is on each pixel, from 0 to 1; more than 0.5 is a mark. Specks are left out.

    The paper's brightness is found by morphological closing. This fills anything darker than its surroundings and
    narrower than the widest stroke, and keeps the rest: light that fades across the picture, and the edge of a shadow.
    Raises a DataError if there are no marks.
    """
    cells = gray.resize((CELLS, CELLS), Image.Resampling.BOX)
    contrast = np.asarray(cells, np.float32) - np.asarray(cells.filter(ImageFilter.BoxBlur(CELLS // 4)), np.float32)
    if np.sum(contrast**3) > 0:  # what stands out most is lighter than its surroundings
        gray, cells = ImageOps.invert(gray), ImageOps.invert(cells)
    # Continue the brightness beyond the edges, or closing would also fill a slope that rises from an edge.
    wide = np.pad(np.asarray(cells, np.int16), STROKE, mode="reflect", reflect_type="odd").clip(0, 255)
    closed = Image.fromarray(wide.astype(np.uint8))
    for step in (ImageFilter.MaxFilter, ImageFilter.MinFilter):
        closed = closed.filter(step(STROKE))
    paper = ImageOps.crop(closed, STROKE).convert("F").resize(gray.size)
    ink = (np.asarray(paper) - np.asarray(gray, np.float32)).clip(0)
    threshold = otsu_threshold(ink)
    marks = ink > threshold
    if marks.all() or not marks.any() or ink[marks].mean() - ink[~marks].mean() < CONTRAST:
        raise DataError("there is nothing on it, or too faintly")
    return np.where(without_specks(marks), ink / (2 * threshold), 0).clip(0, 1)


def otsu_threshold(values: Ink) -> float:
    """The threshold that splits the values into two classes with the most variance between them.

    Otsu: A threshold selection method from gray-level histograms. IEEE Transactions on Systems, Man, and Cybernetics
    9(1), 1979, equation 18.
    """
    counts, edges = np.histogram(values, bins=256)
    below = np.cumsum(counts)[:-1]
    sums = np.cumsum(counts * (edges[:-1] + edges[1:]) / 2)
    above = values.size - below
    difference = sums[:-1] / below.clip(1) - (sums[-1] - sums[:-1]) / above.clip(1)
    return float(edges[1 + np.argmax(below * above * difference**2)])


def without_specks(marks: Ink) -> Ink:
    """The marks of the digit, without small ones and without those that reach in from beyond the picture's edge.

    A digit that fills the picture may touch the edge itself. So if there is next to nothing else, it is the digit.
    """
    cell = -(-max(marks.shape) // GAPS)
    height, width = marks.shape
    padded = np.pad(marks, ((0, -height % cell), (0, -width % cell)))
    counts = padded.reshape(padded.shape[0] // cell, cell, -1, cell).sum(axis=(1, 3))
    parts = connected_parts(counts > 0)
    sizes = np.bincount(parts.ravel(), counts.ravel())
    inside = sizes.copy()
    inside[np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])] = 0
    if inside.max() > PIECE * sizes.max():
        sizes = inside
    kept = (sizes > PIECE * sizes.max())[parts]
    return marks & kept.repeat(cell, axis=0).repeat(cell, axis=1)[:height, :width]


def connected_parts(marks: Ink) -> NDArray[np.int64]:
    """A positive number for each mark, equal for marks connected by sides or corners, and 0 elsewhere."""
    marks = np.pad(marks, 1)
    parts = np.arange(marks.size).reshape(marks.shape) * marks
    while True:
        highest = parts
        for axis in (0, 1):
            highest = np.maximum.reduce([np.roll(highest, shift, axis) for shift in (-1, 0, 1)])
        highest = highest.ravel()[highest] * marks  # a number is also a place: take the number found there
        if np.array_equal(highest, parts):
            return parts[1:-1, 1:-1]
        parts = highest


def fit(ink: Ink) -> NDArray[np.uint8]:
    """Give ink (0 to 1, any shape, not all 0) the size and the place of a digit in MNIST; uint8 of shape (28, 28)."""
    ink = crop(ink)
    if max(ink.shape) > 20 * FINE:  # or hairlines would fade away
        ink = np.asarray(Image.fromarray(ink).filter(ImageFilter.MaxFilter(3)))
    marks = thicken(resize(ink, 20 * FINE) > 0.5)
    small = resize(crop(marks), 20).clip(0)
    image = np.zeros((28, 28), np.uint8)
    place = []
    for axis in (0, 1):
        length = small.shape[axis]
        center = np.average(np.arange(length), weights=small.sum(axis=1 - axis))
        start = int(np.clip(round(14 - center), 0, 28 - length))
        place.append(slice(start, start + length))
    image[tuple(place)] = np.rint(small * (255 / small.max()))
    return image


def crop(ink: Ink) -> Ink:
    """Cut out the rectangle around the marks."""
    rows, columns = (np.flatnonzero((ink > 0.5).any(axis=axis)) for axis in (1, 0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def resize(ink: Ink, longest: int) -> Ink:
    """Scale the ink to this many pixels along the longer side."""
    picture = Image.fromarray(ink.astype(np.float32))
    width, height = (max(1, round(length * longest / max(picture.size))) for length in picture.size)
    return np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC))


def thicken(marks: Ink) -> Ink:
    """Thicken the marks, in FINE pixels for each of MNIST's, as if drawn with a pen of width PEN or more."""
    marks = np.pad(marks, PEN * FINE)
    inner = marks[1:-1, 1:-1] & marks[:-2, 1:-1] & marks[2:, 1:-1] & marks[1:-1, :-2] & marks[1:-1, 2:]
    area = np.count_nonzero(marks)
    outline = area - np.count_nonzero(inner)
    grow = round((PEN * FINE - 2 * area / outline) / 2)  # a long stroke's area is its outline times half its width
    if grow <= 0:
        return marks
    return np.asarray(Image.fromarray(marks).convert("L").filter(ImageFilter.MaxFilter(2 * grow + 1))) > 0
