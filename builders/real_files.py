"""What a model's images take as files, and what comes back out of them."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from architectures.autoencoder import Generator
from builders.clip_export import clip_bytes
from builders.codec_export import make_codec, sample_images
from builders.codec_transforms import KerasTransforms, serving
from builders.data_splits import Splits
from builders.spec import Spec
from codec.bundle import Bundle
from codec.clip_codec import ClipReader
from codec.image_codec import ImageCodec
from codec.picture import Picture

MEASURED_IMAGES = 24


@dataclass(frozen=True)
class FileFigures:
    """Figures of some images, coded to whole `.nic` files, or clips to `.nicv` files, and back.

    Attributes:
        kind: of the coder, such as `hyperprior` or `min-max`.
        images: how many, all frames of clips counted.
        file_bytes: of all files, headers included.
        pixels: of all images.
        psnr_db: mean over images, of 8-bit pixels.
    """

    kind: str
    images: int
    file_bytes: int
    pixels: int
    psnr_db: float

    @property
    def bits_per_pixel(self) -> float:
        """Bits of all files over pixels of all images."""
        return 8 * self.file_bytes / self.pixels

    def to_json(self) -> dict[str, Any]:
        """For the report."""
        return {
            "coder": self.kind,
            "images": self.images,
            "bytes_per_image": self.file_bytes / self.images,
            "bits_per_pixel": self.bits_per_pixel,
            "psnr_db": self.psnr_db,
        }


def measure_files(generator: Generator, spec: Spec, splits: Splits, split: str) -> FileFigures:
    """Codes the first images of a split with the codec that `exporter.py --mode codec` would write.

    Args:
        generator: built, with its weights.
        spec: of the generator.
        splits: its data; ranges and frequencies are measured on the training split.
        split: whose images.

    Raises:
        UserError: the model can't become a codec.
        RunError: its latents are no numbers.
    """
    parts = make_codec(generator, spec, sample_images(splits))
    with tempfile.TemporaryDirectory(prefix="codec-") as name:
        folder = Path(name)
        for file, content in parts.files.items():
            (folder / file).write_bytes(content)
        bundle = Bundle.read(folder)
        transforms = KerasTransforms(serving(generator, bundle))
        codec = ImageCodec(bundle, lambda: transforms)
        return _measured(codec, splits, split)


def _measured(codec: ImageCodec, splits: Splits, split: str) -> FileFigures:
    sizes, pixels, quality = [], 0, []
    for (item,) in splits.loader(split, 1).batches(0):  # type: ignore[arg-type]
        if codec.bundle.predicts:
            data, _ = clip_bytes(codec, item)
            images, decoded = list(item), list(ClipReader(codec, data))
        else:
            data = codec.compress(Picture(item))
            images, decoded = [item], [codec.decompress(data).pixels]
        for image, back in zip(images, decoded, strict=True):
            error = np.mean((back.astype(np.float64) - image) ** 2)
            quality.append(10 * np.log10(255**2 / max(error, 1e-10)))
        sizes.append(len(data))
        pixels += item[..., 0].size
        if len(quality) >= MEASURED_IMAGES:
            break
    entry = codec.bundle.manifest.coder
    kind = entry.quantizer or entry.kind
    return FileFigures(kind, len(quality), sum(sizes), pixels, float(np.mean(quality)))
