"""The benchmark beside other projects, with a small model and a project that does not exist."""

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import peer_turns, peers
from builders.errors import UserError
from evaluation import peer_process
from tests.codec_models import TREES, photo

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def small(workdir, monkeypatch):
    """A small model in place of ours, and the made-up project in CompressAI's."""
    spec = workdir / "small.json"
    spec.write_text(json.dumps(TREES["plain"]), encoding="utf-8")
    monkeypatch.setattr(peer_turns, "SPEC", str(spec))
    monkeypatch.setattr(peer_turns, "BATCH", 2)
    monkeypatch.setattr(peer_turns, "SIDE", 16)
    Image.fromarray(photo(40, 24)).save("a.png")
    monkeypatch.setenv("CODECSMITH_COMPRESSAI_PYTHON", sys.executable)
    made_up = str(ROOT / "tests" / "evaluation" / "made_up_peer.py")
    fake = dataclasses.replace(peer_process.PROJECTS[0], server=made_up)
    monkeypatch.setattr(peer_process, "PROJECTS", (fake,))


@pytest.fixture
def made_already(small, codecs, monkeypatch):
    """So that our codec is not made anew."""
    codec = codecs["factorized"].folder
    monkeypatch.setattr(
        peer_turns, "write_own_codec", lambda folder: shutil.copytree(codec, folder)
    )


THEIRS = "compressai-bmshj2018-hyperprior"


def rows_of(out):
    """Row -> column -> cell."""
    header, _, *rows = [line for line in out.splitlines() if line.startswith("|")]
    columns = [cell.strip() for cell in header.split("|")[2:-1]]
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]
    return {name: dict(zip(columns, rest, strict=True)) for name, *rest in cells}


@pytest.mark.usefixtures("small")
def test_all_code_and_train_in_turns(call, codecs, monkeypatch):
    asked = []
    ask = peer_process.PeerProcess.ask

    def noted(self, request):
        asked.append((self.project.arguments[1:], request))
        return ask(self, request)

    monkeypatch.setattr(peer_process.PeerProcess, "ask", noted)
    monkeypatch.setattr("builders.precision.bfloat16_units", lambda: (False, "this one"))
    flags = ["--image=a.png", "--peers=compressai", "--rounds=3", "--slow_rounds=1", "--steps=2"]
    code, out, err = call(peers, *flags, "--model", codecs["factorized"].folder, "--threads=1")
    assert (code, err) == (0, "")
    assert out.startswith("24 x 40 pixels, medians of 3 rounds (least to most); ours / theirs\n")
    rows = rows_of(out)
    assert list(rows) == ["ours", "factorized", THEIRS, "ours, bfloat16"]
    assert all(cell != "-" for cell in [*rows["ours"].values(), *rows[THEIRS].values()])
    assert rows["factorized"]["training step, s"] == rows["ours, bfloat16"]["encode, s"] == "-"
    assert "; " not in rows["ours"]["training step, s"]
    assert "; " in rows[THEIRS]["training step, s"]
    assert float(rows["ours"]["memory in training, GiB"]) > 0.1
    assert "\nours, bfloat16: keras " in out
    assert out.endswith("; this one has no bfloat16 units and emulates them, 1 of 3 rounds\n")
    train = [(words, request) for words, request in asked if request["do"] == "train"]
    taken = {
        name: [(each["warm"], each["steps"]) for words, each in train if words == name]
        for name in (("float32",), ("mixed_bfloat16",), ())
    }
    usual = [(1, 0), (1, 2), (1, 2), (1, 2)]
    assert taken == {("float32",): usual, ("mixed_bfloat16",): [(1, 0), (0, 2)], (): usual}
    assert all(each["threads"] == 1 for _, each in train)
    assert all(request["do"] != "code" for _, request in asked[asked.index(train[0]) :])


@pytest.mark.usefixtures("made_already")
def test_without_training_or_bfloat16(call, monkeypatch):
    flags = ["--image=a.png", "--peers=compressai", "--rounds=1"]
    code, out, _ = call(peers, *flags, "--steps=0")
    assert code == 0
    rows = rows_of(out)
    assert list(rows) == ["ours", THEIRS]
    assert {row["training step, s"] for row in rows.values()} == {"-"}
    started = []
    monkeypatch.setattr(
        peer_turns, "started_own", lambda *asked: started.append(asked) or made_up_own()
    )
    code, out, _ = call(peers, *flags, "--bfloat16=false", "--jax", sys.executable)
    assert code == 0
    assert started == [("float32", None), ("float32", sys.executable)]
    assert list(rows_of(out)) == ["ours", THEIRS, "ours, JAX"]


def made_up_own():
    """A process of the made-up project in place of ours."""
    return peer_process.PeerProcess(peer_process.PROJECTS[0])


@pytest.mark.jax
@pytest.mark.usefixtures("made_already")
def test_our_model_trains_under_jax(call, jax_python):
    flags = ["--image=a.png", "--peers=none", "--rounds=1", "--bfloat16=false"]
    code, out, err = call(peers, *flags, "--jax", jax_python)
    assert (code, err) == (0, "")
    assert list(rows_of(out)) == ["ours", "ours, JAX"]
    assert "\nours, JAX: keras " in out and ", jax " in out


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--jax=nowhere/python"], "--jax nowhere/python: no such file, expected a Python that"),
        (["--image=nowhere.png"], "--image nowhere.png: no such folder or image"),
        (["--model=nowhere"], "--model nowhere: no such folder"),
        (["--peers=compresai"], '--peers compresai: no such project; did you mean "compressai"?'),
        (["--bfloat16=perhaps"], 'argument --bfloat16: found "perhaps", expected true or false'),
        (["--slow_rounds=0"], 'argument --slow_rounds: found "0", expected a whole number >= 1'),
    ],
)
def test_mistakes_are_one_line(call, flags, message):
    code, out, err = call(peers, "--image=a.png", *flags)
    assert (code, out) == (2, "")
    assert message in err and err.count("\n") == 1


@pytest.mark.usefixtures("workdir")
def test_a_python_that_does_not_start():
    Path("python").write_text("no program", encoding="utf-8")
    wanted = "^--jax: Codecsmith: python: Permission denied$"
    with pytest.raises(UserError, match=wanted), peer_turns.started_own("float32", "python"):
        pytest.fail("it started")


def test_the_table_has_medians_and_the_most_memory():
    found = {
        "ours": {"step": [3.0, 1.0, 2.0], "memory": [1.0, 1.5]},
        "theirs": {"encode": [1.0], "step": [4.0], "memory": [3.0, 2.0]},
    }
    assert peers.table(found)[2:] == [
        "| ours | - | - | 2.000 (1.000 to 3.000) | 1.50 |",
        "| theirs | 1.000 (1.000 to 1.000) | - | 4.000 (4.000 to 4.000); 0.50 | 3.00; 0.50 |",
    ]
