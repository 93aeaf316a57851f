import subprocess
import sys
import time
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec import (
    Header,
    Mode,
    NicError,
    NicFile,
    SectionKind,
    SymbolCoder,
    Tiling,
    check_latents,
    encode_alpha,
    gaussian_tables,
    latents_crc32,
    read_info,
)
from codec.byte_reader import varint
from codec.container import MAX_EXIF_BYTES, MAX_HEADER_BYTES, MAX_ICC_BYTES
from codec.errors import (
    NicChecksumError,
    NicFieldError,
    NicMagicError,
    NicModelError,
    NicTrailingError,
    NicTruncatedError,
    NicVersionError,
)

ROOT = Path(__file__).resolve().parents[2]
DIGEST = bytes(range(8))


def header(width=40, height=24, **changes):
    fields = {"mode": Mode.RGB, "latents_crc32": 0xC3249_70D, **changes}
    return Header(DIGEST, width, height, **fields)


@st.composite
def headers(draw):
    side = st.one_of(st.integers(1, 300), st.integers(1, 1 << 20))
    width = draw(side)
    height = draw(st.integers(1, min(1 << 20, (1 << 22) // width + 1)))
    tiling = None
    if draw(st.booleans()):
        tile = draw(st.integers(64, 1 << 14))
        tiling = Tiling(tile, draw(st.integers(0, tile // 2)))
        if not 2 <= tiling.count(width, height) <= 200:
            tiling = None
    return Header(
        draw(st.binary(min_size=8, max_size=8)),
        width,
        height,
        draw(st.sampled_from(Mode)),
        draw(st.integers(0, 2**32 - 1)),
        quality=draw(st.integers(0, 255)),
        orientation=draw(st.integers(1, 8)),
        tiling=tiling,
    )


@st.composite
def files(draw):
    head = draw(headers())
    some = st.none() | st.binary(min_size=1, max_size=40)
    stream = st.binary(max_size=20)
    return NicFile(
        head,
        tuple(draw(st.lists(stream, min_size=head.tiles, max_size=head.tiles))),
        alpha=draw(some),
        icc_profile=draw(some),
        exif=draw(some),
    )


@settings(deadline=None)
@given(files())
def test_files_come_back_and_have_one_form(file):
    data = file.to_bytes()
    again = NicFile.from_bytes(data)
    assert again == file
    assert again.to_bytes() == data
    info = read_info(data)
    assert info.header == file.header
    assert info.file_bytes == len(data)
    assert info.has_alpha == (file.alpha is not None)
    assert len(data) * 2048 >= file.header.pixels


def test_layout_of_a_plain_file():
    head = header(300, 5, quality=7, orientation=6, mode=Mode.GRAYSCALE)
    body = (
        b"\x89NIC\x01"
        + DIGEST
        + bytes([5 << 3, 7])
        + b"\xab\x02\x04"  # 299 and 4
        + (0xC324970D).to_bytes(4, "little")
        + bytes([3 << 4])
        + b"abc"
    )
    assert NicFile(head, (b"abc",)).to_bytes() == body + zlib.crc32(body).to_bytes(4, "little")


@pytest.mark.parametrize(
    ("width", "height", "stream"),
    [(1, 1, 0), (28, 28, 50), (512, 768, 20_000), (4000, 3000, 1_000_000), (30_000, 16_384, 10**7)],
)
def test_a_plain_file_spends_at_most_32_bytes_around_its_stream(width, height, stream):
    data = NicFile(header(width, height), (bytes(max(stream, width * height // 2048)),)).to_bytes()
    assert len(data) - max(stream, width * height // 2048) <= 32


def test_a_picture_of_one_pixel():
    data = NicFile(header(1, 1), (b"",)).to_bytes()
    assert len(data) == 26
    assert NicFile.from_bytes(data).header.pixels == 1


def test_numbers_from_numpy_will_do():
    head = header(np.int64(40), np.uint16(24), quality=np.uint8(3), latents_crc32=np.uint32(5))
    assert head == header(40, 24, quality=3, latents_crc32=5)
    assert NicFile(head, (b"x",)).to_bytes() == NicFile(head, (b"x",)).to_bytes()
    with pytest.raises(TypeError):
        header(40.0, 24)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 0}, "the width is 0"),
        ({"width": (1 << 20) + 1}, "the width is 1048577; 1 to 1048576"),
        ({"height": 0}, "the height is 0"),
        ({"width": 1 << 16, "height": (1 << 14) + 1}, "1073741824 are allowed in all"),
        ({"quality": 256}, "the quality is 256"),
        ({"quality": -1}, "the quality is -1"),
        ({"orientation": 0}, "the orientation is 0"),
        ({"orientation": 9}, "the orientation is 9"),
        ({"latents_crc32": 1 << 32}, "the CRC32"),
        ({"tiling": Tiling(64)}, "the number of tiles is 1; 2 to 65536"),
        (
            {"width": 1 << 14, "height": 1 << 16, "tiling": Tiling(64, 32)},
            "the number of tiles is 1046017",
        ),
    ],
)
def test_caps_of_the_header(changes, message):
    with pytest.raises(NicFieldError, match=message):
        header(**changes)


def test_a_digest_has_eight_bytes():
    with pytest.raises(NicFieldError, match="8 bytes"):
        Header(bytes(32), 1, 1, Mode.RGB, 0)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"latents": ()}, "0 sections of latents for 1 tiles"),
        ({"latents": (b"", b"")}, "2 sections of latents for 1 tiles"),
        ({"alpha": b""}, "ALPHA is empty"),
        ({"icc_profile": b""}, "ICC is empty"),
        ({"exif": b""}, "EXIF is empty"),
        ({"alpha": bytes(40 * 24 + 15 + 65)}, "ALPHA of 1040 bytes; 1039"),
        ({"icc_profile": bytes(MAX_ICC_BYTES + 1)}, "ICC of 4194305 bytes"),
        ({"exif": bytes(MAX_EXIF_BYTES + 1)}, "EXIF of 1048577 bytes"),
    ],
)
def test_caps_of_the_sections(sections, message):
    with pytest.raises(NicFieldError, match=message):
        NicFile(header(), **{"latents": (b"x",), **sections})


def sealed(body: bytes) -> bytes:
    return body + zlib.crc32(body).to_bytes(4, "little")


def built(
    magic=b"\x89NIC",
    version=1,
    flags=1,
    geometry=b"\x27\x17",
    sections=((0, b"xy"),),
    entries=None,
):
    """A file by hand: no field is checked."""
    if entries is None:
        entries = b"".join(
            varint(len(content) << 4 | kind << 1 | (i + 1 < len(sections)))
            for i, (kind, content) in enumerate(sections)
        )
    start = magic + bytes([version]) + DIGEST + bytes([flags, 0]) + geometry + bytes(4)
    return sealed(start + entries + b"".join(content for _, content in sections))


def test_the_hand_made_file_is_right():
    assert NicFile.from_bytes(built()).latents == (b"xy",)
    tiled = built(flags=5, geometry=b"\x7f\x17\x40\x00", sections=((0, b""), (0, b"z")))
    assert NicFile.from_bytes(tiled).header.tiling == Tiling(64, 0)


GOOD = built()


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (b"PK\x03\x04" + bytes(50), NicMagicError, "not a .nic file"),
        (b"\xff\xd8", NicMagicError, "not a .nic file"),
        (built(magic=b"\x09NIC"), NicMagicError, "not a .nic file"),
        (b"", NicTruncatedError, "cut short"),
        (built(version=2), NicVersionError, "version 2 .* newer Codecsmith"),
        (built(version=255), NicVersionError, "newer Codecsmith"),
        (built(version=0), NicVersionError, "no version 0"),
        (GOOD[:-1], NicTruncatedError, f"{len(GOOD) - 1} of {len(GOOD)} bytes"),
        (GOOD + b"\0", NicTrailingError, "1 bytes after its end"),
        (GOOD + GOOD, NicTrailingError, f"{len(GOOD)} bytes after its end"),
        (GOOD[:-1] + b"\0", NicChecksumError, "checksum"),
        (GOOD[:-6] + b"xz" + GOOD[-4:], NicChecksumError, "checksum"),
        (built(flags=2), NicFieldError, "flags are 0x02"),
        (built(flags=3), NicFieldError, "flags are 0x03"),
        (built(flags=0x41), NicFieldError, "flags are 0x41"),
        (built(flags=0x81), NicFieldError, "flags are 0x81"),
        (built(geometry=b"\xa7\x00\x17"), NicFieldError, "the width is written with more bytes"),
        (built(geometry=b"\x27\xff\xff\xff\xff\xff\x01"), NicFieldError, "the height is longer"),
        (built(geometry=b"\x80\x80\x40\x00"), NicFieldError, "the width is 1048577"),
        (built(geometry=b"\xff\xff\x3f\xff\xff\x3f"), NicFieldError, "are allowed in all"),
        (built(geometry=b"\xff\x0f\xff\x0f"), NicFieldError, "has at least 2048"),
        (built(flags=5, geometry=b"\x27\x17\x40\x00"), NicFieldError, "number of tiles is 1"),
        (built(flags=5, geometry=b"\x7f\x17\x3f\x00"), NicFieldError, "tiles of 63"),
        (built(flags=5, geometry=b"\x7f\x17\x40\x21"), NicFieldError, "overlap by 33"),
        (built(sections=((5, b"x"),)), NicFieldError, "no section of kind 5"),
        (built(sections=((0, b""), (0, b""))), NicFieldError, "2 sections of latents"),
        (built(sections=((1, b"a"),)), NicFieldError, "0 sections of latents"),
        (built(sections=((1, b"a"), (0, b""))), NicFieldError, "out of order"),
        (built(sections=((0, b""), (2, b"a"), (2, b"b"))), NicFieldError, "stands twice"),
        (built(sections=((0, b""),) * 9), NicFieldError, "more than 6 sections"),
        (built(sections=((0, b""), (1, b""))), NicFieldError, "ALPHA is empty"),
        (built(sections=((0, b""), (4, b""))), NicFieldError, "the padding"),
        (built(sections=((0, b""), (4, b"\0"))), NicFieldError, "the padding"),
        (built(entries=b"\xa0\x00"), NicFieldError, "more bytes than it needs"),
        (built(entries=b"\x80" * 5 + b"\x01"), NicFieldError, "longer than 5 bytes"),
        (built(entries=varint(1000 << 4)), NicTruncatedError, "cut short"),
    ],
)
def test_each_cause_has_its_class_and_message(data, error, message):
    for read in (NicFile.from_bytes, read_info):
        if read is read_info and (error is NicChecksumError or message == "the padding"):
            read_info(data)  # looks at nothing behind the header
            continue
        with pytest.raises(error, match=message) as caught:
            read(data)
        assert type(caught.value) is error
        assert "\n" not in str(caught.value)


def padded(extra: int, fill: int = 0) -> bytes:
    """A file of 300 x 300 pixels, which has at least 44 bytes, with `extra` more padding."""
    data = NicFile(header(300, 300, latents_crc32=0), (b"x",)).to_bytes()
    size = read_info(data).bytes_of(SectionKind.PADDING)
    content = bytes([fill]) * (size + extra)
    return built(geometry=b"\xab\x02\xab\x02", sections=((0, b"x"), (4, content)))


def test_a_file_too_small_for_its_picture_is_padded():
    data = padded(0)
    assert len(data) == 44
    assert NicFile.from_bytes(data) == NicFile(header(300, 300, latents_crc32=0), (b"x",))
    assert NicFile.from_bytes(data).to_bytes() == data


@pytest.mark.parametrize(("extra", "fill"), [(1, 0), (9, 0), (0, 1)])
def test_other_padding_is_refused(extra, fill):
    with pytest.raises(NicFieldError, match="the padding"):
        NicFile.from_bytes(padded(extra, fill))


def test_too_little_padding_is_refused():
    with pytest.raises(NicFieldError, match="at least 44"):
        NicFile.from_bytes(padded(-1))


@pytest.mark.parametrize("width", [200, 1000, 2000, 5000, 40_000, 1 << 20])
@pytest.mark.parametrize("stream", [0, 1, 60, 126, 127, 1000])
def test_padding_is_the_least_that_is_enough(width, stream):
    file = NicFile(header(width, 1000), (bytes(stream),))
    data = file.to_bytes()
    least = -(-width * 1000 // 2048)
    size = read_info(data).bytes_of(SectionKind.PADDING)
    assert len(data) >= least
    assert NicFile.from_bytes(data) == file
    if size:  # a byte less, and its entry in the list perhaps one less too, would not do
        assert len(data) - 2 < least


def whole_file():
    """A small file with everything, and how its latents are read."""
    coder = SymbolCoder(gaussian_tables([0.5, 2.0]))
    index = np.arange(20) % 2
    symbols = np.array([0, 3, -1, 900] * 5)
    head = header(latents_crc32=latents_crc32([symbols]))
    file = NicFile(
        head,
        (coder.encode(symbols, index),),
        alpha=encode_alpha(np.full((24, 40), 9, np.uint8)),
        icc_profile=b"profile",
        exif=b"II*\0",
    )

    def read(data: bytes) -> NicFile:
        found = NicFile.from_bytes(data)
        found.header.check_model(DIGEST)
        check_latents([coder.decode(found.latents[0], index)], found.header.latents_crc32)
        return found

    return file, read


def test_every_flipped_bit_is_noticed():
    file, read = whole_file()
    data = file.to_bytes()
    assert read(data) == file
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(NicError):
            read(bytes(flipped))


def test_truncation_at_every_byte_is_noticed():
    file, read = whole_file()
    data = file.to_bytes()
    for end in range(len(data)):
        for function in (read, read_info):
            with pytest.raises(NicTruncatedError):
                function(data[:end])


def test_a_changed_stream_under_a_right_checksum_is_noticed():
    """Every bit of the stream, in a file whose own checksum was made again."""
    file, read = whole_file()
    (stream,) = file.latents
    for bit in range(8 * len(stream)):
        flipped = bytearray(stream)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(NicError):
            read(NicFile(file.header, (bytes(flipped),)).to_bytes())


def test_another_model_is_told():
    head = header()
    head.check_model(DIGEST + bytes(24))
    with pytest.raises(NicModelError, match="with model 0001020304050607, this is model 00000000"):
        head.check_model(bytes(32))


@settings(max_examples=300)
@given(st.binary(max_size=100))
def test_any_bytes_are_refused(data):
    for start in (b"", b"\x89NIC\x01"):
        with pytest.raises(NicError):
            NicFile.from_bytes(start + data)


@pytest.mark.parametrize(
    "data",
    [
        built(geometry=b"\xff\xff\x3f\xff\x07"),  # 2**20 x 2**10 pixels
        built(flags=5, geometry=b"\xff\x7f\xff\xff\x03\x40\x20", sections=((0, b""),) * 900),
        built(flags=5, geometry=b"\xff\xff\x3f\x3f\x40\x20", entries=b"\x01" * 900),
        built(entries=varint(((1 << 31) - 1) << 4)),
        built(entries=b"\x01" * 1000),
        built(entries=(varint(((1 << 31) - 1) << 4 | 1)) * 200),
        built(sections=((0, b""), (2, b"")), entries=b"\x01" + varint((4 << 20) << 4 | 4)),
    ],
)
def test_huge_claims_of_small_files_cost_nothing(data):
    assert len(data) < 1100
    tracemalloc.start()
    start = time.thread_time()
    for read in (NicFile.from_bytes, read_info):
        with pytest.raises(NicError):
            read(data)
    assert time.thread_time() - start < 0.5
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_small_file_holds_a_small_picture():
    with pytest.raises(NicFieldError, match="has at least"):
        read_info(sealed(built(geometry=b"\xff\x0f\xff\x07", sections=((0, bytes(990)),))[:-4]))


def test_info_of_a_path_reads_the_header_only(tmp_path):
    file, _ = whole_file()
    path = tmp_path / "a.nic"
    path.write_bytes(file.to_bytes())
    assert read_info(path) == read_info(str(path)) == read_info(file.to_bytes())
    large = NicFile(header(), (bytes(MAX_HEADER_BYTES * 2),)).to_bytes()
    path.write_bytes(large[:-100] + bytes(100))  # damaged behind the header
    assert read_info(path).file_bytes == len(large)
    path.write_bytes(large[:-1])
    with pytest.raises(NicTruncatedError, match=f"{len(large) - 1} of {len(large)}"):
        read_info(path)
    path.write_bytes(large + b"\0")
    with pytest.raises(NicTrailingError):
        read_info(path)


def test_info_of_a_long_header(tmp_path):
    head = header(1 << 13, 1 << 13, tiling=Tiling(64))
    file = NicFile(head, (b"",) * (1 << 14), alpha=b"a", icc_profile=b"i", exif=b"e")
    path = tmp_path / "a.nic"
    path.write_bytes(file.to_bytes())
    info = read_info(path)
    assert info.header.tiles == 1 << 14
    assert info.header_bytes <= MAX_HEADER_BYTES
    assert NicFile.from_bytes(path.read_bytes()) == file


def test_the_package_needs_neither_keras_nor_tensorflow():
    """And the coder's library only to code."""
    code = (
        "import sys, codec, codec.fuzz\n"
        "names = {'keras', 'tensorflow', 'jax', 'scipy', 'builders', 'architectures', 'constriction'}\n"
        "print(sorted(names & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
