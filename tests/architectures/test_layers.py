"""Layers of our own: exact values, shapes, refusals, and what serialization keeps."""

from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from architectures.layers import DepthToSpace, GaussianLatent, Residual, SpaceToDepth

FEW = settings(max_examples=20, deadline=None)


def numpy(tensor: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(tensor))


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def again(layer: keras.layers.Layer) -> Any:
    """The layer as it comes back from its JSON form, without its weights."""
    return keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))


# --- space and depth ----------------------------------------------------------------------------


def test_space_to_depth_by_hand() -> None:
    image = np.arange(16, dtype="float32").reshape(1, 4, 4, 1)
    folded = numpy(SpaceToDepth(2)(image))
    assert folded.shape == (1, 2, 2, 4)
    assert folded[0, 0, 0].tolist() == [0, 1, 4, 5]  # a block, row by row
    assert folded[0, 1, 0].tolist() == [8, 9, 12, 13]
    colours = np.arange(12, dtype="float32").reshape(1, 2, 2, 3)
    assert numpy(SpaceToDepth(2)(colours)).ravel().tolist() == list(range(12))


@FEW
@given(
    st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(2, 4)
)
def test_depth_to_space_undoes_space_to_depth(
    batch: int, high: int, wide: int, channels: int, block: int
) -> None:
    image = numbers(batch, high * block, wide * block, channels)
    folded = SpaceToDepth(block)(image)
    assert tuple(folded.shape) == (batch, high, wide, channels * block**2)
    assert np.array_equal(numpy(DepthToSpace(block)(folded)), image)
    # block by block, as a loop would do it
    corner = image[:, :block, :block, :].reshape(batch, -1)
    assert np.array_equal(numpy(folded)[:, 0, 0], corner)


