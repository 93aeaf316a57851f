"""The checksum that tells whether a decoder found the symbols that were coded."""

import zlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from codec.errors import NicLatentsError


def latents_crc32(arrays: Iterable[ArrayLike], start: int = 0) -> int:
    """CRC-32 of latents, as they go into the entropy coder and come out of it.

    Args:
        arrays: integers within int32, or float32 for latents that are stored as they are; any
            shapes. They count one after another in C order as four bytes, little-endian, each.
        start: the value for what came before, to go on with (the next tile, for instance).

    Returns:
        CRC-32 as in zlib and PNG (polynomial 0x04C11DB7, reflected), 0 to 2**32 - 1.

    Raises:
        ValueError: an array is neither.
    """
    crc = start
    for given in arrays:
        array = np.asarray(given)
        if array.dtype == np.float32:
            data = array.astype("<f4")
        elif array.dtype.kind in "iu":
            data = array.astype("<i4")
            if not np.array_equal(data, array):
                raise ValueError("latents are integers that fit 32 bits")
        else:
            raise ValueError(f"latents are integers or float32, not {array.dtype}")
        crc = zlib.crc32(np.ascontiguousarray(data).data, crc)
    return crc


def check_latents(arrays: Iterable[ArrayLike], expected: int) -> None:
    """Compares decoded latents with what the file says was coded.

    Args:
        arrays: as in `latents_crc32`, in the order in which they were coded.
        expected: `Header.latents_crc32`.

    Raises:
        NicLatentsError: they differ.
    """
    found = latents_crc32(arrays)
    if found != expected:
        raise NicLatentsError(
            f"the decoded latents are not the ones that were coded: their CRC32 is {found:08x}, "
            f"the file says {expected:08x}"
        )
