"""exporter.py --mode codec as a user calls it."""

import copy
import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import compress
import exporter
from builders.checkpoint import save_weights
from builders.cli import run_command
from builders.model_builder import ModelBuilder
from builders.run_folder import RunFolder, point_latest, write_atomically
from builders.spec import parse_spec
from codec.bundle import CODER, WEIGHTS, Bundle
from tests.codec_models import TREES, conv, generator_of, photo, spec_tree


def finished_run(tree, folder="runs/small"):
    """A run folder with random weights, the last run."""
    spec = parse_spec(tree)
    run = RunFolder(Path.cwd() / folder)
    write_atomically(run.spec, spec.to_json())
    keras.utils.set_random_seed(1)
    save_weights(ModelBuilder(spec).build(), spec, run.best, {})
    point_latest(run)
    return run


def hyperprior(activation):
    """A spec with an entropy model, for the digits."""
    hyper = [conv(3, 5, 2)], [conv(4, 5, 2, activation, transposed=True), conv(4)]
    coders = [conv(4, 3, 2)], [conv(1, 3, 2, transposed=True)]
    tree = spec_tree((8, 8, 1), *coders, hyper, entropy_model={"ScaleHyperprior": {}})
    return {**tree, "dataset": {"max_images": 40}}


@pytest.fixture
def run(workdir, monkeypatch):
    """A finished run of plain latents on the digits, in an empty folder."""
    for name in ("KERAS_BACKEND", "CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS"):
        monkeypatch.setenv(name, keras.backend.backend() if name == "KERAS_BACKEND" else "")
    tree = copy.deepcopy(TREES["dense"])
    return finished_run({**tree, "dataset": {"max_images": 40}})


