import hashlib
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec import TableSet
from codec.errors import NicTableError, NicTruncatedError
from codec.tables import MAX_ENTRIES, MAX_LENGTH, MAX_TABLES

TOTAL = 1 << 24
INT32_MAX = 2**31 - 1


@st.composite
def table_sets(draw):
    pmfs, lows = [], []
    for _ in range(draw(st.integers(1, 4))):
        weights = np.array(draw(st.lists(st.floats(1e-9, 1), min_size=2, max_size=20)))
        pmfs.append(weights[:-1] / weights.sum())
        lows.append(draw(st.integers(-(2**31), INT32_MAX - weights.size)))
    return TableSet.from_pmfs(pmfs, lows)


@pytest.fixture
def two():
    return TableSet.from_pmfs([[0.25, 0.5, 0.25], [0.75, 0.2]], [-1, 7])


def raw(tables, magic=b"NTAB", version=1, count=None):
    """Bytes of tables [(low, length, frequencies), ...], by hand."""
    heads = b"".join(struct.pack("<II", low & 0xFFFFFFFF, length) for low, length, _ in tables)
    body = b"".join(struct.pack(f"<{len(f)}I", *f) for *_, f in tables)
    number = len(tables) if count is None else count
    return magic + bytes([version]) + struct.pack("<I", number) + heads + body


@given(table_sets())
def test_bytes_come_back_and_are_the_only_ones(tables):
    data = tables.to_bytes()
    again = TableSet.from_bytes(data)
    assert again == tables
    assert again.to_bytes() == data
    assert again.digest == tables.digest == hashlib.sha256(data).digest()


def test_layout(two):
    data = two.to_bytes()
    assert data[:9] == b"NTAB\x01\x02\x00\x00\x00"
    assert struct.unpack("<iIiI", data[9:25]) == (-1, 3, 7, 2)
    frequencies = struct.unpack("<7I", data[25:])
    assert sum(frequencies[:4]) == sum(frequencies[4:]) == TOTAL
    assert frequencies[3] == 1  # an escape of probability 0
    assert frequencies[6] == pytest.approx(0.05 * TOTAL, abs=2)


def test_tables_and_offsets(two):
    assert len(two) == 2
    assert two.offsets.tolist() == [0, 4, 7]
    assert two.table(1).tolist() == two.frequencies[4:].tolist()


def test_tables_cannot_be_written_to(two):
    with pytest.raises(ValueError, match="read-only"):
        two.frequencies[0] = 5
    source = np.array([1, TOTAL - 1], np.uint32)
    tables = TableSet(np.array([0]), np.array([1]), source)
    source[0] = 77
    assert tables.frequencies[0] == 1


def test_sets_are_equal_by_content(two):
    same = TableSet.from_bytes(two.to_bytes())
    assert same == two and hash(same) == hash(two)
    other = TableSet(two.lows + 1, two.lengths, two.frequencies)
    assert other != two and other.digest != two.digest
    assert two != "tables"


def test_concatenation_keeps_order(two):
    joined = TableSet.concatenate([two, two])
    assert len(joined) == 4
    assert joined.lows.tolist() == [-1, 7, -1, 7]
    assert np.array_equal(joined.table(3), two.table(1))


def test_tail_mass_goes_to_the_escape():
    tables = TableSet.from_pmfs([[0.5, 0.25]], [0], [0.25])
    assert tables.table(0).tolist() == [TOTAL // 2, TOTAL // 4, TOTAL // 4]


@pytest.mark.parametrize(
    ("pmfs", "lows", "tails", "message"),
    [
        ([[0.5, 0.6]], [0], None, "sum to 1.1"),
        ([[0.5]], [0], [0.4], "sum to 0.9"),
        ([[]], [0], None, "a row of 1 to"),
        ([np.full(MAX_LENGTH + 1, 1e-6)], [0], None, "a row of 1 to"),
        ([[1.0]], [0, 1], None, "as many"),
        ([[1.0]], [0], [], "as many"),
    ],
)
def test_probabilities_that_make_no_table(pmfs, lows, tails, message):
    with pytest.raises(ValueError, match=message):
        TableSet.from_pmfs(pmfs, lows, tails)


GOOD = (0, 1, [1, TOTAL - 1])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (raw([GOOD], magic=b"NTAC"), "not a set"),
        (b"PK\x03\x04", "not a set"),
        (raw([GOOD], version=2), "version 2"),
        (raw([], count=0), "set of 0 tables"),
        (raw([(0, 0, [TOTAL])]), "1 to 65536 symbols"),
        (raw([(0, MAX_LENGTH + 1, [1])]), "1 to 65536 symbols"),
        (raw([(0, 1, [1, TOTAL - 2])]), "sum to 16777215"),
        (raw([(0, 1, [1, TOTAL])]), "sum to 16777217"),
        (raw([GOOD, (0, 2, [2**32 - 1, 1, TOTAL])]), "table 1 sum"),  # right modulo 2**32
        (raw([(0, 1, [0, TOTAL])]), "frequency is 0"),
        (raw([(INT32_MAX, 2, [1, 1, TOTAL - 2])]), "beyond"),
        (raw([GOOD]) + b"\0", "1 bytes after"),
    ],
)
def test_each_cause_has_its_message(data, message):
    with pytest.raises(NicTableError, match=message):
        TableSet.from_bytes(data)


def test_the_largest_symbol_is_allowed():
    assert TableSet.from_bytes(raw([(INT32_MAX, 1, [1, TOTAL - 1])])).lows[0] == INT32_MAX


def test_truncation_at_every_byte(two):
    data = two.to_bytes()
    for end in range(len(data)):
        with pytest.raises(NicTruncatedError):
            TableSet.from_bytes(data[:end])


@pytest.mark.parametrize(
    "data",
    [
        raw([], count=2**32 - 1),
        raw([(0, MAX_LENGTH, [])] * 2),
        raw([(0, MAX_LENGTH, [])] * 65),  # over MAX_ENTRIES
        raw([(0, 2**32 - 1, [])]),
    ],
)
def test_huge_claims_allocate_nothing(data):
    tracemalloc.start()
    with pytest.raises((NicTableError, NicTruncatedError)):
        TableSet.from_bytes(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_caps_hold_when_writing():
    with pytest.raises(NicTableError, match="65537 tables"):
        TableSet(
            np.zeros(MAX_TABLES + 1, int),
            np.ones(MAX_TABLES + 1, int),
            np.tile([1, TOTAL - 1], MAX_TABLES + 1),
        )
    with pytest.raises(NicTableError, match=f"{MAX_ENTRIES} are allowed"):
        lengths = np.full(65, MAX_LENGTH)
        TableSet(np.zeros(65, int), lengths, np.ones(int(lengths.sum()) + 65, int))


@pytest.mark.parametrize(
    "arrays",
    [
        ([0.5], [1], [1, TOTAL - 1]),
        ([2**31], [1], [1, TOTAL - 1]),
        ([[0]], [1], [1, TOTAL - 1]),
        ([0, 1], [1], [1, TOTAL - 1]),
        ([0], [1], [1, 1, TOTAL - 2]),
        ([], [], []),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arrays):
    with pytest.raises(NicTableError):
        TableSet(*(np.array(a) for a in arrays))
