"""Batches from a source, made ahead of the trainer by threads."""

import threading
import time
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from builders.clips import CLIP_AXES
from builders.shard import Shard
from builders.sources import ArraySource, ImageSource, SubsetSource
from builders.transforms import ImageTransform
from constants.data import INLINE_BATCH_BYTES, PREFETCH_BATCHES, WORKERS

# What a stream of random numbers is for; part of its seed, so that no two share numbers.
_ORDER_STREAM = 0
_IMAGE_STREAM = 1


def image_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The random numbers that an image's crop and flip of an epoch are drawn from."""
    return np.random.default_rng((seed, epoch, _IMAGE_STREAM, index))


class BatchLoader:
    """Batches of uint8 images or clips, the same every time for the same (seed, epoch).

    The order of epoch e is a permutation drawn from (seed, e); crop and flip of image i are drawn
    from (seed, e, i). So batches depend neither on the number of threads nor on their timing, and
    an epoch can be taken up at any batch. All frames of a clip are cropped and flipped alike.

    Args:
        source: where images, or clips (T, H, W, C), come from.
        batch_size: images a batch; the last batch of an epoch has what is left.
        transform: what is done to each image; the results must have one size.
        shuffle: whether the order changes with the epoch.
        seed: >= 0.
        workers: threads that make batches; 0 makes them in the consumer's thread.
        prefetch: batches made ahead at most.
        shard: which rows of every batch are made here; None for all.

    Attributes:
        wait_seconds: seconds the consumer of the current epoch has waited for batches.
        shard: as given.

    Raises:
        ValueError: `batch_size`, `seed`, `workers` or `prefetch` is out of range.
    """

    def __init__(
        self,
        source: ImageSource,
        batch_size: int,
        *,
        transform: ImageTransform | None = None,
        shuffle: bool = False,
        seed: int = 0,
        workers: int = WORKERS,
        prefetch: int = PREFETCH_BATCHES,
        shard: Shard | None = None,
    ) -> None:
        if batch_size < 1 or prefetch < 1 or workers < 0 or seed < 0:
            raise ValueError("batch_size and prefetch start at 1, workers and seed at 0")
        self._source = source
        self._batch_size = batch_size
        self._rows = source.indices if isinstance(source, SubsetSource) else None
        self._transform = transform or ImageTransform()
        self._shuffle = shuffle
        self._seed = seed
        self._workers = workers
        self._prefetch = prefetch
        self.shard = shard
        self.wait_seconds = 0.0

    def __len__(self) -> int:
        """Batches an epoch."""
        return (len(self._source) + self._batch_size - 1) // self._batch_size

    @property
    def batch_size(self) -> int:
        """Images or clips a batch; the last of an epoch has what is left."""
        return self._batch_size

    @property
    def images(self) -> int:
        """Images or clips an epoch."""
        return len(self._source)

    def images_of(self, batch: int) -> int:
        """Images or clips of a batch, whichever process makes them."""
        return min(self._batch_size, self.images - batch * self._batch_size)

    def order(self, epoch: int) -> np.ndarray:
        """Indices into the source in the order of an epoch, int64 (N,)."""
        if not self._shuffle:
            return np.arange(len(self._source))
        rng = np.random.default_rng((self._seed, epoch, _ORDER_STREAM))
        return rng.permutation(len(self._source))

    def not_waited(self, seconds: float) -> None:
        """Takes back seconds of waiting in which the trainer was busy with earlier batches."""
        self.wait_seconds -= seconds

    def batches(self, epoch: int, start_batch: int = 0) -> Generator[np.ndarray, None, None]:
        """Iterates over the batches of an epoch. One epoch at a time.

        Leaving the iteration early, for whatever reason, ends its threads.

        Args:
            epoch: >= 0.
            start_batch: how many batches to leave out at the beginning.

        Yields:
            uint8 (B, H, W, C), or (B, T, H, W, C) of clips; B = batch_size but for the last. With
            a shard, this process' part of that.

        Raises:
            UserError, BrokenImage: what reading or transforming an image raised, at its batch.
        """
        self.wait_seconds = 0.0
        order = self.order(epoch)
        parts = [
            order[at : at + self._batch_size]
            for at in range(start_batch * self._batch_size, len(order), self._batch_size)
        ]
        if self.shard is not None:
            parts = [self.shard.rows(part) for part in parts]
        if self._workers == 0 or self._is_quick():
            for part in parts:
                yield self._timed(epoch, part)
        else:
            yield from self._prefetched(epoch, parts)

    def _prefetched(self, epoch: int, parts: list[np.ndarray]) -> Generator[np.ndarray, None, None]:
        stop = threading.Event()
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="loader")
        waiting: deque[Future[np.ndarray]] = deque()
        try:
            for part in parts[: self._prefetch]:
                waiting.append(pool.submit(self._assemble, epoch, part, stop))
            for position in range(len(parts)):
                started = time.perf_counter()
                batch = waiting.popleft().result()
                self.wait_seconds += time.perf_counter() - started
                if position + self._prefetch < len(parts):
                    part = parts[position + self._prefetch]
                    waiting.append(pool.submit(self._assemble, epoch, part, stop))
                yield batch
        finally:
            # Also reached when the generator is closed, or dropped by a `break` or an exception
            # in the loop over it.
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)

    def _timed(self, epoch: int, part: np.ndarray) -> np.ndarray:
        started = time.perf_counter()
        batch = self._assemble(epoch, part, None)
        self.wait_seconds += time.perf_counter() - started
        return batch

    def _whole_array(self) -> np.ndarray | None:
        """The array that holds all images, when batches can be cut straight out of it."""
        source = self._source.source if isinstance(self._source, SubsetSource) else self._source
        if not isinstance(source, ArraySource) or not self._transform.is_identity:
            return None
        return source.array if self._transform.channels in {None, source.channels} else None

    def _is_quick(self) -> bool:
        array = self._whole_array()
        if array is None or not len(array):
            return False
        return array[0].nbytes * self._batch_size <= INLINE_BATCH_BYTES

    def _assemble(self, epoch: int, part: np.ndarray, stop: threading.Event | None) -> np.ndarray:
        """One batch, uint8 (B, H, W, C)."""
        array = self._whole_array()
        if array is not None:
            return array[part if self._rows is None else self._rows[part]]
        batch = None
        for row, index in enumerate(part.tolist()):
            if stop is not None and stop.is_set():
                break  # nobody will look at this batch
            image = self._image(epoch, index)
            if batch is None:
                batch = np.empty((len(part), *image.shape), np.uint8)
            if image.shape != batch.shape[1:]:
                raise ValueError(
                    f"{self._source.name(index)}: shape {image.shape} in a batch of "
                    f"{batch.shape[1:]}; images of different sizes need a crop"
                )
            batch[row] = image
        return np.empty((0,), np.uint8) if batch is None else batch

    def _image(self, epoch: int, index: int) -> np.ndarray:
        image, name = self._source[index], self._source.name(index)

        def transformed(frame: np.ndarray) -> np.ndarray:
            rng = None
            if self._transform.is_random:  # anew for each frame: those of a clip draw the same
                rng = image_rng(self._seed, epoch, index)
            return self._transform(frame, rng, name=name)

        if image.ndim == CLIP_AXES:
            return np.stack([transformed(frame) for frame in image])
        return transformed(image)
