"""Where the model stands between rate and distortion, tile by tile, while it trains."""

import math

import numpy as np

from architectures.image_compressor import ImageCompressor
from architectures.rate import BITS
from builders.clips import frames_of
from builders.data_splits import Splits
from builders.loader import BatchLoader
from builders.sources import SubsetSource
from builders.spec import Spec
from constants.defaults import SCATTER_PICTURES, SCATTER_SIDE, SCATTER_TILES
from evaluation.rate_distortion_figure import Curve, Points, rate_distortion_figure
from evaluation.tile_codecs import classical_curves, psnr_db

BPP = "rate_distortion/bpp"
PSNR = "rate_distortion/psnr_db"
"""Means over the tiles, by their names in the log."""


class RateDistortion:
    """Measures the same validation tiles every epoch, and draws them beside classical codecs.

    Args:
        tiles: uint8 (N, H, W, C), or clips (N, T, H, W, C).
        batch_size: tiles a call of the model; divides N.
        title: of the picture; the epoch is added.
    """

    def __init__(self, tiles: np.ndarray, batch_size: int, title: str) -> None:
        self._tiles = tiles
        self._batch_size = batch_size
        self._title = title
        self._points = Points((), ())
        self._curves: list[Curve] | None = None

    def measure(self, model: ImageCompressor) -> dict[str, float]:
        """Rate and distortion of every tile, by the model as it is now.

        Returns:
            Means over the tiles: estimated bits per pixel, and PSNR in dB after rounding to 8 bits.
        """
        rates: list[float] = []
        qualities: list[float] = []
        for at in range(0, len(self._tiles), self._batch_size):
            batch = self._tiles[at : at + self._batch_size]
            outputs = model.predict_on_batch(batch)
            frames = frames_of(batch)
            parts = [np.asarray(each) for key, each in outputs.items() if key.startswith(BITS)]
            bits = np.stack(parts).sum(axis=0, dtype=np.float64)
            rates += (bits / math.prod(frames.shape[1:3])).tolist()
            x_hat = np.clip(np.asarray(outputs["x_hat"]).astype(np.float64), 0.0, 1.0)
            qualities += psnr_db(frames, np.round(x_hat * 255.0))
        self._points = Points(tuple(rates), tuple(qualities))
        return {BPP: float(np.mean(rates)), PSNR: float(np.mean(qualities))}

    def draw(self, history: dict[str, list[float]]) -> np.ndarray:
        """The picture of what was measured last.

        The first call also measures JPEG and WebP, once.

        Args:
            history: values under `BPP` and `PSNR`, one an epoch up to this one, NaN where unknown.

        Returns:
            uint8 (height, width, 3).
        """
        if self._curves is None:
            self._curves = classical_curves(frames_of(self._tiles))
        path = Points(tuple(history[BPP]), tuple(history[PSNR]))
        title = f"{self._title}, epoch {len(path.bpp)}"
        return rate_distortion_figure(self._points, path, self._curves, title)


def due(epoch: int, epochs: int) -> bool:
    """Whether an epoch, from 1, gets a picture: some `SCATTER_PICTURES` a run, and the last."""
    return epoch % max(1, math.ceil(epochs / SCATTER_PICTURES)) == 0 or epoch == epochs


def rate_distortion_of(
    spec: Spec, compressor: ImageCompressor, splits: Splits, batch_size: int
) -> RateDistortion | None:
    """What measures the validation tiles of a run; None for a model without entropy model.

    Args:
        spec: of the run.
        compressor: its model.
        splits: its data.
        batch_size: images, or clips, that the model is called with anyway.
    """
    if compressor.generator.entropy_model is None:
        return None
    tiles = scatter_tiles(spec, splits)
    whole = len(tiles) // batch_size * batch_size  # other sizes would compile anew
    return RateDistortion(tiles[: whole or None], min(batch_size, len(tiles)), spec.name)


def scatter_tiles(spec: Spec, splits: Splits) -> np.ndarray:
    """Validation images as evaluation sees them, their middle where they are large.

    They are spread over the whole split, whose neighbours may be parts of one picture.

    Args:
        spec: whether the model takes parts of images.
        splits: with images to read.

    Returns:
        uint8 (N, H, W, C), or clips (N, T, H, W, C) with N * T frames; at most `SCATTER_TILES`
        images of at most `SCATTER_SIDE` a side if that is free, and not many more pixels than those
        have.
    """
    source = splits.validation
    sides = [SCATTER_SIDE if side is None else side for side in spec.input_shape[:2]]

    def middles(rows: np.ndarray) -> list[np.ndarray]:
        loader = BatchLoader(
            SubsetSource(source, rows), 1, transform=splits.evaluation_transform, workers=0
        )
        return [_middle(item, sides) for (item,) in loader.batches(0)]

    shape = middles(np.arange(1))[0].shape
    frames, pixels = math.prod(shape[:-3]), math.prod(shape[:-1])
    room = min(SCATTER_TILES // frames, SCATTER_TILES * SCATTER_SIDE**2 // pixels, len(source))
    tiles = middles(np.linspace(0, len(source) - 1, max(1, room)).round().astype(np.int64))
    common = [min(tile.shape[axis] for tile in tiles) for axis in (-3, -2)]
    return np.stack([_middle(tile, common) for tile in tiles])


def _middle(image: np.ndarray, sides: list[int]) -> np.ndarray:
    """(..., H, W, C) -> at most so many pixels a side, from the middle."""
    for axis, side in zip((-3, -2), sides, strict=True):
        size = image.shape[axis]
        if size > side:
            image = image.take(range((size - side) // 2, (size - side) // 2 + side), axis=axis)
    return image
