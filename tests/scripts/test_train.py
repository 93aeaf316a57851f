"""`train.py` as a user meets it: every flag, every exit status, and what mistakes are told."""

import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import train
from builders import backend, cli
from builders.cli import boolean, load_extensions, run_command
from builders.errors import RunError, UserError

DENSE = "model.layers.generator.layers.encoder.layers[1].Dense"


@pytest.fixture
def command(workdir, tiny_tree, monkeypatch, capfd):
    """Runs `train.py FLAGS` in an empty folder; gives exit status, output, and errors."""
    (workdir / "tiny.json").write_text(json.dumps(tiny_tree()))

    def run(*flags, model="tiny.json"):
        argv = [*(["--model", model] if model else []), *flags]
        monkeypatch.setattr(sys, "argv", ["train.py", *argv])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            run_command(train.main)
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return ended.value.code or 0, out, err

    return run


def left_behind(workdir):
    return sorted(path.name for path in workdir.iterdir() if path.name != "tiny.json")


FLAGS = [
    "--model",
    "--tfds",
    "--dataset",
    "--log_dir",
    "--batch_size",
    "--learning_rate",
    "--latent_dims",
    "--epochs",
    "--load_from_ckpt_path",
    "--checkpoint_filepath",
    "--verbosity",
    "--alpha",
    "--run_dir",
    "--resume",
    "--backup_steps",
    "--distribute",
    "--coordinator_address",
    "--num_processes",
    "--process_id",
    "--dry_run",
    "--precision",
    "--seed",
    "--set",
]


def test_help_names_every_flag_with_its_default(capsys):
    with pytest.raises(SystemExit) as ended:
        train.main(["--help"])
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for flag in FLAGS:
        assert f"{flag} " in text
    assert "None" not in text and "[]" not in text
    from builders.json_reader import read_json
    from builders.spec import parse_spec

    root = Path(train.__file__).parent
    spec = parse_spec(read_json(root / train.DEFAULT_MODEL)).resolved()
    stated = {
        "batch_size": spec["training"]["batch_size"],
        "latent_dims": spec["training"]["latent_dims"],
        "epochs": spec["training"]["epochs"],
        "seed": spec["training"]["seed"],
        "precision": spec["training"]["precision"],
        "learning_rate": spec["training"]["optimizer"]["Adam"]["learning_rate"],
        "alpha": spec["loss"][0]["SSIML1"]["alpha"],
        "dataset": spec["dataset"]["name"],
        "tfds": json.dumps(spec["dataset"]["tfds"]),
    }
    told = {action.dest: action.help for action in train.build_parser()._actions}
    for flag, value in stated.items():
        assert f"(spec: {value})" in told[flag], flag
        assert " ".join(told[flag].split()) in text
    assert train.DEFAULT_MODEL in text


@pytest.mark.parametrize("text", ["true", "1", "yes", "True", "YES"])
def test_yes(text):
    assert boolean(text) is True


