"""Image metrics: the mean over images of one value per image.

A metric reads the same mapping of outputs as a loss term (see `loss_term`), sums per image and
counts images, so that a short last batch weighs what it should. One of one's own is one method:

    @keras.saving.register_keras_serializable(package="mine")
    class WorstPixel(ImageMetric):
        def per_image(self, outputs):
            return ops.max(ops.absolute(outputs["x"] - outputs["x_hat"]), axis=(1, 2, 3))

Registered as "codecsmith.metrics", since some share their name with a loss term.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import keras
from keras import ops

from architectures import image_quality
from architectures.loss_term import Outputs, check_one_per_image, check_outputs, snake_case
from architectures.ssim_windows import (
    check_filter_size,
    check_scales,
    multi_scale_for,
    window_for,
)

Tensor = Any

IMAGES = ("x", "x_hat")
"""Keys of the outputs that are images, in [0, 1]."""


class ImageMetric(keras.metrics.Metric, ABC):
    """Base class of metrics that are a mean over images: `sum_i w_i v_i / sum_i w_i`.

    Subclasses write `per_image`, and state in `requires` which outputs they read if it is not the
    two images. The images they get are what a viewer would see: float32, clipped to `[0, 1]`, and
    on demand rounded to 8 bits.

    Sum and count are float32, as everywhere in Keras, but each is kept as two numbers: the sum and
    what rounding took from it. One float32 alone would stop counting at 2^24 images, and over 1e6
    images, added one by one, the mean PSNR was measured to be off by up to 0.4 dB (float32 numbers
    near 3e7 are 2 apart, and values that differ little are all rounded the same way). With the
    second number the mean is as exact as a float32 can be: a relative error of 1e-7.

    Args:
        as_uint8: Compare images as they are after saving with 8 bits per sample: `[0, 1]` is
            rounded to 0, 1, ..., 255 (halves to even) and divided by 255 again. Without it a
            metric sees digits that no decoded file has.
        name: Name in logs; `None` means `default_name`.
    """

    requires: tuple[str, ...] = IMAGES
    """Keys of the outputs that `per_image` reads."""

    default_name: ClassVar[str | None] = None
    """Name in logs; `None` means the name of the class in snake case."""

    def __init__(self, as_uint8: bool = False, name: str | None = None) -> None:
        """Sets what all image metrics have.

        Args:
            as_uint8: Round both images to 8 bits per sample before comparing them.
            name: What logs call this metric; null means the usual name of its kind.
        """
        name = name or self.default_name or snake_case(type(self).__name__)
        super().__init__(dtype="float32", name=name)
        self.as_uint8 = bool(as_uint8)
        self.total = self._zero("total")
        self.total_error = self._zero("total_error")
        self.count = self._zero("count")
        self.count_error = self._zero("count_error")

    @abstractmethod
    def per_image(self, outputs: Outputs) -> Tensor:
        """Computes the values.

        Args:
            outputs: What the model returned; `"x"` and `"x_hat"` prepared as stated above.

        Returns:
            Tensor of shape `(B,)`.
        """

    def update_state(self, outputs: Outputs, sample_weight: Tensor | None = None) -> None:
        """Adds a batch.

        Args:
            outputs: What the model returned.
            sample_weight: Weight of each image, shape `(B,)`, any real dtype or a boolean mask;
                `None` means 1. Images of weight 0 leave no trace, not even if their value is NaN.

        Raises:
            ValueError: An output is missing, or values or weights are not one per image.
        """
        check_outputs(self.name, self.requires, outputs)
        prepared = {key: self._prepare(outputs[key]) for key in IMAGES if key in outputs}
        values = ops.cast(self.per_image({**outputs, **prepared}), "float32")
        check_one_per_image(self.name, values)
        if sample_weight is None:
            weights = ops.ones_like(values)
        else:
            weights = ops.cast(sample_weight, "float32")
            check_one_per_image(f"sample_weight of {self.name}", weights)
            values = ops.where(weights > 0, values * weights, 0.0)
        _add(self.total, self.total_error, ops.sum(values))
        _add(self.count, self.count_error, ops.sum(weights))

    def result(self) -> Tensor:
        """Returns the mean over images, a float32 scalar; NaN when there was none."""
        return (self.total + self.total_error) / (self.count + self.count_error)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, ready for JSON."""
        return {"as_uint8": self.as_uint8, "name": self.name}

    def _prepare(self, image: Tensor) -> Tensor:
        image = ops.clip(ops.cast(image, "float32"), 0.0, 1.0)
        return ops.round(image * 255.0) / 255.0 if self.as_uint8 else image

    def _zero(self, name: str) -> Any:
        return self.add_variable(shape=(), initializer="zeros", dtype="float32", name=name)


