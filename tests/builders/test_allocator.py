"""The setting of the allocator, in a process of its own: it can't be taken back."""

import platform
import resource
import subprocess
import sys

import pytest

from builders.allocator import keep_freed_memory

FAULTS = """
import resource
import numpy as np
from builders.allocator import keep_freed_memory
if {keep}:
    assert keep_freed_memory()
def touch():
    for _ in range(3):
        [np.ones(1 << 20) for _ in range(20)]  # 160 MiB, freed and taken again
touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
touch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(keep: bool) -> int:
    code = FAULTS.format(keep=keep)
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return int(found.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="for glibc alone")
def test_freed_memory_is_taken_again_without_the_system() -> None:
    pages = 3 * 20 * (8 << 20) // resource.getpagesize()
    assert faults(keep=False) > pages / 4
    assert faults(keep=True) < pages / 100


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not keep_freed_memory()
