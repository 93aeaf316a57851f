import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.errors import NicBundleError
from codec.geometry import MAX_SIDE, MAX_VALUES, Geometry, Grid

sides = st.integers(1, 40)
steps = st.integers(1, 17)


@st.composite
def geometries(draw):
    """Blocks of one size, and blocks that grow."""
    channels = draw(st.sampled_from([1, 3]))
    first = draw(sides), draw(sides)
    if draw(st.booleans()):
        return Geometry(channels, first, (0, 0), {"y": Grid((draw(sides),))})
    step = draw(steps), draw(steps)
    growth = draw(st.integers(1, step[0])), draw(st.integers(1, step[1]))
    return Geometry(channels, first, step, {"y": Grid((draw(sides), draw(sides), 5), growth)})


@settings(deadline=None)
@given(geometries(), sides, sides)
def test_a_picture_comes_back_from_its_blocks(geometry, height, width):
    numbers = np.random.default_rng(height * 41 + width)
    pixels = numbers.integers(0, 256, (height, width, geometry.channels), np.uint8)
    plan = geometry.plan(height, width)
    blocks = plan.blocks(pixels)
    assert blocks.shape == (plan.rows * plan.columns, *plan.block, geometry.channels)
    assert plan.padded_pixels == blocks[..., 0].size
    assert plan.shapes["y"][0] == len(blocks)
    back = plan.picture(blocks)
    np.testing.assert_array_equal(back, pixels)
    assert back.flags.c_contiguous


@given(geometries(), sides, sides)
def test_there_is_no_more_padding_than_a_block_or_a_step(geometry, height, width):
    plan = geometry.plan(height, width)
    whole = plan.rows * plan.block[0], plan.columns * plan.block[1]
    for size, side, first, step in zip(
        (height, width), whole, geometry.first, geometry.step, strict=True
    ):
        assert 0 <= side - size < (step or first) or side == first
        assert (side - first) % (step or first) == 0


def test_padding_repeats_the_last_row_and_column():
    plan = Geometry(1, (4, 4), (4, 4), {"y": Grid((1, 1, 2), (1, 1))}).plan(3, 5)
    block = plan.blocks(np.arange(15, dtype=np.uint8).reshape(3, 5, 1))[0, :, :, 0]
    assert block[3].tolist() == block[2].tolist() == [10, 11, 12, 13, 14, 14, 14, 14]
    assert block[:, 4].tolist() == block[:, 7].tolist() == [4, 9, 14, 14]


def test_fixed_blocks_lie_row_by_row():
    plan = Geometry(3, (2, 3), (0, 0), {"y": Grid((7,))}).plan(3, 7)
    assert (plan.rows, plan.columns, plan.block) == (2, 3, (2, 3))
    assert plan.shapes == {"y": (6, 7)}
    pixels = np.zeros((3, 7, 3), np.uint8)
    pixels[2, 6] = 9
    assert plan.blocks(pixels)[:5].max() == 0
    assert plan.blocks(pixels)[5].min() == 9  # all of it repeats that pixel


def test_latents_grow_with_a_picture():
    grids = {"y": Grid((4, 2, 8), (4, 2)), "z": Grid((1, 1, 3), (1, 1))}
    geometry = Geometry(3, (32, 16), (32, 16), grids)
    assert geometry.plan(1, 1).shapes == {"y": (1, 4, 2, 8), "z": (1, 1, 1, 3)}
    assert geometry.plan(33, 16).shapes == {"y": (1, 8, 2, 8), "z": (1, 2, 1, 3)}
    assert geometry.plan(96, 49).shapes == {"y": (1, 12, 8, 8), "z": (1, 3, 4, 3)}
    assert geometry.plan(96, 49).block == (96, 64)


def geometry(channels=3, first=(8, 8), step=(8, 8), shape=(2, 2, 4), growth=(2, 2)):
    return Geometry(channels, first, step, {"y": Grid(shape, growth)})


FIXED = {"step": (0, 0), "growth": (0, 0)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": 4}, "4 channels"),
        ({"first": (0, 8)}, r"blocks of \(0, 8\)"),
        ({"first": (8, MAX_SIDE + 1)}, "blocks of"),
        ({"step": (8, 0)}, r"a step of \(8, 0\)"),
        ({"step": (-8, -8)}, "a step of"),
        ({"step": (8, MAX_SIDE + 1)}, "a step of"),
        ({"shape": ()}, r"y of shape \(\)"),
        ({"shape": (2, 0, 4)}, "y of shape"),
        ({"shape": (2, 2)}, "y of shape"),
        ({"shape": (1, 1, MAX_VALUES + 1)}, "too many of y"),
        ({"shape": (2**40, 2**40, 2**40)}, "too many of y"),  # no overflow
        ({"growth": (0, 2)}, "don't grow"),
        ({"growth": (-1, 2)}, "don't grow"),
        ({"growth": (2, 9)}, r"growing by \(2, 9\)"),
        ({**FIXED, "growth": (1, 1)}, "in a block of one size"),
        ({**FIXED, "shape": (MAX_VALUES + 1,)}, "too many of y"),
    ],
)
def test_what_is_out_of_range_is_refused(changes, message):
    geometry()
    geometry(**FIXED)
    with pytest.raises(NicBundleError, match=message) as error:
        geometry(**changes)
    assert "\n" not in str(error.value)
