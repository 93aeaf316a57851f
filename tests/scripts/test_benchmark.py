"""benchmark.py as a user calls it, with tiny pictures and the golden bundle."""

import dataclasses
import functools
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import benchmark
from builders import bundle_measuring
from builders.cli import run_command
from builders.codec_choice import quality_of
from codec.bundle import Bundle
from evaluation import benchmark_figures, classical_codecs, peer_process
from evaluation.more_measures import MORE_MEASURES, MoreMeasure
from tests.codec_models import photo
from tests.golden_codec import BUNDLE

ROOT = Path(__file__).resolve().parents[2]
BLANK = np.zeros((8, 8, 3), np.uint8)


@pytest.fixture
def here(workdir, monkeypatch):
    """An empty folder with pictures in `photos`; the networks of the bundle are made once."""
    monkeypatch.setenv("KERAS_BACKEND", keras.backend.backend())
    monkeypatch.setattr(
        bundle_measuring, "bundle_transforms", lambda bundle, at: made_once(bundle.path, at)
    )
    for name, side in (("a.png", 48), ("b.png", 40), ("deep/c.png", 44)):
        path = workdir / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo(32, side, seed=side)).save(path)
    return workdir


@functools.cache
def made_once(path, precision):
    from builders.codec_transforms import bundle_transforms

    return bundle_transforms(Bundle.read(path), precision)


