"""Batches: the same for the same seed, from any thread count, and no thread stays behind."""

import gc
import os
import signal
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.image_reader import BrokenImage
from builders.loader import BatchLoader
from builders.sources import ArraySource, ImageCache, JoinedSource, SubsetSource
from builders.transforms import ImageTransform

AUGMENT = ImageTransform(crop=(3, 3), flip=True, training=True)


def numbered(total: int, side: int = 5) -> np.ndarray:
    """Image i has i in its first channel, and noise elsewhere."""
    images = np.random.default_rng(0).integers(0, 256, (total, side, side, 3), dtype=np.uint8)
    images[..., 0] = np.arange(total)[:, None, None]
    return images


class SlowSource(ArraySource):
    """An array that takes its time, fails where it is told to, and counts what it gave."""

    def __init__(
        self, images: np.ndarray, seconds: float | Callable[[int], float] = 0.0, fail_at: int = -1
    ) -> None:
        super().__init__(images)
        self.seconds = seconds if callable(seconds) else lambda _: seconds
        self.fail_at = fail_at
        self.given: list[int] = []

    @property
    def array(self) -> None:
        return None  # no shortcut

    def __getitem__(self, index: int) -> np.ndarray:
        time.sleep(self.seconds(index))
        if index == self.fail_at:
            raise BrokenImage(f"{index}.png", "went away")
        self.given.append(index)
        return super().__getitem__(index)


def loader_threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name.startswith("loader")]


def all_batches(loader: BatchLoader, epoch: int = 0, start: int = 0) -> list[np.ndarray]:
    return list(loader.batches(epoch, start))


def same(left: list[np.ndarray], right: list[np.ndarray]) -> bool:
    return len(left) == len(right) and all(
        np.array_equal(a, b) for a, b in zip(left, right, strict=True)
    )


