"""Integer arrays to bytes and back, under frozen frequency tables."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from codec.entropy_coder import CheckedDecoder, Encoder, EntropyCoder, Int32Array
from codec.errors import NicStreamError
from codec.escapes import SIDE_AND_CLASS_BITS, exponent_of, read_escapes, write_escapes
from codec.frequencies import PRECISION
from codec.tables import TableSet


class SymbolCoder:
    """Codes arrays of int32 symbols, each with the table that its index names.

    All symbols of a table are coded together: tables in ascending order, in each the symbols in the
    order of the array (C order). A symbol outside its table is coded as the table's escape, and
    its distance after all of them; so every int32 can be coded. docs/bitstream.md, section 5.

    Args:
        tables: the tables.
        coder: the entropy coder; constriction's by default. All write the same bytes.

    Example:
        >>> coder = SymbolCoder(gaussian_tables([0.5, 2.0]))
        >>> data = coder.encode([0, -3, 1000], [0, 1, 1])
        >>> coder.decode(data, [0, 1, 1])
        array([   0,   -3, 1000], dtype=int32)
    """

    def __init__(self, tables: TableSet, coder: EntropyCoder | None = None) -> None:
        self.tables = tables
        self.entropy_coder = _chosen(coder)
        self._models: list[Any] = [None] * len(tables)
        self._lows = tables.lows.tolist()
        self._lengths = tables.lengths.tolist()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.tables, self.entropy_coder)  # the models are made again

    def encode(self, symbols: ArrayLike, table_index: ArrayLike) -> bytes:
        """Codes one array as a stream of its own.

        Args:
            symbols: integers within int32, of any shape.
            table_index: integers from 0 to `len(tables) - 1`, of the same shape.

        Returns:
            The stream: `estimate_bits(...) / 8` bytes, plus about 1.5e-4 bits for each symbol
            (measured; never more than 0.0057), plus less than 1 byte; nothing for no symbols.

        Raises:
            ValueError: shapes differ, or values are out of range.
        """
        writer = StreamWriter(self.entropy_coder)
        writer.write(self, symbols, table_index)
        return writer.finish()

    def decode(self, data: bytes, table_index: ArrayLike) -> Int32Array:
        """Reads what `encode` wrote.

        Args:
            data: the whole stream.
            table_index: as it was given to `encode`. It alone decides time and memory.

        Returns:
            int32 symbols in the shape of `table_index`.

        Raises:
            NicStreamError: the bytes are not what `encode` writes for any symbols. Damaged bytes
                can be what it writes for others: compare `latents_crc32`.
            ValueError: an index is out of range.
        """
        reader = StreamReader(data, self.entropy_coder)
        symbols = reader.read(self, table_index)
        reader.finish()
        return symbols

    def estimate_bits(self, symbols: ArrayLike, table_index: ArrayLike) -> float:
        """The ideal code length of symbols under the integer tables, escapes included, in bits."""
        values, index = _checked(symbols, table_index, len(self.tables))
        lows = self.tables.lows[index].astype(np.int64)
        lengths = self.tables.lengths[index].astype(np.int64)
        local = values.astype(np.int64) - lows
        inside = (local >= 0) & (local < lengths)
        entry = self.tables.offsets[index] + np.where(inside, local, lengths)
        bits = PRECISION - np.log2(self.tables.frequencies[entry].astype(np.float64))
        distance = np.where(local < 0, -local, local - lengths + 1)[~inside]
        escaped = SIDE_AND_CLASS_BITS + exponent_of(distance)
        return float(bits.sum() + escaped.sum())

    def _model(self, index: int) -> Any:
        """The entropy coder's own form of a table, made when it is first needed."""
        if self._models[index] is None:
            self._models[index] = self.entropy_coder.model(self.tables.table(index))
        return self._models[index]

    def _write(self, encoder: Encoder, symbols: ArrayLike, table_index: ArrayLike) -> None:
        values, index = _checked(symbols, table_index, len(self.tables))
        order, runs = _grouped(index, len(self.tables))
        grouped = values[order]
        distances = []
        for table, start, end in runs:
            low, length = self._lows[table], self._lengths[table]
            # Modulo 2**32, every symbol outside is at least `length`.
            local = grouped[start:end].view(np.uint32) - np.uint32(low & 0xFFFFFFFF)
            indices = np.minimum(local, np.uint32(length)).view(np.int32)
            encoder.encode(indices, self._model(table))
            if indices.max() == length:
                outside = grouped[start:end][indices == length].astype(np.int64)
                distances.append(np.where(outside < low, outside - low, outside - low - length + 1))
        if distances:
            write_escapes(encoder, np.concatenate(distances))

    def _read(self, decoder: CheckedDecoder, table_index: ArrayLike) -> Int32Array:
        index = _checked_index(table_index, len(self.tables))
        order, runs = _grouped(index.ravel(), len(self.tables))
        values = np.empty(index.size, np.int32)
        escapes: list[tuple[int, NDArray[np.int64]]] = []
        for table, start, end in runs:
            indices = decoder.decode(end - start, self._model(table))
            np.add(indices, self._lows[table], out=values[start:end])
            if indices.max() == self._lengths[table]:
                places = np.flatnonzero(indices == self._lengths[table])
                escapes.append((table, start + places))
        if escapes:
            self._read_escapes(decoder, values, escapes)
        symbols = np.empty_like(values)
        symbols[order] = values
        return symbols.reshape(index.shape)

    def _read_escapes(
        self,
        decoder: CheckedDecoder,
        values: Int32Array,
        escapes: list[tuple[int, NDArray[np.int64]]],
    ) -> None:
        distance = read_escapes(decoder, sum(places.size for _, places in escapes))
        places = np.concatenate([p for _, p in escapes])
        sizes = [p.size for _, p in escapes]
        low = np.repeat([self._lows[t] for t, _ in escapes], sizes)
        length = np.repeat([self._lengths[t] for t, _ in escapes], sizes)
        outside = np.where(distance < 0, low + distance, low + length - 1 + distance)
        if outside.min() < np.iinfo(np.int32).min or outside.max() > np.iinfo(np.int32).max:
            raise NicStreamError("a coded stream is damaged: a symbol exceeds 32 bits")
        values[places] = outside