@pytest.fixture
def call(here, monkeypatch, capsys):
    """Runs benchmark.py; returns exit status, standard output and standard error."""

    def run(*arguments, timed="0", shown="0", output="out", figures=False):
        if not figures:  # they take longer than all else
            monkeypatch.setattr(benchmark_figures, "rate_distortion", lambda *_: BLANK)
        words = ["benchmark.py", "--dataset=photos", f"--output={output}"]
        words += [f"--timed_images={timed}", f"--shown_images={shown}", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as stop:
            run_command(benchmark.main)
        told = capsys.readouterr()
        # A progress bar that ends leaves an empty line where there is no terminal.
        return stop.value.code, told.out, told.err.lstrip("\n")

    return run


def results(output="out"):
    return json.loads((Path(output) / "results.json").read_text(encoding="utf-8"))


def test_everything_is_written(call):
    flags = ["--models", BUNDLE, "--codecs=jpeg-420,webp-m4", "--quality=20,51"]
    code, out, err = call(*flags, timed="1", shown="3", figures=True)
    assert (code, err) == (0, "")
    assert out == "table out/results.md, page out/index.html\n"
    names = {path.name for path in Path("out").iterdir()}
    curves = {f"rate_{q}_{axis}.png" for q in ("psnr", "ms_ssim") for axis in ("log", "linear")}
    assert names >= {"results.json", "results.md", "index.html", "cache", *curves}
    assert {"crops_1.png", "crops_2.png", "crops_3.png"} <= names
    found = results()
    assert [codec["name"] for codec in found["codecs"]] == ["Golden", "jpeg-420", "webp-m4"]
    assert found["anchor"] == "jpeg-420"
    own = found["codecs"][0]
    assert set(own["pictures"]) == {"a.png", "b.png", "deep/c.png"}
    assert len(own["points"]) == 2 and own["points"][0]["pictures"] == 3
    assert own["model_bytes"] == sum(file.stat().st_size for file in BUNDLE.iterdir())
    assert len(own["about"]["digest"]) == 64
    assert own["speed"]["encode_s_per_megapixel"] > 0
    assert len(found["timing"]["pictures"]) == 1 and found["timing"]["repeats"] == 3
    assert found["published"] == []
    assert "Golden" in Path("out/results.md").read_text(encoding="utf-8")


def test_the_page_needs_nothing_from_anywhere(call):
    call("--models", BUNDLE, "--codecs=jpeg-420", "--quality=51", shown="3")
    text = Path("out/index.html").read_text(encoding="utf-8")
    assert "default-src 'none'; img-src data:" in text
    without = re.sub(r"data:image/(png|webp);base64,[A-Za-z0-9+/=]+", "", text)
    assert "//" not in without.replace("// ", "")
    assert not re.search(r"<(link|iframe|object|script src|img src=\"(?!\"))", without)
    content = re.search(r'id="data">(.*?)</script>', text, re.DOTALL).group(1)
    shown = json.loads(content)
    assert {each["name"] for each in shown} == {"a.png", "b.png", "deep/c.png"}
    for each in shown:
        assert [v["label"].split(",")[0] for v in each["versions"]] == [
            "original",
            "Golden",
            "JPEG 4:2:0",
        ]


def table_of(name, output="out"):
    """Header and rows of a section of results.md."""
    text = (Path(output) / "results.md").read_text(encoding="utf-8")
    section = re.search(rf"^## {name}\n\n(.*?)\n\n", text, re.DOTALL | re.MULTILINE).group(1)
    header, _, *rows = [line.strip("| ").split(" | ") for line in section.split("\n")]
    return [dict(zip(header, row, strict=True)) for row in rows]


def test_the_means_say_how_much_smaller_files_are_and_what_the_model_takes(call):
    call("--models", BUNDLE, "--codecs=jpeg-420", "--quality=51")
    own, jpeg = table_of("Means")[0], table_of("Means")[-1]
    assert float(own["factor"]) == pytest.approx(24 / float(own["bpp"]), rel=0.01)
    size = sum(file.stat().st_size for file in BUNDLE.iterdir()) / 2**20
    assert float(own["model, MiB"]) == pytest.approx(size, abs=5e-4)
    assert jpeg["model, MiB"] == "-"
    assert "factor: 24 / bpp" in Path("out/results.md").read_text(encoding="utf-8")


def test_settings_of_ones_own(call):
    flags = ["--codecs=jpeg,jpeg2000", "--codec_settings", "jpeg=95,70,50,20", "jpeg2000=30.25,25"]
    assert call(*flags, "--codec_settings=jpeg-444=7,7")[0] == 0
    found = {
        codec["name"]: [point["setting"] for point in codec["points"]]
        for codec in results()["codecs"]
    }
    assert found == {
        "jpeg-420": [20, 50, 70, 95],
        "jpeg-444": [7],
        "jpeg2000": [25, 30.25],
    }


def test_a_single_picture_and_a_file_of_flags(call):
    flags = {"dataset": "photos/a.png", "codecs": ["jpeg-420"], "repeats": 2}
    flags |= {"codec_settings": ["jpeg-420=50"], "output": "elsewhere", "published": False}
    Path("flags.json").write_text(json.dumps(flags), encoding="utf-8")
    words = ["--config=flags.json", "--dataset=photos/b.png"]
    code, out, err = call(*words, timed="1")
    assert (code, err) == (0, "")
    assert out == "table out/results.md, page out/index.html\n"  # the command line wins
    assert [each["name"] for each in results()["dataset"]["pictures"]] == ["b.png"]
    (codec,) = results()["codecs"]
    assert [point["setting"] for point in codec["points"]] == [50]
    assert results()["timing"] == {"pictures": ["b.png"], "repeats": 2}
    Path("flags.json").write_text('{"dataset": "photos", "codec": "jpeg"}', encoding="utf-8")
    code, _, err = call("--config=flags.json")
    assert code == 2
    assert err == (
        'benchmark.py: flags.json: 1 problem\n  codec: no such flag; did you mean "codecs"?\n'
    )


def test_a_second_start_goes_on(call, monkeypatch):
    call("--codecs=jpeg-420")
    first = results()["codecs"]
    monkeypatch.setattr(
        "evaluation.codecs.PillowCodec.encode", lambda *_: pytest.fail("was coded again")
    )
    assert call("--codecs=jpeg-420")[0] == 0
    assert results()["codecs"] == first


def test_a_picture_that_can_not_be_read_stops_nothing(call):
    Path("photos/broken.png").write_bytes(b"no picture")
    code, _, err = call("--codecs=jpeg-420", "--workers=2")
    assert code == 1
    assert re.fullmatch(r"benchmark.py: jpeg-420: broken.png: the picture can't be read: .*\n", err)
    assert len(results()["codecs"][0]["pictures"]) == 3
    assert len(results()["failures"]) == 1


def test_a_codec_that_fails_on_a_picture_stops_nothing(call, monkeypatch):
    encode = classical_codecs.PillowCodec.encode

    def sometimes(self, pixels, setting):
        if self.name == "jpeg-444" and pixels.shape[1] == 40:
            raise bundle_measuring.CodecError("quality 5: too odd")
        return encode(self, pixels, setting)

    monkeypatch.setattr(classical_codecs.PillowCodec, "encode", sometimes)
    code, _, err = call("--codecs=jpeg", shown="1", timed="3")
    assert code == 1
    assert err == "benchmark.py: jpeg-444: b.png: quality 5: too odd\n" * 2  # coded, then timed
    by_name = {codec["name"]: codec for codec in results()["codecs"]}
    assert (len(by_name["jpeg-420"]["pictures"]), len(by_name["jpeg-444"]["pictures"])) == (3, 2)


def test_nothing_that_can_be_measured(call):
    shutil.rmtree("photos")
    Path("photos").mkdir()
    Path("photos/broken.png").write_bytes(b"no picture")
    code, _, err = call("--codecs=jpeg-420")
    assert code == 1
    assert "nothing could be measured; jpeg-420, broken.png: the picture can't be read" in err


def test_codecs_that_are_not_installed(call, monkeypatch):
    find = classical_codecs.importlib.util.find_spec
    monkeypatch.setattr(
        classical_codecs.importlib.util,
        "find_spec",
        lambda name: None if name.startswith("pillow_") else find(name),
    )
    code, out, err = call("--codecs=jpeg,jxl")
    assert (code, out) == (2, "")
    assert err == (
        "benchmark.py: --codecs jxl: JPEG XL is not installed: "
        "pip install -r requirements-benchmark.txt\n"
    )
    for family in ("avif", "webp", "jpeg2000"):
        monkeypatch.setitem(classical_codecs.FAMILIES, family, lambda threads: [])
    code, out, _ = call()
    assert code == 0
    assert out.startswith("Left out: JPEG XL is not installed: pip install -r requirements-bench")
    assert "Left out: HEIC" in Path("out/results.md").read_text(encoding="utf-8")


def test_the_anchor_and_the_precision(call, codecs):
    flags = ["--models", codecs["factorized"].folder, "--codecs=webp-m4"]
    flags += ["--precision=mixed_bfloat16"]
    assert call(*flags, "--anchor=Tiny_Codec")[0] == 0
    assert results()["anchor"] == "Tiny_Codec"
    options = results()["codecs"][0]["about"]["options"]
    assert options == {"coder": "factorized", "precision": "mixed_bfloat16", "effort": 1}
    code, _, err = call(*flags, "--anchor=webp-m5")
    assert code == 2
    assert err == (
        'benchmark.py: --anchor webp-m5: not among those measured; did you mean "webp-m4"?\n'
    )


def test_measures_of_other_packages(call, monkeypatch):
    def darker(original, decoded):
        return None if original.shape[1] == 40 else float(decoded.mean()) - float(original.mean())

    measure = MoreMeasure("Darkness", "numpy", lambda: darker, "{:.3f}")
    monkeypatch.setitem(MORE_MEASURES, "ssimulacra2", measure)
    assert call("--codecs=jpeg-420", "--metrics=ssimulacra2")[0] == 0
    (codec,) = results()["codecs"]
    values = {n: each["points"][0]["ssimulacra2"] for n, each in codec["pictures"].items()}
    assert values["b.png"] is None
    others = [value for value in values.values() if value is not None]
    assert len(others) == 2
    assert codec["points"][0]["ssimulacra2"] == pytest.approx(sum(others) / 2)
    assert float(table_of("Means")[0]["Darkness"]) == pytest.approx(sum(others) / 2, abs=1e-3)
    assert results()["metrics"] == {"ssimulacra2": version("numpy")}
    monkeypatch.setitem(
        MORE_MEASURES, "ssimulacra2", dataclasses.replace(measure, package="not_there")
    )
    code, _, err = call("--codecs=jpeg-420", "--metrics=ssimulacra2")
    assert code == 2
    assert "--metrics ssimulacra2: not installed: pip install not_there" in err


def test_bundles_as_one_curve(call, codecs):
    parts = f"{codecs['factorized'].folder},{BUNDLE}"
    assert call("--codecs=jpeg-420", "--join", f"both={parts}", timed="1")[0] == 0
    both, _ = results()["codecs"]
    assert (both["name"], both["family"], both["parameter"]) == ("both", "ours", "model")
    assert [point["setting"] for point in both["points"]] == [1, 2]
    assert len({each["digest"] for each in both["about"]["joined"]}) == 2
    sizes = [sum(f.stat().st_size for f in Path(p).iterdir()) for p in parts.split(",")]
    assert both["model_bytes"] == sum(sizes)
    alone = []
    for part in parts.split(","):
        bundle = Bundle.read(Path(part))
        usual = quality_of(bundle.manifest.coder.default_quality, bundle.qualities)
        flags = ["--codecs=none", "--models", part, f"--quality={usual}"]
        call(*flags, output=f"out{len(alone)}")
        (entry,) = results(f"out{len(alone)}")["codecs"]
        alone.append(entry["points"][0]["bpp"])
    assert [point["bpp"] for point in both["points"]] == pytest.approx(alone)


def test_curves_that_are_none(call, codecs):
    one, two = codecs["factorized"].folder, BUNDLE
    for words, message in (
        ([f"a={one}"], "expected NAME=BUNDLE,BUNDLE with two bundles or more"),
        ([f"a={one},{one}"], "--join a: names a bundle twice"),
        ([f"a={one},{two}", f"a={one},{two}"], "--join a: another codec has that name"),
        ([f"jpeg-420={one},{two}"], "--join jpeg-420: another codec has that name"),
        ([f"a={one},nowhere"], "--join nowhere: no such folder"),
    ):
        code, out, err = call("--codecs=jpeg-420", "--join", *words)
        assert (code, out) == (2, "")
        assert message in err


def test_published_points_of_other_pictures_are_shown_when_asked_for(call):
    call("--codecs=jpeg-420")
    assert "which these are not: not shown" in Path("out/results.md").read_text(encoding="utf-8")
    call("--codecs=jpeg-420", "--published=true")
    assert len(results()["published"]) == 11
    text = Path("out/results.md").read_text(encoding="utf-8")
    assert "InterDigitalInc/CompressAI @869a9f5" in text
    assert "which these are not: shown, not compared" in text
    for each in results()["comparisons"]:
        if "published" in each["codec"] or "published" in each["anchor"]:
            assert each["psnr_rgb_db"] == {"refused": "published of other pictures"}


def test_repeats_and_threads(call, monkeypatch):
    if not hasattr(os, "sched_setaffinity"):
        assert call("--codecs=jpeg-420", "--threads=1")[0] == 2
        return
    told = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda process, cores: told.append(cores))
    assert call("--codecs=avif-s8", "--threads=1", "--repeats=2", timed="1")[0] == 0
    assert told == [sorted(os.sched_getaffinity(0))[:1]]
    (codec,) = results()["codecs"]
    assert codec["threads"] == 1
    (record,) = codec["speed"]["pictures"].values()
    assert all(len(entry["decode_s"]) == 2 for entry in record["timings"])
    code, _, err = call("--codecs=jpeg", "--threads=4096")
    assert code == 2 and re.search(r"--threads 4096: this process has \d+ cores", err)


