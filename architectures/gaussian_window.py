"""The Gaussian window of SSIM as a filter: fast on CPUs, in full float32 on accelerators.

Filtering is where the time of SSIM goes, and no single way of doing it is right everywhere:

* A depthwise convolution over one to three channels, which is what `tf.image.ssim` and
  `keras.ops.image.ssim` use, leaves a CPU idle: no channels to vectorise over.
* The window is separable, and one axis of it is a product with a banded Toeplitz matrix. For
  short rows the matrix product (`"matmul"`) costs next to nothing. Its cost per pixel grows with
  the row, so long rows are cut into blocks of 32 pixels that become the *channels* of an ordinary
  two-tap convolution (`"polyphase"`): constant cost per pixel, full vectors.
* GPUs and TPUs multiply float32 matrices in TF32 or bfloat16 by default. SSIM subtracts
  `E[x]^2` from `E[x^2]`, so eleven bits are not enough: with operands rounded to TF32 (simulated
  in NumPy) the SSIM of a photo with noise of standard deviation 0.05 is off by as much as 0.035.
  JAX takes an order for full precision with each operation. TensorFlow has a switch for the whole
  process only, which is not ours to turn; on its accelerators the window is a sum of shifted
  copies (`"shifted"`), elementwise float32 arithmetic that XLA fuses.

`benchmarks/ssim_speed.py` measures all of them; its docstring has the numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

Tensor = Any
FilterMethod = Literal["matmul", "polyphase", "shifted"]

MATMUL_MAX_LENGTH = 128
"""Longest row, in pixels, that is filtered with one dense matrix product.

Measured on CPUs: at 64 pixels the product takes half the time of the convolution, at 128 about the
same, at 512 to 768 two to three times as much.
"""

POLYPHASE_BLOCK = 32
"""Pixels of a row that become the channels of the convolution (16 to 64 measured alike)."""


def gaussian_weights(filter_size: int, sigma: float) -> np.ndarray:
    """Returns the weights of a one-dimensional Gaussian window, summing to 1.

    `w_i = exp(-(i - (n - 1) / 2)^2 / (2 sigma^2)) / sum_j w_j`

    Args:
        filter_size: Number of weights `n`, in pixels.
        sigma: Standard deviation, in pixels.

    Returns:
        Array of shape `(filter_size,)`, float32 (computed in float64).
    """
    offsets = np.arange(filter_size, dtype="float64") - (filter_size - 1) / 2
    weights = np.exp(-0.5 * np.square(offsets / sigma))
    return (weights / weights.sum()).astype("float32")


def gaussian_filter(
    signals: Sequence[Tensor], weights: np.ndarray, method: FilterMethod | None = None
) -> list[Tensor]:
    """Filters planes along both axes, where the window fits entirely ("valid"), and transposes.

    The result is transposed because each axis is filtered while it is the last one. All maps that
    SSIM combines are transposed alike and then averaged, so turning them back would be wasted.

    Args:
        signals: Tensors of one shape `(N, H, W)`, float32. Any size may be unknown when traced.
        weights: Window from `gaussian_weights`, `n` values.
        method: How to filter; `None` picks by `default_method` for each axis.

    Returns:
        For each signal a tensor of shape `(N, W - n + 1, H - n + 1)`, float32.
    """
    if (method or default_method(None)) == "shifted":
        # Stacked, as the number of operations is what this way costs. Otherwise one by one: what
        # depends on x alone then needs no gradient while x is the data, a quarter of the work.
        together = _filter_both_axes(ops.concatenate(signals, axis=0), weights, "shifted")
        return ops.split(together, len(signals), axis=0)
    return [_filter_both_axes(planes, weights, method) for planes in signals]


def default_method(length: Any) -> FilterMethod:
    """Picks how to filter rows of a length on the devices that are present.

    Args:
        length: Length of a row in pixels; not an `int` (None, a symbolic tensor) when unknown.

    Returns:
        `"shifted"` where there is an accelerator whose matrix products cannot be made exact,
        otherwise `"matmul"` for rows known to be at most `MATMUL_MAX_LENGTH` long and
        `"polyphase"` for all others.
    """
    # Devices of the default kind: accelerators if there are any, otherwise CPUs.
    devices = keras.distribution.list_devices()
    if keras.backend.backend() != "jax" and not all(each.startswith("cpu") for each in devices):
        return "shifted"
    if isinstance(length, int) and length <= MATMUL_MAX_LENGTH:
        return "matmul"
    return "polyphase"


def _filter_both_axes(planes: Tensor, weights: np.ndarray, method: FilterMethod | None) -> Tensor:
    rows = _filter_last_axis(planes, weights, method)  # (N, H, W')
    return _filter_last_axis(ops.transpose(rows, (0, 2, 1)), weights, method)  # (N, W', H')


def _filter_last_axis(planes: Tensor, weights: np.ndarray, method: FilterMethod | None) -> Tensor:
    method = method or default_method(ops.shape(planes)[2])
    filters = {"matmul": _matmul, "polyphase": _polyphase, "shifted": _shifted}
    if method not in filters:
        raise ValueError(f"method must be one of {', '.join(filters)}, found {method!r}")
    with _full_precision():
        return filters[method](planes, weights)


def _full_precision() -> AbstractContextManager[Any]:
    """Orders float32 arithmetic for the matrix products within, where a backend takes orders."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.default_matmul_precision("highest")
    return nullcontext()


