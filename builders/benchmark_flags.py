"""Flags of what benchmark.py and study.py measure. No heavy imports."""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from builders.codec_choice import HIGHEST, LOWEST
from builders.config_file import comma_list
from builders.errors import UserError
from builders.problems import near_miss

FAMILIES = ("jpeg", "webp", "avif", "jxl", "jpeg2000", "heic")
QUALITIES = "10,25,40,51,62,75,90"

CodecSettings = tuple[str, list[float]]
"""A codec or a family, and the settings to measure it at."""


@comma_list
def names(text: str) -> list[str]:
    """Names between commas; `none` for none."""
    found = [each.strip() for each in text.split(",") if each.strip()]
    if not found:
        raise argparse.ArgumentTypeError(f"expected names between commas, found {text!r}")
    return [] if found == ["none"] else list(dict.fromkeys(found))


@comma_list
def qualities(text: str) -> list[float]:
    """Values of --quality between commas."""
    values = _numbers(text)
    if not values or not all(LOWEST <= each <= HIGHEST for each in values):
        raise argparse.ArgumentTypeError(
            f'found "{text}", expected numbers from {LOWEST:g} to {HIGHEST:g} between commas'
        )
    return values


def codec_settings(text: str) -> CodecSettings:
    """`CODEC=VALUE,VALUE`."""
    name, separator, values = text.partition("=")
    found = _numbers(values)
    if not separator or not name.strip() or not found:
        raise argparse.ArgumentTypeError(
            f'found "{text}", expected CODEC=NUMBERS such as jpeg-420=95,70,50,20'
        )
    return name.strip(), found


def curve(text: str) -> tuple[str, list[str]]:
    """`NAME=BUNDLE,BUNDLE`."""
    name, separator, bundles = text.partition("=")
    found = [each.strip() for each in bundles.split(",") if each.strip()]
    plain = all(c.isalnum() or c in ".-_" for c in name) and not name.startswith(".")
    if not separator or not name or not plain:
        found = []
    if len(found) < 2:
        raise argparse.ArgumentTypeError(
            f'found "{text}", expected NAME=BUNDLE,BUNDLE with two bundles or more'
        )
    return name, found


def _numbers(text: str) -> list[float]:
    """Numbers between commas; none where one of them is no number."""
    try:
        return [float(each) for each in text.split(",")]
    except ValueError:
        return []


def add_codec_flags(parser: argparse.ArgumentParser, codecs: str | None = None) -> None:
    """Adds --codecs, --codec_settings and --quality.

    Args:
        parser: of a command.
        codecs: those measured where none are named; None for all that are installed.
    """
    add = parser.add_argument
    add(
        "--codecs",
        type=names,
        default=codecs,
        metavar="LIST",
        help=f"some of {','.join(FAMILIES)}, or names such as avif-s6, or none"
        + (" (those installed)" if codecs is None else ""),
    )
    _add_pairs(
        parser,
        "--codec_settings",
        codec_settings,
        "CODEC=LIST",
        "settings at which a codec is measured, or all of a family, such as jpeg-420=95,70,50,20 "
        "(each codec's own)",
    )
    add(
        "--quality",
        type=qualities,
        default=QUALITIES,
        metavar="LIST",
        help="values of --quality, 1 to 100, at which the bundles are measured",
    )


def add_benchmark_flags(parser: argparse.ArgumentParser) -> None:
    """Adds --join, --peers and --metrics, which benchmark.py alone has, and `add_codec_flags`'."""
    _add_pairs(
        parser,
        "--join",
        curve,
        "NAME=LIST",
        "bundles between commas that are one curve, each at the quality it was trained for, small "
        "files first (none)",
    )
    add_codec_flags(parser)
    add = parser.add_argument
    add(
        "--peers",
        type=names,
        default=[],
        metavar="LIST",
        help="architectures of other projects to time, with random weights: compressai, tfc, or "
        "names such as compressai-mbt2018-mean (none)",
    )
    add(
        "--metrics",
        type=names,
        default=[],
        metavar="LIST",
        help="further measures, of packages that are installed: ssimulacra2 (none)",
    )


def _add_pairs(
    parser: argparse.ArgumentParser,
    flag: str,
    kind: Callable[[str], tuple[str, list[Any]]],
    metavar: str,
    text: str,
) -> None:
    """Adds a flag of names with values, several at a time, that may be given again for more."""
    parser.add_argument(
        flag, type=kind, nargs="+", action="extend", default=[], metavar=metavar, help=text
    )


def check_families(codecs: Sequence[str] | None) -> None:
    """Checks names of codecs before anything heavy is imported.

    Raises:
        UserError: a name begins with no known family.
    """
    for name in codecs or ():
        if name.split("-")[0] not in FAMILIES:
            raise UserError(f"--codecs {name}: no such codec{near_miss(name, list(FAMILIES))}")
