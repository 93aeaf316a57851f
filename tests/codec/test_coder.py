import contextlib
import pickle
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from codec import (
    StreamReader,
    StreamWriter,
    SymbolCoder,
    TableSet,
    check_latents,
    gaussian_tables,
    latents_crc32,
)
from codec.errors import NicLatentsError, NicStreamError
from codec.range_reference import ReferenceCoder, ReferenceEncoder

INT32 = np.iinfo(np.int32)
TABLES = TableSet.concatenate(
    [
        gaussian_tables([0.2, 1.0, 30.0]),
        TableSet.from_pmfs(
            [[0.5, 0.2], [0.5, 0.2], [1.0], [0.01]], [INT32.min, INT32.max - 1, 5, -70000]
        ),
    ]
)
CODER = SymbolCoder(TABLES)
REFERENCE = SymbolCoder(TABLES, ReferenceCoder())
OVER_BITS_A_SYMBOL = 0.0057
OVER_BITS = 8

symbol_values = st.one_of(
    st.integers(-4, 4),
    st.integers(-(2**17), 2**17),
    st.integers(INT32.min, INT32.max),
    st.sampled_from([INT32.min, INT32.min + 1, INT32.max - 1, INT32.max]),
)


@st.composite
def arrays(draw):
    """Symbols and table indices of one shape."""
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6))
    symbols = draw(hnp.arrays(np.int32, shape, elements=symbol_values))
    index = draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, len(TABLES) - 1)))
    return symbols, index


def steps_of(symbols, index):
    """The steps (c, f) of an array, as docs/bitstream.md section 5 has them."""
    symbols, index = symbols.ravel().tolist(), index.ravel().tolist()
    out, escaped = [], []
    for t in range(len(TABLES)):
        low, length = int(TABLES.lows[t]), int(TABLES.lengths[t])
        table = TABLES.table(t).tolist()
        for s, own in zip(symbols, index, strict=True):
            if own != t:
                continue
            local = s - low
            if not 0 <= local < length:
                escaped.append(s - low if s < low else s - (low + length - 1))
                local = length
            out.append((sum(table[:local]), table[local]))

    def bits(width, value):
        out.append((value << 24 - width, 1 << 24 - width))

    exponents = [abs(d).bit_length() - 1 for d in escaped]
    for d, k in zip(escaped, exponents, strict=True):
        bits(6, 2 * k + (d > 0))
    for d, k in zip(escaped, exponents, strict=True):
        if k > 0:
            bits(min(k, 16), abs(d) - 2**k & 0xFFFF)
    for d, k in zip(escaped, exponents, strict=True):
        if k > 16:
            bits(k - 16, abs(d) - 2**k >> 16)
    return out


@settings(max_examples=150, deadline=None)
@given(arrays())
def test_any_integers_come_back(case):
    symbols, index = case
    data = CODER.encode(symbols, index)
    found = CODER.decode(data, index)
    assert found.dtype == np.int32 and found.shape == symbols.shape
    assert np.array_equal(found, symbols)
    assert REFERENCE.encode(symbols, index) == data
    assert np.array_equal(REFERENCE.decode(data, index), symbols)


@settings(max_examples=100, deadline=None)
@given(arrays())
def test_the_bytes_are_those_of_the_documented_steps(case):
    symbols, index = case
    steps = steps_of(symbols, index)
    encoder = ReferenceEncoder()
    for c, f in steps:
        encoder._narrow(c, f)
    assert CODER.encode(symbols, index) == encoder.finish()
    ideal = sum(24 - np.log2(f) for _, f in steps)
    assert CODER.estimate_bits(symbols, index) == pytest.approx(ideal, rel=1e-12, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(arrays())
def test_the_cost_is_within_the_bound(case):
    symbols, index = case
    real = 8 * len(CODER.encode(symbols, index))
    ideal = CODER.estimate_bits(symbols, index)
    steps = len(steps_of(symbols, index))
    assert real < ideal + OVER_BITS_A_SYMBOL * steps + OVER_BITS


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60), hnp.arrays(np.uint8, 30, elements=st.integers(0, len(TABLES) - 1)))
def test_any_bytes_are_refused_or_are_what_would_be_written(data, index):
    try:
        symbols = CODER.decode(data, index)
    except NicStreamError:
        return
    assert CODER.encode(symbols, index) == data


