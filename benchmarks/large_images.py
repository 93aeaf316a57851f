"""Large images: memory and time for 100 megapixels, and whether the seams of tiles can be seen.

    python -m benchmarks.large_images --model photo_fast
    python -m benchmarks.large_images --model photo_fast --seams IMAGE... --tile 512

Without --seams: makes an image of the given size out of scikit-image's photos, runs compress.py and
decompress.py on it, and prints the peak memory of each process, as the system counts it,
and its time.

With --seams: codes each image in tiles and in one piece, and prints the mean squared error of the
pixels that tiles share, and of 8 more on either side, over that of all other pixels.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from builders.backend import choose_backend
from builders.cli import positive
from builders.codec_choice import find_bundle, read_bundle

ROOT = Path(__file__).resolve().parent.parent
AROUND = 8


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="photo_fast")
    parser.add_argument("--megapixels", type=positive, default=100)
    parser.add_argument("--seams", nargs="+", type=Path, metavar="IMAGE")
    parser.add_argument("--tile", type=positive, default=1024)
    flags = parser.parse_args()
    if flags.seams:
        seams(flags)
    else:
        memory(flags)


def memory(flags: argparse.Namespace) -> None:
    """Peak memory and time of both commands."""
    with tempfile.TemporaryDirectory(prefix="large-images-") as name:
        folder = Path(name)
        image = large_image(flags.megapixels)
        size = f"{image.shape[1]}x{image.shape[0]}"
        Image.fromarray(image).save(folder / "large.png", compress_level=1)
        del image
        print(
            f"{size} pixels\n\n| command | seconds | peak memory, GiB | bytes |\n|---|---|---|---|"
        )
        for command, source, target in (
            ("compress.py", "large.png", "large.nic"),
            ("decompress.py", "large.nic", "back.png"),
        ):
            began = time.monotonic()
            peak = run(ROOT / command, folder / source, folder / target, flags.model)
            seconds = time.monotonic() - began
            written = (folder / target).stat().st_size
            print(f"| {command} | {seconds:.0f} | {peak / 2**20:.2f} | {written:,} |", flush=True)


def run(command: Path, source: Path, target: Path, model: str) -> int:
    """Runs a command; its peak memory in KiB. A process in between does the counting."""
    code = (
        "import resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:])\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)\n"
        "sys.exit(done.returncode)\n"
    )
    arguments = [sys.executable, command, source, "-o", target, "--model", model]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stderr.strip().splitlines()
    if done.returncode:
        raise SystemExit("\n".join(lines[:-1]))
    return int(lines[-1])


def large_image(megapixels: int) -> NDArray[np.uint8]:
    """Photos side by side, each shifted and mirrored, up to a size of about 4 : 3."""
    from skimage import data

    photos = [data.astronaut(), data.coffee(), data.cat()]  # (H, W, 3) each
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    width = round(megapixels * 1e6 / height)
    large = np.empty((height, width, 3), np.uint8)
    for number, top in enumerate(range(0, height, 300)):
        row = [photos[(number + place) % 3][:300] for place in range(-(-width // 450))]
        strip = np.concatenate([each[:, ::-1] if number % 2 else each for each in row], axis=1)
        large[top : top + 300] = strip[: height - top, :width]
    return large


def seams(flags: argparse.Namespace) -> None:
    """Errors at the borders of tiles and elsewhere, with tiles and without."""
    choose_backend()
    from builders.codec_transforms import bundle_transforms
    from builders.picture_files import read_picture
    from codec.image_codec import ImageCodec
    from codec.picture import Picture

    bundle = read_bundle(find_bundle(flags.model))
    codec = ImageCodec(bundle, lambda: bundle_transforms(bundle))
    print("| image | tiles | bits per pixel | PSNR, dB | error at borders / elsewhere |")
    print("|---|---|---|---|---|")
    for path in flags.seams:
        picture = Picture(read_picture(path)[0].pixels)
        height, width = picture.pixels.shape[:2]
        tiling = codec.tiling_for(height, width, flags.tile)
        if tiling is None:
            raise SystemExit(f"{path}: {width}x{height} is one tile of {flags.tile}")
        near = np.zeros((height, width), bool)
        for left, top, _, _ in tiling.boxes(width, height):
            if left:
                near[:, left - AROUND : left + tiling.overlap + AROUND] = True
            if top:
                near[top - AROUND : top + tiling.overlap + AROUND] = True
        for tile, count in ((flags.tile, tiling.count(width, height)), (0, 1)):
            data = codec.compress(picture, tile=tile)
            decoded = codec.decompress(data).pixels.astype(np.float64)
            error = ((decoded - picture.pixels) ** 2).mean(axis=2)
            ratio = error[near].mean() / error[~near].mean()
            psnr = 10 * np.log10(255**2 / error.mean())
            bpp = 8 * len(data) / (height * width)
            print(f"| {path.name} | {count} | {bpp:.4f} | {psnr:.2f} | {ratio:.3f} |", flush=True)


if __name__ == "__main__":
    main()
