"""Encoder and Decoder, each exportable alone, inside a Generator."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from architectures.factorized_prior import EntropyModel
from architectures.preprocessing import PACKAGE, Preprocessing, prepared_shape
from architectures.stack import LayerStack
from constants.defaults import PIXEL_MAX


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
    """

    def __init__(
        self,
        stack: Sequence[keras.layers.Layer],
        preprocessing: Sequence[Preprocessing] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(stack, **kwargs)
        self.preprocessing = list(preprocessing)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        shape = tuple(input_shape)
        for step in self.preprocessing:
            step.build(shape)
            shape = tuple(step.compute_output_shape(shape))
        super().build(shape)

    def prepared(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """The shape (B, ...) of what the first layer sees of images (B, H, W, C)."""
        return prepared_shape(self.preprocessing, input_shape)

    def call(self, x: Any, training: bool | None = None) -> tuple[Any, dict[str, Any]]:
        """x (B, H, W, C), pixels in [0, 255] -> latents y and what layers tell beside them."""
        x = to_unit_range(x)
        for step in self.preprocessing:
            x = step(x)
        return super().call(x, training=training)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "preprocessing": _serialized(self.preprocessing)}


@keras.saving.register_keras_serializable(package=PACKAGE)
class Decoder(LayerStack):
    """g_s: latents to pixels in [0, 1], with the preprocessing undone and the range clipped.

    Args:
        stack: the layers of the synthesis transform.
        preprocessing: the encoder's steps; their inverses run in reverse order.
    """

    def __init__(
        self,
        stack: Sequence[keras.layers.Layer],
        preprocessing: Sequence[Preprocessing] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(stack, **kwargs)
        self.preprocessing = list(preprocessing)

    def call(self, x: Any, training: bool | None = None) -> tuple[Any, dict[str, Any]]:
        """Latents y -> x_hat (B, H, W, C), float32 in [0, 1]."""
        x, aux = super().call(x, training=training)
        x = ops.cast(x, "float32")
        for step in reversed(self.preprocessing):
            x = step.inverse(x)
        return clip_pass_gradient(x) if training else ops.clip(x, 0.0, 1.0), aux

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "preprocessing": _serialized(self.preprocessing)}


def _serialized(layers: Sequence[keras.layers.Layer]) -> list[Any]:
    return [keras.saving.serialize_keras_object(layer) for layer in layers]


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

    def call(self, x: Any, training: bool | None = None) -> dict[str, Any]:
        """x (B, H, W, C), pixels in [0, 255] -> outputs with `y`, `x_hat` and all aux."""
        y, aux = self.encoder(x, training=training)
        y_hat = y
        if self.entropy_model is not None:
            y_hat, rate_aux = self.entropy_model(y, training=training)
            aux = {**aux, **rate_aux}
        x_hat, decoder_aux = self.decoder(y_hat, training=training)
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
