"""study.py as a user calls it, with models and pictures of some pixels."""

import copy
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import study
from builders import study_training
from builders.cli import run_command
from builders.splits import stable_split
from evaluation import benchmark_figures
from tests.codec_models import TREES, photo

ROOT = Path(__file__).resolve().parents[2]
BLANK = np.zeros((8, 8, 3), np.uint8)
FLAGS = ("--test_images=3", "--timed_images=0")


def dense_tree():
    """Gray pictures of 8x8, latents without entropy model."""
    tree = copy.deepcopy(TREES["dense"])
    tree["dataset"] = {"name": "tiles", "test_fraction": 0.3}
    tree["training"] = {"metrics": [], "epochs": 1, "batch_size": 8}
    return tree


@pytest.fixture(scope="module")
def specs(tiny_tree):
    """Name of a spec file -> its tree."""
    tiny = tiny_tree()
    tiny["training"]["epochs"] = 2
    tiny["dataset"] = {"test_fraction": 0.3}  # of the digits, if no flag said otherwise
    other = dense_tree()
    other["loss"] = [{"MSE": {"weight": 1e38, "scale": 255}}]  # no float32
    color = copy.deepcopy(TREES["scale"])
    color["training"] = {"metrics": [], "epochs": 1, "batch_size": 4}
    color["dataset"] = {"name": "photos", "crop": [16, 16], "test_fraction": 0.3}
    color["loss"] = [{"MSE": {}}, {"BitsPerPixel": {"weight": 0.01}}]
    return {"tiny": tiny, "dense": dense_tree(), "wild": other, "color": color}


@pytest.fixture(scope="module")
def machine(tmp_path_factory, specs):
    """Calls study.py in a folder with the specs; returns exit status, output and errors."""
    folder = tmp_path_factory.mktemp("study")
    for name, tree in specs.items():
        (folder / f"{name}.json").write_text(json.dumps(tree), encoding="utf-8")
    (folder / "tiles").mkdir()
    for place in range(30):
        Image.fromarray(photo(8, 8, 1, seed=place)[..., 0]).save(folder / f"tiles/{place}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", keras.backend.backend())
        patch.setattr(benchmark_figures, "rate_distortion", lambda *_: BLANK)  # takes its time
        patch.chdir(folder)
        yield Machine(folder, patch)


class Machine:
    def __init__(self, folder, patch):
        self.folder = folder
        self.patch = patch

    def run(self, capsys, *words, output="out"):
        words = ["study.py", f"--output={output}", *map(str, words)]
        self.patch.setattr(sys, "argv", words)
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            run_command(study.main)
        told = capsys.readouterr()
        return stop.value.code, told.out, told.err.lstrip("\n")


@pytest.fixture
def call(machine, capsys, monkeypatch):
    monkeypatch.chdir(machine.folder)
    return lambda *words, output="out": machine.run(capsys, *words, output=output)


WHOLE = {
    "models": ["tiny.json", "dense.json"],
    "dataset": "tiles",
    "tfds": False,
    "set": ["training.batch_size=4"],
    "quantizers": ["min-max", "k-means"],
    "codecs": "jpeg-420",
    "codec_settings": ["jpeg-420=90,20"],
    "test_images": 3,
    "timed_images": 1,
    "repeats": 2,
}
"""What most tests look at, as a file of flags."""


@pytest.fixture(scope="module")
def done(machine, capsys_once):
    """The study of `WHOLE`, done once. Read only."""
    (machine.folder / "flags.json").write_text(json.dumps(WHOLE), encoding="utf-8")
    detail = f"{first_image(machine.folder)}=1,2,3,4"
    result = machine.run(capsys_once, "--config=flags.json", "--detail", detail)
    return machine.folder / "out", result


def first_image(folder):
    """Name of the first test image."""
    names = sorted(path.name for path in (folder / "tiles").iterdir())
    return next(name for name in names if stable_split(names, 0.1, 0.3)[name] == "test")


@pytest.fixture(scope="module")
def capsys_once():
    """A stand-in for `capsys`, which lives for one test."""

    class Nothing:
        @staticmethod
        def readouterr():
            return type("Told", (), {"out": "", "err": ""})

    return Nothing()


def rows_of(folder):
    return json.loads((folder / "models.json").read_text(encoding="utf-8"))["rows"]


