"""Codecs small enough to make inside a test session: one of each kind, not trained."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np

from builders.codec_export import CodecParts, make_codec
from builders.codec_transforms import bundle_transforms
from builders.model_builder import ModelBuilder
from builders.spec import Spec, parse_spec
from codec.bundle import Bundle
from codec.image_codec import ImageCodec


def conv(filters, kernel_size=3, strides=1, activation=None, transposed=False):
    """A convolution with padding `same`, as JSON."""
    name = "Conv2DTranspose" if transposed else "Conv2D"
    arguments = {"filters": filters, "kernel_size": kernel_size, "strides": strides}
    return {name: {**arguments, "padding": "same", "activation": activation}}


def spec_tree(shape, encoder, decoder, hyper=None, **generator):
    """The JSON of a spec; `hyper` holds the layers of hyper encoder and hyper decoder."""
    layers = {"encoder": {"layers": encoder}, "decoder": {"layers": decoder}}
    if hyper is not None:
        layers["hyper_encoder"], layers["hyper_decoder"] = ({"layers": each} for each in hyper)
    return {
        "model": {
            "name": "Tiny_Codec",
            "layers": {
                "inputs": [{"Input": {"shape": list(shape)}}],
                "generator": {**generator, "layers": layers},
            },
        },
        "loss": [{"MSE": {}}],
        "training": {"metrics": []},
    }


ENCODER = [conv(6, 5, 2), {"GDN": {}}, conv(4, 5, 2)]
DECODER = [conv(6, 5, 2, transposed=True), {"GDN": {"inverse": True}}]
DECODER = [*DECODER, conv(3, 5, 2, transposed=True)]
HYPER_ENCODER = [conv(4, 3, 1, "relu"), conv(3, 5, 2)]


def hyper_decoder(channels):
    """Layers that make `channels` numbers of the hyper-latents."""
    return [conv(4, 5, 2, "relu", transposed=True), conv(channels, 3)]


TREES: dict[str, dict[str, Any]] = {
    "mean_scale": spec_tree(
        (None, None, 3),
        ENCODER,
        DECODER,
        (HYPER_ENCODER, hyper_decoder(8)),
        entropy_model={"MeanScaleHyperprior": {}},
    ),
    "scale": spec_tree(
        (None, None, 3),
        ENCODER,
        DECODER,
        (HYPER_ENCODER, hyper_decoder(4)),
        entropy_model={"ScaleHyperprior": {}},
    ),
    "factorized": spec_tree(
        (None, None, 3), ENCODER, DECODER, entropy_model={"FactorizedPrior": {}}
    ),
    "dense": spec_tree(
        (8, 8, 1),
        [{"Flatten": {}}, {"Dense": {"units": 6}}],
        [
            {"Dense": {"units": 64, "activation": "sigmoid"}},
            {"Reshape": {"target_shape": [8, 8, 1]}},
        ],
    ),
    "plain": spec_tree((16, 16, 3), [conv(4, 3, 2)], [conv(3, 3, 2, transposed=True)]),
}
"""Three entropy models for images of any size, dense latents of blocks, and latents without one."""

SIDE = 32
"""Pixels a side of the images that a model for any size is measured on."""


def photo(height, width, channels=3, seed=0):
    """uint8 (height, width, channels): waves, an edge and a little noise."""
    numbers = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    planes = []
    for _ in range(channels):
        down, across, phase = numbers.uniform(0.02, 0.3, 3)
        waves = 70 * np.sin(down * rows + across * columns + 20 * phase)
        planes.append(120 + waves + 40 * (columns > width / 2) + numbers.normal(0, 3, rows.shape))
    return np.clip(np.stack(planes, axis=-1), 0, 255).astype(np.uint8)


def images_of(spec: Spec, count: int = 8) -> list[np.ndarray]:
    """Batches of images of the spec's size."""
    height, width, channels = spec.input_shape
    size = height or SIDE, width or SIDE, channels
    return [np.stack([photo(*size, seed=seed) for seed in range(count)])]


def generator_of(spec: Spec, seed: int = 1) -> Any:
    """A generator with random weights, and latents of some quantization steps."""
    keras.utils.set_random_seed(seed)
    generator = ModelBuilder(spec).build().generator
    last = generator.encoder.stack[-1]
    if generator.entropy_model is not None:
        last.set_weights([8.0 * each for each in last.get_weights()])
    return generator


def write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Writes a bundle."""
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@dataclass
class TinyCodec:
    """A codec and what it was made of. Read only.

    Attributes:
        folder: the bundle.
    """

    kind: str
    spec: Spec
    generator: Any
    images: list[np.ndarray]
    parts: CodecParts
    folder: Path

    @property
    def bundle(self) -> Bundle:
        """Read anew."""
        return Bundle.read(self.folder)

    @cached_property
    def codec(self) -> ImageCodec:
        """One for all tests, with the networks of the bundle."""
        bundle = self.bundle
        return ImageCodec(bundle, lambda: bundle_transforms(bundle))


class Codecs:
    """Codecs by kind (a key of `TREES`), each made when it is first asked for.

    Args:
        folder: where their bundles go.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[str, TinyCodec] = {}

    def __getitem__(self, kind: str) -> TinyCodec:
        if kind not in self._made:
            spec = parse_spec(TREES[kind], f"{kind}.json")
            generator = generator_of(spec)
            images = images_of(spec)
            parts = make_codec(generator, spec, images)
            folder = write_files(self._folder / kind, parts.files)
            self._made[kind] = TinyCodec(kind, spec, generator, images, parts, folder)
        return self._made[kind]
