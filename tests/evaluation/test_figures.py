import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from evaluation.figures import curve_figure, reconstruction_grid, save_png

ROOT = Path(__file__).resolve().parents[2]
MAGENTA = [255, 0, 255]


def contains(picture: np.ndarray, image: np.ndarray) -> bool:
    """Whether `image` (H, W, 3) stands somewhere in `picture`, pixel for pixel."""
    h, w, _ = image.shape
    corners = np.argwhere((picture[: -h + 1 or None, : -w + 1 or None] == image[0, 0]).all(-1))
    return any(np.array_equal(picture[y : y + h, x : x + w], image) for y, x in corners)


def enlarged(image: np.ndarray, factor: int) -> np.ndarray:
    rgb = np.broadcast_to(image[..., None], (*image.shape, 3)) if image.ndim == 2 else image
    return rgb.repeat(factor, 0).repeat(factor, 1)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_small_images_are_enlarged_pixel_for_pixel(rng):
    originals = rng.integers(1, 254, (2, 8, 6), dtype=np.uint8)
    others = rng.integers(1, 254, (2, 8, 6), dtype=np.uint8)
    picture = reconstruction_grid(originals, others, error_gain=1)
    assert picture.dtype == np.uint8 and picture.shape[-1] == 3
    for image in (*originals, *others):
        assert contains(picture, enlarged(image, 12))
    for x, x_hat in zip(originals.astype(int), others.astype(int), strict=True):
        assert contains(picture, enlarged(np.abs(x - x_hat).astype(np.uint8), 12))


