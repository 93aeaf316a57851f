"""Whether size and quality rise with --quality, and how close files come to --target_bpp.

    python -m benchmarks.rate_control --model photo_fast --images FOLDER

Every image is coded to a whole file and back at qualities 1, 5, 10, ... 95 and 100 of compress.py.
The first table has a row for each image: bits per pixel and PSNR at the lowest and at the highest
quality, and all steps from one quality to the next with which the file did not become larger, or
the PSNR not higher, with the difference.

Then each target that lies between an image's smallest and largest file is aimed at as compress.py
--target_bpp does. The second table has how far below the target the files are, in percent of it.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builders.cli import Parser, positive, run_command
from builders.codec_choice import find_bundle, open_codec, quality_index, read_bundle
from builders.coding_flags import add_effort, add_model, effort_of, start_keras
from builders.errors import RunError, UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from codec.geometry import Pixels
    from codec.image_codec import ImageCodec
    from codec.picture import Picture, Transforms

QUALITIES = (1, *range(5, 101, 5))
"""As `compress.py --quality`."""
TARGETS_BPP = (0.15, 0.25, 0.5, 0.75, 1.0, 1.5)
"""As `compress.py --target_bpp`."""


class AnalysedOnce:
    """Networks of one picture, which analyse each of its tiles once.

    Args:
        transforms: the networks.
    """

    def __init__(self, transforms: "Transforms") -> None:
        self.analyse = remembered(transforms.analyse)
        self.synthesise = transforms.synthesise
        self.pull_back = transforms.pull_back


def remembered(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of an array that computes once for each array it is given, and keeps all results.

    Args:
        function: its results are not written to.
    """
    results: dict[tuple[tuple[int, ...], bytes], Any] = {}

    def once(array: "NDArray[Any]") -> Any:
        key = array.shape, array.tobytes()
        if key not in results:
            results[key] = function(array)
        return results[key]

    return once


def for_one_picture(codec: "ImageCodec") -> "ImageCodec":
    """The same codec, which does once for a picture what is the same at all qualities.

    That is the analysis and, of a hyperprior, the integer network, which take most of the time.

    Args:
        codec: whose networks do the work.
    """
    from codec.hyperprior_coder import HyperpriorCoder
    from codec.image_codec import ImageCodec

    engine = None
    if isinstance(codec.coder, HyperpriorCoder):
        engine = remembered(codec.coder.network.run)
    once = AnalysedOnce(codec.transforms)
    return ImageCodec(codec.bundle, lambda: once, engine, codec.effort)


@dataclass(frozen=True)
class Point:
    """An image at one quality.

    Attributes:
        quality: as `compress.py --quality`.
        size: of the file, in bytes.
        psnr_db: of all its channels together.
    """

    quality: int
    size: int
    psnr_db: float


@dataclass(frozen=True)
class Step:
    """From one quality to the next.

    Attributes:
        low: quality.
        high: the next one.
        rise: of the size in bytes, or of the PSNR in dB.
    """

    low: int
    high: int
    rise: float

    def in_words(self, unit: str) -> str:
        """For a table."""
        rise = f"{self.rise:,}" if unit == "bytes" else f"{self.rise:.2g}"
        return f"{self.low} to {self.high}: {rise} {unit}"


@dataclass(frozen=True)
class Measured:
    """What came of an image.

    Attributes:
        name: of its file.
        pixels: how many.
        points: from the lowest quality to the highest.
        below: target in bits per pixel -> how far its file is below, in percent of the target.
    """

    name: str
    pixels: int
    points: list[Point]
    below: dict[float, float]

    @property
    def wrong_sizes(self) -> list[Step]:
        """Steps with which the file does not become larger."""
        return _not_rising(self.points, [point.size for point in self.points])

    @property
    def wrong_psnrs(self) -> list[Step]:
        """Steps with which the PSNR does not become higher."""
        return _not_rising(self.points, [point.psnr_db for point in self.points])

    @property
    def row(self) -> str:
        """Its line in the first table."""
        first, last = self.points[0], self.points[-1]
        low, high = (8 * point.size / self.pixels for point in (first, last))
        sizes = ", ".join(step.in_words("bytes") for step in self.wrong_sizes)
        psnrs = ", ".join(step.in_words("dB") for step in self.wrong_psnrs)
        return (
            f"| {self.name} | {low:.3f} to {high:.3f} | {first.psnr_db:.2f} to {last.psnr_db:.2f} "
            f"| {sizes or 'nowhere'} | {psnrs or 'nowhere'} |"
        )


def _not_rising(points: Sequence[Point], values: Sequence[float]) -> list[Step]:
    steps = [
        Step(low.quality, high.quality, after - before)
        for (low, high), (before, after) in zip(pairwise(points), pairwise(values), strict=True)
    ]
    return [step for step in steps if step.rise <= 0]


