"""What watches the steps of a piece: counts them, times them, and stops in time."""

import time
from collections import deque
from collections.abc import Callable, Collection
from typing import Any, Literal

import keras

from builders.callbacks import Progress
from builders.feed import EpochFeed
from builders.piece_journal import PieceJournal
from builders.stop_signals import StopSignals

Clock = Callable[[], float]
Reason = Literal["", "minutes", "steps", "validate"]

_RECENT_STEPS = 8
"""The slowest of so many is what the next step is taken to last."""
_SAFETY = 1.25
"""By how much a validation may last longer than the one before."""


class StepTimes:
    """How long things last in this piece, in seconds.

    Attributes:
        first: the first step, which compiles; None before it.
        validation: a pass over the validation images; None before one.
        epoch_end: what an epoch's end does beside validating; None before one.
    """

    def __init__(self) -> None:
        self.first: float | None = None
        self.validation: float | None = None
        self.epoch_end: float | None = None
        self._recent: deque[float] = deque(maxlen=_RECENT_STEPS)

    def add_step(self, seconds: float) -> None:
        """Notes a step's time; the first of a piece stands apart."""
        if self.first is None:
            self.first = seconds
        else:
            self._recent.append(seconds)

    @property
    def step(self) -> float:
        """What the next step lasts at most, by what is known."""
        return max(self._recent) if self._recent else self.first or 0.0

    def expected_validation(self, batches: int) -> float:
        """What a pass lasts at most: a batch takes no longer than a training step.

        Args:
            batches: of the validation images.
        """
        if self.validation is not None:
            return _SAFETY * self.validation
        first = self.first or 0.0  # it compiles, as the first step did
        return first + (batches * self.step if self._recent else 0.0)

    def expected_epoch_end(self) -> float:
        """See `epoch_end`; the first compiles a prediction."""
        return (self.first or 0.0) if self.epoch_end is None else _SAFETY * self.epoch_end


class PieceWatch(keras.callbacks.Callback):
    """Asks for a stop when the minutes or steps of a piece are used up.

    It stops early enough for a last look at the validation images and for writing the state.

    Args:
        feeds: of training and validation.
        progress: of the run.
        journal: gets a point at each epoch's end.
        signals: what it asks.
        step: training steps done before this piece.
        began: when the piece began, by the clock.
        end: when all must be written, by the clock; None for no limit.
        steps: of this piece at most; None for no limit.
        validate_steps: asks for a stop every so many steps, for a look; 0 for never.
        writing: seconds that writing the state takes now.
        keep: gets each point of the curve in words.
        compiling: epochs that begin a round: the model is compiled anew for them.
        clock: seconds.

    Attributes:
        step: training steps done, all pieces together.
        reason: why a stop was asked for.
        times: how long things last.
        seconds_validating: spent on it in this piece.
    """

    def __init__(
        self,
        feeds: dict[str, EpochFeed],
        progress: Progress,
        journal: PieceJournal,
        signals: StopSignals,
        *,
        step: int,
        began: float,
        end: float | None,
        steps: int | None,
        validate_steps: int,
        writing: Callable[[], float],
        keep: Callable[[str], None],
        compiling: Collection[int] = (),
        clock: Clock = time.monotonic,
    ) -> None:
        super().__init__()
        self._feeds = feeds
        self._progress = progress
        self._journal = journal
        self._signals = signals
        self._first_step = step
        self._began = began
        self._end = end
        self._steps = steps
        self._validate_steps = validate_steps
        self._writing = writing
        self._keep = keep
        self._compiling = compiling
        self._clock = clock
        self._last = 0.0
        self._test_began = self._test_ended = 0.0
        self._done = 0
        self._stride = 1
        self._begin = 0
        self._new_round = False
        self._short_seen = False
        self.step = step
        self.reason: Reason = ""
        self.times = StepTimes()
        self.seconds_validating = 0.0

    @property
    def steps_done(self) -> int:
        """In this piece."""
        return self.step - self._first_step

    @property
    def batches(self) -> int:
        """Of an epoch."""
        return len(self._feeds["train"].loader)

    def expected_validation(self) -> float:
        """Seconds."""
        batches = len(self._feeds["validation"].loader)
        # Times are those of calls, which may stand for several steps; each looks at one batch.
        return self.times.expected_validation(-(-batches // self._stride))

    def ends_epoch(self, done: int) -> bool:
        """Whether the next call may be the last of its epoch; a call can stand for several steps.

        Args:
            done: batches of it that are done.
        """
        return self.batches - done <= self._stride

    def go_on(self) -> None:
        """Forgets a stop for a look at the validation images, and the time since the last step."""
        self.reason = ""
        self.skip()

    def skip(self) -> None:
        """What was done since the last step, such as writing, is no part of the next."""
        self._last = self._clock()

    def seconds(self) -> float:
        """Spent on the run, all pieces together."""
        return self._journal.seconds_before + self._clock() - self._began

    def note_validation(self, seconds: float) -> None:
        """Notes how long a pass over the validation images took."""
        self.times.validation = seconds
        self.seconds_validating += seconds

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        now = self._clock()
        if self._test_ended:
            self.times.epoch_end = now - self._test_ended
            self._test_ended = 0.0
        self._last = now
        self._begin = self._done = self._progress.batch
        if epoch in self._compiling and not self._begin:
            self.times = StepTimes()  # another optimizer, batch or crop: nothing is known of them
            self._short_seen = False

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        # Keras counts the last dispatch of an epoch as a full one.
        now, done = self._clock(), min(self._begin + batch + 1, self.batches)
        self.times.add_step(now - self._last)
        self._last = now
        self._stride = done - self._done
        self._done = done
        self.step += self._stride
        if done < self.batches:
            self._decide()
        else:
            self._short_seen = True

    def on_test_begin(self, logs: Any = None) -> None:
        self._test_began = self._clock()

    def on_test_end(self, logs: Any = None) -> None:
        self._test_ended = self._clock()
        self.note_validation(self._test_ended - self._test_began)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        figures = {name: float(value) for name, value in (logs or {}).items()}
        self._keep(self._journal.add_point(self.step, epoch + 1, self.seconds(), figures))
        self._done = 0
        self._new_round = epoch + 1 in self._compiling
        self._decide()
        self._new_round = False

    def _decide(self) -> None:
        every = self._validate_steps
        if self._steps is not None and self.steps_done >= self._steps:
            self._stop("steps")
        elif self._end is not None and self._clock() + self._needed() > self._end:
            self._stop("minutes")
        elif every and self._done and self.step // every > (self.step - self._stride) // every:
            self._stop("validate")

    def _needed(self) -> float:
        """Seconds that one more step and an ending after it take."""
        needed = self.times.step + self._writing() + self.expected_validation()
        if self._new_round:
            needed += self.times.first or 0.0
        if self.ends_epoch(self._done):
            needed += self.times.expected_epoch_end()
            if not self._short_seen and self.times.first is not None:
                needed += self.times.first  # a batch of another size compiles again
        return needed

    def _stop(self, reason: Reason) -> None:
        self.reason = reason
        self._signals.ask()
