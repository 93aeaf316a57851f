"""What a file may make the networks of a model do. docs/bundle.md, section 3."""

from __future__ import annotations

from typing import Final

from codec.bundle import Bundle
from codec.errors import NicFieldError
from codec.geometry import Geometry
from codec.header import Header

TILE: Final = 1024
"""Side of tiles where the user names none; the networks of any model work on as much at once."""
WHOLE_BYTES: Final = 3 << 29
"""Memory that transforms of a picture in one piece may take; above it, pictures are tiled."""
MOST_BYTES: Final = 6 << 30
"""Memory that one piece may take: what a machine of 8 GiB has to give, and four times what an
encoder takes by itself, which leaves room for tiles of the user's choice. A file of a megabyte
could ask for 2**30 pixels in one piece, 48 GiB of a small model."""
FREE_PIXELS: Final = 1 << 22
"""Pixels, padding included, that any file may make the model work on."""
PADDED_PIXELS_PER_BYTE: Final = 8192
"""What a larger file may, for each of its bytes. The format bounds the picture, 2048 pixels for
each byte; this bounds what a thin one is padded to."""

Box = tuple[int, int, int, int]


def boxes_of(header: Header) -> list[Box]:
    """(left, top, right, bottom) of each tile, or of the whole picture."""
    if header.tiling is None:
        return [(0, 0, header.width, header.height)]
    return list(header.tiling.boxes(header.width, header.height))


def padded_pixels(geometry: Geometry, header: Header) -> int:
    """What the model works on for a picture, all its pieces together."""
    return sum(_pieces(geometry, header))


def most_pixels(geometry: Geometry, file_bytes: int) -> int:
    """Pixels, padding included, that a file of this size may have."""
    height, width = geometry.first
    return max(FREE_PIXELS, height * width, PADDED_PIXELS_PER_BYTE * file_bytes)


def check_memory(bundle: Bundle, header: Header) -> None:
    """Whether the networks can work on each piece of a picture.

    Blocks of one size are worked on some at a time, whatever the picture.

    Raises:
        NicFieldError: a piece takes too much memory.
    """
    geometry = bundle.geometry
    if geometry.step == (0, 0):
        return
    each = bundle.manifest.geometry.bytes_per_pixel
    most = max(MOST_BYTES // each, geometry.plan(TILE, TILE).padded_pixels)
    largest = max(_pieces(geometry, header))
    if largest > most:
        raise NicFieldError(
            f"{header.width} x {header.height} pixels, {largest:,} of them in one piece, which "
            f"takes about {largest * each / 2**30:.1f} GiB; this model works on at most {most:,} "
            "at once: smaller tiles are needed"
        )


def _pieces(geometry: Geometry, header: Header) -> list[int]:
    sides = [(bottom - top, right - left) for left, top, right, bottom in boxes_of(header)]
    return [geometry.plan(*each).padded_pixels for each in sides]