@pytest.fixture
def made_up_project(monkeypatch):
    """In CompressAI's place is a project that does not exist."""
    monkeypatch.setenv("CODECSMITH_COMPRESSAI_PYTHON", sys.executable)
    fake = dataclasses.replace(
        peer_process.PROJECTS[0], server=str(ROOT / "tests" / "evaluation" / "made_up_peer.py")
    )
    monkeypatch.setattr(peer_process, "PROJECTS", (fake,))


@pytest.mark.usefixtures("made_up_project")
def test_other_projects_are_timed_beside(call):
    words = ("--codecs=jpeg-420", "--peers=compressai-bmshj2018-hyperprior", "--published=true")
    status, _, _ = call(*words, timed="1", figures=True)
    assert status == 0
    (entry,) = results()["peers"]
    assert entry["name"] == "compressai-bmshj2018-hyperprior"
    assert entry["about"]["options"] == {"weights": "random", "channels": "N 3"}
    rows = table_of("Speed and memory")
    assert rows[-1]["codec"] == "bmshj2018-hyperprior (CompressAI; N 3), random weights"
    assert "their speed is measured, and nothing else of them" in Path("out/results.md").read_text()
    assert "random weights" in Path("out/index.html").read_text()


@pytest.mark.usefixtures("made_up_project")
def test_curves_and_projects_of_a_file_of_flags(call, codecs):
    parts = f"{codecs['factorized'].folder},{BUNDLE}"
    flags = {"codecs": "none", "join": [f"both={parts}"]}
    flags |= {"peers": ["compressai-bmshj2018-hyperprior"], "dataset": "photos/a.png"}
    Path("flags.json").write_text(json.dumps(flags), encoding="utf-8")
    assert call("--config=flags.json", timed="1")[0] == 0
    assert [codec["name"] for codec in results()["codecs"]] == ["both"]
    assert len(results()["codecs"][0]["points"]) == 2
    assert [peer["name"] for peer in results()["peers"]] == ["compressai-bmshj2018-hyperprior"]
    flags |= {"join": f"both={parts}", "peers": 3}
    Path("flags.json").write_text(json.dumps(flags), encoding="utf-8")
    code, _, err = call("--config=flags.json", timed="1")
    assert code == 2
    assert "\n  join: found " in err and "expected a list\n" in err
    assert "\n  peers: found 3, expected a list or a string\n" in err
    flags |= {"join": ["both"], "peers": "none"}
    Path("flags.json").write_text(json.dumps(flags), encoding="utf-8")
    code, _, err = call("--config=flags.json")
    assert code == 2
    assert '  join: found "both", expected NAME=BUNDLE,BUNDLE with two bundles or more\n' in err


