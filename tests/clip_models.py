"""Specs and videos of clips small enough to train on inside a test."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

SIZE = (16, 24)
"""Height and width of all frames."""


def conv(filters: int, strides: int, transposed: bool = False) -> dict[str, Any]:
    """A convolution with padding `same` and no bias, as JSON."""
    arguments = {"filters": filters, "kernel_size": 5, "strides": strides, "padding": "same"}
    return {"Conv2DTranspose" if transposed else "Conv2D": {**arguments, "use_bias": False}}


def clip_spec(
    mode: str | None = "residual", clip_frames: int = 3, **dataset: Any
) -> dict[str, Any]:
    """The JSON of a spec with prediction; without a mode, of one for frames on their own."""
    prediction = None if mode is None else {"PreviousFrame": {"mode": mode}}
    return {
        "preprocessing": [{"ColorSpace": {}}, {"Rescale": {"scale": 1.0, "offset": -0.5}}],
        "model": {
            "name": "Tiny_Clips",
            "layers": {
                "inputs": [{"Input": {"shape": [None, None, 3]}}],
                "generator": {
                    "entropy_model": {"FactorizedPrior": {}},
                    "prediction": prediction,
                    "layers": {
                        "encoder": {"layers": [conv(6, 4), {"Rescaling": {"scale": 8.0}}]},
                        "decoder": {
                            "layers": [
                                {"Rescaling": {"scale": 0.125}},
                                conv(6 if mode == "gated" else 3, 4, transposed=True),
                            ]
                        },
                    },
                },
            },
        },
        "loss": [{"BitsPerPixel": {}}, {"MSE": {"scale": 255, "weight": 0.05}}],
        "training": {"batch_size": 2, "epochs": 1, "metrics": [{"Rate": {}}, {"PSNR": {}}]},
        "dataset": {
            "crop": list(SIZE),
            "clip_frames": 1 if mode is None else clip_frames,
            **dataset,
        },
    }


def moving_clip(frames: int, seed: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    """uint8 (T, H, W, 3): waves that stand still and a bright square that moves."""
    numbers = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]]
    across = numbers.uniform(0.1, 0.5, 3)
    still = 110 + 60 * np.sin(rows[..., None] * 0.3 + columns[..., None] * across + seed)
    clip = np.repeat(still[None], frames, axis=0)
    for time in range(frames):
        clip[time, 4:8, 2 + time % 12 : 6 + time % 12] = (250, 220, 40)
    return clip.astype(np.uint8)


def write_video(path: Path, frames: np.ndarray, rate: Fraction = Fraction(25)) -> Path:
    """A video of these very frames: FFV1 in Matroska."""
    from builders.clip_video import write_lossless

    path.parent.mkdir(parents=True, exist_ok=True)
    write_lossless(path, iter(frames), rate)
    return path
