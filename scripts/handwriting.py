"""Bring pictures of handwritten digits into MNIST's form, and ask the network of a run about them.

MNIST's authors took digits in black and white, fitted them into 20 x 20 pixels with their aspect ratio kept, and put
them into 28 x 28 with their centre of mass in the middle (LeCun, Bottou, Bengio, Haffner: Gradient-based learning
applied to document recognition, Proceedings of the IEEE 86(11), 1998, section III.A). With a picture from a scanner, a
phone or a painting program, the ink has to be told from the paper first, whichever of the two is darker.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from training_run import Network, find_checkpoint, load_model, load_pixels

from tinygrad_np import data, functional, no_grad
from tinygrad_np.errors import ArgumentError, DataError

try:
    from PIL import Image, ImageFilter, ImageOps, UnidentifiedImageError
except ImportError as error:
    raise ArgumentError(f"Pillow is needed ({error}); to install it: python -m pip install Pillow") from error

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
MAX_BYTES = 128 * 10**6  # of a picture once decoded, such as 42 million pixels in color
LIGHT = 200  # of 255; ink that is darker is seen on white paper
LONGEST = 512  # pixels along the longer side; more do not help to find the ink
CELLS = 32  # along each side; the paper's brightness is found in each
STROKE = 11  # cells; strokes are narrower, even in a picture cropped to the digit
CONTRAST = 20  # of 255, between ink and paper; less is noise on empty paper
GAPS = 96  # along the longer side; marks less than one of them apart count as connected
SHEET = 0.9  # of the rectangle around a sheet is sheet; of that around a 0 and its hole it is less
BORDER = 0.05  # of the side of the picture where something else than the sheet lies; more of it is sheet
ANGLES = np.radians(np.arange(-45, 45, 3))  # by which a sheet may be turned
TILT = 0.1  # the steepest slope of ruled lines
EDGE = 0.4  # of the picture's edge; a digit does not cover more
CROSSINGS = 5  # of the picture's edge; a digit that fills the picture has hardly more
PIECE = 0.1  # of the largest piece; anything smaller is a speck
FINE = 8  # pixels for each of MNIST's, while the digit is still black and white
PEN = 2  # pixels of MNIST, the thinnest pen: 99% of its digits have strokes at least this wide

Ink = NDArray[Any]  # float32, or bool
Notice = Callable[[str], None]


def load_network(path: Path) -> Network:
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


def probabilities(network: Network, image: NDArray[np.uint8], full_ink: float = 1.0) -> NDArray[Any]:
    """The probability of each class, shape (classes,), for an image of shape (28, 28)."""
    with no_grad():
        return functional.softmax(network(to_inputs(image, full_ink)))[0].numpy()


def read(path: Path, notice: Notice = warnings.warn) -> NDArray[np.uint8]:
    """The digit in a file, in the form that `to_mnist` gives it. `notice` is told each guess, as there.

    Raises a DataError, which names the file, if it is none of `FORMATS`, damaged, too large, or shows no digit.
    """
    guesses: list[str] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about tags that are not used here
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            # Given the path of a TIFF, Pillow maps the file into memory, and garbles pictures that are to be turned.
            with open(path, "rb") as file, Image.open(file, formats=FORMATS) as picture:
                if "progressive" not in picture.info:  # a progressive JPEG is held in full size, whatever is asked for
                    picture.draft("L", (LONGEST, LONGEST))  # of another JPEG, decodes no more than this
                require_room_for(picture)
                if getattr(picture, "is_animated", False):
                    guesses.append("it has several pictures; the first one is read")
                image = to_mnist(picture, guesses.append)
        for guess in guesses:
            notice(guess)
        return image
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


def require_room_for(picture: Image.Image) -> None:
    """Raise a DataError if the picture, decoded, takes more than MAX_BYTES. A file of a few kB may hold such a one."""
    width, height = picture.size
    level = 4 if picture.mode in ("I", "F") else 2 if picture.mode.startswith("I;16") else 1
    channels = len(picture.getbands())
    if width * height * channels * level > MAX_BYTES:
        raise DataError(
            f"{width} x {height} pixels of {channels * level} bytes take more than the limit of {MAX_BYTES:,} bytes; "
            "scale it down or crop it"
        )


def to_mnist(picture: Image.Image, notice: Notice = warnings.warn) -> NDArray[np.uint8]:
    """The digit in a picture, as an MNIST image: shape (28, 28), uint8, ink 255 on 0.

    The picture may have any size and mode, be dark on light or light on dark, and be lit unevenly. `notice` is called
    with a sentence for each guess about what the picture shows. Raises a DataError if there is nothing on it.
    """
    return fit(find_ink(only_the_sheet(to_gray(picture, notice), notice), notice))


def to_gray(picture: Image.Image, notice: Notice) -> Image.Image:
    """The picture upright, without transparency, in 256 levels, and no larger than is of use."""
    if picture.mode[0] in "IF":
        gray = in_256_levels(picture, notice)
    elif picture.has_transparency_data:
        colors = picture.convert("RGBA")
        colors.thumbnail((LONGEST, LONGEST))
        gray = on_paper(colors, notice)
    else:
        gray = picture.convert("L")
    gray.thumbnail((LONGEST, LONGEST))
    gray.info = picture.info  # it may say how the picture is to be turned
    return ImageOps.exif_transpose(gray)


def in_256_levels(picture: Image.Image, notice: Notice) -> Image.Image:
    """A picture with levels of more than 8 bits in 256 levels. Cameras and scanners leave the upper bits empty."""
    levels = np.asarray(picture)
    low, high = float(levels.min()), float(levels.max())
    if not 0 <= low <= high < 2**31:
        raise DataError(f"its levels reach from {low:g} to {high:g}; save it with levels of 8 or 16 bits")
    if picture.mode == "F" and high <= 1:
        white = 1
        notice("its levels are fractions; 1 is taken for white")
    else:
        bits = next(bits for bits in (8, 10, 12, 14, 16, 31) if high < 2**bits)
        white = 2**bits - 1
        if bits != 16:
            notice(f"its brightest level is {high:g}, so its levels are taken for numbers of {bits} bits")
    scaled = np.empty(levels.shape, np.uint8)
    np.multiply(levels, np.float32(255 / white), out=scaled, casting="unsafe")
    return Image.fromarray(scaled)


def on_paper(colors: Image.Image, notice: Notice) -> Image.Image:
    """A picture with transparency as it looks on white paper, or on black if it would not be seen on white."""
    shown = np.asarray(colors.getchannel("A")) > 127
    levels = np.asarray(colors.convert("L"))[shown]
    paper = "white"
    if not shown.all() and levels.size and np.percentile(levels, 1) > LIGHT:
        paper = "black"
        notice("what is not transparent is light, and taken for light ink on dark paper")
    return Image.alpha_composite(Image.new("RGBA", colors.size, paper), colors).convert("L")


def only_the_sheet(gray: Image.Image, notice: Notice) -> Image.Image:
    """The picture with its sheet's color all over, where a sheet with marks lies on something else.

    This is how a scanner's dark border, or the table below a sheet, is left out. A sheet is a large part of one
    brightness, without gaps except for its marks, and nearly a rectangle. Raises a DataError if such a sheet has no
    marks except for those that are connected with what lies around it.
    """
    cells = gray.copy()
    cells.thumbnail((GAPS, GAPS), Image.Resampling.BOX)
    levels = np.asarray(cells, np.float32)
    light = levels > otsu_threshold(levels)
    for bright in (light, ~light):
        sheet = filled(largest_part(bright))
        if min(side.mean() for side in (sheet[0], sheet[-1], sheet[:, 0], sheet[:, -1])) > BORDER or not sheet.any():
            continue  # what is around it has no side of the picture for itself: it is a mark that reaches the edge
        height, width = smallest_rectangle(sheet)
        shape = Image.fromarray(sheet).convert("L")
        inner, outer = (
            np.asarray(shape.filter(kind(5))) > 0 for kind in (ImageFilter.MinFilter, ImageFilter.MaxFilter)
        )
        inside = np.median(levels[sheet])
        if (
            np.count_nonzero(sheet) < SHEET * height * width
            or 8 * height * width < sheet.size
            or abs(inside - np.median(levels[~sheet])) < 4 * CONTRAST
            or abs(np.median(levels[sheet & ~inner]) - np.median(levels[outer & ~sheet])) < 3 * CONTRAST  # a shadow
        ):
            continue
        if np.count_nonzero(sheet & ~bright) > height * width / 200:
            notice("what lies around the sheet is taken for a border or a table, and left out")
            kept = shape.filter(ImageFilter.MinFilter(3)).resize(gray.size)
            return Image.composite(gray, Image.new("L", gray.size, round(float(inside))), kept)
        if max(height, width) < 2 * min(height, width):  # or it is a stroke, as of a 1
            raise DataError("there is nothing on its sheet but what is connected with its border; crop it to the digit")
    return gray


def filled(marks: Ink) -> Ink:
    """The marks and whatever they enclose."""
    around = connected_parts(np.pad(~marks, 1, constant_values=True))
    return (around != around[0, 0])[1:-1, 1:-1]


def largest_part(marks: Ink) -> Ink:
    """The largest of the connected parts."""
    parts = connected_parts(marks)
    return parts == np.argmax(np.bincount(parts[marks], minlength=1)) if marks.any() else marks


def smallest_rectangle(marks: Ink) -> tuple[float, float]:
    """The sides of the smallest rectangle around the marks, which may be tilted."""
    y, x = np.nonzero(marks)
    turned = [(y * np.cos(angle) - x * np.sin(angle), x * np.cos(angle) + y * np.sin(angle)) for angle in ANGLES]
    return min(((np.ptp(down) + 1, np.ptp(across) + 1) for down, across in turned), key=np.prod)


def find_ink(gray: Image.Image, notice: Notice) -> Ink:
    """How much ink is on each pixel, from 0 to 1; more than 0.5 is a mark. Specks and ruled lines are left out.

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
    lines = ruled_lines(marks) | ruled_lines(marks.T).T
    if np.count_nonzero(marks & ~lines) > np.count_nonzero(lines) / 50 > 0:  # or they are the digit, a 1
        notice("straight lines from edge to edge are taken for the paper's ruling, and left out")
        marks = marks & ~lines
    marks = without_specks(marks)
    edge = np.concatenate([marks[0], marks[:-1, -1], marks[-1, ::-1], marks[::-1, 0]])
    if edge.mean() > EDGE or np.count_nonzero(edge & ~np.roll(edge, 1)) > CROSSINGS:
        raise DataError("what is on it reaches beyond its edge in many places; crop it to the digit, without lines")
    return np.where(marks, ink / (2 * threshold), 0).clip(0, 1)


