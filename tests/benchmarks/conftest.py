"""Benchmarks as a user calls them."""

import sys

import pytest

from builders.cli import run_command


@pytest.fixture
def call(workdir, monkeypatch, capsys):
    """Runs a benchmark's main; returns exit status, standard output and standard error."""
    import keras

    monkeypatch.setenv("KERAS_BACKEND", keras.backend.backend())

    def run(benchmark, *arguments):
        name = benchmark.__name__.rpartition(".")[2]
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            run_command(benchmark.main)
        told = capsys.readouterr()
        return stop.value.code, told.out, told.err

    return run
