"""NumPy's threads don't wait on a core that others need."""

import os

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
