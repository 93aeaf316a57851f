"""Deployed models against the generator they come from, and against numpy."""

import keras
import numpy as np
import pytest
from keras import layers

from architectures.autoencoder import Decoder, Encoder, Generator
from architectures.color_space import ColorSpace
from architectures.deployment import (
    SIZE_ERRORS,
    DeployedDecoder,
    DeployedEncoder,
    FreeUpSampling2D,
    deployed_parts,
    with_free_size,
)
from architectures.layers import DepthToSpace, Residual, SpaceToDepth


def convolutional(height=None, width=None, middle=(), upsampling="bilinear"):
    """A generator for RGB that halves and doubles once, with layers between."""
    steps = [ColorSpace()]
    encoder = Encoder(
        [layers.Conv2D(8, 3, 2, "same", activation="relu"), *middle, layers.Conv2D(4, 1)],
        steps,
    )
    decoder = Decoder(
        [
            Residual([layers.UpSampling2D(1), layers.Conv2D(4, 3, padding="same")]),
            layers.UpSampling2D(2, interpolation=upsampling),
            layers.Conv2D(3, 3, padding="same"),
        ],
        steps,
    )
    generator = Generator(encoder, decoder)
    generator.build((None, height, width, 3))
    return generator


def images(height=16, width=24, batch=2, channels=3):
    rng = np.random.default_rng(7)
    return rng.integers(0, 256, (batch, height, width, channels), dtype=np.uint8)


def test_parts_compute_what_the_generator_computes():
    generator = convolutional()
    encoder, decoder, both = deployed_parts(generator, (None, None, 3))
    x = images()
    outputs = generator(x, training=False)
    y = np.asarray(encoder(x))
    np.testing.assert_array_equal(y, np.asarray(outputs["y"]))
    assert y.dtype == np.float32
    expected = np.rint(np.clip(np.asarray(outputs["x_hat"], np.float32), 0, 1) * np.float32(255))
    for got in (np.asarray(decoder(y)), np.asarray(both(x))):
        assert got.dtype == np.uint8
        np.testing.assert_array_equal(got, expected.astype(np.uint8))


def test_pixels_are_rounded_not_truncated():
    decoder = Decoder([layers.Identity()])
    decoder.build((None, 1, 6, 1))
    model = DeployedDecoder(decoder)
    model.build((None, 1, 6, 1))
    values = np.array([-0.2, 0.9, 1.1, 127.4, 254.6, 400.0], np.float32) / 255
    got = np.asarray(model(values.reshape(1, 1, 6, 1)))
    assert got.ravel().tolist() == [0, 1, 1, 127, 255, 255]


def test_nothing_random_is_left_when_served():
    generator = convolutional(middle=[layers.Dropout(0.5), layers.GaussianNoise(1.0)])
    _, _, both = deployed_parts(generator, (None, None, 3))
    x = images()
    np.testing.assert_array_equal(np.asarray(both(x)), np.asarray(both(x)))


def test_latents_are_float32_whatever_the_layers_compute_in():
    encoder = Encoder([layers.Conv2D(2, 1, dtype="mixed_bfloat16")])
    model = DeployedEncoder(encoder)
    model.build((None, 4, 4, 1))
    assert model.result_of((2, 4, 4, 1)).dtype == "float32"


@pytest.mark.parametrize("upsampling", ["nearest", "bilinear"])
def test_a_convolutional_model_of_one_size_is_freed(upsampling):
    generator = convolutional(16, 24, upsampling=upsampling)
    free = with_free_size(generator, 3)
    assert free is not None
    _, _, both = deployed_parts(free, (None, None, 3))
    _, _, fixed = deployed_parts(generator, (16, 24, 3))
    assert both.signature().shape == (None, None, None, 3)
    x = images()
    np.testing.assert_array_equal(np.asarray(both(x)), np.asarray(fixed(x)))
    assert both(images(10, 6)).shape == (2, 10, 6, 3)


@pytest.mark.parametrize(
    "middle",
    [
        [layers.Flatten(), layers.Dense(8 * 8 * 12), layers.Reshape((8, 12, 8))],
        [layers.Resizing(8, 12)],
        [layers.PReLU()],
        [layers.LayerNormalization(axis=(1, 2, 3))],
    ],
    ids=["dense", "resizing", "weights-per-place", "norm-over-places"],
)
def test_a_layer_that_fixes_the_size_is_noticed(middle):
    assert with_free_size(convolutional(16, 24, middle), 3) is None


def test_a_freed_model_keeps_no_tie_to_the_first():
    generator = convolutional(16, 24)
    free = with_free_size(generator, 3)
    before = np.asarray(free(images())["x_hat"])
    for weight in generator.weights:
        weight.assign(np.zeros(weight.shape, np.float32))
    np.testing.assert_array_equal(np.asarray(free(images())["x_hat"]), before)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow traces so")
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
def test_upsampling_of_unknown_size_is_keras_upsampling(interpolation):
    import tensorflow as tf

    x = np.random.default_rng(0).normal(size=(2, 5, 7, 3)).astype(np.float32)
    layer = FreeUpSampling2D((2, 3), interpolation=interpolation)
    spec = tf.TensorSpec((None, None, None, 3), tf.float32)
    traced = tf.function(layer, input_signature=[spec])
    expected = np.asarray(layers.UpSampling2D((2, 3), interpolation=interpolation)(x))
    np.testing.assert_array_equal(np.asarray(traced(x)), expected)
    assert traced.get_concrete_function().output_shapes[-1] == 3


def test_upsampling_is_replaced_at_any_depth():
    free = with_free_size(convolutional(), 3)
    residual, upsampling, _ = free.decoder.stack
    assert type(upsampling) is FreeUpSampling2D
    assert type(residual.branch[0]) is FreeUpSampling2D
    assert upsampling.interpolation == "bilinear"


def test_a_keras_file_gives_back_the_model(tmp_path):
    free = with_free_size(convolutional(), 3)
    x = images()
    for model in deployed_parts(free, (None, None, 3)):
        path = tmp_path / f"{model.name}.keras"
        model.save(path)
        again = keras.saving.load_model(path)
        assert type(again) is type(model)
        assert again.signature().shape == model.signature().shape
        value = np.asarray(deployed_parts(free, (None, None, 3))[0](x))
        given = value if model.input_name == "latents" else x
        np.testing.assert_array_equal(np.asarray(again(given)), np.asarray(model(given)))


def test_shapes_are_followed_without_computing():
    generator = Generator(
        Encoder([SpaceToDepth(4), layers.Conv2D(5, 1)]),
        Decoder([layers.Conv2D(16, 1), DepthToSpace(4)]),
    )
    generator.build((None, None, None, 1))
    _, _, model = deployed_parts(generator, (None, None, 1))
    assert model.result_of((1, 40000, 40000, 1)).shape == (1, 40000, 40000, 1)
    with pytest.raises(SIZE_ERRORS):
        DeployedEncoder(generator.encoder).result_of((1, 42, 40, 1))
