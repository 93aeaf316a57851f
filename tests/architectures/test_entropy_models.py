"""What every entropy model must pass; one suite for all of them."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras import layers, ops
from scipy import special

from architectures.factorized_prior import DeepFactorized, EntropyModel, FactorizedPrior
from architectures.gdn import GDN
from architectures.hyperprior import HyperCoder, MeanScaleHyperprior, ScaleHyperprior
from architectures.quantization import MODES, quantize
from builders.model_builder import ModelBuilder
from builders.problems import SpecError
from builders.spec import parse_spec

CHANNELS = 4
SHAPE = (None, 4, 4, CHANNELS)


def _hyperprior(kind: type, quantization: str) -> EntropyModel:
    encoder = HyperCoder([layers.Conv2D(3, 3, strides=2, padding="same")], name="h_a")
    width = kind.outputs_per_latent * CHANNELS
    decoder = HyperCoder([layers.Conv2DTranspose(width, 3, strides=2, padding="same")], name="h_s")
    return kind(encoder, decoder, quantization=quantization)


MODELS: dict[str, Callable[[str], EntropyModel]] = {
    "factorized": FactorizedPrior,
    "scale": lambda mode: _hyperprior(ScaleHyperprior, mode),
    "mean_scale": lambda mode: _hyperprior(MeanScaleHyperprior, mode),
}


@pytest.fixture(params=MODELS)
def make(request: pytest.FixtureRequest) -> Callable[[str], EntropyModel]:
    def built(quantization: str = "mixed") -> EntropyModel:
        keras.utils.set_random_seed(7)
        model = MODELS[request.param](quantization)
        model.build(SHAPE)
        return model

    return built


def _latents(scale: float = 3.0, count: int = 64) -> np.ndarray:
    shape = (count, *SHAPE[1:])
    return (np.random.default_rng(5).normal(size=shape) * scale).astype(np.float32)


def _bits(aux: dict[str, object]) -> np.ndarray:
    return sum(np.asarray(ops.convert_to_numpy(value)) for value in aux.values())


def test_bits_are_one_number_an_image(make: Callable[..., EntropyModel]) -> None:
    model = make()
    y_hat, aux = model(_latents(), training=False)
    assert set(aux) == set(model.aux_keys)
    assert _bits(aux).shape == (64,)
    assert tuple(y_hat.shape) == (64, *SHAPE[1:])
    assert (_bits(aux) > 0).all()


@pytest.mark.parametrize("mode", MODES)
def test_training_bits_are_no_less_than_evaluation_bits(
    make: Callable[..., EntropyModel], mode: str
) -> None:
    """Noise can only blur the density: its rate is an upper bound, up to sampling noise."""
    model = make(mode)
    y = _latents(scale=8.0)
    trained = _bits(model(y, training=True)[1]).mean()
    evaluated = _bits(model(y, training=False)[1]).mean()
    assert trained >= evaluated * 0.99


def test_outside_training_residuals_are_integers(make: Callable[..., EntropyModel]) -> None:
    model = make()
    y = _latents()
    first = np.asarray(ops.convert_to_numpy(model(y, training=False)[0]))
    second = np.asarray(ops.convert_to_numpy(model(y, training=False)[0]))
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - y).max() <= 0.5 + 1e-5
    if not isinstance(model, MeanScaleHyperprior):
        np.testing.assert_array_equal(first, np.round(first))


def test_models_round_trip_through_their_config(make: Callable[..., EntropyModel]) -> None:
    model = make("noise")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(model))
    if not again.built:
        again.build(SHAPE)
    again.set_weights(model.get_weights())
    y = _latents()
    np.testing.assert_array_equal(
        _bits(model(y, training=False)[1]), _bits(again(y, training=False)[1])
    )
    assert again.get_config() == model.get_config()


def test_masses_of_a_deep_factorized_density_sum_to_one() -> None:
    keras.utils.set_random_seed(1)
    density = DeepFactorized()
    density.build((None, CHANNELS))
    values = np.repeat(np.arange(-2000, 2001, dtype=np.float32)[:, None], CHANNELS, axis=1)
    mass = 2.0 ** -np.asarray(ops.convert_to_numpy(density(values))).astype(np.float64)
    np.testing.assert_allclose(mass.sum(axis=0), 1.0, atol=1e-4)


@pytest.mark.parametrize("spread", [0.1, 1.0, 30.0])
def test_likelihoods_of_a_deep_factorized_density_are_exact(spread: float) -> None:
    """Against the difference of cumulatives in float64, to 1e-5 for likelihoods from 1e-9."""
    rng = np.random.default_rng(6)
    density = DeepFactorized(init_scale=10.0 * spread)
    density.build((None, CHANNELS))
    for weights, deviation in ((density.matrices, 0.3), (density.factors, 0.7)):
        for each in weights:
            start = ops.convert_to_numpy(each)
            each.assign(start + deviation * rng.normal(size=start.shape))
    values = (rng.uniform(-150.0, 150.0, (4000, CHANNELS)) * spread).astype(np.float32)

    def logits(at: np.ndarray) -> np.ndarray:
        found = at.T[:, None, :]  # (C, 1, N)
        for index, matrix in enumerate(density.matrices):
            wide = np.logaddexp(0.0, ops.convert_to_numpy(matrix).astype(np.float64))
            found = wide @ found + ops.convert_to_numpy(density.biases[index])
            if index < len(density.factors):
                found += np.tanh(ops.convert_to_numpy(density.factors[index])) * np.tanh(found)
        return found[:, 0].T

    middle = values.astype(np.float64)
    lower, upper = logits(middle - 0.5), logits(middle + 0.5)
    expected = special.expit(upper) * special.expit(-lower) * -np.expm1(lower - upper)
    found = 2.0 ** -ops.convert_to_numpy(density(values)).astype(np.float64)
    likely = expected >= 1e-9
    assert likely.sum() > 1000
    np.testing.assert_allclose(found[likely], expected[likely], rtol=1e-5)


def test_quantization_modes() -> None:
    x = np.array([[0.2, 1.7, -2.4]], np.float32)
    seed = keras.random.SeedGenerator(3)
    rounded = np.round(x)
    for mode in MODES:
        rate, decoded = (np.asarray(each) for each in quantize(x, mode, False, seed))
        np.testing.assert_array_equal(rate, rounded)
        np.testing.assert_array_equal(decoded, rounded)
        rate, decoded = (np.asarray(each) for each in quantize(x, mode, True, seed))
        noisy = {"noise": (True, True), "straight_through": (False, False), "mixed": (True, False)}
        for value, blurred in zip((rate, decoded), noisy[mode], strict=True):
            assert np.abs(value - x).max() <= 0.5 + 1e-6
            assert (value == rounded).all() != blurred


def test_scales_beyond_the_table_keep_a_gradient() -> None:
    model = _hyperprior(ScaleHyperprior, "mixed")
    places = np.array([-50.0, 10.0, 500.0], np.float32)
    trained = np.asarray(ops.convert_to_numpy(model.scale_at(places, True)))
    table = model.scales()
    np.testing.assert_allclose(trained, [table[0], table[10], table[-1]], rtol=1e-5)
    coded = np.asarray(ops.convert_to_numpy(model.scale_at(places + 0.4, False)))
    np.testing.assert_allclose(coded, [table[0], table[10], table[-1]], rtol=1e-5)
    assert table[0] == pytest.approx(0.11) and table[-1] == pytest.approx(256.0)


@pytest.mark.parametrize("inverse", [False, True])
def test_gdn_is_its_formula(inverse: bool) -> None:
    layer = GDN(inverse=inverse)
    x = np.random.default_rng(2).normal(size=(2, 3, 5, 6)).astype(np.float32)
    layer.build(x.shape)
    root = np.random.default_rng(4).uniform(0.1, 1.0, (6, 6)).astype(np.float32)
    layer.gamma_root.assign(root)
    norm = 1.0 + 1e-6 + np.square(x.astype(np.float64)) @ np.square(root.astype(np.float64))
    expected = x * np.sqrt(norm) if inverse else x / np.sqrt(norm)
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), expected, rtol=1e-5)


def test_gdn_starts_near_one_tenth_of_the_own_square() -> None:
    layer = GDN()
    layer.build((None, 3))
    gamma = np.asarray(ops.convert_to_numpy(layer.gamma))
    np.testing.assert_allclose(gamma, 0.1 * np.eye(3), atol=1e-5)


def _spec(**generator: object) -> dict[str, object]:
    coders = {
        "encoder": {"layers": [{"Conv2D": {"filters": 2, "kernel_size": 3, "padding": "same"}}]},
        "decoder": {"layers": [{"Conv2D": {"filters": 1, "kernel_size": 3, "padding": "same"}}]},
        **generator.pop("coders", {}),  # type: ignore[dict-item]
    }
    return {
        "model": {
            "layers": {
                "inputs": [{"Input": {"shape": [16, 16, 1]}}],
                "generator": {"layers": coders, **generator},
            }
        },
        "loss": [{"BitsPerPixel": {}}, {"MSE": {"scale": 255, "weight": 0.01}}],
        "training": {"metrics": [{"Rate": {}}]},
    }


def test_specs_that_go_wrong_name_what_is_missing() -> None:
    with pytest.raises(SpecError, match=r"loss\[0\].BitsPerPixel: needs bits to count"):
        parse_spec(_spec())
    with pytest.raises(SpecError, match="hyper_encoder: ScaleHyperprior needs it"):
        parse_spec(_spec(entropy_model={"ScaleHyperprior": {}}))
    hyper = {"hyper_encoder": {"layers": [{"Identity": {}}]}}
    with pytest.raises(SpecError, match="hyper_encoder: has no use without"):
        parse_spec(_spec(entropy_model={"FactorizedPrior": {}}, coders=hyper))
    with pytest.raises(SpecError, match='unknown entropy_model "FactorisedPrior"; did you mean'):
        parse_spec(_spec(entropy_model={"FactorisedPrior": {}}))


def test_a_hyper_decoder_of_the_wrong_width_is_named() -> None:
    coders = {
        "hyper_encoder": {"layers": [{"Identity": {}}]},
        "hyper_decoder": {"layers": [{"Identity": {}}]},
    }
    spec = parse_spec(_spec(entropy_model={"MeanScaleHyperprior": {}}, coders=coders))
    with pytest.raises(SpecError, match=r"hyper_decoder: gives 16x16x2 .*expected 16x16x4"):
        ModelBuilder(spec).build()


def test_a_spec_with_an_entropy_model_trains_for_rate_and_distortion() -> None:
    keras.utils.set_random_seed(0)
    changes = {"entropy_model": {"FactorizedPrior": {}}}
    compressor = ModelBuilder(parse_spec(_spec(**changes))).build()
    compressor.compile(optimizer=keras.optimizers.Adam(1e-2))
    rng = np.random.default_rng(0)
    x = (rng.integers(0, 2, (32, 1, 1, 1)) * 255 * np.ones((1, 16, 16, 1))).astype(np.uint8)
    history = compressor.fit(x, epochs=12, batch_size=8, verbose=0).history
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert history["rate_bpp"][-1] == pytest.approx(history["bits_per_pixel"][-1], rel=1e-5)
