"""One image file, or the bytes of one, as a uint8 array (H, W, C) with 1, 3 or 4 channels.

Pillow decodes; this module makes its many pixel modes into four (`L`, `LA`, `RGB`, `RGBA`, eight
bits each) and every way in which a file can be bad into one exception, `BrokenImage`.

Colour profiles are not applied: a codec gives back the numbers it was given.
"""

import errno
import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError

from builders.errors import RunError
from constants.data import ALPHA_BACKGROUND, IMAGE_FORMATS, PIXEL_LIMIT

# What Pillow raises for files that are not in order. Seen when fuzzing all formats of
# IMAGE_FORMATS: OSError (with UnidentifiedImageError), ValueError, SyntaxError, RuntimeError (with
# NotImplementedError: AVIF, DDS), AssertionError (a PSD that names a palette and has none) and
# DecompressionBombError. The others come from code that reads numbers and tables out of a header
# without checks of its own. MemoryError is Pillow's answer to sizes that overflow its arithmetic.
_DECODING_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    RuntimeError,
    AssertionError,
    TypeError,
    EOFError,
    LookupError,  # IndexError, KeyError
    ArithmeticError,  # OverflowError, ZeroDivisionError
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)

# The machine's troubles, not the file's: these are never blamed on an image.
_MACHINE_ERRNOS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO})

TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

EXIF_HEADER = b"Exif\x00\x00"
"""What stands before an EXIF block in JPEG files, and in some others."""

_SIXTEEN_BIT_MODES = ("I;16", "I;16L", "I;16B", "I;16N")

_PLAIN_REASONS = {
    FileNotFoundError: "no such file",
    PermissionError: "permission denied",
    IsADirectoryError: "is a folder",
    MemoryError: "not enough memory to decode it",
}

_PLAIN_MODES = ("L", "LA", "RGB", "RGBA")
_MODE_OF_CHANNELS = {1: "L", 3: "RGB", 4: "RGBA"}

_PILLOW_MODULES = r"PIL\."


class BrokenImage(RunError):  # noqa: N818 - it names the file, not what Python did
    """A file that cannot be read as an image or a video.

    Attributes:
        path: the file, as it was named by the caller.
        reason: one line that says what is wrong with it.
    """

    def __init__(self, path: str | Path, reason: str) -> None:
        self.path = str(path)
        self.reason = reason
        super().__init__(f"{self.path}: {reason}")


def read_image(path: str | Path, channels: int, *, pixel_limit: int = PIXEL_LIMIT) -> np.ndarray:
    """Reads one image file.

    Args:
        path: the file. Its content decides on the format, not its suffix.
        channels: 1 (luma of ITU-R BT.601), 3 (RGB) or 4 (RGB and alpha).
        pixel_limit: pixels above which the file is refused before decoding.

    Returns:
        uint8 (H, W, channels), 0..255, upright (EXIF orientation applied). Alpha is laid over
        white when `channels` is 1 or 3; without alpha in the file the fourth channel is 255.

    Raises:
        BrokenImage: the file cannot be read, whatever the reason.
    """
    return as_array(open_image(path, pixel_limit=pixel_limit), channels)


def open_image(
    source: str | Path | bytes,
    *,
    name: str | None = None,
    upright: bool = True,
    pixel_limit: int = PIXEL_LIMIT,
) -> Image.Image:
    """Decodes an image into one of the four modes `L`, `LA`, `RGB` and `RGBA`.

    The mode tells what is stored: gray or colour, with or without alpha. A palette counts as
    colour when a pixel uses a colour that is not gray. 16-bit gray becomes round(value / 257)
    (a TIFF of 12 bits: round(value * 255 / 4095)); 32-bit integers are taken as 16-bit values
    and floats as 0..1, and are refused outside. Pillow itself hands out 16-bit colour as its
    high byte, which is at most one level below the rounded value. Of animations the first frame
    counts.

    Args:
        source: a path, or the bytes of a file.
        name: what to call bytes in messages.
        upright: whether to apply the EXIF orientation.
        pixel_limit: pixels above which the image is refused before decoding.

    Returns:
        A loaded Pillow image.

    Raises:
        BrokenImage: the image cannot be read, whatever the reason.
    """
    image, data = open_with_side_data(source, name=name, pixel_limit=pixel_limit)
    turn = TRANSPOSITIONS.get(data.orientation) if upright else None
    return image if turn is None else image.transpose(turn)


