"""Weights and states on disk: what comes back, and what is refused with which words."""

import json
import re

import h5py
import keras
import numpy as np
import pytest

from builders.checkpoint import (
    NonFiniteWeights,
    TrainingState,
    find_weights,
    load_weights,
    run_of_weights,
    save_weights,
)
from builders.errors import UserError
from builders.optimizers import build_optimizer
from builders.seals import is_sealed, seal
from builders.spec import architecture
from builders.training import build_compressor

DENSE = "model.layers.generator.layers.encoder.layers[1].Dense"
PAIR = {
    "model.layers.discriminator": {
        "layers": [
            {"Flatten": {}},
            {"BatchNormalization": {}},
            {"Dropout": {"rate": 0.5}},
            {"SpectralNormalization": {"layer": {"Dense": {"units": 1}}}},
        ],
    },
    "loss": [{"MSE": {}}, {"KLDivergence": {"weight": 0.01}}, {"Adversarial": {"weight": 0.1}}],
    "training.discriminator_optimizer": {"SGD": {"learning_rate": 0.1, "momentum": 0.9}},
}


def built(tiny, changes=None):
    spec = tiny(changes)
    model, _, _ = build_compressor(spec)
    model.compile(build_optimizer(spec, model), run_eagerly=True)
    return model, spec


def array(variable):
    return keras.ops.convert_to_numpy(variable.value)


def images():
    return np.random.default_rng(0).integers(0, 256, (8, 8, 8, 1), dtype=np.uint8)


@pytest.fixture(scope="module")
def saved(tiny, tmp_path_factory):
    """A model and its file; the tests write into copies."""
    model, spec = built(tiny)
    path = tmp_path_factory.mktemp("saved") / "best.weights.h5"
    save_weights(model, spec, path, {"epoch": 3, "val_loss": 0.5})
    return model, spec, path


def copied(saved, folder):
    path = folder / "copy.weights.h5"
    path.write_bytes(saved[2].read_bytes())
    return path


