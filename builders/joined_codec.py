"""Several bundles as one curve: a model for each rate, as papers have them."""

from collections.abc import Sequence
from typing import Any

from builders.bundle_measuring import BundleCodec, Coding
from codec.bundle import Bundle
from codec.container import NicFile
from codec.errors import NicError
from codec.whole_file import DIGEST_BYTES
from evaluation.codecs import CodecError, Pixels


class JoinedCodec:
    """See `evaluation.codecs.Codec`: setting i is the i-th bundle, at its own quality.

    Args:
        bundles: read, small files first.
        name: unique among the codecs of a benchmark.
        how: see `Coding`.

    Raises:
        UserError: a model can't use that effort.
    """

    family = "ours"
    parameter = "model"

    def __init__(self, bundles: Sequence[Bundle], name: str, how: Coding) -> None:
        self._parts = [BundleCodec(bundle, name, (), how) for bundle in bundles]
        self._places = {bundle.digest[:DIGEST_BYTES]: i for i, bundle in enumerate(bundles)}
        self.name = self.label = name
        self.settings = self.scale = [float(place) for place in range(1, len(bundles) + 1)]
        self.usual = self.settings[len(bundles) // 2]
        self.threads = how.threads
        self.model_bytes = sum(part.model_bytes for part in self._parts)
        self.about: dict[str, Any] = {
            "parameter": self.parameter,
            "options": {"models": len(bundles), "precision": how.precision, "effort": how.effort},
            "versions": self._parts[0].about["versions"],
            "joined": [{**part.about, "model_bytes": part.model_bytes} for part in self._parts],
        }

    def encode(self, pixels: Pixels, setting: float) -> bytes:
        """See `Codec`."""
        part = self._parts[int(setting) - 1]
        return part.encode(pixels, part.usual)

    def decode(self, data: bytes) -> Pixels:
        """See `Codec`."""
        try:
            digest = NicFile.from_bytes(data).header.model_digest
        except NicError as error:
            raise CodecError(str(error)) from error
        return self._parts[self._places[digest]].decode(data)
