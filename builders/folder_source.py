"""A folder of image files as a source."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from builders.channels import Color, check_found
from builders.errors import UserError
from builders.image_reader import BrokenImage, as_array, open_image, read_image
from builders.sources import ImageCache, Progress, Size
from constants.data import DECODE_THREADS_MAX

_CHUNK = 256  # files handed to the threads at a time, so that a million files cost no memory
_NAMED_FILES = 5  # files named in a message before "and n more"


class FolderSource:
    """Image files below a folder.

    Opening decodes every file once: broken ones are found before training starts and left out,
    sizes become known, and images are kept in memory until the budget is used up. Images beyond
    it are decoded again whenever they are asked for.

    Args:
        folder: where the names start.
        names: files relative to `folder`, with `/`.
        channels: C of the arrays handed out: 1, 3 or 4.
        color: the dataset section's `color`; see `builders.channels.check_found`.
        cache_bytes: bytes of decoded images to keep.
        progress: called as files are decoded.

    Attributes:
        skipped: the files that could not be read, in the order of their names.

    Raises:
        UserError: no file can be read, or colours and channels do not go together.
    """

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        *,
        channels: int,
        color: Color | None = None,
        cache_bytes: int,
        progress: Progress | None = None,
    ) -> None:
        self._folder = folder
        self._channels = channels
        self._cache = ImageCache(cache_bytes)
        self._names: list[str] = []
        self._sizes: list[Size] = []
        self.skipped: list[BrokenImage] = []
        colour_example = None
        for name, outcome in self._decode_all(names, progress):
            if isinstance(outcome, BrokenImage):
                self.skipped.append(outcome)
                continue
            size, in_colour = outcome
            self._names.append(name)
            self._sizes.append(size)
            if in_colour and colour_example is None:
                colour_example = name
        if not self._names:
            raise UserError(
                f"{folder}: none of the {len(names)} images can be read\n"
                + "\n".join(f"  {broken}" for broken in named(self.skipped))
            )
        check_found(str(folder), channels=channels, color=color, colour_example=colour_example)

    def _decode_all(
        self, names: Sequence[str], progress: Progress | None
    ) -> Iterator[tuple[str, BrokenImage | tuple[Size, bool]]]:
        """Yields (name, BrokenImage or (size, in colour)) in the order of the names."""
        threads = min(DECODE_THREADS_MAX, os.cpu_count() or 1)
        with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
            for start in range(0, len(names), _CHUNK):
                chunk = names[start : start + _CHUNK]
                yield from zip(chunk, pool.map(self._decode, chunk), strict=True)
                if progress is not None:
                    progress("reading images", start + len(chunk), len(names))

    def _decode(self, name: str) -> BrokenImage | tuple[Size, bool]:
        try:
            image = open_image(self._folder / name)
        except BrokenImage as broken:
            return broken
        self._cache.offer(name, as_array(image, self._channels))
        return (image.height, image.width), image.mode in {"RGB", "RGBA"}

    @property
    def channels(self) -> int:
        return self._channels

    @property
    def cached(self) -> int:
        """How many of the images are kept in memory."""
        return len(self._cache)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> np.ndarray:
        name = self._names[index]
        image = self._cache.get(name)
        return read_image(self._folder / name, self._channels) if image is None else image

    def name(self, index: int) -> str:
        return self._names[index]

    def size(self, index: int) -> Size | None:
        return self._sizes[index]


def named(broken: Sequence[BrokenImage]) -> list[str]:
    """The first few of a list of broken files, and how many more there are."""
    lines = [str(one) for one in broken[:_NAMED_FILES]]
    if len(broken) > _NAMED_FILES:
        lines.append(f"and {len(broken) - _NAMED_FILES} more")
    return lines
