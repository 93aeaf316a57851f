"""Encoder, decoder, generator: pixels in, pixels out, gradients, and their way through JSON."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from architectures.autoencoder import (
    Decoder,
    Encoder,
    Generator,
    clip_pass_gradient,
    to_uint8,
    to_unit_range,
)
from architectures.color_space import ColorSpace
from architectures.discriminator import Discriminator
from architectures.layers import DepthToSpace, GaussianLatent, Residual, SpaceToDepth
from architectures.preprocessing import Rescale

JAX = keras.backend.backend() == "jax"


def numpy(tensor: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(tensor))


def gradient(function: Callable[[Any], Any], value: np.ndarray) -> np.ndarray:
    """Gradient of the sum of what a function returns."""
    if JAX:
        import jax

        return np.asarray(jax.grad(lambda v: ops.sum(function(v)))(value))
    import tensorflow as tf

    variable = tf.Variable(value)
    with tf.GradientTape() as tape:
        total = ops.sum(function(variable.value()))
    return tape.gradient(total, variable).numpy()


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def generator() -> Generator:
    """4x4 colours to 3 latents and back, with every layer of our own in it."""
    steps = [ColorSpace(name="colours"), Rescale(name="rescale")]
    encoder = Encoder(
        [
            SpaceToDepth(2, name="fold"),
            Residual([keras.layers.Conv2D(12, 1, name="inner")], name="res"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Flatten(name="flat"),
            GaussianLatent(3, name="latent"),
        ],
        steps,
        name="E",
    )
    decoder = Decoder(
        [
            keras.layers.Dense(48, name="grow"),
            keras.layers.Reshape((2, 2, 12), name="shape"),
            DepthToSpace(2, name="unfold"),
        ],
        steps,
        name="D",
    )
    return Generator(encoder, decoder, name="G")


# --- ranges -------------------------------------------------------------------------------------


def test_pixels_to_the_unit_range() -> None:
    levels = np.arange(256, dtype=np.uint8)
    unit = numpy(to_unit_range(levels))
    assert unit.dtype == np.float32
    assert (unit[0], unit[255]) == (0.0, 1.0)
    assert np.allclose(unit, levels / 255, atol=1e-7)
    assert np.array_equal(numpy(to_uint8(unit)), levels)  # and back, every level


def test_floats_to_the_nearest_level() -> None:
    values = [-1.0, -0.001, 0.0, 0.49 / 255, 0.51 / 255, 127.4 / 255, 127.6 / 255, 254.6 / 255, 1.0, 9.0]  # fmt: skip
    found = numpy(to_uint8(np.array(values, "float32")))
    assert found.dtype == np.uint8
    assert found.tolist() == [0, 0, 0, 0, 1, 127, 128, 255, 255, 255]


def test_a_clip_that_lets_the_gradient_pass() -> None:
    values = np.array([-3.0, -0.1, 0.0, 0.3, 1.0, 1.1, 7.0], "float32")
    clipped = numpy(clip_pass_gradient(values))
    assert np.allclose(clipped, np.clip(values, 0, 1), atol=1e-6)
    assert gradient(clip_pass_gradient, values).tolist() == [1.0] * 7
    weighted = gradient(lambda v: clip_pass_gradient(v) ** 2, values)
    assert np.allclose(weighted, 2 * np.clip(values, 0, 1), atol=1e-6)


# --- encoder and decoder ------------------------------------------------------------------------


def test_the_encoder_scales_and_preprocesses_inside() -> None:
    encoder = Encoder([keras.layers.Rescaling(1.0)], [Rescale(2.0, -1.0)])
    y, _ = encoder(np.array([[[[0]], [[255]]]], np.uint8))
    assert numpy(y).ravel().tolist() == [-1, 1]


def test_the_decoder_undoes_the_steps_in_reverse_order() -> None:
    steps = [Rescale(2.0, 0.0), Rescale(1.0, 0.5)]
    x = pixels(2, 3, 3, 1)
    y, _ = Encoder([keras.layers.Identity()], steps)(x)
    x_hat, _ = Decoder([keras.layers.Identity()], steps)(y)
    assert np.allclose(numpy(x_hat), x / 255, atol=1e-6)
    assert np.array_equal(numpy(to_uint8(x_hat)), x)


@pytest.mark.parametrize("training", [False, True])
def test_the_decoder_clips(training: bool) -> None:
    decoder = Decoder([keras.layers.Identity()])
    y = np.array([[-2.0, 0.25, 5.0]], "float32")
    x_hat, _ = decoder(y, training=training)
    assert np.allclose(numpy(x_hat), [[0, 0.25, 1]], atol=1e-6)
    slope = gradient(lambda v: decoder(v, training=training)[0], y)
    assert slope.tolist() == ([[1, 1, 1]] if training else [[0, 1, 0]])


def test_the_decoder_gives_float32_whatever_its_layers_compute_in() -> None:
    decoder = Decoder([keras.layers.Dense(3, dtype="mixed_bfloat16")])
    x_hat, _ = decoder(np.zeros((1, 2), "float32"))
    assert keras.backend.standardize_dtype(x_hat.dtype) == "float32"


# --- generator ----------------------------------------------------------------------------------


def test_the_generator_gives_latents_pixels_and_what_layers_tell() -> None:
    model, x = generator(), pixels(2, 4, 4, 3)
    outputs = model(x)
    assert set(outputs) == {"y", "x_hat", "posterior_mean", "posterior_log_var"}
    assert tuple(outputs["y"].shape) == (2, 3)
    assert tuple(outputs["x_hat"].shape) == (2, 4, 4, 3)
    y, _ = model.encoder(x)
    x_hat, _ = model.decoder(y)
    assert np.array_equal(numpy(outputs["x_hat"]), numpy(x_hat))


def test_building_needs_no_data() -> None:
    model = generator()
    model.build((None, 4, 4, 3))
    assert model.encoder.output_shapes[-1] == (None, 3)
    assert model.decoder.output_shapes[-1] == (None, 4, 4, 3)
    assert model.count_params() == 12 * 12 + 12 + 48 + 48 * 6 + 6 + 3 * 48 + 48


def test_latents_are_told_in_float32() -> None:
    layers = [keras.layers.Flatten(), keras.layers.Dense(2, dtype="bfloat16")]
    back = [keras.layers.Dense(4), keras.layers.Reshape((2, 2, 1))]
    outputs = Generator(Encoder(layers), Decoder(back))(pixels(1, 2, 2, 1))
    assert keras.backend.standardize_dtype(outputs["y"].dtype) == "float32"


def test_the_discriminator_sees_centred_images() -> None:
    judge = Discriminator([keras.layers.Identity()])
    logits, aux = judge(np.array([[0.0, 0.5, 1.0]], "float32"))
    assert numpy(logits).tolist() == [[-1, 0, 1]]
    assert aux == {}
    logits, _ = Discriminator([keras.layers.Dense(1, dtype="bfloat16")])(np.ones((1, 2), "float32"))
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"


# --- serialization ------------------------------------------------------------------------------


def parts() -> dict[str, tuple[Any, np.ndarray]]:
    model, x = generator(), pixels(2, 4, 4, 3)
    model(x)
    judge = Discriminator([keras.layers.Flatten(), keras.layers.Dense(1)], name="J")
    latents = np.random.default_rng(1).standard_normal((2, 3)).astype("float32")
    return {
        "encoder": (model.encoder, x),
        "decoder": (model.decoder, latents),
        "generator": (model, x),
        "discriminator": (judge, (x / 255).astype("float32")),
    }


@pytest.mark.parametrize("name", ["encoder", "decoder", "generator", "discriminator"])
def test_parts_come_back_from_their_config_with_weights_and_outputs(name: str) -> None:
    part, x = parts()[name]
    expected = keras.tree.flatten(part(x))
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(part))
    assert type(copy) is type(part)
    assert copy.name == part.name
    assert copy.get_config() == part.get_config()
    copy(x)
    assert [weight.shape for weight in copy.weights] == [weight.shape for weight in part.weights]
    copy.set_weights(part.get_weights())
    for found, wanted in zip(keras.tree.flatten(copy(x)), expected, strict=True):
        assert np.array_equal(numpy(found), numpy(wanted))


def test_a_whole_generator_comes_back_from_a_file(tmp_path: Path) -> None:
    model, x = generator(), pixels(2, 4, 4, 3)
    expected = model(x)
    path = tmp_path / "generator.keras"
    model.save(path)
    copy = keras.saving.load_model(path)
    for key, value in copy(x).items():
        assert np.array_equal(numpy(value), numpy(expected[key]))


def test_weights_go_from_one_to_another_through_a_file(tmp_path: Path) -> None:
    model, other, x = generator(), generator(), pixels(2, 4, 4, 3)
    model(x)
    other(x)
    path = tmp_path / "best.weights.h5"
    model.save_weights(path)
    assert not np.array_equal(numpy(model(x)["y"]), numpy(other(x)["y"]))
    other.load_weights(path)
    assert np.array_equal(numpy(model(x)["y"]), numpy(other(x)["y"]))
    assert np.array_equal(numpy(model(x)["x_hat"]), numpy(other(x)["x_hat"]))
