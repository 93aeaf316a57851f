"""From latents to a stream of bytes and back: one coder for each kind of entropy model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from codec.coder import StreamReader, StreamWriter, SymbolCoder
from codec.errors import NicBundleError, NicStreamError
from codec.integer_network import IntegerNetwork
from codec.quantizers import LEVELS, Quantizer
from codec.tables import TableSet

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]
Shapes = Mapping[str, tuple[int, ...]]

MAX_MEAN_BITS = 12
MAX_QUALITIES = 256


class LatentsError(ValueError):
    """Latents that can't be coded: the transforms gave something that is no number."""


@dataclass(frozen=True)
class Coded:
    """What a coder made of latents.

    Attributes:
        stream: the bytes.
        arrays: what they stand for, in the order of coding: what the CRC32 of the latents covers.
    """

    stream: bytes
    arrays: tuple[NDArray[Any], ...]


@dataclass(frozen=True)
class Decoded:
    """What a coder found in a stream.

    Attributes:
        arrays: as in `Coded`.
        y_hat: float32 latents for the synthesis transform.
    """

    arrays: tuple[NDArray[Any], ...]
    y_hat: Float32


class LatentCoder(Protocol):
    """What all coders do. `y` are the latents, `z` the hyper-latents where there are any."""

    names: tuple[str, ...]

    def encode(self, latents: Mapping[str, Float32], quality: int) -> Coded:
        """Codes the latents of one tile.

        Args:
            latents: name -> float32 (blocks, ...).
            quality: index of the quality.

        Raises:
            LatentsError: a number is not finite.
        """

    def quantized(self, latents: Mapping[str, Float32], quality: int) -> Decoded:
        """What `decode` will find of latents, without coding them; as in `encode`."""

    def write(self, arrays: tuple[NDArray[Any], ...], quality: int) -> bytes:
        """Codes the arrays of `quantized`, of one tile or of several along the axis of blocks."""

    def decode(self, stream: bytes, shapes: Shapes, quality: int) -> Decoded:
        """Reads what `encode` or `write` wrote.

        Raises:
            NicStreamError: the bytes are not what they write.
        """


def whole_numbers(values: NDArray[Any]) -> Int32:
    """The nearest integers, within int32.

    Raises:
        LatentsError: a value is not finite.
    """
    if not np.isfinite(values).all():
        raise LatentsError("the encoder's latents are not all finite numbers")
    limit = float(np.iinfo(np.int32).max)
    return np.clip(np.round(values.astype(np.float64)), -limit, limit).astype(np.int32)


def channel_index(shape: tuple[int, ...], tables: int) -> NDArray[np.uint16]:
    """Index of the table of each latent: that of its channel, or 0 where all share one."""
    if tables == 1:
        return np.zeros(shape, np.uint16)
    return np.broadcast_to(np.arange(tables, dtype=np.uint16), shape)


def _check_channels(tables: TableSet, channels: int, what: str) -> None:
    if len(tables) not in (1, channels):
        raise NicBundleError(f"{len(tables)} tables for {channels} channels of {what}")


class FactorizedCoder:
    """Integers, each coded with the table of its channel.

    Args:
        tables: one for each channel.
        channels: of the latents.
    """

    names: tuple[str, ...] = ("y",)

    def __init__(self, tables: TableSet, channels: int) -> None:
        _check_channels(tables, channels, "latents")
        self.tables = tables
        self._coder = SymbolCoder(tables)

    def encode(self, latents: Mapping[str, Float32], quality: int) -> Coded:
        """See `LatentCoder`."""
        arrays = self.quantized(latents, quality).arrays
        return Coded(self.write(arrays, quality), arrays)

    def quantized(self, latents: Mapping[str, Float32], quality: int) -> Decoded:
        """See `LatentCoder`."""
        symbols = whole_numbers(latents["y"])
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


class QuantizedCoder:
    """Latents trained as plain numbers: 8-bit symbols, each coded with the table of its channel.

    Args:
        quantizer: between numbers and symbols.
        tables: how often each symbol comes, one table for each channel or one for all.
        channels: of the latents (their last axis).
    """

    names: tuple[str, ...] = ("y",)

    def __init__(self, quantizer: Quantizer, tables: TableSet, channels: int) -> None:
        _check_channels(tables, channels, "latents")
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


class StoredCoder:
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


@dataclass(frozen=True)
class Quality:
    """One operating point of a hyperprior.

    Attributes:
        gain: what residuals are multiplied by before they are rounded.
        offset: places in the table of scales that this moves every latent by.
    """

    gain: float = 1.0
    offset: int = 0


