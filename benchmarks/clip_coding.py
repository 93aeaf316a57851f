"""Clips: prediction in time against frames on their own, the source videos, and video codecs.

    python -m benchmarks.clip_coding --models BUNDLE... --clips DIR_OR_FILES... --output DIR

Every clip is decoded once; its frames are what all codecs are given and compared with. The source
file has these frames already: its bytes stand in the table, and it has no error by definition.
Bundles write `.nicv` files. H.264 and H.265 (x264 and x265 in PyAV's wheel, `medium`, 4:2:0, a key
frame every 120 frames, in MP4) are measured here and now on the same frames, as are JPEG and WebP,
frame by frame. Writes DIR/clips.json and DIR/clips.md.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.clip_coders import SIZE_BYTES, all_coders
from builders.backend import choose_backend
from builders.cli import Parser, number, positive, run_command
from builders.errors import RunError, UserError
from constants.data import VIDEO_SUFFIXES

if TYPE_CHECKING:
    from benchmarks.clip_coders import Coder, Pixels

KEY_FRAMES = 120
BATCH = 32


@dataclass(frozen=True)
class Row:
    """One codec on one clip.

    Attributes:
        codec: what coded it, with its setting.
        clip: name of the source.
        frames: how many.
        pixels: of one frame.
        bytes: of the whole file, or of all files of the frames.
        psnr_rgb_db: mean over frames; None for the source.
        ssim: mean over frames; None for the source.
        encode_fps: frames per second, or None.
        decode_fps: likewise.
    """

    codec: str
    clip: str
    frames: int
    pixels: int
    bytes: int
    psnr_rgb_db: float | None = None
    ssim: float | None = None
    encode_fps: float | None = None
    decode_fps: float | None = None


ATTEMPTS = 4
"""Writing x265's streams to MP4 fails now and then, with the same frames as before."""


