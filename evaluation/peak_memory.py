"""The most memory that the process held for a while."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

_PROCESS = Path("/proc/self")
_T = TypeVar("_T")


def with_peak(work: Callable[[], _T]) -> tuple[_T, int | None]:
    """Runs something and tells how far the process grew meanwhile.

    Linux keeps the peak of a process and resets it when asked. Memory that was free inside the
    process before is given back first, as far as the C library does that; what runs next has to
    ask the system for it again, and so takes longer than it usually does.

    Args:
        work: what to run, with nothing else running in this process.

    Returns:
        What it returned, and bytes beyond those before; None where the system does not tell.
    """
    _trim()
    try:
        before = _status("VmRSS")
    except (OSError, ValueError):
        return work(), None
    result, most = with_highest(work)
    return result, None if most is None else max(0, most - before)


def with_highest(work: Callable[[], _T]) -> tuple[_T, int | None]:
    """Runs something and tells the most memory that the process held meanwhile, all in all.

    Args:
        work: what to run.

    Returns:
        What it returned, and the largest resident set in bytes; None where the system does not
        tell.
    """
    try:
        (_PROCESS / "clear_refs").write_text("5", encoding="ascii")
        _status("VmHWM")
    except (OSError, ValueError):
        return work(), None
    result = work()
    return result, _status("VmHWM")


def _status(name: str) -> int:
    """A line of the process's status, in bytes."""
    for line in (_PROCESS / "status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) << 10
    raise ValueError(name)


def _trim() -> None:
    """Gives free memory back to the system: a GNU extension. Huge pages are asked for again."""
    from builders.allocator import ask_for_huge_pages

    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.malloc_trim(0)
    except (OSError, AttributeError):
        return
    ask_for_huge_pages(libc)
