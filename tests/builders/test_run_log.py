"""What a run tells: event files as TensorBoard reads them, metrics.csv, and where time goes."""

import csv
import io
import json
import time

import keras
import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.util import tensor_util

from builders.callbacks import Progress
from builders.event_writer import EventWriter
from builders.feed import EpochFeed
from builders.loader import BatchLoader
from builders.run_folder import RunFolder
from builders.run_log import (
    RunLog,
    StepClock,
    hyperparameters,
    logged_samples,
    scalar_tag,
    write_metrics,
)
from builders.sources import ArraySource
from builders.transforms import ImageTransform
from constants.defaults import LOGGED_ERROR_GAIN
from evaluation.figures import reconstruction_grid

TIMES = [
    "time/data_wait_fraction",
    "time/images_per_second",
    "time/step_ms",
    "time/validation_seconds",
]


def load(folder):
    return EventAccumulator(str(folder), size_guidance={"tensors": 0, "scalars": 0}).Reload()


def points(events, tag):
    return [(event.step, event.value) for event in events.Scalars(tag)]


@pytest.fixture(scope="module")
def events(finished):
    return load(finished.folder.tensorboard)


def test_every_loss_term_metric_step_size_and_time_has_a_curve(finished, events):
    figures = ("loss", "mse_loss", "kl_divergence", "psnr_db")
    expected = [f"{name}/{split}" for name in figures for split in ("train", "validation")]
    assert sorted(events.Tags()["scalars"]) == sorted([*expected, "learning_rate", *TIMES])
    for name in finished.history:
        found = points(events, scalar_tag(name))
        assert [step for step, _ in found] == [1, 2, 3]
        np.testing.assert_allclose([value for _, value in found], finished.history[name], rtol=1e-6)


def test_the_step_size_is_that_of_the_schedule(events):
    found = [value for _, value in points(events, "learning_rate")]
    steps = np.array([4, 8, 12])
    np.testing.assert_allclose(found, 0.01 * (1 + np.cos(np.pi * steps / 16)), rtol=1e-5)


def tensors(events, tag):
    return [
        (event.step, tensor_util.make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)
    ]


def test_images_come_once_an_epoch(events):
    found = tensors(events, "original | regenerated | error")
    assert [step for step, _ in found] == [1, 2, 3]
    for _, (width, height, png) in found:
        assert Image.open(io.BytesIO(png)).size == (int(width), int(height))


def test_error_images_of_all_epochs_have_one_scale(tiny, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(EventWriter, "image", lambda self, tag, image, step: shown.append(image))
    log = resumed(tiny, tmp_path, 0, resumes=0)
    log.on_train_begin()
    for epoch, error in enumerate((0.2, 0.002)):
        log.model.error = error
        log.on_epoch_end(epoch, {"loss": 1.0})
    log.close(True)
    samples = [np.zeros((8, 8, 1), np.uint8)]
    for image, error in zip(shown, (0.2, 0.002), strict=True):
        outputs = [np.full((8, 8, 1), error)]
        grid = reconstruction_grid(samples, outputs, error_gain=LOGGED_ERROR_GAIN)
        np.testing.assert_array_equal(image, grid)
    # A scale that fits each epoch would have differed.
    assert not np.array_equal(shown[1], reconstruction_grid(samples, [np.full((8, 8, 1), 0.002)]))


def test_latents_have_a_histogram(events):
    found = tensors(events, "latents")
    assert [step for step, _ in found] == [1, 2, 3]
    for _, rows in found:
        assert rows[:, 2].sum() == 8 * 4  # eight images, four latents each


def test_the_spec_stands_there_as_text(finished, events):
    ((step, text),) = tensors(events, "spec")
    assert step == 0
    lines = text.item().decode().splitlines()
    assert all(line.startswith("    ") for line in lines)  # as code, in Markdown
    assert json.loads("\n".join(lines)) == finished.run.choice.spec.resolved()


def test_runs_compare_by_their_settings(finished, events):
    content = events.SummaryMetadata(hparams_metadata.SESSION_START_INFO_TAG).plugin_data.content
    start = hparams_metadata.parse_session_start_info_plugin_data(content)
    assert start.hparams["batch_size"].number_value == 8
    assert start.hparams["model"].string_value == "Tiny"
    assert start.hparams["optimizer"].string_value == "Adam"
    assert json.loads(start.hparams["learning_rate"].string_value)["CosineDecay"]
    assert json.loads(start.hparams["loss/KLDivergence"].string_value)["weight"] == 0.01
    assert hparams_metadata.SESSION_END_INFO_TAG in events.Tags()["tensors"]


def test_a_step_size_that_stays_is_a_number(tiny):
    spec = tiny({"training.optimizer": {"SGD": {"learning_rate": 0.5}}})
    assert hyperparameters(spec)["learning_rate"] == 0.5


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("loss", "loss/train"),
        ("val_loss", "loss/validation"),
        ("discriminator_loss", "discriminator_loss/train"),
        ("learning_rate", "learning_rate"),
        ("discriminator_learning_rate", "discriminator_learning_rate"),
        ("time/step_ms", "time/step_ms"),
        ("val_my/term", "my/term/validation"),  # a term may be named so
    ],
)
def test_curves_are_grouped_by_what_they_show(name, tag):
    assert scalar_tag(name) == tag


