"""Frames predicted from decoded ones: the two modes, and the unrolled clip."""

import keras
import numpy as np
import pytest
from keras import ops

from architectures.autoencoder import to_uint8
from architectures.prediction import PreviousFrame, as_frames, as_reference, joined_in_clips
from builders.model_builder import ModelBuilder
from builders.spec import parse_spec
from tests.clip_models import clip_spec, moving_clip

RNG = np.random.default_rng(0)


def array(tensor) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(tensor))


def images(*shape: int) -> np.ndarray:
    return RNG.uniform(0, 1, shape).astype(np.float32)


def test_residual_is_the_difference_and_back() -> None:
    prediction, x, p = PreviousFrame("residual"), images(2, 4, 6, 3), images(2, 4, 6, 3)
    assert (prediction.encoder_channels(3), prediction.decoder_channels(3)) == (3, 3)
    seen = prediction.before_encoder(x, p)
    np.testing.assert_allclose(array(prediction.after_decoder(seen, p)), x, atol=1e-6)


def test_gated_sees_both_and_fades_the_reference() -> None:
    prediction, x, p = PreviousFrame("gated"), images(2, 4, 6, 3), images(2, 4, 6, 3)
    assert (prediction.encoder_channels(3), prediction.decoder_channels(3)) == (6, 6)
    seen = array(prediction.before_encoder(x, p))
    np.testing.assert_allclose(seen[..., :3], x - p, atol=1e-6)
    np.testing.assert_array_equal(seen[..., 3:], p)
    closed = np.concatenate([np.full_like(p, -30.0), x], axis=-1)
    np.testing.assert_allclose(array(prediction.after_decoder(closed, p)), x, atol=1e-6)
    wide_open = np.concatenate([np.full_like(p, 30.0), np.zeros_like(p)], axis=-1)
    np.testing.assert_allclose(array(prediction.after_decoder(wide_open, p)), p, atol=1e-6)


@pytest.mark.parametrize("mode", ["residual", "gated"])
def test_nothing_decoded_leaves_the_reference_as_it_is(mode: str) -> None:
    prediction, p = PreviousFrame(mode), images(1, 4, 4, 3)
    nothing = np.zeros((1, 4, 4, prediction.decoder_channels(3)), np.float32)
    np.testing.assert_array_equal(array(prediction.after_decoder(nothing, p)), p)


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match='"residual" or "gated", found "both"'):
        PreviousFrame("both")


def test_a_reference_is_what_a_decoder_gives_in_8_bits() -> None:
    x_hat = images(1, 5, 5, 3) * 1.2 - 0.1
    np.testing.assert_array_equal(
        array(as_reference(x_hat)), array(to_uint8(x_hat)).astype(np.float32) * np.float32(1 / 255)
    )


def test_frames_of_a_clip_stand_in_a_row() -> None:
    clips = images(2, 3, 4, 5, 1)
    np.testing.assert_array_equal(
        array(joined_in_clips([clips[:, time] for time in range(3)])), array(as_frames(clips))
    )
    assert array(joined_in_clips([clips[:, time, 0, 0, 0] for time in range(3)])).shape == (6,)


@pytest.mark.parametrize("mode", ["residual", "gated"])
def test_a_clip_is_unrolled_over_the_models_own_frames(mode: str) -> None:
    keras.utils.set_random_seed(0)
    compressor = ModelBuilder(parse_spec(clip_spec(mode))).build()
    generator = compressor.generator
    clips = np.stack([moving_clip(3, seed=seed) for seed in (0, 1)])
    outputs = compressor(clips, training=False)
    assert outputs["x_hat"].shape == outputs["x"].shape == (6, 16, 24, 3)
    assert outputs["bits_y"].shape == (6,)
    reference = None
    for time in range(3):
        y, _ = generator.encoder(clips[:, time], training=False, reference=reference)
        y_hat, _ = generator.entropy_model(y, training=False)
        x_hat, _ = generator.decoder(y_hat, training=False, reference=reference)
        np.testing.assert_allclose(array(outputs["x_hat"])[time::3], array(x_hat), atol=1e-6)
        reference = as_reference(x_hat)
    np.testing.assert_allclose(array(outputs["x"])[1], clips[0, 1] / 255, atol=1e-6)


def test_images_are_key_frames_predicted_from_middle_grey() -> None:
    keras.utils.set_random_seed(0)
    generator = ModelBuilder(parse_spec(clip_spec("residual"))).build().generator
    frame = moving_clip(1)
    grey = np.full((1, 16, 24, 3), 128 / 255, np.float32)
    for reference in (None, grey):
        y, _ = generator.encoder(frame, training=False, reference=reference)
        np.testing.assert_allclose(array(y), array(generator(frame)["y"]), atol=1e-6)
    first, _ = generator.decoder(y, training=False)
    same, _ = generator.decoder(y, training=False, reference=grey)
    np.testing.assert_allclose(array(first), array(same), atol=1e-6)


def test_a_generator_is_remade_from_its_config() -> None:
    generator = ModelBuilder(parse_spec(clip_spec("gated"))).build().generator
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(generator))
    assert again.prediction.mode == again.decoder.prediction.mode == "gated"
    again.set_weights(generator.get_weights())
    clip = moving_clip(2)[None]
    np.testing.assert_array_equal(
        array(again(clip, training=False)["x_hat"]), array(generator(clip, training=False)["x_hat"])
    )
