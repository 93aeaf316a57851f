import keras
import numpy as np
import pytest
from keras import layers

from architectures.hyperprior import HyperCoder, MeanScaleHyperprior, ScaleHyperprior
from architectures.layers import DepthToSpace, Residual
from builders.codec_rate import rate_cost
from builders.errors import UserError
from builders.integer_conversion import _rounded, convert
from builders.integer_layers import Step
from builders.places import HYPER_DECODER
from codec.integer_network import SUM_LIMIT, IntegerLayer, IntegerNetwork

LATENTS, HYPER_LATENTS = 4, 3


def conv(filters=8, kernel_size=3, **given):
    return layers.Conv2D(filters, kernel_size, padding="same", **given)


def transposed(filters=8, kernel_size=5, strides=2, **given):
    return layers.Conv2DTranspose(filters, kernel_size, strides=strides, padding="same", **given)


def hyperprior(stack, kind=MeanScaleHyperprior, seed=0, spread=0.15, **given):
    """A model with these layers as its hyper decoder, and weights as after a training."""
    keras.utils.set_random_seed(seed)
    encoder = HyperCoder([conv(HYPER_LATENTS, 5, strides=2)])
    model = kind(encoder, HyperCoder(stack), **given)
    model.build((None, None, None, LATENTS))
    numbers = np.random.default_rng(seed)
    for layer in model.hyper_decoder.stack:
        weights = layer.get_weights()
        if weights:
            size = np.prod(weights[0].shape[:2]) * HYPER_LATENTS
            weights[0] = numbers.normal(0, 3 * spread / np.sqrt(size), weights[0].shape)
            layer.set_weights(
                [weights[0], *(numbers.normal(0, spread, w.shape) for w in weights[1:])]
            )
    return model


def hyper_latents(count=3, size=7, seed=1, scale=4.0):
    numbers = np.random.default_rng(seed)
    shape = (2, size, size + 1, HYPER_LATENTS)
    return [np.round(numbers.laplace(0, scale, shape)).astype(np.int32) for _ in range(count)]


def in_numbers(model, z):
    """What the trained hyper decoder says: means, and places in the table of scales."""
    given, _ = model.hyper_decoder(z.astype(np.float32), training=False)
    given = np.array(keras.ops.convert_to_numpy(given))
    logs = given.shape[-1] // model.outputs_per_latent * (model.outputs_per_latent - 1)
    return given[..., :logs], model.place_of(given[..., logs:])


def in_whole_numbers(converted, z):
    """What the integer network says."""
    found = converted.network.run(z)
    if converted.mean_bits is None:
        return found[..., :0], found
    means, places = np.split(found, 2, axis=-1)
    return means * 2.0**-converted.mean_bits, places


STACKS = {
    "transposed": lambda: [transposed(activation="relu"), conv()],
    "upsampled": lambda: [conv(6, activation="leaky_relu"), layers.UpSampling2D(2), conv()],
    "depth to space": lambda: [conv(20, activation="relu"), DepthToSpace(2), conv()],
    "depth to space, later": lambda: [
        conv(6),
        layers.ReLU(),
        conv(16, 1),
        DepthToSpace(2),
        conv(8, 1),
    ],
    "moved first": lambda: [layers.UpSampling2D(2), conv(6, (2, 3)), layers.LeakyReLU(0.3), conv()],
    "without bias": lambda: [
        transposed(6, use_bias=False, activation="relu"),
        conv(use_bias=False),
    ],
    "one layer": lambda: [transposed()],
    "deep": lambda: [
        conv(5, activation="relu"),
        transposed(6, (4, 3), activation="leaky_relu"),
        conv(7),
        layers.Activation("relu"),
        conv(8, 1),
    ],
}


@pytest.mark.parametrize("case", STACKS)
def test_whole_numbers_say_nearly_what_the_trained_layers_say(case):
    model = hyperprior(STACKS[case]())
    converted = convert(model, hyper_latents(), HYPER_DECODER)
    assert isinstance(converted.network, IntegerNetwork)
    assert converted.network.upsampling == 2
    for seed in (1, 9):  # fitted on the first, not on the others
        for z in hyper_latents(seed=seed):
            means, places = in_numbers(model, z)
            whole_means, whole_places = in_whole_numbers(converted, z)
            error = np.abs(whole_means - means)
            assert error.mean() < 0.01 * np.abs(means).max()
            inside = (places > 0) & (places < model.scale_levels - 1)
            beside = (whole_places - places)[inside]
            assert abs(beside.mean()) < 0.05
            # Rounding alone makes it 0.25; what lies beyond all that was seen is clipped.
            assert np.abs(beside).mean() < (0.28 if seed == 1 else 0.4)
            if seed == 1:
                assert error.max() < 0.02 * np.abs(means).max()
                assert np.abs(beside).max() < 1


def test_a_hyperprior_without_means():
    model = hyperprior([transposed(activation="relu"), conv(4)], ScaleHyperprior)
    converted = convert(model, hyper_latents(), HYPER_DECODER)
    assert converted.mean_bits is None
    for z in hyper_latents(seed=2):
        _, places = in_numbers(model, z)
        _, whole = in_whole_numbers(converted, z)
        assert np.abs(whole - places).mean() < 0.28


