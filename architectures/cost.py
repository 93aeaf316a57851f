"""What a layer costs: parameters and multiply-accumulates per image."""

import math
from typing import Any

import keras


def parameters(layer: keras.layers.Layer) -> int:
    """Numbers in the weights of a layer, trained or not; Keras counts no random seeds there."""
    return sum(math.prod(weight.shape) for weight in layer.weights)


def multiply_accumulates(
    layer: keras.layers.Layer, input_shape: tuple[Any, ...], output_shape: tuple[Any, ...]
) -> int:
    """Multiply-accumulates of one image through one layer.

    Convolutions and dense layers count their kernels once per place they are applied at; bias,
    activation, pooling and normalisation are left out, as is usual.

    Args:
        layer: a built layer.
        input_shape: (B, ...) with every size after the batch known.
        output_shape: (B, ...) likewise.
    """
    inner = inner_layers(layer)
    if inner:
        shape, total = input_shape, 0
        for each in inner:
            after = tuple(each.compute_output_shape(shape))
            total += multiply_accumulates(each, shape, after)
            shape = after
        return total
    name = type(layer).__name__
    if name == "Conv2DTranspose":
        places = math.prod(input_shape[1:3])  # each input place spreads the whole kernel
        return places * math.prod(layer.kernel.shape)
    if name == "SeparableConv2D":
        places = math.prod(output_shape[1:3])
        return places * sum(
            math.prod(kernel.shape) for kernel in (layer.depthwise_kernel, layer.pointwise_kernel)
        )
    if name in ("Conv2D", "DepthwiseConv2D"):
        return math.prod(output_shape[1:3]) * math.prod(layer.kernel.shape)
    if name == "BlockTransform":
        return math.prod(output_shape[1:3]) * math.prod(layer.kernel.shape)
    if name == "InverseBlockTransform":
        return math.prod(input_shape[1:3]) * math.prod(layer.kernel.shape)
    if name == "GDN":
        return math.prod(input_shape[1:-1]) * math.prod(layer.gamma_root.shape)
    if name == "BlockDense":
        return math.prod(layer.kernel.shape)
    if name == "Dense":
        return math.prod(input_shape[1:-1]) * math.prod(layer.kernel.shape)
    return 0


def inner_layers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layers a composite layer runs one after the other; empty for a plain layer."""
    if hasattr(layer, "branch"):
        return list(layer.branch)
    if hasattr(layer, "dense"):
        return [layer.dense]
    if isinstance(layer, keras.layers.Wrapper):
        return [layer.layer]
    return []
