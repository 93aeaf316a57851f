"""From which picture size on a codec pays that has to bring its own model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.bd_rate import frontier


@dataclass(frozen=True)
class BreakEven:
    """One point of a codec against the curve of another.

    Attributes:
        bpp: of the codec, without its model.
        quality: what both reach.
        other_bpp: what the other needs for it.
        pixels: how many it takes until the smaller files have paid for the model; None where they
            never do, because they are not smaller.
    """

    bpp: float
    quality: float
    other_bpp: float
    pixels: float | None


def break_even(
    bpp: float,
    quality: float,
    model_bytes: int,
    other_rates: Sequence[float],
    other_qualities: Sequence[float],
) -> BreakEven | None:
    """Pixels from which on files and model together are smaller than the other codec's files.

    `N = 8 * model_bytes / (bpp_other(q) - bpp)`: the rate of the other codec at equal quality is
    interpolated linearly in `log(bpp)` between its points that no other of its points beats.

    Args:
        bpp: bits per pixel of the codec, its model not counted.
        quality: at that rate, such as PSNR in dB.
        model_bytes: of the model.
        other_rates: points of the other codec, bits per pixel.
        other_qualities: as many.

    Returns:
        None where the other codec has no points on both sides of this quality.
    """
    kept = frontier(other_rates, other_qualities)
    rates = np.asarray(other_rates, np.float64)[kept]
    qualities = np.asarray(other_qualities, np.float64)[kept]
    if not len(kept) or not qualities[0] <= quality <= qualities[-1]:
        return None
    other = float(np.exp(np.interp(quality, qualities, np.log(rates))))
    saved = other - bpp
    return BreakEven(bpp, quality, other, 8 * model_bytes / saved if saved > 0 else None)
