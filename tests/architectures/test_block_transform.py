"""Block transforms: the DCT they begin as, their inverse, sizes, costs."""

from typing import Any

import keras
import numpy as np
import pytest
import scipy.fft
from keras import ops

from architectures.block_transform import BlockTransform, InverseBlockTransform, cosine_basis
from architectures.cost import multiply_accumulates


def numpy(tensor: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(tensor))


def image(height: int, width: int, channels: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, height, width, channels)).astype(np.float32)


@pytest.mark.parametrize(("block", "channels"), [(2, 1), (8, 1), (4, 3)])
def test_the_basis_is_scipys_dct(block: int, channels: int) -> None:
    x = image(block, block, channels)[0]
    basis = cosine_basis(block, channels, block * block * channels)
    found = np.sort(np.abs(x.ravel() @ basis))
    expected = scipy.fft.dctn(x, axes=(0, 1), norm="ortho")
    np.testing.assert_allclose(found, np.sort(np.abs(expected.ravel())), atol=1e-5)
    np.testing.assert_allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-6)


def test_low_frequencies_of_heavy_channels_come_first() -> None:
    basis = cosine_basis(4, 2, 3, [1.0, 0.45]).reshape(4, 4, 2, 3)
    np.testing.assert_allclose(basis[:, :, 0, 0], 0.25)  # the mean of channel 0
    assert not basis[:, :, 1].any()  # 0.45 is less than 1 / (1 + 1), the next two of channel 0
    assert cosine_basis(4, 2, 4, [1.0, 0.45]).reshape(4, 4, 2, 4)[:, :, 1, 3].any()


@pytest.mark.parametrize("weights", [None, [1.0, 0.5, 0.5]])
def test_all_coefficients_give_the_image_back(weights: Any) -> None:
    x = image(16, 24, 3)
    y = BlockTransform(192, 8, weights)(x)
    assert tuple(y.shape) == (2, 2, 3, 192)
    x_hat = InverseBlockTransform(3, 8, weights)(y)
    np.testing.assert_allclose(numpy(x_hat), x, atol=1e-5)


def test_fewer_coefficients_keep_the_means() -> None:
    x = image(8, 8, 1)
    x_hat = numpy(InverseBlockTransform(1, 4)(BlockTransform(1, 4)(x)))
    means = x.reshape(2, 2, 4, 2, 4).mean(axis=(2, 4))
    np.testing.assert_allclose(x_hat[:, ::4, ::4, 0], means, atol=1e-6)


def test_free_sizes_costs_and_config() -> None:
    forward = BlockTransform(24, 4, [1.0, 0.5, 0.5])
    assert forward.compute_output_shape((None, None, None, 3)) == (None, None, None, 24)
    assert tuple(forward(keras.KerasTensor((None, None, None, 3))).shape) == (None, None, None, 24)
    assert multiply_accumulates(forward, (1, 8, 8, 3), (1, 2, 2, 24)) == 4 * 48 * 24
    back = InverseBlockTransform(3, 4)
    assert tuple(back(keras.KerasTensor((1, 2, 2, 24))).shape) == (1, 8, 8, 3)
    assert multiply_accumulates(back, (1, 2, 2, 24), (1, 8, 8, 3)) == 4 * 48 * 24
    for layer in (forward, back):
        config = keras.saving.serialize_keras_object(layer)
        again = keras.saving.deserialize_keras_object(config)
        assert again.get_config() == layer.get_config()


def test_both_directions_learn() -> None:
    x = image(8, 8, 1)
    model = keras.Sequential([BlockTransform(4, 4), InverseBlockTransform(1, 4)])
    model.compile(optimizer=keras.optimizers.Adam(1e-2), loss="mse")
    before = model.evaluate(x, x, verbose=0)
    model.fit(x, x, epochs=30, verbose=0)
    assert model.evaluate(x, x, verbose=0) < 0.9 * before


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (lambda: BlockTransform(17, 4), (1, 8, 8, 1), "a block has 16 values, 17 were asked for"),
        (lambda: BlockTransform(4, 4), (1, 8, 9, 1), "must be multiples of block_size 4"),
        (lambda: BlockTransform(4, 4, [1.0, 1.0]), (1, 8, 8, 1), "2 channel_weights for 1 channel"),
        (lambda: BlockTransform(4, 4, [0.0]), (1, 8, 8, 1), "channel_weights must be positive"),
        (lambda: InverseBlockTransform(1, 2), (1, 8, 8, 5), "a block has 4 values"),
    ],
)
def test_what_does_not_fit_is_refused(layer: Any, shape: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layer()(np.zeros(shape, np.float32))


def test_it_computes_in_its_own_precision() -> None:
    x = image(8, 8, 1)
    y = BlockTransform(16, 4, dtype="mixed_bfloat16")(x)
    assert keras.backend.standardize_dtype(y.dtype) == "bfloat16"
    x_hat = InverseBlockTransform(1, 4, dtype="mixed_bfloat16")(y)
    assert keras.backend.standardize_dtype(x_hat.dtype) == "bfloat16"
    np.testing.assert_allclose(numpy(ops.cast(x_hat, "float32")), x, atol=0.1)


@pytest.mark.parametrize("use_bias", [None, True, False])
def test_without_bias_nothing_becomes_nothing(use_bias: bool | None) -> None:
    forward = BlockTransform(12, block_size=4, use_bias=use_bias)
    back = InverseBlockTransform(block_size=4, use_bias=use_bias)
    nothing = np.zeros((1, 8, 8, 3), np.float32)
    numpy(back(forward(nothing)))
    for layer in (forward, back):
        assert (layer.bias is None) == (use_bias is False)
        assert len(layer.trainable_variables) == (1 if use_bias is False else 2)
        again = type(layer).from_config(layer.get_config())
        assert again.use_bias is use_bias
        if layer.bias is not None:
            layer.bias.assign(np.full(layer.bias.shape, 0.5, np.float32))
    assert numpy(back(forward(nothing))).any() == (use_bias is not False)
