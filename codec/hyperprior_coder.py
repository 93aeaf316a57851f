"""The coder of a hyperprior: hyper-latents tell the table of each latent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from codec.coder import StreamReader, StreamWriter, SymbolCoder
from codec.errors import NicBundleError
from codec.integer_network import IntegerNetwork
from codec.latent_coder import (
    Coded,
    Decoded,
    Float32,
    Int32,
    LatentCoder,
    Shapes,
    channel_index,
    check_channels,
    whole_numbers,
)
from codec.tables import TableSet
from codec.thrifty_rounding import BIT_PRICE, thrifty

MAX_MEAN_BITS = 12
MAX_QUALITIES = 256
LEAST_GAIN = 2.0**-16


@dataclass(frozen=True)
class Quality:
    """One operating point of a hyperprior.

    Attributes:
        gain: what residuals are multiplied by before they are rounded; a number, or float32 (M,).
        offset: places in the table of scales that this moves a latent by; a number, or int32 (M,).
        inverse: what symbols are multiplied by; float32 (M,), or None for 1 / gain.
    """

    gain: float | Float32 = 1.0
    offset: int | Int32 = 0
    inverse: Float32 | None = None

    @property
    def back(self) -> Float32:
        """What symbols are multiplied by, float32, () or (M,)."""
        if self.inverse is not None:
            return self.inverse
        return np.asarray(1.0 / self.gain, np.float32)

    def fits(self, channels: int) -> bool:
        """Whether its numbers are in range, and its vectors for so many channels."""
        factors = [self.gain] if self.inverse is None else [self.gain, self.inverse]
        for factor in map(np.asarray, factors):
            # Not the other way around: comparisons with NaN are false.
            if not ((factor >= LEAST_GAIN) & (factor <= 1 / LEAST_GAIN)).all():
                return False
        parts = (self.gain, self.offset, self.back)
        return all(np.shape(part) in {(), (channels,)} for part in parts)


class HyperpriorCoder(LatentCoder):
    """Hyper-latents by the table of their channel, then latents by the tables that those name.

    The integer network makes of the hyper-latents, for each latent, a place in the table of scales,
    and, if there are means, its mean in units of 2**-mean_bits. A latent's symbol is
    `(y - mean) * gain` rounded (`thrifty`), its table `clip(place + offset)`.

    Args:
        hyper_tables: one for each channel of the hyper-latents.
        tables: one for each scale, ascending.
        network: h_s; gives all means, then all places.
        channels: of the latents, and of the hyper-latents.
        mean_bits: None for a hyperprior without means.
        qualities: operating points.
        engine: runs the network instead of NumPy; must give the same integers.

    Attributes:
        bit_price: how readily the encoder takes a cheaper symbol, see `thrifty`.

    Raises:
        NicBundleError: the parts don't fit each other.
    """

    names: tuple[str, ...] = ("z", "y")
    bit_price: float

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
        check_channels(hyper_tables, hyper_latents, "hyper-latents")
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
        if not all(each.fits(latents) for each in qualities):
            raise NicBundleError("a quality's gain is out of range")
        self.network = network
        self._run = engine or network.run
        self.hyper_tables, self.tables = hyper_tables, tables
        self._hyper_coder = SymbolCoder(hyper_tables)
        self._coder = SymbolCoder(tables)
        self._mean_bits = mean_bits
        self._qualities = qualities
        self.bit_price = BIT_PRICE

    def parameters(self, z: Int32, quality: int) -> tuple[Float32 | None, Int32]:
        """Means (or None), in units of latents, and the index of each latent's table."""
        found = self._run(z)  # (blocks, h, w, 2 M) or (blocks, h, w, M)
        mean = None
        if self._mean_bits is not None:
            units, found = np.split(found, 2, axis=-1)
            mean = units.astype(np.float32) * np.float32(2.0**-self._mean_bits)
        place = found + self._qualities[quality].offset
        return mean, np.clip(place, 0, len(self._coder.tables) - 1).astype(np.int32)

    def for_picture(self, latents: Mapping[str, Float32]) -> Self:
        """See `LatentCoder`. What the network says is the same in all qualities."""
        found = self._run(whole_numbers(latents["z"]))
        copied = super().for_picture(latents)
        copied._run = lambda _: found
        return copied

    def steps(self, quality: int) -> Float32:
        """See `LatentCoder`."""
        return self._qualities[quality].back

    def before_rounding(
        self, y_hat: Float32, latents: Mapping[str, Float32], quality: int
    ) -> Float32:
        """See `LatentCoder`. Gains there and back were learned, and are no inverses."""
        mean, _ = self.parameters(whole_numbers(latents["z"]), quality)
        factor = np.float32(1) / (self.steps(quality) * np.float32(self._qualities[quality].gain))
        return y_hat * factor if mean is None else mean + (y_hat - mean) * factor

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
        scaled = residual * np.float32(self._qualities[quality].gain)
        y = thrifty(scaled, index, self.tables, self.bit_price)
        return z, y, mean, index

    def _values(self, y: Int32, mean: Float32 | None, quality: int) -> Float32:
        """The latents that symbols stand for."""
        y_hat = y.astype(np.float32) * self._qualities[quality].back
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
