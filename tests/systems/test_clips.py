"""The specs of game clips: each trains a little, becomes a codec, and codes a clip and back."""

from pathlib import Path

import numpy as np
import pytest

from builders.clip_export import clip_bytes
from builders.clip_video import clip_frames
from builders.codec_export import CodecChoices
from builders.codec_transforms import bundle_transforms
from builders.codec_writing import export_codec
from builders.session import TrainOptions
from builders.spec import load_spec
from builders.training import train
from codec.bundle import Bundle
from codec.clip_codec import ClipReader
from codec.image_codec import ImageCodec

pytestmark = [pytest.mark.systems, pytest.mark.timeout(600)]

MODELS = Path(__file__).resolve().parents[2] / "models"
SMALL = {"training.epochs": 1, "training.seed": 1, "training.batch_size": 2}


@pytest.mark.parametrize("name", ["pacman_frame", "pacman_residual", "pacman_gated"])
def test_a_spec_of_clips_codes_a_clip(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, videos: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    changes = {**SMALL, "dataset.name": str(videos), "dataset.max_images": 6}
    spec = load_spec(MODELS / f"{name}.json", changes)
    run = train(spec, TrainOptions(verbosity=0, argv=("train.py",)))
    assert np.isfinite(run.progress.best_loss)
    lines = export_codec(run.choice, tmp_path / "codec", CodecChoices(), lambda _: None)
    assert any(line.startswith("checked") for line in lines)
    bundle = Bundle.read(tmp_path / "codec")
    assert bundle.predicts == (name != "pacman_frame")
    codec = ImageCodec(bundle, lambda: bundle_transforms(bundle))
    frames = np.array(list(clip_frames(videos / "0.mp4"))[:4])
    data, seen = clip_bytes(codec, frames)
    np.testing.assert_array_equal(list(ClipReader(codec, data)), seen)
    key_frame, _ = clip_bytes(codec, frames[:1])
    if bundle.predicts:
        assert len(data) < len(frames) * len(key_frame)  # frames on their own would take as much