def build_parser() -> Parser:
    """The flags."""
    parser = Parser(prog="benchmarks.clip_coding", description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--models", nargs="+", required=True, metavar="BUNDLE")
    add("--clips", nargs="+", required=True, type=Path)
    add("--output", required=True, type=Path)
    add("--quality", type=number, nargs="*", default=[], help="of bundles, 1 to 100")
    add("--frames", type=positive, help="of each clip, the first so many (all)")
    add("--keyframe_interval", type=positive, default=KEY_FRAMES)
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs the benchmark."""
    flags = build_parser().parse_args(argv)
    clips = sources(flags.clips)
    if flags.output.exists() and not flags.output.is_dir():
        raise UserError(f"--output {flags.output}: is a file")
    choose_backend()
    from builders.clip_video import clip_facts, clip_frames

    facts = {path: clip_facts(path) for path in clips}  # what can't be read is told now
    import av

    coders = dict(all_coders(flags))
    rows: list[Row] = []
    failures: list[str] = []
    for path in clips:
        frames = list(islice(clip_frames(path), flags.frames))
        pixels = frames[0][..., 0].size
        if flags.frames is None:  # of a part of a clip, the file says nothing
            rows.append(Row("source", path.name, len(frames), pixels, path.stat().st_size))
        for name, coder in coders.items():
            for attempt in range(ATTEMPTS):
                try:
                    rows.append(measured(name, path.name, coder, frames, facts[path].rate))
                except av.FFmpegError as error:
                    if attempt == ATTEMPTS - 1:  # the rest goes on
                        failures.append(f"{path.name}: {name}: {error.strerror}")
                        print(failures[-1], file=sys.stderr, flush=True)
                else:
                    print(one_line(rows[-1]), flush=True)
                    break
    flags.output.mkdir(parents=True, exist_ok=True)
    machine = {"python": platform.python_version(), "machine": platform.machine()}
    content = {
        "command": ["benchmarks.clip_coding", *argv],
        **machine,
        "failures": failures,
        "rows": [asdict(row) for row in rows],
    }
    (flags.output / "clips.json").write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    text = markdown(rows)
    (flags.output / "clips.md").write_text(text, "utf-8")
    print(f"\n{text}")
    return 1 if failures else 0


def sources(given: Sequence[Path]) -> list[Path]:
    """All videos in files and folders.

    Raises:
        UserError: one of them is not there, or there is no video.
    """
    found: list[Path] = []
    for path in given:
        if not path.exists():
            raise UserError(f"--clips {path}: no such file or folder")
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        found += [each for each in inside if each.suffix.lower() in VIDEO_SUFFIXES]
    if not found:
        raise UserError(f"--clips {' '.join(map(str, given))}: no videos there")
    return found


def measured(name: str, clip: str, coder: Coder, frames: list[Pixels], rate: Fraction) -> Row:
    """Codes a clip and compares what comes back; the first frames warm up what is made once."""
    encode, decode = coder
    decode(encode(frames[:2], rate))
    start = time.perf_counter()
    data = encode(frames, rate)
    middle = time.perf_counter()
    back = decode(data)
    end = time.perf_counter()
    if len(back) != len(frames):
        raise RunError(f"{name}: {len(back)} frames came back of {len(frames)}")
    size = len(data) - SIZE_BYTES * len(frames) * ("frame by frame" in name)
    psnr, ssim = quality_of(frames, back)
    fps = len(frames) / (middle - start), len(frames) / (end - middle)
    return Row(name, clip, len(frames), frames[0][..., 0].size, size, psnr, ssim, *fps)


def quality_of(frames: list[Pixels], back: list[Pixels]) -> tuple[float, float]:
    """PSNR in dB and SSIM, means over frames."""
    import numpy as np

    from architectures import image_quality

    values: dict[str, list[float]] = {"psnr": [], "ssim": []}
    window = image_quality.largest_window(*frames[0].shape[:2])
    for start in range(0, len(frames), BATCH):
        x, x_hat = (
            np.stack(each[start : start + BATCH]).astype(np.float32) / 255
            for each in (frames, back)
        )
        values["psnr"] += np.asarray(image_quality.psnr_db(x, x_hat)).tolist()
        values["ssim"] += np.asarray(image_quality.ssim(x, x_hat, filter_size=window)).tolist()
    return float(np.mean(values["psnr"])), float(np.mean(values["ssim"]))


def one_line(row: Row) -> str:
    """A result, for who is waiting."""
    return f"{row.clip}: {row.codec}: {row.bytes:,} bytes, {row.psnr_rgb_db:.2f} dB"


def markdown(rows: Sequence[Row]) -> str:
    """All clips together, then clip by clip."""
    clips = list(dict.fromkeys(row.clip for row in rows))
    parts = [f"## {len(clips)} clips together", "", *_table(_together(rows))]
    for clip in clips if len(clips) > 1 else ():
        parts += ["", f"## {clip}", "", *_table([row for row in rows if row.clip == clip])]
    return "\n".join(parts) + "\n"


def _together(rows: Sequence[Row]) -> list[Row]:
    joined = []
    for codec in dict.fromkeys(row.codec for row in rows):
        part = [row for row in rows if row.codec == codec]
        frames = sum(row.frames for row in part)

        def mean(name: str, part: list[Row] = part, frames: int = frames) -> float | None:
            if getattr(part[0], name) is None:
                return None
            return sum(getattr(row, name) * row.frames for row in part) / frames

        def speed(name: str, part: list[Row] = part, frames: int = frames) -> float | None:
            if getattr(part[0], name) is None:
                return None
            return frames / sum(row.frames / getattr(row, name) for row in part)

        pixels = round(sum(row.pixels * row.frames for row in part) / frames)
        total = sum(row.bytes for row in part)
        figures = mean("psnr_rgb_db"), mean("ssim"), speed("encode_fps"), speed("decode_fps")
        joined.append(Row(codec, "all", frames, pixels, total, *figures))
    return joined


def _table(rows: Sequence[Row]) -> list[str]:
    lines = [
        "| codec | bytes | kbit a frame | bits per pixel | PSNR RGB, dB | SSIM | encode, fps "
        "| decode, fps |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        rate = 8 * row.bytes / row.frames
        cells = [row.codec, f"{row.bytes:,}", f"{rate / 1000:.2f}", f"{rate / row.pixels:.4f}"]
        for value, digits in ((row.psnr_rgb_db, 2), (row.ssim, 4), (row.encode_fps, 1)):
            cells.append("" if value is None else f"{value:.{digits}f}")
        cells.append("" if row.decode_fps is None else f"{row.decode_fps:.1f}")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    run_command(main)
