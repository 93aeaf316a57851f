"""The small interface between symbols and an entropy coder, and a check that wraps around any."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from codec.errors import NicStreamError

Int32Array = NDArray[np.int32]
UInt32Array = NDArray[np.uint32]


class Encoder(Protocol):
    """One stream that is being written."""

    def encode(self, indices: Int32Array, model: Any) -> None:
        """Appends indices into one table, all coded with it.

        Args:
            indices: (n,) int32, 0 <= index < number of the table's frequencies.
            model: what `EntropyCoder.model` made of the table.
        """

    def encode_bits(self, values: Int32Array, widths: Int32Array) -> None:
        """Appends integers that are spread evenly over `0 <= value < 2**width`.

        Args:
            values: (n,) int32.
            widths: (n,) int32 from 1 to 24.
        """

    def finish(self) -> bytes:
        """Returns the stream: the shortest bytes, and of those the smallest, that mean it."""


class Decoder(Protocol):
    """One stream that is being read; bytes after its end read as 0."""

    def decode(self, count: int, model: Any) -> Int32Array:
        """Returns the next `count` indices. Raises `NicStreamError` on an impossible stream."""

    def decode_bits(self, widths: Int32Array) -> Int32Array:
        """Returns the next `len(widths)` evenly spread integers."""


class EntropyCoder(Protocol):
    """A range coder; every one writes the same bytes (docs/bitstream.md, section 4)."""

    def model(self, frequencies: UInt32Array) -> Any:
        """Prepares a table: (n,) uint32, n >= 2, each at least 1, with sum 2**24."""

    def encoder(self) -> Encoder:
        """Begins a stream."""

    def decoder(self, data: bytes) -> Decoder:
        """Begins to read a stream."""


class CheckedDecoder:
    """Reads a stream and writes it again, to see that it is the one that an encoder writes.

    A range decoder takes nearly any bytes for a stream, also with more behind them or with another
    end. This one accepts a single byte string for each content. Damaged bytes may still be the
    stream of other symbols: that, the checksum of the latents tells.

    Args:
        coder: reads and writes.
        data: the whole stream.
    """

    def __init__(self, coder: EntropyCoder, data: bytes) -> None:
        self._data = data
        self._decoder = coder.decoder(data)
        self._mirror = coder.encoder()

    def decode(self, count: int, model: Any) -> Int32Array:
        """As `Decoder.decode`."""
        indices = self._decoder.decode(count, model)
        self._mirror.encode(indices, model)
        return indices

    def decode_bits(self, widths: Int32Array) -> Int32Array:
        """As `Decoder.decode_bits`."""
        values = self._decoder.decode_bits(widths)
        self._mirror.encode_bits(values, widths)
        return values

    def finish(self) -> None:
        """Checks the stream, once everything is read.

        Raises:
            NicStreamError: an encoder would have written other bytes for what was read.
        """
        if self._mirror.finish() != self._data:
            raise NicStreamError(
                f"a coded stream of {len(self._data)} bytes is damaged: "
                "its symbols are coded otherwise"
            )
