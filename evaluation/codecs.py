"""What the benchmark sees of a codec: 8-bit RGB pixels in, a whole file out, and back."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

_PLUGIN_ERRORS = (OSError, ValueError, TypeError, LookupError, RuntimeError, SystemError)
"""What Pillow and its plugins raise where a library refuses a picture or a file."""


class CodecError(Exception):
    """A codec could not do one picture; what it says is for the user."""


class Codec(Protocol):
    """One way to store pictures, with a dial.

    Attributes:
        name: unique, without spaces, such as `jpeg-420`.
        label: for people, such as `JPEG 4:2:0`.
        family: what several codecs have in common, such as `jpeg`; `ours` for bundles.
        parameter: what its settings are called, such as `quality`.
        settings: the values to measure, small files first.
        scale: all values there are, small files first.
        usual: the one that pictures are shown at.
        about: what decides on its bytes, all of it: options, versions, digest. JSON.
        model_bytes: of what it needs beside its program; None where that is nothing.
        threads: most that it works with.
    """

    @property
    def name(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def family(self) -> str: ...
    @property
    def parameter(self) -> str: ...
    @property
    def settings(self) -> Sequence[float]: ...
    @property
    def scale(self) -> Sequence[float]: ...
    @property
    def usual(self) -> float: ...
    @property
    def about(self) -> Mapping[str, Any]: ...
    @property
    def model_bytes(self) -> int | None: ...
    @property
    def threads(self) -> int: ...

    def encode(self, pixels: Pixels, setting: float) -> bytes:
        """A whole file of uint8 pixels (H, W, 3)."""

    def decode(self, data: bytes) -> Pixels:
        """uint8 pixels (H, W, 3) of a file; rounded, where a codec computes in fractions."""


@dataclass(frozen=True)
class PillowCodec:
    """A codec of Pillow or of one of its plugins; see `Codec`.

    Pictures whose channels are all equal are stored as gray ones where the format has those, as a
    user would.

    Attributes:
        format: Pillow's name of it.
        options: of `Image.save`, always the same.
        option: of `Image.save` that takes the setting.
        listed: whether it is a list of one value, as JPEG 2000's is.
        gray: whether the format has gray pictures.
        library: name and version of what does the work.
        limits: options that bound the threads; they do not change the file.
    """

    name: str
    label: str
    family: str
    format: str
    parameter: str
    settings: tuple[float, ...]
    scale: tuple[float, ...]
    usual: float
    options: Mapping[str, Any] = field(default_factory=dict)
    option: str = "quality"
    listed: bool = False
    gray: bool = False
    library: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)
    threads: int = 1
    model_bytes: int | None = None

    @property
    def about(self) -> Mapping[str, Any]:
        """Format, options and versions."""
        return {
            "format": self.format,
            "parameter": self.parameter,
            "options": dict(self.options),
            "versions": dict(self.library),
        }

    def encode(self, pixels: Pixels, setting: float) -> bytes:
        """See `Codec`."""
        plain = self.gray and is_gray(pixels)
        image = Image.fromarray(np.ascontiguousarray(pixels[..., 0]) if plain else pixels)
        value: Any = int(setting) if float(setting).is_integer() else setting
        options = {**self.options, **self.limits, self.option: [value] if self.listed else value}
        file = io.BytesIO()
        try:
            image.save(file, self.format, **options)
        except _PLUGIN_ERRORS as error:
            raise CodecError(f"{self.parameter} {setting:g}: {_words(error)}") from error
        return file.getvalue()

    def decode(self, data: bytes) -> Pixels:
        """See `Codec`."""
        try:
            with Image.open(io.BytesIO(data), formats=[self.format]) as image:
                return np.asarray(image.convert("RGB"))
        except _PLUGIN_ERRORS as error:
            raise CodecError(f"its own file can't be read: {_words(error)}") from error


def is_gray(pixels: Pixels) -> bool:
    """Whether all channels of (H, W, 3) are equal."""
    return bool((pixels == pixels[..., :1]).all())


def fitting_setting(codec: Codec, pixels: Pixels, least_bytes: int) -> tuple[float, bytes]:
    """The setting with the smallest file that has at least so many bytes, by bisection.

    So a codec that is compared with another at equal size never gets fewer bytes, and mostly some
    more. Where no setting makes so large a file, it is the one with the largest.

    Args:
        codec: any.
        pixels: uint8 (H, W, 3).
        least_bytes: of the whole file.

    Returns:
        The setting and the file.

    Raises:
        CodecError: the codec fails.
    """
    low, high = 0, len(codec.scale) - 1
    best: tuple[float, bytes] | None = None
    while low < high:
        middle = (low + high) // 2
        data = codec.encode(pixels, codec.scale[middle])
        if len(data) >= least_bytes:
            high, best = middle, (codec.scale[middle], data)
        else:
            low = middle + 1
    setting = codec.scale[low]
    return best or (setting, codec.encode(pixels, setting))


def _words(error: BaseException) -> str:
    """An exception in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
