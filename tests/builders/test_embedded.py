"""The embedded sets: numbers, sizes, and no photo in two splits."""

import sys

import numpy as np
import pytest

from builders.embedded import open_digits, open_photos
from builders.errors import UserError

SHARES = {"validation_fraction": 0.1, "test_fraction": 0.1}


def test_digits_are_all_there_once() -> None:
    splits = open_digits((8, 8), 1, **SHARES)
    assert [len(p) for p in (splits.train, splits.validation, splits.test)] == [1437, 180, 180]
    parts = (splits.train, splits.validation, splits.test)
    names = {part.name(i) for part in parts for i in range(len(part))}
    assert len(names) == 1797


def test_digits_at_their_own_size_are_exact() -> None:
    from sklearn.datasets import load_digits

    splits = open_digits((8, 8), 1, **SHARES)
    originals = load_digits().images
    for i in range(0, 1437, 100):
        number = int(splits.train.name(i).split()[1])
        np.testing.assert_array_equal(
            splits.train[i][:, :, 0], np.rint(originals[number] * 255 / 16)
        )


def test_digits_are_enlarged() -> None:
    splits = open_digits((28, 28), 1, **SHARES)
    assert splits.train[0].shape == (28, 28, 1)
    assert splits.train[0].dtype == np.uint8
    pixels = np.stack([splits.train[i] for i in range(300)])
    assert pixels.min() == 0
    assert pixels.max() == 255
    assert len(np.unique(pixels)) == 256  # interpolated, not repeated
    assert "28x28" in splits.notes[0]
    originals = open_digits((8, 8), 1, **SHARES).train
    small = np.stack([originals[i] for i in range(300)])
    assert abs(pixels.mean() - small.mean()) < 3  # enlarging keeps the brightness


def test_digits_in_colour_only_when_asked() -> None:
    with pytest.raises(UserError, match='"color": "rgb"'):
        open_digits((28, 28), 3, **SHARES)
    image = open_digits((28, 28), 3, color="rgb", **SHARES).train[0]
    assert (image[..., 0] == image[..., 2]).all()


def test_max_images_of_each_split() -> None:
    splits = open_digits((8, 8), 1, max_images=10, **SHARES)
    assert [len(p) for p in (splits.train, splits.validation, splits.test)] == [10] * 3


def test_no_photo_is_in_two_splits() -> None:
    pytest.importorskip("skimage")
    splits = open_photos((64, 64), 3, validation_fraction=0.25, test_fraction=0.25)
    files = []
    for part in (splits.train, splits.validation, splits.test):
        files.append({part.name(i).split(" at ")[0] for i in range(len(part))})
        assert {part.size(i) for i in range(len(part))} == {(64, 64)}
    assert files[1] == {"rocket.jpg", "astronaut.png"}
    assert files[2] == {"chelsea.png", "coffee.png"}
    assert files[0] == {"motorcycle_left.png", "motorcycle_right.png", "hubble_deep_field.jpg",
                        "ihc.png", "retina.jpg"}  # fmt: skip


def test_tiles_are_the_photos_pixels() -> None:
    skimage_data = pytest.importorskip("skimage.data")
    splits = open_photos((100, 90), 3, **SHARES)
    photo = skimage_data.chelsea()
    assert len(splits.test) == (300 // 100) * (451 // 90)
    for i in range(len(splits.test)):
        y, x = map(int, splits.test.name(i).split(" at ")[1].split(","))
        np.testing.assert_array_equal(splits.test[i], photo[y : y + 100, x : x + 90])


def test_photos_say_what_does_not_fit() -> None:
    pytest.importorskip("skimage")
    with pytest.raises(UserError, match='"color": "grayscale"'):
        open_photos((64, 64), 1, **SHARES)
    assert open_photos((64, 64), 1, color="grayscale", **SHARES).train.channels == 1
    with pytest.raises(UserError, match="tiles of 400x400 were asked for, chelsea has only"):
        open_photos((400, 400), 3, **SHARES)


def test_missing_libraries_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(UserError, match="pip install scikit-learn"):
        open_digits((28, 28), 1, **SHARES)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UserError, match="pip install scikit-image"):
        open_photos((64, 64), 3, **SHARES)
