"""Prediction from the spec to files: checks, training, validation, export, clips and back."""

import json
from pathlib import Path

import numpy as np
import pytest

from builders.clip_export import check_clips, clip_bytes, sampled_latents
from builders.clip_video import clip_facts, clip_frames, write_lossless
from builders.codec_export import CodecChoices, make_codec
from builders.codec_transforms import KerasTransforms, bundle_transforms
from builders.codec_writing import export_codec
from builders.errors import RunError, UserError
from builders.exporting import export
from builders.image_reader import BrokenImage
from builders.model_builder import ModelBuilder
from builders.problems import SpecError
from builders.session import TrainOptions
from builders.spec import architecture_digest, parse_spec
from builders.training import train
from builders.validating import ValidationOptions, validate
from codec.bundle import Bundle
from codec.clip_codec import ClipReader
from codec.image_codec import ImageCodec
from codec.picture import Picture
from tests.clip_models import SIZE, clip_spec, moving_clip, write_video
from tests.codec_models import write_files

pytest.importorskip("av")


def problems(tree) -> str:
    with pytest.raises(SpecError) as error:
        ModelBuilder(parse_spec(tree)).build()
    return str(error.value)


def test_prediction_and_clips_go_together() -> None:
    assert "dataset.clip_frames: found 1, expected 2 or more" in problems(
        clip_spec("residual", clip_frames=1)
    )
    tree = clip_spec(None)
    tree["dataset"]["clip_frames"] = 4
    assert "dataset.clip_frames: found 4, expected 1 without" in problems(tree)
    tree = clip_spec("both")
    assert 'PreviousFrame.mode: found "both"' in problems(tree)


def test_the_decoder_of_a_gated_model_gives_twice_the_channels() -> None:
    tree = clip_spec("gated")
    layers = tree["model"]["layers"]["generator"]["layers"]["decoder"]["layers"]
    layers[-1]["Conv2DTranspose"]["filters"] = 3
    told = problems(tree)
    assert "decoder: gives 16x24x3 for an input of 16x24x3" in told
    assert "generator.prediction takes 16x24x6" in told


def test_clips_are_not_held_on_the_device() -> None:
    message = "dataset.on_device: found true, expected false or null with dataset.clip_frames 3"
    with pytest.raises(UserError, match=message):
        parse_spec(clip_spec(on_device=True), "clips.json")
    assert parse_spec(clip_spec(on_device=False), "clips.json").dataset.on_device is False


def test_a_spec_without_prediction_has_the_weights_it_had() -> None:
    resolved = parse_spec(clip_spec(None)).resolved()
    without = json.loads(json.dumps(resolved))
    del without["model"]["layers"]["generator"]["prediction"]
    assert architecture_digest(resolved) == architecture_digest(without)
    assert architecture_digest(resolved) != parse_spec(clip_spec()).architecture_digest()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on clips of three short videos, with everything that a run writes."""
    folder = tmp_path_factory.mktemp("clips")
    for split, frames in (("train", 8), ("val", 6), ("test", 6)):
        write_video(folder / "videos" / split / "a.mkv", moving_clip(frames, seed=frames))
    spec = parse_spec(clip_spec("residual", name=str(folder / "videos"), flip=True))
    options = TrainOptions(run_dir=folder / "run", verbosity=0, argv=("train.py",))
    return train(spec, options)


def test_a_run_on_clips_is_as_others_are(trained) -> None:
    history = trained.progress.history
    assert np.isfinite(history["val_loss"]).all()
    assert history["time/images_per_second"][0] > 0
    assert (trained.choice.folder.path / "samples.png").stat().st_size > 0
    assert trained.progress.images == 6  # clips of three of eight frames


def test_validation_counts_frames_and_codes_clips(trained, tmp_path: Path) -> None:
    options = ValidationOptions(report=tmp_path / "report.json")
    report = validate(trained.choice, options, lambda line: None)
    assert report["images"] == 6
    assert report["per_image"][4]["name"].endswith("test/a.mkv frame 3 and 2 more: 2")
    assert report["files"]["images"] == 6
    estimated, files = report["bits_per_pixel"]["estimated"], report["files"]["bits_per_pixel"]
    overhead = 8 * 45 / (3 * SIZE[0] * SIZE[1])
    assert estimated - 0.1 < files < estimated + overhead + 0.1
    assert report["files"]["psnr_db"] == pytest.approx(report["mean"]["psnr_db"], abs=0.2)


def test_other_exports_are_refused(trained, tmp_path: Path) -> None:
    for mode in ("full", "encoder-decoder"):
        with pytest.raises(UserError, match=f"--mode {mode}: Tiny_Clips predicts.*--mode codec"):
            export(trained.choice, mode, save_path=str(tmp_path / "a"))


@pytest.fixture(scope="module")
def codec(trained, tmp_path_factory) -> ImageCodec:
    """Of the run's bundle."""
    folder = tmp_path_factory.mktemp("bundle") / "codec"
    lines = export_codec(trained.choice, folder, CodecChoices(), lambda step: None)
    assert "4 clips of the training split" in lines[-1]
    bundle = Bundle.read(folder)
    assert bundle.predicts
    assert bundle.manifest.spec["dataset"] == {"clip_frames": 3}
    return ImageCodec(bundle, lambda: bundle_transforms(bundle))


