"""The training step of generator and discriminator, against steps computed without it."""

import keras
import numpy as np
import pytest
from keras import ops

from architectures.autoencoder import Decoder, Encoder, Generator
from architectures.discriminator import Discriminator
from architectures.image_compressor import ImageCompressor
from architectures.losses import L1, MSE, Adversarial
from architectures.metrics import PSNR
from architectures.preprocessing import Preprocessing
from builders.optimizers import build_optimizer

SHAPE = (None, 8, 8, 1)
KINDS = ("hinge", "non_saturating", "least_squares")
ADVERSARY = {"Adversarial": {"kind": "hinge", "weight": 0.1}}


def images(count=4, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 1), dtype=np.uint8)


def judge_layers(**first):
    return [
        keras.layers.Conv2D(4, 3, strides=2, activation="leaky_relu", name="a", **first),
        keras.layers.Flatten(name="b"),
        keras.layers.Dense(1, name="c"),
    ]


def generator(seed=0, **dense):
    keras.utils.set_random_seed(seed)
    encoder = Encoder([keras.layers.Flatten(), keras.layers.Dense(6, name="code", **dense)])
    decoder = Decoder(
        [keras.layers.Dense(64, activation="sigmoid"), keras.layers.Reshape((8, 8, 1))]
    )
    return Generator(encoder, decoder)


def compressor(terms, judge=None, seed=0, metrics=(), **dense):
    model = ImageCompressor(generator(seed, **dense), judge, terms, metrics)
    model.build(SHAPE)
    return model


def compiled(model, generator_rate=0.1, discriminator_rate=0.1, seed=1):
    """With plain gradient descent, so that a step shows the gradient; eager, to save compiling."""
    if model.discriminator is None:
        optimizer = keras.optimizers.SGD(generator_rate)
    else:
        theirs = {id(variable) for variable in model.discriminator.trainable_variables}
        pair = [keras.optimizers.SGD(generator_rate), keras.optimizers.SGD(discriminator_rate)]
        optimizer = keras.optimizers.MultiOptimizer(lambda variable: pair[id(variable) in theirs])
    model.compile(optimizer, run_eagerly=True)
    return model


def values(network):
    return [ops.convert_to_numpy(variable.value) for variable in network.trainable_variables]


def judged(kind="hinge", weight=0.1, seed=0, layers=None, **settings):
    keras.utils.set_random_seed(seed + 100)
    judge = Discriminator(layers or judge_layers())
    return compressor([MSE(), Adversarial(kind, weight=weight)], judge, seed, **settings)


