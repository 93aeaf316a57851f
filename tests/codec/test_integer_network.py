from dataclasses import replace

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from architectures.layers import DepthToSpace
from codec.errors import NicNetworkError
from codec.integer_network import (
    MAX_CHANNELS,
    MAX_LAYERS,
    MAX_SHIFT,
    OPERAND_LIMIT,
    SLOPE_UNIT,
    SUM_LIMIT,
    VALUE_LIMIT,
    IntegerLayer,
    IntegerNetwork,
    convolution_sums,
    exact_run,
    run_layer,
)


def layer(kernel, kind="conv", factor=1, slope=SLOPE_UNIT, **given):
    """A convolution; what is not given is 0, or the widest range of an operand."""
    kernel = np.asarray(kernel, np.int16)
    outputs = kernel.shape[3]
    values = {"bias": 0, "shift": 0, "low": -OPERAND_LIMIT, "high": OPERAND_LIMIT, **given}
    arrays = {
        name: np.broadcast_to(np.asarray(value, np.int32), (outputs,)).copy()
        for name, value in values.items()
    }
    return IntegerLayer(kind, factor, kernel, slope=slope, **arrays)


def network(*layers, channels=1, limit=OPERAND_LIMIT):
    return IntegerNetwork(channels, limit, tuple(layers))


@st.composite
def networks(draw):
    """Any layers, with sums up to the very limit."""
    numbers = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    channels = first = draw(st.sampled_from([1, 2, 4]))
    limit = draw(st.sampled_from([1, 7, 128, OPERAND_LIMIT]))
    most, layers = limit, []
    count = draw(st.integers(1, 3))
    for index in range(count):
        last = index == count - 1
        moving = ["upsample"] + (["depth_to_space"] if channels % 4 == 0 else [])
        kind = draw(st.sampled_from(["conv", "conv_transpose", *([] if last else moving)]))
        if kind in moving:
            layers.append(IntegerLayer(kind, 2))
            channels = layers[-1].output_channels(channels)
            continue
        outputs = draw(st.sampled_from([1, 3, 4]))
        size = draw(st.integers(1, 4)), draw(st.integers(1, 5))
        reach = draw(st.sampled_from([1, 30, OPERAND_LIMIT]))
        kernel = numbers.integers(-reach, reach + 1, (*size, channels, outputs))
        shift = numbers.integers(0, draw(st.sampled_from([1, 9, MAX_SHIFT + 1])), outputs)
        sums = np.abs(kernel).sum(axis=(0, 1, 2)) * most + (np.left_shift(1, shift) >> 1)
        room = SUM_LIMIT - 1 - sums  # what is left for the bias
        widest = VALUE_LIMIT if last else OPERAND_LIMIT
        ends = np.sort(numbers.integers(-widest, widest + 1, (2, outputs)), axis=0)
        layers.append(
            layer(
                kernel,
                kind,
                draw(st.integers(1, 4)) if kind == "conv_transpose" else 1,
                draw(st.sampled_from([0, 1, 51, 255, SLOPE_UNIT])),
                bias=draw(st.sampled_from([-1, 0, 1])) * numbers.integers(0, room + 1),
                shift=shift,
                low=ends[0],
                high=ends[1],
            )
        )
        channels, most = outputs, int(np.abs(ends).max())
    return IntegerNetwork(first, limit, tuple(layers))


@settings(deadline=None)  # the definition is slow
@given(networks(), st.integers(1, 3), st.integers(1, 2), st.integers(0, 2**32 - 1))
def test_float32_gives_what_64_bit_integers_give(net, height, width, seed):
    wide = 2 * net.input_limit
    numbers = np.random.default_rng(seed)
    x = numbers.integers(-wide, wide + 1, (2, height, width, net.channels))  # some are clipped
    got = net.run(x)
    assert got.dtype == np.int32
    assert got.shape == (2, *(side * net.upsampling for side in x.shape[1:3]), net.output_channels)
    np.testing.assert_array_equal(got, exact_run(net, x))


def by_hand(total, shift, slope, low, high):
    """The definition in plain integers."""
    v = (total + (2 ** (shift - 1) if shift else 0)) // 2**shift
    v = min(max(v, -VALUE_LIMIT), VALUE_LIMIT)
    v = v if v >= 0 else (v * slope + 128) // 256
    return min(max(v, low), high)


