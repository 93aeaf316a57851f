"""The qualities of a hyperprior's bundle: factors on residuals before they are rounded."""

from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from architectures.hyperprior import Hyperprior
from codec.bundle import GAIN_VECTORS
from codec.manifest import MAX_OFFSET, QualityEntry

QUALITIES = 256
TRAINED_QUALITY = 128
OCTAVE = 44.0
"""Steps of quality that double what residuals are multiplied by: 1.6 % each."""

Qualities = tuple[list[QualityEntry], int, dict[str, NDArray[Any]]]
"""Entries of the manifest, the default's index, and vectors of gains by name if there are any."""


def scaled_qualities(model: Hyperprior) -> Qualities:
    """Gains around 1, the same for all channels, for a model that was trained at one rate."""
    table = np.log(model.scales())
    step = float(table[1] - table[0])
    entries = []
    for quality in range(QUALITIES):
        octaves = (quality - TRAINED_QUALITY) / OCTAVE
        offset = int(np.clip(round(octaves * float(np.log(2.0)) / step), -MAX_OFFSET, MAX_OFFSET))
        entries.append(QualityEntry(gain=float(np.float32(2.0**octaves)), offset=offset))
    return entries, TRAINED_QUALITY, {}


def learned_qualities(model: Hyperprior) -> Qualities | None:
    """The gain units' vectors from the lowest lambda to the highest; None where there are none."""
    units = model.gain_units
    if units is None:
        return None
    found = model.gains(np.linspace(0.0, 1.0, QUALITIES, dtype=np.float32))
    gain, inverse, moved = (ops.convert_to_numpy(each)[:, 0, 0, :] for each in found)
    offsets = np.clip(moved, -MAX_OFFSET, MAX_OFFSET).astype(np.int32)
    vectors = dict(zip(GAIN_VECTORS, (gain, inverse, offsets), strict=True))
    default = round(units.trained_quality * (QUALITIES - 1))
    return [QualityEntry(gain=1.0, offset=0)] * QUALITIES, default, vectors
