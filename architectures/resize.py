"""Images at a fraction of their size before the encoder."""

from typing import Annotated, Any

import keras
from annotated_types import Ge

from architectures.layers import image_shape
from architectures.preprocessing import PACKAGE, Preprocessing
from architectures.resampling import bilinear_upsampling, mean_of_blocks


@keras.saving.register_keras_serializable(package=PACKAGE)
class Resize(Preprocessing):
    """Makes images smaller by a whole factor before the encoder, and large again after the decoder.

    (H, W, C) -> (H/f, W/f, C): each pixel is the mean of f x f; the way back is bilinear. Detail
    finer than that is lost. For training images that are to stay small, see `dataset.resize`.

    Args:
        factor: f; height and width must be multiples of it.

    Raises:
        ValueError: height or width is no multiple of the factor.
    """

    def __init__(self, factor: Annotated[int, Ge(2)] = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = int(factor)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.compute_output_shape(input_shape)
        super().build(input_shape)

    def call(self, x: Any) -> Any:
        return mean_of_blocks(x, self.factor)

    def inverse(self, x: Any) -> Any:
        return bilinear_upsampling(x, self.factor)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, height, width, channels = image_shape(input_shape)
        sides = [height, width]
        if any(side is not None and side % self.factor for side in sides):
            raise ValueError(
                f"height and width must be multiples of the factor {self.factor}, found "
                f"{height}x{width}"
            )
        high, wide = (None if side is None else side // self.factor for side in sides)
        return batch, high, wide, channels

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}
