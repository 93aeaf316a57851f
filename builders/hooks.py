"""How a program that trains in pieces takes part in a run."""

from collections.abc import Callable
from dataclasses import dataclass, field

import keras

from builders.data_splits import Splits
from builders.stop_signals import StopSignals


@dataclass(frozen=True)
class Hooks:
    """How another program takes part in a run.

    Attributes:
        callbacks: called at each step and epoch before the state is saved.
        check: looks at the images before anything is written; raises where they are of no use.
        signals: who wants the run to stop.
        due: see `Backup`.
        saved: see `Backup`.
        latest: whether `runs/latest` shall point at the run.
        kept: where the state is kept, for messages; "" for the run folder's file.
        way_on: the command that goes on, for messages; "" for train.py's.
    """

    callbacks: list[keras.callbacks.Callback] = field(default_factory=list)
    check: Callable[[Splits], None] | None = None
    signals: StopSignals = field(default_factory=StopSignals)
    due: Callable[[int, int], bool] | None = None
    saved: Callable[[], None] | None = None
    latest: bool = True
    kept: str = ""
    way_on: str = ""
