"""What keeps a run safe, callback by callback, on models that do not train."""

import os
import signal
import types

import keras
import numpy as np
import pytest

from architectures.losses import MSE, Adversarial
from builders.callbacks import (
    Backup,
    BestWeights,
    Interrupted,
    LossGuard,
    NonFiniteLoss,
    Patience,
    Progress,
    StopSignals,
    monitored_loss,
)
from builders.checkpoint import NonFiniteWeights
from builders.errors import RunError


class Feed:
    """An epoch of five batches."""

    def __init__(self, epoch=0, start_batch=0):
        self.epoch = epoch
        self.start_batch = start_batch
        self.loader = range(5)


class State:
    """Keeps what it is asked to save."""

    def __init__(self, error=None):
        self.saved = []
        self.error = error

    def save(self, progress):
        if self.error is not None:
            raise self.error
        self.saved.append(progress)


class Model:
    """What the callbacks ask of a model."""

    def __init__(self, terms=(), rate=0.25):
        self.loss_terms = list(terms)
        self.optimizer = keras.optimizers.SGD(rate)
        self.stop_training = False
        self.metrics_variables = [keras.Variable(0.0)]


def ready(callback, model=None):
    callback.set_model(model or Model())
    return callback


def test_progress_comes_back_from_json():
    import json

    fresh = Progress(epochs=3, images=7)
    assert Progress.from_json(json.loads(json.dumps(fresh.to_json()))) == fresh
    late = Progress(epoch=2, batch=4, best_loss=0.5, best_epoch=1, history={"loss": [1.0, 0.5]})
    assert Progress.from_json(json.loads(json.dumps(late.to_json()))) == late


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_loss_that_is_no_number_stops_the_run_and_says_where(value):
    guard = ready(LossGuard(Feed(epoch=2, start_batch=3)))
    guard.on_train_batch_end(0, {"loss": 0.5})
    with pytest.raises(NonFiniteLoss) as caught:
        guard.on_train_batch_end(1, {"loss": np.float32(value)})
    message = str(caught.value)
    assert f"the loss is {value} at step 5 of epoch 3." in message  # three steps were done before
    assert "now 0.25; try a tenth" in message
    assert isinstance(caught.value, RunError)


def test_of_steps_that_end_together_the_guard_names_all():
    guard = ready(LossGuard(Feed(epoch=1)))
    for _ in range(2):  # epochs
        guard.on_epoch_begin(1)
        guard.on_train_batch_end(1, {"loss": 0.5})
    with pytest.raises(NonFiniteLoss, match="the loss is nan at steps 3 to 4 of epoch 2"):
        guard.on_train_batch_end(3, {"loss": np.nan})
    guard.on_train_batch_end(3, {"loss": 0.5})
    with pytest.raises(NonFiniteLoss, match="at step 5 of epoch 2"):  # Keras counts on to a sixth
        guard.on_train_batch_end(5, {"loss": np.nan})
    resumed = ready(LossGuard(Feed(start_batch=2)))
    with pytest.raises(NonFiniteLoss, match="at steps 3 to 5 of epoch 1"):
        resumed.on_train_batch_end(3, {"loss": np.nan})


def backup(progress=None, steps=0, wanted=False, values=None, error=None, start=0):
    progress = progress or Progress()
    progress.batch = start
    feed, state, signals = Feed(), State(error), types.SimpleNamespace(wanted=wanted)
    callback = ready(Backup(state, progress, feed, steps, signals, values))
    return callback, state, progress, feed, signals


def run_epoch(callback, epoch, steps=5):
    callback.on_epoch_begin(epoch)
    for batch in range(steps):
        callback.on_train_batch_end(batch, {})
    callback.on_epoch_end(epoch, {})


def places(state):
    return [(each["epoch"], each["batch"]) for each in state.saved]


def test_the_state_is_saved_after_every_epoch():
    callback, state, progress, feed, _ = backup()
    for epoch in range(2):
        run_epoch(callback, epoch)
        assert (feed.epoch, feed.start_batch) == (epoch, 0)
    assert places(state) == [(1, 0), (2, 0)]
    assert (progress.epoch, progress.batch) == (2, 0)


def test_the_state_is_saved_every_so_many_steps_too():
    callback, state, _, _, _ = backup(steps=2)
    run_epoch(callback, 0)
    assert places(state) == [(0, 2), (0, 4), (1, 0)]
    # A save on the last step would come before the validation; the epoch's own save follows.
    callback, state, _, _, _ = backup(steps=5)
    run_epoch(callback, 0)
    assert places(state) == [(1, 0)]


def test_steps_that_end_together_are_saved_when_one_of_them_was_due():
    callback, state, _, _, _ = backup(steps=2)
    for epoch in range(2):
        callback.on_epoch_begin(epoch)
        for last in (0, 2, 3, 5):  # the last one is Keras' count: there are five steps
            callback.on_train_batch_end(last, {})
        callback.on_epoch_end(epoch, {})
    assert places(state) == [(0, 3), (0, 4), (1, 0), (1, 3), (1, 4), (2, 0)]


def test_a_stop_wanted_in_a_dispatch_beyond_the_end_waits_for_the_end_of_the_epoch():
    callback, state, _, _, signals = backup()
    callback.on_epoch_begin(0)
    signals.wanted = True
    callback.on_train_batch_end(7, {})
    assert state.saved == []
    with pytest.raises(Interrupted):
        callback.on_epoch_end(0, {})
    assert places(state) == [(1, 0)]


def test_steps_are_counted_from_the_beginning_of_the_epoch():
    callback, state, progress, feed, _ = backup(Progress(epoch=3), steps=2, start=3)
    run_epoch(callback, 3, steps=2)
    assert places(state) == [(3, 4), (4, 0)]
    assert progress.batch == 0
    run_epoch(callback, 4)
    assert feed.start_batch == 0
    assert places(state)[2:] == [(4, 2), (4, 4), (5, 0)]


