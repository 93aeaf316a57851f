"""The benchmark of hard pictures: what it writes, what it calls a failure, mistakes in one line."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import robustness
from codec.errors import NicStreamError
from codec.image_codec import ImageCodec
from evaluation import hard_pictures
from tests.codec_models import photo
from tests.golden_codec import BUNDLE

X = "\N{MULTIPLICATION SIGN}"
HEAD = "| picture | size | PNG: bytes | JPEG 75: bytes, bpp, dB | quality 10: bytes, bpp, dB |"
SMALL = {
    "plain": lambda: np.full((24, 40, 3), 90, np.uint8),
    "gray": lambda: photo(33, 20, 1),
    "alpha": lambda: photo(20, 33, 4),
    "a line": lambda: photo(1, 50),
    "large": lambda: photo(40, 300),
}


def rows_of(text):
    """Name of each picture -> the other cells of its row."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert lines[0].startswith("| picture | ")
    cells = [line.strip("| ").split(" | ") for line in lines[1:]]
    return {name: others for name, *others in cells}


def test_a_row_for_each_picture_and_a_figure(call, monkeypatch):
    monkeypatch.setattr(hard_pictures, "PICTURES", SMALL)
    code, out, err = call(robustness, "--model", BUNDLE, "--output", "deep/out")
    assert (code, err) == (0, "")
    text = Path("deep/out/robustness.md").read_text(encoding="utf-8")
    assert out.startswith(HEAD) and out.strip() in text
    assert "Golden" in text and "![The worst at quality 50](robustness.png)" in text
    rows = rows_of(text)
    assert list(rows) == list(SMALL)
    sizes = [cells[0] for cells in rows.values()]
    assert sizes == [
        f"40{X}24 RGB",
        f"20{X}33 gray",
        f"33{X}20 RGBA",
        f"50{X}1 RGB",
        f"300{X}40 RGB",
    ]
    for name, (_, _, *cells) in rows.items():
        assert len(cells) == 4  # JPEG and three qualities
        height, width = SMALL[name]().shape[:2]
        for size, bpp, psnr in (cell.rsplit(", ", 2) for cell in cells):
            assert float(bpp) == pytest.approx(
                8 * int(size.replace(",", "")) / (height * width), abs=6e-4
            )
            assert psnr == "exact" or 5 < float(psnr) < 70
    sizes = [int(cell.rsplit(", ", 2)[0].replace(",", "")) for cell in rows["large"][3:]]
    assert sizes == sorted(set(sizes))
    with Image.open("deep/out/robustness.png") as figure:
        assert figure.width > 3 * robustness.CELL_PX and figure.height > 5 * robustness.CELL_PX


def test_all_pictures_come_back(call):
    code, out, err = call(robustness, "--model", BUNDLE, "--output", "out", "--quality=90")
    assert (code, err) == (0, "")
    rows = rows_of(out)
    assert list(rows) == list(hard_pictures.PICTURES)
    assert {len(cells) for cells in rows.values()} == {5}  # two qualities: the figure's is one


def test_a_model_with_one_quality(call, codecs, monkeypatch):
    monkeypatch.setattr(hard_pictures, "PICTURES", {"plain": SMALL["plain"]})
    folder = codecs["plain"].folder
    code, out, err = call(robustness, "--model", folder, "--output", "out")
    assert (code, err) == (0, "")
    assert "| its one quality: bytes, bpp, dB |" in out and len(rows_of(out)["plain"]) == 4
    code, _, err = call(robustness, "--model", folder, "--output", "out", "--quality=30")
    assert (code, err) == (2, "robustness.py: --quality 30: this model has one quality\n")


def upright(picture):
    return replace(picture, pixels=np.ascontiguousarray(np.swapaxes(picture.pixels, 0, 1)))


def in_colour(picture):
    return replace(picture, pixels=np.repeat(picture.pixels, 3, axis=2))


def other_alpha(picture):
    return replace(picture, alpha=picture.alpha ^ 1)


def refused(picture):
    raise NicStreamError("a stream\nis damaged")


