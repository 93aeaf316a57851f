"""When a model of its own pays for itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.benchmark_results import break_evens
from evaluation.benchmark_table import break_even_rows
from evaluation.break_even import break_even

RATES = [0.25, 0.5, 1.0, 2.0]
QUALITIES = [28.0, 31.0, 34.0, 37.0]


def test_by_hand() -> None:
    found = break_even(0.25, 31.0, 1_000_000, RATES, QUALITIES)
    assert found is not None
    assert found.other_bpp == pytest.approx(0.5)
    assert found.pixels == pytest.approx(8e6 / 0.25)
    halfway = break_even(0.25, 32.5, 1, RATES, QUALITIES)
    assert halfway is not None
    assert halfway.other_bpp == pytest.approx(2**-0.5)  # the middle, in logarithms


@given(st.floats(28, 37), st.floats(0.01, 3), st.integers(1, 10**9))
def test_at_that_size_both_take_the_same_bytes(quality: float, bpp: float, size: int) -> None:
    found = break_even(bpp, quality, size, RATES, QUALITIES)
    assert found is not None
    if found.pixels is None:
        assert bpp >= found.other_bpp
    else:
        ours = size + found.pixels * bpp / 8
        assert ours == pytest.approx(found.pixels * found.other_bpp / 8, rel=1e-6)


@pytest.mark.parametrize("quality", [27.9, 37.1])
def test_beyond_the_other_curve_nothing_is_said(quality: float) -> None:
    assert break_even(0.1, quality, 1, RATES, QUALITIES) is None
    assert break_even(0.1, quality, 1, [], []) is None


def test_points_that_others_beat_do_not_count() -> None:
    with_a_bad_one = break_even(0.1, 31.0, 8, [*RATES, 0.6], [*QUALITIES, 30.9])
    assert with_a_bad_one == break_even(0.1, 31.0, 8, RATES, QUALITIES)


def test_rows_of_the_results() -> None:
    anchor = {"name": "a", "label": "A", "points": [
        {"bpp": r, "psnr_rgb_db": q} for r, q in zip(RATES, QUALITIES, strict=True)
    ]}  # fmt: skip
    ours = {
        "name": "o",
        "label": "O",
        "parameter": "quality",
        "model_bytes": 1 << 20,
        "points": [
            {"setting": 1.0, "bpp": 0.25, "psnr_rgb_db": 31.0},
            {"setting": 2.0, "bpp": 3.0, "psnr_rgb_db": 34.0},
            {"setting": 3.0, "bpp": 4.0, "psnr_rgb_db": 50.0},
        ],
    }
    rows = break_evens(anchor, ours)
    assert [row["setting"] for row in rows] == [1.0, 2.0]  # the anchor has no 50 dB
    assert rows[1]["pixels"] is None
    results = {"codecs": [anchor, ours], "anchor": "a", "break_even": {"o": rows}}
    _, cells = break_even_rows(results)
    assert cells[0] == [
        "O",
        "quality 1",
        "1.0",
        "0.2500",
        "31.00",
        "0.5000",
        f"{8 * 2**20 / 0.25 / 1e6:.3g}",
    ]
    assert cells[1][-1] == "never"
