"""Memory that a process holds for a while; `with_peak` is tried in test_codecs.py too."""

import mmap
import sys

import pytest

from evaluation import peak_memory
from evaluation.peak_memory import with_highest, with_peak

SIZE = 64 << 20


def touched():
    """Takes so much memory, and gives it back to the system, not to an allocator."""
    with mmap.mmap(-1, SIZE) as memory:
        for place in range(0, SIZE, mmap.PAGESIZE):
            memory[place] = 1
    return SIZE


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")
def test_what_was_held_meanwhile_is_told():
    result, before = with_highest(lambda: None)
    again, most = with_highest(touched)
    _, after = with_highest(lambda: None)
    assert (result, again) == (None, SIZE)
    assert before > 2**20  # all that the process holds
    assert most > before + 0.9 * SIZE
    assert after < most - 0.9 * SIZE  # what was before is forgotten


def test_systems_that_do_not_tell(monkeypatch, tmp_path):
    monkeypatch.setattr(peak_memory, "_PROCESS", tmp_path / "none")
    assert with_highest(lambda: 3) == (3, None)
    assert with_peak(lambda: 3) == (3, None)
