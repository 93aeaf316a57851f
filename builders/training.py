"""One training run, from a spec to a run folder."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras

from architectures.image_compressor import ImageCompressor
from builders.callbacks import Progress
from builders.checkpoint import (
    WEIGHTS_SUFFIX,
    TrainingState,
    find_weights,
    load_weights,
    read_round,
)
from builders.conclusion import conclude
from builders.data_parallel import check_team, cut_filling, shared_run_folder
from builders.data_splits import Splits
from builders.dataset_builder import DatasetBuilder
from builders.errors import UserError
from builders.feed import EpochFeed
from builders.jax_dispatch import dispatch_steps
from builders.model_builder import ModelBuilder
from builders.precision import Precision, choose_precision
from builders.progress import ProgressReport
from builders.rate_distortion import rate_distortion_of
from builders.rounds import Round, check_crops, enter_round, rounds_of, splits_of_round
from builders.run_folder import (
    RunFolder,
    create_run_folder,
    note_command,
    point_latest,
    write_atomically,
)
from builders.run_log import logged_samples, write_metrics
from builders.session import Say, Session, TrainOptions, image_shape, train_feed
from builders.spec import Spec
from builders.summary import ModelSummary, summarize, summary_lines
from builders.team import Team
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

    Raises:
        UserError: the spec can't be built, or can't be trained as it stands.
    """
    check_crops(spec)
    make_repeatable(spec.training.seed)
    compressor = ModelBuilder(spec).build()
    _check_regularizers(spec, compressor)
    summary = summarize(spec, compressor)
    precision = choose_precision(spec.training.precision, summary.macs)
    if precision.policy != "float32":
        make_repeatable(spec.training.seed)
        compressor = ModelBuilder(spec, precision.policy).build()
    return compressor, summary, precision


def _check_regularizers(spec: Spec, compressor: ImageCompressor) -> None:
    """Activities of a discriminator belong to two batches, and are not regularized."""
    judge = compressor.discriminator
    for index, layer in enumerate([] if judge is None else judge.stack):
        if getattr(layer, "activity_regularizer", None) is not None:
            raise UserError(
                f"{spec.source}: model.layers.discriminator.layers[{index}].{type(layer).__name__}."
                "activity_regularizer: has no effect in a discriminator; use kernel_regularizer"
            )


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
    team = options.team
    if not team.is_first:
        options = replace(options, verbosity=0)
    say: Say = print if options.verbosity else _silent
    session = open_session(spec, options, say)
    status = session.fit(say)
    if status == 0 and team.is_first:
        with team.alone():
            if team.count > 1:  # the weights are spread over processes that take no part any more
                session.compressor, *_ = build_compressor(spec)
            conclude(session, say)
    choice = WeightsChoice(spec, session.best_path, session.folder)
    return Run(choice, session.progress, session.compressor, status)


def open_session(spec: Spec, options: TrainOptions, say: Say) -> Session:
    """Everything up to the first step: model, data, run folder, and the state to go on from.

    Raises:
        UserError: data, checkpoint or output can't be used; nothing was written then.
    """
    compressor, summary, precision = build_compressor(spec)
    splits = open_splits(spec, quiet=not options.verbosity)
    if options.hooks.check is not None:
        options.hooks.check(splits)
    team = options.team
    check_team(team, spec, splits)
    rounds = rounds_of(spec)
    for part in rounds:  # what a later one can't use is found now
        splits_of_round(splits, part, spec)
        team.shard(part.batch_size)
    if team.shared:
        cut_filling(compressor)
    samples = logged_samples(splits.validation, splits.evaluation_transform)
    scatter = rate_distortion_of(spec, compressor, splits, len(samples))
    part = rounds[0 if options.resume is None else read_round(options.resume.state)]
    batch_size = spec.training.batch_size
    feeds = {
        "train": first_feed(spec, splits, part, team, quiet=not options.verbosity),
        "validation": EpochFeed(
            splits.loader("validation", batch_size, shard=team.shard(batch_size)),
            image_shape(spec, splits.evaluation_transform),
        ),
    }
    enter_round(compressor, part, spec.training.steps_per_dispatch)
    dispatch_steps(compressor, feeds["train"], spec.training.steps_per_dispatch)
    if options.start_from is not None:
        load_weights(compressor, spec, find_weights(options.start_from))
    asked = Progress(
        epochs=rounds[-1].end_epoch,
        images=len(splits.train),
        log_dir=_writable_folder("--log_dir", options.log_dir),
        checkpoint=_copy_path(options.checkpoint),
    )
    folder = options.resume or shared_run_folder(
        team, lambda: create_run_folder(spec, options.run_dir, options.argv)
    )
    state = TrainingState(compressor, spec, folder.state)
    progress, metric_values = asked, None
    if options.resume is not None:
        progress, metric_values = _resume(spec, state, compressor, folder, asked, team.is_first)
        if team.is_first:
            note_command(folder, options.argv)
    elif team.is_first:
        state.save(progress.to_json())  # so that a run can always be gone on with
    trouble = point_latest(folder) if options.hooks.latest and team.is_first else ""
    data = [*splits.describe(), *filter(None, [feeds["train"].note])]
    _describe(say, spec, folder, data, summary, precision, progress, team)
    if trouble:
        say(f"warning    {trouble}")
    return Session(
        spec,
        options,
        compressor,
        folder,
        feeds,
        splits,
        progress,
        state,
        samples,
        metric_values,
        scatter,
    )