def test_colour_and_float_images_keep_their_pixels(rng):
    pixels = rng.integers(1, 254, (1, 100, 120, 3), dtype=np.uint8)
    picture = reconstruction_grid(pixels, pixels.astype(np.float32) / 255)
    top = picture[: picture.shape[0] // 2]
    bottom = picture[picture.shape[0] // 4 :]
    assert contains(top, pixels[0]) and contains(bottom, pixels[0])


@pytest.mark.parametrize("channels", [2, 4])
def test_transparent_images_are_laid_on_white(channels):
    x = np.zeros((1, 100, 100, channels), np.uint8)
    x[..., -1] = 51  # a fifth of black, four fifths of white
    x_hat = x.copy()
    x_hat[..., -1] = 102
    picture = reconstruction_grid(x, x_hat, error_gain=1)
    for gray in (204, 153, 51):
        assert contains(picture, np.full((100, 100, 3), gray, np.uint8))


def test_the_error_is_magnified_and_clipped():
    x = np.full((1, 100, 100), 0.5)
    x_hat = x.copy()
    x_hat[0, :50] = 0.6  # error 0.1
    x_hat[0, 50:] = 0.0  # error 0.5, times 4 more than white
    picture = reconstruction_grid(x, x_hat, error_gain=4)
    error = np.full((100, 100), 255, np.uint8)
    error[:50] = round(0.1 * 4 * 255)
    assert contains(picture, enlarged(error, 1))


@pytest.mark.parametrize(
    ("error", "gain"), [(0.9, 1), (0.3, 2), (0.25, 4), (0.05, 16), (0.001, 64), (0.0, 64)]
)
def test_the_gain_is_the_power_of_two_that_fills_the_scale(error, gain):
    x = np.zeros((1, 100, 100))
    picture = reconstruction_grid(x, x + error)
    expected = np.full((100, 100, 3), round(min(error * gain, 1) * 255), np.uint8)
    assert contains(picture[-120:], expected)
    np.testing.assert_array_equal(picture, reconstruction_grid(x, x + error, error_gain=gain))
    assert not np.array_equal(picture, reconstruction_grid(x, x + error, error_gain=gain + 1))


def test_large_images_are_shrunk_to_the_limit(rng):
    x = rng.integers(0, 256, (1, 400, 900, 3), dtype=np.uint8)
    picture = reconstruction_grid(x, x, max_cell_px=300)
    assert contains(picture, np.asarray(Image.fromarray(x[0]).reduce(3)))


def test_sizes_may_differ_between_columns(rng):
    images = [rng.integers(1, 254, s, dtype=np.uint8) for s in [(100, 200), (150, 90, 3)]]
    picture = reconstruction_grid(images, images)
    assert all(contains(picture, enlarged(image, 1)) for image in images)


def test_captions_take_room_and_are_drawn(rng):
    x = rng.integers(0, 256, (3, 100, 100), dtype=np.uint8)
    plain = reconstruction_grid(x, x)
    one = reconstruction_grid(x, x, ["31 dB"] * 3)
    two = reconstruction_grid(x, x, ["31 dB\n0.5 bpp $x$"] * 3)
    long = reconstruction_grid(x, x, ["a caption much wider than its picture is"] * 3)
    assert plain.shape[1] == one.shape[1] < long.shape[1]
    assert plain.shape[0] < one.shape[0] < two.shape[0]
    caption = one[plain.shape[0] - 12 :]
    assert (caption < 128).any(), "nothing is written under the pictures"


def test_pixels_that_are_not_finite_are_magenta():
    x = np.zeros((1, 96, 96, 1))
    x_hat = x.copy()
    x_hat[0, 3, 4] = np.nan
    x_hat[0, 5, 6] = np.inf
    picture = reconstruction_grid(x, x_hat)
    assert (picture == MAGENTA).all(-1).sum() == 4  # both, in the image and in its error


def test_input_is_not_changed(rng):
    x = rng.random((2, 16, 16, 1))
    before = x.copy()
    reconstruction_grid(x, x)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize(
    ("originals", "others", "captions", "error", "message"),
    [
        ([], [], None, ValueError, "no images"),
        (np.zeros((2, 4, 4)), np.zeros((1, 4, 4)), None, ValueError, "2 originals, 1 recon"),
        (np.zeros((1, 4, 4)), np.zeros((1, 4, 4)), ["a", "b"], ValueError, "2 captions"),
        (np.zeros((1, 4, 4)), np.zeros((1, 4, 5)), None, ValueError, "image 0 has size"),
        (np.zeros((1, 4, 4, 5)), np.zeros((1, 4, 4, 5)), None, ValueError, r"\(4, 4, 5\)"),
        (np.zeros((1, 4, 4), int), np.zeros((1, 4, 4)), None, TypeError, "found int64"),
    ],
)
def test_images_that_do_not_fit_are_refused(originals, others, captions, error, message):
    with pytest.raises(error, match=message):
        reconstruction_grid(originals, others, captions)


@settings(max_examples=15, deadline=None)
@given(
    count=st.integers(1, 4), height=st.integers(1, 40), width=st.integers(1, 40), rgb=st.booleans()
)
def test_any_size_makes_a_picture_that_holds_its_cells(count, height, width, rgb):
    x = np.zeros((count, height, width, 3 if rgb else 1), np.uint8)
    picture = reconstruction_grid(x, x)
    factor = -(-96 // max(height, width))
    assert picture.shape[0] > 3 * height * factor
    assert picture.shape[1] > count * width * factor


HISTORY = {
    "loss": [0.5, 0.4, 0.3],
    "val_loss": [0.6, 0.5, 0.4],
    "psnr_db": [20.0, 22.0, 23.0],
    "val_psnr_db": [19.0, 21.0, 22.0],
    "val_ssim": [0.7, 0.8, 0.9],
    "learning_rate": [1e-3, 1e-3, 5e-4],
}


def blue(picture: np.ndarray) -> np.ndarray:
    """Where the validation curve is drawn, its softened edges included."""
    return picture[..., 2].astype(int) - picture[..., 0] > 40


def test_curves_show_one_panel_per_quantity():
    assert curve_figure({"loss": [1.0, 0.5]}).shape == (300, 360, 3)
    picture = curve_figure(HISTORY)
    assert picture.shape == (300, 3 * 360, 3)
    assert all(blue(picture[:, i * 360 : (i + 1) * 360]).sum() > 100 for i in range(3))
    assert curve_figure(HISTORY, panels=["learning_rate"]).shape == (300, 360, 3)


def test_a_curve_follows_its_values():
    steps = list(range(40))
    rising = blue(curve_figure({"val_loss": steps}))
    falling = blue(curve_figure({"val_loss": steps[::-1]}))
    ys, xs = np.nonzero(rising)
    assert np.corrcoef(xs, ys)[0, 1] < -0.5  # rows count downwards; the legend lies elsewhere
    ys, xs = np.nonzero(falling)
    assert np.corrcoef(xs, ys)[0, 1] > 0.5


def test_a_single_epoch_is_visible_and_gaps_are_allowed():
    assert blue(curve_figure({"val_loss": [0.5]})).sum() > 20
    # The marker alone is drawn when all others are not finite.
    assert blue(curve_figure({"val_loss": [np.nan, 0.5, np.inf]})).sum() > 20


def test_a_history_without_the_quantity_is_refused():
    with pytest.raises(ValueError, match="no loss or psnr_db or psnr or ssim; it has nothing"):
        curve_figure({})
    with pytest.raises(ValueError, match="no bpp; it has loss"):
        curve_figure({"loss": [1.0]}, panels=["loss", "bpp"])


def test_png_is_saved_whole_and_nothing_is_left_behind(tmp_path, rng):
    picture = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    path = tmp_path / "a run" / "samples.png"
    save_png(picture, path)
    save_png(picture[::-1], path)
    with Image.open(path) as saved:
        np.testing.assert_array_equal(np.asarray(saved), picture[::-1])
    assert [p.name for p in path.parent.iterdir()] == ["samples.png"]


def test_a_failed_save_keeps_the_old_file(tmp_path, rng):
    path = tmp_path / "samples.png"
    save_png(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8), path)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_png(np.zeros((4, 4, 3), np.complex64), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["samples.png"]


def test_pyplot_is_never_loaded():
    code = (
        "import sys, numpy as np\n"
        "from evaluation.figures import curve_figure, reconstruction_grid\n"
        "x = np.zeros((1, 8, 8))\n"
        "reconstruction_grid(x, x, ['a']); curve_figure({'loss': [1.0]})\n"
        "print('matplotlib.pyplot' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
