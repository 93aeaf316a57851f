import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from codec import TableSet, gaussian_tables
from codec.errors import NicBundleError, NicStreamError
from codec.hyperprior_coder import MAX_MEAN_BITS, HyperpriorCoder, Quality
from codec.integer_network import IntegerLayer, IntegerNetwork
from codec.latent_coder import LatentsError, channel_index, whole_numbers
from codec.latent_coders import FactorizedCoder, QuantizedCoder, StoredCoder
from codec.quantizers import LEVELS, Quantizer

INT32 = np.iinfo(np.int32)
MOST = float(INT32.max)
EVEN = TableSet.from_pmfs([np.full(LEVELS, 1 / LEVELS)], [0])
PLACES = 16
SCALES = gaussian_tables(np.geomspace(0.2, 60.0, PLACES))
CHANNELS = 3
HYPER_TABLES = TableSet.concatenate([gaussian_tables([1.0]), gaussian_tables([5.0])])

numbers = st.one_of(
    st.integers(-3, 3).map(float),
    st.floats(-300, 300, width=32),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.sampled_from([2.0**31, -(2.0**31), 2.0**24 + 1, 1e38]),
)


def latents(channels):
    shapes = st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 3), st.just(channels))
    return shapes.flatmap(lambda shape: hnp.arrays(np.float32, shape, elements=numbers))


def network(mean_bits=4):
    """Places and means that differ everywhere, from two channels of hyper-latents."""
    outputs = CHANNELS * (1 if mean_bits is None else 2)
    kernel = np.random.default_rng(0).integers(-40, 41, (3, 3, 2, outputs)).astype(np.int16)
    wide = np.full(outputs, 900, np.int32)
    layer = IntegerLayer(
        "conv_transpose",
        2,
        kernel,
        bias=np.full(outputs, 100, np.int32),
        shift=np.full(outputs, 4, np.int32),
        low=-wide,
        high=wide,
    )
    return IntegerNetwork(2, 100, (layer,))


def hyperprior(mean_bits=4, **given_):
    return HyperpriorCoder(
        HYPER_TABLES, SCALES, network(mean_bits), (CHANNELS, 2), mean_bits, **given_
    )


def shapes_of(found):
    return {name: each.shape for name, each in found.items()}


def round_trip(coder, found, quality=0):
    coded = coder.encode(found, quality)
    decoded = coder.decode(coded.stream, shapes_of(found), quality)
    assert len(decoded.arrays) == len(coded.arrays)
    for before, after in zip(coded.arrays, decoded.arrays, strict=True):
        assert before.dtype == after.dtype
        np.testing.assert_array_equal(before, after)
    assert decoded.y_hat.dtype == np.float32
    assert decoded.y_hat.shape == found["y"].shape
    return coded, decoded.y_hat


def rounded(values):
    return np.clip(np.round(values.astype(np.float64)), -MOST, MOST)


@settings(deadline=None)
@given(latents(2))
def test_factorized_latents_come_back_rounded(y):
    coder = FactorizedCoder(HYPER_TABLES, 2)
    (symbols,) = round_trip(coder, {"y": y})[0].arrays
    np.testing.assert_array_equal(symbols, rounded(y))
    _, y_hat = round_trip(coder, {"y": y})
    np.testing.assert_array_equal(y_hat, rounded(y).astype(np.float32))


def test_each_channel_has_its_table():
    narrow, wide = np.zeros((1, 9, 9, 2), np.float32), np.zeros((1, 9, 9, 2), np.float32)
    narrow[..., 0] = wide[..., 1] = np.random.default_rng(0).normal(0, 5, (1, 9, 9))
    coder = FactorizedCoder(HYPER_TABLES, 2)
    assert len(coder.encode({"y": narrow}, 0).stream) > len(coder.encode({"y": wide}, 0).stream) + 9
    np.testing.assert_array_equal(channel_index((2, 2), 1), np.zeros((2, 2)))
    np.testing.assert_array_equal(channel_index((2, 3), 3), [[0, 1, 2]] * 2)


KNOWN = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
QUANTIZERS = {
    "naive": Quantizer.naive(),
    "min-max": Quantizer.min_max(KNOWN),
    "k-means": Quantizer.k_means(KNOWN),
}


@settings(deadline=None)
@given(latents(2), st.sampled_from(sorted(QUANTIZERS)))
def test_quantized_latents_come_back_as_the_quantizer_has_them(y, kind):
    quantizer = QUANTIZERS[kind]
    coded, y_hat = round_trip(QuantizedCoder(quantizer, EVEN, 2), {"y": y})
    np.testing.assert_array_equal(y_hat, quantizer.values(quantizer.symbols(y)))
    assert len(coded.stream) <= y.size + 1  # 8 bits each under even frequencies


@settings(deadline=None, max_examples=40)
@given(latents(2))
def test_stored_latents_come_back_bit_for_bit(y):
    coded, y_hat = round_trip(StoredCoder(), {"y": y})
    assert len(coded.stream) == 4 * y.size
    assert y_hat.tobytes() == y.tobytes()  # -0.0 too