def step(network, x):
    """What one training step adds to each weight of a network of the model."""
    model, part = network
    before = values(part)
    model.train_on_batch(x)
    return [after - b for after, b in zip(values(part), before, strict=True)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_discriminators_step_is_that_of_its_own_loss_alone(kind):
    model = compiled(judged(kind, weight=3.0))
    x = images()
    # A network of its own, with the same weights, on the same two batches.
    alone = Discriminator(judge_layers())
    alone.build(SHAPE)
    alone.set_weights(model.discriminator.get_weights())
    originals = x.astype("float32") / 255
    pair = np.concatenate([originals, ops.convert_to_numpy(model(x, training=True)["x_hat"])])

    class Alone(keras.Model):
        def __init__(self):
            super().__init__()
            self.judge = alone

        def call(self, both):
            return self.judge(both)[0]

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            real, fake = y_pred[:4, 0], y_pred[4:, 0]
            if kind == "hinge":
                return ops.mean(ops.maximum(0.0, 1 - real)) + ops.mean(ops.maximum(0.0, 1 + fake))
            if kind == "non_saturating":  # -log sigmoid(r) - log(1 - sigmoid(f))
                sigmoid = 1 / (1 + ops.exp(-y_pred[:, 0]))
                return -ops.mean(ops.log(sigmoid[:4])) - ops.mean(ops.log(1 - sigmoid[4:]))
            return ops.mean((real - 1) ** 2) / 2 + ops.mean(fake**2) / 2

    reference = Alone()
    reference.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    expected = step((reference, alone), pair)
    found = step((model, model.discriminator), x)
    assert max(np.abs(each).max() for each in expected) > 1e-3
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_what_the_generator_is_paid_does_not_move_the_discriminator():
    steps = []
    for weight in (0.0, 5.0):
        model = compiled(judged(weight=weight))
        steps.append(step((model, model.discriminator), images()))
    for a, b in zip(*steps, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_discriminator_that_is_not_asked_does_not_move_the_generator():
    with_judge = compiled(judged(weight=0.0))
    without = compiled(compressor([MSE()]))
    for a, b in zip(values(with_judge.generator), values(without.generator), strict=True):
        np.testing.assert_array_equal(a, b)
    found = step((with_judge, with_judge.generator), images())
    expected = step((without, without.generator), images())
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-7)


def test_the_generators_step_is_that_of_the_weighted_sum():
    model = compiled(judged("least_squares", weight=0.5))
    judge = model.discriminator

    class Fooled(L1):  # 0.5 * (f - 1)^2 / 2, as one more loss on the image
        def compare(self, x, x_hat):
            weights = [ops.stop_gradient(variable.value) for variable in judge.trainable_variables]
            (logits, _), _ = judge.stateless_call(weights, [], x_hat)
            return 0.25 * (logits[:, 0] - 1) ** 2

    reference = compiled(compressor([MSE(), Fooled(name="fooled")]))
    expected = step((reference, reference.generator), images())
    found = step((model, model.generator), images())
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_each_network_has_its_own_optimizer():
    for generator_rate, discriminator_rate in ((0.0, 0.1), (0.1, 0.0)):
        model = compiled(judged(), generator_rate, discriminator_rate)
        before = [values(model.generator), values(model.discriminator)]
        model.train_on_batch(images())
        moved = [
            any(not np.array_equal(a, b) for a, b in zip(old, values(network), strict=True))
            for old, network in zip(before, (model.generator, model.discriminator), strict=True)
        ]
        assert moved == [generator_rate > 0, discriminator_rate > 0]


def test_optimizers_follow_the_networks_and_not_their_names(tiny_tree):
    from builders.spec import parse_spec
    from builders.training import build_compressor

    tree = tiny_tree()
    layers = tree["model"]["layers"]
    layers["discriminator"] = {"name": "D.", "layers": [{"Flatten": {}}, {"Dense": {"units": 1}}]}
    tree["model"]["name"] = "D."  # the path of every weight begins with it
    layers["generator"]["name"] = "Dx"  # "D." as a regular expression
    tree["loss"].append(ADVERSARY)
    tree["training"]["optimizer"] = {"SGD": {"learning_rate": 0.5}}
    tree["training"]["discriminator_optimizer"] = {"SGD": {"learning_rate": 0.25}}
    spec = parse_spec(tree)
    model, _, _ = build_compressor(spec)
    optimizer = build_optimizer(spec, model)
    for network, rate in ((model.generator, 0.5), (model.discriminator, 0.25)):
        before = values(network)
        variables = network.trainable_variables
        assert variables
        ones = [np.ones(variable.shape, "float32") for variable in model.trainable_variables]
        optimizer.apply(ones, model.trainable_variables)
        for old, new in zip(before, values(network), strict=True):
            np.testing.assert_allclose(old - new, rate, rtol=1e-4)
        for variable, old in zip(variables, before, strict=True):
            variable.assign(old)


def test_against_a_frozen_discriminator_the_adversarial_term_falls():
    keras.utils.set_random_seed(7)
    judge = Discriminator(judge_layers())
    judge.trainable = False
    model = compressor([Adversarial("non_saturating", name="adversarial")], judge)
    frozen = judge.get_weights()
    model.compile(keras.optimizers.Adam(0.02))
    history = model.fit(images(16), batch_size=16, epochs=40, verbose=0).history["adversarial"]
    assert history[-1] < history[0] - 0.1
    for before, after in zip(frozen, judge.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_it_learns_to_tell_originals_from_blurred_images():
    digits = pytest.importorskip("sklearn.datasets").load_digits().images[:512]
    x = np.rint(digits * (255 / 16)).astype(np.uint8)[..., None]
    keras.utils.set_random_seed(3)
    blurring = Generator(
        Encoder([keras.layers.AveragePooling2D(2)]),
        Decoder([keras.layers.UpSampling2D(2), keras.layers.Conv2D(1, 1, name="mix")]),
    )
    judge = Discriminator(
        [
            keras.layers.Conv2D(8, 3, padding="same", activation="leaky_relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
        ]
    )
    model = ImageCompressor(blurring, judge, [MSE(), Adversarial("hinge", weight=0.01)])
    model.build(SHAPE)
    blurring.decoder.stack[1].set_weights([np.ones((1, 1, 1, 1)), np.zeros(1)])
    theirs = {id(variable) for variable in judge.trainable_variables}
    pair = [keras.optimizers.SGD(1e-9), keras.optimizers.Adam(0.01)]
    model.compile(keras.optimizers.MultiOptimizer(lambda v: pair[id(v) in theirs]))
    model.fit(x[:384], batch_size=64, epochs=15, verbose=0)
    held_out = model(x[384:])
    real, _ = judge(held_out["x"])
    fake, _ = judge(held_out["x_hat"])
    right = np.concatenate([ops.convert_to_numpy(real) > 0, ops.convert_to_numpy(fake) < 0])
    assert right.mean() > 0.95
    np.testing.assert_allclose(  # and the generator is still the blur
        ops.convert_to_numpy(blurring.decoder.stack[1].kernel.value), 1.0, atol=1e-5
    )


def test_the_loss_is_the_weighted_sum_of_the_generators_terms():
    regularizer = keras.regularizers.L2(0.01)
    layers = judge_layers(kernel_regularizer=keras.regularizers.L2(0.5))
    model = judged(
        "hinge", weight=0.3, layers=layers, kernel_regularizer=regularizer, metrics=[PSNR()]
    )
    compiled(model)
    x = images(6)
    logs = model.test_on_batch(x, return_dict=True)
    outputs = {key: ops.convert_to_numpy(value) for key, value in model(x).items()}
    fake = ops.convert_to_numpy(model.discriminator(outputs["x_hat"])[0])
    real = ops.convert_to_numpy(model.discriminator(outputs["x"])[0])
    mse = np.mean((outputs["x"] - outputs["x_hat"]) ** 2)
    code = ops.convert_to_numpy(model.encoder.stack[1].kernel.value)
    assert logs["mse_loss"] == pytest.approx(mse, rel=1e-5)
    assert logs["adversarial"] == pytest.approx(np.mean(-fake), rel=1e-4)
    assert logs["loss"] == pytest.approx(
        mse + 0.3 * np.mean(-fake) + 0.01 * np.sum(code**2), rel=1e-5
    )
    assert logs["discriminator_loss"] == pytest.approx(
        np.mean(np.maximum(0, 1 - real)) + np.mean(np.maximum(0, 1 + fake)), rel=1e-5
    )
    assert set(logs) == {"loss", "mse_loss", "adversarial", "discriminator_loss", "psnr_db"}


def test_a_regularizer_of_the_discriminator_pulls_on_it():
    steps = []
    for strength in (0.0, 0.5):
        layers = judge_layers(kernel_regularizer=keras.regularizers.L2(strength))
        model = compiled(judged(layers=layers))
        kernel = ops.convert_to_numpy(model.discriminator.stack[0].kernel.value)
        steps.append(step((model, model.discriminator), images())[0])
    # The gradient of 0.5 * sum(w^2) is w; the learning rate is 0.1.
    np.testing.assert_allclose(steps[1] - steps[0], -0.1 * kernel, atol=1e-6)


def test_running_averages_of_the_discriminator_see_both_batches_once():
    layers = [
        keras.layers.Flatten(),
        keras.layers.BatchNormalization(momentum=0.5, name="norm"),
        keras.layers.Dense(1),
    ]
    model = compiled(judged(layers=layers), 0.0, 0.0)
    norm, x = model.discriminator.stack[1], images()
    outputs = {key: ops.convert_to_numpy(value) for key, value in model(x).items()}
    model.test_on_batch(x)
    np.testing.assert_array_equal(ops.convert_to_numpy(norm.moving_mean.value), 0.0)
    model.train_on_batch(x)
    means = [np.mean((2 * outputs[key] - 1).reshape(4, -1), axis=0) for key in ("x", "x_hat")]
    np.testing.assert_allclose(
        ops.convert_to_numpy(norm.moving_mean.value), means[0] / 4 + means[1] / 2, atol=1e-5
    )


class Fold(Preprocessing):
    """Blocks of 2x2 pixels as channels: the encoder's side sees another shape than the image's."""

    def call(self, x):
        x = ops.reshape(x, (-1, 4, 2, 4, 2, 1))
        return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, 4, 4, 4))

    def inverse(self, x):
        x = ops.transpose(ops.reshape(x, (-1, 4, 4, 2, 2, 1)), (0, 1, 3, 2, 4, 5))
        return ops.reshape(x, (-1, 8, 8, 1))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 4, 4, 4)


