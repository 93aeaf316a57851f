"""Tiles between rate and distortion: which they are, what is measured, logged and gone on with."""

import copy
import csv
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

from builders.data_splits import Splits
from builders.rate_distortion import (
    BPP,
    PSNR,
    RateDistortion,
    due,
    rate_distortion_of,
    scatter_tiles,
)
from builders.run_folder import find_run
from builders.run_log import logged_samples
from builders.session import TrainOptions
from builders.sources import ArraySource
from builders.spec import parse_spec
from builders.training import build_compressor, train
from builders.transforms import ImageTransform
from tests.codec_models import TREES, conv, photo


def spec_of(kind="scale", **training):
    tree = copy.deepcopy(TREES[kind])
    tree["loss"] = [{"BitsPerPixel": {}}, {"MSE": {"scale": 255, "weight": 0.01}}]
    tree["training"] = {"metrics": [{"PSNR": {}}], "batch_size": 4, **training}
    return parse_spec(tree)


def splits_of(images, **transform):
    source = ArraySource(images)
    return Splits(source, source, source, evaluation_transform=ImageTransform(**transform))


TAGS = (Path(__file__).resolve().parents[2] / "docs" / "training.md").read_text(encoding="utf-8")


def numbered(count, height=8, width=8):
    return [np.full((height, width, 3), index, np.uint8) for index in range(count)]


def numbers(tiles):
    return tiles[:, 0, 0, 0].tolist()


def test_tiles_are_spread_over_the_split():
    assert numbers(scatter_tiles(spec_of(), splits_of(numbered(3)))) == [0, 1, 2]
    found = numbers(scatter_tiles(spec_of(), splits_of(numbered(200))))
    assert len(found) == 40 and found[0] == 0 and found[-1] == 199
    assert found == sorted(set(found))


def test_large_images_show_their_middle_where_sizes_are_free():
    image = np.zeros((300, 600, 3), np.uint8)
    image[22:278, 172:428] = 9
    found = scatter_tiles(spec_of(), splits_of([image, image[:200]]))
    assert found.shape == (2, 200, 256, 3)
    assert found[0].min() == 9
    fixed = copy.deepcopy(TREES["plain"])
    fixed["model"]["layers"]["inputs"][0]["Input"]["shape"] = [300, 600, 3]
    whole = scatter_tiles(parse_spec(fixed), splits_of([image] * 30))
    assert whole.shape == (14, 300, 600, 3)  # as many pixels as 40 of 256x256


def test_images_are_those_that_evaluation_sees():
    image = photo(20, 30)
    found = scatter_tiles(spec_of(), splits_of([image], crop=(8, 16)))
    np.testing.assert_array_equal(found[0], ImageTransform(crop=(8, 16))(image))


def test_only_models_with_an_entropy_model_have_such_tiles(tiny):
    for spec, wanted in ((spec_of("factorized"), True), (tiny(), False)):
        model, _, _ = build_compressor(spec)
        found = rate_distortion_of(spec, model, splits_of(numbered(9)), 4)
        assert (found is not None) == wanted


class Model:
    """Halves the error with each image of a batch, and remembers the batches."""

    def __init__(self):
        self.sizes = []

    def predict_on_batch(self, x):
        self.sizes.append(len(x))
        wrong = (x.astype(np.float32) + 10.4) / 255
        bits = np.arange(len(x)).astype(np.float32)
        return {"x_hat": wrong, "bits_y": 64 * bits, "bits_z": np.full(len(x), 32, np.float32)}


def test_rate_and_distortion_are_means_over_the_tiles():
    model = Model()
    scatter = RateDistortion(np.zeros((8, 8, 8, 3), np.uint8), 4, "x")
    found = scatter.measure(model)
    assert model.sizes == [4, 4]
    # Bits 32, 96, 160, 224 of 64 pixels; an error of 10 levels, once rounded to 8 bits.
    assert found[BPP] == pytest.approx(2.0)
    assert found[PSNR] == pytest.approx(20 * np.log10(255 / 10))


def test_frames_of_clips_are_tiles():
    class Frames(Model):
        def predict_on_batch(self, x):
            return super().predict_on_batch(x.reshape(-1, *x.shape[2:]))

    model = Frames()
    found = RateDistortion(np.zeros((2, 3, 8, 8, 3), np.uint8), 1, "x").measure(model)
    assert model.sizes == [3, 3]
    assert found[BPP] == pytest.approx(1.5)


