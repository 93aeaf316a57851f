"""One piece of a training run: `fit`, what watches over it, and what is written at its end."""

import json
import math
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
    StopSignals,
)
from builders.checkpoint import TrainingState, load_weights
from builders.clips import frames_of
from builders.data_splits import Splits
from builders.errors import RunError
from builders.feed import EpochFeed
from builders.run_folder import RunFolder, write_atomically
from builders.run_log import MetricsFile, RunLog, StepClock
from builders.spec import Spec
from builders.splits import SPLIT_NAMES
from builders.team import Team
from evaluation.figures import curve_figure, reconstruction_grid, save_png

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
        self.log_dir = folder.tensorboard if progress.log_dir is None else Path(progress.log_dir)
        self.samples = samples

    def fit(self, say: Say) -> int:
        """Trains to the last epoch; returns the exit status."""
        progress, feed = self.progress, self.feeds["train"]
        epochs = self.spec.training.epochs
        if progress.epoch >= epochs:
            say(f"nothing to do: {progress.epoch} of {epochs} epochs are done (--epochs for more)")
            return 0
        if progress.stopped:
            say(f"nothing to do: stopped after epoch {progress.epoch}: {progress.stopped}")
            return 0
        clock = StepClock(feed, self.spec.training.batch_size, self.spec.dataset.clip_frames)
        team = self.options.team
        log = RunLog(
            self.spec, self.folder, self.log_dir, progress, self.samples, clock, team.is_first
        )
        ended_well = False
        with StopSignals() as signals, team.stopping(signals, self._way_on):
            callbacks = self.callbacks(log, clock, feed, signals)
            try:
                if progress.batch:
                    # Keras wants equal epochs within one call: the rest of a cut one is a call.
                    self.fit_to(progress.epoch + 1, callbacks)
                if not self.compressor.stop_training:
                    self.fit_to(epochs, callbacks)
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
                size = self.spec.training.batch_size
                raise RunError(
                    f"out of memory with {size} images a step; try --batch_size "
                    f"{max(size // 2, 1)}, a smaller dataset.crop, or --precision mixed_bfloat16"
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
        progress, patience = self.progress, self.spec.training.early_stopping_patience
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
            *([] if patience is None else [Patience(patience, progress)]),
            keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: averaged.leave()),
            MetricsFile(self.folder, progress, clock, writes),
            Backup(
                self.state,
                progress,
                feed,
                self.options.backup_steps,
                signals,
                self.metric_values,
                writes,
            ),
        ]

    def _kept(self) -> str:
        place = f"epoch {self.progress.epoch + 1}, step {self.progress.batch + 1}"
        return f"The state before {place} is saved in {self.folder.state}"

    def _command(self, flags: str) -> str:
        return f"python train.py {flags} {shlex.quote(str(self.folder.path))}"

    def _way_on(self) -> str:
        flags = f"{self.options.team.flags}--resume --run_dir"
        return f"{self._kept()}. To go on{self.options.team.everywhere}:\n  {self._command(flags)}"

    def _way_out(self) -> list[str]:
        """What to do when a loss is no number: the same steps would lead there again."""
        lines = [f"{self._kept()}."]
        if self.progress.best_epoch >= 0:
            lines += [
                f"The best weights so far, of epoch {self.progress.best_epoch + 1}, are kept. To "
                "start from them with other settings:",
                f"  {self._command('--load_from_ckpt_path')} --learning_rate ...",
            ]
        return lines

    def conclude(self, say: Say) -> None:
        """Loads the best weights; writes report, curves and samples; says what to do next."""
        progress, folder = self.progress, self.folder
        if progress.best_epoch < 0:
            raise RunError("no epoch ended with a finite validation loss: there are no weights")
        load_weights(self.compressor, self.spec, self.best_path)
        best = {
            name: values[progress.best_epoch]
            for name, values in progress.history.items()
            if not name.startswith("time/")
        }
        times = {
            name: float(np.median(values))
            for name, values in progress.history.items()
            if name.startswith("time/")
        }
        report = {
            "spec": self.spec.name,
            "epochs": progress.epoch,
            "best_epoch": progress.best_epoch + 1,
            "stopped": progress.stopped,
            "seconds": round(progress.seconds, 1),
            "best": best,
            "median": times,
            "images": {split: len(getattr(self.splits, split)) for split in SPLIT_NAMES},
            "skipped_files": [str(broken) for broken in self.splits.skipped],
            "weights": str(self.best_path),
            "weights_copy": progress.checkpoint,
        }
        write_atomically(folder.report, json.dumps(_finite(report), indent=2) + "\n")
        outputs = self.compressor.predict_on_batch(self.samples)
        samples = list(frames_of(self.samples))
        grid = reconstruction_grid(samples, list(np.asarray(outputs["x_hat"])))
        save_png(grid, folder.samples)
        save_png(curve_figure(progress.history, title=self.spec.name), folder.path / "curves.png")
        for line in self._closing_lines(best, times):
            say(line)

    def _closing_lines(self, best: dict[str, float], times: dict[str, float]) -> list[str]:
        progress, folder = self.progress, self.folder
        figures = ", ".join(
            f"{name.removeprefix('val_')} {value:.4g}"
            for name, value in best.items()
            if name.startswith("val_")
        )
        name = folder.path
        lines = [
            "",
            f"best epoch {progress.best_epoch + 1} of {progress.epoch}; validation: {figures}",
        ]
        if progress.stopped:
            lines.append(f"stopped early: {progress.stopped}")
        lines += [
            f"speed      {times['time/images_per_second']:,.0f} images/s, "
            f"{times['time/step_ms']:.1f} ms a step, of which "
            f"{100 * times['time/data_wait_fraction']:.1f} % waiting for data",
            f"weights    {progress.checkpoint or self.best_path}",
            f"pictures   {name / 'samples.png'}, {name / 'curves.png'}",
            f"figures    {name / 'metrics.csv'}, {name / 'report.json'}",
            "",
            "next:",
            "  ./validator.sh    figures on the test images",
            "  ./exporter.sh     encoder and decoder as SavedModels",
            f"  {shlex.quote(sys.executable)} -m tensorboard.main "
            f"--logdir {shlex.quote(str(self.log_dir))} --samples_per_plugin images=1000",
        ]
        return lines


def _is_out_of_memory(error: Exception) -> bool:
    """NumPy's, TensorFlow's or XLA's way to say so, without importing either."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "ResourceExhaustedError"
        or "RESOURCE_EXHAUSTED" in str(error)
    )


def _finite(value: Any) -> Any:
    """NaN and infinity, which JSON lacks, as null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
