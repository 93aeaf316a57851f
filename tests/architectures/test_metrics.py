"""Image metrics: means over images, weights, 8-bit images, exact sums, serialization."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from architectures import image_quality, losses, metrics

JAX = keras.backend.backend() == "jax"


def images(count: int = 5, side: int = 16, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.random((count, side, side, 2), dtype="float32")
    noise = rng.uniform(0.01, 0.3, (count, 1, 1, 1)) * rng.standard_normal(x.shape)
    return {"x": x, "x_hat": (x + noise).astype("float32")}  # leaves [0, 1]


def part(outputs: dict[str, np.ndarray], rows: Any) -> dict[str, np.ndarray]:
    return {key: value[rows] for key, value in outputs.items()}


def numpy(tensor: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(tensor))


METRICS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "psnr_db": (metrics.PSNR, image_quality.psnr_db),
    "ssim": (metrics.SSIM, image_quality.ssim),
    "ms_ssim": (
        lambda **arguments: metrics.MSSSIM(scales=None, **arguments),
        lambda x, x_hat: image_quality.ms_ssim(x, x_hat, power_factors=(1.0,)),
    ),
    "mse": (metrics.MSE, image_quality.mse),
    "l1": (metrics.L1, image_quality.mae),
}


@pytest.mark.parametrize("name", METRICS)
def test_mean_over_images_whatever_the_batches(name: str) -> None:
    make, function = METRICS[name]
    metric = make()
    assert metric.name == name
    outputs = images()
    clipped = {key: np.clip(value, 0, 1) for key, value in outputs.items()}
    for rows in (slice(0, 2), slice(2, 4), slice(4, 5)):  # the last batch is short
        metric.update_state(part(outputs, rows))
    expected = numpy(function(*clipped.values())).mean()
    np.testing.assert_allclose(numpy(metric.result()), expected, rtol=1e-5)
    assert keras.backend.standardize_dtype(metric.result().dtype) == "float32"
    metric.reset_state()
    metric.update_state(part(outputs, slice(0, 1)))
    first = numpy(function(*part(clipped, slice(0, 1)).values()))[0]
    np.testing.assert_allclose(numpy(metric.result()), first, rtol=1e-5)


@pytest.mark.parametrize("name", METRICS)
def test_as_uint8_compares_what_a_file_would_hold(name: str) -> None:
    make, function = METRICS[name]
    outputs = images()
    saved = {
        key: np.rint(255 * np.clip(value, 0, 1)).astype("uint8").astype("float32") / 255
        for key, value in outputs.items()
    }
    metric = make(as_uint8=True)
    metric.update_state(outputs)
    expected = numpy(function(*saved.values())).mean()
    np.testing.assert_allclose(numpy(metric.result()), expected, rtol=1e-5)
    metric.reset_state()
    metric.update_state({"x": saved["x"], "x_hat": saved["x"] + 0.4 / 255})
    best = 0.0 if name in ("mse", "l1") else 100.0 if name == "psnr_db" else 1.0
    np.testing.assert_allclose(numpy(metric.result()), best, atol=1e-6, rtol=1e-6)


def test_psnr_is_the_mean_of_decibels() -> None:
    x = np.zeros((2, 4, 4, 1), "float32")
    x_hat = np.concatenate([x[:1] + 0.1, x[:1] + 0.01])  # 20 and 40 dB
    metric = metrics.PSNR()
    metric.update_state({"x": x, "x_hat": x_hat})
    np.testing.assert_allclose(numpy(metric.result()), 30.0, rtol=1e-5)


@settings(deadline=None, max_examples=10)
@given(weights=st.lists(st.integers(0, 5), min_size=5, max_size=5).filter(any))
def test_weights(weights: list[int]) -> None:
    outputs = images()
    weighted, repeated = metrics.L1(), metrics.L1()
    weighted.update_state(outputs, sample_weight=np.array(weights, "float32"))
    repeated.update_state(part(outputs, np.repeat(np.arange(5), weights)))
    np.testing.assert_allclose(numpy(weighted.result()), numpy(repeated.result()), rtol=1e-5)


def test_mask_leaves_no_trace_of_what_it_hides() -> None:
    outputs = images()
    outputs["x_hat"][3:] = np.nan  # what pads a batch can be anything
    mask = np.array([True, True, True, False, False])
    masked, alone = metrics.SSIM(), metrics.SSIM()
    masked.update_state(outputs, sample_weight=mask)
    alone.update_state(part(outputs, slice(0, 3)))
    np.testing.assert_allclose(numpy(masked.result()), numpy(alone.result()), rtol=1e-6)


def test_no_image_is_no_number() -> None:
    metric = metrics.MSE()
    assert np.isnan(numpy(metric.result()))
    metric.update_state(images(), sample_weight=np.zeros(5))
    assert np.isnan(numpy(metric.result()))


class Given(metrics.ImageMetric):
    """Takes its values from the outputs."""

    requires = ("values",)

    def per_image(self, outputs: Any) -> Any:
        return outputs["values"]


@pytest.mark.parametrize("compiled", [False, True])
def test_sums_stay_exact_over_millions_of_images(compiled: bool) -> None:
    # After 2^24 images of 33.3 dB, one by one: a single float32 would not count any further, and
    # would add 32 instead of 33.3 each time.
    metric = Given()
    images_before, more = 2**24, 101
    metric.count.assign(float(images_before))
    metric.total.assign(33.3 * images_before)
    before = float(numpy(metric.total))
    value = np.float32(33.3)
    batch = {"values": ops.convert_to_tensor(np.full((1,), value))}
    step = stepper(metric, compiled)
    for _ in range(more):
        step(batch)
    count = float(numpy(metric.count)) + float(numpy(metric.count_error))
    total = float(numpy(metric.total)) + float(numpy(metric.total_error))
    assert count == images_before + more
    assert total == pytest.approx(before + more * float(value), abs=1e-3)
    assert float(numpy(metric.result())) == pytest.approx(33.3, rel=2e-7)


def stepper(metric: Any, compiled: bool) -> Callable[[Any], None]:
    """Returns a function that makes one update, compiled by XLA or not."""
    if JAX:
        import jax

        pure = metric.stateless_update_state
        pure = jax.jit(pure) if compiled else pure

        def step(batch: Any) -> None:
            state = pure([variable.value for variable in metric.variables], batch)
            for variable, value in zip(metric.variables, state, strict=True):
                variable.assign(value)

        return step
    import tensorflow as tf

    return tf.function(metric.update_state, jit_compile=compiled)


def test_missing_outputs_and_wrong_shapes_are_named() -> None:
    with pytest.raises(ValueError, match=r"psnr_db reads x_hat.*returns x"):
        metrics.PSNR().update_state({"x": images()["x"]})
    with pytest.raises(ValueError, match="given must give one value per image"):
        Given().update_state({"values": np.zeros((2, 2), "float32")})
    with pytest.raises(ValueError, match="sample_weight of l1"):
        metrics.L1().update_state(images(), sample_weight=np.ones((5, 1)))
    with pytest.raises(ValueError, match="null in JSON"):
        metrics.SSIM().update_state(images(side=8))
    with pytest.raises(ValueError, match="odd"):
        metrics.SSIM(filter_size=4)
    with pytest.raises(ValueError, match="1 to 5"):
        metrics.MSSSIM(scales=0)


def test_small_images_with_an_explicit_choice() -> None:
    outputs = images(side=8)
    metric = metrics.SSIM(filter_size=None)
    metric.update_state(outputs)
    clipped = [np.clip(value, 0, 1) for value in outputs.values()]
    expected = numpy(image_quality.ssim(*clipped, filter_size=7)).mean()
    np.testing.assert_allclose(numpy(metric.result()), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "metric",
    [
        metrics.PSNR(as_uint8=True),
        metrics.SSIM(filter_size=None, name="structure"),
        metrics.MSSSIM(scales=3, filter_size=7),
        metrics.MSE(),
        metrics.L1(),
    ],
)
def test_serialization_round_trip(metric: Any) -> None:
    config = keras.saving.serialize_keras_object(metric)
    assert config["registered_name"].startswith("codecsmith.metrics>")
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(metric)
    assert again.get_config() == metric.get_config()


def test_a_loss_and_a_metric_of_one_name_stay_apart() -> None:
    for name in ("L1", "MSE", "MSSSIM", "PSNR", "SSIM"):
        loss, metric = getattr(losses, name)(), getattr(metrics, name)()
        for each in (loss, metric):
            again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(each))
            assert type(again) is type(each)
        assert loss.tag != metric.name  # both stand in one log


def test_a_metric_of_ones_own() -> None:
    @keras.saving.register_keras_serializable(package="test")
    class WorstPixel(metrics.ImageMetric):
        def per_image(self, outputs: Any) -> Any:
            return ops.max(ops.absolute(outputs["x"] - outputs["x_hat"]), axis=(1, 2, 3))

    outputs = images()
    metric = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(WorstPixel(as_uint8=False))
    )
    metric.update_state(outputs)
    clipped = np.clip(outputs["x_hat"], 0, 1)
    expected = np.abs(outputs["x"] - clipped).max((1, 2, 3)).mean()
    np.testing.assert_allclose(numpy(metric.result()), expected, rtol=1e-5)
    assert metric.name == "worst_pixel"


def test_state_is_float32_under_mixed_precision() -> None:
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        metric = metrics.L1()
        outputs = images()
        low = {**outputs, "x_hat": ops.cast(outputs["x_hat"], "bfloat16")}
        metric.update_state(low)
    finally:
        keras.config.set_dtype_policy(policy)
    dtypes = {keras.backend.standardize_dtype(each.dtype) for each in metric.variables}
    assert dtypes == {"float32"}
    assert keras.backend.standardize_dtype(metric.result().dtype) == "float32"
