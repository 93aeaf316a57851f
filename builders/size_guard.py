"""Shapes and sizes of a stack before any weight is made."""

import math
from collections.abc import Sequence
from typing import Any

import keras

from architectures.cost import inner_layers
from architectures.stack import one_line
from builders.problems import ProblemList
from constants.defaults import MODEL_MAX_PARAMETERS

MAX_ACTIVATIONS = 2**31
"""Numbers in one layer's output for one image; beyond it index arithmetic of the backends fails."""


def output_shapes(layers: Sequence[keras.layers.Layer], shape: Any) -> list[tuple[Any, ...]]:
    """Shape (B, ...) behind each layer for an input of the given shape."""
    shapes = []
    for layer in layers:
        shape = tuple(_after(layer, shape))
        shapes.append(shape)
    return shapes


def _after(layer: keras.layers.Layer, shape: Any) -> Any:
    if getattr(layer, "returns_aux", False):
        return (*shape[:-1], layer.units)
    return layer.compute_output_shape(shape)


def check_sizes(
    layers: Sequence[keras.layers.Layer], shape: Any, path: str, problems: ProblemList
) -> tuple[Any, ...] | None:
    """Follows a shape through a stack.

    Args:
        layers: not yet built.
        shape: (1, ...) of what goes in.
        path: of the stack in the spec.
        problems: takes the layer that does not fit, or that is too large.

    Returns:
        The shape that comes out; None when a problem was found.
    """
    total = 0
    for index, layer in enumerate(layers):
        where = f"{path}[{index}].{type(layer).__name__}"
        sides = "x".join(str(side) for side in shape[1:])
        try:
            after = tuple(_after(layer, shape))
            total += _weights(layer, shape)
        except (ValueError, TypeError, ArithmeticError, IndexError) as error:
            problems.add(where, f"does not fit its input {sides}: {one_line(error)}")
            return None
        if any(side is not None and side < 1 for side in after):
            problems.add(
                where, f"leaves nothing of its input {sides}: its output would be {after[1:]}"
            )
            return None
        if math.prod(side or 1 for side in after) > MAX_ACTIVATIONS:
            problems.add(
                where, f"its output {after[1:]} is too large; at most {MAX_ACTIVATIONS} numbers"
            )
            return None
        if total > MODEL_MAX_PARAMETERS:
            problems.add(
                where,
                f"brings the stack to {total:,} parameters; at most {MODEL_MAX_PARAMETERS:,} are built",
            )
            return None
        shape = after
    return tuple(shape)


def _weights(layer: keras.layers.Layer, shape: Any) -> int:
    """Numbers in the kernel a layer will make for this input; small weights are not counted."""
    inner = inner_layers(layer)
    if inner:
        total = 0
        for each in inner:
            total += _weights(each, shape)
            shape = _after(each, shape)
        return total
    channels = shape[-1] or 1
    if hasattr(layer, "units"):
        return int(channels * layer.units)
    window = math.prod(getattr(layer, "kernel_size", ()) or ())
    if hasattr(layer, "filters") and layer.filters:
        return int(window * channels * layer.filters)
    return int(window * channels) if hasattr(layer, "kernel_size") else 0
