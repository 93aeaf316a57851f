"""Transposed convolution by phases: what Keras computes, for every kernel, stride and size."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from architectures import transposed
from architectures.transposed import PhasedConv2DTranspose, conv_transpose_by_phases, phases

RNG = np.random.default_rng(0)


def sides() -> st.SearchStrategy[tuple[int, int]]:
    """(kernel, stride) with a kernel that reaches from one output to the next."""
    strides = st.integers(1, 4)
    return strides.flatmap(lambda s: st.tuples(st.integers(s, 9), st.just(s)))


@settings(max_examples=40, deadline=None)
@given(rows=sides(), columns=sides(), size=st.tuples(st.integers(1, 6), st.integers(1, 6)))
def test_phases_are_the_transposed_convolution(
    rows: tuple[int, int], columns: tuple[int, int], size: tuple[int, int]
) -> None:
    kernel_size, strides = (rows[0], columns[0]), (rows[1], columns[1])
    x = RNG.normal(size=(2, *size, 3)).astype(np.float32)
    kernel = RNG.normal(size=(*kernel_size, 4, 3)).astype(np.float32)
    expected = keras.ops.conv_transpose(x, kernel, strides, padding="same")
    found = conv_transpose_by_phases(x, keras.ops.convert_to_tensor(kernel), strides)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_every_tap_belongs_to_one_phase() -> None:
    for kernel, stride in ((5, 2), (4, 2), (3, 3), (9, 4)):
        taps = sorted(tap for phase in phases(kernel, stride) for tap in phase.taps)
        assert taps == list(range(kernel))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", ["relu", None])
def test_the_layer_gives_what_keras_gives(activation: str | None, bias: bool) -> None:
    options = {"padding": "same", "activation": activation, "use_bias": bias, "filters": 16}
    theirs = keras.layers.Conv2DTranspose(kernel_size=5, strides=2, **options)
    ours = PhasedConv2DTranspose.from_config(theirs.get_config())
    x = RNG.normal(size=(2, 5, 7, 8)).astype(np.float32)
    expected = theirs(x)
    ours.build(x.shape)
    ours.set_weights([RNG.normal(size=weight.shape) for weight in theirs.weights])
    theirs.set_weights(ours.get_weights())
    expected = theirs(x)
    np.testing.assert_allclose(ours(x), expected, atol=1e-4)
    assert tuple(ours.compute_output_shape(x.shape)) == tuple(expected.shape)


@pytest.mark.parametrize(
    "options",
    [
        {"padding": "valid"},
        {"kernel_size": 2, "strides": 3},
        {"filters": transposed.LEAST_FILTERS - 1},
        {"output_padding": 1},
        {"strides": 1},
    ],
)
def test_what_phases_are_not_for_is_left_to_keras(
    options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = {"filters": 16, "kernel_size": 5, "strides": 2, "padding": "same"}
    layer = PhasedConv2DTranspose(**{**usual, **options})
    monkeypatch.delattr(transposed, "conv_transpose_by_phases")
    x = RNG.normal(size=(1, 4, 4, 3)).astype(np.float32)
    assert tuple(layer(x).shape) == tuple(layer.compute_output_shape(x.shape))


def test_the_layer_is_stored_and_comes_back() -> None:
    layer = PhasedConv2DTranspose(16, 5, strides=2, padding="same")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(again) is PhasedConv2DTranspose
    assert again.get_config() == layer.get_config()
