"""`bundle.json`: what a bundle says of itself. docs/bundle.md, section 2."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from codec.errors import NicBundleError

FORMAT: Final = "codecsmith-codec"
VERSION: Final = 2
PLAIN_VERSION: Final = 1
"""Of bundles without vectors of gains, as they were before there were any."""
MANIFEST: Final = "bundle.json"
MAX_MANIFEST_BYTES: Final = 4 << 20
MAX_FILE_BYTES: Final = 1 << 30
MAX_BYTES_PER_PIXEL: Final = 1 << 24
MAX_OFFSET: Final = 4096
ENTROPY_CODERS: Final = ("factorized", "hyperprior")
"""Kinds of coders that know what a symbol costs."""


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class FileEntry(_Part):
    """One file of the bundle."""

    bytes: int = Field(ge=1, le=MAX_FILE_BYTES)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class GridEntry(_Part):
    """See `codec.geometry.Grid`."""

    shape: list[int] = Field(min_length=1, max_length=8)
    growth: list[int] = Field(min_length=2, max_length=2)


class GeometryEntry(_Part):
    """See `codec.geometry.Geometry`."""

    channels: int
    first: list[int] = Field(min_length=2, max_length=2)
    step: list[int] = Field(min_length=2, max_length=2)
    grids: dict[Literal["y", "z"], GridEntry]
    bytes_per_pixel: int = Field(ge=1, le=MAX_BYTES_PER_PIXEL)


class LayerEntry(_Part):
    """See `codec.integer_network.IntegerLayer`; its arrays are in the file of the coder."""

    kind: Literal["conv", "conv_transpose", "depth_to_space", "upsample"]
    factor: int
    slope: int


class NetworkEntry(_Part):
    """See `codec.integer_network.IntegerNetwork`."""

    channels: int
    input_limit: int
    layers: list[LayerEntry] = Field(min_length=1, max_length=64)


class QualityEntry(_Part):
    """See `codec.hyperprior_coder.Quality`."""

    gain: float
    offset: int = Field(ge=-MAX_OFFSET, le=MAX_OFFSET)


class CoderEntry(_Part):
    """Which coder, and what of it is not in tables and arrays."""

    kind: Literal["stored", "quantized", "factorized", "hyperprior"]
    mean_bits: int | None = None
    network: NetworkEntry | None = None
    quantizer: Literal["naive", "min-max", "k-means"] | None = None
    gain_vectors: bool = False
    qualities: list[QualityEntry] = Field(min_length=1, max_length=256)
    default_quality: int = Field(ge=0, le=255)

    @model_validator(mode="after")
    def _default_is_one_of_them(self) -> CoderEntry:
        if self.default_quality >= len(self.qualities):
            raise ValueError("the default quality is none of the qualities")
        return self


class Manifest(_Part):
    """`bundle.json`."""

    format: Literal["codecsmith-codec"]
    version: Literal[1, 2]
    name: str = Field(min_length=1, max_length=128)
    spec: dict[str, Any]
    geometry: GeometryEntry
    coder: CoderEntry
    files: dict[str, FileEntry]

    @model_validator(mode="after")
    def _vectors_have_their_version(self) -> Manifest:
        if self.coder.gain_vectors != (self.version == VERSION):
            raise ValueError(f"vectors of gains are what version {VERSION} is for")
        if self.coder.gain_vectors and self.coder.kind != "hyperprior":
            raise ValueError("only a hyperprior has vectors of gains")
        return self


def parse_manifest(text: bytes, where: Path) -> Manifest:
    """Reads `bundle.json`.

    Args:
        text: its bytes.
        where: its path, for messages.

    Raises:
        NicBundleError: it is no manifest of this version.
    """
    try:
        tree = json.loads(text)
        if isinstance(tree, dict) and tree.get("format") == FORMAT:
            version = tree.get("version")
            if isinstance(version, int) and version > VERSION:
                raise NicBundleError(
                    f"{where}: version {version}, this program reads {VERSION}: a newer Codecsmith "
                    "wrote it"
                )
        return Manifest.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"]) or "the whole"
        raise NicBundleError(f"{where}: {printable(place)}: {first['msg']}") from None
    except (ValueError, RecursionError) as error:
        raise NicBundleError(f"{where}: not JSON: {error}") from None


def printable(text: str, limit: int = 200) -> str:
    """Words out of a file that may be hostile: on one line, without control characters."""
    plain = "".join(each if each.isprintable() else "?" for each in text)
    return plain if len(plain) <= limit else plain[: limit - 3] + "..."
