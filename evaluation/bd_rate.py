"""How far apart two rate-distortion curves are on average.

Reference:
    Bjontegaard, "Calculation of average PSNR differences between RD-curves", ITU-T VCEG-M33, 2001;
    piecewise cubic Hermite interpolation (PCHIP) as in JVET-T2010's and JCTVC-L1100's spreadsheets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

LEAST_POINTS: Final = 4
"""Points a curve must have, as in the common test conditions."""
LEAST_OVERLAP: Final = 0.5
"""Share of the narrower curve's range that the other must cover too: below it, the mean says more
about where the curves happen to end than about the codecs."""

Float64 = NDArray[np.float64]


class NoComparisonError(Exception):
    """The curves can't be compared; the message says why."""


@dataclass(frozen=True)
class Comparison:
    """A mean difference.

    Attributes:
        value: in percent for rates, in the unit of quality otherwise.
        low: where the common range begins, in the quantity that was averaged over.
        high: where it ends.
        overlap: its share of the narrower curve's range.
    """

    value: float
    low: float
    high: float
    overlap: float


def bd_rate(
    anchor_rates: Sequence[float],
    anchor_qualities: Sequence[float],
    rates: Sequence[float],
    qualities: Sequence[float],
) -> Comparison:
    """Mean difference of rate at equal quality, in percent of the anchor's: negative is better.

    `100 (10^mean(log10 R(q) - log10 R_anchor(q)) - 1)` over the qualities that both have.

    Args:
        anchor_rates: positive, in any unit, such as bits per pixel.
        anchor_qualities: as many, in dB.
        rates: of the codec in question.
        qualities: as many.

    Raises:
        NoComparisonError: too few points, or too small a common range.
    """
    first, second = _curve(anchor_rates, anchor_qualities), _curve(rates, qualities)
    found = _mean_difference((first[1], first[0]), (second[1], second[0]), "quality")
    return Comparison(100 * (10**found.value - 1), found.low, found.high, found.overlap)


def bd_quality(
    anchor_rates: Sequence[float],
    anchor_qualities: Sequence[float],
    rates: Sequence[float],
    qualities: Sequence[float],
) -> Comparison:
    """Mean difference of quality at equal rate (BD-PSNR for PSNR): positive is better.

    `mean(Q(r) - Q_anchor(r))` over log10 of the rates that both have. Arguments and exceptions are
    those of `bd_rate`; `low` and `high` are rates.
    """
    found = _mean_difference(
        _curve(anchor_rates, anchor_qualities), _curve(rates, qualities), "rate"
    )
    return Comparison(found.value, 10**found.low, 10**found.high, found.overlap)


def frontier(rates: Sequence[float], qualities: Sequence[float]) -> list[int]:
    """Places of the points that no other beats: none is both smaller and as good.

    Curves must rise. A setting that costs more and looks worse than another is one nobody would
    choose; it stays in all tables and figures and is left out of the mean differences alone.
    """
    order = np.lexsort((-np.asarray(qualities, np.float64), np.asarray(rates, np.float64)))
    kept: list[int] = []
    for place in order:
        if not kept or qualities[place] > qualities[kept[-1]]:
            kept.append(int(place))
    return kept


def _curve(rates: Sequence[float], qualities: Sequence[float]) -> tuple[Float64, Float64]:
    """log10 of the rates, and qualities, both rising."""
    rate, quality = np.asarray(rates, np.float64), np.asarray(qualities, np.float64)
    if rate.shape != quality.shape or rate.ndim != 1:
        raise ValueError(f"{rate.shape} rates for {quality.shape} qualities")
    if not (np.isfinite(rate).all() and np.isfinite(quality).all() and (rate > 0).all()):
        raise NoComparisonError("a curve has values that are no positive, finite numbers")
    kept = frontier(rates, qualities)
    if len(kept) < LEAST_POINTS:
        raise NoComparisonError(
            f"a curve has {len(kept)} rising points, {LEAST_POINTS} are needed at least"
        )
    return np.log10(rate[kept]), quality[kept]


def _mean_difference(
    first: tuple[Float64, Float64], second: tuple[Float64, Float64], over: str
) -> Comparison:
    """Mean of the second curve minus the first over their common range of x."""
    from scipy.interpolate import PchipInterpolator

    low, high = max(first[0][0], second[0][0]), min(first[0][-1], second[0][-1])
    narrower = min(float(np.ptp(first[0])), float(np.ptp(second[0])))
    overlap = max(0.0, float(high - low)) / narrower
    if overlap < LEAST_OVERLAP:
        raise NoComparisonError(
            f"{100 * overlap:.0f} % of the narrower range of {over} is common, "
            f"{100 * LEAST_OVERLAP:.0f} % is needed at least"
        )
    areas = [float(PchipInterpolator(x, y).integrate(low, high)) for x, y in (first, second)]
    return Comparison((areas[1] - areas[0]) / float(high - low), float(low), float(high), overlap)