@pytest.mark.parametrize("text", ["false", "0", "no", "False", "NO"])
def test_no(text):
    assert boolean(text) is False


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--batchsize", "4"], 'unknown argument --batchsize; did you mean "--batch_size"?'),
        (["--epoch=4"], 'unknown argument --epoch; did you mean "--epochs"?'),
        (["--tfds", "maybe"], 'argument --tfds: found "maybe", expected true or false'),
        (["--dry_run", "2"], 'argument --dry_run: found "2", expected true or false'),
        (["--batch_size", "0"], 'argument --batch_size: found "0", expected a whole number >= 1'),
        (["--epochs", "1.5"], 'argument --epochs: found "1.5", expected a whole number >= 1'),
        (["--seed", "-1"], 'argument --seed: found "-1", expected a whole number >= 0'),
        (["--backup_steps", "x"], 'argument --backup_steps: found "x", expected a whole number'),
        (["--learning_rate", "fast"], 'argument --learning_rate: found "fast", expected a number'),
        (["--precision", "float16"], "argument --precision: invalid choice: 'float16'"),
        (["--verbosity", "3"], "argument --verbosity: invalid choice"),
        (["--latent_dims"], "argument --latent_dims: expected one argument"),
    ],
)
def test_a_wrong_flag_takes_one_line(command, workdir, flags, message):
    status, out, err = command(*flags)
    assert status == 2 and out == ""
    assert err.startswith(f"train.py: {message}") and err.count("\n") == 1
    assert left_behind(workdir) == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--learning_rate", "nan"], "training.optimizer.Adam.learning_rate: found nan"),
        (["--learning_rate", "-1"], "training.optimizer.Adam.learning_rate: found -1.0"),
        (["--seed", "99999999999"], "training.seed: found 99999999999"),
        (["--alpha", "0.5"], "--alpha weighs the two parts of the loss term SSIML1"),
        (["--latent_dims", "9"], "training.latent_dims: 9 has no effect"),
        (["--set", "training"], '--set: found "training", expected PATH=VALUE'),
        (["--set", "training.epoch=3"], 'unknown key "epoch"; did you mean "epochs"?'),
        (["--dataset", "digit"], "did you mean digits?"),
        (["--dataset", "../nowhere/at/all"], "no such folder or video"),
        (["--tfds", "true", "--dataset", "minst"], "minst"),
        (["--run_dir", "tiny.json"], "--run_dir tiny.json: can't be written: Not a directory"),
        (["--run_dir", "tiny.json/x"], "--run_dir tiny.json/x: can't be written: Not a directory"),
        (["--log_dir", "tiny.json/x"], "--log_dir tiny.json/x: can't be written: "),
        (
            ["--checkpoint_filepath", "tiny.json/best.weights.h5"],
            "--checkpoint_filepath tiny.json: can't be written: ",
        ),
        (
            ["--checkpoint_filepath", "best.h5"],
            "--checkpoint_filepath best.h5: expected a name ending in .weights.h5, or a folder",
        ),
        (["--load_from_ckpt_path", "nowhere"], "nowhere: no such checkpoint"),
        (["--load_from_ckpt_path", "tiny.json"], "tiny.json: not a weights file"),
        (["--resume"], "no run yet: runs/latest is not there"),
        (["--resume", "--run_dir", "nowhere"], "nowhere: no such run folder"),
        (["--set", "dataset.crop=[9,9]"], "[9, 9]"),
    ],
)
def test_a_users_mistake_takes_status_2_and_leaves_nothing(command, workdir, flags, message):
    status, _out, err = command(*flags)
    assert status == 2
    assert message in err and err.startswith("train.py: ")
    assert left_behind(workdir) == []


def test_a_model_that_is_not_there(command, workdir):
    status, _, err = command(model="tiy.json")
    assert status == 2
    assert "tiy.json" in err and "tiny.json" in err  # and what was meant
    status, _, err = command(model=None)  # the default, from another folder than the repository
    assert status == 2 and "models/model.json" in err
    assert left_behind(workdir) == []


def pictures(folder, size, mode, count=12):
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(count):
        shape = (*size, 3) if mode == "RGB" else size
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8), mode).save(
            folder / f"{index}.png"
        )


def test_images_that_do_not_fit_are_told_before_anything_is_written(command, workdir):
    pictures(workdir / "small", (6, 6), "L")
    status, _, err = command("--dataset", "small")
    assert status == 2 and "6x6" in err and "8x8" in err
    pictures(workdir / "colour", (8, 8), "RGB")
    status, _, err = command("--dataset", "colour")
    assert status == 2 and "channel" in err
    assert left_behind(workdir) == ["colour", "small"]


def test_a_folder_that_holds_a_run_is_left_alone(command, workdir):
    (workdir / "mine").mkdir()
    (workdir / "mine" / "spec.json").write_text("{}")
    status, _, err = command("--run_dir", "mine")
    assert status == 2
    assert "--run_dir mine: holds a run already; --resume goes on with it" in err
    assert [path.name for path in (workdir / "mine").iterdir()] == ["spec.json"]


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (UserError("look here"), 2, "train.py: look here\n"),
        (RunError("went wrong\nsecond line"), 1, "train.py: went wrong\nsecond line\n"),
        (KeyboardInterrupt(), 130, "train.py: interrupted\n"),
        (BrokenPipeError(), 1, ""),
    ],
)
def test_exit_statuses(monkeypatch, capfd, error, status, words):
    def fail(argv):
        raise error

    monkeypatch.setattr(sys, "argv", ["some/train.py"])
    monkeypatch.setattr(os, "dup2", lambda *_: None)  # a broken pipe silences the whole process
    with pytest.raises(SystemExit) as ended:
        run_command(fail)
    assert ended.value.code == status
    assert capfd.readouterr().err == words


