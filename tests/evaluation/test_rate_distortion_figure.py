"""The picture between rate and distortion: what stands in it, and under whose name."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from evaluation import rate_distortion_figure as module
from evaluation.rate_distortion_figure import PUBLISHED, Curve, Points, rate_distortion_figure
from evaluation.reference_points import reference_points

TILES = Points((0.3, 0.5, 0.7), (28.0, 30.0, 26.0))
PATH = Points((2.0, float("nan"), 0.5), (22.0, float("nan"), 28.0))
CURVES = [Curve("jpeg", "JPEG", Points((0.2, 0.6, 4.0), (24.0, 29.0, 50.0)))]


@pytest.fixture
def drawn(monkeypatch):
    """Draws, and gives the figure instead of its pixels."""

    def draw(tiles=TILES, path=PATH, curves=CURVES, title="a model, epoch 3"):
        kept: list[Figure] = []
        pixels = module.render
        monkeypatch.setattr(module, "render", lambda figure: kept.append(figure) or pixels(figure))
        picture = rate_distortion_figure(tiles, path, curves, title)
        assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.std() > 5
        return kept[0]

    return draw


def lines(figure):
    return {line.get_label(): line for line in figure.axes[0].get_lines()}


def test_tiles_path_and_codecs_stand_where_they_were_measured(drawn):
    found = lines(drawn())
    np.testing.assert_array_equal(found["one tile each, 3 in all"].get_xdata(), TILES.bpp)
    np.testing.assert_array_equal(found["one tile each, 3 in all"].get_ydata(), TILES.psnr_db)
    way = found["mean of the tiles, epochs 1 to 3"]
    np.testing.assert_array_equal(way.get_xdata(), [2.0, 0.5])  # the second is unknown
    now = found["mean of the tiles, epoch 3"]
    assert (list(now.get_xdata()), list(now.get_ydata())) == ([0.5], [28.0])
    np.testing.assert_array_equal(found["JPEG"].get_ydata(), CURVES[0].points.psnr_db)


def test_published_curves_are_those_of_the_file_under_a_heading_that_says_so(drawn):
    figure = drawn()
    known = {codec["name"]: codec for codec in reference_points()["codecs"]}
    found = lines(figure)
    for name in PUBLISHED:
        line = found[known[name]["label"]]
        assert len(line.get_xdata()) == len(known[name]["points"])
        assert line.get_zorder() < found["JPEG"].get_zorder()
    headings = {
        legend.get_title().get_text(): [text.get_text() for text in legend.get_texts()]
        for legend in figure.legends
    }
    ours, same, published = headings
    assert "Kodak" in published and "other pictures" in published
    assert set(headings[published]) == {known[name]["label"] for name in PUBLISHED}
    assert "same tiles" in same and headings[same] == ["JPEG"]
    assert "this model" in ours and len(headings[ours]) == 3


def test_nothing_runs_into_anything(drawn):
    figure = drawn()
    boxes = [legend.get_window_extent() for legend in figure.legends]
    boxes.append(figure.axes[0].get_window_extent())
    for index, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:index])
        assert box.x0 >= 0 and box.x1 <= figure.bbox.width and box.y0 >= 0


def test_the_axes_follow_the_tiles_and_say_what_they_leave_out(drawn):
    many = Points((0.5,) * 99 + (9.0,), (30.0,) * 98 + (100.0, 30.0))
    figure = drawn(tiles=many)
    axes = figure.axes[0]
    assert axes.get_xlim()[1] < 1 and axes.get_ylim()[1] <= 60
    assert axes.get_title(loc="right") == "2 of 100 tiles beyond the axes"
    assert drawn().axes[0].get_title(loc="right") == ""


def test_a_first_epoch_a_single_tile_and_no_codecs_are_drawn_too(drawn):
    figure = drawn(Points((0.0,), (100.0,)), Points((0.0,), (100.0,)), [])
    assert len(figure.legends) == 2
    figure = drawn(TILES, Points((float("nan"),), (float("nan"),)))
    assert "one tile each, 3 in all" in lines(figure)


def test_a_name_with_dollars_is_no_formula(drawn):
    assert drawn(title="cost $a $b").axes[0].get_title(loc="left") == "cost $a $b"
