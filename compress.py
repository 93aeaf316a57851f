"""Compresses images to .nic and videos to .nicv files. `compress.py --help` names every flag."""

import argparse
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from builders.cli import Parser, natural, number, positive, run_command
from builders.codec_choice import find_bundle, open_codec, quality_index, read_bundle
from builders.coding_flags import (
    MAX_INPUT_BYTES,
    add_effort,
    add_model,
    add_output,
    add_precision,
    add_workers,
    effort_of,
    start_keras,
)
from builders.errors import UserError
from constants.data import IMAGE_SUFFIXES, VIDEO_SUFFIXES

if TYPE_CHECKING:
    from builders.coding_jobs import Job
    from codec.bundle import Bundle
    from codec.image_codec import ImageCodec
    from codec.picture import Picture

SUFFIX = ".nic"


def build_parser() -> Parser:
    """The flags."""
    parser = Parser(prog="compress.py", description="Compress images to .nic and videos to .nicv.")
    add = parser.add_argument
    add(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="files, folders, or - for standard input; or videos, or folders of videos",
    )
    add_model(parser, "a codec bundle, a run that has one")
    rate = parser.add_mutually_exclusive_group()
    rate.add_argument(
        "--quality",
        type=number,
        metavar="Q",
        help="1 to 100, higher is larger and better (the model's own choice, near the middle)",
    )
    rate.add_argument(
        "--target_bpp",
        type=number,
        metavar="BPP",
        help="the highest quality whose file has at most so many bits per pixel",
    )
    add_output(parser)
    add_workers(parser)
    add("--tile", type=natural, help="side of tiles in pixels; 0 for none (by the memory it takes)")
    add(
        "--keyframe_interval",
        type=positive,
        metavar="N",
        help="of a video, frames from one that stands on its own to the next (120, fewer where "
        "frames are large)",
    )
    add_effort(parser)
    add_precision(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs the command; see the flags."""
    flags = build_parser().parse_with_names(argv)
    path = find_bundle(flags.model)
    from builders.clip_jobs import CLIP_SUFFIX, are_clips, check_targets
    from builders.coding_jobs import plan_jobs

    clips = are_clips(flags.images, VIDEO_SUFFIXES, IMAGE_SUFFIXES)
    suffix, suffixes = (CLIP_SUFFIX, VIDEO_SUFFIXES) if clips else (SUFFIX, IMAGE_SUFFIXES)
    jobs = plan_jobs(flags.images, flags.output, suffix, suffixes, flags.force)
    if clips:
        check_targets(jobs, CLIP_SUFFIX)
    bundle = read_bundle(path)
    _check(flags, bundle, clips)
    effort = 0 if clips else effort_of(flags.effort, bundle)
    flags.workers = 1 if clips else min(flags.workers, len(jobs))
    codec = open_codec(bundle, start_keras(bundle, flags.precision, flags.workers), effort)
    return (_compress_clips if clips else _compress_images)(codec, jobs, flags)


def _compress_clips(codec: "ImageCodec", jobs: "list[Job]", flags: argparse.Namespace) -> int:
    from builders.clip_jobs import compress_clip, run_clip_jobs

    quality, interval = _quality(codec, flags), flags.keyframe_interval
    return run_clip_jobs(
        jobs,
        lambda job, progress: compress_clip(codec, job, quality, interval, progress),
        print,
    )


def _compress_images(codec: "ImageCodec", jobs: "list[Job]", flags: argparse.Namespace) -> int:
    from builders.coding_jobs import label, run_jobs
    from builders.picture_files import read_picture

    def work(content: bytes, job: "Job") -> tuple[bytes, str]:
        picture, notes = read_picture(content, label(job.source))
        data = _compressed(codec, picture, flags)
        height, width = picture.pixels.shape[:2]
        bpp = 8 * len(data) / (height * width)
        line = f"{job.source} -> {job.target}: {len(data):,} bytes, {bpp:.3f} bits per pixel"
        line += f", {len(content) / len(data):.1f} : 1"
        return data, "\n".join([line, *(f"  {note}" for note in notes)])

    return run_jobs(jobs, work, "compressing", flags.workers, MAX_INPUT_BYTES, print)


def _check(flags: argparse.Namespace, bundle: "Bundle", clips: bool) -> None:
    for flag in ("target_bpp", "tile", "effort") if clips else ("keyframe_interval",):
        if getattr(flags, flag) is not None:
            raise UserError(f"--{flag}: is for {'images' if clips else 'videos'}")
    if flags.keyframe_interval is not None:
        from codec.clip_header import MAX_INTERVAL

        if flags.keyframe_interval > MAX_INTERVAL:
            raise UserError(
                f"--keyframe_interval {flags.keyframe_interval}: at most {MAX_INTERVAL}"
            )
    if flags.quality is not None:
        quality_index(flags.quality, bundle.qualities)
    if flags.target_bpp is not None:
        if bundle.qualities == 1:
            raise UserError(f"--target_bpp: {bundle.manifest.name} has one quality")
        if not 0 < flags.target_bpp < math.inf:
            raise UserError(f"--target_bpp {flags.target_bpp:g}: expected a number above 0")
    if flags.tile:
        from codec.errors import NicFieldError
        from codec.tiling import Tiling

        try:
            Tiling(flags.tile)
        except NicFieldError as error:
            raise UserError(f"--tile {flags.tile}: {error}") from None


def _compressed(codec: "ImageCodec", picture: "Picture", flags: argparse.Namespace) -> bytes:
    if flags.target_bpp is not None:
        height, width = picture.pixels.shape[:2]
        most = min(flags.target_bpp * height * width / 8, float(MAX_INPUT_BYTES))
        return codec.compress_to(picture, int(most), flags.tile)
    return codec.compress(picture, _quality(codec, flags), flags.tile)


def _quality(codec: "ImageCodec", flags: argparse.Namespace) -> int | None:
    if flags.quality is None:
        return None
    return quality_index(flags.quality, codec.bundle.qualities)


if __name__ == "__main__":
    run_command(main)
