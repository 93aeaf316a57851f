"""A convolutional network in whole numbers: the same result on every machine.

What a hyper decoder says of the latents decides which frequency table codes each of them, so it
must not depend on rounding. Here every operand is a whole number of at most 8 significant bits and
every sum stays below 2**24: float32 units, TF32 or bfloat16 matrix units compute it exactly, in
whatever order they add. docs/bundle.md is the format; this is the reference in NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from codec.errors import NicNetworkError

Kind = Literal["conv", "conv_transpose", "depth_to_space", "upsample"]
KINDS: Final = ("conv", "conv_transpose", "depth_to_space", "upsample")
SUM_LIMIT: Final = 1 << 24
"""Float32 holds every whole number up to here."""
OPERAND_LIMIT: Final = 255
"""Largest magnitude of a weight or an activation: 8 significant bits."""
VALUE_LIMIT: Final = (1 << 15) - 1
"""Largest magnitude of a sum after its shift; times 256 it still fits float32."""
SLOPE_UNIT: Final = 256
MAX_SHIFT: Final = 23
MAX_LAYERS: Final = 64
MAX_KERNEL: Final = 15
MAX_STRIDE: Final = 8
MAX_CHANNELS: Final = 1 << 14

Int = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class IntegerLayer:
    """One layer. A convolution computes, for each output channel,

        sum  = bias + kernel * x                             (below 2**24 in magnitude)
        v    = floor((sum + 2**(shift - 1)) / 2**shift)      (just `sum` where shift is 0)
        v    = min(max(v, -VALUE_LIMIT), VALUE_LIMIT)
        v    = v                           where v >= 0
             = floor((v * slope + 128) / 256)                where v < 0
        out  = min(max(v, low), high)

    with zeros around the image, as Keras pads `same`. `slope` is 256 for no activation and 0 for
    a ReLU. The other kinds move values only.

    Attributes:
        kind: a convolution of stride 1, a transposed one, DepthToSpace, or nearest UpSampling2D.
        factor: stride of a transposed convolution, block size, or (rows = columns) repetition.
        kernel: (kh, kw, inputs, outputs) int16, each within +-255; None for other kinds.
        bias: (outputs,) int32.
        shift: (outputs,) int32, 0..23.
        low: (outputs,) int32, and `high`: the range of the output.
        slope: 0..256.
    """

    kind: Kind
    factor: int = 1
    kernel: NDArray[np.int16] | None = None
    bias: NDArray[np.int32] | None = None
    shift: NDArray[np.int32] | None = None
    low: NDArray[np.int32] | None = None
    high: NDArray[np.int32] | None = None
    slope: int = SLOPE_UNIT

    @property
    def is_convolution(self) -> bool:
        """Whether the layer has weights."""
        return self.kind in ("conv", "conv_transpose")

    def output_channels(self, channels: int) -> int:
        """Channels that come out for channels that go in."""
        if self.is_convolution:
            assert self.kernel is not None
            return self.kernel.shape[3]
        return channels // self.factor**2 if self.kind == "depth_to_space" else channels


@dataclass(frozen=True, eq=False)
class IntegerNetwork:
    """Layers one after the other, whose sums are known to be exact.

    Attributes:
        channels: of the input.
        input_limit: inputs are clipped to +-this; 1..255.
        layers: in order; the last is a convolution.

    Raises:
        NicNetworkError: a number is out of its range, layers don't fit each other, or a sum could
            reach 2**24.
    """

    channels: int
    input_limit: int
    layers: tuple[IntegerLayer, ...]

    def __post_init__(self) -> None:
        _check(1 <= self.channels <= MAX_CHANNELS, f"{self.channels} input channels")
        _check(1 <= self.input_limit <= OPERAND_LIMIT, f"an input limit of {self.input_limit}")
        _check(1 <= len(self.layers) <= MAX_LAYERS, f"{len(self.layers)} layers")
        _check(self.layers[-1].is_convolution, "a network that does not end in a convolution")
        most = np.full(self.channels, self.input_limit, np.int64)  # of each channel's magnitude
        for index, layer in enumerate(self.layers):
            most = _checked_bounds(layer, most, f"layer {index}")
            last = index == len(self.layers) - 1
            limit = VALUE_LIMIT if last else OPERAND_LIMIT
            _check(int(most.max()) <= limit, f"layer {index}: outputs up to {most.max()}")

    @property
    def output_channels(self) -> int:
        """Channels of the result."""
        channels = self.channels
        for layer in self.layers:
            channels = layer.output_channels(channels)
        return channels

    @property
    def upsampling(self) -> int:
        """How many times higher and wider the result is."""
        factor = 1
        for layer in self.layers:
            factor *= layer.factor
        return factor

    def run(self, x: ArrayLike) -> NDArray[np.int32]:
        """The result, exact.

        Args:
            x: integers (B, H, W, channels); clipped to the input limit.

        Returns:
            int32 (B, H * upsampling, W * upsampling, output_channels).
        """
        limit = self.input_limit
        values = np.clip(np.asarray(x), -limit, limit).astype(np.float32)
        for layer in self.layers:
            values = run_layer(layer, values)
        return values.astype(np.int32)


def run_layer(layer: IntegerLayer, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """One layer on whole numbers that float32 holds exactly."""
    if layer.kind == "depth_to_space":
        batch, height, width, channels = x.shape
        b = layer.factor
        x = x.reshape(batch, height, width, b, b, channels // b**2).transpose(0, 1, 3, 2, 4, 5)
        return x.reshape(batch, height * b, width * b, channels // b**2)
    if layer.kind == "upsample":
        return x.repeat(layer.factor, axis=1).repeat(layer.factor, axis=2)
    sums = convolution_sums(layer, x)
    assert layer.bias is not None and layer.shift is not None
    half = np.where(layer.shift > 0, np.exp2(layer.shift - 1.0), 0.0)
    # Every step below is exact: whole numbers below 2**24, and a division by a power of two.
    v = np.floor((sums + (layer.bias + half).astype(np.float32)) * _power(-layer.shift))
    v = np.clip(v, -VALUE_LIMIT, VALUE_LIMIT)
    if layer.slope != SLOPE_UNIT:
        below = np.floor((v * layer.slope + SLOPE_UNIT // 2) * (1.0 / SLOPE_UNIT))
        v = np.where(v < 0, below.astype(np.float32), v)
    assert layer.low is not None and layer.high is not None
    return np.clip(v, layer.low.astype(np.float32), layer.high.astype(np.float32))


def _power(exponent: NDArray[np.int32]) -> NDArray[np.float32]:
    return np.exp2(exponent.astype(np.float64)).astype(np.float32)


def convolution_sums(layer: IntegerLayer, x: NDArray[Any]) -> NDArray[Any]:
    """The sums of a convolution, bias left out, in the dtype of x."""
    return _convolved(layer, x) if layer.kind == "conv" else _transposed(layer, x)


def _convolved(layer: IntegerLayer, x: NDArray[Any]) -> NDArray[Any]:
    """Sums of a convolution of stride 1, a matrix product for each place in the kernel."""
    assert layer.kernel is not None
    rows, columns, inputs, outputs = layer.kernel.shape
    batch, height, width, _ = x.shape
    before = (rows - 1) // 2, (columns - 1) // 2
    sides = [(0, 0), (before[0], rows // 2), (before[1], columns // 2), (0, 0)]
    padded = np.pad(x, sides)
    kernel = layer.kernel.astype(x.dtype)
    sums = np.zeros((batch * height * width, outputs), x.dtype)
    for i in range(rows):
        for j in range(columns):
            part = padded[:, i : i + height, j : j + width].reshape(-1, inputs)
            sums += part @ kernel[i, j]
    return sums.reshape(batch, height, width, outputs)


def _transposed(layer: IntegerLayer, x: NDArray[Any]) -> NDArray[Any]:
    """Sums of a transposed convolution: every input spreads the kernel around its place."""
    assert layer.kernel is not None
    rows, columns, inputs, outputs = layer.kernel.shape
    batch, height, width, _ = x.shape
    s = layer.factor
    kernel = layer.kernel.astype(x.dtype)
    flat = x.reshape(-1, inputs)
    high = max((height - 1) * s + rows, height * s)
    wide = max((width - 1) * s + columns, width * s)
    whole = np.zeros((batch, high + s, wide + s, outputs), x.dtype)
    for i in range(rows):
        for j in range(columns):
            part = (flat @ kernel[i, j]).reshape(batch, height, width, outputs)
            whole[:, i : i + height * s : s, j : j + width * s : s] += part
    top, left = max(rows - s, 0) // 2, max(columns - s, 0) // 2
    return whole[:, top : top + height * s, left : left + width * s]


def _checked_bounds(layer: IntegerLayer, most: Int, where: str) -> Int:
    """The largest magnitude of each output channel, from that of each input channel."""
    _check(layer.kind in KINDS, f"{where}: there is no layer {layer.kind!r}")
    _check(1 <= layer.factor <= MAX_STRIDE, f"{where}: a factor of {layer.factor}")
    if layer.kind == "depth_to_space":
        blocks = layer.factor**2
        _check(most.size % blocks == 0, f"{where}: {most.size} channels in blocks of {blocks}")
        return most.reshape(blocks, -1).max(axis=0)
    if layer.kind == "upsample":
        return most
    _check(layer.kind == "conv_transpose" or layer.factor == 1, f"{where}: a stride")
    kernel = _whole(layer.kernel, 4, -OPERAND_LIMIT, OPERAND_LIMIT, f"{where}: kernel")
    rows, columns, inputs, outputs = kernel.shape
    _check(1 <= min(rows, columns) <= max(rows, columns) <= MAX_KERNEL, f"{where}: kernel's size")
    _check(inputs == most.size, f"{where}: {most.size} channels for a kernel of {inputs}")
    _check(1 <= outputs <= MAX_CHANNELS, f"{where}: {outputs} output channels")
    bias = _whole(layer.bias, 1, -SUM_LIMIT, SUM_LIMIT, f"{where}: bias")
    shift = _whole(layer.shift, 1, 0, MAX_SHIFT, f"{where}: shift")
    low = _whole(layer.low, 1, -VALUE_LIMIT, VALUE_LIMIT, f"{where}: low")
    high = _whole(layer.high, 1, -VALUE_LIMIT, VALUE_LIMIT, f"{where}: high")
    _check(all(each.size == outputs for each in (bias, shift, low, high)), f"{where}: lengths")
    _check(bool((low <= high).all()), f"{where}: low is above high")
    _check(0 <= layer.slope <= SLOPE_UNIT, f"{where}: a slope of {layer.slope}")
    half = np.left_shift(1, shift) >> 1
    reach = np.abs(kernel).sum(axis=(0, 1)).T @ most + np.abs(bias) + half  # (outputs,)
    _check(int(reach.max()) < SUM_LIMIT, f"{where}: sums up to {reach.max()}")
    return np.maximum(np.abs(low), np.abs(high))


def _whole(values: Any, rank: int, least: int, most: int, what: str) -> Int:
    _check(isinstance(values, np.ndarray) and values.dtype.kind == "i", f"{what}: no integers")
    _check(values.ndim == rank and values.size > 0, f"{what}: shape {values.shape}")
    found = values.astype(np.int64)
    _check(least <= found.min() and found.max() <= most, f"{what}: out of range")
    return found


def _check(holds: bool, what: str) -> None:
    if not holds:
        raise NicNetworkError(f"the model's integer network is not well formed: {what}")


def exact_run(network: IntegerNetwork, x: ArrayLike) -> NDArray[np.int64]:
    """The same as `IntegerNetwork.run` in 64-bit integers, slowly: what the tests compare with."""
    values = np.clip(np.asarray(x, np.int64), -network.input_limit, network.input_limit)
    for layer in network.layers:
        if not layer.is_convolution:
            values = run_layer(layer, values.astype(np.float32)).astype(np.int64)
            continue
        assert layer.bias is not None and layer.shift is not None
        sums = _exact_sums(layer, values) + layer.bias
        v = (sums + (np.left_shift(1, layer.shift.astype(np.int64)) >> 1)) >> layer.shift
        v = np.clip(v, -VALUE_LIMIT, VALUE_LIMIT)
        v = np.where(v < 0, (v * layer.slope + SLOPE_UNIT // 2) // SLOPE_UNIT, v)
        values = np.clip(v, layer.low, layer.high)
    return values


def _exact_sums(layer: IntegerLayer, x: Int) -> Int:
    """Every output as the sum over its inputs, straight from the definition."""
    assert layer.kernel is not None
    kernel = layer.kernel.astype(np.int64)
    rows, columns, _, outputs = kernel.shape
    batch, height, width, _ = x.shape
    s = layer.factor
    transposed = layer.kind == "conv_transpose"
    high, wide = (height * s, width * s) if transposed else (height, width)
    top = max(rows - s, 0) // 2 if transposed else (rows - 1) // 2
    left = max(columns - s, 0) // 2 if transposed else (columns - 1) // 2
    sums = np.zeros((batch, high, wide, outputs), np.int64)
    flat = kernel.transpose(2, 0, 1, 3).reshape(x.shape[3], -1).astype(np.float64)
    for row in range(height):
        for column in range(width):
            # In float64 whole numbers are exact up to 2**53, far above any sum here.
            spread = (x[:, row, column].astype(np.float64) @ flat).astype(np.int64)
            for place, part in enumerate(np.split(spread, rows * columns, axis=1)):
                i, j = divmod(place, columns)
                # A convolution reads at row + i - top, so an input adds to row - i + top.
                y = row * s + i - top if transposed else row - i + top
                z = column * s + j - left if transposed else column - j + left
                if 0 <= y < high and 0 <= z < wide:
                    sums[:, y, z] += part
    return sums
