"""Whole runs: repeatable, resumable to the bit, stopped for good reasons, quiet on demand."""

import json
import os
import re
import signal
from pathlib import Path

import keras
import numpy as np
import pytest

from architectures.losses import MSE
from builders.checkpoint import find_weights
from builders.errors import RunError, UserError
from builders.image_reader import BrokenImage
from builders.run_folder import RunFolder, find_run
from builders.session import TrainOptions
from builders.sources import ArraySource
from builders.spec import load_spec
from builders.training import build_compressor, train

PAIR = {
    "model.layers.discriminator": {
        "layers": [
            {"Flatten": {}},
            {"SpectralNormalization": {"layer": {"Dense": {"units": 4}}}},
            {"BatchNormalization": {}},
            {"Dropout": {"rate": 0.3}},
            {"Dense": {"units": 1}},
        ],
    },
    "loss": [{"MSE": {}}, {"KLDivergence": {"weight": 0.01}}, {"Adversarial": {"weight": 0.01}}],
    "training.epochs": 2,
    "training.discriminator_optimizer": {"RMSprop": {"learning_rate": 0.01, "momentum": 0.5}},
}


def quiet(**settings):
    return TrainOptions(verbosity=0, argv=("train.py",), **settings)


def curves(run):
    """The history without times."""
    return {
        name: values
        for name, values in run.progress.history.items()
        if not name.startswith("time/")
    }


def gone_on(run, spec=None, **settings):
    """The rest of a run, from what is on disk."""
    folder = find_run(str(run.choice.folder.path))
    return train(spec or load_spec(folder.spec), quiet(resume=folder, **settings))


@pytest.fixture
def stop_at(monkeypatch):
    """Stops this process behind a step of an epoch, as Ctrl-C would."""

    def arrange(epoch, batch):
        from builders.callbacks import LossGuard

        class Guard(LossGuard):
            def on_train_batch_end(self, at, logs=None):
                super().on_train_batch_end(at, logs)
                if (self._feed.epoch, self._feed.start_batch + at) == (epoch, batch):
                    os.kill(os.getpid(), signal.SIGINT)

        monkeypatch.setattr("builders.session.LossGuard", Guard)

    yield arrange


def test_ten_lines_of_python_train_without_a_word_and_repeat_the_run(
    workdir, finished, tiny_tree, capfd
):
    Path("spec.json").write_text(json.dumps(tiny_tree()))
    spec = load_spec(Path("spec.json"))
    run = train(spec, TrainOptions(verbosity=0))
    assert run.status == 0
    written = capfd.readouterr()
    assert written.out == "" and written.err == ""
    assert curves(run) == finished.history  # the same seed, bit by bit
    x = np.full((2, 8, 8, 1), 77, np.uint8)
    np.testing.assert_array_equal(
        run.compressor.predict_on_batch(x)["x_hat"],
        finished.run.compressor.predict_on_batch(x)["x_hat"],
    )
    folder = run.choice.folder
    assert folder.path.parent == Path("runs") and folder.path.name.startswith("Tiny-")
    assert run.choice.weights == folder.best and folder.best.is_file()


def test_the_model_of_a_run_holds_its_best_weights(workdir, finished, tiny):
    from builders.checkpoint import load_weights

    twin, _, _ = build_compressor(tiny({"training.seed": 5}))
    load_weights(twin, tiny(), finished.folder.best)
    x = np.full((2, 8, 8, 1), 77, np.uint8)
    np.testing.assert_array_equal(
        twin.predict_on_batch(x)["x_hat"], finished.run.compressor.predict_on_batch(x)["x_hat"]
    )


def test_a_run_that_was_stopped_goes_on_to_the_same_end(workdir, finished, tiny, stop_at, capsys):
    before = signal.getsignal(signal.SIGINT)
    stop_at(1, 1)
    cut = train(tiny(), TrainOptions(run_dir=Path("a run"), argv=("train.py",)))
    assert cut.status == 130
    assert signal.getsignal(signal.SIGINT) is before
    said = capsys.readouterr().out.splitlines()
    assert said[-2:] == [
        "stopped. The state before epoch 2, step 3 is saved in a run/backup/state.npz. To go on:",
        "  python train.py --resume --run_dir 'a run'",
    ]
    assert len(Path("a run/metrics.csv").read_text().splitlines()) == 2  # one epoch was finished
    run = gone_on(cut)
    assert run.status == 0
    assert curves(run) == finished.history
    assert run.progress.best_epoch == finished.run.progress.best_epoch
    rows = run.choice.folder.metrics.read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["epoch", "1", "2", "3"]
    assert run.choice.folder.command.read_text() == "train.py\ntrain.py\n"