def ruled_lines(marks: Ink) -> Ink:
    """The marks that are lines of ruled paper: thin, straight, and from the left edge to the right one.

    Where a stroke crosses a line, the mark is taller than the line is thick, and stays. The lines are parallel, and
    may be tilted: they are looked for at each of some slopes (Hough transform).
    """
    height, width = marks.shape
    down = np.pad(marks, ((1, 1), (0, 0))).astype(np.int8)
    changes = np.diff(down, axis=0).T
    starts, ends = np.argwhere(changes > 0), np.argwhere(changes < 0)  # of the runs in each column
    x, top, bottom = starts[:, 0], starts[:, 1], ends[:, 1]
    tall = bottom - top
    thin = tall <= max(2, max(marks.shape) // 40)
    middle = (top + bottom) / 2
    found = np.zeros_like(marks)
    best: Any = None
    for slope in np.linspace(-TILT, TILT, 41):
        place = middle - slope * (x - width / 2)
        counts = np.bincount((place[thin] + width).astype(int), minlength=height + 2 * width)
        if best is None or (counts.astype(float) ** 2).sum() > best[0]:
            best = (counts.astype(float) ** 2).sum(), place, counts
    _, place, counts = best
    near = np.convolve(counts, np.ones(3, int), "same")
    edges = []
    while near.max() > width / 2:
        at = int(near.argmax())
        near[max(at - 3, 0) : at + 4] = 0
        on = thin & (np.abs(place - (at + 0.5 - width)) <= 2.5)
        tenth = width // 10
        columns = np.bincount(x[on], minlength=width) > 0
        if min(columns[:tenth].sum(), columns[-tenth:].sum()) < 0.6 * tenth:
            continue
        on &= tall <= 1.6 * np.median(tall[on]) + 1
        edges.append(min(at - width, height - (at - width)) > height / 20)
        for column, first, end in zip(x[on], top[on], bottom[on], strict=True):
            found[first:end, column] = True
    return found if any(edges) else np.zeros_like(marks)  # one at the very edge may be part of a digit that fills all


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
