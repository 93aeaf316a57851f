"""Measures of other packages, for those who have them installed: `benchmark.py --metrics`."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

from PIL import Image

from evaluation.codecs import Pixels

Measure = Callable[[Pixels, Pixels], float | None]
LEAST_SIDE: Final = 8
"""Pixels that SSIMULACRA 2 needs each way."""


@dataclass(frozen=True)
class MoreMeasure:
    """A measure that a package makes.

    Attributes:
        label: for people.
        package: that has to be installed.
        make: gives the function of original and decoded picture, uint8 (H, W, 3); None
            where a picture is too small for it.
        form: of its values in tables.
    """

    label: str
    package: str
    make: Callable[[], Measure]
    form: str

    @property
    def installed(self) -> bool:
        """Whether its package can be imported."""
        return importlib.util.find_spec(self.package) is not None

    @property
    def version(self) -> str:
        """Of its package."""
        return version(self.package)


def _ssimulacra2() -> Measure:
    from ssimulacra2 import compute_ssimulacra2

    def measure(original: Pixels, decoded: Pixels) -> float | None:
        if min(original.shape[:2]) < LEAST_SIDE:
            return None
        return float(compute_ssimulacra2(_file(original), _file(decoded)))

    return measure


def _file(pixels: Pixels) -> io.BytesIO:
    """What the package opens with Pillow in place of a path."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "BMP")
    file.seek(0)
    return file


MORE_MEASURES: Final = {
    "ssimulacra2": MoreMeasure("SSIMULACRA 2", "ssimulacra2", _ssimulacra2, "{:.2f}")
}


def made(names: Sequence[str]) -> dict[str, Measure]:
    """The functions of some of `MORE_MEASURES`, whose packages are installed."""
    return {name: MORE_MEASURES[name].make() for name in names}