def test_projects_that_are_not_there(call, monkeypatch, tmp_path):
    monkeypatch.setenv("CODECSMITH_TFC_PYTHON", str(tmp_path / "none"))
    status, _, err = call("--codecs=jpeg-420", "--peers=tfc", timed="1")
    assert status == 2
    assert "TensorFlow Compression is not installed" in err
    assert "benchmarks/tfc.sh" in err
    status, _, err = call("--codecs=jpeg-420", "--peers=compresai", timed="1")
    assert status == 2
    assert '--peers compresai: no such project; did you mean "compressai"?' in err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--codecs=jpg"], '--codecs jpg: no such codec; did you mean "jpeg"?'),
        (["--codecs=none"], "nothing to measure: name --models, --codecs or both"),
        (["--models", "nowhere"], "--models nowhere: no such folder"),
        (["--quality=0"], 'found "0", expected numbers from 1 to 100 between commas'),
        (["--codecs=jpeg", "--dataset=nowhere"], "--dataset nowhere: no such folder"),
        (["--codecs=jpeg", "--dataset=out"], "--dataset out: no images in it"),
        (["--codecs=jpeg", "--output=photos/a.png"], "--output photos/a.png: is a file"),
        (["--codecs=jpeg", "--dataset=nowhere.png"], "nowhere.png: no such folder or image"),
        (
            ["--codecs=jpeg-420", "--codec_settings", "jpeg-420=95,101"],
            "--codec_settings jpeg-420: found 101, expected quality from 1 to 100 in steps of 1",
        ),
        (
            ["--codecs=jpeg2000", "--codec_settings=jpeg2000=30.1"],
            "found 30.1, expected PSNR from 10 to 55 in steps of 0.25",
        ),
        (
            ["--codecs=jpeg-420", "--codec_settings", "jpeg-444=95"],
            '--codec_settings jpeg-444: not among the codecs measured; did you mean "jpeg-420"?',
        ),
        (["--codec_settings", "jpeg-420"], 'found "jpeg-420", expected CODEC=NUMBERS such as'),
        (["--codecs=jpeg", "--peers=tfc"], "--peers: are timed, and --timed_images is 0"),
        (["--metrics=ssimulacra"], 'no such measure; did you mean "ssimulacra2"?'),
        (["--codec=jpeg"], 'unknown argument --codec; did you mean "--codecs"?'),
    ],
)
def test_mistakes_are_one_line(call, flags, message):
    Path("out").mkdir()
    code, out, err = call(*flags)
    assert (code, out) == (2, "")
    assert message in err and err.count("\n") == 1


