"""What it costs to let whole numbers choose the tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from architectures.hyperprior import Hyperprior
from architectures.likelihoods import gaussian_bits
from builders.integer_conversion import Converted


@dataclass(frozen=True)
class RateCost:
    """Bits of the same images with the trained hyper decoder and with the one in whole numbers.

    Attributes:
        bpp: bits per pixel of all latents with the trained one, as the model estimates them.
        whole_bpp: with whole numbers.
    """

    bpp: float
    whole_bpp: float

    @property
    def percent(self) -> float:
        """How much more, in percent."""
        return 100.0 * (self.whole_bpp / self.bpp - 1.0)


def rate_cost(
    model: Hyperprior,
    converted: Converted,
    latents: Sequence[Mapping[str, Any]],
    pixels: int,
) -> RateCost:
    """Compares the rates of some latents.

    Args:
        model: the trained entropy model.
        converted: its hyper decoder in whole numbers.
        latents: `y` and `z` of images.
        pixels: of these images.
    """
    trained = whole = 0.0
    for each in latents:
        z = np.round(each["z"])
        side = float(ops.sum(model.density(z)))
        parameters, _ = model.hyper_decoder(z, training=False)
        given = np.asarray(ops.convert_to_numpy(ops.cast(parameters, "float32"))).copy()
        logs = given.shape[-1] // model.outputs_per_latent * (model.outputs_per_latent - 1)
        given[..., logs:] = model.place_of(given[..., logs:])
        numbers = converted.network.run(z).astype(np.float32)
        trained += side + _bits(model, each["y"], given)
        whole += side + _bits(model, each["y"], _in_units(numbers, converted.mean_bits))
    return RateCost(trained / pixels, whole / pixels)


def _in_units(numbers: Any, mean_bits: int | None) -> Any:
    if mean_bits is None:
        return numbers
    means, places = np.split(numbers, 2, axis=-1)
    return np.concatenate([means * 2.0**-mean_bits, places], axis=-1)


def _bits(model: Hyperprior, y: Any, parameters: Any) -> float:
    means: Any = 0.0
    places = parameters
    if model.outputs_per_latent == 2:
        means, places = np.split(parameters, 2, axis=-1)
    gain: Any = 1.0
    if model.gain_units is not None:
        found = model.gains([model.gain_units.trained_quality])
        gain, _, moved = map(ops.convert_to_numpy, found)
        places = places + moved
    bits = gaussian_bits(np.round((y - means) * gain), model.scale_at(places, False))
    return float(ops.sum(bits))
