"""What `.nic` and `.nicv` files share: the model they name, the size they announce, a checksum."""

from __future__ import annotations

import zlib
from typing import Final

from codec.errors import (
    NicChecksumError,
    NicModelError,
    NicTrailingError,
    NicTruncatedError,
)

DIGEST_BYTES: Final = 8
CRC_BYTES: Final = 4


def check_digest(stored: bytes, digest: bytes) -> None:
    """Compares the model at hand with the one that wrote a file.

    Args:
        stored: in the file.
        digest: the model's, of which the first 8 bytes count.

    Raises:
        NicModelError: it is another model.
    """
    if digest[:DIGEST_BYTES] != stored:
        raise NicModelError(
            f"the file was written with model {stored.hex()}, "
            f"this is model {digest[:DIGEST_BYTES].hex()}"
        )


def check_size(found: int, announced: int) -> None:
    """Compares a file's size with the one that it announces.

    Raises:
        NicTruncatedError: it is shorter.
        NicTrailingError: it goes on.
    """
    if found < announced:
        raise NicTruncatedError(f"the file is cut short: it has {found} of {announced} bytes")
    if found > announced:
        raise NicTrailingError(f"the file goes on for {found - announced} bytes after its end")


def check_whole(data: bytes, announced: int) -> None:
    """Checks size and checksum of a file.

    Raises:
        NicError: a subclass for each cause.
    """
    check_size(len(data), announced)
    stored = int.from_bytes(data[-CRC_BYTES:], "little")
    if zlib.crc32(memoryview(data)[:-CRC_BYTES]) != stored:
        raise NicChecksumError("the file is damaged: its checksum does not match")


def sealed(body: bytes) -> bytes:
    """The bytes of a file with their checksum behind them."""
    return body + zlib.crc32(body).to_bytes(CRC_BYTES, "little")
