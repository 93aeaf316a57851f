import io
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms

from builders import picture_files
from builders.errors import RunError, UserError
from builders.image_reader import TRANSPOSITIONS, BrokenImage, open_with_side_data, read_image
from builders.picture_files import FORMATS, picture_bytes, read_picture
from codec.picture import Picture

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def profile(space):
    """A colour profile for pixels of another colour space; only its head counts."""
    return SRGB[:16] + space + SRGB[20:]


def exif_block(orientation=1):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Artist] = "someone"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2020:01:02 03:04:05"
    return exif.tobytes().removeprefix(b"Exif\0\0")


def some_pixels(channels, height=5, width=7):
    numbers = np.random.default_rng(channels)
    return numbers.integers(0, 256, (height, width, channels), np.uint8)


ALPHA = some_pixels(1)[..., 0]
ALPHA[0] = 0  # transparent pixels have colours too


def file_bytes(array, kind="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array).save(file, kind, **options)
    return file.getvalue()


def opened(data):
    return Image.open(io.BytesIO(data))


# --- reading -----------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_pixels_and_alpha_are_apart(channels, tmp_path):
    array = some_pixels(channels)
    data = file_bytes(array)
    path = tmp_path / "x.png"
    path.write_bytes(data)
    for source in (data, path, str(path)):
        picture, notes = read_picture(source)
        colours = channels - 1 if channels in (2, 4) else channels
        np.testing.assert_array_equal(picture.pixels, array[..., :colours])
        assert picture.pixels.flags.c_contiguous
        if colours == channels:
            assert picture.alpha is None
        else:
            np.testing.assert_array_equal(picture.alpha, array[..., -1])
        assert (picture.icc_profile, picture.exif, picture.orientation) == (None, None, 1)
        assert notes == []


def test_alpha_that_hides_nothing_is_left_out():
    array = some_pixels(4)
    array[..., 3] = 255
    assert read_picture(file_bytes(array))[0].alpha is None
    array[0, 0, 3] = 254
    assert read_picture(file_bytes(array))[0].alpha is not None


def test_palettes_count_as_what_they_show():
    image = Image.new("P", (4, 3))
    image.putpalette([10, 10, 10, 200, 200, 200, 0, 0, 0])
    image.putpixel((1, 1), 1)
    file = io.BytesIO()
    image.save(file, "PNG", transparency=2)
    picture, _ = read_picture(file.getvalue())
    assert picture.pixels.shape == (3, 4, 1)
    assert picture.alpha is None  # no pixel is transparent


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 6, 8])
def test_side_data_is_read(kind, orientation):
    block = exif_block(orientation)
    data = file_bytes(some_pixels(3), kind, icc_profile=SRGB, exif=b"Exif\0\0" + block)
    _, found = open_with_side_data(data)
    assert found.icc_profile == SRGB
    assert found.exif == block
    assert found.orientation == orientation
    picture, notes = read_picture(data)
    assert picture.pixels.shape == (5, 7, 3)  # not turned
    assert (picture.icc_profile, picture.exif, picture.orientation) == (SRGB, block, orientation)
    assert notes == []


