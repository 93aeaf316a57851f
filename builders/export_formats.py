"""The kinds of file a model is exported to. Imports nothing heavy."""

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from builders.errors import UserError


@dataclass(frozen=True)
class ExportFormat:
    """One kind of exported model.

    Attributes:
        name: as `--format` takes it.
        title: in words.
        suffix: of its single file; empty for a folder.
        runtime: the package that runs it.
    """

    name: str
    title: str
    suffix: str
    runtime: str


FORMATS: Mapping[str, ExportFormat] = {
    each.name: each
    for each in (
        ExportFormat("saved_model", "TensorFlow SavedModel", "", "tensorflow"),
        ExportFormat("onnx", "ONNX", ".onnx", "onnxruntime"),
        ExportFormat("litert", "LiteRT", ".tflite", "ai_edge_litert"),
        ExportFormat("keras", "Keras", ".keras", "keras"),
    )
}

MODES: Mapping[str, tuple[str, ...]] = {
    "full": ("full",),
    "encoder-decoder": ("encoder", "decoder"),
    "codec": ("codec",),
}
"""Parts that each mode of exporter.py writes."""

BUNDLE = ExportFormat("bundle", "codec bundle", "", "constriction")
"""What `--mode codec` writes: a folder that compress.py and decompress.py read."""

SAVED_MODEL_FILE = "saved_model.pb"
BUNDLE_FILE = "bundle.json"
"""What tells an exported folder from any other."""


def installed(package: str) -> bool:
    """Whether a package could be imported."""
    return importlib.util.find_spec(package) is not None


def runs_here(export_format: ExportFormat) -> bool:
    """Whether models of a format can be run with what is installed."""
    # TensorFlow, which writes LiteRT files, can also run them.
    fallback = export_format.name == "litert" and installed("tensorflow")
    return fallback or installed(export_format.runtime)


def pip_install(*files: str) -> str:
    """The command that installs requirements files into this Python."""
    return f"{sys.executable} -m pip install " + " ".join(f"-r {file}" for file in files)


def format_of(path: Path) -> ExportFormat | None:
    """The format of an exported model, read off its name; None for anything else."""
    if path.is_dir():
        return FORMATS["saved_model"] if (path / SAVED_MODEL_FILE).is_file() else None
    for each in FORMATS.values():
        if each.suffix and path.suffix.lower() == each.suffix:
            return each
    return None


def choose_export_backend(export_format: ExportFormat) -> str | None:
    """The Keras backend that a format must be written with; None where any will do.

    Weights and specs are the same under every backend, so TensorFlow is taken wherever it is
    installed, whatever the model was trained with.

    Raises:
        UserError: a package is missing; the message says how to get it.
    """
    if export_format.name == "keras":
        return None
    if installed("tensorflow"):
        if export_format.name == "onnx":
            _require(("tf2onnx", "onnx"), export_format, pip_install("requirements-export.txt"))
        return "tensorflow"
    if export_format.name == "onnx" and installed("jax2onnx"):
        return "jax"
    hint = pip_install("requirements.txt")
    if export_format.name == "onnx":
        hint += " -r requirements-export.txt (jax2onnx also writes models of fixed size)"
    raise UserError(
        f"--format {export_format.name}: {export_format.title} files are written by TensorFlow, "
        f"which is not installed: {hint}; --format keras needs no TensorFlow"
    )


def _require(packages: tuple[str, ...], export_format: ExportFormat, hint: str) -> None:
    missing = [package for package in packages if not installed(package)]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise UserError(
            f"--format {export_format.name}: {' and '.join(missing)} {verb} not installed: {hint}"
        )
