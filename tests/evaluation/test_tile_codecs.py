"""Classical codecs on tiles: the sheet loses nothing, and its figures are those of the tiles."""

import io

import numpy as np
import pytest
from PIL import Image

from evaluation import tile_codecs
from evaluation.classical_codecs import MissingCodecError
from evaluation.tile_codecs import _sheet, _tiles, classical_curves, psnr_db
from tests.codec_models import photo


def tiles(count, height, width, channels=3):
    return np.stack([photo(height, width, channels, seed) for seed in range(count)])


@pytest.mark.parametrize(
    "shape", [(1, 8, 8), (2, 16, 48), (7, 20, 33), (5, 1, 1), (40, 16, 16)], ids=str
)
def test_tiles_come_back_from_the_sheet(shape):
    given = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    sheet = _sheet(given)
    assert sheet.shape[0] % 16 == 0 and sheet.shape[1] % 16 == 0
    np.testing.assert_array_equal(_tiles(sheet, given.shape), given)


def test_the_sheet_of_small_tiles_is_about_square():
    assert _sheet(tiles(36, 16, 16)).shape == (96, 96, 3)
    height, width, _ = _sheet(tiles(8, 16, 64)).shape
    assert max(height, width) <= 2 * min(height, width)


def test_psnr_is_that_of_each_image():
    x = np.full((3, 4, 4, 1), 100, np.uint8)
    found = psnr_db(x, x + np.array([0, 1, 16]).reshape(3, 1, 1, 1))
    assert found == pytest.approx([100.0, 10 * np.log10(255**2), 10 * np.log10(255**2 / 256)])


def test_curves_grow_and_are_those_of_the_codecs():
    given = tiles(4, 32, 32)
    jpeg, webp = classical_curves(given)
    assert (jpeg.family, webp.family) == ("jpeg", "webp")
    for curve in (jpeg, webp):
        assert len(curve.points.bpp) >= 5
        assert list(curve.points.bpp) == sorted(curve.points.bpp)
        assert list(curve.points.psnr_db) == sorted(curve.points.psnr_db)
    # By Pillow itself, the four tiles as a square.
    whole = np.block([[[given[0]], [given[1]]], [[given[2]], [given[3]]]])
    file = io.BytesIO()
    Image.fromarray(whole).save(file, "JPEG", quality=95, optimize=True, subsampling="4:2:0")
    assert jpeg.points.bpp[-1] == pytest.approx(8 * len(file.getvalue()) / (4 * 32 * 32))
    error = np.square(np.asarray(Image.open(file), np.float64) - whole).reshape(2, 32, 2, 32, 3)
    each = 10 * np.log10(255**2 / error.mean(axis=(1, 3, 4)))
    assert jpeg.points.psnr_db[-1] == pytest.approx(each.mean())


def test_gray_tiles_are_stored_as_gray_ones():
    gray = tiles(4, 32, 32, channels=1)
    coloured = classical_curves(tiles(4, 32, 32))[0]
    assert classical_curves(gray)[0].points.bpp[-1] < coloured.points.bpp[-1]


def test_tiles_that_no_codec_takes_have_no_curves():
    assert classical_curves(np.zeros((2, 8, 8, 4), np.uint8)) == []


def test_a_codec_that_is_not_there_says_so(monkeypatch):
    def missing(family, threads):
        raise MissingCodecError(f"{family} is not part of this Pillow")

    monkeypatch.setattr(tile_codecs, "classical_codecs", missing)
    found = classical_curves(tiles(2, 16, 16))
    assert [curve.label for curve in found] == [
        "jpeg is not part of this Pillow",
        "webp is not part of this Pillow",
    ]
    assert all(curve.points.bpp == () for curve in found)


def test_a_sheet_that_a_format_refuses_is_told_in_its_label():
    _, webp = classical_curves(np.zeros((1, 1, 16400, 3), np.uint8))  # WebP ends at 16383
    assert webp.label.startswith("WebP method 4: quality 1")
    assert webp.points.bpp == ()
