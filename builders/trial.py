"""Runs layers on shapes alone: what Keras' formulas for shapes miss is found before training."""

from collections.abc import Sequence
from typing import Any

import keras

from architectures.stack import LAYER_ERRORS, LayerStack, one_line
from builders.problems import ProblemList

Shape = tuple[int | None, ...]


class _Trial(keras.layers.Layer):
    """A layer without a formula for its output: the backend has to trace the call."""

    def __init__(self, layer: keras.layers.Layer) -> None:
        super().__init__(dtype=layer.dtype_policy)
        self.layer = layer

    def call(self, x: Any) -> Any:
        result = self.layer(x)
        return result[0] if getattr(self.layer, "returns_aux", False) else result


def try_stack(stack: LayerStack, shape: Shape, path: str, problems: ProblemList) -> None:
    """Traces each layer of a built stack; no numbers are computed.

    Args:
        stack: built.
        shape: (None, ...) of its input.
        path: of its layers in the spec.
        problems: takes each layer that fails, or gives another shape than it says.
    """
    for index, (layer, expected) in enumerate(zip(stack.stack, stack.output_shapes, strict=True)):
        where = f"{path}[{index}].{type(layer).__name__}"
        try:
            found = tuple(_Trial(layer)(keras.KerasTensor(tuple(shape))).shape)
        except LAYER_ERRORS as error:
            problems.add(where, f"fails on its input {_sides(shape)}: {one_line(_root(error))}")
            return
        if found != tuple(expected):
            problems.add(
                where,
                f"gives {_sides(found)} for its input {_sides(shape)}, where its arguments promise "
                f"{_sides(expected)}",
            )
            return
        shape = tuple(expected)


def _root(error: BaseException) -> BaseException:
    """What went wrong first; the backends and Keras wrap it in words of their own."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return error


def _sides(shape: Sequence[Any]) -> str:
    return "x".join("?" if side is None else str(side) for side in shape[1:])
