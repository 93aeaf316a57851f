"""Rounding that can be trained through."""

from typing import Any, Final, Literal

import keras
from keras import ops

QuantizationMode = Literal["noise", "straight_through", "mixed"]
MODES: Final = ("noise", "straight_through", "mixed")


def round_through(x: Any) -> Any:
    """Rounds to the nearest integer; its gradient is that of the identity (Theis et al. 2017)."""
    return x + ops.stop_gradient(ops.round(x) - x)


def add_noise(x: Any, seed: keras.random.SeedGenerator) -> Any:
    """Adds uniform noise in [-1/2, 1/2]: rounding as training sees it (Balle et al. 2017, 3.1)."""
    return x + keras.random.uniform(ops.shape(x), -0.5, 0.5, seed=seed, dtype="float32")


def quantize(
    x: Any, mode: QuantizationMode, training: bool | None, seed: keras.random.SeedGenerator
) -> tuple[Any, Any]:
    """Quantizes residuals for the rate and for the decoder.

    - `noise`: both see uniform noise.
    - `straight_through`: both see rounded values.
    - `mixed`: the rate sees noise, the decoder rounded values (Minnen & Singh 2020, section 3.3).

    Outside training both see rounded values in every mode.

    Args:
        x: residuals, float32.
        mode: one of the above.
        training: whether gradients are wanted.
        seed: of the noise.

    Returns:
        What the rate is counted on, and what the decoder gets; both float32 like x.
    """
    if not training:
        rounded = ops.round(x)
        return rounded, rounded
    if mode == "straight_through":
        rounded = round_through(x)
        return rounded, rounded
    noisy = add_noise(x, seed)
    return noisy, round_through(x) if mode == "mixed" else noisy
