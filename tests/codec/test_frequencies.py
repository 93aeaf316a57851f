from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from codec.frequencies import TOTAL, optimal_frequencies, redundancy_bits

masses = hnp.arrays(
    np.float64, st.integers(1, 400), elements=st.floats(0, 1, allow_subnormal=True)
).filter(lambda p: p.sum() > 0)


def cost(p, f):
    """Expected code length in bits."""
    p = np.asarray(p) / np.sum(p)
    return -np.sum(p * np.log2(np.asarray(f) / np.sum(f)))


def every_split(symbols, total):
    """All ways to write `total` as an ordered sum of `symbols` positive integers."""
    for cuts in combinations(range(1, total), symbols - 1):
        yield np.diff([0, *cuts, total])


@given(masses)
def test_frequencies_sum_to_the_total_and_none_is_zero(p):
    f = optimal_frequencies(p)
    assert f.dtype == np.uint32 and f.shape == p.shape
    assert int(f.sum(dtype=np.int64)) == TOTAL == 1 << 24
    assert f.min() >= 1


@settings(max_examples=60)
@given(
    hnp.arrays(np.float64, st.integers(1, 4), elements=st.floats(0, 1)).filter(
        lambda p: p.sum() > 0
    ),
    st.integers(4, 14),
)
def test_no_other_frequencies_give_a_shorter_code(p, total):
    best = min(cost(p, f) for f in every_split(p.size, total))
    assert cost(p, optimal_frequencies(p, total)) <= best + 1e-12


@given(masses)
def test_the_loss_is_within_the_stated_bound(p):
    loss = redundancy_bits(p, optimal_frequencies(p))
    assert -1e-9 <= loss <= -np.log2(1 - p.size / TOTAL) + 1e-9


def test_no_unit_is_better_placed_elsewhere(rng):
    p = rng.random(3000) ** 12
    p /= p.sum()
    f = optimal_frequencies(p).astype(float)
    gain = p * np.log(f / (f + 1))  # negative: what one more unit takes off
    loss = np.where(f > 1, p * np.log(f / np.maximum(f - 1, 0.5)), np.inf)
    assert -gain.min() <= loss.min() * (1 + 1e-9)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_probabilities_far_below_one_unit_get_one():
    f = optimal_frequencies([1.0, 1e-30, 0.0, 5e-324])
    assert f.tolist() == [TOTAL - 3, 1, 1, 1]


def test_equal_probabilities_differ_by_one_unit_at_most_and_the_first_get_it():
    f = optimal_frequencies(np.ones(7))
    assert f.max() - f.min() == 1
    assert np.all(np.diff(f.astype(int)) <= 0)


def test_as_many_symbols_as_units():
    assert optimal_frequencies([0.9, 0.05, 0.05], 3).tolist() == [1, 1, 1]


def test_scaling_probabilities_by_a_power_of_two_changes_nothing(rng):
    p = rng.random(50)
    assert np.array_equal(optimal_frequencies(p), optimal_frequencies(p / 1024))


@pytest.mark.parametrize("bad", [[], [0.0, 0.0], [-0.1, 1.1], [np.nan], [np.inf, 1], [[1.0]]])
def test_what_is_no_distribution_is_refused(bad):
    with pytest.raises(ValueError, match="probabilities"):
        optimal_frequencies(bad)


def test_more_symbols_than_units_are_refused():
    with pytest.raises(ValueError, match="5 symbols"):
        optimal_frequencies(np.ones(5), 4)
