"""Shapes and sizes of a model before any weight is made."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import keras

from architectures.blocks import BlockDense
from architectures.cost import inner_layers
from architectures.factorized_prior import DeepFactorized
from architectures.gdn import GDN
from architectures.stack import LAYER_ERRORS, one_line
from builders.problems import ProblemList
from constants.defaults import MODEL_MAX_PARAMETERS

MAX_ACTIVATIONS = 2**31
"""Numbers in one layer's output for one image; beyond it the backends' index arithmetic fails."""


def output_shapes(layers: Sequence[keras.layers.Layer], shape: Any) -> list[tuple[Any, ...]]:
    """Shape (B, ...) behind each layer for an input of the given shape."""
    shapes = []
    for layer in layers:
        shape = tuple(_after(layer, shape))
        shapes.append(shape)
    return shapes


def _after(layer: keras.layers.Layer, shape: Any) -> Any:
    if getattr(layer, "returns_aux", False):  # Keras has one shape for (output, aux)
        return (*shape[:-1], layer.units)
    return layer.compute_output_shape(shape)


class SizeGuard:
    """Follows shapes through the stacks of a model and adds up the weights they will make.

    Args:
        problems: takes the layer that does not fit, or that is too large.
    """

    def __init__(self, problems: ProblemList) -> None:
        self._problems = problems
        self._parameters = 0

    def follow(
        self, layers: Sequence[keras.layers.Layer], shape: Any, path: str
    ) -> tuple[Any, ...] | None:
        """Follows a shape through one stack.

        Args:
            layers: not yet built.
            shape: (1, ...) of what goes in, every size known.
            path: of the stack in the spec.

        Returns:
            The shape that comes out; None when a problem was found.
        """
        for index, layer in enumerate(layers):
            after = self._behind(layer, tuple(shape), f"{path}[{index}].{type(layer).__name__}")
            if after is None:
                return None
            shape = after
        return tuple(shape)

    def count(self, layer: keras.layers.Layer, shape: Any, path: str) -> None:
        """Counts the weights of one more layer, not yet built, for an input of this shape."""
        self._parameters += _weights(layer, tuple(shape))
        reason = self._objection(tuple(shape), tuple(shape))
        if reason:
            self._problems.add(path, reason)

    def _behind(
        self, layer: keras.layers.Layer, shape: tuple[Any, ...], where: str
    ) -> tuple[Any, ...] | None:
        wants = getattr(layer, "input_spec", None)
        if len(shape) != 4 and 4 in (getattr(wants, "ndim", 0), getattr(wants, "min_ndim", 0)):
            self._problems.add(
                where, f"needs height, width and channels as its input, found {sides(shape)}"
            )
            return None
        inside = shape
        for inner, at in _inner_places(layer):
            behind = self._behind(inner, inside, f"{where}{at}")
            if behind is None:
                return None
            inside = behind
        try:
            after = tuple(_after(layer, shape))
            if not any(True for _ in _inner_places(layer)):  # those inside have been counted
                self._parameters += _weights(layer, shape)
        except LAYER_ERRORS as error:
            reason = f"does not fit its input {sides(shape)}: {one_line(error)}"
            self._problems.add(where, reason)
            return None
        reason = self._objection(shape, after)
        if reason:
            self._problems.add(where, reason)
        return None if reason else after

    def _objection(self, shape: tuple[Any, ...], after: tuple[Any, ...]) -> str:
        if any(side is None for side in after):
            return f"gives an output of unknown size ({sides(after)}) for an input {sides(shape)}"
        if any(side < 1 for side in after):
            return f"leaves nothing of its input {sides(shape)}: its output would be {sides(after)}"
        if math.prod(after) > MAX_ACTIVATIONS:
            return f"its output {sides(after)} is too large; at most {MAX_ACTIVATIONS:,} numbers"
        if self._parameters > MODEL_MAX_PARAMETERS:
            return (
                f"brings the model to {self._parameters:,} parameters; "
                f"at most {MODEL_MAX_PARAMETERS:,} are built"
            )
        return ""


def sides(shape: Sequence[Any]) -> str:
    """(1, 28, 28, 3) as `28x28x3`."""
    return "x".join(str(side) for side in shape[1:])


def _inner_places(layer: keras.layers.Layer) -> Iterator[tuple[keras.layers.Layer, str]]:
    """The layers a spec names inside a layer, with where they stand there."""
    if hasattr(layer, "branch"):
        for index, inner in enumerate(layer.branch):
            yield inner, f".layers[{index}].{type(inner).__name__}"
    elif isinstance(layer, keras.layers.Wrapper):
        yield layer.layer, f".layer.{type(layer.layer).__name__}"


def _weights(layer: keras.layers.Layer, shape: tuple[Any, ...]) -> int:
    """Numbers in the weights a layer will make for this input."""
    inner = inner_layers(layer)
    if inner:
        return sum(_weights(each, shape) for each in inner)
    channels = shape[-1]
    if isinstance(layer, GDN):
        return int(channels * (channels + 1))
    if isinstance(layer, DeepFactorized):
        widths = (1, *layer.filters, 1)
        return int(channels * sum(after * (before + 2) for before, after in pairwise(widths)))
    if hasattr(layer, "units"):
        blocks = shape[1] if isinstance(layer, BlockDense) else 1
        return int(blocks * (channels + 1) * layer.units)
    if hasattr(layer, "kernel_size"):
        window = math.prod(layer.kernel_size)
        filters = getattr(layer, "filters", None) or 0
        depth = getattr(layer, "depth_multiplier", None)
        if depth is not None:  # depthwise, with a pointwise part where there are filters
            return int(channels * depth * (window + max(filters, 1)))
        return int(window * channels * filters // (getattr(layer, "groups", 1) or 1))
    if isinstance(layer, keras.layers.PReLU):
        shared = layer.shared_axes or ()
        return math.prod(side for axis, side in enumerate(shape) if axis and axis not in shared)
    axes = getattr(layer, "axis", ())  # normalizations: up to four numbers a place on their axes
    axes = (axes,) if isinstance(axes, int) else tuple(axes or ())
    return 4 * math.prod(shape[axis] for axis in axes) if axes else 0
