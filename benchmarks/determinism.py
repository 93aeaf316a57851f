"""The same files decoded in many ways: do all find the same symbols?

    python -m benchmarks.determinism --model photo_fast --images kodak/ --jax .venv-jax/bin/python

Codes crops of images, and hyper-latents that put sums on the boundaries of rounding, then decodes
the files in processes of their own: NumPy, 64-bit integers, Keras on TensorFlow with and without
oneDNN, with one and with two threads, under the bfloat16 policy, on JAX, and ONNX Runtime. Prints a
Markdown table; exit status 1 when any file differs anywhere.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from builders.backend import choose_backend
from builders.cli import positive
from builders.codec_choice import find_bundle, read_bundle

THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


def ways(jax: str | None) -> Iterator[tuple[str, str, list[str], dict[str, str]]]:
    """(name, Python, flags, environment) of each way to decode."""
    yield "NumPy (what decompress.py does)", sys.executable, ["--engine", "numpy"], {}
    yield "64-bit integers, from the definition", sys.executable, ["--engine", "exact"], {}
    keras, tensorflow = ["--engine", "keras"], {"KERAS_BACKEND": "tensorflow"}
    for onednn in ("1", "0"):
        for threads in ("1", "2"):
            plural = "s" if threads == "2" else ""
            switched = "on" if onednn == "1" else "off"
            name = f"TensorFlow, oneDNN {switched}, {threads} thread{plural}"
            settings = dict.fromkeys(THREADS, threads)
            settings |= {"TF_ENABLE_ONEDNN_OPTS": onednn, **tensorflow}
            yield name, sys.executable, keras, settings
    policy = [*keras, "--policy", "mixed_bfloat16"]
    yield "TensorFlow, policy mixed_bfloat16", sys.executable, policy, tensorflow
    yield "ONNX Runtime", sys.executable, ["--engine", "onnx"], tensorflow
    if jax is not None:
        yield "JAX", jax, keras, {"KERAS_BACKEND": "jax"}
        yield "JAX, policy mixed_bfloat16", jax, policy, {"KERAS_BACKEND": "jax"}


def write_files(flags: argparse.Namespace, folder: Path) -> tuple[int, int, float]:
    """Writes the files; how many crops, how many boundary cases, and the share they reach."""
    from builders.codec_transforms import bundle_transforms
    from builders.file_search import files_below
    from builders.picture_files import read_picture
    from codec.image_codec import ImageCodec
    from codec.picture import Picture
    from constants.data import IMAGE_SUFFIXES
    from evaluation.determinism import boundary_file, boundary_latents

    bundle = read_bundle(find_bundle(flags.model))
    codec = ImageCodec(bundle, lambda: bundle_transforms(bundle))
    generator = np.random.default_rng(0)
    images = [flags.images / name for name in files_below(flags.images, IMAGE_SUFFIXES)]
    for number in range(flags.crops):
        pixels = read_picture(images[number % len(images)])[0].pixels
        top, left = (int(generator.integers(0, max(1, side - 200))) for side in pixels.shape[:2])
        size = generator.integers(1, 200, 2)
        crop = np.ascontiguousarray(pixels[top : top + size[0], left : left + size[1]])
        quality = int(generator.integers(0, bundle.qualities))
        (folder / f"crop_{number:03}.nic").write_bytes(codec.compress(Picture(crop), quality))
    shares = []
    for z, share in boundary_latents(bundle.network, rounds=2000):
        shares.append(share)
        path = folder / f"edge_{len(shares):03}.nic"
        path.write_bytes(boundary_file(bundle, codec, z, len(shares)))
    return flags.crops, len(shares), shares[-1]


def main() -> int:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="photo_fast")
    parser.add_argument("--images", type=Path, required=True, help="a folder of images")
    parser.add_argument("--crops", type=positive, default=200)
    parser.add_argument("--jax", help="the Python of an environment with JAX")
    flags = parser.parse_args()
    choose_backend()
    from evaluation.determinism import digests_in_a_process

    bundle = find_bundle(flags.model)
    with tempfile.TemporaryDirectory(prefix="determinism-") as name:
        folder = Path(name)
        crops, cases, share = write_files(flags, folder)
        print(
            f"{crops} crops, {cases} sets of hyper-latents on boundaries of rounding "
            f"({100 * share:.1f} % of all boundaries of all channels reached)\n"
        )
        files = sorted(folder.iterdir())
        print("| decoded by | files | symbols and tables |\n|---|---|---|")
        expected: list[str] = []
        differ = False
        for title, python, arguments, settings in ways(flags.jax):
            try:
                found = digests_in_a_process(python, bundle, files, arguments, settings)
            except RuntimeError as error:
                raise SystemExit(f"{python}: {str(error).strip().splitlines()[-1]}") from None
            expected = expected or found
            wrong = sum(a != b for a, b in zip(expected, found, strict=True))
            differ = differ or bool(wrong)
            print(f"| {title} | {len(found)} | {f'{wrong} differ' if wrong else 'the same'} |")
            sys.stdout.flush()
    return int(differ)


if __name__ == "__main__":
    sys.exit(main())
