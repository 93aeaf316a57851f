"""Images in one array: what lies where, and that plans cut the loader's batches out of it."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import image_bank
from builders.errors import UserError
from builders.image_bank import bank_bytes, cut_images, fill_bank, known_sizes
from builders.loader import BatchLoader
from builders.plans import PlanLoader
from builders.sources import ArraySource, SubsetSource
from builders.transforms import ImageTransform


class Unmeasured(ArraySource):
    """Images whose sizes are known when they are decoded."""

    def size(self, index):
        return None


def images(count=7, channels=3, least=6):
    """Images of many sizes; no pixel tells by its value where it is."""
    rng = np.random.default_rng(count)
    sizes = rng.integers(least, least + 6, (count, 2))
    return [rng.integers(0, 256, (*size, channels), dtype=np.uint8) for size in sizes]


def cut(bank, plans, size):
    """What the compiled step does with a plan."""
    return keras.ops.convert_to_numpy(
        cut_images(bank.pixels, bank.starts, bank.widths, keras.ops.convert_to_tensor(plans), size)
    )


@pytest.mark.parametrize("kind", [ArraySource, Unmeasured])
def test_every_image_lies_where_the_bank_says(kind):
    originals = images()
    told = []
    bank = fill_bank(kind(originals), ImageTransform(), lambda *each: told.append(each))
    assert len(bank) == 7
    assert bank.nbytes == bank.pixels.nbytes == sum(image.nbytes for image in originals)
    for index, image in enumerate(originals):
        height, width = bank.sizes[index]
        flat = bank.pixels[bank.starts[index] : bank.starts[index] + height * width]
        np.testing.assert_array_equal(flat.reshape(height, width, 3), image)
    assert told[-1] == ("collecting images", 7, 7)


def test_what_never_changes_is_done_before(monkeypatch):
    transform = ImageTransform(channels=1, resize=(5, 4), crop=(2, 2), flip=True, training=True)
    source = ArraySource(images())
    bank = fill_bank(source, transform)
    assert bank.sizes.tolist() == [[5, 4]] * 7
    np.testing.assert_array_equal(
        bank.pixels.reshape(7, 5, 4, 1), [transform.prepared(each) for each in images()]
    )


@given(
    st.integers(1, 9), st.integers(1, 4), st.integers(0, 9), st.booleans(), st.integers(0, 2),
    st.sampled_from([None, (5, 6), (None, 3), (6, None)]), st.sampled_from([None, (9, 8)]),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_plans_cut_the_batches_of_the_loader(count, batch, seed, flip, start, crop, resize):
    originals = images(count, least=6 if crop == (5, 6) or resize else 8)
    if resize is None and crop != (5, 6):  # a side that stays whole must be equal
        originals = [image[:8, :8] for image in originals]
    source = SubsetSource(ArraySource(originals), np.arange(count)[::-1])
    transform = ImageTransform(channels=3, resize=resize, crop=crop, flip=flip, training=True)
    loader = BatchLoader(source, batch, transform=transform, shuffle=True, seed=seed, workers=0)
    bank = fill_bank(source, transform)
    plans = PlanLoader(source, bank.sizes, batch, transform=transform, shuffle=True, seed=seed)
    assert len(plans) == len(loader) and plans.images == loader.images == count
    for epoch in (0, 3):
        expected = list(loader.batches(epoch, start))
        found = list(plans.batches(epoch, start))
        assert len(found) == len(expected)
        for plan, wanted in zip(found, expected, strict=True):
            assert plan.dtype == np.int32 and plan.shape == (len(wanted), 4)
            np.testing.assert_array_equal(cut(bank, plan, wanted.shape[1:3]), wanted)


def test_plans_of_images_used_as_they_are():
    source = ArraySource(np.zeros((5, 4, 4, 1), np.uint8))
    plans = PlanLoader(source, np.full((5, 2), 4), 3, transform=ImageTransform(training=True))
    found = list(plans.batches(0))
    assert np.concatenate(found).tolist() == [[index, 0, 0, 0] for index in range(5)]
    assert plans.wait_seconds >= 0.0


def test_sizes_are_asked_of_the_source_before_anything_is_decoded():
    source = ArraySource(images())
    sizes = known_sizes(source, ImageTransform())
    assert sizes.tolist() == [list(image.shape[:2]) for image in images()]
    assert bank_bytes(sizes, 3) == sum(image.nbytes for image in images())
    assert known_sizes(Unmeasured(images()), ImageTransform()) is None
    assert known_sizes(Unmeasured(images()), ImageTransform(resize=(3, 5))).tolist() == [[3, 5]] * 7


def test_more_pixels_than_can_be_counted_are_refused(monkeypatch):
    class Vast(ArraySource):
        def size(self, index):
            return 40_000, 40_000

    message = r"dataset.on_device: the training images have 3,200,000,000 pixels, at most 2,147,483"
    with pytest.raises(UserError, match=message):
        fill_bank(Vast(images(2)), ImageTransform())
    pixels = sum(image.shape[0] * image.shape[1] for image in images())
    monkeypatch.setattr(image_bank, "PIXELS_MAX", pixels)
    fill_bank(ArraySource(images()), ImageTransform())
    monkeypatch.setattr(image_bank, "PIXELS_MAX", pixels - 1)
    with pytest.raises(UserError, match=f"have {pixels} pixels, at most {pixels - 1} can"):
        fill_bank(Unmeasured(images()), ImageTransform())


def test_an_image_that_changed_its_size_is_named():
    class Changed(ArraySource):
        def __getitem__(self, index):
            return super().__getitem__(index)[:-1] if index == 2 else super().__getitem__(index)

    height, width = images()[2].shape[:2]
    message = f"image 2: {height - 1}x{width} pixels now, {height}x{width} when the data set was"
    with pytest.raises(UserError, match=message):
        fill_bank(Changed(images()), ImageTransform())
