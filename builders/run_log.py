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
from builders.gradient_norms import take_gradient_norms
from builders.hyperparameters import hyperparameters
from builders.loader import BatchLoader
from builders.optimizers import learning_rates
from builders.rate_distortion import BPP, PSNR, RateDistortion, due
from builders.run_folder import RunFolder, write_atomically
from builders.spec import Spec
from builders.step_log import StepLog
from constants.defaults import LOGGED_ERROR_GAIN, LOGGED_IMAGES
from evaluation.figures import reconstruction_grid, save_png

_NOT_SPLIT = ("time", "rate_distortion", "gradient_norm", "discriminator_gradient_norm")
"""What the names of values begin with that are of no split, before a slash."""


class StepClock(keras.callbacks.Callback):
    """Measures where an epoch's time goes; `figures` are of the last epoch, under `time/`.

    - `images_per_second`: images, or frames of clips, over the time of the training steps, waiting
      included.
    - `step_ms`: milliseconds a step, first step, or dispatch, of the run left out (it compiles).
    - `data_wait_fraction`: share of that time in which the step waited for its batch, in [0, 1].
    - `validation_seconds`: the pass over the validation images.

    The step sizes of the optimizers and the norms of their gradients are among the figures too.
    They stand apart from Keras' log, so that its progress line stays readable.

    Args:
        feed: what the steps are fed from; knows the images of an epoch and the time waited.
        clip_frames: images of a clip.
    """

    def __init__(self, feed: EpochFeed, clip_frames: int = 1) -> None:
        super().__init__()
        self._feed = feed
        self._clip_frames = clip_frames
        self._begin = self._first_end = self._last_end = 0.0
        self._first_wait = 0.0
        self._steps = self._first_steps = 0
        self._images = 0
        self._compiled = False
        self.figures: dict[str, float] = {}

    def follow(self, feed: EpochFeed) -> None:
        """Measures a round that is fed from elsewhere; its first step compiles again."""
        if feed is not self._feed:
            self._feed, self._compiled = feed, False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._begin = time.perf_counter()
        self._steps = 0
        self._images = (
            self._feed.loader.images - self._feed.start_batch * self._feed.loader.batch_size
        )

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._last_end = time.perf_counter()
        first = self._steps == 0
        self._steps = min(batch + 1, len(self._feed))  # of a dispatch only the last step is heard
        if first:
            self._first_steps = self._steps
            self._first_end, self._first_wait = self._last_end, self._feed.loader.wait_seconds

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        optimizer = self.model.optimizer
        self.figures = {**learning_rates(optimizer), **take_gradient_norms(optimizer)}
        begin, steps, images = self._begin, self._steps, self._images
        wait = self._feed.loader.wait_seconds
        if not self._compiled and steps > self._first_steps:
            begin, wait = self._first_end, wait - self._first_wait
            steps -= self._first_steps
            images -= self._first_steps * self._feed.loader.batch_size
        self._compiled = True
        seconds = max(self._last_end - begin, 1e-9)
        self.figures["time/step_ms"] = 1e3 * seconds / steps
        self.figures["time/images_per_second"] = images * self._clip_frames / seconds
        self.figures["time/data_wait_fraction"] = min(wait / seconds, 1.0)
        self.figures["time/validation_seconds"] = time.perf_counter() - self._last_end


class StepBar(keras.callbacks.ProgbarLogger):
    """Keras' bar; its own counts the last dispatch of an epoch as a full one, beyond the end."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        super().on_train_batch_end(min(batch, self.target - 1), logs)


class RunLog(keras.callbacks.Callback):
    """Writes each epoch's log to TensorBoard, with images and latents.

    Args:
        spec: shown as text.
        folder: of the run.
        tensorboard_dir: where event files go.
        progress: tells where the run goes on; what an earlier piece wrote later is taken back.
        samples: uint8 (N, H, W, C), validation images shown every epoch.
        clock: gives what is logged beside losses and metrics; what is measured here is added.
        scatter: measures and draws tiles between rate and distortion; None for no such picture.
        steps: writes points within epochs; None for none.
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
        scatter: RateDistortion | None = None,
        steps: StepLog | None = None,
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
        self._scatter = scatter
        self._steps = steps
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
        self._writer.hparams(hyperparameters(self._spec, self.model))
        self._writer.flush()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self._steps is not None:
            self._steps.epoch_begins()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self._steps is not None:
            self._steps.step_ends(batch, logs or {}, self)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        # What the model computes it computes in all processes of a team.
        if self._scatter is not None:
            self._clock.figures |= self._scatter.measure(self.model)
        outputs = self.model.predict_on_batch(self._samples)
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
        if self._scatter is not None and due(step, self._progress.epochs):
            picture = self._scatter.draw(self._way(epoch))
            writer.image("rate_distortion", picture, step)
            save_png(picture, self._folder.path / "rate_distortion.png")
        writer.flush()

    def _way(self, epoch: int) -> dict[str, list[float]]:
        """Rate and distortion of the epochs up to this one; the history gets this one later."""
        history, now = self._progress.history, self._clock.figures
        unknown = [float("nan")] * epoch
        return {name: [*history.get(name, unknown), now[name]] for name in (BPP, PSNR)}

    def close(self, success: bool) -> None:
        """Ends the event file; `success` is what the HParams table shows."""
        if self._writer is not None:
            self._writer.close(success)
            self._writer = None
        if self._steps is not None:
            self._steps.close()


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
        history = self._progress.history
        for name, value in {**(logs or {}), **self._clock.figures}.items():
            # What a run of an earlier version did not log yet has no number for its epochs.
            values = history.setdefault(name, [float("nan")] * epoch)
            values.append(float(value))
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
    if name.endswith("learning_rate") or name.split("/", maxsplit=1)[0] in _NOT_SPLIT:
        return name
    if name.startswith("val_"):
        return f"{name[4:]}/validation"
    return f"{name}/train"


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
