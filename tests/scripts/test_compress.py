"""compress.py as a user calls it, with tiny codecs."""

import io
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

import compress
from builders import codec_choice, coding_flags
from builders.cli import run_command
from builders.codec_choice import find_bundle, quality_index, quality_of
from builders.errors import UserError
from codec.bundle import CODER, TABLES
from codec.container import NicFile, read_info
from codec.header import Mode
from codec.manifest import MANIFEST
from codec.picture import Picture
from codec.tiling import Tiling
from tests.codec.hand_made import changed, replaced
from tests.codec_models import photo, write_files

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def call(call_script):
    """Runs compress.py; returns exit status, standard output and standard error."""
    return partial(call_script, compress)


def save(path, height=20, width=30, channels=3, **options):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = photo(height, width, channels)
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(path, **options)
    return pixels


def files_in(folder="."):
    return sorted(str(path) for path in Path(folder).rglob("*") if path.is_file())


def one_line(text, *parts):
    """Whether this is one line of compress.py with these parts, and no traceback."""
    assert text.startswith("compress.py: ")
    assert text.count("\n") == 1
    assert text.isprintable() or text[:-1].isprintable()
    for part in parts:
        assert part in text
    return True


# --- what goes where ---------------------------------------------------------------------------


def test_an_image_becomes_a_file_beside_it(call, models):
    pixels = save("photo.png")
    status, out, err = call("photo.png")
    assert (status, err) == (0, "")
    data = Path("photo.nic").read_bytes()
    assert data == models["plain"].codec.compress(Picture(pixels))
    bpp = 8 * len(data) / 600
    assert out.startswith(f"photo.png -> photo.nic: {len(data):,} bytes, {bpp:.3f} bits per pixel")
    assert files_in() == ["photo.nic", "photo.png"]


def test_folders_files_and_broken_ones_together(call):
    save("in/a.png")
    save("in/deep/b.jpg")
    save("c.webp", 9, 5)
    Path("in/broken.png").write_bytes(b"no image")
    Path("in/note.txt").write_text("no image either")
    status, out, err = call("in", "c.webp", "-o", "out")
    assert status == 1
    assert one_line(err, "in/broken.png: is not an image of a known format")
    assert len(out.splitlines()) == 3
    assert files_in("out") == ["out/a.nic", "out/c.nic", "out/deep/b.nic"]


@pytest.mark.parametrize(("files", "workers", "shared"), [(3, 2, 2), (1, 2, 1), (3, 1, 1)])
def test_pictures_at_a_time_share_the_cores(call, monkeypatch, files, workers, shared):
    asked = []
    monkeypatch.setattr(coding_flags, "share_cores", asked.append)
    names = [f"{number}.png" for number in range(files)]
    for name in names:
        save(name)
    assert call(*names, f"--workers={workers}")[0] == 0
    assert asked == [shared]


def test_a_named_output(call):
    save("a.png")
    assert call("a.png", "-o", "deep/x.nic")[0] == 0
    assert call("a.png", "--output", "folder/")[0] == 0
    assert files_in() == ["a.png", "deep/x.nic", "folder/a.nic"]


@pytest.mark.parametrize("words", [["--force"], ["--force", "true"], ["--force=yes"]])
def test_nothing_is_overwritten_without_force(call, words):
    save("a.png")
    Path("a.nic").write_bytes(b"before")
    for no in ([], ["--force", "false"], ["--force=0"]):
        status, out, err = call("a.png", *no)
        assert (status, out) == (2, "")
        assert one_line(err, "a.nic: is there already; --force overwrites it")
        assert Path("a.nic").read_bytes() == b"before"
    assert call(*words, "a.png")[0] == 0
    assert read_info("a.nic").header.width == 30


def test_names_that_look_like_flags(call, models):
    pixels = save("--force.png")
    Path("-").write_bytes(Path("--force.png").read_bytes())
    bundle = ["--model", models["plain"].folder]
    assert call(*bundle, "--", "--force.png", model=None)[0] == 0
    assert call("./-", "-o", "x.nic")[0] == 0  # a file, not standard input
    expected = models["plain"].codec.compress(Picture(pixels))
    assert Path("--force.nic").read_bytes() == Path("x.nic").read_bytes() == expected


