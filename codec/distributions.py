"""Frequency tables of distributions over the integers: Gaussians, and any with a CDF."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from codec.frequencies import TOTAL, optimal_frequencies
from codec.tables import MAX_LENGTH, TableSet

TAIL_MASS = 2.0**-20
"""Probability of a symbol outside its table, about; such symbols are coded as escapes."""
ESCAPE_FLOOR = 2.0**-16
"""Least probability of an escape in a table, whatever the distribution says.

Symbols that no distribution expects do come: a model is never quite right. An escape then costs 16
bits on top of the distance, not 24, and the symbols in range 2.2e-5 bits each.
"""
SEARCH_LIMIT = MAX_LENGTH // 2 - 1
"""Largest symbol, in absolute value, that a table made from a CDF reaches."""
COLUMNS_AT_ONCE = 4096
MAX_CDF_ERROR = 1e-3
"""How far the probabilities from a CDF may be from summing to 1 (float32 noise) to be scaled."""

Array = NDArray[np.float64]
Cdf = Callable[[Array], ArrayLike]
"""Maps positions (channels, N) float64 to cumulative probabilities of the same shape."""


def gaussian_pmf(scale: float, tail_mass: float = TAIL_MASS) -> tuple[Array, float]:
    """Probabilities of the integers under a rounded Gaussian with mean 0.

    P(k) = Phi((k + 1/2) / scale) - Phi((k - 1/2) / scale), from `erfc` of the side away from 0, so
    that tails keep their relative precision.

    Args:
        scale: standard deviation, in symbols; positive.
        tail_mass: the probability to leave out, both sides together, at most.

    Returns:
        (2 * h + 1,) probabilities of -h..h, with the least h that obeys `tail_mass`, and the
        probability outside.

    Raises:
        ValueError: the scale is not positive, or the table would have more than 65536 symbols.
    """
    if not (math.isfinite(scale) and scale > 0):
        raise ValueError(f"a scale is a positive number, not {scale}")
    unit = 1.0 / (scale * math.sqrt(2.0))
    beyond: list[float] = []  # P(K > h), P(K > h + 1), ...: one side
    while not beyond or 2 * beyond[-1] > tail_mass:
        beyond.append(0.5 * math.erfc((len(beyond) + 0.5) * unit))
        if 2 * len(beyond) > MAX_LENGTH:
            raise ValueError(f"scale {scale} needs a table of more than {MAX_LENGTH} symbols")
    side = -np.diff(beyond)  # P(1), P(2), ... P(h)
    centre = math.erf(0.5 * unit)
    return np.concatenate((side[::-1], [centre], side)), 2 * beyond[-1]


def gaussian_tables(scales: ArrayLike, tail_mass: float = TAIL_MASS) -> TableSet:
    """One symmetric table for each scale; see `gaussian_pmf`.

    Args:
        scales: (T,) standard deviations in symbols.
        tail_mass: the probability of a symbol outside, at most; the escape gets `ESCAPE_FLOOR` at
            least.

    Returns:
        T tables in the order of the scales.
    """
    lows, lengths, tables = [], [], []
    for scale in np.asarray(scales, np.float64).ravel():
        pmf, outside = gaussian_pmf(float(scale), tail_mass)
        frequencies = optimal_frequencies(np.append(*_with_escape(pmf, outside)))
        half = pmf.size // 2
        # Of two symbols with equal gains one may have got the last unit: it goes to the middle.
        inner = np.minimum(frequencies[:-1], frequencies[-2::-1])
        inner[half] += TOTAL - int(inner.sum()) - int(frequencies[-1])
        lows.append(-half)
        lengths.append(pmf.size)
        tables += [inner, frequencies[-1:]]
    return TableSet(np.array(lows), np.array(lengths), np.concatenate(tables))


def tables_from_cdf(
    cdf: Cdf, channels: int, survival: Cdf | None = None, tail_mass: float = TAIL_MASS
) -> TableSet:
    """One table for each channel of a density over the reals that is rounded to integers.

    P(k) = cdf(k + 1/2) - cdf(k - 1/2). The ends of each table are found by bisection: the integers
    beyond which either side holds at most `tail_mass / 2`. No side is searched beyond
    `SEARCH_LIMIT`; what lies there goes to the escape.

    Args:
        cdf: cumulative probabilities, non-decreasing along positions.
        channels: number of rows that `cdf` gets and returns.
        survival: 1 - cdf, where it is known more precisely than that; the upper tail is taken from
            it.
        tail_mass: the probability of a symbol outside, about; the escape gets `ESCAPE_FLOOR` at
            least.

    Returns:
        Tables in the order of the channels.

    Raises:
        ValueError: `cdf` and `survival` do not sum to 1.
    """

    def below(x: Array) -> Array:
        return np.asarray(cdf(x), np.float64)

    def above(x: Array) -> Array:
        return 1.0 - below(x) if survival is None else np.asarray(survival(x), np.float64)

    low = -_first(lambda k: below(-k - 0.5) <= tail_mass / 2, channels)  # (C,)
    high = _first(lambda k: above(k + 0.5) <= tail_mass / 2, channels)
    if np.any(high < low):
        raise ValueError(f"channel {(high - low).argmin()}: the CDF and its survival don't fit")
    width = int((high - low).max()) + 1
    pmf = np.zeros((channels, width))
    for start in range(0, width, COLUMNS_AT_ONCE):
        columns = np.arange(start, min(start + COLUMNS_AT_ONCE, width) + 1)
        edges = (low[:, None] + columns - 0.5).astype(np.float64)  # (C, n + 1)
        lower, upper = below(edges), above(edges)
        # The smaller of the two has the finer floats.
        part = np.where(lower[:, :-1] < 0.5, np.diff(lower), -np.diff(upper))
        pmf[:, columns[:-1]] = np.maximum(part, 0.0)
    ends = np.stack((low - 0.5, high + 0.5), axis=1).astype(np.float64)  # (C, 2)
    outside = np.maximum(below(ends)[:, 0] + above(ends)[:, 1], 0.0)
    pmf[np.arange(width) > (high - low)[:, None]] = 0.0
    total = pmf.sum(axis=1) + outside
    if not np.all(np.abs(total - 1.0) < MAX_CDF_ERROR):
        raise ValueError(
            f"channel {np.abs(total - 1.0).argmax()}: the CDF and its survival don't fit"
        )
    rows, escapes = zip(
        *(
            _with_escape(row[:size] / whole, tail / whole)
            for row, size, tail, whole in zip(pmf, high - low + 1, outside, total, strict=True)
        ),
        strict=True,
    )
    return TableSet.from_pmfs(rows, low.tolist(), escapes)


def _with_escape(pmf: Array, outside: float) -> tuple[Array, float]:
    """Probabilities in range and of the escape, for those in range and outside; the sum stays."""
    if outside >= ESCAPE_FLOOR:
        return pmf, outside
    return pmf * (1.0 - (ESCAPE_FLOOR - outside) / pmf.sum()), ESCAPE_FLOOR


def _first(holds: Callable[[Array], NDArray[np.bool_]], channels: int) -> NDArray[np.int64]:
    """For each channel the first integer in +-SEARCH_LIMIT from which on `holds`, by bisection."""
    low = np.full(channels, -SEARCH_LIMIT)
    high = np.full(channels, SEARCH_LIMIT)
    while np.any(low < high):
        middle = (low + high) // 2
        true = holds(middle[:, None].astype(np.float64))[:, 0]
        high, low = np.where(true, middle, high), np.where(true, low, np.minimum(middle + 1, high))
    return low
