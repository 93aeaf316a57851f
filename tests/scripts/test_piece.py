"""Runs in pieces: three give the curve of one, whatever ends them, and every mistake is one line."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

import piece
from builders import piece_keeper
from builders.errors import RunError, UserError
from builders.piece_state import read_manifest
from builders.shards import read_shards
from builders.stop_signals import StopSignals

ROOT = Path(piece.__file__).resolve().parent
START = ("--model", "tiny.json", "--output", "out")
HALF_TOLERANCE = 1e-4
"""Of a figure, relative: measured 1.1e-5 on this run; another seed moves it by 3e-2."""


@pytest.fixture
def folder(workdir, tiny_tree):
    """The current folder, with the spec of the `finished` run."""
    (workdir / "tiny.json").write_text(json.dumps(tiny_tree()))
    return workdir


def call(*flags):
    """`piece.py` without a start of its own."""
    return piece.main([*map(str, flags), "--verbosity", "0"])


def rows(path="out"):
    with (Path(path) / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def curve(path="out", names=("loss", "val_loss", "val_psnr_db"), every=4):
    """Figures at the ends of epochs, float (epochs, names)."""
    return np.array(
        [
            [float(row[name]) for name in names]
            for row in rows(path)
            if int(row["step"]) % every == 0
        ]
    )


def reference(finished, names=("loss", "val_loss", "val_psnr_db")):
    return np.array([finished.history[name] for name in names]).T


def summary(path="out"):
    return json.loads((Path(path) / "summary.json").read_text())


def stored(path="out"):
    return read_shards(Path(path), read_manifest(Path(path)))


def test_three_pieces_give_the_curve_of_one_run(folder, finished):
    """Each with a folder of its own; what one left is not touched by the next."""
    assert call("--model", "tiny.json", "--output", "a", "--steps", 5) == 0
    assert summary("a")["total_steps"] == 5
    before = {path.name: path.read_bytes() for path in (folder / "a").iterdir()}
    assert call("--state", "a", "--output", "b", "--steps", 5) == 0
    assert call("--state", "b", "--output", "out") == 0
    assert {path.name: path.read_bytes() for path in (folder / "a").iterdir()} == before
    np.testing.assert_allclose(curve(), reference(finished), rtol=1e-6)
    assert [(row["piece"], row["step"]) for row in rows()] == [
        *(("1", "4"), ("1", "5"), ("2", "8"), ("2", "10"), ("3", "12"))
    ]
    told = summary()
    assert told["ended"] == "done" and told["minutes_left"] is None
    assert told["total_steps"] == told["steps_of_the_run"] == 12
    with np.load(finished.folder.state) as theirs:
        mine = stored()
        for name in theirs.files:
            if name != "meta":
                np.testing.assert_array_equal(mine[name], theirs[name])
    for name in ("report.json", "samples.png", "checkpoints/best.weights.h5"):
        assert (folder / "out" / "run" / name).is_file()
    assert not (folder / "out" / "run" / "backup").exists()
    assert (folder / "out" / "curves.png").is_file()


def test_pieces_in_half_precision_give_nearly_that_curve(folder, finished):
    for steps in (3, 4, 9):
        assert call(*START, "--steps", steps, "--half") == 0
    assert summary()["state"]["not_exact"] == ["the optimizer's moments in bfloat16"]
    np.testing.assert_allclose(curve(), reference(finished), rtol=HALF_TOLERANCE)
    assert (curve() != curve_of_exact(finished)).any()


def curve_of_exact(finished):
    return np.array([[float(f"{value:.9g}") for value in row] for row in reference(finished)])


@pytest.mark.slow
def test_best_weights_of_an_earlier_piece_are_delivered(folder, finished, tiny):
    import h5py

    assert call(*START, "--steps", 9) == 0
    manifest = read_manifest(Path("out"))
    assert manifest.progress["best_epoch"] == 1
    kept = {name: value for name, value in stored().items() if name.startswith("best/")}
    # As if the third epoch were worse than any.
    state = manifest.state | {"progress": manifest.progress | {"best_loss": -1e9}}
    from builders.shard_manifest import write_manifest

    write_manifest(Path("out"), manifest.model_copy(update={"state": state}))
    assert call("--output", "out") == 0
    assert summary()["best_epoch"] == 2
    with h5py.File("out/run/checkpoints/best.weights.h5") as file:
        for name, value in kept.items():
            np.testing.assert_array_equal(file[name.removeprefix("best/")], value)


def test_looks_inside_epochs_disturb_nothing(folder, finished):
    assert call(*START, "--validate_steps", 3) == 0
    assert [row["step"] for row in rows()] == ["3", "4", "6", "8", "9", "12"]
    np.testing.assert_allclose(curve(), reference(finished), rtol=1e-6)


@pytest.mark.slow
def test_averaged_weights_are_looked_at_and_trained_on_as_before(folder, tiny):
    import keras

    from builders.checkpoint import TrainingState
    from builders.optimizers import build_optimizer
    from builders.training import build_compressor, open_splits

    optimizer = {"Adam": {"use_ema": True, "ema_momentum": 0.5}}
    ema = ("--set", f"training.optimizer={json.dumps(optimizer)}")
    assert call("--model", "tiny.json", "--output", "one", *ema) == 0
    assert call(*START, *ema, "--steps", 10, "--run_dir", "mine") == 0
    spec = tiny({"training.optimizer": optimizer})
    model, _, _ = build_compressor(spec)
    model.compile(optimizer=build_optimizer(spec, model))
    TrainingState(model, spec, folder / "mine" / "backup" / "state.npz").load()
    variables = {each.path.replace("/", "_"): each for each in model.trainable_variables}
    for each in model.optimizer.variables:
        if each.path.endswith("_average"):
            name = each.path.split("/", 1)[1].removesuffix("_average")
            variables[name].assign(keras.ops.convert_to_numpy(each.value))
    images = next(open_splits(spec).loader("validation", 28).batches(0))
    loss = model.evaluate(images, batch_size=8, verbose=0, return_dict=True)["loss"]
    (point,) = [row for row in rows() if row["step"] == "10"]
    assert float(point["val_loss"]) == pytest.approx(loss, rel=1e-5)
    assert call("--output", "out") == 0
    np.testing.assert_allclose(curve(), curve("one"), rtol=1e-6)


@pytest.mark.slow
def test_rounds_are_cut_anywhere(folder):
    """Each has an optimizer and a batch size of its own: 4 steps, then 2 x 7."""
    rounds = [{"epochs": 2, "batch_size": 4, "optimizer": {"SGD": {"learning_rate": 0.05}}}]
    given = (
        *("--model", "tiny.json", "--epochs", "1"),
        *("--set", f"training.rounds={json.dumps(rounds)}"),
    )
    assert call(*given, "--output", "one") == 0
    for steps in (4, 9, 9):  # the end of a round, inside the next, its end
        assert call(*given, "--output", "out", "--steps", steps) == 0
    assert [row["step"] for row in rows()] == ["4", "11", "13", "18"]
    assert [row["step"] for row in rows("one")] == ["4", "11", "18"]
    theirs = {row["step"]: row["val_loss"] for row in rows("one")}
    for row in rows():
        assert row["step"] == "13" or row["val_loss"] == theirs[row["step"]]
    assert summary()["steps_of_the_run"] == summary()["total_steps"] == 18
    assert summary()["epochs"] == 3
    with pytest.raises(UserError, match=r"--epochs 2: the run in out has rounds, which begin"):
        call("--output", "out", "--epochs", 2)


def test_a_signal_ends_a_piece_and_the_next_goes_on(folder, finished, monkeypatch):
    from builders.piece_watch import PieceWatch

    class Interrupting(PieceWatch):
        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)
            if self.step == 7:
                os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr("builders.piece.PieceWatch", Interrupting)
        assert call(*START) == 130
    assert summary()["ended"] == "signal" and summary()["total_steps"] == 7
    assert [row["step"] for row in rows()] == ["4"]  # no time was taken for a look
    assert call("--output", "out") == 0
    np.testing.assert_allclose(curve(), reference(finished), rtol=1e-6)


class Process:
    """`python piece.py` in a process of its own."""

    def __init__(self, folder, *flags, python=sys.executable, **environment):
        self.output = (folder / "output.txt").open("a+")
        self.process = subprocess.Popen(
            [python, str(ROOT / "piece.py"), *flags],
            cwd=folder,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
        )

    def until_written(self, folder, generation, seconds=120):
        end = time.monotonic() + seconds
        while True:
            try:
                if read_manifest(folder).generation >= generation:
                    return
            except UserError:
                pass  # not there yet
            if self.process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"no state {generation}: {(folder.parent / 'output.txt').read_text()}")
            time.sleep(0.001)


def test_a_killed_piece_is_gone_on_with(folder, finished):
    process = Process(folder, *START, "--save_seconds", "0")
    process.until_written(folder / "out", 6)
    process.process.send_signal(signal.SIGKILL)
    assert process.process.wait(60) == -signal.SIGKILL
    manifest = read_manifest(folder / "out")
    assert manifest.step >= 4
    assert manifest.journal.pieces[0]["ended"] == "killed, or still running"
    assert call("--output", "out") == 0
    np.testing.assert_allclose(curve(), reference(finished), rtol=1e-6)
    left = {path.name for path in (folder / "out").iterdir()}
    names = {"manifest.json", "log.txt", "metrics.csv", "curves.png", "summary.json", "run"}
    assert left == names | set(read_manifest(folder / "out").shards)


@pytest.mark.jax
def test_pieces_change_the_backend(folder, jax_python, finished):
    """Random numbers differ between backends, so the curve is near and not the same."""
    import keras

    mine = keras.backend.backend()
    assert call(*START, "--steps", 5) == 0
    before = stored()
    other = Process(
        folder, "--output", "out", "--steps", "0", python=jax_python, KERAS_BACKEND="jax"
    )
    assert other.process.wait(300) == 0, (folder / "output.txt").read_text()
    after = stored()
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value)
    other = Process(
        folder, "--output", "out", "--steps", "3", python=jax_python, KERAS_BACKEND="jax"
    )
    assert other.process.wait(300) == 0, (folder / "output.txt").read_text()
    assert call("--output", "out") == 0
    backends = [each["backend"] for each in read_manifest(Path("out")).journal.pieces]
    assert backends == [mine, "jax", "jax", mine]
    np.testing.assert_allclose(curve(), reference(finished), rtol=0.05)


@pytest.fixture(scope="module")
def begun(tmp_path_factory, tiny_tree):
    """A run of which one piece of five steps is done. Read only."""
    import contextlib

    folder = tmp_path_factory.mktemp("begun")
    with contextlib.chdir(folder):
        (folder / "tiny.json").write_text(json.dumps(tiny_tree()))
        assert call(*START, "--steps", 5) == 0
    return folder


@pytest.fixture
def started(begun, workdir):
    """A copy of it, in the current folder."""
    return Path(shutil.copytree(begun, workdir, dirs_exist_ok=True))


def test_shards_are_as_large_as_asked_for(started):
    assert call("--output", "out", "--steps", 0, "--shard_mebibytes", "0.015625") == 0
    sizes = [path.stat().st_size for path in Path("out").glob("shard-*")]
    assert len(sizes) > 1 and max(sizes) <= 16384


def test_a_budget_is_kept_to(started):
    whole = summary()["state"]["bytes"]
    budget = (whole - 100) / 2**20
    assert call("--output", "out", "--steps", 0, "--budget_mebibytes", budget) == 0
    assert summary()["state"]["bytes"] <= whole - 100
    assert summary()["state"]["not_exact"] == ["the optimizer's moments in bfloat16"]
    log = (started / "out" / "log.txt").read_text()
    assert "stored     the optimizer's moments in bfloat16" in log
    assert call("--output", "out", "--steps", 0, "--budget_mebibytes", 0) == 0
    assert "state      was stored with the optimizer's moments" in (
        (started / "out" / "log.txt").read_text()
    )


def unchanged(error, words, *flags):
    """The call fails with this message, in one line, and the state is what it was."""
    before = stored()
    with pytest.raises(error) as caught:
        call(*flags)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    after = stored()
    assert list(before) == list(after)
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value)


def test_a_budget_that_nothing_fits_is_refused(started):
    words = "--budget_mebibytes is 0.01"
    unchanged(RunError, words, "--output", "out", "--budget_mebibytes", "0.01")


def test_minutes_too_few_are_refused_with_the_figures(started):
    words = "--minutes 0.0001 is too short: up to the end of the first step"
    unchanged(UserError, words, "--output", "out", "--minutes", "0.0001")
    assert "error      --minutes 0.0001 is too short" in Path("out/log.txt").read_text()


def test_a_first_step_that_outlasts_the_minutes_is_kept_and_told(started, monkeypatch):
    """A clock that jumps by an hour in the first step."""
    from builders.piece_watch import PieceWatch

    jump = [0.0]
    own = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: own() + jump[0])

    class Slow(PieceWatch):
        def __init__(self, *args, **settings):
            super().__init__(*args, **settings, clock=time.monotonic)

        def on_train_batch_end(self, batch, logs=None):
            jump[0] = 3600.0
            super().on_train_batch_end(batch, logs)

    monkeypatch.setattr("builders.piece.PieceWatch", Slow)
    with pytest.raises(RunError, match=r"--minutes 30 is too short.*one step was taken$"):
        call("--output", "out", "--minutes", 30)
    assert read_manifest(Path("out")).step == 6


def test_a_full_disk_leaves_the_state_before(started, monkeypatch):
    def full(*_, **__):
        raise RunError("out/shard-x: can't be written: No space left on device.")

    monkeypatch.setattr(piece_keeper, "pack", full)
    unchanged(RunError, "No space left on device", "--output", "out", "--steps", 2)


def test_a_data_set_smaller_than_a_batch_is_refused(folder):
    with pytest.raises(UserError) as caught:
        call(*START, "--batch_size", 29)
    assert str(caught.value) == (
        "digits: 28 training images are fewer than a batch of 29; --batch_size 28 at most"
    )
    assert not list(Path("out").glob("shard-*"))
    rounds = 'training.rounds=[{"epochs": 1, "batch_size": 30}]'
    with pytest.raises(UserError, match=r"of 30; training\.rounds\[0\]\.batch_size 28 at most$"):
        call(*START, "--set", rounds)


def test_a_state_of_another_spec_is_refused(started):
    with pytest.raises(UserError, match=r"training\.seed: 4 here, 0 there"):
        call("--output", "out", "--seed", 4)
    with pytest.raises(UserError, match=r'precision: "float32" here, "auto" there'):
        call("--output", "out", "--precision", "float32")
    with pytest.raises(UserError, match=r"training\.latent_dims: 7 has no effect"):
        call("--output", "out", "--latent_dims", 7)
    with pytest.raises(UserError, match=r"KLDivergence\.weight: 1 here, 0\.01 there"):
        call("--output", "out", "--set", "loss[1].KLDivergence.weight=1")


def test_other_images_are_refused(started):
    (started / "images").mkdir()
    from PIL import Image

    for index in range(30):
        picture = np.full((8, 8), index, np.uint8)
        Image.fromarray(picture).save(started / "images" / f"{index:02}.png")
    with pytest.raises(UserError, match=r"28 training images, images has \d+ now") as caught:
        call("--output", "out", "--dataset", "images")
    assert "\n" not in str(caught.value)


def test_a_damaged_or_missing_shard_takes_one_line(started):
    (shard,) = Path("out").glob("shard-*")
    content = shard.read_bytes()
    shard.write_bytes(content[:100] + b"?" + content[101:])
    with pytest.raises(UserError, match=r"damaged: its bytes are not those that were written$"):
        call("--output", "out")
    shard.unlink()
    with pytest.raises(UserError, match=r"^out: 1 of 1 shards missing: shard-"):
        call("--output", "out")
    shard.write_bytes(content)
    assert call("--output", "out", "--steps", 0) == 0


def test_more_epochs_may_be_asked_for(started):
    assert call("--output", "out", "--epochs", 4) == 0
    assert summary()["total_steps"] == 16
    assert call("--output", "out") == 0  # four by now, and done
    assert summary()["steps"] == 0 and summary()["ended"] == "done"


def test_the_run_folder_can_be_kept(started):
    assert call("--output", "out", "--run_dir", "mine", "--steps", 1) == 0
    assert (started / "mine" / "backup" / "state.npz").is_file()
    assert (started / "mine" / "checkpoints" / "best.weights.h5").is_file()
    assert list((started / "mine" / "tensorboard").iterdir())
    assert call("--output", "out", "--run_dir", "mine") == 0
    assert (started / "mine" / "report.json").is_file()
    assert not (started / "out" / "run").exists()
    with pytest.raises(UserError, match=r"--run_dir mine: holds another run already"):
        call("--model", "tiny.json", "--output", "new", "--run_dir", "mine")


def test_a_run_may_begin_from_other_weights(folder, finished):
    assert call(*START, "--load_from_ckpt_path", finished.folder.path, "--steps", 0) == 0
    import h5py

    with h5py.File(finished.folder.best) as file:
        theirs = file["encoder/layers/dense/vars/0"][()]
    np.testing.assert_array_equal(stored()["model/0"], theirs)


WRONG = {
    "--minutes=0": 'argument --minutes: found "0", expected a number > 0',
    "--minutes=long": 'argument --minutes: found "long", expected a number',
    "--steps=-1": 'argument --steps: found "-1", expected a whole number >= 0',
    "--shard_mebibytes=0.001": 'found "0.001", expected a number >= 0.015625',
    "--budget_mebibytes=-1": 'found "-1", expected a number >= 0',
    "--save_seconds=500": 'found "500", expected 0 to 100: an interruption shall cost two minutes',
    "--validate_steps=x": 'argument --validate_steps: found "x", expected a whole number >= 0',
    "--half=maybe": 'argument --half: found "maybe", expected true or false',
    "--tfds=maybe": 'argument --tfds: found "maybe", expected true or false',
    "--state": "argument --state: expected one argument",
    "--verbosity=3": "argument --verbosity: invalid choice: 3",
    "--shard=1": "unknown argument --shard; did you mean",
}


@pytest.mark.parametrize("flag", WRONG)
def test_a_wrong_flag_takes_one_line(flag, capsys):
    with pytest.raises(SystemExit) as stop:
        piece.main(["--output", "out", flag])
    assert stop.value.code == 2
    told = capsys.readouterr().err
    assert WRONG[flag] in told and told.count("\n") == 1


def test_output_is_needed(capsys):
    with pytest.raises(SystemExit):
        piece.main([])
    assert "the following arguments are required: --output" in capsys.readouterr().err


def test_tfds_reaches_the_spec(started):
    with pytest.raises(UserError, match=r"no_such_set"):
        call("--output", "out", "--tfds", "true", "--dataset", "no_such_set")


def test_it_says_what_it_does_and_leaves_no_folder_behind(started, tmp_path, capsys, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    assert piece.main(["--output", "out", "--steps", "1", "--verbosity", "2"]) == 0
    told = capsys.readouterr().out
    for words in ("piece      2 of run ", "state      out, step 5", "step 6, epoch 1.50: loss "):
        assert words in told
    assert "piece 2 ended: its steps are done; 1 steps, 6 of 12 in all" in told
    log = Path("out/log.txt").read_text()
    for line in told.splitlines():
        if line.startswith(("piece", "state", "step")):
            assert line in log
    assert list((tmp_path / "temporary").iterdir()) == []
    assert not (started / "runs").exists()  # runs/latest would point at nothing


def test_signals_are_as_before_when_a_piece_is_over(started):
    before = signal.getsignal(signal.SIGINT)
    assert call("--output", "out", "--steps", 0) == 0
    assert signal.getsignal(signal.SIGINT) is before
    with StopSignals() as signals, signals:
        pass
    assert signal.getsignal(signal.SIGINT) is before
