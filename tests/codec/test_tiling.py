from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec import Tiling
from codec.errors import NicFieldError


@st.composite
def tilings(draw):
    tile = draw(st.integers(64, 300))
    return Tiling(tile, draw(st.integers(0, tile // 2)))


@given(tilings(), st.integers(1, 2000), st.integers(1, 2000))
def test_tiles_cover_every_pixel_and_none_is_needless(tiling, width, height):
    boxes = list(tiling.boxes(width, height))
    assert len(boxes) == tiling.count(width, height)
    columns = sorted({(left, right) for left, _, right, _ in boxes})
    rows = sorted({(top, bottom) for _, top, _, bottom in boxes})
    assert len(boxes) == len(columns) * len(rows)
    for spans, size in ((columns, width), (rows, height)):
        assert spans[0][0] == 0 and spans[-1][1] == size
        assert all(0 < end - start <= tiling.tile for start, end in spans)
        for (_, end), (start, _) in pairwise(spans):
            assert end - start == tiling.overlap
        assert all(end < size for _, end in spans[:-1])


def test_order_is_row_by_row():
    assert list(Tiling(64, 16).boxes(112, 100)) == [
        (0, 0, 64, 64),
        (48, 0, 112, 64),
        (0, 48, 64, 100),
        (48, 48, 112, 100),
    ]


@pytest.mark.parametrize(("size", "expected"), [(1, 1), (64, 1), (65, 2), (112, 2), (113, 3)])
def test_count_along_a_side(size, expected):
    assert Tiling(64, 16).grid(size, 1) == (1, expected)


@pytest.mark.parametrize(("tile", "overlap"), [(63, 0), (16385, 0), (64, 33), (64, -1)])
def test_caps(tile, overlap):
    with pytest.raises(NicFieldError, match="allowed"):
        Tiling(tile, overlap)


def test_the_count_of_a_huge_image_makes_no_list():
    assert Tiling(64, 32).count(1 << 20, 1 << 10) == (2**20 // 32 - 1) * 31
    assert np.prod(Tiling(64, 0).grid(1 << 20, 1)) == 1 << 14
