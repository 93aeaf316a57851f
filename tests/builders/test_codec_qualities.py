"""Bundles of a model for all rates: vectors of gains, read from the bundle and coded with."""

import copy
import json
from typing import Any

import numpy as np
import pytest
from keras import ops
from safetensors.numpy import load, save

from architectures.likelihoods import gaussian_bits
from builders.codec_export import make_codec
from builders.codec_transforms import bundle_transforms
from builders.spec import parse_spec
from codec.bundle import CODER, GAIN_VECTORS, Bundle, bundle_files
from codec.container import NicFile
from codec.errors import NicBundleError
from codec.image_codec import ImageCodec
from codec.manifest import MANIFEST
from codec.picture import Picture
from tests.codec_models import TREES, generator_of, images_of, photo, write_files


@pytest.fixture(scope="module")
def made() -> Any:
    """Generator, parts of its bundle."""
    tree = copy.deepcopy(TREES["mean_scale"])
    generator = tree["model"]["layers"]["generator"]
    generator["entropy_model"]["MeanScaleHyperprior"]["lambda_range"] = [0.0625, 16.0]
    spec = parse_spec(tree)
    model = generator_of(spec)
    units = model.entropy_model.gain_units
    numbers = np.random.default_rng(0)
    units.log_gains.assign(numbers.normal(0, 0.2, units.log_gains.shape))
    units.log_backs.assign(numbers.normal(-0.05, 0.02, units.log_backs.shape))
    return model, make_codec(model, spec, images_of(spec))


@pytest.fixture(scope="module")
def codec(made: Any, tmp_path_factory: Any) -> ImageCodec:
    folder = write_files(tmp_path_factory.mktemp("gains") / "bundle", made[1].files)
    bundle = Bundle.read(folder)
    return ImageCodec(bundle, lambda: bundle_transforms(bundle))


def test_a_bundle_with_vectors_has_a_version_of_its_own(made: Any) -> None:
    manifest = json.loads(made[1].files[MANIFEST])
    assert manifest["version"] == 2
    assert manifest["coder"]["gain_vectors"] is True
    assert manifest["coder"]["default_quality"] == 128
    arrays = load(made[1].files[CODER])
    assert {arrays[name].shape for name in GAIN_VECTORS} == {(256, 4)}
    ratios = arrays["gains"][255] / arrays["gains"][0]
    assert (ratios > 4).all()  # 16 before anything is learned
    assert len(np.unique(ratios)) == 4


def test_bundles_without_them_stay_as_they_were(codecs: Any) -> None:
    manifest = json.loads(codecs["mean_scale"].parts.files[MANIFEST])
    assert manifest["version"] == 1
    assert "gain_vectors" not in manifest["coder"]


def test_files_hold_what_the_model_codes(made: Any, codec: ImageCodec, monkeypatch: Any) -> None:
    """Symbols, tables and latents at three qualities, against the model's own numbers."""
    monkeypatch.setattr(codec.coder, "bit_price", 0.0)  # to the nearest, as the model rounds
    generator, _ = made
    model = generator.entropy_model
    picture = Picture(photo(32, 32))
    latents = codec.transforms.analyse(picture.pixels[None])
    z = np.round(latents["z"]).astype(np.int32)
    sizes = []
    for quality in (0, 100, 255):
        mean, index = codec.coder.parameters(z, quality)  # type: ignore[attr-defined]
        gain, inverse, moved = (
            ops.convert_to_numpy(each) for each in model.gains([quality / 255.0])
        )
        _, plain = codec.coder.parameters(z, 0)  # type: ignore[attr-defined]
        symbols = np.round((latents["y"] - mean) * gain)
        data = codec.compress(picture, quality)
        sizes.append(len(data))
        (decoded,) = codec.decode_latents(NicFile.from_bytes(data))
        np.testing.assert_array_equal(decoded.arrays[1], symbols)
        np.testing.assert_allclose(decoded.y_hat, symbols * inverse + mean, rtol=1e-5, atol=1e-5)
        first = ops.convert_to_numpy(model.gains([0.0])[2])
        inside = (plain > 0) & (index > 0) & (index < 63)
        np.testing.assert_array_equal((index - plain)[inside], np.broadcast_to(moved - first, index.shape)[inside])  # fmt: skip
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2] / 2


@pytest.mark.parametrize("quality", [0, 128, 255])
def test_real_bytes_are_the_estimate_at_every_quality(
    quality: int, made: Any, codec: ImageCodec
) -> None:
    """Latents drawn as the model expects them take the bits that it says."""
    model = made[0].entropy_model
    z = np.round(codec.transforms.analyse(photo(128, 128)[None])["z"])
    mean, index = codec.coder.parameters(z.astype(np.int32), quality)  # type: ignore[attr-defined]
    gain = ops.convert_to_numpy(model.gains([quality / 255.0])[0])
    scale = np.array(model.scales(), np.float32)[index]
    noise = np.random.default_rng(0).normal(size=scale.shape).astype(np.float32)
    coded = codec.coder.encode({"y": mean + scale * noise / gain, "z": z}, quality)
    estimate = float(ops.sum(gaussian_bits(coded.arrays[1].astype(np.float32), scale)))
    estimate += float(ops.sum(model.density(z)))
    assert 0.99 * estimate - 8 <= 8 * len(coded.stream) <= 1.005 * estimate + 0.2 * z.size + 8


CHANGES: dict[str, Any] = {
    "gains": lambda arrays: {**arrays, "gains": arrays["gains"][:, :2]},
    "half": lambda arrays: {**arrays, "gains": arrays["gains"].astype(np.float16)},
    "zero": lambda arrays: {**arrays, "gains": 0 * arrays["gains"]},
    "nan": lambda arrays: {**arrays, "inverse_gains": np.nan * arrays["inverse_gains"]},
    "offsets": lambda arrays: {**arrays, "offsets": arrays["offsets"] + np.int32(5000)},
    "most": lambda arrays: {**arrays, "offsets": 0 * arrays["offsets"] + np.int32(-(2**31))},
    "missing": lambda arrays: {key: arrays[key] for key in arrays if key != "offsets"},
}


@pytest.mark.parametrize("change", CHANGES)
def test_vectors_that_are_none_are_refused(change: str, codec: ImageCodec, tmp_path: Any) -> None:
    manifest, folder = codec.bundle.manifest, codec.bundle.path
    contents = {name: (folder / name).read_bytes() for name in manifest.files}
    contents[CODER] = save(CHANGES[change](load(contents[CODER])))
    files = bundle_files(manifest.name, manifest.spec, manifest.geometry, manifest.coder, contents)
    bundle = Bundle.read(write_files(tmp_path / "bundle", files))
    with pytest.raises(NicBundleError, match=r"out of range|lacks offsets"):
        bundle.coder()


@pytest.mark.parametrize(("version", "vectors"), [(1, True), (2, False)])
def test_version_and_vectors_belong_together(
    version: int, vectors: bool, codec: ImageCodec, tmp_path: Any
) -> None:
    tree = json.loads((codec.bundle.path / MANIFEST).read_text())
    tree["version"], tree["coder"]["gain_vectors"] = version, vectors
    (tmp_path / MANIFEST).write_text(json.dumps(tree))
    with pytest.raises(NicBundleError, match="version 2 is for"):
        Bundle.read(tmp_path)
