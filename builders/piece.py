"""One piece of a run: goes on from a state, trains as long as it may, leaves a state."""

import json
import secrets
import shutil
import time
from pathlib import Path
from typing import Any

import keras

from builders.averaging import AveragedWeights
from builders.conclusion import conclude
from builders.data_splits import Splits
from builders.errors import RunError, UserError
from builders.hooks import Hooks
from builders.packed_state import unpack
from builders.piece_journal import PieceJournal
from builders.piece_keeper import PieceKeeper
from builders.piece_log import PieceLog
from builders.piece_options import MARK, PieceOptions, run_folder
from builders.piece_outcome import Outcome, write_outcome
from builders.piece_state import moved_data
from builders.piece_watch import PieceWatch
from builders.rounds import last_epoch, rounds_of
from builders.run_folder import RunFolder, create_run_folder, write_atomically
from builders.session import INTERRUPTED_STATUS, Session, TrainOptions
from builders.shard_manifest import Manifest
from builders.spec import Spec
from builders.stop_signals import StopSignals
from builders.training import open_session


def train_piece(spec: Spec, options: PieceOptions) -> int:
    """Trains a piece of a run.

    Args:
        spec: the run's.
        options: from where, to where, how long.

    Returns:
        0, or 130 where a signal stopped it; the state is written in either case.

    Raises:
        UserError: data, state or minutes are of no use; the state that was there is still valid.
        RunError: something failed on the way; the last state that was written is valid.
    """
    log = PieceLog(options.output / "log.txt", options.began, aloud=options.verbosity > 0)
    signals = StopSignals()
    try:
        with run_folder(options) as run, signals:
            return _Piece(spec, options, log, run, signals).train()
    except (UserError, RunError) as error:
        log.note(error)
        raise


