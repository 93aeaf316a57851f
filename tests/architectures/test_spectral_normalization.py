"""The largest singular value of a kernel, against NumPy's, in training and in use."""

import keras
import numpy as np
import pytest
from keras import ops

from architectures.spectral_normalization import SpectralNormalization


def array(value):
    return np.asarray(ops.convert_to_numpy(value), "float32")


def settled(layer, shape, steps=200):
    """A model of the layer whose power iteration has come to rest."""
    keras.utils.set_random_seed(1)
    wrapped = SpectralNormalization(layer)
    model = keras.Sequential([keras.Input(shape), wrapped])
    x = np.random.default_rng(0).normal(size=(5, *shape)).astype("float32")
    for _ in range(steps):
        model(x, training=True)
    return model, wrapped, x


def sigma(kernel):
    return np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]))[1][0]


def test_a_dense_kernel_is_divided_by_its_largest_singular_value():
    model, wrapped, x = settled(keras.layers.Dense(3, bias_initializer="ones"), (4,))
    kernel = array(wrapped.kernel)
    expected = x @ (kernel / sigma(kernel)) + 1
    for training in (True, False):
        np.testing.assert_allclose(array(model(x, training=training)), expected, atol=1e-5)
    np.testing.assert_array_equal(array(wrapped.kernel), kernel)  # and stays what it is


def test_a_convolution_too():
    model, wrapped, x = settled(keras.layers.Conv2D(3, 2, use_bias=False), (4, 4, 2))
    kernel = array(wrapped.kernel)
    plain = keras.layers.Conv2D(3, 2, use_bias=False)
    plain.build((None, 4, 4, 2))
    plain.set_weights([kernel / sigma(kernel)])
    np.testing.assert_allclose(array(model(x)), array(plain(x)), atol=1e-5)


@pytest.mark.parametrize("eagerly", [True, False])
def test_what_is_trained_is_what_is_used(eagerly):
    model, wrapped, x = settled(keras.layers.Dense(3), (4,), steps=100)
    y = x[:, :3] * 5
    model.compile(keras.optimizers.SGD(1e-6), "mse", run_eagerly=eagerly)
    trained = model.fit(x, y, batch_size=5, epochs=2, verbose=0).history["loss"][-1]
    assert model.evaluate(x, y, verbose=0) == pytest.approx(trained, rel=1e-4)
    assert abs(sigma(array(wrapped.kernel)) - 1) > 0.05


def test_a_step_follows_the_gradient_through_the_division():
    model, wrapped, x = settled(keras.layers.Dense(3, use_bias=False), (4,))
    y = np.random.default_rng(1).normal(size=(5, 3))
    kernel = array(wrapped.kernel).astype("float64")

    def loss(weights):
        return np.mean((x @ (weights / sigma(weights)) - y) ** 2)

    expected = np.empty_like(kernel)
    for place in np.ndindex(kernel.shape):
        shift = np.zeros_like(kernel)
        shift[place] = 1e-5
        expected[place] = (loss(kernel + shift) - loss(kernel - shift)) / 2e-5
    model.compile(keras.optimizers.SGD(0.01), "mse", run_eagerly=True)
    model.train_on_batch(x, y)
    found = (kernel - array(wrapped.kernel)) / 0.01
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_only_training_moves_the_power_iteration():
    model, wrapped, x = settled(keras.layers.Dense(3), (4,), steps=0)
    start = array(wrapped.vector_u)
    model(x, training=False)
    np.testing.assert_array_equal(array(wrapped.vector_u), start)
    model(x, training=True)
    assert not np.array_equal(array(wrapped.vector_u), start)
    assert np.linalg.norm(array(wrapped.vector_u)) == pytest.approx(1, rel=1e-5)


def test_a_kernel_of_zeros_gives_zeros():
    model, _, x = settled(keras.layers.Dense(3, kernel_initializer="zeros"), (4,), steps=2)
    np.testing.assert_array_equal(array(model(x)), 0.0)


def test_in_bfloat16_its_variables_stay_float32():
    keras.utils.set_random_seed(1)
    inner = keras.layers.Dense(3, dtype="mixed_bfloat16")
    wrapped = SpectralNormalization(inner, dtype="mixed_bfloat16")
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    for _ in range(50):
        y = wrapped(x, training=True)
    assert keras.backend.standardize_dtype(y.dtype) == "bfloat16"
    assert {variable.dtype for variable in wrapped.variables} == {"float32"}
    kernel = array(wrapped.kernel)
    np.testing.assert_allclose(array(y), x @ (kernel / sigma(kernel)), atol=0.05)


def test_it_is_written_and_read_back():
    wrapped = SpectralNormalization(keras.layers.Dense(3), power_iterations=2, name="s")
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(wrapped))
    assert type(twin) is SpectralNormalization
    assert twin.power_iterations == 2 and twin.layer.units == 3
