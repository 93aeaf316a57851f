"""How well a decoded picture shows its original: PSNR, SSIM and MS-SSIM of 8-bit RGB."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from architectures import image_quality
from evaluation.codecs import CodecError, Pixels

CAP_DB: Final = image_quality.PSNR_CAP_DB
"""What identical pictures get, instead of infinity."""
LUMA: Final = (0.299, 0.587, 0.114)
"""Weights of R, G, B in luma, ITU-R BT.601."""
PEAK: Final = 255.0


def measures(original: Pixels, decoded: Pixels) -> dict[str, float]:
    """All measures of one picture.

    SSIM and MS-SSIM are means over the three channels, with the window of 11 pixels and five scales
    where the picture has room for them (161 pixels a side), else with the largest that fit.

    Args:
        original: uint8 (H, W, 3).
        decoded: the same.

    Returns:
        `psnr_rgb_db` (one mean squared error over all channels), `psnr_luma_db` (BT.601, not
        rounded), `ssim`, `ms_ssim` and `ms_ssim_db`, which is `-10 log10(1 - ms_ssim)`.

    Raises:
        CodecError: the decoded picture has another size or is not of 8 bits.
    """
    if decoded.dtype != np.uint8 or decoded.shape != original.shape:
        raise CodecError(f"gave back {decoded.dtype} {decoded.shape} for uint8 {original.shape}")
    error = decoded.astype(np.float64) - original
    height, width = original.shape[:2]
    window = image_quality.largest_window(height, width)
    scales = image_quality.ms_ssim_scales(height, width, window)
    powers = image_quality.ms_ssim_power_factors(scales)
    x, x_hat = original[None], decoded[None]
    ms_ssim = _number(
        image_quality.ms_ssim(x, x_hat, PEAK, power_factors=powers, filter_size=window)
    )
    return {
        "psnr_rgb_db": _psnr_db(error),
        "psnr_luma_db": _psnr_db(error @ np.asarray(LUMA)),
        "ssim": _number(image_quality.ssim(x, x_hat, PEAK, filter_size=window)),
        "ms_ssim": ms_ssim,
        "ms_ssim_db": in_db(ms_ssim),
    }


def in_db(ms_ssim: float) -> float:
    """`-10 log10(1 - ms_ssim)`, at most `CAP_DB`: what is left to 1, as a distortion."""
    return -10 * math.log10(max(1 - ms_ssim, 10 ** (-CAP_DB / 10)))


def _psnr_db(error: NDArray[np.float64]) -> float:
    mean = float(np.mean(np.square(error)))
    return CAP_DB if mean == 0 else min(CAP_DB, 10 * math.log10(PEAK**2 / mean))


def _number(tensor: object) -> float:
    from keras import ops

    return float(ops.convert_to_numpy(tensor)[0])
