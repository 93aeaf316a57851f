"""Callbacks that keep a run safe: state on disk, the best weights, a stop that can be resumed."""

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from architectures.losses import Adversarial
from builders.checkpoint import NonFiniteWeights, TrainingState, save_weights
from builders.errors import RunError
from builders.feed import EpochFeed
from builders.optimizers import learning_rates
from builders.run_folder import write_atomically
from builders.spec import Spec
from builders.stop_signals import StopSignals

MONITOR = "val_loss"


class Interrupted(Exception):  # noqa: N818 - it is a wish, not an error
    """The user, or the machine's scheduler, asked the run to stop; its state is saved."""


class NonFiniteLoss(RunError):  # noqa: N818 - it names what was found
    """The loss is NaN or infinite."""


@dataclass
class Progress:
    """Where a run stands.

    Attributes:
        epoch: the epoch to go on with, from 0.
        batch: batches of it that are done.
        best_loss: lowest validation loss so far, see `monitored_loss`.
        best_epoch: its epoch, -1 before the first.
        history: one list an entry of the log, one value an epoch.
        stopped: why training ended before its last epoch, if it did.
        seconds: time spent training, all pieces together.
        resumes: how often the run was gone on with.
        epochs: how many epochs were asked for.
        images: how many an epoch trains on.
        log_dir: where event files go, if not into the run folder.
        checkpoint: where a copy of the best weights goes, if anywhere.
        round: whose optimizer is in the state, from 0.
    """

    epoch: int = 0
    batch: int = 0
    best_loss: float = float("inf")
    best_epoch: int = -1
    history: dict[str, list[float]] = field(default_factory=dict)
    stopped: str = ""
    seconds: float = 0.0
    resumes: int = 0
    epochs: int = 0
    images: int = 0
    log_dir: str | None = None
    checkpoint: str | None = None
    round: int = 0

    def to_json(self) -> dict[str, Any]:
        """As plain data; infinity, which JSON lacks, becomes null."""
        plain = asdict(self)
        plain["best_loss"] = self.best_loss if np.isfinite(self.best_loss) else None
        return plain

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> "Progress":
        """The inverse of `to_json`."""
        plain = dict(plain)
        if plain["best_loss"] is None:
            plain["best_loss"] = float("inf")
        return cls(**plain)


class LossGuard(keras.callbacks.Callback):
    """Stops the run at the first step, or dispatch of steps, whose loss is not a number.

    Args:
        feed: tells with which batch an epoch began.
    """

    def __init__(self, feed: EpochFeed) -> None:
        super().__init__()
        self._feed = feed
        self._seen = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._seen = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        # The running mean stays NaN once it is: a look at any later step finds it too.
        loss = float(keras.ops.convert_to_numpy((logs or {})["loss"]))
        if not np.isfinite(loss):
            steps = range(self._feed.start_batch + self._seen, steps_done(self._feed, batch))
            # `self.model`, here and below: under JAX it brings the values of this step back.
            raise not_finite(f"the loss is {loss}", steps, self._feed.epoch, self.model)
        self._seen = batch + 1


def steps_done(feed: EpochFeed, batch: int) -> int:
    """Steps of the epoch that are done at the end of a batch.

    Keras counts the last dispatch of an epoch as a full one, also when fewer steps were left.
    """
    return min(feed.start_batch + batch + 1, len(feed.loader))


def not_finite(what: str, steps: range, epoch: int, model: Any) -> NonFiniteLoss:
    """The error for a run that has left the numbers, with what to try.

    Args:
        what: what was found.
        steps: of the epoch, from 0; it happened in one of them.
        epoch: from 0.
        model: compiled.
    """
    rate = learning_rates(model.optimizer)["learning_rate"]
    where = f"step {steps.stop}" if len(steps) < 2 else f"steps {steps.start + 1} to {steps.stop}"
    return NonFiniteLoss(
        f"{what} at {where} of epoch {epoch + 1}. Likely causes: a learning rate that is too "
        f'high (now {rate:g}; try a tenth, or "global_clipnorm": 1.0 in the optimizer), an '
        "unbounded layer before an exponential, or a loss term on images smaller than it needs."
    )


