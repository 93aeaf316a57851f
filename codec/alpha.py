"""The alpha plane, without loss: a predictor and deflate. docs/bitstream.md, section 7."""

import zlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from codec.errors import NicAlphaError

Plane = NDArray[np.uint8]

LEVEL = 9
SAMPLED_PIXELS = 1 << 20
"""The predictor is chosen on about this many pixels."""


def _left(plane: Plane) -> Plane:
    """Differences from the pixel to the left, modulo 256; from 0 in the first column."""
    return np.diff(plane, axis=1, prepend=np.uint8(0))


def _up(plane: Plane) -> Plane:
    """Differences from the pixel above, modulo 256; from 0 in the first row."""
    return np.diff(plane, axis=0, prepend=np.uint8(0))


def _undo_left(plane: Plane) -> Plane:
    return np.cumsum(plane, axis=1, dtype=np.uint8)


def _undo_up(plane: Plane) -> Plane:
    return np.cumsum(plane, axis=0, dtype=np.uint8)


Steps = tuple[Callable[[Plane], Plane], ...]
PREDICTORS: tuple[tuple[Steps, Steps], ...] = (
    ((), ()),
    ((_left,), (_undo_left,)),
    ((_up,), (_undo_up,)),
    ((_up, _left), (_undo_left, _undo_up)),
)
"""What to do to a plane, and how to undo it; the number of a predictor is its place."""


def encode_alpha(plane: Plane) -> bytes:
    """Codes a plane without loss.

    Args:
        plane: (H, W) uint8, 0 for transparent to 255 for opaque; at least one pixel.

    Returns:
        The predictor's number and a zlib stream of the residuals.

    Raises:
        ValueError: the plane is of another shape or type.
    """
    if plane.ndim != 2 or plane.dtype != np.uint8 or not plane.size:
        raise ValueError(f"an alpha plane is (H, W) uint8, not {plane.shape} {plane.dtype}")
    stride = -(-plane.size // SAMPLED_PIXELS)

    def sampled_size(number: int) -> int:
        residual = _apply(plane, PREDICTORS[number][0])
        return len(zlib.compress(residual[::stride].tobytes(), LEVEL))

    best = min(range(len(PREDICTORS)), key=sampled_size)
    residual = _apply(plane, PREDICTORS[best][0])
    return bytes([best]) + zlib.compress(residual.tobytes(), LEVEL)


def decode_alpha(data: bytes, width: int, height: int) -> Plane:
    """Reads what `encode_alpha` wrote. Never makes more than width * height bytes.

    Args:
        data: the content of the section.
        width: of the picture, in pixels.
        height: likewise.

    Returns:
        (height, width) uint8.

    Raises:
        NicAlphaError: the bytes are not a plane of this size.
    """
    if not data or data[0] >= len(PREDICTORS):
        raise NicAlphaError("the alpha plane is damaged: it has no known predictor")
    size = width * height
    inflater = zlib.decompressobj()
    try:
        residual = inflater.decompress(memoryview(data)[1:], size + 1)
    except zlib.error as error:
        raise NicAlphaError(f"the alpha plane is damaged: {error}") from None
    if len(residual) != size or not inflater.eof or inflater.unused_data:
        raise NicAlphaError(f"the alpha plane is damaged: it does not have {size} pixels")
    plane = np.frombuffer(residual, np.uint8).reshape(height, width)
    return _apply(plane, PREDICTORS[data[0]][1]).copy()


def _apply(plane: Plane, steps: Steps) -> Plane:
    for step in steps:
        plane = step(plane)
    return plane
