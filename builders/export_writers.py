"""One function for each format: a model in memory becomes a file or a folder."""

import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras

from architectures.deployment import Deployed
from architectures.stack import one_line
from builders.errors import RunError
from builders.export_quiet import chatter_held_back

ENDPOINT = "serve"
ONNX_OPSET = 18
"""ai.onnx 18 (2022): the newest that tf2onnx writes; runtimes from ONNX Runtime 1.14 on read it."""

AXIS_NAMES = ("batch", "height", "width")


class CannotConvert(RunError):
    """A model that a format can't hold."""


def write_saved_model(model: Deployed, path: Path) -> None:
    """A TensorFlow SavedModel folder with the endpoint `serve`."""
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(ENDPOINT, model.call, [model.signature()])
    archive.write_out(path, verbose=False)


def write_onnx(model: Deployed, path: Path) -> None:
    """An ONNX file whose tensors and free axes have the names of the deployed model."""
    import onnx

    try:
        model.export(
            path,
            format="onnx",
            verbose=False,
            input_signature=[model.signature()],
            opset_version=ONNX_OPSET,
        )
    except (ValueError, TypeError, RuntimeError, NotImplementedError, KeyError) as error:
        # jax2onnx refuses free sizes by one of JAX' own errors, all of them TypeErrors.
        free = None in model.served_shape[1:]
        hint = "; --size H,W exports it at one size" if free else ""
        raise CannotConvert(f"ONNX can't hold this model: {one_line(error)}{hint}") from error
    proto = onnx.load(path)
    _rename(proto.graph, proto.graph.output[0].name, model.output_name)
    _name_axes(proto.graph.input[0])
    _name_axes(proto.graph.output[0], model.served_shape)
    onnx.checker.check_model(proto, full_check=False)
    onnx.save(proto, path)


def _rename(graph: Any, old: str, new: str) -> None:
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    taken.update(each.name for each in (*graph.input, *graph.initializer))
    if new in taken:
        return
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == old:
                    names[index] = new
    for value in graph.output:
        if value.name == old:
            value.name = new


def _name_axes(value: Any, served: Any = None) -> None:
    """Free axes are called batch, height, width; tf2onnx numbers them."""
    axes = value.type.tensor_type.shape.dim
    names = AXIS_NAMES if served is None else AXIS_NAMES
    for name, axis in zip(names, axes, strict=False):
        if not axis.dim_value:
            axis.dim_param = name


def write_litert(model: Deployed, path: Path) -> None:
    """A LiteRT (TensorFlow Lite) file with the signature `serve`, of built-in operations only.

    Operations that need TensorFlow's "flex" delegate are refused: hardly any device has it.
    """
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        write_saved_model(model, Path(folder))
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[ENDPOINT])
        try:
            content = converter.convert()
        except Exception as error:
            if type(error).__name__ != "ConverterError":
                raise
            raise CannotConvert(f"LiteRT can't hold this model: {_missing(str(error))}") from None
    path.write_bytes(content)


def _missing(message: str) -> str:
    found = re.search(r"(?:TF Select|Custom) ops: (.*)", message)
    if found:
        return f"it has no operation for {found.group(1).strip()}"
    return " ".join(message.split())[:300]


def write_keras(model: Deployed, path: Path) -> None:
    """A `.keras` file; loading it needs this project's classes."""
    model.save(path)


WRITERS: Mapping[str, Callable[[Deployed, Path], None]] = {
    "saved_model": write_saved_model,
    "onnx": write_onnx,
    "litert": write_litert,
    "keras": write_keras,
}


def write(model: Deployed, format_name: str, path: Path) -> None:
    """Writes a model; what libraries have to say on the way is held back.

    Args:
        model: built.
        format_name: a key of `FORMATS`.
        path: does not exist; its name ends in the format's suffix.

    Raises:
        CannotConvert: the format lacks something that the model needs.
    """
    with chatter_held_back():
        WRITERS[format_name](model, path)
