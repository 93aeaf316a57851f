"""One training run, from a spec to a run folder."""

from dataclasses import dataclass
from typing import Any

import keras

from architectures.image_compressor import ImageCompressor
from builders.callbacks import (
    Progress,
)
from builders.checkpoint import TrainingState, find_weights, load_weights
from builders.data_splits import Splits
from builders.dataset_builder import DatasetBuilder
from builders.feed import EpochFeed
from builders.model_builder import ModelBuilder
from builders.optimizers import build_optimizer
from builders.precision import Precision, choose_precision
from builders.progress import ProgressReport
from builders.run_folder import (
    RunFolder,
    create_run_folder,
    note_command,
    point_latest,
    write_atomically,
)
from builders.session import Say, Session, TrainOptions
from builders.spec import Spec
from builders.summary import ModelSummary, summarize, summary_lines
from builders.weights_choice import WeightsChoice


@dataclass(frozen=True)
class Run:
    """A run that has ended.

    Attributes:
        choice: its spec, best weights and folder; what `validate` and `export` take.
        progress: epochs, best loss, history.
        compressor: the model with its best weights.
        status: exit status of the command: 0, or 130 when it was interrupted.
    """

    choice: WeightsChoice
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
    session = open_session(spec, options, say)
    status = session.fit(say)
    if status == 0:
        session.conclude(say)
    choice = WeightsChoice(spec, session.best_path, session.folder)
    return Run(choice, session.progress, session.compressor, status)


def open_session(spec: Spec, options: TrainOptions, say: Say) -> Session:
    """Everything up to the first step: model, data, run folder, and the state to go on from.

    Raises:
        UserError: data, checkpoint or output can't be used; nothing was written then.
    """
    compressor, summary, precision = build_compressor(spec)
    splits = open_splits(spec, quiet=not options.verbosity)
    feeds = _feeds(spec, splits)
    compressor.compile(optimizer=build_optimizer(spec, compressor))
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
    return Session(spec, options, compressor, folder, feeds, splits, progress, state, metric_values)


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
