"""Which state a piece goes on from; what does not belong together is refused in one message."""

import argparse
import json

import numpy as np
import pytest

from builders.errors import UserError
from builders.piece_state import find_state, moved_data, piece_spec
from builders.shard_forms import encode
from builders.shard_manifest import MANIFEST, Journal
from builders.shards import write_shards

PATHS = {
    "dataset": "dataset.name",
    "batch_size": "training.batch_size",
    "epochs": "training.epochs",
}


@pytest.fixture
def state(tmp_path, tiny):
    """Makes a folder with the state of a tiny run."""

    def make(name, step=4, run="a", changes=None):
        folder = tmp_path / name
        write_shards(
            folder,
            {"model/0": encode(np.zeros(3), "same")},
            16384,
            run=run * 16,
            step=step,
            lost=[],
            state={"spec": tiny(changes).resolved(), "progress": {}},
            best=None,
            journal=Journal(points=[], pieces=[]),
        )
        return folder

    return make


def flags(**given):
    defaults = {"model": None, "load_from_ckpt_path": None, "set": []}
    return argparse.Namespace(**{**defaults, **given})


def test_a_run_begins_where_there_is_no_state(tmp_path):
    (tmp_path / "empty").mkdir()
    for state in (None, tmp_path / "empty", tmp_path / "out"):
        assert find_state(state, tmp_path / "out") is None


def test_the_output_folder_is_gone_on_with(state, tmp_path):
    folder = state("out")
    assert find_state(None, folder)[0] == folder
    assert find_state(folder, folder)[1].step == 4
    assert find_state(folder, tmp_path / "new")[0] == folder


def test_of_two_states_of_a_run_the_later_is_taken(state):
    """A piece that was killed has left one in its output folder."""
    before, killed = state("before", step=4), state("killed", step=6)
    assert find_state(before, killed)[0] == killed
    assert find_state(killed, before)[0] == killed
    same = state("same", step=4)
    assert find_state(before, same)[0] == before


def refused(words, state, output):
    with pytest.raises(UserError) as caught:
        find_state(state, output)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_state_takes_one_line(state, tmp_path):
    refused("holds the state of another run than", state("a", run="a"), state("b", run="b"))
    refused(
        'no such folder; did you mean "first"?', tmp_path / "frist", state("first").parent / "out"
    )
    folder = state("lost")
    (folder / MANIFEST).unlink()
    refused(f"--state {folder}: holds shards, but manifest.json is missing", folder, tmp_path / "o")
    refused("holds shards, but manifest.json is missing", None, folder)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.png").write_text("")
    refused("holds no state: manifest.json is missing", tmp_path / "other", tmp_path / "o")
    refused("a file, expected a folder", None, tmp_path / "other" / "a.png")


def test_the_spec_is_the_states_own(state, tmp_path, tiny):
    folder = state("out")
    found = find_state(None, folder)
    spec = piece_spec(flags(), found, PATHS, "models/model.json")
    assert spec.resolved() == tiny().resolved()
    assert piece_spec(flags(epochs=9), found, PATHS, "").training.epochs == 9
    asked = piece_spec(flags(dataset="/mnt/images"), found, PATHS, "")
    assert moved_data(asked, found[1]) == {"name": "/mnt/images"}
    assert moved_data(spec, found[1]) == {}


def test_the_spec_may_be_given_again(state, tmp_path, tiny_tree):
    folder = state("out", changes={"training.epochs": 7, "dataset.name": "photos"})
    (tmp_path / "tiny.json").write_text(json.dumps(tiny_tree()))
    found = find_state(None, folder)
    spec = piece_spec(flags(model=str(tmp_path / "tiny.json")), found, PATHS, "")
    assert (spec.training.epochs, spec.dataset.name) == (7, "photos")


def test_a_state_of_another_spec_is_refused(state, tmp_path, tiny_tree):
    found = find_state(None, state("out"))
    with pytest.raises(UserError) as caught:
        piece_spec(flags(batch_size=4), found, PATHS, "")
    head, *lines = str(caught.value).splitlines()
    assert head.startswith(f"{tmp_path / 'out'}: the state of another spec than ")
    assert lines == ["  training.batch_size: 4 here, 8 there"]
    tree = tiny_tree()
    tree["loss"][1]["KLDivergence"]["weight"] = 1
    (tmp_path / "other.json").write_text(json.dumps(tree))
    with pytest.raises(UserError, match=r"KLDivergence\.weight: 1 here, 0\.01 there"):
        piece_spec(flags(model=str(tmp_path / "other.json")), found, PATHS, "")
    with pytest.raises(UserError, match=r"--load_from_ckpt_path begins a run from other weights"):
        piece_spec(flags(load_from_ckpt_path="run"), found, PATHS, "")


def test_the_default_spec_is_for_a_run_that_begins(tmp_path, tiny_tree):
    (tmp_path / "tiny.json").write_text(json.dumps(tiny_tree()))
    spec = piece_spec(flags(epochs=5), None, PATHS, str(tmp_path / "tiny.json"))
    assert spec.name == "Tiny" and spec.training.epochs == 5
