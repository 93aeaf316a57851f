"""Compresses images to .nic files. `python compress.py --help` names every flag."""

import argparse
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from builders.cli import Parser, natural, number, run_command
from builders.codec_choice import find_bundle, open_codec, quality_index, read_bundle
from builders.coding_flags import (
    MAX_INPUT_BYTES,
    add_model,
    add_output,
    add_precision,
    add_workers,
    start_keras,
)
from builders.errors import UserError
from constants.data import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from codec.bundle import Bundle
    from codec.image_codec import ImageCodec
    from codec.picture import Picture

SUFFIX = ".nic"


def build_parser() -> Parser:
    """The flags."""
    parser = Parser(prog="compress.py", description="Compress images to .nic files.")
    add = parser.add_argument
    add("images", nargs="+", metavar="IMAGE", help="files, folders, or - for standard input")
    add_model(parser, "a codec bundle, a run that has one")
    rate = parser.add_mutually_exclusive_group()
    rate.add_argument(
        "--quality",
        type=number,
        metavar="Q",
        help="1 to 100, higher is larger and better (what the model was trained for: about 51)",
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
    add_precision(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs the command; see the flags."""
    flags = build_parser().parse_with_names(argv)
    path = find_bundle(flags.model)
    from builders.coding_jobs import Job, label, plan_jobs, run_jobs

    jobs = plan_jobs(flags.images, flags.output, SUFFIX, IMAGE_SUFFIXES, flags.force)
    bundle = read_bundle(path)
    _check(flags, bundle)
    transforms = start_keras(bundle, flags.precision)
    from builders.picture_files import read_picture

    codec = open_codec(bundle, transforms)

    def work(content: bytes, job: Job) -> tuple[bytes, str]:
        picture, notes = read_picture(content, label(job.source))
        data = _compressed(codec, picture, flags)
        height, width = picture.pixels.shape[:2]
        bpp = 8 * len(data) / (height * width)
        line = f"{job.source} -> {job.target}: {len(data):,} bytes, {bpp:.3f} bits per pixel"
        line += f", {len(content) / len(data):.1f} : 1"
        return data, "\n".join([line, *(f"  {note}" for note in notes)])

    return run_jobs(jobs, work, "compressing", flags.workers, MAX_INPUT_BYTES, print)


def _check(flags: argparse.Namespace, bundle: "Bundle") -> None:
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
    quality = None
    if flags.quality is not None:
        quality = quality_index(flags.quality, codec.bundle.qualities)
    return codec.compress(picture, quality, flags.tile)


if __name__ == "__main__":
    run_command(main)
