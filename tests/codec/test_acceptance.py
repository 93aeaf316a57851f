"""What the codec of every entropy model must pass; the models' own part is in test_entropy_models.

After TensorFlow Compression's `continuous_batched_test.py`: real bytes within 0.5 % of the estimate,
any integers come back, the same bytes after save and load.
"""

from typing import Any

import keras
import numpy as np
import pytest

from architectures.likelihoods import gaussian_bits
from builders.codec_export import make_codec
from builders.model_builder import ModelBuilder
from codec.bundle import Bundle
from codec.hyperprior_coder import HyperpriorCoder
from codec.latent_coders import FactorizedCoder
from tests.codec_models import photo, write_files

KINDS = ["mean_scale", "scale", "factorized"]
SIDE = 128
BITS_A_SYMBOL = 2e-4
BITS_A_STREAM = 8


@pytest.fixture(params=KINDS)
def tiny(request: Any, codecs: Any) -> Any:
    return codecs[request.param]


def latents_of(tiny: Any, spread: float) -> dict[str, np.ndarray]:
    """Latents of a picture, those of a hyperprior drawn anew as its hyper-latents say.

    Args:
        tiny: the codec.
        spread: factor of the residuals; 1 is what the model expects.
    """
    latents = tiny.codec.transforms.analyse(photo(SIDE, SIDE)[None])
    if "z" not in latents:
        return {"y": (spread * latents["y"]).astype(np.float32)}
    model = tiny.generator.entropy_model
    given, _ = model.hyper_decoder(np.round(latents["z"]), training=False)
    parts = np.split(keras.ops.convert_to_numpy(given), model.outputs_per_latent, axis=-1)
    scale = keras.ops.convert_to_numpy(model.scale_at(model.place_of(parts[-1]), False))
    mean = parts[0] if len(parts) == 2 else 0.0
    noise = np.random.default_rng(0).normal(0, spread, scale.shape)
    return {**latents, "y": (mean + scale * noise).astype(np.float32)}


def estimated_bits(tiny: Any, latents: dict[str, np.ndarray], quality: int) -> float:
    """What the model says the latents take, with the places its integer network gives.

    What whole numbers cost beside the trained hyper decoder is `codec_rate`'s business.
    """
    model = tiny.generator.entropy_model
    if "z" not in latents:
        _, aux = model(latents["y"], training=False)
        return float(keras.ops.convert_to_numpy(aux["bits_y"])[0])
    z = np.round(latents["z"])
    _, index = tiny.codec.coder.parameters(z.astype(np.int32), quality)
    y = tiny.codec.coder.quantized(latents, quality).arrays[-1].astype(np.float32)
    bits = gaussian_bits(y, model.scale_at(index.astype(np.float32), False))
    return float(keras.ops.sum(bits)) + float(keras.ops.sum(model.density(z)))


@pytest.mark.parametrize("spread", [0.3, 1.0, 4.0])
def test_real_bytes_are_the_estimate(tiny: Any, spread: float) -> None:
    latents = latents_of(tiny, spread)
    quality = tiny.bundle.manifest.coder.default_quality
    coded = tiny.codec.coder.encode(latents, quality)
    symbols = sum(array.size for array in coded.arrays)
    estimate = estimated_bits(tiny, latents, quality)
    allowed = 1.005 * estimate + BITS_A_SYMBOL * symbols + BITS_A_STREAM
    assert 8 * len(coded.stream) <= allowed
    if spread <= 1:  # farther out, a symbol costs less as an escape than under a Gaussian
        assert 8 * len(coded.stream) >= 0.99 * estimate - BITS_A_STREAM


def test_any_integers_come_back(tiny: Any) -> None:
    shapes = tiny.bundle.geometry.plan(64, 64).shapes
    numbers = np.random.default_rng(1)
    latents = {}
    for name, shape in shapes.items():
        values = numbers.integers(-3, 4, shape).astype(np.float64)
        places = numbers.integers(0, values.size, 12)
        values.ravel()[places] = [0, 1, -1, 300, -300, 70_000, -70_000, 2**24, -(2**24), 2**30, -(2**30), 2**31 - 1]  # fmt: skip
        latents[name] = values.astype(np.float32)
    coder = tiny.codec.coder
    quality = tiny.bundle.manifest.coder.default_quality
    coded = coder.encode(latents, quality)
    decoded = coder.decode(coded.stream, shapes, quality)
    for found, expected in zip(decoded.arrays, coded.arrays, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert coder.encode({"y": decoded.y_hat, "z": latents.get("z", 0)}, quality) is not None


def test_the_same_bytes_after_save_and_load(tiny: Any, tmp_path: Any) -> None:
    picture = photo(50, 70)[None]
    plan = tiny.bundle.geometry.plan(50, 70)
    latents = tiny.codec.transforms.analyse(plan.blocks(picture[0]))
    quality = tiny.bundle.manifest.coder.default_quality
    before = tiny.codec.coder.encode(latents, quality).stream
    tiny.generator.save_weights(tmp_path / "generator.weights.h5")
    again = ModelBuilder(tiny.spec).build().generator
    again.load_weights(tmp_path / "generator.weights.h5")
    parts = make_codec(again, tiny.spec, tiny.images)
    assert parts.files == tiny.parts.files
    bundle = Bundle.read(write_files(tmp_path / "bundle", parts.files))
    assert bundle.digest == tiny.bundle.digest
    assert bundle.coder().encode(latents, quality).stream == before


def test_tables_are_the_models_probabilities(tiny: Any) -> None:
    """Every symbol's frequency, to 2 units of 2**-24 and the escape's share, and they sum to 1."""
    coder = tiny.codec.coder
    assert isinstance(coder, FactorizedCoder | HyperpriorCoder)
    model = tiny.generator.entropy_model
    tables = coder.tables if isinstance(coder, FactorizedCoder) else coder.hyper_tables
    for channel in range(len(tables)):
        low, length = int(tables.lows[channel]), int(tables.lengths[channel])
        start = int(tables.offsets[channel])
        frequencies = tables.frequencies[start : start + length + 1].astype(np.float64)
        assert frequencies.sum() == 2**24
        values = np.zeros((length, len(tables)), np.float32)
        values[:, channel] = np.arange(low, low + length)
        bits = keras.ops.convert_to_numpy(model.density(values))[:, channel]
        expected = 2.0**-bits
        np.testing.assert_allclose(frequencies[:-1] / 2**24, expected, rtol=2e-4, atol=4 / 2**24)
