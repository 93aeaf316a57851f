"""scikit-image's colour photos as PNG files, whole, for `benchmark.py --dataset`.

    python -m benchmarks.held_out --output FOLDER

They come inside the package: nothing is downloaded. Left out is what is gray or drawn, and the
second view of the motorcycle, which shows the same scene. Two photos are large JPEG files; they are
made half as high and as wide (Lanczos), which hides most of what JPEG has left in them. The rocket,
a JPEG too, and the tissue, which was one before it was cut out, are small and stay as they are.
Colour profiles are left out.

The models in pretrained/ were trained on photos from elsewhere, as their cards say. A model that
was trained on the embedded `photos`, which are tiles of these, has seen most of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from builders.cli import Parser, run_command
from builders.errors import UserError

if TYPE_CHECKING:
    from codec.geometry import Pixels


@dataclass(frozen=True)
class Photo:
    """A photo of scikit-image.

    Attributes:
        name: of what it shows.
        file: in the package.
        halved: whether it is made half as high and as wide.
    """

    name: str
    file: str
    halved: bool = False


PHOTOS = (
    Photo("astronaut", "astronaut.png"),
    Photo("chelsea", "chelsea.png"),
    Photo("coffee", "coffee.png"),
    Photo("hubble_deep_field", "hubble_deep_field.jpg", halved=True),
    Photo("immunohistochemistry", "ihc.png"),
    Photo("motorcycle", "motorcycle_left.png"),
    Photo("retina", "retina.jpg", halved=True),
    Photo("rocket", "rocket.jpg"),
)


def build_parser() -> Parser:
    """The flags."""
    parser = Parser(prog="benchmarks.held_out", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", required=True, type=Path, metavar="FOLDER")
    return parser


def check_output(folder: Path) -> None:
    """Whether all photos can be written.

    Raises:
        UserError: the folder is a file, or has one of them already.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--output {folder}: is a file")
    there = [photo.name for photo in PHOTOS if (folder / f"{photo.name}.png").exists()]
    if there:
        more = f", and {len(there) - 1} more" if there[1:] else ""
        raise UserError(f"{folder / there[0]}.png: is there already{more}")


def read_photo(photo: Photo) -> "Pixels":
    """uint8 (H, W, 3), halved if that is wanted.

    Raises:
        UserError: scikit-image is missing.
        BrokenImage: it lacks the photo.
    """
    import numpy as np
    from PIL import Image

    from builders.image_reader import read_image

    try:
        data = files("skimage") / "data"
    except ModuleNotFoundError:
        raise UserError(
            "the photos come with scikit-image, which is not installed: pip install scikit-image"
        ) from None
    pixels = read_image(str(data / photo.file), 3)
    if not photo.halved:
        return pixels
    height, width = (side // 2 for side in pixels.shape[:2])
    # An odd last row or column is left out.
    box = (0, 0, 2 * width, 2 * height)
    return np.asarray(
        Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS, box)
    )


def main(argv: Sequence[str]) -> int:
    """Writes the photos, and prints a line for each."""
    folder = build_parser().parse_args(argv).output
    check_output(folder)
    from builders.picture_files import picture_bytes
    from builders.run_folder import write_atomically
    from codec.picture import Picture

    for photo in PHOTOS:
        pixels = read_photo(photo)
        path = folder / f"{photo.name}.png"
        write_atomically(path, picture_bytes(Picture(pixels), ".png"))
        height, width = pixels.shape[:2]
        print(f"{path}: {width}x{height}{', halved' if photo.halved else ''}")
    return 0


if __name__ == "__main__":
    run_command(main)
