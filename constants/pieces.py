"""Training in pieces: sizes of what a piece leaves behind, and how it spends its minutes."""

from typing import Final

SHARD_MEBIBYTES: Final = 16.0
"""Largest shard, in MiB."""

BUDGET_MEBIBYTES: Final = 64.0
"""All shards of a state together, in MiB."""

SMALLEST_SHARD_BYTES: Final = 16384
"""Room for the header of one array and something of the array."""

HALF_MIN_VALUES: Final = 1024
"""Arrays of fewer values, and vectors (biases, statistics), are always stored exactly: they weigh
little, and variances near zero do not survive float16."""

SAVE_SECONDS: Final = 100.0
"""Between two states on disk. With the step and the writing that follow it stays under the two
minutes that an interruption may cost."""

QUICK_SAVE_SECONDS: Final = 30.0
"""Epochs that are shorter than this are not all written as shards."""

MARGIN_SECONDS: Final = 2.0
"""Of a piece's minutes, what is left over at least: for ending the process."""

MARGIN_FRACTION: Final = 0.02
"""As a share of the minutes, up to `MARGIN_SECONDS_MAX`: machines get slower now and then."""

MARGIN_SECONDS_MAX: Final = 30.0
"""See `MARGIN_FRACTION`."""

FIGURE_SECONDS: Final = 3.0
"""Curves, tables and the import of matplotlib at the end of a piece, measured 0.7 to 1.5 s."""
