"""One model for all rates: learned factors on latents before they are rounded."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

PACKAGE = "codecsmith"
GAIN_LEVELS = 8
"""Learned vectors between the lowest and the highest quality; those between two are mixed."""
LEAST_FACTOR = 1e-4
"""Of lambda: gains that training begins with then lie far inside what a bundle may hold."""


@keras.saving.register_keras_serializable(package=PACKAGE)
class GainUnits(keras.layers.Layer):
    """A factor for each channel of the latents, and one for the way back, at any quality.

    A quality t in [0, 1] stands for `lambda_t = lambda * low^(1 - t) * high^t`, where lambda is the
    weight of the distortion in the loss. Uniform rounding with step 1 / gain has a distortion
    proportional to 1 / gain^2, so the best gain grows with the root of lambda. That is where
    training begins; it learns what each channel gains by another:

        gain    = sqrt(lambda_t / lambda) * exp(g_t)
        inverse = exp(b_t) / gain

    with g_t and b_t mixed from `GAIN_LEVELS` learned vectors each. Cui et al. 2021, "Asymmetric
    gained deep image compression with continuous rate adaptation", sections 3.2 and 3.3.

    Args:
        lambda_range: low and high, 0 < low <= 1 <= high, low < high.

    Raises:
        ValueError: the range is none.
    """

    in_spec = False

    def __init__(self, lambda_range: Sequence[float], **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        check_lambda_range(lambda_range)
        self.lambda_range = [float(each) for each in lambda_range]
        self._low = math.log(self.lambda_range[0])
        self._span = math.log(self.lambda_range[1]) - self._low

    @property
    def trained_quality(self) -> float:
        """The t at which lambda is the spec's own."""
        return -self._low / self._span

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        shape = (GAIN_LEVELS, input_shape[-1])
        self.log_gains = self.add_weight(shape=shape, initializer="zeros", name="log_gains")
        self.log_backs = self.add_weight(shape=shape, initializer="zeros", name="log_backs")
        self.built = True

    def call(self, quality: Any) -> tuple[Any, Any]:
        """quality (N,) in [0, 1] -> logarithms of gain and inverse, (N, M) each, float32."""
        place = ops.cast(quality, "float32")[:, None] * float(GAIN_LEVELS - 1)
        levels = ops.cast(ops.arange(GAIN_LEVELS), "float32")[None, :]
        shares = ops.relu(1.0 - ops.absolute(place - levels))  # (N, levels), each row sums to 1
        base = 0.5 * self.log_lambda(quality)[:, None]
        gain = base + ops.matmul(shares, self.log_gains)
        return gain, ops.matmul(shares, self.log_backs) - gain

    def log_lambda(self, quality: Any) -> Any:
        """log(lambda_t / lambda) of each quality, float32."""
        return self._low + self._span * ops.cast(quality, "float32")

    def sampled(self, images: Any, seed: keras.random.SeedGenerator) -> Any:
        """A quality for each image of a batch, (B,): evenly spread, from a start drawn at random.

        Every batch sees low and high rates, so gradients vary less than with independent draws.
        """
        start = keras.random.uniform((), seed=seed, dtype="float32")
        count = ops.cast(images, "float32")
        order = ops.cast(ops.arange(images), "float32")
        return ops.mod(order / count + start, 1.0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "lambda_range": list(self.lambda_range)}


def check_lambda_range(lambda_range: Sequence[float]) -> None:
    """Raises a ValueError unless the range holds 1 and has two ends."""
    if len(lambda_range) != 2 or not (
        LEAST_FACTOR <= lambda_range[0] <= 1 <= lambda_range[1] <= 1 / LEAST_FACTOR
        and lambda_range[0] < lambda_range[1]
    ):
        raise ValueError(
            f"lambda_range must be two factors of lambda, a low one from {LEAST_FACTOR:g} to 1 and "
            f"a high one from 1 to {1 / LEAST_FACTOR:g}, found {list(lambda_range)}"
        )