def test_the_cost_in_bits_is_small():
    model = hyperprior([transposed(activation="relu"), conv()])
    z = hyper_latents()
    converted = convert(model, z, HYPER_DECODER)
    numbers = np.random.default_rng(0)
    latents = []
    for each in z:
        means, places = in_numbers(model, each)
        scale = keras.ops.convert_to_numpy(model.scale_at(places, False))
        y = means + scale * numbers.normal(size=means.shape)
        latents.append({"y": y.astype(np.float32), "z": each.astype(np.float32)})
    cost = rate_cost(model, converted, latents, pixels=1000)
    assert cost.bpp > 0
    assert -0.3 < cost.percent < 1.0
    assert cost.percent == pytest.approx(100 * (cost.whole_bpp / cost.bpp - 1))


@pytest.mark.parametrize(
    "spellings",
    [
        [
            lambda: [transposed(activation="leaky_relu"), conv()],
            lambda: [transposed(), layers.LeakyReLU(0.2), conv()],
            lambda: [transposed(), layers.Activation("leaky_relu"), conv()],
            lambda: [transposed(), layers.ReLU(negative_slope=0.2), conv()],
        ],
        [
            lambda: [transposed(activation="relu"), conv()],
            lambda: [transposed(), layers.ReLU(), conv()],
            lambda: [transposed(), layers.Activation("relu"), conv()],
            lambda: [transposed(), layers.LeakyReLU(0.0), conv()],
        ],
        [
            lambda: [transposed(), conv()],
            lambda: [transposed(activation="linear"), conv()],
            lambda: [transposed(), layers.Activation("linear"), conv()],
            lambda: [transposed(), conv(), layers.Activation("linear")],
        ],
    ],
)
def test_activations_mean_the_same_however_they_are_written(spellings):
    weights = hyperprior(spellings[0]()).hyper_decoder.get_weights()
    networks = []
    for spelling in spellings:
        model = hyperprior(spelling())
        model.hyper_decoder.set_weights(weights)
        networks.append(convert(model, hyper_latents(), HYPER_DECODER).network)
    z = hyper_latents()[0]
    for other in networks[1:]:
        assert [each.slope for each in other.layers] == [each.slope for each in networks[0].layers]
        np.testing.assert_array_equal(other.run(z), networks[0].run(z))


class Louder(layers.Conv2DTranspose):
    def call(self, inputs):
        return 2 * super().call(inputs)


UP = {"strides": 2, "padding": "same"}
REFUSED = {
    0: [
        lambda: [layers.Conv2D(8, 3, padding="same", dilation_rate=2), conv()],
        lambda: [layers.Conv2D(8, 3, padding="valid"), conv()],
        lambda: [conv(8, strides=2), conv()],
        lambda: [conv(9, groups=3), conv()],
        lambda: [conv(activation="elu"), conv()],
        lambda: [conv(activation=layers.LeakyReLU(0.1)), conv()],
        lambda: [conv(kernel_size=(3, 16)), conv()],
        lambda: [transposed(kernel_size=17), conv()],
        lambda: [transposed(strides=9), conv()],
        lambda: [transposed(strides=(2, 1)), conv()],
        lambda: [transposed(output_padding=1), conv()],
        lambda: [layers.Conv2DTranspose(8, 2, strides=2), conv()],
        lambda: [Louder(8, 3, **UP), conv()],
        lambda: [layers.DepthwiseConv2D(3, padding="same"), conv()],
        lambda: [layers.SeparableConv2D(8, 3, padding="same"), conv()],
        lambda: [layers.UpSampling2D(2, interpolation="bilinear"), conv()],
        lambda: [layers.UpSampling2D((2, 1)), conv()],
        lambda: [layers.UpSampling2D(9), conv()],
        lambda: [layers.BatchNormalization(), conv()],
        lambda: [layers.Dropout(0.5), conv()],
        lambda: [Residual([conv(HYPER_LATENTS)]), conv()],
        lambda: [layers.ReLU(), conv()],  # no convolution before it
    ],
    1: [
        lambda: [conv(), layers.ReLU(max_value=6.0), conv()],
        lambda: [conv(), layers.ReLU(threshold=0.1), conv()],
        lambda: [conv(), layers.Activation("tanh"), conv()],
        lambda: [conv(), layers.PReLU(shared_axes=[1, 2]), conv()],
        lambda: [conv(), layers.LeakyReLU(1.5), conv()],
        lambda: [conv(activation="relu"), layers.ReLU(), conv()],
        lambda: [conv(activation="leaky_relu"), layers.LeakyReLU(), conv()],
    ],
    2: [lambda: [conv(), layers.UpSampling2D(2), layers.ReLU(), conv()]],
}


