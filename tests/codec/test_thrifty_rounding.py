"""Rounding that looks at costs, against the definition and the plain rounding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.coder import SymbolCoder
from codec.distributions import gaussian_tables
from codec.latent_coder import LatentsError
from codec.thrifty_rounding import BIT_PRICE, thrifty

SCALES = [0.11, 0.3, 0.8, 2.0, 9.0, 60.0]
TABLES = gaussian_tables(SCALES)
CODER = SymbolCoder(TABLES)


def cost(value: float, symbol: int, table: int) -> float:
    """What the definition weighs, from the coder's own estimate of the bits."""
    bits = CODER.estimate_bits(np.array([symbol]), np.array([table]))
    return (value - symbol) ** 2 + BIT_PRICE * bits


@given(
    st.lists(
        st.tuples(st.floats(-40, 40, width=32), st.integers(0, len(SCALES) - 1)),
        min_size=1,
        max_size=40,
    )
)
def test_each_symbol_is_the_cheaper_of_two(pairs: list[tuple[float, int]]) -> None:
    values = np.array([value for value, _ in pairs], np.float32)
    index = np.array([table for _, table in pairs], np.int32)
    found = thrifty(values, index, TABLES)
    for value, table, symbol in zip(values.tolist(), index.tolist(), found.tolist(), strict=True):
        nearest = round(value)
        before = nearest - int(np.sign(nearest))
        assert symbol in {nearest, before}
        local = np.array([nearest, before]) - TABLES.lows[table]
        if ((local < 0) | (local >= TABLES.lengths[table])).any():
            assert symbol == nearest  # escapes stay
        elif nearest:
            other = before if symbol == nearest else nearest
            assert cost(value, symbol, table) <= cost(value, other, table) + 1e-4


def test_it_costs_fewer_bits_than_it_spoils() -> None:
    numbers = np.random.default_rng(0)
    index = numbers.integers(0, len(SCALES), (2, 8, 9, 40)).astype(np.int32)
    values = (numbers.normal(size=index.shape) * np.array(SCALES)[index]).astype(np.float32)
    plain, found = np.round(values).astype(np.int32), thrifty(values, index, TABLES)
    assert found.shape == values.shape
    assert found.dtype == np.int32
    assert (found != plain).any()
    saved = CODER.estimate_bits(plain, index) - CODER.estimate_bits(found, index)
    spoilt = np.sum((values - found) ** 2) - np.sum((values - plain) ** 2)
    assert saved > 0
    assert 0 < spoilt < BIT_PRICE * saved


def test_integers_of_a_wide_table_are_kept() -> None:
    values = np.array([0.0, 1.0, -2.0, 30.0], np.float32)
    index = np.full(4, SCALES.index(60.0), np.int32)
    np.testing.assert_array_equal(thrifty(values, index, TABLES), values)


def test_values_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(LatentsError, match="finite"):
        thrifty(np.array([1.0, np.nan], np.float32), np.zeros(2, np.int32), TABLES)
