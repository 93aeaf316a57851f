"""decompress.py as a user calls it, with tiny codecs."""

import io
import subprocess
import sys
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

import decompress
from builders import coding_flags
from builders.cli import run_command
from builders.errors import UserError
from codec.container import NicFile
from codec.header import Header, Mode
from codec.picture import Picture
from codec.whole_file import CRC_BYTES
from tests.codec_models import photo

ROOT = Path(__file__).resolve().parents[2]
SECONDS, MEBIBYTES = 2.0, 500
"""What a file of less than a kilobyte may cost at most before it is refused."""


@pytest.fixture
def call(call_script):
    """Runs decompress.py; returns exit status, standard output and standard error."""
    return partial(call_script, decompress)


@pytest.fixture
def save(models):
    """Writes a .nic file; returns its bytes and the pixels that are in it."""

    def write(path, height=20, width=30, model="plain", channels=3, **more):
        codec = models[model].codec
        data = codec.compress(Picture(photo(height, width, channels), **more))
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return data, codec.decompress(data).pixels

    return write


def files_in(folder="."):
    return sorted(str(path) for path in Path(folder).rglob("*") if path.is_file())


def one_line(text, *parts):
    """Whether this is one line of decompress.py with these parts, and no traceback."""
    assert text.startswith("decompress.py: ")
    assert text.count("\n") == 1
    assert text[:-1].isprintable()
    for part in parts:
        assert part in text
    return True


# --- what goes where ---------------------------------------------------------------------------


def test_a_file_becomes_an_image_beside_it(call, save):
    _, pixels = save("photo.nic")
    status, out, err = call("photo.nic")
    assert (status, out, err) == (0, "photo.nic -> photo.png: 30x20\n", "")
    np.testing.assert_array_equal(np.asarray(Image.open("photo.png")), pixels)
    assert files_in() == ["photo.nic", "photo.png"]


def test_folders_files_and_broken_ones_together(call, save):
    save("in/a.nic")
    save("in/deep/b.NIC")
    save("c.nic", 9, 5)
    data, _ = save("in/broken.nic")
    Path("in/broken.nic").write_bytes(data[:-1])
    Path("in/note.txt").write_text("no such file")
    status, out, err = call("in", "c.nic", "-o", "out", "--workers", "2")
    assert status == 1
    assert one_line(err, f"in/broken.nic: the file is cut short: it has {len(data) - 1} of ")
    assert len(out.splitlines()) == 3
    assert files_in("out") == ["out/a.png", "out/c.png", "out/deep/b.png"]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".bmp", ".webp", ".ppm"])
def test_a_named_output_has_its_own_format(call, save, suffix):
    _, pixels = save("a.nic")
    assert call("a.nic", "-o", f"deep/x{suffix}")[0] == 0
    np.testing.assert_array_equal(np.asarray(Image.open(f"deep/x{suffix}")), pixels)


def test_a_format_for_what_has_no_name(call, save):
    save("a.nic")
    save("b.nic")
    assert call("a.nic", "b.nic", "-o", "out", "--format", "TIFF")[0] == 0
    assert call("a.nic", "--format", ".webp")[0] == 0
    assert files_in() == ["a.nic", "a.webp", "b.nic", "out/a.tiff", "out/b.tiff"]
    assert Image.open("out/a.tiff").format == "TIFF"


