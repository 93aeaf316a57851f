"""One piece of a training run: `fit`, what watches over it, and what is written at its end."""

import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from architectures.image_compressor import ImageCompressor
from builders.averaging import AveragedWeights
from builders.callbacks import (
    Backup,
    BestWeights,
    EpochWeights,
    Interrupted,
    LossGuard,
    NonFiniteLoss,
    Patience,
    Progress,
)
from builders.checkpoint import TrainingState
from builders.data_splits import Splits
from builders.errors import RunError
from builders.feed import EpochFeed
from builders.hooks import Hooks
from builders.jax_dispatch import dispatch_steps
from builders.on_device import DeviceImages, training_feed
from builders.rate_distortion import RateDistortion
from builders.rounds import Round, enter_round, rounds_of, splits_of_round
from builders.run_folder import RunFolder
from builders.run_log import MetricsFile, RunLog, StepBar, StepClock
from builders.sources import Progress as ImageProgress
from builders.spec import Spec
from builders.step_log import StepLog
from builders.stop_signals import StopSignals
from builders.team import Team
from builders.transforms import ImageTransform

INTERRUPTED_STATUS = 130
Say = Callable[[str], None]


@dataclass(frozen=True)
class TrainOptions:
    """What a run is asked beside its spec.

    Attributes:
        run_dir: the run's folder; None for one under runs/.
        resume: the run to go on with; None for a new one.
        log_dir: where event files go; None for the run folder's tensorboard/.
        checkpoint: where the best weights go; None for the run folder's checkpoints/.
        start_from: weights to start from, as a user names them.
        verbosity: 0 silent, 1 progress bar, 2 a line an epoch.
        backup_steps: save the state every so many steps too; 0 for only at the end of epochs.
        argv: the command line, for command.txt.
        hooks: of a program that trains in pieces.
        team: the processes and devices that train together.
    """

    run_dir: Path | None = None
    resume: RunFolder | None = None
    log_dir: Path | None = None
    checkpoint: Path | None = None
    start_from: str | None = None
    verbosity: int = 1
    backup_steps: int = 0
    argv: tuple[str, ...] = field(default_factory=lambda: tuple(sys.argv))
    hooks: Hooks = field(default_factory=Hooks)
    team: Team = field(default_factory=Team)


