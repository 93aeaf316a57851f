"""Colours the way encoders like them, and back."""

from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from architectures.layers import DepthToSpace, SpaceToDepth, image_shape
from architectures.preprocessing import PACKAGE, Preprocessing
from architectures.resampling import bilinear_upsampling, mean_of_blocks

# JPEG's full-range BT.601 (ITU-T T.871, section 7), rows are Y, Cb, Cr over R, G, B.
_RGB_TO_YCBCR = np.array(
    [
        [0.299, 0.587, 0.114],
        [-0.168735892, -0.331264108, 0.5],
        [0.5, -0.418687589, -0.081312411],
    ]
)

# Orthonormal Haar transform of the pixels of a 2 x 2 block in the order of SpaceToDepth: top left,
# top right, bottom left, bottom right. It is its own inverse.
_HAAR = 0.5 * np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], "float64")


@keras.saving.register_keras_serializable(package=PACKAGE)
class ColorSpace(Preprocessing):
    """Turns RGB into another colour space before the encoder, and back behind the decoder.

    `YCbCr` is JPEG's full-range BT.601 with chroma shifted to [0, 1] (ITU-T T.871, section 7).

    With `sampling` 4:2:0 chroma has half the height and width, each sample the mean of four, and is
    brought back bilinearly: fine detail of colours is lost. Luma keeps its resolution. So that all
    have one shape, (H, W, 3) becomes (H/2, W/2, 6): the mean, horizontal, vertical and diagonal
    difference of each 2 x 2 block of luma (an orthonormal Haar transform), then Cb and Cr.

    Args:
        space: name of the colour space the encoder sees.
        sampling: `4:4:4` (or null) for chroma at full resolution, `4:2:0` for a quarter of its
            samples; height and width must then be even.

    Raises:
        ValueError: the image has other than three channels, or an odd side at 4:2:0.
    """

    def __init__(
        self,
        space: Literal["YCbCr"] = "YCbCr",
        sampling: Literal["4:4:4", "4:2:0"] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if space != "YCbCr":
            raise ValueError(f'space must be "YCbCr", found "{space}"')
        if sampling not in (None, "4:4:4", "4:2:0"):
            raise ValueError(f'sampling must be "4:4:4" or "4:2:0", found "{sampling}"')
        self.space = space
        self.sampling = sampling
        self._fold = SpaceToDepth(2, dtype="float32")
        self._unfold = DepthToSpace(2, dtype="float32")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.compute_output_shape(input_shape)
        # Also where they are not called, at 4:4:4: a model with a layer that is not built is called
        # by Keras under JAX with the first batch of `fit`, which may be no images.
        self._fold.build((None, None, None, 1))
        self._unfold.build((None, None, None, 4))
        super().build(input_shape)

    def call(self, x: Any) -> Any:
        shift = np.array([0.0, 0.5, 0.5], "float32")
        x = _mix(x, _RGB_TO_YCBCR) + shift
        if self.sampling != "4:2:0":
            return x
        luma = _mix(self._fold(x[..., :1]), _HAAR)  # (B, H/2, W/2, 4)
        return ops.concatenate([luma, mean_of_blocks(x[..., 1:], 2)], axis=-1)

    def inverse(self, x: Any) -> Any:
        shift = np.array([0.0, 0.5, 0.5], "float32")
        if self.sampling == "4:2:0":
            luma = self._unfold(_mix(x[..., :4], _HAAR))  # (B, H, W, 1)
            x = ops.concatenate([luma, bilinear_upsampling(x[..., 4:], 2)], axis=-1)
        return _mix(x - shift, np.linalg.inv(_RGB_TO_YCBCR))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        shape = image_shape(input_shape)
        if shape[-1] != 3:
            raise ValueError(f"ColorSpace needs 3 channels (RGB), found {shape[-1]}")
        if self.sampling != "4:2:0":
            return shape
        return (*self._fold.compute_output_shape((*shape[:-1], 1))[:-1], 6)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "space": self.space, "sampling": self.sampling}


def _mix(x: Any, matrix: np.ndarray) -> Any:
    # Weighted sums, not a matmul: TF32 or bf16 matrix units would round the pixels.
    channels = [x[..., i : i + 1] for i in range(len(matrix))]
    rows = [
        sum(float(weight) * channel for weight, channel in zip(row, channels, strict=True))
        for row in matrix
    ]
    return ops.concatenate(rows, axis=-1)