class _Piece:
    """See `train_piece`."""

    def __init__(
        self,
        spec: Spec,
        options: PieceOptions,
        log: PieceLog,
        run: RunFolder,
        signals: StopSignals,
    ) -> None:
        manifest = None if options.found is None else options.found[1]
        self._spec = spec
        self._options = options
        self._say = log
        self._run = run
        self._signals = signals
        self._before = manifest
        self._name = secrets.token_hex(8) if manifest is None else manifest.run
        self._journal = PieceJournal(None if manifest is None else manifest.journal)
        self._keeper = PieceKeeper(
            run,
            options.output,
            options.limits,
            self._name,
            self._journal,
            signals,
            options.save_seconds,
            log,
        )
        self._preparing = 0.0
        self._session, self._watch = self._prepare()

    def _prepare(self) -> tuple[Session, PieceWatch]:
        """Everything up to the first step; what is asked of the disk is asked here."""
        options, found = self._options, self._options.found
        self._say(f"piece      {self._journal.piece} of run {self._name}")
        if found is not None:
            self._unpack(*found)
        hooks = Hooks(
            check=self._check,
            signals=self._signals,
            due=self._keeper.due,
            saved=self._keeper.saved,
            latest=options.run_dir is not None,
            kept=str(options.output),
            way_on=self._options.command(),
        )
        session = open_session(
            self._spec,
            TrainOptions(
                run_dir=self._run.path,
                resume=None if found is None else self._run,
                start_from=options.start_from,
                verbosity=options.verbosity,
                argv=options.argv,
                hooks=hooks,
            ),
            self._say,
        )
        step = 0 if self._before is None else self._before.step
        watch = PieceWatch(
            session.feeds,
            session.progress,
            self._journal,
            self._signals,
            step=step,
            began=options.began,
            end=options.end,
            steps=options.steps,
            validate_steps=options.validate_steps,
            writing=self._keeper.writing,
            keep=self._say.keep,
            compiling={part.first_epoch for part in session.rounds},
        )
        hooks.callbacks.append(watch)
        self._keeper.watch = watch
        write_atomically(self._run.path / MARK, json.dumps({"run": self._name}) + "\n")
        self._journal.note_piece(
            first_step=step, backend=keras.backend.backend(), ended="killed, or still running"
        )
        # Before a minute is spent it shows whether there is room for the state, and how long
        # writing it takes.
        self._keeper.pack()
        self._preparing = time.monotonic() - options.began
        return session, watch

    def _unpack(self, folder: Path, manifest: Manifest) -> None:
        self._say(f"state      {folder}, step {manifest.step:,}")
        moved = moved_data(self._spec, manifest)
        if "name" in moved:
            before = manifest.spec["dataset"]["name"]
            self._say(f"data       {moved['name']} here, {before} before")
        for words in manifest.lost:
            self._say(f"state      was stored with {words}")
        if not self._run.spec.exists():
            create_run_folder(self._spec, self._run.path, self._options.argv)
        unpack(folder, manifest, self._run, moved)

    def _check(self, splits: Splits) -> None:
        images = len(splits.train)
        largest = max(rounds_of(self._spec), key=lambda part: part.batch_size)
        if images < largest.batch_size:
            raise UserError(
                f"{self._spec.dataset.name}: {images} training images are fewer than a batch of "
                f"{largest.batch_size}; {largest.batch_size_flag} {images} at most"
            )

    def train(self) -> int:
        """Trains, writes, and says how it went."""
        progress, options = self._session.progress, self._options
        over = bool(progress.stopped) or progress.epoch >= last_epoch(self._spec)
        self._check_time(over)
        status = INTERRUPTED_STATUS
        try:
            while over or options.steps != 0:
                said: list[str] = []
                status = self._session.fit(said.append)
                if status == 0:
                    for line in said:
                        self._say(line)
                    break
                if self._signals.received or self._watch.reason != "validate":
                    break
                self._validate()
                self._signals.take_back()
                self._watch.go_on()
        finally:
            self._keeper.pack_if_stale()  # also where a loss that is no number ended it
        if status and not self._signals.received and self._watch.steps_done:
            self._validate()
        return self._finish(done=status == 0)

    def _check_time(self, over: bool) -> None:
        """Whether there is time for a step at all."""
        end = self._options.end
        if end is None or over or self._options.steps == 0:
            return
        if time.monotonic() + self._keeper.writing() > end:
            raise UserError(f"{self._too_short(self._preparing)}, no step was taken")

    def _too_short(self, before: float) -> str:
        writing = self._keeper.writing()
        minutes = self._options.minutes
        least = (before + writing) / 60
        return (
            f"--minutes {minutes:g} is too short: up to the end of the first step {before:.1f} s "
            f"are needed, for writing up to {writing:.1f} s; give more than {least:.1f}. The state "
            f"in {self._options.output} is valid"
        )

    def _validate(self) -> None:
        """A look at the validation images inside an epoch; training goes on as if it was not."""
        session, watch = self._session, self._watch
        model, progress = session.compressor, session.progress
        if not progress.batch:
            return  # at the end of an epoch Keras has just done it
        end, needed = self._options.end, watch.expected_validation() + self._keeper.writing()
        if end is not None and time.monotonic() + needed > end:
            self._say("no time    for a last look at the validation images")
            return
        began = time.monotonic()
        figures = {name: float(value) for name, value in model.get_metrics_result().items()}
        session.metric_values = _values(model.metrics_variables)
        kept = _values(model.non_trainable_variables)
        averaged = AveragedWeights()
        averaged.set_model(model)
        averaged.on_test_begin()
        try:
            feed = session.feeds["validation"].keras_input()
            found = model.evaluate(feed, verbose=0, return_dict=True)
        finally:
            averaged.leave()
        for variable, value in zip(model.non_trainable_variables, kept, strict=True):
            variable.assign(value)
        figures |= {f"val_{name}": float(value) for name, value in found.items()}
        epoch = progress.epoch + progress.batch / watch.batches
        self._say(self._journal.add_point(watch.step, epoch, watch.seconds(), figures))
        watch.note_validation(time.monotonic() - began)

    def _finish(self, done: bool) -> int:
        """Writes what is left, and says it."""
        session, watch, options = self._session, self._watch, self._options
        if done:
            self._conclude()
        ended = "done" if done else "signal" if self._signals.received else watch.reason or "steps"
        total = time.monotonic() - options.began
        self._journal.note_piece(ended=ended, seconds=round(total, 3))
        self._keeper.write_journal()
        manifest = self._keeper.manifest
        assert manifest is not None
        outcome = Outcome(
            spec=self._spec,
            manifest=manifest,
            journal=self._journal,
            progress=session.progress,
            watch=watch,
            ended=ended,
            seconds={
                "preparing": self._preparing,
                "validating": watch.seconds_validating,
                "writing": self._keeper.seconds_written,
                "total": total,
            },
            command=self._options.command(),
        )
        write_outcome(outcome, options.output, self._say)
        if options.end is not None and time.monotonic() > options.end and watch.steps_done == 1:
            first = self._preparing + (watch.times.first or 0.0)
            raise RunError(f"{self._too_short(first)}, one step was taken")
        return INTERRUPTED_STATUS if self._signals.received and not done else 0

    def _conclude(self) -> None:
        """The end of the whole run: best weights, report and samples, in a folder that stays."""
        session = self._session
        if self._options.run_dir is None:
            stays = RunFolder(self._options.output / "run")
            kept = shutil.ignore_patterns(self._run.backup.name)
            shutil.copytree(self._run.path, stays.path, ignore=kept, dirs_exist_ok=True)
            session.folder, session.best_path = stays, stays.best
            session.log_dir = stays.tensorboard
        conclude(session, self._say)


def _values(variables: list[Any]) -> list[Any]:
    return [keras.ops.convert_to_numpy(each.value) for each in variables]
