"""The setting of the allocator, in a process of its own: it can't be taken back."""

import platform
import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from builders import allocator
from builders.allocator import keep_freed_memory

FAULTS = """
import resource
from builders.allocator import keep_freed_memory
if {keep}:
    assert keep_freed_memory()
def touch():
    for _ in range(3):
        [b"x" * size for size in (8 << 20, 64 << 20) for _ in range(3)]  # freed, and taken again
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
    pages = 3 * 3 * (72 << 20) // resource.getpagesize()
    assert faults(keep=False) > pages / 2
    assert faults(keep=True) < pages / 100


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not keep_freed_memory()


def test_where_memory_is_counted_when_it_is_asked_for_none_is_reserved(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    strict, libc = tmp_path / "overcommit_memory", SimpleNamespace()
    strict.write_text("2\n", encoding="ascii")
    monkeypatch.setattr(allocator, "_OVERCOMMIT", strict)
    allocator._ask_for_huge_pages(libc)  # which has no malloc
    strict.write_text("0\n", encoding="ascii")
    with pytest.raises(AttributeError):
        allocator._ask_for_huge_pages(libc)
