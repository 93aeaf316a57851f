"""The photos of scikit-image as files: whole, unchanged where they are not halved, never over others."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import held_out

data = pytest.importorskip("skimage.data")

SIZES = {
    "astronaut": (512, 512),
    "chelsea": (451, 300),
    "coffee": (600, 400),
    "hubble_deep_field": (500, 436),
    "immunohistochemistry": (512, 512),
    "motorcycle": (741, 500),
    "retina": (705, 705),
    "rocket": (640, 427),
}
"""Width and height."""


def test_photos_are_written_and_told(call):
    code, out, err = call(held_out, "--output=deep/photos")
    assert (code, err) == (0, "")
    folder = Path("deep/photos")
    assert sorted(path.name for path in folder.iterdir()) == [f"{name}.png" for name in SIZES]
    halved = {"hubble_deep_field", "retina"}
    for line, (name, size) in zip(out.splitlines(), SIZES.items(), strict=True):
        end = ", halved" if name in halved else ""
        assert line == f"{folder / name}.png: {size[0]}x{size[1]}{end}"
        with Image.open(folder / f"{name}.png") as image:
            assert (image.size, image.mode) == (size, "RGB")
            pixels = np.asarray(image)
        if name == "motorcycle":
            assert np.array_equal(pixels, data.stereo_motorcycle()[0])
            continue
        whole = getattr(data, name)()
        if name not in halved:
            assert np.array_equal(pixels, whole)
            continue
        height, width = pixels.shape[:2]
        blocks = whole[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3)
        assert np.abs(blocks.mean(axis=(1, 3)) - pixels).mean() < 2  # Lanczos is a little sharper


def test_nothing_is_written_over(call):
    Path("photos").mkdir()
    Path("photos/coffee.png").write_bytes(b"mine")
    code, out, err = call(held_out, "--output=photos")
    assert (code, out) == (2, "")
    assert err == "held_out.py: photos/coffee.png: is there already\n"
    assert [path.read_bytes() for path in Path("photos").iterdir()] == [b"mine"]
    Path("photos/retina.png").write_bytes(b"mine")
    _, _, err = call(held_out, "--output=photos")
    assert err == "held_out.py: photos/coffee.png: is there already, and 1 more\n"


def test_an_output_that_is_a_file(call):
    Path("taken").write_bytes(b"")
    assert call(held_out, "--output=taken") == (2, "", "held_out.py: --output taken: is a file\n")
    code, _, err = call(held_out, "--output=taken/deep")
    assert code in (1, 2) and err.count("\n") == 1


def test_without_scikit_image(call, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(held_out, "files", missing)
    code, out, err = call(held_out, "--output=photos")
    assert (code, out) == (2, "") and not Path("photos").exists()
    assert err.endswith("is not installed: pip install scikit-image\n") and err.count("\n") == 1
