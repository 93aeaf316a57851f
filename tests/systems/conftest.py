"""Small data of the kinds that the specs of the earlier systems train on."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def scene(height: int, width: int, seed: int) -> np.ndarray:
    """A picture with smooth ground, edges and a little noise: uint8 (H, W, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    picture = np.stack([np.sin(k * x + rng.normal()) * np.cos(k * y) for k in (3, 5, 8)], axis=-1)
    for _ in range(6):
        top, left = rng.integers(height), rng.integers(width)
        picture[top : top + height // 5, left : left + width // 5] = rng.uniform(-1, 1, 3)
    noisy = 128 + 100 * picture + rng.normal(0, 4, picture.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ten frames."""
    folder = tmp_path_factory.mktemp("frames")
    for index in range(10):
        Image.fromarray(scene(108, 192, index)).save(folder / f"{index}.png")
    return folder


@pytest.fixture(scope="session")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One large image."""
    path = tmp_path_factory.mktemp("space") / "sky.png"
    Image.fromarray(scene(520, 780, 1)).save(path)
    return path


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five clips of 200x160 pixels in which a square moves over still ground."""
    folder = tmp_path_factory.mktemp("videos")
    for index in range(5):
        _write(folder / f"{index}.mp4", index)
    return folder


def _write(path: Path, seed: int) -> None:
    import av

    ground = scene(200, 160, seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(30))
        stream.height, stream.width, stream.pix_fmt = 200, 160, "yuv420p"
        for image in _moving(ground):
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def _moving(ground: np.ndarray) -> Iterator[np.ndarray]:
    for number in range(16):
        image = ground.copy()
        image[40 + 3 * number : 60 + 3 * number, 70:90] = (255, 255, 0)
        yield image
