"""Prediction in time: what the previous decoded frame tells about the one to be coded."""

from typing import Any, Literal

import keras
from keras import ops

from architectures.preprocessing import PACKAGE
from constants.defaults import PIXEL_MAX

MIDDLE_GREY = 128.0 / PIXEL_MAX
"""Pixels in [0, 1] that a key frame is predicted from: one model codes key frames and others."""


class Prediction(keras.layers.Layer):
    """How a frame is coded given the previous decoded one, its reference.

    It stands between the preprocessing and the networks: both images come in what the encoder sees
    (colour space and range), with C channels. It has no weights and computes in float32.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})

    def encoder_channels(self, channels: int) -> int:
        """Channels that the encoder's first layer sees of images with so many."""
        raise NotImplementedError(f"{type(self).__name__} defines no encoder_channels")

    def decoder_channels(self, channels: int) -> int:
        """Channels that the decoder's last layer has to give for images with so many."""
        raise NotImplementedError(f"{type(self).__name__} defines no decoder_channels")

    def before_encoder(self, x: Any, reference: Any) -> Any:
        """Frames and references (B, H, W, C) -> what the encoder's first layer sees."""
        raise NotImplementedError(f"{type(self).__name__} defines no before_encoder")

    def after_decoder(self, output: Any, reference: Any) -> Any:
        """What the decoder's last layer gives, and references (B, H, W, C) -> frames."""
        raise NotImplementedError(f"{type(self).__name__} defines no after_decoder")


@keras.saving.register_keras_serializable(package=PACKAGE)
class PreviousFrame(Prediction):
    """Predicts a frame by the previous decoded one; the first of a clip by middle grey.

    With frame x, reference p and what the decoder gives:

    - `residual`: the encoder sees `x - p`, the decoder gives r, and the frame is `p + r`.
    - `gated`: the encoder sees `x - p` and p; the decoder gives g and r, each of C channels, and
      the frame is `min(1, 2 sigmoid(g)) * p + r`: where the reference is of no use, it can be faded
      out.

    A decoder whose layers have no bias, behind latents without means (`ScaleHyperprior`,
    `FactorizedPrior`), leaves the reference as it is where all latents are 0: what does not move
    costs next to nothing and does not drift. The decoder's layers never see the reference, so that
    rounding on another machine may shift a pixel but is not amplified from frame to frame.

    Args:
        mode: how the reference is used.

    Raises:
        ValueError: there is no such mode.
    """

    def __init__(self, mode: Literal["residual", "gated"] = "residual", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if mode not in ("residual", "gated"):
            raise ValueError(f'mode must be "residual" or "gated", found "{mode}"')
        self.mode = mode

    def encoder_channels(self, channels: int) -> int:
        return channels if self.mode == "residual" else 2 * channels

    def decoder_channels(self, channels: int) -> int:
        return channels if self.mode == "residual" else 2 * channels

    def before_encoder(self, x: Any, reference: Any) -> Any:
        difference = x - reference
        if self.mode == "residual":
            return difference
        return ops.concatenate([difference, reference], axis=-1)

    def after_decoder(self, output: Any, reference: Any) -> Any:
        if self.mode == "residual":
            return reference + output
        closing, rest = ops.split(output, 2, axis=-1)
        return ops.minimum(2.0 * ops.sigmoid(closing), 1.0) * reference + rest

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mode": self.mode}


def as_reference(x_hat: Any) -> Any:
    """A decoded frame as the next one's reference: in [0, 1], rounded to 8 bits, no gradient."""
    levels = ops.round(ops.clip(ops.cast(x_hat, "float32"), 0.0, 1.0) * float(PIXEL_MAX))
    return ops.stop_gradient(levels * (1.0 / PIXEL_MAX))


def as_frames(clips: Any) -> Any:
    """Clips (B, T, H, W, C) as frames (B * T, H, W, C), those of a clip in a row."""
    return ops.reshape(clips, (-1, *ops.shape(clips)[2:]))


def joined_in_clips(values: list[Any]) -> Any:
    """T tensors (B, ...), one for each time -> (B * T, ...), those of a clip in a row."""
    return as_frames(ops.stack(values, axis=1))
