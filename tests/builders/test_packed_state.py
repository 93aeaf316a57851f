"""The state of a run as shards and back: exact where it fits, smaller step by step where not."""

import json
import shutil

import h5py
import numpy as np
import pytest

from builders import packed_state
from builders.checkpoint import TrainingState, load_weights, read_progress
from builders.errors import RunError, UserError
from builders.optimizers import build_optimizer
from builders.packed_state import Limits, pack, unpack
from builders.run_folder import RunFolder
from builders.session import TrainOptions
from builders.shard_forms import LEVELS
from builders.shard_manifest import Journal, read_manifest
from builders.training import build_compressor, train

EMA = {"training.optimizer": {"Adam": {"use_ema": True}}, "training.epochs": 1}
WIDE = "model.layers.generator.layers.encoder.layers[1].Dense.units"
MIB = 2**20


@pytest.fixture(scope="module")
def averaged(tmp_path_factory, tiny):
    """A run with a moving average and some kernels of more than 1024 values. Read only."""
    folder = tmp_path_factory.mktemp("averaged") / "run"
    spec = tiny({**EMA, WIDE: 200})
    train(spec, TrainOptions(run_dir=folder, verbosity=0, argv=("train.py",)))
    return RunFolder(folder), spec


def packed(run, folder, budget=None, half=False, shard=16384):
    limits = Limits(shard, budget, half)
    return pack(run, folder, limits, name="0" * 16, step=4, journal=Journal(points=[], pieces=[]))


def unpacked(folder, target):
    run = RunFolder(target)
    unpack(folder, read_manifest(folder), run, {})
    return run


def arrays(run):
    with np.load(run.state) as stored:
        return {key: stored[key] for key in stored.files}


def weights(path):
    found = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: found.update({name: item[()]}) if hasattr(item, "dtype") else None
        )
    return found


def test_an_exact_state_comes_back_to_the_bit(finished, tmp_path):
    manifest = packed(finished.folder, tmp_path / "state")
    assert manifest.lost == []
    run = unpacked(tmp_path / "state", tmp_path / "run")
    mine, theirs = arrays(run), arrays(finished.folder)
    assert list(mine) == list(theirs)
    for name, value in theirs.items():
        np.testing.assert_array_equal(mine[name], value, strict=True)
    assert read_progress(run.state) == read_progress(finished.folder.state)
    best, own = weights(run.best), weights(finished.folder.best)
    assert best.keys() == own.keys()
    for name, value in own.items():
        np.testing.assert_array_equal(best[name], value)


def test_the_best_weights_are_still_a_weights_file(finished, tiny, tmp_path):
    packed(finished.folder, tmp_path / "state")
    run = unpacked(tmp_path / "state", tmp_path / "run")
    models = []
    for path in (run.best, finished.folder.best):
        compressor, _, _ = build_compressor(tiny())
        load_weights(compressor, tiny(), path)
        models.append(compressor.get_weights())
    for mine, theirs in zip(*models, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_run_without_best_weights_is_packed_without(finished, tmp_path):
    shutil.copytree(finished.folder.path, tmp_path / "early")
    early = RunFolder(tmp_path / "early")
    early.best.unlink()
    assert packed(early, tmp_path / "state").best is None
    assert not unpacked(tmp_path / "state", tmp_path / "run").best.exists()


def test_each_step_saves_room_and_says_what_is_lost(averaged, tmp_path):
    run, _ = averaged
    whole = packed(run, tmp_path / "0")
    found = [(whole.bytes, whole.lost)]
    budget = whole.bytes
    while True:
        try:
            manifest = packed(run, tmp_path / str(len(found)), budget=budget - 1)
        except RunError as error:
            told = str(error)
            break
        assert manifest.bytes <= budget - 1
        budget = manifest.bytes
        found.append((manifest.bytes, manifest.lost))
    words = [level.words for level in LEVELS]
    exact, half, averages, best, means, weights_too = (lost for _, lost in found)
    assert exact == []
    assert half == words[1:2]
    assert averages == words[1:3]
    assert best == words[1:4]
    assert means == words[2:5]  # instead of moments in bfloat16
    assert weights_too == words[2:6]
    assert "as small as it can be; --budget_mebibytes is" in told and "\n" not in told


@pytest.mark.parametrize("level", range(1, len(LEVELS)))
def test_every_step_gives_a_state_to_go_on_from(averaged, tmp_path, monkeypatch, level):
    run, spec = averaged
    monkeypatch.setattr(packed_state, "LEVELS", LEVELS[level : level + 1])
    manifest = packed(run, tmp_path / "state")
    assert manifest.lost == [LEVELS[level].words]
    again = unpacked(tmp_path / "state", tmp_path / "run")
    compressor, _, _ = build_compressor(spec)
    compressor.compile(optimizer=build_optimizer(spec, compressor))
    progress = TrainingState(compressor, spec, again.state).load()
    assert progress == read_progress(run.state)
    mine, theirs = arrays(again), arrays(run)
    changed = [name for name in theirs if not np.array_equal(mine[name], theirs[name])]
    groups = {name.split("/")[0] for name in changed if name != "meta"}
    expected = {"weight": {"model"}, "best": set()}.get(next(iter(LEVELS[level].forms)))
    assert groups == ({"optimizer"} if expected is None else expected)
    load_weights(compressor, spec, again.best)


def test_half_is_half_although_all_would_fit(averaged, tmp_path):
    manifest = packed(averaged[0], tmp_path / "state", half=True)
    assert manifest.lost == [LEVELS[1].words]


def test_a_budget_too_small_leaves_the_state_before(averaged, tmp_path):
    before = packed(averaged[0], tmp_path / "state")
    with pytest.raises(RunError, match=r"the state takes 0\.\d+ MiB with all in it as small as it"):
        packed(averaged[0], tmp_path / "state", budget=1000)
    assert read_manifest(tmp_path / "state") == before


def test_the_images_may_lie_elsewhere(finished, tmp_path):
    packed(finished.folder, tmp_path / "state")
    run = RunFolder(tmp_path / "run")
    unpack(tmp_path / "state", read_manifest(tmp_path / "state"), run, {"name": "/other/place"})
    with np.load(run.state) as stored:
        meta = json.loads(stored["meta"].tobytes())
    assert meta["spec"]["dataset"]["name"] == "/other/place"
    assert read_manifest(tmp_path / "state").spec["dataset"]["name"] == "digits"


def test_a_damaged_state_file_is_not_packed(finished, tmp_path):
    shutil.copytree(finished.folder.path, tmp_path / "damaged")
    run = RunFolder(tmp_path / "damaged")
    run.state.write_bytes(run.state.read_bytes()[:-10])
    with pytest.raises(UserError, match=r"state\.npz: damaged"):
        packed(run, tmp_path / "state")
