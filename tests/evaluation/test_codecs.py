"""The codecs that a benchmark measures, and what it measures of pictures."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from builders.benchmark_choice import choose_classical
from builders.bundle_measuring import BundleCodec, Coding, unique_names
from builders.errors import UserError
from evaluation import classical_codecs as classical
from evaluation.classical_codecs import FAMILIES, MissingCodecError, classical_codecs
from evaluation.codecs import CodecError, PillowCodec, fitting_setting, is_gray
from evaluation.measures import CAP_DB, in_db, measures
from evaluation.peak_memory import with_peak
from evaluation.reference_points import is_kodak, reference_points
from tests.codec_models import photo


def available():
    """One codec of each family that is installed."""
    found = []
    for family in FAMILIES:
        try:
            found += [c for c in classical_codecs(family, 1) if c.name != "avif-s4"]
        except MissingCodecError:
            continue
    return found


@pytest.fixture(scope="module")
def pixels():
    return photo(48, 64)


@pytest.fixture
def jpeg():
    return classical_codecs("jpeg", 1)[0]


@pytest.mark.parametrize("codec", available(), ids=lambda codec: codec.name)
def test_files_and_quality_grow_with_the_setting(codec, pixels):
    settings = codec.settings[0], codec.settings[len(codec.settings) // 2], codec.settings[-1]
    files = [codec.encode(pixels, setting) for setting in settings]
    assert len(files[0]) < len(files[1]) < len(files[2])
    decoded = [codec.decode(data) for data in files]
    assert all(each.dtype == np.uint8 and each.shape == pixels.shape for each in decoded)
    values = [peak_signal_noise_ratio(pixels, each) for each in decoded]
    assert values[0] < values[1] < values[2]
    assert values[2] > 32


@pytest.mark.parametrize("codec", available(), ids=lambda codec: codec.name)
def test_gray_pictures_come_back_gray(codec):
    gray = np.repeat(photo(32, 40, channels=1), 3, axis=2)
    decoded = codec.decode(codec.encode(gray, codec.settings[-1]))
    assert decoded.shape == gray.shape
    assert np.abs(decoded.astype(int) - gray).mean() < 5


@pytest.mark.parametrize("codec", available(), ids=lambda codec: codec.name)
def test_everything_is_told_of_a_codec(codec):
    assert set(codec.settings) <= set(codec.scale)
    assert codec.usual in codec.scale
    about = json.loads(json.dumps(codec.about))
    assert "?" not in about["versions"].values()
    assert len(about["versions"]) >= 2
    assert about["options"]


def test_bytes_are_those_of_the_file_a_user_gets(jpeg, pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=30, optimize=True, subsampling="4:2:0")
    assert jpeg.encode(pixels, 30) == file.getvalue()


def test_the_two_samplings_of_jpeg_differ(pixels):
    small, large = (codec.encode(pixels, 90) for codec in classical_codecs("jpeg", 1))
    assert len(small) < len(large)


def test_gray_is_stored_as_gray_where_the_format_has_it(jpeg):
    gray = np.repeat(photo(32, 32, channels=1), 3, axis=2)
    assert is_gray(gray)
    with Image.open(io.BytesIO(jpeg.encode(gray, 50))) as image:
        assert image.mode == "L"


def test_threads_do_not_count_as_a_setting():
    one, two = (classical_codecs("avif", threads)[0] for threads in (1, 2))
    assert one.about == two.about
    assert (one.threads, two.threads) == (1, 2)


def test_failures_are_one_line(jpeg, pixels):
    unknown = PillowCodec("x", "X", "x", "NOTHING", "quality", (1,), (1,), 1)
    with pytest.raises(CodecError, match=r"quality 1: .*NOTHING"):
        unknown.encode(pixels, 1)
    with pytest.raises(CodecError, match="its own file can't be read") as caught:
        jpeg.decode(b"\xff\xd8\xff")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wanted", [1, 700, 1000, 10**9])
def test_a_fitting_setting_is_the_smallest_that_is_large_enough(jpeg, pixels, wanted):
    sizes = {setting: len(jpeg.encode(pixels, setting)) for setting in jpeg.scale}
    setting, data = fitting_setting(jpeg, pixels, wanted)
    assert len(data) == sizes[setting]
    enough = [each for each in jpeg.scale if sizes[each] >= wanted]
    assert setting == (enough[0] if enough else jpeg.scale[-1])


def test_a_codec_that_is_not_installed(monkeypatch):
    monkeypatch.setattr(classical.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingCodecError, match=r"JPEG XL is not .*-r requirements-benchmark\.txt"):
        classical_codecs("jxl", 1)
    codecs, notes = choose_classical(None, 1)
    assert not {"jxl", "heic"} & {codec.family for codec in codecs}
    assert [note.split(":")[0] for note in notes] == ["Left out"] * 2
    with pytest.raises(UserError, match=r"--codecs jxl-e7: JPEG XL is not installed"):
        choose_classical(["jxl-e7"], 1)


def test_codecs_are_chosen_by_family_and_by_name():
    codecs, notes = choose_classical(["webp", "jpeg-444", "jpeg", "avif-s8"], 1)
    assert [c.name for c in codecs] == ["webp-m4", "webp-m6", "jpeg-444", "jpeg-420", "avif-s8"]
    assert notes == []
    with pytest.raises(UserError, match=r'jpg: no such codec; did you mean "jpeg"\?'):
        choose_classical(["jpg"], 1)
    with pytest.raises(UserError, match=r"jpeg-411: expected jpeg or one of jpeg-420, jpeg-444"):
        choose_classical(["jpeg-411"], 1)


def test_a_bundle_as_a_codec(codecs, pixels, monkeypatch):
    tiny = codecs["mean_scale"]
    codec = BundleCodec(tiny.bundle, "tiny", [90, 10, 50, 50.01], Coding(2, effort=0))
    monkeypatch.setattr(codec, "_codec", tiny.codec)
    assert codec.settings == sorted(codec.settings) and len(codec.settings) == 3
    assert set(codec.settings) <= set(codec.scale) and codec.usual in codec.scale
    sizes = [sum(f.stat().st_size for f in tiny.folder.iterdir())]
    assert codec.model_bytes in sizes
    assert codec.about["digest"] == tiny.bundle.digest.hex()
    data = codec.encode(pixels, codec.settings[1])
    assert codec.decode(data).shape == pixels.shape
    gray = np.repeat(pixels[..., :1], 3, axis=2)
    decoded = codec.decode(codec.encode(gray, codec.usual))
    assert decoded.shape == gray.shape and is_gray(decoded)
    with pytest.raises(CodecError, match=r"\w"):
        codec.decode(data[:-1])


def test_a_bundle_of_one_quality_for_gray_pictures(codecs, pixels):
    tiny = codecs["dense"]
    codec = BundleCodec(tiny.bundle, "tiny", [90, 10], Coding(1, effort=0))
    assert len(codec.settings) == 1 == len(codec.scale)
    with pytest.raises(CodecError, match="in colour"):
        codec.encode(pixels, codec.usual)
    gray = np.repeat(pixels[..., :1], 3, axis=2)
    assert codec.decode(codec.encode(gray, codec.usual)).shape == gray.shape


def test_bundles_of_one_name_get_numbers(codecs):
    bundle = codecs["plain"].bundle
    assert unique_names([bundle] * 3, ["Tiny_Codec-2"]) == [
        "Tiny_Codec",
        "Tiny_Codec-3",
        "Tiny_Codec-4",
    ]


def test_measures_of_a_known_error(pixels):
    off = pixels.copy()
    off[..., 1] = np.where(off[..., 1] > 127, off[..., 1] - 6, off[..., 1] + 6)
    found = measures(pixels, off)
    assert found["psnr_rgb_db"] == pytest.approx(10 * np.log10(255**2 / 12))
    assert found["psnr_rgb_db"] == pytest.approx(peak_signal_noise_ratio(pixels, off))
    assert found["psnr_luma_db"] == pytest.approx(20 * np.log10(255 / (6 * 0.587)))
    assert 0 < found["ms_ssim"] < 1
    assert found["ms_ssim_db"] == pytest.approx(-10 * np.log10(1 - found["ms_ssim"]))


def test_measures_of_no_error(pixels):
    found = measures(pixels, pixels)
    assert found["psnr_rgb_db"] == found["psnr_luma_db"] == CAP_DB
    assert found["ssim"] == pytest.approx(1, abs=1e-6)
    assert in_db(1.0) == CAP_DB


def test_the_smallest_picture_has_measures():
    assert measures(photo(1, 1), photo(1, 1))["psnr_rgb_db"] == CAP_DB


@pytest.mark.parametrize("wrong", [np.zeros((48, 63, 3), np.uint8), np.zeros((48, 64, 3))])
def test_other_sizes_and_depths_are_refused(pixels, wrong):
    with pytest.raises(CodecError, match=r"gave back \w+ \(48, 6\d, 3\) for uint8"):
        measures(pixels, wrong)


def test_peak_memory():
    size = 64 << 20
    result, peak = with_peak(lambda: len(np.ones(size, np.uint8).tobytes()))
    assert result == size
    assert peak is None or 1.9 * size < peak < 2.5 * size


def test_published_points_have_sources():
    found = reference_points()
    names = {codec["name"] for codec in found["codecs"]}
    assert {"bmshj2018-factorized", "bmshj2018-hyperprior", "mbt2018-mean", "mbt2018"} <= names
    assert {"cheng2020-anchor", "elic2022", "hpcm-large", "vtm", "bpg-444"} <= names
    for codec in found["codecs"]:
        assert "/" in codec["source"]
        rates = [point["bpp"] for point in codec["points"]]
        assert rates == sorted(rates)
        assert all(20 < point["psnr_rgb_db"] < 50 for point in codec["points"])
    assert len(found["pictures_sha256"]["digests"]) == 24


def test_other_pictures_are_not_kodak(pixels):
    assert not is_kodak([lambda: pixels] * 24)
    assert not is_kodak([lambda: pixels])
