"""Threads of NumPy and of the backend, so that they don't take each other's cores."""

import os
from contextlib import suppress

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
    """Gives each of several threads that code a picture each an equal part of the cores.

    Otherwise every one of them would work with as many threads as there are cores, and two pictures
    at a time took longer than one after the other. To be called when the backend is imported. A
    backend that has computed something already keeps its threads, and JAX has no such setting.

    Args:
        workers: at least 1; one alone has all cores.
    """
    if workers == 1:
        return
    from threadpoolctl import threadpool_limits

    threads = max(1, cores() // workers)
    threadpool_limits(threads, user_api="blas")
    if os.environ["KERAS_BACKEND"] == "tensorflow":
        from tensorflow import config

        with suppress(RuntimeError):
            config.threading.set_intra_op_parallelism_threads(threads)
            config.threading.set_inter_op_parallelism_threads(workers)