@settings(deadline=None, max_examples=60)
@given(latents(CHANNELS), latents(2), st.sampled_from([None, 0, 4, 12]), st.integers(0, 2))
def test_hyperprior_latents_come_back(y, z, mean_bits, quality):
    y = np.resize(y, (len(z), 2 * z.shape[1], 2 * z.shape[2], CHANNELS))
    qualities = (Quality(), Quality(0.25, -6), Quality(4.0, 6))
    coder = hyperprior(mean_bits, qualities=qualities)
    coder.bit_price = 0.0  # to the nearest, whose error has a bound
    gain = qualities[quality].gain
    if np.abs(y).max() > 1e37:
        y = y / np.float32(2**20)  # times a gain it is still a number
    coded, y_hat = round_trip(coder, {"y": y, "z": z}, quality)
    np.testing.assert_array_equal(coded.arrays[0], rounded(z))
    mean, index = coder.parameters(coded.arrays[0], quality)
    assert (mean is None) == (mean_bits is None)
    assert index.min() >= 0
    assert index.max() < PLACES
    near = np.abs(y) < 2**20
    error = np.abs(y_hat - y)[near]
    assert error.max(initial=0) <= 0.5 / gain + 2**-3  # float32 holds 2**20 in steps of 1/8


def test_means_and_places_are_those_of_the_network():
    z = np.array([[[[3, -2]]]], np.int32)
    found = network(4).run(z)
    mean, index = hyperprior(4).parameters(z, 0)
    np.testing.assert_array_equal(mean, found[..., :CHANNELS] / 16)
    np.testing.assert_array_equal(index, np.clip(found[..., CHANNELS:], 0, PLACES - 1))
    mean, index = hyperprior(None).parameters(z, 0)
    assert mean is None
    np.testing.assert_array_equal(index, np.clip(network(None).run(z), 0, PLACES - 1))


def test_a_quality_moves_places_and_multiplies_residuals():
    coder = hyperprior(4, qualities=(Quality(), Quality(2.0, 3), Quality(1.0, -4096)))
    z = np.zeros((1, 1, 1, 2), np.int32)
    mean, plain = coder.parameters(z, 0)
    same, moved = coder.parameters(z, 1)
    np.testing.assert_array_equal(mean, same)
    np.testing.assert_array_equal(moved, np.clip(plain + 3, 0, PLACES - 1))
    assert coder.parameters(z, 2)[1].max() == 0
    y = np.full((1, 2, 2, CHANNELS), 5.3, np.float32)
    for quality, gain in ((0, 1.0), (1, 2.0)):
        coded, y_hat = round_trip(coder, {"y": y, "z": z}, quality)
        symbols = np.round((y - mean) * gain)
        np.testing.assert_array_equal(coded.arrays[1], symbols)
        np.testing.assert_array_equal(y_hat, symbols / np.float32(gain) + mean)


def test_latents_as_wide_as_their_scale_says_take_the_fewest_bytes():
    numbers_ = np.random.default_rng(0)
    coder = hyperprior(4, qualities=tuple(Quality(1.0, offset) for offset in range(-15, 16)))
    z = np.zeros((1, 12, 12, 2), np.float32)
    mean, index = coder.parameters(z.astype(np.int32), 15)
    assert index.min() > 2
    assert index.max() < PLACES - 2
    scale = np.geomspace(0.2, 60.0, PLACES)[index]
    y = (mean + scale * numbers_.normal(size=mean.shape)).astype(np.float32)
    sizes = [len(coder.encode({"y": y, "z": z}, quality).stream) for quality in range(31)]
    assert np.argmin(sizes) == 15


def test_another_engine_may_run_the_network():
    calls = []

    def engine(z):
        calls.append(z.shape)
        return network(4).run(z)

    found = {"y": np.ones((1, 4, 2, CHANNELS), np.float32), "z": np.ones((1, 2, 1, 2), np.float32)}
    coder = hyperprior(4, engine=engine)
    assert coder.encode(found, 0).stream == hyperprior(4).encode(found, 0).stream
    round_trip(coder, found)
    assert calls == [(1, 2, 1, 2)] * 3


def test_the_network_runs_once_for_all_qualities():
    calls = []

    def engine(z):
        calls.append(z.shape)
        return network(4).run(z)

    numbers_ = np.random.default_rng(0)
    y = (9 * numbers_.normal(size=(1, 4, 2, CHANNELS))).astype(np.float32)
    found = {"y": y, "z": np.ones((1, 2, 1, 2), np.float32)}
    qualities = tuple(Quality(gain, 0) for gain in (0.25, 1.0, 3.0))
    coder = hyperprior(4, qualities=qualities, engine=engine).for_picture(found)
    streams = [coder.encode(found, quality).stream for quality in range(3)]
    assert calls == [(1, 2, 1, 2)]
    plain = hyperprior(4, qualities=qualities)
    assert streams == [plain.encode(found, quality).stream for quality in range(3)]
    assert len(set(streams)) == 3


