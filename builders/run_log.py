"""What a run tells while it trains: TensorBoard, metrics.csv, and the time its steps take."""

import csv
import io
import json
import time
from typing import Any

import keras
import numpy as np

from builders.callbacks import Progress
from builders.clips import ClipSource, frames_of
from builders.event_writer import EventWriter
from builders.feed import EpochFeed
from builders.loader import BatchLoader
from builders.optimizers import learning_rates
from builders.run_folder import RunFolder, write_atomically
from builders.spec import Spec
from constants.defaults import LOGGED_ERROR_GAIN, LOGGED_IMAGES
from evaluation.figures import reconstruction_grid


class StepClock(keras.callbacks.Callback):
    """Measures where an epoch's time goes; `figures` are of the last epoch, under `time/`.

    - `images_per_second`: images, or frames of clips, over the time of the training steps, waiting
      included.
    - `step_ms`: milliseconds a step, first step of the run left out (it compiles).
    - `data_wait_fraction`: share of that time in which the step waited for its batch, in [0, 1].
    - `validation_seconds`: the pass over the validation images.

    The step sizes of the optimizers are among the figures too. They stand apart from Keras' log, so
    that its progress line stays readable.

    Args:
        feed: what the steps are fed from; knows the images of an epoch and the time waited.
        batch_size: images or clips a step; the last of an epoch has what is left.
        clip_frames: images of a clip.
    """

    def __init__(self, feed: EpochFeed, batch_size: int, clip_frames: int = 1) -> None:
        super().__init__()
        self._feed = feed
        self._batch_size = batch_size
        self._clip_frames = clip_frames
        self._begin = self._first_end = self._last_end = 0.0
        self._first_wait = 0.0
        self._steps = 0
        self._images = 0
        self._compiled = False
        self.figures: dict[str, float] = {}

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._begin = time.perf_counter()
        self._steps = 0
        self._images = self._feed.loader.images - self._feed.start_batch * self._batch_size

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._last_end = time.perf_counter()
        self._steps += 1
        if self._steps == 1:
            self._first_end, self._first_wait = self._last_end, self._feed.loader.wait_seconds

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.figures = learning_rates(self.model.optimizer)
        begin, steps, images = self._begin, self._steps, self._images
        wait = self._feed.loader.wait_seconds
        if not self._compiled and steps > 1:
            begin, wait = self._first_end, wait - self._first_wait
            steps, images = steps - 1, images - self._batch_size
        self._compiled = True
        seconds = max(self._last_end - begin, 1e-9)
        self.figures["time/step_ms"] = 1e3 * seconds / steps
        self.figures["time/images_per_second"] = images * self._clip_frames / seconds
        self.figures["time/data_wait_fraction"] = min(wait / seconds, 1.0)
        self.figures["time/validation_seconds"] = time.perf_counter() - self._last_end


class RunLog(keras.callbacks.Callback):
    """Writes each epoch's log to TensorBoard, with images and latents.

    Args:
        spec: shown as text.
        folder: of the run.
        tensorboard_dir: where event files go.
        progress: tells where the run goes on; what an earlier piece wrote later is taken back.
        samples: uint8 (N, H, W, C), validation images shown every epoch.
        clock: gives what is logged beside losses and metrics.
        writes: whether this process does; the others of a team only take part in predictions.
    """

    def __init__(
        self,
        spec: Spec,
        folder: RunFolder,
        tensorboard_dir: Any,
        progress: Progress,
        samples: np.ndarray,
        clock: StepClock,
        writes: bool = True,
    ) -> None:
        super().__init__()
        self._writes = writes
        self._spec = spec
        self._folder = folder
        self._clock = clock
        self._progress = progress
        self._samples = samples
        self._directory = tensorboard_dir
        self._writer: EventWriter | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        if self._writer is not None or not self._writes:
            return  # `fit` goes on after an epoch that was resumed in its middle
        first, resumed = self._progress.epoch, self._progress.resumes > 0
        self._writer = EventWriter(self._directory, purge_step=first + 1 if resumed else None)
        if first or not resumed:  # cut in its first epoch, the run has its text at step 0 already
            text = json.dumps(self._spec.resolved(), indent=2, ensure_ascii=False)
            indented = "\n".join("    " + line for line in text.splitlines())
            self._writer.text("spec", indented, step=first)
        self._writer.hparams(hyperparameters(self._spec))
        self._writer.flush()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        outputs = self.model.predict_on_batch(self._samples)  # in all processes of a team
        if not self._writes:
            return
        writer = self._writer
        assert writer is not None
        step = epoch + 1
        for name, value in {**(logs or {}), **self._clock.figures}.items():
            writer.scalar(scalar_tag(name), value, step)
        grid = reconstruction_grid(
            list(frames_of(self._samples)),
            list(np.asarray(outputs["x_hat"])),
            error_gain=LOGGED_ERROR_GAIN,
        )
        writer.image("original | regenerated | error", grid, step)
        writer.histogram("latents", np.asarray(outputs["y"]), step)
        writer.flush()

    def close(self, success: bool) -> None:
        """Ends the event file; `success` is what the HParams table shows."""
        if self._writer is not None:
            self._writer.close(success)
            self._writer = None


