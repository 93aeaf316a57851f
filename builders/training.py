"""One training run, from a spec to a run folder."""

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
from builders.checkpoint import TrainingState, find_weights, load_weights
from builders.data_splits import Splits
from builders.dataset_builder import DatasetBuilder
from builders.errors import RunError
from builders.feed import EpochFeed
from builders.model_builder import ModelBuilder
from builders.optimizers import build_optimizer, learning_rates
from builders.precision import Precision, choose_precision
from builders.progress import ProgressReport
from builders.run_folder import (
    RunFolder,
    create_run_folder,
    note_command,
    point_latest,
    write_atomically,
)
from builders.run_log import MetricsFile, RunLog, StepClock, logged_samples
from builders.spec import Spec
from builders.summary import ModelSummary, summarize, summary_lines
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


@dataclass(frozen=True)
class Run:
    """A run that has ended.

    Attributes:
        folder: where everything is.
        progress: epochs, best loss, history.
        compressor: the model with its best weights.
        status: exit status of the command: 0, or 130 when it was interrupted.
    """

    folder: RunFolder
    progress: Progress
    compressor: ImageCompressor
    status: int


def build_compressor(spec: Spec) -> tuple[ImageCompressor, ModelSummary, Precision]:
    """The model of a spec in the precision it asks for, with its costs.

    The weights are a function of the spec's seed alone.
    """
    make_repeatable(spec.training.seed)
    compressor = ModelBuilder(spec).build()
    summary = summarize(spec, compressor)
    precision = choose_precision(spec.training.precision, summary.macs)
    if precision.policy != "float32":
        make_repeatable(spec.training.seed)
        compressor = ModelBuilder(spec, precision.policy).build()
    return compressor, summary, precision


def make_repeatable(seed: int) -> None:
    """Seeds Keras' random state; under TensorFlow, sums run in a fixed order from here on."""
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def dry_run(spec: Spec, say: Say = print) -> None:
    """Prints what a spec makes and trains nothing."""
    _, summary, precision = build_compressor(spec)
    for line in summary_lines(spec, summary):
        say(line)
    say(f"precision    {precision.policy} ({precision.reason})")
    say(f"{spec.source}: ready to train; nothing was trained (--dry_run)")


def train(spec: Spec, options: TrainOptions | None = None) -> Run:
    """Trains a spec, or goes on with a run.

    Args:
        spec: what to train, on what, how.
        options: where results go and where to start from.

    Returns:
        The run, its model holding the best weights.

    Raises:
        UserError: data, checkpoint or output can't be used; nothing was written then.
        NonFiniteLoss: the loss is NaN; the last good state is kept.
    """
    options = options or TrainOptions()
    say: Say = print if options.verbosity else _silent
    compressor, summary, precision = build_compressor(spec)
    splits = open_splits(spec, quiet=not options.verbosity)
    feeds = _feeds(spec, splits)
    compressor.compile(optimizer=build_optimizer(spec))
    compressor.optimizer.build(compressor.trainable_variables)
    if options.start_from is not None:
        load_weights(compressor, spec, find_weights(options.start_from))

    folder = options.resume or create_run_folder(spec, options.run_dir, options.argv)
    state = TrainingState(compressor, spec, folder.state)
    progress = Progress()
    metric_values = None
    if options.resume is not None:
        progress, metric_values = _resume(spec, state, compressor, folder, options)
    point_latest(folder)
    _describe(say, spec, folder, splits, summary, precision, progress)
    session = _Session(spec, options, compressor, folder, feeds, splits, progress, state)
    status = session.fit(metric_values, say)
    if status == 0:
        session.conclude(say)
    return Run(folder, progress, compressor, status)


def _silent(_: str) -> None:
    pass


def open_splits(spec: Spec, quiet: bool = False) -> Splits:
    """The images of a spec, with a progress bar where reading them takes long."""
    with ProgressReport(not quiet) as report:
        builder = DatasetBuilder(
            spec.dataset, spec.input_shape, seed=spec.training.seed, report=report
        )
        return builder.build()