def resumed(tiny, tmp_path, epoch, batch=0, resumes=1):
    """The log of one more piece of a run, in a folder that an earlier one wrote into."""
    progress = Progress(epoch=epoch, batch=batch, resumes=resumes)
    folder = RunFolder(tmp_path)
    clock = type("Clock", (), {"figures": {"learning_rate": 0.1}})()
    log = RunLog(tiny(), folder, folder.tensorboard, progress, np.zeros((1, 8, 8, 1), np.uint8),
                 clock)  # fmt: skip

    class Model:
        error = 0.0

        def predict_on_batch(self, x):
            return {"x_hat": x / 255 + self.error, "y": np.ones((1, 4))}

    log.set_model(Model())
    return log


def write(log, epochs, value):
    log.on_train_begin()
    for epoch in epochs:
        log.on_epoch_end(epoch, {"loss": value})
    log.close(False)


def test_a_resumed_run_has_no_point_twice(tiny, tmp_path):
    write(resumed(tiny, tmp_path, 0, resumes=0), range(3), 1.0)
    write(resumed(tiny, tmp_path, 2), range(2, 5), 2.0)  # epoch 3 was written, its state was not
    events = load(tmp_path / "tensorboard")
    assert points(events, "loss/train") == [(1, 1.0), (2, 1.0), (3, 2.0), (4, 2.0), (5, 2.0)]
    # The reader of TensorBoard itself: the older one above takes back scalars only.
    multiplexer = EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(tmp_path))
    multiplexer.Reload()

    def steps(tag):
        return [event.step for event in multiplexer.Tensors("tensorboard", tag)]

    for tag in ("loss/train", "latents", "original | regenerated | error"):
        assert steps(tag) == [1, 2, 3, 4, 5]
    assert steps("spec") == [0, 2]


def test_a_run_cut_in_its_first_epoch_has_no_text_twice(tiny, tmp_path):
    for piece in range(3):  # killed after the beginning, twice
        log = resumed(tiny, tmp_path, 0, batch=piece, resumes=piece)
        log.on_train_begin()
        if piece == 2:
            log.on_epoch_end(0, {"loss": 1.0})
            log.close(True)
    events = load(tmp_path / "tensorboard")
    assert [step for step, _ in tensors(events, "spec")] == [0]
    assert points(events, "loss/train") == [(1, 1.0)]


def test_one_log_serves_several_calls_of_fit(tiny, tmp_path):
    log = resumed(tiny, tmp_path, 1, batch=2)
    log.on_train_begin()
    log.on_epoch_end(1, {"loss": 1.0})
    log.on_train_begin()
    log.on_epoch_end(2, {"loss": 2.0})
    log.close(True)
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1
    assert points(load(tmp_path / "tensorboard"), "loss/train") == [(2, 1.0), (3, 2.0)]


def test_metrics_have_a_row_an_epoch(finished):
    with finished.folder.metrics.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    for name, values in finished.history.items():
        np.testing.assert_allclose([float(row[name]) for row in rows], values, rtol=1e-7)
    assert set(rows[0]) == {"epoch", *finished.history, *TIMES}


def test_metrics_are_written_from_the_history_alone(tmp_path):
    folder = RunFolder(tmp_path)
    write_metrics(folder, {"loss": [3.0, 2.0, 1.0], "val_loss": [1.0, float("nan"), 1 / 3]})
    write_metrics(folder, {"loss": [3.0, 0.1234567891], "val_loss": [1.0, float("nan")]})
    assert folder.metrics.read_text() == "epoch,loss,val_loss\n1,3,1\n2,0.12345679,nan\n"


class Slow(ArraySource):
    """Images that take their time."""

    def __init__(self, seconds):
        super().__init__(np.zeros((20, 4, 4, 1), np.uint8))
        self.seconds = seconds

    @property
    def array(self):
        return None

    def __getitem__(self, index):
        time.sleep(self.seconds)
        return super().__getitem__(index)


