"""The benchmark of efforts: its figures are the codec's own, and mistakes are told."""

import pytest
from PIL import Image

from benchmarks import effort
from benchmarks.effort import EFFORTS, QUALITIES, points_of
from builders.codec_choice import quality_index
from codec.image_codec import ImageCodec
from codec.picture import Picture
from tests.codec_models import photo


@pytest.fixture
def images(workdir):
    (workdir / "images").mkdir()
    Image.fromarray(photo(64, 80)).save(workdir / "images" / "a.png")


def test_points_are_those_of_files(codecs):
    tiny, picture, seconds = codecs["mean_scale"].codec, Picture(photo(64, 80)), {}
    codec = ImageCodec(tiny.bundle, lambda: tiny.transforms)
    points = points_of(codec, picture, seconds)
    assert list(points) == [(each, quality) for each in EFFORTS for quality in QUALITIES]
    assert {each: len(found) for each, found in seconds.items()} == dict.fromkeys(EFFORTS, 5)
    again = ImageCodec(tiny.bundle, lambda: tiny.transforms, effort=EFFORTS[2])
    data = again.compress(picture, quality_index(QUALITIES[1], tiny.bundle.qualities))
    assert points[EFFORTS[2], QUALITIES[1]][0] == 8 * len(data) / (64 * 80)


def test_a_row_for_each_effort(call, codecs, images):
    code, out, err = call(effort, "--model", codecs["mean_scale"].folder, "--images=images")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("| effort | quality 10: bpp, dB |")
    assert [int(line.split("|")[1]) for line in lines[2:-2]] == list(EFFORTS)
    assert lines[-1].startswith("Seconds a file, by effort: 0: ")


def test_a_model_of_one_quality_is_refused(call, codecs, images):
    code, _, err = call(effort, "--model", codecs["plain"].folder, "--images=images")
    assert code == 2
    assert "has one quality" in err