class HyperpriorCoder:
    """Hyper-latents by the table of their channel, then latents by the tables that those name.

    The integer network makes of the hyper-latents, for each latent, a place in the table of scales,
    and, if there are means, its mean in units of 2**-mean_bits. A latent's symbol is
    `round((y - mean) * gain)`, its table `clip(place + offset)`.

    Args:
        hyper_tables: one for each channel of the hyper-latents.
        tables: one for each scale, ascending.
        network: h_s; gives all means, then all places.
        channels: of the latents, and of the hyper-latents.
        mean_bits: None for a hyperprior without means.
        qualities: operating points.
        engine: runs the network instead of NumPy; must give the same integers.

    Raises:
        NicBundleError: the parts don't fit each other.
    """

    names: tuple[str, ...] = ("z", "y")

    def __init__(
        self,
        hyper_tables: TableSet,
        tables: TableSet,
        network: IntegerNetwork,
        channels: tuple[int, int],
        mean_bits: int | None,
        qualities: tuple[Quality, ...] = (Quality(),),
        engine: Any = None,
    ) -> None:
        latents, hyper_latents = channels
        _check_channels(hyper_tables, hyper_latents, "hyper-latents")
        given = latents * (1 if mean_bits is None else 2)
        if (network.channels, network.output_channels) != (hyper_latents, given):
            raise NicBundleError(
                f"the integer network makes {network.output_channels} channels of "
                f"{network.channels}, expected {given} of {hyper_latents}"
            )
        if mean_bits is not None and not 0 <= mean_bits <= MAX_MEAN_BITS:
            raise NicBundleError(f"means of {mean_bits} bits; 0 to {MAX_MEAN_BITS} are allowed")
        if not 1 <= len(qualities) <= MAX_QUALITIES:
            raise NicBundleError(f"{len(qualities)} qualities; 1 to {MAX_QUALITIES} are allowed")
        if not all(2**-16 <= each.gain <= 2**16 for each in qualities):
            raise NicBundleError("a quality's gain is out of range")
        self.network = network
        self._run = engine or network.run
        self.hyper_tables, self.tables = hyper_tables, tables
        self._hyper_coder = SymbolCoder(hyper_tables)
        self._coder = SymbolCoder(tables)
        self._mean_bits = mean_bits
        self._qualities = qualities

    def parameters(self, z: Int32, quality: int) -> tuple[Float32 | None, Int32]:
        """Means (or None), in units of latents, and the index of each latent's table."""
        found = self._run(z)  # (blocks, h, w, 2 M) or (blocks, h, w, M)
        mean = None
        if self._mean_bits is not None:
            units, found = np.split(found, 2, axis=-1)
            mean = units.astype(np.float32) * np.float32(2.0**-self._mean_bits)
        place = found + self._qualities[quality].offset
        return mean, np.clip(place, 0, len(self._coder.tables) - 1).astype(np.int32)

    def encode(self, latents: Mapping[str, Float32], quality: int) -> Coded:
        """See `LatentCoder`."""
        z, y, _, index = self._symbols(latents, quality)
        return Coded(self._stream(z, y, index), (z, y))

    def quantized(self, latents: Mapping[str, Float32], quality: int) -> Decoded:
        """See `LatentCoder`."""
        z, y, mean, _ = self._symbols(latents, quality)
        return Decoded((z, y), self._values(y, mean, quality))

    def write(self, arrays: tuple[NDArray[Any], ...], quality: int) -> bytes:
        """See `LatentCoder`."""
        z, y = arrays
        return self._stream(z, y, self.parameters(z, quality)[1])

    def _symbols(
        self, latents: Mapping[str, Float32], quality: int
    ) -> tuple[Int32, Int32, Float32 | None, Int32]:
        """Hyper-latents, symbols, means, and the index of each symbol's table."""
        z = whole_numbers(latents["z"])
        mean, index = self.parameters(z, quality)
        residual = latents["y"] if mean is None else latents["y"] - mean
        y = whole_numbers(residual * np.float32(self._qualities[quality].gain))
        return z, y, mean, index

    def _values(self, y: Int32, mean: Float32 | None, quality: int) -> Float32:
        """The latents that symbols stand for."""
        y_hat = y.astype(np.float32) * np.float32(1.0 / self._qualities[quality].gain)
        return y_hat if mean is None else y_hat + mean

    def _stream(self, z: Int32, y: Int32, index: Int32) -> bytes:
        writer = StreamWriter()
        writer.write(self._hyper_coder, z, channel_index(z.shape, len(self._hyper_coder.tables)))
        writer.write(self._coder, y, index)
        return writer.finish()

    def decode(self, stream: bytes, shapes: Shapes, quality: int) -> Decoded:
        """See `LatentCoder`."""
        reader = StreamReader(stream)
        hyper_index = channel_index(shapes["z"], len(self._hyper_coder.tables))
        z = reader.read(self._hyper_coder, hyper_index)
        mean, index = self.parameters(z, quality)
        if index.shape != shapes["y"]:
            raise NicBundleError(f"tables for latents of {index.shape}, expected {shapes['y']}")
        y = reader.read(self._coder, index)
        reader.finish()
        return Decoded((z, y), self._values(y, mean, quality))
