"""A model for each block, against one dense layer at a time."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from architectures.blocks import BlockDense, Blocks


def numpy(tensor: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(tensor))


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def test_blocks_are_rows_of_pixels_and_come_back() -> None:
    x = random(2, 4, 6, 3)
    step = Blocks([2, 3])
    step.build(x.shape)
    cut = numpy(step(x))
    assert cut.shape == step.compute_output_shape(x.shape) == (2, 6, 12)
    assert np.array_equal(cut[1, 4], x[1, 2:, 2:4].ravel())  # second row, second column
    assert np.array_equal(numpy(step.inverse(cut)), x)


def test_a_copy_joins_blocks_without_having_seen_an_image() -> None:
    step = Blocks([2, 2])
    step.build((None, 4, 4, 1))
    copy = Blocks.from_config(step.get_config())
    cut = random(3, 4, 4)
    assert np.array_equal(numpy(copy.inverse(cut)), numpy(step.inverse(cut)))
    with pytest.raises(ValueError, match="must see an image before"):
        Blocks([2, 2]).inverse(cut)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((None, 5, 4, 3), "multiples of the grid 2x2, found 5x4"),
        ((None, None, 4, 3), "needs images of known height and width"),
        ((None, 4, 4), "height, width and channels"),
    ],
)
def test_images_that_can_not_be_cut(shape: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Blocks([2, 2]).build(shape)


def test_each_block_has_a_dense_layer_of_its_own() -> None:
    layer = BlockDense(3, activation="relu", bias_initializer="ones")
    x = random(5, 4, 6) - 0.5
    found = numpy(layer(x))
    assert found.shape == layer.compute_output_shape(x.shape) == (5, 4, 3)
    for block in range(4):
        dense = keras.layers.Dense(3, activation="relu")
        dense.build((None, 6))
        dense.set_weights([numpy(layer.kernel)[block], numpy(layer.bias)[block]])
        assert np.allclose(found[:, block], numpy(dense(x[:, block])), atol=1e-6)


def test_blocks_begin_with_different_weights_of_the_size_of_one_layer() -> None:
    layer = BlockDense(300)
    layer.build((None, 4, 500))
    kernels = numpy(layer.kernel)
    assert not np.array_equal(kernels[0], kernels[1])
    limit = np.sqrt(6 / (300 + 500))  # Glorot's, of one block's matrix
    assert 0.98 * limit < np.abs(kernels).max() <= limit


def test_weights_follow_the_seed() -> None:
    def kernel() -> np.ndarray:
        keras.utils.set_random_seed(3)
        layer = BlockDense(4)
        layer.build((None, 2, 3))
        return numpy(layer.kernel)

    assert np.array_equal(kernel(), kernel())


def test_a_layer_comes_back_from_its_config() -> None:
    layer = BlockDense(2, activation="tanh", kernel_initializer="he_normal")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert copy.get_config() == layer.get_config()
    with pytest.raises(ValueError, match="needs blocks and values as its input"):
        layer.build((None, 8, 8, 3))
