"""Classical codecs on small tiles, without the cost of a file for each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from evaluation.classical_codecs import MissingCodecError, classical_codecs
from evaluation.codecs import Codec, CodecError
from evaluation.measures import CAP_DB, PEAK
from evaluation.rate_distortion_figure import Curve, Points

BLOCK: Final = 16
"""Side of JPEG's blocks with halved colour, and of WebP's: tiles begin on their borders."""
FAMILIES: Final = ("jpeg", "webp")
"""Of each, the first codec of the benchmark: JPEG 4:2:0, and WebP's default method."""


def psnr_db(originals: NDArray[Any], decoded: NDArray[Any]) -> list[float]:
    """PSNR of each image, at most 100 dB; both (N, H, W, C) in [0, 255]."""
    error = np.square(np.asarray(decoded, np.float64) - originals).mean(axis=(1, 2, 3))
    floor = PEAK**2 / 10 ** (CAP_DB / 10)
    return [float(each) for each in 10 * np.log10(PEAK**2 / np.maximum(error, floor))]


def classical_curves(tiles: NDArray[np.uint8]) -> list[Curve]:
    """Rate and distortion of JPEG and WebP at half of the benchmark's qualities.

    40 tiles of 256x256 pixels take some two seconds of one core.

    All tiles are coded as one picture. Small files would be decided by their headers: 600 bytes of
    a JPEG are 0.5 bits per pixel of 96x96 pixels, and a model's bits have no header either.

    Args:
        tiles: (N, H, W, C) with 1 or 3 channels; others have no curves.

    Returns:
        A curve for each codec: bytes of the picture over the pixels of the tiles, and the mean over
        the tiles of their PSNR. It has no points where the codec can't do it, as its label says.
    """
    if tiles.shape[-1] not in (1, 3):
        return []
    tiles = np.broadcast_to(tiles, (*tiles.shape[:3], 3))
    curves = []
    for family in FAMILIES:
        try:
            codec = classical_codecs(family, threads=1)[0]
        except MissingCodecError as error:
            curves.append(Curve(family, str(error), Points((), ())))
            continue
        try:
            curves.append(Curve(family, codec.label, _measured(codec, tiles)))
        except CodecError as error:  # such as a sheet larger than the format allows
            curves.append(Curve(family, f"{codec.label}: {error}", Points((), ())))
    return curves


def _measured(codec: Codec, tiles: NDArray[np.uint8]) -> Points:
    sheet = _sheet(tiles)
    rates, qualities = [], []
    for setting in codec.settings[::2]:
        data = codec.encode(sheet, setting)
        decoded = _tiles(codec.decode(data), tiles.shape)
        rates.append(8 * len(data) / math.prod(tiles.shape[:3]))
        qualities.append(float(np.mean(psnr_db(tiles, decoded))))
    return Points(tuple(rates), tuple(qualities))


def _layout(shape: Sequence[int]) -> tuple[int, int, int, int]:
    """Rows and columns of a sheet of tiles (N, H, W, C), and a cell's height and width."""
    count, height, width = shape[:3]
    cell = (-(-height // BLOCK) * BLOCK, -(-width // BLOCK) * BLOCK)
    columns = min(count, max(1, round(math.sqrt(count * cell[0] / cell[1]))))
    return -(-count // columns), columns, *cell


def _sheet(tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One picture of all tiles; what is between and after them is cheap to code."""
    rows, columns, height, width = _layout(tiles.shape)
    missing = rows * columns - len(tiles)
    plain = np.broadcast_to(tiles[-1, -1, -1], (missing, *tiles.shape[1:]))
    tiles = np.concatenate([tiles, plain])
    padding = ((0, 0), (0, height - tiles.shape[1]), (0, width - tiles.shape[2]), (0, 0))
    cells = np.pad(tiles, padding, mode="edge").reshape(rows, columns, height, width, 3)
    return cells.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, 3)


def _tiles(sheet: NDArray[np.uint8], shape: Sequence[int]) -> NDArray[np.uint8]:
    """The inverse of `_sheet`."""
    rows, columns, height, width = _layout(shape)
    cells = sheet.reshape(rows, height, columns, width, 3).transpose(0, 2, 1, 3, 4)
    return cells.reshape(-1, height, width, 3)[: shape[0], : shape[1], : shape[2]]
