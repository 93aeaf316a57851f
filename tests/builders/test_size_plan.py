"""Which sizes pass, which are cropped, and what is said about the others."""

import numpy as np
import pytest

from builders.errors import UserError
from builders.size_plan import plan_sizes
from builders.sources import ArraySource


def images(*sizes: tuple[int, int]) -> list[ArraySource]:
    arrays = [np.zeros((*size, 3), np.uint8) for size in sizes]
    return [ArraySource(arrays, [f"{i}.png" for i in range(len(sizes))])]


class Unknown(ArraySource):
    """A source that would have to decode an image to know its size."""

    def size(self, index: int) -> None:
        return None


def plan(sources, input_size, resize=None, crop=None):
    return plan_sizes(sources, input_size=input_size, resize=resize, crop=crop)


def test_equal_sizes_pass() -> None:
    result = plan(images((28, 28), (28, 28)), (28, 28))
    assert (result.resize, result.crop, result.notes) == (None, None, [])
    result = plan(images((30, 40), (30, 40)), (None, None))
    assert (result.resize, result.crop, result.notes) == (None, None, [])


def test_larger_images_are_cropped_and_it_is_said() -> None:
    result = plan(images((28, 28), (40, 50)), (28, 28))
    assert result.crop == (28, 28)
    assert len(result.notes) == 1
    assert "28x28" in result.notes[0]


def test_only_the_side_that_is_larger_is_cropped() -> None:
    assert plan(images((28, 50)), (28, 28)).crop == (None, 28)
    assert plan(images((30, 50), (30, 60)), (None, 28)).crop == (None, 28)


def test_smaller_images_are_named_with_what_helps() -> None:
    with pytest.raises(UserError, match=r'1\.png: 20x90 pixels .*28x28.*"resize": \[28, 28\]'):
        plan(images((40, 40), (20, 90)), (28, 28))


def test_free_size_needs_equal_images_or_a_crop() -> None:
    mixed = images((40, 50), (50, 40))
    with pytest.raises(UserError, match=r"0\.png: 40x50, 1\.png: 50x40.*set crop"):
        plan(mixed, (None, None))
    assert plan(mixed, (None, None), crop=(32, 32)).crop == (32, 32)
    assert plan(mixed, (None, None), resize=(32, 32)).resize == (32, 32)
    with pytest.raises(UserError, match="different sizes"):
        plan(images((30, 50), (31, 50)), (None, 28))


def test_resize_and_crop_as_asked() -> None:
    result = plan(images((40, 50)), (24, 24), resize=(32, 32), crop=(24, 24))
    assert (result.resize, result.crop) == ((32, 32), (24, 24))
    assert result.notes == []
    same = plan(images((40, 50)), (24, 24), resize=(24, 24), crop=(24, 24))
    assert (same.resize, same.crop) == ((24, 24), None)
    done = plan(images((24, 24)), (24, 24), resize=(24, 24))
    assert (done.resize, done.crop) == (None, None)
    done = plan(images((24, 24)), (24, 24), crop=(24, 24))
    assert (done.resize, done.crop) == (None, None)


def test_what_comes_out_must_be_what_goes_in() -> None:
    with pytest.raises(UserError, match=r"dataset\.resize: .*32x32.*input is 28x28.*or set crop"):
        plan(images((40, 40)), (28, 28), resize=(32, 32))
    with pytest.raises(UserError, match=r"dataset\.crop: .*32x32.*input is 28x28"):
        plan(images((40, 40)), (28, 28), crop=(32, 32))
    with pytest.raises(UserError, match="input is 28xany"):
        plan(images((40, 40)), (28, None), crop=(32, 32))
    with pytest.raises(UserError, match=r"dataset\.crop: 40x40 does not fit"):
        plan(images((90, 90)), (None, None), resize=(32, 32), crop=(40, 40))


def test_images_smaller_than_the_crop_are_found_before_training() -> None:
    with pytest.raises(UserError, match=r"1\.png: 30x90 .*crop 32x32"):
        plan(images((40, 40), (30, 90)), (None, None), crop=(32, 32))


def test_unknown_sizes_need_a_setting() -> None:
    sources = [Unknown(np.zeros((2, 9, 9, 3), np.uint8))]
    with pytest.raises(UserError, match="set crop or resize"):
        plan(sources, (None, None))
    assert plan(sources, (8, 8), crop=(8, 8)).crop == (8, 8)
    assert plan(sources, (8, 8), resize=(8, 8)).resize == (8, 8)
