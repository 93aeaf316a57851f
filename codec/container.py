"""The `.nic` file: header, sections, checksum. docs/bitstream.md, section 3."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from codec.byte_reader import ByteReader, varint
from codec.errors import (
    NicFieldError,
)
from codec.header import Header
from codec.tiling import MAX_TILES
from codec.whole_file import CRC_BYTES, check_size, check_whole, sealed

PIXELS_PER_BYTE = 2048
"""Pixels that a file may have for each of its bytes; a file that is smaller is padded."""
MAX_SECTION_BYTES = (1 << 31) - 1
MAX_ICC_BYTES = 4 << 20
MAX_EXIF_BYTES = 1 << 20
MORE_BIT = 1
KIND_SHIFT = 1
KIND_MASK = 0b111
LENGTH_SHIFT = 4


class SectionKind(IntEnum):
    """What a section holds. Sections stand in this order."""

    LATENTS = 0
    ALPHA = 1
    ICC = 2
    EXIF = 3
    PADDING = 4


MAX_ENTRY_BYTES = len(varint(MAX_SECTION_BYTES << LENGTH_SHIFT))
MAX_HEADER_BYTES = 39 + MAX_ENTRY_BYTES * (MAX_TILES + len(SectionKind))


@dataclass(frozen=True)
class Section:
    """A run of bytes in the file, without the bytes."""

    kind: SectionKind
    length: int


@dataclass(frozen=True)
class FileInfo:
    """What a file says about itself before its payload.

    Attributes:
        header: the fields of the header.
        sections: the sections in the order of the file.
        header_bytes: where the first section begins.
    """

    header: Header
    sections: tuple[Section, ...]
    header_bytes: int

    @property
    def file_bytes(self) -> int:
        """Size of the whole file, its last checksum included."""
        return self.header_bytes + sum(s.length for s in self.sections) + CRC_BYTES

    def bytes_of(self, kind: SectionKind) -> int:
        """Bytes of all sections of a kind; 0 where there is none."""
        return sum(s.length for s in self.sections if s.kind == kind)

    @property
    def has_alpha(self) -> bool:
        """Whether the picture has an alpha plane."""
        return self.bytes_of(SectionKind.ALPHA) > 0


@dataclass(frozen=True)
class NicFile:
    """A `.nic` file in memory.

    Attributes:
        header: the fields of the header.
        latents: one coded stream, or one for each tile, row by row; each may be empty.
        alpha: the coded alpha plane (`encode_alpha`), or None.
        icc_profile: the ICC profile as it is, up to 4 MiB, or None.
        exif: the EXIF block as it is (from "II" or "MM" on), up to 1 MiB, or None. Its orientation
            does not count, the header's does.

    Raises:
        NicFieldError: the number of streams is not that of the tiles, or a section is empty or too
            long.
    """

    header: Header
    latents: tuple[bytes, ...]
    alpha: bytes | None = None
    icc_profile: bytes | None = None
    exif: bytes | None = None

    def __post_init__(self) -> None:
        _check_sections(self.header, tuple(Section(k, len(c)) for k, c in self._contents()))

    def _contents(self) -> list[tuple[SectionKind, bytes]]:
        contents = [(SectionKind.LATENTS, stream) for stream in self.latents]
        for kind, content in (
            (SectionKind.ALPHA, self.alpha),
            (SectionKind.ICC, self.icc_profile),
            (SectionKind.EXIF, self.exif),
        ):
            if content is not None:
                contents.append((kind, content))
        return contents

    def to_bytes(self) -> bytes:
        """The file's bytes, one string for each content."""
        contents = self._contents()
        body = self._body(contents)
        missing = least_file_bytes(self.header) - len(body) - CRC_BYTES
        if missing > 0:
            # The section's own entry in the list counts too: the last padding that is not too long.
            padding = max(0, missing - MAX_ENTRY_BYTES)
            while len(body) + CRC_BYTES < least_file_bytes(self.header):
                body = self._body([*contents, (SectionKind.PADDING, bytes(padding))])
                padding += 1
        return sealed(body)

    def _body(self, contents: list[tuple[SectionKind, bytes]]) -> bytes:
        entries = [
            len(content) << LENGTH_SHIFT | kind << KIND_SHIFT | (MORE_BIT if rest else 0)
            for rest, (kind, content) in zip(
                range(len(contents) - 1, -1, -1), contents, strict=True
            )
        ]
        parts = [self.header.to_bytes(), *map(varint, entries), *(c for _, c in contents)]
        return b"".join(parts)

    @classmethod
    def from_bytes(cls, data: bytes) -> NicFile:
        """Reads a file. What is accepted is what `to_bytes` writes, byte for byte.

        The latents are not decoded; see `check_latents` for what is left to check.

        Raises:
            NicError: a subclass for each cause.
        """
        info = _read_info(data)
        check_whole(data, info.file_bytes)
        reader = ByteReader(data)
        reader.take(info.header_bytes, "the header")
        contents = [(s.kind, reader.take(s.length, s.kind.name)) for s in info.sections]
        single = dict(contents)
        file = cls(
            header=info.header,
            latents=tuple(c for kind, c in contents if kind is SectionKind.LATENTS),
            alpha=single.get(SectionKind.ALPHA),
            icc_profile=single.get(SectionKind.ICC),
            exif=single.get(SectionKind.EXIF),
        )
        if SectionKind.PADDING in single and file.to_bytes() != data:
            raise NicFieldError("the padding is not the one that the size of the picture asks for")
        return file


