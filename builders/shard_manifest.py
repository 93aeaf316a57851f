"""`manifest.json`: which shards a state consists of, and what lies where in them."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from builders.errors import UserError
from builders.run_folder import write_atomically

FORMAT: Final = "codecsmith-state"
VERSION: Final = 1
MANIFEST: Final = "manifest.json"

Stored = Literal["same", "bfloat16", "float16", "mean", "none"]
"""How an array is stored: as it is, in half precision (bfloat16 as its 16 bits, uint16), as its
mean for each index of the last axis, or not at all, which stands for zeros."""

DType = Annotated[str, Field(pattern=r"^(bool|u?int(8|16|32|64)|float(16|32|64))$")]
ShardName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class ShardEntry(_Part):
    """One file."""

    bytes: int = Field(ge=1)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Piece(_Part):
    """Some values of an array, in C order; in the shard under the array's name and its number."""

    shard: ShardName
    values: int = Field(ge=1)


class ArrayEntry(_Part):
    """One array: what it was, how it is stored, and where."""

    shape: list[Annotated[int, Field(ge=0)]] = Field(max_length=16)
    dtype: DType
    stored: Stored
    parts: list[Piece]


class BestEntry(_Part):
    """What is not an array in the file of the best weights.

    Attributes:
        texts: of its data sets that are strings.
        attributes: of its groups; every group stands here.
    """

    texts: dict[str, str]
    attributes: dict[str, dict[str, str]]


class Journal(_Part):
    """What has happened so far.

    Attributes:
        points: of the learning curve.
        pieces: one entry a piece.
    """

    points: list[dict[str, float | int | None]]
    pieces: list[dict[str, float | int | str | None]]


class Manifest(_Part):
    """`manifest.json`.

    Attributes:
        run: tells one run from another of the same spec.
        generation: counts the writings; part of the shards' names.
        step: training steps done, all pieces together.
        lost: what is not stored exactly, in words.
        state: meta data of the state file: its spec, progress and paths of variables.
    """

    format: Literal["codecsmith-state"] = FORMAT
    version: Literal[1] = VERSION
    run: str = Field(pattern="^[0-9a-f]{16}$")
    generation: int = Field(ge=1)
    step: int = Field(ge=0)
    lost: list[str]
    shards: dict[ShardName, ShardEntry]
    arrays: dict[str, ArrayEntry]
    state: dict[str, Any]
    best: BestEntry | None
    journal: Journal

    @property
    def bytes(self) -> int:
        """Of all shards."""
        return sum(shard.bytes for shard in self.shards.values())

    @property
    def spec(self) -> dict[str, Any]:
        """The resolved spec the state belongs to."""
        return dict(self.state["spec"])

    @property
    def progress(self) -> dict[str, Any]:
        """Where the run stands; see `builders.callbacks.Progress`."""
        return dict(self.state["progress"])


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replaces the manifest of a folder, at once.

    Raises:
        RunError: it can't be written; the one before is still there.
    """
    tree = manifest.model_dump()
    tree["sha256"] = _digest(tree)
    write_atomically(folder / MANIFEST, json.dumps(tree, indent=1) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder.

    Raises:
        UserError: there is none, it was changed, or another version wrote it.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise UserError(f"{path}: missing: the folder holds no state")
    tree = _tree(path)
    if not isinstance(tree, dict) or tree.get("format") != FORMAT:
        raise UserError(f"{path}: not the manifest of a state")
    version = tree.get("version")
    if version != VERSION:
        raise UserError(f"{path}: version {version}, this version reads {VERSION}")
    if tree.pop("sha256", None) != _digest(tree):
        raise UserError(f"{path}: damaged: its content is not what was written")
    try:
        return Manifest.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"]) or "the whole"
        raise UserError(f"{path}: {place}: {first['msg']}") from None


def _tree(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: damaged: not JSON: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: can't be read: {error.strerror}") from None


def _digest(tree: dict[str, Any]) -> str:
    """SHA-256 of the manifest without its own, as canonical JSON."""
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
