"""A chain of layers: what it hands on, and how it names the layer that does not fit."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from architectures.layers import GaussianLatent
from architectures.stack import LayerError, LayerStack, one_line


def numpy(tensor: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(tensor))


@keras.saving.register_keras_serializable(package="test_stack")
class Telling(keras.layers.Layer):
    """Doubles, and tells what it saw."""

    returns_aux = True
    in_spec = False

    def __init__(self, key: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.key = key

    def call(self, x: Any) -> tuple[Any, dict[str, Any]]:
        return 2 * x, {self.key: x}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "key": self.key}


def test_layers_run_one_after_the_other_and_what_they_tell_is_collected() -> None:
    stack = LayerStack([Telling("a"), keras.layers.Rescaling(10.0), Telling("b")])
    x = np.ones((1, 2), "float32")
    y, aux = stack(x)
    assert numpy(y).tolist() == [[40, 40]]
    assert {key: numpy(value).tolist() for key, value in aux.items()} == {
        "a": [[1, 1]],
        "b": [[20, 20]],
    }


def test_a_stack_without_tellers_tells_nothing() -> None:
    _, aux = LayerStack([keras.layers.Flatten()])(np.ones((1, 2, 2), "float32"))
    assert aux == {}


def test_training_reaches_every_layer() -> None:
    stack = LayerStack([keras.layers.Dropout(0.5), GaussianLatent(4)])
    x = np.ones((2, 8), "float32")
    at_rest, _ = stack(x)
    assert np.array_equal(numpy(at_rest), numpy(stack(x, training=False)[0]))
    assert not np.array_equal(numpy(at_rest), numpy(stack(x, training=True)[0]))


def test_shapes_are_known_once_built() -> None:
    stack = LayerStack([keras.layers.Conv2D(3, 3, strides=2), keras.layers.Flatten()])
    stack.build((None, 9, 9, 1))
    assert stack.output_shapes == [(None, 4, 4, 3), (None, 48)]
    assert stack.built
    assert len(stack.trainable_variables) == 2


@pytest.mark.parametrize(
    ("layers", "index", "input_shape", "reason"),
    [
        ([keras.layers.MaxPooling2D(5)], 0, (4, 4, 1), "Computed output size would be zero or negative"),
        ([keras.layers.Flatten(), keras.layers.Conv2D(1, 1)], 1, (16,), "expected min_ndim=4, found ndim=2"),
        ([keras.layers.Reshape((3, 3))], 0, (4, 4, 1), "The total size of the tensor must be unchanged"),
        ([keras.layers.ReLU(), keras.layers.Cropping2D(2)], 1, (4, 4, 1), ""),
    ],
)  # fmt: skip
def test_the_layer_that_does_not_fit_is_named(
    layers: list[Any], index: int, input_shape: tuple[int, ...], reason: str
) -> None:
    stack = LayerStack(layers)
    with pytest.raises(LayerError) as error:
        stack.build((None, 4, 4, 1))
    assert (error.value.index, error.value.input_shape) == (index, input_shape)
    assert reason in error.value.reason
    assert error.value.reason.isprintable()
    assert layers[index].name in str(error.value)
    assert not stack.built


def test_a_stack_comes_back_from_its_config() -> None:
    layers = [keras.layers.Dense(3, name="d"), GaussianLatent(2, name="g")]
    stack = LayerStack(layers, name="Mine")
    x = np.ones((2, 5), "float32")
    expected, _ = stack(x)
    copy = LayerStack.from_config(stack.get_config())
    assert copy.name == "Mine"
    assert copy.get_config() == stack.get_config()
    copy(x)
    copy.set_weights(stack.get_weights())
    assert np.array_equal(numpy(copy(x)[0]), numpy(expected))


def test_errors_in_one_line() -> None:
    keras_words = (
        "Exception encountered when calling X.call().\n\n\x1b[1mWrong  size\nof it.\x1b[0m\n\n"
        "Arguments received by X.call():\n  • args=(1,)"
    )
    assert one_line(ValueError(keras_words)) == "Wrong size of it."
    assert one_line(ValueError("plain")) == "plain"
    assert one_line(ValueError("")) == "ValueError"
    long = one_line(ValueError("x" * 1000))
    assert len(long) == 300
    assert long.endswith("...")