def test_everything_is_trained_exported_and_measured(done):
    folder, (code, _, _) = done
    assert code == 0
    names = {path.name for path in folder.iterdir()}
    assert names >= {"results.json", "results.md", "index.html", "models.json", "models.md"}
    assert names >= {"samples.png", "detail.png", "tiny", "dense"}
    for name in ("tiny", "dense"):
        assert (folder / name / "run" / "report.json").exists()
        for quantizer in ("min-max", "k-means"):
            bundle = json.loads((folder / name / f"codec-{quantizer}" / "bundle.json").read_text())
            assert bundle["coder"]["quantizer"] == quantizer
    spec = json.loads((folder / "tiny" / "run" / "spec.json").read_text())
    assert spec["training"]["batch_size"] == 4 and spec["training"]["epochs"] == 2
    found = [(row["model"], row["quantization"], row["setting"]) for row in rows_of(folder)]
    assert found == [
        ("tiny", "min-max", None),
        ("tiny", "k-means", None),
        ("dense", "min-max", None),
        ("dense", "k-means", None),
        (None, None, 20),
        (None, None, 90),
    ]


def test_rows_are_of_whole_files_and_gray_pixels(done):
    folder, _ = done
    results = json.loads((folder / "results.json").read_text())
    by_name = {codec["name"]: codec for codec in results["codecs"]}
    for row in rows_of(folder):
        place = 1 if row["setting"] == 90 else 0
        pictures = by_name[row["codec"]]["pictures"].values()
        points = [each["points"][place] for each in pictures]
        assert len(points) == 3
        sizes = [point["bytes"] for point in points]
        assert row["bytes"] == pytest.approx(np.mean(sizes))
        assert row["ratio"] == pytest.approx(3 * 64 / sum(sizes))  # one byte a pixel, 8x8
        assert row["bpp"] == pytest.approx(8 * np.mean(sizes) / 64)
        errors = [10 ** (-point["psnr_rgb_db"] / 10) for point in points]
        assert row["mse"] == pytest.approx(np.mean(errors))
        assert row["psnr_db"] == pytest.approx(np.mean([p["psnr_rgb_db"] for p in points]))
        assert row["encode_ms"] > 0 and row["decode_ms"] > 0  # every setting is timed
    tiny, dense = rows_of(folder)[0], rows_of(folder)[2]
    report = json.loads((folder / "tiny" / "run" / "report.json").read_text())
    assert tiny["epochs"] == 2 and dense["epochs"] == 1
    assert tiny["training_minutes"] == pytest.approx(report["seconds"] / 60)
    assert dense["parameters"] == 64 * 6 + 6 + 6 * 64 + 64
    bundle = folder / "dense" / "codec-min-max"
    assert dense["model_bytes"] == sum(file.stat().st_size for file in bundle.iterdir())