@pytest.mark.parametrize("slope", [0, 1, 51, 128, 255, 256])
def test_every_rounding_boundary(slope):
    """Sums at k * 2**shift - 2**(shift - 1) and beside it, up to the largest there are."""
    for shift in range(MAX_SHIFT + 1):
        half = 2**shift // 2
        most = (SUM_LIMIT - 1 - 1 - half) // 2**shift
        steps = {
            k
            for k in (
                *range(-130, 131),
                -most,
                -VALUE_LIMIT - 1,
                VALUE_LIMIT,
                VALUE_LIMIT + 1,
                most,
            )
            if abs(k) <= most
        }
        totals = sorted({k * 2**shift - half + d for k in steps for d in (-1, 0, 1)})
        totals = [each for each in totals if 1 + abs(each - 1) + half < SUM_LIMIT]
        net = network(
            layer(
                np.ones((1, 1, 1, len(totals))),
                slope=slope,
                bias=np.array(totals) - 1,
                shift=shift,
                low=-VALUE_LIMIT,
                high=VALUE_LIMIT,
            ),
            limit=1,
        )
        x = np.ones((1, 1, 1, 1), int)
        expected = [by_hand(each, shift, slope, -VALUE_LIMIT, VALUE_LIMIT) for each in totals]
        assert net.run(x).ravel().tolist() == expected
        assert exact_run(net, x).ravel().tolist() == expected


def test_the_largest_sum_is_exact():
    """2**24 - 1, reached by adding up products from either end."""
    kernel = np.full((15, 15, 1, 2), 255)
    kernel[..., 1] = -255
    rest = SUM_LIMIT - 1 - 15 * 15 * 255 * 255
    net = network(layer(kernel, bias=[rest, -rest], low=-VALUE_LIMIT, high=VALUE_LIMIT))
    x = np.full((1, 15, 15, 1), 255)
    sums = convolution_sums(net.layers[0], x.astype(np.float32))
    assert sums[0, 7, 7].tolist() == [SUM_LIMIT - 1 - rest, rest - SUM_LIMIT + 1]
    np.testing.assert_array_equal(net.run(x), exact_run(net, x))


PLACES = [
    *(("conv", size, 1) for size in ((1, 1), (3, 3), (2, 5), (4, 3))),
    *(("conv_transpose", size, 1) for size in ((1, 1), (2, 5), (4, 3))),
    *(("conv_transpose", size, 2) for size in ((5, 5), (3, 4), (1, 2))),
    *(("conv_transpose", size, 3) for size in ((2, 1), (6, 7))),
    ("conv_transpose", (5, 3), 4),
]


@pytest.mark.parametrize(("kind", "kernel_size", "stride"), PLACES)
def test_convolutions_lie_where_those_of_keras_do(kind, kernel_size, stride):
    numbers = np.random.default_rng(0)
    kernel = numbers.integers(-9, 10, (*kernel_size, 2, 3))
    cls = keras.layers.Conv2D if kind == "conv" else keras.layers.Conv2DTranspose
    for height, width in ((1, 1), (1, 4), (5, 3)):
        x = numbers.integers(-9, 10, (2, height, width, 2)).astype(np.float32)
        theirs = cls(3, kernel_size, strides=stride, padding="same", use_bias=False)
        theirs.build(x.shape)
        theirs.set_weights([kernel if kind == "conv" else kernel.swapaxes(2, 3)])
        ours = convolution_sums(layer(kernel, kind, stride), x)
        np.testing.assert_array_equal(ours, keras.ops.convert_to_numpy(theirs(x)))


def test_moving_layers_move_as_those_of_keras_do():
    x = np.random.default_rng(0).integers(-9, 10, (2, 3, 2, 18)).astype(np.float32)
    for ours, theirs in (
        (IntegerLayer("depth_to_space", 3), DepthToSpace(3)),
        (IntegerLayer("upsample", 2), keras.layers.UpSampling2D(2)),
    ):
        expected = keras.ops.convert_to_numpy(theirs(x))
        np.testing.assert_array_equal(run_layer(ours, x), expected)
        assert ours.output_channels(18) == expected.shape[-1]


def test_inputs_are_clipped():
    net = network(layer(np.ones((1, 1, 1, 1))), limit=9)
    ends = np.iinfo(np.int32)
    x = np.array([ends.min, -10, -9, 0, 9, 10, ends.max]).reshape(1, 1, -1, 1)
    assert net.run(x).ravel().tolist() == [-9, -9, -9, 0, 9, 9, 9]


ONE = np.ones((1, 1, 1, 1))
GOOD = layer(ONE)


def with_array(name, values):
    return lambda: network(replace(GOOD, **{name: values}))


