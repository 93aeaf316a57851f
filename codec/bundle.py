"""A bundle: the folder that holds all a codec needs. Reading one runs nothing that is in it.

docs/bundle.md is the format.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from codec.errors import NicBundleError, NicError
from codec.geometry import Geometry, Grid
from codec.hyperprior_coder import HyperpriorCoder, Quality
from codec.integer_network import IntegerLayer, IntegerNetwork
from codec.latent_coder import LatentCoder
from codec.latent_coders import FactorizedCoder, QuantizedCoder, StoredCoder
from codec.manifest import (
    FORMAT,
    MANIFEST,
    MAX_FILE_BYTES,
    MAX_MANIFEST_BYTES,
    MAX_OFFSET,
    PLAIN_VERSION,
    VERSION,
    CoderEntry,
    FileEntry,
    GeometryEntry,
    LayerEntry,
    Manifest,
    NetworkEntry,
    parse_manifest,
    printable,
)
from codec.quantizers import Quantizer
from codec.tables import TableSet

WEIGHTS: Final = "weights.safetensors"
TABLES: Final = "tables.ntab"
HYPER_TABLES: Final = "hyper_tables.ntab"
CODER: Final = "coder.safetensors"
GAIN_VECTORS: Final = ("gains", "inverse_gains", "offsets")
FILES: Final = (WEIGHTS, TABLES, HYPER_TABLES, CODER)

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Bundle:
    """A bundle that was read; every file in it has the size and digest that the manifest names.

    Attributes:
        path: the folder.
        manifest: its description.
        digest: SHA-256 of `bundle.json`, which names all other files by theirs.
    """

    path: Path
    manifest: Manifest
    digest: bytes

    @classmethod
    def read(cls, path: str | Path) -> Bundle:
        """Reads the description of a bundle and checks its files.

        Raises:
            NicBundleError: it is not a whole bundle of this version.
        """
        path = Path(path)
        text = _content(path / MANIFEST, MAX_MANIFEST_BYTES)
        manifest = parse_manifest(text, path / MANIFEST)
        if set(manifest.files) - set(FILES) or WEIGHTS not in manifest.files:
            raise NicBundleError(f"{path / MANIFEST}: it names files that no bundle has")
        bundle = cls(path, manifest, hashlib.sha256(text).digest())
        for name in manifest.files:
            bundle._file(name)
        return bundle

    def _file(self, name: str) -> bytes:
        """One of the files, seen to be the one that the manifest names whenever it is read."""
        entry = self.manifest.files.get(name)
        if entry is None:
            raise NicBundleError(f"{self.path}: the bundle lacks {name}")
        content = _content(self.path / name, entry.bytes)
        if len(content) != entry.bytes or hashlib.sha256(content).hexdigest() != entry.sha256:
            raise NicBundleError(f"{self.path / name}: damaged, not the file that {MANIFEST} names")
        return content

    @cached_property
    def geometry(self) -> Geometry:
        """Blocks and latents."""
        entry = self.manifest.geometry
        grids: dict[str, Grid] = {
            name: Grid(tuple(grid.shape), (grid.growth[0], grid.growth[1]))
            for name, grid in entry.grids.items()
        }
        first, step = entry.first, entry.step
        return Geometry(entry.channels, (first[0], first[1]), (step[0], step[1]), grids)

    @property
    def predicts(self) -> bool:
        """Whether the model codes a frame of a clip given the one before: its spec says so."""
        part: Any = self.manifest.spec
        for key in ("model", "layers", "generator", "prediction"):
            part = part.get(key) if isinstance(part, dict) else None
        return part is not None

    @property
    def qualities(self) -> int:
        """How many qualities there are."""
        return len(self.manifest.coder.qualities)

    def coder(self, engine: Any = None) -> LatentCoder:
        """The entropy coder.

        Args:
            engine: runs the integer network instead of NumPy, for a hyperprior.

        Raises:
            NicBundleError: its parts don't fit each other.
        """
        entry, grids = self.manifest.coder, self.geometry.grids
        try:
            channels = grids["y"].shape[-1]
            if entry.kind == "stored":
                return StoredCoder()
            tables = self._tables(TABLES)
            if entry.kind == "factorized":
                return FactorizedCoder(tables, channels)
            if entry.kind == "quantized":
                arrays = self.arrays(CODER)
                quantizer = Quantizer(arrays["low"], arrays["high"], arrays.get("codebook"))
                return QuantizedCoder(quantizer, tables, channels)
            _check_upsampling(grids["y"], grids["z"], self.network.upsampling)
            return HyperpriorCoder(
                self._tables(HYPER_TABLES),
                tables,
                self.network,
                (channels, grids["z"].shape[-1]),
                entry.mean_bits,
                self._qualities(channels),
                engine,
            )
        except KeyError as error:
            raise NicBundleError(f"{self.path}: the bundle lacks {error.args[0]}") from None

    def _qualities(self, channels: int) -> tuple[Quality, ...]:
        entry = self.manifest.coder
        if not entry.gain_vectors:
            return tuple(Quality(each.gain, each.offset) for each in entry.qualities)
        arrays = self.arrays(CODER)
        vectors = [arrays[name] for name in GAIN_VECTORS]
        wanted = (len(entry.qualities), channels)
        kinds = [(np.float32, wanted), (np.float32, wanted), (np.int32, wanted)]
        if [(each.dtype, each.shape) for each in vectors] != kinds or (
            np.abs(vectors[2].astype(np.int64)) > MAX_OFFSET
        ).any():
            raise NicBundleError(f"{self.path / CODER}: its vectors of gains are out of range")
        return tuple(
            Quality(gain, offset, inverse) for gain, inverse, offset in zip(*vectors, strict=True)
        )

    @cached_property
    def network(self) -> IntegerNetwork:
        """The integer network of a hyperprior."""
        entry = self.manifest.coder.network
        if entry is None:
            raise NicBundleError(f"{self.path}: the bundle lacks an integer network")
        return read_network(entry, self.arrays(CODER))

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """The arrays in one of the bundle's files."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        content = self._file(name)
        try:
            return load(content)
        except (SafetensorError, KeyError, ValueError, TypeError) as error:
            what = f"{self.path / name}: not well formed: {printable(str(error))}"
            raise NicBundleError(what) from None

    def _tables(self, name: str) -> TableSet:
        content = self._file(name)
        try:
            return TableSet.from_bytes(content)
        except NicError as error:
            raise NicBundleError(f"{self.path / name}: {error}") from None