@pytest.mark.parametrize("words", [["--force"], ["--force", "true"], ["--force=yes"]])
def test_nothing_is_overwritten_without_force(call, save, words):
    save("a.nic")
    Path("a.png").write_bytes(b"the original")
    status, out, err = call("a.nic")
    assert (status, out) == (2, "")
    assert one_line(err, "a.png: is there already; --force overwrites it")
    assert Path("a.png").read_bytes() == b"the original"
    assert call("a.nic", *words)[0] == 0
    assert Image.open("a.png").size == (30, 20)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["c.nic"], "c.nic: no such file or folder"),
        (["empty"], "empty: no files in it to work on"),
        (["a.nic", "-o", "a.jpg"], "-o a.jpg: expected a name that ends in .png, .tif"),
        (["a.nic", "-o", "image"], "-o image: expected a name that ends in .png, .tif"),
        (["a.nic", "--format", "jpg"], "--format jpg: expected one of png, tif"),
        (["a.nic", "-o", "a.nic", "--force"], "a.nic: would be written over its own source"),
        (["a.nic", "b.nic", "-o", "-"], "-o -: standard output takes one file"),
        (["a.nic", "--fromat", "png"], 'unknown argument --fromat; did you mean "--format"?'),
        (["a.nic", "--workers", "no"], 'found "no", expected a whole number >= 1'),
        (["a.nic", "--precision", "int8"], "invalid choice: 'int8'"),
        (["a.nic", "--model", "nowhere"], "--model nowhere: no such folder"),
        ([], "the following arguments are required: FILE"),
    ],
)
def test_mistakes_are_named(call, save, arguments, message):
    save("a.nic")
    save("b.nic")
    Path("empty").mkdir()
    status, out, err = call(*arguments, model=None if "--model" in arguments else "plain")
    assert (status, out) == (2, "")
    assert one_line(err, message)
    assert files_in() == ["a.nic", "b.nic"]


def test_from_standard_input_to_standard_output(models, save, monkeypatch, capsysbinary):
    data, pixels = save("a.nic")
    words = ["decompress.py", "-", "--format", "bmp", "--model", str(models["plain"].folder)]
    monkeypatch.setattr(sys, "argv", words)
    for content, status in ((data, 0), (data[:-3], 1)):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        with pytest.raises(SystemExit) as stop:
            run_command(decompress.main)
        assert stop.value.code == status
        told = capsysbinary.readouterr()
        if status == 0:
            assert told.err == b""
            np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(told.out))), pixels)
        else:
            assert told.out == b""
            assert told.err.startswith(b"decompress.py: standard input: the file is cut short")


# --- what comes back ---------------------------------------------------------------------------


def test_alpha_profile_and_exif_come_back_and_the_picture_upright(call, save):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Artist] = "someone"
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    alpha = photo(20, 30, 1, seed=3)[..., 0]
    _, pixels = save("a.nic", alpha=alpha, icc_profile=b"colours", exif=block, orientation=6)
    assert call("a.nic")[0] == 0
    image = Image.open("a.png")
    assert image.size == (20, 30)
    np.testing.assert_array_equal(np.asarray(image)[..., 3], np.rot90(alpha, -1))
    np.testing.assert_array_equal(np.asarray(image)[..., :3], np.rot90(pixels, -1))
    assert image.info["icc_profile"] == b"colours"
    assert image.getexif()[ExifTags.Base.Artist] == "someone"
    assert image.getexif()[ExifTags.Base.Orientation] == 1
    status, out, err = call("a.nic", "-o", "a.bmp")
    assert (status, out) == (1, "")
    assert one_line(err, "a.nic: .bmp: can't hold the picture's alpha")
    assert not Path("a.bmp").exists()


def test_gray_stays_gray(call, save):
    for model, channels in (("plain", 1), ("dense", 1)):
        _, pixels = save("a.nic", model=model, channels=channels)
        assert call("a.nic", "--force", model=model)[0] == 0
        image = Image.open("a.png")
        assert image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image), pixels[..., 0])


def test_half_precision(call, save):
    _, pixels = save("a.nic")
    assert call("a.nic", "--precision", "mixed_bfloat16")[0] == 0
    back = np.asarray(Image.open("a.png")).astype(int)
    assert np.abs(back - pixels).mean() < 3


# --- files that are not in order ---------------------------------------------------------------


def test_another_model_is_named(call, save, models):
    save("a.nic", model="mean_scale")
    status, out, err = call("a.nic")
    assert (status, out) == (1, "")
    mine, theirs = (models[kind].bundle.digest[:8].hex() for kind in ("plain", "mean_scale"))
    assert one_line(err, "a.nic: the file was written with model", theirs, mine)
    assert files_in() == ["a.nic"]


def sealed(body):
    return body + zlib.crc32(body).to_bytes(CRC_BYTES, "little")


