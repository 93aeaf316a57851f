"""Published rate-distortion points on the Kodak set, with where they come from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from evaluation.codecs import CodecError, Pixels
from evaluation.measures import in_db

FILE: Final = Path(__file__).with_name("reference_points.json")


def reference_points() -> dict[str, Any]:
    """The file: `codecs` with `points`, `provenance` and `caveats`."""
    found: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    for codec in found["codecs"]:
        for point in codec["points"]:
            if "ms_ssim" in point:
                point["ms_ssim_db"] = in_db(point["ms_ssim"])
    return found


def is_kodak(loads: Sequence[Callable[[], Pixels]]) -> bool:
    """Whether pictures are the 24 that the points were published for, pixel by pixel.

    Args:
        loads: give uint8 (H, W, 3).
    """
    wanted = set(reference_points()["pictures_sha256"]["digests"])
    if len(loads) != len(wanted):
        return False
    for load in loads:
        try:
            digest = hashlib.sha256(load().tobytes()).hexdigest()
        except CodecError:
            return False
        if digest not in wanted:
            return False
        wanted.remove(digest)
    return True
