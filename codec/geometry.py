"""How pixels of any size become the blocks a model takes, and how large its latents then are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codec.errors import NicBundleError

Pixels = NDArray[np.uint8]
MAX_SIDE = 1 << 14
MAX_VALUES = 1 << 26
"""Latents of one block at the smallest size."""


@dataclass(frozen=True)
class Grid:
    """Size of one kind of latents in one block.

    Attributes:
        shape: at the smallest block; height, width, channels, or any shape for blocks of one size.
        growth: rows and columns more for each step of the block's height and width.
    """

    shape: tuple[int, ...]
    growth: tuple[int, int] = (0, 0)

    def at(self, rows: int, columns: int) -> tuple[int, ...]:
        """The shape in a block that is so many steps higher and wider than the smallest."""
        if self.growth == (0, 0):
            return self.shape
        height, width, channels = self.shape
        return height + rows * self.growth[0], width + columns * self.growth[1], channels


@dataclass(frozen=True)
class Plan:
    """How one picture is laid out.

    Attributes:
        height: of the picture, in pixels, and `width`.
        rows: blocks from top to bottom, and `columns` from left to right.
        block: (H, W) of each.
        shapes: name -> shape of all its latents, (blocks, ...).
    """

    height: int
    width: int
    rows: int
    columns: int
    block: tuple[int, int]
    shapes: Mapping[str, tuple[int, ...]]

    @property
    def padded_pixels(self) -> int:
        """Pixels of all blocks."""
        return self.rows * self.columns * self.block[0] * self.block[1]

    def blocks(self, pixels: Pixels) -> Pixels:
        """(height, width, C) -> (blocks, H, W, C): padded by repeating the last row and column."""
        high, wide = self.block
        below = self.rows * high - self.height
        right = self.columns * wide - self.width
        padded = np.pad(pixels, ((0, below), (0, right), (0, 0)), mode="edge")
        cut = padded.reshape(self.rows, high, self.columns, wide, -1).swapaxes(1, 2)
        return cut.reshape(-1, high, wide, pixels.shape[2])

    def picture(self, blocks: Pixels) -> Pixels:
        """The inverse of `blocks`, without the padding."""
        high, wide = self.block
        channels = blocks.shape[3]
        joined = blocks.reshape(self.rows, self.columns, high, wide, channels).swapaxes(1, 2)
        whole = joined.reshape(self.rows * high, self.columns * wide, channels)
        return np.ascontiguousarray(whole[: self.height, : self.width])


@dataclass(frozen=True)
class Geometry:
    """The blocks and latents of a model.

    Attributes:
        channels: of its pixels, 1 or 3.
        first: (height, width) of the smallest block.
        step: (height, width) that larger blocks grow by; (0, 0) for blocks of one size.
        grids: name -> size of these latents.

    Raises:
        NicBundleError: a value is out of range.
    """

    channels: int
    first: tuple[int, int]
    step: tuple[int, int]
    grids: Mapping[str, Grid]

    def __post_init__(self) -> None:
        free = self.step != (0, 0)
        _check(self.channels in (1, 3), f"{self.channels} channels")
        _check(all(1 <= side <= MAX_SIDE for side in self.first), f"blocks of {self.first}")
        if free:
            _check(all(1 <= side <= MAX_SIDE for side in self.step), f"a step of {self.step}")
        for name, grid in self.grids.items():
            _check(bool(grid.shape) and min(grid.shape) >= 1, f"{name} of shape {grid.shape}")
            _check(int(np.prod(grid.shape, dtype=object)) <= MAX_VALUES, f"too many of {name}")
            if free:
                _check(len(grid.shape) == 3, f"{name} of shape {grid.shape}")
                _check(min(grid.growth) >= 1, f"{name} that don't grow with the picture")
                # More than one latent row for each row of pixels: no model here does that.
                fits = all(g <= s for g, s in zip(grid.growth, self.step, strict=True))
                _check(fits, f"{name} growing by {grid.growth}")
            else:
                _check(grid.growth == (0, 0), f"{name} that grow in a block of one size")

    def plan(self, height: int, width: int) -> Plan:
        """The layout of a picture."""
        if self.step == (0, 0):
            rows, columns = -(-height // self.first[0]), -(-width // self.first[1])
            shapes = {name: (rows * columns, *grid.shape) for name, grid in self.grids.items()}
            return Plan(height, width, rows, columns, self.first, shapes)
        steps = [
            max(0, -(-(size - first) // step))
            for size, first, step in zip((height, width), self.first, self.step, strict=True)
        ]
        high, wide = (f + n * s for f, n, s in zip(self.first, steps, self.step, strict=True))
        shapes = {name: (1, *grid.at(*steps)) for name, grid in self.grids.items()}
        return Plan(height, width, 1, 1, (high, wide), shapes)


def _check(holds: bool, what: str) -> None:
    if not holds:
        raise NicBundleError(f"the model's geometry is not well formed: {what}")
