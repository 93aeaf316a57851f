"""What it gains that an encoder looks again at what is decoded of its latents, and what it takes.

    python -m benchmarks.effort --model photo_fast --images FOLDER

Every image is coded to a whole file and back at five qualities for each --effort of compress.py.
The table has bits per pixel and PSNR, means over the images, and the BD-rate against effort 0;
below it stands how long a file takes, transform and coding, median over images and qualities.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.rate_control import find_images, open_scalable, psnr_db
from benchmarks.rounding import QUALITIES, Point, table
from builders.cli import Parser, positive, run_command
from builders.codec_choice import quality_index
from builders.coding_flags import add_model

if TYPE_CHECKING:
    from codec.image_codec import ImageCodec
    from codec.picture import Picture

EFFORTS = (0, 1, 2, 4, 8)
"""As `compress.py --effort`."""


def build_parser() -> Parser:
    """The flags."""
    parser = Parser(prog="benchmarks.effort", description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add_model(parser, "a codec bundle of several qualities, a run that has one")
    add("--images", required=True, metavar="FOLDER")
    add("--most", type=positive, default=24, help="images, in the order of their names")
    return parser


def points_of(
    codec: "ImageCodec", picture: "Picture", seconds: dict[int, list[float]]
) -> dict[tuple[float, int], Point]:
    """What a picture takes and how good it is, by effort and quality.

    Args:
        codec: its effort is changed.
        picture: which.
        seconds: what each file took is added here, by effort.
    """
    pixels, found = picture.pixels, {}
    for effort in EFFORTS:
        codec.effort = effort
        for quality in QUALITIES:
            began = time.perf_counter()
            data = codec.compress(picture, quality_index(quality, codec.bundle.qualities))
            seconds.setdefault(effort, []).append(time.perf_counter() - began)
            bpp = 8 * len(data) / (pixels.shape[0] * pixels.shape[1])
            found[float(effort), quality] = (bpp, psnr_db(pixels, codec.decompress(data).pixels))
    return found


def main(argv: Sequence[str]) -> int:
    """Prints a table; see the module."""
    flags = build_parser().parse_args(argv)
    names = find_images(flags.images, flags.most)
    codec = open_scalable(flags.model, EFFORTS[-1])
    from builders.picture_files import read_picture

    pictures = [read_picture(Path(flags.images) / name)[0] for name in names]
    points_of(codec, pictures[0], {})  # graphs are made when they are first called for
    seconds: dict[int, list[float]] = {}
    images = [points_of(codec, picture, seconds) for picture in pictures]
    print(table(images, EFFORTS, "effort"))
    times = (f"{effort}: {median(found):.2f}" for effort, found in seconds.items())
    print(f"\nSeconds a file, by effort: {', '.join(times)}.")
    return 0


if __name__ == "__main__":
    run_command(main)
