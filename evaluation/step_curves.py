"""The learning curve of a run over its steps, with the places where it was cut into pieces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from evaluation.figures import draw_axes, draw_curve
from evaluation.picture_grid import DPI, INK, render

_CUT = "#c9b458"
_MAX_PANELS = 4
_FIRST = ("loss", "bits_per_pixel", "rate", "psnr_db", "psnr", "ssim")
"""Quantities in the order in which they get a panel, where they are there."""


def step_curve_figure(
    points: Sequence[Mapping[str, float | int | None]],
    cuts: Sequence[int] = (),
    *,
    title: str | None = None,
) -> np.ndarray:
    """Draws curves over the steps, one panel a quantity, training and validation together.

    Args:
        points: `step` and quantities, with `val_` before the name for validation; null leaves a
            gap, what is not there at all leaves none.
        cuts: the steps at which pieces after the first began.
        title: text above all panels.

    Returns:
        uint8 (height, width, 3).

    Raises:
        ValueError: there are no points with a quantity.
    """
    there = {name.removeprefix("val_") for point in points for name in point}
    names = [name for name in _FIRST if name in there][:_MAX_PANELS]
    if not names:
        raise ValueError("step_curve_figure: the points have none of " + ", ".join(_FIRST))
    figure = Figure(figsize=(3.6 * len(names), 3.0), dpi=DPI, layout="constrained")
    figure.set_facecolor("white")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for step in cuts:
            axes.axvline(step, color=_CUT, linewidth=0.8, linestyle=":")
        for key, validation in ((name, False), (f"val_{name}", True)):
            found = [(point["step"], point[key]) for point in points if key in point]
            if found:
                steps, values = np.array(found, dtype=np.float64).T  # None becomes NaN
                draw_curve(axes, steps, values, validation=validation)
        draw_axes(axes, name, "step")
    if title:
        figure.suptitle(title, color=INK, fontsize=10, parse_math=False)
    return render(figure)
