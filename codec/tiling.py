"""How a large image is cut into overlapping tiles."""

from collections.abc import Iterator
from dataclasses import dataclass

from codec.errors import NicFieldError

MIN_TILE = 64
MAX_TILE = 1 << 14
MAX_TILES = 1 << 16


@dataclass(frozen=True)
class Tiling:
    """Square tiles, each sharing `overlap` pixels with its neighbours.

    Along a side of n pixels tile i covers the pixels from `i * (tile - overlap)` up to
    `min(i * (tile - overlap) + tile, n)`, and there are just as many tiles as it takes to reach n.
    Tiles are counted row by row.

    Attributes:
        tile: side in pixels, 64 to 16384.
        overlap: pixels that two neighbours share, 0 to `tile // 2`.

    Raises:
        NicFieldError: a value is out of range.
    """

    tile: int
    overlap: int = 0

    def __post_init__(self) -> None:
        if not MIN_TILE <= self.tile <= MAX_TILE:
            raise NicFieldError(
                f"tiles of {self.tile} pixels; {MIN_TILE} to {MAX_TILE} are allowed"
            )
        if not 0 <= self.overlap <= self.tile // 2:
            raise NicFieldError(
                f"tiles of {self.tile} pixels overlap by {self.overlap}; "
                f"up to {self.tile // 2} is allowed"
            )

    @property
    def step(self) -> int:
        """Pixels from one tile's first to the next one's."""
        return self.tile - self.overlap

    def grid(self, width: int, height: int) -> tuple[int, int]:
        """Number of tiles along the height and along the width."""
        return self._along(height), self._along(width)

    def count(self, width: int, height: int) -> int:
        """Number of tiles of an image."""
        rows, columns = self.grid(width, height)
        return rows * columns

    def boxes(self, width: int, height: int) -> Iterator[tuple[int, int, int, int]]:
        """Yields (left, top, right, bottom) of each tile, right and bottom exclusive, in pixels."""
        rows, columns = self.grid(width, height)
        for row in range(rows):
            top = row * self.step
            for column in range(columns):
                left = column * self.step
                yield left, top, min(left + self.tile, width), min(top + self.tile, height)

    def _along(self, size: int) -> int:
        return 1 + max(0, -(-(size - self.tile) // self.step))
