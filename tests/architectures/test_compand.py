"""Compand: values with long tails come within reach, in order."""

import keras
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from architectures.compand import Compand

VALUES = st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=30)


def companded(values: list[float]) -> np.ndarray:
    x = np.array(values, np.float32)
    return keras.ops.convert_to_numpy(Compand()(x))


@given(VALUES)
def test_it_is_asinh(values: list[float]) -> None:
    np.testing.assert_allclose(companded(values), np.arcsinh(np.float64(values)), rtol=1e-5)


@given(VALUES)
def test_order_and_sign_stay(values: list[float]) -> None:
    found = companded(sorted(values))
    assert (np.diff(found) >= 0).all()
    np.testing.assert_array_equal(companded([-value for value in values]), -companded(values))


def test_it_comes_back_from_its_config_and_keeps_shapes() -> None:
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(Compand()))
    assert isinstance(again, Compand)
    assert again.compute_output_shape((None, 4, None, 6)) == (None, 4, None, 6)