def test_the_discriminator_sees_images_whatever_the_preprocessing():
    steps = [Fold()]
    network = Generator(
        Encoder([keras.layers.Conv2D(2, 1)], steps), Decoder([keras.layers.Conv2D(4, 1)], steps)
    )
    model = ImageCompressor(network, Discriminator(judge_layers()), [MSE(), Adversarial()])
    model.build(SHAPE)
    logs = compiled(model).train_on_batch(images(), return_dict=True)
    assert np.isfinite(logs["discriminator_loss"])


def test_every_image_weighs_the_same_in_a_short_last_batch():
    model = compiled(compressor([MSE()], metrics=[PSNR()]), generator_rate=0.0)
    x = images(5)
    whole = model.evaluate(x, batch_size=5, verbose=0, return_dict=True)
    parts = model.evaluate(x, batch_size=3, verbose=0, return_dict=True)
    each = [model.evaluate(x[i : i + 1], verbose=0, return_dict=True)["psnr_db"] for i in range(5)]
    for name, value in whole.items():
        assert parts[name] == pytest.approx(value, rel=1e-5)
    assert whole["psnr_db"] == pytest.approx(np.mean(each), rel=1e-5)


def test_configuration_comes_back_with_both_networks():
    model = judged("least_squares", weight=0.2, metrics=[PSNR()])
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(model))
    twin.build(SHAPE)
    twin.set_weights(model.get_weights())
    x = images()
    np.testing.assert_allclose(
        ops.convert_to_numpy(twin(x)["x_hat"]), ops.convert_to_numpy(model(x)["x_hat"]), atol=1e-6
    )
    found = compiled(twin).test_on_batch(x, return_dict=True)
    assert found == pytest.approx(compiled(model).test_on_batch(x, return_dict=True), rel=1e-5)
