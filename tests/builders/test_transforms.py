"""Transforms: what comes out of every step, and that the same numbers come out twice."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.errors import UserError
from builders.transforms import ImageTransform, resize_image


def ramp(height: int, width: int, channels: int = 3) -> np.ndarray:
    """Each pixel says where it is: row in channel 0, column in channel 1."""
    rows, columns = np.mgrid[0:height, 0:width]
    planes = [rows, columns, rows * 0, rows * 0 + 255][:channels]
    return np.stack(planes, axis=-1).astype(np.uint8)


def test_nothing_asked_nothing_done() -> None:
    image = ramp(5, 7)
    transform = ImageTransform(training=True)
    assert transform.is_identity
    assert not transform.is_random
    assert transform(image) is image


def test_centre_crop() -> None:
    out = ImageTransform(crop=(3, 4))(ramp(7, 9))
    assert out.shape == (3, 4, 3)
    assert out[0, 0, :2].tolist() == [2, 2]


def test_crop_of_one_side() -> None:
    out = ImageTransform(crop=(None, 4))(ramp(7, 8))
    assert out.shape == (7, 4, 3)
    assert out[0, 0, :2].tolist() == [0, 2]


@given(st.integers(3, 12), st.integers(4, 12), st.integers(0, 2**32))
@settings(deadline=None)
def test_random_crop_is_a_window_and_repeats(height: int, width: int, seed: int) -> None:
    image = ramp(height, width)
    transform = ImageTransform(crop=(3, 4), training=True)
    out = transform(image, np.random.default_rng(seed))
    top, left = out[0, 0, :2].tolist()
    np.testing.assert_array_equal(out, image[top : top + 3, left : left + 4])
    np.testing.assert_array_equal(out, transform(image, np.random.default_rng(seed)))


def test_random_crops_reach_every_place() -> None:
    transform = ImageTransform(crop=(2, 2), training=True)
    rng = np.random.default_rng(0)
    places = {tuple(transform(ramp(4, 3), rng)[0, 0, :2].tolist()) for _ in range(200)}
    assert places == {(y, x) for y in range(3) for x in range(2)}


def test_flip_is_for_training_and_half_of_the_time() -> None:
    image = ramp(2, 5)
    flip = ImageTransform(flip=True, training=True)
    rng = np.random.default_rng(0)
    flipped = 0
    for _ in range(400):
        out = flip(image, rng)
        if out[0, 0, 1] == 4:
            flipped += 1
            np.testing.assert_array_equal(out, image[:, ::-1])
        else:
            np.testing.assert_array_equal(out, image)
    assert 150 < flipped < 250
    assert ImageTransform(flip=True)(image) is image


def test_random_needs_a_generator() -> None:
    with pytest.raises(ValueError, match="Generator"):
        ImageTransform(flip=True, training=True)(ramp(2, 2))


def test_too_small_for_the_crop_names_file_and_sizes() -> None:
    with pytest.raises(UserError, match=r"cat\.png: 5x9 pixels .* crops of 6x6"):
        ImageTransform(crop=(6, 6))(ramp(5, 9), name="cat.png")


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_resize_is_height_width_and_antialiased(channels: int) -> None:
    stripes = np.zeros((64, 64, channels), np.uint8)
    stripes[:, ::2] = 255
    if channels == 4:
        stripes[..., 3] = 255
    out = ImageTransform(resize=(8, 16))(stripes)
    assert out.shape == (8, 16, channels)
    assert out.dtype == np.uint8
    # Away from the borders the stripes average; picking pixels would keep them or lose them.
    assert np.abs(out[:, 2:-2, 0].astype(int) - 127).max() <= 2


def test_resize_keeps_flat_images_flat() -> None:
    flat = np.full((10, 14, 3), 77, np.uint8)
    assert (resize_image(flat, (33, 5)) == 77).all()


def test_resize_comes_before_crop() -> None:
    out = ImageTransform(resize=(20, 20), crop=(10, 10))(np.full((5, 5, 3), 9, np.uint8))
    assert out.shape == (10, 10, 3)
    assert (out == 9).all()


def test_channels() -> None:
    rgb = np.array([[[255, 0, 0], [10, 10, 10]]], np.uint8)
    np.testing.assert_array_equal(ImageTransform(channels=1)(rgb)[0, :, 0], [76, 10])
    gray = np.array([[[9], [8]]], np.uint8)
    np.testing.assert_array_equal(ImageTransform(channels=3)(gray), [[[9] * 3, [8] * 3]])
    np.testing.assert_array_equal(ImageTransform(channels=4)(gray)[0, 0], [9, 9, 9, 255])
    with_alpha = np.array([[[0, 0, 0, 0]]], np.uint8)
    np.testing.assert_array_equal(ImageTransform(channels=3)(with_alpha), [[[255, 255, 255]]])