def test_the_table_and_the_pictures(done):
    folder, _ = done
    text = (folder / "models.md").read_text(encoding="utf-8")
    assert "3 pictures of the test split of `tiles`, 8x8 pixels" in text
    assert "1 channel of 8 bits" in text
    assert re.search(r"\| dense \| - \| k-means \| 1 \| [\d.]+ \| 838 \| 0\.0\d\d \| ", text)
    assert re.search(r"\| JPEG 4:2:0 \| quality 20 \| - \| - \| - \| - \| - \| ", text)
    with Image.open(folder / "samples.png") as samples, Image.open(folder / "detail.png") as detail:
        assert samples.height > 3 * 96 and samples.width > 6 * 96  # three rows, six columns
        assert detail.height > 240 and detail.width > 6 * 320
        pixels = np.asarray(detail)
    enlarged = -(-320 // 4)  # of 3x4 pixels; every pixel is a square of one colour
    row = pixels[20, :, 0].astype(int)
    edges = np.flatnonzero(np.diff(row))
    assert (np.diff(edges) >= enlarged).sum() >= 3


def test_a_second_start_trains_nothing_and_says_the_same(done, call, monkeypatch):
    folder, _ = done
    table = (folder / "models.md").read_text(encoding="utf-8")
    rows = rows_of(folder)
    monkeypatch.setattr(study_training, "train", lambda *_: pytest.fail("trained again"))
    monkeypatch.setattr("builders.study_codecs.write_codec", lambda *_: pytest.fail("made again"))
    code, out, err = call("--config=flags.json")
    assert (code, err) == (0, "")
    assert "taken      out/tiny/run, trained for 2 epochs on tiles" in out
    assert (folder / "models.md").read_text(encoding="utf-8") == table
    assert rows_of(folder) == rows
    assert not (folder / "detail.png").exists()  # none was asked for this time


def test_another_spec_in_the_folder_is_refused(done, call, monkeypatch):
    monkeypatch.setattr(study_training, "train", lambda *_: pytest.fail("trained"))
    code, out, err = call("--config=flags.json", "--set", "training.batch_size=2")
    assert (code, out) == (2, "")
    assert err.startswith("study.py: out/tiny/run: holds a run of another spec than tiny.json")
    assert "  training.batch_size: 2 here, 4 there\n" in err


def test_a_data_set_that_has_moved(done, call, monkeypatch):
    folder, _ = done
    monkeypatch.setattr(study_training, "train", lambda *_: pytest.fail("trained again"))
    shutil.copytree(folder, "moved")
    words = ["--config=flags.json", f"--dataset={folder.parent / 'tiles'}"]
    code, out, _ = call(*words, output="moved")
    assert code == 0 and "taken      moved/tiny/run, trained for 2 epochs on tiles" in out
    code, _, err = call(*words, "--epochs=3", output="moved")  # to train on, it has to be the same
    assert code == 2
    assert re.search(r"\n  dataset\.name: .* here, \"tiles\" there\n", err)


def test_more_epochs_go_on_with_the_run_and_make_new_codecs(call):
    words = ["--models=dense.json", "--codecs=none", *FLAGS]
    assert call(*words, output="more")[0] == 0
    (before,) = rows_of(Path("more"))
    first = json.loads(Path("more/dense/codec-min-max.json").read_text())
    code, out, _ = call(*words, "--epochs=2", output="more")
    assert code == 0 and "resumed    at epoch 2, step 1" in out
    (after,) = rows_of(Path("more"))
    assert (before["epochs"], after["epochs"]) == (1, 2)
    assert before["codec"] == after["codec"] == "dense"  # one quantizer needs no name
    assert json.loads(Path("more/dense/codec-min-max.json").read_text()) != first
    Path("more/dense/run/report.json").unlink()  # as if it had been stopped before its end
    code, out, _ = call(*words, "--epochs=2", output="more")
    assert code == 0 and "nothing to do: 2 of 2 epochs are done" in out
    assert rows_of(Path("more")) == [after]
    code, out, _ = call(*words, output="more")  # fewer than there are: it is taken as it is
    assert code == 0 and "taken      more/dense/run, trained for 2 epochs on tiles" in out


def test_training_anew(call):
    words = ["--models=dense.json", "--codecs=none", *FLAGS]
    Path("anew/dense/run").mkdir(parents=True)
    Path("anew/dense/run/spec.json").write_text(json.dumps(dense_tree()), encoding="utf-8")
    assert call(*words, output="anew")[0] == 0  # killed before its first state was saved
    code, out, _ = call(*words, "--set=training.batch_size=2", "--retrain", output="anew")
    assert code == 0 and "run        anew/dense/run" in out
    spec = json.loads(Path("anew/dense/run/spec.json").read_text())
    assert spec["training"]["batch_size"] == 2


def test_a_spec_that_fails_does_not_stop_the_others(call):
    code, out, err = call(
        "--models", "wild.json", "dense.json", "--codecs=none", *FLAGS, output="f"
    )
    assert code == 1
    assert err.startswith("study.py: wild: the loss is ")
    assert [row["model"] for row in rows_of(Path("f"))] == ["dense"]
    assert "table f/models.md" in out
    text = Path("f/models.md").read_text(encoding="utf-8")
    assert re.search(r"## Failures\n\n- wild: the loss is ", text)
    code, _, err = call("--models=wild.json", "--codecs=none", *FLAGS, output="alone")
    assert code == 1
    assert err.endswith("study.py: no spec could be trained: there is nothing to measure\n")


def test_a_study_that_is_stopped_says_how_to_go_on(call, monkeypatch):
    stopped = type("Run", (), {"status": 130})
    monkeypatch.setattr(study_training, "train", lambda *_: stopped)
    code, out, _ = call("--models=dense.json", *FLAGS, output="stopped")
    assert code == 130
    assert out.endswith("the same command goes on with the study\n")


def test_images_of_ones_own_and_an_entropy_model(call):
    for place in range(12):
        path = Path("photos") / f"{place}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(photo(24, 32, seed=place)).save(path)
    words = ["--models=color.json", "--dataset=photos", "--codecs=jpeg-420", "--timed_images=0"]
    words += ["--quality=60,30"]
    code, _, err = call(*words, "--test=photos/3.png", "--detail=3.png=0,0,8,8", output="own")
    assert (code, err) == (0, "")
    study_of = json.loads(Path("own/models.json").read_text())
    assert study_of["test_images"]["pictures"] == [{"name": "3.png", "height": 24, "width": 32}]
    model, finer, *_ = study_of["rows"]
    assert (model["quantization"], model["encode_ms"]) == ("hyperprior", None)
    assert [round(row["setting"]) for row in (model, finer)] == [30, 60]
    assert model["bytes"] < finer["bytes"] and model["model"] == finer["model"] == "color"
    table = Path("own/models.md").read_text(encoding="utf-8")
    assert re.search(r"\| color \| quality 60[.\d]* \| hyperprior \| 1 \|", table)
    assert Path("own/color/codec/bundle.json").exists()
    assert model["ratio"] == pytest.approx(24 / model["bpp"])
    code, _, err = call(*words, "--quantizers=naive", output="own")
    assert code == 2
    assert "--quantizers naive: every spec has an entropy model" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the following arguments are required: --models"),
        (["--models=none.json"], "none.json: can't be read"),
        (["--models", "dense.json", "./dense.json"], "has the same name"),
        (["--models=dense.json", "--quantizers=min-max,kmeans"], 'found "kmeans", expected some'),
        (["--models=dense.json", "--detail=a=1,2,3"], "expected IMAGE=TOP,LEFT,HEIGHT,WIDTH"),
        (["--models=dense.json", "--detail=a=1,2,3,0"], "expected IMAGE=TOP,LEFT,HEIGHT,WIDTH"),
        (["--models=dense.json", "--detail=x.png=1,2,3,4"], "not among the test images"),
        (["--models=dense.json", "--detail", "FIRST=6,0,3,1"], "reaches beyond the image, 8x8"),
        (["--models=dense.json", "--codecs=jpg"], '--codecs jpg: no such codec; did you mean "jp'),
        (["--models=dense.json", "--codec_settings=jpeg-420=0"], "found 0, expected quality from"),
        (["--models=dense.json", "--test=nowhere"], "--test nowhere: no such folder or image"),
        (["--models=dense.json", "--epochs=0"], "expected a whole number >= 1"),
        (["--models=dense.json", "--set=dataset.test_fraction=0"], "its test split has no images"),
        (["--models", "dense.json", "color.json"], "different channels: dense 1, color 3"),
        (["--models=dense.json", "--tests=a"], 'argument --tests; did you mean "--test"?'),
        (["--models=dense.json", "--output=dense.json"], "--output dense.json: is a file"),
    ],
)
def test_mistakes_cost_no_training(call, monkeypatch, words, message):
    monkeypatch.setattr(study_training, "train", lambda *_: pytest.fail("trained"))
    words = [word.replace("FIRST", first_image(Path())) for word in words]
    code, out, err = call(*words, output="mistakes")
    assert (code, out) == (2, "")
    assert message in err and err.startswith("study.py: ")
    assert not Path("mistakes").exists()


