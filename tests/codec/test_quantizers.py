import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from codec.errors import NicBundleError
from codec.quantizers import LEVELS, Quantizer

FLOAT = np.finfo(np.float32)
floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
latents = hnp.arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 3)), elements=floats)


def test_naive_is_times_255_rounded_and_clipped():
    given_ = np.array([-3.0, 0.0, 0.2, 0.49 / 255, 0.51 / 255, 1.0, 7.0], np.float32)
    symbols = Quantizer.naive().symbols(given_)
    assert symbols.dtype == np.int32
    assert symbols.tolist() == [0, 0, 51, 0, 1, 255, 255]
    back = Quantizer.naive().values(np.array([0, 51, 255], np.int32))
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, [0.0, 0.2, 1.0], atol=1e-7)


def test_min_max_has_255_equal_steps_in_each_channel():
    known = np.array([[0.0, -5.0], [255.0, 5.0], [7.0, 0.0]], np.float32)
    quantizer = Quantizer.min_max(known)
    assert quantizer.low.tolist() == [0.0, -5.0]
    assert quantizer.high.tolist() == [255.0, 5.0]
    # 10 / 255 is a step of the second channel.
    asked = np.array([[12.4, -5.0], [12.6, 5.0], [-9.0, 5.1], [300.0, -4.97]], np.float32)
    assert quantizer.symbols(asked).tolist() == [[12, 0], [13, 255], [0, 255], [255, 1]]


@settings(deadline=None)
@given(latents)
def test_what_lies_in_the_range_comes_back_within_half_a_step(values):
    """Ranges from the smallest numbers there are to the largest, and channels without one."""
    quantizer = Quantizer.min_max(values)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        symbols = quantizer.symbols(values)
        back = quantizer.values(symbols)
    assert symbols.min() >= 0
    assert symbols.max() < LEVELS
    wide = values.astype(np.float64)
    step = (wide.max(axis=0) - wide.min(axis=0)) / (LEVELS - 1)
    rounding = np.abs(wide).max(axis=0) * FLOAT.eps + FLOAT.tiny
    assert (np.abs(back - wide) <= step / 2 * (1 + 1e-6) + rounding).all()
    np.testing.assert_array_equal(quantizer.symbols(back), symbols)


def test_ends_come_back_exactly():
    values = np.array([[0.1, 3.0], [0.7, 3.0]], np.float32)
    quantizer = Quantizer.min_max(values)
    np.testing.assert_array_equal(quantizer.values(quantizer.symbols(values)), values)


def test_a_constant_channel_is_symbol_0_and_comes_back():
    values = np.full((4, 1), -2.5, np.float32)
    quantizer = Quantizer.min_max(values)
    assert quantizer.symbols(values).tolist() == [[0]] * 4
    assert quantizer.symbols(values + 9).tolist() == [[0]] * 4
    np.testing.assert_array_equal(quantizer.values(quantizer.symbols(values)), values)


def test_a_channel_of_tiny_numbers_keeps_them_apart():
    """255 / 1e-38 is no float32."""
    values = np.array([[0.0], [1e-38], [0.5e-38]], np.float32)
    quantizer = Quantizer.min_max(values)
    assert quantizer.symbols(values).ravel().tolist()[:2] == [0, 255]
    assert quantizer.symbols(values).ravel().tolist()[2] in (127, 128)


def test_min_max_takes_latents_of_any_rank():
    values = np.random.default_rng(0).normal(size=(5, 3, 2, 4)).astype(np.float32)
    quantizer = Quantizer.min_max(values)
    np.testing.assert_array_equal(quantizer.low, values.min(axis=(0, 1, 2)))
    assert quantizer.symbols(values).shape == values.shape
    assert quantizer.values(quantizer.symbols(values)).shape == values.shape


def test_k_means_takes_the_nearest_centroid():
    values = np.random.default_rng(0).normal(size=(2000, 1)).astype(np.float32)
    quantizer = Quantizer.k_means(values)
    book = quantizer.codebook
    assert book is not None
    assert book.shape == (LEVELS,)
    assert book.dtype == np.float32
    assert (np.diff(book) >= 0).all()
    assert (quantizer.low, quantizer.high) == (book[:1], book[-1:])
    asked = np.append(values, [-50.0, 50.0, 0.0]).astype(np.float32)
    found = np.abs(quantizer.values(quantizer.symbols(asked)) - asked)
    np.testing.assert_array_equal(found, np.abs(book - asked[:, None]).min(axis=1))
    # Centroids lie where the numbers are: better than as many equal steps.
    steps = Quantizer.min_max(values)
    assert (
        np.square(values - quantizer.values(quantizer.symbols(values))).mean()
        < np.square(values - steps.values(steps.symbols(values))).mean()
    )


@settings(deadline=None)
@given(hnp.arrays(np.float32, st.tuples(st.integers(1, 60)), elements=floats))
def test_up_to_256_distinct_numbers_come_back_exactly(values):
    quantizer = Quantizer.k_means(values)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(quantizer.values(quantizer.symbols(values)), values)


def test_k_means_of_many_numbers_draws_some_of_them():
    values = np.random.default_rng(0).uniform(size=(100, 50)).astype(np.float32)
    quantizer = Quantizer.k_means(values, most=300)
    again = Quantizer.k_means(values, most=300)
    np.testing.assert_array_equal(quantizer.codebook, again.codebook)
    assert np.abs(quantizer.values(quantizer.symbols(values)) - values).max() < 0.05


def row(*values):
    return np.array(values, np.float32)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((row(0).astype(np.float64), row(1)), "float32"),
        ((row(0).reshape(1, 1), row(1).reshape(1, 1)), "float32"),
        ((row(0), row(np.inf)), "finite"),
        ((row(np.nan), row(1)), "finite"),
        ((row(0, 0), row(1)), "ranges"),
        ((row(1), row(0)), "ranges"),
        ((row(0), row(1), row(*range(255))), "codebook"),
        ((row(0), row(1), row(*range(255), 0)), "codebook"),
        ((row(0), row(1), row(*range(255), np.nan)), "finite"),
        ((row(0), row(1), np.arange(256)), "float32"),
    ],
)
def test_what_is_no_quantizer_is_refused(arguments, message):
    with pytest.raises(NicBundleError, match=message):
        Quantizer(*arguments)
