"""Batches as plans: which part of which image, for images that are on the device already."""

import threading

import numpy as np

from builders.loader import BatchLoader, image_rng
from builders.shard import Shard
from builders.sources import ImageSource
from builders.transforms import ImageTransform

PLAN_COLUMNS = 4
"""Of a plan: image, top, left, mirrored."""


class PlanLoader(BatchLoader):
    """Says what the batches of a `BatchLoader` are cut from, instead of cutting them.

    Order, places and mirroring are drawn from the same random numbers, so what is cut after the
    plans are the same batches, bit by bit. A plan takes some microseconds an image and is made in
    the consumer's thread: the trainer asks for the next ones while the device works.

    Args:
        source: the images; their number and names are used, not their pixels.
        sizes: height and width of every image as it lies on the device, int (N, 2).
        batch_size: images a batch; the last batch of an epoch has what is left.
        transform: only what it cuts and mirrors counts; the rest is done when images are put on the
            device.
        shuffle: whether the order changes with the epoch.
        seed: >= 0.
        shard: which rows of every batch are planned here; None for all.
    """

    def __init__(
        self,
        source: ImageSource,
        sizes: np.ndarray,
        batch_size: int,
        *,
        transform: ImageTransform,
        shuffle: bool = False,
        seed: int = 0,
        shard: Shard | None = None,
    ) -> None:
        super().__init__(
            source,
            batch_size,
            transform=transform,
            shuffle=shuffle,
            seed=seed,
            workers=0,
            shard=shard,
        )
        self._sizes = [(int(height), int(width)) for height, width in sizes]

    def _assemble(self, epoch: int, part: np.ndarray, stop: threading.Event | None) -> np.ndarray:
        """One batch, int32 (B, 4)."""
        plans = np.zeros((len(part), PLAN_COLUMNS), np.int32)
        plans[:, 0] = part
        if self._transform.crop is None and not self._transform.is_random:
            return plans
        for row, index in enumerate(part.tolist()):
            rng = image_rng(self._seed, epoch, index) if self._transform.is_random else None
            cut = self._transform.cut(self._sizes[index], rng, name=self._source.name(index))
            plans[row, 1:] = cut.top, cut.left, cut.mirrored
        return plans
