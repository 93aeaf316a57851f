"""States of before a variable of the log was there: they go on; others are still refused."""

import json

import numpy as np
import pytest

from architectures.rate import PART_NAMES
from builders.checkpoint import TrainingState
from builders.errors import UserError
from builders.gradient_norms import NAME
from builders.optimizers import build_optimizer
from builders.seals import seal
from builders.spec import parse_spec
from builders.training import build_compressor
from tests.builders.test_optimizers import PAIR
from tests.codec_models import TREES


def built(spec):
    model, _, _ = build_compressor(spec)
    model.compile(build_optimizer(spec, model), run_eagerly=True)
    return model


def hyperprior():
    return parse_spec({**TREES["scale"], "loss": [{"BitsPerPixel": {}}, {"MSE": {}}]})


def rewritten(path, keep):
    """A state as it would be with only the variables whose (group, path) `keep` takes."""
    with np.load(path) as stored:
        meta = json.loads(stored["meta"].tobytes())
        arrays = {key: stored[key] for key in stored.files if key != "meta"}
    kept, left_out = {}, 0
    for group, paths in meta["paths"].items():
        rows = [index for index, each in enumerate(paths) if keep(group, each)]
        left_out += len(paths) - len(rows)
        for place, index in enumerate(rows):
            kept[f"{group}/{place}"] = arrays[f"{group}/{index}"]
        meta["paths"][group] = [paths[index] for index in rows]
    kept["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **kept)
    seal(path)
    return left_out


def is_older(group, path):
    parts = path.split("/")
    return not (parts[-1].startswith(NAME) or set(parts) & set(PART_NAMES.values()))


@pytest.mark.parametrize(
    ("make", "images", "count"),
    [
        (lambda tiny: tiny(), (8, 8, 8, 1), 3),
        (lambda tiny: tiny(PAIR), (8, 8, 8, 1), 6),
        (lambda tiny: hyperprior(), (2, 16, 16, 3), 3 + 2 * 4),
    ],
    ids=["one", "pair", "hyperprior"],
)
def test_a_state_of_before_is_gone_on_with(tiny, tmp_path, make, images, count):
    spec = make(tiny)
    model, twin = built(spec), built(spec)
    x = np.random.default_rng(0).integers(0, 256, images, dtype=np.uint8)
    model.train_on_batch(x)
    path = tmp_path / "state.npz"
    TrainingState(model, spec, path).save({"epoch": 1})
    assert rewritten(path, is_older) == count
    assert TrainingState(twin, spec, path).load() == {"epoch": 1}
    for group in ("variables", "metrics_variables"):
        for a, b in zip(getattr(model, group), getattr(twin, group), strict=True):
            if is_older(group, a.path):
                np.testing.assert_array_equal(np.asarray(a.value), np.asarray(b.value))
    for a, b in zip(model.optimizer.variables, twin.optimizer.variables, strict=True):
        found = np.asarray(b.value)
        expected = np.asarray(a.value) if is_older("optimizer", a.path) else np.zeros_like(found)
        np.testing.assert_array_equal(found, expected)
    model.train_on_batch(x)
    twin.train_on_batch(x)


def test_any_other_variable_that_is_missing_is_refused(tiny, tmp_path):
    spec = tiny()
    model = built(spec)
    path = tmp_path / "state.npz"
    TrainingState(model, spec, path).save({"epoch": 1})
    assert rewritten(path, lambda group, each: not each.endswith("velocity")) > 0
    with pytest.raises(UserError, match="optimizer variables, this spec has"):
        TrainingState(model, spec, path).load()
