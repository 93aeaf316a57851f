"""The rate: what the entropy model says the latents of an image cost."""

from typing import Any

import keras
from keras import ops

from architectures.loss_term import LossTerm, Outputs
from architectures.metrics import ImageMetric

BITS = "bits_"
"""Outputs whose name begins so are bits of one image, (B,), float32: `bits_y`, `bits_z`."""


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
