import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec import gaussian_tables, tables_from_cdf
from codec.distributions import ESCAPE_FLOOR, SEARCH_LIMIT, TAIL_MASS, gaussian_pmf
from codec.frequencies import redundancy_bits

TOTAL = 1 << 24
SCALES = np.exp(np.linspace(np.log(0.11), np.log(256.0), 64))
scales = st.floats(0.01, 300)


def logistic(x):
    return 0.5 + 0.5 * np.tanh(x / 2) if x.dtype == np.float32 else np.exp(-np.logaddexp(0, -x))


def erf_series(x):
    """erf by its Taylor series in rational numbers, for |x| < 6."""
    x = Fraction(x)
    term, total, n = x, x, 0
    while abs(term) > Fraction(1, 10**40):
        n += 1
        term = term * -x * x / n
        total += term / (2 * n + 1)
    return float(total) * 2 / math.sqrt(math.pi)


@given(scales)
def test_probabilities_of_a_gaussian_sum_to_one(scale):
    pmf, outside = gaussian_pmf(scale)
    assert pmf.sum() + outside == pytest.approx(1, abs=1e-12)
    assert np.array_equal(pmf, pmf[::-1])
    assert np.all(np.diff(pmf[pmf.size // 2 :]) <= 0)
    assert 0 <= outside <= TAIL_MASS


@settings(max_examples=20)
@given(scales)
def test_the_table_of_a_gaussian_is_the_shortest_that_keeps_the_tail(scale):
    pmf, outside = gaussian_pmf(scale)
    assert pmf.size == 1 or outside + 2 * pmf[0] > TAIL_MASS


@pytest.mark.parametrize("scale", [0.11, 0.5, 1.0, 2.7])
def test_probabilities_of_a_gaussian_against_a_series(scale):
    pmf, _ = gaussian_pmf(scale)
    half = pmf.size // 2
    for k in range(half + 1):
        z = [(k + side) / scale / math.sqrt(2) for side in (-0.5, 0.5)]
        if z[1] < 6:
            expected = 0.5 * (erf_series(z[1]) - erf_series(z[0]))
            assert pmf[half + k] == pytest.approx(expected, abs=1e-15, rel=1e-8)


def test_tails_of_a_gaussian_keep_their_relative_precision():
    pmf, outside = gaussian_pmf(1.0, 1e-300)
    assert outside == math.erfc((pmf.size // 2 + 0.5) / math.sqrt(2))
    k = 20  # where 1 - cdf is 0 in float64: Phi(-19.5) = 5.38e-85 by Mills' ratio
    z = 19.5
    mills = math.exp(-z * z / 2) / math.sqrt(2 * math.pi) / z * (1 - z**-2 + 3 * z**-4)
    assert pmf[pmf.size // 2 + k] == pytest.approx(mills, rel=1e-4)


def test_gaussian_tables_are_symmetric_and_lose_next_to_nothing():
    tables = gaussian_tables(SCALES)
    for i, scale in enumerate(SCALES):
        table = tables.table(i)
        assert tables.lows[i] == -(tables.lengths[i] // 2)
        assert np.array_equal(table[:-1], table[-2::-1])
        pmf, outside = gaussian_pmf(scale)
        assert int(table.sum(dtype=np.int64)) == TOTAL
        # What the escape's floor costs, log2(1 / (1 - floor)), and what rounding does.
        assert redundancy_bits(np.append(pmf, outside), table) < 1.45 * ESCAPE_FLOOR + 1e-5


def test_escapes_are_never_rare():
    """A symbol that the model did not expect costs 16 bits and its distance."""
    floor = int(TOTAL * ESCAPE_FLOOR)
    steep = tables_from_cdf(lambda x: logistic(50 * x), 1, lambda x: logistic(-50 * x))
    for tables in (gaussian_tables(SCALES), steep):
        escapes = [tables.table(i)[-1] for i in range(len(tables))]
        assert floor - 1 <= min(escapes) <= max(escapes) <= floor + 1


def test_a_scale_near_zero_leaves_one_symbol():
    tables = gaussian_tables([1e-3])
    assert tables.lengths.tolist() == [1]
    assert tables.table(0).tolist() == [TOTAL - 256, 256]


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf])
def test_a_scale_is_positive(scale):
    with pytest.raises(ValueError, match="positive"):
        gaussian_tables([scale])


def test_a_scale_too_large_for_a_table_is_refused():
    with pytest.raises(ValueError, match="65536 symbols"):
        gaussian_tables([1e5])


def test_tables_from_a_cdf_hold_its_probabilities():
    centre = np.array([[-3.2], [0.0], [500.4]])
    width = np.array([[0.3], [2.0], [40.0]])
    tables = tables_from_cdf(
        lambda x: logistic((x - centre) / width),
        3,
        survival=lambda x: logistic(-(x - centre) / width),
    )
    for c in range(3):
        low, length = int(tables.lows[c]), int(tables.lengths[c])
        k = np.arange(low, low + length)
        z = (k - centre[c]) / width[c]
        half = 0.5 / width[c]
        expected = np.sinh(half) / (np.cosh(z) + np.cosh(half))  # the difference, in closed form
        beyond = [logistic(z[0] - half)[0], logistic(-z[-1] - half)[0]]
        expected *= (1 - ESCAPE_FLOOR) / (1 - sum(beyond))
        found = tables.table(c)[:-1] / TOTAL
        assert np.abs(found - expected).max() <= 1.01 / TOTAL
        assert max(beyond) <= TAIL_MASS / 2
        inner = [logistic(z[0] + half)[0], logistic(-z[-1] + half)[0]]
        assert min(inner) > TAIL_MASS / 2  # one symbol less would leave too much


def test_a_cdf_in_float32_will_do():
    def cdf(x):
        return logistic(x.astype(np.float32) / np.float32(3)).astype(np.float32)

    tables = tables_from_cdf(cdf, 2)
    exact = tables_from_cdf(lambda x: logistic(x / 3), 2)
    table, reference = tables.table(0) / TOTAL, exact.table(0) / TOTAL
    shift = int(exact.lows[0] - tables.lows[0])
    size = min(table.size - 1 - shift, reference.size - 1)
    assert np.abs(table[shift : shift + size] - reference[:size]).max() < 1e-6


def test_heavy_tails_are_cut_at_the_limit():
    tables = tables_from_cdf(lambda x: 0.5 + np.arctan(x) / np.pi, 1)  # Cauchy
    assert tables.lows[0] == -SEARCH_LIMIT
    assert tables.lengths[0] == 2 * SEARCH_LIMIT + 1
    assert tables.table(0)[-1] == pytest.approx(TOTAL * 2 / np.pi / SEARCH_LIMIT, rel=0.01)


def test_a_cdf_that_is_none_is_refused():
    part = np.array([[1.0], [0.9]])
    for survival in (lambda x: logistic(-x) * part, lambda x: 0 * x):
        with pytest.raises(ValueError, match=r"channel \d: the CDF and its survival don't fit"):
            tables_from_cdf(lambda x: logistic(x) * part, 2, survival)