def test_an_odd_orientation_is_none():
    for orientation in (0, 9, 300):
        data = file_bytes(some_pixels(3), "JPEG", exif=b"Exif\0\0" + exif_block(orientation))
        assert open_with_side_data(data)[1].orientation == 1
        read_picture(data)
    damaged = file_bytes(some_pixels(3), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert open_with_side_data(damaged)[1].orientation == 1
    nothing = file_bytes(some_pixels(3), "JPEG", exif=b"Exif\0\0rubbish")
    assert open_with_side_data(nothing)[1].exif is None


@pytest.mark.parametrize(
    ("mode", "space", "kept"),
    [
        ("RGB", b"RGB ", True),
        ("RGB", b"CMYK", False),
        ("RGB", b"GRAY", False),
        ("L", b"GRAY", True),
        ("L", b"RGB ", False),
        ("RGB", b"????", True),  # nothing is known of it
    ],
)
def test_profiles_for_other_pixels_are_left_out(mode, space, kept):
    """A CMYK file is read as RGB; its profile would turn RGB into noise."""
    image = Image.fromarray(some_pixels(3)).convert(mode)
    file = io.BytesIO()
    image.save(file, "PNG", icc_profile=profile(space))
    picture, notes = read_picture(file.getvalue())
    assert (picture.icc_profile is not None) == kept
    name = space.decode().strip()
    assert notes == ([] if kept else [f"left out: a colour profile for {name} pixels"])


def test_side_data_that_is_too_large_is_left_out_and_told(monkeypatch):
    monkeypatch.setattr(picture_files, "MAX_ICC_BYTES", 100)
    monkeypatch.setattr(picture_files, "MAX_EXIF_BYTES", 20)
    data = file_bytes(some_pixels(3), icc_profile=SRGB, exif=exif_block(6))
    picture, notes = read_picture(data)
    assert (picture.icc_profile, picture.exif, picture.orientation) == (None, None, 6)
    assert len(notes) == 2
    assert all(note.startswith("left out: ") for note in notes)


@pytest.mark.parametrize("data", [b"", b"rubbish", file_bytes(some_pixels(3))[:60]])
def test_files_that_are_no_images_are_named(data):
    with pytest.raises(BrokenImage, match=r"^standard input: "):
        read_picture(data, "standard input")


# --- writing -----------------------------------------------------------------------------------

PICTURES = {
    "gray": Picture(some_pixels(1)),
    "colour": Picture(some_pixels(3)),
    "gray with alpha": Picture(some_pixels(1), ALPHA),
    "colour with alpha": Picture(some_pixels(3), ALPHA),
}


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_holds_a_picture_or_says_that_it_cannot(suffix, kind):
    picture = PICTURES[kind]
    if picture.alpha is not None and suffix in (".bmp", ".ppm", ".pgm"):
        with pytest.raises(RunError, match="can't hold the picture's alpha"):
            picture_bytes(picture, suffix)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = picture_bytes(picture, suffix.upper())
    back, _ = read_picture(data)
    expected = picture.pixels
    if suffix == ".webp":
        expected = np.broadcast_to(expected, back.pixels.shape)  # it knows no gray
    np.testing.assert_array_equal(back.pixels, expected)
    assert (back.alpha is None) == (picture.alpha is None)
    if picture.alpha is not None:
        np.testing.assert_array_equal(back.alpha, picture.alpha)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_pictures_are_written_upright_and_say_so(suffix, orientation):
    block = exif_block(orientation)
    picture = Picture(some_pixels(3), ALPHA, SRGB, block, orientation)
    data = picture_bytes(picture, suffix)
    turned = Image.fromarray(picture.pixels)
    if orientation in TRANSPOSITIONS:
        turned = turned.transpose(TRANSPOSITIONS[orientation])
    back, _ = read_picture(data)
    np.testing.assert_array_equal(back.pixels, np.asarray(turned))
    assert back.orientation == 1
    image = opened(data)
    assert image.info["icc_profile"] == SRGB
    exif = image.getexif()
    assert exif[ExifTags.Base.Artist] == "someone"
    assert exif[ExifTags.Base.Orientation] == 1
    taken = exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal]
    assert taken == "2020:01:02 03:04:05"


def test_a_picture_of_another_reader_is_the_same_upright(tmp_path):
    """What a viewer shows of the source is what it shows of the result."""
    source = tmp_path / "source.jpg"
    source.write_bytes(file_bytes(some_pixels(3, 24, 40), "JPEG", exif=b"Exif\0\0" + exif_block(6)))
    picture, _ = read_picture(source)
    result = tmp_path / "result.png"
    result.write_bytes(picture_bytes(picture, ".png"))
    np.testing.assert_array_equal(read_image(result, 3), read_image(source, 3))


@pytest.mark.parametrize(
    ("suffix", "message"),
    [
        (".jpg", "JPEG would lose more of the picture"),
        (".JPEG", "JPEG would lose more of the picture"),
        (".gif", '".gif": no known kind of image'),
        ("", '"": no known kind of image'),
        (".nic", "no known kind of image"),
    ],
)
def test_other_formats_are_refused(suffix, message):
    with pytest.raises(UserError, match=message) as error:
        picture_bytes(PICTURES["gray"], suffix)
    assert ".png" in str(error.value)


def test_a_picture_beyond_a_format_is_an_error_in_words():
    wide = Picture(np.zeros((1, 16384, 3), np.uint8))
    with pytest.raises(RunError, match=r"\.webp: can't hold this picture"):
        picture_bytes(wide, ".webp")
    picture_bytes(wide, ".png")


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_damaged_exif_block_is_no_reason_to_fail(data):
    block = bytearray(exif_block(6))
    for _ in range(data.draw(st.integers(1, 6))):
        block[data.draw(st.integers(2, len(block) - 1))] = data.draw(st.integers(0, 255))
    block = block[: data.draw(st.integers(2, len(block)))]
    for suffix in (".png", ".tif"):
        written = picture_bytes(Picture(some_pixels(3), None, None, bytes(block), 6), suffix)
        assert read_picture(written)[0].pixels.shape == (7, 5, 3)
