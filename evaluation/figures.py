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
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import MaxNLocator
from PIL import Image

_DPI = 100
_INK = "#222222"
_GRID = "#d9d9d9"
_TRAIN = "#8c8c8c"
_VALIDATION = "#1f5a99"
_NOT_FINITE_RGB = (255, 0, 255)

_MARGIN_PX = 12
_GAP_PX = 6
_FONT_SIZE_PT = 9.0

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
    originals = [_as_rgb(image) for image in originals]
    reconstructions = [_as_rgb(image) for image in reconstructions]
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
        (label, [_to_pixels(image, enlarge, shrink) for image in images]) for label, images in rows
    ]
    return _draw_grid(cells, list(captions or []))


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
    figure = Figure(figsize=(3.6 * len(names), 3.0), dpi=_DPI, layout="constrained")
    figure.set_facecolor("white")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        _draw_curves(axes, history, name, first_epoch)
    if title:
        figure.suptitle(title, color=_INK, fontsize=10, parse_math=False)
    return _render(figure)


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


def _as_rgb(image: np.ndarray) -> np.ndarray:
    """uint8 [0, 255] or float [0, 1], any of the forms -> float64 (H, W, 3) in [0, 1] or NaN."""
    array = np.asarray(image)
    if array.dtype == np.uint8:
        array = array / 255.0
    elif np.issubdtype(array.dtype, np.floating) or array.dtype.name == "bfloat16":
        array = array.astype(np.float64)
        array = np.where(np.isfinite(array), np.clip(array, 0.0, 1.0), np.nan)
    else:
        raise TypeError(f"an image must be uint8 or float, found {array.dtype}")
    if array.ndim == 2:
        array = array[..., np.newaxis]
    if array.ndim != 3 or array.shape[-1] not in (1, 2, 3, 4) or array.size == 0:
        raise ValueError(
            "an image must have the shape (H, W) or (H, W, C) with 1 to 4 channels, "
            f"found {np.shape(image)}"
        )
    if array.shape[-1] in (2, 4):
        color, alpha = array[..., :-1], array[..., -1:]
        array = color * alpha + (1.0 - alpha)
    return np.broadcast_to(array, (*array.shape[:2], 3))


def _fitting_gain(errors: Sequence[np.ndarray]) -> float:
    """Greatest power of two from 1 to 64 that leaves 99 % of the errors at most 1."""
    values = np.concatenate([error.ravel() for error in errors])
    values = values[np.isfinite(values)]
    large = float(np.quantile(values, 0.99)) if values.size else 0.0
    if large <= 1 / 64:
        return 64.0
    return float(2 ** math.floor(math.log2(1 / large)))


def _to_pixels(image: np.ndarray, enlarge: int, shrink: int) -> np.ndarray:
    """float (H, W, 3) -> uint8, enlarged or shrunk by a whole factor; magenta where not finite."""
    finite = np.isfinite(image).all(axis=-1)
    scaled = np.round(np.clip(np.where(finite[..., np.newaxis], image, 0), 0, 1) * 255)
    pixels = scaled.astype(np.uint8)
    pixels[~finite] = _NOT_FINITE_RGB
    if shrink > 1:
        return np.asarray(Image.fromarray(pixels).reduce(shrink))
    return pixels.repeat(enlarge, axis=0).repeat(enlarge, axis=1)


def _draw_grid(rows: list[tuple[str, list[np.ndarray]]], captions: list[str]) -> np.ndarray:
    """Lays out labelled rows of pixel arrays, pixel for pixel, with captions under the columns."""
    font = FontProperties(size=_FONT_SIZE_PT)
    measure = RendererAgg(1, 1, _DPI)

    def text_width_px(text: str) -> float:
        lines = text.split("\n")
        return max(measure.get_text_width_height_descent(s, font, ismath=False)[0] for s in lines)

    line_px = 1.3 * _FONT_SIZE_PT * _DPI / 72
    label_px = math.ceil(max(text_width_px(label) for label, _ in rows)) + _GAP_PX
    column_px = [image.shape[1] for image in rows[0][1]]
    for column, caption in enumerate(captions):
        column_px[column] = max(column_px[column], math.ceil(text_width_px(caption)) + _GAP_PX)
    row_px = max(image.shape[0] for image in rows[0][1])
    caption_lines = max((caption.count("\n") + 1 for caption in captions), default=0)
    caption_px = math.ceil(caption_lines * line_px) + (_GAP_PX if captions else 0)

    height = 2 * _MARGIN_PX + len(rows) * row_px + (len(rows) - 1) * _GAP_PX + caption_px
    width = 2 * _MARGIN_PX + label_px + sum(column_px) + _GAP_PX * (len(column_px) - 1)
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    figure.set_facecolor("white")
    lefts = (
        _MARGIN_PX
        + label_px
        + np.cumsum([0, *column_px[:-1]])
        + _GAP_PX * np.arange(len(column_px))
    )
    pasted: list[tuple[int, int, np.ndarray]] = []
    for index, (label, images) in enumerate(rows):
        top = _MARGIN_PX + index * (row_px + _GAP_PX)
        figure.text(
            _MARGIN_PX / width,
            1 - (top + row_px / 2) / height,
            label,
            fontproperties=font,
            color=_INK,
            va="center",
            parse_math=False,
        )
        for left, space, image in zip(lefts, column_px, images, strict=True):
            x = int(left) + (space - image.shape[1]) // 2
            pasted.append((top + (row_px - image.shape[0]) // 2, x, image))
    bottom = _MARGIN_PX + len(rows) * (row_px + _GAP_PX) - _GAP_PX
    for left, space, caption in zip(lefts, column_px, captions, strict=False):
        # Line by line on its baseline: a block of text would shift with the height of its letters.
        for index, line in enumerate(caption.split("\n")):
            baseline = bottom + (index + 1) * line_px
            figure.text(
                (left + space / 2) / width,
                1 - baseline / height,
                line,
                fontproperties=font,
                color=_INK,
                ha="center",
                va="baseline",
                parse_math=False,
            )
    picture = _render(figure)
    # Pasted rather than drawn, so that every pixel of an image keeps its value.
    for y, x, image in pasted:
        picture[y : y + image.shape[0], x : x + image.shape[1]] = image
    return picture


def _draw_curves(
    axes: Axes, history: Mapping[str, Sequence[float]], name: str, first_epoch: int
) -> None:
    """Draws one quantity, its training curve under its validation curve."""
    for key, label, color in ((name, "train", _TRAIN), (f"val_{name}", "validation", _VALIDATION)):
        if key not in history:
            continue
        values = np.asarray(history[key], dtype=np.float64)
        values = np.where(np.isfinite(values), values, np.nan)
        epochs = first_epoch + np.arange(values.size)
        # A single epoch is no line, and a value between two gaps neither: mark short curves.
        marker = "o" if values.size <= 30 else None
        axes.plot(epochs, values, color=color, label=label, linewidth=1.6, marker=marker, ms=3)
    label = _AXIS_LABELS.get(name.lower(), name)
    axes.set_xlabel("epoch", color=_INK)
    axes.set_ylabel(label, color=_INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(color=_GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_INK)
    axes.tick_params(colors=_INK, labelsize=8)
    axes.legend(frameon=False, fontsize=8)


def _render(figure: Figure) -> np.ndarray:
    """Figure -> uint8 (height, width, 3)."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
