"""Curves over steps: a picture of the expected size, with what is there and no more."""

import numpy as np
import pytest

from evaluation.step_curves import step_curve_figure

POINTS = [
    {"step": 10, "piece": 1, "loss": 0.5, "val_loss": 0.6, "val_psnr_db": None, "psnr_db": 20.0},
    {"step": 15, "piece": 2, "loss": 0.4, "val_loss": 0.5, "psnr_db": 21.0},
]


def test_there_is_a_panel_for_each_quantity():
    one = step_curve_figure([{"step": 1, "loss": 1.0}])
    two = step_curve_figure(POINTS, [10], title="a $run$")
    assert one.dtype == np.uint8 and one.shape == (300, 360, 3)
    assert two.shape == (300, 720, 3)


def test_cuts_are_seen():
    assert (step_curve_figure(POINTS, [12]) != step_curve_figure(POINTS)).any()


def test_points_without_a_quantity_are_refused():
    with pytest.raises(ValueError, match="the points have none of loss"):
        step_curve_figure([{"step": 1, "other": 2.0}])