@pytest.mark.parametrize("mean", [4, 18, 40])
def test_real_bytes_are_within_half_a_percent_for_a_picture(mean):
    scales = np.exp(np.linspace(np.log(0.11), np.log(256.0), 64))
    rng = np.random.default_rng(0)
    index = np.clip(rng.normal(mean, 10, 100_000), 0, 63).astype(int)
    symbols = np.rint(rng.normal(size=index.size) * scales[index]).astype(int)
    coder = SymbolCoder(gaussian_tables(scales))
    data = coder.encode(symbols, index)
    ideal = coder.estimate_bits(symbols, index)
    assert ideal - 1 <= 8 * len(data) <= 1.005 * ideal
    assert 8 * len(data) <= ideal + 2e-4 * symbols.size + OVER_BITS
    assert np.array_equal(coder.decode(data, index), symbols)


def test_nothing_is_no_bytes():
    for shape in ((0,), (3, 0, 2)):
        empty = np.empty(shape, np.int32)
        assert CODER.encode(empty, empty) == b""
        assert CODER.decode(b"", empty).shape == shape
        assert CODER.estimate_bits(empty, empty) == 0


def test_a_single_symbol():
    for value in (0, -3, INT32.min, INT32.max):
        data = CODER.encode(np.int32(value), 1)
        assert CODER.decode(data, 1) == value


def test_an_outlier_costs_what_is_documented():
    table = TABLES.table(1)
    escape = 24 - np.log2(float(table[-1]))
    high = int(TABLES.lows[1] + TABLES.lengths[1] - 1)
    for distance, k in ((1, 0), (2, 1), (1000, 9), (2**20, 20)):
        for symbol in (high + distance, -high - distance):
            assert CODER.estimate_bits([symbol], [1]) == pytest.approx(escape + 6 + k)


def test_escapes_of_all_tables_at_once():
    symbols = np.array([INT32.max, INT32.min, 0, 123456, -(2**17), 70000, 5])
    index = np.arange(7)
    assert np.array_equal(CODER.decode(CODER.encode(symbols, index), index), symbols)


def test_symbols_are_grouped_by_table_in_stable_order():
    index = np.array([1, 0, 1, 0, 2, 1])
    symbols = np.array([5, -1, 3, 1, 8, -2])
    order = [1, 3, 0, 2, 5, 4]
    assert CODER.encode(symbols, index) == CODER.encode(symbols[order], index[order])


def test_the_layout_in_memory_and_the_type_do_not_matter():
    rng = np.random.default_rng(0)
    symbols = rng.integers(-9, 9, (6, 5, 4))
    index = rng.integers(0, 3, (6, 5, 4))
    data = CODER.encode(symbols, index)
    assert CODER.encode(np.asfortranarray(symbols), np.asfortranarray(index)) == data
    assert CODER.encode(symbols.astype(">i2"), index.astype(np.uint16)) == data
    for kind in (np.uint8, np.uint64, np.int64):
        other = np.abs(symbols).astype(kind), index.astype(kind)
        assert np.array_equal(CODER.decode(CODER.encode(*other), other[1]), other[0])
        assert CODER.estimate_bits(*other) == CODER.estimate_bits(np.abs(symbols), index)
    assert np.array_equal(CODER.decode(data, np.asfortranarray(index)), symbols)


@pytest.mark.parametrize("count", [70_000, 5])
def test_as_many_tables_as_are_allowed(count):
    """With 65536 tables the grouping sorts one way for few symbols and another for many."""
    tables = TableSet(np.arange(1 << 16), np.ones(1 << 16, int), np.tile([2**24 - 9, 9], 1 << 16))
    coder = SymbolCoder(tables)
    index = np.random.default_rng(0).integers(0, 1 << 9, count) << 7
    index[-1] = (1 << 16) - 1
    data = coder.encode(index + (index % 97 == 0), index)
    assert np.array_equal(coder.decode(data, index), index + (index % 97 == 0))


