"""Pictures of a run: regenerated images beside their originals, and curves over the epochs.

Every picture is a uint8 RGB array, ready for `save_png` and for TensorBoard alike. They are drawn
on a `Figure` with an Agg canvas of its own, never through pyplot, so that drawing neither needs a
display nor leaves figures, a backend or settings behind in the process that trains.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from evaluation.picture_grid import DPI, INK, as_rgb, draw_grid, render, to_pixels

_GRID = "#d9d9d9"
_TRAIN = "#8c8c8c"
_VALIDATION = "#1f5a99"

# What stands on the axis of a quantity, by its name in the history without "val_".
_AXIS_LABELS = {
    "loss": "loss",
    "psnr": "PSNR (dB)",
    "psnr_db": "PSNR (dB)",
    "ssim": "SSIM",
    "ms_ssim": "MS-SSIM",
    "bits_per_pixel": "rate (bits per pixel)",
    "learning_rate": "learning rate",
}
_DEFAULT_PANELS = ("loss", "psnr_db", "psnr", "ssim")


def reconstruction_grid(
    originals: np.ndarray | Sequence[np.ndarray],
    reconstructions: np.ndarray | Sequence[np.ndarray],
    captions: Sequence[str] | None = None,
    *,
    error_gain: float | None = None,
    min_cell_px: int = 96,
    max_cell_px: int = 384,
) -> np.ndarray:
    """Draws images in columns: the original, the regenerated image and the error, magnified.

    The third row is `|original - regenerated| * error_gain`; black is no error. Pixels are shown
    as they are: small images are enlarged by repeating pixels, large ones shrunk by averaging, both
    by a whole factor that is stated. Pixels that are NaN or infinite are magenta. Transparent
    images are laid on white first, and the error is that of what is then seen.

    Args:
        originals: images (H, W) or (H, W, C) with C = 1 (gray), 2 (gray and alpha), 3 (RGB) or
            4 (RGBA), a batch or a list whose sizes may differ; uint8 in [0, 255] or float in [0, 1]
            (clipped).
        reconstructions: as many images, each of the size of its original.
        captions: one text per column, shown under it, such as "31.4 dB".
        error_gain: factor of the error. None chooses the power of two, from 1 to 64, that brings
            99 % of the errors just under full scale. Give one to compare pictures of different
            epochs.
        min_cell_px: images whose longer side is smaller are enlarged to at least that, in pixels.
        max_cell_px: images whose longer side is greater are shrunk to at most that, in pixels.

    Returns:
        uint8 (height, width, 3).

    Raises:
        ValueError: when there are no images, or numbers or sizes do not match.
        TypeError: when images are neither uint8 nor float.
    """
    if len(originals) == 0:
        raise ValueError("reconstruction_grid: there are no images")
    if len(originals) != len(reconstructions):
        raise ValueError(
            f"reconstruction_grid: {len(originals)} originals, "
            f"{len(reconstructions)} reconstructions"
        )
    if captions is not None and len(captions) != len(originals):
        raise ValueError(f"reconstruction_grid: {len(originals)} images, {len(captions)} captions")
    originals = [as_rgb(image) for image in originals]
    reconstructions = [as_rgb(image) for image in reconstructions]
    for index, (x, x_hat) in enumerate(zip(originals, reconstructions, strict=True)):
        if x.shape != x_hat.shape:
            raise ValueError(
                f"reconstruction_grid: image {index} has size {x.shape[:2]}, "
                f"its reconstruction {x_hat.shape[:2]}"
            )
    errors = [np.abs(x - x_hat) for x, x_hat in zip(originals, reconstructions, strict=True)]
    if error_gain is None:
        error_gain = _fitting_gain(errors)

    longest = max(max(image.shape[:2]) for image in originals)
    enlarge = max(1, math.ceil(min_cell_px / longest))
    shrink = max(1, math.ceil(longest / max_cell_px))
    if shrink > 1:
        scale_note = f"\n1/{shrink} size"
    elif enlarge > 1:
        scale_note = f"\n{enlarge}\N{MULTIPLICATION SIGN} size"
    else:
        scale_note = ""
    rows = [
        (f"original{scale_note}", originals),
        ("regenerated", reconstructions),
        (f"error\n\N{MULTIPLICATION SIGN} {error_gain:g}", [e * error_gain for e in errors]),
    ]
    cells = [
        (label, [to_pixels(image, enlarge, shrink) for image in images]) for label, images in rows
    ]
    return draw_grid(cells, list(captions or []))


def curve_figure(
    history: Mapping[str, Sequence[float]],
    panels: Sequence[str] | None = None,
    *,
    first_epoch: int = 1,
    title: str | None = None,
) -> np.ndarray:
    """Draws curves over the epochs, one panel per quantity, training and validation together.

    Args:
        history: as `keras.callbacks.History.history`: quantity -> one value per epoch, with "val_"
            before the name for validation. NaN and infinities leave gaps.
        panels: the quantities, without "val_". None: loss, PSNR and SSIM, those that are there.
        first_epoch: number of the first value on the axis.
        title: text above all panels.

    Returns:
        uint8 (height, width, 3).

    Raises:
        ValueError: when `history` has nothing to show, or not what `panels` asks for.
    """
    there = {key.removeprefix("val_") for key in history}
    names = list(panels) if panels is not None else [n for n in _DEFAULT_PANELS if n in there]
    missing = [name for name in names if name not in there]
    if missing or not names:
        wanted = ", ".join(missing) or " or ".join(_DEFAULT_PANELS)
        found = ", ".join(history) or "nothing"
        raise ValueError(f"curve_figure: the history has no {wanted}; it has {found}")
    figure = Figure(figsize=(3.6 * len(names), 3.0), dpi=DPI, layout="constrained")
    figure.set_facecolor("white")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        _draw_curves(axes, history, name, first_epoch)
    if title:
        figure.suptitle(title, color=INK, fontsize=10, parse_math=False)
    return render(figure)


def save_png(picture: np.ndarray, path: str | os.PathLike[str]) -> None:
    """Writes uint8 (H, W, 3) or (H, W) as PNG, at once: a reader never sees half a file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        Image.fromarray(picture).save(unfinished, format="PNG")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _fitting_gain(errors: Sequence[np.ndarray]) -> float:
    """Greatest power of two from 1 to 64 that leaves 99 % of the errors at most 1."""
    values = np.concatenate([error.ravel() for error in errors])
    values = values[np.isfinite(values)]
    large = float(np.quantile(values, 0.99)) if values.size else 0.0
    if large <= 1 / 64:
        return 64.0
    return float(2 ** math.floor(math.log2(1 / large)))