def test_a_dry_run_prints_the_model_and_writes_nothing(command, workdir):
    for flags in (["--dry_run"], ["--dry_run", "yes"], ["--dry_run=1"]):
        status, out, _ = command(*flags)
        assert status == 0
        assert "GaussianLatent" in out and "MACs" in out
        assert re.search(r"^precision +(float32|mixed_bfloat16) \(.+\)$", out, re.M)
        assert out.rstrip().endswith("nothing was trained (--dry_run)")
        assert left_behind(workdir) == []


def test_every_flag_does_what_it_says(command, workdir, tiny_tree):
    tree = tiny_tree()
    coders = tree["model"]["layers"]["generator"]["layers"]
    coders["encoder"]["layers"][-1] = {
        "Dense": {"units": None, "name": "compressed_representation"}
    }
    tree["loss"] = [{"SSIML1": {"filter_size": 3}}]
    tree["training"]["optimizer"] = {"Adam": {"beta_1": 0.8}}
    (workdir / "other.json").write_text(json.dumps(tree))
    status, out, err = command(
        *("--tfds", "no", "--dataset", "digits", "--log_dir", "logs", "--batch_size", "7"),
        *("--learning_rate", "0.004", "--latent_dims", "3", "--epochs", "2"),
        *("--checkpoint_filepath", "kept/mine.weights.h5", "--verbosity", "2", "--alpha", "0.25"),
        *("--run_dir", "my run", "--resume", "false", "--backup_steps", "3"),
        *("--dry_run", "0", "--precision", "mixed_bfloat16", "--seed", "5"),
        *("--set", f"{DENSE}.units=12", "--set", "training.early_stopping_patience=null"),
        *("--set", "dataset.on_device=true", "--set", "training.steps_per_dispatch=2"),
        model="other.json",
    )
    assert (status, err) == (0, "")
    assert left_behind(workdir) == ["kept", "logs", "my run", "other.json", "runs"]
    spec = json.loads((workdir / "my run" / "spec.json").read_text())
    assert spec["dataset"]["name"] == "digits" and spec["dataset"]["tfds"] is False
    assert spec["dataset"]["on_device"] is True
    training = spec["training"]
    assert training["steps_per_dispatch"] == 2
    assert (training["batch_size"], training["epochs"], training["seed"]) == (7, 2, 5)
    assert training["latent_dims"] == 3 and training["early_stopping_patience"] is None
    assert training["precision"] == "mixed_bfloat16"
    assert training["optimizer"]["Adam"]["learning_rate"] == 0.004
    assert training["optimizer"]["Adam"]["beta_1"] == 0.8
    assert spec["loss"][0]["SSIML1"]["alpha"] == 0.25
    layers = spec["model"]["layers"]["generator"]["layers"]["encoder"]["layers"]
    assert layers[1]["Dense"]["units"] == 12 and layers[4]["Dense"]["units"] == 3
    assert len(list((workdir / "logs").iterdir())) == 1
    best = (workdir / "my run" / "checkpoints" / "best.weights.h5").read_bytes()
    assert (workdir / "kept" / "mine.weights.h5").read_bytes() == best
    assert (workdir / "runs" / "latest").resolve() == workdir / "my run"
    assert "precision  mixed_bfloat16 (as asked)" in out
    assert "Epoch 2/2" in out
    # What stands at the end can be copied into a shell.
    assert out.rstrip().endswith(f"--logdir {workdir}/logs --samples_per_plugin images=1000")
    commands = (workdir / "my run" / "command.txt").read_text()
    assert "train.py --model other.json --tfds no" in commands and "'my run'" in commands


def test_silence(command, workdir):
    status, out, err = command("--verbosity", "0", "--epochs", "1")
    assert (status, out, err) == (0, "", "")
    assert (workdir / "runs" / "latest" / "report.json").is_file()


def test_auto_says_why_it_took_a_precision(command, monkeypatch):
    from builders import precision

    monkeypatch.setattr(precision, "bfloat16_units", lambda: (False, "this toaster"))
    _, out, _ = command("--dry_run", "--precision", "auto")
    assert "precision    float32 (this toaster has no bfloat16 units)" in out


@pytest.fixture
def checkpoint(finished):
    return finished.folder


@pytest.mark.parametrize("form", ["path", "checkpoints", "best"])
def test_a_run_starts_from_weights_however_they_are_named(command, checkpoint, form):
    # Refused for its spec, so it was found; nothing is trained.
    status, _out, err = command(
        "--load_from_ckpt_path", str(getattr(checkpoint, form)), "--set", f"{DENSE}.units=12"
    )
    assert status == 2
    assert err.splitlines() == [
        f"train.py: {checkpoint.best}: a checkpoint of another spec than tiny.json:",
        f"  {DENSE}.units: 12 here, 16 there",
    ]


