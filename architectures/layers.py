"""Layers that codecs need and Keras lacks."""

from collections.abc import Sequence
from typing import Annotated, Any

import keras
from annotated_types import Ge
from keras import ops

PACKAGE = "codecsmith"


def image_shape(shape: Sequence[int | None]) -> tuple[int | None, ...]:
    """Gives back a shape that is (B, H, W, C).

    Raises:
        ValueError: the shape has another rank.
    """
    if len(shape) != 4:
        raise ValueError(f"expected an input of height, width and channels, found {shape[1:]}")
    return tuple(shape)


@keras.saving.register_keras_serializable(package=PACKAGE)
class SpaceToDepth(keras.layers.Layer):
    """Folds each block of pixels into channels: (H, W, C) -> (H/b, W/b, C*b*b). Exact.

    Args:
        block_size: side of a block in pixels; height and width must be multiples of it.
    """

    def __init__(self, block_size: Annotated[int, Ge(2)] = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.block_size = int(block_size)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.compute_output_shape(input_shape)
        super().build(input_shape)

    def call(self, x: Any) -> Any:
        b = self.block_size
        batch, height, width, channels = ops.shape(x)
        x = ops.reshape(x, (batch, height // b, b, width // b, b, channels))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))  # (B, H/b, W/b, b, b, C)
        return ops.reshape(x, (batch, height // b, width // b, b * b * channels))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, height, width, channels = image_shape(input_shape)
        b = self.block_size
        if any(side is not None and side % b for side in (height, width)):
            raise ValueError(
                f"height and width must be multiples of block_size {b}, found {height}x{width}"
            )
        return (
            batch,
            None if height is None else height // b,
            None if width is None else width // b,
            None if channels is None else channels * b * b,
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "block_size": self.block_size}


@keras.saving.register_keras_serializable(package=PACKAGE)
class DepthToSpace(keras.layers.Layer):
    """Unfolds channels into blocks of pixels, the inverse of SpaceToDepth.

    (H, W, C) -> (H*b, W*b, C/(b*b)); Shi et al. 2016, "Real-time single image and video
    super-resolution using an efficient sub-pixel convolutional neural network", section 3.

    Args:
        block_size: side of a block in pixels; the channels must be a multiple of its square.
    """

    def __init__(self, block_size: Annotated[int, Ge(2)] = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.block_size = int(block_size)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.compute_output_shape(input_shape)
        super().build(input_shape)

    def call(self, x: Any) -> Any:
        b = self.block_size
        batch, height, width, channels = ops.shape(x)
        out = channels // (b * b)
        x = ops.reshape(x, (batch, height, width, b, b, out))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))  # (B, H, b, W, b, C/(b*b))
        return ops.reshape(x, (batch, height * b, width * b, out))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, height, width, channels = image_shape(input_shape)
        b = self.block_size
        if channels is None or channels % b**2:
            raise ValueError(
                f"channels must be a multiple of block_size squared ({b**2}), found {channels}"
            )
        return (
            batch,
            None if height is None else height * b,
            None if width is None else width * b,
            channels // (b * b),
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "block_size": self.block_size}


@keras.saving.register_keras_serializable(package=PACKAGE)
class Residual(keras.layers.Layer):
    """Adds what its layers make of the input to the input: `y = x + f(x)`.

    He et al. 2016, "Deep residual learning for image recognition", equation 1. The layers must
    give back the shape they got.

    Args:
        layers: the layers of f, in order.
    """

    def __init__(self, layers: Sequence[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.branch = [
            layer
            if isinstance(layer, keras.layers.Layer)
            else keras.saving.deserialize_keras_object(layer)
            for layer in layers
        ]
        for layer in self.branch:
            if getattr(layer, "returns_aux", False):
                raise ValueError(
                    f"{type(layer).__name__} can't stand inside a Residual: it gives more than one "
                    "tensor"
                )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        x = keras.KerasTensor(input_shape)
        for layer in self.branch:
            x = layer(x)
        self._check_kept(input_shape, x.shape)
        self.built = True

    def call(self, x: Any) -> Any:
        y = x
        for layer in self.branch:
            y = layer(y)
        return x + ops.cast(y, x.dtype)  # a layer inside may have a dtype of its own

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        shape = tuple(input_shape)
        for layer in self.branch:
            shape = tuple(layer.compute_output_shape(shape))
        self._check_kept(input_shape, shape)
        return tuple(input_shape)

    def _check_kept(self, before: Sequence[int | None], after: Sequence[int | None]) -> None:
        if tuple(after[1:]) != tuple(before[1:]):
            raise ValueError(
                f"the layers of a Residual must keep the shape: {tuple(before[1:])} became "
                f"{tuple(after[1:])}"
            )

    def get_config(self) -> dict[str, Any]:
        layers = [keras.saving.serialize_keras_object(layer) for layer in self.branch]
        return {**super().get_config(), "layers": layers}


@keras.saving.register_keras_serializable(package=PACKAGE)
class GaussianLatent(keras.layers.Layer):
    """The latent of a variational autoencoder: a sample while training, its mean otherwise.

    A dense layer gives mean and log variance; `z = mean + exp(log_var / 2) * noise`
    (Kingma & Welling 2014, "Auto-encoding variational Bayes", section 2.4). Needs the loss term
    `KLDivergence`, which reads the posterior from the model's outputs.

    Args:
        units: latents per image.
    """

    returns_aux = True
    aux_keys = ("posterior_mean", "posterior_log_var")

    def __init__(self, units: Annotated[int, Ge(1)], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = int(units)
        self.dense = keras.layers.Dense(2 * self.units, name="posterior", dtype=self.dtype_policy)
        self.seed_generator = keras.random.SeedGenerator()

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.dense.build(input_shape)
        self.built = True

    def call(self, x: Any, training: bool | None = None) -> tuple[Any, dict[str, Any]]:
        stats = ops.cast(self.dense(x), "float32")  # (B, ..., 2*D)
        mean, log_var = stats[..., : self.units], stats[..., self.units :]
        # exp overflows float32 above 88; a variance of e^20 is noise already.
        log_var = ops.clip(log_var, -20.0, 20.0)
        z = mean
        if training:
            noise = keras.random.normal(ops.shape(mean), seed=self.seed_generator)
            z = mean + ops.exp(0.5 * log_var) * noise
        aux = {"posterior_mean": mean, "posterior_log_var": log_var}
        return ops.cast(z, self.compute_dtype), aux

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}