BAD = {
    "0 input channels": lambda: network(GOOD, channels=0),
    "16385 input channels": lambda: network(GOOD, channels=MAX_CHANNELS + 1),
    "an input limit of 0": lambda: network(GOOD, limit=0),
    "an input limit of 256": lambda: network(GOOD, limit=256),
    "0 layers": lambda: IntegerNetwork(1, 255, ()),
    "65 layers": lambda: network(*[GOOD] * (MAX_LAYERS + 1)),
    "does not end in a convolution": lambda: network(GOOD, IntegerLayer("upsample", 2)),
    "there is no layer 'lambda'": lambda: network(IntegerLayer("lambda"), GOOD),
    "a factor of 0": lambda: network(IntegerLayer("upsample", 0), GOOD),
    "layer 0: a factor of 9": lambda: network(IntegerLayer("upsample", 9), GOOD),
    "1 channels in blocks of 4": lambda: network(IntegerLayer("depth_to_space", 2), GOOD),
    "layer 0: a stride": lambda: network(layer(ONE, factor=2)),
    "kernel: no integers": with_array("kernel", ONE.astype(np.float32)),
    "kernel: no integers, none": with_array("kernel", None),
    "kernel: no integers, unsigned": with_array("kernel", ONE.astype(np.uint8)),
    "kernel: shape": with_array("kernel", np.ones((1, 1, 1), np.int16)),
    "kernel: shape, empty": with_array("kernel", np.ones((0, 1, 1, 1), np.int16)),
    "kernel: out of range": with_array("kernel", (ONE * 256).astype(np.int16)),
    "kernel: out of range, below": with_array("kernel", (ONE * -256).astype(np.int16)),
    "kernel's size": lambda: network(layer(np.ones((1, 16, 1, 1)))),
    "1 channels for a kernel of 2": lambda: network(layer(np.ones((1, 1, 2, 1)))),
    "16385 output channels": lambda: network(layer(np.zeros((1, 1, 1, MAX_CHANNELS + 1)))),
    "bias: out of range": with_array("bias", np.array([SUM_LIMIT + 1])),
    "bias: shape": with_array("bias", np.array([[0]])),
    "shift: out of range": with_array("shift", np.array([MAX_SHIFT + 1])),
    "shift: out of range, below": with_array("shift", np.array([-1])),
    "low: out of range": with_array("low", np.array([-VALUE_LIMIT - 1])),
    "high: out of range": with_array("high", np.array([VALUE_LIMIT + 1])),
    "lengths": with_array("bias", np.array([0, 0])),
    "low is above high": with_array("low", np.array([256])),
    "a slope of 257": with_array("slope", SLOPE_UNIT + 1),
    "a slope of -1": with_array("slope", -1),
    "layer 0: outputs up to 256": lambda: network(layer(ONE, high=256), GOOD),
    "layer 0: sums up to 16777216": lambda: network(layer(ONE, bias=SUM_LIMIT - 255)),
    "layer 0: sums up to 16777216, below": lambda: network(layer(-ONE, bias=255 - SUM_LIMIT)),
    "layer 1: sums up to 16777216": lambda: network(
        layer(ONE, low=-3, high=7), layer(ONE, bias=SUM_LIMIT - 7)
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_out_of_bounds_is_refused(case):
    with pytest.raises(NicNetworkError, match=case.split(", ")[0]) as error:
        BAD[case]()
    assert "\n" not in str(error.value)


def test_sums_may_reach_just_below_the_limit():
    """Half a step for rounding counts too."""
    for shift, bias in ((0, SUM_LIMIT - 1 - 255), (5, SUM_LIMIT - 1 - 255 - 16)):
        for sign in (1, -1):
            net = network(layer(ONE * sign, bias=sign * bias, shift=shift))
            x = np.array([-255, 255]).reshape(1, 1, 2, 1)
            np.testing.assert_array_equal(net.run(x), exact_run(net, x))
            with pytest.raises(NicNetworkError, match="sums up to 16777216"):
                network(layer(ONE * sign, bias=sign * (bias + 1), shift=shift))


def test_depth_to_space_bounds_each_channel_by_the_blocks_it_comes_from():
    """Of eight channels in blocks of four, 0, 2, 4 and 6 become the first, the others the second."""
    high = [1, 200, 1, 1, 1, 1, 1, 1]
    wide = layer(np.ones((1, 1, 1, 8)), low=0, high=high)
    moved = IntegerLayer("depth_to_space", 2)
    for channel, most in ((0, 1), (1, 200)):
        kernel = np.zeros((1, 1, 2, 1))
        kernel[0, 0, channel] = 1
        network(wide, moved, layer(kernel, bias=SUM_LIMIT - 1 - most))
        with pytest.raises(NicNetworkError, match="layer 2: sums up to 16777216"):
            network(wide, moved, layer(kernel, bias=SUM_LIMIT - most))


def test_the_order_of_sums_does_not_matter():
    """Large products in any order, as devices add them: no partial sum is rounded."""
    numbers = np.random.default_rng(0)
    inputs = 28  # 3 * 3 * 28 products of up to 255 * 255 stay just below the limit
    kernel = numbers.integers(-OPERAND_LIMIT, OPERAND_LIMIT + 1, (3, 3, inputs, 4))
    x = numbers.integers(-OPERAND_LIMIT, OPERAND_LIMIT + 1, (1, 4, 5, inputs))
    net = network(layer(kernel), channels=inputs)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(inputs)
        shuffled = network(layer(kernel[:, :, order]), channels=inputs)
        sums = convolution_sums(shuffled.layers[0], x[..., order].astype(np.float32))
        np.testing.assert_array_equal(sums, convolution_sums(net.layers[0], x))
