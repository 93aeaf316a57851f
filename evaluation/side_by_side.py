"""Test pictures beside what each codec makes of them, whole or a part enlarged."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from evaluation.benchmark_pictures import Shown, Version, version_of
from evaluation.benchmark_run import Photo
from evaluation.codecs import Codec, CodecError, Pixels, fitting_setting
from evaluation.picture_grid import as_rgb, draw_grid, to_pixels

CELL_PX = 96, 384
"""Longer side of a picture: at least, at most."""
DETAIL_PX = 320, 960
"""The same of an enlarged part."""


@dataclass(frozen=True)
class Detail:
    """A part of a picture.

    Attributes:
        name: of the picture.
        top: in pixels, as the others.
        left: from the left edge.
        height: rows.
        width: columns.
    """

    name: str
    top: int
    left: int
    height: int
    width: int

    def of(self, pixels: Pixels) -> Pixels:
        """The part of a picture (H, W, C)."""
        down, across = self.top + self.height, self.left + self.width
        return pixels[self.top : down, self.left : across]


def side_by_side(photo: Photo, models: Sequence[Codec], classical: Codec | None) -> Shown:
    """A picture by each model at its usual setting, and by a classical codec beside them.

    Args:
        photo: which.
        models: at least one.
        classical: shown at the setting whose file is nearest in size to the middle one of the
            models' files; None for none.

    Raises:
        CodecError: the picture can't be read.
    """
    original = photo.load()
    versions: list[Version] = []
    failed = []
    for codec in models:
        try:
            data = codec.encode(original, codec.usual)
            version = version_of(codec, codec.usual, data, original)
            versions.append(replace(version, setting="") if len(codec.scale) == 1 else version)
        except CodecError as error:
            failed.append(f"{codec.label}: {error}")
    if classical is not None and versions:
        try:
            middle = statistics.median_low(each.file_bytes for each in versions)
            setting, data = nearest_setting(classical, original, middle)
            versions.append(version_of(classical, setting, data, original))
        except CodecError as error:
            failed.append(f"{classical.label}: {error}")
    return Shown(photo.name, "beside each other", original, tuple(versions), tuple(failed))


def nearest_setting(codec: Codec, pixels: Pixels, wanted_bytes: int) -> tuple[float, bytes]:
    """The setting whose file is nearest to a size, by their ratio.

    Args:
        codec: any.
        pixels: uint8 (H, W, 3).
        wanted_bytes: of the whole file.

    Returns:
        The setting and the file.

    Raises:
        CodecError: the codec fails.
    """
    setting, data = fitting_setting(codec, pixels, wanted_bytes)
    place = list(codec.scale).index(setting)
    if place == 0:
        return setting, data
    below = codec.encode(pixels, codec.scale[place - 1])
    if _distance(len(below), wanted_bytes) < _distance(len(data), wanted_bytes):
        return codec.scale[place - 1], below
    return setting, data


def _distance(size: int, wanted: int) -> float:
    return abs(math.log(size / wanted))


def samples_figure(pictures: Sequence[Shown]) -> Pixels:
    """A row for each picture: the original and each version, with bits per pixel and dB.

    Args:
        pictures: at least one.

    Returns:
        uint8 (height, width, 3).
    """
    return _stacked([_row(each, None) for each in pictures])


def details_figure(parts: Sequence[tuple[Shown, Detail]]) -> Pixels:
    """A row for each part: enlarged by repeating pixels, in the original and in each version.

    Args:
        parts: a picture and the part of it; at least one.

    Returns:
        uint8 (height, width, 3).
    """
    return _stacked([_row(shown, detail) for shown, detail in parts])


def _row(shown: Shown, detail: Detail | None) -> Pixels:
    pictures = [shown.original, *(each.pixels for each in shown.versions)]
    if detail is not None:
        pictures = [detail.of(each) for each in pictures]
    least, most = CELL_PX if detail is None else DETAIL_PX
    longest = max(pictures[0].shape[:2])
    enlarge, shrink = max(1, math.ceil(least / longest)), max(1, math.ceil(longest / most))
    scale = ""
    if shrink > 1:
        scale = f"\n1/{shrink} size"
    elif enlarge > 1:
        scale = f"\n{enlarge}\N{MULTIPLICATION SIGN} size"
    height, width = shown.original.shape[:2]
    captions = [f"original\n{width}\N{MULTIPLICATION SIGN}{height}"]
    for each in shown.versions:
        rate = f"{8 * each.file_bytes / (height * width):.3f} bpp"
        lines = [each.label, each.setting, rate, f"{each.psnr_db:.2f} dB"]
        captions.append("\n".join(line for line in lines if line))
    label = _folded(shown.name)
    if detail is not None:
        label += f"\nfrom ({detail.top}, {detail.left})\n{detail.height} high, {detail.width} wide"
    cells = [to_pixels(as_rgb(each), enlarge, shrink) for each in pictures]
    return draw_grid([(label + scale, cells)], captions)


def _folded(name: str, length: int = 18) -> str:
    """A name in lines of some characters: a long one would take the room of a picture."""
    return "\n".join(name[at : at + length] for at in range(0, len(name), length))


def _stacked(rows: Sequence[Pixels]) -> Pixels:
    """Pictures below each other, on white."""
    width = max(each.shape[1] for each in rows)
    return np.concatenate(
        [
            np.pad(each, ((0, 0), (0, width - each.shape[1]), (0, 0)), constant_values=255)
            for each in rows
        ]
    )