@pytest.fixture
def bad_files(models, save):
    """Files that must be refused, each below a kilobyte; name -> what the message says."""
    codec = models["mean_scale"].codec
    digest = codec.bundle.digest[:8]
    data, _ = save("bad/whole.nic", 12, 9, "mean_scale")
    Path("bad/whole.nic").unlink()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 8
    numbers = np.random.default_rng(0)
    huge = Header(digest, 2**20, 2**10, Mode.RGB, 0).to_bytes()
    garbage = Header(digest, 1400, 1400, Mode.RGB, 0, quality=255)
    line = Header(digest, 2**18, 1, Mode.RGB, 0)  # worked on as eight lines
    more = NicFile.from_bytes(data)
    files = {
        "empty": (b"", "the file is cut short"),
        "head": (data[:9], "the file is cut short"),
        "last": (data[:-1], "the file is cut short"),
        "long": (data + b"\0", "goes on for 1 bytes after its end"),
        "flipped": (bytes(flipped), "checksum does not match"),
        "noise": (numbers.bytes(900), "this is not a .nic file"),
        "newer": (b"\x89NIC\x02" + data[5:], "a newer Codecsmith wrote it"),
        "huge": (sealed(huge + b"\x10x"), "pixels"),
        "latents": (
            sealed(data[: data.index(more.latents[0])] + bytes(len(more.latents[0]))),
            "",
        ),
        "garbage": (NicFile(garbage, (numbers.bytes(900),)).to_bytes(), ""),
        "full": (NicFile(garbage, (b"\xff" * 900,)).to_bytes(), ""),
        "zeros": (NicFile(garbage, (b"",)).to_bytes(), "are not the ones that were coded"),
        "line": (NicFile(line, (b"",)).to_bytes(), "are not the ones that were coded"),
    }
    for name, (content, _) in files.items():
        assert len(content) <= 1024
        Path(f"bad/{name}.nic").write_bytes(content)
    return {name: message for name, (_, message) in files.items()}


def test_files_that_are_not_in_order_are_one_line_each(call, bad_files, save):
    save("bad/good.nic", 8, 8, "mean_scale")
    status, out, err = call("bad", "-o", "out", model="mean_scale")
    assert status == 1
    assert out == "bad/good.nic -> out/good.png: 8x8\n"
    lines = {line.split(": ")[1]: line for line in err.splitlines()}
    assert set(lines) == {f"bad/{name}.nic" for name in bad_files}
    for name, message in bad_files.items():
        assert one_line(lines[f"bad/{name}.nic"] + "\n", message)
    assert files_in("out") == ["out/good.png"]


MEASURED = """
import atexit, pathlib, sys, time
import decompress
from builders.cli import run_command

def tell():
    # ru_maxrss would count the process that started this one.
    status = pathlib.Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else ["VmHWM: 0 kB"]
    (peak,) = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    heavy = sorted({"keras", "tensorflow", "jax"} & set(sys.modules))
    print(time.process_time(), peak / 1024, heavy)

atexit.register(tell)
sys.argv = ["decompress.py", *sys.argv[1:]]
run_command(decompress.main)
"""


def measured(*arguments):
    """Exit status, processor seconds, MiB, heavy modules and standard error of a fresh process."""
    words = [sys.executable, "-c", MEASURED, *map(str, arguments)]
    path = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=path)
    seconds, mebibytes, heavy = done.stdout.split(maxsplit=2)
    return done.returncode, float(seconds), float(mebibytes), heavy.strip(), done.stderr


def test_hostile_files_cost_little_and_load_no_networks(bad_files, models):
    """In a fresh process, the dearest of them one by one."""
    folder = models["mean_scale"].folder
    for name in ("garbage", "zeros", "line"):
        status, seconds, mebibytes, heavy, err = measured(
            f"bad/{name}.nic", "-o", "x.png", "--model", folder
        )
        assert (status, heavy) == (1, "[]")
        assert one_line(err, f"bad/{name}.nic: ")
        assert seconds < 2 * SECONDS  # processors of test machines have other work too
        assert mebibytes < MEBIBYTES
        assert not Path("x.png").exists()


