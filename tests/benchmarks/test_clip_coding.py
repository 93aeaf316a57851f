"""The benchmark of clips: what it writes, and mistakes in one line."""

import json
from pathlib import Path

import pytest

from benchmarks import clip_coding
from tests.clip_models import moving_clip, write_video

av = pytest.importorskip("av")


def test_clips_are_coded_by_all(call, codecs, monkeypatch):
    monkeypatch.setattr(av, "codecs_available", {"libx264"})  # x265 fails now and then
    write_video(Path("clips/deep/a.mkv"), moving_clip(4))
    flags = ["--models", codecs["mean_scale"].folder, "--clips", "clips", "--output", "out"]
    code, out, err = call(
        clip_coding, *flags, "--quality", 40, "--frames=3", "--keyframe_interval=2"
    )
    assert (code, err) == (0, "")
    found = json.loads(Path("out/clips.json").read_text(encoding="utf-8"))
    assert found["command"][:2] == ["benchmarks.clip_coding", "--models"]
    rows = {row["codec"]: row for row in found["rows"]}
    assert {"Tiny_Codec q40", "libx264 crf23", "jpeg-420 q50, frame by frame"} <= set(rows)
    assert all(row["frames"] == 3 and row["psnr_rgb_db"] > 5 for row in rows.values())
    table = Path("out/clips.md").read_text(encoding="utf-8")
    assert "| Tiny_Codec q40 | " in table and table in out


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        ({"clips": "nowhere"}, 2, "--clips nowhere: no such file or folder"),
        ({"clips": "empty"}, 2, "--clips empty: no videos there"),
        ({"clips": "broken.mkv"}, 1, "broken.mkv: "),
        ({"models": "nowhere"}, 2, "--models nowhere: no such folder"),
        ({"output": "broken.mkv"}, 2, "--output broken.mkv: is a file"),
        ({"quality": "400"}, 2, "--quality 400: expected 1 to 100"),
    ],
)
def test_mistakes_are_one_line(call, codecs, flags, status, message):
    Path("empty").mkdir()
    Path("broken.mkv").write_bytes(b"no video")
    write_video(Path("a.mkv"), moving_clip(2))
    given = {"clips": "a.mkv", "models": codecs["mean_scale"].folder, "output": "out", **flags}
    words = [f"--{name}={value}" for name, value in given.items()]
    code, out, err = call(clip_coding, *words)
    assert (code, out) == (status, "")
    assert err.startswith(f"clip_coding.py: {message}") and err.count("\n") == 1
    assert not Path("out").exists()
