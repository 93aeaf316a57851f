"""Which rows of a batch are made where."""

import numpy as np
import pytest

from builders.loader import BatchLoader
from builders.shard import Shard, row_count
from builders.sources import ArraySource


@pytest.mark.parametrize(("count", "devices"), [(1, 1), (1, 3), (2, 2), (2, 4), (3, 3)])
@pytest.mark.parametrize("images", [1, 2, 5, 8, 12])
def test_the_shares_of_all_processes_are_the_batch_and_its_filling(count, devices, images):
    batch = np.arange(images) * 7
    shares = [Shard(index, count, devices).rows(batch) for index in range(count)]
    assert len({len(share) for share in shares}) == 1
    assert len(shares[0]) % (devices // count) == 0
    whole = np.concatenate(shares)
    assert len(whole) < images + devices
    np.testing.assert_array_equal(whole[:images], batch)
    assert set(whole[images:]) <= {batch[-1]}


def test_each_image_of_an_epoch_is_seen_once():
    pixels = np.arange(11, dtype=np.uint8).reshape(11, 1, 1, 1)
    loaders = [
        BatchLoader(
            ArraySource(pixels, "eleven"), 4, shuffle=True, seed=3, shard=Shard(index, 2, 2)
        )
        for index in range(2)
    ]
    seen = []
    for number, parts in enumerate(zip(*(each.batches(5) for each in loaders), strict=True)):
        whole = np.concatenate(parts).ravel()
        seen += whole[: loaders[0].images_of(number)].tolist()
    alone = BatchLoader(ArraySource(pixels, "eleven"), 4, shuffle=True, seed=3)
    assert seen == np.concatenate(list(alone.batches(5))).ravel().tolist()
    assert sorted(seen) == list(range(11))


def test_the_number_of_images_is_a_length():
    assert row_count(5, Shard(1, 2, 6)).shape == (3, 5)
