import time
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from codec import decode_alpha, encode_alpha
from codec.errors import NicAlphaError

planes = hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)))
PLANE = (np.add.outer(np.arange(5), np.arange(4)) * 70).astype(np.uint8)


def by_the_book(data, width, height):
    """docs/bitstream.md section 7, pixel by pixel."""
    residual = zlib.decompress(data[1:])
    plane = np.zeros((height + 1, width + 1), int)  # a row and a column of 0 before the first
    for y in range(height):
        for x in range(width):
            left, up, corner = plane[y + 1, x], plane[y, x + 1], plane[y, x]
            guess = (0, left, up, left + up - corner)[data[0]]
            plane[y + 1, x + 1] = (residual[y * width + x] + guess) % 256
    return plane[1:, 1:]


@given(planes)
def test_planes_come_back(plane):
    data = encode_alpha(plane)
    height, width = plane.shape
    found = decode_alpha(data, width, height)
    assert found.dtype == np.uint8
    assert np.array_equal(found, plane)
    assert np.array_equal(by_the_book(data, width, height), plane)


@given(planes, st.integers(0, 3))
def test_every_predictor_is_undone_as_documented(residual, predictor):
    data = bytes([predictor]) + zlib.compress(residual.tobytes())
    height, width = residual.shape
    assert np.array_equal(decode_alpha(data, width, height), by_the_book(data, width, height))


def test_smooth_and_flat_planes_are_small():
    y, x = np.mgrid[:256, :256]
    assert len(encode_alpha(np.full((256, 256), 255, np.uint8))) < 120
    assert len(encode_alpha(((x + 2 * y) % 256).astype(np.uint8))) < 400
    assert len(encode_alpha((255 * (np.hypot(x - 128, y - 128) < 100)).astype(np.uint8))) < 900


def test_the_decoded_plane_can_be_written_to():
    decode_alpha(encode_alpha(PLANE), 4, 5)[0, 0] = 1


@pytest.mark.parametrize("bad", [np.zeros((2, 2), int), np.zeros(4, np.uint8), PLANE[:0]])
def test_what_is_no_plane_is_told(bad):
    with pytest.raises(ValueError, match="an alpha plane is"):
        encode_alpha(bad)


GOOD = encode_alpha(PLANE)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no known predictor"),
        (b"\x04" + GOOD[1:], "no known predictor"),
        (GOOD[:1], "does not have 20 pixels"),
        (GOOD[:-1], "does not have 20 pixels"),
        (GOOD + b"\0", "does not have 20 pixels"),
        (b"\0" + zlib.compress(bytes(19)), "does not have 20 pixels"),
        (b"\0" + zlib.compress(bytes(21)), "does not have 20 pixels"),
        (b"\0garbage", "Error -3"),
        (b"\0" + zlib.compress(bytes(20))[:-1] + b"\xff", "Error -3"),
    ],
)
def test_each_cause_has_its_message(data, message):
    with pytest.raises(NicAlphaError, match=message):
        decode_alpha(data, 4, 5)


@settings(max_examples=300)
@given(st.binary(max_size=30))
def test_any_bytes_are_a_plane_or_refused(data):
    try:
        plane = decode_alpha(data, 4, 5)
    except NicAlphaError:
        return
    assert plane.shape == (5, 4)


def test_a_bomb_is_not_inflated():
    bomb = b"\0" + zlib.compress(bytes(40_000_000), 9)
    tracemalloc.start()
    start = time.thread_time()
    with pytest.raises(NicAlphaError):
        decode_alpha(bomb, 100, 100)
    assert time.thread_time() - start < 1
    assert tracemalloc.get_traced_memory()[1] < 2 << 20
    tracemalloc.stop()
