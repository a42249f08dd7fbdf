"""Distorting images at random: the same digits, as if they had been written once more.

A network that sees new images in every epoch cannot learn them by heart. On handwritten digits this is worth more than
the choice of the network (Simard et al. 2003; Ciresan et al. 2010).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_np.arguments import Seed, random_generator
from tinygrad_np.errors import ArgumentError, ShapeError

__all__ = ["distort"]

_Floats = NDArray[np.float32]

BLOCK = 16
"""Images distorted at a time: enough to spread the cost of the calls, few enough for their arrays to stay in the cache.
Measured on MNIST, four times as many are slower by a quarter."""


def distort(
    images: NDArray[Any],
    generator: Seed,
    strength: float = 1.0,
    *,
    rotation: float = 15.0,
    scaling: float = 0.15,
    shear: float = 0.15,
    translation: float = 1.0,
    elastic: float = 37.0,
    smoothing: float = 5.0,
) -> _Floats:
    """Distort each image by an affine map and an elastic deformation of its own, both drawn at random.

    The pixel at p, measured from the middle of the image, takes the image's value at A p + t + d(p), interpolated
    between the four pixels around that place; outside the image all values are 0. A rotates, scales each axis and
    shears, t shifts, and d is the elastic deformation: noise for each pixel and axis, smoothed by a Gaussian.

    The method is that of Simard, Steinkraus & Platt 2003, "Best Practices for Convolutional Neural Networks Applied to
    Visual Document Analysis", section 2; the defaults are about those of Ciresan et al. 2010, "Deep, Big, Simple Neural
    Nets for Handwritten Digit Recognition", section 3.

    Args:
        images: shape (N, height, width), uint8 or floating point, 0 in the background.
        generator: where the randomness comes from; a seed always gives the same distortions.
        strength: multiplies all the magnitudes below; at least 0. At 0 the images keep their values.
        rotation: the largest angle, in degrees.
        scaling: the largest change of the width, as a share of the width; the same for the height.
        shear: the largest shift of a row, as a share of its distance to the middle.
        translation: the largest shift along each axis, in pixels.
        elastic: multiplies the smoothed noise, which is uniform from -1 to 1 before; "alpha" in the papers.
        smoothing: the standard deviation of the Gaussian, in pixels; "sigma" in the papers.

    Returns:
        The distorted images: the same shape and the same scale of values, float32.

    Raises:
        ShapeError: the images do not have shape (N, height, width).
        ArgumentError: the strength is below 0 or not finite, or the smoothing is not above 0.

    >>> digits = np.zeros((2, 28, 28), np.uint8)
    >>> digits[:, 4:24, 13:15] = 255
    >>> first, second = distort(digits, np.random.default_rng(0))
    >>> np.array_equal(first, second)
    False
    """
    if images.ndim != 3:
        raise ShapeError(f"images of shape {images.shape} cannot be distorted; expected (N, height, width)")
    if not 0 <= strength < math.inf:
        raise ArgumentError(f"strength {strength}; expected a finite number, at least 0")
    if not smoothing > 0:
        raise ArgumentError(f"smoothing {smoothing}; expected a number of pixels above 0")
    _, height, width = images.shape
    middle = np.array([(height - 1) / 2, (width - 1) / 2])
    # A column for each pixel: its place, and a 1 for the shift of the affine map.
    pixels = np.ones((3, height * width), np.float32)
    pixels[:2] = np.indices((height, width)).reshape(2, -1) - middle[:, None]
    down = _gaussian(height, smoothing) * np.float32(
        2 * strength * elastic
    )  # 2, because the noise goes from -0.5 to 0.5
    across = _gaussian(width, smoothing)

    random = random_generator(generator)
    distorted = np.empty(images.shape, np.float32)
    for start in range(0, len(images), BLOCK):
        block = images[start : start + BLOCK]
        n = len(block)
        angle, high, wide, slant, y_shift, x_shift = random.uniform(-strength, strength, (6, n))
        cos, sin = np.cos(math.radians(rotation) * angle), np.sin(math.radians(rotation) * angle)
        high, wide, slant = 1 + scaling * high, 1 + scaling * wide, shear * slant
        maps = [
            [high * cos - slant * sin, -wide * sin, middle[0] + translation * y_shift],
            [high * sin + slant * cos, wide * cos, middle[1] + translation * x_shift],
        ]
        places = np.swapaxes(np.array(maps, np.float32), 1, 2) @ pixels
        noise = random.random((2, n, height, width), np.float32)
        noise -= 0.5
        places += (down @ noise @ across).reshape(places.shape)
        distorted[start : start + n] = _interpolate(block, *places).reshape(block.shape)
    return distorted


def _gaussian(size: int, sigma: float) -> _Floats:
    """A matrix of shape (size, size). A product with it smooths rows or columns, as if they went on with zeros."""
    distance = np.arange(size)[:, None] - np.arange(size)
    return np.exp(-0.5 * (distance / sigma) ** 2).astype(np.float32) / np.float32(sigma * math.sqrt(2 * math.pi))


def _interpolate(images: NDArray[Any], y: _Floats, x: _Floats) -> _Floats:
    """The values of each image at the places y, x, both of shape (N, places). Overwrites y and x."""
    n, height, width = images.shape
    padded = np.zeros((n, height + 3, width + 3), np.float32)
    padded[:, 1:-2, 1:-2] = images
    row = width + 3
    for place, size in ((y, height), (x, width)):
        place += 1
        np.clip(place, 0, size + 1, out=place)
    top, left = np.floor(y), np.floor(x)
    y -= top
    x -= left
    top *= row
    top += left
    corner = top.astype(np.intp)
    corner += np.arange(0, padded.size, (height + 3) * row)[:, None]
    values = padded.reshape(-1)

    def between(start: _Floats, end: _Floats, share: _Floats) -> _Floats:
        end -= start
        end *= share
        end += start
        return end

    upper = between(values.take(corner), values[1:].take(corner), x)
    lower = between(values[row:].take(corner), values[row + 1 :].take(corner), x)
    return between(upper, lower, y)
