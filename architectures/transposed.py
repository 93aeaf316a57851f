"""Transposed convolution as one convolution for each phase of its output."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from architectures.preprocessing import PACKAGE

LEAST_FILTERS = 16
"""With fewer, as in the last layer of a decoder, the one transposed convolution is faster: from 128
channels to 3 at 256x384 it took 21 ms, phases 36 (TensorFlow, two cores; taken by hand, when this
was written)."""


@dataclass(frozen=True)
class Phase:
    """What one phase of the output is made of, in one dimension.

    Attributes:
        taps: of the kernel turned around, each of which weighs the input behind that of the one
            before.
        first: place of the first of these inputs.
    """

    taps: range
    first: int


def phases(kernel: int, stride: int) -> list[Phase]:
    """The phases of a transposed convolution with padding `same`, in one dimension.

    Output `o = q * stride + r` is the sum over taps k with `k = r + p (mod stride)` of
    `kernel[k] * input[q + (r + p - k) / stride]`, where `p = (kernel - stride) // 2`.

    Args:
        kernel: taps, at least as many as the stride.
        stride: at least 1.

    Returns:
        Those of r = 0, 1, ...; their first inputs relative to q.
    """
    before = (kernel - stride) // 2
    found = []
    for phase in range(stride):
        shift, first = divmod(phase + before, stride)
        taps = range(first, kernel, stride)
        turned = range(kernel - 1 - taps[-1], kernel, stride)
        found.append(Phase(turned, shift - (len(taps) - 1)))
    return found


def conv_transpose_by_phases(x: Any, kernel: Any, strides: Sequence[int]) -> Any:
    """The transposed convolution of padding `same`: what `keras.ops.conv_transpose` computes.

    Each phase of the output is a convolution of the input with a part of the kernel, so no product
    with a zero is computed, and convolutions forwards are what libraries are fastest at.

    Args:
        x: (B, H, W, C), float.
        kernel: (kernel height, kernel width, filters, C); sides at least the strides.
        strides: (rows, columns).

    Returns:
        (B, H * rows, W * columns, filters).
    """
    height, width = ops.shape(x)[1], ops.shape(x)[2]
    turned = ops.transpose(ops.flip(kernel, (0, 1)), (0, 1, 3, 2))  # (k, k, C, filters)
    rows, columns = phases(kernel.shape[0], strides[0]), phases(kernel.shape[1], strides[1])
    (above, below), (left, right) = _margins(rows), _margins(columns)
    padded = ops.pad(x, ((0, 0), (above, below), (left, right), (0, 0)))
    parts = []
    for row in rows:
        part = padded[:, _inputs(row, height, above, below)]
        phase_row = []
        for column in columns:
            piece = part[:, :, _inputs(column, width, left, right)]
            weights = turned[_every(row.taps), _every(column.taps)]
            phase_row.append(
                ops.conv(piece, weights, padding="valid", data_format="channels_last")
            )  # (B, H, W, filters)
        parts.append(ops.stack(phase_row, axis=3))  # (B, H, W, columns, filters)
    joined = ops.stack(parts, axis=2)  # (B, H, rows, W, columns, filters)
    size = (height * strides[0], width * strides[1], kernel.shape[2])
    return ops.reshape(joined, (-1, *size))


def _margins(found: Sequence[Phase]) -> tuple[int, int]:
    """Inputs that are needed before the first and behind the last."""
    before = max(0, *(-phase.first for phase in found))
    return before, max(0, *(phase.first + len(phase.taps) - 1 for phase in found))


def _inputs(phase: Phase, size: Any, before: int, behind: int) -> slice:
    """Those that a phase needs for `size` outputs; all of them need no copy."""
    start, more = phase.first + before, len(phase.taps) - 1
    return (
        slice(None) if (start, more) == (0, before + behind) else slice(start, start + size + more)
    )


def _every(taps: range) -> slice:
    return slice(taps.start, taps.stop, taps.step)


@keras.saving.register_keras_serializable(package=PACKAGE)
class PhasedConv2DTranspose(keras.layers.Conv2DTranspose):
    """Keras' Conv2DTranspose, computed phase by phase where that is the same and faster."""

    in_spec = False  # a spec says Conv2DTranspose; this stands in for it in codecs

    def call(self, inputs: Any) -> Any:
        if not self._by_phases():
            return super().call(inputs)
        x = conv_transpose_by_phases(inputs, self.kernel, self.strides)
        if self.use_bias:
            x = x + self.bias
        return x if self.activation is None else self.activation(x)

    def _by_phases(self) -> bool:
        return (
            all(k >= s for k, s in zip(self.kernel_size, self.strides, strict=True))
            and max(self.strides) > 1
            and self.filters >= LEAST_FILTERS
            and (self.padding, self.data_format) == ("same", "channels_last")
            and self.output_padding is None
            and set(self.dilation_rate) == {1}
        )
