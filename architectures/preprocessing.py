"""Steps between pixels and the encoder, each with its inverse behind the decoder."""

from typing import Any, Literal

import keras
import numpy as np
from keras import ops

PACKAGE = "codecsmith"


class Preprocessing(keras.layers.Layer):
    """One invertible step on images in [0, 1].

    `call` runs before the encoder, `inverse` after the decoder: `inverse(call(x)) == x` to float32
    accuracy. Steps have no weights and run in float32 whatever the precision of the model.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})

    def call(self, x: Any) -> Any:
        """Pixels to what the encoder sees."""
        raise NotImplementedError(f"{type(self).__name__} defines no call")

    def inverse(self, x: Any) -> Any:
        """What the decoder gives, to pixels."""
        raise NotImplementedError(f"{type(self).__name__} defines no inverse")


@keras.saving.register_keras_serializable(package=PACKAGE)
class Rescale(Preprocessing):
    """Maps pixels linearly: `y = x * scale + offset`; its inverse is `x = (y - offset) / scale`.

    Args:
        scale: factor on pixels in [0, 1], its size from 1e-6 to 1e6; 2 with offset -1 gives
            [-1, 1].
        offset: added after the factor; at most 1000 times as large.

    Raises:
        ValueError: scale or offset are out of range: float32 could not undo the step.
    """

    def __init__(self, scale: float = 2.0, offset: float = -1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 1e-6 <= abs(scale) <= 1e6:
            raise ValueError(f"the size of scale must be from 1e-6 to 1e6, found {scale}")
        if not abs(offset) <= 1000 * abs(scale):
            raise ValueError(f"offset must be at most 1000 times the scale, found {offset}")
        self.scale = float(scale)
        self.offset = float(offset)

    def call(self, x: Any) -> Any:
        return x * self.scale + self.offset

    def inverse(self, x: Any) -> Any:
        return (x - self.offset) / self.scale

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale, "offset": self.offset}


# JPEG's full-range BT.601 (ITU-T T.871, section 7), rows are Y, Cb, Cr over R, G, B.
_RGB_TO_YCBCR = np.array(
    [
        [0.299, 0.587, 0.114],
        [-0.168735892, -0.331264108, 0.5],
        [0.5, -0.418687589, -0.081312411],
    ]
)


@keras.saving.register_keras_serializable(package=PACKAGE)
class ColorSpace(Preprocessing):
    """Turns RGB into another colour space before the encoder, and back behind the decoder.

    `YCbCr` is JPEG's full-range BT.601 with chroma shifted to [0, 1] (ITU-T T.871, section 7).

    Args:
        space: name of the colour space the encoder sees.

    Raises:
        ValueError: the image has other than three channels.
    """

    def __init__(self, space: Literal["YCbCr"] = "YCbCr", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if space != "YCbCr":
            raise ValueError(f'space must be "YCbCr", found "{space}"')
        self.space = space

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if input_shape[-1] != 3:
            raise ValueError(f"ColorSpace needs 3 channels (RGB), found {input_shape[-1]}")
        super().build(input_shape)

    def call(self, x: Any) -> Any:
        shift = np.array([0.0, 0.5, 0.5], "float32")
        return _mix(x, _RGB_TO_YCBCR) + shift

    def inverse(self, x: Any) -> Any:
        shift = np.array([0.0, 0.5, 0.5], "float32")
        return _mix(x - shift, np.linalg.inv(_RGB_TO_YCBCR))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "space": self.space}


def _mix(x: Any, matrix: np.ndarray) -> Any:
    # Three weighted sums, not a matmul: TF32 or bf16 matrix units would round the pixels.
    channels = [x[..., i : i + 1] for i in range(3)]
    rows = [
        sum(float(weight) * channel for weight, channel in zip(row, channels, strict=True))
        for row in matrix
    ]
    return ops.concatenate(rows, axis=-1)
