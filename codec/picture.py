"""What a `.nic` file stores, and what networks make of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from codec.geometry import Pixels
from codec.header import Mode
from codec.latent_coder import Float32


class PictureError(ValueError):
    """A picture that this codec can't take."""


class Transforms(Protocol):
    """The networks on either side of the coder."""

    def analyse(self, pixels: Pixels, reference: Pixels | None = None) -> Mapping[str, Float32]:
        """uint8 (blocks, H, W, C) -> latents `y` and, of a hyperprior, hyper-latents `z`.

        `reference` is the previous decoded frame, for models that predict; None for key frames.
        """

    def synthesise(self, y_hat: Float32, reference: Pixels | None = None) -> Pixels:
        """Latents (blocks, ...) -> uint8 (blocks, H, W, C); `reference` as in `analyse`."""

    def pull_back(self, y_hat: Float32, wanted: Float32) -> tuple[Float32, Float32]:
        """How a decoded picture differs from the wanted one, and what that says of latents.

        Args:
            y_hat: (blocks, ...).
            wanted: pixels in [0, 1], float32 (blocks, H, W, C).

        Returns:
            x_hat - wanted, x_hat before it is rounded, and J^T of that: the gradient of half of the
            squared error. J, the derivative of x_hat by y_hat, is that before clipping to [0, 1]:
            a pixel that is clipped says where to go too.
        """


@dataclass(frozen=True)
class Picture:
    """What a file stores.

    Attributes:
        pixels: uint8 (H, W, C), 1 or 3 channels.
        alpha: uint8 (H, W) or None.
        icc_profile: as it is, or None.
        exif: from "II" or "MM" on, or None.
        orientation: EXIF orientation 1..8, not applied to the pixels.
    """

    pixels: Pixels
    alpha: Pixels | None = None
    icc_profile: bytes | None = None
    exif: bytes | None = None
    orientation: int = 1


def for_model(pixels: Pixels, channels: int) -> Pixels:
    """Gray pictures as a model for colour takes them; others as they are."""
    return pixels if pixels.shape[2] == channels else np.repeat(pixels, 3, axis=2)


def as_mode(pixels: Pixels, mode: Mode) -> Pixels:
    """Gray pictures that a model for colour decoded: the mean of the channels, rounded."""
    if mode is Mode.RGB or pixels.shape[2] == 1:
        return pixels
    total = pixels.astype(np.uint16).sum(axis=2, keepdims=True)
    return ((2 * total + 3) // 6).astype(np.uint8)
