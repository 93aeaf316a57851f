"""What rounding that looks at costs saves: files and their quality at several prices of a bit.

    python -m benchmarks.rounding --model photo_fast --images FOLDER

Every image is coded to a whole file and back, at five qualities for each price. The table has bits
per pixel and PSNR, means over the images, and the BD-rate against plain rounding, which is price 0.
codec/thrifty_rounding.py says what a price is.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from benchmarks.rate_control import find_images, for_one_picture, open_scalable, psnr_db
from builders.cli import Parser, positive, run_command
from builders.codec_choice import quality_index
from builders.coding_flags import add_model
from builders.errors import UserError

if TYPE_CHECKING:
    from codec.image_codec import ImageCodec
    from codec.picture import Picture

PRICES = (0.0, 0.02, 0.03, 0.045, 0.06, 0.08, 0.116)
QUALITIES = (10, 30, 50, 70, 90)
"""As `compress.py --quality`."""

Point = tuple[float, float]
"""Bits per pixel and PSNR (dB)."""


def build_parser() -> Parser:
    """The flags."""
    parser = Parser(prog="benchmarks.rounding", description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add_model(parser, "a codec bundle of a hyperprior, a run that has one")
    add("--images", required=True, metavar="FOLDER")
    add("--most", type=positive, default=24, help="images, in the order of their names")
    return parser


def points_of(codec: "ImageCodec", picture: "Picture") -> dict[tuple[float, int], Point]:
    """What a picture takes and how good it is, by price and quality."""
    from codec.hyperprior_coder import HyperpriorCoder

    once = for_one_picture(codec)
    if not isinstance(once.coder, HyperpriorCoder):
        raise UserError(f"--model {codec.bundle.path}: is no hyperprior")
    found = {}
    for price in PRICES:
        once.coder.bit_price = price
        for quality in QUALITIES:
            data = once.compress(picture, quality_index(quality, codec.bundle.qualities))
            pixels = picture.pixels
            bpp = 8 * len(data) / (pixels.shape[0] * pixels.shape[1])
            found[price, quality] = (bpp, psnr_db(pixels, once.decompress(data).pixels))
    return found


def table(
    images: Sequence[dict[tuple[float, int], Point]],
    settings: Sequence[float] = PRICES,
    name: str = "price",
) -> str:
    """Means over images, in Markdown.

    Args:
        images: points of each, by setting and quality.
        settings: a row each; the others are compared with the first.
        name: what they are.
    """
    from evaluation.bd_rate import NoComparisonError, bd_rate

    lines = [
        f"| {name} | {' | '.join(f'quality {q}: bpp, dB' for q in QUALITIES)} | BD-rate |",
        "|---" * (len(QUALITIES) + 2) + "|",
    ]
    plain: tuple[list[float], list[float]] | None = None
    for setting in settings:
        rates, psnrs = (
            [fmean(image[setting, quality][part] for image in images) for quality in QUALITIES]
            for part in (0, 1)
        )
        plain = plain or (rates, psnrs)
        cells = " | ".join(f"{bpp:.4f}, {db:.3f}" for bpp, db in zip(rates, psnrs, strict=True))
        try:
            difference = f"{bd_rate(*plain, rates, psnrs).value:+.2f} %"
        except NoComparisonError as error:
            difference = f"none: {error}"
        lines.append(f"| {setting:g} | {cells} | {difference} |")
    return "\n".join(lines)


def main(argv: Sequence[str]) -> int:
    """Prints a table; see the module."""
    flags = build_parser().parse_args(argv)
    names = find_images(flags.images, flags.most)
    codec = open_scalable(flags.model)
    from builders.picture_files import read_picture

    folder = Path(flags.images)
    images = [points_of(codec, read_picture(folder / name)[0]) for name in names]
    print(table(images))
    return 0


if __name__ == "__main__":
    run_command(main)
