"""What is exported: encoder, decoder or both, with 8-bit pixels on the outside."""

from collections.abc import Mapping
from typing import Any, ClassVar

import keras
from keras import ops

from architectures.autoencoder import PACKAGE, Decoder, Encoder, Generator, to_uint8
from architectures.factorized_prior import EntropyModel, FactorizedPrior
from architectures.hyperprior import ScaleHyperprior
from architectures.stack import LayerError

Shape = tuple[int | None, ...]

SIZE_ERRORS = (LayerError, ValueError, TypeError, ArithmeticError, AttributeError, IndexError)
"""What layers raise for a size they can't take, under any backend: wrong shapes, arithmetic on a
side that is None or 0, a dimension that is not there."""


class Deployed(keras.Model):
    """A model as it is served: one tensor in, one tensor out, no training behaviour.

    Attributes:
        input_name: name of the input in exported files.
        input_dtype: dtype of the input.
        output_name: name of the output in exported files.
    """

    input_name: ClassVar[str]
    output_name: ClassVar[str]
    input_dtype = "uint8"

    def build(self, input_shape: Shape) -> None:
        """Builds the parts; `input_shape` (B, ...) becomes the served shape."""
        self.served_shape = tuple(input_shape)
        self._build_parts(self.served_shape)
        self.built = True

    def _build_parts(self, shape: Shape) -> None:
        raise NotImplementedError(f"{type(self).__name__} has no parts")

    def signature(self) -> keras.InputSpec:
        """Shape, dtype and name of the input, for exporters."""
        return keras.InputSpec(
            shape=self.served_shape, dtype=self.input_dtype, name=self.input_name
        )

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "Deployed":
        """The model of a config; its parts are stored inside."""
        config = dict(config)
        for key in ("encoder", "decoder", "entropy_model"):
            if config.get(key) is not None:
                config[key] = keras.saving.deserialize_keras_object(config[key], custom_objects)
        return cls(**config)

    def result_of(self, shape: Shape) -> keras.KerasTensor:
        """Shape and dtype of what comes out for an input of a shape (B, ...); computes nothing."""
        return self(keras.KerasTensor(tuple(shape), dtype=self.input_dtype))


@keras.saving.register_keras_serializable(package=PACKAGE)
class DeployedEncoder(Deployed):
    """Pixels to what the decoder takes: uint8 (B, H, W, C) -> float32 or int32 (B, ...).

    Args:
        encoder: the trained encoder.
        entropy_model: what quantizes its latents to a grid that moves with their means; None for
            latents that are handed on, or only rounded.
        latents: `float32`, or `int32` for latents that are rounded to symbols.
    """

    input_name = "images"
    output_name = "latents"

    def __init__(
        self,
        encoder: Encoder,
        entropy_model: EntropyModel | None = None,
        latents: str = "float32",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.encoder = encoder
        self.entropy_model = entropy_model
        self.latents = latents

    def _build_parts(self, shape: Shape) -> None:
        if not self.encoder.built:
            self.encoder.build(shape)
        if self.entropy_model is not None and not self.entropy_model.built:
            self.entropy_model.build(self.encoder.output_shapes[-1])

    def call(self, images: Any) -> Any:
        y, _ = self.encoder(images, training=False)
        y = ops.cast(y, "float32")
        if self.entropy_model is not None:
            y, _ = self.entropy_model(y, training=False)
        return ops.cast(ops.round(y), "int32") if self.latents == "int32" else y

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "encoder": _stored(self.encoder),
            "entropy_model": _stored(self.entropy_model),
            "latents": self.latents,
        }


@keras.saving.register_keras_serializable(package=PACKAGE)
class DeployedDecoder(Deployed):
    """Latents to pixels: float32 or int32 (B, ...) -> uint8 (B, H, W, C), rounded.

    Args:
        decoder: the trained decoder.
        latents: what it takes, as the encoder gives it: `float32` or `int32`.
    """

    input_name = "latents"
    output_name = "images"

    def __init__(self, decoder: Decoder, latents: str = "float32", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.decoder = decoder
        self.input_dtype = latents

    def _build_parts(self, shape: Shape) -> None:
        if not self.decoder.built:
            self.decoder.build(shape)

    def call(self, latents: Any) -> Any:
        x_hat, _ = self.decoder(ops.cast(latents, "float32"), training=False)
        return to_uint8(x_hat)

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "decoder": _stored(self.decoder),
            "latents": self.input_dtype,
        }


@keras.saving.register_keras_serializable(package=PACKAGE)
class DeployedAutoencoder(Deployed):
    """Pixels to regenerated pixels: uint8 (B, H, W, C) -> uint8 (B, H, W, C).

    Args:
        encoder: pixels to latents.
        decoder: latents to pixels.
    """

    input_name = "images"
    output_name = "regenerated"

    def __init__(self, encoder: DeployedEncoder, decoder: DeployedDecoder, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.encoder = encoder
        self.decoder = decoder

    def _build_parts(self, shape: Shape) -> None:
        if not self.encoder.built:
            self.encoder.build(shape)
        if not self.decoder.built:
            self.decoder.build((None, *self.encoder.result_of(shape).shape[1:]))

    def call(self, images: Any) -> Any:
        return self.decoder(self.encoder(images))

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "encoder": _stored(self.encoder),
            "decoder": _stored(self.decoder),
        }


