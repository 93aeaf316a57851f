"""Other projects' processes, with one that does not exist."""

import dataclasses
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from evaluation.benchmark_run import Photo
from evaluation.codecs import CodecError
from evaluation.peer_process import PROJECTS, MissingPeerError, PeerProcess, projects_of
from evaluation.peers import Peer, choose_peers, measure_peers, peer_entry

HERE = Path(__file__).parent


@pytest.fixture
def project(monkeypatch):
    """CompressAI's place, with the made-up project in it."""
    monkeypatch.setenv("CODECSMITH_COMPRESSAI_PYTHON", sys.executable)
    return dataclasses.replace(PROJECTS[0], server=str(HERE / "made_up_peer.py"))


@pytest.fixture
def process(project):
    with PeerProcess(project) as process:
        yield process


def photo_of(height, name="a.png"):
    pixels = np.full((height, 8, 3), 9, np.uint8)
    return Photo(name, f"{height:064d}", lambda: pixels)


def quiet(*_):
    pass


def test_it_says_what_it_is_and_is_timed(process):
    assert process.versions == {"numpy": version("numpy")}
    answer = process.code("bmshj2018-hyperprior", photo_of(8).load(), threads=1, repeats=2)
    assert len(answer["encode_s"]) == len(answer["decode_s"]) == 2
    assert all(seconds > 0 for seconds in answer["encode_s"])
    assert answer["parameters"] == 7


def test_training_steps_are_timed_and_what_it_prints_is_no_answer(process):
    asked = {"architecture": "bmshj2018-hyperprior", "threads": 1}
    asked |= {"batch": 2, "side": 8, "warm": 1}
    answer = process.ask({"do": "train", **asked, "steps": 3})
    assert len(answer["step_s"]) == 3
    resident = answer["resident_bytes"]
    assert resident is None or 2**20 < resident < 2**32
    assert process.ask({"do": "train", **asked, "steps": 0})["step_s"] == []


def test_errors_are_told_and_it_goes_on(process):
    with pytest.raises(CodecError, match="too high"):
        process.code("bmshj2018-hyperprior", photo_of(48).load(), 1, 1)
    with pytest.raises(CodecError, match="uint8"):
        process.code("damaged", photo_of(8).load(), 1, 1)
    assert process.code("bmshj2018-hyperprior", photo_of(8).load(), 1, 1)["encode_s"]


def test_a_process_that_ends_is_told_of_with_its_last_words(project, tmp_path):
    script = tmp_path / "broken.py"
    script.write_text("raise ImportError('no such library')", encoding="utf-8")
    with pytest.raises(MissingPeerError, match=r"CompressAI in .*no such library"):
        PeerProcess(dataclasses.replace(project, server=str(script)))


def test_what_libraries_print_is_no_answer(project, tmp_path):
    script = tmp_path / "talks.py"
    made_up = (HERE / "made_up_peer.py").read_text(encoding="utf-8")
    benchmarks = HERE.parents[1] / "benchmarks"
    made_up = made_up.replace(
        'str(Path(__file__).resolve().parents[2] / "benchmarks")', repr(str(benchmarks))
    )
    noise = "import os\nprint('welcome')\nos.write(1, b'from C, without an end')\n"
    script.write_text(noise + made_up, encoding="utf-8")
    with PeerProcess(dataclasses.replace(project, server=str(script))) as process:
        assert process.architectures == {"bmshj2018-hyperprior": "N 3", "damaged": "N 4"}


def test_a_python_that_is_none(project, monkeypatch, tmp_path):
    (tmp_path / "python").write_text("no program", encoding="utf-8")
    monkeypatch.setenv("CODECSMITH_COMPRESSAI_PYTHON", str(tmp_path / "python"))
    with pytest.raises(MissingPeerError, match="Permission denied"):
        PeerProcess(project)


def test_an_environment_that_is_not_there(project, monkeypatch, tmp_path):
    monkeypatch.setenv("CODECSMITH_COMPRESSAI_PYTHON", str(tmp_path / "python"))
    with pytest.raises(
        MissingPeerError,
        match=r"CODECSMITH_COMPRESSAI_PYTHON names it.*compressai.sh --version. makes it",
    ):
        PeerProcess(project)


def test_architectures_are_chosen_by_name_or_all(process):
    assert [peer.name for peer in choose_peers(["compressai"], [process], 2)] == [
        "compressai-bmshj2018-hyperprior",
        "compressai-damaged",
    ]
    one = choose_peers(["compressai-damaged"], [process], 2)
    assert [peer.architecture for peer in one] == ["damaged"]
    with pytest.raises(KeyError, match="is timed with bmshj2018-hyperprior, damaged"):
        choose_peers(["compressai-elic"], [process], 2)
    assert [each.name for each in projects_of(["tfc-x", "compressai", "tfc"])] == [
        "tfc",
        "compressai",
    ]
    with pytest.raises(KeyError):
        projects_of(["nobody"])


def test_results_are_remembered_and_failures_stop_nothing(process, tmp_path, monkeypatch):
    peer = Peer(process, "bmshj2018-hyperprior", 1)
    photos = [photo_of(8), photo_of(48, "b.png")]
    found = measure_peers(photos, [peer], tmp_path, 2, "here", quiet)
    assert list(found.records) == [(peer.name, "a.png")]
    assert [(name, picture) for name, picture, _ in found.failures] == [(peer.name, "b.png")]
    entry = peer_entry(peer, photos, found)
    assert entry["origin"] == "timed"
    assert entry["published"] == "published-bmshj2018-hyperprior"
    assert entry["model_bytes"] == 28
    assert entry["speed"]["encode_s_per_megapixel"] > 0
    assert "random" in entry["label"]
    monkeypatch.delattr(PeerProcess, "code")
    again = measure_peers(photos[:1], [peer], tmp_path, 2, "here", quiet)
    assert again.records == found.records


def test_the_projects_have_what_they_name():
    root = HERE.parents[1]
    for project in PROJECTS:
        assert (root / project.server).is_file()
        assert (root / project.script).is_file()
        assert project.folder in (root / project.script).read_text(encoding="utf-8")
