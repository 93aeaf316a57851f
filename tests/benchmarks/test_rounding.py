"""The benchmark of rounding: its figures are the codec's own, and mistakes are told."""

import pytest
from PIL import Image

from benchmarks import rounding
from benchmarks.rounding import PRICES, QUALITIES, points_of, table
from builders.codec_choice import quality_index
from codec.picture import Picture
from tests.codec_models import photo


@pytest.fixture
def images(workdir):
    (workdir / "images").mkdir()
    Image.fromarray(photo(64, 80)).save(workdir / "images" / "a.png")


def test_points_are_those_of_files(codecs):
    codec, picture = codecs["mean_scale"].codec, Picture(photo(64, 80))
    points = points_of(codec, picture)
    assert list(points) == [(price, quality) for price in PRICES for quality in QUALITIES]
    quality = QUALITIES[2]
    data = codec.compress(picture, quality_index(quality, codec.bundle.qualities))
    assert points[codec.coder.bit_price, quality][0] == 8 * len(data) / (64 * 80)
    assert points[PRICES[-1], quality][0] < points[0.0, quality][0]


def test_a_row_for_each_price_beside_plain_rounding(call, codecs, images):
    code, out, err = call(rounding, "--model", codecs["mean_scale"].folder, "--images=images")
    assert (code, err) == (0, "")
    rows = [line.split("|")[1:-1] for line in out.splitlines()[2:]]
    assert [float(row[0]) for row in rows] == list(PRICES)
    assert rows[0][-1] == " +0.00 % "
    assert all("%" in row[-1] or "rising points" in row[-1] for row in rows)


def test_the_difference_to_plain_rounding():
    def image(price: float, quality: int) -> tuple[float, float]:
        return (1 - price) * quality / 50, 30 + quality / 10

    points = {(price, quality): image(price, quality) for price in PRICES for quality in QUALITIES}
    lines = table([points, points]).splitlines()
    assert lines[2].endswith("| +0.00 % |")
    assert lines[-1].endswith(f"| {-100 * PRICES[-1]:+.2f} % |")


def test_mistakes_are_told(call, codecs, images):
    code, _, err = call(rounding, "--model", codecs["mean_scale"].folder, "--images=none")
    assert (code, err.count("\n")) == (2, 1)
    code, _, err = call(rounding, "--model", codecs["factorized"].folder, "--images=images")
    assert code == 2
    assert "one quality" in err
