"""Idle threads of NumPy sleep: the setting is there before NumPy is, in every command."""

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
