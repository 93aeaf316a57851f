"""Steps between pixels and the encoder, each with its inverse behind the decoder."""

from collections.abc import Sequence
from typing import Any

import keras

PACKAGE = "codecsmith"


class Preprocessing(keras.layers.Layer):
    """One invertible step on images in [0, 1].

    `call` runs before the encoder, `inverse` after the decoder: `inverse(call(x)) == x` to float32
    accuracy, unless the step says what it leaves out (`ColorSpace` at 4:2:0, `Resize`). A step may
    change the shape. Steps have no weights and run in float32 whatever the precision of the model.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})

    def call(self, x: Any) -> Any:
        """Pixels to what the encoder sees."""
        raise NotImplementedError(f"{type(self).__name__} defines no call")

    def inverse(self, x: Any) -> Any:
        """What the decoder gives, to pixels."""
        raise NotImplementedError(f"{type(self).__name__} defines no inverse")


def prepared_shape(
    steps: Sequence[Preprocessing], shape: Sequence[int | None]
) -> tuple[int | None, ...]:
    """The shape (B, ...) of what the encoder's first layer sees of images (B, H, W, C).

    Raises:
        ValueError: a step can't take images of this shape.
    """
    shape = tuple(shape)
    for step in steps:
        shape = tuple(step.compute_output_shape(shape))
    return shape


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
