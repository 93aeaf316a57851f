"""Structural similarity (SSIM) and its multi-scale form (MS-SSIM), fast enough to train with.

The values are those of `tf.image.ssim` and `tf.image.ssim_multiscale`, on every backend. Nothing
is shrunk, padded or skipped behind the caller's back: an image that is too small for the window or
for the number of scales is an error, and `largest_window` and `ms_ssim_scales` say what would fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from architectures.gaussian_window import gaussian_filter, gaussian_weights
from architectures.ssim_windows import (
    FILTER_SIZE,
    MS_SSIM_POWER_FACTORS,
    check_filter_size,
    largest_window,
    ms_ssim_scales,
)

Tensor = Any

FILTER_SIGMA = 1.5
"""Standard deviation of the Gaussian window in pixels (Wang et al. 2004, section III.B)."""

K1, K2 = 0.01, 0.03
"""Stabilising constants relative to the range (Wang et al. 2004, section III.C)."""

POWER_SLOPE_FLOOR = 1e-3
"""Where the slope of `v ** p` stops growing towards 0; see `_power`."""


def ssim(
    x: Tensor,
    x_hat: Tensor,
    max_val: float = 1.0,
    *,
    filter_size: int = FILTER_SIZE,
    filter_sigma: float = FILTER_SIGMA,
) -> Tensor:
    """Computes the structural similarity of two batches of images.

    With means `mu`, variances `s^2` and covariance `s_xy` under a Gaussian window, `c1 = (0.01
    max_val)^2` and `c2 = (0.03 max_val)^2`, the mean over window positions and channels of

    `(2 mu_x mu_y + c1) (2 s_xy + c2) / ((mu_x^2 + mu_y^2 + c1) (s_x^2 + s_y^2 + c2))`

    The window is only placed where it fits entirely. Equals `tf.image.ssim`.

    Args:
        x: Original images, shape `(B, H, W, C)`, any real dtype, range `[0, max_val]`.
        x_hat: Reconstructed images, as `x`.
        max_val: Size of the range, e.g. 1.0 or 255.0.
        filter_size: Side of the window in pixels, odd. A smaller one than 11 has the same sigma,
            cut off and normalised again, and gives values that do not compare with those of 11.
        filter_sigma: Standard deviation of the window in pixels.

    Returns:
        Tensor of shape `(B,)`, float32, in `[-1, 1]`; 1 for identical images. Differentiable. NaN
        for images whose size is unknown when traced and turns out smaller than the window.

    Raises:
        ValueError: The shapes do not fit each other or are smaller than the window.

    Reference:
        Wang, Bovik, Sheikh, Simoncelli, "Image Quality Assessment: From Error Visibility to
        Structural Similarity", IEEE Transactions on Image Processing 13(4), 2004, section III.
    """
    x, x_hat = image_pair(x, x_hat)
    _check_window(x, filter_size)
    weights = gaussian_weights(filter_size, filter_sigma)
    luminance, contrast = _luminance_and_contrast(_planes(x), _planes(x_hat), weights, max_val)
    return ops.mean(ops.reshape(luminance * contrast, (ops.shape(x)[0], -1)), axis=1)


def ms_ssim(
    x: Tensor,
    x_hat: Tensor,
    max_val: float = 1.0,
    *,
    power_factors: Sequence[float] | None = None,
    filter_size: int = FILTER_SIZE,
    filter_sigma: float = FILTER_SIGMA,
) -> Tensor:
    """Computes the multi-scale structural similarity of two batches of images.

    For each channel `relu(l_M cs_M)^p_M * prod_{j < M} relu(cs_j)^p_j`, then the mean over
    channels. `cs_j` is the mean contrast-structure term and `l_j` the luminance term of `ssim`
    after halving the image `j - 1` times by 2x2 averages, an odd edge being repeated first. Equals
    `tf.image.ssim_multiscale`.

    A channel whose contrast term is negative at any scale scores 0 and, as in TensorFlow, has no
    gradient; so a loss of MS-SSIM alone may not start from an untrained decoder: add L1 (Zhao et
    al. 2017, "Loss Functions for Image Restoration with Neural Networks", section III.E).

    Args:
        x: Original images, shape `(B, H, W, C)`, any real dtype, range `[0, max_val]`.
        x_hat: Reconstructed images, as `x`.
        max_val: Size of the range, e.g. 1.0 or 255.0.
        power_factors: Exponent of each scale, the finest first; their number is the number of
            scales. `None` means the five of the paper, which need images of at least 161 pixels a
            side. For smaller images ask for fewer: `ms_ssim_power_factors(ms_ssim_scales(H, W))`.
        filter_size: Side of the window in pixels, odd, the same at each scale.
        filter_sigma: Standard deviation of the window in pixels.

    Returns:
        Tensor of shape `(B,)`, float32, in `[0, 1]`; 1 for identical images. Its first derivatives
        are finite everywhere (see `_power`); higher ones are not available. NaN for images whose
        size is unknown when traced and turns out too small.

    Raises:
        ValueError: The shapes do not fit each other or are too small for the scales.

    Reference:
        Wang, Simoncelli, Bovik, "Multi-scale structural similarity for image quality assessment",
        Asilomar Conference on Signals, Systems and Computers, 2003.
    """
    factors = MS_SSIM_POWER_FACTORS if power_factors is None else tuple(power_factors)
    if not factors:
        raise ValueError("power_factors needs one exponent for each scale, found none")
    x, x_hat = image_pair(x, x_hat)
    _check_window(x, filter_size, scales=len(factors))
    weights = gaussian_weights(filter_size, filter_sigma)
    batch, _, _, channels = ops.shape(x)
    a, b = _planes(x), _planes(x_hat)  # (B C, H, W)
    score = None
    for scale, factor in enumerate(factors):
        if scale > 0:
            a, b = _halve(a), _halve(b)  # (B C, H / 2^scale, W / 2^scale)
        luminance, contrast = _luminance_and_contrast(a, b, weights, max_val)
        term = luminance * contrast if scale == len(factors) - 1 else contrast
        powered = _power(ops.mean(term, axis=(1, 2)), factor)  # (B C,)
        score = powered if score is None else score * powered
    return ops.mean(ops.reshape(score, (batch, channels)), axis=1)


def image_pair(x: Tensor, x_hat: Tensor) -> tuple[Tensor, Tensor]:
    """Returns two batches of images as float32, after comparing their shapes.

    Args:
        x: Original images, shape `(B, H, W, C)`, any real dtype (bfloat16 under mixed precision).
        x_hat: Reconstructed images, as `x`.

    Returns:
        Both, float32.

    Raises:
        ValueError: Not of rank 4, or of different shapes: broadcasting would compare other pixels.
    """
    x, x_hat = ops.convert_to_tensor(x), ops.convert_to_tensor(x_hat)
    shapes = tuple(x.shape), tuple(x_hat.shape)
    if len(shapes[0]) != 4 or not compatible_shapes(*shapes):
        raise ValueError(f"expected two batches (B, H, W, C) of one shape, found {shapes}")
    return ops.cast(x, "float32"), ops.cast(x_hat, "float32")


def compatible_shapes(first: Sequence[int | None], second: Sequence[int | None]) -> bool:
    """Returns whether two static shapes can be the same; `None` is a size not known yet."""
    return len(first) == len(second) and all(
        None in (m, n) or m == n for m, n in zip(first, second, strict=True)
    )


def _check_window(x: Tensor, filter_size: int, scales: int = 1) -> None:
    """Raises a ValueError that names the sizes, if a known one cannot hold the window."""
    check_filter_size(filter_size)
    size = tuple(x.shape)[1:3]
    known = [side for side in size if side is not None]
    if not known:
        return
    smallest = min(known)
    if smallest < filter_size:
        raise ValueError(
            f"images of (height, width) {size} are smaller than the SSIM window of filter_size "
            f"{filter_size}; the largest that fits is {largest_window(smallest, smallest)}, and "
            f"losses and metrics choose it with filter_size None (null in JSON)"
        )
    coarsest = smallest
    for _ in range(scales - 1):
        coarsest = (coarsest + 1) // 2
    if coarsest < filter_size:
        raise ValueError(
            f"images of (height, width) {size} are too small for {scales} scales of MS-SSIM with "
            f"filter_size {filter_size}; {ms_ssim_scales(smallest, smallest, filter_size)} would "
            f"fit, and losses and metrics choose that with scales None (null in JSON)"
        )


def _planes(x: Tensor) -> Tensor:
    """Moves channels into the batch: (B, H, W, C) -> (B C, H, W)."""
    batch, height, width, channels = ops.shape(x)
    if isinstance(channels, int) and channels == 1:
        return ops.reshape(x, (batch, height, width))
    return ops.reshape(ops.transpose(x, (0, 3, 1, 2)), (batch * channels, height, width))


def _luminance_and_contrast(
    x: Tensor, y: Tensor, weights: np.ndarray, max_val: float
) -> tuple[Tensor, Tensor]:
    """Returns the two factors of SSIM as maps (N, W', H') of planes (N, H, W)."""
    c1, c2 = (K1 * max_val) ** 2, (K2 * max_val) ** 2
    signals = x, y, ops.square(x) + ops.square(y), x * y
    mean_x, mean_y, second, product = gaussian_filter(signals, weights)
    means_product = 2.0 * mean_x * mean_y
    means_squared = ops.square(mean_x) + ops.square(mean_y)
    luminance = (means_product + c1) / (means_squared + c1)
    contrast = (2.0 * product - means_product + c2) / (second - means_squared + c2)
    return luminance, contrast


def _halve(planes: Tensor) -> Tensor:
    """Averages blocks of 2x2 pixels; an odd last row or column counts as repeated."""
    _, height, width = ops.shape(planes)
    # Without a branch, as the sizes may be unknown: an even one appends nothing.
    if not isinstance(height, int) or height % 2:
        planes = ops.concatenate([planes, planes[:, height - height % 2 :, :]], axis=1)
    if not isinstance(width, int) or width % 2:
        planes = ops.concatenate([planes, planes[:, :, width - width % 2 :]], axis=2)
    rows = planes[:, 0::2, :] + planes[:, 1::2, :]
    return 0.25 * (rows[:, :, 0::2] + rows[:, :, 1::2])


def _power(base: Tensor, exponent: float) -> Tensor:
    """Computes `relu(base) ** exponent` exactly, with a bounded slope.

    The slope of `v ** p` with p < 1 is infinite at 0, and times the zero slope of `relu` that is
    NaN: one image with a contrast term of 0 would ruin the step. The value here is exact, and the
    slope is `p max(v, 1e-3) ** (p - 1)` (at most 54, for any exponent up to 1) for positive
    values and 0 for others.
    """
    positive = ops.relu(base)
    value = ops.stop_gradient(ops.power(positive, exponent))
    slope = exponent * ops.power(ops.maximum(positive, POWER_SLOPE_FLOOR), exponent - 1.0)
    return value + ops.stop_gradient(slope) * (positive - ops.stop_gradient(positive))
