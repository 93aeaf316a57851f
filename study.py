"""Trains several specs and compares their codecs. `python study.py --help` names every flag."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from builders.backend import choose_backend
from builders.benchmark_flags import add_codec_flags, check_families, names
from builders.cli import (
    Parser,
    boolean,
    has_extensions,
    load_extensions,
    natural,
    positive,
    run_command,
)
from builders.config_file import comma_list
from builders.errors import UserError
from constants.defaults import QUANTIZERS

if TYPE_CHECKING:
    from builders.spec import Spec

FLAG_PATHS = {"tfds": "dataset.tfds", "dataset": "dataset.name", "epochs": "training.epochs"}
CODECS = "jpeg-420,webp-m4"

DetailFlag = tuple[str, int, int, int, int]


def build_parser() -> Parser:
    """The flags; a default of None means what each spec says."""
    parser = Parser(
        prog="study.py",
        description="Train several specs on one data set, export each as a codec, and measure all "
        "of them and classical codecs on the same test images. A second start goes on.",
    )
    add = parser.add_argument
    add("--models", nargs="+", required=True, metavar="SPEC", help="specs, JSON files")
    add(
        "--dataset",
        help="TFDS name, folder of images, video, folder of videos, or embedded digits/photos "
        "(each spec's)",
    )
    add("--tfds", type=boolean, metavar="BOOL", help="whether --dataset names a TFDS data set")
    add("--output", required=True, metavar="DIR", help="where runs, codecs and results go")
    add("--epochs", type=positive, help="passes over the training images (each spec's)")
    add(
        "--set",
        action="extend",
        nargs="+",
        default=[],
        metavar="PATH=VALUE",
        help="change values of all specs",
    )
    add(
        "--quantizers",
        type=_quantizers,
        metavar="LIST",
        help=f"how latents are stored, for specs without entropy model: some of "
        f"{','.join(QUANTIZERS)} (each spec's, else min-max)",
    )
    add_codec_flags(parser, CODECS)
    add(
        "--test",
        metavar="DIR_OR_IMAGE",
        help="images to measure on, as they are (the test split, resized as the specs say, and "
        "cropped where their input has a fixed size)",
    )
    add("--test_images", type=positive, metavar="N", help="at most so many, evenly spread (all)")
    add("--timed_images", type=natural, default=3, help="images to time; 0 for none")
    add("--repeats", type=positive, default=3, help="timed calls of each")
    add(
        "--detail",
        type=_detail,
        action="extend",
        nargs="+",
        default=[],
        metavar="IMAGE=TOP,LEFT,HEIGHT,WIDTH",
        help="parts of test images to show enlarged, in pixels",
    )
    parser.add_switch("--retrain", "delete the runs that are there and train anew")
    parser.add_config()
    return parser


@comma_list
def _quantizers(text: str) -> list[str]:
    found = names(text)
    for name in found:
        if name not in QUANTIZERS:
            known = ", ".join(QUANTIZERS)
            raise argparse.ArgumentTypeError(f'found "{name}", expected some of {known}')
    if not found:
        raise argparse.ArgumentTypeError(
            f'found "{text}", expected some of {", ".join(QUANTIZERS)}'
        )
    return found


def _detail(text: str) -> DetailFlag:
    name, _, numbers = text.rpartition("=")
    try:
        top, left, height, width = (int(each) for each in numbers.split(","))
    except ValueError:
        top = left = height = width = -1
    if not name or min(top, left) < 0 or min(height, width) < 1:
        raise argparse.ArgumentTypeError(
            f'found "{text}", expected IMAGE=TOP,LEFT,HEIGHT,WIDTH in whole pixels'
        )
    return name, top, left, height, width


def main(argv: Sequence[str]) -> int:
    """Runs the command; see the flags."""
    flags = build_parser().parse_args(argv)
    check_families(flags.codecs)
    if has_extensions():
        choose_backend()
        load_extensions()
    specs = _specs(flags)
    from builders.benchmark_choice import choose_classical, with_settings
    from builders.machine import cores

    classical, left_out = choose_classical(flags.codecs, cores())
    classical = with_settings(classical, flags.codec_settings)
    choose_backend()
    from builders.study import StudyOptions, run_study
    from evaluation.side_by_side import Detail

    options = StudyOptions(
        output=Path(flags.output),
        quantizers=flags.quantizers,
        qualities=flags.quality,
        test=None if flags.test is None else Path(flags.test),
        test_images=flags.test_images,
        timed=flags.timed_images,
        repeats=flags.repeats,
        details=[Detail(*each) for each in flags.detail],
        retrain=flags.retrain,
        left_out=left_out,
        command=("study.py", *argv),
    )
    return run_study(specs, classical, options)


def _specs(flags: argparse.Namespace) -> dict[str, "Spec"]:
    """Name of a spec's file -> the spec, changed by the flags."""
    from builders.flags import spec_overrides
    from builders.spec import load_spec

    found: dict[str, Spec] = {}
    for given in flags.models:
        path = Path(given)
        if path.stem in found:
            raise UserError(
                f"--models {given}: {found[path.stem].source} has the same name; each spec's "
                "results go into a folder of its name"
            )
        found[path.stem] = load_spec(path, spec_overrides(flags, path, FLAG_PATHS))
    return found


if __name__ == "__main__":
    run_command(main)
