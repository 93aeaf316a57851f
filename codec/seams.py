"""How tiles are joined: docs/bundle.md, section 3."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from codec.geometry import Pixels
from codec.tiling import Tiling

MARGIN: Final = 8
"""Outermost pixels of a tile that are not used where there is a neighbour."""

Weights = NDArray[np.float32]


def fade_in(
    pixels: Pixels, piece: Pixels, box: tuple[int, int, int, int], tiling: Tiling | None
) -> None:
    """Puts a tile into its place; over the pixels it shares, it takes over step by step.

    Args:
        pixels: uint8 (H, W, C), the whole picture; changed in place.
        piece: the tile.
        box: (left, top, right, bottom) of its place.
        tiling: how the picture is cut; None for one that is in one piece.
    """
    left, top, right, bottom = box
    place = pixels[top:bottom, left:right]
    if tiling is None:
        place[:] = piece
        return
    down = _ramp(bottom - top, tiling.overlap if top else 0)
    across = _ramp(right - left, tiling.overlap if left else 0)
    kept = tiling.overlap if top else 0
    # Rows below the overlap with the tiles above only fade from left to right.
    _blend(place[:kept], piece[:kept], down[:kept, None] * across)
    edge = tiling.overlap if left else 0
    _blend(place[kept:, :edge], piece[kept:, :edge], np.broadcast_to(across[:edge], (1, edge)))
    place[kept:, edge:] = piece[kept:, edge:]


def _ramp(size: int, overlap: int) -> Weights:
    """How much of a tile is shown along one side: from 0 at a shared end to 1."""
    weight = np.ones(size, np.float32)
    margin = min(MARGIN, overlap // 4)
    steps = overlap - 2 * margin
    rising = (np.arange(overlap, dtype=np.float32) - margin + 0.5) / max(steps, 1)
    shown = min(size, overlap)
    weight[:shown] = np.clip(rising, 0.0, 1.0)[:shown]
    return weight


def _blend(place: Pixels, piece: Pixels, weight: Weights) -> None:
    if place.size:
        shown = weight[:, :, None]
        mixed = place.astype(np.float32) * (1 - shown) + piece.astype(np.float32) * shown
        place[:] = np.round(mixed).astype(np.uint8)
