"""A bundle as the benchmark sees codecs: pixels in, bytes out."""

import importlib.metadata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from builders.codec_choice import open_codec, quality_index, quality_of
from builders.codec_transforms import bundle_transforms
from builders.coding_flags import effort_of
from builders.errors import RunError
from codec.bundle import Bundle
from codec.errors import NicError
from codec.latent_coder import LatentsError
from codec.manifest import MANIFEST
from codec.picture import Picture, PictureError
from evaluation.codecs import CodecError, Pixels, is_gray


@dataclass(frozen=True)
class Coding:
    """How bundles are run.

    Attributes:
        threads: what the networks may take.
        precision: what they compute in.
        effort: as `compress.py --effort`; None for what that takes by itself.
    """

    threads: int
    precision: str = "float32"
    effort: int | None = None


class BundleCodec:
    """See `evaluation.codecs.Codec`.

    Gray pictures are coded as gray ones.

    Args:
        bundle: read.
        name: unique among the codecs of a benchmark.
        qualities: values of --quality, in any order.
        how: see `Coding`.

    Raises:
        UserError: the model can't use that effort.
    """

    family = "ours"
    parameter = "quality"

    def __init__(self, bundle: Bundle, name: str, qualities: Sequence[float], how: Coding) -> None:
        effort = effort_of(how.effort, bundle)
        count = bundle.qualities
        indices = range(count) if count == 1 else {quality_index(q, count) for q in qualities}
        self.name = self.label = name
        self.settings = [quality_of(index, count) for index in sorted(indices)]
        self.scale = [quality_of(index, count) for index in range(count)]
        self.usual = quality_of(bundle.manifest.coder.default_quality, count)
        self.threads = how.threads
        self.model_bytes = sum(
            (bundle.path / file).stat().st_size for file in (MANIFEST, *bundle.manifest.files)
        )
        self.about: dict[str, Any] = {
            "digest": bundle.digest.hex(),
            "bundle": bundle.manifest.name,
            "parameter": self.parameter,
            "options": {
                "coder": bundle.manifest.coder.kind,
                "precision": how.precision,
                "effort": effort,
            },
            "versions": _versions(),
        }
        self._count = count
        self._codec = open_codec(bundle, lambda: bundle_transforms(bundle, how.precision), effort)

    def encode(self, pixels: Pixels, setting: float) -> bytes:
        """See `Codec`."""
        index = 0 if self._count == 1 else quality_index(setting, self._count)
        stored = np.ascontiguousarray(pixels[..., :1]) if is_gray(pixels) else pixels
        try:
            return self._codec.compress(Picture(stored), index)
        except (NicError, RunError, PictureError, LatentsError) as error:
            raise CodecError(str(error)) from error

    def decode(self, data: bytes) -> Pixels:
        """See `Codec`."""
        try:
            pixels = self._codec.decompress(data).pixels
        except (NicError, RunError) as error:
            raise CodecError(str(error)) from error
        return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def _versions() -> dict[str, str]:
    import keras

    backend = keras.backend.backend()
    return {"keras": keras.__version__, backend: importlib.metadata.version(backend)}


def unique_names(bundles: Sequence[Bundle], taken: Collection[str]) -> list[str]:
    """A name for each bundle: its model's, numbered where several have the same.

    What a name has beside letters, digits, `.`, `-` and `_` becomes `_`: folders are called so.

    Args:
        bundles: read.
        taken: names of other codecs.
    """
    names: list[str] = []
    for bundle in bundles:
        plain = "".join(c if c.isalnum() or c in ".-_" else "_" for c in bundle.manifest.name)
        plain = plain.lstrip(".") or Path(bundle.path).name
        name, number = plain, 1
        while name in names or name in taken:
            number += 1
            name = f"{plain}-{number}"
        names.append(name)
    return names
