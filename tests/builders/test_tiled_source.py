"""Tiles of large images: where they stand, how they are split, what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from builders.data_splits import Splits
from builders.dataset_builder import DatasetBuilder
from builders.errors import UserError
from builders.sections import DatasetSection
from builders.sources import ArraySource
from builders.tiled_source import TiledSource
from builders.transforms import resize_image


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def opened(path: Path, **settings: Any) -> Splits:
    section = DatasetSection.model_validate({"name": str(path), **settings})
    return DatasetBuilder(section, (None, None, 3)).build()


def test_tiles_cover_the_image_and_the_last_ones_are_moved_back() -> None:
    image = noise(10, 13)
    tiles = TiledSource(ArraySource([image, image[:4, :4]]), (4, 4))
    assert len(tiles) == 3 * 4 + 1
    assert [tiles.name(i) for i in (0, 5, 11, 12)] == [
        "image 0 at 0,0",
        "image 0 at 4,4",
        "image 0 at 6,9",
        "image 1 at 0,0",
    ]
    assert np.array_equal(tiles[11], image[6:10, 9:13])
    assert tiles.overlapping.tolist() == [False] * 3 + [True] + [False] * 3 + [True] * 5 + [False]
    seen = np.zeros((10, 13), bool)
    for index in range(12):
        _, place = tiles.name(index).split(" at ")
        top, left = map(int, place.split(","))
        seen[top : top + 4, left : left + 4] = True
        assert tiles.size(index) == tiles[index].shape[:2] == (4, 4)
    assert seen.all()


def test_the_tiles_of_one_image_are_split_and_share_no_pixel(tmp_path: Path) -> None:
    image = noise(70, 90)
    Image.fromarray(image).save(tmp_path / "sky.png")
    splits = opened(tmp_path / "sky.png", tile=[16, 16], validation_fraction=0.25)
    parts = [splits.train, splits.validation, splits.test]
    assert sum(map(len, parts)) == 4 * 5  # what is left at the right and the bottom is not used
    assert all(len(part) >= 1 for part in parts)
    names = [part.name(i) for part in parts for i in range(len(part))]
    assert len(set(names)) == 20
    assert any("20 tiles of 16x16 split by a hash" in note for note in splits.notes)
    in_folder = opened(tmp_path, tile=[16, 16], validation_fraction=0.25)
    assert [in_folder.train.name(i) for i in range(len(in_folder.train))] == [
        splits.train.name(i) for i in range(len(splits.train))
    ]
    (batch,) = list(splits.loader("validation", 100).batches(0))
    assert batch.shape == (len(splits.validation), 16, 16, 3)


def test_several_images_are_split_as_wholes(tmp_path: Path) -> None:
    for split, count in (("train", 2), ("val", 1)):
        (tmp_path / split).mkdir()
        for index in range(count):
            Image.fromarray(noise(20, 33, index)).save(tmp_path / split / f"{index}.png")
    splits = opened(tmp_path, tile=[16, 16], test_fraction=0.0)
    assert len(splits.train) == 2 * 2 * 3
    assert len(splits.validation) == 2 * 3
    assert {splits.validation.name(i).split(" ")[0] for i in range(6)} == {"val/0.png"}


def test_whole_images_are_resized_before_they_are_cut(tmp_path: Path) -> None:
    for index in range(4):
        Image.fromarray(noise(64, 96, index)).save(tmp_path / f"{index}.png")
    splits = opened(tmp_path, tile=[16, 16], resize=[32, 48], crop=[8, 8])
    assert len(splits.train) % (2 * 3) == 0
    whole = splits.train.whole  # type: ignore[attr-defined]
    assert splits.train.size(0) == (16, 16)
    expected = resize_image(np.asarray(Image.open(tmp_path / whole.name(0))), (32, 48))
    assert np.array_equal(splits.train[4], expected[16:, 16:32])
    assert splits.train_transform.resize is None
    (batch,) = list(splits.loader("train", 1000).batches(0))
    assert batch.shape[1:] == (8, 8, 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "nothing to be validated on, unless it is cut into tiles: set dataset.tile"),
        ({"tile": [64, 16]}, "20x33 pixels (height x width) are too few for dataset.tile 64x16"),
        ({"tile": [20, 20]}, "one tile of 20x20 cannot be split"),
        ({"tile": [8, 8], "every_nth": 2}, "dataset.every_nth: is for videos"),
    ],
)
def test_a_single_image_that_can_not_be_split(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    Image.fromarray(noise(20, 33)).save(tmp_path / "one.png")
    with pytest.raises(UserError) as caught:
        opened(tmp_path / "one.png", **settings)
    assert message in str(caught.value)


def test_tiles_of_what_has_no_files() -> None:
    section = DatasetSection.model_validate({"name": "photos", "tile": [16, 16]})
    with pytest.raises(
        UserError, match=r"dataset\.tile: is for image files, photos is an embedded"
    ):
        DatasetBuilder(section, (None, None, 3)).build()