@dataclass(frozen=True)
class SideData:
    """What an image file holds beside its pixels.

    Attributes:
        icc_profile: the colour profile as it is, or None.
        exif: the EXIF block from "II" or "MM" on, or None.
        orientation: EXIF orientation, 1..8.
    """

    icc_profile: bytes | None
    exif: bytes | None
    orientation: int


def open_with_side_data(
    source: str | Path | bytes, *, name: str | None = None, pixel_limit: int = PIXEL_LIMIT
) -> tuple[Image.Image, SideData]:
    """Decodes an image once: its pixels, not turned, and what the file holds beside them.

    Args and errors are those of `open_image`.
    """
    label = name or (str(source) if isinstance(source, (str, Path)) else "image in memory")
    _hush_pillow()
    try:
        file = io.BytesIO(source) if isinstance(source, bytes) else source
        with Image.open(file, formats=IMAGE_FORMATS) as image:
            width, height = image.size
            if width < 1 or height < 1:
                raise BrokenImage(label, f"has no pixels ({width}x{height})")
            if width * height > pixel_limit:
                raise BrokenImage(
                    label,
                    f"{width}x{height} is {width * height} pixels, over the limit of {pixel_limit}",
                )
            image.load()  # a PNG may hold its EXIF block behind the pixels
            return _eight_bit(image, label), _side_data(image)
    except _DECODING_ERRORS as error:
        if isinstance(error, OSError) and error.errno in _MACHINE_ERRNOS:
            raise
        raise BrokenImage(label, _reason(error, source, pixel_limit)) from error


def _side_data(image: Image.Image) -> SideData:
    icc, exif = image.info.get("icc_profile"), image.info.get("exif")
    turn = _orientation(image)
    block = exif.removeprefix(EXIF_HEADER) if isinstance(exif, bytes) else b""
    return SideData(
        icc if isinstance(icc, bytes) and icc else None,
        block if block[:2] in (b"II", b"MM") else None,
        turn if 1 <= turn <= 8 else 1,
    )


def as_array(image: Image.Image, channels: int) -> np.ndarray:
    """Pixels of an image in mode `L`, `LA`, `RGB` or `RGBA` with the channels asked for.

    Args:
        image: as `open_image` returns it.
        channels: 1, 3 or 4.

    Returns:
        uint8 (H, W, channels), C-contiguous, writable.

    Raises:
        ValueError: `channels` is none of 1, 3, 4.
    """
    if channels not in _MODE_OF_CHANNELS:
        raise ValueError(f"images have 1, 3 or 4 channels, not {channels}")
    if channels != 4 and image.mode in {"LA", "RGBA"}:
        image = _over_background(image)
    mode = _MODE_OF_CHANNELS[channels]
    pixels = np.array(image if image.mode == mode else image.convert(mode))
    return pixels[:, :, None] if channels == 1 else pixels


def _over_background(image: Image.Image) -> Image.Image:
    """Composites `LA` or `RGBA` on the background: (c a + b (255 - a)) / 255, rounded."""
    pixels = np.asarray(image).astype(np.uint16)
    alpha = pixels[:, :, -1:]
    # At most 255 * 255 + 127, which fits 16 bits.
    mixed = (pixels[:, :, :-1] * alpha + ALPHA_BACKGROUND * (255 - alpha) + 127) // 255
    mixed = mixed.astype(np.uint8)
    return Image.fromarray(mixed[:, :, 0] if mixed.shape[-1] == 1 else mixed)


