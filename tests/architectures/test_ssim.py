"""SSIM and MS-SSIM against TensorFlow, scikit-image and closed forms, by every filter."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from skimage.metrics import structural_similarity

from architectures import gaussian_window, ssim_windows
from architectures.image_quality import (
    largest_window,
    ms_ssim,
    ms_ssim_power_factors,
    ms_ssim_scales,
    ssim,
)
from architectures.ssim import _power

JAX = keras.backend.backend() == "jax"


@pytest.fixture
def tf() -> Any:
    """TensorFlow; missing is a failure, except where the backend says it may be missing."""
    if JAX:
        pytest.skip("compares with TensorFlow")
    import tensorflow

    return tensorflow


def pair(shape: tuple[int, ...], seed: int = 0, noise: float = 0.1) -> tuple[Any, Any]:
    """A smooth random image with noise, and another noisy version of it."""
    rng = np.random.default_rng(seed)
    batch, height, width, channels = shape
    rows = np.sin(np.linspace(0, 9, height))[None, :, None, None]
    columns = np.cos(np.linspace(0, 7, width))[None, None, :, None]
    smooth = 0.5 + 0.3 * rows * columns * rng.uniform(0.5, 1, (batch, 1, 1, channels))
    return tuple(
        np.clip(smooth + noise * rng.standard_normal(shape), 0, 1).astype("float32")
        for _ in range(2)
    )


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


SHAPES = [(2, 11, 11, 1), (1, 12, 13, 3), (2, 28, 28, 1), (1, 140, 30, 3), (1, 131, 161, 2)]


@pytest.mark.parametrize("shape", SHAPES)
def test_ssim_equals_tensorflow(tf: Any, shape: tuple[int, ...]) -> None:
    x, x_hat = pair(shape)
    np.testing.assert_allclose(ssim(x, x_hat), tf.image.ssim(x, x_hat, 1.0), atol=1e-5)


@pytest.mark.parametrize("filter_size", [1, 3, 7, 41])
def test_other_windows_equal_tensorflow(tf: Any, filter_size: int) -> None:
    x, x_hat = pair((2, 43, 150, 2))
    found = ssim(x, x_hat, filter_size=filter_size, filter_sigma=filter_size / 5)
    expected = tf.image.ssim(x, x_hat, 1.0, filter_size=filter_size, filter_sigma=filter_size / 5)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(28, 28, 1), (33, 150, 3)])
def test_ssim_equals_scikit_image(shape: tuple[int, ...]) -> None:
    # scikit-image reflects at the border when it filters, but then averages the map without a
    # border of (11 - 1) / 2 pixels: what is left are the windows that fit entirely, as here.
    x, x_hat = pair((1, *shape))
    expected = structural_similarity(
        x[0].astype("float64"),
        x_hat[0].astype("float64"),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1.0,
        channel_axis=-1,
    )
    np.testing.assert_allclose(numpy(ssim(x, x_hat)), [expected], atol=1e-6)


def test_gradient_equals_tensorflow(tf: Any) -> None:
    x, x_hat = pair((2, 30, 140, 3))
    found = gradient(lambda v: ssim(x, v), x_hat)
    expected = gradient(lambda v: tf.image.ssim(tf.constant(x), v, 1.0), x_hat)
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("shape", [(3, 28, 28), (2, 11, 75), (1, 42, 140), (1, 12, 43)])
@pytest.mark.parametrize("method", ["matmul", "polyphase", "shifted"])
def test_every_filter_is_the_convolution(shape: tuple[int, ...], method: Any) -> None:
    weights = gaussian_window.gaussian_weights(11, 1.5)
    planes = np.random.default_rng(1).random(shape, dtype="float32")
    windows = np.lib.stride_tricks.sliding_window_view(planes, (11, 11), axis=(1, 2))
    expected = np.einsum("nhwij,i,j->nwh", windows.astype("float64"), weights, weights)
    found = gaussian_window.gaussian_filter([planes, -planes], weights, method)
    np.testing.assert_allclose(numpy(found[0]), expected, atol=1e-6)
    np.testing.assert_allclose(numpy(found[1]), -expected, atol=1e-6)


def test_unknown_filter_is_refused() -> None:
    weights = gaussian_window.gaussian_weights(11, 1.5)
    with pytest.raises(ValueError, match="polyphase"):
        gaussian_window.gaussian_filter([np.zeros((1, 20, 20), "float32")], weights, "fft")


def test_accelerators_get_float32_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gaussian_window.default_method(28) == "matmul"
    assert gaussian_window.default_method(768) == "polyphase"
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: ["gpu:0"])
    x, x_hat = pair((1, 28, 140, 1))
    if JAX:
        import jax

        traced = str(jax.make_jaxpr(jax.grad(lambda v: ops.sum(ssim(x, v))))(x_hat))
        # Four products forward and three back (x is data) for the rows of 28, as many
        # convolutions for those of 140, and all of them ordered in full.
        assert traced.count("dot_general[") == traced.count("conv_general_dilated[") == 7
        assert traced.count("precision=(Precision.HIGHEST, Precision.HIGHEST)") == 14
        return
    assert gaussian_window.default_method(28) == "shifted"
    on_gpu = numpy(ssim(x, x_hat))
    monkeypatch.undo()
    np.testing.assert_allclose(on_gpu, numpy(ssim(x, x_hat)), atol=1e-6)


@pytest.mark.parametrize("compiled", [False, True])
def test_unknown_sizes(tf: Any, compiled: bool) -> None:
    spec = tf.TensorSpec((None, None, None, 3))
    both = tf.function(
        lambda x, x_hat: (ssim(x, x_hat), ms_ssim(x, x_hat, power_factors=(0.4, 0.6))),
        input_signature=[spec, spec],
        jit_compile=compiled,
        autograph=False,
    )
    for shape in [(2, 22, 23, 3), (1, 45, 141, 3)]:
        x, x_hat = pair(shape)
        once, multi = both(x, x_hat)
        np.testing.assert_allclose(once, tf.image.ssim(x, x_hat, 1.0), atol=1e-5)
        expected = tf.image.ssim_multiscale(x, x_hat, 1.0, power_factors=(0.4, 0.6))
        np.testing.assert_allclose(multi, expected, atol=1e-4)
    for side in (9, 10):  # too small, but nobody could know when it was traced
        assert np.isnan(both(*pair((1, side, 40, 3)))[0]).all()
    once, multi = both(*pair((1, 20, 40, 3)))  # one scale fits, two do not
    assert np.isfinite(once).all()
    assert np.isnan(multi).all()


TWO_SCALES: dict[str, Any] = {"power_factors": (0.4, 0.6)}


def test_jitted_under_jax() -> None:
    if not JAX:
        pytest.skip("needs the JAX backend")
    import jax

    x, x_hat = pair((2, 22, 22, 1))
    step = jax.jit(jax.value_and_grad(lambda v: ops.sum(ssim(x, v) + ms_ssim(x, v, **TWO_SCALES))))
    value, slope = step(x_hat)
    expected = ops.sum(ssim(x, x_hat) + ms_ssim(x, x_hat, **TWO_SCALES))
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert np.isfinite(slope).all()


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10**6), noise=st.floats(0, 0.5), max_val=st.sampled_from([1.0, 7, 255]))
def test_ssim_properties(seed: int, noise: float, max_val: float) -> None:
    x, x_hat = pair((2, 14, 17, 2), seed, noise)
    value = numpy(ssim(x, x_hat))
    assert value.shape == (2,)
    assert value.dtype == np.float32
    assert (value <= 1 + 1e-6).all()
    assert (value >= -1 - 1e-6).all()
    np.testing.assert_allclose(value, numpy(ssim(x_hat, x)), atol=1e-6)
    np.testing.assert_allclose(numpy(ssim(x, x)), 1.0, atol=1e-6)
    scaled = ssim(x * max_val, x_hat * max_val, max_val)
    np.testing.assert_allclose(value, numpy(scaled), atol=2e-5)
    turned = ssim(np.rot90(x, axes=(1, 2)).copy(), np.rot90(x_hat, axes=(1, 2)).copy())
    np.testing.assert_allclose(value, numpy(turned), atol=1e-5)


def test_flat_images_have_the_luminance_term_only() -> None:
    x, x_hat = np.full((1, 16, 16, 1), 0.3, "float32"), np.full((1, 16, 16, 1), 0.6, "float32")
    expected = (2 * 0.3 * 0.6 + 1e-4) / (0.3**2 + 0.6**2 + 1e-4)
    np.testing.assert_allclose(numpy(ssim(x, x_hat)), expected, atol=1e-4)


@pytest.mark.parametrize("dtype", ["uint8", "float16", "bfloat16"])
def test_arithmetic_is_float32(dtype: str) -> None:
    x, x_hat = pair((1, 24, 24, 1))
    scale = 255.0 if dtype == "uint8" else 1.0
    low = [ops.cast(ops.convert_to_tensor(scale * image), dtype) for image in (x, x_hat)]
    wide = [ops.cast(image, "float32") for image in low]
    found = ssim(*low, scale)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    np.testing.assert_array_equal(numpy(found), numpy(ssim(*wide, scale)))
    multi = ms_ssim(*low, scale, **TWO_SCALES)
    np.testing.assert_array_equal(numpy(multi), numpy(ms_ssim(*wide, scale, **TWO_SCALES)))


MS_SHAPES = [(1, 161, 161, 1), (2, 176, 163, 3)]  # odd at several scales


@pytest.mark.parametrize("shape", MS_SHAPES)
def test_ms_ssim_equals_tensorflow(tf: Any, shape: tuple[int, ...]) -> None:
    x, x_hat = pair(shape, noise=0.3)
    expected = tf.image.ssim_multiscale(x, x_hat, 1.0)
    np.testing.assert_allclose(ms_ssim(x, x_hat), expected, atol=1e-4)


def test_fewer_scales_equal_tensorflow(tf: Any) -> None:
    x, x_hat = pair((2, 47, 53, 3), noise=0.3)
    factors = ms_ssim_power_factors(3)
    found = ms_ssim(x, x_hat, power_factors=factors)
    expected = tf.image.ssim_multiscale(x, x_hat, 1.0, power_factors=factors)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    slope = gradient(lambda v: ms_ssim(x, v, power_factors=factors), x_hat)
    reference = gradient(
        lambda v: tf.image.ssim_multiscale(tf.constant(x), v, 1.0, power_factors=factors), x_hat
    )
    assert np.isnan(reference).any()  # where a contrast term is negative; here that is 0
    reference = np.nan_to_num(reference)
    np.testing.assert_allclose(slope, reference, atol=1e-3 * np.abs(reference).max())


def test_one_scale_of_weight_one_is_ssim() -> None:
    x, x_hat = pair((2, 20, 20, 1))
    np.testing.assert_allclose(
        numpy(ms_ssim(x, x_hat, power_factors=(1.0,))), numpy(ssim(x, x_hat)), atol=1e-6
    )


def images_for_gradients() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    x, x_hat = pair((2, 24, 24, 2))
    black, flat = np.zeros_like(x), np.full_like(x, 0.5)
    return {
        "identical": (x, x),
        "inverted": (x, 1 - x),
        "black": (black, black),
        "black on noise": (x, black),
        "flat": (flat, flat),
        "flat on noise": (flat, x_hat),
    }


@pytest.mark.parametrize("name", images_for_gradients())
def test_gradients_are_finite(name: str) -> None:
    x, x_hat = images_for_gradients()[name]
    assert np.isfinite(gradient(lambda v: ssim(x, v), x_hat)).all()
    assert np.isfinite(gradient(lambda v: ms_ssim(x, v, **TWO_SCALES), x_hat)).all()


def test_negative_contrast_scores_zero_as_in_tensorflow(tf: Any) -> None:
    x, _ = pair((2, 24, 24, 2))
    expected = tf.image.ssim_multiscale(x, 1 - x, 1.0, power_factors=(0.4, 0.6))
    np.testing.assert_array_equal(ms_ssim(x, 1 - x, **TWO_SCALES), expected)
    np.testing.assert_array_equal(expected, 0)


@pytest.mark.parametrize("exponent", [*ssim_windows.MS_SSIM_POWER_FACTORS, 0.145, 1.0])
def test_power_is_exact_with_bounded_slope(exponent: float) -> None:
    base = np.concatenate([[-1, -1e-9, 0], np.logspace(-12, 0, 60)]).astype("float32")
    positive = np.maximum(base, 0).astype("float64")
    np.testing.assert_allclose(numpy(_power(base, exponent)), positive**exponent, rtol=1e-5)
    slope = gradient(lambda v: _power(v, exponent), base)
    assert (slope <= 54).all()
    np.testing.assert_array_equal(slope[:3], 0)
    assert (slope[3:] > 0).all()
    steep = base[base >= 1e-3]
    np.testing.assert_allclose(slope[base >= 1e-3], exponent * steep ** (exponent - 1), rtol=1e-4)


def test_windows_and_scales_that_fit() -> None:
    assert [largest_window(n, 99) for n in (1, 2, 8, 10, 11, 12)] == [1, 1, 7, 9, 11, 11]
    assert largest_window(28, 5, filter_size=7) == 5
    assert [ms_ssim_scales(n, 999) for n in (10, 11, 20, 21, 160, 161, 500)] == [
        *(0, 1, 1, 2, 4, 5, 5)
    ]
    with pytest.raises(ValueError, match="height 0"):
        largest_window(0, 5)


def test_scales_that_fit_are_those_tensorflow_takes(tf: Any) -> None:
    for side in (40, 41, 160, 161):
        x, x_hat = pair((1, side, side + 3, 1))
        scales = ms_ssim_scales(side, side + 3)
        assert np.isfinite(ms_ssim(x, x_hat, power_factors=(0.2,) * scales)).all()
        if scales < 5:
            with pytest.raises(tf.errors.InvalidArgumentError):
                tf.image.ssim_multiscale(x, x_hat, 1.0, power_factors=(0.2,) * (scales + 1))


def test_power_factors_are_renormalised() -> None:
    assert ms_ssim_power_factors(5) == (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
    for scales in range(1, 5):
        factors = ms_ssim_power_factors(scales)
        assert len(factors) == scales
        assert sum(factors) == pytest.approx(1)
        assert factors[-1] / factors[0] == pytest.approx(
            ms_ssim_power_factors(5)[scales - 1] / 0.0448
        )
    for scales in (0, 6):
        with pytest.raises(ValueError, match="1 to 5"):
            ms_ssim_power_factors(scales)


def test_what_does_not_fit_is_an_error() -> None:
    small, large = np.zeros((1, 8, 28, 1), "float32"), np.zeros((1, 28, 28, 1), "float32")
    with pytest.raises(ValueError, match=r"\(8, 28\).*filter_size 11.*fits is 7"):
        ssim(small, small)
    with pytest.raises(ValueError, match=r"\(28, 28\).*5 scales.*2 would fit"):
        ms_ssim(large, large)
    with pytest.raises(ValueError, match="odd"):
        ssim(large, large, filter_size=10)
    with pytest.raises(ValueError, match="one exponent"):
        ms_ssim(large, large, power_factors=())
    with pytest.raises(ValueError, match="one shape"):
        ssim(large, np.zeros((1, 28, 28, 3), "float32"))
    with pytest.raises(ValueError, match="one shape"):
        ssim(large[0], large[0])
