"""Runs exported models, one class a format. Only the format's own runtime is imported."""

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from builders.errors import RunError, UserError
from builders.export_formats import FORMATS, format_of, installed, pip_install
from builders.export_quiet import chatter_held_back

Shape = tuple[int | None, ...]
HINT_LENGTH = 300


class CannotRunError(RunError):
    """A model that refused its input."""


class Runner:
    """An exported model: one array in, one array out.

    Attributes:
        path: of the model.
        input_shape: (B, ...) with None where free.
        input_dtype: `uint8`, `float32`, ...
        output_shape: (B, ...) with None where free.
        output_dtype: likewise.
    """

    path: Path
    input_shape: Shape
    input_dtype: str
    output_shape: Shape
    output_dtype: str

    def run(self, array: np.ndarray) -> np.ndarray:
        """What the model makes of an array.

        Raises:
            CannotRunError: it refuses the array, or memory is not enough.
        """
        try:
            return np.asarray(self._run(array))
        except MemoryError:
            raise CannotRunError(f"there is not enough memory for {_sides(array)}") from None
        except self._failures() as error:
            if "alloc" in str(error).lower() or "memory" in str(error).lower():
                raise CannotRunError(f"there is not enough memory for {_sides(array)}") from None
            raise CannotRunError(f"the model refuses {_sides(array)}: {_short(error)}") from None

    def _run(self, array: np.ndarray) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not run")

    def _failures(self) -> tuple[type[BaseException], ...]:
        return (ValueError, TypeError, RuntimeError)


def open_runner(path: Path) -> Runner:
    """Loads an exported model.

    Raises:
        UserError: it is none, it is damaged, or its runtime is not installed.
    """
    export_format = format_of(path)
    if export_format is None:
        suffixes = ", ".join(each.suffix for each in FORMATS.values() if each.suffix)
        expected = f"expected a SavedModel folder or {suffixes}"
        raise UserError(f"{path}: not an exported model; {expected}")
    with chatter_held_back():
        try:
            return _RUNNERS[export_format.name](path)
        except ImportError as error:
            raise UserError(
                f"{path}: running {export_format.title} files needs {error.name}, which is not "
                f"installed: {pip_install(_requirements(str(error.name)))}"
            ) from None


def _requirements(package: str) -> str:
    return "requirements.txt" if package in ("tensorflow", "keras") else "requirements-export.txt"


class _SavedModelRunner(Runner):
    def __init__(self, path: Path) -> None:
        import tensorflow as tf

        self.path = path
        self._tf = tf
        failures = (OSError, ValueError, KeyError, AttributeError, tf.errors.OpError)
        with _damage(path, failures):
            self._model = tf.saved_model.load(path)
            signatures = self._model.signatures
            name = "serve" if "serve" in signatures else "serving_default"
            if name not in signatures:
                raise ValueError(f'no signature "serve"; found: {", ".join(signatures) or "none"}')
            self._function = signatures[name]
            inputs = self._function.structured_input_signature[1]
            outputs = self._function.structured_outputs
            ((self._input, taken),) = inputs.items()
            ((self._output, given),) = outputs.items()
            self.input_shape, self.input_dtype = tuple(taken.shape), taken.dtype.name
            self.output_shape, self.output_dtype = tuple(given.shape), given.dtype.name

    def _run(self, array: np.ndarray) -> Any:
        tensor = self._tf.convert_to_tensor(array)
        return self._function(**{self._input: tensor})[self._output].numpy()

    def _failures(self) -> tuple[type[BaseException], ...]:
        return (*super()._failures(), self._tf.errors.OpError)


