"""All images of a split in one array, and batches cut out of it by plans."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from builders.errors import UserError
from builders.sources import ImageSource, Progress
from builders.transforms import ImageTransform
from constants.data import DECODE_THREADS_MAX

PIXELS_MAX = 2**31 - 1
"""Pixels of a bank at most: its places are counted in int32, the widest that JAX counts in."""


@dataclass(frozen=True)
class ImageBank:
    """Images of any sizes, row after row, image after image.

    Attributes:
        pixels: uint8 (P, C).
        starts: place of each image's first pixel, int32 (N,).
        heights: pixels, int32 (N,).
        widths: pixels, int32 (N,).
    """

    pixels: Any
    starts: np.ndarray
    heights: np.ndarray
    widths: np.ndarray

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def sizes(self) -> np.ndarray:
        """Height and width of every image, int32 (N, 2)."""
        return np.stack([self.heights, self.widths], axis=1)

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels."""
        return int(self.pixels.nbytes)


def known_sizes(source: ImageSource, transform: ImageTransform) -> np.ndarray | None:
    """Sizes of the images once prepared, int64 (N, 2); None where that takes decoding them."""
    if transform.resize is not None:
        return np.tile(np.array(transform.resize, np.int64), (len(source), 1))
    sizes = [source.size(index) for index in range(len(source))]
    return None if None in sizes else np.array(sizes, np.int64).reshape(-1, 2)


def bank_bytes(sizes: np.ndarray, channels: int) -> int:
    """Bytes that images of these sizes take."""
    return int(sizes.prod(axis=1, dtype=np.int64).sum()) * channels


def fill_bank(
    source: ImageSource, transform: ImageTransform, report: Progress | None = None
) -> ImageBank:
    """Decodes and prepares every image once; crop and flip are left to the plans.

    Args:
        source: images (H, W, C).
        transform: its channels and its resize are applied.
        report: called while it takes time.

    Raises:
        UserError: the images have more pixels than can be counted, or one can't be read.
    """
    channels = transform.channels or source.channels
    indices = range(len(source))

    def prepare(index: int) -> np.ndarray:
        return transform.prepared(source[index])

    prepared: Callable[[int], np.ndarray] = prepare
    threads = min(DECODE_THREADS_MAX, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        sizes = known_sizes(source, transform)
        if sizes is None:
            kept = list(_told(pool.map(prepare, indices), len(source), report))
            sizes = np.array([image.shape[:2] for image in kept], np.int64)
            prepared = kept.__getitem__
        starts = _starts(sizes)
        pixels = np.empty((int(sizes.prod(axis=1).sum()), channels), np.uint8)

        def store(index: int) -> None:
            image, (height, width) = prepared(index), sizes[index]
            if image.shape[:2] != (height, width):
                raise UserError(
                    f"{source.name(index)}: {image.shape[0]}x{image.shape[1]} pixels now, "
                    f"{height}x{width} when the data set was opened"
                )
            start = starts[index]
            pixels[start : start + height * width] = image.reshape(-1, channels)

        for _ in _told(pool.map(store, indices), len(source), report):
            pass  # written in place, so that nothing piles up behind a slow image
    heights, widths = sizes.astype(np.int32).T
    return ImageBank(pixels, starts.astype(np.int32), heights, widths)


def _told(results: Iterable[Any], total: int, report: Progress | None) -> Iterator[Any]:
    for done, result in enumerate(results, start=1):
        if report is not None:
            report("collecting images", done, total)
        yield result


def _starts(sizes: np.ndarray) -> np.ndarray:
    """Place of each image's first pixel, int64 (N,)."""
    counts = sizes.prod(axis=1, dtype=np.int64)
    if counts.sum() > PIXELS_MAX:
        raise UserError(
            f"dataset.on_device: the training images have {counts.sum():,} pixels, at most "
            f"{PIXELS_MAX:,} can be held on the device; use false, dataset.max_images or "
            "dataset.resize"
        )
    return counts.cumsum() - counts


def cut_images(pixels: Any, starts: Any, widths: Any, plans: Any, size: tuple[int, int]) -> Any:
    """A batch out of a bank, by gathering: any mixture of images, places and mirrorings.

    Args:
        pixels: of the bank, (P, C).
        starts: of the bank, int32 (N,).
        widths: of the bank, int32 (N,).
        plans: int32 (B, 4): image, top, left, mirrored.
        size: (height, width) of what is cut.

    Returns:
        (B, height, width, C), in the type of `pixels`.
    """
    height, width = size
    image, top, left, mirrored = (plans[:, column, None] for column in range(4))  # (B, 1) each
    rows, columns = ops.arange(height, dtype="int32"), ops.arange(width, dtype="int32")
    columns = ops.where(mirrored > 0, width - 1 - columns, columns)  # (B, w)
    lines = ops.take(starts, image) + (top + rows) * ops.take(widths, image) + left  # (B, h)
    return ops.take(pixels, lines[:, :, None] + columns[:, None, :], axis=0)
