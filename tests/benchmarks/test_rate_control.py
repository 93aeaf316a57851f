"""The benchmark of --quality and --target_bpp: its figures, what does not rise, and mistakes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import rate_control
from benchmarks.rate_control import Measured, Point, Step
from codec.image_codec import ImageCodec
from codec.integer_network import IntegerNetwork
from codec.picture import Picture, PictureError
from tests.codec_models import photo

SIZES = {"a.png": (48, 80), "deep/b.png": (40, 56)}
"""Height and width."""


@pytest.fixture
def images(workdir):
    """A folder of images, and their pixels by name."""
    found = {}
    for seed, (name, size) in enumerate(SIZES.items()):
        found[name] = photo(*size, seed=seed)
        path = workdir / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(found[name]).save(path)
    return found


def rows_of(table):
    """Name -> the other cells."""
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    return {name: rest for name, *rest in cells}


def test_tables_are_what_the_codec_does(call, codecs, images):
    tiny = codecs["mean_scale"].codec
    codec = ImageCodec(tiny.bundle, lambda: tiny.transforms, effort=1)
    flags = ["--model", codecs["mean_scale"].folder, "--images=images", "--effort=1"]
    code, out, err = call(rate_control, *flags)
    assert (code, err) == (0, "")
    first, told, second = out.rstrip("\n").split("\n\n")
    rows, below = rows_of(first), {}
    assert list(rows) == list(images)
    for name, pixels in images.items():
        area = pixels.shape[0] * pixels.shape[1]
        files = [codec.compress(Picture(pixels), quality) for quality in (0, 255)]
        psnrs = []
        for data in files:
            error = codec.decompress(data).pixels.astype(float) - pixels
            psnrs.append(10 * np.log10(255**2 / np.mean(error**2)))
        bpp, psnr_db, *_ = rows[name]
        assert bpp == " to ".join(f"{8 * len(data) / area:.3f}" for data in files)
        assert psnr_db == " to ".join(f"{psnr:.2f}" for psnr in psnrs)
        for target in rate_control.TARGETS_BPP:
            most = target * area / 8
            if len(files[0]) <= most <= len(files[1]):
                data = codec.compress_to(Picture(pixels), int(most))
                below.setdefault(target, []).append((100 * (1 - len(data) / most), name))
    assert below
    for target, cells in rows_of(second).items():
        found = below.get(float(target), [])
        wanted = ["0", "-", "-"]
        if found:
            mean = np.mean([percent for percent, _ in found])
            worst, name = max(found)
            wanted = [str(len(found)), f"{mean:.2f}", f"{worst:.2f} ({name})"]
        assert cells == wanted
    sizes, psnrs = told.splitlines()
    rising = [sum(cells[place] == "nowhere" for cells in rows.values()) for place in (2, 3)]
    assert sizes.startswith(f"The size rises with every step in {rising[0]} of 2 images")
    assert psnrs.startswith(f"The PSNR rises with every step in {rising[1]} of 2 images")


def test_most_is_the_number_of_images(call, codecs, images):
    flags = ["--model", codecs["mean_scale"].folder, "--images=images", "--most=1"]
    code, out, _ = call(rate_control, *flags)
    assert code == 0 and list(rows_of(out.split("\n\n", maxsplit=1)[0])) == ["a.png"]


def test_networks_run_once_and_files_are_the_same(codecs, monkeypatch):
    codec, calls = codecs["mean_scale"].codec, []

    def counted(name, function):
        return lambda *values: calls.append(name) or function(*values)

    class Counted:
        analyse = staticmethod(counted("analyse", codec.transforms.analyse))
        synthesise = staticmethod(codec.transforms.synthesise)
        pull_back = staticmethod(codec.transforms.pull_back)

    picture, qualities = Picture(photo(100, 100)), (0, 100, 255)
    files = [codec.compress(picture, quality) for quality in qualities]
    tiled = codec.compress(picture, 0, tile=64)
    decoded = codec.decompress(files[1]).pixels
    monkeypatch.setattr(IntegerNetwork, "run", counted("network", IntegerNetwork.run))
    once = rate_control.for_one_picture(ImageCodec(codec.bundle, Counted))
    assert [once.compress(picture, quality) for quality in qualities] == files
    assert np.array_equal(once.decompress(files[1]).pixels, decoded)
    assert sorted(calls) == ["analyse", "network"]
    assert once.compress(picture, 0, tile=64) == tiled
    assert calls.count("analyse") == 1 + 4  # tiles


def test_what_does_not_rise_is_named():
    points = [Point(1, 2000, 20.0), Point(5, 800, 21.0), Point(10, 800, 20.9), Point(15, 900, 22.0)]
    found = Measured("a.png", 1000, points, {})
    assert found.wrong_sizes == [Step(1, 5, -1200), Step(5, 10, 0)]
    assert [(step.low, step.high) for step in found.wrong_psnrs] == [(5, 10)]
    assert found.row == (
        "| a.png | 16.000 to 7.200 | 20.00 to 22.00 "
        "| 1 to 5: -1,200 bytes, 5 to 10: 0 bytes | 5 to 10: -0.1 dB |"
    )
    good = Measured("b.png", 1000, [points[1], points[3]], {})
    assert good.row.endswith("| nowhere | nowhere |")
    assert rate_control.summary([good, found]).splitlines() == [
        "The size rises with every step in 1 of 2 images; the worst is a.png, "
        "1 to 5: -1,200 bytes.",
        "The PSNR rises with every step in 1 of 2 images; the worst is a.png, 5 to 10: -0.1 dB.",
    ]
    assert rate_control.summary([good]).splitlines() == [
        "The size rises with every step in 1 of 1 images.",
        "The PSNR rises with every step in 1 of 1 images.",
    ]


def test_a_target_names_the_worst_image():
    found = [Measured("a.png", 9, [], {0.5: 1.0, 1.0: 3.0}), Measured("b.png", 9, [], {0.5: 2.0})]
    rows = rows_of(rate_control.target_table(found))
    assert list(rows) == ["0.15", "0.25", "0.5", "0.75", "1", "1.5"]
    assert rows["0.5"] == ["2", "1.50", "2.00 (b.png)"]
    assert rows["1"] == ["1", "3.00", "3.00 (a.png)"]
    assert rows["1.5"] == ["0", "-", "-"]


def test_equal_pictures_have_a_psnr():
    pixels = photo(8, 8)
    assert rate_control.psnr_db(pixels, pixels) == 100
    assert rate_control.psnr_db(pixels, pixels ^ 1) == pytest.approx(48.13, abs=0.01)


@pytest.mark.parametrize(
    ("flags", "kind", "status", "message"),
    [
        (["--images=nowhere"], "mean_scale", 2, "--images nowhere: no such folder\n"),
        (["--images=empty"], "mean_scale", 2, "--images empty: no images there\n"),
        (["--images=images"], "plain", 2, ": Tiny_Codec has one quality\n"),
        (["--images=images", "--most=0"], "mean_scale", 2, 'found "0", expected a whole number'),
        (["--images=broken"], "mean_scale", 1, "broken/a.png: "),
    ],
)
@pytest.mark.usefixtures("images")
def test_mistakes_are_one_line(call, codecs, flags, kind, status, message):
    for folder in ("empty", "broken"):
        Path(folder).mkdir()
    Path("broken/a.png").write_bytes(b"no image")
    code, _, err = call(rate_control, "--model", codecs[kind].folder, *flags)
    assert code == status
    assert message in err and err.count("\n") == 1


@pytest.mark.usefixtures("images")
def test_an_image_that_the_codec_refuses(call, codecs, monkeypatch):
    def refuse(*_):
        raise PictureError("refused")

    monkeypatch.setattr(ImageCodec, "compress", refuse)
    flags = ["--model", codecs["mean_scale"].folder, "--images=images"]
    code, _, err = call(rate_control, *flags)
    assert (code, err) == (1, "rate_control.py: images/a.png: refused\n")
