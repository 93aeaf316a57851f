"""inference.py as a user calls it, with small ONNX models."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import inference
from architectures.autoencoder import Decoder, Encoder, Generator
from architectures.deployment import deployed_parts
from architectures.layers import DepthToSpace, SpaceToDepth
from builders.cli import run_command
from builders.export_images import plan_jobs, psnr_db
from builders.export_writers import write_model

ROOT = Path(__file__).resolve().parents[2]


def write_pair(folder, shape):
    """Encoder and decoder that give back pixels whose height and width are multiples of 4."""
    generator = Generator(Encoder([SpaceToDepth(4)]), Decoder([DepthToSpace(4)]))
    generator.build((None, *shape))
    encoder, decoder, _ = deployed_parts(generator, shape)
    folder.mkdir()
    write_model(encoder, "onnx", folder / "encoder.onnx")
    write_model(decoder, "onnx", folder / "decoder.onnx")
    return folder


@pytest.fixture(scope="module")
def free_model(tmp_path_factory):
    return write_pair(tmp_path_factory.mktemp("models") / "free", (None, None, 3))


@pytest.fixture(scope="module")
def darkening_model(tmp_path_factory):
    """Takes 8x12 gray images and gives them back 2 levels darker."""
    keras.utils.set_random_seed(0)
    bias = keras.initializers.Constant(-2 / 255)
    shift = layers.Conv2D(1, 1, kernel_initializer="ones", bias_initializer=bias)
    generator = Generator(Encoder([layers.Identity()]), Decoder([shift]))
    generator.build((None, 8, 12, 1))
    path = tmp_path_factory.mktemp("models") / "dark.onnx"
    write_model(deployed_parts(generator, (8, 12, 1))[2], "onnx", path)
    return path


def save(path, height, width, channels=3, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(20, 256, (height, width, channels), np.uint8)
    Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels).save(path)
    return pixels


def call(monkeypatch, capsys, *arguments):
    """Exit status, standard output, standard error."""
    monkeypatch.setattr(sys, "argv", ["inference.py", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        run_command(inference.main)
    told = capsys.readouterr()
    return stop.value.code, told.out, told.err


def flags(model, data, out):
    return ["--model", model, "--path_to_data", data, "--save_dir", out]


def test_a_folder_of_all_sizes(free_model, tmp_path, monkeypatch, capsys):
    data, out = tmp_path / "data", tmp_path / "out"
    sizes = {"a.png": (8, 12), "b.png": (8, 12), "sub/c.bmp": (7, 13), "d.png": (1, 1)}
    pixels = {
        name: save(data / name, *size, seed=seed) for seed, (name, size) in enumerate(sizes.items())
    }
    (data / "note.txt").write_text("not an image")
    status, told, err = call(monkeypatch, capsys, *flags(free_model, data, out))
    assert (status, err) == (0, "")
    assert f"4 regenerated, in {out}" in told
    assert "all came back unchanged" in told
    written = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*"))
    assert written == ["a.png", "b.png", "d.png", "sub/c.png"]
    for name, original in pixels.items():
        got = np.asarray(Image.open((out / name).with_suffix(".png")))
        np.testing.assert_array_equal(got, original)


def test_psnr_is_that_of_what_was_written(darkening_model, tmp_path, monkeypatch, capsys):
    save(tmp_path / "x.png", 8, 12, 1)
    status, told, _ = call(
        monkeypatch, capsys, *flags(darkening_model, tmp_path / "x.png", tmp_path / "out")
    )
    assert status == 0
    before, after = (Image.open(path) for path in (tmp_path / "x.png", tmp_path / "out" / "x.png"))
    gap = np.asarray(before).astype(int) - np.asarray(after)
    assert (gap == 2).all()
    assert f"{20 * np.log10(255 / 2):.2f} dB on average" in told
    assert "ms an image" in told


def test_what_does_not_fit_is_named_and_the_rest_is_done(
    darkening_model, tmp_path, monkeypatch, capsys
):
    data, out = tmp_path / "data", tmp_path / "out"
    save(data / "fits.png", 8, 12, 1)
    save(data / "large.png", 16, 24, 1)
    (data / "broken.png").write_bytes(b"\x89PNG no more")
    (data / "empty.jpg").write_bytes(b"")
    status, told, err = call(monkeypatch, capsys, *flags(darkening_model, data, out))
    assert status == 1
    assert "large.png: is 24x16 pixels, the model takes 12x8: --resize true" in err
    assert "broken.png: " in err
    assert "empty.jpg: is empty" in err
    assert "left out   3 of 4 files" in told
    assert [path.name for path in out.iterdir()] == ["fits.png"]
    status, told, err = call(
        monkeypatch, capsys, *flags(darkening_model, data, out), "--resize=true", "--force"
    )
    assert status == 1
    assert "large.png" not in err
    assert "2 regenerated" in told
    assert "against the scaled images" in told
    assert Image.open(out / "large.png").size == (12, 8)


def test_nothing_is_overwritten_without_force(free_model, tmp_path, monkeypatch, capsys):
    data, out = tmp_path / "data", tmp_path / "out"
    save(data / "a.png", 4, 4)
    out.mkdir()
    (out / "a.png").write_text("mine")
    status, _, err = call(monkeypatch, capsys, *flags(free_model, data, out))
    assert (status, (out / "a.png").read_text()) == (2, "mine")
    assert "is there already; --force overwrites" in err
    status, _, err = call(monkeypatch, capsys, *flags(free_model, data, data), "--force")
    assert status == 2
    assert "would replace an original" in err


def test_images_that_only_their_suffix_tells_apart_keep_it(tmp_path):
    names = ["a.bmp", "a.png", "a.png.bmp", "b.bmp", "sub/a.bmp"]
    for name in names:
        save(tmp_path / "data" / name, 2, 2)
    jobs = plan_jobs(tmp_path / "data", tmp_path / "out", force=False)
    targets = {
        job.source.relative_to(tmp_path / "data").as_posix(): job.target.relative_to(
            tmp_path / "out"
        ).as_posix()
        for job in jobs
    }
    assert targets == {
        "a.bmp": "a.bmp.png",
        "a.png": "a.png-2.png",  # a.png.png is what a.png.bmp becomes
        "a.png.bmp": "a.png.png",
        "b.bmp": "b.png",
        "sub/a.bmp": "sub/a.png",
    }


def test_what_was_written_before_is_not_read_again(tmp_path):
    save(tmp_path / "a.png", 2, 2)
    save(tmp_path / "out" / "a.png", 2, 2)
    jobs = plan_jobs(tmp_path, tmp_path / "out", force=True)
    assert [job.source for job in jobs] == [tmp_path / "a.png"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--model": "nowhere"}, "nowhere: no such model"),
        ({"--model": "data"}, "data: not an exported model"),
        ({"--model": "data/a.png"}, "data/a.png: not an exported model"),
        ({"--path_to_data": "dat"}, 'dat: no such file or folder; did you mean "data"?'),
        ({"--path_to_data": "empty"}, "empty: no images in this folder"),
        ({"--save_dir": "data/a.png"}, "data/a.png: is a file, not a folder"),
        ({"--batch_size": "0"}, "expected a whole number >= 1"),
    ],
)
def test_mistakes_are_named(free_model, tmp_path, monkeypatch, capsys, changes, message):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "data" / "a.png", 4, 4)
    (tmp_path / "empty").mkdir()
    given = {"--model": free_model, "--path_to_data": "data", "--save_dir": "out", **changes}
    status, _, err = call(monkeypatch, capsys, *(item for pair in given.items() for item in pair))
    assert status == 2
    assert message in err
    assert not (tmp_path / "out").exists()


def test_psnr_against_its_formula():
    x = np.zeros((2, 2, 3), np.uint8)
    assert psnr_db(x, x) == float("inf")
    assert psnr_db(x, x + np.uint8(255)) == 0
    y = x.copy()
    y[0, 0, 0] = 6
    assert psnr_db(x, y) == pytest.approx(10 * np.log10(255**2 / (36 / 12)))


def test_an_onnx_model_needs_neither_keras_nor_tensorflow(free_model, tmp_path):
    save(tmp_path / "a.png", 4, 4)
    code = (
        "import sys, inference\n"
        "status = inference.main(sys.argv[1:])\n"
        "heavy = {'keras', 'tensorflow', 'jax'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else status)"
    )
    arguments = map(str, flags(free_model, tmp_path / "a.png", tmp_path / "out"))
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "a.png").is_file()
