import zlib

import numpy as np
import pytest

from codec import check_latents, latents_crc32
from codec.errors import NicLatentsError


def test_the_documented_check_value():
    assert zlib.crc32(b"123456789") == 0xCBF43926


def test_symbols_count_as_int32_little_endian_one_array_after_another():
    z, y = np.array([[1, -2], [3, 70000]]), np.array([5], np.uint8)
    data = b"".join(int(s).to_bytes(4, "little", signed=True) for s in (1, -2, 3, 70000, 5))
    assert latents_crc32([z, y]) == zlib.crc32(data)
    assert latents_crc32([y], latents_crc32([z])) == zlib.crc32(data)


def test_neither_type_nor_layout_counts():
    y = np.arange(24, dtype=np.int16).reshape(2, 3, 4) - 9
    expected = latents_crc32([y])
    for other in (y.astype(">i8"), np.asfortranarray(y), y.astype(np.int32), y.tolist()):
        assert latents_crc32([other]) == expected
    assert latents_crc32([y.T]) != expected


def test_floats_count_as_their_bytes():
    y = np.array([0.5, -0.0], np.float32)
    assert latents_crc32([y]) == zlib.crc32(b"\0\0\0\x3f\0\0\0\x80")


def test_nothing():
    assert latents_crc32([]) == latents_crc32([np.empty((0, 3), np.int32)]) == 0
    assert latents_crc32([np.int32(7)]) == zlib.crc32(b"\x07\0\0\0")


@pytest.mark.parametrize("bad", [[2**31], [0.5], np.zeros(2, np.float64), [True]])
def test_what_is_no_latent_is_refused(bad):
    with pytest.raises(ValueError, match="latents are integers"):
        latents_crc32([bad])


def test_every_single_change_is_noticed():
    y = np.array([0, 0, 1, -1])
    crc = latents_crc32([y])
    check_latents([y], crc)
    for i in range(4):
        for change in (1, -1, 2**30):
            other = y.copy()
            other[i] += change
            with pytest.raises(NicLatentsError, match=f"the file says {crc:08x}"):
                check_latents([other], crc)
    for other in (y[:-1], np.append(y, 0), y[::-1]):
        with pytest.raises(NicLatentsError):
            check_latents([other], crc)