def least_file_bytes(header: Header) -> int:
    """The smallest size of a file with a picture of this size.

    It bounds what a small file can make a decoder do.
    """
    return -(-header.pixels // PIXELS_PER_BYTE)


def read_info(source: str | Path | bytes) -> FileInfo:
    """Reads what a file says about itself; the payload is not looked at, nor its checksum.

    Args:
        source: a path, or the file's bytes.

    Raises:
        NicError: a subclass for each cause, also when the file's size is not the one it announces.
        OSError: the file can't be read.
    """
    if isinstance(source, bytes):
        data, size = source, len(source)
    else:
        with Path(source).open("rb") as file:
            data = file.read(MAX_HEADER_BYTES)
            size = max(len(data), file.seek(0, 2))
    info = _read_info(data)
    check_size(size, info.file_bytes)
    return info


def _read_info(data: bytes) -> FileInfo:
    reader = ByteReader(data)
    header = Header.read(reader)
    sections: list[Section] = []
    kinds = {int(kind): kind for kind in SectionKind}
    most_sections = header.tiles + len(kinds)
    more = True
    while more:
        entry = reader.varint("the list of sections")
        more = bool(entry & MORE_BIT)
        kind, length = entry >> KIND_SHIFT & KIND_MASK, entry >> LENGTH_SHIFT
        if kind not in kinds:
            raise NicFieldError(f"there is no section of kind {kind}")
        sections.append(Section(kinds[kind], length))
        if len(sections) > most_sections:
            raise NicFieldError(f"more than {most_sections} sections")
    _check_sections(header, tuple(sections))
    info = FileInfo(header, tuple(sections), reader.position)
    if info.file_bytes < least_file_bytes(header):
        raise NicFieldError(
            f"{header.width} x {header.height} pixels in {info.file_bytes} bytes: a file of that "
            f"size has at least {least_file_bytes(header)}"
        )
    return info


def _check_sections(header: Header, sections: tuple[Section, ...]) -> None:
    kinds = [section.kind for section in sections]
    if kinds != sorted(kinds):
        raise NicFieldError("the sections are out of order")
    streams = kinds.count(SectionKind.LATENTS)
    if streams != header.tiles:
        raise NicFieldError(f"{streams} sections of latents for {header.tiles} tiles")
    if len(set(kinds)) - 1 != len(kinds) - streams:
        raise NicFieldError("a section that may stand once stands twice")
    most = {
        SectionKind.ALPHA: header.pixels + header.pixels // 64 + 64,
        SectionKind.ICC: MAX_ICC_BYTES,
        SectionKind.EXIF: MAX_EXIF_BYTES,
        SectionKind.PADDING: least_file_bytes(header),
    }
    for section in sections:
        limit = most.get(section.kind, MAX_SECTION_BYTES)
        if section.length > limit:
            raise NicFieldError(
                f"section {section.kind.name} of {section.length} bytes; {limit} are allowed"
            )
        if not section.length and section.kind not in (SectionKind.LATENTS, SectionKind.PADDING):
            raise NicFieldError(f"section {section.kind.name} is empty")
