import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.byte_reader import ByteReader, varint
from codec.errors import NicFieldError, NicTruncatedError


@given(st.integers(0, 2**35 - 1))
def test_varints_come_back(value):
    data = varint(value)
    assert len(data) == max(1, -(-value.bit_length() // 7))
    reader = ByteReader(data + b"x")
    assert reader.varint("it") == value
    assert reader.position == len(data)


def test_the_documented_varint():
    assert varint(300) == b"\xac\x02"


@given(st.binary(min_size=1, max_size=7))
def test_a_varint_has_one_form(data):
    reader = ByteReader(data)
    try:
        value = reader.varint("it")
    except (NicFieldError, NicTruncatedError):
        return
    assert varint(value) == data[: reader.position]


@pytest.mark.parametrize("value", [-1, 2**35])
def test_what_no_varint_holds(value):
    with pytest.raises(ValueError, match="does not fit"):
        varint(value)


def test_reading_stops_at_the_end():
    reader = ByteReader(b"\x01\x02\x03\x04\x05", "thing")
    assert reader.uint32("a") == 0x04030201
    assert reader.peek(9) == b"\x05"
    with pytest.raises(NicTruncatedError, match="thing is cut short: b ends at byte 6, the thing"):
        reader.take(2, "b")
    assert reader.byte("c") == 5
