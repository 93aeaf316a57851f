"""Sealed files: any changed byte is found, and readers of the format do not mind the seal."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.errors import UserError
from builders.seals import SEAL, is_sealed, seal


def test_a_sealed_file_is_whole_and_still_read(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.arange(5))
    assert not is_sealed(path)
    seal(path)
    assert is_sealed(path)
    np.testing.assert_array_equal(np.load(path)["x"], np.arange(5))


@given(st.binary(max_size=300), st.data())
def test_a_changed_byte_is_found(tmp_path_factory, content, data):
    path = tmp_path_factory.mktemp("seal") / "file"
    path.write_bytes(content)
    seal(path)
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(changed)
    begins_the_seal = len(content) <= place < len(content) + len(SEAL)
    if begins_the_seal:
        assert not is_sealed(path)
    else:
        with pytest.raises(UserError, match="damaged: its bytes are not those that were written"):
            is_sealed(path)


def test_what_is_cut_off_has_no_seal(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789" * 20)
    seal(path)
    whole = path.read_bytes()
    for size in (0, 1, 100, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert not is_sealed(path)
    path.write_bytes(whole + b"more")
    assert not is_sealed(path)