def test_weights_come_back_and_the_optimizer_stays(tiny, saved):
    model, spec, path = saved
    twin, _ = built(tiny, {"training.seed": 1})
    assert not np.array_equal(twin.get_weights()[0], model.get_weights()[0])
    optimizer = twin.optimizer
    load_weights(twin, spec, path)
    for a, b in zip(twin.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert twin.optimizer is optimizer and int(array(optimizer.iterations)) == 0


def test_a_weights_file_is_a_keras_file_with_its_spec(tiny, saved):
    model, spec, path = saved
    assert is_sealed(path)
    with h5py.File(path) as file:
        stored = json.loads(file["codecsmith_spec"].asstr()[()])
        assert json.loads(file["codecsmith_info"].asstr()[()]) == {"epoch": 3, "val_loss": 0.5}
    assert stored == architecture(spec.resolved())
    twin, _, _ = build_compressor(tiny({"training.seed": 1}))
    twin.load_weights(path)  # Keras' own
    np.testing.assert_array_equal(twin.get_weights()[0], model.get_weights()[0])


def test_weights_of_another_spec_are_refused_with_every_difference(tiny, saved):
    other, spec = built(tiny, {f"{DENSE}.units": 12, f"{DENSE}.activation": "relu"})
    with pytest.raises(UserError) as caught:
        load_weights(other, spec, saved[2])
    assert str(caught.value).splitlines() == [
        f"{saved[2]}: a checkpoint of another spec than tiny.json:",
        f"  {DENSE}.units: 12 here, 16 there",
        f'  {DENSE}.activation: "relu" here, "leaky_relu" there',
    ]


def test_other_data_loss_and_training_take_the_weights(tiny, saved):
    changes = {"loss": [{"MSE": {}}], "training.epochs": 9, "dataset.name": "photos"}
    other, spec = built(tiny, changes)
    load_weights(other, spec, saved[2])


def test_checkpoints_of_before_a_field_was_there_are_loaded(tiny, saved, tmp_path):
    """Their spec lacks the field; null is what it means."""
    path = copied(saved, tmp_path)
    with h5py.File(path, "r+") as file:
        older = {key: saved[1].resolved()[key] for key in ("model", "preprocessing")}
        generator = older["model"]["layers"]["generator"]
        assert generator.pop("quantizer") is None
        assert generator.pop("entropy_model") is None
        assert older["model"]["layers"].pop("discriminator") is None
        del file["codecsmith_spec"]
        file["codecsmith_spec"] = json.dumps(older)
    seal(path)
    for quantizer in (None, "k-means"):  # which is no matter of weights
        change = {"model.layers.generator.quantizer": quantizer} if quantizer else {}
        twin, spec = built(tiny, change)
        load_weights(twin, spec, path)
        np.testing.assert_array_equal(twin.get_weights()[0], saved[0].get_weights()[0])


def test_weights_of_keras_that_fit_are_loaded(tiny, saved, tmp_path):
    model, spec, _ = saved
    path = tmp_path / "foreign.weights.h5"
    model.save_weights(path)  # with the optimizer's variables
    twin, _ = built(tiny, {"training.seed": 1})
    load_weights(twin, spec, path)
    np.testing.assert_array_equal(twin.get_weights()[0], model.get_weights()[0])


def one_line_about(path, caught):
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message and len(message) < 600
    return message.removeprefix(f"{path}: ")


def test_weights_of_keras_that_do_not_fit_take_one_line(tiny, tmp_path):
    path = tmp_path / "foreign.weights.h5"
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    other.save_weights(path)
    model, spec = built(tiny)
    with pytest.raises(UserError) as caught:
        load_weights(model, spec, path)
    assert one_line_about(path, caught).startswith("does not fit tiny.json: ")


@pytest.mark.parametrize("content", [b"", b"text, not HDF5", b"\x89HDF\r\n\x1a\n" + bytes(200)])
def test_what_is_no_weights_file_takes_one_line(tiny, saved, tmp_path, content):
    path = tmp_path / "x.weights.h5"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        load_weights(saved[0], saved[1], path)
    assert one_line_about(path, caught).startswith("not a readable HDF5 file: ")


def test_damaged_weights_take_one_line_wherever_they_are_damaged(saved, tmp_path):
    path = copied(saved, tmp_path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in [0, 8, len(whole) - 1, *rng.integers(0, len(whole) - 100, 40).tolist()]:
        changed = bytearray(whole)
        changed[place] ^= 0x40
        path.write_bytes(changed)
        with pytest.raises(UserError) as caught:
            load_weights(saved[0], saved[1], path)
        assert "damaged: its bytes are not those" in one_line_about(path, caught)
    for size in rng.integers(1, len(whole), 20).tolist():
        path.write_bytes(whole[:size])
        with pytest.raises(UserError) as caught:
            load_weights(saved[0], saved[1], path)
        one_line_about(path, caught)


def test_a_checkpoint_is_found_where_it_lies(tmp_path, saved):
    run = tmp_path / "run"
    folder = run / "checkpoints"
    folder.mkdir(parents=True)
    (run / "spec.json").write_text("{}")
    file = folder / "epoch3.weights.h5"
    file.write_bytes(b"")
    for given in (run, folder, file):  # the only one
        assert find_weights(str(given)) == file
    (folder / "epoch4.weights.h5").write_bytes(b"")
    with pytest.raises(UserError, match=r"several checkpoints and no best.weights.h5; name one: "):
        find_weights(str(run))
    best = folder / "best.weights.h5"
    best.write_bytes(b"")
    for given in (run, folder):
        assert find_weights(str(given)) == best
    assert find_weights(str(file)) == file
    assert run_of_weights(best).path == run
    assert run_of_weights(saved[2]) is None


def test_a_checkpoint_that_is_not_there(tmp_path):
    (tmp_path / "digits-1").mkdir()
    (tmp_path / "model.keras").write_bytes(b"")
    cases = {
        "digits-2": 'no such checkpoint; did you mean "digits-1"?',
        "digits-1": "no checkpoint in it (looked for best.weights.h5)",
        "model.keras": "not a weights file; expected a name ending in .weights.h5",
    }
    for name, message in cases.items():
        with pytest.raises(UserError) as caught:
            find_weights(str(tmp_path / name))
        assert str(caught.value) == f"{tmp_path / name}: {message}"


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
    """A pair of networks after two steps, its state on disk, and what is in it."""
    model, spec = built(tiny, PAIR)
    for _ in range(2):
        model.train_on_batch(images())
    state = TrainingState(model, spec, tmp_path_factory.mktemp("state") / "state.npz")
    progress = {"epoch": 1, "history": {"loss": [0.1]}, "best_loss": None}
    state.save(progress)
    return model, spec, state, progress


def everything(model):
    groups = (model.variables, model.optimizer.variables, model.metrics_variables)
    return [array(variable) for group in groups for variable in group]


def test_the_whole_state_comes_back(tiny, trained):
    model, spec, state, progress = trained
    expected = everything(model)
    twin, _ = built(tiny, PAIR)
    fresh = everything(twin)
    assert sum(not np.array_equal(a, b) for a, b in zip(fresh, expected, strict=True)) > 20
    assert TrainingState(twin, spec, state._path).load() == progress
    for a, b in zip(everything(twin), expected, strict=True):
        np.testing.assert_array_equal(a, b)
    # and so does what comes after: the same random numbers, statistics and moments.
    assert twin.train_on_batch(images()) == model.train_on_batch(images())
    for a, b in zip(everything(twin), everything(model), strict=True):
        np.testing.assert_array_equal(a, b)
    for variable, value in zip(  # the fixture is shared
        [*model.variables, *model.optimizer.variables, *model.metrics_variables],
        expected,
        strict=True,
    ):
        variable.assign(value)


def test_a_state_holds_random_numbers_statistics_and_both_optimizers(trained):
    model, _, _, _ = trained
    paths = {variable.path for variable in model.variables}
    for part in ("seed_generator", "moving_mean", "vector_u"):
        assert any(part in path for path in paths), part
    optimizers = {variable.path for variable in model.optimizer.variables}
    assert any("momentum" in path for path in optimizers)  # of the discriminator's SGD
    assert any("velocity" in path for path in optimizers)  # of the generator's Adam


def test_a_state_of_another_spec_is_refused_with_the_difference(tiny, trained):
    _, _, state, _ = trained
    cases = {
        "training.batch_size": (4, "4 here, 8 there"),
        "training.seed": (1, "1 here, 0 there"),
        "loss[2].Adversarial.weight": (0.2, "0.2 here, 0.1 there"),
        "training.discriminator_optimizer.SGD.learning_rate": (0.2, "0.2 here, 0.1 there"),
        "dataset.max_images": (20, "20 here, 28 there"),
    }
    model = trained[0]
    for path, (value, words) in cases.items():
        other = tiny({**PAIR, path: value})
        with pytest.raises(UserError) as caught:
            TrainingState(model, other, state._path).load()
        assert str(caught.value).splitlines() == [
            f"{state._path}: the state of another spec than tiny.json:",
            f"  {path}: {words}",
        ]


def test_a_state_takes_more_epochs(tiny, trained):
    model, _, state, progress = trained
    other = tiny({**PAIR, "training.epochs": 9, "dataset.workers": 1})
    assert TrainingState(model, other, state._path).load() == progress


def test_a_damaged_state_takes_one_line(trained, tmp_path):
    model, spec, state, _ = trained
    path = tmp_path / "state.npz"
    whole = state._path.read_bytes()
    mine = TrainingState(model, spec, path)
    with pytest.raises(UserError, match="nothing to resume from: no state was saved yet"):
        mine.load()
    rng = np.random.default_rng(1)
    damaged = [whole[:size] for size in rng.integers(0, len(whole), 20).tolist()]
    for place in rng.integers(0, len(whole), 40).tolist():
        changed = bytearray(whole)
        changed[place] ^= 1
        damaged.append(bytes(changed))
    before = everything(model)
    for content in [b"", b"text", *damaged]:
        path.write_bytes(content)
        with pytest.raises(UserError) as caught:
            mine.load()
        assert re.match("damaged: ", one_line_about(path, caught))
    for a, b in zip(everything(model), before, strict=True):
        np.testing.assert_array_equal(a, b)  # nothing was half loaded


def test_weights_that_are_no_numbers_are_no_state(tiny, tmp_path):
    model, spec = built(tiny)
    state = TrainingState(model, spec, tmp_path / "state.npz")
    state.save({"epoch": 1})
    before = (tmp_path / "state.npz").read_bytes()
    kernel = model.encoder.stack[1].kernel
    spoilt = array(kernel).copy()
    spoilt[2, 3] = np.nan
    kernel.assign(spoilt)
    with pytest.raises(NonFiniteWeights, match=r"the weights .*dense_1/kernel are not finite"):
        state.save({"epoch": 2})
    assert (tmp_path / "state.npz").read_bytes() == before


def test_weights_in_bfloat16_come_back_exactly(tiny, tmp_path):
    changes = {f"{DENSE}.dtype": "bfloat16"}
    model, spec = built(tiny, changes)
    TrainingState(model, spec, tmp_path / "state.npz").save({"epoch": 1})
    twin, _ = built(tiny, {**changes, "training.seed": 1})
    assert twin.encoder.stack[1].kernel.dtype == "bfloat16"
    expected = array(model.encoder.stack[1].kernel).astype("float32")
    assert not np.array_equal(array(twin.encoder.stack[1].kernel).astype("float32"), expected)
    TrainingState(twin, spec, tmp_path / "state.npz").load()
    np.testing.assert_array_equal(array(twin.encoder.stack[1].kernel).astype("float32"), expected)
