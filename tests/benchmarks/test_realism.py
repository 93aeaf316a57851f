"""The benchmark of sharpness: a run's row, and mistakes in one line."""

from pathlib import Path

import pytest

from benchmarks import realism


def test_a_row_for_each_run_and_a_figure(call, finished):
    run = finished.folder.path
    code, out, err = call(realism, run, run, "--images=8", "--figure=deep/figure.png")
    assert (code, err) == (0, "")
    header, _, *rows = out.splitlines()
    assert header == "| run | PSNR, dB | SSIM | sharpness | told apart |"
    assert len(rows) == 2 and rows[0] == rows[1] and rows[0].startswith("| Tiny | ")
    assert Path("deep/figure.png").is_file()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["nowhere"], "realism.py: nowhere: no such run folder\n"),
        (["."], "realism.py: .: not a run folder (no spec.json in it)\n"),
        (["nowhere", "--images=0"], 'argument --images: found "0", expected a whole number >= 1\n'),
    ],
)
def test_mistakes_are_one_line(call, flags, message):
    code, out, err = call(realism, *flags)
    assert (code, out) == (2, "")
    assert err.endswith(message) and err.count("\n") == 1


def test_a_figure_that_can_not_be_written(call, finished):
    Path("taken").write_bytes(b"")
    code, _, err = call(realism, finished.folder.path, "--images=8", "--figure=taken/figure.png")
    assert code == 1
    assert err.startswith("realism.py: --figure taken/figure.png: ") and err.count("\n") == 1