def mistaken(picture):
    raise IndexError("out of bounds")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("large", upright, "RunError: uint8 (300, 40, 3) came back of uint8 (40, 300, 3)"),
        ("gray", in_colour, "RunError: uint8 (33, 20, 3) came back of uint8 (33, 20, 1)"),
        ("alpha", other_alpha, "RunError: another alpha came back"),
        ("plain", refused, "NicStreamError: a stream is damaged"),
        ("a line", mistaken, "IndexError: out of bounds"),
    ],
)
def test_a_failure_is_told_and_the_rest_is_done(call, monkeypatch, name, change, message):
    pictures = {name: SMALL[name], "other": lambda: photo(16, 16)}
    monkeypatch.setattr(hard_pictures, "PICTURES", pictures)
    decompress = ImageCodec.decompress

    def broken(codec, data):
        picture = decompress(codec, data)
        return picture if picture.pixels.shape == (16, 16, 3) else change(picture)

    monkeypatch.setattr(ImageCodec, "decompress", broken)
    code, out, err = call(robustness, "--model", BUNDLE, "--output", "out")
    assert code == 1
    told = [f"{name}, quality {quality}: {message}" for quality in (10, 50, 90)]
    assert err == "robustness.py: " + "\n".join(told) + "\n"
    rows = rows_of(out)
    assert rows[name][3:] == ["failed"] * 3 and "failed" not in rows["other"]
    text = Path("out/robustness.md").read_text(encoding="utf-8")
    assert all(f"- {each}\n" in text for each in told)
    assert "![The worst" in text and Path("out/robustness.png").is_file()


def test_the_figure_has_the_worst_where_they_are_worst(monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "evaluation.picture_grid.draw_grid", lambda rows, captions: drawn.append((rows, captions))
    )
    original = photo(200, 300)
    pixels = original.copy()
    pixels[150:160, 240:250] ^= 64
    coded = robustness.compared(original, bytes(600), pixels)
    changed = 100 * 3 * 64**2 / original.size
    assert coded.psnr_db == pytest.approx(10 * np.log10(255**2 / changed))
    result = robustness.Result("a, b", original, 7500, coded, {"quality 50": coded})
    robustness.worst_figure([result], "quality 50")
    [([(label, cells)], captions)] = drawn
    assert captions == ["original", "decoded (quality 50)", f"error {X} 2"]
    assert label.startswith(f"a,\nb\n300{X}200 RGB\na part, 2{X} size\n\ndecoded:\n0.080 bpp, ")
    assert label.endswith("\n\nPNG:\n1.000 bpp")
    error = cells[2][1:-1, 1:-1]  # without the line around
    assert {each.shape for each in cells} == {(258, 258, 3)}
    assert (error == 128).sum() == 4 * 100 * 3 and (error == 0).sum() == error.size - 1200


def test_nothing_lost_is_called_exact():
    coded = robustness.compared(photo(5, 5), b"12", photo(5, 5))
    assert (coded.file_bytes, coded.psnr_db) == (2, np.inf)
    row = robustness.table_row(robustness.Result("x", photo(5, 5), 3, coded), ["quality 50"])
    assert row == f"| x | 5{X}5 RGB | 3 | 2, 0.640, exact | failed |"


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        ({"model": "nowhere"}, 2, "--model nowhere: no such folder"),
        ({"model": "broken"}, 1, "broken/bundle.json: "),
        ({"quality": "400"}, 2, "--quality 400: expected 1 to 100"),
        ({"output": "taken"}, 2, "--output taken: is a file"),
        ({"output": "taken/deep"}, 1, "taken/deep/robustness.png: can't be written: "),
    ],
)
def test_mistakes_are_one_line(call, monkeypatch, flags, status, message):
    monkeypatch.setattr(hard_pictures, "PICTURES", {"plain": SMALL["plain"]})
    Path("broken").mkdir()
    Path("broken/bundle.json").write_bytes(b"no JSON")
    Path("taken").write_bytes(b"")
    given = {"model": BUNDLE, "output": "out", **flags}
    code, _, err = call(robustness, *(f"--{name}={value}" for name, value in given.items()))
    assert code == status
    assert err.startswith(f"robustness.py: {message}") and err.count("\n") == 1
    assert not Path("out").exists()


def test_a_model_for_gray_pictures_is_refused(call, codecs):
    code, out, err = call(robustness, "--model", codecs["dense"].folder, "--output", "out")
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert err.endswith(": is for gray pictures, most here are in colour\n")
