"""Pictures of handwritten digits in the form that MNIST has, and what the network of a run says of them.

MNIST's authors took digits in black and white, fitted them into 20 x 20 pixels with their aspect ratio kept, and put
them into 28 x 28 so that the centre of mass is in the middle (LeCun, Bottou, Bengio, Haffner: Gradient-based learning
applied to document recognition, Proceedings of the IEEE 86(11), 1998, section III.A). A picture from a scanner, a
phone or a painting program needs more before that: the ink has to be told from the paper, whichever is the darker.
"""

from __future__ import annotations

import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from training_run import load_model

from models.mnist_mlp import MnistMLP
from tinygrad_np import data, functional, no_grad
from tinygrad_np.errors import ArgumentError, DataError

try:
    from PIL import Image, ImageFilter, ImageOps, UnidentifiedImageError
except ImportError as error:
    raise ArgumentError(f"Pillow is needed ({error}); python -m pip install -e '.[images]' installs it") from error

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
LONGEST = 512  # pixels of the longer side; more do not help to find the ink
CELLS = 32  # along each side, in which the paper's level is found
STROKE = 11  # cells; even in a picture cropped to the digit, strokes are narrower
CONTRAST = 20  # levels of 255 between ink and paper; less is noise on empty paper
GAPS = 96  # along the longer side; marks that are less than one of them apart count as connected
PIECE = 0.1  # of the largest piece; what is smaller is a speck
FINE = 8  # pixels to one of MNIST's while the digit is still black and white
PEN = 2  # the thinnest pen, in pixels of MNIST: 99% of its digits have strokes of this width or more

Ink = NDArray[Any]  # float32, or bool


def load_network(folder: Path) -> MnistMLP:
    """The network of a run at its best, ready to be asked.

    Raises CheckpointError if there is none, and ArgumentError if it is not for images of MNIST's size.
    """
    network, sizes = load_model(folder / "best.safetensors")
    if sizes[0] != 28 * 28:
        raise ArgumentError(f"the network in {folder} takes {sizes[0]} pixels, and not the 28 x 28 of MNIST's digits")
    return network.eval()


def probabilities(network: MnistMLP, image: NDArray[np.uint8]) -> NDArray[Any]:
    """What the network gives an image of shape (28, 28) for each class; they add up to 1."""
    with no_grad():
        return functional.softmax(network(data.to_inputs(image[np.newaxis])))[0].numpy()


def read(path: Path) -> NDArray[np.uint8]:
    """The digit in a file, as `to_mnist` gives it.

    Raises DataError, which names the file, if it is none of `FORMATS`, damaged, too large, or shows no digit.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tags that are not read here
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as picture:
                picture.draft("L", (LONGEST, LONGEST))  # no more than this is decoded of a JPEG
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

    The picture is of any size and mode, dark on light or light on dark; light may fall on it unevenly. Raises DataError
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

    The paper's level is found by closing, which fills what is darker and narrower than the widest of strokes and leaves
    the rest: light that fades across the picture, and the edge of a shadow. Raises DataError if there are no marks.
    """
    cells = gray.resize((CELLS, CELLS), Image.Resampling.BOX)
    contrast = np.asarray(cells, np.float32) - np.asarray(cells.filter(ImageFilter.BoxBlur(CELLS // 4)), np.float32)
    if np.sum(contrast**3) > 0:  # what stands out most from its surroundings is lighter than them
        gray, cells = ImageOps.invert(gray), ImageOps.invert(cells)
    # Beyond the edges the levels go on as within, or else a slope that rises from an edge would be filled, too.
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
    """The threshold that parts the values into two classes with the most variance between them.

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
    """The marks of the digit: not those that are small, nor those that reach in from beyond the picture's edge.

    A digit that fills the picture may touch the edge itself. If there is next to nothing else, it is the digit.
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
    """A number above 0 for each mark, the same for all that are connected (by sides or corners), and 0 elsewhere."""
    marks = np.pad(marks, 1)
    parts = np.arange(marks.size).reshape(marks.shape) * marks
    while True:
        highest = parts
        for axis in (0, 1):
            highest = np.maximum.reduce([np.roll(highest, shift, axis) for shift in (-1, 0, 1)])
        highest = highest.ravel()[highest] * marks  # a number is a place: take on the number that this one has by now
        if np.array_equal(highest, parts):
            return parts[1:-1, 1:-1]
        parts = highest


def fit(ink: Ink) -> NDArray[np.uint8]:
    """Ink, of 0 to 1 in any shape but not all of it 0, with the size and at the place that digits have in MNIST."""
    ink = crop(ink)
    if max(ink.shape) > 20 * FINE:  # hairlines are not to fade away
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
    """The rectangle around the marks."""
    rows, columns = (np.flatnonzero((ink > 0.5).any(axis=axis)) for axis in (1, 0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def resize(ink: Ink, longest: int) -> Ink:
    """The same with this many pixels along the longer side."""
    picture = Image.fromarray(ink.astype(np.float32))
    width, height = (max(1, round(length * longest / max(picture.size))) for length in picture.size)
    return np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC))


def thicken(marks: Ink) -> Ink:
    """Marks of FINE pixels to one of MNIST's, as if drawn with a pen that is not too thin."""
    marks = np.pad(marks, PEN * FINE)
    inner = marks[1:-1, 1:-1] & marks[:-2, 1:-1] & marks[2:, 1:-1] & marks[1:-1, :-2] & marks[1:-1, 2:]
    area = np.count_nonzero(marks)
    outline = area - np.count_nonzero(inner)
    grow = round((PEN * FINE - 2 * area / outline) / 2)  # a long stroke has an area of its outline times half its width
    if grow <= 0:
        return marks
    return np.asarray(Image.fromarray(marks).convert("L").filter(ImageFilter.MaxFilter(2 * grow + 1))) > 0