class Backup(keras.callbacks.Callback):
    """Saves the state after every epoch and every `steps` steps, and when a stop is wanted.

    Args:
        state: writes the file.
        progress: of the run; changed in place.
        feed: told which epoch to serve, and where to begin in it.
        steps: batches between saves inside an epoch; 0 for none. When they are dispatched several
            at a time, the save follows the dispatch.
        signals: tells whether a stop is wanted.
        metric_values: values of the metrics at the moment a run was cut inside an epoch.
        due: asked with (batches done, batches) of the epoch whether to save now; None for never.
        saved: called when the state is on disk.
        writes: whether this process saves; the others of a team only keep count.
    """

    def __init__(
        self,
        state: TrainingState,
        progress: Progress,
        feed: EpochFeed,
        steps: int,
        signals: StopSignals,
        metric_values: list[Any] | None,
        due: Callable[[int, int], bool] | None = None,
        saved: Callable[[], None] | None = None,
        writes: bool = True,
    ) -> None:
        super().__init__()
        self._writes = writes
        self._seconds_before = progress.seconds
        self._began = time.monotonic()
        self._state = state
        self._progress = progress
        self._feed = feed
        self._steps = steps
        self._signals = signals
        self._metric_values = metric_values
        self._done = 0
        self._due = due
        self._saved = saved

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._done = self._progress.batch
        self._feed.epoch, self._feed.start_batch = epoch, self._done
        if self._metric_values is not None:
            # Keras has just reset them; the resumed epoch's means count its earlier part too.
            for variable, value in zip(
                self.model.metrics_variables, self._metric_values, strict=True
            ):
                variable.assign(value)
            self._metric_values = None

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        before, done = self._done, steps_done(self._feed, batch)
        self._done = done
        due = self._steps > 0 and done // self._steps > before // self._steps
        if self._due is not None:
            due |= self._due(done, len(self._feed.loader))
        stop = self._signals.wanted and self._writes  # of the others, the first hears it too
        if done == len(self._feed.loader) or not (due or stop):
            return  # the epoch's end saves, after its validation
        self._save(replace(self._progress, batch=done))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._save(replace(self._progress, epoch=epoch + 1, batch=0))

    def _save(self, reached: Progress) -> None:
        model = self.model  # under JAX this brings the weights of this step back into the model
        reached.seconds = self._seconds_before + time.monotonic() - self._began
        try:
            if self._writes:
                self._state.save(reached.to_json())
        except NonFiniteWeights as error:
            step = reached.batch or len(self._feed.loader)
            steps = range(step - 1, step)
            raise not_finite(str(error), steps, self._progress.epoch, model) from None
        # Only now: until the file is whole, the run stands where the one before it says.
        self._progress.epoch, self._progress.batch = reached.epoch, reached.batch
        self._progress.seconds = reached.seconds
        if self._saved is not None:
            self._saved()
        if self._signals.wanted and self._writes:
            raise Interrupted


class BestWeights(keras.callbacks.Callback):
    """Keeps the weights with the lowest validation loss; knows the best of an earlier piece.

    Args:
        spec: stored with the weights.
        path: in the run folder.
        progress: remembers the best; changed in place.
        copy: where else the file goes; None for nowhere.
        writes: whether this process does.
    """

    def __init__(
        self, spec: Spec, path: Path, progress: Progress, copy: Path | None, writes: bool = True
    ) -> None:
        super().__init__()
        self._writes = writes
        self._spec = spec
        self._path = path
        self._progress = progress
        self._copy = copy

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        loss = monitored_loss(self.model, logs or {})
        if loss < self._progress.best_loss:
            self._progress.best_loss, self._progress.best_epoch = loss, epoch
            if not self._writes:
                return
            info = {"epoch": epoch + 1, MONITOR: float((logs or {})[MONITOR])}
            save_weights(self.model, self._spec, self._path, info)
            if self._copy is not None:
                write_atomically(self._copy, lambda target: _copied(self._path, target))


class EpochWeights(keras.callbacks.Callback):
    """Keeps the weights of every so many epochs, each in a file of its own.

    Args:
        spec: stored with the weights.
        folder: for `epoch-0010.weights.h5` and so on.
        every: epochs between files.
    """

    def __init__(self, spec: Spec, folder: Path, every: int) -> None:
        super().__init__()
        self._spec = spec
        self._folder = folder
        self._every = every

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if (epoch + 1) % self._every == 0:
            path = self._folder / f"epoch-{epoch + 1:04}.weights.h5"
            info = {"epoch": epoch + 1, MONITOR: float((logs or {})[MONITOR])}
            save_weights(self.model, self._spec, path, info)


def _copied(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


def monitored_loss(model: Any, logs: dict[str, Any]) -> float:
    """What the best epoch is chosen by: the validation loss, without an adversarial term.

    That term is measured by the discriminator as it is in this epoch. It rises when the
    discriminator gets better, so over epochs it does not compare.
    """
    loss = float(logs[MONITOR])
    judged = [term for term in model.loss_terms if isinstance(term, Adversarial)]
    if len(judged) == len(model.loss_terms):
        return loss
    return loss - sum(term.weight * float(logs[f"val_{term.tag}"]) for term in judged)


class Patience(keras.callbacks.Callback):
    """Stops when the validation loss has not improved for some epochs, resumes included.

    Args:
        epochs: without a better loss.
        progress: knows the best epoch; told when training stops.
        first_epoch: from which they count: a round's first.
    """

    def __init__(self, epochs: int, progress: Progress, first_epoch: int = 0) -> None:
        super().__init__()
        self._first = first_epoch
        self._epochs = epochs
        self._progress = progress

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch - max(self._progress.best_epoch, self._first - 1) >= self._epochs:
            self._progress.stopped = f"no better {MONITOR} for {self._epochs} epochs"
            self.model.stop_training = True
