"""Entropy models with side information: hyper-latents say how uncertain each latent is."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from architectures.bounds import clip_towards
from architectures.factorized_prior import (
    PACKAGE,
    DeepFactorized,
    EntropyModel,
    EntropyModelError,
    per_image,
)
from architectures.gain_units import GainUnits
from architectures.likelihoods import gaussian_bits
from architectures.quantization import QuantizationMode
from architectures.stack import LayerStack


@keras.saving.register_keras_serializable(package=PACKAGE)
class HyperCoder(LayerStack):
    """h_a or h_s: latents to hyper-latents, or back to the parameters of the latents' Gaussians."""


class Hyperprior(EntropyModel):
    """What both hyperpriors share.

    The hyper decoder gives, for every latent, the natural logarithm of its scale, so that a new
    model begins with scales around 1. It has a place in a table of `scale_levels` scales from
    `scale_min` to `scale_max`, equally spaced in their logarithm. Training sees the scale between
    two places; coding rounds to one, and codes with that place's frozen table.

    Args:
        hyper_encoder: h_a.
        hyper_decoder: h_s.
        quantization: how rounding is trained through.
        filters: widths of the networks of the hyper-latents' densities.
        init_scale: spread of those densities at the start, in quantization steps.
        scale_min: smallest standard deviation, in quantization steps.
        scale_max: largest one.
        scale_levels: places in the table.
        lambda_range: for one model of all rates: what lambda, the weight of the distortion, is
            multiplied by at the lowest and at the highest quality, as [0.1, 10.0]. Each image of a
            batch is trained at another quality, and factors for each channel of the latents are
            learned; validation is at factor 1. null: one rate.

    Raises:
        ValueError: the scales are not in order, there are fewer than two, or the range is none.
    """

    needs_hyper_coders = True
    aux_keys = ("bits_y", "bits_z")
    built_arguments = ("hyper_encoder", "hyper_decoder")
    outputs_per_latent = 1

    def __init__(
        self,
        hyper_encoder: HyperCoder,
        hyper_decoder: HyperCoder,
        quantization: QuantizationMode = "mixed",
        filters: Sequence[int] = (3, 3, 3),
        init_scale: float = 10.0,
        scale_min: float = 0.11,
        scale_max: float = 256.0,
        scale_levels: int = 64,
        lambda_range: Sequence[float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(quantization, **kwargs)
        if not 0.0 < scale_min < scale_max or scale_levels < 2:
            raise ValueError(
                "scales must satisfy 0 < scale_min < scale_max with at least 2 levels, found "
                f"{scale_min}, {scale_max}, {scale_levels}"
            )
        self.hyper_encoder = hyper_encoder
        self.hyper_decoder = hyper_decoder
        self.density = DeepFactorized(filters, init_scale, name="density")
        self.scale_min = float(scale_min)
        self.scale_max = float(scale_max)
        self.scale_levels = int(scale_levels)
        self.gain_units = None if lambda_range is None else GainUnits(lambda_range, name="gains")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.hyper_encoder.build(input_shape)
        hyper_shape = self.hyper_encoder.output_shapes[-1]
        self.density.build(hyper_shape)
        self.hyper_decoder.build(hyper_shape)
        given = self.hyper_decoder.output_shapes[-1]
        channels = input_shape[-1]
        if channels is None:
            raise EntropyModelError("the number of latent channels must be known")
        wanted = (*input_shape[:-1], self.outputs_per_latent * channels)
        # Sides may be free in one and known in the other; those known in both must agree.
        pairs = zip(given[1:], wanted[1:], strict=False)
        if len(given) != len(wanted) or any(
            None not in pair and pair[0] != pair[1] for pair in pairs
        ):
            raise EntropyModelError(
                f"the hyper decoder gives {tuple(given[1:])} for latents {tuple(input_shape[1:])}; "
                f"expected {tuple(wanted[1:])}"
            )
        if self.gain_units is not None:
            self.gain_units.build((None, channels))
        self.built = True

    def scales(self) -> list[float]:
        """The table: standard deviations in quantization steps, ascending."""
        return [
            math.exp(self._log_min + place * self._log_step) for place in range(self.scale_levels)
        ]

    @property
    def _log_min(self) -> float:
        return math.log(self.scale_min)

    @property
    def _log_step(self) -> float:
        return (math.log(self.scale_max) - self._log_min) / (self.scale_levels - 1)

    def place_of(self, log_scale: Any) -> Any:
        """Where in the table the scale of a logarithm stands, whole numbers for those in it."""
        return (log_scale - self._log_min) * (1.0 / self._log_step)

    def scale_at(self, place: Any, training: bool | None) -> Any:
        """The scale at a place in the table: between two while training, at one for coding."""
        inside = clip_towards(place, 0.0, float(self.scale_levels - 1))
        if not training:
            inside = ops.floor(inside + 0.5)
        return ops.exp(inside * self._log_step + self._log_min)

    def coded(
        self, y: Any, mean: Any, log_scale: Any, training: bool | None, quality: float | None
    ) -> tuple[Any, Any, dict[str, Any]]:
        """Codes latents by their Gaussians, at the quality drawn for each image while training.

        Args:
            y: latents (B, H, W, M), float32.
            mean: of each, or 0.
            log_scale: what the hyper decoder tells.
            training: whether gradients are wanted.
            quality: with gain units, outside training: in [0, 1]; None for that of factor 1.

        Returns:
            y_hat, the bits of each latent, and what the loss has to know: with gain units, while
            training, `lambda_factor` (B,).
        """
        place = self.place_of(log_scale)
        if self.gain_units is None:
            rate, residual = self.quantized(y - mean, training)
            return residual + mean, gaussian_bits(rate, self.scale_at(place, training)), {}
        told = {}
        if training:
            at = self.gain_units.sampled(ops.shape(y)[0], self.seed_generator)
            told["lambda_factor"] = ops.exp(self.gain_units.log_lambda(at))
        else:
            at = [self.gain_units.trained_quality if quality is None else quality]
        gain, inverse, moved = self.gains(at, training)
        rate, residual = self.quantized((y - mean) * gain, training)
        bits = gaussian_bits(rate, self.scale_at(place + moved, training))
        return residual * inverse + mean, bits, told

    def gains(self, quality: Any, training: bool | None = False) -> tuple[Any, Any, Any]:
        """What residuals are multiplied by at a quality, and how far that moves their scales.

        Args:
            quality: (N,), in [0, 1].
            training: outside it scales move by whole places.

        Returns:
            Gain, inverse, and places in the table of scales, each (N, 1, 1, M).
        """
        assert self.gain_units is not None
        logarithms = self.gain_units(ops.convert_to_tensor(quality, "float32"))
        gain, inverse = (each[:, None, None, :] for each in logarithms)
        moved = gain * (1.0 / self._log_step)
        if not training:
            moved = ops.floor(moved + 0.5)
        return ops.exp(gain), ops.exp(inverse), moved

    def hyper(self, side: Any, training: bool | None) -> tuple[Any, Any]:
        """Codes the side information: what h_s makes of it, float32, and its bits (B,)."""
        z, _ = self.hyper_encoder(side, training=training)
        z_rate, z_hat = self.quantized(ops.cast(z, "float32"), training)
        parameters, _ = self.hyper_decoder(z_hat, training=training)
        return ops.cast(parameters, "float32"), per_image(self.density(z_rate))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "hyper_encoder": keras.saving.serialize_keras_object(self.hyper_encoder),
            "hyper_decoder": keras.saving.serialize_keras_object(self.hyper_decoder),
            "filters": list(self.density.filters),
            "init_scale": self.density.init_scale,
            "scale_min": self.scale_min,
            "scale_max": self.scale_max,
            "scale_levels": self.scale_levels,
            "lambda_range": None if self.gain_units is None else self.gain_units.lambda_range,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Hyperprior":
        config = dict(config)
        for key in cls.built_arguments:
            config[key] = keras.saving.deserialize_keras_object(config[key])
        return cls(**config)


@keras.saving.register_keras_serializable(package=PACKAGE)
class ScaleHyperprior(Hyperprior):
    """Codes every latent by a zero-mean Gaussian whose scale the hyper-latents tell.

    Balle et al. 2018, "Variational image compression with a scale hyperprior". The hyper encoder
    sees the latents' magnitudes; the hyper decoder gives one number a latent.
    """

    def call(
        self, y: Any, training: bool | None = None, quality: float | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """y (B, H, W, M) -> y_hat, the bits of y and of the hyper-latents, each (B,)."""
        y = ops.cast(y, "float32")
        log_scale, bits_z = self.hyper(ops.absolute(y), training)
        y_hat, bits, told = self.coded(y, 0.0, log_scale, training, quality)
        return y_hat, {**told, "bits_y": per_image(bits), "bits_z": bits_z}


@keras.saving.register_keras_serializable(package=PACKAGE)
class MeanScaleHyperprior(Hyperprior):
    """Codes every latent by a Gaussian whose mean and scale the hyper-latents tell.

    Minnen, Balle, Toderici 2018, "Joint autoregressive and hierarchical priors for learned image
    compression", without the context model. The hyper decoder gives two numbers a latent: all
    means, then all logarithms of scales.
    """

    outputs_per_latent = 2

    def call(
        self, y: Any, training: bool | None = None, quality: float | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """y (B, H, W, M) -> y_hat, the bits of y and of the hyper-latents, each (B,)."""
        y = ops.cast(y, "float32")
        parameters, bits_z = self.hyper(y, training)
        mean, log_scale = ops.split(parameters, 2, axis=-1)  # (B, H, W, M) each
        y_hat, bits, told = self.coded(y, mean, log_scale, training, quality)
        return y_hat, {**told, "bits_y": per_image(bits), "bits_z": bits_z}
