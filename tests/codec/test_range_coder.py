from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.entropy_coder import CheckedDecoder
from codec.errors import NicStreamError
from codec.frequencies import TOTAL, optimal_frequencies
from codec.range_constriction import ConstrictionCoder
from codec.range_reference import ReferenceCoder, shortest_bytes

FAST, SLOW = ConstrictionCoder(), ReferenceCoder()


@st.composite
def tables(draw):
    """A table from flat to steep, sometimes with as many ones as there is room for."""
    size = draw(st.integers(2, 40))
    steep = draw(st.floats(0, 40))
    seed = draw(st.integers(0, 2**32 - 1))
    return optimal_frequencies(np.random.default_rng(seed).random(size) ** steep)


@st.composite
def steps(draw):
    """Runs of indices into tables, and of plain bits."""
    out = []
    for _ in range(draw(st.integers(0, 5))):
        table = draw(tables())
        indices = draw(st.lists(st.integers(0, table.size - 1), max_size=30))
        out.append(("table", table, np.array(indices, np.int32)))
        widths = np.array(draw(st.lists(st.integers(1, 24), max_size=8)), np.int32)
        values = [draw(st.integers(0, (1 << int(w)) - 1)) for w in widths]
        out.append(("bits", widths, np.array(values, np.int32)))
    return out


def write(coder, sequence) -> bytes:
    encoder = coder.encoder()
    for kind, argument, values in sequence:
        if kind == "table":
            encoder.encode(values, coder.model(argument))
        else:
            encoder.encode_bits(values, argument)
    return encoder.finish()


def read(decoder, coder, sequence) -> list[np.ndarray]:
    return [
        decoder.decode(values.size, coder.model(argument))
        if kind == "table"
        else decoder.decode_bits(argument)
        for kind, argument, values in sequence
    ]


def same(found: Sequence[np.ndarray], sequence) -> bool:
    return all(np.array_equal(a, b) for a, (*_, b) in zip(found, sequence, strict=True))


@settings(max_examples=120, deadline=None)
@given(steps())
def test_constriction_writes_and_reads_what_the_definition_does(sequence):
    data = write(FAST, sequence)
    assert data == write(SLOW, sequence)
    for coder in (FAST, SLOW):
        found = read(coder.decoder(data), coder, sequence)
        assert same(found, sequence)
        assert all(values.dtype == np.int32 for values in found)


@settings(max_examples=100, deadline=None)
@given(steps(), st.binary(max_size=40))
def test_both_read_the_same_from_any_bytes(sequence, data):
    outcomes = []
    for coder in (FAST, SLOW):
        try:
            outcomes.append([v.tolist() for v in read(coder.decoder(data), coder, sequence)])
        except NicStreamError:
            outcomes.append("refused")
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("size", [2, 3, 100, 2000, 65537])
def test_every_cumulative_frequency_is_the_tables(size):
    """constriction takes floats; the state after one symbol tells the integers it made of them."""
    rng = np.random.default_rng(size)
    table = optimal_frequencies(rng.random(size) ** 20)
    model = FAST.model(table)
    cumulative = np.concatenate(([0], np.cumsum(table, dtype=np.int64)))
    unit = ((1 << 64) - 1) >> 24
    for i in {0, 1, size - 2, size - 1, *rng.integers(0, size, 50).tolist()}:
        encoder = FAST.encoder()
        encoder.encode(np.array([i], np.int32), model)
        words, (low, span) = encoder._encoder.pos()
        if words == 0:
            assert (low, span) == (unit * int(cumulative[i]), unit * int(table[i]))
        else:  # a span under 2**32 was shifted
            assert span == unit * int(table[i]) << 32
    assert cumulative[-1] == TOTAL


