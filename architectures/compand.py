"""Makes large values small without losing their order."""

from typing import Any

import keras
from keras import ops

from architectures.layers import PACKAGE


@keras.saving.register_keras_serializable(package=PACKAGE)
class Compand(keras.layers.Layer):
    """`asinh(x)`: like x around zero, like a logarithm far from it, odd, and invertible.

    Latents are heavy-tailed: a few are a hundred times as large as most. Before a hyper encoder,
    which is to tell the logarithms of their scales, this brings all of them within reach of one
    step size.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def call(self, x: Any) -> Any:
        return ops.arcsinh(x)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape
