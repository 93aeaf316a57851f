"""Training where TensorFlow is not installed, and its weights under TensorFlow.

The environment is made from requirements-jax.txt, which takes minutes and the network.
CODECSMITH_JAX_PYTHON names the Python of one that is there already.
"""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from builders.codec_choice import PRETRAINED
from builders.codec_transforms import bundle_transforms
from codec.bundle import Bundle
from codec.image_codec import ImageCodec
from tests.codec_models import conv, photo, spec_tree

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.jax,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        keras.backend.backend() != "tensorflow", reason="compares JAX with TensorFlow"
    ),
]


@pytest.fixture(scope="module")
def python(jax_python):
    """The Python of an environment without TensorFlow."""
    return jax_python


def run(python, folder, *arguments):
    """Runs Python in a folder, with nothing in its environment that would choose a backend."""
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    return subprocess.run(
        [python, *map(str, arguments)],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


ADVERSARY = {
    "layers": [
        {"Flatten": {}},
        {"SpectralNormalization": {"layer": {"Dense": {"units": 8, "activation": "relu"}}}},
        {"BatchNormalization": {}},
        {"Dropout": {"rate": 0.2}},
        {"Dense": {"units": 1}},
    ]
}


@pytest.fixture(scope="module")
def trained(python, tmp_path_factory, tiny_tree):
    """A folder with one run of two epochs, and one of one epoch that was gone on with."""
    folder = tmp_path_factory.mktemp("jax")
    tree = tiny_tree()
    tree["model"]["layers"]["discriminator"] = ADVERSARY
    tree["loss"].append({"Adversarial": {"weight": 0.01}})
    (folder / "tiny.json").write_text(json.dumps(tree))
    for flags in (
        ("--model", "tiny.json", "--epochs", "2", "--run_dir", "whole"),
        ("--model", "tiny.json", "--epochs", "1", "--run_dir", "cut"),
        ("--epochs", "2", "--run_dir", "cut", "--resume"),
    ):
        done = run(python, folder, ROOT / "train.py", *flags)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "jax backend" in done.stdout
    return folder


def test_tensorflow_is_not_there(python, tmp_path):
    done = run(python, tmp_path, "-c", "import tensorflow")
    assert done.returncode == 1
    assert "No module named 'tensorflow'" in done.stderr


def test_a_run_is_complete(trained):
    folder = trained / "whole"
    assert {path.name for path in folder.iterdir()} == {
        *("spec.json", "command.txt", "environment.json", "tensorboard", "metrics.csv"),
        *("checkpoints", "backup", "report.json", "samples.png", "curves.png"),
    }
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["keras_backend"] == "jax"
    assert environment["packages"]["tensorflow"] is None
    assert len(list((folder / "tensorboard").iterdir())) == 1


def rows(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return [
            {name: value for name, value in row.items() if not name.startswith("time/")}
            for row in csv.DictReader(file)
        ]


def test_a_resumed_run_ends_like_one_in_a_piece(trained):
    assert rows(trained / "cut") == rows(trained / "whole")
    assert len(rows(trained / "cut")) == 2
    first = rows(trained / "cut")[0]
    assert "discriminator_loss" in first
    for name in ("gradient_norm", "discriminator_gradient_norm"):
        assert float(first[f"{name}/largest"]) >= float(first[f"{name}/mean"]) > 0


def test_a_codec_run_logs_both_parts_of_its_rate_and_its_tiles(python, tmp_path):
    tree = spec_tree(
        (None, None, 3),
        [conv(4, 5, 8)],
        [conv(3, 5, 8, transposed=True)],
        ([conv(2, 1)], [conv(4, 1)]),
        entropy_model={"ScaleHyperprior": {}},
    )
    tree["loss"] = [{"BitsPerPixel": {}}, {"MSE": {"scale": 255, "weight": 0.01}}]
    tree["dataset"] = {"name": "pictures"}
    tree["training"] = {"epochs": 1, "batch_size": 4}
    (tmp_path / "codec.json").write_text(json.dumps(tree))
    (tmp_path / "pictures").mkdir()
    for index in range(12):
        picture = Image.fromarray(photo(16, 16, seed=index))
        picture.save(tmp_path / "pictures" / f"{index}.png")
    done = run(python, tmp_path, ROOT / "train.py", "--model", "codec.json", "--run_dir", "run")
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = rows(tmp_path / "run")
    parts = float(row["val_bpp_latents"]) + float(row["val_bpp_hyper_latents"])
    assert float(row["val_bits_per_pixel"]) == pytest.approx(parts, rel=1e-5)
    assert float(row["rate_distortion/bpp"]) > 0 and float(row["rate_distortion/psnr_db"]) > 0
    assert Image.open(tmp_path / "run" / "rate_distortion.png").size[0] > 500


PREDICT = """
import sys
from pathlib import Path
from builders.backend import choose_backend
choose_backend()
import numpy as np
from builders.checkpoint import load_weights
from builders.spec import load_spec
from builders.training import build_compressor

run = Path(sys.argv[1])
spec = load_spec(run / "spec.json", {"training.seed": 9})
model, _, _ = build_compressor(spec)
load_weights(model, spec, run / "checkpoints" / "best.weights.h5")
x = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 1), dtype=np.uint8)
outputs = model.predict_on_batch(x)
logits, _ = model.discriminator(outputs["x_hat"])
np.savez(sys.argv[2], y=outputs["y"], x_hat=outputs["x_hat"], logits=np.asarray(logits))
"""


def test_its_weights_mean_the_same_under_tensorflow(python, trained, tmp_path):
    found = {}
    for name, each in {"jax": python, "tensorflow": sys.executable}.items():
        path = tmp_path / f"{name}.npz"
        done = run(each, tmp_path, "-c", PREDICT, trained / "whole", path)
        assert done.returncode == 0, done.stderr
        found[name] = dict(np.load(path))
    for key in ("y", "x_hat", "logits"):
        a, b = found["jax"][key], found["tensorflow"][key]
        assert np.ptp(a) > 1e-3
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_a_backend_that_is_not_installed_is_named(python, tmp_path):
    code = (
        "import os; os.environ['KERAS_BACKEND'] = 'tensorflow'; import sys; sys.argv = ['train.py'];"
        "import train; from builders.cli import run_command; run_command(train.main)"
    )
    done = run(python, ROOT, "-c", code)
    assert done.returncode == 2
    assert done.stderr == (
        "train.py: tensorflow is not installed: pip install -r requirements.txt\n"
    )


def test_an_encoder_looks_again(python, tmp_path):
    Image.fromarray(photo(96, 128)).save(tmp_path / "a.png")
    sizes = []
    for effort in ("0", "2"):
        flags = ["--model", "photo_fast", "--quality", "60", "--effort", effort, "--force"]
        done = run(python, tmp_path, ROOT / "compress.py", "a.png", *flags)
        assert (done.returncode, done.stderr) == (0, "")
        sizes.append((tmp_path / "a.nic").stat().st_size)
    assert sizes[0] != sizes[1]
    # Written under JAX, read under TensorFlow: its symbols have a checksum.
    bundle = Bundle.read(PRETRAINED / "photo_fast")
    codec = ImageCodec(bundle, lambda: bundle_transforms(bundle))
    pixels = codec.decompress((tmp_path / "a.nic").read_bytes()).pixels
    assert np.mean((pixels.astype(float) - photo(96, 128)) ** 2) < 100
