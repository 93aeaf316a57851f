"""Threads: those of NumPy sleep when idle in every command, and workers share the cores."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = (
    "train",
    "validation",
    "exporter",
    "inference",
    "compress",
    "decompress",
    "benchmark",
    "study",
)
PROBE = """
import os, sys
import {name}
assert "numpy" not in sys.modules, "NumPy is imported before the command runs"
from builders.cli import run_command
def main(arguments):
    print(os.environ["OPENBLAS_THREAD_TIMEOUT"])
    return 0
run_command(main)
"""


@pytest.mark.parametrize("name", COMMANDS)
def test_threads_are_told_before_numpy_is_imported(name, monkeypatch):
    def said():
        command = [sys.executable, "-c", PROBE.format(name=name)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    monkeypatch.delenv("OPENBLAS_THREAD_TIMEOUT", raising=False)
    assert said() == "4"
    if name == "compress":
        monkeypatch.setenv("OPENBLAS_THREAD_TIMEOUT", "20")
        assert said() == "20"


SHARES = """
from builders.backend import choose_backend
from builders.threads import share_cores
backend = choose_backend()
share_cores({workers})
import numpy, tensorflow
from threadpoolctl import threadpool_info
threads = tensorflow.config.threading
print(threads.get_intra_op_parallelism_threads(), threads.get_inter_op_parallelism_threads())
print(*(each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"))
tensorflow.constant(1) + 1
share_cores({workers})
"""


@pytest.mark.parametrize(("workers", "wanted"), [(1, "0 0"), (64, "1 64")])
def test_workers_share_the_cores(workers, wanted):
    command = [sys.executable, "-c", SHARES.format(workers=workers)]
    environment = os.environ | {"KERAS_BACKEND": "tensorflow"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    threads, blas = done.stdout.splitlines()
    assert threads == wanted
    assert blas == "1" or workers == 1
