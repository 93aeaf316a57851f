"""Images as grids of blocks, each with a model of its own."""

from collections.abc import Sequence
from typing import Annotated, Any

import keras
from annotated_types import Ge, Len
from keras import ops

from architectures.layers import PACKAGE, image_shape
from architectures.preprocessing import Preprocessing


@keras.saving.register_keras_serializable(package=PACKAGE)
class Blocks(Preprocessing):
    """Cuts images into a grid of blocks before the encoder, and joins them behind the decoder.

    (H, W, C) -> (rows * columns, H/rows * W/columns * C): the blocks row by row, the pixels of each
    in a line. `BlockDense` then is a model for each block, `Dense` one that all blocks share.

    Args:
        grid: [rows, columns]; height and width of the images must be known, and multiples of them.
        image: (H, W, C) of the images; learned when the step is built, so that a decoder alone can
            join blocks.

    Raises:
        ValueError: height or width is unknown or no multiple.
    """

    built_arguments = ("image",)

    def __init__(
        self,
        grid: Annotated[list[Annotated[int, Ge(1)]], Len(2, 2)],
        image: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        rows, columns = grid
        self.grid = [int(rows), int(columns)]
        self.image = None if image is None else tuple(image)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.compute_output_shape(input_shape)
        _, height, width, channels = image_shape(input_shape)
        assert height is not None
        assert width is not None
        assert channels is not None
        self.image = (height, width, channels)
        super().build(input_shape)

    def call(self, x: Any) -> Any:
        rows, columns = self.grid
        _, height, width, channels = x.shape
        x = ops.reshape(x, (-1, rows, height // rows, columns, width // columns, channels))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))  # (B, rows, columns, h, w, C)
        values = (height // rows) * (width // columns) * channels
        return ops.reshape(x, (-1, rows * columns, values))

    def inverse(self, x: Any) -> Any:
        if self.image is None:
            raise ValueError("Blocks must see an image before it can join blocks")
        rows, columns = self.grid
        height, width, channels = self.image
        x = ops.reshape(x, (-1, rows, columns, height // rows, width // columns, channels))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))  # (B, rows, h, columns, w, C)
        return ops.reshape(x, (-1, height, width, channels))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, height, width, channels = image_shape(input_shape)
        rows, columns = self.grid
        if height is None or width is None or channels is None:
            raise ValueError("Blocks needs images of known height and width")
        if height % rows or width % columns:
            raise ValueError(
                f"height and width must be multiples of the grid {rows}x{columns}, found "
                f"{height}x{width}"
            )
        return batch, rows * columns, (height // rows) * (width // columns) * channels

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "grid": list(self.grid), "image": self.image}


@keras.saving.register_keras_serializable(package=PACKAGE)
class BlockDense(keras.layers.Layer):
    """A fully connected layer for each block, all computed at once.

    `y_n = activation(x_n W_n + b_n)` for block n: (B, N, D) -> (B, N, units), one product of N
    matrices. For weights that all blocks share use `Dense`.

    Args:
        units: outputs of each block.
        activation: of the outputs.
        kernel_initializer: of each block's matrix.
        bias_initializer: of the biases.
    """

    def __init__(
        self,
        units: Annotated[int, Ge(1)],
        activation: Any = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units = int(units)
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        blocks, values = self._sides(input_shape)
        # Keras takes the first axes of a kernel for a window and would scale by them: one block's
        # matrix at a time.
        self.kernel = self.add_weight(
            shape=(blocks, values, self.units),
            initializer=lambda shape, dtype: ops.stack(
                # A clone draws other numbers than the block before.
                [self.kernel_initializer.clone()(shape[1:], dtype) for _ in range(shape[0])]
            ),
            name="kernel",
        )
        self.bias = self.add_weight(
            shape=(blocks, self.units), initializer=self.bias_initializer, name="bias"
        )
        self.built = True

    def call(self, x: Any) -> Any:
        x = ops.transpose(x, (1, 0, 2))  # (N, B, D)
        y = ops.transpose(ops.matmul(x, self.kernel), (1, 0, 2)) + self.bias  # (B, N, units)
        return self.activation(y)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        blocks, _ = self._sides(input_shape)
        return input_shape[0], blocks, self.units

    @staticmethod
    def _sides(shape: tuple[int | None, ...]) -> tuple[int, int]:
        if len(shape) != 3 or shape[1] is None or shape[2] is None:
            raise ValueError(
                f"BlockDense needs blocks and values as its input (see Blocks), found {shape[1:]}"
            )
        return shape[1], shape[2]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
        }
