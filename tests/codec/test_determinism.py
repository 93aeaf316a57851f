"""A file means the same symbols however the integer network is computed; docs/bundle.md, section 5."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codec.bundle import Bundle
from codec.image_codec import ImageCodec
from codec.picture import Picture
from evaluation.determinism import (
    boundary_latents,
    digests_in_a_process,
    engine,
    no_transforms,
    symbols_digest,
)
from tests.golden_codec import BUNDLE, DIGESTS, FOLDER, photo

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(FOLDER.glob("*.nic"))
EXPECTED = json.loads(DIGESTS.read_text(encoding="utf-8"))
ENGINES = ["numpy", "exact", "keras", "onnx"]


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.read(BUNDLE)


@pytest.fixture(scope="module")
def engines(bundle: Bundle) -> dict[str, Any]:
    return {name: engine(name, bundle.network) for name in ENGINES}


def test_all_golden_files_are_known() -> None:
    assert [file.stem for file in FILES] == sorted(EXPECTED)
    assert len(FILES) == 10


@pytest.mark.parametrize("name", ENGINES)
def test_golden_files_decode_to_the_same_symbols(
    bundle: Bundle, engines: dict[str, Any], name: str
) -> None:
    codec = ImageCodec(bundle, no_transforms, engines[name])
    found = {file.stem: symbols_digest(codec, file.read_bytes()) for file in FILES}
    assert found == EXPECTED


def in_a_process(python: str, *flags: str, **settings: str) -> dict[str, str]:
    """Digests of the golden files, decoded in a process of its own."""
    found = digests_in_a_process(python, BUNDLE, FILES, flags, settings)
    return {file.stem: digest for file, digest in zip(FILES, found, strict=True)}


def one_thread() -> dict[str, str]:
    names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    return dict.fromkeys(names, "1")


def test_without_onednn_on_one_thread_in_bfloat16() -> None:
    settings = {"TF_ENABLE_ONEDNN_OPTS": "0", "KERAS_BACKEND": "tensorflow", **one_thread()}
    flags = ("--engine", "keras", "--policy", "mixed_bfloat16")
    assert in_a_process(sys.executable, *flags, **settings) == EXPECTED


@pytest.mark.jax
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_under_jax(jax_python: str, policy: str) -> None:
    flags = ("--engine", "keras", "--policy", policy)
    assert in_a_process(jax_python, *flags, KERAS_BACKEND="jax") == EXPECTED


def test_on_every_boundary_of_rounding(bundle: Bundle, engines: dict[str, Any]) -> None:
    reached = []
    for z, share in boundary_latents(bundle.network, seed=1):
        reached.append(share)
        expected = engines["exact"](z)
        for name in ENGINES:
            np.testing.assert_array_equal(engines[name](z), expected, err_msg=name)
    assert reached[-1] > 0.9  # the others can't be reached: their sums take few values


@pytest.mark.slow
def test_two_hundred_pictures(bundle: Bundle, engines: dict[str, Any]) -> None:
    from skimage import data

    from builders.codec_transforms import bundle_transforms

    coder = ImageCodec(bundle, lambda: bundle_transforms(bundle))
    photos = [data.astronaut(), data.coffee(), data.cat(), data.rocket(), data.retina()]
    generator = np.random.default_rng(0)
    for number in range(200):
        pixels = photos[number % len(photos)]
        size = generator.integers(1, 160, 2)
        top, left = (int(generator.integers(0, side - 160)) for side in pixels.shape[:2])
        crop = np.ascontiguousarray(pixels[top : top + size[0], left : left + size[1]])
        file = coder.compress(Picture(crop), int(generator.integers(0, bundle.qualities)))
        found = {
            name: symbols_digest(ImageCodec(bundle, no_transforms, engines[name]), file)
            for name in ENGINES
        }
        assert len(set(found.values())) == 1, (number, found)


def test_pixels_are_those_of_the_first_day(bundle: Bundle) -> None:
    """Pixels may differ by the rounding of float32, which no format can rule out."""
    from builders.codec_transforms import bundle_transforms

    codec = ImageCodec(bundle, lambda: bundle_transforms(bundle))
    decoded = codec.decompress((FOLDER / "photo.nic").read_bytes()).pixels
    error = np.mean((decoded.astype(float) - photo(72, 96)) ** 2)
    assert 10 * np.log10(255**2 / error) > 26
    kept = np.load(FOLDER / "photo.npy")
    assert np.abs(decoded.astype(int) - kept).max() <= 1


PRETRAINED_FILES = {
    "photo": "f92a55cfc12214debb462e1bf185a1ca74a51d223a5e39f163ae1c42896137e2",
    "photo_fast": "28a835fb386a0d4f0fc8811b7dc80263905d546d4c41cdd03e881b4e2025d08d",
}
"""Name in pretrained/ -> digest of the symbols in the golden file of that codec."""


@pytest.mark.parametrize("name", PRETRAINED_FILES)
def test_files_of_pretrained_codecs_decode(name: str) -> None:
    bundle = Bundle.read(ROOT / "pretrained" / name)
    data = (ROOT / "tests" / "golden" / "pretrained" / "pictures" / f"{name}.nic").read_bytes()
    codec = ImageCodec(bundle, no_transforms)
    assert symbols_digest(codec, data) == PRETRAINED_FILES[name]
