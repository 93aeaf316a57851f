"""What is known about an exported model beyond what its own file says. Imports nothing heavy.

It stands in `export.json` inside a SavedModel's folder, in `<file>.json` beside a single file. An
exported model runs without it: sizes are then found by trying, and pairs are not checked.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from builders.errors import UserError

INFO_VERSION = 1
PARTS = ("encoder", "decoder", "full")
Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class SideRule:
    """Good sizes along one side of an image: first, first + step, first + 2 step, ...

    Attributes:
        first: smallest size in pixels.
        step: from one size to the next, in pixels.
    """

    first: int
    step: int

    def at_least(self, size: int) -> int:
        """The smallest good size that is not below `size`."""
        return self.first + max(0, -(-(size - self.first) // self.step)) * self.step


@dataclass(frozen=True)
class ExportInfo:
    """One exported file or folder.

    Attributes:
        name: of the spec.
        part: `encoder`, `decoder` or `full`.
        format: `saved_model`, `onnx`, ...
        training: tells which spec and weights it came from; encoder and decoder of one training
            have the same.
        input_shape: (B, ...) with None where free.
        input_dtype: `uint8` or `float32`.
        output_shape: likewise.
        output_dtype: likewise.
        heights: image heights that come back as they went in; None where fixed or not known.
        widths: the same for widths.
        difference: largest difference from the Keras model that was measured at export, in
            latents or levels; None where it was not measured.
        versions: of the packages that wrote it.
    """

    name: str
    part: str
    format: str
    training: str
    input_shape: Shape
    input_dtype: str
    output_shape: Shape
    output_dtype: str
    heights: SideRule | None
    widths: SideRule | None
    difference: float | None
    versions: Mapping[str, str]

    def to_json(self) -> str:
        """As text for the file."""
        return json.dumps({"export_version": INFO_VERSION, **asdict(self)}, indent=2) + "\n"


def info_path(model: Path, *, folder: bool) -> Path:
    """Where the information on an exported model stands.

    Args:
        model: path of the model.
        folder: whether the model is a folder or a single file.
    """
    return model / "export.json" if folder else model.with_name(f"{model.name}.json")


def read_info(model: Path) -> ExportInfo | None:
    """The information beside an exported model; None where there is none.

    Raises:
        UserError: the file is there but damaged, or of a later version.
    """
    path = info_path(model, folder=model.is_dir())
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        version = tree.pop("export_version")
        if version != INFO_VERSION:
            raise UserError(f"{path}: version {version}, this program reads {INFO_VERSION}")
        return _from_tree(tree)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        hint = "remove it to go on without"
        raise UserError(f"{path}: not an export's information ({error!r}); {hint}") from None


def _from_tree(tree: dict[str, Any]) -> ExportInfo:
    for key in ("input_shape", "output_shape"):
        tree[key] = tuple(tree[key])
    for key in ("heights", "widths"):
        rule = tree[key]
        if rule is not None:
            tree[key] = SideRule(int(rule["first"]), int(rule["step"]))
            if min(tree[key].first, tree[key].step) < 1:
                raise ValueError(f"{key} must be positive")
    return ExportInfo(**tree)