class Session:
    """One piece of a run: `fit`, then what is written at the end."""

    def __init__(
        self,
        spec: Spec,
        options: TrainOptions,
        compressor: ImageCompressor,
        folder: RunFolder,
        feeds: dict[str, EpochFeed],
        splits: Splits,
        progress: Progress,
        state: TrainingState,
        samples: np.ndarray,
        metric_values: list[Any] | None = None,
        scatter: RateDistortion | None = None,
    ) -> None:
        self.spec = spec
        self.options = options
        self.compressor = compressor
        self.folder = folder
        self.feeds = feeds
        self.splits = splits
        self.progress = progress
        self.state = state
        self.metric_values = metric_values
        self.best_path = folder.best
        self.rounds = rounds_of(spec)
        self.log_dir = folder.tensorboard if progress.log_dir is None else Path(progress.log_dir)
        self.samples = samples
        self.scatter = scatter

    def fit(self, say: Say) -> int:
        """Trains to the last epoch; returns the exit status."""
        progress = self.progress
        epochs = self.rounds[-1].end_epoch
        if progress.epoch >= epochs:
            more = " (--epochs for more)" if len(self.rounds) == 1 else ""
            say(f"nothing to do: {progress.epoch} of {epochs} epochs are done{more}")
            return 0
        if progress.stopped:
            say(f"nothing to do: stopped after epoch {progress.epoch}: {progress.stopped}")
            return 0
        clock = StepClock(self.feeds["train"], self.spec.dataset.clip_frames)
        team = self.options.team
        steps = StepLog(self.log_dir, progress) if team.is_first else None
        shown = (self.samples, clock, self.scatter, steps, team.is_first)
        log = RunLog(self.spec, self.folder, self.log_dir, progress, *shown)
        ended_well = False
        with self.options.hooks.signals as signals, team.stopping(signals, self._way_on):
            try:
                for part in self.rounds[progress.round :]:
                    self.enter(part, say)
                    if steps is not None:
                        steps.follow(self.feeds["train"], *self.steps_before(part))
                    self.fit_round(part, log, clock, signals)
                    self.metric_values = None  # of the epoch that was cut, which is whole now
                    if self.compressor.stop_training:
                        break
                ended_well = True
            except Interrupted:
                say(f"\nstopped. {self._way_on()}")
                return INTERRUPTED_STATUS
            except NonFiniteLoss as error:
                raise NonFiniteLoss("\n".join([str(error), *self._way_out()])) from None
            except RunError as error:
                raise RunError(f"{error}\n{self._way_on()}") from None
            finally:
                log.close(ended_well)
        return 0

    def enter(self, part: Round, say: Say) -> None:
        """Makes a round the one that is trained; nothing to do for the one it is already."""
        progress = self.progress
        if part.index == progress.round:
            return
        steps, team = self.spec.training.steps_per_dispatch, self.options.team
        enter_round(self.compressor, part, steps)
        splits = splits_of_round(self.splits, part, self.spec)
        held = self.feeds["train"].images
        self.feeds["train"] = train_feed(self.spec, splits, part, team, held=held)
        dispatch_steps(self.compressor, self.feeds["train"], steps)
        progress.round = part.index
        crop = "" if part.crop is None else f", crops of {part.crop[0]}x{part.crop[1]}"
        say(
            f"round      {part.index + 1} of {len(self.rounds)}: epochs {part.first_epoch + 1} to "
            f"{part.end_epoch}, {part.batch_size} images a step{crop}"
        )

    def steps_before(self, part: Round) -> tuple[int, int]:
        """Epochs and steps of the rounds before one."""
        images, steps = self.feeds["train"].loader.images, 0
        for each in self.rounds[: part.index]:
            steps += (each.end_epoch - each.first_epoch) * -(-images // each.batch_size)
        return part.first_epoch, steps

    def fit_round(self, part: Round, log: RunLog, clock: StepClock, signals: StopSignals) -> None:
        """Trains to the end of a round."""
        feed = self.feeds["train"]
        clock.follow(feed)
        callbacks = self.callbacks(log, clock, feed, signals)
        if self.progress.batch:
            # Keras wants equal epochs within one call: the rest of a cut one is a call.
            self.fit_to(self.progress.epoch + 1, callbacks)
        if not self.compressor.stop_training and self.progress.epoch < part.end_epoch:
            self.fit_to(part.end_epoch, callbacks)

    def fit_to(self, last_epoch: int, callbacks: list[keras.callbacks.Callback]) -> None:
        """Trains until so many epochs are done."""
        feed = self.feeds["train"]
        feed.epoch, feed.start_batch = self.progress.epoch, self.progress.batch
        try:
            self.compressor.fit(
                feed.keras_input(),
                validation_data=self.feeds["validation"].keras_input(),
                initial_epoch=self.progress.epoch,
                epochs=last_epoch,
                shuffle=False,  # the feed shuffles
                verbose=self._verbosity(),
                callbacks=callbacks,
            )
        except Exception as error:
            for each in self.feeds.values():
                if each.failure is not None:
                    raise RunError(str(each.failure)) from None
            if _is_out_of_memory(error):
                part = self.rounds[self.progress.round]
                raise RunError(
                    f"out of memory with {part.batch_size} images a step; try "
                    f"{part.batch_size_flag} {max(part.batch_size // 2, 1)}, a smaller crop, or "
                    "--precision mixed_bfloat16"
                ) from None
            raise

    def _verbosity(self) -> int:
        """A bar is for a terminal; a file or a pipe gets a line an epoch."""
        return self.options.verbosity if sys.stdout.isatty() else 2 * bool(self.options.verbosity)

    def callbacks(
        self,
        log: RunLog,
        clock: StepClock,
        feed: EpochFeed,
        signals: StopSignals,
    ) -> list[keras.callbacks.Callback]:
        """What watches over the steps; at the end of an epoch they come in this order."""
        progress, last = self.progress, self.rounds[-1]
        patience = self.spec.training.early_stopping_patience
        if progress.round != last.index:
            patience = None  # what follows an early round may well be better
        copy = None if progress.checkpoint is None else Path(progress.checkpoint)
        writes = self.options.team.is_first
        every = self.spec.training.checkpoint_every if writes else None
        averaged = AveragedWeights()
        return [
            LossGuard(feed),
            clock,
            averaged,
            log,
            BestWeights(self.spec, self.best_path, progress, copy, writes),
            *([] if every is None else [EpochWeights(self.spec, self.folder.checkpoints, every)]),
            *([] if patience is None else [Patience(patience, progress, last.first_epoch)]),
            keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: averaged.leave()),
            MetricsFile(self.folder, progress, clock, writes),
            *self.options.hooks.callbacks,
            Backup(
                self.state,
                progress,
                feed,
                self.options.backup_steps,
                signals,
                self.metric_values,
                self.options.hooks.due,
                self.options.hooks.saved,
                writes,
            ),
            *([StepBar()] if self._verbosity() else []),
        ]

    def _kept(self) -> str:
        place = f"epoch {self.progress.epoch + 1}, step {self.progress.batch + 1}"
        return (
            f"The state before {place} is saved in {self.options.hooks.kept or self.folder.state}"
        )

    def _command(self, flags: str) -> str:
        return f"python train.py {flags} {shlex.quote(str(self.folder.path))}"

    def _way_on(self) -> str:
        flags = f"{self.options.team.flags}--resume --run_dir"
        command = self.options.hooks.way_on or self._command(flags)
        return f"{self._kept()}. To go on{self.options.team.everywhere}:\n  {command}"

    def _way_out(self) -> list[str]:
        """What to do when a loss is no number: the same steps would lead there again."""
        lines = [f"{self._kept()}."]
        if self.progress.best_epoch >= 0 and not self.options.hooks.way_on:
            lines += [
                f"The best weights so far, of epoch {self.progress.best_epoch + 1}, are kept. To "
                "start from them with other settings:",
                f"  {self._command('--load_from_ckpt_path')} --learning_rate ...",
            ]
        return lines


def train_feed(
    spec: Spec,
    splits: Splits,
    part: Round,
    team: Team,
    report: ImageProgress | None = None,
    held: DeviceImages | None = None,
) -> EpochFeed:
    """Training batches of a round, from splits that have its crop; see `training_feed`."""
    shape = image_shape(spec, splits.train_transform)
    return training_feed(
        spec, splits, part.batch_size, shape, report, held, team.shard(part.batch_size)
    )


def image_shape(spec: Spec, transform: ImageTransform) -> tuple[int | None, ...]:
    """(H, W, C) or (T, H, W, C) of what the model is fed, None where it differs between batches."""
    height, width, channels = spec.input_shape
    sides = transform.crop or transform.resize or (None, None)
    frames = spec.dataset.clip_frames
    return (*((frames,) if frames > 1 else ()), height or sides[0], width or sides[1], channels)


def _is_out_of_memory(error: Exception) -> bool:
    """NumPy's, TensorFlow's or XLA's way to say so, without importing either."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "ResourceExhaustedError"
        or "RESOURCE_EXHAUSTED" in str(error)
    )