@pytest.mark.parametrize(
    ("layer", "shape", "after"),
    [
        (SpaceToDepth(2), (None, 8, 6, 3), (None, 4, 3, 12)),
        (SpaceToDepth(4), (None, None, None, 3), (None, None, None, 48)),
        (SpaceToDepth(2), (2, 8, None, 1), (2, 4, None, 4)),
        (DepthToSpace(2), (None, 4, 3, 12), (None, 8, 6, 3)),
        (DepthToSpace(2), (None, None, 3, 4), (None, None, 6, 1)),
    ],
)
def test_shapes_of_folding(layer: Any, shape: tuple[Any, ...], after: tuple[Any, ...]) -> None:
    assert layer.compute_output_shape(shape) == after
    assert tuple(layer(keras.KerasTensor(shape)).shape) == after


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (SpaceToDepth(3), (None, 8, 9, 1), "multiples of block_size 3, found 8x9"),
        (SpaceToDepth(2), (None, 8), r"height, width and channels, found \(8,\)"),
        (DepthToSpace(2), (None, 8, 8, 6), r"block_size squared \(4\), found 6"),
        (DepthToSpace(2), (None, 8, 8, None), "found None"),
        (DepthToSpace(2), (None, 8, 4), "height, width and channels"),
    ],
)
def test_what_cannot_be_folded(layer: Any, shape: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layer.compute_output_shape(shape)
    with pytest.raises(ValueError, match=message):
        layer(keras.KerasTensor(shape))


def test_folding_takes_images_of_any_size_once_built() -> None:
    layer = SpaceToDepth(2)
    for side in (2, 6, 8):
        assert tuple(layer(numbers(1, side, 4, 3)).shape) == (1, side // 2, 2, 12)


# --- residual -----------------------------------------------------------------------------------


def residual(**arguments: Any) -> Residual:
    layers = [
        keras.layers.Conv2D(5, 3, padding="same", activation="relu", name="first"),
        keras.layers.Conv2D(3, 1, name="second"),
    ]
    return Residual(layers, **arguments)


def test_a_residual_adds_its_branch() -> None:
    layer, x = residual(), numbers(2, 4, 4, 3)
    y = numpy(layer(x))
    branch = numpy(layer.branch[1](layer.branch[0](x)))
    assert np.allclose(y, x + branch, atol=1e-6)
    layer.branch[1].set_weights([np.zeros((1, 1, 5, 3)), np.zeros(3)])
    assert np.array_equal(numpy(layer(x)), x)
    assert len(layer.trainable_variables) == 4


def test_a_residual_keeps_the_shape() -> None:
    layer = residual()
    assert layer.compute_output_shape((None, None, 4, 3)) == (None, None, 4, 3)
    halved = Residual([keras.layers.Conv2D(3, 2, strides=2)])
    for call in (halved.compute_output_shape, lambda shape: halved(keras.KerasTensor(shape))):
        with pytest.raises(
            ValueError, match=r"must keep the shape: \(4, 4, 3\) became \(2, 2, 3\)"
        ):
            call((None, 4, 4, 3))


def test_a_residual_tells_its_layers_whether_it_trains() -> None:
    layer = Residual([keras.layers.Dropout(0.5, seed=1), keras.layers.BatchNormalization()])
    x = numbers(4, 2, 2, 3)
    layer(x)
    before = [numpy(weight) for weight in layer.non_trainable_variables[-2:]]
    resting = numpy(layer(x, training=False))
    assert np.array_equal(resting, numpy(layer(x, training=False)))
    assert not np.allclose(resting, numpy(layer(x, training=True)))
    after = [numpy(weight) for weight in layer.non_trainable_variables[-2:]]
    assert not all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_layers_inside_a_residual_may_have_a_dtype_of_their_own() -> None:
    layer = Residual([keras.layers.Dense(3, dtype="float32")], dtype="mixed_bfloat16")
    assert keras.backend.standardize_dtype(layer(numbers(2, 3)).dtype) == "bfloat16"


def test_a_latent_with_a_posterior_cannot_stand_inside() -> None:
    with pytest.raises(ValueError, match="GaussianLatent can't stand inside a Residual"):
        Residual([GaussianLatent(3)])


# --- Gaussian latent ----------------------------------------------------------------------------


def test_the_latent_is_the_mean_at_rest() -> None:
    layer, x = GaussianLatent(3), numbers(5, 7)
    z, aux = layer(x)
    kernel, bias = (numpy(weight) for weight in layer.weights)
    stats = x @ kernel + bias
    assert kernel.shape == (7, 6)
    assert np.allclose(numpy(z), stats[:, :3], atol=1e-5)
    assert np.allclose(numpy(aux["posterior_mean"]), stats[:, :3], atol=1e-5)
    assert np.allclose(numpy(aux["posterior_log_var"]), stats[:, 3:], atol=1e-5)
    assert set(aux) == set(GaussianLatent.aux_keys)


def test_the_latent_is_a_sample_of_the_posterior_in_training() -> None:
    keras.utils.set_random_seed(1)
    layer = GaussianLatent(2)
    layer.build((None, 1))
    kernel = np.zeros((1, 4))
    bias = [3.0, -1.0, np.log(4.0), np.log(0.25)]  # means 3 and -1, standard deviations 2 and 1/2
    layer.dense.set_weights([kernel, np.array(bias)])
    z, _ = layer(np.zeros((20_000, 1), "float32"), training=True)
    sample = numpy(z)
    assert np.allclose(sample.mean(0), [3, -1], atol=0.05)
    assert np.allclose(sample.std(0), [2, 0.5], rtol=0.03)
    assert abs(np.corrcoef(sample.T)[0, 1]) < 0.03
    other, _ = layer(np.zeros((20_000, 1), "float32"), training=True)
    assert not np.array_equal(sample, numpy(other))


def test_extreme_log_variances_stay_finite() -> None:
    layer = GaussianLatent(1)
    layer.build((None, 1))
    layer.dense.set_weights([np.array([[0.0, 1e6]]), np.zeros(2)])
    for x in (1.0, -1.0):
        z, aux = layer(np.full((4, 1), x, "float32"), training=True)
        assert np.isfinite(numpy(z)).all()
        assert np.abs(numpy(aux["posterior_log_var"])).max() == 20


def test_the_posterior_is_float32_and_the_latent_what_the_layer_computes_in() -> None:
    z, aux = GaussianLatent(2, dtype="mixed_bfloat16")(numbers(2, 2, 2, 5))
    assert tuple(z.shape) == (2, 2, 2, 2)
    assert keras.backend.standardize_dtype(z.dtype) == "bfloat16"
    for value in aux.values():
        assert keras.backend.standardize_dtype(value.dtype) == "float32"


# --- serialization ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: SpaceToDepth(2, name="fold"), (2, 4, 4, 3)),
        (lambda: DepthToSpace(3, name="unfold"), (2, 4, 4, 9)),
        (lambda: residual(name="res", dtype="float32"), (2, 4, 4, 3)),
        (lambda: Residual([residual(), keras.layers.ReLU()], name="outer"), (2, 4, 4, 3)),
        (lambda: GaussianLatent(4, name="latent"), (2, 4, 4, 3)),
    ],
    ids=["space", "depth", "residual", "nested", "latent"],
)
def test_layers_come_back_from_their_config(make: Any, shape: tuple[int, ...]) -> None:
    layer, x = make(), numbers(*shape)
    expected = layer(x)
    copy = again(layer)
    assert type(copy) is type(layer)
    assert copy.get_config() == layer.get_config()
    copy(x)  # builds it
    copy.set_weights(layer.get_weights())
    for found, wanted in zip(
        keras.tree.flatten(copy(x)), keras.tree.flatten(expected), strict=True
    ):
        assert np.array_equal(numpy(found), numpy(wanted))


def test_block_sizes_are_in_the_config() -> None:
    assert SpaceToDepth(3).get_config()["block_size"] == 3
    assert DepthToSpace(4).get_config()["block_size"] == 4
    assert GaussianLatent(5).get_config()["units"] == 5
    inner = residual().get_config()["layers"]
    assert [each["class_name"] for each in inner] == ["Conv2D", "Conv2D"]
