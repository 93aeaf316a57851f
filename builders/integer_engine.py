"""The integer network of a bundle as a Keras model: for GPUs, exports, and to show that it agrees.

`codec.integer_network` says what it computes. Here float32 tensors hold the whole numbers, whatever
the global precision; products are plain matrix products, so that no convolution algorithm that
goes by way of fractions (Winograd, FFT) can come in between.
"""

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike, NDArray

from codec.integer_network import SLOPE_UNIT, VALUE_LIMIT, IntegerLayer, IntegerNetwork


class IntegerModel(keras.Model):
    """An integer network: float32 (B, H, W, C) whole numbers in, the same out.

    Args:
        network: what to compute.
    """

    def __init__(self, network: IntegerNetwork, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.network = network
        self._constants: list[dict[str, Any]] = []

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        for index, layer in enumerate(self.network.layers):
            self._constants.append(self._layer_constants(index, layer))
        self.built = True

    def _layer_constants(self, index: int, layer: IntegerLayer) -> dict[str, Any]:
        if not layer.is_convolution:
            return {}
        assert layer.kernel is not None and layer.bias is not None and layer.shift is not None
        half = np.where(layer.shift > 0, np.exp2(layer.shift - 1.0), 0.0)
        values = {
            "kernel": layer.kernel,
            "bias": layer.bias + half,
            "scale": np.exp2(-layer.shift.astype(np.float64)),
            "low": layer.low,
            "high": layer.high,
        }
        return {name: self._constant(f"{name}_{index}", each) for name, each in values.items()}

    def _constant(self, name: str, values: Any) -> Any:
        return self.add_weight(
            name=name,
            shape=np.shape(values),
            dtype="float32",
            trainable=False,
            initializer=lambda shape, dtype: ops.convert_to_tensor(values, dtype),
        )

    def call(self, z: Any) -> Any:
        """Whole numbers (B, H, W, C) -> whole numbers, float32."""
        limit = float(self.network.input_limit)
        x = ops.clip(ops.cast(z, "float32"), -limit, limit)
        for layer, constants in zip(self.network.layers, self._constants, strict=True):
            x = _applied(layer, constants, x)
        return x


def _applied(layer: IntegerLayer, constants: dict[str, Any], x: Any) -> Any:
    if layer.kind == "depth_to_space":
        b, channels = layer.factor, x.shape[-1]
        phases = ops.reshape(x, (*ops.shape(x)[:3], b, b, channels // b**2))
        return _interleaved(phases, b)
    if layer.kind == "upsample":
        return ops.repeat(ops.repeat(x, layer.factor, axis=1), layer.factor, axis=2)
    assert layer.kernel is not None
    if layer.kind == "conv":
        sums = _taps(constants["kernel"], x, _conv_taps(layer.kernel))
    else:
        s = layer.factor
        phases = [
            _taps(constants["kernel"], x, _transposed_taps(layer.kernel, s, p, q))
            for p in range(s)
            for q in range(s)
        ]
        batch, height, width, outputs = ops.shape(phases[0])
        stacked = ops.stack(phases, axis=3)  # (B, H, W, s * s, outputs)
        sums = _interleaved(ops.reshape(stacked, (batch, height, width, s, s, outputs)), s)
    v = ops.floor((sums + constants["bias"]) * constants["scale"])
    v = ops.clip(v, -float(VALUE_LIMIT), float(VALUE_LIMIT))
    if layer.slope != SLOPE_UNIT:
        below = ops.floor((v * float(layer.slope) + SLOPE_UNIT / 2.0) * (1.0 / SLOPE_UNIT))
        v = ops.where(v < 0, below, v)
    return ops.minimum(ops.maximum(v, constants["low"]), constants["high"])


Tap = tuple[int, int, int, int]
"""Row and column in the kernel, and how far away the input it is multiplied with lies."""


def _conv_taps(kernel: NDArray[Any]) -> list[Tap]:
    rows, columns = kernel.shape[:2]
    top, left = (rows - 1) // 2, (columns - 1) // 2
    return [(i, j, i - top, j - left) for i in range(rows) for j in range(columns)]


def _transposed_taps(kernel: NDArray[Any], s: int, p: int, q: int) -> list[Tap]:
    """Taps of the outputs at rows p, p + s, ... and columns q, q + s, ..."""
    rows, columns = kernel.shape[:2]
    top, left = max(rows - s, 0) // 2, max(columns - s, 0) // 2
    # Output y takes input x through tap i where y = x * s + i - top.
    return [
        (i, j, (p + top - i) // s, (q + left - j) // s)
        for i in range(rows)
        for j in range(columns)
        if (p + top - i) % s == 0 and (q + left - j) % s == 0
    ]


def _taps(kernel: Any, x: Any, taps: list[Tap]) -> Any:
    """Sums over taps: for each, the image moved and multiplied by one matrix."""
    _, _, inputs, outputs = kernel.shape
    batch, height, width, _ = ops.shape(x)
    if not taps:
        return ops.zeros((batch, height, width, outputs), "float32")
    reach = max(max(abs(tap[2]), abs(tap[3])) for tap in taps)
    padded = ops.pad(x, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    sums = 0.0
    for i, j, down, right in taps:
        top, left = reach + down, reach + right
        part = padded[:, top : top + height, left : left + width, :]
        sums = sums + ops.matmul(ops.reshape(part, (-1, inputs)), kernel[i, j])
    return ops.reshape(sums, (batch, height, width, outputs))


def _interleaved(phases: Any, s: int) -> Any:
    """(B, H, W, s, s, C) -> (B, H * s, W * s, C)."""
    batch, height, width, _, _, channels = ops.shape(phases)
    moved = ops.transpose(phases, (0, 1, 3, 2, 4, 5))
    return ops.reshape(moved, (batch, height * s, width * s, channels))


class KerasEngine:
    """Runs an integer network on the Keras backend, in place of NumPy.

    Args:
        network: what to compute.
    """

    def __init__(self, network: IntegerNetwork) -> None:
        self._model = IntegerModel(network)
        self._model.build((None, None, None, network.channels))

    def __call__(self, z: ArrayLike) -> NDArray[np.int32]:
        """As `IntegerNetwork.run`."""
        found = self._model(ops.convert_to_tensor(np.asarray(z), "float32"))
        return np.asarray(ops.convert_to_numpy(found)).astype(np.int32)
