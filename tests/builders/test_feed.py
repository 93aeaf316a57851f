"""What Keras is fed, under its two ways to take batches."""

import keras
import numpy as np
import pytest

from builders.feed import EpochFeed, _Sequence
from builders.image_reader import BrokenImage
from builders.loader import BatchLoader
from builders.sources import ArraySource

IMAGES = np.arange(10, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 1), np.uint8)


def feed(**settings):
    return EpochFeed(BatchLoader(ArraySource(IMAGES), 3, shuffle=True, **settings), (4, 4, 1))


def seen(keras_input, epochs=1):
    """What `fit` is given: for each epoch, its batches."""
    batches = []
    if isinstance(keras_input, keras.utils.PyDataset):
        for _ in range(epochs):
            batches.append([keras_input[i][0] for i in range(len(keras_input))])
            keras_input.on_epoch_end()
    else:
        batches.extend([np.asarray(batch) for batch in keras_input] for _ in range(epochs))
    return batches


def forms(one):
    return {"backend": one.keras_input(), "framework-free": _Sequence(one)}


@pytest.mark.parametrize("form", ["backend", "framework-free"])
def test_an_epoch_is_that_of_the_loader(form):
    one = feed(seed=3)
    one.epoch = 2
    expected = list(one.loader.batches(2))
    (found,) = seen(forms(one)[form])
    assert [len(batch) for batch in found] == [3, 3, 3, 1]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("form", ["backend", "framework-free"])
def test_the_epoch_is_read_when_it_begins(form):
    one = feed(seed=3)
    data = forms(one)[form]
    orders = []
    for epoch in (0, 1):
        one.epoch = epoch
        (batches,) = seen(data)
        orders.append(np.concatenate(batches)[:, 0, 0, 0].tolist())
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(10))
    assert orders[1] == one.loader.order(1).tolist()


@pytest.mark.parametrize("form", ["backend", "framework-free"])
def test_an_epoch_can_begin_in_its_middle(form):
    one = feed(seed=3)
    one.epoch, one.start_batch = 1, 2
    assert len(one) == 2
    (found,) = seen(forms(one)[form])
    np.testing.assert_array_equal(
        np.concatenate(found)[:, 0, 0, 0], one.loader.order(1)[6:].astype(np.uint8)
    )


def test_keras_knows_how_many_steps_an_epoch_has():
    one = feed()
    one.start_batch = 1
    data = one.keras_input()
    assert int(data.cardinality() if hasattr(data, "cardinality") else len(data)) == 3


def test_a_look_at_the_first_batch_does_not_shift_the_epoch():
    data = _Sequence(feed(seed=1))
    first = data[0][0]
    (again,) = seen(data)
    np.testing.assert_array_equal(first, again[0])
    # Any other order than one after the other is served too, only more slowly.
    np.testing.assert_array_equal(data[2][0], again[2])
    np.testing.assert_array_equal(data[1][0], again[1])


def test_what_went_wrong_with_a_batch_is_remembered():
    class Broken(ArraySource):
        @property
        def array(self):
            return None

        def __getitem__(self, index):
            raise BrokenImage("a.png", "went away")

    one = EpochFeed(BatchLoader(Broken(IMAGES), 3, workers=0), (4, 4, 1))
    assert one.failure is None
    with pytest.raises(BrokenImage):
        next(one.batches())
    assert str(one.failure) == "a.png: went away"
