"""Clipping that values beyond an end can come back from."""

import keras
import numpy as np
import pytest

from architectures.bounds import clip_towards

VALUES = np.array([-3.0, -3.0, 0.0, 1.0, 2.0, 2.0, 5.0, 5.0], np.float32)
SLOPES = np.array([1.0, -1.0, 2.0, -2.0, 2.0, -2.0, -1.0, 1.0], np.float32)
"""Of the loss; descent goes against them."""
PASSED = np.array([0.0, -1.0, 2.0, -2.0, 2.0, -2.0, 0.0, 1.0], np.float32)


def gradient() -> np.ndarray:
    """Of `sum(SLOPES * clip_towards(x, 0, 2))`, by the backend."""
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(lambda x: (SLOPES * clip_towards(x, 0.0, 2.0)).sum())(VALUES))
    import tensorflow as tf

    x = tf.constant(VALUES)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(SLOPES * clip_towards(x, 0.0, 2.0))
    return np.asarray(tape.gradient(loss, x))


def test_values_are_clipped() -> None:
    found = keras.ops.convert_to_numpy(clip_towards(VALUES, 0.0, 2.0))
    np.testing.assert_array_equal(found, np.clip(VALUES, 0.0, 2.0))


def test_gradients_that_lead_away_end_there() -> None:
    np.testing.assert_array_equal(gradient(), PASSED)


@pytest.mark.parametrize("start", [-4.0, 9.0])
def test_descent_comes_back_and_never_goes_farther(start: float) -> None:
    """x is clipped to [0, 2] and the loss is least at 1; then it is least at the end beyond."""
    x = keras.Variable(np.float32(start))
    model = ClippedNumber(x)
    optimizer = keras.optimizers.SGD(0.5)
    model.compile(optimizer=optimizer, loss="mean_squared_error")
    inputs = np.zeros((1, 1), np.float32)
    for _ in range(40):
        model.train_on_batch(inputs, np.full((1, 1), 1.0, np.float32))
    assert abs(float(x) - 1.0) < 1e-3
    x.assign(start)
    for _ in range(40):
        model.train_on_batch(inputs, np.full((1, 1), np.sign(start) * 50.0, np.float32))
    assert float(x) == start


class ClippedNumber(keras.Model):
    """Gives its one number, clipped."""

    def __init__(self, x: keras.Variable) -> None:
        super().__init__()
        self.x = x

    def call(self, inputs: np.ndarray) -> np.ndarray:
        return clip_towards(self.x, 0.0, 2.0) + 0.0 * inputs
