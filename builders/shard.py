"""Which rows of a batch are computed where."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Shard:
    """The share of one process in every batch: as many rows for each of its devices.

    A batch whose rows can't be shared out evenly is filled up with copies of its last one. The step
    cuts them off again (`builders.data_parallel.cut_filling`), so they are in no loss, no
    statistic and no metric.

    Args:
        index: of the process, from 0.
        count: processes.
        devices: of all processes together; a multiple of `count`.
    """

    index: int
    count: int
    devices: int

    @property
    def local_devices(self) -> int:
        """Devices of this process."""
        return self.devices // self.count

    def rows(self, batch: np.ndarray) -> np.ndarray:
        """The part of a batch that this process makes.

        Args:
            batch: int (N,), N >= 1: what the whole batch is made of.

        Returns:
            int (M,): M is the same in every process, and a multiple of its devices.
        """
        each = -(-len(batch) // self.devices) * self.local_devices
        filling = np.repeat(batch[-1:], each * self.count - len(batch))
        return np.concatenate([batch, filling])[self.index * each : (self.index + 1) * each]


def row_count(images: int, shard: Shard) -> np.ndarray:
    """Says how many images a batch really has, in a form that Keras hands on with the batch.

    What a compiled step knows of its input are shapes, and Keras shares every array of a batch out
    by its first axis: so the number is the length of the second.

    Args:
        images: of the whole batch.
        shard: this process' share.

    Returns:
        uint8 (local devices, images).
    """
    return np.zeros((shard.local_devices, images), np.uint8)
