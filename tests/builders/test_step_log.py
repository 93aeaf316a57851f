"""Points within an epoch: means since the point before, seldom enough, taken back on a resume."""

from types import SimpleNamespace

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from builders import step_log
from builders.callbacks import Progress
from builders.session import TrainOptions
from builders.step_log import StepLog
from builders.training import train
from constants.defaults import STEP_LOG_STEPS


class Norms:
    """What an optimizer keeps, for a gradient as long as the step's number."""

    def __init__(self):
        self.count = 0

    def seen(self):
        return self.count, (self.count + 1) / 2, float(self.count)


@pytest.fixture
def ticks(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(step_log, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def feed(steps=100, images=400, epoch=0, start=0):
    class Loader:
        def __init__(self):
            self.images, self.batch_size = images, 4

        def __len__(self):
            return steps

    return SimpleNamespace(loader=Loader(), epoch=epoch, start_batch=start)


def run(log, ticks, feed, steps, seconds, calls_every=1):
    """An epoch whose loss at step n is n."""
    norms = Norms()
    callback = SimpleNamespace(
        model=SimpleNamespace(optimizer=SimpleNamespace(gradient_norms=norms))
    )
    log.epoch_begins()
    for batch in range(steps):
        ticks.now += seconds
        norms.count += 1
        done = feed.start_batch + batch + 1
        if (batch + 1) % calls_every == 0:
            log.step_ends(batch, {"loss": (done + 1) / 2}, callback)


def points(folder, tag):
    events = EventAccumulator(str(folder / "steps"), size_guidance={"scalars": 0}).Reload()
    return [(event.step, round(event.value, 3)) for event in events.Scalars(tag)]


def logged(folder, given, progress):
    log = StepLog(folder, progress)
    log.follow(given, 0, 0)
    return log


def test_points_are_means_since_the_point_before(tmp_path, ticks):
    given = feed()
    log = logged(tmp_path, given, Progress())
    run(log, ticks, given, 100, seconds=1.0)
    log.close()
    # The first step is left out; then a point every twenty steps: 2 to 21 have the mean 11.5.
    expected = [(at, at - (STEP_LOG_STEPS - 1) / 2) for at in range(21, 101, STEP_LOG_STEPS)]
    assert points(tmp_path, "step/loss") == expected
    assert points(tmp_path, "step/gradient_norm") == expected


def test_a_second_passes_between_two_points(tmp_path, ticks):
    given = feed()
    log = logged(tmp_path, given, Progress())
    run(log, ticks, given, 100, seconds=0.03)
    log.close()
    assert [step for step, _ in points(tmp_path, "step/loss")] == [35, 69]


def test_several_steps_may_run_between_two_calls(tmp_path, ticks):
    given = feed()
    log = logged(tmp_path, given, Progress())
    run(log, ticks, given, 100, seconds=1.0, calls_every=8)
    log.close()
    assert points(tmp_path, "step/loss") == [(32, 20.5), (56, 44.5), (80, 68.5)]


def test_short_epochs_leave_no_trace(tmp_path, ticks):
    given = feed(steps=20, images=80)
    log = logged(tmp_path, given, Progress())
    for epoch in range(5):
        given.epoch = epoch
        run(log, ticks, given, 20, seconds=9.0)
    log.close()
    assert list(tmp_path.iterdir()) == []


def test_steps_go_on_over_epochs_and_a_resume_takes_later_points_back(tmp_path, ticks):
    given = feed()
    log = logged(tmp_path, given, Progress())
    for epoch in range(2):
        given.epoch = epoch
        run(log, ticks, given, 100, seconds=1.0)
    log.close()
    steps = [21, 41, 61, 81, 121, 141, 161, 181]
    assert [step for step, _ in points(tmp_path, "step/loss")] == steps
    # Killed in the second epoch, whose state after 50 steps is the last.
    given = feed(epoch=1, start=50)
    log = logged(tmp_path, given, Progress(epoch=1, batch=50, resumes=1))
    assert [step for step, _ in points(tmp_path, "step/loss")] == steps[:6]
    run(log, ticks, given, 50, seconds=1.0)
    log.close()
    found = points(tmp_path, "step/loss")
    assert [step for step, _ in found] == [*steps[:6], 171, 191]
    assert found[-1] == (191, 81.5)  # of the epoch's steps 72 to 91


def test_a_round_counts_on_where_the_one_before_ended(tmp_path, ticks):
    given = feed()
    log = logged(tmp_path, given, Progress())
    run(log, ticks, given, 100, seconds=1.0)
    given = feed(epoch=1)
    log.follow(given, 1, 100)
    run(log, ticks, given, 100, seconds=1.0)
    log.close()
    steps = [step for step, _ in points(tmp_path, "step/loss")]
    assert steps == [21, 41, 61, 81, 121, 141, 161, 181]


def test_looking_within_an_epoch_changes_nothing(workdir, finished, tiny, monkeypatch):
    monkeypatch.setattr(step_log, "STEP_LOG_STEPS", 1)
    monkeypatch.setattr(step_log, "STEP_LOG_SECONDS", 0.0)
    run = train(tiny(), TrainOptions(verbosity=0, argv=("train.py",)))
    history = run.progress.history
    assert {name: history[name] for name in finished.history} == finished.history
    found = points(run.choice.folder.tensorboard, "step/loss")
    assert [step for step, _ in found] == [2, 3, 4, 6, 7, 8, 10, 11, 12]  # four steps an epoch
    assert all(0 < loss < 2 * max(history["loss"]) for _, loss in found)
    norms = [value for _, value in points(run.choice.folder.tensorboard, "step/gradient_norm")]
    for epoch, largest in enumerate(history["gradient_norm/largest"]):
        assert all(0 < norm < largest + 1e-3 for norm in norms[3 * epoch : 3 * epoch + 3])
