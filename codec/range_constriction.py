"""The range coder of the `constriction` library, pinned to our integer tables."""

from typing import Any

import constriction
import numpy as np

from codec.entropy_coder import Int32Array, UInt32Array
from codec.errors import NicStreamError

_queue = constriction.stream.queue
_models = constriction.stream.model

WORD_BYTES = 4
STATE_BITS = 64


class ConstrictionCoder:
    """An `EntropyCoder` at 20 to 50 million symbols a second.

    constriction takes probabilities as floats. With `perfect=False` it turns n of them into
    `cdf[i] = i + floor(sum(p[:i]) * ((2**24 - n) / sum(p)))`. For `p = frequencies - 1` the
    fraction is exactly 1 and all sums are integers below 2**24, exact in float64: the cumulative
    frequencies come out as they are.
    """

    def model(self, frequencies: UInt32Array) -> Any:
        """As `EntropyCoder.model`."""
        weights = frequencies.astype(np.float64) - 1.0
        return _models.Categorical(weights, perfect=False, lazy=False)

    def encoder(self) -> "ConstrictionEncoder":
        """As `EntropyCoder.encoder`."""
        return ConstrictionEncoder()

    def decoder(self, data: bytes) -> "ConstrictionDecoder":
        """As `EntropyCoder.decoder`."""
        return ConstrictionDecoder(data)


class ConstrictionEncoder:
    """One stream that is being written."""

    def __init__(self) -> None:
        self._encoder = _queue.RangeEncoder()
        self._uniform = _models.Uniform()

    def encode(self, indices: Int32Array, model: Any) -> None:
        """As `Encoder.encode`."""
        self._encoder.encode(indices, model)

    def encode_bits(self, values: Int32Array, widths: Int32Array) -> None:
        """As `Encoder.encode_bits`."""
        if widths.size:
            self._encoder.encode(values, self._uniform, np.left_shift(np.int32(1), widths))

    def finish(self) -> bytes:
        """As `Encoder.finish`.

        constriction ends a stream with one or two whole words inside its last interval. Here the
        interval itself is taken, and the fewest bytes that lie in it.
        """
        words = self._encoder.get_compressed()
        count, (low, span) = self._encoder.pos()
        settled = words[:count].astype(">u4").tobytes()
        # If the word that constriction appends wrapped around, a carry has run into the settled
        # words, and the stream may end with them.
        if low + (1 << STATE_BITS - 8 * WORD_BYTES) - 1 >> STATE_BITS:
            return settled.rstrip(b"\0")
        for size in range(STATE_BITS // 8 + 1):
            step = 1 << STATE_BITS - 8 * size
            point = -(-low // step) * step
            if point < low + span:
                break
        if point >> STATE_BITS:
            return _plus_one(settled).rstrip(b"\0")
        tail = point.to_bytes(STATE_BITS // 8, "big")[:size]
        return (settled + tail).rstrip(b"\0")


class ConstrictionDecoder:
    """One stream that is being read."""

    def __init__(self, data: bytes) -> None:
        whole = data + bytes(-len(data) % WORD_BYTES)
        self._decoder = _queue.RangeDecoder(np.frombuffer(whole, ">u4").astype(np.uint32))
        self._uniform = _models.Uniform()

    def decode(self, count: int, model: Any) -> Int32Array:
        """As `Decoder.decode`."""
        return self._read(model, count)

    def decode_bits(self, widths: Int32Array) -> Int32Array:
        """As `Decoder.decode_bits`."""
        if not widths.size:
            return np.empty(0, np.int32)
        return self._read(self._uniform, np.left_shift(np.int32(1), widths))

    def _read(self, model: Any, argument: int | Int32Array) -> Int32Array:
        try:
            indices: Int32Array = self._decoder.decode(model, argument)
        except AssertionError:  # what constriction raises for a point outside every symbol
            raise NicStreamError(
                "a coded stream is damaged: it holds an impossible symbol"
            ) from None
        return indices


def _plus_one(digits: bytes) -> bytes:
    """Adds one to a number in base 256, most significant first; it has a digit below 255."""
    kept = digits.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) + bytes(len(digits) - len(kept))