@given(
    st.integers(1, 30), st.integers(1, 8), st.integers(0, 3), st.integers(1, 5), st.integers(0, 9)
)
@settings(max_examples=30, deadline=None)
def test_batches_are_a_function_of_seed_and_epoch(
    total: int, batch_size: int, workers: int, prefetch: int, seed: int
) -> None:
    source = SlowSource(numbered(total))
    loader = BatchLoader(
        source,
        batch_size,
        transform=AUGMENT,
        shuffle=True,
        seed=seed,
        workers=workers,
        prefetch=prefetch,
    )
    plain = BatchLoader(source, batch_size, transform=AUGMENT, shuffle=True, seed=seed, workers=0)
    batches = all_batches(loader, epoch=3)
    assert len(batches) == len(loader) == -(-total // batch_size)
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert sum(map(len, batches)) == total == loader.images
    assert same(batches, all_batches(plain, epoch=3))
    start = len(batches) // 2
    assert same(all_batches(loader, 3, start), batches[start:])
    seen = sorted(int(image[0, 0, 0]) for batch in batches for image in batch)
    assert seen == list(range(total))


def test_timing_does_not_matter() -> None:
    def slow_first(index: int) -> float:
        return 0.01 if index % 4 == 0 else 0.0

    images = numbered(24)
    expected = all_batches(BatchLoader(ArraySource(images), 2, transform=AUGMENT, workers=0))
    loader = BatchLoader(
        SlowSource(images, slow_first), 2, transform=AUGMENT, workers=4, prefetch=6
    )
    assert same(all_batches(loader), expected)


def test_epochs_and_seeds_differ() -> None:
    source = ArraySource(numbered(60))

    def first(seed: int, epoch: int) -> bytes:
        loader = BatchLoader(source, 60, transform=AUGMENT, shuffle=True, seed=seed)
        return next(loader.batches(epoch)).tobytes()

    assert len({first(seed, epoch) for seed in range(3) for epoch in range(3)}) == 9


def test_augmentation_is_the_image_s_own_not_its_place_s() -> None:
    source = ArraySource(numbered(20, side=9))
    shuffled = BatchLoader(source, 20, transform=AUGMENT, shuffle=True, seed=1)
    in_order = BatchLoader(source, 7, transform=AUGMENT, shuffle=False, seed=1)
    (batch,) = all_batches(shuffled, 5)
    by_index = np.concatenate(all_batches(in_order, 5))
    np.testing.assert_array_equal(batch[np.argsort(batch[:, 0, 0, 0])], by_index)


@pytest.mark.parametrize("quick_bytes", [0, 1 << 30])
def test_arrays_take_the_short_way_to_the_same_batches(
    quick_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builders.loader.INLINE_BATCH_BYTES", quick_bytes)
    images = numbered(23)
    rows = np.array([20, 3, 5, 7, 11, 2, 1])
    for source, expected in [
        (ArraySource(images), images),
        (SubsetSource(ArraySource(images), rows), images[rows]),
    ]:
        loader = BatchLoader(source, 4, shuffle=True, seed=2)
        batches = all_batches(loader, 1)
        np.testing.assert_array_equal(np.concatenate(batches), expected[loader.order(1)])
        assert same(all_batches(loader, 1, 1), batches[1:])
    assert loader_threads() == []


def test_batches_do_not_share_memory_with_the_source() -> None:
    images = numbered(4)
    for transform in (ImageTransform(), ImageTransform(crop=(3, 3))):
        batch = next(BatchLoader(ArraySource(images), 4, transform=transform).batches(0))
        assert not np.shares_memory(batch, images)
        assert batch.flags.c_contiguous
        assert batch.dtype == np.uint8


def test_leaving_early_leaves_no_thread() -> None:
    source = SlowSource(numbered(200), 0.002)
    loader = BatchLoader(source, 4, workers=3, prefetch=5)
    for batch in loader.batches(0):
        assert len(batch) == 4
        break
    assert loader_threads() == []
    given = len(source.given)
    time.sleep(0.05)
    assert len(source.given) == given < 60

    for error in (ValueError, KeyboardInterrupt):
        caught = False
        try:
            for _ in loader.batches(0):
                raise error
        except error:
            caught = True
        gc.collect()
        assert caught
        assert loader_threads() == []

    iterator = loader.batches(0)
    next(iterator)
    iterator.close()
    assert loader_threads() == []

    next(loader.batches(0))
    gc.collect()
    assert loader_threads() == []

    unused = loader.batches(0)
    del unused
    assert loader_threads() == []


class GivesUpError(Exception):
    """What a consumer raises while it waits, as Ctrl-C does."""


def test_giving_up_while_waiting_does_not_wait_for_the_batch() -> None:
    def give_up(*_: object) -> None:
        raise GivesUpError

    loader = BatchLoader(SlowSource(numbered(200), 0.05), 100, workers=2, prefetch=2)  # 5 s each
    iterator = loader.batches(0)
    before = signal.signal(signal.SIGUSR1, give_up)
    timer = threading.Timer(0.15, os.kill, (os.getpid(), signal.SIGUSR1))
    started = time.perf_counter()
    try:
        timer.start()
        with pytest.raises(GivesUpError):
            next(iterator)
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)
    assert time.perf_counter() - started < 2.5
    assert loader_threads() == []


def test_an_error_comes_at_its_batch() -> None:
    source = SlowSource(numbered(20), fail_at=9)
    loader = BatchLoader(source, 4, workers=2, prefetch=3)
    iterator = loader.batches(0)
    assert len(next(iterator)) == 4
    assert len(next(iterator)) == 4
    with pytest.raises(BrokenImage, match=r"9\.png: went away"):
        next(iterator)
    assert loader_threads() == []


def test_different_sizes_are_named() -> None:
    source = ArraySource([np.zeros((4, 4, 1), np.uint8), np.zeros((4, 5, 1), np.uint8)], ["a", "b"])
    with pytest.raises(ValueError, match=r"b: shape \(4, 5, 1\).*need a crop"):
        all_batches(BatchLoader(source, 2))


def test_waiting_is_measured_and_starts_anew() -> None:
    loader = BatchLoader(SlowSource(numbered(20), 0.01), 2, workers=1, prefetch=1)
    started = time.perf_counter()
    all_batches(loader)
    assert 0.15 < loader.wait_seconds <= time.perf_counter() - started
    iterator = loader.batches(1)
    started = time.perf_counter()
    next(iterator)
    assert 0.01 < loader.wait_seconds <= time.perf_counter() - started
    iterator.close()


def test_time_the_consumer_works_is_not_waiting() -> None:
    loader = BatchLoader(SlowSource(numbered(8), 0.002), 2, workers=2, prefetch=4)
    for _ in loader.batches(0):
        time.sleep(0.1)
    assert loader.wait_seconds < 0.2  # of 0.4 s and more


def test_prefetch_bounds_what_is_made_ahead() -> None:
    source = SlowSource(numbered(100))
    loader = BatchLoader(source, 5, workers=4, prefetch=3)
    iterator = loader.batches(0)
    next(iterator)
    time.sleep(0.1)
    assert len(source.given) <= 5 * (1 + 3)
    iterator.close()


def test_an_empty_source_has_no_batches() -> None:
    loader = BatchLoader(ArraySource(np.zeros((0, 4, 4, 1), np.uint8)), 8)
    assert len(loader) == 0
    assert all_batches(loader) == []


@pytest.mark.parametrize(
    "wrong", [{"batch_size": 0}, {"prefetch": 0}, {"workers": -1}, {"seed": -1}]
)
def test_settings_out_of_range(wrong: dict) -> None:
    settings = {"batch_size": 1, **wrong}
    with pytest.raises(ValueError, match="start at"):
        BatchLoader(ArraySource(numbered(2)), **settings)


def test_sources_of_sources() -> None:
    images = numbered(10)
    parts = [SubsetSource(ArraySource(images, "n"), rows) for rows in ([3, 1], [], [9, 0, 2])]
    joined = JoinedSource(parts)
    assert len(joined) == 5
    assert [int(joined[i][0, 0, 0]) for i in range(5)] == [3, 1, 9, 0, 2]
    assert joined.name(2) == "n 9"
    assert joined.size(4) == (5, 5)
    assert joined.channels == 3
    with pytest.raises(IndexError):
        joined[5]
    with pytest.raises(ValueError, match="same number of channels"):
        JoinedSource([parts[0], ArraySource(np.zeros((1, 2, 2, 1), np.uint8))])


def test_array_sources_check_what_they_get() -> None:
    with pytest.raises(ValueError, match="uint8"):
        ArraySource(np.zeros((1, 2, 2, 3), np.float32))
    with pytest.raises(ValueError, match="uint8"):
        ArraySource(np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(ValueError, match="1 names for 2 images"):
        ArraySource(numbered(2), ["one"])


def test_cache_forgets_what_is_dropped() -> None:
    cache = ImageCache(20)
    assert cache.offer("a", np.zeros(15, np.uint8))
    assert not cache.offer("b", np.zeros(6, np.uint8))
    cache.drop("a")
    cache.drop("never there")
    assert cache.offer("b", np.zeros(20, np.uint8))
    assert cache.get("a") is None
    assert len(cache) == 1