def _feeds(spec: Spec, splits: Splits) -> dict[str, EpochFeed]:
    size = spec.training.batch_size
    return {
        "train": EpochFeed(splits.loader("train", size, training=True), image_shape(spec, splits)),
        "validation": EpochFeed(splits.loader("validation", size), image_shape(spec, splits)),
    }


def image_shape(spec: Spec, splits: Splits) -> tuple[int | None, ...]:
    """(H, W, C) of what the model is fed, None where it differs from batch to batch."""
    height, width, channels = spec.input_shape
    transform = splits.evaluation_transform
    sides = transform.crop or transform.resize or (None, None)
    return (height or sides[0], width or sides[1], channels)


def _resume(
    spec: Spec,
    state: TrainingState,
    compressor: ImageCompressor,
    folder: RunFolder,
    options: TrainOptions,
) -> tuple[Progress, list[Any] | None]:
    progress = Progress.from_json(state.load())
    progress.stopped = ""
    note_command(folder, options.argv)
    write_atomically(folder.spec, spec.to_json())  # the number of epochs may have changed
    if not progress.batch:
        return progress, None
    values = [keras.ops.convert_to_numpy(each.value) for each in compressor.metrics_variables]
    return progress, values


def _describe(
    say: Say,
    spec: Spec,
    folder: RunFolder,
    splits: Splits,
    summary: ModelSummary,
    precision: Precision,
    progress: Progress,
) -> None:
    latents = "x".join(str(side) for side in summary.latents)
    say(f"spec       {spec.source} ({spec.name})")
    for line in splits.describe():
        say(f"data       {line}")
    say(
        f"model      {summary.parameters:,} parameters, latents {latents}, "
        f"ratio {summary.ratio:.2f} : 1 as stored"
    )
    say(f"precision  {precision.policy} ({precision.reason}), {keras.backend.backend()} backend")
    for warning in summary.warnings:
        say(f"warning    {warning}")
    say(f"run        {folder.path}")
    if progress.epoch or progress.batch:
        say(f"resumed    at epoch {progress.epoch + 1}, step {progress.batch + 1}")


class _Session:
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
    ) -> None:
        self.spec = spec
        self.options = options
        self.compressor = compressor
        self.folder = folder
        self.feeds = feeds
        self.splits = splits
        self.progress = progress
        self.state = state
        self.best_path = options.checkpoint or folder.best
        self.log_dir = options.log_dir or folder.tensorboard
        self.samples = logged_samples(splits.validation, splits.evaluation_transform)

    def fit(self, metric_values: list[Any] | None, say: Say) -> int:
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
            callbacks = self._callbacks(log, clock, feed, signals, metric_values)
            try:
                if progress.batch:
                    # Keras wants equal epochs within one call: the rest of a cut one is a call.
                    self._fit(progress.epoch + 1, callbacks)
                if not self.compressor.stop_training:
                    self._fit(epochs, callbacks)
                ended_well = True
            except Interrupted:
                where = "" if self.folder.path.parent.name == "runs" else f" --run_dir={self.folder.path}"
                say(
                    f"\nstopped in epoch {progress.epoch + 1}; the state is saved. To go on:\n"
                    f"  python train.py --resume{where}"
                )
                return INTERRUPTED_STATUS
            except NonFiniteLoss as error:
                raise NonFiniteLoss(f"{error}\n{self._kept()}") from None
            finally:
                log.close(ended_well)
        return 0

    def _fit(self, last_epoch: int, callbacks: list[keras.callbacks.Callback]) -> None:
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

    def _callbacks(
        self,
        log: RunLog,
        clock: StepClock,
        feed: EpochFeed,
        signals: StopSignals,
        metric_values: list[Any] | None,
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
                metric_values,
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
            "images": {name: len(getattr(self.splits, name)) for name in ("train", "validation", "test")},
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
            f"best epoch {progress.best_epoch + 1} of {progress.epoch}, on validation images: {figures}",
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
