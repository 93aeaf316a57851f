"""Norms of gradients: what is counted, under clipping, accumulation and two optimizers."""

import keras
import numpy as np
import pytest
from keras import ops

from builders.gradient_norms import take_gradient_norms, watch_gradients
from builders.optimizers import build_optimizer
from builders.training import build_compressor
from tests.builders.test_optimizers import PAIR

GRADIENTS = [(3.0, 4.0, 12.0), (0.0, 0.6, 0.8), (30.0, 40.0, 0.0)]
"""Norms 13, 1 and 50."""


def applied(optimizer, gradients=GRADIENTS):
    """An optimizer of weights (2,) and (1,) after steps with given gradients."""
    variables = [keras.Variable(np.zeros(2, "float32")), keras.Variable(np.zeros(1, "float32"))]
    optimizer.build(variables)
    watch_gradients(optimizer)
    for row in gradients:
        optimizer.apply([ops.convert_to_tensor(row[:2]), ops.convert_to_tensor(row[2:])])
    return optimizer, variables


@pytest.mark.parametrize(
    "settings", [{}, {"global_clipnorm": 0.1}, {"clipnorm": 0.1}, {"clipvalue": 0.1}], ids=str
)
def test_mean_and_largest_are_those_before_clipping(settings):
    optimizer, variables = applied(keras.optimizers.SGD(1.0, **settings))
    assert take_gradient_norms(optimizer) == {
        "gradient_norm/mean": pytest.approx(64 / 3, rel=1e-6),
        "gradient_norm/largest": pytest.approx(50.0, rel=1e-6),
    }
    moved = np.abs(ops.convert_to_numpy(variables[0].value)).max()
    assert (moved > 40) == (not settings)  # clipping still happens


def test_taking_them_begins_anew():
    optimizer, _ = applied(keras.optimizers.Adam(0.1))
    take_gradient_norms(optimizer)
    optimizer.apply([ops.convert_to_tensor([0.0, 3.0]), ops.convert_to_tensor([4.0])])
    assert list(take_gradient_norms(optimizer).values()) == [pytest.approx(5.0)] * 2
    assert all(np.isnan(value) for value in take_gradient_norms(optimizer).values())


def test_a_weight_without_gradient_counts_nothing():
    optimizer, _ = applied(keras.optimizers.SGD(1.0), [])
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        optimizer.apply([ops.convert_to_tensor([3.0, 4.0]), None])
    assert take_gradient_norms(optimizer)["gradient_norm/mean"] == pytest.approx(5.0)


def trained(optimizer, steps=4):
    """An optimizer after steps of `fit`, in a compiled function, and the model's first weights."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    before = model.get_weights()[0][:, 0]
    optimizer.build(model.trainable_variables)
    watch_gradients(optimizer)
    model.compile(optimizer, loss="mse")
    x = np.random.default_rng(0).normal(size=(steps, 2)).astype("float32")
    model.fit(x, np.zeros((steps, 1)), batch_size=1, shuffle=False, verbose=0)
    return optimizer, 2 * x * (x @ before)[:, None]  # each step's gradient where weights stay


def test_a_compiled_step_counts_too():
    optimizer, gradients = trained(keras.optimizers.SGD(0.0))
    norms = np.linalg.norm(gradients, axis=1)
    found = list(take_gradient_norms(optimizer).values())
    np.testing.assert_allclose(found, [norms.mean(), norms.max()], rtol=1e-5)


def test_of_accumulated_gradients_their_mean_counts_once_an_update():
    optimizer, gradients = trained(keras.optimizers.SGD(0.0, gradient_accumulation_steps=2))
    norms = np.linalg.norm(gradients.reshape(2, 2, 2).mean(axis=1), axis=1)
    found = list(take_gradient_norms(optimizer).values())
    np.testing.assert_allclose(found, [norms.mean(), norms.max()], rtol=1e-5)
    optimizer, _ = trained(keras.optimizers.SGD(0.0, gradient_accumulation_steps=8))
    assert all(np.isnan(value) for value in take_gradient_norms(optimizer).values())


def test_each_network_of_a_pair_has_its_own(tiny):
    spec = tiny({**PAIR, "training.optimizer": {"SGD": {"learning_rate": 0.1}}})
    model, _, _ = build_compressor(spec)
    optimizer = build_optimizer(spec, model)
    judge = {id(variable) for variable in model.discriminator.trainable_variables}
    variables = model.trainable_variables
    gradients = [
        ops.zeros_like(variable.value) + (2.0 if id(variable) in judge else 1.0)
        for variable in variables
    ]
    optimizer.apply(gradients)
    sizes = {True: 0, False: 0}
    for variable in variables:
        sizes[id(variable) in judge] += int(np.prod(variable.shape))
    assert take_gradient_norms(optimizer) == {
        "gradient_norm/mean": pytest.approx(np.sqrt(sizes[False]), rel=1e-6),
        "gradient_norm/largest": pytest.approx(np.sqrt(sizes[False]), rel=1e-6),
        "discriminator_gradient_norm/mean": pytest.approx(2 * np.sqrt(sizes[True]), rel=1e-6),
        "discriminator_gradient_norm/largest": pytest.approx(2 * np.sqrt(sizes[True]), rel=1e-6),
    }


def test_an_optimizer_that_is_not_watched_has_none():
    assert take_gradient_norms(keras.optimizers.SGD(0.1)) == {}
