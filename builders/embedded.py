"""Data sets that come with libraries the project needs anyway: no download, no files.

- `digits`: scikit-learn's 1797 handwritten digits, 8x8 pixels (UCI Optical Recognition of
  Handwritten Digits, test part).
- `photos`: the colour photos inside scikit-image's wheel, cut into tiles.
"""

import importlib.util
from pathlib import Path

import numpy as np
from PIL import Image

from builders.channels import Color, check_found, convert_channels
from builders.errors import UserError
from builders.image_reader import read_image
from builders.sources import ArraySource, ImageSource, Size, SplitSources, SubsetSource
from builders.splits import SPLIT_NAMES, SplitName, evenly, exact_split

EMBEDDED_NAMES = ("digits", "photos")

_DIGITS_MAX = 16.0  # the digits' white; black is 0

# Photo -> its files in scikit-image's wheel, in the order in which they are held out: first test,
# then validation. Everyday scenes come first: medical and space pictures would make odd judges.
# The two views of the motorcycle show one scene, so they count as one photo. Left out is what is
# gray, drawn, or only downloaded on demand.
_PHOTO_FILES = {
    "chelsea": ("chelsea.png",),
    "coffee": ("coffee.png",),
    "rocket": ("rocket.jpg",),
    "astronaut": ("astronaut.png",),
    "motorcycle": ("motorcycle_left.png", "motorcycle_right.png"),
    "hubble_deep_field": ("hubble_deep_field.jpg",),
    "immunohistochemistry": ("ihc.png",),
    "retina": ("retina.jpg",),
}


def open_digits(
    size: Size,
    channels: int,
    *,
    color: Color | None = None,
    validation_fraction: float,
    test_fraction: float,
    max_images: int | None = None,
) -> SplitSources:
    """The handwritten digits, enlarged.

    Levels 0..16 become 0..255, then each digit is enlarged (bicubic, in floating point), clipped
    and rounded.

    Args:
        size: height and width wanted.
        channels: C, 1, 3 or 4.
        color: the dataset section's `color`.
        validation_fraction: share of the digits for validation.
        test_fraction: share of the digits for testing.
        max_images: keep so many of each split, evenly spaced.

    Returns:
        The three splits, exact in number.

    Raises:
        UserError: scikit-learn is missing, or the spec wants colour and did not say so.
    """
    check_found('"digits"', channels=channels, color=color, colour_example=None)
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise UserError(
            '"digits" come with scikit-learn, which is not installed: pip install scikit-learn'
        ) from error
    levels = load_digits().images.astype(np.float32) * (255.0 / _DIGITS_MAX)  # (1797, 8, 8)
    height, width = size
    images = np.empty((len(levels), height, width, channels), np.uint8)
    for index, level in enumerate(levels):
        large = Image.fromarray(level).resize((width, height), Image.Resampling.BICUBIC)
        gray = np.rint(np.clip(np.asarray(large), 0.0, 255.0)).astype(np.uint8)
        images[index] = convert_channels(gray[:, :, None], channels)
    names = [f"digit {index}" for index in range(len(images))]
    assigned = exact_split(names, validation_fraction, test_fraction)
    source = ArraySource(images, names)
    note = (
        f"digits: scikit-learn's {len(images)} handwritten digits of 8x8 pixels, enlarged to "
        f"{height}x{width} (bicubic)"
    )
    return _split(source, [assigned[name] for name in names], max_images, [note])


def open_photos(
    tile: Size,
    channels: int,
    *,
    color: Color | None = None,
    validation_fraction: float,
    test_fraction: float,
    max_images: int | None = None,
) -> SplitSources:
    """scikit-image's colour photos, cut into tiles that do not overlap.

    The grid of tiles lies in the middle of each photo; what is left at the borders is not used.
    All tiles of a photo are in the same split,
    and the photos are held out in a fixed order.

    Args:
        tile: height and width of a tile.
        channels: C, 1, 3 or 4.
        color: the dataset section's `color`.
        validation_fraction: share of the photos for validation.
        test_fraction: share of the photos for testing.
        max_images: keep so many tiles of each split, evenly spaced.

    Returns:
        The three splits.

    Raises:
        UserError: scikit-image is missing, a tile is larger than the smallest photo, or the spec
            wants grayscale and did not say so.
    """
    check_found('"photos"', channels=channels, color=color, colour_example="every photo")
    folder = _photo_folder()
    height, width = tile
    tiles: list[np.ndarray] = []
    names: list[str] = []
    owners: list[str] = []
    for photo, files in _PHOTO_FILES.items():
        for file in files:
            pixels = read_image(folder / file, channels)
            rows, columns = pixels.shape[0] // height, pixels.shape[1] // width
            if not rows or not columns:
                raise UserError(
                    f'"photos": tiles of {height}x{width} were asked for, {photo} has only '
                    f"{pixels.shape[0]}x{pixels.shape[1]} pixels"
                )
            top = (pixels.shape[0] - rows * height) // 2
            left = (pixels.shape[1] - columns * width) // 2
            for row in range(rows):
                for column in range(columns):
                    y, x = top + row * height, left + column * width
                    tiles.append(pixels[y : y + height, x : x + width])
                    names.append(f"{file} at {y},{x}")
                    owners.append(photo)
    assigned = exact_split(list(_PHOTO_FILES), validation_fraction, test_fraction, by_hash=False)
    members = {split: [p for p in _PHOTO_FILES if assigned[p] == split] for split in SPLIT_NAMES}
    note = (
        f"photos: {len(tiles)} tiles of {height}x{width} from scikit-image's photos; "
        + "; ".join(f"{split}: {', '.join(photos)}" for split, photos in members.items() if photos)
    )
    return _split(
        ArraySource(np.stack(tiles), names), [assigned[o] for o in owners], max_images, [note]
    )


def _photo_folder() -> Path:
    # The files are read in place: skimage.data would also go looking for them on the network.
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise UserError(
            '"photos" come with scikit-image, which is not installed: pip install scikit-image'
        )
    folder = Path(spec.origin).parent / "data"
    missing = [f for files in _PHOTO_FILES.values() for f in files if not (folder / f).is_file()]
    if missing:
        raise UserError(f'"photos": scikit-image has no {", ".join(missing)} in {folder}')
    return folder


def _split(
    source: ArraySource, assigned: list[str], max_images: int | None, notes: list[str]
) -> SplitSources:
    parts: dict[SplitName, ImageSource] = {}
    for split in SPLIT_NAMES:
        rows = np.flatnonzero([one == split for one in assigned])
        parts[split] = SubsetSource(source, evenly(rows, max_images))
    return SplitSources.of(parts, notes)
