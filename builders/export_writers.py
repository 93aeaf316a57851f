"""One function for each format: a model in memory becomes a file or a folder."""

import logging
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from architectures.deployment import Deployed
from architectures.stack import one_line
from builders.errors import RunError
from builders.export_quiet import chatter_held_back
from constants.defaults import FLOAT_BYTES

ENDPOINT = "serve"
ONNX_OPSET = 18
"""ai.onnx 18 (2022): the newest that tf2onnx writes; ONNX Runtime reads it from 1.14 on."""

FILE_BYTES_MAX = 2**31 - 2**24
"""Weights in one ONNX or LiteRT file: it ends at 2 GiB, and the graph needs some of that."""


class CannotConvertError(RunError):
    """A model that a format can't hold."""


def write_model(model: Deployed, format_name: str, path: Path) -> None:
    """Writes a model; what libraries have to say on the way is held back.

    Args:
        model: built.
        format_name: a key of `builders.export_formats.FORMATS`.
        path: does not exist; its name ends in the format's suffix.

    Raises:
        CannotConvertError: the format lacks something that the model needs.
    """
    with chatter_held_back():
        try:
            WRITERS[format_name](model, path)
        except _tensorflow_errors() as error:
            raise RunError(f"{path}: can't be written: {one_line(error)}") from None


def _tensorflow_errors() -> tuple[type[Exception], ...]:
    """Its own errors, for a full disk or a folder that is write-protected."""
    if keras.backend.backend() != "tensorflow":
        return ()
    import tensorflow as tf

    return (tf.errors.OpError,)


def _no_operation(title: str, names: Iterable[str], reason: str = "") -> CannotConvertError:
    if names:
        reason = f"no operation for {', '.join(sorted(set(names)))}"
    return CannotConvertError(f"{title} can't hold this model: {reason}")


def write_saved_model(model: Deployed, path: Path) -> None:
    """A TensorFlow SavedModel folder with the endpoint `serve`."""
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(ENDPOINT, model.call, [model.signature()])
    archive.write_out(path, verbose=False)


def write_litert(model: Deployed, path: Path) -> None:
    """A LiteRT (TensorFlow Lite) file with the signature `serve`, of built-in operations only.

    Operations that need TensorFlow's "flex" delegate are refused: hardly any device has it.
    """
    import tensorflow as tf
    from tensorflow.lite.python.convert import ConverterError

    _check_size(model, "LiteRT")
    with tempfile.TemporaryDirectory() as folder:
        write_saved_model(model, Path(folder))
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[ENDPOINT])
        try:
            content = converter.convert()
        except ConverterError as error:
            missing = re.findall(r"(?:TF Select|Custom) ops: (.*)", str(error))
            raise _no_operation("LiteRT", missing, one_line(error)) from None
    path.write_bytes(content)


def write_keras(model: Deployed, path: Path) -> None:
    """A `.keras` file; loading it needs this project's classes."""
    model.save(path)


def write_onnx(model: Deployed, path: Path) -> None:
    """An ONNX file whose tensors and free axes have names."""
    import onnx

    _check_size(model, "ONNX")
    if keras.backend.backend() == "tensorflow":
        proto = _onnx_of_tensorflow(model)
    else:
        proto = _onnx_of_jax(model, path)
    known = ("", "ai.onnx")
    missing = {
        node.op_type
        for node in proto.graph.node
        if node.domain in known and not onnx.defs.has(node.op_type)
    }
    if missing:
        raise _no_operation("ONNX", missing)
    _rename_output(proto.graph, model.output_name)
    for value in (proto.graph.input[0], proto.graph.output[0]):
        # A name of its own for each tensor: axes of one name are taken to be equally long.
        names = ("batch", f"{value.name}_height", f"{value.name}_width")
        for name, axis in zip(names, value.type.tensor_type.shape.dim, strict=False):
            if not axis.dim_value:
                axis.dim_param = name
    onnx.checker.check_model(proto)
    onnx.save(proto, path)


def _onnx_of_tensorflow(model: Deployed) -> Any:
    import tensorflow as tf
    import tf2onnx

    signature = model.signature()
    spec = tf.TensorSpec(signature.shape, signature.dtype, name=signature.name)
    with _functions_inlined(), _errors_of("tf2onnx") as errors:
        proto, _ = tf2onnx.convert.from_function(
            tf.function(model.call, input_signature=[spec], autograph=False),
            [spec],
            opset=ONNX_OPSET,
            custom_op_handlers={"Erfc": (_erfc, [])},
        )
    if errors:  # it goes on after an error and leaves a part of the model out
        missing = re.findall(r": (\w+)\] is not supported", "\n".join(errors))
        raise _no_operation("ONNX", missing, errors[0])
    return proto


@contextmanager
def _errors_of(logger_name: str) -> Iterator[list[str]]:
    """The first lines of what a library logs as errors, instead of on the screen."""
    errors: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: errors.append(record.getMessage().splitlines()[0])  # type: ignore[method-assign]
    logger = logging.getLogger(logger_name)
    propagates = logger.propagate
    logger.propagate = False
    logger.addHandler(handler)
    try:
        yield errors
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates


@contextmanager
def _functions_inlined() -> Iterator[None]:
    """Traces without inner tf.functions: tf2onnx can't look into Keras' grouped convolution."""
    import tensorflow as tf

    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


def _erfc(graph: Any, node: Any, name: str, _: Any) -> Any:
    """erfc(x) = 1 - erf(x), which GELU needs and ONNX lacks."""
    graph.remove_node(node.name)
    erf = graph.make_node("Erf", [node.input[0]]).output[0]
    one = graph.make_const(f"{name}_one", np.array(1.0, np.float32)).output[0]
    return graph.make_node("Sub", [one, erf], outputs=node.output, name=name)


def _onnx_of_jax(model: Deployed, path: Path) -> Any:
    import onnx
    from jax.errors import JAXTypeError

    free = None in model.served_shape[1:]
    try:
        model.export(path, format="onnx", verbose=False, input_signature=[model.signature()])
    except (TypeError, ValueError, NotImplementedError, JAXTypeError) as error:
        hint = "; --size HEIGHT,WIDTH exports one size, TensorFlow free ones" if free else ""
        reason = f"jax2onnx can't write this model: {one_line(error)}{hint}"
        raise CannotConvertError(reason) from error
    return onnx.load(path)


def _rename_output(graph: Any, new: str) -> None:
    old = graph.output[0].name
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    if new in taken or any(each.name == new for each in graph.input):
        return
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == old:
                    names[index] = new
    graph.output[0].name = new


def _check_size(model: Deployed, title: str) -> None:
    total = FLOAT_BYTES * model.count_params()
    if total > FILE_BYTES_MAX:
        raise CannotConvertError(
            f"{title} can't hold this model: {total:,} bytes of weights, at most "
            f"{FILE_BYTES_MAX:,} fit in one file; --format saved_model has no such limit"
        )


WRITERS: Mapping[str, Callable[[Deployed, Path], None]] = {
    "saved_model": write_saved_model,
    "onnx": write_onnx,
    "litert": write_litert,
    "keras": write_keras,
}
