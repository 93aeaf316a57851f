"""In which form each array of a state is stored, so that all of them stay within a budget."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import ml_dtypes
import numpy as np

from builders.shard_manifest import Stored
from constants.pieces import HALF_MIN_VALUES

Role = Literal["weight", "average", "first", "second", "best", "exact"]
"""What an array is to training: a weight of the model, a moving average of weights, a first or a
second moment of gradients, a weight of the best epoch, or what must not change (step, learning
rate, random state, metrics)."""

_FIRST = ("_momentum",)
_SECOND = ("_velocity", "_velocity_hat", "_norm")
_AVERAGES = ("_average",)
_SCHEDULE_FREE = "schedule_free"
"""Keras' ScheduleFreeAdamW keeps in `momentum` the weights that it trains, no moment."""


@dataclass(frozen=True)
class Level:
    """One step of saving room; each includes those before it.

    Attributes:
        words: what is lost, for the log; empty where nothing is.
        forms: role -> how its arrays are stored from here on.
    """

    words: str
    forms: Mapping[Role, Stored]


LEVELS: Final = (
    Level("", {}),
    Level("the optimizer's moments in bfloat16", {"first": "bfloat16", "second": "bfloat16"}),
    Level("moving averages of the weights in float16", {"average": "float16"}),
    Level("the best weights in float16", {"best": "float16"}),
    # Second moments of zero would be wrong by far: at a late step Adam takes them for converged,
    # and its next steps would be several times too long. Their means cost next to nothing.
    Level(
        "the optimizer's first moments left out (they begin at zero again), its second moments as "
        "their means by channel",
        {"first": "none", "second": "mean"},
    ),
    Level("the weights in float16", {"weight": "float16"}),
)
"""From storing all of it exactly to storing as little as training can go on from. The moments
give way first: they are running means of noisy gradients, forgotten within some hundred steps."""


@dataclass(frozen=True)
class Encoded:
    """An array as it is stored.

    Attributes:
        shape: of the array.
        dtype: of the array.
        stored: the form.
        values: what goes into shards, flat; bfloat16 as uint16.
    """

    shape: tuple[int, ...]
    dtype: str
    stored: Stored
    values: np.ndarray


def role_of(name: str, path: str) -> Role:
    """What an array of a state file is.

    Args:
        name: `model/3`, `optimizer/7`, `metric/0` or `best/...`.
        path: the variable's in Keras; "" where it has none. Keras' optimizers end it with what
            the variable is.
    """
    group = name.split("/", 1)[0]
    if group == "model":
        return "weight"
    if group == "best":
        return "best"
    if group != "optimizer":
        return "exact"
    if path.endswith(_AVERAGES):
        return "average"
    if path.endswith(_FIRST):
        return "average" if path.startswith(_SCHEDULE_FREE) else "first"
    return "second" if path.endswith(_SECOND) else "exact"


def encode(array: np.ndarray, form: Stored) -> Encoded:
    """An array in a form, or exactly where the form does not bear it.

    Only float32 arrays of two axes and `HALF_MIN_VALUES` values or more are changed, and none whose
    values leave the range of the form.
    """
    shape, dtype = array.shape, array.dtype.name
    exact = Encoded(shape, dtype, "same", np.ascontiguousarray(array).reshape(-1))
    if dtype != "float32" or array.ndim < 2 or array.size < HALF_MIN_VALUES or form == "same":
        return exact
    if form == "none":
        return Encoded(shape, dtype, form, np.zeros(0, np.float32))
    if form == "mean":
        mean = array.reshape(-1, shape[-1]).mean(axis=0, dtype=np.float64).astype(np.float32)
        return Encoded(shape, dtype, form, mean) if np.isfinite(mean).all() else exact
    with np.errstate(over="ignore"):
        half = array.astype(np.float16 if form == "float16" else ml_dtypes.bfloat16)
    if not np.isfinite(half.astype(np.float32)).all():
        return exact
    values = half.reshape(-1)
    return Encoded(shape, dtype, form, values.view(np.uint16) if form == "bfloat16" else values)


def decode(encoded: Encoded) -> np.ndarray:
    """The array again; what was not stored is zero."""
    values, dtype = encoded.values, np.dtype(encoded.dtype)
    if encoded.stored == "none":
        return np.zeros(encoded.shape, dtype)
    if encoded.stored == "mean":
        return np.broadcast_to(values, encoded.shape).astype(dtype)
    if encoded.stored == "bfloat16":
        values = values.view(ml_dtypes.bfloat16)
    return values.astype(dtype).reshape(encoded.shape)


def stored_dtype(stored: Stored, dtype: str) -> str:
    """The type of an array's values in its shards."""
    return {"same": dtype, "bfloat16": "uint16", "float16": "float16"}.get(stored, "float32")


def stored_values(stored: Stored, shape: tuple[int, ...]) -> int:
    """How many values of an array are in its shards."""
    if stored == "none":
        return 0
    return shape[-1] if stored == "mean" else int(np.prod(shape, dtype=np.int64))
