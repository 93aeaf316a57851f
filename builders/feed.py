"""A BatchLoader as Keras input, under TensorFlow and under JAX, able to start inside an epoch."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from builders.errors import RunError, UserError
from builders.loader import BatchLoader
from builders.shard import row_count

if TYPE_CHECKING:
    from builders.on_device import DeviceImages


class EpochFeed:
    """Hands Keras one epoch of batches after the other.

    Order and augmentation are a function of (seed, epoch, index): whoever sets `epoch` and
    `start_batch` gets the same batches in every process.

    Args:
        loader: makes the batches.
        image_shape: (H, W, C), or (T, H, W, C) of clips; None where batches differ.
        note: a sentence for the user on where the images lie, if there is one to say.
        images: on the device; the loader's batches are plans then, int32 (B, 4), and the compiled
            step cuts the images (see `builders.jax_dispatch`). None: batches are images.

    Attributes:
        epoch: the epoch to serve, from 0.
        start_batch: how many of its batches to leave out.
        failure: what making a batch raised, if anything: TensorFlow raises an error of its own.
    """

    def __init__(
        self,
        loader: BatchLoader,
        image_shape: tuple[int | None, ...],
        *,
        note: str = "",
        images: "DeviceImages | None" = None,
    ) -> None:
        self.loader = loader
        self.image_shape = image_shape
        self.note = note
        self.images = images
        self.epoch = 0
        self.start_batch = 0
        self.failure: Exception | None = None

    def __len__(self) -> int:
        return len(self.loader) - self.start_batch

    def batches(self, skip: int = 0) -> Iterator[np.ndarray]:
        """The epoch's batches from `start_batch + skip` on, uint8 (B, *image_shape), or plans."""
        try:
            yield from self.loader.batches(self.epoch, self.start_batch + skip)
        except (UserError, RunError, OSError) as error:
            self.failure = error
            raise

    def keras_input(self) -> Any:
        """What `fit` and `evaluate` take: epochs of `len(self)` batches, as it is now.

        With a shard, batches are pairs: see `builders.shard.row_count`.
        """
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            # No prefetch behind this: the loader's threads run ahead already, and only here can it
            # be measured how long a step waits for them.
            signature = tf.TensorSpec((None, *self.image_shape), tf.uint8)
            batches = tf.data.Dataset.from_generator(self.batches, output_signature=signature)
            return batches.apply(tf.data.experimental.assert_cardinality(len(self)))
        return _Sequence(self)


class _Sequence(keras.utils.PyDataset):
    """The feed as Keras' framework-free data set."""

    def __init__(self, feed: EpochFeed) -> None:
        super().__init__(workers=0)
        self._feed = feed
        self._iterator: Iterator[np.ndarray] = iter(())
        self._next = -1

    def __len__(self) -> int:
        return len(self._feed)

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        if index != self._next or index == 0:
            self._iterator = self._feed.batches(skip=index)
        self._next = index + 1
        batch, loader = next(self._iterator), self._feed.loader
        if loader.shard is None:
            return (batch,)
        return batch, row_count(loader.images_of(self._feed.start_batch + index), loader.shard)
