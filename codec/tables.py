"""Sets of integer frequency tables: frozen, packed, and the same bytes on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from codec.byte_reader import ByteReader
from codec.errors import NicTableError
from codec.frequencies import PRECISION, TOTAL, optimal_frequencies

MAGIC = b"NTAB"
VERSION = 1
MAX_TABLES = 1 << 16
MAX_LENGTH = 1 << 16
"""In-range symbols of one table."""
MAX_ENTRIES = 1 << 22
"""Frequencies of a whole set, escapes included: 16 MiB."""
MAX_TAIL_ERROR = 1e-6
"""How far probabilities and tail may be from summing to 1."""


@dataclass(frozen=True, eq=False)
class TableSet:
    """Many frequency tables in flat arrays.

    Table t gives symbol `lows[t] + i`, for `0 <= i < lengths[t]`, the probability
    `frequencies[offsets[t] + i] / 2**24`. The frequency after those is the escape's: it announces
    any other integer. Which table a symbol is coded with is the caller's business.

    Attributes:
        lows: (T,) int32, the smallest symbol of each table.
        lengths: (T,) int32, number of symbols in range, escape not counted; 1 to 65536.
        frequencies: (sum(lengths) + T,) uint32, each at least 1, those of a table sum to 2**24.

    Raises:
        NicTableError: the arrays are not as above, or there are more than 65536 tables or 2**22
            frequencies.
    """

    lows: NDArray[np.int32]
    lengths: NDArray[np.int32]
    frequencies: NDArray[np.uint32]

    def __post_init__(self) -> None:
        for name, dtype in (("lows", np.int32), ("lengths", np.int32), ("frequencies", np.uint32)):
            given = np.asarray(getattr(self, name))
            array = np.array(given, dtype)  # a copy, so that nobody can write to it later
            if array.ndim != 1 or not np.array_equal(array, given):
                raise NicTableError(f"{name} of the tables are a row of {dtype.__name__} numbers")
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        self._check()

    def _check(self) -> None:
        count = self.lows.size
        _check_shape(count, self.lengths)
        if count != self.lengths.size or self.frequencies.size != self.offsets[-1]:
            raise NicTableError("lows, lengths and frequencies of the tables don't fit together")
        last = self.lows.astype(np.int64) + self.lengths - 1
        if last.max() > np.iinfo(np.int32).max:
            raise NicTableError("a table has symbols beyond 2147483647")
        if self.frequencies.min() < 1:
            raise NicTableError("a frequency is 0; the least is 1")
        sums = np.add.reduceat(self.frequencies, self.offsets[:-1], dtype=np.uint64)
        wrong = np.flatnonzero(sums != TOTAL)
        if wrong.size:
            raise NicTableError(
                f"the frequencies of table {wrong[0]} sum to {sums[wrong[0]]}, not to {TOTAL}"
            )

    def __len__(self) -> int:
        return int(self.lows.size)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TableSet):
            return NotImplemented
        return self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash(self.digest)

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """(T + 1,) where each table begins in `frequencies`, and where the last one ends."""
        return np.concatenate(([0], np.cumsum(self.lengths + np.int64(1))))

    @cached_property
    def code_lengths(self) -> NDArray[np.float32]:
        """What each entry of `frequencies` costs, in bits; an escape without its distance."""
        return (PRECISION - np.log2(self.frequencies.astype(np.float64))).astype(np.float32)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of `to_bytes()`, 32 bytes."""
        return hashlib.sha256(self.to_bytes()).digest()

    def table(self, index: int) -> NDArray[np.uint32]:
        """(lengths[index] + 1,) frequencies of one table, the escape's last."""
        return self.frequencies[self.offsets[index] : self.offsets[index + 1]]

    @classmethod
    def from_pmfs(
        cls,
        pmfs: Sequence[ArrayLike],
        lows: Sequence[int],
        tail_masses: Sequence[float] | None = None,
    ) -> TableSet:
        """Makes the tables with the smallest expected code length.

        Args:
            pmfs: for each table the probabilities of `low, low + 1, ...`, at least one.
            lows: for each table the smallest symbol.
            tail_masses: for each table the probability of all other integers together; what is
                missing to 1 when not given.

        Returns:
            The tables; see `optimal_frequencies` for how good they are.

        Raises:
            ValueError: probabilities and tail don't sum to 1 within 1e-6, or are negative.
        """
        tables, lengths = [], []
        if not len(pmfs) == len(lows) == len(pmfs if tail_masses is None else tail_masses):
            raise ValueError("there must be as many lows and tails as tables")
        for i, given in enumerate(pmfs):
            pmf = np.asarray(given, np.float64)
            if pmf.ndim != 1 or not 1 <= pmf.size <= MAX_LENGTH:
                raise ValueError(f"table {i}: a row of 1 to {MAX_LENGTH} probabilities is needed")
            tail = max(0.0, 1.0 - pmf.sum()) if tail_masses is None else tail_masses[i]
            if not abs(pmf.sum() + tail - 1.0) <= MAX_TAIL_ERROR:
                raise ValueError(f"table {i}: probabilities and tail sum to {pmf.sum() + tail}")
            tables.append(optimal_frequencies(np.append(pmf, tail)))
            lengths.append(pmf.size)
        return cls(np.array(lows), np.array(lengths), np.concatenate(tables))

    @classmethod
    def concatenate(cls, sets: Iterable[TableSet]) -> TableSet:
        """One set of all tables in order; those of the second set begin at index `len(first)`."""
        every = list(sets)
        return cls(
            np.concatenate([s.lows for s in every]),
            np.concatenate([s.lengths for s in every]),
            np.concatenate([s.frequencies for s in every]),
        )

    def to_bytes(self) -> bytes:
        """The bytes of the set, one string for each content; docs/bitstream.md, section 6."""
        heads = np.empty((len(self), 2), "<u4")  # (T, 2)
        heads[:, 0] = self.lows.view(np.uint32)
        heads[:, 1] = self.lengths
        count = len(self).to_bytes(4, "little")
        return b"".join(
            (
                MAGIC,
                bytes([VERSION]),
                count,
                heads.tobytes(),
                self.frequencies.astype("<u4").tobytes(),
            )
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> TableSet:
        """Reads what `to_bytes` wrote.

        Raises:
            NicTableError: the bytes are anything else.
            NicTruncatedError: they end too early.
        """
        reader = ByteReader(data, "table set", NicTableError)
        if not MAGIC.startswith(reader.peek(len(MAGIC))):
            raise NicTableError("these bytes are not a set of frequency tables")
        reader.take(len(MAGIC), "the magic")
        version = reader.byte("the version")
        if version != VERSION:
            raise NicTableError(f"table set of version {version}; this program reads {VERSION}")
        count = reader.uint32("the number of tables")
        heads = np.frombuffer(reader.take(8 * count, "the tables' ranges"), "<u4").reshape(-1, 2)
        lengths = heads[:, 1].astype(np.int64)
        _check_shape(count, lengths)
        entries = int(lengths.sum()) + count
        frequencies = np.frombuffer(reader.take(4 * entries, "the frequencies"), "<u4")
        if reader.position != len(data):
            raise NicTableError(f"{len(data) - reader.position} bytes after the last table")
        return cls(
            heads[:, 0].astype(np.uint32).view(np.int32), lengths.astype(np.int32), frequencies
        )


def _check_shape(count: int, lengths: NDArray[np.integer]) -> None:
    """Checks what memory depends on."""
    if not 1 <= count <= MAX_TABLES:
        raise NicTableError(f"a set of {count} tables; 1 to {MAX_TABLES} are allowed")
    if lengths.size and not 1 <= lengths.min() <= lengths.max() <= MAX_LENGTH:
        raise NicTableError(f"a table has 1 to {MAX_LENGTH} symbols")
    entries = int(lengths.sum(dtype=np.int64)) + count
    if entries > MAX_ENTRIES:
        raise NicTableError(f"a set of {entries} frequencies; {MAX_ENTRIES} are allowed")
