"""Clips of videos: where they begin, and what batches of them hold."""

from pathlib import Path

import numpy as np
import pytest

from builders.clips import ClipSource, clip_starts, frames_of
from builders.dataset_builder import DatasetBuilder
from builders.errors import UserError
from builders.loader import BatchLoader
from builders.sections import DatasetSection
from builders.sources import ArraySource
from builders.transforms import ImageTransform
from tests.clip_models import SIZE, moving_clip, write_video

pytest.importorskip("av")


class Frames(ArraySource):
    """Frames of videos; each video by the number of its frames."""

    def __init__(self, *lengths: int) -> None:
        count = sum(lengths)
        pixels = np.arange(count, dtype=np.uint8)[:, None, None, None]
        noise = np.random.default_rng(0).integers(0, 200, (1, *SIZE, 1), np.uint8)
        super().__init__(pixels + noise, "frame")
        self._owners = np.repeat(np.arange(len(lengths)), lengths)

    def video(self, index: int) -> str:
        return str(self._owners[index])


def test_clips_begin_where_enough_frames_of_a_video_follow() -> None:
    source = Frames(5, 2, 4)
    rows = np.arange(11)
    assert clip_starts(source, rows, 3, overlapping=True).tolist() == [0, 1, 2, 7, 8]
    assert clip_starts(source, rows, 3, overlapping=False).tolist() == [0, 7]
    assert clip_starts(source, rows, 2, overlapping=False).tolist() == [0, 2, 5, 7, 9]
    # Frames that are in another split are not bridged.
    assert clip_starts(source, np.array([0, 1, 3, 4, 7, 8, 9]), 2, overlapping=True).tolist() == [
        0, 3, 7, 8,
    ]  # fmt: skip


def test_all_frames_of_a_clip_are_cropped_and_flipped_alike() -> None:
    source = ClipSource(Frames(12), np.arange(9), 4)
    transform = ImageTransform(crop=(8, 8), flip=True, training=True)
    loader = BatchLoader(source, 3, transform=transform, shuffle=True, seed=1)
    places = set()
    for batch in loader.batches(0):
        assert batch.shape[1:] == (4, 8, 8, 1)
        steps = np.diff(batch.astype(int), axis=1)
        assert (steps == 1).all()  # each frame is the one before, one level brighter
        places |= {clip[0].tobytes() for clip in batch}
    assert len(places) > 5  # and clips are not all cut at one place
    assert frames_of(batch).shape == (len(batch) * 4, 8, 8, 1)
    assert frames_of(frames_of(batch)).shape == (len(batch) * 4, 8, 8, 1)


def opened(folder: Path, **settings):
    section = DatasetSection(name=str(folder), clip_frames=3, **settings)
    return DatasetBuilder(section, (None, None, 3)).build()


def test_videos_give_clips_of_one_video_and_one_split(tmp_path: Path) -> None:
    for split, frames in (("train", 7), ("val", 7), ("test", 6)):
        write_video(tmp_path / split / f"{split}.mkv", moving_clip(frames, seed=frames))
    splits = opened(tmp_path)
    # Training clips overlap, the others share no frame.
    assert [len(each) for each in (splits.train, splits.validation, splits.test)] == [5, 2, 2]
    assert "5 train, 2 validation, 2 test clips" in splits.describe()[0]
    np.testing.assert_array_equal(splits.train[2], moving_clip(7, seed=7)[2:5])
    assert splits.validation.name(1) == "val/val.mkv frame 3 and 2 more"
    (batch,) = splits.loader("validation", 4).batches(0)
    assert batch.shape == (2, 3, *SIZE, 3)
    every_other = opened(tmp_path, every_nth=2)
    np.testing.assert_array_equal(every_other.train[0], moving_clip(7, seed=7)[0:5:2])
    few = opened(tmp_path, max_images=1)
    assert [len(each) for each in (few.train, few.validation, few.test)] == [1, 1, 1]


def test_a_split_without_a_whole_clip_is_told(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mkv", moving_clip(10))
    with pytest.raises(UserError, match=r"clip_frames: no 3 consecutive frames.*validation split"):
        opened(tmp_path)


def test_clips_are_of_videos(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"dataset\.clip_frames: clips are of videos, photos is an"):
        opened(Path("photos"))
