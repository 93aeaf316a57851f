"""Coders of latents that need no side information."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.coder import SymbolCoder
from codec.errors import NicBundleError, NicStreamError
from codec.latent_coder import (
    Coded,
    Decoded,
    Float32,
    LatentCoder,
    LatentsError,
    Shapes,
    channel_index,
    check_channels,
)
from codec.quantizers import LEVELS, Quantizer
from codec.tables import TableSet
from codec.thrifty_rounding import BIT_PRICE, thrifty


class FactorizedCoder(LatentCoder):
    """Integers, each coded with the table of its channel.

    Args:
        tables: one for each channel.
        channels: of the latents.

    Attributes:
        bit_price: how readily the encoder takes a cheaper symbol, see `thrifty`.
    """

    names: tuple[str, ...] = ("y",)
    bit_price: float

    def __init__(self, tables: TableSet, channels: int) -> None:
        check_channels(tables, channels, "latents")
        self.tables = tables
        self.bit_price = BIT_PRICE
        self._coder = SymbolCoder(tables)

    def encode(self, latents: Mapping[str, Float32], quality: int) -> Coded:
        """See `LatentCoder`."""
        arrays = self.quantized(latents, quality).arrays
        return Coded(self.write(arrays, quality), arrays)

    def quantized(self, latents: Mapping[str, Float32], quality: int) -> Decoded:
        """See `LatentCoder`."""
        y = latents["y"]
        index = channel_index(y.shape, len(self.tables))
        symbols = thrifty(y, index, self.tables, self.bit_price)
        return Decoded((symbols,), symbols.astype(np.float32))

    def write(self, arrays: tuple[NDArray[Any], ...], quality: int) -> bytes:
        """See `LatentCoder`."""
        (symbols,) = arrays
        return self._coder.encode(symbols, channel_index(symbols.shape, len(self._coder.tables)))

    def decode(self, stream: bytes, shapes: Shapes, quality: int) -> Decoded:
        """See `LatentCoder`."""
        index = channel_index(shapes["y"], len(self._coder.tables))
        symbols = self._coder.decode(stream, index)
        return Decoded((symbols,), symbols.astype(np.float32))


class QuantizedCoder(LatentCoder):
    """Latents trained as plain numbers: 8-bit symbols, each coded with the table of its channel.

    Args:
        quantizer: between numbers and symbols.
        tables: how often each symbol comes, one table for each channel or one for all.
        channels: of the latents (their last axis).
    """

    names: tuple[str, ...] = ("y",)

    def __init__(self, quantizer: Quantizer, tables: TableSet, channels: int) -> None:
        check_channels(tables, channels, "latents")
        if quantizer.low.size not in (1, channels):
            raise NicBundleError(f"{quantizer.low.size} ranges for {channels} channels")
        if (tables.lows != 0).any() or (tables.lengths != LEVELS).any():
            raise NicBundleError(f"a quantizer's tables have the symbols 0 to {LEVELS - 1}")
        self._quantizer = quantizer
        self._coder = SymbolCoder(tables)

    def encode(self, latents: Mapping[str, Float32], quality: int) -> Coded:
        """See `LatentCoder`."""
        arrays = self.quantized(latents, quality).arrays
        return Coded(self.write(arrays, quality), arrays)

    def quantized(self, latents: Mapping[str, Float32], quality: int) -> Decoded:
        """See `LatentCoder`."""
        if not np.isfinite(latents["y"]).all():
            raise LatentsError("the encoder's latents are not all finite numbers")
        symbols = self._quantizer.symbols(latents["y"])
        return Decoded((symbols,), self._quantizer.values(symbols))

    def write(self, arrays: tuple[NDArray[Any], ...], quality: int) -> bytes:
        """See `LatentCoder`."""
        (symbols,) = arrays
        return self._coder.encode(symbols, channel_index(symbols.shape, len(self._coder.tables)))

    def decode(self, stream: bytes, shapes: Shapes, quality: int) -> Decoded:
        """See `LatentCoder`."""
        index = channel_index(shapes["y"], len(self._coder.tables))
        symbols = self._coder.decode(stream, index)
        if symbols.size and not 0 <= symbols.min() <= symbols.max() < LEVELS:
            raise NicStreamError("a coded stream is damaged: a symbol is no 8-bit number")
        return Decoded((symbols,), self._quantizer.values(symbols))


class StoredCoder(LatentCoder):
    """Latents as they are: float32, least significant byte first, nothing coded."""

    names: tuple[str, ...] = ("y",)

    def encode(self, latents: Mapping[str, Float32], quality: int) -> Coded:
        """See `LatentCoder`."""
        arrays = self.quantized(latents, quality).arrays
        return Coded(self.write(arrays, quality), arrays)

    def quantized(self, latents: Mapping[str, Float32], quality: int) -> Decoded:
        """See `LatentCoder`."""
        y = np.ascontiguousarray(latents["y"], np.float32)
        if not np.isfinite(y).all():
            raise LatentsError("the encoder's latents are not all finite numbers")
        return Decoded((y,), y)

    def write(self, arrays: tuple[NDArray[Any], ...], quality: int) -> bytes:
        """See `LatentCoder`."""
        (y,) = arrays
        return y.astype("<f4").tobytes()

    def decode(self, stream: bytes, shapes: Shapes, quality: int) -> Decoded:
        """See `LatentCoder`."""
        expected = 4 * int(np.prod(shapes["y"]))
        if len(stream) != expected:
            raise NicStreamError(f"{len(stream)} bytes of latents, expected {expected}")
        y = np.frombuffer(stream, "<f4").astype(np.float32).reshape(shapes["y"])
        if not np.isfinite(y).all():
            raise NicStreamError("the stored latents are not all finite numbers")
        return Decoded((y,), y)
