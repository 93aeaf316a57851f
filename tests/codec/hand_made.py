"""Bundles made by hand, and networks in NumPy: codecs without Keras."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from codec.bundle import CODER, HYPER_TABLES, TABLES, WEIGHTS, Bundle, bundle_files, network_parts
from codec.distributions import gaussian_tables
from codec.image_codec import ImageCodec
from codec.integer_network import IntegerLayer, IntegerNetwork
from codec.manifest import MANIFEST, CoderEntry, GeometryEntry, GridEntry, QualityEntry
from codec.quantizers import Quantizer
from codec.tables import TableSet

SIDE = 8
"""Pixels a side of the squares that the NumPy networks fold into channels."""
KINDS = ("stored", "quantized", "factorized", "hyperprior")
ONE = [QualityEntry(gain=1.0, offset=0)]


class Folding:
    """Networks that lose nothing: squares of pixels as latents; hyper-latents are their means.

    Args:
        scale: what 255 becomes.
        shift: added to every pixel of the n-th call of `synthesise`, n times.
    """

    def __init__(self, scale: float = 1.0, shift: int = 0) -> None:
        self.scale = scale
        self.shift = shift
        self.calls = 0

    def analyse(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        blocks, height, width, channels = pixels.shape
        rows, columns = height // SIDE, width // SIDE
        cut = pixels.reshape(blocks, rows, SIDE, columns, SIDE, channels).swapaxes(2, 3)
        y = cut.reshape(blocks, rows, columns, -1).astype(np.float32) * (self.scale / 255)
        return {"y": y, "z": y.mean(axis=-1, keepdims=True)}

    def synthesise(self, y_hat: np.ndarray) -> np.ndarray:
        blocks, rows, columns, depth = y_hat.shape
        channels = depth // SIDE**2
        values = np.round(y_hat * (255 / self.scale)) + self.shift * self.calls
        self.calls += 1
        cut = np.clip(values, 0, 255).astype(np.uint8)
        cut = cut.reshape(blocks, rows, columns, SIDE, SIDE, channels).swapaxes(2, 3)
        return cut.reshape(blocks, rows * SIDE, columns * SIDE, channels)

    def pull_back(self, y_hat: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        blocks, rows, columns, depth = y_hat.shape
        cut = (y_hat / self.scale).reshape(blocks, rows, columns, SIDE, SIDE, depth // SIDE**2)
        difference = cut.swapaxes(2, 3).reshape(wanted.shape) - wanted
        back = Folding.analyse(self, 255 * difference)["y"]  # times the scale, not 1 / scale
        return difference, back / self.scale**2


def network(depth: int) -> IntegerNetwork:
    """Means that are the hyper-latents, times 16, and places that grow with their size."""
    kernel = np.zeros((1, 1, 1, 2 * depth), np.int16)
    kernel[..., :depth] = 16
    kernel[..., depth:] = 1
    full = np.ones(2 * depth, np.int32)
    layer = IntegerLayer(
        "conv", 1, kernel, bias=0 * full, shift=0 * full, low=-9999 * full, high=9999 * full
    )
    return IntegerNetwork(1, 255, (layer,))


def geometry(channels: int, fixed: bool, hyper: bool, most: int = 1) -> GeometryEntry:
    """Blocks of `SIDE` pixels, or that grow by as much."""
    step, growth = ([0, 0], [0, 0]) if fixed else ([SIDE, SIDE], [1, 1])
    grids = {"y": GridEntry(shape=[1, 1, channels * SIDE**2], growth=growth)}
    if hyper:
        grids["z"] = GridEntry(shape=[1, 1, 1], growth=growth)
    return GeometryEntry(
        channels=channels, first=[SIDE, SIDE], step=step, grids=grids, bytes_per_pixel=most
    )


def files(
    kind: str = "stored", channels: int = 3, fixed: bool = False, bytes_per_pixel: int = 1
) -> dict[str, bytes]:
    """All files of a bundle."""
    depth = channels * SIDE**2
    contents = {WEIGHTS: save({"nothing": np.zeros(1, np.float32)})}
    more: dict[str, Any] = {"qualities": ONE, "default_quality": 0}
    if kind == "quantized":
        quantizer = Quantizer.naive()
        even = TableSet.from_pmfs([np.full(256, 1 / 256)], [0])
        contents[TABLES] = even.to_bytes()
        contents[CODER] = save({"low": quantizer.low, "high": quantizer.high})
        more["quantizer"] = "naive"
    elif kind == "factorized":
        contents[TABLES] = gaussian_tables([30.0] * depth).to_bytes()
    elif kind == "hyperprior":
        contents[TABLES] = gaussian_tables(np.geomspace(0.3, 90, 20)).to_bytes()
        contents[HYPER_TABLES] = gaussian_tables([20.0]).to_bytes()
        more["network"], arrays = network_parts(network(depth))
        more |= {"mean_bits": 4, "default_quality": 2}
        more["qualities"] = [
            QualityEntry(gain=float(2.0**octave), offset=3 * octave) for octave in (-2, -1, 0, 1)
        ]
        contents[CODER] = save(arrays)
    return bundle_files(
        f"by_hand_{kind}",
        {"model": "none"},
        geometry(channels, fixed, kind == "hyperprior", bytes_per_pixel),
        CoderEntry(kind=kind, **more),
        contents,
    )


def changed(contents: dict[str, bytes], change: Callable[[Any], object]) -> dict[str, bytes]:
    """A bundle whose manifest is another; what it says of its files stays right."""
    tree = json.loads(contents[MANIFEST])
    change(tree)
    return {**contents, MANIFEST: json.dumps(tree).encode()}


def replaced(contents: dict[str, bytes], **files: bytes | None) -> dict[str, bytes]:
    """A bundle with other files, rightly named in its manifest; None leaves one out."""
    given = {name.replace("__", "."): content for name, content in files.items()}
    rest = {name: each for name, each in (contents | given).items() if each is not None}

    def change(tree: Any) -> None:
        tree["files"] = {
            name: {"bytes": len(each), "sha256": hashlib.sha256(each).hexdigest()}
            for name, each in rest.items()
            if name != MANIFEST
        }

    return changed(rest, change)


def write(folder: Path, contents: dict[str, bytes]) -> Path:
    """Writes a bundle."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder


def codec(folder: Path, scale: float | None = None, shift: int = 0, **given: Any) -> ImageCodec:
    """A codec whose networks lose nothing but what `kind` loses; see `files`."""
    bundle = Bundle.read(write(folder, files(**given)))
    kind = given.get("kind", "stored")
    whole = {"stored": 1.0, "quantized": 1.0, "factorized": 255.0, "hyperprior": 255.0}
    transforms = Folding(whole[kind] if scale is None else scale, shift)
    return ImageCodec(bundle, lambda: transforms)
