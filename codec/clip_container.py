"""The `.nicv` file: header, groups of frames, checksum. docs/clip_format.md, section 2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from codec.byte_reader import ByteReader, varint
from codec.clip_header import ClipHeader
from codec.errors import NicFieldError, NicTruncatedError
from codec.whole_file import CRC_BYTES, check_whole, sealed

PIXELS_PER_BYTE: Final = 1 << 16
"""Pixels that all frames may have for each byte of the file; a smaller file is padded."""
MAX_STREAM_BYTES: Final = (1 << 31) - 1
LEAST_ENTRY_BYTES: Final = 1 + CRC_BYTES
"""Of a group in the list of groups."""


@dataclass(frozen=True)
class Group:
    """A key frame and the frames up to the next.

    Attributes:
        stream: their latents, entropy-coded as one; may be empty.
        latents_crc32: CRC32 of the latents in the order of coding; see `latents_crc32`.

    Raises:
        NicFieldError: a value is out of range.
    """

    stream: bytes
    latents_crc32: int

    def __post_init__(self) -> None:
        if not 0 <= self.latents_crc32 < 1 << 32:
            raise NicFieldError(f"the CRC32 of a group is {self.latents_crc32}")
        if len(self.stream) > MAX_STREAM_BYTES:
            raise NicFieldError(
                f"a group of {len(self.stream)} bytes; {MAX_STREAM_BYTES} are allowed"
            )


@dataclass(frozen=True)
class ClipInfo:
    """What a file says about itself before its payload.

    Attributes:
        header: the fields of the header.
        lengths: bytes of each group's stream.
        checksums: CRC32 of each group's latents.
        header_bytes: where the first stream begins.
    """

    header: ClipHeader
    lengths: tuple[int, ...]
    checksums: tuple[int, ...]
    header_bytes: int

    @property
    def padding(self) -> int:
        """Bytes of 0 between the last stream and the checksum."""
        taken = self.header_bytes + sum(self.lengths) + CRC_BYTES
        return max(0, least_file_bytes(self.header) - taken)

    @property
    def file_bytes(self) -> int:
        """Size of the whole file, its last checksum included."""
        return self.header_bytes + sum(self.lengths) + self.padding + CRC_BYTES


@dataclass(frozen=True)
class ClipFile:
    """A `.nicv` file in memory.

    Attributes:
        header: the fields of the header.
        groups: one for each key frame.

    Raises:
        NicFieldError: the number of groups is not that of the header.
    """

    header: ClipHeader
    groups: tuple[Group, ...]

    def __post_init__(self) -> None:
        if len(self.groups) != self.header.groups:
            raise NicFieldError(f"{len(self.groups)} groups for {self.header.groups} key frames")

    def to_bytes(self) -> bytes:
        """The file's bytes, one string for each content."""
        parts = [self.header.to_bytes()]
        for group in self.groups:
            parts.append(varint(len(group.stream)))
            parts.append(group.latents_crc32.to_bytes(CRC_BYTES, "little"))
        body = b"".join([*parts, *(group.stream for group in self.groups)])
        body += bytes(max(0, least_file_bytes(self.header) - CRC_BYTES - len(body)))
        return sealed(body)

    @classmethod
    def from_bytes(cls, data: bytes) -> ClipFile:
        """Reads a file. What is accepted is what `to_bytes` writes, byte for byte.

        The latents are not decoded; see `check_latents` for what is left to check.

        Raises:
            NicError: a subclass for each cause.
        """
        info = read_clip_info(data)
        check_whole(data, info.file_bytes)
        reader = ByteReader(data)
        reader.take(info.header_bytes, "the header")
        groups = tuple(
            Group(reader.take(length, "a group"), crc)
            for length, crc in zip(info.lengths, info.checksums, strict=True)
        )
        if any(reader.take(info.padding, "the padding")):
            raise NicFieldError("the padding is not 0")
        return cls(info.header, groups)


def read_clip_info(data: bytes) -> ClipInfo:
    """What a file says about itself; its streams and its checksum are not looked at.

    Raises:
        NicError: a subclass for each cause.
    """
    reader = ByteReader(data)
    header = ClipHeader.read(reader)
    least = reader.position + header.groups * LEAST_ENTRY_BYTES
    if len(data) < least:
        raise NicTruncatedError(
            f"the file is cut short: a list of {header.groups} groups ends at byte {least} or "
            f"later, the file at {len(data)}"
        )
    lengths, checksums = [], []
    for _ in range(header.groups):
        length = reader.varint("a group's length")
        if length > MAX_STREAM_BYTES:
            raise NicFieldError(f"a group of {length} bytes; {MAX_STREAM_BYTES} are allowed")
        lengths.append(length)
        checksums.append(reader.uint32("a group's CRC32"))
    return ClipInfo(header, tuple(lengths), tuple(checksums), reader.position)


def least_file_bytes(header: ClipHeader) -> int:
    """Bytes that a file of such a clip has at least."""
    return -(-header.frame_pixels * header.frames // PIXELS_PER_BYTE)
