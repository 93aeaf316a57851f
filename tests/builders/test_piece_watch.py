"""Steps are counted and timed, and a stop comes early enough, by a clock that the tests turn."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from builders.callbacks import Progress
from builders.packed_state import Limits
from builders.piece_journal import PieceJournal
from builders.piece_keeper import PieceKeeper
from builders.piece_options import PieceOptions
from builders.piece_watch import PieceWatch, StepTimes
from builders.run_folder import RunFolder
from builders.stop_signals import StopSignals
from constants.pieces import FIGURE_SECONDS

FIRST, STEP, VALIDATION, EPOCH_END = 20.0, 1.0, 3.0, 2.0


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now

    def pass_(self, seconds):
        self.now += seconds


class Training:
    """What Keras and Backup do around the watch, in seconds that are known."""

    def __init__(self, *, batches=10, at=0, stride=1, step=0, first=FIRST, **settings):
        self.clock = Clock()
        self.progress = Progress(batch=at)
        self.signals = StopSignals()
        self.journal = PieceJournal(None)
        self.stride, self.batches, self.first = stride, batches, first
        self.kept = []
        feeds = {
            "train": SimpleNamespace(loader=range(batches)),
            "validation": SimpleNamespace(loader=range(4)),
        }
        minutes = settings.pop("seconds", None)
        defaults = {"steps": None, "validate_steps": 0, "writing": lambda: 5.0}
        self.watch = PieceWatch(
            feeds,
            self.progress,
            self.journal,
            self.signals,
            step=step,
            began=self.clock(),
            end=None if minutes is None else self.clock() + minutes,
            keep=self.kept.append,
            clock=self.clock,
            **{**defaults, **settings},
        )

    def epoch(self):
        """Trains to the end of the epoch or to a stop; says where it is."""
        self.watch.on_epoch_begin(self.progress.epoch)
        begin = self.progress.batch
        for done in range(begin + self.stride, self.batches + 1, self.stride):
            self.clock.pass_(STEP * self.stride if self.watch.steps_done else self.first)
            self.watch.on_train_batch_end(done - begin - 1)
            if self.signals.wanted and done < self.batches:
                self.progress.batch = done
                return done
        self.watch.on_test_begin()
        self.clock.pass_(VALIDATION)
        self.watch.on_test_end()
        self.watch.on_epoch_end(self.progress.epoch, {"loss": 0.5, "val_loss": 0.25})
        self.clock.pass_(EPOCH_END)
        self.progress.epoch, self.progress.batch = self.progress.epoch + 1, 0
        return self.batches


def test_steps_are_counted_over_pieces_and_epochs():
    training = Training(step=23, at=3)
    assert training.epoch() == 10 and training.watch.step == 30
    assert training.epoch() == 10 and training.watch.step == 40
    assert training.watch.steps_done == 17
    assert [point["step"] for point in training.journal.points] == [30, 40]
    assert training.kept[-1] == "step 40, epoch 2.00: loss 0.5, val_loss 0.25"


def test_a_call_may_stand_for_several_steps():
    training = Training(stride=5, steps=5)
    assert training.epoch() == 5
    assert training.watch.step == 5 and training.watch.reason == "steps"


def test_times_are_those_of_the_clock():
    training = Training()
    training.epoch()
    training.epoch()
    times = training.watch.times
    found = (times.first, times.step, times.validation, times.epoch_end)
    assert found == (FIRST, STEP, VALIDATION, EPOCH_END)
    assert training.watch.seconds_validating == 2 * VALIDATION
    assert training.watch.seconds() == training.clock() - 1000.0


def test_what_is_done_between_steps_is_no_step():
    training = Training(first=0.0)
    training.watch.on_epoch_begin(0)
    for batch in range(3):
        training.clock.pass_(STEP)
        training.watch.on_train_batch_end(batch)
        training.clock.pass_(50)
        training.watch.skip()
    assert training.watch.times.step == STEP


def test_a_validation_takes_no_longer_than_its_batches_would_in_training():
    times = StepTimes()
    assert times.expected_validation(4) == 0
    times.add_step(20)
    assert times.expected_validation(4) == 20
    times.add_step(2)
    times.add_step(1)
    assert times.step == 2
    assert times.expected_validation(4) == 20 + 4 * 2
    times.validation = 8
    assert times.expected_validation(4) == 10


@pytest.mark.parametrize("steps", [1, 7, 10, 13])
def test_it_stops_behind_so_many_steps(steps):
    training = Training(steps=steps)
    while not training.signals.wanted:
        training.epoch()
    assert training.watch.steps_done == steps
    assert training.watch.reason == "steps"


@pytest.mark.parametrize("seconds", [30, 45, 60, 61.5, 75, 100, 200.25])
def test_it_stops_in_time_for_a_last_look_and_for_writing(seconds):
    training = Training(seconds=seconds, batches=25)
    while not training.signals.wanted:
        training.epoch()
    watch = training.watch
    assert watch.reason == "minutes"
    needed = 5.0 + (0 if not training.progress.batch else VALIDATION)
    left = 1000.0 + seconds - training.clock()
    assert left >= needed
    if watch.times.epoch_end is not None:  # all is measured: little is left unused
        assert left <= needed + 2 * STEP + 2 * (VALIDATION + EPOCH_END)


def test_minutes_that_do_for_one_step_give_one():
    training = Training(seconds=26)
    assert training.epoch() == 1
    assert training.watch.reason == "minutes"


def test_looks_inside_an_epoch_come_every_so_many_steps():
    training = Training(validate_steps=4, step=2)
    places = []
    while training.progress.epoch < 2:
        training.epoch()
        if training.signals.wanted:
            assert training.watch.reason == "validate"
            training.signals.take_back()
            training.watch.go_on()
            places.append(training.watch.step)
    # Step 12 is the end of an epoch (it began at 2), where Keras looks.
    assert places == [4, 8, 16, 20]
    assert [point["step"] for point in training.journal.points] == [12, 22]


@pytest.mark.parametrize("begins", [True, False])
def test_a_round_compiles_anew(begins):
    training = Training(compiling={0, 2} if begins else {0})
    training.epoch()
    training.watch._end = training.clock() + 10 * STEP + VALIDATION + EPOCH_END + 12
    training.epoch()  # leaves twelve seconds: enough for a step, but not for one that compiles
    assert training.signals.wanted == begins
    training.watch.on_epoch_begin(2)
    assert (training.watch.times.first is None) == begins


def test_a_signal_outlasts_what_was_asked_for():
    signals = StopSignals()
    signals.ask()
    signals.take_back()
    assert not signals.wanted
    signals.received = True
    signals.ask()
    signals.take_back()
    assert signals.wanted


class Keeper(PieceKeeper):
    """Counts what it would write."""

    def __init__(self, training, seconds):
        super().__init__(
            RunFolder(Path("run")),
            Path("state"),
            Limits(1 << 20, None),
            "0" * 16,
            training.journal,
            training.signals,
            seconds,
            print,
            training.clock,
        )
        self.watch = training.watch
        self.packs = 0

    def pack(self):
        self.packs += 1
        self._written_at = self._clock()
        self._stale = False


def test_the_state_is_due_before_so_many_seconds_are_over():
    training = Training(batches=1000)
    keeper = Keeper(training, 100)
    training.watch.on_epoch_begin(0)
    ages = []
    for batch in range(500):
        training.clock.pass_(STEP)
        training.watch.on_train_batch_end(batch)
        if keeper.due(batch + 1, 1000):
            ages.append(training.clock() - keeper._written_at)
            keeper.saved()
    assert keeper.packs == 5
    assert all(98 <= age <= 100 for age in ages)


def test_the_state_is_due_before_a_validation_that_lasts():
    training = Training()
    training.epoch()
    training.watch.times.validation = 95.0
    keeper = Keeper(training, 100)
    training.watch.on_epoch_begin(1)
    found = []
    for batch in range(9):
        training.clock.pass_(STEP)
        training.watch.on_train_batch_end(batch)
        found.append(keeper.due(batch + 1, 10))
    assert found == [False] * 8 + [True]


def test_short_epochs_are_not_all_written():
    training = Training()
    keeper = Keeper(training, 100)
    for _ in range(20):
        training.clock.pass_(10)
        keeper.saved()
    assert keeper.packs == 6
    keeper.pack_if_stale()
    keeper.pack_if_stale()
    assert keeper.packs == 7
    training.signals.ask()
    keeper.saved()
    assert keeper.packs == 8
    assert keeper.writing() == FIGURE_SECONDS


def options(**changes):
    defaults = {
        "output": Path("out"),
        "found": None,
        "limits": Limits(1 << 20, None),
        "began": 50.0,
        "minutes": None,
        "steps": None,
        "save_seconds": 100.0,
        "validate_steps": 0,
        "run_dir": None,
        "start_from": None,
        "verbosity": 0,
        "argv": ("python", "piece.py"),
    }
    return PieceOptions(**{**defaults, **changes})


@pytest.mark.parametrize(
    ("minutes", "end"), [(None, None), (0.5, 78), (10, 638), (120, 7220)], ids=str
)
def test_the_minutes_end_with_a_margin(minutes, end):
    assert options(minutes=minutes).end == end


def test_the_next_command_begins_no_run_anew():
    words = ("python", "piece.py", "--output", "my out", "--load_from_ckpt_path")
    assert options(argv=(*words, "a b")).command() == "python piece.py --output 'my out'"
    words = ("python", "piece.py", "--load_from_ckpt_path=a", "--half")
    assert options(argv=words).command() == "python piece.py --half"