def test_a_checkpoint_that_does_not_fit_leaves_nothing(command, workdir, checkpoint):
    (workdir / "cut.weights.h5").write_bytes(checkpoint.best.read_bytes()[:2000])
    status, _, err = command("--load_from_ckpt_path", "cut.weights.h5")
    assert status == 2
    assert err.startswith("train.py: cut.weights.h5: not a readable HDF5 file: ")
    assert err.count("\n") == 1
    assert left_behind(workdir) == ["cut.weights.h5"]


CHARBONNIER = '''
import keras
from keras import ops

from architectures.losses import ImageLoss
from architectures.metrics import ImageMetric


@keras.saving.register_keras_serializable(package="mine")
class Charbonnier(ImageLoss):
    """A smooth absolute error."""

    def compare(self, x, x_hat):
        return ops.mean(ops.sqrt(ops.square(x - x_hat) + 1e-6), axis=(1, 2, 3))


@keras.saving.register_keras_serializable(package="mine")
class WorstPixel(ImageMetric):
    """The greatest error of a pixel."""

    def per_image(self, outputs):
        return ops.max(ops.absolute(outputs["x"] - outputs["x_hat"]), axis=(1, 2, 3))
'''


@pytest.fixture
def extensions(workdir, monkeypatch):
    """The user's folder of modules; what they register is forgotten afterwards."""
    import keras

    folder = workdir / "extensions"
    folder.mkdir()
    known = dict(keras.saving.get_custom_objects())
    modules = set(sys.modules)
    yield folder
    keras.saving.get_custom_objects().clear()
    keras.saving.get_custom_objects().update(known)
    for name in set(sys.modules) - modules:
        if name.startswith(f"{cli.EXTENSIONS.name}."):
            del sys.modules[name]


def test_a_loss_and_a_metric_of_ones_own(command, extensions, workdir):
    (extensions / "mine.py").write_text(CHARBONNIER)
    (extensions / "_notes.py").write_text("raise RuntimeError('not to be imported')")
    status, _out, err = command(
        *("--set", 'loss=[{"Charbonnier": {"weight": 2}}]'),
        *("--set", 'training.metrics=[{"WorstPixel": {}}]', "--epochs", "1"),
    )
    assert (status, err) == (0, "")
    header, row = (workdir / "runs" / "latest" / "metrics.csv").read_text().splitlines()
    values = dict(zip(header.split(","), row.split(","), strict=True))
    assert float(values["loss"]) == pytest.approx(2 * float(values["charbonnier"]), rel=1e-5)
    assert 0 < float(values["val_worst_pixel"]) <= 1
    stored = json.loads((workdir / "runs" / "latest" / "spec.json").read_text())
    assert stored["loss"] == [{"Charbonnier": {"weight": 2, "name": None}}]


def test_without_its_module_a_class_is_unknown(command):
    status, _, err = command("--set", 'loss=[{"Charbonnier": {}}]')
    assert status == 2 and 'unknown loss "Charbonnier"' in err


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def f(:\n", "SyntaxError: "),
        ("import nowhere_at_all", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("raise KeyError('x')", "KeyError: 'x'"),
        ("import sys; sys.exit(0)", "SystemExit: 0"),
    ],
)
def test_an_extension_that_breaks_takes_one_line(command, extensions, workdir, code, message):
    (extensions / "mine.py").write_text(code)
    status, _out, err = command("--epochs", "1")
    assert status == 2
    assert err.startswith(f"train.py: extensions/mine.py: {message}")
    assert err.count("\n") == 1
    assert left_behind(workdir) == ["extensions"]


def test_extensions_are_imported_in_the_order_of_their_names(extensions):
    for name in ("b", "a"):
        (extensions / f"{name}.py").write_text("")
    assert load_extensions(extensions) == ["a", "b"]


def test_the_backend_must_be_one_that_is_installed(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    with pytest.raises(UserError, match='KERAS_BACKEND is "torch", expected "tensorflow" or "jax"'):
        backend.choose_backend()
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="jax is not installed: pip install -r requirements-jax"):
        backend.choose_backend()
    monkeypatch.delenv("KERAS_BACKEND")
    with pytest.raises(UserError, match="jax is not installed"):  # neither is
        backend.choose_backend()