def test_names_may_stand_between_flags(call):
    for name in ("a.png", "b.png", "c.png"):
        save(name)
    status, out, _ = call("a.png", "--workers", "1", "b.png", "--force", "c.png", "-o", "out")
    assert status == 0
    assert len(out.splitlines()) == 3
    assert files_in("out") == ["out/a.nic", "out/b.nic", "out/c.nic"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["c.png"], "c.png: no such file or folder"),
        (["empty"], "empty: no files in it to work on"),
        (["a.png", "a.png", "b.png", "-o", "a.png"], "-o a.png: is a file; it takes a folder"),
        (["a.png", "-o", "a.png", "--force"], "a.png: would be written over its own source"),
        (["a.png", "b.png", "-o", "-"], "-o -: standard output takes one file"),
        (["a.png", "--qualty", "5"], 'unknown argument --qualty; did you mean "--quality"?'),
        (["a.png", "--quality", "high"], 'found "high", expected a number'),
        (["a.png", "--quality", "5", "--target_bpp", "1"], "not allowed with argument --quality"),
        (["a.png", "--workers", "0"], 'found "0", expected a whole number >= 1'),
        (["a.png", "--tile", "-1"], 'found "-1", expected a whole number >= 0'),
        (["a.png", "--tile", "10"], "--tile 10: tiles of 10 pixels; 64 to 16384 are allowed"),
        (["a.png", "--tile", "99999"], "--tile 99999: tiles of 99999 pixels"),
        (["a.png", "--precision", "int8"], "invalid choice: 'int8'"),
        (["a.png", "--force", "perhaps.png"], "perhaps.png: no such file or folder"),
        (["a.png", "--quality", "50"], "--quality 50: this model has one quality"),
        (["a.png", "--target_bpp", "1"], "--target_bpp: Tiny_Codec has one quality"),
        (["a.png", "--effort", "1"], "--effort 1: Tiny_Codec has no entropy model"),
        (["a.png", "--effort=-1"], 'found "-1", expected a whole number >= 0'),
        (["x" * 5000], "File name too long"),
        ([], "the following arguments are required: IMAGE"),
    ],
)
def test_mistakes_are_named(call, arguments, message):
    save("a.png")
    save("b.png")
    Path("empty").mkdir()
    status, out, err = call(*arguments)
    assert (status, out) == (2, "")
    assert one_line(err, message)
    assert files_in() == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--quality", "0"], "--quality 0: expected 1 to 100"),
        (["--quality", "101"], "--quality 101: expected 1 to 100"),
        (["--quality", "nan"], "--quality nan: expected 1 to 100"),
        (["--target_bpp", "0"], "--target_bpp 0: expected a number above 0"),
        (["--target_bpp=-1"], "--target_bpp -1: expected a number above 0"),
        (["--target_bpp", "nan"], "--target_bpp nan: expected a number above 0"),
        (["--target_bpp", "inf"], "--target_bpp inf: expected a number above 0"),
    ],
)
def test_rates_that_are_none_are_named(call, arguments, message):
    save("a.png")
    status, _, err = call("a.png", *arguments, model="mean_scale")
    assert status == 2
    assert one_line(err, message)
    assert files_in() == ["a.png"]


# --- what is stored ----------------------------------------------------------------------------


def test_quality(call):
    save("a.png")
    found = []
    for quality in (None, "1", "51.1", "51", "100"):
        flags = [] if quality is None else ["--quality", quality]
        assert call("a.png", "--force", *flags, model="mean_scale")[0] == 0
        found.append(read_info("a.nic").header.quality)
    assert found == [128, 0, 129, 129, 255]
    for index in range(256):
        assert quality_index(quality_of(index, 256), 256) == index


def test_target_bpp(call):
    save("a.png", 32, 40)
    assert call("a.png", "--quality", "1", model="mean_scale")[0] == 0
    least = Path("a.nic").stat().st_size
    sizes = [least]
    for bpp in (str((least + 20) / 160), "1e300"):
        status, _, err = call("a.png", "--force", "--target_bpp", bpp, model="mean_scale")
        assert (status, err) == (0, "")
        sizes.append(Path("a.nic").stat().st_size)
        assert 8 * sizes[-1] / (32 * 40) <= float(bpp)
    assert sizes == sorted(sizes)
    assert read_info("a.nic").header.quality == 255
    Path("a.nic").unlink()
    status, out, err = call("a.png", "--target_bpp", "0.01", model="mean_scale")
    assert (status, out) == (1, "")
    assert one_line(err, "a.png: takes ", "bytes at the lowest quality, 1 were asked for")
    assert files_in() == ["a.png"]