def banded_matrix(rows: int, columns: int, weights: np.ndarray) -> np.ndarray:
    """Returns `T` with `T[j + k, j] = weights[k]`, so that `signal @ T` filters the signal.

    Args:
        rows: Length of the signal. Weights that would fall below the last row are left out.
        columns: Length of the result.
        weights: Window of `n` values.

    Returns:
        Array of shape `(rows, columns)`, float32.
    """
    tap = np.arange(rows)[:, None] - np.arange(columns)[None, :]
    inside = (tap >= 0) & (tap < len(weights))
    return np.where(inside, weights[np.clip(tap, 0, len(weights) - 1)], 0).astype("float32")


def _matmul(planes: Tensor, weights: np.ndarray) -> Tensor:
    """Filters the last axis, of known length, with one product of rank 2.

    Rank 2 because TensorFlow 2.19 to 2.21 on CPUs corrupts memory in products of higher rank with a
    broadcast operand (tensorflow issues 117700, 123109).
    """
    count, height, length = ops.shape(planes)
    valid = _valid_length(length, weights)
    matrix = ops.convert_to_tensor(banded_matrix(length, valid, weights))
    rows = ops.matmul(ops.reshape(planes, (-1, length)), matrix)  # (N M, L) @ (L, L') -> (N M, L')
    return ops.reshape(rows, (count, height, valid))


def _polyphase(planes: Tensor, weights: np.ndarray) -> Tensor:
    """Filters the last axis as a two-tap convolution over blocks of pixels taken as channels.

    An output block depends on its own input block and on the first `n - 1` pixels of the next.
    """
    count, height, length = ops.shape(planes)
    block = max(POLYPHASE_BLOCK, len(weights) - 1)
    valid = _valid_length(length, weights)
    # Output blocks; there is one more input block. At least one, also where the window never fits:
    # TensorFlow's CPU build may return values where an input is smaller than the kernel.
    blocks = _at_least((valid + block - 1) // block, 1)
    padding = ops.zeros((count, height, (blocks + 1) * block - length), "float32")
    padded = ops.concatenate([planes, padding], axis=2)
    phases = ops.reshape(padded, (count, height, blocks + 1, block))  # (N, M, L / block, block)
    kernel = banded_matrix(2 * block, block, weights).reshape(1, 2, block, block)
    filtered = ops.conv(phases, kernel, padding="valid", data_format="channels_last")
    return ops.reshape(filtered, (count, height, blocks * block))[:, :, :valid]


def _shifted(planes: Tensor, weights: np.ndarray) -> Tensor:
    """Filters the last axis as a weighted sum of shifted copies, in float32 on every device."""
    valid = _valid_length(ops.shape(planes)[2], weights)
    total = float(weights[0]) * planes[:, :, :valid]
    for shift, weight in enumerate(weights[1:], start=1):
        total = total + float(weight) * planes[:, :, shift : shift + valid]
    return total


def _valid_length(length: Any, weights: np.ndarray) -> Any:
    """Returns how often the window fits: an `int` if `length` is one; 0 where it never does."""
    return _at_least(length - len(weights) + 1, 0)


def _at_least(value: Any, least: int) -> Any:
    """The larger of both: an `int` if `value` is one."""
    return max(value, least) if isinstance(value, int) else ops.maximum(value, least)
