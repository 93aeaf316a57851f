"""Steps before the encoder: that they do what they say, and that their inverse undoes it."""

from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from PIL import Image

from architectures.color_space import ColorSpace
from architectures.preprocessing import Preprocessing, Rescale

LEVEL = 1 / 255
FEW = settings(max_examples=40, deadline=None)


def numpy(tensor: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(tensor))


def pixels(seed: int, channels: int = 3) -> np.ndarray:
    """All-black, all-white and random 8-bit pixels in [0, 1]."""
    rng = np.random.default_rng(seed)
    levels = rng.integers(0, 256, (2, 5, 4, channels))
    levels[0, 0], levels[0, 1] = 0, 255
    return (levels / 255).astype("float32")


def assert_undone(step: Preprocessing, x: np.ndarray, within: float) -> None:
    back = numpy(step.inverse(step(x)))
    assert back.dtype == np.float32
    assert np.abs(back - x).max() <= within
    assert np.array_equal(np.round(back * 255), np.round(x * 255))  # no level is lost


@FEW
@given(
    st.floats(1e-6, 1e6) | st.floats(-1e6, -1e-6),
    st.floats(-1000, 1000),
    st.integers(0, 99),
)
def test_rescaling_is_undone(scale: float, share: float, seed: int) -> None:
    step = Rescale(scale=scale, offset=share * scale)
    # float32 rounds at the size of the offset: share * 2^-24, twice
    assert_undone(step, pixels(seed, 1), within=4e-7 * (1 + abs(share)))


def test_rescaling_by_hand() -> None:
    x = np.array([[[[0.0], [0.5], [1.0]]]], "float32")
    assert numpy(Rescale()(x)).ravel().tolist() == [-1, 0, 1]
    assert numpy(Rescale(scale=255, offset=0)(x)).ravel().tolist() == [0, 127.5, 255]
    assert numpy(Rescale().inverse(np.array([-1, 0, 1], "float32"))).tolist() == [0, 0.5, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": 0.0}, "size of scale must be from 1e-6 to 1e6, found 0"),
        ({"scale": 1e-9}, "size of scale"),
        ({"scale": -1e9}, "size of scale"),
        ({"scale": float("nan")}, "size of scale"),
        ({"scale": 1.0, "offset": 2e3}, "offset must be at most 1000 times the scale, found 2000"),
        ({"scale": 1.0, "offset": float("nan")}, "offset must be"),
    ],
)
def test_rescaling_that_could_not_be_undone(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rescale(**arguments)


@FEW
@given(st.integers(0, 10_000))
def test_colours_come_back(seed: int) -> None:
    assert_undone(ColorSpace(), pixels(seed), within=2e-6)


def test_colours_are_those_of_jpeg() -> None:
    rng = np.random.default_rng(3)
    levels = rng.integers(0, 256, (32, 32, 3), np.uint8)
    levels[0, :8] = [(r, g, b) for r in (0, 255) for g in (0, 255) for b in (0, 255)]
    reference = np.asarray(Image.fromarray(levels).convert("YCbCr"), "float32")
    found = numpy(ColorSpace()(levels[None].astype("float32") / 255))[0] * 255
    # Pillow's integers are up to one level off; its chroma is centred at 128, not at one half.
    assert np.abs(found - reference + [0, 0.5, 0.5]).max() < 1.02
    assert np.abs((found - reference + [0, 0.5, 0.5]).mean((0, 1))).max() < 0.6
    red = numpy(ColorSpace()(np.array([[[[1.0, 0.0, 0.0]]]], "float32")))
    assert np.allclose(red, [[[[0.299, 0.5 - 0.299 / 1.772, 1.0]]]], atol=1e-6)


def test_gray_has_no_chroma() -> None:
    gray = np.repeat(np.linspace(0, 1, 11, dtype="float32")[None, None, :, None], 3, -1)
    found = numpy(ColorSpace()(gray))
    assert np.allclose(found[..., 0], gray[..., 0], atol=1e-6)
    assert np.allclose(found[..., 1:], 0.5, atol=1e-6)


def test_colours_stay_in_range() -> None:
    corners = np.array([[[(r, g, b) for r in (0, 1) for g in (0, 1) for b in (0, 1)]]], "float32")
    found = numpy(ColorSpace()(corners))
    assert found.min() >= -1e-6
    assert found.max() <= 1 + 1e-6


def test_colours_need_three_channels() -> None:
    with pytest.raises(ValueError, match=r"ColorSpace needs 3 channels \(RGB\), found 1"):
        ColorSpace()(np.zeros((1, 2, 2, 1), "float32"))
    with pytest.raises(ValueError, match='space must be "YCbCr", found "HSV"'):
        ColorSpace("HSV")  # type: ignore[arg-type]


@pytest.mark.parametrize("step", [Rescale(3.0, 0.5, name="r"), ColorSpace(name="c")], ids=str)
def test_steps_come_back_from_their_config_and_keep_the_shape(step: Preprocessing) -> None:
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(step))
    assert copy.get_config() == step.get_config()
    x = pixels(0)
    assert np.array_equal(numpy(copy(x)), numpy(step(x)))
    assert np.array_equal(numpy(copy.inverse(x)), numpy(step.inverse(x)))
    assert step.compute_output_shape((None, None, 7, 3)) == (None, None, 7, 3)
    assert not step.weights


@pytest.mark.parametrize("cls", [Rescale, ColorSpace])
def test_steps_compute_in_float32_whatever_is_asked(cls: type) -> None:
    step = cls(dtype="mixed_bfloat16")
    assert step.compute_dtype == "float32"
    assert keras.backend.standardize_dtype(step(pixels(0)).dtype) == "float32"
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        assert cls().compute_dtype == "float32"
    finally:
        keras.config.set_dtype_policy(policy)


def test_a_step_has_to_say_both_ways() -> None:
    class Half(Preprocessing):
        def call(self, x: Any) -> Any:
            return x / 2

    with pytest.raises(NotImplementedError, match="Half defines no inverse"):
        Half().inverse(pixels(0))
    with pytest.raises(NotImplementedError, match="Preprocessing defines no call"):
        Preprocessing().call(pixels(0))
