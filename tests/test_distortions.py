"""data.distort: where each random map takes the pixels of an image from."""

import numpy as np
import pytest

from tinygrad_np import data
from tinygrad_np.errors import ArgumentError, ShapeError

STILL = {"rotation": 0.0, "scaling": 0.0, "shear": 0.0, "translation": 0.0, "elastic": 0.0}
SIZE = 41
MIDDLE = SIZE // 2


def generator(seed=0):
    return np.random.default_rng(seed)


def sources(seed=0, count=50, **magnitudes):
    """Where each pixel of `count` distorted images comes from: y and x from the middle, each (count, SIZE, SIZE).

    Bilinear interpolation is exact on an image whose values are its coordinates, as long as the place is inside.
    """
    y, x = np.indices((SIZE, SIZE), np.float32)
    return [data.distort(np.stack([axis] * count), generator(seed), **STILL | magnitudes) - MIDDLE for axis in (y, x)]


def inner(places):
    """The middle of the image. No distortion here fetches its pixels from outside the image."""
    return places[..., MIDDLE - 8 : MIDDLE + 9, MIDDLE - 8 : MIDDLE + 9]


Y, X = inner(np.indices((SIZE, SIZE)) - MIDDLE)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_images_of_any_size_and_dtype_become_float32_on_the_same_scale(dtype):
    images = generator().integers(0, 256, (70, 12, 9)).astype(dtype)
    distorted = data.distort(images, generator())
    assert distorted.shape == images.shape
    assert distorted.dtype == np.float32
    assert 0 <= distorted.min() < 10
    assert 100 < distorted.max() <= 255


def test_strength_0_changes_nothing():
    images = generator().integers(0, 256, (3, 28, 28), np.uint8)
    np.testing.assert_array_equal(data.distort(images, generator(), 0), images)


def test_the_images_given_are_left_alone():
    images = generator().random((3, 28, 28), np.float32)
    before = images.copy()
    data.distort(images, generator())
    np.testing.assert_array_equal(images, before)


def test_the_same_seed_makes_the_same_images_and_another_seed_others():
    images = generator().random((3, 28, 28), np.float32)
    first, again, other = (data.distort(images, generator(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_every_image_is_distorted_in_its_own_way():
    image = generator().random((28, 28), np.float32)
    distorted = data.distort(np.stack([image] * 100), generator())
    assert len(np.unique(distorted.reshape(100, -1), axis=0)) == 100


def test_beyond_the_edge_of_an_image_there_is_0():
    shifted = data.distort(np.ones((50, 5, 5), np.float32), generator(), **STILL | {"translation": 20.0})
    assert np.any(shifted.sum(axis=(1, 2)) == 0)


def test_a_whole_digit_stays_in_the_picture():
    image = np.zeros((500, 28, 28), np.float32)
    image[:, 5:23, 7:21] = 1  # MNIST's digits fill 20 x 20 pixels at most
    distorted = data.distort(image, generator())
    assert distorted[:, [0, -1]].mean() < 0.01
    assert 0.9 < distorted.sum() / image.sum() < 1.1


def test_translation_shifts_all_pixels_by_the_same():
    shifts = [inner(places) - own for places, own in zip(sources(translation=3.0), (Y, X), strict=True)]
    for shift in shifts:
        np.testing.assert_allclose(shift, shift[:, :1, :1] + 0 * shift, atol=1e-4)
        assert np.all(np.abs(shift) < 3.001)
        assert np.ptp(shift) > 4


def test_rotation_keeps_distances_from_the_middle_and_turns_by_one_angle():
    y, x = map(inner, sources(rotation=30.0))
    np.testing.assert_allclose(np.hypot(y, x), np.hypot(Y, X) + 0 * y, atol=1e-4)
    z, before = x + 1j * y, X + 1j * Y
    angles = np.angle(z[:, 0, 0] / before[0, 0], deg=True)
    np.testing.assert_allclose(z, before * np.exp(1j * np.radians(angles))[:, None, None], atol=1e-4)
    assert np.all(np.abs(angles) < 30.001)
    assert np.ptp(angles) > 40


def test_scaling_changes_height_and_width_each_by_one_factor():
    factors = []
    for places, own in zip(sources(scaling=0.5), (Y, X), strict=True):
        factor = inner(places)[:, -1, -1] / own[-1, -1]
        np.testing.assert_allclose(inner(places), factor[:, None, None] * own, atol=1e-4)
        assert np.all(np.abs(factor - 1) < 0.501)
        factors.append(factor)
    assert np.ptp(factors[0] - factors[1]) > 0.5


def test_shear_shifts_each_row_by_a_share_of_its_distance_from_the_middle():
    y, x = map(inner, sources(shear=0.5))
    np.testing.assert_allclose(y, Y + 0 * y, atol=1e-4)
    slant = x[:, -1, 8] / Y[-1, 8]
    np.testing.assert_allclose(x, X + slant[:, None, None] * Y, atol=1e-4)
    assert np.all(np.abs(slant) < 0.501)
    assert np.ptp(slant) > 0.6


def test_elastic_displacements_are_as_large_and_as_smooth_as_the_formula_says():
    # The sum of uniform noise, of variance 1/3, under a Gaussian has the variance elastic^2 / 3 / (4 pi sigma^2), and
    # between two pixels at a distance d the correlation exp(-d^2 / (4 sigma^2)).
    elastic, sigma = 40.0, 4.0
    for places, own in zip(sources(count=2000, elastic=elastic, smoothing=sigma), (Y, X), strict=True):
        displacement = inner(places) - own
        assert displacement.std() == pytest.approx(elastic / sigma / np.sqrt(12 * np.pi), rel=0.05)
        correlation = np.corrcoef(displacement[:, 8, 4], displacement[:, 8, 8])[0, 1]
        assert correlation == pytest.approx(np.exp(-1 / 4), abs=0.05)


def test_strength_multiplies_all_magnitudes():
    magnitudes = {"rotation": 10.0, "scaling": 0.2, "shear": 0.2, "translation": 2.0, "elastic": 30.0}
    double = {name: 2 * value for name, value in magnitudes.items()}
    for one, other in zip(sources(strength=2.0, **magnitudes), sources(**double), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("shape", [(28, 28), (2, 784), (2, 28, 28, 3)])
def test_images_that_are_no_stack_of_pictures_are_refused_with_their_shape(shape):
    with pytest.raises(ShapeError, match=str(shape[-1])):
        data.distort(np.zeros(shape, np.uint8), generator())


@pytest.mark.parametrize("strength", [-1.0, float("nan"), float("inf")])
def test_a_strength_that_makes_no_sense_is_refused(strength):
    with pytest.raises(ArgumentError, match=str(strength)):
        data.distort(np.zeros((1, 28, 28), np.uint8), generator(), strength)


def test_a_smoothing_that_makes_no_sense_is_refused():
    with pytest.raises(ArgumentError, match="smoothing 0"):
        data.distort(np.zeros((1, 28, 28), np.uint8), generator(), smoothing=0)