def test_a_clip_comes_back_as_the_encoder_saw_it(codec: ImageCodec) -> None:
    frames = moving_clip(7, seed=3, size=(20, 30))  # other sizes, padded
    data, seen = clip_bytes(codec, frames)
    np.testing.assert_array_equal(list(ClipReader(codec, data)), seen)
    assert seen[0].shape == (20, 30, 3)


@pytest.mark.parametrize("mode", ["residual", "gated"])
def test_latents_of_0_leave_a_frame_as_it_is(mode: str) -> None:
    transforms = KerasTransforms(ModelBuilder(parse_spec(clip_spec(mode))).build().generator)
    frame = moving_clip(1)
    nothing = np.zeros_like(transforms.analyse(frame)["y"])
    np.testing.assert_array_equal(transforms.synthesise(nothing, frame), frame)


def test_a_picture_is_a_clip_of_one_key_frame(codec: ImageCodec) -> None:
    frame = moving_clip(1)[0]
    _, seen = clip_bytes(codec, frame[None])
    back = codec.decompress(codec.compress(Picture(frame))).pixels
    np.testing.assert_array_equal(back, seen[0])


def test_a_codec_of_other_networks_is_noticed(codec: ImageCodec) -> None:
    other = ModelBuilder(parse_spec(clip_spec())).build().generator
    with pytest.raises(RunError, match="does not give back"):
        check_clips(Path("bundle"), codec, KerasTransforms(other), [moving_clip(2)])


def test_latents_are_sampled_along_clips(codec: ImageCodec) -> None:
    generator = ModelBuilder(parse_spec(clip_spec())).build().generator
    transforms = KerasTransforms(generator)
    clips = np.stack([moving_clip(3, seed=seed) for seed in range(2)])
    key, *predicted = list(sampled_latents(generator, transforms, clips))
    np.testing.assert_array_equal(key["y"], transforms.analyse(clips[:, 0])["y"])
    assert len(predicted) == 2
    assert not np.array_equal(predicted[0]["y"], transforms.analyse(clips[:, 1])["y"])


def test_frames_on_their_own_go_into_clips_too(tmp_path: Path) -> None:
    spec = parse_spec(clip_spec(None))
    generator = ModelBuilder(spec).build().generator
    parts = make_codec(generator, spec, [moving_clip(4)])
    bundle = Bundle.read(write_files(tmp_path / "codec", parts.files))
    assert not bundle.predicts
    assert "prediction" not in bundle.manifest.spec["model"]["layers"]["generator"]
    codec = ImageCodec(bundle, lambda: bundle_transforms(bundle))
    frames = moving_clip(3)
    data, seen = clip_bytes(codec, frames)
    decoded = list(ClipReader(codec, data))
    np.testing.assert_array_equal(decoded, seen)
    alone = [codec.decompress(codec.compress(Picture(frame))).pixels for frame in frames]
    np.testing.assert_array_equal(decoded, alone)


@pytest.mark.parametrize("channels", [1, 3])
def test_lossless_video_is_lossless(tmp_path: Path, channels: int) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (4, 9, 13, channels), np.uint8)
    path = write_video(tmp_path / "a.mkv", frames)
    np.testing.assert_array_equal(list(clip_frames(path)), frames)
    facts = clip_facts(path)
    assert (facts.rate, facts.silent) == (25, True)
    with pytest.raises(RunError, match="a video needs a frame"):
        write_lossless(tmp_path / "b.mkv", iter([]), facts.rate)
    assert [each.name for each in tmp_path.iterdir()] == ["a.mkv"]


def test_what_is_no_video_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.mkv").write_text("no video")
    with pytest.raises(BrokenImage, match="damaged"):
        list(clip_frames(tmp_path / "a.mkv"))