def test_a_resumed_epoch_begins_with_the_averages_of_its_first_part():
    callback, *_ = backup(start=3, values=[np.float32(2.5)])
    (variable,) = callback.model.metrics_variables
    callback.on_epoch_begin(0)
    assert float(keras.ops.convert_to_numpy(variable.value)) == 2.5
    variable.assign(0.0)
    callback.on_epoch_begin(1)  # only once
    assert float(keras.ops.convert_to_numpy(variable.value)) == 0.0


def test_a_wanted_stop_saves_after_the_step():
    callback, state, progress, _, signals = backup()
    callback.on_epoch_begin(0)
    callback.on_train_batch_end(0, {})
    signals.wanted = True
    with pytest.raises(Interrupted):
        callback.on_train_batch_end(1, {})
    assert places(state) == [(0, 2)] and progress.batch == 2


def test_a_stop_wanted_on_the_last_step_waits_for_the_end_of_the_epoch():
    callback, state, progress, _, signals = backup()
    callback.on_epoch_begin(0)
    signals.wanted = True
    callback.on_train_batch_end(4, {})
    assert state.saved == []
    with pytest.raises(Interrupted):
        callback.on_epoch_end(0, {})
    assert places(state) == [(1, 0)] and (progress.epoch, progress.batch) == (1, 0)


@pytest.mark.parametrize("at_end", [False, True])
def test_weights_that_are_no_numbers_stop_the_run_where_it_was_good(at_end):
    progress = Progress(epoch=1)
    error = NonFiniteWeights("the weights a/kernel are not finite")
    callback, _, _, _, _ = backup(progress, steps=1, error=error)
    callback.on_epoch_begin(1)
    with pytest.raises(NonFiniteLoss, match="the weights a/kernel are not finite at step"):
        callback.on_epoch_end(1, {}) if at_end else callback.on_train_batch_end(2, {})
    assert (progress.epoch, progress.batch) == (1, 0)  # that is what is on disk


def test_seconds_of_all_pieces_add_up():
    callback, state, _, _, _ = backup(Progress(seconds=100.0))
    run_epoch(callback, 0)
    assert 100.0 <= state.saved[0]["seconds"] < 101.0


@pytest.fixture
def kept(monkeypatch):
    """The epochs whose weights were saved."""
    epochs = []

    def save(model, spec, path, info):
        epochs.append(info["epoch"])
        path.write_text(str(info["epoch"]))

    monkeypatch.setattr("builders.callbacks.save_weights", save)
    return epochs


def test_only_better_weights_are_kept(kept, tmp_path):
    progress = Progress()
    best = ready(BestWeights(None, tmp_path / "best", progress, None))
    for epoch, loss in enumerate([3.0, 2.0, 2.0, 2.5, float("nan"), 1.0]):
        best.on_epoch_end(epoch, {"val_loss": loss})
    assert kept == [1, 2, 6]
    assert (progress.best_loss, progress.best_epoch) == (1.0, 5)


def test_the_best_of_an_earlier_piece_is_remembered(kept, tmp_path):
    progress = Progress(epoch=4, best_loss=0.5, best_epoch=1)
    best = ready(BestWeights(None, tmp_path / "best", progress, None))
    best.on_epoch_end(4, {"val_loss": 0.6})
    assert kept == [] and progress.best_epoch == 1
    best.on_epoch_end(5, {"val_loss": 0.4})
    assert kept == [6] and progress.best_epoch == 5


def test_a_copy_of_the_best_weights_goes_where_it_was_asked(kept, tmp_path):
    copy = tmp_path / "new" / "mine"
    best = ready(BestWeights(None, tmp_path / "best", Progress(), copy))
    for epoch, loss in enumerate([3.0, 2.0, 9.0]):
        best.on_epoch_end(epoch, {"val_loss": loss})
    assert copy.read_text() == (tmp_path / "best").read_text() == "2"


def test_the_best_epoch_is_not_the_one_with_the_weakest_discriminator():
    logs = {"val_loss": 3.0, "val_mse_loss": 1.0, "val_adversarial": 20.0}
    assert monitored_loss(Model([MSE(), Adversarial(weight=0.1)]), logs) == pytest.approx(1.0)
    assert monitored_loss(Model([MSE()]), logs) == 3.0
    assert monitored_loss(Model([Adversarial()]), logs) == 3.0  # there is nothing else
    named = Model([MSE(), Adversarial(weight=0.5, name="fool")])
    assert monitored_loss(named, {"val_loss": 3.0, "val_fool": 4.0}) == pytest.approx(1.0)


def test_patience_counts_from_the_best_epoch_resumes_included():
    model = Model()
    progress = Progress(epoch=5, best_loss=0.5, best_epoch=2)
    patience = ready(Patience(4, progress), model)
    patience.on_epoch_end(5, {"val_loss": 0.6})
    assert not model.stop_training and progress.stopped == ""
    patience.on_epoch_end(6, {"val_loss": 0.6})
    assert model.stop_training
    assert progress.stopped == "no better val_loss for 4 epochs"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_a_wish_and_the_second_an_order(number):
    before = signal.getsignal(number)
    with StopSignals() as signals:
        assert not signals.wanted
        os.kill(os.getpid(), number)
        assert signals.wanted
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_signals_are_left_alone_outside_the_main_thread():
    import threading

    before = signal.getsignal(signal.SIGINT)
    found = []

    def work():
        with StopSignals() as signals:
            found.append(signals.wanted)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False] and signal.getsignal(signal.SIGINT) is before
