"""Decompresses .nic files to images, .nicv files to videos. `--help` names every flag."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from builders.cli import Parser, run_command
from builders.codec_choice import find_bundle, open_codec, read_bundle
from builders.coding_flags import (
    MAX_INPUT_BYTES,
    add_model,
    add_output,
    add_precision,
    add_workers,
    start_keras,
)
from builders.errors import UserError

if TYPE_CHECKING:
    from codec.image_codec import ImageCodec
    from codec.picture import Transforms

NIC_SUFFIXES = (".nic",)


def build_parser() -> Parser:
    """The flags."""
    parser = Parser(prog="decompress.py", description="Decompress .nic to images, .nicv to videos.")
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE", help="files, folders, or - for standard input")
    add_model(parser, "the bundle that compressed them, a run that has it")
    add_output(parser)
    parser.add_switch("--info", "tell what the files say of themselves; decode nothing")
    add_workers(parser)
    add("--format", default="png", help="of images whose name -o does not give: png, tiff, ...")
    add_precision(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs the command; see the flags."""
    flags = build_parser().parse_with_names(argv)
    if flags.info:
        from builders.nic_info import tell_info

        return tell_info(flags.files, print)
    path = find_bundle(flags.model)
    from builders.clip_jobs import CLIP_SUFFIX, are_clips

    clips = are_clips(flags.files, (CLIP_SUFFIX,), NIC_SUFFIXES)
    return (_decompress_clips if clips else _decompress_images)(flags, path)


def _decompress_clips(flags: argparse.Namespace, path: Path) -> int:
    from builders.clip_jobs import CLIP_SUFFIX, check_targets, decompress_clip, run_clip_jobs
    from builders.clip_video import LOSSLESS_SUFFIX
    from builders.coding_jobs import plan_jobs

    jobs = plan_jobs(flags.files, flags.output, LOSSLESS_SUFFIX, (CLIP_SUFFIX,), flags.force)
    check_targets(jobs, LOSSLESS_SUFFIX)
    codec = _open(flags, path, 1)
    return run_clip_jobs(
        jobs, lambda job, progress: decompress_clip(codec, job, progress, MAX_INPUT_BYTES), print
    )


def _decompress_images(flags: argparse.Namespace, path: Path) -> int:
    from builders.coding_jobs import STREAM, Job, plan_jobs, run_jobs
    from builders.picture_files import FORMATS, picture_bytes

    suffix = f".{flags.format.lower().removeprefix('.')}"
    if suffix not in FORMATS:
        names = ", ".join(each[1:] for each in FORMATS)
        raise UserError(f"--format {flags.format}: expected one of {names}")
    jobs = plan_jobs(flags.files, flags.output, suffix, NIC_SUFFIXES, flags.force)
    for job in jobs:
        if job.target != STREAM and Path(job.target).suffix.lower() not in FORMATS:
            raise UserError(f"-o {job.target}: expected a name that ends in {', '.join(FORMATS)}")
    flags.workers = min(flags.workers, len(jobs))
    codec = _open(flags, path, flags.workers)

    def work(content: bytes, job: Job) -> tuple[bytes, str]:
        picture = codec.decompress(content)
        target = suffix if job.target == STREAM else Path(job.target).suffix
        height, width = picture.pixels.shape[:2]
        return picture_bytes(picture, target), f"{job.source} -> {job.target}: {width}x{height}"

    return run_jobs(jobs, work, "decompressing", flags.workers, MAX_INPUT_BYTES, print)


def _open(flags: argparse.Namespace, path: Path, workers: int) -> "ImageCodec":
    """The codec of a bundle; its networks are made when a file was found to be in order."""
    bundle = read_bundle(path)

    def transforms() -> "Transforms":
        return start_keras(bundle, flags.precision, workers)()

    return open_codec(bundle, transforms)


if __name__ == "__main__":
    run_command(main)