CODERS = {
    "factorized": (FactorizedCoder(HYPER_TABLES, 2), {"y": (1, 2, 2, 2)}),
    "quantized": (QuantizedCoder(Quantizer.naive(), EVEN, 2), {"y": (1, 2, 2, 2)}),
    "stored": (StoredCoder(), {"y": (3, 4)}),
    "hyperprior": (hyperprior(4), {"y": (1, 4, 4, CHANNELS), "z": (1, 2, 2, 2)}),
    "scales": (hyperprior(None), {"y": (1, 4, 4, CHANNELS), "z": (1, 2, 2, 2)}),
}


def some_latents(shapes, seed=0):
    drawn = np.random.default_rng(seed)
    return {name: drawn.normal(0, 3, shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", CODERS)
def test_latents_that_are_no_numbers_are_refused(kind, bad):
    coder, shapes = CODERS[kind]
    assert set(coder.names) == set(shapes)
    for name in shapes:
        found = some_latents(shapes)
        found[name].flat[1] = bad
        with pytest.raises(LatentsError, match="not all finite"):
            coder.encode(found, 0)


@pytest.mark.parametrize("kind", CODERS)
def test_damaged_streams_are_refused_or_are_those_of_other_latents(kind):
    coder, shapes = CODERS[kind]
    stream = coder.encode(some_latents(shapes), 0).stream
    for bit in range(8 * len(stream)):
        damaged = bytearray(stream)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            decoded = coder.decode(bytes(damaged), shapes, 0)
        except NicStreamError:
            continue
        y = decoded.arrays[-1]
        assert y.shape == shapes["y"]
        assert np.isfinite(decoded.y_hat).all()
    for size in range(len(stream)):
        try:
            coder.decode(stream[:size], shapes, 0)
        except NicStreamError as error:
            assert "\n" not in str(error)
    with pytest.raises(NicStreamError):
        coder.decode(stream + b"\0", shapes, 0)


def test_stored_latents_that_are_no_numbers_are_refused():
    stream = np.array([1.0, np.nan], "<f4").tobytes()
    with pytest.raises(NicStreamError, match="not all finite"):
        StoredCoder().decode(stream, {"y": (1, 2)}, 0)
    with pytest.raises(NicStreamError, match="8 bytes of latents, expected 12"):
        StoredCoder().decode(stream, {"y": (1, 3)}, 0)


def test_symbols_that_are_no_8_bits_are_refused():
    coder = QuantizedCoder(Quantizer.naive(), EVEN, 1)
    for symbol in (-1, LEVELS):
        stream = FactorizedCoder(EVEN, 1).encode({"y": np.array([[float(symbol)]])}, 0).stream
        with pytest.raises(NicStreamError, match="no 8-bit number"):
            coder.decode(stream, {"y": (1, 1)}, 0)


def test_whole_numbers_are_rounded_to_even_and_fit_32_bits():
    found = whole_numbers(np.array([0.5, 1.5, -2.5, 3e9, -3e9, 2.0**31], np.float32))
    assert found.tolist() == [0, 2, -2, INT32.max, -INT32.max, INT32.max]
    assert found.dtype == np.int32


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FactorizedCoder(HYPER_TABLES, 3), "2 tables for 3 channels"),
        (lambda: QuantizedCoder(Quantizer.naive(), HYPER_TABLES, 3), "2 tables for 3 channels"),
        (lambda: QuantizedCoder(Quantizer.naive(), SCALES, PLACES), "symbols 0 to 255"),
        (
            lambda: QuantizedCoder(Quantizer.min_max(np.zeros((1, 2), np.float32)), EVEN, 3),
            "2 ranges for 3 channels",
        ),
        (
            lambda: HyperpriorCoder(SCALES, SCALES, network(4), (CHANNELS, 2), 4),
            "16 tables for 2 channels of hyper-latents",
        ),
        (
            lambda: HyperpriorCoder(HYPER_TABLES, SCALES, network(4), (CHANNELS, 2), None),
            "makes 6 channels of 2, expected 3 of 2",
        ),
        (lambda: hyperprior(MAX_MEAN_BITS + 1), "means of 13 bits"),
        (lambda: hyperprior(-1), "means of -1 bits"),
        (lambda: hyperprior(qualities=()), "0 qualities"),
        (lambda: hyperprior(qualities=(Quality(),) * 257), "257 qualities"),
        (lambda: hyperprior(qualities=(Quality(0.0),)), "gain is out of range"),
        (lambda: hyperprior(qualities=(Quality(float("nan")),)), "gain is out of range"),
    ],
)
def test_parts_that_do_not_fit_are_refused(make, message):
    with pytest.raises(NicBundleError, match=message):
        make()


def test_a_network_that_grows_otherwise_than_the_latents_is_noticed():
    found = some_latents({"y": (1, 4, 4, CHANNELS), "z": (1, 2, 2, 2)})
    coder = hyperprior(4)
    stream = coder.encode(found, 0).stream
    with pytest.raises(NicBundleError, match="expected"):
        coder.decode(stream, {"y": (1, 2, 2, CHANNELS), "z": (1, 2, 2, 2)}, 0)
