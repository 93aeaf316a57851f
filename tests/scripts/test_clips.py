"""compress.py and decompress.py with videos, as a user calls them."""

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import compress
import decompress
from builders.clip_video import clip_facts, clip_frames
from codec.clip_container import read_clip_info
from tests.clip_models import moving_clip, write_video

pytest.importorskip("av")


@pytest.fixture
def call(call_script):
    """Runs a command with a codec; returns exit status, standard output and standard error."""
    return call_script


def test_a_video_becomes_a_file_and_a_lossless_video(call) -> None:
    frames = moving_clip(5, size=(20, 30))
    write_video(Path("in/clip.mkv"), frames, Fraction(30000, 1001))
    status, out, err = call(
        compress, "in/clip.mkv", "--keyframe_interval", 2, "--quality", 60, model="mean_scale"
    )
    assert (status, err) == (0, "")
    assert "in/clip.mkv -> in/clip.nicv: 5 frames, " in out
    header = read_clip_info(Path("in/clip.nicv").read_bytes()).header
    assert (header.interval, header.rate, header.quality) == (2, Fraction(30000, 1001), 152)
    status, out, err = call(
        decompress, "in/clip.nicv", "-o", "back.mkv", model="mean_scale"
    )  # beside it is the source
    assert (status, err) == (0, "")
    assert out.strip() == "in/clip.nicv -> back.mkv: 5 frames of 30x20"
    decoded = list(clip_frames(Path("back.mkv")))
    assert np.shape(decoded) == frames.shape
    assert clip_facts(Path("back.mkv")).rate == Fraction(30000, 1001)


def test_info_tells_what_a_clip_is(call) -> None:
    write_video(Path("a.mkv"), moving_clip(5))
    assert call(compress, "a.mkv", "--keyframe_interval", 3)[0] == 0
    status, out, _ = call(decompress, "--info", "a.nicv")
    assert status == 0
    assert "size        24x16 pixels, rgb" in out
    assert "frames      5, 25 a second, 0.20 s" in out
    assert "key frames  2, one every 3 frames" in out
    whole = Path("a.nicv").read_bytes()
    Path("a.nicv").write_bytes(whole[:-3])
    status, _, err = call(decompress, "--info", ".")
    assert status == 1
    assert "a.nicv: the file is cut short" in err


def test_a_folder_stands_for_its_videos(call) -> None:
    for name in ("a.mkv", "deep/b.mkv"):
        write_video(Path("in") / name, moving_clip(2))
    (Path("in") / "broken.mp4").write_text("no video")
    status, out, err = call(compress, "in", "-o", "out")
    assert status == 1
    assert "broken.mp4: damaged" in err
    assert out.count(" -> ") == 2
    assert {path.name for path in Path("out").rglob("*") if path.is_file()} == {"a.nicv", "b.nicv"}
    status, out, _ = call(decompress, "out", "-o", "back")
    assert status == 0
    assert np.shape(list(clip_frames(Path("back/deep/b.mkv")))) == (2, 16, 24, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.mkv", "--tile", "64"), "--tile: is for images"),
        (("a.mkv", "--target_bpp", "1"), "--target_bpp: is for images"),
        (("a.png", "--keyframe_interval", "5"), "--keyframe_interval: is for videos"),
        (("a.mkv", "--keyframe_interval", "65537"), "--keyframe_interval 65537: at most 65536"),
        (("a.mkv", "-o", "-"), "-o -: a clip goes to a file"),
        (("a.mkv", "-o", "a.nic"), "-o a.nic: expected a name that ends in .nicv"),
        (("a.mkv", "a.png"), "a.mkv is a clip, a.png is none"),
        (("b.mkv",), "b.mkv: no such file"),
    ],
)
def test_mistakes_are_told_in_a_line(call, arguments, message) -> None:
    write_video(Path("a.mkv"), moving_clip(2))
    Image.fromarray(moving_clip(1)[0]).save("a.png")
    status, _, err = call(compress, *arguments)
    assert status == 2
    assert message in err
    assert "Traceback" not in err


def test_decompressing_refuses_what_it_should(call) -> None:
    write_video(Path("a.mkv"), moving_clip(2))
    assert call(compress, "a.mkv")[0] == 0
    status, _, err = call(decompress, "a.nicv")
    assert status == 2
    assert "a.mkv: is there already; --force overwrites it" in err
    status, _, err = call(decompress, "a.nicv", "-o", "b.avi")
    assert (status, "expected a name that ends in .mkv" in err) == (2, True)
    status, _, err = call(decompress, "a.nicv", "-o", "b.mkv", model="mean_scale")
    assert (status, "was written with model" in err) == (1, True)
    data = bytearray(Path("a.nicv").read_bytes())
    data[-9] ^= 1
    Path("a.nicv").write_bytes(data)
    status, _, err = call(decompress, "a.nicv", "-o", "b.mkv")
    assert (status, "its checksum does not match" in err) == (1, True)
    assert not Path("b.mkv").exists()


def test_without_pyav_the_requirements_are_named(call, monkeypatch) -> None:
    write_video(Path("a.mkv"), moving_clip(2))
    monkeypatch.setitem(sys.modules, "av", None)
    status, _, err = call(compress, "a.mkv")
    assert status == 2
    assert "videos are read with PyAV, which is not installed" in err
    assert "requirements-video.txt" in err
