"""Decompresses .nic files to images. `python decompress.py --help` names every flag."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from builders.cli import (
    Parser,
    choose_backend,
    has_extensions,
    load_extensions,
    positive,
    run_command,
)
from builders.codec_choice import find_bundle, open_codec, read_bundle
from builders.errors import UserError

if TYPE_CHECKING:
    from codec.picture import Transforms

MAX_INPUT_BYTES = 1 << 31
NIC_SUFFIXES = (".nic",)


def build_parser() -> Parser:
    """The flags."""
    parser = Parser(prog="decompress.py", description="Decompress .nic files to images.")
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE", help="files, folders, or - for standard input")
    add(
        "--model",
        metavar="BUNDLE",
        help="the bundle that compressed them, a run that has it, or a name in pretrained/ "
        "(photo_small)",
    )
    add("-o", "--output", metavar="OUT", help="a file for one image, else a folder; - for stdout")
    parser.add_switch("--force", "overwrite files that are there")
    parser.add_switch("--info", "tell what the files say of themselves; decode nothing")
    add("--workers", type=positive, default=os.cpu_count() or 1, help="images at a time")
    add("--format", default="png", help="of images whose name -o does not give: png, tiff, ...")
    add(
        "--precision",
        choices=("float32", "mixed_bfloat16"),
        default="float32",
        help="what the networks compute in",
    )
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs the command; see the flags."""
    flags = build_parser().parse_with_names(argv)
    if flags.info:
        from builders.nic_info import tell_info

        return tell_info(flags.files, print)
    path = find_bundle(flags.model)
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
    bundle = read_bundle(path)

    def transforms() -> "Transforms":
        choose_backend()
        if has_extensions():
            load_extensions()
        from builders.codec_transforms import bundle_transforms

        return bundle_transforms(bundle, flags.precision)

    codec = open_codec(bundle, transforms)

    def work(content: bytes, job: Job) -> tuple[bytes, str]:
        picture = codec.decompress(content)
        target = suffix if job.target == STREAM else Path(job.target).suffix
        height, width = picture.pixels.shape[:2]
        return picture_bytes(picture, target), f"{job.source} -> {job.target}: {width}x{height}"

    return run_jobs(jobs, work, "decompressing", flags.workers, MAX_INPUT_BYTES, print)


if __name__ == "__main__":
    run_command(main)