def test_specs_that_see_other_images_are_refused(call, monkeypatch, tiny_tree):
    monkeypatch.setattr(study_training, "train", lambda *_: pytest.fail("trained"))
    tree = tiny_tree()
    tree["dataset"] = {"name": "tiles", "test_fraction": 0.3, "max_images": 2}
    Path("fewer.json").write_text(json.dumps(tree), encoding="utf-8")
    code, _, err = call("--models", "dense.json", "fewer.json", "--codecs=none", output="other")
    assert code == 2
    lines = err.splitlines()
    assert lines[0].startswith("study.py: the specs see different test images")
    assert re.fullmatch(r"  dense: \d+ images from .* on, 8x8 \(height x width\)", lines[1])
    assert re.fullmatch(r"  fewer: 2 images from .* on, 8x8 \(height x width\)", lines[2])


def test_a_name_that_a_codec_has_is_refused(call):
    Path("jpeg-420.json").write_text(json.dumps(dense_tree()), encoding="utf-8")
    code, _, err = call("--models=jpeg-420.json", output="named")
    assert code == 2
    assert "would be called jpeg-420, as is the codec jpeg-420; rename the file" in err


def test_help_is_quick_and_names_all_flags():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "study.py", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert not re.search(r"\b(numpy|keras|PIL)\b", done.stderr)
    for flag in (*WHOLE, "output", "quality", "epochs", "test", "detail", "config", "retrain"):
        assert f"--{flag} " in done.stdout