class _OnnxRunner(Runner):
    def __init__(self, path: Path) -> None:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as state

        self.path = path
        # Its errors share no base class but Exception.
        self._errors = tuple(
            error
            for error in vars(state).values()
            if isinstance(error, type) and issubclass(error, Exception)
        )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what is fatal also comes as an exception
        with _damage(path, (*self._errors, OSError, ValueError, RuntimeError)):
            available = onnxruntime.get_available_providers()
            providers = [each for each in available if not each.startswith("Azure")]
            self._session = onnxruntime.InferenceSession(path, options, providers=providers)
            (taken,), (given,) = self._session.get_inputs(), self._session.get_outputs()
            self._input = taken.name
            self.input_shape, self.input_dtype = _onnx_shape(taken.shape), _onnx_dtype(taken.type)
            self.output_shape, self.output_dtype = _onnx_shape(given.shape), _onnx_dtype(given.type)

    def _run(self, array: np.ndarray) -> Any:
        return self._session.run(None, {self._input: array})[0]

    def _failures(self) -> tuple[type[BaseException], ...]:
        return (*super()._failures(), *self._errors)


def _onnx_shape(shape: Any) -> Shape:
    return tuple(side if isinstance(side, int) else None for side in shape)


def _onnx_dtype(name: str) -> str:
    inner = name.removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64"}.get(inner, inner)


class _LiteRTRunner(Runner):
    def __init__(self, path: Path) -> None:
        if installed("ai_edge_litert"):
            interpreter = importlib.import_module("ai_edge_litert.interpreter").Interpreter
        elif installed("tensorflow"):
            interpreter = importlib.import_module("tensorflow").lite.Interpreter
        else:
            raise ImportError("no LiteRT runtime", name="ai_edge_litert")
        self.path = path
        with _damage(path, (OSError, ValueError, RuntimeError)):
            self._interpreter = interpreter(str(path), num_threads=os.cpu_count())
            (taken,) = self._interpreter.get_input_details()
            (given,) = self._interpreter.get_output_details()
            self._input, self._output = taken["index"], given["index"]
            self.input_shape, self.input_dtype = _litert_shape(taken), taken["dtype"].__name__
            self.output_shape, self.output_dtype = _litert_shape(given), given["dtype"].__name__
        self._allocated: Shape = ()

    def _run(self, array: np.ndarray) -> Any:
        if array.shape != self._allocated:
            self._allocated = ()
            with chatter_held_back():  # it names its delegate
                self._interpreter.resize_tensor_input(self._input, array.shape, strict=True)
                self._interpreter.allocate_tensors()
            self._allocated = array.shape
        self._interpreter.set_tensor(self._input, array)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output)


def _litert_shape(details: Any) -> Shape:
    return tuple(None if side == -1 else int(side) for side in details["shape_signature"])


class _KerasRunner(Runner):
    def __init__(self, path: Path) -> None:
        import zipfile

        import keras

        from architectures import register_all
        from architectures.deployment import Deployed

        register_all()
        self.path = path
        failures = (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile, AttributeError)
        with _damage(path, failures):
            model = keras.saving.load_model(path, compile=False)
        if not isinstance(model, Deployed):
            raise UserError(f"{path}: a {type(model).__name__}, not a model that exporter.py wrote")
        self._model = model
        given = model.result_of(model.served_shape)
        self.input_shape, self.input_dtype = tuple(model.served_shape), model.input_dtype
        self.output_shape, self.output_dtype = tuple(given.shape), given.dtype

    def _run(self, array: np.ndarray) -> Any:
        return self._model.predict_on_batch(array)

    def _failures(self) -> tuple[type[BaseException], ...]:
        import keras

        if keras.backend.backend() != "tensorflow":
            return super()._failures()
        import tensorflow as tf

        return (*super()._failures(), tf.errors.OpError)


_RUNNERS = {
    "saved_model": _SavedModelRunner,
    "onnx": _OnnxRunner,
    "litert": _LiteRTRunner,
    "keras": _KerasRunner,
}


@contextmanager
def _damage(path: Path, failures: tuple[type[BaseException], ...]) -> Iterator[None]:
    try:
        yield
    except failures as error:
        raise UserError(f"{path}: can't be loaded: {_short(error)}") from None


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text[:HINT_LENGTH] or type(error).__name__


def _sides(array: np.ndarray) -> str:
    return "x".join(str(side) for side in array.shape) + f" {array.dtype}"
