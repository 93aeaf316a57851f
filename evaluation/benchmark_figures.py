"""Figures of a benchmark: rate-distortion curves, and speed against BD-rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from evaluation.benchmark_table import anchor_label, ranked

Entry = dict[str, Any]

_DPI: Final = 110
_INK: Final = "#222222"
_GRID: Final = "#dddddd"
_COLORS: Final = {
    "ours": "#c1272d",
    "jpeg": "#7f7f7f",
    "jpeg2000": "#8c6d31",
    "webp": "#2c7fb8",
    "avif": "#238b45",
    "jxl": "#7b3294",
    "heic": "#e08214",
}
_OTHER: Final = "#17a2a2"
_OURS_MORE: Final = ("#c1272d", "#f08a8d", "#7a0f14", "#e8590c")
_DASHES: Final = ("-", "--", ":", "-.")
_PUBLISHED: Final = ("#9a9a9a", "#b5a642", "#8fa3bf", "#b08fb8", "#94b394")
_MARKERS: Final = "osD^vP<>*X"
_LABELS: Final = {"psnr_rgb_db": "PSNR (RGB), dB", "ms_ssim_db": "MS-SSIM, dB"}


def rate_distortion(results: Entry, quality: str, log: bool) -> np.ndarray:
    """Curves of all codecs, the measured ones filled, the published ones hollow and dashed.

    Args:
        results: of the benchmark.
        quality: `psnr_rgb_db` or `ms_ssim_db`.
        log: whether bits per pixel have a logarithmic axis.

    Returns:
        uint8 (height, width, 3).
    """
    figure = Figure(figsize=(10.5, 6.2), dpi=_DPI, layout="constrained")
    figure.set_facecolor("white")
    axes = figure.subplots()
    for entry, style in _styled(results["codecs"]):
        _curve(axes, entry, quality, zorder=4 if entry["family"] == "ours" else 3, **style)
    for index, entry in enumerate(results["published"]):
        _curve(
            axes,
            entry,
            quality,
            zorder=2,
            color=_PUBLISHED[index % len(_PUBLISHED)],
            linestyle=(0, (2, 2)),
            linewidth=0.9,
            marker=_MARKERS[index % len(_MARKERS)],
            markerfacecolor="white",
            markersize=4,
            label=f"{entry['label']}, published",
        )
    axes.set_ylabel(_LABELS[quality])
    axes.set_xlabel("bits per pixel" + (", logarithmic" if log else "") + "; whole files")
    if log:
        axes.set_xscale("log")
        _plain_log(axes)
    else:
        axes.set_xlim(0, _linear_end(results))
    note = (
        f"{_LABELS[quality].split(',')[0]}, mean of {len(results['dataset']['pictures'])} pictures"
    )
    if results["published"]:
        note += "\nhollow and dashed: published by others, not measured here"
        if results["published_note"]:
            note += ", and of other pictures (Kodak)"
    axes.set_title(note, loc="left", fontsize=10, color=_INK)
    _finish(axes)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8)
    return _render(figure)


def speed(results: Entry) -> np.ndarray | None:
    """Megapixels a second against BD-rate, encoding and decoding; None where there is nothing.

    Architectures that are only timed stand at the BD-rate that was published for them, hollow.
    """
    rates = {
        entry["name"]: each["psnr_rgb_db"]["bd_rate_percent"]
        for entry, each in ranked(results)
        if "bd_rate_percent" in each["psnr_rgb_db"]
    }
    found = [
        (entry, rates[rated])
        for entry in (*results["codecs"], *results["peers"])
        if entry["speed"] and (rated := entry.get("published", entry["name"])) in rates
    ]
    found.sort(key=lambda pair: (pair[0]["origin"] == "timed", pair[1]))
    if not found:
        return None
    styles = {entry["name"]: style for entry, style in _styled(results["codecs"])}
    rows = -(-len(found) // 2)
    figure = Figure(figsize=(11.5, 5.0 + 0.18 * rows), dpi=_DPI, layout="constrained")
    figure.set_facecolor("white")
    anchor = anchor_label(results)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, way in zip(panels, ("encode", "decode"), strict=True):
        for index, (entry, rate) in enumerate(found):
            timed = entry["origin"] == "timed"
            axes.plot(
                1 / entry["speed"][f"{way}_s_per_megapixel"],
                rate,
                marker=_MARKERS[index % len(_MARKERS)],
                color=_OTHER if timed else styles[entry["name"]]["color"],
                markerfacecolor="white" if timed else None,
                markersize=9 if entry["family"] == "ours" else 7,
                linestyle="none",
                label=f"{entry['label']}; BD-rate published" if timed else entry["label"],
            )
        axes.set_xscale("log")
        _plain_log(axes)
        axes.set_xlabel(f"{way}, megapixels a second, logarithmic; to the right is faster")
        _finish(axes)
    panels[0].set_ylabel(f"BD-rate against {anchor}, %; lower is smaller")
    cores = results["environment"]["cores"]
    panels[0].set_title(f"up to {cores} threads", loc="left", fontsize=10, color=_INK)
    entries = panels[1].get_legend_handles_labels()
    figure.legend(*entries, loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return _render(figure)


def _styled(entries: Sequence[Entry]) -> list[tuple[Entry, dict[str, Any]]]:
    """A colour for each family, and dashes for what is in it; our own each have a colour."""
    seen: dict[str, int] = {}
    styled = []
    for entry in entries:
        family = entry["family"]
        place = seen.get(family, 0)
        seen[family] = place + 1
        color, dash = _COLORS.get(family, _OTHER), _DASHES[place % len(_DASHES)]
        if family == "ours":
            color, dash = _OURS_MORE[place % len(_OURS_MORE)], "-"
        style = {"color": color, "linestyle": dash, "label": entry["label"]}
        style |= {"linewidth": 2.4 if family == "ours" else 1.3, "marker": "o", "markersize": 3.5}
        styled.append((entry, style))
    return styled


def _curve(axes: Axes, entry: Entry, quality: str, **style: Any) -> None:
    points = sorted((p["bpp"], p[quality]) for p in entry["points"] if quality in p)
    if points:
        axes.plot(*zip(*points, strict=True), **style)


def _linear_end(results: Entry) -> float:
    """Where the linear axis ends: the larger half of the codecs' largest files is cut off."""
    ends = [max(p["bpp"] for p in e["points"]) for e in results["codecs"] if e["points"]]
    return max(0.1, float(np.median(ends))) if ends else 1.0


def _plain_log(axes: Axes) -> None:
    """Ticks of 1, 2, 5 as plain numbers."""
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _finish(axes: Axes) -> None:
    axes.grid(color=_GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def _render(figure: Figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