def test_help_is_quick_and_names_all_flags():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "benchmark.py", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert not re.search(r"\b(numpy|keras|PIL)\b", done.stderr)
    flags = ("dataset", "models", "codecs", "output", "quality", "anchor", "workers", "threads")
    flags += (
        "timed_images",
        "repeats",
        "shown_images",
        "published",
        "precision",
        "effort",
        "config",
    )
    flags += ("codec_settings",)
    for flag in flags:
        assert f"--{flag} " in done.stdout


@pytest.mark.browser
def test_the_page_in_a_browser(call, here):
    call(
        "--models",
        BUNDLE,
        "--codecs=jpeg-420",
        "--quality=20,40,60,80",
        shown="3",
        figures=True,
    )
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    browser = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    flags += [f"--user-data-dir={here / 'profile'}", "--virtual-time-budget=8000"]
    address = (here / "out" / "index.html").as_uri()

    def run(*more):
        return subprocess.run(
            [browser, *flags, *more, address],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )

    page = run("--dump-dom", "--enable-logging=stderr")
    assert 'data-ready="yes"' in page.stdout  # the script ran to its end
    assert re.search(r'left-words">left: Golden, quality [\d.]+: [\d,]+ bytes', page.stdout)
    assert re.search(r'right-words">right: JPEG 4:2:0, quality \d+', page.stdout)
    assert "clip-path: inset(0px 50% 0px 0px)" in page.stdout
    assert "Content Security Policy" not in page.stderr
    run(f"--screenshot={here / 'page.png'}", "--window-size=1200,900")
    with Image.open(here / "page.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    red = (np.abs(pixels.astype(int) - [0xC1, 0x27, 0x2D]).max(axis=-1) < 40).sum()
    assert red > 100, "the row of our own is not in the picture"
