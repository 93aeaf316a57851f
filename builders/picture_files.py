"""Pictures for codecs: image files in any format to pixels with what else is stored beside them."""

import io
import struct
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from builders.errors import RunError, UserError
from builders.image_reader import EXIF_HEADER, TRANSPOSITIONS, open_with_side_data
from codec.container import MAX_EXIF_BYTES, MAX_ICC_BYTES
from codec.picture import Picture

OUTPUT_SUFFIX = ".png"
LOSSY_SUFFIXES = {".jpg": "JPEG", ".jpeg": "JPEG"}
FORMATS = {
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".webp": "WEBP",
    ".ppm": "PPM",
    ".pgm": "PPM",
}
WITHOUT_ALPHA = (".bmp", ".ppm", ".pgm")
"""Pillow writes their alpha nowhere, or where its own reader does not look."""
PROFILE_SPACES = {1: b"GRAY", 3: b"RGB "}
"""Channels -> the colour space that an ICC profile names in its bytes 16 to 19."""
OTHER_SPACES = (b"GRAY", b"RGB ", b"CMYK", b"Lab ", b"XYZ ", b"Luv ", b"YCbr", b"HSV ", b"HLS ")


def read_picture(source: str | Path | bytes, name: str | None = None) -> tuple[Picture, list[str]]:
    """Reads an image file as a codec stores it: not turned, with profile, EXIF and alpha.

    Args:
        source: a path, or the bytes of a file.
        name: what to call bytes in messages.

    Returns:
        The picture, and notes on what of the file it leaves out.

    Raises:
        BrokenImage: it can't be read.
    """
    image, data = open_with_side_data(source, name=name)
    notes = []
    pixels = np.asarray(image)
    alpha = None
    if image.mode in ("LA", "RGBA"):
        alpha = np.ascontiguousarray(pixels[..., -1])
        pixels = pixels[..., :-1]
        if (alpha == 255).all():
            alpha = None
    pixels = np.ascontiguousarray(pixels.reshape(*pixels.shape[:2], -1))
    icc, exif = data.icc_profile, data.exif
    if icc is not None and len(icc) > MAX_ICC_BYTES:
        icc = None
        notes.append(f"left out: a colour profile of more than {MAX_ICC_BYTES >> 20} MiB")
    if icc is not None and _for_other_pixels(icc, pixels.shape[2]):
        notes.append(f"left out: a colour profile for {icc[16:20].decode().strip()} pixels")
        icc = None
    if exif is not None and len(exif) > MAX_EXIF_BYTES:
        exif = None
        notes.append(f"left out: EXIF data of more than {MAX_EXIF_BYTES >> 20} MiB")
    return Picture(pixels, alpha, icc, exif, data.orientation), notes


def picture_bytes(picture: Picture, suffix: str) -> bytes:
    """A picture as the bytes of an image file, with its profile and EXIF data.

    Args:
        picture: what to write. It is turned as its orientation says, and says so no more.
        suffix: of the file, which decides its format.

    Raises:
        UserError: no format of images without loss has this suffix.
        RunError: the format can't hold the picture.
    """
    suffix = suffix.lower()
    if suffix in LOSSY_SUFFIXES:
        raise UserError(
            f"{suffix}: {LOSSY_SUFFIXES[suffix]} would lose more of the picture; use "
            f"{', '.join(FORMATS)}"
        )
    if suffix not in FORMATS:
        raise UserError(f'"{suffix}": no known kind of image; use {", ".join(FORMATS)}')
    pixels = picture.pixels
    if picture.alpha is not None:
        if suffix in WITHOUT_ALPHA:
            raise RunError(f"{suffix}: can't hold the picture's alpha; .png can")
        pixels = np.concatenate([pixels, picture.alpha[..., None]], axis=2)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    turn = TRANSPOSITIONS.get(picture.orientation)
    if turn is not None:
        image = image.transpose(turn)
    # `exact` keeps the colours of transparent pixels.
    options: dict[str, object] = {"lossless": True, "exact": True} if suffix == ".webp" else {}
    if picture.icc_profile is not None:
        options["icc_profile"] = picture.icc_profile
    if picture.exif is not None and suffix in (".png", ".webp", ".tif", ".tiff"):
        exif = _upright_exif(picture.exif)
        if exif is not None:
            options["exif"] = exif
    file = io.BytesIO()
    try:
        image.save(file, FORMATS[suffix], **options)
    except (OSError, ValueError) as error:
        raise RunError(f"{suffix}: can't hold this picture: {error}") from None
    return file.getvalue()


def _for_other_pixels(profile: bytes, channels: int) -> bool:
    """Whether a profile is for pixels of before the reader made gray or RGB of them."""
    space = profile[16:20]
    return space in OTHER_SPACES and space != PROFILE_SPACES[channels]


def _upright_exif(block: bytes) -> bytes | None:
    """An EXIF block that says the pixels are upright; None where it is damaged."""
    exif = Image.Exif()
    try:
        exif.load(EXIF_HEADER + block)
        if ExifTags.Base.Orientation in exif:
            exif[ExifTags.Base.Orientation] = 1
        return exif.tobytes()
    except (ValueError, SyntaxError, KeyError, TypeError, OSError, struct.error):
        return None