def test_batches_are_those_the_model_is_called_with_anyway():
    spec = spec_of()
    model, _, _ = build_compressor(spec)
    for count, kept in ((9, 8), (3, 3), (100, 40)):
        splits = splits_of(numbered(count, 16, 16))
        samples = logged_samples(splits.validation, splits.evaluation_transform)
        scatter = rate_distortion_of(spec, model, splits, len(samples))
        double = Model()
        scatter.measure(double)
        assert sum(double.sizes) == kept
        assert set(double.sizes) == {len(samples)}


def test_codecs_are_measured_once(monkeypatch):
    calls = []
    monkeypatch.setattr(
        "builders.rate_distortion.classical_curves", lambda t: calls.append(t) or []
    )
    scatter = RateDistortion(np.zeros((2, 8, 8, 3), np.uint8), 2, "x")
    scatter.measure(Model())
    for epoch in (1, 2):
        scatter.draw({BPP: [1.0] * epoch, PSNR: [20.0] * epoch})
    assert len(calls) == 1


def test_long_runs_get_a_hundred_pictures_and_one_of_their_end():
    assert [epoch for epoch in range(1, 6) if due(epoch, 5)] == [1, 2, 3, 4, 5]
    assert sum(due(epoch, 1000) for epoch in range(1, 1001)) == 100
    found = [epoch for epoch in range(1, 252) if due(epoch, 251)]
    assert found[:2] == [3, 6] and found[-1] == 251


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eight small pictures as files."""
    path = tmp_path_factory.mktemp("pictures")
    for part, count in (("train", 6), ("val", 5)):
        (path / part).mkdir()
        for index in range(count):
            Image.fromarray(photo(16, 16, seed=index)).save(path / part / f"{index}.png")
    return path


def rows(run):
    with run.choice.folder.metrics.open(newline="") as file:
        return [
            {name: value for name, value in row.items() if not name.startswith("time/")}
            for row in csv.DictReader(file)
        ]


def quiet(**settings):
    return TrainOptions(verbosity=0, argv=("train.py",), **settings)


SMALL = {
    f"model.layers.generator.layers.{part}.layers": layers
    for part, layers in {
        "encoder": [conv(4, 5, 8)],
        "decoder": [conv(3, 5, 8, transposed=True)],
        "hyper_encoder": [conv(2, 1)],
        "hyper_decoder": [conv(4, 1)],
    }.items()
}
"""A hyperprior that is quickly traced."""


def test_a_run_logs_them_and_goes_on_with_its_path(workdir, folder, monkeypatch):
    paths = []
    draw = RateDistortion.draw
    monkeypatch.setattr(
        RateDistortion, "draw", lambda self, way: paths.append(way) or draw(self, way)
    )
    changes = {**SMALL, "dataset.name": str(folder)}
    spec = parse_spec(spec_of("scale", epochs=1).resolved(), "spec.json", changes)
    train(spec, quiet(run_dir=workdir / "run"))
    longer = parse_spec(spec.resolved(), "spec.json", {"training.epochs": 2})
    run = train(longer, quiet(resume=find_run(str(workdir / "run"))))
    found = rows(run)
    assert len(found) == 2
    names = set(found[0])
    assert {BPP, PSNR, "bpp_latents", "val_bpp_hyper_latents", "gradient_norm/mean"} <= names
    for row in found:
        assert float(row["gradient_norm/largest"]) >= float(row["gradient_norm/mean"]) > 0
        # The tiles are all five validation images, which the metrics are means over too.
        parts = float(row["val_bpp_latents"]) + float(row["val_bpp_hyper_latents"])
        assert float(row[BPP]) == pytest.approx(parts, rel=1e-4)
        assert float(row[PSNR]) == pytest.approx(float(row["val_psnr_db"]), abs=0.05)
    assert [len(way[BPP]) for way in paths] == [1, 2]
    assert paths[1][PSNR] == pytest.approx([float(row[PSNR]) for row in found])

    events = EventAccumulator(str(run.choice.folder.tensorboard)).Reload()
    assert {BPP, PSNR, "bpp_latents/train", "bpp_hyper_latents/validation"} <= set(
        events.Tags()["scalars"]
    )
    tags = events.Tags()
    for tag in (*tags["scalars"], *tags["tensors"]):
        name = tag.removesuffix("/train").removesuffix("/validation").replace("|", "\\|")
        assert f"`{name}" in TAGS or tag.startswith("_hparams_"), tag
    pictures = events.Tensors("rate_distortion")
    assert [event.step for event in pictures] == [1, 2]
    width, height, png = tensor_util.make_ndarray(pictures[-1].tensor_proto)
    assert Image.open(io.BytesIO(png)).size == (int(width), int(height))
    beside = np.asarray(Image.open(run.choice.folder.path / "rate_distortion.png"))
    np.testing.assert_array_equal(beside, np.asarray(Image.open(io.BytesIO(png))))
