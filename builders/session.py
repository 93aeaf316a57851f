"""One piece of a training run: `fit`, what watches over it, and what is written at its end."""

import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from architectures.image_compressor import ImageCompressor
from builders.callbacks import (
    Backup,
    BestWeights,
    Interrupted,
    LossGuard,
    NonFiniteLoss,
    Patience,
    Progress,
    StopSignals,
)
from builders.checkpoint import TrainingState, load_weights
from builders.data_splits import Splits
from builders.errors import RunError
from builders.feed import EpochFeed
from builders.optimizers import learning_rates
from builders.run_folder import RunFolder, write_atomically
from builders.run_log import MetricsFile, RunLog, StepClock, logged_samples
from builders.spec import Spec
from builders.splits import SPLIT_NAMES
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
    """

    run_dir: Path | None = None
    resume: RunFolder | None = None
    log_dir: Path | None = None
    checkpoint: Path | None = None
    start_from: str | None = None
    verbosity: int = 1
    backup_steps: int = 0
    argv: tuple[str, ...] = field(default_factory=lambda: tuple(sys.argv))


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
        self.best_path = options.checkpoint or folder.best
        self.log_dir = options.log_dir or folder.tensorboard
        self.samples = logged_samples(splits.validation, splits.evaluation_transform)

    def fit(self, say: Say) -> int:
        """Trains to the last epoch; returns the exit status."""
        progress, feed = self.progress, self.feeds["train"]
        epochs = self.spec.training.epochs
        if progress.epoch >= epochs:
            say(f"nothing to do: {progress.epoch} of {epochs} epochs are done (--epochs for more)")
            return 0
        clock = StepClock(feed, self.spec.training.batch_size)
        log = RunLog(self.spec, self.folder, self.log_dir, progress, self.samples, clock)
        ended_well = False
        with StopSignals() as signals:
            callbacks = self.callbacks(log, clock, feed, signals)
            try:
                if progress.batch:
                    # Keras wants equal epochs within one call: the rest of a cut one is a call.
                    self.fit_to(progress.epoch + 1, callbacks)
                if not self.compressor.stop_training:
                    self.fit_to(epochs, callbacks)
                ended_well = True
            except Interrupted:
                say(
                    f"\nstopped in epoch {progress.epoch + 1}; the state is saved. To go on:\n"
                    f"  python train.py --resume --run_dir={self.folder.path}"
                )
                return INTERRUPTED_STATUS
            except NonFiniteLoss as error:
                raise NonFiniteLoss(f"{error}\n{self._kept()}") from None
            finally:
                log.close(ended_well)
        return 0

    def fit_to(self, last_epoch: int, callbacks: list[keras.callbacks.Callback]) -> None:
        feed = self.feeds["train"]
        feed.epoch, feed.start_batch = self.progress.epoch, self.progress.batch
        self.compressor.fit(
            feed.keras_input(),
            validation_data=self.feeds["validation"].keras_input(),
            initial_epoch=self.progress.epoch,
            epochs=last_epoch,
            shuffle=False,  # the feed shuffles
            verbose=self._verbosity(),
            callbacks=callbacks,
        )

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
        progress, patience = self.progress, self.spec.training.early_stopping_patience
        return [
            LossGuard(lambda: learning_rates(self.compressor.optimizer)["learning_rate"]),
            clock,
            log,
            BestWeights(self.spec, self.best_path, progress),
            *([] if patience is None else [Patience(patience, progress)]),
            Backup(
                self.state,
                progress,
                feed,
                self.options.backup_steps,
                signals,
                self.metric_values,
                lambda: clock.figures,
            ),
            MetricsFile(self.folder, progress),
        ]

    def _kept(self) -> str:
        if self.progress.epoch:
            return f"state of epoch {self.progress.epoch}: {self.folder.state}"
        return "no epoch was finished, so there is no earlier state"

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
        }
        write_atomically(folder.report, json.dumps(_finite(report), indent=2) + "\n")
        outputs = self.compressor.predict_on_batch(self.samples)
        grid = reconstruction_grid(list(self.samples), list(np.asarray(outputs["x_hat"])))
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
            f"weights    {self.best_path}",
            f"pictures   {name / 'samples.png'}, {name / 'curves.png'}",
            f"figures    {name / 'metrics.csv'}, {name / 'report.json'}",
            "",
            "next:",
            "  ./validator.sh    figures on the test images",
            "  ./exporter.sh     encoder and decoder as SavedModels",
            f"  {sys.executable} -m tensorboard.main --logdir {self.log_dir}",
        ]
        return lines


def _finite(value: Any) -> Any:
    """NaN and infinity, which JSON lacks, as null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
