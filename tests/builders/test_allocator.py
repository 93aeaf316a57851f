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
    allocator.ask_for_huge_pages(libc)  # which has no malloc
    strict.write_text("0\n", encoding="ascii")
    with pytest.raises(AttributeError):
        allocator.ask_for_huge_pages(libc)


HUGE = """
import ctypes
from pathlib import Path
from builders.allocator import keep_freed_memory
from evaluation.peak_memory import with_peak
def asked_for():
    heap, found = False, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        heap = line.endswith("[heap]") if "-" in line.split()[0] else heap
        found = found or (heap and line.startswith("VmFlags:") and " hg" in line)
    return found
print(asked_for())
keep_freed_memory()
print(asked_for())
ctypes.CDLL(None).malloc_trim(0)
print(asked_for())
with_peak(lambda: None)
print(asked_for())
"""


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="Linux tells")
@pytest.mark.skipif(
    not Path("/sys/kernel/mm/transparent_hugepage").exists(), reason="without huge pages"
)
def test_the_heap_is_in_huge_pages_also_after_memory_was_measured() -> None:
    command = [sys.executable, "-c", HUGE]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert found == ["False", "True", "False", "True"]