@pytest.mark.parametrize("tile", ["0", "64"])
def test_effort(call, codecs, tile):
    pixels = save("a.png", 70, 100)
    found = []
    for effort in (None, "0", "1", "4"):
        flags = [] if effort is None else ["--effort", effort]
        assert call("a.png", "--force", "--tile", tile, *flags, model="mean_scale")[0] == 0
        found.append(Path("a.nic").read_bytes())
    codec = codecs["mean_scale"].codec
    assert found[1] == codec.compress(Picture(pixels), tile=int(tile))
    assert found[0] == found[2]  # one pass, unless the user says otherwise
    assert len({*found}) == 3
    for data in found:
        assert codec.decompress(data).pixels.shape == pixels.shape
    assert call("a.png", "-o", "b.nic", "--effort", "0")[0] == 0  # no entropy model: nothing to do


def test_tiles(call):
    pixels = save("a.png", 70, 100)
    assert call("a.png", "--tile", "64")[0] == 0
    assert read_info("a.nic").header.tiling == Tiling(64, 16)
    assert read_info("a.nic").header.tiles == 4
    assert call("a.png", "--tile", "0", "--force", "--workers", "1")[0] == 0
    assert read_info("a.nic").header.tiling is None
    assert pixels.shape[:2] == (read_info("a.nic").header.height, read_info("a.nic").header.width)


def test_half_precision(call):
    save("a.png", 16, 16)
    assert call("a.png", "--precision", "mixed_bfloat16")[0] == 0
    assert read_info("a.nic").header.width == 16


def test_gray_colour_and_alpha(call):
    save("gray.png", channels=1)
    save("colour.png")
    save("alpha.png", channels=4)
    assert call("gray.png", "colour.png", "alpha.png")[0] == 0
    modes = {name: read_info(f"{name}.nic").header.mode for name in ("gray", "colour", "alpha")}
    assert modes == {"gray": Mode.GRAYSCALE, "colour": Mode.RGB, "alpha": Mode.RGB}
    assert read_info("alpha.nic").has_alpha
    status, _, err = call("gray.png", "colour.png", "-o", "out", model="dense")
    assert status == 1
    assert one_line(err, "colour.png: the picture is in colour, the model takes gray ones")
    assert files_in("out") == ["out/gray.nic"]


def test_what_stands_beside_the_pixels(call):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    save("a.jpg", exif=exif, icc_profile=b"some profile")
    save("b.png", icc_profile=bytes(16) + b"CMYK" + bytes(100))
    status, out, _ = call("a.jpg", "b.png")
    assert status == 0
    file = NicFile.from_bytes(Path("a.nic").read_bytes())
    assert file.header.orientation == 6
    assert (file.header.width, file.header.height) == (30, 20)  # not turned
    assert file.icc_profile == b"some profile"
    assert file.exif is not None
    assert "\n  left out: a colour profile for CMYK pixels\n" in out
    assert NicFile.from_bytes(Path("b.nic").read_bytes()).icc_profile is None


def test_from_standard_input_to_standard_output(models, monkeypatch, capsysbinary):
    pixels = save("a.png")
    source = io.TextIOWrapper(io.BytesIO(Path("a.png").read_bytes()))
    monkeypatch.setattr(sys, "stdin", source)
    monkeypatch.setattr(sys, "argv", ["compress.py", "-", "--model", str(models["plain"].folder)])
    with pytest.raises(SystemExit) as stop:
        run_command(compress.main)
    assert stop.value.code == 0
    told = capsysbinary.readouterr()
    assert told.out == models["plain"].codec.compress(Picture(pixels))
    assert told.err == b""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"no image")))
    with pytest.raises(SystemExit) as stop:
        run_command(compress.main)
    assert stop.value.code == 1
    told = capsysbinary.readouterr()
    assert told.out == b""
    assert told.err == b"compress.py: standard input: is not an image of a known format\n"


# --- which bundle ------------------------------------------------------------------------------


def test_bundles_are_found(models, monkeypatch, workdir):
    folder = models["plain"].folder
    assert find_bundle(str(folder)) == folder
    run = workdir / "runs" / "one"
    write_files(run / "export" / "codec", models["plain"].parts.files)
    assert find_bundle("runs/one") == Path("runs/one/export/codec")
    monkeypatch.setattr(codec_choice, "PRETRAINED", workdir / "pretrained")
    write_files(workdir / "pretrained" / "small", models["plain"].parts.files)
    assert find_bundle("small") == workdir / "pretrained" / "small"
    assert find_bundle(None) == codec_choice.DEFAULT_BUNDLE
    with pytest.raises(UserError, match=r"--model nowhere: no such folder; .* or one of small"):
        find_bundle("nowhere")
    with pytest.raises(UserError, match=r"--model runs: no codec bundle \(no bundle.json in it\)"):
        find_bundle("runs")


