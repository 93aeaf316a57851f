import threading
import time
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec import work_limits
from codec.bundle import Bundle
from codec.container import NicFile, read_info
from codec.errors import (
    NicBundleError,
    NicError,
    NicFieldError,
    NicLatentsError,
    NicModelError,
    NicStreamError,
)
from codec.header import MAX_SIDE, Header, Mode
from codec.image_codec import OVERLAP, ImageCodec
from codec.picture import Picture, PictureError
from codec.tiling import Tiling
from codec.whole_file import CRC_BYTES
from codec.work_limits import MOST_BYTES, TILE, padded_pixels
from tests.codec import hand_made

LOSSLESS = ("stored", "quantized", "factorized")
ICC, EXIF = b"a profile", b"II*\0 exif"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Codecs by kind, channels and more, each made once."""
    found = {}

    def make(kind="stored", **given_):
        key = (kind, *sorted(given_.items()))
        if key not in found:
            folder = tmp_path_factory.mktemp("bundle")
            found[key] = hand_made.codec(folder, kind=kind, **given_)
        return found[key]

    return make


def pixels(height, width, channels=3, seed=0):
    numbers = np.random.default_rng((seed, height, width))
    return numbers.integers(0, 256, (height, width, channels), np.uint8)


def sealed(body):
    """The bytes of a file with the checksum that they should have."""
    return body + zlib.crc32(body).to_bytes(CRC_BYTES, "little")


@settings(deadline=None, max_examples=60)
@given(
    kind=st.sampled_from(LOSSLESS),
    fixed=st.booleans(),
    channels=st.sampled_from([1, 3]),
    height=st.one_of(st.just(1), st.integers(1, 40)),
    width=st.one_of(st.just(1), st.integers(1, 40)),
)
def test_pictures_of_any_size_come_back(made, kind, fixed, channels, height, width):
    codec = made(kind, fixed=fixed, channels=channels)
    picture = pixels(height, width, channels)
    back = codec.decompress(codec.compress(Picture(picture)))
    np.testing.assert_array_equal(back.pixels, picture)
    assert back.pixels.dtype == np.uint8
    assert (back.alpha, back.icc_profile, back.exif, back.orientation) == (None, None, None, 1)


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (9, 31)])
def test_a_hyperprior_rounds_what_its_means_leave(made, size):
    codec = made("hyperprior")
    picture = pixels(*size)
    back = codec.decompress(codec.compress(Picture(picture)))
    assert np.abs(back.pixels.astype(int) - picture).max() <= 1


def test_a_plain_picture_costs_32_bytes_around_its_stream_at_most(made):
    for size in ((1, 1), (1, 300), (127, 129), (300, 1)):
        for kind in hand_made.KINDS:
            data = made(kind).compress(Picture(pixels(*size)))
            around = len(data) - len(NicFile.from_bytes(data).latents[0])
            assert 26 <= around <= 32


@pytest.mark.parametrize("kind", LOSSLESS)
def test_gray_pictures_under_a_model_for_colour(made, kind):
    codec = made(kind)
    picture = pixels(9, 13, 1)
    data = codec.compress(Picture(picture))
    assert read_info(data).header.mode is Mode.GRAYSCALE
    np.testing.assert_array_equal(codec.decompress(data).pixels, picture)


def test_gray_is_the_rounded_mean_of_what_a_model_for_colour_gives(made, monkeypatch):
    codec = made()
    data = codec.compress(Picture(pixels(8, 8, 1)))
    colours = pixels(8, 8)
    monkeypatch.setattr(codec.transforms, "synthesise", lambda _: colours[None])
    expected = np.floor(colours.astype(float).mean(axis=2) + 0.5)
    np.testing.assert_array_equal(codec.decompress(data).pixels[..., 0], expected)


def test_pictures_in_colour_are_refused_by_a_model_for_gray(made):
    codec = made(channels=1)
    for tile in (None, 64):
        with pytest.raises(PictureError, match="in colour, the model takes gray ones"):
            codec.compress(Picture(pixels(70, 70)), tile=tile)
    file = NicFile.from_bytes(codec.compress(Picture(pixels(8, 8, 1))))
    coloured = replace(file, header=replace(file.header, mode=Mode.RGB))
    with pytest.raises(NicBundleError, match="in colour, the model is not"):
        codec.decompress(coloured.to_bytes())


@pytest.mark.parametrize("channels", [1, 3])
def test_all_that_stands_beside_the_pixels_comes_back(made, channels):
    alpha = pixels(11, 17, 1)[..., 0]
    for orientation in range(1, 9):
        picture = Picture(pixels(11, 17, channels), alpha, ICC, EXIF, orientation)
        data = made().compress(picture)
        back = made().decompress(data)
        np.testing.assert_array_equal(back.pixels, picture.pixels)  # not turned
        np.testing.assert_array_equal(back.alpha, alpha)
        assert (back.icc_profile, back.exif, back.orientation) == (ICC, EXIF, orientation)
        assert (read_info(data).header.height, read_info(data).header.width) == (11, 17)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (Picture(np.zeros((8, 8), np.uint8)), "uint8 .H, W, 1 or 3., not uint8 .8, 8."),
        (Picture(np.zeros((8, 8, 4), np.uint8)), "not uint8 .8, 8, 4."),
        (Picture(np.zeros((8, 8, 2), np.uint8)), "not uint8 .8, 8, 2."),
        (Picture(np.zeros((8, 8, 3), np.float32)), "not float32"),
        (Picture(pixels(8, 8), pixels(8, 9, 1)[..., 0]), "alpha of .8, 9. for pixels of .8, 8."),
    ],
)
def test_what_is_no_picture_is_refused(made, picture, message):
    with pytest.raises(PictureError, match=message):
        made().compress(picture)
    with pytest.raises(PictureError, match=message):
        made().compress_to(picture, 1000)


def test_what_the_format_cannot_hold_is_refused(made):
    for picture in (
        Picture(np.zeros((0, 8, 3), np.uint8)),
        Picture(np.zeros((1, MAX_SIDE + 1, 3), np.uint8)),
        Picture(pixels(8, 8), orientation=9),
        Picture(pixels(8, 8), icc_profile=bytes(2**22 + 1)),
    ):
        with pytest.raises(NicFieldError):
            made().compress(picture)


# --- qualities ---------------------------------------------------------------------------------


def test_qualities_trade_bytes_for_errors(made):
    codec = made("hyperprior")
    picture = pixels(16, 24)
    sizes, errors = [], []
    for quality in range(4):
        data = codec.compress(Picture(picture), quality)
        assert read_info(data).header.quality == quality
        sizes.append(len(data))
        errors.append(np.abs(codec.decompress(data).pixels.astype(int) - picture).mean())
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)
    assert codec.compress(Picture(picture)) == codec.compress(Picture(picture), 2)
    for quality in (-1, 4):
        with pytest.raises(ValueError, match="the model has 0 to 3"):
            codec.compress(Picture(picture), quality)


def test_a_target_is_met_with_the_highest_quality_that_fits(made):
    codec = made("hyperprior")
    picture = Picture(pixels(16, 24), icc_profile=ICC)
    sizes = [len(codec.compress(picture, quality)) for quality in range(4)]
    for quality, size in enumerate(sizes):
        for most in (size, size + 1, sizes[quality + 1] - 1 if quality < 3 else 10**9):
            data = codec.compress_to(picture, most)
            assert len(data) <= most
            assert data == codec.compress(picture, quality)
    with pytest.raises(
        PictureError,
        match=f"takes {sizes[0]} bytes at the lowest quality, {sizes[0] - 1} were asked",
    ):
        codec.compress_to(picture, sizes[0] - 1)


def test_a_file_of_a_quality_that_the_model_lacks_is_refused(made):
    codec = made("hyperprior")
    file = NicFile.from_bytes(codec.compress(Picture(pixels(8, 8))))
    other = replace(file, header=replace(file.header, quality=4))
    with pytest.raises(NicBundleError, match="has quality 4, the model 4"):
        codec.decompress(other.to_bytes())


# --- tiles -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", LOSSLESS)
@pytest.mark.parametrize("fixed", [False, True])
def test_tiled_pictures_come_back(made, kind, fixed):
    codec = made(kind, fixed=fixed)
    for size in ((65, 64), (64, 65), (150, 113), (1, 200)):
        alpha = pixels(*size, 1)[..., 0]
        picture = Picture(pixels(*size), alpha, orientation=6)
        data = codec.compress(picture, tile=64)
        tiling = read_info(data).header.tiling
        assert tiling == Tiling(64, 16)
        back = codec.decompress(data)
        np.testing.assert_array_equal(back.pixels, picture.pixels)
        np.testing.assert_array_equal(back.alpha, alpha)


def test_a_picture_of_one_tile_is_not_tiled(made):
    picture = Picture(pixels(64, 64))
    assert made().compress(picture, tile=64) == made().compress(picture, tile=0)


def test_tiles_fade_into_each_other(tmp_path):
    """Each tile is brighter than the one before; docs/bundle.md, section 3, pixel by pixel."""
    codec = hand_made.codec(tmp_path, shift=20)
    height, width = 150, 130
    data = codec.compress(Picture(np.full((height, width, 3), 10, np.uint8)), tile=64)
    back = codec.decompress(data).pixels
    tiling = Tiling(64, 16)
    margin = 4

    def weight(place, start):
        k = place - start
        return 1.0 if start == 0 or k >= 16 else min(max((k - margin + 0.5) / 8, 0.0), 1.0)

    expected = np.zeros((height, width))
    for number, (left, top, right, bottom) in enumerate(tiling.boxes(width, height)):
        for y in range(top, bottom):
            for x in range(left, right):
                w = weight(y, top) * weight(x, left)
                expected[y, x] = round(expected[y, x] * (1 - w) + (10 + 20 * number) * w)
    np.testing.assert_array_equal(back[..., 0], expected)
    np.testing.assert_array_equal(back[..., 1], back[..., 0])
    first = back[20, 40:72, 0].astype(int)
    assert first[0] == 10
    assert first[-1] == 30
    assert np.diff(first).min() >= 0
    assert np.diff(first).max() <= 3  # no step of 20 anywhere


def test_large_pictures_are_tiled_by_the_memory_they_take(made):
    cheap, dear = made(), made(bytes_per_pixel=2**12)
    assert cheap.tiling_for(3000, 3000) is None
    assert dear.tiling_for(600, 600) is None
    assert dear.tiling_for(3000, 3000) == Tiling(TILE, OVERLAP)
    assert dear.tiling_for(3000, 3000, 0) is None
    assert dear.tiling_for(3000, 3000, 512) == Tiling(512, OVERLAP)
    assert made(bytes_per_pixel=2**12, fixed=True).tiling_for(3000, 3000) is None
    # A line is padded to 8 rows, and takes the memory of those.
    assert dear.tiling_for(1, 2**15) is None
    assert dear.tiling_for(1, 2**16) == Tiling(TILE, OVERLAP)
    for tile in (63, 2**14 + 1):
        with pytest.raises(NicFieldError, match="64 to 16384 are allowed"):
            cheap.tiling_for(3000, 3000, tile)


# --- files that are not in order ---------------------------------------------------------------


@pytest.fixture(scope="module")
def whole_files(made):
    """Small files of every kind, one with all sections, and one in tiles."""
    rich = Picture(pixels(5, 6) // 32, pixels(5, 6, 1)[..., 0] // 32, ICC, EXIF, 3)
    found = {
        kind: (made(kind, channels=1), Picture(pixels(3, 5, 1) // 64)) for kind in hand_made.KINDS
    }
    found = {kind: (codec, codec.compress(picture)) for kind, (codec, picture) in found.items()}
    found["rich"] = made("hyperprior"), made("hyperprior").compress(rich, 0)
    tiled = np.zeros((65, 70, 1), np.uint8)
    codec = made("quantized", channels=1)
    found["tiled"] = codec, codec.compress(Picture(tiled), tile=64)
    return found


ALL = [*hand_made.KINDS, "rich", "tiled"]


def unused(codec):
    """The same codec, whose networks must not be made."""

    def make():
        raise AssertionError("the networks were made for a file that is not in order")

    return ImageCodec(Bundle.read(codec.bundle.path), make)


@pytest.mark.parametrize("kind", ALL)
def test_every_truncation_and_every_flipped_bit_is_refused(kind, whole_files):
    codec, data = whole_files[kind]
    codec.decompress(data)
    strict = unused(codec)
    damaged = [data[:size] for size in range(len(data))]
    for bit in range(8 * len(data)):
        other = bytearray(data)
        other[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(other))
    damaged += [data + b"\0", data + data]
    for each in damaged:
        with pytest.raises(NicError) as error:
            strict.decompress(each)
        assert str(error.value).isprintable()


@pytest.mark.parametrize("kind", ALL)
def test_flipped_bits_under_a_right_checksum_never_crash(kind, whole_files):
    """What an attacker changes, checksum and all: refused, or decoded like any other file."""
    codec, data = whole_files[kind]
    began = time.process_time()
    outcomes = {}
    for bit in range(8 * (len(data) - CRC_BYTES)):
        other = bytearray(data[:-CRC_BYTES])
        other[bit // 8] ^= 1 << bit % 8
        try:
            picture = codec.decompress(sealed(bytes(other)))
        except NicError as error:
            outcomes[type(error).__name__] = str(error)
        else:
            assert picture.pixels.dtype == np.uint8
    assert {"NicMagicError", "NicVersionError", "NicModelError", "NicLatentsError"} <= set(outcomes)
    assert all(message.isprintable() for message in outcomes.values())
    assert time.process_time() - began < 20


@pytest.mark.parametrize("kind", hand_made.KINDS)
def test_random_bytes_are_refused(kind, made):
    codec = unused(made(kind))
    numbers = np.random.default_rng(0)
    start = b"\x89NIC\x01" + codec.bundle.digest[:8]
    for size in (*range(60), 500, 1000):
        noise = numbers.bytes(size)
        for data in (noise, start + noise, sealed(start + b"\x01\x00" + noise)):
            with pytest.raises(NicError):
                codec.decompress(data)


@pytest.mark.parametrize("kind", hand_made.KINDS)
def test_garbage_under_right_checksums_and_the_right_model_is_refused_soon(kind, made):
    """As large a picture as a file of a kilobyte may claim."""
    codec = unused(made(kind, channels=1))
    numbers = np.random.default_rng(0)
    most = codec.bundle.qualities - 1
    for width, height in ((1400, 1400), (2**19, 1)):
        header = Header(codec.bundle.digest[:8], width, height, Mode.GRAYSCALE, 0, quality=most)
        for stream in (numbers.bytes(930), b"\xff" * 930, b""):
            data = NicFile(header, (stream,)).to_bytes()
            assert len(data) <= 1024
            began = time.process_time()
            with pytest.raises((NicStreamError, NicLatentsError)):
                codec.decompress(data)
            assert time.process_time() - began < 5  # 2 s on a machine that does nothing else


def test_huge_sizes_are_refused_before_anything_is_allocated(made):
    codec = unused(made("factorized"))
    for width, height in ((2**20, 2**10), (2**15, 2**15), (2**20, 1)):
        header = Header(codec.bundle.digest[:8], width, height, Mode.RGB, 0)
        file = NicFile(header, (b"x" * 600,))
        body = file.header.to_bytes() + bytes([0x80, 0x4B]) + b"x" * 600  # unpadded
        began = time.process_time()
        with pytest.raises(NicFieldError, match="pixels"):
            codec.decompress(sealed(body))
        assert time.process_time() - began < 0.5


def test_lines_are_bounded_by_what_they_are_padded_to(made, monkeypatch):
    """A file of 33 bytes may hold a line of 1024 pixels, which is worked on as 8 lines."""
    codec = made("quantized")
    line = Picture(np.zeros((1, 1024, 3), np.uint8))
    data = codec.compress(line)
    assert len(data) < 64
    codec.decompress(data)
    monkeypatch.setattr(work_limits, "FREE_PIXELS", 1024)
    monkeypatch.setattr(work_limits, "PADDED_PIXELS_PER_BYTE", 64)
    with pytest.raises(PictureError, match="padded to 8,192 pixels"):
        codec.compress(line)
    with pytest.raises(NicFieldError, match="1024 x 1 pixels, 8,192 with padding"):
        unused(codec).decompress(data)
    block = Picture(np.zeros((1, 1, 3), np.uint8))
    monkeypatch.setattr(work_limits, "FREE_PIXELS", 1)
    monkeypatch.setattr(work_limits, "PADDED_PIXELS_PER_BYTE", 1)
    codec.decompress(codec.compress(block))  # one block is always allowed


def test_pieces_are_bounded_by_the_memory_they_take(made):
    """Files that the encoder tiles by itself pass, however much memory the model takes."""
    codec = made("quantized", bytes_per_pixel=2**12)  # 1.5 million pixels in one piece
    side = 1280
    header = Header(codec.bundle.digest[:8], side, side, Mode.RGB, 0)
    assert padded_pixels(codec.bundle.geometry, header) * 2**12 > MOST_BYTES
    data = NicFile(header, (b"x" * 1000,)).to_bytes()
    with pytest.raises(NicFieldError, match=r"1280 x 1280 pixels, .* about 6\.2 GiB; .* smaller"):
        unused(codec).decompress(data)
    picture = Picture(np.zeros((side, side, 3), np.uint8))
    for tile in (0, 2 * TILE):
        with pytest.raises(NicFieldError, match="smaller tiles are needed"):
            unused(codec).compress(picture, tile=tile)
    for dear in (codec, made("quantized", bytes_per_pixel=2**24)):
        assert dear.decompress(dear.compress(picture)).pixels.shape == (side, side, 3)
    blocks = made("quantized", bytes_per_pixel=2**12, fixed=True)  # worked on some at a time
    assert blocks.decompress(blocks.compress(picture)).pixels.shape == (side, side, 3)


def test_another_model_is_named(made):
    data = made("stored").compress(Picture(pixels(8, 8)))
    with pytest.raises(NicModelError) as error:
        unused(made("factorized")).decompress(data)
    assert made("stored").bundle.digest[:8].hex() in str(error.value)
    assert made("factorized").bundle.digest[:8].hex() in str(error.value)


# --- networks that do not fit the bundle -------------------------------------------------------


class Wrong(hand_made.Folding):
    """Networks of another size than the bundle says."""

    def __init__(self, analysed=0, synthesised=0):
        super().__init__()
        self.analysed, self.synthesised = analysed, synthesised

    def analyse(self, given_):
        found = super().analyse(given_)
        return {name: each[..., : each.shape[-1] - self.analysed] for name, each in found.items()}

    def synthesise(self, y_hat):
        blocks = super().synthesise(y_hat)
        return blocks[:, : blocks.shape[1] - self.synthesised]


def test_networks_of_another_size_are_noticed(made):
    bundle = made().bundle
    data = made().compress(Picture(pixels(8, 8)))
    with pytest.raises(NicBundleError, match=r"makes y of \(1, 1, 1, 191\), the bundle says"):
        ImageCodec(bundle, lambda: Wrong(analysed=1)).compress(Picture(pixels(8, 8)))
    with pytest.raises(NicBundleError, match=r"makes pixels of \(1, 7, 8, 3\), the bundle says"):
        ImageCodec(bundle, lambda: Wrong(synthesised=1)).decompress(data)


def test_networks_are_made_once_by_several_threads(made):
    calls = []

    def make():
        calls.append(1)
        time.sleep(0.05)
        return hand_made.Folding()

    codec = ImageCodec(made().bundle, make)
    picture = Picture(pixels(8, 8))
    threads = [threading.Thread(target=codec.compress, args=(picture,)) for _ in range(5)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert calls == [1]
