"""Hard pictures are what their names say: properties that other pictures would not have."""

import numpy as np
import pytest

from evaluation.hard_pictures import (
    LINE,
    PICTURES,
    SATURATED,
    SIDE,
    STRIP,
    checkerboard,
    flat,
    page,
    photo,
)

# (H, W, C) of those whose size is the point, and of those that are not RGB.
SHAPES = {
    "gray photo": (SIDE, SIDE, 1),
    "photo with alpha": (SIDE, SIDE, 4),
    "one pixel": (1, 1, 3),
    "one row": (1, LINE, 3),
    "one column": (LINE, 1, 3),
    "very wide": (8, STRIP, 3),
    "very tall": (STRIP, 8, 3),
}


@pytest.fixture(scope="module")
def made():
    return {name: make() for name, make in PICTURES.items()}


@pytest.mark.parametrize("name", PICTURES)
def test_pixels_are_8_bits_and_the_same_each_time(made, name):
    pixels = made[name]
    assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] in (1, 3, 4)
    assert pixels.shape == SHAPES.get(name, pixels.shape)
    again = PICTURES[name]()
    assert np.array_equal(again, pixels)
    again[:] = 7  # nor does what a caller does to one change the next
    assert np.array_equal(PICTURES[name](), pixels)


def test_no_two_are_the_same(made):
    assert len({(each.shape, each.tobytes()) for each in made.values()}) == len(PICTURES)


def test_odd_sizes_are_odd(made):
    odd = [each.shape[:2] for name, each in made.items() if name.startswith("odd")]
    assert len(odd) == 3 and all(side % 2 for size in odd for side in size)


def test_flat_colours_are_flat(made):
    for name, color in (("black", 0), ("white", 255), ("saturated red", (255, 0, 0))):
        assert (made[name] == np.array(color, np.uint8)).all()
    assert (flat(1, 2, 3) == [1, 2, 3]).all()


def test_noise_has_all_levels_and_neighbours_that_know_nothing_of_each_other(made):
    noise = made["white noise"].astype(float)
    assert np.unique(noise).size == 256
    for pair in ((noise[1:], noise[:-1]), (noise[:, 1:], noise[:, :-1]), noise.T[:2]):
        assert abs(np.corrcoef(np.ravel(pair[0]), np.ravel(pair[1]))[0, 1]) < 0.02


def test_checkerboards_change_at_every_pixel():
    board = checkerboard((0, 0, 0), (255, 255, 255)).astype(int)
    for axis in (0, 1):
        assert (np.abs(np.diff(board, axis=axis)) == 255).all()
    assert (board[0, 0] == 0).all()


def test_the_gradient_is_smooth_and_goes_through_all_levels(made):
    gradient = made["smooth gradient"].astype(int)
    for channel in range(3):
        assert np.unique(gradient[..., channel]).size == 256
    for axis in (0, 1):
        assert np.abs(np.diff(gradient, axis=axis)).max() == 1


def test_stripes_have_saturated_colours_alone_and_widths_from_1_to_16(made):
    stripes = made["colour stripes"]
    assert {tuple(each) for each in stripes.reshape(-1, 3).tolist()} == set(SATURATED)
    edges = (np.diff(stripes.astype(int), axis=1) != 0).any(axis=2).sum(axis=1)
    assert sorted({*edges.tolist()}) == [15, 31, 63, 127, 255]


def test_the_page_is_dark_on_white_and_full_of_lines():
    text = page()
    assert (text == text[..., :1]).all()
    assert (text == 255).mean() > 0.7 and (text < 64).mean() > 0.03
    lines = (text.min(axis=(1, 2)) < 128).astype(int)
    assert (np.diff(lines) == 1).sum() > 20  # as many lines of text, paper between them
    assert (text[:, :20] == 255).all() and (text[:, -20:] == 255).all()  # margins


def test_the_screenshot_is_flat_between_lines_of_one_pixel(made):
    shot = made["screenshot"].astype(int)
    same = (shot[:, 1:] == shot[:, :-1]).all(axis=2)
    assert same.mean() > 0.85
    left, middle, right = shot[:, :-2], shot[:, 1:-1], shot[:, 2:]
    lines = (np.abs(middle - left).max(axis=2) > 60) & (np.abs(middle - right).max(axis=2) > 60)
    assert lines.any(axis=0).sum() > 100 and lines.sum() > 1500


def test_the_mask_has_two_levels(made):
    assert np.unique(made["binary mask"]).tolist() == [0, 255]
    assert 0.1 < (made["binary mask"] == 0).mean() < 0.9


def test_alpha_has_all_of_it_and_colours_below_nothing(made):
    alpha = made["photo with alpha"][..., 3]
    assert {0, 255} < set(np.unique(alpha).tolist())
    assert np.array_equal(made["photo with alpha"][..., :3], photo())
    assert np.unique(made["photo with alpha"][alpha == 0][:, :3]).size > 200


def test_a_photo_begins_again_where_it_ends():
    strip = photo(2, 700)
    assert np.array_equal(strip[:, :188], strip[:, 512:]) and not np.array_equal(
        strip[:, :188], strip[:, 188:376]
    )
    assert np.array_equal(photo(5, 9), photo(256, 256)[:5, :9])
