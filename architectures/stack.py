"""A chain of layers that knows which of them failed: body of encoder, decoder, discriminator."""

import re
from collections.abc import Sequence
from typing import Any

import keras


def _backend_errors() -> tuple[type[Exception], ...]:
    """Errors of the backend that are none of Python's; JAX' are RuntimeErrors."""
    if keras.backend.backend() != "tensorflow":
        return ()
    from tensorflow.errors import OpError

    return (OpError,)


LAYER_ERRORS: tuple[type[Exception], ...] = (
    *(ValueError, TypeError, ArithmeticError, LookupError, AttributeError),
    *(RuntimeError, AssertionError),
    *_backend_errors(),
)
"""What Keras' layers raise at arguments or inputs they can't take."""

_STYLE = re.compile(r"\x1b\[[0-9;]*m")


class LayerError(ValueError):
    """A layer that does not fit behind the one before it.

    Attributes:
        index: its place in the stack.
        reason: one line in Keras' words.
    """

    def __init__(self, index: int, layer_name: str, input_shape: Any, reason: str) -> None:
        self.index = index
        self.reason = reason
        self.input_shape = input_shape
        super().__init__(f"layer {index} ({layer_name}) on input {input_shape}: {reason}")


class LayerStack(keras.Model):
    """Layers called one after the other.

    A layer with `returns_aux = True` returns (output, aux): what it tells the losses beside its
    output (a posterior, likelihoods). The stack returns its own output and all aux together.

    Args:
        stack: the layers, in order.
    """

    returns_aux = True

    def __init__(self, stack: Sequence[keras.layers.Layer], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stack = list(stack)
        self.output_shapes: list[tuple[int | None, ...]] = []

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        x = keras.KerasTensor(tuple(input_shape))
        self.output_shapes = []
        for index, layer in enumerate(self.stack):
            before = tuple(x.shape)
            try:
                x, _ = _split(layer, layer(x))
            except LAYER_ERRORS as error:
                raise LayerError(index, layer.name, before[1:], one_line(error)) from error
            shape = tuple(x.shape)
            if any(side is not None and side < 1 for side in shape):
                reason = f"nothing is left: its output would be {shape[1:]}"
                raise LayerError(index, layer.name, before[1:], reason)
            self.output_shapes.append(shape)
        self.built = True

    def call(self, x: Any, training: bool | None = None) -> tuple[Any, dict[str, Any]]:
        aux: dict[str, Any] = {}
        for layer in self.stack:
            x, told = _split(layer, layer(x))
            aux.update(told)
        return x, aux

    def get_config(self) -> dict[str, Any]:
        stack = [keras.saving.serialize_keras_object(layer) for layer in self.stack]
        return {"name": self.name, "stack": stack}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "LayerStack":
        config = dict(config)
        for key in ("stack", "preprocessing"):
            if key in config:
                config[key] = [
                    keras.saving.deserialize_keras_object(layer, custom_objects)
                    for layer in config[key]
                ]
        if "prediction" in config:
            config["prediction"] = keras.saving.deserialize_keras_object(
                config["prediction"], custom_objects
            )
        return cls(**config)


def _split(layer: keras.layers.Layer, result: Any) -> tuple[Any, dict[str, Any]]:
    return result if getattr(layer, "returns_aux", False) else (result, {})


def one_line(error: BaseException) -> str:
    """The message of a Keras error in one line, without the call trace that Keras adds."""
    text = _STYLE.sub("", str(error).split("Arguments received by")[0])
    lines = [line.strip() for line in text.splitlines()]
    told = [line for line in lines if not line.startswith("Exception encountered when calling")]
    words = " ".join(" ".join(told).split())
    return f"{words[:297]}..." if len(words) > 300 else words or type(error).__name__
