"""Which windows and how many scales of SSIM fit an image.

SSIM needs images that hold its window, and MS-SSIM images that still do after four halvings. What
to do with smaller ones is a decision that changes the numbers, so it is never taken silently: the
functions of `ssim` raise, and only an argument that is explicitly `None` applies the rules here.
"""

from __future__ import annotations

from typing import Any

FILTER_SIZE = 11
"""Side of the Gaussian window in pixels (Wang et al. 2004, section III.B)."""

MS_SSIM_POWER_FACTORS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales, the finest first (Wang et al. 2003, section 3.2)."""


def largest_window(height: int, width: int, filter_size: int = FILTER_SIZE) -> int:
    """Returns the largest odd window that fits an image.

    Args:
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        filter_size: Largest window to return, in pixels.

    Returns:
        Odd side in pixels, from 1 to `filter_size`. With 1 there is no structure left in SSIM: only
        the luminance term differs from 1.

    Raises:
        ValueError: A size is not positive.
    """
    side = min(height, width, filter_size)
    if side < 1:
        raise ValueError(f"no window fits: height {height}, width {width}, filter {filter_size}")
    return side if side % 2 else side - 1


def ms_ssim_scales(height: int, width: int, filter_size: int = FILTER_SIZE) -> int:
    """Returns how many of the five scales of MS-SSIM fit an image.

    A scale fits when the image, halved (rounding up) once per finer scale, holds the window.

    Args:
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        filter_size: Side of the window in pixels.

    Returns:
        Number of scales from 0 (not even the image itself holds the window) to 5.
    """
    scales, side = 0, min(height, width)
    while scales < len(MS_SSIM_POWER_FACTORS) and side >= filter_size:
        scales, side = scales + 1, (side + 1) // 2
    return scales


def ms_ssim_power_factors(scales: int) -> tuple[float, ...]:
    """Returns the exponents for the finest `scales` scales, divided by their sum.

    All five are returned as published (rounded there, they sum to 1.0001), so that values stay
    those of the paper and of TensorFlow. Fewer are divided by their sum, so that the result stays
    a weighted geometric mean.

    Args:
        scales: Number of scales, from 1 to 5.

    Returns:
        `scales` exponents, the finest scale first.

    Raises:
        ValueError: `scales` is not from 1 to 5.
    """
    if not 1 <= scales <= len(MS_SSIM_POWER_FACTORS):
        raise ValueError(f"MS-SSIM has 1 to {len(MS_SSIM_POWER_FACTORS)} scales, found {scales}")
    if scales == len(MS_SSIM_POWER_FACTORS):
        return MS_SSIM_POWER_FACTORS
    factors = MS_SSIM_POWER_FACTORS[:scales]
    return tuple(factor / sum(factors) for factor in factors)


def check_filter_size(filter_size: int | None) -> int | None:
    """Returns the argument, if it is `None` or a positive odd number; otherwise a ValueError."""
    if filter_size is not None and (filter_size < 1 or filter_size % 2 == 0):
        raise ValueError(f"filter_size must be a positive odd number, found {filter_size}")
    return filter_size


def check_scales(scales: int | None) -> int | None:
    """Returns the argument, if it is `None` or from 1 to 5; otherwise a ValueError."""
    if scales is not None:
        ms_ssim_power_factors(scales)
    return scales


def window_for(x: Any, filter_size: int | None) -> int:
    """Applies the rule that `filter_size=None` states: the largest odd window up to 11 that fits.

    Args:
        x: Images, shape `(B, H, W, C)`.
        filter_size: A window to use as it is, or `None` for the rule.

    Returns:
        Side of the window in pixels.

    Raises:
        ValueError: The rule is asked for and the size of the images is not known when traced.
    """
    if filter_size is not None:
        return filter_size
    height, width = _static_size(x, "filter_size")
    return largest_window(height, width)


def multi_scale_for(
    x: Any, scales: int | None, filter_size: int | None
) -> tuple[int, tuple[float, ...]]:
    """Applies the rules that `filter_size=None` and `scales=None` state, in this order.

    First the window (see `window_for`), then as many of the five scales as fit with it.

    Args:
        x: Images, shape `(B, H, W, C)`.
        scales: A number of scales, 1 to 5, or `None` for the rule.
        filter_size: A window to use as it is, or `None` for the rule.

    Returns:
        Side of the window in pixels, and the exponent of each scale.

    Raises:
        ValueError: A rule is asked for and the size of the images is not known when traced, or not
            even one scale fits.
    """
    window = window_for(x, filter_size)
    if scales is None:
        height, width = _static_size(x, "scales")
        scales = ms_ssim_scales(height, width, window)
        if scales == 0:
            raise ValueError(
                f"images of (height, width) {(height, width)} are smaller than the SSIM window of "
                f"filter_size {window}"
            )
    return window, ms_ssim_power_factors(scales)


def _static_size(x: Any, argument: str) -> tuple[int, int]:
    height, width = tuple(x.shape)[1:3]
    if height is None or width is None:
        raise ValueError(
            f"{argument} None chooses by the size of the images, and here that is not known when "
            f"the model is traced: (height, width) {(height, width)}; state {argument}"
        )
    return height, width
