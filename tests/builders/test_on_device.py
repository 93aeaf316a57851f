"""Where training images are held, and what a user is told of it."""

import dataclasses
import sys
import types

import keras
import numpy as np
import pytest

from builders import on_device
from builders.data_splits import Splits
from builders.errors import UserError
from builders.on_device import DeviceImages, training_feed
from builders.plans import PlanLoader
from builders.sources import ArraySource
from builders.transforms import ImageTransform

SHAPE = (8, 8, 1)


class Unmeasured(ArraySource):
    """Images whose sizes are known when they are decoded."""

    def size(self, index):
        return None


def splits(train=None, crop=(8, 8)):
    source = ArraySource(np.zeros((6, 10, 9, 1), np.uint8))
    transforms = [ImageTransform(channels=1, crop=crop, training=each) for each in (True, False)]
    return Splits(
        train or source, source, source,
        train_transform=transforms[0], evaluation_transform=transforms[1],
    )  # fmt: skip


@pytest.fixture
def put(monkeypatch):
    """JAX on an accelerator, as far as the choice can see; gives the banks that were put there."""
    banks = []

    def note(bank):
        banks.append(bank)
        return DeviceImages(
            (bank.pixels, bank.starts, bank.widths), bank.sizes, bank.nbytes, (0, 0)
        )

    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(on_device, "has_accelerator", lambda: True)
    monkeypatch.setattr(on_device, "_put", note)
    return banks


def test_images_go_on_an_accelerator_where_they_fit(put, tiny):
    feed = training_feed(tiny(), splits(), 8, SHAPE)
    assert isinstance(feed.loader, PlanLoader) and feed.images.size == (8, 8)
    assert len(put) == 1
    assert feed.note == (
        "the 6 training images are held on the device, 0.0 MiB; crops and flips are made there"
    )
    (batch,) = list(feed.batches())
    assert batch.shape == (6, 4) and batch.dtype == np.int32


def test_images_that_are_there_are_not_put_again(put, tiny):
    first = training_feed(tiny(), splits(), 8, SHAPE)
    second = training_feed(tiny(), splits(crop=(4, 9)), 8, SHAPE, held=first.images)
    assert len(put) == 1
    assert second.images.arrays is first.images.arrays
    assert (first.images.size, second.images.size) == ((8, 8), (4, 9))


@pytest.mark.parametrize(
    ("changes", "source", "note"),
    [
        ({"dataset.on_device": False}, None, ""),
        (
            {"dataset.cache_mebibytes": 0},
            None,
            "images stay with the loader: decoded they take 0 MiB, dataset.cache_mebibytes allows 0",
        ),
        (
            {},
            Unmeasured(np.zeros((6, 10, 9, 1), np.uint8)),
            "images stay with the loader: their sizes are known only when decoded",
        ),
    ],
)
def test_where_they_don_t_fit_or_are_not_wanted_the_loader_has_them(
    put, tiny, changes, source, note
):
    feed = training_feed(tiny(changes), splits(source), 8, SHAPE)
    assert put == [] and feed.images is None and feed.note == note
    assert next(feed.batches()).shape == (6, 8, 8, 1)


def test_without_an_accelerator_they_stay_unless_asked_for(put, tiny, monkeypatch):
    monkeypatch.setattr(on_device, "has_accelerator", lambda: False)
    assert training_feed(tiny(), splits(), 8, SHAPE).note == ""
    assert put == []
    source = Unmeasured(np.zeros((6, 10, 9, 1), np.uint8))
    asked = {"dataset.on_device": True, "dataset.cache_mebibytes": 0}
    assert training_feed(tiny(asked), splits(source), 8, SHAPE).images is not None
    assert len(put) == 1


def test_under_tensorflow_the_loader_gives_the_same_batches(tiny, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "tensorflow")
    feed = training_feed(tiny({"dataset.on_device": True}), splits(), 8, SHAPE)
    assert feed.images is None
    assert feed.note == (
        "dataset.on_device: has no effect under TensorFlow; the loader gives the same batches"
    )
    assert training_feed(tiny(), splits(), 8, SHAPE).note == ""


def test_images_that_can_t_be_one_batch_are_named(put, tiny):
    sizes = [(9, 9), (10, 9), (7, 9)]
    source = Unmeasured([np.zeros((*size, 1), np.uint8) for size in sizes])
    asked = tiny({"dataset.on_device": True})
    with pytest.raises(UserError, match=r"image 2: 7x9 pixels \(height x width\) are too few for"):
        training_feed(asked, splits(source), 8, SHAPE)
    different = dataclasses.replace(
        splits(source), train_transform=ImageTransform(crop=(None, 4), training=True)
    )
    with pytest.raises(UserError, match=r"different sizes \(image 2: 7x4, image 0: 9x4, height x"):
        training_feed(asked, different, 8, SHAPE)


def test_a_device_that_is_too_small_is_told(tiny, monkeypatch):
    def refuse(arrays, sharding):
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 540 bytes.")

    jax = types.SimpleNamespace(device_put=refuse, block_until_ready=lambda arrays: arrays)
    monkeypatch.setitem(sys.modules, "jax", jax)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    message = "on_device: the training images, 0 MiB decoded, do not fit the device's memory: use"
    with pytest.raises(UserError, match=message):
        training_feed(tiny({"dataset.on_device": True}), splits(), 8, SHAPE)
    jax.device_put = lambda arrays, sharding: arrays
    feed = training_feed(tiny({"dataset.on_device": True}), splits(), 8, SHAPE)
    assert feed.images.arrays[0].shape == (6 * 10 * 9, 1)