@pytest.mark.parametrize("model", ["nowhere", ".", "x" * 5000])
def test_a_model_that_is_none_is_named(call, model):
    save("a.png")
    status, _, err = call("a.png", "--model", model, model=None)
    assert status == 2
    assert one_line(err, f"--model {model}: ")


def kernel_of(contents):
    def change(tree):
        tree["coder"]["network"]["layers"][0]["slope"] = 999

    return changed(contents, change)


BROKEN = {
    "weights.safetensors: damaged": lambda c: {**c, "weights.safetensors": b"x"},
    "tables.ntab: No such file": lambda c: {n: each for n, each in c.items() if n != TABLES},
    "bundle.json: not JSON": lambda c: {**c, MANIFEST: b"{"},
    "a newer Codecsmith wrote it": lambda c: changed(c, lambda t: t.update(version=3)),
    "a slope of 999": kernel_of,
    "the bundle lacks coder.safetensors": lambda c: replaced(c, coder__safetensors=None),
    "coder.safetensors: not well formed": lambda c: replaced(c, coder__safetensors=b"x" * 20),
}


@pytest.mark.parametrize("message", BROKEN)
def test_a_broken_bundle_is_one_line(message, call, models, workdir):
    contents = models["mean_scale"].parts.files
    assert CODER in contents
    folder = write_files(workdir / "bundle", BROKEN[message](contents))
    save("a.png")
    status, out, err = call("a.png", "--model", folder, model=None)
    assert (status, out) == (1, "")
    assert one_line(err, str(folder), message)
    assert not Path("a.nic").exists()


def test_a_bundle_with_a_layer_that_holds_code_is_refused(call, models, workdir):
    def change(tree):
        layers = tree["spec"]["model"]["layers"]["generator"]["layers"]["encoder"]["layers"]
        layers.append({"Lambda": {"function": "open('ran', 'w')"}})

    folder = write_files(workdir / "bundle", changed(models["plain"].parts.files, change))
    save("a.png")
    status, _, err = call("a.png", "--model", folder, model=None)
    assert status == 1
    assert one_line(err, "a.png: ", 'layers[1]: the layer "Lambda" runs code')
    assert files_in() == ["a.png", *files_in("bundle")]


def test_own_layers_are_loaded_before_the_networks_are_made(call, monkeypatch):
    loaded = []
    monkeypatch.setattr(coding_flags, "has_extensions", lambda: True)
    monkeypatch.setattr(coding_flags, "load_extensions", lambda: loaded.append(1))
    save("a.png")
    assert call("a.png")[0] == 0
    assert loaded == [1]

    def fail():
        raise UserError("extensions/mine.py: SyntaxError: no")

    monkeypatch.setattr(coding_flags, "load_extensions", fail)
    status, _, err = call("a.png", "--force")
    assert status == 2
    assert one_line(err, "extensions/mine.py")


def test_help_is_quick():
    code = (
        "import sys, compress\n"
        "try:\n    compress.main(['--help'])\n"
        "except SystemExit:\n"
        "    heavy = {'keras', 'tensorflow', 'jax', 'numpy', 'pydantic', 'PIL'} & set(sys.modules)\n"
        "    sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for flag in ("--model", "--quality", "--target_bpp", "--output", "--force", "--workers"):
        assert flag in done.stdout
    assert "(default: float32)" in done.stdout


def test_both_commands_in_a_pipe(codecs, tmp_path):
    """The only test with fresh processes for both: from pixels to pixels through two pipes."""
    image = io.BytesIO()
    pixels = photo(21, 34)
    Image.fromarray(pixels).save(image, "PNG")
    tiny = codecs["plain"]
    content = image.getvalue()
    for script in ("compress.py", "decompress.py"):
        done = subprocess.run(
            [sys.executable, ROOT / script, "-", "--model", tiny.folder],
            cwd=tmp_path,
            input=content,
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        content = done.stdout
    back = np.asarray(Image.open(io.BytesIO(content)))
    expected = tiny.codec.decompress(tiny.codec.compress(Picture(pixels))).pixels
    assert np.abs(back.astype(int) - expected).max() <= 1