def _draw_curves(
    axes: Axes, history: Mapping[str, Sequence[float]], name: str, first_epoch: int
) -> None:
    """Draws one quantity, its training curve under its validation curve."""
    for key, validation in ((name, False), (f"val_{name}", True)):
        if key in history:
            values = np.asarray(history[key], dtype=np.float64)
            draw_curve(axes, first_epoch + np.arange(values.size), values, validation=validation)
    draw_axes(axes, name, "epoch")


def draw_curve(axes: Axes, x: np.ndarray, y: np.ndarray, *, validation: bool) -> None:
    """Draws one curve in the colour and with the label of its kind; infinities leave gaps."""
    y = np.where(np.isfinite(y), y, np.nan)
    # A single value is no line, and a value between two gaps neither: mark short curves.
    marker = "o" if y.size <= 30 else None
    color, label = (_VALIDATION, "validation") if validation else (_TRAIN, "train")
    axes.plot(x, y, color=color, label=label, linewidth=1.6, marker=marker, ms=3)


def draw_axes(axes: Axes, name: str, below: str) -> None:
    """Dresses the axes of a quantity.

    Args:
        axes: with its curves.
        name: of the quantity, without "val_".
        below: what the curves are over, in whole numbers.
    """
    label = _AXIS_LABELS.get(name.lower(), name)
    axes.set_xlabel(below, color=INK)
    axes.set_ylabel(label, color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(color=_GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.tick_params(colors=INK, labelsize=8)
    axes.legend(frameon=False, fontsize=8)
