"""What codes latents: from arrays of numbers to a stream of bytes and back."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from codec.errors import NicBundleError
from codec.tables import TableSet

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]
Shapes = Mapping[str, tuple[int, ...]]


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
    """What all coders do. `y` are the latents, `z` the hyper-latents where there are any.

    Attributes:
        names: of the latents.
        bit_price: how readily the encoder takes a cheaper symbol, see `thrifty`; None where latents
            are no symbols of an entropy model.
    """

    names: tuple[str, ...]
    bit_price: float | None = None

    def for_picture(self, latents: Mapping[str, Float32]) -> Self:
        """A copy for these hyper-latents alone, which has done all that depends on no more.

        Args:
            latents: as in `encode`.

        Raises:
            LatentsError: a hyper-latent is not finite.
        """
        return copy.copy(self)

    def steps(self, quality: int) -> Float32:
        """How far apart the values are that latents are rounded to; float32 () or (M,)."""
        return np.asarray(1, np.float32)

    def before_rounding(
        self, y_hat: Float32, latents: Mapping[str, Float32], quality: int
    ) -> Float32:
        """The `y` that would be rounded to these values, were there symbols between symbols.

        Args:
            y_hat: as a decoder gets them.
            latents: whose hyper-latents these have.
            quality: index of the quality.
        """
        return y_hat

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


def check_channels(tables: TableSet, channels: int, what: str) -> None:
    """One table for each channel, or one for all.

    Raises:
        NicBundleError: there are others.
    """
    if len(tables) not in (1, channels):
        raise NicBundleError(f"{len(tables)} tables for {channels} channels of {what}")