def test_a_backend_that_is_none_is_the_user_s_mistake(call, save, monkeypatch):
    save("a.nic")
    save("b.nic")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    status, out, err = call("a.nic", "b.nic", "--workers", "1")
    assert (status, out) == (2, "")
    assert one_line(err, 'KERAS_BACKEND is "torch"')


def test_own_layers_are_loaded_before_the_networks_are_made(call, save, monkeypatch):
    loaded = []
    monkeypatch.setattr(coding_flags, "has_extensions", lambda: True)
    monkeypatch.setattr(coding_flags, "load_extensions", lambda: loaded.append(1))
    data, _ = save("a.nic")
    Path("bad.nic").write_bytes(data[:-1])
    assert call("bad.nic")[0] == 1
    assert loaded == []  # nothing runs for a file that is not in order
    assert call("a.nic")[0] == 0
    assert loaded == [1]

    def fail():
        raise UserError("extensions/mine.py: SyntaxError: no")

    monkeypatch.setattr(coding_flags, "load_extensions", fail)
    status, _, err = call("a.nic", "--force")
    assert status == 2
    assert one_line(err, "extensions/mine.py")


# --- --info ------------------------------------------------------------------------------------


def test_info_needs_no_model_and_decodes_nothing(call, save, models):
    alpha = photo(70, 100, 1)[..., 0]
    data, _ = save("in/a.nic", 70, 100, "mean_scale", alpha=alpha, exif=b"II*\0", orientation=8)
    file = NicFile.from_bytes(data)
    status, out, err = call("in", "--info", model=None)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "in/a.nic"
    assert "100x70 pixels, rgb, one piece" in lines[1]
    assert f"{len(data):,} bytes" in lines[2] or f"{len(data):,} (" in lines[2]
    assert models["mean_scale"].bundle.digest[:8].hex() in lines[3]
    assert "128 of 0 to 255" in lines[4]
    assert "8 (EXIF)" in lines[5]
    assert f"latents {len(file.latents[0]):,}, alpha {len(file.alpha):,}, exif 4" in lines[6]
    assert files_in() == ["in/a.nic"]


def test_info_of_tiles_and_of_several_files(call, models, save):
    save("a.nic", 20, 30, channels=1)
    tiled = models["plain"].codec.compress(Picture(photo(70, 100)), tile=64)
    Path("b.nic").write_bytes(tiled)
    status, out, _ = call("a.nic", "b.nic", "--info=true", model=None)
    assert status == 0
    assert "30x20 pixels, grayscale, one piece" in out
    assert "4 tiles of 64 pixels that overlap by 16" in out


def test_info_of_files_that_are_not_in_order(call, save):
    data, _ = save("a.nic")
    Path("b.nic").write_bytes(data[:-1])
    Path("c.nic").write_bytes(b"PNG")
    status, out, err = call("c.nic", "b.nic", "a.nic", "--info", model=None)
    assert status == 1
    assert out.startswith("a.nic\n")
    assert err.splitlines() == [
        "decompress.py: c.nic: this is not a .nic file",
        f"decompress.py: b.nic: the file is cut short: it has {len(data) - 1} of {len(data)} bytes",
    ]
    Path("empty").mkdir()
    for words, message in (
        (["d.nic"], "d.nic: no such file or folder"),
        (["empty"], "empty: no .nic or .nicv files in it"),
        (["x" * 5000], "File name too long"),
    ):
        status, _, err = call(*words, "--info", model=None)
        assert status == 2
        assert one_line(err, message)


def test_info_of_standard_input(call, save, monkeypatch):
    data, _ = save("a.nic")
    for content, status in ((data, 0), (b"", 1)):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        found, out, err = call("-", "--info", model=None)
        assert found == status
        if status:
            assert one_line(err, "standard input: the file is cut short")
        else:
            assert out.startswith("-\n")


def test_help_is_quick():
    code = (
        "import sys, decompress\n"
        "try:\n    decompress.main(['--help'])\n"
        "except SystemExit:\n"
        "    heavy = {'keras', 'tensorflow', 'jax', 'numpy', 'pydantic', 'PIL'} & set(sys.modules)\n"
        "    sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for flag in ("--model", "--output", "--force", "--info", "--workers", "--format"):
        assert flag in done.stdout