def _writable_folder(flag: str, folder: Path | None) -> str | None:
    """The absolute path of a folder that is there or can be made; None stays None."""
    if folder is None:
        return None
    nearest = folder.absolute()
    while not nearest.exists():
        nearest = nearest.parent
    if not nearest.is_dir():
        raise UserError(f"{flag} {folder}: can't be written: {nearest} is a file")
    if not os.access(nearest, os.W_OK):
        raise UserError(f"{flag} {folder}: can't be written: no permission in {nearest}")
    return str(folder.absolute())


def _copy_path(asked: Path | None) -> str | None:
    """Where --checkpoint_filepath points: a weights file, or a folder that gets one."""
    if asked is None:
        return None
    if not asked.name.endswith(WEIGHTS_SUFFIX):
        if asked.suffix and not asked.is_dir():
            raise UserError(
                f"--checkpoint_filepath {asked}: expected a name ending in {WEIGHTS_SUFFIX}, or a "
                "folder"
            )
        asked = asked / f"best{WEIGHTS_SUFFIX}"
    _writable_folder("--checkpoint_filepath", asked.parent)
    return str(asked.absolute())


def _silent(_: str) -> None:
    pass


def open_splits(spec: Spec, quiet: bool = False) -> Splits:
    """The images of a spec, with a progress bar where reading them takes long."""
    with ProgressReport(not quiet) as report:
        builder = DatasetBuilder(
            spec.dataset, spec.input_shape, seed=spec.training.seed, report=report
        )
        return builder.build()


def first_feed(
    spec: Spec, splits: Splits, part: Round, team: Team, quiet: bool = False
) -> EpochFeed:
    """Training batches of the round a session begins with."""
    with ProgressReport(not quiet) as report:
        return train_feed(spec, splits_of_round(splits, part, spec), part, team, report)


def _resume(
    spec: Spec,
    state: TrainingState,
    compressor: ImageCompressor,
    folder: RunFolder,
    asked: Progress,
    writes: bool = True,
) -> tuple[Progress, list[Any] | None]:
    """Puts the saved state into the model; says where the run stands, and its metrics there."""
    progress = Progress.from_json(state.load())
    if progress.images != asked.images:
        raise UserError(
            f"{folder.path}: its state comes from {progress.images} training images, "
            f"{spec.dataset.name} has {asked.images} now; --load_from_ckpt_path starts a new run "
            "from its weights"
        )
    if spec.training.rounds and asked.epochs != progress.epochs:
        raise UserError(
            f"{folder.path}: {progress.epochs} epochs were asked for, {asked.epochs} are now; with "
            "rounds they can't change: --load_from_ckpt_path starts a new run from its weights"
        )
    progress.log_dir = asked.log_dir or progress.log_dir
    progress.checkpoint = asked.checkpoint or progress.checkpoint
    if asked.epochs > progress.epochs:
        progress.stopped = ""  # more was asked for than patience had granted
    progress.epochs = asked.epochs
    progress.resumes += 1
    if writes:
        write_atomically(folder.spec, spec.to_json())  # the number of epochs may have changed
    if progress.history and writes:
        write_metrics(folder, progress.history)  # without what was written after the state
    if not progress.batch:
        return progress, None
    values = [keras.ops.convert_to_numpy(each.value) for each in compressor.metrics_variables]
    return progress, values


def _describe(
    say: Say,
    spec: Spec,
    folder: RunFolder,
    data: list[str],
    summary: ModelSummary,
    precision: Precision,
    progress: Progress,
    team: Team,
) -> None:
    latents = "x".join(str(side) for side in summary.latents)
    say(f"spec       {spec.source} ({spec.name})")
    for line in data:
        say(f"data       {line}")
    say(
        f"model      {summary.parameters:,} parameters, latents {latents}, "
        f"ratio {summary.ratio:.2f} : 1 as stored"
    )
    say(f"precision  {precision.policy} ({precision.reason}), {keras.backend.backend()} backend")
    if team.shared:
        say(f"devices    {team.describe(spec.training.batch_size)}")
    for warning in summary.warnings:
        say(f"warning    {warning}")
    say(f"run        {folder.path}")
    if progress.resumes:
        say(f"resumed    at epoch {progress.epoch + 1}, step {progress.batch + 1}")
