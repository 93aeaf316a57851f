"""Passes over pictures and codecs, and what is made of their results."""

import json
import threading
from dataclasses import dataclass, field

import numpy as np
import pytest

from evaluation import benchmark_pictures, benchmark_run
from evaluation.benchmark_figures import rate_distortion, speed
from evaluation.benchmark_pictures import (
    at_equal_bytes,
    choose_photos,
    crop_figure,
    most_different,
)
from evaluation.benchmark_results import (
    choose_anchor,
    codec_entry,
    compare,
    mean_points,
    published_entries,
)
from evaluation.benchmark_run import (
    Photo,
    measure_quality,
    measure_time,
    timed_settings,
    write_whole,
)
from evaluation.benchmark_table import comparison_rows, markdown
from evaluation.codecs import CodecError
from evaluation.reference_points import reference_points
from tests.codec_models import photo

SETTINGS = (8.0, 16.0, 32.0, 64.0, 128.0)


@dataclass
class Levels:
    """A codec that keeps some gray levels, and counts how often it is asked.

    A file is as many bytes as there are levels, times `cost`, for each pixel: known rates.
    """

    name: str = "levels"
    cost: int = 1
    family: str = "levels"
    fails_on: int = -1
    calls: list = field(default_factory=list)
    label: str = "Levels"
    parameter: str = "levels"
    settings: tuple = SETTINGS
    scale: tuple = SETTINGS
    usual: float = 32.0
    model_bytes: int | None = None
    threads: int = 1

    @property
    def about(self):
        return {"options": {"cost": self.cost}, "versions": {"levels": "1"}}

    def encode(self, pixels, setting):
        self.calls.append((threading.current_thread().name, setting))
        if pixels.shape[1] == self.fails_on:
            raise CodecError("too odd a picture")
        head = np.array([setting, *pixels.shape], "<f4").tobytes()
        step = 256 / setting
        rest = int(setting) * self.cost * pixels.shape[0] * pixels.shape[1] // 8 - len(head)
        kept = (np.floor(pixels / step) * step + step / 2).clip(0, 255).astype(np.uint8)
        self.kept = getattr(self, "kept", {}) | {(setting, pixels.shape): kept}
        return head + bytes(rest)

    def decode(self, data):
        setting, *shape = np.frombuffer(data[:16], "<f4")
        return self.kept[float(setting), tuple(int(each) for each in shape)]


