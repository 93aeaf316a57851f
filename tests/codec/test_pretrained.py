"""Every codec in pretrained/ decodes a file that was written once, to the picture of then.

`python -m tests.codec.test_pretrained` writes the files that are missing: for a new codec, or after the
files of one whose weights were trained anew were deleted.
"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from builders.codec_choice import PRETRAINED
from builders.codec_transforms import bundle_transforms
from codec.bundle import Bundle
from codec.image_codec import ImageCodec
from codec.picture import Picture

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "pretrained" / "pictures"
NAMES = sorted(path.parent.name for path in PRETRAINED.glob("*/bundle.json"))
LEAST_DB = {"digits": 20.0}
"""Of the picture that comes back; 27 of photos."""
SLACK = 2
"""Levels of 8 bits that a pixel may differ by: means and networks are float32, symbols are exact."""


def open_bundle(name: str) -> ImageCodec:
    bundle = Bundle.read(PRETRAINED / name)
    return ImageCodec(bundle, lambda: bundle_transforms(bundle))


def picture_of(codec: ImageCodec) -> np.ndarray:
    """A piece of a photo, or a digit where the model takes digits."""
    if codec.bundle.geometry.channels == 1:
        from sklearn.datasets import load_digits

        digit = Image.fromarray((load_digits().images[5] * 15.9).astype(np.uint8))
        return np.asarray(digit.resize((28, 28), Image.Resampling.BILINEAR))[..., None]
    from skimage import data

    return np.ascontiguousarray(data.astronaut()[0:120, 160:330])


def psnr_db(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(np.float64) - b) ** 2)))


def read_png(path: Path) -> np.ndarray:
    pixels = np.asarray(Image.open(path))
    return pixels[..., None] if pixels.ndim == 2 else pixels


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_then_decodes_to_the_picture_of_then(name: str) -> None:
    codec = open_bundle(name)
    data = (GOLDEN / f"{name}.nic").read_bytes()
    found = codec.decompress(data).pixels  # its symbols have the file's checksum, or this raises
    expected = read_png(GOLDEN / f"{name}.png")
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= SLACK
    assert psnr_db(found, picture_of(codec)) > LEAST_DB.get(name, 27.0)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_now_is_about_as_large(name: str) -> None:
    codec = open_bundle(name)
    now, then = codec.compress(Picture(picture_of(codec))), (GOLDEN / f"{name}.nic").stat().st_size
    assert abs(len(now) - then) <= 2 + 0.002 * then


def test_looking_again_pays() -> None:
    codec, again = open_bundle("photo_fast"), open_bundle("photo_fast")
    again.effort = 3
    pixels = picture_of(codec)

    def measured(codec: ImageCodec, quality: int) -> tuple[int, float]:
        data = codec.compress(Picture(pixels), quality)
        return len(data), psnr_db(codec.decompress(data).pixels, pixels)

    for quality in (60, 160):
        size, db = measured(again, quality)
        sizes, dbs = zip(
            *(measured(codec, quality + more) for more in range(-30, 31, 10)), strict=True
        )
        assert db > np.interp(size, sizes, dbs) + 0.05  # better than a file of that size without


def main() -> None:
    """Writes what is missing."""
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        path = GOLDEN / f"{name}.nic"
        if path.exists():
            continue
        codec = open_bundle(name)
        data = codec.compress(Picture(picture_of(codec)))
        path.write_bytes(data)
        pixels = codec.decompress(data).pixels
        Image.fromarray(pixels.squeeze()).save(path.with_suffix(".png"))
        print(f"{path.name}: {len(data)} bytes, {psnr_db(pixels, picture_of(codec)):.2f} dB")


if __name__ == "__main__":
    main()