class StreamWriter:
    """Several arrays in one stream, which saves the bytes between them.

    Args:
        coder: the entropy coder; constriction's by default.
    """

    def __init__(self, coder: EntropyCoder | None = None) -> None:
        self._coder = _chosen(coder)
        self._encoder = self._coder.encoder()

    def write(self, coder: SymbolCoder, symbols: ArrayLike, table_index: ArrayLike) -> None:
        """Appends an array; see `SymbolCoder.encode`.

        Raises:
            ValueError: as there, or `coder` has another entropy coder than the writer.
        """
        _check_same(coder.entropy_coder, self._coder)
        coder._write(self._encoder, symbols, table_index)

    def finish(self) -> bytes:
        """Returns the stream."""
        return self._encoder.finish()


class StreamReader:
    """Reads what a `StreamWriter` wrote, array by array.

    Args:
        data: the whole stream.
        coder: the entropy coder; constriction's by default.
    """

    def __init__(self, data: bytes, coder: EntropyCoder | None = None) -> None:
        self._coder = _chosen(coder)
        self._decoder = CheckedDecoder(self._coder, data)

    def read(self, coder: SymbolCoder, table_index: ArrayLike) -> Int32Array:
        """Returns the next array; see `SymbolCoder.decode`.

        Damage may show in `finish` only: use nothing that was read before that, except to find
        what to read next.
        """
        _check_same(coder.entropy_coder, self._coder)
        return coder._read(self._decoder, table_index)

    def finish(self) -> None:
        """Checks that the stream is exactly what an encoder writes for what was read.

        Raises:
            NicStreamError: it is not.
        """
        self._decoder.finish()


def _chosen(coder: EntropyCoder | None) -> EntropyCoder:
    if coder is None:
        from codec.range_constriction import ConstrictionCoder

        return ConstrictionCoder()
    return coder


def _check_same(first: EntropyCoder, second: EntropyCoder) -> None:
    if type(first) is not type(second):
        raise ValueError(f"{type(first).__name__} in a stream of {type(second).__name__}")


def _checked(
    symbols: ArrayLike, table_index: ArrayLike, tables: int
) -> tuple[Int32Array, NDArray[Any]]:
    """Flat symbols and indices, known to be in range."""
    values = np.asarray(symbols)
    index = _checked_index(table_index, tables)
    if values.shape != index.shape:
        raise ValueError(f"symbols of shape {values.shape}, table indices of shape {index.shape}")
    if values.dtype != np.int32 and values.size:
        limits = np.iinfo(np.int32)
        if values.dtype.kind not in "iu":
            raise ValueError(f"symbols are integers, not {values.dtype}")
        if values.min() < limits.min or values.max() > limits.max:
            raise ValueError("symbols are integers that fit 32 bits")
    return values.ravel().astype(np.int32, copy=False), index.ravel()


def _checked_index(table_index: ArrayLike, tables: int) -> NDArray[Any]:
    index = np.asarray(table_index)
    if index.size:
        if index.dtype.kind not in "iu":
            raise ValueError(f"table indices are integers, not {index.dtype}")
        if index.min() < 0 or index.max() >= tables:
            raise ValueError(
                f"table indices from {index.min()} to {index.max()}; there are {tables} tables"
            )
    return index


def _grouped(
    index: NDArray[Any], tables: int
) -> tuple[NDArray[np.int64], list[tuple[int, int, int]]]:
    """Stable order by table, and (table, start, end) of each table's run in it."""
    place_bits = max(index.size - 1, 0).bit_length()
    if place_bits + (tables - 1).bit_length() <= 32:
        # Sorting table and place in one number is twice as fast as a stable argsort.
        keys = index.astype(np.uint32) << np.uint32(place_bits)
        keys |= np.arange(index.size, dtype=np.uint32)
        keys.sort()
        order = (keys & np.uint32((1 << place_bits) - 1)).astype(np.int64)
        firsts = np.arange(1, tables, dtype=np.uint32) << np.uint32(place_bits)
        ends = np.append(np.searchsorted(keys, firsts), index.size)
    else:
        narrow = index.astype(np.uint16)  # sorted by radix
        order = np.argsort(narrow, kind="stable")
        ends = np.cumsum(np.bincount(narrow, minlength=tables))
    used = np.flatnonzero(np.diff(ends, prepend=0))
    bounds = [0, *ends[used].tolist()]
    return order, list(zip(used.tolist(), bounds[:-1], bounds[1:], strict=True))