def _eight_bit(image: Image.Image, label: str) -> Image.Image:
    """Brings any mode of Pillow to `L`, `LA`, `RGB` or `RGBA`."""
    mode = image.mode
    if mode in _PLAIN_MODES and "transparency" not in image.info:
        return image
    if mode in _SIXTEEN_BIT_MODES or mode in {"I", "F"}:
        return _from_wide(image, label)
    if mode in {"P", "PA"}:
        return _without_palette(image)
    if mode in {"1", "L", "La", "LA"}:
        return image.convert("LA" if image.has_transparency_data else "L")
    # RGB, RGBA, RGBa, RGBX, CMYK, YCbCr, HSV, LAB.
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _from_wide(image: Image.Image, label: str) -> Image.Image:
    """Scales gray of more than eight bits: round(value * 255 / white)."""
    values = np.asarray(image)
    white = _white(image)
    if not ((values >= 0) & (values <= white)).all():  # so written that not-a-number fails too
        raise BrokenImage(
            label,
            f"pixels from {values.min():g} to {values.max():g} in mode {image.mode}; only 0 to "
            f"{white:g} can be scaled to 8 bit",
        )
    if image.mode == "F":
        return Image.fromarray(np.rint(values * 255.0).astype(np.uint8))
    wide = values.astype(np.uint32)
    gray = Image.fromarray(((wide * 255 + white // 2) // white).astype(np.uint8))
    transparent = image.info.get("transparency")
    if not isinstance(transparent, int):
        return gray
    alpha = np.where(wide == transparent, 0, 255).astype(np.uint8)
    return Image.merge("LA", (gray, Image.fromarray(alpha)))


def _white(image: Image.Image) -> int:
    """The value of white: 1 in floats, 65535 in integers, 4095 in a TIFF of 12 bits a sample."""
    if image.mode == "F":
        return 1
    if image.mode != "I" and isinstance(image, TiffImagePlugin.TiffImageFile):
        bits = image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (16,))[0]
        return int((1 << int(bits)) - 1)
    return 65535


def _without_palette(image: Image.Image) -> Image.Image:
    """Looks the colours up; gray when no pixel has another colour."""
    transparent = image.has_transparency_data
    image = image.convert("RGBA" if transparent else "RGB")
    pixels = np.asarray(image)
    is_gray = bool(
        (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all()
    )
    if not is_gray:
        return image
    gray = image.getchannel("R")
    return Image.merge("LA", (gray, image.getchannel("A"))) if transparent else gray


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8; 1 when the file has none or its EXIF block is damaged."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except _DECODING_ERRORS:  # the pixels are there; only what is written about them is not
        return 1


def _reason(error: BaseException, source: str | Path | bytes, pixel_limit: int) -> str:
    """One line for a person."""
    for kind, text in _PLAIN_REASONS.items():
        if isinstance(error, kind):
            return text
    if isinstance(error, UnidentifiedImageError):
        size = len(source) if isinstance(source, bytes) else Path(source).stat().st_size
        return "is empty" if size == 0 else "is not an image of a known format"
    if isinstance(error, Image.DecompressionBombError):
        return f"decompression bomb: more than {min(pixel_limit, PIXEL_LIMIT)} pixels"
    text = " ".join(str(error).split()) or type(error).__name__
    return f"damaged: {text}"


def _hush_pillow() -> None:
    """Keeps Pillow's warnings from the user; what matters in them comes as an error anyway.

    A filter for Pillow's own modules, added once and never taken away: `catch_warnings` would be
    undone in the wrong order when several threads decode.
    """
    for action, _, _, module, _ in warnings.filters:
        if action == "ignore" and getattr(module, "pattern", None) == _PILLOW_MODULES:
            return
    warnings.filterwarnings("ignore", module=_PILLOW_MODULES)
