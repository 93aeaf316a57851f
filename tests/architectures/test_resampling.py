"""Halving and doubling against TensorFlow and Pillow, and the steps made of them."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from architectures.color_space import ColorSpace
from architectures.preprocessing import Preprocessing
from architectures.resampling import bilinear_upsampling, mean_of_blocks
from architectures.resize import Resize


def numpy(tensor: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(tensor))


def images(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((2, height, width, channels), dtype=np.float32)


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 5), (7, 4)])
def test_upsampling_is_that_of_tensorflow(factor: int, height: int, width: int) -> None:
    x = images(height, width)
    expected = tf.image.resize(x, (height * factor, width * factor), method="bilinear")
    assert np.abs(numpy(bilinear_upsampling(x, factor)) - expected.numpy()).max() <= 2e-6


def test_upsampling_of_sides_that_are_unknown_while_tracing() -> None:
    traced = tf.function(
        lambda x: bilinear_upsampling(x, 2), input_signature=[tf.TensorSpec((None, None, None, 2))]
    )
    x = images(3, 5, 2)
    assert np.array_equal(traced(x).numpy(), numpy(bilinear_upsampling(x, 2)))


@pytest.mark.parametrize("factor", [2, 3])
def test_means_of_blocks(factor: int) -> None:
    x = images(6, 12)
    expected = x.reshape(2, 6 // factor, factor, 12 // factor, factor, 3).mean((2, 4))
    assert np.allclose(numpy(mean_of_blocks(x, factor)), expected, atol=1e-6)


def test_420_keeps_gray_pictures_whole() -> None:
    gray = np.repeat(images(6, 8, 1), 3, axis=-1)
    step = ColorSpace(sampling="4:2:0")
    step.build(gray.shape)
    assert numpy(step(gray)).shape == (2, 3, 4, 6)
    assert np.abs(numpy(step.inverse(step(gray))) - gray).max() <= 2e-6


def test_420_keeps_luma_and_the_mean_of_chroma() -> None:
    x = images(8, 6)
    packed = numpy(ColorSpace(sampling="4:2:0")(x))
    full = numpy(ColorSpace()(x))
    assert np.allclose(packed[..., 0], 2 * mean_of_blocks(full[..., :1], 2)[..., 0], atol=1e-6)
    assert np.allclose(packed[..., 4:], mean_of_blocks(full[..., 1:], 2), atol=1e-6)
    back = numpy(ColorSpace()(ColorSpace(sampling="4:2:0").inverse(packed)))
    assert np.abs(back[..., 0] - full[..., 0]).max() <= 1e-5
    # the folding of luma is orthonormal: errors of coefficients are errors of pixels
    assert np.sum(packed[..., :4] ** 2) == pytest.approx(np.sum(full[..., 0] ** 2), rel=1e-5)


def test_halving_keeps_flat_pictures() -> None:
    flat = np.full((1, 4, 6, 3), 0.25, "float32")
    step = Resize()
    assert numpy(step(flat)).shape == (1, 2, 3, 3)
    assert np.allclose(numpy(step.inverse(step(flat))), flat, atol=1e-6)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (ColorSpace(sampling="4:2:0"), "multiples of block_size 2, found 5x4"),
        (Resize(factor=3), "multiples of the factor 3, found 5x4"),
    ],
)
def test_sides_that_do_not_divide(step: Preprocessing, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        step(images(5, 4))
    with pytest.raises(ValueError, match=message):
        step.compute_output_shape((None, 5, 4, 3))


def test_an_unknown_sampling() -> None:
    with pytest.raises(ValueError, match='sampling must be "4:4:4" or "4:2:0", found "4:1:1"'):
        ColorSpace(sampling="4:1:1")  # type: ignore[arg-type]


@pytest.mark.parametrize("step", [ColorSpace(sampling="4:2:0"), Resize(2)], ids=str)
def test_configs_and_shapes(step: Preprocessing) -> None:
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(step))
    assert copy.get_config() == step.get_config()
    x = images(4, 6)
    assert np.array_equal(numpy(copy(x)), numpy(step(x)))
    assert step.compute_output_shape(x.shape) == numpy(step(x)).shape
    free = step.compute_output_shape((None, None, None, 3))
    assert free[:3] == (None, None, None)
