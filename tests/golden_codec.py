"""Makes the golden bundle and its files: `python -m tests.golden_codec` writes what is missing.

They were made once and must decode to the same symbols for ever: if a test of them fails, the format
has changed, which takes a new version and not new golden files.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from codec.bundle import Bundle
from codec.image_codec import ImageCodec
from codec.picture import Picture

FOLDER = Path(__file__).resolve().parent / "golden" / "codec"
BUNDLE = FOLDER / "bundle"
DIGESTS = FOLDER / "digests.json"
CLIP = FOLDER / "clip.nicv"
CLIP_DIGESTS = FOLDER / "clip_digests.json"
EDGES = 4

CONV: dict[str, Any] = {"padding": "same", "activation": "leaky_relu"}
SPEC: dict[str, Any] = {
    "preprocessing": [{"ColorSpace": {}}, {"Rescale": {"scale": 1.0, "offset": -0.5}}],
    "model": {
        "name": "Golden",
        "layers": {
            "inputs": [{"Input": {"shape": [None, None, 3]}}],
            "generator": {
                "entropy_model": {"MeanScaleHyperprior": {"scale_levels": 32, "scale_max": 32.0}},
                "layers": {
                    "encoder": {
                        "layers": [
                            {"BlockTransform": {"filters": 12, "block_size": 8}},
                            {"Rescaling": {"scale": 8.0}},
                        ]
                    },
                    "hyper_encoder": {
                        "layers": [
                            {"Conv2D": {"filters": 8, "kernel_size": 3, "strides": 2, **CONV}},
                            {"Conv2D": {"filters": 6, "kernel_size": 3, "padding": "same"}},
                        ]
                    },
                    "hyper_decoder": {
                        "layers": [
                            {
                                "Conv2DTranspose": {
                                    "filters": 8,
                                    "kernel_size": 5,
                                    "strides": 2,
                                    **CONV,
                                }
                            },
                            {"Conv2D": {"filters": 8, "kernel_size": 3, "padding": "same"}},
                            {"ReLU": {}},
                            {"Conv2D": {"filters": 24, "kernel_size": 3, "padding": "same"}},
                        ]
                    },
                    "decoder": {
                        "layers": [
                            {"Rescaling": {"scale": 0.125}},
                            {"InverseBlockTransform": {"channels": 3, "block_size": 8}},
                        ]
                    },
                },
            },
        },
    },
    "loss": [{"BitsPerPixel": {}}, {"MSE": {"scale": 255, "weight": 0.01}}],
    "training": {"metrics": []},
}


def photo(height: int, width: int) -> np.ndarray:
    """A piece of a photo, uint8 (height, width, 3)."""
    from skimage import data

    return np.ascontiguousarray(data.astronaut()[100 : 100 + height, 150 : 150 + width])


def make_bundle() -> None:
    """Trains the model for some steps and writes its bundle."""
    import keras

    from builders.codec_export import make_codec
    from builders.model_builder import ModelBuilder
    from builders.spec import parse_spec

    keras.utils.set_random_seed(0)
    spec = parse_spec(SPEC, "golden")
    compressor = ModelBuilder(spec).build()
    compressor.compile(optimizer=keras.optimizers.Adam(3e-3))
    large = photo(256, 256)
    generator = np.random.default_rng(0)
    for _ in range(300):
        places = generator.integers(0, 192, (8, 2))
        compressor.train_on_batch(np.stack([large[y : y + 64, x : x + 64] for y, x in places]))
    parts = make_codec(compressor.generator, spec, [large[None]])
    BUNDLE.mkdir(parents=True)
    for name, content in parts.files.items():
        (BUNDLE / name).write_bytes(content)


def make_files() -> None:
    """Writes the files and what they decode to."""
    from builders.codec_transforms import bundle_transforms
    from evaluation.determinism import boundary_file, boundary_latents, symbols_digest

    bundle = Bundle.read(BUNDLE)
    codec = ImageCodec(bundle, lambda: bundle_transforms(bundle))
    gray = photo(33, 41)[..., :1]
    files = {
        "photo": codec.compress(Picture(photo(72, 96))),
        "coarse": codec.compress(Picture(photo(72, 96)), quality=10),
        "fine": codec.compress(Picture(photo(40, 40)), quality=245),
        "gray": codec.compress(Picture(gray)),
        "pixel": codec.compress(Picture(photo(1, 1))),
        "tiles": codec.compress(Picture(photo(100, 130)), tile=64),
    }
    for number, (z, _) in zip(range(EDGES), boundary_latents(bundle.network), strict=False):
        files[f"edge_{number}"] = boundary_file(bundle, codec, z, number)
    for name, data in files.items():
        (FOLDER / f"{name}.nic").write_bytes(data)
    decoded = codec.decompress(files["photo"]).pixels
    np.save(FOLDER / "photo.npy", decoded)
    digests = {name: symbols_digest(codec, data) for name, data in files.items()}
    DIGESTS.write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")


def make_clip() -> None:
    """Writes a clip of five frames in three groups, and what its groups decode to."""
    from fractions import Fraction

    from builders.codec_transforms import bundle_transforms
    from codec.clip_codec import ClipReader, write_clip

    bundle = Bundle.read(BUNDLE)
    codec = ImageCodec(bundle, lambda: bundle_transforms(bundle))
    writer = write_clip(codec, (40, 56, 3), Fraction(30000, 1001), quality=120, interval=2)
    for time in range(5):
        writer.add(np.ascontiguousarray(photo(40, 80)[:, 3 * time : 3 * time + 56]))
    CLIP.write_bytes(writer.finish())
    digests = clip_digests(ClipReader(codec, CLIP.read_bytes()))
    CLIP_DIGESTS.write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")


def clip_digests(reader: Any) -> list[str]:
    """SHA-256 of the symbols and latents of each group."""
    found = []
    for group in range(reader.header.groups):
        decoded = reader.latents(group)
        digest = hashlib.sha256()
        for array in decoded.arrays:
            digest.update(np.ascontiguousarray(array).astype("<i4").tobytes())
        digest.update(decoded.y_hat.astype("<f4").tobytes())
        found.append(digest.hexdigest())
    return found


if __name__ == "__main__":
    if not BUNDLE.exists():
        make_bundle()
    if not DIGESTS.exists():
        make_files()
    if not CLIP.exists():
        make_clip()
