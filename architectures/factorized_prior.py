"""A learned density for each channel, and the entropy model that codes latents with it."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import keras
import numpy as np
from keras import ops

from architectures.likelihoods import logistic_bin_bits
from architectures.quantization import MODES, QuantizationMode, quantize

PACKAGE = "codecsmith"


class EntropyModelError(ValueError):
    """An entropy model that does not fit the latents or its hyper coders."""


@keras.saving.register_keras_serializable(package=PACKAGE)
class DeepFactorized(keras.layers.Layer):
    """One flexible univariate density a channel, as a cumulative made of small monotone networks.

    Balle et al. 2018, "Variational image compression with a scale hyperprior", appendix 6.1.

    Args:
        filters: widths of the hidden layers of each channel's network, from 1 to 256 each.
        init_scale: spread of the density at the start, in quantization steps, 0.01 to 1e6.

    Raises:
        ValueError: a width or the spread is out of range.
    """

    in_spec = False

    def __init__(
        self, filters: Sequence[int] = (3, 3, 3), init_scale: float = 10.0, **kwargs: Any
    ) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        if not all(1 <= width <= 256 for width in filters) or len(filters) > 16:
            raise ValueError(f"filters must be up to 16 widths from 1 to 256, found {filters}")
        if not 0.01 <= init_scale <= 1e6:
            raise ValueError(f"init_scale must be from 0.01 to 1e6, found {init_scale}")
        self.filters = tuple(int(width) for width in filters)
        self.init_scale = float(init_scale)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        channels = input_shape[-1]
        if channels is None:
            raise EntropyModelError("the density needs to know the number of channels")
        widths = (1, *self.filters, 1)
        scale = self.init_scale ** (1.0 / (len(self.filters) + 1))
        self.matrices, self.biases, self.factors = [], [], []
        for index, (before, after) in enumerate(pairwise(widths)):
            start = float(np.log(np.expm1(1.0 / scale / after)))
            self.matrices.append(
                self.add_weight(
                    shape=(channels, after, before),
                    initializer=keras.initializers.Constant(start),
                    name=f"matrix_{index}",
                )
            )
            self.biases.append(
                self.add_weight(
                    shape=(channels, after, 1),
                    initializer=keras.initializers.RandomUniform(-0.5, 0.5),
                    name=f"bias_{index}",
                )
            )
            if index < len(self.filters):
                self.factors.append(
                    self.add_weight(
                        shape=(channels, after, 1), initializer="zeros", name=f"factor_{index}"
                    )
                )
        self.built = True

    def bin_logits(self, values: Any) -> tuple[Any, Any]:
        """Logits at the ends of unit bins: their sigmoid is the cumulative of each channel.

        The width of a bin goes through the network beside its lower end, by
        `tanh(l + w) - tanh(l) = tanh(w) (1 - tanh(l) tanh(l + w))`. As the difference of two logits
        it would keep few digits where the density is wide.

        Args:
            values: middles of the bins, (C, 1, N), float32.

        Returns:
            The logits at `values - 1/2`, (C, 1, N), and how much larger those at `values + 1/2`
            are, (C, 1, N), positive.
        """
        lower, width = values - 0.5, ops.ones_like(values)
        for index, (matrix, bias) in enumerate(zip(self.matrices, self.biases, strict=True)):
            weights = ops.softplus(matrix)
            lower = ops.matmul(weights, lower) + bias  # (C, after, N)
            width = ops.matmul(weights, width)
            if index < len(self.factors):
                factor, bent = ops.tanh(self.factors[index]), ops.tanh(lower)
                slope = 1.0 - bent * ops.tanh(lower + width)
                lower = lower + factor * bent
                width = width + factor * ops.tanh(width) * slope
        return lower, width

    def call(self, x: Any) -> Any:
        """Bits of the unit bins around x (..., C), float32, same shape."""
        x = ops.cast(x, "float32")
        channels = x.shape[-1]
        shape = ops.shape(x)
        rows = ops.expand_dims(ops.transpose(ops.reshape(x, (-1, channels))), 1)  # (C, 1, N)
        bits = logistic_bin_bits(*self.bin_logits(rows))
        return ops.reshape(ops.transpose(ops.squeeze(bits, 1)), shape)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": list(self.filters),
            "init_scale": self.init_scale,
        }


class EntropyModel(keras.layers.Layer):
    """What stands between encoder and decoder: quantizes latents and counts their bits.

    `call` returns `(y_hat, aux)` with `aux["bits_y"]` (B,), and more where there are hyper-latents.
    It computes in float32 whatever the precision of the model.
    """

    returns_aux = True
    needs_hyper_coders = False
    aux_keys: tuple[str, ...] = ("bits_y",)

    def __init__(self, quantization: QuantizationMode = "mixed", **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        if quantization not in MODES:
            raise ValueError(f'quantization must be one of {MODES}, found "{quantization}"')
        self.quantization = quantization
        self.seed_generator = keras.random.SeedGenerator()

    def quantized(self, x: Any, training: bool | None) -> tuple[Any, Any]:
        """x for the rate and x for the decoder, see `architectures.quantization.quantize`."""
        return quantize(x, self.quantization, training, self.seed_generator)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "quantization": self.quantization}


def per_image(bits: Any) -> Any:
    """Sums bits (B, ...) to (B,)."""
    return ops.sum(bits, axis=tuple(range(1, len(bits.shape))))


@keras.saving.register_keras_serializable(package=PACKAGE)
class FactorizedPrior(EntropyModel):
    """Codes every latent by its channel's learned density, independently.

    Balle, Laparra, Simoncelli 2017, "End-to-end optimized image compression", with the density of
    Balle et al. 2018, appendix 6.1.

    Args:
        quantization: how rounding is trained through.
        filters: widths of each channel's network.
        init_scale: spread of the densities at the start, in quantization steps.
    """

    def __init__(
        self,
        quantization: QuantizationMode = "mixed",
        filters: Sequence[int] = (3, 3, 3),
        init_scale: float = 10.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(quantization, **kwargs)
        self.density = DeepFactorized(filters, init_scale, name="density")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.density.build(input_shape)
        self.built = True

    def call(self, y: Any, training: bool | None = None) -> tuple[Any, dict[str, Any]]:
        """y (B, ..., C) -> y_hat, and its bits (B,)."""
        y_rate, y_hat = self.quantized(ops.cast(y, "float32"), training)
        return y_hat, {"bits_y": per_image(self.density(y_rate))}

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": list(self.density.filters),
            "init_scale": self.density.init_scale,
        }
