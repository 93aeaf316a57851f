"""The header of a `.nicv` file: what is known of a clip before anything is decoded."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from fractions import Fraction
from math import gcd
from typing import Final

from codec.byte_reader import ByteReader, varint
from codec.errors import NicFieldError, NicMagicError, NicVersionError
from codec.header import MAX_PIXELS, MAX_QUALITY, MAX_SIDE, Mode
from codec.whole_file import DIGEST_BYTES, check_digest

MAGIC: Final = b"\x89NIV"
VERSION: Final = 1
MAX_FRAMES: Final = 1 << 24
MAX_INTERVAL: Final = 1 << 16
MAX_RATE_PART: Final = (1 << 31) - 1
MAX_GROUP_PIXELS: Final = 1 << 26
"""Pixels of the frames between two key frames: a decoder holds their latents at once."""


@dataclass(frozen=True)
class ClipHeader:
    """The fields that every `.nicv` file begins with.

    Attributes:
        model_digest: the first 8 bytes of the SHA-256 that names the model.
        width: of all frames, in pixels; 1 to 2**20.
        height: likewise; width * height is at most 2**30.
        mode: grayscale or RGB.
        rate: frames per second; numerator and denominator are at most 2**31 - 1.
        frames: how many, 1 to 2**24.
        interval: frames from one key frame to the next, 1 to 2**16; above 1, they have at most
            2**26 pixels together.
        quality: which of the model's qualities; 0 to 255.

    Raises:
        NicFieldError: a value is out of range.
    """

    model_digest: bytes
    width: int
    height: int
    mode: Mode
    rate: Fraction
    frames: int
    interval: int
    quality: int = 0

    def __post_init__(self) -> None:
        for name in ("width", "height", "frames", "interval", "quality"):
            object.__setattr__(self, name, operator.index(getattr(self, name)))  # NumPy's too
        if len(self.model_digest) != DIGEST_BYTES:
            raise NicFieldError(f"a model digest has {DIGEST_BYTES} bytes")
        _in_range("the width", self.width, MAX_SIDE)
        _in_range("the height", self.height, MAX_SIDE)
        if self.frame_pixels > MAX_PIXELS:
            raise NicFieldError(
                f"frames of {self.width} x {self.height} pixels; {MAX_PIXELS} are allowed in all"
            )
        _in_range("the rate's numerator", self.rate.numerator, MAX_RATE_PART)
        _in_range("the rate's denominator", self.rate.denominator, MAX_RATE_PART)
        _in_range("the number of frames", self.frames, MAX_FRAMES)
        _in_range("the key frame interval", self.interval, MAX_INTERVAL)
        _in_range("the quality", self.quality, MAX_QUALITY, least=0)
        if self.interval > most_interval(self.frame_pixels):
            raise NicFieldError(
                f"a key frame every {self.interval} frames of {self.width} x {self.height} "
                f"pixels; every {most_interval(self.frame_pixels)} is allowed"
            )

    @property
    def frame_pixels(self) -> int:
        """width * height."""
        return self.width * self.height

    @property
    def groups(self) -> int:
        """Key frames."""
        return -(-self.frames // self.interval)

    def frames_of(self, group: int) -> int:
        """How many frames a group has; it begins with a key frame."""
        return min(self.interval, self.frames - group * self.interval)

    def check_model(self, digest: bytes) -> None:
        """Compares the model at hand with the one that wrote the file; see `check_digest`."""
        check_digest(self.model_digest, digest)

    def to_bytes(self) -> bytes:
        """The header up to the list of groups; docs/clip_format.md, section 2."""
        fixed = MAGIC + bytes([VERSION]) + self.model_digest + bytes([self.mode, self.quality])
        numbers = (
            *(self.width, self.height, self.rate.numerator, self.rate.denominator),
            *(self.frames, self.interval),
        )
        return fixed + b"".join(varint(number - 1) for number in numbers)

    @classmethod
    def read(cls, reader: ByteReader) -> ClipHeader:
        """Reads what `to_bytes` wrote, and leaves the reader behind it.

        Raises:
            NicMagicError: this is not a `.nicv` file.
            NicVersionError: its version is not 1.
            NicFieldError: a field is out of range.
            NicTruncatedError: the bytes end too early.
        """
        if not MAGIC.startswith(reader.peek(len(MAGIC))):
            raise NicMagicError("this is not a .nicv file")
        reader.take(len(MAGIC), "the magic")
        version = reader.byte("the version")
        if version != VERSION:
            newer = ": a newer Codecsmith wrote it" if version > VERSION else ""
            raise NicVersionError(
                f"the file has version {version} of the format, this program reads version "
                f"{VERSION}{newer}"
            )
        digest = reader.take(DIGEST_BYTES, "the model's digest")
        mode = reader.byte("the mode")
        quality = reader.byte("the quality")
        if mode > max(Mode):
            raise NicFieldError(f"the mode is {mode}, which means nothing")
        width = reader.varint("the width") + 1
        height = reader.varint("the height") + 1
        numerator = reader.varint("the rate's numerator") + 1
        denominator = reader.varint("the rate's denominator") + 1
        if gcd(numerator, denominator) != 1:
            raise NicFieldError(f"the rate {numerator}/{denominator} is not in lowest terms")
        return cls(
            model_digest=digest,
            width=width,
            height=height,
            mode=Mode(mode),
            rate=Fraction(numerator, denominator),
            frames=reader.varint("the number of frames") + 1,
            interval=reader.varint("the key frame interval") + 1,
            quality=quality,
        )


def most_interval(frame_pixels: int) -> int:
    """The largest key frame interval for frames of so many pixels."""
    return max(1, min(MAX_INTERVAL, MAX_GROUP_PIXELS // frame_pixels))


def _in_range(field: str, value: int, most: int, least: int = 1) -> None:
    if not least <= value <= most:
        raise NicFieldError(f"{field} is {value}; {least} to {most} are allowed")
