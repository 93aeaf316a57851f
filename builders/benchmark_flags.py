"""Flags that benchmark.py and study.py share: codecs and their settings. No heavy imports."""

import argparse
from collections.abc import Sequence

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
    add(
        "--codec_settings",
        type=codec_settings,
        nargs="+",
        action="extend",
        default=[],
        metavar="CODEC=LIST",
        help="settings at which a codec is measured, or all of a family, such as "
        "jpeg-420=95,70,50,20 (each codec's own)",
    )
    add(
        "--quality",
        type=qualities,
        default=QUALITIES,
        metavar="LIST",
        help="values of --quality, 1 to 100, at which the bundles are measured",
    )


def check_families(codecs: Sequence[str] | None) -> None:
    """Checks names of codecs before anything heavy is imported.

    Raises:
        UserError: a name begins with no known family.
    """
    for name in codecs or ():
        if name.split("-")[0] not in FAMILIES:
            raise UserError(f"--codecs {name}: no such codec{near_miss(name, list(FAMILIES))}")