@pytest.mark.parametrize("steps", [3, 100])
def test_steps_can_be_dispatched_several_at_a_time(workdir, finished, tiny, steps):
    run = train(tiny({"training.steps_per_dispatch": steps}), quiet())
    for name, values in curves(run).items():
        np.testing.assert_allclose(values, finished.history[name], rtol=1e-4, err_msg=name)
    times = run.progress.history
    assert all(value > 0 for value in times["time/step_ms"] + times["time/images_per_second"])


def test_a_run_stopped_in_a_dispatch_ends_with_it_and_may_go_on_with_another_number(
    workdir, tiny, stop_at
):
    changes = {"training.steps_per_dispatch": 3, "training.epochs": 2}
    whole = train(tiny(changes), quiet())
    stop_at(1, 2)  # the third step of four, the last of its dispatch
    cut = train(tiny(changes), quiet())
    assert cut.status == 130 and (cut.progress.epoch, cut.progress.batch) == (1, 3)
    run = gone_on(cut, tiny({**changes, "training.steps_per_dispatch": 2}))
    for name, values in curves(run).items():
        np.testing.assert_allclose(values, curves(whole)[name], rtol=1e-4, err_msg=name)


def test_images_on_the_device_are_the_loader_s(workdir, finished, tiny, capsys):
    options = TrainOptions(argv=("train.py",))
    run = train(tiny({"dataset.on_device": True}), options)
    for name, values in curves(run).items():
        np.testing.assert_allclose(values, finished.history[name], rtol=1e-4, err_msg=name)
    said = capsys.readouterr().out
    if keras.backend.backend() == "tensorflow":
        assert "data       dataset.on_device: has no effect under TensorFlow; the loader" in said
        assert curves(run) == finished.history
    else:
        assert "data       the 28 training images are held on the device, 0.0 MiB" in said


def test_a_run_stopped_on_the_last_step_of_an_epoch_ends_the_epoch(
    workdir, finished, tiny, stop_at
):
    stop_at(0, 3)
    cut = train(tiny(), quiet())
    assert cut.status == 130
    assert (cut.progress.epoch, cut.progress.batch) == (1, 0)
    rows = cut.choice.folder.metrics.read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["epoch", "1"]
    assert curves(gone_on(cut)) == finished.history


