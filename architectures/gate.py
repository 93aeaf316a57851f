"""Half of the channels decide how much of the other half passes."""

from typing import Any, Literal

import keras
from keras import ops

from architectures.layers import PACKAGE

GateFunction = Literal["linear", "sigmoid", "gelu", "relu"]
FUNCTIONS: dict[str, Any] = {
    "linear": lambda x: x,
    "sigmoid": ops.sigmoid,
    "gelu": lambda x: ops.gelu(x, approximate=True),
    "relu": ops.relu,
}


@keras.saving.register_keras_serializable(package=PACKAGE)
class Gate(keras.layers.Layer):
    """Multiplies the first half of the channels by a function of the second: `x_1 * f(x_2)`.

    (..., 2 C) -> (..., C). Between two 1x1 convolutions it makes a gated feed-forward network, with
    a DepthwiseConv2D before it one that sees its neighbourhood. Shazeer 2020, "GLU variants improve
    transformer", section 2; Chen et al. 2022, "Simple baselines for image restoration", section 3.3
    (`linear`).

    Args:
        function: f.
    """

    def __init__(self, function: GateFunction = "linear", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if function not in FUNCTIONS:
            raise ValueError(f"function must be one of {', '.join(FUNCTIONS)}, found {function!r}")
        self.function = function

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.compute_output_shape(input_shape)
        super().build(input_shape)

    def call(self, x: Any) -> Any:
        passed, gate = ops.split(x, 2, axis=-1)
        return passed * FUNCTIONS[self.function](gate)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        channels = input_shape[-1]
        if channels is None or channels % 2:
            raise ValueError(f"Gate needs an even number of channels, found {channels}")
        return (*input_shape[:-1], channels // 2)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "function": self.function}
