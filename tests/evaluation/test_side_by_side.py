"""Pictures beside each other, and the table of models, with codecs of known rates."""

from dataclasses import dataclass

import numpy as np
import pytest

from evaluation import benchmark_pictures
from evaluation.benchmark_run import Photo
from evaluation.codecs import CodecError
from evaluation.model_table import mean_squared_error, model_rows, models_markdown
from evaluation.side_by_side import (
    Detail,
    details_figure,
    nearest_setting,
    samples_figure,
    side_by_side,
)

PIXELS = np.arange(24 * 36 * 3).reshape(24, 36, 3).astype(np.uint8)
PHOTO = Photo("some/long/name/of/a/picture.png", "0", lambda: PIXELS)


@dataclass
class Constant:
    """A codec whose files have as many bytes as its setting, and whose pictures one colour."""

    name: str
    usual: float
    scale: tuple = (10.0, 100.0, 1000.0, 2000.0)
    color: int = 7
    fails: bool = False

    label = property(lambda self: self.name)
    parameter = "bytes"

    def encode(self, pixels, setting):
        if self.fails:
            raise CodecError("no")
        return bytes(int(setting))

    def decode(self, data):
        return np.full_like(PIXELS, self.color)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    found = {"psnr_rgb_db": 30.0, "ms_ssim": 0.5}
    monkeypatch.setattr(benchmark_pictures, "measures", lambda *_: found)


@pytest.mark.parametrize(
    ("wanted", "setting"),
    [(1, 10), (10, 10), (20, 10), (40, 100), (300, 100), (320, 1000), (1500, 2000), (9999, 2000)],
)
def test_the_nearest_file_is_above_or_below(wanted, setting):
    found, data = nearest_setting(Constant("c", 10), PIXELS, wanted)
    assert (found, len(data)) == (setting, setting)


def test_the_classical_codec_has_the_size_of_the_middle_model():
    models = [Constant("a", 2000), Constant("b", 100), Constant("c", 10, fails=True)]
    models += [Constant("d", 10, scale=(10.0,))]
    shown = side_by_side(PHOTO, models, Constant("jpeg", 10))
    assert [(v.label, v.setting, v.file_bytes) for v in shown.versions] == [
        ("a", "bytes 2000", 2000),
        ("b", "bytes 100", 100),
        ("d", "", 10),  # one setting needs no name
        ("jpeg", "bytes 100", 100),
    ]
    assert shown.failed == ("c: no",)
    assert len(side_by_side(PHOTO, models[:2], None).versions) == 2
    failing = side_by_side(PHOTO, models[2:3], Constant("jpeg", 10))
    assert failing.versions == ()


def test_pixels_are_shown_as_they_are():
    shown = side_by_side(PHOTO, [Constant("a", 10)], Constant("b", 10, color=200))
    figure = samples_figure([shown])
    assert holds(figure, PIXELS.repeat(3, axis=0).repeat(3, axis=1))  # 36 pixels to at least 96
    assert holds(figure, np.full((72, 108, 3), 7, np.uint8))
    two = samples_figure([shown, shown])
    assert two.shape == (2 * figure.shape[0], *figure.shape[1:])
    assert (two[: len(figure)] == figure).all()


def test_a_detail_is_enlarged_by_repeating_its_pixels():
    shown = side_by_side(PHOTO, [Constant("a", 10)], None)
    part = Detail(PHOTO.name, 2, 30, 5, 4)
    figure = details_figure([(shown, part)])
    assert holds(figure, PIXELS[2:7, 30:34].repeat(64, axis=0).repeat(64, axis=1))  # to 320
    assert holds(figure, np.full((320, 256, 3), 7, np.uint8))


def holds(figure, part):
    """Whether a picture holds another one somewhere."""
    height, width = part.shape[:2]
    starts = np.argwhere((figure == part[0, 0]).all(axis=-1))
    return any((figure[y : y + height, x : x + width].shape == part.shape)
               and (figure[y : y + height, x : x + width] == part).all() for y, x in starts)  # fmt: skip


def codec(name, settings, speed=None):
    """An entry of results.json with two pictures of 10x20 and 20x20."""

    def point(setting, scale):
        return {"setting": setting, "bytes": scale * int(setting), "bpp": 0.5, "psnr_rgb_db": 20.0}

    pictures = {
        "a": {"width": 20, "height": 10, "points": [point(s, 1) for s in settings]},
        "b": {"width": 20, "height": 20, "points": [point(s, 3) for s in settings]},
    }
    means = [
        {"setting": s, "bpp": 0.5, "psnr_rgb_db": 20.0, "ssim": 0.9, "ms_ssim": 0.8}
        for s in settings
    ]
    return {
        "name": name,
        "label": name.upper(),
        "parameter": "quality",
        "model_bytes": None,
        "pictures": pictures,
        "points": means,
        "speed": speed,
    }


def test_rows_take_times_of_their_own_setting():
    def timings(*seconds):
        return [{"setting": s, "encode_s": [t, 3 * t], "decode_s": [t / 2]} for s, t in seconds]

    speed = {"pictures": {"a": {"timings": timings((10, 0.1), (20, 0.2))}}}
    speed["pictures"]["b"] = {"timings": timings((10, 0.2), (20, 0.4))}
    results = {"codecs": [codec("ours", [10], speed), codec("jpeg", [10, 20, 30], speed)]}
    known = {"model": "m", "quantization": "naive", "qualities": 1, "epochs": 3, "best_epoch": 2}
    rows = model_rows(results, {"ours": known}, channels=1)
    assert [row["setting"] for row in rows] == [None, 10, 20, 30]
    assert rows[0]["bytes"] == 20 and rows[0]["ratio"] == pytest.approx(600 / 40)
    assert rows[0]["mse"] == pytest.approx(0.01)
    assert rows[1]["encode_ms"] == pytest.approx(250)  # of 100, 300, 200, 600
    assert rows[2]["decode_ms"] == pytest.approx(150)  # of 100, 200
    assert rows[3]["encode_ms"] is None
    assert model_rows(results, {}, channels=3)[1]["ratio"] == pytest.approx(3 * 600 / 40)
    pictures = [{"name": n, "height": h, "width": 20} for n, h in (("a", 10), ("b", 20))]
    images = {"from": "x", "split": None, "channels": 1, "pictures": pictures}
    text = models_markdown({"test_images": images, "rows": rows, "failed": []})
    assert "2 pictures of `x`, 10x20, 20x20 pixels (height x width), 1 channel of" in text
    assert "| m | - | naive | 3 | - | - | - | 20 | 15.00 | 0.5000 | 0.01 | 20.00 |" in text
    assert "| 250 | 75 |" in text and "| 1,234 | 5.68 |" in models_markdown(
        {
            "test_images": images,
            "rows": [rows[1] | {"encode_ms": 1234.5, "decode_ms": 5.678}],
            "failed": [],
        }
    )
    assert "| JPEG | quality 30 | - |" in text and "Failures" not in text


def test_a_picture_without_error_has_none():
    assert mean_squared_error(100.0) == 0
    assert mean_squared_error(10.0) == pytest.approx(0.1)
