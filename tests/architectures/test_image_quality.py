"""Pixelwise measures against NumPy, TensorFlow, scikit-image, Keras and closed forms."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from skimage.metrics import peak_signal_noise_ratio

from architectures import image_quality
from architectures.image_quality import (
    binary_crossentropy,
    kl_to_standard_normal,
    mae,
    mse,
    psnr_db,
)

JAX = keras.backend.backend() == "jax"


@pytest.fixture
def tf() -> Any:
    """TensorFlow; missing is a failure, except where the backend says it may be missing."""
    if JAX:
        pytest.skip("compares with TensorFlow")
    import tensorflow

    return tensorflow


def pair(seed: int = 0, noise: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.random((3, 9, 7, 2), dtype="float32")
    return x, np.clip(x + noise * rng.standard_normal(x.shape), 0, 1).astype("float32")


def numpy(tensor: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(tensor))


def gradient(function: Callable[[Any], Any], value: np.ndarray) -> np.ndarray:
    """Gradient of the sum of what a function returns."""
    if JAX:
        import jax

        return np.asarray(jax.jit(jax.grad(lambda v: ops.sum(function(v))))(value))
    import tensorflow as tf

    variable = tf.Variable(value)
    with tf.GradientTape() as tape:
        total = ops.sum(function(variable.value()))
    return tape.gradient(total, variable).numpy()


def test_mse_and_mae_per_image() -> None:
    x, x_hat = pair()
    error = x.astype("float64") - x_hat
    np.testing.assert_allclose(numpy(mse(x, x_hat)), (error**2).mean((1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(numpy(mae(x, x_hat)), abs(error).mean((1, 2, 3)), rtol=1e-5)


def test_psnr_equals_tensorflow(tf: Any) -> None:
    x, x_hat = pair()
    np.testing.assert_allclose(psnr_db(x, x_hat), tf.image.psnr(x, x_hat, 1.0), rtol=1e-5)


def test_psnr_equals_scikit_image_on_bytes() -> None:
    x, x_hat = ((255 * image).astype("uint8") for image in pair())
    expected = [
        peak_signal_noise_ratio(a, b, data_range=255) for a, b in zip(x, x_hat, strict=True)
    ]
    np.testing.assert_allclose(numpy(psnr_db(x, x_hat, max_val=255)), expected, rtol=1e-5)


def test_psnr_of_a_known_error() -> None:
    x = np.full((1, 4, 4, 1), 0.5, "float32")
    np.testing.assert_allclose(numpy(psnr_db(x, x + 0.1)), [20.0], rtol=1e-5)
    np.testing.assert_allclose(numpy(psnr_db(x, x + 1e-4)), [80.0], rtol=1e-3)


def test_psnr_of_identical_images_is_the_cap() -> None:
    x, _ = pair()
    np.testing.assert_allclose(numpy(psnr_db(x, x)), 100.0, rtol=1e-6)
    np.testing.assert_allclose(numpy(psnr_db(255 * x, 255 * x, max_val=255)), 100.0, rtol=1e-6)
    np.testing.assert_allclose(numpy(psnr_db(x, x, cap_db=60)), 60.0, rtol=1e-6)
    one_level_off = np.zeros((1, 1, 150_000, 1), "float32")
    one_level_off[0, 0, 0, 0] = 1 / 255
    found = numpy(psnr_db(np.zeros_like(one_level_off), one_level_off))
    np.testing.assert_allclose(found, 99.89, atol=0.01)  # what the docstring says of the cap


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10**6), factor=st.floats(0.1, 255))
def test_scales_of_the_range(seed: int, factor: float) -> None:
    x, x_hat = pair(seed)
    a, b = factor * x, factor * x_hat
    np.testing.assert_allclose(numpy(mse(a, b)), factor**2 * numpy(mse(x, x_hat)), rtol=1e-4)
    np.testing.assert_allclose(numpy(mae(a, b)), factor * numpy(mae(x, x_hat)), rtol=1e-4)
    np.testing.assert_allclose(numpy(psnr_db(a, b, factor)), numpy(psnr_db(x, x_hat)), rtol=1e-4)
    np.testing.assert_allclose(
        numpy(binary_crossentropy(a, b, factor)), numpy(binary_crossentropy(x, x_hat)), rtol=1e-3
    )
    np.testing.assert_allclose(numpy(mse(x, x_hat)), numpy(mse(x_hat, x)))
    np.testing.assert_allclose(numpy(mae(x, x_hat)), numpy(mae(x_hat, x)))


def test_binary_crossentropy_equals_keras() -> None:
    x, x_hat = pair()
    expected = ops.mean(keras.losses.binary_crossentropy(x, x_hat), axis=(1, 2))
    np.testing.assert_allclose(numpy(binary_crossentropy(x, x_hat)), numpy(expected), rtol=1e-4)


def test_binary_crossentropy_is_least_at_the_image_and_finite_at_its_ends() -> None:
    x = np.full((1, 3, 3, 1), 0.3, "float32")
    entropy = -0.3 * np.log(0.3) - 0.7 * np.log(0.7)
    np.testing.assert_allclose(numpy(binary_crossentropy(x, x)), [entropy], rtol=1e-5)
    np.testing.assert_allclose(gradient(lambda v: binary_crossentropy(x, v), x), 0, atol=1e-6)
    white, black = np.ones_like(x), np.zeros_like(x)
    assert 15.9 < numpy(binary_crossentropy(white, black))[0] < 16.2
    np.testing.assert_allclose(numpy(binary_crossentropy(white, white)), 0, atol=1e-6)


def test_kl_in_closed_form() -> None:
    mean = np.array([[0, 0, 0], [1, -2, 0], [0, 0, 0]], "float32")
    log_var = np.array([[0, 0, 0], [0, 0, 0], [np.log(4), 0, 0]], "float32")
    found = numpy(kl_to_standard_normal(mean, log_var))
    np.testing.assert_allclose(found, [0, 2.5, 0.5 * (4 - 1 - np.log(4))], rtol=1e-6)


def test_kl_equals_a_sampled_expectation() -> None:
    rng = np.random.default_rng(0)
    mean, log_var = np.array([[0.7]]), np.array([[-0.8]])
    z = mean + np.exp(0.5 * log_var) * rng.standard_normal((1, 400_000))
    log_posterior = -0.5 * ((z - mean) ** 2 / np.exp(log_var) + log_var)
    sampled = (log_posterior + 0.5 * z**2).mean()
    found = numpy(kl_to_standard_normal(mean.astype("float32"), log_var.astype("float32")))
    np.testing.assert_allclose(found, [sampled], atol=0.01)


def test_kl_sums_over_any_latent_shape_and_keeps_small_values() -> None:
    mean, log_var = np.full((2, 4, 4, 8), 1e-3, "float32"), np.full((2, 4, 4, 8), 2e-3, "float32")
    expected = 0.5 * 128 * (np.expm1(2e-3) - 2e-3 + 1e-6)
    np.testing.assert_allclose(numpy(kl_to_standard_normal(mean, log_var)), expected, rtol=1e-3)
    with pytest.raises(ValueError, match="one shape"):
        kl_to_standard_normal(mean, log_var[:, :2])


@pytest.mark.parametrize("name", ["mse", "mae", "psnr_db", "binary_crossentropy"])
def test_gradients_are_finite(name: str) -> None:
    function = getattr(image_quality, name)
    x, _ = pair()
    for a, b in [(x, x), (0 * x, 0 * x), (1 + 0 * x, 0 * x), (x, 0.5 + 0 * x)]:
        assert np.isfinite(gradient(lambda v, a=a: function(a, v), b)).all()
    if name != "binary_crossentropy":
        np.testing.assert_array_equal(gradient(lambda v: function(x, v), x), 0)


@pytest.mark.parametrize("name", ["mse", "mae", "psnr_db", "binary_crossentropy"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_arithmetic_is_float32(name: str, dtype: str) -> None:
    function = getattr(image_quality, name)
    low = [ops.cast(ops.convert_to_tensor(image), dtype) for image in pair()]
    found = function(*low)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    assert tuple(found.shape) == (3,)
    wide = [ops.cast(image, "float32") for image in low]
    np.testing.assert_array_equal(numpy(found), numpy(function(*wide)))


@pytest.mark.parametrize("name", ["mse", "mae", "psnr_db", "binary_crossentropy"])
def test_other_shapes_do_not_broadcast(name: str) -> None:
    x, _ = pair()
    with pytest.raises(ValueError, match="one shape"):
        getattr(image_quality, name)(x, x[..., :1])
    with pytest.raises(ValueError, match="one shape"):
        getattr(image_quality, name)(x[:, 0], x[:, 0])
