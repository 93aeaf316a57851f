"""Optimizers from a spec: one, a pair, step sizes as they are logged, averaged weights."""

import keras
import numpy as np
import pytest

from builders.averaging import AveragedWeights
from builders.optimizers import build_optimizer, learning_rates
from builders.training import build_compressor

PAIR = {
    "model.layers.discriminator": {
        "layers": [{"Flatten": {}}, {"Dense": {"units": 1}}],
    },
    "loss": [{"MSE": {}}, {"Adversarial": {"weight": 0.1}}],
}


def built(tiny, changes=None):
    spec = tiny(changes)
    model, _, _ = build_compressor(spec)
    return model, build_optimizer(spec, model)


def test_one_network_has_one_optimizer_that_is_built(tiny):
    model, optimizer = built(tiny, {"training.optimizer": {"SGD": {"momentum": 0.9}}})
    assert isinstance(optimizer, keras.optimizers.SGD)
    kept = [each for each in optimizer.variables if not each.name.startswith("gradient_norm")]
    assert len(kept) == 2 + len(model.trainable_variables)
    assert len(optimizer.variables) == len(kept) + 3
    assert learning_rates(optimizer) == {"learning_rate": pytest.approx(0.01)}


def test_a_schedule_is_logged_as_it_stands(tiny):
    _, optimizer = built(tiny)
    assert learning_rates(optimizer)["learning_rate"] == pytest.approx(0.02)
    optimizer.iterations.assign(8)
    assert learning_rates(optimizer)["learning_rate"] == pytest.approx(0.01)
    optimizer.iterations.assign(99)
    assert learning_rates(optimizer)["learning_rate"] == pytest.approx(0.0)


def test_a_pair_has_two_optimizers_and_two_step_sizes(tiny):
    changes = {
        **PAIR,
        "training.discriminator_optimizer": {"Adam": {"learning_rate": 0.003, "beta_1": 0.5}},
    }
    model, optimizer = built(tiny, changes)
    assert learning_rates(optimizer) == {
        "learning_rate": pytest.approx(0.02),
        "discriminator_learning_rate": pytest.approx(0.003),
    }
    discriminator, generator = optimizer.optimizers
    assert discriminator.beta_1 == 0.5 and generator.beta_1 == 0.9
    for part, network in ((discriminator, model.discriminator), (generator, model.generator)):
        shapes = [variable.shape for variable in network.trainable_variables]
        # step, step size unless it is a schedule, then two moments of each weight
        moments = [variable.shape for variable in part.variables if len(variable.shape)]
        assert sorted(map(str, moments)) == sorted(map(str, shapes * 2))


def test_without_settings_of_its_own_the_discriminator_gets_a_copy(tiny):
    _, optimizer = built(tiny, {**PAIR, "training.optimizer": {"SGD": {"learning_rate": 0.5}}})
    discriminator, generator = optimizer.optimizers
    assert discriminator is not generator
    assert learning_rates(optimizer) == {"learning_rate": 0.5, "discriminator_learning_rate": 0.5}


@pytest.mark.parametrize("changes", [{}, PAIR], ids=["one", "pair"])
def test_validation_sees_the_averaged_weights_and_training_the_plain_ones(tiny, changes):
    averaging = {
        "training.optimizer": {"SGD": {"learning_rate": 0.5, "use_ema": True, "ema_momentum": 0.5}}
    }
    model, optimizer = built(tiny, {**changes, **averaging})
    model.compile(optimizer, run_eagerly=True)
    x = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), dtype=np.uint8)
    model.train_on_batch(x)
    model.train_on_batch(x)
    plain = [keras.ops.convert_to_numpy(each.value) for each in model.trainable_variables]
    callback = AveragedWeights()
    callback.set_model(model)
    averages = [keras.ops.convert_to_numpy(average.value) for _, average in callback._pairs()]

    callback.on_test_begin()
    inside = [keras.ops.convert_to_numpy(variable.value) for variable, _ in callback._pairs()]
    for a, b in zip(inside, averages, strict=True):
        np.testing.assert_array_equal(a, b)
    moved = [not np.array_equal(a, b) for a, b in zip(inside, plain, strict=False)]
    assert any(moved)

    callback.leave()
    optimizer.finalize_variable_values(model.trainable_variables)  # what Keras does after `fit`
    callback.on_train_end()
    for variable, before in zip(model.trainable_variables, plain, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable.value), before)


def test_an_optimizer_without_averages_is_left_alone(tiny):
    model, optimizer = built(tiny)
    model.compile(optimizer)
    before = model.get_weights()
    callback = AveragedWeights()
    callback.set_model(model)
    callback.on_test_begin()
    callback.leave()
    callback.on_train_end()
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
