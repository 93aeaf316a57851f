"""The picture of a training run between rate and distortion: its tiles, its way, and others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from evaluation.picture_grid import DPI, INK, render
from evaluation.reference_points import reference_points

PUBLISHED: Final = ("bpg-444", "bmshj2018-hyperprior", "cheng2020-attn", "elic2022")
"""Names in the published points: a classical codec and three steps of learned ones."""

_OURS: Final = "#c1272d"
_GRID: Final = "#e4e4e4"
_FAINT: Final = "#a6a6a6"
_CODECS: Final = {"jpeg": "#5f5f5f", "webp": "#2c7fb8"}
_MARKERS: Final = "sD^v"
_INSIDE: Final = (0.02, 0.98)
"""Quantiles of the tiles between which the axes show everything; single tiles may lie beyond."""
_SIZE_IN: Final = (9.6, 5.4)
_AXES: Final = (0.07, 0.1, 0.635, 0.82)
"""Left, bottom, width and height in shares of the picture; the legends stand to the right."""
_LINE: Final = 0.041
"""Height of a line of a legend, in shares of the picture."""
_TOP_DB: Final = 60.0
"""Where the axis ends at most: a tile without error counts as 100 dB."""


@dataclass(frozen=True)
class Points:
    """Bits per pixel, and PSNR in dB, as many of each."""

    bpp: tuple[float, ...]
    psnr_db: tuple[float, ...]


@dataclass(frozen=True)
class Curve:
    """A codec's points by growing rate; `family` decides the colour."""

    family: str
    label: str
    points: Points


def rate_distortion_figure(
    tiles: Points, path: Points, curves: Sequence[Curve], title: str
) -> np.ndarray:
    """Draws the tiles as they are now, the means of all epochs, and what they stand beside.

    Args:
        tiles: of this epoch, one point each; at least one.
        path: means over the tiles, one an epoch from the first to this one; NaN where unknown.
        curves: of codecs on the same tiles.
        title: of the picture.

    Returns:
        uint8 (height, width, 3).
    """
    figure = Figure(figsize=_SIZE_IN, dpi=DPI)
    figure.set_facecolor("white")
    axes = figure.add_axes(_AXES)
    _draw_published(axes)
    for curve in curves:
        style: dict[str, Any] = {"color": _CODECS.get(curve.family, INK), "linewidth": 1.5}
        axes.plot(
            *_xy(curve.points), **style, marker="o", markersize=3, label=curve.label, zorder=3
        )
    count = len(tiles.bpp)
    dots: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 5, "color": _OURS}
    dots |= {"alpha": 0.35, "markeredgewidth": 0, "label": f"one tile each, {count} in all"}
    axes.plot(*_xy(tiles), **dots, zorder=4)
    _draw_path(axes, path)
    beyond = _set_limits(axes, tiles, curves)
    axes.set_xlabel("bits per pixel", color=INK)
    axes.set_ylabel("PSNR (dB)", color=INK)
    axes.set_title(title, loc="left", fontsize=11, color=INK, parse_math=False)
    if beyond:
        note = f"{beyond} of {count} tiles beyond the axes"
        axes.set_title(note, loc="right", fontsize=8, color=_FAINT)
    axes.grid(color=_GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.tick_params(colors=INK, labelsize=8)
    _legends(figure, axes)
    return render(figure)


def _xy(points: Points) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(points.bpp, np.float64), np.asarray(points.psnr_db, np.float64)


def _draw_published(axes: Axes) -> None:
    """Curves of others, of other pictures: faint and dashed, behind everything."""
    known = {codec["name"]: codec for codec in reference_points()["codecs"]}
    style: dict[str, Any] = {"color": _FAINT, "linewidth": 0.8, "linestyle": (0, (4, 3))}
    style |= {"markersize": 4, "markerfacecolor": "white", "gid": "published", "zorder": 2}
    for marker, name in zip(_MARKERS, PUBLISHED, strict=True):
        points = [(p["bpp"], p["psnr_rgb_db"]) for p in known[name]["points"]]
        axes.plot(
            *zip(*sorted(points), strict=True),
            **style,
            marker=marker,
            label=known[name]["label"],
        )


def _draw_path(axes: Axes, path: Points) -> None:
    """Means of the epochs as a line that ends in the present one."""
    x, y = _xy(path)
    epochs = np.arange(1, len(x) + 1)
    known = np.isfinite(x) & np.isfinite(y)
    x, y, epochs = x[known], y[known], epochs[known]
    if not len(x):
        return
    ours: dict[str, Any] = {"color": _OURS, "marker": "o"}
    if len(x) > 1:
        label = f"mean of the tiles, epochs {epochs[0]} to {epochs[-1]}"
        axes.plot(x, y, **ours, linewidth=1.0, alpha=0.6, markersize=2.5, label=label, zorder=5)
    label = f"mean of the tiles, epoch {epochs[-1]}"
    now: dict[str, Any] = {
        "linestyle": "none",
        "markersize": 9,
        "markeredgecolor": "white",
    }
    axes.plot(x[-1:], y[-1:], **ours, **now, label=label, zorder=6)


def _set_limits(axes: Axes, tiles: Points, curves: Sequence[Curve]) -> int:
    """Shows the tiles and what codecs make of their range; how many tiles lie beyond."""
    x, y = _xy(tiles)
    right = max(0.25, 1.12 * float(np.quantile(x, _INSIDE[1])))
    low, high = (float(each) for each in np.quantile(np.minimum(y, _TOP_DB), _INSIDE))
    for curve in curves:
        rates, qualities = _xy(curve.points)
        shown = qualities[rates <= right]
        if len(shown):
            low, high = min(low, float(shown.min())), max(high, float(shown.max()))
    margin = max(0.5, 0.05 * (high - low))
    axes.set_xlim(0, right)
    axes.set_ylim(low - margin, min(high + margin, _TOP_DB))
    bottom, top = axes.get_ylim()
    return int(np.sum(~((x <= right) & (y >= bottom) & (y <= top))))


def _legends(figure: Figure, axes: Axes) -> None:
    """Three groups beside the axes, so that nobody takes the pictures of one for another's."""
    groups: dict[str, list[Line2D]] = {
        "this model, validation tiles:\nbits as estimated": [],
        "the same tiles, means:\nbytes of one file of all": [],
        "published by others, of Kodak:\nother pictures than these": [],
    }
    ours, codecs, published = groups.values()
    for line in axes.get_lines():
        if line.get_gid() == "published":
            published.append(line)
        else:
            (ours if line.get_color() == _OURS else codecs).append(line)
    top = _AXES[1] + _AXES[3] + 0.02
    for heading, lines in groups.items():
        if not lines:
            continue
        legend = figure.legend(
            handles=lines,
            title=heading,
            loc="upper left",
            bbox_to_anchor=(_AXES[0] + _AXES[2] + 0.01, top),
            frameon=False,
            fontsize=8,
            title_fontsize=8,
            alignment="left",
            labelcolor=INK,
        )
        legend.get_title().set_fontweight("bold")
        top -= _LINE * (len(lines) + heading.count("\n") + 1.6)
