"""Gain units: one model for all rates."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from architectures.gain_units import GAIN_LEVELS, GainUnits
from architectures.hyperprior import HyperCoder, Hyperprior, MeanScaleHyperprior, ScaleHyperprior
from architectures.losses import MSE, total_loss
from architectures.rate import BitsPerPixel

CHANNELS = 4
RANGE = [0.25, 16.0]


def numpy(tensor: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(tensor))


def built_units(learned: bool = False) -> GainUnits:
    units = GainUnits(RANGE)
    units.build((None, CHANNELS))
    if learned:
        numbers = np.random.default_rng(3)
        for variable in (units.log_gains, units.log_backs):
            variable.assign(numbers.normal(0, 0.3, variable.shape))
    return units


def built_model(kind: type[Hyperprior] = MeanScaleHyperprior, **arguments: Any) -> Hyperprior:
    keras.utils.set_random_seed(2)
    encoder = HyperCoder([layers.Conv2D(3, 3, strides=2, padding="same")], name="h_a")
    width = kind.outputs_per_latent * CHANNELS
    decoder = HyperCoder([layers.Conv2DTranspose(width, 3, strides=2, padding="same")], name="h_s")
    model = kind(encoder, decoder, **{"lambda_range": RANGE, **arguments})
    model.build((None, 4, 4, CHANNELS))
    return model


def test_at_first_the_gain_is_the_root_of_lambda() -> None:
    units = built_units()
    quality = np.array([0.0, 1 / 3, 1.0], np.float32)
    gain, inverse = map(numpy, units(quality))
    assert units.trained_quality == pytest.approx(1 / 3)
    np.testing.assert_allclose(np.exp(gain[:, 0]), [0.5, 1.0, 4.0], rtol=1e-5)
    np.testing.assert_allclose(inverse, -gain, atol=1e-6)


def test_vectors_between_two_levels_are_mixed() -> None:
    units = built_units(learned=True)
    places = np.linspace(0, 1, GAIN_LEVELS, dtype=np.float32)
    base = 0.5 * (np.log(RANGE[0]) + places * np.log(RANGE[1] / RANGE[0]))[:, None]
    at_levels, back = map(numpy, units(places))
    np.testing.assert_allclose(at_levels, base + numpy(units.log_gains), atol=1e-5)
    np.testing.assert_allclose(back + at_levels, numpy(units.log_backs), atol=1e-5)
    middle = numpy(units((places[:-1] + places[1:]) / 2)[0])
    np.testing.assert_allclose(middle, (at_levels[:-1] + at_levels[1:]) / 2, atol=1e-5)


def test_a_batch_sees_all_rates_evenly() -> None:
    seed = keras.random.SeedGenerator(1)
    units = built_units()
    found = np.stack([np.sort(numpy(units.sampled(8, seed))) for _ in range(4)])
    assert found.min() >= 0
    assert found.max() < 1
    np.testing.assert_allclose(np.diff(found, axis=1), 1 / 8, atol=1e-5)
    assert len({round(float(row[0]), 5) for row in found}) == 4


@pytest.mark.parametrize("kind", [ScaleHyperprior, MeanScaleHyperprior])
def test_a_new_model_codes_like_one_of_one_rate(kind: type[Hyperprior]) -> None:
    """At factor 1 gains are 1 before training, so nothing but the training differs."""
    y = np.random.default_rng(0).normal(0, 4, (3, 4, 4, CHANNELS)).astype(np.float32)
    many, one = built_model(kind), built_model(kind, lambda_range=None)
    (y_many, bits_many), (y_one, bits_one) = (each(y, training=False) for each in (many, one))
    np.testing.assert_allclose(numpy(y_many), numpy(y_one), atol=1e-5)
    np.testing.assert_allclose(numpy(bits_many["bits_y"]), numpy(bits_one["bits_y"]), rtol=1e-5)
    assert set(bits_many) == set(bits_one)


def test_each_image_is_trained_at_a_lambda_of_its_own() -> None:
    model = built_model()
    y = np.full((64, 4, 4, CHANNELS), 0.4, np.float32) * np.arange(1, 5, dtype=np.float32)
    y_hat, told = model(y, training=True)
    factor = numpy(told["lambda_factor"])
    assert factor.shape == (64,)
    assert RANGE[0] <= factor.min() < 0.3
    assert 14 < factor.max() <= RANGE[1]
    error = np.abs(numpy(y_hat) - y).mean(axis=(1, 2, 3))
    coarse, fine = error[factor < 0.5].mean(), error[factor > 8].mean()
    assert fine < coarse / 3  # steps are 5.6 times as long
    assert numpy(told["bits_y"])[factor > 8].mean() > numpy(told["bits_y"])[factor < 0.5].mean()


def test_gradients_reach_gains_and_ways_back() -> None:
    if keras.backend.backend() != "tensorflow":
        pytest.skip("looks at gradients of TensorFlow")
    import tensorflow as tf

    model = built_model()
    y = np.random.default_rng(0).normal(0, 4, (8, 4, 4, CHANNELS)).astype(np.float32)
    with tf.GradientTape() as tape:
        y_hat, told = model(y, training=True)
        loss = tf.reduce_mean(tf.square(y_hat - y)) + tf.reduce_mean(told["bits_y"])
    units = model.gain_units
    assert units is not None
    for gradient in tape.gradient(loss, [units.log_gains.value, units.log_backs.value]):
        assert (np.abs(gradient.numpy()) > 0).all()


def test_the_loss_weighs_rate_and_distortion_by_their_lambda() -> None:
    x = np.zeros((2, 4, 4, 1), np.float32)
    outputs = {
        "x": x,
        "x_hat": x + np.array([0.1, 0.2], np.float32)[:, None, None, None],
        "bits_y": np.array([16.0, 32.0], np.float32),
        "lambda_factor": np.array([0.25, 4.0], np.float32),
    }
    total, values = total_loss([BitsPerPixel(), MSE(weight=10.0)], outputs)
    np.testing.assert_allclose(numpy(values["bits_per_pixel"]), [1.0, 2.0])  # as they are
    expected = [(1.0 + 0.25 * 10 * 0.01) / 0.5, (2.0 + 4.0 * 10 * 0.04) / 2.0]
    assert float(total) == pytest.approx(np.mean(expected), rel=1e-5)
    plain = {key: value for key, value in outputs.items() if key != "lambda_factor"}
    assert float(total_loss([BitsPerPixel(), MSE(weight=10.0)], plain)[0]) == pytest.approx(1.75)


def test_it_comes_back_from_its_config() -> None:
    model = built_model()
    again = MeanScaleHyperprior.from_config(model.get_config())
    assert again.gain_units is not None
    assert again.gain_units.lambda_range == RANGE
    assert GainUnits.from_config(built_units().get_config()).lambda_range == RANGE


@pytest.mark.parametrize(
    "found", [[1.0, 1.0], [0.0, 2.0], [1e-9, 1e9], [2.0, 4.0], [0.1, 0.9], [0.1], [-1, 2]]
)
def test_a_range_without_1_or_without_two_ends_is_refused(found: list[float]) -> None:
    with pytest.raises(ValueError, match="lambda_range must be two factors"):
        GainUnits(found)
