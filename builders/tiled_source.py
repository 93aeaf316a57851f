"""Large images as the tiles they are cut into."""

from pathlib import Path

import numpy as np

from builders.channels import Color
from builders.errors import UserError
from builders.folder_source import FolderSource
from builders.sources import ImageCache, ImageSource, Progress, Size, SplitSources, SubsetSource
from builders.splits import SPLIT_NAMES, SplitName, stable_split
from builders.transforms import resize_image


class ResizedSource:
    """Another source's images at one size.

    Args:
        source: images of any sizes.
        size: (height, width).
        cache_bytes: bytes of resized images to keep in memory; an image is wanted once for each of
            its tiles.
    """

    def __init__(self, source: ImageSource, size: Size, cache_bytes: int) -> None:
        self._source = source
        self._size = size
        self._cache = ImageCache(cache_bytes)

    @property
    def channels(self) -> int:
        return self._source.channels

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> np.ndarray:
        if self._source.size(index) == self._size:
            return self._source[index]
        image = self._cache.get(index)
        if image is None:
            image = resize_image(self._source[index], self._size)
            self._cache.offer(index, image)
        return image

    def name(self, index: int) -> str:
        return self._source.name(index)

    def size(self, index: int) -> Size | None:
        return self._size


class TiledSource:
    """The tiles of another source's images, image by image, row by row.

    Tiles stand side by side from the top left. Where a side is no multiple of the tile's, the last
    row or column is moved back so that it ends with the image, and shares pixels with the one
    before it.

    Args:
        source: whole images.
        tile: (height, width).

    Attributes:
        whole: the source of whole images.
        overlapping: whether each tile, (N,), is one that was moved back.

    Raises:
        UserError: an image is smaller than a tile.
    """

    def __init__(self, source: ImageSource, tile: Size) -> None:
        self.whole = source
        self._tile = tile
        places: list[tuple[int, int, int]] = []
        moved: list[bool] = []
        for index in range(len(source)):
            size = source.size(index) or source[index].shape[:2]
            if size[0] < tile[0] or size[1] < tile[1]:
                raise UserError(
                    f"{source.name(index)}: {size[0]}x{size[1]} pixels (height x width) are too "
                    f"few for dataset.tile {tile[0]}x{tile[1]}"
                )
            rows, columns = (_starts(*sides) for sides in zip(size, tile, strict=True))
            places += [(index, top, left) for top in rows for left in columns]
            moved += [bool(top % tile[0] or left % tile[1]) for top in rows for left in columns]
        self._places = places
        self.overlapping = np.array(moved, dtype=bool)

    @property
    def channels(self) -> int:
        return self.whole.channels

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> np.ndarray:
        image, top, left = self._places[index]
        height, width = self._tile
        return self.whole[image][top : top + height, left : left + width]

    def name(self, index: int) -> str:
        image, top, left = self._places[index]
        return f"{self.whole.name(image)} at {top},{left}"

    def size(self, index: int) -> Size | None:
        return self._tile


def _starts(side: int, tile: int) -> list[int]:
    starts = list(range(0, side - tile + 1, tile))
    if starts[-1] + tile < side:
        starts.append(side - tile)
    return starts


def in_tiles(
    opened: SplitSources, tile: Size, resize: Size | None, cache_bytes: int
) -> SplitSources:
    """A data set of several images, each of its splits as tiles.

    Args:
        opened: whole images.
        tile: (height, width).
        resize: (height, width) of whole images before they are cut; None leaves them.
        cache_bytes: bytes of resized images to keep in memory.

    Raises:
        UserError: an image is smaller than a tile.
    """

    def cut(source: ImageSource) -> TiledSource:
        whole = source if resize is None else ResizedSource(source, resize, cache_bytes)
        return TiledSource(whole, tile)

    parts: dict[SplitName, ImageSource] = {
        split: cut(getattr(opened, split)) for split in SPLIT_NAMES
    }
    counts = ", ".join(f"{len(getattr(opened, split))} {split}" for split in SPLIT_NAMES)
    note = f"images in tiles of {tile[0]}x{tile[1]} (of {counts} images)"
    return SplitSources.of(parts, [*opened.notes, note], opened.skipped)


def open_one_image(
    path: Path,
    channels: int,
    tile: Size,
    *,
    resize: Size | None,
    color: Color | None,
    validation_fraction: float,
    test_fraction: float,
    cache_bytes: int,
    progress: Progress | None,
) -> SplitSources:
    """Opens the tiles of a single image, split by a hash of their places.

    What is left at the right and at the bottom is not used: a tile moved back would share pixels
    with another, which may be in another split.

    Args:
        path: the image.
        channels: C of the spec's input.
        tile: (height, width).
        resize: (height, width) of the image before it is cut; None leaves it.
        color: the dataset section's `color`.
        validation_fraction: share of tiles for validation.
        test_fraction: share of tiles for testing.
        cache_bytes: bytes of decoded pixels to keep in memory.
        progress: called as the image is decoded.

    Raises:
        UserError: the image can't be read, is too small, or gives too few tiles.
    """
    source = FolderSource(
        path.parent,
        [path.name],
        channels=channels,
        color=color,
        cache_bytes=cache_bytes,
        progress=progress,
    )
    whole = source if resize is None else ResizedSource(source, resize, cache_bytes)
    tiles = TiledSource(whole, tile)
    apart = [int(index) for index in np.flatnonzero(~tiles.overlapping)]
    if len(apart) < 2:
        raise UserError(
            f"{path}: one tile of {tile[0]}x{tile[1]} cannot be split into train and validation; "
            "choose a smaller dataset.tile"
        )
    by_name = stable_split([tiles.name(i) for i in apart], validation_fraction, test_fraction)
    parts: dict[SplitName, ImageSource] = {
        split: SubsetSource(tiles, [i for i in apart if by_name[tiles.name(i)] == split])
        for split in SPLIT_NAMES
    }
    note = (
        f"{path.name}: one image, its {len(apart)} tiles of {tile[0]}x{tile[1]} split by a hash of "
        "their places"
    )
    return SplitSources.of(parts, [note], source.skipped)