def trained(source, step_seconds, epochs=2, start=0, workers=1):
    """Figures of a run whose steps take a given time."""
    feed = EpochFeed(BatchLoader(source, 4, workers=workers, prefetch=1), (4, 4, 1))
    feed.start_batch = start

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1)

        def call(self, x):
            return self.dense(keras.ops.mean(keras.ops.cast(x, "float32"), axis=(1, 2)))

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return keras.ops.mean(y_pred**2)

    model = Model()
    model.compile(keras.optimizers.SGD(0.1))
    clock = StepClock(feed)
    busy = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: time.sleep(step_seconds)
    )
    figures = []
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: figures.append(dict(clock.figures))
    )
    model.fit(feed.keras_input(), epochs=epochs, verbose=0, shuffle=False,
              callbacks=[busy, clock, note])  # fmt: skip
    return figures


def test_a_step_that_waits_for_slow_data_says_so():
    # Bounds are wide: a busy machine takes its time with all that is not waiting.
    for each in trained(Slow(0.1), step_seconds=0.0):
        assert each["time/data_wait_fraction"] > 0.5
        assert each["time/step_ms"] > 250  # four images of 100 ms; the first batch is made ahead


def test_a_step_that_is_slower_than_its_data_does_not_wait():
    for source in (Slow(0.001), ArraySource(np.zeros((20, 4, 4, 1), np.uint8))):
        for each in trained(source, step_seconds=0.05):
            assert each["time/data_wait_fraction"] < 0.3
            assert each["time/step_ms"] > 50


class Ticks:
    """A clock that shows what it is told."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


def timed(monkeypatch, images, batch_size, seconds, waits, start=0, epochs=1):
    """Figures of epochs whose steps take given seconds, given parts of them waiting."""
    ticks = Ticks()
    monkeypatch.setattr("builders.run_log.time", ticks)
    feed = EpochFeed(BatchLoader(ArraySource(np.zeros((images, 1, 1, 1), np.uint8)), batch_size),
                     (1, 1, 1))  # fmt: skip
    feed.start_batch = start
    clock = StepClock(feed)
    clock.set_model(type("Model", (), {"optimizer": keras.optimizers.SGD(0.5)})())
    for epoch in range(epochs):
        clock.on_epoch_begin(epoch)
        feed.loader.wait_seconds = 0.0
        for step, (duration, wait) in enumerate(zip(seconds, waits, strict=True)):
            ticks.now += duration
            feed.loader.wait_seconds += wait
            clock.on_train_batch_end(step)
        ticks.now += 0.5  # validation
        clock.on_epoch_end(epoch)
    return clock.figures


def test_the_first_step_of_a_run_is_left_out(monkeypatch):
    # Steps of 4, 4, 2 images; the first compiles for ten seconds.
    figures = timed(monkeypatch, 10, 4, [10.0, 0.1, 0.3], [9.0, 0.05, 0.05])
    assert figures == {
        "learning_rate": 0.5,
        "time/step_ms": pytest.approx(200.0),
        "time/images_per_second": pytest.approx(6 / 0.4),
        "time/data_wait_fraction": pytest.approx(0.25),
        "time/validation_seconds": pytest.approx(0.5),
    }
    # In the second epoch all steps count.
    figures = timed(monkeypatch, 10, 4, [0.2, 0.1, 0.1], [0.0, 0.0, 0.1], epochs=2)
    assert figures["time/images_per_second"] == pytest.approx(10 / 0.4)
    assert figures["time/data_wait_fraction"] == pytest.approx(0.25)


def test_images_of_a_cut_epoch_are_counted_once(monkeypatch):
    # Of 10 images, 8 were seen before: one step of 2 is left.
    figures = timed(monkeypatch, 10, 4, [0.5], [0.0], start=2)
    assert figures["time/images_per_second"] == pytest.approx(4.0)
    # Fewer images than a batch holds.
    figures = timed(monkeypatch, 3, 32, [0.5], [0.0])
    assert figures["time/images_per_second"] == pytest.approx(6.0)


def test_logged_images_are_the_first_as_evaluation_sees_them():
    images = [np.full((6 + i, 9 - i, 3), i, np.uint8) for i in range(3)]
    found = logged_samples(ArraySource(images), ImageTransform(), count=2)
    assert found.shape == (2, 6, 8, 3)  # what all of them have
    assert [int(each[0, 0, 0]) for each in found] == [0, 1]
    cropped = logged_samples(ArraySource(images), ImageTransform(crop=(4, 4)))
    assert cropped.shape == (3, 4, 4, 3)
