"""Mean differences of rate-distortion curves, against published numbers."""

import numpy as np
import pytest

from evaluation.bd_rate import NoComparisonError, bd_quality, bd_rate, frontier
from evaluation.reference_points import reference_points

# The worked example in the README of github.com/FAU-LMS/bjontegaard (x265 at two presets), and what
# its version 1.3.0 prints for it with method="pchip", which equals JVET-T2010's spreadsheet to ten
# digits by that README.
ANCHOR = [9487.76, 4593.60, 2486.44, 1358.24], [40.037, 38.615, 36.845, 34.851]
TEST = [9787.80, 4469.00, 2451.52, 1356.24], [40.121, 38.651, 36.970, 34.987]
BD_RATE = -4.417485350589045
BD_PSNR = 0.11969278542479489

# The same package on the published Kodak points of reference_points.json, against VTM.
AGAINST_VTM = {
    "bmshj2018-hyperprior": (30.486386891557938, -1.2565430810962708),
    "mbt2018-mean": (21.280438851571624, -0.9051876192702988),
    "hpcm-large": (-19.954527462088368, 0.9611592976351329),
}


def published(name):
    (found,) = [each for each in reference_points()["codecs"] if each["name"] == name]
    points = found["points"]
    return [p["bpp"] for p in points], [p["psnr_rgb_db"] for p in points]


def test_the_worked_example():
    assert bd_rate(*ANCHOR, *TEST).value == pytest.approx(BD_RATE, rel=1e-10)
    assert bd_quality(*ANCHOR, *TEST).value == pytest.approx(BD_PSNR, rel=1e-10)


def test_the_common_range_is_told():
    found = bd_rate(*ANCHOR, *TEST)
    assert (found.low, found.high) == (34.987, 40.037)
    assert found.overlap == pytest.approx((40.037 - 34.987) / (40.121 - 34.987))
    found = bd_quality(*ANCHOR, *TEST)
    assert (found.low, found.high) == pytest.approx((1358.24, 9487.76))


@pytest.mark.parametrize("name", AGAINST_VTM)
def test_published_curves(name):
    rate, gain = AGAINST_VTM[name]
    assert bd_rate(*published("vtm"), *published(name)).value == pytest.approx(rate, rel=1e-9)
    found = bd_quality(*published("vtm"), *published(name))
    assert found.value == pytest.approx(gain, rel=1e-9)


def test_the_order_of_points_does_not_count():
    turned = [list(reversed(values)) for values in TEST]
    assert bd_rate(*ANCHOR, *turned).value == pytest.approx(BD_RATE, rel=1e-10)


@pytest.mark.parametrize("factor", [0.5, 0.9, 2.0])
def test_a_constant_factor_of_rate_is_found(factor):
    rates, qualities = ANCHOR
    scaled = [factor * rate for rate in rates]
    found = bd_rate(rates, qualities, scaled, qualities)
    assert found.value == pytest.approx(100 * (factor - 1))
    assert found.overlap == 1
    back = bd_rate(scaled, qualities, rates, qualities)
    assert (1 + found.value / 100) * (1 + back.value / 100) == pytest.approx(1)


def test_a_constant_gain_of_quality_is_found():
    rates, qualities = ANCHOR
    better = [quality + 1.5 for quality in qualities]
    assert bd_quality(rates, qualities, rates, better).value == pytest.approx(1.5)


def test_too_small_a_common_range_is_refused():
    rates, qualities = ANCHOR
    with pytest.raises(NoComparisonError, match=r"^4\d % of the narrower range of quality is"):
        bd_rate(rates, qualities, rates, [quality + 2.75 for quality in qualities])
    with pytest.raises(NoComparisonError, match=r"^0 % .* range of rate is common, 50 %"):
        bd_quality(rates, qualities, [100 * rate for rate in rates], qualities)


def test_too_few_points_are_refused():
    with pytest.raises(NoComparisonError, match=r"3 rising points, 4 are needed"):
        bd_rate(*ANCHOR, *[values[:3] for values in TEST])


@pytest.mark.parametrize("wrong", [0.0, -1.0, np.nan, np.inf])
def test_rates_that_are_none_are_refused(wrong):
    with pytest.raises(NoComparisonError, match="positive, finite"):
        bd_rate(*ANCHOR, [wrong, *TEST[0][1:]], TEST[1])


def test_points_that_others_beat_are_left_out():
    rates, qualities = [1.0, 2.0, 3.0, 3.0, 4.0], [30.0, 29.0, 31.0, 32.0, 32.0]
    assert frontier(rates, qualities) == [0, 3]
    beaten = [*TEST[0], 12000.0], [*TEST[1], 36.0]
    assert bd_rate(*ANCHOR, *beaten).value == pytest.approx(BD_RATE, rel=1e-10)


def test_numbers_that_do_not_match_are_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match=r"\(3,\) rates for \(4,\)"):
        bd_rate(*ANCHOR, TEST[0][:3], TEST[1])
