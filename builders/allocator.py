"""Memory that a step frees is kept for the next one, in huge pages."""

import ctypes
import mmap
import os
import platform
from pathlib import Path

# malloc.h of glibc
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_M_ARENA_MAX = -8

_LARGEST_HEAP = 32 << 30
_HUGE_PAGE = 2 << 20
_OVERCOMMIT = Path("/proc/sys/vm/overcommit_memory")


def keep_freed_memory() -> bool:
    """Tells glibc to keep what is freed for the next allocation, and the system to use huge pages.

    Networks allocate and free the same large tensors in every step. With glibc's defaults each of
    them is mapped when it is allocated and unmapped when it is freed, so that the system clears
    every page again and again: on two cores up to a third of the time of a training step and of a
    decoded picture (docs/benchmarks.md). Afterwards everything comes from one
    heap that never shrinks. Elsewhere than on glibc nothing is done.

    To be called before other threads exist, since the memory of theirs is arranged when they start.

    Returns:
        Whether it was done.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    settings = (
        (_M_MMAP_MAX, 0),  # no mapping of its own for what is large
        (_M_ARENA_MAX, 1),  # what one thread frees another can take
        (_M_TRIM_THRESHOLD, -1),  # never back to the system
    )
    done = [libc.mallopt(name, value) == 1 for name, value in settings]  # each, whatever the others
    ask_for_huge_pages(libc)
    return all(done)


def ask_for_huge_pages(libc: ctypes.CDLL) -> None:
    """Lets the heap reach as far as it may ever grow, which takes no memory yet, in huge pages.

    Giving memory back by force (`malloc_trim`) undoes it. Where the system has no huge pages, no
    room for the heap, or counts memory when it is asked for and not when it is used, it is as it
    was.
    """
    if _counts_what_is_reserved():
        return
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    size = min(memory // 2, _LARGEST_HEAP)
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes = (ctypes.c_size_t,)
    libc.free.argtypes = (ctypes.c_void_p,)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    place = libc.malloc(size)
    if place is None:
        return
    start = -(-place // _HUGE_PAGE) * _HUGE_PAGE
    libc.madvise(start, (place + size - start) // _HUGE_PAGE * _HUGE_PAGE, mmap.MADV_HUGEPAGE)
    libc.free(place)


def _counts_what_is_reserved() -> bool:
    try:
        return _OVERCOMMIT.read_text(encoding="ascii").strip() == "2"
    except OSError:
        return False
