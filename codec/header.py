"""The header of a `.nic` file: what is known before anything is decoded."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from enum import IntEnum

from codec.byte_reader import ByteReader, varint
from codec.errors import NicFieldError, NicMagicError, NicVersionError
from codec.tiling import MAX_TILES, Tiling
from codec.whole_file import CRC_BYTES, DIGEST_BYTES, check_digest

MAGIC = b"\x89NIC"
VERSION = 1
MAX_SIDE = 1 << 20
MAX_PIXELS = 1 << 30
MAX_QUALITY = 255
MAX_ORIENTATION = 8

MODE_MASK = 0b11
TILED_BIT = 1 << 2
ORIENTATION_SHIFT = 3
ORIENTATION_MASK = 0b111
UNUSED_BITS = 0b11 << 6


class Mode(IntEnum):
    """What the three or the one channel mean; 8 bits each."""

    GRAYSCALE = 0
    RGB = 1

    @property
    def channels(self) -> int:
        """Channels of the image, alpha not counted."""
        return 3 if self is Mode.RGB else 1


@dataclass(frozen=True)
class Header:
    """The fields that every `.nic` file begins with.

    Attributes:
        model_digest: the first 8 bytes of the SHA-256 that names the model.
        width: of the coded picture in pixels, before `orientation` is applied; 1 to 2**20.
        height: likewise; width * height is at most 2**30.
        mode: grayscale or RGB.
        latents_crc32: CRC32 of the latents in the order of coding; see `latents_crc32`.
        quality: which of the model's qualities; 0 to 255.
        orientation: EXIF orientation, 1 to 8: how to turn the decoded picture.
        tiling: how the picture is cut; None for a single piece.

    Raises:
        NicFieldError: a value is out of range, or a tiling does not make 2 to 65536 tiles.
    """

    model_digest: bytes
    width: int
    height: int
    mode: Mode
    latents_crc32: int
    quality: int = 0
    orientation: int = 1
    tiling: Tiling | None = None

    def __post_init__(self) -> None:
        for name in ("width", "height", "latents_crc32", "quality", "orientation"):
            object.__setattr__(self, name, operator.index(getattr(self, name)))  # NumPy's too
        if len(self.model_digest) != DIGEST_BYTES:
            raise NicFieldError(f"a model digest has {DIGEST_BYTES} bytes")
        _in_range("the width", self.width, 1, MAX_SIDE)
        _in_range("the height", self.height, 1, MAX_SIDE)
        if self.pixels > MAX_PIXELS:
            raise NicFieldError(
                f"{self.width} x {self.height} pixels; {MAX_PIXELS} are allowed in all"
            )
        _in_range("the quality", self.quality, 0, MAX_QUALITY)
        _in_range("the orientation", self.orientation, 1, MAX_ORIENTATION)
        _in_range("the CRC32 of the latents", self.latents_crc32, 0, (1 << 32) - 1)
        if self.tiling is not None:
            _in_range("the number of tiles", self.tiles, 2, MAX_TILES)

    @property
    def pixels(self) -> int:
        """width * height."""
        return self.width * self.height

    @property
    def tiles(self) -> int:
        """How many pieces the picture was coded in."""
        return 1 if self.tiling is None else self.tiling.count(self.width, self.height)

    def check_model(self, digest: bytes) -> None:
        """Compares the model at hand with the one that wrote the file; see `check_digest`."""
        check_digest(self.model_digest, digest)

    def to_bytes(self) -> bytes:
        """The header up to the list of sections; docs/bitstream.md, section 3."""
        flags = self.mode | (self.orientation - 1) << ORIENTATION_SHIFT
        geometry = varint(self.width - 1) + varint(self.height - 1)
        if self.tiling is not None:
            flags |= TILED_BIT
            geometry += varint(self.tiling.tile) + varint(self.tiling.overlap)
        fixed = MAGIC + bytes([VERSION]) + self.model_digest + bytes([flags, self.quality])
        return fixed + geometry + self.latents_crc32.to_bytes(CRC_BYTES, "little")

    @classmethod
    def read(cls, reader: ByteReader) -> Header:
        """Reads what `to_bytes` wrote, and leaves the reader behind it.

        Raises:
            NicMagicError: this is not a `.nic` file.
            NicVersionError: its version is not 1.
            NicFieldError: a field is out of range.
            NicTruncatedError: the bytes end too early.
        """
        if not MAGIC.startswith(reader.peek(len(MAGIC))):
            raise NicMagicError("this is not a .nic file")
        reader.take(len(MAGIC), "the magic")
        version = reader.byte("the version")
        if version > VERSION:
            raise NicVersionError(
                f"the file has version {version} of the format, this program reads version "
                f"{VERSION}: a newer Codecsmith wrote it"
            )
        if version != VERSION:
            raise NicVersionError(f"there is no version {version} of the format")
        digest = reader.take(DIGEST_BYTES, "the model's digest")
        flags = reader.byte("the flags")
        quality = reader.byte("the quality")
        mode = flags & MODE_MASK
        if flags & UNUSED_BITS or mode > max(Mode):
            raise NicFieldError(f"the flags are {flags:#04x}, which means nothing")
        width = reader.varint("the width") + 1
        height = reader.varint("the height") + 1
        tiling = None
        if flags & TILED_BIT:
            tiling = Tiling(reader.varint("the tile size"), reader.varint("the overlap"))
        return cls(
            model_digest=digest,
            width=width,
            height=height,
            mode=Mode(mode),
            latents_crc32=reader.uint32("the CRC32 of the latents"),
            quality=quality,
            orientation=1 + (flags >> ORIENTATION_SHIFT & ORIENTATION_MASK),
            tiling=tiling,
        )


def _in_range(field: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise NicFieldError(f"{field} is {value}; {least} to {most} are allowed")
