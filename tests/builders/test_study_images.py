"""Which images a study measures, and as what."""

import copy

import numpy as np
import pytest
from PIL import Image

from builders.errors import UserError
from builders.spec import parse_spec
from builders.study_images import test_images as images_of
from builders.transforms import resize_image
from tests.codec_models import TREES, photo


@pytest.fixture
def spec(tmp_path):
    """Makes a spec on a folder of ten pictures of 20x30."""
    for place in range(10):
        path = tmp_path / "photos" / f"{place}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(photo(20, 30, seed=place)).save(path)

    def make(kind, **dataset):
        tree = copy.deepcopy(TREES[kind])
        section = {"name": str(tmp_path / "photos"), "test_fraction": 0.4, **dataset}
        return parse_spec(tree | {"dataset": section}, f"{kind}.json")

    return make


def test_free_sides_stay_whole_and_fixed_ones_are_cut(spec):
    free = images_of({"a": spec("factorized", crop=[16, 16])}, None, None)
    assert free.channels == 3 and free.split == "test" and len(free.photos) >= 2
    assert {photo.load().shape for photo in free.photos} == {(20, 30, 3)}
    resized = images_of({"a": spec("factorized", resize=[24, 32], crop=[16, 16])}, None, 1)
    (only,) = resized.photos
    assert only.name == free.photos[0].name
    assert (only.load() == resize_image(free.photos[0].load(), (24, 32))).all()
    fixed = images_of({"a": spec("plain", crop=[16, 16])}, None, None)
    assert (fixed.photos[0].load() == free.photos[0].load()[2:18, 7:23]).all()


def test_tiles_of_whole_test_images_give_whole_images(spec, tmp_path):
    whole = images_of({"a": spec("factorized", crop=[16, 16])}, None, None)
    cut = {"tile": [10, 15], "crop": [8, 8]}
    tiled = images_of({"a": spec("factorized", **cut)}, None, None)
    assert [(p.name, p.digest) for p in tiled.photos] == [(p.name, p.digest) for p in whole.photos]
    (resized,) = images_of({"a": spec("factorized", resize=[40, 60], **cut)}, None, 1).photos
    assert resized.load().shape == (40, 60, 3)
    # A single image also has tiles to train on: those of the test split are all there is.
    single = str(tmp_path / "photos" / "3.png")
    parts = images_of({"a": spec("factorized", name=single, **cut)}, None, None)
    assert {photo.load().shape for photo in parts.photos} == {(10, 15, 3)}
    assert all(photo.name.startswith("3.png at ") for photo in parts.photos)
    fixed = images_of({"a": spec("plain", tile=[18, 18], crop=[16, 16])}, None, None)
    assert {photo.load().shape for photo in fixed.photos} == {(16, 16, 3)}


def test_gray_images_are_three_equal_channels(spec, tmp_path):
    gray = spec("dense", color="grayscale", resize=[8, 8])
    found = images_of({"a": gray}, None, 2)
    assert found.channels == 1
    pixels = found.photos[0].load()
    assert pixels.shape == (8, 8, 3) and (pixels == pixels[..., :1]).all()
    # A file in colour is converted as the data set's are, and keeps its size.
    own = images_of({"a": gray}, tmp_path / "photos" / "3.png", None)
    (pixels,) = (photo.load() for photo in own.photos)
    wanted = np.asarray(Image.open(tmp_path / "photos" / "3.png").convert("L"))
    assert (pixels == wanted[..., None]).all() and own.split is None


def test_images_are_known_by_their_pixels(spec, tmp_path):
    split = images_of({"a": spec("factorized", crop=[16, 16])}, None, None)
    files = images_of({"a": spec("factorized", crop=[16, 16])}, tmp_path / "photos", None)
    digests = {photo.name: photo.digest for photo in files.photos}
    assert len(set(digests.values())) == 10
    for each in split.photos:
        assert digests[each.name] == each.digest
    fewer = images_of({"a": spec("factorized", crop=[16, 16])}, tmp_path / "photos", 3)
    assert [photo.name for photo in fewer.photos] == ["0.png", "4.png", "9.png"]


def test_specs_that_train_on_other_crops_see_the_same(spec):
    specs = {"a": spec("factorized", crop=[16, 16]), "b": spec("scale", crop=[20, 28])}
    assert images_of(specs, None, None).photos
    specs["c"] = spec("plain", crop=[16, 16])
    with pytest.raises(UserError, match="see different test images") as error:
        images_of(specs, None, None)
    assert "  b: " in str(error.value) and "20x30 (height x width)" in str(error.value)
    assert "  c: " in str(error.value) and "16x16 (height x width)" in str(error.value)


def test_a_file_that_can_not_be_read_is_left_to_the_measuring(spec, tmp_path):
    (tmp_path / "photos" / "broken.png").write_bytes(b"no picture")
    found = images_of({"a": spec("factorized", crop=[16, 16])}, tmp_path / "photos", None)
    assert len(found.photos) == 11
