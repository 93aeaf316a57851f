"""Threads of NumPy and of the backend, so that they don't take each other's cores."""

import os
import sys
from contextlib import suppress

from builders.errors import UserError
from builders.machine import cores

_VARIABLE = "OPENBLAS_THREAD_TIMEOUT"
_LEAST = "4"


def let_idle_threads_sleep() -> None:
    """Has the threads of OpenBLAS, which NumPy multiplies with, sleep when they have nothing to do.

    They would go round in a loop for some 50 ms after each product, on cores that the backend's
    networks run on next: that doubled the time to encode or decode a photo on two cores
    (docs/benchmarks.md). OpenBLAS reads the setting when it is loaded, so this must run before
    NumPy is imported. What the user has set stays.
    """
    os.environ.setdefault(_VARIABLE, _LEAST)


def share_cores(workers: int) -> None:
    """Shares the cores among threads that code a picture each.

    Otherwise there would be many more threads than cores, and two pictures at a time took longer
    than one after the other. To be called when the backend is imported. NumPy's products get an
    equal part of the cores each; TensorFlow has one pool of threads for all who call it, which gets
    what they leave. A backend that has computed something already keeps its threads, and JAX has no
    such setting.

    Args:
        workers: at least 1; one alone has all cores.
    """
    if workers == 1:
        return
    from threadpoolctl import threadpool_limits

    threadpool_limits(max(1, cores() // workers), user_api="blas")
    if os.environ["KERAS_BACKEND"] == "tensorflow":
        from tensorflow import config

        with suppress(RuntimeError):
            config.threading.set_intra_op_parallelism_threads(max(1, cores() - workers))
            config.threading.set_inter_op_parallelism_threads(workers)


def confine(threads: int | None) -> int:
    """Keeps this process, and all threads it will start, on so many cores.

    Args:
        threads: at most; None for all that the process has.

    Returns:
        How many there are.

    Raises:
        UserError: there are not so many, or the system can't do it.
    """
    if not hasattr(os, "sched_setaffinity"):
        if threads is not None:
            raise UserError(f"--threads {threads}: {sys.platform} can't confine a process to cores")
        return os.cpu_count() or 1
    allowed = sorted(os.sched_getaffinity(0))
    if threads is None:
        return len(allowed)
    if threads > len(allowed):
        raise UserError(f"--threads {threads}: this process has {len(allowed)} cores")
    os.sched_setaffinity(0, allowed[:threads])
    return threads
