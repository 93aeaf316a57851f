"""Which bundle a command works with."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from builders.errors import RunError, UserError
from builders.export_formats import BUNDLE_FILE

if TYPE_CHECKING:
    from codec.bundle import Bundle
    from codec.image_codec import ImageCodec
    from codec.picture import Transforms

PRETRAINED = Path(__file__).resolve().parent.parent / "pretrained"
DEFAULT_BUNDLE = PRETRAINED / "photo"
"""What compress.py and decompress.py use where no bundle is named."""


def find_bundle(given: str | None, flag: str = "--model") -> Path:
    """The folder of a bundle.

    Args:
        given: by the user: a bundle, a run folder with one, or a name in `pretrained/`; None for
            the default.
        flag: that it was given with, for messages.

    Raises:
        UserError: there is none.
    """
    if given is None:
        return DEFAULT_BUNDLE
    path = Path(given)
    try:
        for each in (path, path / "export" / "codec", PRETRAINED / given):
            if (each / BUNDLE_FILE).is_file():
                return each
        missing = not path.exists()
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        raise UserError(f"{flag} {given}: {error.strerror}") from None
    if missing:
        names = sorted(each.parent.name for each in PRETRAINED.glob(f"*/{BUNDLE_FILE}"))
        raise UserError(
            f"{flag} {given}: no such folder; a bundle is what exporter.py --mode codec writes"
            + (f", or one of {', '.join(names)}" if names else "")
        )
    raise UserError(
        f"{flag} {given}: no codec bundle (no {BUNDLE_FILE} in it); "
        "python exporter.py --mode codec writes one"
    )


def read_bundle(path: Path) -> "Bundle":
    """Reads a bundle.

    Raises:
        RunError: it is damaged, or of another version.
    """
    from codec.bundle import Bundle
    from codec.errors import NicError

    try:
        return Bundle.read(path)
    except NicError as error:
        raise RunError(error) from None


DEFAULT_EFFORT = 1
"""Passes of `compress.py` over a picture, where the model has an entropy model."""


def open_codec(
    bundle: "Bundle", transforms: "Callable[[], Transforms]", effort: int = 0
) -> "ImageCodec":
    """The codec of a bundle.

    Args:
        bundle: read.
        transforms: makes its networks when they are first needed.
        effort: see `ImageCodec`.

    Raises:
        RunError: the parts of the bundle don't fit each other.
    """
    from codec.errors import NicError
    from codec.image_codec import ImageCodec

    try:
        return ImageCodec(bundle, transforms, effort=effort)
    except NicError as error:
        text = str(error)
        where = "" if text.startswith(str(bundle.path)) else f"{bundle.path}: "
        raise RunError(f"{where}{text}") from None


LOWEST, HIGHEST = 1.0, 100.0
"""Ends of --quality."""


def quality_index(quality: float, qualities: int) -> int:
    """Index of the model's quality that is nearest to a --quality of 1 to 100.

    Raises:
        UserError: it is out of range, or the model has one quality.
    """
    if qualities == 1:
        raise UserError(f"--quality {quality:g}: this model has one quality")
    if not LOWEST <= quality <= HIGHEST:
        raise UserError(f"--quality {quality:g}: expected {LOWEST:g} to {HIGHEST:g}")
    return round((quality - LOWEST) / (HIGHEST - LOWEST) * (qualities - 1))


def quality_of(index: int, qualities: int) -> float:
    """The --quality of an index."""
    return LOWEST + (HIGHEST - LOWEST) * index / max(1, qualities - 1)
