"""Rows of images, pixel for pixel, with words beside and below them.

They are drawn on a `Figure` with an Agg canvas of its own, never through pyplot; see `figures`.
"""

from __future__ import annotations

import math

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from PIL import Image

DPI = 100
INK = "#222222"
_NOT_FINITE_RGB = (255, 0, 255)

_MARGIN_PX = 12
_GAP_PX = 6
_FONT_SIZE_PT = 9.0


def as_rgb(image: np.ndarray) -> np.ndarray:
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


def to_pixels(image: np.ndarray, enlarge: int, shrink: int) -> np.ndarray:
    """float (H, W, 3) -> uint8, enlarged or shrunk by a whole factor; magenta where not finite."""
    finite = np.isfinite(image).all(axis=-1)
    scaled = np.round(np.clip(np.where(finite[..., np.newaxis], image, 0), 0, 1) * 255)
    pixels = scaled.astype(np.uint8)
    pixels[~finite] = _NOT_FINITE_RGB
    if shrink > 1:
        return np.asarray(Image.fromarray(pixels).reduce(shrink))
    return pixels.repeat(enlarge, axis=0).repeat(enlarge, axis=1)


def draw_grid(rows: list[tuple[str, list[np.ndarray]]], captions: list[str]) -> np.ndarray:
    """Lays out labelled rows of pixel arrays, pixel for pixel, with captions under the columns.

    Args:
        rows: label and images of each, uint8 (H, W, 3); as many images in each, one size a column.
        captions: one for each column, or none at all.

    Returns:
        uint8 (height, width, 3).
    """
    font = FontProperties(size=_FONT_SIZE_PT)
    measure = RendererAgg(1, 1, DPI)

    def text_width_px(text: str) -> float:
        lines = text.split("\n")
        return max(measure.get_text_width_height_descent(s, font, ismath=False)[0] for s in lines)

    line_px = 1.3 * _FONT_SIZE_PT * DPI / 72
    label_px = math.ceil(max(text_width_px(label) for label, _ in rows)) + _GAP_PX
    column_px = [image.shape[1] for image in rows[0][1]]
    for column, caption in enumerate(captions):
        column_px[column] = max(column_px[column], math.ceil(text_width_px(caption)) + _GAP_PX)
    row_px = max(image.shape[0] for image in rows[0][1])
    caption_lines = max((caption.count("\n") + 1 for caption in captions), default=0)
    caption_px = math.ceil(caption_lines * line_px) + (_GAP_PX if captions else 0)

    height = 2 * _MARGIN_PX + len(rows) * row_px + (len(rows) - 1) * _GAP_PX + caption_px
    width = 2 * _MARGIN_PX + label_px + sum(column_px) + _GAP_PX * (len(column_px) - 1)
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
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
            color=INK,
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
                color=INK,
                ha="center",
                va="baseline",
                parse_math=False,
            )
    picture = render(figure)
    # Pasted rather than drawn, so that every pixel of an image keeps its value.
    for y, x, image in pasted:
        picture[y : y + image.shape[0], x : x + image.shape[1]] = image
    return picture


def render(figure: Figure) -> np.ndarray:
    """Figure -> uint8 (height, width, 3)."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