class StructuralMetric(ImageMetric):
    """Base class of metrics with an SSIM window.

    Args:
        filter_size: Side of the Gaussian window in pixels, odd; smaller images are an error.
            `None` (null in JSON) states the rule "the largest odd window up to 11 that fits", which
            needs images of a fixed size; values of different windows do not compare.
        as_uint8: See `ImageMetric`.
        name: Name in logs.

    Raises:
        ValueError: `filter_size` is not a positive odd number.
    """

    def __init__(
        self, filter_size: int | None = 11, as_uint8: bool = False, name: str | None = None
    ) -> None:
        super().__init__(as_uint8=as_uint8, name=name)
        self.filter_size = check_filter_size(filter_size)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filter_size": self.filter_size}


@keras.saving.register_keras_serializable(package="codecsmith.metrics")
class PSNR(ImageMetric):
    """Peak signal-to-noise ratio in dB, averaged over images.

    The mean of the decibels of each image, as papers on compression report it, and not the decibels
    of the mean squared error of all: the latter is lower, and decided by the worst images. An image
    without error counts as 100 dB (see `image_quality.psnr_db`).
    """

    default_name = "psnr_db"

    def per_image(self, outputs: Outputs) -> Tensor:
        return image_quality.psnr_db(outputs["x"], outputs["x_hat"])


@keras.saving.register_keras_serializable(package="codecsmith.metrics")
class SSIM(StructuralMetric):
    """Structural similarity, in `[-1, 1]`, averaged over images. See `image_quality.ssim`.

    Args:
        filter_size: Side of the window in pixels, odd; smaller images are an error. Null states
            the rule "the largest odd window up to 11 that fits", for images of a fixed size.
        as_uint8: Round both images to 8 bits per sample before comparing them.
        name: What logs call this metric; null means `ssim`.
    """

    def per_image(self, outputs: Outputs) -> Tensor:
        x, x_hat = outputs["x"], outputs["x_hat"]
        return image_quality.ssim(x, x_hat, filter_size=window_for(x, self.filter_size))


@keras.saving.register_keras_serializable(package="codecsmith.metrics")
class MSSSIM(StructuralMetric):
    """Multi-scale structural similarity, in `[0, 1]`, averaged over images.

    See `image_quality.ms_ssim`.

    Args:
        scales: Number of scales, 1 to 5; five need images of at least 161 pixels a side. Null
            states the rule "as many of the five as fit with the window", for images of a fixed
            size. The exponents of fewer than five are divided by their sum.
        filter_size: Side of the window in pixels, odd; smaller images are an error. Null states
            the rule "the largest odd window up to 11 that fits" the images themselves, for images
            of a fixed size; it applies before the rule for `scales`.
        as_uint8: Round both images to 8 bits per sample before comparing them.
        name: What logs call this metric; null means `ms_ssim`.

    Raises:
        ValueError: `scales` is not from 1 to 5, or see `StructuralMetric`.
    """

    default_name = "ms_ssim"

    def __init__(
        self,
        scales: int | None = 5,
        filter_size: int | None = 11,
        as_uint8: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(filter_size=filter_size, as_uint8=as_uint8, name=name)
        self.scales = check_scales(scales)

    def per_image(self, outputs: Outputs) -> Tensor:
        x, x_hat = outputs["x"], outputs["x_hat"]
        window, factors = multi_scale_for(x, self.scales, self.filter_size)
        return image_quality.ms_ssim(x, x_hat, power_factors=factors, filter_size=window)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scales": self.scales}


@keras.saving.register_keras_serializable(package="codecsmith.metrics")
class MSE(ImageMetric):
    """Mean squared error of pixels in `[0, 1]`, averaged over images."""

    def per_image(self, outputs: Outputs) -> Tensor:
        return image_quality.mse(outputs["x"], outputs["x_hat"])


@keras.saving.register_keras_serializable(package="codecsmith.metrics")
class L1(ImageMetric):
    """Mean absolute error of pixels in `[0, 1]`, averaged over images."""

    def per_image(self, outputs: Outputs) -> Tensor:
        return image_quality.mae(outputs["x"], outputs["x_hat"])


def _add(total: Any, error: Any, term: Tensor) -> None:
    """Adds a term to a sum that is kept as two numbers."""
    rough, lost = _two_sum(ops.convert_to_tensor(total), term)
    # The second step keeps the error below the last digit of the total. Left to itself it would
    # grow with the count, and lose digits as one number does: 1e-3 dB over 1e6 equal images.
    total_now, error_now = _two_sum(rough, ops.convert_to_tensor(error) + lost)
    total.assign(total_now)
    error.assign(error_now)


def _two_sum(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the rounded sum and exactly what rounding lost (Knuth, TAOCP vol. 2, 4.2.2)."""
    rounded = a + b
    added = rounded - a
    return rounded, (a - (rounded - added)) + (b - added)
