"""Every mode and every kind of damage that files come with."""

import io
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from builders.errors import RunError
from builders.image_reader import BrokenImage, as_array, open_image, read_image

ORIENTATION = 0x0112


def photo(height: int = 12, width: int = 20) -> np.ndarray:
    """A smooth colour image (lossy formats keep it) that no turn or mirror leaves as it is."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [x * 255 / width, y * 255 / height, (x + y) * 255 / (height + width)]
    return np.stack(planes, axis=-1).astype(np.uint8)


def luma(rgb: np.ndarray) -> np.ndarray:
    """ITU-R BT.601."""
    return rgb.astype(float) @ np.array([0.299, 0.587, 0.114])


@pytest.mark.parametrize(
    "file", ["a.png", "a.bmp", "a.dib", "a.tif", "a.ppm", "a.tga", "a.pcx", "a.sgi", "a.qoi",
             "a.dds", "a.jp2"],
)  # fmt: skip
def test_lossless_formats_give_the_exact_pixels(tmp_path: Path, file: str) -> None:
    options = {"irreversible": False} if file.endswith("jp2") else {}
    Image.fromarray(photo()).save(tmp_path / file, **options)
    np.testing.assert_array_equal(read_image(tmp_path / file, 3), photo())


@pytest.mark.parametrize("file", ["a.jpg", "a.webp", "a.avif"])
def test_lossy_formats_come_close(tmp_path: Path, file: str) -> None:
    Image.fromarray(photo()).save(tmp_path / file, quality=95)
    pixels = read_image(tmp_path / file, 3)
    assert pixels.shape == (12, 20, 3)
    assert np.abs(pixels.astype(int) - photo()).mean() < 4


def test_the_content_decides_not_the_suffix(tmp_path: Path) -> None:
    Image.fromarray(photo()).save(tmp_path / "a.jpg", format="PNG")
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg", 3), photo())


def test_gray_is_promoted_and_colour_becomes_luma(tmp_path: Path) -> None:
    gray = photo()[:, :, 0]
    Image.fromarray(gray).save(tmp_path / "gray.png")
    Image.fromarray(photo()).save(tmp_path / "colour.png")
    assert open_image(tmp_path / "gray.png").mode == "L"
    assert open_image(tmp_path / "colour.png").mode == "RGB"
    np.testing.assert_array_equal(read_image(tmp_path / "gray.png", 1), gray[:, :, None])
    np.testing.assert_array_equal(
        read_image(tmp_path / "gray.png", 3), np.repeat(gray[:, :, None], 3, axis=2)
    )
    np.testing.assert_allclose(
        read_image(tmp_path / "colour.png", 1)[:, :, 0], luma(photo()), atol=0.51
    )
    with_alpha = read_image(tmp_path / "gray.png", 4)
    assert with_alpha.shape == (12, 20, 4)
    assert (with_alpha[:, :, 3] == 255).all()


def test_one_bit_images_are_black_and_white(tmp_path: Path) -> None:
    bits = photo()[:, :, 0] > 100
    Image.fromarray(bits).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", 1)[:, :, 0], bits * 255)


@pytest.mark.parametrize("file", ["a.png", "a.tif", "a.jp2", "a.pgm"])
def test_sixteen_bit_gray_is_scaled_not_clipped(tmp_path: Path, file: str) -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    options = {"irreversible": False} if file.endswith("jp2") else {}
    Image.fromarray(values).save(tmp_path / file, **options)
    np.testing.assert_array_equal(
        read_image(tmp_path / file, 1)[:, :, 0], np.round(values / 257).astype(np.uint8)
    )


def test_sixteen_bit_big_endian(tmp_path: Path) -> None:
    values = np.arange(0, 65536, 256, dtype=np.uint16).reshape(16, 16)
    image = Image.frombytes("I;16B", (16, 16), values.astype(">u2").tobytes())
    image.save(tmp_path / "a.tif")
    np.testing.assert_array_equal(
        read_image(tmp_path / "a.tif", 1)[:, :, 0], np.round(values / 257).astype(np.uint8)
    )


def test_twelve_bit_tiff_reaches_white(tmp_path: Path) -> None:
    # Two samples of 12 bits in three bytes: 0, 4095, 2048, 1.
    data = bytes([0x00, 0x0F, 0xFF, 0x80, 0x00, 0x01])
    tags = [
        (256, 4, 1, 4), (257, 4, 1, 1), (258, 3, 1, 12), (259, 3, 1, 1), (262, 3, 1, 1),
        (273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, 1), (279, 4, 1, 6),
    ]  # fmt: skip
    directory = len(tags).to_bytes(2, "little")
    for tag, kind, count, value in tags:
        directory += tag.to_bytes(2, "little") + kind.to_bytes(2, "little")
        directory += count.to_bytes(4, "little") + value.to_bytes(4, "little")
    file = b"II*\0" + (14).to_bytes(4, "little") + data + directory + bytes(4)
    pixels = as_array(open_image(file), 1)
    np.testing.assert_array_equal(pixels[:, :, 0], [[0, 255, 128, 0]])


def test_wide_integers_and_floats_only_within_their_range(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 257, 65535]], np.int32)).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", 1)[:, :, 0], [[0, 1, 255]])
    Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32)).save(tmp_path / "b.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "b.tif", 1)[:, :, 0], [[0, 128, 255]])
    for name, bad in {
        "large": np.array([[0, 70000]], np.int32),
        "negative": np.array([[-1, 3]], np.int32),
        "bright": np.array([[0.0, 2.0]], np.float32),
        "nan": np.array([[0.0, np.nan]], np.float32),
    }.items():
        Image.fromarray(bad).save(tmp_path / f"{name}.tif")
        with pytest.raises(BrokenImage, match="can be scaled to 8 bit"):
            read_image(tmp_path / f"{name}.tif", 1)


def test_palette(tmp_path: Path) -> None:
    image = Image.fromarray(photo()).quantize(16)
    image.save(tmp_path / "a.png")
    image.save(tmp_path / "a.gif")
    for name in ("a.png", "a.gif"):
        np.testing.assert_array_equal(read_image(tmp_path / name, 3), image.convert("RGB"))
        assert open_image(tmp_path / name).mode == "RGB"


def test_a_palette_counts_as_gray_when_its_pixels_are(tmp_path: Path) -> None:
    image = Image.fromarray(np.arange(4, dtype=np.uint8).reshape(2, 2), "P")
    image.putpalette([0, 0, 0, 80, 80, 80, 160, 160, 160, 255, 255, 255, 255, 0, 0])
    image.save(tmp_path / "a.png")
    assert open_image(tmp_path / "a.png").mode == "L"
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", 1)[:, :, 0], [[0, 80], [160, 255]])


def test_palette_with_transparency_lies_on_white(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    image.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200])
    image.save(tmp_path / "bytes.png", transparency=bytes([0, 128, 255]))
    image.save(tmp_path / "index.png", transparency=0)
    np.testing.assert_array_equal(
        read_image(tmp_path / "bytes.png", 3), [[[255, 255, 255], [127, 227, 127], [0, 0, 200]]]
    )
    np.testing.assert_array_equal(
        read_image(tmp_path / "index.png", 3), [[[255, 255, 255], [0, 200, 0], [0, 0, 200]]]
    )
    np.testing.assert_array_equal(read_image(tmp_path / "bytes.png", 4)[0, :, 3], [0, 128, 255])


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_lies_on_white_rounded(tmp_path: Path, mode: str) -> None:
    level, alpha = np.meshgrid(np.arange(0, 256, 5), np.arange(0, 256, 3))
    level, alpha = level.astype(np.uint8), alpha.astype(np.uint8)
    planes = [level, alpha] if mode == "LA" else [level, level, 255 - level, alpha]
    Image.fromarray(np.stack(planes, axis=-1)).save(tmp_path / "a.png")
    expected = [
        np.rint((plane.astype(float) * alpha + 255.0 * (255 - alpha.astype(float))) / 255)
        for plane in planes[:-1]
    ]
    result = read_image(tmp_path / "a.png", 3)
    np.testing.assert_array_equal(result[..., 0], expected[0])
    np.testing.assert_array_equal(result[..., 2], expected[-1])
    kept = read_image(tmp_path / "a.png", 4)
    np.testing.assert_array_equal(kept[..., 0], level)
    np.testing.assert_array_equal(kept[..., 3], alpha)


def test_one_transparent_value(tmp_path: Path) -> None:
    Image.fromarray(np.array([[10, 20]], np.uint8)).save(tmp_path / "l.png", transparency=10)
    np.testing.assert_array_equal(read_image(tmp_path / "l.png", 1)[:, :, 0], [[255, 20]])
    rgb = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
    Image.fromarray(rgb).save(tmp_path / "rgb.png", transparency=(1, 2, 3))
    np.testing.assert_array_equal(
        read_image(tmp_path / "rgb.png", 3), [[[255, 255, 255], [4, 5, 6]]]
    )
    wide = np.array([[5000, 40000]], np.uint16)
    Image.fromarray(wide).save(tmp_path / "wide.png", transparency=5000)
    np.testing.assert_array_equal(read_image(tmp_path / "wide.png", 4)[0, :, 3], [0, 255])


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB"])
def test_other_colour_spaces_become_rgb(tmp_path: Path, mode: str) -> None:
    soft = photo() // 2 + 64  # inside every one of these spaces
    Image.fromarray(soft).convert(mode).save(tmp_path / "a.tif")
    pixels = read_image(tmp_path / "a.tif", 3)
    assert np.abs(pixels.astype(int) - soft).max() <= 5


@pytest.mark.parametrize("file", ["a.jpg", "a.png", "a.webp", "a.tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, file: str, orientation: int) -> None:
    upright = photo()
    # What the camera stored, given that a viewer undoes it.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {"lossless": True} if file.endswith("webp") else {}
    if file.endswith("jpg"):
        options = {"quality": 100, "subsampling": 0}
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / file, exif=exif, **options)
    pixels = read_image(tmp_path / file, 3)
    assert pixels.shape == upright.shape
    assert np.abs(pixels.astype(int) - upright).max() <= 4
    as_stored = as_array(open_image(tmp_path / file, upright=False), 3)
    if not file.endswith("tif"):  # Pillow turns TIFF files itself while it loads them
        assert as_stored.shape == stored.shape


def test_damaged_exif_does_not_cost_the_image(tmp_path: Path) -> None:
    Image.fromarray(photo()).save(tmp_path / "a.jpg", exif=b"Exif\0\0not a TIFF header at all")
    assert read_image(tmp_path / "a.jpg", 3).shape == (12, 20, 3)


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for name in ("a.gif", "a.webp", "a.png", "a.tif"):
        options = {"lossless": True} if name == "a.webp" else {}
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
        np.testing.assert_array_equal(read_image(tmp_path / name, 3)[0, 0], [255, 0, 0])


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + kind + data + checksum

    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    data = chunk(b"IHDR", size + bytes([8, 2, 0, 0, 0])) + chunk(b"IDAT", zlib.compress(b""))
    return b"\x89PNG\r\n\x1a\n" + data + chunk(b"IEND", b"")


def broken_files(folder: Path) -> dict[str, tuple[Path, str]]:
    """Name -> file and a pattern its reason must match."""
    buffer = io.BytesIO()
    Image.fromarray(photo(64, 64)).save(buffer, "PNG")
    png = buffer.getvalue()
    buffer = io.BytesIO()
    Image.fromarray(photo(64, 64)).save(buffer, "JPEG")
    jpeg = buffer.getvalue()
    contents = {
        "text.png": (b"this is not a picture\n", "not an image of a known format"),
        "empty.png": (b"", "is empty"),
        "truncated.png": (png[: len(png) // 2], "truncated"),
        "truncated.jpg": (jpeg[: len(jpeg) // 2], "truncated"),
        "zero.png": (png_header(0, 5), "not an image of a known format|no pixels"),
        "flipped.png": (png[:60] + bytes([png[60] ^ 255]) + png[61:], "damaged"),
        "bomb.png": (png_header(60_000, 60_000), "pixels"),
        "script.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "known format"),
    }
    for name, (data, _) in contents.items():
        (folder / name).write_bytes(data)
    (folder / "dangling.png").symlink_to(folder / "nowhere.png")
    (folder / "folder.png").mkdir()
    files = {name: (folder / name, pattern) for name, (_, pattern) in contents.items()}
    files["dangling.png"] = (folder / "dangling.png", "no such file")
    files["folder.png"] = (folder / "folder.png", "is a folder")
    return files


def test_broken_files_say_in_one_line_what_is_wrong(tmp_path: Path) -> None:
    for name, (path, pattern) in broken_files(tmp_path).items():
        with pytest.raises(BrokenImage, match=pattern) as caught:
            read_image(path, 3)
        assert caught.value.path == str(path), name
        assert "\n" not in caught.value.reason, name
        assert isinstance(caught.value, RunError)


def test_every_truncation_is_read_or_broken() -> None:
    for kind in ("PNG", "JPEG", "WEBP", "AVIF", "BMP", "TIFF", "GIF", "JPEG2000", "TGA", "DDS"):
        buffer = io.BytesIO()
        Image.fromarray(photo()).save(buffer, kind)
        data = buffer.getvalue()
        for end in range(0, len(data), max(1, len(data) // 40)):
            try:
                assert open_image(data[:end]).size == (20, 12)
            except BrokenImage as broken:
                assert broken.path == "image in memory"


def small_files() -> list[bytes]:
    """One small file of every format and mode that Pillow writes."""
    files = []
    for kind in ("PNG", "JPEG", "WEBP", "AVIF", "BMP", "TIFF", "GIF", "JPEG2000", "TGA", "PCX",
                 "DDS", "PPM", "SGI", "QOI", "ICO"):  # fmt: skip
        for mode in ("RGB", "RGBA", "L", "P", "1", "I;16"):
            image = Image.fromarray(photo())
            image = (image.convert("L") if mode == "I;16" else image).convert(mode)
            buffer = io.BytesIO()
            try:
                image.save(buffer, kind)
            except (OSError, ValueError):  # this format has no such mode
                continue
            files.append(buffer.getvalue())
    return files


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_bytes_are_read_or_broken_and_nothing_else(data: st.DataObject) -> None:
    file = bytearray(data.draw(st.sampled_from(SMALL_FILES)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, min(len(file), 400) - 1))
        file[at] = data.draw(st.integers(0, 255))
    try:
        image = open_image(bytes(file), pixel_limit=1 << 20)
    except BrokenImage as broken:
        assert "\n" not in broken.reason
    else:
        for channels in (1, 3, 4):
            assert as_array(image, channels).shape == (image.height, image.width, channels)


SMALL_FILES = small_files()


def test_the_pixel_limit_is_checked_before_decoding(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_header(1000, 1000))  # decoding would find no pixels
    with pytest.raises(BrokenImage, match="1000x1000 is 1000000 pixels, over the limit of 999999"):
        read_image(tmp_path / "a.png", 3, pixel_limit=999_999)


def test_too_many_open_files_is_not_the_image_s_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(OSError, match="Too many open files"):
        read_image(tmp_path / "a.png", 3)


def test_warnings_do_not_leak_from_any_thread(tmp_path: Path) -> None:
    # Between one and two times Pillow's own limit it warns; this stays below ours.
    Image.new("1", (10_000, 9_000)).save(tmp_path / "large.png")
    leaked: list[object] = []

    def read() -> None:
        leaked.append(open_image(tmp_path / "large.png").mode)

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        threads = [threading.Thread(target=read) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert leaked == ["L", "L"]
    assert [str(one.message) for one in seen] == []


def test_unknown_channel_counts_are_the_caller_s_mistake() -> None:
    with pytest.raises(ValueError, match="1, 3 or 4"):
        as_array(Image.new("L", (2, 2)), 2)