def straddling(table, target: int, count: int) -> list[int]:
    """At least `count` indices that keep a number of 2048 bits, `target`, inside the interval.

    After them it is inside index 1.
    """
    cumulative = [0, *np.cumsum(table, dtype=np.int64).tolist()]
    low, span, bits = 0, (1 << 64) - 1, 64
    out = []
    while True:
        point = target >> 2048 - bits
        unit = span >> 24
        i = next(
            i
            for i in range(len(cumulative) - 1)
            if point < low + unit * cumulative[i + 1] or i == len(cumulative) - 2
        )
        if len(out) >= count and i == 1:
            return out
        out.append(i)
        low, span = low + unit * cumulative[i], unit * (cumulative[i + 1] - cumulative[i])
        if span < 1 << 32:
            low, span, bits = low << 32, span << 32, bits + 32


@pytest.mark.parametrize("last", [0, 1, 2])
@pytest.mark.parametrize("count", [1, 20, 60, 200])
@pytest.mark.parametrize("away", [0, -1, 1], ids=["8000", "7FFF", "8001"])
def test_carries_through_many_words(away, count, last):
    """Intervals around 0.8000..., where the next symbol decides between 7FFF... and 8000...."""
    table = np.array([TOTAL // 4 + 7, TOTAL // 2, TOTAL // 4 - 7], np.uint32)
    indices = np.array([*straddling(table, (1 << 2047) + away, count), last], np.int32)
    sequence = [("table", table, indices)]
    data = write(FAST, sequence)
    assert data == write(SLOW, sequence)
    assert same(read(FAST.decoder(data), FAST, sequence), sequence)


def test_carries_do_happen_in_that_test():
    table = np.array([TOTAL // 4 + 7, TOTAL // 2, TOTAL // 4 - 7], np.uint32)
    indices = straddling(table, 1 << 2047, 200)
    # The last index is the first that is all on one side: it decides about all words.
    data = write(SLOW, [("table", table, np.array([*indices, 2], np.int32))])
    assert data[0] == 0x80 and set(data[1:20]) <= {0}
    below = write(SLOW, [("table", table, np.array([*indices, 0], np.int32))])
    assert below[:20] == b"\x7f" + b"\xff" * 19


@given(st.integers(0, 2**24 - 2), st.integers(1, 2**24), st.integers(0, 2))
def test_the_shortest_bytes_are_found(low, size, extra):
    high = min(low + size, 2**24)
    found = shortest_bytes(low << 8 * extra, high << 8 * extra, 3 + extra)
    inside = [
        (length, value)
        for length in range(len(found) + 1)
        for value in [-(-(low << 8 * length) >> 24)]
        if value << 24 < high << 8 * length
    ]
    assert inside[0] == (len(found), int.from_bytes(found, "big"))


def test_no_steps_are_no_bytes():
    assert write(FAST, []) == write(SLOW, []) == b""


def test_a_certain_symbol_costs_nothing():
    sequence = [("table", np.array([TOTAL - 1, 1], np.uint32), np.zeros(1000, np.int32))]
    assert write(FAST, sequence) == write(SLOW, sequence) == b""


@pytest.mark.parametrize("coder", [FAST, SLOW], ids=["constriction", "reference"])
def test_a_point_beyond_every_symbol_is_refused(coder):
    decoder = coder.decoder(b"\xff" * 16)
    with pytest.raises(NicStreamError, match="impossible symbol"):
        decoder.decode(1, coder.model(np.array([TOTAL // 2] * 2, np.uint32)))
    with pytest.raises(NicStreamError, match="impossible symbol"):
        coder.decoder(b"\xff" * 16).decode_bits(np.array([3], np.int32))


@settings(max_examples=50, deadline=None)
@given(steps(), st.integers(1, 9))
def test_a_stream_with_more_behind_it_is_refused(sequence, more):
    data = write(FAST, sequence) + bytes(more)
    decoder = CheckedDecoder(FAST, data)
    read(decoder, FAST, sequence)
    with pytest.raises(NicStreamError, match="coded otherwise"):
        decoder.finish()
