"""The loss terms: distortions, and the divergence of a variational posterior from its prior.

What a term is, and how to write one, is in `loss_term`; the adversarial term is in
`adversarial_loss`. All are named here, for one place to import from. Terms that share a measure
with a metric have `_loss` in their tag, so that logs keep `1 - SSIM` and SSIM apart.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from architectures import image_quality
from architectures.adversarial_loss import Adversarial
from architectures.loss_term import ImageLoss, LossTerm, Outputs, check_tags, total_loss
from architectures.ssim_windows import (
    check_filter_size,
    check_scales,
    multi_scale_for,
    window_for,
)

__all__ = [
    "L1",
    "MSE",
    "MSSSIM",
    "PSNR",
    "SSIM",
    "SSIML1",
    "Adversarial",
    "BinaryCrossentropy",
    "ImageLoss",
    "KLDivergence",
    "LossTerm",
    "check_tags",
    "total_loss",
]

Tensor = Any


class StructuralLoss(ImageLoss):
    """Base class of terms with an SSIM window.

    Args:
        filter_size: Side of the Gaussian window in pixels, odd; smaller images are an error.
            `None` (null in JSON) states the rule "the largest odd window up to 11 that fits", which
            needs images of a fixed size; values of different windows do not compare.
        weight: Factor of the term in the total, from 0.
        name: What logs call this term; null means the usual name of its kind.

    Raises:
        ValueError: `filter_size` is not a positive odd number.
    """

    def __init__(
        self, filter_size: int | None = 11, weight: float = 1.0, name: str | None = None
    ) -> None:
        super().__init__(weight=weight, name=name)
        self.filter_size = check_filter_size(filter_size)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filter_size": self.filter_size}


@keras.saving.register_keras_serializable(package="codecsmith")
class SSIML1(StructuralLoss):
    """Structural similarity and absolute error: `alpha (1 - SSIM) + (1 - alpha) L1`.

    SSIM sees structure but neither colour shifts nor uniform brightness well; L1 holds those.

    Args:
        alpha: Share of the structural part, in `[0, 1]`.
        filter_size: Side of the window in pixels, odd; smaller images are an error. Null states
            the rule "the largest odd window up to 11 that fits", for images of a fixed size.
        weight: Factor of the term in the total, from 0.
        name: What logs call this term; null means `ssim_l1`.

    Raises:
        ValueError: `alpha` is outside `[0, 1]`, or see `StructuralLoss`.

    Reference:
        After Zhao, Gallo, Frosio, Kautz, "Loss Functions for Image Restoration with Neural
        Networks", IEEE Transactions on Computational Imaging 3(1), 2017, section III.E, which
        mixes MS-SSIM and L1.
    """

    default_tag = "ssim_l1"

    def __init__(
        self,
        alpha: float = 0.75,
        weight: float = 1.0,
        filter_size: int | None = 11,
        name: str | None = None,
    ) -> None:
        super().__init__(filter_size=filter_size, weight=weight, name=name)
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha must be in [0, 1], found {alpha}")
        self.alpha = float(alpha)

    def compare(self, x: Tensor, x_hat: Tensor) -> Tensor:
        similarity = image_quality.ssim(x, x_hat, filter_size=window_for(x, self.filter_size))
        return self.alpha * (1.0 - similarity) + (1.0 - self.alpha) * image_quality.mae(x, x_hat)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "alpha": self.alpha}


@keras.saving.register_keras_serializable(package="codecsmith")
class SSIM(StructuralLoss):
    """Structural dissimilarity: `1 - SSIM`, in `[0, 2]`. See `image_quality.ssim`.

    Args:
        filter_size: Side of the window in pixels, odd; smaller images are an error. Null states
            the rule "the largest odd window up to 11 that fits", for images of a fixed size.
        weight: Factor of the term in the total, from 0.
        name: What logs call this term; null means `ssim_loss`.
    """

    default_tag = "ssim_loss"

    def compare(self, x: Tensor, x_hat: Tensor) -> Tensor:
        return 1.0 - image_quality.ssim(x, x_hat, filter_size=window_for(x, self.filter_size))


@keras.saving.register_keras_serializable(package="codecsmith")
class MSSSIM(StructuralLoss):
    """Multi-scale structural dissimilarity: `1 - MS-SSIM`, in `[0, 1]`.

    See `image_quality.ms_ssim`, also for images where it has no gradient.

    Args:
        scales: Number of scales, 1 to 5; five need images of at least 161 pixels a side. Null
            states the rule "as many of the five as fit with the window", for images of a fixed
            size. The exponents of fewer than five are divided by their sum.
        filter_size: Side of the window in pixels, odd; smaller images are an error. Null states
            the rule "the largest odd window up to 11 that fits" the images themselves, for images
            of a fixed size; it applies before the rule for `scales`.
        weight: Factor of the term in the total, from 0.
        name: What logs call this term; null means `ms_ssim_loss`.

    Raises:
        ValueError: `scales` is not from 1 to 5, or see `StructuralLoss`.
    """

    default_tag = "ms_ssim_loss"

    def __init__(
        self,
        scales: int | None = 5,
        filter_size: int | None = 11,
        weight: float = 1.0,
        name: str | None = None,
    ) -> None:
        super().__init__(filter_size=filter_size, weight=weight, name=name)
        self.scales = check_scales(scales)

    def compare(self, x: Tensor, x_hat: Tensor) -> Tensor:
        window, factors = multi_scale_for(x, self.scales, self.filter_size)
        return 1.0 - image_quality.ms_ssim(x, x_hat, power_factors=factors, filter_size=window)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scales": self.scales}


@keras.saving.register_keras_serializable(package="codecsmith")
class L1(ImageLoss):
    """Mean absolute error over pixels and channels, in `[0, 1]`."""

    default_tag = "l1_loss"

    def compare(self, x: Tensor, x_hat: Tensor) -> Tensor:
        return image_quality.mae(x, x_hat)


@keras.saving.register_keras_serializable(package="codecsmith")
class MSE(ImageLoss):
    """Mean squared error of pixels times `scale`: `scale^2 mean((x - x_hat)^2)`.

    Args:
        scale: Factor of the pixels. Compression papers train on `bpp + lambda 255^2 MSE` (Ballé et
            al. 2018; Minnen et al. 2018; CompressAI): `scale=255` makes their `lambda` the weight.
        weight: Factor of the term in the total, from 0.
        name: What logs call this term; null means `mse_loss`.

    Raises:
        ValueError: `scale` is not positive and finite.
    """

    default_tag = "mse_loss"

    def __init__(self, scale: float = 1.0, weight: float = 1.0, name: str | None = None) -> None:
        super().__init__(weight=weight, name=name)
        if not (math.isfinite(scale) and scale > 0):
            raise ValueError(f"scale must be positive and finite, found {scale}")
        self.scale = float(scale)

    def compare(self, x: Tensor, x_hat: Tensor) -> Tensor:
        return self.scale**2 * image_quality.mse(x, x_hat)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale}


@keras.saving.register_keras_serializable(package="codecsmith")
class PSNR(ImageLoss):
    """Negative peak signal-to-noise ratio in dB, so that lower is better; from -100.

    Each image pulls in proportion to its relative error: going from 40 to 41 dB counts as much as
    from 20 to 21, where MSE would look at the bad images only. See `image_quality.psnr_db`.
    """

    default_tag = "psnr_loss_db"

    def compare(self, x: Tensor, x_hat: Tensor) -> Tensor:
        return -image_quality.psnr_db(x, x_hat)


@keras.saving.register_keras_serializable(package="codecsmith")
class BinaryCrossentropy(ImageLoss):
    """Mean binary cross-entropy of pixels taken as probabilities, in nats.

    See `image_quality.binary_crossentropy`; `x_hat` has to be a probability, so the decoder should
    end in a sigmoid: a value clipped to 0 or 1 has no gradient.
    """

    def compare(self, x: Tensor, x_hat: Tensor) -> Tensor:
        return image_quality.binary_crossentropy(x, x_hat)


@keras.saving.register_keras_serializable(package="codecsmith")
class KLDivergence(LossTerm):
    """Divergence of the posterior over the latents from the standard normal, in nats.

    `0.5 sum(exp(log_var) + mean^2 - 1 - log_var)`; its weight is the beta of a beta-VAE.

    Args:
        per_pixel: Divide by the number of samples `H W C` of the image. The distortion terms are
            means over samples, while the divergence is a sum over latents, so that the same weight
            means another trade-off for each image size, and weight 1 lets the divergence win.
            Divided, `BinaryCrossentropy` and this term with weight `beta` are the objective of the
            beta-VAE per sample (Higgins et al. 2017, "beta-VAE", equation 4), 1 is the evidence
            lower bound, and a weight found on one image size holds for others.
        weight: Factor of the term in the total, from 0.
        name: What logs call this term; null means `kl_divergence`.
    """

    requires: tuple[str, ...] = ("posterior_mean", "posterior_log_var")

    def __init__(
        self, per_pixel: bool = False, weight: float = 1.0, name: str | None = None
    ) -> None:
        super().__init__(weight=weight, name=name)
        self.per_pixel = bool(per_pixel)
        if self.per_pixel:
            self.requires = (*type(self).requires, "x")

    def call(self, outputs: Outputs) -> Tensor:
        nats = image_quality.kl_to_standard_normal(
            outputs["posterior_mean"], outputs["posterior_log_var"]
        )
        if not self.per_pixel:
            return nats
        _, height, width, channels = ops.shape(outputs["x"])
        return nats / ops.cast(height * width * channels, "float32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "per_pixel": self.per_pixel}
