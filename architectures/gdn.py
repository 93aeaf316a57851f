"""Generalized divisive normalization, the nonlinearity of the first learned codecs."""

from typing import Any

import keras
from keras import ops

PACKAGE = "codecsmith"
_BETA_FLOOR = 1e-6
"""Added to beta, so that the square root never sees zero."""

_GAMMA_SEED = 2.0**-10
"""Square root of the off-diagonal gamma at the start: zero would never get a gradient."""


@keras.saving.register_keras_serializable(package=PACKAGE)
class GDN(keras.layers.Layer):
    """Divides every channel by a norm of all channels at its place: `y_i = x_i / sqrt(n_i)`.

    `n_i = beta_i + sum_j gamma_ij x_j^2`, with `beta = b^2 + 1e-6` and `gamma = g^2` so that both
    stay positive without a bound. The inverse multiplies instead of dividing (it approximates the
    inverse function, and is learned on its own). Balle, Laparra, Simoncelli 2016, "Density modeling
    of images using a generalized normalization transformation", equation 3.

    Args:
        inverse: multiply by the norm instead of dividing: the decoder's side.
    """

    def __init__(self, inverse: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.inverse = bool(inverse)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        channels = input_shape[-1]
        if channels is None:
            raise ValueError("GDN needs to know the number of channels")
        self.beta_root = self.add_weight(
            shape=(channels,), initializer="ones", name="beta_root", trainable=True
        )
        self.gamma_root = self.add_weight(
            shape=(channels, channels),
            initializer=lambda shape, dtype: (
                (0.1**0.5 - _GAMMA_SEED) * ops.eye(shape[0], dtype=dtype) + _GAMMA_SEED
            ),
            name="gamma_root",
            trainable=True,
        )
        self.built = True

    @property
    def beta(self) -> Any:
        """beta (C,), positive."""
        return ops.square(ops.convert_to_tensor(self.beta_root)) + _BETA_FLOOR

    @property
    def gamma(self) -> Any:
        """gamma (C, C); row j, column i weighs channel j in the norm of channel i."""
        return ops.square(ops.convert_to_tensor(self.gamma_root))

    def call(self, x: Any) -> Any:
        channels = x.shape[-1]
        shape = ops.shape(x)
        # Rank 2: TensorFlow's CPU build corrupts memory in a rank-4 matmul that broadcasts.
        flat = ops.reshape(x, (-1, channels))  # (B*H*W, C)
        norm = ops.matmul(ops.square(flat), self.gamma) + self.beta
        scaled = flat * (ops.sqrt(norm) if self.inverse else ops.rsqrt(norm))
        return ops.reshape(scaled, shape)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "inverse": self.inverse}
