"""Learned linear transforms of pixel blocks that begin as a cosine transform."""

from collections.abc import Sequence
from typing import Annotated, Any

import keras
import numpy as np
from annotated_types import Ge
from keras import ops
from numpy.typing import NDArray

from architectures.layers import PACKAGE, DepthToSpace, SpaceToDepth


def cosine_basis(
    block_size: int, channels: int, kept: int, channel_weights: Sequence[float] | None = None
) -> NDArray[np.float32]:
    """The lowest frequencies of the orthonormal two-dimensional DCT-II of each channel.

    Args:
        block_size: side b of a block in pixels.
        channels: C of the image.
        kept: how many functions, from the most important on: those with the largest
            `weight / (1 + sqrt(u^2 + v^2))` for frequencies u and v.
        channel_weights: how much each channel counts; all the same by default.

    Returns:
        (b * b * C, kept): columns are orthonormal, rows are pixels in the order of SpaceToDepth.
    """
    n = np.arange(block_size)
    rows = np.cos(np.pi * (n[None, :] + 0.5) * n[:, None] / block_size)  # (frequency, pixel)
    rows *= np.sqrt(np.where(n == 0, 1.0, 2.0) / block_size)[:, None]
    u, v, c = np.meshgrid(n, n, np.arange(channels), indexing="ij")
    weights = np.ones(channels) if channel_weights is None else np.asarray(channel_weights)
    importance = weights[c] / (1.0 + np.hypot(u, v))
    order = np.argsort(-importance, axis=None, kind="stable")[:kept]
    basis = np.zeros((block_size, block_size, channels, len(order)), np.float32)
    for column, index in enumerate(order):
        i, j, channel = np.unravel_index(index, u.shape)
        basis[:, :, channel, column] = np.outer(rows[i], rows[j])
    return basis.reshape(-1, len(order))


class _BlockLayer(keras.layers.Layer):
    """What both directions share."""

    kernel: Any

    def __init__(
        self,
        block_size: int,
        channel_weights: Sequence[float] | None,
        use_bias: bool | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.use_bias = use_bias
        if channel_weights is not None and not all(weight > 0 for weight in channel_weights):
            raise ValueError(f"channel_weights must be positive, found {list(channel_weights)}")
        self.block_size = int(block_size)
        self.channel_weights = None if channel_weights is None else list(channel_weights)

    def _basis(self, channels: int, kept: int) -> NDArray[np.float32]:
        values = self.block_size**2 * channels
        if kept > values:
            raise ValueError(f"a block has {values} values, {kept} were asked for")
        if self.channel_weights is not None and len(self.channel_weights) != channels:
            raise ValueError(f"{len(self.channel_weights)} channel_weights for {channels} channels")
        return cosine_basis(self.block_size, channels, kept, self.channel_weights)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "block_size": self.block_size,
            "channel_weights": self.channel_weights,
            "use_bias": self.use_bias,
        }

    def _make_bias(self, size: int) -> None:
        wanted = self.use_bias is None or self.use_bias
        self.bias = (
            self.add_weight(shape=(size,), initializer="zeros", name="bias") if wanted else None
        )

    def _mixed(self, values: Any) -> Any:
        """(N, inputs) times the kernel, and the bias."""
        # Rank 2: TensorFlow's CPU build corrupts memory in a rank-4 matmul that broadcasts.
        result = ops.matmul(values, self.kernel)
        return result if self.bias is None else result + self.bias


@keras.saving.register_keras_serializable(package=PACKAGE)
class BlockTransform(_BlockLayer):
    """A learned linear transform of each block of pixels, at first its lowest frequencies.

    (H, W, C) -> (H/b, W/b, filters): a convolution with kernel and stride b that begins as an
    orthonormal DCT-II (Ahmed, Natarajan, Rao 1974, "Discrete cosine transform"). A codec that
    begins with it starts where JPEG is, and learns from there.

    Args:
        filters: coefficients kept of each block, up to b * b * C.
        block_size: side b of a block in pixels; height and width must be multiples of it.
        channel_weights: importance of each channel when the coefficients are chosen, such as
            [1, 0.4, 0.4] for YCbCr; null: all the same.
        use_bias: whether a learned number is added to each coefficient; null: it is.
    """

    def __init__(
        self,
        filters: Annotated[int, Ge(1)],
        block_size: Annotated[int, Ge(2)] = 8,
        channel_weights: list[float] | None = None,
        use_bias: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(block_size, channel_weights, use_bias, **kwargs)
        self.filters = int(filters)
        self._fold = SpaceToDepth(self.block_size, dtype=self.dtype_policy)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        shape = self._fold.compute_output_shape(input_shape)
        channels = input_shape[-1]
        if channels is None:
            raise ValueError("BlockTransform needs to know the number of channels")
        basis = self._basis(channels, self.filters)
        self.kernel = self.add_weight(
            shape=(shape[-1], self.filters),
            initializer=lambda shape, dtype: ops.convert_to_tensor(basis, dtype),
            name="kernel",
        )
        self._make_bias(self.filters)
        self.built = True

    def call(self, x: Any) -> Any:
        x = self._fold(x)
        batch, height, width, values = ops.shape(x)
        flat = self._mixed(ops.reshape(x, (-1, values)))
        return ops.reshape(flat, (batch, height, width, self.filters))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*self._fold.compute_output_shape(input_shape)[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters}


@keras.saving.register_keras_serializable(package=PACKAGE)
class InverseBlockTransform(_BlockLayer):
    """A learned linear transform from coefficients to blocks of pixels, at first the inverse DCT.

    (h, w, F) -> (h*b, w*b, channels): the way back from a BlockTransform with `filters` F.

    Args:
        channels: C of the image.
        block_size: side b of a block in pixels.
        channel_weights: as in the BlockTransform.
        use_bias: whether a learned number is added to each pixel of a block; null: it is.
    """

    def __init__(
        self,
        channels: Annotated[int, Ge(1)] = 3,
        block_size: Annotated[int, Ge(2)] = 8,
        channel_weights: list[float] | None = None,
        use_bias: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(block_size, channel_weights, use_bias, **kwargs)
        self.channels = int(channels)
        self._unfold = DepthToSpace(self.block_size, dtype=self.dtype_policy)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        filters = input_shape[-1]
        if filters is None:
            raise ValueError("InverseBlockTransform needs to know the number of coefficients")
        basis = self._basis(self.channels, filters).T
        self.kernel = self.add_weight(
            shape=basis.shape,
            initializer=lambda shape, dtype: ops.convert_to_tensor(basis, dtype),
            name="kernel",
        )
        self._make_bias(basis.shape[1])
        self.built = True

    def call(self, x: Any) -> Any:
        batch, height, width, filters = ops.shape(x)
        flat = self._mixed(ops.reshape(x, (-1, filters)))
        values = self.block_size**2 * self.channels
        return self._unfold(ops.reshape(flat, (batch, height, width, values)))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        values = self.block_size**2 * self.channels
        return self._unfold.compute_output_shape((*input_shape[:-1], values))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "channels": self.channels}