def test_several_arrays_in_one_stream():
    rng = np.random.default_rng(0)
    other = SymbolCoder(gaussian_tables([2.0, 5.0]))
    z, y = rng.integers(-300, 300, (2, 3)), rng.integers(-5, 5, (4, 4, 2))
    z_index, y_index = np.full(z.shape, 2), np.broadcast_to([0, 1], y.shape)
    writer = StreamWriter()
    writer.write(CODER, z, z_index)
    writer.write(other, y, y_index)
    data = writer.finish()
    ideal = CODER.estimate_bits(z, z_index) + other.estimate_bits(y, y_index)
    assert 8 * len(data) < ideal + OVER_BITS
    reader = StreamReader(data)
    assert np.array_equal(reader.read(CODER, z_index), z)
    assert np.array_equal(reader.read(other, y_index), y)
    reader.finish()


def test_coders_are_not_mixed_in_one_stream():
    with pytest.raises(ValueError, match="ReferenceCoder in a stream of ConstrictionCoder"):
        StreamWriter().write(REFERENCE, [0], [0])
    with pytest.raises(ValueError, match="ConstrictionCoder in a stream of ReferenceCoder"):
        StreamReader(b"", ReferenceCoder()).read(CODER, [0])


def test_a_coder_can_be_sent_to_another_process():
    data = CODER.encode([3], [1])
    assert pickle.loads(pickle.dumps(CODER)).decode(data, [1]) == 3


def test_a_stream_that_is_not_read_to_its_end_is_refused():
    data = CODER.encode(np.arange(50), np.full(50, 2))
    reader = StreamReader(data)
    reader.read(CODER, np.full(20, 2))
    with pytest.raises(NicStreamError):
        reader.finish()


def damaged(data):
    """Every cut, every flipped bit, and bytes at the end."""
    yield from (data[:end] for end in range(len(data)))
    yield from (data + bytes(more) for more in range(1, 9))
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped)


def test_no_damage_gives_the_same_symbols():
    """It is refused, or gives others, which the checksum of the latents tells."""
    symbols = np.array([3, -900, 14, 0, 2**31 - 1, 7, 7])
    index = np.array([0, 1, 2, 1, 1, 2, 2])
    data = CODER.encode(symbols, index)
    refused = 0
    for other in damaged(data):
        try:
            found = CODER.decode(other, index)
        except NicStreamError:
            refused += 1
        else:
            assert not np.array_equal(found, symbols)
            with pytest.raises(NicLatentsError):
                check_latents([found], latents_crc32([symbols]))
    assert refused >= 8


def test_a_symbol_beyond_int32_is_refused():
    """Escapes far from a table at the edge of int32 could lead outside."""
    encoder = ReferenceEncoder()
    table = TABLES.table(4)
    encoder._narrow(int(table[:-1].sum()), int(table[-1]))  # the escape
    encoder.encode_bits(np.array([1], np.int32), np.array([6], np.int32))  # above by 1
    with pytest.raises(NicStreamError, match="exceeds 32 bits"):
        CODER.decode(encoder.finish(), [4])


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x80", bytes(range(100)), b"\x3f" * 1000])
def test_hostile_streams_take_bounded_time(data):
    """The table indices alone decide how much there is to do: here two million symbols."""
    index = np.random.default_rng(0).integers(0, len(TABLES), 2_000_000)
    start = time.thread_time()
    with contextlib.suppress(NicStreamError):
        CODER.decode(data, index)
    assert time.thread_time() - start < 2


def test_streams_of_escapes_only_take_bounded_time():
    index = np.full(1_000_000, 6)  # a table where 99 % of all symbols are escapes
    start = time.thread_time()
    with pytest.raises(NicStreamError):
        CODER.decode(bytes(range(1, 256)) * 4, index)
    assert time.thread_time() - start < 2


@pytest.mark.parametrize(
    ("symbols", "index", "message"),
    [
        ([1, 2], [0], "shape"),
        ([1.0], [0], "symbols are integers, not float64"),
        ([1], [0.0], "table indices are integers"),
        ([1], [len(TABLES)], "there are 7 tables"),
        ([1], [-1], "there are 7 tables"),
        ([2**31], [0], "fit 32 bits"),
        ([-(2**31) - 1], [0], "fit 32 bits"),
    ],
)
def test_wrong_arguments_are_told(symbols, index, message):
    for method in (CODER.encode, CODER.estimate_bits):
        with pytest.raises(ValueError, match=message):
            method(symbols, index)


def test_wrong_indices_are_told_when_decoding():
    with pytest.raises(ValueError, match="there are 7 tables"):
        CODER.decode(b"", [7])