def _check_upsampling(y: Grid, z: Grid, factor: int) -> None:
    """Before the network runs: what it makes of hyper-latents must be as large as the latents."""
    sizes = [(*grid.shape[:-1], *grid.growth) for grid in (y, z)]
    if sizes[0] != tuple(factor * side for side in sizes[1]) or len(y.shape) != 3:
        raise NicBundleError(
            f"the integer network makes sides {factor} times as long; the latents are {y.shape}, "
            f"the hyper-latents {z.shape}"
        )


def read_network(entry: NetworkEntry, arrays: Arrays) -> IntegerNetwork:
    """The integer network of an entry and the arrays beside it.

    Raises:
        NicNetworkError: they don't make one.
        KeyError: an array is missing.
    """
    layers = []
    for index, layer in enumerate(entry.layers):
        if layer.kind in ("conv", "conv_transpose"):
            parts = {
                part: arrays[f"layer_{index}.{part}"]
                for part in ("kernel", "bias", "shift", "low", "high")
            }
            layers.append(IntegerLayer(layer.kind, layer.factor, **parts, slope=layer.slope))
        else:
            layers.append(IntegerLayer(layer.kind, layer.factor, slope=layer.slope))
    return IntegerNetwork(entry.channels, entry.input_limit, tuple(layers))


def network_parts(network: IntegerNetwork) -> tuple[NetworkEntry, dict[str, NDArray[Any]]]:
    """The entry and the arrays that `read_network` takes."""
    arrays: dict[str, NDArray[Any]] = {}
    layers = []
    for index, layer in enumerate(network.layers):
        layers.append(LayerEntry(kind=layer.kind, factor=layer.factor, slope=layer.slope))
        if layer.is_convolution:
            for part in ("kernel", "bias", "shift", "low", "high"):
                arrays[f"layer_{index}.{part}"] = np.ascontiguousarray(getattr(layer, part))
    entry = NetworkEntry(channels=network.channels, input_limit=network.input_limit, layers=layers)
    return entry, arrays


def bundle_files(
    name: str,
    spec: Mapping[str, Any],
    geometry: GeometryEntry,
    coder: CoderEntry,
    contents: Mapping[str, bytes],
) -> dict[str, bytes]:
    """All files of a bundle, `bundle.json` included: file name -> content.

    Args:
        name: of the model.
        spec: resolved; what the transforms are built from.
        geometry: blocks and latents.
        coder: the entropy coder.
        contents: the other files.

    Raises:
        NicBundleError: a file is too large for a bundle.
    """
    for file, content in contents.items():
        if len(content) > MAX_FILE_BYTES:
            raise NicBundleError(f"{file}: {len(content)} bytes; {MAX_FILE_BYTES} are allowed")
    manifest = Manifest(
        format=FORMAT,
        version=VERSION if coder.gain_vectors else PLAIN_VERSION,
        name=name,
        spec=dict(spec),
        geometry=geometry,
        coder=coder,
        files={
            file: FileEntry(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
            for file, content in sorted(contents.items())
        },
    )
    tree = manifest.model_dump()
    if not coder.gain_vectors:  # readers of before know no such field
        del tree["coder"]["gain_vectors"]
    text = json.dumps(tree, indent=1, ensure_ascii=False) + "\n"
    return {MANIFEST: text.encode(), **contents}


def _content(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise NicBundleError(f"{path}: {error.strerror or error}") from None
    if len(content) > most:
        raise NicBundleError(f"{path}: more than {most} bytes")
    return content
