"""Code lengths against closed forms, far into the tails."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from scipy import special

from architectures.likelihoods import gaussian_bits, log_upper_tail, logistic_bin_bits


def _bits_by_scipy(value: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """-log2 of the bin's mass, in float64 and by logarithms, so that tails do not underflow."""
    v, s = np.abs(value.astype(np.float64)), scale.astype(np.float64)
    low, high = special.log_ndtr(-(v - 0.5) / s), special.log_ndtr(-(v + 0.5) / s)
    return -(low + np.log1p(-np.exp(high - low))) / np.log(2.0)


def _numpy(tensor: object) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(tensor))


def test_upper_tail_is_exact_where_it_underflows() -> None:
    x = np.array([0.0, 0.3, 1.0, 4.0, 12.0, 40.0, 1000.0], np.float32)
    expected = special.log_ndtr(-x.astype(np.float64))
    np.testing.assert_allclose(_numpy(log_upper_tail(x)), expected, rtol=3e-6)


@settings(max_examples=200, deadline=None)
@given(
    st.floats(-300.0, 300.0, width=32),
    st.floats(0.125, 256.0, width=32),
)
def test_gaussian_bits_are_those_of_the_integral(value: float, scale: float) -> None:
    v, s = np.array([value], np.float32), np.array([scale], np.float32)
    np.testing.assert_allclose(
        _numpy(gaussian_bits(v, s)), _bits_by_scipy(v, s), rtol=1e-4, atol=2e-5
    )


def test_gaussian_likelihoods_are_exact_to_a_hundred_thousandth() -> None:
    """What the comparison with TensorFlow Compression asks for, for likelihoods from 1e-15."""
    scales = np.exp(np.linspace(np.log(0.11), np.log(256.0), 400))
    v, s = (grid.astype(np.float32) for grid in np.meshgrid(np.linspace(-7.0, 7.0, 561), scales))
    v = np.round(v * s * 4) / np.float32(4.0)
    expected = _bits_by_scipy(v, s)
    error = np.abs(np.expm1((_numpy(gaussian_bits(v, s)) - expected) * np.log(2.0)))
    assert error[expected <= -np.log2(1e-15)].max() < 1e-5


@pytest.mark.parametrize("scale", [0.11, 0.5, 1.0, 7.9, 8.0, 8.1, 40.0, 256.0])
def test_gaussian_masses_sum_to_one(scale: float) -> None:
    reach = int(12 * scale) + 3
    values = np.arange(-reach, reach + 1, dtype=np.float32)
    bits = _numpy(gaussian_bits(values, np.full_like(values, scale)))
    assert np.sum(2.0 ** -bits.astype(np.float64)) == pytest.approx(1.0, abs=1e-5)


def test_gaussian_bits_have_finite_gradients_everywhere() -> None:
    values = np.concatenate([np.linspace(-400, 400, 801), [0.0, 0.5, -0.5, 0.49999]])
    values = np.tile(values.astype(np.float32), 4)
    scales = np.repeat(np.array([0.11, 1.0, 8.0, 256.0], np.float32), len(values) // 4)
    gradients = _gradients(lambda v, s: ops.sum(gaussian_bits(v, s)), values, scales)
    assert all(np.isfinite(each).all() for each in gradients)
    # Far out a symbol still pulls: more distance costs more bits.
    far = np.abs(values) > 50
    assert (np.sign(gradients[0][far]) == np.sign(values[far])).all()


def test_gaussian_gradient_is_that_of_finite_differences() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=200).astype(np.float32) * 4
    scales = np.exp(rng.uniform(-1.5, 4.0, 200)).astype(np.float32)
    by_value, by_scale = _gradients(lambda v, s: ops.sum(gaussian_bits(v, s)), values, scales)
    step = 1e-4
    v, s = values.astype(np.float64), scales.astype(np.float64)
    expected = (_bits_by_scipy(v + step, s) - _bits_by_scipy(v - step, s)) / (2 * step)
    np.testing.assert_allclose(by_value, expected, rtol=2e-3, atol=2e-3)
    expected = (_bits_by_scipy(v, s + step) - _bits_by_scipy(v, s - step)) / (2 * step)
    np.testing.assert_allclose(by_scale, expected, rtol=2e-3, atol=2e-3)


def test_logistic_bins_are_exact_in_both_tails() -> None:
    lower = np.array([-120.0, -30.0, -1.0, 0.0, 5.0, 30.0, 120.0], np.float32)
    width = np.array([0.01, 1.0, 2.0, 1e-3, 1.0, 1.0, 3.0], np.float32)
    low, wide = lower.astype(np.float64), width.astype(np.float64)
    log_mass = special.log_expit(low + wide) + special.log_expit(-low) + np.log(-np.expm1(-wide))
    np.testing.assert_allclose(
        _numpy(logistic_bin_bits(lower, width)), -log_mass / np.log(2.0), rtol=1e-6
    )


def _gradients(function, *arrays: np.ndarray) -> list[np.ndarray]:  # type: ignore[no-untyped-def]
    if keras.backend.backend() == "jax":
        import jax

        return [np.asarray(g) for g in jax.grad(function, argnums=(0, 1))(*arrays)]
    import tensorflow as tf

    variables = [tf.constant(array) for array in arrays]
    with tf.GradientTape() as tape:
        for variable in variables:
            tape.watch(variable)
        total = function(*variables)
    return [g.numpy() for g in tape.gradient(total, variables)]
