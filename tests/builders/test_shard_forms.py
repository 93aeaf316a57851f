"""What each array of a state is to training, and what is lost of it in which form."""

import numpy as np
import pytest

from builders.checkpoint import TrainingState
from builders.optimizers import build_optimizer
from builders.shard_forms import LEVELS, decode, encode, role_of
from builders.training import build_compressor
from constants.pieces import HALF_MIN_VALUES

RNG = np.random.default_rng(0)
MATRIX = RNG.normal(size=(64, 32)).astype(np.float32)


def back(array, form):
    return decode(encode(array, form))


def test_exact_is_exact():
    for array in (MATRIX, np.array(3), np.array([1, 2], np.uint32), np.zeros((0, 2), np.float32)):
        np.testing.assert_array_equal(back(array, "same"), array, strict=True)


@pytest.mark.parametrize(("form", "bits"), [("bfloat16", 8), ("float16", 11)])
def test_half_precision_rounds_to_the_nearest(form, bits):
    found = back(MATRIX, form)
    assert found.dtype == np.float32
    assert (np.abs(found - MATRIX) <= np.abs(MATRIX) * 2.0**-bits).all()
    assert (found != MATRIX).any()
    np.testing.assert_array_equal(back(found, form), found)  # a second time loses nothing


def test_means_are_those_of_the_last_axis():
    array = RNG.uniform(size=(3, 3, 10, 16)).astype(np.float32)
    encoded = encode(array, "mean")
    assert encoded.values.shape == (16,)
    found = decode(encoded)
    assert found.shape == array.shape and found.dtype == np.float32
    np.testing.assert_allclose(found[1, 2, 3], array.mean(axis=(0, 1, 2)), rtol=1e-5)


def test_what_is_left_out_is_zero():
    encoded = encode(MATRIX, "none")
    assert encoded.values.size == 0
    np.testing.assert_array_equal(decode(encoded), np.zeros_like(MATRIX))


@pytest.mark.parametrize("form", ["bfloat16", "float16", "mean", "none"])
def test_vectors_small_arrays_and_integers_stay_exact(form):
    vector = RNG.normal(size=10 * HALF_MIN_VALUES).astype(np.float32)
    small = RNG.normal(size=(HALF_MIN_VALUES - 1, 1)).astype(np.float32)
    for array in (vector, small, np.ones((64, 64), np.int64), np.float32(0.001).reshape(())):
        encoded = encode(array, form)
        assert encoded.stored == "same"
        np.testing.assert_array_equal(decode(encoded), array)


@pytest.mark.parametrize(
    ("form", "value"),
    [("float16", 7e4), ("float16", np.inf), ("bfloat16", 3.4e38), ("bfloat16", np.nan)],
)
def test_what_leaves_the_range_of_a_form_stays_exact(form, value):
    array = MATRIX.copy()
    array[3, 4] = value
    assert encode(array, form).stored == "same"


ROLES = {
    "Adam": {"first", "second"},
    "AdamW": {"first", "second"},
    "Nadam": {"first", "second"},
    "Lamb": {"first", "second"},
    "Adamax": {"first", "second"},
    "RMSprop": {"second"},
    "Lion": {"first"},
    "Muon": {"first", "second"},
    "SGD": set(),
    "ScheduleFreeAdamW": {"average", "second"},  # its "momentum" is what it trains
    "Adagrad": set(),
    "Ftrl": set(),
}


@pytest.mark.parametrize("name", ROLES)
def test_the_variables_of_keras_optimizers_are_known(tiny, name):
    spec = tiny({"training.optimizer": {name: {"use_ema": True}}})
    compressor, _, _ = build_compressor(spec)
    optimizer = build_optimizer(spec, compressor)
    found = {role_of(f"optimizer/{i}", each.path) for i, each in enumerate(optimizer.variables)}
    assert found == {"exact", "average"} | ROLES[name]
    for each in optimizer.variables[:2]:  # the step and the learning rate
        assert role_of("optimizer/0", each.path) == "exact"
    weights = len(compressor.trainable_variables)
    averages = [each for each in optimizer.variables if each.path.endswith("_average")]
    assert len(averages) == weights


def test_the_optimizers_of_a_pair_are_known(tiny):
    from tests.builders.test_training import PAIR

    spec = tiny(PAIR)
    compressor, _, _ = build_compressor(spec)
    optimizer = build_optimizer(spec, compressor)
    roles = [role_of(f"optimizer/{i}", each.path) for i, each in enumerate(optimizer.variables)]
    generator = len(compressor.generator.trainable_variables)
    judge = len(compressor.discriminator.trainable_variables)
    assert roles.count("first") == roles.count("second") == generator + judge


def test_weights_metrics_and_best_weights_are_told_apart():
    assert role_of("model/3", "Tiny/kernel") == "weight"
    assert role_of("metric/0", "loss/total") == "exact"
    assert role_of("best/encoder/vars/0", "") == "best"


def test_only_running_means_are_ever_left_out():
    for level in LEVELS:
        for role, form in level.forms.items():
            assert form in ("bfloat16", "float16") or role in ("first", "second")
    assert not any("exact" in level.forms for level in LEVELS)


def test_adam_goes_on_gently_from_means():
    """With second moments of zero its next steps would be several times too long."""
    import keras

    def way(first, second):
        """Mean length of the way of eight steps, late in a training of noisy gradients."""
        chance = np.random.default_rng(1)
        scale = chance.uniform(0.5, 1.5, size=(40, 40))

        def gradient():
            return (chance.normal(size=(40, 40)) * scale).astype(np.float32)

        weights = keras.Variable(np.ones((40, 40), np.float32))
        optimizer = keras.optimizers.Adam(0.01)
        optimizer.build([weights])
        optimizer.iterations.assign(10_000)
        moments = {"first": 0.1 * gradient(), "second": np.square(scale).astype(np.float32)}
        for each in optimizer.variables:
            role = role_of("optimizer/0", each.path)
            if role in moments:
                form = first if role == "first" else second
                each.assign(decode(encode(moments[role], form)))
        for _ in range(8):
            optimizer.apply([keras.ops.convert_to_tensor(gradient())])
        return np.abs(keras.ops.convert_to_numpy(weights) - 1).mean()

    kept = way("same", "same")
    assert way("none", "mean") < 1.2 * kept
    assert way("none", "none") > 2 * kept


def test_the_state_file_names_the_paths(tiny, tmp_path):
    """The roles hang on them."""
    import json

    spec = tiny()
    compressor, _, _ = build_compressor(spec)
    compressor.compile(optimizer=build_optimizer(spec, compressor))
    TrainingState(compressor, spec, tmp_path / "state.npz").save({})
    with np.load(tmp_path / "state.npz") as stored:
        meta = json.loads(stored["meta"].tobytes())
    assert meta["paths"]["optimizer"] == [each.path for each in compressor.optimizer.variables]
