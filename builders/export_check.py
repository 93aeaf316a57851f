"""Whether an exported model computes what the Keras model computes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from architectures.deployment import Deployed
from builders.errors import RunError
from builders.export_runners import CannotRunError, Runner

LATENT_TOLERANCE = 1e-3
"""Of the largest latent. Other kernels add in another order, which usually makes 1e-6."""

PIXEL_TOLERANCE = 1
"""Levels. Values that lie between two levels to float32's accuracy are rounded to either."""


class WrongExportError(RunError):
    """An exported model that doesn't do what the model does."""


@dataclass(frozen=True)
class Difference:
    """How an exported model differs from the Keras model on a few inputs.

    Attributes:
        largest: largest absolute difference, in latents or levels.
        differing: share of the numbers that differ at all, 0..1.
        pixels: whether it is in levels of pixels.
    """

    largest: float
    differing: float
    pixels: bool

    def in_words(self) -> str:
        """For the report of an export."""
        if self.largest == 0:
            return "the same as Keras"
        if not self.pixels:
            return f"within {self.largest:.1e} of Keras"
        return f"{self.differing:.4%} of pixels differ from Keras, by {self.largest:.0f} level"


def probe_image(height: int, width: int, channels: int, batch: int, seed: int = 0) -> np.ndarray:
    """Waves with noise, uint8 (B, H, W, C): what models are compared on."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    phase = rng.uniform(0, 6.28, (batch, 1, 1, channels))
    length = rng.uniform(4, 24, (batch, 1, 1, channels))
    wave = np.sin((x + 2 * y)[None, :, :, None] / length + phase)
    noise = rng.normal(0, 12, (batch, height, width, channels))
    return np.clip(128 + 100 * wave + noise, 0, 255).astype(np.uint8)


def check_finite(models: Iterable[Deployed]) -> None:
    """Checks the weights.

    Raises:
        RunError: there is a NaN or an infinity among them.
    """
    for model in models:
        for weight in model.weights:
            values = np.asarray(keras.ops.convert_to_numpy(weight.value))
            if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
                raise RunError(
                    f"{weight.path} holds numbers that are not finite: the training has diverged; "
                    "export an earlier checkpoint"
                )


def expected_outputs(model: Deployed, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What the Keras model makes of inputs."""
    return [np.asarray(keras.ops.convert_to_numpy(model(array))) for array in inputs]


def compare(
    runner: Runner, inputs: Sequence[np.ndarray], expected: Sequence[np.ndarray]
) -> Difference:
    """Runs an exported model and compares.

    Args:
        runner: the exported model.
        inputs: arrays of different batch (and, where free, image) sizes.
        expected: what the Keras model makes of them.

    Raises:
        WrongExportError: shapes, dtypes or values are not the same.
    """
    largest, differing, total = 0.0, 0, 0
    for array, want in zip(inputs, expected, strict=True):
        try:
            got = runner.run(array)
        except CannotRunError as error:
            raise WrongExportError(f"what was written can't be used: {error}") from None
        if got.shape != want.shape or got.dtype != want.dtype:
            raise WrongExportError(
                f"what was written gives {got.dtype}{list(got.shape)} for an input of "
                f"{list(array.shape)}, the model gives {want.dtype}{list(want.shape)}"
            )
        gap = np.abs(got.astype(np.float64) - want.astype(np.float64))
        limit = float(PIXEL_TOLERANCE)
        if want.dtype == np.int32:  # symbols
            limit = 0.0
        elif want.dtype != np.uint8:
            limit = LATENT_TOLERANCE * max(1.0, float(np.abs(want).max(initial=0)))
        worst = float(gap.max(initial=0))
        if not worst <= limit:  # also true for not-a-number
            raise WrongExportError(
                f"what was written is {worst:g} off what the model gives (limit {limit:g})"
            )
        largest = max(largest, worst)
        differing += int((gap > 0).sum())
        total += gap.size
    return Difference(largest, differing / max(1, total), expected[0].dtype == np.uint8)
