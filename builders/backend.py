"""The start of Keras: which backend, and what it costs. No heavy imports before it is called."""

import importlib
import importlib.util
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from builders.allocator import keep_freed_memory
from builders.errors import UserError


def choose_backend() -> str:
    """Sets KERAS_BACKEND where the user has not: TensorFlow if installed, else JAX.

    Must run before Keras is imported, which it does. What networks free is then kept for them, if a
    command has not done that already; see `keep_freed_memory`. Keras' parts for scikit-learn and
    matplotlib are left out.

    Returns:
        The backend's name.

    Raises:
        UserError: the backend is not installed.
    """
    name = os.environ.get("KERAS_BACKEND", "")
    if not name:
        name = "tensorflow" if importlib.util.find_spec("tensorflow") else "jax"
        os.environ["KERAS_BACKEND"] = name
    if name not in ("tensorflow", "jax"):
        raise UserError(f'KERAS_BACKEND is "{name}", expected "tensorflow" or "jax"')
    if importlib.util.find_spec(name) is None:
        extra = "requirements.txt" if name == "tensorflow" else "requirements-jax.txt"
        raise UserError(f"{name} is not installed: pip install -r {extra}")
    keep_freed_memory()
    with _without(*_UNUSED):
        if name == "tensorflow":
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
            _import_quietly(name)
        importlib.import_module("keras")
    if name == "tensorflow":
        # Its Python side warns of "retracing": functions are told apart by address, and addresses
        # come again, so the warning comes by chance and says nothing about a run.
        logging.getLogger(name).setLevel(logging.ERROR)
    return name


_UNUSED = ("sklearn", "matplotlib")
"""What Keras imports where it is installed, for parts of it that nothing here uses: a second."""


@contextmanager
def _without(*modules: str) -> Iterator[None]:
    """Importing these fails, as if they were not installed; afterwards it works."""
    imported: dict[str, Any] = sys.modules
    hidden = [module for module in modules if module not in imported]
    imported |= dict.fromkeys(hidden)
    try:
        yield
    finally:
        for module in hidden:
            del imported[module]


_STARTUP_NOTE = re.compile(
    r"WARNING: All log messages before absl|[IW]\d{4} |To enable the following"
)


def _import_quietly(module: str) -> None:
    """Imports TensorFlow without its start-up notes (no CUDA here, ...); all else is passed on.

    The notes come from C++ before any logging can be set up, so the file descriptor is what has to
    be watched.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            importlib.import_module(module)
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            caught.seek(0)
            for line in caught.read().decode(errors="replace").splitlines():
                if not _STARTUP_NOTE.match(line):
                    print(line, file=sys.stderr)
