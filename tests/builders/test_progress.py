"""The progress bar: on a terminal, for long work, and nowhere else."""

import pytest

from builders import progress
from builders.progress import ProgressReport


@pytest.mark.parametrize(
    ("terminal", "quiet_s", "shown"), [("1", 0.0, True), ("1", 60.0, False), ("", 0.0, False)]
)
def test_a_bar_is_shown_on_a_terminal_when_work_takes_long(
    terminal, quiet_s, shown, monkeypatch, capsys
):
    monkeypatch.setenv("FORCE_COLOR" if terminal else "NO_COLOR", "1")
    if not terminal:
        monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setattr(progress, "QUIET_SECONDS", quiet_s)
    with ProgressReport() as report:
        for done in (1, 2):
            report("reading images", done, 2)
    assert ("reading images" in capsys.readouterr().err) == shown


def test_without_a_terminal_nothing_is_written_at_all(monkeypatch, capsys):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.0)
    with ProgressReport() as report:
        report("reading images", 1, 2)
    assert capsys.readouterr().err == ""
