"""Quantizers for latents that were trained as plain numbers: float32 to 8-bit symbols and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from codec.errors import NicBundleError

QuantizerName = Literal["float32", "naive", "min-max", "k-means"]
LEVELS: Final = 256

Float32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Quantizer:
    """Symbols 0..255 for numbers, the same rule for all latents of a model.

    - `naive`: latents in [0, 1] times 255; others are clipped.
    - `min-max`: 256 equal steps from the smallest to the largest value of each channel.
    - `k-means`: the nearest of 256 values that all channels share.

    (`float32` stores latents as they are and has no symbols.)

    Attributes:
        low: (channels,) float32, value of symbol 0; (1,) where all channels share it.
        high: likewise, value of symbol 255.
        codebook: (256,) float32 ascending for `k-means`, else None.

    Raises:
        NicBundleError: the arrays are not as above.
    """

    low: Float32
    high: Float32
    codebook: Float32 | None = None

    def __post_init__(self) -> None:
        for values in (self.low, self.high, self.codebook):
            if values is not None and not (
                values.dtype == np.float32 and values.ndim == 1 and np.isfinite(values).all()
            ):
                raise NicBundleError("the model's quantizer is not made of finite float32 numbers")
        if self.low.shape != self.high.shape or (self.low > self.high).any():
            raise NicBundleError("the model's quantizer has ranges that are none")
        if self.codebook is not None and (
            self.codebook.size != LEVELS or (np.diff(self.codebook) < 0).any()
        ):
            raise NicBundleError(f"the model's codebook is not {LEVELS} ascending numbers")

    @classmethod
    def naive(cls) -> Quantizer:
        """[0, 1] times 255."""
        return cls(np.zeros(1, np.float32), np.ones(1, np.float32))

    @classmethod
    def min_max(cls, latents: Float32) -> Quantizer:
        """The range of each channel (last axis) of some latents."""
        rows = latents.reshape(-1, latents.shape[-1])
        return cls(rows.min(axis=0), rows.max(axis=0))

    @classmethod
    def k_means(cls, latents: Float32, seed: int = 0, most: int = 65536) -> Quantizer:
        """256 centroids of some latents (at most `most` of them, drawn at random)."""
        from sklearn.cluster import KMeans

        values = latents.reshape(-1)
        if values.size > most:
            values = np.random.default_rng(seed).choice(values, most, replace=False)
        distinct = np.unique(values)
        if distinct.size > LEVELS:
            fitted = KMeans(LEVELS, n_init=1, random_state=seed).fit(values.reshape(-1, 1))
            distinct = np.unique(fitted.cluster_centers_.astype(np.float32))
        codebook = np.append(distinct, np.repeat(distinct[-1], LEVELS - distinct.size))
        codebook = codebook.astype(np.float32)
        return cls(codebook[:1], codebook[-1:], codebook)

    def symbols(self, latents: Float32) -> NDArray[np.int32]:
        """Symbols 0..255 of latents (..., channels)."""
        # In float64: the reciprocal of a range of 1e-37 is beyond float32, and so is the sum of two
        # large numbers.
        if self.codebook is not None:
            codebook = self.codebook.astype(np.float64)
            return np.searchsorted((codebook[1:] + codebook[:-1]) / 2, latents).astype(np.int32)
        width = self.high.astype(np.float64) - self.low
        scale = np.divide(LEVELS - 1, width, out=np.zeros_like(width), where=width > 0)
        places = np.round((latents.astype(np.float64) - self.low) * scale)
        return np.clip(places, 0, LEVELS - 1).astype(np.int32)

    def values(self, symbols: NDArray[np.int32]) -> Float32:
        """The latents that symbols 0..255 stand for, float32, same shape."""
        if self.codebook is not None:
            return self.codebook[symbols]
        step = (self.high.astype(np.float64) - self.low) / (LEVELS - 1)
        return (self.low + symbols * step).astype(np.float32)
