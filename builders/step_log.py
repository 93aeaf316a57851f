"""Points within an epoch: where epochs take long, how the loss goes between their ends."""

import time
from pathlib import Path
from typing import Any

import keras

from builders.callbacks import Progress, steps_done
from builders.event_writer import EventWriter
from builders.feed import EpochFeed
from builders.gradient_norms import watched
from constants.defaults import STEP_LOG_SECONDS, STEP_LOG_STEPS

FOLDER = "steps"
"""Beside the event files of the epochs: a folder of its own is a run of its own to TensorBoard. In
one folder with them, a resume at epoch 3 would take back all points from step 4 on."""


class StepLog:
    """Writes the mean loss and gradient norm since the point before, over the steps of the run.

    There is a point at most every `STEP_LOG_SECONDS` seconds and every `STEP_LOG_STEPS` steps, and
    none for the first step of a call of `fit`, which compiles. Short epochs have none, and then
    there is no folder.

    Args:
        log_dir: of the run's event files.
        progress: where the run goes on; points an earlier piece wrote later are taken back.
    """

    def __init__(self, log_dir: Path, progress: Progress) -> None:
        self._folder = log_dir / FOLDER
        self._progress = progress
        self._resumed = progress.resumes > 0
        self._feed: EpochFeed | None = None
        self._before = self._first = 0
        self._writer: EventWriter | None = None
        self._mark: _Mark | None = None

    def follow(self, feed: EpochFeed, epochs: int, steps: int) -> None:
        """Counts on in a round.

        Args:
            feed: tells where in an epoch a step stands.
            epochs: of the rounds before, and `steps`.
        """
        first = self._feed is None
        self._feed, self._before = feed, steps - epochs * len(feed.loader)
        if first:
            self._first = self._step_of(self._progress.epoch, self._progress.batch + 1)
            if self._resumed and self._folder.is_dir():
                self._open()

    def _step_of(self, epoch: int, done: int) -> int:
        assert self._feed is not None
        return self._before + epoch * len(self._feed.loader) + done

    def epoch_begins(self) -> None:
        """Forgets the point before: running means begin anew."""
        self._mark = None

    def step_ends(
        self, batch: int, logs: dict[str, Any], callback: keras.callbacks.Callback
    ) -> None:
        """Writes a point if one is due.

        Args:
            batch: index of the last step, from 0, within this call of `fit`.
            logs: running means of the epoch.
            callback: knows the model; under JAX, asking it for the model costs a copy of the state.
        """
        assert self._feed is not None
        done = steps_done(self._feed, batch)
        if self._mark is None:
            self._mark = self._seen(done, logs, callback)
            return
        now = time.monotonic()
        steps = done - self._mark.steps
        if steps < STEP_LOG_STEPS or now - self._mark.seconds < STEP_LOG_SECONDS:
            return
        before, self._mark = self._mark, self._seen(done, logs, callback)
        writer, step = self._open(), self._step_of(self._feed.epoch, done)
        writer.scalar("step/loss", _between(before.loss, self._mark.loss), step)
        for prefix, norms in self._mark.norms.items():
            if norms[0] > before.norms[prefix][0]:
                mean = _between(before.norms[prefix], norms)
                writer.scalar(f"step/{prefix}gradient_norm", mean, step)

    def close(self) -> None:
        """Ends the event file, if there is one."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _open(self) -> EventWriter:
        if self._writer is None:
            purge = self._first if self._resumed else None
            self._writer = EventWriter(self._folder, purge_step=purge)
        return self._writer

    def _seen(self, done: int, logs: dict[str, Any], callback: keras.callbacks.Callback) -> "_Mark":
        assert self._feed is not None
        loader = self._feed.loader
        images = min(done * loader.batch_size, loader.images)
        loss = float(keras.ops.convert_to_numpy(logs["loss"]))
        norms = {
            prefix: each.seen()[:2] for prefix, each in watched(callback.model.optimizer).items()
        }
        return _Mark(done, (images, loss), norms)


class _Mark:
    """Running means at a step: pairs of how many went in, and their mean."""

    def __init__(
        self, steps: int, loss: tuple[int, float], norms: dict[str, tuple[int, float]]
    ) -> None:
        self.seconds = time.monotonic()
        self.steps = steps
        self.loss = loss
        self.norms = norms


def _between(before: tuple[int, float], now: tuple[int, float]) -> float:
    """The mean of what went into a running mean since."""
    return (now[0] * now[1] - before[0] * before[1]) / (now[0] - before[0])