def photos(*widths):
    """One picture for each width, named by it."""

    def make(width):
        return Photo(f"{width}.png", f"{width:064x}", lambda: photo(20, width, seed=width))

    return [make(width) for width in widths]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Measures from PSNR alone: test_codecs.py has the real ones, which take their time."""

    def stand_in(original, decoded):
        db = 10 * np.log10(255**2 / np.mean((decoded.astype(float) - original) ** 2))
        share = 1 - 10 ** (-db / 10)
        names = ("ssim", "ms_ssim")
        return {"psnr_rgb_db": db, "psnr_luma_db": db, "ms_ssim_db": db} | dict.fromkeys(
            names, share
        )

    for module in (benchmark_run, benchmark_pictures):
        monkeypatch.setattr(module, "measures", stand_in)


def quiet(*_):
    """No progress."""


@pytest.fixture
def two():
    return [Levels(), Levels(name="double", label="Double", cost=2)]


def results_of(codecs, pictures, tmp_path, published=(), failures=()):
    quality = measure_quality(pictures, codecs, tmp_path, 1, quiet)
    time = measure_time(pictures[:1], codecs, tmp_path, 1, "machine", quiet)
    entries = [codec_entry(codec, pictures, quality, time) for codec in codecs]
    return {
        "made": "today",
        "environment": {"processor": "P", "cores": 1, "python": "3"},
        "dataset": {"path": "x", "pictures": [{"name": p.name} for p in pictures]},
        "timing": {"repeats": 1, "pictures": [pictures[0].name]},
        "anchor": codecs[0].name,
        "codecs": entries,
        "peers": [],
        "metrics": {},
        "published": list(published),
        "published_note": None,
        "reference": {"provenance": ["from there"], "caveats": []},
        "comparisons": [compare(a, b) for a in entries for b in (*entries, *published)],
        "break_even": {},
        "left_out": ["Left out: nothing."],
        "failures": list(failures),
    }


def test_every_picture_codec_and_setting_is_measured(two, tmp_path):
    told = []
    pictures = photos(24, 32)
    found = measure_quality(pictures, two, tmp_path, 1, lambda *each: told.append(each))
    assert set(found.records) == {
        (c, p) for c in ("levels", "double") for p in ("24.png", "32.png")
    }
    assert found.failures == []
    assert told == [("coding", n, 4) for n in range(1, 5)]
    record = found.records["double", "24.png"]
    assert (record["width"], record["height"]) == (24, 20)
    assert [point["setting"] for point in record["points"]] == list(SETTINGS)
    assert [point["bpp"] for point in record["points"]] == [2 * each for each in SETTINGS]
    assert [point["bytes"] for point in record["points"]] == [120 * each for each in SETTINGS]
    values = [point["psnr_rgb_db"] for point in record["points"]]
    assert values == sorted(values) and values[0] > 25


def test_what_is_done_is_not_done_again(two, tmp_path):
    first = measure_quality(photos(24), two[:1], tmp_path, 1, quiet)
    assert len(two[0].calls) == len(SETTINGS)
    told = []
    again = measure_quality(photos(24, 32), two, tmp_path, 1, lambda *each: told.append(each[1:]))
    assert len(two[0].calls) == 2 * len(SETTINGS)  # for the new picture alone
    assert again.records["levels", "24.png"] == first.records["levels", "24.png"]
    assert told == [(2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize("change", ["options", "settings", "picture", "damage"])
def test_what_has_changed_is_done_again(change, tmp_path):
    pictures = photos(24)
    measure_quality(pictures, [Levels()], tmp_path, 1, quiet)
    codec = Levels()
    if change == "options":
        codec.cost = 3
    elif change == "settings":
        codec.settings = SETTINGS[1:]
    elif change == "picture":
        pictures = [Photo(pictures[0].name, "f" * 64, pictures[0].load)]
    else:
        (file,) = tmp_path.rglob("*.json")
        file.write_text(file.read_text()[:-9])
    measure_quality(pictures, [codec], tmp_path, 1, quiet)
    assert len(codec.calls) == len(codec.settings)


def test_a_failure_stops_nothing_and_is_tried_again(two, tmp_path):
    two[0].fails_on = 32
    broken = Photo("broken.png", "b" * 64, lambda: (_ for _ in ()).throw(CodecError("no picture")))
    found = measure_quality([*photos(24, 32), broken], two, tmp_path, 2, quiet)
    assert found.failures == [
        ("double", "broken.png", "no picture"),
        ("levels", "32.png", "too odd a picture"),
        ("levels", "broken.png", "no picture"),
    ]
    assert set(found.records) == {
        ("levels", "24.png"),
        ("double", "24.png"),
        ("double", "32.png"),
    }
    two[0].fails_on = -1
    assert ("levels", "32.png") in measure_quality(photos(32), two, tmp_path, 1, quiet).records


def test_several_workers_find_the_same(two, tmp_path):
    pictures = photos(24, 32, 40)
    one = measure_quality(pictures, two, tmp_path / "one", 1, quiet)
    three = measure_quality(pictures, two, tmp_path / "three", 3, quiet)
    assert one.records == three.records


def test_times_are_of_one_call_at_a_time(tmp_path):
    codec = Levels()
    found = measure_time(photos(24), [codec], tmp_path, 2, "machine", quiet)
    record = found.records["levels", "24.png"]
    assert record["megapixels"] == pytest.approx(20 * 24 / 1e6)
    assert (
        [entry["setting"] for entry in record["timings"]] == timed_settings(codec) == [8, 32, 128]
    )
    assert all(len(entry["encode_s"]) == len(entry["decode_s"]) == 2 for entry in record["timings"])
    assert all(seconds > 0 for entry in record["timings"] for seconds in entry["encode_s"])
    assert len(codec.calls) == 3 * 4  # one to warm up, one for the memory
    assert {name for name, _ in codec.calls} == {threading.current_thread().name}


def test_every_setting_is_timed_where_that_is_asked_for(tmp_path):
    codec = Levels()
    measure_time(photos(24), [codec], tmp_path, 1, "machine", quiet)
    found = measure_time(photos(24), [codec], tmp_path, 1, "machine", quiet, every_setting=True)
    record = found.records["levels", "24.png"]
    assert tuple(entry["setting"] for entry in record["timings"]) == SETTINGS


@pytest.mark.parametrize("change", ["machine", "repeats", "threads"])
def test_times_of_something_else_are_taken_anew(change, tmp_path):
    codec = Levels()
    measure_time(photos(24), [codec], tmp_path, 1, "machine", quiet)
    calls = len(codec.calls)
    measure_time(photos(24), [codec], tmp_path, 1, "machine", quiet)
    assert len(codec.calls) == calls
    codec.threads += change == "threads"
    machine = "other" if change == "machine" else "machine"
    measure_time(photos(24), [codec], tmp_path, 1 + (change == "repeats"), machine, quiet)
    assert len(codec.calls) > calls


def test_a_file_is_whole_or_not_there(tmp_path, monkeypatch):
    write_whole(tmp_path / "a" / "b.json", "old")
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_whole(tmp_path / "a" / "b.json", "new")
    assert [f.name for f in (tmp_path / "a").iterdir()] == ["b.json"]
    assert (tmp_path / "a" / "b.json").read_text() == "old"


def test_means_count_every_picture_the_same():
    def of(width, values):
        points = [
            {"setting": 1, "bytes": b, "bpp": 8 * b / width, "psnr_rgb_db": q}
            | {"psnr_luma_db": q, "ssim": 0.5, "ms_ssim": m}
            for b, q, m in values
        ]
        return {"width": width, "height": 1, "points": points}

    pictures = {"a": of(8, [(4, 30, 0.9)]), "b": of(80, [(10, 40, 0.98)])}
    (mean,) = mean_points(pictures, ["a", "b"])
    assert mean["bpp"] == pytest.approx((4 + 1) / 2)
    assert mean["bpp_of_all_pixels"] == pytest.approx(8 * 14 / 88)
    assert mean["psnr_rgb_db"] == 35
    assert mean["ms_ssim_db"] == pytest.approx(-10 * np.log10(1 - 0.94))
    assert mean_points(pictures, ["b"])[0]["psnr_rgb_db"] == 40
    assert mean_points({}, []) == []


def test_a_codec_of_half_the_bytes_is_found_to_be_so(two, tmp_path):
    results = results_of(two, photos(24, 32), tmp_path)
    levels, double = results["codecs"]
    found = compare(double, levels)["psnr_rgb_db"]
    assert found["bd_rate_percent"] == pytest.approx(-50)
    assert compare(levels, double)["psnr_rgb_db"]["bd_rate_percent"] == pytest.approx(100)
    assert found["overlap"] == 1
    assert compare(levels, levels)["ms_ssim_db"]["bd_rate_percent"] == pytest.approx(0)


def test_codecs_are_compared_on_the_pictures_that_both_have(two, tmp_path):
    two[0].fails_on = 32  # a picture that costs as much and is worse would shift its mean
    results = results_of(two, photos(24, 32), tmp_path)
    levels, double = results["codecs"]
    assert levels["failures"] == {"32.png": "too odd a picture"}
    assert compare(double, levels)["psnr_rgb_db"]["bd_rate_percent"] == pytest.approx(-50)
    rows = {row[0]: row[-1] for row in comparison_rows(results)[1]}
    assert rows == {"Levels": "1 of 2", "Double": "2 of 2"}


def test_the_anchor_is_jpeg_or_what_was_asked_for():
    entries = [{"name": name} for name in ("ours", "webp-m4", "jpeg-420")]
    assert choose_anchor(entries, None)["name"] == "jpeg-420"
    assert choose_anchor(entries[:2], None)["name"] == "ours"
    assert choose_anchor(entries, "webp-m4")["name"] == "webp-m4"
    with pytest.raises(KeyError):
        choose_anchor(entries, "bpg")


def test_published_curves_are_told_apart(two, tmp_path):
    published = published_entries(reference_points())
    results = results_of(two, photos(24, 32), tmp_path, published)
    assert all(entry["origin"] == "published" and entry["source"] for entry in published)
    text = markdown(results)
    assert "| VTM (CompressAI) (published) | - |" in text
    assert "- from there" in text
    picture = rate_distortion(results, "psnr_rgb_db", log=True)
    assert (picture != rate_distortion(results, "psnr_rgb_db", log=False)).any()


def test_the_table_says_everything(two, tmp_path):
    failures = [{"codec": "levels", "picture": "a.png", "error": "bad | luck"}]
    text = markdown(results_of(two, photos(24, 32), tmp_path, failures=failures))
    for part in (
        "2 pictures of `x`",
        "## Against Levels",
        "| Double | measured | +100.0 % |",
        "- Left out: nothing.",
        "Medians of 1 warm calls for each of 1 pictures",
        "| Double | levels 8 | 16.0000 |",
        "| Double | `double` | cost=2 | levels 1 |",
        "- levels, a.png: bad | luck",
    ):
        assert part in text, part


def test_figures_have_a_colour_for_each_family(two, tmp_path):
    two[1].family = "ours"
    results = results_of(two, photos(24, 32), tmp_path)
    red = [0xC1, 0x27, 0x2D]
    picture = rate_distortion(results, "ms_ssim_db", log=True)
    assert (picture == red).all(-1).sum() > 100
    assert (speed(results) == red).all(-1).sum() > 20
    for entry in results["codecs"]:
        entry["speed"] = None
    assert speed(results) is None


def test_photos_are_the_best_the_middle_and_the_worst(two, tmp_path):
    two[0].family = "ours"
    results = results_of(two, photos(16, 24, 32, 40, 48), tmp_path)
    own, other = results["codecs"]
    for name, shift in zip(own["pictures"], (3, -1, 0, 1, 2), strict=True):
        points = other["pictures"][name]["points"]
        own["pictures"][name]["points"] = [
            point | {"psnr_rgb_db": point["psnr_rgb_db"] + shift} for point in points
        ]
    names = list(own["pictures"])
    assert choose_photos(results["codecs"], names) == [
        ("16.png", "the best of 5 for Levels"),
        ("40.png", "the middle of 5 for Levels"),
        ("24.png", "the worst of 5 for Levels"),
    ]
    assert [n for n, _ in choose_photos([other], names)] == ["16.png", "32.png", "48.png"]
    assert choose_photos([other], []) == []


def test_no_codec_gets_fewer_bytes_than_the_first(two):
    two[1].usual = 8.0
    (picture,) = photos(32)
    shown = at_equal_bytes(picture, "why", [two[1], two[0]])
    first, second = shown.versions
    assert (first.setting, first.file_bytes) == ("levels 8", 16 * 20 * 32 // 8)
    assert (second.setting, second.file_bytes) == ("levels 16", first.file_bytes)
    assert second.psnr_db > first.psnr_db


def test_a_codec_that_fails_is_told_beside_the_others(two):
    (picture,) = photos(32)
    two[1].fails_on = 32
    shown = at_equal_bytes(picture, "why", two)
    assert [each.label for each in shown.versions] == ["Levels"]
    assert shown.failed == ("Double: too odd a picture",)


def test_the_crop_is_where_they_differ_most(two):
    (picture,) = photos(60)
    shown = at_equal_bytes(picture, "why", two)
    shown.versions[1].pixels[:] = shown.versions[0].pixels
    shown.versions[1].pixels[9:12, 41:44] ^= 128
    left, top, right, bottom = most_different(shown, side=8)
    assert (right - left, bottom - top) == (8, 8)
    assert left <= 41 and right >= 44 and top <= 9 and bottom >= 12
    assert most_different(shown, side=500) == (0, 0, 60, 20)
    assert crop_figure(shown).ndim == 3


def test_a_single_codec_is_compared_with_the_original(two):
    (picture,) = photos(60)
    shown = at_equal_bytes(picture, "why", two[:1])
    shown.versions[0].pixels[3:5, 50:52] ^= 255
    left, top, right, bottom = most_different(shown, side=8)
    assert left <= 50 < right and top <= 3 < bottom


def test_results_are_json(two, tmp_path):
    results = results_of(two, photos(24, 32), tmp_path)
    assert json.loads(json.dumps(results)) == results