def _stored(part: Any) -> Any:
    return None if part is None else keras.saving.serialize_keras_object(part)


def deployed_parts(
    generator: Generator, image_shape: Shape
) -> tuple[DeployedEncoder, DeployedDecoder, DeployedAutoencoder]:
    """Encoder, decoder and both, ready to be exported.

    With an entropy model, the encoder gives the quantized latents: whole numbers as int32, or, on a
    grid that moves with means that only the entropy model knows, float32.

    Args:
        generator: built.
        image_shape: (H, W, C) to serve; None where the generator was built for any size.
    """
    entropy_model = generator.entropy_model
    whole = isinstance(entropy_model, FactorizedPrior | ScaleHyperprior)
    latents = "int32" if whole else "float32"
    encoder = DeployedEncoder(
        generator.encoder, None if whole else entropy_model, latents, name="deployed_encoder"
    )
    encoder.build((None, *image_shape))
    decoder = DeployedDecoder(generator.decoder, latents, name="deployed_decoder")
    decoder.build((None, *encoder.result_of(encoder.served_shape).shape[1:]))
    both = DeployedAutoencoder(encoder, decoder, name="deployed_autoencoder")
    both.build((None, *image_shape))
    return encoder, decoder, both


def with_free_size(
    generator: Generator,
    channels: int,
    coding: bool = True,
    stand_ins: Mapping[str, type[keras.layers.Layer]] | None = None,
) -> Generator | None:
    """The same model with the same weights for images of any height and width.

    Args:
        generator: built, for one size or for any.
        channels: C of its images.
        coding: whether its encoder is served with an entropy model that moves latents to a grid. A
            codec does that by itself, and JAX can't prove for unknown sizes that the means fit.
        stand_ins: Keras' layers, by name, for which others with the same weights stand in that
            compute the same.

    Returns:
        A new generator; None where a layer (Dense, Reshape, Resizing, ...) fixes the size.
    """
    stand_ins = {"UpSampling2D": FreeUpSampling2D, **(stand_ins or {})}
    free = Generator.from_config(_for_free_size(generator.get_config(), stand_ins))
    any_size = (None, None, None, channels)
    try:
        free.build(any_size)
        served = free if coding else Generator(free.encoder, free.decoder)
        encoder, _, both = deployed_parts(served, any_size[1:])
        y = encoder.result_of(any_size).shape
        images = both.result_of(any_size).shape
    except SIZE_ERRORS:
        return None
    if len(y) != 4 or tuple(y[1:3]) != (None, None) or tuple(images) != any_size:
        return None
    if [weight.shape for weight in free.weights] != [weight.shape for weight in generator.weights]:
        return None
    free.set_weights(generator.get_weights())
    return free


@keras.saving.register_keras_serializable(package=PACKAGE)
class FreeUpSampling2D(keras.layers.UpSampling2D):
    """Keras' UpSampling2D for images whose height and width are unknown when it is exported.

    Computes the same. Keras 3.15's own layer can't be traced with free sizes unless it takes the
    nearest pixel, and then it loses the number of channels, which LiteRT's convolution needs.
    """

    in_spec = False  # a spec says UpSampling2D; this stands in for it in exports

    def call(self, inputs: Any) -> Any:
        if self.data_format != "channels_last" or None not in tuple(inputs.shape[1:3]):
            return super().call(inputs)
        batch, height, width, _ = ops.shape(inputs)
        channels = inputs.shape[-1]
        rows, columns = self.size
        size = (height * rows, width * columns)
        if self.interpolation == "nearest":
            x = ops.reshape(inputs, (batch, height, 1, width, channels))
            x = ops.tile(x, (1, 1, rows, 1, columns))  # (B, H, rows, W, columns*C)
            return ops.reshape(x, (batch, *size, channels))
        # Sizes are unknown only while TensorFlow traces; its resize takes them as tensors.
        import tensorflow as tf

        return tf.image.resize(inputs, size, method=self.interpolation)


def _for_free_size(config: Any, stand_ins: Mapping[str, type[keras.layers.Layer]]) -> Any:
    """A serialized model that can be built for free sizes.

    Keras' layers that others stand in for are replaced by those, at any depth. The shapes that
    layers were built for are left out: a layer with weights for one size must not be taken for one
    of any size.
    """
    if isinstance(config, list):
        return [_for_free_size(item, stand_ins) for item in config]
    if not isinstance(config, dict):
        return config
    config = {
        key: _for_free_size(value, stand_ins)
        for key, value in config.items()
        if key != "build_config"
    }
    stand_in = stand_ins.get(str(config.get("class_name")))
    if stand_in is not None and config.get("module") == "keras.layers":
        config["class_name"] = stand_in.__name__
        config["module"] = stand_in.__module__
        config["registered_name"] = keras.saving.get_registered_name(stand_in)
    return config
