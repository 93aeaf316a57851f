"""exporter.py as a user calls it."""

import subprocess
import sys
from pathlib import Path

import keras
import pytest

import exporter
from builders import export_formats
from builders.checkpoint import save_weights
from builders.cli import run_command
from builders.model_builder import ModelBuilder
from builders.run_folder import RunFolder, point_latest, write_atomically
from builders.spec import parse_spec

ROOT = Path(__file__).resolve().parents[2]
DENSE = {"units": None, "name": "compressed_representation"}
MODEL = {
    "inputs": [{"Input": {"shape": [8, 8, 1]}}],
    "generator": {
        "layers": {
            "encoder": {"layers": [{"Flatten": {}}, {"Dense": DENSE}]},
            "decoder": {
                "layers": [{"Dense": {"units": 64}}, {"Reshape": {"target_shape": [8, 8, 1]}}]
            },
        }
    },
}
TREE = {
    "model": {"name": "Small", "layers": MODEL},
    "loss": [{"MSE": {}}],
    "training": {"metrics": [{"PSNR": {}}], "latent_dims": 3},
}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A finished run, the last, in a folder of its own; and the environment put back after."""
    monkeypatch.chdir(tmp_path)
    for name in ("KERAS_BACKEND", "CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS"):
        monkeypatch.setenv(name, keras.backend.backend() if name == "KERAS_BACKEND" else "")
    spec = parse_spec(TREE)
    folder = RunFolder(tmp_path / "runs" / "small")
    write_atomically(folder.spec, spec.to_json())
    save_weights(ModelBuilder(spec).build(), spec, folder.best, {})
    point_latest(folder)
    return folder


def call(monkeypatch, capsys, *arguments):
    """Exit status, standard output, standard error."""
    monkeypatch.setattr(sys, "argv", ["exporter.py", *arguments])
    with pytest.raises(SystemExit) as stop:
        run_command(exporter.main)
    told = capsys.readouterr()
    return stop.value.code, told.out, told.err


def test_the_last_run_is_exported_and_nothing_is_overwritten(run, monkeypatch, capsys):
    status, out, err = call(monkeypatch, capsys)
    assert (status, err) == (0, "")
    for part in ("encoder", "decoder"):
        assert (run.path / "export" / part / "saved_model.pb").is_file()
        assert f"runs/small/export/{part}" in out
    assert "serve(uint8[B,8,8,1]) -> float32[B,3], the same as Keras" in out
    assert "inference.py --model runs/small/export/encoder,runs/small/export/decoder" in out
    status, _, err = call(monkeypatch, capsys)
    assert status == 2
    assert "export/encoder: is there already; --force overwrites it" in err
    status, _, _ = call(monkeypatch, capsys, "--force")
    assert status == 0


def test_one_file_somewhere_else(run, tmp_path, monkeypatch, capsys):
    arguments = ["--mode=full", "--format=onnx", "--save_path=out/small"]
    weights = tmp_path / "best.weights.h5"
    weights.write_bytes(run.best.read_bytes())
    spec = tmp_path / "spec.json"
    spec.write_bytes(run.spec.read_bytes())
    status, out, _ = call(
        monkeypatch, capsys, *arguments, f"--ckpt_path={weights}", f"--model={spec}"
    )
    assert status == 0
    assert "out/small.onnx (ONNX" in out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "small.onnx",
        "small.onnx.json",
    ]


def test_weights_of_another_spec_are_refused(run, tmp_path, monkeypatch, capsys):
    other = parse_spec({**TREE, "training": {**TREE["training"], "latent_dims": 4}})
    path = tmp_path / "other.json"
    path.write_text(other.to_json())
    status, _, err = call(monkeypatch, capsys, f"--model={path}")
    assert status == 2
    assert "units: 4 here, 3 there" in err
    assert not (run.path / "export").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format=tflite"], "invalid choice: 'tflite'"),
        (["--fromat=onnx"], 'unknown argument --fromat; did you mean "--format"?'),
        (["--size=64"], 'found "64", expected HEIGHT,WIDTH'),
        (["--size=64,0"], 'found "0", expected a whole number >= 1'),
        (["--save_path=a,b", "--mode=full"], "2 paths; mode full takes one path"),
        (["--size=16,16"], "--size 16,16: a layer of Small fixes it to 8,8"),
        (["--ckpt_path=nowhere"], "nowhere: no such checkpoint"),
        (["--latent_dims=9"], "has no effect"),
    ],
)
def test_mistakes_are_named(run, monkeypatch, capsys, arguments, message):
    status, _, err = call(monkeypatch, capsys, *arguments)
    assert status == 2
    assert message in err
    assert not (run.path / "export").exists()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("saved_model", "written by TensorFlow, which is not installed"),
        ("litert", "--format keras needs no TensorFlow"),
        ("onnx", "-r requirements.txt -r requirements-export.txt"),
    ],
)
def test_formats_that_need_tensorflow_say_so(run, monkeypatch, capsys, kind, message):
    monkeypatch.setattr(export_formats, "installed", lambda _: False)
    status, _, err = call(monkeypatch, capsys, f"--format={kind}")
    assert status == 2
    assert message in err


def test_help_is_quick(tmp_path):
    code = (
        "import sys, exporter\n"
        "try:\n    exporter.main(['--help'])\n"
        "except SystemExit:\n"
        "    heavy = {'keras', 'tensorflow', 'jax', 'numpy', 'pydantic'} & set(sys.modules)\n"
        "    sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--save_path A[,B]" in done.stdout
