"""The range coder in plain integers: slow, readable, and what docs/bitstream.md section 4 defines.

It writes and reads the same bytes as `ConstrictionCoder`, and shares nothing with it.
"""

import bisect
from itertools import accumulate

import numpy as np

from codec.entropy_coder import Int32Array, UInt32Array
from codec.errors import NicStreamError
from codec.frequencies import PRECISION

WORD_BITS = 32
STATE_BITS = 64
FULL_SPAN = (1 << STATE_BITS) - 1
LEAST_SPAN = 1 << STATE_BITS - WORD_BITS


class ReferenceCoder:
    """An `EntropyCoder` of about a million symbols a second."""

    def model(self, frequencies: UInt32Array) -> list[int]:
        """As `EntropyCoder.model`: the cumulative frequencies, 0 first and 2**24 last."""
        return [0, *accumulate(int(f) for f in frequencies)]

    def encoder(self) -> "ReferenceEncoder":
        """As `EntropyCoder.encoder`."""
        return ReferenceEncoder()

    def decoder(self, data: bytes) -> "ReferenceDecoder":
        """As `EntropyCoder.decoder`."""
        return ReferenceDecoder(data)


class ReferenceEncoder:
    """One stream that is being written.

    The stream is a number in [0, 1) in base 256. What has been coded so far leaves the numbers from
    `low` to `low + span`, both times 2**-(64 + 32 * words). `low` is kept as settled words and 64
    bits; a carry out of those runs into the words.
    """

    def __init__(self) -> None:
        self._words: list[int] = []
        self._low = 0
        self._span = FULL_SPAN

    def _narrow(self, cumulative: int, frequency: int) -> None:
        unit = self._span >> PRECISION
        self._low += unit * cumulative
        self._span = unit * frequency
        if self._low >> STATE_BITS:
            self._low &= FULL_SPAN
            self._carry()
        if self._span < LEAST_SPAN:
            self._words.append(self._low >> WORD_BITS)
            self._low = self._low << WORD_BITS & FULL_SPAN
            self._span <<= WORD_BITS

    def _carry(self) -> None:
        at = len(self._words) - 1
        while self._words[at] == (1 << WORD_BITS) - 1:
            self._words[at] = 0
            at -= 1
        self._words[at] += 1

    def encode(self, indices: Int32Array, model: list[int]) -> None:
        """As `Encoder.encode`."""
        for i in indices.tolist():
            self._narrow(model[i], model[i + 1] - model[i])

    def encode_bits(self, values: Int32Array, widths: Int32Array) -> None:
        """As `Encoder.encode_bits`."""
        for value, width in zip(values.tolist(), widths.tolist(), strict=True):
            self._narrow(value << PRECISION - width, 1 << PRECISION - width)

    def finish(self) -> bytes:
        """As `Encoder.finish`."""
        settled = b"".join(word.to_bytes(WORD_BITS // 8, "big") for word in self._words)
        low = int.from_bytes(settled, "big") << STATE_BITS | self._low
        return shortest_bytes(low, low + self._span, len(settled) + STATE_BITS // 8)


class ReferenceDecoder:
    """One stream that is being read."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._read = STATE_BITS // 8
        self._offset = int.from_bytes(data[: self._read].ljust(self._read, b"\0"), "big")
        self._span = FULL_SPAN

    def _peek(self) -> int:
        """The quantile that the next symbol contains, 0 to 2**24 - 1."""
        quantile = self._offset // (self._span >> PRECISION)
        if quantile >> PRECISION:
            raise NicStreamError("a coded stream is damaged: it holds an impossible symbol")
        return quantile

    def _narrow(self, cumulative: int, frequency: int) -> None:
        unit = self._span >> PRECISION
        self._offset -= unit * cumulative  # how far the stream's number is above `low`
        self._span = unit * frequency
        if self._span < LEAST_SPAN:
            size = WORD_BITS // 8
            word = self._data[self._read : self._read + size].ljust(size, b"\0")
            self._read += size
            self._offset = self._offset << WORD_BITS | int.from_bytes(word, "big")
            self._span <<= WORD_BITS

    def decode(self, count: int, model: list[int]) -> Int32Array:
        """As `Decoder.decode`."""
        indices = np.empty(count, np.int32)
        for n in range(count):
            i = bisect.bisect_right(model, self._peek()) - 1
            self._narrow(model[i], model[i + 1] - model[i])
            indices[n] = i
        return indices

    def decode_bits(self, widths: Int32Array) -> Int32Array:
        """As `Decoder.decode_bits`."""
        values = np.empty(widths.size, np.int32)
        for n, width in enumerate(widths.tolist()):
            shift = PRECISION - width
            value = self._peek() >> shift
            self._narrow(value << shift, 1 << shift)
            values[n] = value
        return values


def shortest_bytes(low: int, high: int, size: int) -> bytes:
    """The shortest digits, and of those the smallest, of a number from `low` up to below `high`.

    Args:
        low: in units of 256**-size; 0 <= low.
        high: likewise; low < high <= 256**size.
        size: digits that are enough for `low` itself.

    Returns:
        Digits in base 256 after the point, the first one first.
    """
    kept = 0
    while True:
        unit = 8 * (size - kept)
        digits = -(-low >> unit)  # low / 2**unit, rounded up
        if digits << unit < high:
            return digits.to_bytes(kept, "big")
        kept += 1
