"""From probabilities to integer frequencies: the best ones there are."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

PRECISION = 24
"""Bits of a frequency: those of one table sum to 2**PRECISION."""
TOTAL = 1 << PRECISION


def optimal_frequencies(probabilities: ArrayLike, total: int = TOTAL) -> NDArray[np.uint32]:
    """Integer frequencies with the smallest expected code length.

    Minimises `-sum(p * log2(f / total))` over integers `f >= 1` with `sum(f) == total`. One more
    unit of `f[i]` gains `p[i] * log((f[i] + 1) / f[i])`, which falls with `f[i]`, so the best
    frequencies are the units with the largest gains. Those that gain `g` or more are the units up
    to `f = 1 / (1 - exp(-g / p))`, so bisection over `g` finds them all at once.

    The loss against the entropy (`redundancy_bits`) is at most `-log2(1 - n / total)` bits a symbol
    for n symbols, which even `f = 1 + floor(p * (total - n))` keeps: 2.2e-5 bits for 256 symbols at
    24 bits.

    Args:
        probabilities: (n,) finite, non-negative, with a positive sum; scaled to sum to 1.
        total: what the frequencies sum to; at least n.

    Returns:
        (n,) uint32, each at least 1. Among equal gains the lower index gets the unit.

    Raises:
        ValueError: the probabilities are not as above.
    """
    p = _normalised(probabilities)
    if not p.size <= total <= 1 << 32:
        raise ValueError(f"{p.size} symbols don't fit frequencies that sum to {total}")
    low = high = 1.0 / total  # sum at `low` >= total >= sum at `high`
    while _units(p, high).sum() > total:
        high *= 2
    while _units(p, low).sum() < total:
        low /= 2
    fewer, more = _units(p, high), _units(p, low)
    while np.any(more - fewer > 1):
        middle = 0.5 * (low + high)
        units = _units(p, middle)
        if units.sum() > total:
            low, more = middle, units
        else:
            high, fewer = middle, units
    # At most one more unit each, for as many as there is room for.
    gains = np.where(more > fewer, p * np.log1p(1.0 / fewer), -1.0)
    best = np.argsort(-gains, kind="stable")
    fewer[best[: int(total - fewer.sum())]] += 1
    return fewer.astype(np.uint32)


def redundancy_bits(probabilities: ArrayLike, frequencies: ArrayLike) -> float:
    """Bits a symbol lost to the frequencies: sum(p * log2(p / (f / sum(f)))), the KL divergence.

    Args:
        probabilities: (n,) as in `optimal_frequencies`.
        frequencies: (n,) positive integers.
    """
    p = _normalised(probabilities)
    f = np.asarray(frequencies, np.float64)
    used = p > 0
    return float(np.sum(p[used] * np.log2(p[used] / (f[used] / f.sum()))))


def _normalised(probabilities: ArrayLike) -> NDArray[np.float64]:
    p = np.asarray(probabilities, np.float64)
    if p.ndim != 1 or not p.size or not np.all(np.isfinite(p)) or p.min() < 0 or p.sum() <= 0:
        raise ValueError("probabilities are a row of finite numbers >= 0, not all of them 0")
    return p / p.sum()


def _units(p: NDArray[np.float64], gain: float) -> NDArray[Any]:
    """The largest frequencies whose last unit still gains `gain`, at least 1; integral float64."""
    ratio = np.full_like(p, np.inf)
    with np.errstate(over="ignore"):
        np.divide(gain, p, out=ratio, where=p > 0)
    return np.floor(np.maximum(1.0, -1.0 / np.expm1(-ratio)))
