"""Integers outside their table: any distance, in plain bits. docs/bitstream.md, section 5."""

import numpy as np
from numpy.typing import NDArray

from codec.entropy_coder import Decoder, Encoder, Int32Array

SIDE_AND_CLASS_BITS = 6
LOW_BITS = 16
"""Bits of a distance that are coded at once; the rest, up to 15, follows."""


def exponent_of(magnitude: NDArray[np.int64]) -> NDArray[np.int32]:
    """floor(log2(magnitude)) of integers from 1 to 2**32 - 1."""
    return (np.frexp(magnitude.astype(np.float64))[1] - 1).astype(np.int32)


def write_escapes(encoder: Encoder, distances: NDArray[np.int64]) -> None:
    """Codes distances from a table's range: negative below it, positive above, never 0.

    With k = floor(log2(|distance|)): first for each 2 * k + (1 if above) in 6 bits, then for each
    the k bits of |distance| under its leading one: the low 16, then the others.
    """
    magnitude = np.abs(distances)
    exponent = exponent_of(magnitude)
    head = 2 * exponent + (distances > 0)
    encoder.encode_bits(head.astype(np.int32), np.full(head.size, SIDE_AND_CLASS_BITS, np.int32))
    low, high = _part_widths(exponent)
    rest = magnitude - (np.int64(1) << exponent)
    encoder.encode_bits((rest & (1 << low) - 1)[low > 0].astype(np.int32), low[low > 0])
    encoder.encode_bits((rest >> LOW_BITS)[high > 0].astype(np.int32), high[high > 0])


def read_escapes(decoder: Decoder, count: int) -> NDArray[np.int64]:
    """Reads what `write_escapes` wrote."""
    head = decoder.decode_bits(np.full(count, SIDE_AND_CLASS_BITS, np.int32))
    exponent = head >> 1
    low, high = _part_widths(exponent)
    magnitude = np.int64(1) << exponent.astype(np.int64)
    magnitude[low > 0] += decoder.decode_bits(low[low > 0])
    magnitude[high > 0] += decoder.decode_bits(high[high > 0]).astype(np.int64) << LOW_BITS
    return np.where(head & 1, magnitude, -magnitude)


def _part_widths(exponent: Int32Array) -> tuple[Int32Array, Int32Array]:
    """Bits of the low and of the high part of a value under its leading one."""
    return np.minimum(exponent, LOW_BITS), np.maximum(exponent - LOW_BITS, 0)