@pytest.fixture
def call(monkeypatch, capsys):
    """Runs a command; returns exit status, standard output and standard error."""

    def start(*arguments, module=exporter):
        monkeypatch.setattr(sys, "argv", [f"{module.__name__}.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            run_command(module.main)
        told = capsys.readouterr()
        return stop.value.code, told.out, told.err

    return start


def test_the_last_run_becomes_a_codec_that_compresses(run, call):
    status, out, err = call("--mode=codec")
    assert (status, err) == (0, "")
    bundle = Bundle.read("runs/small/export/codec")
    lines = out.splitlines()
    assert lines[0].startswith("weights    ")
    assert "(Tiny_Codec)" in lines[0]
    assert "codec      runs/small/export/codec (" in out
    assert f"digest     {bundle.digest.hex()[:16]}" in out
    assert "checked    4 images of the training split: " in out
    assert lines[-1] == "  python compress.py IMAGE --model runs/small/export/codec"
    Image.fromarray(photo(20, 30, 1)[..., 0]).save("x.png")
    # The run folder stands for the codec in it, as the last run does.
    for model in ("runs/small/export/codec", "runs/small", "runs/latest"):
        assert call("x.png", "--force", "--model", model, module=compress)[0] == 0
    assert Path("x.nic").is_file()


def test_nothing_is_overwritten_without_force(run, call):
    assert call("--mode=codec")[0] == 0
    status, out, err = call("--mode=codec")
    assert (status, out) == (2, "")
    assert "export/codec: is there already; --force overwrites it" in err
    before = Bundle.read("runs/small/export/codec").digest
    assert call("--mode=codec", "--force", "--quantizer=naive")[0] == 0
    assert Bundle.read("runs/small/export/codec").digest != before
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("dear")
    status, _, err = call("--mode=codec", "--save_path=mine", "--force")
    assert status == 2
    assert "mine: is not an exported model" in err
    assert [path.name for path in Path("mine").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("quantizer", ["float32", "naive", "min-max", "k-means"])
def test_a_quantizer_may_be_named(run, call, quantizer):
    assert call("--mode=codec", f"--quantizer={quantizer}", "--save_path=out/codec")[0] == 0
    coder = Bundle.read("out/codec").manifest.coder
    assert coder.kind == ("stored" if quantizer == "float32" else "quantized")
    assert coder.quantizer == (None if quantizer == "float32" else quantizer)
    assert not (run.path / "export").exists()


def test_weights_of_half_precision(run, call):
    assert call("--mode=codec", "--weights=float16", "--save_path=half")[0] == 0
    assert call("--mode=codec", "--weights=float32", "--save_path=whole")[0] == 0
    half, whole = Bundle.read("half").arrays(WEIGHTS), Bundle.read("whole").arrays(WEIGHTS)
    assert {each.dtype for each in half.values()} == {np.dtype("float16")}
    assert {each.dtype for each in whole.values()} == {np.dtype("float32")}


def test_ranges_are_measured_on_another_data_set(run, call, workdir):
    for number in range(4):
        folder = workdir / "dark" / "train"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo(8, 8, 1, number)[..., 0] // 8).save(folder / f"{number}.png")
    assert call("--mode=codec", "--save_path=all")[0] == 0
    assert call("--mode=codec", "--dataset=dark", "--tfds=false", "--save_path=dark_codec")[0] == 0
    spans = []
    for folder in ("all", "dark_codec"):
        arrays = Bundle.read(folder).arrays(CODER)
        spans.append((arrays["high"] - arrays["low"]).mean())
    assert spans[1] < spans[0] / 2


def test_weights_may_be_named_and_stand_anywhere(run, call, workdir):
    weights = workdir / "best.weights.h5"
    weights.write_bytes(run.best.read_bytes())
    spec = workdir / "spec.json"
    spec.write_bytes(run.spec.read_bytes())
    arguments = [f"--ckpt_path={weights}", f"--model={spec}", "--save_path=codec"]
    assert call("--mode=codec", *arguments)[0] == 0
    assert Bundle.read("codec").manifest.name == "Tiny_Codec"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mode=codec", "--format=onnx"], "--format: has no meaning with --mode codec"),
        (["--mode=codec", "--size=8,8"], "--size: has no meaning with --mode codec"),
        (["--quantizer=naive"], "--quantizer: has no meaning with --mode encoder-decoder"),
        (["--mode=full", "--weights=float16"], "--weights: has no meaning with --mode full"),
        (["--dataset=digits"], "--dataset: has no meaning with --mode encoder-decoder"),
        (["--tfds=true"], "--tfds: has no meaning with --mode encoder-decoder"),
        (["--mode=codec", "--quantizer=jpeg"], "invalid choice: 'jpeg'"),
        (["--mode=codec", "--weights=int8"], "invalid choice: 'int8'"),
        (["--mode=codec", "--tfds=maybe"], 'found "maybe", expected true or false'),
        (["--mode=codec", "--save_path=a,b"], "2 paths; mode codec takes one path"),
        (["--mode=codec", "--ckpt_path=nowhere"], "nowhere: no such checkpoint"),
        (["--mode=codec", "--dataset=nowhere"], "nowhere"),
        (["--mode=codec", "--latent_dims=9"], "has no effect"),
        (["--mode=codek"], "invalid choice: 'codek'"),
    ],
)
def test_mistakes_are_named(run, call, arguments, message):
    status, _, err = call(*arguments)
    assert status == 2
    assert message in err
    assert "Traceback" not in err
    assert not (run.path / "export").exists()


def test_a_hyper_decoder_without_a_form_in_whole_numbers_is_named(run, call):
    other = finished_run(hyperprior("elu"), "runs/other")
    status, _, err = call("--mode=codec")
    assert status == 2
    place = "model.layers.generator.layers.hyper_decoder.layers[0].Conv2DTranspose"
    assert err.startswith(f"exporter.py: {place}: has no form in whole numbers")
    assert err.count("\n") == 1
    assert not (other.path / "export").exists()


def test_a_hyperprior_is_told_what_whole_numbers_cost(run, call):
    finished_run(hyperprior("relu"), "runs/other")
    status, out, _ = call("--mode=codec", "--quantizer=naive")
    assert status == 2
    status, out, _ = call("--mode=codec")
    assert status == 0
    assert "whole      the hyper decoder in whole numbers costs " in out
    assert json.loads(Path("runs/other/export/codec/bundle.json").read_text())["version"] == 1


def test_the_generator_of_a_run_is_the_one_in_its_bundle(run, call):
    assert call("--mode=codec", "--quantizer=float32")[0] == 0
    spec = parse_spec(copy.deepcopy(TREES["dense"]))
    weights = Bundle.read("runs/small/export/codec").arrays(WEIGHTS)
    assert {name.split("/")[0] for name in weights} == {"encoder", "decoder"}
    shapes = sorted(each.shape for each in generator_of(spec).get_weights())
    assert sorted(each.shape for each in weights.values()) == shapes
