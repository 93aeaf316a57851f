"""Keras layers of a hyper decoder as steps that have a form in whole numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from architectures.layers import DepthToSpace
from builders.errors import UserError
from codec.integer_network import MAX_KERNEL, MAX_STRIDE, IntegerLayer

Array = NDArray[np.float64]

SUPPORTED = (
    "Conv2D of stride 1 and Conv2DTranspose with padding same, ReLU, LeakyReLU, Activation of "
    "those, DepthToSpace, and UpSampling2D of the nearest pixel, with kernels up to "
    f"{MAX_KERNEL}, strides and factors up to {MAX_STRIDE}"
)


@dataclass(frozen=True)
class Step:
    """A layer in real numbers: what `IntegerLayer` is in whole ones.

    Attributes:
        layer: with its kernel in float64.
        bias: of a convolution; None for layers that only move numbers.
        slope: of the activation below zero; 1 for none.
    """

    layer: IntegerLayer
    bias: Array | None
    slope: float = 1.0


def steps_of(stack: Sequence[Any], path: str) -> list[Step]:
    """The layers one by one, activations joined to the convolution before them.

    Args:
        stack: the layers, with their weights.
        path: of the stack in the spec, for messages.

    Raises:
        UserError: a layer has no form in whole numbers.
    """
    steps: list[Step] = []
    for index, layer in enumerate(stack):
        where = f"{path}[{index}].{type(layer).__name__}"
        slope = _slope(layer)
        if slope is not None:
            if not 0.0 <= slope <= 1.0:
                raise _refused(where, f"a slope of {slope:g}; 0 to 1 are possible")
            if not steps or steps[-1].bias is None or steps[-1].slope != 1.0:
                raise _refused(where, "an activation must follow a convolution without one")
            steps[-1] = replace(steps[-1], slope=slope)
            continue
        step = _step(layer)
        if step is None:
            raise _refused(where, f"supported are {SUPPORTED}")
        steps.append(step)
    if not steps or steps[-1].bias is None or steps[-1].slope != 1.0:
        raise _refused(path, "the last layer must be a convolution without activation")
    return steps


def _refused(where: str, why: str) -> UserError:
    return UserError(
        f"{where}: has no form in whole numbers, which decoding the same on every machine needs: "
        f"{why}"
    )


def _step(layer: Any) -> Step | None:
    if isinstance(layer, DepthToSpace):
        whole = IntegerLayer("depth_to_space", layer.block_size)
        return Step(whole, None) if layer.block_size <= MAX_STRIDE else None
    if isinstance(layer, keras.layers.UpSampling2D):
        rows, columns = layer.size
        plain = rows == columns <= MAX_STRIDE
        plain = plain and layer.interpolation == "nearest" and _last(layer)
        return Step(IntegerLayer("upsample", rows), None) if plain else None
    transposed = type(layer) is keras.layers.Conv2DTranspose
    if not transposed and type(layer) is not keras.layers.Conv2D:
        return None
    stride = layer.strides[0]
    plain = (
        layer.padding == "same"
        and layer.strides == (stride, stride)
        and tuple(layer.dilation_rate) == (1, 1)
        and getattr(layer, "groups", 1) == 1
        and _last(layer)
        and (stride <= MAX_STRIDE if transposed else stride == 1)
        and max(layer.kernel_size) <= MAX_KERNEL
        and getattr(layer, "output_padding", None) is None
    )
    slope = _activation_slope(layer.activation)
    if not plain or slope is None:
        return None
    kernel = keras.ops.convert_to_numpy(layer.kernel).astype(np.float64)
    if transposed:
        kernel = kernel.swapaxes(2, 3)  # Keras keeps (kh, kw, outputs, inputs)
    bias = np.zeros(kernel.shape[3])
    if layer.use_bias:
        bias = keras.ops.convert_to_numpy(layer.bias).astype(np.float64)
    kind = "conv_transpose" if transposed else "conv"
    return Step(IntegerLayer(kind, stride, kernel=kernel), bias, slope)  # type: ignore[arg-type]


def _last(layer: Any) -> bool:
    return layer.data_format == "channels_last"


def _slope(layer: Any) -> float | None:
    """The slope below zero of a layer that is an activation; None for other layers."""
    if isinstance(layer, keras.layers.LeakyReLU):
        return float(layer.negative_slope)
    if isinstance(layer, keras.layers.ReLU):
        plain = layer.max_value is None and not layer.threshold
        return float(layer.negative_slope) if plain else None
    if isinstance(layer, keras.layers.Activation):
        return _activation_slope(layer.activation)
    return None


def _activation_slope(activation: Any) -> float | None:
    known = {
        keras.activations.linear: 1.0,
        keras.activations.relu: 0.0,
        keras.activations.leaky_relu: 0.2,
    }
    return known.get(activation)
