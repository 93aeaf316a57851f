"""The `.nicv` file: read as it was written, and every damage refused with its class."""

import re
import zlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from codec import clip_codec, clip_container, clip_header
from codec.byte_reader import varint
from codec.clip_container import ClipFile, Group, least_file_bytes, read_clip_info
from codec.clip_header import ClipHeader, most_interval
from codec.errors import (
    NicChecksumError,
    NicError,
    NicFieldError,
    NicMagicError,
    NicModelError,
    NicTrailingError,
    NicTruncatedError,
    NicVersionError,
)
from codec.header import Mode
from tests.codec.test_bitstream_page import hex_bytes

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "clip_format.md").read_text("utf-8")
DIGEST = bytes(range(8))
HEADER = ClipHeader(DIGEST, 40, 24, Mode.RGB, Fraction(30000, 1001), 5, 2, quality=3)
FILE = ClipFile(HEADER, (Group(b"ab", 1), Group(b"", 2), Group(b"c", 1 << 31)))
PADDED = ClipFile(replace(HEADER, width=4000, height=1000, interval=4), (Group(b"x", 7),) * 2)


def sealed(body: bytes) -> bytes:
    return body + zlib.crc32(body).to_bytes(4, "little")


@pytest.mark.parametrize("file", [FILE, PADDED])
def test_a_file_is_read_as_it_was_written(file: ClipFile) -> None:
    data = file.to_bytes()
    assert ClipFile.from_bytes(data) == file
    info = read_clip_info(data)
    assert info.header == file.header
    assert info.file_bytes == len(data)
    assert info.lengths == tuple(len(group.stream) for group in file.groups)
    assert len(data) >= least_file_bytes(file.header)
    assert (info.padding > 0) == (file is PADDED)


@pytest.mark.parametrize("file", [FILE, PADDED])
def test_every_truncation_and_every_flipped_bit_is_refused(file: ClipFile) -> None:
    data = file.to_bytes()
    for end in range(len(data)):
        with pytest.raises(NicError):
            ClipFile.from_bytes(data[:end])
    for at in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[at] ^= 1 << bit
            with pytest.raises(NicError):
                ClipFile.from_bytes(bytes(damaged))


def test_behind_a_right_checksum_only_what_would_be_written_is_read() -> None:
    body = FILE.to_bytes()[:-4]
    for at in range(len(body)):
        for value in range(256):
            data = sealed(body[:at] + bytes([value]) + body[at + 1 :])
            try:
                file = ClipFile.from_bytes(data)
            except NicError:
                continue
            assert file.to_bytes() == data


def test_each_cause_has_its_class() -> None:
    data = FILE.to_bytes()
    for error, damaged in (
        (NicMagicError, b"\x89NIC" + data[4:]),
        (NicVersionError, data[:4] + b"\x02" + data[5:]),
        (NicVersionError, data[:4] + b"\x00" + data[5:]),
        (NicFieldError, data[:13] + b"\x02" + data[14:]),  # mode
        (NicTruncatedError, data[:-1]),
        (NicTruncatedError, b""),
        (NicTrailingError, data + b"\0"),
        (NicChecksumError, data[:-1] + bytes([data[-1] ^ 1])),
    ):
        with pytest.raises(error):
            ClipFile.from_bytes(damaged)
    with pytest.raises(NicModelError):
        HEADER.check_model(b"another model")
    HEADER.check_model(DIGEST + b"and more")


def test_padding_is_zeros_of_one_length() -> None:
    data = PADDED.to_bytes()
    body = data[:-4]
    assert body[-1] == 0
    with pytest.raises(NicFieldError, match="padding"):
        ClipFile.from_bytes(sealed(body[:-1] + b"\x01"))
    with pytest.raises(NicTrailingError):
        ClipFile.from_bytes(sealed(body + b"\0"))
    with pytest.raises(NicTruncatedError):
        ClipFile.from_bytes(sealed(body[:-1]))


@pytest.mark.parametrize(
    "change",
    [
        {"width": 0},
        {"width": 2**20 + 1},
        {"width": 2**16, "height": 2**15},
        {"rate": Fraction(2**31)},
        {"rate": Fraction(1, 2**31)},
        {"rate": Fraction(0)},
        {"frames": 0},
        {"frames": 2**24 + 1},
        {"interval": 0},
        {"interval": 2**16 + 1},
        {"quality": 256},
        {"model_digest": b"short"},
        {"width": 2**13, "height": 2**13, "interval": 2},
    ],
)
def test_fields_out_of_range_are_refused(change: dict) -> None:
    with pytest.raises(NicFieldError):
        replace(HEADER, **change)


def test_key_frames_come_as_often_as_memory_asks() -> None:
    assert most_interval(1) == 2**16
    assert most_interval(2**20) == 64
    assert most_interval(2**30) == 1
    assert replace(HEADER, width=2**13, height=2**13, interval=1).groups == 5
    assert [HEADER.frames_of(group) for group in range(HEADER.groups)] == [2, 2, 1]


def test_a_rate_that_is_not_in_lowest_terms_is_refused() -> None:
    data = FILE.to_bytes()[:-4]
    rate = varint(29999) + varint(1000)
    assert rate in data
    with pytest.raises(NicFieldError, match="lowest terms"):
        ClipFile.from_bytes(sealed(data.replace(rate, varint(59999) + varint(2001))))


def test_a_long_list_of_groups_is_refused_before_it_is_read() -> None:
    header = replace(HEADER, width=1, height=1, frames=2**24, interval=1)
    with pytest.raises(NicTruncatedError, match="16777216 groups"):
        read_clip_info(header.to_bytes() + bytes(1000))


def test_groups_are_those_of_the_header() -> None:
    with pytest.raises(NicFieldError, match="2 groups for 3 key frames"):
        ClipFile(HEADER, FILE.groups[:2])
    with pytest.raises(NicFieldError, match="CRC32"):
        Group(b"", 1 << 32)


def test_the_pages_example_is_read_and_written() -> None:
    data = hex_bytes(re.search(r"```file\n(.*?)```", PAGE, re.DOTALL)[1])
    file = ClipFile.from_bytes(data)
    digest = bytes.fromhex("50D858E0985ECC7F")
    assert file.header == ClipHeader(digest, 40, 24, Mode.RGB, Fraction(30000, 1001), 3, 2, 2)
    assert file.groups == (Group(b"", 0),) * 2
    assert file.to_bytes() == data


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Width and height 1..2^20, width * height at most 2^30", True),
        ("1..2^31 - 1. Frames 1..2^24", clip_header.MAX_RATE_PART == 2**31 - 1),
        ("Frames 1..2^24", clip_header.MAX_FRAMES == 2**24),
        ("Interval 1..2^16", clip_header.MAX_INTERVAL == 2**16),
        ("must be at most 2^26", clip_header.MAX_GROUP_PIXELS == 2**26),
        ("stream 0..2^31 - 1", clip_container.MAX_STREAM_BYTES == 2**31 - 1),
        ("frames / 65536)", clip_container.PIXELS_PER_BYTE == 65536),
        ("2^18 * bytes", clip_codec.PADDED_PER_PIXEL * clip_container.PIXELS_PER_BYTE == 2**18),
        ("`max(p, 2^28)`", clip_codec.PADDED_PER_PIXEL * clip_header.MAX_GROUP_PIXELS == 2**28),
    ],
)
def test_limits_are_the_codes(text: str, value: bool) -> None:
    assert text in PAGE.replace("\n", " ")
    assert value