class MetricsFile(keras.callbacks.Callback):
    """Adds each epoch's log to the history and rewrites metrics.csv from it.

    The history is part of the state that a resume goes on from, so no epoch stands there twice.

    Args:
        folder: of the run.
        progress: its history grows.
        clock: gives what is logged beside losses and metrics.
        writes: whether this process does.
    """

    def __init__(
        self, folder: RunFolder, progress: Progress, clock: StepClock, writes: bool = True
    ) -> None:
        super().__init__()
        self._writes = writes
        self._folder = folder
        self._progress = progress
        self._clock = clock

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        for name, value in {**(logs or {}), **self._clock.figures}.items():
            self._progress.history.setdefault(name, []).append(float(value))
        if self._writes:
            write_metrics(self._folder, self._progress.history)


def write_metrics(folder: RunFolder, history: dict[str, list[float]]) -> None:
    """metrics.csv: one row an epoch, the epoch first."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["epoch", *history])
    for index, row in enumerate(zip(*history.values(), strict=True)):
        table.writerow([index + 1, *(f"{value:.8g}" for value in row)])
    write_atomically(folder.metrics, text.getvalue())


def scalar_tag(name: str) -> str:
    """`val_psnr` -> `psnr/validation`, `psnr` -> `psnr/train`: grouped by the quantity."""
    if name.startswith("time/") or name.endswith("learning_rate"):
        return name
    if name.startswith("val_"):
        return f"{name[4:]}/validation"
    return f"{name}/train"


def hyperparameters(spec: Spec) -> dict[str, Any]:
    """What runs are compared by in TensorBoard's HParams page."""
    training = spec.training
    ((optimizer, arguments),) = training.optimizer.items()
    rate = arguments.get("learning_rate")
    values: dict[str, Any] = {
        "model": spec.name,
        "dataset": spec.dataset.name,
        "batch_size": training.batch_size,
        "latent_dims": training.latent_dims,
        "optimizer": optimizer,
        "learning_rate": rate if isinstance(rate, int | float) else json.dumps(rate),
        "seed": training.seed,
    }
    for term in spec.sections.loss:
        ((name, details),) = term.items()
        values[f"loss/{name}"] = json.dumps(details)
    return values


def logged_samples(source: Any, transform: Any, count: int = LOGGED_IMAGES) -> np.ndarray:
    """The first images of a split as the model sees them in evaluation, uint8 (N, H, W, C).

    Of a split of clips, as many clips as hold so many frames: uint8 (N, T, H, W, C).
    """
    if isinstance(source, ClipSource):
        clips = max(1, count // len(source[0]))
        return next(BatchLoader(source, clips, transform=transform, workers=0).batches(0))
    images = [
        transform(source[index], name=source.name(index))
        for index in range(min(count, len(source)))
    ]
    height = min(image.shape[0] for image in images)
    width = min(image.shape[1] for image in images)
    return np.stack([image[:height, :width] for image in images])
