"""The rate: what the entropy model says the latents of an image cost."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from architectures.loss_term import LossTerm, Outputs
from architectures.metrics import ImageMetric

BITS = "bits_"
"""Outputs whose name begins so are bits of one image, (B,), float32: `bits_y`, `bits_z`."""

PART_NAMES = {"bits_y": "bpp_latents", "bits_z": "bpp_hyper_latents"}
"""What logs call the parts of the rate."""


def bits_per_pixel(outputs: Outputs) -> Any:
    """All bits of an image over its pixels, `sum(bits) / (H W)`.

    Args:
        outputs: what the model returned: `x` (B, H, W, C) and one or more of `bits_*` (B,).

    Returns:
        (B,), float32, bits per pixel; the channels of a place count as one pixel.
    """
    _, height, width, _ = ops.shape(outputs["x"])
    parts = [ops.cast(value, "float32") for key, value in outputs.items() if key.startswith(BITS)]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total / ops.cast(height * width, "float32")


@keras.saving.register_keras_serializable(package="codecsmith")
class BitsPerPixel(LossTerm):
    """The rate R of R + lambda D: bits of latents and hyper-latents, per pixel of the image.

    Needs an entropy model. Lambda is the weight of the distortion term beside it: `MSE` with
    `scale` 255 and weight lambda, as in Balle et al. 2018, or `MSSSIM`.

    Args:
        weight: Factor of the term in the total, from 0.
        name: What logs call this term; null means `bits_per_pixel`.
    """

    requires = ("x", "bits_y")
    is_rate = True

    default_tag = "bits_per_pixel"

    def call(self, outputs: Outputs) -> Any:
        return bits_per_pixel(outputs)


@keras.saving.register_keras_serializable(package="codecsmith.metrics")
class Rate(ImageMetric):
    """Bits per pixel of latents and hyper-latents, averaged over images; needs an entropy model."""

    requires = ("x", "bits_y")

    default_name = "rate_bpp"

    def per_image(self, outputs: Outputs) -> Any:
        return bits_per_pixel(outputs)


class PartOfRate(ImageMetric):
    """Bits per pixel of one part of the rate, averaged over images.

    Args:
        key: of the outputs, begins with `bits_`.
    """

    def __init__(self, key: str) -> None:
        super().__init__(name=PART_NAMES.get(key, f"bpp_{key.removeprefix(BITS)}"))
        self.requires = ("x", key)
        self.key = key

    def per_image(self, outputs: Outputs) -> Any:
        return bits_per_pixel({"x": outputs["x"], self.key: outputs[self.key]})


def parts_of_rate(entropy_model: Any, image_metrics: Sequence[ImageMetric]) -> list[PartOfRate]:
    """A metric for each part of an entropy model's rate, for logs that nobody asked for.

    Args:
        entropy_model: names its outputs in `aux_keys`; None gives none.
        image_metrics: of the spec. Where the rate has one part and `Rate` is among them, that part
            would be logged twice.
    """
    keys = [key for key in getattr(entropy_model, "aux_keys", ()) if key.startswith(BITS)]
    if len(keys) == 1 and any(type(metric) is Rate for metric in image_metrics):
        return []
    return [PartOfRate(key) for key in keys]
