"""Compares codecs on a folder of images. `python benchmark.py --help` names every flag."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from builders.backend import choose_backend
from builders.benchmark_flags import add_benchmark_flags, check_families
from builders.cli import (
    Parser,
    boolean,
    has_extensions,
    load_extensions,
    natural,
    positive,
    run_command,
)
from builders.codec_choice import find_bundle, read_bundle
from builders.coding_flags import add_effort
from builders.errors import UserError
from builders.problems import near_miss
from builders.threads import confine

if TYPE_CHECKING:
    from codec.bundle import Bundle
    from evaluation.codecs import Codec


def build_parser() -> Parser:
    """The flags."""
    parser = Parser(
        prog="benchmark.py",
        description="Compare codec bundles with JPEG, WebP, AVIF, JPEG XL, JPEG 2000 and HEIC: "
        "rate, quality, time and memory.",
    )
    add = parser.add_argument
    add("--dataset", required=True, metavar="DIR", help="folder of images, or one image")
    add(
        "--models",
        nargs="+",
        default=[],
        metavar="BUNDLE",
        help="codec bundles, runs that have one, or names in pretrained/ (none)",
    )
    add_benchmark_flags(parser)
    add("--output", required=True, metavar="DIR", help="where results go; a second start goes on")
    add("--anchor", metavar="NAME", help="codec that the others are compared with (jpeg-420)")
    add("--workers", type=positive, default=os.cpu_count() or 1, help="images at a time, not timed")
    add("--threads", type=positive, help="cores that the whole command may use (all; Linux alone)")
    add("--timed_images", type=natural, default=3, help="images to time; 0 for none")
    add("--repeats", type=positive, default=3, help="timed calls of each")
    add("--shown_images", type=natural, default=3, help="images on the page, at most 3")
    add(
        "--published",
        type=boolean,
        metavar="BOOL",
        help="show published points of the Kodak set (where the images are that set)",
    )
    add(
        "--precision",
        choices=("float32", "mixed_bfloat16"),
        default="float32",
        help="what the bundles' networks compute in",
    )
    add_effort(parser)
    parser.add_config()
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs the command; see the flags."""
    flags = build_parser().parse_args(argv)
    check_families(flags.codecs)
    if flags.peers and not flags.timed_images:
        raise UserError("--peers: are timed, and --timed_images is 0")
    paths = [find_bundle(each, "--models") for each in flags.models]
    threads = confine(flags.threads)
    from builders.benchmark_choice import check_metrics, choose_classical, with_settings

    check_metrics(flags.metrics)
    classical, left_out = choose_classical(flags.codecs, threads)
    classical = with_settings(classical, flags.codec_settings)
    bundles = [read_bundle(path) for path in paths]
    curves = _curves(flags.join, [codec.name for codec in classical])
    if not bundles and not curves and not classical:
        raise UserError("nothing to measure: name --models, --codecs or both")
    for note in left_out:
        print(note)
    choose_backend()
    if has_extensions():
        load_extensions()
    from builders.benchmark_peers import started_peers
    from builders.benchmarking import (
        PAGE,
        TABLE,
        BenchmarkOptions,
        bundle_codecs,
        open_photos,
        run_benchmark,
    )
    from builders.bundle_measuring import Coding
    from builders.joined_codec import JoinedCodec

    photos = open_photos(Path(flags.dataset))
    taken = [codec.name for codec in classical]
    how = Coding(threads, flags.precision, flags.effort)
    ours = bundle_codecs(bundles, [*taken, *curves], flags.quality, how)
    joint = [JoinedCodec(each, name, how) for name, each in curves.items()]
    codecs: list[Codec] = [*joint, *ours, *classical]
    measured = [codec.name for codec in codecs]
    if flags.anchor is not None and flags.anchor not in measured:
        raise UserError(
            f"--anchor {flags.anchor}: not among those measured{near_miss(flags.anchor, measured)}"
        )
    output = Path(flags.output)
    if output.exists() and not output.is_dir():
        raise UserError(f"--output {output}: is a file")
    options = BenchmarkOptions(
        dataset=Path(flags.dataset).resolve(),
        output=output,
        anchor=flags.anchor,
        workers=flags.workers,
        timed=flags.timed_images,
        repeats=flags.repeats,
        shown=flags.shown_images,
        published=flags.published,
        left_out=tuple(left_out),
        metrics=tuple(flags.metrics),
        command=("benchmark.py", *argv),
    )
    with started_peers(flags.peers, threads) as peers:
        status = run_benchmark(photos, codecs, replace(options, peers=tuple(peers)))
    print(f"table {output / TABLE}, page {output / PAGE}")
    return status


def _curves(
    joined: Sequence[tuple[str, list[str]]], taken: Sequence[str]
) -> "dict[str, list[Bundle]]":
    """The bundles of each curve."""
    curves: dict[str, list[Bundle]] = {}
    for name, parts in joined:
        bundles = [read_bundle(find_bundle(each, "--join")) for each in parts]
        if name in curves or name in taken:
            raise UserError(f"--join {name}: another codec has that name")
        if len({bundle.digest for bundle in bundles}) < len(bundles):
            raise UserError(f"--join {name}: names a bundle twice")
        curves[name] = bundles
    return curves


if __name__ == "__main__":
    run_command(main)
