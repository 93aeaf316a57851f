"""Memory that a step frees is kept for the next one."""

import ctypes
import platform

# malloc.h of glibc
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_THRESHOLD = -3

_MMAP_BYTES = 32 << 20
"""glibc's own upper limit."""
_TRIM_BYTES = (1 << 31) - 1
_PAD_BYTES = 256 << 20


def keep_freed_memory() -> bool:
    """Tells glibc not to hand memory back to the system between the steps of a training.

    Each step allocates and frees the same large tensors. With glibc's defaults their pages go back
    and have to be mapped and cleared again in every step: on small convolutional networks a third
    of the processor's time (benchmarks/allocator.py). Elsewhere than on glibc nothing is done.

    Returns:
        Whether it was done.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = (
        (_M_MMAP_THRESHOLD, _MMAP_BYTES),
        (_M_TRIM_THRESHOLD, _TRIM_BYTES),
        (_M_TOP_PAD, _PAD_BYTES),
    )
    done = [mallopt(name, value) == 1 for name, value in settings]  # each, whatever the others say
    return all(done)