def test_a_pair_of_networks_learns_and_goes_on_to_the_same_end(workdir, tiny, stop_at):
    whole = train(tiny(PAIR), quiet())
    assert set(curves(whole)) >= {
        "adversarial",
        "discriminator_loss",
        "val_adversarial",
        "val_discriminator_loss",
        "learning_rate",
        "discriminator_learning_rate",
    }
    fresh, _, _ = build_compressor(tiny(PAIR))
    for network in ("generator", "discriminator"):
        pairs = zip(
            getattr(fresh, network).trainable_variables,
            getattr(whole.compressor, network).trainable_variables,
            strict=True,
        )
        for pair in pairs:
            a, b = (keras.ops.convert_to_numpy(each.value) for each in pair)
            assert not np.array_equal(a, b)
    stop_at(1, 1)
    cut = train(tiny(PAIR), quiet())
    assert cut.status == 130 and cut.progress.batch == 2
    run = gone_on(cut)
    assert curves(run) == curves(whole)
    for a, b in zip(run.compressor.get_weights(), whole.compressor.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_finished_run_goes_on_only_when_more_is_asked_for(workdir, finished, tiny, capsys):
    done = train(tiny({"training.epochs": 1}), quiet())
    best = done.choice.folder.best.read_bytes()
    done.choice.folder.report.unlink()
    folder = find_run(None)
    again = train(load_spec(folder.spec), TrainOptions(resume=folder, argv=("train.py",)))
    assert again.status == 0
    said = capsys.readouterr().out
    assert "nothing to do: 1 of 1 epochs are done (--epochs for more)" in said
    assert curves(again) == curves(done)
    assert folder.best.read_bytes() == best
    assert folder.report.is_file()  # what a kill at the very end may have cost

    run = gone_on(done, tiny())
    assert curves(run) == finished.history
    assert json.loads(folder.spec.read_text())["training"]["epochs"] == 3


STILL = {  # nothing is learned: the first epoch stays the best
    "training.optimizer": {"SGD": {"learning_rate": 1e-30}},
    "training.early_stopping_patience": 3,
    "training.epochs": 6,
    "loss": [{"MSE": {}}],
    "model.layers.generator.layers.encoder.layers": [
        {"Flatten": {}},
        {"Dense": {"units": 4}},
    ],
}


def test_patience_and_the_best_epoch_last_over_a_resume(workdir, tiny, stop_at, capsys):
    stop_at(1, 1)
    cut = train(tiny(STILL), quiet())
    assert (cut.progress.epoch, cut.progress.best_epoch) == (1, 0)
    best = cut.choice.folder.best.read_bytes()
    run = gone_on(cut)
    # Three epochs without a better one behind the first, whatever piece they were in.
    assert run.progress.epoch == 4
    assert run.progress.best_epoch == 0
    assert cut.choice.folder.best.read_bytes() == best
    report = json.loads(run.choice.folder.report.read_text())
    assert report["stopped"] == "no better val_loss for 3 epochs"
    assert (report["epochs"], report["best_epoch"]) == (4, 1)

    # It stays stopped, until more epochs are asked for.
    folder = find_run(None)
    again = train(load_spec(folder.spec), TrainOptions(resume=folder, argv=("train.py",)))
    assert again.progress.epoch == 4
    said = capsys.readouterr().out
    assert "nothing to do: stopped after epoch 4: no better val_loss for 3 epochs" in said
    more = train(load_spec(folder.spec, {"training.epochs": 7}), quiet(resume=folder))
    assert more.progress.epoch == 5


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_good_state(workdir, tiny, monkeypatch):
    good = train(tiny({"training.epochs": 1}), quiet(run_dir=Path("run")))
    state = good.choice.folder.state.read_bytes()
    best = good.choice.folder.best.read_bytes()
    monkeypatch.setattr(MSE, "compare", lambda self, x, x_hat: x[:, 0, 0, 0] * float("nan"))
    with pytest.raises(RunError) as caught:
        train(tiny({"training.epochs": 2}), quiet(resume=find_run("run")))
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("the loss is nan at step 1 of epoch 2. Likely causes: a learning ")
    folder = find_run("run").path
    assert lines[1:] == [
        f"The state before epoch 2, step 1 is saved in {folder}/backup/state.npz.",
        "The best weights so far, of epoch 1, are kept. To start from them with other settings:",
        f"  python train.py --load_from_ckpt_path {folder} --learning_rate ...",
    ]
    assert good.choice.folder.state.read_bytes() == state
    assert good.choice.folder.best.read_bytes() == best


def test_a_step_too_large_is_found_before_it_is_saved(workdir, tiny):
    # The loss of the first step is a number, what its update makes of the weights is none.
    changes = {
        "training.optimizer": {"SGD": {"learning_rate": 1e38}},
        "loss": [{"MSE": {"weight": 1e9}}],
    }
    with pytest.raises(RunError, match=r"weights .* are not finite at step 1 of epoch 1\. Likely"):
        train(tiny(changes), quiet(run_dir=Path("run"), backup_steps=1))
    with np.load("run/backup/state.npz") as stored:
        for name in stored.files:
            if name.startswith("model/"):
                assert np.isfinite(stored[name]).all()
        assert json.loads(stored["meta"].tobytes())["progress"]["batch"] == 0


class Breaking(ArraySource):
    """Images of which one can't be read."""

    @property
    def array(self):
        return None

    def __getitem__(self, index):
        if index == 13:
            raise BrokenImage("photos/13.png", "went away")
        return super().__getitem__(index)


def with_sources(monkeypatch, **sources):
    """Puts images in place of those of the data set."""
    import dataclasses

    from builders import training

    before = training.open_splits
    monkeypatch.setattr(
        training,
        "open_splits",
        lambda *args, **kwargs: dataclasses.replace(before(*args, **kwargs), **sources),
    )


def test_an_image_that_breaks_on_the_way_is_named(workdir, tiny, monkeypatch):
    source = Breaking(np.zeros((28, 8, 8, 1), np.uint8))
    with_sources(monkeypatch, train=source)
    with pytest.raises(RunError) as caught:
        train(tiny(), quiet(run_dir=Path("run")))
    assert str(caught.value).splitlines() == [
        "photos/13.png: went away",
        "The state before epoch 1, step 1 is saved in run/backup/state.npz. To go on:",
        "  python train.py --resume --run_dir run",
    ]


def test_an_image_that_breaks_before_the_first_step_leaves_nothing(workdir, tiny, monkeypatch):
    class First(Breaking):
        def __getitem__(self, index):
            return super().__getitem__(13)

    with_sources(monkeypatch, validation=First(np.zeros((28, 8, 8, 1), np.uint8)))
    with pytest.raises(BrokenImage):
        train(tiny(), quiet())
    assert list(workdir.iterdir()) == []


def test_a_data_set_that_has_changed_is_refused(workdir, tiny, stop_at, monkeypatch):
    stop_at(0, 1)
    cut = train(tiny(), quiet())
    with_sources(monkeypatch, train=ArraySource(np.zeros((27, 8, 8, 1), np.uint8)))
    with pytest.raises(UserError, match=r"from 28 training images, digits has 27 now"):
        gone_on(cut)


def test_averaged_weights_are_what_is_validated_and_kept(workdir, tiny, stop_at):
    # The plain weights move with every step, their averages with momentum 1 after the first only.
    changes = {
        **STILL,
        "training.epochs": 2,
        "training.optimizer": {"SGD": {"learning_rate": 0.5, "use_ema": True, "ema_momentum": 1.0}},
    }
    whole = train(tiny(changes), quiet())
    losses = curves(whole)
    assert losses["val_loss"][0] == losses["val_loss"][1]
    assert losses["loss"][1] < losses["loss"][0] - 1e-3
    stop_at(0, 1)
    cut = train(tiny(changes), quiet())
    assert cut.status == 130
    # The piece that ends the cut epoch is a `fit` of its own, which must not end in the averages.
    assert curves(gone_on(cut)) == losses


def test_a_regularizer_without_effect_is_refused(tiny):
    place = "model.layers.discriminator.layers[4].Dense.activity_regularizer"
    assert PAIR["model.layers.discriminator"]["layers"][4] == {"Dense": {"units": 1}}
    with pytest.raises(UserError, match=re.escape(f"{place}: has no effect in a discriminator")):
        build_compressor(tiny({**PAIR, place: {"L2": {"l2": 0.1}}}))


def test_a_run_starts_from_other_weights(workdir, finished, tiny):
    still = {"training.optimizer": {"SGD": {"learning_rate": 1e-30}}, "training.epochs": 1}
    run = train(tiny(still), quiet(start_from=str(finished.folder.path)))
    mine, theirs = (each.compressor.trainable_variables for each in (run, finished.run))
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_array_equal(*(keras.ops.convert_to_numpy(each.value) for each in (a, b)))
    assert run.choice.folder.path != finished.folder.path


def test_files_go_where_they_were_asked_to_also_after_a_resume(workdir, finished, tiny, stop_at):
    stop_at(0, 1)
    cut = train(
        tiny({"training.epochs": 1, "training.seed": 1}),
        quiet(run_dir=Path("run"), log_dir=Path("logs"), checkpoint=Path("mine")),
    )
    run = gone_on(cut)
    assert run.status == 0
    assert curves(run)["loss"][0] != finished.history["loss"][0]  # another seed, another curve
    folder = RunFolder(Path("run"))
    assert Path("mine/best.weights.h5").read_bytes() == folder.best.read_bytes()
    assert list(folder.tensorboard.iterdir()) == []
    assert len(list(Path("logs").iterdir())) == 2
    report = json.loads(run.choice.folder.report.read_text())
    assert report["weights_copy"] == str(workdir / "mine" / "best.weights.h5")


def test_weights_of_every_second_epoch_are_kept_and_can_be_named(workdir, tiny):
    run = train(tiny({"training.checkpoint_every": 2, "training.epochs": 4}), quiet())
    folder = run.choice.folder.checkpoints
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["best.weights.h5", "epoch-0002.weights.h5", "epoch-0004.weights.h5"]
    assert find_weights(str(folder / "epoch-0002.weights.h5")).name == "epoch-0002.weights.h5"
    assert find_weights(str(folder)) == run.choice.weights  # a folder still means its best
    weights = {name: (folder / name).read_bytes() for name in names[1:]}
    assert len(set(weights.values())) == 2
    start = train(tiny(), quiet(start_from=str(folder / "epoch-0004.weights.h5")))
    assert start.status == 0
