"""Rounding that looks at what each integer costs."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.latent_coder import Float32, Int32, whole_numbers
from codec.tables import TableSet

BIT_PRICE = 0.045
"""Squared rounding steps that a bit is worth. By theory it is 2 ln 2 / 12 = 0.116 at high rates.
But models have learned their steps for plain rounding, and files became smallest, at equal quality,
with less than half of it (docs/benchmarks.md, "Rounding that looks at costs")."""


def thrifty(
    values: Float32,
    index: NDArray[np.integer[Any]],
    tables: TableSet,
    bit_price: float = BIT_PRICE,
) -> Int32:
    """The nearest integers, or the ones before them where those save more than they spoil.

    The nearest integer q of a value v gives way to the next one towards zero, p, where

        (v - p)^2 - (v - q)^2 < bit_price * (bits(q) - bits(p))

    Decoders need not know: it is a choice among symbols that all can be coded. Known in video
    coding as rate-distortion optimized quantization (Karczewicz, Ye, Chong 2008, VCEG-AH21).

    Args:
        values: of any shape.
        index: the table that each value's symbol is coded with.
        tables: these tables.
        bit_price: squared rounding steps that a bit is worth; 0 rounds to the nearest.

    Returns:
        int32, of the same shape.

    Raises:
        LatentsError: a value is not finite.
    """
    symbols = whole_numbers(values)
    places = np.flatnonzero(symbols)
    nearest, table = symbols.ravel()[places], index.ravel()[places]
    before = nearest - np.sign(nearest)
    coded = _in_range(tables, nearest, table) & _in_range(tables, before, table)
    places, nearest, before, table = places[coded], nearest[coded], before[coded], table[coded]
    first = tables.offsets[table] - tables.lows[table]
    saved = tables.code_lengths[first + nearest] - tables.code_lengths[first + before]
    v = values.ravel()[places]
    spoilt = (v - before) ** 2 - (v - nearest) ** 2
    result = symbols.copy()
    result.ravel()[places] = np.where(spoilt < bit_price * saved, before, nearest)
    return result


def _in_range(
    tables: TableSet, symbols: Int32, table: NDArray[np.integer[Any]]
) -> NDArray[np.bool]:
    """Which symbols have a frequency of their own: the others, escapes, stay as they are."""
    local = symbols.astype(np.int64) - tables.lows[table]
    return (local >= 0) & (local < tables.lengths[table])
