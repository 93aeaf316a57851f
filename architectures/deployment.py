"""What is exported: encoder, decoder or both, with 8-bit pixels on the outside."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from architectures.autoencoder import PACKAGE, Decoder, Encoder, Generator, to_uint8
from architectures.stack import LayerError

Shape = tuple[int | None, ...]

STEPS_MAX = 256
"""Pixels; a codec that needs images to be multiples of more than this is not looked for."""

# What layers raise for a size they can't take, under any backend: wrong shapes (ValueError,
# TypeError), arithmetic on a side that is None or 0, a dimension that is not there.
SIZE_ERRORS = (LayerError, ValueError, TypeError, ArithmeticError, AttributeError, IndexError)


class Deployed(keras.Model):
    """A model as it is served: one tensor in, one tensor out, no training behaviour.

    Attributes:
        input_name: name of the input in exported files.
        input_dtype: dtype of the input.
        output_name: name of the output in exported files.
    """

    input_name: ClassVar[str]
    input_dtype: ClassVar[str]
    output_name: ClassVar[str]

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

    def output(self, *sides: int) -> keras.KerasTensor:
        """Shape and dtype of what comes out, without computing it.

        Args:
            sides: sizes of the input's axes after the batch; none for the served shape.
        """
        shape = (1, *sides) if sides else self.served_shape
        return self(keras.KerasTensor(shape, dtype=self.input_dtype))


@keras.saving.register_keras_serializable(package=PACKAGE)
class DeployedEncoder(Deployed):
    """Pixels to latents: uint8 (B, H, W, C) -> float32 (B, ...).

    Args:
        encoder: the trained encoder.
    """

    input_name = "images"
    input_dtype = "uint8"
    output_name = "latents"

    def __init__(self, encoder: Encoder, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.encoder = encoder

    def _build_parts(self, shape: Shape) -> None:
        if not self.encoder.built:
            self.encoder.build(shape)

    def call(self, images: Any) -> Any:
        y, _ = self.encoder(images, training=False)
        return ops.cast(y, "float32")

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "encoder": keras.saving.serialize_keras_object(self.encoder)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "DeployedEncoder":
        return cls(**_revived(config, custom_objects))


@keras.saving.register_keras_serializable(package=PACKAGE)
class DeployedDecoder(Deployed):
    """Latents to pixels: float32 (B, ...) -> uint8 (B, H, W, C), rounded.

    Args:
        decoder: the trained decoder.
    """

    input_name = "latents"
    input_dtype = "float32"
    output_name = "images"

    def __init__(self, decoder: Decoder, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.decoder = decoder

    def _build_parts(self, shape: Shape) -> None:
        if not self.decoder.built:
            self.decoder.build(shape)

    def call(self, latents: Any) -> Any:
        x_hat, _ = self.decoder(latents, training=False)
        return to_uint8(x_hat)

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "decoder": keras.saving.serialize_keras_object(self.decoder)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "DeployedDecoder":
        return cls(**_revived(config, custom_objects))


@keras.saving.register_keras_serializable(package=PACKAGE)
class DeployedAutoencoder(Deployed):
    """Pixels to regenerated pixels: uint8 (B, H, W, C) -> uint8 (B, H, W, C).

    Args:
        encoder: the trained encoder.
        decoder: the trained decoder.
    """

    input_name = "images"
    input_dtype = "uint8"
    output_name = "regenerated"

    def __init__(self, encoder: Encoder, decoder: Decoder, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.encoder = encoder
        self.decoder = decoder

    def _build_parts(self, shape: Shape) -> None:
        if not self.encoder.built:
            self.encoder.build(shape)
        if not self.decoder.built:
            self.decoder.build(self.encoder.output_shapes[-1])

    def call(self, images: Any) -> Any:
        y, _ = self.encoder(images, training=False)
        x_hat, _ = self.decoder(y, training=False)
        return to_uint8(x_hat)

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "decoder": keras.saving.serialize_keras_object(self.decoder),
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Any = None
    ) -> "DeployedAutoencoder":
        return cls(**_revived(config, custom_objects))


def _revived(config: dict[str, Any], custom_objects: Any) -> dict[str, Any]:
    return {
        key: keras.saving.deserialize_keras_object(value, custom_objects)
        if key in ("encoder", "decoder")
        else value
        for key, value in config.items()
    }


def deployed_parts(
    generator: Generator, image_shape: Shape
) -> tuple[DeployedEncoder, DeployedDecoder, DeployedAutoencoder]:
    """Encoder, decoder and both, ready to be exported.

    Args:
        generator: built.
        image_shape: (H, W, C) to serve; None where the generator was built for any size.
    """
    encoder = DeployedEncoder(generator.encoder, name="deployed_encoder")
    encoder.build((None, *image_shape))
    decoder = DeployedDecoder(generator.decoder, name="deployed_decoder")
    decoder.build((None, *encoder.output().shape[1:]))
    both = DeployedAutoencoder(generator.encoder, generator.decoder, name="deployed_autoencoder")
    both.build((None, *image_shape))
    return encoder, decoder, both


def with_free_size(generator: Generator, channels: int) -> Generator | None:
    """The same model with the same weights for images of any height and width.

    Args:
        generator: built for one size.
        channels: C of its images.

    Returns:
        A new generator; None where a layer (Dense, Reshape, Resizing, ...) fixes the size.
    """
    free = Generator.from_config(generator.get_config())
    try:
        free.build((None, None, None, channels))
        y = free.encoder.output_shapes[-1]
        image = DeployedAutoencoder(free.encoder, free.decoder).output(None, None, channels).shape
    except SIZE_ERRORS:
        return None
    if len(y) != 4 or y[1:3] != (None, None) or tuple(image[1:]) != (None, None, channels):
        return None
    mine = [tuple(weight.shape) for weight in generator.weights]
    if mine != [tuple(weight.shape) for weight in free.weights]:
        return None
    free.set_weights(generator.get_weights())
    return free


@dataclass(frozen=True)
class SideRule:
    """Sizes along one side of an image that come back as they went in: first, first + step, ...

    Attributes:
        first: smallest size in pixels.
        step: from one size to the next, in pixels.
    """

    first: int
    step: int

    def at_least(self, size: int) -> int:
        """The smallest size of the rule that is not below `size`."""
        return self.first + max(0, -(-(size - self.first) // self.step)) * self.step


def size_rules(model: DeployedAutoencoder, image: tuple[int, int, int]) -> tuple[SideRule, SideRule] | None:
    """Which heights and widths a model of free size gives back unchanged.

    Only shapes are followed, nothing is computed.

    Args:
        model: built for any size.
        image: (H, W, C) that the model is known to give back.

    Returns:
        Rules for height and width; None where no regular rule with steps up to `STEPS_MAX` was found.
    """
    height, width, channels = image

    def keeps(h: int, w: int) -> bool:
        try:
            return tuple(model.output(h, w, channels).shape[1:3]) == (h, w)
        except SIZE_ERRORS:
            return False

    rules = (
        _side_rule(height, lambda side: keeps(side, width)),
        _side_rule(width, lambda side: keeps(height, side)),
    )
    return None if rules[0] is None or rules[1] is None else (rules[0], rules[1])


def _side_rule(known: int, keeps: Callable[[int], bool]) -> SideRule | None:
    for step in _steps():
        if keeps(known + step) and keeps(known + 2 * step):
            first = known % step or step
            while first < known and not keeps(first):
                first += step
            return SideRule(first, step)
    return None


def _steps() -> Iterator[int]:
    """1, 2, 4, ..., then every other number: nearly all codecs halve, and each try takes time."""
    powers = [2**n for n in range(STEPS_MAX.bit_length()) if 2**n <= STEPS_MAX]
    yield from powers
    yield from (step for step in range(3, STEPS_MAX) if step not in powers)


def probe_image(height: int, width: int, channels: int, batch: int = 1, seed: int = 0) -> np.ndarray:
    """Smooth gradients with noise, uint8 (B, H, W, C): what exported models are compared on."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    phase = rng.uniform(0, 6.28, (batch, 1, 1, channels))
    scale = rng.uniform(4, 24, (batch, 1, 1, channels))
    wave = np.sin((x + 2 * y)[None, :, :, None] / scale + phase)
    noise = rng.normal(0, 12, (batch, height, width, channels))
    return np.clip(128 + 100 * wave + noise, 0, 255).astype(np.uint8)
