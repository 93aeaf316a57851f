"""Videos, written and read back with PyAV."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from builders.errors import UserError
from builders.file_sets import open_videos
from builders.sources import SplitSources
from builders.video_source import VideoSource

av = pytest.importorskip("av")

ROOMY = 1 << 24


def level(number: int, video: int = 0) -> int:
    """Brightness of frame `number`: tells frames apart even after compression."""
    return (20 + 11 * number + 100 * video) % 230


def write(
    path: Path,
    frames: int = 20,
    *,
    video: int = 0,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    size: tuple[int, int] = (32, 48),
    key_every: int = 5,
    rotation: int = 0,
) -> Path:
    """Frames whose left half is red and whose brightness is their number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(25))
        stream.height, stream.width = size
        stream.pix_fmt = pixels
        stream.codec_context.gop_size = key_every
        stream.bit_rate = 4_000_000
        if rotation:
            stream.set_display_rotation(rotation)
        for number in range(frames):
            image = np.full((*size, 3), level(number, video), np.uint8)
            if not pixels.startswith("gray"):
                image[:, : size[1] // 2, 0] = 255
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def brightness(image: np.ndarray) -> int:
    """Mean of the last channel, away from the borders."""
    return round(float(image[8:-8, 8:-8, -1].mean()))


def open_source(folder: Path, *names: str, **settings) -> VideoSource:
    settings = {"channels": 3, "cache_bytes": ROOMY, **settings}
    return VideoSource(folder, names, **settings)


@pytest.mark.parametrize("cache_bytes", [ROOMY, 0])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.webm"])
def test_every_nth_frame_from_memory_and_from_the_file(
    tmp_path: Path, name: str, cache_bytes: int
) -> None:
    codec = {"a.avi": "mpeg4", "a.webm": "libvpx"}.get(name, "libx264")
    write(tmp_path / name, codec=codec)
    source = open_source(tmp_path, name, every_nth=3, cache_bytes=cache_bytes)
    assert len(source) == 7
    assert source.cached == (7 if cache_bytes else 0)
    for index in (6, 0, 3, 5, 1, 2, 4):  # not in order: has to seek back and forth
        image = source[index]
        assert image.shape == (32, 48, 3)
        assert abs(brightness(image) - level(3 * index)) <= 5, index
    assert source.name(2) == f"{name} frame 6"
    assert source.size(0) == (32, 48)
    assert source[0][16, 4, 0] > 200


def test_reading_again_gives_the_same_pixels(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", 12)
    kept = open_source(tmp_path, "a.mp4")
    decoded = open_source(tmp_path, "a.mp4", cache_bytes=0)
    for index in reversed(range(12)):
        np.testing.assert_array_equal(kept[index], decoded[index])


@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
def test_a_video_is_turned_as_it_says(tmp_path: Path, rotation: int) -> None:
    # FFmpeg: "the angle by which the transformation rotates the frame counterclockwise".
    write(tmp_path / "a.mp4", 3, rotation=rotation)
    source = open_source(tmp_path, "a.mp4")
    assert source.size(0) == ((32, 48) if rotation in {0, 180} else (48, 32))
    image = source[0].astype(int)
    red = image[..., 0] - image[..., 2] > 100
    height, width = red.shape
    edges = {0: red[:, : width // 4], 90: red[-height // 4 :], 180: red[:, -width // 4 :],
             -90: red[: height // 4]}  # fmt: skip
    assert {turn for turn, edge in edges.items() if edge.all()} == {rotation}


def test_gray_video(tmp_path: Path) -> None:
    write(tmp_path / "a.mkv", 4, codec="ffv1", pixels="gray")
    assert open_source(tmp_path, "a.mkv", channels=1)[2].shape == (32, 48, 1)
    assert abs(brightness(open_source(tmp_path, "a.mkv", channels=1)[2]) - level(2)) <= 2
    with pytest.raises(UserError, match=r'grayscale.*"color": "rgb"'):
        open_source(tmp_path, "a.mkv")


def test_colour_video_for_one_channel(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", 4)
    with pytest.raises(UserError, match=r'a\.mp4 is in colour.*"color": "grayscale"'):
        open_source(tmp_path, "a.mp4", channels=1)
    assert open_source(tmp_path, "a.mp4", channels=1, color="grayscale")[0].shape == (32, 48, 1)


def test_broken_videos_are_named_and_leave_nothing_behind(tmp_path: Path) -> None:
    write(tmp_path / "good.mp4", 6)
    (tmp_path / "text.mp4").write_text("not a video")
    whole = write(tmp_path / "whole.mp4", 40).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.mp4").write_bytes(b"")
    names = ["cut.mp4", "empty.mp4", "good.mp4", "text.mp4"]
    calls = []
    source = open_source(tmp_path, *names, progress=lambda *call: calls.append(call))
    assert [Path(one.path).name for one in source.skipped] == ["cut.mp4", "empty.mp4", "text.mp4"]
    assert {source.video(i) for i in range(len(source))} == {"good.mp4"}
    assert source.cached == 6
    assert calls[-1] == ("reading videos", 4, 4)
    with pytest.raises(UserError, match=r"no video can be read\n.*text\.mp4: damaged"):
        open_source(tmp_path, "text.mp4")


def test_sound_without_pictures(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 2048), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        for packet in [*stream.encode(frame), *stream.encode()]:
            container.mux(packet)
    with pytest.raises(UserError, match="has no pictures"):
        open_source(tmp_path, "a.mp4")


def open_split(folder: Path, *names: str, **settings) -> SplitSources:
    settings = {
        "channels": 3,
        "every_nth": 1,
        "color": None,
        "validation_fraction": 0.2,
        "test_fraction": 0.2,
        "max_images": None,
        "cache_bytes": ROOMY,
        "progress": None,
        **settings,
    }
    return open_videos(folder, names, **settings)


def videos_of(source) -> set[str]:
    return {source.name(i).split(" ")[0] for i in range(len(source))}


def test_several_videos_are_split_by_video(tmp_path: Path) -> None:
    names = [f"{i}.mp4" for i in range(8)]
    for i, name in enumerate(names):
        write(tmp_path / name, 4, video=i)
    splits = open_split(tmp_path, *names)
    members = [videos_of(part) for part in (splits.train, splits.validation, splits.test)]
    assert set.union(*members) == set(names)
    assert sum(map(len, members)) == len(names)  # no video in two splits
    assert len(splits.train) == 4 * len(members[0])
    assert all(members[:2])


def test_folders_split_videos(tmp_path: Path) -> None:
    for name in ("train/a.mp4", "train/b.mp4", "val/c.mp4", "test/d.mp4"):
        write(tmp_path / name, 4)
    splits = open_split(tmp_path, "test/d.mp4", "train/a.mp4", "train/b.mp4", "val/c.mp4")
    assert videos_of(splits.train) == {"train/a.mp4", "train/b.mp4"}
    assert videos_of(splits.validation) == {"val/c.mp4"}
    assert videos_of(splits.test) == {"test/d.mp4"}


def test_one_video_is_split_by_time(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", 20)
    splits = open_split(tmp_path, "a.mp4")
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (12, 4, 4)
    assert splits.train.name(11) == "a.mp4 frame 11"
    assert splits.validation.name(0) == "a.mp4 frame 12"
    assert splits.test.name(3) == "a.mp4 frame 19"
    assert "split by time" in splits.notes[0]
    with pytest.raises(UserError, match="one frame cannot be split"):
        open_split(tmp_path, "a.mp4", every_nth=20)


def test_the_only_video_that_can_be_read_is_split_by_time(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", 10)
    (tmp_path / "b.mp4").write_text("not a video")
    splits = open_split(tmp_path, "a.mp4", "b.mp4")
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (6, 2, 2)
    assert len(splits.skipped) == 1


def test_max_images_and_small_memory(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", 30)
    splits = open_split(tmp_path, "a.mp4", max_images=3, cache_bytes=5 * 32 * 48 * 3)
    assert [splits.train.name(i) for i in range(3)] == [f"a.mp4 frame {i}" for i in (0, 8, 17)]
    assert len(splits.validation) == len(splits.test) == 3
    assert "5 of 30 frames fit into memory" in splits.notes[-1]
