"""Every spec of the earlier systems: trains a little, becomes a codec, codes a picture."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders.codec_export import CodecChoices
from builders.codec_transforms import bundle_transforms
from builders.codec_writing import export_codec
from builders.dataset_builder import DatasetBuilder
from builders.model_builder import ModelBuilder, latent_shape
from builders.session import TrainOptions
from builders.spec import load_spec
from builders.training import train
from codec.bundle import Bundle
from codec.image_codec import ImageCodec
from codec.picture import Picture

pytestmark = [pytest.mark.systems, pytest.mark.timeout(600)]

MODELS = Path(__file__).resolve().parents[2] / "models"
SMALL = {"training.epochs": 1, "training.seed": 1}
VR = {"dataset.resize": [96, 192], "dataset.tile": [96, 96], "dataset.crop": [48, 48]}
GAME = {"dataset.every_nth": 2, "dataset.max_images": 8, "training.batch_size": 4}
CODE = {"params.code": 8}
DIGITS = {"dataset.name": "digits", "dataset.tfds": False, "dataset.max_images": 64}
PHOTOS = {
    "dataset.name": "photos",
    "dataset.tfds": False,
    "dataset.max_images": 12,
    "training.batch_size": 4,
}

SPECS: dict[str, tuple[str | None, dict[str, Any]]] = {
    **{f"vr_{variant}": ("frames", VR) for variant in "abcde"},
    "space_rgb": ("space", {}),
    "space_ycbcr444": ("space", {}),
    "space_ycbcr420": ("space", {}),
    "space_factorized": ("space", {}),
    "game_fc_500": ("videos", {**GAME, **CODE}),
    "game_fc_1000": ("videos", {**GAME, **CODE}),
    "game_fc_shared": ("videos", {**GAME, **CODE}),
    "game_fc_deep": ("videos", {**GAME, **CODE, "params.hidden": 12}),
    "game_conv4": ("videos", GAME),
    "game_conv5": ("videos", GAME),
    "game_vae": ("videos", {**GAME, **CODE}),
    "model": (None, DIGITS),
    "fashion_mnist": (None, DIGITS),
    "mnist_plain": (None, DIGITS),
    "mnist_adversarial": (None, DIGITS),
    "cifar10": (None, {**PHOTOS, "dataset.resize": [32, 32]}),
    "eurosat": (None, {**PHOTOS, "dataset.resize": [64, 64]}),
    "photo_small": (None, PHOTOS),
    "photo_wide": (None, {**PHOTOS, "dataset.max_images": 4}),
    "photo": (None, {**PHOTOS, "dataset.max_images": 4, "training.rounds": None}),
    "photo_fast": (None, {**PHOTOS, "training.rounds": None}),
    "photo_msssim": (None, PHOTOS),
    "bmshj2018_hyperprior": (None, {**PHOTOS, "dataset.max_images": 4, "dataset.crop": [64, 64]}),
}


@pytest.mark.parametrize("name", SPECS)
def test_a_spec_trains_and_becomes_a_codec(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    data, changes = SPECS[name]
    monkeypatch.chdir(tmp_path)
    if data is not None:
        changes = {**changes, "dataset.name": str(request.getfixturevalue(data))}
    spec = load_spec(MODELS / f"{name}.json", {**SMALL, **changes})
    run = train(spec, TrainOptions(verbosity=0, argv=("train.py",)))
    assert run.status == 0
    assert np.isfinite(run.progress.best_loss)
    report = json.loads((run.choice.folder.path / "report.json").read_text())  # type: ignore[union-attr]
    assert report["epochs"] == 1
    lines = export_codec(run.choice, tmp_path / "codec", CodecChoices(), lambda _: None)
    assert any(line.startswith("checked") for line in lines)
    bundle = Bundle.read(tmp_path / "codec")
    codec = ImageCodec(bundle, lambda: bundle_transforms(bundle))
    splits = DatasetBuilder(spec.dataset, spec.input_shape).build()
    picture = next(iter(splits.loader("validation", 1).batches(0)))[0]
    file = codec.compress(Picture(picture))
    back = codec.decompress(file).pixels
    assert back.shape == picture.shape
    assert len(file) < 4 * picture.size  # an untrained model may expand, but not without bound


@pytest.mark.parametrize("variant", "abcde")
def test_vr_latents_have_the_size_of_the_original(variant: str) -> None:
    spec = load_spec(MODELS / f"vr_{variant}.json")
    assert latent_shape(ModelBuilder(spec).build(), (1, 540, 960, 3)) == (135, 240, 8)


def test_each_block_of_the_vanilla_model_has_weights_of_its_own() -> None:
    spec = load_spec(MODELS / "game_fc_500.json", {"params.code": 4})
    compressor = ModelBuilder(spec).build()
    kernel = compressor.encoder.stack[0].kernel
    assert tuple(kernel.shape) == (16, 6000, 4)
    shared = load_spec(MODELS / "game_fc_shared.json", {"params.code": 4})
    assert tuple(ModelBuilder(shared).build().encoder.stack[0].kernel.shape) == (6000, 4)


def test_the_discriminator_learns_beside_the_generator(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    changes = {**DIGITS, "training.epochs": 2, "training.seed": 1}
    spec = load_spec(MODELS / "mnist_adversarial.json", changes)
    run = train(spec, TrainOptions(verbosity=0, argv=("train.py",)))
    judged = run.progress.history["discriminator_loss"]
    assert len(judged) == 2
    assert judged[1] != judged[0]
    assert np.isfinite(judged).all()


def test_every_spec_of_the_folder_is_tried() -> None:
    elsewhere = {"schema", "conv_256x256x3", "pooling_32x32x3"}  # other tests train these
    video = {"pacman_frame", "pacman_residual", "pacman_gated"}  # tests/systems/test_clips.py
    found = {path.stem for path in MODELS.glob("*.json")}
    assert found - elsewhere - video == set(SPECS)
