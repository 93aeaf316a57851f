"""Latents that are made better: never worse, windows that change nothing, and no model without."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec import refinement
from codec.bundle import Bundle
from codec.distributions import gaussian_tables
from codec.image_codec import ImageCodec
from codec.latent_coders import FactorizedCoder
from codec.picture import Picture
from codec.refinement import BIT_PRICE, refined, squared_error, windows
from tests.codec import hand_made

SIDE = 4
CHANNELS = 6


def shifted(y, places):
    """Columns moved to the right, or to the left; nothing comes in."""
    moved = np.roll(y, places, axis=2)
    moved[:, :, 0 if places > 0 else -1] = 0
    return moved


class Linear:
    """A decoder x_hat = 1/2 + W y in squares of `SIDE` pixels, and an encoder that is none of it.

    Args:
        overlap: how much a latent takes from its neighbour to the right.
        noise: what the encoder is off by, in rounding steps.
    """

    def __init__(self, overlap: float = 0.0, noise: float = 0.0) -> None:
        numbers = np.random.default_rng(0)
        basis, _ = np.linalg.qr(numbers.normal(size=(SIDE * SIDE * 3, CHANNELS)))
        self.weights = (basis * 0.12).T  # (M, pixels): a step is some 0.12 / sqrt(48) of the range
        self.overlap, self.noise = overlap, noise
        self.pulled = []

    def mixed(self, y):
        return y + self.overlap * shifted(y, 1)

    def values(self, y):
        blocks, rows, columns, _ = y.shape
        cut = (self.mixed(y) @ self.weights).reshape(blocks, rows, columns, SIDE, SIDE, 3)
        return 0.5 + cut.swapaxes(2, 3).reshape(blocks, rows * SIDE, columns * SIDE, 3)

    def synthesise(self, y_hat):
        return np.clip(np.round(255 * self.values(y_hat)), 0, 255).astype(np.uint8)

    def transposed(self, x):
        blocks, height, width, _ = x.shape
        rows, columns = height // SIDE, width // SIDE
        cut = x.reshape(blocks, rows, SIDE, columns, SIDE, 3).swapaxes(2, 3)
        flat = cut.reshape(blocks, rows, columns, -1) @ self.weights.T
        return flat + self.overlap * shifted(flat, -1)

    def pull_back(self, y_hat, wanted):
        self.pulled.append(y_hat.shape)
        difference = (self.values(y_hat) - wanted).astype(np.float32)
        return difference, self.transposed(difference).astype(np.float32)

    def analyse(self, pixels):
        y = self.transposed(pixels / 255 - 0.5) / 0.12**2
        off = np.random.default_rng(1).normal(size=y.shape)
        return {"y": (y + self.noise * off).astype(np.float32)}


def a_picture(transforms, rows=5, columns=7):
    """Pixels that the decoder can make, nearly."""
    numbers = np.random.default_rng(2)
    y = numbers.laplace(0, 1.2, (1, rows, columns, CHANNELS))
    return transforms.synthesise(y + 0.1 * numbers.normal(size=y.shape))


def a_coder(bit_price=BIT_PRICE):
    coder = FactorizedCoder(gaussian_tables([1.5] * CHANNELS), CHANNELS)
    coder.bit_price = bit_price
    return coder


def measured(coder, transforms, latents, pixels):
    """Squared error and bits."""
    coded = coder.encode(latents, 0)
    y_hat = coder.quantized(latents, 0).y_hat
    return squared_error(transforms.synthesise(y_hat), pixels), 8 * len(coded.stream)


def test_an_encoder_that_is_off_is_mended():
    transforms, coder = Linear(noise=0.4), a_coder()
    pixels = a_picture(transforms)
    latents = transforms.analyse(pixels)
    before = measured(coder, transforms, latents, pixels)
    exact = measured(coder, transforms, Linear().analyse(pixels), pixels)
    after = measured(
        coder, transforms, refined(coder, transforms, latents, pixels, 0, 8, 512), pixels
    )
    assert exact[0] < 0.8 * before[0]
    assert after[0] < exact[0] + 0.25 * (before[0] - exact[0])
    assert after[1] < before[1]


@given(overlap=st.floats(0, 3), noise=st.floats(0, 1), passes=st.integers(1, 4))
def test_it_never_costs_more(overlap, noise, passes):
    transforms, coder = Linear(overlap, noise), a_coder()
    pixels = a_picture(transforms, 3, 4)
    latents = transforms.analyse(pixels)
    better = refined(coder, transforms, latents, pixels, 0, passes, 512)
    error, bits = measured(coder, transforms, latents, pixels)
    new_error, new_bits = measured(coder, transforms, better, pixels)
    # A squared step of rounding is worth 0.12^2 of a squared range where latents don't overlap.
    weight = 0.12**2 * (1 + overlap**2) * 255**2
    cost, new_cost = error / weight + BIT_PRICE * bits, new_error / weight + BIT_PRICE * new_bits
    assert new_cost <= 1.02 * cost  # the weight that counts is measured, and a little off


def test_a_pass_takes_one_derivative_and_the_last_one_none():
    transforms = Linear(noise=0.4)
    pixels = a_picture(transforms)
    latents = transforms.analyse(pixels)
    for passes in (1, 2, 5):
        transforms.pulled.clear()
        refined(a_coder(), transforms, latents, pixels, 0, passes, 512)
        assert len(transforms.pulled) == passes + 2  # two of them for the curvature


def test_the_curvature_is_that_of_the_decoder():
    transforms = Linear()
    pixels = a_picture(transforms, 16, 16)
    found = refinement._curvature(transforms, transforms.analyse(pixels)["y"], pixels, 512)
    np.testing.assert_allclose(found, 0.12**2, rtol=0.4)  # a mean of 256 squares
    assert found.shape == (CHANNELS,)
    np.testing.assert_allclose(found.mean(), 0.12**2, rtol=0.1)


def test_latents_that_change_nothing_stay_where_they_are():
    transforms = Linear(noise=0.2)
    transforms.weights[2] = 0
    pixels = a_picture(transforms)
    latents = transforms.analyse(pixels)
    better = refined(a_coder(), transforms, latents, pixels, 0, 3, 512)
    assert np.isfinite(better["y"]).all()
    assert np.abs(better["y"][..., 2]).max() < 3


@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 40),
    scale=st.sampled_from([1, 4, 16]),
    side=st.integers(1, 200),
    margin=st.integers(0, 70),
)
def test_windows_are_every_latent_and_pixel_once(rows, columns, scale, side, margin):
    y = np.zeros((1, rows, columns, 1), np.float32)
    pixels = np.zeros((1, rows * scale, columns * scale, 1), np.uint8)
    seen = np.zeros_like(pixels)
    for around, (inside, part), (wanted, inner) in windows(y, pixels, side, margin):
        y[inside] += 1
        assert y[around][part].shape == y[inside].shape
        assert [n * scale for n in y[around].shape[1:3]] == list(pixels[wanted].shape[1:3])
        view = seen[wanted]
        view[inner] += 1
        top, left = (max(0, axis.start - -(-margin // scale)) for axis in inside[1:])
        assert (around[1].start, around[2].start) == (top, left)
    assert (y == 1).all()
    assert (seen == 1).all()


def test_latents_between_pixels_are_one_window():
    (only,) = windows(np.zeros((1, 3, 2, 5)), np.zeros((1, 10, 10, 3)), 4, 0)
    assert np.zeros((1, 3, 2, 5))[only[0]].shape == (1, 3, 2, 5)


@pytest.mark.parametrize("shape", [(300, 2, 2, 5), (300, 5), (1, 8, 8, 5)])
def test_blocks_of_one_size_are_never_cut(shape):
    y, pixels = np.zeros(shape), np.zeros((shape[0], 100, 100, 3), np.uint8)
    for around, (inside, part), (wanted, inner) in windows(y, pixels, None, 64):
        assert y[around].shape[1:] == shape[1:]
        assert len(y[around]) == len(pixels[wanted]) <= 104
        y[inside] += 1
        assert y[around][part].shape == y[inside].shape == y[around][inner].shape
    assert (y == 1).all()
    cut, of_pixels = refinement._middle(y, pixels, None)
    assert y[cut].shape[1:] == shape[1:]
    assert len(y[cut]) == len(pixels[of_pixels]) <= 6


@pytest.mark.parametrize(("height", "width"), [(272, 272), (272, 16), (512, 768), (16, 16)])
def test_the_sample_is_the_middle(height, width):
    y = np.zeros((1, height // 16, width // 16, 2))
    cut, of_pixels = refinement._middle(y, np.zeros((1, height, width, 3)), 1024)
    for side, part, latents in zip((height, width), of_pixels[1:], cut[1:], strict=True):
        assert part.stop - part.start == min(side, 256)
        assert abs((side - part.stop) - part.start) <= 16
        assert (part.start, part.stop) == (16 * latents.start, 16 * latents.stop)


def test_windows_are_smaller_for_large_models():
    assert refinement.window_side(48) == refinement.WINDOW
    assert 300 < refinement.window_side(2048) < 400
    assert refinement.window_side(1 << 24) == refinement.SAMPLE


@pytest.mark.parametrize("kind", ["factorized", "hyperprior"])
@pytest.mark.parametrize("scale", [255.0, 100.0])
def test_a_picture_that_loses_nothing_comes_back(kind, scale, tmp_path):
    bundle = Bundle.read(hand_made.write(tmp_path, hand_made.files(kind)))
    codec = ImageCodec(bundle, lambda: hand_made.Folding(scale=scale), effort=2)
    black = np.zeros((16, 24, 3), np.uint8)
    for pixels in (black, some_pixels()):
        assert codec.decompress(codec.compress(Picture(pixels))).pixels.shape == pixels.shape
    assert (codec.decompress(codec.compress(Picture(black))).pixels == 0).all()


def test_windows_change_nothing_but_memory(monkeypatch):
    transforms, coder = Linear(overlap=0.5, noise=0.4), a_coder()
    pixels = a_picture(transforms, 9, 11)
    latents = transforms.analyse(pixels)
    whole = refined(coder, transforms, latents, pixels, 0, 3, 512)
    transforms.pulled.clear()
    monkeypatch.setattr(refinement, "MARGIN", 4)
    parts = refined(coder, transforms, latents, pixels, 0, 3, 16)
    assert max(shape[1] for shape in transforms.pulled[:9]) <= 6
    np.testing.assert_allclose(parts["y"], whole["y"], atol=1e-4)


def some_pixels():
    numbers = np.random.default_rng(3)
    rough = np.cumsum(numbers.normal(0, 6, (40, 48, 3)), axis=0) + 128
    return np.clip(rough, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("kind", hand_made.KINDS)
def test_only_models_with_an_entropy_model_look_again(kind, tmp_path):
    bundle = Bundle.read(hand_made.write(tmp_path, hand_made.files(kind)))
    calls = []

    class Watched(hand_made.Folding):
        def analyse(self, given):
            found = super().analyse(given)
            off = np.random.default_rng(4).normal(size=found["y"].shape)
            return {**found, "y": found["y"] + np.float32(3) * off.astype(np.float32)}

        def pull_back(self, y_hat, wanted):
            calls.append(y_hat.shape)
            return super().pull_back(y_hat, wanted)

    watched = Watched(scale=100.0)
    plain = ImageCodec(bundle, lambda: watched)
    again = ImageCodec(bundle, lambda: watched, effort=2)
    picture = Picture(some_pixels())
    data = plain.compress(picture), again.compress(picture)
    assert bool(calls) == (kind in ("factorized", "hyperprior"))
    assert (data[0] != data[1]) == bool(calls)
    assert plain.coder.bit_price == again.coder.bit_price
    np.testing.assert_array_equal(
        plain.decompress(data[1]).pixels, again.decompress(data[1]).pixels
    )


def test_before_rounding_is_what_rounds_to_a_value(tmp_path):
    bundle = Bundle.read(hand_made.write(tmp_path, hand_made.files("hyperprior")))
    coder = bundle.coder(None)
    latents = hand_made.Folding(scale=100.0).analyse(some_pixels()[None])
    coder.bit_price = 0.0
    for quality in range(bundle.qualities):
        found = coder.quantized(latents, quality)
        y = coder.before_rounding(found.y_hat, latents, quality)
        again = coder.quantized({**latents, "y": y}, quality)
        np.testing.assert_array_equal(again.arrays[1], found.arrays[1])
        assert np.shape(coder.steps(quality)) in {(), (y.shape[-1],)}
