"""Gate: half of the channels multiply the other half."""

from typing import Any

import keras
import numpy as np
import pytest

from architectures.gate import FUNCTIONS, Gate

X = np.random.default_rng(0).normal(size=(2, 3, 5, 6)).astype(np.float32)
REFERENCES: dict[str, Any] = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "gelu": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_first_half_passes_as_far_as_the_second_says(function: str) -> None:
    found = keras.ops.convert_to_numpy(Gate(function)(X))  # type: ignore[arg-type]
    expected = X[..., :3] * REFERENCES[function](X[..., 3:])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_it_comes_back_from_its_config() -> None:
    again = Gate.from_config(Gate("gelu").get_config())
    assert again.function == "gelu"
    assert again.compute_output_shape((None, 4, 4, 6)) == (None, 4, 4, 3)


@pytest.mark.parametrize("channels", [None, 5])
def test_halves_must_be_equal(channels: int | None) -> None:
    with pytest.raises(ValueError, match="even number of channels"):
        Gate().compute_output_shape((None, 4, 4, channels))


def test_an_unknown_function_is_named() -> None:
    with pytest.raises(ValueError, match="linear, sigmoid, gelu, relu, found 'swish'"):
        Gate("swish")  # type: ignore[arg-type]
