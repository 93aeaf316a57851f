"""Pictures to look at: the same photo by several codecs at the same number of bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from evaluation.benchmark_run import Photo
from evaluation.codecs import Codec, CodecError, Pixels, fitting_setting
from evaluation.figures import reconstruction_grid
from evaluation.measures import measures

CROP: Final = 160
"""Side of a crop in pixels."""
SHOWN: Final = 1280
"""Side of what the page shows of a photo, at most."""

Entry = dict[str, Any]


@dataclass(frozen=True)
class Version:
    """A photo as one codec gives it back.

    Attributes:
        label: of the codec.
        setting: such as `quality 30`.
        file_bytes: of the whole file.
        pixels: uint8 (H, W, 3).
        psnr_db: of RGB.
        ms_ssim: 0..1.
    """

    label: str
    setting: str
    file_bytes: int
    pixels: Pixels
    psnr_db: float
    ms_ssim: float


@dataclass(frozen=True)
class Shown:
    """A photo and its versions.

    Attributes:
        name: of the photo.
        why: it was chosen.
        original: uint8 (H, W, 3).
        versions: the first decides on the bytes of all.
        failed: what could not be shown, in words.
    """

    name: str
    why: str
    original: Pixels
    versions: tuple[Version, ...]
    failed: tuple[str, ...]


def choose_photos(entries: Sequence[Entry], names: Sequence[str]) -> list[tuple[str, str]]:
    """Photos to show, each with the reason: where the first of ours does best, middling and worst.

    By the PSNR of its usual setting over that of the first classical codec, interpolated to the
    same bits per pixel. Without one of ours, or one to compare it with, the first, middle and last.

    Args:
        entries: measured codecs.
        names: of all photos.
    """
    own = next((each for each in entries if each["family"] == "ours"), None)
    other = next((each for each in entries if each["family"] != "ours"), None)
    common = [n for n in names if own and other and n in own["pictures"] and n in other["pictures"]]
    if own is None or other is None or not common:
        places = sorted({0, len(names) // 2, len(names) - 1}) if names else []
        return [(names[place], "chosen by its place") for place in places]
    gains = sorted((_gain(own["pictures"][name], other["pictures"][name]), name) for name in common)
    places = sorted({len(gains) - 1, len(gains) // 2, 0}, reverse=True)
    words = {len(gains) - 1: "best", 0: "worst"}
    return [
        (gains[p][1], f"the {words.get(p, 'middle')} of {len(gains)} for {own['label']}")
        for p in places
    ]


def _gain(own: Entry, other: Entry) -> float:
    """dB by which the middle point of one curve lies above another."""
    point = own["points"][len(own["points"]) // 2]
    curve = sorted((p["bpp"], p["psnr_rgb_db"]) for p in other["points"])
    rates, qualities = np.asarray(curve).T
    there = np.interp(np.log(point["bpp"]), np.log(rates), qualities)
    return float(point["psnr_rgb_db"] - there)


def at_equal_bytes(photo: Photo, why: str, codecs: Sequence[Codec]) -> Shown:
    """A photo by each codec, at no fewer bytes than the first takes at its usual setting.

    Args:
        photo: which.
        why: it was chosen.
        codecs: the first decides on the bytes.

    Raises:
        CodecError: the photo can't be read, or the first codec fails.
    """
    original = photo.load()
    first = codecs[0]
    data = first.encode(original, first.usual)
    versions = [version_of(first, first.usual, data, original)]
    failed = []
    for codec in codecs[1:]:
        try:
            setting, other = fitting_setting(codec, original, len(data))
            versions.append(version_of(codec, setting, other, original))
        except CodecError as error:
            failed.append(f"{codec.label}: {error}")
    return Shown(photo.name, why, original, tuple(versions), tuple(failed))


def version_of(codec: Codec, setting: float, data: bytes, original: Pixels) -> Version:
    """What a codec gives back of a file.

    Args:
        codec: which.
        setting: that the file was made at.
        data: the file.
        original: uint8 (H, W, 3).

    Raises:
        CodecError: it can't be decoded.
    """
    pixels = codec.decode(data)
    found = measures(original, pixels)
    words = f"{codec.parameter} {setting:.4g}"
    return Version(codec.label, words, len(data), pixels, found["psnr_rgb_db"], found["ms_ssim"])


def most_different(shown: Shown, side: int = CROP) -> tuple[int, int, int, int]:
    """The square in which the versions differ most from each other: left, top, right, bottom.

    The sum of their variance around their mean; so it depends on no opinion of which is better.
    With a single version it is where that differs most from the original.
    """
    pictures = [each.pixels.astype(np.float32) for each in shown.versions]
    if len(pictures) == 1:
        pictures.append(shown.original.astype(np.float32))
    spread = np.var(np.stack(pictures), axis=0).sum(axis=-1, dtype=np.float64)  # (H, W)
    height, width = spread.shape
    rows, columns = min(side, height), min(side, width)
    sums = np.pad(spread, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    inside = sums[rows:, columns:] - sums[:-rows, columns:] - sums[rows:, :-columns]
    inside = inside + sums[:-rows, :-columns]
    top, left = np.unravel_index(int(np.argmax(inside)), inside.shape)
    return int(left), int(top), int(left) + columns, int(top) + rows


def crop_figure(shown: Shown) -> np.ndarray:
    """The most different crop: originals above, versions below, and the magnified error."""
    left, top, right, bottom = most_different(shown)
    original = shown.original[top:bottom, left:right]
    crops = [each.pixels[top:bottom, left:right] for each in shown.versions]
    captions = [
        f"{each.label}\n{each.setting}\n{each.file_bytes:,} bytes\n{each.psnr_db:.2f} dB"
        for each in shown.versions
    ]
    return reconstruction_grid([original] * len(crops), crops, captions, min_cell_px=240)
