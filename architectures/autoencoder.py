"""Encoder and Decoder, each exportable alone, inside a Generator."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from architectures.factorized_prior import EntropyModel
from architectures.prediction import (
    MIDDLE_GREY,
    Prediction,
    as_frames,
    as_reference,
    joined_in_clips,
)
from architectures.preprocessing import PACKAGE, Preprocessing, prepared_shape
from architectures.stack import LayerStack
from constants.defaults import PIXEL_MAX

CLIP_RANK = 5
"""Axes of clips (B, T, H, W, C)."""


def to_unit_range(x: Any) -> Any:
    """8-bit pixels as float32 in [0, 1]."""
    return ops.cast(x, "float32") * (1.0 / PIXEL_MAX)


def to_uint8(x_hat: Any) -> Any:
    """Float pixels in [0, 1] as uint8, rounded to the nearest level."""
    scaled = ops.clip(ops.cast(x_hat, "float32"), 0.0, 1.0) * float(PIXEL_MAX)
    return ops.cast(ops.round(scaled), "uint8")


def clip_pass_gradient(x: Any) -> Any:
    """Clips to [0, 1]; its gradient is that of the identity.

    A plain clip gives pixels beyond the range no gradient, so that they could never come back.
    """
    return x + ops.stop_gradient(ops.clip(x, 0.0, 1.0) - x)


@keras.saving.register_keras_serializable(package=PACKAGE)
class Encoder(LayerStack):
    """g_a: pixels to latents. Scaling and preprocessing are inside, so that it deploys alone.

    Args:
        stack: the layers of the analysis transform.
        preprocessing: invertible steps before them; shared with the decoder.
        prediction: how the previous frame is made use of; None for images on their own.

    Attributes:
        image_shape: (B, H, W, C) of the images it was built for, None for what is free.
    """

    def __init__(
        self,
        stack: Sequence[keras.layers.Layer],
        preprocessing: Sequence[Preprocessing] = (),
        prediction: Prediction | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(stack, **kwargs)
        self.preprocessing = list(preprocessing)
        self.prediction = prediction
        self.image_shape: tuple[int | None, ...] = ()

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        shape = self.image_shape = tuple(input_shape)
        for step in self.preprocessing:
            step.build(shape)
            shape = tuple(step.compute_output_shape(shape))
        super().build(self.prepared(input_shape))

    def prepared(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """The shape (B, ...) of what the first layer sees of images (B, H, W, C)."""
        shape = prepared_shape(self.preprocessing, input_shape)
        if self.prediction is None:
            return shape
        return (*shape[:-1], self.prediction.encoder_channels(shape[-1] or 0))

    def call(
        self, x: Any, training: bool | None = None, reference: Any = None
    ) -> tuple[Any, dict[str, Any]]:
        """x (B, H, W, C), pixels in [0, 255] -> latents y and what layers tell beside them.

        With prediction, `reference` is the previous decoded frame, (B, H, W, C) in [0, 1]; None for
        key frames.
        """
        x = _preprocessed(to_unit_range(x), self.preprocessing)
        if self.prediction is not None:
            reference = _reference(reference, x, self.preprocessing)
            x = self.prediction.before_encoder(x, reference)
        return super().call(x, training=training)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **_config_around(self)}


@keras.saving.register_keras_serializable(package=PACKAGE)
class Decoder(LayerStack):
    """g_s: latents to pixels in [0, 1], with the preprocessing undone and the range clipped.

    Args:
        stack: the layers of the synthesis transform.
        preprocessing: the encoder's steps; their inverses run in reverse order.
        prediction: the encoder's.
    """

    def __init__(
        self,
        stack: Sequence[keras.layers.Layer],
        preprocessing: Sequence[Preprocessing] = (),
        prediction: Prediction | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(stack, **kwargs)
        self.preprocessing = list(preprocessing)
        self.prediction = prediction

    def stack_channels(self, channels: int) -> int:
        """Channels that the last layer has to give for images with so many."""
        return channels if self.prediction is None else self.prediction.decoder_channels(channels)

    def call(
        self, x: Any, training: bool | None = None, reference: Any = None
    ) -> tuple[Any, dict[str, Any]]:
        """Latents y -> x_hat (B, H, W, C), float32 in [0, 1]; `reference` as in the encoder."""
        x, aux = self.unclipped(x, training, reference)
        return clip_pass_gradient(x) if training else ops.clip(x, 0.0, 1.0), aux

    def unclipped(
        self, x: Any, training: bool | None = None, reference: Any = None
    ) -> tuple[Any, dict[str, Any]]:
        """As `call`, where x_hat may leave [0, 1]."""
        x, aux = super().call(x, training=training)
        x = ops.cast(x, "float32")
        if self.prediction is not None:
            channels = x.shape[-1] // self.prediction.decoder_channels(1)
            reference = _reference(reference, x[..., :channels], self.preprocessing)
            x = self.prediction.after_decoder(x, reference)
        for step in reversed(self.preprocessing):
            x = step.inverse(x)
        return x, aux

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **_config_around(self)}


def _preprocessed(x: Any, steps: Sequence[Preprocessing]) -> Any:
    for step in steps:
        x = step(x)
    return x


def _reference(reference: Any, like: Any, steps: Sequence[Preprocessing]) -> Any:
    """What frames are predicted from, as the encoder sees images; without one, middle grey."""
    if reference is None:
        reference = ops.zeros_like(like) + MIDDLE_GREY
    return _preprocessed(ops.cast(reference, "float32"), steps)


def _config_around(coder: Encoder | Decoder) -> dict[str, Any]:
    """What stands around the layers of a coder. Without prediction, as before there was one."""
    config: dict[str, Any] = {
        "preprocessing": [keras.saving.serialize_keras_object(step) for step in coder.preprocessing]
    }
    if coder.prediction is not None:
        config["prediction"] = keras.saving.serialize_keras_object(coder.prediction)
    return config


@keras.saving.register_keras_serializable(package=PACKAGE)
class Generator(keras.Model):
    """Encoder and decoder as one, with an entropy model between them if there is one.

    Args:
        encoder: pixels to latents y.
        decoder: latents y_hat to pixels.
        entropy_model: quantizes y to y_hat and counts its bits; None hands y on as it is.
    """

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        entropy_model: EntropyModel | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.encoder = encoder
        self.decoder = decoder
        self.entropy_model = entropy_model

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.encoder.build(input_shape)
        latents = self.encoder.output_shapes[-1]
        if self.entropy_model is not None:
            self.entropy_model.build(latents)
        self.decoder.build(latents)
        self.built = True

    @property
    def prediction(self) -> Prediction | None:
        """How frames are predicted; None for a model of images on their own."""
        return self.encoder.prediction

    def call(self, x: Any, training: bool | None = None) -> dict[str, Any]:
        """x (B, H, W, C), pixels in [0, 255] -> outputs with `y`, `x_hat` and all aux.

        With prediction, images are key frames, and x may be clips (B, T, H, W, C). Then each frame
        is predicted by what the model itself made of the one before, and outputs are those of B * T
        frames, the frames of a clip in a row.
        """
        if len(x.shape) == CLIP_RANK:
            return self._clips(x, training)
        return self._images(x, None, training)

    def _clips(self, clips: Any, training: bool | None) -> dict[str, Any]:
        if self.prediction is None:
            return self._images(as_frames(clips), None, training)
        reference, told = None, []
        for time in range(clips.shape[1]):
            told.append(self._images(clips[:, time], reference, training))
            reference = as_reference(told[-1]["x_hat"])
        return {key: joined_in_clips([each[key] for each in told]) for key in told[0]}

    def _images(self, x: Any, reference: Any, training: bool | None) -> dict[str, Any]:
        y, aux = self.encoder(x, training=training, reference=reference)
        y_hat = y
        if self.entropy_model is not None:
            y_hat, rate_aux = self.entropy_model(y, training=training)
            aux = {**aux, **rate_aux}
        x_hat, decoder_aux = self.decoder(y_hat, training=training, reference=reference)
        # Latents in float32: histograms and exports read them, whatever the layers compute in.
        outputs = {"y": ops.cast(y, "float32"), "x_hat": x_hat}
        return {**aux, **decoder_aux, **outputs}

    def get_config(self) -> dict[str, Any]:
        def stored(part: Any) -> Any:
            return None if part is None else keras.saving.serialize_keras_object(part)

        return {
            "name": self.name,
            "encoder": stored(self.encoder),
            "decoder": stored(self.decoder),
            "entropy_model": stored(self.entropy_model),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "Generator":
        config = dict(config)
        for key in ("encoder", "decoder", "entropy_model"):
            if config.get(key) is not None:
                config[key] = keras.saving.deserialize_keras_object(config[key], custom_objects)
        return cls(**config)