def build_parser() -> Parser:
    """The flags."""
    parser = Parser(prog="benchmarks.rate_control", description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add_model(parser, "a codec bundle, a run that has one")
    add("--images", required=True, metavar="FOLDER")
    add("--most", type=positive, default=24, help="images, in the order of their names")
    add_effort(parser)
    return parser


def find_images(folder: str, most: int) -> list[str]:
    """Names of the first images of a folder.

    Raises:
        UserError: there are none.
    """
    from builders.file_search import files_below
    from constants.data import IMAGE_SUFFIXES

    if not Path(folder).is_dir():
        raise UserError(f"--images {folder}: no such folder")
    names = files_below(Path(folder), IMAGE_SUFFIXES)[:most]
    if not names:
        raise UserError(f"--images {folder}: no images there")
    return names


def measure(codec: "ImageCodec", picture: "Picture", name: str) -> Measured:
    """Codes an image at all qualities and for all targets between its smallest and largest file.

    Args:
        codec: of several qualities.
        picture: the image.
        name: of its file.

    Raises:
        NicError, PictureError, LatentsError: the codec can't take it.
    """
    points = []
    # A model of few qualities has the same one for several of ours.
    for index, quality in {quality_index(q, codec.bundle.qualities): q for q in QUALITIES}.items():
        data = codec.compress(picture, index)
        decoded = codec.decompress(data).pixels
        points.append(Point(quality, len(data), psnr_db(picture.pixels, decoded)))
    height, width = picture.pixels.shape[:2]
    below = {}
    for target in TARGETS_BPP:
        most_bytes = target * height * width / 8
        if points[0].size <= most_bytes <= points[-1].size:
            data = codec.compress_to(picture, int(most_bytes))
            below[target] = 100 * (1 - len(data) / most_bytes)
    return Measured(name, height * width, points, below)


def psnr_db(original: "Pixels", decoded: "Pixels") -> float:
    """PSNR of 8-bit pixels, one mean squared error over all channels; at most `CAP_DB`."""
    import numpy as np

    from evaluation.measures import CAP_DB, PEAK

    error = float(np.mean(np.square(decoded.astype(np.float64) - original)))
    return min(CAP_DB, 10 * math.log10(PEAK**2 / error)) if error else CAP_DB


def measure_all(codec: "ImageCodec", folder: Path, names: Sequence[str]) -> Iterator[Measured]:
    """Measures one image after the other.

    Args:
        codec: of several qualities.
        folder: where the images are.
        names: of their files.

    Raises:
        RunError: one can't be read or coded.
    """
    from builders.picture_files import read_picture
    from codec.errors import NicError
    from codec.latent_coder import LatentsError
    from codec.picture import PictureError

    for name in names:
        picture, _ = read_picture(folder / name)
        try:
            measured = measure(for_one_picture(codec), picture, name)
        except (NicError, PictureError, LatentsError) as error:
            raise RunError(f"{folder / name}: {error}") from None
        yield measured


def summary(found: Sequence[Measured]) -> str:
    """In how many images size and PSNR rise with every step, and the worst step of each."""
    lines = []
    for what, unit, wrong in (
        ("size", "bytes", [each.wrong_sizes for each in found]),
        ("PSNR", "dB", [each.wrong_psnrs for each in found]),
    ):
        line = f"The {what} rises with every step in {wrong.count([])} of {len(found)} images"
        steps = [
            (step, each.name) for each, some in zip(found, wrong, strict=True) for step in some
        ]
        if steps:
            step, name = min(steps, key=lambda pair: pair[0].rise)
            line += f"; the worst is {name}, {step.in_words(unit)}"
        lines.append(f"{line}.")
    return "\n".join(lines)


def target_table(found: Sequence[Measured]) -> str:
    """The second table, in Markdown."""
    lines = ["| target, bpp | images | below it, mean, % | worst, % |", "|---|---|---|---|"]
    for target in TARGETS_BPP:
        below = [(each.below[target], each.name) for each in found if target in each.below]
        cells = "- | -"
        if below:
            worst, name = max(below)
            mean = sum(percent for percent, _ in below) / len(below)
            cells = f"{mean:.2f} | {worst:.2f} ({name})"
        lines.append(f"| {target:g} | {len(below)} | {cells} |")
    return "\n".join(lines)


def open_scalable(model: str | None, effort: int | None = 0) -> "ImageCodec":
    """The codec of a bundle that has several qualities.

    Args:
        model: as --model names it.
        effort: as --effort.

    Raises:
        UserError: there is no such bundle, or it has one quality, or it can't use that effort.
    """
    bundle = read_bundle(find_bundle(model))
    if bundle.qualities == 1:
        raise UserError(f"--model {bundle.path}: {bundle.manifest.name} has one quality")
    passes = effort_of(effort, bundle)
    return open_codec(bundle, start_keras(bundle, "float32", 1), passes)


def main(argv: Sequence[str]) -> int:
    """Prints two tables; see the module."""
    flags = build_parser().parse_args(argv)
    names = find_images(flags.images, flags.most)
    codec = open_scalable(flags.model, flags.effort)
    print("| image | bpp | PSNR, dB | size does not rise | PSNR does not rise |")
    print("|---|---|---|---|---|")
    found = []
    for each in measure_all(codec, Path(flags.images), names):
        found.append(each)
        print(each.row, flush=True)
    print(f"\n{summary(found)}\n\n{target_table(found)}")
    return 0


if __name__ == "__main__":
    run_command(main)