@pytest.mark.parametrize(
    ("index", "make"), [(index, make) for index, makers in REFUSED.items() for make in makers]
)
def test_what_has_no_form_in_whole_numbers_is_named(index, make):
    stack = make()
    coder = HyperCoder(stack)
    coder.build((None, 36, 36, HYPER_LATENTS))
    model = ScaleHyperprior(HyperCoder([conv(HYPER_LATENTS)]), coder)
    with pytest.raises(UserError) as error:
        convert(model, hyper_latents(1), HYPER_DECODER)
    message = str(error.value)
    place = "model.layers.generator.layers.hyper_decoder.layers"
    assert message.startswith(f"{place}[{index}].{type(stack[index]).__name__}: ")
    assert "whole numbers" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "make",
    [
        lambda: [conv(), layers.UpSampling2D(2)],
        lambda: [conv(16), DepthToSpace(2)],
        lambda: [conv(), conv(activation="relu")],
        lambda: [conv(), conv(), layers.ReLU()],
    ],
)
def test_the_last_layer_must_be_a_plain_convolution(make):
    coder = HyperCoder(make())
    coder.build((None, None, None, HYPER_LATENTS))
    model = ScaleHyperprior(HyperCoder([conv(HYPER_LATENTS)]), coder)
    with pytest.raises(UserError, match="the last layer must be a convolution without activation"):
        convert(model, hyper_latents(1), HYPER_DECODER)


def test_a_table_of_too_many_scales_is_refused():
    model = hyperprior([transposed(), conv()], scale_levels=20_000)
    with pytest.raises(UserError, match=r"hyper_decoder\.layers: has no form in whole numbers"):
        convert(model, hyper_latents(), HYPER_DECODER)


def test_weights_that_are_too_large_are_refused():
    model = hyperprior([transposed()], spread=300.0)
    with pytest.raises(UserError, match="too large for whole numbers"):
        convert(model, hyper_latents(), HYPER_DECODER)


def test_large_means_are_counted_in_coarser_steps():
    bits = []
    for size in (0.0, 50.0, 900.0):
        model = hyperprior([transposed(), conv()])
        last = model.hyper_decoder.stack[-1]
        kernel, bias = last.get_weights()
        bias[:LATENTS] = size
        last.set_weights([kernel, bias])
        converted = convert(model, hyper_latents(), HYPER_DECODER)
        bits.append(converted.mean_bits)
        z = hyper_latents()[0]
        means, _ = in_numbers(model, z)
        whole, _ = in_whole_numbers(converted, z)
        assert np.abs(whole - means).max() < 0.03 * np.abs(means).max()
    assert bits[0] == 8
    assert bits[0] >= bits[1] > bits[2]


def test_inputs_far_from_those_seen_are_clipped_the_same_everywhere():
    model = hyperprior([transposed(activation="relu"), conv()])
    seen = [np.clip(each, -5, 5) for each in hyper_latents()]
    network = convert(model, seen, HYPER_DECODER).network
    assert network.input_limit == 10
    far = np.full((1, 2, 2, HYPER_LATENTS), 2**31 - 1, np.int32)
    np.testing.assert_array_equal(network.run(far), network.run(np.sign(far) * 10))
    nothing = [np.zeros((1, 2, 2, HYPER_LATENTS), np.int32)]
    assert convert(model, nothing, HYPER_DECODER).network.input_limit == 8


def test_channels_that_depth_to_space_mixes_have_one_unit():
    """One channel has large weights that cancel out: it needs coarser steps than the others."""
    model = hyperprior([conv(16, 1, activation="leaky_relu"), DepthToSpace(2), conv(8, 1)])
    first = model.hyper_decoder.stack[0]
    kernel, bias = first.get_weights()
    kernel[:], bias[:] = 0.05 * np.sign(kernel), 0.1
    kernel[0, 0, :, 1] = [20.0, -20.0, 0.0]
    first.set_weights([kernel, bias])
    z = hyper_latents()
    for each in z:
        each[..., 1] = each[..., 0]
    converted = convert(model, z, HYPER_DECODER)
    for each in z:
        means, places = in_numbers(model, each)
        whole_means, whole_places = in_whole_numbers(converted, each)
        assert np.abs(whole_means - means).mean() < 0.1 * np.abs(means).mean()
        assert np.abs(whole_places - places).mean() < 0.3


def test_sums_stay_below_the_limit_though_all_weights_are_rounded_up():
    """0.51 becomes 1, eight thousand times: 6 % more than the weights themselves."""
    weights = np.full((1, 1, 8228, 1), 0.51)
    weights[0, 0, 8000:] = 255.0
    most = np.full(8228, 255.0)
    step = Step(IntegerLayer("conv", kernel=weights), np.zeros(1))
    x = np.ones((1, 1, 1, 8228))
    target = [(x[0, 0] @ weights[0, 0]).reshape(1, 1, 1, 1)]
    layer, units = _rounded(
        step, weights, np.full(1, 16.0), most, [x], target, last=False, even=False
    )
    IntegerNetwork(8228, 255, (layer,))  # checks the sums
    assert (np.round(weights) * 255).sum() > SUM_LIMIT
    got = layer.kernel.astype(float).ravel() * units / 2.0**layer.shift
    assert np.abs(got - weights.ravel()).max() <= 1.0
