"""The codecs that people would pick instead: those of Pillow and of two plugins."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable
from typing import Final

from PIL import __version__ as pillow_version
from PIL import features

from evaluation.codecs import PillowCodec

REQUIREMENTS: Final = "requirements-benchmark.txt"
"""Names the wheels that JPEG XL and HEIC need."""

AVIF_SPEEDS: Final = (4, 6, 8)
"""Of 0 (slowest) to 10; 6 is Pillow's own."""
JXL_EFFORTS: Final = (3, 5, 7)
"""Of 1 (fastest) to 9; 7 is libjxl's own."""

_PERCENT: Final = tuple(float(each) for each in range(1, 101))
_DECIBELS: Final = tuple(10 + step / 4 for step in range(181))
"""PSNR that JPEG 2000 is asked for. By ratios, small pictures would get no bytes beside headers."""


class MissingCodecError(Exception):
    """A codec's library is not there; the message says what to install."""


def _jpeg(threads: int) -> list[PillowCodec]:
    version = features.version("libjpeg_turbo") or features.version("jpg") or "unknown"
    library = {"pillow": pillow_version, "libjpeg": version}
    return [
        PillowCodec(
            name=f"jpeg-{sampling.replace(':', '')}",
            label=f"JPEG {sampling}",
            family="jpeg",
            format="JPEG",
            parameter="quality",
            settings=(5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95),
            scale=_PERCENT,
            usual=75,
            options={"optimize": True, "subsampling": sampling},
            gray=True,
            library=library,
        )
        for sampling in ("4:2:0", "4:4:4")
    ]


def _jpeg2000(threads: int) -> list[PillowCodec]:
    if not features.check("jpg_2000"):
        raise MissingCodecError("JPEG 2000 is not part of this Pillow")
    return [
        PillowCodec(
            name="jpeg2000",
            label="JPEG 2000",
            family="jpeg2000",
            format="JPEG2000",
            parameter="PSNR",
            option="quality_layers",
            settings=(22, 24, 26, 28, 30, 32, 35, 38, 41, 44),
            scale=_DECIBELS,
            usual=34,
            # Pillow's own is the transform without loss and none of colours: some dB worse.
            options={"quality_mode": "dB", "irreversible": True, "mct": 1},
            listed=True,
            gray=True,
            library={"pillow": pillow_version, "openjpeg": features.version("jpg_2000") or "?"},
        )
    ]


def _webp(threads: int) -> list[PillowCodec]:
    if not features.check("webp"):
        raise MissingCodecError("WebP is not part of this Pillow")
    return [
        PillowCodec(
            name=f"webp-m{method}",
            label=f"WebP method {method}",
            family="webp",
            format="WEBP",
            parameter="quality",
            settings=(1, 10, 25, 45, 60, 75, 85, 92, 97),
            scale=_PERCENT,
            usual=75,
            options={"method": method},
            library={"pillow": pillow_version, "libwebp": features.version("webp") or "?"},
        )
        for method in (4, 6)
    ]


def _avif(threads: int) -> list[PillowCodec]:
    if not features.check("avif"):
        raise MissingCodecError("AVIF is not part of this Pillow")
    library = {"pillow": pillow_version, "libavif": features.version("avif") or "?"}
    kinds = [(speed, "4:2:0") for speed in AVIF_SPEEDS] + [(6, "4:4:4")]
    return [
        PillowCodec(
            name=f"avif-s{speed}" + ("-444" if sampling == "4:4:4" else ""),
            label=f"AVIF speed {speed}" + (" 4:4:4" if sampling == "4:4:4" else ""),
            family="avif",
            format="AVIF",
            parameter="quality",
            settings=(8, 18, 30, 42, 54, 66, 78, 88, 94),
            scale=_PERCENT[:-1],
            usual=60,
            options={"codec": "aom", "speed": speed, "subsampling": sampling},
            library=library,
            limits={"max_threads": threads},
            threads=threads,
        )
        for speed, sampling in kinds
    ]


def _jxl(threads: int) -> list[PillowCodec]:
    _need("pillow_jxl", "JPEG XL")
    versions = {
        "pillow": pillow_version,
        "pillow-jxl-plugin": importlib.metadata.version("pillow-jxl-plugin"),
    }
    return [
        PillowCodec(
            name=f"jxl-e{effort}",
            label=f"JPEG XL effort {effort}",
            family="jxl",
            format="JXL",
            parameter="quality",
            settings=(10, 20, 35, 50, 65, 78, 87, 93, 96),
            scale=_PERCENT[:-1],
            usual=75,
            options={"effort": effort},
            gray=True,
            library=versions,
            limits={"num_threads": threads},
            threads=threads,
        )
        for effort in JXL_EFFORTS
    ]


def _heic(threads: int) -> list[PillowCodec]:
    _need("pillow_heif", "HEIC")
    module = importlib.import_module("pillow_heif")
    module.register_heif_opener()
    information = module.libheif_info()
    return [
        PillowCodec(
            name=f"heic-{chroma}",
            label=f"HEIC {':'.join(chroma)}",
            family="heic",
            format="HEIF",
            parameter="quality",
            settings=(5, 13, 21, 29, 37, 45, 53, 61, 70),
            scale=_PERCENT[:-1],
            usual=40,
            options={"chroma": chroma},
            library={
                "pillow-heif": module.__version__,
                "libheif": str(information["libheif"]),
                "encoder": str(information["HEIF"]),
            },
            threads=threads,
        )
        for chroma in ("420", "444")
    ]


FAMILIES: Final[dict[str, Callable[[int], list[PillowCodec]]]] = {
    "jpeg": _jpeg,
    "webp": _webp,
    "avif": _avif,
    "jxl": _jxl,
    "jpeg2000": _jpeg2000,
    "heic": _heic,
}
"""Name on the command line -> what makes its codecs, for so many threads."""


def classical_codecs(family: str, threads: int) -> list[PillowCodec]:
    """The codecs of a family.

    Args:
        family: a key of `FAMILIES`.
        threads: most that an encoder or decoder may take, where it can be told.

    Raises:
        MissingCodecError: its library is not installed.
    """
    return FAMILIES[family](threads)


def _need(module: str, what: str) -> None:
    """Imports a plugin, which tells Pillow of its format."""
    if importlib.util.find_spec(module) is None:
        raise MissingCodecError(f"{what} is not installed: pip install -r {REQUIREMENTS}")
    importlib.import_module(module)
